//! `/v1/buckets` and `/v1/buckets/{bucket}`: what holds for a bucket's keys where a request does not say.
//!
//! A policy is a key in a bucket of the system's own, and is read, written and listed like any other. It is checked here, for once
//! it is stored every node believes it.

use super::answer::{Answer, Refused, no_content, with_body};
use super::kv::{self, Asked, CONSISTENCY, JSON};
use super::{App, listing, request};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use meridian_api::error::Code;
use meridian_core::cell::Type;
use meridian_core::listing::{Entry, Query, Shown};
use meridian_core::name::Bucket;
use meridian_core::policy::{self, OPERATIONS, Policy};
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::Write;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::fmt;
use std::ops::ControlFlow;

/// The longest policy, in bytes. A longer one is refused.
const POLICY_BYTES_MAX: usize = 64 << 10;
/// Fields that a policy will have, and does not have yet.
const FIELDS_ABSENT: [&str; 3] = ["consistency", "strong", "ttl"];
/// Operations that will create keys, and are not there yet.
const OPERATIONS_ABSENT: [&str; 8] =
    ["create", "decrement", "transfer", "insert", "move", "delete", "expire", "persist"];
/// What a cursor is bound to.
const LISTING: &[u8] = b"policies";

// -- one bucket -----------------------------------------------------------------------------------------------------------

#[derive(Serialize)]
struct PolicyView<'a> {
    bucket: &'a str,
    /// Not said in a list, which has only those that are declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    declared: Option<bool>,
    defaults: Defaults<'a>,
}

struct Defaults<'a>(&'a Policy);

impl Serialize for Defaults<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(self.0.defaults.iter().map(|(operation, named)| (operation, named.as_str())))
    }
}

/// Answers a request for the policy of a bucket.
pub(super) async fn one(app: &App, parts: &Parts, bucket: &str, body: Incoming) -> Answer {
    respond(app, parts, bucket, body).await.unwrap_or_else(Answer::from)
}

async fn respond(app: &App, parts: &Parts, bucket: &str, body: Incoming) -> Result<Answer, Refused> {
    let method = &parts.method;
    if !matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE) {
        return Err(Refused::method("GET, HEAD, PUT, DELETE"));
    }
    if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Refused::new(Code::UnknownParameter, "a policy has no parameters"));
    }
    let bucket = request::bucket(bucket)?;
    let asked = Asked::of(Bucket::policies(), policy::key_of(&bucket));
    match *method {
        Method::PUT => {
            kv::may_write(app)?;
            let (body, _share) = kv::take_body(app, body, POLICY_BYTES_MAX, Code::RequestTooLarge).await?;
            kv::write(app, &asked, parse(&body)?.write()).await?;
            Ok(local(no_content()))
        }
        Method::DELETE => {
            kv::write(app, &asked, Write::Delete).await?;
            Ok(local(no_content()))
        }
        _ => {
            let found = kv::read(app, &asked, &ReadRequest::default()).await?.value;
            let policy = found.as_ref().map(Policy::of).unwrap_or_default();
            let (bucket, declared) = (bucket.as_str(), Some(found.is_some()));
            Ok(json(&PolicyView { bucket, declared, defaults: Defaults(&policy) }))
        }
    }
}

fn json(view: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(view).expect("plain data can be written");
    local(with_body(StatusCode::OK, JSON, body))
}

fn local(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CONSISTENCY, HeaderValue::from_static("local"));
    answer
}

// -- all that are declared ------------------------------------------------------------------------------------------------

#[derive(Serialize)]
struct PageView<'a> {
    buckets: Vec<PolicyView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Answers a request for a page of all buckets that are declared.
pub(super) async fn all(app: &App, parts: &Parts) -> Answer {
    list(app, parts).await.unwrap_or_else(Answer::from)
}

