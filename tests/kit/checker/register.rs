//! A put does not beat one that followed it on its node, whatever the clocks did.
//!
//! A node that has answered one put and then takes another gives the second the higher stamp: its clock never goes back, whatever its wall
//! time does. It may only where its disk was put back between the two, for then it need not know of the first.

use super::{Asked, Entry, History, Over, Seen, Violation, wrong};

const NAME: &str = "register";

/// Checks it.
///
/// # Errors
/// A put was beaten by one before it; or a register is empty that has been put and never deleted.
pub fn check(history: &History) -> Result<(), Violation> {
    for (subject, entries, last) in history.subjects() {
        let Seen::Values(values) = last else { continue };
        for entry in entries.iter().filter(|entry| entry.must_stay()) {
            let Asked::Put { value, over: Over::All } = &entry.asked else { continue };
            let is_read_before = |other: &&&Entry| {
                let is_put = matches!(&other.asked, Asked::Put { value: before, .. } if before != value && values.contains(before));
                let answered = other.ended.as_ref().map(|(at, _)| *at);
                let preceded = answered.is_some_and(|at| at <= entry.began);
                is_put
                    && other.was_applied()
                    && preceded
                    && (other.node, other.life) == (entry.node, entry.life)
            };
            if let Some(before) = entries.iter().find(is_read_before) {
                let Asked::Put { value: before, .. } = &before.asked else { continue };
                return Err(wrong(
                    NAME,
                    subject,
                    format!("{value} followed {before} on one node, and {before} is read"),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{APPLIED, names, put, story};
    use super::*;
    use crate::checker::Kind;

    #[test]
    fn a_put_that_was_followed_is_not_read() {
        let story = |last: &[&str]| {
            story(Kind::Register, vec![(put("v1"), APPLIED), (put("v2"), APPLIED)], Seen::Values(names(last)))
        };
        assert_eq!(check(&story(&["v2"])), Ok(()));
        assert_eq!(check(&story(&["v1"])).expect_err("it was beaten").checker, NAME);
        let mut other = story(&["v1"]);
        other.entries[0].node = 1;
        assert_eq!(check(&other), Ok(()), "on another node it may have the higher stamp");
        let mut overlapping = story(&["v1"]);
        overlapping.entries[1].began = 0;
        assert_eq!(check(&overlapping), Ok(()), "neither followed the other");
        let mut put_back = story(&["v1"]);
        put_back.entries[1].life = 1;
        assert_eq!(check(&put_back), Ok(()), "its disk was put back between them");
    }
}
