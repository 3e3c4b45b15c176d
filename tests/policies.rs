//! Policies of buckets, at the node's seam: which type a key gets, how concurrent declarations merge, and what happens where a
//! policy cannot be read.

use meridian_core::cell::Type;
use meridian_core::id::{RequestId, ShardId};
use meridian_core::name::{Bucket, ShardCount};
use meridian_core::node::{Config, Input, Operation, Reply, Request};
use meridian_core::policy::{self, Policy};
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::{Write, Written};
use meridian_core::storage::{Batch, Space, Storage};
use meridian_core::types::Refusal;
use meridian_tests::lab::{Lab, bucket, config, increment, key, put, reset, write_of};

const N1: usize = 0;
const N2: usize = 1;

fn ask_policy(lab: &mut Lab, at: usize, operation: Operation) -> Reply {
    let request = Request { bucket: Bucket::policies(), key: policy::key_of(&bucket()), operation };
    lab.step(at, Input::Request { id: RequestId(1), request }).expect("every request is answered")
}

fn declare(lab: &mut Lab, at: usize, defaults: &[(&'static str, Type)]) {
    let policy = Policy { defaults: defaults.to_vec() };
    let reply = ask_policy(lab, at, write_of(policy.write(), None, None));
    assert!(matches!(reply, Reply::Written { written: Written::Map(_), .. }), "{reply:?}");
}

/// What is declared, as a node has it.
fn declared(lab: &mut Lab, at: usize) -> Option<Vec<(&'static str, Type)>> {
    match ask_policy(lab, at, Operation::Read(ReadRequest::default())) {
        Reply::Read(found) => found.value.map(|value| Policy::of(&value).defaults),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_policy_names_the_type_of_keys_that_are_created_afterwards_on_every_node_that_has_it() {
    let mut lab = Lab::with(2, Config { shards: ShardCount::DEFAULT, ..config() });
    assert_eq!(lab.write(N1, "before", put("a")), Written::Put(Type::Register));
    declare(&mut lab, N1, &[("observe", Type::Min), ("put", Type::Multi)]);
    assert_eq!(lab.write(N2, "elsewhere", put("a")), Written::Put(Type::Register), "it has not come yet");
    lab.exchange();
    for at in [N1, N2] {
        assert_eq!(lab.write(at, &format!("put{at}"), put("a")), Written::Put(Type::Multi));
        let observed = lab.write(at, &format!("seen{at}"), Write::Observe(vec![5]));
        assert_eq!(observed, Written::Extremum(Type::Min, 5));
        assert_eq!(lab.write(at, "before", put("b")), Written::Put(Type::Register), "it is a register");
        let named = lab.write_as(at, &format!("named{at}"), Type::Register, put("a"));
        assert_eq!(named, Written::Put(Type::Register));
        assert_eq!(lab.write(at, &format!("counter{at}"), increment(2)), Written::Counter(2));
    }
}

#[test]
fn a_declaration_replaces_the_one_before_and_may_say_nothing() {
    let mut lab = Lab::new(1);
    assert_eq!(declared(&mut lab, N1), None);
    declare(&mut lab, N1, &[("observe", Type::Min), ("put", Type::Multi)]);
    declare(&mut lab, N1, &[("put", Type::Register)]);
    assert_eq!(declared(&mut lab, N1), Some(vec![("put", Type::Register)]));
    assert_eq!(lab.write(N1, "seen", Write::Observe(vec![5])), Written::Extremum(Type::Max, 5));
    declare(&mut lab, N1, &[]);
    assert_eq!(declared(&mut lab, N1), Some(vec![]));
    ask_policy(&mut lab, N1, write_of(Write::Delete, None, None));
    assert_eq!(declared(&mut lab, N1), None);
    declare(&mut lab, N1, &[]);
    assert_eq!(declared(&mut lab, N1), Some(vec![]), "also where nothing was declared before");
    assert_eq!(lab.write(N1, "k", put("a")), Written::Put(Type::Register));
}

#[test]
fn concurrent_declarations_merge_by_operation_and_the_last_wins() {
    let mut lab = Lab::new(2);
    declare(&mut lab, N1, &[("enable", Type::Flag)]);
    lab.exchange();
    lab.set_ahead(N2, 1_000);
    declare(&mut lab, N2, &[("observe", Type::Min), ("put", Type::Register)]);
    declare(&mut lab, N1, &[("add", Type::Set), ("put", Type::Multi)]);
    lab.exchange();
    let merged = vec![("add", Type::Set), ("observe", Type::Min), ("put", Type::Register)];
    for at in [N1, N2] {
        assert_eq!(declared(&mut lab, at), Some(merged.clone()), "what both had replaced is gone");
        assert_eq!(lab.write(at, &format!("k{at}"), put("a")), Written::Put(Type::Register));
    }
    // What a DELETE has not seen stays.
    ask_policy(&mut lab, N1, write_of(Write::Delete, None, None));
    declare(&mut lab, N2, &[("put", Type::Multi)]);
    lab.exchange();
    for at in [N1, N2] {
        assert_eq!(declared(&mut lab, at), Some(vec![("put", Type::Multi)]));
    }
}

#[test]
fn a_policy_that_cannot_be_read_is_not_taken_for_one_that_says_nothing() {
    let shards = ShardCount::DEFAULT;
    let mut lab = Lab::with(1, Config { shards, ..config() });
    let of_policy: ShardId = shards.shard_of(&Bucket::policies(), &policy::key_of(&bucket()));
    lab.write(N1, "before", put("a"));
    declare(&mut lab, N1, &[("put", Type::Multi)]);
    let rows: Vec<Vec<u8>> = lab.rows(N1, Space::Cell).into_iter().map(|(row, _)| row).collect();
    for row in &rows {
        lab.members[N1].disk.damage(Space::Cell, row, |value| value[0] ^= 1);
    }
    assert_eq!(lab.refused(N1, "k", write_of(put("a"), None, None)), Refusal::PolicyUnread);
    let in_service =
        |lab: &Lab, shard| !lab.members[N1].node.replica(shard).expect("a shard").is_out_of_service();
    assert!(!in_service(&lab, of_policy) && in_service(&lab, shards.shard_of(&bucket(), &key("k"))));
    // As while it is emptied to be filled anew.
    let mut gone = Batch::default();
    rows.into_iter().for_each(|row| gone.delete(Space::Cell, row));
    lab.members[N1].disk.write(&gone).expect("a healthy disk");
    for write in [put("a"), Write::Observe(vec![1])] {
        assert_eq!(lab.refused(N1, "k", write_of(write, None, None)), Refusal::PolicyUnread);
    }
    // Who does not need it is not hindered.
    assert_eq!(lab.write(N1, "before", put("b")), Written::Put(Type::Register));
    assert_eq!(lab.write_as(N1, "k", Type::Register, put("a")), Written::Put(Type::Register));
    assert_eq!(lab.write(N1, "none", Write::Delete), Written::Done);
    assert_eq!(lab.write(N1, "none", reset()), Written::Counter(0));
    assert_eq!(lab.write(N1, "counter", increment(1)), Written::Counter(1), "only a counter knows it");
    assert_eq!(lab.read(N1, "k", None), "a");
}
