//! The world: nodes with oracles beside them, the links between them, and what must hold after every step.

use super::oracle::{Oracle, Seen};
use super::schedules::{Deed, Step};
use super::words::{BUCKET, KEYS, Outcome, ensure, pick, request, same};
use meridian_core::cell::{Cell, Head};
use meridian_core::codec::Encode;
use meridian_core::context::Context;
use meridian_core::delta::{Delta, Effect};
use meridian_core::delta_log::Rest;
use meridian_core::hlc::Hlc;
use meridian_core::id::{Dot, NodeId, OriginId, RequestId, ShardId};
use meridian_core::message::Message;
use meridian_core::name::ShardCount;
use meridian_core::node::{Config, Input, Node, Now, Operation, Output, Reply, Turn};
use meridian_core::planted::{Bug, Planted};
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::{Write, WriteRequest, Written};
use meridian_core::storage::{MemStorage, Overlay, Space, Storage};
use meridian_core::types::Value;
use meridian_core::version_vector::VersionVector;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The rows of a replica in canonical form.
type Content = Vec<(Space, Vec<u8>, Vec<u8>)>;

pub(crate) const SHARD: ShardId = ShardId(0);
/// Most deliveries until nothing is under way.
const DELIVERIES_MAX: usize = 100_000;

/// One node and its disk.
pub(crate) struct Machine {
    pub(crate) node: Node,
    disk: MemStorage,
}

impl Machine {
    pub(crate) fn open(origin: OriginId, bug: Option<Bug>) -> Self {
        let disk = MemStorage::default();
        let shards = ShardCount::new(1).expect("one is a power of two");
        let planted = bug.map(Planted::bug).unwrap_or_default();
        let node = Node::open(Config { shards, planted, ..Config::default() }, &disk, origin);
        Machine { node: node.expect("an empty disk opens"), disk }
    }

    pub(crate) fn vector(&self) -> &VersionVector {
        self.node.replica(SHARD).expect("there is one shard").vector()
    }

    pub(crate) fn step(&mut self, now: Now, input: Input) -> Outcome {
        self.node.step(now, &self.disk, input).map_err(|error| error.to_string())
    }

    /// Ends the turn, and gives its outputs once they may leave.
    pub(crate) fn end_turn(&mut self) -> Result<Vec<Output>, String> {
        let Turn { batch, outputs, .. } = self.node.end_turn();
        self.disk.write(&batch).and_then(|()| self.disk.sync()).map_err(|error| error.to_string())?;
        match outputs.iter().find(|output| matches!(output, Output::Quarantined { .. })) {
            Some(output) => Err(format!("{output:?}")),
            None => Ok(outputs),
        }
    }

    /// What the turn would come to if it ended now.
    pub(crate) fn peek(&self) -> Turn {
        self.node.clone().end_turn()
    }

    /// Takes one message in a turn of its own. Nobody hears what the node has to say to that.
    pub(crate) fn take(&mut self, message: &Message) -> Outcome {
        self.step(Now::default(), Input::Message { from: NodeId(99), message: message.clone() })?;
        self.end_turn().map(drop)
    }

    pub(crate) fn read(&self, key: usize) -> Result<Option<Value>, String> {
        match self.ask_to_read(key)? {
            Reply::Read(found) => Ok(found.value),
            other => Err(format!("a read was answered {other:?}")),
        }
    }

    /// What a client has seen that reads a key; nothing where the key has two types.
    fn context(&self, key: usize) -> Result<Context, String> {
        match self.ask_to_read(key)? {
            Reply::Read(found) => Ok(found.context),
            _ => Ok(Context::default()),
        }
    }

    fn ask_to_read(&self, key: usize) -> Result<Reply, String> {
        let mut node = self.node.clone();
        let operation = Operation::Read(ReadRequest::default());
        let input = Input::Request { id: RequestId(0), request: request(key, operation) };
        node.step(Now::default(), &self.disk, input).map_err(|error| error.to_string())?;
        let replies = node.end_turn().outputs.into_iter().filter_map(|output| match output {
            Output::Reply { reply, .. } => Some(reply),
            _ => None,
        });
        replies.last().ok_or_else(|| "a read is not answered".into())
    }

