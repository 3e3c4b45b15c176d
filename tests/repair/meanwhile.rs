//! What arrives and is written while a replica is repaired.

use crate::bench::{
    N1, N2, N3, Step, apart, equal, expected, has_said, next_letter, pass, repaired, settle, tell_members,
};
use crate::interrupted::{at_each_step, small};
use crate::lose_all;
use meridian_core::codec::Encode;
use meridian_core::message::Message;
use meridian_core::node::{Config, Input, Operation, Output};
use meridian_core::planted::{Bug, Planted};
use meridian_core::repair::Ask;
use meridian_core::replica::Standing;
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::Write;
use meridian_core::types::Refusal;
use meridian_tests::lab::{Lab, add, config, increment, put, write_of};

// -- deltas of others ----------------------------------------------------------------------------------------------------

/// n1 has had and deleted `ghost`, so neither n1 nor n2 holds a row of it, and its leaf is not asked for. It reaches n2 after
/// n2 has asked for the leaves that differ. What n2 reads of it in the end; and of `late`, which came behind it.
fn a_ghost_comes_late(config: Config) -> (Lab, [String; 2]) {
    let (mut lab, late) = apart(config, true);
    lab.reconnect(N1, N2);
    let mut waits = 0;
    while let Some(letter) = next_letter(&mut lab) {
        if let Message::Ask { ask: Ask::Rows(_), .. } = letter.message() {
            assert_eq!(lab.read(N2, "ghost", None), "none");
            lab.deliver(N2, late.clone());
            waits = lab.members[N2].node.parked_bytes(meridian_tests::lab::SHARD);
        }
        letter.deliver(&mut lab);
    }
    assert_eq!(repaired(&lab, N2).len(), 1);
    assert_eq!(waits > 0, lab.read(N2, "ghost", None) == "none", "what is not kept waiting is applied");
    let read = ["ghost", "late"].map(|key| lab.read(N2, key, None));
    (lab, read)
}

#[test]
fn a_delta_that_arrives_during_a_repair_waits_for_its_end() {
    let (mut lab, read) = a_ghost_comes_late(config());
    assert_eq!(read, ["none", "late"], "the source had the delete, and what it did not have is applied");
    settle(&mut lab);
    assert_eq!(lab.content(N2), expected());
}

#[test]
fn a_delta_that_does_not_wait_for_the_end_of_a_repair_comes_back_from_the_dead() {
    let (mut lab, read) = a_ghost_comes_late(Config { planted: Planted::bug(Bug::NoFreeze), ..config() });
    assert_eq!(read, ["boo", "late"], "the test above would fail");
    lab.carry(N3, N1);
    lab.deliver(N1, Vec::new());
    assert_ne!(lab.content(N2), expected());
}

// -- own writes ----------------------------------------------------------------------------------------------------------

/// What n2 writes while it is repaired: over rows that differ, and beside them.
fn write_all(lab: &mut Lab) {
    lab.write(N2, "r01", put("over a row that differs"));
    lab.write(N2, "r25", put("over a row that n2 lacks"));
    lab.write(N2, "r09", put("over a row that n1 deleted"));
    lab.write(N2, "r02", Write::Delete);
    lab.write(N2, "r20", Write::Delete);
    lab.write(N2, "hits", increment(100));
    lab.write(N2, "tags", add(&["d"]));
}

#[test]
fn own_writes_go_on_at_any_step_of_a_repair_and_none_is_lost() {
    let mut tried = 0;
    at_each_step(small(10_000), |mut lab, _, _| {
        let is_repaired = !repaired(&lab, N2).is_empty();
        if !lab.replica(N2).is_frozen() && !is_repaired {
            return;
        }
        tried += 1;
        lab.now_ms += 1_000;
        write_all(&mut lab);
        settle(&mut lab);
        assert_eq!(repaired(&lab, N2).len(), 1);
        lab.reads("r01", ["over a row that differs"; 3]);
        lab.reads("r25", ["over a row that n2 lacks"; 3]);
        lab.reads("r09", ["over a row that n1 deleted"; 3]);
        // n1's put was not seen by the delete, but where n2 was repaired before.
        lab.reads("r02", [if is_repaired { "none" } else { "new" }; 3]);
        lab.reads("r20", ["none"; 3]);
        // n1 has reset 5 and 1, and added 7; n2 has added 2 before.
        lab.reads("hits", ["109"; 3]);
        lab.reads("tags", ["{b, c, d, z}"; 3]);
    });
    assert!(tried > 20, "{tried} steps");
}

#[test]
fn what_is_written_at_the_source_during_a_repair_arrives_after_it() {
    the_source_writes(small(10_000));
}

