//! The cost gates: what one small operation costs, in storage operations and bytes. Counted, never timed, so the figures
//! are the same on every machine. `cargo test --release --test costs -- --nocapture` prints them.
//!
//! - A small write costs the same whatever the size of the set or map that it touches, and however many keys lie beside it.
//! - A removal of any size is one small delta, its turn looks at a bounded number of rows, and what follows before the rows are
//!   swept away costs what it did before.
//! - A page of a listing costs the same wherever it begins, and however many keys there are.
//! - Metadata on the disk: at most 16 bytes for a set member, 28 for a register and 32 for a field that is one, beyond the names
//!   and the value; no row is left after a DELETE, but for a counter's spent slots.
//! - A delta on the wire: at most 36 bytes beyond the names and the value, among others of its origin.
//!
//! This is one file because all gates count with the same host and the same disk.

use meridian_core::cell::{Head, Slot, Type};
use meridian_core::codec::Encode;
use meridian_core::context::Context;
use meridian_core::delta::{Delta, Effect};
use meridian_core::delta_log::Rest;
use meridian_core::id::{Dot, NodeId, OriginId, RequestId, ShardId};
use meridian_core::listing::{self, Position, Query, Replicas};
use meridian_core::message::Message;
use meridian_core::name::{Bucket, ContentType, Key, Member, ShardCount};
use meridian_core::node::{Config, Input, Node, Now, Operation, Output, Reply, Request, Turn};
use meridian_core::path::{Field, Path};
use meridian_core::replica::Replica;
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::{Write, WriteRequest};
use meridian_core::storage::{Disk, MemStorage, Read, Space, Still, Storage, StorageError, Visit};
use meridian_core::types::counter::CounterOp;
use meridian_core::types::flag::FlagOp;
use meridian_core::types::map::FieldWrite;
use meridian_core::types::set::SetOp;
use meridian_core::types::{Refusal, Value};
use meridian_core::version_vector::VersionVector;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

const FEW: usize = 10;
const MANY: usize = 100_000;
/// Most that an operation among many may cost, of what it costs among few.
const SLOPE_MAX: f64 = 2.5;

const MEMBER_METADATA_BYTES_MAX: f64 = 16.0;
const REGISTER_METADATA_BYTES_MAX: f64 = 28.0;
const FIELD_METADATA_BYTES_MAX: f64 = 32.0;
const DELTA_OVERHEAD_BYTES_MAX: f64 = 36.0;

/// From here to 2²¹ − 1 a sequence takes three bytes: what is measured here is what it costs at a million.
const THREE_BYTE_SEQ: u64 = 1 << 14;

// -- the slope -------------------------------------------------------------------------------------------------------

#[test]
fn adding_to_a_large_set_costs_what_adding_to_a_small_one_does() {
    let fresh = |host: &mut Host| host.measure(KEY, add("newcomer"));
    let again = |host: &mut Host| host.measure(KEY, add(&nth_member(FEW / 2)));
    assert_flat("set add, new member", [FEW, MANY].map(|members| fresh(&mut set_of(members))));
    assert_flat("set add, known member", [FEW, MANY].map(|members| again(&mut set_of(members))));
}

#[test]
fn a_set_that_lost_its_head_to_a_concurrent_delete_costs_no_walk_either() {
    let costs = [FEW, MANY].map(|members| {
        let (mut host, mut other) = (Host::open(1), Host::open(2));
        host.write(KEY, add("first"));
        other.catch_up_with(&mut host);
        other.write(KEY, Write::Delete);
        host.fill(members);
        host.catch_up_with(&mut other);
        host.sweep();
        assert_eq!([host.rows(Space::Head), host.rows(Space::Cell)], [1, members], "a mark, and members");
        host.measure(KEY, add("newcomer"))
    });
    assert_flat("set add, no head", costs);
}

#[test]
fn removing_from_a_large_set_costs_what_removing_from_a_small_one_does() {
    let remove = |host: &mut Host| host.measure(KEY, remove(&nth_member(FEW / 2)));
    assert_flat("set remove", [FEW, MANY].map(|members| remove(&mut set_of(members))));
}

#[test]
fn an_increment_costs_the_same_however_many_keys_lie_beside_it() {
    let costs = [FEW, MANY].map(|keys| {
        let mut host = keys_beside(keys);
        host.write(KEY, increment(1));
        host.measure(KEY, increment(1))
    });
    assert_flat("counter increment", costs);
}

