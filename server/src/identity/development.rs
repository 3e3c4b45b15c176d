//! The development authority: one for each user on each machine, so that nodes which are started by hand meet in one
//! cluster. It is used only while a node listens for peers on loopback.

use super::authority::{Authority, NODE_DAYS};
use super::{Bundle, CLUSTER_FILE, IdentityError};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Where this user's development authority lies, by XDG's rules.
///
/// # Errors
/// [`IdentityError::NoHome`].
pub fn directory(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, IdentityError> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = set("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let data = data.or_else(|| Some(set("HOME")?.join(".local/share"))).ok_or(IdentityError::NoHome)?;
    Ok(data.join("meridian/development"))
}

/// The bundle of the node `name`, under the authority in `directory`, which is made if it is not there. Any number of
/// processes may do this at a time.
///
/// # Errors
/// [`IdentityError`].
pub fn bundle(directory: &Path, name: &str) -> Result<Bundle, IdentityError> {
    let at = |error| IdentityError::Io { path: directory.to_owned(), error };
    fs::create_dir_all(directory).map_err(at)?;
    let lock = OpenOptions::new().create(true).append(true).open(directory.join("LOCK")).map_err(at)?;
    lock.lock().map_err(at)?;
    if !directory.join(CLUSTER_FILE).exists() {
        remove_unfinished(directory).map_err(at)?;
        Authority::init(directory)?;
    }
    drop(lock);
    Authority::read(directory)?.issue(name, NODE_DAYS)
}

/// What a process left that was killed while it made the authority.
fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for file in [super::authority::KEY_FILE, super::AUTHORITY_FILE] {
        match fs::remove_file(directory.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
