//! Nodes are killed and frozen under a client's load: no call is lost that was safe to be sent again, and of the others the error says
//! what is known.

use meridian_client::{Client, Error, Outcome};
use meridian_tests::cluster::Cluster;
use meridian_tests::process::Scratch;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many tasks call at the same time.
const TASKS: u64 = 8;
/// How long a condition is waited for.
const TIME_MAX: Duration = Duration::from_secs(30);
/// How many rounds of calls all tasks together make before and after each blow.
const ROUNDS: u64 = 400;

/// What the tasks have done.
#[derive(Default)]
struct Tally {
    ends: AtomicBool,
    /// Rounds of calls, each of one call of each kind.
    rounds: AtomicU64,
    counted: AtomicU64,
    /// Increments of which it is not known whether they were applied.
    open: AtomicU64,
}

/// What one task has done, last.
struct Done {
    task: u64,
    rounds: u64,
}

/// Calls of each kind in turn, until told to end. What is safe to be sent again must succeed.
async fn work(client: Client, task: u64, tally: Arc<Tally>) -> Result<Done, Error> {
    let bucket = client.bucket("load");
    let (own, members) = (bucket.register(format!("own/{task}")), bucket.set(format!("set/{task}")));
    let (high, on) = (bucket.max("high"), bucket.flag(format!("on/{task}")));
    let fields = bucket.map(format!("map/{task}"));
    let mut rounds = 0;
    while !tally.ends.load(Ordering::Relaxed) {
        rounds += 1;
        own.put(rounds.to_string()).await?;
        members.add([rounds.to_string()]).await?;
        high.observe((rounds * TASKS + task) as i64).await?;
        on.enable().await?;
        fields.change().set("last", &rounds).add("all", [rounds.to_string()]).await?;
        own.get().await?;
        bucket.keys().prefix("own/").next_page().await?;
        match bucket.counter("count").increment(1).timeout(Duration::from_secs(2)).await {
            Ok(_) => tally.counted.fetch_add(1, Ordering::Relaxed),
            Err(error) if error.outcome() == Outcome::Unknown => tally.open.fetch_add(1, Ordering::Relaxed),
            Err(error) => return Err(error),
        };
        tally.rounds.fetch_add(1, Ordering::Relaxed);
    }
    Ok(Done { task, rounds })
}

/// The tasks, on a thread of their own, each with one of the clients.
fn start(clients: &[Client], tally: &Arc<Tally>) -> thread::JoinHandle<Vec<Done>> {
    let (clients, tally) = (clients.to_vec(), Arc::clone(tally));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let tasks = (0..TASKS).zip(clients.iter().cycle());
            let tasks =
                tasks.map(|(task, client)| tokio::spawn(work(client.clone(), task, Arc::clone(&tally))));
            let mut done = Vec::new();
            for task in tasks.collect::<Vec<_>>() {
                done.push(
                    task.await.expect("it ends").expect("no call is lost that was safe to be sent again"),
                );
            }
            done
        })
    })
}

fn wait(what: &str, worker: &thread::JoinHandle<Vec<Done>>, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(!worker.is_finished(), "{what}: a task has ended");
        assert!(began.elapsed() < TIME_MAX, "{what}: not after {TIME_MAX:?}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn killing_and_freezing_each_node_in_turn_loses_no_call_that_was_safe_to_be_sent_again() {
    let scratch = Scratch::new("sdk-killed");
    let mut cluster = Cluster::start(scratch.path(), 3).expect("three nodes");
    // Each node is talked to by a client that prefers it.
    let clients = [0, 1, 2].map(|first| client(&cluster, first));
    let tally = Arc::new(Tally::default());
    let worker = start(&clients, &tally);
    let goes_on = |what: &str| {
        let before = tally.rounds.load(Ordering::Relaxed);
        wait(what, &worker, || tally.rounds.load(Ordering::Relaxed) >= before + ROUNDS);
    };
    goes_on("at first");
    for round in 0..3 {
        let (killed, frozen) = (round, (round + 1) % 3);
        cluster.nodes[killed].kill().expect("it runs");
        goes_on("one node is killed");
        cluster.nodes[frozen].freeze().expect("it runs");
        goes_on("the next one is frozen as well");
        cluster.nodes[killed].restart().expect("it starts again");
        // Who prefers it names it first.
        wait("the killed node is asked again", &worker, || clients[killed].standings()[0].is_well);
        goes_on("the killed node is back");
        cluster.nodes[frozen].go_on().expect("it is there");
        wait("all are well", &worker, || clients.iter().flat_map(Client::standings).all(|it| it.is_well));
    }
    tally.ends.store(true, Ordering::Relaxed);
    let done = worker.join().expect("the tasks end");
    cluster.wait_converged(TIME_MAX).expect("all agree");
    check(&cluster, &done, &tally);
}

/// A client that prefers this node.
fn client(cluster: &Cluster, first: usize) -> Client {
    let nodes = cluster.nodes.iter().cycle().skip(first).take(cluster.nodes.len());
    let builder = Client::builder().attempt_timeout(Duration::from_millis(300));
    builder.connect(nodes.map(|node| format!("http://{}", node.address()))).expect("endpoints")
}

/// Every node has all that was done.
fn check(cluster: &Cluster, done: &[Done], tally: &Tally) {
    let (counted, open) = (tally.counted.load(Ordering::Relaxed), tally.open.load(Ordering::Relaxed));
    println!(
        "{} rounds of 8 calls, {counted} increments counted, {open} left open",
        tally.rounds.load(Ordering::Relaxed)
    );
    for index in 0..cluster.nodes.len() {
        let get = |key: &str| {
            cluster.request(index, "GET", &format!("/v1/kv/load/{key}"), "").expect("it is there").text()
        };
        for Done { task, rounds } in done {
            assert_eq!(get(&format!("own/{task}")), rounds.to_string(), "the last put of {task}");
            assert_eq!(get(&format!("on/{task}")), "true");
            assert_eq!(get(&format!("map/{task}?path=/last")), rounds.to_string());
            let all: BTreeSet<String> = (1..=*rounds).map(|round| round.to_string()).collect();
            let all = serde_json::to_string(&all).expect("a list");
            assert_eq!(get(&format!("set/{task}")), all);
            assert_eq!(get(&format!("map/{task}?path=/all")), all);
        }
        let high =
            done.iter().map(|Done { task, rounds }| rounds * TASKS + task).max().expect("there are tasks");
        assert_eq!(get("high"), high.to_string());
        let count: u64 = get("count").parse().expect("a number");
        assert!((counted..=counted + open).contains(&count), "{count} of {counted} and {open} left open");
    }
    // There are six blows. Twice as many as there are tasks leaves room for a node that is slow to come back.
    assert!(open <= 12 * TASKS, "no more are left open than were under way at a blow: {open}");
}
