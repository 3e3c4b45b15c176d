//! The node at its seam, by hand: what it refuses to open, what a turn is, what happens at each limit, and what a damaged
//! row or a failing disk does. What random schedules reach, `model.rs` checks; here stands what must be seen one by one.

use meridian_core::codec::Encode;
use meridian_core::delta::{Change, Delta, Effect};
use meridian_core::hlc::Hlc;
use meridian_core::id::{Dot, NodeId, OriginId, RequestId, ShardId};
use meridian_core::message::Message;
use meridian_core::name::ShardCount;
use meridian_core::node::{Config, Input, Node, Now, OpenError, Operation, Output, Reply, Request};
use meridian_core::path::Path;
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::Write;
use meridian_core::rows::FORMAT;
use meridian_core::storage::{Batch, Disk, MemStorage, Read, Space, Still, Storage, StorageError, Visit};
use meridian_core::types::Refusal;
use meridian_core::types::counter::CounterOp;
use meridian_core::types::register::SIBLINGS_MAX;
use meridian_core::version_vector::ORIGINS_MAX;
use meridian_tests::lab::{Lab, SHARD, add, bucket, clear, config, increment, key, node_id, put, write_of};
use std::sync::Arc;

const N1: usize = 0;
const N2: usize = 1;

// -- opening ---------------------------------------------------------------------------------------------------------

#[test]
fn a_disk_of_a_newer_format_is_refused_with_words() {
    let mut lab = Lab::new(1);
    lab.write(N1, "k", put("a"));
    let newer = sealed(&[1], &[FORMAT as u8 + 1, 1]);
    lab.members[N1].disk.damage(Space::Meta, &[1], |value| *value = newer);
    let error = lab.restart(N1, OriginId(7)).expect_err("it is newer");
    assert_eq!(error, OpenError::FormatTooNew { found: FORMAT + 1, known: FORMAT });
    assert!(error.to_string().contains("use a newer version"), "{error}");
}

#[test]
fn a_disk_of_a_cluster_with_another_number_of_shards_is_refused() {
    let mut lab = Lab::new(1);
    lab.write(N1, "k", put("a"));
    let two = Config { shards: ShardCount::new(2).unwrap(), ..config() };
    let error = Node::open(two, &lab.members[N1].disk, OriginId(7)).expect_err("it has one shard");
    assert_eq!(error, OpenError::ShardCount { found: 1, told: 2 });
}

/// Takes the row of a delta out of the log.
fn lose_delta(lab: &mut Lab, at: usize, dot: Dot) {
    let row = [&[0, 0], &dot.origin.0.to_be_bytes()[..], &dot.seq.to_be_bytes()].concat();
    let mut older = Batch::default();
    older.delete(Space::Log, row);
    lab.members[at].disk.write(&older).expect("a healthy disk");
}

#[test]
fn a_log_that_has_lost_its_end_is_refused() {
    let mut lab = Lab::new(1);
    lab.write(N1, "k", put("a"));
    lab.write(N1, "k", put("b"));
    lose_delta(&mut lab, N1, Dot::new(OriginId(0x101), 2));
    assert_eq!(lab.restart(N1, OriginId(7)), Err(OpenError::PartOlder { found: 1, told: 2 }));
}

#[test]
fn a_log_that_has_lost_its_beginning_or_what_an_opening_has_seen_is_refused() {
    for (lost, openings) in [(1, 0), (2, 1)] {
        let mut lab = Lab::new(1);
        lab.write(N1, "k", put("a"));
        lab.write(N1, "k", put("b"));
        for opening in 0..openings {
            lab.restart(N1, OriginId(7 + opening)).expect("nothing is lost so far");
            lab.tick_all(1);
        }
        lose_delta(&mut lab, N1, Dot::new(OriginId(0x101), lost));
        let error = lab.restart(N1, OriginId(9)).expect_err("a delta is lost");
        assert!(
            matches!(error, OpenError::Storage(StorageError::Corrupt { space: Space::Log, .. })),
            "{error}"
        );
    }
}

