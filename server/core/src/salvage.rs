//! Salvage: what the log of a damaged database still holds, for a node that has started anew without it.
//!
//! - Every row carries its checksum, so each that can be read is good by itself, whatever lies around it.
//! - An error of the disk ends nothing, of whatever kind it is: what lies behind it is looked for.
//! - What is given comes after all that its author had seen, so that a node applies it as it comes. Only what waits for
//!   something that could not be read comes last, and out of turn.
//! - Memory is bounded by the names of origins: one delta is held at a time.

use crate::delta::Delta;
use crate::id::{Dot, OriginId, Seq, ShardId};
use crate::rows;
use crate::storage::{Read, Space, StorageError};
use crate::version_vector::VersionVector;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// Where a row of one shard's log lies among the others: its origin, then its sequence.
type Place = u128;

/// What was found in the log of a damaged database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The last delta of each origin that can be read, for each shard.
    ends: BTreeMap<ShardId, BTreeMap<OriginId, Seq>>,
    /// The origins of which there may be deltas.
    origins: BTreeSet<OriginId>,
    /// The last deltas that had been cut off; `None` where that cannot be read.
    low: Option<BTreeMap<(ShardId, OriginId), Seq>>,
    /// How many deltas are there to be read.
    pub readable: u64,
    /// How many times nothing could be read for a stretch, of whatever length.
    pub stretches: u64,
}

/// What of a shard was given to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// What the node has when it has applied all that it can.
    pub vector: VersionVector,
    /// How many deltas it can apply.
    pub given: u64,
    /// How many were given though something before them could not be read.
    pub waiting: u64,
}

impl Survey {
    /// Begins with the origins that the database's table names: where the log is damaged, a row of theirs may be found by
    /// its name alone.
    pub fn begin(disk: &dyn Read) -> Survey {
        let mut survey = Survey::default();
        // A damaged row gives a name that nothing has, and what is behind an error is found in the log, mostly.
        let _damaged = rows::scan_origins_unchecked(disk, &mut |origin| {
            survey.origins.insert(origin);
        });
        let mut low = BTreeMap::new();
        let noted = rows::scan_stretches(disk, &mut |shard, origin, stretch| {
            low.insert((shard, origin), stretch.low);
        });
        survey.low = noted.is_ok().then_some(low);
        survey
    }

    /// Looks through the log of a shard, and on behind what cannot be read; and through what was held to be handed over
    /// to a replica that was being filled again.
    pub fn look(&mut self, disk: &dyn Read, shard: ShardId) {
        let held = rows::scan_held(disk, shard, Dot::new(OriginId(0), 0), &mut |dot, delta| {
            if delta.is_some() {
                self.note(shard, dot);
            }
            ControlFlow::Continue(())
        });
        self.stretches += u64::from(held.is_err());
        let mut next = Some(0);
        while let Some(from) = next {
            let mut last = None;
            let scanned = scan(disk, shard, from, &mut |place, is_whole| {
                last = Some(place);
                // A damaged name may say any sequence: nobody is to look for all deltas up to it.
                if is_whole() {
                    self.count(shard, dot_at(place));
                }
                ControlFlow::Continue(())
            });
            if scanned.is_ok() {
                return;
            }
            self.stretches += 1;
            next = last.unwrap_or(from).checked_add(1).and_then(|behind| first_readable(disk, shard, behind));
        }
    }

    fn count(&mut self, shard: ShardId, dot: Dot) {
        let low = self.low.as_ref().and_then(|low| low.get(&(shard, dot.origin))).copied().unwrap_or(0);
        self.readable += u64::from(dot.seq > low);
        self.note(shard, dot);
    }

    fn note(&mut self, shard: ShardId, dot: Dot) {
        self.origins.insert(dot.origin);
        let end = self.ends.entry(shard).or_default().entry(dot.origin).or_default();
        *end = dot.seq.max(*end);
    }

