//! Repair between real processes: nodes that the others' logs cannot help any more are whole again, while clients write; and
//! what that takes on the wire, by the product's own metrics.

use meridian_tests::cluster::Cluster;
use meridian_tests::http::Answer;
use meridian_tests::process::{NodeProcess, Scratch, wait_until};
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const N1: usize = 0;
const N2: usize = 1;
const N3: usize = 2;

/// Starts nodes whose logs are cut at once, whoever lacks what is cut off.
fn start_without_logs(scratch: &Scratch, count: usize) -> Cluster {
    let mut cluster = Cluster::start(scratch.path(), count).expect("the cluster works");
    for node in &mut cluster.nodes {
        node.terminate().expect("the cluster works");
        node.add_option("--log-keep-bytes", "0");
        node.add_option("--log-bytes-max", "0");
        node.restart().expect("the cluster works");
    }
    cluster.wait_converged(PATIENCE).expect("the cluster works");
    cluster
}

/// Waits until a node has cut so many deltas off its log since its start.
fn wait_cut(node: &NodeProcess, deltas: usize) {
    let cut = || node.metric("meridian_log_cut_deltas_total").expect("it is counted");
    wait_until(PATIENCE, || cut() >= deltas as u64, || format!("{} of {deltas} deltas are cut", cut()));
}

fn path(kind: &str, key: usize) -> String {
    format!("/v1/kv/repair/{kind}-{key}")
}

fn add(members: &[String]) -> String {
    format!("{{\"op\":\"add\",\"members\":[{}]}}", members.join(","))
}

/// What every key reads as at one node; `None` where it is not there.
fn read_all(node: &NodeProcess, paths: &[String]) -> BTreeMap<String, Option<String>> {
    let read = |path: &String| {
        let Answer { status, .. } = node.get(path).expect("it answers");
        let text = node.get(path).expect("it answers").text();
        assert!(status == 200 || status == 404, "{path}: {status} {text}");
        (path.clone(), (status == 200).then_some(text))
    };
    paths.iter().map(read).collect()
}

/// Clients write to all nodes but one until they are told to stop; how many writes were answered.
fn write_meanwhile(cluster: &Cluster, stop: &AtomicBool) -> usize {
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        let at = if written % 2 == 0 { N1 } else { N2 };
        let body = add(&[format!("\"m{written}\"")]);
        cluster.request(at, "POST", &path("live", written % 20), &body).expect("it is written");
        cluster.request(at, "POST", "/v1/kv/repair/count", "{\"op\":\"increment\"}").expect("it is written");
        written += 1;
    }
    written
}

/// Keys of all types before the node goes, changed and deleted while it is away. All paths.
fn write_before(cluster: &Cluster) -> Vec<String> {
    let mut paths = vec!["/v1/kv/repair/count".to_string()];
    for key in 0..300 {
        let value = format!("before {key} ").repeat(10);
        cluster.request(key % 3, "PUT", &path("register", key), &value).expect("the cluster works");
        let body = add(&["\"a\"".into(), format!("\"{key}\"")]);
        cluster.request(key % 3, "POST", &path("set", key), &body).expect("the cluster works");
        let body = format!("{{\"op\":\"increment\",\"by\":{key}}}");
        cluster.request(key % 3, "POST", &path("counter", key), &body).expect("the cluster works");
        paths.extend([path("register", key), path("set", key), path("counter", key)]);
    }
    paths.extend((0..20).map(|key| path("live", key)));
    cluster.wait_converged(PATIENCE).expect("the cluster works");
    paths
}

/// Deltas of [`write_before`] and [`change_while_away`].
const CHANGES: usize = 300 * 3 + 200 * 3;

