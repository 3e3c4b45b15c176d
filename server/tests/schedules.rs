//! Random schedules on RocksDB: the crashes are real, with a log that is cut and read again by RocksDB's own recovery.
//!
//! A schedule must run exactly as it does on disks in memory, to the last byte of the last message: so that what the
//! longer runs in memory show holds for RocksDB as well.

use meridian_core::storage::{self, Batch, Read, Space, Still, Storage, StorageError, Visit};
use meridian_server::rocks::{Rocks, Sizes};
use meridian_tests::faults::Fault;
use meridian_tests::schedule::{self, Disk, Tally, run_many, run_many_on};
use meridian_tests::storage_suite::scan;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tempfile::TempDir;

/// Schedules that CI runs.
const SCHEDULES: u64 = 300;
/// Schedules within which an answer before the sync must be caught.
const SCHEDULES_PER_BUG: u64 = 50;
const SIZES: Sizes = Sizes { cache_bytes: 1 << 20, memtables_bytes: 2 << 20 };

#[test]
fn schedules_on_rocksdb_run_exactly_as_in_memory() {
    let jobs = meridian_tests::seeds::cores();
    let (tally, failures) = run_many_on::<RocksDisk>(0..SCHEDULES, jobs, None, &|| ());
    println!("{tally}");
    if let Some(first) = failures.first() {
        panic!("{} of {SCHEDULES} schedules fail on RocksDB. The first:\n{first}", failures.len());
    }
    let (in_memory, _) = run_many(0..SCHEDULES, jobs, None, &|| ());
    if tally.trace != in_memory.trace {
        let trace = |run: Result<Tally, schedule::Failure>| run.expect("it ran before").trace;
        let differs = (0..SCHEDULES).find(|seed| {
            trace(schedule::run_on::<RocksDisk>(*seed, None, false))
                != trace(schedule::run(*seed, None, false))
        });
        panic!("seed {differs:?} runs otherwise than in memory");
    }
    assert!(tally.crashes > 300 && tally.rollbacks > 100 && tally.quarantines > 20, "{tally}");
}

#[test]
fn an_answer_before_the_sync_is_caught() {
    let fault = Some(Fault::SyncSkipped);
    let caught =
        (0..SCHEDULES_PER_BUG).find_map(|seed| schedule::run_on::<RocksDisk>(seed, fault, false).err());
    let failure = caught.expect("no schedule has noticed that answers left before the sync");
    assert!(failure.what.contains("was answered and a crash lost it"), "{failure}");
    println!("caught by seed {}, step {}", failure.seed, failure.step);
}

// -- the disk -----------------------------------------------------------------------------------------------------------

/// RocksDB in a directory of its own.
struct RocksDisk {
    place: TempDir,
    /// Open, but for the moment of a crash.
    rocks: Option<Rocks>,
    /// The log that is written.
    log: PathBuf,
    /// Its length after the last sync, and after each batch since then.
    lengths: Vec<u64>,
    /// What it was made of, for crashes that lose a part of that.
    older: Option<Rc<Image>>,
    /// Rows that were damaged since the last sync.
    damaged: Vec<Damage>,
}

/// A copy of the files of an open database.
struct Image {
    place: TempDir,
    lengths: Vec<u64>,
    older: Option<Rc<Image>>,
}

struct Damage {
    /// How many batches were not synced before it.
    after: usize,
    space: Space,
    key: Vec<u8>,
    before: Vec<u8>,
    value: Vec<u8>,
}

impl Image {
    fn unsynced(&self) -> usize {
        older_batches(self.older.as_ref()) + self.lengths.len() - 1
    }

    /// The disk as a crash leaves it that keeps only the first batches.
    fn crashed(&self, kept: usize) -> RocksDisk {
        let below = older_batches(self.older.as_ref());
        match &self.older {
            Some(older) if kept < below => older.crashed(kept),
            _ => {
                let place = directory();
                copy(self.place.path(), place.path()).expect("nobody writes to an image");
                cut(&newest_log(place.path()), &self.lengths, kept - below);
                RocksDisk::open(place, None)
            }
        }
    }
}

impl RocksDisk {
    fn open(place: TempDir, older: Option<Rc<Image>>) -> RocksDisk {
        let rocks = Rocks::open_sized(place.path(), SIZES).expect("RocksDB opens after a crash");
        let log = newest_log(place.path());
        let mut disk =
            RocksDisk { place, rocks: Some(rocks), log, lengths: Vec::new(), older, damaged: Vec::new() };
        disk.lengths.push(disk.length());
        disk
    }

    fn rocks(&self) -> &Rocks {
        self.rocks.as_ref().expect("it is open")
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.log).expect("the log is there").len()
    }

    /// Writes a row that no crash takes back: what was written before it lies before it in the log.
    fn put(&mut self, space: Space, key: &[u8], value: &[u8]) {
        let mut batch = Batch::default();
        batch.put(space, key.to_vec(), value.to_vec());
        self.rocks().write_batch(&batch).expect("it is written");
        self.rocks().flush_wal().expect("it is handed over");
        *self.lengths.last_mut().expect("never empty") = self.length();
    }
}

