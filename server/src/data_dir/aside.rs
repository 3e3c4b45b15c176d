//! Damaged databases that were set aside: how one is moved out of the way, and back, whatever interrupts it.
//!
//! ```text
//! db/, SYNCED, DAMAGED  --set aside-->  db.damaged-1/ with SYNCED, DAMAGED, FOUND in it; a new db/ is made
//! db.damaged-1/         --put back-->   db/, SYNCED, DAMAGED; what was made in their place is removed
//! ```
//!
//! Each move is several renames. A note in the data directory says that it has begun; a start that finds the note ends the
//! move first. The note becomes, or was, `FOUND` in the directory that is moved: one rename begins or ends it.
//!
//! | name in `db.damaged-N/` | what it is |
//! |---|---|
//! | `FOUND` | the directory's number, and what was found to be damaged |
//! | `FILLED` | the database in its place has what the peers have |
//! | `HANDED_OVER` | the database in its place has what could be read of this one: it is not needed any more |

use super::error::{at, unreadable};
use super::{DataDirError, exists, make_directory, read, sync_directory, write_new};
use std::fs;
use std::path::{Path, PathBuf};

/// Databases that may be set aside at a time. With as many, a damaged one is refused: something damages whatever is written.
pub const ASIDES_MAX: usize = 3;
const DATABASE: &str = "db";
const PREFIX: &str = "db.damaged-";
/// Where the empty database is moved that made room for one that is put back.
const EMPTY: &str = "db.empty";
const SETTING_ASIDE: &str = "SETTING_ASIDE";
const PUTTING_BACK: &str = "PUTTING_BACK";
const FOUND: &str = "FOUND";
const FILLED: &str = "FILLED";
const HANDED_OVER: &str = "HANDED_OVER";
/// What is beside a database, and about it alone.
const BESIDE: [&str; 2] = ["SYNCED", "DAMAGED"];

/// A database that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Its directory.
    pub path: PathBuf,
    /// The higher, the later.
    number: u32,
}

impl Aside {
    /// What was found to be damaged, in words.
    ///
    /// # Errors
    /// The disk's.
    pub fn found(&self) -> Result<String, DataDirError> {
        let bytes = read(&self.path, FOUND)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.split_once('\n').map_or("", |(_, found)| found).trim().to_owned())
    }

    /// Whether the database in its place had all that the peers have.
    ///
    /// # Errors
    /// The disk's.
    pub fn is_filled(&self) -> Result<bool, DataDirError> {
        exists(&self.path.join(FILLED))
    }

    /// Notes that the database in its place has all that the peers have.
    ///
    /// # Errors
    /// The disk's.
    pub fn note_filled(&self) -> Result<(), DataDirError> {
        write_new(&self.path, FILLED, b"", 0o644)
    }

    /// Whether all that could be read of it is in the database in its place.
    ///
    /// # Errors
    /// The disk's.
    pub fn is_handed_over(&self) -> Result<bool, DataDirError> {
        exists(&self.path.join(HANDED_OVER))
    }

    /// Notes that all that could be read of it is in the database in its place, and what that was.
    ///
    /// # Errors
    /// The disk's.
    pub fn note_handed_over(&self, what: &str) -> Result<(), DataDirError> {
        write_new(&self.path, HANDED_OVER, format!("{what}\n").as_bytes(), 0o644)
    }
}

/// All that were set aside, the latest last.
pub(super) fn all(path: &Path) -> Result<Vec<Aside>, DataDirError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(at(path))? {
        let name = entry.map_err(at(path))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        found.extend(number.map(|number| Aside { path: path.join(&name), number }));
    }
    found.sort_by_key(|aside| aside.number);
    Ok(found)
}

/// Sets the database aside, with what is beside it. It must be closed.
pub(super) fn set_aside(path: &Path, found: &str) -> Result<Aside, DataDirError> {
    let asides = all(path)?;
    if asides.len() >= ASIDES_MAX {
        return Err(DataDirError::DamagedTooOften { path: path.to_owned(), found: found.to_owned() });
    }
    let number = asides.last().map_or(1, |last| last.number + 1);
    write_new(path, SETTING_ASIDE, format!("{number}\n{found}\n").as_bytes(), 0o644)?;
    finish_setting_aside(path)?;
    Ok(Aside { path: place(path, number), number })
}

