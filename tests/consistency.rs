//! Every example of `docs/consistency.md`, played on real nodes: one test for each, and the page names it.
//!
//! A row of the page's tables is a call here. What a key reads as is written as in the page: a register's text, a
//! counter's number, a set's members in braces, a flag's `on` or `off`, the values of a multi-value register with bars
//! between them, a map's fields in braces, `none` where there is no such key, or the refusal in words.
//!
//! Messages travel as bytes. Nothing is delivered before a test says so, and after every exchange equal version
//! vectors must mean equal content.
//!
//! This is one file because the page is one page: the last test holds their order equal.

use meridian_core::cell::Type;
use meridian_core::codec::Encode;
use meridian_core::id::{OriginId, RequestId};
use meridian_core::message::Message;
use meridian_core::node::{Config, Input, Now, OpenError, Operation, Output, Reply, Request};
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::{Write, WriteRequest, Written};
use meridian_core::storage::{Space, Storage};
use meridian_core::types::map::FieldWrite;
use meridian_core::types::{Refusal, Value};
use meridian_core::version_vector::VersionVector;
use meridian_tests::lab::{
    Lab, Participant, SHARD, add, bucket, clear, config, disable, enable, field, fields, increment, key,
    observe, path, put, remove, reset, write_of,
};

const N1: usize = 0;
const N2: usize = 1;
const N3: usize = 2;

/// How many heads a replica has.
fn heads(nodes: &Lab, at: usize) -> usize {
    nodes.content(at).iter().filter(|(space, ..)| *space == Space::Head).count()
}

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

// -- the multi-value register --------------------------------------------------------------------------------------

#[test]
fn concurrent_puts_of_a_multi_are_siblings() {
    let mut nodes = Lab::new(2);
    nodes.write_as(N1, "name", Type::Multi, put("ada"));
    nodes.write_as(N2, "name", Type::Multi, put("eve"));
    nodes.reads("name", ["ada", "eve"]);
    nodes.exchange();
    nodes.reads("name", ["ada | eve", "ada | eve"]);
}

#[test]
fn a_put_of_a_multi_replaces_what_its_client_had_seen_and_keeps_the_rest() {
    let mut nodes = Lab::new(2);
    nodes.write_as(N1, "name", Type::Multi, put("ada"));
    nodes.write_as(N2, "name", Type::Multi, put("eve"));
    let seen = nodes.context(N1, "name");
    nodes.exchange();
    nodes.write_seen(N2, "name", put("joy"), &seen);
    nodes.reads("name", ["ada | eve", "eve | joy"]);
    nodes.exchange();
    nodes.reads("name", ["eve | joy", "eve | joy"]);
    let seen = nodes.context(N1, "name");
    nodes.write_seen(N1, "name", put("kim"), &seen);
    nodes.exchange();
    nodes.reads("name", ["kim", "kim"]);
}

#[test]
fn a_put_of_a_multi_without_a_context_is_refused_unless_it_overwrites() {
    let mut nodes = Lab::new(2);
    nodes.write_as(N1, "name", Type::Multi, put("ada"));
    nodes.exchange();
    assert_eq!(nodes.refused(N1, "name", write_of(put("joy"), None, None)), Refusal::ContextRequired);
    let seen = nodes.context(N2, "name");
    nodes.write_seen(N2, "name", put("eve"), &seen);
    let overwrite = WriteRequest { overwrites: true, ..WriteRequest::of(put("joy")) };
    nodes.written(N1, "name", Operation::Write(overwrite.clone()));
    nodes.reads("name", ["joy", "eve"]);
    nodes.exchange();
    nodes.reads("name", ["joy | eve", "joy | eve"]);
    nodes.written(N2, "name", Operation::Write(overwrite));
    nodes.exchange();
    nodes.reads("name", ["joy", "joy"]);
}

