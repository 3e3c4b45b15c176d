//! The maximum and the minimum: the highest, or the lowest, of all numbers that were observed.
//!
//! An observation puts its number in place of those that it exceeds. One that exceeds nothing changes nothing, and is no write:
//! it does not outlive a concurrent DELETE of what it did not exceed.

use crate::cell::{Cell, Head, Type};
use crate::delta::Effect;
use crate::id::Dot;
use alloc::vec::Vec;

/// The highest, or lowest, number; `None` where none was observed as this type.
pub(crate) fn value(head: &Cell<Head>, key_type: Type) -> Option<i64> {
    best(key_type, observed(head, key_type).map(|(_, number)| number))
}

fn best(key_type: Type, numbers: impl Iterator<Item = i64>) -> Option<i64> {
    if key_type == Type::Max { numbers.max() } else { numbers.min() }
}

fn observed(head: &Cell<Head>, key_type: Type) -> impl Iterator<Item = (Dot, i64)> + '_ {
    head.siblings().iter().filter_map(move |(dot, head)| match (head, key_type) {
        (Head::Max(number), Type::Max) | (Head::Min(number), Type::Min) => Some((*dot, *number)),
        _ => None,
    })
}

/// What several observations do together, and what is read afterwards.
///
/// # Panics
/// When there are none: the caller has at least one.
pub(crate) fn update(head: &Cell<Head>, key_type: Type, numbers: &[i64]) -> (Option<Effect>, i64) {
    let number = best(key_type, numbers.iter().copied()).expect("a write has at least one operation");
    match value(head, key_type) {
        Some(now) if best(key_type, [now, number].into_iter()) == Some(now) => (None, now),
        _ => {
            let kills: Vec<Dot> = observed(head, key_type).map(|(dot, _)| dot).collect();
            let put = if key_type == Type::Max { Head::Max(number) } else { Head::Min(number) };
            (Some(Effect::Head { kills, put: Some(put) }), number)
        }
    }
}
