//! The data types: what a key can be, what can be asked of it, and how two nodes' concurrent writes read together.
//!
//! Each type is a file: its reading (a pure function of cells), and its writing (from an operation and what is there
//! to the effects of a delta). Nothing here changes a row: that is [`crate::replica`]'s `apply`, for all types alike.
//! Why each type reads as it does stands in `docs/consistency.md`, with two nodes and what each reads.

pub mod counter;
pub mod extremum;
pub mod flag;
pub mod map;
pub mod multi;
pub mod register;
pub mod set;

use crate::cell::{Blob, Cell, Head, Type, VALUE_BYTES_MAX};
use crate::context::{Context, Seen};
use crate::delta::Effect;
use crate::hlc::Hlc;
use crate::id::Dot;
use crate::name::{ContentType, Member};
use crate::path::{Field, Path};
use crate::planted::{Bug, Planted};
use crate::rows::{self, HeadRow, Origins, Parts, Place};
use crate::storage::{Read, StorageError};
use crate::version_vector::VersionVector;
use alloc::vec::Vec;
use counter::{CounterOp, Slots};
use flag::FlagOp;
use map::FieldWrite;
use set::{SetChange, SetOp};

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
    /// A multi-value register's values, in the order of their dots: those of which none has seen another.
    Multi(Vec<Blob>),
    /// Whether a flag is enabled.
    Flag(bool),
    /// The highest number that was observed.
    Max(i64),
    /// The lowest number that was observed.
    Min(i64),
    /// A map's fields in byte order.
    Map(Vec<(Field, Value)>),
}

impl Value {
    /// The type of the key that reads like this.
    pub fn key_type(&self) -> Type {
        match self {
            Value::Register { .. } => Type::Register,
            Value::Counter(_) => Type::Counter,
            Value::Set(_) => Type::Set,
            Value::Multi(_) => Type::Multi,
            Value::Flag(_) => Type::Flag,
            Value::Max(_) => Type::Max,
            Value::Min(_) => Type::Min,
            Value::Map(_) => Type::Map,
        }
    }
}

/// What a client does to one key, or to a field of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a register, or a multi-value register.
    Put {
        /// What the bytes are.
        content_type: ContentType,
        /// The bytes; at most [`VALUE_BYTES_MAX`].
        value: Vec<u8>,
    },
    /// Takes the key away, or the field and all in it, whatever it is.
    Delete,
    /// Updates a counter, all operations as one.
    Counter(Vec<CounterOp>),
    /// Updates a set, all operations as one.
    Set(Vec<SetOp>),
    /// Switches a flag, all operations as one.
    Flag(Vec<FlagOp>),
    /// Shows numbers to a maximum or a minimum, all at once.
    Observe(Vec<i64>),
    /// Writes fields of a map, all at once.
    Map(Vec<FieldWrite>),
}

impl Write {
    /// How many operations and members it has.
    pub(crate) fn size(&self) -> usize {
        match self {
            Write::Put { .. } | Write::Delete => 1,
            Write::Counter(ops) => ops.len(),
            Write::Set(ops) => ops.iter().map(SetOp::size).sum(),
            Write::Flag(ops) => ops.len(),
            Write::Observe(numbers) => numbers.len(),
            Write::Map(ops) => ops.iter().map(|op| op.write.size()).sum(),
        }
    }

    /// Whether it may take away any number of rows at once.
    pub(crate) fn removes_ranges(&self) -> bool {
        match self {
            Write::Delete => true,
            Write::Set(ops) => ops.contains(&SetOp::Clear),
            Write::Map(ops) => ops.iter().any(|op| op.write.removes_ranges()),
            _ => false,
        }
    }

    /// Whether it only takes away: where nothing is, it creates nothing.
    pub fn takes_only(&self) -> bool {
        match self {
            Write::Delete => true,
            Write::Counter(ops) => ops.iter().all(|op| *op == CounterOp::Reset),
            Write::Set(ops) => ops.iter().all(|op| !matches!(op, SetOp::Add(_))),
            Write::Flag(ops) => ops.iter().all(|op| *op == FlagOp::Disable),
            Write::Put { .. } | Write::Observe(_) | Write::Map(_) => false,
        }
    }

    /// Whether a type knows this operation; every type knows DELETE.
    pub fn fits(&self, key_type: Type) -> bool {
        match self {
            Write::Put { .. } => matches!(key_type, Type::Register | Type::Multi),
            Write::Delete => true,
            Write::Counter(_) => key_type == Type::Counter,
            Write::Set(_) => key_type == Type::Set,
            Write::Flag(_) => key_type == Type::Flag,
            Write::Observe(_) => matches!(key_type, Type::Max | Type::Min),
            Write::Map(_) => key_type == Type::Map,
        }
    }

    /// The type that it gives to a key that does not exist, unless something else is said; none for DELETE.
    pub fn default_type(&self) -> Option<Type> {
        match self {
            Write::Put { .. } => Some(Type::Register),
            Write::Delete => None,
            Write::Counter(_) => Some(Type::Counter),
            Write::Set(_) => Some(Type::Set),
            Write::Flag(_) => Some(Type::Flag),
            Write::Observe(_) => Some(Type::Max),
            Write::Map(_) => Some(Type::Map),
        }
    }
}

/// What a write answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Deleted.
    Done,
    /// Put, as a key of this type.
    Put(Type),
    /// What the counter reads now.
    Counter(i128),
    /// What changed in the set.
    Set(SetChange),
    /// Whether the flag is on now.
    Flag(bool),
    /// What the maximum, or minimum, is now.
    Extremum(Type, i64),
    /// How many of the operations, fields taken together, changed something in the map.
    Map(u64),
}

