//! The driver: the one thread that owns the node. It takes what waits (clients' requests, peers' messages, ticks), lets
//! the node decide, and writes.
//!
//! ```text
//!   HTTP threads --ask--> [queue] --> driver: step, step, ... end_turn
//!                                       | write the batch (not synced), take a snapshot
//!   peers     --tell---> [queue] --------/ v
//!   HTTP threads <-desk-- committer: sync the log once for all turns written so far, publish, release the replies
//!   peers        <-send--/
//! ```
//!
//! Rules:
//! - Nothing leaves before it is durable: replies go through the committer, refusals too, for they may tell of a write
//!   that is not synced yet.
//! - When the disk fails, the driver ends without another word; the process stops, and a restart is the recovery.

use crate::committer::{self, Committer, Exits, Written};
use crate::data_dir::DataDir;
use crate::desk::Waiter;
use crate::door::{Door, Work};
use crate::metrics::Metrics;
use crate::published::{Published, Standings};
use crate::remembered::Remembered;
use crate::rocks::Rocks;
use anyhow::Context as _;
use arc_swap::ArcSwap;
use meridian_core::id::{OriginId, RequestId};
use meridian_core::message::Message;
use meridian_core::node::{Config, Input, Node, Now, Operation, Output, Request};
use meridian_core::path::Path;
use meridian_core::replica::write::Write;
use meridian_core::storage::StorageError;
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

/// Most inputs of one turn. Those beyond wait for the next, which is decided while this one is synced: with larger turns
/// all connections move in one convoy, and cores idle.
const TURN_INPUTS_MAX: usize = 32;
/// A turn takes no further input when its requests' values, its messages and the answers to pulls have this many bytes.
const TURN_BYTES_MAX: usize = 4 << 20;
/// How often, at most, the node hears that time has passed, in milliseconds.
const TICK_MS: u64 = 100;
/// How often the node does a portion of what can wait although others wait, in milliseconds. Otherwise it does when nobody
/// waits.
const PORTION_MS: u64 = 10;
/// While clients ask, the node rests after a portion so many times as long as that took: a tenth of its time goes into it.
const RESTS: u32 = 9;
/// How long ago the last of them may have asked.
const ASKED_LATELY: Duration = Duration::from_millis(50);
/// How long it looks away from the queue when it rests.
const REST: Duration = Duration::from_micros(100);

/// The two threads behind a door.
pub struct Threads {
    driver: JoinHandle<Result<(), StorageError>>,
    committer: JoinHandle<anyhow::Result<()>>,
}

impl Threads {
    /// Whether one of them has ended.
    pub fn have_ended(&self) -> bool {
        self.driver.is_finished() || self.committer.is_finished()
    }

    /// Waits for both.
    ///
    /// # Errors
    /// Why one of them ended early.
    pub fn join(self) -> anyhow::Result<()> {
        let driver = self.driver.join().map_err(|_| anyhow::anyhow!("the driver panicked"))?;
        let committer = self.committer.join().map_err(|_| anyhow::anyhow!("the committer panicked"))?;
        committer?;
        driver.context("the driver stopped")
    }
}

