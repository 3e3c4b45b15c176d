//! Nothing is read that nobody wrote, at no time and by nobody.

use super::{Asked, Ended, Entry, History, Kind, Seen, Subject, Violation, wrong};

const NAME: &str = "phantom";

/// Checks it.
///
/// # Errors
/// Something was read that nobody wrote before.
pub fn check(history: &History) -> Result<(), Violation> {
    for (subject, entries, last) in history.subjects() {
        check_seen(subject, last, u64::MAX, &entries)?;
        for entry in &entries {
            if let Some((at, Ended::Read(seen))) = &entry.ended {
                check_seen(subject, seen, *at, &entries)?;
            }
        }
    }
    Ok(())
}

fn check_seen(subject: &Subject, seen: &Seen, at: u64, entries: &[&Entry]) -> Result<(), Violation> {
    let was_asked = |is_it: &dyn Fn(&Asked) -> bool| {
        entries.iter().any(|entry| entry.began <= at && entry.may_be_applied() && is_it(&entry.asked))
    };
    match seen {
        Seen::Values(values) => {
            for value in values {
                if !was_asked(&|asked| matches!(asked, Asked::Put { value: put, .. } if put == value)) {
                    return Err(wrong(NAME, subject, format!("{value} was read and nobody put it")));
                }
            }
        }
        Seen::Members(members) => {
            for member in members {
                if !was_asked(&|asked| matches!(asked, Asked::Add(added) if added.contains(member))) {
                    return Err(wrong(NAME, subject, format!("{member} was read and nobody added it")));
                }
            }
        }
        Seen::Flag(true) if !was_asked(&|asked| *asked == Asked::Enable) => {
            return Err(wrong(NAME, subject, "it is on and nobody enabled it"));
        }
        // Of a maximum; what a counter may be is for its own checker.
        Seen::Number(number) => {
            let shows =
                |asked: &Asked| matches!(asked, Asked::Observe(shown) if i128::from(*shown) == *number);
            if subject.kind == Kind::Max && !was_asked(&shows) {
                return Err(wrong(NAME, subject, format!("{number} was read and nobody showed it")));
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

    #[test]
    fn what_nobody_wrote_is_a_phantom() {
        let read = |seen| (Asked::Read, Ended::Read(seen));
        let add = (Asked::Add(names(&["a"])), APPLIED);
        let good = [
            story(Kind::Set, vec![add.clone(), read(Seen::Members(names(&["a"])))], Seen::Nothing),
            story(
                Kind::Register,
                vec![(put("v1"), APPLIED), read(Seen::Values(names(&["v1"])))],
                Seen::Nothing,
            ),
            story(Kind::Max, vec![(Asked::Observe(3), APPLIED)], Seen::Number(3)),
            story(Kind::Flag, vec![(Asked::Enable, APPLIED)], Seen::Flag(true)),
        ];
        for history in good {
            assert_eq!(check(&history), Ok(()), "{history:?}");
        }
        let bad = [
            story(Kind::Set, vec![read(Seen::Members(names(&["a"]))), add.clone()], Seen::Nothing),
            story(Kind::Set, vec![add], Seen::Members(names(&["a", "b"]))),
            story(Kind::Set, vec![(Asked::Add(names(&["a"])), Ended::Refused)], Seen::Members(names(&["a"]))),
            story(Kind::Register, vec![(put("v1"), APPLIED)], Seen::Values(names(&["v2"]))),
            story(Kind::Max, vec![(Asked::Observe(3), APPLIED)], Seen::Number(4)),
            story(Kind::Flag, vec![(Asked::Enable, Ended::Refused)], Seen::Flag(true)),
        ];
        for history in bad {
            assert_eq!(check(&history).expect_err("a phantom").checker, NAME, "{history:?}");
        }
    }
}
