//! Reading a key: pure, from any consistent view. The node reads through it within a turn, and HTTP threads read the
//! last published snapshot through the same function.

use crate::cell::{Cell, Head, Type};
use crate::context::{Context, Seen};
use crate::id::Dot;
use crate::name::Member;
use crate::path::{Field, Path};
use crate::rows;
use crate::types::counter::Slots;
use crate::types::{Failure, Refusal, Value, View, choose, map, multi, register, set};
use alloc::string::String;
use alloc::vec::Vec;

/// Most members, and fields with all below them, that one answer has. A larger collection is read in pages.
pub const MEMBERS_READ_MAX: usize = 10_000;

/// Most bytes of registers that an answer has of a map.
const MAP_BYTES_READ_MAX: usize = 64 << 20;
const MAP_ROOM: map::Room = map::Room { rows: MEMBERS_READ_MAX, bytes: MAP_BYTES_READ_MAX };

/// What is read of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadRequest {
    /// The type that the client names: of the key, or of the field that the path leads to.
    pub named: Option<Type>,
    /// Which field of a map; empty for the key itself.
    pub path: Path,
    /// How much of it.
    pub part: Part,
}

/// How much is read of a key, or of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// Of a set, one member: the answer is the set of it, or the empty one.
    Member(Member),
    /// Of a set or a map, the members or fields that begin with `prefix` and come after `after`, at most `limit`.
    Page {
        /// What they begin with.
        prefix: String,
        /// The last one of the page before.
        after: Option<String>,
        /// How many.
        limit: usize,
    },
}

impl ReadRequest {
    /// All of a key, as the type that is named or the only one it has.
    pub fn whole(named: Option<Type>) -> Self {
        ReadRequest { named, ..ReadRequest::default() }
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value; `None` if there is no such key, or no such field.
    pub value: Option<Value>,
    /// Where a page ends before the collection does: its last member, or field.
    pub next: Option<String>,
    /// Types that the field has beside the one that was read.
    pub hidden: Vec<Type>,
    /// The writes that a register, or a multi-value register, shows: equal where equal values are shown by the same writes.
    pub shown: Vec<Dot>,
    /// What a client that has read this has seen of the key.
    pub context: Context,
}

/// Reads a key, or a part of it.
///
/// # Errors
/// [`Refusal::TypeConflict`], [`Refusal::WrongType`], [`Refusal::PageRequired`], and the disk's.
pub fn read(view: View<'_>, request: &ReadRequest) -> Result<Found, Failure> {
    let head = view.head()?;
    let types = view.types(&head)?;
    let slots = if types.contains(&Type::Counter) { Slots::read(view)? } else { Slots::default() };
    let context = Context { seen: Seen::all_of(view.vector), slots: slots.seen() };
    let mut found = Found { value: None, next: None, hidden: Vec::new(), shown: Vec::new(), context };
    if !request.path.is_root() {
        return match types.first() {
            None => Ok(found),
            Some(_) if types.contains(&Type::Map) => read_field(view, request, found),
            Some(is) => Err(Refusal::WrongType { is: *is }.into()),
        };
    }
    let Some(chosen) = choose(&types, request.named)? else { return Ok(found) };
    found.shown = shown(&head, chosen);
    match (&request.part, chosen) {
        (Part::Whole, Type::Counter) => found.value = Some(Value::Counter(slots.value())),
        (Part::Whole, Type::Set | Type::Map) => found.value = Some(collection(view, chosen)?),
        (Part::Whole, other) => found.value = map::head_value(&head, other),
        (part, chosen) => read_part(view, part, chosen, &mut found)?,
    }
    Ok(found)
}

/// The writes that a key of a type with an entity tag shows.
fn shown(head: &Cell<Head>, key_type: Type) -> Vec<Dot> {
    match key_type {
        Type::Register => register::winner(head).map(|(dot, _)| dot).into_iter().collect(),
        Type::Multi => multi::values(head).map(|(dot, _)| dot).collect(),
        _ => Vec::new(),
    }
}

fn collection(view: View<'_>, key_type: Type) -> Result<Value, Failure> {
    let required = || Refusal::PageRequired { of: key_type };
    if key_type == Type::Set {
        let (members, more) = set::members(view, "", None, MEMBERS_READ_MAX)?;
        return if more { Err(required().into()) } else { Ok(Value::Set(members)) };
    }
    let tree = map::read(view, MAP_ROOM)?.ok_or_else(required)?;
    Ok(tree.value(Type::Map).expect("a map has a value"))
}

/// Reads a field of a map.
fn read_field(view: View<'_>, request: &ReadRequest, mut found: Found) -> Result<Found, Failure> {
    let view = view.at(&request.path);
    if request.part == Part::Whole {
        let tree = map::read(view, MAP_ROOM)?.ok_or(Refusal::PageRequired { of: Type::Map })?;
        let (chosen, hidden) = chosen_of(tree.types(), request.named)?;
        found.value = chosen.and_then(|chosen| tree.value(chosen));
        found.hidden = hidden;
        return Ok(found);
    }
    let types = map::types(view, &view.head()?)?;
    let (chosen, hidden) = chosen_of(types, request.named)?;
    found.hidden = hidden;
    if let Some(chosen) = chosen {
        read_part(view, &request.part, chosen, &mut found)?;
    }
    Ok(found)
}

/// The type as which a field is read, and the others that it has.
fn chosen_of(mut types: Vec<Type>, named: Option<Type>) -> Result<(Option<Type>, Vec<Type>), Refusal> {
    let Some(first) = types.first().copied() else { return Ok((None, types)) };
    let chosen = named.unwrap_or(first);
    if !types.contains(&chosen) {
        return Err(Refusal::WrongType { is: first });
    }
    types.retain(|other| *other != chosen);
    Ok((Some(chosen), types))
}

/// Reads a member, or a page, of a collection.
fn read_part(view: View<'_>, part: &Part, key_type: Type, found: &mut Found) -> Result<(), Failure> {
    match (part, key_type) {
        (Part::Member(member), Type::Set) => {
            let cell = rows::get_member(view.disk, view.origins, view.place, member)?;
            let there = (!cell.is_empty()).then(|| member.clone());
            found.value = Some(Value::Set(there.into_iter().collect()));
        }
        (Part::Page { prefix, after, limit }, Type::Set) => {
            let (members, more) = set::members(view, prefix, after.as_deref(), *limit)?;
            found.next = members.last().filter(|_| more).map(|last| last.as_str().into());
            found.value = Some(Value::Set(members));
        }
        (Part::Page { prefix, after, limit }, Type::Map) => {
            let after = after.as_deref().and_then(|after| Field::new(after).ok());
            let (fields, more) = map::page(view, prefix, after.as_ref(), *limit, MAP_ROOM)?;
            found.next = fields.last().filter(|_| more).map(|(last, _)| last.as_str().into());
            found.value = Some(Value::Map(fields));
        }
        (_, is) => return Err(Refusal::WrongType { is }.into()),
    }
    Ok(())
}
