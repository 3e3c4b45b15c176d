//! The node's seam: inputs in, a batch and outputs out. A node is a value.
//!
//! ```text
//!   step(now, disk, input) ... step(now, disk, input)   each decides, changes go into the turn's batch
//!   end_turn() -> Turn { batch, outputs }
//!   the shell:  disk.write(batch)  ->  disk.sync()  ->  only now deliver the outputs
//! ```
//!
//! Rules:
//! - The same disk, origin, and inputs give the same outputs and the same batches, byte for byte.
//! - Nothing leaves a node before what it says is durable: the outputs wait in the turn.
//! - The disk is lent for reading. It must hold all batches of earlier turns, synced or not.
//! - An origin is used for one run. A node that is opened on a disk that knows its origin refuses.

mod config;
mod seam;
mod pulls;
mod announcements;
mod refill;
mod upkeep;
mod repairs;
mod sources;
mod messages;
mod requests;

use crate::delta::Delta;
use crate::delta_log::{self, Stretches};
use crate::hlc::Clock;
use crate::id::{Dot, OriginId, ShardId};
use crate::message::Message;
use crate::name::ShardCount;
use crate::parking::Parking;
use crate::planted::Bug;
use crate::replica::{Common, Draft, Found, Replica, Standing};
use crate::rows::{
    self, FORMAT, FORMAT_COUNTED, FORMAT_MARKED, HeadRow, Origins, Place, Stretch, Unfinished,
};
use crate::storage::{Batch, Disk, Overlay, Read, StorageError};
use crate::types::View;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use announcements::Announcements;
pub use config::Config;
use pulls::Pulls;
pub use repairs::Figures;
use repairs::Repairs;
pub use requests::{Operation, Reply, Request};
pub use seam::{Input, Now, OpenError, Output, Turn};
use sources::Sources;
use upkeep::Upkeep;

/// One running Meridian: everything it decides.
#[derive(Clone, Debug)]
pub struct Node {
    config: Config,
    origin: OriginId,
    clock: Clock,
    origins: Origins,
    shards: Vec<Shard>,
    /// How many deltas were applied, in all shards and runs, and how many the disk says there were.
    applied: u64,
    applied_noted: u64,
    pulls: Pulls,
    announcements: Announcements,
    repairs: Repairs,
    sources: Sources,
    upkeep: Upkeep,
    /// Whether the disk has room for what peers send.
    has_room: bool,
    turn: Turn,
    /// What this turn has made, for the peers.
    fresh: BTreeMap<ShardId, Vec<Arc<Delta>>>,
}

/// What a node holds of one shard.
#[derive(Clone, Debug)]
struct Shard {
    replica: Replica,
    parking: Parking,
}

