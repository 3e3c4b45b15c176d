//! What a client command shows of its answer: one line of JSON for a program, the plain value for a person.

use super::client::Answer;
use super::verb::{Place, Shows};
use super::{CliError, harmless};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use meridian_api::kv::key64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How deep a value may be nested to be embedded in JSON as what it is. A deeper one is shown as a string.
const DEPTH_MAX: usize = 128;

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
    value: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
}

/// A value within JSON: itself where it is JSON, a string where it is UTF-8, else base64.
#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Json(&'a RawValue),
    Text(&'a str),
    Bytes { base64: String },
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
            value: Some(value(answer)),
            content_type: answer.content_type.as_deref(),
            context,
            ..named
        },
        Shows::Done => Line { ok: Some(true), context, ..named },
        Shows::Number => Line { value: Some(Value::Json(number(answer)?)), ..named },
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

fn value(answer: &Answer) -> Value<'_> {
    let Ok(text) = str::from_utf8(&answer.body) else {
        return Value::Bytes { base64: BASE64_STANDARD.encode(&answer.body) };
    };
    let is_json = answer.content_type.as_deref().is_some_and(is_json);
    match serde_json::from_str::<&RawValue>(text) {
        Ok(json) if is_json && depth(text) <= DEPTH_MAX => Value::Json(json),
        _ => Value::Text(text),
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// How deep arrays and objects are nested in what is known to be JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_what_is_nested_outside_strings() {
        for (json, deep) in
            [("1", 0), ("[]", 1), ("[[],{\"a\":[1]}]", 3), (r#"["[[\"[{"]"#, 1), (r#"{"\\":[]}"#, 2)]
        {
            assert_eq!(depth(json), deep, "{json}");
        }
    }

    #[test]
    fn a_content_type_is_json_or_not() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert!(is_json(json), "{json}");
        }
        for other in ["text/plain", "application/jsonp", "application/json-seq", ""] {
            assert!(!is_json(other), "{other}");
        }
    }

    #[test]
    fn only_json_that_is_not_too_deep_is_embedded() {
        let shown = |body: &[u8], content_type: &str| {
            let content_type = Some(content_type.to_owned());
            let answer = Answer { content_type, context: None, kind: None, body: body.to_vec() };
            serde_json::to_string(&value(&answer)).unwrap()
        };
        assert_eq!(shown(b" {\"n\": 1.00e2}\n", "application/json"), "{\"n\": 1.00e2}");
        assert_eq!(shown(b"12345678901234567890123", "application/json"), "12345678901234567890123");
        assert_eq!(shown(b"{\"n\":1}", "text/plain"), "\"{\\\"n\\\":1}\"");
        assert_eq!(shown(b"{broken", "application/json"), "\"{broken\"");
        assert_eq!(shown(b"", "application/json"), "\"\"");
        assert_eq!(shown(b"\xff", "application/json"), "{\"base64\":\"/w==\"}");
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(shown(nested(128).as_bytes(), "application/json"), nested(128));
        assert_eq!(shown(nested(129).as_bytes(), "application/json"), format!("\"{}\"", nested(129)));
    }
}
