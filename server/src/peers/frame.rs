//! Frames: how what peers say is told apart on a stream. A frame is its length (4 bytes, big-endian) and its bytes.

use quinn::SendStream;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longest frame: a turn's deltas of one shard. A longer one is a mistake or an attack, and ends the connection.
pub(super) const FRAME_BYTES_MAX: usize = 32 << 20;
/// Memory is taken for a frame as it arrives, this many bytes at a time: a length alone takes none.
const CHUNK_BYTES: usize = 64 << 10;

/// Why a stream is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    #[error("the stream ended: {0}")]
    Ended(String),
}

/// Reads a frame's length; `None` where the stream ends before it.
pub(super) async fn read_length(
    stream: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> Result<Option<usize>, FrameError> {
    let mut length = [0; 4];
    let begun = stream.read(&mut length).await.map_err(|error| FrameError::Ended(error.to_string()))?;
    if begun == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[begun..]).await.map_err(|error| FrameError::Ended(error.to_string()))?;
    let length = u32::from_be_bytes(length) as usize;
    if length > bytes_max { Err(FrameError::TooLong(length)) } else { Ok(Some(length)) }
}

/// Reads what comes after a frame's length.
pub(super) async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    length: usize,
) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let begin = bytes.len();
        bytes.resize(length.min(begin + CHUNK_BYTES), 0);
        let read = stream.read_exact(&mut bytes[begin..]).await;
        read.map_err(|error| FrameError::Ended(error.to_string()))?;
    }
    Ok(bytes)
}

/// Reads a frame.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> Result<Vec<u8>, FrameError> {
    match read_length(stream, bytes_max).await? {
        Some(length) => read_body(stream, length).await,
        None => Err(FrameError::Ended("nothing came".into())),
    }
}

/// Writes a frame.
pub(super) async fn write(stream: &mut SendStream, bytes: &[u8]) -> Result<(), FrameError> {
    let mut frame = Vec::with_capacity(4 + bytes.len());
    put(&mut frame, bytes);
    stream.write_all(&frame).await.map_err(|error| FrameError::Ended(error.to_string()))
}

/// Appends a frame to others that are written together.
///
/// # Panics
/// If the bytes are longer than [`FRAME_BYTES_MAX`]: whoever makes them keeps to it.
pub(super) fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    assert!(bytes.len() <= FRAME_BYTES_MAX, "a frame of {} bytes is too long", bytes.len());
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}
