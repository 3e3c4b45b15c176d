//! What the commands on one key are called, and what their words may be.

use crate::cli::args::{content_type, member, place, word};
use crate::cli::connect;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, Command, value_parser};
use std::ffi::OsString;
use std::path::PathBuf;

/// The commands.
pub(in crate::cli) fn commands() -> [Command; 7] {
    [put(), get(), del(), inc(), add(), rem(), inspect()]
}

// -- values ----------------------------------------------------------------------------------------------------------

fn put() -> Command {
    let value = Arg::new("VALUE").help("The value as it is, or - for standard input");
    let file = Arg::new("file").long("file").value_name("FILE").help("Takes the value from a file");
    let content_type_help = "What the value is; without it the node tells text from bytes";
    let content_type =
        Arg::new("content-type").long("content-type").value_name("TYPE").value_parser(content_type);
    verb("put", "Stores a value under a key, in place of what is there")
        .args([
            value
                .value_parser(value_parser!(OsString))
                .allow_negative_numbers(true)
                .required_unless_present("file"),
            file.value_parser(value_parser!(PathBuf)).conflicts_with("VALUE"),
            content_type.help(content_type_help),
            context(),
        ])
        .after_help(
            "Examples:\n  \
             meridian put users/42 '{\"name\":\"Ada\"}' --content-type application/json\n  \
             meridian put pictures/ada --file ada.png --content-type image/png\n  \
             date | meridian put stats/today -",
        )
}

fn get() -> Command {
    let raw = Arg::new("raw").long("raw").help("Writes the value's bytes and nothing else");
    verb("get", "Reads a key").arg(raw.action(ArgAction::SetTrue).conflicts_with("json")).after_help(
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

// -- numbers ---------------------------------------------------------------------------------------------------------

fn inc() -> Command {
    let by =
        Arg::new("BY").help("How much; below zero takes away [default: 1]").value_parser(value_parser!(i64));
    verb("inc", "Adds to a counter and shows what it then is here")
        .arg(by.allow_negative_numbers(true))
        .after_help(
            "Examples:\n  \
         meridian inc stats/home\n  \
         meridian inc stats/home 5\n  \
         meridian inc stats/home -5",
        )
}

// -- sets --------------------------------------------------------------------------------------------------

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

// -- all replicas ----------------------------------------------------------------------------------------------------

fn inspect() -> Command {
    let about = "Shows a key as every replica has it: cells, dots, versions";
    connect::with_arguments(Command::new("inspect").about(about).arg(key())).after_help(
        "Examples:\n  \
         meridian inspect users/42\n  \
         meridian inspect users/42 | jq .agree",
    )
}

// -- arguments of several --------------------------------------------------------------------------------------------

/// A command with what all of them have that read or write a value.
fn verb(name: &'static str, about: &'static str) -> Command {
    let kind = Arg::new("type").long("type").value_name("TYPE").value_parser(word);
    connect::with_arguments(
        Command::new(name)
            .about(about)
            .args([key(), kind.help("The key's type, where it is not the default or there are several")]),
    )
}

fn key() -> Arg {
    let key = Arg::new("KEY").help("BUCKET/KEY, like users/42; the key may have more slashes").required(true);
    key.value_parser(OsStringValueParser::new().try_map(place))
}

fn context() -> Arg {
    let help = "Takes away only what the read saw that gave this token";
    Arg::new("context").long("context").value_name("TOKEN").help(help).value_parser(word)
}

fn some_members() -> Arg {
    let arg = Arg::new("MEMBER").help("A member, and more").required(true).num_args(1..).value_parser(member);
    arg.allow_negative_numbers(true)
}
