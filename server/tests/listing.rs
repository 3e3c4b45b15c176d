//! What a page of a listing costs at a million keys, on RocksDB: counted at its seam and by its own counters, never timed. With
//! `--nocapture` it prints the time too.

use meridian_core::id::{OriginId, RequestId};
use meridian_core::listing::{self, Position, Query, Replicas};
use meridian_core::masks::Masks;
use meridian_core::name::{Key, ShardCount};
use meridian_core::node::{Config, Input, Node, Now, Request};
use meridian_core::storage::{Batch, Read, Space, Storage, StorageError, Visit};
use meridian_core::version_vector::VersionVector;
use meridian_server::rocks::{Rocks, Snapshot};
use meridian_tests::lab::{bucket, put, write_of};
use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const KEYS: u32 = 1_000_000;
const SHARDS: ShardCount = ShardCount::DEFAULT;
const PAGE: usize = 100;
const CACHE_BYTES: usize = 128 << 20;
/// Most that a page may cost of RocksDB, of what the cheapest does: how many tables lie over each other differs from place to place.
const SPREAD_MAX: u64 = 2;

/// What was asked of the disk for a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    scans: usize,
    rows: usize,
    gets: usize,
}

/// A disk that counts what is asked.
struct Counted<'a>(&'a Snapshot, Cell<Cost>);

impl Counted<'_> {
    fn count(&self, counts: impl FnOnce(&mut Cost)) {
        let mut cost = self.1.get();
        counts(&mut cost);
        self.1.set(cost);
    }

    fn counted(
        &self,
        visit: Visit<'_>,
        scan: impl FnOnce(Visit<'_>) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.count(|cost| cost.scans += 1);
        scan(&mut |key, value| {
            self.count(|cost| cost.rows += 1);
            visit(key, value)
        })
    }
}

impl Read for Counted<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.count(|cost| cost.gets += 1);
        self.0.get(space, key)
    }

    fn scan(&self, space: Space, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        self.counted(visit, |visit| self.0.scan(space, prefix, from, visit))
    }

    fn scan_back(
        &self,
        space: Space,
        prefix: &[u8],
        before: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        self.counted(visit, |visit| self.0.scan_back(space, prefix, before, visit))
    }
}

fn nth_key(number: u32) -> Vec<u8> {
    format!("{:03}/{:07}", number / 10_000, number).into_bytes()
}

fn row(key: &[u8]) -> Vec<u8> {
    let bucket = bucket();
    let shard = SHARDS.shard_of(&bucket, &Key::new(key).expect("a good key"));
    [&shard.0.to_be_bytes(), bucket.as_str().as_bytes(), &[0], key].concat()
}

/// A database with a million keys, and the node that has it: it writes the first, the others are rows like that one.
fn filled(rocks: &mut Rocks) -> Node {
    let mut node = Node::open(Config::default(), rocks, OriginId(7)).expect("an empty disk opens");
    let request = Request {
        bucket: bucket(),
        key: Key::new(&nth_key(0)).expect("a good key"),
        operation: write_of(put("a value of some bytes"), None, None),
    };
    let now = Now { mono_ms: 1, wall_ms: 1_700_000_000_000 };
    node.step(now, rocks, Input::Request { id: RequestId(0), request }).expect("the disk does not fail");
    rocks.write(&node.end_turn().batch).expect("it is written");
    let first = row(&nth_key(0));
    let first = rocks.get(Space::Head, &first).expect("it can be read").expect("it was written");
    let body = &first[..first.len() - 4];
    let mut batch = Batch::default();
    for number in 0..KEYS {
        let row = row(&nth_key(number));
        let seed = xxh3_64_with_seed(&row, Space::Head as u64);
        let sum = (xxh3_64_with_seed(body, seed) as u32).to_be_bytes();
        batch.put(Space::Head, row, [body, &sum].concat());
        if batch.len() == 10_000 {
            rocks.write(&std::mem::take(&mut batch)).expect("it is written");
        }
    }
    rocks.write(&batch).expect("it is written");
    rocks.flush().expect("it is flushed");
    node
}

