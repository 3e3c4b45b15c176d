//! Registers: of one value, and of several.

use super::{Handle, Type};
use crate::call::{Call, Change, fitting, json, needed};
use crate::error::{Error, Kind};
use crate::request::Answer;
use crate::value::Value;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use meridian_api::error::Code;
use meridian_api::header;
use meridian_api::value::Embedded;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// How often a merge begins anew because another client was the first to make the key.
const MERGES_MAX: usize = 8;

/// Names the type.
#[derive(Debug)]
pub enum Register {}
/// Names the type.
#[derive(Debug)]
pub enum Multi {}

/// A value of a [`Multi`](super::Multi), as it is shown beside others. It can be put again: as text, as JSON, or as
/// `application/octet-stream`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sibling {
    /// Text, or a string as JSON; and JSON that no `serde_json::Value` holds, like `1e999`.
    Text(String),
    /// Other JSON that was put as such. Numbers beyond 64 bits are rounded.
    Json(serde_json::Value),
    /// Any other bytes. Beside others, JSON that looks as such bytes are shown, `{"base64":"…"}`, is taken for them.
    Bytes(Bytes),
}

impl Sibling {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Sibling::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Type for Register {
    const NAME: &'static str = "register";
    type Value = Value;

    fn value(answer: &Answer) -> Result<Value, Kind> {
        value(answer)
    }
}

impl Type for Multi {
    const NAME: &'static str = "multi";
    type Value = Vec<Sibling>;

    /// All values of which none has seen another, at least one.
    fn value(answer: &Answer) -> Result<Vec<Sibling>, Kind> {
        if answer.header(header::SIBLINGS).is_none() {
            return Ok(vec![alone(answer.header("content-type"), &answer.body)]);
        }
        let embedded: Vec<Box<RawValue>> = json(answer)?;
        Ok(embedded.iter().map(|json| beside_others(json)).collect())
    }
}

/// The only value: its content type says what it is.
fn alone(content_type: Option<&str>, bytes: &Bytes) -> Sibling {
    match Embedded::of(content_type, bytes) {
        Embedded::Json(json) => of_json(json),
        Embedded::Text(text) => Sibling::Text(text.into()),
        Embedded::Bytes { .. } => Sibling::Bytes(bytes.clone()),
    }
}

/// One of several, as it is embedded in JSON.
fn beside_others(json: &RawValue) -> Sibling {
    let sibling = of_json(json);
    match bytes_of(&sibling) {
        Some(bytes) => Sibling::Bytes(bytes.into()),
        None => sibling,
    }
}

fn of_json(json: &RawValue) -> Sibling {
    match serde_json::from_str(json.get()) {
        Ok(serde_json::Value::String(text)) => Sibling::Text(text),
        Ok(value) => Sibling::Json(value),
        Err(_) => Sibling::Text(json.get().into()),
    }
}

/// The bytes that `{"base64":"…"}` stands for.
fn bytes_of(sibling: &Sibling) -> Option<Vec<u8>> {
    match sibling {
        Sibling::Json(serde_json::Value::Object(fields)) if fields.len() == 1 => {
            BASE64_STANDARD.decode(fields.get("base64")?.as_str()?).ok()
        }
        _ => None,
    }
}

impl From<Sibling> for Value {
    fn from(sibling: Sibling) -> Value {
        match sibling {
            Sibling::Text(text) => text.into(),
            Sibling::Json(json) => json.into(),
            Sibling::Bytes(bytes) => bytes.into(),
        }
    }
}

/// The body as it was put.
pub(crate) fn value(answer: &Answer) -> Result<Value, Kind> {
    Ok(Value::new(needed(answer, "content-type")?, answer.body.clone()))
}

impl Handle<Register> {
    /// Puts a value in place of what is there. A string is put as text, bytes as `application/octet-stream`; see [`Value`].
    pub fn put(&self, value: impl Into<Value>) -> Change<()> {
        self.place.put(value.into(), &[])
    }

    /// Puts a value as JSON.
    ///
    /// # Errors
    /// It cannot be written as JSON. Nothing was sent.
    pub fn put_json(&self, value: &impl Serialize) -> Result<Change<()>, Error> {
        Ok(self.put(Value::json(value)?))
    }

