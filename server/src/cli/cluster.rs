//! `meridian cluster`: who the members are, and whether all replicas agree, as one node sees it.

use super::client::{self, Request};
use super::{CliError, Style, verb};
use clap::{ArgMatches, Command};
use hyper::Method;
use serde::Deserialize;
use std::ffi::OsString;
use std::fmt::Write as _;

/// The command with its two parts.
pub(super) fn command() -> Command {
    let status = verb::with_common_arguments(
        Command::new("status").about("Shows the members, and how the node that is asked stands with each"),
    );
    let convergence = verb::with_common_arguments(
        Command::new("convergence")
            .about("Asks whether all replicas of all shards agree; ends with 1 if they do not"),
    );
    Command::new("cluster")
        .about("Shows the cluster as one node sees it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([status, convergence])
        .after_help("Examples:\n  meridian cluster status\n  meridian cluster convergence --endpoint http://127.0.0.1:7482")
}

/// What is shown, and whether all is well.
pub(super) fn run(
    matches: &ArgMatches,
    endpoints: Option<OsString>,
    is_terminal: bool,
) -> Result<(String, bool), CliError> {
    let (verb, matches) = matches.subcommand().expect("clap requires one");
    let endpoints = verb::endpoints(matches, endpoints)?;
    let path = if verb == "status" { "/v1/cluster" } else { "/v1/cluster/convergence" };
    let answer = client::send(&endpoints, &Request::new(Method::GET, path.into()))?;
    let strange =
        || CliError::Failed("the answer is not one of a Meridian node: is this the right endpoint?".into());
    let style = if is_terminal && !verb::wants_json(matches) { Style::Plain } else { Style::Json };
    let well = match verb {
        "status" => true,
        _ => serde_json::from_slice::<Convergence>(&answer.body).map_err(|_| strange())?.converged,
    };
    let shown = match (style, verb) {
        (Style::Json, _) => String::from_utf8(answer.body).map_err(|_| strange())? + "\n",
        (Style::Plain, "status") => {
            serde_json::from_slice(&answer.body).map(|view| status(&view)).map_err(|_| strange())?
        }
        (Style::Plain, _) => {
            serde_json::from_slice(&answer.body).map(|view| words(&view)).map_err(|_| strange())?
        }
    };
    Ok((shown, well))
}

#[derive(Deserialize)]
struct Status {
    cluster: String,
    node: String,
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    name: String,
    region: String,
    address: String,
    state: String,
    round_trip_ms: Option<f64>,
}

#[derive(Deserialize)]
struct Convergence {
    converged: bool,
    asked: usize,
    unreachable: Vec<String>,
    shards: Vec<serde_json::Value>,
}

fn status(view: &Status) -> String {
    let mut out = format!("cluster {}, as {} sees it\n", view.cluster, view.node);
    let width =
        |of: fn(&Member) -> &str| view.members.iter().map(|member| of(member).len()).max().unwrap_or(0);
    let (names, regions, addresses) = (width(|m| &m.name), width(|m| &m.region), width(|m| &m.address));
    for member in &view.members {
        let Member { name, region, address, state, round_trip_ms } = member;
        let round_trip = round_trip_ms.map(|ms| format!(", {ms} ms away")).unwrap_or_default();
        let line = format!("{name:names$}  {region:regions$}  {address:addresses$}  {state}{round_trip}");
        writeln!(out, "{}", super::harmless(&line)).expect("writing into a string");
    }
    out
}

fn words(view: &Convergence) -> String {
    let mut out = match view.converged {
        true => format!("all {} members agree on every shard\n", view.asked),
        false => format!("not converged: {} shards differ\n", view.shards.len()),
    };
    if !view.unreachable.is_empty() {
        let names = super::harmless(&view.unreachable.join(", "));
        writeln!(out, "unreachable: {names}").expect("writing into a string");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_a_line_for_each_member_without_control_characters() {
        let view = serde_json::from_str(
            r#"{"cluster":"c","node":"n1","members":[
                {"name":"n1","region":"eu","address":"a:1","state":"self"},
                {"name":"n2","region":"\u001b[2J","address":"b:1","state":"connected","round_trip_ms":0.5}]}"#,
        );
        let text = status(&view.unwrap());
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("connected, 0.5 ms away") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_person_reads_who_is_missing() {
        let view = r#"{"converged":false,"asked":3,"unreachable":["n2","n3"],"shards":[{},{}]}"#;
        let text = words(&serde_json::from_str(view).unwrap());
        assert_eq!(text, "not converged: 2 shards differ\nunreachable: n2, n3\n");
        let view = r#"{"converged":true,"asked":3,"unreachable":[],"shards":[]}"#;
        assert_eq!(words(&serde_json::from_str(view).unwrap()), "all 3 members agree on every shard\n");
    }
}
