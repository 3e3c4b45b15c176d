//! The disk of a node: the conformance suite and what the suite cannot see, and the directory that the database lies in.

use meridian_core::storage::{Batch, Read, Space};
use meridian_server::data_dir::{DataDir, DataDirError, holder};

use meridian_server::rocks::{Rocks, Snapshot};
use meridian_tests::storage_suite::{conforms, scan};
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use uuid::Uuid;

const CACHE_BYTES: usize = 4 << 20;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory for a test")
}

fn open(directory: &TempDir) -> Rocks {
    Rocks::open(directory.path(), CACHE_BYTES).expect("it opens")
}

fn put(rocks: &Rocks, key: &str, value: &str) {
    let mut batch = Batch::default();
    batch.put(Space::Cell, key.into(), value.into());
    batch.put(Space::Log, key.into(), value.into());
    rocks.write_batch(&batch).expect("it is written");
}

fn get(disk: &dyn Read, key: &str) -> Option<String> {
    let found = disk.get(Space::Cell, key.as_bytes()).expect("it can be read");
    found.map(|value| String::from_utf8(value).expect("text"))
}

// -- the database -------------------------------------------------------------------------------------------------------

#[test]
fn rocksdb_conforms() {
    conforms(&mut open(&directory())).expect("it does what every storage must do");
}

#[test]
fn a_snapshot_stands_still_and_outlives_the_database() {
    fn may_go_anywhere<T: Send + Sync + 'static>(_: &T) {}
    let place = directory();
    let rocks = open(&place);
    let empty: Snapshot = rocks.snapshot();
    put(&rocks, "a", "1");
    let one = rocks.snapshot();
    may_go_anywhere(&one);
    put(&rocks, "a", "2");
    put(&rocks, "b", "2");
    assert_eq!(get(&empty, "a"), None);
    assert_eq!(get(&one, "a").as_deref(), Some("1"));
    let rows = |disk: &dyn Read| scan(disk, Space::Cell, b"", b"", 9).expect("it can be read").len();
    assert_eq!([rows(&empty), rows(&one), rows(&rocks)], [0, 1, 2]);
    assert!(empty.version() < one.version() && one.version() < rocks.version());
    drop(rocks);
    assert_eq!(get(&one, "a").as_deref(), Some("1"));
    assert_eq!(rows(&one), 1);
}

#[test]
fn a_scan_stays_within_its_prefix_even_where_that_has_no_end() {
    let place = directory();
    let rocks = open(&place);
    let keys: [&[u8]; 6] = [b"", b"a\xff", b"a\xff\xff\x01", b"b", b"\xff\xff", b"\xff\xff\x01"];
    let mut batch = Batch::default();
    for key in keys {
        batch.put(Space::Meta, key.to_vec(), Vec::new());
    }
    rocks.write_batch(&batch).expect("it is written");
    for disk in [&rocks as &dyn Read, &rocks.snapshot()] {
        let found = |prefix: &[u8]| -> Vec<Vec<u8>> {
            let rows = scan(disk, Space::Meta, prefix, b"", 99).expect("it can be read");
            rows.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(found(b"a\xff"), keys[1..3]);
        assert_eq!(found(b"\xff\xff"), keys[4..]);
        assert_eq!(found(b"\xff\xff\x01"), keys[5..]);
        assert_eq!(found(b""), keys);
    }
}

#[test]
fn what_was_written_is_there_after_a_close_and_after_a_drop() {
    let place = directory();
    let rocks = open(&place);
    put(&rocks, "a", "1");
    rocks.sync_wal().expect("it is synced");
    let version = rocks.version();
    rocks.close().expect("it is flushed");
    let rocks = open(&place);
    assert_eq!(get(&rocks, "a").as_deref(), Some("1"));
    assert_eq!(rocks.version(), version, "a restart is no change");
    put(&rocks, "a", "2");
    drop(rocks);
    assert_eq!(Rocks::version_at(place.path()), Ok(version + 2));
    assert_eq!(get(&open(&place), "a").as_deref(), Some("2"));
}

#[test]
fn syncs_run_beside_writes() {
    let place = directory();
    let rocks = open(&place);
    let committer = rocks.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || (0..50).for_each(|_| committer.sync_wal().expect("it is synced")));
        (0..500).for_each(|round| put(&rocks, &format!("k{round}"), "v"));
    });
    assert_eq!(scan(&rocks, Space::Cell, b"k", b"", usize::MAX).expect("it can be read").len(), 500);
}

#[test]
fn an_empty_batch_is_no_change_and_figures_are_there() {
    let place = directory();
    let rocks = open(&place);
    let before = rocks.version();
    rocks.write_batch(&Batch::default()).expect("nothing is written");
    assert_eq!(rocks.version(), before);
    put(&rocks, "a", &"x".repeat(100_000));
    let figures = rocks.figures().expect("figures");
    assert!(figures.disk_bytes > 100_000 && figures.memtable_bytes > 100_000, "{figures:?}");
    assert_eq!((figures.background_errors, figures.write_stopped, rocks.corruptions()), (0, false, 0));
}

#[test]
fn a_database_that_is_open_does_not_open_again() {
    let place = directory();
    let _held = open(&place);
    let error = Rocks::open(place.path(), CACHE_BYTES).err().expect("it is held");
    assert!(error.to_string().contains("lock"), "{error}");
}

// -- the directory ------------------------------------------------------------------------------------------------------

fn refusal(path: &Path, name: &str) -> DataDirError {
    DataDir::open(path, name).expect_err("it is refused")
}

