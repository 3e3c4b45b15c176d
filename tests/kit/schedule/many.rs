//! Many schedules at once, on all cores.

use super::{Disk, Failure, Tally, run_on};
use crate::faults::Fault;
use meridian_core::storage::MemStorage;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs the schedules of many seeds on disks in memory, and calls `each` after each. The outcome does not depend on `jobs`, and the
/// failures are sorted by seed.
pub fn run_many(
    seeds: Range<u64>,
    jobs: usize,
    fault: Option<Fault>,
    each: &(dyn Fn() + Sync),
) -> (Tally, Vec<Failure>) {
    run_many_on::<MemStorage>(seeds, jobs, fault, each)
}

/// As [`run_many`], on other disks.
pub fn run_many_on<D: Disk>(
    seeds: Range<u64>,
    jobs: usize,
    fault: Option<Fault>,
    each: &(dyn Fn() + Sync),
) -> (Tally, Vec<Failure>) {
    let (next, outcome) = (AtomicU64::new(seeds.start), Mutex::new((Tally::default(), Vec::new())));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let result = run_on::<D>(seed, fault, false);
                    let mut outcome = outcome.lock().expect("no thread panics while it holds this");
                    match result {
                        Ok(tally) => outcome.0.add(tally),
                        Err(failure) => outcome.1.push(failure),
                    }
                    each();
                }
            });
        }
    });
    let (tally, mut failures) = outcome.into_inner().expect("all threads have ended");
    failures.sort_by_key(|failure| failure.seed);
    (tally, failures)
}

/// How many threads there are cores for.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
