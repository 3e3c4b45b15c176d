//! What is noticed when files of a node are damaged or gone, and what happens then.
//!
//! A crash is a copy of the directory while the database is open: the files are as a killed process leaves them.
//!
//! This is one file because all of it harms the same files by the same few helpers.

use meridian_core::id::{OriginId, RequestId};
use meridian_core::name::ShardCount;
use meridian_core::node::{Config, Input, Node, Now, Operation, Output, Reply, Request};
use meridian_core::replica::read::ReadRequest;
use meridian_core::salvage::Survey;
use meridian_core::storage::{Batch, Read, Space, StorageError};
use meridian_core::types::Refusal;
use meridian_core::version_vector::VersionVector;
use meridian_server::data_dir::{DataDir, DataDirError};
use meridian_server::rocks::{Damaged, Rocks};
use meridian_tests::lab::{bucket, key as lab_key, put, write_of};
use meridian_tests::storage_suite::scan;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const CACHE_BYTES: usize = 4 << 20;
/// Batches that are written and synced; each is two rows.
const BATCHES: u32 = 500;

/// A data directory with its node still running.
struct Running {
    place: TempDir,
    data: DataDir,
    rocks: Rocks,
}

fn start() -> Running {
    let place = tempfile::tempdir().expect("a directory for a test");
    let data = DataDir::open(place.path(), "n1").expect("it is made");
    let rocks = data.open_database(CACHE_BYTES).expect("it opens");
    Running { place, data, rocks }
}

fn key(number: u32) -> Vec<u8> {
    format!("key {number:05}").into_bytes()
}

/// Differs from any other key's, and does not compress to nothing.
fn value(number: u32) -> Vec<u8> {
    (0..100u32)
        .map(|place| (number.wrapping_mul(2_654_435_761).wrapping_add(place * place) >> 7) as u8)
        .collect()
}

impl Running {
    /// Writes a batch, whose place in the log is in the files: not synced.
    fn write(&self, number: u32) {
        self.write_in_memory(number);
        self.rocks.flush_wal().expect("it is handed over");
    }

    /// Writes a batch whose place in the log is in the process's memory.
    fn write_in_memory(&self, number: u32) {
        let mut batch = Batch::default();
        batch.put(Space::Cell, key(number), value(number));
        batch.put(Space::Meta, key(number), value(number));
        self.rocks.write_batch(&batch).expect("it is written");
    }

    fn sync(&self) {
        let version = self.rocks.version();
        self.rocks.sync_wal().expect("it is synced");
        self.data.synced(version).expect("it is noted");
    }

    fn write_synced(&self) {
        (0..BATCHES).for_each(|number| self.write(number));
        self.sync();
    }

    /// What a killed process leaves.
    fn crash(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a directory for a test");
        copy_files(self.place.path(), copy.path());
        copy
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("it can be listed") {
        let (from, to) = {
            let entry = entry.expect("an entry");
            (entry.path(), to.join(entry.file_name()))
        };
        match from.is_dir() {
            true => copy_files(&from, &to),
            false => drop(fs::copy(&from, &to).expect("it can be copied")),
        }
    }
}

/// The files of the database whose names end so, oldest first.
fn files(place: &TempDir, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path().join("db")).expect("it can be listed");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == end))
        .collect();
    files.sort();
    files
}

fn only(mut files: Vec<PathBuf>) -> PathBuf {
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).expect("it can be read");
    change(&mut bytes);
    fs::write(file, bytes).expect("it can be written");
}

fn flip_in_the_middle(file: &Path) {
    change(file, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    });
}

/// The files that hold data, with their bytes.
fn data_of(place: &TempDir) -> Vec<(PathBuf, Vec<u8>)> {
    let data = ["log", "sst"].into_iter().flat_map(|end| files(place, end));
    let all = data.chain([place.path().join("db/CURRENT"), place.path().join("SYNCED")]);
    all.filter(|path| path.exists())
        .map(|path| {
            let bytes = fs::read(&path).expect("it can be read");
            (path, bytes)
        })
        .collect()
}

