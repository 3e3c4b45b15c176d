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
//! - The queue is bounded: when it is full, a request is refused and nothing was applied.
//! - When the disk fails, the driver ends without another word; the process stops, and a restart is the recovery.

use crate::committer::{self, Committer, Exits, Written};
use crate::data_dir::DataDir;
use crate::desk::{Desk, Waiter};
use crate::metrics::Metrics;
use crate::published::{Published, Standings};
use crate::remembered::Remembered;
use crate::rocks::Rocks;
use anyhow::Context as _;
use arc_swap::ArcSwap;
use meridian_core::id::{OriginId, RequestId, ShardId};
use meridian_core::listing::{Entry, Position, Query};
use meridian_core::message::Message;
use meridian_core::name::{Bucket, Key};
use meridian_core::node::{Config, Input, Node, Now, Operation, Output, Reply, Request};
use meridian_core::path::Path;
use meridian_core::replica::inspect::{Finding, Inspection};
use meridian_core::replica::read::{Found, ReadRequest};
use meridian_core::replica::write::Write;
use meridian_core::storage::StorageError;
use meridian_core::types::{Failure, Refusal};
use ring::rand::{SecureRandom, SystemRandom};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Places for requests that wait for the driver. When they are taken, further ones are refused.
const REQUESTS_MAX: usize = 4096;
/// Most of peers' messages that wait for the driver, in places of their own: a flood of them refuses no request. When as
/// many wait, peers are not read further.
const INPUTS_MAX: usize = 1024;
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

/// A request on its way to the node, and where its reply goes.
struct Ask {
    request: Request,
    waiter: Waiter,
}

/// What the driver is told.
enum Work {
    Ask(Box<Ask>),
    /// From a peer.
    Input(Box<Input>, Held),
    /// Time has passed.
    Wake,
    Stop,
}

/// What an input holds until it was decided about.
struct Held {
    /// The memory that it takes.
    memory: Option<OwnedSemaphorePermit>,
    /// One of the [`INPUTS_MAX`] places.
    _place: OwnedSemaphorePermit,
}

/// Why a request was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskError {
    /// Too many requests wait; this one was not taken.
    Full,
    /// The node has stopped; this one was not taken.
    Stopped,
    /// The node stopped after it had taken the request.
    Unknown,
}

/// A way to the node, for any number of threads.
#[derive(Clone)]
pub struct Door {
    work: mpsc::Sender<Work>,
    inputs: Arc<Semaphore>,
    published: Arc<ArcSwap<Published>>,
    has_room: Arc<AtomicBool>,
    desk: usize,
}

impl Door {
    /// The way for the requests of the runtime that serves a desk: their replies come there. Without it, they come to the
    /// first desk.
    pub fn at(&self, desk: &Desk) -> Door {
        Door { desk: desk.number(), ..self.clone() }
    }

