//! Rows: how heads, members, slots and vectors lie on the disk.
//!
//! ```text
//! space  key                                                       value
//! Head   shard(2) bucket 00 key                                    head cell; an empty one marks a key that has content and no head
//! Cell   shard(2) bucket 00 escaped-key 00 01 origin(8) birth(8)   slot
//! Cell   shard(2) bucket 00 escaped-key 00 02 member               member cell
//! Cell   shard(2) bucket 00 escaped-key 00 03 path                 head cell of a field
//! Cell   shard(2) bucket 00 escaped-key 00 04 path origin birth    slot of a field
//! Cell   shard(2) bucket 00 escaped-key 00 05 path member          member cell of a field
//! Log    shard(2) origin(8) seq(8)                                 delta
//! Meta   01                                                        format, shard count
//! Meta   02 number(4)                                              origin(8)
//! Meta   03 shard(2) origin(8)                                     a sequence that the log reached, and the last that was cut off
//! Meta   04                                                        how many deltas all replicas have applied
//! Meta   05 shard(2)                                               why the replica is out of service, where a restart must know
//! Meta   06 shard(2)                                               the Merkle tree at a version vector
//! Meta   07 shard(2) origin(8) seq(8) number(4)                    a mask: a large removal that is not swept yet
//! Stage  shard(2) 01 space(1) row                                  what a repair has fetched for this row: its canonical form
//! Stage  shard(2) 02 origin(8) seq(8)                              a delta that is held, to be handed over
//! ```
//!
//! Numbers in keys are big-endian, so that rows sort like what they name. A key is escaped `00` → `00 FF`, so that the
//! rows of one key are one range and no key's rows lie among another's. A path is each field's name, escaped in the same way, a `00`,
//! and then `02` where another field follows, `01` where it ends: what is below a field is one range of each kind.
//!
//! A shard's version vector has no rows of its own: it is where the log of each origin ends. An opening looks for the ends
//! from the last notes (`Meta 03`) on, and the count (`Meta 04`), which each turn writes, tells whether a part of the data
//! is older than the rest. Rows of the log before its beginning are rubbish: they are removed in the background.
//!
//! Every value ends in four bytes of checksum over key and value: a flipped bit, or a row in another's place, is
//! noticed when it is read and is never taken for content or for absence.
//!
//! Origins take eight bytes and are few, so rows name them by a node-local [`Origins`] number. Digests and the wire
//! always use all eight bytes.

#[cfg(feature = "planted-bugs")]
pub mod again;
mod cells;
mod fields;
mod keys;
mod log;
mod masks;
mod origins;
mod repair;
mod sealed;

pub use cells::VisitContent;
pub use keys::Place;
pub use origins::Origins;
pub(crate) use origins::scan_origins_unchecked;

pub(crate) use keys::{heads, owner, shard_of};
pub(crate) use masks::{MaskRow, delete_mask, masks, put_mask};
pub(crate) use sealed::is_whole;

pub(crate) use cells::{
    Content, HeadRow, Parts, Pen, any_beside, canonical, canonical_form, get_content, get_head, get_member,
    get_slot, head_row, parts, put_mark, scan_canonical, scan_members, scan_members_from, scan_owners,
    scan_shard, slots, written,
};
pub(crate) use fields::{FieldName, FieldRow, next_field, scan_field_slots, scan_fields};
#[cfg(any(test, feature = "planted-bugs"))]
pub(crate) use log::put_format_number;
pub(crate) use log::{
    Stretch, damaged_delta, delete_delta, delete_stretch, first_delta, get_applied, get_delta, get_format,
    has_delta, is_empty, log_row_bytes, put_applied, put_delta, put_format, put_stretch, scan_log,
    scan_stretches,
};
pub(crate) use repair::{
    AtMost, KeptTree, Remove, Staged, Unfinished, delete_held, delete_staged, delete_tree, delete_unfinished,
    first_staged, get_held, get_tree, get_unfinished, is_staged, log_first, put_held, put_staged, put_tree,
    put_unfinished, rows_first, scan_held, staged_shards,
};

/// The number of this layout. A data directory with a greater one is refused.
pub const FORMAT: u64 = 4;
/// The first format in which a key that has content and no head is marked.
pub(crate) const FORMAT_MARKED: u64 = 4;
/// The first format that counts what was applied. Before, `Meta 03` was written with each delta and always at its end.
pub(crate) const FORMAT_COUNTED: u64 = 2;
