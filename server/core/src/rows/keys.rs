//! Keys of rows. Big-endian numbers and an escaped key, so that rows sort like what they name.

use crate::cell::SlotId;
use crate::id::{Dot, OriginId, ShardId};
use crate::name::{Bucket, Key, Member};
use crate::path::{Field, Path, ROOT};
use crate::storage::{Space, StorageError};
use alloc::vec::Vec;

/// What follows a key in the rows of its slots, in those of its members; and in those of its fields: of their heads, slots and
/// members. There the path comes next.
pub(super) const SLOT_KIND: u8 = 1;
pub(super) const MEMBER_KIND: u8 = 2;
pub(super) const FIELD_HEAD_KIND: u8 = 3;
pub(super) const FIELD_SLOT_KIND: u8 = 4;
pub(super) const FIELD_MEMBER_KIND: u8 = 5;
pub(super) const FIELD_KINDS: [u8; 3] = [FIELD_HEAD_KIND, FIELD_SLOT_KIND, FIELD_MEMBER_KIND];
/// Behind a field's name and a zero: the path ends here, or goes on. What is of a field itself comes before its fields.
pub(super) const PATH_END: u8 = 1;
pub(super) const PATH_ON: u8 = 2;

/// What the rows of [`Space::Meta`](crate::storage::Space::Meta) begin with.
pub(super) const META_FORMAT: u8 = 1;
pub(super) const META_ORIGIN: u8 = 2;
pub(super) const META_STRETCH: u8 = 3;
pub(super) const META_APPLIED: u8 = 4;
pub(super) const META_STANDING: u8 = 5;
pub(super) const META_TREE: u8 = 6;
pub(super) const META_MASK: u8 = 7;

/// What stands behind the shard in the rows of [`Space::Stage`](crate::storage::Space::Stage).
pub(super) const STAGED: u8 = 1;
pub(super) const HELD: u8 = 2;

/// Bytes of the key of a row of the log.
pub(super) const LOG_ROW_BYTES: usize = 18;

/// Names a key within a node, or a field of it: its shard, bucket, key and path.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The shard, by hash of the next two.
    pub shard: ShardId,
    /// The bucket.
    pub bucket: &'a Bucket,
    /// The key.
    pub key: &'a Key,
    /// The way to the field; empty for the key itself.
    pub path: &'a Path,
}

impl<'a> Place<'a> {
    /// A key.
    pub fn key(shard: ShardId, bucket: &'a Bucket, key: &'a Key) -> Self {
        Place { shard, bucket, key, path: &ROOT }
    }

    /// A field of the same key, or the key itself.
    pub fn at<'b>(self, path: &'b Path) -> Place<'b>
    where
        'a: 'b,
    {
        Place { path, ..self }
    }

    fn bucket_prefix(self) -> Vec<u8> {
        let mut row = Vec::with_capacity(32 + self.key.as_bytes().len());
        put_bucket(&mut row, self.shard, self.bucket);
        row
    }

    /// The row of the head.
    pub(super) fn head(self) -> (Space, Vec<u8>) {
        if !self.path.is_root() {
            return (Space::Cell, self.parts(FIELD_HEAD_KIND));
        }
        let mut row = self.bucket_prefix();
        row.extend_from_slice(self.key.as_bytes());
        (Space::Head, row)
    }

    /// What the rows of all parts of the key begin with. What follows is the kind, or `FF`: then it is another key's.
    pub(super) fn all_parts(self) -> Vec<u8> {
        let mut row = self.bucket_prefix();
        put_escaped(&mut row, self.key.as_bytes());
        row
    }

    /// What the rows of one kind of the key begin with; for a field, of that field itself.
    fn parts(self, kind: u8) -> Vec<u8> {
        let mut row = self.all_parts();
        row.push(kind);
        if !self.path.is_root() {
            put_path(&mut row, self.path);
            row.push(PATH_END);
        }
        row
    }

    fn slot_kind(self) -> u8 {
        if self.path.is_root() { SLOT_KIND } else { FIELD_SLOT_KIND }
    }

    fn member_kind(self) -> u8 {
        if self.path.is_root() { MEMBER_KIND } else { FIELD_MEMBER_KIND }
    }

    /// What the rows of the slots begin with.
    pub(super) fn slots(self) -> Vec<u8> {
        self.parts(self.slot_kind())
    }

    /// What the rows of the set's members begin with.
    pub(crate) fn members(self) -> Vec<u8> {
        self.parts(self.member_kind())
    }

    /// The row of a member.
    pub(super) fn member(self, member: &Member) -> Vec<u8> {
        let mut row = self.members();
        row.extend_from_slice(member.as_str().as_bytes());
        row
    }

    /// The row of a slot.
    pub(super) fn slot(self, id: SlotId) -> Vec<u8> {
        let mut row = self.slots();
        row.extend_from_slice(&id.origin.0.to_be_bytes());
        row.extend_from_slice(&id.birth.to_be_bytes());
        row
    }

    /// What the rows of one kind begin with, of a field and of those in it; of the key itself, of all its fields. What follows is
    /// [`PATH_END`], [`PATH_ON`], or `FF`: then it is another field's.
    pub(super) fn below(self, kind: u8) -> Vec<u8> {
        let mut row = self.all_parts();
        row.push(kind);
        put_path(&mut row, self.path);
        row
    }

    /// What the rows of one kind begin with, of the fields in it.
    pub(super) fn fields(self, kind: u8) -> Vec<u8> {
        let mut row = self.below(kind);
        if !self.path.is_root() {
            row.push(PATH_ON);
        }
        row
    }

    /// What the rows of heads and members begin with that are of a field or of those in it; of the key itself, of all its fields.
    pub(crate) fn subtree(self) -> Vec<Vec<u8>> {
        let kinds = [FIELD_HEAD_KIND, FIELD_MEMBER_KIND].map(|kind| self.below(kind));
        if self.path.is_root() {
            return kinds.into();
        }
        let mut prefixes = Vec::new();
        for below in kinds {
            for mark in [PATH_END, PATH_ON] {
                let mut prefix = below.clone();
                prefix.push(mark);
                prefixes.push(prefix);
            }
        }
        prefixes
    }
}

