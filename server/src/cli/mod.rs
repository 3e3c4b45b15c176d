//! The command line: what commands there are, and the ones that are a client of a node that runs elsewhere.
//!
//! - A client command is one request: the words become a request (`verb`), the request is sent (`client`), and the
//!   answer is shown (`print`).
//! - The answer is JSON where no person reads it: when standard output is not a terminal, or with `--json`.
//! - It ends with 0 on success, 1 when the operation failed, 2 on bad usage. Errors go to standard error.

mod client;
mod cluster;
mod print;
mod tls;
mod verb;

use crate::{ceiling, config, dev};
use clap::{ArgMatches, Command};
use meridian_core::planted::PLANTED_BUGS;
use print::Style;
use std::ffi::OsString;
use std::io::{Read, Write};

/// The variable with the endpoints, separated by commas, for a command without `--endpoint`.
pub const ENDPOINTS_VARIABLE: &str = "MERIDIAN_ENDPOINTS";
/// Longest text of a server's that is shown in an error, in characters. The rest is left out.
const TEXT_CHARS_MAX: usize = 400;

/// What a client command has around it.
pub struct Surroundings<'a> {
    /// The value of [`ENDPOINTS_VARIABLE`].
    pub endpoints: Option<OsString>,
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output.
    pub output: &'a mut dyn Write,
    /// Whether a person reads standard output.
    pub is_terminal: bool,
}

/// Why a client command did not succeed, in words for a person.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The words make no request. Nothing was sent.
    #[error("{0}")]
    Usage(String),
    /// The operation failed, or it is not known whether it did.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    /// With what the process ends.
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Usage(_) => 2,
            CliError::Failed(_) => 1,
        }
    }
}

/// All commands.
pub fn command() -> Command {
    let version = match PLANTED_BUGS {
        true => concat!(env!("CARGO_PKG_VERSION"), "\nplanted bugs: yes (a test build)"),
        false => env!("CARGO_PKG_VERSION"),
    };
    Command::new("meridian")
        .about("A replicated key-value store whose replicas may all be written to")
        .version(version)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([config::start_command(), dev::command(), config::config_command()])
        .subcommands(verb::commands())
        .subcommands([cluster::command(), tls::command(), ceiling::command()])
        .after_help(
            "Examples:\n  \
             meridian start --data-dir ./data\n  \
             meridian put users/42 '{\"name\":\"Ada\"}'\n  \
             meridian get users/42",
        )
}

/// Runs the client command `name`: sends its request and shows the answer.
///
/// # Errors
/// Bad usage, a refusal by the node, or no answer.
pub fn run(name: &str, matches: &ArgMatches, around: Surroundings<'_>) -> Result<(), CliError> {
    let Surroundings { endpoints, input, output, is_terminal } = around;
    match name {
        "tls" => return tls::run(matches, output),
        "cluster" => {
            let (shown, well) = cluster::run(matches, endpoints, is_terminal)?;
            let written = output.write_all(shown.as_bytes()).and_then(|()| output.flush());
            written.map_err(|error| CliError::Failed(format!("the answer cannot be written: {error}")))?;
            return if well { Ok(()) } else { Err(CliError::Failed("the replicas do not all agree".into())) };
        }
        _ => {}
    }
    let endpoints = verb::endpoints(matches, endpoints)?;
    let call = verb::call(name, matches, input)?;
    let answer = client::send(&endpoints, &call.request)?;
    let style = match is_terminal && !call.wants_json {
        true => Style::Plain,
        false => Style::Json,
    };
    let shown = print::shown(call.shows, &call.place, &answer, style)?;
    let written = output.write_all(&shown).and_then(|()| output.flush());
    written
        .map_err(|error| CliError::Failed(format!("it was done, but its answer cannot be written: {error}")))
}

/// A text that may come from anybody, as a terminal may show it: control characters are escaped.
fn harmless(text: &str) -> String {
    let shown = text.chars().map(|letter| match letter.is_control() && !matches!(letter, '\n' | '\t') {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    });
    shown.collect()
}

#[cfg(test)]
mod tests;