    /// Reads a key, or a part of it, from the newest durable state; `None` where a row is damaged: the node must be asked, which takes the
    /// replica out of service.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn read(&self, bucket: &Bucket, key: &Key, request: &ReadRequest) -> Result<Option<Found>, Refusal> {
        match self.published.load().read(bucket, key, request) {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Refused(refusal)) => Err(refusal),
            Err(Failure::Storage(_)) => Ok(None),
        }
    }

    /// Lists a page of a bucket's keys from the newest durable state. Where a row is damaged, the node is told to read all rows of its
    /// shard: it will find the same, and take the replica out of service.
    ///
    /// # Errors
    /// As [`Published::list`]; a damaged row is [`Refusal::Quarantined`].
    pub fn list(
        &self,
        bucket: &Bucket,
        query: &Query,
        take: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<Option<Position>, Failure> {
        let listed = self.published().list(bucket, query, take);
        if let Err(Failure::Storage(StorageError::Corrupt { key, .. })) = &listed
            && let Some(shard) = key.first_chunk()
        {
            self.offer(Input::Check { shard: ShardId(u16::from_be_bytes(*shard)) });
            return Err(Refusal::Quarantined.into());
        }
        listed
    }

    /// Shows a key as this node's replica has it. Where a row is damaged, the node is told to read the key: it will find
    /// the same, and take the replica out of service.
    pub fn inspect(&self, bucket: &Bucket, key: &Key) -> Inspection {
        let inspection = self.published.load().inspect(bucket, key);
        if let Finding::Damaged(_) = inspection.finding {
            let operation = Operation::Read(ReadRequest::default());
            let request = Request { bucket: bucket.clone(), key: key.clone(), operation };
            let (waiter, _nobody) = Waiter::at(self.desk);
            // A queue that is full has requests that may find it as well.
            let _full = self.work.try_send(Work::Ask(Box::new(Ask { request, waiter })));
        }
        inspection
    }

    /// Asks the node. The reply comes when all that it says is durable.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(&self, request: Request) -> Result<Reply, AskError> {
        let (waiter, reply) = Waiter::at(self.desk);
        match self.work.try_send(Work::Ask(Box::new(Ask { request, waiter }))) {
            Ok(()) => reply.await.map_err(|_| AskError::Unknown),
            Err(TrySendError::Full(_)) => Err(AskError::Full),
            Err(TrySendError::Closed(_)) => Err(AskError::Stopped),
        }
    }

    /// Hands over what a peer says, when there is room: until then the peer is not read further. `held` is the memory
    /// that it takes. A node that has stopped hears nothing.
    pub async fn tell(&self, input: Input, memory: Option<OwnedSemaphorePermit>) {
        let place = self.inputs.clone().acquire_owned().await.expect("places are never closed");
        let _stopped = self.work.send(Work::Input(Box::new(input), Held { memory, _place: place })).await;
    }

    /// Hands over something that can wait: where there is no room it is not taken, and to be offered again.
    pub fn offer(&self, input: Input) {
        if let Ok(place) = self.inputs.clone().try_acquire_owned() {
            let _full_or_stopped =
                self.work.try_send(Work::Input(Box::new(input), Held { memory: None, _place: place }));
        }
    }

    /// Says whether the disk has room for what peers send. The next turn begins with that, however much waits.
    pub fn set_room(&self, has_room: bool) {
        if self.has_room.swap(has_room, Ordering::Relaxed) != has_room {
            self.wake();
        }
    }

    /// Time has passed: a driver that waits is to look at the clock. One that has something to do does so anyway.
    pub fn wake(&self) {
        let _busy = self.work.try_send(Work::Wake);
    }

    /// The newest durable state.
    pub fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// Ends the driver when it has done all that was asked before. To be called outside of any runtime.
    pub fn stop(&self) {
        // A full queue is waited for; a driver that has ended needs no word.
        let _ended = self.work.blocking_send(Work::Stop);
    }
}

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
    let (work, queue) = mpsc::channel(REQUESTS_MAX + INPUTS_MAX);
    let (written, turns) = sync_channel(committer::TURNS_MAX);
    let committer = Committer {
        rocks: rocks.clone(),
        data_dir,
        published: published.clone(),
        metrics: metrics.clone(),
        exits,
    };
    let has_room = Arc::new(AtomicBool::new(true));
    let driver = Driver {
        node,
        has_room: has_room.clone(),
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
    let inputs = Arc::new(Semaphore::new(INPUTS_MAX));
    Ok((Door { work, inputs, published, has_room, desk: 0 }, Threads { driver, committer }))
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
    /// Whether the disk has room for what peers send, and what the node was told of that.
    has_room: Arc<AtomicBool>,
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
        let has_room = self.has_room.load(Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_core::id::OriginId;
    use meridian_core::storage::{Batch, Space, Storage as _};

    use tokio::time::timeout;

    /// As long as something may take that must not happen.
    const A_WHILE: Duration = Duration::from_millis(20);

    fn read() -> Request {
        let (bucket, key) = (Bucket::new("b").expect("a bucket"), Key::new(b"k").expect("a key"));
        Request { bucket, key, operation: Operation::Read(ReadRequest::default()) }
    }

    #[tokio::test]
    async fn peers_that_say_more_than_the_driver_takes_refuse_no_request() {
        let place = tempfile::tempdir().expect("a directory");
        let rocks = Rocks::open(place.path(), 1 << 20).expect("RocksDB opens");
        let config = Config::default();
        let node = Node::open(config.clone(), &rocks, OriginId(1)).expect("an empty disk opens");
        let standings = Standings::of(&node, config.shards);
        let published = Arc::new(ArcSwap::from_pointee(Published { snapshot: rocks.snapshot(), standings }));
        // The driver does not take anything.
        let (work, mut queue) = mpsc::channel(REQUESTS_MAX + INPUTS_MAX);
        let door = Door {
            work,
            inputs: Arc::new(Semaphore::new(INPUTS_MAX)),
            published,
            has_room: Arc::default(),
            desk: 0,
        };
        for _ in 0..INPUTS_MAX {
            timeout(A_WHILE, door.tell(Input::Tick, None)).await.expect("there is room");
        }
        assert!(timeout(A_WHILE, door.tell(Input::Tick, None)).await.is_err(), "the next one waits");
        for _ in 0..REQUESTS_MAX {
            let (waiter, _) = Waiter::at(0);
            let taken = door.work.try_send(Work::Ask(Box::new(Ask { request: read(), waiter })));
            assert!(taken.is_ok(), "there is room for requests");
        }
        assert_eq!(door.ask(read()).await, Err(AskError::Full));
        // What is taken makes room.
        drop(queue.recv().await);
        timeout(A_WHILE, door.tell(Input::Tick, None)).await.expect("there is room again");
    }
    #[tokio::test]
    async fn a_damaged_row_that_an_inspection_finds_is_shown_to_the_node() {
        let place = tempfile::tempdir().expect("a directory");
        let mut rocks = Rocks::open(place.path(), 1 << 20).expect("RocksDB opens");
        let config = Config::default();
        let node = Node::open(config.clone(), &rocks, OriginId(1)).expect("an empty disk opens");
        let Request { bucket, key, .. } = read();
        let shard = config.shards.shard_of(&bucket, &key);
        // The head's row: shard, bucket, 00, key.
        let mut batch = Batch::default();
        batch.put(
            Space::Head,
            [&shard.0.to_be_bytes()[..], b"b\0k"].concat(),
            b"not what was written".into(),
        );
        rocks.write(&batch).expect("it is written");
        let standings = Standings::of(&node, config.shards);
        let published = Arc::new(ArcSwap::from_pointee(Published { snapshot: rocks.snapshot(), standings }));
        let (work, mut queue) = mpsc::channel(1);
        let door =
            Door { work, inputs: Arc::new(Semaphore::new(1)), published, has_room: Arc::default(), desk: 0 };
        let found = door.inspect(&bucket, &key).finding;
        assert!(matches!(found, Finding::Damaged(_)), "{found:?}");
        let asked = matches!(queue.try_recv(), Ok(Work::Ask(ask)) if ask.request == read());
        assert!(asked, "the node is to read it");
        let other = Key::new(b"other").expect("a key");
        assert!(
            matches!(door.inspect(&bucket, &other).finding, Finding::Content(_)),
            "of another key, nothing"
        );
        assert!(queue.try_recv().is_err());
    }
}
