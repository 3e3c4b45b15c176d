//! One key, what is done to it, and what each node must answer for it.

use super::writes::{self, Request};
use meridian_core::cell::{Head, Type};
use meridian_core::context::{Context, Seen};
use meridian_core::hlc::Hlc;
use meridian_core::id::{Dot, OriginId};
use meridian_core::name::Key;
use meridian_core::path::{Field, Path};
use meridian_core::replica::read::ReadRequest;
use meridian_core::types::{Refusal, Value};
use meridian_core::version_vector::VersionVector;
use meridian_tests::http::Answer;
use meridian_tests::model::{self, Event, Model, Vector};
use meridian_tests::process::NodeProcess;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;

/// The bucket of an episode.
pub(super) fn bucket(seed: u64) -> String {
    format!("h{seed}")
}

/// One key.
pub(super) struct History {
    bucket: String,
    name: String,
    /// The type that it mostly has; `None` where anything goes.
    home: Option<Type>,
    /// What each node holds. Each key is a world of its own: only writes to it matter for it.
    nodes: Vec<Model>,
    events: BTreeMap<Dot, Event>,
    /// What clients have seen: the token, and what it says.
    contexts: Vec<(String, Context)>,
    values: u64,
    told: Vec<String>,
}

/// A request that was refused.
pub(super) enum Refused {
    /// As the model says.
    AsForetold,
    /// The answer is not the model's.
    Otherwise(String),
}

impl History {
    /// A key that does not exist so far.
    pub(super) fn new(seed: u64, number: usize, nodes: usize, rng: &mut impl Rng) -> History {
        let home = *Type::ALL.choose(rng).expect("some");
        History {
            bucket: bucket(seed),
            name: format!("k/{number:02}"),
            home: (!number.is_multiple_of(4)).then_some(home),
            nodes: vec![Model::default(); nodes],
            events: BTreeMap::new(),
            contexts: Vec::new(),
            values: 0,
            told: Vec::new(),
        }
    }

    fn key(&self) -> Key {
        Key::new(self.name.as_bytes()).expect("a key")
    }

    fn path(&self) -> String {
        format!("/v1/kv/{}/{}", self.bucket, self.name)
    }

    /// What is to be done next at a node. Now and then a client reads there, and keeps what it has seen.
    pub(super) fn next(&mut self, node: usize, process: &NodeProcess, rng: &mut impl Rng) -> Option<Request> {
        if rng.random_ratio(1, 3) {
            let answer = process.get(&self.path()).expect("it answers");
            if let Some(token) = answer.header("meridian-context").filter(|_| answer.status == 200) {
                self.contexts.push((token.to_owned(), self.context(node)));
            }
        }
        let creates = !self.nodes[node].exists(&self.key());
        let seen = self.contexts.choose(rng).filter(|_| rng.random_ratio(1, 2)).cloned();
        self.values += 1;
        let home = self.home.filter(|_| !rng.random_ratio(1, 12));
        Some(writes::random(&self.path(), home, creates, self.values, seen, rng))
    }

    /// What a client that reads at a node has seen.
    fn context(&self, node: usize) -> Context {
        let dots = self.nodes[node].vector.iter().map(|(origin, seq)| Dot::new(*origin, *seq));
        let vector: VersionVector = dots.collect();
        // A counter's context tells slots, which are the engine's own: counters are written to without one.
        Context { seen: Seen::all_of(&vector), slots: Vec::new() }
    }

    /// A node has answered a request.
    pub(super) fn wrote(&mut self, node: usize, request: &Request, answer: &Answer) -> Result<(), Refused> {
        self.told.push(format!(
            "n{}: {} {} {} {:?} -> {} {}",
            node + 1,
            request.method,
            request.target,
            request.body,
            request.write.context.as_ref().map(|context| &context.seen),
            answer.status,
            answer.text()
        ));
        let origin = OriginId(node as u64 + 1);
        let minted = self.nodes[node].mint(origin, &self.key(), &request.write);
        match minted {
            Ok((event, _)) if (200..300).contains(&answer.status) => {
                if let Some(mut event) = event {
                    stamp(&mut event, self.values);
                    self.nodes[node].apply(&event);
                    self.events.insert(event.dot, event);
                }
                Ok(())
            }
            Err(refusal) if answer.field("code") == code(&refusal) => Err(Refused::AsForetold),
            foretold => Err(Refused::Otherwise(format!(
                "{} {}, and the model says {foretold:?}",
                answer.status,
                answer.text()
            ))),
        }
    }

    /// The nodes of a part tell each other what they have.
    pub(super) fn share(&mut self, part: &[usize]) {
        let mut all = Vector::new();
        for node in part {
            for (origin, seq) in &self.nodes[*node].vector {
                let known = all.entry(*origin).or_default();
                *known = (*known).max(*seq);
            }
        }
        for node in part {
            catch_up(&mut self.nodes[*node], &all, &self.events);
        }
    }

