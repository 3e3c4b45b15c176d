//! Calls: what is done when they are awaited, and what is limited to what was seen.

use crate::client::Client;
use crate::error::{Error, Kind};
use crate::request::{Answer, Request};
use meridian_api::error::Outcome;
use meridian_api::header;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::ops::Deref;
use std::pin::Pin;
use std::time::Duration;

/// A call that has not been made yet: `.await` makes it.
///
/// Dropping it before it has ended leaves open whether it was applied.
#[must_use = "a call is made when it is awaited"]
pub struct Call<T> {
    client: Client,
    request: Result<Request, Error>,
    timeout: Duration,
    understand: fn(&Answer) -> Result<T, Kind>,
    /// What it gives where nothing is there; without it that is an error.
    absent: Option<fn() -> T>,
}

/// A [`Call`] that writes, and can be limited to what was seen.
#[derive(Debug)]
#[must_use = "a call is made when it is awaited"]
pub struct Change<T>(Call<T>);

/// What a read saw of one key. A write that carries it takes away that and nothing else: what others wrote since stays.
///
/// It is opaque, good at every node, and may be kept as a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context(String);

/// A value, and what the read saw that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen<T> {
    /// The value.
    pub value: T,
    /// For [`Change::seen`].
    pub context: Context,
}

/// How many members or fields a write changed; where it [was sent again](Client), how many the last time changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Said")]
#[non_exhaustive]
pub struct Changed {
    /// Members that came.
    pub added: u64,
    /// Members that went.
    pub removed: u64,
    /// Fields of a map.
    pub changed: u64,
    /// There were more than were counted.
    pub more: bool,
}

/// What an answer says of it: of a set or of a map.
#[derive(Deserialize)]
struct Said {
    added: Option<u64>,
    removed: Option<u64>,
    changed: Option<u64>,
    #[serde(default)]
    more: bool,
}

impl TryFrom<Said> for Changed {
    type Error = &'static str;

    fn try_from(said: Said) -> Result<Changed, &'static str> {
        if said.added.or(said.removed).or(said.changed).is_none() {
            return Err("it does not say what changed");
        }
        let [added, removed, changed] =
            [said.added, said.removed, said.changed].map(Option::unwrap_or_default);
        Ok(Changed { added, removed, changed, more: said.more })
    }
}

impl<T> Call<T> {
    pub(crate) fn new(
        client: &Client,
        request: Result<Request, Error>,
        understand: fn(&Answer) -> Result<T, Kind>,
    ) -> Call<T> {
        Call { client: client.clone(), request, timeout: client.timeout(), understand, absent: None }
    }

    /// The same, giving this where nothing is there.
    pub(crate) fn or(self, absent: fn() -> T) -> Call<T> {
        Call { absent: Some(absent), ..self }
    }

    /// The same with how long it may take in all, in place of the client's [time](crate::Builder::timeout).
    pub fn timeout(self, timeout: Duration) -> Call<T> {
        Call { timeout, ..self }
    }

    async fn make(self) -> Result<T, Error> {
        let request = self.request?;
        match (self.client.send_within(&request, self.timeout).await, self.absent) {
            (Ok(answer), _) => (self.understand)(&answer).map_err(|kind| {
                let outcome = if request.is_read() { Outcome::NotApplied } else { Outcome::Applied };
                Error::new(request.name(), kind, outcome, Vec::new())
            }),
            (Err(error), Some(absent)) if error.is_absence() => Ok(absent()),
            (Err(error), _) => Err(error),
        }
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = self.request.as_ref().map(Request::name);
        f.debug_struct("Call")
            .field("request", &request)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Call<T> {
    /// One whose answer is JSON.
    pub(crate) fn json(client: &Client, request: Request) -> Call<T> {
        Call::new(client, Ok(request), json)
    }
}

impl<T: Send + 'static> IntoFuture for Call<T> {
    type Output = Result<T, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

impl<T> Change<T> {
    pub(crate) fn new(call: Call<T>) -> Change<T> {
        Change(call)
    }

    /// The same with how long it may take in all, in place of the client's [time](crate::Builder::timeout).
    pub fn timeout(self, timeout: Duration) -> Change<T> {
        Change(self.0.timeout(timeout))
    }

    /// The same, not to be sent again when it is not known whether it was applied.
    pub(crate) fn once(self) -> Change<T> {
        let request = self.0.request.map(|request| request.repeatable(false));
        Change(Call { request, ..self.0 })
    }

    /// The same, limited to what a read saw: what others wrote since is not taken away.
    pub fn seen(self, context: &Context) -> Change<T> {
        // Here the type is known, and with it whether doing it twice leaves the same.
        let request = self.0.request.map(|request| {
            let is_repeatable = request.is_repeatable;
            request.header(header::CONTEXT, context.as_str()).repeatable(is_repeatable)
        });
        Change(Call { request, ..self.0 })
    }
}

impl<T> From<Change<T>> for Call<T> {
    fn from(change: Change<T>) -> Call<T> {
        change.0
    }
}

impl<T: Send + 'static> IntoFuture for Change<T> {
    type Output = Result<T, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        self.0.into_future()
    }
}

impl Context {
    /// The token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Context {
    fn from(token: String) -> Context {
        Context(token)
    }
}

impl<T> Deref for Seen<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

// -- what answers say ----------------------------------------------------------------------------------------------------

/// The answer's JSON, in the form that nodes give it.
pub(crate) fn json<T: DeserializeOwned>(answer: &Answer) -> Result<T, Kind> {
    serde_json::from_slice(&answer.body).map_err(|error| no_node(&error.to_string()))
}

/// The answer's JSON, in a form that the user asks for.
pub(crate) fn fitting<T: DeserializeOwned>(answer: &Answer) -> Result<T, Kind> {
    serde_json::from_slice(&answer.body).map_err(|error| Kind::Misfit(error.to_string()))
}

/// A header that every node's answer has.
pub(crate) fn needed<'a>(answer: &'a Answer, name: &str) -> Result<&'a str, Kind> {
    answer.header(name).ok_or_else(|| no_node(&format!("it has no header {name}")))
}

/// Nothing but that it was done.
pub(crate) fn done(_: &Answer) -> Result<(), Kind> {
    Ok(())
}

/// What the answer's read saw.
pub(crate) fn context(answer: &Answer) -> Result<Context, Kind> {
    Ok(Context(needed(answer, header::CONTEXT)?.into()))
}

fn no_node(why: &str) -> Kind {
    Kind::Strange(format!("{why} (is this a Meridian node?)"))
}
