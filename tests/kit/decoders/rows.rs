//! Rows, a target for each kind: how long the rest of the name is (1 byte), the rest of the name, and the value without its
//! checksum, which is put there as the docs say. So what is read has passed the checksum, as what a bug or another version wrote.

use super::Target;
use super::samples::{self, ORIGINS};
use meridian_core::cell::Cell;
use meridian_core::codec::{Encode, put_bytes, put_varint};
use meridian_core::delta::{Delta, FOOTPRINT_PER_BYTE_MAX};
use meridian_core::rows::Origins;
use meridian_core::rows::again::{again, canonical_again, sealed};
use meridian_core::storage::{Batch, MemStorage, Space, Storage as _};
use std::sync::LazyLock;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Rows of a shard, a bucket and a key.
const PART: [&[u8]; 5] =
    [b"\0\x01b\0k\0\x01", b"\0\x01b\0k\0\x02", b"\0\x01b\0k\0\x03", b"\0\x01b\0k\0\x04", b"\0\x01b\0k\0\x05"];

/// A kind of row, what its name begins with, and examples.
struct Kind {
    space: Space,
    begins: &'static [u8],
    seeds: fn() -> Vec<Vec<u8>>,
}

const KINDS: [Kind; 16] = [
    Kind { space: Space::Head, begins: b"", seeds: heads },
    Kind { space: Space::Cell, begins: PART[0], seeds: || with_names(&[&slot_name()], slot_bodies()) },
    Kind { space: Space::Cell, begins: PART[1], seeds: || with_names(&[b"m"], member_bodies()) },
    Kind { space: Space::Cell, begins: PART[2], seeds: || with_names(&PATHS, head_bodies()) },
    Kind { space: Space::Cell, begins: PART[3], seeds: field_slots },
    Kind {
        space: Space::Cell,
        begins: PART[4],
        seeds: || with_names(&[b"a\0\x02b\0\xff\0\x01m"], member_bodies()),
    },
    Kind { space: Space::Log, begins: b"", seeds: log },
    Kind { space: Space::Meta, begins: b"\x01", seeds: || with_names(&[b""], vec![numbers(&[4, 256])]) },
    Kind { space: Space::Meta, begins: b"\x02", seeds: || with_names(&[&[0; 4]], vec![vec![7; 8]]) },
    Kind { space: Space::Meta, begins: b"\x03", seeds: stretches },
    Kind {
        space: Space::Meta,
        begins: b"\x04",
        seeds: || with_names(&[b""], vec![numbers(&[0]), numbers(&[300])]),
    },
    Kind { space: Space::Meta, begins: b"\x05", seeds: || with_names(&[b"\0\x01"], standings()) },
    Kind { space: Space::Meta, begins: b"\x06", seeds: || with_names(&[b"\0\x01"], trees()) },
    Kind { space: Space::Meta, begins: b"\x07", seeds: masks },
    Kind { space: Space::Stage, begins: b"\0\x01\x01", seeds: staged },
    Kind { space: Space::Stage, begins: b"\0\x01\x02", seeds: held },
];

/// A row is held by a disk, read, and written.
const MEMORY: u64 = 4 * FOOTPRINT_PER_BYTE_MAX as u64;

pub(super) const TARGETS: [Target; 19] = [
    target("row-head", check::<0>, seeds::<0>),
    target("row-slot", check::<1>, seeds::<1>),
    target("row-member", check::<2>, seeds::<2>),
    target("row-field-head", check::<3>, seeds::<3>),
    target("row-field-slot", check::<4>, seeds::<4>),
    target("row-field-member", check::<5>, seeds::<5>),
    target("row-delta", check::<6>, seeds::<6>),
    target("row-format", check::<7>, seeds::<7>),
    target("row-origin", check::<8>, seeds::<8>),
    target("row-stretch", check::<9>, seeds::<9>),
    target("row-applied", check::<10>, seeds::<10>),
    target("row-standing", check::<11>, seeds::<11>),
    target("row-tree", check::<12>, seeds::<12>),
    target("row-mask", check::<13>, seeds::<13>),
    target("row-staged", check::<14>, seeds::<14>),
    target("row-held", check::<15>, seeds::<15>),
    target("row-any", any, any_seeds),
    target("row-raw", raw, raw_seeds),
    target("row-canonical", canonical, canonical_seeds),
];

const fn target(name: &'static str, check: fn(&[u8]) -> bool, seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, check, seeds, memory_per_byte: MEMORY }
}

/// The targets that read the rows of a space.
pub fn targets_of(space: Space) -> &'static [&'static str] {
    match space {
        Space::Head => &["row-head"],
        Space::Cell => &["row-slot", "row-member", "row-field-head", "row-field-slot", "row-field-member"],
        Space::Log => &["row-delta"],
        Space::Meta => &[
            "row-format",
            "row-origin",
            "row-stretch",
            "row-applied",
            "row-standing",
            "row-tree",
            "row-mask",
        ],
        Space::Stage => &["row-staged", "row-held"],
    }
}

