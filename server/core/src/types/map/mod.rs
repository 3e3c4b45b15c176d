//! The map: fields with values of any type, maps among them.
//!
//! A field is like a key of its own: its path stands in the keys of its rows, it has a head, and what can be done to a key can be
//! done to it. So the map merges as its fields do. What is special to it:
//! - A field on the way to another is a map, and gets its head with the first write behind it. An emptied one stays, like an
//!   emptied set.
//! - Removing a field takes away it and all below it that was seen, as one delta: what was written there concurrently stays, alone.
//! - Concurrent writes may leave a field with several types. It reads as the first of [`Type::PRECEDENCE`]; the others are kept.
//!   No write that sees one type makes another.

mod read;

pub(crate) use read::{Room, head_bytes, head_value, page, read};

use super::counter::{CounterOp, Slots};
use super::{
    Failure, Node, Refusal, Stamp, View, Write, content_types, missing_head, part_seen, takes_away, update,
};
use crate::cell::{Cell, Head, Slot, SlotId, Type};
use crate::context::Context;
use crate::delta::{self, Effect};
use crate::path::Path;
use crate::planted::Planted;
use crate::rows::{self, FieldRow};
use crate::storage::StorageError;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// What is done to one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldWrite {
    /// Which field; the key itself only where all its fields are removed.
    pub path: Path,
    /// The type that the client names for it.
    pub named: Option<Type>,
    /// What is done. [`Write::Delete`] removes the field with all below it; a [`Write::Map`] is refused: a path says it.
    pub write: Write,
}

/// Most counters' slots that one removal resets by name, and most bytes of their paths. A larger subtree is removed in parts.
pub const RESETS_MAX: usize = 10_000;
const RESET_PATH_BYTES_MAX: usize = 1 << 20;
/// Most bytes of the paths on the way to what one write does: a longer one is refused, and sent in parts.
const PATHS_BYTES_MAX: usize = 4 << 20;
/// Rows that are looked through for one that a context covers. If none of them is, there might be one behind.
const LOOKED_THROUGH_MAX: usize = 10_000;

// -- writing -------------------------------------------------------------------------------------------------------------

/// What a write comes to when its operations are taken together, in their order.
#[derive(Default)]
struct Plan<'a> {
    /// Removed fields, none below another.
    removed: BTreeSet<&'a Path>,
    /// What is done to fields after that; no field is on the way to another.
    leaves: BTreeMap<&'a Path, Leaf>,
}

struct Leaf {
    named: Option<Type>,
    write: Write,
}

impl<'a> Plan<'a> {
    fn of(ops: &'a [FieldWrite]) -> Result<Plan<'a>, Refusal> {
        let mut plan = Plan::default();
        for FieldWrite { path, named, write } in ops {
            match write {
                Write::Delete => plan.remove(path),
                Write::Map(_) => return Err(Refusal::TypeMisfit { named: Type::Map }),
                _ if path.is_root() => return Err(Refusal::WrongType { is: Type::Map }),
                write => plan.write(path, *named, write)?,
            }
        }
        Ok(plan)
    }

    fn remove(&mut self, path: &'a Path) {
        self.leaves.retain(|leaf, _| !path.leads_to(leaf));
        if !self.is_removed(path) {
            self.removed.retain(|removed| !path.leads_to(removed));
            self.removed.insert(path);
        }
    }

    fn write(&mut self, path: &'a Path, named: Option<Type>, write: &Write) -> Result<(), Refusal> {
        if let Some(named) = named.filter(|named| !write.fits(*named)) {
            return Err(Refusal::TypeMisfit { named });
        }
        let in_the_way = |other: &&Path| *other != path && (other.leads_to(path) || path.leads_to(other));
        if let Some(other) = self.leaves.keys().find(|other| in_the_way(other)) {
            let is =
                if path.leads_to(other) { Some(Type::Map) } else { self.leaves[*other].write.default_type() };
            return Err(Refusal::WrongType { is: is.unwrap_or(Type::Map) });
        }
        let leaf = self.leaves.entry(path);
        let leaf = leaf.or_insert_with(|| Leaf { named, write: nothing_of(write) });
        leaf.named = leaf.named.or(named);
        leaf.and_then(named, write)
    }

    fn is_removed(&self, path: &Path) -> bool {
        self.removed.iter().any(|removed| removed.leads_to(path))
    }
}

/// A write of the same kind, without operations.
fn nothing_of(write: &Write) -> Write {
    match write {
        Write::Counter(_) => Write::Counter(Vec::new()),
        Write::Set(_) => Write::Set(Vec::new()),
        Write::Flag(_) => Write::Flag(Vec::new()),
        Write::Observe(_) => Write::Observe(Vec::new()),
        other => other.clone(),
    }
}

impl Leaf {
    /// A further operation on the same field.
    fn and_then(&mut self, named: Option<Type>, write: &Write) -> Result<(), Refusal> {
        match (&mut self.write, write) {
            (Write::Counter(ops), Write::Counter(more)) => ops.extend(more),
            (Write::Set(ops), Write::Set(more)) => ops.extend(more.iter().cloned()),
            (Write::Flag(ops), Write::Flag(more)) => ops.extend(more),
            (Write::Observe(numbers), Write::Observe(more)) => numbers.extend(more),
            (put @ Write::Put { .. }, last @ Write::Put { .. }) => *put = last.clone(),
            (first, _) => return Err(Refusal::WrongType { is: first.default_type().unwrap_or(Type::Map) }),
        }
        match named.or(self.named) == self.named {
            true => Ok(()),
            false => Err(Refusal::WrongType { is: self.named.unwrap_or(Type::Map) }),
        }
    }
}

/// What several operations on fields of a map do together, and how many fields they change. `node` is the key itself.
pub(crate) fn write(
    node: &Node<'_>,
    ops: &[FieldWrite],
    stamp: Stamp,
) -> Result<(Vec<(Path, Effect)>, u64), Failure> {
    let plan = Plan::of(ops)?;
    let mut gathered = Gathered {
        node,
        plan: &plan,
        effects: Vec::new(),
        maps: BTreeMap::new(),
        changed: 0,
        resets: ResetRoom::default(),
        path_bytes: 0,
    };
    for path in &plan.removed {
        gathered.remove(path)?;
    }
    for (path, leaf) in &plan.leaves {
        gathered.write(path, leaf, stamp)?;
    }
    let Gathered { mut effects, changed, .. } = gathered;
    if !effects.is_empty() {
        effects.extend(missing_head(&node.head, Head::Map).map(|head| (node.view.place.path.clone(), head)));
    }
    delta::sort(&mut effects);
    Ok((effects, changed))
}

struct Gathered<'a> {
    node: &'a Node<'a>,
    plan: &'a Plan<'a>,
    effects: Vec<(Path, Effect)>,
    /// Fields on the way to others that were looked at, and whether they have a map's head, or will.
    maps: BTreeMap<Path, bool>,
    changed: u64,
    /// How many counters may still be reset by name.
    resets: ResetRoom,
    /// Bytes of the paths on the way to what is written.
    path_bytes: usize,
}

