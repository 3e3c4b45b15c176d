//! The delta log: what a peer lacks, in an order in which it can apply it.
//!
//! A version vector says where the log of each origin ends, and so the log says what the version vector is: [`ends`].
//!
//! The log holds every delta that the version vector covers. A peer says what it has; the answer is as many deltas as
//! fit, each after all that its author had seen, so that the receiver applies them as they come and every answer
//! brings it further. One whose version vector is full is not sent what it could not count.

use crate::delta::Delta;
use crate::id::{Dot, OriginId, ShardId};
use crate::rows;
use crate::storage::{Read, Space, StorageError};
use crate::version_vector::{ORIGINS_MAX, VersionVector};
use alloc::vec::Vec;

/// Where the log of each origin ends: what a replica of the shard has applied. The log is known to have reached as far as
/// `reached`, and has no holes: so the ends are found by a search, without reading it all.
///
/// # Errors
/// [`StorageError`] when the disk cannot be read, or the log lacks what it is known to have had.
pub fn ends(disk: &dyn Read, shard: ShardId, reached: &VersionVector) -> Result<VersionVector, StorageError> {
    let mut ends = VersionVector::default();
    let mut from = Some(OriginId(0));
    while let Some(first) = from.map(|from| rows::first_delta(disk, shard, from)).transpose()?.flatten() {
        let origin = first.origin;
        let known = Dot::new(origin, reached.at(origin).max(1));
        if first.seq > 1 {
            return Err(hole(Dot::new(origin, 1)));
        }
        if !rows::has_delta(disk, shard, known)? {
            return Err(hole(known));
        }
        ends.raise(end(disk, shard, known)?);
        from = origin.0.checked_add(1).map(OriginId);
    }
    let gone = reached.iter().find(|known| !ends.covers(*known));
    gone.map_or(Ok(ends), |dot| Err(hole(dot)))
}

/// The last delta of an origin in the log, which has `known` and no hole behind it.
fn end(disk: &dyn Read, shard: ShardId, known: Dot) -> Result<Dot, StorageError> {
    let has = |seq| rows::has_delta(disk, shard, Dot::new(known.origin, seq));
    let (mut last, mut step) = (known.seq, 1);
    // Doubling steps as far as the log goes, then halving ones.
    while let Some(next) = last.checked_add(step)
        && has(next)?
    {
        (last, step) = (next, step * 2);
    }
    while step > 1 {
        step /= 2;
        if let Some(next) = last.checked_add(step)
            && has(next)?
        {
            last = next;
        }
    }
    Ok(Dot::new(known.origin, last))
}

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
