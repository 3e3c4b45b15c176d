//! The oracle of a map of sets: one set of the crate for each path.

use super::oracle::{Oracle, Seen};
use super::words::{Outcome, name, same};
use crdts::{CmRDT, Orswot, orswot};
use meridian_core::hlc::Hlc;
use meridian_core::id::Dot;
use meridian_core::name::Member;
use meridian_core::path::{Field, Path, ROOT};
use meridian_core::replica::write::{Write, Written};
use meridian_core::types::Value;
use meridian_core::types::set::SetOp;
use std::collections::{BTreeMap, BTreeSet};

type Sets = BTreeMap<Path, Orswot<String, u64>>;

#[derive(Clone, Default)]
pub(crate) struct MapOracle(Sets);

impl MapOracle {
    /// The members of each set that has any.
    fn members(&self) -> BTreeMap<Path, BTreeSet<String>> {
        let sets = self.0.iter().map(|(path, set)| (path.clone(), set.read().val.into_iter().collect()));
        sets.filter(|(_, members): &(Path, BTreeSet<String>)| !members.is_empty()).collect()
    }

    fn set(&self, path: &Path) -> Orswot<String, u64> {
        self.0.get(path).cloned().unwrap_or_default()
    }

    /// What one operation on a set tells.
    fn told_by(&self, path: &Path, op: &SetOp, dot: Dot) -> (Path, orswot::Op<String, u64>) {
        let (set, names) =
            (self.set(path), |members: &[Member]| members.iter().map(name).collect::<Vec<_>>());
        let seen = set.read();
        let op = match op {
            SetOp::Add(members) => set.add_all(names(members), seen.derive_add_ctx(dot.origin.0)),
            SetOp::Remove(members) => set.rm_all(names(members), seen.derive_rm_ctx()),
            SetOp::Clear => set.rm_all(seen.val.clone(), seen.derive_rm_ctx()),
        };
        (path.clone(), op)
    }

    /// What a removal tells: it clears each set at the path and below.
    fn removal(&self, path: &Path, dot: Dot) -> Vec<(Path, orswot::Op<String, u64>)> {
        let below = self.0.keys().filter(|other| path.leads_to(other));
        below.map(|path| self.told_by(path, &SetOp::Clear, dot)).collect()
    }

    fn take(&mut self, told: &[(Path, orswot::Op<String, u64>)]) {
        for (path, op) in told {
            let set = self.0.entry(path.clone()).or_default();
            set.validate_op(op).expect("causal delivery leaves no gap");
            set.apply(op.clone());
        }
    }
}

impl Oracle for MapOracle {
    type Told = Vec<(Path, orswot::Op<String, u64>)>;

    fn mint(&self, write: &Write, dot: Dot, _hlc: Hlc) -> Self::Told {
        let Write::Map(ops) = write else { return self.removal(&ROOT, dot) };
        let (mut now, mut told) = (self.clone(), Vec::new());
        for op in ops {
            let operations = match &op.write {
                Write::Set(operations) => operations.as_slice(),
                _ => &[],
            };
            if op.write == Write::Delete {
                let removal = now.removal(&op.path, dot);
                now.take(&removal);
                told.extend(removal);
            }
            for operation in operations {
                let one = now.told_by(&op.path, operation, dot);
                now.take(std::slice::from_ref(&one));
                told.push(one);
            }
        }
        told
    }

    fn apply(&mut self, told: Self::Told) {
        self.take(&told);
    }

    fn check(&self, seen: &Seen) -> Outcome {
        let mut read = BTreeMap::new();
        if let Some(value) = &seen.value {
            gather(&mut Vec::new(), value, &mut read)?;
        }
        same("sets", read, self.members())
    }

    fn check_answer(&self, _before: &Self, written: &Written) -> Outcome {
        match written {
            Written::Done | Written::Map(_) => Ok(()),
            other => Err(format!("answered {other:?}")),
        }
    }
}

/// The members of each set in a value that has any.
fn gather(at: &mut Vec<Field>, value: &Value, found: &mut BTreeMap<Path, BTreeSet<String>>) -> Outcome {
    match value {
        Value::Map(fields) => fields.iter().try_for_each(|(field, value)| {
            at.push(field.clone());
            gather(at, value, found)?;
            at.pop();
            Ok(())
        }),
        Value::Set(members) if members.is_empty() => Ok(()),
        Value::Set(members) => {
            let path = Path::new(at.clone()).map_err(|error| error.to_string())?;
            found.insert(path, members.iter().map(name).collect());
            Ok(())
        }
        other => Err(format!("neither a map nor a set: {other:?}")),
    }
}
