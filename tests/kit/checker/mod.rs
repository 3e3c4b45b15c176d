//! What must hold of a [history](crate::history), whatever happened. Each checker is a file:
//!
//! - [`outcome`]: every request has an outcome, in time, and none that it cannot have;
//! - [`phantom`]: nothing is read that nobody wrote;
//! - [`forgotten`]: a node does not forget what it has acknowledged or shown;
//! - [`resurrected`]: what was taken away, and was seen to be, does not come back;
//! - [`lost`]: what was acknowledged and not taken away is there at the end;
//! - [`adds`]: an add beats a removal that had not seen it;
//! - [`counter`]: a counter is one of the sums that are possible: nothing counts twice, and what is certain counts;
//! - [`register`]: a put does not beat one that followed it on its node;
//! - [`siblings`]: a multi-value register shows exactly the puts that none has seen;
//! - [`listing`]: pages are in order, and list what is there and nothing else;
//! - [`convergence`]: at the end all nodes read the same.
//!
//! Those of one subject look at one key, or one field of a map, at a time. Each goes over the history about once: what it has to look
//! up again and again has an index.

pub mod adds;
pub mod convergence;
pub mod counter;
pub mod forgotten;
pub mod listing;
pub mod lost;
pub mod outcome;
pub mod phantom;
pub mod register;
pub mod resurrected;
pub mod siblings;
mod taken;

use crate::history::{Case, History, Subject};
use std::fmt;

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which checker says so.
    pub checker: &'static str,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.checker, self.what)
    }
}

/// Judges one subject.
pub type OfCase = fn(&Case<'_>) -> Result<(), Violation>;

/// The checkers of single subjects, by name. The first one that complains names what is wrong: those that need least to be so come first.
pub const OF_CASES: [(&str, OfCase); 9] = [
    (phantom::NAME, phantom::check),
    (forgotten::NAME, forgotten::check),
    (resurrected::NAME, resurrected::check),
    (lost::NAME, lost::check),
    (adds::NAME, adds::check),
    (counter::NAME, counter::check),
    (register::NAME, register::check),
    (siblings::NAME, siblings::check),
    (convergence::NAME, convergence::check),
];

/// Asks all checkers.
///
/// # Errors
/// The first thing that must not be.
pub fn check(history: &History) -> Result<(), Violation> {
    match violations(history).into_iter().next() {
        Some(violation) => Err(violation),
        None => Ok(()),
    }
}

/// Asks all checkers: the first complaint of each that has one.
pub fn violations(history: &History) -> Vec<Violation> {
    let cases = history.cases();
    let of_cases = OF_CASES.iter().filter_map(|(_, check)| cases.iter().find_map(|case| check(case).err()));
    let outcome = outcome::check(history).err();
    let of_cases: Vec<Violation> = of_cases.collect();
    outcome.into_iter().chain(of_cases).chain(listing::check(history, &cases).err()).collect()
}

fn wrong(checker: &'static str, subject: &Subject<'_>, what: impl fmt::Display) -> Violation {
    Violation { checker, what: format!("{subject}: {what}") }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::history::{Asked, End, Fact, Kind, Level, Op, Ret, Seen};
    use std::collections::BTreeSet;

    /// A request about the only key, on the first node, that nobody knows the end of.
    pub(crate) fn asks(kind: Kind, asked: Asked) -> Op {
        Op {
            op: 0,
            client: 1,
            session: None,
            node: 1,
            level: Level::Local,
            key: "k".into(),
            path: None,
            kind: Some(kind),
            asked,
            context: None,
            began: 0,
            ended: None,
        }
    }

    impl Op {
        pub(crate) fn ends(self, end: End) -> Op {
            Op { ended: Some((0, end)), ..self }
        }

        pub(crate) fn on(self, node: u32) -> Op {
            Op { node, ..self }
        }

        pub(crate) fn at_path(self, path: &str) -> Op {
            Op { path: Some(path.into()), ..self }
        }

        pub(crate) fn carries(self, context: &str) -> Op {
            Op { context: Some(context.into()), ..self }
        }

        pub(crate) fn gives(mut self, token: &str) -> Op {
            if let Some((_, End::Ok { context, .. })) = &mut self.ended {
                *context = Some(token.into());
            }
            self
        }
    }

    /// Requests one after the other: each is asked at ten times its number, and answered five later.
    pub(crate) fn history(mut ops: Vec<Op>) -> History {
        for (op, number) in ops.iter_mut().zip(1..) {
            (op.op, op.began) = (number, number * 10);
            if let Some((at, _)) = &mut op.ended {
                *at = number * 10 + 5;
            }
        }
        History { ops, facts: Vec::new() }
    }

    /// The same, and what the first node reads at the end.
    pub(crate) fn story(mut ops: Vec<Op>, last: Seen) -> History {
        let kind = ops.first().and_then(|op| op.kind).expect("there is a first one");
        ops.push(asks(kind, Asked::Read).ends(read(last)));
        let mut history = history(ops);
        history.facts = vec![(history.ops.last().map_or(0, |op| op.began), Fact::Quiet)];
        history
    }

    /// What a checker of subjects says of a history of one.
    pub(crate) fn told(check: OfCase, history: &History) -> Result<(), Violation> {
        history.cases().iter().try_for_each(check)
    }

    pub(crate) fn wrote() -> End {
        changed(None)
    }

    pub(crate) fn changed(changed: Option<u64>) -> End {
        End::Ok { ret: Ret::Wrote { changed, now: None }, context: None }
    }

    pub(crate) fn makes(now: Seen) -> End {
        End::Ok { ret: Ret::Wrote { changed: None, now: Some(now) }, context: None }
    }

    pub(crate) fn read(seen: Seen) -> End {
        End::Ok { ret: Ret::Read(seen), context: None }
    }

    pub(crate) fn refused() -> End {
        End::Fail { code: "quarantined".into() }
    }

    pub(crate) fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn put(kind: Kind, value: &str) -> Op {
        asks(kind, Asked::Put(value.into())).ends(wrote())
    }

    pub(crate) fn add(member: &str) -> Op {
        asks(Kind::Set, Asked::Add(names(&[member]))).ends(wrote())
    }

    pub(crate) fn remove(member: &str, removed: u64) -> Op {
        asks(Kind::Set, Asked::Remove(names(&[member]))).ends(changed(Some(removed)))
    }

    pub(crate) fn members(members: &[&str]) -> Seen {
        Seen::Members(names(members))
    }

    pub(crate) fn values(values: &[&str]) -> Seen {
        Seen::Values(names(values))
    }

    #[test]
    fn the_checkers_are_named_and_all_are_asked() {
        let history = story(vec![add("m1"), add("m2")], members(&["m1", "m3"]));
        let complaints = violations(&history);
        let by: Vec<&str> = complaints.iter().map(|violation| violation.checker).collect();
        assert_eq!(by, [phantom::NAME, forgotten::NAME, adds::NAME], "{complaints:?}");
        assert_eq!(check(&history), Err(complaints[0].clone()));
        assert_eq!(violations(&story(vec![add("m1")], members(&["m1"]))), []);
    }
}