impl Node {
    /// Opens on what the disk holds, as a run of its own: `origin` is 64 random bits that were never used before.
    ///
    /// The first turn's batch may already hold something to be written.
    ///
    /// # Errors
    /// [`OpenError`]: the message says what to do.
    pub fn open(config: Config, disk: &dyn Read, origin: OriginId) -> Result<Node, OpenError> {
        let mut batch = Batch::default();
        let format = rows::get_format(disk)?;
        match format {
            None if !rows::is_empty(disk)? => return Err(OpenError::FormatMissing),
            None => rows::put_format(&mut batch, config.shards),
            Some((found, _)) if found > FORMAT => {
                return Err(OpenError::FormatTooNew { found, known: FORMAT });
            }
            Some((_, found)) if found != u64::from(config.shards.get()) => {
                return Err(OpenError::ShardCount { found, told: config.shards.get() });
            }
            Some((FORMAT, _)) => {}
            Some(_) => rows::put_format(&mut batch, config.shards),
        }
        let origins = Origins::load(disk)?;
        if origins.contains(origin) && !config.planted.has(Bug::OriginReused) {
            return Err(OpenError::OriginUsed(origin));
        }
        if format.is_some_and(|(format, _)| format < FORMAT_MARKED) {
            mark_all(disk, &origins, &mut batch)?;
        }
        let loaded = load(disk, config.shards, &mut batch)?;
        let applied = loaded.iter().map(|found| found.vector.deltas()).fold(0, u64::wrapping_add);
        batch.commit();
        let applied_noted = rows::get_applied(disk)?;
        let told = match format {
            Some((format, _)) if format < FORMAT_COUNTED => noted(disk)?,
            _ => applied_noted,
        };
        if told != applied {
            return Err(OpenError::PartOlder { found: applied, told });
        }
        let common =
            Common { seed: config.seed, removal_rows_max: config.removal_rows_max, planted: config.planted };
        let shard = |(id, found)| Shard {
            replica: Replica::open(id, origin, common, found),
            parking: Parking::default(),
        };
        let shards: Vec<Shard> = config.shards.shards().zip(loaded).map(shard).collect();
        let replicas = shards.iter().map(|shard| {
            let replica = &shard.replica;
            let standing = replica.standing().clone();
            (
                replica.shard(),
                standing,
                replica.is_counting(),
                replica.has_rubbish(),
                !replica.masks().is_empty(),
            )
        });
        let upkeep = Upkeep::open(disk, replicas)?;
        Ok(Node {
            config,
            origin,
            clock: Clock::default(),
            origins,
            shards,
            applied,
            applied_noted,
            pulls: Pulls::default(),
            announcements: Announcements::default(),
            repairs: Repairs::default(),
            sources: Sources::default(),
            upkeep,
            has_room: true,
            turn: Turn { batch, ..Turn::default() },
            fresh: BTreeMap::new(),
        })
    }

    /// Decides about one input: changes go into the turn's batch, what is to be said into its outputs.
    ///
    /// # Errors
    /// [`StorageError::Io`]: the disk failed and the process must stop, without delivering this turn. (A damaged row is
    /// no error here: its replica is quarantined, and an output says so.)
    pub fn step(&mut self, now: Now, disk: &dyn Disk, input: Input) -> Result<(), StorageError> {
        match input {
            Input::Request { id, request } => {
                let reply = self.request(now, disk, &request)?;
                self.turn.outputs.push(Output::Reply { id, reply });
            }
            Input::Message { from, message } => self.message(now, disk, from, message)?,
            Input::PeerUp(peer) => {
                self.repairs_down(now, disk, peer)?;
                self.upkeep.peer_up(peer);
                self.peer_up(peer);
            }
            Input::PeerDown(peer) => {
                self.pulls.down(peer);
                self.repairs_down(now, disk, peer)?;
            }
            Input::Tick => {
                self.announce_due(now);
                self.pull_due(now);
                self.repairs_due(now, disk)?;
                self.check_due(now);
            }
            Input::Members(members) => self.members(members),
            Input::Work => self.work(now, disk)?,
            Input::Refill { shard, origin } => {
                self.refill(now, shard, origin);
                self.repairs_due(now, disk)?;
            }
            Input::Check { shard } => self.check_shard(shard),
            Input::HandOver { own, shard, deltas } => self.salvaged(now, disk, own, shard, deltas)?,
            Input::Room(has_room) => self.room(now, disk, has_room)?,
        }
        Ok(())
    }

    /// Ends the turn. The shell writes the batch, syncs, and only then delivers the outputs.
    pub fn end_turn(&mut self) -> Turn {
        for (shard, deltas) in core::mem::take(&mut self.fresh) {
            for to in self.pulls.peers() {
                let message = Message::Fresh { shard, deltas: deltas.clone() };
                self.turn.outputs.push(Output::Send { to, message });
            }
        }
        if self.applied != self.applied_noted {
            rows::put_applied(&mut self.turn.batch, self.applied);
            self.turn.batch.commit();
            self.applied_noted = self.applied;
        }
        core::mem::take(&mut self.turn)
    }

    /// The node is about to stop: keeps the trees, so that the next start need not count all rows.
    pub fn keep_trees(&mut self) {
        for shard in &mut self.shards {
            shard.replica.keep_tree(&mut self.turn.batch);
        }
        self.turn.batch.commit();
    }

    /// This run.
    pub fn origin(&self) -> OriginId {
        self.origin
    }