#[test]
fn a_put_costs_the_same_however_many_keys_lie_beside_it() {
    let costs = [FEW, MANY].map(|keys| {
        let mut host = keys_beside(keys);
        host.write(KEY, put(b"before"));
        host.measure(KEY, put(b"after!"))
    });
    assert_flat("register put", costs);
}

#[test]
fn writing_a_field_of_a_large_map_costs_what_it_does_in_a_small_one() {
    const RECORD: &str = "field-000005-between";
    let writes = [
        ("map put, new field", [RECORD, "new"], put(&VALUE)),
        ("map put, known field", [RECORD, "title"], put(&VALUE)),
        ("map increment", [RECORD, "views"], increment(1)),
        ("map set add", [RECORD, "tags"], add("newcomer")),
    ];
    let all = [FEW, MANY].map(|fields| {
        let mut host = map_of(fields);
        for (field, write) in [("title", put(b"before")), ("views", increment(1)), ("tags", add("jazz"))] {
            host.write(KEY, at(&[RECORD, field], write));
        }
        writes.clone().map(|(_, fields, write)| host.measure(KEY, at(&fields, write)))
    });
    for (place, (what, ..)) in writes.iter().enumerate() {
        assert_flat(what, all.map(|costs| costs[place]));
    }
}

#[test]
fn a_write_to_a_flag_a_maximum_or_multiple_values_costs_the_same_however_many_keys_lie_beside_it() {
    let writes =
        [("flag enable", enable()), ("observe", Write::Observe(vec![7])), ("multi put", put(b"after!"))];
    let all = [FEW, MANY].map(|keys| {
        let mut host = keys_beside(keys);
        let (bucket_key, multi) = ("key-000005-multi", Some(Type::Multi));
        let before = WriteRequest { named: multi, ..WriteRequest::of(put(b"before")) };
        let (_, context) = host.measure_request(bucket_key, before);
        host.write("key-000005-flag", enable());
        host.write("key-000005-max", Write::Observe(vec![3]));
        let put =
            WriteRequest { named: multi, context: Some(context), ..WriteRequest::of(writes[2].1.clone()) };
        [
            host.measure("key-000005-flag", writes[0].1.clone()),
            host.measure("key-000005-max", writes[1].1.clone()),
            host.measure_request(bucket_key, put).0,
        ]
    });
    for (place, (what, _)) in writes.iter().enumerate() {
        assert_flat(what, all.map(|costs| costs[place]));
    }
}

/// The gate itself: a walk over the set must not pass it.
#[test]
fn the_gate_sees_an_operation_that_walks_the_set() {
    let [few, many] = [FEW, MANY].map(|members| set_of(members).measure(KEY, Write::Set(vec![SetOp::Clear])));
    println!("set clear: {few:?} at {FEW}, {many:?} at {MANY}");
    assert!(!is_flat(few, many), "a clear visits members, up to a limit");
}

/// Entries of a page.
const PAGE: usize = 100;

#[test]
fn a_page_of_a_listing_costs_the_same_wherever_it_begins_and_however_many_keys_there_are() {
    for reverse in [false, true] {
        let costs: Vec<(usize, usize, Cost)> = [10 * PAGE, MANY]
            .into_iter()
            .flat_map(|keys| {
                let host = keys_beside(keys);
                let list = |place| (keys, place, host.list(&nth_key(place), reverse));
                [2 * PAGE, keys / 2, keys - 2 * PAGE].map(list)
            })
            .collect();
        println!("page of a listing, reverse {reverse}: {costs:?}");
        let operations = |cost: &Cost| (cost.gets, cost.scans, cost.rows_visited);
        assert!(costs.iter().all(|(.., cost)| operations(cost) == operations(&costs[0].2)), "{costs:?}");
    }
}

// -- large removals --------------------------------------------------------------------------------------------------

/// Most bytes of a removal's delta beyond its names.
const REMOVAL_DELTA_BYTES_MAX: usize = 64;
/// Most rows that a removal looks through before it makes a mask,
const LOOKED_THROUGH: usize = 1_000;
/// and members that a clear counts first.
const COUNTED: usize = 10_000;
/// Most operations of one that is not a walk, and rows that it visits.
const OPERATIONS_FEW: usize = 24;