    /// A node answers what the model says. The answer.
    pub(super) fn check(&self, node: usize, process: &NodeProcess) -> Result<Vec<u8>, String> {
        let answer = process.get(&self.path()).map_err(|error| error.to_string())?;
        let expected = self.nodes[node].read(&self.key(), &ReadRequest::default());
        let fits = match &expected {
            Ok((None, _)) => answer.status == 404,
            Ok((Some(value), _)) => answer.status == 200 && reads_as(&answer, value),
            Err(refusal) => answer.field("code") == code(refusal),
        };
        match fits {
            true => Ok(answer.body),
            false => Err(format!(
                "{} reads {} {}, and the model says {expected:?}",
                self.name,
                answer.status,
                answer.text()
            )),
        }
    }

    /// How a listing shows the key at a node; `None` where it does not exist there.
    pub(super) fn listed(&self, node: usize) -> Option<(String, Json)> {
        let types = match self.nodes[node].read(&self.key(), &ReadRequest::default()) {
            Ok((None, _)) => return None,
            Ok((Some(value), _)) => vec![value.key_type()],
            Err(Refusal::TypeConflict { types }) => types,
            Err(other) => panic!("{other:?}"),
        };
        Some((self.name.clone(), Json::from(types.iter().map(|t| t.as_str()).collect::<Vec<_>>())))
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// The stamps of registers: later writes have later ones.
fn stamp(event: &mut Event, at: u64) {
    for act in event.acts.values_mut() {
        if let Some(Head::Register(register)) = &mut act.head_put {
            register.hlc = Hlc(at);
        }
    }
}

/// The code of a refusal.
fn code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::WrongType { .. } | Refusal::TypeMisfit { .. } => "wrong_type",
        Refusal::TypeConflict { .. } => "type_conflict",
        Refusal::ContextRequired => "context_required",
        other => panic!("histories are not made for this: {other:?}"),
    }
}

/// Whether an answer is a value.
fn reads_as(answer: &Answer, value: &Value) -> bool {
    let one = |bytes: &[u8]| answer.body == bytes;
    match value {
        Value::Register { bytes, .. } => one(bytes),
        Value::Multi(blobs) if blobs.len() == 1 => one(&blobs[0].value),
        value => serde_json::from_slice(&answer.body).is_ok_and(|found| is(&found, value)),
    }
}

/// Whether JSON shows a value. Several values of a `multi` stand in the order of origins, which are drawn by chance.
fn is(found: &Json, value: &Value) -> bool {
    match (value, found) {
        (Value::Multi(blobs), Json::Array(found)) if blobs.len() > 1 => {
            let Json::Array(all) = json(value) else { return false };
            found.len() == all.len() && all.iter().all(|one| found.contains(one))
        }
        (Value::Map(fields), Json::Object(found)) => {
            let is_there = |(name, value): &(Field, Value)| {
                found.get(name.as_str()).is_some_and(|found| is(found, value))
            };
            found.len() == fields.len() && fields.iter().all(is_there)
        }
        (value, found) => *found == json(value),
    }
}

/// A value within JSON.
fn json(value: &Value) -> Json {
    let embedded = |content_type: &str, bytes: &[u8]| match content_type {
        "application/json" => serde_json::from_slice(bytes).expect("JSON"),
        _ => Json::from(String::from_utf8_lossy(bytes)),
    };
    match value {
        Value::Register { content_type, bytes } => embedded(content_type.as_str(), bytes),
        Value::Multi(blobs) => {
            let mut all: Vec<Json> =
                blobs.iter().map(|blob| embedded(blob.content_type.as_str(), &blob.value)).collect();
            if all.len() == 1 { all.remove(0) } else { Json::from(all) }
        }
        Value::Counter(sum) => Json::from(i64::try_from(*sum).expect("a small sum")),
        Value::Set(members) => Json::from(members.iter().map(|member| member.as_str()).collect::<Vec<_>>()),
        Value::Flag(enabled) => Json::from(*enabled),
        Value::Max(number) | Value::Min(number) => Json::from(*number),
        Value::Map(fields) => {
            Json::Object(fields.iter().map(|(name, value)| (name.as_str().to_owned(), json(value))).collect())
        }
    }
}

/// Brings a node to what all of its part have, in an order in which each event comes after what its author had seen.
fn catch_up(node: &mut Model, target: &Vector, events: &BTreeMap<Dot, Event>) {
    while node.vector != *target {
        let next = |(origin, last): (&OriginId, &u64)| {
            let seq = model::at(&node.vector, *origin) + 1;
            let event = events.get(&Dot::new(*origin, seq)).filter(|_| seq <= *last)?;
            model::includes(&node.vector, &event.past).then_some(event)
        };
        let event = target.iter().find_map(next).expect("some event is next");
        node.apply(event);
    }
}

/// The name of a field for a path in JSON.
pub(super) fn names(path: &Path) -> Vec<&str> {
    path.fields().iter().map(|field| field.as_str()).collect()
}
