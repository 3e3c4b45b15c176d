//! A few nodes on a bench, moved by hand: every delivery, crash and clock is the test's.
//!
//! What a key reads as is given in words: a register's text, a counter's number, a set's members in braces, a flag's `on` or `off`,
//! the values of a multi-value register with bars between them, a map's fields in braces, `none` where there is no such key, or the
//! refusal. Messages travel as bytes. Nothing is delivered before the test says so.

use meridian_core::cell::{Cell, Head, Type};
use meridian_core::codec::Encode;
use meridian_core::context::Context;
use meridian_core::hlc::Hlc;
use meridian_core::id::{NodeId, OriginId, RequestId, ShardId};
use meridian_core::merkle::Tree;
use meridian_core::message::Message;
use meridian_core::name::{Bucket, Key, Member, ShardCount};
use meridian_core::node::{Config, Input, Node, Now, OpenError, Operation, Output, Reply, Request};
use meridian_core::replica::Replica;
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::{Write, Written};
use meridian_core::storage::{MemStorage, Space, Storage};
use meridian_core::types::{Refusal, Value};

pub use crate::writes::{
    add, clear, disable, enable, field, fields, increment, named, observe, path, put, remove, reset, write_of,
};

/// The only shard.
pub const SHARD: ShardId = ShardId(0);

/// Nodes with their disks, their clocks and the messages that are on their way. A copy goes its own way.
#[derive(Clone)]
pub struct Lab {
    /// The nodes.
    pub members: Vec<Participant>,
    /// The true time.
    pub now_ms: u64,
    /// By how much time passes with each step.
    pub step_ms: u64,
    /// Whether nodes do at once what can wait. Else the test says when ([`Lab::work`]).
    pub works: bool,
    /// A node whose disk does not sync: its turns are written, and what they say is never heard ([`Lab::crash`]).
    pub unsynced: Option<usize>,
    /// What nodes have said besides replies and messages.
    pub news: Vec<(usize, Output)>,
    config: Config,
    /// The last origin that [`Lab::fresh_origin`] has given.
    origins: u64,
}

/// A node and what is around it.
#[derive(Clone)]
pub struct Participant {
    /// The node.
    pub node: Node,
    /// Its disk.
    pub disk: MemStorage,
    /// By how much its wall clock is ahead.
    ahead_ms: u64,
    /// From whom, and the bytes.
    inbox: Vec<(usize, Vec<u8>)>,
}

impl Lab {
    /// So many nodes that know of each other and hold nothing.
    pub fn new(count: usize) -> Lab {
        Lab::with(count, config())
    }

    /// As [`Lab::new`], with a configuration of their own.
    pub fn with(count: usize, config: Config) -> Lab {
        let member = |at: usize| {
            let disk = MemStorage::default();
            let node = Node::open(config.clone(), &disk, OriginId(0x101 + at as u64)).expect("an empty disk");
            Participant { node, disk, ahead_ms: 0, inbox: Vec::new() }
        };
        let members = (0..count).map(member).collect();
        let mut lab = Lab {
            members,
            now_ms: 1_000,
            step_ms: 1,
            works: true,
            unsynced: None,
            news: Vec::new(),
            config,
            origins: 0,
        };
        for at in 0..count {
            lab.meet(at);
        }
        lab.exchange();
        lab
    }

    /// A node learns that all others can be reached.
    pub fn meet(&mut self, at: usize) {
        for peer in (0..self.members.len()).filter(|peer| *peer != at) {
            self.step(at, Input::PeerUp(node_id(peer)));
        }
    }

    /// Two nodes meet anew: a connection between them has ended, and another one is made.
    pub fn reconnect(&mut self, one: usize, other: usize) {
        self.step(one, Input::PeerUp(node_id(other)));
        self.step(other, Input::PeerUp(node_id(one)));
    }

    /// A new run on the same disk; its peers learn of it.
    ///
    /// # Errors
    /// As [`Node::open`].
    pub fn restart(&mut self, at: usize, origin: OriginId) -> Result<(), OpenError> {
        let member = &mut self.members[at];
        member.node = Node::open(self.config.clone(), &member.disk, origin)?;
        member.inbox.clear();
        self.meet(at);
        for peer in (0..self.members.len()).filter(|peer| *peer != at) {
            self.step(peer, Input::PeerUp(node_id(at)));
        }
        Ok(())
    }

