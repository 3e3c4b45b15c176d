//! What simulated clients ask, and what their history says of it.
//!
//! A client goes from node to node and takes the contexts of what it has read with it.

use super::draw::Weather;
use crate::checker::{Asked, Ended, Entry, Kind, Over, Seen, Subject};
use crate::writes::{add, clear, disable, enable, field, increment, observe, path, put, remove, reset};
use meridian_core::cell::Type;
use meridian_core::context::Context;
use meridian_core::id::Dot;
use meridian_core::name::Key;
use meridian_core::node::{Operation, Reply, Request};
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::{Write, WriteRequest};
use meridian_core::types::{Value, Written};
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};

/// What there is: the types, each with keys of its own, and as fields of a map.
const KINDS: [(Kind, &str); 6] = [
    (Kind::Register, "register"),
    (Kind::Multi, "multi"),
    (Kind::Counter, "counter"),
    (Kind::Set, "set"),
    (Kind::Flag, "flag"),
    (Kind::Max, "max"),
];
/// Fields of a map; a multi-value register is put by a name of its type only.
const FIELDS: [(Kind, &str); 5] =
    [(Kind::Register, "r"), (Kind::Counter, "n/c"), (Kind::Set, "n/s"), (Kind::Flag, "f"), (Kind::Max, "m")];

/// Of each type and of maps, the key with this number is never emptied: all that was added to it must be there in the end.
const KEPT: usize = 0;
/// A member that is removed is one of the last so many that were added.
const RECENT: usize = 10;

/// All clients.
pub(super) struct Clients {
    clients: Vec<Client>,
    /// The last number of a value or member.
    values: u64,
    /// The members that were added to a subject.
    members: BTreeMap<Subject, Vec<String>>,
}

#[derive(Default)]
struct Client {
    /// What it has seen of keys.
    contexts: BTreeMap<String, Known>,
}

/// What a client has seen of a key: the context, and which values of a multi-value register that covers, if that can be known.
#[derive(Clone)]
struct Known {
    context: Context,
    values: Option<BTreeSet<String>>,
}

/// A request on its way.
pub(super) struct Pending {
    pub(super) client: usize,
    pub(super) key: String,
    /// Its entries in the history: one, or of a subtree or a whole map several.
    pub(super) entries: std::ops::Range<usize>,
    /// The delta that it made.
    pub(super) dot: Option<(meridian_core::id::ShardId, Dot)>,
}

/// What a client asks, in the words of the history and of core.
pub(super) struct Question {
    pub(super) key: String,
    pub(super) request: Request,
    pub(super) asked: Vec<(Subject, Asked)>,
}

impl Clients {
    pub(super) fn new(count: usize) -> Clients {
        let clients = (0..count).map(|_| Client::default()).collect();
        Clients { clients, values: 0, members: BTreeMap::new() }
    }

    /// What a client asks next.
    pub(super) fn ask(&mut self, rng: &mut ChaCha8Rng, weather: &Weather, client: usize) -> Question {
        let number = rng.random_range(0..weather.keys);
        if rng.random_ratio(1, 4) {
            return self.ask_map(rng, client, number);
        }
        let (kind, name) = *KINDS.choose(rng).expect("not empty");
        let key = format!("{name}/{number}");
        let subject = Subject { kind, key: key.clone(), field: None };
        if rng.random_ratio(1, 4) {
            return question(&key, Operation::Read(ReadRequest::whole(None)), vec![(subject, Asked::Read)]);
        }
        let keeps = number == KEPT;
        let (asked, write) = match !keeps && rng.random_ratio(1, 25) {
            true => (Asked::TakeAll, Write::Delete),
            false => self.update(rng, &subject, keeps),
        };
        // A context limits what is taken away; a put to a multi-value register needs one.
        let carries = kind == Kind::Multi || rng.random_ratio(1, 5);
        let known = self.clients[client].contexts.get(&key).filter(|_| carries).cloned();
        let asked = limited(asked, known.as_ref());
        let context = known.map(|known| known.context);
        let named = (kind == Kind::Multi).then_some(Type::Multi);
        let overwrites = kind == Kind::Multi && context.is_none() && rng.random_ratio(1, 10);
        let write = WriteRequest { write, named, context, overwrites };
        question(&key, Operation::Write(write), vec![(subject, asked)])
    }

    fn ask_map(&mut self, rng: &mut ChaCha8Rng, client: usize, number: usize) -> Question {
        let (key, keeps) = (format!("map/{number}"), number == KEPT);
        let subjects = |below: &str| -> Vec<Subject> {
            let of_field = |(kind, name): &(Kind, &str)| Subject {
                kind: *kind,
                key: key.clone(),
                field: Some((*name).into()),
            };
            FIELDS.iter().filter(|(_, name)| name.starts_with(below)).map(of_field).collect()
        };
        let all = |asked: Asked, below: &str| {
            subjects(below).into_iter().map(|subject| (subject, asked.clone())).collect()
        };
        let known = self.clients[client].contexts.get(&key).filter(|_| rng.random_ratio(1, 5)).cloned();
        let context = known.as_ref().map(|known| known.context.clone());
        let write = |write, asked| {
            let request = WriteRequest { write, named: None, context, overwrites: false };
            question(&key, Operation::Write(request), asked)
        };
        match rng.random_range(0..24) {
            0 if !keeps => write(Write::Delete, all(Asked::TakeAll, "")),
            1 if !keeps => write(field("n", Write::Delete), all(Asked::TakeAll, "n/")),
            2..=7 => question(&key, Operation::Read(ReadRequest::whole(None)), all(Asked::Read, "")),
            _ => {
                let subject = subjects("").choose(rng).expect("not empty").clone();
                let (asked, update) = self.update(rng, &subject, keeps);
                let name = subject.field.clone().unwrap_or_default();
                let asked = limited(asked, known.as_ref());
                write(field(&name, update), vec![(subject, asked)])
            }
        }
    }