    /// How many deltas could not be read, by the database's own count of all that it ever applied, but for those that had
    /// been cut off. Without it, each stretch counts as one.
    pub fn unreadable(&self, disk: &dyn Read) -> u64 {
        let applied = rows::get_applied(disk).unwrap_or(0);
        let in_log =
            self.low.as_ref().map(|low| low.values().fold(applied, |left, low| left.saturating_sub(*low)));
        in_log.unwrap_or(0).saturating_sub(self.readable).max(self.stretches)
    }

    /// Gives what can be read of a shard's log and is not covered by `have`, until `give` breaks off.
    ///
    /// # Errors
    /// No error: what `give` broke off with.
    pub fn give(
        &self,
        disk: &dyn Read,
        shard: ShardId,
        have: &VersionVector,
        give: &mut dyn FnMut(Delta) -> ControlFlow<()>,
    ) -> ControlFlow<(), Salvaged> {
        let mut found = Salvaged { vector: have.clone(), ..Salvaged::default() };
        loop {
            let before = found.given;
            for origin in &self.origins {
                while let Some(delta) = read(disk, shard, next_of(&found.vector, *origin))
                    && found.vector.includes(&delta.deps)
                {
                    found.vector.raise(delta.dot);
                    found.given += 1;
                    give(delta)?;
                }
            }
            if found.given == before {
                break;
            }
        }
        // A peer may have what these wait for.
        for (origin, end) in self.ends.get(&shard).into_iter().flatten() {
            for seq in next_of(&found.vector, *origin).seq..=*end {
                if let Some(delta) = read(disk, shard, Dot::new(*origin, seq)) {
                    found.waiting += 1;
                    give(delta)?;
                }
            }
        }
        ControlFlow::Continue(found)
    }
}

fn next_of(vector: &VersionVector, origin: OriginId) -> Dot {
    Dot::new(origin, vector.at(origin).saturating_add(1))
}

/// A delta, if it can be read.
fn read(disk: &dyn Read, shard: ShardId, dot: Dot) -> Option<Delta> {
    let logged = rows::get_delta(disk, shard, dot).ok().flatten();
    logged.or_else(|| rows::get_held(disk, shard, dot).ok().flatten())
}

/// The place of the first row from a place on, behind all that cannot be read; `None` where there is none.
///
/// Where a look fails, longer and longer leaps find a place where it does not, and halves of the last one lead back to where
/// the damage ends. A few rows between two stretches of damage may be leapt over.
fn first_readable(disk: &dyn Read, shard: ShardId, from: Place) -> Option<Place> {
    let (mut bad, mut leap, mut at) = (None, 1, from);
    let mut good = loop {
        match first(disk, shard, at) {
            Ok(found) => break (at, found),
            Err(_) if at == Place::MAX => return None,
            Err(_) => {
                bad = Some(at);
                at = from.saturating_add(leap);
                leap = leap.saturating_mul(2);
            }
        }
    };
    while let Some(low) = bad
        && good.0 - low > 1
    {
        let middle = low + (good.0 - low) / 2;
        match first(disk, shard, middle) {
            Ok(found) => good = (middle, found),
            Err(_) => bad = Some(middle),
        }
    }
    good.1
}

/// The place of the first row from a place on.
fn first(disk: &dyn Read, shard: ShardId, from: Place) -> Result<Option<Place>, StorageError> {
    let mut first = None;
    scan(disk, shard, from, &mut |place, _| {
        first = Some(place);
        ControlFlow::Break(())
    })?;
    Ok(first)
}

/// Called with a row's place, and what says whether its name and value are what was written.
type VisitRow<'a> = &'a mut dyn FnMut(Place, &dyn Fn() -> bool) -> ControlFlow<()>;

/// Visits the places of a shard's rows from a place on. What is not named like a row of the log is passed over.
fn scan(disk: &dyn Read, shard: ShardId, from: Place, visit: VisitRow<'_>) -> Result<(), StorageError> {
    let prefix = shard.0.to_be_bytes();
    let from: Vec<u8> = prefix.into_iter().chain(from.to_be_bytes()).collect();
    disk.scan(Space::Log, &prefix, &from, &mut |row, value| {
        let place = row.get(prefix.len()..).and_then(|place| place.try_into().ok());
        let is_whole = || rows::is_whole(Space::Log, row, value);
        Ok(place.map_or(ControlFlow::Continue(()), |place| visit(Place::from_be_bytes(place), &is_whole)))
    })
}

