//! The last write wins: a put that happened before another does not beat it, whatever the clocks did.
//!
//! A node that has acknowledged or shown one put, and then takes another without a context, or with one that covers the first, takes
//! the first away. It may only be read where its node's disk was replaced between the two, for then it need not know of the first.

use super::taken::{read_again, taken};
use super::{Violation, wrong};
use crate::history::{Asked, Case, Kind};

/// Its name.
pub const NAME: &str = "register";

/// Checks it.
///
/// # Errors
/// A put was beaten by one before it.
pub fn check(case: &Case<'_>) -> Result<(), Violation> {
    if case.subject.kind != Kind::Register {
        return Ok(());
    }
    let all = taken(case, |entry| matches!(entry.asked, Asked::Put(_)));
    match read_again(case, &all) {
        Some((what, by, how)) => {
            Err(wrong(NAME, &case.subject, format!("the put of request {by} followed {what}, and {how}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asks, put, read, story, told, values};
    use super::*;
    use crate::history::Fact;

    #[test]
    fn a_put_that_was_followed_is_not_read() {
        let register = |value| put(Kind::Register, value);
        let story = |last: &[&str]| story(vec![register("v1"), register("v2")], values(last));
        assert_eq!(told(check, &story(&["v2"])), Ok(()));
        assert_eq!(told(check, &story(&["v1"])).expect_err("it was beaten").checker, NAME);
        let mut other = story(&["v1"]);
        other.ops[0].node = 2;
        assert_eq!(told(check, &other), Ok(()), "on another node it may have the higher stamp");
        let mut overlapping = story(&["v1"]);
        overlapping.ops[1].began = 0;
        assert_eq!(told(check, &overlapping), Ok(()), "neither followed the other");
        let mut put_back = story(&["v1"]);
        put_back.facts.insert(0, (18, Fact::Replaced { node: 1 }));
        assert_eq!(told(check, &put_back), Ok(()), "its disk was put back between them");
        let mut unseen = story(&["v1"]);
        unseen.ops[1].context = Some("nobody's".into());
        assert_eq!(told(check, &unseen), Ok(()), "it took nothing away that it had not seen");
        let mut again = story(&["v1"]);
        again.ops[1].asked = Asked::Put("v1".into());
        assert_eq!(told(check, &again), Ok(()), "the same was put once more");
    }

    #[test]
    fn what_a_node_has_shown_is_followed_by_its_next_put() {
        let ops = |node| {
            let reads = asks(Kind::Register, Asked::Read).ends(read(values(&["v1"]))).on(node);
            vec![put(Kind::Register, "v1").on(2), reads, put(Kind::Register, "v2")]
        };
        assert_eq!(told(check, &story(ops(2), values(&["v1"]))), Ok(()));
        assert_eq!(told(check, &story(ops(1), values(&["v1"]))).expect_err("it was beaten").checker, NAME);
        let mut later = ops(1);
        later.push(asks(Kind::Register, Asked::Read).ends(read(values(&["v1"]))));
        assert!(told(check, &story(later, values(&["v2"]))).is_err(), "not even in between");
    }
}
