//! `GET /v1/kv/{bucket}`: the keys of a bucket, a page at a time.
//!
//! - A page is read from one published snapshot, on a thread beside the runtime's own: other requests do not wait for it. A few
//!   are read at once; further ones wait for their turn.
//! - It is written as JSON while it is read, and ends where the next entry would not fit. A first entry always fits.
//! - A cursor is bound to the bucket and to all that says what is listed and in which order; not to the length of pages, nor to
//!   whether they have values.

use super::answer::{Answer, Refused, with_body};
use super::kv::{ANSWER_TIME_MAX, CONSISTENCY, CONTEXT, JSON};
use super::shown::Shown as InJson;
use super::{App, request};
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use meridian_api::error::Code;
use meridian_api::kv::key64;
use meridian_core::cell::Type;
use meridian_core::listing::{Entry, Listed, Query, Shown};
use meridian_core::types::Failure;
use percent_encoding::percent_decode;
use serde::Serialize;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Entries of a page, unless it is said how many.
pub(super) const ENTRIES_USUAL: usize = 100;
/// Most entries of a page. More are refused.
const ENTRIES_MAX: usize = 1_000;
/// Most bytes of a page, but for what stands around its entries. Before the entry that goes beyond, it ends.
const PAGE_BYTES_MAX: usize = (1 << 20) - AROUND_BYTES_MAX;
/// What stands around the entries, the cursor above all: a key's bytes in base64.
const AROUND_BYTES_MAX: usize = 6 << 10;
/// Pages that are read at once. Further ones wait.
const PAGES_AT_ONCE: usize = 4;

/// The places for pages that are read at once.
#[derive(Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Places(Arc::new(Semaphore::new(PAGES_AT_ONCE)))
    }
}

/// Answers a request for a page.
///
/// # Errors
/// 400 for parameters and cursors that are not right, 503 when the node cannot list now.
pub(super) async fn respond(app: &App, parts: &Parts, bucket: &str) -> Result<Answer, Refused> {
    if parts.headers.contains_key(CONTEXT) {
        return Err(Refused::new(Code::UnknownParameter, "Meridian-Context is for keys, not for listings"));
    }
    let asked = parameters(parts.uri.query().unwrap_or_default())?;
    let bucket = request::bucket(bucket)?;
    let mut query = asked.query;
    let bound = bound(&query);
    if let Some(cursor) = asked.cursor {
        let opened = app.tokens.open_cursor(&bucket, &bound, &cursor);
        query.after = Some(opened.map_err(|bad| Refused::new(Code::BadToken, bad.to_string()))?);
    }
    let (door, tokens) = (app.door.clone(), app.tokens.clone());
    let body = beside(app, move || {
        let mut page = Page::default();
        let next = door.list(&bucket, &query, &mut |entry| page.take(&entry))?;
        let next = next.map(|next| tokens.cursor(&bucket, &bound, &next));
        Ok(page.written(query.delimiter.is_some(), next))
    });
    let mut answer = with_body(StatusCode::OK, JSON, app.budget.counted(body.await?)?);
    answer.headers_mut().insert(CONSISTENCY, HeaderValue::from_static("local"));
    Ok(answer)
}

/// Reads a page on a thread beside the runtime's own, when there is a place for it.
///
/// # Errors
/// 503 when there is none, and what the reading finds.
pub(super) async fn beside<T: Send + 'static>(
    app: &App,
    read: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Refused> {
    let overloaded = || Refused::new(Code::Overloaded, "too many listings wait: try again, or another node");
    let place = timeout(ANSWER_TIME_MAX, app.listings.0.clone().acquire_owned()).await;
    let place = place.map_err(|_| overloaded())?.expect("places are never closed");
    let reading = tokio::task::spawn_blocking(move || {
        let _place = place;
        read()
    });
    match reading.await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(Failure::Refused(refusal))) => Err(refusal.into()),
        Ok(Err(Failure::Storage(error))) => Err(failed(&error)),
        Err(panicked) => Err(failed(&panicked)),
    }
}

fn failed(why: &dyn fmt::Display) -> Refused {
    tracing::error!("a listing failed: {why}");
    Refused::new(Code::Internal, "the listing failed: the node's log says how")
}

// -- the parameters -------------------------------------------------------------------------------------------------------

/// What a request's parameters say.
#[derive(Debug)]
pub(super) struct Asked {
    query: Query,
    cursor: Option<Vec<u8>>,
}

