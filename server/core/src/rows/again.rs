//! Every kind of row read, and written again from what was read: how tests get at all readers of rows with bytes of their
//! own choice. In builds for tests only.

// All rooms of this one: that is what it is for.
use super::*;
use crate::codec::DecodeError;
use crate::id::{Dot, OriginId, ShardId};
use crate::merkle::{Changes, Counted, Seed};
use crate::name::ShardCount;
use crate::path::ROOT;
use crate::storage::{Batch, MemStorage, Read as _, Space, Storage as _, StorageError};
use crate::version_vector::VersionVector;
use alloc::vec::Vec;
use cells::{member_of, slot_id};
use core::ops::ControlFlow;
use sealed::{corrupt, seal};

/// A row's name, and its value with the checksum.
pub type Row = (Vec<u8>, Vec<u8>);

/// The value of a row, with its checksum.
pub fn sealed(space: Space, row: &[u8], body: &[u8]) -> Vec<u8> {
    seal(space, row, body.to_vec())
}

/// Reads a row as it lies on a disk where it is the only one, and writes what was read.
///
/// # Errors
/// [`StorageError::Corrupt`] where it is no row that this version writes.
pub fn again(origins: &Origins, space: Space, row: &[u8], value: &[u8]) -> Result<Row, StorageError> {
    let (mut disk, mut batch) = (MemStorage::default(), Batch::default());
    batch.put(space, row.to_vec(), value.to_vec());
    disk.write(&batch)?;
    let mut batch = Batch::default();
    match space {
        Space::Head | Space::Cell => content(&mut batch, origins, space, row, value)?,
        Space::Log => delta(&mut batch, &disk, row)?,
        Space::Meta => meta(&mut batch, &disk, row)?,
        Space::Stage => stage(&mut batch, &disk, row)?,
    }
    disk = MemStorage::default();
    disk.write(&batch)?;
    let mut written = Vec::new();
    disk.scan(space, &[], &[], &mut |row, value| {
        written.push((row.to_vec(), value.to_vec()));
        Ok(ControlFlow::Continue(()))
    })?;
    written.pop().ok_or_else(|| corrupt(space, row, "nothing was read"))
}

/// Reads what a row holds as it is sent by a source of a repair and as it is staged, and writes what was read.
///
/// # Errors
/// [`DecodeError`] where no row of this name holds that.
pub fn canonical_again(space: Space, row: &[u8], bytes: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
    let content = Content::from_canonical(space, row, bytes)?;
    let _whatever_it_says = content.is_within(row, &VersionVector::default());
    Ok(content.canonical())
}

fn content(
    batch: &mut Batch,
    origins: &Origins,
    space: Space,
    row: &[u8],
    value: &[u8],
) -> Result<(), StorageError> {
    let (shard, bucket, key) = owner(space, row).ok_or_else(|| corrupt(space, row, "of no key"))?;
    let place = Place::key(shard, &bucket, &key);
    let content = Content::open(origins, space, row, value)?;
    let Some(written) = content.to_row(origins, space, row) else {
        // What is no content is a mark, or damage.
        canonical(origins, space, row, value)?;
        put_mark(batch, origins, place);
        return Ok(());
    };
    let named = if space == Space::Head { place.head().1 } else { part(place, row)? };
    batch.put(space, named, written);
    Ok(())
}

/// The row of a part of a key, named anew.
fn part(place: Place<'_>, row: &[u8]) -> Result<Vec<u8>, StorageError> {
    let bad = || corrupt(Space::Cell, row, "not a part of a key");
    let (kind, rest) = row.get(place.all_parts().len()..).and_then(<[u8]>::split_first).ok_or_else(bad)?;
    let (path, rest) = match *kind {
        keys::SLOT_KIND | keys::MEMBER_KIND => (ROOT.clone(), rest),
        _ => keys::split_path(rest).ok_or_else(bad)?,
    };
    let place = place.at(&path);
    match *kind {
        keys::SLOT_KIND | keys::FIELD_SLOT_KIND => {
            let id = slot_id(rest).map_err(|_| bad())?;
            assert_eq!(keys::slot_of(row), Some(id), "both readers of a slot's name agree");
            Ok(place.slot(id))
        }
        keys::MEMBER_KIND | keys::FIELD_MEMBER_KIND => Ok(place.member(&member_of(row, rest)?)),
        _ => Ok(place.head().1),
    }
}

