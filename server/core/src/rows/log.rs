//! The delta log, the version vectors and the format, as rows.

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

/// Whether a delta is in the log. It is not read.
pub(crate) fn has_delta(disk: &dyn Read, shard: ShardId, dot: Dot) -> Result<bool, StorageError> {
    Ok(disk.get(Space::Log, &keys::log_row(shard, dot))?.is_some())
}

pub(crate) fn put_delta(batch: &mut Batch, shard: ShardId, delta: &Delta) {
    put_row(batch, Space::Log, keys::log_row(shard, delta.dot), delta.to_bytes());
}

pub(crate) fn put_vector_entry(batch: &mut Batch, shard: ShardId, dot: Dot) {
    let mut body = Vec::new();
    codec::put_varint(&mut body, dot.seq);
    put_row(batch, Space::Meta, keys::vector_row(shard, dot.origin), body);
}

/// Visits the entries of all shards' version vectors.
pub(crate) fn scan_vectors(
    disk: &dyn Read,
    visit: &mut dyn FnMut(ShardId, Dot) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    disk.scan(Space::Meta, &[keys::META_VECTOR], &[], &mut |row, value| {
        let seq: Seq = open_row(Space::Meta, row, value, |input| input.varint())?;
        let mut name = Reader::new(row.get(1..).unwrap_or_default());
        let named = name.array().and_then(|shard| Ok((ShardId(u16::from_be_bytes(shard)), name.u64()?)));
        let (shard, origin) = named.map_err(|_| corrupt(Space::Meta, row, "not a vector's entry"))?;
        visit(shard, Dot::new(OriginId(origin), seq))?;
        Ok(ControlFlow::Continue(()))
    })
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
