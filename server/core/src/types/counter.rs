//! The counter: a sum of increments that can be reset, exactly.
//!
//! Its value is the sum of all increments that no applied reset had seen. Each origin adds to a slot of its own; a
//! reset names, slot by slot, the last increment that its author saw, and takes away just those: an increment that it
//! did not see stays. (Design and proof by random schedules: a slot holds the lifetime total and the part of it that
//! was reset, both as absolute marks, so applying is a maximum and never an addition.)

use super::{Refusal, View, missing_head};
use crate::cell::{Cell, Head, Mark, Slot, SlotId, SlotSeen, TOTAL_MAX};
use crate::context::Context;
use crate::delta::Effect;
use crate::id::{Dot, Seq};
use crate::rows;
use crate::storage::StorageError;
use alloc::vec::Vec;

/// One operation on a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterOp {
    /// Adds a number, which may be negative.
    Increment(i64),
    /// Takes away all that was added and seen.
    Reset,
}

/// A counter's slots, as they were read, or as a write leaves them.
#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<(SlotId, Slot)>,
    /// Whether they are those of a field of a map.
    of_field: bool,
}

impl Slots {
    /// Reads them.
    pub(crate) fn read(view: View<'_>) -> Result<Slots, StorageError> {
        Ok(Slots::of_field(rows::slots(view.disk, view.place)?, !view.place.path.is_root()))
    }

    /// These, which are ascending.
    pub(crate) fn of_field(slots: Vec<(SlotId, Slot)>, of_field: bool) -> Slots {
        Slots { slots, of_field }
    }

    /// The counter's value.
    pub(crate) fn value(&self) -> i128 {
        self.slots.iter().fold(0, |sum, (_, slot)| sum.saturating_add(slot.value()))
    }

    /// What a client that reads them has seen.
    pub(crate) fn seen(&self) -> Vec<SlotSeen> {
        let unspent = self.slots.iter().filter(|(_, slot)| !slot.is_spent());
        unspent.map(|(id, slot)| SlotSeen { id: *id, last: slot.last }).collect()
    }

    /// What a reset takes away: all that is there, or what its context has seen of it, but never more than is there. Of a field
    /// the context says which deltas were seen, and not how much of each slot: a slot that has grown since stays whole.
    fn seen_by(&self, context: Option<&Context>) -> Vec<SlotSeen> {
        let Some(context) = context else { return self.seen() };
        if self.of_field {
            let mut seen = self.seen();
            // A single delta does not tell that those before it were seen, and they are in the slot as well.
            let vector = context.seen.vector();
            seen.retain(|slot| vector.covers(Dot::new(slot.id.origin, slot.last.seq)));
            return seen;
        }
        let seen_of = |(id, slot): &(SlotId, Slot)| {
            let place = context.slots.binary_search_by_key(id, |seen| seen.id).ok()?;
            let seen = context.slots[place].last;
            let last = if seen.seq < slot.last.seq { seen } else { slot.last };
            (last.seq > slot.base.seq).then_some(SlotSeen { id: *id, last })
        };
        self.slots.iter().filter_map(seen_of).collect()
    }

    /// Takes away all that is there, or what a context has seen of it; `None` where that is nothing.
    pub(crate) fn reset(&mut self, context: Option<&Context>) -> Option<Effect> {
        let seen = self.seen_by(context);
        for taken in &seen {
            let place =
                self.slots.binary_search_by_key(&taken.id, |(id, _)| *id).expect("what was seen is there");
            self.slots[place].1 = reset(self.slots[place].1, taken.last);
        }
        (!seen.is_empty()).then_some(Effect::Reset { seen })
    }

    /// The increment that the delta `dot` makes: its origin goes on with its youngest slot.
    fn increment(&mut self, dot: Dot, amount: i128) -> Result<Effect, Refusal> {
        let own = self.slots.iter().rposition(|(id, _)| id.origin == dot.origin);
        let (id, slot) = own.map_or((SlotId { origin: dot.origin, birth: dot.seq }, None), |place| {
            let (id, slot) = self.slots[place];
            (id, Some(slot))
        });
        let before = slot.map_or(Mark::default(), |slot| slot.last);
        let total = before.total.saturating_add(amount);
        if total.abs() > TOTAL_MAX {
            return Err(Refusal::CounterOverflow);
        }
        let after = increment(slot, before.seq, amount, Mark { seq: dot.seq, total });
        match own {
            Some(place) => self.slots[place].1 = after,
            None => {
                let place = self.slots.partition_point(|(other, _)| *other < id);
                self.slots.insert(place, (id, after));
            }
        }
        Ok(Effect::Increment { birth: id.birth, previous: before.seq, total, amount })
    }
}

/// A slot after an increment. A slot that is not there begins with what its author had before.
pub(crate) fn increment(slot: Option<Slot>, previous: Seq, amount: i128, last: Mark) -> Slot {
    let before = Mark { seq: previous, total: last.total - amount };
    let base = slot.map_or(before, |slot| slot.base);
    Slot { base, last }
}

/// A slot after a reset that had seen it up to `seen`.
pub(crate) fn reset(slot: Slot, seen: Mark) -> Slot {
    match seen.seq > slot.base.seq {
        true => Slot { base: seen, ..slot },
        false => slot,
    }
}

/// What several operations on a counter do together, as the delta `dot`, and what it reads afterwards. The slots are left as
/// they are then.
pub(crate) fn update(
    head: &Cell<Head>,
    slots: &mut Slots,
    context: Option<&Context>,
    ops: &[CounterOp],
    dot: Dot,
) -> Result<(Vec<Effect>, i128), Refusal> {
    let is_reset = |op: &CounterOp| *op == CounterOp::Reset;
    let since_reset = ops.iter().rposition(is_reset).map_or(0, |place| place + 1);
    let amount: i128 = ops[since_reset..].iter().map(|op| amount_of(*op)).sum();
    let before = slots.value();
    let mut effects = Vec::new();
    if ops.iter().any(is_reset) {
        effects.extend(slots.reset(context));
    }
    let after = slots.value().saturating_add(amount);
    let leaves_i64 = i64::try_from(after).is_err() && after.unsigned_abs() > before.unsigned_abs();
    if leaves_i64 {
        return Err(Refusal::CounterOverflow);
    }
    let takes_only = ops.iter().all(is_reset);
    if !takes_only && (amount != 0 || head.is_empty()) {
        effects.push(slots.increment(dot, amount)?);
    }
    if !effects.is_empty() {
        effects.splice(0..0, missing_head(head, Head::Counter));
    }
    Ok((effects, after))
}

fn amount_of(op: CounterOp) -> i128 {
    match op {
        CounterOp::Increment(by) => by.into(),
        CounterOp::Reset => 0,
    }
}
