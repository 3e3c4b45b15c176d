//! A node does not forget: what it has acknowledged or shown, it shows to whoever asks it later, unless something may have taken it away.
//!
//! That holds at any time, in partitions as well, within one life of a node. So it catches a read that says less than there is: an error
//! taken for absence, a write that is acknowledged and not made.

use super::adds::MemberTakers;
use super::lost::is_certain;
use super::siblings::ValueTakers;
use super::taken::{items, times, written};
use super::{Violation, wrong};
use crate::history::{Asked, Case, Entry, Kind, Life, Seen, Takers};
use std::collections::{BTreeSet, HashMap};

/// Its name.
pub const NAME: &str = "forgotten";

/// Checks it.
///
/// # Errors
/// A node has forgotten something.
pub fn check(case: &Case<'_>) -> Result<(), Violation> {
    match case.subject.kind {
        Kind::Set => {
            let takers = MemberTakers::of(case);
            check_items(case, &|member, since, before| takers.may_have_seen(member, since, before))
        }
        Kind::Multi => {
            let takers = ValueTakers::of(case);
            check_items(case, &|value, since, before| takers.may_have_seen(value, since, before))
        }
        _ => check_whole(case, &case.takes_all()),
    }
}

/// Whether something that was first asked at a time may have been taken away by what was asked before another.
type MayBeTaken<'a> = &'a dyn Fn(&str, u64, u64) -> bool;

/// Of sets and multi-value registers.
fn check_items(case: &Case<'_>, may_be_taken: MayBeTaken<'_>) -> Result<(), Violation> {
    let mut first_asked: HashMap<&str, u64> = HashMap::new();
    for entry in case.entries.iter().filter(|entry| entry.may_be_applied()) {
        written(entry).into_iter().for_each(|item| _ = first_asked.entry(item).or_insert(entry.began));
    }
    let mut known: HashMap<Life, BTreeSet<&str>> = HashMap::new();
    // What a node knew when a read began that has not ended yet.
    let none = BTreeSet::new();
    for (_, begins, place) in times(case) {
        let entry = &case.entries[place];
        let known = known.entry(entry.life).or_default();
        if !begins {
            let shown =
                entry.seen().and_then(|(_, seen)| items(seen)).into_iter().flatten().map(String::as_str);
            let shown = shown.filter(|item| first_asked.contains_key(item));
            known.extend(written(entry).into_iter().filter(|_| entry.was_applied()).chain(shown));
            continue;
        }
        let Some((at, seen)) = entry.seen().filter(|_| *entry.asked == Asked::Read) else { continue };
        let there = items(seen).unwrap_or(&none);
        let lacking: Vec<&str> = known.iter().filter(|item| !there.contains(**item)).copied().collect();
        for item in lacking {
            if !may_be_taken(item, first_asked[item], at) {
                return Err(forgot(case, entry, item));
            }
            known.remove(item);
        }
    }
    Ok(())
}

/// Of the other types: what is known of them is one thing.
fn check_whole(case: &Case<'_>, takers: &Takers) -> Result<(), Violation> {
    let height = |number| case.subject.kind.height(number);
    // For each life: what it knows, and when the first was asked that could make it so.
    let mut known: HashMap<Life, (Option<i128>, u64)> = HashMap::new();
    let mut first_asked: HashMap<Option<i128>, u64> = HashMap::new();
    for (at, begins, place) in times(case) {
        let entry = &case.entries[place];
        if begins {
            if let (Some((at, seen)), Some((number, since))) = (entry.seen(), known.get(&entry.life)) {
                let has = match (seen, number) {
                    (Seen::Number(found), Some(number)) => height(*found) >= *number,
                    (Seen::Nothing | Seen::Flag(false), _) => false,
                    _ => true,
                };
                let forgot =
                    forgot(case, entry, number.map_or("something".into(), |number| number.to_string()));
                match has || takers.may_have_seen(*since, at) {
                    true if !has => _ = known.remove(&entry.life),
                    true => {}
                    false => return Err(forgot),
                }
            }
            if let Some(made) = made(case, entry).filter(|_| entry.may_be_applied()) {
                first_asked.entry(made).or_insert(entry.began);
            }
            continue;
        }
        let first_asked = |what: Option<i128>| (what, first_asked.get(&what).copied().unwrap_or(at));
        let acknowledged = made(case, entry).filter(|_| entry.was_applied() && is_kept(entry));
        // A number may have been there before; anything else that was acknowledged was made by this.
        let acknowledged =
            acknowledged.map(|what| if what.is_some() { first_asked(what) } else { (what, entry.began) });
        let shown = entry.seen().and_then(|(_, seen)| shown(case, seen)).map(first_asked);
        for new in acknowledged.into_iter().chain(shown) {
            let kept = known.entry(entry.life).or_insert(new);
            *kept = new.max(*kept);
        }
    }
    Ok(())
}

/// What a write makes: that something is there, of a maximum that it is at least so high.
fn made(case: &Case<'_>, entry: &Entry<'_>) -> Option<Option<i128>> {
    match entry.asked {
        Asked::Observe(number) => Some(Some(case.subject.kind.height(i128::from(*number)))),
        Asked::Put(_) | Asked::Enable | Asked::Increment(_) => Some(None),
        _ => None,
    }
}

fn is_kept(entry: &Entry<'_>) -> bool {
    match entry.asked {
        Asked::Observe(number) => is_certain(entry, *number),
        _ => true,
    }
}

