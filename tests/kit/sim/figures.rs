//! What happened in runs, and what went wrong, in numbers and words.

use super::draw::{Options, SECOND};
use std::fmt;

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
    /// Requests that were asked once more.
    pub repeats: u64,
    /// Pages that were listed.
    pub pages: u64,
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

impl Figures {
    /// Adds those of another run.
    pub fn add(&mut self, other: Figures) {
        self.runs += other.runs;
        self.simulated_us += other.simulated_us;
        self.requests += other.requests;
        self.open += other.open;
        self.repeats += other.repeats;
        self.pages += other.pages;
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
            "{} runs, {hours:.2} cluster-hours: {} requests, {} left open, {} asked again, {} pages, {} acknowledged writes lost with their only disk; \
             {} messages, {} lost; {} faults; {} repairs, {} quarantines, {} disks replaced in the end, {} deltas cut off; all agreed within {:.2} s, with tiny limits {:.2} s",
            self.runs,
            self.requests,
            self.open,
            self.repeats,
            self.pages,
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
