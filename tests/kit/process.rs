//! A node as a process: the binary as it ships, its own directory, a port of its own.

use crate::http::{Answer, Client};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a node may take to start or to end.
const TIME_MAX: Duration = Duration::from_secs(30);
/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(5);

/// The binary as it ships: built alone, so that nothing of the tests is in it. Built once for each test program.
///
/// # Panics
/// When it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("MERIDIAN_BIN") {
        Some(binary) => binary.into(),
        None => build().expect("the server builds"),
    })
}

fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository")?;
    let built = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--release", "--quiet", "--package", "meridian-server", "--bin", "meridian"])
        .status()?;
    ensure!(built.success(), "cargo build ended with {built}");
    // This test program lies in the target directory's release/deps.
    let own = std::env::current_exe()?;
    let release = own.parent().and_then(Path::parent).context("the target directory")?;
    Ok(release.join("meridian"))
}

/// A directory that is removed in the end.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A fresh one, named after a test.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("meridian-{name}-{}", std::process::id()));
        if path.exists() {
            std::fs::remove_dir_all(&path).expect("an old one can be removed");
        }
        std::fs::create_dir_all(&path).expect("a directory can be made");
        Scratch(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}

/// A free address that no other node of this test program was given: one that is down now may come back to its own.
fn unused(free: impl Fn() -> io::Result<SocketAddr>) -> io::Result<SocketAddr> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let address = free()?;
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address.port()) {
            return Ok(address);
        }
    }
}

/// Looks again and again until something is so.
///
/// # Panics
/// When it is not so after `time_max`, with what `seen` says then.
#[track_caller]
pub fn wait_until(time_max: Duration, mut is_so: impl FnMut() -> bool, seen: impl FnOnce() -> String) {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > time_max {
            panic!("not after {time_max:?}: {}", seen());
        }
        thread::park_timeout(PAUSE);
    }
}

/// A running node.
pub struct NodeProcess {
    name: String,
    child: Option<Child>,
    address: SocketAddr,
    peer: SocketAddr,
    directory: PathBuf,
    /// Where its user's files would be: nodes that share it are of one cluster.
    home: PathBuf,
    options: Vec<String>,
}

impl NodeProcess {
    /// Starts a node in `directory` (its data in `data`, its log in `log`), and waits until it is ready. It is of a
    /// cluster of its own.
    ///
    /// # Errors
    /// When it does not become ready; with what it said.
    pub fn start(directory: &Path, options: &[&str]) -> Result<NodeProcess> {
        let mut node = NodeProcess::prepare("n1", directory, &directory.join("home"), options)?;
        node.restart()?;
        Ok(node)
    }

    /// A node that is not started yet, on free ports.
    ///
    /// # Errors
    /// When the system gives no port or directory.
    pub fn prepare(name: &str, directory: &Path, home: &Path, options: &[&str]) -> Result<NodeProcess> {
        std::fs::create_dir_all(directory)?;
        let address = unused(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr())?;
        let peer = unused(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr())?;
        let options = options.iter().map(ToString::to_string).collect();
        let (name, directory, home) = (name.into(), directory.into(), home.into());
        Ok(NodeProcess { name, child: None, address, peer, directory, home, options })
    }

    /// Adds an option for its next start.
    pub fn add_option(&mut self, name: &str, value: &str) {
        self.options.push(format!("{name}={value}"));
    }

    /// Starts it again with the same command. It must not be running.
    ///
    /// # Errors
    /// As [`NodeProcess::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; with what it said.
    pub fn wait_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            if self.get("/readyz").is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            let ended = self.child.as_mut().context("it was started")?.try_wait()?;
            if let Some(status) = ended {
                self.child = None;
                bail!("the node ended with {status}: {}", self.log());
            }
            ensure!(began.elapsed() < TIME_MAX, "the node does not become ready: {}", self.log());
            thread::park_timeout(PAUSE);
        }
    }

    /// Starts it, without waiting. It must not be running.
    ///
    /// # Errors
    /// When it is running, or the system starts no process.
    pub fn spawn(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "it is running");
        let log = File::create(self.directory.join("log"))?;
        let child = Command::new(binary())
            .env("XDG_DATA_HOME", &self.home)
            .args(["start", "--name", &self.name])
            .args(["--http", &self.address.to_string(), "--peer", &self.peer.to_string()])
            .arg("--data-dir")
            .arg(self.data())
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts it and waits until it ends by itself: how, and what it said.
    ///
    /// # Errors
    /// When it goes on running.
    pub fn refuses_to_start(&mut self) -> Result<(ExitStatus, String)> {
        self.spawn()?;
        let status = self.wait()?;
        Ok((status, self.log()))
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens for peers.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        let mut text = String::new();
        let read = File::open(self.directory.join("log")).and_then(|mut file| file.read_to_string(&mut text));
        read.map_or_else(|error| format!("(no log: {error})"), |_| text)
    }

    /// A connection to it.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn client(&self) -> Result<Client> {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        self.client()?.request(method, target, headers, body)
    }

    /// A GET on a connection of its own.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn get(&self, target: &str) -> Result<Answer> {
        self.request("GET", target, &[], b"")
    }

    /// What a metric without labels counts.
    ///
    /// # Errors
    /// As [`Client::request`], and where there is no such metric.
    pub fn metric(&self, name: &str) -> Result<u64> {
        let page = self.get("/metrics")?.text();
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.with_context(|| format!("no {name} in {page}"))
    }

    /// Kills it at once, as a crash would.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("it is running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Tells it to stop, and waits until it has; how it ended.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal("-TERM")?;
        self.wait()
    }

    /// Stops it in its tracks: its connections stay, and it answers nothing until [`NodeProcess::go_on`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn freeze(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Ends what [`NodeProcess::freeze`] did.
    ///
    /// # Errors
    /// When it is not running.
    pub fn go_on(&self) -> Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let id = self.child.as_ref().context("it is running")?.id();
        let told = Command::new("kill").args([name, &id.to_string()]).status()?;
        ensure!(told.success(), "kill ended with {told}");
        Ok(())
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().context("it is running")?;
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > TIME_MAX {
                child.kill()?;
                bail!("the node goes on running: {}", self.log());
            }
            thread::park_timeout(PAUSE);
        }
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if self.child.is_some()
            && let Err(error) = self.kill()
        {
            eprintln!("a node could not be ended: {error:#}");
        }
    }
}
