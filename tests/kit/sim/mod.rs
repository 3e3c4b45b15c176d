//! A whole cluster in one thread, from one seed: real nodes, and around them a world that is as bad as the seed has drawn it.
//!
//! Nodes are core's, their messages are bytes, and everything that happens stands in one heap, ordered by time. Time is simulated, so
//! an hour takes seconds. The parts:
//!
//! - `draw`: what a seed draws; each has its own subset of faults (swarm testing), and tiny limits on some;
//! - `heap`: what is due, in order;
//! - `network`, `seat`: links; machines with disks and clocks, and a server's part between node and disk;
//! - `clients`: what is asked; `pages`: listings;
//! - `blows`: faults that come and go; `full`: disks that are full for a while;
//! - `losses`: what may be lost for them, and nothing else;
//! - `ledger`: what is due, of each thing one;
//! - `turns`: a node's turn, and what must hold after each;
//! - `end`: faults off, all must agree within a stated time, and the [checkers](crate::checker) judge the history.
//!
//! The same seed and options give the same run, byte for byte: the hash of its trace says so.

mod blows;
mod clients;
mod draw;
mod end;
mod figures;
mod full;
mod heap;
mod ledger;
mod losses;
mod network;
mod pages;
mod seat;
mod shrink;
mod turns;

pub use draw::{Kind, Options};
pub use figures::{Failure, Figures};
pub use losses::Cause;
pub use shrink::shrink;

use crate::history::{End, History, Level, Op};
use crate::seeds;
use blows::Relief;
use clients::{Asks, Clients, Question};
use draw::{SECOND, Weather};
use heap::Heap;
use ledger::{Due, Ledger};
use meridian_core::id::{Dot, OriginId, RequestId, Seq, ShardId};
use meridian_core::node::{Input, Operation};
use network::Network;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seat::Seat;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher};
use std::ops::{ControlFlow, Range};
use std::panic::{self, AssertUnwindSafe};

/// How often a node hears of time, as in the server.
const TICK_US: u64 = 100_000;
/// How long a client waits for an answer, and at most where it has little patience.
const PATIENCE_US: u64 = 5 * SECOND;
const LITTLE_PATIENCE_US: u64 = SECOND / 4;
/// How long a page takes at most until it is begun.
const PAGE_US: u64 = 300;

/// Runs one seed.
///
/// # Errors
/// The first thing that was wrong.
pub fn run(seed: u64, options: &Options) -> Result<Figures, Box<Failure>> {
    run_told(seed, options).0
}

/// The same, and what clients saw until then.
pub fn run_told(seed: u64, options: &Options) -> (Result<Figures, Box<Failure>>, History) {
    let mut world = World::new(seed, options);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        let us = |seconds: f64| (seconds * SECOND as f64) as u64;
        match options.until_s {
            Some(seconds) => world.go_on_until(us(seconds)),
            None => {
                world.go_on_until(us(options.hours * 3600.0))?;
                world.come_to_an_end()
            }
        }
    }));
    let outcome = outcome.unwrap_or_else(|panic| Err(format!("a panic: {}", words_of(panic.as_ref()))));
    let outcome = match outcome {
        Ok(()) => Ok(world.sum_up()),
        Err(what) => Err(Box::new(Failure { seed, at_us: world.now_us, what, options: options.clone() })),
    };
    (outcome, world.history)
}

/// Runs many seeds, until `hear` breaks off, which hears of each. What went wrong comes in the order of the seeds.
pub fn run_many(
    seeds: Range<u64>,
    jobs: usize,
    options: &Options,
    mut hear: impl FnMut(Option<&Failure>) -> ControlFlow<()> + Send,
) -> (Figures, Vec<Failure>) {
    let (mut figures, mut failures) = (Figures::default(), Vec::new());
    seeds::run_all(
        seeds,
        jobs,
        |seed| run(seed, options),
        |result| match result {
            Ok(one) => {
                figures.add(one);
                hear(None)
            }
            Err(failure) => {
                let goes_on = hear(Some(&failure));
                failures.push(*failure);
                goes_on
            }
        },
    );
    failures.sort_by_key(|failure: &Failure| failure.seed);
    (figures, failures)
}

/// What a panic said.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// What is due.
enum Event {
    /// A node hears of time.
    Tick { seat: usize, run: u32 },
    /// A node decides about what waits.
    Turn { seat: usize, run: u32 },
    /// A sync of so many turns ends.
    Synced { seat: usize, run: u32, turns: usize },
    /// A message arrives.
    Arrives { from: usize, to: usize, bytes: Vec<u8> },
    /// Two nodes notice whether they reach each other.
    Look { one: usize, other: usize },
    /// A client asks.
    Ask { client: usize },
    /// A node lists a page for a client.
    List { seat: usize, run: u32, request: RequestId },
    /// A client waits no longer.
    GivesUp { request: RequestId },
    /// A fault of a kind.
    Blow(Kind),
    /// A fault ends.
    Relief(Relief),
    /// A machine is started.
    Start { seat: usize, run: u32 },
}

