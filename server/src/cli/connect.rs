//! From a command's words to a client of the nodes that it names.

use super::args::one;
use super::{CliError, ENDPOINTS_VARIABLE};
use clap::{Arg, ArgAction, ArgMatches, Command};
use meridian_client::{Client, Endpoint};
use std::ffi::OsString;
use std::time::Duration;

/// Where a node is asked when nobody says where.
const ENDPOINT_DEFAULT: &str = "http://127.0.0.1:7480";
/// How often all nodes are asked: a person is told within a second that no node runs there.
const ROUNDS_MAX: u32 = 3;
/// The longest time that can be said, in seconds: a day.
const TIMEOUT_SECONDS_MAX: f64 = 86_400.0;

/// The command with what every client command has: where to ask, how long, and how to show the answer.
pub(super) fn with_arguments(command: Command) -> Command {
    let endpoint =
        Arg::new("endpoint").long("endpoint").value_name("URL").value_parser(str::parse::<Endpoint>);
    let endpoint_help = "A node to ask, again for each; the next is asked when one cannot be reached [MERIDIAN_ENDPOINTS, with \
         commas] [default: http://127.0.0.1:7480]";
    let timeout = Arg::new("timeout").long("timeout").value_name("SECONDS").value_parser(seconds);
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
    let arguments = [
        endpoint.action(ArgAction::Append).help(endpoint_help),
        timeout.default_value("10").help("How long a request may take, with everything that is sent again"),
        json.help("Shows JSON, also on a terminal"),
    ];
    // Behind the command's own.
    command.args(arguments.map(|argument| argument.display_order(100)))
}

/// A client of the nodes that are named by `--endpoint`, else by the variable's value, else of the default one.
///
/// # Errors
/// What the variable names is no endpoint.
pub(super) fn client(matches: &ArgMatches, variable: Option<&OsString>) -> Result<Client, CliError> {
    let endpoints: Vec<String> = match matches.get_many::<Endpoint>("endpoint") {
        Some(said) => said.map(Endpoint::to_string).collect(),
        None => endpoints(variable)?,
    };
    let settings = Client::builder().rounds_max(ROUNDS_MAX);
    let settings = settings.user_agent(concat!("meridian/", env!("CARGO_PKG_VERSION")));
    let settings = match one::<Duration>(matches, "timeout") {
        Some(timeout) => settings.timeout(timeout),
        None => settings,
    };
    Ok(settings.connect(endpoints)?)
}

fn endpoints(variable: Option<&OsString>) -> Result<Vec<String>, CliError> {
    let usage = |error: &str| CliError::Usage(format!("{ENDPOINTS_VARIABLE}: {error}"));
    let said = variable.map(|said| said.to_str().ok_or_else(|| usage("it is not UTF-8"))).transpose()?;
    let said = said.filter(|said| !said.is_empty()).unwrap_or(ENDPOINT_DEFAULT).split(',');
    let parsed = said.map(|text| text.trim().parse::<Endpoint>().map_err(|error| usage(&error)));
    parsed.map(|endpoint| endpoint.map(|endpoint| endpoint.to_string())).collect()
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.001..=TIMEOUT_SECONDS_MAX).contains(seconds));
    let seconds = seconds.ok_or("it is a number of seconds, like 10 or 0.5, and at most a day")?;
    Ok(Duration::from_secs_f64(seconds))
}
