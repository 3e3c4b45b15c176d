//! The command line.

use crate::distribution::Shape;
use crate::plan::Workload;
use clap::{Args, Parser, Subcommand};
use serde::{Serialize, Serializer};
use std::path::PathBuf;
use std::time::Duration;

/// Longest value that a node may be told to take.
const VALUE_BYTES_MAX: usize = 8 << 20;
/// Longest member of a set.
const MEMBER_BYTES_MAX: usize = 4096;
/// Shortest member: a number that is new each time must fit.
const MEMBER_BYTES_MIN: usize = 16;
/// The clock of an open loop would be all that is measured beyond.
const RATE_MAX: f64 = 10_000_000.0;

/// Loads Meridian nodes over HTTP and measures how they take it.
#[derive(Parser)]
#[command(name = "meridian-bench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Drives endpoints with one workload, and shows rates and latencies.
    #[command(after_help = "\
Workloads:
  get, put, increment, add  one operation; increments and adds have counters and sets of their own
  a  50 % get, 50 % put     b  95 % get, 5 % put     c  get
  d  95 % get of what was inserted last, 5 % insert
  f  50 % get, 50 % read-modify-write: a get, and a put with the context that it gave

Examples:
  meridian-bench run --workload put
  meridian-bench run --workload a --rate 5000/s --duration 30s --json a.json
  meridian-bench run --workload get --no-load --endpoint http://127.0.0.1:7480 --endpoint http://127.0.0.1:7481

It ends with 1 if a request failed (unless --allow-errors), with 2 on bad usage.")]
    Run(Box<RunOptions>),
    /// Sets one node beside the ceilings of this machine: a bare HTTP echo, and a bare writer on the disk.
    #[command(after_help = "\
It starts the processes itself, on free ports and in a directory that it removes, and measures all of them in turns: only the
ratios within a round count.

Examples:
  meridian-bench ceilings --bin target/release/meridian
  meridian-bench ceilings --bin target/release/meridian --rounds 5 --duration 2s --json figures.json")]
    Ceilings(Box<CeilingOptions>),
}

/// The options of a comparison with the ceilings.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct CeilingOptions {
    /// The node's binary.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) bin: PathBuf,
    /// Where the node and the disk's ceiling write, on the disk to be measured; the system's temporary directory unless
    /// it is given.
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Rounds: many short ones tell more than a few long ones, for a shared machine changes its speed within seconds.
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// How long each is measured in a round, as 10s, 500ms or 2m.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    #[serde(serialize_with = "seconds", rename = "duration_seconds")]
    pub(crate) duration: Duration,
    /// Connections, each with one request in flight at a time.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) connections: usize,
    /// Keys.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) keys: u64,
    /// Bytes of a value.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) value_bytes: usize,
    /// What keys and values are drawn from.
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
    /// Write all numbers to this file too.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
    /// What this comparison is called in its JSON: the commit, say.
    #[arg(long, value_name = "TEXT")]
    #[serde(skip)]
    pub(crate) label: Option<String>,
}

impl CeilingOptions {
    /// One of its runs.
    pub(crate) fn run(&self, endpoint: &str, workload: Workload) -> RunOptions {
        RunOptions {
            endpoints: vec![endpoint.into()],
            connections: self.connections,
            duration: self.duration,
            warmup: self.duration / 4,
            rate: None,
            workload,
            keys: self.keys,
            value_bytes: self.value_bytes,
            distribution: None,
            bucket: "bench".into(),
            seed: self.seed,
            no_load: true,
            threads: 1,
            allow_errors: false,
            json: None,
            label: None,
        }
    }

    /// What one option alone cannot tell: as for each of its runs.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.run("", Workload::Add).check()
    }
}

