//! A delta: what one client request did to one shard, atomically.
//!
//! `{dot, generation, deps, hlc, changes}`. Its dot names it; its `deps` say what its author had applied. Removes and
//! resets are deltas too and use up a sequence number, so version vectors alone say who lacks what.
//!
//! Rules, checked when a delta is read from bytes:
//! - it changes something;
//! - what it kills or resets lies in its *past*: its deps, and its own origin's earlier deltas;
//! - it touches each cell at most once, in canonical order (a [`Effect::Remove`] comes before what it leaves, and so does a
//!   [`Effect::Clear`]).
//!
//! This is one file because what a delta is and how it is written are checked by the same rules.
//!
//! On the wire a delta is written as the difference to the one before it in the same message (`Delta::encode_after`).

use crate::cell::{self, Head, SLOT_SEEN_BYTES_MIN, SlotSeen, Type};
use crate::codec::{self, DOT_BYTES_MIN, DecodeError, Encode, Reader};
use crate::context::Seen;
use crate::hlc::Hlc;
use crate::id::{Dot, OriginId, Seq};
use crate::name::{Bucket, Key, Member};
use crate::path::{Path, ROOT};
use crate::version_vector::VersionVector;
use alloc::vec::Vec;
use core::mem::{size_of, size_of_val};

/// What one client request did to one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Its name.
    pub dot: Dot,
    /// The barrier it was made under. No barrier exists yet: 0.
    pub generation: u64,
    /// What its author had applied of other origins. Of its own it had all before this one.
    pub deps: VersionVector,
    /// When it was made.
    pub hlc: Hlc,
    /// What it did, ascending by bucket and key.
    pub changes: Vec<Change>,
}

/// What a delta did to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// What was done, and where within the key: in canonical order, each cell once.
    pub effects: Vec<(Path, Effect)>,
}

/// What a delta did to one cell, or to a range of cells, of a key or of a field in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Kills all heads and members of a field, and of the fields in it, that are covered by `seen`, or by the delta's past where
    /// `seen` is absent. At the key itself it takes its fields, and neither its head nor its members. (Counters are reset beside
    /// it, by name: what is left of a slot cannot be told from a vector.)
    Remove {
        /// What the client had seen, where that is less than its replica had.
        seen: Option<Seen>,
    },
    /// Kills siblings of the head, and puts one in their place or none.
    Head {
        /// What its author saw there and takes away, ascending.
        kills: Vec<Dot>,
        /// What it puts there, under the delta's dot.
        put: Option<Head>,
    },
    /// Kills all members of the set that are covered by `seen`, or by the delta's past where `seen` is absent.
    Clear {
        /// What the client had seen, where that is less than its replica had.
        seen: Option<Seen>,
    },
    /// Kills a member's dots, and puts the delta's there or none.
    Member {
        /// Which.
        member: Member,
        /// What its author saw there and takes away, ascending.
        kills: Vec<Dot>,
        /// Whether the member is put.
        put: bool,
    },
    /// Takes from each of these slots what was in it when it was seen.
    Reset {
        /// What its author saw, ascending.
        seen: Vec<SlotSeen>,
    },
    /// Adds to the author's own slot.
    Increment {
        /// The slot's first increment; this one's own sequence if it is the first.
        birth: Seq,
        /// The sequence of the slot's previous increment, 0 if there is none.
        previous: Seq,
        /// The slot's total with this increment.
        total: i128,
        /// What is added.
        amount: i128,
    },
}

impl Change {
    /// The order of changes in a delta.
    fn name(&self) -> (&Bucket, &Key) {
        (&self.bucket, &self.key)
    }
}

impl Effect {
    /// The order of effects in a change, and what makes two of them the same cell.
    fn place(&self) -> (u8, Option<&Member>) {
        match self {
            Effect::Remove { .. } => (0, None),
            Effect::Head { .. } => (1, None),
            Effect::Clear { .. } => (2, None),
            Effect::Member { member, .. } => (3, Some(member)),
            Effect::Reset { .. } => (4, None),
            Effect::Increment { .. } => (5, None),
        }
    }
}

/// Brings effects into the order of a change.
pub(crate) fn sort(effects: &mut [(Path, Effect)]) {
    effects.sort_by(|a, b| place_of(a).cmp(&place_of(b)));
}

/// The order of effects in a change: by path, and there by cell.
fn place_of((path, effect): &(Path, Effect)) -> (&Path, (u8, Option<&Member>)) {
    (path, effect.place())
}

