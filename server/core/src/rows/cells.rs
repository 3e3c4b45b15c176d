//! Cells and slots as rows.

use super::keys::{self, Place};
use super::origins::Origins;
use super::sealed::{corrupt, open_row, put_row};
use crate::cell::{Cell, Head, Slot, SlotId};
use crate::codec::{self, DecodeError, Encode, Reader};
use crate::id::{OriginId, ShardId};
use crate::name::Member;
use crate::storage::{Batch, Read, Space, StorageError};
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// Version of the cells' layout, in the high bits of their first byte, so that rows can be rewritten one by one.
const CELL_VERSION: u8 = 1;

impl<P: Encode> Cell<P> {
    fn encode_row(&self, origins: &Origins) -> Vec<u8> {
        let mut out = Vec::new();
        let count = self.siblings().len();
        out.push(CELL_VERSION << 4 | count.min(15) as u8);
        if count >= 15 {
            codec::put_varint(&mut out, count as u64);
        }
        for (dot, payload) in self.siblings() {
            origins.put_dot(&mut out, *dot);
            payload.encode(&mut out);
        }
        out
    }

    fn decode_row(origins: &Origins, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let first = input.u8()?;
        if first >> 4 != CELL_VERSION {
            return Err(DecodeError::Tag { what: "cell version", tag: first >> 4 });
        }
        let count = match first & 15 {
            15 => match input.count(2)? {
                0..15 => return Err(DecodeError::Number),
                count => count,
            },
            count => usize::from(count),
        };
        let mut siblings = Vec::new();
        for _ in 0..count {
            siblings.push((origins.dot(input)?, P::decode(input)?));
        }
        codec::ascending(&siblings, |(dot, _)| *dot, "cell: dots ascend")?;
        Ok(siblings.into_iter().collect())
    }
}

fn get_cell<P: Encode>(
    disk: &dyn Read,
    origins: &Origins,
    space: Space,
    row: &[u8],
) -> Result<Cell<P>, StorageError> {
    match disk.get(space, row)? {
        Some(value) => open_row(space, row, &value, |input| Cell::decode_row(origins, input)),
        None => Ok(Cell::default()),
    }
}

fn put_cell<P: Encode>(batch: &mut Batch, origins: &Origins, space: Space, row: Vec<u8>, cell: &Cell<P>) {
    match cell.is_empty() {
        true => batch.delete(space, row),
        false => put_row(batch, space, row, cell.encode_row(origins)),
    }
}

/// The head of a key; empty if there is none.
pub(crate) fn get_head(
    disk: &dyn Read,
    origins: &Origins,
    place: Place<'_>,
) -> Result<Cell<Head>, StorageError> {
    get_cell(disk, origins, Space::Head, &place.head())
}

pub(crate) fn put_head(batch: &mut Batch, origins: &Origins, place: Place<'_>, cell: &Cell<Head>) {
    put_cell(batch, origins, Space::Head, place.head(), cell);
}

/// A member's cell; empty if it is not in the set.
pub(crate) fn get_member(
    disk: &dyn Read,
    origins: &Origins,
    place: Place<'_>,
    member: &Member,
) -> Result<Cell<()>, StorageError> {
    get_cell(disk, origins, Space::Cell, &place.member(member))
}

pub(crate) fn put_member(
    batch: &mut Batch,
    origins: &Origins,
    place: Place<'_>,
    member: &Member,
    cell: &Cell<()>,
) {
    put_cell(batch, origins, Space::Cell, place.member(member), cell);
}

/// What a key has beside its head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Slots that are not spent.
    pub(crate) slots: bool,
    /// Members.
    pub(crate) members: bool,
}

/// What a key has beside its head, in one look: where there is nothing, one row is touched.
pub(crate) fn parts(disk: &dyn Read, place: Place<'_>) -> Result<Parts, StorageError> {
    let prefix = place.all_parts();
    let mut parts = Parts::default();
    disk.scan(Space::Cell, &prefix, &[], &mut |row, value| {
        match row.get(prefix.len()) {
            Some(&keys::SLOT_KIND) => {
                parts.slots |= !open_row(Space::Cell, row, value, Slot::decode)?.is_spent();
                return Ok(ControlFlow::Continue(()));
            }
            kind => parts.members = kind == Some(&keys::MEMBER_KIND),
        }
        Ok(ControlFlow::Break(()))
    })?;
    Ok(parts)
}

