//! The Merkle tree of a replica: what two replicas compare instead of their rows.
//!
//! Its shape is fixed: 16 · 16 · 16 leaves by the first bits of a row's hash. A leaf is the sum, modulo 2¹²⁸, of the hashes
//! of its rows; a node is the sum of its children. So a change costs one addition, the order of changes does not
//! matter, and nothing is written to the disk for it (after DeCandia et al., *Dynamo*, 2007, §4.7; the sums after Bellare
//! and Micciancio, *Incremental Hashing*, 1997).
//!
//! - Rows are hashed in canonical form, under a seed that the whole cluster shares and nobody else knows.
//! - Roots are compared between replicas with equal version vectors only. Unequal there is an alarm, never a reason to merge.
//! - The tree lives in memory. After an unclean start it is [`Counted`] in portions, while the replica goes on.

use crate::storage::Space;
use alloc::sync::Arc;
use alloc::vec::Vec;
use xxhash_rust::xxh3;

/// Children of a node.
pub const FANOUT: usize = 16;
/// Levels below the root; those of the last one are leaves.
pub const LEVELS: u8 = 3;
/// Leaves of a tree.
pub const LEAVES: usize = FANOUT.pow(LEVELS as u32);

/// Names a leaf, or a node of another level: its place within the level.
pub type Place = u16;

/// The seed of all hashes, the same on every node of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The leaf of a row.
    pub fn leaf(self, space: Space, row: &[u8]) -> Place {
        (xxh3::xxh3_64_with_seed(row, self.0 ^ space as u64) >> (64 - 4 * u32::from(LEVELS))) as Place
    }

    /// The hash of a row in canonical form.
    pub fn row(self, space: Space, row: &[u8], mut canonical: Vec<u8>) -> u128 {
        // The canonical form says where it ends, so nothing else has these bytes.
        canonical.extend_from_slice(row);
        canonical.push(space as u8);
        xxh3::xxh3_128_with_seed(&canonical, self.0)
    }
}

/// A hash as it travels: the low half.
pub fn short(sum: u128) -> u64 {
    sum as u64
}

/// The tree. Copies share the leaves until one of them changes.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    root: u128,
    /// None while all are 0: most shards of a small cluster hold nothing.
    leaves: Option<Arc<[u128]>>,
}

impl Tree {
    /// A tree of leaves that were kept.
    pub fn of_leaves(leaves: Vec<(Place, u128)>) -> Tree {
        let mut tree = Tree::default();
        for (leaf, sum) in leaves {
            tree.add(leaf, sum);
        }
        tree
    }

    /// Adds to a leaf.
    pub fn add(&mut self, leaf: Place, by: u128) {
        if by == 0 {
            return;
        }
        self.root = self.root.wrapping_add(by);
        let leaves = self.leaves.get_or_insert_with(|| Arc::from(alloc::vec![0; LEAVES]));
        let sum = &mut Arc::make_mut(leaves)[usize::from(leaf) % LEAVES];
        *sum = sum.wrapping_add(by);
    }

    /// The sum of all.
    pub fn root(&self) -> u128 {
        self.root
    }

    /// The sums of a node's children, shortened. Level 0 is the root.
    pub fn children(&self, level: u8, place: Place) -> [u64; FANOUT] {
        let width = LEAVES / FANOUT.pow(u32::from(level) + 1);
        let first = usize::from(place) * FANOUT * width;
        let sum = |child: usize| {
            let leaves = self.leaves.as_deref().unwrap_or_default();
            let of_child = leaves.iter().skip(first + child * width).take(width);
            short(of_child.fold(0, |sum, leaf| sum.wrapping_add(*leaf)))
        };
        core::array::from_fn(sum)
    }

    /// The leaves that are not 0, ascending.
    pub fn leaves(&self) -> impl Iterator<Item = (Place, u128)> {
        let leaves = self.leaves.as_deref().unwrap_or_default();
        leaves.iter().enumerate().filter(|(_, sum)| **sum != 0).map(|(leaf, sum)| (leaf as Place, *sum))
    }
}

impl PartialEq for Tree {
    fn eq(&self, other: &Tree) -> bool {
        match (&self.leaves, &other.leaves) {
            (Some(own), Some(others)) => own == others,
            _ => self.leaves().eq(other.leaves()),
        }
    }
}

/// How far the rows of a replica have been counted since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// All of them.
    All,
    /// Those before this row.
    Before(Space, Vec<u8>),
}

impl Counted {
    /// Whether this row is counted already: then its changes must be.
    pub fn has(&self, space: Space, row: &[u8]) -> bool {
        match self {
            Counted::All => true,
            Counted::Before(at, next) => (space, row) < (*at, next.as_slice()),
        }
    }

    /// Whether all cells are counted, though perhaps not the log.
    pub fn has_cells(&self) -> bool {
        matches!(self, Counted::All | Counted::Before(Space::Log, _))
    }
}

