//! `/v1/kv/{bucket}/{key…}`: from a request to the core's operation, and from its reply to an answer.

use super::answer::{Answer, Refused, no_content, with_body};
use super::body::{self, Share};
use super::{App, listing, operations, reading, request};
use crate::door::AskError;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use meridian_api::error::Code;
use meridian_api::header;
use meridian_core::cell::Type;
use meridian_core::context::Context;
use meridian_core::name::{Bucket, ContentType, Key};
use meridian_core::node::{Operation, Reply, Request};
use meridian_core::replica::read::{Found, ReadRequest};
use meridian_core::replica::write::{Write, WriteRequest, Written};
use meridian_core::types::set::SetChange;
use std::time::Duration;
use tokio::time::timeout;

/// The longest body of a POST. A longer one is refused.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// How long an answer may take. Then the client is told that the outcome is unknown.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
const METHODS: &str = "GET, HEAD, PUT, POST, DELETE";
pub(super) const JSON: &str = "application/json";

pub(super) const CONTEXT: HeaderName = HeaderName::from_static(header::CONTEXT);
pub(super) const KEY_TYPE: HeaderName = HeaderName::from_static(header::TYPE);
pub(super) const CONSISTENCY: HeaderName = HeaderName::from_static(header::CONSISTENCY);
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A request for a key, as far as its head says it.
pub(super) struct Asked {
    pub(super) bucket: Bucket,
    pub(super) key: Key,
    pub(super) named: Option<Type>,
    context: Option<Context>,
    overwrites: bool,
}

impl Asked {
    /// A request that says nothing more.
    pub(super) fn of(bucket: Bucket, key: Key) -> Asked {
        Asked { bucket, key, named: None, context: None, overwrites: false }
    }
}

/// Answers a request for a key.
pub(super) async fn handle(
    app: &App,
    parts: &Parts,
    bucket: &str,
    key: Option<&str>,
    body: Incoming,
) -> Answer {
    respond(app, parts, bucket, key, body).await.unwrap_or_else(Answer::from)
}

async fn respond(
    app: &App,
    parts: &Parts,
    bucket: &str,
    key: Option<&str>,
    body: Incoming,
) -> Result<Answer, Refused> {
    let method = &parts.method;
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if reads && key.is_none() && !request::has_key64(&parts.uri) {
        return listing::respond(app, parts, bucket).await;
    }
    let parameters = request::parameters(&parts.uri)?;
    parameters.check_method(method)?;
    let (bucket, key) = request::names(bucket, key, parameters.key64)?;
    let context = given_context(app, &parts.headers, &bucket, &key)?;
    let overwrites = parameters.overwrites.unwrap_or_default();
    let asked = Asked { bucket, key, named: parameters.named, context, overwrites };
    match *method {
        Method::GET | Method::HEAD => reading::respond(app, &parts.headers, &asked, parameters.part).await,
        Method::PUT => put(app, &parts.headers, asked, body).await,
        Method::POST => post(app, &parts.headers, asked, body).await,
        Method::DELETE => {
            let (_, context) = write(app, &asked, Write::Delete).await?;
            Ok(with_context(app, &asked, &context, no_content()))
        }
        Method::PATCH => Err(request::absent("PATCH: the type json")),
        _ => Err(Refused::method(METHODS)),
    }
}

fn given_context(
    app: &App,
    headers: &HeaderMap,
    bucket: &Bucket,
    key: &Key,
) -> Result<Option<Context>, Refused> {
    let mut tokens = headers.get_all(CONTEXT).iter();
    let Some(token) = tokens.next() else { return Ok(None) };
    if tokens.next().is_some() {
        return Err(Refused::new(Code::InvalidParameter, "a request has one Meridian-Context"));
    }
    let opened = app.tokens.open_context(bucket, key, token.as_bytes());
    opened.map(Some).map_err(|bad| Refused::new(Code::BadToken, bad.to_string()))
}