impl Written {
    /// Whether it tells all that there is to see of the key.
    pub(crate) fn shows_value(self) -> bool {
        matches!(self, Written::Counter(_) | Written::Flag(_) | Written::Extremum(..))
    }
}

/// A key, or a field, that is written to, as it is found.
pub(crate) struct Node<'a> {
    pub(crate) view: View<'a>,
    pub(crate) head: Cell<Head>,
    /// What the client had seen of it.
    pub(crate) context: Option<&'a Context>,
    /// Whether it insists on overwriting what it has not seen.
    pub(crate) overwrites: bool,
    pub(crate) planted: Planted,
}

/// The name and the time of the delta that a write makes.
#[derive(Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) dot: Dot,
    pub(crate) hlc: Hlc,
}

/// What a write does to a key, or a field, of a type that it fits, apart from its fields. A counter's slots are left as they are
/// afterwards.
pub(crate) fn update(
    node: &Node<'_>,
    key_type: Type,
    write: &Write,
    slots: &mut Slots,
    stamp: Stamp,
) -> Result<(Vec<Effect>, Written), Failure> {
    let Node { view, head, context, overwrites, planted } = node;
    Ok(match write {
        Write::Put { value, .. } if value.len() > VALUE_BYTES_MAX => {
            return Err(Refusal::ValueTooLarge.into());
        }
        Write::Put { content_type, value } => {
            let blob = Blob { content_type: content_type.clone(), value: value.clone() };
            let put = match key_type {
                Type::Multi => multi::put(head, *context, *overwrites, blob)?,
                _ => register::put(head, context.filter(|_| !overwrites), blob, stamp.hlc)?,
            };
            (alloc::vec![put], Written::Put(key_type))
        }
        Write::Counter(ops) => {
            let (effects, value) = counter::update(head, slots, *context, ops, stamp.dot)?;
            (effects, Written::Counter(value))
        }
        Write::Set(ops) => {
            let (effects, change) = set::update(*view, head, *context, ops, *planted)?;
            (effects, Written::Set(change))
        }
        Write::Flag(ops) => {
            let (effect, enabled) = flag::update(head, *context, ops);
            (effect.into_iter().collect(), Written::Flag(enabled))
        }
        Write::Observe(numbers) => {
            let (effect, number) = extremum::update(head, key_type, numbers);
            (effect.into_iter().collect(), Written::Extremum(key_type, number))
        }
        Write::Delete | Write::Map(_) => unreachable!("they are no update of one cell"),
    })
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
    /// The collection has more members, or fields, than one answer may have.
    #[error("the {} has more in it than one answer may have: read it in pages, with ?limit=", of.as_str())]
    PageRequired {
        /// What it is.
        of: Type,
    },
    /// A multi-value register is put without saying what was seen of it.
    #[error("the key has values: put with the Meridian-Context of a read, or with ?overwrite=true")]
    ContextRequired,
    /// The subtree has more counters than one write can reset.
    #[error("there are more than 10000 counters in it: remove parts of it first")]
    TooManyCounters,
    /// A large removal was begun here, and is in the way of the answer.
    #[error("much was removed here and is being swept away: try again soon")]
    Sweeping,
    /// The replica has a damaged row, and answers nobody until it has been filled again; or a large repair is being installed.
    #[error("this replica is out of service: a row of it is damaged, or it is being repaired")]
    Quarantined,
    /// The write creates a key whose type its bucket's policy may name, and the policy's replica here is out of service.
    #[error("the bucket's policy cannot be read here now: name the type with ?type=, or ask another node")]
    PolicyUnread,
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
        match error {
            StorageError::Unswept => Failure::Refused(Refusal::Sweeping),
            error => Failure::Storage(error),
        }
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

impl<'a> View<'a> {
    /// A field of the same key, or the key itself.
    pub(crate) fn at<'b>(self, path: &'b Path) -> View<'b>
    where
        'a: 'b,
    {
        View { place: self.place.at(path), ..self }
    }

    /// The head; empty if there is none.
    pub(crate) fn head(self) -> Result<Cell<Head>, StorageError> {
        rows::get_head(self.disk, self.origins, self.place)
    }

    /// The types under which the key exists, ascending; none if it does not.
    ///
    /// The head says it. A key without one exists by its content: a DELETE took the head away and a concurrent add or
    /// increment stayed. Such a key is marked; where there is no mark, nothing has to be looked for.
    pub(crate) fn types(self, head: &Cell<Head>) -> Result<Vec<Type>, StorageError> {
        let mut types: Vec<Type> = head.siblings().iter().map(|(_, head)| head.key_type()).collect();
        if types.is_empty() && rows::head_row(self.disk, self.place)? == HeadRow::Mark {
            types.extend(content_types(rows::parts(self.disk, self.place)?));
        }
        types.sort_unstable();
        types.dedup();
        Ok(types)
    }
}

/// The types that the parts of a key, or of a field, give it.
fn content_types(parts: Parts) -> impl Iterator<Item = Type> {
    let found = [(parts.slots, Type::Counter), (parts.members, Type::Set), (parts.fields, Type::Map)];
    found.into_iter().filter(|(there, _)| *there).map(|(_, key_type)| key_type)
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
    context.is_none_or(|context| context.covers(dot))
}

/// The context of a removal that has seen less than its replica has, and what the removal takes away then: a context is not
/// believed beyond its replica. `None` where all is taken away.
pub(crate) fn part_seen<'a>(
    view: View<'_>,
    context: Option<&'a Context>,
    planted: Planted,
) -> Option<(&'a Context, Seen)> {
    let context = context?;
    if planted.has(Bug::ContextTrusted) {
        return Some((context, context.seen.clone()));
    }
    (!context.seen.includes(view.vector)).then(|| (context, context.seen.within(view.vector)))
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