/// Starts the threads of a node that was opened on its database. `on_end` is called when one of them ends.
///
/// # Errors
/// When the disk fails.
pub fn start(
    config: &Config,
    mut node: Node,
    rocks: &Rocks,
    data_dir: Arc<DataDir>,
    metrics: Arc<Metrics>,
    exits: Exits,
    on_end: impl Fn() + Clone + Send + 'static,
) -> anyhow::Result<(Door, Threads)> {
    let first = node.end_turn();
    rocks.write_batch(&first.batch)?;
    rocks.sync_wal()?;
    data_dir.synced(rocks.version()).context("the side file of the database cannot be written")?;
    let standings = Standings::of(&node, config.shards);
    let published = Published { snapshot: rocks.snapshot(), standings: standings.clone() };
    let published = Arc::new(ArcSwap::from_pointee(published));
    let (door, queue) = Door::new(published.clone());
    let (written, turns) = sync_channel(committer::TURNS_MAX);
    let committer = Committer {
        rocks: rocks.clone(),
        data_dir,
        published: published.clone(),
        metrics: metrics.clone(),
        exits,
    };
    let driver = Driver {
        node,
        room: door.room.clone(),
        had_room: true,
        rocks: rocks.clone(),
        standings,
        written,
        metrics,
        pull_bytes_max: config.pull_bytes_max,
        ticks_at_ms: 0,
        works_at_ms: 0,
        rests_until: Instant::now(),
        asked_at: None,
        started: Instant::now(),
    };
    let ended = on_end.clone();
    let driver = thread::Builder::new().name("driver".into()).spawn(move || {
        let _told = OnDrop(ended);
        driver.run(queue)
    })?;
    let committer = thread::Builder::new().name("committer".into()).spawn(move || {
        let _told = OnDrop(on_end);
        committer.run(&turns)
    })?;
    Ok((door, Threads { driver, committer }))
}

/// Calls a function when it is dropped, also in a panic.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// 64 bits for a run that were never used before.
///
/// # Errors
/// When the system gives no random bytes.
pub fn draw_origin() -> anyhow::Result<OriginId> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(OriginId(u64::from_be_bytes(bytes)))
}

/// What came in a turn.
struct Steps {
    /// Whether it is the last.
    stops: bool,
    /// Whether nobody asked or said anything: what was done could have waited.
    only_works: bool,
}

struct Driver {
    node: Node,
    /// Whether the disk has room, and what the node was told of that.
    room: Arc<AtomicBool>,
    had_room: bool,
    rocks: Rocks,
    standings: Standings,
    written: SyncSender<Written>,
    metrics: Arc<Metrics>,
    /// About what the answer to a pull takes.
    pull_bytes_max: usize,
    /// When the node hears again that time has passed.
    ticks_at_ms: u64,
    /// When the node does a portion of what can wait, whoever else waits.
    works_at_ms: u64,
    /// Until when it does none, though nobody waits: clients ask again and again, and are to find it idle.
    rests_until: Instant,
    /// When a client asked last.
    asked_at: Option<Instant>,
    started: Instant,
}

impl Driver {
    fn run(mut self, mut queue: mpsc::Receiver<Work>) -> Result<(), StorageError> {
        let mut waiting = Vec::new();
        while let Some(first) = self.next(&mut queue) {
            let (began, nobody_waited) = (Instant::now(), matches!(first, Work::Wake));
            let Steps { stops, only_works } = self.steps(first, &mut queue, &mut waiting)?;
            if stops {
                self.node.keep_trees();
            }
            let written = Written { only_works, ..self.write(&mut waiting)? };
            if nobody_waited && self.asked_at.is_some_and(|asked_at| asked_at.elapsed() < ASKED_LATELY) {
                self.rests_until = Instant::now() + RESTS * began.elapsed();
            }
            if (!written.is_empty() && self.written.send(written).is_err()) || stops {
                break;
            }
        }
        Ok(())
    }