/// Visits the members of a set in byte order.
pub(crate) fn scan_members(
    disk: &dyn Read,
    origins: &Origins,
    place: Place<'_>,
    visit: &mut dyn FnMut(Member, Cell<()>) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let prefix = place.members();
    disk.scan(Space::Cell, &prefix, &[], &mut |row, value| {
        let text = row.get(prefix.len()..).and_then(|text| core::str::from_utf8(text).ok());
        let member = text.and_then(|text| Member::new(text).ok());
        let member = member.ok_or_else(|| corrupt(Space::Cell, row, "not a member"))?;
        let cell = open_row(Space::Cell, row, value, |input| Cell::decode_row(origins, input))?;
        Ok(visit(member, cell))
    })
}

/// A counter's slot, if it has been born.
pub(crate) fn get_slot(disk: &dyn Read, place: Place<'_>, id: SlotId) -> Result<Option<Slot>, StorageError> {
    let row = place.slot(id);
    let value = disk.get(Space::Cell, &row)?;
    value.map(|value| open_row(Space::Cell, &row, &value, Slot::decode)).transpose()
}

pub(crate) fn put_slot(batch: &mut Batch, place: Place<'_>, id: SlotId, slot: Slot) {
    put_row(batch, Space::Cell, place.slot(id), slot.to_bytes());
}

/// The slots of a counter, ascending, spent ones too.
pub(crate) fn slots(disk: &dyn Read, place: Place<'_>) -> Result<Vec<(SlotId, Slot)>, StorageError> {
    let prefix = place.slots();
    let mut slots = Vec::new();
    disk.scan(Space::Cell, &prefix, &[], &mut |row, value| {
        let id = slot_id(row.get(prefix.len()..).unwrap_or_default());
        let id = id.map_err(|_| corrupt(Space::Cell, row, "not a slot"))?;
        slots.push((id, open_row(Space::Cell, row, value, Slot::decode)?));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(slots)
}

fn slot_id(suffix: &[u8]) -> Result<SlotId, DecodeError> {
    let mut input = Reader::new(suffix);
    let id = SlotId { origin: OriginId(input.u64()?), birth: input.u64()? };
    input.finish()?;
    Ok(id)
}

// -- the canonical form ------------------------------------------------------------------------------------------------

/// A row's content in the form that digests and comparisons use: origins in full, the same on every node. `None` for a
/// spent slot, which is a marker and no content.
pub(crate) fn canonical(
    origins: &Origins,
    space: Space,
    row: &[u8],
    value: &[u8],
) -> Result<Option<Vec<u8>>, StorageError> {
    if space == Space::Cell && keys::is_slot(row) {
        let slot = open_row(space, row, value, Slot::decode)?;
        return Ok((!slot.is_spent()).then(|| slot.content()));
    }
    Ok(Some(match space {
        Space::Head => {
            open_row(space, row, value, |input| Cell::<Head>::decode_row(origins, input))?.to_bytes()
        }
        _ => open_row(space, row, value, |input| Cell::<()>::decode_row(origins, input))?.to_bytes(),
    }))
}

/// Called with the space, the row and the canonical content of each row of a shard.
pub type VisitContent<'a> = &'a mut dyn FnMut(Space, &[u8], Vec<u8>);

/// Visits the content of a shard in canonical form, ascending by space and row.
pub(crate) fn scan_canonical(
    disk: &dyn Read,
    origins: &Origins,
    shard: ShardId,
    visit: VisitContent<'_>,
) -> Result<(), StorageError> {
    for space in [Space::Head, Space::Cell] {
        disk.scan(space, &keys::shard_prefix(shard), &[], &mut |row, value| {
            if let Some(content) = canonical(origins, space, row, value)? {
                visit(space, row, content);
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(())
}
