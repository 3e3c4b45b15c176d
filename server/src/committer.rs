//! The committer: makes written turns durable, publishes what readers may see, and only then releases the replies.
//!
//! One sync of the log covers all turns that were written before it, so the more is under way, the less a sync costs
//! each: group commit, without anyone waiting for a timer. Portions of what can wait say nothing to anybody: they are synced with
//! the next turn that does, or after a while.

use crate::data_dir::DataDir;
use crate::desk::{Desks, Waiter};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::published::Published;
use crate::rocks::Rocks;
use anyhow::Context as _;
use arc_swap::ArcSwap;
use meridian_core::id::NodeId;
use meridian_core::message::Message;
use meridian_core::node::{Output, Reply};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Most turns that wait for the committer. When as many wait, the driver does.
pub const TURNS_MAX: usize = 32;
/// How long turns of nothing but work are not synced, at most,
const WORK_WAITS: Duration = Duration::from_millis(50);
/// and how many of them.
const WORK_TURNS_MAX: usize = 32;

/// A turn that is written and not synced.
#[derive(Default)]
pub struct Written {
    /// What readers may see once it is synced, with the database's version; `None` where nothing changed.
    pub state: Option<(Published, u64)>,
    /// What is answered once it is synced.
    pub replies: Vec<(Waiter, Reply)>,
    /// What is sent to peers once it is synced.
    pub sends: Vec<(NodeId, Message)>,
    /// What else the node says: of damaged rows, of a cloned run.
    pub complaints: Vec<Output>,
    /// Whether nobody asked for it: a portion of what can wait.
    pub only_works: bool,
}

impl Written {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.state.is_none() && self.is_silent()
    }

    /// Whether nobody is told anything.
    fn is_silent(&self) -> bool {
        self.replies.is_empty() && self.sends.is_empty() && self.complaints.is_empty()
    }
}

/// Turns of work that are not synced yet.
struct Unsynced {
    /// What readers may see once they are, and the database's version.
    state: (Published, u64),
    turns: usize,
    /// Until when they may wait.
    until: Instant,
}

impl Unsynced {
    fn are_due(&self) -> bool {
        self.turns >= WORK_TURNS_MAX || Instant::now() >= self.until
    }
}

/// The turns that came, none where what is not synced has waited long enough; `None` when there is nothing more to sync.
fn next(turns: &Receiver<Written>, unsynced: Option<&Unsynced>) -> Option<Vec<Written>> {
    let first = match unsynced {
        None => turns.recv().ok()?,
        Some(Unsynced { until, .. }) => {
            match turns.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Some(Vec::new()),
            }
        }
    };
    Some([first].into_iter().chain(turns.try_iter()).collect())
}

/// Adds turns to those that are not synced.
fn wait(before: Option<Unsynced>, newest: Option<(Published, u64)>, more: usize) -> Option<Unsynced> {
    let (turns, until) = match &before {
        Some(before) => (before.turns, before.until),
        None => (0, Instant::now() + WORK_WAITS),
    };
    let state = newest.or(before.map(|before| before.state))?;
    Some(Unsynced { state, turns: turns + more, until })
}

/// Whether nobody waits for any of these turns.
fn is_work(turns: &[Written]) -> bool {
    turns.iter().all(|turn| turn.only_works && turn.is_silent())
}

/// Owns the far end of the driver's turns.
pub struct Committer {
    /// The database whose log is synced.
    pub rocks: Rocks,
    /// Where the last synced version is noted.
    pub data_dir: Arc<DataDir>,
    /// What readers see.
    pub published: Arc<ArcSwap<Published>>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// Where replies and messages go.
    pub exits: Exits,
}

/// The ways out for what is durable.
pub struct Exits {
    /// Messages to peers.
    pub outbox: Arc<Outbox>,
    /// Replies to clients.
    pub desks: Desks,
}

impl Committer {
    /// Syncs turns until the driver ends.
    ///
    /// # Errors
    /// When the disk fails, or this run was cloned: the process must stop. What was not released is never released.
    pub fn run(self, turns: &Receiver<Written>) -> anyhow::Result<()> {
        let mut unsynced = None;
        while let Some(mut batch) = next(turns, unsynced.as_ref()) {
            let newest = batch.iter_mut().rev().find_map(|turn| turn.state.take());
            let due = batch.is_empty() || !is_work(&batch);
            unsynced = wait(unsynced, newest, batch.len());
            if let Some(Unsynced { state: (state, version), .. }) =
                unsynced.take_if(|unsynced| due || unsynced.are_due())
            {
                self.sync(version)?;
                self.metrics.quarantined.set(state.standings.out_of_service().count() as f64);
                self.metrics.masks.set(state.standings.masks() as f64);
                self.published.store(Arc::new(state));
            }
            let mut replies = Vec::new();
            let outcome = batch.into_iter().try_for_each(|turn| self.release(turn, &mut replies));
            self.exits.desks.release(replies);
            outcome?;
        }
        Ok(())
    }

    /// Lets out what a synced turn says; its replies are gathered.
    fn release(&self, turn: Written, replies: &mut Vec<(Waiter, Reply)>) -> anyhow::Result<()> {
        for complaint in turn.complaints {
            self.complain(complaint)?;
        }
        if !turn.sends.is_empty() {
            self.exits.outbox.send(turn.sends);
        }
        replies.extend(turn.replies);
        Ok(())
    }

