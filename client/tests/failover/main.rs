//! What the client does when nodes fail, against nodes that do as they are told.

mod again;
mod answers;
mod health;
mod node;
mod time;

use meridian_client::{Builder, Client, Error, Outcome};
use node::Node;
use std::time::{Duration, Instant};

/// How long a condition is waited for.
const TIME_MAX: Duration = Duration::from_secs(30);

/// A client that soon leaves a node for another, and has all the time it needs.
fn hasty() -> Builder {
    Client::builder().timeout(TIME_MAX).attempt_timeout(Duration::from_millis(200))
}

/// The same for calls that cannot succeed, so that their end is near.
fn short() -> Builder {
    hasty().timeout(Duration::from_millis(700))
}

fn of(builder: Builder, nodes: &[&Node]) -> Client {
    builder.connect(nodes.iter().map(|node| node.endpoint())).expect("endpoints")
}

async fn increment(client: &Client) -> Result<i128, Error> {
    client.bucket("stats").counter("home").increment(5).await
}

async fn count(client: &Client) -> Result<Option<i128>, Error> {
    client.bucket("stats").counter("home").get().await
}

async fn put(client: &Client) -> Result<(), Error> {
    client.bucket("users").register("42").put("Ada").await
}

fn is_well(client: &Client, node: usize) -> bool {
    client.standings()[node].is_well
}

#[track_caller]
fn ends(error: &Error, outcome: Outcome, attempts: usize) {
    assert_eq!((error.outcome(), error.attempts().len()), (outcome, attempts), "{error}");
}

async fn wait(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < TIME_MAX, "{what}: not after {TIME_MAX:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
