//! How logs are cut: what all members have, and what is too much; and what is remembered of it.

use crate::bench::{N1, N2, apart, cut_log, log_dot, lose_all, pass, settle, tell_members};
use meridian_core::id::{Dot, NodeId, OriginId};
use meridian_core::node::{Config, Input};
use meridian_core::storage::Space;
use meridian_core::version_vector::VersionVector;
use meridian_tests::lab::{Lab, add, config, increment, put};
use std::collections::BTreeSet;

/// The deltas in a node's log, ascending.
fn logged(lab: &Lab, at: usize) -> Vec<Dot> {
    lab.rows(at, Space::Log).iter().map(|(row, _)| log_dot(row)).collect()
}

/// The bytes of the rows of a node's log.
fn stored(lab: &Lab, at: usize) -> u64 {
    lab.rows(at, Space::Log).iter().map(|(row, value)| (row.len() + value.len()) as u64).sum()
}

/// Half a minute passes, and everything that is said arrives.
fn live(lab: &mut Lab) {
    for _ in 0..30 {
        lab.tick_all(1_000);
        lab.exchange_all();
    }
}

/// Nodes that know who the others are, and keep nothing that all have.
fn members(count: usize, config: Config) -> Lab {
    let mut lab = Lab::with(count, Config { log_keep_bytes: 0, ..config });
    (0..count).for_each(|at| tell_members(&mut lab, at));
    lab
}

#[test]
fn what_all_members_have_said_to_have_is_cut_and_nothing_beyond_it() {
    let mut lab = members(3, config());
    for n in 0..10 {
        lab.write(n % 2, "hits", increment(1));
    }
    live(&mut lab);
    assert_eq!([0, 1, 2].map(|at| logged(&lab, at)), [[]; 3], "everybody has everything, and has said so");
    let before = lab.replica(N1).vector().clone();
    assert_eq!([0, 1, 2].map(|at| lab.replica(at).low() == &before), [true; 3]);
    for n in 0..6 {
        lab.write(N1, &format!("k{n}"), put("a"));
        lab.carry(N1, N2);
        lab.take_messages(2);
    }
    for _ in 0..30 {
        lab.tick_all(1_000);
        lab.carry(N1, N2);
        lab.carry(N2, N1);
        lose_all(&mut lab);
    }
    let newer: Vec<Dot> = (6..=11).map(|seq| Dot::new(OriginId(0x101), seq)).collect();
    assert_eq!([N1, N2].map(|at| logged(&lab, at)), [newer.clone(), newer], "n3 has not said to have these");
    live(&mut lab);
    assert_eq!([0, 1, 2].map(|at| logged(&lab, at)), [[]; 3]);
    assert!(lab.news.is_empty(), "nobody was repaired: {:?}", lab.news);
}

#[test]
fn for_a_member_that_never_said_what_it_has_nothing_is_cut() {
    let mut lab = members(2, config());
    let others = BTreeSet::from([NodeId(2), NodeId(3)]);
    lab.step(N1, Input::Members(others));
    for _ in 0..10 {
        lab.write(N1, "hits", increment(1));
    }
    live(&mut lab);
    assert_eq!(logged(&lab, N1).len(), 10, "who knows what the third has");
    assert_eq!(logged(&lab, N2).len(), 0, "whom n2 was not told of");
    // Neither before the shell has said who they are.
    let mut lab = Lab::with(2, Config { log_keep_bytes: 0, ..config() });
    lab.write(N1, "hits", increment(1));
    live(&mut lab);
    assert_eq!(logged(&lab, N1).len(), 1);
}

#[test]
fn what_a_peer_said_before_it_came_up_anew_does_not_count() {
    let mut lab = members(2, config());
    lab.write(N1, "hits", increment(1));
    lab.exchange();
    lab.step(N2, Input::Tick);
    lab.tick_all(1_000);
    lab.exchange();
    lab.wipe(N2);
    lose_all(&mut lab);
    pass(&mut lab, N1);
    assert_eq!(logged(&lab, N1).len(), 1, "n2 may have lost it");
}

#[test]
fn of_what_all_have_so_many_bytes_are_kept() {
    const KEPT: u64 = 500;
    let mut lab = Lab::with(2, Config { log_keep_bytes: KEPT, ..config() });
    (0..2).for_each(|at| tell_members(&mut lab, at));
    for n in 0..50 {
        lab.write(n % 2, &format!("k{n}"), put("some text"));
    }
    live(&mut lab);
    let row = stored(&lab, N1) / logged(&lab, N1).len() as u64;
    assert!((KEPT - 2 * row..=KEPT).contains(&stored(&lab, N1)), "{} of {KEPT}", stored(&lab, N1));
}

