//! How trees are kept, counted and compared, and what they notice.

use crate::bench::{N1, N2, N3, apart, equal, has_said, lose_all, pass, settle, tell_members};
use meridian_core::node::{Config, Input, Operation, Output};
use meridian_core::replica::Standing;
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::Write;
use meridian_core::storage::{Batch, Space, Storage};
use meridian_core::types::Refusal;
use meridian_tests::lab::{Lab, SHARD, add, config, increment, put, remove};

fn is_quarantined(lab: &Lab, at: usize) -> bool {
    *lab.replica(at).standing() == Standing::Quarantined
}

/// So many nodes that hold the same, and know who the others are.
fn same(count: usize, config: Config) -> Lab {
    let mut lab = Lab::with(count, config);
    lab.write(N1, "name", put("older"));
    for n in 0..20 {
        lab.write(N1, &format!("r{n:02}"), put("text"));
        lab.write(N1, "tags", add(&[&format!("m{n}")]));
        lab.write(N1, "hits", increment(1));
    }
    lab.exchange();
    (0..count).for_each(|at| tell_members(&mut lab, at));
    lab
}

#[test]
fn replicas_that_have_applied_the_same_have_the_same_root_whatever_way_they_came() {
    let (mut by_rows, _) = apart(config(), true);
    let (mut by_log, _) = apart(config(), false);
    settle(&mut by_rows);
    settle(&mut by_log);
    assert_eq!(by_rows.root(N2), by_log.root(N2));
    assert_ne!(by_rows.root(N2), Some(0));
    by_rows.write(N2, "one", put("more"));
    assert_ne!(by_rows.root(N2), by_log.root(N2), "a row more is another root");
}

#[test]
fn a_tree_that_was_kept_is_there_at_once() {
    let mut lab = same(2, config());
    lab.works = false;
    let root = lab.root(N1);
    lab.stop_and_start(N1);
    assert!(!lab.members[N1].node.has_work(), "there is nothing to count");
    assert_eq!(lab.root(N1), root);
    lab.write(N1, "r00", put("other"));
    assert_ne!(lab.root(N1), root);
    lab.works = true;
    settle(&mut lab);
}

#[test]
fn a_tree_that_was_kept_is_not_taken_for_that_of_later_rows() {
    let mut lab = same(2, config());
    lab.stop_and_start(N1);
    lab.works = false;
    lab.write(N1, "r00", put("other"));
    let root = lab.root(N1);
    lab.crash(N1, 0);
    assert_eq!(lab.root(N1), None, "it is counted anew");
    lab.work(N1);
    assert_eq!(lab.root(N1), root);
}

#[test]
fn after_a_crash_all_is_counted_while_it_goes_on() {
    let lab = same(2, Config { portion_rows: 4, ..config() });
    let writes: [(&str, Write); 6] = [
        ("r00", put("an early row")),
        ("r19", put("a late row")),
        ("r05", Write::Delete),
        ("hits", increment(5)),
        ("tags", remove(&["m3", "m17"])),
        ("new", add(&["a"])),
    ];
    let mut until = 0;
    loop {
        let mut lab = lab.clone();
        lab.works = false;
        lab.crash(N1, 0);
        lab.step(N1, Input::PeerDown(meridian_tests::lab::node_id(N2)));
        assert_eq!(lab.root(N1), None, "a tree of some rows is none");
        (0..until).for_each(|_| lab.work_once(N1));
        let is_counting = lab.members[N1].node.has_work();
        for (key, write) in writes.clone() {
            lab.write(N1, key, write);
        }
        lab.works = true;
        lab.work(N1);
        settle(&mut lab);
        if !is_counting {
            break;
        }
        until += 1;
    }
    assert!(until > 10, "{until} portions");
}

// -- rows that are not those that were written ---------------------------------------------------------------------------

/// A disk hands out an older value of a row, whose checksum is right. (It forgot a write.)
fn forget_a_write(lab: &mut Lab, at: usize) {
    let row = |lab: &Lab| lab.rows(at, Space::Head).into_iter().find(|(row, _)| row.ends_with(b"name"));
    let (row_of_name, older) = row(lab).expect("it was written");
    lab.write(at, "name", put("newer"));
    assert_ne!(row(lab), Some((row_of_name.clone(), older.clone())));
    lab.exchange();
    let mut batch = Batch::default();
    batch.put(Space::Head, row_of_name, older);
    lab.members[at].disk.write(&batch).and_then(|()| lab.members[at].disk.sync()).expect("the disk works");
}

