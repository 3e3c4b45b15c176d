//! The receiver of a repair: from what its source answers to what it asks next.

use super::KNOWN_BYTES_MAX;
use super::wire::{Answer, Ask, Leaves, Position, RowSent};
use crate::id::ShardId;
use crate::merkle::{FANOUT, LEVELS, Place, Seed, Tree, short};
use crate::rows::{self, Origins};
use crate::storage::{Snapshot, Space, StorageError};
use crate::version_vector::VersionVector;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// A replica that is repaired.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    shard: ShardId,
    /// Its rows and tree when it was frozen.
    frozen: Option<Frozen>,
    /// What the source had applied, once it is known.
    theirs: VersionVector,
    phase: Phase,
}

/// A replica at the instant from which deltas of others wait.
///
/// It comes after the source's: else the source could have applied, and killed, what was written here in between, and neither
/// snapshot would show the row.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    pub(crate) rows: Snapshot,
    pub(crate) tree: Tree,
}

#[derive(Clone, Debug)]
enum Phase {
    /// The source has been asked to take a snapshot.
    Opening,
    /// It has been asked for the sums of these nodes' children.
    Walking { level: u8, nodes: Vec<Place> },
    /// The own rows in these leaves are read, to be named to the source.
    Listing { leaves: BTreeSet<Place>, at: Position, list: List },
    /// The source has been asked for rows. These leaves are left for later requests.
    Fetching {
        known: Vec<Known>,
        later: BTreeSet<Place>,
        /// From where it was asked to go on: each answer must come further.
        from: Option<Position>,
    },
    /// All that differs is staged.
    Complete,
}

/// Own rows that are to be named in one request.
#[derive(Clone, Debug)]
struct List {
    known: BTreeMap<Place, Vec<Known>>,
    count: usize,
    bytes: usize,
    /// Leaves behind this one have no place in the request.
    limit: Place,
}

impl List {
    fn new() -> List {
        List { known: BTreeMap::new(), count: 0, bytes: 0, limit: Place::MAX }
    }

    /// Adds a row. When there are too many, the last leaf goes again, unless it is the only one.
    fn add(&mut self, leaf: Place, known: Known, known_max: usize) {
        self.count += 1;
        self.bytes += known.at.row.len();
        self.known.entry(leaf).or_default().push(known);
        while self.known.len() > 1 && (self.count > known_max || self.bytes > KNOWN_BYTES_MAX) {
            let (leaf, dropped) = self.known.pop_last().expect("there are two");
            self.count -= dropped.len();
            self.bytes -= dropped.iter().map(|known| known.at.row.len()).sum::<usize>();
            self.limit = leaf - 1;
        }
    }
}

/// One of the receiver's own rows.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) at: Position,
    hash: u64,
}

/// What an answer brought.
#[derive(Clone, Debug, Default)]
pub(crate) struct Took {
    /// Rows to be staged.
    pub(crate) rows: Vec<RowSent>,
    /// Own rows that the source does not have like this: where it sent no row of that name, it has none.
    pub(crate) differ: Vec<Known>,
    /// What is asked next, if that is clear already.
    pub(crate) ask: Option<Ask>,
}

impl Receiver {
    /// A replica whose source is asked to take a snapshot.
    pub(crate) fn new(shard: ShardId) -> Receiver {
        Receiver { shard, frozen: None, theirs: VersionVector::default(), phase: Phase::Opening }
    }

