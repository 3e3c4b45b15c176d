//! Keys of rows. Big-endian numbers and an escaped key, so that rows sort like what they name.

use crate::cell::SlotId;
use crate::id::{Dot, OriginId, ShardId};
use crate::name::{Bucket, Key, Member};
use crate::storage::Space;
use alloc::vec::Vec;

/// What follows a key in the rows of its slots, and in those of its members.
pub(super) const SLOT_KIND: u8 = 1;
pub(super) const MEMBER_KIND: u8 = 2;

/// What the rows of [`Space::Meta`](crate::storage::Space::Meta) begin with.
pub(super) const META_FORMAT: u8 = 1;
pub(super) const META_ORIGIN: u8 = 2;
pub(super) const META_STRETCH: u8 = 3;
pub(super) const META_APPLIED: u8 = 4;
pub(super) const META_STANDING: u8 = 5;
pub(super) const META_TREE: u8 = 6;

/// What stands behind the shard in the rows of [`Space::Stage`](crate::storage::Space::Stage).
pub(super) const STAGED: u8 = 1;
pub(super) const HELD: u8 = 2;

/// Bytes of the key of a row of the log.
pub(super) const LOG_ROW_BYTES: usize = 18;

/// Names a key within a node: its shard, bucket and key.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The shard, by hash of the other two.
    pub shard: ShardId,
    /// The bucket.
    pub bucket: &'a Bucket,
    /// The key.
    pub key: &'a Key,
}

impl Place<'_> {
    fn bucket_prefix(self) -> Vec<u8> {
        let mut row = Vec::with_capacity(32 + self.key.as_bytes().len());
        row.extend_from_slice(&self.shard.0.to_be_bytes());
        row.extend_from_slice(self.bucket.as_str().as_bytes());
        row.push(0);
        row
    }

    /// The row of the key's head.
    pub(super) fn head(self) -> Vec<u8> {
        let mut row = self.bucket_prefix();
        row.extend_from_slice(self.key.as_bytes());
        row
    }

    /// What the rows of all parts of the key begin with. What follows is the kind, or `FF`: then it is another key's.
    pub(super) fn all_parts(self) -> Vec<u8> {
        let mut row = self.bucket_prefix();
        for byte in self.key.as_bytes() {
            row.push(*byte);
            if *byte == 0 {
                row.push(0xff);
            }
        }
        row.push(0);
        row
    }

    fn parts(self, kind: u8) -> Vec<u8> {
        let mut row = self.all_parts();
        row.push(kind);
        row
    }

    /// What the rows of the key's slots begin with.
    pub(super) fn slots(self) -> Vec<u8> {
        self.parts(SLOT_KIND)
    }

    /// What the rows of the set's members begin with.
    pub(super) fn members(self) -> Vec<u8> {
        self.parts(MEMBER_KIND)
    }

    /// The row of a member.
    pub(super) fn member(self, member: &Member) -> Vec<u8> {
        let mut row = self.parts(MEMBER_KIND);
        row.extend_from_slice(member.as_str().as_bytes());
        row
    }

    /// The row of a slot.
    pub(super) fn slot(self, id: SlotId) -> Vec<u8> {
        let mut row = self.parts(SLOT_KIND);
        row.extend_from_slice(&id.origin.0.to_be_bytes());
        row.extend_from_slice(&id.birth.to_be_bytes());
        row
    }
}

/// The row of a delta in the log.
pub(super) fn log_row(shard: ShardId, dot: Dot) -> Vec<u8> {
    let mut row = Vec::with_capacity(LOG_ROW_BYTES);
    row.extend_from_slice(&shard.0.to_be_bytes());
    row.extend_from_slice(&dot.origin.0.to_be_bytes());
    row.extend_from_slice(&dot.seq.to_be_bytes());
    row
}

/// The delta that a row of the log holds.
pub(super) fn log_dot(row: &[u8]) -> Option<Dot> {
    let (origin, seq) = row.get(2..)?.split_first_chunk()?;
    Some(Dot::new(OriginId(u64::from_be_bytes(*origin)), u64::from_be_bytes(seq.try_into().ok()?)))
}

/// The row of a staged row.
pub(super) fn staged_row(shard: ShardId, space: Space, row: &[u8]) -> Vec<u8> {
    let mut staged = Vec::with_capacity(row.len() + 4);
    staged.extend_from_slice(&shard.0.to_be_bytes());
    staged.extend_from_slice(&[STAGED, space as u8]);
    staged.extend_from_slice(row);
    staged
}

/// The row of a delta that is held to be handed over.
pub(super) fn held_row(shard: ShardId, dot: Dot) -> Vec<u8> {
    let mut row = log_row(shard, dot);
    row.insert(2, HELD);
    row
}

/// The row of something that a shard has once.
pub(super) fn shard_row(kind: u8, shard: ShardId) -> Vec<u8> {
    let [high, low] = shard.0.to_be_bytes();
    alloc::vec![kind, high, low]
}

