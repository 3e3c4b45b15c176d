//! Filling: a node that came empty and joins others, or whose damaged database was set aside, serves when it has what they
//! hold; and what can still be read of the damaged one is handed over to it.
//!
//! ```text
//! the database is damaged --> set aside, started empty --> filled by peers --> handed over --> serves
//!                                      |
//!                                      \-- no peer is found: put back, and the node ends with words
//! ```
//!
//! - Until it serves, it answers nobody about keys, and tells its peers that its replicas are out of service: two nodes that
//!   both lost everything do not take each other for whole.
//! - A shard is filled when some peer that has it in service has nothing of it that is lacking here.
//! - The hand-over comes before the node serves, so that no client misses a write that this node had acknowledged and that
//!   can still be read. It goes the way of a peer's deltas: core drops what it has, and parks what waits.

use crate::data_dir::{Aside, DataDirError};
use crate::door::Door;
use crate::http::App;
use crate::peers::Vectors;
use crate::rocks::Damaged;
use anyhow::Context as _;
use meridian_core::delta::Delta;
use meridian_core::id::{NodeId, ShardId};
use meridian_core::node::Input;
use meridian_core::salvage::{Salvaged, Survey};
use meridian_core::version_vector::VersionVector;
use std::mem;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};

/// How often a node that is being filled looks whether it is.
const CHECK: Duration = Duration::from_millis(50);
/// How long a peer may then take to say what it has.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of deltas that are handed over together. A longer delta goes alone.
const PORTION_BYTES_MAX: usize = 256 << 10;
/// Bytes of deltas on their way to the node: about four portions.
const ON_THE_WAY_BYTES_MAX: u32 = 1 << 20;
/// How long it may take until what was handed over is durable. If it takes longer, the next start hands over again.
const DURABLE_TIME_MAX: Duration = Duration::from_secs(30);

/// No peer was found that could refill the node.
#[derive(Debug, thiserror::Error)]
#[error(
    "the database in {path} is damaged: {found}. Other nodes may have what it holds, and none that is whole was reached within \
     {waited:?}: the database is as it was, under its old name. Start another node of the cluster, and this one again; or \
     restore a backup of the directory; or move it away and start on an empty one: what no other node has is lost then",
    path = .path.display()
)]
pub struct NoPeer {
    /// The data directory.
    pub path: PathBuf,
    /// What is damaged.
    pub found: String,
    /// How long one was looked for.
    pub waited: Duration,
}

/// What a node waits for before it serves.
pub struct Refill {
    /// The node's.
    pub app: Arc<App>,
    /// Whether it came empty and is to join others.
    pub joins: bool,
    /// The databases that were set aside and are not handed over yet, the latest last.
    pub asides: Vec<Aside>,
    /// How long to look for a peer if a database was set aside and the one in its place is empty.
    pub timeout: Duration,
    /// The data directory, for words.
    pub path: PathBuf,
}

/// The databases that a node has still to do with, if there are any, and whether it lacks what peers have.
///
/// # Errors
/// The disk's.
pub fn unfinished(asides: Vec<Aside>) -> Result<(Vec<Aside>, bool), DataDirError> {
    let (mut unfinished, mut lacks) = (Vec::new(), false);
    for aside in asides {
        if !aside.is_handed_over()? {
            lacks |= !aside.is_filled()?;
            unfinished.push(aside);
        }
    }
    Ok((unfinished, lacks))
}

impl Refill {
    /// Waits until the node has what it is to have, and lets it serve.
    ///
    /// # Errors
    /// [`NoPeer`]: the node holds nothing, and the database that was set aside last is to be put back.
    pub async fn run(self) -> anyhow::Result<()> {
        let (_, lacks) = unfinished(self.asides.clone())?;
        if lacks || self.joins {
            self.fill(lacks).await?;
        }
        for aside in &self.asides {
            if !aside.is_filled()? {
                aside.note_filled()?;
            }
            let (app, taken) = (self.app.clone(), aside.clone());
            let handed_over = tokio::task::spawn_blocking(move || hand_over(&app, &taken)).await?;
            if let Err(error) = handed_over {
                self.app.metrics.unreadable.increment(1.0);
                let place = aside.path.display();
                tracing::error!(
                    "what {place} still holds was not handed over: {error:#}. The next start tries again"
                );
            }
        }
        self.app.peers.set_refilled();
        self.app.state.set_filling(false);
        tracing::info!("the node has what the cluster holds: it serves");
        Ok(())
    }

