//! What a client command shows of its answer: one line of JSON for a program, the plain value for a person.

use super::request::Shows;
use crate::cli::CliError;
use crate::cli::args::Place;
use crate::cli::terminal::{Style, harmless, on_one_line};
use meridian_api::header;
use meridian_api::kv::key64;
use meridian_api::value::Embedded;
use meridian_client::Answer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What goes to standard output.
///
/// # Errors
/// The answer is not one that a node gives to such a request.
pub(super) fn shown(shows: Shows, place: &Place, answer: &Answer, style: Style) -> Result<Vec<u8>, CliError> {
    if shows == Shows::Bytes {
        return Ok(answer.body.to_vec());
    }
    let mut text = match style {
        Style::Json => on_one_line(&line(shows, place, answer)?),
        Style::Plain(_) => plain(shows, answer)?,
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
    changed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
}

/// A node's answer to a change of a set or of a map.
#[derive(Deserialize)]
#[serde(untagged)]
enum Changes {
    Members {
        added: u64,
        removed: u64,
        /// There were more than were counted.
        #[serde(default)]
        more: bool,
    },
    Fields {
        changed: u64,
    },
}

fn line(shows: Shows, place: &Place, answer: &Answer) -> Result<String, CliError> {
    let named = named(place);
    let (content_type, context) = (answer.header("content-type"), answer.header(header::CONTEXT));
    let line = match shows {
        Shows::Value | Shows::Bytes => Line {
            kind: answer.header(header::TYPE),
            value: Some(Embedded::of(content_type, &answer.body)),
            content_type,
            context,
            ..named
        },
        Shows::Done => Line { ok: Some(true), context, ..named },
        Shows::Number => Line { value: Some(Embedded::Json(number(answer)?)), ..named },
        Shows::Truth => Line { value: Some(Embedded::Json(truth(answer)?)), ..named },
        Shows::Answer => return Ok(json(answer)?.into()),
        Shows::Changes => match changes(answer)? {
            Changes::Members { added, removed, more } => {
                Line { added: Some(added), removed: Some(removed), more: more.then_some(true), ..named }
            }
            Changes::Fields { changed } => Line { changed: Some(changed), ..named },
        },
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
        Shows::Answer => harmless(&laid_out(json(answer)?)),
        Shows::Number => number(answer)?.get().into(),
        Shows::Truth => truth(answer)?.get().into(),
        Shows::Changes => match changes(answer)? {
            Changes::Members { added, removed, more } => {
                let more = if more { " and more" } else { "" };
                format!("added {added}, removed {removed}{more}")
            }
            Changes::Fields { changed } => format!("changed {changed}"),
        },
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
    let is_number = |json: &&RawValue| serde_json::from_str::<i128>(json.get()).is_ok();
    parsed(answer).filter(is_number).ok_or_else(|| strange("a number"))
}

fn truth(answer: &Answer) -> Result<&RawValue, CliError> {
    let is_truth = |json: &&RawValue| matches!(json.get(), "true" | "false");
    parsed(answer).filter(is_truth).ok_or_else(|| strange("true or false"))
}

fn changes(answer: &Answer) -> Result<Changes, CliError> {
    serde_json::from_slice(&answer.body).map_err(|_| strange("what was added, removed or changed"))
}

fn strange(wanted: &str) -> CliError {
    CliError::Failed(format!("it was done, but the answer is not {wanted}: is this a Meridian node?"))
}

/// The answer, which is JSON.
fn json(answer: &Answer) -> Result<&str, CliError> {
    parsed(answer).map(RawValue::get).ok_or_else(CliError::strange)
}

fn parsed(answer: &Answer) -> Option<&RawValue> {
    serde_json::from_slice(&answer.body).ok()
}

/// JSON with a line for each item, for a person. Numbers keep their text, and it may be nested as deep as it likes.
fn laid_out(json: &str) -> String {
    let (mut out, mut depth, mut quoted, mut escaped, mut empty) =
        (String::new(), 0_usize, false, false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    for letter in json.chars() {
        if quoted {
            quoted = letter != '"' || escaped;
            escaped = letter == '\\' && !escaped;
            out.push(letter);
            continue;
        }
        let closes = matches!(letter, ']' | '}');
        match letter {
            _ if letter.is_ascii_whitespace() => continue,
            _ if closes => {
                depth = depth.saturating_sub(1);
                if !empty {
                    line(&mut out, depth);
                }
            }
            _ if empty => line(&mut out, depth),
            _ => {}
        }
        out.push(letter);
        empty = matches!(letter, '[' | '{');
        depth += usize::from(empty);
        match letter {
            ',' => line(&mut out, depth),
            ':' => out.push(' '),
            _ => quoted = letter == '"',
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_as_it_is_meant() {
        let json = r#"{"a":[1.50, {"b" :"x\\\",[{: y\\"}],"c":{},"d":[ ],"e":[[]]}"#;
        let expected = r#"{
  "a": [
    1.50,
    {
      "b": "x\\\",[{: y\\"
    }
  ],
  "c": {},
  "d": [],
  "e": [
    []
  ]
}"#;
        assert_eq!(laid_out(json), expected);
        assert_eq!(laid_out("12345678901234567890123"), "12345678901234567890123");
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        assert_eq!(laid_out(&deep).replace(['\n', ' '], ""), deep);
    }
}
