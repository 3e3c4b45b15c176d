//! Every decoder of core, with what must hold of it whatever bytes it is given.
//!
//! - Bytes are refused with a typed error, or they are a value. Nothing panics, overflows or hangs.
//! - A value has one encoding: written again it gives the very bytes that were read. (Deltas in a message may be written in two
//!   ways: there the value comes back equal.)
//! - What stands behind a value is not passed over: one byte more or less is refused.
//! - Memory follows the bytes that are there, not what they say of themselves: [`Target::memory_max`].
//!
//! The list stands once. `tests/decoders.rs` runs it with mutated seeds in CI, `make fuzz` guided by coverage. The server has a list of
//! its own (`server/src/decoders.rs`), which is run in the same ways.

use meridian_core::merkle::LEAVES;
use std::fs;
use std::path::Path;

pub mod samples;
mod values;
mod messages;
mod rows;
mod salvaged;
mod mutation;
mod short;

pub use short::{Tally, short_run};

/// A decoder, or several that read the same bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// What it is called on a command line.
    pub name: &'static str,
    /// Reads bytes, and panics where something does not hold. Whether they were accepted.
    pub check: fn(&[u8]) -> bool,
    /// Encodings of every kind of value, written by the encoders. All are accepted.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The most memory that a check takes for each byte, reading and writing again together.
    pub memory_per_byte: u64,
}

/// Memory that a check may take whatever the length: a Merkle tree has all its leaves, or none.
const MEMORY_BASE: u64 = (LEAVES * size_of::<u128>() * 2) as u64;

impl Target {
    /// The most bytes of memory that the check of so many bytes may hold at a time.
    pub fn memory_max(&self, bytes: usize) -> u64 {
        MEMORY_BASE + self.memory_per_byte * bytes as u64
    }
}

/// All decoders of core.
pub fn all() -> Vec<Target> {
    [&messages::TARGETS[..], &values::TARGETS, &rows::TARGETS, &salvaged::TARGETS].concat()
}

/// Inputs that broke a decoder once, by the name of its target: they stand in `tests/fuzz/found`.
pub fn found(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/found").join(name);
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("the repository can be read").path());
    paths.map(|path| fs::read(path).expect("the repository can be read")).collect()
}

/// Which targets read a kind of message. There is no message without one.
pub use messages::target_of as target_of_message;
/// Which targets read the rows of a space. There is no space without one.
pub use rows::targets_of as targets_of_space;
