//! The door: how clients' requests and peers' messages come to the node, from any thread, and how much of them may wait.
//!
//! - Each kind waits in places of its own: when those of requests are taken, a request is refused and nothing was applied; when those of
//!   messages are, peers are not read further.
//! - Reads of the newest durable state do not come to the node at all.

use crate::desk::{Desk, Waiter};
use crate::published::Published;
use arc_swap::ArcSwap;
use meridian_core::id::ShardId;
use meridian_core::listing::{Entry, Position, Query};
use meridian_core::name::{Bucket, Key};
use meridian_core::node::{Input, Operation, Reply, Request};
use meridian_core::replica::inspect::{Finding, Inspection};
use meridian_core::replica::read::{Found, ReadRequest};
use meridian_core::storage::StorageError;
use meridian_core::types::{Failure, Refusal};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Places for requests that wait for the driver. When they are taken, further ones are refused.
const REQUESTS_MAX: usize = 4096;
/// Most of peers' messages that wait for the driver, in places of their own: a flood of them refuses no request. When as
/// many wait, peers are not read further.
const INPUTS_MAX: usize = 1024;

/// A request on its way to the node, and where its reply goes.
pub(crate) struct Ask {
    pub(crate) request: Request,
    pub(crate) waiter: Waiter,
}

/// What the driver is told.
pub(crate) enum Work {
    /// From a client.
    Ask(Box<Ask>),
    /// From a peer.
    Input(Box<Input>, Held),
    /// Time has passed.
    Wake,
    /// The node is to stop.
    Stop,
}

/// What an input holds until it was decided about.
pub(crate) struct Held {
    /// The memory that it takes.
    pub(crate) memory: Option<OwnedSemaphorePermit>,
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
    /// Whether the disk has room for more. The driver looks at it.
    pub(crate) room: Arc<AtomicBool>,
    desk: usize,
}

impl Door {
    /// A way, and the queue at its end.
    pub(crate) fn new(published: Arc<ArcSwap<Published>>) -> (Door, mpsc::Receiver<Work>) {
        let (work, queue) = mpsc::channel(REQUESTS_MAX + INPUTS_MAX);
        let (inputs, room) = (Arc::new(Semaphore::new(INPUTS_MAX)), Arc::new(AtomicBool::new(true)));
        (Door { work, inputs, published, room, desk: 0 }, queue)
    }

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

    /// Whether the disk has room: without it clients' writes are refused, and what peers send waits.
    pub fn has_room(&self) -> bool {
        self.room.load(Ordering::Relaxed)
    }

    /// Says whether the disk has room; whether that is news. The node's next turn begins with it, however much waits.
    pub fn set_room(&self, has_room: bool) -> bool {
        let is_news = self.room.swap(has_room, Ordering::Relaxed) != has_room;
        if is_news {
            self.wake();
        }
        is_news
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::Standings;
    use crate::rocks::Rocks;
    use meridian_core::id::OriginId;
    use meridian_core::node::{Config, Node};
    use meridian_core::storage::{Batch, Space, Storage as _};
    use std::time::Duration;
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
        let (door, mut queue) = Door::new(published);
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
        let (door, mut queue) = Door::new(published);
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