    /// Whether the source has not been heard of yet.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Opening)
    }

    /// The source has taken its snapshot: from now on deltas of others wait here.
    pub(crate) fn freeze(&mut self, frozen: Frozen) {
        self.frozen = Some(frozen);
    }

    /// What the source had applied when it took its snapshot.
    pub(crate) fn theirs(&self) -> &VersionVector {
        &self.theirs
    }

    /// Whether the own rows are to be read before the source is asked again.
    pub(crate) fn is_listing(&self) -> bool {
        matches!(self.phase, Phase::Listing { .. })
    }

    /// Whether all that differs is staged.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.phase, Phase::Complete)
    }

    /// Takes an answer; `None` if it is none to what was asked last. `skips`: leaves that are left out, a deliberate bug.
    pub(crate) fn take(&mut self, answer: Answer, skips: bool) -> Option<Took> {
        let mut took = Took::default();
        match (&mut self.phase, answer) {
            (Phase::Opening, Answer::Opened { vector, sums }) => {
                self.theirs = vector;
                took.ask = self.descend(0, &[0], &[sums], skips);
            }
            (Phase::Walking { level, nodes }, Answer::Sums(sums)) if sums.len() == nodes.len() => {
                let (level, nodes) = (*level, core::mem::take(nodes));
                took.ask = self.descend(level, &nodes, &sums, skips);
            }
            (Phase::Fetching { from: asked, .. }, Answer::Rows { rows, next: Some(from), .. })
                if asked.as_ref() < Some(&from) =>
            {
                *asked = Some(from.clone());
                took.rows = rows;
                took.ask = Some(Ask::More { from });
            }
            (Phase::Fetching { known, later, .. }, Answer::Rows { rows, next: None, differ }) => {
                took.rows = rows;
                took.differ = differ.iter().filter_map(|place| known.get(*place as usize).cloned()).collect();
                let later = core::mem::take(later);
                self.list(later);
            }
            _ => return None,
        }
        Some(took)
    }

    /// Compares the source's sums with the own ones, and goes on to the nodes that differ.
    fn descend(&mut self, level: u8, nodes: &[Place], sums: &[[u64; FANOUT]], skips: bool) -> Option<Ask> {
        let tree = self.frozen.as_ref().map(|frozen| frozen.tree.clone()).unwrap_or_default();
        if level == 0 && tree == Tree::default() {
            self.phase = Phase::Fetching { known: Vec::new(), later: BTreeSet::new(), from: None };
            return Some(Ask::Rows(Leaves::All));
        }
        let mut differing = Vec::new();
        for (node, theirs) in nodes.iter().zip(sums) {
            let own = tree.children(level, *node);
            let children = (0..FANOUT).filter(|child| own[*child] != theirs[*child]);
            differing.extend(children.map(|child| *node * FANOUT as Place + child as Place));
        }
        if level + 1 < LEVELS && !differing.is_empty() {
            self.phase = Phase::Walking { level: level + 1, nodes: differing.clone() };
            return Some(Ask::Walk { level: level + 1, nodes: differing });
        }
        self.list(differing.into_iter().filter(|leaf| !skips || leaf % 4 != 0).collect());
        None
    }

    fn list(&mut self, leaves: BTreeSet<Place>) {
        let at = Position { space: Space::Head, row: self.shard.0.to_be_bytes().to_vec() };
        self.phase = match leaves.is_empty() {
            true => Phase::Complete,
            false => Phase::Listing { leaves, at, list: List::new() },
        };
    }

    /// Reads own rows of the leaves that differ, at most `rows_max`; the request, when all are read. Leaves whose rows find no
    /// place in it are left for a later one.
    ///
    /// # Errors
    /// [`StorageError`]: a row is damaged.
    pub(crate) fn list_on(
        &mut self,
        origins: &Origins,
        seed: Seed,
        known_max: usize,
        rows_max: usize,
    ) -> Result<Option<Ask>, StorageError> {
        let (Phase::Listing { leaves, at, list }, Some(frozen)) = (&mut self.phase, &self.frozen) else {
            return Ok(None);
        };
        let (mut seen, mut stopped) = (0, None);
        let (space, from) = (at.space, at.row.clone());
        rows::scan_shard(&frozen.rows, space, self.shard, &from, &mut |row, value| {
            if seen >= rows_max {
                stopped = Some(row.to_vec());
                return Ok(ControlFlow::Break(()));
            }
            seen += 1;
            let leaf = seed.leaf(space, row);
            let canonical = rows::canonical(origins, space, row, value)?;
            if let Some(canonical) = canonical.filter(|_| leaf <= list.limit && leaves.contains(&leaf)) {
                let hash = short(seed.row(space, row, canonical));
                list.add(leaf, Known { at: Position { space, row: row.to_vec() }, hash }, known_max);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let start = self.shard.0.to_be_bytes().to_vec();
        match (stopped, space) {
            (Some(row), space) => *at = Position { space, row },
            (None, Space::Head) => *at = Position { space: Space::Cell, row: start },
            (None, _) => return Ok(Some(self.fetch())),
        }
        Ok(None)
    }

    fn fetch(&mut self) -> Ask {
        let Phase::Listing { leaves, list, .. } = &mut self.phase else {
            unreachable!("only own rows that were listed are named")
        };
        let mut leaves = core::mem::take(leaves);
        let List { mut known, limit, .. } = core::mem::replace(list, List::new());
        let later = limit.checked_add(1).map(|next| leaves.split_off(&next)).unwrap_or_default();
        let mut named = Vec::new();
        let mut asked = Vec::new();
        for leaf in leaves {
            let of_leaf = known.remove(&leaf).unwrap_or_default();
            asked.push((leaf, of_leaf.iter().map(|known| known.hash).collect()));
            named.extend(of_leaf);
        }
        self.phase = Phase::Fetching { known: named, later, from: None };
        Ask::Rows(Leaves::These(asked))
    }
}