/// Streams of chance, so that what one part draws does not change what another does.
struct Chance {
    network: ChaCha8Rng,
    clients: ChaCha8Rng,
    blows: ChaCha8Rng,
    rest: ChaCha8Rng,
}

/// A request on its way.
struct Pending {
    client: usize,
    /// Its place in the history.
    op: usize,
    question: Question,
    /// It made a delta.
    made: bool,
    /// What its answer rests on: the delta that it made, or where it made none all that its node had.
    rests_on: (ShardId, Vec<Dot>),
}

struct World {
    weather: Weather,
    options: Options,
    chance: Chance,
    now_us: u64,
    heap: Heap<Event>,
    ledger: Ledger,
    network: Network,
    seats: Vec<Seat>,
    /// Pairs of nodes that have a connection, the lower one first.
    connected: BTreeSet<(usize, usize)>,
    clients: Clients,
    requests: BTreeMap<RequestId, Pending>,
    asked: u64,
    history: History,
    /// The acknowledged writes that rest on each delta that some disk holds, to know whose only disk is destroyed.
    resting: BTreeMap<(ShardId, OriginId), BTreeMap<Seq, Vec<u64>>>,
    /// Those that are lost, and may be.
    excused: BTreeMap<u64, Cause>,
    /// All deltas that were ever made.
    dots: BTreeSet<(ShardId, Dot)>,
    /// What replicas of each version vector hold.
    roots: HashMap<(ShardId, u64), u128>,
    /// Clients and faults are done.
    is_ending: bool,
    figures: Figures,
    hasher: DefaultHasher,
}

