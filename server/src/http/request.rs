//! A request's head, taken apart: the path, the parameters, the headers. Nothing is ignored quietly: what no version
//! knows is refused by name, and so is what the contract describes and this version lacks.

use super::answer::Refused;
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Method, Uri, Version};
use meridian_api::error::Code;
use meridian_api::kv::KEY64;
use meridian_core::cell::Type;
use meridian_core::name::{Bucket, Key};
use meridian_core::path::{Field, Path};
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
    /// `/v1/buckets`
    Buckets,
    /// `/v1/buckets/{bucket}`, as it stands in the path.
    Bucket(&'a str),
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
        "/v1/buckets" => return Resource::Buckets,
        "/" | "/openapi.json" | "/v1/batch" => return Resource::Absent,
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
    if let Some(bucket) = path.strip_prefix("/v1/buckets/") {
        return Resource::Bucket(bucket);
    }
    let begins =
        |start: &str| path == start || path.strip_prefix(start).is_some_and(|rest| rest.starts_with('/'));
    let absent = ["/v1/watch", "/v1/cluster", "/v1/dev"];
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
    /// Which part of the key is read.
    pub(super) part: Asking,
    /// Whether a PUT insists.
    pub(super) overwrites: Option<bool>,
}

/// The parameters that say which part of a key is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asking {
    /// Which field of a map.
    pub(super) path: Option<Path>,
    /// The member that a set is asked about.
    pub(super) contains: Option<String>,
    /// What the members of a page begin with.
    pub(super) member_prefix: Option<String>,
    /// How many a page has.
    pub(super) limit: Option<usize>,
    /// Where the page before ended.
    pub(super) cursor: Option<String>,
}

impl Parameters {
    /// Refuses what is for another method.
    ///
    /// # Errors
    /// 400.
    pub(super) fn check_method(&self, method: &Method) -> Result<(), Refused> {
        let refuse = |parameter: &str, of: &str| {
            Err(Refused::new(Code::InvalidParameter, format!("{parameter} is for {of}, not for {method}")))
        };
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if !reads && self.part != Asking::default() {
            return refuse("?path=, ?contains=, ?member_prefix=, ?limit= or ?cursor=", "GET and HEAD");
        }
        if self.overwrites.is_some() && *method != Method::PUT {
            return refuse("?overwrite=", "PUT");
        }
        Ok(())
    }
}

