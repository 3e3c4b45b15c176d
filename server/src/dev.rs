//! `meridian dev`: a cluster of child processes on this machine, each in a region of its own.
//!
//! What runs, and how to start a killed node again, stands in `endpoints.json` in the data directory, put there when all
//! are ready. A child that dies is reported and stays dead. When the cluster is told to stop it ends all its nodes, also
//! those that somebody started again.

use crate::config;
use crate::data_dir::holder;
use anyhow::{Context as _, bail, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, sleep};

/// Most nodes: peers listen a hundred ports above HTTP.
const NODES_MAX: u16 = 100;
/// How far the peers' ports are above HTTP's.
const PEER_PORTS_ABOVE: u16 = 100;
/// The regions of the first nodes; further ones are numbered.
const REGIONS: [&str; 6] = ["eu", "us", "ap", "sa", "af", "oc"];
/// How long all nodes may take to become ready.
const READY_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a node may take to stop before it is killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(15);
/// How often it is looked whether a node still runs.
const LOOK: Duration = Duration::from_millis(100);
const ENDPOINTS_FILE: &str = "endpoints.json";

/// The command.
pub fn command() -> Command {
    Command::new("dev")
        .about("Runs a cluster of several nodes on this machine until it is told to stop")
        .arg(
            Arg::new("nodes")
                .long("nodes")
                .value_name("N")
                .default_value("3")
                .value_parser(value_parser!(u16).range(1..=i64::from(NODES_MAX)))
                .help("How many nodes"),
        )
        .arg(
            Arg::new("data-dir")
                .long("data-dir")
                .value_name("DIR")
                .default_value("./meridian-dev")
                .value_parser(value_parser!(PathBuf))
                .help("Where the nodes keep their data and logs, and where endpoints.json is put"),
        )
        .arg(
            Arg::new("http-base")
                .long("http-base")
                .value_name("PORT")
                .default_value("7480")
                .value_parser(value_parser!(u16).range(1..=65_000))
                .help("The first node's port for HTTP; peers listen on the ports 100 above"),
        )
        .arg(
            Arg::new("faults")
                .long("faults")
                .action(ArgAction::SetTrue)
                .help("Let PUT /v1/dev/links cut links between the nodes"),
        )
        .after_help("Examples:\n  meridian dev\n  meridian dev --nodes 5 --faults --data-dir ./five")
}

/// One node, as `endpoints.json` has it.
#[derive(Clone, Debug, Serialize)]
struct Node {
    id: String,
    region: String,
    http: String,
    peer: SocketAddr,
    pid: u32,
    /// Starts it again.
    command: Vec<String>,
}

#[derive(Serialize)]
struct Endpoints<'a> {
    nodes: &'a [Node],
}

/// Runs the cluster until SIGTERM or SIGINT.
///
/// # Errors
/// When a node does not become ready, or the system fails.
pub fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let data_dir = matches.get_one::<PathBuf>("data-dir").expect("it has a default");
    fs::create_dir_all(data_dir).with_context(|| data_dir.display().to_string())?;
    let data_dir = fs::canonicalize(data_dir)?;
    let count = *matches.get_one::<u16>("nodes").expect("it has a default");
    for path in (1..=count).map(|number| data_dir.join(format!("n{number}"))) {
        if let Some(pid) = holder(&path) {
            bail!(
                "a node runs on {} already: end process {pid} first, or name another --data-dir",
                path.display()
            );
        }
    }
    let old = data_dir.join(ENDPOINTS_FILE);
    if old.exists() {
        fs::remove_file(&old)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut cluster = Cluster { children: Vec::new(), nodes: Vec::new(), data_dir };
    let ran = runtime.block_on(cluster.live(matches));
    let stopped = runtime.block_on(cluster.stop());
    ran.and(stopped)
}

struct Cluster {
    data_dir: PathBuf,
    nodes: Vec<Node>,
    /// One for each node; `None` when it has ended.
    children: Vec<Option<Child>>,
}

impl Cluster {
    async fn live(&mut self, matches: &ArgMatches) -> anyhow::Result<()> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        self.spawn(matches, &inherited()?)?;
        tokio::select! {
            ready = self.become_ready() => ready?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
        self.announce()?;
        let mut looks = interval(LOOK);
        loop {
            tokio::select! {
                _ = looks.tick() => { self.report_dead()?; }
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            }
        }
    }

