//! `meridian tls`: makes a cluster's authority and its nodes' bundles. Asks no node.

use super::CliError;
use crate::identity::authority::{Authority, NODE_DAYS};
use clap::{Arg, ArgMatches, Command, value_parser};
use std::io::Write;
use std::path::PathBuf;

/// The command with its two parts.
pub(super) fn command() -> Command {
    let dir = || {
        let help = "The authority's directory: keep it where nodes are added, and secret";
        Arg::new("dir").long("dir").value_name("DIR").required(true).help(help)
    };
    let init = Command::new("init")
        .about("Makes the certificate authority of a new cluster, its id and its secret")
        .arg(dir().value_parser(value_parser!(PathBuf)))
        .after_help("Example:\n  meridian tls init --dir ./authority");
    let issue = Command::new("issue")
        .about("Makes one node's bundle: what its --tls-dir is to hold")
        .arg(Arg::new("NAME").required(true).help("The node's name, as its --name will be"))
        .arg(dir().value_parser(value_parser!(PathBuf)))
        .arg(
            Arg::new("out")
                .long("out")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Where the bundle is made [default: NAME in the authority's directory]"),
        )
        .arg(
            Arg::new("days")
                .long("days")
                .value_name("N")
                .default_value("825")
                .value_parser(value_parser!(u16).range(1..=3650))
                .help("How long the certificate is valid"),
        )
        .after_help(
            "Example:\n  meridian tls issue n1 --dir ./authority --out ./n1-tls\n  \
             meridian start --name n1 --data-dir ./n1 --tls-dir ./n1-tls",
        );
    Command::new("tls")
        .about("Makes a cluster's certificates")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([init, issue])
        .after_help(
            "Examples:\n  meridian tls init --dir ./authority\n  \
             meridian tls issue n1 --dir ./authority --out ./n1-tls",
        )
}

/// Does what was asked, and says what was made.
pub(super) fn run(matches: &ArgMatches, output: &mut dyn Write) -> Result<(), CliError> {
    let failed = |error: &dyn std::error::Error| CliError::Failed(error.to_string());
    let (verb, matches) = matches.subcommand().expect("clap requires one");
    let dir = matches.get_one::<PathBuf>("dir").expect("clap requires it");
    let said = match verb {
        "init" => {
            let cluster = Authority::init(dir).map_err(|error| failed(&error))?;
            format!("the authority of cluster {cluster} is in {}", dir.display())
        }
        _ => {
            let name = matches.get_one::<String>("NAME").expect("clap requires it");
            let name = crate::config::label(name).ok_or_else(|| {
                CliError::Usage(format!("{name:?} is no node's name: {}", crate::config::LABEL))
            })?;
            let days = *matches.get_one::<u16>("days").unwrap_or(&NODE_DAYS);
            let out = matches.get_one::<PathBuf>("out").cloned().unwrap_or_else(|| dir.join(&name));
            let authority = Authority::read(dir).map_err(|error| failed(&error))?;
            authority.issue_into(&out, &name, days).map_err(|error| failed(&error))?;
            format!("the bundle of {name} is in {}, valid for {days} days", out.display())
        }
    };
    writeln!(output, "{said}").map_err(|error| failed(&error))
}
