//! What a POST asks for: one operation, or several that apply together, from JSON to a core write.

use super::answer::Refused;
use super::request::{absent, type_named};
use meridian_api::error::Code;
use meridian_core::name::{ContentType, Member};
use meridian_core::path::{Field, Path};
use meridian_core::replica::write::{OPERATIONS_MAX, Write};
use meridian_core::types::counter::CounterOp;
use meridian_core::types::flag::FlagOp;
use meridian_core::types::map::FieldWrite;
use meridian_core::types::set::SetOp;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Most that lists and objects lie in each other in a value that `set` takes.
const DEPTH_MAX: usize = 127;

/// The body of a POST.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Several<'a> {
    #[serde(borrow)]
    ops: Vec<&'a RawValue>,
}

/// One operation, of whatever type: which fields it takes depends on `op`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One<'a> {
    op: String,
    #[serde(borrow, default, deserialize_with = "given")]
    by: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "given")]
    members: Option<Vec<String>>,
    #[serde(borrow, default, deserialize_with = "given")]
    value: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "given")]
    path: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given", rename = "type")]
    leaf_type: Option<String>,
}

/// A field that is given, though it be `null`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Reads the body of a POST.
///
/// # Errors
/// 400 for what is no operation, 413 for too many, 422 for numbers that are no i64 and operations of several types.
pub(super) fn parse(body: &[u8]) -> Result<Write, Refused> {
    let ops = read(body)?;
    let mut size = 0;
    for op in &ops {
        size += op.members.as_ref().map_or(1, |members| members.len().max(1));
        if size > OPERATIONS_MAX {
            let detail =
                format!("a request has at most {OPERATIONS_MAX} operations and members: send several");
            return Err(Refused::new(Code::TooManyOperations, detail));
        }
    }
    match ops.iter().filter(|op| op.path.is_some()).count() {
        0 => together(ops.iter().map(of_the_key).collect::<Result<_, _>>()?),
        count if count == ops.len() => Ok(Write::Map(ops.iter().map(of_a_field).collect::<Result<_, _>>()?)),
        _ => Err(several_types()),
    }
}

fn read(body: &[u8]) -> Result<Vec<One<'_>>, Refused> {
    let text = str::from_utf8(body).map_err(|_| invalid("the body is JSON, in UTF-8"))?;
    // Which of the two it is shows in its fields; reading it as that gives the better message.
    #[derive(Deserialize)]
    struct Shape<'a> {
        #[serde(borrow, default)]
        ops: Option<&'a RawValue>,
    }
    match object::<Shape<'_>>(text)?.ops {
        Some(_) => object::<Several<'_>>(text)?.ops.into_iter().map(|op| operation(op.get())).collect(),
        None => Ok(vec![operation(text)?]),
    }
}

/// Reads one operation. Its name is looked at first: what is not there may have fields of its own.
fn operation(text: &str) -> Result<One<'_>, Refused> {
    #[derive(Deserialize)]
    struct Name {
        op: String,
    }
    let name = object::<Name>(text)?.op;
    match name.as_str() {
        "increment" | "reset" | "add" | "remove" | "clear" | "enable" | "disable" | "observe" | "set" => {
            object(text)
        }
        "create" | "decrement" | "transfer" | "insert" | "move" | "delete" | "expire" | "persist" => {
            Err(absent(&format!("the operation {name}")))
        }
        _ => {
            let there = "increment, reset, add, remove, clear, enable, disable, observe and set are there";
            Err(Refused::new(Code::UnknownOperation, format!("there is no operation {name:?}: {there}")))
        }
    }
}

/// Reads a JSON object. (A list in its place would be read as the fields in order.)
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refused> {
    match text.trim_start().starts_with('{') {
        true => serde_json::from_str(text)
            .map_err(|error| invalid(&format!("the body is not an operation: {error}"))),
        false => Err(invalid("an operation is a JSON object, as {\"op\":\"increment\",\"by\":5}")),
    }
}

fn invalid(detail: &str) -> Refused {
    Refused::new(Code::BodyInvalid, detail)
}

/// An operation on the key itself.
fn of_the_key(op: &One<'_>) -> Result<Write, Refused> {
    match &op.leaf_type {
        None => one(op),
        Some(_) => Err(invalid("\"type\" goes with a \"path\": ?type= names the key's")),
    }
}

