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

mod pulls;
mod announcements;
mod messages;
mod requests;

use crate::delta::Delta;
use crate::delta_log;
use crate::hlc::Clock;
use crate::id::{Dot, NodeId, OriginId, RequestId, ShardId};
use crate::message::Message;
use crate::name::ShardCount;
use crate::parking::{PARKED_BYTES_MAX, Parking};
use crate::planted::{Bug, Planted};
use crate::replica::{Draft, Replica};
use crate::rows::{self, FORMAT, FORMAT_COUNTED, Origins, Place};
use crate::storage::{Batch, Overlay, Read, StorageError};
use crate::types::View;
use crate::version_vector::VersionVector;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use announcements::Announcements;
use pulls::Pulls;
pub use requests::{Operation, Reply, Request};

/// What a node is told when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many shards the cluster has.
    pub shards: ShardCount,
    /// How far ahead of the own wall time a remote stamp may raise the clock, in milliseconds.
    pub clock_skew_ms_max: u64,
    /// Most bytes of deltas parked for one shard.
    pub parked_bytes_max: usize,
    /// Most bytes of deltas in one answer to a pull; one delta is always sent, however large.
    pub pull_bytes_max: usize,
    /// Most pulls to one peer that are not answered; at least one. Further ones wait.
    pub pulls_open_max: usize,
    /// How long a peer may answer no pull before those to it count as lost, in milliseconds; what was asked for then
    /// rests as long at this peer. Each time that is too short it is doubled, a few times over.
    pub pull_retry_ms: u64,
    /// How long what a peer announces may be lacking before it is pulled, in milliseconds.
    pub lacking_ms: u64,
    /// How long after a change a shard is announced to the peers, in milliseconds.
    pub announce_ms: u64,
    /// How long it takes until all shards are announced once more, in milliseconds.
    pub announce_all_ms: u64,
    /// Deliberate bugs: none.
    pub planted: Planted,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            shards: ShardCount::DEFAULT,
            clock_skew_ms_max: 2_000,
            parked_bytes_max: PARKED_BYTES_MAX,
            pull_bytes_max: 256 << 10,
            pulls_open_max: 8,
            pull_retry_ms: 500,
            lacking_ms: 250,
            announce_ms: 500,
            announce_all_ms: 10_000,
            planted: Planted::default(),
        }
    }
}

/// The time of an input, as the shell reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since some instant before this run; never goes back.
    pub mono_ms: u64,
    /// Milliseconds since 1970; may jump.
    pub wall_ms: u64,
}

/// What a node is given.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client's request.
    Request {
        /// Comes back with the reply.
        id: RequestId,
        /// What is asked.
        request: Request,
    },
    /// A peer's message.
    Message {
        /// Who sent it, as the connection proves.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// A peer can be reached: it is told what there is here, and sent what is made here from now on.
    PeerUp(NodeId),
    /// A peer cannot be reached.
    PeerDown(NodeId),
    /// Time has passed.
    Tick,
}

/// What a node wants done once its turn is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The answer to a request.
    Reply {
        /// The request.
        id: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// A message for a peer.
    Send {
        /// Who is to get it.
        to: NodeId,
        /// What it says.
        message: Message,
    },
    /// Another node makes deltas under this run's origin: a running machine was cloned. The shell must stop the process;
    /// the next run draws another origin.
    OriginShared {
        /// Where it was noticed.
        shard: ShardId,
        /// The delta that this run did not make.
        dot: Dot,
        /// Who sent it.
        from: NodeId,
    },
    /// A peer sent a delta for a shard in which its keys do not lie: it is not applied. To be logged and counted.
    Misplaced {
        /// The shard that it came for.
        shard: ShardId,
        /// The delta.
        dot: Dot,
        /// Who sent it.
        from: NodeId,
    },
    /// A row is damaged: the shard's replica answers nobody from now on. To be logged and counted.
    Quarantined {
        /// Which replica.
        shard: ShardId,
        /// What was found.
        error: StorageError,
    },
}

/// What a turn came to. The outputs may leave only when the batch is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// To be written at once.
    pub batch: Batch,
    /// To be delivered once the batch is synced, in order.
    pub outputs: Vec<Output>,
    /// The replicas whose version vector or standing is another than before: to be published with the batch.
    pub changed: BTreeSet<ShardId>,
}

