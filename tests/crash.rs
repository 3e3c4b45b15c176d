//! The process is killed, told to stop, or finds its files changed: nothing that was answered is lost, and what cannot be
//! trusted is not opened.

use meridian_tests::http::Client;
use meridian_tests::process::{NodeProcess, Scratch};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const WRITERS: usize = 6;
/// Kills, each at a random moment.
const ROUNDS: u64 = 50;

/// What one writer knows of what it wrote.
#[derive(Default)]
struct Known {
    /// The last value that was answered, and the one after it that may have been written.
    register: (u64, u64),
    /// Increments that were answered, and those that may have been done.
    counter: (u64, u64),
    /// Members that were answered: all below this; the one after may be there.
    members: (u64, u64),
}

/// Writes to keys of its own until the node is gone.
fn write_until_gone(address: SocketAddr, writer: usize, mut known: Known) -> Known {
    let Ok(mut client) = Client::connect(address) else { return known };
    let mut done = |method: &str, kind: &str, body: String| {
        let answer = client.request(method, &format!("/v1/kv/load/{kind}-{writer}"), &[], body.as_bytes());
        answer.is_ok_and(|answer| {
            assert!(matches!(answer.status, 200 | 204 | 503 | 504), "{}", answer.text());
            answer.status < 300
        })
    };
    loop {
        known.register.1 += 1;
        if !done("PUT", "register", known.register.1.to_string()) {
            return known;
        }
        known.register.0 = known.register.1;
        known.counter.1 += 1;
        if !done("POST", "counter", r#"{"op":"increment"}"#.into()) {
            return known;
        }
        known.counter.0 += 1;
        known.members.1 += 1;
        if !done("POST", "set", format!(r#"{{"op":"add","members":["{}"]}}"#, known.members.1)) {
            return known;
        }
        known.members.0 = known.members.1;
    }
}

/// Reads what is there of a writer's keys, and holds it against what the writer knows; what is certain from now on.
fn check(node: &NodeProcess, writer: usize, known: &Known) -> Known {
    let read = |kind: &str| {
        let answer = node.get(&format!("/v1/kv/load/{kind}-{writer}")).expect("it answers");
        if answer.status == 404 { String::new() } else { answer.text() }
    };
    let register = read("register").parse().unwrap_or(0);
    assert!(
        [known.register.0, known.register.1].contains(&register),
        "register {register}, {:?}",
        known.register
    );
    let counter = read("counter").parse().unwrap_or(0);
    assert!((known.counter.0..=known.counter.1).contains(&counter), "counter {counter}, {:?}", known.counter);
    let set = read("set");
    let members: BTreeMap<u64, ()> = set
        .trim_matches(['[', ']'])
        .split(',')
        .filter_map(|m| Some((m.trim_matches('"').parse().ok()?, ())))
        .collect();
    for member in 1..=known.members.0 {
        assert!(members.contains_key(&member), "member {member} was answered and is gone");
    }
    let newest = members.keys().last().copied().unwrap_or(0);
    assert!(newest <= known.members.1, "nobody wrote {newest}");
    Known { register: (register, register), counter: (counter, counter), members: (newest, newest) }
}

fn load(node: &NodeProcess, known: Vec<Known>) -> Vec<JoinHandle<Known>> {
    let address = node.address();
    let writer = |(writer, known)| thread::spawn(move || write_until_gone(address, writer, known));
    known.into_iter().enumerate().map(writer).collect()
}

fn known_by(writers: Vec<JoinHandle<Known>>) -> Vec<Known> {
    writers.into_iter().map(|writer| writer.join().expect("a writer does not panic")).collect()
}

/// Lets the load run for a while.
fn let_run(duration: Duration) {
    let until = std::time::Instant::now() + duration;
    while let Some(left) = until.checked_duration_since(std::time::Instant::now()) {
        thread::park_timeout(left);
    }
}

#[test]
fn kills_under_load_lose_nothing_that_was_answered() {
    let scratch = Scratch::new("kills");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    let mut known: Vec<Known> = (0..WRITERS).map(|_| Known::default()).collect();
    for round in 0..ROUNDS {
        let writers = load(&node, known);
        let_run(Duration::from_millis(rng.random_range(20..400)));
        node.kill().expect("it runs");
        let after = known_by(writers);
        node.restart().unwrap_or_else(|error| panic!("round {round}: {error:#}"));
        known = after.iter().enumerate().map(|(writer, known)| check(&node, writer, known)).collect();
    }
    let written: u64 = known.iter().map(|known| known.counter.0).sum();
    assert!(written > ROUNDS * WRITERS as u64, "there was load: {written} increments");
}

#[test]
fn a_node_that_is_told_to_stop_ends_well_and_loses_nothing() {
    let scratch = Scratch::new("stop");
    let mut node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    let mut idle = node.client().expect("it listens");
    assert_eq!(idle.request("GET", "/healthz", &[], b"").expect("it answers").status, 200);
    let writers = load(&node, (0..WRITERS).map(|_| Known::default()).collect());
    let_run(Duration::from_millis(300));
    let began = std::time::Instant::now();
    let status = node.terminate().expect("it ends");
    assert!(status.success(), "{status}: {}", node.log());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let known = known_by(writers);
    node.restart().expect("it starts again");
    for (writer, known) in known.iter().enumerate() {
        let there = check(&node, writer, known);
        assert!(there.counter.0 > 0, "there was load");
    }
}

#[test]
fn a_context_is_good_after_a_restart() {
    let scratch = Scratch::new("again");
    let mut node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    let put = node.request("PUT", "/v1/kv/b/k", &[], b"v").expect("it answers");
    let context = put.context();
    node.kill().expect("it runs");
    node.restart().expect("it starts again");
    let deleted = node.request("DELETE", "/v1/kv/b/k", &[("meridian-context", &context)], b"");
    assert_eq!(deleted.expect("it answers").status, 204);
    assert_eq!(node.get("/v1/kv/b/k").expect("it answers").status, 404);
}

#[test]
fn one_process_has_a_directory() {
    let scratch = Scratch::new("twice");
    let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    let refused = NodeProcess::start(scratch.path(), &[]);
    let words = format!("{:#}", refused.err().expect("it is refused"));
    assert!(words.contains("held by another process"), "{words}");
    assert_eq!(node.get("/healthz").expect("it serves on").status, 200);
}

/// A node that was killed after some writes, and the files of its log.
fn killed(scratch: &Path) -> (NodeProcess, Vec<PathBuf>) {
    let mut node = NodeProcess::start(scratch, &[]).expect("it starts");
    let mut client = node.client().expect("it listens");
    for n in 0..200 {
        let put = client.request("PUT", &format!("/v1/kv/b/{n}"), &[], &[b'v'; 200]).expect("it answers");
        assert_eq!(put.status, 204);
    }
    node.kill().expect("it runs");
    let files = fs::read_dir(node.data().join("db")).expect("the database is there");
    let paths = files.map(|file| file.expect("the database is there").path());
    let logs = paths.filter(|path| path.extension().is_some_and(|is| is == "log")).collect();
    (node, logs)
}

/// The bytes of all files in a directory and below, by name.
fn everything(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        match path.is_dir() {
            true => found.extend(everything(&path)),
            // RocksDB's own chronicle.
            false if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("LOG")) => {}
            false => drop(found.insert(path.clone(), fs::read(&path).expect("it can be read"))),
        }
    }
    found
}