/// Puts the database that was set aside last back in the place of the one that is there, which must be empty and closed,
/// and is removed: it is ours, and nothing was ever written into it.
pub(super) fn put_back(path: &Path) -> Result<(), DataDirError> {
    let Some(last) = all(path)?.pop() else { return Ok(()) };
    rename(&last.path.join(FOUND), &path.join(PUTTING_BACK))?;
    finish_putting_back(path)
}

/// Ends what an earlier run has begun and not ended.
pub(super) fn finish(path: &Path) -> Result<(), DataDirError> {
    finish_setting_aside(path)?;
    finish_putting_back(path)
}

fn finish_setting_aside(path: &Path) -> Result<(), DataDirError> {
    let Some(aside) = noted(path, SETTING_ASIDE)? else { return Ok(()) };
    let database = path.join(DATABASE);
    if !exists(&aside)? {
        // Without a database, what is beside it is set aside: it says that there was one.
        match exists(&database)? {
            true => rename(&database, &aside)?,
            false => make_directory(&aside)?,
        }
    }
    for name in BESIDE {
        rename_if_there(&path.join(name), &aside.join(name))?;
    }
    rename(&path.join(SETTING_ASIDE), &aside.join(FOUND))
}

fn finish_putting_back(path: &Path) -> Result<(), DataDirError> {
    let Some(aside) = noted(path, PUTTING_BACK)? else { return Ok(()) };
    let (database, empty) = (path.join(DATABASE), path.join(EMPTY));
    if exists(&aside)? {
        // As long as the empty database has its name, the files beside it are its own.
        if exists(&database)? {
            for name in BESIDE {
                rename_if_there(&path.join(name), &database.join(name))?;
            }
            rename(&database, &empty)?;
        }
        for name in BESIDE {
            rename_if_there(&aside.join(name), &path.join(name))?;
        }
        rename(&aside, &database)?;
    }
    if exists(&empty)? {
        fs::remove_dir_all(&empty).map_err(at(&empty))?;
    }
    let note = path.join(PUTTING_BACK);
    fs::remove_file(&note).map_err(at(&note))?;
    sync_directory(path)
}

/// The directory that a note is about, if there is the note.
fn noted(path: &Path, note: &'static str) -> Result<Option<PathBuf>, DataDirError> {
    let Some(bytes) = read(path, note)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let number = text.lines().next().and_then(|line| line.parse().ok());
    let number = number.ok_or_else(|| unreadable(path, note, "it does not begin with a number"))?;
    Ok(Some(place(path, number)))
}

fn place(path: &Path, number: u32) -> PathBuf {
    path.join(format!("{PREFIX}{number}"))
}

fn rename_if_there(from: &Path, to: &Path) -> Result<(), DataDirError> {
    match exists(from)? {
        true => rename(from, to),
        false => Ok(()),
    }
}

