//! Repair by hand: whoever cannot be helped by a peer's log is helped by its rows, and nothing goes wrong on the way.
//!
//! A node is *apart* when it was away while another changed much and cut its log. Whatever a repair brings it, its content
//! must be what the log would have brought: many tests make both, and compare them byte for byte.
//!
//! Here stands what a repair is for. Below it:
//! - `walk`: what it costs, and how fast it may go;
//! - `interrupted`: it breaks off at any step, or is told again what it was told before, or lies;
//! - `meanwhile`: what else arrives and is written while it goes on;
//! - `refill`: a replica with a damaged row; `alone`: one of which nobody else holds anything;
//! - `log`: how logs are cut;
//! - `trees`: how trees are kept, counted and compared.

mod alone;
mod bench;
mod interrupted;
mod log;
mod meanwhile;
mod refill;
mod trees;
mod walk;

use bench::{N1, N2, apart, asks, cut_log, equal, expected, lose_all, next_letter, repaired, settle};
use interrupted::{the_link_dies, the_receiver_crashes};
use meanwhile::the_source_writes;
use meridian_core::delta_log::Rest;
use meridian_core::message::Message;
use meridian_core::node::Config;
use meridian_core::planted::{Bug, Planted};
use meridian_core::repair::{Ask, Leaves};
use meridian_core::replica::write::Write;
use meridian_core::storage::Space;
use meridian_tests::lab::{Lab, add, config, increment, put, remove, reset};

#[test]
fn whoever_lacks_what_a_log_has_no_more_is_told_so_and_repairs() {
    let (mut lab, _) = apart(config(), true);
    lab.reconnect(N1, N2);
    let mut said = Vec::new();
    while let Some(letter) = next_letter(&mut lab) {
        said.push(letter.message());
        letter.deliver(&mut lab);
    }
    let is_told = |message: &Message| matches!(message, Message::Missing { rest: Rest::Truncated, .. });
    assert!(said.iter().any(is_told), "n1 says that its log does not reach back: {said:?}");
    let figures = repaired(&lab, N2);
    assert_eq!(figures.len(), 1, "n2 was repaired, once");
    assert!(figures[0].rows > 0 && figures[0].absent > 0 && figures[0].deltas > 0, "{figures:?}");
    settle(&mut lab);
    assert_eq!(lab.content(N1), expected(), "as if the log had brought it");
}

#[test]
fn a_repair_brings_nothing_back_and_takes_nothing_away_that_its_source_had_not_seen() {
    let mut lab = Lab::with(2, Config { log_keep_bytes: 0, ..config() });
    lab.write(N1, "deleted", put("a"));
    lab.write(N1, "deleted-by-both", put("a"));
    lab.write(N1, "overwritten", put("old"));
    lab.write(N1, "raced", put("old"));
    lab.write(N1, "tags", add(&["a", "b"]));
    lab.write(N1, "hits", increment(5));
    lab.exchange();
    for key in ["deleted", "deleted-by-both", "raced"] {
        lab.write(N1, key, Write::Delete);
    }
    lab.write(N1, "overwritten", put("new"));
    lab.write(N1, "tags", remove(&["a", "b"]));
    lab.write(N1, "hits", reset());
    lab.write(N2, "deleted-by-both", Write::Delete);
    lab.write(N2, "raced", put("concurrent"));
    lab.write(N2, "tags", add(&["b", "c"]));
    lab.write(N2, "hits", increment(2));
    lose_all(&mut lab);
    cut_log(&mut lab, N1);
    lab.reconnect(N1, N2);
    lab.exchange_all();
    assert_eq!(repaired(&lab, N2).len(), 1);
    settle(&mut lab);
    lab.reads("deleted", ["none"; 2]);
    lab.reads("deleted-by-both", ["none"; 2]);
    lab.reads("overwritten", ["new"; 2]);
    lab.reads("raced", ["concurrent"; 2]);
    lab.reads("tags", ["{b, c}"; 2]);
    lab.reads("hits", ["2"; 2]);
}

