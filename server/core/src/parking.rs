//! Parking: deltas that arrived before what they depend on.
//!
//! Parking saves a second transfer and nothing else: what is not parked is pulled again. So it may be full, and then a
//! delta is turned away; nothing is lost by that.

use crate::delta::Delta;
use crate::id::{Dot, OriginId};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

/// Most bytes of deltas parked for one shard. A delta beyond them is turned away and pulled later.
pub const PARKED_BYTES_MAX: usize = 4 << 20;

/// The parked deltas of one shard.
#[derive(Clone, Debug, Default)]
pub struct Parking {
    deltas: BTreeMap<Dot, (Arc<Delta>, usize)>,
    bytes: usize,
}

impl Parking {
    /// Parks a delta; one that would not fit into `bytes_max` is turned away, and `false` says so.
    pub fn park(&mut self, delta: Arc<Delta>, bytes_max: usize) -> bool {
        let size = delta.size();
        if self.deltas.contains_key(&delta.dot) {
            return true;
        }
        if self.bytes + size > bytes_max {
            return false;
        }
        self.bytes += size;
        self.deltas.insert(delta.dot, (delta, size));
        true
    }

    /// The first parked delta of each origin, ascending by origin.
    pub fn fronts(&self) -> impl Iterator<Item = &Arc<Delta>> {
        core::iter::successors(self.deltas.iter().next(), |(dot, _)| {
            let next_origin = Dot::new(OriginId(dot.origin.0.checked_add(1)?), 0);
            self.deltas.range(next_origin..).next()
        })
        .map(|(_, (delta, _))| delta)
    }

    /// Takes a delta out.
    pub fn take(&mut self, dot: Dot) -> Option<Arc<Delta>> {
        let (delta, size) = self.deltas.remove(&dot)?;
        self.bytes -= size;
        Some(delta)
    }

    /// Whether nothing is parked.
    pub fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }

    /// How many bytes the parked deltas take, as they are written.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
