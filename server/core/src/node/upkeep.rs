//! Upkeep: what a node does for itself, a portion at a time, when the shell has time for it ([`Input::Work`](super::Input)).
//!
//! - rows are counted after an unclean start, and all of them are read again once in `deep_check_ms`, a shard at a time;
//! - staged rows are installed, or removed where their repair was given up;
//! - the log is cut, and rubbish in it removed;
//! - a replica with a damaged row is filled again (`refill`).
//!
//! What each peer has said to have of each shard, durably, is its acknowledgement: what all members have, may be cut off the log.

use super::{Node, Now, Output};
use crate::delta_log::Cut;
use crate::id::{NodeId, OriginId, ShardId};
use crate::replica::{Draft, Standing};
use crate::rows::{self, AtMost, Remove};
use crate::storage::{Disk, Overlay, Read, Space, StorageError};
use crate::version_vector::VersionVector;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound;

/// What is to be done, and what is known for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Upkeep {
    /// The other members of the cluster, once the shell has said who they are.
    members: Option<BTreeSet<NodeId>>,
    /// What each peer has said to have, and the root of its tree then.
    known: BTreeMap<NodeId, BTreeMap<ShardId, (VersionVector, Option<u64>)>>,
    /// Shards whose rows are to be counted, or checked.
    counting: BTreeSet<ShardId>,
    /// Shards whose staged rows are to be installed.
    installing: BTreeSet<ShardId>,
    /// Shards whose staged rows are to be removed.
    staged: BTreeSet<ShardId>,
    /// Damaged replicas that are filled again as soon as all rows of a peer are staged, and the origin under which this node makes its deltas
    /// of them then.
    pub(super) refilling: BTreeMap<ShardId, OriginId>,
    /// Shards that are emptied.
    pub(super) emptying: BTreeSet<ShardId>,
    /// Shards of which deltas are held, and the version vector with which none of them could be applied.
    pub(super) held: BTreeMap<ShardId, Option<VersionVector>>,
    /// Shards whose log has rubbish, and those whose log is to be cut.
    rubbish: BTreeSet<ShardId>,
    cutting: BTreeSet<ShardId>,
    /// Shards in which large removals are to be swept, and where a portion was swept last.
    sweeping: BTreeSet<ShardId>,
    swept: Option<ShardId>,
    /// Deltas that were cut off the log since the start.
    cut: u64,
    /// The last shard that was checked because it was its turn, counted from the clock's beginning.
    checked: Option<u64>,
}

impl Upkeep {
    /// What is left to do from before the start.
    pub(super) fn open(
        disk: &dyn Read,
        replicas: impl Iterator<Item = (ShardId, Standing, bool, bool, bool)>,
    ) -> Result<Upkeep, StorageError> {
        let [staged, held] = rows::staged_shards(disk)?;
        let mut upkeep = Upkeep { staged, ..Upkeep::default() };
        upkeep.held = held.into_iter().map(|shard| (shard, None)).collect();
        for (shard, standing, counts, has_rubbish, masked) in replicas {
            upkeep.masked(shard, masked && standing == Standing::InService);
            upkeep.counting.extend(counts.then_some(shard));
            upkeep.rubbish.extend(has_rubbish.then_some(shard));
            if matches!(standing, Standing::Quarantined | Standing::Emptying { .. }) {
                upkeep.counting.remove(&shard);
            }
            match standing {
                Standing::Installing { .. } => {
                    upkeep.staged.remove(&shard);
                    upkeep.installing.insert(shard);
                }
                Standing::Emptying { .. } => {
                    // What is staged is to take the place of what is removed, and what is held is handed over then.
                    upkeep.staged.remove(&shard);
                    upkeep.held.remove(&shard);
                    upkeep.emptying.insert(shard);
                }
                Standing::Filling(_) => drop(upkeep.held.entry(shard).or_default()),
                Standing::InService | Standing::Quarantined | Standing::Ruined => {}
            }
        }
        Ok(upkeep)
    }

    /// What a peer has said last to have of a shard.
    pub(super) fn known(&self, peer: NodeId, shard: ShardId) -> Option<&VersionVector> {
        Some(&self.known.get(&peer)?.get(&shard)?.0)
    }

    /// The same, and the root that it said with it.
    pub(super) fn heard(&self, peer: NodeId, shard: ShardId) -> Option<&(VersionVector, Option<u64>)> {
        self.known.get(&peer)?.get(&shard)
    }

    /// A peer has come: what it said before may be of a disk that it does not have any more.
    pub(super) fn peer_up(&mut self, peer: NodeId) {
        self.known.remove(&peer);
    }

