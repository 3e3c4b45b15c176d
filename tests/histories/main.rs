//! Random histories on real processes: all types, cut off and healed in every order, and every answer is foretold.
//!
//! Three nodes as processes. In each phase of an episode some are cut off, others are healed. One node of each part takes writes;
//! then the parts settle, and each node must answer for every key what the reference model says, and list the keys that exist
//! there. Who has seen what is known exactly, so there is one right answer, and nothing is taken for granted that is not
//! stated in `docs/consistency.md`.
//!
//! A failure names the seed of its episode, and prints the history of the key.

mod history;
mod writes;

use history::{History, Refused};
use meridian_tests::cluster::Cluster;
use meridian_tests::process::Scratch;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

const NODES: usize = 3;
/// Episodes, and the histories that each runs side by side: each is one key, and what is done to it.
const EPISODES: u64 = 6;
const HISTORIES: usize = 12;
const PHASES: usize = 6;
/// Writes to one history by one part of the cluster in one phase, at most.
const WRITES_MAX: usize = 3;
/// How long the nodes of a part may take to settle.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two writes: stamps have milliseconds, and the later of two writes is to have the later one.
const BETWEEN: Duration = Duration::from_millis(3);

#[test]
fn seventy_random_histories_read_as_foretold_on_every_node() {
    let scratch = Scratch::new("histories");
    let cluster = Cluster::start(scratch.path(), NODES).expect("three nodes");
    let (mut writes, mut refused, mut cuts) = (0, 0, 0);
    for seed in 0..EPISODES {
        let mut episode = Episode::new(&cluster, seed);
        episode.run();
        writes += episode.writes;
        refused += episode.refused;
        cuts += episode.cuts;
    }
    println!("{} histories, {writes} writes, {refused} refused, {cuts} cuts", EPISODES as usize * HISTORIES);
    assert!(writes > 1_000 && refused > 20 && cuts > 20, "too little happened");
    for node in &cluster.nodes {
        let metrics = node.get("/metrics").expect("it answers").text();
        assert!(metrics.contains("meridian_divergence_total 0"), "{metrics}");
    }
}

struct Episode<'a> {
    cluster: &'a Cluster,
    seed: u64,
    rng: ChaCha8Rng,
    histories: Vec<History>,
    /// Nodes that are cut off from all others.
    cut_off: BTreeSet<usize>,
    writes: usize,
    refused: usize,
    cuts: usize,
}

impl<'a> Episode<'a> {
    fn new(cluster: &'a Cluster, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let histories = (0..HISTORIES).map(|number| History::new(seed, number, NODES, &mut rng)).collect();
        Episode { cluster, seed, rng, histories, cut_off: BTreeSet::new(), writes: 0, refused: 0, cuts: 0 }
    }

    fn run(&mut self) {
        for phase in 0..PHASES {
            self.change_links();
            // What a healed link brings is there before anybody writes.
            self.settle_all(phase);
            for part in self.parts() {
                let writer = *part.choose(&mut self.rng).expect("a part has a node");
                for number in 0..HISTORIES {
                    for _ in 0..self.rng.random_range(0..=WRITES_MAX) {
                        self.write(number, writer);
                    }
                }
            }
            self.settle_all(phase);
        }
        for node in std::mem::take(&mut self.cut_off) {
            self.cluster.heal(node).expect("links can be healed");
        }
        self.settle_all(PHASES);
        self.cluster.wait_converged(PATIENCE).expect("all agree in the end");
    }

    /// One or two nodes are cut off, or healed, in a random order.
    fn change_links(&mut self) {
        let mut nodes: Vec<usize> = (0..NODES).collect();
        nodes.shuffle(&mut self.rng);
        for node in &nodes[..self.rng.random_range(1..NODES)] {
            match self.cut_off.remove(node) {
                true => self.cluster.heal(*node).expect("links can be healed"),
                false => {
                    self.cluster.cut_off(*node).expect("links can be cut");
                    self.cut_off.insert(*node);
                    self.cuts += 1;
                }
            }
        }
    }

