//! Nothing is read that nobody wrote, at no time and by nobody.

use super::{Violation, wrong};
use crate::history::{Asked, Case, Kind, Seen};
use std::collections::HashMap;

/// Its name.
pub const NAME: &str = "phantom";

/// Checks it.
///
/// # Errors
/// Something was read that nobody wrote before.
pub fn check(case: &Case<'_>) -> Result<(), Violation> {
    let written = Written::of(case);
    for entry in &case.entries {
        if let Some((at, seen)) = entry.seen() {
            check_seen(case, seen, at, &written)?;
        }
    }
    Ok(())
}

/// When each thing was first asked to be written.
#[derive(Default)]
struct Written<'a> {
    items: HashMap<&'a str, u64>,
    numbers: HashMap<i128, u64>,
    enabled: Option<u64>,
}

impl<'a> Written<'a> {
    fn of(case: &Case<'a>) -> Written<'a> {
        let mut written = Written::default();
        for entry in case.entries.iter().filter(|entry| entry.may_be_applied()) {
            let began = entry.began;
            match entry.asked {
                Asked::Put(value) => _ = written.items.entry(value).or_insert(began),
                Asked::Add(members) => {
                    members.iter().for_each(|member| _ = written.items.entry(member).or_insert(began));
                }
                Asked::Observe(number) => _ = written.numbers.entry(i128::from(*number)).or_insert(began),
                Asked::Enable => _ = written.enabled.get_or_insert(began),
                _ => {}
            }
        }
        written
    }
}

fn check_seen(case: &Case<'_>, seen: &Seen, at: u64, written: &Written<'_>) -> Result<(), Violation> {
    let was_before = |began: Option<&u64>| began.is_some_and(|began| *began <= at);
    let subject = &case.subject;
    match (seen, subject.kind) {
        (Seen::Nothing, _) => {}
        (Seen::Values(items), Kind::Register | Kind::Multi) | (Seen::Members(items), Kind::Set) => {
            if let Some(item) = items.iter().find(|item| !was_before(written.items.get(item.as_str()))) {
                return Err(wrong(NAME, subject, format!("{item} was read and nobody wrote it")));
            }
        }
        (Seen::Flag(is_on), Kind::Flag) => {
            if *is_on && !was_before(written.enabled.as_ref()) {
                return Err(wrong(NAME, subject, "it is on and nobody enabled it"));
            }
        }
        // What a counter may be is for its own checker.
        (Seen::Number(_), Kind::Counter) => {}
        (Seen::Number(number), Kind::Max | Kind::Min) => {
            if !was_before(written.numbers.get(number)) {
                return Err(wrong(NAME, subject, format!("{number} was read and nobody showed it")));
            }
        }
        (seen, kind) => return Err(wrong(NAME, subject, format!("it is a {kind:?} and reads {seen:?}"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{add, asks, makes, members, put, read, refused, story, told, values, wrote};
    use super::*;

    #[test]
    fn what_nobody_wrote_is_a_phantom() {
        let observe = || asks(Kind::Max, Asked::Observe(3)).ends(wrote());
        let enable = || asks(Kind::Flag, Asked::Enable).ends(wrote());
        let reads = |kind, seen| asks(kind, Asked::Read).ends(read(seen));
        let good = [
            story(vec![add("a"), reads(Kind::Set, members(&["a"]))], Seen::Nothing),
            story(vec![put(Kind::Register, "v1"), reads(Kind::Register, values(&["v1"]))], Seen::Nothing),
            story(vec![observe()], Seen::Number(3)),
            story(vec![enable()], Seen::Flag(true)),
        ];
        for history in good {
            assert_eq!(told(check, &history), Ok(()), "{history:?}");
        }
        let bad = [
            story(vec![reads(Kind::Set, members(&["a"])), add("a")], Seen::Nothing),
            story(vec![add("a")], members(&["a", "b"])),
            story(vec![add("a").ends(refused())], members(&["a"])),
            story(vec![put(Kind::Register, "v1")], values(&["v2"])),
            story(vec![put(Kind::Register, "v1")], members(&["v1"])),
            story(vec![observe()], Seen::Number(4)),
            story(vec![observe().ends(makes(Seen::Number(5)))], Seen::Number(3)),
            story(vec![enable().ends(refused())], Seen::Flag(true)),
        ];
        for history in bad {
            assert_eq!(told(check, &history).expect_err("a phantom").checker, NAME, "{history:?}");
        }
    }
}
