//! What was taken away does not come back: at the end nowhere, and at no time on a node that has taken it away, or has shown that it
//! is gone.
//!
//! What was surely taken away says `taken`. Nothing can bring it back but a disk from before: such a disk begins another life
//! of its node, and a removal that is lost with its only disk is excused.

use super::taken::{items, read_again, taken, times, unique};
use super::{Violation, wrong};
use crate::history::{Asked, Case, Kind, Life, Seen};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Its name.
pub const NAME: &str = "resurrected";

/// Checks it.
///
/// # Errors
/// Something came back.
pub fn check(case: &Case<'_>) -> Result<(), Violation> {
    let all = taken(case, |entry| !matches!(entry.asked, Asked::Put(_)));
    if let Some((what, by, how)) = read_again(case, &all) {
        return Err(wrong(NAME, &case.subject, format!("{what} was taken away by request {by}, and {how}")));
    }
    check_shown(case)
}

/// What a node has shown, and then not, it does not show again.
fn check_shown(case: &Case<'_>) -> Result<(), Violation> {
    // A register shows another of its siblings when the one is taken away that it showed.
    if case.subject.kind == Kind::Register {
        return Ok(());
    }
    let unique = unique(case);
    let mut shown: HashMap<Life, HashSet<&str>> = HashMap::new();
    let mut gone: HashSet<(Life, &str)> = HashSet::new();
    let none = BTreeSet::new();
    for (_, begins, place) in times(case) {
        let entry = &case.entries[place];
        let seen = match entry.seen() {
            Some((_, seen)) if *entry.asked == Asked::Read => seen,
            _ => continue,
        };
        let there = match (items(seen), seen) {
            (Some(there), _) => there,
            (None, Seen::Nothing) => &none,
            _ => continue,
        };
        if begins {
            let back = there.iter().find(|item| gone.contains(&(entry.life, item.as_str())));
            if let Some(item) = back {
                let (node, op) = (entry.life.0, entry.op);
                return Err(wrong(
                    NAME,
                    &case.subject,
                    format!("{item} was gone from n{node}, which shows it in request {op}"),
                ));
            }
            continue;
        }
        let shown = shown.entry(entry.life).or_default();
        let went: Vec<&str> = shown.iter().filter(|item| !there.contains(**item)).copied().collect();
        for item in went {
            shown.remove(item);
            gone.insert((entry.life, item));
        }
        let new = there.iter().map(String::as_str).filter(|item| unique.contains(item));
        shown.extend(new.filter(|item| !gone.contains(&(entry.life, *item))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{add, asks, members, put, read, remove, story, told, values, wrote};
    use super::*;
    use crate::history::{Fact, History};

    fn is_bad(history: &History) {
        assert_eq!(told(check, history).expect_err("it came back").checker, NAME, "{history:?}");
    }

    #[test]
    fn what_comes_back_at_the_end_is_noticed() {
        let removed = |removed, last| story(vec![add("a"), remove("a", removed).on(2)], members(last));
        assert_eq!(told(check, &removed(1, &[])), Ok(()));
        assert_eq!(told(check, &removed(0, &["a"])), Ok(()), "it had not seen the add");
        is_bad(&removed(1, &["a"]));
        let mut excused = removed(1, &["a"]);
        excused.facts.insert(0, (0, Fact::Destroyed { op: 2 }));
        assert_eq!(told(check, &excused), Ok(()), "the removal is lost with its disk");
        let again = story(vec![add("a"), add("a").on(2), remove("a", 1)], members(&["a"]));
        assert_eq!(told(check, &again), Ok(()), "it may have seen one of two");
        let cleared = |node| {
            let clear = asks(Kind::Set, Asked::TakeAll).ends(wrote()).on(node);
            story(vec![add("a"), clear], members(&["a"]))
        };
        assert_eq!(told(check, &cleared(2)), Ok(()), "another node need not have had it");
        is_bad(&cleared(1));
        let mut replaced = cleared(1);
        replaced.facts.insert(0, (18, Fact::Replaced { node: 1 }));
        assert_eq!(told(check, &replaced), Ok(()), "an older disk need not have had it");
        let deleted =
            |kind| story(vec![put(kind, "v1"), asks(kind, Asked::TakeAll).ends(wrote())], values(&["v1"]));
        is_bad(&deleted(Kind::Register));
        is_bad(&deleted(Kind::Multi));
    }

    #[test]
    fn what_comes_back_on_a_node_is_noticed() {
        let reads = |there: &[&str]| asks(Kind::Set, Asked::Read).ends(read(members(there)));
        let gone = |second: &[&str], node| {
            story(vec![add("a").on(2), reads(&["a"]), reads(&[]), reads(second).on(node)], members(&[]))
        };
        assert_eq!(told(check, &gone(&[], 1)), Ok(()));
        assert_eq!(told(check, &gone(&["a"], 2)), Ok(()), "another node need not know that it is gone");
        is_bad(&gone(&["a"], 1));
        let after = |began| {
            let mut history = story(vec![add("a"), remove("a", 1), reads(&["a"])], members(&[]));
            history.ops[2].began = began;
            history
        };
        assert_eq!(told(check, &after(24)), Ok(()), "it may have been read before it was removed");
        is_bad(&after(25));
    }
}