#[test]
fn a_put_of_a_multi_with_the_context_of_its_own_answer_neither_piles_up_nor_overwrites_unseen() {
    let mut nodes = Lab::new(2);
    nodes.write_as(N1, "name", Type::Multi, put("ada"));
    let own = nodes.context(N1, "name");
    nodes.write_seen(N1, "name", put("eve"), &own);
    let own = nodes.answered(N1, "name", put("joy"), Some(&own));
    nodes.reads("name", ["eve | joy", "none"]);
    let own = nodes.answered(N1, "name", put("kim"), Some(&own));
    nodes.reads("name", ["eve | kim", "none"]);
    nodes.exchange();
    nodes.write_seen(N2, "name", put("lea"), &own);
    nodes.exchange();
    nodes.reads("name", ["eve | lea", "eve | lea"]);
}

#[test]
fn a_put_of_a_multi_outlives_a_concurrent_delete() {
    let mut nodes = Lab::new(2);
    nodes.write_as(N1, "name", Type::Multi, put("ada"));
    nodes.exchange();
    nodes.write(N1, "name", Write::Delete);
    let seen = nodes.context(N2, "name");
    nodes.write_seen(N2, "name", put("eve"), &seen);
    nodes.reads("name", ["none", "eve"]);
    nodes.exchange();
    nodes.reads("name", ["eve", "eve"]);
}

#[test]
fn a_delete_of_a_multi_takes_every_value_or_those_that_its_client_had_seen() {
    let mut nodes = Lab::new(2);
    nodes.write_as(N1, "name", Type::Multi, put("ada"));
    nodes.write_as(N2, "name", Type::Multi, put("eve"));
    let seen = nodes.context(N1, "name");
    nodes.exchange();
    nodes.write_seen(N2, "name", Write::Delete, &seen);
    nodes.reads("name", ["ada | eve", "eve"]);
    nodes.exchange();
    nodes.reads("name", ["eve", "eve"]);
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
    assert_eq!(heads(&nodes, N1), 0, "it has no head");
    nodes.write(N1, "visits", increment(1));
    assert_eq!(heads(&nodes, N1), 1, "the next write put it back");
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
fn a_set_whose_delete_raced_with_an_add_exists() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    nodes.exchange();
    nodes.write(N1, "tags", Write::Delete);
    nodes.write(N2, "tags", add(&["opera"]));
    nodes.reads("tags", ["none", "{jazz, opera}"]);
    nodes.exchange();
    nodes.reads("tags", ["{opera}", "{opera}"]);
    assert_eq!(heads(&nodes, N1), 0, "it has no head");
    nodes.write(N1, "tags", remove(&["opera"]));
    assert_eq!(heads(&nodes, N1), 1, "the next write put it back");
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

// -- the flag ------------------------------------------------------------------------------------------------------

#[test]
fn an_enable_wins_over_a_concurrent_disable() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "dark", enable());
    nodes.write(N1, "dark", disable());
    nodes.write(N2, "dark", enable());
    nodes.reads("dark", ["off", "on"]);
    nodes.exchange();
    nodes.reads("dark", ["on", "on"]);
}

#[test]
fn enabling_again_wins_over_a_concurrent_disable() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "dark", enable());
    nodes.exchange();
    nodes.write(N1, "dark", disable());
    nodes.write(N2, "dark", enable());
    nodes.reads("dark", ["off", "on"]);
    nodes.exchange();
    nodes.reads("dark", ["on", "on"]);
}

#[test]
fn a_disable_takes_away_every_enable_that_its_replica_saw() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "dark", enable());
    nodes.write(N2, "dark", enable());
    nodes.exchange();
    nodes.write(N1, "dark", disable());
    nodes.reads("dark", ["off", "on"]);
    nodes.exchange();
    nodes.reads("dark", ["off", "off"]);
}

