//! The delta log, where it ends, and the format, as rows.

use super::FORMAT;
use super::keys;
use super::sealed::{corrupt, open_row, put_row};
use crate::codec::{self, Encode, Reader};
use crate::delta::Delta;
use crate::id::{Dot, OriginId, Seq, ShardId};
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

pub(crate) fn put_delta(batch: &mut Batch, shard: ShardId, delta: &Delta) {
    put_row(batch, Space::Log, keys::log_row(shard, delta.dot), delta.to_bytes());
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
        let mut name = Reader::new(row.get(2..).unwrap_or_default());
        let dot = name.u64().and_then(|origin| Ok(Dot::new(OriginId(origin), name.u64()?)));
        first = Some(dot.map_err(|_| corrupt(Space::Log, row, "not a delta's name"))?);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

/// Notes that the log holds every delta of an origin up to this one: later openings look from there.
pub(crate) fn put_reached(batch: &mut Batch, shard: ShardId, dot: Dot) {
    let mut body = Vec::new();
    codec::put_varint(&mut body, dot.seq);
    put_row(batch, Space::Meta, keys::reached_row(shard, dot.origin), body);
}

/// Visits what [`put_reached`] has noted, of all shards.
pub(crate) fn scan_reached(
    disk: &dyn Read,
    visit: &mut dyn FnMut(ShardId, Dot) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    disk.scan(Space::Meta, &[keys::META_REACHED], &[], &mut |row, value| {
        let seq: Seq = open_row(Space::Meta, row, value, |input| input.varint())?;
        let mut name = Reader::new(row.get(1..).unwrap_or_default());
        let named = name.array().and_then(|shard| Ok((ShardId(u16::from_be_bytes(shard)), name.u64()?)));
        let (shard, origin) = named.map_err(|_| corrupt(Space::Meta, row, "not an end of a log"))?;
        visit(shard, Dot::new(OriginId(origin), seq))?;
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
    let mut body = Vec::new();
    codec::put_varint(&mut body, FORMAT);
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
