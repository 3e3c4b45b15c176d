//! Registers: of one value, and of several.

use super::{Handle, Type};
use crate::call::{Call, Change, fitting, needed};
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
use serde_json::json;

/// How often a merge begins anew because another client was the first to make the key.
const MERGES_MAX: usize = 8;

/// Names the type.
#[derive(Debug)]
pub enum Register {}
/// Names the type.
#[derive(Debug)]
pub enum Multi {}

/// A value of a [`Multi`](super::Multi), as it is shown beside others.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sibling {
    /// Text, or a string as JSON.
    Text(String),
    /// Other JSON that was put as such. Numbers beyond 64 bits are rounded.
    Json(serde_json::Value),
    /// Any other bytes.
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
        let embedded: Vec<serde_json::Value> = match answer.header(header::SIBLINGS) {
            Some(_) => crate::call::json(answer)?,
            None => vec![json!(Embedded::of(answer.header("content-type"), &answer.body))],
        };
        embedded.into_iter().map(sibling).collect::<Result<_, _>>().map_err(Kind::Strange)
    }
}

/// A value as it is embedded in JSON.
fn sibling(embedded: serde_json::Value) -> Result<Sibling, String> {
    match embedded {
        serde_json::Value::String(text) => Ok(Sibling::Text(text)),
        serde_json::Value::Object(fields) if fields.len() == 1 && fields.contains_key("base64") => {
            let bytes = fields["base64"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
            bytes.map(|bytes| Sibling::Bytes(bytes.into())).ok_or("its base64 is broken".into())
        }
        json => Ok(Sibling::Json(json)),
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
    /// It is not sent again when it is not known whether it was applied: the second would be a sibling of the first.
    pub fn put(&self, value: impl Into<Value>) -> Change<()> {
        self.place.put(value.into(), &[]).once()
    }

    /// Puts a value in place of all that the node has.
    pub fn overwrite(&self, value: impl Into<Value>) -> Change<()> {
        self.place.put(value.into(), &[("overwrite", "true")])
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
            let alone = json!(Embedded::of(Some(&value.content_type), &value.bytes));
            assert_eq!(sibling(alone), Ok(expected));
        }
        assert!(sibling(json!({"base64": "?"})).is_err());
        assert!(matches!(sibling(json!({"base64": "/w==", "b": 1})), Ok(Sibling::Json(_))));
    }
}
