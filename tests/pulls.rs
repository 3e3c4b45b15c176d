//! Announcements and pulls: how what was lost on the way, or turned away, is noticed and asked for; by whom, of whom, how
//! often, how much at a time, and when no more.
//!
//! This is one file because its rules are about one memory, and the tests share what brings it about.

use meridian_core::codec::Encode;
use meridian_core::delta_log::Rest;
use meridian_core::id::{NodeId, OriginId, ShardId};
use meridian_core::message::Message;
use meridian_core::name::ShardCount;
use meridian_core::node::{Config, Input, Node, Operation};
use meridian_core::replica::read::ReadRequest;
use meridian_core::storage::MemStorage;
use meridian_core::types::Refusal;
use meridian_core::version_vector::{ORIGINS_MAX, VersionVector};
use meridian_tests::lab::{Lab, SHARD, add, bucket, config, increment, key, node_id, put};
use std::collections::{BTreeSet, VecDeque};

const N1: usize = 0;
const N2: usize = 1;
const N3: usize = 2;

#[test]
fn a_pull_that_is_not_answered_is_made_again_and_goes_to_another_peer_too() {
    let mut lab = Lab::new(3);
    n2_hears_of_what_n1_and_n3_have(&mut lab);
    assert_eq!(pulls_for(&mut lab, N1), 1, "n2 asks whom it heard first");
    lab.tick_all(100);
    assert_eq!(pulls_for(&mut lab, N1) + pulls_for(&mut lab, N3), 0, "and waits for the answer");
    lab.tick_all(500);
    assert_eq!((pulls_for(&mut lab, N1), pulls_for(&mut lab, N3)), (0, 1), "then it asks another");
    lab.tick_all(600);
    assert_eq!((pulls_for(&mut lab, N1), pulls_for(&mut lab, N3)), (1, 0), "and then the first again");
}

#[test]
fn an_answer_of_one_peer_does_not_stand_for_that_of_another() {
    let mut lab = Lab::new(3);
    lab.write(N1, "k", put("a"));
    lab.carry(N1, N2);
    lab.write(N1, "k", put("b"));
    lose_all(&mut lab);
    lab.reconnect(N3, N2);
    lab.reconnect(N3, N1);
    lab.carry(N2, N3);
    lab.carry(N1, N3);
    assert_eq!(pulls_for(&mut lab, N1), 0, "n2 is asked, and nobody else at the same time");
    lab.carry(N3, N2);
    lab.carry(N2, N3);
    assert_eq!(lab.read(N3, "k", None), "a", "n2 has no more");
    lab.carry(N3, N1);
    lab.carry(N1, N3);
    assert_eq!(lab.read(N3, "k", None), "b");
}

#[test]
fn what_was_turned_away_while_another_peer_is_asked_is_pulled_all_the_same() {
    let mut lab = Lab::with(3, Config { parked_bytes_max: 0, ..config() });
    lab.write(N3, "c", put("first"));
    lab.carry(N3, N1);
    lose_all(&mut lab);
    lab.reconnect(N2, N3);
    lab.carry(N3, N2);
    lab.write(N1, "k", put("second"));
    lab.carry(N1, N2);
    lab.exchange();
    assert_eq!((lab.read(N2, "c", None), lab.read(N2, "k", None)), ("first".into(), "second".into()));
}

#[test]
fn a_quarantined_replica_asks_nobody_and_says_that_it_has_nothing() {
    let mut lab = Lab::new(2);
    lab.write(N1, "tags", add(&["b"]));
    lab.exchange();
    lab.damage_cell(N1);
    assert_eq!(lab.refused(N1, "tags", Operation::Read(ReadRequest::default())), Refusal::Quarantined);
    lab.write(N2, "tags", add(&["c"]));
    lab.reconnect(N1, N2);
    lab.carry(N2, N1);
    for _ in 0..200 {
        lab.tick_all(100);
        lab.carry(N2, N1);
    }
    let said = lab.take_messages(N2);
    assert!(!said.is_empty(), "that it has nothing is said again and again");
    for (_, bytes) in said {
        let said = Message::from_bytes(&bytes).expect("what a node says can be read");
        let nothing = matches!(&said, Message::Have { vector, root: None, .. } if vector.is_empty());
        assert!(nothing, "{said:?}");
    }
}

