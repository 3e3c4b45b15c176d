//! Repairs that break off, or are told again what they were told before, or are told lies.

use crate::bench::{
    Letter, Letters, N1, N2, N3, Rows, apart, cut_log, expected, lose_all, next_letter, nothing_left, repaired, settle,
};
use meridian_core::codec::Encode;
use meridian_core::message::Message;
use meridian_core::node::{Config, Input};
use meridian_core::repair::{Answer, Ask};
use meridian_tests::lab::{Lab, config, node_id, put};
use std::collections::{BTreeMap, BTreeSet};

/// Small enough for several requests, answers and portions.
fn small(install_rows_max: usize) -> Config {
    Config { install_rows_max, pull_bytes_max: 300, portion_rows: 7, repair_known_max: 6, ..config() }
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Work(usize),
    Letter(Letter),
}

fn next_step(lab: &mut Lab) -> Option<Step> {
    let busy = (0..lab.members.len()).find(|at| lab.members[*at].node.has_work());
    busy.map(Step::Work).or_else(|| next_letter(lab).map(Step::Letter))
}

fn take(lab: &mut Lab, step: &Step) {
    match step {
        Step::Work(at) => drop(lab.one_turn(*at, Input::Work)),
        Step::Letter(letter) => letter.deliver(lab),
    }
}

/// A repair of n2 by n1, to its end; what n3 has made arrives while it goes on. Before each step `interrupt` is given a copy,
/// and what would be next.
fn at_each_step(config: Config, mut interrupt: impl FnMut(Lab, &Step, &Letters)) {
    let (mut lab, late) = apart(config, true);
    lab.works = false;
    lab.reconnect(N1, N2);
    let mut has_come = false;
    while let Some(step) = next_step(&mut lab) {
        if lab.replica(N2).is_frozen() && !has_come {
            lab.deliver(N2, late.clone());
            has_come = true;
        }
        interrupt(lab.clone(), &step, &late);
        take(&mut lab, &step);
    }
    assert_eq!(repaired(&lab, N2).len(), 1);
    settle(&mut lab);
    assert_eq!(lab.content(N1), expected());
}

/// What n2 may hold, by what it has applied: with and without what n1 has, with and without what n3 has made.
fn legal() -> BTreeMap<Vec<u8>, Rows> {
    let mut legal = BTreeMap::new();
    for with_late in [false, true] {
        let (mut lab, late) = apart(config(), false);
        if with_late {
            lab.deliver(N2, late);
        }
        legal.insert(lab.vector(N2), lab.content(N2));
        lose_all(&mut lab);
        lab.reconnect(N1, N2);
        for _ in 0..5 {
            lab.carry(N1, N2);
            lab.carry(N2, N1);
        }
        legal.insert(lab.vector(N2), lab.content(N2));
    }
    assert_eq!(legal.len(), 4);
    legal
}

/// n2 has done what it can do by itself: it holds what it held before, or what it is to hold, and nothing is left of the rest.
fn is_before_or_after(lab: &mut Lab, legal: &BTreeMap<Vec<u8>, Rows>, when: &str) {
    lab.work(N2);
    assert!(!lab.replica(N2).is_out_of_service(), "{when}: {:?}", lab.replica(N2).standing());
    assert_eq!(Some(&lab.content(N2)), legal.get(&lab.vector(N2)), "{when}");
    nothing_left(lab, N2);
}

#[test]
fn a_link_that_dies_at_any_step_leaves_all_as_before_or_as_after() {
    let (legal, expected) = (legal(), expected());
    for install_rows_max in [0, 10_000] {
        let mut steps = 0;
        at_each_step(small(install_rows_max), |mut lab, step, late| {
            steps += 1;
            let when = format!("{install_rows_max}, step {steps}: {step:?}");
            for (one, other) in [(N1, N2), (N2, N1)] {
                let mut letters = lab.take_messages(one);
                letters.retain(|(from, _)| *from != other);
                lab.put_messages(one, letters);
                lab.step(one, Input::PeerDown(node_id(other)));
            }
            is_before_or_after(&mut lab, &legal, &when);
            lab.deliver(N2, late.clone());
            assert_eq!(lab.read(N2, "late", None), "late", "{when}: deltas of others are applied again");
            settle(&mut lab);
            assert_eq!(lab.content(N2), expected, "{when}");
        });
        assert!(steps > 30, "{steps} steps");
    }
}

#[test]
fn a_source_that_restarts_at_any_step_leaves_all_as_before_or_as_after() {
    let (legal, expected) = (legal(), expected());
    for install_rows_max in [0, 10_000] {
        at_each_step(small(install_rows_max), |mut lab, step, late| {
            let when = format!("{install_rows_max}: {step:?}");
            lab.crash(N1, 0);
            is_before_or_after(&mut lab, &legal, &when);
            lab.deliver(N2, late.clone());
            assert_eq!(lab.read(N2, "late", None), "late", "{when}");
            if let Step::Letter(letter) = step {
                letter.deliver(&mut lab);
            }
            settle(&mut lab);
            assert_eq!(lab.content(N2), expected, "{when}");
        });
    }
}

#[test]
fn a_receiver_that_crashes_at_any_step_holds_what_it_held_or_what_it_is_to_hold() {
    let (legal, expected) = (legal(), expected());
    for install_rows_max in [0, 10_000] {
        let mut crashes = 0;
        at_each_step(small(install_rows_max), |mut lab, step, late| {
            // What n2 would do next, and all that it can do then by itself, is written and not synced.
            lab.unsynced = Some(N2);
            take(&mut lab, step);
            lab.work(N2);
            for kept in 0..=lab.members[N2].disk.unsynced() {
                let when = format!("{install_rows_max}, {kept} turns after {step:?}");
                let mut lab = lab.clone();
                crashes += 1;
                lab.crash(N2, kept);
                is_before_or_after(&mut lab, &legal, &when);
                lab.deliver(N2, late.clone());
                assert_eq!(lab.read(N2, "late", None), "late", "{when}");
                settle(&mut lab);
                assert_eq!(lab.content(N2), expected, "{when}");
            }
        });
        assert!(crashes > 100, "{crashes} crashes");
    }
}

#[test]
fn a_message_that_is_lost_or_doubled_at_any_step_does_no_harm() {
    let expected = expected();
    at_each_step(small(10_000), |lab, step, _| {
        let Step::Letter(letter) = step else { return };
        for times in [0, 2] {
            let mut lab = lab.clone();
            lab.works = true;
            for _ in 0..times {
                letter.deliver(&mut lab);
            }
            for _ in 0..30 {
                lab.tick_all(100);
                lab.exchange_all();
            }
            assert_eq!(repaired(&lab, N2).len(), 1, "{times} times {letter:?}");
            assert_eq!(lab.content(N2), expected, "{times} times {letter:?}");
        }
    });
}