    /// A peer says what it has.
    pub(super) fn hear(&mut self, peer: NodeId, shard: ShardId, vector: VersionVector, root: Option<u64>) {
        self.known.entry(peer).or_default().insert(shard, (vector, root));
    }

    /// Whether rows of an earlier repair are still staged.
    pub(super) fn is_staged(&self, shard: ShardId) -> bool {
        self.staged.contains(&shard)
    }

    /// The log has rubbish.
    pub(super) fn sweep(&mut self, shard: ShardId) {
        self.rubbish.insert(shard);
    }

    /// A replica has masks, or has not.
    pub(super) fn masked(&mut self, shard: ShardId, masked: bool) {
        match masked {
            true => drop(self.sweeping.insert(shard)),
            false => drop(self.sweeping.remove(&shard)),
        }
    }

    /// Where the next portion is swept: all shards have their turn, for each is without a root, and without repairs, until it is done.
    fn next_to_sweep(&mut self) -> Option<ShardId> {
        let after = self.swept.map_or(Bound::Unbounded, Bound::Excluded);
        self.swept = self.sweeping.range((after, Bound::Unbounded)).chain(&self.sweeping).next().copied();
        self.swept
    }

    /// What is staged is complete.
    pub(super) fn install(&mut self, shard: ShardId) {
        self.installing.insert(shard);
    }

    /// Whether what is staged is complete, and not all of it is installed.
    pub(super) fn is_installing(&self, shard: ShardId) -> bool {
        self.installing.contains(&shard) || self.emptying.contains(&shard)
    }

    /// What was staged is installed.
    pub(super) fn installed(&mut self, shard: ShardId) {
        self.installing.remove(&shard);
        self.rubbish.insert(shard);
        if let Some(tried) = self.held.get_mut(&shard) {
            *tried = None;
        }
    }

    /// Whether a damaged replica is to be filled again.
    pub(super) fn refills(&self, shard: ShardId) -> bool {
        self.refilling.contains_key(&shard)
    }

    /// What was staged is not wanted any more.
    pub(super) fn drop_staged(&mut self, shard: ShardId) {
        self.installing.remove(&shard);
        self.staged.insert(shard);
    }

    fn has_work(&self) -> bool {
        let Upkeep { counting, installing, staged, emptying, rubbish, cutting, sweeping, .. } = self;
        let sets = [counting, installing, staged, emptying, rubbish, cutting, sweeping];
        sets.iter().any(|set| !set.is_empty()) || self.held.values().any(Option::is_none)
    }

    /// What all members have of a shard; nothing where that is not known.
    fn acknowledged(&self, shard: ShardId, own: &VersionVector) -> VersionVector {
        let Some(members) = &self.members else { return VersionVector::default() };
        let mut all = own.clone();
        for member in members {
            match self.known(*member, shard) {
                Some(vector) => all.meet(vector),
                None => return VersionVector::default(),
            }
        }
        all
    }
}

impl Node {
    /// Whether the shell should give time for [`Input::Work`](super::Input).
    pub fn has_work(&self) -> bool {
        self.upkeep.has_work() || self.repairs.has_work() || self.sources.has_work()
    }

    /// How many deltas were cut off the log since the start.
    pub fn deltas_cut(&self) -> u64 {
        self.upkeep.cut
    }

    /// The shell says who the other members are.
    pub(super) fn members(&mut self, members: BTreeSet<NodeId>) {
        self.upkeep.known.retain(|peer, _| members.contains(peer));
        self.upkeep.members = Some(members);
    }

    /// Does a portion of each thing that is to be done.
    pub(super) fn work(&mut self, now: Now, disk: &dyn Disk) -> Result<(), StorageError> {
        self.each(|upkeep| &upkeep.installing, |node, shard| node.install_on(now, disk, shard))?;
        if let Err((shard, error)) = self.list_portions(now) {
            self.quarantine(shard, error)?;
        }
        if let Err((shard, error)) = self.read_portions(disk) {
            self.quarantine(shard, error)?;
        }
        self.first(|upkeep| &upkeep.emptying, |node, shard| node.empty_on(disk, shard))?;
        self.first(|upkeep| &upkeep.staged, |node, shard| node.remove_staged(disk, shard))?;
        self.first(|upkeep| &upkeep.counting, |node, shard| node.count_on(disk, shard))?;
        if let Some(shard) = self.upkeep.next_to_sweep() {
            self.sweep_masks(disk, shard).or_else(|error| self.quarantine(shard, error))?;
        }
        self.first(|upkeep| &upkeep.rubbish, |node, shard| node.sweep_on(disk, shard))?;
        self.first(|upkeep| &upkeep.cutting, |node, shard| node.cut_on(disk, shard))?;
        let untried = self.upkeep.held.iter().find(|(_, tried)| tried.is_none());
        match untried.map(|(shard, _)| *shard) {
            Some(shard) => self.hand_over(now, disk, shard).or_else(|error| self.quarantine(shard, error)),
            None => Ok(()),
        }
    }

