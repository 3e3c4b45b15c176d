//! Many schedules at once, on all cores.

use super::{Disk, Failure, Tally, run_on};
use crate::faults::Fault;
use crate::seeds;
use meridian_core::storage::MemStorage;
use std::ops::{ControlFlow, Range};

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
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    seeds::run_all(
        seeds,
        jobs,
        |seed| run_on::<D>(seed, fault, false),
        |result| {
            match result {
                Ok(one) => tally.add(one),
                Err(failure) => failures.push(failure),
            }
            each();
            ControlFlow::Continue(())
        },
    );
    failures.sort_by_key(|failure| failure.seed);
    (tally, failures)
}