/// An operation on a field of a map.
fn of_a_field(op: &One<'_>) -> Result<FieldWrite, Refused> {
    let names = op.path.as_deref().unwrap_or_default();
    let path = Path::new(names.iter().map(|name| Field::new(name)).collect::<Result<_, _>>()?)?;
    let named = op.leaf_type.as_deref().map(type_named).transpose()?;
    if op.op == "remove" && op.members.is_none() {
        if named.is_some() {
            return Err(invalid(
                "remove with a \"type\" takes \"members\": without both, a field is removed",
            ));
        }
        takes(op, &[])?;
        return Ok(FieldWrite { path, named, write: Write::Delete });
    }
    if path.is_root() {
        return Err(invalid(
            "a \"path\" has at least one name: only remove, for all fields, takes an empty one",
        ));
    }
    Ok(FieldWrite { path, named, write: one(op)? })
}

/// Refuses what an operation does not take, of what some take.
fn takes(op: &One<'_>, known: &[&str]) -> Result<(), Refused> {
    let given = [("by", op.by.is_some()), ("members", op.members.is_some()), ("value", op.value.is_some())];
    match given.into_iter().find(|(field, given)| *given && !known.contains(field)) {
        Some((field, _)) => Err(invalid(&format!("{} does not take {field:?}", op.op))),
        None => Ok(()),
    }
}

/// What an operation does by itself.
fn one(op: &One<'_>) -> Result<Write, Refused> {
    takes(
        op,
        match op.op.as_str() {
            "increment" => &["by"],
            "add" | "remove" => &["members"],
            "observe" | "set" => &["value"],
            _ => &[],
        },
    )?;
    let value = || op.value.ok_or_else(|| invalid(&format!("{} takes a \"value\"", op.op)));
    Ok(match op.op.as_str() {
        "increment" => {
            let by = op.by.map_or(Ok(1), |by| integer("by", by))?;
            Write::Counter(vec![CounterOp::Increment(by)])
        }
        "reset" => Write::Counter(vec![CounterOp::Reset]),
        "add" => Write::Set(vec![SetOp::Add(members(op)?)]),
        "remove" => Write::Set(vec![SetOp::Remove(members(op)?)]),
        "clear" => Write::Set(vec![SetOp::Clear]),
        "enable" => Write::Flag(vec![FlagOp::Enable]),
        "disable" => Write::Flag(vec![FlagOp::Disable]),
        "observe" => Write::Observe(vec![integer("value", value()?)?]),
        "set" => {
            let value = value()?.get();
            // It is JSON, and is stored as it was written.
            if depth(value) > DEPTH_MAX {
                return Err(invalid(&format!("a value is nested {DEPTH_MAX} deep at most")));
            }
            let content_type = ContentType::new("application/json").expect("a content type");
            Write::Put { content_type, value: value.into() }
        }
        known => unreachable!("{known} was let through by its name"),
    })
}

/// How deep lists and objects lie in each other, in well-formed JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}

fn integer(field: &str, number: &RawValue) -> Result<i64, Refused> {
    let text = number.get();
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err(invalid(&format!("{field:?} is a number")));
    }
    text.parse().map_err(|_| {
        Refused::new(Code::NotAnInteger, format!("{text} is not a 64-bit integer: whole numbers are taken"))
    })
}

fn members(op: &One<'_>) -> Result<Vec<Member>, Refused> {
    match op.members.as_deref() {
        None | Some([]) => {
            Err(invalid(&format!("{} takes \"members\", a list of at least one string", op.op)))
        }
        Some(members) => Ok(members.iter().map(|text| Member::new(text)).collect::<Result<_, _>>()?),
    }
}

/// One write of all of them, which must be of one type.
fn together(ops: Vec<Write>) -> Result<Write, Refused> {
    let mut ops = ops.into_iter();
    let mut all = ops.next().ok_or_else(|| invalid("\"ops\" has at least one operation"))?;
    for op in ops {
        match (&mut all, op) {
            (Write::Counter(all), Write::Counter(more)) => all.extend(more),
            (Write::Set(all), Write::Set(more)) => all.extend(more),
            (Write::Flag(all), Write::Flag(more)) => all.extend(more),
            (Write::Observe(all), Write::Observe(more)) => all.extend(more),
            (put @ Write::Put { .. }, last @ Write::Put { .. }) => *put = last,
            _ => return Err(several_types()),
        }
    }
    Ok(all)
}

