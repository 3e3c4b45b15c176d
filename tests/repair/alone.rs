//! A replica with a damaged row, and nobody else holds anything of its shard: all that there is, is its own log.

use crate::bench::{N1, N2, N3, has_said, lose_all, next_step, settle, take, tell_members};
use crate::refill::{notice, refill, revive, stays_quarantined};
use meridian_core::node::{Config, Input, Operation, Output};
use meridian_core::replica::Standing;
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::Write;
use meridian_core::storage::Space;
use meridian_tests::lab::{Lab, SHARD, add, config, increment, node_id, put};

/// Three nodes. Only n1 holds anything, and has told nobody; a row of it is damaged, which it notices.
fn alone_damaged(config: Config) -> Lab {
    let mut lab = Lab::with(3, config);
    lab.step_ms = 0;
    (0..3).for_each(|at| tell_members(&mut lab, at));
    for n in 0..12 {
        lab.write(N1, &format!("r{n:02}"), put("only here"));
    }
    lab.write(N1, "tags", add(&["a", "b"]));
    lab.write(N1, "hits", increment(3));
    lab.write(N1, "r11", Write::Delete);
    lose_all(&mut lab);
    lab.damage_cell(N1);
    notice(&mut lab);
    lab
}

/// What n1 held then.
fn held_alone(lab: &mut Lab) {
    settle(lab);
    for (key, value) in [("r00", "only here"), ("r11", "none"), ("tags", "{a, b}"), ("hits", "3")] {
        lab.reads(key, [value; 3]);
    }
}

#[test]
fn where_nobody_else_holds_anything_the_own_log_gives_all_back() {
    let mut lab = alone_damaged(config());
    let rows = lab.rows(N1, Space::Head).len();
    lab.exchange_all();
    lab.step(N1, Input::PeerDown(node_id(N2)));
    lab.step(N1, Input::PeerDown(node_id(N3)));
    refill(&mut lab);
    lab.step(N1, Input::Tick);
    stays_quarantined(&lab, "there is nobody");
    lab.reconnect(N1, N2);
    lab.step(N1, Input::PeerUp(node_id(N3)));
    for _ in 0..3 {
        lab.carry(N1, N2);
        lab.carry(N2, N1);
    }
    lab.step(N1, Input::Tick);
    stays_quarantined(&lab, "n3 may have something, and has not said so");
    assert_eq!(lab.rows(N1, Space::Head).len(), rows);
    lab.step(N3, Input::PeerUp(node_id(N1)));
    lab.carry(N1, N3);
    lab.carry(N3, N1);
    lab.exchange_all();
    assert!(has_said(&lab, N1, |news| *news == Output::Refilled { shard: SHARD, lost: 0 }), "{:?}", lab.news);
    held_alone(&mut lab);
}

#[test]
fn what_an_empty_peer_says_of_itself_is_asked_for_again_when_it_is_lost() {
    let mut lab = alone_damaged(config());
    refill(&mut lab);
    lose_all(&mut lab);
    pass_for_all(&mut lab);
    assert!(!lab.replica(N1).is_out_of_service(), "it announces itself, and is answered");
    held_alone(&mut lab);
}

#[test]
fn a_peer_that_holds_something_comes_before_those_that_hold_nothing() {
    let mut lab = alone_damaged(config());
    lab.write(N3, "of-n3", put("a"));
    lab.take_messages(N2);
    refill(&mut lab);
    settle(&mut lab);
    let from: Vec<_> = lab
        .news
        .iter()
        .filter_map(|(at, news)| match news {
            Output::Repaired { from, .. } if *at == N1 => Some(*from),
            _ => None,
        })
        .collect();
    assert_eq!(from, [node_id(N3)]);
    held_alone(&mut lab);
}