/// Reads a key, or a part of it.
///
/// # Errors
/// The node's refusals, and 503 and 504 where it does not answer.
pub(super) async fn read(app: &App, asked: &Asked, request: &ReadRequest) -> Result<Found, Refused> {
    if let Some(found) = app.door.read(&asked.bucket, &asked.key, request)? {
        return Ok(found);
    }
    // A row is damaged. The node will find the same, and take the replica out of service.
    match ask(app, asked, Operation::Read(request.clone())).await? {
        Reply::Read(found) => Ok(found),
        Reply::Refused(refusal) => Err(refusal.into()),
        Reply::Written { .. } => unreachable!("a read is answered by a read"),
    }
}

/// What every answer says that was read or written: what is now seen of the key, and the level that was achieved.
pub(super) fn with_context(app: &App, asked: &Asked, context: &Context, mut answer: Answer) -> Answer {
    let token = app.tokens.context(&asked.bucket, &asked.key, context);
    let token = HeaderValue::from_maybe_shared(Bytes::from(token)).expect("base64url is ASCII");
    answer.headers_mut().insert(CONTEXT, token);
    answer.headers_mut().insert(CONSISTENCY, HeaderValue::from_static("local"));
    answer
}

// -- writing -------------------------------------------------------------------------------------------------------------

async fn put(app: &App, headers: &HeaderMap, asked: Asked, body: Incoming) -> Result<Answer, Refused> {
    may_write(app)?;
    let declared = declared_type(headers)?;
    let (body, _share) = take_body(app, body, app.limits.value_bytes_max, Code::ValueTooLarge).await?;
    let content_type = declared.unwrap_or_else(|| {
        let guess = if str::from_utf8(&body).is_ok() {
            "text/plain; charset=utf-8"
        } else {
            "application/octet-stream"
        };
        ContentType::new(guess).expect("a content type")
    });
    let (written, context) = write(app, &asked, Write::Put { content_type, value: body.into() }).await?;
    Ok(with_context(app, &asked, &context, written_answer(written)))
}

/// What the client says that the bytes are; `None` where it says nothing, or what curl says by itself.
fn declared_type(headers: &HeaderMap) -> Result<Option<ContentType>, Refused> {
    let Some(declared) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let declared = String::from_utf8_lossy(declared.as_bytes());
    let curls_own = declared.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    if curls_own || declared.is_empty() { Ok(None) } else { Ok(Some(ContentType::new(&declared)?)) }
}

async fn post(app: &App, headers: &HeaderMap, asked: Asked, body: Incoming) -> Result<Answer, Refused> {
    may_write(app)?;
    let prefers = preference(headers);
    let (body, _share) = take_body(app, body, REQUEST_BYTES_MAX, Code::RequestTooLarge).await?;
    let operation = operations::parse(&body)?;
    check_values(app, &operation)?;
    let (written, context) = write(app, &asked, operation).await?;
    let shows = match (prefers, written) {
        (Some(Preference::Minimal), _) => {
            return Ok(with_context(app, &asked, &context, preferred(no_content(), "return=minimal")));
        }
        (Some(Preference::Representation), _) | (None, Written::Put(_)) => true,
        (None, _) => false,
    };
    if shows
        && let Ok(Found { value: Some(value), context, .. }) =
            read(app, &asked, &ReadRequest::whole(asked.named)).await
    {
        let answer = reading::value_answer(app, value).map_err(Refused::applied)?;
        let answer = if prefers.is_some() { preferred(answer, "return=representation") } else { answer };
        return Ok(with_context(app, &asked, &context, answer));
    }
    // What changed is told, also where the value cannot be shown whole, or is gone by now.
    Ok(with_context(app, &asked, &context, written_answer(written)))
}

/// Refuses values that are longer than the setting allows.
fn check_values(app: &App, write: &Write) -> Result<(), Refused> {
    match write {
        Write::Put { value, .. } if value.len() > app.limits.value_bytes_max => {
            let detail = format!("a value has at most {} bytes", app.limits.value_bytes_max);
            Err(Refused::new(Code::ValueTooLarge, detail))
        }
        Write::Map(ops) => ops.iter().try_for_each(|op| check_values(app, &op.write)),
        _ => Ok(()),
    }
}

