//! `meridian ls`: the keys of a bucket in order, page by page, so that it takes as little memory for a million as for ten.

use super::args::{bucket, flag, one};
use super::table::{Cell, Column, Table};
use super::terminal::{Style, on_one_line};
use super::{CliError, Surroundings, connect};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::builder::styling::AnsiColor;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use meridian_client::{Client, Keys};
use meridian_core::name::Bucket;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The most entries of a page that a node gives.
const PAGE_MAX: u64 = 1_000;
/// What bounds a listing by bytes.
const BOUNDS: [(&str, &str); 3] = [
    ("prefix", "Only keys that begin so"),
    ("start", "Only keys from this one on"),
    ("end", "Only keys before this one"),
];

/// The command.
pub(super) fn command() -> Command {
    let name = Arg::new("BUCKET").help("The bucket, like users").value_parser(bucket);
    let bounds = BOUNDS.map(|(bound, help)| {
        let arg = Arg::new(bound).long(bound).value_name("KEY").help(help);
        arg.value_parser(value_parser!(OsString)).allow_hyphen_values(true)
    });
    let set = |name, help| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    let delimiter = Arg::new("delimiter").long("delimiter").value_name("TEXT").value_parser(delimiter);
    let limit = Arg::new("limit").long("limit").value_name("N").value_parser(value_parser!(u64).range(1..));
    // Without a bucket the command says more than the parser would.
    let ls = Command::new("ls").override_usage("meridian ls [OPTIONS] <BUCKET>");
    connect::with_arguments(ls.about("Lists the keys of a bucket, in byte order").arg(name))
        .args(bounds)
        .args([
            set("reverse", "From the last to the first"),
            delimiter
                .help("Keys that have it behind the prefix are one entry: what they begin with, up to it"),
            limit.help("At most so many entries; without it all of them"),
            set("values", "With values"),
        ])
        .after_help(
            "Examples:\n  \
             meridian ls users --prefix 42/\n  \
             meridian ls users --delimiter /\n  \
             meridian ls users --values --limit 10 --reverse\n  \
             meridian ls users | jq -r .key",
        )
}

/// Lists.
pub(super) async fn run(matches: &ArgMatches, mut around: Surroundings<'_>) -> Result<(), CliError> {
    let bucket = one::<Bucket>(matches, "BUCKET").ok_or_else(|| {
        CliError::Usage(
            "ls lists the keys of a bucket: say which, like `meridian ls users` (`meridian bucket list` shows \
             those that have a policy)"
                .into(),
        )
    })?;
    let client = connect::client(matches, around.endpoints.as_ref())?;
    let mut left = one::<u64>(matches, "limit").unwrap_or(u64::MAX);
    let mut keys = keys(&client, &bucket, matches);
    let mut shown = match around.style(matches) {
        Style::Json => Shown::Lines,
        Style::Plain(terminal) => Shown::Table(Table::new(terminal, columns(flag(matches, "values")))),
    };
    let mut is_empty = true;
    while left > 0
        && let Some(page) = keys.next_page_as_given().await?
    {
        let mut entries = entries(page.get(), flag(matches, "reverse")).map_err(|_| CliError::strange())?;
        entries.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= entries.len() as u64;
        is_empty &= entries.is_empty();
        if !entries.is_empty() && !around.write(shown.page(&entries))? {
            return Ok(());
        }
    }
    match shown {
        Shown::Table(_) if is_empty => around.write("no keys\n").map(|_| ()),
        _ => Ok(()),
    }
}

fn keys(client: &Client, bucket: &Bucket, matches: &ArgMatches) -> Keys {
    let bound = |name: &str| one::<OsString>(matches, name).map(|bytes| bytes.as_bytes().to_vec());
    let limit = one::<u64>(matches, "limit").unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let mut keys = client.bucket(bucket.as_str()).keys().page_size(limit as u16);
    if let Some(prefix) = bound("prefix") {
        keys = keys.prefix(prefix);
    }
    if let Some(start) = bound("start") {
        keys = keys.start(start);
    }
    if let Some(end) = bound("end") {
        keys = keys.end(end);
    }
    if let Some(delimiter) = one::<String>(matches, "delimiter") {
        keys = keys.delimiter(&delimiter);
    }
    if flag(matches, "reverse") {
        keys = keys.reverse();
    }
    if flag(matches, "values") {
        keys = keys.with_values();
    }
    keys
}