// -- what must hold ----------------------------------------------------------------------------------------------------

fn check<const KIND: usize>(bytes: &[u8]) -> bool {
    let Some((rest, body)) = parts(bytes) else { return false };
    let Kind { space, begins, .. } = KINDS[KIND];
    same(space, &[begins, rest].concat(), body)
}

/// Rows of any name in any space: the space's number comes first.
fn any(bytes: &[u8]) -> bool {
    let Some((space, name, body)) = placed(bytes) else { return false };
    same(space, name, body)
}

/// Values as they come, with a checksum or without.
fn raw(bytes: &[u8]) -> bool {
    let Some((space, name, value)) = placed(bytes) else { return false };
    let Ok(row) = again(&NUMBERED, space, name, value) else { return false };
    let (body, _) = value.split_last_chunk::<4>().expect("it ends in a checksum");
    assert_eq!((&row.0[..], &row.1[..], value), (name, value, &with_checksum(space, name, body)[..]));
    true
}

/// What a source of a repair sends of a row, and what is staged of it.
fn canonical(bytes: &[u8]) -> bool {
    let Some((space, name, body)) = placed(bytes) else { return false };
    match canonical_again(space, name, body) {
        Ok(Some(written)) => assert_eq!(written, body),
        Ok(None) | Err(_) => return false,
    }
    true
}

/// What is read is what was written, name and value.
fn same(space: Space, name: &[u8], body: &[u8]) -> bool {
    let value = with_checksum(space, name, body);
    let Ok(row) = again(&NUMBERED, space, name, &value) else { return false };
    assert_eq!(row, (name.to_vec(), value), "another row of {space:?}");
    true
}

/// As `docs/storage.md` has it.
fn with_checksum(space: Space, name: &[u8], body: &[u8]) -> Vec<u8> {
    let sum = xxh3_64_with_seed(body, xxh3_64_with_seed(name, space as u64)) as u32;
    [body, &sum.to_be_bytes()].concat()
}

static NUMBERED: LazyLock<Origins> = LazyLock::new(|| {
    let (mut disk, mut batch) = (MemStorage::default(), Batch::default());
    for (number, origin) in ORIGINS.iter().enumerate() {
        let name = [&[2], &(number as u32).to_be_bytes()[..]].concat();
        let value = sealed(Space::Meta, &name, &origin.0.to_be_bytes());
        batch.put(Space::Meta, name, value);
    }
    disk.write(&batch).expect("memory can be written");
    Origins::load(&disk).expect("what was written can be read")
});

fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn placed(bytes: &[u8]) -> Option<(Space, &[u8], &[u8])> {
    let (space, rest) = bytes.split_first()?;
    let (name, body) = parts(rest)?;
    Some((Space::numbered(*space)?, name, body))
}

// -- seeds -------------------------------------------------------------------------------------------------------------

const PATHS: [&[u8]; 2] = [b"a\0\x01", b"a\0\x02b\0\xff\0\x01"];

fn seeds<const KIND: usize>() -> Vec<Vec<u8>> {
    (KINDS[KIND].seeds)()
}

fn any_seeds() -> Vec<Vec<u8>> {
    let all = KINDS.iter().flat_map(|kind| (kind.seeds)().into_iter().map(move |seed| (kind, seed)));
    let placed = all.map(|(Kind { space, begins, .. }, seed)| {
        let (rest, body) = parts(&seed).expect("a row");
        [&[*space as u8], &named(&[begins, rest].concat(), body)[..]].concat()
    });
    placed.collect()
}

fn raw_seeds() -> Vec<Vec<u8>> {
    let sealed = |seed: Vec<u8>| {
        let (space, name, body) = placed(&seed).expect("a row");
        [&[space as u8], &named(name, &with_checksum(space, name, body))[..]].concat()
    };
    any_seeds().into_iter().map(sealed).collect()
}

fn canonical_seeds() -> Vec<Vec<u8>> {
    let of = |space: Space, name: &[u8], bodies: Vec<Vec<u8>>| {
        let with = |body: Vec<u8>| [&[space as u8], &named(name, &body)[..]].concat();
        bodies.into_iter().map(with).collect::<Vec<_>>()
    };
    let part = |kind: usize, rest: &[u8]| [PART[kind], rest].concat();
    let heads = || bytes_of(samples::head_cells().into_iter().skip(1));
    let members = bytes_of(samples::member_cells().into_iter().skip(1));
    [
        of(Space::Head, b"\0\x01b\0k", heads()),
        of(Space::Cell, &part(0, &slot_name()), slot_bodies()),
        of(Space::Cell, &part(1, b"m"), members),
        of(Space::Cell, &part(2, PATHS[0]), heads()),
    ]
    .concat()
}

fn bytes_of<T: Encode>(values: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    values.into_iter().map(|value| value.to_bytes()).collect()
}

