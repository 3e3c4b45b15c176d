//! Every example of `docs/consistency.md`, played on real nodes: one test for each, and the page names it.
//!
//! A row of the page's tables is a call here. What a key reads as is written as in the page: a register's text, a
//! counter's number, a set's members in braces, `none` where there is no such key, or the refusal in words.
//!
//! Messages travel as bytes. Nothing is delivered before a test says so, and after every exchange equal version
//! vectors must mean equal content.
//!
//! This is one file because the page is one page: the last test holds their order equal.

use meridian_core::cell::Type;
use meridian_core::codec::Encode;
use meridian_core::id::{OriginId, RequestId};
use meridian_core::message::Message;
use meridian_core::node::{Input, Now, OpenError, Operation, Output, Reply, Request};
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::{Write, Written};
use meridian_core::storage::{Space, Storage};
use meridian_core::types::{Refusal, Value};
use meridian_core::version_vector::VersionVector;
use meridian_tests::lab::{
    Lab, Participant, SHARD, add, bucket, clear, increment, key, put, remove, reset, write_of,
};

const N1: usize = 0;
const N2: usize = 1;
const N3: usize = 2;

// -- what holds for every type -------------------------------------------------------------------------------------

#[test]
fn replicas_that_have_exchanged_their_deltas_hold_the_same() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "name", put("ada"));
    nodes.write(N2, "visits", increment(5));
    nodes.reads("name", ["ada", "none"]);
    nodes.reads("visits", ["none", "5"]);
    nodes.exchange();
    nodes.reads("name", ["ada", "ada"]);
    nodes.reads("visits", ["5", "5"]);
    assert_eq!(nodes.vector(N1), nodes.vector(N2));
    assert_eq!(nodes.content(N1), nodes.content(N2));
}

#[test]
fn a_delta_waits_for_the_earlier_ones_of_its_node() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    let first = nodes.take_messages(N2);
    nodes.write(N1, "tags", add(&["opera"]));
    nodes.carry(N1, N2);
    nodes.reads("tags", ["{jazz, opera}", "none"]);
    nodes.put_messages(N2, first);
    nodes.carry(N1, N2);
    nodes.reads("tags", ["{jazz, opera}", "{jazz, opera}"]);
}

#[test]
fn a_delta_waits_for_what_its_author_had_seen() {
    let mut nodes = Lab::new(3);
    nodes.write(N1, "question", put("tea?"));
    nodes.carry(N1, N2);
    nodes.write(N2, "answer", put("yes"));
    nodes.carry(N2, N3);
    nodes.reads("question", ["tea?", "tea?", "none"]);
    nodes.reads("answer", ["none", "yes", "none"]);
    nodes.carry(N1, N3);
    nodes.reads("question", ["tea?", "tea?", "tea?"]);
    nodes.reads("answer", ["none", "yes", "yes"]);
}

#[test]
fn a_delta_that_arrives_again_changes_nothing() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    let sent = nodes.take_messages(N2);
    nodes.put_messages(N2, sent.clone());
    nodes.write(N1, "tags", remove(&["jazz"]));
    nodes.exchange();
    nodes.put_messages(N2, sent);
    nodes.exchange();
    nodes.reads("tags", ["{}", "{}"]);
}

#[test]
fn a_lost_delta_is_asked_for_when_a_later_one_arrives() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "visits", increment(5));
    nodes.take_messages(N2);
    nodes.exchange();
    nodes.reads("visits", ["5", "none"]);
    nodes.write(N1, "visits", increment(1));
    nodes.exchange();
    nodes.reads("visits", ["6", "6"]);
}

#[test]
fn a_lost_last_delta_is_asked_for_when_the_peer_comes_up_again() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "visits", increment(5));
    nodes.take_messages(N2);
    nodes.exchange();
    nodes.reads("visits", ["5", "none"]);
    nodes.reconnect(N1, N2);
    nodes.exchange();
    nodes.reads("visits", ["5", "5"]);
}