#[test]
fn a_log_that_is_newer_than_the_rest_is_refused() {
    let mut lab = Lab::new(1);
    lab.write(N1, "k", put("a"));
    let before: Vec<(Vec<u8>, Vec<u8>)> = rows(&lab.members[N1].disk, Space::Meta);
    lab.write(N1, "k", put("b"));
    let mut older = Batch::default();
    for (row, value) in before {
        older.put(Space::Meta, row, value);
    }
    lab.members[N1].disk.write(&older).unwrap();
    assert_eq!(lab.restart(N1, OriginId(7)), Err(OpenError::PartOlder { found: 2, told: 1 }));
}

#[test]
fn a_version_vector_is_where_the_log_ends_however_long_it_is() {
    let mut lab = Lab::new(1);
    let mut written = 0;
    for run in 1..=40 {
        for _ in 0..run {
            written += 1;
            lab.write(N1, "k", put(&written.to_string()));
        }
        let before = lab.vector(N1);
        lab.restart(N1, OriginId(run)).expect("nothing is lost");
        assert_eq!(lab.vector(N1), before, "after {written} writes in {run} runs");
    }
}

#[test]
fn data_of_the_first_format_is_taken_over() {
    let mut lab = Lab::new(1);
    lab.write(N1, "k", put("a"));
    lab.write(N1, "k", put("b"));
    let before = lab.vector(N1);
    // As it was: no count, and a row for each entry of the vector.
    let entry = [&[3, 0, 0], &0x101_u64.to_be_bytes()[..]].concat();
    let mut first = Batch::default();
    first.delete(Space::Meta, vec![4]);
    first.put(Space::Meta, vec![1], sealed(&[1], &[1, 1]));
    first.put(Space::Meta, entry.clone(), sealed(&entry, &[2]));
    lab.members[N1].disk.write(&first).unwrap();
    let mut torn = lab.members[N1].disk.clone();
    let mut older = Batch::default();
    older.put(Space::Meta, entry.clone(), sealed(&entry, &[1]));
    torn.write(&older).unwrap();
    let error = Node::open(config(), &torn, OriginId(7)).map(|_| ());
    assert_eq!(error, Err(OpenError::PartOlder { found: 2, told: 1 }), "a log beyond the note");
    for origin in [7, 8] {
        lab.restart(N1, OriginId(origin)).expect("it is of the first format, and then of this one");
        lab.tick_all(1);
        assert_eq!(lab.vector(N1), before);
    }
}

#[test]
fn data_without_a_format_is_refused() {
    let mut lab = Lab::new(1);
    lab.write(N1, "k", put("a"));
    let mut lost = Batch::default();
    lost.delete(Space::Meta, vec![1]);
    lab.members[N1].disk.write(&lost).unwrap();
    assert_eq!(lab.restart(N1, OriginId(7)), Err(OpenError::FormatMissing));
}

// -- turns -----------------------------------------------------------------------------------------------------------

#[test]
fn requests_of_one_turn_see_each_other_and_nothing_is_said_before_it_ends() {
    let mut lab = Lab::new(1);
    let member = &mut lab.members[N1];
    let now = Now { mono_ms: 9_000, wall_ms: 9_000 };
    for id in 1..=3 {
        let request =
            Request { bucket: bucket(), key: key("hits"), operation: write_of(increment(1), None, None) };
        member.node.step(now, &member.disk, Input::Request { id: RequestId(id), request }).unwrap();
    }
    assert!(rows(&member.disk, Space::Log).is_empty(), "a node does not write");
    let turn = member.node.end_turn();
    let sums: Vec<String> = turn.outputs.iter().map(|output| format!("{output:?}")).collect();
    for (sum, said) in [1, 2, 3].iter().zip(&sums) {
        assert!(said.contains(&format!("Counter({sum})")), "{said}");
    }
    assert_eq!(member.node.end_turn(), meridian_core::node::Turn::default(), "what was handed over is gone");
    member.disk.write(&turn.batch).unwrap();
    assert_eq!(lab.read(N1, "hits", None), "3");
}

