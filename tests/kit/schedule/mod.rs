//! Random schedules: real nodes and the reference model, side by side, compared at every step.
//!
//! One seed is one schedule: two to four nodes with disks (in memory, or others: [`Disk`]) and one shard, some keys of every type, clients
//! that write, read and carry contexts from node to node, a network that delays, doubles, loses and reorders encoded
//! messages, and disks that crash with a lost tail, are wiped, put back from an old image, or rot. Each seed draws its
//! own mix and its own limits.
//!
//! After **every** step of a node:
//! - its content is what the model says for its version vector, and byte for byte that of every node with an equal one;
//! - its version vector is causally closed and without a gap;
//! - each answer is the model's;
//! - its clock is not ahead of its wall time by more than the bound.
//!
//! A replica that is out of service is compared when it answers again, with all that it holds then.
//!
//! After every crash: what was answered is there. At the end all heals, every node must come to the same version
//! vector, no event that some disk still holds may be missing, and the content must be what the set of all events says.
//! On half of the seeds nobody meets anew for that: only time passes, and announcements must do.

mod check;
mod disk;
mod end;
mod many;
mod requests;
mod shell;
mod steps;

pub use disk::Disk;
pub use many::{run_many, run_many_on};

use crate::faults::Fault;
use crate::model::{Event, Model};
use meridian_core::cell::Type;
use meridian_core::context::Context;
use meridian_core::id::{Dot, NodeId, OriginId, RequestId};
use meridian_core::merkle::Seed;
use meridian_core::name::{Bucket, Key, Member, ShardCount};
use meridian_core::node::{Config, Node};
use meridian_core::storage::MemStorage;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::panic::{self, AssertUnwindSafe};

/// How many steps a schedule has unless it is said otherwise.
pub const STEPS: usize = 150;

/// What happened in schedules: to see that they did something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Schedules that were run.
    pub schedules: u64,
    /// Events that were made.
    pub events: u64,
    /// Messages that were delivered.
    pub messages: u64,
    /// Crashes with a lost tail.
    pub crashes: u64,
    /// Disks that were wiped or put back from an old image.
    pub rollbacks: u64,
    /// Replicas that found a damaged row.
    pub quarantines: u64,
    /// Replicas that were emptied and filled again.
    pub refills: u64,
    /// Repairs that were installed, and those that were given up.
    pub repairs: u64,
    /// Repairs that were given up.
    pub aborts: u64,
    /// Steps of replicas on which a repair was being installed in portions.
    pub installing: u64,
    /// Deltas that were cut off a log.
    pub cut: u64,
    /// Writes that carried a context.
    pub contexts: u64,
    /// Requests that were refused, as the model says they must be.
    pub refusals: u64,
    /// A hash of every batch and every output, in order: the same seed gives the same.
    pub trace: u64,
}

impl Tally {
    /// Adds another tally to this one.
    pub fn add(&mut self, other: Tally) {
        self.schedules += other.schedules;
        self.events += other.events;
        self.messages += other.messages;
        self.crashes += other.crashes;
        self.rollbacks += other.rollbacks;
        self.quarantines += other.quarantines;
        self.refills += other.refills;
        self.repairs += other.repairs;
        self.aborts += other.aborts;
        self.installing += other.installing;
        self.cut += other.cut;
        self.contexts += other.contexts;
        self.refusals += other.refusals;
        self.trace ^= other.trace;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} schedules: {} events, {} messages, {} crashes, {} disks rolled back or wiped, {} quarantined, \
             {} refilled, {} repairs, {} given up, {} steps with a half-installed one, {} deltas cut off, {} writes with a context, {} refusals",
            self.schedules,
            self.events,
            self.messages,
            self.crashes,
            self.rollbacks,
            self.quarantines,
            self.refills,
            self.repairs,
            self.aborts,
            self.installing,
            self.cut,
            self.contexts,
            self.refusals
        )
    }
}

/// A schedule that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// The step at which it was noticed.
    pub step: usize,
    /// What was wrong.
    pub what: String,
    /// The bug that was planted.
    pub fault: Option<Fault>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, step, what, fault } = self;
        let planted = fault.map_or(String::new(), |fault| format!(" --bug {fault}"));
        writeln!(f, "seed {seed}, step {step}: {what}")?;
        write!(
            f,
            "replay: cargo run --release -p meridian-tests --bin meridian-model -- replay --seed {seed}{planted}"
        )
    }
}

/// Runs one schedule on disks in memory. With a planted bug it should fail; without, it must not.
///
/// # Errors
/// The first thing that was wrong.
pub fn run(seed: u64, fault: Option<Fault>, trace: bool) -> Result<Tally, Failure> {
    run_on::<MemStorage>(seed, fault, trace)
}

