//! Masks as rows.

use super::keys::{self, Place};
use super::sealed::{corrupt, open_row, put_row};
use crate::codec::{self, DecodeError, Encode, Reader};
use crate::context::Seen;
use crate::id::{Dot, ShardId};
use crate::name::{Bucket, Key};
use crate::path::Path;
use crate::storage::{Batch, Read, Space, StorageError};
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// A mask as it is written down.
#[derive(Clone, Debug)]
pub(crate) struct MaskRow {
    pub(crate) name: (Dot, u32),
    pub(crate) bucket: Bucket,
    pub(crate) key: Key,
    pub(crate) path: Path,
    /// Whether it hides what is below its place, and not a set's members.
    pub(crate) below: bool,
    pub(crate) seen: Seen,
}

pub(crate) fn put_mask(batch: &mut Batch, place: Place<'_>, name: (Dot, u32), below: bool, seen: &Seen) {
    let mut body = Vec::new();
    codec::put_bytes(&mut body, place.bucket.as_str().as_bytes());
    codec::put_bytes(&mut body, place.key.as_bytes());
    place.path.encode(&mut body);
    body.push(u8::from(below));
    seen.encode(&mut body);
    put_row(batch, Space::Meta, keys::mask_row(place.shard, name.0, name.1), body);
}

pub(crate) fn delete_mask(batch: &mut Batch, shard: ShardId, name: (Dot, u32)) {
    batch.delete(Space::Meta, keys::mask_row(shard, name.0, name.1));
}

/// The masks of a shard.
pub(crate) fn masks(disk: &dyn Read, shard: ShardId) -> Result<Vec<MaskRow>, StorageError> {
    let mut found = Vec::new();
    let prefix = keys::shard_row(keys::META_MASK, shard);
    disk.scan(Space::Meta, &prefix, &[], &mut |row, value| {
        let name = name(row).ok_or_else(|| corrupt(Space::Meta, row, "not the name of a mask"))?;
        found.push(open_row(Space::Meta, row, value, |input| decode(name, input))?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

fn name(row: &[u8]) -> Option<(Dot, u32)> {
    let (dot, number) = row.get(1..)?.split_last_chunk()?;
    Some((keys::log_dot(dot)?, u32::from_be_bytes(*number)))
}

fn decode(name: (Dot, u32), input: &mut Reader<'_>) -> Result<MaskRow, DecodeError> {
    let bucket = Bucket::stored(input.text()?).map_err(|_| DecodeError::Invalid("bucket"))?;
    let key = Key::new(input.bytes()?).map_err(|_| DecodeError::Invalid("key"))?;
    let path = Path::decode(input)?;
    let below = match input.u8()? {
        0 => false,
        1 => true,
        tag => return Err(DecodeError::Tag { what: "mask", tag }),
    };
    Ok(MaskRow { name, bucket, key, path, below, seen: Seen::decode(input)? })
}
