//! Sends one request to one node, over connections that are kept, and says exactly what became of it.
//!
//! What an attempt leaves behind is told by how far it came: without a connection nothing was sent; on one, whatever ends it
//! before the answer leaves open whether the request was applied; and an answer says so itself.

use crate::endpoint::Endpoint;
use crate::error::Kind;
use crate::request::{Answer, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{HeaderMap, Response};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use meridian_api::error::{Code, Outcome};
use serde::Deserialize;
use std::error::Error as _;
use std::time::Duration;
use tokio::time::Instant;

/// How long a connection is kept that nobody uses. Nodes end theirs after 75 s.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes: as many members as are read at once, with room.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The longest text of an answer that is no node's, in characters.
const TEXT_CHARS_MAX: usize = 400;

/// Connections to all nodes.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    user_agent: String,
}

/// What became of an attempt that did not succeed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// In words.
    pub(crate) what: String,
    pub(crate) outcome: Outcome,
    /// Another node may do it, or this one later.
    pub(crate) is_passing: bool,
    /// Others are to be asked before this node.
    pub(crate) is_down: bool,
    /// When the node wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
}

impl Transport {
    pub(crate) fn new(
        connect_time_max: Duration,
        connections_idle_max: usize,
        user_agent: String,
    ) -> Transport {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(connect_time_max));
        connector.set_nodelay(true);
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(connections_idle_max)
            .build(connector);
        Transport { http, user_agent }
    }

    /// Sends a request and takes the answer, until then.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        until: Instant,
    ) -> Result<Answer, Failure> {
        let mut http = self.http_request(endpoint, request).map_err(|why| invalid(&why))?;
        let connection = capture_connection(&mut http);
        let answered = tokio::time::timeout_at(until, self.http.request(http)).await;
        let was_reached = connection.connection_metadata().is_some();
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => return Err(unreached(&words(&error))),
            Ok(Err(error)) => return Err(unanswered(request, &words(&error))),
            Err(_) if was_reached => return Err(unanswered(request, "it does not answer in time")),
            Err(_) => return Err(unreached("no connection in time")),
        };
        take(endpoint, request, response, until).await
    }

    fn http_request(
        &self,
        endpoint: &Endpoint,
        request: &Request,
    ) -> Result<hyper::Request<Full<Bytes>>, hyper::http::Error> {
        let mut head =
            hyper::Request::builder().method(request.method.clone()).uri(endpoint.uri(&request.path)?);
        head = head.header("user-agent", &self.user_agent);
        for (name, value) in &request.headers {
            head = head.header(*name, value);
        }
        head.body(Full::new(request.body.clone()))
    }
}

async fn take(
    endpoint: &Endpoint,
    request: &Request,
    response: Response<Incoming>,
    until: Instant,
) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    let is_success = head.status.is_success() || head.status == 304;
    let body = match tokio::time::timeout_at(until, Limited::new(body, ANSWER_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Err(cut_off(request, is_success, &error.to_string())),
        Err(_) => return Err(cut_off(request, is_success, "it does not end in time")),
    };
    match is_success {
        true => Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            endpoint: endpoint.clone(),
        }),
        false => Err(refused(request, head.status.as_u16(), &head.headers, &body)),
    }
}

// -- what became of it ---------------------------------------------------------------------------------------------------

fn invalid(why: &hyper::http::Error) -> Failure {
    Failure {
        kind: Kind::Invalid(why.to_string()),
        what: why.to_string(),
        outcome: Outcome::NotApplied,
        is_passing: false,
        is_down: false,
        retry_after: None,
    }
}

fn unreached(what: &str) -> Failure {
    Failure {
        kind: Kind::Unreachable,
        what: what.into(),
        outcome: Outcome::NotApplied,
        is_passing: true,
        is_down: true,
        retry_after: None,
    }
}

fn unanswered(request: &Request, what: &str) -> Failure {
    Failure { kind: Kind::Unanswered, outcome: left_open(request), ..unreached(what) }
}

/// An answer that ends before its end. Its head has said whether the request succeeded.
fn cut_off(request: &Request, is_success: bool, what: &str) -> Failure {
    let failure = unanswered(request, &format!("the answer is cut off: {what}"));
    match is_success && !request.is_read() {
        true => Failure { outcome: Outcome::Applied, ..failure },
        false => failure,
    }
}

fn left_open(request: &Request) -> Outcome {
    match request.is_read() {
        true => Outcome::NotApplied,
        false => Outcome::Unknown,
    }
}

/// The fields of an error's body (RFC 9457). A newer node may have codes that are not known here.
#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
    outcome: Option<Outcome>,
    #[serde(default)]
    retryable: bool,
    #[serde(default)]
    types: Vec<String>,
}

fn refused(request: &Request, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    let retry_after = headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return Failure {
            retry_after: retry_after.map(Duration::from_secs),
            ..refused_by_another(request, status, body)
        };
    };
    let code = Code::of(&problem.code);
    let outcome = match request.is_read() {
        true => Outcome::NotApplied,
        false => problem.outcome.unwrap_or(Outcome::Unknown),
    };
    Failure {
        what: format!("{}: {}", problem.code, problem.detail),
        outcome,
        is_passing: problem.retryable || matches!(status, 500..600),
        is_down: matches!(
            code,
            Some(Code::NotReady | Code::Overloaded | Code::RequestTimeout | Code::Internal)
        ),
        retry_after: retry_after.map(Duration::from_secs),
        kind: Kind::Refused { code, word: problem.code, detail: problem.detail, types: problem.types },
    }
}

/// A refusal that no node writes: a proxy's, or whoever listens there.
fn refused_by_another(request: &Request, status: u16, body: &[u8]) -> Failure {
    let text: String = String::from_utf8_lossy(body).trim().chars().take(TEXT_CHARS_MAX).collect();
    let word = format!("HTTP {status}");
    // A gateway that says so has not got an answer itself, and what it sent may have been applied.
    let is_gateway = matches!(status, 502..=504);
    Failure {
        what: format!("{word}: {text}"),
        kind: Kind::Refused { code: None, word, detail: text, types: Vec::new() },
        outcome: if is_gateway || status == 500 { left_open(request) } else { Outcome::NotApplied },
        is_passing: is_gateway,
        is_down: is_gateway,
        retry_after: None,
    }
}

/// The innermost of an error's causes says what happened; what is around it says who noticed.
fn words(error: &hyper_util::client::legacy::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}
