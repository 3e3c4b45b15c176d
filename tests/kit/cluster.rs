//! A cluster as processes on this machine: nodes that all join each other, and links that can be cut.

use crate::http::Answer;
use crate::process::NodeProcess;
use anyhow::{Result, ensure};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(10);

/// Running nodes.
pub struct Cluster {
    /// n1, n2, …
    pub nodes: Vec<NodeProcess>,
}

impl Cluster {
    /// Starts nodes in `directory`, and waits until all are ready and connected to each other.
    ///
    /// # Errors
    /// When they do not become so.
    pub fn start(directory: &Path, count: usize) -> Result<Cluster> {
        let name = |index: usize| format!("n{}", index + 1);
        let home = directory.join("home");
        let prepare =
            |index| NodeProcess::prepare(&name(index), &directory.join(name(index)), &home, &["--faults"]);
        let mut nodes = (0..count).map(prepare).collect::<Result<Vec<_>>>()?;
        let peers: Vec<String> = nodes.iter().map(|node| node.peer().to_string()).collect();
        for (index, node) in nodes.iter_mut().enumerate() {
            for (_, peer) in peers.iter().enumerate().filter(|(other, _)| *other != index) {
                node.add_option("--join", peer);
            }
            node.spawn()?;
        }
        let mut cluster = Cluster { nodes };
        for node in &mut cluster.nodes {
            node.wait_ready()?;
        }
        cluster.wait_converged(Duration::from_secs(10))?;
        Ok(cluster)
    }

    /// Waits until every node finds all replicas equal; how long it took.
    ///
    /// # Errors
    /// When they are not within `time_max`; with what the last one said.
    pub fn wait_converged(&self, time_max: Duration) -> Result<Duration> {
        let began = Instant::now();
        for node in &self.nodes {
            loop {
                let answer = node.get("/v1/cluster/convergence")?;
                if answer.field("converged") == "true"
                    && answer.field("asked") == self.nodes.len().to_string()
                {
                    break;
                }
                let said = answer.text();
                ensure!(began.elapsed() < time_max, "{} after {time_max:?}: {said:.2000}", node.name());
                thread::park_timeout(PAUSE);
            }
        }
        Ok(began.elapsed())
    }

    /// Waits until a node sees no other node.
    ///
    /// # Errors
    /// When it still sees one after `time_max`.
    pub fn wait_alone(&self, index: usize, time_max: Duration) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let seen = self.nodes[index].get("/v1/cluster")?.text();
            if !seen.contains("\"connected\"") {
                return Ok(began.elapsed());
            }
            ensure!(began.elapsed() < time_max, "after {time_max:?}: {seen}");
            thread::park_timeout(PAUSE);
        }
    }

    /// Cuts a node off from all others, in both directions.
    ///
    /// # Errors
    /// When it refuses.
    pub fn cut_off(&self, index: usize) -> Result<()> {
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != index);
        let names: Vec<String> = others.map(|(_, node)| format!("{:?}", node.name())).collect();
        self.set_links(index, &format!("{{\"cut\":[{}]}}", names.join(",")))
    }

    /// Ends what [`Cluster::cut_off`] did.
    ///
    /// # Errors
    /// When the node refuses.
    pub fn heal(&self, index: usize) -> Result<()> {
        self.set_links(index, "{\"cut\":[]}")
    }

    fn set_links(&self, index: usize, body: &str) -> Result<()> {
        let answer = self.nodes[index].request("PUT", "/v1/dev/links", &[], body.as_bytes())?;
        ensure!(answer.status == 204, "{}", answer.text());
        Ok(())
    }

    /// A request to one node that must succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn request(&self, index: usize, method: &str, path: &str, body: &str) -> Result<Answer> {
        let answer = self.nodes[index].request(method, path, &[], body.as_bytes())?;
        let name = self.nodes[index].name();
        ensure!((200..300).contains(&answer.status), "{method} {path} at {name}: {}", answer.text());
        Ok(answer)
    }
}