    async fn fill(&self, lacks: bool) -> anyhow::Result<()> {
        let (mut ticks, mut alone_since, mut told) = (interval(CHECK), Instant::now(), Instant::now());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let whole = self.whole_peers(lacks).await;
            if is_filled(&self.app.door, &whole) {
                return Ok(());
            }
            if !whole.is_empty() || !lacks {
                alone_since = Instant::now();
            }
            if alone_since.elapsed() >= self.timeout {
                self.give_up()?;
                alone_since = Instant::now();
            }
            if told.elapsed() >= self.timeout {
                tracing::warn!(peers = whole.len(), "the node is not filled yet, and does not serve");
                told = Instant::now();
            }
        }
    }

    /// What those peers have that have anything in service. A node that lacks what it had asks whom it reaches; one that came
    /// empty asks those that it was told to join, for others may have come empty too.
    async fn whole_peers(&self, lacks: bool) -> Vec<Vectors> {
        let peers = &self.app.peers;
        let asked = if lacks { peers.connected() } else { peers.met() };
        let mut whole = Vec::new();
        for peer in asked {
            if let Ok(theirs) = peers.vectors(peer, ANSWER_TIME_MAX).await
                && theirs.iter().any(|theirs| theirs.in_service)
            {
                whole.push(theirs);
            }
        }
        whole
    }

    /// There is no peer. A node that holds nothing ends; one that was partly filled goes on looking.
    fn give_up(&self) -> anyhow::Result<()> {
        let is_empty = self.app.door.published().standings.origins_max() == 0;
        let found = self.asides.last().map(Aside::found).transpose()?.unwrap_or_default();
        if is_empty {
            return Err(NoPeer { path: self.path.clone(), found, waited: self.timeout }.into());
        }
        let waited = self.timeout;
        tracing::error!(
            "no peer that is whole was reached for {waited:?}: this node goes on looking, and does not serve"
        );
        Ok(())
    }
}

/// Whether each shard is in service at some peer that has nothing of it that is lacking here.
fn is_filled(door: &Door, peers: &[Vectors]) -> bool {
    let published = door.published();
    let mut own = published.standings.all().enumerate();
    own.all(|(shard, own)| {
        let mut theirs = peers.iter().filter_map(|peer| peer.get(shard));
        own.in_service && theirs.any(|theirs| theirs.in_service && own.vector.includes(&theirs.vector))
    })
}

// -- the hand-over ------------------------------------------------------------------------------------------------------