#[test]
fn half_a_delta_is_never_left_in_the_batch() {
    let mut lab = Lab::new(1);
    lab.write(N1, "tags", add(&["b"]));
    lab.damage_cell(N1);
    let member = &mut lab.members[N1];
    let write = write_of(add(&["a", "b", "c"]), None, None);
    let request = Request { bucket: bucket(), key: key("tags"), operation: write };
    member.node.step(Now::default(), &member.disk, Input::Request { id: RequestId(1), request }).unwrap();
    let turn = member.node.end_turn();
    assert!(turn.batch.is_empty(), "{:?}", turn.batch);
    assert!(matches!(turn.outputs[0], Output::Quarantined { .. }), "{:?}", turn.outputs);
    assert!(matches!(turn.outputs[1], Output::Reply { reply: Reply::Refused(Refusal::Quarantined), .. }));
}

// -- a damaged row, a failing disk -----------------------------------------------------------------------------------

#[test]
fn a_quarantined_replica_answers_nobody_and_the_other_shards_serve_on() {
    let shards = ShardCount::new(256).unwrap();
    let mut lab = Lab::with(2, Config { shards, ..config() });
    let here = shards.shard_of(&bucket(), &key("tags"));
    let elsewhere =
        (0..).map(|n| format!("k{n}")).find(|name| shards.shard_of(&bucket(), &key(name)) != here);
    let elsewhere = elsewhere.expect("there are 255 other shards");
    lab.write(N1, "tags", add(&["b"]));
    lab.exchange();
    lab.damage_cell(N1);
    assert_eq!(lab.refused(N1, "tags", Operation::Read(ReadRequest::default())), Refusal::Quarantined);
    assert!(lab.members[N1].node.replica(here).unwrap().is_out_of_service());
    assert_eq!(lab.refused(N1, "tags", write_of(clear(), None, None)), Refusal::Quarantined);
    lab.write(N2, "tags", add(&["c"]));
    lab.exchange();
    let vector = lab.members[N1].node.replica(here).unwrap().vector().clone();
    assert_eq!(vector.iter().count(), 1, "it applies nothing: {vector:?}");
    let have = meridian_core::version_vector::VersionVector::default();
    lab.deliver(N1, vec![(N2, Message::Pull { shard: here, have }.to_bytes())]);
    assert!(lab.take_messages(N2).is_empty(), "it sends nothing");
    lab.write(N1, &elsewhere, put("well"));
    assert_eq!(lab.read(N1, &elsewhere, None), "well");
    assert_eq!(lab.read(N2, "tags", None), "{b, c}", "what it lost is not read as a deletion by others");
}

#[test]
fn a_disk_that_fails_stops_the_turn() {
    let mut lab = Lab::new(1);
    lab.write(N1, "k", put("a"));
    let request =
        Request { bucket: bucket(), key: key("k"), operation: Operation::Read(ReadRequest::default()) };
    let input = Input::Request { id: RequestId(1), request };
    let failed = lab.members[N1].node.step(Now::default(), &DeadDisk, input);
    assert_eq!(failed, Err(StorageError::Io("no such device".into())));
    assert!(
        !lab.members[N1].node.replica(SHARD).unwrap().is_out_of_service(),
        "that is for the shell to decide"
    );
}

#[test]
fn a_clone_of_a_running_node_is_noticed_when_the_two_have_gone_apart() {
    let mut lab = Lab::new(2);
    lab.write(N1, "k", put("before"));
    let (mut clone, mut clone_disk) = (lab.members[N1].node.clone(), lab.members[N1].disk.clone());
    lab.write(N1, "k", put("here"));
    let request = Request { bucket: bucket(), key: key("k"), operation: write_of(put("there"), None, None) };
    let input = Input::Request { id: RequestId(1), request };
    clone.step(Now { mono_ms: 9, wall_ms: 9 }, &clone_disk, input).unwrap();
    let turn = clone.end_turn();
    clone_disk.write(&turn.batch).unwrap();
    let from_clone = turn.outputs.into_iter().find_map(|output| match output {
        Output::Send { message, .. } => Some(message),
        _ => None,
    });
    let member = &mut lab.members[N1];
    let input = Input::Message { from: NodeId(9), message: from_clone.expect("it tells its peer") };
    member.node.step(Now { mono_ms: 2_000, wall_ms: 2_000 }, &member.disk, input).unwrap();
    let dot = Dot::new(OriginId(0x101), 2);
    let noticed = Output::OriginShared { shard: SHARD, dot, from: NodeId(9) };
    assert_eq!(member.node.end_turn().outputs, [noticed]);
    assert_eq!(lab.read(N1, "k", None), "here");
}

