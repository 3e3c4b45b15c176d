//! Values: what messages, rows and tokens are made of.

use super::{Target, samples};
use meridian_core::cell::{Cell, Head, Mark, Slot, SlotSeen, Type};
use meridian_core::codec::{DecodeError, Encode, Reader, put_bytes, put_signed, put_varint};
use meridian_core::context::{Context, Seen};
use meridian_core::delta::{Delta, FOOTPRINT_PER_BYTE_MAX};
use meridian_core::delta_log::Rest;
use meridian_core::id::{Dot, ShardId};
use meridian_core::message::RepairTurn;
use meridian_core::name::{
    BUCKET_BYTES_MAX, Bucket, CONTENT_TYPE_BYTES_MAX, ContentType, KEY_BYTES_MAX, Key, MEMBER_BYTES_MAX,
    Member,
};
use meridian_core::path::{Field, Path};
use meridian_core::policy::{OPERATIONS, Policy};
use meridian_core::repair::{Answer, Ask, Position, RowSent};
use meridian_core::replica::inspect::Inspection;
use meridian_core::types::Value;
use meridian_core::version_vector::VersionVector;
use std::fmt::Debug;

/// The memory for lists of small things, each with a heap block of its own.
const LISTS: u64 = 64;
const DELTAS: u64 = FOOTPRINT_PER_BYTE_MAX as u64;

pub(super) const TARGETS: [Target; 19] = [
    target("delta", canonical::<Delta>, || bytes_of(samples::deltas()), DELTAS),
    target("version-vector", canonical::<VersionVector>, || bytes_of(samples::vectors()), LISTS),
    target("seen", canonical::<Seen>, || bytes_of(samples::seen()), LISTS),
    target("context", canonical::<Context>, || bytes_of(samples::contexts()), LISTS),
    target("path", canonical::<Path>, || bytes_of(samples::paths()), LISTS),
    target("content-type", canonical::<ContentType>, || bytes_of(samples::content_types()), LISTS),
    target("head", canonical::<Head>, || bytes_of(samples::heads()), LISTS),
    target("head-cell", canonical::<Cell<Head>>, || bytes_of(samples::head_cells()), LISTS),
    target("member-cell", canonical::<Cell<()>>, || bytes_of(samples::member_cells()), LISTS),
    target("slot", canonical::<Slot>, || bytes_of(samples::slots()), LISTS),
    target("slot-seen", canonical::<SlotSeen>, || bytes_of(samples::slots_seen()), LISTS),
    target("ask", canonical::<Ask>, || bytes_of(samples::asks()), LISTS),
    target("answer", canonical::<Answer>, || bytes_of(samples::answers()), LISTS),
    target("row-sent", row_sent, rows_sent, LISTS),
    target("inspection", canonical::<Inspection>, || bytes_of(samples::inspections()), LISTS),
    target("numbers", numbers, some_numbers, LISTS),
    target("small-values", small_values, some_small_values, LISTS),
    target("names", names, some_names, LISTS),
    target("policy", policy, some_policies, LISTS),
];

const fn target(
    name: &'static str,
    check: fn(&[u8]) -> bool,
    seeds: fn() -> Vec<Vec<u8>>,
    memory_per_byte: u64,
) -> Target {
    Target { name, check, seeds, memory_per_byte }
}

fn bytes_of<T: Encode>(values: Vec<T>) -> Vec<Vec<u8>> {
    values.iter().map(Encode::to_bytes).collect()
}

/// What is accepted is written the same way, and ends where the bytes end.
pub(super) fn canonical<T: Encode + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Some(value) = whole::<T>(bytes) else { return false };
    assert_eq!(value.to_bytes(), bytes, "another encoding of {value:?}");
    true
}

/// Reads a value from all of the bytes, if they are one; and then neither from more nor from less.
pub(super) fn whole<T: Encode + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let value = T::from_bytes(bytes).ok()?;
    let longer = [bytes, &[0]].concat();
    assert_eq!(T::from_bytes(&longer), Err(DecodeError::Trailing), "a byte more");
    if let Some((_, shorter)) = bytes.split_last() {
        assert!(T::from_bytes(shorter).is_err(), "a byte less");
    }
    Some(value)
}

fn row_sent(bytes: &[u8]) -> bool {
    let as_position = canonical::<Position>(bytes);
    canonical::<RowSent>(bytes) || as_position
}

fn rows_sent() -> Vec<Vec<u8>> {
    let sent = samples::positions().into_iter().map(|at| RowSent { at, canonical: vec![1, 2, 3] }).collect();
    [bytes_of::<RowSent>(sent), bytes_of(samples::positions())].concat()
}

/// The reader's own: numbers, bytes and text at the front of anything.
fn numbers(bytes: &[u8]) -> bool {
    let read = |bytes: usize, input: &Reader<'_>| bytes - input.left();
    let mut accepted = false;
    let mut same = |len: usize, written: Vec<u8>| {
        assert_eq!(bytes[..len], written[..]);
        accepted = true;
    };
    let mut input = Reader::new(bytes);
    if let Ok(number) = input.varint() {
        let mut written = Vec::new();
        put_varint(&mut written, number);
        same(read(bytes.len(), &input), written);
    }
    let mut input = Reader::new(bytes);
    if let Ok(number) = input.signed() {
        let mut written = Vec::new();
        put_signed(&mut written, number);
        same(read(bytes.len(), &input), written);
    }
    let mut input = Reader::new(bytes);
    if let Ok(body) = input.bytes() {
        let mut written = Vec::new();
        put_bytes(&mut written, body);
        same(read(bytes.len(), &input), written);
        assert_eq!(
            Reader::new(bytes).text().ok().map(str::as_bytes),
            str::from_utf8(body).ok().map(|_| body)
        );
    }
    let mut input = Reader::new(bytes);
    if let Ok(count) = input.count(3) {
        assert!(count * 3 <= input.left(), "{count} items of three bytes in {}", input.left());
    }
    accepted
}