/// What RocksDB did for a page: seeks, steps and comparisons.
type Did = [u64; 3];

/// Lists a page that is not the last: what was asked of RocksDB, what RocksDB did, and how many milliseconds it took.
fn page(snapshot: &Snapshot, node: &Node, query: &Query) -> (Cost, Did, f64) {
    let vector = |shard| node.replica(shard).expect("a node holds every shard").vector();
    let vectors: Vec<&VersionVector> = SHARDS.shards().map(vector).collect();
    let masks = |shard| node.replica(shard).expect("a node holds every shard").masks();
    let masks: Vec<&Masks> = SHARDS.shards().map(masks).collect();
    let disk = Counted(snapshot, Cell::default());
    let replicas = Replicas { disk: &disk, origins: node.origins(), vectors: &vectors, masks: &masks };
    let mut perf = PerfContext::default();
    perf.reset();
    let (mut entries, began) = (0, Instant::now());
    let listed = listing::page(replicas, &bucket(), query, &mut |_| {
        entries += 1;
        ControlFlow::Continue(())
    });
    let ms = began.elapsed().as_secs_f64() * 1_000.0;
    assert!(listed.expect("the disk does not fail").is_some() && entries == query.limit, "{entries}");
    let sum = |metrics: &[PerfMetric]| metrics.iter().map(|metric| perf.metric(*metric)).sum();
    let did = [
        sum(&[PerfMetric::SeekOnMemtableCount, PerfMetric::SeekChildSeekCount]),
        sum(&[
            PerfMetric::NextOnMemtableCount,
            PerfMetric::PrevOnMemtableCount,
            PerfMetric::InternalKeySkippedCount,
        ]),
        sum(&[PerfMetric::UserKeyComparisonCount]),
    ];
    (disk.1.get(), did, ms)
}

#[test]
fn a_page_costs_the_same_wherever_it_begins_among_a_million_keys() {
    let place = tempfile::tempdir().expect("a directory for a test");
    let mut rocks = Rocks::open(place.path(), CACHE_BYTES).expect("it opens");
    let node = filled(&mut rocks);
    let (snapshot, shards) = (rocks.snapshot(), usize::from(SHARDS.get()));
    set_perf_stats(PerfStatsLevel::EnableCount);
    for reverse in [false, true] {
        let mut did: Vec<Did> = Vec::new();
        for number in [1_000, KEYS / 4, KEYS / 2, KEYS / 4 * 3, KEYS - 1_000] {
            let query =
                Query { limit: PAGE, reverse, after: Some(Position(nth_key(number))), ..Query::default() };
            let (cold, _, cold_ms) = page(&snapshot, &node, &query);
            let (cost, done, ms) = page(&snapshot, &node, &query);
            println!(
                "at {number}, reverse {reverse}: {cost:?}; seeks, steps, comparisons {done:?}; {ms:.2} ms, first {cold_ms:.2} ms"
            );
            assert_eq!(cold, cost, "the cache changes nothing of what is asked");
            assert_eq!(cost.gets, PAGE + 1, "the head of each entry, and of the next");
            assert!(
                (shards..shards + PAGE / 2).contains(&cost.scans),
                "a seek in each shard, in few two: {cost:?}"
            );
            assert!(cost.rows <= 2 * shards + PAGE, "a few rows of each shard: {cost:?}");
            did.push(done);
        }
        for counter in 0..3 {
            let figures = did.iter().map(|done| done[counter]);
            let (least, most) = (figures.clone().min().expect("pages"), figures.max().expect("pages"));
            assert!(most <= least * SPREAD_MAX, "{did:?}");
        }
    }
    let delimiter = Some(b"/".to_vec());
    let (cost, _, ms) = page(&snapshot, &node, &Query { limit: 99, delimiter, ..Query::default() });
    println!("99 prefixes of 10,000 keys each: {cost:?}; {ms:.2} ms");
    assert!(cost.scans <= shards * PAGE, "each is jumped over, by a seek in each shard: {cost:?}");
}