#[test]
fn a_disable_with_a_context_leaves_what_its_client_had_not_seen() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "dark", enable());
    let seen = nodes.context(N1, "dark");
    nodes.write(N2, "dark", enable());
    nodes.exchange();
    assert_eq!(nodes.write_seen(N2, "dark", disable(), &seen), Written::Flag(true));
    nodes.exchange();
    nodes.reads("dark", ["on", "on"]);
    let seen = nodes.context(N1, "dark");
    nodes.write_seen(N1, "dark", disable(), &seen);
    nodes.exchange();
    nodes.reads("dark", ["off", "off"]);
}

#[test]
fn an_enable_outlives_a_concurrent_delete() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "dark", enable());
    nodes.exchange();
    nodes.write(N1, "dark", Write::Delete);
    nodes.write(N2, "dark", enable());
    nodes.reads("dark", ["none", "on"]);
    nodes.exchange();
    nodes.reads("dark", ["on", "on"]);
}

#[test]
fn a_disable_outlives_a_concurrent_delete_if_it_was_a_write() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "dark", enable());
    nodes.write(N1, "sound", enable());
    nodes.write(N1, "sound", disable());
    nodes.exchange();
    for flag in ["dark", "sound"] {
        nodes.write(N1, flag, Write::Delete);
        nodes.write(N2, flag, disable());
        nodes.reads(flag, ["none", "off"]);
    }
    nodes.exchange();
    nodes.reads("dark", ["off", "off"]);
    nodes.reads("sound", ["none", "none"]);
}

// -- the maximum and the minimum -----------------------------------------------------------------------------------

#[test]
fn the_highest_or_the_lowest_of_all_observations_is_read() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "high", observe(5));
    nodes.write(N2, "high", observe(9));
    nodes.write_as(N1, "low", Type::Min, observe(5));
    nodes.write_as(N2, "low", Type::Min, observe(9));
    nodes.reads("high", ["5", "9"]);
    nodes.reads("low", ["5", "9"]);
    nodes.exchange();
    nodes.reads("high", ["9", "9"]);
    nodes.reads("low", ["5", "5"]);
}

#[test]
fn a_higher_observation_outlives_a_concurrent_delete() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "high", observe(5));
    nodes.exchange();
    nodes.write(N1, "high", Write::Delete);
    nodes.write(N2, "high", observe(9));
    nodes.reads("high", ["none", "9"]);
    nodes.exchange();
    nodes.reads("high", ["9", "9"]);
}

#[test]
fn an_observation_that_exceeds_nothing_is_no_write() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "high", observe(9));
    nodes.exchange();
    let before = nodes.vector(N2);
    nodes.write(N1, "high", Write::Delete);
    assert_eq!(nodes.write(N2, "high", observe(5)), Written::Extremum(Type::Max, 9));
    assert_eq!(nodes.write(N2, "high", observe(9)), Written::Extremum(Type::Max, 9));
    assert_eq!(nodes.vector(N2), before);
    nodes.reads("high", ["none", "9"]);
    nodes.exchange();
    nodes.reads("high", ["none", "none"]);
}

#[test]
fn a_lower_observation_shows_after_a_delete_that_had_not_seen_it() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "high", observe(5));
    nodes.write(N2, "high", observe(9));
    nodes.carry(N2, N1);
    let lost_on_the_way = nodes.take_messages(N2);
    nodes.write(N2, "high", Write::Delete);
    nodes.reads("high", ["9", "none"]);
    nodes.put_messages(N2, lost_on_the_way);
    nodes.exchange();
    nodes.reads("high", ["5", "5"]);
    nodes.write(N2, "high", Write::Delete);
    nodes.exchange();
    nodes.reads("high", ["none", "none"]);
}

// -- the map -------------------------------------------------------------------------------------------------------

#[test]
fn fields_of_a_map_merge_by_themselves() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "user", field("name", put("ada")));
    nodes.write(N2, "user", fields(vec![("visits", increment(5)), ("home/city", put("rome"))]));
    nodes.reads("user", ["{name: ada}", "{home: {city: rome}, visits: 5}"]);
    nodes.exchange();
    nodes.reads("user", ["{home: {city: rome}, name: ada, visits: 5}"; 2]);
}

