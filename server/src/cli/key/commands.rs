//! What the commands on one key are called, and what their words may be.

use crate::cli::args::{content_type, field, member, place, word};
use crate::cli::connect;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, Command, value_parser};
use std::ffi::OsString;
use std::path::PathBuf;

/// The commands.
pub(in crate::cli) fn commands() -> [Command; 12] {
    [put(), get(), del(), inc(), add(), rem(), enable(), disable(), observe(), reset(), clear(), inspect()]
}

// -- values ----------------------------------------------------------------------------------------------------------

fn put() -> Command {
    let value = Arg::new("VALUE").help("The value as it is, or - for standard input");
    let file = Arg::new("file").long("file").value_name("FILE").help("Takes the value from a file");
    let content_type_help = "What the value is; without it the node tells text from bytes";
    let content_type =
        Arg::new("content-type").long("content-type").value_name("TYPE").value_parser(content_type);
    let overwrite = Arg::new("overwrite").long("overwrite").action(ArgAction::SetTrue);
    verb("put", "Stores a value under a key, in place of what is there")
        .args([
            value
                .value_parser(value_parser!(OsString))
                .allow_negative_numbers(true)
                .required_unless_present("file"),
            file.value_parser(value_parser!(PathBuf)).conflicts_with("VALUE"),
            content_type.help(content_type_help),
            overwrite.help("Replaces all values of a multi, seen or not").conflicts_with("path"),
            context(),
        ])
        .after_help(
            "With --path the value is a string, or JSON with --content-type application/json.\n\n\
             Examples:\n  \
             meridian put users/42 '{\"name\":\"Ada\"}' --content-type application/json\n  \
             meridian put users/43 London --path /address/city\n  \
             meridian put pictures/ada --file ada.png --content-type image/png\n  \
             date | meridian put stats/today -",
        )
}

fn get() -> Command {
    let raw = Arg::new("raw").long("raw").help("Writes the value's bytes and nothing else");
    let contains = Arg::new("contains").long("contains").value_name("MEMBER").value_parser(member);
    verb("get", "Reads a key")
        .arg(raw.action(ArgAction::SetTrue).conflicts_with("json"))
        .arg(contains.help("Asks a set whether it has a member, at no cost for its size"))
        .after_help(
            "Examples:\n  \
             meridian get users/42\n  \
             meridian get users/42 --json\n  \
             meridian get users/43 --path /address/city\n  \
             meridian get users/42/tags --contains opera\n  \
             meridian get pictures/ada --raw > ada.png",
        )
}

fn del() -> Command {
    verb("del", "Deletes a key, or with --path a field with all below it").arg(context()).after_help(
        "Examples:\n  \
         meridian del users/42\n  \
         meridian del users/43 --path /address\n  \
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
         meridian inc stats/home -5\n  \
         meridian inc users/43 --path /visits",
        )
}

fn reset() -> Command {
    verb("reset", "Sets a counter to zero and shows what it then is here").arg(context()).after_help(
        "Examples:\n  \
         meridian reset stats/home\n  \
         meridian reset users/43 --path /visits",
    )
}

fn observe() -> Command {
    let number = Arg::new("NUMBER").required(true).help("A whole number").value_parser(value_parser!(i64));
    verb("observe", "Keeps the highest number that was observed, or the lowest, and shows it")
        .arg(number.allow_negative_numbers(true))
        .after_help(
            "A new key becomes what its bucket's policy says, else a max.\n\n\
             Examples:\n  \
             meridian observe stats/high 17\n  \
             meridian observe stats/low -3 --type min\n  \
             meridian observe users/43 3 --path /best --type min",
        )
}

// -- sets and flags --------------------------------------------------------------------------------------------------

fn add() -> Command {
    verb("add", "Adds members to a set").arg(some_members()).after_help(
        "Examples:\n  \
         meridian add users/42/tags opera jazz\n  \
         meridian add users/43 opera --path /tags\n  \
         meridian add users/42/tags -- -odd-member",
    )
}

fn rem() -> Command {
    verb("rem", "Removes members from a set").arg(some_members()).arg(context()).after_help(
        "Examples:\n  \
         meridian rem users/42/tags opera\n  \
         meridian rem users/43 opera --path /tags\n  \
         meridian rem users/42/tags opera --context TOKEN    (only what the read that gave the token saw)",
    )
}

fn clear() -> Command {
    verb("clear", "Removes all members of a set").arg(context()).after_help(
        "Examples:\n  \
         meridian clear users/42/tags\n  \
         meridian clear users/43 --path /tags",
    )
}

fn enable() -> Command {
    verb("enable", "Turns a flag on and shows what it then is here").after_help(
        "Examples:\n  \
         meridian enable users/42/newsletter\n  \
         meridian enable users/43 --path /newsletter",
    )
}

fn disable() -> Command {
    verb("disable", "Turns a flag off and shows what it then is here").arg(context()).after_help(
        "Examples:\n  \
         meridian disable users/42/newsletter\n  \
         meridian disable users/43 --path /newsletter",
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
    let path = Arg::new("path").long("path").value_name("POINTER").value_parser(field);
    connect::with_arguments(Command::new(name).about(about).args([
        key(),
        kind.help("The key's type, or the field's, where it is not the default or there are several"),
        path.help("A field of a map, as a JSON Pointer like /address/city: ~1 stands for /, ~0 for ~"),
    ]))
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
