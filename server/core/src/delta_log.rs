//! The delta log: what a peer lacks, in an order in which it can apply it.
//!
//! A version vector says where the log of each origin ends, and so the log says what the version vector is: `stretches`.
//! Of each origin the log holds every delta behind its *low* mark: what lies before was cut off, or came by a repair. A low
//! mark is no loss; who lacks what lies before it is told so ([`Rest::Truncated`]) and repairs.
//!
//! A peer says what it has; the answer is as many deltas as fit, each after all that its author had seen, so that the
//! receiver applies them as they come and every answer brings it further. One whose version vector is full is not sent
//! what it could not count.
//!
//! The log is cut where every member has what is cut off and it is longer than is kept for those that come back with less
//! (`cut_acknowledged`); and where it is longer than it may be, the oldest first, whoever lacks it (`cut`).

use crate::delta::Delta;
use crate::id::{Dot, OriginId, Seq, ShardId};
use crate::rows::{self, Stretch};
use crate::storage::{Batch, Overlay, Read, Space, StorageError};
use crate::version_vector::{ORIGINS_MAX, VersionVector};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// Where the logs of a shard's origins begin and end.
pub(crate) struct Stretches {
    /// The last deltas that were cut off.
    pub(crate) low: VersionVector,
    /// What a replica of the shard has applied.
    pub(crate) ends: VersionVector,
    /// Origins whose log has rows before the low mark.
    pub(crate) rubbish: BTreeSet<OriginId>,
}

/// Where the logs of a shard's origins begin and end. As `noted` says, the log is known to have reached so far, and has no hole behind its low mark: so the ends are
/// found by a search, without reading it all.
///
/// # Errors
/// [`StorageError`] when the disk cannot be read, or the log lacks what it is known to have had.
pub(crate) fn stretches(
    disk: &dyn Read,
    shard: ShardId,
    noted: &BTreeMap<OriginId, Stretch>,
) -> Result<Stretches, StorageError> {
    let mut origins: BTreeSet<OriginId> = noted.keys().copied().collect();
    let mut firsts = BTreeMap::new();
    let mut from = Some(OriginId(0));
    while let Some(first) = from.map(|from| rows::first_delta(disk, shard, from)).transpose()?.flatten() {
        origins.insert(first.origin);
        firsts.insert(first.origin, first.seq);
        from = first.origin.0.checked_add(1).map(OriginId);
    }
    let (mut low, mut ends) = (VersionVector::default(), VersionVector::default());
    let mut rubbish = BTreeSet::new();
    for origin in origins {
        let Stretch { low: cut, reached } = noted.get(&origin).copied().unwrap_or_default();
        let first = firsts.get(&origin).copied();
        if first.is_some_and(|first| first > cut + 1) {
            return Err(hole(Dot::new(origin, cut + 1)));
        }
        let known = Dot::new(origin, reached.max(cut));
        if known.seq > cut && !rows::has_delta(disk, shard, known)? {
            return Err(hole(known));
        }
        let end = if first.is_some() { end(disk, shard, known)? } else { known };
        low.cover(Dot::new(origin, cut));
        ends.cover(end);
        rubbish.extend(first.filter(|first| *first <= cut).map(|_| origin));
    }
    Ok(Stretches { low, ends, rubbish })
}

/// The last delta of an origin in the log, which has `known`, or was cut there, and has no hole behind it.
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

/// What is left when an answer has as many deltas as fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    #[default]
    None,
    /// Further deltas: pull again.
    More,
    /// Deltas that are not in the log any more: repair.
    Truncated,
}

/// Deltas for a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// In an order in which they can be applied.
    pub deltas: Vec<Delta>,
    /// What there is besides.
    pub rest: Rest,
}

/// What a replica's log reaches over.
#[derive(Clone, Copy)]
pub struct Reach<'a> {
    /// The last deltas that are not in the log.
    pub low: &'a VersionVector,
    /// What the replica has applied.
    pub vector: &'a VersionVector,
}

/// What one who has applied `have` lacks of a replica: at least one delta if there is any in the log, and then as long as
/// they stay within `bytes_max`.
///
/// # Errors
/// [`StorageError`] when a row is damaged, or the log has a hole.
pub fn missing(
    disk: &dyn Read,
    shard: ShardId,
    reach: Reach<'_>,
    have: &VersionVector,
    bytes_max: usize,
) -> Result<Missing, StorageError> {
    let Reach { low, vector } = reach;
    let is_full = have.len() >= ORIGINS_MAX;
    let lacking = vector.iter().filter(|last| !have.covers(*last) && (!is_full || have.at(last.origin) > 0));
    let (wanted, cut): (Vec<Dot>, Vec<Dot>) =
        lacking.partition(|last| have.at(last.origin) >= low.at(last.origin));
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
                    found.rest = Rest::More;
                    return Ok(found);
                }
                reached.raise(next);
                found.deltas.push(delta);
            }
        }
        if found.deltas.len() == before {
            let all = is_full || !cut.is_empty() || reached.includes(vector);
            assert!(all, "what a replica applied, it applied in a causal order: {vector:?}");
            found.rest = if cut.is_empty() { Rest::None } else { Rest::Truncated };
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

// -- cutting -----------------------------------------------------------------------------------------------------------

/// How much of a log is to be cut off.
#[derive(Clone, Copy)]
pub(crate) struct Cut<'a> {
    /// What may go: no delta beyond it.
    pub(crate) upto: &'a VersionVector,
    /// How many bytes are to go.
    pub(crate) bytes: u64,
    /// Most rows of one portion.
    pub(crate) rows_max: usize,
    /// Whether all members have what may go: then it need not be the oldest that goes.
    pub(crate) acknowledged: bool,
}

