//! What a map, or a field of it, reads as.

use super::in_order;
use crate::cell::{Cell, Head, Slot, SlotId, Type};
use crate::name::Member;
use crate::path::{Field, Path};
use crate::rows::{self, FieldName, FieldRow};
use crate::storage::StorageError;
use crate::types::counter::Slots;
use crate::types::{Failure, Refusal, Value, View, extremum, flag, multi, register};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// How much of a map one answer may have.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    /// Heads, slots and members.
    pub(crate) rows: usize,
    /// Bytes of registers and multi-value registers.
    pub(crate) bytes: usize,
}

/// A page that has so many bytes of registers ends: it may have a field more, as large as it is, and no further.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// A field as it was read, with all below it.
#[derive(Default)]
pub(crate) struct Tree {
    head: Cell<Head>,
    slots: Vec<(SlotId, Slot)>,
    members: Vec<Member>,
    fields: BTreeMap<Field, Tree>,
}

/// Reads a field and all below it, or all fields of the key; `None` where there is more than room.
pub(crate) fn read(view: View<'_>, room: Room) -> Result<Option<Tree>, StorageError> {
    let (mut tree, mut count, mut bytes) = (Tree::default(), 0, 0);
    let depth = view.place.path.fields().len();
    rows::scan_fields(view.disk, view.origins, view.place, &mut |path, row| {
        if matches!(row, FieldRow::Slot(_, slot) if slot.is_spent()) {
            return Ok(ControlFlow::Continue(()));
        }
        count += 1;
        if let FieldRow::Head(cell) = &row {
            bytes += head_bytes(cell);
        }
        if count > room.rows || bytes > room.bytes {
            return Ok(ControlFlow::Break(()));
        }
        let mut field = &mut tree;
        for name in &path.fields()[depth..] {
            field = field.fields.entry(name.clone()).or_default();
        }
        match row {
            FieldRow::Head(cell) => field.head = cell,
            FieldRow::Slot(id, slot) => field.slots.push((id, slot)),
            FieldRow::Member(member, _) => field.members.push(member),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((count <= room.rows && bytes <= room.bytes).then_some(tree))
}

pub(crate) fn head_bytes(head: &Cell<Head>) -> usize {
    let bytes = head.siblings().iter().filter_map(|(_, head)| head.bytes());
    bytes.map(|(_, bytes)| bytes.len()).sum()
}

impl Tree {
    /// The types that the field has, the one that is read first.
    pub(crate) fn types(&self) -> Vec<Type> {
        let mut found: Vec<Type> = self.head.siblings().iter().map(|(_, head)| head.key_type()).collect();
        found.extend((!self.slots.is_empty()).then_some(Type::Counter));
        found.extend((!self.members.is_empty()).then_some(Type::Set));
        found.extend((!self.fields.is_empty()).then_some(Type::Map));
        in_order(&found)
    }

    /// What the field reads as, as a type that it has.
    pub(crate) fn value(&self, key_type: Type) -> Option<Value> {
        Some(match key_type {
            Type::Map => Value::Map(
                self.fields
                    .iter()
                    .filter_map(|(name, field)| {
                        let first = field.types().first().copied()?;
                        Some((name.clone(), field.value(first)?))
                    })
                    .collect(),
            ),
            Type::Set => Value::Set(self.members.clone()),
            Type::Counter => Value::Counter(Slots::of_field(self.slots.clone(), true).value()),
            other => head_value(&self.head, other)?,
        })
    }
}

/// What a head reads as, as a type whose value stands in it.
pub(crate) fn head_value(head: &Cell<Head>, key_type: Type) -> Option<Value> {
    match key_type {
        Type::Register => register::winner(head).map(|(_, register)| Value::Register {
            content_type: register.content_type.clone(),
            bytes: register.value.clone(),
        }),
        Type::Multi => {
            let blobs: Vec<_> = multi::values(head).map(|(_, blob)| blob.clone()).collect();
            (!blobs.is_empty()).then_some(Value::Multi(blobs))
        }
        Type::Flag => flag::value(head).map(Value::Flag),
        Type::Max => extremum::value(head, key_type).map(Value::Max),
        Type::Min => extremum::value(head, key_type).map(Value::Min),
        Type::Counter | Type::Set | Type::Map => None,
    }
}

/// Fields in byte order, and whether there are more than `fields_max`, or no room for them: those that
/// begin with `prefix` and come after `after`.
///
/// # Errors
/// [`Refusal::PageRequired`] where the first field alone has too many.
pub(crate) fn page(
    view: View<'_>,
    prefix: &str,
    after: Option<&Field>,
    fields_max: usize,
    room: Room,
) -> Result<(Vec<(Field, Value)>, bool), Failure> {
    let mut from = after.map_or_else(|| FieldName::first_with(prefix), FieldName::after);
    let (mut fields, mut left) = (Vec::new(), room);
    while let Some(name) = rows::next_field(view.disk, view.place, &from)? {
        let field = name.field().filter(|field| field.as_str().starts_with(prefix));
        let Some(field) = field else { break };
        if fields_max == 0 {
            // Nobody asks what it is.
            return Ok((fields, true));
        }
        from = FieldName::after(&field);
        let mut path = view.place.path.fields().to_vec();
        path.push(field.clone());
        let path = Path::new(path).expect("what stands in a row is a path");
        let Some(tree) = read(view.at(&path), left)? else {
            return match fields.is_empty() {
                true => Err(Refusal::PageRequired { of: Type::Map }.into()),
                false => Ok((fields, true)),
            };
        };
        let Some(value) = tree.types().first().and_then(|first| tree.value(*first)) else { continue };
        if fields.len() == fields_max || room.bytes - left.bytes > PAGE_BYTES_MAX {
            return Ok((fields, true));
        }
        left.rows = left.rows.saturating_sub(tree.rows());
        left.bytes = left.bytes.saturating_sub(tree.bytes());
        fields.push((field, value));
    }
    Ok((fields, false))
}

impl Tree {
    fn rows(&self) -> usize {
        let own = usize::from(!self.head.is_empty()) + self.slots.len() + self.members.len();
        own + self.fields.values().map(Tree::rows).sum::<usize>()
    }

    fn bytes(&self) -> usize {
        head_bytes(&self.head) + self.fields.values().map(Tree::bytes).sum::<usize>()
    }
}
