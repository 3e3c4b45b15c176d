//! The network between simulated nodes: when a message arrives, if it does, and who can reach whom.

use super::draw::{Kind, Weather};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Directed links between all nodes.
pub(super) struct Network {
    nodes: usize,
    /// How many partitions keep packets from one node to another.
    cuts: Vec<u32>,
    /// When the last message of a link arrives: in order, the next one comes behind it.
    last_us: Vec<u64>,
    /// When a link has sent what it was given.
    busy_until_us: Vec<u64>,
    /// Faults are off.
    is_calm: bool,
    pub(super) sent: u64,
    pub(super) dropped: u64,
}

impl Network {
    pub(super) fn new(nodes: usize) -> Network {
        let links = nodes * nodes;
        Network {
            nodes,
            cuts: vec![0; links],
            last_us: vec![0; links],
            busy_until_us: vec![0; links],
            is_calm: false,
            sent: 0,
            dropped: 0,
        }
    }

    /// When a message of so many bytes arrives: never, once or twice.
    pub(super) fn send(
        &mut self,
        weather: &Weather,
        rng: &mut ChaCha8Rng,
        now_us: u64,
        link: (usize, usize),
        bytes: usize,
    ) -> Vec<u64> {
        let at = self.at(link);
        self.sent += 1;
        let is_lost = weather.has(Kind::Loss) && !self.is_calm && rng.random_ratio(1, weather.loss);
        if self.cuts[at] > 0 || is_lost {
            self.dropped += 1;
            return Vec::new();
        }
        let begins = self.busy_until_us[at].max(now_us);
        self.busy_until_us[at] = begins + bytes as u64 * 1_000_000 / weather.bytes_per_second;
        let mut arrives = self.busy_until_us[at] + weather.delay_us + rng.random_range(0..=weather.jitter_us);
        if self.is_calm || !weather.has(Kind::Reordering) {
            arrives = arrives.max(self.last_us[at] + 1);
            self.last_us[at] = arrives;
        }
        let twice = weather.has(Kind::Doubling) && !self.is_calm && rng.random_ratio(1, weather.doubling);
        match twice {
            true => vec![arrives, arrives + weather.delay_us + rng.random_range(0..=weather.jitter_us)],
            false => vec![arrives],
        }
    }

    /// Packets from one node to another are dropped, once more.
    pub(super) fn cut(&mut self, link: (usize, usize)) {
        let at = self.at(link);
        self.cuts[at] += 1;
    }

    /// Ends what one [`Network::cut`] did.
    pub(super) fn mend(&mut self, link: (usize, usize)) {
        let at = self.at(link);
        self.cuts[at] = self.cuts[at].saturating_sub(1);
    }

    /// How long links will be busy with what they were given.
    pub(super) fn backlog_us(&self, now_us: u64) -> u64 {
        self.busy_until_us.iter().max().map_or(0, |until_us| until_us.saturating_sub(now_us))
    }

    /// All cuts end, and nothing is lost any more.
    pub(super) fn calm(&mut self) {
        self.cuts.fill(0);
        self.is_calm = true;
    }

    /// Whether packets go both ways.
    pub(super) fn is_open(&self, one: usize, other: usize) -> bool {
        self.cuts[self.at((one, other))] == 0 && self.cuts[self.at((other, one))] == 0
    }

    fn at(&self, (from, to): (usize, usize)) -> usize {
        from * self.nodes + to
    }
}
