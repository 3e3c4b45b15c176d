//! Salvage, from disks on which anything may lie: a list of rows, each with its checksum or without.
//!
//! A row is: its space and whether it is sealed (1), how long its name is (1), the name, how long its value is (1), and the value.

use super::{Target, samples};
use meridian_core::codec::Encode as _;
use meridian_core::delta::FOOTPRINT_PER_BYTE_MAX;
use meridian_core::id::{Dot, OriginId, ShardId};
use meridian_core::rows::again::sealed;
use meridian_core::salvage::Survey;
use meridian_core::storage::{Batch, MemStorage, Space, Storage as _};
use meridian_core::version_vector::VersionVector;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// A disk holds the rows, and the deltas that were given are remembered by name.
const MEMORY: u64 = 4 * FOOTPRINT_PER_BYTE_MAX as u64;
const SEALED: u8 = 0x80;
const SHARDS: u16 = 3;
/// The last delta that an origin has made. All up to the last one that is found are looked for.
const SEQ_MAX: u64 = 1 << 10;

pub(super) const TARGETS: [Target; 1] = [Target { name: "salvage", check, seeds, memory_per_byte: MEMORY }];

/// What is given is in an order in which it can be applied, and nothing is given twice.
fn check(bytes: &[u8]) -> bool {
    let Some(disk) = disk(bytes) else { return false };
    let mut survey = Survey::begin(&disk);
    for shard in 0..SHARDS {
        survey.look(&disk, ShardId(shard));
    }
    let (mut any, mut given) = (false, 0);
    for shard in 0..SHARDS {
        let (mut deltas, mut names) = (Vec::new(), BTreeSet::new());
        let done = survey.give(&disk, ShardId(shard), &VersionVector::default(), &mut |delta| {
            assert!(names.insert(delta.dot), "{:?} is given twice", delta.dot);
            deltas.push((delta.dot, delta.deps));
            ControlFlow::Continue(())
        });
        let ControlFlow::Continue(salvaged) = done else { panic!("nobody has broken off") };
        let mut applied = VersionVector::default();
        for (dot, deps) in &deltas[..salvaged.given as usize] {
            assert!(applied.includes(deps) && applied.advance(*dot).is_ok(), "{dot:?} comes too early");
        }
        assert_eq!((applied, salvaged.given + salvaged.waiting), (salvaged.vector, deltas.len() as u64));
        any |= !deltas.is_empty();
        given += deltas.len() as u64;
    }
    assert!(given <= survey.readable + bytes.len() as u64, "what was held is not counted");
    let _however_many = survey.unreadable(&disk);
    any
}

fn disk(mut bytes: &[u8]) -> Option<MemStorage> {
    let (mut disk, mut batch) = (MemStorage::default(), Batch::default());
    while let Some((first, rest)) = bytes.split_first() {
        let space = Space::numbered(first & !SEALED)?;
        let (name, rest) = piece(rest)?;
        let (value, rest) = piece(rest)?;
        // No origin has made so many deltas. (A name that is only damaged may say so.)
        let is_sealed = first & SEALED != 0;
        if is_sealed && name.last_chunk().is_some_and(|seq| u64::from_be_bytes(*seq) > SEQ_MAX) {
            return None;
        }
        let value = if is_sealed { sealed(space, name, value) } else { value.to_vec() };
        batch.put(space, name.to_vec(), value);
        bytes = rest;
    }
    disk.write(&batch).expect("memory can be written");
    Some(disk)
}

fn piece(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn put(out: &mut Vec<u8>, space: Space, name: &[u8], value: &[u8]) {
    out.push(space as u8 | SEALED);
    for piece in [name, value] {
        out.push(piece.len() as u8);
        out.extend_from_slice(piece);
    }
}

/// Two logs that know of each other, a delta that is held, and what is noted of them.
fn seeds() -> Vec<Vec<u8>> {
    let [first, second, _] = samples::ORIGINS;
    let delta = |origin, seq, deps: &[Dot]| {
        let mut delta = samples::deltas().swap_remove(4);
        (delta.dot, delta.deps) = (Dot::new(origin, seq), deps.iter().copied().collect());
        delta
    };
    let name = |dot: Dot| [dot.origin.0.to_be_bytes(), dot.seq.to_be_bytes()].concat();
    let mut rows = Vec::new();
    for number in 0..2u32 {
        let origin = samples::ORIGINS[number as usize];
        put(&mut rows, Space::Meta, &[&[2], &number.to_be_bytes()[..]].concat(), &origin.0.to_be_bytes());
    }
    let logs = [
        delta(first, 1, &[]),
        delta(first, 2, &[Dot::new(second, 1)]),
        delta(second, 1, &[Dot::new(first, 1)]),
        delta(second, 3, &[]),
    ];
    for delta in &logs {
        put(&mut rows, Space::Log, &[&[0, 1], &name(delta.dot)[..]].concat(), &delta.to_bytes());
    }
    let log_only = rows.clone();
    let held = delta(OriginId(5), 1, &[]);
    put(&mut rows, Space::Stage, &[&[0, 1, 2], &name(held.dot)[..]].concat(), &held.to_bytes());
    put(&mut rows, Space::Meta, &[&[3, 0, 1], &first.0.to_be_bytes()[..]].concat(), &[2]);
    put(&mut rows, Space::Meta, &[&[3, 0, 2], &first.0.to_be_bytes()[..]].concat(), &[9, 4]);
    put(&mut rows, Space::Meta, &[4], &[7]);
    vec![log_only, rows]
}
