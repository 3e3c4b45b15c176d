//! At the end, when faults are over and all had their time to agree, all nodes read the same.

use super::{Violation, wrong};
use crate::history::Case;

/// Its name.
pub const NAME: &str = "convergence";

/// Checks it.
///
/// # Errors
/// Two nodes read different things.
pub fn check(case: &Case<'_>) -> Result<(), Violation> {
    let differ = case.finals.windows(2).find(|two| two[0].1 != two[1].1);
    match differ {
        Some([(one, seen), (other, otherwise)]) => {
            let what = format!("at the end n{one} reads {seen:?}, and n{other} {otherwise:?}");
            Err(wrong(NAME, &case.subject, what))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{add, asks, members, read, story, told};
    use super::*;
    use crate::history::{Asked, Kind};

    #[test]
    fn nodes_that_read_different_things_at_the_end_are_noticed() {
        let other = |there: &[&str], began: u64| {
            let mut history = story(vec![add("a")], members(&["a"]));
            let read = asks(Kind::Set, Asked::Read).ends(read(members(there))).on(2);
            history.ops.push(crate::history::Op { op: 9, began, ..read });
            told(check, &history)
        };
        assert_eq!(other(&["a"], 30), Ok(()));
        assert_eq!(other(&[], 30).expect_err("they differ").checker, NAME);
        assert_eq!(other(&[], 19), Ok(()), "that was before the end");
    }
}
