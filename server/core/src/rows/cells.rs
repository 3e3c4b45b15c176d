//! Cells and slots as rows.
//!
//! This is one file because all rows with content are written by one [`Pen`] and opened as one [`Content`].

use super::keys::{self, Place};
use super::origins::Origins;
use super::sealed::{corrupt, open_row, put_row, seal};
use crate::cell::{Cell, Head, Slot, SlotId};
use crate::codec::{self, DecodeError, Encode, Reader};
use crate::context::Seen;
use crate::delta::Effect;
use crate::id::{Dot, OriginId, ShardId};
use crate::merkle::Changes;
use crate::name::{Bucket, Key, Member};
use crate::storage::{Batch, Read, Space, StorageError, Visit};
use crate::version_vector::VersionVector;
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

/// Reads the cell in a row.
pub(super) fn open_cell<P: Encode>(
    origins: &Origins,
    space: Space,
    row: &[u8],
    value: &[u8],
) -> Result<Cell<P>, StorageError> {
    open_row(space, row, value, |input| Cell::decode_row(origins, input))
}

fn get_cell<P: Encode>(
    disk: &dyn Read,
    origins: &Origins,
    space: Space,
    row: &[u8],
) -> Result<Cell<P>, StorageError> {
    match disk.get(space, row)? {
        Some(value) => open_cell(origins, space, row, &value),
        None => Ok(Cell::default()),
    }
}

fn put_cell<P: Encode>(batch: &mut Batch, origins: &Origins, space: Space, row: Vec<u8>, cell: &Cell<P>) {
    match cell.is_empty() {
        true => batch.delete(space, row),
        false => put_row(batch, space, row, cell.encode_row(origins)),
    }
}

/// Where changes of cells are gathered: a batch, and what they change in the digest.
pub(crate) struct Pen<'a> {
    pub(crate) batch: &'a mut Batch,
    pub(crate) origins: &'a Origins,
    pub(crate) changes: &'a mut Changes,
}

impl Pen<'_> {
    /// Writes a cell. `before` is its canonical form as it was, `None` if it was empty.
    fn cell<P: Encode>(&mut self, space: Space, row: Vec<u8>, before: Option<Vec<u8>>, cell: &Cell<P>) {
        self.changes.row(space, &row, before, canonical_form(cell));
        put_cell(self.batch, self.origins, space, row, cell);
    }

    pub(crate) fn head(&mut self, place: Place<'_>, before: Option<Vec<u8>>, cell: &Cell<Head>) {
        let (space, row) = place.head();
        self.cell(space, row, before, cell);
    }

    /// Marks a key that has content and no head, so that a listing comes by it; or takes the mark away. It is no content, and no digest
    /// counts it.
    pub(crate) fn mark(&mut self, place: Place<'_>, has_content: bool) {
        match has_content {
            true => put_mark(self.batch, self.origins, place),
            false => {
                let (space, row) = place.head();
                self.batch.delete(space, row);
            }
        }
    }

    pub(crate) fn member(
        &mut self,
        place: Place<'_>,
        member: &Member,
        before: Option<Vec<u8>>,
        cell: &Cell<()>,
    ) {
        self.cell(Space::Cell, place.member(member), before, cell);
    }

    pub(crate) fn slot(&mut self, place: Place<'_>, id: SlotId, before: Option<Slot>, slot: Slot) {
        let row = place.slot(id);
        self.changes.row(Space::Cell, &row, before.map(|slot| slot.to_bytes()), Some(slot.to_bytes()));
        put_row(self.batch, Space::Cell, row, slot.to_bytes());
    }

    /// Removes a slot: a deliberate bug.
    pub(crate) fn purge(&mut self, place: Place<'_>, id: SlotId, before: Slot) {
        self.content(Space::Cell, place.slot(id), &Content::Slot(Some(before)), &Content::Slot(None));
    }

    /// Writes whatever a row holds, in place of what it held.
    pub(crate) fn content(&mut self, space: Space, row: Vec<u8>, before: &Content, content: &Content) {
        match content {
            Content::Head(cell) => self.cell(space, row, before.canonical(), cell),
            Content::Member(cell) => self.cell(space, row, before.canonical(), cell),
            Content::Slot(slot) => {
                self.changes.row(space, &row, before.canonical(), content.canonical());
                match slot {
                    Some(slot) => put_row(self.batch, space, row, slot.to_bytes()),
                    None => self.batch.delete(space, row),
                }
            }
        }
    }
}