async fn list(app: &App, parts: &Parts) -> Result<Answer, Refused> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(Refused::method("GET, HEAD"));
    }
    let (limit, cursor) = parameters(parts.uri.query().unwrap_or_default())?;
    let mut query = Query { limit, values: true, ..Query::default() };
    if let Some(cursor) = cursor {
        let opened = app.tokens.open_cursor(&Bucket::policies(), LISTING, cursor.as_bytes());
        query.after = Some(opened.map_err(|bad| Refused::new(Code::BadToken, bad.to_string()))?);
    }
    let door = app.door.clone();
    let (found, next) = listing::beside(app, move || {
        let mut found: Vec<(String, Policy)> = Vec::new();
        let next = door.list(&Bucket::policies(), &query, &mut |entry| {
            if let Entry::Key(listed) = entry {
                let policy = match &listed.value {
                    Shown::Value(value) => Policy::of(value),
                    Shown::Nothing | Shown::PageRequired => Policy::default(),
                };
                found.push((String::from_utf8_lossy(listed.key.as_bytes()).into_owned(), policy));
            }
            ControlFlow::Continue(())
        })?;
        Ok((found, next))
    })
    .await?;
    let view = |(bucket, policy)| PolicyView { bucket, declared: None, defaults: Defaults(policy) };
    let buckets = found.iter().map(|(bucket, policy)| view((&bucket[..], policy))).collect();
    let next = next.map(|next| app.tokens.cursor(&Bucket::policies(), LISTING, &next));
    Ok(json(&PageView { buckets, next }))
}

pub(super) fn parameters(query: &str) -> Result<(usize, Option<String>), Refused> {
    let (mut limit, mut cursor) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let twice = match name.as_ref() {
            "limit" => limit.replace(listing::limit(value.as_bytes())?).is_some(),
            "cursor" => cursor.replace(value.into_owned()).is_some(),
            _ => {
                let detail = format!("there is no parameter ?{name}= (this page has limit and cursor)");
                return Err(Refused::new(Code::UnknownParameter, detail));
            }
        };
        if twice {
            return Err(Refused::new(Code::InvalidParameter, format!("?{name}= is given twice")));
        }
    }
    Ok((limit.unwrap_or(listing::ENTRIES_USUAL), cursor))
}

// -- a policy as JSON -----------------------------------------------------------------------------------------------------

/// Reads a policy.
///
/// # Errors
/// 400 for what is no policy, and for what this version lacks.
pub(super) fn parse(body: &[u8]) -> Result<Policy, Refused> {
    let text = str::from_utf8(body).map_err(|_| invalid("a policy is JSON, in UTF-8"))?;
    let mut policy = Policy::default();
    for (name, value) in fields(text)? {
        match &name[..] {
            "defaults" => policy.defaults = defaults(value.get())?,
            name if FIELDS_ABSENT.contains(&name) => {
                return Err(request::absent(&format!("the policy field {name}")));
            }
            name => return Err(invalid(format!("a policy has no field {name:?}: there is defaults"))),
        }
    }
    Ok(policy)
}

fn defaults(text: &str) -> Result<Vec<(&'static str, Type)>, Refused> {
    let mut defaults = Vec::new();
    for (name, value) in fields(text)? {
        let Some((operation, types)) = OPERATIONS.iter().find(|(known, _)| *known == name) else {
            if OPERATIONS_ABSENT.contains(&&name[..]) {
                return Err(request::absent(&format!("the operation {name}")));
            }
            let there = OPERATIONS.map(|(known, _)| known).join(", ");
            return Err(invalid(format!("a policy names no type for {name:?}: it does for {there}")));
        };
        let named: String = serde_json::from_str(value.get()).map_err(|_| {
            invalid(format!("the default for {operation} is the name of a type, as a string"))
        })?;
        let named = request::type_named(&named).map_err(|refused| match refused.problem.code {
            Code::NotAvailable => refused,
            _ => invalid(&refused.problem.detail[..]),
        })?;
        if !types.contains(&named) {
            let there = types.iter().copied().map(Type::as_str).collect::<Vec<_>>().join(" or ");
            let named = named.as_str();
            return Err(invalid(format!("a {named} does not know {operation}: the default is {there}")));
        }
        defaults.push((*operation, named));
    }
    defaults.sort_unstable();
    Ok(defaults)
}

fn invalid(detail: impl Into<String>) -> Refused {
    Refused::new(Code::BodyInvalid, detail)
}

