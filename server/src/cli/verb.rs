//! The client commands: their arguments, and the request that each makes of them.

use super::CliError;
use super::client::{Endpoint, Request};
use crate::config::VALUE_BYTES_LIMIT;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use hyper::Method;
use meridian_api::{header, kv};
use meridian_core::name::{Bucket, ContentType, Key, Member};
use serde_json::json;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Where a node is asked when nobody says where.
const ENDPOINT_DEFAULT: &str = "http://127.0.0.1:7480";
/// What is written in a value's place for standard input.
const STANDARD_INPUT: &str = "-";

/// A bucket and a key in it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) bucket: Bucket,
    pub(super) key: Key,
}

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

/// A client command, understood.
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) place: Place,
    pub(super) shows: Shows,
    pub(super) wants_json: bool,
}

/// The client commands.
pub(super) fn commands() -> [Command; 7] {
    [put(), get(), del(), inc(), add(), rem(), inspect()]
}

/// The request that a command's words make. A value may come from a file or from `input`.
pub(super) fn call(name: &str, matches: &ArgMatches, input: &mut dyn Read) -> Result<Call, CliError> {
    let place = one::<Place>(matches, "KEY").expect("clap requires it");
    let path = path_of(&place, matches);
    let (request, shows) = match name {
        "put" => (put_request(path, matches, input)?, Shows::Done),
        "get" => {
            (Request::new(Method::GET, path), if flag(matches, "raw") { Shows::Bytes } else { Shows::Value })
        }
        "del" => (Request::new(Method::DELETE, path), Shows::Done),
        "inc" => {
            let by = one::<i64>(matches, "BY").unwrap_or(1);
            (operation(path, &json!({"op": "increment", "by": by})), Shows::Number)
        }
        "add" => (operation(path, &json!({"op": "add", "members": members(matches)})), Shows::Changes),
        "rem" => (operation(path, &json!({"op": "remove", "members": members(matches)})), Shows::Changes),
        "inspect" => {
            let path = kv::inspect_path(place.bucket.as_str(), place.key.as_bytes());
            (Request::new(Method::GET, path), Shows::Answer)
        }
        _ => unreachable!("clap knows no command {name:?}"),
    };
    let request = match one::<String>(matches, "context") {
        Some(token) => request.with(header::CONTEXT, token),
        None => request,
    };
    Ok(Call { request, place, shows, wants_json: wants_json(matches) })
}

/// Where to send it: by `--endpoint`, else by the variable's value, else the default.
pub(super) fn endpoints(matches: &ArgMatches, variable: Option<OsString>) -> Result<Vec<Endpoint>, CliError> {
    if let Some(said) = matches.get_many::<Endpoint>("endpoint") {
        return Ok(said.cloned().collect());
    }
    let said =
        variable.map(OsString::into_string).transpose().map_err(|_| usage_of_variable("it is not UTF-8"))?;
    let said = said.as_deref().filter(|said| !said.is_empty()).unwrap_or(ENDPOINT_DEFAULT).split(',');
    said.map(|text| Endpoint::parse(text.trim()).map_err(|error| usage_of_variable(&error))).collect()
}

// -- the arguments ---------------------------------------------------------------------------------------------------

fn put() -> Command {
    verb("put", "Stores a value under a key, in place of what is there")
        .arg(
            Arg::new("VALUE")
                .help("The value as it is, or - for standard input")
                .value_parser(value_parser!(OsString))
                .allow_negative_numbers(true)
                .required_unless_present("file"),
        )
        .arg(
            Arg::new("file")
                .long("file")
                .value_name("FILE")
                .help("Takes the value from a file")
                .value_parser(value_parser!(PathBuf))
                .conflicts_with("VALUE"),
        )
        .arg(
            Arg::new("content-type")
                .long("content-type")
                .value_name("TYPE")
                .help("What the value is; without it the node tells text from bytes")
                .value_parser(content_type),
        )
        .arg(context())
        .after_help(
            "Examples:\n  \
             meridian put users/42 '{\"name\":\"Ada\"}' --content-type application/json\n  \
             meridian put pictures/ada --file ada.png --content-type image/png\n  \
             date | meridian put stats/today -",
        )
}

fn get() -> Command {
    let raw = "Writes the value's bytes and nothing else";
    verb("get", "Reads a key")
        .arg(Arg::new("raw").long("raw").help(raw).action(ArgAction::SetTrue).conflicts_with("json"))
        .after_help(
            "Examples:\n  \
             meridian get users/42\n  \
             meridian get users/42 --json\n  \
             meridian get pictures/ada --raw > ada.png",
        )
}

fn del() -> Command {
    verb("del", "Deletes a key").arg(context()).after_help(
        "Examples:\n  \
         meridian del users/42\n  \
         meridian del users/42 --context TOKEN    (only what the read that gave the token saw)",
    )
}

fn inc() -> Command {
    verb("inc", "Adds to a counter and shows what it then is here")
        .arg(
            Arg::new("BY")
                .help("How much; below zero takes away [default: 1]")
                .value_parser(value_parser!(i64))
                .allow_negative_numbers(true),
        )
        .after_help(
            "Examples:\n  meridian inc stats/home\n  meridian inc stats/home 5\n  meridian inc stats/home -5",
        )
}

