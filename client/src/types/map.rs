//! Maps, and several changes of one that apply together.

use super::set::list;
use super::{Handle, Type};
use crate::bucket::Place;
use crate::call::{Call, Change, Changed, Context, fitting, json};
use crate::error::{Error, Kind};
use crate::path::Path;
use crate::request::Answer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

/// Names the type.
#[derive(Debug)]
pub enum Map {}

impl Type for Map {
    const NAME: &'static str = "map";
    /// As JSON: an object, with nested ones. One with more than 10,000 members in its fields is refused (`page_required`): read a
    /// part of it. Numbers beyond 64 bits are rounded; [`Handle::get_as`] reads them into `i128`, and into a
    /// `Box<RawValue>` what no `serde_json::Value` holds (`1e999`).
    type Value = Value;

    fn value(answer: &Answer) -> Result<Value, Kind> {
        fitting(answer)
    }
}

impl Handle<Map> {
    /// Reads it into a type of yours; `None` where nothing is there.
    pub fn get_as<T: DeserializeOwned + Send + 'static>(&self) -> Call<Option<T>> {
        self.place.get(&[], |answer| fitting(answer).map(Some))
    }

    /// Reads a field; `None` where nothing is there.
    pub fn get_field<T: DeserializeOwned + Send + 'static>(&self, path: impl Into<Path>) -> Call<Option<T>> {
        // With a path, a type would be the field's.
        self.place.of_any_type().get(&[("path", &path.into().pointer())], |answer| fitting(answer).map(Some))
    }

    /// Changes fields: says what, any number of times, and applies all together, or none, when awaited.
    ///
    /// ```no_run
    /// # async fn example(client: meridian_client::Client) -> Result<(), meridian_client::Error> {
    /// let ada = client.bucket("users").map("43");
    /// ada.change().set(["address", "city"], &"London").increment("visits", 1).add("tags", ["opera"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn change(&self) -> Changes {
        Changes {
            place: self.place.clone(),
            operations: Vec::new(),
            error: None,
            is_repeatable: true,
            timeout: None,
            context: None,
        }
    }
}

/// Changes of a map's fields that apply together. At most 1,000, and as many members.
///
/// It is sent again when it is not known whether it was applied, unless something is incremented or put into a
/// [`Multi`](super::Multi) by it.
#[must_use = "changes are made when they are awaited"]
#[derive(Debug)]
pub struct Changes {
    place: Place,
    operations: Vec<Value>,
    error: Option<Error>,
    is_repeatable: bool,
    timeout: Option<Duration>,
    context: Option<Context>,
}

impl Changes {
    /// Sets a register to a value, as JSON.
    pub fn set(self, path: impl Into<Path>, value: &impl Serialize) -> Changes {
        // Without the type it would go to a multi, where there is one, and not be repeatable.
        self.put(path, value, json!({"op": "set", "type": "register"}))
    }

    /// Puts a value, as JSON, into a field that keeps all values of which none has seen another: see
    /// [`Multi`](super::Multi).
    pub fn set_multi(self, path: impl Into<Path>, value: &impl Serialize) -> Changes {
        Changes { is_repeatable: false, ..self }.put(path, value, json!({"op": "set", "type": "multi"}))
    }

    /// Adds to a counter.
    pub fn increment(self, path: impl Into<Path>, by: i64) -> Changes {
        Changes { is_repeatable: false, ..self }.with(path, json!({"op": "increment", "by": by}))
    }

    /// Sets a counter to zero. With [`Changes::seen`], what a node counted is left whole if it has counted on since.
    pub fn reset(self, path: impl Into<Path>) -> Changes {
        self.with(path, json!({"op": "reset"}))
    }

    /// Adds members to a set.
    pub fn add<M: Into<String>>(
        self,
        path: impl Into<Path>,
        members: impl IntoIterator<Item = M>,
    ) -> Changes {
        self.with(path, json!({"op": "add", "members": list(members)}))
    }

    /// Removes members from a set.
    pub fn remove_members<M: Into<String>>(
        self,
        path: impl Into<Path>,
        members: impl IntoIterator<Item = M>,
    ) -> Changes {
        self.with(path, json!({"op": "remove", "type": "set", "members": list(members)}))
    }

    /// Removes all members of a set.
    pub fn clear(self, path: impl Into<Path>) -> Changes {
        self.with(path, json!({"op": "clear"}))
    }

    /// Enables a flag.
    pub fn enable(self, path: impl Into<Path>) -> Changes {
        self.with(path, json!({"op": "enable"}))
    }

    /// Disables a flag.
    pub fn disable(self, path: impl Into<Path>) -> Changes {
        self.with(path, json!({"op": "disable"}))
    }

    /// Observes a number, where the highest is kept.
    pub fn observe_max(self, path: impl Into<Path>, value: i64) -> Changes {
        self.with(path, json!({"op": "observe", "type": "max", "value": value}))
    }

    /// Observes a number, where the lowest is kept.
    pub fn observe_min(self, path: impl Into<Path>, value: i64) -> Changes {
        self.with(path, json!({"op": "observe", "type": "min", "value": value}))
    }

    /// Takes away a field, of whatever type, with all below it.
    pub fn remove(self, path: impl Into<Path>) -> Changes {
        self.with(path, json!({"op": "remove"}))
    }

    /// Limits what is taken away to what a read saw: what others wrote since stays.
    pub fn seen(self, context: &Context) -> Changes {
        Changes { context: Some(context.clone()), ..self }
    }

    /// The same with how long it may take in all, in place of the client's [time](crate::Builder::timeout).
    pub fn timeout(self, timeout: Duration) -> Changes {
        Changes { timeout: Some(timeout), ..self }
    }

    fn put(mut self, path: impl Into<Path>, value: &impl Serialize, mut operation: Value) -> Changes {
        match serde_json::to_value(value) {
            Ok(value) => operation["value"] = value,
            Err(error) => self.error = self.error.or(Some(Error::invalid("a value as JSON", error))),
        }
        self.with(path, operation)
    }

    fn with(mut self, path: impl Into<Path>, mut operation: Value) -> Changes {
        operation["path"] = json!(path.into());
        self.operations.push(operation);
        self
    }

    fn call(self) -> Call<Changed> {
        if let Some(error) = self.error {
            return Call::new(&self.place.client, Err(error), json);
        }
        let mut change =
            Change::new(self.place.post(&json!({"ops": self.operations}), self.is_repeatable, json));
        if let Some(timeout) = self.timeout {
            change = change.timeout(timeout);
        }
        match self.context {
            Some(context) => change.seen(&context).into(),
            None => change.into(),
        }
    }
}

impl IntoFuture for Changes {
    type Output = Result<Changed, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        self.call().into_future()
    }
}
