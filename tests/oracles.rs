//! The `crdts` crate as oracle: what our types read, its types read too.
//!
//! A schedule makes two to four nodes write, and delivers their messages late, repeatedly and in any order across links.
//! Beside each node stands a replica of the crate's type, which takes over a write exactly when the node's version
//! vector first covers its dot: causal delivery, which is all that the crate asks for. After every step:
//! - every key of the node reads like the oracle beside it, and a write answers what the oracle says has changed;
//! - nodes that ever had the same version vector had the same content, byte for byte.
//!
//! | ours | the crate's |
//! |---|---|
//! | set, without contexts | `Orswot` |
//! | counter, without resets | `PNCounter` |
//! | register: what is read, and the siblings in the head | `LWWReg`, and `MVReg` |
//!
//! Never `crdts::Map`: it diverges, and brings back what was removed.
//!
//! The last law has no counterpart in the crate: with all types, contexts, deletes and resets mixed, the same deltas
//! applied in any order give the same bytes.
//!
//! The schedules are the same in every run; `PROPTEST_RNG_SEED=7` in the environment gives others. This is one file
//! because the laws, the oracles and the small world they live in are read together and used nowhere else.

use crdts::{CmRDT, LWWReg, MVReg, Orswot, PNCounter, mvreg, orswot, pncounter};
use meridian_core::cell::{Cell, Head};
use meridian_core::codec::Encode;
use meridian_core::context::Context;
use meridian_core::delta::{Delta, Effect};
use meridian_core::hlc::Hlc;
use meridian_core::id::{Dot, NodeId, OriginId, RequestId, ShardId};
use meridian_core::message::Message;
use meridian_core::name::{Bucket, ContentType, Key, Member, ShardCount};
use meridian_core::node::{Config, Input, Node, Now, Operation, Output, Reply, Request, Turn};
use meridian_core::planted::{Bug, Planted};
use meridian_core::replica::write::{Write, WriteRequest, Written};
use meridian_core::storage::{MemStorage, Overlay, Space, Storage};
use meridian_core::types::Value;
use meridian_core::types::counter::CounterOp;
use meridian_core::types::set::{SetChange, SetOp};
use meridian_core::version_vector::VersionVector;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// How many schedules each law is held against.
const SCHEDULES: u32 = 1_000;

// -- the laws --------------------------------------------------------------------------------------------------------

#[test]
fn a_set_reads_like_an_orswot() {
    hold(schedules(SINGLE_TYPE, set_write()), |schedule| run::<SetOracle>(schedule, None));
}

#[test]
fn a_counter_reads_like_a_pn_counter() {
    hold(schedules(SINGLE_TYPE, counter_write()), |schedule| run::<CounterOracle>(schedule, None));
}

#[test]
fn a_register_reads_like_an_lww_register_and_its_siblings_like_a_multi_value_register() {
    hold(schedules(SINGLE_TYPE, register_write()), |schedule| run::<RegisterOracle>(schedule, None));
}

#[test]
fn the_same_deltas_in_any_order_give_the_same_bytes() {
    hold((mixed_schedules(), orders()), |(schedule, orders)| any_order(schedule, orders, None));
}

#[test]
fn an_add_wins_over_a_concurrent_remove() -> Outcome {
    let mut world = World::<SetOracle>::new(2, None);
    let add = Write::Set(vec![SetOp::Add(vec![member("a")])]);
    let remove = Write::Set(vec![SetOp::Remove(vec![member("a")])]);
    world.write(0, 0, &add, None, 0)?;
    world.drain()?;
    world.write(0, 0, &remove, None, 0)?;
    world.write(1, 0, &add, None, 0)?;
    world.drain()?;
    assert_eq!(world.read_everywhere(0), vec![Some(Value::Set(vec![member("a")])); 2]);
    Ok(())
}

#[test]
fn concurrent_increments_may_take_a_counter_beyond_64_bits() -> Outcome {
    let mut world = World::<CounterOracle>::new(2, None);
    for node in 0..2 {
        world.write(node, 0, &Write::Counter(vec![CounterOp::Increment(i64::MAX)]), None, 0)?;
    }
    world.drain()?;
    let sum = i128::from(i64::MAX) * 2;
    assert_eq!(world.read_everywhere(0), vec![Some(Value::Counter(sum)); 2]);
    Ok(())
}

