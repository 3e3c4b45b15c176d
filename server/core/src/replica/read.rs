//! Reading a key: pure, from any consistent view. The node reads through it within a turn, and HTTP threads read the
//! last published snapshot through the same function.

use crate::cell::Type;
use crate::context::Context;
use crate::storage::StorageError;
use crate::types::counter::Slots;
use crate::types::{Failure, Refusal, Value, View, choose, register, set};
use alloc::vec::Vec;

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
    let value = match choose(&types, named)? {
        None => None,
        Some(Type::Register) => register::winner(&head).map(|(_, register)| Value::Register {
            content_type: register.content_type.clone(),
            bytes: register.value.clone(),
        }),
        Some(Type::Counter) => Some(Value::Counter(Slots::read(view)?.value())),
        Some(Type::Set) => {
            Some(Value::Set(set::members(view, MEMBERS_READ_MAX)?.ok_or(Refusal::PageRequired)?))
        }
    };
    Ok(Found { value, context: context(view, types.contains(&Type::Counter))? })
}

/// What a client that is told of this view has seen of the key: with a counter's slots, where it is or was one.
///
/// # Errors
/// The disk's.
pub fn context(view: View<'_>, counts: bool) -> Result<Context, StorageError> {
    let slots = if counts { Slots::read(view)?.seen() } else { Vec::new() };
    Ok(Context { vector: view.vector.clone(), slots })
}
