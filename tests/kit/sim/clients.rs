//! What simulated clients ask, and what they take with them.
//!
//! A client goes from node to node, with the contexts of what it has read and the place where its last page ended. What it gets no answer
//! to it asks again, of another node. A key of a type with members gets a successor when it has many: so a key stays small however long a
//! run is, and there are more and more keys to be listed.

use super::draw::Weather;
use super::pages::Paged;
use crate::history::{Asked, End, Kind, Listed, Listing, Ret, Seen};
use crate::writes::{add, clear, disable, enable, field, increment, observe, put, remove, reset};
use meridian_core::cell::Type;
use meridian_core::codec::Encode;
use meridian_core::context::Context;
use meridian_core::listing::{Position, Query};
use meridian_core::name::Key;
use meridian_core::node::{Operation, Reply, Request};
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::write::{Write, WriteRequest};
use meridian_core::types::{Refusal, Value, Written};
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};

/// What there is: the types, each with keys of its own.
const KINDS: [(Kind, &str); 7] = [
    (Kind::Register, "register"),
    (Kind::Multi, "multi"),
    (Kind::Counter, "counter"),
    (Kind::Set, "set"),
    (Kind::Flag, "flag"),
    (Kind::Max, "max"),
    (Kind::Min, "min"),
];
/// Fields of a map; a multi-value register and a minimum are written by a name of their type only.
const FIELDS: [(Kind, &str); 5] =
    [(Kind::Register, "r"), (Kind::Counter, "n/c"), (Kind::Set, "n/s"), (Kind::Flag, "f"), (Kind::Max, "m")];
/// What listed keys begin with.
const PREFIXES: [&str; 8] = ["", "", "", "m", "map/", "set/0", "register/1.", "none"];

/// Of each type and of maps, the keys with this number are never emptied: all that was added to them must be there in the end.
const KEPT: usize = 0;
/// A member that is removed is one of the last so many that were added.
const RECENT: usize = 10;
/// When so many members were added to a key, another takes its place.
const MEMBERS_MAX: usize = 150;

/// All clients.
pub(super) struct Clients {
    clients: Vec<Client>,
    /// The last number of a value or member.
    values: u64,
    /// The members that were added to a key or a field of one.
    members: BTreeMap<(String, Option<&'static str>), Vec<String>>,
    /// How many successors a key has.
    successors: BTreeMap<String, u32>,
    /// All keys that were asked for.
    keys: BTreeSet<(String, Kind)>,
}

#[derive(Default)]
struct Client {
    /// What it has seen of keys.
    contexts: BTreeMap<String, Context>,
    /// Which page comes next.
    next: Option<Page>,
}

/// What a client asks, in the words of the history and of core.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) key: String,
    pub(super) path: Option<&'static str>,
    pub(super) kind: Option<Kind>,
    pub(super) asked: Asked,
    pub(super) asks: Asks,
}

/// Of whom.
#[derive(Clone)]
pub(super) enum Asks {
    /// The node.
    Node(Operation),
    /// What stands beside it and reads its disk.
    Beside(Page),
}

/// Which page.
#[derive(Clone)]
pub(super) struct Page {
    pub(super) listing: Listing,
    pub(super) query: Query,
}

impl Question {
    /// The context that it carries.
    pub(super) fn context(&self) -> Option<String> {
        match &self.asks {
            Asks::Node(Operation::Write(WriteRequest { context, .. })) => context.as_ref().map(token),
            _ => None,
        }
    }

    /// Whether it always makes a delta, when it is acknowledged.
    pub(super) fn always_makes(&self) -> bool {
        matches!(self.asked, Asked::Put(_) | Asked::Add(_) | Asked::Enable | Asked::Increment(_))
    }
}

/// What a node is asked.
pub(super) fn request(key: &str, operation: Operation) -> Request {
    Request { bucket: crate::lab::bucket(), key: Key::new(key.as_bytes()).expect("a good key"), operation }
}

/// A context as a client carries it: equal ones are equal, and that is all that can be said of it.
fn token(context: &Context) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(&context.to_bytes());
    format!("{:016x}", hasher.finish())
}

