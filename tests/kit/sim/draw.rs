//! What a seed draws: how many nodes there are, how bad the world is, and which kinds of faults there are at all.

use super::turns::PORTION_US;
use crate::faults::Fault;
use meridian_core::merkle::Seed;
use meridian_core::name::ShardCount;
use meridian_core::node::Config;
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use std::fmt;
use std::str::FromStr;

/// How many times the usual time a peer is given at most that has left pulls unanswered, and how many times it what was asked of it
/// rests then (`node/pulls.rs`).
const LATE: u64 = 64 + 64;
/// A second, in microseconds.
pub(super) const SECOND: u64 = 1_000_000;

/// A kind of fault, which a seed has or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Messages are lost.
    Loss,
    /// Messages come twice.
    Doubling,
    /// Messages overtake each other.
    Reordering,
    /// Links are cut, both ways or one way, between two nodes or around one.
    Partition,
    /// A node's process ends at once, and starts again later.
    Crash,
    /// A node gets nothing for seconds, and then everything.
    Pause,
    /// A disk's syncs take long.
    SlowDisk,
    /// A disk has no room for a while.
    FullDisk,
    /// A node comes back with an empty disk.
    Wipe,
    /// A node comes back with an old image of its disk.
    OldImage,
    /// A node comes back with a copy of another's disk.
    Clone,
    /// A bit of a row is flipped.
    Rot,
    /// Clocks run at different speeds, and wall clocks are wrong and jump.
    Clock,
}

impl Kind {
    /// All, with their names on the command line.
    pub const ALL: [(&'static str, Kind); 13] = [
        ("loss", Kind::Loss),
        ("doubling", Kind::Doubling),
        ("reordering", Kind::Reordering),
        ("partition", Kind::Partition),
        ("crash", Kind::Crash),
        ("pause", Kind::Pause),
        ("slow-disk", Kind::SlowDisk),
        ("full-disk", Kind::FullDisk),
        ("wipe", Kind::Wipe),
        ("old-image", Kind::OldImage),
        ("clone", Kind::Clone),
        ("rot", Kind::Rot),
        ("clock", Kind::Clock),
    ];

    /// Whether it happens now and then, rather than all the time.
    pub(super) fn is_blow(self) -> bool {
        !matches!(self, Kind::Loss | Kind::Doubling | Kind::Reordering)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = Kind::ALL.iter().find(|(_, kind)| kind == self).expect("all are listed");
        f.write_str(name)
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Kind::ALL.iter().find(|(name, _)| *name == text);
        let known = || Kind::ALL.map(|(name, _)| name).join(", ");
        found.map(|(_, kind)| *kind).ok_or_else(|| format!("no such kind of fault; there are {}", known()))
    }
}

/// What a run is told beside its seed. With less than all a run is smaller, and may still fail.
#[derive(Clone, Debug)]
pub struct Options {
    /// For how long clients and faults go on, in simulated hours.
    pub hours: f64,
    /// Kinds of faults that are left out though the seed has drawn them.
    pub without: Vec<Kind>,
    /// Most nodes.
    pub nodes_max: usize,
    /// Stops then, in simulated seconds, without an end in which all must agree.
    pub until_s: Option<f64>,
    /// A planted bug.
    pub bug: Option<Fault>,
    /// Nothing is looked at inside of nodes, and nothing compared: what is wrong must show in what clients saw.
    pub only_history: bool,
    /// Prints what happens.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            hours: 0.05,
            without: Vec::new(),
            nodes_max: 9,
            until_s: None,
            bug: None,
            only_history: false,
            trace: false,
        }
    }
}

/// What a seed has drawn.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    pub(super) nodes: usize,
    pub(super) kinds: Vec<Kind>,
    /// A message takes so long, and up to so much longer.
    pub(super) delay_us: u64,
    pub(super) jitter_us: u64,
    /// One message in so many is lost, or comes twice.
    pub(super) loss: u32,
    pub(super) doubling: u32,
    /// Bytes a second on a link.
    pub(super) bytes_per_second: u64,
    /// A sync takes so long.
    pub(super) sync_us: u64,
    /// How long it is between two blows of a kind, on average.
    pub(super) blow_every_us: u64,
    /// How long a blow lasts, on average.
    pub(super) blow_lasts_us: u64,
    /// How long it is between two requests of one client, on average.
    pub(super) request_every_us: u64,
    pub(super) clients: usize,
    /// Keys of each type.
    pub(super) keys: usize,
    pub(super) config: Config,
    /// Limits are tiny.
    pub(super) is_tiny: bool,
}