#[test]
fn one_whose_version_vector_is_full_is_not_sent_what_it_cannot_count() {
    let mut lab = Lab::with(3, Config { pull_bytes_max: 1, ..config() });
    for run in 0..ORIGINS_MAX as u64 - 2 {
        lab.restart(N1, OriginId(0x1000 + run)).unwrap();
        lose_all(&mut lab);
        lab.write(N1, "hits", increment(1));
    }
    lab.write(N3, "n3", put("1"));
    lab.carry(N3, N1);
    lose_all(&mut lab);
    lab.reconnect(N1, N2);
    lab.exchange_all();
    lab.write(N2, "n2", put("1"));
    lose_all(&mut lab);
    lab.restart(N1, OriginId(5)).unwrap();
    lose_all(&mut lab);
    lab.write(N1, "n1", put("1"));
    lab.write(N3, "n3", put("2"));
    lab.carry(N3, N1);
    lose_all(&mut lab);
    let len = |at: usize| lab.members[at].node.replica(SHARD).unwrap().vector().len();
    assert_eq!([len(N1), len(N2)], [ORIGINS_MAX, ORIGINS_MAX], "each has an origin that the other lacks");
    lab.reconnect(N1, N2);
    lab.carry(N1, N2);
    lab.carry(N2, N1);
    lab.carry(N1, N2);
    assert_eq!(lab.read(N2, "n3", None), "2", "the origin without room does not stand before the others");
}

#[test]
fn a_pull_from_a_peer_that_goes_down_goes_to_another_at_the_next_tick() {
    let mut lab = Lab::new(3);
    n2_hears_of_what_n1_and_n3_have(&mut lab);
    assert_eq!(pulls_for(&mut lab, N1), 1);
    lab.step(N2, Input::PeerDown(node_id(N1)));
    lab.tick_all(1);
    assert_eq!(pulls_for(&mut lab, N3), 1);
}

#[test]
fn what_is_missing_for_good_is_asked_for_no_more_often_than_the_bound() {
    let mut lab = Lab::new(2);
    lab.write(N1, "k", put("a"));
    lab.take_messages(N2);
    lab.write(N1, "k", put("b"));
    lab.carry(N1, N2);
    let wiped = MemStorage::default();
    lab.members[N1].node = Node::open(config(), &wiped, OriginId(7)).unwrap();
    lab.members[N1].disk = wiped;
    lab.exchange();
    let mut asked = 0;
    for _ in 0..100 {
        lab.tick_all(100);
        asked += pulls_for(&mut lab, N1);
        lab.exchange();
    }
    assert!((1..=20).contains(&asked), "{asked} questions in ten seconds");
}

#[test]
fn a_message_about_a_shard_that_does_not_exist_is_dropped() {
    let mut lab = Lab::new(2);
    let shard = ShardId(9);
    let have = VersionVector::default();
    let messages = [
        Message::Pull { shard, have: have.clone() },
        Message::Have { shard, vector: have, root: None },
        Message::Fresh { shard, deltas: Vec::new() },
        Message::Missing { shard, deltas: Vec::new(), rest: Rest::More },
    ];
    for message in messages {
        lab.step(N1, Input::Message { from: NodeId(99), message });
    }
    assert!(lab.take_messages(N2).is_empty());
}

// -- what is found without a new write -------------------------------------------------------------------------------

#[test]
fn the_last_delta_before_a_silence_is_found_though_it_was_lost() {
    let mut lab = in_step(2, config());
    lab.write(N1, "k", put("a"));
    tick(&mut lab, 10);
    lab.write(N1, "k", put("last"));
    lose_all(&mut lab);
    // It is announced after 500 ms, lacking for 250 ms then, and each is seen to at a tick.
    tick(&mut lab, 7);
    assert_eq!(lab.read(N2, "k", None), "a");
    tick(&mut lab, 2);
    assert_eq!(lab.read(N2, "k", None), "last");
}

