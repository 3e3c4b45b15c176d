//! What HTTP clients send, as decoders that tests and fuzzers drive.

use super::request::{self, Resource};
use super::{buckets, listing, operations};
use crate::decoders::Decoder;
use hyper::header::{HOST, HeaderValue, ORIGIN};
use hyper::{Request, Uri};
use meridian_core::path::Path;
use meridian_core::replica::write::{OPERATIONS_MAX, Write};
use meridian_core::types::map::FieldWrite;
use meridian_core::types::set::SetOp;
use serde::de::IgnoredAny;
use std::fmt::Write as _;
use std::net::IpAddr;

/// Refusals name what they refuse, in words.
const WORDS: u64 = 256;

pub(crate) const DECODERS: [Decoder; 5] = [
    Decoder { name: "http-target", check: target, seeds: targets, memory_per_byte: WORDS },
    Decoder { name: "http-host", check: host, seeds: hosts, memory_per_byte: WORDS },
    Decoder { name: "http-path", check: path, seeds: paths, memory_per_byte: WORDS },
    Decoder { name: "http-operations", check: ops, seeds: some_ops, memory_per_byte: WORDS },
    Decoder { name: "http-policy", check: policy, seeds: policies, memory_per_byte: WORDS },
];

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The target of a request: its path and its parameters. What is named is the same when it is named anew.
fn target(bytes: &[u8]) -> bool {
    let Ok(uri) = Uri::try_from(bytes) else { return false };
    let resource = request::resource(uri.path());
    let text = uri.query().unwrap_or_default();
    let queries = [listing::parameters(text).is_ok(), buckets::parameters(text).is_ok()];
    let only = request::only_key64(&uri);
    let parameters = request::parameters(&uri);
    if let Ok(Some(_)) = only {
        assert!(request::has_key64(&uri));
    }
    let known = !matches!(resource, Resource::Unknown);
    let (Resource::Kv(bucket, key) | Resource::Inspect(bucket, key)) = resource else { return known };
    let Ok(parameters) = parameters else { return queries.contains(&true) || only.is_ok() };
    let named = request::names(bucket, key, parameters.key64.clone());
    if let Ok((bucket, key)) = named {
        let mut again = format!("/v1/kv/{}/", bucket.as_str());
        for byte in key.as_bytes() {
            write!(again, "%{byte:02x}").expect("text grows");
        }
        if str::from_utf8(key.as_bytes()).is_ok() {
            let Resource::Kv(in_path, rest) = request::resource(&again) else { panic!("it names a key") };
            let found = request::names(in_path, rest, None).map_err(|refused| refused.problem);
            assert!(found.is_ok_and(|found| found == (bucket, key)), "{again}");
        }
    }
    true
}

fn targets() -> Vec<Vec<u8>> {
    texts(&[
        "/healthz",
        "/v1/cluster/convergence",
        "/v1/buckets/users?limit=5&cursor=AQ",
        "/v1/kv/users/a/b%2Fc%00?type=multi&consistency=local&overwrite=true",
        "/v1/kv/users?key64=_w",
        "/v1/kv/users/k?path=/a/b~1c&contains=m%C3%BC&limit=10",
        "/v1/kv/users/k?member_prefix=a+b&limit=10&cursor=AQID",
        "/v1/kv/users?prefix=a&start64=_w&end=b&delimiter=/&reverse=true&values=true&limit=9",
        "/v1/inspect/users/k",
        "http://127.0.0.1:8080/v1/kv/users/k",
    ])
}

/// `Host` and `Origin`, a line each: who may speak to a node on loopback.
fn host(bytes: &[u8]) -> bool {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let mut request = Request::builder().uri("/v1/kv/b/k");
    for (name, line) in [HOST, ORIGIN].into_iter().zip(&mut lines) {
        let Ok(value) = HeaderValue::from_bytes(line) else { return false };
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let origins = ["https://example.org".to_owned()];
    let accepted = request::guard(&parts, true, &origins).is_ok();
    if accepted {
        let host = String::from_utf8_lossy(parts.headers[HOST].as_bytes()).to_ascii_lowercase();
        let bare = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next(),
            None => host.split(':').next(),
        };
        let is_loopback = |text: &str| text.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback());
        let named = [bare.unwrap_or_default(), host.as_str()].into_iter().any(is_loopback);
        assert!(named || host.contains("localhost"), "{host:?} is let in");
        let origin = parts.headers.get(ORIGIN);
        assert!(origin.is_none_or(|origin| origin == "https://example.org"), "{origin:?} is let in");
    }
    accepted
}