/// What a write answers by itself.
fn written_answer(written: Written) -> Answer {
    let (key_type, body) = match written {
        Written::Done => return no_content(),
        Written::Put(key_type) => return typed(no_content(), key_type),
        Written::Counter(sum) => (Type::Counter, sum.to_string()),
        Written::Set(SetChange { added, removed, more }) => {
            let more = if more { r#","more":true"# } else { "" };
            (Type::Set, format!(r#"{{"added":{added},"removed":{removed}{more}}}"#))
        }
        Written::Flag(enabled) => (Type::Flag, enabled.to_string()),
        Written::Extremum(key_type, number) => (key_type, number.to_string()),
        Written::Map(changed) => (Type::Map, format!(r#"{{"changed":{changed}}}"#)),
    };
    typed(with_body(StatusCode::OK, JSON, body), key_type)
}

fn typed(mut answer: Answer, key_type: Type) -> Answer {
    answer.headers_mut().insert(KEY_TYPE, HeaderValue::from_static(key_type.as_str()));
    answer
}

/// What a client would like to get back (RFC 7240).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Preference {
    Representation,
    Minimal,
}

/// The first preference that is known. Others may be ignored, says the RFC.
fn preference(headers: &HeaderMap) -> Option<Preference> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut wishes =
        values.flat_map(|value| value.split(',')).map(|wish| wish.split(';').next().unwrap_or_default());
    wishes.find_map(|wish| {
        let (name, value) = wish.split_once('=')?;
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        match (name.trim(), bare) {
            ("return", "representation") => Some(Preference::Representation),
            ("return", "minimal") => Some(Preference::Minimal),
            _ => None,
        }
    })
}

fn preferred(mut answer: Answer, applied: &'static str) -> Answer {
    answer.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static(applied));
    answer
}

/// Reads a request's body of at most so many bytes.
///
/// # Errors
/// As [`body::read`].
pub(super) async fn take_body(
    app: &App,
    body: Incoming,
    bytes_max: usize,
    too_large: Code,
) -> Result<(Bytes, Share), Refused> {
    body::read(body, bytes_max, too_large, app.limits.body_time_max, &app.budget).await
}

/// Refuses a write before its body is read, when the disk is nearly full.
///
/// # Errors
/// 507.
pub(super) fn may_write(app: &App) -> Result<(), Refused> {
    match app.door.has_room() {
        true => Ok(()),
        false => Err(Refused::new(
            Code::DiskFull,
            "the disk is nearly full, and writes are refused until there is room: free some, or write at another node",
        )),
    }
}

/// Writes a key.
///
/// # Errors
/// The node's refusals, 507, and 503 and 504 where it does not answer.
pub(super) async fn write(app: &App, asked: &Asked, write: Write) -> Result<(Written, Context), Refused> {
    may_write(app)?;
    let Asked { named, context, overwrites, .. } = asked;
    let (named, context, overwrites) = (*named, context.clone(), *overwrites);
    let request = WriteRequest { write, named, context, overwrites };
    match ask(app, asked, Operation::Write(request)).await? {
        Reply::Written { written, context } => Ok((written, context)),
        Reply::Refused(refusal) => Err(refusal.into()),
        Reply::Read(_) => unreachable!("a write is answered by a write"),
    }
}

async fn ask(app: &App, asked: &Asked, operation: Operation) -> Result<Reply, Refused> {
    let request = Request { bucket: asked.bucket.clone(), key: asked.key.clone(), operation };
    let unknown = "it may have been done, or may be yet: read the key to find out";
    match timeout(ANSWER_TIME_MAX, app.door.ask(request)).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(AskError::Full)) => {
            Err(Refused::new(Code::Overloaded, "too many requests wait: try again, or another node"))
        }
        Ok(Err(AskError::Stopped)) => Err(Refused::new(Code::NotReady, "the node is stopping: try another")),
        Ok(Err(AskError::Unknown)) => {
            Err(Refused::new(Code::OutcomeUnknown, format!("the node stopped: {unknown}")))
        }
        Err(_) => Err(Refused::new(Code::OutcomeUnknown, format!("the disk does not answer: {unknown}"))),
    }
}
