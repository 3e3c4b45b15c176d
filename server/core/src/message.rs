//! What nodes say to each other about shards. No message is trusted to arrive, once, soon or in order.
//!
//! | tag | message | meaning | answer |
//! |---|---|---|---|
//! | 1 | `Fresh` | deltas of a shard that the sender has just made | none; a `Pull` if something before them is missing |
//! | 2 | `Pull` | what the sender has of a shard | `Missing`, always |
//! | 3 | `Missing` | deltas that the other lacks, as many as fit, none if it has all; whether there are more, in the log or not | a `Pull` if there are more in the log; a repair if they are not |
//! | 4 | `Have` | what the sender has applied of a shard, durably, and the root of its tree | none; a `Pull` of what is lacking, at once or if it stays lacking |
//! | 5 | `Ask` | what a receiver asks in a repair | `Answer`; none to `Close` |
//! | 6 | `Answer` | what a source answers in a repair | the next `Ask` |

use crate::codec::{self, DecodeError, Encode, Reader};
use crate::delta::{DELTA_BYTES_MIN, Delta};
use crate::delta_log::Rest;
use crate::id::ShardId;
use crate::repair::{Answer, Ask};
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
        /// What there is besides.
        rest: Rest,
    },
    /// An announcement: what the sender has.
    Have {
        /// The shard.
        shard: ShardId,
        /// What the sender has applied, durably.
        vector: VersionVector,
        /// The root of its tree then, shortened; `None` while its rows are counted.
        root: Option<u64>,
    },
    /// What a receiver asks in a repair.
    Ask {
        /// The shard.
        shard: ShardId,
        /// Which repair, and which of its requests: an answer names the same.
        turn: RepairTurn,
        /// What it asks.
        ask: Ask,
    },
    /// What a source answers in a repair.
    Answer {
        /// The shard.
        shard: ShardId,
        /// What is answered.
        turn: RepairTurn,
        /// The answer.
        answer: Answer,
    },
}

/// Names a request of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairTurn {
    /// Chosen by the receiver, another for each repair.
    pub repair: u64,
    /// Chosen by the source, another for each snapshot; 0 where there is none yet.
    pub snapshot: u64,
    /// Counts the requests of the repair.
    pub number: u64,
}

impl Message {
    /// The shard that it is about.
    pub fn shard(&self) -> ShardId {
        match self {
            Message::Fresh { shard, .. }
            | Message::Pull { shard, .. }
            | Message::Missing { shard, .. }
            | Message::Have { shard, .. }
            | Message::Ask { shard, .. }
            | Message::Answer { shard, .. } => *shard,
        }
    }

    /// Whether it belongs to a repair.
    pub fn is_repair(&self) -> bool {
        matches!(self, Message::Ask { .. } | Message::Answer { .. })
    }
}

const FRESH: u8 = 1;
const PULL: u8 = 2;
const MISSING: u8 = 3;
const HAVE: u8 = 4;
const ASK: u8 = 5;
const ANSWER: u8 = 6;

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
            Message::Missing { shard, deltas, rest } => {
                out.push(MISSING);
                shard.encode(out);
                encode_deltas(deltas, out);
                rest.encode(out);
            }
            Message::Have { shard, vector, root } => {
                out.push(HAVE);
                shard.encode(out);
                vector.encode(out);
                out.push(u8::from(root.is_some()));
                out.extend(root.iter().flat_map(|root| root.to_be_bytes()));
            }
            Message::Ask { shard, turn, ask } => {
                out.push(ASK);
                shard.encode(out);
                turn.encode(out);
                ask.encode(out);
            }
            Message::Answer { shard, turn, answer } => {
                out.push(ANSWER);
                shard.encode(out);
                turn.encode(out);
                answer.encode(out);
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (tag, shard) = (input.u8()?, ShardId::decode(input)?);
        Ok(match tag {
            FRESH => Message::Fresh { shard, deltas: decode_deltas(input)? },
            PULL => Message::Pull { shard, have: VersionVector::decode(input)? },
            MISSING => Message::Missing { shard, deltas: decode_deltas(input)?, rest: Rest::decode(input)? },
            HAVE => {
                let vector = VersionVector::decode(input)?;
                let root = match input.u8()? {
                    0 => None,
                    1 => Some(input.u64()?),
                    tag => return Err(DecodeError::Tag { what: "root", tag }),
                };
                Message::Have { shard, vector, root }
            }
            ASK => Message::Ask { shard, turn: RepairTurn::decode(input)?, ask: Ask::decode(input)? },
            ANSWER => {
                Message::Answer { shard, turn: RepairTurn::decode(input)?, answer: Answer::decode(input)? }
            }
            tag => return Err(DecodeError::Tag { what: "message", tag }),
        })
    }
}

