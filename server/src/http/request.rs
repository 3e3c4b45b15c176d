//! A request's head, taken apart: the path, the parameters, the headers. Nothing is ignored quietly: what no version
//! knows is refused by name, and so is what the contract describes and this version lacks.

use super::answer::Refused;
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Method, Uri, Version};
use meridian_api::error::Code;
use meridian_core::cell::Type;
use meridian_core::name::{Bucket, Key};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::net::IpAddr;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource<'a> {
    /// `/v1/kv/{bucket}/{key…}`: both as they stand in the path, and whether there is a key.
    Kv(&'a str, Option<&'a str>),
    /// `/v1/inspect/{bucket}/{key…}`: the same.
    Inspect(&'a str, Option<&'a str>),
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
    /// `/metrics`
    Metrics,
    /// `/v1/cluster`
    Cluster,
    /// `/v1/cluster/convergence`
    Convergence,
    /// `/v1/dev/links`
    Links,
    /// Described, and not there yet.
    Absent,
    /// Not described.
    Unknown,
}

/// Finds out what a path names.
pub(super) fn resource(path: &str) -> Resource<'_> {
    match path {
        "/healthz" => return Resource::Health,
        "/readyz" => return Resource::Ready,
        "/metrics" => return Resource::Metrics,
        "/v1/cluster" => return Resource::Cluster,
        "/v1/cluster/convergence" => return Resource::Convergence,
        "/v1/dev/links" => return Resource::Links,
        "/" | "/openapi.json" | "/v1/batch" | "/v1/buckets" => return Resource::Absent,
        _ => {}
    }
    if let Some(rest) = path.strip_prefix("/v1/kv/") {
        let (bucket, key) = place(rest);
        return Resource::Kv(bucket, key);
    }
    if let Some(rest) = path.strip_prefix("/v1/inspect/") {
        let (bucket, key) = place(rest);
        return Resource::Inspect(bucket, key);
    }
    let begins =
        |start: &str| path == start || path.strip_prefix(start).is_some_and(|rest| rest.starts_with('/'));
    let absent = ["/v1/watch", "/v1/buckets", "/v1/cluster", "/v1/dev"];
    match absent.into_iter().any(begins) {
        true => Resource::Absent,
        false => Resource::Unknown,
    }
}

/// The bucket and the key in what follows a resource's name.
fn place(rest: &str) -> (&str, Option<&str>) {
    rest.split_once('/').map_or((rest, None), |(bucket, key)| (bucket, Some(key)))
}

/// The parameters of a request for a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    /// The type that is named.
    pub(super) named: Option<Type>,
    /// The key, where it does not stand in the path.
    pub(super) key64: Option<Vec<u8>>,
    /// A parameter that only a listing has.
    pub(super) lists: bool,
}

/// Reads the parameters of a request for a key.
///
/// # Errors
/// 400 for what is unknown, not there yet, given twice, or has a value that it cannot have.
pub(super) fn parameters(uri: &Uri) -> Result<Parameters, Refused> {
    let mut found = Parameters::default();
    let mut seen = Vec::new();
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if seen.contains(&name) {
            return Err(Refused::new(Code::InvalidParameter, format!("?{name}= is given twice")));
        }
        match name.as_ref() {
            "type" => found.named = Some(type_named(&value)?),
            "key64" => found.key64 = Some(key64(&value)?),
            "consistency" => consistency(&value)?,
            "timeout" | "max_staleness" | "overwrite" | "path" | "contains" | "member_prefix" => {
                return Err(absent(&format!("?{name}=")));
            }
            "prefix" | "start" | "end" | "prefix64" | "start64" | "end64" | "limit" | "cursor"
            | "reverse" | "delimiter" | "values" => found.lists = true,
            _ => {
                let known = "a key's are type, key64 and consistency";
                return Err(Refused::new(
                    Code::UnknownParameter,
                    format!("there is no parameter ?{name}= ({known})"),
                ));
            }
        }
        seen.push(name);
    }
    Ok(found)
}

/// The only parameter of a request to inspect a key.
///
/// # Errors
/// 400 for any other, for one that is given twice, and for what is no base64url.
pub(super) fn only_key64(uri: &Uri) -> Result<Option<Vec<u8>>, Refused> {
    let mut found = None;
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if name != "key64" {
            let detail = format!("there is no parameter ?{name}= (this page has one, key64)");
            return Err(Refused::new(Code::UnknownParameter, detail));
        }
        if found.replace(key64(&value)?).is_some() {
            return Err(Refused::new(Code::InvalidParameter, "?key64= is given twice"));
        }
    }
    Ok(found)
}

fn type_named(name: &str) -> Result<Type, Refused> {
    match name {
        "register" => Ok(Type::Register),
        "counter" => Ok(Type::Counter),
        "set" => Ok(Type::Set),
        "multi" | "bounded" | "set-rw" | "flag" | "flag-dw" | "max" | "min" | "map" | "list" | "json" => {
            Err(absent(&format!("the type {name}")))
        }
        _ => {
            let detail = format!("there is no type {name:?}: register, counter and set are there");
            Err(Refused::new(Code::InvalidParameter, detail))
        }
    }
}