#[test]
fn a_removal_of_any_size_is_one_small_delta_and_a_bounded_turn() {
    for (what, mut host, removal, rows_max) in large_removals() {
        let before = host.vector().clone();
        let cost = host.measure(KEY, removal);
        println!("{what} of {MANY}: {cost:?}");
        assert!(cost.rows_visited <= rows_max + FEW && cost.rows_written < FEW, "{what}: {cost:?}");
        let (deltas, _) = host.missing(before);
        let [delta] = &deltas[..] else { panic!("{what} is {} deltas", deltas.len()) };
        let bytes = delta.size() - payload_bytes(delta);
        println!("{what} of {MANY}: a delta of {bytes} bytes beyond its names");
        assert!(bytes <= REMOVAL_DELTA_BYTES_MAX, "{what}: {bytes} bytes");
    }
}

#[test]
fn after_a_large_removal_reads_and_writes_cost_what_they_did_and_no_row_is_left_in_the_end() {
    for (what, mut host, removal, _) in large_removals() {
        host.write(KEY, removal);
        assert!(host.replica().tree().is_none(), "{what}: the root is withheld while rows lie there");
        let (cost, read) = host.measure_read(KEY);
        println!("read after {what}: {cost:?}");
        assert!(is_no_walk(cost), "a read after {what}: {cost:?}");
        assert!(read.is_none_or(|value| is_empty(&value)), "{what}: nothing is read");
        for write in [later(what), later(what)] {
            let cost = host.measure(KEY, write);
            println!("write after {what}: {cost:?}");
            assert!(is_no_walk(cost), "a write after {what}: {cost:?}");
        }
        let (cost, read) = host.measure_read(KEY);
        assert!(is_no_walk(cost), "a read of what was written after {what}: {cost:?}");
        let written = read.expect("what was written since is read");
        assert!(!is_empty(&written), "{what}: {written:?}");
        host.sweep();
        assert_eq!(host.read(KEY), Some(written), "{what}: what was written since stays");
        host.write(KEY, Write::Delete);
        assert_eq!([host.rows(Space::Head), host.rows(Space::Cell)], [0, 0], "heads and cells after {what}");
        assert!(host.replica().tree().is_some(), "{what}: the root is told again");
    }
}

/// A node that starts again does not know what was written under a mask since: readers walk over hidden rows, so far and no
/// further, until they are swept.
#[test]
fn after_a_restart_a_read_walks_over_few_hidden_rows_and_is_refused_beyond() {
    const WALKED: usize = 20_000;
    for (what, mut host, removal, _) in large_removals() {
        host.write(KEY, removal);
        host.write(KEY, later(what));
        let mut host = host.restart(2);
        let (cost, reply) = host.request(KEY, Operation::Read(ReadRequest::default()));
        println!("read after {what} and a restart: {cost:?}");
        assert!(cost.rows_visited <= WALKED + OPERATIONS_FEW, "{what}: {cost:?}");
        assert_eq!(reply, Reply::Refused(Refusal::Sweeping), "{what}");
        host.sweep();
        assert!(host.read(KEY).is_some_and(|value| !is_empty(&value)), "{what}: what was written since");
    }
}

fn is_no_walk(cost: Cost) -> bool {
    cost.gets + cost.scans <= OPERATIONS_FEW && cost.rows_visited <= OPERATIONS_FEW
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Set(members) => members.is_empty(),
        Value::Map(fields) => {
            fields.iter().all(|(_, field)| matches!(field, Value::Map(_)) && is_empty(field))
        }
        _ => false,
    }
}

