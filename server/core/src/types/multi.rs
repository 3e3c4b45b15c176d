//! The multi-value register: shows all writes of which none has seen another.
//!
//! A PUT takes away the values that its client had seen, as its context says, and keeps the others beside its own. Without a
//! context it is refused where there are values: nothing is overwritten unseen, and no values pile up.

use super::register::has_room;
use super::{Refusal, seen_heads};
use crate::cell::{Blob, Cell, Head, Type};
use crate::context::Context;
use crate::delta::Effect;
use crate::id::Dot;

/// The values with their dots, ascending by dot.
pub(crate) fn values(head: &Cell<Head>) -> impl Iterator<Item = (Dot, &Blob)> {
    head.siblings().iter().filter_map(|(dot, head)| match head {
        Head::Multi(blob) => Some((*dot, blob)),
        _ => None,
    })
}

/// Puts a value in place of those that were seen; `overwrites`: of all that are there.
///
/// # Errors
/// [`Refusal::ContextRequired`] where there are values, and nothing says what was seen of them; [`Refusal::TooManySiblings`]
/// where the context is so old that it leaves too many.
pub(crate) fn put(
    head: &Cell<Head>,
    context: Option<&Context>,
    overwrites: bool,
    blob: Blob,
) -> Result<Effect, Refusal> {
    let context = context.filter(|_| !overwrites);
    if context.is_none() && !overwrites && values(head).next().is_some() {
        return Err(Refusal::ContextRequired);
    }
    let kills = seen_heads(head, context, |key_type| key_type == Type::Multi);
    match has_room(head, &kills, &blob.value) {
        true => Ok(Effect::Head { kills, put: Some(Head::Multi(blob)) }),
        false => Err(Refusal::TooManySiblings),
    }
}
