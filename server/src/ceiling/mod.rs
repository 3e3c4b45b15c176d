//! `meridian ceiling`: what this machine gives at best, measured with the node's own libraries and without the node. Hidden from
//! `--help`; the benchmarks set a node's figures beside it, in the same run.
//!
//! | command | what it is | what it stands for |
//! |---|---|---|
//! | `http` | an echo on the same HTTP library, with the number of threads that is fastest | GET and PUT without a store |
//! | `disk` | one writer on the same database with the same options: rows like a PUT's, a sync for each batch | one writer without a network, which waits for each sync |

mod disk;
mod http;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The command with its two parts.
pub fn command() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        let range = value_parser!(u32).range(1..=1 << 20);
        Arg::new(name).long(name).value_name("N").default_value(default).value_parser(range).help(help)
    };
    let value_bytes = || number("value-bytes", "100", "Bytes of a value");
    let http = Command::new("http")
        .about("Serves a bare echo until it is killed: GET gives a value, PUT takes a body and answers 204")
        .arg(
            Arg::new("http")
                .long("http")
                .value_name("ADDR")
                .default_value("127.0.0.1:7479")
                .value_parser(value_parser!(SocketAddr))
                .help("Where it listens"),
        )
        .arg(number(
            "threads",
            "1",
            "Threads; more than one for two cores is slower where the load runs on them too",
        ))
        .arg(value_bytes());
    let disk = Command::new("disk")
        .about("Writes synced batches of read-modify-writes into a new database, and times fdatasync")
        .arg(
            Arg::new("data-dir")
                .long("data-dir")
                .value_name("DIR")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("A directory that does not exist or is empty; it is left with what was written"),
        )
        .arg(value_bytes())
        .arg(number("keys", "100000", "Different keys"))
        .arg(number("batch", "64", "Writes in one batch, which is synced by itself"))
        .arg(number("seconds", "4", "How long it writes"))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON"));
    Command::new("ceiling")
        .about("Measures what this machine gives at best, to set a node's figures beside it")
        .hide(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([http, disk])
        .after_help("Examples:\n  meridian ceiling http --http 127.0.0.1:7479\n  meridian ceiling disk --data-dir ./ceiling")
}

/// Measures, or serves until it is killed.
///
/// # Errors
/// When the system or the database fails.
pub fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let (which, matches) = matches.subcommand().expect("clap requires one");
    let number = |name: &str| *matches.get_one::<u32>(name).expect("it has a default");
    if which == "http" {
        let address = *matches.get_one::<SocketAddr>("http").expect("it has a default");
        return http::serve(address, number("threads") as usize, number("value-bytes") as usize);
    }
    let work = disk::Work {
        keys: number("keys").into(),
        value_bytes: number("value-bytes") as usize,
        batch: number("batch").into(),
        duration: Duration::from_secs(number("seconds").into()),
    };
    let figures = disk::measure(matches.get_one::<PathBuf>("data-dir").expect("clap requires it"), work)?;
    let shown = match matches.get_flag("json") {
        true => serde_json::to_string(&figures)?,
        false => figures.to_string(),
    };
    Ok(writeln!(io::stdout(), "{shown}")?)
}
