//! What one row holds: the smallest pieces that deltas change.
//!
//! A [`Cell`] is a sorted list of `(dot, payload)`, nearly always of length one. A dot is in it if some applied delta
//! put it there and none killed it. An empty cell is not stored: "covered by the version vector and not in the cell"
//! *is* the record of a deletion, so there are no tombstones.
//!
//! Three kinds of rows make a key, and each field of a map:
//! - its **head**, [`Cell<Head>`]: the type, and for a register, `multi`, flag, maximum or minimum the value itself;
//! - a set's **member**, [`Cell<()>`]: nothing but dots;
//! - a counter's **slot**, [`Slot`]: what one origin added, and how much of it was reset.

use crate::codec::{self, DecodeError, Encode, Reader};
use crate::hlc::Hlc;
use crate::id::{Dot, OriginId, Seq};
use crate::name::ContentType;
use alloc::vec::Vec;
use core::fmt;

/// The most bytes that a register's value can be set to allow.
pub const VALUE_BYTES_MAX: usize = 8 << 20;

/// What a key is. The numbers are the disk's and the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    /// The last write wins, by hybrid logical clock.
    Register = 1,
    /// A sum that can be reset, exactly.
    Counter = 2,
    /// A set of strings in which an add wins over a concurrent remove.
    Set = 3,
    /// A register that shows all writes of which none has seen the others.
    Multi = 4,
    /// On or off; an enable wins over a concurrent disable.
    Flag = 5,
    /// The highest number that was observed.
    Max = 6,
    /// The lowest number that was observed.
    Min = 7,
    /// Fields with values of any type, maps among them.
    Map = 8,
}

impl Type {
    /// All types.
    pub const ALL: [Type; 8] =
        [Type::Register, Type::Counter, Type::Set, Type::Multi, Type::Flag, Type::Max, Type::Min, Type::Map];

