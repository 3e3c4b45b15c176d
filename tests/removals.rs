//! Large removals by hand: what one delta may take away, masks that take each other's place, and what they know of what is alive.

use meridian_core::context::Context;
use meridian_core::masks::MASKS_MAX;
use meridian_core::node::{Config, Input, Operation, Reply};
use meridian_core::replica::write::{Write, WriteRequest};
use meridian_core::storage::Space;
use meridian_core::types::Refusal;
use meridian_tests::lab::{Lab, add, clear, config, field, fields, increment, put, reset, write_of};

const N1: usize = 0;
const N2: usize = 1;

/// Nodes on which a removal of more than two rows is done by a mask, and swept when the test says so.
fn lab(count: usize) -> Lab {
    let mut lab = Lab::with(count, Config { removal_rows_max: 2, portion_rows: 1, ..config() });
    lab.works = false;
    lab
}

fn masks(lab: &Lab, at: usize) -> usize {
    lab.replica(at).masks().len()
}

fn sweep(lab: &mut Lab, at: usize) {
    while lab.members[at].node.has_work() {
        lab.step(at, Input::Work);
    }
}

#[test]
fn what_one_delta_takes_away_has_one_bound() {
    let mut lab = lab(1);
    for name in ["a", "b", "c"] {
        lab.write(N1, "map", field(name, add(&["x", "y"])));
    }
    lab.write(N1, "map", fields(["a", "b", "c"].map(|name| (name, Write::Delete)).into()));
    assert!(
        masks(&lab, N1) >= 2,
        "nine rows are more than one delta may take away, in however many removals"
    );
    lab.reads("map", ["{}"]);
    sweep(&mut lab, N1);
    assert_eq!((masks(&lab, N1), lab.rows(N1, Space::Cell).len()), (0, 0));
}

#[test]
fn a_set_that_is_filled_and_cleared_again_and_again_has_one_mask() {
    let mut lab = lab(1);
    for round in 0..5 {
        lab.write(N1, "set", add(&["a", "b", "c", "d"]));
        lab.write(N1, "set", clear());
        assert_eq!(masks(&lab, N1), 1, "round {round}");
        lab.reads("set", ["{}"]);
    }
    lab.write(N1, "set", add(&["e"]));
    lab.reads("set", ["{e}"]);
    sweep(&mut lab, N1);
    lab.reads("set", ["{e}"]);
    assert_eq!(lab.rows(N1, Space::Cell).len(), 1, "nothing else is left");
}

#[test]
fn a_replica_with_many_masks_takes_no_more_large_removals_and_everything_else() {
    let mut lab = lab(1);
    let names: Vec<String> = (0..=MASKS_MAX).map(|number| format!("set{number}")).collect();
    for name in &names {
        lab.write(N1, name, add(&["a", "b", "c"]));
    }
    for name in &names[..MASKS_MAX] {
        lab.write(N1, name, clear());
    }
    let last = &names[MASKS_MAX];
    for removal in [clear(), Write::Delete] {
        assert_eq!(lab.refused(N1, last, write_of(removal, None, None)), Refusal::Sweeping);
    }
    lab.write(N1, last, add(&["d"]));
    sweep(&mut lab, N1);
    lab.write(N1, last, Write::Delete);
    lab.reads(last, ["none"]);
}

#[test]
fn a_peers_mask_knows_what_was_written_apart() {
    let mut lab = lab(2);
    lab.write(N1, "set", add(&["a", "b", "c", "d"]));
    lab.exchange();
    // n2 adds, and n1 deletes what it has seen; other keys of the shard change as well.
    lab.write(N2, "set", add(&["e"]));
    lab.write(N2, "other", put("x"));
    lab.write(N1, "set", Write::Delete);
    lab.exchange();
    assert_eq!([masks(&lab, N1), masks(&lab, N2)], [1, 1]);
    lab.reads("set", ["{e}", "{e}"]);
    lab.write(N2, "set", add(&["f"]));
    lab.exchange();
    lab.reads("set", ["{e, f}", "{e, f}"]);
    for at in [N1, N2] {
        sweep(&mut lab, at);
    }
    lab.reads("set", ["{e, f}", "{e, f}"]);
    assert_eq!(lab.root(N1), lab.root(N2));
}

#[test]
fn a_context_with_a_gap_does_not_reset_what_lies_in_it() {
    let mut lab = Lab::new(1);
    let count = |by| field("visits", increment(by));
    lab.write(N1, "map", count(1));
    let first = lab.context(N1, "map");
    lab.write(N1, "map", count(10));
    // The client has not seen the 10; it has seen its own 100, by the answer of its write.
    let own = answered(&mut lab, "map", count(100), first);
    answered(&mut lab, "map", field("visits", reset()), own);
    lab.reads("map", ["{visits: 111}"]);
}

#[test]
fn a_field_that_is_removed_and_then_only_emptied_is_not_there() {
    let mut lab = Lab::new(1);
    lab.write(N1, "map", fields(vec![("n", increment(1)), ("s", add(&["a"]))]));
    let emptied = vec![("n", Write::Delete), ("n", reset()), ("s", Write::Delete), ("s", clear())];
    lab.write(N1, "map", fields(emptied));
    lab.reads("map", ["{}"]);
}

/// A write with a context, and what its client has seen with the answer.
fn answered(lab: &mut Lab, name: &str, write: Write, context: Context) -> Context {
    let request = WriteRequest { context: Some(context), ..WriteRequest::of(write) };
    match lab.ask(N1, name, Operation::Write(request)) {
        Reply::Written { context, .. } => context,
        other => panic!("{other:?}"),
    }
}
