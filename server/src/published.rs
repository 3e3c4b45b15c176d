//! What readers see: the newest state of the node that is durable.
//!
//! A published state is a snapshot of the rows with the origins' numbers, the version vectors and the masks of the same instant.
//! HTTP threads read it directly, through the same pure function that the core uses, and never wait for a write.

use crate::rocks::Snapshot;
use meridian_core::id::ShardId;
use meridian_core::listing::{self, Entry, Position, Query, Replicas};
use meridian_core::masks::{Masked, Masks};
use meridian_core::name::{Bucket, Key, ShardCount};
use meridian_core::node::Node;
use meridian_core::planted::Planted;
use meridian_core::replica::inspect::{Inspection, inspect};
use meridian_core::replica::read::{self, Found, ReadRequest};
use meridian_core::rows::{Origins, Place};
use meridian_core::storage::Read;
use meridian_core::types::{Failure, Refusal, View};
use meridian_core::version_vector::VersionVector;
use std::ops::ControlFlow;
use std::sync::Arc;

/// One replica, as readers and peers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStanding {
    /// What it has applied.
    pub vector: VersionVector,
    /// The root of its tree; `None` until its rows are counted.
    pub root: Option<u128>,
    /// Whether it is in service: no row of it is known to be damaged, and it is not being filled anew.
    pub in_service: bool,
    /// Large removals that are not swept yet: readers look through them. (Peers do not tell theirs.)
    pub masks: Masks,
}

/// Standings that are copied together when one of them changes.
const GROUP: usize = 64;

/// All replicas' standings. Cheap to copy, however many there are: a turn changes few of them.
#[derive(Clone)]
pub struct Standings {
    origins: Arc<Origins>,
    count: ShardCount,
    /// In groups of [`GROUP`], in the order of the shards.
    groups: Vec<Arc<[ReplicaStanding]>>,
}

impl Standings {
    /// As the node has them now.
    pub fn of(node: &Node, shards: ShardCount) -> Self {
        let standings: Vec<ReplicaStanding> = shards.shards().map(|shard| standing(node, shard)).collect();
        let groups = standings.chunks(GROUP).map(Arc::from).collect();
        Standings { origins: Arc::new(node.origins().clone()), count: shards, groups }
    }

    /// Takes over what a turn has changed.
    pub fn update(&mut self, node: &Node, changed: impl IntoIterator<Item = ShardId>) {
        if node.origins().len() != self.origins.len() {
            self.origins = Arc::new(node.origins().clone());
        }
        for shard in changed {
            let place = usize::from(shard.0);
            Arc::make_mut(&mut self.groups[place / GROUP])[place % GROUP] = standing(node, shard);
        }
    }

    /// All of them, in the order of the shards.
    pub fn all(&self) -> impl Iterator<Item = &ReplicaStanding> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    /// The shards whose replicas are out of service.
    pub fn out_of_service(&self) -> impl Iterator<Item = ShardId> {
        let shards = self.count.shards().zip(self.all());
        shards.filter(|(_, standing)| !standing.in_service).map(|(shard, _)| shard)
    }

    /// How many large removals are not swept yet.
    pub fn masks(&self) -> usize {
        self.all().map(|standing| standing.masks.len()).sum()
    }

    /// The most origins that a replica's version vector names.
    pub fn origins_max(&self) -> usize {
        self.all().map(|standing| standing.vector.len()).max().unwrap_or(0)
    }

    fn at(&self, shard: ShardId) -> &ReplicaStanding {
        let place = usize::from(shard.0);
        &self.groups[place / GROUP][place % GROUP]
    }
}

fn standing(node: &Node, shard: ShardId) -> ReplicaStanding {
    let replica = node.replica(shard).expect("a node holds every shard");
    ReplicaStanding {
        vector: replica.vector().clone(),
        root: replica.tree().map(|tree| tree.root()),
        in_service: !replica.is_out_of_service(),
        masks: replica.masks().clone(),
    }
}

/// A durable state of the node.
pub struct Published {
    /// The rows.
    pub snapshot: Snapshot,
    /// The replicas, as of the same instant.
    pub standings: Standings,
}

impl Published {
    /// Reads a key, or a part of it.
    ///
    /// # Errors
    /// As [`read::read`], and [`Refusal::Quarantined`].
    pub fn read(&self, bucket: &Bucket, key: &Key, request: &ReadRequest) -> Result<Found, Failure> {
        let shard = self.shard_of(bucket, key);
        match self.standings.at(shard).in_service {
            true => self.with_view(Place::key(shard, bucket, key), |view| read::read(view, request)),
            false => Err(Refusal::Quarantined.into()),
        }
    }

    /// Lists a page of a bucket's keys.
    ///
    /// # Errors
    /// As [`listing::page`], and [`Refusal::Quarantined`]: a replica that is out of service has keys that would be left out.
    pub fn list(
        &self,
        bucket: &Bucket,
        query: &Query,
        take: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<Option<Position>, Failure> {
        if self.standings.out_of_service().next().is_some() {
            return Err(Refusal::Quarantined.into());
        }
        let vectors: Vec<&VersionVector> = self.standings.all().map(|standing| &standing.vector).collect();
        let masks: Vec<&Masks> = self.standings.all().map(|standing| &standing.masks).collect();
        let origins = &self.standings.origins;
        let replicas = Replicas { disk: &self.snapshot, origins, vectors: &vectors, masks: &masks };
        listing::page(replicas, bucket, query, take)
    }

    /// The shard of a key.
    pub fn shard_of(&self, bucket: &Bucket, key: &Key) -> ShardId {
        self.standings.count.shard_of(bucket, key)
    }

    /// Shows a key as this node's replica has it.
    pub fn inspect(&self, bucket: &Bucket, key: &Key) -> Inspection {
        let shard = self.shard_of(bucket, key);
        let in_service = self.standings.at(shard).in_service;
        self.with_view(Place::key(shard, bucket, key), |view| inspect(view, in_service))
    }

    /// Shows a key's rows, as its replica has them, to a reader.
    fn with_view<T>(&self, place: Place<'_>, reader: impl FnOnce(View<'_>) -> T) -> T {
        let Standings { origins, .. } = &self.standings;
        let ReplicaStanding { vector, masks, .. } = self.standings.at(place.shard);
        let masked = Masked { disk: &self.snapshot, origins, masks, planted: Planted::default() };
        let disk: &dyn Read = if masks.is_empty() { &self.snapshot } else { &masked };
        reader(View { disk, origins, vector, place })
    }
}
