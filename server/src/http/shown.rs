//! A value as JSON, as a person would write it by hand.

use meridian_api::value::Embedded;
use meridian_core::cell::Blob;
use meridian_core::types::Value;
use serde::{Serialize, Serializer};

/// A value within JSON: a register's or `multi`'s bytes embedded, several values of a `multi` as a list, a map as an object.
pub(super) struct Shown<'a>(pub(super) &'a Value);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Register { content_type, bytes } => {
                Embedded::of(Some(content_type.as_str()), bytes).serialize(out)
            }
            Value::Counter(sum) => out.serialize_i128(*sum),
            Value::Set(members) => out.collect_seq(members.iter().map(|member| member.as_str())),
            Value::Multi(blobs) => match &blobs[..] {
                [one] => embedded(one).serialize(out),
                several => out.collect_seq(several.iter().map(embedded)),
            },
            Value::Flag(enabled) => out.serialize_bool(*enabled),
            Value::Max(number) | Value::Min(number) => out.serialize_i64(*number),
            Value::Map(fields) => {
                out.collect_map(fields.iter().map(|(name, value)| (name.as_str(), Shown(value))))
            }
        }
    }
}

fn embedded(blob: &Blob) -> Embedded<'_> {
    Embedded::of(Some(blob.content_type.as_str()), &blob.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_core::name::{ContentType, Member};
    use meridian_core::path::Field;

    fn blob(content_type: &str, value: &[u8]) -> Blob {
        Blob { content_type: ContentType::new(content_type).expect("a content type"), value: value.to_vec() }
    }

    fn text(value: &Value) -> String {
        serde_json::to_string(&Shown(value)).expect("it can be written")
    }

    #[test]
    fn every_type_is_shown_as_it_would_be_written_by_hand() {
        let json = ContentType::new("application/json").expect("a content type");
        let register = Value::Register { content_type: json, bytes: b"{\"n\": 1.50}".to_vec() };
        let member = |text: &str| Member::new(text).expect("a member");
        let plain = blob("text/plain", b"a");
        for (value, expected) in [
            (register.clone(), "{\"n\": 1.50}"),
            (Value::Counter(i128::from(i64::MAX) + 1), "9223372036854775808"),
            (Value::Set(vec![member("a\"b"), member("z")]), r#"["a\"b","z"]"#),
            (Value::Multi(vec![plain.clone()]), r#""a""#),
            (Value::Multi(vec![plain, blob("application/json", b"[1]")]), r#"["a",[1]]"#),
            (Value::Multi(vec![blob("image/png", b"\xff")]), r#"{"base64":"/w=="}"#),
            (Value::Flag(true), "true"),
            (Value::Max(-7), "-7"),
            (Value::Min(i64::MIN), "-9223372036854775808"),
            (Value::Map(Vec::new()), "{}"),
        ] {
            assert_eq!(text(&value), expected);
        }
        let field = |name: &str| Field::new(name).expect("a name");
        let inner = Value::Map(vec![(field("r"), register), (field("on"), Value::Flag(false))]);
        let outer = Value::Map(vec![(field("a\"b"), inner), (field("n"), Value::Counter(3))]);
        assert_eq!(text(&outer), r#"{"a\"b":{"r":{"n": 1.50},"on":false},"n":3}"#);
    }
}