#[test]
fn requests_of_one_turn_see_each_other_and_their_answers_leave_together() {
    let mut nodes = Lab::new(1);
    let Participant { node, disk, .. } = &mut nodes.members[N1];
    let read = Operation::Read(ReadRequest::default());
    for (id, operation) in [(1, write_of(increment(5), None, None)), (2, read)] {
        let request = Request { bucket: bucket(), key: key("visits"), operation };
        let input = Input::Request { id: RequestId(id), request };
        node.step(Now::default(), disk, input).expect("the disk works");
    }
    let turn = node.end_turn();
    let [Output::Reply { .. }, Output::Reply { id, reply: Reply::Read(found) }] = &turn.outputs[..] else {
        panic!("two requests, two replies: {:?}", turn.outputs);
    };
    assert_eq!((*id, &found.value), (RequestId(2), &Some(Value::Counter(5))));
    assert!(!turn.batch.is_empty() && disk.rows(Space::Log).count() == 0, "nothing is written yet");
}

#[test]
fn a_crash_before_the_sync_takes_the_write_and_its_answer_together() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "name", put("ada"));
    let request = Request { bucket: bucket(), key: key("name"), operation: write_of(put("eve"), None, None) };
    let member = &mut nodes.members[N1];
    let (now, input) = (Now::default(), Input::Request { id: RequestId(1), request });
    member.node.step(now, &member.disk, input).expect("the disk works");
    let never_delivered = member.node.end_turn();
    member.disk.write(&never_delivered.batch).expect("the disk works");
    member.disk.crash(0);
    nodes.restart(N1, OriginId(0x201)).expect("a crash keeps whole batches");
    nodes.exchange();
    nodes.reads("name", ["ada", "ada"]);
}

#[test]
fn an_answered_write_outlives_a_crash_and_reaches_the_peers() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "name", put("ada"));
    nodes.take_messages(N2);
    nodes.members[N1].disk.crash(0);
    nodes.restart(N1, OriginId(0x201)).expect("what was answered is durable");
    nodes.reads("name", ["ada", "none"]);
    nodes.exchange();
    nodes.reads("name", ["ada", "ada"]);
}

#[test]
fn a_run_under_an_origin_that_the_disk_knows_is_refused() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "name", put("ada"));
    let again = nodes.members[N1].node.origin();
    assert_eq!(nodes.restart(N1, again).err(), Some(OpenError::OriginUsed(again)));
}

#[test]
fn a_damaged_row_is_neither_served_nor_sent_nor_taken_for_absence() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "name", put("ada"));
    nodes.exchange();
    let row = nodes.members[N1].disk.rows(Space::Head).next().expect("a head").0.to_vec();
    nodes.members[N1].disk.damage(Space::Head, &row, |value| value[3] ^= 1);
    nodes.write(N2, "name", put("eve"));
    nodes.exchange();
    nodes.reads(
        "name",
        ["this replica is out of service: a row of it is damaged, or it is being repaired", "eve"],
    );
    assert_eq!(nodes.refused(N1, "other", write_of(put("x"), None, None)), Refusal::Quarantined);
    nodes.reconnect(N1, N2);
    nodes.carry(N2, N1);
    let nothing = Message::Have { shard: SHARD, vector: VersionVector::default(), root: None };
    let said = nodes.take_messages(N2);
    assert!(said.iter().all(|(_, bytes)| *bytes == nothing.to_bytes()), "it says that it has nothing");
    nodes.step(N1, Input::Refill { shard: SHARD, origin: OriginId(0x201) });
    nodes.exchange();
    nodes.reads("name", ["eve", "eve"]);
}

// -- the register --------------------------------------------------------------------------------------------------

#[test]
fn of_two_concurrent_puts_the_higher_stamp_is_read() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "name", put("ada"));
    nodes.write(N2, "name", put("eve"));
    nodes.reads("name", ["ada", "eve"]);
    nodes.exchange();
    nodes.reads("name", ["eve", "eve"]);
}

#[test]
fn of_two_equal_stamps_the_greater_origin_is_read() {
    let mut nodes = Lab::new(2);
    nodes.step_ms = 0;
    nodes.write(N2, "name", put("eve"));
    nodes.write(N1, "name", put("ada"));
    assert_eq!(nodes.clock(N1), nodes.clock(N2));
    nodes.exchange();
    nodes.reads("name", ["eve", "eve"]);
}

#[test]
fn a_put_that_saw_another_replaces_it_whatever_the_clocks_say() {
    let mut nodes = Lab::new(2);
    nodes.set_ahead(N1, 600_000);
    nodes.write(N1, "name", put("ada"));
    nodes.exchange();
    nodes.write(N2, "name", put("eve"));
    nodes.reads("name", ["ada", "eve"]);
    nodes.exchange();
    nodes.reads("name", ["eve", "eve"]);
}

