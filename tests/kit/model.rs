//! The reference model: what a replica is, written down as plainly as possible.
//!
//! A replica is a function of the events it has applied. Here that function is spelt out with maps and sets, without
//! rows, bytes or slots: a register's head is a set of dots with values, a set's member is a set of dots, and a counter
//! is the set of its increments that no reset has seen. The engine must come to the same.
//!
//! The model shares the vocabulary of the API with the engine ([`Write`], [`Written`], [`Refusal`]) and no decision.

use meridian_core::cell::{Head, Register, Type};
use meridian_core::context::Context;
use meridian_core::hlc::Hlc;
use meridian_core::id::{Dot, OriginId, Seq};
use meridian_core::name::{Key, Member};
use meridian_core::replica::write::{Write, Written};
use meridian_core::types::counter::CounterOp;
use meridian_core::types::register::SIBLINGS_MAX;
use meridian_core::types::set::{SetChange, SetOp};
use meridian_core::types::{Refusal, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Origin → highest contiguous sequence.
pub type Vector = BTreeMap<OriginId, Seq>;

/// How many events of `origin` a vector covers.
pub fn at(vector: &Vector, origin: OriginId) -> Seq {
    vector.get(&origin).copied().unwrap_or(0)
}

/// Whether a vector covers a dot.
pub fn covers(vector: &Vector, dot: Dot) -> bool {
    at(vector, dot.origin) >= dot.seq
}

/// Whether `vector` covers all that `other` does.
pub fn includes(vector: &Vector, other: &Vector) -> bool {
    other.iter().all(|(origin, seq)| at(vector, *origin) >= *seq)
}

/// One write, as the model understands it: exactly which dots it takes away and what it puts.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its name.
    pub dot: Dot,
    /// What its author had applied, its own origin's earlier events among it.
    pub past: Vector,
    /// Which key.
    pub key: Key,
    /// Siblings of the head that it takes away.
    pub head_kills: BTreeSet<Dot>,
    /// The sibling that it puts. A register's stamp is filled in when the engine has chosen one.
    pub head_put: Option<Head>,
    /// Takes away every dot of every member that this covers.
    pub cleared: Option<Vector>,
    /// For each member the dots that it takes away, and whether it puts its own.
    pub members: BTreeMap<Member, (BTreeSet<Dot>, bool)>,
    /// Increments that it takes away.
    pub reset: BTreeSet<Dot>,
    /// What it adds.
    pub amount: Option<i128>,
}

impl Event {
    fn changes_nothing(&self) -> bool {
        let takes = !self.head_kills.is_empty() || self.cleared.is_some() || !self.reset.is_empty();
        !takes && self.head_put.is_none() && self.members.is_empty() && self.amount.is_none()
    }
}

/// What is alive of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The head's siblings.
    pub head: BTreeMap<Dot, Head>,
    /// The members' dots; a member without any is not there.
    pub members: BTreeMap<Member, BTreeSet<Dot>>,
    /// The increments that no applied reset has seen.
    pub increments: BTreeMap<Dot, i128>,
    /// For each origin its first increment and its last one, reset or not.
    pub reach: BTreeMap<OriginId, (Seq, Seq)>,
}

/// One replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// What was applied.
    pub vector: Vector,
    /// What is alive.
    pub keys: BTreeMap<Key, Entry>,
}

