//! What a node is told before it starts, and where each part of that comes from.
//!
//! - One table (`options`) is the command line, the `MERIDIAN_*` variables and the file.
//! - The command line beats a variable, a variable beats the file, the file beats the default.
//! - The file is TOML, with the table's names: `data-dir = "data"`, or `data_dir`.
//! - Nothing is ignored quietly: an unknown field is refused, and so is a value that is not accepted. The refusal says which
//!   option it is, who said it, and what is accepted. Of an unknown variable a warning tells.
//! - A relative path is relative to where the process was started, whoever said it.

mod options;
mod parse;
mod sources;

pub use options::LABEL;
pub use parse::{VALUE_BYTES_LIMIT, label};
pub use sources::of_environment;

use clap::{Arg, ArgMatches, Command};
use meridian_core::name::ShardCount;
use options::{OPTIONS, Row};
use sources::{file_path, from_command_line, from_variables, read_file, unknown, variables};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The option, beside those of the table, that names the file.
const CONFIG: &str = "config";

/// What a node is told before it starts. Every value was checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where this node keeps its data.
    pub data_dir: PathBuf,
    /// What this node is called in its cluster.
    pub name: String,
    /// The place that this node is in.
    pub region: String,
    /// The part of the region that fails together.
    pub zone: Option<String>,
    /// Where HTTP is served: loopback, unless `allow_unauthenticated_http`.
    pub http: SocketAddr,
    /// Where peers are listened for: loopback, unless `tls_dir` is set.
    pub peer: SocketAddr,
    /// Where peers reach this node, if not at `peer`.
    pub advertise: Option<String>,
    /// Nodes of the cluster to meet: host and port.
    pub join: Vec<String>,
    /// The node's bundle; without it, the development authority's.
    pub tls_dir: Option<PathBuf>,
    /// Whether links may be cut.
    pub faults: bool,
    /// Whether HTTP may be served beyond this machine.
    pub allow_unauthenticated_http: bool,
    /// Origins of web pages that may use this node, as browsers write them.
    pub http_cors_origins: Vec<String>,
    /// Most HTTP connections at a time.
    pub http_connections_max: usize,
    /// Most bytes of memory for the bodies of HTTP requests at a time.
    pub http_bytes_in_flight_max: usize,
    /// How long a request's headers may take.
    pub http_header_timeout: Duration,
    /// How long a connection may be idle between requests. Then it is closed.
    pub http_idle_timeout: Duration,
    /// How long a request's body may take.
    pub http_body_timeout: Duration,
    /// Longest value that a PUT may store, in bytes: at most [`VALUE_BYTES_LIMIT`].
    pub value_bytes_max: usize,
    /// Free bytes on the disk below which writes are refused, and what peers send waits.
    pub disk_reserve_bytes: u64,
    /// Bytes of memory for what was read from the disk.
    pub cache_bytes: usize,
    /// Bytes of deltas that the log keeps although every member has them.
    pub log_keep_bytes: u64,
    /// Most bytes of the log.
    pub log_bytes_max: u64,
    /// How many bytes repairs fetch in a second, on average.
    pub repair_bytes_per_second: u64,
    /// How long it takes until all data was read and checked once.
    pub deep_check: Duration,
    /// How long a node whose database is damaged looks for a peer to be refilled by.
    pub refill_timeout: Duration,
    /// Shards of the cluster, set when it is made and never changed.
    pub shards: ShardCount,
    /// What is logged: directives of `tracing_subscriber::EnvFilter`.
    pub log: String,
}

/// Who said what an option is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody.
    Default,
    /// The command line.
    CommandLine,
    /// The variable of this name.
    Variable(String),
    /// The file at this path.
    File(PathBuf),
}

/// Why a configuration was refused. The message says what would be accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The value is not one that its option takes.
    #[error("{option} is {value} ({from}): it must be {accepts}")]
    Refused {
        /// The option, as the command line writes it.
        option: String,
        /// What was said.
        value: String,
        /// Who said it.
        from: Source,
        /// What is accepted.
        accepts: String,
    },
    /// There is no default for where the data is.
    #[error("the data directory is not set: give --data-dir DIR, MERIDIAN_DATA_DIR, or data-dir in the file")]
    NoDataDir,
    /// A value of the longest length could never be taken.
    #[error(
        "http-bytes-in-flight-max is {in_flight} and value-bytes-max is {value}: a longest value would never fit. Raise the one, or lower the other"
    )]
    NoRoomForAValue {
        /// Bytes of bodies that may be held at once.
        in_flight: usize,
        /// Bytes of the longest value.
        value: usize,
    },
    /// An option stands in the file twice, with hyphens and with underscores.
    #[error("{}: the field {field} is given twice, with hyphens and with underscores", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
    },
    /// A field of the file is no option.
    #[error("{}: the field {field} is no option of a node{hint}: see `meridian start --help`", path.display())]
    UnknownField {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What may have been meant.
        hint: String,
    },
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not TOML.
    #[error("{}: {error}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where, and what was expected.
        error: Box<toml::de::Error>,
    },
}