    fn spawn(&mut self, matches: &ArgMatches, inherited: &[String]) -> anyhow::Result<()> {
        let count = *matches.get_one::<u16>("nodes").expect("it has a default");
        let base = *matches.get_one::<u16>("http-base").expect("it has a default");
        let faults = matches.get_flag("faults");
        let own = env::current_exe()?.to_str().context("this program's path is not UTF-8")?.to_owned();
        let data_dir = self.data_dir.to_str().context("the data directory's path is not UTF-8")?.to_owned();
        let peer = |index: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, base + PEER_PORTS_ABOVE + index));
        for index in 0..count {
            let name = format!("n{}", index + 1);
            let region =
                REGIONS.get(usize::from(index)).map_or(format!("r{}", index + 1), |is| is.to_string());
            let http = SocketAddr::from((Ipv4Addr::LOCALHOST, base + index));
            let mut command = vec![own.clone(), "start".into()];
            let options = [
                ("--name", name.clone()),
                ("--region", region.clone()),
                ("--data-dir", format!("{data_dir}/{name}")),
                ("--http", http.to_string()),
                ("--peer", peer(index).to_string()),
            ];
            command.extend(options.into_iter().flat_map(|(option, value)| [option.to_owned(), value]));
            for other in (0..count).filter(|other| *other != index) {
                command.extend(["--join".to_owned(), peer(other).to_string()]);
            }
            command.extend(faults.then(|| "--faults".to_owned()));
            command.extend_from_slice(inherited);
            let log = File::create(self.data_dir.join(format!("{name}.log")))?;
            let child = std::process::Command::new(&command[0])
                .args(&command[1..])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()?;
            let (http, pid) = (format!("http://{http}"), child.id());
            self.nodes.push(Node { id: name, region, http, peer: peer(index), pid, command });
            self.children.push(Some(child));
        }
        Ok(())
    }

    /// Whether a node serves: what answers at its address may be another process, but only one holds its directory.
    fn is_up(&self, node: &Node) -> bool {
        is_ready(&node.http) && self.holder(node) == Pid::from_raw(node.pid as i32)
    }

    async fn become_ready(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        for index in 0..self.nodes.len() {
            while !self.is_up(&self.nodes[index]) {
                if let Some(name) = self.report_dead()? {
                    let log =
                        fs::read_to_string(self.data_dir.join(format!("{name}.log"))).unwrap_or_default();
                    bail!("{name} does not start: {}", log.lines().last().unwrap_or("it left no word"));
                }
                let name = &self.nodes[index].id;
                ensure!(began.elapsed() < READY_TIME_MAX, "{name} is not ready after {READY_TIME_MAX:?}");
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// Puts `endpoints.json` into place, and says that all is ready.
    fn announce(&self) -> anyhow::Result<()> {
        let (new, place) = (self.data_dir.join("endpoints.json.new"), self.data_dir.join(ENDPOINTS_FILE));
        fs::write(&new, serde_json::to_vec_pretty(&Endpoints { nodes: &self.nodes })?)?;
        fs::rename(&new, &place)?;
        let mut out = io::stdout().lock();
        for node in &self.nodes {
            writeln!(out, "{:4} {:4} {}  peers at {}", node.id, node.region, node.http, node.peer)?;
        }
        writeln!(out, "{}", place.display())?;
        writeln!(out, "ready")?;
        Ok(out.flush()?)
    }

    /// Reports children that have ended since; the last of them.
    fn report_dead(&mut self) -> anyhow::Result<Option<String>> {
        let mut dead = None;
        for (node, slot) in self.nodes.iter().zip(&mut self.children) {
            let Some(child) = slot else { continue };
            if let Some(status) = child.try_wait()? {
                let command = node.command.join(" ");
                eprintln!("meridian dev: {} has ended: {status}. To start it again: {command}", node.id);
                *slot = None;
                dead = Some(node.id.clone());
            }
        }
        Ok(dead)
    }

    /// Ends all nodes, whoever started them.
    async fn stop(&mut self) -> anyhow::Result<()> {
        // A stale list would lead others to nodes that are gone.
        match fs::remove_file(self.data_dir.join(ENDPOINTS_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let began = Instant::now();
        let mut told = Vec::new();
        loop {
            let running = self.running()?;
            if running.is_empty() {
                return Ok(());
            }
            let signal = if began.elapsed() > STOP_TIME_MAX { Signal::KILL } else { Signal::TERM };
            for pid in running {
                if !told.contains(&(pid, signal)) {
                    told.push((pid, signal));
                    // It may have ended in the meantime.
                    let _gone = kill_process(pid, signal);
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The nodes that run: the children, and those that somebody started again.
    fn running(&mut self) -> io::Result<Vec<Pid>> {
        let mut running: Vec<Pid> = self.nodes.iter().filter_map(|node| self.holder(node)).collect();
        for child in self.children.iter_mut().flatten() {
            if child.try_wait()?.is_none() {
                running.extend(Pid::from_raw(child.id() as i32));
            }
        }
        Ok(running)
    }

    fn holder(&self, node: &Node) -> Option<Pid> {
        let path = self.data_dir.join(&node.id);
        let pid = holder(&path)?;
        // The number is of use only if that process is this node.
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let is_it = command.split(|byte| *byte == 0).any(|word| Path::new(OsStr::from_bytes(word)) == path);
        if is_it { Pid::from_raw(pid) } else { None }
    }
}

/// The options that this process was given by variables, for the commands to hold all of them; but for those that differ
/// from node to node, which a command says itself.
fn inherited() -> anyhow::Result<Vec<String>> {
    let own = ["name", "region", "data-dir", "http", "peer", "advertise", "join", "faults"];
    let given = config::of_environment(env::vars_os())?;
    let inherited = given.into_iter().filter(|(flag, _)| !own.contains(flag));
    Ok(inherited.map(|(flag, text)| format!("--{flag}={text}")).collect())
}

/// Whether a node says that it is.
fn is_ready(http: &str) -> bool {
    let address: Option<SocketAddr> = http.strip_prefix("http://").and_then(|address| address.parse().ok());
    address.is_some_and(|address| ask_ready(&address).is_ok_and(|ready| ready))
}

fn ask_ready(address: &SocketAddr) -> io::Result<bool> {
    let time_max = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(address, time_max)?;
    stream.set_read_timeout(Some(time_max))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer == *b"HTTP/1.1 200")
}