#[test]
fn a_put_outlives_a_concurrent_delete() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "name", put("ada"));
    nodes.exchange();
    nodes.write(N1, "name", put("eve"));
    nodes.write(N2, "name", Write::Delete);
    nodes.reads("name", ["eve", "none"]);
    nodes.exchange();
    nodes.reads("name", ["eve", "eve"]);
}

#[test]
fn a_delete_takes_away_every_put_that_its_replica_saw() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "name", put("ada"));
    nodes.write(N2, "name", put("eve"));
    nodes.exchange();
    nodes.write(N1, "name", Write::Delete);
    nodes.reads("name", ["none", "eve"]);
    nodes.exchange();
    nodes.reads("name", ["none", "none"]);
}

#[test]
fn a_losing_put_shows_after_a_delete_that_had_not_seen_it() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "name", put("ada"));
    nodes.write(N2, "name", put("eve"));
    nodes.write(N2, "name", Write::Delete);
    nodes.reads("name", ["ada", "none"]);
    nodes.exchange();
    nodes.reads("name", ["ada", "ada"]);
}

#[test]
fn a_loser_shows_again_when_the_winner_alone_is_killed() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "name", put("ada"));
    nodes.write(N2, "name", put("eve"));
    nodes.carry(N2, N1);
    nodes.reads("name", ["eve", "eve"]);
    let lost_on_the_way = nodes.take_messages(N2);
    nodes.write(N2, "name", Write::Delete);
    nodes.reads("name", ["eve", "none"]);
    nodes.put_messages(N2, lost_on_the_way);
    nodes.exchange();
    nodes.reads("name", ["ada", "ada"]);
}

#[test]
fn a_delete_with_a_context_leaves_what_its_client_had_not_seen() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "name", put("ada"));
    let seen = nodes.context(N1, "name");
    nodes.write(N1, "name", put("eve"));
    nodes.exchange();
    nodes.write_seen(N2, "name", Write::Delete, &seen);
    nodes.exchange();
    nodes.reads("name", ["eve", "eve"]);
}

#[test]
fn a_put_with_a_context_is_read_and_keeps_what_its_client_had_not_seen() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "name", put("ada"));
    let seen = nodes.context(N1, "name");
    nodes.write(N1, "name", put("eve"));
    nodes.exchange();
    nodes.write_seen(N2, "name", put("joy"), &seen);
    nodes.reads("name", ["eve", "joy"]);
    nodes.exchange();
    nodes.reads("name", ["joy", "joy"]);
    assert_eq!(nodes.siblings(N1), ["eve", "joy"]);
    nodes.write(N1, "name", Write::Delete);
    nodes.exchange();
    nodes.reads("name", ["none", "none"]);
}

// -- clocks --------------------------------------------------------------------------------------------------------

#[test]
fn of_concurrent_puts_the_clock_that_is_ahead_wins() {
    let mut nodes = Lab::new(2);
    nodes.set_ahead(N1, 1_000);
    nodes.write(N1, "name", put("ada"));
    nodes.write(N2, "name", put("eve"));
    nodes.reads("name", ["ada", "eve"]);
    nodes.exchange();
    nodes.reads("name", ["ada", "ada"]);
}

#[test]
fn a_remote_stamp_raises_a_clock_to_two_seconds_ahead_at_most() {
    let mut nodes = Lab::new(2);
    nodes.set_ahead(N1, 86_400_000);
    nodes.write(N1, "name", put("ada"));
    nodes.exchange();
    assert!(nodes.clock(N1).ms() >= 86_400_000);
    let ahead_ms = nodes.clock(N2).ms() - nodes.now_ms;
    assert!((1_900..=2_000).contains(&ahead_ms), "{ahead_ms}");
}

#[test]
fn a_poisoned_stamp_stays_in_its_key() {
    let mut nodes = Lab::new(2);
    nodes.set_ahead(N1, 86_400_000);
    nodes.write(N1, "name", put("ada"));
    nodes.exchange();
    nodes.set_ahead(N1, 0);
    nodes.write(N2, "name", put("eve"));
    nodes.write(N2, "other", put("joy"));
    assert!(nodes.clock(N2).ms() <= nodes.now_ms + 2_000, "writing over the poison did not raise the clock");
    nodes.exchange();
    nodes.reads("name", ["eve", "eve"]);
    nodes.reads("other", ["joy", "joy"]);
}

