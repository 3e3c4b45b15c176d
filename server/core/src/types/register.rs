//! The register: the last write wins, by `(hlc, origin, sequence)`.
//!
//! A write kills the siblings that its author saw. Of writes that did not see each other, all stay in the cell and the
//! one with the highest stamp is read; a loser is never dropped locally, for a delta that kills the winner alone may
//! still come, and then the loser is what every replica must read.

use super::seen_heads;
use crate::cell::{Cell, Head, Register, Type};
use crate::context::Context;
use crate::delta::Effect;
use crate::hlc::Hlc;
use crate::id::Dot;
use crdts::{CvRDT, LWWReg};

/// The write that is read, of all in the cell.
///
/// Folded with [`crdts::LWWReg`], whose `validate_merge` sees two values under one stamp: that would be a dot that was
/// issued twice.
pub(crate) fn winner(head: &Cell<Head>) -> Option<(Dot, &Register)> {
    let mut writes = head.siblings().iter().filter_map(|(dot, head)| match head {
        Head::Register(register) => Some(LWWReg { val: register, marker: (register.hlc, *dot) }),
        _ => None,
    });
    let first = writes.next()?;
    let last = writes.fold(first, |mut last, write| {
        assert!(last.validate_merge(&write).is_ok(), "a dot names one write only: {:?}", write.marker);
        last.merge(write);
        last
    });
    Some((last.marker.1, last.val))
}

/// The highest stamp in the cell: a put must exceed it.
pub(crate) fn highest(head: &Cell<Head>) -> Hlc {
    winner(head).map(|(_, register)| register.hlc).unwrap_or_default()
}

/// Puts a value in place of the register's siblings that were seen. Siblings of other types stay.
pub(crate) fn put(head: &Cell<Head>, context: Option<&Context>, register: Register) -> Effect {
    let kills = seen_heads(head, context, |key_type| key_type == Type::Register);
    Effect::Head { kills, put: Some(Head::Register(register)) }
}