type Harm<'a> = &'a dyn Fn(&Path);

#[test]
fn a_log_that_is_damaged_or_gone_is_not_opened() {
    let flip = |log: &Path| {
        let mut bytes = fs::read(log).expect("it can be read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(log, bytes).expect("it can be written");
    };
    let cut = |log: &Path| {
        let bytes = fs::read(log).expect("it can be read");
        fs::write(log, &bytes[..bytes.len() / 2]).expect("it can be written");
    };
    let remove = |log: &Path| fs::remove_file(log).expect("it can be removed");
    let harms: [(&str, Harm<'_>); 3] = [("flip", &flip), ("cut", &cut), ("remove", &remove)];
    for (name, harm) in harms {
        let scratch = Scratch::new(name);
        let (mut node, logs) = killed(scratch.path());
        let newest = logs.iter().max_by_key(|log| fs::metadata(log).map_or(0, |log| log.len()));
        harm(newest.expect("there is a log"));
        let before = everything(&node.data());
        let (status, words) = node.refuses_to_start().expect("it does not start");
        assert_eq!(status.code(), Some(1), "{name}: {words}");
        assert!(words.contains("was changed") && words.contains("backup"), "{name}: {words}");
        assert_eq!(everything(&node.data()), before, "{name}: nothing was changed");
    }
}
