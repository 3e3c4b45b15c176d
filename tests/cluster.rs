//! Three nodes as processes: links are cut and healed, nodes are killed and wiped, strangers come to the door.

use meridian_tests::cluster::Cluster;
use meridian_tests::http::Client;
use meridian_tests::process::{NodeProcess, Scratch, binary, wait_until};
use rustix::fs::FallocateFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long after a heal all nodes may take to agree.
const CONVERGENCE_TIME_MAX: Duration = Duration::from_secs(2);
/// How long anything else may take of which nothing is claimed.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is claimed is claimed of a cluster that has the machine to itself.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    // A test that has failed does not fail the others.
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reads(cluster: &Cluster, path: &str) -> Vec<String> {
    cluster.nodes.iter().map(|node| node.get(path).expect("it answers").text()).collect()
}

#[test]
fn cut_off_nodes_take_writes_of_every_type_and_agree_after_the_heal() {
    let _alone = alone();
    let scratch = Scratch::new("cluster-cut");
    let cluster = Cluster::start(scratch.path(), 3).unwrap();
    let increment = |index: usize, by: i64| {
        cluster
            .request(index, "POST", "/v1/kv/t/counter", &format!("{{\"op\":\"increment\",\"by\":{by}}}"))
            .unwrap()
    };
    let members = |index, op: &str, of: &str| {
        let body = format!("{{\"op\":{op:?},\"members\":[{of:?}]}}");
        cluster.request(index, "POST", "/v1/kv/t/set", &body).unwrap()
    };
    increment(0, 1);
    members(0, "add", "before");
    cluster.request(1, "PUT", "/v1/kv/t/register", "before").unwrap();
    cluster.wait_converged(PATIENCE).unwrap();
    cluster.cut_off(0).unwrap();
    cluster.wait_alone(0, PATIENCE).unwrap();
    // Both sides go on.
    for index in 0..3 {
        increment(index, 10_i64.pow(index as u32 + 1));
        members(index, "add", &format!("at n{}", index + 1));
    }
    members(1, "remove", "before");
    members(0, "add", "before");
    cluster.request(0, "PUT", "/v1/kv/t/register", "alone").unwrap();
    // Stamps have milliseconds: of two nodes' writes in the same one, neither is the last.
    thread::park_timeout(Duration::from_millis(3));
    cluster.request(2, "PUT", "/v1/kv/t/register", "last").unwrap();
    cluster.request(0, "DELETE", "/v1/kv/t/never", "").unwrap();
    assert_eq!(
        cluster.nodes[0].get("/v1/kv/t/counter").unwrap().text(),
        "11",
        "what the other side did is unknown"
    );
    let seen = cluster.nodes[1].get("/v1/cluster/convergence").unwrap();
    assert_eq!(
        seen.field("converged"),
        "false",
        "a member that cannot be reached makes it false: {}",
        seen.text()
    );
    assert!(seen.text().contains("\"unreachable\":[\"n1\"]"), "{}", seen.text());
    cluster.heal(0).unwrap();
    let took = cluster.wait_converged(CONVERGENCE_TIME_MAX).unwrap();
    println!("converged {took:?} after the heal");
    assert_eq!(reads(&cluster, "/v1/kv/t/counter"), ["1111"; 3]);
    assert_eq!(reads(&cluster, "/v1/kv/t/set"), [r#"["at n1","at n2","at n3","before"]"#; 3], "an add wins");
    assert_eq!(reads(&cluster, "/v1/kv/t/register"), ["last"; 3], "the last write wins");
    for node in &cluster.nodes {
        let metrics = node.get("/metrics").unwrap().text();
        assert!(metrics.contains("meridian_divergence_total 0"), "{metrics}");
    }
}

/// What one writer knows: of its counter what was answered and what may have happened; of its registers the last answer.
#[derive(Default)]
struct Known {
    counted: u64,
    unknown: u64,
    put: BTreeMap<String, Vec<u64>>,
}

/// Writes to one node until it is told to stop, through kills and restarts.
fn write(address: SocketAddr, writer: usize, stop: Arc<AtomicBool>) -> JoinHandle<Known> {
    thread::spawn(move || {
        let mut known = Known::default();
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let Ok(mut client) = Client::connect(address) else {
                thread::park_timeout(Duration::from_millis(5));
                continue;
            };
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let path = format!("/v1/kv/kill/w{writer}-{}", number % 50);
                let may_be = known.put.entry(path.clone()).or_default();
                may_be.push(number);
                match client.request("PUT", &path, &[], number.to_string().as_bytes()) {
                    Ok(answer) if answer.status == 204 => *may_be = vec![number],
                    _ => break,
                }
                match client.request("POST", "/v1/kv/kill/counter", &[], b"{\"op\":\"increment\"}") {
                    Ok(answer) if answer.status == 200 => known.counted += 1,
                    Ok(_) => {}
                    Err(_) => {
                        known.unknown += 1;
                        break;
                    }
                }
            }
        }
        known
    })
}

