//! What happened in runs, and what went wrong, in numbers and words.

use super::draw::{Options, SECOND};
use super::losses::Cause;
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
    /// Acknowledged writes that are lost and may be, for each [`Cause`] in order.
    pub excused: [u64; Cause::ALL.len()],
    /// Disks that were replaced by an empty one, an old image or a copy of another.
    pub replaced: u64,
    /// Times that a process ended because its disk was full, and starts that failed for that.
    pub full: u64,
    /// Writes that were refused because a disk was nearly full.
    pub refused: u64,
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
    /// The largest part of the time it may take that this took, in percent.
    pub patience_percent_max: u64,
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
        self.excused.iter_mut().zip(other.excused).for_each(|(sum, more)| *sum += more);
        self.replaced += other.replaced;
        self.full += other.full;
        self.refused += other.refused;
        self.messages += other.messages;
        self.dropped += other.dropped;
        self.blows += other.blows;
        self.repairs += other.repairs;
        self.quarantines += other.quarantines;
        self.hopeless += other.hopeless;
        self.cut += other.cut;
        self.agreed_us_max = self.agreed_us_max.max(other.agreed_us_max);
        self.agreed_tiny_us_max = self.agreed_tiny_us_max.max(other.agreed_tiny_us_max);
        self.patience_percent_max = self.patience_percent_max.max(other.patience_percent_max);
        self.trace ^= other.trace;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |us: u64| us as f64 / SECOND as f64;
        let Figures {
            runs,
            requests,
            open,
            repeats,
            pages,
            messages,
            dropped,
            blows,
            replaced,
            full,
            refused,
            ..
        } = self;
        let Figures { repairs, quarantines, hopeless, cut, agreed_us_max, agreed_tiny_us_max, .. } = self;
        let hours = seconds(self.simulated_us) / 3600.0;
        write!(f, "{runs} runs, {hours:.2} cluster-hours: {requests} requests, {open} left open, ")?;
        write!(f, "{repeats} asked again, {pages} pages; ")?;
        write!(f, "{messages} messages, {dropped} lost; {blows} faults, {replaced} disks replaced; ")?;
        write!(f, "{full} times a full disk, {refused} writes refused for it; ")?;
        write!(f, "{repairs} repairs, {quarantines} quarantines, {hopeless} disks replaced in the end, ")?;
        write!(f, "{cut} deltas cut off; acknowledged writes lost ")?;
        for ((_, words), count) in Cause::ALL.iter().zip(self.excused) {
            write!(f, "{words} {count}, ")?;
        }
        let (ordinary, tiny) = (seconds(*agreed_us_max), seconds(*agreed_tiny_us_max));
        write!(f, "all agreed within {ordinary:.2} s, with tiny limits {tiny:.2} s, ")?;
        write!(f, "in {} % of the time they may take", self.patience_percent_max)
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
