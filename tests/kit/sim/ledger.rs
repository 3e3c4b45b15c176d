//! What is due, by its name: of each thing one, so that nothing that comes again and again does so twice over.
//!
//! A node has one tick, one turn and one sync before it, a client one request, a pair of nodes one look at each other, a kind of fault one blow,
//! a machine one start. What an ended run had before it keeps that run's name, and passes. Messages, pages, the ends of clients' patience and the ends
//! of partitions have no such limit: each was sent, asked or cut once, and passes by itself.

use super::draw::Kind;
use super::{Event, Relief};
use std::collections::BTreeSet;

/// The name of what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Tick { seat: usize, run: u32 },
    Turn { seat: usize, run: u32 },
    Sync { seat: usize, run: u32 },
    Start { seat: usize, run: u32 },
    Look { one: usize, other: usize },
    Ask { client: usize },
    Blow(Kind),
    Fast { seat: usize },
    Room { seat: usize },
}

impl Due {
    /// The name of an event, if there may be only one of it.
    pub(super) fn of(event: &Event) -> Option<Due> {
        match event {
            Event::Tick { seat, run } => Some(Due::Tick { seat: *seat, run: *run }),
            Event::Turn { seat, run } => Some(Due::Turn { seat: *seat, run: *run }),
            Event::Synced { seat, run, .. } => Some(Due::Sync { seat: *seat, run: *run }),
            Event::Start { seat, run } => Some(Due::Start { seat: *seat, run: *run }),
            Event::Look { one, other } => Some(Due::Look { one: *one, other: *other }),
            Event::Ask { client } => Some(Due::Ask { client: *client }),
            Event::Blow(kind) => Some(Due::Blow(*kind)),
            Event::Relief(Relief::Fast(seat)) => Some(Due::Fast { seat: *seat }),
            Event::Relief(Relief::Room(seat)) => Some(Due::Room { seat: *seat }),
            Event::Arrives { .. }
            | Event::List { .. }
            | Event::GivesUp { .. }
            | Event::Relief(Relief::Mend(_)) => None,
        }
    }
}

/// What is due.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    named: BTreeSet<Due>,
    /// How much is due that has no name.
    passing: usize,
    /// What was due twice.
    doubled: Option<Due>,
}

impl Ledger {
    pub(super) fn add(&mut self, due: Option<Due>) {
        match due {
            None => self.passing += 1,
            Some(due) if self.named.insert(due) => {}
            Some(due) => self.doubled = Some(due),
        }
    }

    pub(super) fn done(&mut self, due: Option<Due>) {
        match due {
            None => self.passing -= 1,
            Some(due) => drop(self.named.remove(&due)),
        }
    }

    pub(super) fn has(&self, due: Due) -> bool {
        self.named.contains(&due)
    }

    /// So many things are due.
    ///
    /// # Errors
    /// One of them is due twice, or is not known here.
    pub(super) fn check(&self, due: usize) -> Result<(), String> {
        match self.doubled {
            Some(doubled) => Err(format!("{doubled:?} is due twice: something is done over and over")),
            None if due == self.named.len() + self.passing => Ok(()),
            None => Err(format!("{due} things are due, and {} are known", self.named.len() + self.passing)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_tick_of_one_run_is_noticed_and_one_of_another_run_is_none() {
        let mut ledger = Ledger::default();
        let tick = |run| Some(Due::Tick { seat: 0, run });
        ledger.add(tick(1));
        ledger.add(tick(2));
        ledger.add(None);
        assert_eq!(ledger.check(3), Ok(()));
        ledger.check(4).expect_err("something is due that nobody knows of");
        ledger.done(tick(1));
        ledger.add(tick(1));
        assert_eq!(ledger.check(3), Ok(()));
        ledger.add(tick(1));
        ledger.check(4).expect_err("it is due twice");
    }
}