impl Clients {
    pub(super) fn new(count: usize) -> Clients {
        let clients = (0..count).map(|_| Client::default()).collect();
        let (members, successors, keys) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Clients { clients, values: 0, members, successors, keys }
    }

    /// All keys that clients may have written to.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.keys.iter().map(|(key, kind)| (key.as_str(), *kind))
    }

    /// What a client asks next.
    pub(super) fn ask(&mut self, rng: &mut ChaCha8Rng, weather: &Weather, client: usize) -> Question {
        let number = rng.random_range(0..weather.keys);
        let question = match rng.random_range(0..32) {
            0..3 => return self.ask_page(rng, client),
            3..11 => self.ask_map(rng, client, number),
            _ => self.ask_key(rng, client, number),
        };
        let kind = if question.path.is_some() { Some(Kind::Map) } else { question.kind };
        self.keys.insert((question.key.clone(), kind.expect("no listing")));
        question
    }

    /// The key of a stem, or its latest successor.
    fn key(&self, stem: &str) -> String {
        format!("{stem}.{}", self.successors.get(stem).copied().unwrap_or(0))
    }

    /// What a client has seen of a key, if it carries that.
    fn context(&self, client: usize, key: &str, carries: bool) -> Option<Context> {
        self.clients[client].contexts.get(key).filter(|_| carries).cloned()
    }

    fn ask_key(&mut self, rng: &mut ChaCha8Rng, client: usize, number: usize) -> Question {
        let (kind, name) = *KINDS.choose(rng).expect("not empty");
        let key = self.key(&format!("{name}/{number}"));
        let question = |key, asked, operation| Question {
            key,
            path: None,
            kind: Some(kind),
            asked,
            asks: Asks::Node(operation),
        };
        if rng.random_ratio(1, 4) {
            return question(key, Asked::Read, Operation::Read(ReadRequest::whole(None)));
        }
        let keeps = number == KEPT;
        let (asked, write) = match !keeps && rng.random_ratio(1, 25) {
            true => (Asked::TakeAll, Write::Delete),
            false => self.update(rng, (&key, None, kind), keeps),
        };
        // A context limits what is taken away; a put to a multi-value register needs one.
        let carries = kind == Kind::Multi || rng.random_ratio(1, 5);
        let context = self.context(client, &key, carries);
        let named = match (kind, &write) {
            (_, Write::Delete) => None,
            (Kind::Multi, _) => Some(Type::Multi),
            (Kind::Min, _) => Some(Type::Min),
            _ => None,
        };
        let overwrites = kind == Kind::Multi && context.is_none() && rng.random_ratio(1, 10);
        question(key, asked, Operation::Write(WriteRequest { write, named, context, overwrites }))
    }

    fn ask_map(&mut self, rng: &mut ChaCha8Rng, client: usize, number: usize) -> Question {
        let (key, keeps) = (self.key(&format!("map/{number}")), number == KEPT);
        let carries = rng.random_ratio(1, 5);
        let context = self.context(client, &key, carries);
        let question = |key, path, kind, asked, operation| Question {
            key,
            path,
            kind: Some(kind),
            asked,
            asks: Asks::Node(operation),
        };
        let write = |write| Operation::Write(WriteRequest { write, named: None, context, overwrites: false });
        match rng.random_range(0..24) {
            0 if !keeps => question(key, None, Kind::Map, Asked::TakeAll, write(Write::Delete)),
            1 if !keeps => {
                question(key, Some("n"), Kind::Map, Asked::TakeAll, write(field("n", Write::Delete)))
            }
            2..=7 => question(key, None, Kind::Map, Asked::Read, Operation::Read(ReadRequest::whole(None))),
            _ => {
                let (kind, path) = *FIELDS.choose(rng).expect("not empty");
                let (asked, update) = self.update(rng, (&key, Some(path), kind), keeps);
                question(key, Some(path), kind, asked, write(field(path, update)))
            }
        }
    }

    /// A page: the next one, or the first of another listing.
    fn ask_page(&mut self, rng: &mut ChaCha8Rng, client: usize) -> Question {
        let next = self.clients[client].next.take().filter(|_| rng.random_ratio(4, 5));
        let page = next.unwrap_or_else(|| self.first_page(rng));
        let asked = Asked::List(page.listing.clone());
        Question { key: String::new(), path: None, kind: None, asked, asks: Asks::Beside(page) }
    }

    fn first_page(&self, rng: &mut ChaCha8Rng) -> Page {
        let bound = |rng: &mut ChaCha8Rng| {
            let place = rng.random_range(0..self.keys.len().max(1));
            self.keys.iter().nth(place).map(|(key, _)| key.clone()).filter(|_| rng.random_ratio(1, 5))
        };
        let (start, end) = (bound(rng), bound(rng));
        let listing = Listing {
            prefix: (*PREFIXES.choose(rng).expect("not empty")).into(),
            start,
            end,
            delimiter: rng
                .random_ratio(1, 4)
                .then(|| (*["/", ".", "e"].choose(rng).expect("not empty")).into()),
            reverse: rng.random(),
            limit: *[1, 2, 5, 20, 1_000].choose(rng).expect("not empty"),
            cursor: None,
        };
        Page::first(listing, rng.random_ratio(1, 4))
    }

    /// A write that fits; what is kept is not emptied.
    fn update(
        &mut self,
        rng: &mut ChaCha8Rng,
        (key, path, kind): (&str, Option<&'static str>, Kind),
        keeps: bool,
    ) -> (Asked, Write) {
        self.values += 1;
        let takes = !keeps && rng.random_ratio(1, 12);
        match kind {
            Kind::Register | Kind::Multi => {
                let value = format!("v{} of {key}", self.values);
                (Asked::Put(value.clone()), put(&value))
            }
            Kind::Counter if takes => (Asked::TakeAll, reset()),
            Kind::Counter => {
                let by = rng.random_range(1..20) * if rng.random_ratio(1, 8) { -1 } else { 1 };
                (Asked::Increment(by), increment(by))
            }
            Kind::Set if takes && rng.random() => (Asked::TakeAll, clear()),
            Kind::Set => self.update_set(rng, key, path),
            Kind::Flag if !keeps && rng.random_ratio(1, 3) => (Asked::TakeAll, disable()),
            Kind::Flag => (Asked::Enable, enable()),
            Kind::Max | Kind::Min => {
                let number = rng.random_range(-1_000_000..1_000_000);
                (Asked::Observe(number), observe(number))
            }
            Kind::Map => unreachable!("a map is written by its fields"),
        }
    }

    fn update_set(&mut self, rng: &mut ChaCha8Rng, key: &str, path: Option<&'static str>) -> (Asked, Write) {
        let members = self.members.entry((key.to_string(), path)).or_default();
        let recent = &members[members.len().saturating_sub(RECENT)..];
        if let Some(member) = recent.choose(rng).filter(|_| rng.random_ratio(1, 3)) {
            return (Asked::Remove([member.clone()].into()), remove(&[member]));
        }
        let member = format!("m{} of {key}", self.values);
        members.push(member.clone());
        if members.len() == MEMBERS_MAX {
            let (stem, _) = key.rsplit_once('.').expect("a key has a number behind its stem");
            *self.successors.entry(stem.into()).or_default() += 1;
        }
        (Asked::Add([member.clone()].into()), add(&[&member]))
    }

    /// A client hears a node's answer: what the history says of it.
    pub(super) fn hear(&mut self, client: usize, question: &Question, reply: &Reply) -> End {
        let (ret, context) = match reply {
            Reply::Refused(refusal) => return End::Fail { code: code(refusal).into() },
            Reply::Written { written, context } => (wrote(*written, &question.asked), context),
            Reply::Read(found) => (Ret::Read(seen(found.value.as_ref())), &found.context),
        };
        self.clients[client].contexts.insert(question.key.clone(), context.clone());
        End::Ok { ret, context: Some(token(context)) }
    }

    /// A client gets a page, and may go on behind it.
    pub(super) fn hear_page(&mut self, client: usize, page: &Page, paged: Option<Paged>) -> End {
        let Some(Paged { entries, next }) = paged else { return End::Fail { code: "quarantined".into() } };
        let (end, next) = page.ended(entries, next);
        if let Some(client) = self.clients.get_mut(client) {
            client.next = next;
        }
        end
    }
}

