//! One node's copy of one shard.
//!
//! ```text
//! a client's write -> write::mint -> delta --\
//!                                             >-- gate -> apply -> cells, log, version vector, tree: one batch
//! a peer's message ----------------> delta --/
//! a peer's rows -------> staged -> install ------------> cells, version vector, tree: one batch, or none of it is seen
//! ```
//!
//! Rules:
//! - `cells = F({delta : delta.dot ≤ vector})`: equal version vectors mean equal cells.
//! - [`Replica::apply`] and a repair's `Replica::install` are the functions that change cells, and there is no third.
//! - A delta is applied when it is the next of its origin and all its author had seen was applied ([`Replica::gate`]).

mod apply;
mod install;
mod upkeep;
pub mod write;
pub mod read;
pub mod inspect;

pub use apply::Draft;
pub(crate) use upkeep::Held;

use crate::delta::Delta;
use crate::delta_log::Reach;
use crate::id::{Dot, OriginId, Seq, ShardId};
use crate::masks::{Hides, Mask, Masked, Masks};
use crate::merkle::{Changed, Changes, Counted, Seed, Tree};
use crate::planted::{Bug, Planted};
use crate::rows::{self, Origins, Unfinished, VisitContent};
use crate::storage::{Batch, Read, StorageError};
use crate::version_vector::{ORIGINS_MAX, VersionVector};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// What all replicas of a node have in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct Common {
    /// The seed of digests.
    pub seed: Seed,
    /// Most rows that a removal takes away in its own batch.
    pub removal_rows_max: usize,
    /// Deliberate bugs.
    pub planted: Planted,
}

/// Whether a replica answers, and what it waits for where it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    InService,
    /// A row is damaged. It answers nobody, applies nothing and sends nothing, until all rows of a peer are staged here.
    Quarantined,
    /// Its rows are being removed, for those that are staged.
    Emptying {
        /// What it had applied.
        had: VersionVector,
        /// What the source of the staged rows had applied.
        theirs: VersionVector,
    },
    /// What a repair has staged is being installed, in portions.
    Installing {
        /// What the source had applied.
        theirs: VersionVector,
        /// What the replica had applied before it was emptied, if it was.
        had: Option<VersionVector>,
    },
    /// It is handed what its log held; it had applied this before it was emptied.
    Filling(VersionVector),
    /// What was to replace its rows is damaged as well: only another disk helps.
    Ruined,
}

/// What a replica is, apart from its rows.
#[derive(Clone, Debug)]
pub struct Replica {
    shard: ShardId,
    common: Common,
    /// Under whose name this node makes deltas here.
    author: OriginId,
    vector: VersionVector,
    /// The last deltas that are not in the log.
    low: VersionVector,
    /// Origins whose log may have rows before the low mark.
    rubbish: BTreeSet<OriginId>,
    standing: Standing,
    /// What it had applied before it was filled, where a row of it was damaged while it was.
    had: VersionVector,
    /// Whether a repair is under way: deltas of others wait.
    frozen: bool,
    tree: Tree,
    counted: Counted,
    log_bytes: i64,
    /// A second count of the rows, while they are checked.
    check: Option<(Tree, Counted)>,
    /// The version vector for which the disk keeps the tree.
    kept_at: Option<VersionVector>,
    /// Large removals that are not swept yet, and how far the oldest is.
    masks: Masks,
    swept: Option<Swept>,
}

/// How far the oldest mask is swept.
#[derive(Clone, Debug, Default)]
struct Swept {
    /// In which of its ranges, and from which row on it goes on.
    range: usize,
    from: Vec<u8>,
    /// Whether a row was left.
    kept: bool,
}

/// What to do with a delta that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It is the next of its origin, and all that its author had seen was applied here.
    Ready,
    /// It was applied before.
    Seen,
    /// An earlier delta of its origin, or one that its author had seen, is missing; or a repair is under way.
    Waits,
    /// The version vector has no room for its origin: it must wait at the peer.
    Full,
}

