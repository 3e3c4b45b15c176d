//! What a repair costs, by the formula, and how fast it may go.

use crate::bench::{
    N1, N2, N3, asks, cut_log, equal, lose_all, next_letter, next_letter_to, repaired, settle,
};
use meridian_core::id::ShardId;
use meridian_core::message::Message;
use meridian_core::name::ShardCount;
use meridian_core::node::{Config, Input, Output};
use meridian_core::repair::{Answer, Ask, Unwilling};
use meridian_tests::lab::{Lab, config, node_id, put};

const ROWS: usize = 20_000;

// -- the formula ---------------------------------------------------------------------------------------------------------

/// What it should take to find `d` of n rows that differ, in bytes: a root, the children's sums of each node above them on
/// three levels of fan-out 16, and what is named in the leaves.
fn formula(d: f64) -> f64 {
    const SUM_BYTES: f64 = 8.0;
    const ENTRY_BYTES: f64 = 12.0;
    const LEAVES: f64 = 4096.0;
    // How many of so many nodes have one of them below.
    let hit = |nodes: f64| nodes * (1.0 - (1.0 - 1.0 / nodes).powf(d));
    let levels: f64 = [1.0, 16.0, 256.0].map(|nodes| hit(nodes) * (3.0 + 16.0 * SUM_BYTES)).iter().sum();
    16.0 + levels + hit(LEAVES) * (3.0 + ROWS as f64 / LEAVES * ENTRY_BYTES)
}

#[test]
fn a_few_rows_among_many_are_found_in_five_requests_and_the_bytes_of_the_formula() {
    let mut lab = Lab::with(2, Config { log_keep_bytes: 0, ..config() });
    for n in 0..ROWS {
        lab.write(N1, &format!("key-{n:05}"), put("some value"));
        lab.carry(N1, N2);
    }
    lab.exchange_all();
    for d in [1, 10, 100] {
        for n in 0..d {
            lab.write(N1, &format!("key-{:05}", n * (ROWS / d)), put(&format!("value {d}")));
        }
        lose_all(&mut lab);
        cut_log(&mut lab, N1);
        lab.news.clear();
        lab.reconnect(N1, N2);
        let (mut said, mut bytes) = (Vec::new(), 0);
        while let Some(letter) = next_letter(&mut lab) {
            let message = letter.message();
            bytes += if message.is_repair() { letter.bytes.len() } else { 0 };
            said.push(message);
            letter.deliver(&mut lab);
        }
        equal(&lab);
        let figures = repaired(&lab, N2)[0];
        assert_eq!(
            (figures.rows, figures.absent),
            (d as u64, 0),
            "what differs is fetched, and nothing else"
        );
        let asks = asks(&said);
        let in_order = matches!(
            asks[..],
            [
                Ask::Open { .. },
                Ask::Walk { level: 1, .. },
                Ask::Walk { level: 2, .. },
                Ask::Rows(_),
                Ask::Close
            ]
        );
        assert!(in_order, "{asks:?}");
        let (found, formula) = (bytes as f64 - figures.row_bytes as f64, formula(d as f64));
        println!(
            "{d} of {ROWS} rows differ: {} requests, {found} bytes beside {} of rows; by the formula {formula:.0}",
            asks.len(),
            figures.row_bytes,
        );
        assert!(found <= 2.0 * formula, "{found} bytes, by the formula {formula:.0}");
    }
}

// -- how fast ------------------------------------------------------------------------------------------------------------

/// Nodes with so many shards whose n1 has written so many keys and cut its log. The others hold nothing; n2 has met nobody.
fn full(nodes: usize, shards: u16, keys: usize, config: Config) -> Lab {
    let shards = ShardCount::new(shards).expect("a power of two");
    let mut lab = Lab::with(nodes, Config { shards, log_keep_bytes: 0, repair_empty_min: 1, ..config });
    lab.step_ms = 0;
    for n in 0..keys {
        lab.write(N1, &format!("k{n}"), put("a value of some length"));
    }
    lose_all(&mut lab);
    let holds_some = |shard| !lab.members[N1].node.replica(shard).expect("it exists").vector().is_empty();
    assert!(shards.shards().all(holds_some), "some key lies in each shard");
    lab
}

fn is_equal(lab: &Lab, at: usize) -> bool {
    let vector = |at: usize, shard| Some(lab.members[at].node.replica(ShardId(shard))?.vector());
    (0..).map_while(|shard| Some((vector(N1, shard)?, vector(at, shard)?))).all(|(one, other)| one == other)
}

/// Bytes of rows in an answer.
fn row_bytes(message: &Message) -> u64 {
    match message {
        Message::Answer { answer: Answer::Rows { rows, .. }, .. } => {
            rows.iter().map(|row| (row.at.row.len() + row.canonical.len()) as u64).sum()
        }
        _ => 0,
    }
}

