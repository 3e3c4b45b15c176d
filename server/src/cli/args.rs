//! What stands in a command's words: keys, buckets, members, paths. Each is checked before anything is sent.

use crate::http::pointer;
use clap::ArgMatches;
use meridian_core::name::{Bucket, ContentType, Key, Member};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// A bucket and a key in it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) bucket: Bucket,
    pub(super) key: Key,
}

/// A field of a map.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// As a JSON Pointer.
    pub(super) pointer: String,
    /// The names on the way to it, from the key down.
    pub(super) names: Vec<String>,
}

// -- reading what was said --------------------------------------------------------------------------------------------

/// An argument's value, if the command has it and it was given.
pub(super) fn one<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.try_get_one::<T>(name).ok().flatten().cloned()
}

/// Whether a flag was given.
pub(super) fn flag(matches: &ArgMatches, name: &str) -> bool {
    one::<bool>(matches, name).unwrap_or_default()
}

// -- from words to types ----------------------------------------------------------------------------------------------

/// `BUCKET/KEY`.
pub(super) fn place(text: OsString) -> Result<Place, String> {
    let bytes = text.as_bytes();
    let slash = bytes.iter().position(|b| *b == b'/').ok_or("it is BUCKET/KEY, like users/42")?;
    let bucket = str::from_utf8(&bytes[..slash]).unwrap_or_default();
    let bucket = Bucket::new(bucket).map_err(|error| error.to_string())?;
    let key = Key::new(&bytes[slash + 1..]).map_err(|error| error.to_string())?;
    Ok(Place { bucket, key })
}

/// A bucket alone.
pub(super) fn bucket(text: &str) -> Result<Bucket, String> {
    match text.contains('/') {
        true => Err("it is a bucket's name alone, like users".into()),
        false => Bucket::new(text).map_err(|error| error.to_string()),
    }
}

/// A JSON Pointer.
pub(super) fn field(text: &str) -> Result<Field, String> {
    let path = pointer(text)?;
    let names = path.fields().iter().map(|field| field.as_str().to_owned()).collect();
    Ok(Field { pointer: text.to_owned(), names })
}

/// A member of a set.
pub(super) fn member(text: &str) -> Result<String, String> {
    Member::new(text).map(|member| member.as_str().to_owned()).map_err(|error| error.to_string())
}

/// A content type.
pub(super) fn content_type(text: &str) -> Result<String, String> {
    ContentType::new(text).map(|it| it.as_str().to_owned()).map_err(|error| error.to_string())
}

/// What can stand in a header or a parameter as it is: tokens, names of types.
pub(super) fn word(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("it is printable ASCII without spaces".into()),
    }
}
