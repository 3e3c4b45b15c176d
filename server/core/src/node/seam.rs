//! What passes between a node and its shell.

use super::{Figures, Reply, Request};
use crate::delta::Delta;
use crate::id::{Dot, NodeId, OriginId, RequestId, ShardId};
use crate::message::Message;
use crate::storage::{Batch, StorageError};
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

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
    /// Who the other members of the cluster are: what all of them have need not stay in the log.
    Members(BTreeSet<NodeId>),
    /// There is time for a portion of what can wait ([`super::Node::has_work`]).
    Work,
    /// A replica with a damaged row may be emptied and filled from peers. From then on this run makes its deltas of this shard
    /// under another origin, which the shell has drawn like the first.
    Refill {
        /// Which replica.
        shard: ShardId,
        /// 64 random bits that were never used before.
        origin: OriginId,
    },
    /// Whether the disk has room for what peers send; it has until something else is said. Without it, what they have is remembered and
    /// not taken: it is pulled, or repaired, when there is room again. (Clients' writes are refused by the shell, before they come here.)
    Room(bool),
    /// Deltas that an older database of this node still had: taken in as a peer's are, but with room or without, for no peer gives them again.
    HandOver {
        /// This node, which is named where one of them is complained of.
        own: NodeId,
        /// Their shard.
        shard: ShardId,
        /// In causal order, as far as they can be read.
        deltas: Vec<Arc<Delta>>,
    },
    /// Somebody who reads beside the node has met a damaged row: all rows of the shard are to be read again, in portions.
    Check {
        /// Which replica.
        shard: ShardId,
    },
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
    /// A replica was repaired. To be counted.
    Repaired {
        /// Which replica.
        shard: ShardId,
        /// Its source.
        from: NodeId,
        /// What it came to.
        figures: Figures,
    },
    /// A repair was given up; another follows. To be counted.
    RepairAborted {
        /// Which replica.
        shard: ShardId,
        /// Its source.
        from: NodeId,
    },
    /// A replica that was out of service answers again. To be logged and counted.
    Refilled {
        /// Which replica.
        shard: ShardId,
        /// Deltas that it had, and that neither a peer nor its own log could give back.
        lost: u64,
    },
    /// Deltas of the own log cannot be read: it does not reach back over them any more. Where they were to be handed over, they
    /// are lost if no peer has them. To be logged and counted.
    Unread {
        /// Of which replica.
        shard: ShardId,
        /// How many.
        deltas: usize,
    },
    /// A peer with an equal version vector holds something else: a bug, or a damaged disk. To be logged and counted.
    Diverged {
        /// Which replica.
        shard: ShardId,
        /// Who holds something else.
        peer: NodeId,
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
