//! One node beside the ceilings of its machine, in one run.
//!
//! ```text
//!   round 1: echo GET, node GET, echo PUT, node PUT, increment, add, disk    round 2: the same ...
//! ```
//!
//! Machines are noisy, so only ratios within a round count, and of these the median of all rounds. The node and the echo are
//! processes of the same binary, with the same load from the same threads, one after the other.

mod processes;
mod summary;

use crate::load;
use crate::machine::Machine;
use crate::options::{CeilingOptions, RunOptions};
use crate::plan::{Plan, Workload};
use crate::report::Row;
use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use processes::{Disk, Processes};
use serde::Serialize;
use std::fs;
use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};
use summary::Summary;

/// Grows when a field changes its meaning or goes.
const SCHEMA: u32 = 1;

/// All that came of it, as its JSON has it.
#[derive(Serialize)]
struct Comparison {
    schema: u32,
    label: Option<String>,
    started_unix_ms: u64,
    machine: Machine,
    /// What the binary says of itself.
    version: String,
    options: CeilingOptions,
    summary: Summary,
    rounds: Vec<Round>,
}

/// One round's numbers.
#[derive(Serialize)]
struct Round {
    echo_get: Row,
    node_get: Row,
    echo_put: Row,
    node_put: Row,
    node_increment: Row,
    node_add: Row,
    disk: Disk,
}

/// Measures and reports.
///
/// # Errors
/// When a process does not start, or an operation fails.
pub(crate) fn run(options: CeilingOptions) -> anyhow::Result<()> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let processes = Processes::start(&options)?;
    let node = options.run(processes.node(), Workload::Get);
    load::keys(&Plan::new(&node), &node, &load::resolve(&node.endpoints)?)?;
    let style = ProgressStyle::with_template("round {pos} of {len}, {eta} left").expect("it is well formed");
    let bar = ProgressBar::new(options.rounds.into()).with_style(style);
    let mut rounds = Vec::new();
    for number in 0..options.rounds {
        rounds.push(round(&options, &processes, number)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let version = processes.version()?;
    processes.stop()?;
    let summary = Summary::of(&rounds, options.connections);
    io::stdout().write_all(summary.table().as_bytes())?;
    let Some(path) = options.json.clone() else { return Ok(()) };
    let label = options.label.clone();
    let comparison = Comparison {
        schema: SCHEMA,
        label,
        started_unix_ms: started,
        machine: Machine::here(),
        version,
        options,
        summary,
        rounds,
    };
    let text = serde_json::to_string_pretty(&comparison)? + "\n";
    fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
}

fn round(options: &CeilingOptions, processes: &Processes, number: u32) -> anyhow::Result<Round> {
    let measure = |endpoint: &str, workload| row(&options.run(endpoint, workload));
    let (echo, node) = (processes.echo(), processes.node());
    Ok(Round {
        echo_get: measure(echo, Workload::Get)?,
        node_get: measure(node, Workload::Get)?,
        echo_put: measure(echo, Workload::Put)?,
        node_put: measure(node, Workload::Put)?,
        node_increment: measure(node, Workload::Increment)?,
        node_add: measure(node, Workload::Add)?,
        disk: processes.disk(options, number)?,
    })
}

/// One workload on one endpoint, which must do all that it is asked.
fn row(options: &RunOptions) -> anyhow::Result<Row> {
    let measured = load::measure(&Plan::new(options), options, &load::resolve(&options.endpoints)?)?;
    let (records, seconds) = (&measured.records, measured.seconds);
    let endpoint = &options.endpoints[0];
    ensure!(records.errors() == 0, "{endpoint} failed: {:?}", records.errors_by_code());
    let (kind, record) = records.kinds().next().with_context(|| format!("{endpoint} answered nothing"))?;
    Ok(Row::new(kind, record, seconds))
}