    /// Does something for the first shard of a set. Damage takes its replica out of service.
    fn first(
        &mut self,
        set: impl Fn(&Upkeep) -> &BTreeSet<ShardId>,
        act: impl Fn(&mut Node, ShardId) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        match set(&self.upkeep).first().copied() {
            Some(shard) => act(self, shard).or_else(|error| self.quarantine(shard, error)),
            None => Ok(()),
        }
    }

    /// As [`Node::first`], for all of a set.
    fn each(
        &mut self,
        set: impl Fn(&Upkeep) -> &BTreeSet<ShardId>,
        act: impl Fn(&mut Node, ShardId) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let shards = set(&self.upkeep).clone();
        shards
            .into_iter()
            .try_for_each(|shard| act(self, shard).or_else(|error| self.quarantine(shard, error)))
    }

    /// A replica is out of service: nothing is done for it as it was.
    pub(super) fn forget_upkeep(&mut self, shard: ShardId) {
        let Upkeep { counting, installing, emptying, rubbish, cutting, sweeping, held, refilling, .. } =
            &mut self.upkeep;
        refilling.remove(&shard);
        for set in [counting, installing, emptying, rubbish, cutting, sweeping] {
            set.remove(&shard);
        }
        held.remove(&shard);
    }

    // -- rows ----------------------------------------------------------------------------------------------------------

    fn install_on(&mut self, now: Now, disk: &dyn Disk, shard: ShardId) -> Result<(), StorageError> {
        let Standing::Installing { theirs, had } = self.shard(shard).replica.standing() else {
            return Ok(());
        };
        let (theirs, refills) = (theirs.clone(), had.is_some());
        self.install_portion(now, disk, shard, theirs, AtMost::rows(self.config.portion_rows))?;
        if refills && !self.upkeep.is_installing(shard) {
            self.upkeep.held.insert(shard, None);
        }
        Ok(())
    }

    fn remove_staged(&mut self, disk: &dyn Disk, shard: ShardId) -> Result<(), StorageError> {
        let rows = Overlay { disk, batch: &self.turn.batch };
        let (_, found) = rows::rows_first(&rows, shard, Remove::Staged, self.config.portion_rows)?;
        if found.is_empty() {
            self.upkeep.staged.remove(&shard);
        }
        found.into_iter().for_each(|row| self.turn.batch.delete(Space::Stage, row));
        self.turn.batch.commit();
        Ok(())
    }

    fn count_on(&mut self, disk: &dyn Disk, shard: ShardId) -> Result<(), StorageError> {
        let Node { shards, origins, turn, config, upkeep, .. } = self;
        let replica = &mut shards[usize::from(shard.0)].replica;
        let rows = Overlay { disk, batch: &turn.batch };
        replica.count_rows(rows, origins, config.portion_rows)?;
        if replica.tree().is_some() {
            turn.changed.insert(shard);
        }
        if !replica.is_counting() {
            upkeep.counting.remove(&shard);
        }
        Ok(())
    }

    fn sweep_masks(&mut self, disk: &dyn Disk, shard: ShardId) -> Result<(), StorageError> {
        let Node { shards, origins, turn, config, upkeep, .. } = self;
        let replica = &mut shards[usize::from(shard.0)].replica;
        // Each row is read, hashed and removed: fewer of them are a portion.
        let rows_max = config.portion_rows.div_ceil(4);
        replica.sweep_masks(&mut Draft { disk, batch: &mut turn.batch, origins }, rows_max)?;
        if replica.masks().is_empty() {
            upkeep.masked(shard, false);
        }
        turn.changed.insert(shard);
        Ok(())
    }

    /// All rows of a shard are read again and compared with its tree.
    pub(super) fn check_shard(&mut self, shard: ShardId) {
        let replica = &mut self.shards[usize::from(shard.0)].replica;
        if !replica.is_out_of_service() {
            replica.check_all();
            self.upkeep.counting.extend(replica.is_counting().then_some(shard));
        }
    }

    /// Time has passed: the next shard is checked when it is its turn.
    pub(super) fn check_due(&mut self, now: Now) {
        let count = u64::from(self.config.shards.get());
        let turn = now.mono_ms.saturating_mul(count) / self.config.deep_check_ms.max(1);
        let last = self.upkeep.checked.replace(turn).unwrap_or(turn);
        for turn in last.max(turn.saturating_sub(count))..turn {
            self.check_shard(ShardId((turn % count) as u16));
        }
    }