#[test]
fn a_delta_that_only_a_third_node_has_is_found() {
    let mut lab = in_step(3, config());
    lab.write(N1, "k", put("a"));
    tick(&mut lab, 10);
    lab.write(N1, "k", put("only n3 gets it"));
    lab.carry(N1, N3);
    lose_all(&mut lab);
    for at in [N2, N3] {
        lab.step(at, Input::PeerDown(node_id(N1)));
    }
    tick(&mut lab, 9);
    assert_eq!(lab.read(N2, "k", None), "only n3 gets it");
}

#[test]
fn an_announcement_that_was_lost_is_made_again() {
    let mut lab = in_step(2, config());
    lab.write(N1, "k", put("a"));
    for _ in 0..10 {
        lab.tick_all(100);
        lose_all(&mut lab);
    }
    tick(&mut lab, 90);
    assert_eq!(lab.read(N2, "k", None), "a", "everything is announced once more within 10 s");
}

#[test]
fn what_is_on_its_way_when_it_is_announced_is_not_pulled() {
    let mut lab = in_step(2, config());
    lab.write(N1, "k", put("a"));
    tick(&mut lab, 10);
    lab.write(N1, "k", put("b"));
    let late = lab.take_messages(N2);
    tick(&mut lab, 7);
    lab.deliver(N2, late);
    for _ in 0..10 {
        lab.tick_all(100);
        assert_eq!(pulls_for(&mut lab, N1), 0, "it came before it had been lacking for 250 ms");
    }
}

#[test]
fn an_idle_cluster_says_little() {
    const SECONDS: usize = 60;
    let (mut lab, names) = full_shards(3);
    for name in &names {
        for at in 0..3 {
            lab.write(at, name, increment(1));
        }
        lab.exchange_all();
    }
    tick(&mut lab, 20);
    let mut bytes = [0; 3];
    for _ in 0..SECONDS * 10 {
        lab.tick_all(100);
        for to in 0..3 {
            for (from, message) in lab.take_messages(to) {
                bytes[from] += message.len();
                lab.deliver(to, vec![(from, message)]);
            }
        }
    }
    let per_second = bytes.map(|bytes| bytes / SECONDS);
    println!("256 shards, 3 nodes, idle: {per_second:?} bytes per second of each node");
    assert!(per_second.iter().all(|bytes| (1_000..=2_500).contains(bytes)), "{per_second:?}");
}

#[test]
fn a_gap_is_pulled_at_once_after_all_was_there() {
    let mut lab = in_step(2, config());
    lab.write(N1, "k", put("a"));
    let late = lab.take_messages(N2);
    lab.reconnect(N1, N2);
    lab.carry(N1, N2);
    lab.deliver(N2, late);
    lab.carry(N2, N1);
    lab.carry(N1, N2);
    lab.write(N1, "k", put("lost"));
    lose_all(&mut lab);
    lab.write(N1, "k", put("behind a gap"));
    lab.carry(N1, N2);
    assert_eq!(pulls_for(&mut lab, N1), 1, "the answer that brought nothing is no reason to wait");
}

// -- the window ------------------------------------------------------------------------------------------------------

#[test]
fn no_more_pulls_than_the_window_takes_are_open_and_everything_arrives() {
    let (mut lab, names) = full_shards(2);
    let twice: Vec<String> = names.iter().chain(&names).cloned().collect();
    n2_may_pull_all_from_n1(&mut lab, &twice);
    let mut open_most = 0;
    for _ in 0..10_000 {
        let messages = [N1, N2].map(|at| lab.take_messages(at));
        let open = messages.iter().flatten().filter(|(_, bytes)| is_of_a_pull(bytes)).count();
        open_most = open_most.max(open);
        for (at, mut messages) in [N1, N2].into_iter().zip(messages) {
            let next = messages.drain(..messages.len().min(1)).collect();
            lab.put_messages(at, messages);
            lab.deliver(at, next);
        }
    }
    assert_eq!(open_most, 8, "questions and answers that are on their way");
    assert_eq!(vectors(&lab, N2), vectors(&lab, N1));
}