fn consistency(level: &str) -> Result<(), Refused> {
    match level {
        "local" => Ok(()),
        "session" | "quorum" | "all" | "strong" => Err(absent(&format!("consistency={level}"))),
        _ => {
            Err(Refused::new(Code::InvalidParameter, format!("there is no level {level:?}: local is there")))
        }
    }
}

fn key64(value: &str) -> Result<Vec<u8>, Refused> {
    let decoded = URL_SAFE_NO_PAD.decode(value).or_else(|_| URL_SAFE.decode(value));
    decoded.map_err(|_| Refused::new(Code::KeyInvalid, "key64 is base64url: A-Z a-z 0-9 - _"))
}

/// The refusal of what the contract describes and this version lacks.
pub(super) fn absent(what: &str) -> Refused {
    Refused::new(Code::NotAvailable, format!("this version does not have {what} yet"))
}

/// The bucket and key that a path and its parameters name.
///
/// # Errors
/// 400 and 414 for what is no bucket or no key.
pub(super) fn names(
    bucket: &str,
    key: Option<&str>,
    key64: Option<Vec<u8>>,
) -> Result<(Bucket, Key), Refused> {
    let bucket = decoded(bucket).and_then(|name| {
        String::from_utf8(name).map_err(|_| Refused::new(Code::BucketInvalid, "a bucket's name is ASCII"))
    })?;
    let bucket = Bucket::new(&bucket)?;
    let key = match (key, key64) {
        (Some(_), Some(_)) => {
            return Err(Refused::new(
                Code::InvalidParameter,
                "name the key in the path or as key64, not both",
            ));
        }
        (None, None) => {
            return Err(Refused::new(Code::KeyEmpty, "name a key behind the bucket: {bucket}/{key}"));
        }
        (None, Some(key)) => key,
        (Some(key), None) => {
            let key = decoded(key)?;
            if str::from_utf8(&key).is_err() {
                return Err(Refused::new(
                    Code::KeyInvalid,
                    "a key in a path is UTF-8: send any other as ?key64=",
                ));
            }
            key
        }
    };
    Ok((bucket, Key::new(&key)?))
}

/// Percent-decodes once. A `%` that begins no code is refused: it may have been meant otherwise.
fn decoded(text: &str) -> Result<Vec<u8>, Refused> {
    let is_code =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
    match text.split('%').skip(1).all(is_code) {
        true => Ok(percent_decode_str(text).collect()),
        false => Err(Refused::new(
            Code::KeyInvalid,
            "a % is followed by two hexadecimal digits: write %25 for itself",
        )),
    }
}

/// Most bytes of a request's head. (hyper's buffer bounds it too, a little above.)
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;

/// Refuses a head that is too large.
///
/// # Errors
/// 431.
pub(super) fn check_size(parts: &Parts) -> Result<(), Refused> {
    let headers = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    match headers.sum::<usize>() + target > HEAD_BYTES_MAX {
        true => Err(Refused::new(
            Code::HeadersTooLarge,
            "send fewer or shorter headers: a head has at most 64 KiB",
        )),
        false => Ok(()),
    }
}

/// Refuses what is not for this listener: another host (421), or a web page of another origin (403).
///
/// # Errors
/// 400, 403 and 421.
pub(super) fn guard(parts: &Parts, loopback: bool, cors_origins: &[String]) -> Result<(), Refused> {
    if loopback {
        let mut hosts = parts.headers.get_all(HOST).iter();
        let header = hosts.next();
        if hosts.next().is_some() {
            return Err(Refused::new(Code::BadRequest, "a request has one Host header"));
        }
        let host = header.map(|host| String::from_utf8_lossy(host.as_bytes()));
        if host.is_none() && parts.version == Version::HTTP_11 {
            return Err(Refused::new(Code::BadRequest, "a request has a Host header"));
        }
        let authority = parts.uri.authority().map(|named| Cow::Borrowed(named.as_str()));
        let mut named = host.into_iter().chain(authority);
        if let Some(host) = named.find(|host| !is_loopback(host)) {
            let detail =
                format!("this node listens on loopback, and {host:?} is not: use 127.0.0.1 or localhost");
            return Err(Refused::new(Code::WrongHost, detail));
        }
    }
    let allowed = |origin: &[u8]| cors_origins.iter().any(|listed| listed.as_bytes() == origin);
    match parts.headers.get_all(ORIGIN).iter().find(|origin| !allowed(origin.as_bytes())) {
        Some(_) => Err(Refused::new(
            Code::OriginNotAllowed,
            "list the page's origin in http-cors-origins to let it in",
        )),
        None => Ok(()),
    }
}