    /// The rows in canonical form, as the turn has them.
    pub(crate) fn content(&self) -> Result<Content, String> {
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
    pub(crate) fn all_deltas(&mut self) -> Result<Vec<Arc<Delta>>, String> {
        let pull = Message::Pull { shard: SHARD, have: VersionVector::default() };
        self.step(Now::default(), Input::Message { from: NodeId(99), message: pull })?;
        let is_answer =
            |output: &Output| matches!(output, Output::Send { message: Message::Missing { .. }, .. });
        match self.end_turn()?.into_iter().rfind(is_answer) {
            Some(Output::Send { message: Message::Missing { deltas, rest: Rest::None, .. }, .. }) => {
                Ok(deltas)
            }
            other => Err(format!("a pull was answered {other:?}")),
        }
    }
}

/// A node and the oracles beside it, one for each key.
pub(crate) struct Station<O> {
    pub(crate) machine: Machine,
    oracles: Vec<O>,
    /// What the oracles have taken over.
    taken: VersionVector,
}

/// Nodes, the links between them, and all that was told or seen so far.
pub(crate) struct World<O: Oracle> {
    pub(crate) stations: Vec<Station<O>>,
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
    pub(crate) fn new(nodes: usize, bug: Option<Bug>) -> Self {
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

    pub(crate) fn now(&mut self, wall_ms: u64) -> Now {
        self.mono_ms += 100;
        Now { mono_ms: self.mono_ms, wall_ms: 1_700_000_000_000 + wall_ms }
    }

    pub(crate) fn step(&mut self, step: &Step) -> Outcome {
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
    pub(crate) fn write(
        &mut self,
        node: usize,
        key: usize,
        write: &Write,
        context: Option<Context>,
        wall_ms: u64,
    ) -> Outcome {
        let now = self.now(wall_ms);
        let Station { machine, oracles, .. } = &mut self.stations[node];
        let dot = machine.node.replica(SHARD).expect("there is one shard").next_dot();
        let asked = O::request(write, machine.context(key)?);
        let operation =
            Operation::Write(WriteRequest { context: context.or(asked.context.clone()), ..asked });
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

    pub(crate) fn deliver(&mut self, now: Now, link: (usize, usize), again: bool) -> Outcome {
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
    pub(crate) fn settle(&mut self, node: usize) -> Outcome {
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

    pub(crate) fn end_turn(&mut self, node: usize) -> Outcome {
        for output in self.stations[node].machine.end_turn()? {
            if let Output::Send { to, message } = output {
                self.links.entry((node, to.0 as usize)).or_default().push_back(message.to_bytes());
            }
        }
        Ok(())
    }

    /// Delivers until nothing is under way. Then all nodes have applied the same.
    pub(crate) fn drain(&mut self) -> Outcome {
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

    pub(crate) fn read_everywhere(&self, key: usize) -> Vec<Option<Value>> {
        self.stations.iter().map(|station| station.machine.read(key).expect("a key reads")).collect()
    }
}

/// The stamp of the delta of this name, if the output is a message that tells it.
pub(crate) fn stamp_of(output: &Output, dot: Dot) -> Option<Hlc> {
    let Output::Send { message: Message::Fresh { deltas, .. }, .. } = output else { return None };
    let delta = deltas.iter().find(|delta| delta.dot == dot)?;
    let mut registers =
        delta.changes.iter().flat_map(|change| &change.effects).filter_map(|(_, effect)| match effect {
            Effect::Head { put: Some(Head::Register(register)), .. } => Some(register.hlc),
            _ => None,
        });
    Some(registers.next_back().unwrap_or(delta.hlc))
}

pub(crate) fn seen(machine: &Machine, key: usize) -> Result<Seen, String> {
    let row = [&[0, 0], BUCKET.as_bytes(), &[0], KEYS[key]].concat();
    let content = machine.content()?;
    let head = content.iter().find(|(space, name, _)| *space == Space::Head && *name == row);
    let head = head.map_or(Ok(Cell::default()), |(_, _, bytes)| Cell::from_bytes(bytes));
    Ok(Seen { value: machine.read(key)?, head: head.map_err(|error| error.to_string())? })
}
