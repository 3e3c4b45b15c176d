//! Apply: the one function that changes cells.

use super::Replica;
use crate::cell::{Cell, Head, Mark, Slot, SlotId, SlotSeen};
use crate::context::Seen;
use crate::delta::{Change, Delta, Effect};
use crate::id::{Dot, Seq};
use crate::masks::{self, Hides, Mask};
use crate::merkle::Changes;
use crate::name::Member;
use crate::path::Path;
use crate::planted::{Bug, Planted};
use crate::rows::{self, Content, HeadRow, Origins, Pen, Place};
use crate::storage::{Batch, Overlay, Read, Space, StorageError};
use crate::types::{self, register};
use alloc::collections::BTreeSet;
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
        let (mut changes, mut masking) = (self.changes(), Masking::new(self.common.removal_rows_max));
        draft.whole(|draft| self.change_rows(draft, &mut changes, &mut masking, delta))?;
        self.count(delta.dot);
        let Masking { made, replaced, .. } = masking;
        if self.masks.first().is_some_and(|oldest| replaced.contains(&oldest.name)) {
            self.swept = None;
        }
        self.masks.replace(&replaced, made);
        self.count_changes(changes);
        Ok(())
    }

    fn change_rows(
        &self,
        draft: &mut Draft<'_>,
        changes: &mut Changes,
        masking: &mut Masking,
        delta: &Delta,
    ) -> Result<(), StorageError> {
        let planted = self.common.planted;
        draft.origins.number(draft.batch, delta.dot.origin);
        let dropped = planted.has(Bug::DeltaDropped) && delta.dot.seq.is_multiple_of(8);
        for change in delta.changes.iter().filter(|_| !dropped) {
            let place = Place::key(self.shard, &change.bucket, &change.key);
            let mut cells =
                Cells { place, dot: delta.dot, planted, draft, changes, masking, head: None, puts: false };
            for (path, effect) in &change.effects {
                cells.place = place.at(path);
                cells.puts |= puts(path, effect);
                self.change_cell(&mut cells, delta, effect)?;
            }
            cells.place = place;
            cells.mark()?;
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

    /// What a removal takes away.
    fn removed(&self, delta: &Delta, seen: &Option<Seen>) -> Seen {
        match seen {
            _ if self.common.planted.has(Bug::RangeKillByReceiver) => Seen::all_of(&self.vector),
            Some(seen) => seen.clone(),
            None => Seen::all_of(&delta.past()),
        }
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
            Effect::Clear { seen } => cells.remove(self, Hides::Members, &self.removed(delta, seen)),
            Effect::Remove { seen } => cells.remove(self, Hides::Below, &self.removed(delta, seen)),
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
    /// The key, or the field of it that is changed.
    place: Place<'a>,
    dot: Dot,
    planted: Planted,
    draft: &'a mut Draft<'d>,
    changes: &'a mut Changes,
    masking: &'a mut Masking,
    /// What stands in the row of the key's head, once the delta has changed it.
    head: Option<HeadRow>,
    /// Whether the delta puts something into the key beside its head.
    puts: bool,
}

/// Whether an effect puts something into a key beside its head.
fn puts(path: &Path, effect: &Effect) -> bool {
    match effect {
        Effect::Head { put, .. } => put.is_some() && !path.is_root(),
        Effect::Member { put, .. } => *put,
        Effect::Increment { .. } => true,
        Effect::Remove { .. } | Effect::Clear { .. } | Effect::Reset { .. } => false,
    }
}

/// A row, what is in it, and what a removal leaves of that.
type Changed = (Vec<u8>, Content, Content);

/// What becomes of masks while a delta is applied.
struct Masking {
    /// Those that this delta makes.
    made: Vec<Mask>,
    /// Older ones whose place they take.
    replaced: Vec<(Dot, u32)>,
    /// Rows, and bytes of rows, that the delta may still look through and take away without a mask.
    rows_left: usize,
    bytes_left: usize,
}

/// Most bytes of rows that a delta takes away without a mask.
const REMOVAL_BYTES_MAX: usize = 16 << 20;
/// Most deltas that are looked through for what they wrote and a removal had not seen. Of more, nothing is known.
const CONCURRENT_MAX: u64 = 1_000;

impl Masking {
    fn new(rows_max: usize) -> Masking {
        let (made, replaced) = (Vec::new(), Vec::new());
        Masking { made, replaced, rows_left: rows_max, bytes_left: REMOVAL_BYTES_MAX }
    }
}

impl Replica {
    /// The rows of a removed range that deltas have written which the removal had not seen; `None` where the log does not tell,
    /// or there are too many of them.
    fn not_seen(
        &self,
        rows: Overlay<'_>,
        place: Place<'_>,
        prefixes: &[Vec<u8>],
        seen: &Seen,
    ) -> Result<Option<BTreeSet<Vec<u8>>>, StorageError> {
        let (mut found, mut looked) = (BTreeSet::new(), 0);
        for last in self.vector.iter() {
            let first = seen.vector().at(last.origin) + 1;
            looked += (last.seq + 1).saturating_sub(first);
            let is_logged = first > last.seq || self.low.at(last.origin) < first;
            if looked > CONCURRENT_MAX || !is_logged {
                return Ok(None);
            }
            for seq in first..=last.seq {
                let dot = Dot::new(last.origin, seq);
                let delta = match rows::get_delta(&rows, self.shard, dot) {
                    Err(StorageError::Io(error)) => return Err(StorageError::Io(error)),
                    // A damaged row of the log is found by who needs it: here it only leaves something unknown.
                    Ok(None) | Err(_) => return Ok(None),
                    Ok(Some(delta)) => delta,
                };
                let of_key = |change: &&Change| (&change.bucket, &change.key) == (place.bucket, place.key);
                for (path, effect) in delta.changes.iter().filter(of_key).flat_map(|change| &change.effects) {
                    found.extend(rows::written(place.at(path), effect));
                }
            }
        }
        found.retain(|row| prefixes.iter().any(|prefix| row.starts_with(prefix)));
        Ok(Some(found))
    }
}

/// As `Cells::mark`, given what stands in the row of the head.
pub(super) fn mark(
    draft: &mut Draft<'_>,
    changes: &mut Changes,
    key: Place<'_>,
    row: HeadRow,
) -> Result<(), StorageError> {
    if row == HeadRow::Head {
        return Ok(());
    }
    let has_content = rows::parts(&draft.rows(), key)?.any();
    if has_content != (row == HeadRow::Mark) {
        Pen { batch: draft.batch, origins: draft.origins, changes }.mark(key, has_content);
    }
    Ok(())
}

impl Cells<'_, '_> {
    fn pen(&mut self) -> Pen<'_> {
        Pen { batch: self.draft.batch, origins: self.draft.origins, changes: self.changes }
    }

    fn head(&mut self, kills: &[Dot], put: Option<&Head>) -> Result<(), StorageError> {
        let mut cell = self.read(rows::get_head(&self.draft.rows(), self.draft.origins, self.place))?;
        let before = rows::canonical_form(&cell);
        let disables = self.planted.has(Bug::DisableByReceiver) && put == Some(&Head::Flag(false));
        cell.retain(|dot| !kills.contains(&dot) && !disables);
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
        if place.path.is_root() {
            self.head = Some(if cell.is_empty() { HeadRow::None } else { HeadRow::Head });
        }
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

    /// Takes away what was seen of a range of rows: in this batch, where they are few enough, and behind a mask where not.
    fn remove(&mut self, replica: &Replica, hides: Hides, seen: &Seen) -> Result<(), StorageError> {
        let prefixes = masks::prefixes(self.place, hides);
        let Some(changed) = self.seen_of(&prefixes, seen)? else {
            return self.mask(replica, hides, seen, &prefixes);
        };
        for (row, before, after) in changed {
            self.pen().content(Space::Cell, row, &before, &after);
        }
        Ok(())
    }

    /// Hides what was seen of a range of rows. A mask that hides less of the same range is not needed any more.
    fn mask(
        &mut self,
        replica: &Replica,
        hides: Hides,
        seen: &Seen,
        prefixes: &[Vec<u8>],
    ) -> Result<(), StorageError> {
        let name = (self.dot, self.masking.made.len() as u32);
        let since = replica.not_seen(self.draft.rows(), self.place, prefixes, seen)?;
        for older in replica.masks.iter().filter(|older| older.is_within(prefixes, seen)) {
            self.masking.replaced.push(older.name);
            rows::delete_mask(self.draft.batch, replica.shard, older.name);
        }
        if !self.planted.has(Bug::MaskForgotten) {
            rows::put_mask(self.draft.batch, self.place, name, hides == Hides::Below, seen);
        }
        self.changes.name_rows();
        self.masking.made.push(Mask::new(name, self.place, hides, seen.clone(), since));
        Ok(())
    }

    /// The rows of which something was seen, as they are and as they are without that; `None` where there are too many to look
    /// through.
    fn seen_of(&mut self, prefixes: &[Vec<u8>], seen: &Seen) -> Result<Option<Vec<Changed>>, StorageError> {
        let (mut changed, mut count, mut bytes) = (Vec::new(), 0, 0);
        let (rows_max, bytes_max) = (self.masking.rows_left, self.masking.bytes_left);
        let (rows, origins, shallow) =
            (self.draft.rows(), &*self.draft.origins, self.planted.has(Bug::SubtreeNotDeep));
        for prefix in prefixes.iter().take(if shallow { 1 } else { prefixes.len() }) {
            rows.scan(Space::Cell, prefix, &[], &mut |row, value| {
                (count, bytes) = (count + 1, bytes + row.len() + value.len());
                if count > rows_max || bytes > bytes_max {
                    return Ok(ControlFlow::Break(()));
                }
                let before = Content::open(origins, Space::Cell, row, value)?;
                let mut after = before.clone();
                after.take_seen(seen);
                if after != before {
                    changed.push((row.to_vec(), before, after));
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let fits = count <= rows_max && bytes <= bytes_max;
        if fits {
            (self.masking.rows_left, self.masking.bytes_left) = (rows_max - count, bytes_max - bytes);
        }
        Ok(fits.then_some(changed))
    }

    /// Sees to it that a key which has content, or may have, has a row for its head: a listing comes by it.
    fn mark(&mut self) -> Result<(), StorageError> {
        let row = match self.head.map_or_else(|| rows::head_row(&self.draft.rows(), self.place), Ok) {
            Err(_) if self.planted.has(Bug::ErrorReadAsAbsence) => HeadRow::None,
            found => found?,
        };
        // Where there was neither a head nor a mark, there was no content.
        if row == HeadRow::None && self.head.is_none() && !self.puts {
            return Ok(());
        }
        mark(self.draft, self.changes, self.place, row)
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
