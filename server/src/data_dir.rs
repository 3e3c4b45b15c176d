//! The directory of a node: what lies beside the database, and when a start is refused.
//!
//! | name | what it is |
//! |---|---|
//! | `LOCK` | locked while a process holds the directory; the process's number |
//! | `FORMAT` | the number of this layout; written last, so that a directory that has it is whole |
//! | `NODE` | the node's name |
//! | `CLUSTER` | the id of the cluster that the data belongs to |
//! | `MEMBERS` | the member list, as JSON |
//! | `SYNCED` | how far the database was made durable (`data_dir/synced.rs`) |
//! | `DAMAGED` | what was found to be damaged, if anything was |
//! | `db/` | RocksDB |
//! | `db.damaged-N/` | a database that was set aside because it is damaged (`data_dir/aside.rs`) |
//!
//! - Nothing in it is ever deleted by us, but an empty database that we made ourselves.
//! - A refused start changes nothing, and says what was found and what can be done.
//! - Every file but `SYNCED` and `DAMAGED` is written under another name, synced, and then renamed: it is whole or not
//!   there.

mod aside;
mod error;
mod synced;

pub use aside::{ASIDES_MAX, Aside};
pub use error::DataDirError;
#[cfg(any(test, fuzzing))]
pub(crate) use synced::DECODERS;

use crate::rocks::Rocks;
use error::{at, unreadable};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use synced::Synced;
use uuid::Uuid;

/// The layout that this version writes and reads.
const FORMAT: u32 = 1;
/// What may lie in a directory that is still to become a node's: what a start leaves that was cut off or is under way,
/// and what some file systems put there.
const IN_A_NEW_ONE: [&str; 6] = ["LOCK", "NODE", "NODE.new", "FORMAT", "FORMAT.new", "lost+found"];
/// Bytes of `DAMAGED`. What is found when they are used up is not written down.
const DAMAGED_BYTES_MAX: u64 = 4 << 10;

/// A node's directory, held until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    synced: Synced,
    /// Whether this run has found damage.
    found_damage: AtomicBool,
    /// Keeps the lock.
    lock: File,
}

impl DataDir {
    /// Takes a directory for the node of this name. Without one, or in an empty one, it makes what is needed.
    ///
    /// # Errors
    /// Another process holds it, it is not a data directory, its layout is newer, it is another node's, or the disk
    /// failed.
    pub fn open(path: &Path, name: &str) -> Result<DataDir, DataDirError> {
        make_directory(path)?;
        let new = !exists(&path.join("FORMAT"))?;
        if new {
            check_new(path)?;
        }
        let lock = lock(path)?;
        if new && !exists(&path.join("FORMAT"))? {
            write_new(path, "NODE", name.as_bytes(), 0o644)?;
            write_new(path, "FORMAT", FORMAT.to_string().as_bytes(), 0o644)?;
        }
        check_format(path)?;
        check_name(path, name)?;
        aside::finish(path)?;
        let synced = Synced::open(path)?;
        Ok(DataDir { path: path.to_owned(), synced, found_damage: AtomicBool::new(false), lock })
    }

    /// Opens the database, or makes an empty one if there was none yet.
    ///
    /// # Errors
    /// Damage was written down earlier, the database does not open, its log ends before what was synced, or the disk
    /// failed. Then nothing was changed.
    pub fn open_database(&self, cache_bytes: usize) -> Result<Rocks, DataDirError> {
        let (path, database) = (&self.path, self.path.join("db"));
        if let Some(what) = read(path, "DAMAGED")? {
            let what = String::from_utf8_lossy(&what).trim().to_owned();
            return Err(DataDirError::Damaged { path: path.clone(), what });
        }
        let refused = |error: crate::rocks::OpenError| DataDirError::Database {
            path: path.clone(),
            is_damage: error.is_damage,
            words: error.words,
        };
        let synced = self.synced.version();
        // A directory without CURRENT is one that RocksDB has not finished making, or one that lost everything.
        let found = match exists(&database.join("CURRENT"))? {
            true => Rocks::version_at(&database).map_err(refused)?,
            false => 0,
        };
        if found < synced {
            return Err(DataDirError::LogVanished { path: path.clone(), found, synced });
        }
        let rocks = Rocks::open(&database, cache_bytes).map_err(refused)?;
        sync_directory(path)?;
        self.synced.create(path)?;
        // Whoever waits for the holder to end can find it. A refused start has not come this far, and changed nothing.
        let own = format!("{}\n", std::process::id());
        self.lock.set_len(0).and_then(|()| (&self.lock).write_all(own.as_bytes())).map_err(at(path))?;
        Ok(rocks)
    }

    /// Sets a damaged database aside, whole: it keeps all its files under another name, with what was found. It must be
    /// closed. The next [`DataDir::open_database`] makes an empty one.
    ///
    /// # Errors
    /// [`ASIDES_MAX`] were set aside before and are still there; or the disk's. A move that an error or a crash has cut off is
    /// ended by the next start.
    pub fn set_aside(&mut self, found: &str) -> Result<Aside, DataDirError> {
        let aside = aside::set_aside(&self.path, found)?;
        self.synced = Synced::open(&self.path)?;
        Ok(aside)
    }

    /// Puts the database that was set aside last back in its place, and removes the one that is there, which must be closed
    /// and never have held anything. Nothing more is to be done with this directory then.
    ///
    /// # Errors
    /// The disk's.
    pub fn put_back(&self) -> Result<(), DataDirError> {
        aside::put_back(&self.path)
    }

    /// The databases that were set aside, the latest last.
    ///
    /// # Errors
    /// The disk's.
    pub fn asides(&self) -> Result<Vec<Aside>, DataDirError> {
        aside::all(&self.path)
    }