    /// Reads what it says as JSON; `None` where nothing is there.
    pub fn get_json<T: DeserializeOwned + Send + 'static>(&self) -> Call<Option<T>> {
        self.place.get(&[], |answer| fitting(answer).map(Some))
    }
}

impl Handle<Multi> {
    /// Puts a value: the first one of a key, or with [`Change::seen`] in place of what a read saw. Without it, on a key that has
    /// values, it is refused ([`Code::ContextRequired`]), and nothing is overwritten unseen.
    ///
    /// As everything that puts into a multi, it is not sent again when it is not known whether it was applied: the second would be
    /// a sibling of the first.
    pub fn put(&self, value: impl Into<Value>) -> Change<()> {
        self.place.put(value.into(), &[]).once()
    }

    /// Puts a value in place of all that the node has.
    pub fn overwrite(&self, value: impl Into<Value>) -> Change<()> {
        self.place.put(value.into(), &[("overwrite", "true")]).once()
    }

    /// Reads, lets `merge` make one value of all, and puts it in place of what was read. What others put meanwhile stays beside it,
    /// for the next to merge. Where nothing is there, `merge` gets no values.
    ///
    /// # Errors
    /// As of a read and a put.
    pub async fn update<V: Into<Value>>(&self, mut merge: impl FnMut(&[Sibling]) -> V) -> Result<(), Error> {
        for _ in 1..MERGES_MAX {
            match self.update_once(&mut merge).await {
                Err(error) if error.code() == Some(Code::ContextRequired) => {}
                ended => return ended,
            }
        }
        self.update_once(&mut merge).await
    }

    async fn update_once<V: Into<Value>>(
        &self,
        merge: &mut impl FnMut(&[Sibling]) -> V,
    ) -> Result<(), Error> {
        match self.read().await? {
            Some(seen) => self.put(merge(&seen.value)).seen(&seen.context).await,
            None => self.put(merge(&[])).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const JSON: &str = "application/json";

    fn raw(json: &str) -> Box<RawValue> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_value_alone_reads_as_it_does_beside_others() {
        let png = Value::new("image/png", b"\xff".to_vec());
        for (value, expected) in [
            (Value::from("a"), Sibling::Text("a".into())),
            (Value::json(&"a").unwrap(), Sibling::Text("a".into())),
            (Value::json(&[1]).unwrap(), Sibling::Json(json!([1]))),
            (Value::new("text/plain", "[1]"), Sibling::Text("[1]".into())),
            (png, Sibling::Bytes(b"\xff".to_vec().into())),
        ] {
            let shown =
                serde_json::to_string(&Embedded::of(Some(&value.content_type), &value.bytes)).unwrap();
            assert_eq!(beside_others(&raw(&shown)), expected);
            assert_eq!(alone(Some(&value.content_type), &value.bytes), expected);
            let again = Value::from(expected.clone());
            assert_eq!(alone(Some(&again.content_type), &again.bytes), expected, "it can be put again");
        }
    }

    #[test]
    fn json_that_no_value_holds_is_a_text() {
        let (huge, deep) = ("1e999".to_owned(), format!("{}{}", "[".repeat(128), "]".repeat(128)));
        for json in [huge, deep] {
            assert_eq!(alone(Some(JSON), &json.clone().into()), Sibling::Text(json.clone()));
            assert_eq!(beside_others(&raw(&json)), Sibling::Text(json));
        }
    }

    #[test]
    fn only_beside_others_json_may_stand_for_bytes() {
        let looks_so = r#"{"base64":"aGk="}"#;
        assert_eq!(alone(Some(JSON), &looks_so.into()), Sibling::Json(json!({"base64": "aGk="})));
        assert_eq!(beside_others(&raw(looks_so)), Sibling::Bytes("hi".into()));
        for other in [r#"{"base64":"?"}"#, r#"{"base64":1}"#, r#"{"base64":"/w==","b":1}"#] {
            assert!(matches!(beside_others(&raw(other)), Sibling::Json(_)), "{other}");
        }
    }
}