    /// The node's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The numbers of origins in this node's rows.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The replica of a shard; `None` if the cluster has no such shard.
    pub fn replica(&self, shard: ShardId) -> Option<&Replica> {
        self.shards.get(usize::from(shard.0)).map(|shard| &shard.replica)
    }

    /// Bytes of the log, of the shards whose rows are counted.
    pub fn log_bytes(&self) -> u64 {
        self.shards.iter().filter_map(|shard| shard.replica.log_bytes()).sum()
    }

    /// How many bytes of deltas are parked for a shard.
    pub fn parked_bytes(&self, shard: ShardId) -> usize {
        self.shards.get(usize::from(shard.0)).map_or(0, |shard| shard.parking.bytes())
    }

    /// What is held of a shard. The shards of keys and of checked messages exist.
    fn shard(&self, shard: ShardId) -> &Shard {
        &self.shards[usize::from(shard.0)]
    }

    fn shard_mut(&mut self, shard: ShardId) -> &mut Shard {
        &mut self.shards[usize::from(shard.0)]
    }

    /// A key as the turn has it.
    fn with_view<T>(&self, disk: &dyn Read, place: Place<'_>, use_view: impl FnOnce(View<'_>) -> T) -> T {
        let (rows, replica) = (Overlay { disk, batch: &self.turn.batch }, &self.shard(place.shard).replica);
        let (origins, vector) = (&self.origins, replica.vector());
        match replica.masks().is_empty() {
            true => use_view(View { disk: &rows, origins, vector, place }),
            false => use_view(View { disk: &replica.masked(&rows, origins), origins, vector, place }),
        }
    }

    /// Hands an error of the disk on, or quarantines the replica whose row is damaged. (Where that is a row of the log, the
    /// cells are whole: it is enough that the log does not reach back over it.)
    fn quarantine(&mut self, shard: ShardId, error: StorageError) -> Result<(), StorageError> {
        if let StorageError::Io(_) = error {
            return Err(error);
        }
        let replica = &mut self.shards[usize::from(shard.0)].replica;
        if let Some(dot) = rows::damaged_delta(&error, shard)
            && !replica.is_out_of_service()
            && replica.cut_over(&mut self.turn.batch, dot)
        {
            self.upkeep.sweep(shard);
            self.turn.outputs.push(Output::Unread { shard, deltas: 1 });
            return Ok(());
        }
        let Node { shards, turn, .. } = self;
        let state = &mut shards[usize::from(shard.0)];
        if !matches!(state.replica.standing(), Standing::Quarantined | Standing::Ruined) {
            let keeps_staged = matches!(
                state.replica.standing(),
                Standing::Emptying { .. } | Standing::Installing { had: Some(_), .. }
            );
            state.replica.quarantine(&mut turn.batch);
            state.parking = Parking::default();
            self.pulls.forget(shard);
            self.forget_repairs(shard, keeps_staged);
            self.forget_upkeep(shard);
            self.retract(shard);
            self.turn.changed.insert(shard);
            self.turn.outputs.push(Output::Quarantined { shard, error });
        }
        Ok(())
    }

    /// Applies a delta that the gate let through.
    fn apply(
        &mut self,
        now: Now,
        disk: &dyn Read,
        delta: &Delta,
        shard: ShardId,
    ) -> Result<(), StorageError> {
        self.turn.changed.insert(shard);
        self.announcements.changed(shard, now.mono_ms);
        let mut draft = Draft { disk, batch: &mut self.turn.batch, origins: &mut self.origins };
        let replica = &mut self.shards[usize::from(shard.0)].replica;
        replica.apply(&mut draft, delta)?;
        self.upkeep.masked(shard, !replica.masks().is_empty());
        self.applied = self.applied.wrapping_add(1);
        self.try_held(shard);
        Ok(())
    }
}

