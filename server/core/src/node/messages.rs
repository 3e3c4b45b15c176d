//! What peers say: deltas to apply, park or drop, pulls to answer, and what they have. Where something is missing, pull it.

use super::{Node, Now, Output};
use crate::delta::Delta;
use crate::delta_log;
use crate::id::{NodeId, ShardId};
use crate::message::Message;
use crate::planted::Bug;
use crate::replica::Gate;
use crate::rows;
use crate::storage::{Overlay, Read, StorageError};
use crate::version_vector::VersionVector;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Node {
    pub(super) fn message(
        &mut self,
        now: Now,
        disk: &dyn Read,
        from: NodeId,
        message: Message,
    ) -> Result<(), StorageError> {
        let shard = message.shard();
        let in_service = self.replica(shard).is_some_and(|replica| !replica.is_quarantined());
        if !in_service {
            return Ok(());
        }
        let done = match message {
            Message::Fresh { deltas, .. } => self.fresh(now, disk, from, shard, deltas),
            Message::Pull { have, .. } => self.answer_pull(disk, from, shard, &have),
            Message::Missing { deltas, more, .. } => self.pulled(now, disk, from, shard, deltas, more),
            Message::Have { vector, .. } => {
                self.have(now, from, shard, vector);
                Ok(())
            }
        };
        done.or_else(|error| self.quarantine(shard, error))
    }

    /// Deltas that a peer has just made: what came before them may be missing.
    fn fresh(
        &mut self,
        now: Now,
        disk: &dyn Read,
        from: NodeId,
        shard: ShardId,
        deltas: Vec<Arc<Delta>>,
    ) -> Result<(), StorageError> {
        let has = deltas.last().map(|last| {
            let mut has = last.past();
            has.raise(last.dot);
            has
        });
        self.take_in(now, disk, from, shard, deltas)?;
        if let Some(has) = has {
            self.pull_gap(now, from, shard, has);
        }
        Ok(())
    }

    /// The answer to a pull.
    fn pulled(
        &mut self,
        now: Now,
        disk: &dyn Read,
        from: NodeId,
        shard: ShardId,
        deltas: Vec<Arc<Delta>>,
        more: bool,
    ) -> Result<(), StorageError> {
        let before = self.shard(shard).replica.vector().clone();
        self.take_in(now, disk, from, shard, deltas)?;
        let progress = *self.shard(shard).replica.vector() != before;
        self.answered(now, from, shard, progress.then_some(more));
        Ok(())
    }

    /// Applies deltas, or parks them.
    fn take_in(
        &mut self,
        now: Now,
        disk: &dyn Read,
        from: NodeId,
        shard: ShardId,
        deltas: Vec<Arc<Delta>>,
    ) -> Result<(), StorageError> {
        let parked_bytes_max = self.config.parked_bytes_max;
        for delta in deltas {
            if !self.belongs(shard, &delta) {
                self.turn.outputs.push(Output::Misplaced { shard, dot: delta.dot, from });
                continue;
            }
            if delta.dot.origin == self.origin {
                self.check_own(disk, from, shard, &delta)?;
                continue;
            }
            self.observe(now, &delta);
            let state = self.shard_mut(shard);
            match state.replica.gate(&delta) {
                Gate::Ready => self.apply(now, disk, &delta, shard)?,
                Gate::Waits => state.parking.park(delta, parked_bytes_max),
                Gate::Seen | Gate::Full => {}
            }
        }
        self.apply_parked(now, disk, shard)
    }

    /// Whether all keys of a delta lie in the shard that it came for.
    fn belongs(&self, shard: ShardId, delta: &Delta) -> bool {
        let shards = self.config.shards;
        delta.changes.iter().all(|change| shards.shard_of(&change.bucket, &change.key) == shard)
    }

    /// A delta of this very run that comes back. One that this run did not make like this was made by a clone of it.
    fn check_own(
        &mut self,
        disk: &dyn Read,
        from: NodeId,
        shard: ShardId,
        delta: &Delta,
    ) -> Result<(), StorageError> {
        let rows = Overlay { disk, batch: &self.turn.batch };
        if rows::get_delta(&rows, shard, delta.dot)?.as_ref() != Some(delta) {
            self.turn.outputs.push(Output::OriginShared { shard, dot: delta.dot, from });
        }
        Ok(())
    }

    fn observe(&mut self, now: Now, delta: &Delta) {
        let skew_ms_max = match self.config.planted.has(Bug::ClockWithoutBound) {
            true => u64::MAX,
            false => self.config.clock_skew_ms_max,
        };
        self.clock.observe(delta.hlc, now.wall_ms, skew_ms_max);
    }

    /// Applies what was parked and is ready now, until nothing is.
    fn apply_parked(&mut self, now: Now, disk: &dyn Read, shard: ShardId) -> Result<(), StorageError> {
        loop {
            let state = self.shard_mut(shard);
            let mut fronts = state.parking.fronts().map(|delta| (delta.dot, state.replica.gate(delta)));
            let Some((dot, gate)) = fronts.find(|(_, gate)| matches!(gate, Gate::Ready | Gate::Seen)) else {
                return Ok(());
            };
            drop(fronts);
            let delta = state.parking.take(dot).expect("it was found just now");
            if gate == Gate::Ready {
                self.apply(now, disk, &delta, shard)?;
            }
        }
    }

    fn answer_pull(
        &mut self,
        disk: &dyn Read,
        from: NodeId,
        shard: ShardId,
        have: &VersionVector,
    ) -> Result<(), StorageError> {
        let rows = Overlay { disk, batch: &self.turn.batch };
        let vector = self.shard(shard).replica.vector();
        let missing = delta_log::missing(&rows, shard, vector, have, self.config.pull_bytes_max)?;
        let deltas = missing.deltas.into_iter().map(Arc::new).collect();
        let message = Message::Missing { shard, deltas, more: missing.more };
        self.turn.outputs.push(Output::Send { to: from, message });
        Ok(())
    }
}
