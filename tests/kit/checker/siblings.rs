//! A multi-value register shows exactly the puts that no other has seen.
//!
//! A put takes away what its context covers, as far as its node has it: a context is never believed beyond that. So a put that was
//! acknowledged is shown, unless one may have covered it; and is not, where one has surely covered it on a node that had it.

use super::taken::{items, read_again, taken};
use super::{Violation, wrong};
use crate::history::{Asked, Case, Entry, Kind, Over, Takers};
use std::collections::HashMap;

/// Its name.
pub const NAME: &str = "siblings";

/// Checks it.
///
/// # Errors
/// A value is lost that no put had seen, or is read though one had.
pub fn check(case: &Case<'_>) -> Result<(), Violation> {
    if case.subject.kind != Kind::Multi {
        return Ok(());
    }
    let all = taken(case, |entry| matches!(entry.asked, Asked::Put(_)));
    if let Some((what, by, how)) = read_again(case, &all) {
        return Err(wrong(
            NAME,
            &case.subject,
            format!("the put of request {by} had seen {what}, and {how}"),
        ));
    }
    let Some(last) = case.last() else { return Ok(()) };
    let takers = ValueTakers::of(case);
    for entry in case.entries.iter().filter(|entry| entry.must_stay()) {
        let Asked::Put(value) = entry.asked else { continue };
        let is_there = items(last).is_some_and(|values| values.contains(value));
        if !is_there && !takers.may_have_seen(value, entry.began, u64::MAX) {
            return Err(wrong(
                NAME,
                &case.subject,
                format!("{value} was put, nobody had seen it, and it reads {last:?}"),
            ));
        }
    }
    Ok(())
}

/// What may take away values.
pub(super) struct ValueTakers<'a> {
    /// Removals.
    removals: Takers,
    /// Puts without a context, or with one of which nobody knows what it covers.
    puts: OtherPuts<'a>,
    /// Puts that cover a value.
    of: HashMap<&'a str, Takers>,
}

impl<'a> ValueTakers<'a> {
    pub(super) fn of(case: &Case<'a>) -> ValueTakers<'a> {
        let (removals, mut puts) = (case.takes_all(), OtherPuts::default());
        let mut of: HashMap<&str, Takers> = HashMap::new();
        for entry in case.entries.iter().filter(|entry| entry.may_be_applied()) {
            let Asked::Put(own) = entry.asked else { continue };
            match &entry.over {
                Over::Seen(covered) if covered.at_most.is_some() => {
                    let values = covered.at_most.iter().flatten();
                    let others = values.filter(|value| *value != own);
                    others.for_each(|value| of.entry(value).or_default().push(entry));
                }
                _ => puts.push(own, entry),
            }
        }
        ValueTakers { removals, puts, of }
    }

    /// As [`Takers::may_have_seen`]. A put does not take itself away.
    pub(super) fn may_have_seen(&self, value: &str, since: u64, before: u64) -> bool {
        self.of.get(value).is_some_and(|takers| takers.may_have_seen(since, before))
            || self.removals.may_have_seen(since, before)
            || self.puts.may_have_seen(value, since, before)
    }
}

/// As [`Takers`], of puts.
#[derive(Default)]
struct OtherPuts<'a> {
    /// When each was asked, and of it and those before the two of different values that may have been applied latest.
    spans: Vec<(u64, [(u64, &'a str); 2])>,
}

impl<'a> OtherPuts<'a> {
    fn push(&mut self, value: &'a str, entry: &Entry<'a>) {
        let [first, second] = self.spans.last().map_or([(0, ""); 2], |(_, latest)| *latest);
        let new = (entry.until(), value);
        let latest = match (new.1 == first.1, new > first) {
            (true, _) => [new.max(first), second],
            (false, true) => [new, first],
            (false, false) => [first, new.max(second)],
        };
        self.spans.push((entry.began, latest));
    }

    fn may_have_seen(&self, value: &str, since: u64, before: u64) -> bool {
        let asked = self.spans.partition_point(|(began, _)| *began <= before);
        let latest =
            self.spans[..asked].last().and_then(|(_, latest)| latest.iter().find(|(_, own)| *own != value));
        latest.is_some_and(|(until, own)| !own.is_empty() && *until >= since)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asks, put, read, story, told, values, wrote};
    use super::*;
    use crate::history::{Fact, History, Op, Seen};

    fn multi(value: &str) -> Op {
        put(Kind::Multi, value)
    }

    fn reads(there: &[&str], context: &str) -> Op {
        asks(Kind::Multi, Asked::Read).ends(read(values(there))).gives(context)
    }

    fn is_bad(history: &History) {
        assert_eq!(told(check, history).expect_err("they are wrong").checker, NAME, "{history:?}");
    }

    #[test]
    fn a_put_that_nobody_had_seen_is_there() {
        let beside = |last: &[&str]| {
            let ops = vec![multi("v1"), reads(&["v1"], "a"), multi("v2").on(2), multi("v3").carries("a")];
            story(ops, values(last))
        };
        assert_eq!(told(check, &beside(&["v2", "v3"])), Ok(()));
        is_bad(&beside(&["v3"]));
        is_bad(&beside(&["v2"]));
        let deleted = |at: usize| {
            let mut history = beside(&["v3"]);
            history.ops.insert(at, asks(Kind::Multi, Asked::TakeAll).ends(wrote()));
            history.ops[at].began = 40;
            history.ops[at].ended.as_mut().expect("it ends").0 = if at == 2 { 29 } else { 45 };
            history
        };
        assert_eq!(told(check, &deleted(3)), Ok(()), "a delete may have taken it away");
        is_bad(&deleted(2));
        let mut excused = beside(&["v3"]);
        excused.facts.insert(0, (0, Fact::Destroyed { op: 3 }));
        assert_eq!(told(check, &excused), Ok(()), "its only disk is gone");
        let overwritten = story(vec![multi("v1"), multi("v2").on(2)], values(&["v2"]));
        assert_eq!(told(check, &overwritten), Ok(()), "without a context it takes all there is");
        is_bad(&story(vec![multi("v1")], Seen::Nothing));
    }

    #[test]
    fn a_put_that_was_seen_is_not_there() {
        let replaced = |node, last: &[&str]| {
            story(vec![multi("v1"), reads(&["v1"], "a"), multi("v2").carries("a").on(node)], values(last))
        };
        assert_eq!(told(check, &replaced(1, &["v2"])), Ok(()));
        is_bad(&replaced(1, &["v1", "v2"]));
        assert_eq!(told(check, &replaced(2, &["v1", "v2"])), Ok(()), "that node need not have had it");
        let mut between = replaced(1, &["v2"]);
        between.ops[1].node = 2;
        assert_eq!(told(check, &between), Ok(()));
        let again = |there: &[&str]| {
            let ops = vec![multi("v1"), reads(&["v1"], "a"), multi("v2").carries("a"), reads(there, "b")];
            story(ops, values(&["v2"]))
        };
        assert_eq!(told(check, &again(&["v2"])), Ok(()));
        is_bad(&again(&["v1", "v2"]));
    }
}
