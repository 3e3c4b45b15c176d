//! The other nodes: who they are, the connections to them, and what travels over these.
//!
//! ```text
//!   dial ----\                      /-- messages --> the driver's door
//!             >-- hello --> link --<--- the member list
//!   answer --/                      \-- the outbox's messages, requests
//! ```
//!
//! - Two nodes have one connection, whoever dialled. The one with the smaller id dials; the other does so too when it has
//!   waited a while, as it may know of the first what the first does not know of it. Of two connections that meet, the
//!   one that the smaller id dialled stays.
//! - A peer from which nothing is heard for [`PEER_SILENCE_MAX`] is closed, and dialled afresh every few hundred
//!   milliseconds for as long as it is a member: QUIC's own back-off never decides when it is back.
//! - All of it runs on one thread. It never touches the database, and never waits for the driver but by not reading
//!   further.

#[cfg(any(test, fuzzing))]
mod decoders;
mod dial;
mod endpoint;
mod faults;
mod frame;
mod hello;
mod inspect;
mod link;
mod members;
mod table;

#[cfg(any(test, fuzzing))]
pub(crate) use decoders::DECODERS;
pub use link::Vectors;
pub use members::Member;
pub use table::{PeerView, Standing};

use crate::data_dir::DataDir;
use crate::door::Door;
use crate::identity::Bundle;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use anyhow::Context as _;
use endpoint::Wire;
use faults::Cuts;
use hello::{Close, Greeter};
use members::Members;
use meridian_core::id::{NodeId, OriginId};
use meridian_core::name::{Bucket, Key};
use meridian_core::node::Input;
use meridian_core::replica::inspect::Inspection;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use table::Table;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How long a peer may be silent before it is taken for unreachable.
pub const PEER_SILENCE_MAX: Duration = Duration::from_secs(3);
/// How long to wait before dialling again, in milliseconds: somewhere in this range.
const REDIAL: Range<u64> = 250..500;
/// How often core hears that time has passed.
const TICK: Duration = Duration::from_millis(100);
/// Memory for what peers sent and the driver has not decided about, in bytes. Beyond it they are not read.
const RECEIVED_BYTES_MAX: usize = 32 << 20;
/// How long the last words of a node that stops may take.
const FAREWELL_TIME_MAX: Duration = Duration::from_millis(500);

/// What a node is told of itself and of its peers.
pub struct Setting {
    /// Who it is.
    pub bundle: Bundle,
    /// The place that it is in.
    pub region: String,
    /// Where peers reach it: host and port.
    pub advertise: String,
    /// Nodes to be met: host and port.
    pub join: Vec<String>,
    /// How many shards its data has.
    pub shards: u16,
    /// This run.
    pub run: OriginId,
    /// Whether links may be cut.
    pub faults: bool,
    /// Whether the node lacks what its damaged database held: until it is refilled, no peer is to take it for whole.
    pub refills: bool,
}

/// The peers, for any number of threads.
#[derive(Clone)]
pub struct Peers(Arc<Shared>);

/// What all tasks share.
struct Shared {
    own: NodeId,
    greeter: Greeter,
    join: Vec<String>,
    door: Door,
    outbox: Arc<Outbox>,
    data_dir: Arc<DataDir>,
    metrics: Arc<Metrics>,
    wire: Wire,
    cuts: Option<Arc<Cuts>>,
    table: Mutex<Table>,
    /// Peers that come and go, in order. What waits for one to be told drops its sender then.
    events: mpsc::UnboundedSender<(Input, Option<oneshot::Sender<()>>)>,
    memory: Arc<Semaphore>,
    /// Whether the node lacks what its damaged database held.
    refills: AtomicBool,
    on_conflict: Box<dyn Fn() + Send + Sync>,
}