#[test]
fn a_row_that_is_older_than_what_was_written_is_found_when_all_are_read_again() {
    let mut lab = same(1, Config { portion_rows: 4, ..config() });
    let day_ms = config().deep_check_ms;
    lab.tick_all(1);
    lab.tick_all(day_ms);
    assert!(!is_quarantined(&lab, N1), "all is well: {:?}", lab.news);
    forget_a_write(&mut lab, N1);
    assert_eq!(lab.read(N1, "name", None), "older", "nothing is noticed when it is read");
    lab.tick_all(day_ms);
    assert!(has_said(&lab, N1, |news| matches!(news, Output::Quarantined { .. })));
    assert_eq!(lab.refused(N1, "name", Operation::Read(ReadRequest::default())), Refusal::Quarantined);
}

#[test]
fn a_reader_who_has_met_a_damaged_row_has_the_shard_read_again() {
    let mut lab = same(1, config());
    lab.step(N1, Input::Check { shard: SHARD });
    assert!(!is_quarantined(&lab, N1), "all is well: {:?}", lab.news);
    forget_a_write(&mut lab, N1);
    lab.step(N1, Input::Check { shard: SHARD });
    assert!(has_said(&lab, N1, |news| matches!(news, Output::Quarantined { .. })), "{:?}", lab.news);
}

#[test]
fn writes_while_all_are_read_again_are_no_damage() {
    let mut lab = same(1, Config { portion_rows: 4, ..config() });
    lab.tick_all(1);
    lab.works = false;
    lab.tick_all(config().deep_check_ms);
    let mut portions = 0;
    while lab.members[N1].node.has_work() {
        lab.one_turn(N1, Input::Work);
        lab.write(N1, &format!("r{portions:02}"), put("written meanwhile"));
        lab.write(N1, &format!("r{:02}", 19 - portions), Write::Delete);
        lab.write(N1, "hits", increment(1));
        portions += 1;
    }
    assert!(portions > 8, "{portions} portions");
    assert!(lab.news.is_empty(), "{:?}", lab.news);
}

/// One of so many nodes forgets a write and crashes, so that its tree is made of what it has; and half a minute passes.
fn diverged(count: usize) -> Lab {
    let mut lab = same(count, config());
    forget_a_write(&mut lab, N1);
    lab.crash(N1, 0);
    tell_members(&mut lab, N1);
    assert_eq!(lab.vector(N1), lab.vector(N2));
    assert_ne!(lab.root(N1), lab.root(N2));
    for _ in 0..30 {
        lab.tick_all(1_000);
        lab.exchange_all();
    }
    lab
}

#[test]
fn of_two_that_hold_something_else_nobody_is_right_and_it_is_said() {
    let lab = diverged(2);
    for (at, peer) in [(N1, N2), (N2, N1)] {
        let peer = meridian_tests::lab::node_id(peer);
        assert!(
            has_said(&lab, at, |news| *news == Output::Diverged { shard: SHARD, peer }),
            "{:?}",
            lab.news
        );
        assert!(!is_quarantined(&lab, at), "{:?}", lab.news);
    }
}

#[test]
fn of_three_the_one_that_holds_something_else_is_filled_anew() {
    let mut lab = diverged(3);
    assert_eq!([N1, N2, N3].map(|at| is_quarantined(&lab, at)), [true, false, false]);
    let origin = lab.fresh_origin();
    lab.step(N1, Input::Refill { shard: SHARD, origin });
    settle(&mut lab);
    lab.reads("name", ["newer"; 3]);
    assert!(has_said(&lab, N1, |news| matches!(news, Output::Refilled { lost: 0, .. })), "{:?}", lab.news);
}

#[test]
fn equal_roots_are_no_news() {
    let mut lab = same(3, config());
    for at in [N1, N2, N3] {
        lab.write(at, "name", put("concurrent"));
    }
    lose_all(&mut lab);
    pass(&mut lab, N2);
    settle(&mut lab);
    equal(&lab);
    assert!(lab.news.is_empty(), "{:?}", lab.news);
}
