//! What was acknowledged, and that nothing took away, is there at the end: of flags, maxima, minima and registers.
//!
//! A removal that may have seen a write may have taken it away; one that had been answered before the write was asked cannot. Which of
//! two puts to a register wins is judged by [`super::register`], sets by [`super::adds`], multi-value registers by
//! [`super::siblings`], counters by [`super::counter`].

use super::{Violation, wrong};
use crate::history::{Asked, Case, Entry, Kind, Seen};
use std::collections::HashMap;

/// Its name.
pub const NAME: &str = "lost";

/// Checks it.
///
/// # Errors
/// Something is lost.
pub fn check(case: &Case<'_>) -> Result<(), Violation> {
    let Some(last) = case.last() else { return Ok(()) };
    let takers = case.takes_all();
    let first_shown = first_shown(case);
    for entry in case.entries.iter().filter(|entry| entry.must_stay()) {
        let is_there = match (entry.asked, last) {
            (Asked::Enable, last) => *last == Seen::Flag(true),
            (Asked::Observe(number), last) => {
                let height = |number: i128| case.subject.kind.height(number);
                let keeps = |found| height(found) >= height(i128::from(*number));
                !is_certain(entry, *number) || matches!(last, Seen::Number(found) if keeps(*found))
            }
            // Of two puts to a register one wins, whichever came first.
            (Asked::Put(_), last) if case.subject.kind == Kind::Register => *last != Seen::Nothing,
            _ => true,
        };
        let since = match entry.asked {
            // It may have changed nothing, for another had shown the same number.
            Asked::Observe(number) => first_shown.get(number).copied().unwrap_or(entry.began),
            _ => entry.began,
        };
        if !is_there && !takers.may_have_seen(since, u64::MAX) {
            let what =
                format!("{:?} was acknowledged, nothing took it away, and it reads {last:?}", entry.asked);
            return Err(wrong(NAME, &case.subject, what));
        }
    }
    Ok(())
}

/// Whether a number that was shown made a difference, so that it is to be kept: a higher one may have been there, and then be taken away.
pub(super) fn is_certain(entry: &Entry<'_>, number: i64) -> bool {
    let now = entry.seen().is_some_and(|(_, seen)| *seen == Seen::Number(i128::from(number)));
    now || entry.changed().is_some_and(|changed| changed > 0)
}

/// When each number was first shown.
pub(super) fn first_shown(case: &Case<'_>) -> HashMap<i64, u64> {
    let mut first = HashMap::new();
    for entry in case.entries.iter().filter(|entry| entry.may_be_applied()) {
        if let Asked::Observe(number) = entry.asked {
            first.entry(*number).or_insert(entry.began);
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asks, changed, makes, put, refused, story, told, values, wrote};
    use super::*;
    use crate::history::Fact;

    #[test]
    fn what_is_gone_without_a_removal_is_lost() {
        let enable = || asks(Kind::Flag, Asked::Enable).ends(wrote());
        let take = |kind| asks(kind, Asked::TakeAll).ends(wrote());
        let observe = |number, now| asks(Kind::Max, Asked::Observe(number)).ends(makes(Seen::Number(now)));
        let register = |value| put(Kind::Register, value);
        let good = [
            story(vec![enable()], Seen::Flag(true)),
            story(vec![enable(), take(Kind::Flag)], Seen::Flag(false)),
            story(vec![enable().ends(refused())], Seen::Nothing),
            story(vec![observe(3, 3)], Seen::Number(7)),
            story(vec![observe(3, 7)], Seen::Nothing),
            story(vec![register("v1")], values(&["v1"])),
            story(vec![register("v1"), register("v2")], values(&["v1"])),
            story(vec![register("v1"), take(Kind::Register)], Seen::Nothing),
        ];
        for history in &good {
            assert_eq!(told(check, history), Ok(()), "{history:?}");
        }
        let field = asks(Kind::Max, Asked::Observe(3)).ends(changed(Some(1)));
        let bad = [
            story(vec![enable()], Seen::Flag(false)),
            story(vec![enable()], Seen::Nothing),
            story(vec![take(Kind::Flag), enable()], Seen::Flag(false)),
            story(vec![enable(), take(Kind::Flag).ends(refused())], Seen::Flag(false)),
            story(vec![observe(3, 3)], Seen::Number(2)),
            story(vec![take(Kind::Max), observe(3, 3)], Seen::Nothing),
            story(vec![field], Seen::Number(2)),
            story(vec![register("v1")], Seen::Nothing),
            story(vec![take(Kind::Register), register("v1"), register("v2")], Seen::Nothing),
        ];
        for history in &bad {
            assert_eq!(told(check, history).expect_err("it is lost").checker, NAME, "{history:?}");
            let mut excused = history.clone();
            excused.facts.extend((1..4).map(|op| (0, Fact::Destroyed { op })));
            assert_eq!(told(check, &excused), Ok(()), "its only disk is gone");
        }
        let again = story(vec![observe(3, 3), take(Kind::Max), observe(3, 3).on(2)], Seen::Nothing);
        assert_eq!(told(check, &again), Ok(()), "the second changed nothing where the first was");
    }
}