fn several_types() -> Refused {
    Refused::new(
        Code::WrongType,
        "the operations are of several types: a key has one, and a map's have a \"path\" each",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_core::cell::Type;

    fn code(body: &str) -> Code {
        parse(body.as_bytes()).expect_err(body).problem.code
    }

    #[test]
    fn operations_are_read() {
        let parse = |body: &str| parse(body.as_bytes()).expect(body);
        assert_eq!(parse(r#"{"op":"increment"}"#), Write::Counter(vec![CounterOp::Increment(1)]));
        let both = vec![CounterOp::Reset, CounterOp::Increment(-5)];
        assert_eq!(parse(r#"{"ops":[{"op":"reset"},{"op":"increment","by":-5}]}"#), Write::Counter(both));
        let opera = vec![Member::new("opera").expect("a member")];
        assert_eq!(parse(r#"{"op":"add","members":["opera"]}"#), Write::Set(vec![SetOp::Add(opera)]));
        let Write::Put { value, .. } = parse(r#"{"op":"set","value":{"n": 1.50}}"#) else { panic!("a put") };
        assert_eq!(value, br#"{"n": 1.50}"#, "numbers and spaces keep their text");
        let nested = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        for json in ["null", "1e999", "-0", "123456789012345678901234567890", r#""[[\"{""#, &nested] {
            let Write::Put { value, .. } = parse(&format!(r#"{{"op":"set","value":{json}}}"#)) else {
                panic!("a put")
            };
            assert_eq!(value, json.as_bytes());
        }
        assert_eq!(code(&format!(r#"{{"op":"set","value":[{nested}]}}"#)), Code::BodyInvalid);
    }

    #[test]
    fn what_is_no_operation_is_refused_by_name() {
        for body in [
            "",
            "{",
            "[]",
            "5",
            "{}",
            r#"{"op":5}"#,
            r#"{"ops":[]}"#,
            r#"{"op":"add"}"#,
            r#"["increment"]"#,
            r#"{"ops":[["reset"]]}"#,
            "\u{0}",
        ] {
            assert_eq!(code(body), Code::BodyInvalid, "{body}");
        }
        for body in [
            r#"{"op":"add","members":[""]}"#,
            r#"{"op":"add","members":[5]}"#,
            r#"{"op":"add","members":[]}"#,
            r#"{"op":"increment","by":"5"}"#,
            r#"{"op":"increment","by":null}"#,
            r#"{"op":"increment","bye":5}"#,
            r#"{"op":"reset","by":5}"#,
            r#"{"op":"enable","value":true}"#,
            r#"{"op":"observe"}"#,
            r#"{"op":"observe","value":"5"}"#,
            r#"{"op":"observe","value":true}"#,
            r#"{"op":"remove"}"#,
            r#"{"op":"set"}"#,
            r#"{"op":"increment","type":"counter"}"#,
            r#"{"op":"increment","op":"reset"}"#,
            &format!(r#"{{"op":"set","value":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000)),
        ] {
            assert_eq!(code(body), Code::BodyInvalid, "{body:.80}");
        }
        for by in ["1.5", "1e3", "9223372036854775808"] {
            assert_eq!(code(&format!(r#"{{"op":"increment","by":{by}}}"#)), Code::NotAnInteger, "{by}");
        }
        for value in ["1.0", "1e3", "9223372036854775808", "-9223372036854775809"] {
            assert_eq!(
                code(&format!(r#"{{"op":"observe","value":{value}}}"#)),
                Code::NotAnInteger,
                "{value}"
            );
        }
        for op in ["create", "decrement", "transfer", "insert", "move", "delete", "expire", "persist"] {
            assert_eq!(code(&format!(r#"{{"op":"{op}","at":0}}"#)), Code::NotAvailable, "{op}");
        }
        assert_eq!(code(r#"{"op":"explode"}"#), Code::UnknownOperation);
        for ops in [
            r#"{"op":"reset"},{"op":"clear"}"#,
            r#"{"op":"enable"},{"op":"observe","value":1}"#,
            r#"{"op":"reset"},{"op":"reset","path":["a"]}"#,
        ] {
            assert_eq!(code(&format!(r#"{{"ops":[{ops}]}}"#)), Code::WrongType, "{ops}");
        }
        let many = format!(r#"{{"op":"add","members":[{}]}}"#, vec!["\"m\""; 1001].join(","));
        assert_eq!(code(&many), Code::TooManyOperations);
    }

    #[test]
    fn flags_and_extrema_are_read() {
        let parse = |body: &str| parse(body.as_bytes()).expect(body);
        assert_eq!(parse(r#"{"op":"enable"}"#), Write::Flag(vec![FlagOp::Enable]));
        let both = r#"{"ops":[{"op":"disable"},{"op":"enable"}]}"#;
        assert_eq!(parse(both), Write::Flag(vec![FlagOp::Disable, FlagOp::Enable]));
        assert_eq!(parse(r#"{"op":"observe","value":-17}"#), Write::Observe(vec![-17]));
        let ends = r#"{"ops":[{"op":"observe","value":9223372036854775807},{"op":"observe","value":-9223372036854775808}]}"#;
        assert_eq!(parse(ends), Write::Observe(vec![i64::MAX, i64::MIN]));
        let Write::Put { value, .. } = parse(r#"{"ops":[{"op":"set","value":1},{"op":"set","value":2}]}"#)
        else {
            panic!("a put")
        };
        assert_eq!(value, b"2", "the last one counts");
    }

    #[test]
    fn what_has_a_path_is_done_to_a_field() {
        let path = |names: &[&str]| {
            Path::new(names.iter().map(|name| Field::new(name).expect("a name")).collect()).expect("a path")
        };
        let of = |names: &[&str], named, write| FieldWrite { path: path(names), named, write };
        let parse = |body: &str| parse(body.as_bytes()).expect(body);
        let one = |body: &str, expected| assert_eq!(parse(body), Write::Map(vec![expected]), "{body}");
        let json = ContentType::new("application/json").expect("a content type");
        let london = Write::Put { content_type: json, value: b"\"London\"".to_vec() };
        let members = vec![Member::new("m").expect("a member")];
        one(
            r#"{"path":["address","city"],"op":"set","value":"London","type":"multi"}"#,
            of(&["address", "city"], Some(Type::Multi), london.clone()),
        );
        one(
            r#"{"op":"increment","path":["visits"]}"#,
            of(&["visits"], None, Write::Counter(vec![CounterOp::Increment(1)])),
        );
        one(r#"{"path":["old"],"op":"remove"}"#, of(&["old"], None, Write::Delete));
        one(r#"{"path":[],"op":"remove"}"#, of(&[], None, Write::Delete));
        let remove = Write::Set(vec![SetOp::Remove(members)]);
        one(r#"{"path":["s"],"op":"remove","members":["m"]}"#, of(&["s"], None, remove.clone()));
        one(
            r#"{"path":["s"],"op":"remove","members":["m"],"type":"set"}"#,
            of(&["s"], Some(Type::Set), remove),
        );
        one(
            r#"{"path":["low"],"op":"observe","value":3,"type":"min"}"#,
            of(&["low"], Some(Type::Min), Write::Observe(vec![3])),
        );
        let several =
            r#"{"ops":[{"path":["old"],"op":"remove"},{"path":["city"],"op":"set","value":"London"}]}"#;
        let expected = vec![of(&["old"], None, Write::Delete), of(&["city"], None, london)];
        assert_eq!(parse(several), Write::Map(expected));
    }

    #[test]
    fn a_path_has_limits() {
        let increment = |path: &str| format!(r#"{{"op":"increment","path":{path}}}"#);
        let deep = |depth: usize| format!("[{}]", vec!["\"f\""; depth].join(","));
        let long = |bytes: usize| format!("[\"{}\"]", "f".repeat(bytes));
        let both = format!("[\"{}\",\"f\"]", "f".repeat(4096));
        assert!(
            parse(increment(&deep(32)).as_bytes()).is_ok()
                && parse(increment(&long(4096)).as_bytes()).is_ok()
        );
        for path in ["[]", "null", "\"a\"", "[1]", "[\"\"]", &deep(33), &long(4097), &both] {
            assert_eq!(code(&increment(path)), Code::BodyInvalid, "{path:.40}");
        }
        for body in [
            r#"{"path":["s"],"op":"remove","members":null}"#,
            r#"{"path":["s"],"op":"remove","members":[]}"#,
            r#"{"path":["s"],"op":"remove","type":"set"}"#,
            r#"{"path":["s"],"op":"remove","value":1}"#,
            r#"{"path":[],"op":"remove","members":["m"]}"#,
            r#"{"path":["a"],"op":"increment","type":5}"#,
        ] {
            assert_eq!(code(body), Code::BodyInvalid, "{body}");
        }
        assert_eq!(code(r#"{"path":["a"],"op":"increment","type":"mop"}"#), Code::InvalidParameter);
        for absent in ["list", "set-rw", "bounded", "flag-dw", "json"] {
            let body = format!(r#"{{"path":["a"],"op":"increment","type":"{absent}"}}"#);
            assert_eq!(code(&body), Code::NotAvailable);
        }
        let one = r#"{"path":["a"],"op":"reset"}"#;
        let many = |count: usize| format!(r#"{{"ops":[{}]}}"#, vec![one; count].join(","));
        assert!(parse(many(1000).as_bytes()).is_ok());
        assert_eq!(code(&many(1001)), Code::TooManyOperations);
    }
}
