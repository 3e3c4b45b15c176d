//! A bucket: its keys by name and in order, and its policy.

use crate::call::{Call, Change, Seen, context, done, fitting, needed};
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::list::Keys;
use crate::request::{Answer, Method, Request};
use crate::types::{Counter, Flag, Handle, Map, Max, Min, Multi, Register, Set, Type, register_value};
use crate::value::Value;
use meridian_api::{header, kv};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A named set of keys.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    name: String,
}

/// One key of whatever type.
#[derive(Clone, Debug)]
pub struct Key(Place);

/// What holds for a bucket's keys where a request does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// By operation (`put`, `observe`, …), the type that a key gets which that operation creates.
    #[serde(default)]
    pub defaults: BTreeMap<String, String>,
    /// What a newer node knows beyond that, as JSON: kept, so that a policy that is read, changed and declared loses nothing.
    #[serde(flatten)]
    pub others: BTreeMap<String, serde_json::Value>,
}

impl Bucket {
    pub(crate) fn new(client: Client, name: String) -> Bucket {
        Bucket { client, name }
    }

    /// A register: a value, of which the last write wins.
    pub fn register(&self, key: impl Into<Vec<u8>>) -> Register {
        self.handle(key)
    }

    /// A register that keeps all values of which none has seen another.
    pub fn multi(&self, key: impl Into<Vec<u8>>) -> Multi {
        self.handle(key)
    }

    /// A counter.
    pub fn counter(&self, key: impl Into<Vec<u8>>) -> Counter {
        self.handle(key)
    }

    /// A set of strings.
    pub fn set(&self, key: impl Into<Vec<u8>>) -> Set {
        self.handle(key)
    }

    /// A flag.
    pub fn flag(&self, key: impl Into<Vec<u8>>) -> Flag {
        self.handle(key)
    }

    /// The highest number that was observed.
    pub fn max(&self, key: impl Into<Vec<u8>>) -> Max {
        self.handle(key)
    }

    /// The lowest number that was observed.
    pub fn min(&self, key: impl Into<Vec<u8>>) -> Min {
        self.handle(key)
    }

    /// A map, with fields of any of these types.
    pub fn map(&self, key: impl Into<Vec<u8>>) -> Map {
        self.handle(key)
    }

    /// A key of whatever type.
    pub fn key(&self, key: impl Into<Vec<u8>>) -> Key {
        Key(self.place(key.into(), None))
    }

    /// The keys, in byte order.
    pub fn keys(&self) -> Keys {
        Keys::new(self.client.clone(), kv::bucket_path(&self.name))
    }

    /// The policy; `None` if none was declared.
    pub fn policy(&self) -> Call<Option<Policy>> {
        Call::new(&self.client, Ok(self.policy_request(Method::GET)), declared)
    }

    /// Declares a policy, in place of what was declared. It holds for keys that are made afterwards.
    pub fn declare(&self, policy: &Policy) -> Call<()> {
        let body = serde_json::to_vec(policy).map_err(|error| Error::invalid("a policy", error));
        Call::new(&self.client, body.map(|body| self.policy_request(Method::PUT).body(body)), done)
    }

    /// Takes the policy away, and no key.
    pub fn forget_policy(&self) -> Call<()> {
        Call::new(&self.client, Ok(self.policy_request(Method::DELETE)), done)
    }

    fn policy_request(&self, method: Method) -> Request {
        Request::new(method, kv::policy_path(&self.name))
    }

    fn handle<K: Type>(&self, key: impl Into<Vec<u8>>) -> Handle<K> {
        Handle::new(self.place(key.into(), Some(K::NAME)))
    }

    fn place(&self, key: Vec<u8>, kind: Option<&'static str>) -> Place {
        Place { client: self.client.clone(), bucket: self.name.clone(), key, kind }
    }
}

fn declared(answer: &Answer) -> Result<Option<Policy>, Kind> {
    #[derive(Deserialize)]
    struct Shown {
        /// It is no part of the policy.
        #[serde(rename = "bucket")]
        _bucket: IgnoredAny,
        declared: bool,
        #[serde(flatten)]
        policy: Policy,
    }
    let shown: Shown = crate::call::json(answer)?;
    Ok(shown.declared.then_some(shown.policy))
}

impl Key {
    /// Its type and value, as bytes with a content type: a counter is `1205` as `application/json`.
    pub fn read(&self) -> Call<Option<Seen<(String, Value)>>> {
        self.0.get(&[], whatever_it_is)
    }

    /// Deletes it, whatever type it has.
    pub fn delete(&self) -> Change<()> {
        self.0.delete()
    }

    /// How each member has it: cells, dots, versions, as JSON (see `docs/http-api.md`). It is there for whoever debugs a cluster.
    pub fn inspect(&self) -> Call<serde_json::Value> {
        let path = kv::inspect_path(&self.0.bucket, &self.0.key);
        Call::new(&self.0.client, Ok(Request::new(Method::GET, path)), fitting)
    }
}

fn whatever_it_is(answer: &Answer) -> Result<Option<Seen<(String, Value)>>, Kind> {
    let kind = needed(answer, header::TYPE)?.to_owned();
    Ok(Some(Seen { value: (kind, register_value(answer)?), context: context(answer)? }))
}

/// Where a key is, and as which type.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) client: Client,
    bucket: String,
    key: Vec<u8>,
    kind: Option<&'static str>,
}

impl Place {
    /// The same key, whatever type it has.
    pub(crate) fn of_any_type(&self) -> Place {
        Place { kind: None, ..self.clone() }
    }

    /// The path, with the type and these parameters.
    pub(crate) fn path(&self, parameters: &[(&str, &str)]) -> String {
        let kind = self.kind.map(|kind| ("type", kind));
        let path = kv::key_path(&self.bucket, &self.key);
        kind.iter().chain(parameters).fold(path, |path, (name, value)| kv::with_parameter(&path, name, value))
    }

    /// Reads; `None` where nothing is there.
    pub(crate) fn get<T>(
        &self,
        parameters: &[(&str, &str)],
        understand: fn(&Answer) -> Result<Option<T>, Kind>,
    ) -> Call<Option<T>> {
        let request = Request::new(Method::GET, self.path(parameters));
        Call::new(&self.client, Ok(request), understand).or(|| None)
    }

    /// Puts a value.
    pub(crate) fn put(&self, value: Value, parameters: &[(&str, &str)]) -> Change<()> {
        let request = Request::new(Method::PUT, self.path(parameters));
        let request = request.header("content-type", value.content_type).body(value.bytes);
        Change::new(Call::new(&self.client, Ok(request), done))
    }

    /// Does an operation, or several.
    pub(crate) fn post<T>(
        &self,
        body: &serde_json::Value,
        is_repeatable: bool,
        understand: fn(&Answer) -> Result<T, Kind>,
    ) -> Call<T> {
        let request = Request::new(Method::POST, self.path(&[])).json(body).repeatable(is_repeatable);
        Call::new(&self.client, Ok(request), understand)
    }

    pub(crate) fn delete(&self) -> Change<()> {
        Change::new(Call::new(&self.client, Ok(Request::new(Method::DELETE, self.path(&[]))), done))
    }
}
