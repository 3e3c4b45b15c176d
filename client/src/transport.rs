//! Sends one request to one node, over connections that are kept, and says exactly what became of it.
//!
//! What an attempt leaves behind is told by how far it came: without a connection nothing was sent; on one, whatever ends it
//! before the answer leaves open whether the request was applied; and an answer says so itself. What does not come from a node says
//! so only by a status of 400 to 499.

use crate::endpoint::Endpoint;
use crate::error::Kind;
use crate::request::{Answer, Method, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{HeaderMap, Response};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use meridian_api::error::{Code, Outcome};
use serde::Deserialize;
use std::error::Error as _;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a connection is kept that nobody uses. Nodes end theirs after 75 s.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// The longest time that a node's wish to be asked later is kept.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// What is as good as never, and can still be told from now by every clock.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// The longest text of an answer that is no node's, in characters.
const TEXT_CHARS_MAX: usize = 400;

/// Connections to all nodes.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    connect_time_max: Duration,
    answer_bytes_max: usize,
    user_agent: String,
}

/// When a time that begins then is up, however long it is.
pub(crate) fn after(begin: Instant, time: Duration) -> Instant {
    begin.checked_add(time).unwrap_or(begin + NEVER)
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
    /// Its time was up: that speaks against the node only if the time was long enough.
    pub(crate) is_late: bool,
    /// When the node wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
}

impl Transport {
    pub(crate) fn new(
        connect_time_max: Duration,
        connections_idle_max: usize,
        answer_bytes_max: usize,
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
        Transport { http, connect_time_max, answer_bytes_max, user_agent }
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
        let was_reached = || connection.connection_metadata().is_some();
        let mut sent = pin!(self.http.request(http));
        // The connector limits the making of a connection; here it is all that comes before, the finding of the address too.
        let connected_until = until.min(after(Instant::now(), self.connect_time_max));
        let mut answered = timeout_at(connected_until, &mut sent).await;
        if answered.is_err() && was_reached() {
            answered = timeout_at(until, sent).await;
        }
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() || !was_reached() => return Err(unreached(&words(&error))),
            Ok(Err(error)) => return Err(unanswered(request, &words(&error))),
            Err(_) if was_reached() => return Err(late(unanswered(request, "it does not answer in time"))),
            Err(_) => return Err(late(unreached("no connection in time"))),
        };
        self.take(endpoint, request, response, until).await
    }

    fn http_request(
        &self,
        endpoint: &Endpoint,
        request: &Request,
    ) -> Result<hyper::Request<Full<Bytes>>, String> {
        let mut head =
            hyper::Request::builder().method(request.method.clone()).uri(endpoint.uri(&request.path)?);
        head = head.header("user-agent", &self.user_agent);
        for (name, value) in &request.headers {
            head = head.header(*name, value);
        }
        // hyper says no length of a body without bytes, and a proxy may want one (RFC 9110, 8.6).
        if request.body.is_empty() && matches!(request.method, Method::PUT | Method::POST) {
            head = head.header("content-length", 0);
        }
        head.body(Full::new(request.body.clone())).map_err(|error| error.to_string())
    }

    async fn take(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        response: Response<Incoming>,
        until: Instant,
    ) -> Result<Answer, Failure> {
        let (head, body) = response.into_parts();
        let is_success = head.status.is_success() || head.status == 304;
        let body = match timeout_at(until, Limited::new(body, self.answer_bytes_max).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return Err(too_long(request, is_success, self.answer_bytes_max));
            }
            Ok(Err(error)) => return Err(cut_off(request, is_success, &error.to_string())),
            Err(_) => return Err(late(cut_off(request, is_success, "it does not end in time"))),
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
}

// -- what became of it ---------------------------------------------------------------------------------------------------

fn invalid(why: &str) -> Failure {
    Failure {
        kind: Kind::Invalid(why.into()),
        what: why.into(),
        outcome: Outcome::NotApplied,
        is_passing: false,
        is_down: false,
        is_late: false,
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
        is_late: false,
        retry_after: None,
    }
}

