//! Bytes: how values are written down, on disk, on the wire and in digests alike.
//!
//! Rules:
//! - Equal values give equal bytes, and every value has one encoding only: an overlong number, an unsorted list or
//!   trailing bytes are errors. (Deltas in a message are the exception: they may be written as what follows the one
//!   before, or in full.)
//! - Reading never panics, and never reserves memory for a count that the remaining bytes cannot hold.
//!
//! Numbers are LEB128 varints, but where bytes must sort like numbers: those are big-endian and of fixed width.

use crate::id::{Dot, OriginId};
use alloc::vec::Vec;

/// Why bytes were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("the bytes end too early")]
    Truncated,
    /// The value ends before the bytes do.
    #[error("there are bytes after the end")]
    Trailing,
    /// A number is too large for its type, or written longer than it needs.
    #[error("a number is too large or not in its shortest form")]
    Number,
    /// A tag names nothing that this version knows.
    #[error("unknown {what}: {tag}")]
    Tag {
        /// What was expected.
        what: &'static str,
        /// What stood there.
        tag: u8,
    },
    /// The value is well-formed and cannot be.
    #[error("invalid {0}")]
    Invalid(&'static str),
}

/// What can be written down and read back.
pub trait Encode: Sized {
    /// Appends the one encoding of this value.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads one value.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not the encoding of a value.
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// The encoding by itself.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Reads exactly one value.
    ///
    /// # Errors
    /// As [`Encode::decode`], and [`DecodeError::Trailing`].
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let value = Self::decode(&mut input)?;
        input.finish()?;
        Ok(value)
    }
}

/// Appends a number in 1 to 10 bytes.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number in 1 to 19 bytes: zigzag, so that small ones are short either way.
pub fn put_signed(out: &mut Vec<u8>, value: i128) {
    let mut rest = ((value << 1) ^ (value >> 127)) as u128;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends bytes behind their length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a list behind its length.
pub fn put_list<T: Encode>(out: &mut Vec<u8>, items: &[T]) {
    put_varint(out, items.len() as u64);
    for item in items {
        item.encode(out);
    }
}

/// A list for so many items as somebody says: exact where they are few, as they nearly always are, and growing with
/// what is really there where they are many.
pub(crate) fn list_for<T>(count: usize) -> Vec<T> {
    Vec::with_capacity(count.min(4))
}

/// Reads values from bytes that nobody vouches for.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Eight bytes, the highest first.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A number written by [`put_varint`].
    ///
    /// # Errors
    /// [`DecodeError::Number`] and [`DecodeError::Truncated`].
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        u64::try_from(self.leb128()?).map_err(|_| DecodeError::Number)
    }

    /// A number written by [`put_signed`].
    ///
    /// # Errors
    /// [`DecodeError::Number`] and [`DecodeError::Truncated`].
    pub fn signed(&mut self) -> Result<i128, DecodeError> {
        let zigzag = self.leb128()?;
        Ok((zigzag >> 1) as i128 ^ -((zigzag & 1) as i128))
    }

    fn leb128(&mut self) -> Result<u128, DecodeError> {
        let mut value = 0u128;
        for shift in (0..128).step_by(7) {
            let byte = self.u8()?;
            let bits = u128::from(byte & 0x7f);
            let lost = shift == 126 && bits > 3;
            let overlong = byte == 0 && shift > 0;
            if lost || overlong {
                return Err(DecodeError::Number);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Number)
    }

    /// A length that is followed by at least `item_bytes_min` bytes for each item.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when the bytes that are left cannot hold so many.
    pub fn count(&mut self, item_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::Number)?;
        match count.checked_mul(item_bytes_min) {
            Some(needed) if needed <= self.left() => Ok(count),
            _ => Err(DecodeError::Truncated),
        }
    }

    /// Bytes written by [`put_bytes`].
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] and [`DecodeError::Number`].
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let count = self.count(1)?;
        self.take(count)
    }

    /// Text written by [`put_bytes`].
    ///
    /// # Errors
    /// As [`Reader::bytes`], and [`DecodeError::Invalid`] when it is not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        core::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Invalid("UTF-8"))
    }

    /// A list written by [`put_list`], of items that each take at least `item_bytes_min` bytes.
    ///
    /// # Errors
    /// As the items' own.
    pub fn list<T: Encode>(&mut self, item_bytes_min: usize) -> Result<Vec<T>, DecodeError> {
        let count = self.count(item_bytes_min)?;
        let mut items = list_for(count);
        for _ in 0..count {
            items.push(T::decode(self)?);
        }
        Ok(items)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`].
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(DecodeError::Trailing),
        }
    }
}

/// Fewest bytes that a [`Dot`] takes.
pub const DOT_BYTES_MIN: usize = 9;

impl Encode for Dot {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.origin.0.to_be_bytes());
        put_varint(out, self.seq);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let origin = OriginId(input.u64()?);
        match input.varint()? {
            0 => Err(DecodeError::Invalid("dot: sequences begin at 1")),
            seq => Ok(Dot { origin, seq }),
        }
    }
}

/// Checks that a list is in strictly ascending order of `key`, so that it has one encoding only.
///
/// # Errors
/// [`DecodeError::Invalid`] with `what`.
pub fn ascending<T, K: Ord>(
    items: &[T],
    key: impl Fn(&T) -> K,
    what: &'static str,
) -> Result<(), DecodeError> {
    match items.is_sorted_by(|a, b| key(a) < key(b)) {
        true => Ok(()),
        false => Err(DecodeError::Invalid(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(unsigned: u64, signed: i128) {
            let mut out = Vec::new();
            put_varint(&mut out, unsigned);
            put_signed(&mut out, signed);
            let mut input = Reader::new(&out);
            prop_assert_eq!(input.varint(), Ok(unsigned));
            prop_assert_eq!(input.signed(), Ok(signed));
            prop_assert_eq!(input.finish(), Ok(()));
        }

        #[test]
        fn what_is_accepted_is_written_the_same_way(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let mut input = Reader::new(&bytes);
            if let Ok(value) = input.varint() {
                let mut again = Vec::new();
                put_varint(&mut again, value);
                prop_assert_eq!(&bytes[..again.len()], &again[..]);
            }
            let mut input = Reader::new(&bytes);
            if let Ok(value) = input.signed() {
                let mut again = Vec::new();
                put_signed(&mut again, value);
                prop_assert_eq!(&bytes[..again.len()], &again[..]);
            }
        }
    }

    #[test]
    fn overlong_and_oversized_numbers_are_refused() {
        assert_eq!(Reader::new(&[0x80, 0x00]).varint(), Err(DecodeError::Number));
        assert_eq!(Reader::new(&[0xff; 10]).varint(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[0xff; 19]).signed(), Err(DecodeError::Number));
        let two_to_the_64 = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02];
        assert_eq!(Reader::new(&two_to_the_64).varint(), Err(DecodeError::Number));
    }

    #[test]
    fn a_count_is_bounded_by_what_is_left() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        assert_eq!(Reader::new(&out).list::<Dot>(DOT_BYTES_MIN), Err(DecodeError::Truncated));
    }
}
