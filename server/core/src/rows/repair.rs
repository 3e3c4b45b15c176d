//! What repair keeps on the disk: where a replica stands, what was fetched and is to be installed, deltas that are held to
//! be handed over, and Merkle trees that were kept.

use super::keys;
use super::sealed::{corrupt, open_row, put_row};
use crate::codec::{self, DecodeError, Encode, Reader};
use crate::delta::Delta;
use crate::id::{Dot, ShardId};
use crate::merkle::{LEAVES, Place, Tree};
use crate::storage::{Batch, Read, Space, StorageError, behind};
use crate::version_vector::VersionVector;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// Why a replica is out of service, where a restart must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// Some of its rows are those of a repair that was not installed to its end. It had applied this.
    Damaged(VersionVector),
    /// Its rows are being removed, for those that are staged.
    Emptying {
        /// What it had applied.
        had: VersionVector,
        /// What the source of the staged rows had applied.
        theirs: VersionVector,
    },
    /// The staged rows are being installed.
    Installing {
        /// What their source had applied.
        theirs: VersionVector,
        /// What the replica had applied before it was emptied, if it was.
        had: Option<VersionVector>,
    },
    /// It is handed what its log held; it had applied this before it was emptied.
    Filling(VersionVector),
}

const DAMAGED: u8 = 1;
const EMPTYING: u8 = 2;
const INSTALLING: u8 = 3;
const REPLACING: u8 = 4;
const FILLING: u8 = 5;

pub(crate) fn put_unfinished(batch: &mut Batch, shard: ShardId, unfinished: &Unfinished) {
    let (kind, vectors) = match unfinished {
        Unfinished::Damaged(had) => (DAMAGED, [Some(had), None]),
        Unfinished::Emptying { had, theirs } => (EMPTYING, [Some(had), Some(theirs)]),
        Unfinished::Installing { theirs, had: None } => (INSTALLING, [Some(theirs), None]),
        Unfinished::Installing { theirs, had: Some(had) } => (REPLACING, [Some(had), Some(theirs)]),
        Unfinished::Filling(had) => (FILLING, [Some(had), None]),
    };
    let mut body = alloc::vec![kind];
    vectors.into_iter().flatten().for_each(|vector| vector.encode(&mut body));
    put_row(batch, Space::Meta, keys::shard_row(keys::META_STANDING, shard), body);
}

fn decode_unfinished(input: &mut Reader<'_>) -> Result<Unfinished, DecodeError> {
    let (kind, first) = (input.u8()?, VersionVector::decode(input)?);
    match kind {
        DAMAGED => Ok(Unfinished::Damaged(first)),
        EMPTYING => Ok(Unfinished::Emptying { had: first, theirs: VersionVector::decode(input)? }),
        INSTALLING => Ok(Unfinished::Installing { theirs: first, had: None }),
        REPLACING => Ok(Unfinished::Installing { theirs: VersionVector::decode(input)?, had: Some(first) }),
        FILLING => Ok(Unfinished::Filling(first)),
        tag => Err(DecodeError::Tag { what: "standing of a replica", tag }),
    }
}

pub(crate) fn delete_unfinished(batch: &mut Batch, shard: ShardId) {
    batch.delete(Space::Meta, keys::shard_row(keys::META_STANDING, shard));
}

pub(crate) fn get_unfinished(disk: &dyn Read, shard: ShardId) -> Result<Option<Unfinished>, StorageError> {
    let row = keys::shard_row(keys::META_STANDING, shard);
    let value = disk.get(Space::Meta, &row)?;
    value.map(|value| open_row(Space::Meta, &row, &value, decode_unfinished)).transpose()
}

// -- what was fetched --------------------------------------------------------------------------------------------------

/// Stages what the source holds in a row: its canonical form, `None` where there is no such row.
pub(crate) fn put_staged(
    batch: &mut Batch,
    shard: ShardId,
    space: Space,
    row: &[u8],
    canonical: Option<&[u8]>,
) {
    let body = canonical.unwrap_or_default().to_vec();
    put_row(batch, Space::Stage, keys::staged_row(shard, space, row), body);
}

/// Whether something is staged for a row.
pub(crate) fn is_staged(
    disk: &dyn Read,
    shard: ShardId,
    space: Space,
    row: &[u8],
) -> Result<bool, StorageError> {
    Ok(disk.get(Space::Stage, &keys::staged_row(shard, space, row))?.is_some())
}

/// One staged row.
pub(crate) struct Staged {
    pub(crate) space: Space,
    pub(crate) row: Vec<u8>,
    /// What the source holds there, `None` where it has no such row.
    pub(crate) canonical: Option<Vec<u8>>,
}

