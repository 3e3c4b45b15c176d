//! A walk through the client. Start three nodes with `make dev`, and in a second terminal:
//!
//! ```text
//! cargo run --release -p meridian-client --example quickstart
//! ```
//!
//! Other nodes are named by `MERIDIAN_ENDPOINTS=http://host:port,http://host:port`.

use meridian_client::{Client, Code, Error};

/// What `make dev` starts.
const DEVELOPMENT: &str = "http://127.0.0.1:7480,http://127.0.0.1:7481,http://127.0.0.1:7482";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let endpoints = std::env::var("MERIDIAN_ENDPOINTS").unwrap_or(DEVELOPMENT.into());
    // The first one is asked as long as it is well; the others take over when it is not.
    let client = Client::connect(endpoints.split(','))?;
    let shop = client.bucket("quickstart");
    sweep(&client).await?;

    // A register holds a value; the last write wins.
    let name = shop.register("users/42/name");
    name.put("Ada").await?;
    println!("register: {:?}", name.get().await?.as_ref().and_then(|value| value.text()));

    // A counter is exact, however many nodes count at once.
    let visits = shop.counter("stats/home");
    visits.increment(5).await?;
    println!("counter:  {}", visits.increment(2).await?);

    // A set: an add wins over a concurrent remove.
    let tags = shop.set("users/42/tags");
    tags.add(["opera", "robots", "jazz"]).await?;
    tags.remove(["jazz"]).await?;
    println!("set:      {:?}", tags.get().await?.unwrap_or_default());

    // A map: fields of any type, changed together.
    let ada = shop.map("users/42");
    ada.change().set(["address", "city"], &"London").increment("visits", 1).add("tags", ["opera"]).await?;
    println!("map:      {}", ada.get().await?.unwrap_or_default());

    // Two people change a document without having seen each other's: both are kept, until somebody merges them.
    let draft = shop.multi("docs/1");
    draft.put("draft").await?;
    let seen = draft.read().await?.expect("it was put");
    draft.put("Ada's").seen(&seen.context).await?;
    draft.put("Bob's").seen(&seen.context).await?;
    draft
        .update(|texts| texts.iter().filter_map(|text| text.text()).collect::<Vec<_>>().join(" and "))
        .await?;
    println!("multi:    {:?}", draft.get().await?.unwrap_or_default());

    // Many calls at once.
    let puts = (1..=100).map(|n| shop.register(format!("orders/{n:03}")).put("new"));
    let done = client.all(puts).await.into_iter().filter(Result::is_ok).count();
    println!("orders:   {done}");

    // The keys, in byte order, page by page.
    let mut keys = shop.keys().prefix("users/");
    while let Some(key) = keys.next().await? {
        println!("key:      {} is a {}", key.name(), key.kind);
    }

    // An error says what happened, whether it was applied, and what to do.
    match shop.counter("users/42/tags").increment(1).await {
        Err(error) if error.code() == Some(Code::WrongType) => println!("error:    {error}"),
        other => println!("a set is no counter, and yet: {other:?}"),
    }

    sweep(&client).await
}

/// Deletes what a run makes.
async fn sweep(client: &Client) -> Result<(), Error> {
    let shop = client.bucket("quickstart");
    let mut keys = shop.keys().page_size(1000);
    while let Some(page) = keys.next_page().await? {
        let deletes = page.keys.into_iter().map(|entry| shop.key(entry.key).delete());
        client.all(deletes).await.into_iter().collect::<Result<Vec<()>, Error>>()?;
    }
    Ok(())
}