#[test]
fn what_a_repair_brought_is_sent_on_as_rows_and_what_came_later_as_deltas() {
    is_sent_on(interrupted::small(10_000));
}

fn is_sent_on(config: Config) {
    let (mut lab, _) = apart(config, true);
    lab.reconnect(N1, N2);
    lab.exchange_all();
    let low = lab.replica(N2).low().clone();
    let log = lab.rows(N2, Space::Log);
    assert!(
        !log.is_empty() && log.iter().all(|(row, _)| !low.covers(bench::log_dot(row))),
        "{low:?}: {log:?}"
    );
    lab.write(N2, "after", put("z"));
    lab.wipe(N1);
    settle(&mut lab);
    assert_eq!(lab.read(N1, "after", None), "z");
    assert_eq!(repaired(&lab, N1).len(), 1, "n1 starts with nothing, and no log reaches back so far");
}

/// Each planted bug must make a test fail.
#[test]
fn every_planted_bug_of_a_repair_is_seen() {
    let seen_by: [(Bug, fn(Config)); 9] = [
        (Bug::TruncationDenied, |config| assert!(the_link_dies(config) > 0)),
        (Bug::LeafSkipped, |config| assert!(the_link_dies(config) > 0)),
        (Bug::RepairRowLost, |config| assert!(the_link_dies(config) > 0)),
        (Bug::RepairPartlyInstalled, |config| assert!(the_link_dies(config) > 0)),
        (Bug::RepairJoinedEarly, |config| assert!(the_link_dies(config) > 0)),
        (Bug::RowMergedAlone, |config| assert!(the_receiver_crashes(config) > 0)),
        (Bug::RepairRowsNewer, the_source_writes),
        (Bug::RepairVectorNewer, the_source_writes),
        (Bug::LogHole, is_sent_on),
    ];
    for (bug, sees) in seen_by {
        let config = Config { planted: Planted::bug(bug), ..interrupted::small(10_000) };
        let seen = std::panic::catch_unwind(|| sees(config));
        assert!(seen.is_err(), "{bug:?}");
    }
}

#[test]
fn an_empty_replica_is_filled_with_rows_in_as_few_requests_as_they_fill_answers() {
    let pull_bytes_max = 1_000;
    for (writes, by_rows) in [(99, false), (100, true)] {
        let config = Config { repair_empty_min: 100, pull_bytes_max, ..config() };
        let mut lab = Lab::with(2, config);
        for n in 0..writes {
            lab.write(N1, &format!("k{n}"), put("value"));
        }
        lab.exchange_all();
        lab.wipe(N2);
        let mut said = Vec::new();
        while let Some(letter) = next_letter(&mut lab) {
            said.push(letter.message());
            letter.deliver(&mut lab);
        }
        equal(&lab);
        let pulls = said.iter().filter(|message| matches!(message, Message::Pull { .. })).count();
        let asks = asks(&said);
        if !by_rows {
            assert!(asks.is_empty() && pulls > 0, "{writes} deltas: the log will do");
            continue;
        }
        assert_eq!(pulls, 0, "the log is not asked for");
        let figures = repaired(&lab, N2)[0];
        assert_eq!((figures.rows, figures.absent), (100, 0));
        let answers = figures.row_bytes.div_ceil(pull_bytes_max as u64) as usize;
        let row_bytes = figures.row_bytes / figures.rows;
        assert!(answers > 3 && row_bytes < 60, "{figures:?}");
        assert!(matches!(asks[..2], [Ask::Open { .. }, Ask::Rows(Leaves::All)]), "{asks:?}");
        assert!(matches!(asks.last(), Some(Ask::Close)), "{asks:?}");
        let more = &asks[2..asks.len() - 1];
        assert!(more.iter().all(|ask| matches!(ask, Ask::More { .. })), "{more:?}");
        // An answer is full with the row that fills it.
        assert!((answers - 2..answers).contains(&more.len()), "{} of about {answers}", more.len());
        assert_eq!(figures.requests as usize, asks.len() - 1);
    }
}
