//! What a register holds: bytes, and what they are.

use crate::error::Error;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The type of bytes of which nothing else is known.
const BYTES: &str = "application/octet-stream";
/// The type of a string.
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What a register holds: bytes, and the content type that they were put with. A string is put as text, bytes as
/// `application/octet-stream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The bytes, as they were put.
    pub bytes: Bytes,
    /// What they are, as an HTTP Content-Type.
    pub content_type: String,
}

impl Value {
    /// Bytes of a type, like `image/png`.
    pub fn new(content_type: impl Into<String>, bytes: impl Into<Bytes>) -> Value {
        Value { bytes: bytes.into(), content_type: content_type.into() }
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// It cannot be written as JSON: [`Kind::Invalid`](crate::Kind::Invalid).
    pub fn json(value: &impl Serialize) -> Result<Value, Error> {
        let bytes = serde_json::to_vec(value).map_err(|error| Error::invalid("a value as JSON", error))?;
        Ok(Value::new(JSON, bytes))
    }

    /// The bytes as text; `None` if they are not UTF-8.
    pub fn text(&self) -> Option<&str> {
        str::from_utf8(&self.bytes).ok()
    }

    /// What the bytes say as JSON, whatever their content type is.
    ///
    /// # Errors
    /// They are no such JSON: [`Kind::Misfit`](crate::Kind::Misfit).
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.bytes).map_err(|error| Error::misfit("a value as JSON", error))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::new(TEXT, text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::new(TEXT, text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Value {
        Value::new(BYTES, bytes)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Value {
        Value::new(BYTES, bytes.to_vec())
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Value {
        Value::new(JSON, json.to_string())
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Value {
        Value::new(BYTES, bytes)
    }
}
