//! A disk that is full for a while. As in the server:
//!
//! - while it is nearly full, clients' writes are refused, and the node is told that there is no room for what peers send; reads go on;
//! - when a batch does not fit, the write fails, or the sync after it: the process ends, and nothing leaves it any more;
//! - a start may fail as well, for the database writes when it is opened, and is tried again; or it frees a little.

use super::seat::Seat;
use super::{Event, Relief, World};
use meridian_core::storage::Batch;
use rand::RngExt;

/// Most bytes that are left when a disk begins to be full, and most that a start frees.
const ROOM_MAX: u64 = 4_000;

/// What still fits on a full disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    bytes: u64,
    /// With less than this, it is nearly full.
    reserve: u64,
}

impl Seat {
    /// Whether clients' writes are refused, and what peers send is to wait.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.room.is_some_and(|room| room.bytes < room.reserve)
    }

    /// Whether a batch still fits; then it takes its room.
    pub(super) fn takes(&mut self, batch: &Batch) -> bool {
        let Some(room) = &mut self.room else { return true };
        let bytes: usize = batch.iter().map(|(_, key, value)| key.len() + value.map_or(0, <[u8]>::len)).sum();
        let left = room.bytes.checked_sub(bytes as u64);
        room.bytes = left.unwrap_or(0);
        left.is_some()
    }
}

impl World {
    /// A disk begins to be full, unless it is.
    pub(super) fn fill_disk(&mut self, at: usize) {
        if self.seats[at].room.is_some() {
            return;
        }
        let bytes = self.chance.blows.random_range(0..ROOM_MAX);
        let reserve = if self.chance.blows.random() { bytes / 2 } else { 0 };
        self.seats[at].room = Some(Room { bytes, reserve });
        let us = 2 * self.lasts_us();
        self.due_in(us, Event::Relief(Relief::Room(at)));
    }

    /// Whether the database finds the room that it needs when it is opened.
    pub(super) fn has_room_to_start(&mut self, at: usize) -> bool {
        let Some(room) = &mut self.seats[at].room else { return true };
        room.bytes = self.chance.blows.random_range(0..ROOM_MAX);
        let has_room: bool = self.chance.blows.random();
        self.figures.full += u64::from(!has_room);
        has_room
    }

    /// A batch did not fit, or could not be synced: the process ends.
    pub(super) fn disk_fails(&mut self, at: usize) -> Result<(), String> {
        self.trace(|_| format!("n{}: its disk is full", at + 1));
        self.figures.full += 1;
        self.crash(at)
    }

    /// All disks have room again. A sync that has failed ends its process all the same.
    pub(super) fn empty_disks(&mut self) -> Result<(), String> {
        for at in 0..self.seats.len() {
            self.seats[at].room = None;
            if self.seats[at].sync_fails {
                self.disk_fails(at)?;
            }
        }
        Ok(())
    }
}
