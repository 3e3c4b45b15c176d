//! The register: the last write wins, by `(hlc, origin, sequence)`.
//!
//! A write kills the siblings that its author saw. Of writes that did not see each other, all stay in the cell and the
//! one with the highest stamp is read; a loser is never dropped locally, for a delta that kills the winner alone may
//! still come, and then the loser is what every replica must read.

use super::{Refusal, seen_heads};
use crate::cell::{Blob, Cell, Head, Register, Type};
use crate::context::Context;
use crate::delta::Effect;
use crate::hlc::Hlc;
use crate::id::Dot;
use crdts::{CvRDT, LWWReg};

/// Most siblings that a PUT with a context may leave beside its own. (Concurrent writes of several nodes may add to
/// them.)
pub const SIBLINGS_MAX: usize = 64;

/// Most bytes that the values of a key's siblings may have together after a PUT. (Concurrent writes of several nodes may add to
/// them.)
pub const SIBLINGS_BYTES_MAX: usize = 16 << 20;

/// Whether there is room for a value beside the siblings that a PUT leaves.
pub(super) fn has_room(head: &Cell<Head>, kills: &[Dot], value: &[u8]) -> bool {
    let kept = head.siblings().iter().filter(|(dot, _)| !kills.contains(dot));
    let (mut count, mut bytes) = (1, value.len());
    for (_, head) in kept {
        count += 1;
        bytes += head.bytes().map_or(0, |(_, bytes)| bytes.len());
    }
    count == 1 || (count <= SIBLINGS_MAX && bytes <= SIBLINGS_BYTES_MAX)
}

/// The write that is read, of all in the cell.
///
/// Folded with [`crdts::LWWReg`]. The marker ends in the dot, and a cell has each dot once, so no two markers are equal.
pub(crate) fn winner(head: &Cell<Head>) -> Option<(Dot, &Register)> {
    let mut writes = head.siblings().iter().filter_map(|(dot, head)| match head {
        Head::Register(register) => Some(LWWReg { val: register, marker: (register.hlc, *dot) }),
        _ => None,
    });
    let first = writes.next()?;
    let last = writes.fold(first, |mut last, write| {
        debug_assert!(last.validate_merge(&write).is_ok(), "a cell has each dot once: {:?}", write.marker);
        last.merge(write);
        last
    });
    Some((last.marker.1, last.val))
}

/// The highest stamp in the cell: a put must exceed it.
fn highest(head: &Cell<Head>) -> Hlc {
    winner(head).map(|(_, register)| register.hlc).unwrap_or_default()
}

/// Puts a value, made at `hlc`, in place of the register's siblings that were seen. Siblings of other types stay.
///
/// # Errors
/// [`Refusal::TooManySiblings`] where the context is so old that it leaves too many.
pub(crate) fn put(
    head: &Cell<Head>,
    context: Option<&Context>,
    blob: Blob,
    hlc: Hlc,
) -> Result<Effect, Refusal> {
    let kills = seen_heads(head, context, |key_type| key_type == Type::Register);
    let Blob { content_type, value } = blob;
    let register = Register { hlc: hlc.above(highest(head)), content_type, value };
    match has_room(head, &kills, &register.value) {
        true => Ok(Effect::Head { kills, put: Some(Head::Register(register)) }),
        false => Err(Refusal::TooManySiblings),
    }
}
