//! What a node says of its cluster: `/v1/cluster` and `/v1/cluster/convergence`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// The cluster's id, a UUID.
    pub cluster: String,
    /// The name of the node that answers.
    pub node: String,
    /// How many shards there are.
    pub shards: usize,
    /// Who holds which shard, in words: there is no map yet.
    pub placement: String,
    /// The version of the cluster map.
    pub epoch: u64,
    /// The name of the node that coordinates; `None` as long as there is no coordinator.
    pub coordinator: Option<String>,
    /// All members, the node that answers among them.
    pub members: Vec<Member>,
}

/// A member, and how the node that answers stands with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its id, a UUID.
    pub id: String,
    /// Where it is.
    pub region: String,
    /// Where it listens for peers.
    pub address: String,
    /// `self`, `connected` or `unreachable`.
    pub state: String,
    /// For how long nothing has come from it, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_ms: Option<u64>,
    /// The time there and back, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// What waits to be sent to it, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_bytes: Option<usize>,
    /// For how long it could not be reached, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable_ms: Option<u64>,
}

/// Whether all replicas agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Convergence {
    /// All members were reached, and all their replicas have applied and hold the same.
    pub converged: bool,
    /// How many members were asked, the node that answers among them.
    pub asked: usize,
    /// The names of those that did not answer.
    pub unreachable: Vec<String>,
    /// The shards that differ; all of them with `?all=true`.
    pub shards: Vec<Shard>,
}

/// One shard on all members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Its number.
    pub shard: usize,
    /// Its replicas have applied and hold the same.
    pub converged: bool,
    /// What each has.
    pub replicas: Vec<Replica>,
}

/// What one member's replica of a shard has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The member's name.
    pub node: String,
    /// Its version vector: what it has applied, origin → sequence.
    pub vv: BTreeMap<String, u64>,
    /// The root of its Merkle tree, in hexadecimal; `None` while its rows are counted after an unclean start.
    pub root: Option<String>,
    /// It has a damaged row, or is being filled again, and answers nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quarantined: bool,
}
