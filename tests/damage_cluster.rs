//! Nodes whose files are damaged: with peers such a node sets its database aside, is refilled, and hands over what only it
//! had; without one it refuses. Whatever happens, nobody reads a wrong value, or that a key is not there.

use meridian_tests::cluster::Cluster;
use meridian_tests::process::{NodeProcess, Scratch, wait_until};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a node may take to heal, and anything else.
const PATIENCE: Duration = Duration::from_secs(25);
/// Keys of each type.
const KEYS: usize = 150;
const N3: usize = 2;
/// Writes in which a compaction in the background comes to its end, mostly.
const WRITES: usize = 200;

/// What every node is to read, by path.
type Content = BTreeMap<String, String>;

/// Writes keys of all types, here and there, and waits until all nodes have them.
fn write_content(cluster: &Cluster) -> Content {
    let mut content = Content::new();
    for key in 0..KEYS {
        let (register, counter, set) = (path("register", key), path("counter", key), path("set", key));
        let value = format!("value {key} ").repeat(20);
        cluster.request(key % 3, "PUT", &register, &value).expect("it is written");
        let body = format!("{{\"op\":\"increment\",\"by\":{}}}", key + 1);
        cluster.request((key + 1) % 3, "POST", &counter, &body).expect("it is written");
        let body = format!("{{\"op\":\"add\",\"members\":[\"a\",\"{key}\"]}}");
        cluster.request((key + 2) % 3, "POST", &set, &body).expect("it is written");
        content.insert(register, value);
        content.insert(counter, (key + 1).to_string());
        content.insert(set, format!("[\"{key}\",\"a\"]"));
    }
    cluster.wait_converged(PATIENCE).expect("all nodes agree");
    content
}

fn path(kind: &str, key: usize) -> String {
    format!("/v1/kv/damage/{kind}-{key}")
}

/// The files of a node's database whose names end so.
fn files(node: &NodeProcess, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(node.data().join("db")).expect("it can be listed");
    let entries = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|found| found == end)).collect();
    files.sort();
    files
}

/// The tables of a space: each names its column family among its properties.
fn tables(node: &NodeProcess, space: &str) -> Vec<PathBuf> {
    let name = format!("name{space}");
    let names_it = |path: &PathBuf| {
        let bytes = fs::read(path).expect("it can be read");
        bytes.windows(name.len()).any(|found| found == name.as_bytes())
    };
    let tables: Vec<PathBuf> = files(node, "sst").into_iter().filter(names_it).collect();
    assert!(!tables.is_empty(), "no table of {space} in {:?}", files(node, "sst"));
    tables
}

/// A bit of the data, which comes first in a table, and fills a log.
fn flip(file: &Path) {
    let mut bytes = fs::read(file).expect("it can be read");
    let place = bytes.len() / 3;
    bytes[place] ^= 0x10;
    fs::write(file, bytes).expect("it can be written");
}

fn aside(node: &NodeProcess, number: usize) -> PathBuf {
    node.data().join(format!("db.damaged-{number}"))
}

/// Reads a key where something may be damaged: whether the right value was read. What was read is right, or a refusal.
fn reads_right(node: &NodeProcess, path: &str, expected: &str) -> bool {
    // It may be starting anew just now.
    let Ok(answer) = node.get(path) else { return false };
    match answer.status {
        200 => assert_eq!(answer.text(), expected, "{path}"),
        503 => {}
        other => panic!("{path}: {other} {}: {}", answer.text(), node.log()),
    }
    answer.status == 200
}

/// Lists all keys where something may be damaged: whether they were listed. No key is left out, or it is a refusal.
fn lists_all(node: &NodeProcess, content: &Content) -> bool {
    let Ok(answer) = node.get("/v1/kv/damage?limit=1000") else { return false };
    match answer.status {
        200 => {
            let page = answer.json();
            let entries = page["keys"].as_array().expect("a list");
            let keys = entries.iter().filter_map(|entry| entry["key"].as_str());
            assert!(keys.map(|key| format!("/v1/kv/damage/{key}")).eq(content.keys().cloned()), "{page}");
        }
        503 => {}
        other => panic!("{other} {}: {}", answer.text(), node.log()),
    }
    answer.status == 200
}

/// Reads all keys again and again, until the node has set its database aside, and then reads all as they are to be.
fn read_until_healed(node: &NodeProcess, content: &Content) {
    let right = || content.iter().filter(|(path, expected)| reads_right(node, path, expected)).count();
    let is_healed = || {
        let is_aside = aside(node, 1).join("HANDED_OVER").exists();
        right() == content.len() && is_aside
    };
    wait_until(PATIENCE, is_healed, || format!("{} of {} are read: {}", right(), content.len(), node.log()));
}

