//! Storages: the conformance suite on the one in memory, its crashes, and the overlay that shows a turn its own
//! changes.

use meridian_core::storage::{Batch, MemStorage, Overlay, Read, Space, Storage};
use meridian_tests::storage_suite::{conforms, scan, scan_back};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn the_storage_in_memory_conforms() {
    conforms(&mut MemStorage::default()).expect("it does what every storage must do");
}

fn batch() -> impl Strategy<Value = Batch> {
    vec(("[ab]{0,3}", proptest::option::of("[xyz]")), 0..8).prop_map(|changes| {
        let mut batch = Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(Space::Cell, key.into(), value.into()),
                None => batch.delete(Space::Cell, key.into()),
            }
        }
        batch
    })
}

fn rows(disk: &dyn Read) -> Vec<(Vec<u8>, Vec<u8>)> {
    scan(disk, Space::Cell, b"", b"", usize::MAX).expect("a storage in memory")
}

proptest! {
    #[test]
    fn a_crash_keeps_a_prefix_of_what_was_not_synced(batches in vec(batch(), 0..8), synced in 0..8usize, kept in 0..8usize) {
        let mut disk = MemStorage::default();
        let mut states = vec![rows(&disk)];
        for (place, batch) in batches.iter().enumerate() {
            if place == synced {
                disk.sync().unwrap();
            }
            disk.write(batch).unwrap();
            states.push(rows(&disk));
        }
        let durable = if synced < batches.len() { synced } else { 0 };
        prop_assert_eq!(disk.unsynced(), batches.len() - durable);
        disk.crash(kept);
        let survived = (durable + kept).min(batches.len());
        prop_assert_eq!(rows(&disk), states[survived].clone());
        prop_assert_eq!(disk.unsynced(), 0);
    }

    #[test]
    fn an_overlay_reads_like_the_disk_after_the_write(below in batch(), above in batch(), prefix in "[ab]{0,2}", from in "[ab]{0,3}", limit in 0..4usize) {
        let mut disk = MemStorage::default();
        disk.write(&below).unwrap();
        let mut written = disk.clone();
        written.write(&above).unwrap();
        let overlay = Overlay { disk: &disk, batch: &above };
        prop_assert_eq!(rows(&overlay), rows(&written));
        for (key, _) in rows(&written).into_iter().chain(rows(&disk)) {
            prop_assert_eq!(overlay.get(Space::Cell, &key).unwrap(), written.get(Space::Cell, &key).unwrap());
        }
        let scan = |disk: &dyn Read| scan(disk, Space::Cell, prefix.as_bytes(), from.as_bytes(), limit).unwrap();
        prop_assert_eq!(scan(&overlay), scan(&written));
        for before in [None, Some(from.as_bytes())] {
            let back = |disk: &dyn Read| scan_back(disk, Space::Cell, prefix.as_bytes(), before, limit).unwrap();
            prop_assert_eq!(back(&overlay), back(&written));
        }
    }

    #[test]
    fn what_is_rolled_back_was_never_there(kept in batch(), taken_back in batch()) {
        let mut batch = kept.clone();
        batch.commit();
        for (space, key, value) in taken_back.iter() {
            match value {
                Some(value) => batch.put(space, key.to_vec(), value.to_vec()),
                None => batch.delete(space, key.to_vec()),
            }
        }
        batch.roll_back();
        prop_assert!(batch.iter().eq(kept.iter()));
    }
}
