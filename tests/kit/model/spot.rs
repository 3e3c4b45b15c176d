//! What is alive of one key itself, or of one field, and what a write of each type does to it.

use super::{Act, Author, Seen, Vector};
use meridian_core::cell::{Blob, Head, Register, Type};
use meridian_core::hlc::Hlc;
use meridian_core::id::{Dot, OriginId, Seq};
use meridian_core::name::Member;
use meridian_core::replica::write::{Write, Written};
use meridian_core::types::counter::CounterOp;
use meridian_core::types::flag::FlagOp;
use meridian_core::types::register::SIBLINGS_MAX;
use meridian_core::types::set::{SetChange, SetOp};
use meridian_core::types::{Refusal, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What is alive of one key itself, or of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    /// The head's siblings.
    pub head: BTreeMap<Dot, Head>,
    /// The members' dots; a member without any is not there.
    pub members: BTreeMap<Member, BTreeSet<Dot>>,
    /// The increments that no applied reset has seen.
    pub increments: BTreeMap<Dot, i128>,
    /// For each origin its first increment and its last one, reset or not.
    pub reach: BTreeMap<OriginId, (Seq, Seq)>,
}

/// Types in the order in which a field comes to be read.
pub fn in_order(types: &BTreeSet<Type>) -> Vec<Type> {
    use Type::{Counter, Flag, Map, Max, Min, Multi, Register, Set};
    let order = [Map, Multi, Register, Set, Counter, Max, Min, Flag];
    order.into_iter().filter(|key_type| types.contains(key_type)).collect()
}

/// Several writes of one kind as one.
pub fn together(writes: &[Write]) -> Write {
    let mut all = writes[0].clone();
    for write in &writes[1..] {
        match (&mut all, write) {
            (Write::Counter(ops), Write::Counter(more)) => ops.extend(more),
            (Write::Set(ops), Write::Set(more)) => ops.extend(more.iter().cloned()),
            (Write::Flag(ops), Write::Flag(more)) => ops.extend(more),
            (Write::Observe(ops), Write::Observe(more)) => ops.extend(more),
            (all, last) => *all = last.clone(),
        }
    }
    all
}

impl Spot {
    /// What an event puts here.
    pub fn put(&mut self, dot: Dot, act: &Act) {
        if let Some(head) = &act.head_put {
            self.head.insert(dot, head.clone());
        }
        for (member, _) in act.members.iter().filter(|(_, (_, put))| *put) {
            self.members.entry(member.clone()).or_default().insert(dot);
        }
        if let Some(amount) = act.amount {
            self.increments.insert(dot, amount);
            let reach = self.reach.entry(dot.origin).or_insert((dot.seq, dot.seq));
            *reach = (reach.0.min(dot.seq), reach.1.max(dot.seq));
        }
    }

    /// What an event takes away here.
    pub fn take(&mut self, act: &Act) {
        self.head.retain(|dot, _| !act.head_kills.contains(dot));
        for (member, dots) in &mut self.members {
            if let Some((kills, _)) = act.members.get(member) {
                dots.retain(|dot| !kills.contains(dot));
            }
            if let Some(cleared) = &act.cleared {
                dots.retain(|dot| !cleared.covers(*dot));
            }
        }
        self.members.retain(|_, dots| !dots.is_empty());
        self.increments.retain(|dot, _| !act.reset.contains(dot));
    }

    /// Whether anything is alive here.
    pub fn is_alive(&self) -> bool {
        !self.head.is_empty() || !self.members.is_empty() || !self.increments.is_empty()
    }