    /// Takes the directory for a cluster, if it is not another's.
    ///
    /// # Errors
    /// The data belongs to another cluster, or the disk failed.
    pub fn enter(&self, cluster: Uuid) -> Result<(), DataDirError> {
        match read(&self.path, "CLUSTER")? {
            None => write_new(&self.path, "CLUSTER", cluster.to_string().as_bytes(), 0o644),
            Some(found) if found.trim_ascii() == cluster.to_string().as_bytes() => Ok(()),
            Some(found) => {
                let found = String::from_utf8_lossy(found.trim_ascii()).into_owned();
                Err(DataDirError::OtherCluster { path: self.path.clone(), found, asked: cluster.to_string() })
            }
        }
    }

    /// The member list as it was kept; empty if there is none yet.
    ///
    /// # Errors
    /// It is not one, or the disk failed.
    pub fn members<M: DeserializeOwned>(&self) -> Result<Vec<M>, DataDirError> {
        match read(&self.path, "MEMBERS")? {
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|_| unreadable(&self.path, "MEMBERS", "it is not a member list")),
            None => Ok(Vec::new()),
        }
    }

    /// Keeps the member list.
    ///
    /// # Errors
    /// The disk's.
    pub fn keep_members<M: Serialize>(&self, members: &[M]) -> Result<(), DataDirError> {
        let bytes = serde_json::to_vec_pretty(members).expect("strings and numbers can be written");
        write_new(&self.path, "MEMBERS", &bytes, 0o644)
    }

    /// Notes that the database is durable up to this [`Rocks::version`]. To be called after every sync, with the
    /// version from before it. A killed process does not lose the note; a power loss may lose its last second.
    ///
    /// # Errors
    /// The disk's.
    pub fn synced(&self, version: u64) -> io::Result<()> {
        self.synced.note(version)
    }

    /// Writes down that rows are damaged: the next start sets the database aside, or is refused until somebody has looked.
    ///
    /// # Errors
    /// The disk's.
    pub fn mark_damaged(&self, what: &str) -> io::Result<()> {
        self.found_damage.store(true, Ordering::Relaxed);
        let mut file = OpenOptions::new().create(true).append(true).open(self.path.join("DAMAGED"))?;
        if file.metadata()?.len() + (what.len() as u64) < DAMAGED_BYTES_MAX {
            writeln!(file, "{what}")?;
        }
        file.sync_all()?;
        File::open(&self.path)?.sync_all()
    }

    /// Whether this run has found damage.
    pub fn has_found_damage(&self) -> bool {
        self.found_damage.load(Ordering::Relaxed)
    }

    /// Bytes that the file system has left for this process.
    ///
    /// # Errors
    /// The disk's.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.path)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

/// The process that holds a data directory, if one has opened its database. The number may be that of an earlier holder
/// while a process starts: who uses it must look whether it is a node's.
pub fn holder(path: &Path) -> Option<i32> {
    let file = File::open(path.join("LOCK")).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => fs::read_to_string(path.join("LOCK")).ok()?.trim().parse().ok(),
        _ => None,
    }
}

// -- what a start checks ------------------------------------------------------------------------------------------------

fn make_directory(path: &Path) -> Result<(), DataDirError> {
    if exists(path)? {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => sync_directory(Path::new(".")),
    }
}

/// Only an empty directory becomes a node's.
fn check_new(path: &Path) -> Result<(), DataDirError> {
    for entry in fs::read_dir(path).map_err(at(path))? {
        let name = entry.map_err(at(path))?.file_name();
        if !IN_A_NEW_ONE.iter().any(|ours| *ours == name) {
            let found = name.to_string_lossy().into_owned();
            return Err(DataDirError::NotADataDir { path: path.to_owned(), found });
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let name = path.join("LOCK");
    let file = OpenOptions::new().create(true).append(true).open(&name).map_err(at(&name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataDirError::Held { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(at(&name)(error)),
    }
}

fn check_format(path: &Path) -> Result<(), DataDirError> {
    let text = read_text(path, "FORMAT")?;
    let found: u32 = text.parse().map_err(|_| unreadable(path, "FORMAT", "it is not a number"))?;
    match found {
        FORMAT => Ok(()),
        _ if found > FORMAT => Err(DataDirError::TooNew { path: path.to_owned(), found, known: FORMAT }),
        _ => Err(unreadable(path, "FORMAT", "no version has written this number")),
    }
}

fn check_name(path: &Path, asked: &str) -> Result<(), DataDirError> {
    let found = read_text(path, "NODE")?;
    match found == asked.trim() {
        true => Ok(()),
        false => Err(DataDirError::OtherName { path: path.to_owned(), found, asked: asked.to_owned() }),
    }
}

// -- files --------------------------------------------------------------------------------------------------------------

fn exists(path: &Path) -> Result<bool, DataDirError> {
    path.try_exists().map_err(at(path))
}

fn read(directory: &Path, name: &str) -> Result<Option<Vec<u8>>, DataDirError> {
    let path = directory.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(&path)(error)),
    }
}

/// A file that every data directory has, without the white space around it.
fn read_text(directory: &Path, name: &'static str) -> Result<String, DataDirError> {
    let bytes = read(directory, name)?.ok_or_else(|| unreadable(directory, name, "it is missing"))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable(directory, name, "it is not text"))?;
    Ok(text.trim().to_owned())
}

/// Writes a file that is whole or not there, whenever the power fails.
fn write_new(directory: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<(), DataDirError> {
    let (path, new) = (directory.join(name), directory.join(format!("{name}.new")));
    let mut options = OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(mode).open(&new).map_err(at(&new))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at(&new))?;
    fs::rename(&new, &path).map_err(at(&path))?;
    sync_directory(directory)
}

fn sync_directory(path: &Path) -> Result<(), DataDirError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(at(path))
}
