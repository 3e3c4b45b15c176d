//! The rows of a map's fields: all of them from a field on down, and the names of the fields in order.

use super::cells::{member_of, open_cell, slot_id};
use super::keys::{self, Place};
use super::origins::Origins;
use super::sealed::{corrupt, open_row};
use crate::cell::{Cell, Head, Slot, SlotId};
use crate::codec::Encode;
use crate::name::Member;
use crate::path::{Field, Path};
use crate::storage::{Read, Space, StorageError};
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// One row of a field.
pub(crate) enum FieldRow {
    /// Its head.
    Head(Cell<Head>),
    /// A slot of it, spent or not.
    Slot(SlotId, Slot),
    /// A member of it.
    Member(Member, Cell<()>),
}

/// Called with a field's path and one row of it.
pub(crate) type VisitField<'a> = &'a mut dyn FnMut(Path, FieldRow) -> Result<ControlFlow<()>, StorageError>;

/// Visits the heads of a field and of those in it, then their slots, then their members; of the key itself, those of all its
/// fields.
pub(crate) fn scan_fields(
    disk: &dyn Read,
    origins: &Origins,
    place: Place<'_>,
    visit: VisitField<'_>,
) -> Result<(), StorageError> {
    for kind in keys::FIELD_KINDS {
        if scan_field_kind(disk, origins, place, kind, visit)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// As [`scan_fields`], the slots alone.
pub(crate) fn scan_field_slots(
    disk: &dyn Read,
    origins: &Origins,
    place: Place<'_>,
    visit: VisitField<'_>,
) -> Result<(), StorageError> {
    scan_field_kind(disk, origins, place, keys::FIELD_SLOT_KIND, visit).map(drop)
}

fn scan_field_kind(
    disk: &dyn Read,
    origins: &Origins,
    place: Place<'_>,
    kind: u8,
    visit: VisitField<'_>,
) -> Result<ControlFlow<()>, StorageError> {
    let (below, names) = (place.below(kind), place.all_parts().len() + 1);
    let mut flow = ControlFlow::Continue(());
    disk.scan(Space::Cell, &below, &[], &mut |row, value| {
        let another = !place.path.is_root() && row.get(below.len()) == Some(&0xff);
        if another {
            return Ok(ControlFlow::Break(()));
        }
        let (path, part) = row
            .get(names..)
            .and_then(keys::split_path)
            .ok_or_else(|| corrupt(Space::Cell, row, "not a field"))?;
        let found = match kind {
            keys::FIELD_HEAD_KIND => FieldRow::Head(open_cell(origins, Space::Cell, row, value)?),
            keys::FIELD_SLOT_KIND => {
                let id = slot_id(part).map_err(|_| corrupt(Space::Cell, row, "not a slot"))?;
                FieldRow::Slot(id, open_row(Space::Cell, row, value, Slot::decode)?)
            }
            _ => FieldRow::Member(member_of(row, part)?, open_cell(origins, Space::Cell, row, value)?),
        };
        flow = visit(path, found)?;
        Ok(flow)
    })?;
    Ok(flow)
}

/// The name of the first field of a map that has a row, from a name on. Both are as they stand in rows.
pub(crate) fn next_field(
    disk: &dyn Read,
    place: Place<'_>,
    from: &FieldName,
) -> Result<Option<FieldName>, StorageError> {
    let mut first: Option<FieldName> = None;
    for kind in keys::FIELD_KINDS {
        let prefix = place.fields(kind);
        let start = [&prefix[..], &from.0].concat();
        disk.scan(Space::Cell, &prefix, &start, &mut |row, _| {
            let name = row.get(prefix.len()..).and_then(keys::escaped_name);
            let name = name.ok_or_else(|| corrupt(Space::Cell, row, "not a field"))?;
            if first.as_ref().is_none_or(|first| *first.0 > *name) {
                first = Some(FieldName(name.to_vec()));
            }
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(first)
}

/// A field's name as it stands in rows, with its end; or where a look for the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldName(Vec<u8>);

impl FieldName {
    /// Where the names begin that begin with this text.
    pub(crate) fn first_with(prefix: &str) -> FieldName {
        let mut name = keys::escaped(prefix.as_bytes());
        name.pop();
        FieldName(name)
    }

    /// Where the names begin that come after this field.
    pub(crate) fn after(field: &Field) -> FieldName {
        let mut name = keys::escaped(field.as_str().as_bytes());
        name.push(keys::PATH_ON + 1);
        FieldName(name)
    }

    /// The field.
    pub(crate) fn field(&self) -> Option<Field> {
        keys::unescaped(&self.0)
    }
}
