//! What is counted: latencies for each kind of operation, and errors by what was said.

use crate::plan::Kind;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Longest latency that is told apart, in microseconds: an hour. A longer one counts as that.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Digits of a latency that are kept.
const DIGITS: u8 = 3;

/// What came of operations.
pub(crate) struct Records {
    kinds: [Option<Box<KindRecord>>; Kind::ALL.len()],
    errors: BTreeMap<String, u64>,
    /// When the last of them was answered.
    pub(crate) last: Option<Instant>,
}

/// What came of the operations of one kind.
pub(crate) struct KindRecord {
    /// Latencies of those that were done, in microseconds.
    pub(crate) latencies: Histogram<u64>,
    /// How many failed.
    pub(crate) errors: u64,
}

impl KindRecord {
    fn new() -> Box<Self> {
        let latencies =
            Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS).expect("the bounds are in order");
        Box::new(KindRecord { latencies, errors: 0 })
    }
}

impl Records {
    /// Nothing so far.
    pub(crate) fn new() -> Self {
        Records { kinds: [const { None }; Kind::ALL.len()], errors: BTreeMap::new(), last: None }
    }

    /// Notes an operation that was done.
    pub(crate) fn done(&mut self, kind: Kind, latency: Duration) {
        self.kind(kind).latencies.saturating_record(latency.as_micros() as u64);
    }

    /// Notes an operation that failed.
    pub(crate) fn failed(&mut self, kind: Kind, why: String) {
        self.kind(kind).errors += 1;
        *self.errors.entry(why).or_default() += 1;
    }

    /// Adds what was noted elsewhere.
    pub(crate) fn merge(&mut self, other: Records) {
        for (own, other) in self.kinds.iter_mut().zip(other.kinds) {
            match (own, other) {
                (Some(own), Some(other)) => {
                    own.latencies.add(&other.latencies).expect("all have the same bounds");
                    own.errors += other.errors;
                }
                (own, Some(other)) => *own = Some(other),
                (_, None) => {}
            }
        }
        self.last = self.last.max(other.last);
        for (why, count) in other.errors {
            *self.errors.entry(why).or_default() += count;
        }
    }

    /// The kinds that occurred.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (Kind, &KindRecord)> {
        let kinds = Kind::ALL.into_iter().zip(&self.kinds);
        kinds.filter_map(|(kind, record)| Some((kind, record.as_deref()?)))
    }

    /// How many were done.
    pub(crate) fn count(&self) -> u64 {
        self.kinds().map(|(_, record)| record.latencies.len()).sum()
    }

    /// How many failed.
    pub(crate) fn errors(&self) -> u64 {
        self.kinds().map(|(_, record)| record.errors).sum()
    }

    /// How many failed, by what was said.
    pub(crate) fn errors_by_code(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    fn kind(&mut self, kind: Kind) -> &mut KindRecord {
        self.kinds[kind as usize].get_or_insert_with(KindRecord::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_apart_adds_up() {
        let (mut one, mut other) = (Records::new(), Records::new());
        (1..=60).for_each(|ms| one.done(Kind::Get, Duration::from_millis(ms)));
        (61..=100).for_each(|ms| other.done(Kind::Get, Duration::from_millis(ms)));
        other.done(Kind::Put, Duration::from_micros(0));
        one.failed(Kind::Get, "404 key_not_found".into());
        other.failed(Kind::Get, "404 key_not_found".into());
        other.failed(Kind::Add, "503 overloaded".into());
        one.merge(other);
        let kinds: Vec<(Kind, u64, u64)> =
            one.kinds().map(|(kind, record)| (kind, record.latencies.len(), record.errors)).collect();
        assert_eq!(kinds, [(Kind::Get, 100, 2), (Kind::Put, 1, 0), (Kind::Add, 0, 1)]);
        assert_eq!((one.count(), one.errors()), (101, 3));
        assert_eq!(one.errors_by_code()["404 key_not_found"], 2);
        let (_, get) = one.kinds().next().unwrap();
        let median = get.latencies.value_at_quantile(0.5);
        assert!(median.abs_diff(50_000) <= 100, "{median}");
    }

    #[test]
    fn a_latency_beyond_the_longest_counts_as_the_longest() {
        let mut records = Records::new();
        records.done(Kind::Get, Duration::from_secs(1_000_000));
        let (_, get) = records.kinds().next().unwrap();
        assert!(get.latencies.max() >= LATENCY_US_MAX && get.latencies.len() == 1);
    }
}
