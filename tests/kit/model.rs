//! The reference model: what a replica is, written down as plainly as possible.
//!
//! A replica is a function of the events it has applied. Here that function is spelt out with maps and sets, without
//! rows, bytes or slots: a key, and each field of a map, is a *spot*: a set of dots with heads, a set of dots for each member, and
//! the increments that no reset has seen. The engine must come to the same.
//!
//! The model shares the vocabulary of the API with the engine ([`Write`], [`Written`], [`Refusal`]) and no decision.
//! What a write does to a spot stands in [`spot`]; here is what becomes of it. This is one file because a map's writes and what is read
//! of it are one walk over its spots.

pub mod spot;

use meridian_core::cell::{Head, Type};
use meridian_core::context::Context;
use meridian_core::id::{Dot, OriginId, Seq};
use meridian_core::name::{Key, Member};
use meridian_core::path::{Path, ROOT};
use meridian_core::replica::read::{Part, ReadRequest};
use meridian_core::replica::write::{Write, WriteRequest, Written};
use meridian_core::types::map::FieldWrite;
use meridian_core::types::{Refusal, Value};
use spot::{Spot, in_order};
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

/// Which events somebody has seen: all that a vector covers, and single ones beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The vector.
    pub vector: Vector,
    /// The single ones.
    pub singles: BTreeSet<Dot>,
}

impl Seen {
    /// All that a vector covers.
    pub fn all_of(vector: &Vector) -> Seen {
        Seen { vector: vector.clone(), singles: BTreeSet::new() }
    }

    /// What a context says, and never more than its replica has.
    pub fn of(context: &Context, past: &Vector) -> Seen {
        let seen = &context.seen;
        let named = seen.vector().iter().map(|dot| (dot.origin, dot.seq.min(at(past, dot.origin))));
        let singles = seen.dots().iter().copied().filter(|dot| covers(past, *dot)).collect();
        Seen { vector: named.filter(|(_, seq)| *seq > 0).collect(), singles }
    }

    /// Whether an event was seen.
    pub fn covers(&self, dot: Dot) -> bool {
        covers(&self.vector, dot) || self.singles.contains(&dot)
    }

    /// This, and one event more.
    #[must_use]
    pub fn and(mut self, dot: Dot) -> Seen {
        if !self.covers(dot) {
            self.singles.insert(dot);
        }
        while let Some(next) =
            self.singles.iter().copied().find(|dot| at(&self.vector, dot.origin) + 1 == dot.seq)
        {
            self.singles.remove(&next);
            self.vector.insert(next.origin, next.seq);
        }
        self
    }
}

/// What one write does to one spot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Act {
    /// Siblings of the head that it takes away.
    pub head_kills: BTreeSet<Dot>,
    /// The sibling that it puts. A register's stamp is filled in when the engine has chosen one.
    pub head_put: Option<Head>,
    /// Takes away every dot of every member that this covers.
    pub cleared: Option<Seen>,
    /// For each member the dots that it takes away, and whether it puts its own.
    pub members: BTreeMap<Member, (BTreeSet<Dot>, bool)>,
    /// Increments that it takes away.
    pub reset: BTreeSet<Dot>,
    /// What it adds.
    pub amount: Option<i128>,
}

impl Act {
    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        *self == Act::default()
    }
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
    /// What it does to the key, and to fields of it.
    pub acts: BTreeMap<Path, Act>,
    /// Of each of these fields, and of all below, it takes away the heads and members that this covers; of the key itself, of all
    /// its fields.
    pub removed: BTreeMap<Path, Seen>,
}

impl Event {
    fn changes_nothing(&self) -> bool {
        self.removed.is_empty() && self.acts.values().all(Act::is_empty)
    }

    /// Whether it removes what is at a path.
    fn removes(&self, path: &Path, dot: Dot) -> bool {
        let mut ranges = self.removed.iter().filter(|(range, _)| range.leads_to(path) && !path.is_root());
        ranges.any(|(_, seen)| seen.covers(dot))
    }
}