impl Model {
    /// The state after exactly these events, all at once and in no order: first everything that was put, then
    /// everything that was taken away. That this equals what any causal order gives is what the fuzzer checks.
    pub fn of<'a>(events: impl Iterator<Item = &'a Event> + Clone) -> Model {
        let mut model = Model::default();
        for event in events.clone() {
            let entry = model.keys.entry(event.key.clone()).or_default();
            entry.put(event);
            let seq = model.vector.entry(event.dot.origin).or_default();
            *seq = (*seq).max(event.dot.seq);
        }
        for event in events {
            let entry = model.keys.entry(event.key.clone()).or_default();
            entry.take(event);
        }
        model
    }

    /// Applies the next event of its origin.
    pub fn apply(&mut self, event: &Event) {
        assert_eq!(event.dot.seq, at(&self.vector, event.dot.origin) + 1, "the model applies in order");
        let entry = self.keys.entry(event.key.clone()).or_default();
        entry.take(event);
        entry.put(event);
        self.vector.insert(event.dot.origin, event.dot.seq);
    }

    /// A key's entry.
    pub fn entry(&self, key: &Key) -> Entry {
        self.keys.get(key).cloned().unwrap_or_default()
    }

    /// What a client that is told of this key has seen: the vector, and of a counter's origins each last increment that
    /// is alive.
    pub fn seen(&self, key: &Key, counts: bool) -> (Vector, Vector) {
        let entry = self.entry(key);
        let alive_last = |(origin, (_, last)): (&OriginId, &(Seq, Seq))| {
            let alive = entry.increments.contains_key(&Dot::new(*origin, *last));
            (counts && alive).then_some((*origin, *last))
        };
        (self.vector.clone(), entry.reach.iter().filter_map(alive_last).collect())
    }

    /// Whether a key is a counter, whatever else it is.
    pub fn counts(&self, key: &Key) -> bool {
        self.entry(key).types().contains(&Type::Counter)
    }

    /// What a read answers.
    pub fn read(&self, key: &Key, named: Option<Type>) -> Result<Option<Value>, Refusal> {
        let entry = self.entry(key);
        Ok(entry.choose(named)?.map(|chosen| match chosen {
            Type::Register => {
                let register = entry.winner().expect("a register has a sibling");
                Value::Register { content_type: register.content_type, bytes: register.value }
            }
            Type::Counter => Value::Counter(entry.sum()),
            Type::Set => Value::Set(entry.members.keys().cloned().collect()),
        }))
    }

    /// What a write by `origin` does.
    pub fn mint(
        &self,
        origin: OriginId,
        key: &Key,
        write: &Write,
        named: Option<Type>,
        context: Option<&Context>,
    ) -> Result<(Option<Event>, Written), Refusal> {
        let entry = self.entry(key);
        let mut event = Event {
            dot: Dot::new(origin, at(&self.vector, origin) + 1),
            past: self.vector.clone(),
            key: key.clone(),
            head_kills: BTreeSet::new(),
            head_put: None,
            cleared: None,
            members: BTreeMap::new(),
            reset: BTreeSet::new(),
            amount: None,
        };
        let seen = Seen::of(context, &self.vector);
        let written = match write {
            Write::Put { content_type, value } => {
                entry.expect(named, Type::Register)?;
                let register = |head: &Head| matches!(head, Head::Register(_));
                event.head_kills = seen.heads(&entry, register);
                if entry.head.len() - event.head_kills.len() >= SIBLINGS_MAX {
                    return Err(Refusal::TooManySiblings);
                }
                let (content_type, value) = (content_type.clone(), value.clone());
                event.head_put = Some(Head::Register(Register { hlc: Hlc(0), content_type, value }));
                Written::Done
            }
            Write::Delete => {
                entry.delete(&mut event, &seen, named)?;
                Written::Done
            }
            Write::Counter(ops) => {
                entry.expect(named, Type::Counter)?;
                Written::Counter(entry.count(&mut event, &seen, ops)?)
            }
            Write::Set(ops) => {
                entry.expect(named, Type::Set)?;
                Written::Set(entry.change_set(&mut event, &seen, ops))
            }
        };
        Ok(((!event.changes_nothing()).then_some(event), written))
    }
}

/// What a write may take away: what its context saw, and never more than its replica has.
struct Seen {
    covered: Vector,
    increments: Option<Vector>,
}

impl Seen {
    fn of(context: Option<&Context>, past: &Vector) -> Seen {
        let Some(context) = context else { return Seen { covered: past.clone(), increments: None } };
        let named = context.vector.iter().map(|dot| (dot.origin, dot.seq.min(at(past, dot.origin))));
        let increments = context.slots.iter().map(|slot| (slot.id.origin, slot.last.seq)).collect();
        Seen { covered: named.filter(|(_, seq)| *seq > 0).collect(), increments: Some(increments) }
    }

    fn heads(&self, entry: &Entry, wanted: impl Fn(&Head) -> bool) -> BTreeSet<Dot> {
        let wanted = entry.head.iter().filter(|(dot, head)| wanted(head) && covers(&self.covered, **dot));
        wanted.map(|(dot, _)| *dot).collect()
    }

    fn increments(&self, entry: &Entry) -> BTreeSet<Dot> {
        let seen = |dot: &&Dot| self.increments.as_ref().is_none_or(|seen| covers(seen, **dot));
        entry.increments.keys().filter(seen).copied().collect()
    }

    /// What a clear takes away, if that is anything.
    fn cleared(&self, entry: &Entry) -> Option<Vector> {
        let any = entry.members.values().flatten().any(|dot| covers(&self.covered, *dot));
        any.then(|| self.covered.clone())
    }

    fn dots(&self, dots: &BTreeSet<Dot>) -> BTreeSet<Dot> {
        dots.iter().filter(|dot| covers(&self.covered, **dot)).copied().collect()
    }
}

impl Entry {
    fn put(&mut self, event: &Event) {
        let dot = event.dot;
        if let Some(head) = &event.head_put {
            self.head.insert(dot, head.clone());
        }
        for (member, _) in event.members.iter().filter(|(_, (_, put))| *put) {
            self.members.entry(member.clone()).or_default().insert(dot);
        }
        if let Some(amount) = event.amount {
            self.increments.insert(dot, amount);
            let reach = self.reach.entry(dot.origin).or_insert((dot.seq, dot.seq));
            *reach = (reach.0.min(dot.seq), reach.1.max(dot.seq));
        }
    }

    fn take(&mut self, event: &Event) {
        self.head.retain(|dot, _| !event.head_kills.contains(dot));
        for (member, dots) in &mut self.members {
            if let Some((kills, _)) = event.members.get(member) {
                dots.retain(|dot| !kills.contains(dot));
            }
            if let Some(cleared) = &event.cleared {
                dots.retain(|dot| !covers(cleared, *dot));
            }
        }
        self.members.retain(|_, dots| !dots.is_empty());
        self.increments.retain(|dot, _| !event.reset.contains(dot));
    }

