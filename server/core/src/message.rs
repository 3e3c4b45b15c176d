//! What nodes say to each other about shards. No message is trusted to arrive, once, soon or in order.
//!
//! | tag | message | meaning | answer |
//! |---|---|---|---|
//! | 1 | `Fresh` | deltas of a shard that the sender has just made | none; a `Pull` if something before them is missing |
//! | 2 | `Pull` | what the sender has of a shard | `Missing`, always |
//! | 3 | `Missing` | deltas that the other lacks, as many as fit, none if it has all; whether there are more | a `Pull` if there are more |

use crate::codec::{self, DecodeError, Encode, Reader};
use crate::delta::{DELTA_BYTES_MIN, Delta};
use crate::id::ShardId;
use crate::version_vector::VersionVector;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A message between two nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Deltas that the sender has just made.
    Fresh {
        /// The shard.
        shard: ShardId,
        /// In the order in which they were made.
        deltas: Vec<Arc<Delta>>,
    },
    /// Asks for the deltas that the sender lacks.
    Pull {
        /// The shard.
        shard: ShardId,
        /// What the sender has applied.
        have: VersionVector,
    },
    /// The answer to a pull: the deltas that the other lacks.
    Missing {
        /// The shard.
        shard: ShardId,
        /// In an order in which the other can apply them.
        deltas: Vec<Arc<Delta>>,
        /// Whether there are more than these: pull again.
        more: bool,
    },
}

impl Message {
    /// The shard that it is about.
    pub fn shard(&self) -> ShardId {
        match self {
            Message::Fresh { shard, .. } | Message::Pull { shard, .. } | Message::Missing { shard, .. } => {
                *shard
            }
        }
    }
}

const FRESH: u8 = 1;
const PULL: u8 = 2;
const MISSING: u8 = 3;

impl Encode for ShardId {
    fn encode(&self, out: &mut Vec<u8>) {
        codec::put_varint(out, u64::from(self.0));
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u16::try_from(input.varint()?).map(ShardId).map_err(|_| DecodeError::Number)
    }
}

impl Encode for Message {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Message::Fresh { shard, deltas } => {
                out.push(FRESH);
                shard.encode(out);
                encode_deltas(deltas, out);
            }
            Message::Pull { shard, have } => {
                out.push(PULL);
                shard.encode(out);
                have.encode(out);
            }
            Message::Missing { shard, deltas, more } => {
                out.push(MISSING);
                shard.encode(out);
                encode_deltas(deltas, out);
                out.push(u8::from(*more));
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (tag, shard) = (input.u8()?, ShardId::decode(input)?);
        Ok(match tag {
            FRESH => Message::Fresh { shard, deltas: decode_deltas(input)? },
            PULL => Message::Pull { shard, have: VersionVector::decode(input)? },
            MISSING => {
                let deltas = decode_deltas(input)?;
                let more = match input.u8()? {
                    0 => false,
                    1 => true,
                    tag => return Err(DecodeError::Tag { what: "more", tag }),
                };
                Message::Missing { shard, deltas, more }
            }
            tag => return Err(DecodeError::Tag { what: "message", tag }),
        })
    }
}

fn encode_deltas(deltas: &[Arc<Delta>], out: &mut Vec<u8>) {
    codec::put_varint(out, deltas.len() as u64);
    let mut previous = None;
    for delta in deltas {
        delta.encode_after(previous, out);
        previous = Some(delta.as_ref());
    }
}

fn decode_deltas(input: &mut Reader<'_>) -> Result<Vec<Arc<Delta>>, DecodeError> {
    let mut deltas: Vec<Arc<Delta>> = Vec::new();
    for _ in 0..input.count(DELTA_BYTES_MIN)? {
        let delta = Delta::decode_after(deltas.last().map(AsRef::as_ref), input)?;
        deltas.push(Arc::new(delta));
    }
    Ok(deltas)
}
