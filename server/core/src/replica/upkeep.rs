//! What a replica does for itself, in portions: count its rows after an unclean start, check them, cut its log, and empty
//! itself when a row is damaged.

use super::{Draft, Gate, Replica, Standing, Swept};
use crate::delta::Delta;
use crate::delta_log::{self, Cut};
use crate::id::{Dot, OriginId, ShardId};
use crate::masks::{Mask, Masks};
use crate::merkle::{Counted, Tree};
use crate::planted::Bug;
use crate::rows::{self, AtMost, Content, HeadRow, KeptTree, Origins, Pen, Place, Remove, Unfinished};
use crate::storage::{Batch, Overlay, Read, Space, StorageError};
use crate::version_vector::VersionVector;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// A replica of which no row is counted.
pub(super) fn nothing_counted(shard: ShardId) -> Counted {
    Counted::Before(Space::Head, shard.0.to_be_bytes().to_vec())
}

/// What emptying a portion came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Emptied {
    /// Whether nothing is left.
    pub(crate) all: bool,
    /// Deltas of the log that could not be read, and are lost here.
    pub(crate) unread: usize,
}

// -- counting ----------------------------------------------------------------------------------------------------------

impl Replica {
    /// Whether rows are still to be counted.
    pub(crate) fn is_counting(&self) -> bool {
        self.counted != Counted::All || self.check.is_some()
    }

    /// Counts rows, at most `rows_max`; or checks as many, where they are counted.
    ///
    /// # Errors
    /// [`StorageError`]: a row is damaged, or the rows are not what was counted before.
    pub(crate) fn count_rows(
        &mut self,
        rows: Overlay<'_>,
        origins: &Origins,
        rows_max: usize,
    ) -> Result<(), StorageError> {
        if let Counted::Before(..) = self.counted {
            let (shard, seed) = (self.shard, self.common.seed);
            let (next, log_bytes) =
                count(rows, origins, shard, seed, &self.counted, &mut self.tree, rows_max)?;
            self.counted = next;
            self.log_bytes += log_bytes;
            return Ok(());
        }
        let Some((mut tree, counted)) = self.check.take() else { return Ok(()) };
        let (next, _) = count(rows, origins, self.shard, self.common.seed, &counted, &mut tree, rows_max)?;
        match next.has_cells() {
            false => self.check = Some((tree, next)),
            true if tree == self.tree => {}
            true => {
                return Err(StorageError::Corrupt {
                    space: Space::Head,
                    key: self.shard.0.to_be_bytes().to_vec(),
                    why: "the shard's rows are not those that were written",
                });
            }
        }
        Ok(())
    }

    /// All rows are to be read again and compared with the tree.
    pub(crate) fn check_all(&mut self) {
        if self.counted == Counted::All && self.check.is_none() {
            self.check = Some((Tree::default(), nothing_counted(self.shard)));
        }
    }

    /// Keeps the tree for the next start, unless it is kept already or not known.
    pub(crate) fn keep_tree(&mut self, batch: &mut Batch) {
        let known =
            self.counted == Counted::All && self.standing == Standing::InService && self.masks.is_empty();
        if known && !self.vector.is_empty() && self.kept_at.as_ref() != Some(&self.vector) {
            let log_bytes = self.log_bytes.max(0) as u64;
            let kept = KeptTree { vector: self.vector.clone(), log_bytes, tree: self.tree.clone() };
            rows::put_tree(batch, self.shard, &kept);
            self.kept_at = Some(kept.vector);
        }
    }
}

