//! `meridian-sim`: runs whole clusters in simulated time, replays what went wrong, makes it smaller, and judges what clients saw.

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use meridian_tests::checker;
use meridian_tests::faults::Fault;
use meridian_tests::history::History;
use meridian_tests::seeds::{self, cores};
use meridian_tests::sim::{self, Failure, Figures, Kind, Options};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often a run says how far it is where there is no terminal.
const SAYS_EVERY: Duration = Duration::from_mins(1);

/// As in the server: a run takes a seventh less time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs whole clusters in one thread each, from one seed each, in a world of faults; then all must agree.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  meridian-sim run --seeds 0..200
  meridian-sim run --seeds 0..20 --hours 1
  meridian-sim replay --seed 42 --until 30 --trace
  meridian-sim replay --seed 42 --history seen.jsonl
  meridian-sim check seen.jsonl
  meridian-sim shrink --seed 42
  meridian-sim determinism --seeds 0..3"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs many seeds. Ends with 1 if one goes wrong.
    Run {
        /// First seed and the one after the last, as A..B.
        #[arg(long, value_parser = seeds::parse)]
        seeds: Range<u64>,
        /// Threads; all cores unless it is said.
        #[arg(long)]
        jobs: Option<usize>,
        /// Writes the history of the first run that goes wrong, or of the first of all.
        #[arg(long)]
        history: Option<PathBuf>,
        #[command(flatten)]
        told: Told,
    },
    /// Runs one seed.
    Replay {
        /// Which.
        #[arg(long)]
        seed: u64,
        /// Stops then, in simulated seconds.
        #[arg(long)]
        until: Option<f64>,
        /// Prints what happens.
        #[arg(long)]
        trace: bool,
        /// Writes what clients saw.
        #[arg(long)]
        history: Option<PathBuf>,
        #[command(flatten)]
        told: Told,
    },
    /// Judges a history that was written. Ends with 1 if it is wrong.
    Check {
        /// JSON lines.
        file: PathBuf,
    },
    /// Runs seeds twice and compares the hashes of their traces. Ends with 1 if they differ.
    Determinism {
        /// First seed and the one after the last, as A..B.
        #[arg(long, value_parser = seeds::parse)]
        seeds: Range<u64>,
        #[command(flatten)]
        told: Told,
    },
    /// Leaves out of a seed that goes wrong what it does not need for that.
    Shrink {
        /// Which.
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        told: Told,
    },
}

/// What every command is told in the same way.
#[derive(Args)]
struct Told {
    /// Simulated hours with faults.
    #[arg(long, default_value_t = Options::default().hours)]
    hours: f64,
    /// A kind of fault to leave out, again for each: loss, doubling, reordering, partition, crash, pause, slow-disk, full-disk, wipe,
    /// old-image, clone, rot, clock.
    #[arg(long)]
    without: Vec<Kind>,
    /// Most nodes.
    #[arg(long, default_value_t = Options::default().nodes_max)]
    nodes_max: usize,
    /// Plants this bug: runs should then go wrong.
    #[arg(long)]
    bug: Option<Fault>,
    /// Looks at nothing inside of nodes and compares nothing: what is wrong must show in what clients saw.
    #[arg(long)]
    only_history: bool,
}

impl Told {
    fn options(self, trace: bool) -> Options {
        let Told { hours, without, nodes_max, bug, only_history } = self;
        Options { hours, without, nodes_max: nodes_max.max(1), until_s: None, bug, only_history, trace }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    match Cli::parse().command {
        Command::Run { seeds, jobs, history, told } => {
            let (first, options) = (seeds.start, told.options(false));
            let (figures, failures) = run_all(seeds, jobs.unwrap_or_else(cores), &options);
            println!("{figures}");
            if let Some(file) = history {
                let seed = failures.first().map_or(first, |failure| failure.seed);
                write(&sim::run_told(seed, &options).1, &file)?;
            }
            match failures.first() {
                Some(first) => {
                    return Err(format!("{} runs went wrong. The first:\n{first}", failures.len()));
                }
                None => println!("0 violations"),
            }
        }
        Command::Replay { seed, until, trace, history, told } => {
            let options = Options { until_s: until, ..told.options(trace) };
            let (outcome, saw) = sim::run_told(seed, &options);
            history.map_or(Ok(()), |file| write(&saw, &file))?;
            let figures = outcome.map_err(|failure| failure.to_string())?;
            println!("{figures}\n0 violations, trace {:016x}", figures.trace);
        }
        Command::Check { file } => judge(&file)?,
        Command::Determinism { seeds, told } => {
            let options = told.options(false);
            for seed in seeds {
                let runs = [(); 2].map(|()| sim::run(seed, &options).map(|figures| figures.trace));
                match runs {
                    [Ok(one), Ok(other)] if one == other => println!("seed {seed}: {one:016x}, twice"),
                    [Ok(one), Ok(other)] => {
                        return Err(format!("seed {seed}: {one:016x}, then {other:016x}"));
                    }
                    [Err(failure), _] | [_, Err(failure)] => return Err(failure.to_string()),
                }
            }
        }
        Command::Shrink { seed, told } => {
            let mut tell = |failure: &Failure| eprintln!("smaller: {failure}\n");
            match sim::shrink(seed, &told.options(false), &mut tell) {
                Some(failure) => println!("{failure}"),
                None => return Err(format!("seed {seed} does not go wrong")),
            }
        }
    }
    Ok(())
}

fn write(history: &History, file: &Path) -> Result<(), String> {
    let wrong = |error: io::Error| format!("{}: {error}", file.display());
    let mut out = BufWriter::new(File::create(file).map_err(wrong)?);
    history.write(&mut out).and_then(|()| out.flush()).map_err(wrong)
}

fn judge(file: &Path) -> Result<(), String> {
    let lines = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let history =
        History::read(BufReader::new(lines)).map_err(|what| format!("{}: {what}", file.display()))?;
    let violations = checker::violations(&history);
    let requests = history.ops.len();
    match violations.is_empty() {
        true => println!("{requests} requests, 0 violations"),
        false => {
            let all = violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            return Err(format!("{requests} requests, {} checkers complain:\n{all}", violations.len()));
        }
    }
    Ok(())
}

/// Which seed went wrong, and the beginning of what it says.
fn in_short(failure: &Failure) -> String {
    let what = failure.what.lines().next().unwrap_or_default();
    format!("seed {}: {what:.200}", failure.seed)
}

/// Runs seeds on several threads. What goes wrong is said at once, so that a run that is broken off has not been for nothing, and comes
/// in the order of the seeds.
fn run_all(seeds: Range<u64>, jobs: usize, options: &Options) -> (Figures, Vec<Failure>) {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} runs, {eta} left").expect("a template");
    let all = seeds.end - seeds.start;
    let bar = ProgressBar::new(all).with_style(style);
    let (mut done, mut says_at) = (0, Instant::now() + SAYS_EVERY);
    let outcome = sim::run_many(seeds, jobs, options, |failure| {
        done += 1;
        bar.inc(1);
        if let Some(failure) = failure {
            bar.suspend(|| eprintln!("{}", in_short(failure)));
        }
        if bar.is_hidden() && Instant::now() >= says_at {
            eprintln!("{done}/{all} runs");
            says_at = Instant::now() + SAYS_EVERY;
        }
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    outcome
}
