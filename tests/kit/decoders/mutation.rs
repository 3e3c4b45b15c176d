//! Bytes that are nearly right: what a seed becomes by a few small changes.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// Longest that a mutated input becomes: a side file has something behind its first block.
const BYTES_MAX: usize = 5 << 10;
/// Bytes and numbers at which decoders decide.
const INTERESTING: [&[u8]; 12] = [
    &[0],
    &[1],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0x80, 0x00],
    &[0xff, 0x7f],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff; 8],
    &[0; 16],
    &[0xff; 18],
];

/// Changes bytes in one to four places. `others` lend pieces of theirs.
pub(super) fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut ChaCha8Rng) {
    for _ in 0..=random.random_range(0..4) {
        let at = random.random_range(0..=bytes.len());
        let until = (at + random.random_range(0..9)).min(bytes.len());
        let interesting = INTERESTING[random.random_range(0..INTERESTING.len())];
        match random.random_range(0..9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = random.random(),
            2 if at < bytes.len() => {
                bytes[at] = bytes[at].wrapping_add(if random.random() { 1 } else { 0xff });
            }
            3 => drop(bytes.drain(at..until)),
            4 => drop(bytes.splice(at..until, interesting.iter().copied())),
            5 => drop(bytes.splice(at..at, interesting.iter().copied())),
            6 => {
                let again = bytes[at..until].to_vec();
                bytes.splice(at..at, again);
            }
            7 => bytes.truncate(at),
            _ => {
                let other = &others[random.random_range(0..others.len())];
                let from = random.random_range(0..=other.len());
                let piece = &other[from..(from + random.random_range(0..32)).min(other.len())];
                bytes.splice(at..until, piece.iter().copied());
            }
        }
    }
    bytes.truncate(BYTES_MAX);
}