#[test]
fn what_is_too_much_is_cut_whoever_lacks_it_and_the_oldest_first() {
    const MOST: u64 = 800;
    let mut lab = members(2, Config { log_bytes_max: MOST, ..config() });
    let others = BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]);
    let mut made = Vec::new();
    for n in 0..40 {
        // Each sees what the other has written, so the stamps ascend; n2 writes twice as often.
        let at = usize::from(n % 3 > 0);
        made.push(lab.replica(at).next_dot());
        lab.write(at, &format!("k{n}"), put("some text"));
        lab.exchange();
    }
    for at in 0..2 {
        lab.step(at, Input::Members(others.clone()));
    }
    live(&mut lab);
    for at in 0..2 {
        let mut newest = made[made.len() - logged(&lab, at).len()..].to_vec();
        newest.sort();
        assert_eq!(logged(&lab, at), newest, "the oldest are cut");
        assert!(stored(&lab, at) <= MOST && stored(&lab, at) > MOST - 100, "{} of {MOST}", stored(&lab, at));
    }
}

#[test]
fn low_marks_and_the_bytes_of_the_log_survive_every_kind_of_restart() {
    let mut lab = Lab::with(2, Config { log_keep_bytes: 300, ..config() });
    let check = |lab: &Lab, low: &VersionVector| {
        assert_eq!(lab.replica(N1).low(), low);
        assert_eq!(lab.replica(N1).log_bytes(), Some(stored(lab, N1)));
    };
    let none = VersionVector::default();
    for n in 0..30 {
        lab.write(n % 2, &format!("k{n}"), put("some text"));
        lab.exchange();
    }
    check(&lab, &none);
    lab.crash(N1, 0);
    check(&lab, &none);
    lab.stop_and_start(N1);
    lab.works = false;
    check(&lab, &none);
    lab.works = true;
    lab.step(N1, Input::Members(BTreeSet::new()));
    pass(&mut lab, N1);
    let low = lab.replica(N1).low().clone();
    assert!(low.deltas() > 10 && low.deltas() < 30, "{low:?}");
    check(&lab, &low);
    // Nothing was applied since the tree was kept, but the log was cut.
    lab.crash(N1, 0);
    check(&lab, &low);
    lab.stop_and_start(N1);
    check(&lab, &low);
    lab.stop_and_start(N1);
    check(&lab, &low);
    lab.write(N1, "k", put("more"));
    check(&lab, &low);
    lab.crash(N1, 0);
    check(&lab, &low);
}

#[test]
fn a_log_that_is_cut_while_it_is_counted_is_counted_right() {
    let mut lab = Lab::with(1, Config { log_keep_bytes: 0, portion_rows: 3, ..config() });
    for n in 0..20 {
        lab.write(N1, "tags", add(&[&format!("m{n}")]));
    }
    for portions in 0..20 {
        let mut lab = lab.clone();
        lab.works = false;
        lab.crash(N1, 0);
        (0..portions).for_each(|_| lab.work_once(N1));
        lab.write(N1, "tags", add(&["more"]));
        lab.step(N1, Input::Members(BTreeSet::new()));
        lab.now_ms += 20_000;
        lab.step(N1, Input::Tick);
        lab.works = true;
        lab.work(N1);
        assert_eq!(lab.replica(N1).log_bytes(), Some(stored(&lab, N1)), "after {portions} portions");
    }
}

#[test]
fn after_a_repair_the_log_begins_where_it_ended_and_a_crash_forgets_nothing_of_it() {
    let (mut lab, _) = apart(config(), true);
    lab.reconnect(N1, N2);
    lab.exchange_all();
    let low = lab.replica(N2).low().clone();
    let of_n1 = OriginId(0x101);
    assert_eq!(low.at(of_n1), lab.replica(N1).vector().at(of_n1), "{low:?}");
    lab.crash(N2, 0);
    assert_eq!(lab.replica(N2).low(), &low);
    assert_eq!(lab.replica(N2).log_bytes(), Some(stored(&lab, N2)));
    settle(&mut lab);
    cut_log(&mut lab, N2);
    assert_eq!(lab.replica(N2).low(), lab.replica(N2).vector());
    lab.crash(N2, 0);
    assert_eq!(lab.replica(N2).low(), lab.replica(N2).vector());
}
