//! `meridian-model`: runs the model fuzzer for as long as you like, and replays what it found.

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use meridian_tests::faults::{FAULTS, Fault};
use meridian_tests::schedule::{self, Failure, Tally};
use meridian_tests::seeds;
use std::ops::Range;
use std::process::ExitCode;

/// Drives real nodes and the reference model with the same random schedules, and compares them at every step.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  meridian-model run --seeds 0..20000
  meridian-model run --seeds 0..2000 --bug no-causal-gate
  meridian-model replay --seed 42 --trace
  meridian-model mutants --seeds 3000"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the schedules of many seeds. Ends with 1 if one fails.
    Run {
        /// First seed and the one after the last, as A..B.
        #[arg(long, value_parser = seeds::parse)]
        seeds: Range<u64>,
        /// Threads; all cores unless it is said.
        #[arg(long)]
        jobs: Option<usize>,
        /// Plants this bug: the schedules should then fail.
        #[arg(long)]
        bug: Option<Fault>,
    },
    /// Runs the schedule of one seed.
    Replay {
        /// Which.
        #[arg(long)]
        seed: u64,
        /// Plants this bug.
        #[arg(long)]
        bug: Option<Fault>,
        /// Prints every step.
        #[arg(long)]
        trace: bool,
    },
    /// Plants each bug in turn and counts the schedules that catch it. Ends with 1 if one is caught by none.
    Mutants {
        /// How many seeds, from 0.
        #[arg(long, default_value_t = 3000)]
        seeds: u64,
    },
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
        Command::Run { seeds, jobs, bug } => {
            let (tally, failures) = run_all(seeds, jobs, bug);
            println!("{tally}");
            if let Some(first) = failures.first() {
                return Err(format!("{} of them failed. The first:\n{first}", failures.len()));
            }
            println!("0 failures");
        }
        Command::Replay { seed, bug, trace } => match schedule::run(seed, bug, trace) {
            Ok(tally) => println!("{tally}\n0 failures"),
            Err(failure) => return Err(failure.to_string()),
        },
        Command::Mutants { seeds } => {
            let mut missed = Vec::new();
            for (name, fault) in FAULTS.into_iter().filter(|(_, fault)| fault.is_for_schedules()) {
                let (_, failures) = run_all(0..seeds, None, Some(fault));
                let first = failures.first().map(|failure| failure.seed);
                println!(
                    "{name:26} {:6} of {seeds} schedules fail, the first with seed {first:?}",
                    failures.len()
                );
                missed.extend(first.is_none().then_some(name));
            }
            if !missed.is_empty() {
                return Err(format!("not caught: {}", missed.join(", ")));
            }
        }
    }
    Ok(())
}

fn run_all(seeds: Range<u64>, jobs: Option<usize>, bug: Option<Fault>) -> (Tally, Vec<Failure>) {
    let style =
        ProgressStyle::with_template("{wide_bar} {pos}/{len} schedules, {eta} left").expect("a template");
    let bar = ProgressBar::new(seeds.end - seeds.start).with_style(style);
    let outcome = schedule::run_many(seeds, jobs.unwrap_or_else(seeds::cores), bug, &|| bar.inc(1));
    bar.finish_and_clear();
    outcome
}
