//! Lists in pages: the keys of a bucket, the members of a set, the policies of a cluster.
//!
//! A page costs a node the same wherever it begins, and pages together are no snapshot: what is written behind the place that was
//! reached is seen, and what nobody touches is listed exactly once.

use crate::bucket::Policy;
use crate::call::Call;
use crate::client::Client;
use crate::error::Error;
use crate::request::{Method, Request};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use meridian_api::kv::{self, key64, with_parameter};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::VecDeque;

/// The parameter that turns the order round.
const REVERSE: &str = "reverse";

/// The keys of a bucket, in byte order: says which, and then gives them one by one or in pages.
///
/// ```no_run
/// # async fn example(client: meridian_client::Client) -> Result<(), meridian_client::Error> {
/// let mut keys = client.bucket("users").keys().prefix("42/").with_values();
/// while let Some(entry) = keys.next().await? {
///     println!("{} is a {}", entry.name(), entry.kind);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Keys {
    pages: Pages,
    unread: VecDeque<Entry>,
}

/// The members of a set, in byte order, one by one or in pages.
#[derive(Debug)]
pub struct Members {
    pages: Pages,
    unread: VecDeque<String>,
}

/// The policies that were declared, by their buckets in order, in pages.
#[derive(Debug)]
pub struct Policies(Pages);

/// A page of keys.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Page {
    /// The keys.
    pub keys: Vec<Entry>,
    /// With a delimiter, what many keys begin with, each once, in the order of the keys.
    pub prefixes: Vec<Vec<u8>>,
}

/// A key as it is listed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// Its type; `conflict` where it has several.
    pub kind: String,
    /// The types, where it has several.
    pub types: Vec<String>,
    /// Of a register: what its value is.
    pub content_type: Option<String>,
    /// Of a register: how long its value is.
    pub bytes: Option<u64>,
    /// Its value, where values were asked for and it can be shown: JSON as itself, text as a string, other bytes as
    /// `{"base64":"…"}`. Numbers beyond 64 bits are rounded; read the key for all digits. `None` too where it is JSON that no
    /// `serde_json::Value` holds, like `1e999`.
    pub value: Option<serde_json::Value>,
}

impl Entry {
    /// The key as text; what is not UTF-8 in it is shown as `�`.
    pub fn name(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }
}

impl Keys {
    pub(crate) fn new(client: Client, path: String) -> Keys {
        Keys { pages: Pages::new(client, path), unread: VecDeque::new() }
    }

    /// Only keys that begin so.
    pub fn prefix(self, prefix: impl AsRef<[u8]>) -> Keys {
        self.bytes("prefix", "prefix64", prefix.as_ref())
    }

    /// Only keys from this one on.
    pub fn start(self, start: impl AsRef<[u8]>) -> Keys {
        self.bytes("start", "start64", start.as_ref())
    }

    /// Only keys before this one.
    pub fn end(self, end: impl AsRef<[u8]>) -> Keys {
        self.bytes("end", "end64", end.as_ref())
    }

    /// From the last to the first. What `start` and `end` mean stays.
    pub fn reverse(self) -> Keys {
        self.parameter(REVERSE, "true")
    }

    /// Keys that have this behind the prefix are not listed one by one: see [`Page::prefixes`].
    pub fn delimiter(self, delimiter: &str) -> Keys {
        self.parameter("delimiter", delimiter)
    }

    /// How many a page has at most: 1 to 1,000, 100 if not said.
    pub fn page_size(self, keys: u16) -> Keys {
        self.parameter("limit", &keys.to_string())
    }

    /// With values.
    pub fn with_values(self) -> Keys {
        self.parameter("values", "true")
    }

    /// The next page; `None` behind the last. A page may be empty though more follow. Behind [`Keys::next`] it is what is left of the
    /// page that was begun.
    ///
    /// # Errors
    /// As of every call. Nothing is passed over: it may be asked for again.
    pub async fn next_page(&mut self) -> Result<Option<Page>, Error> {
        if !self.unread.is_empty() {
            return Ok(Some(Page { keys: self.unread.drain(..).collect(), prefixes: Vec::new() }));
        }
        let is_reversed = self.pages.parameters.iter().any(|(name, _)| *name == REVERSE);
        let page: Option<Decoded> = self.pages.next().await?;
        Ok(page.map(|Decoded(mut page)| {
            page.prefixes.sort();
            if is_reversed {
                page.prefixes.reverse();
            }
            page
        }))
    }

    /// The next page as the node gave it, for who passes it on: numbers keep their text. Its fields stand in `docs/http-api.md`.
    ///
    /// # Errors
    /// As [`Keys::next_page`]; and [`Kind::Invalid`](crate::Kind::Invalid) while a page is begun by [`Keys::next`].
    pub async fn next_page_as_given(&mut self) -> Result<Option<Box<RawValue>>, Error> {
        if !self.unread.is_empty() {
            return Err(Error::invalid("a page as given", "the page before is not read to its end"));
        }
        self.pages.next().await
    }

    /// The next key; `None` behind the last. Prefixes are passed over.
    ///
    /// # Errors
    /// As [`Keys::next_page`].
    pub async fn next(&mut self) -> Result<Option<Entry>, Error> {
        while self.unread.is_empty() {
            let Some(page) = self.next_page().await? else { return Ok(None) };
            self.unread.extend(page.keys);
        }
        Ok(self.unread.pop_front())
    }

    fn bytes(self, name: &'static str, name64: &'static str, bytes: &[u8]) -> Keys {
        match str::from_utf8(bytes) {
            Ok(text) => self.without(name64).parameter(name, text),
            Err(_) => self.without(name).parameter(name64, &key64(bytes)),
        }
    }