#[test]
fn a_delete_tells_nobody_of_slots_that_were_not_shown() {
    let mut lab = Lab::new(2);
    lab.write(N1, "k", increment(1));
    lab.exchange();
    // An increment meets a DELETE and a PUT that did not see it: its slot lies beside a register.
    lab.write(N2, "k", increment(1));
    lab.write(N1, "k", Write::Delete);
    lab.write(N1, "k", put("a"));
    let seen = lab.context(N1, "k");
    lab.exchange();
    assert_eq!(lab.read(N1, "k", None), "a");
    match lab.ask(N1, "k", write_of(Write::Delete, None, Some(seen))) {
        Reply::Written { context, .. } => assert_eq!(context.slots, []),
        other => panic!("it was to be deleted: {other:?}"),
    }
    assert_eq!(lab.read(N1, "k", None), "1", "what the client had not seen stays");
}

#[test]
fn totals_that_only_a_lying_peer_could_send_do_no_harm() {
    let mut lab = Lab::new(1);
    lab.write(N1, "hits", increment(1));
    let liar = OriginId(0xbad);
    let deltas = (1..=200).map(|seq| {
        let (total, amount) = (1 << 120, 1 << 120);
        let effects = vec![(Path::default(), Effect::Increment { birth: seq, previous: 0, total, amount })];
        let changes = vec![Change { bucket: bucket(), key: key("hits"), effects }];
        let deps = meridian_core::version_vector::VersionVector::default();
        Arc::new(Delta { dot: Dot::new(liar, seq), generation: 0, deps, hlc: Hlc(1), changes })
    });
    let message = Message::Fresh { shard: SHARD, deltas: deltas.collect() };
    lab.deliver(N1, vec![(N2, message.to_bytes())]);
    assert_eq!(lab.read(N1, "hits", None), i128::MAX.to_string(), "a sum stops at the end");
    lab.write(N1, "hits", increment(1));
    lab.write(N1, "hits", Write::Counter(vec![CounterOp::Reset]));
    assert_eq!(lab.read(N1, "hits", None), "0");
}

#[test]
fn a_delta_that_came_for_another_shard_is_not_applied() {
    let shards = ShardCount::new(256).unwrap();
    let mut lab = Lab::with(1, Config { shards, ..config() });
    let wrong = ShardId((shards.shard_of(&bucket(), &key("k")).0 + 1) % 256);
    let changes = vec![Change {
        bucket: bucket(),
        key: key("k"),
        effects: vec![(Path::default(), Effect::Clear { seen: None })],
    }];
    let deps = meridian_core::version_vector::VersionVector::default();
    let dot = Dot::new(OriginId(9), 1);
    let delta = Delta { dot, generation: 0, deps, hlc: Hlc(1), changes };
    let member = &mut lab.members[N1];
    let message = Message::Fresh { shard: wrong, deltas: vec![Arc::new(delta)] };
    member.node.step(Now::default(), &member.disk, Input::Message { from: NodeId(9), message }).unwrap();
    assert_eq!(member.node.end_turn().outputs, [Output::Misplaced { shard: wrong, dot, from: NodeId(9) }]);
    assert!(member.node.replica(wrong).unwrap().vector().is_empty());
}

