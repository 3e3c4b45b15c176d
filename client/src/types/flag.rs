//! Flags, and the highest and the lowest number.

use super::{Handle, Type};
use crate::call::{Call, Change, json};
use crate::error::Kind;
use crate::request::Answer;
use serde_json::json;

/// Names the type.
#[derive(Debug)]
pub enum Flag {}
/// Names the type.
#[derive(Debug)]
pub enum Max {}
/// Names the type.
#[derive(Debug)]
pub enum Min {}

impl Type for Flag {
    const NAME: &'static str = "flag";
    type Value = bool;

    fn value(answer: &Answer) -> Result<bool, Kind> {
        json(answer)
    }
}

impl Type for Max {
    const NAME: &'static str = "max";
    type Value = i64;

    fn value(answer: &Answer) -> Result<i64, Kind> {
        json(answer)
    }
}

impl Type for Min {
    const NAME: &'static str = "min";
    type Value = i64;

    fn value(answer: &Answer) -> Result<i64, Kind> {
        json(answer)
    }
}

impl Handle<Flag> {
    /// Enables it.
    pub fn enable(&self) -> Call<bool> {
        self.place.post(&json!({"op": "enable"}), true, json)
    }

    /// Disables it: takes away the enables that the node has seen, so it gives `true` where a concurrent one wins. Where nothing is
    /// there, nothing is made.
    pub fn disable(&self) -> Change<bool> {
        Change::new(self.place.post(&json!({"op": "disable"}), true, json))
    }
}

impl Handle<Max> {
    /// Observes a number, and gives the highest that the node has seen.
    pub fn observe(&self, value: i64) -> Call<i64> {
        self.place.post(&json!({"op": "observe", "value": value}), true, json)
    }
}

impl Handle<Min> {
    /// Observes a number, and gives the lowest that the node has seen.
    pub fn observe(&self, value: i64) -> Call<i64> {
        self.place.post(&json!({"op": "observe", "value": value}), true, json)
    }
}