/// Reads the parameters of a request for a key.
///
/// # Errors
/// 400 for what is unknown, not there yet, given twice, or has a value that it cannot have.
pub(super) fn parameters(uri: &Uri) -> Result<Parameters, Refused> {
    let mut found = Parameters::default();
    let mut seen = Vec::new();
    if percent_decode_str(uri.query().unwrap_or_default()).decode_utf8().is_err() {
        return Err(Refused::new(Code::InvalidParameter, "parameters are UTF-8"));
    }
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if seen.contains(&name) {
            return Err(Refused::new(Code::InvalidParameter, format!("?{name}= is given twice")));
        }
        match name.as_ref() {
            "type" => found.named = Some(type_named(&value)?),
            "key64" => found.key64 = Some(key64(&value)?),
            "consistency" => consistency(&value)?,
            "path" => found.part.path = Some(path(&value)?),
            "contains" => found.part.contains = Some(value.into_owned()),
            "member_prefix" => found.part.member_prefix = Some(value.into_owned()),
            "limit" => found.part.limit = Some(limit(&value)?),
            "cursor" => found.part.cursor = Some(value.into_owned()),
            "overwrite" => found.overwrites = Some(truth(&name, &value)?),
            "timeout" | "max_staleness" => return Err(absent(&format!("?{name}="))),
            _ => {
                let known = "a key's are type, key64, consistency, overwrite, path, contains, member_prefix, limit and cursor";
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

/// The type of this name.
///
/// # Errors
/// 400 for one that is not there.
pub(super) fn type_named(name: &str) -> Result<Type, Refused> {
    match (Type::named(name), name) {
        (Some(known), _) => Ok(known),
        (None, "bounded" | "set-rw" | "flag-dw" | "list" | "json") => {
            Err(absent(&format!("the type {name}")))
        }
        (None, _) => {
            let there = Type::ALL.map(Type::as_str).join(", ");
            let detail = format!("there is no type {name:?}: there are {there}");
            Err(Refused::new(Code::InvalidParameter, detail))
        }
    }
}

fn path(text: &str) -> Result<Path, Refused> {
    pointer(text).map_err(|detail| Refused::new(Code::InvalidParameter, format!("?path=: {detail}")))
}

/// Reads a path that is written as a JSON Pointer (RFC 6901): `/address/city`, with `~1` for `/` and `~0` for `~`.
///
/// # Errors
/// It is none, or names no field; in words.
pub(crate) fn pointer(text: &str) -> Result<Path, String> {
    if text.is_empty() {
        return Ok(Path::default());
    }
    let names = text.strip_prefix('/').ok_or("a JSON Pointer begins with /")?;
    let field = |name: &str| {
        if name.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
            return Err("a ~ is followed by 0 or 1: write ~0 for itself, and ~1 for a /".into());
        }
        let name = name.replace("~1", "/").replace("~0", "~");
        Field::new(&name).map_err(|error| error.to_string())
    };
    let fields = names.split('/').map(field).collect::<Result<_, String>>()?;
    Path::new(fields).map_err(|error| error.to_string())
}

/// Most members or fields of a page.
const PAGE_MAX: usize = 1_000;

fn limit(text: &str) -> Result<usize, Refused> {
    let limit = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    limit.ok_or_else(|| Refused::new(Code::InvalidParameter, format!("?limit= is 1 to {PAGE_MAX}")))
}

fn truth(name: &str, text: &str) -> Result<bool, Refused> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Refused::new(Code::InvalidParameter, format!("?{name}= is true or false"))),
    }
}

/// Checks the level of consistency that is asked for.
///
/// # Errors
/// 400 for any but the one that is there.
pub(super) fn consistency(level: &str) -> Result<(), Refused> {
    match level {
        "local" => Ok(()),
        "session" | "quorum" | "all" | "strong" => Err(absent(&format!("consistency={level}"))),
        _ => {
            Err(Refused::new(Code::InvalidParameter, format!("there is no level {level:?}: local is there")))
        }
    }
}

/// Whether a request names its key as a parameter.
pub(super) fn has_key64(uri: &Uri) -> bool {
    let parameters = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    parameters.into_iter().any(|(name, _)| name == KEY64)
}

fn key64(value: &str) -> Result<Vec<u8>, Refused> {
    let decoded = URL_SAFE_NO_PAD.decode(value).or_else(|_| URL_SAFE.decode(value));
    decoded.map_err(|_| Refused::new(Code::KeyInvalid, "key64 is base64url: A-Z a-z 0-9 - _"))
}

/// The refusal of what the contract describes and this version lacks.
pub(super) fn absent(what: &str) -> Refused {
    Refused::new(Code::NotAvailable, format!("this version does not have {what} yet"))
}

/// The bucket that a path names.
///
/// # Errors
/// 400 for what is no bucket.
pub(super) fn bucket(bucket: &str) -> Result<Bucket, Refused> {
    let name = String::from_utf8(decoded(bucket)?);
    let name = name.map_err(|_| Refused::new(Code::BucketInvalid, "a bucket's name is ASCII"))?;
    Ok(Bucket::new(&name)?)
}