impl Page {
    /// The first page of a listing.
    pub(super) fn first(listing: Listing, values: bool) -> Page {
        let bytes = |text: &String| text.as_bytes().to_vec();
        let query = Query {
            prefix: bytes(&listing.prefix),
            start: listing.start.as_ref().map(bytes).unwrap_or_default(),
            end: listing.end.as_ref().map(bytes),
            delimiter: listing.delimiter.as_ref().map(bytes),
            reverse: listing.reverse,
            values,
            limit: listing.limit,
            after: None,
        };
        Page { listing, query }
    }

    /// How it ended, and the page that comes next.
    pub(super) fn ended(&self, entries: Vec<Listed>, next: Option<Position>) -> (End, Option<Page>) {
        let cursor =
            next.as_ref().map(|Position(key)| format!("{} {}", self.listing.reverse, key.escape_ascii()));
        let page = next.map(|position| Page {
            listing: Listing { cursor: cursor.clone(), ..self.listing.clone() },
            query: Query { after: Some(position), ..self.query.clone() },
        });
        (End::Ok { ret: Ret::Page { entries, next: cursor }, context: None }, page)
    }
}

/// The code with which the server refuses it.
pub(super) fn code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Quarantined | Refusal::PolicyUnread => "quarantined",
        Refusal::Sweeping => "overloaded",
        Refusal::ContextRequired => "context_required",
        Refusal::TooManySiblings => "context_too_old",
        Refusal::PageRequired { .. } => "page_required",
        Refusal::OriginsFull => "origins_full",
        Refusal::TypeConflict { .. } => "type_conflict",
        Refusal::WrongType { .. } | Refusal::TypeMisfit { .. } => "wrong_type",
        Refusal::CounterOverflow => "not_an_integer",
        Refusal::ValueTooLarge => "value_too_large",
        Refusal::TooManyOperations | Refusal::TooManyCounters => "too_many_operations",
    }
}