#[test]
fn an_empty_peer_is_no_source_where_the_log_is_known_not_to_reach_back() {
    let mut lab = Lab::with(3, config());
    lab.write(N1, "tags", add(&["a"]));
    lab.write(N1, "hits", increment(1));
    lose_all(&mut lab);
    let (row, _) = lab.rows(N1, Space::Log).remove(0);
    lab.members[N1].disk.damage(Space::Log, &row, |value| value[0] ^= 1);
    // n2 pulls, and n1 meets the damaged delta while its cells are whole.
    lab.reconnect(N1, N2);
    lab.carry(N1, N2);
    lab.carry(N2, N1);
    lose_all(&mut lab);
    assert!(!lab.replica(N1).low().is_empty(), "{:?}", lab.news);
    lab.damage_cell(N1);
    notice(&mut lab);
    refill(&mut lab);
    pass_for_all(&mut lab);
    stays_quarantined(&lab, "nobody has what the log lacks");
}

#[test]
fn what_cannot_be_read_of_the_own_log_is_counted_and_the_rest_comes_back() {
    let mut lab = alone_damaged(config());
    let (row, _) = lab.rows(N1, Space::Log).remove(2);
    lab.members[N1].disk.damage(Space::Log, &row, |value| value[0] ^= 1);
    refill(&mut lab);
    pass_for_all(&mut lab);
    assert!(has_said(&lab, N1, |news| *news == Output::Unread { shard: SHARD, deltas: 1 }), "{:?}", lab.news);
    // Fifteen were made, two lie before the damaged one.
    assert!(
        has_said(&lab, N1, |news| *news == Output::Refilled { shard: SHARD, lost: 13 }),
        "{:?}",
        lab.news
    );
    lab.reads("r01", ["only here"; 3]);
    lab.reads("r02", ["none"; 3]);
    assert!(!lab.rows(N1, Space::Stage).is_empty(), "what lies behind it waits for a peer that has it");
}

/// Time passes until all that can be told is told.
fn pass_for_all(lab: &mut Lab) {
    for _ in 0..30 {
        lab.tick_all(1_000);
        lab.exchange_all();
    }
}

#[test]
fn two_damaged_replicas_fill_each_other_by_way_of_one_that_holds_nothing_and_never_without() {
    let both = |has_third: bool| {
        let mut lab = alone_damaged(config());
        lab.write(N2, "tags", add(&["by n2"]));
        lose_all(&mut lab);
        lab.damage_cell(N2);
        lab.ask(N2, "tags", Operation::Read(ReadRequest::default()));
        assert_eq!(*lab.replica(N2).standing(), Standing::Quarantined);
        for at in [N1, N2].into_iter().filter(|_| !has_third) {
            lab.step(at, Input::PeerDown(node_id(N3)));
            lab.step(N3, Input::PeerDown(node_id(at)));
        }
        for _ in 0..60 {
            for at in [N1, N2] {
                let origin = lab.fresh_origin();
                lab.step(at, Input::Refill { shard: SHARD, origin });
            }
            lab.tick_all(500);
            lab.exchange_all();
        }
        lab
    };
    let apart = both(false);
    for at in [N1, N2] {
        assert_eq!(*apart.replica(at).standing(), Standing::Quarantined);
        assert!(!apart.rows(at, Space::Cell).is_empty(), "nothing is given up");
    }
    let mut lab = both(true);
    settle(&mut lab);
    lab.reads("r00", ["only here"; 3]);
    lab.reads("tags", ["{a, b, by n2}"; 3]);
}

#[test]
fn a_crash_at_any_step_of_filling_from_the_own_log_alone_is_made_up_for() {
    let mut crashes = 0;
    let mut lab = alone_damaged(Config { portion_rows: 4, ..config() });
    lab.works = false;
    lab.meet(N1);
    refill(&mut lab);
    while lab.replica(N1).is_out_of_service() {
        let Some(step) = next_step(&mut lab) else {
            lab.tick_all(500);
            continue;
        };
        let mut crashed = lab.clone();
        crashed.unsynced = Some(N1);
        take(&mut crashed, &step);
        crashed.work(N1);
        for kept in 0..=crashed.members[N1].disk.unsynced() {
            let mut crashed = crashed.clone();
            crashes += 1;
            crashed.crash(N1, kept);
            revive(&mut crashed);
            held_alone(&mut crashed);
        }
        take(&mut lab, &step);
    }
    assert!(crashes > 30, "{crashes} crashes");
    held_alone(&mut lab);
}