/// The options of a run, as they stand in its JSON.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct RunOptions {
    /// A node's address; given again and again, connections are spread over them.
    #[arg(long = "endpoint", value_name = "URL", default_value = "http://127.0.0.1:7480")]
    pub(crate) endpoints: Vec<String>,
    /// Connections, each with one request in flight at a time.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) connections: usize,
    /// How long it is measured, as 10s, 500ms or 2m.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    #[serde(serialize_with = "seconds", rename = "duration_seconds")]
    pub(crate) duration: Duration,
    /// How long it runs before it is measured.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    #[serde(serialize_with = "seconds", rename = "warmup_seconds")]
    pub(crate) warmup: Duration,
    /// Open loop: requests begin at this rate, as 5000/s, whatever the answers do, and latency counts from when one
    /// was to begin. Without it each connection asks again when it has its answer.
    #[arg(long, value_name = "N/s", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// What is asked: get, put, increment, add, or a, b, c, d, f of YCSB.
    #[arg(long, value_name = "NAME", default_value = "get", value_parser = Workload::parse)]
    pub(crate) workload: Workload,
    /// Keys.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) keys: u64,
    /// Bytes of a value, or of a set's member.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) value_bytes: usize,
    /// Which keys are asked for how often; unless it is given, zipfian for a, b, c and f, uniform else. Workload d has
    /// its own.
    #[arg(long, value_enum, value_name = "SHAPE")]
    pub(crate) distribution: Option<Shape>,
    /// The bucket of all keys.
    #[arg(long, value_name = "NAME", default_value = "bench")]
    pub(crate) bucket: String,
    /// What keys, operations and values are drawn from.
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
    /// The keys are there: do not write them first.
    #[arg(long)]
    pub(crate) no_load: bool,
    /// Threads that drive connections.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) threads: usize,
    /// End well although requests failed.
    #[arg(long)]
    pub(crate) allow_errors: bool,
    /// Write all numbers to this file too.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
    /// What this run is called in its JSON.
    #[arg(long, value_name = "TEXT")]
    #[serde(skip)]
    pub(crate) label: Option<String>,
}

impl RunOptions {
    /// What one option alone cannot tell.
    pub(crate) fn check(&self) -> Result<(), String> {
        let add = matches!(self.workload, Workload::Add);
        let plain = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
        let rules = [
            (self.connections > 0, "--connections must be at least 1"),
            ((1..=self.connections).contains(&self.threads), "--threads must be from 1 to --connections"),
            (
                self.connections >= self.endpoints.len(),
                "--connections must be one for each --endpoint at least",
            ),
            (!self.duration.is_zero(), "--duration must be more than nothing"),
            ((1..=1_000_000_000).contains(&self.keys), "--keys must be from 1 to 1000000000"),
            (self.value_bytes <= VALUE_BYTES_MAX, "--value-bytes must be at most 8388608"),
            (
                !add || (MEMBER_BYTES_MIN..=MEMBER_BYTES_MAX).contains(&self.value_bytes),
                "--value-bytes must be from 16 to 4096 with --workload add: it is the length of a set's member",
            ),
            (
                !self.bucket.is_empty() && self.bucket.chars().all(plain),
                "--bucket must be of a-z 0-9 . _ - and have at least one",
            ),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err((*why).into()))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0)];
    let number = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    number
        .and_then(|(number, seconds)| Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok())
        .filter(|duration| *duration <= Duration::from_secs(86_400))
        .ok_or_else(|| "a time is written like 10s, 500ms or 2m, and is a day at most".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse::<f64>();
    number
        .ok()
        .filter(|rate| *rate >= 0.1 && *rate <= RATE_MAX)
        .ok_or_else(|| "a rate is written like 5000/s, from 0.1/s to 10000000/s".into())
}

fn seconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<RunOptions, clap::Error> {
        let cli = Cli::try_parse_from(["meridian-bench", "run"].iter().chain(words))?;
        let Command::Run(options) = cli.command else { panic!("run is what was asked") };
        Ok(*options)
    }

    #[test]
    fn times_and_rates_are_read_with_their_units() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        for bad in ["10", "s", "-1s", "NaNs", "infs", "9999m", "1h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!((rate("5000/s"), rate("0.5")), (Ok(5000.0), Ok(0.5)));
        for bad in ["0", "-1/s", "x/s", "inf", "NaN", "5/m"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn workload_e_is_refused_with_words() {
        let refused = parsed(&["--workload", "e"]).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.to_string().contains("listing"), "{refused}");
        assert!(parsed(&["--workload", "g"]).unwrap_err().to_string().contains("increment"));
    }

    #[test]
    fn options_that_do_not_fit_together_are_refused() {
        assert_eq!(parsed(&[]).unwrap().check(), Ok(()));
        assert_eq!(parsed(&["--workload", "add", "--value-bytes", "16"]).unwrap().check(), Ok(()));
        let bad: [&[&str]; 8] = [
            &["--connections", "0"],
            &["--threads", "65"],
            &["--threads", "0"],
            &["--connections", "1", "--endpoint", "http://a:1", "--endpoint", "http://b:1"],
            &["--duration", "0s"],
            &["--keys", "0"],
            &["--workload", "add", "--value-bytes", "5000"],
            &["--bucket", "A/b"],
        ];
        for words in bad {
            assert!(parsed(words).unwrap().check().is_err(), "{words:?}");
        }
    }
}