#[test]
fn half_of_a_peers_delta_is_never_left_in_the_batch() {
    let mut lab = Lab::new(2);
    lab.write(N1, "tags", add(&["b"]));
    lab.exchange();
    lab.damage_cell(N1);
    lab.write(N2, "tags", add(&["a", "b", "c"]));
    let (_, bytes) = lab.take_messages(N1).pop().expect("n2 tells n1");
    let member = &mut lab.members[N1];
    let origins = member.node.origins().len();
    let message = Message::from_bytes(&bytes).unwrap();
    member.node.step(Now::default(), &member.disk, Input::Message { from: node_id(N2), message }).unwrap();
    let turn = member.node.end_turn();
    assert!(turn.batch.is_empty(), "{:?}", turn.batch);
    assert_eq!(member.node.origins().len(), origins, "the number of n2's origin is taken back");
    assert!(member.node.replica(SHARD).unwrap().is_out_of_service());
}

// -- limits ----------------------------------------------------------------------------------------------------------

#[test]
fn a_version_vector_takes_1024_origins_and_refuses_writes_of_the_next() {
    let mut lab = Lab::new(2);
    for run in 0..ORIGINS_MAX as u64 {
        lab.restart(N1, OriginId(0x1000 + run)).unwrap();
        lab.write(N1, "hits", increment(1));
    }
    lab.exchange();
    let full = lab.vector(N1);
    lab.restart(N1, OriginId(7)).unwrap();
    assert_eq!(lab.refused(N1, "hits", write_of(increment(1), None, None)), Refusal::OriginsFull);
    lab.write(N1, "nothing", Write::Delete);
    assert_eq!(lab.read(N1, "hits", None), "1024");
    assert_eq!(lab.refused(N2, "hits", write_of(increment(1), None, None)), Refusal::OriginsFull);
    assert_eq!(lab.vector(N1), full);
}

#[test]
fn a_delta_of_an_origin_for_which_there_is_no_room_waits_at_its_author() {
    let mut lab = Lab::new(2);
    lab.write(N2, "hits", increment(5));
    let late = lab.take_messages(N1);
    for run in 0..ORIGINS_MAX as u64 {
        lab.restart(N1, OriginId(0x1000 + run)).unwrap();
        lab.take_messages(N1);
        lab.take_messages(N2);
        lab.write(N1, "hits", increment(1));
    }
    lab.take_messages(N2);
    let full = lab.vector(N1);
    lab.deliver(N1, late);
    lab.tick_all(600);
    assert_eq!(lab.vector(N1), full);
    assert_eq!(lab.read(N1, "hits", None), "1024", "it serves on");
    lab.write(N1, "hits", increment(1));
}

#[test]
fn what_was_parked_is_applied_without_being_sent_again() {
    let mut lab = Lab::new(2);
    lab.write(N1, "tags", add(&["a"]));
    let first = lab.take_messages(N2);
    lab.write(N1, "tags", add(&["b"]));
    lab.carry(N1, N2);
    assert!(lab.members[N2].node.parked_bytes(SHARD) > 0);
    lab.take_messages(N1);
    lab.deliver(N2, first);
    assert_eq!(lab.read(N2, "tags", None), "{a, b}");
    assert_eq!(lab.members[N2].node.parked_bytes(SHARD), 0);
    assert!(lab.take_messages(N1).is_empty(), "nothing more is asked for");
}

#[test]
fn parking_stays_within_its_bound_and_what_was_turned_away_is_pulled() {
    let bound = 2_000;
    let mut lab = Lab::with(2, Config { parked_bytes_max: bound, ..config() });
    lab.write(N1, "tags", add(&["first"]));
    let first = lab.take_messages(N2);
    for at in 0..50 {
        lab.write(N1, "tags", add(&[&format!("m{at}")]));
        lab.carry(N1, N2);
        assert!(lab.members[N2].node.parked_bytes(SHARD) <= bound);
    }
    assert!(lab.members[N2].node.parked_bytes(SHARD) > 0);
    lab.deliver(N2, first);
    lab.exchange();
    assert_eq!(lab.vector(N2), lab.vector(N1));
}

