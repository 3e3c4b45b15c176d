//! A node's life: open, serve, look after the house, drain, close.

use crate::committer::Exits;
use crate::config::Config;
use crate::data_dir::{Aside, DataDir, DataDirError};
use crate::desk::{Desk, Desks};
use crate::door::Door;
use crate::driver::{self, Threads};
use crate::http::{App, Limits, Listener, State, runtimes};
use crate::identity::{Bundle, IdentityError, development};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::peers::{self, Member, PeerView, Peers, PeersThread, Standing};
use crate::refill::{self, NoPeer, Refill};
use crate::rocks::Rocks;
use crate::token::Tokens;
use anyhow::Context as _;
use hyper::header::HeaderValue;
use meridian_core::id::OriginId;
use meridian_core::node::{self, Input, Node};
use meridian_core::storage::StorageError;
use meridian_core::version_vector::ORIGINS_MAX;
use std::env;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How long connections may take to end their requests when the node is told to stop.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(7);
/// How many origins in one version vector are worth a warning.
const ORIGINS_WARNED: usize = ORIGINS_MAX / 5 * 4;
/// How long a signal that has come may take to be heard.
const HEAR: Duration = Duration::from_millis(1);
/// How often the free space on the disk is looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(250);

/// Runs a node until SIGTERM or SIGINT, or until its disk fails. One whose database is found to be damaged, and that knows
/// peers, starts anew in place: as the same process, by the same command.
///
/// # Errors
/// Why it could not start, or had to stop.
pub fn run(config: Config) -> anyhow::Result<()> {
    init_log(&config.log)?;
    match live(&config)? {
        Ending::Told => Ok(()),
        Ending::Damaged => Err(start_anew()),
    }
}

/// Why a node has ended, if nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It was told to.
    Told,
    /// Its database is damaged: the next start sets it aside.
    Damaged,
}

/// Runs this very command in place of this process; returns only if that fails. All files and sockets are closed by it.
fn start_anew() -> anyhow::Error {
    tracing::warn!("the database is damaged: the node starts anew, without it");
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_else(|| "meridian".into());
    let failed = match env::current_exe() {
        Ok(program) => std::process::Command::new(program).arg0(name).args(arguments).exec(),
        Err(error) => error,
    };
    anyhow::Error::from(failed)
        .context("the database is damaged, and the node could not start anew: start it again")
}

fn live(config: &Config) -> anyhow::Result<Ending> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (listener, address) = Listener::bind(config.http)?;
    let (socket, peer_address) = peers::bind(config.peer)?;
    let bundle = bundle(config)?;
    let mut data_dir = DataDir::open(&config.data_dir, &config.name)?;
    data_dir.enter(bundle.cluster.id)?;
    let core = core_config(config, &bundle);
    let run = driver::draw_origin()?;
    let (rocks, node) = open(config, &mut data_dir, &core, run)?;
    let (asides, lacks) = refill::unfinished(data_dir.asides()?)?;
    let data_dir = Arc::new(data_dir);
    let metrics =
        Arc::new(Metrics::new(&config.name, &config.region, config.zone.as_deref().unwrap_or_default()));
    let ended = Arc::new(Notify::new());
    let on_end = {
        let ended = ended.clone();
        move || ended.notify_one()
    };
    metrics.certificate_expires.set(bundle.expires as f64);
    let outbox = Arc::new(Outbox::new(metrics.peer_messages_dropped.clone()));
    let (desks, served) = Desks::new(runtimes());
    let exits = Exits { outbox: outbox.clone(), desks };
    let (door, threads) =
        driver::start(&core, node, &rocks, data_dir.clone(), metrics.clone(), exits, on_end.clone())?;
    warn_of_origins(&door);
    let tokens = Tokens::new(&bundle.cluster.secret);
    let setting = setting(config, bundle, run, peer_address, lacks);
    let (peers, peers_thread) =
        peers::start(setting, socket, door.clone(), outbox, data_dir.clone(), metrics.clone(), on_end)?;
    let house = House::new(config, data_dir, rocks.clone(), metrics, door, peers, tokens)?;
    house.keep();
    let mut signals = runtime.block_on(async { signals() })?;
    let http = (listener, served);
    let outcome = runtime.block_on(house.serve(config, http, asides, &mut signals, &ended, || {
        announce(config, address, peer_address);
    }));
    let ending = finish(config, house, threads, peers_thread, rocks, outcome)?;
    // A word that came while the node ended would be lost with this process.
    match ending == Ending::Damaged && runtime.block_on(is_told(&mut signals)) {
        true => Ok(Ending::Told),
        false => Ok(ending),
    }
}

