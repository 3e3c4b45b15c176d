//! The version vector: which deltas a replica of a shard has applied. Origin → highest contiguous sequence.
//!
//! A thin skin over [`crdts::VClock`], which silently accepts gaps; here the only way to count a delta is
//! [`VersionVector::advance`], and that refuses anything but the next one.
//!
//! `sealed` counts the coordinator's seals that this vector covers (an origin that is quiet everywhere leaves the
//! vector for a place in that ledger). No seal exists yet, so it is 0; the encoding has its place.

use crate::codec::{self, DOT_BYTES_MIN, DecodeError, Encode, Reader};
use crate::id::{Dot, OriginId, Seq};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use crdts::{CmRDT, CvRDT, VClock};

/// Most origins in one vector. When full, a replica takes no delta of a further origin: not its own (the client is
/// told), not a peer's (which waits at the peer).
pub const ORIGINS_MAX: usize = 1024;

/// Which deltas were applied: of each origin all up to a sequence, and none beyond.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct VersionVector {
    sealed: u64,
    /// Shared by copies until one of them changes: contexts and readers have one each.
    live: Arc<VClock<OriginId>>,
}

/// The delta that was to be counted is not the next of its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{dot:?} is not the next of its origin: {next} is")]
pub struct NotNext {
    /// What was offered.
    pub dot: Dot,
    /// What was expected.
    pub next: Seq,
}

impl VersionVector {
    /// How many deltas of `origin` were applied: its first `at` ones.
    pub fn at(&self, origin: OriginId) -> Seq {
        self.live.get(&origin)
    }

    /// Whether the delta of this name was applied.
    pub fn covers(&self, dot: Dot) -> bool {
        self.at(dot.origin) >= dot.seq
    }

    /// Whether everything that `other` covers is covered here.
    pub fn includes(&self, other: &VersionVector) -> bool {
        self.sealed >= other.sealed && other.iter().all(|dot| self.covers(dot))
    }

    /// Counts the next delta of an origin.
    ///
    /// # Errors
    /// [`NotNext`] for a gap or a repetition; the vector is as it was.
    pub fn advance(&mut self, dot: Dot) -> Result<(), NotNext> {
        let next = self.at(dot.origin).saturating_add(1);
        if dot.seq != next {
            return Err(NotNext { dot, next });
        }
        let named = crdts::Dot::from(dot);
        debug_assert!(self.live.validate_op(&named).is_ok(), "the crate agrees that {dot:?} leaves no gap");
        Arc::make_mut(&mut self.live).apply(named);
        Ok(())
    }

    /// Covers `origin` up to `seq`, gap or no gap. For reading a vector back, and for the planted bug that does so.
    pub(crate) fn raise(&mut self, dot: Dot) {
        Arc::make_mut(&mut self.live).apply(dot.into());
    }

    /// Covers `dot` too, unless its sequence is 0, which names nothing.
    pub(crate) fn cover(&mut self, dot: Dot) {
        if dot.seq > 0 {
            self.raise(dot);
        }
    }

    /// Covers what either covers: for what a repair brings, which is a whole state and leaves no gap.
    pub(crate) fn join(&mut self, other: &VersionVector) {
        self.sealed = self.sealed.max(other.sealed);
        Arc::make_mut(&mut self.live).merge(VClock::clone(&other.live));
    }

    /// How many deltas it covers.
    pub fn deltas(&self) -> u64 {
        self.iter().fold(0, |sum, dot| sum.wrapping_add(dot.seq))
    }

    /// Covers only what both cover.
    pub fn meet(&mut self, other: &VersionVector) {
        self.sealed = self.sealed.min(other.sealed);
        Arc::make_mut(&mut self.live).glb(&other.live);
    }

    /// This vector without one origin.
    pub fn without(&self, origin: OriginId) -> VersionVector {
        let mut rest = self.clone();
        Arc::make_mut(&mut rest.live).dots.remove(&origin);
        rest
    }

    /// The last delta of each origin, ascending by origin.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.live.iter().map(|dot| Dot::new(*dot.actor, dot.counter))
    }

    /// How many origins it names.
    pub fn len(&self) -> usize {
        self.live.dots.len()
    }

    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.sealed == 0
    }
}

impl FromIterator<Dot> for VersionVector {
    /// The least vector that covers all these dots.
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut vector = VersionVector::default();
        for dot in dots {
            vector.raise(dot);
        }
        vector
    }
}

impl Encode for VersionVector {
    fn encode(&self, out: &mut Vec<u8>) {
        codec::put_varint(out, self.sealed);
        codec::put_varint(out, self.len() as u64);
        for dot in self.iter() {
            dot.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let sealed = input.varint()?;
        if sealed != 0 {
            return Err(DecodeError::Invalid("version vector: no seal exists yet"));
        }
        let dots: Vec<Dot> = input.list(DOT_BYTES_MIN)?;
        if dots.len() > ORIGINS_MAX {
            return Err(DecodeError::Invalid("version vector: too many origins"));
        }
        codec::ascending(&dots, |dot| dot.origin, "version vector: origins ascend")?;
        Ok(dots.into_iter().collect())
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vector() -> impl Strategy<Value = VersionVector> {
        proptest::collection::vec((0..6u64, 1..6u64), 0..6)
            .prop_map(|dots| dots.into_iter().map(|(origin, seq)| Dot::new(OriginId(origin), seq)).collect())
    }

    #[test]
    fn a_gap_and_a_repetition_are_refused() {
        let dot = |seq| Dot::new(OriginId(7), seq);
        let mut vector = VersionVector::default();
        assert_eq!(vector.advance(dot(2)), Err(NotNext { dot: dot(2), next: 1 }));
        assert_eq!(vector.advance(dot(1)), Ok(()));
        assert_eq!(vector.advance(dot(1)), Err(NotNext { dot: dot(1), next: 2 }));
        assert_eq!(vector.at(OriginId(7)), 1);
    }

    proptest! {
        #[test]
        fn meet_is_the_greatest_lower_bound(a in vector(), b in vector()) {
            let mut met = a.clone();
            met.meet(&b);
            prop_assert!(a.includes(&met) && b.includes(&met));
            for dot in a.iter().chain(b.iter()) {
                prop_assert_eq!(met.at(dot.origin), a.at(dot.origin).min(b.at(dot.origin)));
            }
        }

        #[test]
        fn encodings_come_back(a in vector()) {
            prop_assert_eq!(VersionVector::from_bytes(&a.to_bytes()), Ok(a));
        }

        #[test]
        fn what_is_accepted_is_canonical(bytes in proptest::collection::vec(0..4u8, 0..40)) {
            if let Ok(vector) = VersionVector::from_bytes(&bytes) {
                prop_assert_eq!(vector.to_bytes(), bytes);
            }
        }
    }
}
