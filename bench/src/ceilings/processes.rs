//! The processes that are measured: a node, the echo, and the disk's ceiling, which runs once a round.

use crate::options::CeilingOptions;
use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a process may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(20);

/// What `meridian ceiling disk` measured.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Disk {
    pub(super) writes_per_second: f64,
    pub(super) batches_per_second: f64,
    pub(super) writes_in_a_batch: u64,
    pub(super) fdatasync_ms: f64,
    pub(super) fdatasync_p99_ms: f64,
}

/// Running processes; they end with this value.
pub(super) struct Processes {
    binary: PathBuf,
    directory: TempDir,
    node: Server,
    echo: Server,
}

/// A process that listens. It is killed when this is dropped.
struct Server {
    child: Child,
    url: String,
}

impl Processes {
    /// Starts a node and an echo, and waits until both listen.
    pub(super) fn start(options: &CeilingOptions) -> anyhow::Result<Processes> {
        let binary =
            options.bin.canonicalize().with_context(|| format!("--bin {}", options.bin.display()))?;
        let place = options.data_dir.clone().unwrap_or_else(std::env::temp_dir);
        let directory = tempfile::Builder::new()
            .prefix("meridian-bench-")
            .tempdir_in(&place)
            .with_context(|| format!("--data-dir {}", place.display()))?;
        let echo = {
            let mut command = Command::new(&binary);
            command.args(["ceiling", "http", "--value-bytes", &options.value_bytes.to_string()]);
            Server::start(command)?
        };
        let mut command = Command::new(&binary);
        // Certificates of its own: nothing of the user's is touched.
        command.env("XDG_DATA_HOME", directory.path());
        command.args([
            OsStr::new("start"),
            OsStr::new("--log"),
            OsStr::new("warn"),
            OsStr::new("--data-dir"),
        ]);
        command.arg(directory.path().join("node")).args(["--peer", "127.0.0.1:0"]);
        let node = Server::start(command)?;
        Ok(Processes { binary, directory, node, echo })
    }

    /// The node's URL.
    pub(super) fn node(&self) -> &str {
        &self.node.url
    }

    /// The echo's URL.
    pub(super) fn echo(&self) -> &str {
        &self.echo.url
    }

    /// What the binary says of itself.
    pub(super) fn version(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8(output(Command::new(&self.binary).arg("--version"))?)?.trim().to_owned())
    }

    /// Measures the disk, in a directory of its own beside the node's.
    pub(super) fn disk(&self, options: &CeilingOptions, round: u32) -> anyhow::Result<Disk> {
        let seconds = options.duration.as_secs().max(1);
        let directory = self.directory.path().join(format!("disk-{round}"));
        let mut command = Command::new(&self.binary);
        command.args(["ceiling", "disk", "--json", "--data-dir"]).arg(&directory);
        for (option, number) in [
            ("--value-bytes", options.value_bytes as u64),
            ("--keys", options.keys),
            ("--batch", options.connections as u64),
            ("--seconds", seconds),
        ] {
            command.args([option, &number.to_string()]);
        }
        let figures = serde_json::from_slice(&output(&mut command)?)?;
        std::fs::remove_dir_all(&directory)?;
        Ok(figures)
    }

    /// Ends the processes and removes what they wrote.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        let Processes { directory, node, echo, .. } = self;
        drop((node, echo));
        Ok(directory.close()?)
    }
}

impl Server {
    /// Starts a command that takes `--http`, and waits until it listens there.
    fn start(mut command: Command) -> anyhow::Result<Server> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        command.args(["--http", &address.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("{command:?} does not start"))?;
        let mut server = Server { child, url: format!("http://{address}") };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{command:?} has ended: {status}");
            }
            ensure!(began.elapsed() < START_TIME_MAX, "{command:?} does not listen after {START_TIME_MAX:?}");
            thread::park_timeout(LOOK);
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended
            && error.kind() != io::ErrorKind::InvalidInput
        {
            eprintln!("meridian-bench: process {} could not be ended: {error}", self.child.id());
        }
    }
}

/// What a command prints, which must end well.
fn output(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{command:?} has ended: {}", output.status);
    Ok(output.stdout)
}
