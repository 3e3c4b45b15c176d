//! Sends one request to the first endpoint that can be reached.
//!
//! - The next endpoint is asked when there is no connection to one: nothing was sent there.
//! - A request that writes is never sent twice, for it may have been applied. One that reads may be.
//! - A redirection is not followed and no proxy is used: what answers is what was named.

use super::{CliError, TEXT_CHARS_MAX, harmless};
use hyper::Method;
use meridian_api::header;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectionDetails, Connector, TcpConnector, Transport};

/// How long each part of a request may take: finding the host, connecting, sending, the answer's head, its body.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer, in bytes: a set of as many members as are read at once, with room. A longer one is an error.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Where a node is: `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint(String);

impl Endpoint {
    /// Checks what a user wrote. The error says what would be accepted.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wanted = || format!("an endpoint is http://host:port without a path, and not {text:?}");
        let uri: Uri = text.parse().map_err(|_| wanted())?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(host)) if is_bare && !host.as_str().contains('@') && !text.contains('#') => {
                Ok(Endpoint(format!("http://{host}")))
            }
            _ => Err(wanted()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is sent.
#[derive(Debug)]
pub(super) struct Request {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Request {
    /// One without headers or a body.
    pub(super) fn new(method: Method, path: String) -> Self {
        Request { method, path, headers: Vec::new(), body: Vec::new() }
    }

    /// The same with one more header.
    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same with this body.
    pub(super) fn body(self, body: Vec<u8>) -> Self {
        Request { body, ..self }
    }

    fn may_be_sent_again(&self) -> bool {
        self.method == Method::GET
    }
}

/// What came back from a request that succeeded.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) content_type: Option<String>,
    pub(super) context: Option<String>,
    /// The key's type.
    pub(super) kind: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Sends a request and takes the answer.
///
/// # Errors
/// No endpoint could be reached, the answer did not come, or it is a refusal.
pub(super) fn send(endpoints: &[Endpoint], request: &Request) -> Result<Answer, CliError> {
    let mut failures = Vec::new();
    for endpoint in endpoints {
        let reached = Reached::default();
        match send_to(endpoint, request, &reached) {
            Ok(answer) => return understood(answer),
            Err(error) if reached.is_set() && !request.may_be_sent_again() => {
                return Err(CliError::Failed(format!(
                    "{endpoint}: {error}; it is not known whether it was applied"
                )));
            }
            Err(error) => failures.push(format!("{endpoint}: {}", words(&error))),
        }
    }
    Err(CliError::Failed(format!("no node answered: {}", failures.join("; "))))
}

fn send_to(
    endpoint: &Endpoint,
    request: &Request,
    reached: &Reached,
) -> Result<Response<Vec<u8>>, ureq::Error> {
    let agent = agent(reached.clone());
    let mut head =
        ureq::http::Request::builder().method(&request.method).uri(format!("{endpoint}{}", request.path));
    for (name, value) in &request.headers {
        head = head.header(*name, value);
    }
    let answer = match request.method == Method::PUT || request.method == Method::POST {
        true => agent.run(head.body(&request.body[..])?)?,
        false => agent.run(head.body(())?)?,
    };
    let (head, mut body) = answer.into_parts();
    let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
    Ok(Response::from_parts(head, body))
}

/// The library's words, but for what it puts before the system's.
fn words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

fn agent(reached: Reached) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("meridian/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(TIMEOUT))
        .timeout_connect(Some(TIMEOUT))
        .timeout_send_request(Some(TIMEOUT))
        .timeout_send_body(Some(TIMEOUT))
        .timeout_recv_response(Some(TIMEOUT))
        .timeout_recv_body(Some(TIMEOUT))
        .build();
    Agent::with_parts(config, TcpConnector::default().chain(reached), DefaultResolver::default())
}

// -- was there a connection? -----------------------------------------------------------------------------------------

/// Whether a connection was made. It stands last in the chain of connectors, for an error alone does not tell one that
/// came before the connection from one that came after it.
#[derive(Clone, Debug, Default)]
struct Reached(Arc<AtomicBool>);

impl Reached {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl<In: Transport> Connector<In> for Reached {
    type Out = In;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<In>, ureq::Error> {
        self.0.fetch_or(chained.is_some(), Ordering::SeqCst);
        Ok(chained)
    }
}

// -- what the answer says --------------------------------------------------------------------------------------------

/// The fields of an error's body (RFC 9457) that are shown.
#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    outcome: String,
}

fn understood(answer: Response<Vec<u8>>) -> Result<Answer, CliError> {
    let text = |name: &str| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
    let (content_type, context, kind) = (text("content-type"), text(header::CONTEXT), text(header::TYPE));
    match answer.status().is_success() {
        true => Ok(Answer { content_type, context, kind, body: answer.into_body() }),
        false => Err(CliError::Failed(refusal(&answer))),
    }
}

/// An error's code and detail, and its outcome unless nothing was applied, which is what one expects.
fn refusal(answer: &Response<Vec<u8>>) -> String {
    let Ok(problem) = serde_json::from_slice::<Problem>(answer.body()) else {
        let body: String = String::from_utf8_lossy(answer.body()).chars().take(TEXT_CHARS_MAX).collect();
        return format!("HTTP {}: {}", answer.status(), harmless(body.trim()));
    };
    let outcome = match problem.outcome.as_str() {
        "" | "not_applied" => String::new(),
        outcome => format!(" (outcome: {outcome})"),
    };
    harmless(&format!("{}: {}{outcome}", problem.code, problem.detail))
}
