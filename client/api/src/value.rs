//! A value within a JSON answer: what stands for a register's bytes where the answer is more than they.
//!
//! - What its writer says is JSON, and is, is embedded as it stands: its numbers keep their text.
//! - What is UTF-8 is a string, and anything else `{"base64":"…"}`.
//!
//! The content type stands beside it, so that a string that was put as JSON is told from a text.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

/// How deep a value may be nested to be embedded in JSON as what it is. A deeper one is shown as a string.
pub const DEPTH_MAX: usize = 128;

/// A value within JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Embedded<'a> {
    /// Itself.
    Json(&'a RawValue),
    /// A text, or JSON that is broken or too deep.
    Text(&'a str),
    /// Any other bytes.
    Bytes {
        /// The bytes, in the standard alphabet with padding.
        base64: String,
    },
}

impl<'a> Embedded<'a> {
    /// How bytes of this type are shown; without a type they are no JSON.
    pub fn of(content_type: Option<&str>, bytes: &'a [u8]) -> Self {
        let Ok(text) = str::from_utf8(bytes) else {
            return Embedded::Bytes { base64: BASE64_STANDARD.encode(bytes) };
        };
        if !content_type.is_some_and(is_json) || depth(text) > DEPTH_MAX {
            return Embedded::Text(text);
        }
        serde_json::from_str(text).map_or(Embedded::Text(text), Embedded::Json)
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// How deep arrays and objects are nested in what may be JSON.
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
        let shown = |bytes: &[u8], content_type: &str| {
            serde_json::to_string(&Embedded::of(Some(content_type), bytes)).expect("it can be written")
        };
        assert_eq!(shown(b" {\"n\": 1.00e2}\n", "application/json"), "{\"n\": 1.00e2}");
        assert_eq!(shown(b"12345678901234567890123", "application/json"), "12345678901234567890123");
        assert_eq!(shown(b"{\"n\":1}", "text/plain"), "\"{\\\"n\\\":1}\"");
        assert_eq!(shown(b"{broken", "application/json"), "\"{broken\"");
        assert_eq!(shown(b"1 2", "application/json"), "\"1 2\"");
        assert_eq!(shown(b"", "application/json"), "\"\"");
        assert_eq!(shown(b"\xff", "application/json"), "{\"base64\":\"/w==\"}");
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(shown(nested(128).as_bytes(), "application/json"), nested(128));
        assert_eq!(shown(nested(129).as_bytes(), "application/json"), format!("\"{}\"", nested(129)));
        assert!(matches!(Embedded::of(None, b"1"), Embedded::Text("1")), "nobody says that it is JSON");
    }
}
