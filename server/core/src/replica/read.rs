//! Reading a key: pure, from any consistent view. The node reads through it within a turn, and HTTP threads read the
//! last published snapshot through the same function.

use crate::cell::Type;
use crate::context::Context;
use crate::types::counter::Slots;
use crate::types::{Failure, Refusal, Value, View, choose, register, set};

/// Most members that one answer has. A larger set is read in pages.
pub const MEMBERS_READ_MAX: usize = 10_000;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value; `None` if there is no such key.
    pub value: Option<Value>,
    /// What a client that has read this has seen of the key.
    pub context: Context,
}

impl Value {
    /// The type of the key that reads like this.
    pub fn key_type(&self) -> Type {
        match self {
            Value::Register { .. } => Type::Register,
            Value::Counter(_) => Type::Counter,
            Value::Set(_) => Type::Set,
        }
    }
}

/// Reads a key as the type that is named, or as the only one it has.
///
/// # Errors
/// [`Refusal::TypeConflict`], [`Refusal::WrongType`], [`Refusal::PageRequired`], and the disk's.
pub fn read(view: View<'_>, named: Option<Type>) -> Result<Found, Failure> {
    let head = view.head()?;
    let types = view.types(&head)?;
    let chosen = choose(&types, named)?;
    let slots = if types.contains(&Type::Counter) { Slots::read(view)? } else { Slots::default() };
    let value = match chosen {
        None => None,
        Some(Type::Register) => register::winner(&head).map(|(_, register)| Value::Register {
            content_type: register.content_type.clone(),
            bytes: register.value.clone(),
        }),
        Some(Type::Counter) => Some(Value::Counter(slots.value())),
        Some(Type::Set) => {
            Some(Value::Set(set::members(view, MEMBERS_READ_MAX)?.ok_or(Refusal::PageRequired)?))
        }
    };
    Ok(Found { value, context: Context { vector: view.vector.clone(), slots: slots.seen() } })
}