/// The fields of a JSON object, none of them twice.
fn fields(text: &str) -> Result<Vec<(String, &RawValue)>, Refused> {
    let fields = serde_json::from_str(text).map(|Fields(fields)| fields);
    fields
        .map_err(|error| invalid(format!("a policy is like {{\"defaults\":{{\"put\":\"multi\"}}}}: {error}")))
}

struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields: Vec<(String, &RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, _>()? {
                    if fields.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom(format!("{name:?} stands there twice")));
                    }
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }

        from.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read() {
        let of = |body: &str| parse(body.as_bytes()).expect(body).defaults;
        assert_eq!(of("{}"), []);
        assert_eq!(of(r#" {"defaults": {}} "#), []);
        let both = r#"{"defaults":{"put":"multi","observe":"min"}}"#;
        assert_eq!(of(both), [("observe", Type::Min), ("put", Type::Multi)]);
        for (operation, types) in OPERATIONS {
            for named in types {
                let body = format!(r#"{{"defaults":{{"{operation}":"{}"}}}}"#, named.as_str());
                assert_eq!(of(&body), [(operation, *named)]);
            }
        }
    }

    #[test]
    fn what_is_no_policy_is_refused_by_name() {
        let refused = |body: &str| {
            let problem = parse(body.as_bytes()).expect_err(body).problem;
            (problem.code, problem.detail)
        };
        for (body, word) in [
            ("", "like"),
            ("{", "like"),
            ("[]", "object"),
            ("5", "object"),
            (r#"["put"]"#, "object"),
            (r#"{"defaults":5}"#, "object"),
            (r#"{"defaults":null}"#, "object"),
            (r#"{"defaults":["put"]}"#, "object"),
            (r#"{} x"#, "trailing"),
            (r#"{"default":{}}"#, "there is defaults"),
            (r#"{"defaults":{"explode":"set"}}"#, "put, increment, add"),
            (r#"{"defaults":{"reset":"counter"}}"#, "put, increment, add"),
            (r#"{"defaults":{"put":5}}"#, "name of a type"),
            (r#"{"defaults":{"put":null}}"#, "name of a type"),
            (r#"{"defaults":{"put":"mop"}}"#, "register, counter, set"),
            (r#"{"defaults":{"put":"set"}}"#, "register or multi"),
            (r#"{"defaults":{"observe":"counter"}}"#, "max or min"),
            (r#"{"defaults":{"put":"multi","put":"register"}}"#, "twice"),
            (r#"{"defaults":{},"defaults":{}}"#, "twice"),
        ] {
            let (code, detail) = refused(body);
            assert_eq!(code, Code::BodyInvalid, "{body}");
            assert!(detail.contains(word), "{body}: {detail}");
        }
        for (body, word) in [
            (r#"{"defaults":{"add":"set-rw"}}"#, "set-rw"),
            (r#"{"defaults":{"enable":"flag-dw"}}"#, "flag-dw"),
            (r#"{"defaults":{"increment":"bounded"}}"#, "bounded"),
            (r#"{"defaults":{"put":"json"}}"#, "json"),
            (r#"{"defaults":{"put":"list"}}"#, "list"),
            (r#"{"defaults":{"insert":"list"}}"#, "insert"),
            (r#"{"consistency":"strong"}"#, "consistency"),
            (r#"{"strong":true}"#, "strong"),
            (r#"{"ttl":"30m"}"#, "ttl"),
        ] {
            let (code, detail) = refused(body);
            assert_eq!(code, Code::NotAvailable, "{body}");
            assert!(detail.contains(word), "{body}: {detail}");
        }
    }

    #[test]
    fn parameters_are_known_or_refused() {
        let of = |query: &str| parameters(query).map_err(|refused| refused.problem.code);
        assert_eq!(of(""), Ok((100, None)));
        assert_eq!(of("limit=7&cursor=x"), Ok((7, Some("x".into()))));
        for (query, code) in [
            ("limit=0", Code::InvalidParameter),
            ("limit=1001", Code::InvalidParameter),
            ("limit=7&limit=7", Code::InvalidParameter),
            ("cursor=x&cursor=x", Code::InvalidParameter),
            ("prefix=a", Code::UnknownParameter),
        ] {
            assert_eq!(of(query), Err(code), "{query}");
        }
    }
}