fn everyone_reads(cluster: &Cluster, content: &Content) {
    cluster.wait_converged(PATIENCE).expect("all nodes agree");
    for node in &cluster.nodes {
        for (path, expected) in content {
            assert!(reads_right(node, path, expected), "{} does not serve {path}", node.name());
        }
    }
}

/// Three nodes with content. In each table of the third one's heads a bit is flipped, and it has started again.
fn with_damaged_heads(scratch: &Scratch) -> (Cluster, Content) {
    let mut cluster = Cluster::start(scratch.path(), 3).expect("the cluster works");
    let content = write_content(&cluster);
    cluster.nodes[N3].terminate().expect("the cluster works");
    for table in tables(&cluster.nodes[N3], "head") {
        flip(&table);
    }
    cluster.nodes[N3].spawn().expect("the cluster works");
    (cluster, content)
}

#[test]
fn a_flipped_bit_of_a_table_heals_while_clients_read() {
    let scratch = Scratch::new("damage-table");
    let (mut cluster, content) = with_damaged_heads(&scratch);
    read_until_healed(&cluster.nodes[N3], &content);
    everyone_reads(&cluster, &content);
    let found = fs::read_to_string(aside(&cluster.nodes[N3], 1).join("FOUND")).unwrap();
    assert!(found.contains("a row of Head is damaged"), "{found}");
    // It is the same process, and its new database is a good one.
    cluster.nodes[N3].terminate().unwrap();
    cluster.nodes[N3].restart().unwrap();
    everyone_reads(&cluster, &content);
    assert!(!aside(&cluster.nodes[N3], 2).exists());
}

#[test]
fn damage_that_only_a_listing_meets_heals() {
    let scratch = Scratch::new("damage-listing");
    let (cluster, content) = with_damaged_heads(&scratch);
    let node = &cluster.nodes[N3];
    let is_healed = || lists_all(node, &content) && aside(node, 1).join("HANDED_OVER").exists();
    wait_until(PATIENCE, is_healed, || node.log());
    everyone_reads(&cluster, &content);
}

#[test]
fn damage_that_only_a_compaction_meets_heals() {
    let scratch = Scratch::new("damage-compaction");
    let mut cluster = Cluster::start(scratch.path(), 3).unwrap();
    let mut content = write_content(&cluster);
    cluster.nodes[N3].terminate().unwrap();
    for table in tables(&cluster.nodes[N3], "head") {
        flip(&table);
    }
    // Each clean end makes a table, and when there are some they are compacted. The PUT of a new key reads the filter of a
    // table of heads, and not the rows in it.
    for round in 0.. {
        assert!(round < 12, "no compaction has met the damage: {}", cluster.nodes[N3].log());
        cluster.nodes[N3].restart().unwrap();
        if aside(&cluster.nodes[N3], 1).exists() {
            break;
        }
        let path = path("round", round);
        for write in 0..WRITES {
            // When the compaction has failed the database takes no more, and the process starts anew.
            let value = format!("new {write}");
            let put = cluster.nodes[N3].request("PUT", &path, &[], value.as_bytes());
            match put {
                Ok(answer) if answer.status == 204 => content.insert(path.clone(), value),
                _ => break,
            };
        }
        if aside(&cluster.nodes[N3], 1).exists() {
            break;
        }
        cluster.nodes[N3].terminate().unwrap();
    }
    read_until_healed(&cluster.nodes[N3], &content);
    everyone_reads(&cluster, &content);
    let found = fs::read_to_string(aside(&cluster.nodes[N3], 1).join("FOUND")).unwrap();
    assert!(found.contains("Corruption") && !found.contains("a row of"), "nobody has read it: {found}");
}

#[test]
fn a_flipped_bit_of_the_write_ahead_log_heals_at_the_start() {
    let scratch = Scratch::new("damage-log");
    let mut cluster = Cluster::start(scratch.path(), 3).unwrap();
    let content = write_content(&cluster);
    cluster.nodes[N3].kill().unwrap();
    for log in files(&cluster.nodes[N3], "log") {
        flip(&log);
    }
    cluster.nodes[N3].spawn().unwrap();
    read_until_healed(&cluster.nodes[N3], &content);
    everyone_reads(&cluster, &content);
    assert!(aside(&cluster.nodes[N3], 1).join("SYNCED").exists(), "what is beside a database goes with it");
}

