//! `meridian cluster`: who the members are, and whether all replicas agree, as one node sees it.

use super::table::{Cell, Column, Table};
use super::terminal::{Style, Terminal, harmless, on_one_line};
use super::{CliError, Surroundings, connect};
use clap::builder::styling::AnsiColor;
use clap::{ArgMatches, Command};
use meridian_client::cluster::{Cluster, Convergence, Member};
use meridian_client::{Method, Request};
use serde::de::DeserializeOwned;

/// The command with its two parts.
pub(super) fn command() -> Command {
    let status =
        Command::new("status").about("Shows the members, and how the node that is asked stands with each");
    let convergence = Command::new("convergence")
        .about("Asks whether all replicas of all shards agree; ends with 1 if they do not");
    Command::new("cluster")
        .about("Shows the cluster as one node sees it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([status, convergence].map(connect::with_arguments))
        .after_help("Examples:\n  meridian cluster status\n  meridian cluster convergence --endpoint http://127.0.0.1:7482")
}

/// Shows it. That replicas do not agree is an error.
pub(super) async fn run(matches: &ArgMatches, mut around: Surroundings<'_>) -> Result<(), CliError> {
    let (verb, matches) = matches.subcommand().expect("clap requires one");
    let client = connect::client(matches, around.endpoints.as_ref())?;
    let path = if verb == "status" { "/v1/cluster" } else { "/v1/cluster/convergence" };
    let answer = client.send(Request::new(Method::GET, path)).await?;
    let as_given =
        || str::from_utf8(&answer.body).map(|json| on_one_line(json) + "\n").map_err(|_| CliError::strange());
    // What no node says is an error, also where it would be shown as it came.
    let (shown, agree) = match (verb, around.style(matches)) {
        ("status", style) => {
            let view = view(&answer.body)?;
            let shown = match style {
                Style::Json => as_given()?,
                Style::Plain(terminal) => status(&view, terminal),
            };
            (shown, true)
        }
        (_, style) => {
            let view = view::<Convergence>(&answer.body)?;
            let shown = if style == Style::Json { as_given()? } else { words(&view) };
            (shown, view.converged)
        }
    };
    around.write(shown)?;
    if agree { Ok(()) } else { Err(CliError::Failed("the replicas do not all agree".into())) }
}

fn view<T: DeserializeOwned>(body: &[u8]) -> Result<T, CliError> {
    serde_json::from_slice(body).map_err(|_| CliError::strange())
}

fn status(view: &Cluster, terminal: Terminal) -> String {
    let head = format!("cluster {}, as {} sees it\n", view.cluster, view.node);
    let columns = ["NAME", "REGION", "ADDRESS", "STATE"].map(Column::left);
    let rows = view.members.iter().map(|member| {
        let state = Cell::new(&state(member));
        let state = match member.state.as_str() {
            "connected" => state.painted(AnsiColor::Green),
            "unreachable" => state.painted(AnsiColor::Red),
            _ => state,
        };
        vec![Cell::new(&member.name), Cell::new(&member.region), Cell::new(&member.address), state]
    });
    harmless(&head) + &Table::new(terminal, columns.into()).lines(rows.collect())
}

fn state(member: &Member) -> String {
    let Member { state, round_trip_ms, unreachable_ms, .. } = member;
    let away = round_trip_ms.map(|ms| format!(", {ms} ms away")).unwrap_or_default();
    let since = unreachable_ms.map(|ms| format!(" for {:.1} s", ms as f64 / 1e3)).unwrap_or_default();
    format!("{state}{since}{away}")
}

fn words(view: &Convergence) -> String {
    let said = match view.converged {
        true => format!("all {} members agree on every shard\n", view.asked),
        false => format!("not converged: {} shards differ\n", view.shards.len()),
    };
    match view.unreachable.is_empty() {
        true => said,
        false => said + &harmless(&format!("unreachable: {}\n", view.unreachable.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_a_line_for_each_member_without_control_characters() {
        let view = serde_json::from_str(
            r#"{"cluster":"c","node":"n1","shards":256,"placement":"p","epoch":0,"coordinator":null,"members":[
                {"name":"n1","id":"i","region":"eu","address":"a:1","state":"self"},
                {"name":"n2","id":"i","region":"\u001b[2J","address":"b:1","state":"connected","round_trip_ms":0.5},
                {"name":"n3","id":"i","region":"ap","address":"c:1","state":"unreachable","unreachable_ms":5210}]}"#,
        );
        let text = status(&view.unwrap(), Terminal { columns: 80, has_colours: false });
        assert_eq!(text.lines().count(), 5, "who sees it, titles, and three members: {text}");
        assert!(text.contains("connected, 0.5 ms away") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("unreachable for 5.2 s"), "{text}");
    }

    #[test]
    fn a_person_reads_who_is_missing() {
        let shard = r#"{"shard":1,"converged":false,"replicas":[]}"#;
        let view = format!(
            r#"{{"converged":false,"asked":3,"unreachable":["n2","n3"],"shards":[{shard},{shard}]}}"#
        );
        let text = words(&serde_json::from_str(&view).unwrap());
        assert_eq!(text, "not converged: 2 shards differ\nunreachable: n2, n3\n");
        let view = r#"{"converged":true,"asked":3,"unreachable":[],"shards":[]}"#;
        assert_eq!(words(&serde_json::from_str(view).unwrap()), "all 3 members agree on every shard\n");
    }
}
