//! An add beats a removal that had not seen it: a set has every member that was added and that no removal can have taken away.
//!
//! A removal can have taken away what was asked before it ended, unless its answer says that it took nothing. That what was surely
//! taken away is not there is for [`super::resurrected`]; together they say exactly what a set has, as far as that can be known from
//! outside.

use super::{Violation, wrong};
use crate::history::{Asked, Case, Kind, Seen, Takers};
use std::collections::HashMap;

/// Its name.
pub const NAME: &str = "adds";

/// Checks it.
///
/// # Errors
/// A member is gone that nothing can have taken away.
pub fn check(case: &Case<'_>) -> Result<(), Violation> {
    let Some(last) = case.last().filter(|_| case.subject.kind == Kind::Set) else { return Ok(()) };
    let takers = MemberTakers::of(case);
    for entry in case.entries.iter().filter(|entry| entry.must_stay()) {
        let Asked::Add(members) = entry.asked else { continue };
        let has = |member: &str| matches!(last, Seen::Members(there) if there.contains(member));
        let gone = members
            .iter()
            .find(|member| !has(member) && !takers.may_have_seen(member, entry.began, u64::MAX));
        if let Some(member) = gone {
            let what = format!("{member} was added, no removal can have seen it, and it is gone");
            return Err(wrong(NAME, &case.subject, what));
        }
    }
    Ok(())
}

/// What may take away members.
pub(super) struct MemberTakers<'a> {
    all: Takers,
    of: HashMap<&'a str, Takers>,
}

impl<'a> MemberTakers<'a> {
    pub(super) fn of(case: &Case<'a>) -> MemberTakers<'a> {
        let mut takers = MemberTakers { all: Takers::default(), of: HashMap::new() };
        for entry in case.entries.iter().filter(|entry| entry.may_be_applied() && entry.changed() != Some(0))
        {
            match entry.asked {
                Asked::TakeAll => takers.all.push(entry),
                Asked::Remove(members) => {
                    members.iter().for_each(|member| takers.of.entry(member).or_default().push(entry));
                }
                _ => {}
            }
        }
        takers
    }

    /// As [`Takers::may_have_seen`].
    pub(super) fn may_have_seen(&self, member: &str, since: u64, before: u64) -> bool {
        let of_member = self.of.get(member);
        self.all.may_have_seen(since, before)
            || of_member.is_some_and(|takers| takers.may_have_seen(since, before))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{add, asks, changed, members, refused, remove, story, told, wrote};
    use super::*;
    use crate::history::{End, Fact};

    #[test]
    fn an_add_is_gone_only_if_a_removal_can_have_seen_it() {
        let clear = |end| asks(Kind::Set, Asked::TakeAll).ends(end);
        let good = [
            story(vec![add("a"), add("b")], members(&["a", "b"])),
            story(vec![add("a"), remove("a", 1)], members(&[])),
            story(vec![add("a"), remove("a", 1), add("a")], members(&["a"])),
            story(vec![add("a"), clear(wrote())], Seen::Nothing),
            story(vec![add("a").ends(refused())], Seen::Nothing),
            story(vec![add("a").ends(End::Info { code: "timeout".into() })], Seen::Nothing),
            story(vec![asks(Kind::Set, Asked::TakeAll), add("a")], members(&[])),
        ];
        for history in &good {
            assert_eq!(told(check, history), Ok(()), "{history:?}");
        }
        let bad = [
            story(vec![add("a"), add("b")], members(&["b"])),
            story(vec![clear(wrote()), add("a")], Seen::Nothing),
            story(vec![remove("a", 0), add("a")], members(&[])),
            story(vec![add("a"), remove("b", 1)], members(&[])),
            story(vec![add("a"), clear(refused())], Seen::Nothing),
            // Their answers say that they took nothing away.
            story(vec![add("a"), remove("a", 0).on(2)], members(&[])),
            story(vec![add("a"), clear(changed(Some(0))).on(2)], members(&[])),
            story(vec![add("a"), remove("a", 1), add("a")], members(&[])),
        ];
        for history in &bad {
            assert_eq!(told(check, history).expect_err("it is lost").checker, NAME, "{history:?}");
            let mut excused = history.clone();
            excused.facts.extend((1..4).map(|op| (0, Fact::Destroyed { op })));
            assert_eq!(told(check, &excused), Ok(()), "its only disk is gone");
        }
    }
}
