//! What was acknowledged, and that nothing took away, is there at the end.
//!
//! A removal that may have seen a write may have taken it away; one that had been answered before the write was asked cannot.
//! Which of two puts to a register wins is judged by [`super::register`], counters by [`super::counter`].

use super::{Asked, Entry, History, Kind, Over, Seen, Subject, Violation, wrong};

const NAME: &str = "lost";

/// Checks it.
///
/// # Errors
/// Something is lost.
pub fn check(history: &History) -> Result<(), Violation> {
    for (subject, entries, last) in history.subjects() {
        for entry in entries.iter().filter(|entry| entry.must_stay()) {
            check_entry(subject, entry, &entries, last)?;
        }
    }
    Ok(())
}

fn check_entry(subject: &Subject, entry: &Entry, all: &[&Entry], last: &Seen) -> Result<(), Violation> {
    let taken = |removes: &dyn Fn(&Asked) -> bool| {
        all.iter().any(|other| removes(&other.asked) && other.may_have_seen(entry))
    };
    match (&entry.asked, last) {
        (Asked::Add(members), _) => {
            for member in members {
                let has = matches!(last, Seen::Members(there) if there.contains(member));
                let removes = |asked: &Asked| match asked {
                    Asked::Remove(removed) => removed.contains(member),
                    asked => *asked == Asked::TakeAll,
                };
                if !has && !taken(&removes) {
                    return Err(wrong(NAME, subject, format!("{member} was added and is gone")));
                }
            }
        }
        (Asked::Enable, last) if *last != Seen::Flag(true) && !taken(&|asked| *asked == Asked::TakeAll) => {
            return Err(wrong(NAME, subject, format!("it was enabled and reads {last:?}")));
        }
        (Asked::Observe(number), last) => {
            let has = matches!(last, Seen::Number(highest) if *highest >= i128::from(*number));
            if !has && !taken(&|asked| *asked == Asked::TakeAll) {
                return Err(wrong(NAME, subject, format!("{number} was observed and it reads {last:?}")));
            }
        }
        (Asked::Put { value, .. }, Seen::Values(values)) if values.contains(value) => {}
        (Asked::Put { value, .. }, last) => {
            let replaces = |other: &&Entry| match (&other.asked, subject.kind) {
                // Of two puts to a register one wins, whichever came first.
                (Asked::Put { value: other_value, .. }, Kind::Register) => {
                    other_value != value && other.may_be_applied() && *last != Seen::Nothing
                }
                // Of a multi-value register a put takes away what it has seen, and nothing else.
                (Asked::Put { value: other_value, over }, _) => {
                    let has_seen = match over {
                        Over::Seen(values) => values.contains(value),
                        Over::All | Over::Unknown => other.may_have_seen(entry),
                    };
                    other_value != value && other.may_be_applied() && has_seen
                }
                (asked, _) => *asked == Asked::TakeAll && other.may_have_seen(entry),
            };
            if !all.iter().any(replaces) {
                return Err(wrong(NAME, subject, format!("{value} was put and it reads {last:?}")));
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{APPLIED, names, put, story};
    use super::*;
    use crate::checker::Ended;

    #[test]
    fn what_is_gone_without_a_removal_is_lost() {
        let add = |name: &str| (Asked::Add(names(&[name])), APPLIED);
        let good = [
            story(Kind::Set, vec![add("a"), add("b")], Seen::Members(names(&["a", "b"]))),
            story(
                Kind::Set,
                vec![add("a"), (Asked::Remove(names(&["a"])), APPLIED)],
                Seen::Members(names(&[])),
            ),
            story(Kind::Set, vec![add("a"), (Asked::TakeAll, APPLIED)], Seen::Nothing),
            story(Kind::Set, vec![(Asked::Add(names(&["a"])), Ended::Refused)], Seen::Nothing),
            story(Kind::Flag, vec![(Asked::Enable, APPLIED)], Seen::Flag(true)),
            story(Kind::Max, vec![(Asked::Observe(3), APPLIED)], Seen::Number(7)),
            story(Kind::Register, vec![(put("v1"), APPLIED)], Seen::Values(names(&["v1"]))),
            story(
                Kind::Register,
                vec![(put("v1"), APPLIED), (put("v2"), APPLIED)],
                Seen::Values(names(&["v1"])),
            ),
            story(
                Kind::Multi,
                vec![(put("v1"), APPLIED), (put("v2"), APPLIED)],
                Seen::Values(names(&["v2"])),
            ),
        ];
        for history in &good {
            assert_eq!(check(history), Ok(()), "{history:?}");
        }
        let bad = [
            story(Kind::Set, vec![add("a"), add("b")], Seen::Members(names(&["b"]))),
            story(Kind::Set, vec![(Asked::TakeAll, APPLIED), add("a")], Seen::Nothing),
            story(
                Kind::Set,
                vec![add("a"), (Asked::Remove(names(&["b"])), APPLIED)],
                Seen::Members(names(&[])),
            ),
            story(Kind::Set, vec![add("a"), (Asked::TakeAll, Ended::Refused)], Seen::Nothing),
            story(Kind::Flag, vec![(Asked::Enable, APPLIED)], Seen::Flag(false)),
            story(Kind::Max, vec![(Asked::Observe(3), APPLIED)], Seen::Number(2)),
            story(Kind::Register, vec![(put("v1"), APPLIED)], Seen::Nothing),
            story(Kind::Register, vec![(put("v1"), APPLIED), (put("v2"), APPLIED)], Seen::Nothing),
            // The first was answered before the second was asked, and so has not seen it.
            story(
                Kind::Multi,
                vec![(put("v1"), APPLIED), (put("v2"), APPLIED)],
                Seen::Values(names(&["v1"])),
            ),
        ];
        for history in &bad {
            assert_eq!(check(history).expect_err("it is lost").checker, NAME, "{history:?}");
        }
        // A put takes away what it has seen.
        let over = |seen: &[&str]| {
            let second = Asked::Put { value: "v2".into(), over: Over::Seen(names(seen)) };
            story(Kind::Multi, vec![(put("v1"), APPLIED), (second, APPLIED)], Seen::Values(names(&["v2"])))
        };
        assert_eq!(check(&over(&["v1"])), Ok(()));
        assert_eq!(check(&over(&["v0"])).expect_err("it was not seen").checker, NAME);
        let mut excused = bad[0].clone();
        excused.entries[0].excused = true;
        assert_eq!(check(&excused), Ok(()));
    }
}
