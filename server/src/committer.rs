//! The committer: makes written turns durable, publishes what readers may see, and only then releases the replies.
//!
//! One sync of the log covers all turns that were written before it, so the more is under way, the less a sync costs
//! each: group commit, without anyone waiting for a timer.

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
use std::sync::mpsc::Receiver;
use std::time::Instant;

/// Most turns that wait for the committer. When as many wait, the driver does.
pub const TURNS_MAX: usize = 32;

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
}

impl Written {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.state.is_none() && self.replies.is_empty() && self.sends.is_empty() && self.complaints.is_empty()
    }
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
        while let Ok(first) = turns.recv() {
            let mut batch = vec![first];
            batch.extend(turns.try_iter());
            let newest = batch.iter_mut().rev().find_map(|turn| turn.state.take());
            if let Some((state, version)) = newest {
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