/// The replicas of all shards as the disk has them. A version vector is where the logs end. Notes for the next opening go into
/// the batch.
fn load(disk: &dyn Read, shards: ShardCount, batch: &mut Batch) -> Result<Vec<Found>, StorageError> {
    let mut noted: BTreeMap<ShardId, BTreeMap<OriginId, Stretch>> = BTreeMap::new();
    rows::scan_stretches(disk, &mut |shard, origin, stretch| {
        noted.entry(shard).or_default().insert(origin, stretch);
    })?;
    let mut all = Vec::new();
    for shard in shards.shards() {
        let unfinished = rows::get_unfinished(disk, shard)?;
        if let Some(Unfinished::Emptying { .. }) = unfinished {
            all.push(Found { unfinished, ..Found::default() });
            continue;
        }
        let masks = rows::masks(disk, shard)?;
        let known = noted.remove(&shard).unwrap_or_default();
        let Stretches { low, ends, rubbish } = delta_log::stretches(disk, shard, &known)?;
        for last in ends.iter() {
            let known = known.get(&last.origin).copied().unwrap_or_default();
            if known.reached < last.seq {
                delta_log::note(batch, shard, Dot::new(last.origin, known.low), last.seq);
            }
        }
        // While rows are brought in, they are not those of a version vector.
        let kept = rows::get_tree(disk, shard)?.filter(|kept| kept.vector == ends && unfinished.is_none());
        let kept = kept.map(|kept| (kept.tree, kept.log_bytes));
        all.push(Found { vector: ends, low, rubbish, unfinished, kept, masks });
    }
    Ok(all)
}

/// Marks the keys that have content and no head: what is older than format 4 did not.
fn mark_all(disk: &dyn Read, origins: &Origins, batch: &mut Batch) -> Result<(), StorageError> {
    let mut last = None;
    rows::scan_owners(disk, &mut |shard, bucket, key| {
        let named = Some((shard, bucket, key));
        if named != last {
            let (shard, bucket, key) = named.as_ref().expect("it was put there");
            let place = Place::key(*shard, bucket, key);
            let is_marked = rows::head_row(disk, place)? != HeadRow::None;
            if !is_marked && rows::parts(disk, place)?.any() {
                rows::put_mark(batch, origins, place);
            }
            last = named;
        }
        Ok(())
    })
}

/// How many deltas the notes of the logs' ends cover. Before they were counted, each was noted when it was applied.
fn noted(disk: &dyn Read) -> Result<u64, StorageError> {
    let mut noted = 0_u64;
    rows::scan_stretches(disk, &mut |_, _, stretch| noted = noted.wrapping_add(stretch.reached))?;
    Ok(noted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RequestId;
    use crate::name::{Bucket, Key, Member};
    use crate::replica::write::{Write, WriteRequest};
    use crate::storage::{MemStorage, Space, Storage as _};
    use crate::types::set::SetOp;
    use alloc::vec;

    #[test]
    fn what_format_3_did_not_mark_is_marked_when_it_is_opened() {
        let (config, mut disk) = (Config::default(), MemStorage::default());
        let (bucket, key) = (Bucket::new("b").unwrap(), Key::new(b"k").unwrap());
        let mut node = Node::open(config.clone(), &disk, OriginId(1)).unwrap();
        let write = Write::Set(vec![SetOp::Add(vec![Member::new("m").unwrap()])]);
        let operation = Operation::Write(WriteRequest::of(write));
        let request = Request { bucket: bucket.clone(), key: key.clone(), operation };
        let now = Now { mono_ms: 1, wall_ms: 1 };
        node.step(now, &disk, Input::Request { id: RequestId(1), request }).unwrap();
        disk.write(&node.end_turn().batch).unwrap();
        // A format 3 whose head a DELETE took away, while the member was added elsewhere.
        let head: Vec<Vec<u8>> = disk.rows(Space::Head).map(|(row, _)| row.to_vec()).collect();
        let mut older = Batch::default();
        older.delete(Space::Head, head[0].clone());
        rows::put_format_number(&mut older, 3, config.shards);
        disk.write(&older).unwrap();
        let mut node = Node::open(config.clone(), &disk, OriginId(2)).unwrap();
        disk.write(&node.end_turn().batch).unwrap();
        let place = Place::key(config.shards.shard_of(&bucket, &key), &bucket, &key);
        assert_eq!(rows::head_row(&disk, place), Ok(HeadRow::Mark));
        assert_eq!(rows::get_format(&disk).unwrap().map(|(format, _)| format), Some(FORMAT));
    }
}