/// The canonical form of a cell, `None` if it is empty.
pub(crate) fn canonical_form<P: Encode>(cell: &Cell<P>) -> Option<Vec<u8>> {
    (!cell.is_empty()).then(|| {
        let mut out = Vec::with_capacity(CANONICAL_BYTES_USUAL);
        cell.encode(&mut out);
        out
    })
}

/// What most canonical forms have at most, with the row's key behind it: room for that spares moves.
const CANONICAL_BYTES_USUAL: usize = 256;

/// What one row of a replica holds, of whatever kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Head(Cell<Head>),
    Member(Cell<()>),
    Slot(Option<Slot>),
}

impl Content {
    /// What a row holds that is not there.
    pub(crate) fn nothing(space: Space, row: &[u8]) -> Content {
        match space {
            Space::Head => Content::Head(Cell::default()),
            _ if keys::is_slot(row) => Content::Slot(None),
            _ if keys::is_field_head(row) => Content::Head(Cell::default()),
            _ => Content::Member(Cell::default()),
        }
    }

    /// Reads a row's value.
    pub(crate) fn open(
        origins: &Origins,
        space: Space,
        row: &[u8],
        value: &[u8],
    ) -> Result<Content, StorageError> {
        Ok(match Content::nothing(space, row) {
            Content::Head(_) => Content::Head(open_cell(origins, space, row, value)?),
            Content::Member(_) => Content::Member(open_cell(origins, space, row, value)?),
            Content::Slot(_) => Content::Slot(Some(open_row(space, row, value, Slot::decode)?)),
        })
    }

    /// Reads the canonical form of a row.
    pub(crate) fn from_canonical(space: Space, row: &[u8], bytes: &[u8]) -> Result<Content, DecodeError> {
        Ok(match Content::nothing(space, row) {
            Content::Head(_) => Content::Head(Cell::from_bytes(bytes)?),
            Content::Member(_) => Content::Member(Cell::from_bytes(bytes)?),
            Content::Slot(_) => Content::Slot(Some(Slot::from_bytes(bytes)?)),
        })
    }

    /// Whether all that it holds comes from deltas that a vector covers.
    pub(crate) fn is_within(&self, row: &[u8], vector: &VersionVector) -> bool {
        match self {
            Content::Head(cell) => cell.dots().all(|dot| vector.covers(dot)),
            Content::Member(cell) => cell.dots().all(|dot| vector.covers(dot)),
            Content::Slot(None) => true,
            Content::Slot(Some(Slot { base, last })) => keys::slot_of(row).is_some_and(|id| {
                let in_order = base.seq <= last.seq && id.birth <= last.seq;
                in_order && vector.covers(Dot::new(id.origin, last.seq))
            }),
        }
    }

    /// Takes away all: a deliberate bug.
    pub(crate) fn take_all(&mut self) {
        match self {
            Content::Head(cell) => cell.retain(|_| false),
            Content::Member(cell) => cell.retain(|_| false),
            Content::Slot(_) => {}
        }
    }

    /// Takes away what was seen. Slots stay: what is left of one cannot be told from a vector.
    pub(crate) fn take_seen(&mut self, seen: &Seen) {
        match self {
            Content::Head(cell) => cell.retain(|dot| !seen.covers(dot)),
            Content::Member(cell) => cell.retain(|dot| !seen.covers(dot)),
            Content::Slot(_) => {}
        }
    }

