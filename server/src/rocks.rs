//! The disk of a node: only this room names RocksDB.
//!
//! - One column family for each [`Space`], one write-ahead log for all: a batch is whole or not there.
//! - [`Rocks::write_batch`] makes a batch visible and does not sync; [`Rocks::sync_wal`] makes durable all that was
//!   written before it was called, and may run on another thread than the writes.
//! - A [`Snapshot`] is a view that stands still; it owns what it needs and may go to any thread.
//! - **What cannot be read is an error, never absence.** A row in a damaged block is [`StorageError::Corrupt`], which
//!   quarantines its replica; all else is [`StorageError::Io`], which stops the process.
//!
//! Why the options are as they are stands in `docs/storage.md`. This is one file because what reads, writes and opens
//! a database shares its options and its errors; `damaged` reads one that is broken.

mod damaged;

pub use damaged::Damaged;

use meridian_core::storage::{
    Batch, Disk, Read, Space, Still, Storage, StorageError, Visit, behind, scan_end,
};
use rocksdb::properties;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DBCompressionType,
    DBRawIteratorWithThreadMode, DBRecoveryMode, DBWithThreadMode, DataBlockIndexType, ErrorKind,
    FlushOptions, LogLevel, Options, ReadOptions, SingleThreaded, SnapshotWithThreadMode, WriteBatch,
    WriteBufferManager,
};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Db = DBWithThreadMode<SingleThreaded>;
type RawRows<'a> = DBRawIteratorWithThreadMode<'a, Db>;

/// Each log says where the one before it ended, so that no hole between two is read over. (The bindings have no setter.)
const VERIFY_LOGS: &str = "track_and_verify_wals=true";
/// The log is written at the end of each origin in each shard: where that was last time is kept, so that nothing is searched.
/// (The bindings have no setter. The number is that of the bytes of shard and origin.)
const APPENDS: &str = "memtable_insert_with_hint_prefix_extractor=rocksdb.FixedPrefix.10";
/// What is said of a row that RocksDB cannot read.
const CORRUPTION: &str = "the database reports corruption";
/// How RocksDB says that a file is gone of which it has noted that it is there: for it that is an error of the system.
const FILE_IS_GONE: &str = "No such file or directory";
/// Bytes of all memtables together. When they are reached, the largest is flushed; writers do not wait for that.
const MEMTABLES_BYTES: usize = 64 << 20;
/// Memtables of one space, the one that is written and those that wait for their flush. When all are full, writers
/// wait.
const MEMTABLES_MAX: i32 = 3;
/// Bytes of write-ahead log that a restart may have to read. When they are reached, the memtable that holds on to the
/// oldest log is flushed.
const WAL_BYTES_MAX: u64 = 256 << 20;
/// Table files that are kept open. When there are more, those read longest ago are closed, and opened again for the
/// next read.
const OPEN_FILES_MAX: i32 = 1_024;
/// RocksDB's own log files that are kept, and the bytes of each. The oldest is removed.
const INFO_LOGS_MAX: usize = 4;
const INFO_LOG_BYTES_MAX: usize = 1 << 20;
const BLOCK_BYTES: usize = 16 << 10;
const BLOOM_BITS: f64 = 10.0;

/// How much memory a database may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the cache of blocks, indexes and filters. When full, what was used longest ago goes.
    pub cache_bytes: usize,
    /// Bytes of all memtables together. When full, the largest is flushed.
    pub memtables_bytes: usize,
}

/// RocksDB did not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct OpenError {
    /// Its own words.
    pub words: String,
    /// Whether its files are not what was written; else the system failed, or another process has it.
    pub is_damage: bool,
}

/// What a database says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of all files, the write-ahead log included.
    pub disk_bytes: u64,
    /// Bytes of the memtables.
    pub memtable_bytes: u64,
    /// Bytes in the cache of blocks.
    pub cache_bytes: u64,
    /// Flushes and compactions that failed since the database was opened.
    pub background_errors: u64,
    /// Whether writes wait for flushes or compactions.
    pub write_stopped: bool,
}

/// An open database. Clones are the same database; it is closed when the last of them and all snapshots are gone.
#[derive(Clone)]
pub struct Rocks(Arc<Inner>);

struct Inner {
    db: Db,
    cache: Cache,
    /// Reads and writes that found damage.
    corruptions: AtomicU64,
}

