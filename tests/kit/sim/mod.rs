//! A whole cluster in one thread, from one seed: real nodes, and around them a world that is as bad as the seed has drawn it.
//!
//! Nodes are core's, their messages are bytes, and everything that happens stands in one heap, ordered by time. Time is simulated, so
//! an hour takes seconds. The parts:
//!
//! - `draw`: what a seed draws; each has its own subset of faults (swarm testing), and tiny limits on some;
//! - `heap`: what is due, in order;
//! - `network`, `seat`: links; machines with disks and clocks, and a server's part between node and disk;
//! - `clients`: what is asked, and the history of it;
//! - `blows`: faults that come and go;
//! - `turns`: a node's turn, and what must hold after each;
//! - `end`: faults off, all must agree within a stated time, and the [checkers](crate::checker) judge the history.
//!
//! The same seed and options give the same run, byte for byte: the hash of its trace says so.

mod blows;
mod clients;
mod draw;
mod end;
mod heap;
mod network;
mod seat;
mod shrink;
mod turns;

pub use draw::{Kind, Options};
pub use shrink::shrink;

use crate::checker::{Entry, History};
use crate::seeds;
use blows::Relief;
use clients::{Clients, Pending};
use draw::{SECOND, Weather};
use heap::Heap;
use meridian_core::id::{Dot, OriginId, RequestId, ShardId};
use meridian_core::node::Input;
use network::Network;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seat::Seat;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::ops::{ControlFlow, Range};
use std::panic::{self, AssertUnwindSafe};

/// How often a node hears of time, as in the server.
const TICK_US: u64 = 100_000;
/// How long a client waits for an answer.
const PATIENCE_US: u64 = 5 * SECOND;

/// What happened in runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Runs.
    pub runs: u64,
    /// Simulated time of all nodes together with faults, in microseconds.
    pub simulated_us: u64,
    /// Requests that clients asked, and those that were never answered.
    pub requests: u64,
    /// Requests of which nobody knows what became.
    pub open: u64,
    /// Acknowledged writes whose only disk was destroyed.
    pub excused: u64,
    /// Messages that were sent.
    pub messages: u64,
    /// Messages that were lost.
    pub dropped: u64,
    /// Faults that came, but for single messages.
    pub blows: u64,
    /// Repairs that were installed.
    pub repairs: u64,
    /// Replicas that found a damaged row.
    pub quarantines: u64,
    /// Disks that were replaced in the end because nobody could help a damaged replica.
    pub hopeless: u64,
    /// Deltas that were cut off logs.
    pub cut: u64,
    /// The longest time until all agreed once faults were off, in microseconds: with ordinary limits.
    pub agreed_us_max: u64,
    /// The same where limits are tiny.
    pub agreed_tiny_us_max: u64,
    /// A hash of everything that happened, in order.
    pub trace: u64,
}

/// A run that went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// When it was noticed, in microseconds.
    pub at_us: u64,
    /// What was wrong.
    pub what: String,
    /// What it was told.
    pub options: Options,
}

/// Runs one seed.
///
/// # Errors
/// The first thing that was wrong.
pub fn run(seed: u64, options: &Options) -> Result<Figures, Box<Failure>> {
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
    match outcome {
        Ok(()) => Ok(world.sum_up()),
        Err(what) => Err(Box::new(Failure { seed, at_us: world.now_us, what, options: options.clone() })),
    }
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
    /// A client waits no longer.
    GivesUp { request: RequestId },
    /// A fault of a kind.
    Blow(Kind),
    /// A fault ends.
    Relief(Relief),
    /// A machine is started.
    Start { seat: usize },
}

/// Streams of chance, so that what one part draws does not change what another does.
struct Chance {
    network: ChaCha8Rng,
    clients: ChaCha8Rng,
    blows: ChaCha8Rng,
    rest: ChaCha8Rng,
}

