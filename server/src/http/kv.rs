//! `/v1/kv/{bucket}/{key…}`: from a request to the core's operation, and from its reply to an answer.

use super::answer::{Answer, Refused, no_content, with_body};
use super::body::{self, Share};
use super::{App, operations, request};
use crate::driver::AskError;
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
use meridian_core::replica::read::Found;
use meridian_core::replica::write::{Write, WriteRequest, Written};
use meridian_core::types::Value;
use std::time::Duration;
use tokio::time::timeout;

/// The longest body of a POST. A longer one is refused.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// How long an answer may take. Then the client is told that the outcome is unknown.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
const METHODS: &str = "GET, HEAD, PUT, POST, DELETE";
const JSON: &str = "application/json";

const CONTEXT: HeaderName = HeaderName::from_static(header::CONTEXT);
const KEY_TYPE: HeaderName = HeaderName::from_static(header::TYPE);
const CONSISTENCY: HeaderName = HeaderName::from_static(header::CONSISTENCY);
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A request for a key, as far as its head says it.
struct Asked {
    bucket: Bucket,
    key: Key,
    named: Option<Type>,
    context: Option<Context>,
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
    let parameters = request::parameters(&parts.uri)?;
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if parameters.lists || (key.is_none() && parameters.key64.is_none() && reads) {
        return Err(request::absent("the listing of keys"));
    }
    let (bucket, key) = request::names(bucket, key, parameters.key64)?;
    let context = given_context(app, &parts.headers, &bucket, &key)?;
    let asked = Asked { bucket, key, named: parameters.named, context };
    match *method {
        Method::GET | Method::HEAD => {
            let found = read(app, &asked).await?;
            found_answer(app, &asked, found)
        }
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

// -- reading -------------------------------------------------------------------------------------------------------------

async fn read(app: &App, asked: &Asked) -> Result<Found, Refused> {
    let Asked { bucket, key, named, .. } = asked;
    if let Some(found) = app.door.read(bucket, key, *named)? {
        return Ok(found);
    }
    // A row is damaged. The node will find the same, and take the replica out of service.
    match ask(app, asked, Operation::Read { named: *named }).await? {
        Reply::Read(found) => Ok(found),
        Reply::Refused(refusal) => Err(refusal.into()),
        Reply::Written { .. } => unreachable!("a read is answered by a read"),
    }
}

fn found_answer(app: &App, asked: &Asked, found: Found) -> Result<Answer, Refused> {
    let Found { value, context } = found;
    let Some(value) = value else {
        let refused = Refused::new(Code::KeyNotFound, "there is no such key: a PUT or POST makes it");
        return Ok(with_context(app, asked, &context, refused.into()));
    };
    Ok(with_context(app, asked, &context, value_answer(app, value)?))
}

fn value_answer(app: &App, value: Value) -> Result<Answer, Refused> {
    let key_type = value.key_type();
    let (content_type, body) = match value {
        Value::Register { content_type, bytes } => (content_type, bytes),
        Value::Counter(sum) => (json(), sum.to_string().into_bytes()),
        Value::Set(members) => {
            let members: Vec<&str> = members.iter().map(|member| member.as_str()).collect();
            (json(), serde_json::to_vec(&members).expect("strings are plain data"))
        }
    };
    let mut answer = with_body(StatusCode::OK, content_type.as_str(), app.budget.counted(body)?);
    answer.headers_mut().insert(KEY_TYPE, HeaderValue::from_static(key_type.as_str()));
    Ok(answer)
}

fn json() -> ContentType {
    ContentType::new(JSON).expect("a content type")
}

/// What every answer says that was read or written: what is now seen of the key, and the level that was achieved.
fn with_context(app: &App, asked: &Asked, context: &Context, mut answer: Answer) -> Answer {
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
    let (_, context) = write(app, &asked, Write::Put { content_type, value: body.into() }).await?;
    let mut answer = no_content();
    answer.headers_mut().insert(KEY_TYPE, HeaderValue::from_static(Type::Register.as_str()));
    Ok(with_context(app, &asked, &context, answer))
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
    if let Write::Put { value, .. } = &operation
        && value.len() > app.limits.value_bytes_max
    {
        let detail = format!("a value has at most {} bytes", app.limits.value_bytes_max);
        return Err(Refused::new(Code::ValueTooLarge, detail));
    }
    let is_put = matches!(operation, Write::Put { .. });
    let (written, context) = write(app, &asked, operation).await?;
    let answer = match (prefers, written) {
        (Some(Preference::Minimal), _) => preferred(no_content(), "return=minimal"),
        (None, Written::Counter(sum)) => {
            typed(with_body(StatusCode::OK, JSON, sum.to_string()), Type::Counter)
        }
        (None, Written::Set(change)) if !is_put => set_changed(change.added, change.removed),
        (prefers, written) => match read(app, &asked).await {
            Ok(Found { value: Some(value), .. }) => {
                let answer = value_answer(app, value).map_err(Refused::applied)?;
                if prefers.is_some() { preferred(answer, "return=representation") } else { answer }
            }
            // It cannot be shown whole, or is gone by now: what changed is told instead.
            _ => match written {
                Written::Set(change) => set_changed(change.added, change.removed),
                Written::Counter(sum) => {
                    typed(with_body(StatusCode::OK, JSON, sum.to_string()), Type::Counter)
                }
                Written::Done => no_content(),
            },
        },
    };
    Ok(with_context(app, &asked, &context, answer))
}

fn set_changed(added: u64, removed: u64) -> Answer {
    let body = format!(r#"{{"added":{added},"removed":{removed}}}"#);
    typed(with_body(StatusCode::OK, JSON, body), Type::Set)
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

async fn take_body(
    app: &App,
    body: Incoming,
    bytes_max: usize,
    too_large: Code,
) -> Result<(Bytes, Share), Refused> {
    body::read(body, bytes_max, too_large, app.limits.body_time_max, &app.budget).await
}

/// Refuses a write before its body is read, when the disk is nearly full.
fn may_write(app: &App) -> Result<(), Refused> {
    match app.state.disk_is_full() {
        true => Err(Refused::new(
            Code::DiskFull,
            "the disk is nearly full, and writes are refused until there is room: free some, or write at another node",
        )),
        false => Ok(()),
    }
}

async fn write(app: &App, asked: &Asked, write: Write) -> Result<(Written, Context), Refused> {
    may_write(app)?;
    let request = WriteRequest { write, named: asked.named, context: asked.context.clone() };
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
