//! What may be lost, and is excused for it: exactly what a destroyed disk alone held, and rows of which a bit was flipped.
//!
//! - A write is excused when it is durable nowhere any more: each seat knows what would be there if its power failed now. That another
//!   node has it in memory does not count, for that may go as well.
//! - A complaint of a damaged row is excused while the row that was flipped is on the disk as the flip has left it. When it was written anew or
//!   removed, nothing is wrong with it any more.

use super::World;
use super::seat::Seat;
use crate::history::Fact;
use meridian_core::id::{OriginId, Seq, ShardId};
use meridian_core::node::Output;
use meridian_core::replica::{Replica, Standing};
use meridian_core::storage::{MemStorage, Read, Space};
use meridian_core::version_vector::VersionVector;
use rand::RngExt;
use rand::seq::IndexedRandom;
use std::collections::BTreeSet;

/// Why an acknowledged write may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A machine came back with another disk.
    Replaced,
    /// A damaged replica was beyond help in the end, and another disk was put in.
    Hopeless,
    /// Deltas in the log of a damaged replica could not be read, or waited for one that could not.
    Unread,
}

impl Cause {
    /// All, with words for a write that was lost so.
    pub const ALL: [(Cause, &str); 3] = [
        (Cause::Replaced, "with a disk that was replaced"),
        (Cause::Hopeless, "with one beyond help"),
        (Cause::Unread, "in a damaged log"),
    ];
}

/// A row of which a bit was flipped, and what is there since.
#[derive(Clone, Debug)]
struct Flip {
    space: Space,
    row: Vec<u8>,
    value: Vec<u8>,
}

/// What is wrong with a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Rot {
    flips: Vec<Flip>,
    /// Shards of whose log something could not be read.
    pub(super) unread: BTreeSet<ShardId>,
}

impl Rot {
    /// The flips that are still there.
    fn now<'a>(&'a self, disk: &'a MemStorage) -> impl Iterator<Item = &'a Flip> {
        let is_there = |flip: &&Flip| disk.get(flip.space, &flip.row) == Ok(Some(flip.value.clone()));
        self.flips.iter().filter(is_there)
    }

    /// Whether a row other than a delta in a log is damaged now.
    pub(super) fn is_in_cells(&self, disk: &MemStorage) -> bool {
        self.now(disk).any(|flip| flip.space != Space::Log)
    }

    /// The shards in which a row is damaged now.
    pub(super) fn shards(&self, disk: &MemStorage) -> BTreeSet<ShardId> {
        self.now(disk).map(|flip| ShardId(u16::from_be_bytes([flip.row[0], flip.row[1]]))).collect()
    }
}

impl World {
    /// A bit of a row is flipped, unless one was.
    pub(super) fn rot(&mut self, at: usize) {
        let rng = &mut self.chance.blows;
        let space = *[Space::Head, Space::Cell, Space::Log].choose(rng).expect("not empty");
        let Seat { disk, rot, .. } = &mut self.seats[at];
        let rows: Vec<Vec<u8>> = disk.rows(space).map(|(row, _)| row.to_vec()).collect();
        let Some(row) = rows.choose(rng) else { return };
        let (byte, bit) = (rng.random_range(0..64_usize), rng.random_range(0..8));
        if rot.now(disk).any(|flip| flip.space == space && flip.row == *row) {
            return;
        }
        let mut flipped = Vec::new();
        disk.damage(space, row, |value| {
            let length = value.len().max(1);
            if let Some(byte) = value.get_mut(byte % length) {
                *byte ^= 1 << bit;
            }
            flipped.clone_from(value);
        });
        rot.flips.push(Flip { space, row: row.clone(), value: flipped });
    }

    /// What a damaged log has lost is durably given up. Until then the disk has what the next start would try again.
    pub(super) fn given_up(&mut self, at: usize) {
        self.history.facts.push((self.now_us, Fact::Replaced { node: at as u32 + 1 }));
        self.excuse(Cause::Unread);
    }

    /// Acknowledged writes that are durable nowhere any more, after a disk was destroyed or a part of it was given up.
    pub(super) fn excuse(&mut self, cause: Cause) {
        let World { seats, resting, excused, history, now_us, .. } = self;
        for ((shard, origin), resting) in resting {
            let durable = seats.iter().map(|seat| seat.durable[usize::from(shard.0)].at(*origin));
            let lost = resting.split_off(&(durable.max().unwrap_or(0) + 1));
            for op in lost.into_values().flatten() {
                if excused.insert(op, cause).is_none() {
                    history.facts.push((*now_us, Fact::Destroyed { op }));
                }
            }
        }
    }
}

/// Whether a node says that it has given up something that a damaged log had lost.
pub(super) fn gives_up(output: &Output) -> bool {
    matches!(output, Output::Refilled { lost: 1.., .. })
}

/// What a replica would have if its power failed when all of it is durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    vector: VersionVector,
    /// What it had before it was emptied, while it is filled anew.
    had: Option<VersionVector>,
}

impl Held {
    pub(super) fn by(replica: &Replica) -> Held {
        let had = match replica.standing() {
            Standing::Emptying { had, .. }
            | Standing::Installing { had: Some(had), .. }
            | Standing::Filling(had) => Some(had.clone()),
            Standing::InService | Standing::Quarantined | Standing::Ruined | Standing::Installing { .. } => {
                None
            }
        };
        Held { vector: replica.vector().clone(), had }
    }

    /// Up to which of its deltas.
    pub(super) fn at(&self, origin: OriginId) -> Seq {
        let had = self.had.as_ref().map_or(0, |had| had.at(origin));
        self.vector.at(origin).max(had)
    }
}
