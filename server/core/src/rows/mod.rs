//! Rows: how heads, members, slots and vectors lie on the disk.
//!
//! ```text
//! space  key                                                       value
//! Head   shard(2) bucket 00 key                                    head cell
//! Cell   shard(2) bucket 00 escaped-key 00 01 origin(8) birth(8)   slot
//! Cell   shard(2) bucket 00 escaped-key 00 02 member               member cell
//! Log    shard(2) origin(8) seq(8)                                 delta
//! Meta   01                                                        format, shard count
//! Meta   02 number(4)                                              origin(8)
//! Meta   03 shard(2) origin(8)                                     seq: the log reached this far when the node was opened
//! Meta   04                                                        how many deltas all replicas have applied
//! ```
//!
//! Numbers in keys are big-endian, so that rows sort like what they name. A key is escaped `00` → `00 FF`, so that the
//! rows of one key are one range and no key's rows lie among another's.
//!
//! A shard's version vector has no rows of its own: it is where the log of each origin ends. An opening looks for the ends
//! from the last notes (`Meta 03`) on, and the count (`Meta 04`), which each turn writes, tells whether a part of the data
//! is older than the rest.
//!
//! Every value ends in four bytes of checksum over key and value: a flipped bit, or a row in another's place, is
//! noticed when it is read and is never taken for content or for absence.
//!
//! Origins take eight bytes and are few, so rows name them by a node-local [`Origins`] number. Digests and the wire
//! always use all eight bytes.

mod cells;
mod keys;
mod log;
mod origins;
mod sealed;

pub use cells::VisitContent;
pub use keys::Place;
pub use origins::Origins;

pub(crate) use cells::{
    get_head, get_member, get_slot, parts, put_head, put_member, put_slot, scan_canonical, scan_members,
    slots,
};
pub(crate) use log::{
    first_delta, get_applied, get_delta, get_format, has_delta, is_empty, put_applied, put_delta, put_format,
    put_reached, scan_reached,
};

/// The number of this layout. A data directory with a greater one is refused.
pub const FORMAT: u64 = 2;
/// The first format that counts what was applied. Before, `Meta 03` was written with each delta and always at its end.
pub(crate) const FORMAT_COUNTED: u64 = 2;