#[test]
fn a_peer_that_never_answers_stops_no_pulls_of_others() {
    let (mut lab, names) = n2_lacks_what_others_have();
    lab.reconnect(N2, N1);
    lab.reconnect(N2, N3);
    lab.carry(N1, N2);
    assert_eq!(pulls_for(&mut lab, N1), 8, "n1 is asked first, and will not answer");
    for _ in 0..7 {
        lab.tick_all(100);
        for _ in 0..names.len() {
            lab.take_messages(N1);
            lab.carry(N3, N2);
            lab.carry(N2, N3);
        }
    }
    assert_eq!(vectors(&lab, N2), vectors(&lab, N3), "the first eight too, after 500 ms");
}

#[test]
fn a_peer_that_is_given_more_time_holds_up_no_shard_that_another_has() {
    let (mut lab, names) = n2_lacks_what_others_have();
    lab.reconnect(N2, N1);
    lab.carry(N1, N2);
    for _ in 0..35 {
        lab.take_messages(N1);
        lab.tick_all(100);
    }
    let held = pulled_shards(&lab.take_messages(N1));
    assert_eq!(held.len(), 1, "n1 has 4 s by now");
    lab.reconnect(N2, N3);
    for ms in (100..500).step_by(100) {
        lab.tick_all(100);
        for _ in 0..names.len() {
            lab.carry(N3, N2);
            let said = lab.take_messages(N3);
            assert!(!pulled_shards(&said).contains(&held[0]), "after {ms} ms n1 may still answer");
            lab.deliver(N3, said);
        }
    }
    assert_ne!(vectors(&lab, N2), vectors(&lab, N3));
    lab.tick_all(100);
    assert_eq!(pulled_shards(&lab.take_messages(N3)), held);
    assert_eq!(pulls_for(&mut lab, N1), 0, "which has its 4 s all the same");
}

#[test]
fn an_answer_that_was_lost_holds_no_place() {
    let (mut lab, names) = full_shards(2);
    n2_may_pull_all_from_n1(&mut lab, &names);
    assert_eq!(pulls_for(&mut lab, N1), 8);
    lab.tick_all(600);
    assert_eq!(pulls_for(&mut lab, N1), 4, "others have their turn, fewer at a time");
    lab.exchange_all();
    for _ in 0..20 {
        lab.tick_all(100);
        lab.exchange_all();
    }
    assert_eq!(vectors(&lab, N2), vectors(&lab, N1));
}

#[test]
fn a_mute_peer_is_given_more_time_and_fewer_places_and_both_are_taken_back_when_it_answers() {
    let (mut lab, names) = full_shards(2);
    let twice: Vec<String> = names.iter().chain(&names).cloned().collect();
    n2_may_pull_all_from_n1(&mut lab, &twice);
    for (wait_ms, places) in [(0, 8), (500, 4), (1_000, 2), (2_000, 1), (4_000, 1)] {
        if wait_ms > 0 {
            lab.tick_all(wait_ms - 100);
            assert_eq!(pulls_for(&mut lab, N1), 0, "it has {wait_ms} ms");
            lab.tick_all(100);
        }
        let pulls = lab.take_messages(N1);
        assert_eq!(pulls.iter().filter(|(_, bytes)| is_of_a_pull(bytes)).count(), places);
        if wait_ms == 4_000 {
            lab.put_messages(N1, pulls);
        }
    }
    let mut open = Vec::new();
    for _ in 0..5 {
        lab.carry(N2, N1);
        lab.carry(N1, N2);
        let pulls = lab.take_messages(N1);
        open.push(pulls.len());
        lab.put_messages(N1, pulls);
    }
    assert_eq!(open.last(), Some(&8), "{open:?}");
}