#[test]
fn of_concurrent_puts_the_highest_stamp_is_read_on_every_node() -> Outcome {
    let mut world = World::<RegisterOracle>::new(3, None);
    for (node, wall_ms) in [(0, 5), (1, 9), (2, 7)] {
        world.write(node, 0, &put(vec![node as u8]), None, wall_ms)?;
    }
    world.drain()?;
    let winner = Value::Register { content_type: text_plain(), bytes: vec![1] };
    assert_eq!(world.read_everywhere(0), vec![Some(winner); 3]);
    Ok(())
}

/// A test that cannot fail proves nothing: each of these bugs must break the law beside it.
#[test]
fn the_laws_see_planted_bugs() {
    let sets = || schedules(SINGLE_TYPE, set_write());
    let counters = || schedules(SINGLE_TYPE, counter_write());
    let registers = || schedules(SINGLE_TYPE, register_write());
    let all = || (mixed_schedules(), orders());
    for bug in [Bug::DeltaDropped, Bug::RangeKillByReceiver, Bug::NoCausalGate] {
        assert!(breaks(sets(), |s| run::<SetOracle>(s, Some(bug))), "sets: {bug:?} was not noticed");
    }
    for bug in [Bug::DeltaDropped, Bug::DuplicateApplied] {
        assert!(breaks(counters(), |s| run::<CounterOracle>(s, Some(bug))), "counters: {bug:?}");
    }
    for bug in [Bug::DeltaDropped, Bug::LosingSiblingsDropped, Bug::NoCausalGate] {
        assert!(breaks(registers(), |s| run::<RegisterOracle>(s, Some(bug))), "registers: {bug:?}");
    }
    for bug in [Bug::GapAccepted, Bug::NoCausalGate, Bug::ResetByReceiver, Bug::RangeKillByReceiver] {
        assert!(breaks(all(), |(s, orders)| any_order(s, orders, Some(bug))), "any order: {bug:?}");
    }
}

/// Runs a schedule to its end, and then until nothing is under way.
fn run<O: Oracle>(schedule: &Schedule, bug: Option<Bug>) -> Outcome {
    let mut world = World::<O>::new(schedule.nodes, bug);
    schedule.steps.iter().try_for_each(|step| world.step(step))?;
    world.drain()
}

/// Runs a schedule, and gives its deltas to fresh nodes: in causal orders, in which each is applied as it comes, and in
/// orders that ignore causes, in which some must be parked.
fn any_order(schedule: &Schedule, orders: &[u64], bug: Option<Bug>) -> Outcome {
    let mut world = World::<Blind>::new(schedule.nodes, bug);
    schedule.steps.iter().try_for_each(|step| world.step(step))?;
    world.drain()?;
    let author = &mut world.stations[0].machine;
    let (expected, deltas) = (author.content()?, author.all_deltas()?);
    for order in orders {
        let mut shuffled = deltas.clone();
        shuffled.shuffle(&mut ChaCha8Rng::seed_from_u64(*order));
        for (deltas, parks) in [(causal(&shuffled), false), (shuffled, true)] {
            let mut fresh = Machine::open(OriginId(0xf0_0d), bug);
            for delta in deltas {
                let dot = delta.dot;
                fresh.take(&Message::Fresh { shard: SHARD, deltas: vec![delta] })?;
                ensure(parks || fresh.vector().covers(dot), || format!("{dot:?} was ready and waits"))?;
            }
            ensure(fresh.node.parked_bytes(SHARD) == 0, || "something waits for ever".into())?;
            let content = fresh.content()?;
            ensure(content == expected, || {
                format!("{content:?}\nis not what the author has:\n{expected:?}")
            })?;
        }
    }
    Ok(())
}

/// The same deltas, each after all that its author had seen, and else in the order in which they are given.
fn causal(deltas: &[Arc<Delta>]) -> Vec<Arc<Delta>> {
    let (mut waiting, mut ordered) = (deltas.to_vec(), Vec::new());
    let mut applied = VersionVector::default();
    let is_next = |applied: &VersionVector, delta: &Delta| {
        applied.at(delta.dot.origin) + 1 == delta.dot.seq && applied.includes(&delta.deps)
    };
    while let Some(place) = waiting.iter().position(|delta| is_next(&applied, delta)) {
        let delta = waiting.remove(place);
        applied.advance(delta.dot).expect("it is the next of its origin");
        ordered.push(delta);
    }
    ordered
}