fn named(name: &[u8], body: &[u8]) -> Vec<u8> {
    [&[name.len() as u8], name, body].concat()
}

fn with_names(names: &[&[u8]], bodies: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    names.iter().flat_map(|name| bodies.iter().map(|body| named(name, body))).collect()
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    numbers.iter().for_each(|number| put_varint(&mut out, *number));
    out
}

/// A cell as it lies in a row: with numbers for origins.
fn cell_body<P: Encode>(cell: &Cell<P>) -> Vec<u8> {
    let count = cell.siblings().len();
    let mut body = vec![1 << 4 | count.min(15) as u8];
    if count >= 15 {
        put_varint(&mut body, count as u64);
    }
    for (dot, payload) in cell.siblings() {
        let number = ORIGINS.iter().position(|origin| *origin == dot.origin).expect("all have numbers");
        body.extend(numbers(&[number as u64, dot.seq]));
        payload.encode(&mut body);
    }
    body
}

fn heads() -> Vec<Vec<u8>> {
    let mut bodies = head_bodies();
    bodies.push(vec![1 << 4]);
    with_names(&[b"\0\x01b\0k", b"\0\x01_buckets\0b", b"\0\x01b\0\0k"], bodies)
}

fn head_bodies() -> Vec<Vec<u8>> {
    samples::head_cells().iter().skip(1).map(cell_body).collect()
}

fn member_bodies() -> Vec<Vec<u8>> {
    samples::member_cells().iter().skip(1).map(cell_body).collect()
}

fn slot_name() -> Vec<u8> {
    [ORIGINS[1].0.to_be_bytes(), 300u64.to_be_bytes()].concat()
}

fn slot_bodies() -> Vec<Vec<u8>> {
    bytes_of(samples::slots())
}

fn field_slots() -> Vec<Vec<u8>> {
    let names = PATHS.map(|path| [path, &slot_name()].concat());
    with_names(&[&names[0], &names[1]], slot_bodies())
}

fn dot_name(delta: &Delta) -> Vec<u8> {
    [delta.dot.origin.0.to_be_bytes(), delta.dot.seq.to_be_bytes()].concat()
}

fn log() -> Vec<Vec<u8>> {
    let row = |delta: Delta| named(&[&[0, 1], &dot_name(&delta)[..]].concat(), &delta.to_bytes());
    samples::deltas().into_iter().map(row).collect()
}

fn held() -> Vec<Vec<u8>> {
    samples::deltas().into_iter().map(|delta| named(&dot_name(&delta), &delta.to_bytes())).collect()
}

fn stretches() -> Vec<Vec<u8>> {
    let name = [&[0, 1], &ORIGINS[0].0.to_be_bytes()[..]].concat();
    with_names(&[&name], vec![numbers(&[7]), numbers(&[300, 5])])
}

fn standings() -> Vec<Vec<u8>> {
    let [had, theirs] = [1, 2].map(|place| samples::vectors()[place].to_bytes());
    let alone = [1, 3, 5].map(|kind| [&[kind], &had[..]].concat());
    let both = [2, 4].map(|kind| [&[kind], &had[..], &theirs].concat());
    alone.into_iter().chain(both).collect()
}

fn trees() -> Vec<Vec<u8>> {
    let mut tree = [samples::vectors()[2].to_bytes(), numbers(&[300])].concat();
    let none = tree.clone();
    for (leaf, sum) in [(0u16, 1u128), (9, u128::MAX), (4095, 1 << 64)] {
        tree.extend(leaf.to_be_bytes());
        tree.extend(sum.to_be_bytes());
    }
    vec![none, tree]
}

fn masks() -> Vec<Vec<u8>> {
    let name = [&[0, 1], &dot_name(&samples::deltas()[0])[..], &[0, 0, 0, 2]].concat();
    let mut bodies = Vec::new();
    for (place, path) in samples::paths().iter().enumerate() {
        let mut body = Vec::new();
        put_bytes(&mut body, b"b");
        put_bytes(&mut body, b"k\0");
        path.encode(&mut body);
        body.push(place as u8 % 2);
        samples::seen()[place % 4].encode(&mut body);
        bodies.push(body);
    }
    with_names(&[&name], bodies)
}

fn staged() -> Vec<Vec<u8>> {
    let name = |space: Space, row: &[u8]| [&[space as u8], row].concat();
    let mut seeds = with_names(&[&name(Space::Head, b"\0\x01b\0k")], bytes_of(samples::head_cells()));
    seeds.extend(with_names(&[&name(Space::Cell, PART[1])], vec![Vec::new(), vec![1, 2]]));
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_as_documented() {
        assert_eq!(with_checksum(Space::Log, b"row", b"body"), sealed(Space::Log, b"row", b"body"));
    }

    #[test]
    fn canonical_bytes_of_values_are_those_of_rows() {
        assert!(super::super::values::canonical::<Cell<()>>(&samples::member_cells()[1].to_bytes()));
    }
}