#[test]
fn one_field_of_a_map_merges_as_its_type_does() {
    let mut nodes = Lab::new(2);
    let n1 = [("dark", enable()), ("high", observe(5)), ("name", put("ada")), ("tags", add(&["jazz"]))];
    let n2 = [("dark", disable()), ("high", observe(9)), ("name", put("eve")), ("tags", add(&["opera"]))];
    nodes.write(N1, "user", fields(n1.to_vec()));
    nodes.write(N2, "user", fields(n2.to_vec()));
    nodes.write(N1, "user", field("visits", increment(5)));
    nodes.write(N2, "user", field("visits", increment(-2)));
    nodes.exchange();
    nodes.reads("user", ["{dark: on, high: 9, name: eve, tags: {jazz, opera}, visits: 3}"; 2]);
}

#[test]
fn a_write_in_a_removed_field_stays_alone() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "user", fields(vec![("home/city", put("rome")), ("home/street", put("corso"))]));
    nodes.exchange();
    nodes.write(N1, "user", field("home", Write::Delete));
    nodes.write(N2, "user", field("home/city", put("oslo")));
    nodes.reads("user", ["{}", "{home: {city: oslo, street: corso}}"]);
    nodes.exchange();
    nodes.reads("user", ["{home: {city: oslo}}", "{home: {city: oslo}}"]);
}

#[test]
fn an_increment_in_a_removed_field_is_exact() {
    let mut nodes = Lab::new(2);
    nodes.write(N2, "user", field("stats/visits", increment(10)));
    nodes.exchange();
    nodes.write(N1, "user", field("stats", Write::Delete));
    nodes.write(N2, "user", field("stats/visits", increment(3)));
    nodes.reads("user", ["{}", "{stats: {visits: 13}}"]);
    nodes.exchange();
    nodes.reads("user", ["{stats: {visits: 3}}", "{stats: {visits: 3}}"]);
}

#[test]
fn a_removal_with_a_context_leaves_what_its_client_had_not_seen() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "user", field("home/city", put("rome")));
    let seen = nodes.context(N1, "user");
    nodes.write(N1, "user", field("home/street", put("corso")));
    nodes.exchange();
    nodes.write_seen(N2, "user", field("home", Write::Delete), &seen);
    nodes.reads("user", ["{home: {city: rome, street: corso}}", "{home: {street: corso}}"]);
    nodes.exchange();
    nodes.reads("user", ["{home: {street: corso}}", "{home: {street: corso}}"]);
}

#[test]
fn with_a_context_a_fields_counter_that_its_node_incremented_since_stays_whole() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "user", fields(vec![("likes", increment(10)), ("visits", increment(10))]));
    nodes.exchange();
    let seen = nodes.context(N1, "user");
    nodes.write(N1, "user", field("visits", increment(3)));
    nodes.write(N2, "user", field("likes", increment(3)));
    nodes.exchange();
    let removal = fields(vec![("likes", Write::Delete), ("visits", Write::Delete)]);
    nodes.write_seen(N2, "user", removal, &seen);
    nodes.reads("user", ["{likes: 13, visits: 13}", "{likes: 3, visits: 13}"]);
    nodes.exchange();
    nodes.reads("user", ["{likes: 3, visits: 13}", "{likes: 3, visits: 13}"]);
}

