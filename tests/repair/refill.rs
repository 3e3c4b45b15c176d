//! A replica with a damaged row: emptied, filled from peers, and in service again, whatever happens on the way.

use crate::bench::{
    Letters, N1, N2, N3, Rows, Step, equal, has_said, log_dot, lose_all, next_letter, next_step, pass,
    repaired, settle, take, tell_members,
};
use meridian_core::codec::Encode;
use meridian_core::delta_log::Rest;
use meridian_core::id::{Dot, OriginId};
use meridian_core::message::Message;
use meridian_core::node::{Config, Input, Operation, Output};
use meridian_core::replica::Standing;
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::Write;
use meridian_core::storage::Space;
use meridian_core::types::Refusal;
use meridian_tests::lab::{Lab, SHARD, add, config, increment, node_id, put};
use std::collections::BTreeMap;

/// Who made the deltas of n1 before a row of it was damaged.
const OLD: OriginId = OriginId(0x101);

fn cut() -> Config {
    Config { log_keep_bytes: 0, ..config() }
}

/// Three nodes. n1 has cut from its log what all have, unless it keeps that; of the rest it has told nobody what it made itself (two deltas, of
/// which the second builds on the first), n2 lacks what n3 has made, and of the last of that n1 has not heard either.
fn before_damage(config: Config) -> Lab {
    let is_cut = config.log_keep_bytes == 0;
    let mut lab = Lab::with(3, config);
    lab.step_ms = 0;
    for n in 0..12 {
        lab.write(n % 3, &format!("r{n:02}"), put("old"));
        lab.write(n % 3, "tags", add(&[&format!("m{n}")]));
        lab.write(n % 3, "hits", increment(1));
        lab.exchange();
    }
    (0..3).for_each(|at| tell_members(&mut lab, at));
    for _ in 0..20 {
        lab.tick_all(1_000);
        lab.exchange_all();
    }
    assert_eq!((lab.rows(N1, Space::Log).is_empty(), lab.replica(N1).low().is_empty()), (is_cut, !is_cut));
    for n in 0..6 {
        lab.write(N3, &format!("r{n:02}"), put("by n3"));
    }
    lab.write(N3, "r11", Write::Delete);
    lab.write(N3, "hits", increment(10));
    lab.carry(N3, N1);
    lose_all(&mut lab);
    lab.write(N1, "only-here", put("first"));
    lab.write(N1, "only-here", put("second"));
    for n in 6..9 {
        lab.write(N3, &format!("r{n:02}"), put("by n3 alone"));
    }
    lab.write(N3, "r10", Write::Delete);
    lab.write(N3, "tags", add(&["m0", "of-n3"]));
    lab.write(N3, "hits", increment(100));
    lose_all(&mut lab);
    lab
}

/// As [`before_damage`], and a row of n1 is damaged, which it notices.
fn damaged(config: Config) -> Lab {
    let mut lab = before_damage(config);
    lab.damage_cell(N1);
    notice(&mut lab);
    lab
}

pub(crate) fn notice(lab: &mut Lab) {
    for key in ["tags", "hits"] {
        lab.ask(N1, key, Operation::Read(ReadRequest::default()));
    }
    assert_eq!(*lab.replica(N1).standing(), Standing::Quarantined);
}

/// What all hold in the end if no row is damaged.
fn undamaged() -> Rows {
    let mut lab = before_damage(cut());
    settle(&mut lab);
    lab.content(N1)
}

pub(crate) fn refill(lab: &mut Lab) -> OriginId {
    let origin = lab.fresh_origin();
    lab.step(N1, Input::Refill { shard: SHARD, origin });
    origin
}

/// Every delta that is anywhere: no name has two.
fn check_dots(lab: &Lab, known: &mut BTreeMap<Dot, Vec<u8>>) {
    for at in 0..lab.members.len() {
        for (row, value) in lab.rows(at, Space::Log) {
            let delta = known.entry(log_dot(&row)).or_insert_with(|| value.clone());
            assert_eq!(*delta, value, "n{} has another {:?}", at + 1, log_dot(&row));
        }
    }
}

