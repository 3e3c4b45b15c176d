//! Large sets on a real node: adding to one of a million members costs what adding to a small one does, and deleting one does not keep other
//! clients waiting. `cargo test --release --test large_set -- --nocapture` prints the figures.

use meridian_tests::http::Client;
use meridian_tests::process::{NodeProcess, Scratch};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MEMBERS: usize = 1_000_000;
/// Members of one request.
const AT_ONCE: usize = 1_000;
/// Connections that fill the set.
const FILLERS: usize = 4;
/// Adds that are timed.
const TIMED: usize = 2_000;
/// Most that an add to the large set may cost, of what one to a small set does.
const SLOPE_MAX: f64 = 2.5;
/// Sets that are deleted beside other clients, and the members of each: each is swept in a few seconds.
const ROUNDS: usize = 10;
const MEMBERS_OF_ROUND: usize = 100_000;
/// How long the node rests when it is filled: what it has put off must not be counted as usual.
const SETTLES: Duration = Duration::from_secs(1);
/// How long others ask before each of them is deleted.
const QUIET: Duration = Duration::from_secs(2);
/// A 99th percentile is of so long a time: one moment in which the disk keeps everybody waiting, whatever is asked of it, spoils one of them.
const SLICE: Duration = Duration::from_millis(500);
/// Most that others may wait while a set is swept away, of what they do just before: the medians of all rounds' slices.
const P99_MAX: f64 = 2.0;
/// Most that the DELETE of a large set may take, of what that of a small one does, beside the same clients: medians. Others wait as long.
const DELETE_SLOPE_MAX: f64 = 5.0;
/// Other clients, and how often each asks.
const OTHERS: usize = 4;
const PACE: Duration = Duration::from_millis(4);
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn large_sets_are_added_to_and_deleted_in_the_middle_of_other_traffic() {
    let scratch = Scratch::new("large-set");
    let node = NodeProcess::start(scratch.path(), &[]).expect("a node");
    let address = node.address();
    let filled = Instant::now();
    fill(address, "million", MEMBERS);
    println!("{MEMBERS} members in {:?}", filled.elapsed());

    add(&mut connect(address), "ten", 0..10);
    let [small, large] = slope(address);
    println!("an add: {small:?} with ten members, {large:?} with a million");
    assert!(large.as_secs_f64() <= small.as_secs_f64() * SLOPE_MAX, "{small:?} and {large:?}");

    let mut client = connect(address);
    let (mut before, mut during, mut deletes) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        let ([quiet, swept], deleted) = others_wait(&node, &mut client, round);
        before.extend(quiet);
        during.extend(swept);
        deletes.iter_mut().zip(deleted).for_each(|(all, one)| all.push(one));
    }
    let [small, large] = deletes.map(middle);
    println!("a DELETE beside others: {small:?} with ten members, {large:?} with {MEMBERS_OF_ROUND}");
    assert!(large.as_secs_f64() <= small.as_secs_f64() * DELETE_SLOPE_MAX, "{small:?} and {large:?}");
    let (before, during) = (middle(before), middle(during));
    println!("others' p99: {before:?} before, {during:?} while a set is swept (medians of {SLICE:?} each)");
    assert!(during.as_secs_f64() <= before.as_secs_f64() * P99_MAX, "others wait: {before:?} and {during:?}");

    let began = Instant::now();
    let deleted = delete(&mut client, "million");
    println!("DELETE of the million in {deleted:?}, swept in {:?}", wait_swept(&node, began));
}

/// Fills a set and deletes it beside other clients. The 99th percentiles of how long they wait just before, and until it is swept; and how long
/// the DELETEs of a small set and of this one take.
fn others_wait(node: &NodeProcess, client: &mut Client, round: usize) -> ([Vec<Duration>; 2], [Duration; 2]) {
    let (address, key) = (node.address(), format!("round-{round}"));
    add(client, "small", 0..10);
    fill(address, &key, MEMBERS_OF_ROUND);
    thread::park_timeout(SETTLES);
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        let others: Vec<_> =
            (0..OTHERS).map(|other| scope.spawn(move || ask(address, other, stop))).collect();
        thread::park_timeout(QUIET);
        let small = delete(client, "small");
        let began = Instant::now();
        let deleted = delete(client, &key);
        assert_eq!(node.metric("meridian_masks").expect("it is counted"), 1, "its rows are not gone");
        let swept = wait_swept(node, began);
        stop.store(true, Ordering::Relaxed);
        println!("round {round}: DELETE in {deleted:?}, swept in {swept:?}");
        let waited: Vec<Waited> =
            others.into_iter().flat_map(|other| other.join().expect("it ends")).collect();
        let times = [began - QUIET..began, began..began + swept];
        (times.map(|time| p99_of_slices(&waited, time)), [small, deleted])
    })
}