#[test]
fn a_subtree_can_be_removed_and_written_again_in_one_request() {
    let mut nodes = Lab::new(2);
    let before = vec![("home/city", put("rome")), ("home/street", put("corso")), ("visits", increment(10))];
    nodes.write(N1, "user", fields(before));
    nodes.exchange();
    let anew = vec![
        ("home", Write::Delete),
        ("visits", Write::Delete),
        ("home/city", put("oslo")),
        ("visits", increment(1)),
    ];
    nodes.write(N1, "user", fields(anew));
    nodes.write(N2, "user", fields(vec![("home/street", put("kirkeveien")), ("visits", increment(3))]));
    nodes.reads(
        "user",
        ["{home: {city: oslo}, visits: 1}", "{home: {city: rome, street: kirkeveien}, visits: 13}"],
    );
    nodes.exchange();
    nodes.reads("user", ["{home: {city: oslo, street: kirkeveien}, visits: 4}"; 2]);
}

#[test]
fn an_emptied_map_stays_until_it_is_deleted() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "user", field("home/city", put("rome")));
    nodes.write(N1, "user", field("home/city", Write::Delete));
    nodes.exchange();
    nodes.reads("user", ["{home: {}}", "{home: {}}"]);
    nodes.write(N2, "user", field("home", Write::Delete));
    nodes.exchange();
    nodes.reads("user", ["{}", "{}"]);
    nodes.write(N2, "user", Write::Delete);
    nodes.exchange();
    nodes.reads("user", ["none", "none"]);
    assert!(nodes.content(N1).is_empty() && nodes.content(N2).is_empty());
}

#[test]
fn a_field_outlives_a_concurrent_delete_of_its_key() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "user", fields(vec![("city", put("rome")), ("name", put("ada"))]));
    nodes.exchange();
    nodes.write(N1, "user", Write::Delete);
    nodes.write(N2, "user", field("city", put("oslo")));
    nodes.reads("user", ["none", "{city: oslo, name: ada}"]);
    nodes.exchange();
    nodes.reads("user", ["{city: oslo}", "{city: oslo}"]);
}

#[test]
fn a_field_of_several_types_reads_as_the_first_and_keeps_the_others() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "user", field("home", put("rome")));
    nodes.write(N2, "user", field("home/city", put("oslo")));
    nodes.reads("user", ["{home: rome}", "{home: {city: oslo}}"]);
    nodes.exchange();
    nodes.reads("user", ["{home: {city: oslo}}", "{home: {city: oslo}}"]);
    assert_eq!(nodes.read_field(N1, "user", "home", None), ("{city: oslo}".into(), vec![Type::Register]));
    let as_register = nodes.read_field(N2, "user", "home", Some(Type::Register));
    assert_eq!(as_register, ("rome".into(), vec![Type::Map]));
    nodes.write(N1, "user", field("home", Write::Delete));
    nodes.exchange();
    nodes.reads("user", ["{}", "{}"]);
}

#[test]
fn the_types_of_a_field_are_read_in_a_fixed_order() {
    let mut nodes = Lab::new(Type::PRECEDENCE.len());
    for (at, key_type) in Type::PRECEDENCE.into_iter().enumerate() {
        let (place, write) = match key_type {
            Type::Map => ("home/city", put("oslo")),
            Type::Multi | Type::Register => ("home", put("rome")),
            Type::Set => ("home", add(&["jazz"])),
            Type::Counter => ("home", increment(5)),
            Type::Max | Type::Min => ("home", observe(9)),
            Type::Flag => ("home", enable()),
        };
        let named = (key_type != Type::Map).then_some(key_type);
        let write = FieldWrite { path: path(place), named, write };
        nodes.write(at, "user", Write::Map(vec![write]));
    }
    nodes.exchange();
    let (read, hidden) = nodes.read_field(N1, "user", "home", None);
    let order = Type::PRECEDENCE.map(Type::as_str).join(", ");
    assert_eq!(order, "map, multi, register, set, counter, max, min, flag");
    assert_eq!((read.as_str(), hidden.as_slice()), ("{city: oslo}", &Type::PRECEDENCE[1..]));
}