/// Hands over what can be read of a database that was set aside and is lacking here. It takes as long as reading its log.
fn hand_over(app: &App, aside: &Aside) -> anyhow::Result<()> {
    let began = Instant::now();
    wait_for_room(app)?;
    let disk = Damaged::open(&aside.path).context("it does not open, not even for reading what is left")?;
    let shards = app.door.published().standings.all().count();
    let shards = (0..shards).map(|shard| ShardId(shard as u16));
    let mut survey = Survey::begin(&disk);
    for shard in shards.clone() {
        anyhow::ensure!(app.state.is_serving(), "the node stops");
        survey.look(&disk, shard);
    }
    let unreadable = survey.unreadable(&disk);
    app.metrics.unreadable.increment(unreadable as f64);
    let mut way = Way::to(&app.door, app.peers.own());
    let (mut given, mut waiting, mut wanted) = (0, 0, Vec::new());
    for shard in shards {
        wait_for_room(app)?;
        let give = |delta| match app.state.is_serving() {
            true => {
                way.take(shard, delta);
                ControlFlow::Continue(())
            }
            false => ControlFlow::Break(()),
        };
        let salvaged = give_shard(app, &disk, &survey, shard, give).context("the node stops")?;
        way.send(shard);
        app.metrics.handed_over.increment(salvaged.given + salvaged.waiting);
        (given, waiting) = (given + salvaged.given, waiting + salvaged.waiting);
        wanted.push(salvaged.vector);
    }
    wait_durable(app, &wanted)?;
    let what = format!("{given} deltas were handed over, and {unreadable} rows of the log cannot be read");
    let (place, took) = (aside.path.display(), began.elapsed());
    tracing::warn!("of {place}, {what}, after {took:?}");
    if waiting > 0 {
        tracing::error!(
            "{waiting} more deltas of {place} wait for some that cannot be read; if a peer has these, they come into their \
             own. The next start hands them over again"
        );
        return Ok(());
    }
    tracing::info!("{place} is not needed any more, and can be removed");
    Ok(aside.note_handed_over(&what)?)
}

/// Waits until the disk has room for more.
fn wait_for_room(app: &App) -> anyhow::Result<()> {
    while !app.door.has_room() {
        anyhow::ensure!(app.state.is_serving(), "the node stops");
        thread::park_timeout(CHECK);
    }
    Ok(())
}

fn give_shard(
    app: &App,
    disk: &Damaged,
    survey: &Survey,
    shard: ShardId,
    mut give: impl FnMut(Delta) -> ControlFlow<()>,
) -> Option<Salvaged> {
    let published = app.door.published();
    let have = published.standings.all().nth(usize::from(shard.0))?;
    survey.give(disk, shard, &have.vector, &mut give).continue_value()
}

/// The way of deltas to the node: in portions, of which few are under way.
struct Way<'a> {
    door: &'a Door,
    own: NodeId,
    runtime: Handle,
    room: Arc<Semaphore>,
    portion: Vec<Arc<Delta>>,
    bytes: usize,
}

impl Way<'_> {
    fn to(door: &Door, own: NodeId) -> Way<'_> {
        let room = Arc::new(Semaphore::new(ON_THE_WAY_BYTES_MAX as usize));
        Way { door, own, runtime: Handle::current(), room, portion: Vec::new(), bytes: 0 }
    }

    fn take(&mut self, shard: ShardId, delta: Delta) {
        let size = delta.size();
        if self.bytes + size > PORTION_BYTES_MAX {
            self.send(shard);
        }
        self.bytes += size;
        self.portion.push(Arc::new(delta));
    }

    /// Sends what was taken, when there is room.
    fn send(&mut self, shard: ShardId) {
        if self.portion.is_empty() {
            return;
        }
        let bytes = u32::try_from(self.bytes).unwrap_or(u32::MAX).clamp(1, ON_THE_WAY_BYTES_MAX);
        let deltas = mem::take(&mut self.portion);
        self.bytes = 0;
        self.runtime.block_on(async {
            let room = self.room.clone().acquire_many_owned(bytes).await;
            let room = room.expect("the semaphore is never closed");
            self.door.tell(Input::HandOver { own: self.own, shard, deltas }, Some(room)).await;
        });
    }
}

/// Waits until the node has durably what it is wanted to have of each shard.
fn wait_durable(app: &App, wanted: &[VersionVector]) -> anyhow::Result<()> {
    let mut began = Instant::now();
    let is_there = || {
        let published = app.door.published();
        published.standings.all().zip(wanted).all(|(own, wanted)| own.vector.includes(wanted))
    };
    while !is_there() {
        anyhow::ensure!(app.state.is_serving(), "the node stops");
        if !app.door.has_room() {
            // What had to wait for others of them waits for room as well.
            began = Instant::now();
        }
        anyhow::ensure!(began.elapsed() < DURABLE_TIME_MAX, "the node has not taken all of it");
        thread::park_timeout(CHECK);
    }
    Ok(())
}