/// How many counters' slots one write may still reset by name, and how many bytes their paths may have.
pub(crate) struct ResetRoom {
    slots: usize,
    bytes: usize,
}

impl Default for ResetRoom {
    fn default() -> Self {
        ResetRoom { slots: RESETS_MAX, bytes: RESET_PATH_BYTES_MAX }
    }
}

impl Gathered<'_> {
    fn remove(&mut self, path: &Path) -> Result<(), Failure> {
        let Node { view, context, planted, .. } = *self.node;
        let mut effects = removal(view.at(path), context, planted, &mut self.resets)?;
        self.changed += u64::from(!effects.is_empty());
        // A counter that is written to again is reset there.
        let counts = |path: &Path| {
            let leaf = self.plan.leaves.get(path);
            leaf.is_some_and(|leaf| matches!(leaf.write, Write::Counter(_)) && !leaf.write.takes_only())
        };
        effects.retain(|(path, effect)| !(matches!(effect, Effect::Reset { .. }) && counts(path)));
        self.effects.append(&mut effects);
        Ok(())
    }

    fn write(&mut self, path: &Path, leaf: &Leaf, stamp: Stamp) -> Result<(), Failure> {
        let Node { context, overwrites, planted, .. } = *self.node;
        let (view, removed) = (self.node.view.at(path), self.plan.is_removed(path));
        if removed && leaf.write.takes_only() {
            return Ok(());
        }
        let mut head = view.head()?;
        let types = if removed { Vec::new() } else { types(view, &head)? };
        if removed {
            head = Cell::default();
        }
        let key_type = leaf_type(&types, leaf)?;
        let mut missing = Vec::new();
        for map in path.ancestors() {
            if !self.is_map(&map)? {
                missing.push(map);
            }
        }
        let mut slots = if key_type == Type::Counter { Slots::read(view)? } else { Slots::default() };
        let reset = match &leaf.write {
            Write::Counter(ops) if removed => {
                let after_a_reset = core::iter::once(CounterOp::Reset).chain(ops.iter().copied());
                Some(Write::Counter(after_a_reset.collect()))
            }
            _ => None,
        };
        let node = Node { view, head, context, overwrites, planted };
        let (effects, _) = update(&node, key_type, reset.as_ref().unwrap_or(&leaf.write), &mut slots, stamp)?;
        if effects.is_empty() {
            return Ok(());
        }
        self.changed += 1;
        self.effects.extend(effects.into_iter().map(|effect| (path.clone(), effect)));
        for map in missing {
            self.effects.push((map.clone(), Effect::Head { kills: Vec::new(), put: Some(Head::Map) }));
            self.maps.insert(map, true);
        }
        Ok(())
    }

    /// Whether a field on the way has the head of a map. One that reads as something else is refused.
    fn is_map(&mut self, path: &Path) -> Result<bool, Failure> {
        if let Some(is_map) = self.maps.get(path) {
            return Ok(*is_map);
        }
        self.path_bytes += path.footprint();
        if self.path_bytes > PATHS_BYTES_MAX {
            return Err(Refusal::TooManyOperations.into());
        }
        let view = self.node.view.at(path);
        let head = if self.plan.is_removed(path) { Cell::default() } else { view.head()? };
        let is_map = head.siblings().iter().any(|(_, head)| *head == Head::Map);
        if !is_map && !self.plan.is_removed(path) {
            let types = types(view, &head)?;
            if let Some(is) = types.first().copied().filter(|_| !types.contains(&Type::Map)) {
                return Err(Refusal::WrongType { is }.into());
            }
        }
        self.maps.insert(path.clone(), is_map);
        Ok(is_map)
    }
}