#[test]
fn a_write_that_would_give_a_field_a_second_type_is_refused() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "user", field("home", put("rome")));
    nodes.exchange();
    let is = Type::Register;
    let refusals = [field("home", increment(1)), field("home/city", put("oslo")), put("ada")]
        .map(|write| nodes.refused(N2, "user", write_of(write, None, None)));
    assert_eq!(
        refusals,
        [Refusal::WrongType { is }, Refusal::WrongType { is }, Refusal::WrongType { is: Type::Map },]
    );
    nodes.exchange();
    nodes.reads("user", ["{home: rome}", "{home: rome}"]);
}

// -- contexts ------------------------------------------------------------------------------------------------------

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
fn the_context_of_an_answer_to_a_request_with_one_covers_that_and_the_write() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "tags", add(&["jazz"]));
    let seen = nodes.context(N1, "tags");
    nodes.write(N1, "tags", add(&["opera"]));
    let seen = nodes.answered(N1, "tags", add(&["robots"]), Some(&seen));
    nodes.exchange();
    nodes.write_seen(N2, "tags", clear(), &seen);
    nodes.reads("tags", ["{jazz, opera, robots}", "{opera}"]);
    nodes.exchange();
    nodes.reads("tags", ["{opera}", "{opera}"]);
}

#[test]
fn the_context_of_an_answer_that_shows_the_value_covers_it() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "visits", increment(10));
    let seen = nodes.context(N1, "visits");
    nodes.write(N1, "visits", increment(3));
    let seen = nodes.answered(N1, "visits", increment(1), Some(&seen));
    nodes.exchange();
    nodes.write_seen(N2, "visits", reset(), &seen);
    nodes.reads("visits", ["14", "0"]);
    nodes.exchange();
    nodes.reads("visits", ["0", "0"]);
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

// -- large removals ------------------------------------------------------------------------------------------------

/// Nodes that take four rows for many, and that sweep two at a time when they are told to.
fn nodes_that_mask() -> Lab {
    let mut nodes = Lab::with(2, Config { removal_rows_max: 4, portion_rows: 2, ..config() });
    nodes.works = false;
    nodes
}

#[test]
fn what_was_removed_is_not_read_before_it_is_swept() {
    let mut nodes = nodes_that_mask();
    nodes.write(N1, "tags", add(&["a", "b", "c", "d", "e", "f"]));
    nodes.exchange();
    nodes.write(N1, "tags", clear());
    nodes.reads("tags", ["{}", "{a, b, c, d, e, f}"]);
    nodes.exchange();
    nodes.reads("tags", ["{}", "{}"]);
    assert_eq!(nodes.rows(N2, Space::Cell).len(), 6, "the rows are still there");
    nodes.work(N2);
    assert_eq!(nodes.rows(N2, Space::Cell).len(), 0);
    nodes.reads("tags", ["{}", "{}"]);
}

#[test]
fn an_add_outlives_a_concurrent_large_clear() {
    let mut nodes = nodes_that_mask();
    nodes.write(N1, "tags", add(&["a", "b", "c", "d", "e", "f"]));
    nodes.exchange();
    nodes.write(N1, "tags", clear());
    nodes.write(N2, "tags", add(&["f", "g"]));
    nodes.reads("tags", ["{}", "{a, b, c, d, e, f, g}"]);
    nodes.exchange();
    nodes.reads("tags", ["{f, g}", "{f, g}"]);
    nodes.work(N1);
    nodes.work(N2);
    nodes.reads("tags", ["{f, g}", "{f, g}"]);
}

#[test]
fn a_field_outlives_a_concurrent_large_removal() {
    let mut nodes = nodes_that_mask();
    let names = ["home/a", "home/b", "home/c", "home/d", "home/e"];
    nodes.write(N1, "user", fields(names.map(|name| (name, put("x"))).to_vec()));
    nodes.write(N1, "user", field("home/visits", increment(10)));
    nodes.exchange();
    nodes.write(N1, "user", field("home", Write::Delete));
    nodes.write(N2, "user", fields(vec![("home/a", put("y")), ("home/visits", increment(3))]));
    nodes.reads("user", ["{}", "{home: {a: y, b: x, c: x, d: x, e: x, visits: 13}}"]);
    nodes.exchange();
    nodes.reads("user", ["{home: {a: y, visits: 3}}", "{home: {a: y, visits: 3}}"]);
    nodes.work(N1);
    nodes.work(N2);
    nodes.reads("user", ["{home: {a: y, visits: 3}}", "{home: {a: y, visits: 3}}"]);
}