    /// The value of a row that holds this; `None` for a row that is not there.
    pub(crate) fn to_row(&self, origins: &Origins, space: Space, row: &[u8]) -> Option<Vec<u8>> {
        let body = match self {
            Content::Head(cell) => (!cell.is_empty()).then(|| cell.encode_row(origins)),
            Content::Member(cell) => (!cell.is_empty()).then(|| cell.encode_row(origins)),
            Content::Slot(slot) => slot.map(|slot| slot.to_bytes()),
        };
        body.map(|body| seal(space, row, body))
    }

    /// The form that digests and comparisons use, the same on every node; `None` for a row that is not there.
    pub(crate) fn canonical(&self) -> Option<Vec<u8>> {
        match self {
            Content::Head(cell) => canonical_form(cell),
            Content::Member(cell) => canonical_form(cell),
            Content::Slot(slot) => slot.map(|slot| slot.to_bytes()),
        }
    }
}

/// The row of a part of a key that an effect puts something into, if it does.
pub(crate) fn written(place: Place<'_>, effect: &Effect) -> Option<Vec<u8>> {
    match effect {
        Effect::Member { member, put: true, .. } => Some(place.member(member)),
        Effect::Head { put: Some(_), .. } if !place.path.is_root() => Some(place.head().1),
        _ => None,
    }
}

/// What a row holds now.
pub(crate) fn get_content(
    disk: &dyn Read,
    origins: &Origins,
    space: Space,
    row: &[u8],
) -> Result<Content, StorageError> {
    match disk.get(space, row)? {
        Some(value) => Content::open(origins, space, row, &value),
        None => Ok(Content::nothing(space, row)),
    }
}

/// The head of a key; empty if there is none.
pub(crate) fn get_head(
    disk: &dyn Read,
    origins: &Origins,
    place: Place<'_>,
) -> Result<Cell<Head>, StorageError> {
    let (space, row) = place.head();
    get_cell(disk, origins, space, &row)
}

/// Whether a key has a row for its head, and whether there is a head in it. What the head is, is not read.
pub(crate) fn head_row(disk: &dyn Read, place: Place<'_>) -> Result<HeadRow, StorageError> {
    let (space, row) = place.head();
    let Some(value) = disk.get(space, &row)? else { return Ok(HeadRow::None) };
    let is_mark = open_row(space, &row, &value, |input| {
        let count = input.u8()? & 15;
        input.take(input.left())?;
        Ok(count == 0)
    });
    Ok(if is_mark? { HeadRow::Mark } else { HeadRow::Head })
}

/// What stands in the row of a key's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadRow {
    /// There is no row.
    None,
    /// The mark of a key that has content and no head.
    Mark,
    /// A head.
    Head,
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

/// What a key, or a field, has beside its head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Slots that are not spent.
    pub(crate) slots: bool,
    /// Members.
    pub(crate) members: bool,
    /// Fields that have something: a head, members, or slots that are not spent.
    pub(crate) fields: bool,
}

impl Parts {
    /// Whether there is anything.
    pub(crate) fn any(self) -> bool {
        self.slots || self.members || self.fields
    }
}

/// What a key, or a field, has beside its head.
pub(crate) fn parts(disk: &dyn Read, place: Place<'_>) -> Result<Parts, StorageError> {
    let mut parts = Parts {
        slots: any_row(disk, &place.slots())?,
        members: any_row(disk, &place.members())?,
        fields: false,
    };
    for kind in keys::FIELD_KINDS {
        parts.fields = parts.fields || any_row(disk, &place.fields(kind))?;
    }
    Ok(parts)
}

