//! A counter is one of the sums that are possible.
//!
//! At the end every increment that must stay counts once. One that nobody knows of counts once or not at all, and so does one that a
//! reset may have taken away, or whose only disk is gone. Before that a node's sum has at least all that it has acknowledged itself, as
//! long as no reset can have taken some away; and never more than all that was asked.

use super::taken::times;
use super::{Violation, wrong};
use crate::history::{Asked, Case, Kind, Life, Seen, Takers};
use std::collections::HashMap;

/// Its name.
pub const NAME: &str = "counter";

/// Checks it.
///
/// # Errors
/// A sum that is not possible.
pub fn check(case: &Case<'_>) -> Result<(), Violation> {
    if case.subject.kind != Kind::Counter {
        return Ok(());
    }
    let takers = case.takes_all();
    check_bounds(case, &takers)?;
    let Some(last) = case.last() else { return Ok(()) };
    let found = match last {
        Seen::Number(sum) => *sum,
        _ => 0,
    };
    let (mut surely, mut sums, mut open) = (0, Sums::default(), 0);
    for entry in case.entries.iter().filter(|entry| entry.may_be_applied()) {
        let Asked::Increment(by) = entry.asked else { continue };
        match entry.must_stay() && !takers.may_have_seen(entry.began, u64::MAX) {
            true => surely += i128::from(*by),
            false => {
                sums.may_add(i128::from(*by));
                open += 1;
            }
        }
    }
    match sums.have(found - surely) {
        true => Ok(()),
        false => {
            let what = format!("it reads {found}; {surely} are certain, and {open} increments open");
            Err(wrong(NAME, &case.subject, what))
        }
    }
}

/// What was added, in two directions.
#[derive(Clone, Copy, Debug, Default)]
struct Added {
    up: i128,
    down: i128,
}

impl Added {
    fn add(&mut self, by: i64) {
        let by = i128::from(by);
        if by > 0 { self.up += by } else { self.down += by }
    }
}

/// What is read, and answered, at any time.
fn check_bounds(case: &Case<'_>, takers: &Takers) -> Result<(), Violation> {
    // All that was asked until a time, and what each node had acknowledged when a request began.
    let (mut asked, mut acknowledged) = (Added::default(), HashMap::<Life, Added>::new());
    let mut had: HashMap<usize, Added> = HashMap::new();
    for (_, begins, place) in times(case) {
        let entry = &case.entries[place];
        if begins {
            had.insert(place, acknowledged.get(&entry.life).copied().unwrap_or_default());
            if let (Asked::Increment(by), true) = (entry.asked, entry.may_be_applied()) {
                asked.add(*by);
            }
            continue;
        }
        let had = had.remove(&place).expect("what ends has begun");
        if let Some((at, Seen::Number(sum))) = entry.seen() {
            // A reset may have taken away any part, of all nodes'.
            let is_whole = !takers.may_have_seen(0, at);
            let had = if is_whole { had } else { Added::default() };
            let (least, most) = (had.up + asked.down, asked.up + had.down);
            if !(least..=most).contains(sum) {
                let (node, op) = (entry.life.0, entry.op);
                let what =
                    format!("n{node} says {sum} in request {op}, and it is between {least} and {most}");
                return Err(wrong(NAME, &case.subject, what));
            }
        }
        if let (Asked::Increment(by), true) = (entry.asked, entry.was_applied()) {
            acknowledged.entry(entry.life).or_default().add(*by);
        }
    }
    Ok(())
}

/// The sums of any of some numbers, as ranges: with a few small numbers most sums within their bounds are possible.
struct Sums {
    /// First and last of each, ascending, with gaps between them.
    ranges: Vec<(i128, i128)>,
}

impl Default for Sums {
    fn default() -> Sums {
        Sums { ranges: vec![(0, 0)] }
    }
}

