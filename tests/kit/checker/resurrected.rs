//! What was taken away, and was seen to be, does not come back.
//!
//! Each member is added once. A removal of one member that says it took one away has taken away that add, and nothing can bring it back
//! but a disk from before: where such a disk was put in, or the removal itself is lost with its only disk, it may.

use super::{Asked, Ended, Entry, History, Seen, Violation, wrong};
use std::collections::BTreeSet;

const NAME: &str = "resurrected";

/// Checks it.
///
/// # Errors
/// Something came back.
pub fn check(history: &History) -> Result<(), Violation> {
    for (subject, entries, last) in history.subjects() {
        let Seen::Members(there) = last else { continue };
        for entry in entries.iter().filter(|entry| !entry.excused) {
            if let Some(member) = surely_removed(entry).and_then(|removed| removed.intersection(there).next())
            {
                return Err(wrong(NAME, subject, format!("{member} was removed and is there")));
            }
        }
    }
    Ok(())
}

/// The members that a removal has surely taken away.
fn surely_removed(entry: &Entry) -> Option<&BTreeSet<String>> {
    match (&entry.asked, &entry.ended) {
        (Asked::Remove(members), Some((_, Ended::Applied { removed }))) => {
            (members.len() as u64 == *removed).then_some(members)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{APPLIED, names, story};
    use super::*;
    use crate::checker::Kind;

    #[test]
    fn what_comes_back_is_noticed() {
        let story = |removed, last: &[&str]| {
            let remove = (Asked::Remove(names(&["a"])), Ended::Applied { removed });
            story(Kind::Set, vec![(Asked::Add(names(&["a"])), APPLIED), remove], Seen::Members(names(last)))
        };
        assert_eq!(check(&story(1, &[])), Ok(()));
        assert_eq!(check(&story(0, &["a"])), Ok(()), "it had not seen the add");
        assert_eq!(check(&story(1, &["a"])).expect_err("it came back").checker, NAME);
        let mut excused = story(1, &["a"]);
        excused.entries[1].excused = true;
        assert_eq!(check(&excused), Ok(()), "the removal is lost with its disk");
    }
}