#[test]
fn a_damaged_replica_is_filled_again_and_hands_over_what_no_peer_had() {
    let mut lab = damaged(cut());
    assert_eq!(lab.refused(N1, "r00", Operation::Read(ReadRequest::default())), Refusal::Quarantined);
    let mut dots = BTreeMap::new();
    check_dots(&lab, &mut dots);
    lab.meet(N2);
    lab.meet(N3);
    lab.exchange_all();
    let origin = refill(&mut lab);
    lab.step(N1, Input::Tick);
    lab.exchange_all();
    assert!(has_said(&lab, N1, |news| *news == Output::Refilled { shard: SHARD, lost: 0 }), "{:?}", lab.news);
    settle(&mut lab);
    assert_eq!(lab.content(N1), undamaged());
    lab.reads("only-here", ["second"; 3]);
    assert_eq!(lab.replica(N1).author(), origin);
    let at_old = lab.replica(N1).vector().at(OLD);
    lab.write(N1, "after", put("a"));
    settle(&mut lab);
    let vector = lab.replica(N3).vector();
    assert_eq!((vector.at(OLD), vector.at(origin)), (at_old, 1), "under another name from then on");
    check_dots(&lab, &mut dots);
}

#[test]
fn nothing_is_emptied_while_no_peer_has_what_the_log_lacks() {
    let mut lab = before_damage(cut());
    // n2 starts anew on an empty disk, and has got only a little from n3 so far.
    lab.wipe(N2);
    lose_all(&mut lab);
    lab.write(N2, "something", put("a"));
    lose_all(&mut lab);
    lab.damage_cell(N1);
    notice(&mut lab);
    let rows = lab.rows(N1, Space::Head).len();
    let stays = |lab: &mut Lab, why: &str| {
        refill(lab);
        assert_eq!(*lab.replica(N1).standing(), Standing::Quarantined, "{why}");
        assert_eq!(lab.rows(N1, Space::Head).len(), rows, "{why}");
    };
    lab.step(N1, Input::PeerDown(node_id(N2)));
    lab.step(N1, Input::PeerDown(node_id(N3)));
    stays(&mut lab, "there is nobody");
    lab.reconnect(N1, N2);
    stays(&mut lab, "n2 has not said what it has");
    lab.carry(N2, N1);
    stays(&mut lab, "n2 lacks what is not in n1's log");
    lab.reconnect(N1, N3);
    lab.carry(N3, N1);
    lab.step(N1, Input::PeerDown(node_id(N3)));
    stays(&mut lab, "n3 has it and cannot be reached");
    lab.reconnect(N1, N3);
    lab.carry(N3, N1);
    lab.step(N1, Input::Refill { shard: SHARD, origin: OLD });
    stays_quarantined(&lab, "an origin that was used before is none");
    refill(&mut lab);
    stays_quarantined(&lab, "nothing is given up before all that n3 has is here");
    settle(&mut lab);
    lab.reads("only-here", ["second"; 3]);
}

pub(crate) fn stays_quarantined(lab: &Lab, why: &str) {
    assert_eq!(*lab.replica(N1).standing(), Standing::Quarantined, "{why}");
}

#[test]
fn a_sound_replica_is_not_emptied_whoever_asks() {
    let mut lab = before_damage(cut());
    settle(&mut lab);
    let author = lab.replica(N1).author();
    refill(&mut lab);
    assert!(!lab.replica(N1).is_out_of_service());
    assert_eq!(lab.replica(N1).author(), author);
    equal(&lab);
}

