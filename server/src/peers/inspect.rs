//! A request among peers: how does your replica have this key?
//!
//! The request is a frame with the bucket and the key, the answer a frame with the [`Inspection`]. It is read off this
//! thread, for this thread never touches the database.

use super::Shared;
use super::frame::{self, FrameError};
use super::link::{INSPECT, LinkError};
use meridian_core::codec::{DecodeError, Encode as _, Reader, put_bytes};
use meridian_core::name::{BUCKET_BYTES_MAX, Bucket, KEY_BYTES_MAX, Key};
use meridian_core::replica::inspect::{INSPECTION_BYTES_MAX, Inspection};
use quinn::{Connection, RecvStream, SendStream};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Longest request, in bytes: the longest names, each behind its length.
const REQUEST_BYTES_MAX: usize = BUCKET_BYTES_MAX + KEY_BYTES_MAX + 2 * 2;

/// Answers a request, of which the first byte was read.
pub(super) async fn answer(
    shared: Arc<Shared>,
    mut send: SendStream,
    mut receive: RecvStream,
) -> Result<(), LinkError> {
    let bytes = match frame::read(&mut receive, REQUEST_BYTES_MAX).await {
        // The asker may have given up: see the caller.
        Err(FrameError::Ended(_)) => return Ok(()),
        bytes => bytes?,
    };
    let (bucket, key) =
        decode(&bytes).map_err(|error| LinkError::NotUnderstood(format!("which key to inspect: {error}")))?;
    let inspected = spawn_blocking(move || shared.door.inspect(&bucket, &key).to_bytes());
    let bytes = inspected.await.map_err(|panicked| LinkError::Stream(panicked.to_string()))?;
    if frame::write(&mut send, &bytes).await.is_ok() {
        let _given_up = send.finish();
    }
    Ok(())
}

/// Asks a peer how its replica has a key.
pub(super) async fn ask(
    connection: &Connection,
    bucket: &Bucket,
    key: &Key,
) -> Result<Inspection, LinkError> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let mut request = vec![INSPECT];
    frame::put(&mut request, &encode(bucket, key));
    send.write_all(&request).await.map_err(|error| LinkError::Stream(error.to_string()))?;
    let bytes = frame::read(&mut receive, INSPECTION_BYTES_MAX).await?;
    Inspection::from_bytes(&bytes)
        .map_err(|error| LinkError::NotUnderstood(format!("an inspection: {error}")))
}

pub(super) fn encode(bucket: &Bucket, key: &Key) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, bucket.as_str().as_bytes());
    put_bytes(&mut out, key.as_bytes());
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<(Bucket, Key), DecodeError> {
    let mut input = Reader::new(bytes);
    let bucket = Bucket::new(input.text()?).map_err(|_| DecodeError::Invalid("bucket"))?;
    let key = Key::new(input.bytes()?).map_err(|_| DecodeError::Invalid("key"))?;
    input.finish()?;
    Ok((bucket, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_cut_short_or_names_no_key_is_refused() {
        let longest = |length, letter: &str| letter.repeat(length);
        for (bucket, key) in
            [("b", "k".into()), (&longest(BUCKET_BYTES_MAX, "b")[..], longest(KEY_BYTES_MAX, "k"))]
        {
            let (bucket, key) = (Bucket::new(bucket).unwrap(), Key::new(key.as_bytes()).unwrap());
            let bytes = encode(&bucket, &key);
            assert!(bytes.len() <= REQUEST_BYTES_MAX);
            assert_eq!(decode(&bytes), Ok((bucket, key)));
            for end in 0..bytes.len() {
                assert!(decode(&bytes[..end]).is_err(), "{end} of {} bytes", bytes.len());
            }
            assert_eq!(decode(&[&bytes[..], b"x"].concat()), Err(DecodeError::Trailing));
        }
        for bad in [&b"\x01B\x01k"[..], b"\x01b\x00", b"\x00\x01k", b"\x01\xff\x01k", b"\xff\xff\xff\x7f"] {
            assert!(decode(bad).is_err(), "{bad:?}");
        }
    }
}