/// The words that end a node: SIGTERM and SIGINT.
fn signals() -> std::io::Result<[Signal; 2]> {
    Ok([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?])
}

/// Whether the node was told to end and nobody has heard it yet.
async fn is_told([terminate, interrupt]: &mut [Signal; 2]) -> bool {
    tokio::select! {
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
        () = sleep(HEAR) => false,
    }
}

/// Opens the database and the node on it. What is damaged is set aside, if there are peers that may have what it holds, and an
/// empty one is opened in its place.
fn open(
    config: &Config,
    data_dir: &mut DataDir,
    core: &node::Config,
    run: OriginId,
) -> anyhow::Result<(Rocks, Node)> {
    loop {
        let opened = data_dir.open_database(config.cache_bytes).map_err(anyhow::Error::from);
        let opened = opened.and_then(|rocks| Ok((Node::open(core.clone(), &rocks, run)?, rocks)));
        let error = match opened {
            Ok((node, rocks)) => return Ok((rocks, node)),
            Err(error) => error,
        };
        match damage(&error) {
            Some(found) if knows_peers(config, data_dir)? => {
                let aside = data_dir.set_aside(&found)?;
                tracing::error!(
                    "the database is damaged: {found}. It was set aside, as {}: the node starts without it, and is filled by \
                     its peers",
                    aside.path.display()
                );
            }
            _ => return Err(error),
        }
    }
}

/// What is damaged, where a database is not opened for that.
fn damage(error: &anyhow::Error) -> Option<String> {
    let of_core = match error.downcast_ref::<node::OpenError>() {
        Some(node::OpenError::Storage(error @ StorageError::Corrupt { .. })) => Some(error.to_string()),
        Some(error @ (node::OpenError::PartOlder { .. } | node::OpenError::FormatMissing)) => {
            Some(error.to_string())
        }
        _ => None,
    };
    of_core.or_else(|| error.downcast_ref::<DataDirError>()?.damage())
}

/// Whether there are nodes that may have what this one has.
fn knows_peers(config: &Config, data_dir: &DataDir) -> Result<bool, DataDirError> {
    let members: Vec<Member> = data_dir.members()?;
    Ok(!config.join.is_empty() || members.iter().any(|member| member.name != config.name))
}

/// Who this node is.
fn bundle(config: &Config) -> Result<Bundle, IdentityError> {
    match &config.tls_dir {
        Some(directory) => Bundle::read(directory, &config.name),
        None => development::bundle(&development::directory(|name| env::var_os(name))?, &config.name),
    }
}

/// What core is told.
fn core_config(config: &Config, bundle: &Bundle) -> node::Config {
    node::Config {
        shards: config.shards,
        seed: bundle.cluster.digest_seed(),
        log_keep_bytes: config.log_keep_bytes,
        log_bytes_max: config.log_bytes_max,
        repair_bytes_per_s: config.repair_bytes_per_second,
        deep_check_ms: config.deep_check.as_millis() as u64,
        ..node::Config::default()
    }
}

fn setting(
    config: &Config,
    bundle: Bundle,
    run: OriginId,
    peer: SocketAddr,
    refills: bool,
) -> peers::Setting {
    peers::Setting {
        bundle,
        region: config.region.clone(),
        advertise: config.advertise.clone().unwrap_or_else(|| peer.to_string()),
        join: config.join.clone(),
        shards: config.shards.get(),
        run,
        faults: config.faults,
        refills,
    }
}

fn init_log(directives: &str) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(directives)
        .with_context(|| format!("--log {directives:?} is no filter: write a level, as info or debug"))?;
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    log.try_init().map_err(|error| anyhow::anyhow!("the log was set up twice: {error}"))
}