// -- the oracles -----------------------------------------------------------------------------------------------------

/// What the crate has in the place of one of our types: the state of one key.
trait Oracle: Clone + Default {
    /// What a write tells the other replicas.
    type Told: Clone;
    /// Whether the crate has such a type. Without, nothing is compared.
    const FOLLOWS: bool = true;

    /// What a write tells the others, as the delta `dot` with the stamp `hlc`.
    fn mint(&self, write: &Write, dot: Dot, hlc: Hlc) -> Self::Told;

    /// Takes over what a write tells.
    fn apply(&mut self, told: Self::Told);

    /// Whether the key reads like this.
    fn check(&self, seen: &Seen) -> Outcome;

    /// Whether a write that made `before` into this may answer so.
    fn check_answer(&self, before: &Self, written: &Written) -> Outcome;
}

/// What is seen of a key on a node.
struct Seen {
    value: Option<Value>,
    head: Cell<Head>,
}

#[derive(Clone, Default)]
struct SetOracle(Orswot<String, u64>);

impl SetOracle {
    fn members(&self) -> BTreeSet<String> {
        self.0.read().val.into_iter().collect()
    }
}

impl Oracle for SetOracle {
    type Told = Vec<orswot::Op<String, u64>>;

    fn mint(&self, write: &Write, dot: Dot, _hlc: Hlc) -> Self::Told {
        let delete = [SetOp::Clear];
        let ops = match write {
            Write::Set(ops) => ops.as_slice(),
            _ => &delete,
        };
        let (mut now, mut told) = (self.clone(), Vec::new());
        for op in ops {
            let (names, seen) =
                (|members: &[Member]| members.iter().map(name).collect::<Vec<_>>(), now.0.read());
            let op = match op {
                SetOp::Add(members) => now.0.add_all(names(members), seen.derive_add_ctx(dot.origin.0)),
                SetOp::Remove(members) => now.0.rm_all(names(members), seen.derive_rm_ctx()),
                SetOp::Clear => now.0.rm_all(now.members(), seen.derive_rm_ctx()),
            };
            now.0.apply(op.clone());
            told.push(op);
        }
        told
    }

    fn apply(&mut self, told: Self::Told) {
        for op in told {
            self.0.validate_op(&op).expect("causal delivery leaves no gap");
            self.0.apply(op);
        }
    }

    fn check(&self, seen: &Seen) -> Outcome {
        let members = match &seen.value {
            Some(Value::Set(members)) => members.iter().map(name).collect(),
            None => BTreeSet::new(),
            other => return Err(format!("not a set: {other:?}")),
        };
        same("members", members, self.members())
    }

    fn check_answer(&self, before: &Self, written: &Written) -> Outcome {
        let (before, now) = (before.members(), self.members());
        let added = now.difference(&before).count() as u64;
        let removed = before.difference(&now).count() as u64;
        match written {
            Written::Done => Ok(()),
            written => same("answer", *written, Written::Set(SetChange { added, removed })),
        }
    }
}

#[derive(Clone, Default)]
struct CounterOracle(PNCounter<u64>);

impl Oracle for CounterOracle {
    type Told = Vec<pncounter::Op<u64>>;

    fn mint(&self, write: &Write, dot: Dot, _hlc: Hlc) -> Self::Told {
        let Write::Counter(ops) = write else { panic!("the oracle knows no {write:?}") };
        let (mut now, mut told) = (self.clone(), Vec::new());
        for op in ops {
            let CounterOp::Increment(by) = op else { panic!("the oracle knows no {op:?}") };
            let op = match by.is_negative() {
                true => now.0.dec_many(dot.origin.0, by.unsigned_abs()),
                false => now.0.inc_many(dot.origin.0, by.unsigned_abs()),
            };
            now.0.apply(op.clone());
            told.push(op);
        }
        told
    }

    fn apply(&mut self, told: Self::Told) {
        told.into_iter().for_each(|op| self.0.apply(op));
    }

    fn check(&self, seen: &Seen) -> Outcome {
        let value = match &seen.value {
            Some(Value::Counter(value)) => *value,
            None => 0,
            other => return Err(format!("not a counter: {other:?}")),
        };
        same("value", value.to_string(), self.0.read().to_string())
    }