    /// The types under which the key exists.
    fn types(&self) -> BTreeSet<Type> {
        let mut types: BTreeSet<Type> = self.head.values().map(Head::key_type).collect();
        if types.is_empty() {
            types.extend((!self.increments.is_empty()).then_some(Type::Counter));
            types.extend((!self.members.is_empty()).then_some(Type::Set));
        }
        types
    }

    fn choose(&self, named: Option<Type>) -> Result<Option<Type>, Refusal> {
        let types: Vec<Type> = self.types().into_iter().collect();
        match named {
            _ if types.is_empty() => Ok(None),
            Some(named) if types.contains(&named) => Ok(Some(named)),
            Some(_) => Err(Refusal::WrongType { is: types[0] }),
            None if types.len() == 1 => Ok(Some(types[0])),
            None => Err(Refusal::TypeConflict { types }),
        }
    }

    fn expect(&self, named: Option<Type>, fits: Type) -> Result<(), Refusal> {
        if let Some(named) = named.filter(|named| *named != fits) {
            return Err(Refusal::TypeMisfit { named });
        }
        match self.choose(named)? {
            Some(is) if is != fits => Err(Refusal::WrongType { is }),
            _ => Ok(()),
        }
    }

    /// The register's write with the highest `(hlc, dot)`.
    fn winner(&self) -> Option<Register> {
        let writes = self.head.iter().filter_map(|(dot, head)| match head {
            Head::Register(register) => Some((register.hlc, *dot, register)),
            _ => None,
        });
        writes.max_by_key(|(hlc, dot, _)| (*hlc, *dot)).map(|(_, _, register)| register.clone())
    }

    fn sum(&self) -> i128 {
        self.increments.values().sum()
    }

    fn head_if_missing(&self, head: Head) -> Option<Head> {
        let there = self.head.values().any(|other| other.key_type() == head.key_type());
        (!there).then_some(head)
    }

    fn delete(&self, event: &mut Event, seen: &Seen, named: Option<Type>) -> Result<(), Refusal> {
        if named.is_some() {
            self.choose(named)?;
        }
        let takes = |key_type: Type| named.is_none_or(|named| named == key_type);
        event.head_kills = seen.heads(self, |head| takes(head.key_type()));
        if takes(Type::Set) {
            event.cleared = seen.cleared(self);
        }
        if takes(Type::Counter) {
            event.reset = seen.increments(self);
        }
        Ok(())
    }

    fn count(&self, event: &mut Event, seen: &Seen, ops: &[CounterOp]) -> Result<i128, Refusal> {
        let mut amount = 0;
        for op in ops {
            match op {
                CounterOp::Increment(by) => amount += i128::from(*by),
                CounterOp::Reset => {
                    amount = 0;
                    event.reset = seen.increments(self);
                }
            }
        }
        let kept: i128 =
            self.increments.iter().filter(|(dot, _)| !event.reset.contains(dot)).map(|(_, by)| by).sum();
        let (before, after) = (self.sum(), kept + amount);
        if i64::try_from(after).is_err() && after.abs() > before.abs() {
            return Err(Refusal::CounterOverflow);
        }
        let adds = ops.iter().any(|op| matches!(op, CounterOp::Increment(_)));
        if adds && (amount != 0 || self.head.is_empty()) {
            event.amount = Some(amount);
        }
        if !event.changes_nothing() {
            event.head_put = self.head_if_missing(Head::Counter);
        }
        Ok(after)
    }

    fn change_set(&self, event: &mut Event, seen: &Seen, ops: &[SetOp]) -> SetChange {
        let mut after: BTreeMap<Member, bool> = BTreeMap::new();
        let mut clears = false;
        for op in ops {
            match op {
                SetOp::Add(members) => after.extend(members.iter().map(|member| (member.clone(), true))),
                SetOp::Remove(members) => after.extend(members.iter().map(|member| (member.clone(), false))),
                SetOp::Clear => {
                    after.clear();
                    clears = true;
                }
            }
        }
        let mut change = SetChange::default();
        if clears {
            event.cleared = seen.cleared(self);
            let gone = |(member, dots): &(&Member, &BTreeSet<Dot>)| {
                !after.contains_key(*member) && seen.dots(dots).len() == dots.len()
            };
            change.removed = self.members.iter().filter(gone).count() as u64;
        }
        for (member, put) in after {
            let dots = self.members.get(&member).cloned().unwrap_or_default();
            let kills = if put { dots.clone() } else { seen.dots(&dots) };
            change.added += u64::from(put && dots.is_empty());
            change.removed += u64::from(!put && !dots.is_empty() && kills.len() == dots.len());
            if put || !kills.is_empty() {
                event.members.insert(member, (kills, put));
            }
        }
        if !event.changes_nothing() {
            event.head_put = self.head_if_missing(Head::Set);
        }
        change
    }
}
