//! One node's copy of one shard.
//!
//! ```text
//! a client's write -> write::mint -> delta --\
//!                                             >-- gate -> apply -> cells, log, version vector: one batch
//! a peer's message ----------------> delta --/
//! ```
//!
//! Rules:
//! - `cells = F({delta : delta.dot ≤ vector})`: equal version vectors mean equal cells.
//! - [`Replica::apply`] is the one function that changes cells, for own and for others' deltas alike.
//! - A delta is applied when it is the next of its origin and all its author had seen was applied ([`Replica::gate`]).

mod apply;
pub mod write;
pub mod read;
pub mod inspect;

pub use apply::Draft;

use crate::delta::Delta;
use crate::id::{Dot, OriginId, Seq, ShardId};
use crate::planted::{Bug, Planted};
use crate::rows::{self, Origins, VisitContent};
use crate::storage::{Read, StorageError};
use crate::version_vector::{ORIGINS_MAX, VersionVector};

/// What a replica is, apart from its rows: which deltas it has applied.
#[derive(Clone, Debug)]
pub struct Replica {
    shard: ShardId,
    vector: VersionVector,
    quarantined: bool,
    planted: Planted,
}

/// What to do with a delta that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It is the next of its origin, and all that its author had seen was applied here.
    Ready,
    /// It was applied before.
    Seen,
    /// An earlier delta of its origin, or one that its author had seen, is missing.
    Waits,
    /// The version vector has no room for its origin: it must wait at the peer.
    Full,
}

impl Replica {
    /// A replica that has applied what `vector` covers. Its rows must be those of the same instant.
    pub fn new(shard: ShardId, vector: VersionVector, planted: Planted) -> Self {
        Replica { shard, vector, quarantined: false, planted }
    }

    /// Its shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// What it has applied.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// Whether a damaged row was found. It then answers nobody, applies nothing and sends nothing.
    pub fn is_quarantined(&self) -> bool {
        self.quarantined
    }

    /// Takes it out of service: a row cannot be read.
    pub(crate) fn quarantine(&mut self) {
        self.quarantined = true;
    }

    /// The name of the next delta that `origin` makes here.
    pub fn next_dot(&self, origin: OriginId) -> Dot {
        let at: Seq = self.vector.at(origin);
        Dot::new(origin, at + 1)
    }

    /// Whether the version vector can take a delta of `origin`.
    pub fn has_room_for(&self, origin: OriginId) -> bool {
        self.vector.at(origin) > 0 || self.vector.len() < ORIGINS_MAX
    }

    /// Whether something that `vector` covers was not applied here, and the own vector could count it.
    pub fn lacks(&self, vector: &VersionVector) -> bool {
        vector.iter().any(|last| !self.vector.covers(last) && self.has_room_for(last.origin))
    }

    /// Whether a delta can be applied now.
    pub fn gate(&self, delta: &Delta) -> Gate {
        let next = self.vector.at(delta.dot.origin).saturating_add(1);
        if delta.dot.seq < next && !self.planted.has(Bug::DuplicateApplied) {
            return Gate::Seen;
        }
        let contiguous = delta.dot.seq <= next || self.planted.has(Bug::GapAccepted);
        let causal = self.vector.includes(&delta.deps) || self.planted.has(Bug::NoCausalGate);
        match (contiguous && causal, self.has_room_for(delta.dot.origin)) {
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
        rows::scan_canonical(disk, origins, self.shard, visit)
    }
}