#[test]
fn a_long_absence_is_made_up_in_answers_of_bounded_size() {
    let bytes_max = 1_000;
    let mut lab = Lab::with(2, Config { pull_bytes_max: bytes_max, ..config() });
    for at in 0..200 {
        lab.write(N1, "tags", add(&[&format!("m{at}")]));
        lab.take_messages(N2);
    }
    lab.reconnect(N1, N2);
    lab.carry(N1, N2);
    let mut answers = 0;
    while lab.vector(N2) != lab.vector(N1) {
        lab.carry(N2, N1);
        let messages = lab.take_messages(N2);
        answers += messages.len();
        assert!(messages.iter().all(|(_, bytes)| bytes.len() < bytes_max + 100), "an answer is too long");
        assert_eq!(messages.len(), 1, "one question, one answer");
        lab.deliver(N2, messages);
    }
    assert!(answers > 5, "{answers} answers");
    lab.exchange();
}

#[test]
fn a_value_that_no_peer_would_read_is_refused() {
    let mut lab = Lab::new(2);
    let longest = "x".repeat(8 << 20);
    lab.write(N1, "k", put(&longest));
    lab.exchange();
    assert_eq!(lab.read(N2, "k", None).len(), longest.len());
    let too_long = longest + "x";
    assert_eq!(lab.refused(N1, "k", write_of(put(&too_long), None, None)), Refusal::ValueTooLarge);
}

#[test]
fn a_write_has_at_most_1000_operations_and_members() {
    let mut lab = Lab::new(1);
    let names: Vec<String> = (0..1_001).map(|at| format!("m{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    lab.write(N1, "tags", add(&names[..1_000]));
    assert_eq!(lab.refused(N1, "tags", write_of(add(&names), None, None)), Refusal::TooManyOperations);
    let increments = Write::Counter(vec![CounterOp::Increment(1); 1_001]);
    assert_eq!(lab.refused(N1, "hits", write_of(increments, None, None)), Refusal::TooManyOperations);
}

#[test]
fn old_contexts_leave_no_more_than_64_siblings() {
    let mut lab = Lab::new(1);
    lab.write(N1, "name", put("first"));
    let old = lab.context(N1, "name");
    lab.write(N1, "name", put("second"));
    for at in 1..SIBLINGS_MAX {
        lab.write_seen(N1, "name", put(&format!("v{at}")), &old);
    }
    assert_eq!(lab.siblings(N1).len(), SIBLINGS_MAX);
    let one_more = write_of(put("refused"), None, Some(old));
    assert_eq!(lab.refused(N1, "name", one_more), Refusal::TooManySiblings);
    lab.write(N1, "name", put("fresh"));
    assert_eq!(lab.siblings(N1), ["fresh"]);
}

// -- what the tests above share --------------------------------------------------------------------------------------

/// A disk of which nothing can be read.
struct DeadDisk;

impl Disk for DeadDisk {
    fn still(&self) -> Still {
        Arc::new(DeadDisk)
    }
}

impl Read for DeadDisk {
    fn get(&self, _space: Space, _key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Err(StorageError::Io("no such device".into()))
    }

    fn scan(&self, _: Space, _: &[u8], _: &[u8], _: Visit<'_>) -> Result<(), StorageError> {
        Err(StorageError::Io("no such device".into()))
    }

    fn scan_back(&self, _: Space, _: &[u8], _: Option<&[u8]>, _: Visit<'_>) -> Result<(), StorageError> {
        Err(StorageError::Io("no such device".into()))
    }
}

fn rows(disk: &MemStorage, space: Space) -> Vec<(Vec<u8>, Vec<u8>)> {
    disk.rows(space).map(|(row, value)| (row.to_vec(), value.to_vec())).collect()
}

/// A value in the meta space with its checksum.
fn sealed(row: &[u8], body: &[u8]) -> Vec<u8> {
    let seed = xxhash_rust::xxh3::xxh3_64_with_seed(row, Space::Meta as u64);
    let sum = xxhash_rust::xxh3::xxh3_64_with_seed(body, seed) as u32;
    [body, &sum.to_be_bytes()].concat()
}