fn wrote(written: Written, asked: &Asked) -> Ret {
    let (changed, now) = match written {
        Written::Done | Written::Put(_) => (None, None),
        Written::Set(change) if matches!(asked, Asked::Add(_)) => (Some(change.added), None),
        Written::Set(change) => (Some(change.removed), None),
        Written::Map(changed) => (Some(changed), None),
        Written::Counter(sum) => (None, Some(Seen::Number(sum))),
        Written::Flag(is_on) => (None, Some(Seen::Flag(is_on))),
        Written::Extremum(_, number) => (None, Some(Seen::Number(i128::from(number)))),
    };
    Ret::Wrote { changed, now }
}

/// What a value says.
pub(super) fn seen(value: Option<&Value>) -> Seen {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match value {
        None => Seen::Nothing,
        Some(Value::Register { bytes, .. }) => Seen::Values(BTreeSet::from([text(bytes)])),
        Some(Value::Multi(blobs)) => Seen::Values(blobs.iter().map(|blob| text(&blob.value)).collect()),
        Some(Value::Set(members)) => {
            Seen::Members(members.iter().map(|member| member.as_str().to_owned()).collect())
        }
        Some(Value::Flag(enabled)) => Seen::Flag(*enabled),
        Some(Value::Counter(sum)) => Seen::Number(*sum),
        Some(Value::Max(number) | Value::Min(number)) => Seen::Number(i128::from(*number)),
        Some(Value::Map(_)) => {
            let mut fields = BTreeMap::new();
            flatten(value, String::new(), &mut fields);
            Seen::Fields(fields)
        }
    }
}

/// The fields of a map that are no maps, by their paths.
fn flatten(value: Option<&Value>, path: String, fields: &mut BTreeMap<String, Seen>) {
    match value {
        Some(Value::Map(below)) => {
            for (name, value) in below {
                let path =
                    if path.is_empty() { name.as_str().into() } else { format!("{path}/{}", name.as_str()) };
                flatten(Some(value), path, fields);
            }
        }
        other => _ = fields.insert(path, seen(other)),
    }
}
