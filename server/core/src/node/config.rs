//! What a node is told when it starts: limits and times.

use crate::merkle::Seed;
use crate::name::ShardCount;
use crate::parking::PARKED_BYTES_MAX;
use crate::planted::Planted;

/// What a node is told when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many shards the cluster has.
    pub shards: ShardCount,
    /// How far ahead of the own wall time a remote stamp may raise the clock, in milliseconds.
    pub clock_skew_ms_max: u64,
    /// Most bytes of deltas parked for one shard.
    pub parked_bytes_max: usize,
    /// Most bytes of deltas in one answer to a pull, and of rows in one answer of a repair; one of them is always sent, however
    /// large.
    pub pull_bytes_max: usize,
    /// Most pulls to one peer that are not answered; at least one. Further ones wait.
    pub pulls_open_max: usize,
    /// How long a peer may answer no pull before those to it count as lost, in milliseconds; what was asked for then
    /// rests as long at this peer. Each time that is too short it is doubled, a few times over.
    pub pull_retry_ms: u64,
    /// How long what a peer announces may be lacking before it is pulled, in milliseconds.
    pub lacking_ms: u64,
    /// How long after a change a shard is announced to the peers, in milliseconds.
    pub announce_ms: u64,
    /// How long it takes until all shards are announced once more, in milliseconds.
    pub announce_all_ms: u64,
    /// The seed of digests: the same on every node of a cluster, and known to nobody else.
    pub seed: Seed,
    /// Most repairs that are under way, as receiver, and as many as source.
    pub repairs_open_max: usize,
    /// How long a source keeps a snapshot for a receiver that asks nothing, in milliseconds.
    pub repair_idle_ms: u64,
    /// How many bytes of rows repairs fetch in a second, on average.
    pub repair_bytes_per_s: u64,
    /// Most of its own rows that a receiver names in one request, for it to be told which of them differ; 8 bytes each. More leaves
    /// are asked for in turns.
    pub repair_known_max: usize,
    /// A replica that holds nothing is repaired rather than sent the log of a peer that has applied at least so many deltas.
    pub repair_empty_min: u64,
    /// A repair that brings at most so many rows, and bytes of rows, is installed at once; a larger one in portions, and nobody
    /// is answered meanwhile.
    pub install_rows_max: usize,
    /// The bytes of that.
    pub install_bytes_max: u64,
    /// Most rows that a removal looks through and takes away in its own batch. A larger one is done by a mask, and swept in portions.
    pub removal_rows_max: usize,
    /// Rows of one portion of work.
    pub portion_rows: usize,
    /// How long it takes until all rows were read again and compared with the trees, in milliseconds.
    pub deep_check_ms: u64,
    /// Bytes of deltas that the log keeps although every member has them, over all shards.
    pub log_keep_bytes: u64,
    /// Most bytes of the log over all shards: beyond it deltas are cut off, whoever lacks them.
    pub log_bytes_max: u64,
    /// Deliberate bugs: none.
    pub planted: Planted,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            shards: ShardCount::DEFAULT,
            clock_skew_ms_max: 2_000,
            parked_bytes_max: PARKED_BYTES_MAX,
            pull_bytes_max: 256 << 10,
            pulls_open_max: 8,
            pull_retry_ms: 500,
            lacking_ms: 250,
            announce_ms: 500,
            announce_all_ms: 10_000,
            seed: Seed::default(),
            repairs_open_max: 8,
            repair_idle_ms: 30_000,
            repair_bytes_per_s: 32 << 20,
            repair_known_max: 65_536,
            repair_empty_min: 1_000,
            install_rows_max: 10_000,
            install_bytes_max: 16 << 20,
            removal_rows_max: 1_000,
            portion_rows: 512,
            deep_check_ms: 24 * 60 * 60 * 1_000,
            log_keep_bytes: 32 << 20,
            log_bytes_max: 4 << 30,
            planted: Planted::default(),
        }
    }
}