    /// An origin that was never used before.
    pub fn fresh_origin(&mut self) -> OriginId {
        self.origins += 1;
        OriginId(self.origins << 32)
    }

    /// The power of a node fails: of what it has written and not synced so many turns stay. Then it starts anew.
    pub fn crash(&mut self, at: usize, kept: usize) {
        self.members[at].disk.crash(kept);
        self.unsynced = None;
        let origin = self.fresh_origin();
        self.restart(at, origin).expect("whatever a crash leaves can be opened");
    }

    /// A node stops in order, keeps its trees, and starts anew.
    pub fn stop_and_start(&mut self, at: usize) {
        let member = &mut self.members[at];
        member.node.keep_trees();
        let turn = member.node.end_turn();
        member.disk.write(&turn.batch).and_then(|()| member.disk.sync()).expect("the disk works");
        let origin = self.fresh_origin();
        self.restart(at, origin).expect("what was stopped in order can be opened");
    }

    /// A node starts on an empty disk.
    pub fn wipe(&mut self, at: usize) {
        self.members[at].disk = MemStorage::default();
        let origin = self.fresh_origin();
        self.restart(at, origin).expect("an empty disk");
    }

    /// Flips a bit in the first member or slot on a node's disk.
    pub fn damage_cell(&mut self, at: usize) {
        let disk = &mut self.members[at].disk;
        let row = disk.rows(Space::Cell).next().expect("a cell").0.to_vec();
        disk.damage(Space::Cell, &row, |value| value[0] ^= 1);
    }

    /// Sets a node's wall clock ahead.
    pub fn set_ahead(&mut self, at: usize, ms: u64) {
        self.members[at].ahead_ms = ms;
    }

    /// One turn of one input: the batch is durable before the outputs leave. The reply, if there is one.
    pub fn step(&mut self, at: usize, input: Input) -> Option<Reply> {
        let answer = self.one_turn(at, input);
        if self.works {
            self.work(at);
        }
        answer
    }

    /// A node does what can wait, a portion in each turn, until there is nothing left to do.
    pub fn work(&mut self, at: usize) {
        while self.members[at].node.has_work() {
            self.one_turn(at, Input::Work);
        }
    }

    /// A node does a portion of what can wait, if there is anything.
    pub fn work_once(&mut self, at: usize) {
        if self.members[at].node.has_work() {
            self.one_turn(at, Input::Work);
        }
    }

    /// One turn, and nothing else.
    pub fn one_turn(&mut self, at: usize, input: Input) -> Option<Reply> {
        self.now_ms += self.step_ms;
        let member = &mut self.members[at];
        let now = Now { mono_ms: self.now_ms, wall_ms: self.now_ms + member.ahead_ms };
        member.node.step(now, &member.disk, input).expect("the disk works");
        let turn = member.node.end_turn();
        member.disk.write(&turn.batch).expect("the disk works");
        let mut answer = None;
        if self.unsynced == Some(at) {
            return answer;
        }
        member.disk.sync().expect("the disk works");
        for output in turn.outputs {
            match output {
                Output::Reply { reply, .. } => answer = Some(reply),
                Output::Send { to, message } => {
                    self.members[to.0 as usize - 1].inbox.push((at, message.to_bytes()));
                }
                news => self.news.push((at, news)),
            }
        }
        answer
    }

    /// Time passes, and every node notices.
    pub fn tick_all(&mut self, ms: u64) {
        self.now_ms += ms;
        for at in 0..self.members.len() {
            self.step(at, Input::Tick);
        }
    }

    /// Delivers what one node has sent to another, and nothing else.
    pub fn carry(&mut self, from: usize, to: usize) {
        let (now, later) = self.take_messages(to).into_iter().partition(|(sender, _)| *sender == from);
        self.put_messages(to, later);
        self.deliver(to, now);
    }

