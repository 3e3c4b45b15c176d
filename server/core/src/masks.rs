//! Masks: large removals that are done, and whose rows are still to be swept away.
//!
//! Removing a million members is one small delta. Where it takes away more rows than go into one batch, the batch gets a mask
//! instead: the range of rows, and which deltas were removed there. Readers look through it; a sweeper takes the rows away in
//! portions, and the mask in the end.
//!
//! - A mask hides dots, never rows: what is written in its range later is seen.
//! - The Merkle tree counts rows as they lie there. While there are masks it says nothing of the content, and is withheld.
//! - A mask knows the rows of its range of which something is alive: those that the log says were written by deltas which the removal
//!   had not seen, and those written since. So readers need not walk over the hidden ones. One that does not know them, after a restart
//!   above all, makes readers walk, so far and no further ([`StorageError::Unswept`]).
//! - A mask takes the place of an older one over the same rows that hides no more: a set that is filled and cleared again and again
//!   has one.

use crate::context::Seen;
use crate::id::Dot;
use crate::name::{Bucket, Key};
use crate::path::Path;
use crate::planted::{Bug, Planted};
use crate::rows::{Content, Origins, Place};
use crate::storage::{Read, Space, StorageError, Visit, behind};
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{Bound, ControlFlow};

/// A replica with so many masks refuses writes that may need another, until some are swept. (What other nodes remove comes in all
/// the same.)
pub const MASKS_MAX: usize = 64;
/// Most rows written since, or not seen by the removal, that a mask knows. With more it forgets them, and readers walk.
const SINCE_MAX: usize = 1_000;
/// Most hidden rows that a reader walks over.
const WALK_ROWS_MAX: usize = 20_000;

/// What a mask hides: of one key, or of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hides {
    /// The members of a set.
    Members,
    /// Heads and members of a field and of those below it; of the key itself, of all its fields.
    Below,
}

/// A large removal that is not swept yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// The delta that removed, and the place of this removal in it.
    pub(crate) name: (Dot, u32),
    pub(crate) bucket: Bucket,
    pub(crate) key: Key,
    pub(crate) path: Path,
    pub(crate) hides: Hides,
    /// What was removed.
    pub(crate) seen: Seen,
    /// What the rows begin with.
    prefixes: Vec<Vec<u8>>,
    /// The rows that were written since, if all others are hidden and they are few.
    since: Option<BTreeSet<Vec<u8>>>,
}

impl Mask {
    /// A mask over a place. `since`: all rows of which something is not hidden, if they are known.
    pub(crate) fn new(
        name: (Dot, u32),
        place: Place<'_>,
        hides: Hides,
        seen: Seen,
        since: Option<BTreeSet<Vec<u8>>>,
    ) -> Mask {
        let Place { bucket, key, path, .. } = place;
        let (bucket, key, path) = (bucket.clone(), key.clone(), path.clone());
        let prefixes = prefixes(place, hides);
        Mask {
            name,
            bucket,
            key,
            path,
            hides,
            seen,
            prefixes,
            since: since.filter(|since| since.len() <= SINCE_MAX),
        }
    }

    /// Whether another mask over these rows, which hides what was seen, hides all that this one does.
    pub(crate) fn is_within(&self, prefixes: &[Vec<u8>], seen: &Seen) -> bool {
        let singles = self.seen.dots().iter().all(|dot| seen.covers(*dot));
        self.prefixes == prefixes && singles && seen.includes(self.seen.vector())
    }

    /// What the rows begin with.
    pub(crate) fn prefixes(&self) -> &[Vec<u8>] {
        &self.prefixes
    }

    /// The rows of which something may be alive, if they are known.
    pub(crate) fn since(&self) -> Option<&BTreeSet<Vec<u8>>> {
        self.since.as_ref()
    }

    fn prefix_of(&self, row: &[u8]) -> Option<&[u8]> {
        self.prefixes.iter().map(Vec::as_slice).find(|prefix| row.starts_with(prefix))
    }

    fn meets(&self, prefix: &[u8]) -> bool {
        self.prefixes.iter().any(|own| own.starts_with(prefix) || prefix.starts_with(own))
    }

    fn wrote(&mut self, row: &[u8]) {
        if self.prefix_of(row).is_none() {
            return;
        }
        if let Some(since) = &mut self.since {
            since.insert(row.to_vec());
            if since.len() > SINCE_MAX {
                self.since = None;
            }
        }
    }
}

/// What the rows begin with that a removal may take away.
pub(crate) fn prefixes(place: Place<'_>, hides: Hides) -> Vec<Vec<u8>> {
    match hides {
        Hides::Members => alloc::vec![place.members()],
        Hides::Below => place.subtree(),
    }
}

/// All masks of a replica, oldest first. Copies share them until one changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masks {
    masks: Arc<Vec<Mask>>,
}