#[test]
fn a_large_subtree_can_be_removed_and_written_again_in_one_request() {
    let mut nodes = nodes_that_mask();
    let names = ["home/a", "home/b", "home/c", "home/d", "home/e"];
    nodes.write(N1, "user", fields(names.map(|name| (name, put("x"))).to_vec()));
    nodes.write(N1, "user", field("home/tags", add(&["jazz"])));
    nodes.exchange();
    let anew = vec![("home", Write::Delete), ("home/a", put("z")), ("home/tags", add(&["opera"]))];
    nodes.write(N1, "user", fields(anew));
    nodes.write(N2, "user", field("home/b", put("y")));
    nodes.reads(
        "user",
        ["{home: {a: z, tags: {opera}}}", "{home: {a: x, b: y, c: x, d: x, e: x, tags: {jazz}}}"],
    );
    nodes.exchange();
    nodes.reads("user", ["{home: {a: z, b: y, tags: {opera}}}"; 2]);
    nodes.restart(N1, OriginId(0x201)).expect("an unswept disk can be opened");
    nodes.exchange();
    nodes.reads("user", ["{home: {a: z, b: y, tags: {opera}}}"; 2]);
    nodes.work(N1);
    nodes.work(N2);
    nodes.reads("user", ["{home: {a: z, b: y, tags: {opera}}}"; 2]);
    assert_eq!(nodes.root(N1), nodes.root(N2));
}

#[test]
fn a_replica_has_no_root_until_it_is_swept() {
    let mut nodes = nodes_that_mask();
    nodes.write(N1, "tags", add(&["a", "b", "c", "d", "e", "f"]));
    nodes.exchange();
    let full = nodes.root(N1).expect("nothing is under way");
    nodes.write(N1, "tags", clear());
    assert_eq!((nodes.root(N1), nodes.root(N2)), (None, Some(full)));
    nodes.exchange();
    nodes.work(N2);
    assert_eq!(nodes.root(N1), None);
    nodes.work(N1);
    assert!(nodes.root(N1).is_some_and(|root| root != full), "it is swept");
    assert_eq!(nodes.root(N1), nodes.root(N2));
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
fn a_map_and_a_flag_are_two_types() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "k", enable());
    nodes.write(N2, "k", field("name", put("ada")));
    nodes.exchange();
    nodes.reads("k", ["conflict: flag, map", "conflict: flag, map"]);
    assert_eq!(nodes.read_as(N1, "k", Type::Flag), "on");
    assert_eq!(nodes.read_as(N1, "k", Type::Map), "{name: ada}");
    nodes.write_as(N1, "k", Type::Map, field("name", put("eve")));
    nodes.write_as(N2, "k", Type::Flag, Write::Delete);
    nodes.reads("k", ["conflict: flag, map", "{name: ada}"]);
    nodes.exchange();
    nodes.reads("k", ["{name: eve}", "{name: eve}"]);
}

#[test]
fn a_register_and_a_multi_are_two_types() {
    let mut nodes = Lab::new(2);
    nodes.write(N1, "k", put("ada"));
    nodes.write_as(N2, "k", Type::Multi, put("eve"));
    nodes.exchange();
    nodes.reads("k", ["conflict: register, multi", "conflict: register, multi"]);
    nodes.write_as(N1, "k", Type::Register, Write::Delete);
    nodes.exchange();
    nodes.reads("k", ["eve", "eve"]);
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