#[test]
fn what_one_peer_alone_has_is_asked_for_again_after_64_seconds_at_the_latest() {
    let mut lab = n2_asks_n1(config());
    assert_eq!(pulls_for(&mut lab, N1), 1);
    let mut waits_ms = Vec::new();
    while waits_ms.len() < 9 {
        let before_ms = lab.now_ms;
        while pulls_for(&mut lab, N1) == 0 {
            lab.tick_all(100);
        }
        waits_ms.push((lab.now_ms - before_ms) / 100 * 100);
        lose_all(&mut lab);
    }
    assert_eq!(waits_ms, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 64_000, 64_000]);
}

// -- the rules of when a pull ends, and of rest ----------------------------------------------------------------------

#[test]
fn answers_that_come_slowly_are_waited_for_and_no_pull_is_repeated() {
    let (mut lab, names) = full_shards(2);
    n2_may_pull_all_from_n1(&mut lab, &names);
    let (mut asked, mut answers) = (BTreeSet::new(), VecDeque::new());
    for ticks in 0..40 {
        let said = lab.take_messages(N1);
        for shard in pulled_shards(&said) {
            assert!(asked.insert(shard), "{shard:?} is asked for again");
        }
        lab.deliver(N1, said);
        answers.extend(lab.take_messages(N2).into_iter().filter(|(_, bytes)| is_of_a_pull(bytes)));
        if ticks % 4 == 3 {
            let answer = answers.pop_front().into_iter().collect();
            lab.deliver(N2, answer);
        }
        lab.tick_all(100);
    }
    assert_eq!(asked.len(), 8 + 9, "one more for each answer but the last, though the eighth took 3 s");
}

#[test]
fn an_answer_frees_the_shards_of_those_lost_before_it_and_they_rest() {
    let (mut lab, names) = full_shards(2);
    n2_may_pull_all_from_n1(&mut lab, &names);
    let pulls = lab.take_messages(N1);
    let lost = pulled_shards(&pulls)[0];
    lab.deliver(N1, pulls);
    let mut answers = lab.take_messages(N2);
    lab.deliver(N2, answers.drain(..2).skip(1).collect());
    let next = pulled_shards(&lab.take_messages(N1));
    assert_eq!((next.len(), next.contains(&lost)), (2, false), "its own place, and that of the lost one");
    for _ in 0..4 {
        lab.tick_all(100);
        lab.deliver(N2, answers.drain(..1).collect());
        assert!(!pulled_shards(&lab.take_messages(N1)).contains(&lost), "it rests");
    }
}

#[test]
fn what_a_peer_says_of_a_shard_that_rests_there_does_not_end_the_rest() {
    let mut lab = n2_asks_n1(config());
    assert_eq!(pulls_for(&mut lab, N1), 1);
    lab.tick_all(500);
    lab.write(N1, "k", put("b"));
    lab.carry(N1, N2);
    assert_eq!(pulls_for(&mut lab, N1), 0, "a gap, but the peer has just answered nothing for 500 ms");
    lab.tick_all(500);
    assert_eq!(pulls_for(&mut lab, N1), 1);
}

#[test]
fn a_shard_rests_after_an_answer_that_brought_nothing() {
    let mut lab = n2_asks_n1(config());
    assert_eq!(pulls_for(&mut lab, N1), 1);
    let nothing = Message::Missing { shard: SHARD, deltas: Vec::new(), rest: Rest::None };
    lab.deliver(N2, vec![(N1, nothing.to_bytes())]);
    lab.write(N1, "k", put("b"));
    lab.carry(N1, N2);
    for _ in 0..4 {
        lab.tick_all(100);
        assert_eq!(pulls_for(&mut lab, N1), 0, "it rests, whatever the peer says");
    }
    lab.tick_all(100);
    assert_eq!(pulls_for(&mut lab, N1), 1);
}

#[test]
fn what_a_peer_has_got_since_it_said_what_it_has_is_pulled_too() {
    let mut lab = n2_asks_n1(Config { pull_bytes_max: 1, ..config() });
    for text in ["b", "c"] {
        lab.write(N1, "k", put(text));
        lab.take_messages(N2);
    }
    lab.exchange_all();
    assert_eq!(lab.read(N2, "k", None), "c", "the answers said that there is more");
}