fn delimiter(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it has at least one character, like /".into()) } else { Ok(text.into()) }
}

// -- a page as it comes ----------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    prefixes: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    prefixes64: Vec<&'a RawValue>,
}

/// What a node says of a key.
#[derive(Default, Deserialize)]
struct Said<'a> {
    key: Option<String>,
    key64: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    types: Vec<String>,
    bytes: Option<u64>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    page_required: bool,
}

/// A key, or what several begin with.
struct Entry<'a> {
    /// The bytes that are listed.
    name: Vec<u8>,
    json: String,
    /// Of a key.
    said: Option<Said<'a>>,
}

type Understood<T> = Result<T, Box<dyn std::error::Error>>;

/// The entries of a page in the order of their bytes: a page tells keys and prefixes apart.
fn entries(page: &str, reverse: bool) -> Understood<Vec<Entry<'_>>> {
    let page: Page<'_> = serde_json::from_str(page)?;
    let mut entries = page.keys.into_iter().map(Entry::of_key).collect::<Understood<Vec<_>>>()?;
    for prefix in page.prefixes {
        let name = serde_json::from_str::<String>(prefix.get())?.into_bytes();
        entries.push(Entry { name, json: format!(r#"{{"prefix":{prefix}}}"#), said: None });
    }
    for prefix in page.prefixes64 {
        let name = BASE64_URL_SAFE_NO_PAD.decode(serde_json::from_str::<String>(prefix.get())?)?;
        entries.push(Entry { name, json: format!(r#"{{"prefix64":{prefix}}}"#), said: None });
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    if reverse {
        entries.reverse();
    }
    Ok(entries)
}

impl<'a> Entry<'a> {
    fn of_key(json: &'a RawValue) -> Understood<Entry<'a>> {
        let said: Said<'a> = serde_json::from_str(json.get())?;
        let name = match (&said.key, &said.key64) {
            (Some(key), _) => key.as_bytes().to_vec(),
            (None, Some(key)) => BASE64_URL_SAFE_NO_PAD.decode(key)?,
            (None, None) => return Err("an entry has no key".into()),
        };
        Ok(Entry { name, json: on_one_line(json.get()), said: Some(said) })
    }
}

// -- what is shown ---------------------------------------------------------------------------------------------------

/// How pages are shown.
enum Shown {
    Lines,
    Table(Table),
}

impl Shown {
    fn page(&mut self, entries: &[Entry<'_>]) -> String {
        match self {
            Shown::Lines => entries.iter().map(|entry| format!("{}\n", entry.json)).collect(),
            Shown::Table(table) => table.lines(entries.iter().map(row).collect()),
        }
    }
}

fn columns(with_values: bool) -> Vec<Column> {
    let mut columns = vec![Column::left("KEY"), Column::left("TYPE"), Column::right("BYTES")];
    columns.extend(with_values.then(|| Column::cut("VALUE")));
    columns
}

fn row(entry: &Entry<'_>) -> Vec<Cell> {
    let name = Cell::of_bytes(&entry.name);
    let Some(said) = &entry.said else {
        return vec![name.painted(AnsiColor::Blue).bold(), Cell::new(""), Cell::new(""), Cell::new("")];
    };
    let kind = match said.types.is_empty() {
        true => Cell::new(&said.kind).painted(AnsiColor::Cyan),
        false => Cell::new(&format!("{}: {}", said.kind, said.types.join(", "))).painted(AnsiColor::Red),
    };
    let bytes = said.bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
    vec![name, kind, Cell::new(&bytes), Cell::new(&value(said))]
}

/// A text as itself, and anything else as JSON.
fn value(said: &Said<'_>) -> String {
    match said.value {
        Some(json) => serde_json::from_str::<String>(json.get()).unwrap_or_else(|_| on_one_line(json.get())),
        None if said.page_required => "(too many members to be shown here)".into(),
        None => String::new(),
    }
}
