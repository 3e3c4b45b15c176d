//! The disks that schedules run on.

use meridian_core::storage::{self, MemStorage, Space, Storage};

/// A disk that a schedule can treat badly. Whatever it is made of, the same seed must give the same trace on it.
pub trait Disk: Storage + storage::Disk + Sized {
    /// What somebody keeps of a disk, to put it back later.
    type Image: Clone;

    /// A disk with nothing on it.
    fn empty() -> Self;

    /// How many batches a crash may lose.
    fn unsynced(&self) -> usize;

    /// The power fails: of the batches that were not synced only the first `kept` stay.
    fn crash(&mut self, kept: usize);

    /// A copy of it as it reads now, with what is not synced.
    fn image(&self) -> Self::Image;

    /// The disk that an image was taken of, as it was then.
    fn from_image(image: &Self::Image) -> Self;

    /// Replaces a row's value with what `damage` makes of it: bit rot, which no crash undoes. Without such a row nothing
    /// happens.
    fn damage(&mut self, space: Space, key: &[u8], damage: impl FnOnce(&mut Vec<u8>));

    /// All rows of a space, ascending.
    fn rows(&self, space: Space) -> Vec<(Vec<u8>, Vec<u8>)>;
}

impl Disk for MemStorage {
    type Image = MemStorage;

    fn empty() -> MemStorage {
        MemStorage::default()
    }

    fn unsynced(&self) -> usize {
        MemStorage::unsynced(self)
    }

    fn crash(&mut self, kept: usize) {
        MemStorage::crash(self, kept);
    }

    fn image(&self) -> MemStorage {
        self.clone()
    }

    fn from_image(image: &MemStorage) -> MemStorage {
        image.clone()
    }

    fn damage(&mut self, space: Space, key: &[u8], damage: impl FnOnce(&mut Vec<u8>)) {
        MemStorage::damage(self, space, key, damage);
    }

    fn rows(&self, space: Space) -> Vec<(Vec<u8>, Vec<u8>)> {
        MemStorage::rows(self, space).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }
}