// -- the counter ---------------------------------------------------------------------------------------------------

#[test]
fn concurrent_increments_add_up() {
    let mut nodes = Lab::new(2);
    assert_eq!(nodes.write(N1, "visits", increment(5)), Written::Counter(5));
    assert_eq!(nodes.write(N2, "visits", increment(-2)), Written::Counter(-2));
    nodes.reads("visits", ["5", "-2"]);
    nodes.exchange();
    nodes.reads("visits", ["3", "3"]);
}

#[test]
fn an_increment_outlives_a_concurrent_reset() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "visits", increment(10));
    nodes.exchange();
    nodes.write(N1, "visits", reset());
    nodes.write(N2, "visits", increment(3));
    nodes.reads("visits", ["0", "13"]);
    nodes.exchange();
    nodes.reads("visits", ["3", "3"]);
}

#[test]
fn an_increment_outlives_a_concurrent_reset_that_saw_its_nodes_earlier_ones() {
    let mut nodes = Lab::new(2);
    nodes.write(N2, "visits", increment(10));
    nodes.exchange();
    nodes.write(N1, "visits", reset());
    nodes.write(N2, "visits", increment(3));
    nodes.reads("visits", ["0", "13"]);
    nodes.exchange();
    nodes.reads("visits", ["3", "3"]);
}

#[test]
fn two_concurrent_resets_take_away_once() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "visits", increment(10));
    nodes.exchange();
    nodes.write(N1, "visits", reset());
    nodes.write(N2, "visits", reset());
    nodes.write(N2, "visits", increment(1));
    nodes.reads("visits", ["0", "1"]);
    nodes.exchange();
    nodes.reads("visits", ["1", "1"]);
}

#[test]
fn a_reset_with_a_context_leaves_what_its_client_had_not_seen() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "visits", increment(10));
    let seen = nodes.context(N1, "visits");
    nodes.write(N1, "visits", increment(3));
    nodes.exchange();
    nodes.write_seen(N2, "visits", reset(), &seen);
    nodes.reads("visits", ["13", "3"]);
    nodes.exchange();
    nodes.reads("visits", ["3", "3"]);
}

#[test]
fn a_counter_whose_delete_raced_with_an_increment_exists() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "visits", increment(10));
    nodes.exchange();
    nodes.write(N1, "visits", Write::Delete);
    nodes.write(N2, "visits", increment(3));
    nodes.reads("visits", ["none", "13"]);
    nodes.exchange();
    nodes.reads("visits", ["3", "3"]);
    assert_eq!(nodes.members[N1].disk.rows(Space::Head).count(), 0, "it has no head");
    nodes.write(N1, "visits", increment(1));
    assert_eq!(nodes.members[N1].disk.rows(Space::Head).count(), 1, "the next write put it back");
    nodes.exchange();
    nodes.reads("visits", ["4", "4"]);
}

#[test]
fn concurrent_increments_may_leave_64_bits_and_no_request_can() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "visits", increment(i64::MAX));
    nodes.write(N2, "visits", increment(1));
    nodes.exchange();
    nodes.reads("visits", ["9223372036854775808", "9223372036854775808"]);
    assert_eq!(nodes.refused(N1, "visits", write_of(increment(1), None, None)), Refusal::CounterOverflow);
    nodes.write(N1, "visits", increment(-1));
    nodes.exchange();
    nodes.reads("visits", ["9223372036854775807", "9223372036854775807"]);
}

#[test]
fn a_reset_counter_reads_zero_until_it_is_deleted() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "visits", increment(10));
    nodes.write(N1, "visits", reset());
    nodes.reads("visits", ["0", "none"]);
    nodes.exchange();
    nodes.reads("visits", ["0", "0"]);
    nodes.write(N2, "visits", Write::Delete);
    nodes.reads("visits", ["0", "none"]);
    nodes.exchange();
    nodes.reads("visits", ["none", "none"]);
}

// -- the set -------------------------------------------------------------------------------------------------------

#[test]
fn concurrent_adds_are_all_in() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    nodes.write(N2, "tags", add(&["opera", "jazz"]));
    nodes.reads("tags", ["{jazz}", "{jazz, opera}"]);
    nodes.exchange();
    nodes.reads("tags", ["{jazz, opera}", "{jazz, opera}"]);
}

