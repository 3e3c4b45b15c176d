//! `meridian-bench`: loads Meridian nodes over HTTP and measures how they take it.
//!
//! ```text
//!   options -> plan (what is asked, drawn from a seed) -> load (connections, threads) <- pace (when)
//!                                                            |  http: one request in flight on each connection
//!                                                            v
//!              report (table, JSON) <- record (histograms of latency, counts of errors)
//! ```
//!
//! `ceilings` starts a node and what it is compared with, and runs the same load on each in turns.
//!
//! It shares a machine with the nodes that it measures, so what it does for each request is kept cheap.

mod distribution;
mod options;
mod plan;
mod http;
mod record;
mod pace;
mod load;
mod machine;
mod report;
mod ceilings;

use clap::Parser;
use options::{Cli, Command, RunOptions};
use plan::Plan;
use report::{Endpoint, Report};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

/// A request failed, or the run did.
const FAILED: u8 = 1;
/// The options make no sense: nothing was begun.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(options) => ended(options.check().map(|()| run(*options))),
        Command::Ceilings(options) => ended(options.check().map(|()| ceilings::run(*options).map(|()| true))),
    }
}

/// How the process ends: of bad usage or of what was done, which tells whether all requests went well.
fn ended(outcome: Result<anyhow::Result<bool>, String>) -> ExitCode {
    match outcome {
        Err(why) => end(BAD_USAGE, &why),
        Ok(Err(error)) => end(FAILED, &format!("{error:#}")),
        Ok(Ok(false)) => end(FAILED, "requests failed, see above (--allow-errors accepts that)"),
        Ok(Ok(true)) => ExitCode::SUCCESS,
    }
}

fn end(code: u8, why: &str) -> ExitCode {
    eprintln!("meridian-bench: {why}");
    ExitCode::from(code)
}

/// Loads, measures, reports; whether all went well.
fn run(options: RunOptions) -> anyhow::Result<bool> {
    let started = SystemTime::now();
    let plan = Plan::new(&options);
    let nodes = load::resolve(&options.endpoints)?;
    let endpoints = nodes
        .iter()
        .map(|node| Endpoint { url: format!("http://{}", node.authority), version: load::version(node) })
        .collect();
    let loaded = match plan.reads_registers() && !options.no_load {
        true => Some(load::keys(&plan, &options, &nodes)?),
        false => None,
    };
    let measured = load::measure(&plan, &options, &nodes)?;
    let well = options.allow_errors || measured.records.errors() == 0;
    let json = options.json.clone();
    let report = Report::new(options, endpoints, started, loaded, &measured);
    if let Some(path) = json {
        report.write(&path)?;
    }
    io::stdout().write_all(report.table().as_bytes())?;
    Ok(well)
}