impl Disk for RocksDisk {
    type Image = Rc<Image>;

    fn empty() -> RocksDisk {
        RocksDisk::open(directory(), None)
    }

    fn unsynced(&self) -> usize {
        older_batches(self.older.as_ref()) + self.lengths.len() - 1
    }

    fn crash(&mut self, kept: usize) {
        let damaged = std::mem::take(&mut self.damaged);
        let below = older_batches(self.older.as_ref());
        match self.older.take() {
            Some(older) if kept < below => *self = older.crashed(kept),
            _ => {
                self.rocks = None;
                let end = fs::metadata(&self.log).expect("the log is there").len();
                assert_eq!(Some(&end), self.lengths.last(), "closing writes nothing");
                cut(&self.log, &self.lengths, kept - below);
                let place = std::mem::replace(&mut self.place, directory());
                *self = RocksDisk::open(place, None);
            }
        }
        for Damage { after, space, key, before, value } in damaged {
            let found = self.get(space, &key).expect("a healthy disk");
            if after > kept && found.as_ref() == Some(&before) {
                self.put(space, &key, &value);
            }
        }
    }

    fn image(&self) -> Rc<Image> {
        assert!(self.damaged.is_empty(), "images are taken of healthy disks");
        // RocksDB may work in the background: only a copy during which nothing has changed is one.
        let copied = (0..1_000).find_map(|_| {
            let place = directory();
            let before = files(self.place.path()).ok()?;
            copy(self.place.path(), place.path()).ok()?;
            (files(self.place.path()).ok()? == before).then_some(place)
        });
        let place = copied.expect("RocksDB pauses at some time");
        Rc::new(Image { place, lengths: self.lengths.clone(), older: self.older.clone() })
    }

    fn from_image(image: &Rc<Image>) -> RocksDisk {
        let place = directory();
        copy(image.place.path(), place.path()).expect("nobody writes to an image");
        RocksDisk::open(place, Some(Rc::clone(image)))
    }

    fn damage(&mut self, space: Space, key: &[u8], damage: impl FnOnce(&mut Vec<u8>)) {
        let Some(before) = self.get(space, key).expect("a healthy disk") else { return };
        let mut value = before.clone();
        damage(&mut value);
        self.put(space, key, &value);
        self.damaged.push(Damage { after: self.unsynced(), space, key: key.to_vec(), before, value });
    }

    fn rows(&self, space: Space) -> Vec<(Vec<u8>, Vec<u8>)> {
        scan(self, space, b"", b"", usize::MAX).expect("a healthy disk")
    }
}

impl Read for RocksDisk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.rocks().get(space, key)
    }

    fn scan(&self, space: Space, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        self.rocks().scan(space, prefix, from, visit)
    }

    fn scan_back(
        &self,
        space: Space,
        prefix: &[u8],
        before: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        self.rocks().scan_back(space, prefix, before, visit)
    }
}

impl storage::Disk for RocksDisk {
    fn still(&self) -> Still {
        storage::Disk::still(self.rocks())
    }
}

impl Storage for RocksDisk {
    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.rocks().write_batch(batch)?;
        self.rocks().flush_wal()?;
        self.lengths.push(self.length());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.rocks().sync_wal()?;
        self.lengths = vec![self.length()];
        self.older = None;
        self.damaged.clear();
        Ok(())
    }
}

fn older_batches(older: Option<&Rc<Image>>) -> usize {
    older.map_or(0, |older| older.unsynced())
}

/// Cuts a log behind a batch, mostly with some bytes of the next one: a torn tail.
fn cut(log: &Path, lengths: &[u64], kept: usize) {
    let next = lengths.get(kept + 1).unwrap_or(&lengths[kept]);
    let torn = (lengths[kept] * 7_919) % (next - lengths[kept]).max(1);
    let file = OpenOptions::new().write(true).open(log).expect("the log is there");
    file.set_len(lengths[kept] + torn).expect("it can be cut");
}

/// A directory in memory, if there is a place for that.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory for a test")
}

/// By its name alone: RocksDB may be removing the older ones.
fn newest_log(place: &Path) -> PathBuf {
    let entries = fs::read_dir(place).expect("it can be listed");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "log")).max().expect("a log")
}

/// Names and lengths of the files that hold data.
fn files(place: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !["LOG", "LOCK", "OPTIONS"].iter().any(|start| name.starts_with(start)) {
            files.push((name, entry.metadata()?.len()));
        }
    }
    files.sort();
    Ok(files)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for (name, _) in files(from)? {
        fs::copy(from.join(&name), to.join(&name))?;
    }
    Ok(())
}