impl Masks {
    /// These.
    pub(crate) fn of(masks: Vec<Mask>) -> Masks {
        Masks { masks: Arc::new(masks) }
    }

    /// Whether there is none, as nearly always.
    pub fn is_empty(&self) -> bool {
        self.masks.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.masks.len()
    }

    /// The oldest.
    pub(crate) fn first(&self) -> Option<&Mask> {
        self.masks.first()
    }

    /// All.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mask> {
        self.masks.iter()
    }

    /// Masks that a delta has made, in place of older ones.
    pub(crate) fn replace(&mut self, replaced: &[(Dot, u32)], made: Vec<Mask>) {
        if !made.is_empty() {
            let masks = Arc::make_mut(&mut self.masks);
            masks.retain(|mask| !replaced.contains(&mask.name));
            masks.extend(made);
        }
    }

    /// The oldest is swept.
    pub(crate) fn drop_first(&mut self) {
        Arc::make_mut(&mut self.masks).remove(0);
    }

    /// Rows were written.
    pub(crate) fn wrote(&mut self, rows: &[Vec<u8>]) {
        if self.is_empty() || rows.is_empty() {
            return;
        }
        let masks = Arc::make_mut(&mut self.masks);
        rows.iter().for_each(|row| masks.iter_mut().for_each(|mask| mask.wrote(row)));
    }

    /// Takes from a row's content what is hidden.
    pub(crate) fn hide(&self, row: &[u8], content: &mut Content, planted: Planted) {
        for mask in self.masks.iter().filter(|mask| mask.prefix_of(row).is_some()) {
            match planted.has(Bug::MaskHidesNewer) {
                true => content.take_all(),
                false => content.take_seen(&mask.seen),
            }
        }
    }
}

/// Rows as they are seen through masks.
#[derive(Clone, Copy)]
pub struct Masked<'a> {
    /// The rows as they lie there.
    pub disk: &'a dyn Read,
    /// The numbers of origins in them.
    pub origins: &'a Origins,
    /// What hides some of them.
    pub masks: &'a Masks,
    /// Deliberate bugs.
    pub planted: Planted,
}

impl Masked<'_> {
    fn seen(&self, space: Space, row: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        if space != Space::Cell || !self.masks.iter().any(|mask| mask.prefix_of(row).is_some()) {
            return Ok(Some(value.to_vec()));
        }
        let mut content = Content::open(self.origins, space, row, value)?;
        self.masks.hide(row, &mut content, self.planted);
        Ok(content.to_row(self.origins, space, row))
    }

    /// The range around a row of which all live rows are known: what it begins with, and they.
    fn known(&self, row: &[u8]) -> Option<(&[u8], &BTreeSet<Vec<u8>>)> {
        self.masks.iter().find_map(|mask| Some((mask.prefix_of(row)?, mask.since.as_ref()?)))
    }
}

impl Read for Masked<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self.disk.get(space, key)? {
            Some(value) => self.seen(space, key, &value),
            None => Ok(None),
        }
    }

    fn scan(&self, space: Space, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        if space != Space::Cell || !self.masks.iter().any(|mask| mask.meets(prefix)) {
            return self.disk.scan(space, prefix, from, visit);
        }
        let (mut from, mut walked) = (from.to_vec(), 0);
        loop {
            let mut jump = None;
            self.disk.scan(space, prefix, &from, &mut |row, value| {
                if let Some((range, since)) = self.known(row) {
                    let first = Bound::Included(row.to_vec());
                    let alive =
                        since.range((first, Bound::Unbounded)).take_while(|row| row.starts_with(range));
                    let alive: Vec<_> = alive.filter(|row| row.starts_with(prefix)).cloned().collect();
                    jump = Some((behind(range), alive));
                    return Ok(ControlFlow::Break(()));
                }
                match self.seen(space, row, value)? {
                    Some(value) => visit(row, &value),
                    None if walked == WALK_ROWS_MAX => Err(StorageError::Unswept),
                    None => {
                        walked += 1;
                        Ok(ControlFlow::Continue(()))
                    }
                }
            })?;
            let Some((next, alive)) = jump else { return Ok(()) };
            for row in alive {
                if let Some(value) = self.get(space, &row)?
                    && visit(&row, &value)?.is_break()
                {
                    return Ok(());
                }
            }
            let Some(next) = next else { return Ok(()) };
            from = next;
        }
    }

    fn scan_back(
        &self,
        space: Space,
        prefix: &[u8],
        before: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        let mut walked = 0;
        self.disk.scan_back(space, prefix, before, &mut |row, value| match self.seen(space, row, value)? {
            Some(value) => visit(row, &value),
            None if walked == WALK_ROWS_MAX => Err(StorageError::Unswept),
            None => {
                walked += 1;
                Ok(ControlFlow::Continue(()))
            }
        })
    }
}