/// How much of something is read at once: the first of it that exceeds either is the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtMost {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

impl AtMost {
    /// So many rows, and the bytes that go with a portion.
    pub(crate) fn rows(rows: usize) -> AtMost {
        AtMost { rows, bytes: PORTION_BYTES_MAX }
    }

    /// Takes note of a row; whether it was the last.
    pub(crate) fn count(&mut self, bytes: usize) -> ControlFlow<()> {
        (self.rows, self.bytes) = (self.rows.saturating_sub(1), self.bytes.saturating_sub(bytes));
        if self.rows == 0 || self.bytes == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Bytes of rows that one portion of work keeps in memory, the last row apart.
const PORTION_BYTES_MAX: usize = 4 << 20;

/// The first staged rows of a shard, and whether there are more.
pub(crate) fn first_staged(
    disk: &dyn Read,
    shard: ShardId,
    mut at_most: AtMost,
) -> Result<(Vec<Staged>, bool), StorageError> {
    let prefix = stage_prefix(shard, keys::STAGED);
    let (mut found, mut more, mut full) = (Vec::new(), false, false);
    disk.scan(Space::Stage, &prefix, &[], &mut |row, value| {
        more = full;
        if full {
            return Ok(ControlFlow::Break(()));
        }
        let canonical = open_row(Space::Stage, row, value, |input| {
            let bytes = input.take(input.left())?;
            Ok((!bytes.is_empty()).then(|| bytes.to_vec()))
        })?;
        let space = row.get(3).and_then(|number| Space::numbered(*number));
        let space = space.ok_or_else(|| corrupt(Space::Stage, row, "not a staged row"))?;
        found.push(Staged { space, row: row[4..].to_vec(), canonical });
        full = at_most.count(row.len() + value.len()).is_break();
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((found, more))
}

pub(crate) fn delete_staged(batch: &mut Batch, shard: ShardId, space: Space, row: &[u8]) {
    batch.delete(Space::Stage, keys::staged_row(shard, space, row));
}

fn stage_prefix(shard: ShardId, kind: u8) -> [u8; 3] {
    let [high, low] = shard.0.to_be_bytes();
    [high, low, kind]
}

/// The first rows of a kind of a shard, at most `rows_max`. Their values are not read.
pub(crate) fn rows_first(
    disk: &dyn Read,
    shard: ShardId,
    what: Remove,
    rows_max: usize,
) -> Result<(Space, Vec<Vec<u8>>), StorageError> {
    let (space, prefix) = match what {
        Remove::Staged => (Space::Stage, stage_prefix(shard, keys::STAGED).to_vec()),
        Remove::Heads => (Space::Head, keys::shard_prefix(shard).to_vec()),
        Remove::Cells => (Space::Cell, keys::shard_prefix(shard).to_vec()),
    };
    let mut found = Vec::new();
    disk.scan(space, &prefix, &[], &mut |row, _| {
        found.push(row.to_vec());
        Ok(if found.len() >= rows_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok((space, found))
}

/// Kinds of rows that are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remove {
    Staged,
    Heads,
    Cells,
}

// -- what is handed over -----------------------------------------------------------------------------------------------

/// A row of the log, with its delta, `None` where it cannot be read.
pub(crate) type LogRow = (Vec<u8>, Option<Delta>);

/// The first rows of a shard's log.
pub(crate) fn log_first(
    disk: &dyn Read,
    shard: ShardId,
    mut at_most: AtMost,
) -> Result<Vec<LogRow>, StorageError> {
    let mut found = Vec::new();
    disk.scan(Space::Log, &keys::shard_prefix(shard), &[], &mut |row, value| {
        let dot = keys::log_dot(row);
        let delta = open_row(Space::Log, row, value, Delta::decode).ok();
        found.push((row.to_vec(), delta.filter(|delta| Some(delta.dot) == dot)));
        Ok(at_most.count(row.len() + value.len()))
    })?;
    Ok(found)
}

/// Holds a delta.
pub(crate) fn put_held(batch: &mut Batch, shard: ShardId, delta: &Delta) {
    put_row(batch, Space::Stage, keys::held_row(shard, delta.dot), delta.to_bytes());
}

/// Visits the deltas of a shard that are held, from one on, ascending by origin and sequence. One that cannot be read is `None`.
pub(crate) fn scan_held(
    disk: &dyn Read,
    shard: ShardId,
    from: Dot,
    visit: &mut dyn FnMut(Dot, Option<Delta>) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let prefix = stage_prefix(shard, keys::HELD);
    disk.scan(Space::Stage, &prefix, &keys::held_row(shard, from), &mut |row, value| {
        let name = row.get(1..).and_then(keys::log_dot);
        let dot = name.ok_or_else(|| corrupt(Space::Stage, row, "not a delta's name"))?;
        let delta = open_row(Space::Stage, row, value, Delta::decode).ok();
        Ok(visit(dot, delta.filter(|delta| delta.dot == dot)))
    })
}

/// A delta that is held.
pub(crate) fn get_held(disk: &dyn Read, shard: ShardId, dot: Dot) -> Result<Option<Delta>, StorageError> {
    let row = keys::held_row(shard, dot);
    let value = disk.get(Space::Stage, &row)?;
    let delta = value.map(|value| open_row(Space::Stage, &row, &value, Delta::decode)).transpose()?;
    match delta {
        Some(delta) if delta.dot != dot => Err(corrupt(Space::Stage, &row, "another delta")),
        delta => Ok(delta),
    }
}

pub(crate) fn delete_held(batch: &mut Batch, shard: ShardId, dot: Dot) {
    batch.delete(Space::Stage, keys::held_row(shard, dot));
}

/// The shards of which something is staged, and those of which deltas are held.
pub(crate) fn staged_shards(disk: &dyn Read) -> Result<[BTreeSet<ShardId>; 2], StorageError> {
    let mut found = [BTreeSet::new(), BTreeSet::new()];
    let mut from = Some(Vec::new());
    while let Some(first) = from {
        let mut next = None;
        disk.scan(Space::Stage, &[], &first, &mut |row, _| {
            let of = row.first_chunk::<3>().filter(|[.., kind]| [keys::STAGED, keys::HELD].contains(kind));
            next = Some(*of.ok_or_else(|| corrupt(Space::Stage, row, "neither staged nor held"))?);
            Ok(ControlFlow::Break(()))
        })?;
        let Some([high, low, kind]) = next else { break };
        let shard = ShardId(u16::from_be_bytes([high, low]));
        found[usize::from(kind == keys::HELD)].insert(shard);
        from = behind(&[high, low, kind]);
    }
    Ok(found)
}

// -- trees -------------------------------------------------------------------------------------------------------------

/// A tree as it was when its replica had applied `vector`, and the bytes of the log then.
pub(crate) struct KeptTree {
    pub(crate) vector: VersionVector,
    pub(crate) log_bytes: u64,
    pub(crate) tree: Tree,
}

pub(crate) fn put_tree(batch: &mut Batch, shard: ShardId, kept: &KeptTree) {
    let mut body = Vec::new();
    kept.vector.encode(&mut body);
    codec::put_varint(&mut body, kept.log_bytes);
    for (leaf, sum) in kept.tree.leaves() {
        body.extend_from_slice(&leaf.to_be_bytes());
        body.extend_from_slice(&sum.to_be_bytes());
    }
    put_row(batch, Space::Meta, keys::shard_row(keys::META_TREE, shard), body);
}

pub(crate) fn delete_tree(batch: &mut Batch, shard: ShardId) {
    batch.delete(Space::Meta, keys::shard_row(keys::META_TREE, shard));
}

/// A tree that was kept. One that cannot be read is none: it is made from the rows then.
pub(crate) fn get_tree(disk: &dyn Read, shard: ShardId) -> Result<Option<KeptTree>, StorageError> {
    let row = keys::shard_row(keys::META_TREE, shard);
    let value = disk.get(Space::Meta, &row)?;
    Ok(value.and_then(|value| open_row(Space::Meta, &row, &value, decode_tree).ok()))
}

fn decode_tree(input: &mut Reader<'_>) -> Result<KeptTree, DecodeError> {
    let (vector, log_bytes) = (VersionVector::decode(input)?, input.varint()?);
    let mut leaves = Vec::new();
    while input.left() > 0 {
        let leaf = Place::from_be_bytes(input.array()?);
        if usize::from(leaf) >= LEAVES {
            return Err(DecodeError::Invalid("tree: no such leaf"));
        }
        match u128::from_be_bytes(input.array()?) {
            0 => return Err(DecodeError::Invalid("tree: a leaf of nothing")),
            sum => leaves.push((leaf, sum)),
        }
    }
    codec::ascending(&leaves, |(leaf, _)| *leaf, "tree: leaves ascend")?;
    Ok(KeptTree { vector, log_bytes, tree: Tree::of_leaves(leaves) })
}
