//! How many puts a second a client does one after the other, and how many 100 at once. Against the nodes of `MERIDIAN_ENDPOINTS`,
//! by default a node of `meridian start`:
//!
//! ```text
//! cargo run --release -p meridian-client --example pace
//! ```

use meridian_client::{Client, Error};
use std::time::{Duration, Instant};

/// How long each way is measured.
const TIME: Duration = Duration::from_secs(3);
/// How many calls are made at once.
const BATCH: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let endpoints = std::env::var("MERIDIAN_ENDPOINTS").unwrap_or("http://127.0.0.1:7480".into());
    let client = Client::connect(endpoints.split(','))?;
    let one = puts_per_second(&client, 1).await?;
    let many = puts_per_second(&client, BATCH).await?;
    println!(
        "{one:.0} puts/s one after the other, {many:.0} puts/s {BATCH} at once: {:.1} times",
        many / one
    );
    Ok(())
}

async fn puts_per_second(client: &Client, at_once: usize) -> Result<f64, Error> {
    let bucket = client.bucket("pace");
    let (began, mut done) = (Instant::now(), 0);
    while began.elapsed() < TIME {
        let puts = (0..at_once).map(|n| bucket.register(format!("{n}")).put("value"));
        client.all(puts).await.into_iter().collect::<Result<Vec<()>, Error>>()?;
        done += at_once;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}
