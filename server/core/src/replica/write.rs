//! Writing a key: from a client's operation, and what its replica has there, to a delta. Nothing is changed here.

use super::Replica;
use crate::cell::{Cell, Head, Register, SlotSeen, Type, VALUE_BYTES_MAX};
use crate::context::Context;
use crate::delta::{Change, Delta, Effect};
use crate::hlc::{Clock, Hlc};
use crate::id::{Dot, OriginId};
use crate::name::ContentType;
use crate::planted::Planted;
use crate::rows;
use crate::types::counter::{CounterOp, Slots};
use crate::types::set::{SetChange, SetOp};
use crate::types::{Failure, Refusal, View, choose, counter, register, seen_heads, set};
use alloc::vec::Vec;

/// What a client does to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a register.
    Put {
        /// What the bytes are.
        content_type: ContentType,
        /// The bytes; at most [`VALUE_BYTES_MAX`].
        value: Vec<u8>,
    },
    /// Takes the key away, whatever it is.
    Delete,
    /// Updates a counter, all operations as one.
    Counter(Vec<CounterOp>),
    /// Updates a set, all operations as one.
    Set(Vec<SetOp>),
}

/// Most operations, and set members in them, of one write. A write of more is refused.
pub const OPERATIONS_MAX: usize = 1_000;

impl Write {
    /// How many operations and members it has.
    fn size(&self) -> usize {
        match self {
            Write::Put { .. } | Write::Delete => 1,
            Write::Counter(ops) => ops.len(),
            Write::Set(ops) => ops.iter().map(SetOp::size).sum(),
        }
    }

    /// The type that knows this operation; every type knows DELETE.
    fn fits(&self) -> Option<Type> {
        match self {
            Write::Put { .. } => Some(Type::Register),
            Write::Delete => None,
            Write::Counter(_) => Some(Type::Counter),
            Write::Set(_) => Some(Type::Set),
        }
    }
}

/// What a write answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Put or deleted.
    Done,
    /// What the counter reads now.
    Counter(i128),
    /// What changed in the set.
    Set(SetChange),
}

/// A write, and how the client wants it understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteRequest {
    /// What is done.
    pub write: Write,
    /// The type that the client names, where the key may have several.
    pub named: Option<Type>,
    /// What the client had seen of the key: only that is taken away. `None` is all that this replica has.
    pub context: Option<Context>,
}

/// Who writes, and when.
pub struct Author<'a> {
    /// This run of this node.
    pub origin: OriginId,
    /// The node's clock.
    pub clock: &'a mut Clock,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// Deliberate bugs.
    pub planted: Planted,
}

/// What a write comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minted {
    /// The delta to be applied; `None` where the write changes nothing.
    pub delta: Option<Delta>,
    /// What is answered.
    pub written: Written,
    /// Where the key was a counter before, or is written as one, what a client that is told of the write has seen of its
    /// slots.
    pub slots: Vec<SlotSeen>,
}

/// Decides what a write does.
///
/// # Errors
/// A [`Refusal`], and the disk's.
pub fn mint(
    replica: &Replica,
    view: View<'_>,
    author: Author<'_>,
    request: &WriteRequest,
) -> Result<Minted, Failure> {
    let WriteRequest { write, named, context } = request;
    if write.size() > OPERATIONS_MAX {
        return Err(Refusal::TooManyOperations.into());
    }
    if let (Some(named), Some(fits)) = (*named, write.fits())
        && named != fits
    {
        return Err(Refusal::TypeMisfit { named }.into());
    }
    let head = view.head()?;
    let key = Existing { view, types: view.types(&head)?, head, named: *named, context: context.as_ref() };
    key.check(write)?;
    let dot = replica.next_dot();
    let hlc = author.clock.stamp(author.wall_ms);
    let mut slots = match write.fits() == Some(Type::Counter) || key.types.contains(&Type::Counter) {
        true => Slots::read(view)?,
        false => Slots::default(),
    };
    let (effects, written) = key.effects(write, &mut slots, dot, hlc, author.planted)?;
    let slots = slots.seen();
    if effects.is_empty() {
        return Ok(Minted { delta: None, written, slots });
    }
    if !replica.has_room_for(author.origin) {
        return Err(Refusal::OriginsFull.into());
    }
    let change = Change { bucket: view.place.bucket.clone(), key: view.place.key.clone(), effects };
    let deps = replica.vector().without(author.origin);
    let delta = Delta { dot, generation: 0, deps, hlc, changes: alloc::vec![change] };
    assert!(delta.is_sound(), "no peer would accept {delta:?}");
    Ok(Minted { delta: Some(delta), written, slots })
}

/// What is there of the key that is written to.
struct Existing<'a> {
    view: View<'a>,
    head: Cell<Head>,
    types: Vec<Type>,
    named: Option<Type>,
    context: Option<&'a Context>,
}

impl Existing<'_> {
    /// Refuses a write that does not fit the key's type.
    fn check(&self, write: &Write) -> Result<(), Refusal> {
        let Some(fits) = write.fits() else { return Ok(()) };
        match choose(&self.types, self.named)? {
            Some(is) if is != fits => Err(Refusal::WrongType { is }),
            _ => Ok(()),
        }
    }

    /// What a write that fits does, as the delta `dot` at `hlc`. The counter's slots are left as they are afterwards.
    fn effects(
        &self,
        write: &Write,
        slots: &mut Slots,
        dot: Dot,
        hlc: Hlc,
        planted: Planted,
    ) -> Result<(Vec<Effect>, Written), Failure> {
        Ok(match write {
            Write::Put { value, .. } if value.len() > VALUE_BYTES_MAX => {
                return Err(Refusal::ValueTooLarge.into());
            }
            Write::Put { content_type, value } => {
                let hlc = hlc.above(register::highest(&self.head));
                let register = Register { hlc, content_type: content_type.clone(), value: value.clone() };
                (alloc::vec![register::put(&self.head, self.context, register)?], Written::Done)
            }
            Write::Delete => (self.delete(slots, planted)?, Written::Done),
            Write::Counter(ops) => {
                let (effects, value) = counter::update(&self.head, slots, self.context, ops, dot)?;
                (effects, Written::Counter(value))
            }
            Write::Set(ops) => {
                let (effects, change) = set::update(self.view, &self.head, self.context, ops, planted)?;
                (effects, Written::Set(change))
            }
        })
    }

    /// Takes away all that this replica sees of the key, or what the context has seen of that; of one type, where one
    /// is named.
    fn delete(&self, slots: &mut Slots, planted: Planted) -> Result<Vec<Effect>, Failure> {
        if self.named.is_some() {
            choose(&self.types, self.named)?;
        }
        let takes = |key_type: Type| self.named.is_none_or(|named| named == key_type);
        let mut effects = Vec::new();
        let kills = seen_heads(&self.head, self.context, takes);
        if !kills.is_empty() {
            effects.push(Effect::Head { kills, put: None });
        }
        let parts = rows::parts(self.view.disk, self.view.place)?;
        if takes(Type::Set) && parts.members {
            effects.extend(set::clear(self.view, self.context, planted)?);
        }
        if takes(Type::Counter) && parts.slots {
            effects.extend(match self.types.contains(&Type::Counter) {
                true => slots.reset(self.context),
                // The head names other types alone, and nobody has been shown these.
                false => Slots::read(self.view)?.reset(self.context),
            });
        }
        Ok(effects)
    }
}