/// The names in a directory, to see that a refusal changed nothing.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("it can be listed");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_directory_is_made_and_found_again() {
    let place = directory();
    let path = place.path().join("some/node");
    let version = {
        let data = DataDir::open(&path, "n1").expect("it is made");
        let rocks = data.open_database(CACHE_BYTES).expect("it opens");
        put(&rocks, "a", "1");
        rocks.sync_wal().expect("it is synced");
        data.synced(rocks.version()).expect("it is noted");
        assert!(data.free_bytes().expect("the disk answers") > 0);
        rocks.version()
    };
    assert_eq!(names(&path), ["FORMAT", "LOCK", "NODE", "SYNCED", "db"]);
    let data = DataDir::open(&path, "n1").expect("it is found");
    let rocks = data.open_database(CACHE_BYTES).expect("it opens");
    assert_eq!((get(&rocks, "a").as_deref(), rocks.version()), (Some("1"), version));
}

#[test]
fn one_directory_is_for_one_process() {
    let place = directory();
    let data = DataDir::open(place.path(), "n1").expect("it is made");
    let error = refusal(place.path(), "n1");
    assert!(matches!(error, DataDirError::Held { .. }), "{error}");
    assert!(error.to_string().contains(&place.path().display().to_string()), "{error}");
    drop(data);
    DataDir::open(place.path(), "n1").expect("nobody holds it");
}

#[test]
fn what_is_not_a_data_directory_is_left_alone() {
    let place = directory();
    fs::write(place.path().join("thesis.txt"), "years of work").expect("a file");
    let error = refusal(place.path(), "n1");
    assert!(matches!(error, DataDirError::NotADataDir { .. }), "{error}");
    assert!(error.to_string().contains("thesis.txt"), "{error}");
    assert_eq!(names(place.path()), ["thesis.txt"]);
}

#[test]
fn a_start_that_was_cut_off_is_taken_up_again() {
    let place = directory();
    fs::write(place.path().join("LOCK"), "").expect("a file");
    fs::write(place.path().join("NODE"), "n0").expect("a file");
    fs::write(place.path().join("FORMAT.new"), "").expect("a file");
    DataDir::open(place.path(), "n1").expect("nothing of worth is there yet");
}

#[test]
fn a_newer_layout_another_name_and_missing_files_are_refused_with_words() {
    let place = directory();
    drop(DataDir::open(place.path(), "n1").expect("it is made"));
    let error = refusal(place.path(), "n2");
    assert!(matches!(&error, DataDirError::OtherName { found, .. } if found == "n1"), "{error}");
    fs::write(place.path().join("FORMAT"), "7\n").expect("a file");
    let error = refusal(place.path(), "n1");
    assert!(matches!(error, DataDirError::TooNew { found: 7, .. }), "{error}");
    assert!(error.to_string().contains("a version that knows layout 7"), "{error}");
    fs::write(place.path().join("FORMAT"), "one").expect("a file");
    let error = refusal(place.path(), "n1");
    assert!(matches!(error, DataDirError::Unreadable { file: "FORMAT", .. }), "{error}");
    fs::write(place.path().join("FORMAT"), "1").expect("a file");
    fs::remove_file(place.path().join("NODE")).expect("it was there");
    let error = refusal(place.path(), "n1");
    assert!(matches!(error, DataDirError::Unreadable { file: "NODE", .. }), "{error}");
}

#[test]
fn a_directory_is_one_clusters_and_keeps_the_member_list() {
    let place = directory();
    let data = DataDir::open(place.path(), "n1").expect("it is made");
    let (ours, theirs) = (Uuid::from_u128(5), Uuid::from_u128(6));
    data.enter(ours).expect("it is nobody's yet");
    data.enter(ours).expect("it is ours");
    let error = data.enter(theirs).expect_err("it is ours");
    assert!(matches!(error, DataDirError::OtherCluster { .. }), "{error}");
    assert_eq!(data.members::<String>().expect("none yet"), Vec::<String>::new());
    data.keep_members(&["a".to_string()]).expect("it is written");
    assert_eq!(data.members::<String>().expect("it is there"), ["a"]);
    fs::write(place.path().join("MEMBERS"), "[").expect("a file");
    let error = data.members::<String>().expect_err("it is not whole");
    assert!(matches!(error, DataDirError::Unreadable { file: "MEMBERS", .. }), "{error}");
}

#[test]
fn who_holds_a_directory_can_be_found() {
    let place = directory();
    let data = DataDir::open(place.path(), "n1").expect("it is made");
    assert_eq!(holder(place.path()), None, "it has not opened its database");
    let rocks = data.open_database(CACHE_BYTES).expect("it opens");
    assert_eq!(holder(place.path()), i32::try_from(std::process::id()).ok());
    drop((rocks, data));
    assert_eq!(holder(place.path()), None);
}

#[test]
fn a_directory_that_was_marked_as_damaged_is_refused_until_the_mark_is_gone() {
    let place = directory();
    let data = DataDir::open(place.path(), "n1").expect("it is made");
    drop(data.open_database(CACHE_BYTES).expect("it opens"));
    data.mark_damaged("a row of shard 3").expect("it is written down");
    data.mark_damaged("a row of shard 5").expect("it is written down");
    let error = data.open_database(CACHE_BYTES).err().expect("it is refused");
    assert!(matches!(&error, DataDirError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("shard 3") && error.to_string().contains("shard 5"), "{error}");
    fs::remove_file(place.path().join("DAMAGED")).expect("it was there");
    data.open_database(CACHE_BYTES).expect("it opens");
}