/// A removal, a node with what it removes, and how many rows it may look at.
type Removal = (&'static str, Host, Write, usize);

fn large_removals() -> [Removal; 4] {
    let subtree = at(&["records"], Write::Delete);
    [
        ("DELETE of a set", set_of(MANY), Write::Delete, LOOKED_THROUGH),
        ("clear", set_of(MANY), Write::Set(vec![SetOp::Clear]), COUNTED + LOOKED_THROUGH),
        ("DELETE of a map", map_of(MANY), Write::Delete, LOOKED_THROUGH),
        ("removal of a subtree", map_below("records", MANY), subtree, LOOKED_THROUGH),
    ]
}

/// What is written after a removal, in its place.
fn later(what: &str) -> Write {
    match what {
        "DELETE of a set" | "clear" => add(&nth_member(MANY / 2)),
        "DELETE of a map" => at(&[&nth_field(MANY / 2)], put(&VALUE)),
        _ => at(&["records", &nth_field(MANY / 2)], put(&VALUE)),
    }
}

// -- metadata on the disk --------------------------------------------------------------------------------------------

#[test]
fn a_set_member_takes_at_most_16_bytes_beyond_its_names() {
    const MEMBERS: usize = 1_000;
    let mut host = Host::open(1);
    host.use_up(THREE_BYTE_SEQ);
    let before = host.stored();
    for n in 0..MEMBERS {
        host.write(KEY, add(&nth_member(n)));
    }
    let names = MEMBERS * (BUCKET.len() + KEY.len() + nth_member(0).len());
    let bytes = (host.stored() - before - names) as f64 / MEMBERS as f64;
    println!("metadata of a set member: {bytes:.2} bytes on the disk, the set's head shared among {MEMBERS}");
    assert!(bytes <= MEMBER_METADATA_BYTES_MAX, "{bytes:.2} bytes");
}

#[test]
fn a_register_takes_at_most_28_bytes_beyond_its_names_and_value() {
    const REGISTERS: usize = 1_000;
    let mut host = Host::open(1);
    host.use_up(THREE_BYTE_SEQ);
    let before = host.stored();
    for key in (0..REGISTERS).chain(0..REGISTERS).map(nth_key) {
        host.write(&key, put(&VALUE));
    }
    let names_and_values = REGISTERS * (BUCKET.len() + nth_key(0).len() + VALUE.len());
    let bytes = (host.stored() - before - names_and_values) as f64 / REGISTERS as f64;
    println!("metadata of a register: {bytes:.2} bytes on the disk, each overwritten once");
    assert!(bytes <= REGISTER_METADATA_BYTES_MAX, "{bytes:.2} bytes");
}

/// A field takes what a key does, and its place in the key: a kind and the ends of its path. A map on the way takes a row of its
/// own, which its fields share.
#[test]
fn a_field_takes_at_most_32_bytes_beyond_its_names_and_value() {
    const FIELDS: usize = 1_000;
    for way in [&[][..], &["settings"], &["settings", "display"]] {
        let mut host = Host::open(1);
        host.use_up(THREE_BYTE_SEQ);
        let before = host.stored();
        for field in (0..FIELDS).chain(0..FIELDS).map(nth_field) {
            host.write(KEY, at(&[way, &[&*field]].concat(), put(&VALUE)));
        }
        let path = way.iter().map(|name| name.len()).sum::<usize>() + nth_field(0).len();
        let names_and_values = FIELDS * (BUCKET.len() + KEY.len() + path + VALUE.len());
        let bytes = (host.stored() - before - names_and_values) as f64 / FIELDS as f64;
        let depth = way.len() + 1;
        println!("metadata of a field at depth {depth}: {bytes:.2} bytes on the disk, each overwritten once");
        assert!(
            bytes <= FIELD_METADATA_BYTES_MAX + 2.0 * way.len() as f64,
            "{bytes:.2} bytes at depth {depth}"
        );
    }
}

#[test]
fn no_row_is_left_of_a_key_without_counters_that_was_deleted() {
    let mut host = set_of(FEW);
    let map = [at(&["a", "b"], put(&VALUE)), at(&["a", "tags"], add("jazz")), at(&["on"], enable())];
    let others = [("register", put(&VALUE)), ("flag", enable()), ("max", Write::Observe(vec![7]))];
    for (key, write) in others.into_iter().chain(map.map(|write| ("map", write))) {
        host.write(key, write);
    }
    for key in [KEY, "register", "flag", "max", "map"] {
        host.write(key, Write::Delete);
    }
    assert_eq!([host.rows(Space::Head), host.rows(Space::Cell)], [0, 0], "heads and cells");
}

/// A slot that a reset has emptied stays as a marker of how far it was reset, until all members are known to have that
/// reset: only then will nobody send or ask for anything that the marker decides. No barrier that could tell exists yet.
/// Until then it is one row for each run that incremented, which digests count; but the key does not exist.
#[test]
fn of_a_deleted_counter_its_spent_slots_are_left_and_nothing_else() {
    let (mut host, mut other) = (Host::open(1), Host::open(2));
    host.write(KEY, increment(5));
    other.write(KEY, increment(7));
    host.catch_up_with(&mut other);
    assert_eq!(host.read(KEY), Some(Value::Counter(12)));
    host.write(KEY, Write::Delete);
    assert_eq!(host.read(KEY), None);
    assert_eq!(
        [host.rows(Space::Head), host.rows(Space::Cell)],
        [0, 2],
        "heads, and a slot for each of two runs"
    );
    let scanned =
        host.replica().scan_content(&host.disk, host.node.origins(), &mut |space, row, canonical| {
            let slot = Slot::from_bytes(&canonical).expect("a slot's base and last");
            assert!(space == Space::Cell && slot.is_spent(), "{space:?} {}: {slot:?}", row.escape_ascii());
        });
    scanned.expect("no row is damaged");
}

// -- the wire --------------------------------------------------------------------------------------------------------

/// How many deltas one message has.
const DELTAS: usize = 100;

#[test]
fn an_overwriting_put_takes_at_most_36_bytes_beyond_its_names_and_value_on_the_wire() {
    assert_small_on_the_wire("overwriting put", |n| (nth_key(n), put(&VALUE)));
}

#[test]
fn a_set_add_takes_at_most_36_bytes_beyond_its_names_on_the_wire() {
    assert_small_on_the_wire("set add", |n| (KEY.into(), add(&nth_member(n))));
}

#[test]
fn an_increment_takes_at_most_36_bytes_beyond_its_names_on_the_wire() {
    assert_small_on_the_wire("increment", |n| (KEY.into(), increment(n as i64 + 1)));
}

#[test]
fn an_overwritten_field_takes_at_most_36_bytes_beyond_its_names_and_value_on_the_wire() {
    assert_small_on_the_wire("field", |n| (KEY.into(), at(&["settings", &nth_field(n)], put(&VALUE))));
}

/// Measures a hundred deltas of one origin in one message, with three origins in the version vectors: while the other
/// two rest, and while they write as often, so that each delta has seen more than the one before it.
fn assert_small_on_the_wire(what: &str, nth_write: impl Fn(usize) -> (String, Write)) {
    for others_write in [false, true] {
        let mut hosts = [1, 2, 3].map(Host::open);
        for host in &mut hosts {
            host.use_up(THREE_BYTE_SEQ);
        }
        let [host, others @ ..] = &mut hosts;
        others.iter_mut().for_each(|other| host.catch_up_with(other));
        for n in 0..DELTAS {
            let (key, write) = nth_write(n);
            host.write(&key, write);
        }
        let before = host.vector().at(host.node.origin());
        for n in 0..DELTAS {
            if others_write {
                let other = &mut others[n % 2];
                other.write("elsewhere", increment(1));
                host.catch_up_with(other);
            }
            let (key, write) = nth_write(n);
            host.write(&key, write);
        }
        let last_seen = Dot::new(host.node.origin(), before);
        let have = host.vector().without(host.node.origin()).iter().chain([last_seen]).collect();
        let (deltas, rest) = host.missing(have);
        assert_eq!((deltas.len(), rest), (DELTAS, Rest::None), "one message has them all");
        let payload: usize = deltas.iter().map(|delta| payload_bytes(delta)).sum();
        let overhead = |message: &Message, payload| message.to_bytes().len() - payload;
        let fresh = Message::Fresh { shard: SHARD, deltas: deltas.clone() };
        let alone = Message::Fresh { shard: SHARD, deltas: vec![deltas[DELTAS - 1].clone()] };
        let missing = Message::Missing { shard: SHARD, deltas: deltas.clone(), rest };
        let figures = [&fresh, &missing].map(|message| overhead(message, payload) as f64 / DELTAS as f64);
        println!(
            "wire, {what}, the others {}: {:.2} bytes beyond names and value in Fresh, {:.2} in Missing; alone {}",
            if others_write { "write" } else { "rest" },
            figures[0],
            figures[1],
            overhead(&alone, payload_bytes(&deltas[DELTAS - 1])),
        );
        for bytes in figures {
            assert!(bytes <= DELTA_OVERHEAD_BYTES_MAX, "{what}: {bytes:.2} bytes");
        }
    }
}

/// The bytes of a delta that are its user's: bucket, key, fields, members and value.
fn payload_bytes(delta: &Delta) -> usize {
    let of_path = |path: &Path| path.fields().iter().map(|field| field.as_str().len()).sum::<usize>();
    let of_effect = |(path, effect): &(Path, Effect)| {
        let content = match effect {
            Effect::Member { member, .. } => member.as_str().len(),
            Effect::Head { put: Some(Head::Register(register)), .. } => register.value.len(),
            _ => 0,
        };
        of_path(path) + content
    };
    let changes = delta.changes.iter();
    let of_change = changes.map(|change| {
        let names = change.bucket.as_str().len() + change.key.as_bytes().len();
        names + change.effects.iter().map(of_effect).sum::<usize>()
    });
    of_change.sum()
}

// -- what is counted -------------------------------------------------------------------------------------------------

/// What one request cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    gets: usize,
    scans: usize,
    rows_visited: usize,
    bytes_read: usize,
    rows_written: usize,
    bytes_written: usize,
}