fn announce(config: &Config, address: SocketAddr, peer: SocketAddr) {
    if !address.ip().is_loopback() {
        tracing::warn!("HTTP at {address} is open to everyone who can reach it: there is no access control");
    }
    let (name, dir) = (&config.name, config.data_dir.display());
    tracing::info!("{name} serves http://{address} and peers at {peer}/udp, with its data in {dir}");
}

/// An origin is added at each start that writes, so a start is when to look.
fn warn_of_origins(door: &Door) {
    let origins = door.published().standings.origins_max();
    if origins >= ORIGINS_WARNED {
        tracing::warn!(
            origins,
            most = ORIGINS_MAX,
            "a shard has seen so many starts that its version vector is nearly full"
        );
    }
}

/// Ends everything; what that makes of the way in which the node's life went.
fn finish(
    config: &Config,
    house: House,
    threads: Threads,
    peers: PeersThread,
    rocks: Rocks,
    outcome: anyhow::Result<Why>,
) -> anyhow::Result<Ending> {
    let (conflict, data_dir, database) = (house.app.peers.conflict(), house.data_dir.clone(), rocks.clone());
    let closed = close(house, threads, peers, rocks);
    let corruptions = database.corruptions();
    drop(database);
    if let Some(conflict) = conflict {
        anyhow::bail!(conflict);
    }
    let why = match outcome {
        Err(error) if error.is::<NoPeer>() => {
            data_dir.put_back()?;
            return Err(error);
        }
        outcome => outcome?,
    };
    if corruptions > 0 && knows_peers(config, &data_dir)? {
        if !data_dir.has_found_damage() {
            let what = closed.as_ref().err().map_or("damage was read".into(), |error| format!("{error:#}"));
            data_dir.mark_damaged(&what).context("the damage cannot be noted")?;
        }
        if why != Why::Told {
            return Ok(Ending::Damaged);
        }
    }
    closed.map(|()| Ending::Told)
}

fn close(house: House, threads: Threads, peers: PeersThread, rocks: Rocks) -> anyhow::Result<()> {
    let began = Instant::now();
    let peers_ended = peers.stop();
    house.app.door.stop();
    let ended = threads.join();
    drop(house);
    let closed = rocks.close().context("the database could not be closed");
    // Why a thread has ended comes first: the database does not close for the same reason, then.
    ended?;
    closed?;
    peers_ended?;
    tracing::info!("stopped in good order after {:?}", began.elapsed());
    Ok(())
}

/// Why a node is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Somebody says so.
    Told,
    /// One of its threads has ended, or another process has its name.
    Ended,
    /// The database is damaged, and peers may have what it holds.
    Damaged,
}

/// What is looked after while the node runs.
struct House {
    app: Arc<App>,
    data_dir: Arc<DataDir>,
    rocks: Rocks,
    disk_reserve_bytes: u64,
    /// Whether `--join` names nodes.
    joins: bool,
}

impl House {
    fn new(
        config: &Config,
        data_dir: Arc<DataDir>,
        rocks: Rocks,
        metrics: Arc<Metrics>,
        door: Door,
        peers: Peers,
        tokens: Tokens,
    ) -> anyhow::Result<House> {
        let limits = Limits {
            connections_max: config.http_connections_max,
            bytes_in_flight_max: config.http_bytes_in_flight_max,
            header_time_max: config.http_header_timeout,
            idle_time_max: config.http_idle_timeout,
            body_time_max: config.http_body_timeout,
            value_bytes_max: config.value_bytes_max,
            loopback: config.http.ip().is_loopback(),
            cors_origins: config.http_cors_origins.clone(),
        };
        let served_by = HeaderValue::from_str(&format!("{};{}", config.name, config.region))
            .context("a node's name and region can stand in a header")?;
        let state = Arc::new(State::default());
        let app = App::new(door, peers, tokens, limits, metrics, state, served_by);
        let (disk_reserve_bytes, joins) = (config.disk_reserve_bytes, !config.join.is_empty());
        Ok(House { app: Arc::new(app), data_dir, rocks, disk_reserve_bytes, joins })
    }