#[test]
fn an_add_again_beats_a_concurrent_remove() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    nodes.exchange();
    nodes.write(N1, "tags", remove(&["jazz"]));
    nodes.write(N2, "tags", add(&["jazz"]));
    nodes.reads("tags", ["{}", "{jazz}"]);
    nodes.exchange();
    nodes.reads("tags", ["{jazz}", "{jazz}"]);
}

#[test]
fn a_remove_takes_out_what_its_replica_saw() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    nodes.write(N2, "tags", add(&["jazz"]));
    nodes.write(N2, "tags", remove(&["jazz"]));
    nodes.reads("tags", ["{jazz}", "{}"]);
    nodes.exchange();
    nodes.reads("tags", ["{jazz}", "{jazz}"]);
    nodes.write(N2, "tags", remove(&["jazz"]));
    nodes.exchange();
    nodes.reads("tags", ["{}", "{}"]);
}

#[test]
fn an_add_outlives_a_concurrent_clear() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    nodes.exchange();
    nodes.write(N1, "tags", clear());
    nodes.write(N2, "tags", add(&["opera"]));
    nodes.reads("tags", ["{}", "{jazz, opera}"]);
    nodes.exchange();
    nodes.reads("tags", ["{opera}", "{opera}"]);
}

#[test]
fn a_clear_with_a_context_leaves_what_its_client_had_not_seen() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    let seen = nodes.context(N1, "tags");
    nodes.write(N1, "tags", add(&["opera"]));
    nodes.exchange();
    nodes.write_seen(N2, "tags", clear(), &seen);
    nodes.reads("tags", ["{jazz, opera}", "{opera}"]);
    nodes.exchange();
    nodes.reads("tags", ["{opera}", "{opera}"]);
}

#[test]
fn an_add_takes_nothing_away_whatever_its_context() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    let seen = nodes.context(N1, "tags");
    nodes.write(N1, "tags", add(&["jazz"]));
    nodes.exchange();
    nodes.write_seen(N2, "tags", add(&["jazz"]), &seen);
    nodes.exchange();
    nodes.reads("tags", ["{jazz}", "{jazz}"]);
    nodes.write(N1, "tags", remove(&["jazz"]));
    nodes.exchange();
    nodes.reads("tags", ["{}", "{}"]);
}

#[test]
fn the_context_of_an_answer_covers_all_that_its_replica_had() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    nodes.exchange();
    let answer = nodes.ask(N1, "tags", write_of(add(&["robots"]), None, None));
    let Reply::Written { context, .. } = answer else { panic!("an add is written: {answer:?}") };
    nodes.write_seen(N1, "tags", clear(), &context);
    nodes.exchange();
    nodes.reads("tags", ["{}", "{}"]);
}

#[test]
fn a_context_from_another_node_takes_away_no_more_than_this_replica_has() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    nodes.exchange();
    nodes.write(N2, "tags", add(&["opera"]));
    let seen = nodes.context(N2, "tags");
    nodes.write_seen(N1, "tags", clear(), &seen);
    nodes.reads("tags", ["{}", "{jazz, opera}"]);
    nodes.exchange();
    nodes.reads("tags", ["{opera}", "{opera}"]);
}

#[test]
fn a_set_whose_delete_raced_with_an_add_exists() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    nodes.exchange();
    nodes.write(N1, "tags", Write::Delete);
    nodes.write(N2, "tags", add(&["opera"]));
    nodes.reads("tags", ["none", "{jazz, opera}"]);
    nodes.exchange();
    nodes.reads("tags", ["{opera}", "{opera}"]);
    assert_eq!(nodes.members[N1].disk.rows(Space::Head).count(), 0, "it has no head");
    nodes.write(N1, "tags", remove(&["opera"]));
    assert_eq!(nodes.members[N1].disk.rows(Space::Head).count(), 1, "the next write put it back");
    nodes.exchange();
    nodes.reads("tags", ["{}", "{}"]);
}

#[test]
fn an_emptied_set_stays_until_it_is_deleted_and_then_leaves_nothing() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    nodes.write(N1, "tags", remove(&["jazz"]));
    nodes.exchange();
    nodes.reads("tags", ["{}", "{}"]);
    nodes.write(N2, "tags", Write::Delete);
    nodes.exchange();
    nodes.reads("tags", ["none", "none"]);
    assert!(nodes.content(N1).is_empty() && nodes.content(N2).is_empty());
}