/// Renames, durably: the next step may rely on it.
fn rename(from: &Path, to: &Path) -> Result<(), DataDirError> {
    fs::rename(from, to).map_err(at(from))?;
    for directory in [to.parent(), from.parent()].into_iter().flatten() {
        sync_directory(directory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Every file below a directory, with what it says.
    fn files(path: &Path) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(path).expect("it can be listed") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => found.extend(files(&path)),
                false => drop(found.insert(path.clone(), fs::read_to_string(&path).expect("text"))),
            }
        }
        found
    }

    fn damaged() -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("a directory");
        fs::create_dir(place.path().join(DATABASE)).expect("a directory");
        for name in ["db/CURRENT", "SYNCED", "DAMAGED", "NODE"] {
            fs::write(place.path().join(name), format!("old {name}")).expect("it is written");
        }
        place
    }

    /// As a start makes it in the place of one that was set aside.
    fn make_new(path: &Path) {
        fs::create_dir_all(path.join(DATABASE)).expect("a directory");
        for name in ["db/CURRENT", "SYNCED"] {
            fs::write(path.join(name), format!("new {name}")).expect("it is written");
        }
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("a directory");
        for entry in fs::read_dir(from).expect("it can be listed") {
            let from = entry.expect("an entry").path();
            let to = to.join(from.file_name().expect("a name"));
            match from.is_dir() {
                true => copy(&from, &to),
                false => drop(fs::copy(&from, &to).expect("it can be copied")),
            }
        }
    }

    fn relative(path: &Path) -> BTreeMap<PathBuf, String> {
        let strip = |(file, text): (PathBuf, String)| {
            (file.strip_prefix(path).expect("it lies below").to_owned(), text)
        };
        files(path).into_iter().map(strip).collect()
    }

    /// Each state in which renames leave a directory that are cut off after any of them: the renames in the order in which
    /// they are made, done by hand.
    fn cut_off(start: &Path, renames: &[(&str, &str)]) -> Vec<tempfile::TempDir> {
        let cut = |count: usize| {
            let state = tempfile::tempdir().expect("a directory");
            copy(start, state.path());
            for (from, to) in &renames[..count] {
                fs::rename(state.path().join(from), state.path().join(to)).expect("it can be renamed");
            }
            state
        };
        (0..=renames.len()).map(cut).collect()
    }

    #[test]
    fn a_move_that_is_cut_off_anywhere_is_ended_by_the_next_start() {
        let whole = damaged();
        set_aside(whole.path(), "a flipped bit").expect("it is set aside");
        let begun = damaged();
        write_new(begun.path(), SETTING_ASIDE, b"1\na flipped bit\n", 0o644).expect("it is written");
        let renames = [
            ("db", "db.damaged-1"),
            ("SYNCED", "db.damaged-1/SYNCED"),
            ("DAMAGED", "db.damaged-1/DAMAGED"),
            ("SETTING_ASIDE", "db.damaged-1/FOUND"),
        ];
        for state in cut_off(begun.path(), &renames) {
            finish(state.path()).expect("it is ended");
            assert_eq!(relative(state.path()), relative(whole.path()));
        }
        let asides = all(whole.path()).expect("it can be listed");
        assert_eq!(asides[0].found().expect("it is read"), "a flipped bit");
        assert_eq!(asides.len(), 1);
        // And back.
        make_new(whole.path());
        let renames = [
            ("db.damaged-1/FOUND", "PUTTING_BACK"),
            ("SYNCED", "db/SYNCED"),
            ("db", "db.empty"),
            ("db.damaged-1/SYNCED", "SYNCED"),
            ("db.damaged-1/DAMAGED", "DAMAGED"),
            ("db.damaged-1", "db"),
        ];
        for state in cut_off(whole.path(), &renames).into_iter().skip(1) {
            finish(state.path()).expect("it is ended");
            assert_eq!(relative(state.path()), relative(damaged().path()));
        }
        put_back(whole.path()).expect("it is put back");
        assert_eq!(relative(whole.path()), relative(damaged().path()));
    }

    #[test]
    fn a_database_that_is_gone_is_set_aside_as_an_empty_one() {
        let place = damaged();
        fs::remove_dir_all(place.path().join(DATABASE)).expect("it was there");
        let aside = set_aside(place.path(), "gone").expect("it is set aside");
        assert!(aside.path.join("SYNCED").exists() && !place.path().join("SYNCED").exists());
    }

    #[test]
    fn three_are_kept_and_a_fourth_is_refused() {
        let place = damaged();
        for number in 1..=3 {
            let aside = set_aside(place.path(), "again").expect("there is room");
            assert_eq!(aside.path, place.path().join(format!("db.damaged-{number}")));
            make_new(place.path());
        }
        let before = files(place.path());
        let error = set_aside(place.path(), "again").expect_err("that is too often");
        assert!(matches!(error, DataDirError::DamagedTooOften { .. }), "{error}");
        assert_eq!(files(place.path()), before);
        // Whoever removes an old one makes room, and the latest still has the highest number.
        fs::remove_dir_all(place.path().join("db.damaged-1")).expect("it was there");
        let aside = set_aside(place.path(), "again").expect("there is room");
        assert_eq!(aside.path, place.path().join("db.damaged-4"));
    }
}