fn change_while_away(cluster: &Cluster) {
    for key in 0..300 {
        let at = key % 2;
        match key % 3 {
            0 => {
                cluster.request(at, "DELETE", &path("register", key), "").expect("the cluster works");
                cluster
                    .request(at, "POST", &path("set", key), "{\"op\":\"remove\",\"members\":[\"a\"]}")
                    .expect("the cluster works");
                cluster
                    .request(at, "POST", &path("counter", key), "{\"op\":\"reset\"}")
                    .expect("the cluster works");
            }
            1 => {
                cluster.request(at, "PUT", &path("register", key), "after").expect("the cluster works");
                cluster
                    .request(at, "POST", &path("set", key), &add(&["\"b\"".into()]))
                    .expect("the cluster works");
                cluster
                    .request(at, "POST", &path("counter", key), "{\"op\":\"increment\"}")
                    .expect("the cluster works");
            }
            _ => {}
        }
    }
}

/// All nodes read the same, and nothing that was deleted is back.
fn check(cluster: &Cluster, paths: &[String]) {
    cluster.wait_converged(PATIENCE).expect("the cluster works");
    let expected = read_all(&cluster.nodes[N1], paths);
    for node in &cluster.nodes[1..] {
        assert_eq!(read_all(node, paths), expected, "{} reads otherwise", node.name());
    }
    for key in (0..300).step_by(3) {
        assert_eq!(expected[&path("register", key)], None, "it was deleted");
        assert_eq!(expected[&path("set", key)], Some(format!("[\"{key}\"]")), "a member was removed");
        assert_eq!(expected[&path("counter", key)], Some("0".into()), "it was reset");
    }
    for node in &cluster.nodes {
        assert_eq!(node.metric("meridian_divergence_total").expect("it is counted"), 0);
        assert_eq!(node.metric("meridian_quarantined_replicas").expect("it is counted"), 0);
        assert_eq!(node.metric("meridian_lost_deltas_total").expect("it is counted"), 0);
    }
}

/// `n3` comes back in the middle of writes. How many writes those were.
fn come_back(cluster: &mut Cluster) -> usize {
    let stop = AtomicBool::new(false);
    let mut n3 = cluster.nodes.pop().expect("three nodes");
    let (cluster_of_two, stop) = (&*cluster, &stop);
    let (written, n3) = thread::scope(|scope| {
        let writer = scope.spawn(move || write_meanwhile(cluster_of_two, stop));
        n3.restart().expect("it starts, and is filled");
        let repairs = || n3.metric("meridian_repairs_total").expect("it is counted");
        wait_until(PATIENCE, || repairs() > 0, || format!("nothing is repaired: {}", n3.log()));
        stop.store(true, Ordering::Relaxed);
        (writer.join().expect("no write fails"), n3)
    });
    cluster.nodes.push(n3);
    written
}

#[test]
fn a_node_that_was_away_until_no_log_reaches_back_is_repaired_under_load() {
    let scratch = Scratch::new("repair-away");
    let mut cluster = start_without_logs(&scratch, 3);
    let paths = write_before(&cluster);
    cluster.nodes[N3].kill().unwrap();
    change_while_away(&cluster);
    cluster.nodes[..N3].iter().for_each(|node| wait_cut(node, CHANGES));
    let written = come_back(&mut cluster);
    check(&cluster, &paths);
    let n3 = &cluster.nodes[N3];
    let (repairs, rows) = (
        n3.metric("meridian_repairs_total").expect("it is counted"),
        n3.metric("meridian_repair_rows_total").expect("it is counted"),
    );
    println!("{repairs} repairs fetched {rows} rows, while {written} writes went on");
    assert!(rows > 0 && written > 0);
}

#[test]
fn a_node_whose_disk_was_wiped_is_filled_by_repair_under_load() {
    let scratch = Scratch::new("repair-wiped");
    let mut cluster = start_without_logs(&scratch, 3);
    let paths = write_before(&cluster);
    cluster.nodes[N3].kill().unwrap();
    change_while_away(&cluster);
    cluster.nodes[..N3].iter().for_each(|node| wait_cut(node, CHANGES));
    fs::remove_dir_all(cluster.nodes[N3].data()).unwrap();
    let peer = cluster.nodes[N1].peer().to_string();
    cluster.nodes[N3].add_option("--join", &peer);
    let written = come_back(&mut cluster);
    check(&cluster, &paths);
    let n3 = &cluster.nodes[N3];
    let repairs = n3.metric("meridian_repairs_total").expect("it is counted");
    println!("{repairs} repairs filled it, while {written} writes went on");
    assert!(written > 0);
}

