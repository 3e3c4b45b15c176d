//! The listener: accepts connections up to a limit, and hands each to one of the runtimes.

use super::App;
use super::connection;
use super::state::Open;
use super::wire::raw_problem;
use crate::desk::Desk;
use anyhow::Context as _;
use meridian_api::error::Code;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// How many threads serve HTTP: one a core, as reads need no other thread, up to eight.
pub fn runtimes() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get()).min(8)
}

/// The threads that serve HTTP.
pub struct Listener {
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Listener {
    /// Binds an address; the one that is bound, where the port was left open.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(address: SocketAddr) -> anyhow::Result<(StdListener, SocketAddr)> {
        let listener = StdListener::bind(address).with_context(|| {
            format!("{address} cannot be listened on: is another process there? (--http)")
        })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    /// Serves what comes to a bound address, on a thread for each desk.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(listener: StdListener, app: &Arc<App>, desks: Vec<Desk>) -> anyhow::Result<Listener> {
        let (stop, stopped) = watch::channel(false);
        let (mut senders, mut threads) = (Vec::new(), Vec::new());
        for desk in desks {
            let (sender, streams) = mpsc::unbounded_channel();
            senders.push(sender);
            let (app, stopped) = (Arc::new(app.at(&desk)), stopped.clone());
            let name = format!("http-{}", desk.number());
            threads.push(spawn(&name, async {
                tokio::spawn(desk.serve());
                serve(app, streams, stopped).await
            })?);
        }
        threads.push(spawn("http-accept", accept(listener, app.clone(), senders, stopped))?);
        Ok(Listener { threads, stop })
    }

    /// Stops accepting, and lets every connection end its request. Waits at most `time_max`; whether all ended.
    pub async fn drain(self, time_max: Duration) -> bool {
        // Nobody listens when all threads have ended, and that is well.
        let _nobody = self.stop.send(true);
        let ended = async {
            while self.threads.iter().any(|thread| !thread.is_finished()) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(time_max, ended).await.is_ok()
    }
}

/// A connection between two runtimes, counted.
type Accepted = (std::net::TcpStream, Open);

/// A thread with a runtime of its own, for one future.
fn spawn(
    name: &str,
    task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = thread::Builder::new().name(name.into()).spawn(move || {
        if let Err(error) = runtime.block_on(task) {
            tracing::error!("HTTP stopped: {error:#}");
        }
    })?;
    Ok(thread)
}

async fn accept(
    listener: StdListener,
    app: Arc<App>,
    runtimes: Vec<mpsc::UnboundedSender<Accepted>>,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    for index in 0.. {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return Ok(()),
        };
        match stream {
            Ok((stream, _)) if app.state.connections() >= app.limits.connections_max => {
                turn_away(&app, &stream);
            }
            Ok((stream, _)) => hand_over(&app, stream, &runtimes[index % runtimes.len()]),
            Err(error) => {
                // No file descriptor, or the client is gone already: later ones may do better.
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
    Ok(())
}

/// Moves a connection to the runtime that is to serve it.
fn hand_over(app: &App, stream: TcpStream, runtime: &mpsc::UnboundedSender<Accepted>) {
    match stream.into_std() {
        // A runtime that has ended is stopping, and the connection with it.
        Ok(stream) => drop(runtime.send((stream, Open::count(&app.state)))),
        Err(error) => tracing::warn!(%error, "a connection could not be handed over"),
    }
}

/// One word, without waiting for anything.
fn turn_away(app: &App, stream: &TcpStream) {
    app.metrics.connections_refused.increment(1);
    let word = raw_problem(Code::Overloaded, "too many connections are open: try again, or another node");
    // It may not be heard: then the end of the connection says it.
    let _unheard = stream.try_write(&word);
}

async fn serve(
    app: Arc<App>,
    mut streams: mpsc::UnboundedReceiver<Accepted>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            stream = streams.recv() => match stream {
                Some((stream, open)) => match TcpStream::from_std(stream) {
                    Ok(stream) => {
                        connections.spawn(connection::serve(app.clone(), stream, open, stopped.clone()));
                    }
                    Err(error) => tracing::warn!(%error, "a connection could not be taken over"),
                },
                None => break,
            },
            Some(ended) = connections.join_next() => report(ended),
        }
    }
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
    Ok(())
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panicked) = ended {
        tracing::error!("a connection ended by a bug of ours: {panicked}");
    }
}