fn is_loopback(host: &str) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = without_port.trim_start_matches('[').trim_end_matches(']');
    let name = bare.strip_suffix('.').unwrap_or(bare);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Refuses the headers of Meridian's own that are not there, or not for this resource.
///
/// # Errors
/// 400.
pub(super) fn check_own_headers(resource: &Resource<'_>, headers: &HeaderMap) -> Result<(), Refused> {
    for name in headers.keys().filter(|name| name.as_str().starts_with("meridian-")) {
        match name.as_str() {
            "meridian-context" if matches!(resource, Resource::Kv(..)) => {}
            "meridian-context" => {
                return Err(Refused::new(Code::UnknownParameter, "Meridian-Context is for keys"));
            }
            "meridian-session" => return Err(absent("the header Meridian-Session")),
            name => {
                return Err(Refused::new(
                    Code::UnknownParameter,
                    format!("there is no request header {name}"),
                ));
            }
        }
    }
    Ok(())
}

/// Refuses headers under `/v1` that ask for what is not there.
///
/// # Errors
/// 400 and 415.
pub(super) fn check_headers(method: &Method, headers: &HeaderMap) -> Result<(), Refused> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let (mut condition, mut missing, mut encoded) = (None, None, false);
    for (name, value) in headers {
        match name.as_str() {
            "if-match" | "if-none-match" if !reads => condition = Some(name),
            "if-match" | "if-none-match" | "idempotency-key" | "authorization" => missing = Some(name),
            "content-encoding" => encoded |= value != "identity",
            _ => {}
        }
    }
    // Whatever the order of the headers, the same one is told of.
    if let Some(name) = condition {
        let detail = format!("{name} would need a bucket with strong consistency; this version has none");
        return Err(Refused::new(Code::ConditionNeedsStrong, detail));
    }
    if let Some(name) = missing {
        return Err(absent(&format!("the header {name}")));
    }
    match encoded {
        true => Err(Refused::new(
            Code::EncodingUnsupported,
            "send the body as it is to be stored, without Content-Encoding",
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(path: &str) -> Result<Vec<u8>, Code> {
        match resource(path) {
            Resource::Kv(bucket, key) => names(bucket, key, None)
                .map(|(_, key)| key.as_bytes().to_vec())
                .map_err(|refused| refused.problem.code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_the_rest_of_the_path_decoded_once() {
        for (path, key) in [
            ("/v1/kv/b/a/b", &b"a/b"[..]),
            ("/v1/kv/b//", b"/"),
            ("/v1/kv/b/a//b/", b"a//b/"),
            ("/v1/kv/b/a%2Fb%2520", b"a/b%20"),
            ("/v1/kv/b/a+b", b"a+b"),
            ("/v1/kv/b/../x", b"../x"),
            ("/v1/kv/b/%00", b"\0"),
        ] {
            assert_eq!(key_of(path).as_deref(), Ok(key), "{path}");
        }
        for (path, code) in [
            ("/v1/kv/b/", Code::KeyEmpty),
            ("/v1/kv/b", Code::KeyEmpty),
            ("/v1/kv/b/%ff", Code::KeyInvalid),
            ("/v1/kv/b/%f", Code::KeyInvalid),
            ("/v1/kv/b/%zz", Code::KeyInvalid),
            ("/v1/kv//k", Code::BucketInvalid),
            ("/v1/kv/B/k", Code::BucketInvalid),
            ("/v1/kv/_b/k", Code::BucketInvalid),
        ] {
            assert_eq!(key_of(path), Err(code), "{path}");
        }
        assert_eq!(key_of(&format!("/v1/kv/b/{}", "k".repeat(4097))), Err(Code::KeyTooLong));
    }

    #[test]
    fn parameters_are_known_or_refused() {
        let of = |query: &str| {
            let uri: Uri = format!("/v1/kv/b/k?{query}").parse().expect("an address");
            parameters(&uri).map_err(|refused| refused.problem.code)
        };
        assert_eq!(of("type=set&consistency=local").map(|found| found.named), Ok(Some(Type::Set)));
        assert_eq!(of("key64=_w").map(|found| found.key64), Ok(Some(vec![0xff])));
        for (query, code) in [
            ("type=map", Code::NotAvailable),
            ("type=mop", Code::InvalidParameter),
            ("type=set&type=set", Code::InvalidParameter),
            ("consistency=quorum", Code::NotAvailable),
            ("consistency=most", Code::InvalidParameter),
            ("path=/a", Code::NotAvailable),
            ("key64=!", Code::KeyInvalid),
            ("typ=set", Code::UnknownParameter),
        ] {
            assert_eq!(of(query), Err(code), "{query}");
        }
    }

    #[test]
    fn loopback_hosts_are_known() {
        for host in [
            "localhost",
            "LOCALHOST:7480",
            "127.0.0.1",
            "127.1.2.3:1",
            "[::1]:7480",
            "[::1]",
            "localhost.:80",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example:80", "10.0.0.1:7480", "127.0.0.1.evil.example"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
