//! The medians of all rounds, and how far the node is from the goals.

use super::Round;
use serde::Serialize;
use std::fmt::Write as _;

/// The least share of the echo's GET that a node is to reach, and what it aims at.
const GET_BAR: f64 = 0.5;
const GET_GOAL: f64 = 0.85;
/// The same for durable PUT, of the echo's PUT.
const PUT_BAR: f64 = 0.25;
const PUT_GOAL: f64 = 0.6;
/// Share of a PUT's rate that other writes aim at.
const WRITE_GOAL: f64 = 0.8;

/// Medians over the rounds; ratios are medians of the ratios within each round.
#[derive(Serialize)]
pub(super) struct Summary {
    echo_get_per_second: f64,
    echo_put_per_second: f64,
    node_get_per_second: f64,
    node_put_per_second: f64,
    node_increment_per_second: f64,
    node_add_per_second: f64,
    node_get_p99_ms: f64,
    node_put_p99_ms: f64,
    disk_writes_per_second: f64,
    fdatasync_ms: f64,
    get_of_echo: f64,
    put_of_echo: f64,
    /// Between these are the ratios of the middle half of the rounds.
    get_of_echo_quartiles: [f64; 2],
    put_of_echo_quartiles: [f64; 2],
    put_of_disk: f64,
    increment_of_put: f64,
    add_of_put: f64,
    /// What PUT is to reach, in each round the lesser of [`PUT_BAR`] of the echo's and of what syncs alone allow:
    /// 0.6 × connections / (1.5 × fdatasync).
    put_bar_per_second: f64,
    /// A PUT's rate over that bar.
    put_of_bar: f64,
}

impl Summary {
    /// Of at least one round, with so many connections.
    pub(super) fn of(rounds: &[Round], connections: usize) -> Summary {
        let quantile =
            |share: f64, figure: &dyn Fn(&Round) -> f64| quantile(rounds.iter().map(figure).collect(), share);
        let of = |figure: &dyn Fn(&Round) -> f64| quantile(0.5, figure);
        let get_of_echo = |round: &Round| round.node_get.per_second / round.echo_get.per_second;
        let put_of_echo = |round: &Round| round.node_put.per_second / round.echo_put.per_second;
        let bar = |round: &Round| put_bar(round.echo_put.per_second, round.disk.fdatasync_ms, connections);
        Summary {
            echo_get_per_second: of(&|round| round.echo_get.per_second),
            echo_put_per_second: of(&|round| round.echo_put.per_second),
            node_get_per_second: of(&|round| round.node_get.per_second),
            node_put_per_second: of(&|round| round.node_put.per_second),
            node_increment_per_second: of(&|round| round.node_increment.per_second),
            node_add_per_second: of(&|round| round.node_add.per_second),
            node_get_p99_ms: of(&|round| round.node_get.p99_ms),
            node_put_p99_ms: of(&|round| round.node_put.p99_ms),
            disk_writes_per_second: of(&|round| round.disk.writes_per_second),
            fdatasync_ms: of(&|round| round.disk.fdatasync_ms),
            get_of_echo: of(&get_of_echo),
            put_of_echo: of(&put_of_echo),
            get_of_echo_quartiles: [0.25, 0.75].map(|share| quantile(share, &get_of_echo)),
            put_of_echo_quartiles: [0.25, 0.75].map(|share| quantile(share, &put_of_echo)),
            put_of_disk: of(&|round| round.node_put.per_second / round.disk.writes_per_second),
            increment_of_put: of(&|round| round.node_increment.per_second / round.node_put.per_second),
            add_of_put: of(&|round| round.node_add.per_second / round.node_put.per_second),
            put_bar_per_second: of(&bar),
            put_of_bar: of(&|round| round.node_put.per_second / bar(round)),
        }
    }

    /// What a person reads.
    pub(super) fn table(&self) -> String {
        let rows = [
            ("GET, bare echo", self.echo_get_per_second, String::new()),
            (
                "GET, node",
                self.node_get_per_second,
                format!(
                    "{} ({GET_BAR} is the bar, {GET_GOAL} the goal), p99 {:.2} ms",
                    of_echo(self.get_of_echo, self.get_of_echo_quartiles),
                    self.node_get_p99_ms
                ),
            ),
            ("PUT, bare echo", self.echo_put_per_second, String::new()),
            (
                "PUT, bare disk",
                self.disk_writes_per_second,
                format!("one writer, synced batches; fdatasync {:.3} ms", self.fdatasync_ms),
            ),
            (
                "PUT, node, durable",
                self.node_put_per_second,
                format!(
                    "{} ({PUT_GOAL} is the goal), {:.2} of the disk, p99 {:.2} ms",
                    of_echo(self.put_of_echo, self.put_of_echo_quartiles),
                    self.put_of_disk,
                    self.node_put_p99_ms
                ),
            ),
            ("increment, node", self.node_increment_per_second, of_put(self.increment_of_put)),
            ("set add, node", self.node_add_per_second, of_put(self.add_of_put)),
        ];
        let mut text = format!("{:<20}{:>12}\n", "median", "per second");
        for (name, per_second, words) in rows {
            let line = format!("{name:<20}{per_second:>12.0}   {words}");
            let _never = writeln!(text, "{}", line.trim_end());
        }
        let _never = writeln!(
            text,
            "the bar for PUT is {:.0}/s, the lesser of {PUT_BAR} of the echo and of what syncs alone allow: the node does {:.2} of it",
            self.put_bar_per_second, self.put_of_bar
        );
        text
    }
}

