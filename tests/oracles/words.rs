//! What all of them speak of: outcomes, the keys, and plain values.

use meridian_core::name::{Bucket, ContentType, Key, Member};
use meridian_core::node::{Operation, Request};
use meridian_core::path::{Field, Path};
use meridian_core::replica::write::Write;

/// `Err` says which law was broken, and how.
pub(crate) type Outcome = Result<(), String>;

/// One key looks like the rows of another.
pub(crate) const KEYS: [&[u8]; 6] = [b"k", b"k\0\x02k", b"k\0", b"l", b"k\0\xff", b"m"];
pub(crate) const BUCKET: &str = "b";

pub(crate) fn request(key: usize, operation: Operation) -> Request {
    let bucket = Bucket::new(BUCKET).expect("a good name");
    Request { bucket, key: Key::new(KEYS[key]).expect("a good key"), operation }
}

pub(crate) fn put(value: Vec<u8>) -> Write {
    Write::Put { content_type: text_plain(), value }
}

pub(crate) fn text_plain() -> ContentType {
    ContentType::new("text/plain").expect("a good content type")
}

pub(crate) fn member(text: &str) -> Member {
    Member::new(text).expect("a good member")
}

/// A path: the names of its fields, with slashes between them.
pub(crate) fn path(text: &str) -> Path {
    let fields = text.split('/').map(|name| Field::new(name).expect("a good name"));
    Path::new(fields.collect()).expect("a short path")
}

pub(crate) fn name(member: &Member) -> String {
    member.as_str().into()
}

pub(crate) fn pick<T>(items: &[T], place: u8) -> Option<&T> {
    items.get(usize::from(place) % items.len().max(1))
}

pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise()) }
}

pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, oracle: T) -> Outcome {
    ensure(ours == oracle, || format!("{what}: {ours:?}, and should be {oracle:?}"))
}
