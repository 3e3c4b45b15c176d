//! The oracles: what the crate has in the place of one of our types.

use super::words::{Outcome, name, same};
use crdts::{CmRDT, LWWReg, MVReg, Orswot, PNCounter, mvreg, orswot, pncounter};
use meridian_core::cell::{Cell, Head, Type};
use meridian_core::context::Context;
use meridian_core::hlc::Hlc;
use meridian_core::id::Dot;
use meridian_core::name::Member;
use meridian_core::replica::write::{Write, WriteRequest, Written};
use meridian_core::types::Value;
use meridian_core::types::counter::CounterOp;
use meridian_core::types::set::{SetChange, SetOp};
use std::collections::BTreeSet;

/// What the crate has in the place of one of our types: the state of one key.
pub(crate) trait Oracle: Clone + Default {
    /// What a write tells the other replicas.
    type Told: Clone;
    /// Whether the crate has such a type. Without, nothing is compared.
    const FOLLOWS: bool = true;

    /// How a client says a write that has no context of its own, and has just read the key.
    fn request(write: &Write, _read: Context) -> WriteRequest {
        WriteRequest::of(write.clone())
    }

    /// What a write tells the others, as the delta `dot` with the stamp `hlc`.
    fn mint(&self, write: &Write, dot: Dot, hlc: Hlc) -> Self::Told;

    /// Takes over what a write tells.
    fn apply(&mut self, told: Self::Told);

    /// Whether the key reads like this.
    fn check(&self, seen: &Seen) -> Outcome;

    /// Whether a write that made `before` into this may answer so.
    fn check_answer(&self, before: &Self, written: &Written) -> Outcome;
}

/// What is seen of a key on a node.
pub(crate) struct Seen {
    pub(crate) value: Option<Value>,
    pub(crate) head: Cell<Head>,
}

#[derive(Clone, Default)]
pub(crate) struct SetOracle(Orswot<String, u64>);

impl SetOracle {
    fn members(&self) -> BTreeSet<String> {
        self.0.read().val.into_iter().collect()
    }
}

impl Oracle for SetOracle {
    type Told = Vec<orswot::Op<String, u64>>;

    fn mint(&self, write: &Write, dot: Dot, _hlc: Hlc) -> Self::Told {
        let delete = [SetOp::Clear];
        let ops = match write {
            Write::Set(ops) => ops.as_slice(),
            _ => &delete,
        };
        let (mut now, mut told) = (self.clone(), Vec::new());
        for op in ops {
            let (names, seen) =
                (|members: &[Member]| members.iter().map(name).collect::<Vec<_>>(), now.0.read());
            let op = match op {
                SetOp::Add(members) => now.0.add_all(names(members), seen.derive_add_ctx(dot.origin.0)),
                SetOp::Remove(members) => now.0.rm_all(names(members), seen.derive_rm_ctx()),
                SetOp::Clear => now.0.rm_all(now.members(), seen.derive_rm_ctx()),
            };
            now.0.apply(op.clone());
            told.push(op);
        }
        told
    }

    fn apply(&mut self, told: Self::Told) {
        for op in told {
            self.0.validate_op(&op).expect("causal delivery leaves no gap");
            self.0.apply(op);
        }
    }

    fn check(&self, seen: &Seen) -> Outcome {
        let members = match &seen.value {
            Some(Value::Set(members)) => members.iter().map(name).collect(),
            None => BTreeSet::new(),
            other => return Err(format!("not a set: {other:?}")),
        };
        same("members", members, self.members())
    }