/// As [`run`], on other disks.
///
/// # Errors
/// The first thing that was wrong.
pub fn run_on<D: Disk>(seed: u64, fault: Option<Fault>, trace: bool) -> Result<Tally, Failure> {
    let mut world = World::<D>::new(seed, fault, trace);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        world.begin()?;
        for step in 0..STEPS {
            world.step = step;
            world.random_step()?;
        }
        world.finish()
    }));
    let outcome = outcome.unwrap_or_else(|panic| Err(format!("a panic: {}", words_of(panic.as_ref()))));
    outcome.map_err(|what| Failure { seed, step: world.step, what, fault })?;
    Ok(Tally { trace: world.hasher.finish(), ..world.tally })
}

/// What a panic said.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// How often each kind of step is taken, and how large things are: drawn once per seed.
struct Mix {
    write: u32,
    deliver: u32,
    reconnect: u32,
    part: u32,
    tick: u32,
    work: u32,
    stop: u32,
    sync: u32,
    crash: u32,
    rollback: u32,
    rot: u32,
    /// One message in this many is lost; 0 for none.
    loss: u32,
    /// One message in this many is delivered twice; 0 for none.
    doubling: u32,
    /// One write in this many carries a context; 0 for none.
    context: u32,
    /// One write in this many names its type; 0 for none.
    named: u32,
}

/// A node with its disk, its model and what its shell has not delivered yet.
struct Seat<D: Disk> {
    id: NodeId,
    node: Node,
    disk: D,
    model: Model,
    /// Outputs of turns that are written and not synced, oldest first.
    unsynced: VecDeque<Vec<meridian_core::node::Output>>,
    /// Writes that this disk has made durable and whose clients were told so.
    answered: BTreeSet<Dot>,
    /// An old state of the disk.
    image: Option<D::Image>,
    /// Whether a row of the disk was damaged; and whether one that only another disk mends.
    rotten: bool,
    beyond_repair: bool,
    /// How far the node's wall clock is ahead of the true time, in milliseconds.
    offset_ms: i64,
    /// The highest wall time that the node has been told.
    wall_ms_highest: u64,
    /// Its content in canonical bytes, if it could be read.
    bytes: Option<Vec<u8>>,
}

/// A message on its way.
struct Flight {
    from: NodeId,
    to: usize,
    bytes: Vec<u8>,
}

/// Everything in one schedule.
struct World<D: Disk> {
    rng: ChaCha8Rng,
    mix: Mix,
    fault: Option<Fault>,
    config: Config,
    seats: Vec<Seat<D>>,
    flying: Vec<Flight>,
    /// Whether all meet anew at the end, or must come to the same without that.
    meets_at_end: bool,
    /// Who cannot reach whom, the lower seat first.
    parted: BTreeSet<(usize, usize)>,
    /// Every event that was made and not lost before it left its node.
    events: BTreeMap<Dot, Event>,
    /// Events whose disk was rolled back before any other node had applied them: they may be lost for good.
    lost: BTreeSet<Dot>,
    /// Contexts that clients hold.
    contexts: Vec<(Key, Context)>,
    /// Which event answers which request.
    requests: BTreeMap<RequestId, Dot>,
    /// The keys, and the type that each mostly has; `None` where anything goes.
    keys: Vec<(Key, Option<Type>)>,
    members: Vec<Member>,
    bucket: Bucket,
    now_ms: u64,
    step: usize,
    values: u64,
    tally: Tally,
    hasher: DefaultHasher,
    trace: bool,
}

/// Keys that are awkward where they can be: one is another's beginning, and they hold what rows use as marks.
const KEYS: [&[u8]; 4] = [b"k", b"k\0", b"k\0\xff", b"\0\x02a"];
const MEMBERS: [&str; 4] = ["a", "ab", "\0", "z"];