pub(crate) fn the_source_writes(config: Config) {
    at_each_step(config, |mut lab, step, _| {
        lab.write(N1, "r01", put("newer"));
        lab.write(N1, "r03", Write::Delete);
        lab.write(N1, "r08", put("again"));
        lab.write(N1, "hits", increment(100));
        // n2 hears of it by an announcement alone, and goes on.
        let mut letters = lab.take_messages(N2);
        letters.retain(|(_, bytes)| !matches!(Message::from_bytes(bytes), Ok(Message::Fresh { .. })));
        lab.put_messages(N2, letters);
        lab.now_ms += 500;
        lab.step(N1, Input::Tick);
        if let Step::Letter(letter) = step {
            letter.deliver(&mut lab);
        }
        lab.works = true;
        (0..3).for_each(|at| lab.work(at));
        lab.exchange_all();
        let figures = repaired(&lab, N2);
        assert_eq!(figures.len(), 1, "{step:?}");
        settle(&mut lab);
        assert_eq!(repaired(&lab, N2).len(), 1, "the log brings the rest: {step:?}");
        lab.reads("r01", ["newer"; 3]);
        lab.reads("r03", ["none"; 3]);
        lab.reads("r08", ["again"; 3]);
        lab.reads("hits", ["109"; 3]);
    });
}

/// The source may have applied, and killed, what the receiver wrote after it had asked: found by seed 126546 of the model.
#[test]
fn what_is_written_after_a_repair_was_asked_for_and_deleted_at_the_source_does_not_stay() {
    let mut lab = Lab::with(2, Config { repair_empty_min: 1, ..config() });
    lab.write(N1, "a", put("1"));
    lose_all(&mut lab);
    lab.reconnect(N1, N2);
    lab.carry(N1, N2);
    let open = lab.take_messages(N1);
    assert!(open.iter().any(|(_, bytes)| asks_to_open(bytes)), "n2 asks for a repair");
    lab.write(N2, "k", put("written meanwhile"));
    lab.carry(N2, N1);
    lab.reads("k", ["written meanwhile"; 2]);
    lab.write(N1, "k", Write::Delete);
    lose_all(&mut lab);
    lab.put_messages(N1, open);
    lab.exchange();
    settle(&mut lab);
    lab.reads("k", ["none"; 2]);
    lab.reads("a", ["1"; 2]);
}

fn asks_to_open(bytes: &[u8]) -> bool {
    let message = Message::from_bytes(bytes).expect("what a node says can be read");
    matches!(message, Message::Ask { ask: Ask::Open { .. }, .. })
}

fn says_it_has_nothing(bytes: &[u8]) -> bool {
    let message = Message::from_bytes(bytes).expect("what a node says can be read");
    matches!(message, Message::Have { vector, root: None, .. } if vector.is_empty())
}

// -- in portions ---------------------------------------------------------------------------------------------------------

#[test]
fn while_a_large_repair_is_installed_nobody_is_answered() {
    let (mut portions, mut was_out) = (0, false);
    at_each_step(small(0), |mut lab, _, _| {
        let is_out = matches!(lab.replica(N2).standing(), Standing::Installing { .. });
        assert_eq!(lab.replica(N2).is_out_of_service(), is_out);
        was_out |= is_out;
        if !is_out {
            assert_eq!(lab.read(N2, "r23", None), "old", "it answers before and after");
            return;
        }
        portions += 1;
        assert_eq!(lab.refused(N2, "r23", Operation::Read(ReadRequest::default())), Refusal::Quarantined);
        assert_eq!(lab.refused(N2, "k", write_of(put("a"), None, None)), Refusal::Quarantined);
        lab.take_messages(N3);
        lab.reconnect(N3, N2);
        let said = lab.take_messages(N3);
        assert!(said.iter().all(|(_, bytes)| says_it_has_nothing(bytes)), "it announces nothing");
        lab.carry(N3, N2);
        assert!(lab.take_messages(N3).is_empty(), "and asks for nothing");
    });
    assert!(portions >= 3, "{portions} portions");
}

#[test]
fn a_tree_that_was_kept_is_not_taken_for_that_of_a_replica_that_was_being_installed() {
    let (mut lab, _) = apart(small(0), true);
    lab.stop_and_start(N2);
    tell_members(&mut lab, N2);
    assert!(lab.root(N2).is_some(), "the tree was kept");
    lab.works = false;
    pass(&mut lab, N1);
    lab.reconnect(N1, N2);
    while !matches!(lab.replica(N2).standing(), Standing::Installing { .. }) {
        (0..3).for_each(|at| lab.work_once(at));
        if let Some(letter) = next_letter(&mut lab) {
            letter.deliver(&mut lab);
        }
    }
    lab.one_turn(N2, Input::Work);
    assert!(lab.replica(N2).is_out_of_service(), "there are further portions");
    lab.crash(N2, 0);
    lab.works = true;
    lab.work(N2);
    lab.step(N2, Input::Tick);
    settle(&mut lab);
    assert!(!has_said(&lab, N2, |news| matches!(news, Output::Quarantined { .. } | Output::Diverged { .. })));
    equal(&lab);
}
