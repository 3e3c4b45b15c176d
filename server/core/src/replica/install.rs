//! Install: a repair's commit. What a source held at one instant is merged with what is here, and the version vector covers
//! it from then on.
//!
//! With `theirs` the source's version vector and `mine` the own one, a cell is merged like this (after Almeida, Shoker and
//! Baquero, *Delta State Replicated Data Types*, 2018, §7.2): of the own dots those stay that the source holds too, or had not
//! applied; of the source's those come that were not applied here. A counter's slot takes the later mark of each.
//!
//! - This holds for two whole replicas only: a row of its own is never merged. What is not staged is equal on both sides.
//! - Nothing that the source had applied and the own log lacks can be sent on from the log: its low mark is raised.

use super::{Draft, Replica, Standing, apply};
use crate::cell::{Cell, Head};
use crate::delta_log;
use crate::hlc::Hlc;
use crate::id::Dot;
use crate::planted::Bug;
use crate::rows::{self, AtMost, Content, Pen, Place, Staged, Unfinished};
use crate::storage::StorageError;
use crate::version_vector::VersionVector;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// What a portion of a repair's commit came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Installed {
    /// Whether nothing is staged any more.
    pub(crate) all: bool,
    /// The highest stamp that came in.
    pub(crate) hlc: Hlc,
}

impl Replica {
    /// Merges the first staged rows into the rows here. Nobody may see it before [`Replica::take_over`]
    /// has followed.
    ///
    /// # Errors
    /// [`StorageError`]; nothing has changed then.
    pub(crate) fn install(
        &mut self,
        draft: &mut Draft<'_>,
        theirs: &VersionVector,
        at_most: AtMost,
    ) -> Result<Installed, StorageError> {
        let mut changes = self.changes();
        let installed = draft.whole(|draft| {
            let (staged, more) = rows::first_staged(&draft.rows(), self.shard, at_most)?;
            let mut installed = Installed { all: !more, hlc: Hlc::default() };
            let mut keys = BTreeSet::new();
            for Staged { space, row, canonical } in staged {
                let before = rows::get_content(&draft.rows(), draft.origins, space, &row)?;
                let source = match canonical {
                    Some(bytes) => Content::from_canonical(space, &row, &bytes).map_err(|_| {
                        StorageError::Corrupt { space, key: row.clone(), why: "what was staged is no row" }
                    })?,
                    None => Content::nothing(space, &row),
                };
                let skipped = self.common.planted.has(Bug::RepairPartlyInstalled) && row.len() % 2 == 0;
                let merged = if skipped { before.clone() } else { self.merge(&before, source, theirs) };
                installed.hlc = installed.hlc.max(highest(&merged));
                for dot in dots(&merged) {
                    draft.origins.number(draft.batch, dot.origin);
                }
                rows::delete_staged(draft.batch, self.shard, space, &row);
                let mut pen = Pen { batch: draft.batch, origins: draft.origins, changes: &mut changes };
                keys.extend(rows::owner(space, &row).map(|(_, bucket, key)| (bucket, key)));
                pen.content(space, row, &before, &merged);
            }
            for (bucket, key) in keys {
                let key = Place::key(self.shard, &bucket, &key);
                let row = rows::head_row(&draft.rows(), key)?;
                apply::mark(draft, &mut changes, key, row)?;
            }
            Ok(installed)
        })?;
        self.count_changes(changes);
        Ok(installed)
    }

    /// What is here of a row, and what the source holds of it, together.
    fn merge(&self, own: &Content, source: Content, theirs: &VersionVector) -> Content {
        match (own, source) {
            (Content::Head(own), Content::Head(source)) => {
                Content::Head(merge_cell(own, source, &self.vector, theirs))
            }
            (Content::Member(own), Content::Member(source)) => {
                Content::Member(merge_cell(own, source, &self.vector, theirs))
            }
            (Content::Slot(Some(own)), Content::Slot(Some(source))) => Content::Slot(Some(own.join(source))),
            (Content::Slot(own), Content::Slot(source)) => Content::Slot(own.or(source)),
            _ => unreachable!("a row has one kind"),
        }
    }

    /// Everything that was staged is installed: the version vector covers what the source had applied. How many deltas that
    /// is.
    pub(crate) fn take_over(&mut self, draft: &mut Draft<'_>, theirs: &VersionVector) -> u64 {
        let gained = self.lacking(theirs);
        for last in theirs.iter() {
            draft.origins.number(draft.batch, last.origin);
            if !self.vector.covers(last) && !self.common.planted.has(Bug::LogHole) {
                self.low.raise(last);
                self.rubbish.insert(last.origin);
                delta_log::note(draft.batch, self.shard, last, last.seq);
            }
        }
        self.vector.join(theirs);
        if let Standing::Installing { had, .. } = &mut self.standing {
            match had.take() {
                Some(had) => {
                    rows::put_unfinished(draft.batch, self.shard, &Unfinished::Filling(had.clone()));
                    self.standing = Standing::Filling(had);
                }
                None => {
                    rows::delete_unfinished(draft.batch, self.shard);
                    self.standing = Standing::InService;
                }
            }
        }
        self.frozen = false;
        draft.batch.commit();
        gained
    }

    /// The version vector counts what a repair is still to bring: a deliberate bug.
    pub(crate) fn join_early(&mut self, theirs: &VersionVector) {
        self.vector.join(theirs);
    }
}

fn merge_cell<P>(own: &Cell<P>, source: Cell<P>, mine: &VersionVector, theirs: &VersionVector) -> Cell<P>
where
    P: Clone,
{
    let mut merged = own.clone();
    merged.retain(|dot| !theirs.covers(dot) || source.dots().any(|other| other == dot));
    for (dot, payload) in source.siblings() {
        if !mine.covers(*dot) {
            merged.put(*dot, payload.clone());
        }
    }
    merged
}

fn dots(content: &Content) -> Vec<Dot> {
    match content {
        Content::Head(cell) => cell.dots().collect(),
        Content::Member(cell) => cell.dots().collect(),
        Content::Slot(_) => Vec::new(),
    }
}

fn highest(content: &Content) -> Hlc {
    let Content::Head(cell) = content else { return Hlc::default() };
    let stamps = cell.siblings().iter().map(|(_, head)| match head {
        Head::Register(register) => register.hlc,
        _ => Hlc::default(),
    });
    stamps.max().unwrap_or_default()
}