fn add() -> Command {
    verb("add", "Adds members to a set").arg(some_members()).after_help(
        "Examples:\n  \
         meridian add users/42/tags opera jazz\n  \
         meridian add users/42/tags -- -odd-member",
    )
}

fn rem() -> Command {
    verb("rem", "Removes members from a set").arg(some_members()).arg(context()).after_help(
        "Examples:\n  \
         meridian rem users/42/tags opera\n  \
         meridian rem users/42/tags opera --context TOKEN    (only what the read that gave the token saw)",
    )
}

fn inspect() -> Command {
    let about = "Shows a key as every replica has it: cells, dots, versions";
    with_common_arguments(Command::new("inspect").about(about).arg(key())).after_help(
        "Examples:\n  \
         meridian inspect users/42\n  \
         meridian inspect users/42 | jq .agree",
    )
}

/// A command with what all of them have that read or write a value.
fn verb(name: &'static str, about: &'static str) -> Command {
    let kind = Arg::new("type").long("type").value_name("TYPE").value_parser(word);
    with_common_arguments(
        Command::new(name)
            .about(about)
            .args([key(), kind.help("The key's type, where it is not the default or there are several")]),
    )
}

fn key() -> Arg {
    let key = Arg::new("KEY").help("BUCKET/KEY, like users/42; the key may have more slashes").required(true);
    key.value_parser(OsStringValueParser::new().try_map(place))
}

/// A client command's: where to ask, and how to show the answer.
pub(super) fn with_common_arguments(command: Command) -> Command {
    let endpoint = Arg::new("endpoint").long("endpoint").value_name("URL").value_parser(Endpoint::parse);
    let endpoint_help = "A node to ask, again for each; the next is asked when one cannot be reached [MERIDIAN_ENDPOINTS, with \
         commas] [default: http://127.0.0.1:7480]";
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
    command.args([
        endpoint.action(ArgAction::Append).help(endpoint_help),
        json.help("Shows JSON, also on a terminal"),
    ])
}

/// Whether JSON is asked for.
pub(super) fn wants_json(matches: &ArgMatches) -> bool {
    flag(matches, "json")
}

fn context() -> Arg {
    let help = "Takes away only what the read saw that gave this token";
    Arg::new("context").long("context").value_name("TOKEN").help(help).value_parser(word)
}

fn some_members() -> Arg {
    let arg = Arg::new("MEMBER").help("A member, and more").required(true).num_args(1..).value_parser(member);
    arg.allow_negative_numbers(true)
}

// -- from words to types ---------------------------------------------------------------------------------------------

fn place(text: OsString) -> Result<Place, String> {
    let bytes = text.as_bytes();
    let slash = bytes.iter().position(|b| *b == b'/').ok_or("it is BUCKET/KEY, like users/42")?;
    let bucket = str::from_utf8(&bytes[..slash]).unwrap_or_default();
    let bucket = Bucket::new(bucket).map_err(|error| error.to_string())?;
    let key = Key::new(&bytes[slash + 1..]).map_err(|error| error.to_string())?;
    Ok(Place { bucket, key })
}

fn member(text: &str) -> Result<String, String> {
    Member::new(text).map(|member| member.as_str().to_owned()).map_err(|error| error.to_string())
}

fn content_type(text: &str) -> Result<String, String> {
    ContentType::new(text).map(|it| it.as_str().to_owned()).map_err(|error| error.to_string())
}

/// What can stand in a header or a parameter as it is: tokens, names of types.
fn word(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("it is printable ASCII without spaces".into()),
    }
}

fn usage_of_variable(error: &str) -> CliError {
    CliError::Usage(format!("{}: {error}", super::ENDPOINTS_VARIABLE))
}

fn one<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.try_get_one::<T>(name).ok().flatten().cloned()
}

fn flag(matches: &ArgMatches, name: &str) -> bool {
    one::<bool>(matches, name).unwrap_or_default()
}

fn members(matches: &ArgMatches) -> Vec<&String> {
    matches.get_many::<String>("MEMBER").into_iter().flatten().collect()
}

// -- from types to a request -----------------------------------------------------------------------------------------

fn path_of(place: &Place, matches: &ArgMatches) -> String {
    let path = kv::key_path(place.bucket.as_str(), place.key.as_bytes());
    match one::<String>(matches, "type") {
        Some(kind) => kv::with_parameter(&path, "type", &kind),
        None => path,
    }
}

fn put_request(path: String, matches: &ArgMatches, input: &mut dyn Read) -> Result<Request, CliError> {
    let request = Request::new(Method::PUT, path).body(value(matches, input)?);
    Ok(match one::<String>(matches, "content-type") {
        Some(kind) => request.with("content-type", kind),
        None => request,
    })
}

fn operation(path: String, operation: &serde_json::Value) -> Request {
    let request = Request::new(Method::POST, path).with("content-type", "application/json".into());
    request.body(operation.to_string().into_bytes())
}

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
