//! A node's life: open, serve, look after the house, drain, close.

use crate::committer::Exits;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::desk::Desks;
use crate::driver::{self, Door, Threads};
use crate::http::{App, Limits, Listener, State, runtimes};
use crate::identity::{Bundle, IdentityError, development};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::peers::{self, PeerView, Peers, PeersThread, Standing};
use crate::published::ReplicaStanding;
use crate::rocks::Rocks;
use crate::token::Tokens;
use anyhow::Context as _;
use hyper::header::HeaderValue;
use meridian_core::id::OriginId;
use meridian_core::node::{self, Input};
use meridian_core::version_vector::ORIGINS_MAX;
use std::env;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

/// How long connections may take to end their requests when the node is told to stop.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(7);
/// How many origins in one version vector are worth a warning.
const ORIGINS_WARNED: usize = ORIGINS_MAX / 5 * 4;
/// How often the free space on the disk is looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(250);
/// How often a node that is being filled looks whether it is.
const FILL_CHECK: Duration = Duration::from_millis(50);
/// How long a peer may then take to say what it has.
const FILL_TIME_MAX: Duration = Duration::from_secs(5);

/// Runs a node until SIGTERM or SIGINT, or until its disk fails.
///
/// # Errors
/// Why it could not start, or had to stop.
pub fn run(config: Config) -> anyhow::Result<()> {
    init_log(&config.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (listener, address) = Listener::bind(config.http)?;
    let (socket, peer_address) = peers::bind(config.peer)?;
    let bundle = bundle(&config)?;
    let data_dir = Arc::new(DataDir::open(&config.data_dir, &config.name)?);
    data_dir.enter(bundle.cluster.id)?;
    let rocks = data_dir.open_database(config.cache_bytes)?;
    let metrics =
        Arc::new(Metrics::new(&config.name, &config.region, config.zone.as_deref().unwrap_or_default()));
    let ended = Arc::new(Notify::new());
    let on_end = {
        let ended = ended.clone();
        move || ended.notify_one()
    };
    metrics.certificate_expires.set(bundle.expires as f64);
    let outbox = Arc::new(Outbox::new(metrics.peer_messages_dropped.clone()));
    let core = core_config(&config, &bundle);
    let run = driver::draw_origin()?;
    let (desks, served) = Desks::new(runtimes());
    let exits = Exits { outbox: outbox.clone(), desks };
    let (door, threads) =
        driver::start(&core, run, &rocks, data_dir.clone(), metrics.clone(), exits, on_end.clone())?;
    warn_of_origins(&door);
    let tokens = Tokens::new(&bundle.cluster.secret);
    let setting = setting(&config, bundle, run, peer_address);
    let (peers, peers_thread) =
        peers::start(setting, socket, door.clone(), outbox, data_dir.clone(), metrics.clone(), on_end)?;
    let house = House::new(&config, data_dir, rocks.clone(), metrics, door, peers, tokens)?;
    house.keep();
    let outcome = runtime.block_on(async {
        let mut signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let http = Listener::start(listener, &house.app, served)?;
        announce(&config, address, peer_address);
        if house.app.state.is_filling() {
            tokio::spawn(fill(house.app.clone()));
        }
        let why = house.until_end(&mut signals, &ended).await;
        house.app.state.stop();
        tracing::info!("{why}: finishing what is under way");
        if !http.drain(DRAIN_TIME_MAX).await {
            tracing::warn!("some connections did not end within {DRAIN_TIME_MAX:?}: they are cut off");
        }
        anyhow::Ok(())
    });
    let conflict = house.app.peers.conflict();
    close(house, threads, peers_thread, rocks)?;
    match conflict {
        Some(conflict) => Err(anyhow::anyhow!(conflict)),
        None => outcome,
    }
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

fn setting(config: &Config, bundle: Bundle, run: OriginId, peer: SocketAddr) -> peers::Setting {
    peers::Setting {
        bundle,
        region: config.region.clone(),
        advertise: config.advertise.clone().unwrap_or_else(|| peer.to_string()),
        join: config.join.clone(),
        shards: config.shards.get(),
        run,
        faults: config.faults,
    }
}

/// An empty node that joins others serves when it has all that one of them had.
async fn fill(app: Arc<App>) {
    let mut ticks = interval(FILL_CHECK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while app.state.is_filling() {
        ticks.tick().await;
        for peer in app.peers.met() {
            if let Ok(theirs) = app.peers.vectors(peer, FILL_TIME_MAX).await
                && has_all(&app.door, &theirs)
            {
                app.state.set_filling(false);
                tracing::info!("the node has what the cluster holds: it serves");
            }
        }
    }
}

fn has_all(door: &Door, theirs: &[ReplicaStanding]) -> bool {
    let published = door.published();
    let mut both = published.standings.all().zip(theirs);
    both.all(|(own, theirs)| !theirs.in_service || own.vector.includes(&theirs.vector))
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

fn close(house: House, threads: Threads, peers: PeersThread, rocks: Rocks) -> anyhow::Result<()> {
    let began = Instant::now();
    let peers_ended = peers.stop();
    house.app.door.stop();
    let ended = threads.join();
    drop(house);
    rocks.close().context("the database could not be closed")?;
    ended?;
    peers_ended?;
    tracing::info!("stopped in good order after {:?}", began.elapsed());
    Ok(())
}

/// What is looked after while the node runs.
struct House {
    app: Arc<App>,
    data_dir: Arc<DataDir>,
    rocks: Rocks,
    disk_reserve_bytes: u64,
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
        let is_empty = door.published().standings.origins_max() == 0;
        state.set_filling(is_empty && !config.join.is_empty());
        let app = App::new(door, peers, tokens, limits, metrics, state, served_by);
        Ok(House { app: Arc::new(app), data_dir, rocks, disk_reserve_bytes: config.disk_reserve_bytes })
    }

    /// Looks after the house until the node is to stop; why.
    async fn until_end(&self, [terminate, interrupt]: &mut [Signal; 2], ended: &Notify) -> &'static str {
        let mut ticks = interval(HOUSEKEEPING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = terminate.recv() => return "SIGTERM",
                _ = interrupt.recv() => return "SIGINT",
                () = ended.notified() => return "this node must not go on",
                _ = ticks.tick() => self.keep(),
            }
        }
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
        if self.app.state.set_disk_full(full) {
            let reserve = self.disk_reserve_bytes;
            match full {
                true => tracing::error!(free, reserve, "the disk is nearly full: writes are refused"),
                false => tracing::info!(free, reserve, "there is room on the disk again: writes are taken"),
            }
        }
    }
}