impl Rocks {
    /// Opens the database in a directory, or makes an empty one there.
    ///
    /// # Errors
    /// RocksDB's: damage in the write-ahead log before its end, a missing file, a lock that is held, the disk's errors.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Rocks, OpenError> {
        Rocks::open_sized(path, Sizes { cache_bytes, memtables_bytes: MEMTABLES_BYTES })
    }

    /// As [`Rocks::open`], with other memtables.
    ///
    /// # Errors
    /// As [`Rocks::open`].
    pub fn open_sized(path: &Path, sizes: Sizes) -> Result<Rocks, OpenError> {
        let cache = Cache::new_hyper_clock_cache(sizes.cache_bytes, 0);
        let options = database_options(path, sizes)?;
        let db = Db::open_cf_descriptors(&options, path, families(sizes, &cache)).map_err(refused)?;
        Ok(Rocks(Arc::new(Inner { db, cache, corruptions: AtomicU64::new(0) })))
    }

    /// The latest version that opening the database would find, without changing any of its data: the write-ahead log
    /// is read into memory and forgotten again.
    ///
    /// # Errors
    /// As [`Rocks::open`], and where there is no database.
    pub fn version_at(path: &Path) -> Result<u64, OpenError> {
        let sizes = Sizes { cache_bytes: 1 << 20, memtables_bytes: MEMTABLES_BYTES };
        let cache = Cache::new_hyper_clock_cache(sizes.cache_bytes, 0);
        let mut options = database_options(path, sizes)?;
        options.create_if_missing(false);
        let db = Db::open_cf_descriptors_read_only(&options, path, families(sizes, &cache), false);
        db.map(|db| db.latest_sequence_number()).map_err(refused)
    }

    /// Makes a batch visible to every read from now on. It is durable after the next [`Rocks::sync_wal`].
    ///
    /// # Errors
    /// [`StorageError::Io`]; nothing of the batch is visible then, and nothing more can be written.
    pub fn write_batch(&self, batch: &Batch) -> Result<(), StorageError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut rows = WriteBatch::default();
        for (space, key, value) in batch.iter() {
            match value {
                Some(value) => rows.put_cf(self.0.family(space), key, value),
                None => rows.delete_cf(self.0.family(space), key),
            }
        }
        self.0.db.write(rows).map_err(|error| self.0.failed(&error))
    }

    /// Hands the write-ahead log to the system, as a sync does first. What was handed over survives the end of the process.
    ///
    /// # Errors
    /// As [`Rocks::sync_wal`].
    pub fn flush_wal(&self) -> Result<(), StorageError> {
        self.0.db.flush_wal(false).map_err(|error| self.0.failed(&error))
    }

    /// Makes durable all that was written before this was called. May run on any thread, beside writes.
    ///
    /// # Errors
    /// [`StorageError::Io`]; whether anything became durable is then unknown, and the process must stop.
    pub fn sync_wal(&self) -> Result<(), StorageError> {
        self.0.db.flush_wal(true).map_err(|error| self.0.failed(&error))
    }

    /// The rows as they are now, whatever is written later. It keeps memory and files from being freed while it
    /// lives.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(SnapshotCell::new(Arc::clone(&self.0), |inner| {
            let snapshot = inner.db.snapshot();
            let mut options = ReadOptions::default();
            options.set_snapshot(&snapshot);
            View { snapshot, options }
        }))
    }

    /// How many changes of rows were ever written: it grows with each batch, by the number of its rows.
    pub fn version(&self) -> u64 {
        self.0.db.latest_sequence_number()
    }

    /// How many reads and writes found damage since the database was opened.
    pub fn corruptions(&self) -> u64 {
        self.0.corruptions.load(Ordering::Relaxed)
    }

    /// What the database says of itself.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn figures(&self) -> Result<Figures, StorageError> {
        let Inner { db, cache, .. } = &*self.0;
        let failed = |error: &rocksdb::Error| self.0.failed(error);
        let mut figures = Figures {
            disk_bytes: bytes_of_files(db.path()).map_err(|error| StorageError::Io(error.to_string()))?,
            cache_bytes: cache.get_usage() as u64,
            ..Figures::default()
        };
        for space in Space::ALL {
            let bytes = db.property_int_value_cf(self.0.family(space), properties::CUR_SIZE_ALL_MEM_TABLES);
            figures.memtable_bytes += bytes.map_err(|error| failed(&error))?.unwrap_or(0);
        }
        let errors = db.property_int_value(properties::BACKGROUND_ERRORS).map_err(|error| failed(&error))?;
        figures.background_errors = errors.unwrap_or(0);
        let stopped = db.property_int_value(properties::IS_WRITE_STOPPED).map_err(|error| failed(&error))?;
        figures.write_stopped = stopped == Some(1);
        Ok(figures)
    }

    /// Writes the memtables into tables, so that the next start has no log to read.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn flush(&self) -> Result<(), StorageError> {
        let families = Space::ALL.map(|space| self.0.family(space));
        self.0.db.flush_cfs_opt(&families, &FlushOptions::default()).map_err(|error| self.0.failed(&error))
    }

    /// As [`Rocks::flush`], for one space.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn flush_space(&self, space: Space) -> Result<(), StorageError> {
        self.0.db.flush_cf(self.0.family(space)).map_err(|error| self.0.failed(&error))
    }

    /// Flushes and ends the work in the background. Nothing must be written afterwards. The files are released when
    /// the last clone and the last snapshot are gone.
    ///
    /// # Errors
    /// [`StorageError::Io`] from the flush. What was synced stays durable.
    pub fn close(self) -> Result<(), StorageError> {
        let flushed = self.flush();
        self.0.db.cancel_all_background_work(true);
        flushed
    }
}

