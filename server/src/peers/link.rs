//! A connection in use: what is read from it, what is written to it, and what happens when it ends.
//!
//! | stream | first byte | then |
//! |---|---|---|
//! | one way | 1 | messages of core, a frame each, for as long as the connection lives |
//! | one way | 2 | one frame: the member list, as JSON |
//! | both ways | 1 | asks for the version vectors; the answer is one frame |
//! | both ways | 2 | a frame, which asks how the replica has a key (`inspect`); the answer is one frame |

use super::frame::{self, FRAME_BYTES_MAX, FrameError};
use super::hello::Close;
use super::{Member, Shared, inspect};
use crate::outbox::Queue;
use crate::published::{ReplicaStanding, Standings};
use meridian_core::codec::Encode as _;
use meridian_core::id::NodeId;
use meridian_core::masks::Masks;
use meridian_core::message::Message;
use meridian_core::node::Input;
use meridian_core::version_vector::VersionVector;
use quinn::{Connection, RecvStream, SendStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

const MESSAGES: u8 = 1;
const MEMBERS: u8 = 2;
const VECTORS: u8 = 1;
pub(super) const INSPECT: u8 = 2;
/// Longest member list, in bytes.
const MEMBERS_BYTES_MAX: usize = 256 << 10;
/// Frames are written together up to about this many bytes.
const WRITE_BYTES: usize = 64 << 10;
/// In front of each version vector: whether its replica is out of service, and whether the root of its tree follows.
const OUT_OF_SERVICE: u8 = 1;
const ROOT: u8 = 2;

/// How it stands with each replica of a node, in the order of the shards.
pub type Vectors = Vec<ReplicaStanding>;

/// Why a link is ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a stream ended: {0}")]
    Stream(String),
    #[error("what it said cannot be understood: {0}")]
    NotUnderstood(String),
}

/// Serves a connection until it ends. It is not read before the driver was `told` that the peer is up.
pub(super) async fn serve(
    shared: Arc<Shared>,
    peer: NodeId,
    name: String,
    connection: Connection,
    queue: Arc<Queue>,
    told: oneshot::Receiver<()>,
) {
    let mut tasks = JoinSet::new();
    tasks.spawn(write_messages(shared.clone(), connection.clone(), queue.clone()));
    let (reading, read) = (shared.clone(), connection.clone());
    tasks.spawn(async move {
        // Nothing is sent: the other end goes away when the driver was told.
        let _told = told.await;
        read_streams(reading, peer, read).await
    });
    tasks.spawn(answer_requests(shared.clone(), connection.clone()));
    let why = tokio::select! {
        error = connection.closed() => error.to_string(),
        Some(ended) = tasks.join_next() => match ended {
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(())) => "it has nothing more to say".into(),
            Err(panicked) => format!("a bug of ours: {panicked}"),
        },
    };
    tasks.shutdown().await;
    // What is closed already stays closed for the reason that it was.
    connection.close(Close::NotUnderstood.code(), why.as_bytes());
    let mut table = shared.table();
    if table.remove(peer, &connection) {
        shared.outbox.close(peer, &queue);
        // The far end of the channel lives as long as this runtime.
        let _ending = shared.events.send((Input::PeerDown(peer), None));
        tracing::info!(peer = name, "disconnected: {why}");
    }
}

// -- messages -----------------------------------------------------------------------------------------------------------

async fn write_messages(
    shared: Arc<Shared>,
    connection: Connection,
    queue: Arc<Queue>,
) -> Result<(), LinkError> {
    let mut stream = connection.open_uni().await?;
    let mut out = vec![MESSAGES];
    loop {
        for message in queue.take().await {
            let bytes = message.to_bytes();
            if message.is_repair() {
                shared.metrics.repair_bytes_sent.increment(bytes.len() as u64);
            }
            match bytes.len() <= FRAME_BYTES_MAX {
                true => frame::put(&mut out, &bytes),
                // The peer finds out by the next delta or announcement, and pulls it in parts.
                false => shared.metrics.peer_messages_dropped.increment(1),
            }
            if out.len() >= WRITE_BYTES {
                write(&shared, &mut stream, &mut out).await?;
            }
        }
        write(&shared, &mut stream, &mut out).await?;
    }
}