/// What is known when this was shown.
fn shown(case: &Case<'_>, seen: &Seen) -> Option<Option<i128>> {
    match (case.subject.kind, seen) {
        (Kind::Max | Kind::Min, Seen::Number(number)) => Some(Some(case.subject.kind.height(*number))),
        (Kind::Flag, Seen::Flag(true)) => Some(None),
        _ => None,
    }
}

fn forgot(case: &Case<'_>, entry: &Entry<'_>, what: impl std::fmt::Display) -> Violation {
    let (node, op) = (entry.life.0, entry.op);
    wrong(
        NAME,
        &case.subject,
        format!("n{node} had acknowledged or shown {what}, and request {op} does not find it"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{
        add, asks, makes, members, put, read, refused, remove, story, told, values, wrote,
    };
    use super::*;
    use crate::history::{Fact, History};

    fn reads(kind: Kind, seen: Seen) -> crate::history::Op {
        asks(kind, Asked::Read).ends(read(seen))
    }

    fn is_bad(history: &History) {
        assert_eq!(told(check, history).expect_err("it is forgotten").checker, NAME, "{history:?}");
    }

    #[test]
    fn a_member_that_a_node_has_shown_it_goes_on_showing() {
        let later = |there: &[&str]| story(vec![add("a"), reads(Kind::Set, members(there))], members(&["a"]));
        assert_eq!(told(check, &later(&["a"])), Ok(()));
        is_bad(&later(&[]));
        let mut nothing = later(&[]);
        nothing.ops[1] = crate::history::Op { began: 20, ..reads(Kind::Set, Seen::Nothing) };
        is_bad(&nothing);
        for change in [
            (|history| history.ops[0].node = 2) as fn(&mut History),
            |history| history.ops[1].began = 14,
            |history| history.facts.insert(0, (18, Fact::Replaced { node: 1 })),
            |history| history.ops[0].ended = None,
        ] {
            let mut history = later(&[]);
            change(&mut history);
            assert_eq!(told(check, &history), Ok(()), "it need not have it: {history:?}");
        }
        let shown = |then: Seen| {
            story(
                vec![add("a").on(2), reads(Kind::Set, members(&["a"])), reads(Kind::Set, then)],
                members(&["a"]),
            )
        };
        assert_eq!(told(check, &shown(members(&["a"]))), Ok(()));
        is_bad(&shown(Seen::Nothing));
        let removed = |removed| {
            story(vec![add("a"), remove("a", removed).on(2), reads(Kind::Set, members(&[]))], members(&[]))
        };
        assert_eq!(told(check, &removed(1)), Ok(()));
        is_bad(&removed(0));
    }

    #[test]
    fn a_value_that_a_node_has_shown_it_goes_on_showing() {
        let later = |there: &[&str]| {
            let beside = put(Kind::Multi, "v2").carries("a").on(2);
            let first = reads(Kind::Multi, values(&[])).gives("a").on(2);
            story(
                vec![first, put(Kind::Multi, "v1"), beside, reads(Kind::Multi, values(there))],
                values(&["v1", "v2"]),
            )
        };
        assert_eq!(told(check, &later(&["v1"])), Ok(()));
        is_bad(&later(&["v2"]));
    }

    #[test]
    fn what_is_on_stays_on_and_what_is_high_stays_high() {
        let enable = || asks(Kind::Flag, Asked::Enable).ends(wrote());
        let flag = |is_on| reads(Kind::Flag, Seen::Flag(is_on));
        assert_eq!(told(check, &story(vec![enable(), flag(true)], Seen::Flag(true))), Ok(()));
        is_bad(&story(vec![enable(), flag(false)], Seen::Flag(true)));
        let disable = |end| asks(Kind::Flag, Asked::TakeAll).ends(end).on(2);
        assert_eq!(
            told(check, &story(vec![enable(), disable(wrote()), flag(false)], Seen::Flag(false))),
            Ok(())
        );
        is_bad(&story(vec![enable(), disable(refused()), flag(false)], Seen::Flag(false)));
        is_bad(&story(vec![disable(wrote()), enable(), flag(false)], Seen::Flag(false)));
        is_bad(&story(vec![enable(), disable(wrote()), enable(), flag(false)], Seen::Flag(false)));
        let observe = |number, now| asks(Kind::Max, Asked::Observe(number)).ends(makes(Seen::Number(now)));
        let max = |number| reads(Kind::Max, Seen::Number(number));
        assert_eq!(told(check, &story(vec![observe(5, 5), max(7), max(7)], Seen::Number(7))), Ok(()));
        is_bad(&story(vec![observe(5, 5), max(4)], Seen::Number(5)));
        is_bad(&story(vec![observe(5, 5), max(7), max(6)], Seen::Number(7)));
        let min = |number| reads(Kind::Min, Seen::Number(number));
        assert_eq!(told(check, &story(vec![min(7), min(5)], Seen::Number(5))), Ok(()));
        is_bad(&story(vec![min(7), min(8)], Seen::Number(7)));
        let register = || put(Kind::Register, "v1");
        is_bad(&story(vec![register(), reads(Kind::Register, Seen::Nothing)], values(&["v1"])));
        let count = || asks(Kind::Counter, Asked::Increment(1)).ends(wrote());
        is_bad(&story(vec![count(), reads(Kind::Counter, Seen::Nothing)], Seen::Number(1)));
    }
}
