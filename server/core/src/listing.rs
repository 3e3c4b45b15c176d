//! Listing the keys of a bucket, page by page, in byte order or against it.
//!
//! The heads of a bucket lie in every shard, sorted within each. A page merges them:
//!
//! ```text
//!   shard 0   a . . . f . . . . . k       of each shard a chunk of a few keys is read; when its last key is used up,
//!   shard 1   . b . . . . . h . . .       the next chunk is
//!   shard 2   . . c d . . g . . . .
//!   page      a b c d   f g h             (limit 7)
//! ```
//!
//! Rules:
//! - A page costs a seek for each shard and what it lists, wherever it begins and however many keys there are.
//! - Keys that share what a delimiter ends are one entry, and the rest of them is jumped over, a seek for each shard that has
//!   some.
//! - A page says where it ended by a key, or what keys begin with. What is written behind that place before the next page is read is
//!   found there; what lies before it is not listed twice.
//! - A key is listed if it reads as anything.

use crate::cell::{Cell, Head, Type};
use crate::id::ShardId;
use crate::masks::{Masked, Masks};
use crate::name::{Bucket, ContentType, Key};
use crate::planted::Planted;
use crate::replica::read::{self, Found, ReadRequest};
use crate::rows::{self, Origins, Place};
use crate::storage::{Read, Space, StorageError, behind};
use crate::types::{Failure, Refusal, Value, View, multi, register};
use crate::version_vector::VersionVector;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// Most steps of a page beyond its entries: seeks after the first in each shard, and rows that are no key. Then it ends early.
const STEPS_MAX: usize = 32_768;
/// Steps that it takes to find out that a set has too many members for one answer.
const STEPS_OF_A_LARGE_SET: usize = 1_000;
/// Most bytes of registers that are read for a page, listed or not. Then it ends early.
const BYTES_MAX: usize = 64 << 20;
/// A chunk of a shard's keys ends when its rows have so many bytes: registers lie in them with their values.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// All replicas of a node as they were at one instant.
#[derive(Clone, Copy)]
pub struct Replicas<'a> {
    /// The rows.
    pub disk: &'a dyn Read,
    /// The numbers of origins in them.
    pub origins: &'a Origins,
    /// What each has applied, in the order of the shards.
    pub vectors: &'a [&'a VersionVector],
    /// What is removed of each and not swept yet, in the same order.
    pub masks: &'a [&'a Masks],
}

impl Replicas<'_> {
    /// The rows of a shard as they are to be read.
    fn masked(&self, shard: ShardId) -> Masked<'_> {
        let masks = self.masks[usize::from(shard.0)];
        Masked { disk: self.disk, origins: self.origins, masks, planted: Planted::default() }
    }
}

/// What is to be listed of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// What keys begin with.
    pub prefix: Vec<u8>,
    /// The first key that may be listed.
    pub start: Vec<u8>,
    /// The first key behind all that may be listed.
    pub end: Option<Vec<u8>>,
    /// Keys that are the same up to its first place behind the prefix are listed as one. Not empty.
    pub delimiter: Option<Vec<u8>>,
    /// From the last key to the first.
    pub reverse: bool,
    /// Values too.
    pub values: bool,
    /// Most entries of the page.
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<Position>,
}

/// Where a page ended. On the way up the first key that may come next; on the way down the first that may not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub Vec<u8>);

/// One entry of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A key.
    Key(Listed),
    /// What several keys begin with, up to a delimiter and with it.
    Prefix(Vec<u8>),
}

/// A key as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which key.
    pub key: Key,
    /// Its type; several where it was created under several at once, and then it has no value.
    pub types: Vec<Type>,
    /// Of a register, and of a multi-value register with one value: what its bytes are, and how many.
    pub register: Option<(ContentType, u64)>,
    /// What it reads as, if that was asked for.
    pub value: Shown,
}

/// What is shown of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nothing: it was not asked for, or the key has several types.
    Nothing,
    /// All of it.
    Value(Value),
    /// Nothing: it has more members than one answer may have.
    PageRequired,
}