/// The thread behind [`Peers`].
pub struct PeersThread {
    thread: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl PeersThread {
    /// Tells the peers that the node stops, and ends the thread.
    ///
    /// # Errors
    /// When it has panicked.
    pub fn stop(self) -> anyhow::Result<()> {
        // Nobody listens when the thread has ended.
        let _ended = self.stop.send(true);
        self.thread.join().map_err(|_| anyhow::anyhow!("the peers' thread panicked"))
    }
}

/// Binds the address for peers; the one that is bound, where the port was left open.
///
/// # Errors
/// When the address cannot be had.
pub fn bind(address: SocketAddr) -> anyhow::Result<(UdpSocket, SocketAddr)> {
    let socket = endpoint::bind(address)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// Meets the peers, on a thread of its own. `on_conflict` is called when another process runs under this name.
///
/// # Errors
/// When the identity cannot be used, or the member list cannot be read.
pub fn start(
    setting: Setting,
    socket: UdpSocket,
    door: Door,
    outbox: Arc<Outbox>,
    data_dir: Arc<DataDir>,
    metrics: Arc<Metrics>,
    on_conflict: impl Fn() + Send + Sync + 'static,
) -> anyhow::Result<(Peers, PeersThread)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cuts = setting.faults.then(Arc::<Cuts>::default);
    let wire = {
        let _within = runtime.enter();
        endpoint::listen(&setting.bundle, socket, cuts.clone())?
    };
    let kept = data_dir.members().context("the member list cannot be read")?;
    let members = Members::new(kept, own_entry(&setting));
    data_dir.keep_members(members.all()).context("the member list cannot be written")?;
    let own = setting.bundle.node();
    let greeter = Greeter { cluster: setting.bundle.cluster, shards: setting.shards, run: setting.run };
    let (events, heard) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        own,
        greeter,
        join: setting.join,
        door,
        outbox,
        data_dir,
        metrics,
        wire,
        cuts,
        table: Mutex::new(Table::new(members)),
        events,
        memory: Arc::new(Semaphore::new(RECEIVED_BYTES_MAX)),
        refills: AtomicBool::new(setting.refills),
        on_conflict: Box::new(on_conflict),
    });
    shared.tell_driver(&shared.table());
    let (stop, stopped) = watch::channel(false);
    let peers = Peers(shared.clone());
    let thread = thread::Builder::new()
        .name("peers".into())
        .spawn(move || runtime.block_on(shared.live(heard, stopped)))?;
    Ok((peers, PeersThread { thread, stop }))
}

fn own_entry(setting: &Setting) -> Member {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    Member {
        name: setting.bundle.name.clone(),
        id: uuid::Uuid::from_u128(setting.bundle.node().0),
        region: setting.region.clone(),
        address: setting.advertise.clone(),
        version: since_1970.unwrap_or_default().as_millis() as u64,
    }
}

impl Peers {
    /// The cluster's name.
    pub fn cluster(&self) -> uuid::Uuid {
        self.0.greeter.cluster.id
    }

    /// All members that this node knows, and how it stands with each.
    pub fn view(&self) -> Vec<PeerView> {
        let (own, outbox) = (self.0.own, &self.0.outbox);
        self.0.table().view(own, |peer| outbox.bytes(peer))
    }