    /// Takes the messages away that are on their way to a node.
    pub fn take_messages(&mut self, to: usize) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.members[to].inbox)
    }

    /// Puts messages on their way to a node again.
    pub fn put_messages(&mut self, to: usize, messages: Vec<(usize, Vec<u8>)>) {
        self.members[to].inbox.extend(messages);
    }

    /// Delivers messages to a node, in order.
    pub fn deliver(&mut self, to: usize, messages: Vec<(usize, Vec<u8>)>) {
        for (from, bytes) in messages {
            let message = Message::from_bytes(&bytes).expect("what a node says can be read");
            self.step(to, Input::Message { from: node_id(from), message });
        }
    }

    /// Delivers everything until all is quiet, however long it takes.
    pub fn exchange_all(&mut self) {
        while self.members.iter().any(|member| !member.inbox.is_empty()) {
            for to in 0..self.members.len() {
                let messages = self.take_messages(to);
                self.deliver(to, messages);
            }
        }
    }

    /// Delivers everything until all is quiet. Then all replicas hold the same.
    pub fn exchange(&mut self) {
        for _ in 0..100 {
            for to in 0..self.members.len() {
                let messages = self.take_messages(to);
                self.deliver(to, messages);
            }
        }
        assert!(self.members.iter().all(|member| member.inbox.is_empty()), "the nodes talk without end");
        for at in 1..self.members.len() {
            if self.vector(at) == self.vector(0) {
                assert_eq!(self.content(at), self.content(0), "equal version vectors mean equal cells");
            }
        }
    }

    /// A replica's version vector, encoded.
    pub fn vector(&self, at: usize) -> Vec<u8> {
        self.replica(at).vector().to_bytes()
    }

    /// All cells of a replica in canonical form.
    pub fn content(&self, at: usize) -> Vec<(Space, Vec<u8>, Vec<u8>)> {
        let Participant { node, disk, .. } = &self.members[at];
        let mut rows = Vec::new();
        let replica = node.replica(SHARD).expect("the only shard");
        let visit = &mut |space, row: &[u8], content| rows.push((space, row.to_vec(), content));
        replica.scan_content(disk, node.origins(), visit).expect("no row is damaged");
        rows
    }

    /// What the siblings in the only key's head say, ascending by dot.
    pub fn siblings(&self, at: usize) -> Vec<String> {
        let content = self.content(at);
        let (_, _, head) = content.first().expect("a head");
        let head = Cell::<Head>::from_bytes(head).expect("the canonical form of a head");
        let text = |head: &Head| match head {
            Head::Register(register) => String::from_utf8_lossy(&register.value).into_owned(),
            other => other.key_type().as_str().into(),
        };
        head.siblings().iter().map(|(_, head)| text(head)).collect()
    }

    /// The only replica of a node.
    pub fn replica(&self, at: usize) -> &Replica {
        self.members[at].node.replica(SHARD).expect("the only shard")
    }

    /// The root of a replica's tree; `None` until its rows are counted.
    pub fn root(&self, at: usize) -> Option<u128> {
        self.replica(at).tree().map(Tree::root)
    }

    /// The rows of a space on a node's disk.
    pub fn rows(&self, at: usize, space: Space) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = self.members[at].disk.rows(space);
        rows.map(|(row, value)| (row.to_vec(), value.to_vec())).collect()
    }

    /// The highest stamp that a node gave or accepted.
    pub fn clock(&self, at: usize) -> Hlc {
        self.members[at].node.clock().last()
    }
}

// -- what clients do -------------------------------------------------------------------------------------------------

impl Lab {
    /// A client's request, answered.
    pub fn ask(&mut self, at: usize, name: &str, operation: Operation) -> Reply {
        let request = Request { bucket: bucket(), key: key(name), operation };
        self.step(at, Input::Request { id: RequestId(1), request }).expect("every request is answered")
    }

    /// A write that must succeed.
    pub fn write(&mut self, at: usize, name: &str, write: Write) -> Written {
        self.written(at, name, write_of(write, None, None))
    }

    /// A write that names the type and must succeed.
    pub fn write_as(&mut self, at: usize, name: &str, named: Type, write: Write) -> Written {
        self.written(at, name, write_of(write, Some(named), None))
    }

    /// A write whose client has seen the key.
    pub fn write_seen(&mut self, at: usize, name: &str, write: Write, seen: &Context) -> Written {
        let seen = Context::from_bytes(&seen.to_bytes()).expect("a context comes back");
        self.written(at, name, write_of(write, None, Some(seen)))
    }