/// The bucket and key that a path and its parameters name.
///
/// # Errors
/// 400 and 414 for what is no bucket or no key.
pub(super) fn names(
    in_path: &str,
    key: Option<&str>,
    key64: Option<Vec<u8>>,
) -> Result<(Bucket, Key), Refused> {
    let bucket = bucket(in_path)?;
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
    let bare = match without_port.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').unwrap_or_default(),
        None => without_port,
    };
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
pub(super) fn check_headers(
    resource: &Resource<'_>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<(), Refused> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let has_tag = matches!(resource, Resource::Kv(..));
    let (mut condition, mut missing, mut encoded) = (None, None, false);
    for (name, value) in headers {
        match name.as_str() {
            "if-match" | "if-none-match" if !reads => condition = Some(name),
            "if-none-match" if has_tag => {}
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
        for known in Type::ALL {
            assert_eq!(of(&format!("type={}", known.as_str())).map(|found| found.named), Ok(Some(known)));
        }
        assert_eq!(of("key64=_w").map(|found| found.key64), Ok(Some(vec![0xff])));
        for (query, code) in [
            ("type=list", Code::NotAvailable),
            ("type=flag-dw", Code::NotAvailable),
            ("type=mop", Code::InvalidParameter),
            ("type=set&type=set", Code::InvalidParameter),
            ("consistency=quorum", Code::NotAvailable),
            ("consistency=most", Code::InvalidParameter),
            ("timeout=1s", Code::NotAvailable),
            ("path=a", Code::InvalidParameter),
            ("path=/a~", Code::InvalidParameter),
            ("path=/a~2b", Code::InvalidParameter),
            ("path=/a//b", Code::InvalidParameter),
            ("path=%ff", Code::InvalidParameter),
            ("limit=0", Code::InvalidParameter),
            ("limit=1001", Code::InvalidParameter),
            ("limit=-1", Code::InvalidParameter),
            ("overwrite=1", Code::InvalidParameter),
            ("overwrite=true&overwrite=true", Code::InvalidParameter),
            ("key64=!", Code::KeyInvalid),
            ("typ=set", Code::UnknownParameter),
        ] {
            assert_eq!(of(query), Err(code), "{query}");
        }
    }

    #[test]
    fn a_path_is_a_json_pointer() {
        let names = |text: &str| {
            let path = path(text).map_err(|refused| refused.problem.code)?;
            Ok(path.fields().iter().map(|field| field.as_str().to_string()).collect::<Vec<_>>())
        };
        assert_eq!(names(""), Ok(vec![]));
        assert_eq!(names("/address/city"), Ok(vec!["address".to_string(), "city".into()]));
        assert_eq!(
            names("/a~1b/~01/m~0n/ "),
            Ok(vec!["a/b".to_string(), "~1".into(), "m~n".into(), " ".into()])
        );
        assert!(names(&"/f".repeat(32)).is_ok());
        let (deep, long) = ("/f".repeat(33), format!("/{}", "f".repeat(4097)));
        for wrong in ["/", "a", "/a/", "/~", "/~2", &deep, &long] {
            assert_eq!(names(wrong), Err(Code::InvalidParameter), "{wrong:.40}");
        }
    }

    #[test]
    fn a_parameter_is_for_some_methods() {
        let of = |query: &str, method: Method| {
            let uri: Uri = format!("/v1/kv/b/k?{query}").parse().expect("an address");
            let found = parameters(&uri).expect("they are well-formed");
            found.check_method(&method).map_err(|refused| refused.problem.code)
        };
        for query in ["path=", "contains=a", "member_prefix=", "limit=1", "cursor=x"] {
            assert_eq!(of(query, Method::GET), Ok(()), "{query}");
            assert_eq!(of(query, Method::HEAD), Ok(()), "{query}");
            for method in [Method::PUT, Method::POST, Method::DELETE] {
                assert_eq!(of(query, method), Err(Code::InvalidParameter), "{query}");
            }
        }
        assert_eq!(of("overwrite=true", Method::PUT), Ok(()));
        for method in [Method::GET, Method::POST, Method::DELETE] {
            assert_eq!(of("overwrite=false", method), Err(Code::InvalidParameter));
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