fn of_echo(ratio: f64, [low, high]: [f64; 2]) -> String {
    format!("{ratio:.2} of the echo, half of the rounds {low:.2} to {high:.2}")
}

fn of_put(ratio: f64) -> String {
    format!("{ratio:.2} of PUT ({WRITE_GOAL} is the goal)")
}

/// What durable PUT is to reach: a quarter of the echo's, or what a sync for each round of all connections allows.
fn put_bar(echo_per_second: f64, fdatasync_ms: f64, connections: usize) -> f64 {
    let syncs_alone = 0.6 * connections as f64 / (1.5 * fdatasync_ms / 1000.0);
    (PUT_BAR * echo_per_second).min(syncs_alone)
}

/// The number below which this share of all lies; between two of them, in proportion. There is at least one.
fn quantile(mut numbers: Vec<f64>, share: f64) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    let place = share * (numbers.len() - 1) as f64;
    let (below, above) = (numbers[place.floor() as usize], numbers[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::super::processes::Disk;
    use super::*;
    use crate::report::Row;

    fn round(echo: f64, node: f64) -> Round {
        let row = |per_second| Row { per_second, ..Row::default() };
        let disk = Disk {
            writes_per_second: 50_000.0,
            batches_per_second: 800.0,
            writes_in_a_batch: 64,
            fdatasync_ms: 0.2,
            fdatasync_p99_ms: 1.0,
        };
        Round {
            echo_get: row(2.0 * echo),
            node_get: row(1.5 * echo),
            echo_put: row(echo),
            node_put: row(node),
            node_increment: row(node / 2.0),
            node_add: row(node),
            disk,
        }
    }

    #[test]
    fn a_quantile_has_its_share_below() {
        assert_eq!(quantile(vec![9.0, 1.0, 5.0], 0.5), 5.0);
        assert_eq!(quantile(vec![4.0, 1.0, 2.0, 9.0], 0.5), 3.0);
        assert_eq!(quantile(vec![4.0, 1.0, 2.0, 9.0, 5.0], 0.25), 2.0);
        assert_eq!(quantile(vec![4.0, 1.0, 2.0, 9.0, 5.0], 0.75), 5.0);
        assert_eq!(quantile(vec![1.0, 2.0, 4.0, 9.0], 0.25), 1.75);
        assert_eq!(quantile(vec![7.0], 0.75), 7.0);
    }

    #[test]
    fn the_bar_is_the_lesser_of_two() {
        assert_eq!(put_bar(100_000.0, 0.2, 64), 25_000.0, "a fast disk: the echo decides");
        let slow = put_bar(100_000.0, 4.0, 64);
        assert!((slow - 6_400.0).abs() < 1e-6, "a slow disk decides: {slow}");
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was twice as fast in the first round: the ratio is the same.
        let summary = Summary::of(&[round(200_000.0, 60_000.0), round(100_000.0, 30_000.0)], 64);
        let ratios = [summary.put_of_echo, summary.get_of_echo, summary.increment_of_put, summary.put_of_bar];
        for (ratio, due) in ratios.into_iter().zip([0.3, 0.75, 0.5, 1.2]) {
            assert!((ratio - due).abs() < 1e-9, "{ratio} is to be {due}");
        }
        let table = summary.table();
        assert!(table.contains("0.30 of the echo") && table.contains("0.75 of the echo"), "{table}");
    }

    #[test]
    fn the_middle_half_of_the_ratios_is_told() {
        let rounds: Vec<Round> =
            (0..5).map(|step| round(100_000.0, 20_000.0 + 5_000.0 * f64::from(step))).collect();
        let summary = Summary::of(&rounds, 64);
        assert_eq!(summary.put_of_echo_quartiles, [0.25, 0.35]);
        assert_eq!(summary.get_of_echo_quartiles, [0.75, 0.75]);
        let table = summary.table();
        assert!(table.contains("0.30 of the echo, half of the rounds 0.25 to 0.35"), "{table}");
    }
}
