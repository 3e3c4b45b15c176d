//! A context: what a client has seen of one key.
//!
//! On a write it limits what is taken away to what was seen. It is never believed beyond what this replica has seen
//! itself: a context that covers more takes away no more than the replica could.
//! (The bytes are wrapped in a token with a checksum keyed by the cluster's secret before a client gets them.)

use crate::cell::{SLOT_SEEN_BYTES_MIN, SlotSeen};
use crate::codec::{self, DecodeError, Encode, Reader};
use crate::version_vector::VersionVector;
use alloc::vec::Vec;

/// What was seen of one key: which deltas, and for a counter how much of each slot.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Context {
    /// The version vector of the replica that was read.
    pub vector: VersionVector,
    /// The counter's slots as they were read, ascending; empty for other types.
    pub slots: Vec<SlotSeen>,
}

impl Encode for Context {
    fn encode(&self, out: &mut Vec<u8>) {
        self.vector.encode(out);
        codec::put_list(out, &self.slots);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let vector = VersionVector::decode(input)?;
        let slots: Vec<SlotSeen> = input.list(SLOT_SEEN_BYTES_MIN)?;
        codec::ascending(&slots, |slot| slot.id, "context: slots ascend")?;
        Ok(Context { vector, slots })
    }
}