    fn check_answer(&self, _before: &Self, written: &Written) -> Outcome {
        let Written::Counter(value) = written else { return Err(format!("answered {written:?}")) };
        same("answer", value.to_string(), self.0.read().to_string())
    }
}

#[derive(Clone, Default)]
struct RegisterOracle {
    last: LWWReg<Vec<u8>, (u64, u64, u64)>,
    siblings: MVReg<(Dot, Vec<u8>), u64>,
}

impl Oracle for RegisterOracle {
    type Told = (LWWReg<Vec<u8>, (u64, u64, u64)>, mvreg::Op<(Dot, Vec<u8>), u64>);

    fn mint(&self, write: &Write, dot: Dot, hlc: Hlc) -> Self::Told {
        let Write::Put { value, .. } = write else { panic!("the oracle knows no {write:?}") };
        let last = LWWReg { val: value.clone(), marker: (hlc.0, dot.origin.0, dot.seq) };
        let seen = self.siblings.read_ctx().derive_add_ctx(dot.origin.0);
        (last, self.siblings.write((dot, value.clone()), seen))
    }

    fn apply(&mut self, (last, sibling): Self::Told) {
        self.last.validate_op(&last).expect("no two writes have one stamp");
        self.last.apply(last);
        self.siblings.apply(sibling);
    }

    fn check(&self, seen: &Seen) -> Outcome {
        let read = match &seen.value {
            Some(Value::Register { bytes, .. }) => bytes.clone(),
            None => Vec::new(),
            other => return Err(format!("not a register: {other:?}")),
        };
        let siblings = seen.head.siblings().iter().map(|(dot, head)| match head {
            Head::Register(register) => (*dot, register.value.clone()),
            other => panic!("the head of a register is {other:?}"),
        });
        same("read", &read, &self.last.val)?;
        same("siblings", siblings.collect(), self.siblings.read().val.into_iter().collect::<BTreeSet<_>>())
    }

    fn check_answer(&self, _before: &Self, written: &Written) -> Outcome {
        same("answer", *written, Written::Done)
    }
}

/// No oracle: for schedules that no type of the crate can follow.
#[derive(Clone, Default)]
struct Blind;

impl Oracle for Blind {
    type Told = ();
    const FOLLOWS: bool = false;

    fn mint(&self, _write: &Write, _dot: Dot, _hlc: Hlc) {}

    fn apply(&mut self, _told: ()) {}

    fn check(&self, _seen: &Seen) -> Outcome {
        Ok(())
    }

    fn check_answer(&self, _before: &Self, _written: &Written) -> Outcome {
        Ok(())
    }
}

// -- the world -------------------------------------------------------------------------------------------------------

/// `Err` says which law was broken, and how.
type Outcome = Result<(), String>;
/// The rows of a replica in canonical form.
type Content = Vec<(Space, Vec<u8>, Vec<u8>)>;

const SHARD: ShardId = ShardId(0);
/// One key looks like the rows of another.
const KEYS: [&[u8]; 4] = [b"k", b"k\0\x02k", b"k\0", b"l"];
/// Most deliveries until nothing is under way.
const DELIVERIES_MAX: usize = 100_000;

/// One node and its disk.
struct Machine {
    node: Node,
    disk: MemStorage,
}

impl Machine {
    fn open(origin: OriginId, bug: Option<Bug>) -> Self {
        let disk = MemStorage::default();
        let shards = ShardCount::new(1).expect("one is a power of two");
        let planted = bug.map(Planted::bug).unwrap_or_default();
        let node = Node::open(Config { shards, planted, ..Config::default() }, &disk, origin);
        Machine { node: node.expect("an empty disk opens"), disk }
    }

    fn vector(&self) -> &VersionVector {
        self.node.replica(SHARD).expect("there is one shard").vector()
    }

    fn step(&mut self, now: Now, input: Input) -> Outcome {
        self.node.step(now, &self.disk, input).map_err(|error| error.to_string())
    }

    /// Ends the turn, and gives its outputs once they may leave.
    fn end_turn(&mut self) -> Result<Vec<Output>, String> {
        let Turn { batch, outputs, .. } = self.node.end_turn();
        self.disk.write(&batch).and_then(|()| self.disk.sync()).map_err(|error| error.to_string())?;
        match outputs.iter().find(|output| matches!(output, Output::Quarantined { .. })) {
            Some(output) => Err(format!("{output:?}")),
            None => Ok(outputs),
        }
    }