/// The type as which a field is written to.
fn leaf_type(types: &[Type], leaf: &Leaf) -> Result<Type, Refusal> {
    match (leaf.named, types.first()) {
        (Some(named), Some(_)) if types.contains(&named) => Ok(named),
        (None, Some(is)) if leaf.write.fits(*is) => Ok(*is),
        (_, Some(is)) => Err(Refusal::WrongType { is: *is }),
        (Some(named), None) => Ok(named),
        (None, None) => Ok(leaf.write.default_type().expect("a removal is no leaf")),
    }
}

/// The types that a field has, the one that is read first. (Content without a head counts beside heads here.)
pub(crate) fn types(view: View<'_>, head: &Cell<Head>) -> Result<Vec<Type>, StorageError> {
    let parts = rows::parts(view.disk, view.place)?;
    let heads = head.siblings().iter().map(|(_, head)| head.key_type());
    Ok(in_order(&heads.chain(content_types(parts)).collect::<Vec<Type>>()))
}

fn in_order(found: &[Type]) -> Vec<Type> {
    Type::PRECEDENCE.into_iter().filter(|key_type| found.contains(key_type)).collect()
}

/// The effects that take away a field and all below it, or what the context has seen of that; of the key itself, all its fields.
/// None where that is nothing.
pub(crate) fn removal(
    view: View<'_>,
    context: Option<&Context>,
    planted: Planted,
    room: &mut ResetRoom,
) -> Result<Vec<(Path, Effect)>, Failure> {
    let mut effects = resets(view, context, room)?;
    let (any, seen) = match part_seen(view, context, planted) {
        None => (any_below(view)?, None),
        Some((context, seen)) => (any_seen_below(view, context)?, Some(seen)),
    };
    if any {
        effects.insert(0, (view.place.path.clone(), Effect::Remove { seen }));
    }
    Ok(effects)
}

/// Whether a field has a head or members, or a field below it has.
fn any_below(view: View<'_>) -> Result<bool, StorageError> {
    let mut any = false;
    rows::scan_fields(view.disk, view.origins, view.place, &mut |_, row| {
        any = !matches!(row, FieldRow::Slot(..));
        Ok(if any { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(any)
}

fn any_seen_below(view: View<'_>, context: &Context) -> Result<bool, StorageError> {
    let (mut any, mut looked) = (false, 0);
    rows::scan_fields(view.disk, view.origins, view.place, &mut |_, row| {
        looked += 1;
        let seen = match row {
            FieldRow::Head(cell) => cell.dots().any(|dot| takes_away(Some(context), dot)),
            FieldRow::Member(_, cell) => cell.dots().any(|dot| takes_away(Some(context), dot)),
            FieldRow::Slot(..) => false,
        };
        any = seen || looked > LOOKED_THROUGH_MAX;
        Ok(if any { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(any)
}

/// The resets of all counters in a field and below it.
fn resets(
    view: View<'_>,
    context: Option<&Context>,
    room: &mut ResetRoom,
) -> Result<Vec<(Path, Effect)>, Failure> {
    let mut counters: BTreeMap<Path, Vec<(SlotId, Slot)>> = BTreeMap::new();
    let (mut count, mut bytes) = (0, 0);
    rows::scan_field_slots(view.disk, view.origins, view.place, &mut |path, row| {
        if let FieldRow::Slot(id, slot) = row
            && !slot.is_spent()
        {
            bytes += if counters.contains_key(&path) { 0 } else { path.footprint() };
            counters.entry(path).or_default().push((id, slot));
            count += 1;
        }
        let full = count > room.slots || bytes > room.bytes;
        Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    if count > room.slots || bytes > room.bytes {
        return Err(Refusal::TooManyCounters.into());
    }
    (room.slots, room.bytes) = (room.slots - count, room.bytes - bytes);
    let resets = counters.into_iter().map(|(path, slots)| {
        let effect = Slots::of_field(slots, true).reset(context);
        effect.map(|effect| (path, effect))
    });
    Ok(resets.flatten().collect())
}