/// The same, because time was up.
fn late(failure: Failure) -> Failure {
    Failure { is_down: false, is_late: true, ..failure }
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

/// An answer that is longer than this client reads: the node is well, and the next one would say the same.
fn too_long(request: &Request, is_success: bool, bytes_max: usize) -> Failure {
    let why = format!("it has more than {bytes_max} bytes: read it in parts, or set answer_bytes_max");
    Failure {
        kind: Kind::Strange(why.clone()),
        is_passing: false,
        is_down: false,
        ..cut_off(request, is_success, &why)
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
    #[serde(default)]
    outcome: serde_json::Value,
    #[serde(default)]
    retryable: bool,
    #[serde(default)]
    types: Vec<String>,
}

fn refused(request: &Request, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    let retry_after = headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return Failure { retry_after, ..refused_by_another(request, status, body) };
    };
    let code = Code::of(&problem.code);
    let outcome = match request.is_read() {
        true => Outcome::NotApplied,
        // A word that is not known here says nothing.
        false => Outcome::deserialize(&problem.outcome).unwrap_or(Outcome::Unknown),
    };
    Failure {
        what: format!("{}: {}", problem.code, problem.detail),
        outcome,
        is_passing: problem.retryable || matches!(status, 500..600),
        is_down: matches!(
            code,
            Some(Code::NotReady | Code::Overloaded | Code::RequestTimeout | Code::Internal)
        ),
        is_late: false,
        retry_after,
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
        outcome: if matches!(status, 400..500) { Outcome::NotApplied } else { left_open(request) },
        is_passing: is_gateway,
        is_down: is_gateway,
        is_late: false,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Method;
    use hyper::header::HeaderValue;

    fn after_a_post(status: u16, body: &str) -> Failure {
        refused(&Request::new(Method::POST, "/"), status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn only_a_status_of_4xx_says_without_a_node_that_nothing_was_applied() {
        for (status, outcome) in [
            (400, Outcome::NotApplied),
            (404, Outcome::NotApplied),
            (499, Outcome::NotApplied),
            (302, Outcome::Unknown),
            (500, Outcome::Unknown),
            (502, Outcome::Unknown),
            (507, Outcome::Unknown),
            (520, Outcome::Unknown),
        ] {
            assert_eq!(after_a_post(status, "<html>").outcome, outcome, "{status}");
        }
    }

    #[test]
    fn a_problem_says_what_it_can() {
        for (outcome, expected) in [
            (r#""not_applied""#, Outcome::NotApplied),
            (r#""applied""#, Outcome::Applied),
            (r#""in_parts""#, Outcome::Unknown),
            ("7", Outcome::Unknown),
            ("null", Outcome::Unknown),
        ] {
            let body = format!(r#"{{"code":"of_a_later_version","outcome":{outcome}}}"#);
            let failure = after_a_post(409, &body);
            assert_eq!(failure.outcome, expected, "{body}");
            assert!(matches!(failure.kind, Kind::Refused { word, .. } if word == "of_a_later_version"));
        }
        assert_eq!(after_a_post(409, r#"{"code":"x"}"#).outcome, Outcome::Unknown);
    }

    #[test]
    fn a_wish_to_be_asked_later_is_kept_for_an_hour_at_most() {
        let after = |text| {
            let headers =
                HeaderMap::from_iter([(hyper::header::RETRY_AFTER, HeaderValue::from_static(text))]);
            refused(&Request::new(Method::GET, "/"), 503, &headers, b"")
                .retry_after
                .map(|time| time.as_secs())
        };
        assert_eq!((after("2"), after("18446744073709551615"), after("soon")), (Some(2), Some(3600), None));
    }

    #[test]
    fn no_time_is_too_long() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::from_secs(1)), now + Duration::from_secs(1));
        assert_eq!(after(now, Duration::MAX), now + NEVER);
    }
}
