//! A bucket's policy: what holds for its keys where a request does not say.
//!
//! A policy is an ordinary key in a bucket of the system's own ([`Bucket::policies`]), named like its bucket: a map that is
//! replicated, merged and repaired like any other. Its field `defaults` names, by operation, the type that a key gets with its
//! first write.

use crate::cell::Type;
use crate::name::{Bucket, Key, ShardCount};
use crate::path::{Field, Path};
use crate::rows::{self, Origins, Place};
use crate::storage::{Read, StorageError};
use crate::types::counter::CounterOp;
use crate::types::flag::FlagOp;
use crate::types::set::SetOp;
use crate::types::{Write, register};
use alloc::string::String;

/// The field of a policy that names types.
pub const DEFAULTS: &str = "defaults";

/// The policies of all buckets, as a node reads them.
#[derive(Clone, Copy)]
pub struct Policies<'a> {
    /// The rows.
    pub disk: &'a dyn Read,
    /// The numbers of origins in them.
    pub origins: &'a Origins,
    /// How many shards there are.
    pub shards: ShardCount,
}

impl Policies<'_> {
    /// The type that a bucket's policy gives to a key that a write creates; `None` where it does not say.
    ///
    /// # Errors
    /// [`StorageError`] when a row is damaged.
    pub fn default_of(&self, bucket: &Bucket, write: &Write) -> Result<Option<Type>, StorageError> {
        let Some(operation) = operation(write).filter(|_| *bucket != Bucket::policies()) else { return Ok(None) };
        let policies = Bucket::policies();
        let key = Key::new(bucket.as_str().as_bytes()).expect("the name of a bucket can be a key");
        let path = default_path(operation);
        let shard = self.shards.shard_of(&policies, &key);
        let head = rows::get_head(self.disk, self.origins, Place::key(shard, &policies, &key).at(&path))?;
        let name = register::winner(&head).map(|(_, register)| String::from_utf8_lossy(&register.value));
        Ok(name.and_then(|name| Type::named(name.trim_matches('"'))))
    }
}

/// The field in which a policy names the type for an operation.
pub fn default_path(operation: &str) -> Path {
    let field = |name| Field::new(name).expect("a name of a few letters");
    Path::new(alloc::vec![field(DEFAULTS), field(operation)]).expect("two fields")
}

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
