//! From the words of a command on a key to its request.
//!
//! A request says of itself whether it may be sent twice: not an increment, and not a value that would
//! stand beside itself.

use crate::cli::CliError;
use crate::cli::args::{Place, flag, one};
use crate::config::VALUE_BYTES_LIMIT;
use clap::ArgMatches;
use meridian_api::{header, kv};
use meridian_client::{Method, Request};
use serde::Serialize;
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
    /// What a counter is now.
    Number,
    /// How many members came and went.
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
    context: Option<String>,
}

/// The request that a command's words make. A value may come from a file or from `input`.
pub(super) fn call(name: &str, matches: &ArgMatches, input: &mut dyn Read) -> Result<Call, CliError> {
    let asked = Asked {
        place: one::<Place>(matches, "KEY").expect("clap requires it"),
        kind: one(matches, "type"),
        context: one(matches, "context"),
    };
    let (request, shows) = match name {
        "get" => (
            Request::new(Method::GET, asked.path()),
            if flag(matches, "raw") { Shows::Bytes } else { Shows::Value },
        ),
        "inspect" => (asked.inspect(), Shows::Answer),
        "put" => (asked.put(matches, input)?, Shows::Done),
        "del" => (Request::new(Method::DELETE, asked.path()), Shows::Done),
        _ => (asked.operation(&operation(name, matches)), shows(name)),
    };
    let request = match &asked.context {
        Some(token) => request.header(header::CONTEXT, token),
        None => request,
    };
    Ok(Call { request, place: asked.place, shows })
}

/// What is shown of an operation's answer.
fn shows(name: &str) -> Shows {
    if name == "inc" { Shows::Number } else { Shows::Changes }
}

impl Asked {
    /// The key's path, with the type.
    fn path(&self) -> String {
        let path = kv::key_path(self.place.bucket.as_str(), self.place.key.as_bytes());
        self.kind.iter().fold(path, |path, kind| kv::with_parameter(&path, "type", kind))
    }

    fn inspect(&self) -> Request {
        Request::new(Method::GET, kv::inspect_path(self.place.bucket.as_str(), self.place.key.as_bytes()))
    }

    fn put(&self, matches: &ArgMatches, input: &mut dyn Read) -> Result<Request, CliError> {
        let request = Request::new(Method::PUT, self.path()).body(value(matches, input)?);
        // The second of two equal values would stand beside the first, which it has not seen.
        let request = request.repeatable(self.kind.as_deref() != Some("multi"));
        Ok(match one::<String>(matches, "content-type") {
            Some(kind) => request.header("content-type", kind),
            None => request,
        })
    }

    /// A POST.
    fn operation(&self, operation: &Operation<'_>) -> Request {
        let body = serde_json::to_vec(operation).expect("strings and numbers can be written");
        let request = Request::new(Method::POST, self.path()).header("content-type", JSON).body(body);
        request.repeatable(operation.op != "increment")
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
}

fn operation<'a>(name: &'a str, matches: &'a ArgMatches) -> Operation<'a> {
    let members = || Some(matches.get_many::<String>("MEMBER").into_iter().flatten().collect());
    let done = Operation::default();
    match name {
        "inc" => Operation { op: "increment", by: Some(one(matches, "BY").unwrap_or(1)), ..done },
        "add" => Operation { op: "add", members: members(), ..done },
        "rem" => Operation { op: "remove", members: members(), ..done },
        _ => unreachable!("clap knows no command {name:?}"),
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