impl Effect {
    fn footprint(&self) -> usize {
        size_of::<(Path, Effect)>()
            + match self {
                Effect::Head { kills, put } => {
                    let bytes = put.as_ref().and_then(Head::bytes);
                    let value =
                        bytes.map_or(0, |(content_type, value)| content_type.as_str().len() + value.len());
                    size_of_val(kills.as_slice()) + value
                }
                Effect::Remove { seen } | Effect::Clear { seen } => {
                    seen.as_ref().map_or(0, |seen| vector_footprint(seen.vector()) + size_of_val(seen.dots()))
                }
                Effect::Member { member, kills, .. } => size_of_val(kills.as_slice()) + member.as_str().len(),
                Effect::Reset { seen } => size_of_val(seen.as_slice()),
                Effect::Increment { .. } => 0,
            }
    }
}

/// About what a map of origins takes: the block that copies share, a tree node, and for each entry its share of nodes that may
/// be half empty.
fn vector_footprint(vector: &VersionVector) -> usize {
    match vector.len() {
        0 => 40,
        entries => 232 + entries * 32,
    }
}

impl Delta {
    /// All that its author had applied when making it: what a [`Effect::Clear`] without `seen` kills.
    pub fn past(&self) -> VersionVector {
        let mut past = self.deps.clone();
        if self.dot.seq > 1 {
            past.raise(Dot::new(self.dot.origin, self.dot.seq - 1));
        }
        past
    }

    /// How many bytes it takes when it is written by itself.
    pub fn size(&self) -> usize {
        self.to_bytes().len()
    }

    /// About how many bytes of memory it takes: itself and what it points to. Small deltas take much more memory than
    /// bytes, at most [`FOOTPRINT_PER_BYTE_MAX`] times as much.
    pub fn footprint(&self) -> usize {
        let changes = self.changes.iter().map(|change| {
            let names = change.bucket.as_str().len() + change.key.as_bytes().len();
            // Effects at one path share it.
            let mut at = &ROOT;
            let effects = change.effects.iter().map(|(path, effect)| {
                let shared = path == core::mem::replace(&mut at, path);
                effect.footprint() + if shared { 0 } else { path.footprint() }
            });
            size_of::<Change>() + names + effects.sum::<usize>()
        });
        size_of::<Delta>() + vector_footprint(&self.deps) + changes.sum::<usize>()
    }

    /// Whether a dot lies in this delta's past.
    fn knows(&self, dot: Dot) -> bool {
        match dot.origin == self.dot.origin {
            true => dot.seq < self.dot.seq,
            false => self.deps.covers(dot),
        }
    }

    /// Whether it keeps the rules at the head of this module, order and all: a peer would accept it.
    pub(crate) fn is_sound(&self) -> bool {
        let in_order = self.changes.is_sorted_by(|a, b| a.name() < b.name())
            && self
                .changes
                .iter()
                .all(|change| change.effects.is_sorted_by(|a, b| place_of(a) < place_of(b)));
        in_order && self.check().is_ok()
    }

    /// Checks the rules at the head of this module, but for the order, which is checked while reading.
    fn check(&self) -> Result<(), DecodeError> {
        if self.deps.at(self.dot.origin) != 0 {
            return Err(DecodeError::Invalid("delta: its deps name its own origin"));
        }
        if self.generation != 0 {
            return Err(DecodeError::Invalid("delta: no barrier exists yet"));
        }
        if self.changes.is_empty() || self.changes.iter().any(|change| change.effects.is_empty()) {
            return Err(DecodeError::Invalid("delta: it changes nothing"));
        }
        let mut effects = self.changes.iter().flat_map(|change| &change.effects);
        effects.try_for_each(|(_, effect)| self.check_effect(effect))
    }

    fn check_effect(&self, effect: &Effect) -> Result<(), DecodeError> {
        let sound = match effect {
            Effect::Head { kills, .. } | Effect::Member { kills, .. } => {
                codec::ascending(kills, |dot| *dot, "delta: kills ascend")?;
                kills.iter().all(|dot| self.knows(*dot))
            }
            Effect::Remove { seen } | Effect::Clear { seen } => seen.as_ref().is_none_or(|seen| {
                seen.vector().iter().chain(seen.dots().iter().copied()).all(|dot| self.knows(dot))
            }),
            Effect::Reset { seen } => {
                codec::ascending(seen, |slot| slot.id, "delta: slots ascend")?;
                seen.iter().all(|slot| self.knows(Dot::new(slot.id.origin, slot.last.seq)))
            }
            Effect::Increment { birth, previous, total, amount } => match *previous {
                0 => *birth == self.dot.seq && total == amount,
                previous => (1..=previous).contains(birth) && previous < self.dot.seq,
            },
        };
        match sound {
            true => Ok(()),
            false => Err(DecodeError::Invalid("delta: an effect beyond its past")),
        }
    }
}

