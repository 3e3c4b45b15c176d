//! `meridian dev`: what it starts, what it writes down, and what it ends.

use meridian_tests::http::Client;
use meridian_tests::process::{Scratch, binary, wait_until};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const TIME_MAX: Duration = Duration::from_secs(30);

/// A base, from `first` on, from which all ports that three nodes need are free. Tests that run side by side begin at
/// different places.
fn free_base(first: u16) -> u16 {
    let is_free = |base: u16| {
        let tcp = (base..base + 3).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        tcp && (base + 100..base + 103).all(|port| UdpSocket::bind(("127.0.0.1", port)).is_ok())
    };
    let first = first + (std::process::id() % 2_000) as u16;
    (first..first + 2_000).step_by(7).find(|base| is_free(*base)).expect("some ports are free")
}

fn signal(name: &str, pid: u64) {
    let told = Command::new("kill").args([name, &pid.to_string()]).status().expect("kill runs");
    assert!(told.success(), "{told}");
}

fn is_ready(http: &str) -> bool {
    let address: SocketAddr = http.strip_prefix("http://").expect("a URL").parse().expect("an address");
    let answer = Client::connect(address).and_then(|mut client| client.request("GET", "/readyz", &[], b""));
    answer.is_ok_and(|answer| answer.status == 200)
}

fn start(scratch: &Path, base: u16) -> Child {
    start_in(scratch, "dev", base)
}

fn start_in(scratch: &Path, directory: &str, base: u16) -> Child {
    Command::new(binary())
        .env("XDG_DATA_HOME", scratch.join("home"))
        .env("MERIDIAN_VALUE_BYTES_MAX", "4000")
        .args(["dev", "--http-base", &base.to_string(), "--faults", "--data-dir"])
        .arg(scratch.join(directory))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// What README prints of the quickstart.
fn printed() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).expect("README is there");
    let command = "$ cargo run --release -p meridian-client --example quickstart\n";
    let (_, printed) = readme.split_once(command).expect("README shows the quickstart");
    printed.split("```").next().expect("it ends").to_owned()
}

#[test]
fn the_quickstart_prints_what_the_readme_says() {
    let (scratch, base) = (Scratch::new("quickstart"), free_base(24_000));
    let mut dev = start(scratch.path(), base);
    let mut lines = BufReader::new(dev.stdout.take().expect("it is piped")).lines();
    let mut said = || lines.next().expect("it goes on").expect("it is text");
    wait_until(TIME_MAX, || said() == "ready", || "it is not ready".into());
    let endpoints: Vec<String> = (base..base + 3).map(|port| format!("http://127.0.0.1:{port}")).collect();
    // A second run finds nothing of the first one.
    for _ in 0..2 {
        let run = Command::new(std::env::var_os("CARGO").expect("cargo runs the tests"))
            .args(["run", "--release", "--quiet", "-p", "meridian-client", "--example", "quickstart"])
            .env("MERIDIAN_ENDPOINTS", endpoints.join(","))
            .output()
            .expect("it runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(String::from_utf8_lossy(&run.stdout), printed());
    }
    signal("-TERM", dev.id().into());
    assert!(dev.wait().expect("it ends").success());
}

#[test]
fn a_cluster_for_development_says_what_runs_and_ends_all_of_it() {
    let (scratch, base) = (Scratch::new("dev"), free_base(20_000));
    let mut dev = start(scratch.path(), base);
    let mut lines = BufReader::new(dev.stdout.take().expect("it is piped")).lines();
    let mut said = || lines.next().expect("it goes on").expect("it is text");
    wait_until(TIME_MAX, || said() == "ready", || "it is not ready".into());
    let endpoints = scratch.path().join("dev/endpoints.json");
    let read = std::fs::read(&endpoints).expect("it is in place before `ready` is said");
    let read: serde_json::Value = serde_json::from_slice(&read).expect("it is JSON");
    let nodes = read["nodes"].as_array().expect("a list");
    let field = |index: usize, name: &str| nodes[index][name].as_str().expect("a string").to_owned();
    for (index, node) in nodes.iter().enumerate() {
        assert_eq!(field(index, "id"), format!("n{}", index + 1));
        assert_eq!(field(index, "http"), format!("http://127.0.0.1:{}", base + index as u16));
        assert_eq!(field(index, "peer"), format!("127.0.0.1:{}", base + 100 + index as u16));
        assert!(is_ready(&field(index, "http")));
        let command = node["command"].as_array().expect("a list");
        assert!(command.contains(&"--value-bytes-max=4000".into()), "what variables gave stands in it");
    }
    // A second one, on the same directory or on the same ports, is refused and leaves the first alone.
    for (directory, its_base) in [("dev", base + 10), ("other", base)] {
        let second = start_in(scratch.path(), directory, its_base).wait_with_output().expect("it ends");
        assert_eq!(second.status.code(), Some(1), "{directory}");
        assert!(!String::from_utf8_lossy(&second.stdout).contains("ready"), "{directory}");
    }
    assert!(endpoints.exists() && (0..3).all(|index| is_ready(&field(index, "http"))));
    assert_ne!(field(0, "region"), field(1, "region"));
    // A killed node stays dead until somebody starts it by its command.
    let http = field(1, "http");
    signal("-KILL", nodes[1]["pid"].as_u64().expect("a number"));
    wait_until(TIME_MAX, || !is_ready(&http), || "it is still there".into());
    let command: Vec<&str> =
        nodes[1]["command"].as_array().expect("a list").iter().filter_map(|word| word.as_str()).collect();
    let mut again = Command::new(command[0])
        .args(&command[1..])
        .env("XDG_DATA_HOME", scratch.path().join("home"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts it");
    wait_until(TIME_MAX, || is_ready(&http), || "it is not back".into());
    signal("-TERM", u64::from(dev.id()));
    assert!(dev.wait().expect("it ends").success());
    assert!(again.wait().expect("it was ended too").success());
    assert!(!endpoints.exists(), "a list of what no longer runs misleads");
    assert!((0..3).all(|index| !is_ready(&field(index, "http"))));
}

#[test]
fn a_cluster_whose_node_cannot_start_says_why_and_leaves_nothing_running() {
    let (scratch, base) = (Scratch::new("dev-port"), free_base(25_000));
    let taken = TcpListener::bind(("127.0.0.1", base + 1)).expect("it is free");
    let dev = start(scratch.path(), base).wait_with_output().expect("it ends");
    assert_eq!(dev.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&dev.stdout).contains("ready"));
    drop(taken);
    assert!(TcpListener::bind(("127.0.0.1", base)).is_ok(), "n1 has ended with it");
}