fn put_bucket(row: &mut Vec<u8>, shard: ShardId, bucket: &Bucket) {
    row.extend_from_slice(&shard.0.to_be_bytes());
    row.extend_from_slice(bucket.as_str().as_bytes());
    row.push(0);
}

/// Writes a name so that rows sort like names and its end can be found: `00` as `00 FF`, and a `00` behind it.
fn put_escaped(row: &mut Vec<u8>, name: &[u8]) {
    for byte in name {
        row.push(*byte);
        if *byte == 0 {
            row.push(0xff);
        }
    }
    row.push(0);
}

/// A name as it stands in rows, with its end.
pub(super) fn escaped(name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    put_escaped(&mut escaped, name);
    escaped
}

/// The escaped name at the front of what stands in a row, with its end.
pub(super) fn escaped_name(rest: &[u8]) -> Option<&[u8]> {
    let (_, behind) = split_escaped(rest)?;
    rest.get(..rest.len() - behind.len())
}

/// The field of an escaped name.
pub(super) fn unescaped(name: &[u8]) -> Option<Field> {
    let (name, _) = split_escaped(name)?;
    Field::new(core::str::from_utf8(&name).ok()?).ok()
}

/// Writes a path up to the zero behind its last field.
fn put_path(row: &mut Vec<u8>, path: &Path) {
    for (place, field) in path.fields().iter().enumerate() {
        if place > 0 {
            row.push(PATH_ON);
        }
        put_escaped(row, field.as_str().as_bytes());
    }
}