impl Sums {
    fn may_add(&mut self, by: i128) {
        let mut all: Vec<(i128, i128)> =
            self.ranges.iter().map(|(first, last)| (first + by, last + by)).collect();
        all.append(&mut self.ranges);
        all.sort_unstable();
        for (first, last) in all {
            match self.ranges.last_mut() {
                Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
                _ => self.ranges.push((first, last)),
            }
        }
    }

    fn have(&self, sum: i128) -> bool {
        self.ranges.iter().any(|(first, last)| (first..=last).contains(&&sum))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asks, makes, read, refused, story, told, wrote};
    use super::*;
    use crate::history::{Fact, History, Op};

    fn by(by: i64) -> Op {
        asks(Kind::Counter, Asked::Increment(by)).ends(wrote())
    }

    fn judged(last: i128, change: impl FnOnce(&mut History)) -> Result<(), Violation> {
        let mut history = story(vec![by(1), by(10), by(100)], Seen::Number(last));
        change(&mut history);
        told(check, &history)
    }

    #[test]
    fn a_sum_is_what_is_certain_and_any_of_what_is_open() {
        assert_eq!(judged(111, |_| {}), Ok(()));
        assert!(judged(101, |_| {}).is_err(), "one is lost");
        assert!(judged(121, |_| {}).is_err(), "one counts twice");
        for (sum, is_possible) in [(111, true), (101, true), (1, false), (112, false)] {
            // The others stand on another node, so that the node that is asked need not have them before.
            let open = |history: &mut History| history.ops[1].ended = None;
            assert_eq!(judged(sum, open).is_ok(), is_possible, "{sum}");
            let excused = |history: &mut History| {
                history.ops[1].node = 2;
                history.facts.push((60, Fact::Destroyed { op: 2 }));
            };
            assert_eq!(judged(sum, excused).is_ok(), is_possible, "{sum}");
        }
        assert!(judged(111, |history| history.ops[2].ended = Some((35, refused()))).is_err());
        // A reset between the second and the third may have seen the first two.
        let reset = |sum| {
            let reset = asks(Kind::Counter, Asked::TakeAll).ends(wrote());
            told(check, &story(vec![by(1), by(10), reset, by(100)], Seen::Number(sum)))
        };
        assert!(reset(100).is_ok() && reset(101).is_ok() && reset(11).is_err());
    }

    #[test]
    fn sums_are_those_of_any_of_the_numbers() {
        let numbers = [3_i128, -7, 3, 50, 1];
        let mut sums = Sums::default();
        numbers.iter().for_each(|by| sums.may_add(*by));
        for sum in -20..80 {
            let possible = (0..1_u32 << numbers.len()).any(|some| {
                (0..numbers.len())
                    .filter(|place| some >> place & 1 == 1)
                    .map(|place| numbers[place])
                    .sum::<i128>()
                    == sum
            });
            assert_eq!(sums.have(sum), possible, "{sum}");
        }
    }

    #[test]
    fn a_node_counts_what_it_has_acknowledged_and_nothing_else() {
        let reads = |sum, node| {
            let read = asks(Kind::Counter, Asked::Read).ends(read(Seen::Number(sum))).on(node);
            told(check, &story(vec![by(5), by(-2), read], Seen::Number(3)))
        };
        assert_eq!(reads(3, 1), Ok(()));
        assert!(reads(-2, 1).is_err() && reads(5, 1).is_err(), "it has forgotten one");
        assert_eq!(
            (reads(-2, 2), reads(5, 2), reads(0, 2)),
            (Ok(()), Ok(()), Ok(())),
            "another need not have them"
        );
        assert!(reads(6, 2).is_err() && reads(-3, 2).is_err(), "nobody has added so much");
        let answered =
            |now| told(check, &story(vec![by(5), by(1).ends(makes(Seen::Number(now)))], Seen::Number(6)));
        assert!(answered(6).is_ok() && answered(1).is_err() && answered(11).is_err());
    }
}
