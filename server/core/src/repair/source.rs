//! The source of a repair: a snapshot that answers.

use super::wire::{Answer, Ask, Leaves, Position, RowSent, Unwilling};
use crate::id::ShardId;
use crate::merkle::{LEAVES, Place, Seed, Tree, short};
use crate::planted::{Bug, Planted};
use crate::rows::{self, Origins};
use crate::storage::{Read, Snapshot, Space, StorageError};
use crate::version_vector::VersionVector;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// A replica at one instant, for one receiver.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    shard: ShardId,
    rows: Snapshot,
    vector: VersionVector,
    tree: Tree,
    wanted: Wanted,
    /// What is being read for the answer that is due.
    reading: Option<Reading>,
}

/// What the receiver has asked for.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// For each leaf whether its rows are wanted.
    leaves: Vec<bool>,
    /// The receiver's rows by their short hashes: their places in the request, and whether they were found.
    known: BTreeMap<u64, Vec<(u32, bool)>>,
}

/// An answer that is put together, in portions.
#[derive(Clone, Debug)]
struct Reading {
    at: Position,
    rows: Vec<RowSent>,
    bytes: usize,
}

/// How much is read at once, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portion {
    pub(crate) seed: Seed,
    pub(crate) planted: Planted,
    pub(crate) rows_max: usize,
    /// Bytes of rows in one answer; one row is always sent, however large.
    pub(crate) bytes_max: usize,
}

impl Source {
    /// The replica as it is now: all three of one instant.
    pub(crate) fn new(shard: ShardId, rows: Snapshot, vector: VersionVector, tree: Tree) -> Source {
        Source { shard, rows, vector, tree, wanted: Wanted::default(), reading: None }
    }

    /// What it says to begin with.
    pub(crate) fn opened(&self) -> Answer {
        Answer::Opened { vector: self.vector.clone(), sums: self.tree.children(0, 0) }
    }

    /// Whether it has something to read.
    pub(crate) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Takes a request; the answer, where nothing has to be read for it. `repeats`: it came before, and has perhaps been answered. Then
    /// it is answered once more, but which rows were found stays: when the receiver goes on in the midst of that, what lies
    /// before is not read again.
    pub(crate) fn ask(&mut self, ask: &Ask, repeats: bool) -> Option<Answer> {
        let from = match ask {
            Ask::Walk { level, nodes } => {
                return Some(Answer::Sums(
                    nodes.iter().map(|node| self.tree.children(*level, *node)).collect(),
                ));
            }
            Ask::Rows(leaves) => {
                if !repeats {
                    self.wanted = Wanted::new(leaves);
                }
                Position { space: Space::Head, row: self.shard.0.to_be_bytes().to_vec() }
            }
            Ask::More { .. } if self.wanted.leaves.is_empty() => {
                return Some(Answer::Unwilling(Unwilling::Gone));
            }
            Ask::More { from } => from.clone(),
            Ask::Open { .. } | Ask::Close => return None,
        };
        self.reading = Some(Reading { at: from, rows: Vec::new(), bytes: 0 });
        None
    }

    /// Reads on, at most `rows_max` rows; the answer, when it is full or complete.
    ///
    /// # Errors
    /// [`StorageError`]: a row is damaged.
    pub(crate) fn read_on(
        &mut self,
        live: &dyn Read,
        origins: &Origins,
        portion: Portion,
    ) -> Result<Option<Answer>, StorageError> {
        let Portion { seed, planted, rows_max, bytes_max } = portion;
        let Some(mut reading) = self.reading.take() else { return Ok(None) };
        let disk: &dyn Read = if planted.has(Bug::RepairRowsNewer) { live } else { &self.rows };
        let (mut seen, mut stopped) = (0, None);
        let wanted = &mut self.wanted;
        let Reading { at, rows: sent, bytes } = &mut reading;
        rows::scan_shard(disk, at.space, self.shard, &at.row, &mut |row, value| {
            if seen >= rows_max || *bytes >= bytes_max {
                stopped = Some(row.to_vec());
                return Ok(ControlFlow::Break(()));
            }
            seen += 1;
            if !wanted.has(seed.leaf(at.space, row)) {
                return Ok(ControlFlow::Continue(()));
            }
            let Some(canonical) = rows::canonical(origins, at.space, row, value)? else {
                return Ok(ControlFlow::Continue(()));
            };
            let lost = planted.has(Bug::RepairRowLost) && row.last().is_some_and(|byte| byte % 4 == 1);
            if !wanted.find(short(seed.row(at.space, row, canonical.clone()))) && !lost {
                *bytes += row.len() + canonical.len();
                sent.push(RowSent { at: Position { space: at.space, row: row.to_vec() }, canonical });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let next = match (stopped, at.space) {
            (Some(row), space) => Some(Position { space, row }),
            (None, Space::Head) => {
                Some(Position { space: Space::Cell, row: self.shard.0.to_be_bytes().to_vec() })
            }
            (None, _) => None,
        };
        match next {
            Some(next) if reading.bytes < bytes_max => {
                self.reading = Some(Reading { at: next, ..reading });
                Ok(None)
            }
            Some(_) => Ok(Some(Answer::Rows { rows: reading.rows, next, differ: Vec::new() })),
            None => Ok(Some(Answer::Rows { rows: reading.rows, next, differ: self.wanted.not_found() })),
        }
    }
}

impl Wanted {
    fn new(leaves: &Leaves) -> Wanted {
        let Leaves::These(leaves) = leaves else {
            return Wanted { leaves: alloc::vec![true; LEAVES], known: BTreeMap::new() };
        };
        let mut wanted = Wanted { leaves: alloc::vec![false; LEAVES], known: BTreeMap::new() };
        let mut place = 0;
        for (leaf, known) in leaves {
            wanted.leaves[usize::from(*leaf) % LEAVES] = true;
            for hash in known {
                wanted.known.entry(*hash).or_default().push((place, false));
                place += 1;
            }
        }
        wanted
    }

    fn has(&self, leaf: Place) -> bool {
        self.leaves.get(usize::from(leaf)).copied().unwrap_or_default()
    }

    /// Whether the receiver has a row of this hash; it is noted that it was found.
    fn find(&mut self, hash: u64) -> bool {
        match self.known.get_mut(&hash) {
            Some(places) => {
                places.iter_mut().for_each(|(_, found)| *found = true);
                true
            }
            None => false,
        }
    }

    fn not_found(&self) -> Vec<u32> {
        let all = self.known.values().flatten();
        let mut places: Vec<u32> = all.filter(|(_, found)| !found).map(|(place, _)| *place).collect();
        places.sort_unstable();
        places
    }
}
