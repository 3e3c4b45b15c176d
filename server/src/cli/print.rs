//! What a client command shows of its answer: one line of JSON for a program, the plain value for a person.

use super::client::Answer;
use super::verb::{Place, Shows};
use super::{CliError, harmless};
use meridian_api::kv::key64;
use meridian_api::value::Embedded;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A program.
    Json,
    /// A person at a terminal.
    Plain,
}

/// What goes to standard output.
///
/// # Errors
/// The answer is not one that a node gives to such a request.
pub(super) fn shown(shows: Shows, place: &Place, answer: &Answer, style: Style) -> Result<Vec<u8>, CliError> {
    if shows == Shows::Bytes {
        return Ok(answer.body.clone());
    }
    let mut text = match style {
        Style::Json => line(shows, place, answer)?,
        Style::Plain => plain(shows, answer)?,
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text.into_bytes())
}

/// A line of JSON. A key that is not UTF-8 is a bucket and a `key64`.
#[derive(Default, Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<bool>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Embedded<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
}

/// A node's answer to a change of a set.
#[derive(Deserialize)]
struct Changes {
    added: u64,
    removed: u64,
}

fn line(shows: Shows, place: &Place, answer: &Answer) -> Result<String, CliError> {
    let named = named(place);
    let context = answer.context.as_deref();
    let line = match shows {
        Shows::Value | Shows::Bytes => Line {
            kind: answer.kind.as_deref(),
            value: Some(Embedded::of(answer.content_type.as_deref(), &answer.body)),
            content_type: answer.content_type.as_deref(),
            context,
            ..named
        },
        Shows::Done => Line { ok: Some(true), context, ..named },
        Shows::Number => Line { value: Some(Embedded::Json(number(answer)?)), ..named },
        Shows::Changes => {
            let changes = changes(answer)?;
            Line { added: Some(changes.added), removed: Some(changes.removed), ..named }
        }
    };
    Ok(serde_json::to_string(&line).expect("strings, numbers and checked JSON can be written"))
}

fn plain(shows: Shows, answer: &Answer) -> Result<String, CliError> {
    Ok(match shows {
        Shows::Value | Shows::Bytes => match str::from_utf8(&answer.body) {
            Ok(text) => harmless(text),
            Err(_) => format!("{} bytes that are not text: --raw writes them", answer.body.len()),
        },
        Shows::Done => "ok".into(),
        Shows::Number => number(answer)?.get().into(),
        Shows::Changes => {
            let changes = changes(answer)?;
            format!("added {}, removed {}", changes.added, changes.removed)
        }
    })
}

fn named(place: &Place) -> Line<'_> {
    let bucket = place.bucket.as_str();
    match str::from_utf8(place.key.as_bytes()) {
        Ok(key) => Line { key: Some(format!("{bucket}/{key}")), ..Line::default() },
        Err(_) => Line { bucket: Some(bucket), key64: Some(key64(place.key.as_bytes())), ..Line::default() },
    }
}

fn number(answer: &Answer) -> Result<&RawValue, CliError> {
    let number = serde_json::from_slice::<&RawValue>(&answer.body).ok();
    let is_number = |json: &&RawValue| serde_json::from_str::<i128>(json.get()).is_ok();
    number.filter(is_number).ok_or_else(|| strange("a number"))
}

fn changes(answer: &Answer) -> Result<Changes, CliError> {
    serde_json::from_slice(&answer.body).map_err(|_| strange("what was added and removed"))
}

fn strange(wanted: &str) -> CliError {
    CliError::Failed(format!("it was done, but the answer is not {wanted}: is this a Meridian node?"))
}
