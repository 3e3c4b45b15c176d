//! What waits to be sent to peers: a bounded queue for each that is connected. The committer fills it, once what is said
//! is durable; a peer's connection empties it.
//!
//! Nothing waits for a slow peer. What does not fit is dropped and counted: the peer finds out that it lacks something
//! by the next delta, or by the next announcement.

use meridian_core::id::NodeId;
use meridian_core::message::Message;
use metrics::Counter;
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Most bytes of memory that wait for one peer; one message always fits into an empty queue.
pub const QUEUE_BYTES_MAX: usize = 32 << 20;

/// The queues of all peers that are connected.
pub struct Outbox {
    queues: Mutex<BTreeMap<NodeId, Arc<Queue>>>,
    dropped: Counter,
}

/// What waits for one peer.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Message>,
    bytes: usize,
}

impl Outbox {
    /// No peer is connected. What is dropped is counted.
    pub fn new(dropped: Counter) -> Self {
        Outbox { queues: Mutex::default(), dropped }
    }

    /// A peer is connected: an empty queue for it.
    pub fn open(&self, peer: NodeId) -> Arc<Queue> {
        let queue = Arc::new(Queue::default());
        lock(&self.queues).insert(peer, queue.clone());
        queue
    }

    /// A connection has ended, unless another one has taken its place.
    pub fn close(&self, peer: NodeId, queue: &Arc<Queue>) {
        let mut queues = lock(&self.queues);
        if queues.get(&peer).is_some_and(|open| Arc::ptr_eq(open, queue)) {
            queues.remove(&peer);
        }
    }

    /// Sends messages to peers, as far as they are connected and their queues have room.
    pub fn send(&self, messages: impl IntoIterator<Item = (NodeId, Message)>) {
        let queues = lock(&self.queues);
        for (to, message) in messages {
            match queues.get(&to).map(|queue| queue.push(message)) {
                Some(true) | None => {}
                Some(false) => self.dropped.increment(1),
            }
        }
    }

    /// Bytes that wait for a peer.
    pub fn bytes(&self, peer: NodeId) -> usize {
        lock(&self.queues).get(&peer).map_or(0, |queue| lock(&queue.waiting).bytes)
    }
}

impl Queue {
    /// Whether there was room.
    fn push(&self, message: Message) -> bool {
        let bytes = footprint(&message);
        let mut waiting = lock(&self.waiting);
        if !waiting.messages.is_empty() && waiting.bytes + bytes > QUEUE_BYTES_MAX {
            return false;
        }
        waiting.bytes += bytes;
        waiting.messages.push_back(message);
        if waiting.messages.len() == 1 {
            self.news.notify_one();
        }
        true
    }

    /// Waits until there is something, and takes all of it.
    pub async fn take(&self) -> VecDeque<Message> {
        loop {
            let taken = {
                let mut waiting = lock(&self.waiting);
                waiting.bytes = 0;
                mem::take(&mut waiting.messages)
            };
            if !taken.is_empty() {
                return taken;
            }
            self.news.notified().await;
        }
    }
}

/// About how many bytes of memory a message takes.
fn footprint(message: &Message) -> usize {
    let deltas = match message {
        Message::Fresh { deltas, .. } | Message::Missing { deltas, .. } => deltas.as_slice(),
        Message::Pull { have: vector, .. } | Message::Have { vector, .. } => {
            return size_of::<Message>() + vector.len() * size_of::<(u64, u64)>();
        }
        Message::Ask { ask, .. } => return size_of::<Message>() + ask.footprint(),
        Message::Answer { answer, .. } => return size_of::<Message>() + answer.footprint(),
    };
    size_of::<Message>() + deltas.iter().map(|delta| delta.footprint()).sum::<usize>()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // No code that holds one of these locks can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_core::id::ShardId;
    use meridian_core::version_vector::VersionVector;

    fn message() -> Message {
        Message::Pull { shard: ShardId(1), have: VersionVector::default() }
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_a_peer_without_a_connection_gets_nothing() {
        let (dropped, peer) = (Counter::noop(), NodeId(7));
        let outbox = Outbox::new(dropped);
        outbox.send([(peer, message())]);
        let queue = outbox.open(peer);
        assert_eq!(outbox.bytes(peer), 0, "nothing is kept for a peer that is not there");
        let fits = QUEUE_BYTES_MAX / footprint(&message());
        outbox.send((0..fits + 10).map(|_| (peer, message())));
        assert_eq!(lock(&queue.waiting).messages.len(), fits);
        outbox.close(peer, &Arc::new(Queue::default()));
        assert!(outbox.bytes(peer) > 0, "another connection's end does not close this queue");
        outbox.close(peer, &queue);
        assert_eq!(outbox.bytes(peer), 0);
    }
}