async fn write(shared: &Shared, stream: &mut SendStream, out: &mut Vec<u8>) -> Result<(), LinkError> {
    stream.write_all(out).await.map_err(|error| LinkError::Stream(error.to_string()))?;
    shared.metrics.peer_bytes_sent.increment(out.len() as u64);
    out.clear();
    Ok(())
}

async fn read_streams(shared: Arc<Shared>, peer: NodeId, connection: Connection) -> Result<(), LinkError> {
    let mut readers = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_uni() => {
                readers.spawn(read_stream(shared.clone(), peer, stream?));
            }
            Some(ended) = readers.join_next() => {
                ended.map_err(|panicked| LinkError::Stream(panicked.to_string()))??;
            }
        }
    }
}

async fn read_stream(shared: Arc<Shared>, peer: NodeId, mut stream: RecvStream) -> Result<(), LinkError> {
    match first_byte(&mut stream).await? {
        MESSAGES => read_messages(&shared, peer, &mut stream).await,
        MEMBERS => {
            let bytes = frame::read(&mut stream, MEMBERS_BYTES_MAX).await?;
            let members: Vec<Member> = serde_json::from_slice(&bytes)
                .map_err(|error| LinkError::NotUnderstood(format!("a member list: {error}")))?;
            shared.hear_of(&members);
            Ok(())
        }
        kind => Err(LinkError::NotUnderstood(format!("a stream of kind {kind}"))),
    }
}

async fn read_messages(shared: &Shared, peer: NodeId, stream: &mut RecvStream) -> Result<(), LinkError> {
    while let Some(length) = frame::read_length(stream, FRAME_BYTES_MAX).await? {
        let permits = u32::try_from(length.max(1)).expect("a frame's length has four bytes");
        let held = shared.memory.clone().acquire_many_owned(permits).await;
        let held = held.expect("the semaphore is never closed");
        let bytes = frame::read_body(stream, length).await?;
        shared.metrics.peer_bytes_received.increment(length as u64);
        let message = Message::from_bytes(&bytes)
            .map_err(|error| LinkError::NotUnderstood(format!("a message: {error}")))?;
        if message.is_repair() {
            shared.metrics.repair_bytes_received.increment(length as u64);
        }
        shared.door.tell(Input::Message { from: peer, message }, Some(held)).await;
    }
    Ok(())
}

async fn first_byte(stream: &mut RecvStream) -> Result<u8, LinkError> {
    let mut kind = [0];
    stream.read_exact(&mut kind).await.map_err(|error| LinkError::Stream(error.to_string()))?;
    Ok(kind[0])
}

// -- the member list ----------------------------------------------------------------------------------------------------

/// Tells a peer who the members are. If the connection ends before, the next one begins with it.
pub(super) async fn tell_members(connection: Connection, members: Vec<Member>) {
    let bytes = serde_json::to_vec(&members).expect("strings and numbers can be written");
    let told = async {
        let mut stream = connection.open_uni().await?;
        let mut out = vec![MEMBERS];
        frame::put(&mut out, &bytes);
        stream.write_all(&out).await.map_err(|error| LinkError::Stream(error.to_string()))?;
        stream.finish().map_err(|error| LinkError::Stream(error.to_string()))
    };
    if let Err(error) = told.await {
        tracing::debug!("a peer was not told who the members are: {error}");
    }
}

// -- requests -----------------------------------------------------------------------------------------------------------