    /// What the turn would come to if it ended now.
    fn peek(&self) -> Turn {
        self.node.clone().end_turn()
    }

    /// Takes one message in a turn of its own. Nobody hears what the node has to say to that.
    fn take(&mut self, message: &Message) -> Outcome {
        self.step(Now::default(), Input::Message { from: NodeId(99), message: message.clone() })?;
        self.end_turn().map(drop)
    }

    fn read(&self, key: usize) -> Result<Option<Value>, String> {
        let mut node = self.node.clone();
        let input =
            Input::Request { id: RequestId(0), request: request(key, Operation::Read { named: None }) };
        node.step(Now::default(), &self.disk, input).map_err(|error| error.to_string())?;
        let is_reply = |output: &Output| matches!(output, Output::Reply { .. });
        match node.end_turn().outputs.into_iter().rfind(is_reply) {
            Some(Output::Reply { reply: Reply::Read(found), .. }) => Ok(found.value),
            other => Err(format!("a read was answered {other:?}")),
        }
    }

    /// The rows in canonical form, as the turn has them.
    fn content(&self) -> Result<Content, String> {
        let batch = self.peek().batch;
        let rows = Overlay { disk: &self.disk, batch: &batch };
        let mut content = Vec::new();
        let replica = self.node.replica(SHARD).expect("there is one shard");
        let scanned = replica.scan_content(&rows, self.node.origins(), &mut |space, row, bytes| {
            content.push((space, row.to_vec(), bytes));
        });
        scanned.map(|()| content).map_err(|error| error.to_string())
    }

    /// Every delta that was applied, in an order in which it can be applied.
    fn all_deltas(&mut self) -> Result<Vec<Arc<Delta>>, String> {
        let pull = Message::Pull { shard: SHARD, have: VersionVector::default() };
        self.step(Now::default(), Input::Message { from: NodeId(99), message: pull })?;
        let is_answer =
            |output: &Output| matches!(output, Output::Send { message: Message::Missing { .. }, .. });
        match self.end_turn()?.into_iter().rfind(is_answer) {
            Some(Output::Send { message: Message::Missing { deltas, more: false, .. }, .. }) => Ok(deltas),
            other => Err(format!("a pull was answered {other:?}")),
        }
    }
}

/// A node and the oracles beside it, one for each key.
struct Station<O> {
    machine: Machine,
    oracles: Vec<O>,
    /// What the oracles have taken over.
    taken: VersionVector,
}

/// Nodes, the links between them, and all that was told or seen so far.
struct World<O: Oracle> {
    stations: Vec<Station<O>>,
    links: BTreeMap<(usize, usize), VecDeque<Vec<u8>>>,
    /// What each delta told, for the oracles of which key; in the order in which they were made.
    told: Vec<(Dot, usize, O::Told)>,
    /// The content that goes with a version vector, by the vector's bytes.
    contents: BTreeMap<Vec<u8>, Content>,
    /// What clients have seen, of which key.
    contexts: Vec<(usize, Context)>,
    mono_ms: u64,
}

impl<O: Oracle> World<O> {
    fn new(nodes: usize, bug: Option<Bug>) -> Self {
        let station = |place: usize| {
            let origin = OriginId(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(place as u64 + 1));
            let oracles = vec![O::default(); KEYS.len()];
            Station { machine: Machine::open(origin, bug), oracles, taken: VersionVector::default() }
        };
        let mut world = World {
            stations: (0..nodes).map(station).collect(),
            links: BTreeMap::new(),
            told: Vec::new(),
            contents: BTreeMap::new(),
            contexts: Vec::new(),
            mono_ms: 0,
        };
        for node in 0..nodes {
            for peer in (0..nodes).filter(|peer| *peer != node) {
                let up = Input::PeerUp(NodeId(peer as u128));
                world.stations[node].machine.step(Now::default(), up).expect("the disk does not fail");
            }
        }
        world
    }

    fn now(&mut self, wall_ms: u64) -> Now {
        self.mono_ms += 100;
        Now { mono_ms: self.mono_ms, wall_ms: 1_700_000_000_000 + wall_ms }
    }