    /// Serves until the node is to stop, and ends what is under way.
    ///
    /// # Errors
    /// The system's, and [`NoPeer`].
    async fn serve(
        &self,
        config: &Config,
        (listener, served): (TcpListener, Vec<Desk>),
        asides: Vec<Aside>,
        signals: &mut [Signal; 2],
        ended: &Notify,
        announce: impl FnOnce(),
    ) -> anyhow::Result<Why> {
        let App { state, door, .. } = &*self.app;
        let joins = self.joins && door.published().standings.origins_max() == 0;
        state.set_filling(joins || !asides.is_empty());
        let http = Listener::start(listener, &self.app, served)?;
        announce();
        let (timeout, path) = (config.refill_timeout, config.data_dir.clone());
        let refill = Refill { app: self.app.clone(), joins, asides, timeout, path };
        let why = tokio::select! {
            why = self.until_end(signals, ended) => Ok(why),
            Err(error) = refill.run(), if state.is_filling() => Err(error),
        };
        state.stop();
        tracing::info!("finishing what is under way");
        if !http.drain(DRAIN_TIME_MAX).await {
            tracing::warn!("some connections did not end within {DRAIN_TIME_MAX:?}: they are cut off");
        }
        why
    }

    /// Looks after the house until the node is to stop; why.
    async fn until_end(&self, [terminate, interrupt]: &mut [Signal; 2], ended: &Notify) -> Why {
        let mut ticks = interval(HOUSEKEEPING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (why, words) = tokio::select! {
                _ = terminate.recv() => (Why::Told, "SIGTERM"),
                _ = interrupt.recv() => (Why::Told, "SIGINT"),
                () = ended.notified() => (Why::Ended, "this node must not go on"),
                _ = ticks.tick() => {
                    self.keep();
                    match self.is_to_start_anew() {
                        true => (Why::Damaged, "the database is damaged"),
                        false => continue,
                    }
                }
            };
            tracing::info!("{words}");
            return why;
        }
    }

    /// Whether there is damage, and peers may have what it spoils. Without peers, what can be read is served.
    fn is_to_start_anew(&self) -> bool {
        self.data_dir.has_found_damage() && (self.joins || self.app.peers.view().len() > 1)
    }

    fn keep(&self) {
        let App { metrics, state, .. } = &*self.app;
        match self.data_dir.free_bytes() {
            Ok(free) => {
                metrics.disk_free.set(free as f64);
                self.note_disk(free);
            }
            Err(error) => tracing::error!(%error, "the free space on the disk cannot be read"),
        }
        let published = self.app.door.published();
        metrics.origins.set(published.standings.origins_max() as f64);
        // A replica with a damaged row is filled again, as soon as there is a peer that it can be filled from.
        for shard in published.standings.out_of_service() {
            match driver::draw_origin() {
                Ok(origin) => self.app.door.offer(Input::Refill { shard, origin }),
                Err(error) => tracing::error!(%error, "a damaged replica cannot be filled"),
            }
        }
        metrics.connections.set(state.connections() as f64);
        metrics.bytes_in_flight.set(self.app.bytes_in_flight() as f64);
        let members = self.app.peers.view();
        let connected = |view: &&PeerView| matches!(view.standing, Standing::Connected { .. });
        metrics.members.set(members.len() as f64);
        metrics.peers_connected.set(members.iter().filter(connected).count() as f64);
        match self.rocks.figures() {
            Ok(figures) => {
                metrics.disk_used.set(figures.disk_bytes as f64);
                metrics.memtable_bytes.set(figures.memtable_bytes as f64);
                metrics.cache_bytes.set(figures.cache_bytes as f64);
                metrics.background_errors.set(figures.background_errors as f64);
                metrics.write_stopped.set(f64::from(u8::from(figures.write_stopped)));
            }
            Err(error) => tracing::error!(%error, "the database does not tell its figures"),
        }
        metrics.corruptions.set(self.rocks.corruptions() as f64);
        metrics.fold();
    }

    fn note_disk(&self, free: u64) {
        let full = free < self.disk_reserve_bytes;
        self.app.metrics.disk_full.set(f64::from(u8::from(full)));
        if self.app.door.set_room(!full) {
            let reserve = self.disk_reserve_bytes;
            match full {
                true => tracing::error!(
                    free,
                    reserve,
                    "the disk is nearly full: writes are refused, and what peers send waits"
                ),
                false => tracing::info!(free, reserve, "there is room on the disk again: writes are taken"),
            }
        }
    }
}
