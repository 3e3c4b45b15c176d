//! The oracles of the types whose value stands in the head: multi-value register, flag, maximum and minimum.

use super::oracle::{Oracle, Seen};
use super::words::{Outcome, same};
use crdts::{CmRDT, GSet, MVReg, Orswot, mvreg, orswot};
use meridian_core::cell::{Head, Type};
use meridian_core::context::Context;
use meridian_core::hlc::Hlc;
use meridian_core::id::Dot;
use meridian_core::replica::write::{Write, WriteRequest, Written};
use meridian_core::types::Value;
use meridian_core::types::flag::FlagOp;
use std::collections::BTreeSet;

/// Without DELETE, which the crate's register does not know. Each PUT takes away all that its node has: it says so, or
/// brings the context of a read.
#[derive(Clone, Default)]
pub(crate) struct MultiOracle(MVReg<(Dot, Vec<u8>), u64>);

impl Oracle for MultiOracle {
    type Told = mvreg::Op<(Dot, Vec<u8>), u64>;

    fn request(write: &Write, read: Context) -> WriteRequest {
        let overwrites = matches!(write, Write::Put { value, .. } if value[0].is_multiple_of(2));
        let context = (!overwrites).then_some(read);
        WriteRequest { named: Some(Type::Multi), context, overwrites, ..WriteRequest::of(write.clone()) }
    }

    fn mint(&self, write: &Write, dot: Dot, _hlc: Hlc) -> Self::Told {
        let Write::Put { value, .. } = write else { panic!("the oracle knows no {write:?}") };
        let seen = self.0.read_ctx().derive_add_ctx(dot.origin.0);
        self.0.write((dot, value.clone()), seen)
    }

    fn apply(&mut self, told: Self::Told) {
        self.0.apply(told);
    }

    fn check(&self, seen: &Seen) -> Outcome {
        let read: Vec<Vec<u8>> = match &seen.value {
            Some(Value::Multi(blobs)) => blobs.iter().map(|blob| blob.value.clone()).collect(),
            None => Vec::new(),
            other => return Err(format!("not a multi-value register: {other:?}")),
        };
        let values: BTreeSet<(Dot, Vec<u8>)> = self.0.read().val.into_iter().collect();
        let siblings = seen.head.siblings().iter().map(|(dot, head)| match head {
            Head::Multi(blob) => (*dot, blob.value.clone()),
            other => panic!("the head of a multi-value register is {other:?}"),
        });
        same("siblings", &siblings.collect(), &values)?;
        same("read", read, values.into_iter().map(|(_, value)| value).collect())
    }

    fn check_answer(&self, _before: &Self, written: &Written) -> Outcome {
        same("answer", *written, Written::Put(Type::Multi))
    }
}

/// A set that has an element while the flag is on.
#[derive(Clone, Default)]
pub(crate) struct FlagOracle(Orswot<(), u64>);

impl FlagOracle {
    fn is_on(&self) -> bool {
        !self.0.read().val.is_empty()
    }
}

impl Oracle for FlagOracle {
    type Told = Vec<orswot::Op<(), u64>>;

    fn mint(&self, write: &Write, dot: Dot, _hlc: Hlc) -> Self::Told {
        let delete = [FlagOp::Disable];
        let ops = match write {
            Write::Flag(ops) => ops.as_slice(),
            _ => &delete,
        };
        let (mut now, mut told) = (self.clone(), Vec::new());
        for op in ops {
            let seen = now.0.read();
            let op = match op {
                FlagOp::Enable => now.0.add((), seen.derive_add_ctx(dot.origin.0)),
                FlagOp::Disable => now.0.rm((), seen.derive_rm_ctx()),
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
        match &seen.value {
            Some(Value::Flag(enabled)) => same("on", *enabled, self.is_on()),
            None => same("on", false, self.is_on()),
            other => Err(format!("not a flag: {other:?}")),
        }
    }

    fn check_answer(&self, _before: &Self, written: &Written) -> Outcome {
        match written {
            Written::Done => Ok(()),
            written => same("answer", *written, Written::Flag(self.is_on())),
        }
    }
}

/// All numbers that were observed, without DELETE, which the crate's set does not know.
#[derive(Clone, Default)]
pub(crate) struct ExtremumOracle<const IS_MAX: bool>(GSet<i64>);

impl<const IS_MAX: bool> ExtremumOracle<IS_MAX> {
    const TYPE: Type = if IS_MAX { Type::Max } else { Type::Min };

    fn best(&self) -> Option<i64> {
        let numbers = self.0.read();
        if IS_MAX { numbers.last().copied() } else { numbers.first().copied() }
    }
}

impl<const IS_MAX: bool> Oracle for ExtremumOracle<IS_MAX> {
    type Told = Vec<i64>;

    fn request(write: &Write, _read: Context) -> WriteRequest {
        WriteRequest { named: Some(Self::TYPE), ..WriteRequest::of(write.clone()) }
    }

    fn mint(&self, write: &Write, _dot: Dot, _hlc: Hlc) -> Self::Told {
        let Write::Observe(numbers) = write else { panic!("the oracle knows no {write:?}") };
        numbers.clone()
    }

    fn apply(&mut self, told: Self::Told) {
        told.into_iter().for_each(|number| self.0.apply(number));
    }

    fn check(&self, seen: &Seen) -> Outcome {
        let read = match (&seen.value, Self::TYPE) {
            (Some(Value::Max(number)), Type::Max) | (Some(Value::Min(number)), Type::Min) => Some(*number),
            (None, _) => None,
            other => return Err(format!("{other:?}")),
        };
        same("number", read, self.best())
    }

    fn check_answer(&self, _before: &Self, written: &Written) -> Outcome {
        let Written::Extremum(key_type, number) = written else {
            return Err(format!("answered {written:?}"));
        };
        same("answer", (*key_type, Some(*number)), (Self::TYPE, self.best()))
    }
}