impl Encode for Rest {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Rest::None => 0,
            Rest::More => 1,
            Rest::Truncated => 2,
        });
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Rest::None),
            1 => Ok(Rest::More),
            2 => Ok(Rest::Truncated),
            tag => Err(DecodeError::Tag { what: "rest", tag }),
        }
    }
}

impl Encode for RepairTurn {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.repair.to_be_bytes());
        out.extend_from_slice(&self.snapshot.to_be_bytes());
        codec::put_varint(out, self.number);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(RepairTurn { repair: input.u64()?, snapshot: input.u64()?, number: input.varint()? })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Head, Mark, Register, SlotId, SlotSeen};
    use crate::context::Seen;
    use crate::delta::{Change, Effect, FOOTPRINT_PER_BYTE_MAX};
    use crate::hlc::Hlc;
    use crate::id::{Dot, OriginId, Seq};
    use crate::name::{Bucket, ContentType, Key, Member};
    use crate::path::Path;
    use crate::repair::{Leaves, Position, RowSent, Unwilling};
    use crate::storage::Space;
    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::prelude::*;

    const AUTHOR: OriginId = OriginId(0xa);

    /// What the author's deltas may know of others: a vector that only grows.
    fn growing_deps() -> impl Strategy<Value = Vec<VersionVector>> {
        let growth = btree_map(prop_oneof![Just(1u64), Just(2), Just(u64::MAX)], 1..200u64, 0..3);
        vec(growth, 1..6).prop_map(|steps| {
            let mut deps = VersionVector::default();
            let grown = steps.into_iter().map(|step| {
                for (origin, by) in step {
                    let dot = Dot::new(OriginId(origin), deps.at(OriginId(origin)) + by);
                    deps.raise(dot);
                }
                deps.clone()
            });
            grown.collect()
        })
    }

    /// Effects that lie in a past, each cell once, in order.
    fn effects(past: VersionVector, seq: Seq) -> impl Strategy<Value = Vec<Effect>> {
        let known: Vec<Dot> = past.iter().collect();
        let kills = move || {
            let known = known.clone();
            vec(any::<bool>(), known.len()).prop_map(move |chosen| {
                known
                    .iter()
                    .zip(chosen)
                    .filter(|(_, chosen)| *chosen)
                    .map(|(dot, _)| *dot)
                    .collect::<Vec<_>>()
            })
        };
        let head = (any::<u64>(), vec(any::<u8>(), 0..200)).prop_map(|(hlc, value)| {
            let content_type = ContentType::new("image/png").unwrap();
            Head::Register(Register { hlc: Hlc(hlc), content_type, value })
        });
        let head = prop_oneof![Just(None), Just(Some(Head::Set)), head.prop_map(Some)];
        let members = (btree_set("[a-z]{1,6}", 0..4), any::<bool>(), kills());
        let reset = kills().prop_map(|dots| {
            let seen = |dot: Dot| SlotSeen {
                id: SlotId { origin: dot.origin, birth: 1 },
                last: Mark { seq: dot.seq, total: -7 },
            };
            dots.into_iter().map(seen).collect::<Vec<_>>()
        });
        (kills(), head, any::<bool>(), members, reset, any::<i64>()).prop_map(
            move |(kills, put, clears, (names, put_members, member_kills), seen, amount)| {
                let mut effects = alloc::vec![Effect::Head { kills, put }];
                effects.extend(clears.then_some(Effect::Clear { seen: None }));
                effects.extend(names.iter().map(|name| Effect::Member {
                    member: Member::new(name).unwrap(),
                    kills: member_kills.clone(),
                    put: put_members,
                }));
                effects.push(Effect::Reset { seen });
                let amount = amount.into();
                effects.push(Effect::Increment { birth: seq, previous: 0, total: amount, amount });
                effects
            },
        )
    }

    fn of_the_key(effects: Vec<Effect>) -> Vec<(Path, Effect)> {
        effects.into_iter().map(|effect| (Path::default(), effect)).collect()
    }

    /// Deltas of one author, one after the other.
    fn deltas() -> impl Strategy<Value = Vec<Arc<Delta>>> {
        (growing_deps(), 1..u64::MAX / 2, any::<u64>()).prop_flat_map(|(deps, first, hlc)| {
            let delta = move |(place, deps): (usize, VersionVector)| {
                let dot = Dot::new(AUTHOR, first + place as u64);
                let mut past = deps.clone();
                if dot.seq > 1 {
                    past.raise(Dot::new(AUTHOR, dot.seq - 1));
                }
                effects(past, dot.seq).prop_map(move |effects| {
                    let (bucket, key) = (Bucket::new("b").unwrap(), Key::new(b"k\0").unwrap());
                    let changes = alloc::vec![Change { bucket, key, effects: of_the_key(effects) }];
                    let hlc = Hlc(hlc.wrapping_add(place as u64));
                    Arc::new(Delta { dot, generation: 0, deps: deps.clone(), hlc, changes })
                })
            };
            deps.into_iter().enumerate().map(delta).collect::<Vec<_>>()
        })
    }

    fn rest() -> impl Strategy<Value = Rest> {
        prop_oneof![Just(Rest::None), Just(Rest::More), Just(Rest::Truncated)]
    }

    fn turn() -> impl Strategy<Value = RepairTurn> {
        any::<(u64, u64, u64)>().prop_map(|(repair, snapshot, number)| RepairTurn {
            repair,
            snapshot,
            number,
        })
    }

    fn position() -> impl Strategy<Value = Position> {
        (any::<bool>(), vec(any::<u8>(), 0..20))
            .prop_map(|(head, row)| Position { space: if head { Space::Head } else { Space::Cell }, row })
    }

    fn ask() -> impl Strategy<Value = Ask> {
        let leaves = btree_map(0..4_096u16, vec(any::<u64>(), 0..3), 0..5);
        prop_oneof![
            (1..3u8).prop_flat_map(|level| {
                btree_set(0..16u16.pow(level.into()), 0..5)
                    .prop_map(move |nodes| Ask::Walk { level, nodes: nodes.into_iter().collect() })
            }),
            Just(Ask::Rows(Leaves::All)),
            leaves.prop_map(|leaves| Ask::Rows(Leaves::These(leaves.into_iter().collect()))),
            position().prop_map(|from| Ask::More { from }),
            Just(Ask::Close),
        ]
    }

    fn answer() -> impl Strategy<Value = Answer> {
        let row = (position(), vec(any::<u8>(), 0..20)).prop_map(|(at, canonical)| RowSent { at, canonical });
        let rows = (vec(row, 0..4), proptest::option::of(position()), btree_set(any::<u32>(), 0..4));
        prop_oneof![
            vec(any::<[u64; 16]>(), 0..3).prop_map(Answer::Sums),
            rows.prop_map(|(rows, next, differ)| {
                let differ = if next.is_some() { Vec::new() } else { differ.into_iter().collect() };
                Answer::Rows { rows, next, differ }
            }),
            prop_oneof![Just(Unwilling::Busy), Just(Unwilling::NotReady), Just(Unwilling::Gone)]
                .prop_map(Answer::Unwilling),
        ]
    }

    proptest! {
        #[test]
        fn messages_come_back(deltas in deltas(), shard: u16, rest in rest(), root: Option<u64>, turn in turn()) {
            let shard = ShardId(shard);
            let have = deltas[0].deps.clone();
            let messages = [
                Message::Fresh { shard, deltas: deltas.clone() },
                Message::Pull { shard, have: have.clone() },
                Message::Missing { shard, deltas: deltas.clone(), rest },
                Message::Have { shard, vector: have.clone(), root },
                Message::Ask { shard, turn, ask: Ask::Open { have: have.clone() } },
                Message::Answer { shard, turn, answer: Answer::Opened { vector: have, sums: [3; 16] } },
            ];
            for message in messages {
                prop_assert_eq!(message.shard(), shard);
                prop_assert_eq!(Message::from_bytes(&message.to_bytes()), Ok(message));
            }
            for delta in &deltas {
                prop_assert_eq!(Delta::from_bytes(&delta.to_bytes()), Ok(delta.as_ref().clone()));
            }
        }

        #[test]
        fn what_a_repair_says_comes_back(shard: u16, turn in turn(), ask in ask(), answer in answer()) {
            let shard = ShardId(shard);
            for message in [Message::Ask { shard, turn, ask }, Message::Answer { shard, turn, answer }] {
                prop_assert!(message.is_repair());
                prop_assert_eq!(Message::from_bytes(&message.to_bytes()), Ok(message));
            }
        }

        #[test]
        fn a_delta_that_follows_is_shorter_than_by_itself(deltas in deltas()) {
            let together = Message::Fresh { shard: ShardId(0), deltas: deltas.clone() }.to_bytes().len();
            let apart: usize = deltas.iter().map(|delta| delta.size()).sum();
            prop_assert!(together <= apart + 3, "{together} bytes together, {apart} apart");
        }

        #[test]
        fn damaged_messages_never_panic_and_take_little_memory(
            deltas in deltas(),
            damage in vec((any::<usize>(), any::<u8>()), 0..3),
            cut: usize,
        ) {
            let mut bytes = Message::Missing { shard: ShardId(1), deltas, rest: Rest::None }.to_bytes();
            for (place, with) in damage {
                let place = place % bytes.len();
                bytes[place] = with;
            }
            bytes.truncate(cut % (bytes.len() * 4));
            check_footprint(&bytes)?;
        }

        #[test]
        fn garbage_never_panics(bytes in vec(any::<u8>(), 0..200), tag in 1..=6u8) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = tag;
            }
            check_footprint(&bytes)?;
        }
    }

    fn check_footprint(bytes: &[u8]) -> Result<(), TestCaseError> {
        if let Ok(Message::Fresh { deltas, .. } | Message::Missing { deltas, .. }) =
            Message::from_bytes(bytes)
        {
            let memory: usize = deltas.iter().map(|delta| delta.footprint()).sum();
            prop_assert!(memory <= bytes.len() * FOOTPRINT_PER_BYTE_MAX + 512, "{memory} of {}", bytes.len());
        }
        Ok(())
    }

    #[test]
    fn the_densest_message_takes_no_more_memory_than_stated() {
        let delta = |seq| {
            let change = Change {
                bucket: Bucket::new("b").unwrap(),
                key: Key::new(b"k").unwrap(),
                effects: alloc::vec![(Path::default(), Effect::Clear { seen: None })],
            };
            let dot = Dot::new(AUTHOR, seq);
            let changes = alloc::vec![change];
            Arc::new(Delta { dot, generation: 0, deps: VersionVector::default(), hlc: Hlc(0), changes })
        };
        let deltas = (1..=10_000).map(delta).collect();
        let bytes = Message::Fresh { shard: ShardId(0), deltas }.to_bytes();
        check_footprint(&bytes).unwrap();
    }

    #[test]
    fn deltas_that_break_a_rule_are_refused() {
        let sound = |effects: Vec<Effect>| {
            let (bucket, key) = (Bucket::new("b").unwrap(), Key::new(b"k").unwrap());
            Delta {
                dot: Dot::new(AUTHOR, 5),
                generation: 0,
                deps: [Dot::new(OriginId(1), 3)].into_iter().collect(),
                hlc: Hlc(1),
                changes: alloc::vec![Change { bucket, key, effects: of_the_key(effects) }],
            }
        };
        let kill = |dot| Effect::Head { kills: alloc::vec![dot], put: None };
        let refused = |delta: Delta| Delta::from_bytes(&delta.to_bytes()).is_err();
        assert!(!refused(sound(alloc::vec![kill(Dot::new(OriginId(1), 3))])));
        assert!(!refused(sound(alloc::vec![kill(Dot::new(AUTHOR, 4))])));
        assert!(refused(sound(alloc::vec![kill(Dot::new(OriginId(1), 4))])), "kills what it has not seen");
        assert!(refused(sound(alloc::vec![kill(Dot::new(AUTHOR, 5))])), "kills itself");
        assert!(
            refused(sound(alloc::vec![kill(Dot::new(OriginId(2), 1))])),
            "kills of an origin it does not know"
        );
        assert!(refused(sound(alloc::vec![])), "changes nothing");
        let clear = Effect::Clear { seen: None };
        assert!(refused(sound(alloc::vec![clear.clone(), clear.clone()])), "a cell twice");
        assert!(refused(sound(alloc::vec![clear.clone(), kill(Dot::new(AUTHOR, 4))])), "out of order");
        let beyond = Seen::all_of(&[Dot::new(OriginId(1), 9)].into_iter().collect());
        assert!(
            refused(sound(alloc::vec![Effect::Clear { seen: Some(beyond) }])),
            "clears what it has not seen"
        );
        let late = Effect::Increment { birth: 3, previous: 5, total: 2, amount: 1 };
        assert!(refused(sound(alloc::vec![late])), "follows itself");
        let mut own_deps = sound(alloc::vec![clear]);
        own_deps.deps = [Dot::new(AUTHOR, 4)].into_iter().collect();
        assert!(refused(own_deps), "its deps name its own origin");
    }
}
