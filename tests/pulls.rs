//! Pulls: how what was lost on the way, or turned away, is asked for; by whom, of whom, how often, and when no more.

use meridian_core::codec::Encode;
use meridian_core::id::{NodeId, OriginId, ShardId};
use meridian_core::message::Message;
use meridian_core::node::{Config, Input, Node, Operation};
use meridian_core::storage::MemStorage;
use meridian_core::types::Refusal;
use meridian_core::version_vector::ORIGINS_MAX;
use meridian_tests::lab::{Lab, SHARD, add, config, increment, node_id, put};

const N1: usize = 0;
const N2: usize = 1;
const N3: usize = 2;

#[test]
fn a_pull_that_is_not_answered_is_made_again_and_goes_to_another_peer_too() {
    let mut lab = Lab::new(3);
    lab.write(N1, "k", put("a"));
    lab.carry(N1, N3);
    lab.take_messages(N2);
    lab.write(N1, "k", put("b"));
    lab.carry(N1, N2);
    assert_eq!(pulls_for(&mut lab, N1), 1, "n2 asks the author first");
    lab.tick_all(100);
    assert_eq!(pulls_for(&mut lab, N1) + pulls_for(&mut lab, N3), 0, "and waits for the answer");
    lab.tick_all(600);
    assert_eq!(
        (pulls_for(&mut lab, N1), pulls_for(&mut lab, N3)),
        (1, 1),
        "then it asks again, and another too"
    );
}

#[test]
fn an_answer_of_one_peer_does_not_stand_for_that_of_another() {
    let mut lab = Lab::new(3);
    lab.write(N1, "k", put("a"));
    lab.take_messages(N2);
    lab.take_messages(N3);
    lab.step(N3, Input::PeerUp(node_id(N2)));
    lab.step(N3, Input::PeerUp(node_id(N1)));
    lab.take_messages(N1);
    lab.carry(N3, N2);
    lab.carry(N2, N3);
    lab.tick_all(1_000);
    lab.exchange();
    assert_eq!(lab.read(N3, "k", None), "a", "n1's pull was lost, and n2 has nothing");
}

#[test]
fn what_was_turned_away_while_another_peer_is_asked_is_pulled_all_the_same() {
    let mut lab = Lab::with(3, Config { parked_bytes_max: 0, ..config() });
    lab.write(N3, "c", put("first"));
    lab.carry(N3, N1);
    lab.step(N2, Input::PeerUp(node_id(N3)));
    lab.write(N1, "k", put("second"));
    lab.carry(N1, N2);
    lab.exchange();
    assert_eq!((lab.read(N2, "c", None), lab.read(N2, "k", None)), ("first".into(), "second".into()));
}

#[test]
fn a_quarantined_replica_asks_nobody() {
    let mut lab = Lab::new(2);
    lab.write(N1, "tags", add(&["b"]));
    lab.exchange();
    lab.damage_cell(N1);
    assert_eq!(lab.refused(N1, "tags", Operation::Read { named: None }), Refusal::Quarantined);
    lab.step(N1, Input::PeerUp(node_id(N2)));
    lab.tick_all(1_000);
    assert_eq!(pulls_for(&mut lab, N2), 0);
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
    lab.step(N2, Input::PeerUp(node_id(N1)));
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
    lab.step(N2, Input::PeerUp(node_id(N1)));
    lab.carry(N2, N1);
    lab.carry(N1, N2);
    assert_eq!(lab.read(N2, "n3", None), "2", "the origin without room does not stand before the others");
}

#[test]
fn a_pull_from_a_peer_that_goes_down_is_made_again_at_the_next_tick() {
    let mut lab = Lab::new(3);
    lab.write(N1, "k", put("a"));
    lab.take_messages(N2);
    lab.write(N1, "k", put("b"));
    lab.carry(N1, N2);
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
    let have = meridian_core::version_vector::VersionVector::default();
    let messages = [
        Message::Pull { shard, have },
        Message::Fresh { shard, deltas: Vec::new() },
        Message::Missing { shard, deltas: Vec::new(), more: true },
    ];
    for message in messages {
        lab.step(N1, Input::Message { from: NodeId(99), message });
    }
    assert!(lab.take_messages(N2).is_empty());
}

// -- what the tests above share --------------------------------------------------------------------------------------

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
