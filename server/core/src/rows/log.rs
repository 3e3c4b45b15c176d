//! The delta log, where it begins and ends, and the format, as rows.

use super::FORMAT;
use super::keys;
use super::sealed::{CHECKSUM_BYTES, corrupt, open_row, put_row};
use crate::codec::{self, DecodeError, Encode, Reader};
use crate::delta::Delta;
use crate::id::{Dot, OriginId, Seq, ShardId};
use crate::merkle::Changes;
use crate::name::ShardCount;
use crate::storage::{Batch, Read, Space, StorageError};
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// A delta of the log.
pub(crate) fn get_delta(disk: &dyn Read, shard: ShardId, dot: Dot) -> Result<Option<Delta>, StorageError> {
    let row = keys::log_row(shard, dot);
    let value = disk.get(Space::Log, &row)?;
    let delta = value.map(|value| open_row(Space::Log, &row, &value, Delta::decode)).transpose()?;
    match delta {
        Some(delta) if delta.dot != dot => Err(corrupt(Space::Log, &row, "another delta")),
        delta => Ok(delta),
    }
}

/// Whether a delta is in the log. It is not decoded.
pub(crate) fn has_delta(disk: &dyn Read, shard: ShardId, dot: Dot) -> Result<bool, StorageError> {
    Ok(disk.get(Space::Log, &keys::log_row(shard, dot))?.is_some())
}

/// Bytes of a row of the log, given those of its delta.
pub(crate) fn log_row_bytes(delta: usize) -> i64 {
    (keys::LOG_ROW_BYTES + delta + CHECKSUM_BYTES) as i64
}

pub(crate) fn put_delta(batch: &mut Batch, changes: &mut Changes, shard: ShardId, delta: &Delta) {
    let (row, bytes) = (keys::log_row(shard, delta.dot), delta.to_bytes());
    changes.log(&row, log_row_bytes(bytes.len()));
    put_row(batch, Space::Log, row, bytes);
}

/// Takes a delta out of the log. `bytes`: those of the delta.
pub(crate) fn delete_delta(batch: &mut Batch, changes: &mut Changes, shard: ShardId, dot: Dot, bytes: usize) {
    let row = keys::log_row(shard, dot);
    changes.log(&row, -log_row_bytes(bytes));
    batch.delete(Space::Log, row);
}

/// The delta whose row of a shard's log is damaged, if that is the error.
pub(crate) fn damaged_delta(error: &StorageError, shard: ShardId) -> Option<Dot> {
    match error {
        StorageError::Corrupt { space: Space::Log, key, .. } => {
            keys::log_dot(key).filter(|_| key.starts_with(&keys::shard_prefix(shard)))
        }
        _ => None,
    }
}

/// Visits the log of one origin from a sequence on: each delta's name and bytes. It is not read.
pub(crate) fn scan_log(
    disk: &dyn Read,
    shard: ShardId,
    from: Dot,
    visit: &mut dyn FnMut(Dot, usize) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let row = keys::log_row(shard, from);
    disk.scan(Space::Log, &row[..10], &row, &mut |row, value| {
        let dot = keys::log_dot(row).ok_or_else(|| corrupt(Space::Log, row, "not a delta's name"))?;
        Ok(visit(dot, value.len().saturating_sub(CHECKSUM_BYTES)))
    })
}

