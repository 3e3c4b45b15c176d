//! Runs every target in turn, on all cores, each in a process of its own, and says what came of it.
//!
//! What it leaves in its directory: `corpus/TARGET` (a later run goes on from there), `seeds/TARGET`, `log/TARGET`, and in
//! `found/TARGET` what broke a decoder.

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use meridian_server::decoders::{self, Decoder};
use meridian_tests::decoders::{Target, all, found};
use meridian_tests::seeds::{cores, run_all};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::time::{Duration, Instant};

/// Names the target of a process.
pub(crate) const NAME: &str = "FUZZ_TARGET";
/// Longest input that is made, in bytes: names, keys and the first block of a side file are shorter.
const BYTES_MAX: usize = 5 << 10;
/// What takes longer, in seconds, hangs.
const SECONDS_MAX: u64 = 20;
/// Lines of a log that are shown where a decoder breaks.
const LINES_SHOWN: usize = 60;

/// Runs the decoders under libFuzzer.
#[derive(Parser)]
struct Cli {
    /// Executions of each target.
    #[arg(long, default_value_t = 2_000_000)]
    runs: u64,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
    /// Runs the target on this input alone.
    #[arg(long, requires = "target")]
    input: Option<PathBuf>,
    /// Where corpora, logs and what is found are kept.
    #[arg(long)]
    directory: PathBuf,
}

/// What a target's run came to.
struct Ran {
    name: &'static str,
    executions: u64,
    time: Duration,
    corpus: usize,
    /// The input that broke it, and what was said then.
    broken: Option<String>,
}

/// All targets: core's and the server's.
pub(crate) fn targets() -> Vec<Target> {
    let server = decoders::all().into_iter().map(|Decoder { name, check, seeds, memory_per_byte }| Target {
        name,
        check,
        seeds,
        memory_per_byte,
    });
    all().into_iter().chain(server).collect()
}

/// Runs them, and ends the process.
pub(crate) fn main() -> ! {
    match drive(&Cli::parse()) {
        Ok(()) => exit(0),
        Err(error) => {
            eprintln!("{error:#}");
            exit(1);
        }
    }
}

fn drive(cli: &Cli) -> Result<()> {
    let mut targets = targets();
    if let Some(name) = &cli.target {
        let names: Vec<&str> = targets.iter().map(|target| target.name).collect();
        ensure!(names.contains(&&name[..]), "there is no target {name}: there are {}", names.join(", "));
        targets.retain(|target| target.name == name);
    }
    if let Some(input) = &cli.input {
        let status = itself(targets[0].name)?.arg(input).status().context("the fuzzer does not start")?;
        ensure!(status.success(), "{} breaks {}", input.display(), targets[0].name);
        return Ok(());
    }
    let (mut broken, mut heard, count) = (Vec::new(), 0, targets.len());
    println!("{count} decoders, {} executions each, {} at a time.", cli.runs, cores().min(count));
    run_all(
        0..count as u64,
        cores(),
        |place| run(&targets[place as usize], cli),
        |ran| {
            heard += 1;
            match ran {
                Ok(ran) => {
                    println!("{heard:3} of {count}  {ran}");
                    broken.extend(ran.broken);
                }
                Err(error) => broken.push(format!("{error:#}")),
            }
            ControlFlow::Continue(())
        },
    );
    match broken.is_empty() {
        true => Ok(println!("No decoder broke.")),
        false => bail!("{}", broken.join("\n\n")),
    }
}

fn run(target: &Target, cli: &Cli) -> Result<Ran> {
    let directory = |kind: &str| -> Result<PathBuf> {
        let path = cli.directory.join(kind).join(target.name);
        fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(path)
    };
    let (corpus, seeds, kept) = (directory("corpus")?, directory("seeds")?, directory("found")?);
    for (number, seed) in (target.seeds)().into_iter().chain(found(target.name)).enumerate() {
        fs::write(seeds.join(number.to_string()), seed)?;
    }
    let log = directory("log")?.join("last");
    let begun = Instant::now();
    let status = itself(target.name)?
        .arg(format!("-runs={}", cli.runs))
        .arg(format!("-max_len={BYTES_MAX}"))
        .arg(format!("-timeout={SECONDS_MAX}"))
        .arg(format!("-artifact_prefix={}/", kept.display()))
        .args(["-print_final_stats=1", "-verbosity=1"])
        .args([&corpus, &seeds])
        .stdout(fs::File::create(log.with_extension("out"))?)
        .stderr(fs::File::create(&log)?)
        .status()
        .context("the fuzzer does not start")?;
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let executions = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let executions = executions.and_then(|number| number.trim().parse().ok()).unwrap_or(0);
    let is_whole = status.success() && executions >= cli.runs;
    Ok(Ran {
        name: target.name,
        executions,
        time: begun.elapsed(),
        corpus: fs::read_dir(&corpus)?.count(),
        broken: (!is_whole).then(|| words(target.name, &said, &log)),
    })
}

/// This binary, to run one target.
fn itself(name: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this binary is not there")?);
    command.env(NAME, name).env("RUST_BACKTRACE", "0");
    Ok(command)
}

/// What was said where a decoder broke, and how it is run again.
fn words(name: &str, said: &str, log: &Path) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let begin =
        lines.iter().position(|line| line.contains("panicked at") || line.contains("ERROR: libFuzzer"));
    let end: Vec<&str> = lines.iter().skip(begin.unwrap_or(0)).take(LINES_SHOWN).copied().collect();
    let input = said.lines().find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path));
    let again = match input {
        Some(input) => format!("Again: make fuzz TARGET={name} INPUT={input}"),
        None => "No input was written down.".into(),
    };
    format!("{name} broke. All of it: {}\n{}\n{again}", log.display(), end.join("\n"))
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ran { name, executions, time, corpus, broken } = self;
        let seconds = time.as_secs();
        let end = if broken.is_some() { ", BROKE" } else { "" };
        write!(f, "{name:18} {executions:9} executions {seconds:5} s, {corpus:5} inputs in its corpus{end}")
    }
}