/// How a replica is found on the disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) vector: VersionVector,
    pub(crate) low: VersionVector,
    pub(crate) rubbish: BTreeSet<OriginId>,
    pub(crate) unfinished: Option<Unfinished>,
    /// The tree, and the bytes of the log, if they were kept.
    pub(crate) kept: Option<(Tree, u64)>,
    pub(crate) masks: Vec<rows::MaskRow>,
}

impl Replica {
    /// The replica that was found on the disk.
    pub(crate) fn open(shard: ShardId, author: OriginId, common: Common, found: Found) -> Self {
        let Found { vector, low, rubbish, unfinished, kept, masks } = found;
        let standing = match unfinished {
            None => Standing::InService,
            Some(Unfinished::Damaged(_)) => Standing::Quarantined,
            Some(Unfinished::Emptying { had, theirs }) => Standing::Emptying { had, theirs },
            Some(Unfinished::Installing { theirs, had }) => Standing::Installing { theirs, had },
            Some(Unfinished::Filling(had)) => Standing::Filling(had),
        };
        let frozen = matches!(standing, Standing::Installing { .. });
        let kept_at = kept.is_some().then(|| vector.clone());
        let (tree, counted, log_bytes) = match kept {
            Some((tree, log_bytes)) => (tree, Counted::All, log_bytes as i64),
            None if vector.is_empty() && standing == Standing::InService => {
                (Tree::default(), Counted::All, 0)
            }
            None => (Tree::default(), upkeep::nothing_counted(shard), 0),
        };
        Replica {
            shard,
            common,
            author,
            vector,
            low,
            rubbish,
            standing,
            had: VersionVector::default(),
            frozen,
            tree,
            counted,
            log_bytes,
            check: None,
            kept_at,
            masks: Masks::of(masks.into_iter().map(|row| mask(shard, row)).collect()),
            swept: None,
        }
    }

    /// Its shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// What it has applied.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// The last deltas that are not in its log: what lies behind them, up to the version vector, is.
    pub fn low(&self) -> &VersionVector {
        &self.low
    }

