//! Random writes, as the model and as HTTP have them.

use super::history::names;
use meridian_core::cell::Type;
use meridian_core::context::Context;
use meridian_core::name::{ContentType, Member};
use meridian_core::path::{Field, Path};
use meridian_core::replica::write::{Write, WriteRequest};
use meridian_core::types::counter::CounterOp;
use meridian_core::types::flag::FlagOp;
use meridian_core::types::map::FieldWrite;
use meridian_core::types::set::SetOp;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde_json::{Value as Json, json};

/// A write, as the model and as HTTP have it.
pub(super) struct Request {
    pub(super) write: WriteRequest,
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

const MEMBERS: [&str; 4] = ["jazz", "opera", "a b", "ü"];
const FIELDS: [&str; 3] = ["city", "a/b", "~"];

/// A random write to a key. `seen`: what its client has seen of it, and the token that says so.
pub(super) fn random(
    path: &str,
    home: Option<Type>,
    creates: bool,
    value: u64,
    seen: Option<(String, Context)>,
    rng: &mut impl Rng,
) -> Request {
    let key_type = home.unwrap_or_else(|| *Type::ALL.choose(rng).expect("some"));
    let write = if rng.random_ratio(1, 10) { Write::Delete } else { write_of(key_type, value, rng) };
    // A type is named where another than the default is created, and now and then elsewhere.
    let other = matches!(key_type, Type::Multi | Type::Min);
    let named = (write != Write::Delete && (creates && other || rng.random_ratio(1, 10))).then_some(key_type);
    let overwrites = matches!(write, Write::Put { .. }) && rng.random_ratio(1, 6);
    // A counter's context tells slots, which the model of a history does not know.
    let counts = matches!(write, Write::Counter(_) | Write::Delete | Write::Map(_));
    let seen = seen.filter(|_| !counts);
    let mut parameters = Vec::new();
    parameters.extend(named.map(|named| format!("type={}", named.as_str())));
    parameters.extend(overwrites.then(|| "overwrite=true".to_owned()));
    let query = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
    let (method, body) = match &write {
        Write::Put { value, .. } => ("PUT", String::from_utf8_lossy(value).into_owned()),
        Write::Delete => ("DELETE", String::new()),
        write => ("POST", json!({ "ops": operations(write, None, None) }).to_string()),
    };
    let mut headers = vec![("content-type", "text/plain".to_owned())];
    let context = seen.map(|(token, context)| {
        headers.push(("meridian-context", token));
        context
    });
    let write = WriteRequest { write, named, context, overwrites };
    Request { write, method, target: format!("{path}{query}"), headers, body }
}

fn write_of(key_type: Type, value: u64, rng: &mut impl Rng) -> Write {
    let count = rng.random_range(1..=2);
    match key_type {
        Type::Register | Type::Multi => Write::Put {
            content_type: ContentType::new("text/plain").expect("a content type"),
            value: format!("v{value}").into_bytes(),
        },
        Type::Counter => Write::Counter((0..count).map(|_| counter_op(rng)).collect()),
        Type::Set => Write::Set((0..count).map(|_| set_op(rng)).collect()),
        Type::Flag => {
            let ops = [FlagOp::Enable, FlagOp::Disable];
            Write::Flag((0..count).map(|_| *ops.choose(rng).expect("some")).collect())
        }
        Type::Max | Type::Min => Write::Observe((0..count).map(|_| rng.random_range(-50..50)).collect()),
        Type::Map => Write::Map((0..count).map(|number| field_write(value * 10 + number, rng)).collect()),
    }
}

fn counter_op(rng: &mut impl Rng) -> CounterOp {
    if rng.random_ratio(1, 5) { CounterOp::Reset } else { CounterOp::Increment(rng.random_range(-5..20)) }
}

fn set_op(rng: &mut impl Rng) -> SetOp {
    let members: Vec<Member> =
        MEMBERS.sample(rng, 2).map(|member| Member::new(member).expect("a member")).collect();
    match rng.random_range(0..6) {
        0 => SetOp::Clear,
        1..=2 => SetOp::Remove(members),
        _ => SetOp::Add(members),
    }
}

fn field_write(value: u64, rng: &mut impl Rng) -> FieldWrite {
    let depth = rng.random_range(1..=2);
    let fields = (0..depth).map(|_| Field::new(FIELDS.choose(rng).expect("some")).expect("a field"));
    let path = Path::new(fields.collect()).expect("a short path");
    if rng.random_ratio(1, 5) {
        return FieldWrite { path, named: None, write: Write::Delete };
    }
    let size: usize = path.fields().iter().map(|field| field.as_str().len()).sum();
    let types = [Type::Register, Type::Counter, Type::Set, Type::Flag, Type::Max, Type::Multi];
    let key_type =
        if rng.random_ratio(1, 6) { *types.choose(rng).expect("some") } else { types[size % types.len()] };
    let write = match key_type {
        Type::Register | Type::Multi => Write::Put {
            content_type: ContentType::new("application/json").expect("a content type"),
            value: format!("{{\"v\":{value}}}").into_bytes(),
        },
        other => write_of(other, value, rng),
    };
    FieldWrite { path, named: (key_type == Type::Multi).then_some(key_type), write }
}

/// A write as operations in JSON.
fn operations(write: &Write, path: Option<&Path>, named: Option<Type>) -> Vec<Json> {
    let text =
        |members: &[Member]| members.iter().map(|member| member.as_str().to_owned()).collect::<Vec<_>>();
    let ops: Vec<Json> = match write {
        Write::Put { value, .. } => {
            vec![json!({ "op": "set", "value": serde_json::from_slice::<Json>(value).expect("JSON") })]
        }
        Write::Delete => vec![json!({ "op": "remove" })],
        Write::Counter(ops) => ops
            .iter()
            .map(|op| match op {
                CounterOp::Increment(by) => json!({ "op": "increment", "by": by }),
                CounterOp::Reset => json!({ "op": "reset" }),
            })
            .collect(),
        Write::Set(ops) => ops
            .iter()
            .map(|op| match op {
                SetOp::Add(members) => json!({ "op": "add", "members": text(members) }),
                SetOp::Remove(members) => json!({ "op": "remove", "members": text(members) }),
                SetOp::Clear => json!({ "op": "clear" }),
            })
            .collect(),
        Write::Flag(ops) => ops
            .iter()
            .map(|op| match op {
                FlagOp::Enable => json!({ "op": "enable" }),
                FlagOp::Disable => json!({ "op": "disable" }),
            })
            .collect(),
        Write::Observe(numbers) => {
            numbers.iter().map(|value| json!({ "op": "observe", "value": value })).collect()
        }
        Write::Map(writes) => {
            return writes
                .iter()
                .flat_map(|field| operations(&field.write, Some(&field.path), field.named))
                .collect();
        }
    };
    let located = |mut op: Json| {
        if let Some(path) = path {
            op["path"] = json!(names(path));
        }
        if let Some(named) = named {
            op["type"] = json!(named.as_str());
        }
        op
    };
    ops.into_iter().map(located).collect()
}
