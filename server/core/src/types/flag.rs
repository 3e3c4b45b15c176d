//! The flag: an enable wins over a concurrent disable.
//!
//! Each write puts whether it enabled the flag, in place of what it saw there. The flag is on if any such write is alive that
//! enabled it: a disable takes away the enables that it saw, and one that it did not see stays.

use super::takes_away;
use crate::cell::{Cell, Head};
use crate::context::Context;
use crate::delta::Effect;
use crate::id::Dot;
use alloc::vec::Vec;

/// One operation on a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagOp {
    /// Switches it on.
    Enable,
    /// Switches it off.
    Disable,
}

/// Whether it is on; `None` where there is no flag.
pub(crate) fn value(head: &Cell<Head>) -> Option<bool> {
    let mut flags = flags(head).map(|(_, enabled)| enabled).peekable();
    flags.peek()?;
    Some(flags.any(|enabled| enabled))
}

fn flags(head: &Cell<Head>) -> impl Iterator<Item = (Dot, bool)> + '_ {
    head.siblings().iter().filter_map(|(dot, head)| match head {
        Head::Flag(enabled) => Some((*dot, *enabled)),
        _ => None,
    })
}

/// What several operations on a flag do together, and what it reads afterwards.
pub(crate) fn update(head: &Cell<Head>, context: Option<&Context>, ops: &[FlagOp]) -> (Option<Effect>, bool) {
    let put = |kills: Vec<Dot>, enabled| Some(Effect::Head { kills, put: Some(Head::Flag(enabled)) });
    if ops.last() == Some(&FlagOp::Enable) {
        // An enable takes nothing away: its dot stands for all that were there.
        return (put(flags(head).map(|(dot, _)| dot).collect(), true), true);
    }
    let (seen, unseen): (Vec<_>, Vec<_>) = flags(head).partition(|(dot, _)| takes_away(context, *dot));
    let stays_on = unseen.iter().any(|(_, enabled)| *enabled);
    let creates = value(head).is_none() && ops.contains(&FlagOp::Enable);
    match creates || seen.iter().any(|(_, enabled)| *enabled) {
        true => (put(seen.into_iter().map(|(dot, _)| dot).collect(), false), stays_on),
        false => (None, stays_on),
    }
}
