//! How a replica with a damaged row is filled again.
//!
//! ```text
//! Quarantined  --all that a peer has is staged-->  Emptying  -->  Installing  -->  Filling  -->  InService
//!                                                  own rows go,   staged rows     what is held
//!                                                  the log is     come            is handed over
//!                                                  held
//! ```
//!
//! - Nothing is removed before all that a peer has is staged here, and with what the own log has that must be all that the
//!   replica had. So two replicas that are damaged at once give up nothing on each other's word: the one that is asked says at once
//!   that it is out of service.
//! - A peer that is in service and holds nothing is a source too, of nothing, where the own log reaches back to the first delta and
//!   no peer that can be reached has more.
//! - From `Emptying` on no peer is needed, and a restart goes on where it was.
//! - Deltas that only the own log had are held while the replica is emptied, and applied in the end.

use super::{Node, Now, Output};
use crate::id::{Dot, NodeId, OriginId, ShardId};
use crate::replica::{Draft, Held, Standing};
use crate::rows::{self, AtMost};
use crate::storage::{Disk, Overlay, StorageError};
use crate::version_vector::VersionVector;
use alloc::vec::Vec;

impl Node {
    /// A replica with a damaged row is to be filled again: from a peer that has all that the own log lacks. Nothing is removed before all
    /// that the peer has is staged here. From then on this node makes its deltas of this shard under `origin`, which was never used
    /// before.
    pub(super) fn refill(&mut self, now: Now, shard: ShardId, origin: OriginId) {
        let Some(state) = self.shards.get(usize::from(shard.0)) else { return };
        let is_damaged = *state.replica.standing() == Standing::Quarantined;
        if !is_damaged || self.origins.contains(origin) {
            return;
        }
        self.upkeep.refilling.entry(shard).or_insert(origin);
        self.refill_from_any(now, shard);
    }

    /// A damaged replica that is to be filled again wants it from each peer that can help.
    pub(super) fn refill_from_any(&mut self, now: Now, shard: ShardId) {
        if !self.upkeep.refills(shard) {
            return;
        }
        let peers: Vec<NodeId> = self.pulls.peers().filter(|peer| self.helps(shard, *peer)).collect();
        for peer in peers {
            self.want_repair(now, shard, peer);
        }
    }

    /// Whether a peer has said to have all that the own log of a damaged replica lacks.
    pub(super) fn helps(&self, shard: ShardId, peer: NodeId) -> bool {
        let low = self.shard(shard).replica.low();
        match self.upkeep.heard(peer, shard) {
            Some((vector, _)) if !vector.is_empty() => vector.includes(low),
            // In service, and it holds nothing. One that is out of service knows no root.
            Some((_, Some(_))) => self.suffices_alone(shard),
            _ => false,
        }
    }

    /// Whether the own log of a damaged replica is all that there is: it reaches back to the first delta, and every peer that can be
    /// reached has said that it holds nothing, or is out of service as well.
    pub(super) fn suffices_alone(&self, shard: ShardId) -> bool {
        let has_nothing = |peer| self.upkeep.heard(peer, shard).is_some_and(|(vector, _)| vector.is_empty());
        self.shard(shard).replica.low().is_empty() && self.pulls.peers().all(has_nothing)
    }

    /// All that a peer has is staged: a damaged replica removes its own rows.
    pub(super) fn begin_emptying(&mut self, shard: ShardId, theirs: VersionVector) {
        let Node { shards, turn, upkeep, applied, .. } = self;
        let replica = &mut shards[usize::from(shard.0)].replica;
        let Some(origin) = upkeep.refilling.remove(&shard) else { return };
        *applied = applied.wrapping_sub(replica.vector().deltas());
        replica.empty(&mut turn.batch, theirs, origin);
        turn.changed.insert(shard);
        upkeep.emptying.insert(shard);
    }

    /// Removes a portion of a replica's own rows.
    pub(super) fn empty_on(&mut self, disk: &dyn Disk, shard: ShardId) -> Result<(), StorageError> {
        let Node { shards, origins, turn, config, upkeep, .. } = self;
        let replica = &mut shards[usize::from(shard.0)].replica;
        let mut draft = Draft { disk, batch: &mut turn.batch, origins };
        let emptied = replica.empty_on(&mut draft, config.portion_rows)?;
        if emptied.unread > 0 {
            turn.outputs.push(Output::Unread { shard, deltas: emptied.unread });
        }
        if emptied.all {
            upkeep.emptying.remove(&shard);
            upkeep.install(shard);
        }
        Ok(())
    }

    /// Applies deltas that are held, as far as that is possible now. A replica that is filled answers again then.
    pub(super) fn hand_over(
        &mut self,
        now: Now,
        disk: &dyn Disk,
        shard: ShardId,
    ) -> Result<(), StorageError> {
        let mut at_most = AtMost::rows(self.config.portion_rows);
        loop {
            let rows = Overlay { disk, batch: &self.turn.batch };
            let replica = &self.shard(shard).replica;
            let next = if replica.is_frozen() { None } else { replica.next_held(rows)? };
            let mut bytes = 0;
            match next {
                Some(Held::Ready(delta)) => {
                    bytes = delta.size();
                    self.observe(now, &delta);
                    self.apply(now, disk, &delta, shard)?;
                    self.drop_held(shard, delta.dot);
                }
                Some(Held::Known(dot)) => self.drop_held(shard, dot),
                Some(Held::Unread(dot)) => {
                    self.drop_held(shard, dot);
                    self.turn.outputs.push(Output::Unread { shard, deltas: 1 });
                }
                None => return self.handed_over(disk, shard),
            }
            if at_most.count(bytes).is_break() {
                return Ok(());
            }
        }
    }

    fn drop_held(&mut self, shard: ShardId, dot: Dot) {
        rows::delete_held(&mut self.turn.batch, shard, dot);
        self.turn.batch.commit();
    }

    /// Nothing that is held can be applied now.
    fn handed_over(&mut self, disk: &dyn Disk, shard: ShardId) -> Result<(), StorageError> {
        let rows = Overlay { disk, batch: &self.turn.batch };
        let mut some_left = false;
        rows::scan_held(&rows, shard, Dot::new(OriginId(0), 0), &mut |_, _| {
            some_left = true;
            core::ops::ControlFlow::Break(())
        })?;
        let Node { shards, turn, upkeep, .. } = self;
        let replica = &mut shards[usize::from(shard.0)].replica;
        if let Standing::Filling(had) = replica.standing() {
            let lost = had.iter().map(|last| last.seq.saturating_sub(replica.vector().at(last.origin))).sum();
            replica.filled(&mut turn.batch);
            turn.changed.insert(shard);
            turn.outputs.push(Output::Refilled { shard, lost });
        }
        let vector = replica.vector().clone();
        upkeep.masked(shard, !replica.masks().is_empty() && !replica.is_out_of_service());
        match some_left {
            true => drop(upkeep.held.insert(shard, Some(vector))),
            false => drop(upkeep.held.remove(&shard)),
        }
        Ok(())
    }

    /// A replica has applied something: what is held may be applicable now.
    pub(super) fn try_held(&mut self, shard: ShardId) {
        if let Some(tried) = self.upkeep.held.get_mut(&shard)
            && tried.as_ref() != Some(self.shards[usize::from(shard.0)].replica.vector())
        {
            *tried = None;
        }
    }
}
