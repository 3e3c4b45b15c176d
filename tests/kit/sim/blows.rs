//! Faults that come and go.

use super::draw::Kind;
use super::ledger::Due;
use super::losses::{Cause, Rot};
use super::{Event, World};
use crate::faults::Fault;
use crate::history::Fact;
use meridian_core::id::OriginId;
use meridian_core::planted::Bug;
use meridian_core::storage::MemStorage;
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};

/// What ends a fault.
pub(super) enum Relief {
    /// Links that were cut are open again.
    Mend(Vec<(usize, usize)>),
    /// A disk is as fast as it was.
    Fast(usize),
    /// A disk has room again.
    Room(usize),
}

impl World {
    /// The next blow of a kind is due some time from now.
    pub(super) fn due_blow(&mut self, kind: Kind) {
        let us = self.chance.blows.random_range(1..2 * self.weather.blow_every_us);
        self.due_in(us, Event::Blow(kind));
    }

    /// How long this one lasts.
    pub(super) fn lasts_us(&mut self) -> u64 {
        self.chance.blows.random_range(1..2 * self.weather.blow_lasts_us)
    }

    pub(super) fn blow(&mut self, kind: Kind) -> Result<(), String> {
        if self.is_ending {
            return Ok(());
        }
        self.due_blow(kind);
        self.figures.blows += 1;
        let at = self.chance.blows.random_range(0..self.seats.len());
        self.trace(|_| format!("{kind} at n{}", at + 1));
        match kind {
            Kind::Partition => self.part(at),
            // Some wait for a moment at which something is under way.
            Kind::Crash if self.chance.blows.random() => self.seats[at].dies_at_work = true,
            Kind::Crash => self.crash(at)?,
            Kind::Pause => {
                let us = self.lasts_us();
                self.seats[at].paused_until_us = self.now_us + us;
            }
            Kind::SlowDisk => {
                self.seats[at].slowness =
                    *[10, 100, 1_000].choose(&mut self.chance.blows).expect("not empty");
                if !self.ledger.has(Due::Fast { seat: at }) {
                    let us = self.lasts_us();
                    self.due_in(us, Event::Relief(Relief::Fast(at)));
                }
            }
            Kind::FullDisk => self.fill_disk(at),
            Kind::Wipe => self.replace_disk(at, Default::default(), Cause::Replaced)?,
            Kind::OldImage => match self.seats[at].image.take() {
                Some(image) => self.replace_disk(at, image, Cause::Replaced)?,
                None => self.seats[at].image = Some(self.seats[at].copy()),
            },
            Kind::Clone => {
                let from = self.chance.blows.random_range(0..self.seats.len());
                let copy = self.seats[from].copy();
                self.replace_disk(at, copy, Cause::Replaced)?;
            }
            Kind::Rot => self.rot(at),
            Kind::Clock => self.seats[at].clock.ahead_ms = self.chance.blows.random_range(-5_000..5_000),
            Kind::Loss | Kind::Doubling | Kind::Reordering => unreachable!("these are no blows"),
        }
        Ok(())
    }

    pub(super) fn relieve(&mut self, relief: Relief) {
        match relief {
            Relief::Mend(links) => {
                for link in links {
                    self.network.mend(link);
                    self.look_soon(link.0, link.1);
                }
            }
            Relief::Fast(at) => self.seats[at].slowness = 1,
            Relief::Room(at) => self.seats[at].room = None,
        }
    }

    /// Cuts links: around a node, between two halves, or one way between two nodes.
    fn part(&mut self, at: usize) {
        let nodes = self.seats.len();
        let mut all: Vec<usize> = (0..nodes).collect();
        all.shuffle(&mut self.chance.blows);
        let links: Vec<(usize, usize)> = match self.chance.blows.random_range(0..4) {
            0 => {
                (0..nodes).filter(|other| *other != at).flat_map(|other| [(at, other), (other, at)]).collect()
            }
            1 => {
                let (one, other) = all.split_at(nodes / 2);
                one.iter().flat_map(|a| other.iter().flat_map(|b| [(*a, *b), (*b, *a)])).collect()
            }
            2 => all.iter().take(1).filter(|other| **other != at).map(|other| (at, *other)).collect(),
            _ => all.windows(2).flat_map(|two| [(two[0], two[1]), (two[1], two[0])]).collect(),
        };
        for link in &links {
            self.network.cut(*link);
            self.look_soon(link.0, link.1);
        }
        let us = self.lasts_us();
        self.due_in(us, Event::Relief(Relief::Mend(links)));
    }

    /// The process ends, and of what was not synced a part stays. It is started again later.
    pub(super) fn crash(&mut self, at: usize) -> Result<(), String> {
        let unsynced = self.seats[at].disk.unsynced();
        let kept = self.chance.blows.random_range(0..=unsynced);
        let was_giving_up = self.seats[at].is_giving_up();
        self.end_process(at, kept)?;
        if was_giving_up {
            // That may be among what stays.
            self.given_up(at);
        }
        Ok(())
    }

    fn end_process(&mut self, at: usize, kept: usize) -> Result<(), String> {
        let drawn = OriginId(self.chance.blows.random());
        let origin = match self.options.bug {
            Some(Fault::Engine(Bug::OriginReused)) => self.seats[at].node.origin(),
            _ => drawn,
        };
        // A flipped bit of a row is found when the row is read, which an opening does not do.
        let ended = self.seats[at].end(&self.weather.config, kept, origin);
        ended.map_err(|error| format!("n{}: a disk does not open: {error}", at + 1))?;
        for other in 0..self.seats.len() {
            if self.connected.remove(&(at.min(other), at.max(other))) {
                // The other one notices later, or when they meet again.
                let peer = super::seat::node_id(at);
                self.give(other, meridian_core::node::Input::PeerDown(peer));
            }
        }
        self.start_later(at);
        Ok(())
    }

    /// A machine that is down will be started.
    pub(super) fn start_later(&mut self, at: usize) {
        let (run, us) = (self.seats[at].run, self.lasts_us());
        self.due_in(us, Event::Start { seat: at, run });
    }

    /// A machine comes back with another disk, with which something may be wrong.
    pub(super) fn replace_disk(
        &mut self,
        at: usize,
        (disk, rot): (MemStorage, Rot),
        cause: Cause,
    ) -> Result<(), String> {
        self.figures.replaced += 1;
        let seat = &mut self.seats[at];
        (seat.disk, seat.rot) = (disk, rot);
        let kept = seat.disk.unsynced();
        self.history.facts.push((self.now_us, Fact::Replaced { node: at as u32 + 1 }));
        self.end_process(at, kept)?;
        self.excuse(cause);
        Ok(())
    }
}