struct World {
    weather: Weather,
    options: Options,
    chance: Chance,
    now_us: u64,
    heap: Heap<Event>,
    network: Network,
    seats: Vec<Seat>,
    /// Pairs of nodes that have a connection, the lower one first.
    connected: BTreeSet<(usize, usize)>,
    clients: Clients,
    requests: BTreeMap<RequestId, Pending>,
    asked: u64,
    history: History,
    /// The delta of each entry that was applied, to know whose only disk is destroyed.
    deltas: Vec<(usize, ShardId, Dot)>,
    /// All deltas that were ever made.
    dots: BTreeSet<(ShardId, Dot)>,
    /// What replicas of each version vector hold.
    roots: HashMap<(ShardId, u64), u128>,
    /// Messages that are due to arrive, and ends of clients' patience: they pass by themselves.
    passing: usize,
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
            network: Network::new(weather.nodes),
            seats,
            connected: BTreeSet::new(),
            clients: Clients::new(weather.clients),
            requests: BTreeMap::new(),
            asked: 0,
            history: History::default(),
            deltas: Vec::new(),
            dots: BTreeSet::new(),
            roots: HashMap::new(),
            passing: 0,
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
            world.due_in(0, Event::Start { seat });
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
            self.happen(event)?;
            self.check_heap()?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Tick { seat, run } if self.seats[seat].run == run => {
                self.due_in(TICK_US, Event::Tick { seat, run });
                self.give(seat, Input::Tick);
                self.refill(seat);
            }
            Event::Turn { seat, run } if self.seats[seat].run == run => return self.turn(seat),
            Event::Synced { seat, run, turns } if self.seats[seat].run == run => self.synced(seat, turns)?,
            Event::Tick { .. } | Event::Turn { .. } | Event::Synced { .. } => {}
            Event::Arrives { from, to, bytes } => {
                self.passing -= 1;
                self.arrives(from, to, &bytes)?;
            }
            Event::Look { one, other } => self.look(one, other),
            Event::Ask { client } => self.ask(client),
            Event::GivesUp { request } => {
                self.passing -= 1;
                self.requests.remove(&request);
            }
            Event::Blow(kind) => self.blow(kind)?,
            Event::Relief(relief) => self.relieve(relief),
            Event::Start { seat } => self.start(seat),
        }
        Ok(())
    }

    fn due_in(&mut self, us: u64, event: Event) {
        let tie = self.chance.rest.random();
        self.heap.push(self.now_us + us, tie, event);
    }

    /// A machine is started, if it is not.
    fn start(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        if seat.is_up {
            return;
        }
        seat.is_up = true;
        let run = seat.run;
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
        let to = self.chance.clients.random_range(0..self.seats.len());
        let question = self.clients.ask(&mut self.chance.clients, &self.weather, client);
        let Seat { is_up, life, .. } = self.seats[to];
        if !is_up {
            return;
        }
        self.figures.requests += 1;
        self.asked += 1;
        let id = RequestId(self.asked);
        let first = self.history.entries.len();
        for (subject, asked) in question.asked {
            let entry = Entry {
                subject,
                asked,
                node: to,
                life,
                began: self.now_us,
                ended: None,
                changed_nothing: false,
                excused: false,
            };
            self.history.entries.push(entry);
        }
        let entries = first..self.history.entries.len();
        self.requests.insert(id, Pending { client, key: question.key, entries, dot: None });
        self.passing += 1;
        self.due_in(PATIENCE_US, Event::GivesUp { request: id });
        self.give(to, Input::Request { id, request: question.request });
    }

    fn trace(&self, what: impl FnOnce(&World) -> String) {
        if self.options.trace {
            println!("{:12.6} {}", self.now_us as f64 / SECOND as f64, what(self));
        }
    }

    fn sum_up(self) -> Figures {
        let open = self.history.entries.iter().filter(|entry| entry.ended.is_none()).count();
        let excused =
            self.history.entries.iter().filter(|entry| entry.excused && entry.was_applied()).count();
        Figures {
            open: open as u64,
            excused: excused as u64,
            messages: self.network.sent,
            dropped: self.network.dropped,
            trace: self.hasher.finish(),
            ..self.figures
        }
    }
}

impl Figures {
    /// Adds those of another run.
    pub fn add(&mut self, other: Figures) {
        self.runs += other.runs;
        self.simulated_us += other.simulated_us;
        self.requests += other.requests;
        self.open += other.open;
        self.excused += other.excused;
        self.messages += other.messages;
        self.dropped += other.dropped;
        self.blows += other.blows;
        self.repairs += other.repairs;
        self.quarantines += other.quarantines;
        self.hopeless += other.hopeless;
        self.cut += other.cut;
        self.agreed_us_max = self.agreed_us_max.max(other.agreed_us_max);
        self.agreed_tiny_us_max = self.agreed_tiny_us_max.max(other.agreed_tiny_us_max);
        self.trace ^= other.trace;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.simulated_us as f64 / SECOND as f64 / 3600.0;
        write!(
            f,
            "{} runs, {hours:.2} cluster-hours: {} requests, {} left open, {} acknowledged writes lost with their only disk; \
             {} messages, {} lost; {} faults; {} repairs, {} quarantines, {} disks replaced in the end, {} deltas cut off; all agreed within {:.2} s, with tiny limits {:.2} s",
            self.runs,
            self.requests,
            self.open,
            self.excused,
            self.messages,
            self.dropped,
            self.blows,
            self.repairs,
            self.quarantines,
            self.hopeless,
            self.cut,
            self.agreed_us_max as f64 / SECOND as f64,
            self.agreed_tiny_us_max as f64 / SECOND as f64,
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, at_us, what, options } = self;
        writeln!(f, "seed {seed}, after {:.3} s: {what}", *at_us as f64 / SECOND as f64)?;
        write!(
            f,
            "replay: cargo run --release -p meridian-tests --bin meridian-sim -- replay --seed {seed}"
        )?;
        let default = Options::default();
        if options.hours != default.hours {
            write!(f, " --hours {}", options.hours)?;
        }
        if options.nodes_max != default.nodes_max {
            write!(f, " --nodes-max {}", options.nodes_max)?;
        }
        options.without.iter().try_for_each(|kind| write!(f, " --without {kind}"))?;
        options.bug.iter().try_for_each(|bug| write!(f, " --bug {bug}"))
    }
}