    /// A request that must be answered as written.
    pub fn written(&mut self, at: usize, name: &str, operation: Operation) -> Written {
        match self.ask(at, name, operation) {
            Reply::Written { written, .. } => written,
            other => panic!("{name} was to be written: {other:?}"),
        }
    }

    /// What a client has seen of a key that gets the answer of a write. `seen`: what it had seen before.
    pub fn answered(&mut self, at: usize, name: &str, write: Write, seen: Option<&Context>) -> Context {
        match self.ask(at, name, write_of(write, None, seen.cloned())) {
            Reply::Written { context, .. } => context,
            other => panic!("{name} was to be written: {other:?}"),
        }
    }

    /// A request that must be refused.
    pub fn refused(&mut self, at: usize, name: &str, operation: Operation) -> Refusal {
        match self.ask(at, name, operation) {
            Reply::Refused(refusal) => refusal,
            other => panic!("{name} was to be refused: {other:?}"),
        }
    }

    /// What a client that reads a key has seen of it.
    pub fn context(&mut self, at: usize, name: &str) -> Context {
        match self.ask(at, name, Operation::Read(ReadRequest::default())) {
            Reply::Read(found) => found.context,
            other => panic!("{name} was to be read: {other:?}"),
        }
    }

    /// What every node reads, in order.
    pub fn reads<const COUNT: usize>(&mut self, name: &str, expected: [&str; COUNT]) {
        assert_eq!(COUNT, self.members.len());
        let read: Vec<String> = (0..COUNT).map(|at| self.read(at, name, None)).collect();
        assert_eq!(read, expected, "{name}");
    }

    /// What a node reads of one type of a key.
    pub fn read_as(&mut self, at: usize, name: &str, named: Type) -> String {
        self.read(at, name, Some(named))
    }

    /// What a node reads of a field, in words, and the types that are hidden there.
    pub fn read_field(
        &mut self,
        at: usize,
        name: &str,
        field: &str,
        named: Option<Type>,
    ) -> (String, Vec<Type>) {
        let read = ReadRequest { path: path(field), ..ReadRequest::whole(named) };
        match self.ask(at, name, Operation::Read(read)) {
            Reply::Read(found) => (found.value.as_ref().map_or("none".into(), in_words), found.hidden),
            other => panic!("{field} of {name} was to be read: {other:?}"),
        }
    }

    /// What a node reads, in words.
    pub fn read(&mut self, at: usize, name: &str, named: Option<Type>) -> String {
        match self.ask(at, name, Operation::Read(ReadRequest::whole(named))) {
            Reply::Read(found) => found.value.as_ref().map_or("none".into(), in_words),
            Reply::Refused(Refusal::TypeConflict { types }) => {
                let types: Vec<&str> = types.iter().map(|t| t.as_str()).collect();
                format!("conflict: {}", types.join(", "))
            }
            Reply::Refused(refusal) => refusal.to_string(),
            Reply::Written { .. } => panic!("a read was answered like a write"),
        }
    }
}

/// A value in words.
pub fn in_words(value: &Value) -> String {
    match value {
        Value::Register { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
        Value::Counter(sum) => sum.to_string(),
        Value::Set(members) => {
            let members: Vec<&str> = members.iter().map(Member::as_str).collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::Multi(blobs) => {
            let values: Vec<_> = blobs.iter().map(|blob| String::from_utf8_lossy(&blob.value)).collect();
            values.join(" | ")
        }
        Value::Flag(enabled) => (if *enabled { "on" } else { "off" }).into(),
        Value::Max(number) | Value::Min(number) => number.to_string(),
        Value::Map(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}: {}", name.as_str(), in_words(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

/// A configuration with one shard, else as it ships.
pub fn config() -> Config {
    Config { shards: ShardCount::new(1).expect("a power of two"), ..Config::default() }
}

/// The id of the node at a place.
pub fn node_id(at: usize) -> NodeId {
    NodeId(at as u128 + 1)
}

/// The only bucket.
pub fn bucket() -> Bucket {
    Bucket::new("b").expect("a good name")
}

/// A key.
pub fn key(name: &str) -> Key {
    Key::new(name.as_bytes()).expect("a good key")
}
