//! A counter is one of the sums that are possible.
//!
//! Every increment that must stay counts once. One that nobody knows of counts once or not at all, and so does one that a reset may
//! have taken away, or whose only disk is gone. With few of those the possible sums are counted out; with many they are a range.

use super::{Asked, Entry, History, Seen, Violation, wrong};
use std::collections::BTreeSet;

const NAME: &str = "counter";
/// Most increments that may count or not for the sums to be counted out.
const OPEN_MAX: usize = 12;

/// Checks it.
///
/// # Errors
/// A sum that is not possible.
pub fn check(history: &History) -> Result<(), Violation> {
    for (subject, entries, last) in history.subjects() {
        let counts = |entry: &&&Entry| matches!(entry.asked, Asked::Increment(_)) && entry.may_be_applied();
        let increments: Vec<&&Entry> = entries.iter().filter(counts).collect();
        if increments.is_empty() {
            continue;
        }
        let found = match last {
            Seen::Number(sum) => *sum,
            _ => 0,
        };
        let (mut surely, mut open) = (0, Vec::new());
        for entry in increments {
            let Asked::Increment(by) = entry.asked else { continue };
            let is_taken =
                entries.iter().any(|other| other.asked == Asked::TakeAll && other.may_have_seen(entry));
            match entry.must_stay() && !is_taken {
                true => surely += i128::from(by),
                false => open.push(i128::from(by)),
            }
        }
        if !is_possible(found, surely, &open) {
            let open = open.len();
            return Err(wrong(
                NAME,
                subject,
                format!("it reads {found}; {surely} are certain, and {open} increments open"),
            ));
        }
    }
    Ok(())
}

fn is_possible(found: i128, surely: i128, open: &[i128]) -> bool {
    if open.len() > OPEN_MAX {
        let least = surely + open.iter().filter(|by| **by < 0).sum::<i128>();
        let most = surely + open.iter().filter(|by| **by > 0).sum::<i128>();
        return (least..=most).contains(&found);
    }
    let mut sums = BTreeSet::from([surely]);
    for by in open {
        let more: Vec<i128> = sums.iter().map(|sum| sum + by).collect();
        sums.extend(more);
    }
    sums.contains(&found)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{APPLIED, story};
    use super::*;
    use crate::checker::Kind;

    fn told(last: i128, change: impl FnOnce(&mut History)) -> Result<(), Violation> {
        let by = |by| (Asked::Increment(by), APPLIED);
        let mut history = story(Kind::Counter, vec![by(1), by(10), by(100)], Seen::Number(last));
        change(&mut history);
        check(&history)
    }

    #[test]
    fn a_sum_is_what_is_certain_and_any_of_what_is_open() {
        assert_eq!(told(111, |_| {}), Ok(()));
        assert!(told(101, |_| {}).is_err(), "one is lost");
        assert!(told(121, |_| {}).is_err(), "one counts twice");
        for (sum, is_possible) in [(111, true), (101, true), (1, false), (112, false)] {
            assert_eq!(told(sum, |history| history.entries[1].ended = None).is_ok(), is_possible, "{sum}");
            assert_eq!(told(sum, |history| history.entries[1].excused = true).is_ok(), is_possible, "{sum}");
        }
        assert!(
            told(111, |history| history.entries[2].ended = Some((0, crate::checker::Ended::Refused)))
                .is_err()
        );
        // A reset between the second and the third may have seen the first two.
        let reset = |history: &mut History| {
            let mut reset = history.entries[1].clone();
            (reset.asked, reset.began, reset.ended) = (Asked::TakeAll, 16, Some((18, APPLIED)));
            history.entries.insert(2, reset);
        };
        assert!(told(100, reset).is_ok() && told(101, reset).is_ok() && told(11, reset).is_err());
        assert!(is_possible(5, 0, &[1; 20]) && !is_possible(21, 0, &[1; 20]));
    }
}