// -- bytes ---------------------------------------------------------------------------------------------------------

/// Fewest bytes of an effect, a change, and a delta in a message.
const EFFECT_BYTES_MIN: usize = 2;
const CHANGE_BYTES_MIN: usize = 5 + EFFECT_BYTES_MIN;
pub(crate) const DELTA_BYTES_MIN: usize = 4 + CHANGE_BYTES_MIN;

/// Most origins that a delta's deps may name for it to be written as what follows another: reading it copies them all.
const FOLLOWS_ORIGINS_MAX: usize = 16;

/// Most bytes of memory for each byte of a delta on the wire: reading a message takes at most so many times its size.
pub const FOOTPRINT_PER_BYTE_MAX: usize = 128;

/// How a delta's beginning is written: in full, or as what follows the delta before it.
const FULL: u8 = 0;
const FOLLOWS: u8 = 1;

impl Delta {
    /// Appends this delta, given the one before it in the same message: much shorter where it is the next of the same
    /// origin.
    pub fn encode_after(&self, previous: Option<&Delta>, out: &mut Vec<u8>) {
        match previous.filter(|previous| self.follows(previous)) {
            Some(previous) => {
                out.push(FOLLOWS);
                codec::put_signed(out, i128::from(self.hlc.0) - i128::from(previous.hlc.0));
                encode_deps_after(&previous.deps, &self.deps, out);
            }
            None => {
                out.push(FULL);
                self.dot.encode(out);
                codec::put_varint(out, self.generation);
                out.extend_from_slice(&self.hlc.0.to_be_bytes());
                self.deps.encode(out);
            }
        }
        self.encode_changes(out);
    }

    /// Reads what [`Delta::encode_after`] wrote, given the same delta before it.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no delta or it breaks a rule of this module.
    pub fn decode_after(previous: Option<&Delta>, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (dot, generation, hlc, deps) = match (input.u8()?, previous) {
            (FULL, _) => {
                let (dot, generation) = (Dot::decode(input)?, input.varint()?);
                (dot, generation, Hlc(input.u64()?), VersionVector::decode(input)?)
            }
            (FOLLOWS, Some(previous)) => {
                let seq = previous.dot.seq.checked_add(1).ok_or(DecodeError::Number)?;
                let hlc =
                    i128::from(previous.hlc.0).checked_add(input.signed()?).ok_or(DecodeError::Number)?;
                let hlc = Hlc(u64::try_from(hlc).map_err(|_| DecodeError::Number)?);
                let deps = decode_deps_after(&previous.deps, input)?;
                (Dot::new(previous.dot.origin, seq), previous.generation, hlc, deps)
            }
            (tag, _) => return Err(DecodeError::Tag { what: "delta", tag }),
        };
        let count = input.count(CHANGE_BYTES_MIN)?;
        let mut changes: Vec<Change> = codec::list_for(count);
        for _ in 0..count {
            let change = decode_change(hlc, input)?;
            if changes.last().is_some_and(|last| last.name() >= change.name()) {
                return Err(DecodeError::Invalid("delta: keys ascend"));
            }
            changes.push(change);
        }
        let delta = Delta { dot, generation, deps, hlc, changes };
        delta.check()?;
        Ok(delta)
    }

    fn follows(&self, previous: &Delta) -> bool {
        self.dot.origin == previous.dot.origin
            && previous.dot.seq.checked_add(1) == Some(self.dot.seq)
            && self.generation == previous.generation
            && self.deps.len() <= FOLLOWS_ORIGINS_MAX
            && self.deps.includes(&previous.deps)
    }

    fn encode_changes(&self, out: &mut Vec<u8>) {
        codec::put_varint(out, self.changes.len() as u64);
        for change in &self.changes {
            codec::put_bytes(out, change.bucket.as_str().as_bytes());
            codec::put_bytes(out, change.key.as_bytes());
            codec::put_varint(out, change.effects.len() as u64);
            let mut at = &ROOT;
            for (path, effect) in &change.effects {
                encode_effect(effect, (path != at).then_some(path), self.hlc, out);
                at = path;
            }
        }
    }
}

