//! What readers see: the newest state of the node that is durable.
//!
//! A published state is a snapshot of the rows with the origins' numbers and the version vectors of the same instant.
//! HTTP threads read it directly, through the same pure function that the core uses, and never wait for a write.

use crate::rocks::Snapshot;
use meridian_core::cell::Type;
use meridian_core::id::ShardId;
use meridian_core::name::{Bucket, Key, ShardCount};
use meridian_core::node::Node;
use meridian_core::replica::read::{self, Found};
use meridian_core::rows::{Origins, Place};
use meridian_core::types::{Failure, Refusal, View};
use meridian_core::version_vector::VersionVector;
use std::sync::Arc;

/// One replica, as readers see it.
#[derive(Clone)]
struct Standing {
    vector: Arc<VersionVector>,
    quarantined: bool,
}

/// All replicas' standings. Cheap to copy: a turn changes few of them.
#[derive(Clone)]
pub struct Standings {
    origins: Arc<Origins>,
    shards: Vec<Standing>,
}

impl Standings {
    /// As the node has them now.
    pub fn of(node: &Node, shards: ShardCount) -> Self {
        let standings = shards.shards().map(|shard| standing(node, shard)).collect();
        Standings { origins: Arc::new(node.origins().clone()), shards: standings }
    }

    /// Takes over what a turn has changed.
    pub fn update(&mut self, node: &Node, changed: impl IntoIterator<Item = ShardId>) {
        if node.origins().len() != self.origins.len() {
            self.origins = Arc::new(node.origins().clone());
        }
        for shard in changed {
            self.shards[usize::from(shard.0)] = standing(node, shard);
        }
    }

    /// What each replica has applied, and whether it is in service. In the order of the shards.
    pub fn vectors(&self) -> impl Iterator<Item = (&Arc<VersionVector>, bool)> {
        self.shards.iter().map(|standing| (&standing.vector, !standing.quarantined))
    }

    /// How many replicas are out of service.
    pub fn quarantined(&self) -> usize {
        self.shards.iter().filter(|standing| standing.quarantined).count()
    }

    /// The most origins that a replica's version vector names.
    pub fn origins_max(&self) -> usize {
        self.shards.iter().map(|standing| standing.vector.len()).max().unwrap_or(0)
    }
}

fn standing(node: &Node, shard: ShardId) -> Standing {
    let replica = node.replica(shard).expect("a node holds every shard");
    Standing { vector: Arc::new(replica.vector().clone()), quarantined: replica.is_quarantined() }
}

/// A durable state of the node.
pub struct Published {
    /// The rows.
    pub snapshot: Snapshot,
    /// The replicas, as of the same instant.
    pub standings: Standings,
}

impl Published {
    /// Reads a key.
    ///
    /// # Errors
    /// As [`read::read`], and [`Refusal::Quarantined`].
    pub fn read(&self, bucket: &Bucket, key: &Key, named: Option<Type>) -> Result<Found, Failure> {
        let count = u16::try_from(self.standings.shards.len()).ok().and_then(ShardCount::new);
        let shard = count.expect("one standing for each shard").shard_of(bucket, key);
        let Standing { vector, quarantined } = &self.standings.shards[usize::from(shard.0)];
        if *quarantined {
            return Err(Refusal::Quarantined.into());
        }
        let place = Place { shard, bucket, key };
        read::read(View { disk: &self.snapshot, origins: &self.standings.origins, vector, place }, named)
    }
}