/// The row that notes the stretch of the log of an origin in a shard.
pub(super) fn stretch_row(shard: ShardId, origin: OriginId) -> Vec<u8> {
    let mut row = Vec::with_capacity(11);
    row.push(META_STRETCH);
    row.extend_from_slice(&shard.0.to_be_bytes());
    row.extend_from_slice(&origin.0.to_be_bytes());
    row
}

/// The row of an origin's number.
pub(super) fn origin_row(number: u32) -> Vec<u8> {
    let mut row = alloc::vec![META_ORIGIN];
    row.extend_from_slice(&number.to_be_bytes());
    row
}

/// Where a row's shard stands: the first two bytes of its key, but in the meta space.
pub(super) fn shard_prefix(shard: ShardId) -> [u8; 2] {
    shard.0.to_be_bytes()
}

/// Whether a row of [`Space::Cell`](crate::storage::Space::Cell) is a slot: what stands behind its key's end.
pub(super) fn is_slot(row: &[u8]) -> bool {
    let bucket_end = row.iter().skip(2).position(|byte| *byte == 0).map(|place| place + 3);
    let mut rest = bucket_end.and_then(|end| row.get(end..)).unwrap_or_default();
    while let Some(place) = rest.iter().position(|byte| *byte == 0) {
        match rest.get(place + 1) {
            Some(0xff) => rest = &rest[place + 2..],
            kind => return kind == Some(&SLOT_KIND),
        }
    }
    false
}

/// The slot that a row of slots holds: what stands at its end.
pub(super) fn slot_of(row: &[u8]) -> Option<SlotId> {
    let (_, id) = row.split_last_chunk::<16>()?;
    let (origin, birth) = id.split_first_chunk()?;
    let birth = u64::from_be_bytes(birth.try_into().ok()?);
    Some(SlotId { origin: OriginId(u64::from_be_bytes(*origin)), birth })
}

/// The shard, bucket and key to which a row of cells belongs; `None` where it is no such row.
pub(crate) fn owner(space: Space, row: &[u8]) -> Option<(ShardId, Bucket, Key)> {
    let (shard, rest) = row.split_first_chunk()?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let bucket = Bucket::new(core::str::from_utf8(&rest[..end]).ok()?).ok()?;
    let rest = &rest[end + 1..];
    let key = match space {
        Space::Head => rest.to_vec(),
        Space::Cell => {
            let (key, part) = split_key(rest)?;
            match part.split_first()? {
                (&SLOT_KIND, id) if id.len() == 16 => {}
                (&MEMBER_KIND, member) => drop(Member::new(core::str::from_utf8(member).ok()?).ok()?),
                _ => return None,
            }
            key
        }
        _ => return None,
    };
    Some((ShardId(u16::from_be_bytes(*shard)), bucket, Key::new(&key).ok()?))
}

/// Takes an escaped key off the front of a row; what follows its end.
fn split_key(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut key = Vec::new();
    loop {
        match rest {
            [0, 0xff, behind @ ..] => {
                key.push(0);
                rest = behind;
            }
            [0, part @ ..] => return Some((key, part)),
            [byte, behind @ ..] => {
                key.push(*byte);
                rest = behind;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place<'a>(bucket: &'a Bucket, key: &'a Key) -> Place<'a> {
        Place { shard: ShardId(3), bucket, key }
    }

    proptest! {
        #[test]
        fn no_keys_rows_lie_among_anothers(
            a in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), Just(0xff), any::<u8>()], 1..8),
            b in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), Just(0xff), any::<u8>()], 1..8),
            member in "[a-z]{1,5}",
        ) {
            prop_assume!(a != b);
            let bucket = Bucket::new("b").unwrap();
            let (a, b) = (Key::new(&a).unwrap(), Key::new(&b).unwrap());
            let row = place(&bucket, &a).member(&Member::new(&member).unwrap());
            prop_assert!(!row.starts_with(&place(&bucket, &b).members()));
            prop_assert!(!row.starts_with(&place(&bucket, &b).slots()));
            prop_assert!(!is_slot(&row));
            prop_assert_eq!(owner(Space::Cell, &row), Some((ShardId(3), bucket.clone(), a.clone())));
            prop_assert_eq!(owner(Space::Head, &place(&bucket, &b).head()), Some((ShardId(3), bucket.clone(), b.clone())));
            let slot = place(&bucket, &a).slot(SlotId { origin: OriginId(7), birth: 1 });
            prop_assert!(is_slot(&slot));
        }

        #[test]
        fn heads_sort_like_their_keys(a in proptest::collection::vec(any::<u8>(), 1..8), b in proptest::collection::vec(any::<u8>(), 1..8)) {
            let bucket = Bucket::new("b").unwrap();
            let (ka, kb) = (Key::new(&a).unwrap(), Key::new(&b).unwrap());
            prop_assert_eq!(place(&bucket, &ka).head().cmp(&place(&bucket, &kb).head()), a.cmp(&b));
        }
    }
}
