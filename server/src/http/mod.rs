//! HTTP: the listener, its limits, and which request goes where.
//!
//! ```text
//!   listener -> connection (wire: limits, last words) -> hyper -> route -> kv -> body, operations -> the driver's door
//!                                                                        `-> listing -> the published snapshot
//! ```
//!
//! Each runtime has one thread. None of them writes to the database or waits for it to sync; reads go to the newest
//! durable snapshot. A listing, which reads many rows, does so on a thread beside.

mod answer;
mod body;
mod buckets;
mod cluster;
mod connection;
#[cfg(any(test, fuzzing))]
mod decoders;
mod inspect;
mod kv;
mod listing;
mod operations;
mod reading;
mod request;
mod serve;
mod shown;
mod state;
mod wire;

#[cfg(any(test, fuzzing))]
pub(crate) use decoders::DECODERS;
pub(crate) use request::pointer;
pub use serve::{Listener, runtimes};
pub use state::{Limits, State};

use crate::desk::Desk;
use crate::door::Door;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::token::Tokens;
use answer::{Answer, Refused, no_content, with_body};
use body::Budget;
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use meridian_api::error::Code;
use meridian_api::header;
use request::Resource;
use std::sync::Arc;
use std::time::Instant;

const SERVED_BY: HeaderName = HeaderName::from_static(header::SERVED_BY);
const ACCESS_CONTROL_REQUEST_METHOD: HeaderName = HeaderName::from_static("access-control-request-method");

/// What every request needs.
#[derive(Clone)]
pub struct App {
    /// The way to the node.
    pub door: Door,
    /// The other nodes.
    pub peers: Peers,
    /// Makes and opens tokens.
    pub tokens: Tokens,
    /// What is refused beyond.
    pub limits: Limits,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// How the node stands.
    pub state: Arc<State>,
    /// `node;region`, as every answer says it.
    pub served_by: HeaderValue,
    budget: Budget,
    listings: listing::Places,
}

impl App {
    /// What every request needs, with nothing held.
    pub fn new(
        door: Door,
        peers: Peers,
        tokens: Tokens,
        limits: Limits,
        metrics: Arc<Metrics>,
        state: Arc<State>,
        served_by: HeaderValue,
    ) -> Self {
        let budget = Budget::new(limits.bytes_in_flight_max);
        let listings = listing::Places::default();
        App { door, peers, tokens, limits, metrics, state, served_by, budget, listings }
    }

    /// The same, for the runtime that serves a desk.
    fn at(&self, desk: &Desk) -> Self {
        App { door: self.door.at(desk), ..self.clone() }
    }

    /// How many bytes of bodies are held.
    pub fn bytes_in_flight(&self) -> usize {
        self.budget.held()
    }

    /// Answers a request.
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        let checked = request::check_size(&parts)
            .and_then(|()| request::guard(&parts, self.limits.loopback, &self.limits.cors_origins));
        let mut answer = match checked {
            Ok(()) => {
                let mut answer = self.route(&parts, body).await;
                share_with_origin(&parts, &mut answer);
                answer
            }
            Err(refused) => refused.into(),
        };
        let path = parts.uri.path();
        if path.starts_with("/v1/kv/") || path.starts_with("/v1/inspect/") {
            answer::harmless(&mut answer);
        }
        if path.starts_with("/v1/kv/") {
            answer.headers_mut().insert(SERVED_BY, self.served_by.clone());
        }
        self.metrics.request(&parts.method, answer.status());
        if path.starts_with("/v1/kv/") {
            let reads = matches!(parts.method, Method::GET | Method::HEAD);
            let seconds = if reads { &self.metrics.read_seconds } else { &self.metrics.write_seconds };
            seconds.record(began.elapsed().as_secs_f64());
        }
        answer
    }

    async fn route(&self, parts: &Parts, body: Incoming) -> Answer {
        let is_preflight = parts.method == Method::OPTIONS
            && parts.headers.contains_key(ORIGIN)
            && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if is_preflight {
            return no_content();
        }
        let resource = request::resource(parts.uri.path());
        let mut checked = request::check_own_headers(&resource, &parts.headers);
        if parts.uri.path().starts_with("/v1/") {
            checked = checked.and_then(|()| request::check_headers(&resource, &parts.method, &parts.headers));
        }
        if let Err(refused) = checked {
            return refused.into();
        }
        match resource {
            Resource::Kv(..) | Resource::Buckets | Resource::Bucket(_) if self.state.is_filling() => {
                not_filled().into()
            }
            Resource::Kv(bucket, key) => kv::handle(self, parts, bucket, key, body).await,
            Resource::Inspect(bucket, key) => inspect::handle(self, parts, bucket, key).await,
            Resource::Buckets => buckets::all(self, parts).await,
            Resource::Bucket(bucket) => buckets::one(self, parts, bucket, body).await,
            Resource::Health => self.plain(parts, || Ok(with_body(StatusCode::OK, TEXT, "ok\n"))),
            Resource::Ready => self.plain(parts, || match self.state.is_serving() {
                true if self.state.is_filling() => Err(not_filled()),
                true => Ok(with_body(StatusCode::OK, TEXT, "ready\n")),
                false => Err(Refused::new(Code::NotReady, "the node is stopping: try another")),
            }),
            Resource::Metrics => {
                self.plain(parts, || Ok(with_body(StatusCode::OK, PROMETHEUS, self.metrics.render())))
            }
            Resource::Cluster => self.plain(parts, || Ok(cluster::view(self))),
            Resource::Convergence => cluster::convergence(self, parts).await,
            Resource::Links => cluster::links(self, parts, body).await,
            Resource::Absent => request::absent(parts.uri.path()).into(),
            Resource::Unknown => {
                Refused::new(Code::PathNotFound, "keys are under /v1/kv/{bucket}/{key}").into()
            }
        }
    }

    /// A page without parameters.
    fn plain(&self, parts: &Parts, page: impl FnOnce() -> Result<Answer, Refused>) -> Answer {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Refused::method("GET, HEAD").into();
        }
        match parts.uri.query() {
            None | Some("") => page().unwrap_or_else(Answer::from),
            Some(_) => Refused::new(Code::UnknownParameter, "this page has no parameters").into(),
        }
    }
}

fn not_filled() -> Refused {
    Refused::new(
        Code::NotReady,
        "the node came empty and has not yet got from --join what the cluster holds: wait, or ask another",
    )
}

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Lets a web page of a listed origin read the answer. (One that is not listed has been refused.)
fn share_with_origin(parts: &Parts, answer: &mut Answer) {
    let Some(origin) = parts.headers.get(ORIGIN) else { return };
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(VARY, HeaderValue::from_static("origin"));
    let exposed = "etag, meridian-context, meridian-type, meridian-siblings, meridian-hidden, meridian-consistency, \
                   meridian-served-by, preference-applied";
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("content-type, if-none-match, meridian-context, prefer"),
    );
}