/// The 99th percentile of each whole slice of a time, or of the time if it is shorter.
fn p99_of_slices(waited: &[Waited], time: Range<Instant>) -> Vec<Duration> {
    let slices = ((time.end - time.start).as_millis() / SLICE.as_millis()).max(1);
    (0..slices as u32)
        .filter_map(|slice| {
            let from = time.start + SLICE * slice;
            let asked = waited.iter().filter(|(asked, _)| (from..from + SLICE).contains(asked));
            let mut waited: Vec<Duration> = asked.map(|(_, waited)| *waited).collect();
            waited.sort_unstable();
            waited.get(waited.len() * 99 / 100).copied()
        })
        .collect()
}

fn middle(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

/// Deletes a set, which is gone at once; how long that takes.
fn delete(client: &mut Client, key: &str) -> Duration {
    let path = format!("/v1/kv/large/{key}");
    let began = Instant::now();
    let answer = client.request("DELETE", &path, &[], b"").expect("it answers");
    let deleted = began.elapsed();
    assert_eq!(answer.status, 204, "{}", answer.text());
    let answer = client.request("GET", &path, &[], b"").expect("it answers");
    assert_eq!(answer.status, 404, "it is gone at once: {}", answer.text());
    deleted
}

fn connect(address: SocketAddr) -> Client {
    Client::connect(address).expect("it listens")
}

fn add(client: &mut Client, key: &str, members: impl Iterator<Item = usize>) {
    let members: Vec<String> = members.map(|member| format!("\"member {member:09}\"")).collect();
    let body = format!("{{\"op\":\"add\",\"members\":[{}]}}", members.join(","));
    let answer = client.request("POST", &format!("/v1/kv/large/{key}"), &[], body.as_bytes());
    let answer = answer.expect("it answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn fill(address: SocketAddr, key: &str, members: usize) {
    thread::scope(|scope| {
        for filler in 0..FILLERS {
            scope.spawn(move || {
                let mut client = connect(address);
                for first in (filler * AT_ONCE..members).step_by(FILLERS * AT_ONCE) {
                    add(&mut client, key, first..first + AT_ONCE);
                }
            });
        }
    });
}

/// What an add takes, with ten members and with a million: medians, in turns.
fn slope(address: SocketAddr) -> [Duration; 2] {
    let mut client = connect(address);
    let mut took = [Vec::new(), Vec::new()];
    for turn in 0..TIMED {
        for (key, took) in ["ten", "million"].iter().zip(&mut took) {
            let began = Instant::now();
            // The same few members again and again: the small set stays small.
            add(&mut client, key, turn % 10..turn % 10 + 1);
            took.push(began.elapsed());
        }
    }
    took.map(middle)
}

/// When something was asked, and how long it took.
type Waited = (Instant, Duration);

/// Another client: writes and reads at a pace, and tells how long each took.
fn ask(address: SocketAddr, other: usize, stop: &AtomicBool) -> Vec<Waited> {
    let (mut client, mut waited, mut next) = (connect(address), Vec::new(), Instant::now());
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        next += PACE;
        thread::park_timeout(next.saturating_duration_since(Instant::now()));
        let (method, body) = if turn % 2 == 0 { ("PUT", &b"value"[..]) } else { ("GET", &b""[..]) };
        let answer = client.request(method, &format!("/v1/kv/other/{other}-{}", turn / 2 % 100), &[], body);
        let answer = answer.expect("it answers");
        assert!(matches!(answer.status, 200 | 204), "{}", answer.text());
        // From when it was meant to be asked: what waits behind a slow answer waits as well.
        waited.push((next, next.elapsed()));
    }
    waited
}

/// Waits until no removed row is left: then every shard tells its root again.
fn wait_swept(node: &NodeProcess, began: Instant) -> Duration {
    loop {
        let said = node.metric("meridian_masks").expect("it is counted");
        if said == 0 {
            return began.elapsed();
        }
        assert!(began.elapsed() < PATIENCE, "{said} large removals are still to be swept");
        thread::park_timeout(Duration::from_millis(20));
    }
}