fn is_flat(few: Cost, many: Cost) -> bool {
    let within = |few: usize, many: usize| many as f64 <= few as f64 * SLOPE_MAX;
    within(few.gets + few.scans, many.gets + many.scans)
        && within(few.rows_visited, many.rows_visited)
        && within(few.bytes_read, many.bytes_read)
        && within(few.rows_written, many.rows_written)
        && within(few.bytes_written, many.bytes_written)
}

fn assert_flat(what: &str, [few, many]: [Cost; 2]) {
    println!("{what}: {few:?} at {FEW}, {many:?} at {MANY}");
    assert!(is_flat(few, many), "{what} costs more among many");
    let operations = |cost: Cost| (cost.gets, cost.scans, cost.rows_visited, cost.rows_written);
    assert_eq!(operations(few), operations(many), "{what}: only the length of a sequence may differ");
}

/// A disk that counts what is read.
struct Counted<'a> {
    disk: &'a MemStorage,
    cost: Cell<Cost>,
}

impl Counted<'_> {
    fn count(&self, counts: impl FnOnce(&mut Cost)) {
        let mut cost = self.cost.get();
        counts(&mut cost);
        self.cost.set(cost);
    }
}

impl Disk for Counted<'_> {
    fn still(&self) -> Still {
        self.disk.still()
    }
}