/// Counts rows from where it was left. How far that is now, and the bytes of the log on the way.
fn count(
    rows: Overlay<'_>,
    origins: &Origins,
    shard: ShardId,
    seed: crate::merkle::Seed,
    counted: &Counted,
    tree: &mut Tree,
    rows_max: usize,
) -> Result<(Counted, i64), StorageError> {
    let Counted::Before(space, from) = counted else { return Ok((Counted::All, 0)) };
    let (mut seen, mut log_bytes, mut next) = (0, 0, None);
    rows::scan_shard(&rows, *space, shard, from, &mut |row, value| {
        if seen >= rows_max {
            next = Some(row.to_vec());
            return Ok(ControlFlow::Break(()));
        }
        seen += 1;
        match space {
            Space::Log => log_bytes += (row.len() + value.len()) as i64,
            space => {
                if let Some(canonical) = rows::canonical(origins, *space, row, value)? {
                    tree.add(seed.leaf(*space, row), seed.row(*space, row, canonical));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let start = shard.0.to_be_bytes().to_vec();
    let counted = match (next, space) {
        (Some(next), _) => Counted::Before(*space, next),
        (None, Space::Head) => Counted::Before(Space::Cell, start),
        (None, Space::Cell) => Counted::Before(Space::Log, start),
        (None, _) => Counted::All,
    };
    Ok((counted, log_bytes))
}

// -- the log -----------------------------------------------------------------------------------------------------------

impl Replica {
    /// Cuts the log. How many deltas that were.
    ///
    /// # Errors
    /// [`StorageError`]; nothing has changed then.
    pub(crate) fn cut_log(&mut self, draft: &mut Draft<'_>, cut: Cut<'_>) -> Result<usize, StorageError> {
        let (gone, low) = match cut.acknowledged {
            true => delta_log::cut_acknowledged(draft.rows(), self.shard, self.reach(), cut)?,
            false => delta_log::cut(draft.rows(), self.shard, self.reach(), cut)?,
        };
        for last in low.iter().filter(|last| !self.low.covers(*last)) {
            delta_log::note(draft.batch, self.shard, last, self.vector.at(last.origin));
        }
        let count = gone.len();
        self.low = low;
        self.delete_deltas(draft, gone);
        Ok(count)
    }

    fn delete_deltas(&mut self, draft: &mut Draft<'_>, gone: Vec<(Dot, usize)>) {
        let mut changes = self.changes();
        for (dot, bytes) in gone {
            rows::delete_delta(draft.batch, &mut changes, self.shard, dot, bytes);
        }
        // With a tree the bytes of the log are kept, and they are others now, at the same version vector.
        if self.kept_at.take().is_some() {
            rows::delete_tree(draft.batch, self.shard);
        }
        draft.batch.commit();
        self.count_changes(changes);
    }

    /// Cuts the log of an origin up to a delta that cannot be read. Whether that was in it.
    pub(crate) fn cut_over(&mut self, batch: &mut Batch, dot: Dot) -> bool {
        if self.low.covers(dot) || !self.vector.covers(dot) {
            return false;
        }
        self.low.raise(dot);
        self.rubbish.insert(dot.origin);
        delta_log::note(batch, self.shard, dot, self.vector.at(dot.origin));
        batch.commit();
        true
    }

    /// Whether the log may have rows before its low marks.
    pub(crate) fn has_rubbish(&self) -> bool {
        !self.rubbish.is_empty()
    }

    /// Removes rows of the log before its low marks, at most `rows_max`.
    ///
    /// # Errors
    /// [`StorageError`]; nothing has changed then.
    pub(crate) fn sweep_log(&mut self, draft: &mut Draft<'_>, rows_max: usize) -> Result<(), StorageError> {
        let Some(origin) = self.rubbish.first().copied() else { return Ok(()) };
        let low = Dot::new(origin, self.low.at(origin));
        let rubbish = delta_log::rubbish(draft.rows(), self.shard, low, rows_max)?;
        if rubbish.len() < rows_max {
            self.rubbish.remove(&origin);
        }
        self.delete_deltas(draft, rubbish);
        Ok(())
    }
}

// -- large removals ----------------------------------------------------------------------------------------------------

impl Replica {
    /// Takes away rows that the oldest mask hides, looking at no more than `rows_max`; and the mask, when there are none left.
    ///
    /// # Errors
    /// [`StorageError`]; nothing has changed then.
    pub(crate) fn sweep_masks(&mut self, draft: &mut Draft<'_>, rows_max: usize) -> Result<(), StorageError> {
        let Some(mask) = self.masks.first().cloned() else { return Ok(()) };
        let Swept { range, from, mut kept } = self.swept.take().unwrap_or_default();
        let Some(prefix) = mask.prefixes().get::<usize>(range) else {
            return self.swept_all(draft, &mask, kept);
        };
        let (mut seen, mut next, mut swept) = (0, None, Vec::new());
        let (masks, planted) = (&self.masks, self.common.planted);
        draft.rows().scan(Space::Cell, prefix, &from, &mut |row, value| {
            if seen == rows_max {
                next = Some(row.to_vec());
                return Ok(ControlFlow::Break(()));
            }
            seen += 1;
            let before = Content::open(draft.origins, Space::Cell, row, value)?;
            let mut after = before.clone();
            masks.hide(row, &mut after, planted);
            kept |= after.canonical().is_some();
            if after != before {
                swept.push((row.to_vec(), before, after));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let mut changes = self.changes();
        for (row, before, after) in swept {
            let mut pen = Pen { batch: draft.batch, origins: draft.origins, changes: &mut changes };
            pen.content(Space::Cell, row, &before, &after);
        }
        draft.batch.commit();
        self.count_changes(changes);
        let half = planted.has(Bug::MaskSweptHalf);
        self.swept = Some(match next.filter(|_| !half) {
            Some(from) => Swept { range, from, kept },
            None => Swept { range: range + 1, from: Vec::new(), kept },
        });
        Ok(())
    }

    /// All is swept. Where nothing is left of a key without a head, its mark goes as well.
    fn swept_all(&mut self, draft: &mut Draft<'_>, mask: &Mask, kept: bool) -> Result<(), StorageError> {
        let mut changes = self.changes();
        let key = Place::key(self.shard, &mask.bucket, &mask.key);
        draft.whole(|draft| {
            let rows = draft.rows();
            if !kept && rows::head_row(&rows, key)? == HeadRow::Mark && !is_left(rows, key, mask)? {
                Pen { batch: draft.batch, origins: draft.origins, changes: &mut changes }.mark(key, false);
            }
            rows::delete_mask(draft.batch, self.shard, mask.name);
            Ok(())
        })?;
        self.count_changes(changes);
        self.masks.drop_first();
        Ok(())
    }
}

/// Whether something is left of a key of which a mask was swept that left nothing. Where the mask knows what was written meanwhile, the
/// ranges that were swept are not looked through: on the disk there may be as many traces of what was removed.
fn is_left(rows: Overlay<'_>, key: Place<'_>, mask: &Mask) -> Result<bool, StorageError> {
    let Some(since) = mask.since() else { return Ok(rows::parts(&rows, key)?.any()) };
    for row in since {
        if rows.get(Space::Cell, row)?.is_some() {
            return Ok(true);
        }
    }
    rows::any_beside(&rows, key, mask.prefixes())
}

// -- emptying, and filling again ----------------------------------------------------------------------------------------

impl Replica {
    /// All rows of a peer are staged, which had applied `theirs`: a replica with a damaged row begins to remove its own, for those. From now
    /// on this node makes its deltas here under `author`, which was never used: the last ones under the old name may be lost.
    pub(crate) fn empty(&mut self, batch: &mut Batch, theirs: VersionVector, author: OriginId) {
        let mut had = core::mem::take(&mut self.vector);
        had.join(&core::mem::take(&mut self.had));
        let unfinished = Unfinished::Emptying { had: had.clone(), theirs: theirs.clone() };
        rows::put_unfinished(batch, self.shard, &unfinished);
        self.masks.iter().for_each(|mask| rows::delete_mask(batch, self.shard, mask.name));
        batch.commit();
        (self.masks, self.swept) = (Masks::default(), None);
        self.standing = Standing::Emptying { had, theirs };
        self.author = author;
    }

    /// Removes rows, at most `rows_max`, and holds what can be read of the log.
    ///
    /// # Errors
    /// [`StorageError::Io`], and [`StorageError::Corrupt`] where the database itself cannot read on.
    pub(crate) fn empty_on(
        &mut self,
        draft: &mut Draft<'_>,
        rows_max: usize,
    ) -> Result<Emptied, StorageError> {
        for what in [Remove::Heads, Remove::Cells] {
            let (space, found) = rows::rows_first(&draft.rows(), self.shard, what, rows_max)?;
            if !found.is_empty() {
                found.into_iter().for_each(|row| draft.batch.delete(space, row));
                draft.batch.commit();
                return Ok(Emptied::default());
            }
        }
        let found = rows::log_first(&draft.rows(), self.shard, AtMost::rows(rows_max))?;
        let (all, mut unread) = (found.is_empty(), 0);
        for (row, delta) in found {
            draft.batch.delete(Space::Log, row);
            match delta {
                Some(delta) => rows::put_held(draft.batch, self.shard, &delta),
                None => unread += 1,
            }
        }
        draft.batch.commit();
        if all {
            self.emptied(draft.batch);
        }
        Ok(Emptied { all, unread })
    }

    /// Nothing is left: from now on the staged rows are installed.
    fn emptied(&mut self, batch: &mut Batch) {
        let Standing::Emptying { had, theirs } = &self.standing else { return };
        let (had, theirs) = (had.clone(), theirs.clone());
        for last in had.iter() {
            rows::delete_stretch(batch, self.shard, last.origin);
        }
        rows::delete_tree(batch, self.shard);
        let unfinished = Unfinished::Installing { theirs: theirs.clone(), had: Some(had.clone()) };
        rows::put_unfinished(batch, self.shard, &unfinished);
        batch.commit();
        *self = Replica {
            standing: Standing::Installing { theirs, had: Some(had) },
            vector: VersionVector::default(),
            low: VersionVector::default(),
            rubbish: BTreeSet::new(),
            had: VersionVector::default(),
            frozen: true,
            tree: Tree::default(),
            counted: Counted::All,
            check: None,
            kept_at: None,
            log_bytes: 0,
            ..self.clone()
        };
    }

    /// Looks for a delta that is held and was applied meanwhile, or can be applied now.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn next_held(&self, rows: Overlay<'_>) -> Result<Option<Held>, StorageError> {
        let mut from = Some(Dot::new(OriginId(0), 0));
        while let Some(start) = from.take() {
            let mut found = None;
            rows::scan_held(&rows, self.shard, start, &mut |dot, delta| {
                found = Some((dot, delta));
                ControlFlow::Break(())
            })?;
            let Some((dot, delta)) = found else { break };
            match delta {
                _ if self.vector.covers(dot) => return Ok(Some(Held::Known(dot))),
                None => return Ok(Some(Held::Unread(dot))),
                Some(delta) if self.gate(&delta) == Gate::Ready => return Ok(Some(Held::Ready(delta))),
                Some(_) => from = dot.origin.0.checked_add(1).map(|next| Dot::new(OriginId(next), 0)),
            }
        }
        Ok(None)
    }

    /// It has what it had, or what could be had: it answers again.
    pub(crate) fn filled(&mut self, batch: &mut Batch) {
        rows::delete_unfinished(batch, self.shard);
        batch.commit();
        self.standing = Standing::InService;
    }

    /// What a repair has fetched is complete and is installed in portions from now on: nobody is answered meanwhile.
    pub(crate) fn begin_installing(&mut self, batch: &mut Batch, theirs: VersionVector) {
        let unfinished = Unfinished::Installing { theirs: theirs.clone(), had: None };
        rows::put_unfinished(batch, self.shard, &unfinished);
        batch.commit();
        self.standing = Standing::Installing { theirs, had: None };
    }
}

/// A delta that is held.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// It can be applied.
    Ready(Delta),
    /// It was applied: it need not be held.
    Known(Dot),
    /// It cannot be read any more.
    Unread(Dot),
}