impl Encode for Delta {
    fn encode(&self, out: &mut Vec<u8>) {
        self.encode_after(None, out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Delta::decode_after(None, input)
    }
}

/// Writes a vector as what it has more than an earlier one: for each grown origin its place in the earlier vector (0
/// where it is new, and then its name), and by how much it grew.
fn encode_deps_after(earlier: &VersionVector, deps: &VersionVector, out: &mut Vec<u8>) {
    let grown: Vec<Dot> = deps.iter().filter(|dot| !earlier.covers(*dot)).collect();
    codec::put_varint(out, grown.len() as u64);
    for dot in grown {
        match earlier.iter().position(|known| known.origin == dot.origin) {
            Some(place) => codec::put_varint(out, place as u64 + 1),
            None => {
                codec::put_varint(out, 0);
                out.extend_from_slice(&dot.origin.0.to_be_bytes());
            }
        }
        codec::put_varint(out, dot.seq - earlier.at(dot.origin));
    }
}

fn decode_deps_after(earlier: &VersionVector, input: &mut Reader<'_>) -> Result<VersionVector, DecodeError> {
    if earlier.len() > FOLLOWS_ORIGINS_MAX {
        return Err(DecodeError::Invalid("delta: too many origins for one that follows"));
    }
    let mut deps = earlier.clone();
    for _ in 0..input.count(2)? {
        let origin = match input.varint()? {
            0 => OriginId(input.u64()?),
            place => {
                let place = usize::try_from(place - 1).map_err(|_| DecodeError::Number)?;
                earlier.iter().nth(place).ok_or(DecodeError::Invalid("delta: no such place"))?.origin
            }
        };
        let seq = match input.varint()? {
            0 => return Err(DecodeError::Invalid("delta: deps that did not grow")),
            grown => earlier.at(origin).checked_add(grown).ok_or(DecodeError::Number)?,
        };
        deps.raise(Dot::new(origin, seq));
    }
    match deps.len() <= FOLLOWS_ORIGINS_MAX {
        true => Ok(deps),
        false => Err(DecodeError::Invalid("delta: too many origins for one that follows")),
    }
}

fn decode_change(hlc: Hlc, input: &mut Reader<'_>) -> Result<Change, DecodeError> {
    let bucket = Bucket::stored(input.text()?).map_err(|_| DecodeError::Invalid("bucket"))?;
    let key = Key::new(input.bytes()?).map_err(|_| DecodeError::Invalid("key"))?;
    let count = input.count(EFFECT_BYTES_MIN)?;
    let mut effects: Vec<(Path, Effect)> = codec::list_for(count);
    for _ in 0..count {
        let at = effects.last().map_or(&ROOT, |(path, _)| path);
        let effect = decode_effect(at, hlc, input)?;
        if effects.last().is_some_and(|last| place_of(last) >= place_of(&effect)) {
            return Err(DecodeError::Invalid("delta: each cell once, in order"));
        }
        effects.push(effect);
    }
    Ok(Change { bucket, key, effects })
}

/// Tags of effects. The numbers are the disk's and the wire's.
mod tag {
    pub(super) const HEAD_KILL: u8 = 1;
    pub(super) const HEAD_PUT: u8 = 2;
    pub(super) const CLEAR: u8 = 3;
    pub(super) const CLEAR_SEEN: u8 = 4;
    pub(super) const MEMBER_KILL: u8 = 5;
    pub(super) const MEMBER_PUT: u8 = 6;
    pub(super) const RESET: u8 = 7;
    pub(super) const INCREMENT: u8 = 8;
    pub(super) const CLEAR_SINGLES: u8 = 9;
    pub(super) const REMOVE: u8 = 10;
    pub(super) const REMOVE_SEEN: u8 = 11;
    /// Added to a tag before which a path stands: another than that of the effect before.
    pub(super) const ELSEWHERE: u8 = 0x80;
}

/// Writes an effect: where, if that is elsewhere than the one before; and what.
fn encode_effect(effect: &Effect, elsewhere: Option<&Path>, hlc: Hlc, out: &mut Vec<u8>) {
    let mut tag = |tag: u8| {
        out.push(tag | if elsewhere.is_some() { tag::ELSEWHERE } else { 0 });
        if let Some(path) = elsewhere {
            path.encode(out);
        }
    };
    match effect {
        Effect::Head { kills, put } => {
            tag(if put.is_some() { tag::HEAD_PUT } else { tag::HEAD_KILL });
            codec::put_list(out, kills);
            if let Some(head) = put {
                encode_head(head, hlc, out);
            }
        }
        Effect::Clear { seen: None } => {
            tag(tag::CLEAR);
            out.push(0);
        }
        Effect::Clear { seen: Some(seen) } if seen.dots().is_empty() => {
            tag(tag::CLEAR_SEEN);
            seen.vector().encode(out);
        }
        Effect::Clear { seen: Some(seen) } => {
            tag(tag::CLEAR_SINGLES);
            seen.encode(out);
        }
        Effect::Remove { seen: None } => {
            tag(tag::REMOVE);
            out.push(0);
        }
        Effect::Remove { seen: Some(seen) } => {
            tag(tag::REMOVE_SEEN);
            seen.encode(out);
        }
        Effect::Member { member, kills, put } => {
            tag(if *put { tag::MEMBER_PUT } else { tag::MEMBER_KILL });
            codec::put_bytes(out, member.as_str().as_bytes());
            codec::put_list(out, kills);
        }
        Effect::Reset { seen } => {
            tag(tag::RESET);
            codec::put_list(out, seen);
        }
        Effect::Increment { birth, previous, total, amount } => {
            tag(tag::INCREMENT);
            codec::put_varint(out, *birth);
            codec::put_varint(out, *previous);
            codec::put_signed(out, *total);
            codec::put_signed(out, *amount);
        }
    }
}

/// Reads an effect, given the path of the one before it.
fn decode_effect(at: &Path, hlc: Hlc, input: &mut Reader<'_>) -> Result<(Path, Effect), DecodeError> {
    let tag = input.u8()?;
    let path = match tag & tag::ELSEWHERE {
        0 => at.clone(),
        _ => match Path::decode(input)? {
            path if path > *at => path,
            _ => return Err(DecodeError::Invalid("delta: each cell once, in order")),
        },
    };
    let effect = match tag & !tag::ELSEWHERE {
        tag::HEAD_KILL => Effect::Head { kills: input.list(DOT_BYTES_MIN)?, put: None },
        tag::HEAD_PUT => {
            Effect::Head { kills: input.list(DOT_BYTES_MIN)?, put: Some(decode_head(hlc, input)?) }
        }
        tag @ (tag::CLEAR | tag::REMOVE) => match (input.u8()?, tag) {
            (0, tag::CLEAR) => Effect::Clear { seen: None },
            (0, _) => Effect::Remove { seen: None },
            (tag, _) => return Err(DecodeError::Tag { what: "clear", tag }),
        },
        tag::CLEAR_SEEN => Effect::Clear { seen: Some(Seen::all_of(&VersionVector::decode(input)?)) },
        tag::CLEAR_SINGLES => match Seen::decode(input)? {
            seen if seen.dots().is_empty() => return Err(DecodeError::Invalid("clear: no single delta")),
            seen => Effect::Clear { seen: Some(seen) },
        },
        tag::REMOVE_SEEN => Effect::Remove { seen: Some(Seen::decode(input)?) },
        kind @ (tag::MEMBER_KILL | tag::MEMBER_PUT) => {
            let member = Member::new(input.text()?).map_err(|_| DecodeError::Invalid("member"))?;
            Effect::Member { member, kills: input.list(DOT_BYTES_MIN)?, put: kind == tag::MEMBER_PUT }
        }
        tag::RESET => Effect::Reset { seen: input.list(SLOT_SEEN_BYTES_MIN)? },
        tag::INCREMENT => Effect::Increment {
            birth: input.varint()?,
            previous: input.varint()?,
            total: cell::total(input)?,
            amount: cell::total(input)?,
        },
        tag => return Err(DecodeError::Tag { what: "effect", tag }),
    };
    Ok((path, effect))
}

/// As [`Head::encode`], with a register's stamp as what it exceeds the delta's by: nearly always nothing.
fn encode_head(head: &Head, hlc: Hlc, out: &mut Vec<u8>) {
    head.key_type().encode(out);
    if let Head::Register(register) = head {
        codec::put_signed(out, i128::from(register.hlc.0) - i128::from(hlc.0));
    }
    head.encode_value(out);
}

fn decode_head(hlc: Hlc, input: &mut Reader<'_>) -> Result<Head, DecodeError> {
    let key_type = Type::decode(input)?;
    Head::decode_value(key_type, input, |input| {
        let stamp = i128::from(hlc.0).checked_add(input.signed()?).ok_or(DecodeError::Number)?;
        Ok(Hlc(u64::try_from(stamp).map_err(|_| DecodeError::Number)?))
    })
}