async fn answer_requests(shared: Arc<Shared>, connection: Connection) -> Result<(), LinkError> {
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            streams = connection.accept_bi() => {
                let (send, receive) = streams?;
                answers.spawn(answer_request(shared.clone(), send, receive));
            }
            Some(ended) = answers.join_next() => {
                ended.map_err(|panicked| LinkError::Stream(panicked.to_string()))??;
            }
        }
    }
}

async fn answer_request(
    shared: Arc<Shared>,
    mut send: SendStream,
    mut receive: RecvStream,
) -> Result<(), LinkError> {
    // The asker may have given up before it said anything, or give up below: that is no reason to end the connection.
    let Ok(kind) = first_byte(&mut receive).await else { return Ok(()) };
    match kind {
        VECTORS => {
            let is_whole = !shared.refills.load(Ordering::Relaxed);
            let bytes = encode_vectors(&shared.door.published().standings, is_whole);
            if frame::write(&mut send, &bytes).await.is_ok() {
                let _given_up = send.finish();
            }
            Ok(())
        }
        INSPECT => inspect::answer(shared, send, receive).await,
        kind => Err(LinkError::NotUnderstood(format!("a request of kind {kind}"))),
    }
}

/// Asks a peer for its version vectors.
pub(super) async fn ask_vectors(connection: &Connection) -> Result<Vectors, LinkError> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&[VECTORS]).await.map_err(|error| LinkError::Stream(error.to_string()))?;
    let bytes = frame::read(&mut receive, FRAME_BYTES_MAX).await?;
    decode_vectors(&bytes).ok_or_else(|| LinkError::NotUnderstood("version vectors".into()))
}

/// Of a node that is not whole every replica is out of service: it answers nobody.
fn encode_vectors(standings: &Standings, is_whole: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for standing in standings.all() {
        let in_service = standing.in_service && is_whole;
        encode_standing(&ReplicaStanding { in_service, ..standing.clone() }, &mut out);
    }
    out
}

pub(super) fn encode_standing(standing: &ReplicaStanding, out: &mut Vec<u8>) {
    let flags = if standing.in_service { 0 } else { OUT_OF_SERVICE };
    out.push(flags | if standing.root.is_some() { ROOT } else { 0 });
    out.extend(standing.root.iter().flat_map(|root| root.to_be_bytes()));
    frame::put(out, &standing.vector.to_bytes());
}

pub(super) fn decode_vectors(mut bytes: &[u8]) -> Option<Vectors> {
    let mut vectors = Vec::new();
    while let Some((flags, rest)) = bytes.split_first() {
        if flags & !(OUT_OF_SERVICE | ROOT) != 0 {
            return None;
        }
        let (root, rest) = match flags & ROOT {
            0 => (None, rest),
            _ => rest.split_first_chunk().map(|(root, rest)| (Some(u128::from_be_bytes(*root)), rest))?,
        };
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (vector, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let vector = VersionVector::from_bytes(vector).ok()?;
        let in_service = flags & OUT_OF_SERVICE == 0;
        vectors.push(ReplicaStanding { vector, root, in_service, masks: Masks::default() });
        bytes = rest;
    }
    Some(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_vectors_that_are_cut_short_or_garbled_are_refused() {
        let vector: VersionVector =
            [meridian_core::id::Dot::new(meridian_core::id::OriginId(7), 3)].into_iter().collect();
        let standings = [(Some(5), true), (None, false), (None, true)].map(|(root, in_service)| {
            ReplicaStanding { vector: vector.clone(), root, in_service, masks: Masks::default() }
        });
        let (mut bytes, mut whole) = (Vec::new(), vec![0]);
        for standing in &standings {
            encode_standing(standing, &mut bytes);
            whole.push(bytes.len());
        }
        assert_eq!(decode_vectors(&bytes), Some(standings.to_vec()));
        for end in (0..bytes.len()).filter(|end| !whole.contains(end)) {
            assert!(decode_vectors(&bytes[..end]).is_none(), "{end} of {} bytes", bytes.len());
        }
        bytes[0] = 9;
        assert!(decode_vectors(&bytes).is_none());
    }
}
