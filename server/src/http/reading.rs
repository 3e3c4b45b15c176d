//! GET and HEAD of a key: which part is asked for, and how what is found becomes an answer.

use super::App;
use super::answer::{Answer, Refused, not_modified, with_body};
use super::kv::{self, Asked, JSON, KEY_TYPE};
use super::request::Asking;
use super::shown::Shown;
use crate::token::Collection;
use hyper::StatusCode;
use hyper::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use meridian_api::error::Code;
use meridian_api::header;
use meridian_core::cell::Type;
use meridian_core::codec::Encode as _;
use meridian_core::id::Dot;
use meridian_core::name::{ContentType, Member};
use meridian_core::replica::read::{Found, Part, ReadRequest};
use meridian_core::types::Value;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

const SIBLINGS: HeaderName = HeaderName::from_static(header::SIBLINGS);
const HIDDEN: HeaderName = HeaderName::from_static(header::HIDDEN);
/// How many members or fields a page has, if nothing is said.
const PAGE_USUAL: usize = 100;

/// A page of a collection.
#[derive(Serialize)]
struct Page<'a> {
    /// Of a set.
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Shown<'a>>,
    /// Of a map.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Shown<'a>>,
    /// Where the next page begins; none at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Answers a GET or a HEAD.
///
/// # Errors
/// 400 for parts that cannot be, and as [`kv::read`].
pub(super) async fn respond(
    app: &App,
    headers: &HeaderMap,
    asked: &Asked,
    asking: Asking,
) -> Result<Answer, Refused> {
    let request = read_request(app, asked, asking)?;
    let Found { value, next, hidden, shown, context } = kv::read(app, asked, &request).await?;
    let Some(value) = value else {
        let refused = missing(app, asked, &request).await?;
        return Ok(kv::with_context(app, asked, &context, refused.into()));
    };
    let (key_type, siblings) = (value.key_type(), siblings(&value));
    let tag = tag(key_type, &shown);
    let mut answer = match is_known(headers, tag.as_deref()) {
        true => not_modified(),
        false => part_answer(app, asked, &request, value, next)?,
    };
    set_value_headers(&mut answer, key_type, siblings);
    if let Some(tag) = tag {
        answer.headers_mut().insert(ETAG, text_header(tag));
    }
    if !hidden.is_empty() {
        let hidden: Vec<&str> = hidden.into_iter().map(Type::as_str).collect();
        answer.headers_mut().insert(HIDDEN, text_header(hidden.join(", ")));
    }
    Ok(kv::with_context(app, asked, &context, answer))
}

/// What the core is to read.
fn read_request(app: &App, asked: &Asked, asking: Asking) -> Result<ReadRequest, Refused> {
    let Asking { path, contains, member_prefix, limit, cursor } = asking;
    let path = path.unwrap_or_default();
    let pages = member_prefix.is_some() || limit.is_some() || cursor.is_some();
    let part = match contains {
        Some(_) if pages => {
            let detail =
                "?contains= asks about one member: send it without ?member_prefix=, ?limit= and ?cursor=";
            return Err(Refused::new(Code::InvalidParameter, detail));
        }
        Some(member) => Part::Member(
            Member::new(&member)
                .map_err(|error| Refused::new(Code::InvalidParameter, format!("?contains=: {error}")))?,
        ),
        None if pages => {
            let prefix = member_prefix.unwrap_or_default();
            let collection = Collection { key: &asked.key, path: &path, prefix: &prefix };
            let open = |cursor: String| app.tokens.open_page(&asked.bucket, &collection, cursor.as_bytes());
            let after = cursor.map(open).transpose();
            let after = after.map_err(|bad| Refused::new(Code::BadToken, bad.to_string()))?;
            Part::Page { prefix, after, limit: limit.unwrap_or(PAGE_USUAL) }
        }
        None => Part::Whole,
    };
    Ok(ReadRequest { named: asked.named, path, part })
}

/// Why nothing is found: there is no such key, or no such field in it.
async fn missing(app: &App, asked: &Asked, request: &ReadRequest) -> Result<Refused, Refused> {
    if !request.path.is_root() {
        let part = Part::Page { prefix: String::new(), after: None, limit: 0 };
        let any = ReadRequest { named: Some(Type::Map), part, ..ReadRequest::default() };
        if kv::read(app, asked, &any).await?.value.is_some() {
            let detail = format!("the map has nothing at {:?}", request.path);
            return Ok(Refused::new(Code::FieldNotFound, detail));
        }
    }
    Ok(Refused::new(Code::KeyNotFound, "there is no such key: a PUT or POST makes it"))
}

