//! The binary: one command, and how the process ends.

use clap::ArgMatches;
use meridian_server::cli::{self, Surroundings, Terminal};
use meridian_server::config::{self, ConfigError, Settings};
use meridian_server::{ceiling, dev, run};
use std::env;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What was asked for failed.
const FAILED: u8 = 1;
/// What was asked for makes no sense: nothing was begun.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let matches = cli::command().get_matches();
    let (name, matches) = matches.subcommand().expect("clap requires one");
    match name {
        "start" => start(matches),
        "dev" => ended(dev::run(matches)),
        "ceiling" => ended(ceiling::run(matches)),
        "config" => show_config(matches),
        _ => ask_a_node(name, matches),
    }
}

fn start(matches: &ArgMatches) -> ExitCode {
    match settings(matches).and_then(Settings::config) {
        Ok(config) => ended(run::run(config)),
        Err(error) => end(BAD_USAGE, error),
    }
}

fn show_config(matches: &ArgMatches) -> ExitCode {
    match settings(matches) {
        Ok(settings) => match write!(io::stdout(), "{settings}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => end(FAILED, error),
        },
        Err(error) => end(BAD_USAGE, error),
    }
}

fn settings(matches: &ArgMatches) -> Result<Settings, ConfigError> {
    let settings = config::resolve(matches, env::vars_os())?;
    for warning in settings.warnings() {
        eprintln!("meridian: warning: {warning}");
    }
    Ok(settings)
}

fn ask_a_node(name: &str, matches: &ArgMatches) -> ExitCode {
    let around = Surroundings {
        endpoints: env::var_os(cli::ENDPOINTS_VARIABLE),
        input: &mut io::stdin().lock(),
        output: &mut io::stdout().lock(),
        terminal: Terminal::of_standard_output(),
    };
    match cli::run(name, matches, around) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(error.exit_code(), error),
    }
}

fn ended(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(FAILED, format_args!("{error:#}")),
    }
}

fn end(code: u8, error: impl fmt::Display) -> ExitCode {
    eprintln!("meridian: {error}");
    ExitCode::from(code)
}