/// The first delta of the log that belongs to an origin of at least `from`. It is not decoded.
pub(crate) fn first_delta(
    disk: &dyn Read,
    shard: ShardId,
    from: OriginId,
) -> Result<Option<Dot>, StorageError> {
    let mut first = None;
    let row = keys::log_row(shard, Dot::new(from, 0));
    disk.scan(Space::Log, &keys::shard_prefix(shard), &row, &mut |row, _| {
        first = Some(keys::log_dot(row).ok_or_else(|| corrupt(Space::Log, row, "not a delta's name"))?);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

/// What is noted of the log of one origin: it has every delta behind `low` up to `reached`, and perhaps more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The last delta that was cut off, 0 if none was.
    pub(crate) low: Seq,
    /// A delta that was applied.
    pub(crate) reached: Seq,
}

/// Notes where the log of an origin begins, and how far it reached: later openings look from there.
pub(crate) fn put_stretch(batch: &mut Batch, shard: ShardId, origin: OriginId, stretch: Stretch) {
    let mut body = Vec::new();
    codec::put_varint(&mut body, stretch.reached);
    if stretch.low > 0 {
        codec::put_varint(&mut body, stretch.low);
    }
    put_row(batch, Space::Meta, keys::stretch_row(shard, origin), body);
}

pub(crate) fn delete_stretch(batch: &mut Batch, shard: ShardId, origin: OriginId) {
    batch.delete(Space::Meta, keys::stretch_row(shard, origin));
}

/// Visits what [`put_stretch`] has noted, of all shards.
pub(crate) fn scan_stretches(
    disk: &dyn Read,
    visit: &mut dyn FnMut(ShardId, OriginId, Stretch),
) -> Result<(), StorageError> {
    disk.scan(Space::Meta, &[keys::META_STRETCH], &[], &mut |row, value| {
        let stretch = open_row(Space::Meta, row, value, |input| {
            let reached = input.varint()?;
            match input.left() {
                0 => Ok(Stretch { low: 0, reached }),
                _ => match input.varint()? {
                    0 => Err(DecodeError::Invalid("stretch: nothing was cut off")),
                    low => Ok(Stretch { low, reached }),
                },
            }
        })?;
        let mut name = Reader::new(row.get(1..).unwrap_or_default());
        let named = name.array().and_then(|shard| Ok((ShardId(u16::from_be_bytes(shard)), name.u64()?)));
        let named = named.and_then(|named| name.finish().map(|()| named));
        let (shard, origin) = named.map_err(|_| corrupt(Space::Meta, row, "not a stretch of a log"))?;
        visit(shard, OriginId(origin), stretch);
        Ok(ControlFlow::Continue(()))
    })
}

/// How many deltas all replicas have applied, as the last turn has noted it; 0 before the first.
pub(crate) fn get_applied(disk: &dyn Read) -> Result<u64, StorageError> {
    let row = [keys::META_APPLIED];
    let value = disk.get(Space::Meta, &row)?;
    value.map_or(Ok(0), |value| open_row(Space::Meta, &row, &value, |input| input.varint()))
}

pub(crate) fn put_applied(batch: &mut Batch, applied: u64) {
    let mut body = Vec::new();
    codec::put_varint(&mut body, applied);
    put_row(batch, Space::Meta, alloc::vec![keys::META_APPLIED], body);
}

/// What a data directory says about itself: its format's number and how many shards its cluster has.
pub(crate) fn get_format(disk: &dyn Read) -> Result<Option<(u64, u64)>, StorageError> {
    let row = [keys::META_FORMAT];
    let value = disk.get(Space::Meta, &row)?;
    value
        .map(|value| open_row(Space::Meta, &row, &value, |input| Ok((input.varint()?, input.varint()?))))
        .transpose()
}

pub(crate) fn put_format(batch: &mut Batch, shards: ShardCount) {
    put_format_number(batch, FORMAT, shards);
}

pub(crate) fn put_format_number(batch: &mut Batch, format: u64, shards: ShardCount) {
    let mut body = Vec::new();
    codec::put_varint(&mut body, format);
    codec::put_varint(&mut body, u64::from(shards.get()));
    put_row(batch, Space::Meta, alloc::vec![keys::META_FORMAT], body);
}

/// Whether there is no row at all.
pub(crate) fn is_empty(disk: &dyn Read) -> Result<bool, StorageError> {
    let mut empty = true;
    for space in Space::ALL {
        disk.scan(space, &[], &[], &mut |_, _| {
            empty = false;
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(empty)
}