    /// A write that fits the subject; one that is kept is not emptied.
    fn update(&mut self, rng: &mut ChaCha8Rng, subject: &Subject, keeps: bool) -> (Asked, Write) {
        self.values += 1;
        let takes = !keeps && rng.random_ratio(1, 12);
        match subject.kind {
            Kind::Register | Kind::Multi => {
                let value = format!("v{}", self.values);
                (Asked::Put { value: value.clone(), over: Over::All }, put(&value))
            }
            Kind::Counter if takes => (Asked::TakeAll, reset()),
            Kind::Counter => {
                let by = rng.random_range(1..20) * if rng.random_ratio(1, 8) { -1 } else { 1 };
                (Asked::Increment(by), increment(by))
            }
            Kind::Set if takes && rng.random() => (Asked::TakeAll, clear()),
            Kind::Set => {
                let members = self.members.entry(subject.clone()).or_default();
                let recent = &members[members.len().saturating_sub(RECENT)..];
                match recent.choose(rng).filter(|_| rng.random_ratio(1, 3)) {
                    Some(member) => (Asked::Remove([member.clone()].into()), remove(&[member])),
                    None => {
                        let member = format!("m{}", self.values);
                        members.push(member.clone());
                        (Asked::Add([member.clone()].into()), add(&[&member]))
                    }
                }
            }
            Kind::Flag if !keeps && rng.random_ratio(1, 3) => (Asked::TakeAll, disable()),
            Kind::Flag => (Asked::Enable, enable()),
            Kind::Max => {
                let number = rng.random_range(-1_000_000..1_000_000);
                (Asked::Observe(number), observe(number))
            }
        }
    }

    /// A client hears the answer: what each entry of the history says of it.
    pub(super) fn hear(&mut self, pending: &Pending, entries: &[Entry], reply: &Reply) -> Vec<Ended> {
        match reply {
            Reply::Refused(_) => vec![Ended::Refused; entries.len()],
            Reply::Written { written, context } => {
                // The answer to a write with a context covers that and the write; of one without, all that the node had.
                let values = match entries {
                    [Entry { asked: Asked::Put { value, over: Over::Seen(seen) }, .. }] => {
                        Some(seen.iter().chain([value]).cloned().collect())
                    }
                    _ => None,
                };
                self.know(pending, context, values);
                let removed = match written {
                    Written::Set(change) => change.removed,
                    _ => 0,
                };
                vec![Ended::Applied { removed }; entries.len()]
            }
            Reply::Read(found) => {
                let values = match entries {
                    [entry] => match seen(&entry.subject, found.value.as_ref()) {
                        Seen::Values(values) => Some(values),
                        _ => None,
                    },
                    _ => None,
                };
                self.know(pending, &found.context, values);
                entries.iter().map(|entry| Ended::Read(seen(&entry.subject, found.value.as_ref()))).collect()
            }
        }
    }

    fn know(&mut self, pending: &Pending, context: &Context, values: Option<BTreeSet<String>>) {
        let known = Known { context: context.clone(), values };
        self.clients[pending.client].contexts.insert(pending.key.clone(), known);
    }

    /// All subjects that clients may have written to.
    pub(super) fn subjects(weather: &Weather) -> BTreeMap<String, Vec<Subject>> {
        let mut all: BTreeMap<String, Vec<Subject>> = BTreeMap::new();
        for number in 0..weather.keys {
            for (kind, name) in KINDS {
                let key = format!("{name}/{number}");
                all.insert(key.clone(), vec![Subject { kind, key, field: None }]);
            }
            let key = format!("map/{number}");
            let field =
                |(kind, name): (Kind, &str)| Subject { kind, key: key.clone(), field: Some(name.into()) };
            all.insert(key.clone(), FIELDS.map(field).into());
        }
        all
    }
}

fn limited(asked: Asked, known: Option<&Known>) -> Asked {
    match (asked, known) {
        (Asked::Put { value, .. }, Some(known)) => {
            Asked::Put { value, over: known.values.clone().map_or(Over::Unknown, Over::Seen) }
        }
        (asked, _) => asked,
    }
}

fn question(key: &str, operation: Operation, asked: Vec<(Subject, Asked)>) -> Question {
    let request = Request {
        bucket: crate::lab::bucket(),
        key: Key::new(key.as_bytes()).expect("a good key"),
        operation,
    };
    Question { key: key.into(), request, asked }
}

/// What a value says of a subject.
pub(super) fn seen(subject: &Subject, value: Option<&Value>) -> Seen {
    let names = subject.field.as_ref().map(|field| path(field));
    let names = names.iter().flat_map(|path| path.fields());
    let found = names.fold(value, |value, name| match value? {
        Value::Map(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
        _ => None,
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match found {
        None | Some(Value::Map(_)) => Seen::Nothing,
        Some(Value::Register { bytes, .. }) => Seen::Values(BTreeSet::from([text(bytes)])),
        Some(Value::Multi(blobs)) => Seen::Values(blobs.iter().map(|blob| text(&blob.value)).collect()),
        Some(Value::Set(members)) => {
            Seen::Members(members.iter().map(|member| member.as_str().to_owned()).collect())
        }
        Some(Value::Flag(enabled)) => Seen::Flag(*enabled),
        Some(Value::Counter(sum)) => Seen::Number(*sum),
        Some(Value::Max(number) | Value::Min(number)) => Seen::Number(i128::from(*number)),
    }
}
