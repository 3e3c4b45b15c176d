//! The model of masks: a replica that removes behind masks reads like one that removes at once, under random causal orders,
//! portions of sweeping and restarts; and each way to do it wrong is noticed. What the engine does is compared in `model.rs`.

use meridian_tests::masked::{Fault, Tally, run};

/// Schedules, of three sites each.
const SCHEDULES: u64 = 10_000;
/// Schedules within which a fault must be noticed.
const SCHEDULES_PER_FAULT: u64 = 1_000;

#[test]
fn ten_thousand_schedules_read_the_same_with_masks_and_without() {
    let mut all = Tally::default();
    for seed in 0..SCHEDULES {
        let tally = run(seed, None).unwrap_or_else(|difference| panic!("{difference}"));
        all.masks += tally.masks;
        all.masked_readings += tally.masked_readings;
        all.jumps += tally.jumps;
        all.portions += tally.portions;
        all.restarts += tally.restarts;
    }
    println!("{SCHEDULES} schedules: {all:?}");
    let did_something = [
        (all.masks, 3 * SCHEDULES),
        (all.masked_readings, 20 * SCHEDULES),
        (all.jumps, 5 * SCHEDULES),
        (all.portions, 5 * SCHEDULES),
        (all.restarts, SCHEDULES / 4),
    ];
    assert!(did_something.iter().all(|(found, at_least)| found >= at_least), "{all:?}");
}

#[test]
fn forgetting_masks_at_a_restart_is_noticed() {
    assert_noticed(Fault::Forgotten);
}

#[test]
fn hiding_what_is_newer_is_noticed() {
    assert_noticed(Fault::HidesNewer);
}

#[test]
fn dropping_a_mask_that_is_half_swept_is_noticed() {
    assert_noticed(Fault::SweptHalf);
}

#[test]
fn telling_the_digest_while_there_are_masks_is_noticed() {
    assert_noticed(Fault::DigestTold);
}

#[test]
fn not_noting_what_was_written_since_is_noticed() {
    assert_noticed(Fault::SinceNotNoted);
}

fn assert_noticed(fault: Fault) {
    let noticed = (0..SCHEDULES_PER_FAULT).find_map(|seed| run(seed, Some(fault)).err());
    println!(
        "{}",
        noticed.unwrap_or_else(|| panic!("{fault:?}: not noticed by {SCHEDULES_PER_FAULT} schedules"))
    );
}