#[test]
fn own_deltas_that_cannot_be_read_any_more_are_counted_as_lost_and_their_names_stay_used() {
    let mut lab = damaged(cut());
    let last = lab.rows(N1, Space::Log).into_iter().rfind(|(row, _)| log_dot(row).origin == OLD);
    let (row, _) = last.expect("n1 has told nobody");
    lab.members[N1].disk.damage(Space::Log, &row, |value| value[0] ^= 1);
    lab.meet(N3);
    lab.exchange_all();
    let origin = refill(&mut lab);
    lab.exchange_all();
    settle(&mut lab);
    assert!(has_said(&lab, N1, |news| *news == Output::Unread { shard: SHARD, deltas: 1 }), "{:?}", lab.news);
    assert!(has_said(&lab, N1, |news| *news == Output::Refilled { shard: SHARD, lost: 1 }), "{:?}", lab.news);
    lab.reads("only-here", ["first"; 3]);
    lab.write(N1, "only-here", put("again"));
    settle(&mut lab);
    lab.reads("only-here", ["again"; 3]);
    let vector = lab.replica(N2).vector();
    assert_eq!((vector.at(OLD), vector.at(origin)), (log_dot(&row).seq - 1, 1));
}

// -- at each step --------------------------------------------------------------------------------------------------------

fn small(install_rows_max: usize) -> Config {
    Config { install_rows_max, pull_bytes_max: 300, portion_rows: 5, repair_known_max: 6, ..cut() }
}

/// n1 is emptied, and filled from n3. Before each step `interrupt` is given a copy, and what would be next.
fn at_each_step(config: Config, mut interrupt: impl FnMut(Lab, &Step)) {
    let mut lab = damaged(config);
    lab.works = false;
    lab.step(N1, Input::PeerDown(node_id(N2)));
    lab.meet(N3);
    while let Some(step) = next_step(&mut lab) {
        take(&mut lab, &step);
    }
    refill(&mut lab);
    // The second time, a repair begins.
    for _ in 0..2 {
        while let Some(step) = next_step(&mut lab) {
            interrupt(lab.clone(), &step);
            take(&mut lab, &step);
        }
        lab.step(N1, Input::Tick);
    }
    assert!(!lab.replica(N1).is_out_of_service(), "{:?}", lab.news);
    assert_eq!(repaired(&lab, N1).len(), 1);
    settle(&mut lab);
}

/// The shell of n1 does its part until it is in service.
pub(crate) fn revive(lab: &mut Lab) {
    lab.works = true;
    lab.unsynced = None;
    (0..3).for_each(|at| {
        lab.work(at);
        lab.meet(at);
    });
    for _ in 0..300 {
        lab.tick_all(100);
        lab.exchange_all();
        if *lab.replica(N1).standing() == Standing::Quarantined {
            refill(lab);
        }
        if !lab.replica(N1).is_out_of_service() && lab.root(N1).is_some() {
            break;
        }
    }
    settle(lab);
}

#[test]
fn a_crash_at_any_step_of_emptying_and_filling_is_made_up_for() {
    let undamaged = undamaged();
    for (install_rows_max, log_keep_bytes) in [(0, 0), (10_000, 0), (0, 1 << 20), (10_000, 1 << 20)] {
        let mut crashes = 0;
        at_each_step(Config { log_keep_bytes, ..small(install_rows_max) }, |mut lab, step| {
            let mut dots = BTreeMap::new();
            check_dots(&lab, &mut dots);
            lab.unsynced = Some(N1);
            take(&mut lab, step);
            lab.work(N1);
            for kept in 0..=lab.members[N1].disk.unsynced() {
                let mut lab = lab.clone();
                crashes += 1;
                lab.crash(N1, kept);
                revive(&mut lab);
                assert_eq!(lab.content(N1), undamaged, "{install_rows_max}, {kept} turns after {step:?}");
                lab.write(N1, "r07", put("written after"));
                lab.crash(N1, 1);
                settle(&mut lab);
                lab.reads("r07", ["written after"; 3]);
                check_dots(&lab, &mut dots.clone());
            }
        });
        assert!(crashes > 50, "{crashes} crashes");
    }
}