    /// The order in which the types of one field come to be read: where it has several, the first.
    pub const PRECEDENCE: [Type; 8] =
        [Type::Map, Type::Multi, Type::Register, Type::Set, Type::Counter, Type::Max, Type::Min, Type::Flag];

    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Type::Register => "register",
            Type::Counter => "counter",
            Type::Set => "set",
            Type::Multi => "multi",
            Type::Flag => "flag",
            Type::Max => "max",
            Type::Min => "min",
            Type::Map => "map",
        }
    }

    /// The type of this name.
    pub fn named(name: &str) -> Option<Type> {
        Type::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

/// One sibling of a key's head.
#[derive(Clone, PartialEq, Eq)]
pub enum Head {
    /// A register's value: one write.
    Register(Register),
    /// The key is a counter; its slots hold the sum.
    Counter,
    /// The key is a set; its members are rows of their own.
    Set,
    /// One of a multi-value register's values.
    Multi(Blob),
    /// A flag: whether this write enabled it.
    Flag(bool),
    /// A number that a maximum has observed.
    Max(i64),
    /// A number that a minimum has observed.
    Min(i64),
    /// The key is a map; its fields are rows of their own.
    Map,
}

impl Head {
    /// The type that this sibling gives the key.
    pub fn key_type(&self) -> Type {
        match self {
            Head::Register(_) => Type::Register,
            Head::Counter => Type::Counter,
            Head::Set => Type::Set,
            Head::Multi(_) => Type::Multi,
            Head::Flag(_) => Type::Flag,
            Head::Max(_) => Type::Max,
            Head::Min(_) => Type::Min,
            Head::Map => Type::Map,
        }
    }

    /// The bytes of a register or a multi-value register.
    pub(crate) fn bytes(&self) -> Option<(&ContentType, &[u8])> {
        match self {
            Head::Register(register) => Some((&register.content_type, &register.value)),
            Head::Multi(blob) => Some((&blob.content_type, &blob.value)),
            _ => None,
        }
    }

    /// All of it but the type and a register's stamp.
    pub(crate) fn encode_value(&self, out: &mut Vec<u8>) {
        match self {
            Head::Register(Register { content_type, value, .. })
            | Head::Multi(Blob { content_type, value }) => {
                content_type.encode(out);
                codec::put_bytes(out, value);
            }
            Head::Flag(enabled) => out.push(u8::from(*enabled)),
            Head::Max(number) | Head::Min(number) => codec::put_signed(out, (*number).into()),
            Head::Counter | Head::Set | Head::Map => {}
        }
    }

    /// Reads what [`Head::encode_value`] wrote. `stamp` reads a register's, where there is one.
    pub(crate) fn decode_value(
        key_type: Type,
        input: &mut Reader<'_>,
        stamp: impl FnOnce(&mut Reader<'_>) -> Result<Hlc, DecodeError>,
    ) -> Result<Head, DecodeError> {
        Ok(match key_type {
            Type::Register => {
                let hlc = stamp(input)?;
                let Blob { content_type, value } = Blob::decode(input)?;
                Head::Register(Register { hlc, content_type, value })
            }
            Type::Multi => Head::Multi(Blob::decode(input)?),
            Type::Flag => match input.u8()? {
                0 => Head::Flag(false),
                1 => Head::Flag(true),
                tag => return Err(DecodeError::Tag { what: "flag", tag }),
            },
            Type::Max => Head::Max(number(input)?),
            Type::Min => Head::Min(number(input)?),
            Type::Counter => Head::Counter,
            Type::Set => Head::Set,
            Type::Map => Head::Map,
        })
    }
}

fn number(input: &mut Reader<'_>) -> Result<i64, DecodeError> {
    i64::try_from(input.signed()?).map_err(|_| DecodeError::Number)
}

/// Bytes, and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// What the bytes are.
    pub content_type: ContentType,
    /// The bytes, as they were put.
    pub value: Vec<u8>,
}

/// One write to a register.
#[derive(Clone, PartialEq, Eq)]
pub struct Register {
    /// When its author wrote it; above every stamp that the author had in this cell.
    pub hlc: Hlc,
    /// What the bytes are.
    pub content_type: ContentType,
    /// The bytes, as they were put.
    pub value: Vec<u8>,
}

/// A sorted list of `(dot, payload)`: what is alive in one row.
#[derive(Clone, PartialEq, Eq)]
pub struct Cell<P> {
    siblings: Vec<(Dot, P)>,
}

impl<P> Cell<P> {
    /// The siblings, ascending by dot.
    pub fn siblings(&self) -> &[(Dot, P)] {
        &self.siblings
    }

    /// The dots, ascending.
    pub fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.siblings.iter().map(|(dot, _)| *dot)
    }

    /// Whether nothing is alive here.
    pub fn is_empty(&self) -> bool {
        self.siblings.is_empty()
    }

    /// Puts a sibling beside the others. A dot that is there already stays as it is.
    pub(crate) fn put(&mut self, dot: Dot, payload: P) {
        if let Err(place) = self.siblings.binary_search_by_key(&dot, |(dot, _)| *dot) {
            self.siblings.insert(place, (dot, payload));
        }
    }

    /// Keeps only the siblings for which `keep` holds.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Dot) -> bool) {
        self.siblings.retain(|(dot, _)| keep(*dot));
    }
}

impl<P> Default for Cell<P> {
    fn default() -> Self {
        Cell { siblings: Vec::new() }
    }
}

impl<P> FromIterator<(Dot, P)> for Cell<P> {
    fn from_iter<I: IntoIterator<Item = (Dot, P)>>(siblings: I) -> Self {
        let mut cell = Cell::default();
        for (dot, payload) in siblings {
            cell.put(dot, payload);
        }
        cell
    }
}

/// A point in the life of a slot: the sum of all that its origin added up to a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mark {
    /// The sequence of the last increment that is in the total; 0 before the first.
    pub seq: Seq,
    /// The sum of the slot's increments up to there, resets or not. Wide enough that no sum of i64 leaves it.
    pub total: i128,
}

/// Names a slot within its counter: the origin whose increments it holds, and the sequence of the first one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotId {
    /// Who increments here. Nobody else does.
    pub origin: OriginId,
    /// The sequence of the first increment.
    pub birth: Seq,
}