    fn check_answer(&self, before: &Self, written: &Written) -> Outcome {
        let (before, now) = (before.members(), self.members());
        let added = now.difference(&before).count() as u64;
        let removed = before.difference(&now).count() as u64;
        match written {
            Written::Done => Ok(()),
            written => same("answer", *written, Written::Set(SetChange { added, removed, more: false })),
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct CounterOracle(PNCounter<u64>);

impl Oracle for CounterOracle {
    type Told = Vec<pncounter::Op<u64>>;

    fn mint(&self, write: &Write, dot: Dot, _hlc: Hlc) -> Self::Told {
        let Write::Counter(ops) = write else { panic!("the oracle knows no {write:?}") };
        let (mut now, mut told) = (self.clone(), Vec::new());
        for op in ops {
            let CounterOp::Increment(by) = op else { panic!("the oracle knows no {op:?}") };
            let op = match by.is_negative() {
                true => now.0.dec_many(dot.origin.0, by.unsigned_abs()),
                false => now.0.inc_many(dot.origin.0, by.unsigned_abs()),
            };
            now.0.apply(op.clone());
            told.push(op);
        }
        told
    }

    fn apply(&mut self, told: Self::Told) {
        told.into_iter().for_each(|op| self.0.apply(op));
    }

    fn check(&self, seen: &Seen) -> Outcome {
        let value = match &seen.value {
            Some(Value::Counter(value)) => *value,
            None => 0,
            other => return Err(format!("not a counter: {other:?}")),
        };
        same("value", value.to_string(), self.0.read().to_string())
    }

    fn check_answer(&self, _before: &Self, written: &Written) -> Outcome {
        let Written::Counter(value) = written else { return Err(format!("answered {written:?}")) };
        same("answer", value.to_string(), self.0.read().to_string())
    }
}

#[derive(Clone, Default)]
pub(crate) struct RegisterOracle {
    last: LWWReg<Vec<u8>, (u64, u64, u64)>,
    siblings: MVReg<(Dot, Vec<u8>), u64>,
}

impl Oracle for RegisterOracle {
    type Told = (LWWReg<Vec<u8>, (u64, u64, u64)>, mvreg::Op<(Dot, Vec<u8>), u64>);

    fn mint(&self, write: &Write, dot: Dot, hlc: Hlc) -> Self::Told {
        let Write::Put { value, .. } = write else { panic!("the oracle knows no {write:?}") };
        let last = LWWReg { val: value.clone(), marker: (hlc.0, dot.origin.0, dot.seq) };
        let seen = self.siblings.read_ctx().derive_add_ctx(dot.origin.0);
        (last, self.siblings.write((dot, value.clone()), seen))
    }

    fn apply(&mut self, (last, sibling): Self::Told) {
        self.last.validate_op(&last).expect("no two writes have one stamp");
        self.last.apply(last);
        self.siblings.apply(sibling);
    }

    fn check(&self, seen: &Seen) -> Outcome {
        let read = match &seen.value {
            Some(Value::Register { bytes, .. }) => bytes.clone(),
            None => Vec::new(),
            other => return Err(format!("not a register: {other:?}")),
        };
        let siblings = seen.head.siblings().iter().map(|(dot, head)| match head {
            Head::Register(register) => (*dot, register.value.clone()),
            other => panic!("the head of a register is {other:?}"),
        });
        same("read", &read, &self.last.val)?;
        same("siblings", siblings.collect(), self.siblings.read().val.into_iter().collect::<BTreeSet<_>>())
    }

    fn check_answer(&self, _before: &Self, written: &Written) -> Outcome {
        same("answer", *written, Written::Put(Type::Register))
    }
}

/// A PUT of a lower byte than this creates a multi-value register, where nothing is compared.
const MULTI_BELOW: u8 = 64;

/// No oracle: for schedules that no type of the crate can follow.
#[derive(Clone, Default)]
pub(crate) struct Blind;

impl Oracle for Blind {
    type Told = ();
    const FOLLOWS: bool = false;

    fn request(write: &Write, _read: Context) -> WriteRequest {
        let request = WriteRequest::of(write.clone());
        match write {
            Write::Put { value, .. } if value[0] < MULTI_BELOW => {
                WriteRequest { named: Some(Type::Multi), overwrites: true, ..request }
            }
            Write::Observe(numbers) if numbers[0] < 0 => WriteRequest { named: Some(Type::Min), ..request },
            _ => request,
        }
    }

    fn mint(&self, _write: &Write, _dot: Dot, _hlc: Hlc) {}

    fn apply(&mut self, _told: ()) {}

    fn check(&self, _seen: &Seen) -> Outcome {
        Ok(())
    }

    fn check_answer(&self, _before: &Self, _written: &Written) -> Outcome {
        Ok(())
    }
}
