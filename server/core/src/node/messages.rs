//! What peers say: deltas to apply, park or drop, and pulls to answer. Where something is missing, pull it.

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
        let complete = self.take_in(now, disk, from, shard, deltas)?;
        if !complete && self.shard_mut(shard).pulls.needs(from) {
            self.pull(now, from, shard);
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
        let complete = self.take_in(now, disk, from, shard, deltas)?;
        let again_at_ms = now.mono_ms.saturating_add(self.config.pull_retry_ms);
        let state = self.shard_mut(shard);
        let renew = state.pulls.answered(from);
        let progress = *state.replica.vector() != before;
        match (more || renew || !complete, progress) {
            (false, _) => {}
            (true, true) => self.pull(now, from, shard),
            // It brings nothing further now: it rests, and others are asked too.
            (true, false) => state.pulls.asked(from, again_at_ms),
        }
        Ok(())
    }

    /// Applies deltas, or parks them. Says whether nothing is known to be missing before any of them.
    fn take_in(
        &mut self,
        now: Now,
        disk: &dyn Read,
        from: NodeId,
        shard: ShardId,
        deltas: Vec<Arc<Delta>>,
    ) -> Result<bool, StorageError> {
        let parked_bytes_max = self.config.parked_bytes_max;
        let mut all_kept = true;
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
                Gate::Ready => self.apply(disk, &delta, shard)?,
                Gate::Waits => all_kept &= state.parking.park(delta, parked_bytes_max),
                Gate::Seen | Gate::Full => {}
            }
        }
        self.apply_parked(disk, shard)?;
        let state = self.shard_mut(shard);
        let complete = all_kept && state.parking.is_empty();
        state.pulls.waiting = !complete;
        Ok(complete)
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
    fn apply_parked(&mut self, disk: &dyn Read, shard: ShardId) -> Result<(), StorageError> {
        loop {
            let state = self.shard_mut(shard);
            let mut fronts = state.parking.fronts().map(|delta| (delta.dot, state.replica.gate(delta)));
            let Some((dot, gate)) = fronts.find(|(_, gate)| matches!(gate, Gate::Ready | Gate::Seen)) else {
                return Ok(());
            };
            drop(fronts);
            let delta = state.parking.take(dot).expect("it was found just now");
            if gate == Gate::Ready {
                self.apply(disk, &delta, shard)?;
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

    /// Asks a peer for what is missing here.
    fn pull(&mut self, now: Now, peer: NodeId, shard: ShardId) {
        let again_at_ms = now.mono_ms.saturating_add(self.config.pull_retry_ms);
        let state = self.shard_mut(shard);
        state.pulls.asked(peer, again_at_ms);
        let have = state.replica.vector().clone();
        self.turn.outputs.push(Output::Send { to: peer, message: Message::Pull { shard, have } });
    }

    /// A peer can be reached again: whatever was lost on the way is asked for.
    pub(super) fn peer_up(&mut self, now: Now, peer: NodeId) {
        self.peers.insert(peer);
        for shard in self.config.shards.shards() {
            if !self.shard(shard).replica.is_quarantined() {
                self.pull(now, peer, shard);
            }
        }
    }

    /// A peer cannot be reached: what it was asked for is asked of another at the next tick.
    pub(super) fn peer_down(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
        for state in &mut self.shards {
            state.pulls.forget(peer);
        }
    }

    /// Pulls again what was not answered in time.
    pub(super) fn retry_pulls(&mut self, now: Now) {
        for shard in self.config.shards.shards() {
            for peer in self.shard(shard).pulls.due(now.mono_ms, self.peers.iter()) {
                self.pull(now, peer, shard);
            }
        }
    }
}