/// What one origin added to a counter, and up to where it was reset. Its value is `last − base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Slot {
    /// All up to here was taken away by resets.
    pub base: Mark,
    /// All up to here was added.
    pub last: Mark,
}

impl Slot {
    /// What the slot adds to the counter.
    pub fn value(self) -> i128 {
        self.last.total.saturating_sub(self.base.total)
    }

    /// What two replicas know of a slot, together: marks are absolute, so of each the later one.
    pub(crate) fn join(self, other: Slot) -> Slot {
        let later = |a: Mark, b: Mark| if a.seq < b.seq { b } else { a };
        Slot { base: later(self.base, other.base), last: later(self.last, other.last) }
    }

    /// Whether all of it was reset. Such a slot is a marker: nobody is shown it, and it stays until a delta folds it.
    pub fn is_spent(self) -> bool {
        self.base.seq >= self.last.seq
    }
}

/// How much of a slot somebody has seen. What a reset takes away is named like this, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotSeen {
    /// The slot.
    pub id: SlotId,
    /// Its last increment, as it was seen.
    pub last: Mark,
}

/// Fewest bytes of a [`SlotSeen`].
pub(crate) const SLOT_SEEN_BYTES_MIN: usize = 11;

impl Encode for Mark {
    fn encode(&self, out: &mut Vec<u8>) {
        codec::put_varint(out, self.seq);
        codec::put_signed(out, self.total);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Mark { seq: input.varint()?, total: total(input)? })
    }
}

/// The widest total: 2⁵⁷ increments of an i64 each. Sums of such totals, and differences, do not leave i128.
pub(crate) const TOTAL_MAX: i128 = 1 << 120;

/// Reads a total or an amount, and refuses one that no sequence of increments could have made.
pub(crate) fn total(input: &mut Reader<'_>) -> Result<i128, DecodeError> {
    match input.signed()? {
        total if (-TOTAL_MAX..=TOTAL_MAX).contains(&total) => Ok(total),
        _ => Err(DecodeError::Invalid("counter: no increments sum up to this")),
    }
}

impl Encode for Slot {
    fn encode(&self, out: &mut Vec<u8>) {
        self.base.encode(out);
        self.last.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Slot { base: Mark::decode(input)?, last: Mark::decode(input)? })
    }
}

impl Encode for SlotSeen {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.origin.0.to_be_bytes());
        codec::put_varint(out, self.id.birth);
        self.last.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = SlotId { origin: OriginId(input.u64()?), birth: input.varint()? };
        let last = Mark::decode(input)?;
        match (1..=last.seq).contains(&id.birth) {
            true => Ok(SlotSeen { id, last }),
            false => Err(DecodeError::Invalid("slot: born after its last increment")),
        }
    }
}

/// Content types that have a number, so that the usual ones take one byte. Append only: the numbers are the disk's.
const CONTENT_TYPES: [&str; 6] = [
    "text/plain; charset=utf-8",
    "application/json",
    "application/octet-stream",
    "text/plain",
    "text/html",
    "application/xml",
];

impl Encode for ContentType {
    fn encode(&self, out: &mut Vec<u8>) {
        match CONTENT_TYPES.iter().position(|known| *known == self.as_str()) {
            Some(place) => out.push(place as u8 + 1),
            None => {
                out.push(0);
                codec::put_bytes(out, self.as_str().as_bytes());
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = input.u8()?;
        let text = match number.checked_sub(1) {
            Some(place) => CONTENT_TYPES.get(usize::from(place)).copied(),
            None => Some(input.text()?).filter(|text| !CONTENT_TYPES.contains(text)),
        };
        let text = text.ok_or(DecodeError::Tag { what: "content type", tag: number })?;
        ContentType::new(text).map_err(|_| DecodeError::Invalid("content type"))
    }
}

impl Blob {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let content_type = ContentType::decode(input)?;
        match input.bytes()? {
            value if value.len() <= VALUE_BYTES_MAX => Ok(Blob { content_type, value: value.to_vec() }),
            _ => Err(DecodeError::Invalid("value: longer than any setting allows")),
        }
    }
}

impl Encode for Type {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        let found = Type::ALL.into_iter().find(|known| *known as u8 == tag);
        found.ok_or(DecodeError::Tag { what: "type", tag })
    }
}

