//! Counters.

use super::{Handle, Type};
use crate::call::{Call, Change, json};
use crate::error::Kind;
use crate::request::Answer;
use serde_json::json;

/// Names the type.
#[derive(Debug)]
pub enum Counter {}

impl Type for Counter {
    const NAME: &'static str = "counter";
    /// Sums are exact, also where many nodes together have counted beyond 64 bits.
    type Value = i128;

    fn value(answer: &Answer) -> Result<i128, Kind> {
        json(answer)
    }
}

impl Handle<Counter> {
    /// Adds to it, and gives what it then is on the node that answered. `by` may be negative.
    ///
    /// It is not sent again when it is not known whether it was applied: the second would count as well.
    pub fn increment(&self, by: i64) -> Call<i128> {
        self.place.post(&json!({"op": "increment", "by": by}), false, json)
    }

    /// Sets it to zero: takes away what the node has seen, and what others count at the same time stays. Gives what it then is.
    /// Where nothing is there, nothing is made.
    pub fn reset(&self) -> Change<i128> {
        Change::new(self.place.post(&json!({"op": "reset"}), true, json))
    }
}
