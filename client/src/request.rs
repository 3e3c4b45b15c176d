//! A request as it is sent, and an answer as it came: what the typed calls are made of, and a door to what has no call yet.

use crate::endpoint::Endpoint;
use bytes::Bytes;
use hyper::HeaderMap;
pub use hyper::Method;
use meridian_api::header;

/// What is sent to a node.
///
/// ```no_run
/// # async fn example(client: meridian_client::Client) -> Result<(), meridian_client::Error> {
/// use meridian_client::{Method, Request};
///
/// let metrics = client.send(Request::new(Method::GET, "/metrics")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    pub(crate) is_repeatable: bool,
}

impl Request {
    /// One without headers or a body. The path has a query, where there is one, and is sent as it stands.
    pub fn new(method: Method, path: impl Into<String>) -> Request {
        let is_repeatable = method.is_idempotent();
        Request { method, path: path.into(), headers: Vec::new(), body: Bytes::new(), is_repeatable }
    }

    /// The same with one more header. With a context, a PUT is not repeatable any more, unless [it is said](Request::repeatable): of
    /// a `multi` the second would stand beside the first, which the context has not seen.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Request {
        self.is_repeatable &= !(self.method == Method::PUT && name.eq_ignore_ascii_case(header::CONTEXT));
        self.headers.push((name, value.into()));
        self
    }

    /// The same with this body.
    pub fn body(self, body: impl Into<Bytes>) -> Request {
        Request { body: body.into(), ..self }
    }

    /// The same with a body of JSON.
    pub(crate) fn json(self, body: &serde_json::Value) -> Request {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Says whether doing it twice leaves what doing it once leaves, so that it may be sent again when it is not known
    /// whether it was applied. Unless said, a GET, HEAD, PUT or DELETE is, and a POST is not. A PUT to what is or may be a `multi`
    /// is not, so say it.
    pub fn repeatable(self, is_repeatable: bool) -> Request {
        Request { is_repeatable, ..self }
    }

    /// Whether it changes nothing.
    pub(crate) fn is_read(&self) -> bool {
        self.method.is_safe()
    }

    /// How it is called in errors: `PUT /v1/kv/users/42`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What a node answered to a request that succeeded.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status, 200 to 299 or 304.
    pub status: u16,
    /// The body.
    pub body: Bytes,
    /// The node that answered.
    pub endpoint: Endpoint,
    pub(crate) headers: HeaderMap,
}

impl Answer {
    /// A header's value; `None` where there is none, or it is no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_sent_twice_goes_by_the_method_unless_it_is_said() {
        let is_repeatable = |method| Request::new(method, "/").is_repeatable;
        assert!(
            [Method::GET, Method::HEAD, Method::PUT, Method::DELETE].map(is_repeatable).iter().all(|is| *is)
        );
        assert!(!is_repeatable(Method::POST));
        assert!(Request::new(Method::POST, "/").repeatable(true).is_repeatable);
        for context in [header::CONTEXT, "Meridian-Context"] {
            assert!(!Request::new(Method::PUT, "/").header(context, "c").is_repeatable);
        }
        assert!(Request::new(Method::DELETE, "/").header(header::CONTEXT, "c").is_repeatable);
    }
}