fn open(place: &TempDir) -> Result<(DataDir, Rocks), DataDirError> {
    let data = DataDir::open(place.path(), "n1")?;
    let rocks = data.open_database(CACHE_BYTES)?;
    Ok((data, rocks))
}

/// The words of the refusal; and no byte of data was changed by it, however often it is tried.
fn refused(place: &TempDir) -> DataDirError {
    let before = data_of(place);
    open(place).err().expect("it is refused");
    let error = open(place).err().expect("it is refused again");
    assert!(data_of(place) == before, "a refused start changed data: {error}");
    let is_damage = !matches!(error, DataDirError::Unreadable { .. });
    assert_eq!(error.damage().is_some(), is_damage, "what may be set aside: {error}");
    error
}

fn count(rocks: &Rocks) -> usize {
    scan(rocks, Space::Cell, b"key", b"", usize::MAX).expect("it can be read").len()
}

// -- the log ------------------------------------------------------------------------------------------------------------

#[test]
fn a_killed_process_loses_nothing_but_what_was_not_synced() {
    let node = start();
    node.write_synced();
    node.write(BATCHES);
    let version = node.rocks.version();
    node.write_in_memory(BATCHES + 1);
    let crashed = node.crash();
    let (_data, rocks) = open(&crashed).expect("nothing is missing");
    assert_eq!(count(&rocks), BATCHES as usize + 1, "whole batches, and not the last one");
    assert_eq!(rocks.version(), version);
}

#[test]
fn a_flipped_bit_in_the_log_is_refused() {
    let node = start();
    node.write_synced();
    let crashed = node.crash();
    flip_in_the_middle(&only(files(&crashed, "log")));
    let error = refused(&crashed);
    assert!(
        matches!(&error, DataDirError::Database { words, .. } if words.contains("checksum mismatch")),
        "{error}"
    );
    assert!(error.to_string().contains("restore a backup"), "{error}");
}

#[test]
fn a_torn_tail_is_left_out_if_it_was_never_synced_and_refused_if_it_was() {
    let node = start();
    node.write_synced();
    let synced = node.crash();
    node.write(BATCHES);
    let written = node.crash();
    let tear = |place: &TempDir| change(&only(files(place, "log")), |bytes| bytes.truncate(bytes.len() - 7));
    tear(&written);
    let (data, rocks) = open(&written).expect("nobody was told of the last batch");
    assert_eq!(count(&rocks), BATCHES as usize);
    drop((data, rocks));
    tear(&synced);
    let error = refused(&synced);
    let gone = (u64::from(BATCHES) * 2 - 2, u64::from(BATCHES) * 2);
    assert!(
        matches!(error, DataDirError::LogVanished { found, synced, .. } if (found, synced) == gone),
        "{error}"
    );
}

#[test]
fn a_log_that_vanished_is_refused_until_the_loss_is_accepted() {
    let node = start();
    node.write_synced();
    let crashed = node.crash();
    fs::remove_file(only(files(&crashed, "log"))).expect("it was there");
    let error = refused(&crashed);
    assert!(matches!(error, DataDirError::LogVanished { found: 0, .. }), "{error}");
    assert!(error.to_string().contains("remove the file SYNCED"), "{error}");
    fs::remove_file(crashed.path().join("SYNCED")).expect("it was there");
    let (_data, rocks) = open(&crashed).expect("the loss was accepted");
    assert_eq!(count(&rocks), 0);
}

#[test]
fn a_database_that_vanished_is_refused() {
    let node = start();
    node.write_synced();
    let crashed = node.crash();
    fs::remove_dir_all(crashed.path().join("db")).expect("it was there");
    fs::create_dir(crashed.path().join("db")).expect("a directory");
    let error = refused(&crashed);
    assert!(matches!(error, DataDirError::LogVanished { found: 0, .. }), "{error}");
}

/// Two logs: the older is closed and still needed, for the memtable of one space was flushed and the others not.
fn with_two_logs() -> (Running, TempDir) {
    let node = start();
    node.write_synced();
    let before = node.crash();
    node.rocks.flush_space(Space::Cell).expect("it is flushed");
    node.write(BATCHES);
    node.sync();
    (node, before)
}