fn some_numbers() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for number in [0, 1, 127, 128, 1 << 35, u64::MAX] {
        let mut unsigned = Vec::new();
        put_varint(&mut unsigned, number);
        let mut signed = Vec::new();
        put_signed(&mut signed, -i128::from(number) << 63);
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, "ü".repeat(number as usize % 100).as_bytes());
        seeds.extend([unsigned, signed, bytes]);
    }
    seeds
}

/// What is too small for a target of its own: all are tried on the same bytes.
fn small_values(bytes: &[u8]) -> bool {
    let accepted = [
        canonical::<Dot>(bytes),
        canonical::<ShardId>(bytes),
        canonical::<Type>(bytes),
        canonical::<Rest>(bytes),
        canonical::<Mark>(bytes),
        canonical::<RepairTurn>(bytes),
        canonical::<()>(bytes),
    ];
    accepted.contains(&true)
}

fn some_small_values() -> Vec<Vec<u8>> {
    let mut seeds = bytes_of(vec![ShardId(0), ShardId(u16::MAX)]);
    seeds.extend(bytes_of(samples::ORIGINS.map(|origin| Dot::new(origin, origin.0)).into()));
    seeds.extend(bytes_of(Type::ALL.into()));
    seeds.extend(bytes_of(vec![Rest::None, Rest::More, Rest::Truncated]));
    seeds.extend(bytes_of(samples::slots().iter().map(|slot| slot.last).collect()));
    seeds.extend(bytes_of(vec![
        RepairTurn { repair: 1, snapshot: 2, number: u64::MAX },
        RepairTurn { repair: 0, snapshot: 0, number: 0 },
    ]));
    seeds.push(().to_bytes());
    seeds
}

/// Names, as the edge reads them and as they stand in rows: what is accepted is kept as it is, and within its limit.
fn names(bytes: &[u8]) -> bool {
    let key = Key::new(bytes);
    assert!(key.as_ref().map_or(!(1..=KEY_BYTES_MAX).contains(&bytes.len()), |key| key.as_bytes() == bytes));
    let Ok(text) = str::from_utf8(bytes) else { return key.is_ok() };
    let kept = |name: &str, bytes_max: usize| assert!(name == text && (1..=bytes_max).contains(&name.len()));
    if let Ok(bucket) = Bucket::stored(text) {
        kept(bucket.as_str(), BUCKET_BYTES_MAX);
        assert!(Bucket::new(text) == Ok(bucket.clone()) || bucket == Bucket::policies());
        assert!(!text.contains('\0'), "a zero ends a bucket in rows");
    }
    if let Ok(member) = Member::new(text) {
        kept(member.as_str(), MEMBER_BYTES_MAX);
    }
    if let Ok(field) = Field::new(text) {
        kept(field.as_str(), MEMBER_BYTES_MAX);
    }
    if let Ok(content_type) = ContentType::new(text) {
        kept(content_type.as_str(), CONTENT_TYPE_BYTES_MAX);
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "a header can carry it");
    }
    if let Some(known) = Type::named(text) {
        assert_eq!(known.as_str(), text);
    }
    key.is_ok()
}

fn some_names() -> Vec<Vec<u8>> {
    let texts =
        ["b", "users.eu-1_x", "_buckets", "müller", "text/plain; charset=utf-8", "register", "\0\u{ff}"];
    let mut seeds: Vec<Vec<u8>> = texts.into_iter().map(|text| text.as_bytes().to_vec()).collect();
    seeds.extend([b"\xff\0".to_vec(), vec![b'k'; KEY_BYTES_MAX], vec![b'b'; BUCKET_BYTES_MAX]]);
    seeds
}

/// A policy, from the fields that any node may have written: of each operation the type that its field names, if it names one.
fn policy(bytes: &[u8]) -> bool {
    let mut chunks = bytes.split(|byte| *byte == b'\n');
    let content_type = ContentType::new("application/json").expect("a content type");
    let field = |(operation, _): &(&str, _)| {
        let bytes = chunks.next()?.to_vec();
        let name = Field::new(operation).expect("a name");
        Some((name, Value::Register { content_type: content_type.clone(), bytes }))
    };
    let mut fields: Vec<(Field, Value)> = OPERATIONS.iter().map_while(field).collect();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    let defaults = Field::new("defaults").expect("a name");
    let policy = Policy::of(&Value::Map(vec![(defaults, Value::Map(fields.clone()))]));
    for (operation, named) in &policy.defaults {
        let found = fields.iter().find(|(name, _)| name.as_str() == *operation).expect("a field of its own");
        let Value::Register { bytes, .. } = &found.1 else { panic!("all are registers") };
        assert_eq!(str::from_utf8(bytes).map(|text| text.trim_matches('"')), Ok(named.as_str()));
    }
    assert!(policy.defaults.is_sorted_by(|(a, _), (b, _)| a < b), "ascending by operation");
    !policy.defaults.is_empty()
}

fn some_policies() -> Vec<Vec<u8>> {
    vec![b"\"multi\"\n\"counter\"\n\"set\"".to_vec(), b"\"register\"\n\n\n\n\n\"flag\"\n\n\"min\"".to_vec()]
}