impl Read for Counted<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let found = self.disk.get(space, key)?;
        self.count(|cost| {
            cost.gets += 1;
            cost.bytes_read += found.as_ref().map_or(0, |value| key.len() + value.len());
        });
        Ok(found)
    }

    fn scan(&self, space: Space, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        self.count(|cost| cost.scans += 1);
        self.disk.scan(space, prefix, from, &mut |key, value| {
            self.count(|cost| {
                cost.rows_visited += 1;
                cost.bytes_read += key.len() + value.len();
            });
            visit(key, value)
        })
    }

    fn scan_back(
        &self,
        space: Space,
        prefix: &[u8],
        before: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        self.count(|cost| cost.scans += 1);
        self.disk.scan_back(space, prefix, before, &mut |key, value| {
            self.count(|cost| {
                cost.rows_visited += 1;
                cost.bytes_read += key.len() + value.len();
            });
            visit(key, value)
        })
    }
}

// -- a node on its disk ----------------------------------------------------------------------------------------------

const SHARD: ShardId = ShardId(0);
const BUCKET: &str = "users";
const KEY: &str = "key-000005-between";
const VALUE: [u8; 100] = [b'v'; 100];

/// A node on its disk, one turn for each request, at four requests a second.
struct Host {
    node: Node,
    disk: MemStorage,
    wall_ms: u64,
}

/// A node with a set of so many members.
fn set_of(members: usize) -> Host {
    let mut host = Host::open(1);
    host.fill(members);
    host
}

/// A node with a map of so many fields.
fn map_of(fields: usize) -> Host {
    let mut host = Host::open(1);
    host.fill_map(&[], fields);
    host
}

/// A node with a map of so many fields in a field of another.
fn map_below(field: &str, fields: usize) -> Host {
    let mut host = Host::open(1);
    host.fill_map(&[field], fields);
    host
}

