//! From the words of a command on a key to its request.
//!
//! - A PUT, GET or DELETE is of the key; with `--path` a write is an operation on a field.
//! - A request says of itself whether it may be sent twice: not an increment, and not a value that would stand beside itself.

use crate::cli::CliError;
use crate::cli::args::{Field, Place, flag, one};
use crate::config::VALUE_BYTES_LIMIT;
use clap::ArgMatches;
use meridian_api::{header, kv};
use meridian_client::{Method, Request};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What is written in a value's place for standard input.
const STANDARD_INPUT: &str = "-";
const JSON: &str = "application/json";

/// What of the answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// The value and what is known of it.
    Value,
    /// The value's bytes alone.
    Bytes,
    /// That it was done.
    Done,
    /// What a counter, a `max` or a `min` is now.
    Number,
    /// What a flag is now.
    Truth,
    /// How many members came and went, or fields changed.
    Changes,
    /// The answer itself.
    Answer,
}

/// A command on a key, understood.
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) place: Place,
    pub(super) shows: Shows,
}

/// What most commands have.
struct Asked {
    place: Place,
    kind: Option<String>,
    field: Option<Field>,
    context: Option<String>,
}

/// The request that a command's words make. A value may come from a file or from `input`.
pub(super) fn call(name: &str, matches: &ArgMatches, input: &mut dyn Read) -> Result<Call, CliError> {
    let asked = Asked {
        place: one::<Place>(matches, "KEY").expect("clap requires it"),
        kind: one(matches, "type"),
        field: one(matches, "path"),
        context: one(matches, "context"),
    };
    let (request, shows) = match name {
        "get" => (asked.get(matches), if flag(matches, "raw") { Shows::Bytes } else { Shows::Value }),
        "inspect" => (asked.inspect(), Shows::Answer),
        "put" if asked.field.is_none() => (asked.put(matches, input)?, Shows::Done),
        "del" if asked.field.is_none() => (Request::new(Method::DELETE, asked.path()), Shows::Done),
        _ => (asked.operation(operation(name, matches, input)?), shows(name, asked.field.is_some())),
    };
    let request = match &asked.context {
        Some(token) => request.header(header::CONTEXT, token),
        None => request,
    };
    Ok(Call { request, place: asked.place, shows })
}

/// What is shown of an operation's answer. That of a field is how many fields changed.
fn shows(name: &str, is_of_field: bool) -> Shows {
    match name {
        "inc" | "reset" | "observe" if !is_of_field => Shows::Number,
        "enable" | "disable" if !is_of_field => Shows::Truth,
        _ => Shows::Changes,
    }
}

impl Asked {
    /// The key's path, with the type.
    fn path(&self) -> String {
        let path = kv::key_path(self.place.bucket.as_str(), self.place.key.as_bytes());
        self.kind.iter().fold(path, |path, kind| kv::with_parameter(&path, "type", kind))
    }

    fn get(&self, matches: &ArgMatches) -> Request {
        let mut path = self.path();
        if let Some(field) = &self.field {
            path = kv::with_parameter(&path, "path", &field.pointer);
        }
        if let Some(member) = one::<String>(matches, "contains") {
            path = kv::with_parameter(&path, "contains", &member);
        }
        Request::new(Method::GET, path)
    }

    fn inspect(&self) -> Request {
        Request::new(Method::GET, kv::inspect_path(self.place.bucket.as_str(), self.place.key.as_bytes()))
    }

    fn put(&self, matches: &ArgMatches, input: &mut dyn Read) -> Result<Request, CliError> {
        let overwrites = flag(matches, "overwrite");
        let path = match overwrites {
            true => kv::with_parameter(&self.path(), "overwrite", "true"),
            false => self.path(),
        };
        let request = Request::new(Method::PUT, path).body(value(matches, input)?);
        // What overwrites may be a multi-value register whatever was said, and another node may lack what this one has.
        let request = request.repeatable(!overwrites && !self.is_multi());
        Ok(match one::<String>(matches, "content-type") {
            Some(kind) => request.header("content-type", kind),
            None => request,
        })
    }