/// What a step changes in the tree, and in the size of the log: put together while rows are written, taken over when the step
/// is certain.
#[derive(Clone, Debug)]
pub struct Changes {
    seed: Seed,
    counted: Counted,
    /// How far a second count has come, if one is under way.
    check: Option<Counted>,
    /// Whether written rows are named, for masks.
    names: bool,
    changed: Changed,
}

/// By how much leaves change, and the bytes of the log.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// In the tree.
    pub leaves: Vec<(Place, u128)>,
    /// In a second count.
    pub checked: Vec<(Place, u128)>,
    /// In the log.
    pub log_bytes: i64,
    /// The rows of parts of keys that were written, where they are named.
    pub written: Vec<Vec<u8>>,
}

impl Changes {
    /// Nothing has changed so far.
    pub fn new(seed: Seed, counted: Counted, check: Option<Counted>) -> Changes {
        Changes { seed, counted, check, names: false, changed: Changed::default() }
    }

    /// From now on written rows are named.
    pub fn name_rows(&mut self) {
        self.names = true;
    }

    /// A row changes: its canonical form before and after, `None` where it is not there.
    pub fn row(&mut self, space: Space, row: &[u8], before: Option<Vec<u8>>, after: Option<Vec<u8>>) {
        if self.names && space == Space::Cell && after.is_some() {
            self.changed.written.push(row.to_vec());
        }
        let is_counted = self.counted.has(space, row);
        let is_checked = self.check.as_ref().is_some_and(|check| check.has(space, row));
        if !is_counted && !is_checked {
            return;
        }
        let hash = |canonical: Option<Vec<u8>>| canonical.map_or(0, |is| self.seed.row(space, row, is));
        let change = (self.seed.leaf(space, row), hash(after).wrapping_sub(hash(before)));
        self.changed.leaves.extend(is_counted.then_some(change));
        self.changed.checked.extend(is_checked.then_some(change));
    }

    /// The log grows or shrinks by a row of so many bytes.
    pub fn log(&mut self, row: &[u8], bytes: i64) {
        if self.counted.has(Space::Log, row) {
            self.changed.log_bytes += bytes;
        }
    }

    /// All that has changed.
    pub fn end(self) -> Changed {
        self.changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(rows: &[(Place, u128)]) -> Tree {
        let mut tree = Tree::default();
        for (leaf, by) in rows {
            tree.add(*leaf, *by);
        }
        tree
    }

    proptest! {
        #[test]
        fn a_node_is_the_sum_of_its_children(rows in proptest::collection::vec((0..LEAVES as Place, any::<u128>()), 0..50)) {
            let tree = tree(&rows);
            for level in 0..LEVELS {
                for place in 0..FANOUT.pow(level.into()) {
                    let sum = tree.children(level, place as Place).iter().fold(0u64, |sum, child| sum.wrapping_add(*child));
                    let own = match level.checked_sub(1) {
                        Some(above) => tree.children(above, (place / FANOUT) as Place)[place % FANOUT],
                        None => short(tree.root()),
                    };
                    prop_assert_eq!(sum, own);
                }
            }
        }

        #[test]
        fn the_order_of_changes_does_not_matter_and_what_is_taken_away_leaves_nothing(
            rows in proptest::collection::vec((0..LEAVES as Place, any::<u128>()), 0..50),
        ) {
            let mut tree = tree(&rows);
            let backwards: Vec<_> = rows.iter().rev().copied().collect();
            prop_assert_eq!(&tree, &self::tree(&backwards));
            prop_assert_eq!(&tree, &Tree::of_leaves(tree.leaves().collect()));
            for (leaf, by) in rows {
                tree.add(leaf, by.wrapping_neg());
            }
            prop_assert_eq!(tree.root(), 0);
            prop_assert_eq!(tree, Tree::default());
        }

        #[test]
        fn another_byte_is_another_hash(
            row in proptest::collection::vec(any::<u8>(), 1..20), canonical in proptest::collection::vec(any::<u8>(), 1..20), bit in 0..8u32,
        ) {
            let hash = |seed, row: &[u8], canonical: &[u8]| Seed(seed).row(Space::Cell, row, canonical.to_vec());
            let mut other = canonical.clone();
            other[0] ^= 1 << bit;
            prop_assert_ne!(hash(1, &row, &canonical), hash(1, &row, &other));
            prop_assert_ne!(hash(1, &row, &canonical), hash(2, &row, &canonical));
            let mut moved = row.clone();
            moved[0] ^= 1 << bit;
            prop_assert_ne!(hash(1, &row, &canonical), hash(1, &moved, &canonical));
        }
    }

    #[test]
    fn hashes_never_change() {
        // Golden: nodes of different versions must agree.
        let seed = Seed(7);
        assert_eq!(seed.leaf(Space::Head, b"row"), GOLDEN.0);
        assert_eq!(seed.row(Space::Head, b"row", b"content".to_vec()), GOLDEN.1);
    }

    const GOLDEN: (Place, u128) = (2392, 149967112987186752094159361088797337525);
}