/// What holds and why: a configuration that was checked, but may lack the data directory.
#[derive(Debug)]
pub struct Settings {
    given: Vec<Given>,
    config: Config,
    warnings: Vec<String>,
}

/// What an option is and who said it. No text is *not set*, or an empty list.
#[derive(Debug)]
struct Given {
    row: &'static Row,
    texts: Vec<String>,
    from: Source,
}

/// `meridian start` with all its options.
pub fn start_command() -> Command {
    Command::new("start").about("Runs a node until it is told to stop").args(arguments()).after_help(
        "Each option may also be given as the variable in brackets, or in a TOML file under its name: \
         http = \"127.0.0.1:7480\", http-cors-origins = [\"http://localhost:3000\"].\n\
         The command line beats a variable, a variable beats the file.\n\n\
         Examples:\n  \
         meridian start --data-dir ./data\n  \
         meridian start --data-dir ./data2 --name n2 --http 127.0.0.1:7482 --peer 127.0.0.1:7483 --join 127.0.0.1:7481\n  \
         meridian start --config meridian.toml --log debug",
    )
}

/// `meridian config`: the same options.
pub fn config_command() -> Command {
    Command::new("config")
        .about("Shows what each option of a node would be, and why")
        .args(arguments())
        .after_help(
            "Examples:\n  \
         meridian config\n  \
         meridian config --config meridian.toml\n  \
         MERIDIAN_HTTP=127.0.0.1:9000 meridian config --name n2",
        )
}