#[test]
fn a_closed_log_that_is_missing_or_cut_is_refused() {
    let (node, _) = with_two_logs();
    let crashed = node.crash();
    let logs = files(&crashed, "log");
    assert_eq!(logs.len(), 2, "{logs:?}");
    change(&logs[0], |bytes| bytes.truncate(bytes.len() - 7));
    let error = refused(&crashed);
    assert!(matches!(error, DataDirError::Database { .. }), "{error}");
    fs::remove_file(&logs[0]).expect("it was there");
    let error = refused(&crashed);
    assert!(
        matches!(&error, DataDirError::Database { words, .. } if words.contains("Missing WAL")),
        "{error}"
    );
}

#[test]
fn a_hole_between_two_logs_is_refused() {
    // The power fails before the first log was synced, and the disk has kept the second: what RocksDB has noted of its
    // logs is from before there was a second one.
    let (node, before) = with_two_logs();
    let crashed = node.crash();
    let second = files(&crashed, "log").pop().expect("two logs");
    let first = only(files(&before, "log"));
    fs::copy(&second, first.with_file_name(second.file_name().expect("a name"))).expect("it can be copied");
    {
        let whole = before.path().join("whole");
        copy_files(&before.path().join("db"), &whole);
        let rocks = Rocks::open(&whole, CACHE_BYTES).expect("nothing is missing");
        assert_eq!(count(&rocks), BATCHES as usize + 1);
    }
    fs::remove_file(before.path().join("SYNCED")).expect("it was there");
    change(&first, |bytes| bytes.truncate(bytes.len() - 7));
    let error = refused(&before);
    assert!(
        matches!(&error, DataDirError::Database { words, .. } if words.contains("Mismatched")),
        "{error}"
    );
}

// -- the note beside the database -------------------------------------------------------------------------------------

#[test]
fn a_torn_note_leaves_the_other_copy() {
    let node = start();
    node.write_synced();
    node.write(BATCHES);
    node.sync();
    let crashed = node.crash();
    let note = crashed.path().join("SYNCED");
    let whole = fs::read(&note).expect("it can be read");
    fs::remove_file(only(files(&crashed, "log"))).expect("it was there");
    let mut seen = Vec::new();
    for place in [0, 4096] {
        fs::write(&note, &whole).expect("it can be written");
        change(&note, |bytes| bytes[place + 7] ^= 1);
        match refused(&crashed) {
            DataDirError::LogVanished { synced, .. } => seen.push(synced),
            other => panic!("{other}"),
        }
    }
    seen.sort_unstable();
    assert_eq!(
        seen,
        [u64::from(BATCHES) * 2, u64::from(BATCHES) * 2 + 2],
        "the copy before, and the newer one"
    );
    change(&note, |bytes| bytes.truncate(7));
    let error = refused(&crashed);
    assert!(matches!(error, DataDirError::Unreadable { file: "SYNCED", .. }), "{error}");
}

// -- tables -------------------------------------------------------------------------------------------------------------

