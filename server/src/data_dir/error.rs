//! Why a start is refused: what was found, that nothing was changed, and what can be done.

use super::ASIDES_MAX;
use std::io;
use std::path::{Path, PathBuf};

/// A data directory that cannot be used. Whatever it was, nothing in the directory was changed.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error(
        "{path} is held by another process. One directory is for one node: stop the other one, or start this one on \
         another directory",
        path = .path.display()
    )]
    Held {
        /// The directory.
        path: PathBuf,
    },
    /// It holds something, and not a node's data.
    #[error(
        "{path} is not a data directory: it holds {found:?} and no file FORMAT. Nothing was changed. Start on an empty \
         directory, or on one that does not exist yet",
        path = .path.display()
    )]
    NotADataDir {
        /// The directory.
        path: PathBuf,
        /// Something in it.
        found: String,
    },
    /// A later version has written it.
    #[error(
        "{path} has layout {found}, and this version of Meridian knows layouts up to {known}. Nothing was changed. \
         Start a version that knows layout {found}",
        path = .path.display()
    )]
    TooNew {
        /// The directory.
        path: PathBuf,
        /// Its layout.
        found: u32,
        /// The newest layout that this version reads.
        known: u32,
    },
    /// It is another node's.
    #[error(
        "{path} belongs to the node {found:?}, not to {asked:?}. Nothing was changed. Start it with the name {found:?}, \
         or start {asked:?} on a directory of its own",
        path = .path.display()
    )]
    OtherName {
        /// The directory.
        path: PathBuf,
        /// The name in it.
        found: String,
        /// The name that was asked for.
        asked: String,
    },
    /// It is another cluster's.
    #[error(
        "{path} holds data of the cluster {found}, and this node's certificate is of the cluster {asked}. Nothing was \
         changed. Give the --tls-dir of the cluster {found}, or start on a directory of its own",
        path = .path.display()
    )]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster of its data.
        found: String,
        /// The cluster of the certificate.
        asked: String,
    },
    /// A file of ours is not what we write.
    #[error(
        "{path}/{file} cannot be used: {why}. Nothing was changed. Restore a backup of the directory; or move it away \
         and start empty{also}",
        path = .path.display(),
        also = also(file)
    )]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// The file in it.
        file: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An earlier run found damaged rows.
    #[error(
        "{path} was found to be damaged by an earlier run: {what}. Nothing was changed. Restore a backup of the \
         directory; or move it away and start empty; or remove the file DAMAGED in it to start on what can still be \
         read: replicas with damaged rows then stay out of service",
        path = .path.display()
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What that run wrote down.
        what: String,
    },
    /// RocksDB does not open.
    #[error(
        "the database in {path} does not open: {words}. None of its data was changed. If it is damaged, restore a \
         backup of the directory, or move it away and start empty",
        path = .path.display()
    )]
    Database {
        /// The directory.
        path: PathBuf,
        /// Whether that is for damage, and not for a lock or an error of the system.
        is_damage: bool,
        /// RocksDB's words.
        words: String,
    },
    /// RocksDB opens, and is older than what was synced.
    #[error(
        "the database in {path} ends at version {found}, and it was durable up to version {synced}: a part of its \
         write-ahead log is gone, and acknowledged writes with it. None of its data was changed. Restore the missing \
         files or a backup of the directory; or move it away and start empty; or remove the file SYNCED in it to \
         accept the loss",
        path = .path.display()
    )]
    LogVanished {
        /// The directory.
        path: PathBuf,
        /// Where the database ends.
        found: u64,
        /// Where it ended before.
        synced: u64,
    },
    /// It is damaged, and so were those before it.
    #[error(
        "the database in {path} is damaged: {found}. As many as {ASIDES_MAX} were set aside before it and are still there \
         (db.damaged-*): something damages what is written. It was left as it is. Look to the disk and the memory of this \
         machine; then remove those that are handed over (they hold a file HANDED_OVER), and start again; or start on \
         another disk",
        path = .path.display()
    )]
    DamagedTooOften {
        /// The directory.
        path: PathBuf,
        /// What is damaged now.
        found: String,
    },
    /// The disk failed.
    #[error("{path}: {error}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl DataDirError {
    /// What is damaged, where the database may be set aside for it and others asked for what it held. All else is to be
    /// refused: it is not the database's fault, or setting it aside does not help.
    pub fn damage(&self) -> Option<String> {
        match self {
            DataDirError::Damaged { what, .. } => Some(first_and_count(what)),
            DataDirError::Database { is_damage: true, words, .. } => Some(words.clone()),
            DataDirError::LogVanished { found, synced, .. } => {
                Some(format!("it ends at version {found}, and it was durable up to version {synced}"))
            }
            _ => None,
        }
    }
}

/// The first of several lines, and how many more there are.
fn first_and_count(lines: &str) -> String {
    let first = lines.lines().next().unwrap_or_default();
    match lines.lines().count() {
        0 | 1 => first.to_owned(),
        count => format!("{first}, and {} more", count - 1),
    }
}

/// A file that is only there to notice something can be done without.
fn also(file: &str) -> &'static str {
    match file {
        "SYNCED" => {
            "; or remove the file: then nothing notices if the end of the database's log was lost before this start"
        }
        "MEMBERS" => "; or remove the file: then the node learns from its peers again, if --join names one",
        _ => "",
    }
}

/// Names the file that an error is about.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    |error| DataDirError::Io { path, error }
}

pub(super) fn unreadable(path: &Path, file: &'static str, why: &'static str) -> DataDirError {
    DataDirError::Unreadable { path: path.to_owned(), file, why }
}
