//! Apply: the one function that changes cells.

use super::Replica;
use crate::cell::{Cell, Head, Mark, Slot, SlotId, SlotSeen};
use crate::delta::{Delta, Effect};
use crate::id::{Dot, Seq};
use crate::name::Member;
use crate::planted::{Bug, Planted};
use crate::rows::{self, Origins, Place};
use crate::storage::{Batch, Overlay, Read, StorageError};
use crate::types::{self, register};
use crate::version_vector::VersionVector;
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// Where a turn's changes are gathered: over the disk, in its batch.
pub struct Draft<'a> {
    /// The disk, before the turn.
    pub disk: &'a dyn Read,
    /// What the turn has changed so far.
    pub batch: &'a mut Batch,
    /// The numbers of origins; new ones are written with the batch.
    pub origins: &'a mut Origins,
}

impl Draft<'_> {
    /// The rows as the turn has them.
    pub fn rows(&self) -> Overlay<'_> {
        Overlay { disk: self.disk, batch: self.batch }
    }
}

impl Replica {
    /// Applies a delta that the gate let through: cells, delta log and version vector, together.
    ///
    /// # Errors
    /// [`StorageError`]; nothing has changed then.
    ///
    /// # Panics
    /// When the delta is not the next of its origin: the caller asks the gate first.
    pub fn apply(&mut self, draft: &mut Draft<'_>, delta: &Delta) -> Result<(), StorageError> {
        let numbered = draft.origins.len();
        let changed = self.change_rows(draft, delta);
        match changed {
            Ok(()) => draft.batch.commit(),
            Err(_) => {
                draft.batch.roll_back();
                draft.origins.truncate(numbered);
            }
        }
        changed
    }

    fn change_rows(&mut self, draft: &mut Draft<'_>, delta: &Delta) -> Result<(), StorageError> {
        draft.origins.number(draft.batch, delta.dot.origin);
        let dropped = self.planted.has(Bug::DeltaDropped) && delta.dot.seq.is_multiple_of(8);
        for change in delta.changes.iter().filter(|_| !dropped) {
            let place = Place { shard: self.shard, bucket: &change.bucket, key: &change.key };
            for effect in &change.effects {
                self.change_cell(draft, place, delta, effect)?;
            }
        }
        rows::put_delta(draft.batch, self.shard, delta);
        self.count(delta.dot);
        Ok(())
    }

    fn count(&mut self, dot: Dot) {
        let counted = self.vector.advance(dot);
        if self.planted.has(Bug::GapAccepted) || self.planted.has(Bug::DuplicateApplied) {
            self.vector.raise(dot);
            return;
        }
        counted.expect("the gate lets through only the next delta of an origin");
    }

    fn change_cell(
        &self,
        draft: &mut Draft<'_>,
        place: Place<'_>,
        delta: &Delta,
        effect: &Effect,
    ) -> Result<(), StorageError> {
        let cells = Cells { place, dot: delta.dot, planted: self.planted };
        match effect {
            Effect::Head { kills, put } => cells.head(draft, kills, put.as_ref()),
            Effect::Member { member, kills, put } => cells.member(draft, member, kills, *put),
            Effect::Clear { .. } if self.planted.has(Bug::RangeKillByReceiver) => {
                cells.clear(draft, &self.vector)
            }
            Effect::Clear { seen: Some(seen) } => cells.clear(draft, seen),
            Effect::Clear { seen: None } => cells.clear(draft, &delta.past()),
            Effect::Reset { seen } => cells.reset(draft, seen),
            Effect::Increment { birth, previous, total, amount } => {
                let last = Mark { seq: delta.dot.seq, total: *total };
                cells.increment(draft, *birth, *previous, *amount, last)
            }
        }
    }
}

/// The cells of one key, while a delta changes them.
struct Cells<'a> {
    place: Place<'a>,
    dot: Dot,
    planted: Planted,
}

impl Cells<'_> {
    fn head(&self, draft: &mut Draft<'_>, kills: &[Dot], put: Option<&Head>) -> Result<(), StorageError> {
        let mut cell = self.read(rows::get_head(&draft.rows(), draft.origins, self.place))?;
        cell.retain(|dot| !kills.contains(&dot));
        if let Some(head) = put {
            cell.put(self.dot, head.clone());
        }
        if self.planted.has(Bug::LosingSiblingsDropped)
            && let Some((winner, _)) = register::winner(&cell)
        {
            cell.retain(|dot| dot == winner);
        }
        rows::put_head(draft.batch, draft.origins, self.place, &cell);
        Ok(())
    }

    fn member(
        &self,
        draft: &mut Draft<'_>,
        member: &Member,
        kills: &[Dot],
        put: bool,
    ) -> Result<(), StorageError> {
        let found = rows::get_member(&draft.rows(), draft.origins, self.place, member);
        let mut cell: Cell<()> = self.read(found)?;
        cell.retain(|dot| !kills.contains(&dot));
        if put {
            cell.put(self.dot, ());
        }
        rows::put_member(draft.batch, draft.origins, self.place, member, &cell);
        Ok(())
    }

    fn clear(&self, draft: &mut Draft<'_>, seen: &VersionVector) -> Result<(), StorageError> {
        let mut changed: Vec<(Member, Cell<()>)> = Vec::new();
        rows::scan_members(&draft.rows(), draft.origins, self.place, &mut |member, mut cell| {
            let before = cell.siblings().len();
            cell.retain(|dot| !seen.covers(dot));
            if cell.siblings().len() < before {
                changed.push((member, cell));
            }
            ControlFlow::Continue(())
        })?;
        for (member, cell) in changed {
            rows::put_member(draft.batch, draft.origins, self.place, &member, &cell);
        }
        Ok(())
    }

    fn reset(&self, draft: &mut Draft<'_>, seen: &[SlotSeen]) -> Result<(), StorageError> {
        for taken in seen {
            let found = rows::get_slot(&draft.rows(), self.place, taken.id);
            if let Some(slot) = self.read(found)? {
                let seen = if self.planted.has(Bug::ResetByReceiver) { slot.last } else { taken.last };
                rows::put_slot(draft.batch, self.place, taken.id, types::counter::reset(slot, seen));
            }
        }
        Ok(())
    }

    fn increment(
        &self,
        draft: &mut Draft<'_>,
        birth: Seq,
        previous: Seq,
        amount: i128,
        last: Mark,
    ) -> Result<(), StorageError> {
        let id = SlotId { origin: self.dot.origin, birth };
        let slot: Option<Slot> = self.read(rows::get_slot(&draft.rows(), self.place, id))?;
        rows::put_slot(draft.batch, self.place, id, types::counter::increment(slot, previous, amount, last));
        Ok(())
    }

    /// What was read, or the error. (The planted bug takes the error for "nothing there".)
    fn read<T: Default>(&self, found: Result<T, StorageError>) -> Result<T, StorageError> {
        match found {
            Err(_) if self.planted.has(Bug::ErrorReadAsAbsence) => Ok(T::default()),
            found => found,
        }
    }
}