/// A node with so many keys of all types, which lie around [`KEY`].
fn keys_beside(keys: usize) -> Host {
    let mut host = Host::open(1);
    for n in 0..keys {
        let write = match n % 3 {
            0 => put(&VALUE),
            1 => increment(1),
            _ => add("member"),
        };
        let cost = host.measure(&nth_key(n), write);
        assert!(cost.rows_visited < FEW, "a first write to a key, beside {n} others: {cost:?}");
    }
    host
}

fn config() -> Config {
    let shards = ShardCount::new(1).expect("one is a power of two");
    Config { shards, ..Config::default() }
}

fn origin(n: u64) -> OriginId {
    OriginId(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(n))
}

impl Host {
    fn open(n: u64) -> Self {
        let disk = MemStorage::default();
        let node = Node::open(config(), &disk, origin(n)).expect("an empty disk opens");
        let mut host = Host { node, disk, wall_ms: 1_700_000_000_000 };
        host.end_turn();
        host
    }

    /// A new run on the same disk.
    fn restart(self, n: u64) -> Self {
        let Host { disk, wall_ms, .. } = self;
        let node = Node::open(config(), &disk, origin(n)).expect("the disk is whole");
        let mut host = Host { node, disk, wall_ms };
        host.end_turn();
        host
    }

    /// Steps, and ends the turn.
    fn turn(&mut self, input: Input) -> (Cost, Vec<Output>) {
        self.wall_ms += 250;
        let now = Now { mono_ms: self.wall_ms, wall_ms: self.wall_ms };
        let counted = Counted { disk: &self.disk, cost: Cell::default() };
        self.node.step(now, &counted, input).expect("the disk does not fail");
        let mut cost = counted.cost.get();
        let Turn { batch, outputs, .. } = self.end_turn();
        for (_, key, value) in batch.iter() {
            cost.rows_written += 1;
            cost.bytes_written += key.len() + value.map_or(0, <[u8]>::len);
        }
        (cost, outputs)
    }

    fn end_turn(&mut self) -> Turn {
        let turn = self.node.end_turn();
        self.disk.write(&turn.batch).and_then(|()| self.disk.sync()).expect("the disk does not fail");
        turn
    }

    fn request(&mut self, key: &str, operation: Operation) -> (Cost, Reply) {
        let bucket = Bucket::new(BUCKET).expect("a good name");
        let key = Key::new(key.as_bytes()).expect("a good key");
        let request = Request { bucket, key, operation };
        match self.turn(Input::Request { id: RequestId(0), request }) {
            (cost, mut outputs) if outputs.len() == 1 => match outputs.remove(0) {
                Output::Reply { reply, .. } => (cost, reply),
                other => panic!("a request was answered {other:?}"),
            },
            (_, outputs) => panic!("a request was answered {outputs:?}"),
        }
    }

    fn measure(&mut self, key: &str, write: Write) -> Cost {
        self.measure_request(key, WriteRequest::of(write)).0
    }

    /// What a write costs, and what its client has seen then.
    fn measure_request(&mut self, key: &str, request: WriteRequest) -> (Cost, Context) {
        match self.request(key, Operation::Write(request)) {
            (cost, Reply::Written { context, .. }) => (cost, context),
            (_, other) => panic!("a write was answered {other:?}"),
        }
    }

    /// What a page costs that goes on at a key.
    fn list(&self, key: &str, reverse: bool) -> Cost {
        let counted = Counted { disk: &self.disk, cost: Cell::default() };
        let replicas = Replicas {
            disk: &counted,
            origins: self.node.origins(),
            vectors: &[self.vector()],
            masks: &[self.replica().masks()],
        };
        let after = Some(Position(key.as_bytes().to_vec()));
        let query = Query { limit: PAGE, reverse, after, ..Query::default() };
        let bucket = Bucket::new(BUCKET).expect("a good name");
        let mut entries = 0;
        let next = listing::page(replicas, &bucket, &query, &mut |_| {
            entries += 1;
            ControlFlow::Continue(())
        });
        assert!(entries == PAGE && next.expect("the disk does not fail").is_some(), "a page among others");
        counted.cost.get()
    }

    fn write(&mut self, key: &str, write: Write) {
        self.measure(key, write);
    }