    fn step(&mut self, step: &Step) -> Outcome {
        let now = self.now(step.wall_ms);
        let node = match &step.deed {
            Deed::Write { node, key, write, context } => {
                let node = usize::from(*node) % self.stations.len();
                let seen: Vec<&Context> =
                    self.contexts.iter().filter(|(of, _)| of == key).map(|(_, context)| context).collect();
                let context = context.and_then(|context| Some((*pick(&seen, context)?).clone()));
                self.write(node, *key, write, context, step.wall_ms)?;
                node
            }
            Deed::Deliver { link, again } => {
                let under_way: Vec<(usize, usize)> = self.links.keys().copied().collect();
                let Some(link) = pick(&under_way, *link).copied() else { return Ok(()) };
                self.deliver(now, link, *again)?;
                link.1
            }
            Deed::Tick { node } => {
                let node = usize::from(*node) % self.stations.len();
                self.stations[node].machine.step(now, Input::Tick)?;
                node
            }
        };
        self.settle(node)?;
        match step.ends_turn {
            true => self.end_turn(node),
            false => Ok(()),
        }
    }

    /// A client writes, and the oracle beside the node does the same.
    fn write(
        &mut self,
        node: usize,
        key: usize,
        write: &Write,
        context: Option<Context>,
        wall_ms: u64,
    ) -> Outcome {
        let now = self.now(wall_ms);
        let Station { machine, oracles, .. } = &mut self.stations[node];
        let dot = machine.node.replica(SHARD).expect("there is one shard").next_dot(machine.node.origin());
        let operation = Operation::Write(WriteRequest { write: write.clone(), named: None, context });
        machine.step(now, Input::Request { id: RequestId(0), request: request(key, operation) })?;
        let outputs = machine.peek().outputs;
        let stamp = outputs.iter().find_map(|output| stamp_of(output, dot));
        let replies = outputs.into_iter().filter_map(|output| match output {
            Output::Reply { reply, .. } => Some(reply),
            _ => None,
        });
        let (written, context) = match replies.last() {
            Some(Reply::Written { written, context }) => (written, context),
            Some(Reply::Refused(_)) if !O::FOLLOWS => return Ok(()),
            other => return Err(format!("{write:?} was answered {other:?}")),
        };
        let told = oracles[key].mint(write, dot, stamp.unwrap_or_default());
        let mut after = oracles[key].clone();
        after.apply(told.clone());
        after.check_answer(&oracles[key], &written)?;
        ensure(machine.vector().covers(dot) == stamp.is_some(), || {
            format!("{dot:?} is not told to the peers")
        })?;
        match stamp {
            Some(_) => self.told.push((dot, key, told)),
            None if O::FOLLOWS => after.check(&seen(machine, key)?)?,
            None => {}
        }
        if let Written::Counter(value) = written {
            let read = self.stations[node].machine.read(key)?.unwrap_or(Value::Counter(0));
            same("a counter's answer and what it reads", Value::Counter(value), read)?;
        }
        self.contexts.push((key, context));
        self.settle(node)
    }

    fn deliver(&mut self, now: Now, link: (usize, usize), again: bool) -> Outcome {
        let queue = self.links.get_mut(&link).expect("a link is there while something is under way");
        let bytes = queue.pop_front().expect("a link is there while something is under way");
        let message = Message::from_bytes(&bytes).map_err(|error| error.to_string())?;
        same("bytes of a message", &message.to_bytes(), &bytes)?;
        if again {
            queue.push_back(bytes);
        } else if queue.is_empty() {
            self.links.remove(&link);
        }
        let from = NodeId(link.0 as u128);
        self.stations[link.1].machine.step(now, Input::Message { from, message })
    }

    /// The oracles take over what the node has applied, and are compared with it.
    fn settle(&mut self, node: usize) -> Outcome {
        let Station { machine, oracles, taken } = &mut self.stations[node];
        let vector = machine.vector();
        for (dot, key, told) in &self.told {
            if vector.covers(*dot) && !taken.covers(*dot) {
                oracles[*key].apply(told.clone());
            }
        }
        *taken = vector.clone();
        for (key, oracle) in oracles.iter().enumerate().filter(|_| O::FOLLOWS) {
            let differs = |what: String| format!("node {node}, key {key}, at {vector:?}: {what}");
            seen(machine, key).and_then(|seen| oracle.check(&seen)).map_err(differs)?;
        }
        let content = machine.content()?;
        let first = self.contents.entry(vector.to_bytes()).or_insert_with(|| content.clone());
        same("content at equal version vectors", &content, first)
    }

