//! Apply: the one function that changes cells.

use super::Replica;
use crate::cell::{Cell, Head, Mark, Slot, SlotId, SlotSeen};
use crate::delta::{Delta, Effect};
use crate::id::{Dot, Seq};
use crate::merkle::Changes;
use crate::name::Member;
use crate::planted::{Bug, Planted};
use crate::rows::{self, Origins, Pen, Place};
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

    /// Changes rows, all or none: what was done before an error is taken back.
    pub(super) fn whole<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let numbered = self.origins.len();
        let changed = change(self);
        match changed {
            Ok(_) => self.batch.commit(),
            Err(_) => {
                self.batch.roll_back();
                self.origins.truncate(numbered);
            }
        }
        changed
    }
}

impl Replica {
    /// Applies a delta that the gate let through: cells, delta log, version vector and tree, together.
    ///
    /// # Errors
    /// [`StorageError`]; nothing has changed then.
    ///
    /// # Panics
    /// When the delta is not the next of its origin: the caller asks the gate first.
    pub fn apply(&mut self, draft: &mut Draft<'_>, delta: &Delta) -> Result<(), StorageError> {
        let mut changes = self.changes();
        draft.whole(|draft| self.change_rows(draft, &mut changes, delta))?;
        self.count(delta.dot);
        self.count_changes(changes);
        Ok(())
    }

    fn change_rows(
        &self,
        draft: &mut Draft<'_>,
        changes: &mut Changes,
        delta: &Delta,
    ) -> Result<(), StorageError> {
        let planted = self.common.planted;
        draft.origins.number(draft.batch, delta.dot.origin);
        let dropped = planted.has(Bug::DeltaDropped) && delta.dot.seq.is_multiple_of(8);
        for change in delta.changes.iter().filter(|_| !dropped) {
            let place = Place { shard: self.shard, bucket: &change.bucket, key: &change.key };
            let mut cells = Cells { place, dot: delta.dot, planted, draft, changes };
            for effect in &change.effects {
                self.change_cell(&mut cells, delta, effect)?;
            }
        }
        rows::put_delta(draft.batch, changes, self.shard, delta);
        Ok(())
    }

    fn count(&mut self, dot: Dot) {
        let counted = self.vector.advance(dot);
        let planted = self.common.planted;
        if planted.has(Bug::GapAccepted) || planted.has(Bug::DuplicateApplied) {
            self.vector.raise(dot);
            return;
        }
        counted.expect("the gate lets through only the next delta of an origin");
    }

    fn change_cell(
        &self,
        cells: &mut Cells<'_, '_>,
        delta: &Delta,
        effect: &Effect,
    ) -> Result<(), StorageError> {
        match effect {
            Effect::Head { kills, put } => cells.head(kills, put.as_ref()),
            Effect::Member { member, kills, put } => cells.member(member, kills, *put),
            Effect::Clear { .. } if self.common.planted.has(Bug::RangeKillByReceiver) => {
                cells.clear(&self.vector)
            }
            Effect::Clear { seen: Some(seen) } => cells.clear(seen),
            Effect::Clear { seen: None } => cells.clear(&delta.past()),
            Effect::Reset { seen } => cells.reset(seen),
            Effect::Increment { birth, previous, total, amount } => {
                let last = Mark { seq: delta.dot.seq, total: *total };
                cells.increment(*birth, *previous, *amount, last)
            }
        }
    }
}

/// The cells of one key, while a delta changes them.
struct Cells<'a, 'd> {
    place: Place<'a>,
    dot: Dot,
    planted: Planted,
    draft: &'a mut Draft<'d>,
    changes: &'a mut Changes,
}

impl Cells<'_, '_> {
    fn pen(&mut self) -> Pen<'_> {
        Pen { batch: self.draft.batch, origins: self.draft.origins, changes: self.changes }
    }

    fn head(&mut self, kills: &[Dot], put: Option<&Head>) -> Result<(), StorageError> {
        let mut cell = self.read(rows::get_head(&self.draft.rows(), self.draft.origins, self.place))?;
        let before = rows::canonical_form(&cell);
        cell.retain(|dot| !kills.contains(&dot));
        if let Some(head) = put {
            cell.put(self.dot, head.clone());
        }
        if self.planted.has(Bug::LosingSiblingsDropped)
            && let Some((winner, _)) = register::winner(&cell)
        {
            cell.retain(|dot| dot == winner);
        }
        let place = self.place;
        self.pen().head(place, before, &cell);
        Ok(())
    }

    fn member(&mut self, member: &Member, kills: &[Dot], put: bool) -> Result<(), StorageError> {
        let found = rows::get_member(&self.draft.rows(), self.draft.origins, self.place, member);
        let mut cell: Cell<()> = self.read(found)?;
        let before = rows::canonical_form(&cell);
        cell.retain(|dot| !kills.contains(&dot));
        if put {
            cell.put(self.dot, ());
        }
        let place = self.place;
        self.pen().member(place, member, before, &cell);
        Ok(())
    }

    fn clear(&mut self, seen: &VersionVector) -> Result<(), StorageError> {
        let mut changed: Vec<(Member, Option<Vec<u8>>, Cell<()>)> = Vec::new();
        rows::scan_members(&self.draft.rows(), self.draft.origins, self.place, &mut |member, mut cell| {
            if cell.dots().any(|dot| seen.covers(dot)) {
                let before = rows::canonical_form(&cell);
                cell.retain(|dot| !seen.covers(dot));
                changed.push((member, before, cell));
            }
            ControlFlow::Continue(())
        })?;
        let place = self.place;
        for (member, before, cell) in changed {
            self.pen().member(place, &member, before, &cell);
        }
        Ok(())
    }

    fn reset(&mut self, seen: &[SlotSeen]) -> Result<(), StorageError> {
        for taken in seen {
            let found = rows::get_slot(&self.draft.rows(), self.place, taken.id);
            if let Some(slot) = self.read(found)? {
                let seen = if self.planted.has(Bug::ResetByReceiver) { slot.last } else { taken.last };
                let (place, after) = (self.place, types::counter::reset(slot, seen));
                match self.planted.has(Bug::SpentSlotPurged) && after.is_spent() {
                    true => self.pen().purge(place, taken.id, slot),
                    false => self.pen().slot(place, taken.id, Some(slot), after),
                }
            }
        }
        Ok(())
    }

    fn increment(&mut self, birth: Seq, previous: Seq, amount: i128, last: Mark) -> Result<(), StorageError> {
        let id = SlotId { origin: self.dot.origin, birth };
        let slot: Option<Slot> = self.read(rows::get_slot(&self.draft.rows(), self.place, id))?;
        let place = self.place;
        self.pen().slot(place, id, slot, types::counter::increment(slot, previous, amount, last));
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
