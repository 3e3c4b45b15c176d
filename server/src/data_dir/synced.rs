//! `SYNCED`: how far the database was made durable, kept outside of it, so that a log that vanished is noticed.
//!
//! Two copies in blocks of their own, written by turns: a write that was torn spoils one, and the other says what was
//! noted just before. Each is the version (8 bytes) and its checksum (8), big-endian.
//!
//! A note is written without a sync, which is enough for a process that is killed; at most once a second the file is
//! synced as well. It only ever says what is durable already, so it may be older than the database, never newer.

use super::error::{at, unreadable};
use super::{DataDirError, exists, read, write_new};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const NAME: &str = "SYNCED";
const COPY_BYTES: usize = 16;
/// Where the copies lie: never in one block of any disk.
const PLACES: [usize; 2] = [0, 4096];
const SEED: u64 = u64::from_be_bytes(*b"SYNCED\0\x01");
/// What a power loss may take from the notes.
const SYNC_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Synced {
    /// The version that the file said at the start.
    found: u64,
    file: OnceLock<File>,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    version: u64,
    /// The copy that is written next: not the one that holds `version`.
    next: usize,
    synced_at: Option<Instant>,
}

impl Synced {
    /// Reads the file. Without one nothing is known to be durable.
    pub(super) fn open(directory: &Path) -> Result<Synced, DataDirError> {
        let (mut notes, file) = (Notes::default(), OnceLock::new());
        if let Some(bytes) = read(directory, NAME)? {
            let Some((version, newest)) = newest(&bytes) else {
                return Err(unreadable(directory, NAME, "both copies in it are torn"));
            };
            notes = Notes { version, next: 1 - newest, synced_at: None };
            file.set(open_file(directory)?).expect("it was empty");
        }
        Ok(Synced { found: notes.version, file, notes: Mutex::new(notes) })
    }

    /// What the file said at the start.
    pub(super) fn version(&self) -> u64 {
        self.found
    }

    /// Makes the file if there is none.
    pub(super) fn create(&self, directory: &Path) -> Result<(), DataDirError> {
        if self.file.get().is_some() {
            return Ok(());
        }
        if !exists(&directory.join(NAME))? {
            let mut bytes = vec![0; PLACES[1] + COPY_BYTES];
            for place in PLACES {
                bytes[place..place + COPY_BYTES].copy_from_slice(&copy(0));
            }
            write_new(directory, NAME, &bytes, 0o644)?;
        }
        let file = open_file(directory)?;
        // Somebody else may have been first; it is the same file.
        self.file.get_or_init(|| file);
        Ok(())
    }

    /// Writes down that the database is durable up to this version. A lower one than before says nothing new.
    pub(super) fn note(&self, version: u64) -> io::Result<()> {
        let file = self.file.get().ok_or_else(|| io::Error::other("the database was not opened yet"))?;
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if version <= notes.version {
            return Ok(());
        }
        file.write_all_at(&copy(version), PLACES[notes.next] as u64)?;
        (notes.version, notes.next) = (version, 1 - notes.next);
        if notes.synced_at.is_none_or(|at| at.elapsed() >= SYNC_EVERY) {
            file.sync_data()?;
            notes.synced_at = Some(Instant::now());
        }
        Ok(())
    }
}

fn open_file(directory: &Path) -> Result<File, DataDirError> {
    let path = directory.join(NAME);
    OpenOptions::new().write(true).open(&path).map_err(at(&path))
}

fn copy(version: u64) -> [u8; COPY_BYTES] {
    let version = version.to_be_bytes();
    let mut copy = [0; COPY_BYTES];
    copy[..8].copy_from_slice(&version);
    copy[8..].copy_from_slice(&xxh3_64_with_seed(&version, SEED).to_be_bytes());
    copy
}

/// The version that the file says, and which copy says it; `None` where neither is whole.
fn newest(bytes: &[u8]) -> Option<(u64, usize)> {
    let copies = PLACES.map(|place| copy_at(bytes, place));
    let newest = (0..copies.len()).max_by_key(|copy| copies[*copy]).expect("there are two");
    copies[newest].map(|version| (version, newest))
}

/// The version in a copy, if the copy is whole.
fn copy_at(bytes: &[u8], place: usize) -> Option<u64> {
    let found = bytes.get(place..place + COPY_BYTES)?;
    let version = u64::from_be_bytes(*found.first_chunk()?);
    (copy(version) == found).then_some(version)
}

#[cfg(any(test, fuzzing))]
pub(crate) use decoders::DECODERS;

/// The file as a decoder that tests and fuzzers drive.
#[cfg(any(test, fuzzing))]
mod decoders {
    use super::*;
    use crate::decoders::Decoder;

    pub(crate) const DECODERS: [Decoder; 1] = [Decoder { name: "synced", check, seeds, memory_per_byte: 1 }];

    /// What is believed stands there in full, and nothing whole there says more.
    fn check(bytes: &[u8]) -> bool {
        let Some((version, place)) = newest(bytes) else { return false };
        assert_eq!(bytes[PLACES[place]..][..COPY_BYTES], copy(version));
        assert!(PLACES.iter().all(|place| copy_at(bytes, *place) <= Some(version)));
        true
    }

    fn seeds() -> Vec<Vec<u8>> {
        let file = |versions: [u64; 2]| {
            let mut bytes = vec![0; PLACES[1] + COPY_BYTES];
            for (place, version) in PLACES.into_iter().zip(versions) {
                bytes[place..place + COPY_BYTES].copy_from_slice(&copy(version));
            }
            bytes
        };
        vec![copy(7).to_vec(), file([0, 0]), file([300, 299]), file([1, u64::MAX])]
    }
}