impl Weather {
    pub(super) fn draw(rng: &mut ChaCha8Rng, options: &Options) -> Weather {
        fn one_of<T: Copy>(rng: &mut ChaCha8Rng, choices: &[T]) -> T {
            *choices.choose(rng).expect("not empty")
        }
        let nodes = one_of(rng, &[1, 2, 3, 3, 3, 4, 5, 5, 7, 9]);
        // A subset of the faults; on some seeds few, on some all.
        let share = one_of(rng, &[0.0, 0.2, 0.4, 0.7, 1.0]);
        let drawn: Vec<Kind> =
            Kind::ALL.iter().map(|(_, kind)| *kind).filter(|_| rng.random_bool(share)).collect();
        let kinds = drawn.into_iter().filter(|kind| !options.without.contains(kind)).collect();
        let is_tiny = rng.random();
        let config = draw_config(rng, options.bug, is_tiny);
        let one_of = |choices: &[u64], rng: &mut ChaCha8Rng| one_of(rng, choices);
        Weather {
            nodes: nodes.min(options.nodes_max),
            kinds,
            delay_us: one_of(&[50, 500, 5_000, 40_000, 150_000], rng),
            jitter_us: one_of(&[10, 1_000, 20_000], rng),
            loss: one_of(&[4, 20, 100, 1_000], rng) as u32,
            doubling: one_of(&[3, 20, 200], rng) as u32,
            bytes_per_second: one_of(&[100_000, 10_000_000, 1_000_000_000], rng),
            sync_us: one_of(&[50, 500, 5_000], rng),
            blow_every_us: one_of(&[3, 10, 30, 60], rng) * SECOND,
            blow_lasts_us: one_of(&[300_000, 2 * SECOND, 10 * SECOND], rng),
            request_every_us: one_of(&[20_000, 100_000, 500_000], rng),
            clients: one_of(&[1, 3, 6], rng) as usize,
            keys: one_of(&[2, 3, 10], rng) as usize,
            config,
            is_tiny,
        }
    }

    pub(super) fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// How long all nodes may take to agree once all faults are off. Whose last message was lost waits until all is announced once more; then
    /// it takes some seconds and ten round trips. Add to that:
    ///
    /// - where messages were lost, a pull that was lost just before has [`LATE`] times the usual time until it is made again: so long
    ///   a peer is not asked for what it alone may have;
    /// - what links were given before goes first, and then what is lacked; a slow link may carry it three times over;
    ///
    /// and where limits are tiny:
    ///
    /// - each delta that is lacked may be an answer of its own, and be turned away once before its turn has come: two round trips;
    /// - where logs are cut, or empty replicas are repaired at once, a node may be repaired from each other one, one after the other, and
    ///   each of them may have to help another one first. In each repair every row may be an answer of its own, and
    ///   `repair_known_max` own rows a request; for each request the source reads all rows, a portion at a time.
    pub(super) fn patience_us(&self, lag: Lag) -> u64 {
        let round_trip_us = 2 * (self.delay_us + self.jitter_us) + 2 * self.sync_us;
        let loses = [Kind::Loss, Kind::Partition].iter().any(|kind| self.has(*kind));
        let late_us = if loses { LATE * self.config.pull_retry_ms * 1_000 } else { 0 };
        let ordinary_us = self.config.announce_all_ms * 1_000 + 5 * SECOND + 10 * round_trip_us + late_us;
        let carried_us = lag.backlog_us + 3 * lag.bytes * SECOND / self.bytes_per_second;
        let ordinary_us = ordinary_us + carried_us;
        if !self.is_tiny {
            return ordinary_us;
        }
        let pulls_us = lag.deltas * 2 * round_trip_us;
        let requests = 1 + lag.rows / self.config.repair_known_max as u64;
        let reading_us = lag.rows.div_ceil(self.config.portion_rows as u64) * PORTION_US;
        let repair_us = (lag.rows + requests) * round_trip_us + requests * reading_us;
        let repairs = if lag.is_cut { 2 * (self.nodes as u64 - 1) } else { 0 };
        ordinary_us + pulls_us + repairs * (repair_us + self.config.pull_retry_ms * 1_000)
    }
}

/// How far nodes are apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lag {
    /// The most deltas that one node lacks, and their bytes at most.
    pub(super) deltas: u64,
    pub(super) bytes: u64,
    /// How long links are busy with what they were given before.
    pub(super) backlog_us: u64,
    /// The most rows that one node holds.
    pub(super) rows: u64,
    /// Logs may not have what is lacked, or are not asked for it.
    pub(super) is_cut: bool,
}

/// Limits are tiny on some seeds, so that each is reached.
fn draw_config(rng: &mut ChaCha8Rng, bug: Option<Fault>, is_tiny: bool) -> Config {
    fn one_of<T: Copy>(rng: &mut ChaCha8Rng, choices: &[T]) -> T {
        *choices.choose(rng).expect("not empty")
    }
    let shards = one_of(rng, &[1, 2, 8]);
    let default = Config::default();
    let planted = bug.map(Fault::planted).unwrap_or_default();
    let config = Config {
        shards: ShardCount::new(shards).expect("a power of two"),
        seed: Seed(0x5eed),
        planted,
        ..default.clone()
    };
    if !is_tiny {
        return config;
    }
    Config {
        parked_bytes_max: one_of(rng, &[0, 1_000, default.parked_bytes_max]),
        pull_bytes_max: one_of(rng, &[1, 500, default.pull_bytes_max]),
        pulls_open_max: one_of(rng, &[1, default.pulls_open_max]),
        repairs_open_max: one_of(rng, &[1, default.repairs_open_max]),
        repair_empty_min: one_of(rng, &[1, 50, default.repair_empty_min]),
        repair_known_max: one_of(rng, &[2, default.repair_known_max]),
        install_rows_max: one_of(rng, &[0, 5, default.install_rows_max]),
        removal_rows_max: one_of(rng, &[1, 5, default.removal_rows_max]),
        portion_rows: one_of(rng, &[2, 20, default.portion_rows]),
        deep_check_ms: one_of(rng, &[5_000, 60_000, default.deep_check_ms]),
        log_keep_bytes: one_of(rng, &[0, 2_000, default.log_keep_bytes]),
        log_bytes_max: one_of(rng, &[500, 5_000, default.log_bytes_max]),
        ..config
    }
}
