//! The data types: what a key can be, what can be asked of it, and how two nodes' concurrent writes read together.
//!
//! Each type is a file: its reading (a pure function of cells), and its writing (from an operation and what is there
//! to the effects of a delta). Nothing here changes a row: that is [`crate::replica`]'s `apply`, for all types alike.
//! Why each type reads as it does stands in `docs/consistency.md`, with two nodes and what each reads.

pub mod counter;
pub mod register;
pub mod set;

use crate::cell::{Cell, Head, Type};
use crate::context::Context;
use crate::delta::Effect;
use crate::id::Dot;
use crate::name::{ContentType, Member};
use crate::rows::{self, Origins, Place};
use crate::storage::{Read, StorageError};
use crate::version_vector::VersionVector;
use alloc::vec::Vec;

/// What a key reads as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A register's winning write.
    Register {
        /// What the bytes are.
        content_type: ContentType,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A counter's sum, exact. Concurrent increments may take it beyond i64; no single request can.
    Counter(i128),
    /// A set's members in byte order.
    Set(Vec<Member>),
}

/// A request that could not be done. Nothing was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The key was created under several types at once; say which is meant.
    #[error("the key was created under several types at once: name one of them with ?type=")]
    TypeConflict {
        /// The types, ascending.
        types: Vec<Type>,
    },
    /// The operation does not fit the key's type.
    #[error("the key is a {}, which does not know this operation", is.as_str())]
    WrongType {
        /// What the key is.
        is: Type,
    },
    /// The operation does not fit the type that the request itself names.
    #[error("a {} does not know this operation", named.as_str())]
    TypeMisfit {
        /// What the request says the key is.
        named: Type,
    },
    /// The value is longer than any setting allows.
    #[error("a value has at most 8388608 bytes")]
    ValueTooLarge,
    /// The write has more operations or members than one write may have.
    #[error("a write has at most 1000 operations and members: send several")]
    TooManyOperations,
    /// The context is so old that the write would leave too many siblings beside its own.
    #[error("the context is too old: read the key again, or put without a context")]
    TooManySiblings,
    /// The counter would leave i64.
    #[error("the counter would leave the range of a 64-bit integer")]
    CounterOverflow,
    /// The set has more members than one answer may have.
    #[error("the set has more members than one answer may have: read it in pages")]
    PageRequired,
    /// The replica has a damaged row, and answers nobody until it has been filled again; or a large repair is being installed.
    #[error("this replica is out of service: a row of it is damaged, or it is being repaired")]
    Quarantined,
    /// The version vector has no room for this node's origin.
    #[error("the shard has seen too many restarts for its version vector to take one more")]
    OriginsFull,
}

/// Why there is no answer: a refusal, or the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// To be told to the client.
    Refused(Refusal),
    /// To be handled by the node.
    Storage(StorageError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Failure::Storage(error)
    }
}

/// A consistent view of one key: its rows, and what its replica had applied when they were like this.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The rows.
    pub disk: &'a dyn Read,
    /// The numbers of origins in them.
    pub origins: &'a Origins,
    /// What was applied. From the same instant as the rows, always.
    pub vector: &'a VersionVector,
    /// Which key.
    pub place: Place<'a>,
}

impl View<'_> {
    /// The key's head; empty if it has none.
    pub(crate) fn head(self) -> Result<Cell<Head>, StorageError> {
        rows::get_head(self.disk, self.origins, self.place)
    }

    /// The types under which the key exists, ascending; none if it does not.
    ///
    /// The head says it. A key without one exists by its content: a DELETE took the head away and a concurrent add or
    /// increment stayed.
    pub(crate) fn types(self, head: &Cell<Head>) -> Result<Vec<Type>, StorageError> {
        let mut types: Vec<Type> = head.siblings().iter().map(|(_, head)| head.key_type()).collect();
        if types.is_empty() {
            let parts = rows::parts(self.disk, self.place)?;
            types.extend(parts.slots.then_some(Type::Counter));
            types.extend(parts.members.then_some(Type::Set));
        }
        types.sort_unstable();
        types.dedup();
        Ok(types)
    }
}

/// Which of a key's types is meant: the one that is named, else the only one. `None` if the key does not exist so far.
pub(crate) fn choose(types: &[Type], named: Option<Type>) -> Result<Option<Type>, Refusal> {
    match (types, named) {
        ([], _) => Ok(None),
        (types, Some(named)) if types.contains(&named) => Ok(Some(named)),
        ([is], None) => Ok(Some(*is)),
        ([is, ..], Some(_)) => Err(Refusal::WrongType { is: *is }),
        (types, None) => Err(Refusal::TypeConflict { types: types.to_vec() }),
    }
}

/// Whether a write takes a dot away: always, or if its context has seen it.
pub(crate) fn takes_away(context: Option<&Context>, dot: Dot) -> bool {
    context.is_none_or(|context| context.vector.covers(dot))
}

/// The head's siblings of some types that a write takes away.
pub(crate) fn seen_heads(
    head: &Cell<Head>,
    context: Option<&Context>,
    takes: impl Fn(Type) -> bool,
) -> Vec<Dot> {
    let siblings = head.siblings().iter().filter(|(_, head)| takes(head.key_type()));
    siblings.map(|(dot, _)| *dot).filter(|dot| takes_away(context, *dot)).collect()
}

/// The head that a key of a type without a value gets with its first write, where it has none of that type.
pub(crate) fn missing_head(head: &Cell<Head>, wanted: Head) -> Option<Effect> {
    let there = head.siblings().iter().any(|(_, head)| head.key_type() == wanted.key_type());
    (!there).then_some(Effect::Head { kills: Vec::new(), put: Some(wanted) })
}