    /// A POST: on the key, or on the field that was named.
    fn operation(&self, operation: Operation<'_>) -> Request {
        // The second of two equal values would stand beside the first, which it has not seen.
        let stands_beside = operation.op == "set" && (self.is_multi() || self.context.is_some());
        let is_repeatable = operation.op != "increment" && !stands_beside;
        let (path, operation) = match &self.field {
            Some(field) => {
                let path = kv::key_path(self.place.bucket.as_str(), self.place.key.as_bytes());
                let (kind, names) = (self.kind.as_deref(), &field.names[..]);
                (path, Operation { path: Some(names), kind, ..operation })
            }
            None => (self.path(), operation),
        };
        let body = serde_json::to_vec(&operation).expect("strings, numbers and checked JSON can be written");
        Request::new(Method::POST, path).header("content-type", JSON).body(body).repeatable(is_repeatable)
    }

    fn is_multi(&self) -> bool {
        self.kind.as_deref() == Some("multi")
    }
}

// -- operations ------------------------------------------------------------------------------------------------------

/// What the body of a POST says.
#[derive(Default, Serialize)]
struct Operation<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<&'a String>>,
    op: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a [String]>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
}

fn operation<'a>(
    name: &'a str,
    matches: &'a ArgMatches,
    input: &mut dyn Read,
) -> Result<Operation<'a>, CliError> {
    let members = || Some(matches.get_many::<String>("MEMBER").into_iter().flatten().collect());
    let done = Operation::default();
    Ok(match name {
        "put" => Operation { op: "set", value: Some(json_value(matches, input)?), ..done },
        "del" => Operation { op: "remove", ..done },
        "inc" => Operation { op: "increment", by: Some(one(matches, "BY").unwrap_or(1)), ..done },
        "add" => Operation { op: "add", members: members(), ..done },
        "rem" => Operation { op: "remove", members: members(), ..done },
        "observe" => {
            let number = one::<i64>(matches, "NUMBER").expect("clap requires it");
            let number = to_raw_value(&number).expect("a number can be written");
            Operation { op: "observe", value: Some(number), ..done }
        }
        // These are called as the operation is.
        "enable" | "disable" | "reset" | "clear" => Operation { op: name, ..done },
        _ => unreachable!("clap knows no command {name:?}"),
    })
}

/// The value of a field: a string, or what its content type says is JSON.
fn json_value(matches: &ArgMatches, input: &mut dyn Read) -> Result<Box<RawValue>, CliError> {
    let usage = |what: String| CliError::Usage(format!("with --path {what}"));
    let is_json = match one::<String>(matches, "content-type").as_deref() {
        None => false,
        Some(JSON) => true,
        Some(other) => {
            return Err(usage(format!("the content type is {JSON} or not said, and not {other:?}")));
        }
    };
    let text = String::from_utf8(value(matches, input)?).map_err(|_| usage("the value is UTF-8".into()))?;
    match is_json {
        true => serde_json::from_str(&text).map_err(|error| usage(format!("the value is JSON: {error}"))),
        false => Ok(to_raw_value(&text).expect("a string can be written")),
    }
}

// -- values ----------------------------------------------------------------------------------------------------------

fn value(matches: &ArgMatches, input: &mut dyn Read) -> Result<Vec<u8>, CliError> {
    if let Some(path) = one::<PathBuf>(matches, "file") {
        let read = File::open(&path).and_then(|mut file| read_value(&mut file));
        return read.map_err(|error| CliError::Failed(format!("{}: {error}", path.display())));
    }
    let value = one::<OsString>(matches, "VALUE").expect("clap requires it");
    match value == STANDARD_INPUT {
        true => read_value(input).map_err(|error| CliError::Failed(format!("standard input: {error}"))),
        false => Ok(value.as_bytes().to_vec()),
    }
}

/// All there is, up to what the largest node may be told to take.
fn read_value(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut value = Vec::new();
    from.take(VALUE_BYTES_LIMIT as u64 + 1).read_to_end(&mut value)?;
    match value.len() > VALUE_BYTES_LIMIT {
        true => Err(io::Error::other(format!("a value has at most {VALUE_BYTES_LIMIT} bytes"))),
        false => Ok(value),
    }
}
