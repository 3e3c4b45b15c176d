//! Messages between nodes, a target for each kind: its bytes are those behind the tag.

use super::values::whole;
use super::{Target, samples};
use meridian_core::codec::Encode as _;
use meridian_core::delta::FOOTPRINT_PER_BYTE_MAX;
use meridian_core::message::Message;

const FRESH: u8 = 1;
const PULL: u8 = 2;
const MISSING: u8 = 3;
const HAVE: u8 = 4;
const ASK: u8 = 5;
const ANSWER: u8 = 6;

/// What deltas may take: they are read, written, and read again.
const DELTAS: u64 = 3 * FOOTPRINT_PER_BYTE_MAX as u64;
const LISTS: u64 = 64;

pub(super) const TARGETS: [Target; 6] = [
    Target { name: "message-fresh", check: check::<FRESH>, seeds: seeds::<FRESH>, memory_per_byte: DELTAS },
    Target { name: "message-pull", check: check::<PULL>, seeds: seeds::<PULL>, memory_per_byte: LISTS },
    Target {
        name: "message-missing",
        check: check::<MISSING>,
        seeds: seeds::<MISSING>,
        memory_per_byte: DELTAS,
    },
    Target { name: "message-have", check: check::<HAVE>, seeds: seeds::<HAVE>, memory_per_byte: LISTS },
    Target { name: "message-ask", check: check::<ASK>, seeds: seeds::<ASK>, memory_per_byte: LISTS },
    Target { name: "message-answer", check: check::<ANSWER>, seeds: seeds::<ANSWER>, memory_per_byte: LISTS },
];

/// The target that reads messages of this kind.
pub fn target_of(message: &Message) -> &'static str {
    match message {
        Message::Fresh { .. } => "message-fresh",
        Message::Pull { .. } => "message-pull",
        Message::Missing { .. } => "message-missing",
        Message::Have { .. } => "message-have",
        Message::Ask { .. } => "message-ask",
        Message::Answer { .. } => "message-answer",
    }
}

fn check<const TAG: u8>(rest: &[u8]) -> bool {
    let bytes = [&[TAG], rest].concat();
    let Some(message) = whole::<Message>(&bytes) else { return false };
    let written = message.to_bytes();
    match &message {
        Message::Fresh { deltas, .. } | Message::Missing { deltas, .. } => {
            let memory: usize = deltas.iter().map(|delta| delta.footprint()).sum();
            assert!(memory <= bytes.len() * FOOTPRINT_PER_BYTE_MAX + 512, "{memory} of {}", bytes.len());
            assert_eq!(Message::from_bytes(&written), Ok(message), "it comes back");
        }
        _ => assert_eq!(written, bytes, "another encoding of {message:?}"),
    }
    true
}

fn seeds<const TAG: u8>() -> Vec<Vec<u8>> {
    let all = samples::messages().into_iter().map(|message| message.to_bytes());
    all.filter(|bytes| bytes[0] == TAG).map(|bytes| bytes[1..].to_vec()).collect()
}