#[test]
fn a_source_that_goes_for_good_while_it_fills_another_leaves_nothing_that_only_it_had() {
    for crashes in [false, true] {
        for install_rows_max in [0, 10_000] {
            at_each_step(small(install_rows_max), |mut lab, step| {
                if lab.replica(N1).is_out_of_service() {
                    let when = format!("{install_rows_max}, crash {crashes}: {step:?}");
                    without_n3(&mut lab, crashes, &when);
                }
            });
        }
    }
}

/// n3 is gone with what only it had. n1 may go on with n2, and must then hold what n2 holds, where they have applied the same.
fn without_n3(lab: &mut Lab, crashes: bool, when: &str) {
    lab.works = true;
    if crashes {
        lab.crash(N1, 0);
    }
    for at in [N1, N2] {
        lab.step(at, Input::PeerDown(node_id(N3)));
    }
    lose_all(lab);
    lab.reconnect(N1, N2);
    for _ in 0..60 {
        for at in [N1, N2] {
            lab.now_ms += 100;
            lab.step(at, Input::Tick);
        }
        for _ in 0..20 {
            lab.carry(N1, N2);
            lab.carry(N2, N1);
        }
        lab.take_messages(N3);
        if *lab.replica(N1).standing() == Standing::Quarantined {
            refill(lab);
        }
    }
    assert!(!lab.replica(N1).is_out_of_service(), "{when}: {:?} {:?}", lab.replica(N1).standing(), lab.news);
    assert_eq!(lab.vector(N1), lab.vector(N2), "{when}");
    assert_eq!(lab.content(N1), lab.content(N2), "{when}");
    assert_eq!(lab.root(N1), lab.root(N2), "{when}");
    assert!(!has_said(lab, N1, |news| matches!(news, Output::Diverged { .. })), "{when}");
}

// -- the log -------------------------------------------------------------------------------------------------------------

#[test]
fn a_damaged_row_of_the_log_shortens_it_and_peers_repair() {
    let mut lab = Lab::new(2);
    for n in 1..=6 {
        lab.write(N1, &format!("k{n}"), put("a"));
    }
    lose_all(&mut lab);
    let (row, _) = lab.rows(N1, Space::Log).remove(2);
    lab.members[N1].disk.damage(Space::Log, &row, |value| value[0] ^= 1);
    lab.reconnect(N1, N2);
    let mut said: Letters = Vec::new();
    for _ in 0..20 {
        while let Some(letter) = next_letter(&mut lab) {
            said.push((letter.from, letter.bytes.clone()));
            letter.deliver(&mut lab);
        }
        lab.tick_all(100);
    }
    let unread = Output::Unread { shard: SHARD, deltas: 1 };
    assert_eq!(lab.news.iter().filter(|(_, news)| *news == unread).count(), 1, "it is said once");
    assert!(!has_said(&lab, N1, |news| matches!(news, Output::Quarantined { .. })), "the cells are whole");
    let left: Vec<Dot> = lab.rows(N1, Space::Log).iter().map(|(row, _)| log_dot(row)).collect();
    assert_eq!(left, [4, 5, 6].map(|seq| Dot::new(OLD, seq)), "and what lies behind it stays");
    let is_told = |bytes: &[u8]| {
        matches!(Message::from_bytes(bytes), Ok(Message::Missing { rest: Rest::Truncated, .. }))
    };
    assert!(said.iter().any(|(from, bytes)| *from == N1 && is_told(bytes)));
    assert_eq!(repaired(&lab, N2).len(), 1);
    equal(&lab);
    lab.crash(N1, 0);
    pass(&mut lab, N1);
    settle(&mut lab);
    assert_eq!(lab.replica(N1).low().at(OLD), 3, "a restart knows it");
}