impl Read for Rocks {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.get(space, key, &ReadOptions::default())
    }

    fn scan(&self, space: Space, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        self.0.scan(space, prefix, from, ReadOptions::default(), visit)
    }

    fn scan_back(
        &self,
        space: Space,
        prefix: &[u8],
        before: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        self.0.scan_back(space, prefix, before, ReadOptions::default(), visit)
    }
}

impl Disk for Rocks {
    fn still(&self) -> Still {
        Arc::new(self.snapshot())
    }
}

impl Storage for Rocks {
    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.write_batch(batch)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.sync_wal()
    }
}

// -- snapshots ------------------------------------------------------------------------------------------------------

/// The rows as they were when it was taken.
pub struct Snapshot(SnapshotCell);

struct View<'a> {
    snapshot: SnapshotWithThreadMode<'a, Db>,
    /// Options that read through the snapshot, made once for all single reads.
    options: ReadOptions,
}

self_cell::self_cell! {
    struct SnapshotCell {
        owner: Arc<Inner>,
        #[covariant]
        dependent: View,
    }
}

impl Snapshot {
    /// The [`Rocks::version`] at which it was taken.
    pub fn version(&self) -> u64 {
        self.0.borrow_dependent().snapshot.sequence_number()
    }

    /// Options for one scan: it adds its own bounds to them.
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.0.borrow_dependent().snapshot);
        options
    }
}

impl Read for Snapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.borrow_owner().get(space, key, &self.0.borrow_dependent().options)
    }

    fn scan(&self, space: Space, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        self.0.borrow_owner().scan(space, prefix, from, self.options(), visit)
    }

    fn scan_back(
        &self,
        space: Space,
        prefix: &[u8],
        before: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        self.0.borrow_owner().scan_back(space, prefix, before, self.options(), visit)
    }
}

// -- reading ----------------------------------------------------------------------------------------------------------

impl Inner {
    fn family(&self, space: Space) -> &ColumnFamily {
        self.db.cf_handle(family_name(space)).expect("every space was opened")
    }

