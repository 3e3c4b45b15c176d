//! The hash of what nodes do: the same seed must give the same.

use meridian_core::codec::Encode;
use meridian_core::node::{Output, Turn};
use std::hash::{Hash, Hasher};

/// Adds all that a turn writes and says, in order.
pub fn hash_turn(turn: &Turn, hasher: &mut impl Hasher) {
    for (space, key, value) in turn.batch.iter() {
        (space as u8, key, value).hash(hasher);
    }
    for output in &turn.outputs {
        match output {
            Output::Send { to, message } => (to, message.to_bytes()).hash(hasher),
            other => format!("{other:?}").hash(hasher),
        }
    }
}