/// Why a node does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The disk cannot be read.
    #[error(
        "{0}: restore a backup of the data directory, or start on an empty one and let the peers fill it"
    )]
    Storage(#[from] StorageError),
    /// The data was written by a newer version.
    #[error("the data has format {found}, and this version knows formats up to {known}: use a newer version")]
    FormatTooNew {
        /// What the disk says.
        found: u64,
        /// The newest that this version knows.
        known: u64,
    },
    /// There is data, and the row that says its format is gone.
    #[error(
        "there is data without a format: a part of it was lost; set it aside and start on an empty directory"
    )]
    FormatMissing,
    /// The data belongs to a cluster with another number of shards.
    #[error(
        "the data has {found} shards and the node was told {told}: the number is the cluster's and never changes"
    )]
    ShardCount {
        /// What the disk says.
        found: u64,
        /// What the node was told.
        told: u16,
    },
    /// The origin was used before: the shell must draw a fresh one at every start.
    #[error("origin {0} was used before: an origin is one run of one node")]
    OriginUsed(OriginId),
    /// The delta log and the count of what was applied disagree: a part of the data is older than the rest.
    #[error("the log has {found} deltas and {told} were applied: a part of the data was lost")]
    PartOlder {
        /// How many deltas the logs of all shards have.
        found: u64,
        /// How many were applied, as the last turn has noted.
        told: u64,
    },
}

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
        let (vectors, applied) = load_vectors(disk, config.shards, &mut batch)?;
        batch.commit();
        let applied_noted = rows::get_applied(disk)?;
        let told = match format {
            Some((format, _)) if format < FORMAT_COUNTED => noted(disk)?,
            _ => applied_noted,
        };
        if told != applied {
            return Err(OpenError::PartOlder { found: applied, told });
        }
        let shard = |(id, vector)| Shard {
            replica: Replica::new(id, vector, config.planted),
            parking: Parking::default(),
        };
        let shards = config.shards.shards().zip(vectors).map(shard).collect();
        let turn = Turn { batch, ..Turn::default() };
        let (clock, fresh) = (Clock::default(), BTreeMap::new());
        let (pulls, announcements) = (Pulls::default(), Announcements::default());
        Ok(Node {
            config,
            origin,
            clock,
            origins,
            shards,
            applied,
            applied_noted,
            pulls,
            announcements,
            turn,
            fresh,
        })
    }

    /// Decides about one input: changes go into the turn's batch, what is to be said into its outputs.
    ///
    /// # Errors
    /// [`StorageError::Io`]: the disk failed and the process must stop, without delivering this turn. (A damaged row is
    /// no error here: its replica is quarantined, and an output says so.)
    pub fn step(&mut self, now: Now, disk: &dyn Read, input: Input) -> Result<(), StorageError> {
        match input {
            Input::Request { id, request } => {
                let reply = self.request(now, disk, &request)?;
                self.turn.outputs.push(Output::Reply { id, reply });
            }
            Input::Message { from, message } => self.message(now, disk, from, message)?,
            Input::PeerUp(peer) => self.peer_up(peer),
            Input::PeerDown(peer) => self.pulls.down(peer),
            Input::Tick => {
                self.announce_due(now);
                self.pull_due(now);
            }
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
        let rows = Overlay { disk, batch: &self.turn.batch };
        let vector = self.shard(place.shard).replica.vector();
        use_view(View { disk: &rows, origins: &self.origins, vector, place })
    }

    /// Hands an error of the disk on, or quarantines the replica whose row is damaged.
    fn quarantine(&mut self, shard: ShardId, error: StorageError) -> Result<(), StorageError> {
        if let StorageError::Io(_) = error {
            return Err(error);
        }
        let state = self.shard_mut(shard);
        if !state.replica.is_quarantined() {
            state.replica.quarantine();
            state.parking = Parking::default();
            self.pulls.forget(shard);
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
        self.shards[usize::from(shard.0)].replica.apply(&mut draft, delta)?;
        self.applied = self.applied.wrapping_add(1);
        Ok(())
    }
}

/// The version vectors of all shards, which are where their logs end, and how many deltas they cover. Notes for the next
/// opening go into the batch.
fn load_vectors(
    disk: &dyn Read,
    shards: ShardCount,
    batch: &mut Batch,
) -> Result<(Vec<VersionVector>, u64), StorageError> {
    let mut reached: BTreeMap<ShardId, VersionVector> = BTreeMap::new();
    rows::scan_reached(disk, &mut |shard, dot| {
        reached.entry(shard).or_default().raise(dot);
        Ok(())
    })?;
    let (mut vectors, mut applied) = (Vec::new(), 0_u64);
    for shard in shards.shards() {
        let known = reached.remove(&shard).unwrap_or_default();
        let vector = delta_log::ends(disk, shard, &known)?;
        for dot in vector.iter() {
            applied = applied.wrapping_add(dot.seq);
            if !known.covers(dot) {
                rows::put_reached(batch, shard, dot);
            }
        }
        vectors.push(vector);
    }
    Ok((vectors, applied))
}

/// How many deltas the notes of the logs' ends cover. Before they were counted, each was noted when it was applied.
fn noted(disk: &dyn Read) -> Result<u64, StorageError> {
    let mut noted = 0_u64;
    rows::scan_reached(disk, &mut |_, dot| {
        noted = noted.wrapping_add(dot.seq);
        Ok(())
    })?;
    Ok(noted)
}
