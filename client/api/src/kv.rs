//! Where a key lives: the path that names it in a request.
//!
//! - A key is written as the rest of the path, percent-encoded but for `/` and what RFC 3986 calls unreserved.
//! - A key that a path cannot carry goes as base64url instead: one that is not UTF-8, one that is empty, and one with a
//!   segment `.` or `..`, which browsers, curl and the `url` crate rewrite before they send, percent-encoded or not.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands before the bucket in the path of every key.
pub const ROOT: &str = "/v1/kv/";
/// What stands before the bucket in the path that shows a key on every replica.
pub const INSPECT_ROOT: &str = "/v1/inspect/";
/// Where policies are: of one bucket under its name.
pub const BUCKETS: &str = "/v1/buckets";
/// The query parameter for a key as base64url without padding.
pub const KEY64: &str = "key64";

/// What is encoded within a segment: all but `A-Z a-z 0-9 - . _ ~`.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What is encoded within a key: it may have segments.
const KEY: &AsciiSet = &SEGMENT.remove(b'/');

/// The path of a key, with a query where it needs one: `/v1/kv/users/42`, `/v1/kv/users?key64=Li4`.
pub fn key_path(bucket: &str, key: &[u8]) -> String {
    path_under(ROOT, bucket, key)
}

/// The path that shows a key on every replica: `/v1/inspect/users/42`.
pub fn inspect_path(bucket: &str, key: &[u8]) -> String {
    path_under(INSPECT_ROOT, bucket, key)
}

/// The path of a bucket's keys: `/v1/kv/users`.
pub fn bucket_path(bucket: &str) -> String {
    format!("{ROOT}{}", encoded(bucket))
}

/// The path of a bucket's policy: `/v1/buckets/users`.
pub fn policy_path(bucket: &str) -> String {
    format!("{BUCKETS}/{}", encoded(bucket))
}

fn path_under(root: &str, bucket: &str, key: &[u8]) -> String {
    let bucket = encoded(bucket);
    match str::from_utf8(key) {
        Ok(key) if survives_in_a_path(key) => format!("{root}{bucket}/{}", utf8_percent_encode(key, KEY)),
        _ => format!("{root}{bucket}?{KEY64}={}", key64(key)),
    }
}

/// The path with one more query parameter.
pub fn with_parameter(path: &str, name: &str, value: &str) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}{name}={}", encoded(value))
}

/// A key as base64url without padding.
pub fn key64(key: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(key)
}

fn survives_in_a_path(key: &str) -> bool {
    !key.is_empty() && !key.split('/').any(|segment| matches!(segment, "." | ".."))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_rest_of_the_path() {
        assert_eq!(key_path("users", b"42"), "/v1/kv/users/42");
        assert_eq!(key_path("users", b"42/tags"), "/v1/kv/users/42/tags");
        assert_eq!(key_path("b", b"/a//b/"), "/v1/kv/b//a//b/");
        assert_eq!(key_path("b", b"-._~aZ9"), "/v1/kv/b/-._~aZ9");
    }

    #[test]
    fn what_a_path_would_take_for_something_else_is_encoded() {
        assert_eq!(key_path("b", b"a b?c#d%e+f"), "/v1/kv/b/a%20b%3Fc%23d%25e%2Bf");
        assert_eq!(key_path("b", b"%2e%2e/x"), "/v1/kv/b/%252e%252e/x");
        assert_eq!(key_path("b", b"\n\0"), "/v1/kv/b/%0A%00");
        assert_eq!(key_path("b", "ü".as_bytes()), "/v1/kv/b/%C3%BC");
    }

    #[test]
    fn a_key_that_a_path_cannot_carry_goes_as_base64url() {
        assert_eq!(key_path("b", b".."), "/v1/kv/b?key64=Li4");
        assert_eq!(key_path("b", b"a/./c"), "/v1/kv/b?key64=YS8uL2M");
        assert_eq!(key_path("b", b"a/.."), "/v1/kv/b?key64=YS8uLg");
        assert_eq!(key_path("b", b"\xff\xfe"), "/v1/kv/b?key64=__4");
        assert_eq!(key_path("b", b""), "/v1/kv/b?key64=");
        assert_eq!(key_path("b", b".../.a/a."), "/v1/kv/b/.../.a/a.");
    }

    #[test]
    fn a_key_is_inspected_under_the_same_name() {
        assert_eq!(inspect_path("users", b"42/a b"), "/v1/inspect/users/42/a%20b");
        assert_eq!(inspect_path("b", b".."), "/v1/inspect/b?key64=Li4");
    }

    #[test]
    fn a_bucket_has_a_path_for_its_keys_and_one_for_its_policy() {
        assert_eq!(
            (bucket_path("users"), policy_path("users")),
            ("/v1/kv/users".into(), "/v1/buckets/users".into())
        );
        assert_eq!(bucket_path("a/b"), "/v1/kv/a%2Fb");
    }

    #[test]
    fn parameters_are_appended() {
        assert_eq!(with_parameter("/v1/kv/b/k", "type", "set-rw"), "/v1/kv/b/k?type=set-rw");
        assert_eq!(with_parameter("/v1/kv/b?key64=Li4", "type", "a&b"), "/v1/kv/b?key64=Li4&type=a%26b");
    }
}