    fn get(&self, space: Space, key: &[u8], options: &ReadOptions) -> Result<Option<Vec<u8>>, StorageError> {
        self.db.get_cf_opt(self.family(space), key, options).map_err(|error| self.unread(space, key, &error))
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        from: &[u8],
        mut options: ReadOptions,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        if let Some(end) = behind(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let first = prefix.max(from);
        let mut rows = self.db.raw_iterator_cf_opt(self.family(space), options);
        rows.seek(first);
        // Only a prefix of nothing but 0xff has no end; then what lies behind it must be told apart.
        self.walk(rows, RawRows::next, space, (prefix, first), visit)
    }

    fn scan_back(
        &self,
        space: Space,
        prefix: &[u8],
        before: Option<&[u8]>,
        mut options: ReadOptions,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        let end = scan_end(prefix, before);
        if end.as_deref().is_some_and(|end| end <= prefix) {
            return Ok(());
        }
        options.set_iterate_lower_bound(prefix);
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        let mut rows = self.db.raw_iterator_cf_opt(self.family(space), options);
        rows.seek_to_last();
        self.walk(rows, RawRows::prev, space, (prefix, prefix), visit)
    }

    /// Visits rows with a prefix from where an iterator stands. Where it cannot read even there, `first` is said to be damaged.
    fn walk<'a>(
        &'a self,
        mut rows: RawRows<'a>,
        step: fn(&mut RawRows<'a>),
        space: Space,
        (prefix, first): (&[u8], &[u8]),
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        let mut last: Option<Vec<u8>> = None;
        while let Some((key, value)) = rows.item() {
            if !key.starts_with(prefix) || visit(key, value)?.is_break() {
                return Ok(());
            }
            let seen = last.get_or_insert_default();
            seen.clear();
            seen.extend_from_slice(key);
            step(&mut rows);
        }
        // An iterator also stops where it cannot read on.
        rows.status().map_err(|error| self.unread(space, last.as_deref().unwrap_or(first), &error))
    }

    /// The error of a read. In a scan the key is the last that could be read: the damage is beside it.
    fn unread(&self, space: Space, key: &[u8], error: &rocksdb::Error) -> StorageError {
        match error.kind() {
            ErrorKind::Corruption => {
                self.corruptions.fetch_add(1, Ordering::Relaxed);
                StorageError::Corrupt { space, key: key.to_vec(), why: CORRUPTION }
            }
            _ => StorageError::Io(error.to_string()),
        }
    }

    /// The error of anything else.
    fn failed(&self, error: &rocksdb::Error) -> StorageError {
        self.corruptions.fetch_add(u64::from(error.kind() == ErrorKind::Corruption), Ordering::Relaxed);
        StorageError::Io(error.to_string())
    }
}

fn bytes_of_files(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for file in fs::read_dir(path)? {
        // A file may be gone between the listing and the look at it.
        bytes += file?.metadata().map_or(0, |file| file.len());
    }
    Ok(bytes)
}

// -- options ----------------------------------------------------------------------------------------------------------

fn family_name(space: Space) -> &'static str {
    match space {
        Space::Head => "head",
        Space::Cell => "cell",
        Space::Log => "log",
        Space::Meta => "meta",
        Space::Stage => "stage",
    }
}

/// The spaces, and the family that RocksDB wants to have, which stays empty.
fn families(sizes: Sizes, cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    let spaces = Space::ALL
        .into_iter()
        .map(|space| ColumnFamilyDescriptor::new(family_name(space), family_options(space, sizes, cache)));
    let unused = ColumnFamilyDescriptor::new("default", Options::default());
    spaces.chain([unused]).collect()
}

fn database_options(path: &Path, sizes: Sizes) -> Result<Options, OpenError> {
    let mut options = Options::default();
    if !lacks_logs(path)? {
        options = options.get_options_from_string(VERIFY_LOGS).map_err(refused)?;
    }
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_manual_wal_flush(true);
    options.set_paranoid_checks(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_keep_log_file_num(INFO_LOGS_MAX);
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager(
        sizes.memtables_bytes,
        false,
    ));
    Ok(options)
}

/// Whether there is a database and none of its logs. RocksDB would not open it at all then, whatever was in them; so
/// that it can be said what is missing, and accepted, it is not asked to verify what is not there.
fn lacks_logs(path: &Path) -> Result<bool, OpenError> {
    let unread =
        |error: io::Error| OpenError { words: format!("{}: {error}", path.display()), is_damage: false };
    if !path.join("CURRENT").try_exists().map_err(unread)? {
        return Ok(false);
    }
    for file in fs::read_dir(path).map_err(unread)? {
        if Path::new(&file.map_err(unread)?.file_name()).extension().is_some_and(|end| end == "log") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn unread(path: &Path, error: &io::Error) -> OpenError {
    OpenError { words: format!("{}: {error}", path.display()), is_damage: false }
}

fn refused(error: rocksdb::Error) -> OpenError {
    let is_corruption = error.kind() == ErrorKind::Corruption;
    let words = error.into_string();
    OpenError { is_damage: is_corruption || words.contains(FILE_IS_GONE), words }
}

fn family_options(space: Space, sizes: Sizes, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(BLOCK_BYTES);
    blocks.set_format_version(6);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if matches!(space, Space::Head | Space::Cell) {
        blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        blocks.set_bloom_filter(BLOOM_BITS, false);
        blocks.set_whole_key_filtering(true);
    }
    let mut options = Options::default();
    if space == Space::Log {
        options = options.get_options_from_string(APPENDS).expect("RocksDB knows its own option");
    }
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_paranoid_checks(true);
    options.set_write_buffer_size(sizes.memtables_bytes / 2);
    options.set_max_write_buffer_number(MEMTABLES_MAX);
    options
}