/// Whether there is a part of a key that begins so, spent slots apart.
fn any_row(disk: &dyn Read, prefix: &[u8]) -> Result<bool, StorageError> {
    let mut any = false;
    disk.scan(Space::Cell, prefix, &[], &mut |row, value| {
        any = !keys::is_slot(row) || !open_row(Space::Cell, row, value, Slot::decode)?.is_spent();
        Ok(if any { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(any)
}

/// Whether a key has anything beside its head that does not begin with one of these.
pub(crate) fn any_beside(
    disk: &dyn Read,
    key: Place<'_>,
    prefixes: &[Vec<u8>],
) -> Result<bool, StorageError> {
    for kind in keys::SLOT_KIND..=keys::FIELD_MEMBER_KIND {
        let prefix = [&key.all_parts()[..], &[kind]].concat();
        if !prefixes.contains(&prefix) && any_row(disk, &prefix)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Visits all rows of parts of keys: each with the key that it is of.
pub(crate) fn scan_owners(
    disk: &dyn Read,
    visit: &mut dyn FnMut(ShardId, Bucket, Key) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    disk.scan(Space::Cell, &[], &[], &mut |row, _| {
        if let Some((shard, bucket, key)) = keys::owner(Space::Cell, row) {
            visit(shard, bucket, key)?;
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// Marks a key that has content and no head.
pub(crate) fn put_mark(batch: &mut Batch, origins: &Origins, key: Place<'_>) {
    let (space, row) = key.head();
    put_row(batch, space, row, Cell::<Head>::default().encode_row(origins));
}

pub(super) fn member_of(row: &[u8], part: &[u8]) -> Result<Member, StorageError> {
    let member = core::str::from_utf8(part).ok().and_then(|text| Member::new(text).ok());
    member.ok_or_else(|| corrupt(Space::Cell, row, "not a member"))
}

/// Visits the members of a set in byte order.
pub(crate) fn scan_members(
    disk: &dyn Read,
    origins: &Origins,
    place: Place<'_>,
    visit: &mut dyn FnMut(Member, Cell<()>) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    scan_members_from(disk, origins, place, "", "", visit)
}

/// Visits the members of a set that begin with `start` and are not below `from`, in byte order.
pub(crate) fn scan_members_from(
    disk: &dyn Read,
    origins: &Origins,
    place: Place<'_>,
    start: &str,
    from: &str,
    visit: &mut dyn FnMut(Member, Cell<()>) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let members = place.members();
    let (prefix, from) =
        ([&members[..], start.as_bytes()].concat(), [&members[..], from.as_bytes()].concat());
    disk.scan(Space::Cell, &prefix, &from, &mut |row, value| {
        let member = member_of(row, row.get(members.len()..).unwrap_or_default())?;
        Ok(visit(member, open_cell(origins, Space::Cell, row, value)?))
    })
}

/// A counter's slot, if it has been born.
pub(crate) fn get_slot(disk: &dyn Read, place: Place<'_>, id: SlotId) -> Result<Option<Slot>, StorageError> {
    let row = place.slot(id);
    let value = disk.get(Space::Cell, &row)?;
    value.map(|value| open_row(Space::Cell, &row, &value, Slot::decode)).transpose()
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

pub(super) fn slot_id(suffix: &[u8]) -> Result<SlotId, DecodeError> {
    let mut input = Reader::new(suffix);
    let id = SlotId { origin: OriginId(input.u64()?), birth: input.u64()? };
    input.finish()?;
    Ok(id)
}

// -- the canonical form ------------------------------------------------------------------------------------------------

/// A row in canonical form: origins in full, the same on every node. `None` for the mark of a key without a head, which is no
/// content.
pub(crate) fn canonical(
    origins: &Origins,
    space: Space,
    row: &[u8],
    value: &[u8],
) -> Result<Option<Vec<u8>>, StorageError> {
    match Content::open(origins, space, row, value)?.canonical() {
        None if space != Space::Head => Err(corrupt(space, row, "an empty cell")),
        canonical => Ok(canonical),
    }
}

/// Visits the rows of a shard in one space from a row on, as they lie there.
pub(crate) fn scan_shard(
    disk: &dyn Read,
    space: Space,
    shard: ShardId,
    from: &[u8],
    visit: Visit<'_>,
) -> Result<(), StorageError> {
    disk.scan(space, &keys::shard_prefix(shard), from, visit)
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
        scan_shard(disk, space, shard, &[], &mut |row, value| {
            if let Some(canonical) = canonical(origins, space, row, value)? {
                visit(space, row, canonical);
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(())
}