impl<D: Disk> World<D> {
    fn new(seed: u64, fault: Option<Fault>, trace: bool) -> World<D> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let config = Config {
            shards: ShardCount::new(1).expect("a power of two"),
            parked_bytes_max: *[0, 100, 1_000, 4 << 20].choose(&mut rng).expect("not empty"),
            pull_bytes_max: *[1, 200, 256 << 10].choose(&mut rng).expect("not empty"),
            lacking_ms: *[0, 250].choose(&mut rng).expect("not empty"),
            announce_ms: *[0, 500].choose(&mut rng).expect("not empty"),
            repairs_open_max: *[1, 8].choose(&mut rng).expect("not empty"),
            repair_empty_min: *[1, 5, 1_000].choose(&mut rng).expect("not empty"),
            repair_known_max: *[1, 2, 16_384].choose(&mut rng).expect("not empty"),
            install_rows_max: *[0, 2, 10_000].choose(&mut rng).expect("not empty"),
            removal_rows_max: *[0, 1, 3, 10_000].choose(&mut rng).expect("not empty"),
            portion_rows: *[1, 2, 5, 512].choose(&mut rng).expect("not empty"),
            deep_check_ms: *[1_000, 86_400_000].choose(&mut rng).expect("not empty"),
            log_keep_bytes: *[0, 300, 32 << 20].choose(&mut rng).expect("not empty"),
            log_bytes_max: *[0, 500, 2_000, 4 << 30].choose(&mut rng).expect("not empty"),
            seed: Seed(0x5eed),
            planted: fault.map(Fault::planted).unwrap_or_default(),
            ..Config::default()
        };
        let (mix, meets_at_end) = (Mix::draw(&mut rng), rng.random());
        let (keys, members) = (draw_keys(&mut rng), rng.random_range(1..=MEMBERS.len()));
        let mut world = World {
            mix,
            fault,
            config,
            seats: Vec::new(),
            flying: Vec::new(),
            meets_at_end,
            parted: BTreeSet::new(),
            events: BTreeMap::new(),
            lost: BTreeSet::new(),
            contexts: Vec::new(),
            requests: BTreeMap::new(),
            keys,
            members: MEMBERS[..members].iter().map(|text| Member::new(text).expect("a member")).collect(),
            bucket: Bucket::new("b").expect("a bucket"),
            now_ms: 1_000_000,
            step: 0,
            values: 0,
            tally: Tally { schedules: 1, ..Tally::default() },
            hasher: DefaultHasher::new(),
            trace,
            rng,
        };
        let seats = world.rng.random_range(2..=4);
        for index in 0..seats {
            let seat = world.fresh_seat(NodeId(index + 1));
            world.seats.push(seat);
        }
        world
    }

    fn fresh_seat(&mut self, id: NodeId) -> Seat<D> {
        let disk = D::empty();
        let origin = self.draw_origin();
        let node = Node::open(self.config.clone(), &disk, origin).expect("an empty disk opens");
        Seat {
            id,
            node,
            disk,
            model: Model::default(),
            unsynced: VecDeque::new(),
            answered: BTreeSet::new(),
            image: None,
            rotten: false,
            beyond_repair: false,
            offset_ms: self.rng.random_range(-500..500),
            wall_ms_highest: 0,
            bytes: None,
        }
    }

    fn draw_origin(&mut self) -> OriginId {
        OriginId(self.rng.random())
    }

    fn one_in(&mut self, chance: u32) -> bool {
        chance > 0 && self.rng.random_ratio(1, chance)
    }

    fn trace(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:4} {}", self.step, what());
        }
    }
}

/// One to four keys. On most seeds each has a type of its own, so that most writes fit; on the others anything goes.
fn draw_keys(rng: &mut ChaCha8Rng) -> Vec<(Key, Option<Type>)> {
    let types: Vec<Option<Type>> =
        Type::ALL.into_iter().chain([Type::Map, Type::Map]).map(Some).chain([None, None]).collect();
    let settled = rng.random_ratio(3, 4);
    let count = rng.random_range(1..=KEYS.len());
    let mut typed = |key: &&[u8]| {
        let home = *types.choose(rng).expect("some");
        (Key::new(key).expect("a key"), home.filter(|_| settled))
    };
    KEYS[..count].iter().map(&mut typed).collect()
}

impl Mix {
    /// Every seed has its own intensities, and lacks some kinds of faults altogether.
    fn draw(rng: &mut ChaCha8Rng) -> Mix {
        let mut often = |choices: &[u32]| *choices.choose(rng).expect("not empty");
        Mix {
            write: often(&[20, 40, 60]),
            deliver: often(&[10, 30, 60]),
            reconnect: often(&[0, 2, 8]),
            part: often(&[0, 0, 1, 3]),
            tick: often(&[1, 4]),
            work: often(&[5, 20, 60]),
            stop: often(&[0, 0, 1]),
            sync: often(&[5, 15, 40]),
            crash: often(&[0, 0, 1, 3]),
            rollback: often(&[0, 0, 1]),
            rot: often(&[0, 0, 0, 1]),
            loss: often(&[0, 0, 20, 4]),
            doubling: often(&[0, 10, 3]),
            context: often(&[0, 6, 2]),
            named: often(&[0, 0, 8, 2]),
        }
    }
}
