//! A damaged database, read for what is left of it. It is the part of a node's disk that a healthy node never uses.

use super::{
    Db, Inner, MEMTABLES_BYTES, OPEN_FILES_MAX, OpenError, Sizes, families, family_name, refused, unread,
};
use meridian_core::storage::{Read, Space, StorageError, Visit};
use rocksdb::{Cache, ColumnFamilyDescriptor, DBRecoveryMode, LogLevel, Options, ReadOptions};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

/// Bytes of the cache with which a damaged database is read.
const SALVAGE_CACHE_BYTES: usize = 8 << 20;
/// The directory in a damaged database's own where its copy is opened.
const SALVAGE: &str = "salvage";
/// The key of no row, in any space.
const UNUSED_KEY: [u8; 1] = [0xff];
/// The first number of a file that no database has come to.
const FREE_NUMBER: u64 = 1 << 40;

/// A damaged database, opened for reading what is left of its log. Its files are not touched: what is opened is a copy beside
/// them, in which the tables, that RocksDB never changes, are links. It is removed in the end.
pub struct Damaged {
    /// Closed before the copy is removed: fields are dropped in this order.
    inner: Inner,
    _copy: Copied,
}

impl Damaged {
    /// Opens what can be opened: records of the write-ahead log that are damaged are passed over, and what cannot be read of a
    /// table is an error for the rows in it. Where RocksDB finds no way to begin, as its list of files is damaged, or where
    /// tables are gone, which hides the rows of others, the list is made anew from the write-ahead log and the tables that can
    /// be read to their ends.
    ///
    /// # Errors
    /// When there is no way to begin still, or the disk fails.
    pub fn open(path: &Path) -> Result<Damaged, OpenError> {
        let sizes = Sizes { cache_bytes: SALVAGE_CACHE_BYTES, memtables_bytes: MEMTABLES_BYTES };
        let cache = Cache::new_hyper_clock_cache(sizes.cache_bytes, 0);
        let options = salvage_options();
        let copied = || Copied::of(path).map_err(|error| unread(path, &error));
        let open = |copy: &Copied| {
            Db::open_cf_descriptors(&options, &copy.0, families(sizes, &cache)).map_err(refused)
        };
        let copy = copied()?;
        let (db, copy) = match open(&copy) {
            Ok(db) if has_all_tables(&db) => (db, copy),
            failed => {
                drop((failed, copy));
                let copy = copied()?;
                copy.add_names(families(sizes, &cache))?;
                Db::repair(&options, &copy.0).map_err(refused)?;
                (open(&copy)?, copy)
            }
        };
        Ok(Damaged { inner: Inner { db, cache, corruptions: AtomicU64::new(0) }, _copy: copy })
    }
}

fn has_all_tables(db: &Db) -> bool {
    let exists = |name: &str| db.path().join(name.trim_start_matches('/')).exists();
    db.live_files().is_ok_and(|files| files.iter().all(|file| exists(&file.name)))
}

impl Read for Damaged {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.get(space, key, &ReadOptions::default())
    }

    fn scan(&self, space: Space, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        self.inner.scan(space, prefix, from, ReadOptions::default(), visit)
    }

    fn scan_back(
        &self,
        space: Space,
        prefix: &[u8],
        before: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        self.inner.scan_back(space, prefix, before, ReadOptions::default(), visit)
    }
}

/// (Not for reading only: RocksDB 11.8 follows a null pointer then, where logs are noted in its list of files and are not to
/// be verified.)
fn salvage_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(false);
    options.create_missing_column_families(true);
    options.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
    options.set_paranoid_checks(false);
    options.set_disable_auto_compactions(true);
    options.set_skip_stats_update_on_db_open(true);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_log_level(LogLevel::Warn);
    options
}

/// A directory in a database's own with a copy of its files.
struct Copied(PathBuf);

impl Copied {
    fn of(path: &Path) -> io::Result<Copied> {
        let copy = Copied(path.join(SALVAGE));
        // A process that was killed leaves it.
        copy.remove()?;
        fs::create_dir(&copy.0)?;
        for entry in fs::read_dir(path)? {
            let from = entry?.path();
            let Some(name) = from.file_name().filter(|_| from.is_file()) else { continue };
            let to = copy.0.join(name);
            match from.extension().is_some_and(|end| end == "sst") {
                true => fs::hard_link(&from, &to)?,
                false => drop(fs::copy(&from, &to)?),
            }
        }
        Ok(copy)
    }

    /// Adds a table for each space, from an empty database whose spaces have the same numbers: a list that is made anew has
    /// the spaces that tables name, and of the write-ahead log no rows of others.
    fn add_names(&self, families: Vec<ColumnFamilyDescriptor>) -> Result<(), OpenError> {
        let place = self.0.join(SALVAGE);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        {
            let db = Db::open_cf_descriptors(&options, &place, families).map_err(refused)?;
            for space in Space::ALL {
                let family = db.cf_handle(family_name(space)).expect("every space was opened");
                db.put_cf(family, UNUSED_KEY, b"").and_then(|()| db.flush_cf(family)).map_err(refused)?;
            }
        }
        let tables = fs::read_dir(&place).map_err(|error| unread(&place, &error))?;
        for (number, table) in (FREE_NUMBER..).zip(tables.flatten().map(|file| file.path())) {
            if table.extension().is_some_and(|end| end == "sst") {
                let to = self.0.join(format!("{number}.sst"));
                fs::rename(&table, to).map_err(|error| unread(&table, &error))?;
            }
        }
        Ok(())
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // What stays is removed by the next attempt, or by whoever removes the database.
        let _stays = self.remove();
    }
}