pub(super) fn parameters(text: &str) -> Result<Asked, Refused> {
    let mut query = Query { limit: ENTRIES_USUAL, ..Query::default() };
    let (mut cursor, mut seen) = (None, Vec::new());
    for (name, value) in text.split('&').filter(|pair| !pair.is_empty()).map(parameter) {
        // A bound is given once, whichever way.
        let what = name.strip_suffix("64").unwrap_or(&name).to_string();
        if seen.contains(&what) {
            return Err(invalid(format!("?{what}= is given twice")));
        }
        match &name[..] {
            "prefix" => query.prefix = text_of(&name, value)?,
            "start" => query.start = text_of(&name, value)?,
            "end" => query.end = Some(not_empty(&name, text_of(&name, value)?)?),
            "prefix64" => query.prefix = bytes_of(&name, &value)?,
            "start64" => query.start = bytes_of(&name, &value)?,
            "end64" => query.end = Some(not_empty(&name, bytes_of(&name, &value)?)?),
            "limit" => query.limit = limit(&value)?,
            "cursor" => cursor = Some(value),
            "reverse" => query.reverse = truth(&name, &value)?,
            "delimiter" => query.delimiter = Some(not_empty(&name, text_of(&name, value)?)?),
            "values" => query.values = truth(&name, &value)?,
            "consistency" => request::consistency(&String::from_utf8_lossy(&value))?,
            "timeout" | "max_staleness" => return Err(request::absent(&format!("?{name}="))),
            _ => {
                let known = "a listing's are prefix, start, end, the same with 64, limit, cursor, reverse, delimiter, values and consistency";
                let detail = format!("there is no parameter ?{name}= ({known})");
                return Err(Refused::new(Code::UnknownParameter, detail));
            }
        }
        seen.push(what);
    }
    Ok(Asked { query, cursor })
}

/// A parameter's name and value, as bytes: what is not UTF-8 is to be told from what was.
fn parameter(pair: &str) -> (String, Vec<u8>) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let decoded = |text: &str| -> Vec<u8> { percent_decode(text.replace('+', " ").as_bytes()).collect() };
    (String::from_utf8_lossy(&decoded(name)).into_owned(), decoded(value))
}

fn invalid(detail: impl Into<String>) -> Refused {
    Refused::new(Code::InvalidParameter, detail)
}

fn text_of(name: &str, value: Vec<u8>) -> Result<Vec<u8>, Refused> {
    match str::from_utf8(&value) {
        Ok(_) => Ok(value),
        Err(_) if name == "delimiter" => Err(invalid("a delimiter is UTF-8")),
        Err(_) => Err(invalid(format!("?{name}= is UTF-8: send any other bytes as ?{name}64="))),
    }
}

fn bytes_of(name: &str, value: &[u8]) -> Result<Vec<u8>, Refused> {
    let decoded = URL_SAFE_NO_PAD.decode(value).or_else(|_| URL_SAFE.decode(value));
    decoded.map_err(|_| invalid(format!("{name} is base64url: A-Z a-z 0-9 - _")))
}

fn not_empty(name: &str, value: Vec<u8>) -> Result<Vec<u8>, Refused> {
    match value.is_empty() {
        true => Err(invalid(format!("?{name}= has at least one byte: leave it out to go without"))),
        false => Ok(value),
    }
}

/// How many entries a page has at most.
///
/// # Errors
/// 400 for what is not 1 to 1,000.
pub(super) fn limit(value: &[u8]) -> Result<usize, Refused> {
    let digits = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let limit = digits.and_then(|text| text.parse().ok()).filter(|limit| (1..=ENTRIES_MAX).contains(limit));
    limit.ok_or_else(|| invalid("limit is 1 to 1000: further keys are on the next page"))
}

fn truth(name: &str, value: &[u8]) -> Result<bool, Refused> {
    match value {
        b"true" => Ok(true),
        b"false" => Ok(false),
        _ => Err(invalid(format!("{name} is true or false"))),
    }
}

/// What a cursor is bound to beside the bucket.
fn bound(query: &Query) -> Vec<u8> {
    let Query { prefix, start, end, delimiter, reverse, .. } = query;
    let mut bound = vec![u8::from(*reverse)];
    // An end and a delimiter have bytes, where there is one.
    for part in [Some(prefix), Some(start), end.as_ref(), delimiter.as_ref()] {
        let part = part.map_or(&[][..], |part| part);
        bound.extend((part.len() as u64).to_be_bytes());
        bound.extend_from_slice(part);
    }
    bound
}

// -- the page -------------------------------------------------------------------------------------------------------------

/// A page on its way: lists of JSON without what stands around them.
#[derive(Default)]
struct Page {
    keys: Vec<u8>,
    prefixes: Vec<u8>,
    prefixes64: Vec<u8>,
}

#[derive(Serialize)]
struct KeyView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// In place of a key that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    key64: Option<String>,
    #[serde(rename = "type")]
    key_type: &'static str,
    /// In place of one type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<InJson<'a>>,
    /// In place of a value that has too many members.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    page_required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