    /// Puts so many members into the set, a hundred with each write.
    fn fill(&mut self, members: usize) {
        let members: Vec<Member> = (0..members).map(nth_member).map(|name| member(&name)).collect();
        for some in members.chunks(100) {
            self.write(KEY, Write::Set(vec![SetOp::Add(some.to_vec())]));
        }
    }

    /// Puts so many fields into the map, or into one in it, a hundred with each write.
    fn fill_map(&mut self, way: &[&str], fields: usize) {
        let fields: Vec<String> = (0..fields).map(nth_field).collect();
        for some in fields.chunks(100) {
            let ops = some.iter().map(|field| field_write(&[way, &[&**field]].concat(), put(b"value")));
            self.write(KEY, Write::Map(ops.collect()));
        }
    }

    fn read(&mut self, key: &str) -> Option<Value> {
        self.measure_read(key).1
    }

    fn measure_read(&mut self, key: &str) -> (Cost, Option<Value>) {
        match self.request(key, Operation::Read(ReadRequest::default())) {
            (cost, Reply::Read(found)) => (cost, found.value),
            (_, other) => panic!("a read was answered {other:?}"),
        }
    }

    /// Does all that can wait, a portion in each turn.
    fn sweep(&mut self) {
        let portion = config().portion_rows;
        while self.node.has_work() {
            let (cost, _) = self.turn(Input::Work);
            assert!(
                cost.rows_visited <= 2 * portion + FEW,
                "rows are swept and counted in portions: {cost:?}"
            );
        }
    }

    /// Makes deltas until the next one has this sequence.
    fn use_up(&mut self, seq: u64) {
        while self.vector().at(self.node.origin()) + 1 < seq {
            self.write("used-up", increment(1));
        }
    }

    fn replica(&self) -> &Replica {
        self.node.replica(SHARD).expect("there is one shard")
    }

    fn vector(&self) -> &VersionVector {
        self.replica().vector()
    }

    /// What one who has applied `have` lacks, and whether there is more.
    fn missing(&mut self, have: VersionVector) -> (Vec<Arc<Delta>>, Rest) {
        let message = Message::Pull { shard: SHARD, have };
        match self.turn(Input::Message { from: NodeId(9), message }).1.pop() {
            Some(Output::Send { message: Message::Missing { deltas, rest, .. }, .. }) => (deltas, rest),
            other => panic!("a pull was answered {other:?}"),
        }
    }

    fn catch_up_with(&mut self, other: &mut Host) {
        let mut rest = Rest::More;
        while rest == Rest::More {
            let deltas;
            (deltas, rest) = other.missing(self.vector().clone());
            let message = Message::Missing { shard: SHARD, deltas, rest };
            self.turn(Input::Message { from: NodeId(8), message });
        }
    }

    fn rows(&self, space: Space) -> usize {
        self.disk.rows(space).count()
    }

    /// The bytes of all heads and cells, keys and values.
    fn stored(&self) -> usize {
        let rows = self.disk.rows(Space::Head).chain(self.disk.rows(Space::Cell));
        rows.map(|(key, value)| key.len() + value.len()).sum()
    }
}

fn nth_key(n: usize) -> String {
    format!("key-{n:06}")
}

fn nth_member(n: usize) -> String {
    format!("member-{n:06}")
}

fn nth_field(n: usize) -> String {
    format!("field-{n:06}")
}

fn put(value: &[u8]) -> Write {
    let content_type = ContentType::new("application/json").expect("a good content type");
    Write::Put { content_type, value: value.to_vec() }
}

fn increment(by: i64) -> Write {
    Write::Counter(vec![CounterOp::Increment(by)])
}

fn member(name: &str) -> Member {
    Member::new(name).expect("a good member")
}

fn add(name: &str) -> Write {
    Write::Set(vec![SetOp::Add(vec![member(name)])])
}

fn remove(name: &str) -> Write {
    Write::Set(vec![SetOp::Remove(vec![member(name)])])
}

fn enable() -> Write {
    Write::Flag(vec![FlagOp::Enable])
}

/// A write to a field of a map.
fn at(fields: &[&str], write: Write) -> Write {
    Write::Map(vec![field_write(fields, write)])
}

fn field_write(fields: &[&str], write: Write) -> FieldWrite {
    let fields = fields.iter().map(|name| Field::new(name).expect("a good field")).collect();
    FieldWrite { path: Path::new(fields).expect("a good path"), named: None, write }
}
