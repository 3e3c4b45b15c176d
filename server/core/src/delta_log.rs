//! The delta log: what a peer lacks, in an order in which it can apply it.
//!
//! The log holds every delta that the version vector covers. A peer says what it has; the answer is as many deltas as
//! fit, each after all that its author had seen, so that the receiver applies them as they come and every answer
//! brings it further. One whose version vector is full is not sent what it could not count.

use crate::delta::Delta;
use crate::id::{Dot, ShardId};
use crate::rows;
use crate::storage::{Read, Space, StorageError};
use crate::version_vector::{ORIGINS_MAX, VersionVector};
use alloc::vec::Vec;

/// Deltas for a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// In an order in which they can be applied.
    pub deltas: Vec<Delta>,
    /// Whether there are more than these.
    pub more: bool,
}

/// What one who has applied `have` lacks of a replica that has applied `vector`: at least one delta if there is any,
/// and then as long as they stay within `bytes_max`.
///
/// # Errors
/// [`StorageError`] when a row is damaged, or the log has a hole.
pub fn missing(
    disk: &dyn Read,
    shard: ShardId,
    vector: &VersionVector,
    have: &VersionVector,
    bytes_max: usize,
) -> Result<Missing, StorageError> {
    let is_full = have.len() >= ORIGINS_MAX;
    let wanted: Vec<Dot> = vector.iter().filter(|last| !is_full || have.at(last.origin) > 0).collect();
    let mut found = Missing::default();
    let mut reached = have.clone();
    let mut bytes = 0;
    loop {
        let before = found.deltas.len();
        for last in &wanted {
            while reached.at(last.origin) < last.seq {
                let next = Dot::new(last.origin, reached.at(last.origin) + 1);
                let delta = rows::get_delta(disk, shard, next)?.ok_or_else(|| hole(next))?;
                if !reached.includes(&delta.deps) {
                    break;
                }
                bytes += delta.size();
                if bytes > bytes_max && !found.deltas.is_empty() {
                    found.more = true;
                    return Ok(found);
                }
                reached.raise(next);
                found.deltas.push(delta);
            }
        }
        if found.deltas.len() == before {
            let all = is_full || reached.includes(vector);
            assert!(all, "what a replica applied, it applied in a causal order: {vector:?}");
            return Ok(found);
        }
    }
}

fn hole(dot: Dot) -> StorageError {
    StorageError::Corrupt {
        space: Space::Log,
        key: dot.seq.to_be_bytes().to_vec(),
        why: "a delta that was applied is not in the log",
    }
}
