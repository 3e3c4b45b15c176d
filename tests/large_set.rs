//! A set of a million members on a real node: adding to it costs what adding to a small one does, and deleting it does not
//! keep other clients waiting. `cargo test --release --test large_set -- --nocapture` prints the figures.

use meridian_tests::http::Client;
use meridian_tests::process::{NodeProcess, Scratch};
use std::collections::BTreeMap;
use std::net::SocketAddr;
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
/// Most that others may wait while the set is swept away, of what they do else: the median of the seconds' 99th percentiles, for a
/// disk may keep everybody waiting for a moment, whatever is asked of it.
const P99_MAX: f64 = 2.0;
/// Other clients, and how often each asks.
const OTHERS: usize = 4;
const PACE: Duration = Duration::from_millis(4);
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_million_members_are_added_to_and_deleted_in_the_middle_of_other_traffic() {
    let scratch = Scratch::new("large-set");
    let node = NodeProcess::start(scratch.path(), &[]).expect("a node");
    let address = node.address();
    let filled = Instant::now();
    fill(address);
    println!("{MEMBERS} members in {:?}", filled.elapsed());

    let [small, large] = slope(address);
    println!("an add: {small:?} with ten members, {large:?} with a million");
    assert!(large.as_secs_f64() <= small.as_secs_f64() * SLOPE_MAX, "{small:?} and {large:?}");

    let usual = usual(address);
    let (stop, mut client) = (AtomicBool::new(false), connect(address));
    let (waited, deleted, swept) = thread::scope(|scope| {
        let others = others(scope, address, &stop);
        let began = Instant::now();
        let answer = client.request("DELETE", "/v1/kv/large/million", &[], b"").expect("it answers");
        assert_eq!(answer.status, 204, "{}", answer.text());
        let deleted = began.elapsed();
        let answer = client.request("GET", "/v1/kv/large/million", &[], b"").expect("it answers");
        assert_eq!(answer.status, 404, "it is gone at once: {}", answer.text());
        assert_eq!(node.metric("meridian_masks").expect("it is counted"), 1, "its rows are not");
        let swept = wait_swept(&node, began);
        stop.store(true, Ordering::Relaxed);
        (joined(others), deleted, swept)
    });
    let during = p99_of_seconds(&waited);
    println!(
        "DELETE in {deleted:?}, swept in {swept:?}; others' p99: {usual:?} as usual, {during:?} \
         meanwhile (medians of seconds; {:?} of all)",
        p99(waited.iter().map(|(_, waited)| *waited).collect())
    );
    assert!(during.as_secs_f64() <= usual.as_secs_f64() * P99_MAX, "others wait: {during:?}");
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

fn fill(address: SocketAddr) {
    thread::scope(|scope| {
        for filler in 0..FILLERS {
            scope.spawn(move || {
                let mut client = connect(address);
                for first in (filler * AT_ONCE..MEMBERS).step_by(FILLERS * AT_ONCE) {
                    add(&mut client, "million", first..first + AT_ONCE);
                }
            });
        }
    });
    add(&mut connect(address), "ten", 0..10);
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
    took.map(|mut took| {
        took.sort_unstable();
        took[took.len() / 2]
    })
}

/// How long others wait when nothing is swept.
fn usual(address: SocketAddr) -> Duration {
    let stop = AtomicBool::new(false);
    let waited = thread::scope(|scope| {
        let others = others(scope, address, &stop);
        thread::park_timeout(Duration::from_secs(5));
        stop.store(true, Ordering::Relaxed);
        joined(others)
    });
    p99_of_seconds(&waited)
}

/// When something was asked, and how long it took.
type Waited = (Instant, Duration);
type Other<'scope> = thread::ScopedJoinHandle<'scope, Vec<Waited>>;

fn others<'scope, 'env>(
    scope: &'scope thread::Scope<'scope, 'env>,
    address: SocketAddr,
    stop: &'env AtomicBool,
) -> Vec<Other<'scope>> {
    (0..OTHERS).map(|other| scope.spawn(move || ask(address, other, stop))).collect()
}

fn joined(others: Vec<Other<'_>>) -> Vec<Waited> {
    others.into_iter().flat_map(|other| other.join().expect("it ends")).collect()
}

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

/// The median of the 99th percentiles of all whole seconds.
fn p99_of_seconds(waited: &[Waited]) -> Duration {
    let first = waited.iter().map(|(asked, _)| *asked).min().expect("something was asked");
    let mut seconds: BTreeMap<u64, Vec<Duration>> = BTreeMap::new();
    for (asked, waited) in waited {
        seconds.entry((*asked - first).as_secs()).or_default().push(*waited);
    }
    if seconds.len() > 1 {
        seconds.pop_last();
    }
    let mut each: Vec<Duration> = seconds.into_values().map(p99).collect();
    each.sort_unstable();
    each[each.len() / 2]
}

fn p99(mut waited: Vec<Duration>) -> Duration {
    waited.sort_unstable();
    waited[waited.len() * 99 / 100]
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