    /// What a peer has applied of every shard, durably.
    ///
    /// # Errors
    /// When it cannot be reached or does not answer in time; in words.
    pub async fn vectors(&self, peer: NodeId, time_max: Duration) -> Result<Vectors, String> {
        let connection = self.0.table().connection(peer).ok_or("there is no connection")?;
        match timeout(time_max, link::ask_vectors(&connection)).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("it does not answer within {time_max:?}")),
        }
    }

    /// How a peer's replica has a key, in its newest durable state.
    ///
    /// # Errors
    /// When it cannot be reached or does not answer in time; in words.
    pub async fn inspect(
        &self,
        peer: NodeId,
        bucket: &Bucket,
        key: &Key,
        time_max: Duration,
    ) -> Result<Inspection, String> {
        let connection = self.0.table().connection(peer).ok_or("there is no connection")?;
        match timeout(time_max, inspect::ask(&connection, bucket, key)).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("it does not answer within {time_max:?}")),
        }
    }

    /// This node, as its peers call it.
    pub fn own(&self) -> NodeId {
        self.0.own
    }

    /// The node has again what its damaged database held: peers may be filled by it.
    pub fn set_refilled(&self) {
        self.0.refills.store(false, Ordering::Relaxed);
    }

    /// The members that are connected.
    pub fn connected(&self) -> Vec<NodeId> {
        let table = self.0.table();
        let members = table.members.others().map(Member::node);
        members.filter(|peer| table.connection(*peer).is_some()).collect()
    }

    /// Of the nodes that `--join` names, those that are connected.
    pub fn met(&self) -> Vec<NodeId> {
        let table = self.0.table();
        table.met().filter(|peer| table.connection(*peer).is_some()).collect()
    }

    /// Drops all packets to and from these members, and no others, until it is called again. `None` where links cannot
    /// be cut.
    ///
    /// # Errors
    /// The name that no other member has, or whose address is not one that can be cut.
    pub fn cut(&self, names: &[String]) -> Option<Result<(), String>> {
        let cuts = self.0.cuts.as_ref()?;
        let table = self.0.table();
        let address = |name: &String| {
            let member = table.members.others().find(|member| member.name == *name);
            member.and_then(|member| member.address.parse().ok()).ok_or_else(|| name.clone())
        };
        let addresses: Result<BTreeSet<SocketAddr>, String> = names.iter().map(address).collect();
        Some(addresses.map(|addresses| cuts.set(addresses)))
    }

    /// Why this node must not go on, if another process runs under its name.
    pub fn conflict(&self) -> Option<String> {
        self.0.table().conflict.clone()
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        // No code that holds the lock can panic half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn live(
        self: Arc<Self>,
        mut heard: mpsc::UnboundedReceiver<(Input, Option<oneshot::Sender<()>>)>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let door = self.door.clone();
        tokio::spawn(async move {
            while let Some((event, told)) = heard.recv().await {
                door.tell(event, None).await;
                drop(told);
            }
        });
        tokio::spawn(self.clone().tick());
        tokio::spawn(self.clone().dial());
        let accepting = self.clone();
        tokio::spawn(async move {
            while let Some(incoming) = accepting.wire.endpoint.accept().await {
                tokio::spawn(accepting.clone().answer(incoming));
            }
        });
        // The sender's end is an order to stop as well.
        let _order = stopped.wait_for(|stop| *stop).await;
        self.wire.endpoint.close(Close::Stopping.code(), Close::Stopping.words().as_bytes());
        // Peers that do not hear it find out by the silence.
        let _unheard = timeout(FAREWELL_TIME_MAX, self.wire.endpoint.wait_idle()).await;
    }

    async fn tick(self: Arc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.door.wake();
        }
    }

    async fn dial(self: Arc<Self>) {
        loop {
            self.dial_who_is_due();
            sleep(jitter()).await;
        }
    }

    /// Takes in what a peer knows of members, keeps it, and passes on what is new.
    fn hear_of(&self, told: &[Member]) {
        let mut table = self.table();
        if !table.members.join(told, &self.greeter.cluster) {
            return;
        }
        if let Err(error) = self.data_dir.keep_members(table.members.all()) {
            tracing::error!(%error, "the member list cannot be written");
        }
        let members = table.members.all().to_vec();
        tracing::info!(members = members.len(), "the member list has changed");
        for connection in table.connections() {
            tokio::spawn(link::tell_members(connection, members.clone()));
        }
        self.tell_driver(&table);
    }

    /// The node learns who the other members are.
    fn tell_driver(&self, table: &Table) {
        let others = table.members.others().map(Member::node).collect();
        // The far end of the channel lives as long as this runtime.
        let _ending = self.events.send((Input::Members(others), None));
    }
}

fn jitter() -> Duration {
    let mut byte = [128];
    // Without chance the middle does.
    let _fixed = SystemRandom::new().fill(&mut byte);
    let width = REDIAL.end - REDIAL.start;
    Duration::from_millis(REDIAL.start + width * u64::from(byte[0]) / 256)
}