/// What is alive of one key: by path, the key itself under the empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The spots. Those where nothing is alive may be among them.
    pub spots: BTreeMap<Path, Spot>,
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

    /// Whether a key exists.
    pub fn exists(&self, key: &Key) -> bool {
        self.keys.get(key).is_some_and(|entry| !entry.types().is_empty())
    }

    /// What a client that is told of this key has seen: all, and of a counter's origins each last increment that is alive.
    pub fn seen(&self, key: &Key, counts: bool) -> (Seen, Vector) {
        let slots = if counts { self.entry(key).own().last_alive() } else { Vector::new() };
        (Seen::all_of(&self.vector), slots)
    }

    /// Whether a key is a counter, whatever else it is.
    pub fn counts(&self, key: &Key) -> bool {
        self.entry(key).types().contains(&Type::Counter)
    }

    /// What a read answers: the value, and the types that are hidden beside it.
    pub fn read(&self, key: &Key, request: &ReadRequest) -> Result<(Option<Value>, Vec<Type>), Refusal> {
        let entry = self.entry(key);
        let nothing = (None, Vec::new());
        if request.path.is_root() {
            let Some(chosen) = entry.choose(request.named)? else { return Ok(nothing) };
            return Ok((Some(entry.part(&ROOT, chosen, &request.part)?), Vec::new()));
        }
        match entry.types().first() {
            None => return Ok(nothing),
            Some(_) if entry.types().contains(&Type::Map) => {}
            Some(is) => return Err(Refusal::WrongType { is: *is }),
        }
        let types = entry.field_types(&request.path);
        let Some(first) = types.first().copied() else { return Ok(nothing) };
        let chosen = request.named.unwrap_or(first);
        if !types.contains(&chosen) {
            return Err(Refusal::WrongType { is: first });
        }
        let hidden = types.into_iter().filter(|other| *other != chosen).collect();
        Ok((Some(entry.part(&request.path, chosen, &request.part)?), hidden))
    }

    /// What a write by `origin` does.
    pub fn mint(
        &self,
        origin: OriginId,
        key: &Key,
        request: &WriteRequest,
    ) -> Result<(Option<Event>, Written), Refusal> {
        let WriteRequest { write, named, context, overwrites } = request;
        let entry = self.entry(key);
        let mut event = Event {
            dot: Dot::new(origin, at(&self.vector, origin) + 1),
            past: self.vector.clone(),
            key: key.clone(),
            acts: BTreeMap::new(),
            removed: BTreeMap::new(),
        };
        let author = Author::of(context.as_ref(), &self.vector, *overwrites);
        if let Some(named) = named.filter(|named| !write.fits(*named)) {
            return Err(Refusal::TypeMisfit { named });
        }
        let written = match write {
            Write::Delete => {
                entry.delete(&mut event, &author, *named)?;
                Written::Done
            }
            Write::Map(ops) => {
                entry.type_for(*named, write)?;
                Written::Map(entry.write_fields(&mut event, &author, ops)?)
            }
            write => {
                let key_type = entry.type_for(*named, write)?;
                let (act, written) = entry.own().write(&author, key_type, write, false)?;
                event.acts.insert(Path::default(), act);
                written
            }
        };
        event.acts.retain(|_, act| !act.is_empty());
        Ok(((!event.changes_nothing()).then_some(event), written))
    }
}

/// What a write may take away: what its context saw, and never more than its replica has.
pub struct Author {
    /// Which events.
    pub seen: Seen,
    /// Of a counter's origins the last increments that were seen; all where there is no context.
    pub increments: Option<Vector>,
    /// Whether there is a context.
    pub has_context: bool,
    /// Whether it insists on overwriting what it has not seen.
    pub overwrites: bool,
}

impl Author {
    fn of(context: Option<&Context>, past: &Vector, overwrites: bool) -> Author {
        let Some(context) = context else {
            return Author { seen: Seen::all_of(past), increments: None, has_context: false, overwrites };
        };
        let increments = context.slots.iter().map(|slot| (slot.id.origin, slot.last.seq)).collect();
        Author { seen: Seen::of(context, past), increments: Some(increments), has_context: true, overwrites }
    }
}

impl Entry {
    fn put(&mut self, event: &Event) {
        for (path, act) in &event.acts {
            self.spots.entry(path.clone()).or_default().put(event.dot, act);
        }
    }

    fn take(&mut self, event: &Event) {
        for (path, spot) in &mut self.spots {
            if let Some(act) = event.acts.get(path) {
                spot.take(act);
            }
            spot.head.retain(|dot, _| !event.removes(path, *dot));
            spot.members.values_mut().for_each(|dots| dots.retain(|dot| !event.removes(path, *dot)));
            spot.members.retain(|_, dots| !dots.is_empty());
        }
    }

    /// The key itself.
    pub fn own(&self) -> Spot {
        self.spot(&ROOT)
    }

    fn spot(&self, path: &Path) -> Spot {
        self.spots.get(path).cloned().unwrap_or_default()
    }

    /// Whether something is alive below a field; of the key itself, in any field.
    fn has_fields(&self, path: &Path) -> bool {
        let below = |other: &Path| path.leads_to(other) && other != path;
        self.spots.iter().any(|(other, spot)| below(other) && spot.is_alive())
    }