#[test]
fn each_node_killed_in_turn_under_writes_on_all_loses_nothing_that_was_answered() {
    let _alone = alone();
    let scratch = Scratch::new("cluster-kill");
    let mut cluster = Cluster::start(scratch.path(), 3).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let addresses: Vec<SocketAddr> = cluster.nodes.iter().map(NodeProcess::address).collect();
    let writers: Vec<_> = (0..6).map(|writer| write(addresses[writer % 3], writer, stop.clone())).collect();
    for round in 0..6 {
        thread::park_timeout(Duration::from_millis(400));
        let node = &mut cluster.nodes[round % 3];
        node.kill().unwrap();
        thread::park_timeout(Duration::from_millis(100));
        node.restart().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let known: Vec<Known> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    // A node that was killed last has to be found again first.
    cluster.wait_converged(PATIENCE).unwrap();
    let (counted, unknown) =
        known.iter().fold((0, 0), |sum, known| (sum.0 + known.counted, sum.1 + known.unknown));
    assert!(counted > 500, "too little was written to say anything: {counted}");
    let counters = reads(&cluster, "/v1/kv/kill/counter");
    assert!(counters.windows(2).all(|two| two[0] == two[1]), "{counters:?}");
    let counter: u64 = counters[0].parse().unwrap();
    assert!(
        (counted..=counted + unknown).contains(&counter),
        "{counted} answered, {unknown} unknown, {counter} read"
    );
    for (path, may_be) in known.iter().flat_map(|known| &known.put) {
        let found = reads(&cluster, path);
        let may_be: Vec<String> = may_be.iter().map(ToString::to_string).collect();
        let is_there = may_be.contains(&found[0]) && found.windows(2).all(|two| two[0] == two[1]);
        assert!(
            is_there || (may_be.len() > 1 && found[0].contains("key_not_found")),
            "{path}: {found:?}, not {may_be:?}"
        );
    }
    println!("{counted} increments answered, {unknown} unknown, {counter} read");
}

#[test]
fn a_wiped_node_comes_back_whole_and_serves_only_then() {
    let _alone = alone();
    let scratch = Scratch::new("cluster-wipe");
    let mut cluster = Cluster::start(scratch.path(), 3).unwrap();
    for key in 0..300 {
        cluster.request(key % 3, "PUT", &format!("/v1/kv/wipe/{key}"), &format!("value {key}")).unwrap();
    }
    cluster.wait_converged(PATIENCE).unwrap();
    cluster.nodes[2].kill().unwrap();
    std::fs::remove_dir_all(cluster.nodes[2].data()).unwrap();
    cluster.request(0, "PUT", "/v1/kv/wipe/while", "away").unwrap();
    cluster.nodes[2].spawn().unwrap();
    cluster.nodes[2].wait_ready().unwrap();
    // It is ready: it has everything.
    for key in 0..300 {
        assert_eq!(
            cluster.nodes[2].get(&format!("/v1/kv/wipe/{key}")).unwrap().text(),
            format!("value {key}")
        );
    }
    cluster.wait_converged(PATIENCE).unwrap();
    assert_eq!(reads(&cluster, "/v1/kv/wipe/while"), ["away"; 3]);
}

#[test]
fn a_node_whose_disk_is_nearly_full_takes_in_nothing_of_its_peers_until_there_is_room() {
    /// So much is free beyond the reserve, and twice as much is taken by something else. Nobody else writes so much meanwhile.
    const MARGIN: u64 = 256 << 20;
    let _alone = alone();
    let scratch = Scratch::new("cluster-full");
    let mut cluster = Cluster::start(scratch.path(), 3).unwrap();
    cluster.request(0, "PUT", "/v1/kv/full/before", "written").unwrap();
    cluster.wait_converged(PATIENCE).unwrap();
    let free = cluster.nodes[2].metric("meridian_disk_free_bytes").unwrap();
    cluster.nodes[2].terminate().unwrap();
    cluster.nodes[2].add_option("--disk-reserve-bytes", &free.saturating_sub(MARGIN).to_string());
    cluster.nodes[2].restart().unwrap();
    cluster.wait_converged(PATIENCE).unwrap();
    let full = &cluster.nodes[2];
    let is_full = || full.metric("meridian_disk_full").unwrap() == 1;
    assert!(!is_full(), "there is room: {}", full.log());

    let filler = File::create(scratch.path().join("filler")).unwrap();
    rustix::fs::fallocate(&filler, FallocateFlags::empty(), 0, 2 * MARGIN).unwrap();
    wait_until(PATIENCE, is_full, || full.log());
    for key in 0..300 {
        cluster.request(key % 2, "PUT", &format!("/v1/kv/full/{key}"), &format!("value {key}")).unwrap();
    }
    cluster.request(0, "DELETE", "/v1/kv/full/before", "").unwrap();
    // Longer than anything takes to arrive, to be announced, or to be pulled.
    thread::park_timeout(Duration::from_secs(2));
    let members = full.get("/v1/cluster").unwrap().text();
    assert_eq!(members.matches("\"connected\"").count(), 2, "it has its peers: {members}");
    assert_eq!(full.request("PUT", "/v1/kv/full/own", &[], b"v").unwrap().status, 507);
    let listed = full.get("/v1/kv/full").unwrap().text();
    assert!(listed.contains("before") && !listed.contains("299"), "{listed}");
    assert_eq!(reads(&cluster, "/v1/kv/full/299")[..2], ["value 299"; 2], "the others go on");
    let seen = cluster.nodes[0].get("/v1/cluster/convergence").unwrap();
    assert_eq!(seen.field("converged"), "false", "it is said: {}", seen.text());

    drop(filler);
    std::fs::remove_file(scratch.path().join("filler")).unwrap();
    wait_until(PATIENCE, || !is_full(), || full.log());
    cluster.wait_converged(PATIENCE).unwrap();
    for key in 0..300 {
        assert_eq!(full.get(&format!("/v1/kv/full/{key}")).unwrap().text(), format!("value {key}"));
    }
    assert_eq!(full.get("/v1/kv/full/before").unwrap().status, 404);
    assert_eq!(full.request("PUT", "/v1/kv/full/own", &[], b"v").unwrap().status, 204);
}

#[test]
fn an_empty_node_waits_for_those_that_it_joins() {
    let _alone = alone();
    let scratch = Scratch::new("cluster-wait");
    let home = scratch.path().join("home");
    let mut first = NodeProcess::prepare("n1", &scratch.path().join("n1"), &home, &[]).unwrap();
    let mut second = NodeProcess::prepare("n2", &scratch.path().join("n2"), &home, &[]).unwrap();
    second.add_option("--join", &first.peer().to_string());
    second.spawn().unwrap();
    wait_until(PATIENCE, || second.get("/readyz").is_ok(), || second.log());
    let answer = second.get("/readyz").unwrap();
    assert_eq!((answer.status, answer.field("code")), (503, "not_ready".to_string()), "{}", answer.text());
    let refused = second.request("PUT", "/v1/kv/b/k", &[], b"v").unwrap();
    assert_eq!((refused.status, refused.field("outcome")), (503, "not_applied".to_string()));
    assert_eq!(
        refused.header("x-content-type-options"),
        Some("nosniff"),
        "refusals of keys are harmless too"
    );
    let seen = second.get("/v1/cluster/convergence").unwrap();
    assert_eq!(seen.field("converged"), "false", "it has met nobody: {}", seen.text());
    assert_eq!(second.get("/healthz").unwrap().status, 200);
    first.restart().unwrap();
    second.wait_ready().unwrap();
    assert_eq!(second.request("PUT", "/v1/kv/b/k", &[], b"v").unwrap().status, 204);
}

#[test]
fn a_second_process_of_a_name_is_refused_and_ends_with_words() {
    let _alone = alone();
    let scratch = Scratch::new("cluster-twin");
    let mut cluster = Cluster::start(scratch.path(), 2).unwrap();
    let home = scratch.path().join("home");
    let mut twin = NodeProcess::prepare("n2", &scratch.path().join("twin"), &home, &[]).unwrap();
    twin.add_option("--join", &cluster.nodes[0].peer().to_string());
    let (status, said) = twin.refuses_to_start().unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("another process of the name \"n2\""), "{said}");
    cluster.wait_converged(PATIENCE).unwrap();
    assert_eq!(cluster.nodes[1].terminate().unwrap().code(), Some(0));
}

