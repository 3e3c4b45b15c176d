//! Repair: the Merkle-guided transfer of one replica's state to another, for whoever cannot be helped by the log.
//!
//! ```text
//! receiver                                                          source
//!                                -- Open { what it has } ------->   takes a snapshot: rows, tree, version vector
//!   freezes, takes a snapshot    <- Opened { vector, sums } ----
//!   compares with its own tree   -- Walk { level, nodes } ------>
//!                                <- Sums -----------------------    twice: all nodes that differ in one request
//!   reads its rows there         -- Rows { leaves, own hashes } ->  reads its rows there
//!   stages                       <- Rows { what differs } ------    and again, from where it ended
//!   installs, thaws              -- Close --------------------->    lets the snapshot go
//! ```
//!
//! - A source's rows and version vector are of one instant, and so is the receiver's snapshot, which comes later: so whatever of its
//!   own writes the source had applied is in it. From that to the end deltas of others wait at the receiver; its own writes
//!   go on.
//! - The receiver asks, one thing at a time; the source only answers. A request that got no answer is sent again; after a few
//!   times the repair is given up, and nothing has changed.
//! - What is fetched is staged on the disk. It counts when all of it is there: then it is installed together with the source's
//!   version vector ([`crate::replica`], `install.rs`).
//! - An empty receiver asks for all leaves at once.

mod source;
mod receiver;
mod wire;

use crate::id::ShardId;
use crate::name::ShardCount;
use crate::rows::{self, Content};
use crate::version_vector::VersionVector;

pub(crate) use receiver::{Frozen, Receiver, Took};
pub(crate) use source::{Portion, Source};
pub use wire::{Answer, Ask, Leaves, Position, RowSent, Unwilling};

/// Most bytes of keys of own rows that a receiver keeps in memory while it waits for an answer. More leaves are asked for in
/// turns.
pub const KNOWN_BYTES_MAX: usize = 4 << 20;

/// Whether a row that a source has sent is one that a replica of the shard can hold, given what the source had applied.
pub(crate) fn check_row(shards: ShardCount, shard: ShardId, sent: &RowSent, theirs: &VersionVector) -> bool {
    let RowSent { at: Position { space, row }, canonical } = sent;
    let lies_here = rows::owner(*space, row)
        .is_some_and(|(of, bucket, key)| of == shard && shards.shard_of(&bucket, &key) == shard);
    let content = Content::from_canonical(*space, row, canonical);
    lies_here && content.is_ok_and(|content| content.canonical().is_some() && content.is_within(row, theirs))
}