/// Lists a page. `take` is given each entry and breaks the page off before one that does not fit. Where the page ended;
/// `None` if nothing is left to list.
///
/// # Errors
/// The disk's.
pub fn page(
    replicas: Replicas<'_>,
    bucket: &Bucket,
    query: &Query,
    take: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<Option<Position>, Failure> {
    let mut merge = Merge::open(replicas, bucket, query)?;
    let mut listed = 0;
    while let Some((bytes, shard)) = merge.first() {
        if merge.steps > STEPS_MAX || merge.bytes > BYTES_MAX {
            return Ok(merge.position());
        }
        let key = Key::new(&bytes).map_err(|_| merge.misnamed(shard, &bytes))?;
        let vector = replicas.vectors[usize::from(shard.0)];
        let place = Place::key(shard, bucket, &key);
        let masked = replicas.masked(shard);
        let view = View { disk: &masked, origins: replicas.origins, vector, place };
        let head = view.head()?;
        let types = match view.types(&head) {
            // All of it was removed, or nearly: what is left is told when that is swept.
            Err(StorageError::Unswept) => Vec::new(),
            types => types?,
        };
        if types.is_empty() {
            merge.steps += 1;
            merge.pass_key(bytes)?;
            continue;
        }
        if listed == query.limit {
            return Ok(merge.position());
        }
        let folded = query.folded(&bytes);
        let entry = match &folded {
            Some(common) => Entry::Prefix(common.clone()),
            None => {
                let register = one_value(&head, &types);
                merge.bytes += register.map_or(0, |(_, bytes)| bytes.len());
                let listed = show(view, types, register, query.values)?;
                if listed.value == Shown::PageRequired {
                    merge.steps += STEPS_OF_A_LARGE_SET;
                }
                Entry::Key(listed)
            }
        };
        if take(entry).is_break() {
            return Ok(merge.position());
        }
        listed += 1;
        match folded {
            Some(common) => merge.pass_prefix(common)?,
            None => merge.pass_key(bytes)?,
        }
    }
    Ok(None)
}

/// The only value of a register, or of a multi-value register that has one.
fn one_value<'a>(head: &'a Cell<Head>, types: &[Type]) -> Option<(&'a ContentType, &'a [u8])> {
    match types {
        [Type::Register] => {
            register::winner(head).map(|(_, register)| (&register.content_type, &register.value[..]))
        }
        [Type::Multi] => {
            let mut values = multi::values(head).map(|(_, blob)| (&blob.content_type, &blob.value[..]));
            values.next().filter(|_| values.next().is_none())
        }
        _ => None,
    }
}

/// A key as it is listed. A register's value is at hand already.
fn show(
    view: View<'_>,
    types: Vec<Type>,
    register: Option<(&ContentType, &[u8])>,
    values: bool,
) -> Result<Listed, Failure> {
    let value = match (&types[..], register) {
        ([_], Some((content_type, bytes))) if values => {
            Shown::Value(Value::Register { content_type: content_type.clone(), bytes: bytes.to_vec() })
        }
        ([is], None) if values => match read::read(view, &ReadRequest::whole(Some(*is))) {
            Ok(Found { value, .. }) => value.map_or(Shown::Nothing, Shown::Value),
            Err(Failure::Refused(Refusal::PageRequired { .. } | Refusal::Sweeping)) => Shown::PageRequired,
            Err(other) => return Err(other),
        },
        _ => Shown::Nothing,
    };
    let register = register.map(|(content_type, bytes)| (content_type.clone(), bytes.len() as u64));
    Ok(Listed { key: view.place.key.clone(), types, register, value })
}

impl Query {
    /// The first key that may be listed, and the first behind all that may.
    fn range(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let after = self.after.as_ref().map(|position| &position.0);
        let (from, upto) = if self.reverse { (None, after) } else { (after, None) };
        let first = [Some(&self.prefix), Some(&self.start), from].into_iter().flatten().max();
        let end = [behind(&self.prefix), self.end.clone(), upto.cloned()].into_iter().flatten().min();
        (first.cloned().unwrap_or_default(), end)
    }