#[test]
fn repairs_fetch_no_more_in_a_second_than_they_may_and_not_much_less() {
    const PER_S: u64 = 10_000;
    const STEP_MS: u64 = 10;
    let config = Config { repair_bytes_per_s: PER_S, pull_bytes_max: 500, ..config() };
    let mut lab = full(2, 4, 1_000, config);
    lab.reconnect(N1, N2);
    let (mut fetched, begun_ms) = (0, lab.now_ms);
    while !is_equal(&lab, N2) {
        while let Some(letter) = next_letter(&mut lab) {
            fetched += row_bytes(&letter.message());
            letter.deliver(&mut lab);
        }
        let ms = lab.now_ms - begun_ms;
        // A quarter of a second's bytes may come at once, and of each of four shards one answer more.
        assert!(fetched <= PER_S * (ms + 250) / 1_000 + 4 * 600, "{fetched} bytes in {ms} ms");
        assert!(ms < 60_000, "{fetched} bytes in {ms} ms");
        lab.tick_all(STEP_MS);
    }
    let (ms, ideal_ms) = (lab.now_ms - begun_ms, fetched * 1_000 / PER_S);
    println!("{fetched} bytes at {PER_S} a second: {ms} ms for {ideal_ms}");
    assert!(ideal_ms > 2_000 && ms <= ideal_ms * 12 / 10, "{ms} ms for {ideal_ms}");
}

/// How many repairs of a node are under way.
fn open(said: &[Message], lab: &Lab, at: usize) -> usize {
    let opens =
        said.iter().filter(|message| matches!(message, Message::Ask { ask: Ask::Open { .. }, .. })).count();
    let ended = |news: &&(usize, Output)| {
        news.0 == at && matches!(news.1, Output::Repaired { .. } | Output::RepairAborted { .. })
    };
    opens - lab.news.iter().filter(ended).count()
}

#[test]
fn no_more_repairs_than_may_be_are_under_way_at_a_receiver() {
    for repairs_open_max in [1, 3] {
        let mut lab = full(2, 8, 200, Config { repairs_open_max, ..config() });
        lab.reconnect(N1, N2);
        let (mut said, mut most) = (Vec::new(), 0);
        for _ in 0..20 {
            while let Some(letter) = next_letter(&mut lab) {
                letter.deliver(&mut lab);
                said.push(letter.message());
                let under_way = (0..8).filter(|shard| {
                    lab.members[N2].node.replica(ShardId(*shard)).expect("there are eight").is_frozen()
                });
                most = most.max(under_way.count());
            }
            lab.tick_all(100);
        }
        assert_eq!(most, repairs_open_max);
        assert!(is_equal(&lab, N2), "and all are repaired in the end");
        assert_eq!(open(&said, &lab, N2), 0);
    }
}

#[test]
fn a_source_that_helps_as_many_as_it_can_says_so_and_is_asked_again_later() {
    let mut lab = full(3, 1, 200, Config { repairs_open_max: 1, pull_bytes_max: 1_000, ..config() });
    lab.reconnect(N1, N2);
    lab.reconnect(N1, N3);
    for at in [N2, N3] {
        lab.step(at, Input::PeerDown(node_id(if at == N2 { N3 } else { N2 })));
    }
    let (mut busy_at, mut asked_again_ms) = (None, None);
    for _ in 0..20 {
        // One message to each of them in turn, so that both ask at once.
        while let letters = [N2, N3, N1].map(|to| next_letter_to(&mut lab, to))
            && letters.iter().any(Option::is_some)
        {
            for letter in letters.into_iter().flatten() {
                match letter.message() {
                    Message::Answer { answer: Answer::Unwilling(why), .. } => {
                        assert_eq!(why, Unwilling::Busy);
                        busy_at.get_or_insert((letter.to, lab.now_ms));
                    }
                    Message::Ask { ask: Ask::Open { .. }, .. }
                        if busy_at.is_some_and(|(at, _)| at == letter.from) =>
                    {
                        asked_again_ms.get_or_insert(lab.now_ms);
                    }
                    _ => {}
                }
                letter.deliver(&mut lab);
            }
        }
        lab.tick_all(100);
    }
    let (turned_away, at_ms) = busy_at.expect("both ask at once");
    assert!(asked_again_ms.expect("it asks again") >= at_ms + config().pull_retry_ms);
    assert_eq!((repaired(&lab, N2).len(), repaired(&lab, N3).len()), (1, 1), "n{} last", turned_away + 1);
    let aborted = |news: &&(usize, Output)| matches!(news.1, Output::RepairAborted { .. });
    assert_eq!(lab.news.iter().filter(aborted).count(), 1);
    settle(&mut lab);
}