fn part_answer(
    app: &App,
    asked: &Asked,
    request: &ReadRequest,
    value: Value,
    next: Option<String>,
) -> Result<Answer, Refused> {
    match (&request.part, &value) {
        (Part::Member(_), Value::Set(found)) => Ok(json_answer(app, &!found.is_empty())?),
        (Part::Page { prefix, .. }, _) => {
            let collection = Collection { key: &asked.key, path: &request.path, prefix };
            let next = next.map(|last| app.tokens.page(&asked.bucket, &collection, &last));
            let is_map = value.key_type() == Type::Map;
            let members = (!is_map).then_some(Shown(&value));
            let fields = is_map.then_some(Shown(&value));
            json_answer(app, &Page { members, fields, next })
        }
        _ => whole(app, value),
    }
}

fn json_answer(app: &App, body: &impl Serialize) -> Result<Answer, Refused> {
    let body = serde_json::to_vec(body).expect("plain data and checked JSON can be written");
    Ok(with_body(StatusCode::OK, JSON, app.budget.counted(body)?))
}

/// The answer that is a value.
///
/// # Errors
/// 503 when too many bytes are held already.
pub(super) fn value_answer(app: &App, value: Value) -> Result<Answer, Refused> {
    let (key_type, siblings) = (value.key_type(), siblings(&value));
    let mut answer = whole(app, value)?;
    set_value_headers(&mut answer, key_type, siblings);
    Ok(answer)
}

/// The bytes as they were put, or JSON.
fn whole(app: &App, value: Value) -> Result<Answer, Refused> {
    let bytes = |content_type: &ContentType, bytes: Vec<u8>| {
        Ok(with_body(StatusCode::OK, content_type.as_str(), app.budget.counted(bytes)?))
    };
    match value {
        Value::Register { content_type, bytes: value } => bytes(&content_type, value),
        Value::Multi(mut blobs) if blobs.len() == 1 => {
            let blob = blobs.remove(0);
            bytes(&blob.content_type, blob.value)
        }
        value => json_answer(app, &Shown(&value)),
    }
}

/// How many values a `multi` has, where there are several.
fn siblings(value: &Value) -> Option<usize> {
    match value {
        Value::Multi(blobs) if blobs.len() > 1 => Some(blobs.len()),
        _ => None,
    }
}

fn set_value_headers(answer: &mut Answer, key_type: Type, siblings: Option<usize>) {
    answer.headers_mut().insert(KEY_TYPE, HeaderValue::from_static(key_type.as_str()));
    if let Some(siblings) = siblings {
        answer.headers_mut().insert(SIBLINGS, HeaderValue::from(siblings));
    }
}

fn text_header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("letters and digits")
}

// -- entity tags ---------------------------------------------------------------------------------------------------------

/// The entity tag of what is shown by these writes; none of a type that has no tags. Equal on replicas that agree.
fn tag(key_type: Type, shown: &[Dot]) -> Option<String> {
    let mut bytes = key_type.to_bytes();
    shown.iter().for_each(|dot| dot.encode(&mut bytes));
    (!shown.is_empty()).then(|| format!("\"{:032x}\"", xxh3_128(&bytes)))
}

/// Whether the client has what is there: one of the tags in `If-None-Match`, weak or not, is its tag, or `*`.
fn is_known(headers: &HeaderMap, tag: Option<&str>) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    // No tag of ours has a comma in it.
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|given| given == "*" || tag.is_some_and(|tag| given.strip_prefix("W/").unwrap_or(given) == tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_core::id::OriginId;

    fn known(values: &[&str], tag: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_NONE_MATCH, HeaderValue::from_str(value).expect("a value"));
        }
        is_known(&headers, tag)
    }

    #[test]
    fn a_tag_is_of_the_type_and_the_writes() {
        let dot = |origin, seq| Dot::new(OriginId(origin), seq);
        let one = tag(Type::Multi, &[dot(1, 2)]).expect("it has one");
        assert_eq!((one.len(), &one[..1], &one[33..]), (34, "\"", "\""));
        assert_eq!(tag(Type::Multi, &[dot(1, 2)]), Some(one.clone()));
        for other in [
            tag(Type::Register, &[dot(1, 2)]),
            tag(Type::Multi, &[dot(1, 3)]),
            tag(Type::Multi, &[dot(2, 2)]),
            tag(Type::Multi, &[dot(1, 2), dot(2, 2)]),
            tag(Type::Multi, &[]),
        ] {
            assert_ne!(other, Some(one.clone()));
        }
        assert_eq!(tag(Type::Set, &[]), None);
    }

    #[test]
    fn a_client_knows_what_it_names() {
        let tag = Some("\"ab\"");
        for values in
            [&["\"ab\""][..], &["W/\"ab\""], &["\"x\", W/\"y\" ,\"ab\""], &["\"x\"", "\"ab\""], &["*"]]
        {
            assert!(known(values, tag), "{values:?}");
        }
        for values in [&[][..], &["\"x\""], &["ab"], &["w/\"ab\""], &["\"ab"], &[""], &["\"a\"b\""]] {
            assert!(!known(values, tag), "{values:?}");
        }
        assert!(!known(&["\"ab\""], None) && known(&["*"], None));
    }
}
