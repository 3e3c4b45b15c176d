//! What a POST asks for: one operation, or several that apply together, from JSON to a core write.

use super::answer::Refused;
use super::request::absent;
use meridian_api::error::Code;
use meridian_core::name::{ContentType, Member};
use meridian_core::replica::write::{OPERATIONS_MAX, Write};
use meridian_core::types::counter::CounterOp;
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
    #[serde(default)]
    members: Option<Vec<String>>,
    #[serde(borrow, default, deserialize_with = "given")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given", rename = "path")]
    path: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given", rename = "type")]
    leaf_type: Option<&'a RawValue>,
}

/// A field that is given, though it be `null`.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// What an operation comes to.
enum Parsed {
    Counter(CounterOp),
    Set(SetOp),
    Value(Vec<u8>),
}

/// Reads the body of a POST.
///
/// # Errors
/// 400 for what is no operation, 413 for too many, 422 for numbers that are no i64 and operations of several types.
pub(super) fn parse(body: &[u8]) -> Result<Write, Refused> {
    let ops = read(body)?;
    let mut size = 0;
    let mut parsed = Vec::with_capacity(ops.len());
    for op in ops {
        size += op.members.as_ref().map_or(1, |members| members.len().max(1));
        if size > OPERATIONS_MAX {
            let detail =
                format!("a request has at most {OPERATIONS_MAX} operations and members: send several");
            return Err(Refused::new(Code::TooManyOperations, detail));
        }
        parsed.push(one(&op)?);
    }
    together(parsed)
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
        "increment" | "reset" | "add" | "remove" | "clear" | "set" => object(text),
        "enable" | "disable" | "observe" | "create" | "decrement" | "transfer" | "insert" | "move"
        | "delete" | "expire" | "persist" => Err(absent(&format!("the operation {name}"))),
        _ => {
            let there = "increment, reset, add, remove, clear and set are there";
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

fn one(op: &One<'_>) -> Result<Parsed, Refused> {
    if op.path.is_some() || op.leaf_type.is_some() {
        return Err(absent("operations with a path: the type map"));
    }
    let takes = |by: bool, members: bool, value: bool| {
        let given = [
            ("by", op.by.is_some(), by),
            ("members", op.members.is_some(), members),
            ("value", op.value.is_some(), value),
        ];
        match given.into_iter().find(|(_, given, takes)| *given && !takes) {
            Some((field, ..)) => Err(invalid(&format!("{} does not take {field:?}", op.op))),
            None => Ok(()),
        }
    };
    match op.op.as_str() {
        "increment" => takes(true, false, false)
            .and_then(|()| Ok(Parsed::Counter(CounterOp::Increment(op.by.map_or(Ok(1), integer)?)))),
        "reset" => takes(false, false, false).map(|()| Parsed::Counter(CounterOp::Reset)),
        "add" => takes(false, true, false).and_then(|()| Ok(Parsed::Set(SetOp::Add(members(op)?)))),
        "remove" => takes(false, true, false).and_then(|()| Ok(Parsed::Set(SetOp::Remove(members(op)?)))),
        "clear" => takes(false, false, false).map(|()| Parsed::Set(SetOp::Clear)),
        "set" => {
            takes(false, false, true)?;
            let value = op.value.ok_or_else(|| invalid("set takes a \"value\""))?;
            // It is JSON, and is stored as it was written.
            if depth(value.get()) > DEPTH_MAX {
                return Err(invalid(&format!("a value is nested {DEPTH_MAX} deep at most")));
            }
            Ok(Parsed::Value(value.get().as_bytes().to_vec()))
        }
        known => unreachable!("{known} was let through by its name"),
    }
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

fn integer(number: &RawValue) -> Result<i64, Refused> {
    let text = number.get();
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err(invalid("\"by\" is a number"));
    }
    text.parse().map_err(|_| {
        Refused::new(
            Code::NotAnInteger,
            format!("{text} is not a 64-bit integer: a counter counts in whole numbers"),
        )
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
fn together(ops: Vec<Parsed>) -> Result<Write, Refused> {
    let (mut counter, mut set, mut value) = (Vec::new(), Vec::new(), None);
    for op in ops {
        match op {
            Parsed::Counter(op) => counter.push(op),
            Parsed::Set(op) => set.push(op),
            Parsed::Value(bytes) => value = Some(bytes),
        }
    }
    match (counter.is_empty(), set.is_empty(), value) {
        (true, true, None) => Err(invalid("\"ops\" has at least one operation")),
        (false, true, None) => Ok(Write::Counter(counter)),
        (true, false, None) => Ok(Write::Set(set)),
        (true, true, Some(value)) => {
            let content_type = ContentType::new("application/json").expect("a content type");
            Ok(Write::Put { content_type, value })
        }
        _ => Err(Refused::new(Code::WrongType, "the operations are of several types: a key has one")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            r#"{"op":"increment","op":"reset"}"#,
            &format!(r#"{{"op":"set","value":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000)),
        ] {
            assert_eq!(code(body), Code::BodyInvalid, "{body:.80}");
        }
        for by in ["1.5", "1e3", "9223372036854775808"] {
            assert_eq!(code(&format!(r#"{{"op":"increment","by":{by}}}"#)), Code::NotAnInteger, "{by}");
        }
        assert_eq!(code(r#"{"op":"enable"}"#), Code::NotAvailable);
        assert_eq!(code(r#"{"op":"increment","path":["a"]}"#), Code::NotAvailable);
        assert_eq!(code(r#"{"op":"explode"}"#), Code::UnknownOperation);
        assert_eq!(code(r#"{"ops":[{"op":"reset"},{"op":"clear"}]}"#), Code::WrongType);
        let many = format!(r#"{{"op":"add","members":[{}]}}"#, vec!["\"m\""; 1001].join(","));
        assert_eq!(code(&many), Code::TooManyOperations);
    }
}
