//! The Rust client of Meridian, a multi-master replicated key-value store.
//!
//! ```no_run
//! # async fn example() -> Result<(), meridian_client::Error> {
//! use meridian_client::Client;
//!
//! let client = Client::connect(["http://127.0.0.1:7480", "http://127.0.0.1:7481"])?;
//! let visits = client.bucket("stats").counter("home").increment(5).await?;
//! println!("{visits} visits");
//! # Ok(())
//! # }
//! ```
//!
//! - **Handles are names.** `client.bucket("stats").counter("home")` sends nothing. A handle is cheap, owns what it needs, and
//!   may be cloned and kept. Each type has its own: [`Register`], [`Multi`], [`Counter`], [`Set`], [`Flag`], [`Max`],
//!   [`Min`], [`Map`]. It speaks of that type alone: of a key of another one it gets [`Code::WrongType`].
//! - **A call does nothing until it is awaited.** [`Call`] and [`Change`] are futures in waiting, with a time that can be set. They
//!   own what they need as well, so they can be spawned, or given to [`Client::all`].
//! - **What is not there is `None`.** Everything else that is not the answer is an [`Error`], which says what happened,
//!   [whether it was applied](Error::outcome), and what to do.
//! - **A call is sent again where that is safe**, to the next node: see [`Client`]. An increment of which nobody knows
//!   whether it was applied is not.
//! - **What was seen is carried for you.** [`Multi::update`] replaces what it has read and nothing else. Elsewhere a read
//!   that is kept ([`Seen`]) limits what a later call takes away: `tags.clear().seen(&read.context)`.
//!
//! It runs on tokio, and speaks HTTP/1.1 without TLS, as the nodes do. Its connections live in the runtime in which they were made, so use
//! a client in one runtime.

mod bucket;
mod call;
mod client;
mod endpoint;
mod error;
mod health;
mod list;
mod path;
mod request;
mod retry;
mod transport;
mod types;
mod value;

pub use bucket::{Bucket, Key, Policy};
pub use call::{Call, Change, Changed, Context, Seen};
pub use client::{Builder, Client, Standing};
pub use endpoint::Endpoint;
pub use error::{Attempt, Error, Kind};
pub use list::{Entry, Keys, Members, Page, Policies};
pub use meridian_api::cluster;
pub use meridian_api::error::{Code, Outcome};
pub use path::Path;
pub use request::{Answer, Method, Request};
pub use types::{Changes, Counter, Flag, Handle, Map, Max, Min, Multi, Register, Set, Sibling, Type};
pub use value::Value;
