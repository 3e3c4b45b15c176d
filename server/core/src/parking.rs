//! Parking: deltas that arrived before what they depend on.
//!
//! Parking saves a second transfer and nothing else: what is not parked is pulled again. So it may be full, and then a
//! delta is turned away; nothing is lost by that.

use crate::delta::Delta;
use crate::id::{Dot, OriginId};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

/// Most bytes of memory that deltas parked for one shard take. A delta beyond them is turned away and pulled later.
pub const PARKED_BYTES_MAX: usize = 4 << 20;

/// The parked deltas of one shard.
#[derive(Clone, Debug, Default)]
pub struct Parking {
    deltas: BTreeMap<Dot, (Arc<Delta>, usize)>,
    bytes: usize,
}

impl Parking {
    /// Parks a delta; one that would not fit into `bytes_max` is turned away.
    pub fn park(&mut self, delta: Arc<Delta>, bytes_max: usize) {
        let size = delta.footprint();
        if self.deltas.contains_key(&delta.dot) || self.bytes + size > bytes_max {
            return;
        }
        self.bytes += size;
        self.deltas.insert(delta.dot, (delta, size));
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

    /// About how many bytes of memory the parked deltas take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::{Change, Effect};
    use crate::hlc::Hlc;
    use crate::name::{Bucket, Key};
    use crate::path::Path;
    use crate::version_vector::VersionVector;

    fn delta(origin: u64, seq: u64) -> Arc<Delta> {
        let change = Change {
            bucket: Bucket::new("b").unwrap(),
            key: Key::new(b"k").unwrap(),
            effects: alloc::vec![(Path::default(), Effect::Clear { seen: None })],
        };
        Arc::new(Delta {
            dot: Dot::new(OriginId(origin), seq),
            generation: 0,
            deps: VersionVector::default(),
            hlc: Hlc(0),
            changes: alloc::vec![change],
        })
    }

    #[test]
    fn what_does_not_fit_is_turned_away_and_what_is_there_stays() {
        let mut parking = Parking::default();
        let size = delta(1, 1).footprint();
        for seq in [2, 3, 4, 3] {
            parking.park(delta(1, seq), 2 * size);
        }
        assert_eq!(parking.bytes(), 2 * size, "what is there already takes no room");
        assert_eq!(parking.take(Dot::new(OriginId(1), 4)), None, "it was full");
        assert_eq!(parking.take(Dot::new(OriginId(1), 2)), Some(delta(1, 2)));
        parking.park(delta(1, 4), 2 * size);
        assert_eq!(parking.take(Dot::new(OriginId(1), 4)), Some(delta(1, 4)));
    }

    #[test]
    fn the_fronts_are_the_first_of_each_origin() {
        let mut parking = Parking::default();
        for (origin, seq) in [(u64::MAX, 7), (0, 3), (5, 2), (5, 1), (0, 9)] {
            parking.park(delta(origin, seq), usize::MAX);
        }
        let fronts: alloc::vec::Vec<(u64, u64)> =
            parking.fronts().map(|delta| (delta.dot.origin.0, delta.dot.seq)).collect();
        assert_eq!(fronts, [(0, 3), (5, 1), (u64::MAX, 7)]);
    }
}