    /// The types under which the key exists, ascending.
    fn types(&self) -> Vec<Type> {
        let own = self.own();
        let mut types: BTreeSet<Type> = own.head_types();
        if types.is_empty() {
            types.extend(own.content_types());
            types.extend(self.has_fields(&ROOT).then_some(Type::Map));
        }
        types.into_iter().collect()
    }

    /// The types of a field, the one that is read first.
    fn field_types(&self, path: &Path) -> Vec<Type> {
        let spot = self.spot(path);
        let mut types: BTreeSet<Type> = spot.head_types();
        types.extend(spot.content_types());
        types.extend(self.has_fields(path).then_some(Type::Map));
        in_order(&types)
    }

    fn choose(&self, named: Option<Type>) -> Result<Option<Type>, Refusal> {
        let types = self.types();
        match named {
            _ if types.is_empty() => Ok(None),
            Some(named) if types.contains(&named) => Ok(Some(named)),
            Some(_) => Err(Refusal::WrongType { is: types[0] }),
            None if types.len() == 1 => Ok(Some(types[0])),
            None => Err(Refusal::TypeConflict { types }),
        }
    }

    fn type_for(&self, named: Option<Type>, write: &Write) -> Result<Type, Refusal> {
        match self.choose(named)? {
            Some(is) if write.fits(is) => Ok(is),
            Some(is) => Err(Refusal::WrongType { is }),
            None => Ok(named.or(write.default_type()).expect("it is no removal")),
        }
    }

    /// What is read of a spot as a type that it has.
    fn part(&self, path: &Path, key_type: Type, part: &Part) -> Result<Value, Refusal> {
        let whole = || self.value(path, key_type);
        Ok(match (part, key_type, whole()) {
            (Part::Whole, _, whole) => whole,
            (Part::Member(member), Type::Set, Value::Set(members)) => {
                Value::Set(members.into_iter().filter(|other| other == member).collect())
            }
            (Part::Page { prefix, after, limit }, Type::Set, Value::Set(members)) => {
                let wanted = |name: &str| is_wanted(name, prefix, after.as_deref());
                Value::Set(
                    members.into_iter().filter(|member| wanted(member.as_str())).take(*limit).collect(),
                )
            }
            (Part::Page { prefix, after, limit }, Type::Map, Value::Map(fields)) => {
                let wanted = |name: &str| is_wanted(name, prefix, after.as_deref());
                Value::Map(
                    fields.into_iter().filter(|(field, _)| wanted(field.as_str())).take(*limit).collect(),
                )
            }
            _ => return Err(Refusal::WrongType { is: key_type }),
        })
    }

    fn value(&self, path: &Path, key_type: Type) -> Value {
        if key_type != Type::Map {
            return self.spot(path).value(key_type);
        }
        let depth = path.fields().len();
        let below = self.spots.keys().filter(|other| path.leads_to(other) && other.fields().len() > depth);
        let names: BTreeSet<_> = below.map(|other| other.fields()[depth].clone()).collect();
        let fields = names.into_iter().filter_map(|name| {
            let mut fields = path.fields().to_vec();
            fields.push(name.clone());
            let path = Path::new(fields).expect("a path that something is at");
            let first = self.field_types(&path).first().copied()?;
            Some((name, self.value(&path, first)))
        });
        Value::Map(fields.collect())
    }

    fn delete(&self, event: &mut Event, author: &Author, named: Option<Type>) -> Result<(), Refusal> {
        if named.is_some() {
            self.choose(named)?;
        }
        let (own, takes) = (self.own(), |key_type: Type| named.is_none_or(|named| named == key_type));
        let mut act = Act { head_kills: own.seen_heads(&author.seen, takes), ..Act::default() };
        if takes(Type::Set) {
            act.cleared = own.cleared(&author.seen);
        }
        if takes(Type::Counter) {
            act.reset = own.seen_increments(author, false);
        }
        event.acts.insert(Path::default(), act);
        if takes(Type::Map) {
            self.remove(event, author, &ROOT);
        }
        Ok(())
    }

    /// Takes away what was seen of a field and of all below it. Whether that is anything.
    fn remove(&self, event: &mut Event, author: &Author, path: &Path) -> bool {
        let (mut any, mut resets) = (false, false);
        for (at, spot) in self.spots.iter().filter(|(at, _)| path.leads_to(at) && !at.is_root()) {
            any |= spot.dots().any(|dot| author.seen.covers(dot));
            let reset = spot.seen_increments(author, true);
            resets |= !reset.is_empty();
            event.acts.entry(at.clone()).or_default().reset.extend(reset);
        }
        if any {
            event.removed.insert(path.clone(), author.seen.clone());
        }
        any || resets
    }

