//! The bare disk: one writer that reads, writes and syncs rows like those of a PUT, without a core to decide.

use crate::rocks::Rocks;
use anyhow::{Context as _, ensure};
use meridian_core::storage::{Batch, Read as _, Space};
use serde::Serialize;
use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How often fdatasync is timed.
const SYNCS: usize = 400;
/// Bytes that are new at each of them.
const SYNC_BYTES: usize = 4096;
/// Bytes of a head's row and of a log's beyond the value: stamp, dot, content type, dependencies, checksum.
const HEAD_BYTES_MORE: usize = 40;
const LOG_BYTES_MORE: usize = 80;
/// The database's cache, as a node has it unless it is told.
const CACHE_BYTES: usize = 64 << 20;

/// What is written.
#[derive(Clone, Copy)]
pub(super) struct Work {
    /// Different keys.
    pub(super) keys: u64,
    /// Bytes of a value.
    pub(super) value_bytes: usize,
    /// Writes in one synced batch.
    pub(super) batch: u64,
    /// How long.
    pub(super) duration: Duration,
}

/// What came of it.
#[derive(Serialize)]
pub(super) struct Figures {
    /// Read-modify-writes a second, each durable.
    writes_per_second: f64,
    /// Synced batches a second.
    batches_per_second: f64,
    writes_in_a_batch: u64,
    /// The median time of fdatasync after 4 KiB were appended, in milliseconds.
    fdatasync_ms: f64,
    /// The time that one in a hundred exceeds.
    fdatasync_p99_ms: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures {
            writes_per_second,
            batches_per_second,
            writes_in_a_batch,
            fdatasync_ms,
            fdatasync_p99_ms,
        } = self;
        writeln!(
            f,
            "{writes_per_second:.0} durable writes/s in {batches_per_second:.0} batches/s of {writes_in_a_batch}"
        )?;
        write!(f, "fdatasync of 4 KiB: median {fdatasync_ms:.3} ms, p99 {fdatasync_p99_ms:.3} ms")
    }
}

/// Measures in a directory that must be new or empty.
pub(super) fn measure(directory: &Path, work: Work) -> anyhow::Result<Figures> {
    let words = || directory.display().to_string();
    fs::create_dir_all(directory).with_context(words)?;
    ensure!(
        fs::read_dir(directory).with_context(words)?.next().is_none(),
        "{} is not empty: name a new directory",
        words()
    );
    let syncs = time_syncs(&directory.join("fdatasync")).with_context(words)?;
    let rocks = Rocks::open(&directory.join("db"), CACHE_BYTES)?;
    let (batches, seconds) = write(&rocks, work)?;
    rocks.close()?;
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    Ok(Figures {
        writes_per_second: (batches * work.batch) as f64 / seconds,
        batches_per_second: batches as f64 / seconds,
        writes_in_a_batch: work.batch,
        fdatasync_ms: ms(syncs[SYNCS / 2]),
        fdatasync_p99_ms: ms(syncs[SYNCS * 99 / 100]),
    })
}

/// The times of fdatasync, ascending.
fn time_syncs(path: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = File::create(path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[b'x'; SYNC_BYTES])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// Reads a head, and writes it and a row of the log, again and again; how many batches in how many seconds.
fn write(rocks: &Rocks, work: Work) -> anyhow::Result<(u64, f64)> {
    let began = Instant::now();
    let mut batches = 0;
    while began.elapsed() < work.duration {
        let mut batch = Batch::default();
        for index in 0..work.batch {
            let count = batches * work.batch + index;
            let key = xxh3_64_with_seed(&count.to_be_bytes(), 0) % work.keys;
            let shard = ((key % 256) as u16).to_be_bytes();
            let head = [&shard[..], b"bench\0", format!("key-{key:012}").as_bytes()].concat();
            let log = [&shard[..], &[7; 8], &count.to_be_bytes()].concat();
            let seen = rocks.get(Space::Head, &head)?.map_or(0, |value| value[0]);
            let value = |more| {
                let mut value = vec![b'v'; work.value_bytes + more];
                value[0] = seen.wrapping_add(1);
                value
            };
            batch.put(Space::Head, head, value(HEAD_BYTES_MORE));
            batch.put(Space::Log, log, value(LOG_BYTES_MORE));
        }
        batch.commit();
        rocks.write_batch(&batch)?;
        rocks.sync_wal()?;
        batches += 1;
    }
    Ok((batches, began.elapsed().as_secs_f64()))
}
