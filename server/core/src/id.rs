//! Who and what: newtypes for every number that names something.

use core::fmt;

/// A member of the cluster. Stable over restarts; derived from the cluster's id and the node's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u128);

/// One run of one node: 64 random bits that the shell draws at every start and never uses again.
///
/// A lost log tail, a wiped disk, a restored backup or a cloned image therefore never issues a dot twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginId(pub u64);

/// A fixed slice of the hashed key space: the unit of placement, causality and repair.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// Pairs a request with its reply. The shell chooses it; core only hands it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Counts the deltas of one origin in one shard, from 1, without a gap.
pub type Seq = u64;

/// The name of one delta: the `seq`-th that `origin` made in a shard. Issued once, ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// The run that made it.
    pub origin: OriginId,
    /// Its place among that run's deltas in this shard, from 1.
    pub seq: Seq,
}

impl Dot {
    /// The `seq`-th delta of `origin`.
    pub fn new(origin: OriginId, seq: Seq) -> Self {
        Dot { origin, seq }
    }
}

impl From<Dot> for crdts::Dot<OriginId> {
    fn from(dot: Dot) -> Self {
        crdts::Dot::new(dot.origin, dot.seq)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n:{:x}", self.0)
    }
}

impl fmt::Debug for OriginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Display for OriginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}", self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.{}", self.origin, self.seq)
    }
}
