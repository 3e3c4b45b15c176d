//! The set: an add wins over a concurrent remove.
//!
//! A member is in the set if a dot of it is alive. An add puts a fresh dot and takes away the ones it saw; a remove
//! takes away the ones it saw; a concurrent add's dot it did not see, so the member stays.

use super::{View, missing_head, part_seen, takes_away};
use crate::cell::{Cell, Head};
use crate::context::Context;
use crate::delta::Effect;
use crate::id::Dot;
use crate::name::Member;
use crate::planted::Planted;
use crate::rows;
use crate::storage::StorageError;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// One operation on a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetOp {
    /// Puts members in.
    Add(Vec<Member>),
    /// Takes members out.
    Remove(Vec<Member>),
    /// Takes all members out.
    Clear,
}

impl SetOp {
    /// How many members it names, at least one.
    pub(crate) fn size(&self) -> usize {
        match self {
            SetOp::Add(members) | SetOp::Remove(members) => members.len().max(1),
            SetOp::Clear => 1,
        }
    }
}

/// What a write changed in a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetChange {
    /// Members that were not in and are now.
    pub added: u64,
    /// Members that were in and are not now. A clear of a set with more than [`COUNTED_MAX`] counts among the first so many.
    pub removed: u64,
    /// Whether there were more than were looked at for that.
    pub more: bool,
}

/// Most members that a clear looks at to count them, or to find one that its context covers (if there is none among them, there
/// may be behind): its cost does not grow with the set beyond.
pub const COUNTED_MAX: u64 = 10_000;

/// Members in byte order, and whether there are more than `members_max`: those that begin with `prefix` and come after `after`.
pub(crate) fn members(
    view: View<'_>,
    prefix: &str,
    after: Option<&str>,
    members_max: usize,
) -> Result<(Vec<Member>, bool), StorageError> {
    let (mut members, mut more) = (Vec::new(), false);
    let from = after.unwrap_or_default();
    rows::scan_members_from(view.disk, view.origins, view.place, prefix, from, &mut |member, _| {
        if after == Some(member.as_str()) {
            return ControlFlow::Continue(());
        }
        more = members.len() == members_max;
        if more {
            return ControlFlow::Break(());
        }
        members.push(member);
        ControlFlow::Continue(())
    })?;
    Ok((members, more))
}

/// The effect that takes away all members that are there, or what the context has seen of them; `None` if that is
/// nothing.
///
/// A context from another node may name more than this replica has applied; what lies beyond is not believed.
pub(crate) fn clear(
    view: View<'_>,
    context: Option<&Context>,
    planted: Planted,
) -> Result<Option<Effect>, StorageError> {
    let Some((context, seen)) = part_seen(view, context, planted) else {
        let any = rows::parts(view.disk, view.place)?.members;
        return Ok(any.then_some(Effect::Clear { seen: None }));
    };
    let (mut any, mut looked) = (false, 0);
    rows::scan_members(view.disk, view.origins, view.place, &mut |_, cell: Cell<()>| {
        looked += 1;
        any = cell.dots().any(|dot| context.covers(dot)) || looked > COUNTED_MAX;
        if any { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(any.then_some(Effect::Clear { seen: Some(seen) }))
}

/// What several operations on a set do together.
pub(crate) fn update(
    view: View<'_>,
    head: &Cell<Head>,
    context: Option<&Context>,
    ops: &[SetOp],
    planted: Planted,
) -> Result<(Vec<Effect>, SetChange), StorageError> {
    let last_clear = ops.iter().rposition(|op| *op == SetOp::Clear);
    let mut named = BTreeMap::new();
    for op in &ops[last_clear.map_or(0, |place| place + 1)..] {
        match op {
            SetOp::Add(members) => named.extend(members.iter().map(|member| (member, true))),
            SetOp::Remove(members) => named.extend(members.iter().map(|member| (member, false))),
            SetOp::Clear => unreachable!("only what follows the last clear is looked at"),
        }
    }
    let (mut effects, mut change) = (Vec::new(), SetChange::default());
    if last_clear.is_some() {
        (change.removed, change.more) = cleared(view, context, &named)?;
        effects.extend(clear(view, context, planted)?);
    }
    for (member, put) in named {
        let cell = rows::get_member(view.disk, view.origins, view.place, member)?;
        // A context limits what is taken away. An add takes nothing away: its dot stands for all that were there.
        let kills: Vec<Dot> = cell.dots().filter(|dot| put || takes_away(context, *dot)).collect();
        change.added += u64::from(put && cell.is_empty());
        change.removed += u64::from(!put && !cell.is_empty() && kills.len() == cell.siblings().len());
        if put || !kills.is_empty() {
            effects.push(Effect::Member { member: member.clone(), kills, put });
        }
    }
    if !effects.is_empty() {
        effects.splice(0..0, missing_head(head, Head::Set));
    }
    Ok((effects, change))
}

/// How many members a clear takes out, apart from those that are named after it, and whether there are more than are counted.
fn cleared(
    view: View<'_>,
    context: Option<&Context>,
    named: &BTreeMap<&Member, bool>,
) -> Result<(u64, bool), StorageError> {
    let (mut count, mut looked, mut more) = (0, 0, false);
    rows::scan_members(view.disk, view.origins, view.place, &mut |member, cell| {
        let gone = cell.dots().all(|dot| takes_away(context, dot)) && !named.contains_key(&member);
        more = looked == COUNTED_MAX;
        looked += 1;
        count += u64::from(gone && !more);
        if more { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok((count, more))
}
