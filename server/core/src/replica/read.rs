//! Reading a key: pure, from any consistent view. The node reads through it within a turn, and HTTP threads read the
//! last published snapshot through the same function.

use crate::cell::Type;
use crate::context::Context;
use crate::replica::write::Written;
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
    let mut context = Context { vector: view.vector.clone(), ..Context::default() };
    let value = match choose(&view.types(&head)?, named)? {
        None => None,
        Some(Type::Register) => register::winner(&head).map(|(_, register)| Value::Register {
            content_type: register.content_type.clone(),
            bytes: register.value.clone(),
        }),
        Some(Type::Counter) => {
            let slots = Slots::read(view)?;
            context.slots = slots.seen();
            Some(Value::Counter(slots.value()))
        }
        Some(Type::Set) => {
            Some(Value::Set(set::members(view, MEMBERS_READ_MAX)?.ok_or(Refusal::PageRequired)?))
        }
    };
    Ok(Found { value, context })
}

/// What a client that is told of its write has seen of the key.
///
/// # Errors
/// The disk's.
pub fn context_after(view: View<'_>, written: Written) -> Result<Context, StorageError> {
    let slots = match written {
        Written::Counter(_) => Slots::read(view)?.seen(),
        Written::Done | Written::Set(_) => Vec::new(),
    };
    Ok(Context { vector: view.vector.clone(), slots })
}