fn hosts() -> Vec<Vec<u8>> {
    texts(&["localhost", "LocalHost.:8080", "127.0.0.1:80", "[::1]:80\nhttps://example.org", "127.9.8.7"])
}

/// A path as JSON Pointer: it has one way to be written.
fn path(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(path) = request::pointer(text) else { return false };
    let names = path.fields().iter().map(|field| field.as_str().replace('~', "~0").replace('/', "~1"));
    let written: String = names.map(|name| format!("/{name}")).collect();
    assert_eq!(written, text);
    true
}

fn paths() -> Vec<Vec<u8>> {
    texts(&["", "/a", "/address/city", "/a~1b/~0/ü"])
}

/// Operations keep to the limits.
fn ops(bytes: &[u8]) -> bool {
    let Ok(write) = operations::parse(bytes) else { return false };
    match &write {
        Write::Map(fields) => {
            assert!(fields.len() <= OPERATIONS_MAX);
            fields.iter().for_each(|FieldWrite { path, write, .. }| is_within(path, write));
        }
        write => is_within(&Path::default(), write),
    }
    true
}

fn is_within(path: &Path, write: &Write) {
    assert!(Path::new(path.fields().to_vec()).is_ok(), "{path:?}");
    let members = |op: &SetOp| match op {
        SetOp::Add(members) | SetOp::Remove(members) => members.len(),
        SetOp::Clear => 1,
    };
    let count = match write {
        Write::Counter(ops) => ops.len(),
        Write::Set(ops) => ops.iter().map(members).sum(),
        Write::Flag(ops) => ops.len(),
        Write::Observe(numbers) => numbers.len(),
        Write::Put { value, .. } => usize::from(serde_json::from_slice::<IgnoredAny>(value).is_ok()),
        Write::Map(_) => panic!("fields are written one by one"),
        Write::Delete => 1,
    };
    assert!((1..=OPERATIONS_MAX).contains(&count), "{count} operations in {write:?}");
}

fn some_ops() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"op":"increment","by":-5}"#,
        r#"{"op":"reset"}"#,
        r#"{"op":"add","members":["a","ü\n"]}"#,
        r#"{"op":"remove","members":["a"]}"#,
        r#"{"op":"clear"}"#,
        r#"{"ops":[{"op":"enable"},{"op":"disable"}]}"#,
        r#"{"op":"observe","value":-17}"#,
        r#"{"op":"set","value":{"a":[1,2.5e3,null,"x"]}}"#,
        r#"{"ops":[{"op":"set","path":["a","b"],"value":true,"type":"multi"},{"op":"remove","path":["old"]}]}"#,
        r#"{"op":"increment","path":["visits"]}"#,
    ])
}

/// A policy: what it says is the same when it is said anew.
fn policy(bytes: &[u8]) -> bool {
    let Ok(policy) = buckets::parse(bytes) else { return false };
    let defaults = policy.defaults.iter().map(|(operation, named)| (*operation, named.as_str()));
    let defaults: serde_json::Map<String, serde_json::Value> =
        defaults.map(|(operation, named)| (operation.to_owned(), named.into())).collect();
    let again = serde_json::json!({ "defaults": defaults }).to_string();
    assert!(buckets::parse(again.as_bytes()).is_ok_and(|read| read == policy), "{again}");
    true
}

fn policies() -> Vec<Vec<u8>> {
    texts(&[
        "{}",
        r#"{"defaults":{}}"#,
        r#"{"defaults":{"put":"multi","observe":"min"}}"#,
        r#"{"defaults":{"put":"register","increment":"counter","add":"set","remove":"set","clear":"set","enable":"flag","disable":"flag","observe":"max"}}"#,
    ])
}