    /// The dots of heads and members.
    pub fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.head.keys().chain(self.members.values().flatten()).copied()
    }

    /// The types that the head names.
    pub fn head_types(&self) -> BTreeSet<Type> {
        self.head.values().map(Head::key_type).collect()
    }

    /// The types that the content gives, fields apart.
    pub fn content_types(&self) -> impl Iterator<Item = Type> {
        let found = [(!self.increments.is_empty(), Type::Counter), (!self.members.is_empty(), Type::Set)];
        found.into_iter().filter(|(there, _)| *there).map(|(_, key_type)| key_type)
    }

    /// Of each origin the last increment, if it is alive.
    pub fn last_alive(&self) -> Vector {
        let alive = |(origin, (_, last)): (&OriginId, &(Seq, Seq))| {
            self.increments.contains_key(&Dot::new(*origin, *last)).then_some((*origin, *last))
        };
        self.reach.iter().filter_map(alive).collect()
    }

    /// What it reads as, as a type that it has; fields apart.
    pub fn value(&self, key_type: Type) -> Value {
        let numbers = self.head.values().filter_map(|head| match (head, key_type) {
            (Head::Max(number), Type::Max) | (Head::Min(number), Type::Min) => Some(*number),
            _ => None,
        });
        match key_type {
            Type::Register => {
                let register = self.winner().expect("a register has a sibling");
                Value::Register { content_type: register.content_type, bytes: register.value }
            }
            Type::Multi => Value::Multi(self.multi().map(|(_, blob)| blob.clone()).collect()),
            Type::Counter => Value::Counter(self.sum()),
            Type::Set => Value::Set(self.members.keys().cloned().collect()),
            Type::Flag => Value::Flag(self.is_on()),
            Type::Max => Value::Max(numbers.max().expect("a maximum has a number")),
            Type::Min => Value::Min(numbers.min().expect("a minimum has a number")),
            Type::Map => unreachable!("a map is its fields"),
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

    fn multi(&self) -> impl Iterator<Item = (Dot, &Blob)> {
        self.head.iter().filter_map(|(dot, head)| match head {
            Head::Multi(blob) => Some((*dot, blob)),
            _ => None,
        })
    }

    fn is_on(&self) -> bool {
        self.head.values().any(|head| *head == Head::Flag(true))
    }

    fn sum(&self) -> i128 {
        self.increments.values().sum()
    }

    /// A head that a spot of its type has, where this one has none.
    pub fn head_if_missing(&self, head: Head) -> Option<Head> {
        (!self.head_types().contains(&head.key_type())).then_some(head)
    }

    /// The siblings of some types that were seen.
    pub fn seen_heads(&self, seen: &Seen, wanted: impl Fn(Type) -> bool) -> BTreeSet<Dot> {
        let wanted = self.head.iter().filter(|(dot, head)| wanted(head.key_type()) && seen.covers(**dot));
        wanted.map(|(dot, _)| *dot).collect()
    }

    /// The increments that were seen. Of a field it is known only of each origin's last one whether it was, and then all are.
    pub fn seen_increments(&self, author: &Author, of_field: bool) -> BTreeSet<Dot> {
        let last = self.last_alive();
        let seen = |dot: &&Dot| match &author.increments {
            None => true,
            Some(_) if of_field => {
                let last = last.get(&dot.origin).expect("its last one is alive, where any is");
                super::covers(&author.seen.vector, Dot::new(dot.origin, *last))
            }
            Some(seen) => super::covers(seen, **dot),
        };
        self.increments.keys().filter(seen).copied().collect()
    }

    /// What a clear takes away, if that is anything.
    pub fn cleared(&self, seen: &Seen) -> Option<Seen> {
        self.members.values().flatten().any(|dot| seen.covers(*dot)).then(|| seen.clone())
    }

    /// As [`Spot::write`], for a field. `anew`: what was there is removed by the same event.
    pub fn write_field(
        &self,
        author: &Author,
        key_type: Type,
        write: &Write,
        anew: bool,
    ) -> Result<(Act, Written), Refusal> {
        match write {
            Write::Counter(ops) if anew => {
                let ops = std::iter::once(CounterOp::Reset).chain(ops.iter().copied()).collect();
                self.write(author, key_type, &Write::Counter(ops), true)
            }
            write => self.write(author, key_type, write, true),
        }
    }

    /// What a write that fits does here, and what it answers.
    pub fn write(
        &self,
        author: &Author,
        key_type: Type,
        write: &Write,
        of_field: bool,
    ) -> Result<(Act, Written), Refusal> {
        let mut act = Act::default();
        let written = match write {
            Write::Put { content_type, value } => {
                let (content_type, value) = (content_type.clone(), value.clone());
                let insists = author.overwrites || !author.has_context;
                if key_type == Type::Multi
                    && !author.overwrites
                    && !author.has_context
                    && self.multi().next().is_some()
                {
                    return Err(Refusal::ContextRequired);
                }
                let everything = Seen::all_of(&self.everything());
                let seen = if insists { &everything } else { &author.seen };
                act.head_kills = self.seen_heads(seen, |other| other == key_type);
                if self.head.len() - act.head_kills.len() >= SIBLINGS_MAX {
                    return Err(Refusal::TooManySiblings);
                }
                act.head_put = Some(match key_type {
                    Type::Multi => Head::Multi(Blob { content_type, value }),
                    _ => Head::Register(Register { hlc: Hlc(0), content_type, value }),
                });
                Written::Put(key_type)
            }
            Write::Counter(ops) => Written::Counter(self.count(&mut act, author, ops, of_field)?),
            Write::Set(ops) => Written::Set(self.change_set(&mut act, author, ops)),
            Write::Flag(ops) => Written::Flag(self.switch(&mut act, author, ops)),
            Write::Observe(numbers) => Written::Extremum(key_type, self.observe(&mut act, key_type, numbers)),
            Write::Delete | Write::Map(_) => unreachable!("they are of many spots"),
        };
        Ok((act, written))
    }

    /// A vector that covers all that is here.
    fn everything(&self) -> Vector {
        let mut all = Vector::new();
        for dot in self.dots() {
            let seq = all.entry(dot.origin).or_default();
            *seq = dot.seq.max(*seq);
        }
        all
    }

    fn count(
        &self,
        act: &mut Act,
        author: &Author,
        ops: &[CounterOp],
        of_field: bool,
    ) -> Result<i128, Refusal> {
        let mut amount = 0;
        for op in ops {
            match op {
                CounterOp::Increment(by) => amount += i128::from(*by),
                CounterOp::Reset => {
                    amount = 0;
                    act.reset = self.seen_increments(author, of_field);
                }
            }
        }
        let kept: i128 =
            self.increments.iter().filter(|(dot, _)| !act.reset.contains(dot)).map(|(_, by)| by).sum();
        let (before, after) = (self.sum(), kept + amount);
        if i64::try_from(after).is_err() && after.abs() > before.abs() {
            return Err(Refusal::CounterOverflow);
        }
        let adds = ops.iter().any(|op| matches!(op, CounterOp::Increment(_)));
        if adds && (amount != 0 || self.head.is_empty()) {
            act.amount = Some(amount);
        }
        if !act.is_empty() {
            act.head_put = self.head_if_missing(Head::Counter);
        }
        Ok(after)
    }

    fn change_set(&self, act: &mut Act, author: &Author, ops: &[SetOp]) -> SetChange {
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
        let seen = |dots: &BTreeSet<Dot>| -> BTreeSet<Dot> {
            dots.iter().filter(|dot| author.seen.covers(**dot)).copied().collect()
        };
        let mut change = SetChange::default();
        if clears {
            act.cleared = self.cleared(&author.seen);
            let gone = |(member, dots): &(&Member, &BTreeSet<Dot>)| {
                !after.contains_key(*member) && seen(dots).len() == dots.len()
            };
            change.removed = self.members.iter().filter(gone).count() as u64;
        }
        for (member, put) in after {
            let dots = self.members.get(&member).cloned().unwrap_or_default();
            let kills = if put { dots.clone() } else { seen(&dots) };
            change.added += u64::from(put && dots.is_empty());
            change.removed += u64::from(!put && !dots.is_empty() && kills.len() == dots.len());
            if put || !kills.is_empty() {
                act.members.insert(member, (kills, put));
            }
        }
        if !act.is_empty() {
            act.head_put = self.head_if_missing(Head::Set);
        }
        change
    }

    /// Switches a flag as the last operation says.
    fn switch(&self, act: &mut Act, author: &Author, ops: &[FlagOp]) -> bool {
        let is_flag = |key_type| key_type == Type::Flag;
        if *ops.last().expect("an operation") == FlagOp::Enable {
            act.head_kills = self.seen_heads(&Seen::all_of(&self.everything()), is_flag);
            act.head_put = Some(Head::Flag(true));
            return true;
        }
        let seen = self.seen_heads(&author.seen, is_flag);
        let takes = seen.iter().any(|dot| self.head[dot] == Head::Flag(true));
        let creates = !self.head_types().contains(&Type::Flag) && ops.contains(&FlagOp::Enable);
        let stays_on = self.head.iter().any(|(dot, head)| *head == Head::Flag(true) && !seen.contains(dot));
        if takes || creates {
            act.head_kills = seen;
            act.head_put = Some(Head::Flag(false));
        }
        stays_on
    }

    fn observe(&self, act: &mut Act, key_type: Type, numbers: &[i64]) -> i64 {
        let mut all: Vec<i64> = numbers.to_vec();
        let before = self.head_types().contains(&key_type).then(|| self.value(key_type));
        if let Some(Value::Max(number) | Value::Min(number)) = before {
            all.push(number);
        }
        let best = if key_type == Type::Max { all.iter().max() } else { all.iter().min() };
        let best = *best.expect("an operation");
        let unchanged = matches!(before, Some(Value::Max(number) | Value::Min(number)) if number == best);
        if !unchanged {
            act.head_kills = self.seen_heads(&Seen::all_of(&self.everything()), |other| other == key_type);
            act.head_put = Some(if key_type == Type::Max { Head::Max(best) } else { Head::Min(best) });
        }
        best
    }
}