// -- what the tests above share --------------------------------------------------------------------------------------

/// Nodes whose time passes at ticks only.
fn in_step(count: usize, config: Config) -> Lab {
    let mut lab = Lab::with(count, config);
    lab.step_ms = 0;
    lab
}

/// So many ticks, 100 ms apart, and everything that is said arrives.
fn tick(lab: &mut Lab, ticks: usize) {
    for _ in 0..ticks {
        lab.tick_all(100);
        lab.exchange_all();
    }
}

/// Nodes with 256 shards, and a key in each shard.
fn full_shards(count: usize) -> (Lab, Vec<String>) {
    let shards = ShardCount::new(256).expect("a power of two");
    let name_in = |shard: ShardId| {
        let mut names = (0..).map(|n| format!("k{n}"));
        names.find(|name| shards.shard_of(&bucket(), &key(name)) == shard).expect("a key in each shard")
    };
    let names = shards.shards().map(name_in).collect();
    (in_step(count, Config { shards, ..config() }), names)
}

/// As [`full_shards`]; n1 has written to each, and n3 has that, and n2 has not.
fn n2_lacks_what_others_have() -> (Lab, Vec<String>) {
    let (mut lab, names) = full_shards(3);
    for name in &names {
        lab.write(N1, name, put("a"));
        lab.carry(N1, N3);
    }
    lose_all(&mut lab);
    (lab, names)
}

/// What a node has applied of all shards.
fn vectors(lab: &Lab, at: usize) -> Vec<VersionVector> {
    let replica = |shard| lab.members[at].node.replica(ShardId(shard));
    (0..).map_while(|shard| Some(replica(shard)?.vector().clone())).collect()
}

/// n1 and n3 have what n2 lacks. n2 hears so from n1, and then from n3.
fn n2_hears_of_what_n1_and_n3_have(lab: &mut Lab) {
    lab.write(N1, "k", put("a"));
    lab.carry(N1, N3);
    lose_all(lab);
    lab.reconnect(N1, N2);
    lab.reconnect(N3, N2);
    lab.carry(N1, N2);
    lab.carry(N3, N2);
}

/// n1 has written, n2 has heard so, and its pull is on its way.
fn n2_asks_n1(config: Config) -> Lab {
    let mut lab = in_step(2, config);
    n2_may_pull_all_from_n1(&mut lab, &["k".into()]);
    lab
}

/// n1 has written to all of these, and n2 has heard so, and nothing else.
fn n2_may_pull_all_from_n1(lab: &mut Lab, names: &[String]) {
    for name in names {
        lab.write(N1, name, put("a"));
    }
    lose_all(lab);
    lab.reconnect(N1, N2);
    lab.carry(N1, N2);
}

/// The shards that pulls among these messages ask for, in order.
fn pulled_shards(messages: &[(usize, Vec<u8>)]) -> Vec<ShardId> {
    let shard = |bytes: &[u8]| match Message::from_bytes(bytes) {
        Ok(Message::Pull { shard, .. }) => Some(shard),
        _ => None,
    };
    messages.iter().filter_map(|(_, bytes)| shard(bytes)).collect()
}

/// Whether a message is a pull or the answer to one.
fn is_of_a_pull(bytes: &[u8]) -> bool {
    matches!(Message::from_bytes(bytes), Ok(Message::Pull { .. } | Message::Missing { .. }))
}

/// Everything that is on its way gets lost.
fn lose_all(lab: &mut Lab) {
    for at in 0..lab.members.len() {
        lab.take_messages(at);
    }
}

/// How many pulls are on their way to a node; they get lost.
fn pulls_for(lab: &mut Lab, at: usize) -> usize {
    let messages = lab.take_messages(at);
    let is_pull = |bytes: &[u8]| matches!(Message::from_bytes(bytes), Ok(Message::Pull { .. }));
    messages.iter().filter(|(_, bytes)| is_pull(bytes)).count()
}