    /// What a key begins with, up to the delimiter, if it has one behind the prefix.
    fn folded(&self, key: &[u8]) -> Option<Vec<u8>> {
        let delimiter = self.delimiter.as_ref()?;
        let rest = key.get(self.prefix.len()..)?;
        let place = rest.windows(delimiter.len()).position(|window| window == &delimiter[..])?;
        Some(key[..self.prefix.len() + place + delimiter.len()].to_vec())
    }
}

// -- the merge ------------------------------------------------------------------------------------------------------------

/// The keys of a bucket in order, as far as they were read of each shard.
struct Merge<'a> {
    disk: &'a dyn Read,
    bucket: &'a Bucket,
    prefix: &'a [u8],
    reverse: bool,
    /// The keys that are left: not below the first, and below the second.
    rest: (Vec<u8>, Option<Vec<u8>>),
    /// The next key of each shard that has one.
    fronts: BTreeSet<(Vec<u8>, ShardId)>,
    /// For each shard the keys of a chunk behind its front, and whether they are its last.
    chunks: Vec<(VecDeque<Vec<u8>>, bool)>,
    /// Most keys of a chunk.
    chunk_keys: usize,
    /// Steps so far, beyond the entries.
    steps: usize,
    /// Bytes of registers that were read so far.
    bytes: usize,
}

impl<'a> Merge<'a> {
    fn open(replicas: Replicas<'a>, bucket: &'a Bucket, query: &'a Query) -> Result<Self, StorageError> {
        let shards = replicas.vectors.len();
        let share = query.limit / shards;
        let mut merge = Merge {
            disk: replicas.disk,
            bucket,
            prefix: &query.prefix,
            reverse: query.reverse,
            rest: query.range(),
            fronts: BTreeSet::new(),
            chunks: alloc::vec![(VecDeque::new(), false); shards],
            // Keys are spread by chance: with somewhat more than its share few shards are read twice.
            chunk_keys: share + share.isqrt() + 2,
            steps: 0,
            bytes: 0,
        };
        for shard in 0..shards {
            merge.advance(ShardId(shard as u16))?;
        }
        merge.steps = 0;
        Ok(merge)
    }

    /// The next key of all, and its shard.
    fn first(&self) -> Option<(Vec<u8>, ShardId)> {
        let next = if self.reverse { self.fronts.last() } else { self.fronts.first() };
        next.cloned()
    }

    /// Where a page that ends now is to go on. Nothing is left behind a prefix of `ff` alone.
    fn position(&self) -> Option<Position> {
        match self.reverse {
            true => self.rest.1.clone(),
            false => Some(self.rest.0.clone()),
        }
        .or_else(|| self.first().map(|(key, _)| key_behind(key)))
        .map(Position)
    }

    /// The first key is dealt with.
    fn pass_key(&mut self, key: Vec<u8>) -> Result<(), StorageError> {
        match self.reverse {
            true => self.rest.1 = Some(key),
            false => self.rest.0 = key_behind(key),
        }
        self.pass(None)
    }

    /// All keys that begin so are dealt with.
    fn pass_prefix(&mut self, common: Vec<u8>) -> Result<(), StorageError> {
        match (self.reverse, behind(&common)) {
            (true, _) => self.rest.1 = Some(common.clone()),
            (false, Some(next)) => self.rest.0 = next,
            // No key follows, in any shard.
            (false, None) => self.chunks.iter_mut().for_each(|chunk| *chunk = (VecDeque::new(), true)),
        }
        self.pass(Some(&common))
    }