#[test]
fn strangers_and_garbage_at_the_peers_port_change_nothing() {
    let _alone = alone();
    let scratch = Scratch::new("cluster-strangers");
    let cluster = Cluster::start(scratch.path(), 2).unwrap();
    // Of another cluster, by its certificate.
    let mut foreign =
        NodeProcess::prepare("n3", &scratch.path().join("n3"), &scratch.path().join("other"), &[]).unwrap();
    foreign.add_option("--join", &cluster.nodes[0].peer().to_string());
    foreign.spawn().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 0..200_u32 {
        let bytes: Vec<u8> = (0..1200_u32).map(|place| (place * 31 + round * 17) as u8).collect();
        socket.send_to(&bytes[..1 + (round as usize * 7) % 1199], cluster.nodes[0].peer()).unwrap();
        let mut initial = bytes;
        // The head of a QUIC packet of version 1 that begins a connection.
        initial[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
        socket.send_to(&initial, cluster.nodes[0].peer()).unwrap();
    }
    let refused = || cluster.nodes[0].metric("meridian_peers_refused_total").is_ok_and(|count| count > 0);
    wait_until(PATIENCE, refused, || cluster.nodes[0].get("/metrics").unwrap().text());
    let members = cluster.nodes[0].get("/v1/cluster").unwrap().text();
    assert!(!members.contains("n3"), "{members}");
    assert_eq!(foreign.get("/readyz").unwrap().status, 503, "it has met nobody of its cluster");
    cluster.request(0, "PUT", "/v1/kv/b/k", "still here").unwrap();
    cluster.wait_converged(PATIENCE).unwrap();
    assert_eq!(reads(&cluster, "/v1/kv/b/k"), ["still here"; 2]);
}

#[test]
fn a_cluster_of_its_own_authority_meets_by_the_bundles_that_were_issued() {
    let _alone = alone();
    let scratch = Scratch::new("cluster-tls");
    let authority = scratch.path().join("authority");
    let tls = |arguments: &[&str]| {
        let ran =
            Command::new(binary()).arg("tls").args(arguments).arg("--dir").arg(&authority).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    tls(&["init"]);
    let mut nodes: Vec<NodeProcess> = Vec::new();
    for name in ["n1", "n2"] {
        tls(&["issue", name]);
        // Homes of their own: only the bundles make them one cluster.
        let (directory, home) = (scratch.path().join(name), scratch.path().join(format!("home-{name}")));
        let mut node = NodeProcess::prepare(name, &directory, &home, &[]).unwrap();
        node.add_option("--tls-dir", &authority.join(name).display().to_string());
        if let Some(first) = nodes.first() {
            node.add_option("--join", &first.peer().to_string());
        }
        node.restart().unwrap();
        nodes.push(node);
    }
    let mut cluster = Cluster { nodes };
    cluster.request(0, "PUT", "/v1/kv/b/k", "v").unwrap();
    cluster.wait_converged(PATIENCE).unwrap();
    assert_eq!(reads(&cluster, "/v1/kv/b/k"), ["v"; 2]);
    // The data stays the cluster's.
    cluster.nodes[0].terminate().unwrap();
    let mut moved =
        NodeProcess::prepare("n1", &scratch.path().join("n1"), &scratch.path().join("home-n1"), &[]).unwrap();
    let (status, said) = moved.refuses_to_start().unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("holds data of the cluster"), "{said}");
}
