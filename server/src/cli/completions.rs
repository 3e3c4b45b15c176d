//! `meridian completions`: what a shell reads to complete this command line. Asks no node.

use super::args::one;
use super::{CliError, Surroundings};
use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

/// The command.
pub(super) fn command() -> Command {
    let shell = Arg::new("SHELL")
        .required(true)
        .help("The shell that is to complete")
        .value_parser(value_parser!(Shell));
    Command::new("completions")
        .about("Writes what a shell needs to complete this command line")
        .arg(shell)
        .after_help(
            "Examples:\n  \
         meridian completions bash > ~/.local/share/bash-completion/completions/meridian\n  \
         meridian completions zsh > \"${fpath[1]}/_meridian\"\n  \
         meridian completions fish > ~/.config/fish/completions/meridian.fish",
        )
}

/// Writes them.
pub(super) fn run(matches: &ArgMatches, mut around: Surroundings<'_>) -> Result<(), CliError> {
    let shell = one::<Shell>(matches, "SHELL").expect("clap requires it");
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "meridian", &mut script);
    around.write(script).map(|_| ())
}
