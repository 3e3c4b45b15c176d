//! Calls: what is done when they are awaited, and what is limited to what was seen.

use crate::client::Client;
use crate::error::{Error, Kind};
use crate::request::{Answer, Request};
use meridian_api::error::Outcome;
use meridian_api::header;
use serde::Deserialize;
use serde::de::DeserializeOwned;
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
    understand: fn(&Answer) -> Result<T, String>,
    /// What it gives where nothing is there; without it that is an error.
    absent: Option<fn() -> T>,
}

/// A [`Call`] that writes, and can be limited to what was seen.
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

/// How many members or fields a write changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Changed {
    /// Members that came.
    #[serde(default)]
    pub added: u64,
    /// Members that went.
    #[serde(default)]
    pub removed: u64,
    /// Fields of a map.
    #[serde(default)]
    pub changed: u64,
    /// There were more than were counted.
    #[serde(default)]
    pub more: bool,
}

impl<T> Call<T> {
    pub(crate) fn new(
        client: &Client,
        request: Result<Request, Error>,
        understand: fn(&Answer) -> Result<T, String>,
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
            (Ok(answer), _) => (self.understand)(&answer).map_err(|why| {
                let outcome = if request.is_read() { Outcome::NotApplied } else { Outcome::Applied };
                Error::new(request.name(), Kind::Strange(why), outcome, Vec::new())
            }),
            (Err(error), Some(absent)) if error.is_absence() => Ok(absent()),
            (Err(error), _) => Err(error),
        }
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
        let request = self.0.request.map(|request| request.header(header::CONTEXT, context.as_str()));
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

/// The answer's JSON.
pub(crate) fn json<T: DeserializeOwned>(answer: &Answer) -> Result<T, String> {
    serde_json::from_slice(&answer.body).map_err(|error| error.to_string())
}

/// Nothing but that it was done.
pub(crate) fn done(_: &Answer) -> Result<(), String> {
    Ok(())
}

/// What the answer's read saw.
pub(crate) fn context(answer: &Answer) -> Result<Context, String> {
    let token = answer.header(header::CONTEXT).ok_or("it has no Meridian-Context")?;
    Ok(Context(token.into()))
}