impl World {
    fn new(seed: u64, options: &Options) -> World {
        let chance = |stream| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(stream);
            rng
        };
        let mut rest = chance(0);
        let weather = Weather::draw(&mut rest, options);
        let seats = (0..weather.nodes).map(|_| Seat::new(&weather.config, OriginId(rest.random()))).collect();
        let mut world = World {
            options: options.clone(),
            chance: Chance { network: chance(1), clients: chance(2), blows: chance(3), rest },
            now_us: 0,
            heap: Heap::new(),
            ledger: Ledger::default(),
            network: Network::new(weather.nodes),
            seats,
            connected: BTreeSet::new(),
            clients: Clients::new(weather.clients),
            requests: BTreeMap::new(),
            asked: 0,
            history: History::default(),
            resting: BTreeMap::new(),
            excused: BTreeMap::new(),
            dots: BTreeSet::new(),
            roots: HashMap::new(),
            is_ending: false,
            figures: Figures { runs: 1, ..Figures::default() },
            hasher: DefaultHasher::new(),
            weather,
        };
        world.trace(|world| format!("{:?}", world.weather));
        for seat in 0..world.weather.nodes {
            if world.weather.has(Kind::Clock) {
                world.seats[seat].clock.drift_ppm = world.chance.blows.random_range(-200..200);
            }
            world.due_in(0, Event::Start { seat, run: 0 });
        }
        for client in 0..world.weather.clients {
            world.due_in(SECOND, Event::Ask { client });
        }
        for kind in world.weather.kinds.clone() {
            if kind.is_blow() {
                world.due_blow(kind);
            }
        }
        world
    }

    /// Lets happen what is due until a time.
    fn go_on_until(&mut self, end_us: u64) -> Result<(), String> {
        while self.now_us < end_us {
            let (at_us, event) = self.heap.pop().ok_or("nothing is ever due any more")?;
            self.now_us = at_us;
            self.ledger.done(Due::of(&event));
            self.happen(event)?;
            self.ledger.check(self.heap.len())?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Tick { seat, run } if self.seats[seat].run == run => {
                self.due_in(TICK_US, Event::Tick { seat, run });
                self.give(seat, Input::Tick);
                self.give(seat, Input::Room(!self.seats[seat].is_nearly_full()));
                self.refill(seat);
            }
            Event::Turn { seat, run } if self.seats[seat].run == run => return self.turn(seat),
            Event::Synced { seat, run, turns } if self.seats[seat].run == run => self.synced(seat, turns)?,
            Event::Tick { .. } | Event::Turn { .. } | Event::Synced { .. } => {}
            Event::Arrives { from, to, bytes } => self.arrives(from, to, &bytes)?,
            Event::Look { one, other } => self.look(one, other),
            Event::Ask { client } => self.ask(client),
            Event::List { seat, run, request } => self.list(seat, run, request)?,
            Event::GivesUp { request } => self.give_up(request),
            Event::Blow(kind) => self.blow(kind)?,
            Event::Relief(relief) => self.relieve(relief),
            Event::Start { seat, run } if self.seats[seat].run == run => self.start(seat),
            Event::Start { .. } => {}
        }
        Ok(())
    }

    fn due_in(&mut self, us: u64, event: Event) {
        let tie = self.chance.rest.random();
        self.ledger.add(Due::of(&event));
        self.heap.push(self.now_us + us, tie, event);
    }

    /// A machine is started, if it is not.
    fn start(&mut self, at: usize) {
        let Seat { is_up, run, .. } = self.seats[at];
        if is_up {
            return;
        }
        if !self.has_room_to_start(at) {
            return self.start_later(at);
        }
        self.seats[at].is_up = true;
        let others = (0..self.seats.len()).filter(|other| *other != at);
        let members = others.clone().map(seat::node_id).collect();
        self.trace(|_| format!("n{} starts", at + 1));
        self.give(at, Input::Members(members));
        self.due_in(TICK_US, Event::Tick { seat: at, run });
        for other in 0..self.seats.len() {
            if other != at {
                self.look_soon(at, other);
            }
        }
    }

    /// A client asks a node, and another one next time.
    fn ask(&mut self, client: usize) {
        if self.is_ending {
            return;
        }
        let every_us = self.weather.request_every_us;
        let next_us = self.chance.clients.random_range(1..2 * every_us);
        self.due_in(next_us, Event::Ask { client });
        let question = self.clients.ask(&mut self.chance.clients, &self.weather, client);
        self.pose(client, question);
    }

    /// A client asks some node.
    fn pose(&mut self, client: usize, question: Question) {
        let to = self.chance.clients.random_range(0..self.seats.len());
        self.asked += 1;
        let (id, op) = (RequestId(self.asked), self.note(client, to, &question));
        if !self.seats[to].is_up {
            self.history.ops[op].ended = Some((self.now_us, End::Fail { code: "unreachable".into() }));
            return;
        }
        if self.seats[to].is_nearly_full() && matches!(question.asks, Asks::Node(Operation::Write(_))) {
            self.figures.refused += 1;
            self.history.ops[op].ended = Some((self.now_us, End::Fail { code: "disk_full".into() }));
            return;
        }
        self.figures.requests += 1;
        let patience_us = match self.chance.clients.random_ratio(1, 8) {
            true => self.chance.clients.random_range(1..LITTLE_PATIENCE_US),
            false => PATIENCE_US,
        };
        self.due_in(patience_us, Event::GivesUp { request: id });
        let run = self.seats[to].run;
        match question.asks.clone() {
            Asks::Node(operation) => {
                self.give(to, Input::Request { id, request: clients::request(&question.key, operation) });
            }
            Asks::Beside(_) => {
                let us = self.chance.rest.random_range(1..PAGE_US);
                self.due_in(us, Event::List { seat: to, run, request: id });
            }
        }
        self.requests
            .insert(id, Pending { client, op, question, made: false, rests_on: (ShardId(0), Vec::new()) });
    }

    /// A request in the history, at its place.
    fn note(&mut self, client: usize, to: usize, question: &Question) -> usize {
        self.history.ops.push(Op {
            op: self.history.ops.len() as u64 + 1,
            client: client as u32 + 1,
            session: None,
            node: to as u32 + 1,
            level: Level::Local,
            key: question.key.clone(),
            path: question.path.map(String::from),
            kind: question.kind,
            asked: question.asked.clone(),
            context: question.context(),
            began: self.now_us,
            ended: None,
        });
        self.history.ops.len() - 1
    }

    /// A client waits no longer, and may ask the same again.
    fn give_up(&mut self, request: RequestId) {
        let Some(Pending { client, op, question, .. }) = self.requests.remove(&request) else { return };
        self.history.ops[op].ended = Some((self.now_us, End::Info { code: "timeout".into() }));
        if !self.is_ending && self.chance.clients.random() {
            self.figures.repeats += 1;
            self.pose(client, question);
        }
    }

    fn trace(&self, what: impl FnOnce(&World) -> String) {
        if self.options.trace {
            println!("{:12.6} {}", self.now_us as f64 / SECOND as f64, what(self));
        }
    }

    fn sum_up(&self) -> Figures {
        let is_open = |op: &&Op| matches!(op.ended, None | Some((_, End::Info { .. })));
        let mut excused = [0; Cause::ALL.len()];
        self.excused.values().for_each(|cause| excused[*cause as usize] += 1);
        Figures {
            open: self.history.ops.iter().filter(is_open).count() as u64,
            excused,
            messages: self.network.sent,
            dropped: self.network.dropped,
            trace: self.hasher.finish(),
            ..self.figures
        }
    }
}