fn dot_at(place: Place) -> Dot {
    Dot::new(OriginId((place >> 64) as u64), place as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Encode as _;
    use crate::delta::{Change, Effect};
    use crate::hlc::Hlc;
    use crate::merkle::{Changes, Counted, Seed};
    use crate::name::{Bucket, Key};
    use crate::path::Path;
    use crate::storage::{Batch, MemStorage, Storage, Visit};
    use alloc::vec;
    use proptest::prelude::*;

    const SHARD: ShardId = ShardId(3);

    /// A disk with ranges of rows that cannot be read, nor be passed by a scan.
    struct Damaged {
        disk: MemStorage,
        bad: Vec<(Place, Place)>,
    }

    fn broken() -> StorageError {
        StorageError::Io("a bad block".into())
    }

    impl Damaged {
        fn is_bad(&self, row: &[u8]) -> bool {
            let place = row.get(2..).and_then(|place| place.try_into().ok()).map(Place::from_be_bytes);
            place.is_some_and(|place| self.bad.iter().any(|(first, last)| (*first..=*last).contains(&place)))
        }
    }

    impl Read for Damaged {
        fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
            match self.is_bad(key) {
                true => Err(broken()),
                false => self.disk.get(space, key),
            }
        }

        fn scan(
            &self,
            space: Space,
            prefix: &[u8],
            from: &[u8],
            visit: Visit<'_>,
        ) -> Result<(), StorageError> {
            if space == Space::Log && self.is_bad(from) {
                return Err(broken());
            }
            self.disk.scan(space, prefix, from, &mut |key, value| match self.is_bad(key) {
                true => Err(broken()),
                false => visit(key, value),
            })
        }

        fn scan_back(
            &self,
            space: Space,
            prefix: &[u8],
            before: Option<&[u8]>,
            visit: Visit<'_>,
        ) -> Result<(), StorageError> {
            self.disk.scan_back(space, prefix, before, &mut |key, value| match self.is_bad(key) {
                true => Err(broken()),
                false => visit(key, value),
            })
        }
    }

    fn place(origin: u64, seq: u64) -> Place {
        (Place::from(origin) << 64) + Place::from(seq)
    }

    fn delta(origin: u64, seq: Seq, deps: &[(u64, Seq)]) -> Delta {
        let change = Change {
            bucket: Bucket::new("b").unwrap(),
            key: Key::new(b"k").unwrap(),
            effects: vec![(Path::default(), Effect::Clear { seen: None })],
        };
        Delta {
            dot: Dot::new(OriginId(origin), seq),
            generation: 0,
            deps: deps.iter().map(|(origin, seq)| Dot::new(OriginId(*origin), *seq)).collect(),
            hlc: Hlc(seq),
            changes: vec![change],
        }
    }

    fn disk_with(deltas: &[Delta], bad: &[(Place, Place)]) -> Damaged {
        let (mut disk, mut batch) = (MemStorage::default(), Batch::default());
        let mut changes = Changes::new(Seed(0), Counted::All, None);
        for delta in deltas {
            rows::put_delta(&mut batch, &mut changes, SHARD, delta);
        }
        rows::put_applied(&mut batch, deltas.len() as u64);
        disk.write(&batch).unwrap();
        Damaged { disk, bad: bad.to_vec() }
    }

    /// What is given, in order, and what came of it.
    fn salvage(disk: &Damaged, have: &[(u64, Seq)]) -> (Survey, Vec<(u64, Seq)>, Salvaged) {
        let have = have.iter().map(|(origin, seq)| Dot::new(OriginId(*origin), *seq)).collect();
        let mut survey = Survey::begin(disk);
        for shard in 0..5 {
            survey.look(disk, ShardId(shard));
        }
        let mut given = Vec::new();
        let done = survey.give(disk, SHARD, &have, &mut |delta| {
            given.push((delta.dot.origin.0, delta.dot.seq));
            ControlFlow::Continue(())
        });
        let ControlFlow::Continue(salvaged) = done else { panic!("nobody has broken off") };
        (survey, given, salvaged)
    }

    #[test]
    fn what_the_node_lacks_is_given_in_an_order_in_which_it_can_be_applied() {
        let deltas = [delta(1, 1, &[]), delta(1, 2, &[(2, 2)]), delta(2, 1, &[]), delta(2, 2, &[(1, 1)])];
        let disk = disk_with(&deltas, &[]);
        let (survey, given, salvaged) = salvage(&disk, &[(2, 1)]);
        assert_eq!(given, [(1, 1), (2, 2), (1, 2)]);
        assert_eq!((salvaged.given, salvaged.waiting), (3, 0));
        assert_eq!(
            salvaged.vector,
            [Dot::new(OriginId(1), 2), Dot::new(OriginId(2), 2)].into_iter().collect()
        );
        assert_eq!((survey.readable, survey.unreadable(&disk)), (4, 0));
    }

    #[test]
    fn damage_is_read_on_behind_and_counted() {
        let mut deltas: Vec<Delta> = (1..=9).map(|seq| delta(5, seq, &[])).collect();
        deltas.extend((1..=3).map(|seq| delta(u64::MAX, seq, &[])));
        // From within one origin's log into another's.
        let disk = disk_with(&deltas, &[(place(5, 3), place(5, 4)), (place(5, 8), place(u64::MAX, 1))]);
        let (survey, given, salvaged) = salvage(&disk, &[(5, 2)]);
        assert_eq!((survey.readable, survey.stretches, survey.unreadable(&disk)), (7, 2, 5));
        assert_eq!(given, [(5, 5), (5, 6), (5, 7), (u64::MAX, 2), (u64::MAX, 3)]);
        assert_eq!((salvaged.given, salvaged.waiting), (0, 5));
        // With what a peer had, they wait no longer.
        let (_, given, salvaged) = salvage(&disk, &[(5, 4), (u64::MAX, 1)]);
        assert_eq!(given, [(5, 5), (5, 6), (5, 7), (u64::MAX, 2), (u64::MAX, 3)]);
        assert_eq!((salvaged.given, salvaged.waiting), (5, 0));
    }

    #[test]
    fn what_had_been_cut_off_is_not_missed_and_what_was_held_is_given() {
        let mut disk = disk_with(&[delta(1, 3, &[]), delta(1, 4, &[])], &[]);
        let mut batch = Batch::default();
        rows::put_stretch(&mut batch, SHARD, OriginId(1), rows::Stretch { low: 2, reached: 4 });
        rows::put_applied(&mut batch, 4);
        rows::put_held(&mut batch, SHARD, &delta(2, 1, &[(1, 3)]));
        disk.disk.write(&batch).unwrap();
        let (survey, given, salvaged) = salvage(&disk, &[(1, 2)]);
        assert_eq!((survey.readable, survey.unreadable(&disk)), (2, 0));
        assert_eq!(given, [(1, 3), (1, 4), (2, 1)]);
        assert_eq!((salvaged.given, salvaged.waiting), (3, 0));
    }

    #[test]
    fn a_name_that_is_damaged_is_not_followed() {
        // Two bits of a name are flipped: as many deltas as it says would take for ever to look for.
        let mut disk = disk_with(&[delta(1, 1, &[]), delta(2, 1, &[])], &[]);
        let mut batch = Batch::default();
        for (space, row) in [
            (Space::Log, [&[0, 3][..], &[0, 0, 0, 0, 0, 0, 0, 2], &[0xff; 8]].concat()),
            (Space::Stage, [&[0, 3, 2][..], &[0, 0, 0, 0, 0, 0, 0, 2], &[0xff; 8]].concat()),
        ] {
            batch.put(space, row, delta(2, 2, &[]).to_bytes());
        }
        disk.disk.write(&batch).unwrap();
        let (survey, given, salvaged) = salvage(&disk, &[]);
        assert_eq!((given, salvaged.given, survey.readable), (vec![(1, 1), (2, 1)], 2, 2));
    }

    #[test]
    fn a_disk_that_reads_nothing_gives_nothing_and_ends() {
        let disk = disk_with(&[delta(1, 1, &[])], &[(0, Place::MAX)]);
        let (survey, given, _) = salvage(&disk, &[]);
        assert_eq!((survey.readable, survey.stretches, given.len()), (0, 5, 0));
        assert_eq!(survey.unreadable(&disk), 5, "each shard's, as nothing says more");
    }

    /// Names origins in the database's table, as a replica does with the first delta of each.
    fn name_origins(disk: &mut Damaged, named: impl Iterator<Item = OriginId>) {
        let (mut batch, mut origins) = (Batch::default(), rows::Origins::default());
        for origin in named {
            origins.number(&mut batch, origin);
        }
        disk.disk.write(&batch).unwrap();
    }

    #[test]
    fn what_stands_between_two_stretches_of_damage_is_found_by_its_origins_name() {
        // A leap from the first stretch ends behind the second, and the way back leads to the second's end.
        let deltas = [delta(0, 1, &[]), delta(2, 1, &[]), delta(3, 1, &[])];
        let mut disk = disk_with(&deltas, &[(place(2, 1), place(2, 2)), (place(3, 2), place(3, 2))]);
        assert_eq!(salvage(&disk, &[]).1, [(0, 1)], "nothing names the last");
        name_origins(&mut disk, deltas.iter().map(|delta| delta.dot.origin));
        assert_eq!(salvage(&disk, &[]).1, [(0, 1), (3, 1)]);
    }

    #[test]
    fn an_origin_that_only_the_table_names_is_found() {
        let mut disk = disk_with(&[delta(7, 1, &[])], &[]);
        name_origins(&mut disk, [OriginId(7)].into_iter());
        // Scans do not come as far, a read of the row does.
        disk.bad = vec![(0, place(7, 0)), (place(7, 2), Place::MAX)];
        let (_, given, _) = salvage(&disk, &[]);
        assert_eq!(given, [(7, 1)]);
    }

    proptest! {
        #[test]
        fn all_that_can_be_applied_is_given_once_and_in_order(
            seen in proptest::collection::vec((0..4u64, any::<bool>()), 1..40),
            bad in proptest::collection::vec((0..4u64, 1..12u64, 0..4u64), 0..4),
        ) {
            // Authors that have seen everything before, or nothing of others.
            let (mut deltas, mut vector) = (Vec::new(), VersionVector::default());
            for (origin, sees) in seen {
                let deps: Vec<(u64, Seq)> = vector.without(OriginId(origin)).iter().filter(|_| sees)
                    .map(|dot| (dot.origin.0, dot.seq)).collect();
                let next = next_of(&vector, OriginId(origin));
                vector.raise(next);
                deltas.push(delta(origin, next.seq, &deps));
            }
            let bad: Vec<(Place, Place)> =
                bad.iter().map(|(origin, seq, more)| (place(*origin, *seq), place(*origin, seq + more))).collect();
            let mut disk = disk_with(&deltas, &bad);
            name_origins(&mut disk, vector.iter().map(|dot| dot.origin));
            let (_, given, salvaged) = salvage(&disk, &[]);
            let mut expected = VersionVector::default();
            for delta in &deltas {
                let row = rows::get_delta(&disk, SHARD, delta.dot);
                if row.is_ok() && next_of(&expected, delta.dot.origin) == delta.dot
                    && expected.includes(&delta.deps) {
                    expected.raise(delta.dot);
                }
            }
            prop_assert_eq!(&salvaged.vector, &expected);
            let mut applied = VersionVector::default();
            for (origin, seq) in &given[..salvaged.given as usize] {
                let dot = Dot::new(OriginId(*origin), *seq);
                let delta = deltas.iter().find(|delta| delta.dot == dot).unwrap();
                prop_assert!(applied.includes(&delta.deps));
                prop_assert!(applied.advance(dot).is_ok());
            }
            prop_assert_eq!(applied, expected);
            let unique: BTreeSet<_> = given.iter().collect();
            prop_assert_eq!(unique.len(), given.len());
        }
    }
}
