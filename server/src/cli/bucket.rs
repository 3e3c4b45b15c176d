//! `meridian bucket`: which type a bucket's keys get with their first write.

use super::args::{self, one};
use super::table::{Cell, Column, Table};
use super::terminal::Style;
use super::{CliError, Surroundings, connect};
use clap::builder::styling::AnsiColor;
use clap::{Arg, ArgMatches, Command};
use meridian_client::{Client, Policy};
use meridian_core::name::Bucket;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

/// The command with its parts.
pub(super) fn command() -> Command {
    let name = || Arg::new("BUCKET").required(true).help("The bucket, like users").value_parser(args::bucket);
    let list = Command::new("list").about("Lists the buckets that have a policy");
    let show = Command::new("show").about("Shows what was declared of a bucket").arg(name());
    let default = Arg::new("DEFAULT").value_name("OPERATION=TYPE").required(true).num_args(1..);
    let default_help = "The type of a key that the operation creates, like put=multi; operations are put, observe, \
         increment, add, remove, clear, enable and disable";
    let declare = Command::new("declare")
        .about(
            "Declares a policy, in place of what was declared; it holds for keys that are created afterwards",
        )
        .args([name(), default.help(default_help).value_parser(default_of)])
        .after_help("Example:\n  meridian bucket declare users put=multi observe=min");
    let forget = Command::new("forget").about("Takes a bucket's policy away, and no key").arg(name());
    Command::new("bucket")
        .about("Shows and declares which type a bucket's keys get with their first write")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([list, show, declare, forget].map(connect::with_arguments))
        .after_help(
            "Examples:\n  \
             meridian bucket declare users put=multi observe=min\n  \
             meridian bucket show users\n  \
             meridian bucket list\n  \
             meridian bucket forget users",
        )
}

/// Does what the words say.
pub(super) async fn run(matches: &ArgMatches, mut around: Surroundings<'_>) -> Result<(), CliError> {
    let (verb, matches) = matches.subcommand().expect("clap requires one");
    let client = connect::client(matches, around.endpoints.as_ref())?;
    if verb == "list" {
        return list(&client, around.style(matches), &mut around).await;
    }
    let name = one::<Bucket>(matches, "BUCKET").expect("clap requires it");
    let bucket = client.bucket(name.as_str());
    let (shown, plain) = match verb {
        "show" => {
            let policy = bucket.policy().await?;
            let declared = policy.is_some();
            let policy = policy.unwrap_or_default();
            let plain = if declared { defaults(&policy, "\n") } else { "nothing is declared".into() };
            (Shown { declared: Some(declared), ..Shown::new(name.as_str(), &policy) }.json(), plain)
        }
        "declare" => {
            bucket.declare(&policy(matches)?).await?;
            (json!({"bucket": name.as_str(), "ok": true}).to_string(), "ok".into())
        }
        _ => {
            bucket.forget_policy().await?;
            (json!({"bucket": name.as_str(), "ok": true}).to_string(), "ok".into())
        }
    };
    let shown = if around.style(matches) == Style::Json { shown } else { plain };
    around.write(shown + "\n").map(|_| ())
}

async fn list(client: &Client, style: Style, around: &mut Surroundings<'_>) -> Result<(), CliError> {
    let mut policies = client.policies();
    let mut table = match style {
        Style::Json => None,
        Style::Plain(terminal) => {
            Some(Table::new(terminal, vec![Column::left("BUCKET"), Column::cut("DEFAULTS")]))
        }
    };
    let mut is_empty = true;
    while let Some(page) = policies.next_page().await? {
        is_empty &= page.is_empty();
        let shown = match &mut table {
            None => page.iter().map(|(name, policy)| Shown::new(name, policy).json() + "\n").collect(),
            Some(_) if page.is_empty() => String::new(),
            Some(table) => table.lines(page.iter().map(row).collect()),
        };
        if !around.write(shown)? {
            return Ok(());
        }
    }
    if is_empty && table.is_some() {
        around.write("no bucket has a policy\n")?;
    }
    Ok(())
}

fn row((name, policy): &(String, Policy)) -> Vec<Cell> {
    vec![Cell::new(name).painted(AnsiColor::Cyan), Cell::new(&defaults(policy, " "))]
}

/// A policy as it is declared: `observe=min put=multi`.
fn defaults(policy: &Policy, joint: &str) -> String {
    let defaults = policy.defaults.iter().map(|(operation, named)| format!("{operation}={named}"));
    defaults.collect::<Vec<_>>().join(joint)
}

/// A policy as a node tells it.
#[derive(Serialize)]
struct Shown<'a> {
    bucket: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    declared: Option<bool>,
    defaults: &'a BTreeMap<String, String>,
}

impl<'a> Shown<'a> {
    fn new(bucket: &'a str, policy: &'a Policy) -> Shown<'a> {
        Shown { bucket, declared: None, defaults: &policy.defaults }
    }

    fn json(&self) -> String {
        serde_json::to_string(self).expect("strings can be written")
    }
}

// -- from words to a policy ------------------------------------------------------------------------------------------

fn default_of(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((operation, named)) if !operation.is_empty() && !named.is_empty() => {
            Ok((operation.into(), named.into()))
        }
        _ => Err("it is OPERATION=TYPE, like put=multi".into()),
    }
}

fn policy(matches: &ArgMatches) -> Result<Policy, CliError> {
    let mut policy = Policy::default();
    for (operation, named) in matches.get_many::<(String, String)>("DEFAULT").into_iter().flatten() {
        if policy.defaults.insert(operation.clone(), named.clone()).is_some() {
            return Err(CliError::Usage(format!("{operation} is given twice")));
        }
    }
    Ok(policy)
}