    /// Several operations on fields, in their order. How many fields change.
    fn write_fields(&self, event: &mut Event, author: &Author, ops: &[FieldWrite]) -> Result<u64, Refusal> {
        let mut removed: BTreeSet<Path> = BTreeSet::new();
        let mut written: BTreeMap<Path, (Option<Type>, Vec<Write>)> = BTreeMap::new();
        for FieldWrite { path, named, write } in ops {
            if *write == Write::Delete {
                written.retain(|other, _| !path.leads_to(other));
                if !removed.iter().any(|other| other.leads_to(path)) {
                    removed.retain(|other| !path.leads_to(other));
                    removed.insert(path.clone());
                }
                continue;
            }
            check_field_write(&written, path, *named, write)?;
            let (name, writes) = written.entry(path.clone()).or_default();
            *name = name.or(*named);
            writes.push(write.clone());
        }
        let mut changed = removed.iter().filter(|path| self.remove(event, author, path)).count() as u64;
        for (path, (named, writes)) in &written {
            let gone = |path: &Path| removed.iter().any(|removed| removed.leads_to(path));
            changed += u64::from(self.write_field(event, author, path, *named, writes, &gone)?);
        }
        if event.acts.values().any(|act| !act.is_empty()) || !event.removed.is_empty() {
            let own = event.acts.entry(Path::default()).or_default();
            own.head_put = self.own().head_if_missing(Head::Map);
        }
        Ok(changed)
    }

    /// Operations on one field. Whether they change it.
    fn write_field(
        &self,
        event: &mut Event,
        author: &Author,
        path: &Path,
        named: Option<Type>,
        writes: &[Write],
        gone: &dyn Fn(&Path) -> bool,
    ) -> Result<bool, Refusal> {
        let write = spot::together(writes);
        if gone(path) && write.takes_only() {
            return Ok(false);
        }
        let types = if gone(path) { Vec::new() } else { self.field_types(path) };
        let key_type = match (named, types.first()) {
            (Some(named), Some(_)) if types.contains(&named) => named,
            (None, Some(is)) if write.fits(*is) => *is,
            (_, Some(is)) => return Err(Refusal::WrongType { is: *is }),
            (named, None) => named.or(write.default_type()).expect("it is no removal"),
        };
        let mut missing = Vec::new();
        for map in path.ancestors() {
            let spot = if gone(&map) { Spot::default() } else { self.spot(&map) };
            if spot.head.values().any(|head| *head == Head::Map) {
                continue;
            }
            let types = if gone(&map) { Vec::new() } else { self.field_types(&map) };
            if !types.is_empty() && !types.contains(&Type::Map) {
                return Err(Refusal::WrongType { is: types[0] });
            }
            missing.push(map);
        }
        let mut spot = self.spot(path);
        if gone(path) {
            spot.head.clear();
        }
        let reset_first = gone(path);
        let (mut act, _) = spot.write_field(author, key_type, &write, reset_first)?;
        if act.is_empty() {
            return Ok(false);
        }
        let before = event.acts.remove(path).unwrap_or_default();
        act.reset.extend(before.reset);
        act.head_put = act.head_put.or(before.head_put);
        event.acts.insert(path.clone(), act);
        for map in missing {
            event.acts.entry(map).or_default().head_put = Some(Head::Map);
        }
        Ok(true)
    }
}

/// Refuses what cannot be done together with what was to be done before.
fn check_field_write(
    written: &BTreeMap<Path, (Option<Type>, Vec<Write>)>,
    path: &Path,
    named: Option<Type>,
    write: &Write,
) -> Result<(), Refusal> {
    if let Write::Map(_) = write {
        return Err(Refusal::TypeMisfit { named: Type::Map });
    }
    if path.is_root() {
        return Err(Refusal::WrongType { is: Type::Map });
    }
    if let Some(named) = named.filter(|named| !write.fits(*named)) {
        return Err(Refusal::TypeMisfit { named });
    }
    let crosses = |other: &&Path| *other != path && (other.leads_to(path) || path.leads_to(other));
    if let Some(other) = written.keys().find(crosses) {
        let first = written[other].1[0].default_type().expect("it is no removal");
        return Err(Refusal::WrongType { is: if path.leads_to(other) { Type::Map } else { first } });
    }
    let Some((before, writes)) = written.get(path) else { return Ok(()) };
    if writes[0].default_type() != write.default_type() {
        return Err(Refusal::WrongType { is: writes[0].default_type().expect("it is no removal") });
    }
    match (before, named) {
        (Some(before), Some(named)) if *before != named => Err(Refusal::WrongType { is: *before }),
        _ => Ok(()),
    }
}

fn is_wanted(name: &str, prefix: &str, after: Option<&str>) -> bool {
    name.starts_with(prefix) && after.is_none_or(|after| name > after)
}