#[test]
fn a_damaged_table_gives_errors_for_its_block_and_never_a_wrong_value() {
    let node = start();
    node.write_synced();
    node.rocks.flush().expect("it is flushed");
    let crashed = node.crash();
    for table in files(&crashed, "sst") {
        // The data comes first in a table, and fills most of these.
        change(&table, |bytes| {
            let place = bytes.len() / 3;
            bytes[place] ^= 0x10;
        });
    }
    let (_data, rocks) = open(&crashed).expect("tables are not read at the start");
    let (mut damaged, mut read) = (0, 0);
    for number in 0..BATCHES {
        match rocks.get(Space::Cell, &key(number)) {
            Ok(found) => {
                assert_eq!(found, Some(value(number)));
                read += 1;
            }
            Err(StorageError::Corrupt { space: Space::Cell, key: at, .. }) => {
                assert_eq!(at, key(number));
                damaged += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(damaged > 0 && read > damaged, "{damaged} of {BATCHES} rows are damaged");
    assert!(rocks.corruptions() >= damaged);
    let error = scan(&rocks, Space::Cell, b"key", b"", usize::MAX).expect_err("the scan does not end there");
    assert!(error.to_string().contains("the database reports corruption"), "{error}");
}

#[test]
fn a_table_that_is_missing_is_refused() {
    let node = start();
    node.write_synced();
    node.rocks.flush().expect("it is flushed");
    let crashed = node.crash();
    fs::remove_file(&files(&crashed, "sst")[0]).expect("it was there");
    let error = refused(&crashed);
    assert!(matches!(error, DataDirError::Database { .. }), "{error}");
}

#[test]
fn damage_that_a_compaction_meets_stops_writes_and_loses_nothing_silently() {
    let node = start();
    node.write_synced();
    node.rocks.flush().expect("it is flushed");
    let crashed = node.crash();
    for table in files(&crashed, "sst") {
        change(&table, |bytes| {
            let place = bytes.len() / 3;
            bytes[place] ^= 0x10;
        });
    }
    let (_data, rocks) = open(&crashed).expect("tables are not read at the start");
    let running = Running { place: crashed, data: node.data, rocks };
    let deadline = Instant::now() + Duration::from_secs(60);
    let refused = loop {
        assert!(Instant::now() < deadline, "no compaction has met the damage");
        let mut batch = Batch::default();
        batch.put(Space::Cell, key(0), value(0));
        if let Err(error) = running.rocks.write_batch(&batch).and_then(|()| running.rocks.flush()) {
            break error;
        }
    };
    assert!(matches!(&refused, StorageError::Io(words) if words.contains("Corruption")), "{refused}");
    assert!(running.rocks.corruptions() > 0);
    while running.rocks.figures().expect("figures").background_errors == 0 {
        assert!(Instant::now() < deadline, "the error is not counted");
    }
    for number in 0..BATCHES {
        match running.rocks.get(Space::Cell, &key(number)) {
            Ok(found) => assert_eq!(found, Some(value(number))),
            Err(error) => assert!(matches!(error, StorageError::Corrupt { .. }), "{error}"),
        }
    }
}

// -- set aside ----------------------------------------------------------------------------------------------------------

#[test]
fn a_list_of_files_that_is_damaged_or_gone_is_damage_and_a_lock_is_not() {
    let node = start();
    node.write_synced();
    for harm in ["gone", "damaged"] {
        let crashed = node.crash();
        let entries = fs::read_dir(crashed.path().join("db")).expect("it can be listed");
        let mut paths = entries.map(|entry| entry.expect("an entry").path());
        let is_manifest = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST"))
        };
        let manifest = paths.find(is_manifest).expect("there is one");
        match harm {
            "gone" => fs::remove_file(&manifest).expect("it was there"),
            _ => flip_in_the_middle(&manifest),
        }
        let error = refused(&crashed);
        assert!(matches!(error, DataDirError::Database { .. }), "{harm}: {error}");
    }
    let held = node.data.open_database(CACHE_BYTES).err().expect("RocksDB has it open");
    assert!(matches!(held, DataDirError::Database { .. }) && held.damage().is_none(), "{held}");
}

#[test]
fn a_damaged_database_is_set_aside_whole_and_comes_back_as_it_was() {
    let node = start();
    node.write_synced();
    let crashed = node.crash();
    flip_in_the_middle(&only(files(&crashed, "log")));
    let (before, error) = (data_of(&crashed), refused(&crashed));
    let found = error.damage().expect("it is damaged");
    {
        let mut data = DataDir::open(crashed.path(), "n1").expect("it is a data directory");
        let aside = data.set_aside(&found).expect("it is set aside");
        assert_eq!(aside.found().expect("it can be read"), found);
        let rocks = data.open_database(CACHE_BYTES).expect("an empty one is made");
        assert_eq!((count(&rocks), rocks.version()), (0, 0));
    }
    let aside = crashed.path().join("db.damaged-1");
    for (path, bytes) in &before {
        let moved = aside.join(path.file_name().expect("a name"));
        assert!(fs::read(&moved).expect("it is there") == *bytes, "{}", moved.display());
    }
    let data = DataDir::open(crashed.path(), "n1").expect("it is a data directory");
    assert_eq!(data.asides().expect("it can be listed").len(), 1);
    data.put_back().expect("it is put back");
    drop(data);
    assert!(data_of(&crashed) == before && !aside.exists());
    assert_eq!(refused(&crashed).to_string(), error.to_string());
}

/// How many deltas can be read of a damaged log, how many are given, how many of these wait, and how many are gone.
fn salvage(database: &Path, shards: ShardCount, have: &[VersionVector]) -> (u64, u64, u64, u64) {
    let disk = Damaged::open(database).expect("there is a way to begin");
    let mut survey = Survey::begin(&disk);
    shards.shards().for_each(|shard| survey.look(&disk, shard));
    let (mut given, mut waiting, mut dots) = (0, 0, BTreeSet::new());
    for (shard, have) in shards.shards().zip(have) {
        let salvaged = survey.give(&disk, shard, have, &mut |delta| {
            assert!(dots.insert((shard, delta.dot)), "{:?} is given twice", delta.dot);
            ControlFlow::Continue(())
        });
        let salvaged = salvaged.continue_value().expect("nobody breaks off");
        (given, waiting) = (given + salvaged.given, waiting + salvaged.waiting);
    }
    assert_eq!(dots.len() as u64, given + waiting);
    (survey.readable, given, waiting, survey.unreadable(&disk))
}

#[test]
fn what_is_left_of_a_damaged_log_is_read_behind_the_damage() {
    const DELTAS: u64 = 3_000;
    let config = Config { shards: ShardCount::new(8).expect("a power of two"), ..Config::default() };
    let running = start();
    let mut node = Node::open(config.clone(), &running.rocks, OriginId(1)).expect("an empty disk opens");
    let opened = node.end_turn();
    running.rocks.write_batch(&opened.batch).expect("it is written");
    let vectors = |node: &Node| -> Vec<VersionVector> {
        let replicas = config.shards.shards().map(|shard| node.replica(shard).expect("it is there"));
        replicas.map(|replica| replica.vector().clone()).collect()
    };
    let (nothing, mut half) = (vectors(&node), Vec::new());
    for number in 0..DELTAS {
        if number == DELTAS / 2 {
            half = vectors(&node);
            running.rocks.flush_space(Space::Log).expect("it is flushed");
        }
        let write = write_of(put(&format!("{:?}", value(number as u32))), None, None);
        ask(&mut node, &running.rocks, &format!("key {number}"), write);
    }
    running.sync();
    let lacking = |crashed: &TempDir, have: &[VersionVector]| {
        let before = data_of(crashed);
        let found = salvage(&crashed.path().join("db"), config.shards, have);
        assert!(
            data_of(crashed) == before && !crashed.path().join("db/salvage").exists(),
            "nothing is changed"
        );
        found
    };
    let salvage = |crashed: &TempDir| lacking(crashed, &nothing);
    assert_eq!(salvage(&running.crash()), (DELTAS, DELTAS, 0, 0), "nothing is damaged");
    // A block of the table of the first half: what lies behind it in its shard waits.
    let crashed = running.crash();
    change(&only(files(&crashed, "sst")), |bytes| {
        let place = bytes.len() / 3;
        bytes[place] ^= 0x10;
    });
    let (readable, given, waiting, gone) = salvage(&crashed);
    assert_eq!((readable + gone, given + waiting), (DELTAS, readable));
    assert!((1..200).contains(&gone) && waiting > 0 && given > DELTAS / 2, "{gone} gone, {waiting} wait");
    // The whole table, which was the first half of what was written.
    fs::remove_file(only(files(&crashed, "sst"))).expect("it was there");
    assert_eq!(
        salvage(&crashed),
        (DELTAS, DELTAS, 0, 0),
        "the closed log has it still, for the sake of other spaces"
    );
    fs::remove_file(&files(&crashed, "log")[0]).expect("it was there");
    let second = DELTAS / 2;
    assert_eq!(salvage(&crashed), (second, 0, second, second));
    assert_eq!(lacking(&crashed, &half), (second, second, 0, second), "with what peers have, none waits");
    // The closed log, which nothing is needed of here; and the list of files.
    let crashed = running.crash();
    fs::remove_file(&files(&crashed, "log")[0]).expect("it was there");
    let (readable, given, _, gone) = salvage(&crashed);
    assert_eq!((readable + gone, given), (DELTAS, readable), "the logs have more than one space");
    let crashed = running.crash();
    fs::remove_file(crashed.path().join("db/CURRENT")).expect("it was there");
    assert_eq!(salvage(&crashed), (DELTAS, DELTAS, 0, 0), "a list is made anew");
    // The write-ahead log: RocksDB passes over the rest of the damaged block of 32 KiB.
    let crashed = running.crash();
    flip_in_the_middle(files(&crashed, "log").last().expect("a log"));
    let (readable, given, waiting, gone) = salvage(&crashed);
    assert_eq!((readable + gone, given + waiting), (DELTAS, readable));
    assert!((1..200).contains(&gone) && given > DELTAS / 2, "{gone} gone, {waiting} wait");
}

// -- through a node -----------------------------------------------------------------------------------------------------

/// Asks a node one thing in a turn of its own. Whether a replica was quarantined by it stands with the reply.
fn ask(node: &mut Node, rocks: &Rocks, name: &str, operation: Operation) -> (Reply, bool) {
    let request = Request { bucket: bucket(), key: lab_key(name), operation };
    let input = Input::Request { id: RequestId(1), request };
    node.step(Now { mono_ms: 1, wall_ms: 1_000_000 }, rocks, input).expect("damage does not stop a node");
    let turn = node.end_turn();
    rocks.write_batch(&turn.batch).expect("it is written");
    let quarantined = turn.outputs.iter().any(|output| matches!(output, Output::Quarantined { .. }));
    let reply = turn.outputs.into_iter().find_map(|output| match output {
        Output::Reply { reply, .. } => Some(reply),
        _ => None,
    });
    (reply.expect("an answer"), quarantined)
}

#[test]
fn a_node_on_a_damaged_table_quarantines_that_shard_and_answers_for_the_others() {
    let config = Config { shards: ShardCount::new(8).expect("a power of two"), ..Config::default() };
    let names: Vec<String> = (0..400).map(|number| format!("key {number}")).collect();
    let text = |name: &str| name.repeat(50);
    let running = start();
    let mut node = Node::open(config.clone(), &running.rocks, OriginId(1)).expect("an empty disk opens");
    for name in &names {
        let (reply, _) = ask(&mut node, &running.rocks, name, write_of(put(&text(name)), None, None));
        assert!(matches!(reply, Reply::Written { .. }), "{reply:?}");
    }
    running.sync();
    running.rocks.flush_space(Space::Head).expect("it is flushed");
    let crashed = running.crash();
    change(&only(files(&crashed, "sst")), |bytes| {
        let place = bytes.len() / 3;
        bytes[place] ^= 0x10;
    });
    let (_data, rocks) = open(&crashed).expect("tables are not read at the start");
    let mut node = Node::open(config.clone(), &rocks, OriginId(2)).expect("cells are not read at the start");
    let (mut answered, mut refused, mut noticed) = (BTreeMap::new(), BTreeSet::new(), 0);
    for name in names.iter().chain(&names) {
        let shard = config.shards.shard_of(&bucket(), &lab_key(name));
        let (reply, quarantined) = ask(&mut node, &rocks, name, Operation::Read(ReadRequest::default()));
        noticed += usize::from(quarantined);
        match reply {
            Reply::Read(found) => {
                assert!(
                    format!("{:?}", found.value).len() > text(name).len(),
                    "a value, not absence: {found:?}"
                );
                assert!(!refused.contains(&shard), "a replica that found damage answers nobody");
                *answered.entry(shard).or_insert(0) += 1;
            }
            Reply::Refused(Refusal::Quarantined) => drop(refused.insert(shard)),
            other => panic!("{other:?}"),
        }
    }
    let healthy = answered.iter().filter(|(shard, _)| !refused.contains(shard)).count();
    assert_eq!(healthy + refused.len(), 8, "every other shard is in service");
    assert!(
        healthy > 0 && !refused.is_empty() && noticed == refused.len(),
        "{healthy} healthy, {noticed} noticed"
    );
    assert_eq!(rocks.corruptions(), noticed as u64);
}