    /// What its log reaches over.
    pub fn reach(&self) -> Reach<'_> {
        Reach { low: &self.low, vector: &self.vector }
    }

    /// The origin under which this node makes deltas here.
    pub fn author(&self) -> OriginId {
        self.author
    }

    /// Whether it answers, and what it waits for where it does not.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whether it answers nobody, applies nothing and sends nothing: a row of it is damaged, or it is being filled anew.
    pub fn is_out_of_service(&self) -> bool {
        self.standing != Standing::InService
    }

    /// Whether a repair is under way: deltas of others wait.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// The tree of all its content; `None` until its rows have been counted, and while some of them are to be swept away.
    pub fn tree(&self) -> Option<&Tree> {
        let masked = !self.masks.is_empty() && !self.common.planted.has(Bug::MaskedRootTold);
        (self.counted.has_cells() && !masked).then_some(&self.tree)
    }

    /// Large removals that are not swept yet.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// Its rows as they are to be read.
    pub(crate) fn masked<'a>(&'a self, disk: &'a dyn Read, origins: &'a Origins) -> Masked<'a> {
        Masked { disk, origins, masks: &self.masks, planted: self.common.planted }
    }

    /// Bytes of the log; `None` until they have been counted.
    pub fn log_bytes(&self) -> Option<u64> {
        (self.counted == Counted::All).then_some(self.log_bytes.max(0) as u64)
    }

    /// Takes it out of service: a row cannot be read. Where rows of a repair are among its own, a restart must know it.
    pub(crate) fn quarantine(&mut self, batch: &mut Batch) {
        let standing = core::mem::replace(&mut self.standing, Standing::Quarantined);
        self.standing = match standing {
            Standing::Emptying { .. } | Standing::Installing { had: Some(_), .. } | Standing::Ruined => {
                Standing::Ruined
            }
            Standing::Installing { had: None, .. } => {
                rows::put_unfinished(batch, self.shard, &Unfinished::Damaged(self.vector.clone()));
                batch.commit();
                Standing::Quarantined
            }
            Standing::Filling(had) => {
                self.had = had;
                Standing::Quarantined
            }
            Standing::InService | Standing::Quarantined => Standing::Quarantined,
        };
        self.frozen = false;
    }

    /// Deltas of others wait from now on, or no longer.
    pub(crate) fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen && !self.common.planted.has(Bug::NoFreeze);
    }

    /// The name of the next delta that this node makes here.
    pub fn next_dot(&self) -> Dot {
        let at: Seq = self.vector.at(self.author);
        Dot::new(self.author, at + 1)
    }

    /// Whether the version vector can take a delta of `origin`.
    pub fn has_room_for(&self, origin: OriginId) -> bool {
        self.vector.at(origin) > 0 || self.vector.len() < ORIGINS_MAX
    }

    /// Whether something that `vector` covers was not applied here, and the own vector could count it.
    pub fn lacks(&self, vector: &VersionVector) -> bool {
        vector.iter().any(|last| !self.vector.covers(last) && self.has_room_for(last.origin))
    }

    /// How many of the deltas that `vector` covers were not applied here.
    pub fn lacking(&self, vector: &VersionVector) -> u64 {
        let lacking = vector.iter().map(|last| last.seq.saturating_sub(self.vector.at(last.origin)));
        lacking.fold(0, u64::saturating_add)
    }

    /// Whether a delta can be applied now.
    pub fn gate(&self, delta: &Delta) -> Gate {
        let next = self.vector.at(delta.dot.origin).saturating_add(1);
        if delta.dot.seq < next && !self.common.planted.has(Bug::DuplicateApplied) {
            return Gate::Seen;
        }
        let contiguous = delta.dot.seq <= next || self.common.planted.has(Bug::GapAccepted);
        let causal = self.vector.includes(&delta.deps) || self.common.planted.has(Bug::NoCausalGate);
        match (contiguous && causal && !self.frozen, self.has_room_for(delta.dot.origin)) {
            (false, _) => Gate::Waits,
            (true, false) => Gate::Full,
            (true, true) => Gate::Ready,
        }
    }

    /// Visits the shard's content in canonical form, ascending by space and row: the same bytes on every replica with
    /// an equal version vector.
    ///
    /// # Errors
    /// [`StorageError`] when a row is damaged.
    pub fn scan_content(
        &self,
        disk: &dyn Read,
        origins: &Origins,
        visit: VisitContent<'_>,
    ) -> Result<(), StorageError> {
        match self.masks.is_empty() {
            true => rows::scan_canonical(disk, origins, self.shard, visit),
            false => rows::scan_canonical(&self.masked(disk, origins), origins, self.shard, visit),
        }
    }

    /// Where a step's changes of the tree are gathered.
    fn changes(&self) -> Changes {
        let check = self.check.as_ref().map(|(_, counted)| counted.clone());
        let mut changes = Changes::new(self.common.seed, self.counted.clone(), check);
        if !self.masks.is_empty() {
            changes.name_rows();
        }
        changes
    }

    /// A step is certain: its changes count.
    fn count_changes(&mut self, changes: Changes) {
        let Changed { leaves, checked, log_bytes, written } = changes.end();
        self.masks.wrote(&written);
        for (leaf, by) in leaves {
            self.tree.add(leaf, by);
        }
        for (leaf, by) in checked {
            if let Some((tree, _)) = &mut self.check {
                tree.add(leaf, by);
            }
        }
        self.log_bytes += log_bytes;
    }
}

/// A mask that was kept. What was written under it since is not known any more.
fn mask(shard: ShardId, row: rows::MaskRow) -> Mask {
    let rows::MaskRow { name, bucket, key, path, below, seen } = row;
    let place = rows::Place { shard, bucket: &bucket, key: &key, path: &path };
    Mask::new(name, place, if below { Hides::Below } else { Hides::Members }, seen, None)
}
