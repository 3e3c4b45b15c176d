//! What peers say: deltas to apply, park or drop, pulls to answer, and what they have. Where something is missing, pull it.

use super::{Node, Now, Output};
use crate::delta::Delta;
use crate::delta_log::{self, Rest};
use crate::id::{NodeId, ShardId};
use crate::message::Message;
use crate::planted::Bug;
use crate::replica::{Gate, Standing};
use crate::rows;
use crate::storage::{Disk, Overlay, Read, StorageError};
use crate::version_vector::VersionVector;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Node {
    /// The shell says whether the disk has room for what peers send. When it has again, what was put off is done.
    pub(super) fn room(&mut self, now: Now, disk: &dyn Disk, has_room: bool) -> Result<(), StorageError> {
        let has_room = has_room || self.config.planted.has(Bug::RoomIgnored);
        let had_room = core::mem::replace(&mut self.has_room, has_room);
        if has_room == had_room {
            return Ok(());
        }
        if !has_room {
            return self.abort_repairs(now, disk);
        }
        for shard in self.config.shards.shards() {
            self.apply_parked(now, disk, shard).or_else(|error| self.quarantine(shard, error))?;
        }
        self.pull_due(now);
        self.repairs_due(now, disk)
    }

    /// Takes in what an older database of this node still had.
    pub(super) fn salvaged(
        &mut self,
        now: Now,
        disk: &dyn Disk,
        own: NodeId,
        shard: ShardId,
        deltas: Vec<Arc<Delta>>,
    ) -> Result<(), StorageError> {
        let in_service =
            self.replica(shard).is_some_and(|replica| *replica.standing() == Standing::InService);
        if !in_service {
            return Ok(());
        }
        self.take_in(now, disk, own, shard, deltas).or_else(|error| self.quarantine(shard, error))
    }

    pub(super) fn message(
        &mut self,
        now: Now,
        disk: &dyn Disk,
        from: NodeId,
        message: Message,
    ) -> Result<(), StorageError> {
        let shard = message.shard();
        let Some(replica) = self.replica(shard) else { return Ok(()) };
        if !hears(replica.standing(), &message) {
            return Ok(());
        }
        let in_service = !replica.is_out_of_service();
        let done = match message {
            Message::Fresh { deltas, .. } => self.fresh(now, disk, from, shard, deltas),
            Message::Pull { have, .. } => self.answer_pull(disk, from, shard, have),
            Message::Missing { deltas, rest, .. } => self.pulled(now, disk, from, shard, deltas, rest),
            Message::Have { vector, root, .. } => {
                self.upkeep.hear(from, shard, vector.clone(), root);
                let compared = self.compare(from, shard, &vector, root);
                match in_service {
                    true if vector.is_empty() && root.is_none() => {
                        self.have(now, from, shard, vector);
                        self.announce_nothing(shard, from);
                    }
                    true => self.have(now, from, shard, vector),
                    false => self.refill_from_any(now, shard),
                }
                compared
            }
            Message::Ask { turn, ask, .. } => {
                self.repair_asked(now, disk, from, shard, turn, &ask);
                Ok(())
            }
            Message::Answer { turn, answer, .. } => {
                self.repair_answered(now, disk, from, shard, turn, answer)
            }
        };
        done.or_else(|error| self.quarantine(shard, error))?;
        self.repairs_due(now, disk)
    }

    /// Deltas that a peer has just made: what came before them may be missing. Without room for them they are, too.
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
        if self.has_room {
            self.take_in(now, disk, from, shard, deltas)?;
        }
        if let Some(has) = has {
            self.pull_gap(now, from, shard, has);
        }
        Ok(())
    }

    /// The answer to a pull. One for which there is no room is as good as none.
    fn pulled(
        &mut self,
        now: Now,
        disk: &dyn Read,
        from: NodeId,
        shard: ShardId,
        deltas: Vec<Arc<Delta>>,
        rest: Rest,
    ) -> Result<(), StorageError> {
        if !self.has_room {
            self.answered(now, from, shard, None);
            return Ok(());
        }
        let before = self.shard(shard).replica.vector().clone();
        self.take_in(now, disk, from, shard, deltas)?;
        let progress = *self.shard(shard).replica.vector() != before;
        if rest == Rest::Truncated {
            self.want_repair(now, shard, from);
        }
        self.answered(now, from, shard, progress.then_some(rest == Rest::More));
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
            if delta.dot.origin == self.shard(shard).replica.author() {
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
        let reach = self.shard(shard).replica.reach();
        let is_cut = reach.low.covers(delta.dot);
        if !is_cut && rows::get_delta(&rows, shard, delta.dot)?.as_ref() != Some(delta) {
            self.turn.outputs.push(Output::OriginShared { shard, dot: delta.dot, from });
        }
        Ok(())
    }

    pub(super) fn observe(&mut self, now: Now, delta: &Delta) {
        let skew_ms_max = match self.config.planted.has(Bug::ClockWithoutBound) {
            true => u64::MAX,
            false => self.config.clock_skew_ms_max,
        };
        self.clock.observe(delta.hlc, now.wall_ms, skew_ms_max);
    }

    /// Applies what was parked and is ready now, until nothing is, or there is no room.
    pub(super) fn apply_parked(
        &mut self,
        now: Now,
        disk: &dyn Read,
        shard: ShardId,
    ) -> Result<(), StorageError> {
        while self.has_room {
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
        Ok(())
    }

    fn answer_pull(
        &mut self,
        disk: &dyn Read,
        from: NodeId,
        shard: ShardId,
        have: VersionVector,
    ) -> Result<(), StorageError> {
        let rows = Overlay { disk, batch: &self.turn.batch };
        let reach = self.shard(shard).replica.reach();
        let missing = delta_log::missing(&rows, shard, reach, &have, self.config.pull_bytes_max)?;
        let deltas = missing.deltas.into_iter().map(Arc::new).collect();
        let denied = self.config.planted.has(Bug::TruncationDenied) && missing.rest == Rest::Truncated;
        let rest = if denied { Rest::None } else { missing.rest };
        let message = Message::Missing { shard, deltas, rest };
        self.turn.outputs.push(Output::Send { to: from, message });
        self.upkeep.hear(from, shard, have, None);
        Ok(())
    }
}

/// What a replica takes note of, by its standing. One that is out of service learns who has what, and may be repaired.
fn hears(standing: &Standing, message: &Message) -> bool {
    let hears_always = matches!(message, Message::Have { .. } | Message::Ask { .. });
    let is_answered = *standing == Standing::Quarantined && matches!(message, Message::Answer { .. });
    *standing == Standing::InService || hears_always || is_answered
}