fn key_view(listed: &Listed) -> KeyView<'_> {
    let Listed { key, types, register, value } = listed;
    let text = str::from_utf8(key.as_bytes()).ok();
    let (key_type, types) = match &types[..] {
        [is] => (is.as_str(), Vec::new()),
        several => ("conflict", several.iter().copied().map(Type::as_str).collect()),
    };
    KeyView {
        key: text,
        key64: text.is_none().then(|| key64(key.as_bytes())),
        key_type,
        types,
        value: match value {
            Shown::Value(value) => Some(InJson(value)),
            Shown::Nothing | Shown::PageRequired => None,
        },
        page_required: *value == Shown::PageRequired,
        content_type: register.as_ref().map(|(content_type, _)| content_type.as_str()),
        bytes: register.as_ref().map(|(_, bytes)| *bytes),
    }
}

impl Page {
    /// Writes an entry down if it fits, or is the first.
    fn take(&mut self, entry: &Entry) -> ControlFlow<()> {
        let written = match entry {
            Entry::Key(listed) => serde_json::to_vec(&key_view(listed)),
            Entry::Prefix(prefix) => match str::from_utf8(prefix) {
                Ok(prefix) => serde_json::to_vec(prefix),
                Err(_) => serde_json::to_vec(&key64(prefix)),
            },
        };
        let written = written.expect("plain data and checked JSON can be written");
        let bytes = self.keys.len() + self.prefixes.len() + self.prefixes64.len();
        if bytes > 0 && bytes + written.len() >= PAGE_BYTES_MAX {
            return ControlFlow::Break(());
        }
        let list = match entry {
            Entry::Key(_) => &mut self.keys,
            Entry::Prefix(prefix) if str::from_utf8(prefix).is_ok() => &mut self.prefixes,
            Entry::Prefix(_) => &mut self.prefixes64,
        };
        if !list.is_empty() {
            list.push(b',');
        }
        list.extend(written);
        ControlFlow::Continue(())
    }

    /// The whole answer.
    fn written(self, delimited: bool, next: Option<String>) -> Vec<u8> {
        let Page { keys, prefixes, prefixes64 } = self;
        let mut body = [br#"{"keys":["#, &keys[..], b"]"].concat();
        let mut add = |name: &str, list: &[u8]| {
            body.extend([format!(r#","{name}":["#).as_bytes(), list, b"]"].concat());
        };
        if delimited {
            add("prefixes", &prefixes);
        }
        if !prefixes64.is_empty() {
            add("prefixes64", &prefixes64);
        }
        if let Some(next) = next {
            body.extend(format!(r#","next":"{next}""#).as_bytes());
        }
        body.push(b'}');
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_or_refused() {
        let of =
            |text: &str| parameters(text).map(|asked| asked.query).map_err(|refused| refused.problem.code);
        let all = of("prefix=a%2Fb+c&start64=_w&end=%C3%BC&limit=7&reverse=true&delimiter=%2F&values=true");
        let expected = Query {
            prefix: b"a/b c".to_vec(),
            start: vec![0xff],
            end: Some("ü".into()),
            delimiter: Some(b"/".to_vec()),
            reverse: true,
            values: true,
            limit: 7,
            after: None,
        };
        assert_eq!(all, Ok(expected));
        assert_eq!(of("").map(|query| query.limit), Ok(100));
        assert!(of("prefix=&start=&consistency=local&limit=1000&reverse=false").is_ok());
        for text in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=+1",
            "limit=",
            "limit=x",
            "reverse=1",
            "values=yes",
            "delimiter=",
            "end=",
            "prefix=%ff",
            "delimiter=%ff",
            "start64=!",
            "prefix=a&prefix64=YQ",
            "limit=1&limit=1",
            "consistency=most",
        ] {
            assert_eq!(of(text), Err(Code::InvalidParameter), "{text}");
        }
        for text in ["prefx=a", "type=set", "delimiter64=Lw", "limit64=1", "=x", "overwrite=true"] {
            assert_eq!(of(text), Err(Code::UnknownParameter), "{text}");
        }
        assert_eq!(of("timeout=1s"), Err(Code::NotAvailable));
        assert_eq!(of("consistency=quorum"), Err(Code::NotAvailable));
    }

    #[test]
    fn a_cursor_is_bound_to_all_that_says_what_is_listed() {
        let of = |text: &str| bound(&parameters(text).expect("good parameters").query);
        let all = ["", "prefix=a", "start=a", "end=a", "delimiter=a", "reverse=true", "prefix=a&start=a"];
        for (place, text) in all.into_iter().enumerate() {
            assert!(all[..place].iter().all(|other| of(other) != of(text)), "{text}");
        }
        assert_eq!(of("prefix=a"), of("prefix64=YQ&limit=3&values=true&reverse=false"));
    }
}