// -- keys of two types ---------------------------------------------------------------------------------------------

#[test]
fn a_key_created_under_two_types_keeps_both() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "k", put("ada"));
    nodes.write(N2, "k", increment(5));
    nodes.reads("k", ["ada", "5"]);
    nodes.exchange();
    nodes.reads("k", ["conflict: register, counter", "conflict: register, counter"]);
    assert_eq!(nodes.read_as(N1, "k", Type::Register), "ada");
    assert_eq!(nodes.read_as(N2, "k", Type::Counter), "5");
}

#[test]
fn a_write_to_a_key_of_two_types_says_which_it_means() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "k", put("ada"));
    nodes.write(N2, "k", increment(5));
    nodes.exchange();
    let types = vec![Type::Register, Type::Counter];
    assert_eq!(nodes.refused(N1, "k", write_of(put("eve"), None, None)), Refusal::TypeConflict { types });
    nodes.write_as(N1, "k", Type::Register, put("eve"));
    nodes.write_as(N2, "k", Type::Counter, increment(1));
    nodes.exchange();
    assert_eq!(nodes.read_as(N2, "k", Type::Register), "eve");
    assert_eq!(nodes.read_as(N1, "k", Type::Counter), "6");
}

#[test]
fn a_delete_of_one_type_ends_the_conflict() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "k", put("ada"));
    nodes.write(N2, "k", increment(5));
    nodes.exchange();
    nodes.write_as(N1, "k", Type::Register, Write::Delete);
    nodes.reads("k", ["5", "conflict: register, counter"]);
    nodes.exchange();
    nodes.reads("k", ["5", "5"]);
}

#[test]
fn a_delete_without_a_type_takes_away_all_that_its_replica_sees() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "k", put("ada"));
    nodes.write(N2, "k", increment(5));
    nodes.exchange();
    nodes.write(N1, "k", Write::Delete);
    nodes.reads("k", ["none", "conflict: register, counter"]);
    nodes.exchange();
    nodes.reads("k", ["none", "none"]);
}

#[test]
fn a_key_created_twice_under_one_type_is_no_conflict() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "k", add(&["jazz"]));
    nodes.write(N2, "k", add(&["opera"]));
    nodes.exchange();
    nodes.reads("k", ["{jazz, opera}", "{jazz, opera}"]);
    nodes.write(N1, "k", Write::Delete);
    nodes.exchange();
    nodes.reads("k", ["none", "none"]);
}

#[test]
fn content_without_a_head_is_hidden_while_the_key_has_a_head_of_another_type() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "k", add(&["jazz"]));
    nodes.exchange();
    nodes.write(N1, "k", Write::Delete);
    nodes.write(N1, "k", put("ada"));
    nodes.write(N2, "k", add(&["opera"]));
    nodes.reads("k", ["ada", "{jazz, opera}"]);
    nodes.exchange();
    nodes.reads("k", ["ada", "ada"]);
    assert_eq!(
        nodes.read_as(N2, "k", Type::Set),
        "the key is a register, which does not know this operation"
    );
    nodes.write_as(N1, "k", Type::Register, Write::Delete);
    nodes.exchange();
    nodes.reads("k", ["{opera}", "{opera}"]);
}

#[test]
fn a_type_that_the_key_does_not_have_is_refused() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "k", put("ada"));
    let is = Type::Register;
    assert_eq!(nodes.refused(N1, "k", write_of(increment(1), None, None)), Refusal::WrongType { is });
    let named = Type::Set;
    assert_eq!(nodes.refused(N1, "k", write_of(put("x"), Some(named), None)), Refusal::TypeMisfit { named });
    nodes.exchange();
    nodes.reads("k", ["ada", "ada"]);
}

// -- the page ------------------------------------------------------------------------------------------------------

#[test]
fn the_page_names_every_test_of_this_file_and_no_other() {
    let here: Vec<&str> = include_str!("consistency.rs")
        .split("#[test]\nfn ")
        .skip(1)
        .filter_map(|rest| rest.split('(').next())
        .filter(|name| !name.starts_with("the_page_"))
        .collect();
    let page = include_str!("../docs/consistency.md");
    let named: Vec<&str> = page.split("Test: `").skip(1).filter_map(|rest| rest.split('`').next()).collect();
    assert!(here.len() > 30, "the tests of this file were not found");
    assert_eq!(here, named, "in the page's order");
}
