//! Who says what: options from the command line, from variables and from a file, as texts that are not parsed yet.

use super::options::{Kind, OPTIONS, Row, VARIABLE_PREFIX};
use super::{CONFIG, ConfigError, Given, Source, refuse};
use clap::ArgMatches;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Variables that begin like a node's but are for others: the file's name, the client commands, the tests.
const OTHER_VARIABLES: [&str; 3] = ["MERIDIAN_CONFIG", "MERIDIAN_ENDPOINTS", "MERIDIAN_BIN"];
/// Longest file, in bytes. A longer one is refused.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the command line says.
pub(super) fn from_command_line(matches: &ArgMatches) -> impl Iterator<Item = Given> {
    OPTIONS.iter().filter_map(|row| {
        let texts = matches.get_many::<String>(row.name)?.cloned().collect();
        Some(Given { row, texts, from: Source::CommandLine })
    })
}

/// The variables that are Meridian's, by name and value.
pub(super) fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let environment =
        environment.into_iter().map(|(name, value)| (name.to_string_lossy().into_owned(), value));
    let mine = environment.filter(|(name, _)| name.starts_with(VARIABLE_PREFIX));
    mine.map(|(name, value)| utf8_variable(name, value)).collect()
}

/// A warning for each variable that looks like an option and is none. It is no reason to stop: an orchestrator names
/// variables after a service, as `MERIDIAN_SERVICE_HOST`.
pub(super) fn unknown(variables: &[(String, String)]) -> Vec<String> {
    let is_option = |name: &str| OPTIONS.iter().any(|row| row.variable() == name);
    let names = variables.iter().map(|(name, _)| name.as_str());
    let unknown = names.filter(|name| !is_option(name) && !OTHER_VARIABLES.contains(name));
    let warning = |name: &str| {
        let is_flag =
            |row: &&Row| format!("{VARIABLE_PREFIX}{}", row.flag.to_uppercase().replace('-', "_")) == name;
        let hint = OPTIONS.iter().find(is_flag).map(|row| format!(" ({} is)", row.variable()));
        format!("the variable {name} is no option of a node{}: it changes nothing", hint.unwrap_or_default())
    };
    unknown.map(warning).collect()
}

fn utf8_variable(name: String, value: OsString) -> Result<(String, String), ConfigError> {
    let row = OPTIONS.iter().find(|row| row.variable() == name);
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

/// What variables say.
pub(super) fn from_variables(variables: &[(String, String)]) -> impl Iterator<Item = Given> {
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

/// The file, if one is named: by the command line, else by its variable.
pub(super) fn file_path<'a>(matches: &'a ArgMatches, variables: &'a [(String, String)]) -> Option<&'a Path> {
    let variable = variables.iter().find(|(name, _)| name == "MERIDIAN_CONFIG").map(|(_, path)| path);
    matches.get_one::<String>(CONFIG).or(variable).map(Path::new)
}

/// What the file says.
///
/// # Errors
/// When it cannot be read, is no TOML, or has a field that is no option or is given twice.
pub(super) fn read_file(path: &Path) -> Result<Vec<Given>, ConfigError> {
    let text = read_text(path).map_err(|error| ConfigError::Unreadable { path: path.into(), error })?;
    let table: toml::Table = toml::from_str(&text)
        .map_err(|error| ConfigError::NotToml { path: path.into(), error: Box::new(error) })?;
    let mut given: Vec<Given> = Vec::new();
    for (field, value) in table {
        let one = from_field(path, &field, value)?;
        if given.iter().any(|other| other.row.name == one.row.name) {
            return Err(ConfigError::Twice { path: path.into(), field });
        }
        given.push(one);
    }
    Ok(given)
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes"))),
        false => Ok(text),
    }
}

/// A field is an option's name, with hyphens or with underscores between its words.
fn from_field(path: &Path, field: &str, value: toml::Value) -> Result<Given, ConfigError> {
    let name = field.replace('_', "-");
    let Some(row) = OPTIONS.iter().find(|row| row.name == name) else {
        let meant = OPTIONS.iter().find(|row| row.flag == name);
        let hint = meant.map(|row| format!(" ({} is)", row.name)).unwrap_or_default();
        return Err(ConfigError::UnknownField { path: path.into(), field: field.into(), hint });
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

/// The options that variables give, as the command line would: for a process whose command is to hold all of them.
///
/// # Errors
/// A variable that is not UTF-8.
pub fn of_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(&'static str, String)>, ConfigError> {
    let variables = variables(environment)?;
    let given = from_variables(&variables).flat_map(|given| {
        let flag = given.row.flag;
        given.texts.into_iter().map(move |text| (flag, text))
    });
    Ok(given.collect())
}
