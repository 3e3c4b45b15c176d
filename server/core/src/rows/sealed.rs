//! Values with a checksum over key and value: a flipped bit, or a row in another's place, is noticed when it is read.

use crate::codec::{DecodeError, Reader};
use crate::storage::{Batch, Space, StorageError};
use alloc::vec::Vec;
use xxhash_rust::xxh3;

pub(super) const CHECKSUM_BYTES: usize = 4;

fn checksum(space: Space, key: &[u8], body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let seed = xxh3::xxh3_64_with_seed(key, space as u64);
    (xxh3::xxh3_64_with_seed(body, seed) as u32).to_be_bytes()
}

/// The value of a row, with its checksum.
pub(super) fn seal(space: Space, key: &[u8], mut body: Vec<u8>) -> Vec<u8> {
    let sum = checksum(space, key, &body);
    body.extend_from_slice(&sum);
    body
}

/// Writes a row with its checksum.
pub(super) fn put_row(batch: &mut Batch, space: Space, key: Vec<u8>, body: Vec<u8>) {
    let sealed = seal(space, &key, body);
    batch.put(space, key, sealed);
}

/// The error for a row that is not what was written.
pub(super) fn corrupt(space: Space, key: &[u8], why: &'static str) -> StorageError {
    StorageError::Corrupt { space, key: key.to_vec(), why }
}

/// The value without its checksum, which must fit.
fn checked<'a>(space: Space, key: &[u8], value: &'a [u8]) -> Result<&'a [u8], StorageError> {
    match value.split_last_chunk() {
        Some((body, sum)) if *sum == checksum(space, key, body) => Ok(body),
        _ => Err(corrupt(space, key, "checksum")),
    }
}

/// Whether a row's name and value are what was written. What it says is not read.
pub(crate) fn is_whole(space: Space, key: &[u8], value: &[u8]) -> bool {
    checked(space, key, value).is_ok()
}

/// Reads a row's value with `decode`, which must use up the value.
pub(super) fn open_row<T>(
    space: Space,
    key: &[u8],
    value: &[u8],
    decode: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<T, StorageError> {
    let mut input = Reader::new(checked(space, key, value)?);
    let decoded = decode(&mut input).and_then(|decoded| input.finish().map(|()| decoded));
    decoded.map_err(|_| corrupt(space, key, "not what this version writes"))
}
