//! What a node is told before it starts, and where each part of that comes from.
//!
//! - One table (`options`) is the command line, the `MERIDIAN_*` variables and the file.
//! - The command line beats a variable, a variable beats the file, the file beats the default.
//! - The file is TOML, with the table's names as they are: `data-dir = "data"`.
//! - Nothing is ignored quietly: an unknown field or variable is refused, and so is a value that is not accepted. The
//!   refusal says which option it is, who said it, and what is accepted.
//! - A relative path is relative to where the process was started, whoever said it.

mod options;
mod parse;

pub use options::LABEL;
pub use parse::{VALUE_BYTES_LIMIT, label};

use clap::{Arg, ArgMatches, Command};
use meridian_core::name::ShardCount;
use options::{Kind, OPTIONS, Row, VARIABLE_PREFIX};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The option, beside those of the table, that names the file.
const CONFIG: &str = "config";
/// Variables that begin like a node's but are for others: the file's name, the client commands, the tests.
const OTHER_VARIABLES: [&str; 3] = ["MERIDIAN_CONFIG", "MERIDIAN_ENDPOINTS", "MERIDIAN_BIN"];
/// Longest file, in bytes. A longer one is refused.
const FILE_BYTES_MAX: u64 = 1 << 20;

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
    /// Free bytes on the disk below which writes are refused.
    pub disk_reserve_bytes: u64,
    /// Bytes of memory for what was read from the disk.
    pub cache_bytes: usize,
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
    /// A variable looks like an option and is none.
    #[error("the variable {name} is no option of a node{hint}: unset it, or see `meridian start --help`")]
    UnknownVariable {
        /// The variable.
        name: String,
        /// What may have been meant.
        hint: String,
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
    Ok(Settings { given, config })
}

impl Settings {
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

// -- who says what ---------------------------------------------------------------------------------------------------

fn from_command_line(matches: &ArgMatches) -> impl Iterator<Item = Given> {
    OPTIONS.iter().filter_map(|row| {
        let texts = matches.get_many::<String>(row.name)?.cloned().collect();
        Some(Given { row, texts, from: Source::CommandLine })
    })
}

/// The variables that are Meridian's, by name and value.
fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let environment =
        environment.into_iter().map(|(name, value)| (name.to_string_lossy().into_owned(), value));
    let mine = environment.filter(|(name, _)| name.starts_with(VARIABLE_PREFIX));
    mine.map(|(name, value)| known_variable(name, value)).collect()
}

fn known_variable(name: String, value: OsString) -> Result<(String, String), ConfigError> {
    let is_flag =
        |row: &&Row| format!("{VARIABLE_PREFIX}{}", row.flag.to_uppercase().replace('-', "_")) == name;
    let row = OPTIONS.iter().find(|row| row.variable() == name);
    if row.is_none() && !OTHER_VARIABLES.contains(&name.as_str()) {
        let hint = OPTIONS.iter().find(is_flag).map(|row| format!(" ({} is)", row.variable()));
        return Err(ConfigError::UnknownVariable { name, hint: hint.unwrap_or_default() });
    }
    match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(value) => Err(ConfigError::Refused {
            option: row.map_or_else(|| format!("--{CONFIG}"), |row| format!("--{}", row.flag)),
            value: format!("{value:?}"),
            from: Source::Variable(name),
            accepts: "UTF-8".into(),
        }),
    }
}

fn from_variables(variables: &[(String, String)]) -> impl Iterator<Item = Given> {
    variables.iter().filter_map(|(name, value)| {
        let row = OPTIONS.iter().find(|row| row.variable() == *name)?;
        let texts = match row.kind {
            Kind::List if value.is_empty() => Vec::new(),
            Kind::List => value.split(',').map(|text| text.trim().to_owned()).collect(),
            _ => vec![value.clone()],
        };
        Some(Given { row, texts, from: Source::Variable(name.clone()) })
    })
}

fn file_path<'a>(matches: &'a ArgMatches, variables: &'a [(String, String)]) -> Option<&'a Path> {
    let variable = variables.iter().find(|(name, _)| name == "MERIDIAN_CONFIG").map(|(_, path)| path);
    matches.get_one::<String>(CONFIG).or(variable).map(Path::new)
}

fn read_file(path: &Path) -> Result<Vec<Given>, ConfigError> {
    let text = read_text(path).map_err(|error| ConfigError::Unreadable { path: path.into(), error })?;
    let table: toml::Table = toml::from_str(&text)
        .map_err(|error| ConfigError::NotToml { path: path.into(), error: Box::new(error) })?;
    table.into_iter().map(|(field, value)| from_field(path, field, value)).collect()
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes"))),
        false => Ok(text),
    }
}

fn from_field(path: &Path, field: String, value: toml::Value) -> Result<Given, ConfigError> {
    let Some(row) = OPTIONS.iter().find(|row| row.name == field) else {
        let meant = OPTIONS.iter().find(|row| row.name == field.replace('_', "-") || row.flag == field);
        let hint = meant.map(|row| format!(" ({} is)", row.name)).unwrap_or_default();
        return Err(ConfigError::UnknownField { path: path.into(), field, hint });
    };
    let from = Source::File(path.into());
    match texts_of(row.kind, &value) {
        Some(texts) => Ok(Given { row, texts, from }),
        None => {
            let (is, wanted) = (format!("of TOML's type {}", value.type_str()), toml_type(row.kind));
            Err(refuse(row, is, &from, format!("{wanted}: {}", row.accepts)))
        }
    }
}

/// The field's texts, unless TOML has another type there than the option's.
fn texts_of(kind: Kind, value: &toml::Value) -> Option<Vec<String>> {
    match (kind, value) {
        (Kind::Text, toml::Value::String(text)) => Some(vec![text.clone()]),
        (Kind::Number, toml::Value::Integer(number)) => Some(vec![number.to_string()]),
        (Kind::Switch, toml::Value::Boolean(on)) => Some(vec![on.to_string()]),
        (Kind::List, toml::Value::Array(texts)) => {
            texts.iter().map(|text| text.as_str().map(String::from)).collect()
        }
        _ => None,
    }
}

fn toml_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "a string",
        Kind::Number => "an integer",
        Kind::Switch => "a boolean",
        Kind::List => "an array of strings",
    }
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
