//! The commands on one key: the words become a request (`request`), it is sent, and the answer is shown (`answer`).

mod answer;
mod commands;
mod request;

pub(super) use commands::commands;

use super::{CliError, Surroundings, connect};
use clap::ArgMatches;

/// Does what the words say.
pub(super) async fn run(
    name: &str,
    matches: &ArgMatches,
    mut around: Surroundings<'_>,
) -> Result<(), CliError> {
    let client = connect::client(matches, around.endpoints.as_ref())?;
    let call = request::call(name, matches, around.input)?;
    let answer = client.send(call.request).await?;
    let shown = answer::shown(call.shows, &call.place, &answer, around.style(matches))?;
    around.write(shown).map(|_| ())
}