    fn sync(&self, version: u64) -> anyhow::Result<()> {
        let began = Instant::now();
        self.rocks.sync_wal()?;
        self.metrics.sync_seconds.record(began.elapsed().as_secs_f64());
        self.data_dir.synced(version).context("the side file of the database cannot be written")
    }

    fn complain(&self, complaint: Output) -> anyhow::Result<()> {
        match complaint {
            Output::Quarantined { shard, error } => {
                tracing::error!(%shard, %error, "a row is damaged: this shard's replica is out of service");
                if self.rocks.corruptions() > 0 {
                    self.data_dir.mark_damaged(&error.to_string()).context("the damage cannot be noted")?;
                }
            }
            Output::OriginShared { shard, dot, from } => {
                anyhow::bail!(
                    "{shard:?}: {from:?} sent {dot:?}, which this run did not make: a clone of it runs"
                )
            }
            Output::Misplaced { shard, dot, from } => {
                tracing::error!(%shard, ?dot, ?from, "a delta of another shard was refused");
            }
            Output::Repaired { shard, from, figures } => {
                tracing::debug!(%shard, ?from, ?figures, "repaired");
                self.metrics.repaired(figures);
            }
            Output::RepairAborted { shard, from } => {
                tracing::debug!(%shard, ?from, "a repair was given up; another follows");
                self.metrics.repairs_given_up.increment(1);
            }
            Output::Refilled { shard, lost: 0 } => {
                tracing::warn!(%shard, "the replica is filled again and in service");
                self.metrics.refilled.increment(1);
            }
            Output::Refilled { shard, lost } => {
                tracing::error!(%shard, lost, "the replica is in service again, but nobody has all that it had applied");
                self.metrics.refilled.increment(1);
                self.metrics.deltas_lost.increment(lost);
            }
            Output::Unread { shard, deltas } => {
                if self.rocks.corruptions() > 0 {
                    let what = format!("{deltas} deltas of {shard:?} cannot be read");
                    self.data_dir.mark_damaged(&what).context("the damage cannot be noted")?;
                }
                tracing::error!(%shard, deltas, "deltas of the log cannot be read: it does not reach back over them");
                self.metrics.deltas_unread.increment(deltas as u64);
            }
            Output::Diverged { shard, peer } => {
                tracing::error!(%shard, ?peer, "equal version vectors, and this peer holds something else");
                self.metrics.divergence.increment(1);
            }
            Output::Reply { .. } | Output::Send { .. } => unreachable!("the driver has sorted them out"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_core::id::OriginId;
    use meridian_core::node::{Config, Node};
    use std::sync::mpsc::channel;

    /// The database's state with a version; what it holds does not matter here.
    fn state(version: u64) -> (Published, u64) {
        let place = tempfile::tempdir().expect("a directory");
        let rocks = Rocks::open(place.path(), 1 << 20).expect("RocksDB opens");
        let config = Config::default();
        let node = Node::open(config.clone(), &rocks, OriginId(1)).expect("an empty disk opens");
        let standings = crate::published::Standings::of(&node, config.shards);
        (Published { snapshot: rocks.snapshot(), standings }, version)
    }

    #[test]
    fn a_portion_waits_for_the_next_turn_that_says_something_for_a_while_or_for_many_others() {
        let [first, second, third, fourth] = [1, 2, 3, 4].map(state);
        // Far from the end, however slow this machine is.
        let until = Instant::now() + Duration::from_secs(3600);
        let one = Unsynced { until, ..wait(None, Some(first), 1).expect("it is to be synced") };
        assert!(!one.are_due());
        let two = wait(Some(one), Some(second), 1).expect("both are");
        assert_eq!(
            (two.state.1, two.turns, two.until),
            (2, 2, until),
            "the newest, as long as the first may"
        );
        assert!(!two.are_due());
        let unchanged = wait(Some(two), None, 1).expect("they still are");
        assert_eq!(unchanged.state.1, 2, "a turn that changes nothing takes nothing away");
        let many = wait(Some(unchanged), Some(third), WORK_TURNS_MAX).expect("all are");
        assert!(many.are_due(), "so many are enough");
        let late = Unsynced { until: Instant::now(), ..wait(None, Some(fourth), 1).expect("it is") };
        assert!(late.are_due(), "it was long enough");

        let portion = || Written { only_works: true, ..Written::default() };
        assert!(is_work(&[portion(), portion()]));
        assert!(!is_work(&[portion(), Written::default()]), "a peer's delta is to be read soon");
        let complaints = vec![Output::Unread { shard: meridian_core::id::ShardId(0), deltas: 1 }];
        assert!(!is_work(&[Written { complaints, ..portion() }]), "what is said is durable");
    }

    #[test]
    fn what_waits_is_synced_after_a_while_and_at_the_end() {
        let (sender, turns) = channel();
        let (began, unsynced) = (Instant::now(), wait(None, Some(state(1)), 1));
        assert!(next(&turns, unsynced.as_ref()).is_some_and(|batch| batch.is_empty()));
        assert!(began.elapsed() >= WORK_WAITS / 2, "it waits for others");
        assert!(unsynced.as_ref().is_some_and(Unsynced::are_due));
        drop(sender);
        assert!(next(&turns, unsynced.as_ref()).is_some_and(|batch| batch.is_empty()), "not without a sync");
        assert!(is_work(&[]), "nothing came");
        assert!(next(&turns, None).is_none());
    }
}