/// What holds, by the command line, the variables (all of the environment), the file and the defaults.
///
/// # Errors
/// The first thing that is not accepted. A data directory that is not set is none yet: see [`Settings::config`].
pub fn resolve(
    matches: &ArgMatches,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Settings, ConfigError> {
    let variables = variables(environment)?;
    let file = match file_path(matches, &variables) {
        Some(path) => read_file(path)?,
        None => Vec::new(),
    };
    let find = |given: &[Given], row: &Row| given.iter().rposition(|given| given.row.name == row.name);
    let mut said: Vec<Given> = file.into_iter().chain(from_variables(&variables)).collect();
    said.extend(from_command_line(matches));
    let given: Vec<Given> = OPTIONS
        .iter()
        .map(|row| match find(&said, row) {
            Some(place) => said.remove(place),
            None => Given::default_of(row),
        })
        .collect();
    let config = config_of(&given)?;
    Ok(Settings { given, config, warnings: unknown(&variables) })
}

impl Settings {
    /// What is to be told before it is used.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The configuration of a node that is to start.
    ///
    /// # Errors
    /// [`ConfigError::NoDataDir`] when nobody said where the data is; [`ConfigError::NoRoomForAValue`].
    pub fn config(self) -> Result<Config, ConfigError> {
        let (in_flight, value) = (self.config.http_bytes_in_flight_max, self.config.value_bytes_max);
        if in_flight < value {
            return Err(ConfigError::NoRoomForAValue { in_flight, value });
        }
        match self.config.data_dir.as_os_str().is_empty() {
            true => Err(ConfigError::NoDataDir),
            false => Ok(self.config),
        }
    }
}

/// A table: option, value, why.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.given.iter().map(|given| given.row.name.len()).max().unwrap_or_default();
        let values = self.given.iter().map(|given| given.shown().chars().count()).max().unwrap_or_default();
        for given in &self.given {
            let (name, value) = (given.row.name, given.shown());
            writeln!(f, "{name:names$}  {value:values$}  {}", given.from)?;
        }
        Ok(())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::CommandLine => f.write_str("command line"),
            Source::Variable(name) => f.write_str(name),
            Source::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Given {
    fn default_of(row: &'static Row) -> Self {
        let texts = row.default.map(String::from);
        Given { row, texts: texts.into_iter().collect(), from: Source::Default }
    }

    fn shown(&self) -> String {
        match self.texts.is_empty() {
            true => "not set".into(),
            false => self.texts.join(","),
        }
    }

    fn refuse(&self, value: impl fmt::Display, accepts: impl Into<String>) -> ConfigError {
        refuse(self.row, value, &self.from, accepts)
    }

    fn parse<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, ConfigError> {
        let parsed = self
            .texts
            .iter()
            .map(|text| parse(text).ok_or_else(|| self.refuse(format_args!("{text:?}"), self.row.accepts)));
        parsed.collect()
    }
}

fn arguments() -> impl Iterator<Item = Arg> {
    let help = "A TOML file with any of these options under their names [MERIDIAN_CONFIG]";
    let config = Arg::new(CONFIG).long(CONFIG).value_name("FILE").help(help);
    OPTIONS.iter().map(Row::argument).chain([config])
}

fn refuse(row: &Row, value: impl fmt::Display, from: &Source, accepts: impl Into<String>) -> ConfigError {
    let (option, value) = (format!("--{}", row.flag), value.to_string());
    ConfigError::Refused { option, value, from: from.clone(), accepts: accepts.into() }
}

// -- from what was said to what holds --------------------------------------------------------------------------------

fn config_of(given: &[Given]) -> Result<Config, ConfigError> {
    let config = Config {
        data_dir: maybe(given, "data-dir", parse::directory)?.unwrap_or_default(),
        name: one(given, "name", label)?,
        region: one(given, "region", label)?,
        zone: maybe(given, "zone", label)?,
        http: one(given, "http", parse::address)?,
        peer: one(given, "peer", parse::address)?,
        advertise: maybe(given, "advertise", parse::place)?,
        join: option(given, "join").parse(parse::place)?,
        tls_dir: maybe(given, "tls-dir", parse::directory)?,
        faults: one(given, "faults", parse::switch)?,
        allow_unauthenticated_http: one(given, "allow-unauthenticated-http", parse::switch)?,
        http_cors_origins: option(given, "http-cors-origins").parse(parse::origin)?,
        http_connections_max: one(given, "http-connections-max", parse::connections)?,
        http_bytes_in_flight_max: one(given, "http-bytes-in-flight-max", parse::some_memory)?,
        http_header_timeout: one(given, "http-header-timeout-ms", parse::milliseconds)?,
        http_idle_timeout: one(given, "http-idle-timeout-ms", parse::milliseconds)?,
        http_body_timeout: one(given, "http-body-timeout-ms", parse::milliseconds)?,
        value_bytes_max: one(given, "value-bytes-max", parse::value_bytes)?,
        disk_reserve_bytes: one(given, "disk-reserve-bytes", parse::bytes)?,
        cache_bytes: one(given, "cache-bytes", parse::memory)?,
        log_keep_bytes: one(given, "log-keep-bytes", parse::bytes)?,
        log_bytes_max: one(given, "log-bytes-max", parse::bytes)?,
        repair_bytes_per_second: one(given, "repair-bytes-per-second", parse::some_bytes)?,
        deep_check: one(given, "deep-check-hours", parse::hours)?,
        refill_timeout: one(given, "refill-timeout-ms", parse::milliseconds)?,
        shards: one(given, "shards", parse::shards)?,
        log: one(given, "log", parse::filter)?,
    };
    check_addresses(&config, given)?;
    Ok(config)
}

/// What is reached from other machines needs more than what is not.
fn check_addresses(config: &Config, given: &[Given]) -> Result<(), ConfigError> {
    let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    let (http, peer) = (is_loopback(config.http), is_loopback(config.peer));
    if !http && !config.allow_unauthenticated_http {
        return Err(option(given, "http").refuse(
            config.http,
            "a loopback address, like 127.0.0.1:7480, unless --allow-unauthenticated-http is given: there is no \
             access control yet, so whoever reaches another address may read and write everything",
        ));
    }
    if !peer && config.tls_dir.is_none() {
        return Err(option(given, "peer").refuse(
            config.peer,
            "a loopback address, like 127.0.0.1:7481, unless --tls-dir is given: the development authority is for \
             one machine. `meridian tls init` and `meridian tls issue` make one for several",
        ));
    }
    if config.peer.ip().is_unspecified() && config.advertise.is_none() {
        let why = "one address, or --advertise must say where peers reach this node";
        return Err(option(given, "peer").refuse(config.peer, why));
    }
    if config.faults && !(http && peer) {
        return Err(option(given, "faults").refuse(true, "false where --http or --peer is not loopback"));
    }
    Ok(())
}

fn one<T>(given: &[Given], name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, ConfigError> {
    Ok(maybe(given, name, parse)?.expect("the table has a default for it"))
}

fn maybe<T>(
    given: &[Given],
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ConfigError> {
    Ok(option(given, name).parse(parse)?.pop())
}

fn option<'a>(given: &'a [Given], name: &str) -> &'a Given {
    given.iter().find(|given| given.row.name == name).expect("it is in the table")
}

#[cfg(test)]
mod tests;