    /// The nodes that can reach each other.
    fn parts(&self) -> Vec<Vec<usize>> {
        let together: Vec<usize> = (0..NODES).filter(|node| !self.cut_off.contains(node)).collect();
        let alone = self.cut_off.iter().map(|node| vec![*node]);
        alone.chain((!together.is_empty()).then_some(together)).collect()
    }

    fn write(&mut self, number: usize, node: usize) {
        thread::park_timeout(BETWEEN);
        let history = &mut self.histories[number];
        let Some(request) = history.next(node, &self.cluster.nodes[node], &mut self.rng) else { return };
        let headers: Vec<(&str, &str)> =
            request.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.cluster.nodes[node].request(
            request.method,
            &request.target,
            &headers,
            request.body.as_bytes(),
        );
        let answer = answer.expect("it answers");
        self.writes += 1;
        match history.wrote(node, &request, &answer) {
            Ok(()) => {}
            Err(Refused::AsForetold) => self.refused += 1,
            Err(Refused::Otherwise(what)) => panic!("seed {}: {what}\n{history}", self.seed),
        }
    }

    /// Waits until each part has settled, and compares what its nodes answer.
    fn settle_all(&mut self, phase: usize) {
        for part in self.parts() {
            self.settle(&part);
            for history in &mut self.histories {
                history.share(&part);
            }
            for history in &self.histories {
                let answers: Vec<Vec<u8>> =
                    part.iter().map(|node| self.answer(history, *node, phase)).collect();
                assert!(
                    answers.windows(2).all(|two| two[0] == two[1]),
                    "seed {}: they differ\n{history}",
                    self.seed
                );
            }
            part.iter().for_each(|node| self.check_listing(*node));
        }
    }

    /// What a node answers for a key, which must be what the model says.
    fn answer(&self, history: &History, node: usize, phase: usize) -> Vec<u8> {
        history.check(node, &self.cluster.nodes[node]).unwrap_or_else(|what| {
            panic!("seed {}, phase {phase}, n{}: {what}\n{history}", self.seed, node + 1)
        })
    }

    /// Waits until all nodes of a part have applied the same in every shard.
    fn settle(&self, part: &[usize]) {
        let (began, first) = (Instant::now(), part[0]);
        loop {
            let answer =
                self.cluster.nodes[first].get("/v1/cluster/convergence?all=true").expect("it answers");
            let view = answer.json();
            let names: Vec<&str> = part.iter().map(|node| self.cluster.nodes[*node].name()).collect();
            let shards = view["shards"].as_array().expect("all shards");
            if shards.iter().all(|shard| same_in(shard, &names)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "seed {}: {names:?} do not settle: {view}", self.seed);
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// A node lists exactly the keys that exist there, with their types.
    fn check_listing(&self, node: usize) {
        let path = format!("/v1/kv/{}?limit=1000", history::bucket(self.seed));
        let answer = self.cluster.nodes[node].get(&path).expect("it answers");
        let page = answer.json();
        let entry = |entry: &Json| {
            let types =
                entry.get("types").cloned().unwrap_or_else(|| Json::from(vec![entry["type"].clone()]));
            (entry["key"].as_str().unwrap_or_default().to_owned(), types)
        };
        let listed: Vec<_> = page["keys"].as_array().expect("keys").iter().map(entry).collect();
        let mut expected: Vec<_> = self.histories.iter().filter_map(|history| history.listed(node)).collect();
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(listed, expected, "seed {}: n{}'s listing", self.seed, node + 1);
    }
}

/// Whether the named replicas of a shard have applied the same.
fn same_in(shard: &Json, names: &[&str]) -> bool {
    let replicas = shard["replicas"].as_array().expect("replicas");
    let vectors: Vec<&Json> = names
        .iter()
        .filter_map(|name| replicas.iter().find(|replica| replica["node"] == **name))
        .map(|replica| &replica["vv"])
        .collect();
    vectors.len() == names.len() && vectors.windows(2).all(|two| two[0] == two[1])
}