    /// Takes away the first key, or all fronts with a prefix, and puts the next keys of their shards in their place.
    fn pass(&mut self, common: Option<&[u8]>) -> Result<(), StorageError> {
        while let Some((key, shard)) = self.first() {
            if common.is_some_and(|common| !key.starts_with(common)) {
                break;
            }
            self.fronts.remove(&(key, shard));
            self.advance(shard)?;
            if common.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Gives a shard its next front, from its chunk or from the disk.
    fn advance(&mut self, shard: ShardId) -> Result<(), StorageError> {
        let (keys, is_last) = &mut self.chunks[usize::from(shard.0)];
        if keys.is_empty() && !*is_last {
            self.steps += 1;
            self.chunks[usize::from(shard.0)] = self.read_chunk(shard)?;
        }
        let (keys, _) = &mut self.chunks[usize::from(shard.0)];
        self.fronts.extend(keys.pop_front().map(|key| (key, shard)));
        Ok(())
    }

    /// The next keys of a shard, of those that are left, and whether there are no more.
    fn read_chunk(&self, shard: ShardId) -> Result<(VecDeque<Vec<u8>>, bool), StorageError> {
        let heads = rows::heads(shard, self.bucket);
        let row = |key: &[u8]| [&heads, key].concat();
        let (first, end) = (row(&self.rest.0), self.rest.1.as_deref().map(row));
        let (mut keys, mut bytes, mut more) = (VecDeque::new(), 0, false);
        let mut visit = |row: &[u8], value: &[u8]| {
            if row < &first[..] || end.as_deref().is_some_and(|end| row >= end) {
                return Ok(ControlFlow::Break(()));
            }
            keys.push_back(row[heads.len()..].to_vec());
            bytes += row.len() + value.len();
            more = keys.len() == self.chunk_keys || bytes >= CHUNK_BYTES_MAX;
            Ok(if more { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        let prefix = row(self.prefix);
        match self.reverse {
            true => self.disk.scan_back(Space::Head, &prefix, end.as_deref(), &mut visit)?,
            false => self.disk.scan(Space::Head, &prefix, &first, &mut visit)?,
        }
        Ok((keys, !more))
    }

    /// The error for a row that names no key.
    fn misnamed(&self, shard: ShardId, key: &[u8]) -> StorageError {
        let row = [&rows::heads(shard, self.bucket), key].concat();
        StorageError::Corrupt { space: Space::Head, key: row, why: "not a key" }
    }
}

/// The first key behind a key.
fn key_behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Cell, Head, Register};
    use crate::hlc::Hlc;
    use crate::id::{Dot, OriginId};
    use crate::merkle::{Changes, Counted, Seed};
    use crate::name::{Member, ShardCount};
    use crate::rows::Pen;
    use crate::storage::{Batch, MemStorage, Storage};
    use alloc::collections::{BTreeMap, BTreeSet};
    use alloc::vec;
    use proptest::collection::{btree_set, vec as vec_of};
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64_with_seed;

    const DOT: Dot = Dot { origin: OriginId(7), seq: 1 };

    /// Replicas of a few buckets, whose keys are counters without slots unless it is said otherwise.
    struct Bench {
        disk: MemStorage,
        origins: Origins,
        shards: ShardCount,
        bucket: Bucket,
        vector: VersionVector,
    }

    impl Bench {
        fn new(shards: u16) -> Bench {
            let (mut disk, mut batch, mut origins) =
                (MemStorage::default(), Batch::default(), Origins::default());
            origins.number(&mut batch, DOT.origin);
            disk.write(&batch).unwrap();
            let mut bench = Bench {
                disk,
                origins,
                shards: ShardCount::new(shards).unwrap(),
                bucket: Bucket::new("a").unwrap(),
                vector: [DOT].into_iter().collect(),
            };
            // What lies beside a bucket's keys is another's.
            for other in ["a-b", "b"] {
                bench.bucket = Bucket::new(other).unwrap();
                bench.put(b"other");
            }
            bench.bucket = Bucket::new("a").unwrap();
            bench
        }

        fn write(&mut self, key: &[u8], write: impl FnOnce(&mut Pen<'_>, Place<'_>)) {
            let (mut batch, mut changes) = (Batch::default(), Changes::new(Seed(0), Counted::All, None));
            let key = Key::new(key).unwrap();
            let shard = self.shards.shard_of(&self.bucket, &key);
            let mut pen = Pen { batch: &mut batch, origins: &self.origins, changes: &mut changes };
            write(&mut pen, Place::key(shard, &self.bucket, &key));
            self.disk.write(&batch).unwrap();
            self.disk.sync().unwrap();
        }

        fn put_head(&mut self, key: &[u8], heads: impl IntoIterator<Item = Head>) {
            let cell: Cell<Head> =
                (1..).zip(heads).map(|(seq, head)| (Dot::new(DOT.origin, seq), head)).collect();
            self.write(key, |pen, place| pen.head(place, None, &cell));
        }

        fn put(&mut self, key: &[u8]) {
            self.put_head(key, [Head::Counter]);
        }

        fn remove(&mut self, key: &[u8]) {
            self.put_head(key, []);
        }

        /// A head that says nothing: there may be a key.
        fn put_empty_head(&mut self, key: &[u8]) {
            self.write(key, |pen, place| {
                let row = [&rows::heads(place.shard, place.bucket), key].concat();
                let (body, seed) = ([0x10], xxh3_64_with_seed(&row, Space::Head as u64));
                let sum = (xxh3_64_with_seed(&body, seed) as u32).to_be_bytes();
                pen.batch.put(Space::Head, row, [&body[..], &sum].concat());
            });
        }

        fn page(&self, query: &Query, most: usize) -> (Vec<Entry>, Option<Position>) {
            let vectors = vec![&self.vector; usize::from(self.shards.get())];
            let none = Masks::default();
            let masks = vec![&none; vectors.len()];
            let (disk, origins) = (&self.disk, &self.origins);
            let replicas = Replicas { disk, origins, vectors: &vectors, masks: &masks };
            let mut entries = Vec::new();
            let next = page(replicas, &self.bucket, query, &mut |entry| {
                if entries.len() == most {
                    return ControlFlow::Break(());
                }
                entries.push(entry);
                ControlFlow::Continue(())
            });
            (entries, next.unwrap())
        }

        /// All pages; between them things happen.
        fn walk(&mut self, query: &Query, mut limit: impl FnMut(&mut Bench) -> (usize, usize)) -> Vec<Name> {
            let (mut query, mut all) = (query.clone(), Vec::new());
            loop {
                let (limit, most) = limit(self);
                query.limit = limit;
                let (entries, next) = self.page(&query, most);
                assert!(entries.len() <= limit);
                assert!(next.is_none() || entries.len() == limit.min(most), "it ends early for nothing");
                all.extend(entries.iter().map(name));
                assert!(all.len() < 1_000, "it goes in circles");
                match next {
                    Some(next) => query.after = Some(next),
                    None => return all,
                }
            }
        }
    }

    /// A key, or a prefix.
    type Name = (bool, Vec<u8>);

    fn name(entry: &Entry) -> Name {
        match entry {
            Entry::Key(listed) => (true, listed.key.as_bytes().to_vec()),
            Entry::Prefix(prefix) => (false, prefix.clone()),
        }
    }

    /// What is to be listed, found the plain way.
    fn expected(keys: &BTreeSet<Vec<u8>>, query: &Query) -> Vec<Name> {
        let mut names: Vec<Name> = Vec::new();
        for key in keys {
            let before_end = query.end.as_ref().is_none_or(|end| key < end);
            if !key.starts_with(&query.prefix) || *key < query.start || !before_end {
                continue;
            }
            let delimiter = query.delimiter.as_deref().unwrap_or_default();
            let end = (query.prefix.len()..=key.len())
                .find(|place| !delimiter.is_empty() && key[*place..].starts_with(delimiter));
            let name = match end {
                Some(place) => (false, key[..place + delimiter.len()].to_vec()),
                None => (true, key.clone()),
            };
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        if query.reverse {
            names.reverse();
        }
        names
    }

    fn bytes(len: core::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        vec_of(prop_oneof![Just(0), Just(b'/'), Just(b'a'), Just(b'b'), Just(0xfe), Just(0xff)], len)
    }

    fn keys() -> impl Strategy<Value = BTreeSet<Vec<u8>>> {
        btree_set(bytes(1..6), 0..60)
    }

    fn query() -> impl Strategy<Value = Query> {
        let delimiter = proptest::option::of(prop_oneof![
            Just(b"/".to_vec()),
            Just(b"a".to_vec()),
            Just(b"ab".to_vec()),
            Just(vec![0xff]),
            Just(vec![0]),
        ]);
        let range = (bytes(0..3), bytes(0..3), proptest::option::of(bytes(1..4)));
        (range, delimiter, any::<bool>()).prop_map(|((prefix, start, end), delimiter, reverse)| Query {
            prefix,
            start,
            end,
            delimiter,
            reverse,
            ..Query::default()
        })
    }

    fn shards() -> impl Strategy<Value = u16> {
        prop_oneof![Just(1), Just(4), Just(256)]
    }

    proptest! {
        #[test]
        fn all_pages_together_are_the_sorted_list(keys in keys(), query in query(), shards in shards(), limits in vec_of((1..20usize, 1..20usize), 1..8)) {
            let mut bench = Bench::new(shards);
            keys.iter().for_each(|key| bench.put(key));
            let mut limits = limits.iter().copied().cycle();
            let found = bench.walk(&query, |_| limits.next().unwrap());
            prop_assert_eq!(found, expected(&keys, &query));
        }

        #[test]
        fn a_key_that_nobody_touches_is_listed_once_whatever_changes_meanwhile(keys in keys(), touched in keys(), query in query(), shards in shards(), changes in vec_of((any::<bool>(), 0..60usize), 0..60)) {
            let mut bench = Bench::new(shards);
            keys.iter().for_each(|key| bench.put(key));
            let untouched: BTreeSet<Vec<u8>> = keys.difference(&touched).cloned().collect();
            let all: BTreeSet<Vec<u8>> = keys.union(&touched).cloned().collect();
            let mut changes = changes.chunks(3);
            let found = bench.walk(&query, |bench| {
                for (adds, which) in changes.next().unwrap_or_default() {
                    match touched.iter().nth(*which) {
                        Some(key) if *adds => bench.put(key),
                        Some(key) => bench.remove(key),
                        None => {}
                    }
                }
                (3, 3)
            });
            let (least, most) = (expected(&untouched, &query), expected(&all, &query));
            let place = |name: &Name| most.iter().position(|other| other == name);
            prop_assert!(found.iter().all(|name| place(name).is_some()), "only what was there at some time");
            prop_assert!(found.is_sorted_by_key(place) && found.iter().collect::<BTreeSet<_>>().len() == found.len(), "in order, once");
            prop_assert!(least.iter().all(|name| found.contains(name)), "all that was there at all times");
        }
    }

    fn listed(entry: &Entry) -> &Listed {
        match entry {
            Entry::Key(listed) => listed,
            Entry::Prefix(prefix) => panic!("{prefix:?}"),
        }
    }

    fn register(hlc: u64, value: &[u8]) -> Head {
        let content_type = ContentType::new("text/plain").unwrap();
        Head::Register(Register { hlc: Hlc(hlc), content_type, value: value.to_vec() })
    }

    #[test]
    fn a_key_is_listed_with_its_type_and_value() {
        let mut bench = Bench::new(4);
        bench.put_head(b"both", [register(1, b"x"), Head::Counter]);
        bench.put(b"counter");
        bench.put_head(b"register", [register(2, b"newer"), register(1, b"old")]);
        bench.put_head(b"set", [Head::Set]);
        let add = |name: &str| {
            let member = Member::new(name).unwrap();
            let cell: Cell<()> = [(DOT, ())].into_iter().collect();
            (member, cell)
        };
        let (member, cell) = add("m");
        bench.write(b"set", |pen, place| pen.member(place, &member, None, &cell));
        let mut query = Query { limit: 9, values: true, ..Query::default() };
        let (with, _) = bench.page(&query, 9);
        query.values = false;
        let (without, _) = bench.page(&query, 9);
        let types: BTreeMap<&[u8], &[Type]> =
            with.iter().map(|entry| (listed(entry).key.as_bytes(), &listed(entry).types[..])).collect();
        assert_eq!(types[&b"both"[..]], [Type::Register, Type::Counter]);
        assert_eq!(types[&b"set"[..]], [Type::Set]);
        let text = ContentType::new("text/plain").unwrap();
        let shown: Vec<&Shown> = with.iter().map(|entry| &listed(entry).value).collect();
        let winner = Value::Register { content_type: text.clone(), bytes: b"newer".to_vec() };
        let values = [Value::Counter(0), winner, Value::Set(vec![member])].map(Shown::Value);
        assert_eq!(shown, [&Shown::Nothing, &values[0], &values[1], &values[2]]);
        assert_eq!(listed(&without[2]).register, Some((text, 5)), "without its value too");
        assert_eq!(listed(&with[0]).register, None, "a register among others is not told of");
        assert!(without.iter().all(|entry| listed(entry).value == Shown::Nothing));
    }

    #[test]
    fn a_head_that_says_nothing_is_a_key_if_there_is_something() {
        let mut bench = Bench::new(4);
        for key in ["a/1", "b/1", "b/2", "z"] {
            bench.put_empty_head(key.as_bytes());
        }
        let (member, cell) = (Member::new("m").unwrap(), [(DOT, ())].into_iter().collect::<Cell<()>>());
        bench.write(b"b/2", |pen, place| pen.member(place, &member, None, &cell));
        let query = Query { limit: 1, ..Query::default() };
        let (entries, next) = bench.page(&query, 9);
        assert_eq!(entries.iter().map(name).collect::<Vec<_>>(), [(true, b"b/2".to_vec())]);
        assert_eq!(next, None, "what follows is no key");
        assert_eq!(listed(&entries[0]).types, [Type::Set]);
        let folded = Query { delimiter: Some(b"/".to_vec()), ..query };
        let names: Vec<Name> = bench.page(&folded, 9).0.iter().map(name).collect();
        assert_eq!(names, [(false, b"b/".to_vec())], "nothing is under a/");
    }

    #[test]
    fn a_page_that_takes_too_many_steps_ends_early_and_the_next_goes_on() {
        let mut bench = Bench::new(1);
        for number in 0..=STEPS_MAX as u32 {
            bench.put_empty_head(&number.to_be_bytes());
        }
        bench.put(b"\xff");
        for reverse in [false, true] {
            let end = if reverse { b"\xfe".to_vec() } else { b"\xff\xff".to_vec() };
            let mut query = Query { limit: 1, reverse, end: Some(end), ..Query::default() };
            let (entries, next) = bench.page(&query, 9);
            assert!(entries.is_empty() && next.is_some());
            query.after = next;
            let (entries, next) = bench.page(&query, 9);
            assert_eq!((entries.len(), next), (usize::from(!reverse), None));
        }
    }

    #[test]
    fn a_page_that_reads_too_many_bytes_ends_early() {
        let mut bench = Bench::new(4);
        let value = vec![b'v'; 8 << 20];
        for number in 0..10 {
            bench.put_head(&[b'k', number], [register(1, &value)]);
        }
        let mut query = Query { limit: 100, ..Query::default() };
        let (first, next) = bench.page(&query, 99);
        query.after = next;
        let (second, next) = bench.page(&query, 99);
        assert_eq!((first.len(), second.len(), next), (9, 1, None));
    }

    #[test]
    fn a_damaged_head_is_an_error_and_never_left_out() {
        let mut bench = Bench::new(1);
        bench.put(b"a");
        bench.put(b"b");
        let row = [&rows::heads(ShardId(0), &bench.bucket)[..], b"b"].concat();
        bench.disk.damage(Space::Head, &row, |value| value[0] ^= 1);
        let query = Query { limit: 9, ..Query::default() };
        let (disk, origins, none) = (&bench.disk, &bench.origins, Masks::default());
        let replicas = Replicas { disk, origins, vectors: &[&bench.vector], masks: &[&none] };
        let failed = page(replicas, &bench.bucket, &query, &mut |_| ControlFlow::Continue(()));
        assert!(
            matches!(failed, Err(Failure::Storage(StorageError::Corrupt { key, .. })) if key == row),
            "not what is there"
        );
    }
}
