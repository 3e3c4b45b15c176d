//! The command line: what commands there are, and the ones that are a client of a node that runs elsewhere.
//!
//! - A client command stands on the client library: its words become calls of it (`connect`, `key`, `list`, `bucket`, `cluster`).
//! - What is shown is JSON where no person reads it: when standard output is not a terminal, or with `--json`.
//! - It ends with 0 on success, 1 when the operation failed, 2 on bad usage. Errors go to standard error.

mod args;
mod bucket;
mod cluster;
mod completions;
mod connect;
mod key;
mod list;
mod table;
mod terminal;
mod tls;

pub use terminal::Terminal;

use crate::{ceiling, config, dev};
use clap::{ArgMatches, Command};
use meridian_client::Kind;
use meridian_core::planted::PLANTED_BUGS;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use terminal::{Style, harmless};

/// The variable with the endpoints, separated by commas, for a command without `--endpoint`.
pub const ENDPOINTS_VARIABLE: &str = "MERIDIAN_ENDPOINTS";

/// What a client command has around it.
pub struct Surroundings<'a> {
    /// The value of [`ENDPOINTS_VARIABLE`].
    pub endpoints: Option<OsString>,
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output.
    pub output: &'a mut dyn Write,
    /// Where a person reads standard output, if one does.
    pub terminal: Option<Terminal>,
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

    /// An answer that is not what was asked for.
    fn strange() -> CliError {
        CliError::Failed("the answer is not one of a Meridian node: is this the right endpoint?".into())
    }
}

impl From<meridian_client::Error> for CliError {
    fn from(error: meridian_client::Error) -> CliError {
        // Some of the words are the server's.
        let words = harmless(&error.to_string());
        match error.kind() {
            Kind::Invalid(_) => CliError::Usage(words),
            _ => CliError::Failed(words),
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
        .subcommands(key::commands())
        .subcommands([list::command(), bucket::command(), cluster::command()])
        .subcommands([tls::command(), completions::command(), ceiling::command()])
        .after_help(
            "Examples:\n  \
             meridian start --data-dir ./data\n  \
             meridian put users/42 '{\"name\":\"Ada\"}'\n  \
             meridian get users/42\n  \
             meridian ls users",
        )
}

/// Runs the client command `name`: does what it says and shows what came of it.
///
/// # Errors
/// Bad usage, a refusal by the node, or no answer.
pub fn run(name: &str, matches: &ArgMatches, around: Surroundings<'_>) -> Result<(), CliError> {
    match name {
        "tls" => tls::run(matches, around.output),
        "completions" => completions::run(matches, around),
        _ => ask(name, matches, around),
    }
}

fn ask(name: &str, matches: &ArgMatches, around: Surroundings<'_>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::Failed(format!("nothing can be sent: {error}")))?;
    let ended = runtime.block_on(async {
        match name {
            "ls" => list::run(matches, around).await,
            "bucket" => bucket::run(matches, around).await,
            "cluster" => cluster::run(matches, around).await,
            _ => key::run(name, matches, around).await,
        }
    });
    // A host's name that is still being looked up is not waited for.
    runtime.shutdown_background();
    ended
}

impl Surroundings<'_> {
    /// For whom a command shows what came of it.
    fn style(&self, matches: &ArgMatches) -> Style {
        match self.terminal {
            Some(terminal) if !args::flag(matches, "json") => Style::Plain(terminal),
            _ => Style::Json,
        }
    }

    /// Writes what is shown. `false`: nobody reads on, as in `meridian ls users | head`, and that is no failure.
    fn write(&mut self, shown: impl AsRef<[u8]>) -> Result<bool, CliError> {
        match self.output.write_all(shown.as_ref()).and_then(|()| self.output.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => {
                Err(CliError::Failed(format!("it was done, but its answer cannot be written: {error}")))
            }
        }
    }
}

#[cfg(test)]
mod tests;