    /// Said again, it replaces what was said before.
    fn parameter(self, name: &'static str, value: &str) -> Keys {
        let mut keys = self.without(name);
        keys.pages.parameters.push((name, value.into()));
        keys
    }

    fn without(mut self, name: &str) -> Keys {
        self.pages.parameters.retain(|(said, _)| *said != name);
        self
    }
}

impl Members {
    pub(crate) fn new(client: Client, path: String) -> Members {
        Members { pages: Pages::new(client, path), unread: VecDeque::new() }
    }

    /// The next page; `None` behind the last. Behind [`Members::next`] it is what is left of the page that was begun.
    ///
    /// # Errors
    /// As of every call. Nothing is passed over: it may be asked for again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<String>>, Error> {
        if !self.unread.is_empty() {
            return Ok(Some(self.unread.drain(..).collect()));
        }
        let page: Option<MemberPage> = self.pages.next().await?;
        Ok(page.map(|page| page.members))
    }

    /// The next member; `None` behind the last.
    ///
    /// # Errors
    /// As [`Members::next_page`].
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        while self.unread.is_empty() {
            let Some(page) = self.next_page().await? else { return Ok(None) };
            self.unread.extend(page);
        }
        Ok(self.unread.pop_front())
    }
}

impl Policies {
    pub(crate) fn new(client: Client) -> Policies {
        Policies(Pages::new(client, kv::BUCKETS.into()))
    }

    /// The next page: buckets and their policies; `None` behind the last.
    ///
    /// # Errors
    /// As of every call. Nothing is passed over: it may be asked for again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<(String, Policy)>>, Error> {
        let page: Option<PolicyPage> = self.0.next().await?;
        Ok(page.map(|page| page.buckets.into_iter().map(|it| (it.bucket, it.policy)).collect()))
    }
}

// -- pages as they come --------------------------------------------------------------------------------------------------

/// Pages one after the other, by their cursors.
#[derive(Debug)]
struct Pages {
    client: Client,
    path: String,
    parameters: Vec<(&'static str, String)>,
    next: Next,
}

#[derive(Debug)]
enum Next {
    First,
    At(String),
    Nothing,
}

/// What every page has.
#[derive(Deserialize)]
struct Cursor {
    next: Option<String>,
}

#[derive(Deserialize)]
struct MemberPage {
    members: Vec<String>,
}

#[derive(Deserialize)]
struct PolicyPage {
    buckets: Vec<Declared>,
}

#[derive(Deserialize)]
struct Declared {
    bucket: String,
    #[serde(flatten)]
    policy: Policy,
}

/// A page of keys that was understood to its end.
#[derive(Deserialize)]
#[serde(try_from = "KeyPage")]
struct Decoded(Page);

#[derive(Deserialize)]
struct KeyPage {
    keys: Vec<Listed>,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    prefixes64: Vec<String>,
}

#[derive(Deserialize)]
struct Listed {
    key: Option<String>,
    key64: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    types: Vec<String>,
    content_type: Option<String>,
    bytes: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    value: Option<Box<RawValue>>,
}

/// What is there, also where it is `null`.
fn given<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(json).map(Some)
}

impl Pages {
    fn new(client: Client, path: String) -> Pages {
        Pages { client, path, parameters: Vec::new(), next: Next::First }
    }

    /// The next page. Only when it was understood is it passed.
    async fn next<P: DeserializeOwned + Send + 'static>(&mut self) -> Result<Option<P>, Error> {
        let cursor = match &self.next {
            Next::First => None,
            Next::At(cursor) => Some(("cursor", cursor)),
            Next::Nothing => return Ok(None),
        };
        let parameters = self.parameters.iter().map(|(name, value)| (*name, value)).chain(cursor);
        let path =
            parameters.fold(self.path.clone(), |path, (name, value)| with_parameter(&path, name, value));
        let request = Request::new(Method::GET, path);
        let (cursor, page) = Call::new(&self.client, Ok(request), |answer| {
            Ok((crate::call::json::<Cursor>(answer)?, crate::call::json::<P>(answer)?))
        })
        .await?;
        self.next = cursor.next.map_or(Next::Nothing, Next::At);
        Ok(Some(page))
    }
}

impl TryFrom<KeyPage> for Decoded {
    type Error = String;

    fn try_from(page: KeyPage) -> Result<Decoded, String> {
        let keys = page.keys.into_iter().map(Listed::decoded).collect::<Result<_, _>>()?;
        let mut prefixes: Vec<Vec<u8>> = page.prefixes.into_iter().map(String::into_bytes).collect();
        for prefix in &page.prefixes64 {
            prefixes.push(bytes_of(prefix)?);
        }
        Ok(Decoded(Page { keys, prefixes }))
    }
}

impl Listed {
    fn decoded(self) -> Result<Entry, String> {
        let key = match (self.key, self.key64) {
            (Some(key), _) => key.into_bytes(),
            (None, Some(key)) => bytes_of(&key)?,
            (None, None) => return Err("an entry has no key".into()),
        };
        let Listed { kind, types, content_type, bytes, value, .. } = self;
        let value = value.and_then(|json| serde_json::from_str(json.get()).ok());
        Ok(Entry { key, kind, types, content_type, bytes, value })
    }
}

fn bytes_of(key64: &str) -> Result<Vec<u8>, String> {
    BASE64_URL_SAFE_NO_PAD.decode(key64).map_err(|error| format!("{key64:?} is no base64url: {error}"))
}