    fn end_turn(&mut self, node: usize) -> Outcome {
        for output in self.stations[node].machine.end_turn()? {
            if let Output::Send { to, message } = output {
                self.links.entry((node, to.0 as usize)).or_default().push_back(message.to_bytes());
            }
        }
        Ok(())
    }

    /// Delivers until nothing is under way. Then all nodes have applied the same.
    fn drain(&mut self) -> Outcome {
        for _ in 0..DELIVERIES_MAX {
            for node in 0..self.stations.len() {
                self.end_turn(node)?;
            }
            let Some(link) = self.links.keys().next().copied() else {
                let vectors: BTreeSet<Vec<u8>> =
                    self.stations.iter().map(|station| station.machine.vector().to_bytes()).collect();
                return same("version vectors at the end", vectors.len(), 1);
            };
            let now = self.now(0);
            self.deliver(now, link, false)?;
            self.settle(link.1)?;
        }
        Err("the nodes do not come to rest".into())
    }

    fn read_everywhere(&self, key: usize) -> Vec<Option<Value>> {
        self.stations.iter().map(|station| station.machine.read(key).expect("a key reads")).collect()
    }
}

/// The stamp of the delta of this name, if the output is a message that tells it.
fn stamp_of(output: &Output, dot: Dot) -> Option<Hlc> {
    let Output::Send { message: Message::Fresh { deltas, .. }, .. } = output else { return None };
    let delta = deltas.iter().find(|delta| delta.dot == dot)?;
    let mut registers =
        delta.changes.iter().flat_map(|change| &change.effects).filter_map(|effect| match effect {
            Effect::Head { put: Some(Head::Register(register)), .. } => Some(register.hlc),
            _ => None,
        });
    Some(registers.next_back().unwrap_or(delta.hlc))
}

fn seen(machine: &Machine, key: usize) -> Result<Seen, String> {
    let row = [&[0, 0], BUCKET.as_bytes(), &[0], KEYS[key]].concat();
    let content = machine.content()?;
    let head = content.iter().find(|(space, name, _)| *space == Space::Head && *name == row);
    let head = head.map_or(Ok(Cell::default()), |(_, _, bytes)| Cell::from_bytes(bytes));
    Ok(Seen { value: machine.read(key)?, head: head.map_err(|error| error.to_string())? })
}

// -- schedules -------------------------------------------------------------------------------------------------------

/// Who does what, in which order.
#[derive(Clone, Debug)]
struct Schedule {
    nodes: usize,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    deed: Deed,
    /// The wall clock of whoever acts: clocks differ and jump.
    wall_ms: u64,
    /// Whether the turn of whoever acts ends with it.
    ends_turn: bool,
}

#[derive(Clone, Debug)]
enum Deed {
    /// A client writes; with a context that some client got for this key, where one is named.
    Write { node: u8, key: usize, write: Write, context: Option<u8> },
    /// The first message of a link arrives, and perhaps another time later.
    Deliver { link: u8, again: bool },
    /// Time has passed.
    Tick { node: u8 },
}

/// Which keys a schedule writes: two, where all keys are of one type.
const SINGLE_TYPE: std::ops::Range<usize> = 0..2;

/// Schedules without contexts.
fn schedules(
    keys: std::ops::Range<usize>,
    write: impl Strategy<Value = Write> + 'static,
) -> impl Strategy<Value = Schedule> {
    let writes = (any::<u8>(), keys, write).prop_map(|(node, key, write)| Deed::Write {
        node,
        key,
        write,
        context: None,
    });
    schedules_of(writes.boxed())
}

