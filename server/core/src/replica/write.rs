//! Writing a key: from a client's operation, and what its replica has there, to a delta. Nothing is changed here.

use super::Replica;
use crate::cell::{SlotSeen, Type};
use crate::context::Context;
use crate::delta::{self, Change, Delta, Effect};
use crate::hlc::Clock;
use crate::id::OriginId;
use crate::masks::MASKS_MAX;
use crate::path::Path;
use crate::planted::Planted;
use crate::rows::{self, Parts};
use crate::types::counter::Slots;
use crate::types::map::ResetRoom;
use crate::types::{Failure, Node, Refusal, Stamp, View, choose, map, seen_heads, set, update};
use alloc::vec::Vec;

pub use crate::types::{Write, Written};

/// Most operations, and set members in them, of one write. A write of more is refused.
pub const OPERATIONS_MAX: usize = 1_000;

/// A write, and how the client wants it understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteRequest {
    /// What is done.
    pub write: Write,
    /// The type that the client names, where the key may have several.
    pub named: Option<Type>,
    /// What the client had seen of the key: only that is taken away. `None` is all that this replica has.
    pub context: Option<Context>,
    /// Whether a PUT insists on overwriting all that this replica has, seen or not.
    pub overwrites: bool,
}

impl WriteRequest {
    /// A write that says nothing more.
    pub fn of(write: Write) -> Self {
        WriteRequest { write, named: None, context: None, overwrites: false }
    }
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

/// The type that the bucket's policy gives to a key which a write creates, if it says any.
pub type DefaultOf<'a> = &'a dyn Fn(&Write) -> Result<Option<Type>, Failure>;

/// Decides what a write does. The policy is asked where the write creates a key and names no type.
///
/// # Errors
/// A [`Refusal`], and the disk's.
pub fn mint(
    replica: &Replica,
    view: View<'_>,
    author: Author<'_>,
    policy: DefaultOf<'_>,
    request: &WriteRequest,
) -> Result<Minted, Failure> {
    let WriteRequest { write, named, context, overwrites } = request;
    if write.size() > OPERATIONS_MAX {
        return Err(Refusal::TooManyOperations.into());
    }
    if let Some(named) = named.filter(|named| !write.fits(*named)) {
        return Err(Refusal::TypeMisfit { named }.into());
    }
    if replica.masks().len() >= MASKS_MAX && write.removes_ranges() {
        return Err(Refusal::Sweeping.into());
    }
    let (context, overwrites, planted) = (context.as_ref(), *overwrites, author.planted);
    let node = Node { view, head: view.head()?, context, overwrites, planted };
    let key = Existing { types: view.types(&node.head)?, node, named: *named };
    let key_type = key.type_for(write, policy)?;
    let stamp = Stamp { dot: replica.next_dot(), hlc: author.clock.stamp(author.wall_ms) };
    let mut slots = match key_type == Some(Type::Counter) || key.types.contains(&Type::Counter) {
        true => Slots::read(view)?,
        false => Slots::default(),
    };
    let (effects, written) = key.effects(write, key_type, &mut slots, stamp)?;
    let slots = slots.seen();
    if effects.is_empty() {
        return Ok(Minted { delta: None, written, slots });
    }
    if !replica.has_room_for(author.origin) {
        return Err(Refusal::OriginsFull.into());
    }
    let change = Change { bucket: view.place.bucket.clone(), key: view.place.key.clone(), effects };
    let deps = replica.vector().without(author.origin);
    let delta = Delta { dot: stamp.dot, generation: 0, deps, hlc: stamp.hlc, changes: alloc::vec![change] };
    assert!(delta.is_sound(), "no peer would accept {delta:?}");
    Ok(Minted { delta: Some(delta), written, slots })
}

/// What is there of the key that is written to.
struct Existing<'a> {
    node: Node<'a>,
    types: Vec<Type>,
    named: Option<Type>,
}

impl Existing<'_> {
    /// The type as which a write works on the key, or creates it; none for DELETE. A write that does not fit is refused.
    fn type_for(&self, write: &Write, policy: DefaultOf<'_>) -> Result<Option<Type>, Failure> {
        let Some(default) = write.default_type() else { return Ok(None) };
        match choose(&self.types, self.named)? {
            Some(is) if write.fits(is) => Ok(Some(is)),
            Some(is) => Err(Refusal::WrongType { is }.into()),
            None if self.named.is_some() => Ok(self.named),
            None => Ok(policy(write)?.filter(|chosen| write.fits(*chosen)).or(Some(default))),
        }
    }

    /// What a write that fits does. The counter's slots are left as they are afterwards.
    fn effects(
        &self,
        write: &Write,
        key_type: Option<Type>,
        slots: &mut Slots,
        stamp: Stamp,
    ) -> Result<(Vec<(Path, Effect)>, Written), Failure> {
        match (write, key_type) {
            (Write::Map(ops), _) => {
                let (effects, changed) = map::write(&self.node, ops, stamp)?;
                Ok((effects, Written::Map(changed)))
            }
            (write, Some(key_type)) => {
                let (effects, written) = update(&self.node, key_type, write, slots, stamp)?;
                Ok((effects.into_iter().map(|effect| (Path::default(), effect)).collect(), written))
            }
            (_, None) => Ok((self.delete(slots)?, Written::Done)),
        }
    }

    /// Takes away all that this replica sees of the key, or what the context has seen of that; of one type, where one
    /// is named.
    fn delete(&self, slots: &mut Slots) -> Result<Vec<(Path, Effect)>, Failure> {
        if self.named.is_some() {
            choose(&self.types, self.named)?;
        }
        let Node { view, head, context, planted, .. } = &self.node;
        let takes = |key_type: Type| self.named.is_none_or(|named| named == key_type);
        let mut effects = Vec::new();
        let kills = seen_heads(head, *context, takes);
        if !kills.is_empty() {
            effects.push((Path::default(), Effect::Head { kills, put: None }));
        }
        // Without a head or a mark there is nothing.
        let parts = match head.is_empty() && self.types.is_empty() {
            true => Parts::default(),
            false => rows::parts(view.disk, view.place)?,
        };
        if takes(Type::Set) && parts.members {
            effects.extend(set::clear(*view, *context, *planted)?.map(|clear| (Path::default(), clear)));
        }
        if takes(Type::Counter) && parts.slots {
            let reset = match self.types.contains(&Type::Counter) {
                true => slots.reset(*context),
                // The head names other types alone, and nobody has been shown these.
                false => Slots::read(*view)?.reset(*context),
            };
            effects.extend(reset.map(|reset| (Path::default(), reset)));
        }
        if takes(Type::Map) && parts.fields {
            effects.append(&mut map::removal(*view, *context, *planted, &mut ResetRoom::default())?);
        }
        delta::sort(&mut effects);
        Ok(effects)
    }
}
