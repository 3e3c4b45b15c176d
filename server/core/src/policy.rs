//! A bucket's policy: what holds for its keys where a request does not say.
//!
//! A policy is an ordinary key in a bucket of the system's own ([`Bucket::policies`]), named like its bucket: a map that is
//! replicated, merged and repaired like any other. Its field `defaults` names, by operation, the type that a key gets with its
//! first write; the flag `declared` is there so that a policy which says nothing is one.

use crate::cell::Type;
use crate::name::{Bucket, ContentType, Key};
use crate::path::{Field, Path};
use crate::storage::StorageError;
use crate::types::counter::CounterOp;
use crate::types::flag::FlagOp;
use crate::types::map::FieldWrite;
use crate::types::set::SetOp;
use crate::types::{Value, View, Write, register};
use alloc::string::String;
use alloc::vec::Vec;

/// The field of a policy that names types.
const DEFAULTS: &str = "defaults";
/// The field that every policy has.
const DECLARED: &str = "declared";

/// The operations for which a policy can name a type, and the types it can name: those that know the operation.
pub const OPERATIONS: [(&str, &[Type]); 8] = [
    ("put", &[Type::Register, Type::Multi]),
    ("increment", &[Type::Counter]),
    ("add", &[Type::Set]),
    ("remove", &[Type::Set]),
    ("clear", &[Type::Set]),
    ("enable", &[Type::Flag]),
    ("disable", &[Type::Flag]),
    ("observe", &[Type::Max, Type::Min]),
];

/// What was declared for a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// By operation, the type that it gives to a key which it creates. Ascending by operation, one of [`OPERATIONS`] each.
    pub defaults: Vec<(&'static str, Type)>,
}

impl Policy {
    /// The write that puts this policy in place of what the key of the bucket's policy holds, as one delta.
    pub fn write(&self) -> Write {
        let at = |path: Path, write: Write| FieldWrite { path, named: None, write };
        let enabled = Write::Flag(alloc::vec![FlagOp::Enable]);
        let mut ops = alloc::vec![at(Path::default(), Write::Delete), at(path(&[DECLARED]), enabled)];
        for (operation, named) in &self.defaults {
            let content_type = ContentType::new("application/json").expect("a content type");
            let value = alloc::format!("\"{}\"", named.as_str()).into_bytes();
            ops.push(at(default_path(operation), Write::Put { content_type, value }));
        }
        Write::Map(ops)
    }

    /// The policy that the key of a bucket's policy reads as.
    pub fn of(value: &Value) -> Policy {
        let Some(Value::Map(named)) = field(value, DEFAULTS) else { return Policy::default() };
        let known = named.iter().filter_map(|(operation, value)| {
            let (operation, _) = OPERATIONS.iter().find(|(known, _)| *known == operation.as_str())?;
            match value {
                Value::Register { bytes, .. } => Some((*operation, type_of(bytes)?)),
                _ => None,
            }
        });
        Policy { defaults: known.collect() }
    }
}

fn field<'a>(map: &'a Value, wanted: &str) -> Option<&'a Value> {
    let Value::Map(fields) = map else { return None };
    fields.iter().find(|(name, _)| name.as_str() == wanted).map(|(_, value)| value)
}

/// The type that a JSON string names.
fn type_of(json: &[u8]) -> Option<Type> {
    Type::named(String::from_utf8_lossy(json).trim_matches('"'))
}

/// The key of a bucket's policy, in [`Bucket::policies`].
pub fn key_of(bucket: &Bucket) -> Key {
    Key::new(bucket.as_str().as_bytes()).expect("the name of a bucket can be a key")
}

/// The type that a policy gives to a key which an operation creates; `None` where it does not say. The view is of the policy's
/// key.
///
/// # Errors
/// [`StorageError`] when a row is damaged.
pub(crate) fn default_of(policy: View<'_>, operation: &str) -> Result<Option<Type>, StorageError> {
    let head = policy.at(&default_path(operation)).head()?;
    Ok(register::winner(&head).and_then(|(_, register)| type_of(&register.value)))
}

/// The field in which a policy names the type for an operation.
fn default_path(operation: &str) -> Path {
    path(&[DEFAULTS, operation])
}

fn path(names: &[&str]) -> Path {
    let fields = names.iter().map(|name| Field::new(name).expect("a name of a few letters"));
    Path::new(fields.collect()).expect("one field or two")
}

/// The operation by which a write is known to policies, where several types know it.
pub(crate) fn choice(write: &Write) -> Option<&'static str> {
    let operation = operation(write)?;
    let types = OPERATIONS.iter().find(|(known, _)| *known == operation).map(|(_, types)| *types);
    types.filter(|types| types.len() > 1).map(|_| operation)
}

/// The operation by which a write is known to policies: its first.
fn operation(write: &Write) -> Option<&'static str> {
    Some(match write {
        Write::Put { .. } => "put",
        Write::Counter(ops) => match ops.first()? {
            CounterOp::Increment(_) => "increment",
            CounterOp::Reset => return None,
        },
        Write::Set(ops) => match ops.first()? {
            SetOp::Add(_) => "add",
            SetOp::Remove(_) => "remove",
            SetOp::Clear => "clear",
        },
        Write::Flag(ops) => match ops.first()? {
            FlagOp::Enable => "enable",
            FlagOp::Disable => "disable",
        },
        Write::Observe(_) => "observe",
        Write::Delete | Write::Map(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_a_policy_can_name_knows_the_operation() {
        let member = || alloc::vec![crate::name::Member::new("m").unwrap()];
        let content_type = ContentType::new("text/plain").unwrap();
        for write in [
            Write::Put { content_type, value: Vec::new() },
            Write::Counter(alloc::vec![CounterOp::Increment(1)]),
            Write::Set(alloc::vec![SetOp::Add(member())]),
            Write::Set(alloc::vec![SetOp::Remove(member())]),
            Write::Set(alloc::vec![SetOp::Clear]),
            Write::Flag(alloc::vec![FlagOp::Enable]),
            Write::Flag(alloc::vec![FlagOp::Disable]),
            Write::Observe(alloc::vec![1]),
        ] {
            let operation = operation(&write).unwrap();
            let (_, types) = OPERATIONS.iter().find(|(known, _)| *known == operation).unwrap();
            let fitting: Vec<Type> = Type::ALL.into_iter().filter(|key_type| write.fits(*key_type)).collect();
            assert_eq!(types.to_vec(), fitting, "{operation}");
        }
        assert_eq!(operation(&Write::Delete), None);
        assert_eq!(operation(&Policy::default().write()), None);
    }

    #[test]
    fn a_policy_reads_as_what_is_known_of_it() {
        let field = |name: &str, value: Value| (Field::new(name).unwrap(), value);
        let register = |text: &str| {
            let content_type = ContentType::new("application/json").unwrap();
            Value::Register { content_type, bytes: text.into() }
        };
        let defaults = Value::Map(alloc::vec![
            field("explode", register("\"set\"")),
            field("observe", register("\"min\"")),
            field("put", register("\"multi\"")),
            field("add", register("\"later\"")),
        ]);
        let value =
            Value::Map(alloc::vec![field("declared", Value::Flag(true)), field("defaults", defaults)]);
        assert_eq!(Policy::of(&value).defaults, [("observe", Type::Min), ("put", Type::Multi)]);
        assert_eq!(Policy::of(&Value::Map(Vec::new())), Policy::default());
    }
}
