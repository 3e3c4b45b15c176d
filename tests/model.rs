//! The model fuzzer: real nodes and the reference model on the same random schedules, and the gate that proves that it
//! bites: each planted bug must make schedules fail.
//!
//! For longer runs: `make model SEEDS=0..1000000`.

use meridian_tests::faults::FAULTS;
use meridian_tests::schedule::{self, run_many};
use meridian_tests::seeds::cores;

/// Seeds that CI runs.
const SCHEDULES: u64 = 20_000;
/// Seeds within which a planted bug must be caught. The rarest is caught by one schedule in 750.
const SCHEDULES_PER_BUG: u64 = 3_000;

#[test]
fn twenty_thousand_schedules_agree_with_the_model() {
    let (tally, failures) = run_many(0..SCHEDULES, cores(), None, &|| ());
    println!("{tally}");
    if let Some(first) = failures.first() {
        panic!("{} of {SCHEDULES} schedules fail. The first:\n{first}", failures.len());
    }
    assert_eq!(tally.schedules, SCHEDULES);
    let did_something = [
        (tally.events, 500_000),
        (tally.messages, 1_000_000),
        (tally.crashes, 20_000),
        (tally.rollbacks, 9_000),
        (tally.quarantines, 1_000),
        (tally.refills, 1_000),
        (tally.installing, 40_000),
        (tally.repairs, 20_000),
        (tally.aborts, 5_000),
        (tally.cut, 400_000),
        (tally.contexts, 200_000),
        (tally.refusals, 200_000),
    ];
    assert!(did_something.iter().all(|(found, at_least)| found >= at_least), "{tally}");
}

#[test]
fn every_planted_bug_is_caught() {
    for (name, fault) in FAULTS.into_iter().filter(|(_, fault)| fault.is_for_schedules()) {
        let caught = (0..SCHEDULES_PER_BUG).find_map(|seed| schedule::run(seed, Some(fault), false).err());
        let failure = caught.unwrap_or_else(|| panic!("{name}: not caught by {SCHEDULES_PER_BUG} schedules"));
        println!("{name}: caught by seed {}, step {}", failure.seed, failure.step);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let trace = |seed| schedule::run(seed, None, false).expect("no planted bug").trace;
    let first = [1, 77, 4_711].map(trace);
    assert_eq!(first, [1, 77, 4_711].map(trace));
    assert_ne!(first[0], first[1]);
}