impl Encode for Head {
    fn encode(&self, out: &mut Vec<u8>) {
        self.key_type().encode(out);
        if let Head::Register(register) = self {
            out.extend_from_slice(&register.hlc.0.to_be_bytes());
        }
        self.encode_value(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let key_type = Type::decode(input)?;
        Head::decode_value(key_type, input, |input| Ok(Hlc(input.u64()?)))
    }
}

/// The canonical form of a cell, with origins in full: what digests are made of.
impl<P: Encode> Encode for Cell<P> {
    fn encode(&self, out: &mut Vec<u8>) {
        codec::put_varint(out, self.siblings.len() as u64);
        for (dot, payload) in &self.siblings {
            dot.encode(out);
            payload.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut siblings = Vec::new();
        for _ in 0..input.count(codec::DOT_BYTES_MIN)? {
            siblings.push((Dot::decode(input)?, P::decode(input)?));
        }
        codec::ascending(&siblings, |(dot, _)| *dot, "cell: dots ascend")?;
        Ok(Cell { siblings })
    }
}

/// A member carries nothing but its dots.
impl Encode for () {
    fn encode(&self, _out: &mut Vec<u8>) {}

    fn decode(_input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(())
    }
}

impl<P: fmt::Debug> fmt::Debug for Cell<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.siblings.iter().map(|(dot, payload)| (dot, payload))).finish()
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Head::Register(r) => write!(f, "register {:?} at {:?}", r.value.escape_ascii(), r.hlc),
            Head::Multi(blob) => write!(f, "multi {:?}", blob.value.escape_ascii()),
            Head::Flag(enabled) => write!(f, "flag {enabled}"),
            Head::Max(number) | Head::Min(number) => write!(f, "{} {number}", self.key_type().as_str()),
            other => f.write_str(other.key_type().as_str()),
        }
    }
}

impl fmt::Debug for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.origin, self.birth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cell_is_sorted_by_dot_whatever_the_order_of_its_puts() {
        let dot = |origin, seq| Dot::new(OriginId(origin), seq);
        let one: Cell<u8> = [(dot(2, 1), 1), (dot(1, 9), 2), (dot(1, 3), 3)].into_iter().collect();
        let other: Cell<u8> = [(dot(1, 3), 3), (dot(2, 1), 1), (dot(1, 9), 2)].into_iter().collect();
        assert_eq!(one, other);
        assert!(one.dots().is_sorted());
    }

    #[test]
    fn usual_content_types_take_one_byte_and_have_one_encoding() {
        for text in CONTENT_TYPES {
            assert_eq!(ContentType::new(text).unwrap().to_bytes().len(), 1);
        }
        let mut written_out = alloc::vec![0];
        codec::put_bytes(&mut written_out, b"application/json");
        assert!(ContentType::from_bytes(&written_out).is_err());
    }

    proptest! {
        #[test]
        fn heads_come_back(
            hlc: u64, value in proptest::collection::vec(any::<u8>(), 0..300), text in "[ -~]{1,40}", number: i64,
        ) {
            let content_type = ContentType::new(&text).unwrap();
            let multi = Head::Multi(Blob { content_type: content_type.clone(), value: value.clone() });
            let register = Head::Register(Register { hlc: Hlc(hlc), content_type, value });
            let numbers = [Head::Max(number), Head::Min(number), Head::Flag(number > 0)];
            for head in [register, multi, Head::Counter, Head::Set, Head::Map].into_iter().chain(numbers) {
                prop_assert_eq!(Head::from_bytes(&head.to_bytes()), Ok(head));
            }
        }

        #[test]
        fn slots_come_back(base: u32, more: u32, total in any::<i64>(), taken in any::<i64>()) {
            let base_mark = Mark { seq: base.into(), total: taken.into() };
            let last = Mark { seq: u64::from(base) + u64::from(more), total: total.into() };
            let slot = Slot { base: base_mark, last };
            prop_assert_eq!(Slot::from_bytes(&slot.to_bytes()), Ok(slot));
        }
    }
}
