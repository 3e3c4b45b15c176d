//! One node with a connection to it, for tests of what single requests are answered.
//!
//! Whatever is asked, the answer must be as `docs/http-api.md` has every answer: a refusal is a whole problem, stored bytes
//! never run as a page, and what is said of keys says who says it.

use crate::http::{Answer, Client};
use crate::process::{NodeProcess, Scratch};
use std::cell::RefCell;

/// A node with a connection to it. Its methods panic when the answer is not what it must be.
pub struct Bench {
    client: RefCell<Client>,
    node: NodeProcess,
    _scratch: Scratch,
}

impl Bench {
    /// A fresh one, named after a test.
    ///
    /// # Panics
    /// When it does not start.
    pub fn new(name: &str) -> Bench {
        let scratch = Scratch::new(name);
        let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
        let client = RefCell::new(node.client().expect("it listens"));
        Bench { client, node, _scratch: scratch }
    }

    /// The answer to any request.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn with(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let answer = self.client.borrow_mut().request(method, target, headers, body.as_ref());
        let answer = answer.unwrap_or_else(|error| panic!("{method} {target}: {error:#}"));
        if answer.status >= 400 && method != "HEAD" {
            check_problem(&answer);
        }
        if target.starts_with("/v1/kv/") || target.starts_with("/v1/inspect/") {
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{method} {target}");
            let policy = answer.header("content-security-policy");
            assert_eq!(policy, Some("sandbox; default-src 'none'"), "{method} {target}");
        }
        if target.starts_with("/v1/kv/") {
            assert_eq!(answer.header("meridian-served-by"), Some("n1;local"), "{method} {target}");
        }
        answer
    }

    /// The answer to a GET.
    #[track_caller]
    pub fn get(&self, target: &str) -> Answer {
        self.with("GET", target, &[], "")
    }

    /// The answer to a request that must succeed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn done(&self, method: &str, target: &str, body: &str) -> Answer {
        let answer = self.with(method, target, &[], body);
        let status = if matches!(method, "PUT" | "DELETE") { 204 } else { 200 };
        assert_eq!(answer.status, status, "{method} {target:.80} {body:.80}: {}", answer.text());
        answer
    }

    /// Puts a value of a content type.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn put(&self, target: &str, content_type: &str, value: impl AsRef<[u8]>) -> Answer {
        let answer = self.with("PUT", target, &[("content-type", content_type)], value);
        assert_eq!(answer.status, 204, "{target:.80}: {}", answer.text());
        answer
    }

    /// A POST answers this.
    ///
    /// # Panics
    /// When it answers otherwise.
    #[track_caller]
    pub fn post(&self, target: &str, body: &str, expected: &str) -> Answer {
        let answer = self.with("POST", target, &[], body);
        assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{target} {body}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{target} {body}");
        answer
    }

    /// A GET answers this, as a key or field of this type.
    ///
    /// # Panics
    /// When it answers otherwise.
    #[track_caller]
    pub fn reads(&self, target: &str, key_type: &str, expected: &str) -> Answer {
        let answer = self.get(target);
        assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{target}");
        assert_eq!(answer.header("meridian-type"), Some(key_type), "{target}");
        assert_eq!(answer.header("meridian-consistency"), Some("local"), "{target}");
        assert!(answer.header("meridian-context").is_some(), "{target}");
        answer
    }

    /// A request is refused, and changes nothing. If the refusal ends the connection, there is another.
    ///
    /// # Panics
    /// When it is answered otherwise.
    #[track_caller]
    pub fn refused(&self, method: &str, target: &str, body: &str, expected: (u16, &str)) {
        self.refused_with(method, target, &[], body, expected);
    }

    /// As [`Bench::refused`], with headers.
    ///
    /// # Panics
    /// When it is answered otherwise.
    #[track_caller]
    pub fn refused_with(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
        (status, code): (u16, &str),
    ) {
        let answer = self.with(method, target, headers, body);
        let told = (answer.status, answer.field("code"), answer.field("outcome"));
        let expected = (status, code.to_string(), "not_applied".to_string());
        assert_eq!(told, expected, "{method} {target:.80} {headers:.80?} {body:.80}");
        if status == 413 {
            // The rest of the body is not read.
            assert_eq!(answer.header("connection"), Some("close"));
            *self.client.borrow_mut() = self.node.client().expect("it listens");
        }
    }
}

#[track_caller]
fn check_problem(answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    for field in ["type", "title", "status", "detail", "code", "outcome", "retryable"] {
        assert_ne!(answer.field(field), "", "{field} of {}", answer.text());
    }
    assert_eq!(answer.field("status"), answer.status.to_string());
}

/// What becomes of a token on the way: nothing is left of it, something else, a part, or one letter is another.
///
/// # Panics
/// When it is too short to be one.
pub fn spoiled(token: &str) -> [String; 6] {
    let other = if &token[5..6] == "A" { "B" } else { "A" };
    let flipped = [&token[..5], other, &token[6..]].concat();
    let (tail, head) = (&token[1..], &token[..token.len() - 1]);
    ["".into(), "x".into(), "AAAA".into(), tail.into(), head.into(), flipped]
}