    /// What comes first in the next turn: something that waits, or time for what can wait. `None` is the end.
    fn next(&mut self, queue: &mut mpsc::Receiver<Work>) -> Option<Work> {
        if !self.node.has_work() {
            return queue.blocking_recv();
        }
        loop {
            match queue.try_recv() {
                Ok(work) => return Some(work),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) if Instant::now() < self.rests_until => thread::park_timeout(REST),
                Err(TryRecvError::Empty) => {
                    self.works_at_ms = 0;
                    return Some(Work::Wake);
                }
            }
        }
    }

    /// Lets the node decide about what waits, as much as fits into a turn.
    fn steps(
        &mut self,
        first: Work,
        queue: &mut mpsc::Receiver<Work>,
        waiting: &mut Vec<Waiter>,
    ) -> Result<Steps, StorageError> {
        let now = self.now();
        let disk = Remembered::new(&self.rocks);
        let has_room = self.room.load(Ordering::Relaxed);
        if has_room != self.had_room {
            self.had_room = has_room;
            self.node.step(now, &disk, Input::Room(has_room))?;
        }
        if now.mono_ms >= self.ticks_at_ms {
            self.ticks_at_ms = now.mono_ms + TICK_MS;
            self.node.step(now, &disk, Input::Tick)?;
            self.metrics.log_bytes.set(self.node.log_bytes() as f64);
            self.metrics.deltas_cut.absolute(self.node.deltas_cut());
        }
        if now.mono_ms >= self.works_at_ms && self.node.has_work() {
            self.works_at_ms = now.mono_ms + PORTION_MS;
            self.node.step(now, &disk, Input::Work)?;
        }
        let mut steps = Steps { stops: false, only_works: true };
        let (mut inputs, mut bytes, mut next) = (0, 0, first);
        loop {
            steps.only_works &= matches!(next, Work::Wake);
            match next {
                Work::Stop => return Ok(Steps { stops: true, ..steps }),
                Work::Wake => {}
                Work::Ask(ask) => {
                    self.asked_at = Some(Instant::now());
                    bytes += value_bytes(&ask.request);
                    let id = RequestId(waiting.len() as u64);
                    waiting.push(ask.waiter);
                    self.node.step(now, &disk, Input::Request { id, request: ask.request })?;
                }
                Work::Input(input, held) => {
                    bytes += held.memory.map_or(0, |memory| memory.num_permits());
                    bytes += if is_pull(&input) { self.pull_bytes_max } else { 0 };
                    self.node.step(now, &disk, *input)?;
                }
            }
            inputs += 1;
            if inputs == TURN_INPUTS_MAX || bytes >= TURN_BYTES_MAX {
                return Ok(steps);
            }
            match queue.try_recv() {
                Ok(work) => next = work,
                Err(_) => return Ok(steps),
            }
        }
    }

    /// Writes the turn, unsynced, and pairs its replies with those who wait for them.
    fn write(&mut self, waiting: &mut Vec<Waiter>) -> Result<Written, StorageError> {
        let turn = self.node.end_turn();
        if !waiting.is_empty() {
            self.metrics.turns.increment(1);
            self.metrics.turn_requests.record(waiting.len() as f64);
        }
        let mut waiting: Vec<Option<Waiter>> = waiting.drain(..).map(Some).collect();
        let mut written = Written::default();
        for output in turn.outputs {
            match output {
                Output::Reply { id, reply } => {
                    let waits = waiting.get_mut(id.0 as usize).and_then(Option::take);
                    let waits = waits.expect("a request is answered once, in its turn");
                    written.replies.push((waits, reply));
                }
                Output::Send { to, message } => written.sends.push((to, message)),
                complaint => written.complaints.push(complaint),
            }
        }
        if !turn.batch.is_empty() || !turn.changed.is_empty() {
            self.rocks.write_batch(&turn.batch)?;
            self.standings.update(&self.node, turn.changed);
            let published = Published { snapshot: self.rocks.snapshot(), standings: self.standings.clone() };
            written.state = Some((published, self.rocks.version()));
        }
        Ok(written)
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: self.started.elapsed().as_millis() as u64, wall_ms: wall.as_millis() as u64 }
    }
}

fn is_pull(input: &Input) -> bool {
    matches!(input, Input::Message { message: Message::Pull { .. }, .. })
}

fn value_bytes(request: &Request) -> usize {
    // The maps on the way are written as well, each with its path.
    fn of_path(path: &Path) -> usize {
        let bytes: usize = path.fields().iter().map(|field| field.as_str().len()).sum();
        bytes * path.fields().len()
    }
    fn of(write: &Write) -> usize {
        match write {
            Write::Put { value, .. } => value.len(),
            Write::Map(ops) => ops.iter().map(|op| of(&op.write) + of_path(&op.path)).sum(),
            _ => 0,
        }
    }
    match &request.operation {
        Operation::Write(request) => of(&request.write),
        Operation::Read(_) => 0,
    }
}