/// What the rows of the heads of a bucket's keys in a shard begin with. The key follows.
pub(crate) fn heads(shard: ShardId, bucket: &Bucket) -> Vec<u8> {
    [&shard.0.to_be_bytes()[..], bucket.as_str().as_bytes(), &[0]].concat()
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

/// The row of a mask.
pub(super) fn mask_row(shard: ShardId, dot: Dot, place: u32) -> Vec<u8> {
    let mut row = shard_row(META_MASK, shard);
    row.extend_from_slice(&dot.origin.0.to_be_bytes());
    row.extend_from_slice(&dot.seq.to_be_bytes());
    row.extend_from_slice(&place.to_be_bytes());
    row
}

/// The shard of a row that is damaged, where its key begins with it.
pub(crate) fn shard_of(error: &StorageError) -> Option<ShardId> {
    match error {
        StorageError::Corrupt { space: Space::Head | Space::Cell | Space::Log, key, .. } => {
            key.first_chunk().map(|shard| ShardId(u16::from_be_bytes(*shard)))
        }
        _ => None,
    }
}

/// What kind of part a row of [`Space::Cell`](crate::storage::Space::Cell) is: what stands behind its key's end.
pub(super) fn part_kind(row: &[u8]) -> Option<u8> {
    let bucket_end = row.iter().skip(2).position(|byte| *byte == 0).map(|place| place + 3);
    let mut rest = bucket_end.and_then(|end| row.get(end..)).unwrap_or_default();
    while let Some(place) = rest.iter().position(|byte| *byte == 0) {
        match rest.get(place + 1) {
            Some(0xff) => rest = &rest[place + 2..],
            kind => return kind.copied(),
        }
    }
    None
}

/// Whether a row of [`Space::Cell`](crate::storage::Space::Cell) is a slot.
pub(super) fn is_slot(row: &[u8]) -> bool {
    matches!(part_kind(row), Some(SLOT_KIND | FIELD_SLOT_KIND))
}

/// Whether a row of [`Space::Cell`](crate::storage::Space::Cell) is the head of a field.
pub(super) fn is_field_head(row: &[u8]) -> bool {
    part_kind(row) == Some(FIELD_HEAD_KIND)
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
    let bucket = Bucket::stored(core::str::from_utf8(&rest[..end]).ok()?).ok()?;
    let rest = &rest[end + 1..];
    let key = match space {
        Space::Head => rest.to_vec(),
        Space::Cell => {
            let (key, part) = split_escaped(rest)?;
            let (kind, part) = part.split_first()?;
            let part = match *kind {
                SLOT_KIND | MEMBER_KIND => part,
                FIELD_HEAD_KIND | FIELD_SLOT_KIND | FIELD_MEMBER_KIND => split_path(part)?.1,
                _ => return None,
            };
            match *kind {
                SLOT_KIND | FIELD_SLOT_KIND if part.len() == 16 => {}
                MEMBER_KIND | FIELD_MEMBER_KIND => drop(Member::new(core::str::from_utf8(part).ok()?).ok()?),
                FIELD_HEAD_KIND if part.is_empty() => {}
                _ => return None,
            }
            key
        }
        _ => return None,
    };
    Some((ShardId(u16::from_be_bytes(*shard)), bucket, Key::new(&key).ok()?))
}

/// Takes a path off the front of what follows the kind in a row of a field; what follows its end.
pub(super) fn split_path(mut rest: &[u8]) -> Option<(Path, &[u8])> {
    let mut fields = Vec::new();
    loop {
        let (name, behind) = split_escaped(rest)?;
        fields.push(Field::new(core::str::from_utf8(&name).ok()?).ok()?);
        match behind.split_first()? {
            (&PATH_END, part) => return Some((Path::new(fields).ok()?, part)),
            (&PATH_ON, on) => rest = on,
            _ => return None,
        }
    }
}

/// Takes an escaped name off the front of a row; what follows its end.
fn split_escaped(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
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
        Place::key(ShardId(3), bucket, key)
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
            prop_assert_eq!(owner(Space::Head, &place(&bucket, &b).head().1), Some((ShardId(3), bucket.clone(), b.clone())));
            let slot = place(&bucket, &a).slot(SlotId { origin: OriginId(7), birth: 1 });
            prop_assert!(is_slot(&slot));
        }

        #[test]
        fn a_fields_rows_are_its_own(
            names in proptest::collection::vec("[ab\\x00]{1,3}", 1..4), other in proptest::collection::vec("[ab\\x00]{1,3}", 1..4),
        ) {
            let path = |names: &[alloc::string::String]| Path::new(names.iter().map(|name| Field::new(name).unwrap()).collect()).unwrap();
            let (path, other) = (path(&names), path(&other));
            let (bucket, key) = (Bucket::new("b").unwrap(), Key::new(b"k\0").unwrap());
            let (place, elsewhere) = (place(&bucket, &key).at(&path), place(&bucket, &key).at(&other));
            let member = place.member(&Member::new("m").unwrap());
            let slot = place.slot(SlotId { origin: OriginId(7), birth: 1 });
            for row in [&place.head().1, &member, &slot] {
                prop_assert_eq!(owner(Space::Cell, row), Some((ShardId(3), bucket.clone(), key.clone())));
                let part = &row[place.all_parts().len() + 1..];
                prop_assert_eq!(split_path(part).map(|(path, _)| path), Some(path.clone()));
            }
            prop_assert!(is_slot(&slot) && !is_slot(&member) && is_field_head(&place.head().1));
            let covers = |prefixes: Vec<Vec<u8>>, row: &[u8]| prefixes.iter().any(|prefix| row.starts_with(prefix));
            for row in [&place.head().1, &member] {
                prop_assert_eq!(covers(elsewhere.subtree(), row), other.leads_to(&path));
                prop_assert!(covers(place.at(&ROOT).subtree(), row));
            }
            prop_assert_eq!(member.starts_with(&elsewhere.members()), path == other);
        }

        #[test]
        fn heads_sort_like_their_keys(a in proptest::collection::vec(any::<u8>(), 1..8), b in proptest::collection::vec(any::<u8>(), 1..8)) {
            let bucket = Bucket::new("b").unwrap();
            let (ka, kb) = (Key::new(&a).unwrap(), Key::new(&b).unwrap());
            prop_assert_eq!(place(&bucket, &ka).head().1.cmp(&place(&bucket, &kb).head().1), a.cmp(&b));
        }
    }
}