/// The oldest deltas of a log, by their stamps, as far as they are to be cut off, with their bytes; and the low marks then.
///
/// # Errors
/// [`StorageError`] when a row is damaged, or the log has a hole.
pub(crate) fn cut(
    rows: Overlay<'_>,
    shard: ShardId,
    reach: Reach<'_>,
    cut: Cut<'_>,
) -> Result<(Vec<(Dot, usize)>, VersionVector), StorageError> {
    let mut low = reach.low.clone();
    let first_of = |origin: OriginId, low: &VersionVector| -> Result<Option<Delta>, StorageError> {
        let next = Dot::new(origin, low.at(origin) + 1);
        if !cut.upto.covers(next) || !reach.vector.covers(next) {
            return Ok(None);
        }
        rows::get_delta(&rows, shard, next)?.ok_or_else(|| hole(next)).map(Some)
    };
    let mut fronts = Vec::new();
    for last in reach.vector.iter() {
        fronts.extend(first_of(last.origin, &low)?);
    }
    let (mut found, mut bytes) = (Vec::new(), 0);
    while found.len() < cut.rows_max && bytes < cut.bytes {
        let oldest = fronts.iter().enumerate().min_by_key(|(_, delta)| (delta.hlc, delta.dot));
        let Some((place, _)) = oldest else { break };
        let delta = fronts.swap_remove(place);
        let size = delta.size();
        bytes += rows::log_row_bytes(size) as u64;
        found.push((delta.dot, size));
        low.raise(delta.dot);
        fronts.extend(first_of(delta.dot.origin, &low)?);
    }
    Ok((found, low))
}

/// The first deltas of the origin whose log has most that may be cut off, with their bytes; and the low marks then. They are not
/// read.
///
/// # Errors
/// [`StorageError`] when the disk cannot be read, or the log has a hole.
pub(crate) fn cut_acknowledged(
    rows: Overlay<'_>,
    shard: ShardId,
    reach: Reach<'_>,
    cut: Cut<'_>,
) -> Result<(Vec<(Dot, usize)>, VersionVector), StorageError> {
    let mut low = reach.low.clone();
    let may_go = |last: &Dot| last.seq.min(reach.vector.at(last.origin)).saturating_sub(low.at(last.origin));
    let Some(last) = cut.upto.iter().max_by_key(may_go).filter(|last| may_go(last) > 0) else {
        return Ok((Vec::new(), low));
    };
    let (mut next, mut found, mut bytes) = (low.at(last.origin) + 1, Vec::new(), 0);
    rows::scan_log(&rows, shard, Dot::new(last.origin, next), &mut |dot, size| {
        let is_enough = found.len() >= cut.rows_max || bytes >= cut.bytes;
        if is_enough || dot.seq != next || dot.seq > last.seq || !reach.vector.covers(dot) {
            return ControlFlow::Break(());
        }
        bytes += rows::log_row_bytes(size) as u64;
        found.push((dot, size));
        next += 1;
        ControlFlow::Continue(())
    })?;
    match found.last() {
        Some((dot, _)) => low.raise(*dot),
        None => return Err(hole(Dot::new(last.origin, next))),
    }
    Ok((found, low))
}

/// Notes where the log of an origin begins, and how far it is known to reach.
pub(crate) fn note(batch: &mut Batch, shard: ShardId, low: Dot, reached: Seq) {
    rows::put_stretch(batch, shard, low.origin, Stretch { low: low.seq, reached });
}

/// Rows of the log of an origin that lie before its low mark, with the bytes of their deltas: the rubbish that a repair
/// leaves. At most `rows_max`.
///
/// # Errors
/// [`StorageError`] when the disk cannot be read.
pub(crate) fn rubbish(
    rows: Overlay<'_>,
    shard: ShardId,
    low: Dot,
    rows_max: usize,
) -> Result<Vec<(Dot, usize)>, StorageError> {
    let mut found = Vec::new();
    rows::scan_log(&rows, shard, Dot::new(low.origin, 0), &mut |dot, bytes| {
        if dot.seq > low.seq || found.len() >= rows_max {
            return ControlFlow::Break(());
        }
        found.push((dot, bytes));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}
