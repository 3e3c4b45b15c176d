//! What clients write, in few words.

use meridian_core::cell::Type;
use meridian_core::context::Context;
use meridian_core::name::{ContentType, Member};
use meridian_core::node::Operation;
use meridian_core::path::{Field, Path};
use meridian_core::replica::write::{Write, WriteRequest};
use meridian_core::types::counter::CounterOp;
use meridian_core::types::flag::FlagOp;
use meridian_core::types::map::FieldWrite;
use meridian_core::types::set::SetOp;

/// A write as a request's operation.
pub fn write_of(write: Write, named: Option<Type>, context: Option<Context>) -> Operation {
    Operation::Write(WriteRequest { write, named, context, overwrites: false })
}

/// Puts a text.
pub fn put(text: &str) -> Write {
    let content_type = ContentType::new("text/plain").expect("a good content type");
    Write::Put { content_type, value: text.into() }
}

/// Adds to a counter.
pub fn increment(by: i64) -> Write {
    Write::Counter(vec![CounterOp::Increment(by)])
}

/// Resets a counter.
pub fn reset() -> Write {
    Write::Counter(vec![CounterOp::Reset])
}

/// Adds members to a set.
pub fn add(members: &[&str]) -> Write {
    Write::Set(vec![SetOp::Add(named(members))])
}

/// Removes members from a set.
pub fn remove(members: &[&str]) -> Write {
    Write::Set(vec![SetOp::Remove(named(members))])
}

/// Removes all members of a set.
pub fn clear() -> Write {
    Write::Set(vec![SetOp::Clear])
}

/// Switches a flag on.
pub fn enable() -> Write {
    Write::Flag(vec![FlagOp::Enable])
}

/// Switches a flag off.
pub fn disable() -> Write {
    Write::Flag(vec![FlagOp::Disable])
}

/// Shows a number to a maximum or a minimum.
pub fn observe(number: i64) -> Write {
    Write::Observe(vec![number])
}

/// Writes one field of a map; a DELETE removes it.
pub fn field(path: &str, write: Write) -> Write {
    fields(vec![(path, write)])
}

/// Writes fields of a map, all at once.
pub fn fields(writes: Vec<(&str, Write)>) -> Write {
    let of_field = |(text, write)| FieldWrite { path: path(text), named: None, write };
    Write::Map(writes.into_iter().map(of_field).collect())
}

/// A path: the names of its fields, with slashes between them.
pub fn path(text: &str) -> Path {
    let fields = text.split('/').map(|name| Field::new(name).expect("a good name"));
    Path::new(fields.collect()).expect("a short path")
}

/// Members by name.
pub fn named(members: &[&str]) -> Vec<Member> {
    members.iter().map(|member| Member::new(member).expect("a good member")).collect()
}
