//! A context: what a client has seen of one key.
//!
//! On a write it limits what is taken away to what was seen. It is never believed beyond what this replica has seen
//! itself: a context that covers more takes away no more than the replica could.
//! (The bytes are wrapped in a token with a checksum keyed by the cluster's secret before a client gets them.)

use crate::cell::{SLOT_SEEN_BYTES_MIN, SlotSeen};
use crate::codec::{self, DOT_BYTES_MIN, DecodeError, Encode, Reader};
use crate::id::Dot;
use crate::version_vector::VersionVector;
use alloc::vec::Vec;

/// Most single deltas beside a vector. Of more, the lowest but the newest are forgotten: then less was seen, which is always safe.
pub const SINGLE_DOTS_MAX: usize = 64;

/// Which deltas somebody has seen: all that a vector covers, and single ones beside it (a dotted version vector, after
/// Preguiça et al., 2010: of a node's deltas a client may have seen its own and not the one before).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Seen {
    vector: VersionVector,
    /// Ascending, and none that the vector covers.
    dots: Vec<Dot>,
}

impl Seen {
    /// All that a vector covers.
    pub fn all_of(vector: &VersionVector) -> Seen {
        Seen { vector: vector.clone(), dots: Vec::new() }
    }

    /// The vector.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// What was seen beside it.
    pub fn dots(&self) -> &[Dot] {
        &self.dots
    }

    /// Whether a delta was seen.
    pub fn covers(&self, dot: Dot) -> bool {
        self.vector.covers(dot) || self.dots.binary_search(&dot).is_ok()
    }

    /// Whether all that a vector covers was seen.
    pub fn includes(&self, vector: &VersionVector) -> bool {
        self.vector.includes(vector)
    }

    /// This, as far as a vector covers it.
    pub fn within(&self, vector: &VersionVector) -> Seen {
        let mut met = self.vector.clone();
        met.meet(vector);
        let dots = self.dots.iter().copied().filter(|dot| vector.covers(*dot)).collect();
        Seen { vector: met, dots }
    }

    /// This, and one delta more.
    pub fn and(mut self, dot: Dot) -> Seen {
        if self.covers(dot) {
            return self;
        }
        let place = self.dots.partition_point(|other| *other < dot);
        self.dots.insert(place, dot);
        // What follows the vector without a gap is no single delta.
        while let Some(place) =
            self.dots.iter().position(|dot| dot.seq.checked_sub(1) == Some(self.vector.at(dot.origin)))
        {
            let next = self.dots.remove(place);
            self.vector.raise(next);
        }
        while self.dots.len() > SINGLE_DOTS_MAX {
            let first_other = self.dots.iter().position(|other| *other != dot).unwrap_or_default();
            self.dots.remove(first_other);
        }
        self
    }
}

impl Encode for Seen {
    fn encode(&self, out: &mut Vec<u8>) {
        self.vector.encode(out);
        codec::put_list(out, &self.dots);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let vector = VersionVector::decode(input)?;
        let dots: Vec<Dot> = input.list(DOT_BYTES_MIN)?;
        codec::ascending(&dots, |dot| *dot, "seen: dots ascend")?;
        let is_beside =
            |dot: &Dot| dot.seq.checked_sub(1).is_some_and(|before| vector.at(dot.origin) < before);
        match dots.len() <= SINGLE_DOTS_MAX && dots.iter().all(is_beside) {
            true => Ok(Seen { vector, dots }),
            false => Err(DecodeError::Invalid("seen: dots beside the vector")),
        }
    }
}

/// What was seen of one key: which deltas, and for a counter how much of each slot.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Context {
    /// Which deltas.
    pub seen: Seen,
    /// The counter's slots as they were read, ascending; empty for other types.
    pub slots: Vec<SlotSeen>,
}

impl Context {
    /// Whether a delta was seen.
    pub fn covers(&self, dot: Dot) -> bool {
        self.seen.covers(dot)
    }
}

impl Encode for Context {
    fn encode(&self, out: &mut Vec<u8>) {
        self.seen.encode(out);
        codec::put_list(out, &self.slots);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let seen = Seen::decode(input)?;
        let slots: Vec<SlotSeen> = input.list(SLOT_SEEN_BYTES_MIN)?;
        codec::ascending(&slots, |slot| slot.id, "context: slots ascend")?;
        Ok(Context { seen, slots })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::OriginId;

    fn dot(origin: u64, seq: u64) -> Dot {
        Dot::new(OriginId(origin), seq)
    }

    #[test]
    fn a_single_delta_does_not_cover_those_before_it() {
        let seen = Seen::all_of(&[dot(1, 3)].into_iter().collect()).and(dot(1, 5));
        assert!(seen.covers(dot(1, 3)) && seen.covers(dot(1, 5)) && !seen.covers(dot(1, 4)));
        assert_eq!(Seen::from_bytes(&seen.to_bytes()), Ok(seen.clone()));
        let closed = seen.and(dot(1, 4));
        assert_eq!(closed, Seen::all_of(&[dot(1, 5)].into_iter().collect()), "the gap is closed");
    }

    #[test]
    fn too_many_single_deltas_are_forgotten() {
        let many = (0..100).fold(Seen::default(), |seen, n| seen.and(dot(7, 2 * n + 2)));
        assert_eq!(many.dots().len(), SINGLE_DOTS_MAX);
        assert!(many.covers(dot(7, 200)) && !many.covers(dot(7, 2)));
        let lower = many.clone().and(dot(1, 2));
        assert!(
            lower.covers(dot(1, 2)) && lower.dots().len() == SINGLE_DOTS_MAX,
            "the new one is never forgotten"
        );
        assert_eq!(Seen::from_bytes(&many.to_bytes()), Ok(many));
    }

    #[test]
    fn what_lies_beyond_a_vector_is_left_out() {
        let seen = Seen::all_of(&[dot(1, 3)].into_iter().collect()).and(dot(2, 5)).and(dot(3, 9));
        let within = seen.within(&[dot(1, 2), dot(2, 7)].into_iter().collect());
        assert_eq!(within, Seen::all_of(&[dot(1, 2)].into_iter().collect()).and(dot(2, 5)));
    }
}
