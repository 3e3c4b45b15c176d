//! Where a node is.

use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};
use std::fmt;
use std::str::FromStr;

/// Where a node takes requests: `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Authority);

impl Endpoint {
    /// The address of a path at this node.
    ///
    /// # Errors
    /// The path is none, or longer than an address may be.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri, String> {
        // What follows would be cut off, and another key be meant.
        if path.contains('#') {
            return Err("a path has no #; in a key it is %23".into());
        }
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(self.0.clone()).path_and_query(path);
        uri.build().map_err(|error| error.to_string())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    /// The error says what would be accepted.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("an endpoint is http://host:port without a path, and not {text:?}");
        let uri: Uri = text.parse().map_err(|_| wanted())?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !text.contains('#');
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(host)) if is_bare && !host.as_str().contains('@') => {
                Ok(Endpoint(host.clone()))
            }
            _ => Err(wanted()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for (text, shown) in [
            ("http://127.0.0.1:7480", "http://127.0.0.1:7480"),
            ("http://node.example:80/", "http://node.example:80"),
            ("http://[::1]:7480", "http://[::1]:7480"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "localhost:7480",
            "https://a:1",
            "http://a:1/v1",
            "http://a:1?x",
            "http://u@a:1",
            "http://a:1#f",
        ] {
            assert!(text.parse::<Endpoint>().unwrap_err().contains("http://host:port"), "{text}");
        }
    }

    #[test]
    fn a_path_is_sent_as_it_stands() {
        let endpoint: Endpoint = "http://127.0.0.1:7480".parse().unwrap();
        let uri = endpoint.uri("/v1/kv/b//a%2Fb?type=set").unwrap();
        assert_eq!(uri.to_string(), "http://127.0.0.1:7480/v1/kv/b//a%2Fb?type=set");
        for no_path in ["/v1/kv/b/a b", "/v1/kv/b/a#b", "/v1/kv/b/a?type=set#"] {
            assert!(endpoint.uri(no_path).is_err(), "{no_path}");
        }
    }
}