fn delta(batch: &mut Batch, disk: &MemStorage, row: &[u8]) -> Result<(), StorageError> {
    let shard = shard_at(Space::Log, row, 0)?;
    let dot = first_delta(disk, shard, OriginId(0))?;
    let dot = dot.ok_or_else(|| corrupt(Space::Log, row, "before all origins"))?;
    let mut scanned = Vec::new();
    scan_log(disk, shard, dot, &mut |dot, _| {
        scanned.push(dot);
        ControlFlow::Continue(())
    })?;
    assert_eq!(scanned, [dot], "both readers of a delta's name agree");
    let delta = get_delta(disk, shard, dot)?.ok_or_else(|| corrupt(Space::Log, row, "not there"))?;
    let whole = AtMost { rows: 1, bytes: usize::MAX };
    let first = log_first(disk, shard, whole)?;
    assert!(first.iter().any(|(_, read)| read.as_ref() == Some(&delta)), "both readers of a delta agree");
    put_delta(batch, &mut Changes::new(Seed(0), Counted::All, None), shard, &delta);
    Ok(())
}

fn meta(batch: &mut Batch, disk: &MemStorage, row: &[u8]) -> Result<(), StorageError> {
    let bad = || corrupt(Space::Meta, row, "not a row of a node");
    match *row.first().ok_or_else(bad)? {
        keys::META_FORMAT => {
            let (format, shards) = get_format(disk)?.ok_or_else(bad)?;
            let shards = u16::try_from(shards).ok().and_then(ShardCount::new).ok_or_else(bad)?;
            put_format_number(batch, format, shards);
        }
        keys::META_ORIGIN => {
            let mut seen = Vec::new();
            scan_origins_unchecked(disk, &mut |origin| seen.push(origin))?;
            let (read, mut written) = (Origins::load(disk)?, Origins::default());
            assert!(seen.iter().all(|origin| read.contains(*origin)), "both readers of the table agree");
            for origin in seen {
                written.number(batch, origin);
            }
        }
        keys::META_STRETCH => scan_stretches(disk, &mut |shard, origin, stretch| {
            put_stretch(batch, shard, origin, stretch);
        })?,
        keys::META_APPLIED => {
            let applied = get_applied(disk)?;
            disk.get(Space::Meta, &[keys::META_APPLIED])?.ok_or_else(bad)?;
            put_applied(batch, applied);
        }
        keys::META_STANDING => {
            let shard = shard_at(Space::Meta, row, 1)?;
            let unfinished = get_unfinished(disk, shard)?.ok_or_else(bad)?;
            put_unfinished(batch, shard, &unfinished);
        }
        keys::META_TREE => {
            let shard = shard_at(Space::Meta, row, 1)?;
            let tree = get_tree(disk, shard)?.ok_or_else(bad)?;
            put_tree(batch, shard, &tree);
        }
        keys::META_MASK => {
            let shard = shard_at(Space::Meta, row, 1)?;
            for mask in masks(disk, shard)? {
                let place = Place::key(shard, &mask.bucket, &mask.key).at(&mask.path);
                put_mask(batch, place, mask.name, mask.below, &mask.seen);
            }
        }
        _ => return Err(bad()),
    }
    Ok(())
}

fn stage(batch: &mut Batch, disk: &MemStorage, row: &[u8]) -> Result<(), StorageError> {
    let shard = shard_at(Space::Stage, row, 0)?;
    let [staged, held] = staged_shards(disk)?;
    if staged.contains(&shard) {
        let (rows, _) = first_staged(disk, shard, AtMost { rows: 2, bytes: usize::MAX })?;
        for row in rows {
            put_staged(batch, shard, row.space, &row.row, row.canonical.as_deref());
        }
    }
    if held.contains(&shard) {
        let mut read = None;
        scan_held(disk, shard, Dot::new(OriginId(0), 0), &mut |dot, delta| {
            read = Some((dot, delta));
            ControlFlow::Continue(())
        })?;
        if let Some((dot, Some(delta))) = read {
            assert_eq!(get_held(disk, shard, dot)?.as_ref(), Some(&delta), "both readers agree");
            put_held(batch, shard, &delta);
        }
    }
    Ok(())
}

/// The shard that a row's name has at a place.
fn shard_at(space: Space, row: &[u8], at: usize) -> Result<ShardId, StorageError> {
    let shard = row.get(at..).and_then(<[u8]>::first_chunk).map(|shard| ShardId(u16::from_be_bytes(*shard)));
    shard.ok_or_else(|| corrupt(space, row, "of no shard"))
}
