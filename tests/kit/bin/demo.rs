//! `make demo`: three nodes, and what they are for, told on the terminal with the numbers.

use anyhow::{Result, ensure};
use meridian_tests::cluster::Cluster;
use meridian_tests::process::Scratch;
use std::time::{Duration, Instant};

/// How many writes each side takes while the link is cut.
const WRITES: usize = 200;

fn main() -> Result<()> {
    let scratch = Scratch::new("demo");
    let began = Instant::now();
    let cluster = Cluster::start(scratch.path(), 3)?;
    println!(
        "\n1. Three nodes, ready and connected in {:.1} s. Each takes reads and writes.",
        seconds(began)
    );
    for node in &cluster.nodes {
        println!("   {}  http://{}  peers at {}/udp", node.name(), node.address(), node.peer());
    }

    println!("\n2. Write anywhere: a register at n1, members of a set at n2, a counter at n3.");
    cluster.request(0, "PUT", "/v1/kv/users/42", r#"{"name":"Ada"}"#)?;
    cluster.request(1, "POST", "/v1/kv/users/42/tags", r#"{"op":"add","members":["opera"]}"#)?;
    cluster.request(2, "POST", "/v1/kv/stats/home", r#"{"op":"increment","by":100}"#)?;
    let took = cluster.wait_converged(Duration::from_secs(2))?;
    println!("   All three have all of it ({} ms until each node found that all agree).", took.as_millis());
    show(&cluster, &["users/42", "users/42/tags", "stats/home"])?;

    println!("\n3. n1 is cut off: every packet to and from it is dropped.");
    cluster.cut_off(0)?;
    let took = cluster.wait_alone(0, Duration::from_secs(10))?;
    println!(
        "   Noticed after {:.1} s. Both sides go on: {WRITES} writes of each kind at n1 and at n2.",
        took.as_secs_f64()
    );
    let began = Instant::now();
    for number in 0..WRITES {
        for index in [0, 1] {
            let name = cluster.nodes[index].name().to_owned();
            // By one at n1, by two at n2.
            let increment = format!(r#"{{"op":"increment","by":{}}}"#, index + 1);
            cluster.request(index, "POST", "/v1/kv/stats/home", &increment)?;
            let body = format!(r#"{{"op":"add","members":["{name}-{}"]}}"#, number % 3);
            cluster.request(index, "POST", "/v1/kv/users/42/tags", &body)?;
            cluster.request(
                index,
                "PUT",
                "/v1/kv/users/42",
                &format!("{{\"name\":\"Ada\",\"at\":\"{name}\"}}"),
            )?;
        }
    }
    println!("   {} writes answered in {:.2} s, 0 refused. Now they differ:", 6 * WRITES, seconds(began));
    show(&cluster, &["users/42", "users/42/tags", "stats/home"])?;

    println!("\n4. The link is healed.");
    cluster.heal(0)?;
    let took = cluster.wait_converged(Duration::from_secs(5))?;
    println!("   All agree after {} ms. Nothing is lost, no increment counted twice:", took.as_millis());
    show(&cluster, &["users/42", "users/42/tags", "stats/home"])?;
    let counted = cluster.nodes[2].get("/v1/kv/stats/home")?.text();
    let expected = (100 + 3 * WRITES).to_string();
    ensure!(counted == expected, "the counter is {counted}, and {expected} was counted");
    println!(
        "\n   The counter is 100 + {WRITES} × 1 + {WRITES} × 2 = {counted}. `make dev` starts three nodes for you to play with."
    );
    Ok(())
}

/// The keys as each node reads them.
fn show(cluster: &Cluster, keys: &[&str]) -> Result<()> {
    for key in keys {
        let mut read = Vec::new();
        for node in &cluster.nodes {
            read.push((node.name(), node.get(&format!("/v1/kv/{key}"))?.text()));
        }
        match read.iter().all(|(_, text)| *text == read[0].1) {
            true => println!("   {key:14} everywhere  {}", read[0].1),
            false => read.iter().for_each(|(name, text)| println!("   {key:14} at {name}       {text}")),
        }
    }
    Ok(())
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