#[test]
fn what_no_peer_has_is_handed_over() {
    let scratch = Scratch::new("damage-own");
    let mut cluster = Cluster::start(scratch.path(), 3).unwrap();
    let mut content = write_content(&cluster);
    // What was written so far lies in tables now, and what comes in the log.
    cluster.nodes[N3].terminate().unwrap();
    cluster.nodes[N3].restart().unwrap();
    cluster.wait_converged(PATIENCE).unwrap();
    cluster.cut_off(N3).unwrap();
    cluster.wait_alone(N3, PATIENCE).unwrap();
    let own = KEYS;
    for key in 0..own {
        let (path, value) = (format!("/v1/kv/damage/own-{key}"), format!("of n3: {key}"));
        cluster.request(N3, "PUT", &path, &value).unwrap();
        content.insert(path, value);
    }
    cluster.request(N3, "POST", &path("counter", 0), r#"{"op":"increment","by":1000}"#).unwrap();
    content.insert(path("counter", 0), "1001".into());
    cluster.nodes[N3].kill().unwrap();
    for table in tables(&cluster.nodes[N3], "log") {
        flip(&table);
    }
    cluster.nodes[N3].spawn().unwrap();
    read_until_healed(&cluster.nodes[N3], &content);
    everyone_reads(&cluster, &content);
    assert_eq!(
        cluster.nodes[N3].metric("meridian_handed_over_deltas_total").expect("it is counted"),
        own as u64 + 1
    );
    assert!(cluster.nodes[N3].metric("meridian_unreadable_rows").expect("it is counted") > 0);
}

#[test]
fn without_a_peer_it_refuses_and_puts_everything_back() {
    let scratch = Scratch::new("damage-alone");
    let mut cluster = Cluster::start(scratch.path(), 3).unwrap();
    let content = write_content(&cluster);
    for node in [N3, 0, 1] {
        cluster.nodes[node].kill().unwrap();
    }
    let node = &mut cluster.nodes[N3];
    for log in files(node, "log") {
        flip(&log);
    }
    let data = |node: &NodeProcess| {
        let all = [files(node, "log"), files(node, "sst"), vec![node.data().join("SYNCED")]].concat();
        all.into_iter().map(|file| (fs::read(&file).unwrap(), file)).collect::<Vec<_>>()
    };
    let before = data(node);
    node.add_option("--refill-timeout-ms", "1500");
    for _ in 0..2 {
        let (status, said) = node.refuses_to_start().unwrap();
        assert_eq!(status.code(), Some(1), "{said}");
        for words in ["is damaged", "checksum mismatch", "under its old name", "Start another node", "backup"]
        {
            assert!(said.contains(words), "{said}");
        }
        assert!(data(node) == before && !aside(node, 1).exists(), "{said}");
        assert!(!node.data().join("db.empty").exists() && !node.data().join("PUTTING_BACK").exists());
    }
    cluster.nodes[0].restart().unwrap();
    cluster.nodes[1].restart().unwrap();
    cluster.nodes[N3].spawn().unwrap();
    read_until_healed(&cluster.nodes[N3], &content);
    everyone_reads(&cluster, &content);
}

#[test]
fn a_node_that_is_killed_before_it_is_refilled_does_not_serve_what_it_lacks() {
    let scratch = Scratch::new("damage-killed");
    let mut cluster = Cluster::start(scratch.path(), 3).unwrap();
    let content = write_content(&cluster);
    for node in [N3, 0, 1] {
        cluster.nodes[node].kill().unwrap();
    }
    for log in files(&cluster.nodes[N3], "log") {
        flip(&log);
    }
    // Each time the database in the place of the damaged one is empty.
    for _ in 0..2 {
        let node = &mut cluster.nodes[N3];
        node.spawn().unwrap();
        let says_no = || node.get("/readyz").is_ok_and(|answer| answer.status == 503);
        wait_until(PATIENCE, says_no, || node.log());
        assert!(aside(node, 1).join("FOUND").exists());
        for path in content.keys() {
            assert_eq!(node.get(path).unwrap().status, 503);
        }
        node.kill().unwrap();
    }
    // Two that lost everything do not take each other for whole.
    for log in files(&cluster.nodes[0], "log") {
        flip(&log);
    }
    cluster.nodes[N3].spawn().unwrap();
    cluster.nodes[0].spawn().unwrap();
    let node = &cluster.nodes[N3];
    let has_met = || node.get("/v1/cluster").is_ok_and(|seen| seen.text().contains("\"connected\""));
    wait_until(PATIENCE, has_met, || node.log());
    for path in content.keys() {
        assert_eq!(cluster.nodes[N3].get(path).unwrap().status, 503);
    }
    cluster.nodes[1].restart().unwrap();
    read_until_healed(&cluster.nodes[N3], &content);
    read_until_healed(&cluster.nodes[0], &content);
    everyone_reads(&cluster, &content);
}