/// Schedules of all types, deletes and resets, with contexts and without.
fn mixed_schedules() -> impl Strategy<Value = Schedule> {
    let reset = Just(Write::Counter(vec![CounterOp::Reset]));
    let counter = prop_oneof![3 => counter_write(), 1 => reset, 1 => Just(Write::Delete)].boxed();
    let register = prop_oneof![4 => register_write(), 1 => Just(Write::Delete)].boxed();
    let set = set_write().boxed();
    let any_type = prop_oneof![register.clone(), counter.clone(), set.clone()].boxed();
    let of_key = [register, counter, set, any_type];
    let write = (0..KEYS.len()).prop_flat_map(move |key| (Just(key), of_key[key].clone()));
    let writes = (any::<u8>(), write, proptest::option::of(any::<u8>()))
        .prop_map(|(node, (key, write), context)| Deed::Write { node, key, write, context });
    schedules_of(writes.boxed())
}

fn schedules_of(writes: BoxedStrategy<Deed>) -> impl Strategy<Value = Schedule> {
    let deliver =
        (any::<u8>(), proptest::bool::weighted(0.2)).prop_map(|(link, again)| Deed::Deliver { link, again });
    let tick = any::<u8>().prop_map(|node| Deed::Tick { node });
    let deed = prop_oneof![8 => writes, 12 => deliver, 1 => tick];
    let step = (deed, 0..4_000u64, proptest::bool::weighted(0.8))
        .prop_map(|(deed, wall_ms, ends_turn)| Step { deed, wall_ms, ends_turn });
    (2..=4usize, vec(step, 1..80)).prop_map(|(nodes, steps)| Schedule { nodes, steps })
}

fn set_write() -> impl Strategy<Value = Write> + 'static {
    let members = || vec(proptest::sample::select(vec!["a", "b", "c", "d"]).prop_map(member), 1..3);
    let op = prop_oneof![
        5 => members().prop_map(SetOp::Add),
        3 => members().prop_map(SetOp::Remove),
        1 => Just(SetOp::Clear),
    ];
    prop_oneof![8 => vec(op, 1..4).prop_map(Write::Set), 1 => Just(Write::Delete)]
}

fn counter_write() -> impl Strategy<Value = Write> + 'static {
    let amount = prop_oneof![-9..9i64, -(1i64 << 40)..1 << 40];
    vec(amount.prop_map(CounterOp::Increment), 1..4).prop_map(Write::Counter)
}

fn register_write() -> impl Strategy<Value = Write> + 'static {
    vec(any::<u8>(), 1..3).prop_map(put)
}

/// Three orders, each by the seed that shuffles.
fn orders() -> impl Strategy<Value = Vec<u64>> {
    vec(any::<u64>(), 3)
}

/// Holds a law against schedules that are the same in every run.
fn hold<S: Strategy>(schedules: S, law: impl Fn(&S::Value) -> Outcome) {
    let config = ProptestConfig { cases: SCHEDULES, failure_persistence: None, ..Default::default() };
    if let Err(broken) = try_all(config, schedules, law) {
        panic!("{broken}");
    }
}

/// Whether some schedule breaks the law, or makes core panic.
fn breaks<S: Strategy>(schedules: S, law: impl Fn(&S::Value) -> Outcome) -> bool {
    let config = ProptestConfig {
        cases: SCHEDULES,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Default::default()
    };
    try_all(config, schedules, law).is_err()
}

fn try_all<S: Strategy>(
    mut config: ProptestConfig,
    schedules: S,
    law: impl Fn(&S::Value) -> Outcome,
) -> Result<(), String> {
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(42);
    }
    let mut runner = TestRunner::new(config);
    let tried = runner.run(&schedules, |schedule| law(&schedule).map_err(TestCaseError::fail));
    tried.map_err(|broken| broken.to_string())
}

// -- small things ----------------------------------------------------------------------------------------------------

const BUCKET: &str = "b";

fn request(key: usize, operation: Operation) -> Request {
    let bucket = Bucket::new(BUCKET).expect("a good name");
    Request { bucket, key: Key::new(KEYS[key]).expect("a good key"), operation }
}

fn put(value: Vec<u8>) -> Write {
    Write::Put { content_type: text_plain(), value }
}

fn text_plain() -> ContentType {
    ContentType::new("text/plain").expect("a good content type")
}

fn member(text: &str) -> Member {
    Member::new(text).expect("a good member")
}

fn name(member: &Member) -> String {
    member.as_str().into()
}

fn pick<T>(items: &[T], place: u8) -> Option<&T> {
    items.get(usize::from(place) % items.len().max(1))
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, oracle: T) -> Outcome {
    ensure(ours == oracle, || format!("{what}: {ours:?}, and should be {oracle:?}"))
}