// -- what a repair costs ------------------------------------------------------------------------------------------------

/// Sets, and members of each: a row each.
const SETS: usize = 1_000;
const MEMBERS: usize = 1_000;
/// Shards, and leaves of a tree.
const SHARDS: f64 = 256.0;

/// The bytes that a walk down the trees takes for `d` differing rows of `n`, beside the rows themselves: a node's sums are 16
/// of 8 bytes, an entry of a leaf 12, and 3 bytes name a node. After the formula of the design, with the shards' roots as
/// its first level.
fn walk_bytes(n: f64, d: f64) -> f64 {
    let hit = |nodes: f64| nodes * (1.0 - (1.0 - 1.0 / nodes).powf(d));
    let levels = [SHARDS, SHARDS * 16.0, SHARDS * 256.0];
    let leaves = SHARDS * 4_096.0;
    let sums: f64 = levels.iter().map(|nodes| hit(*nodes) * (3.0 + 16.0 * 8.0)).sum();
    16.0 + sums + hit(leaves) * (3.0 + n / leaves * 12.0)
}

fn set(number: usize) -> String {
    format!("/v1/kv/repair/large-{number}")
}

#[test]
fn a_repair_of_few_rows_among_a_million_takes_few_bytes() {
    let scratch = Scratch::new("repair-bytes");
    let mut cluster = start_without_logs(&scratch, 2);
    for number in 0..SETS {
        let members: Vec<String> = (0..MEMBERS).map(|member| format!("\"member {member}\"")).collect();
        cluster.request(number % 2, "POST", &set(number), &add(&members)).unwrap();
    }
    cluster.wait_converged(PATIENCE).unwrap();
    let n = (SETS * (MEMBERS + 1)) as f64;
    let mut written = SETS;
    for (round, differing) in [1, 100, 10_000].into_iter().enumerate() {
        cluster.nodes[N2].terminate().unwrap();
        let each = differing / SETS.min(differing);
        for number in 0..differing / each {
            let members: Vec<String> =
                (0..each).map(|member| format!("\"round {round} {member}\"")).collect();
            cluster.request(N1, "POST", &set(number), &add(&members)).unwrap();
        }
        written += differing / each;
        wait_cut(&cluster.nodes[N1], written);
        cluster.nodes[N2].restart().unwrap();
        // It has kept its trees: to count the rows would take it seconds.
        let said = cluster.request(N2, "GET", "/v1/cluster/convergence?all=true", "").unwrap().text();
        assert!(said.contains("\"root\":\"") && !said.contains("\"root\":null"), "{said:.2000}");
        cluster.wait_converged(PATIENCE).unwrap();
        let n2 = &cluster.nodes[N2];
        let count = |name: &str| n2.metric(name).expect("it is counted");
        let all = count("meridian_repair_bytes_sent_total") + count("meridian_repair_bytes_received_total");
        let beside = all - count("meridian_repair_row_bytes_total");
        let (rows, repairs) = (count("meridian_repair_rows_total"), count("meridian_repairs_total"));
        let requests = count("meridian_repair_requests_total");
        let formula = walk_bytes(n, differing as f64);
        println!(
            "{differing} of {n} rows differ: {beside} bytes beside {rows} rows, by the formula {formula:.0}; {repairs} repairs, \
             {requests} requests"
        );
        assert_eq!(rows, differing as u64, "only rows that differ are sent");
        assert!(beside as f64 <= 2.0 * formula, "{beside} bytes, and the formula gives {formula:.0}");
        assert!(requests <= 4 * repairs, "Open, Walk, Walk, Rows");
    }
}