    // -- the log -------------------------------------------------------------------------------------------------------

    fn sweep_on(&mut self, disk: &dyn Disk, shard: ShardId) -> Result<(), StorageError> {
        let Node { shards, origins, turn, config, upkeep, .. } = self;
        let replica = &mut shards[usize::from(shard.0)].replica;
        replica.sweep_log(&mut Draft { disk, batch: &mut turn.batch, origins }, config.portion_rows)?;
        if !replica.has_rubbish() {
            upkeep.rubbish.remove(&shard);
        }
        Ok(())
    }

    /// Looks whether the log of a shard is longer than is kept.
    pub(super) fn cut_if_long(&mut self, shard: ShardId) {
        let kept = self.config.log_keep_bytes / u64::from(self.config.shards.get());
        let replica = &self.shard(shard).replica;
        if !replica.is_out_of_service() && replica.log_bytes().is_some_and(|bytes| bytes > kept) {
            self.upkeep.cutting.insert(shard);
        }
    }

    fn cut_on(&mut self, disk: &dyn Disk, shard: ShardId) -> Result<(), StorageError> {
        let count = u64::from(self.config.shards.get());
        let (kept, most) = (self.config.log_keep_bytes / count, self.config.log_bytes_max / count);
        let Node { shards, origins, turn, config, upkeep, .. } = self;
        let replica = &mut shards[usize::from(shard.0)].replica;
        let bytes = replica.log_bytes().unwrap_or(0);
        let vector = replica.vector().clone();
        // Where it is too long, also what some member lacks; but no more of that than is too much.
        let all = upkeep.acknowledged(shard, &vector);
        let acknowledged = bytes <= most;
        let (upto, bytes) = match acknowledged {
            true => (&all, bytes.saturating_sub(kept)),
            false => (&vector, bytes - most),
        };
        let mut draft = Draft { disk, batch: &mut turn.batch, origins };
        let cut = Cut { upto, bytes, rows_max: config.portion_rows, acknowledged };
        let gone = if bytes == 0 { 0 } else { replica.cut_log(&mut draft, cut)? };
        upkeep.cut += gone as u64;
        if gone == 0 {
            upkeep.cutting.remove(&shard);
        }
        Ok(())
    }

    // -- comparing -----------------------------------------------------------------------------------------------------

    /// A peer has said what it has, and the root of its tree. With an equal version vector an unequal root is an alarm: then all
    /// rows here are read again; and where most members hold something else, this replica is the one that is wrong.
    pub(super) fn compare(
        &mut self,
        peer: NodeId,
        shard: ShardId,
        vector: &VersionVector,
        root: Option<u64>,
    ) -> Result<(), StorageError> {
        let replica = &self.shard(shard).replica;
        let (Some(theirs), Some(tree)) = (root, replica.tree()) else { return Ok(()) };
        let own = crate::merkle::short(tree.root());
        if vector != replica.vector() || theirs == own || replica.is_out_of_service() {
            return Ok(());
        }
        self.turn.outputs.push(Output::Diverged { shard, peer });
        let equal = self.upkeep.known.values().filter_map(|known| known.get(&shard));
        let roots: Vec<Option<u64>> =
            equal.filter(|(other, _)| other == vector).map(|(_, root)| *root).collect();
        let agree = |root| roots.iter().filter(|other| **other == Some(root)).count();
        let members = self.upkeep.members.as_ref().map_or(0, BTreeSet::len) + 1;
        if agree(theirs) * 2 > members {
            let why = "most members hold something else at the same version vector";
            let key = shard.0.to_be_bytes().to_vec();
            return self.quarantine(shard, StorageError::Corrupt { space: Space::Head, key, why });
        }
        self.check_shard(shard);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_swept_in_turns() {
        let mut upkeep = Upkeep::default();
        assert_eq!(upkeep.next_to_sweep(), None);
        [1, 2, 5].iter().for_each(|shard| upkeep.masked(ShardId(*shard), true));
        let next = |upkeep: &mut Upkeep| upkeep.next_to_sweep().map(|shard| shard.0);
        assert_eq!([(); 4].map(|()| next(&mut upkeep)), [Some(1), Some(2), Some(5), Some(1)]);
        // One that is done, and one that has come, are where they belong.
        upkeep.masked(ShardId(2), false);
        upkeep.masked(ShardId(3), true);
        assert_eq!([(); 3].map(|()| next(&mut upkeep)), [Some(3), Some(5), Some(1)]);
        upkeep.masked(ShardId(1), false);
        upkeep.masked(ShardId(3), false);
        assert_eq!([(); 2].map(|()| next(&mut upkeep)), [Some(5); 2]);
    }
}
