//! The comparison of a node with the model, after every step.

use super::{Disk, Seat, World};
use crate::content::{Content, ContentError};
use crate::model::{self, Event, Model, Vector};
use meridian_core::cell::Head;
use meridian_core::codec::Encode;
use meridian_core::delta::{Delta, Effect};
use meridian_core::hlc::Hlc;
use meridian_core::id::{Dot, OriginId, Seq, ShardId};
use meridian_core::merkle::Tree;
use meridian_core::name::Key;
use meridian_core::node::Turn;
use meridian_core::path::ROOT;
use meridian_core::replica::Standing;
use meridian_core::storage::Space;
use std::collections::BTreeMap;

impl<D: Disk> World<D> {
    /// A node's content is what the model says for its version vector, and that of every node with an equal one.
    pub(super) fn check(&mut self, seat: usize) -> Result<(), String> {
        let replica = self.seats[seat].node.replica(ShardId(0)).expect("the only shard");
        if replica.is_out_of_service() {
            self.tally.installing += u64::from(matches!(replica.standing(), Standing::Installing { .. }));
            self.seats[seat].model = Model::default();
            self.seats[seat].bytes = None;
            return Ok(());
        }
        self.check_tree(seat)?;
        let vector = self.vector(seat);
        catch_up(&mut self.seats[seat].model, &vector, &self.events)
            .map_err(|what| format!("n{}: {what}", seat + 1))?;
        let (content, bytes) = match Content::of_node(&self.seats[seat].node, &self.seats[seat].disk) {
            Ok(read) => read,
            Err(ContentError::Damaged(_)) if self.seats[seat].rotten => {
                self.seats[seat].bytes = None;
                return Ok(());
            }
            Err(ContentError::Damaged(error)) => return Err(format!("n{}: {error}", seat + 1)),
            Err(ContentError::Misplaced(error)) => return Err(format!("n{}: a row: {error}", seat + 1)),
        };
        let expected = Content::of_model(&self.seats[seat].model);
        if content != expected {
            return Err(format!("n{} holds\n{content:#?}\nand the model says\n{expected:#?}", seat + 1));
        }
        self.check_listed(seat)?;
        let twin = self.seats.iter().enumerate().find(|(other, twin)| {
            *other != seat
                && twin.bytes.as_ref().is_some_and(|other| *other != bytes)
                && twin.model.vector == vector
        });
        if let Some((twin, _)) = twin {
            return Err(format!("n{} and n{}: equal version vectors, different content", seat + 1, twin + 1));
        }
        self.seats[seat].bytes = Some(bytes);
        Ok(())
    }

    /// The tree of a node is what its rows say, as far as they can be read; and its log has no hole, and reaches back as far
    /// as it says.
    fn check_tree(&self, seat: usize) -> Result<(), String> {
        let Seat { node, disk, rotten, .. } = &self.seats[seat];
        let replica = node.replica(ShardId(0)).expect("the only shard");
        if *rotten {
            return Ok(());
        }
        let (mut tree, seed) = (Tree::default(), self.config.seed);
        let scanned = replica.scan_content(disk, node.origins(), &mut |space, row, canonical| {
            tree.add(seed.leaf(space, row), seed.row(space, row, canonical));
        });
        scanned.map_err(|error| error.to_string())?;
        if replica.tree().is_some_and(|counted| *counted != tree) {
            return Err(format!("n{}: its tree is not that of its rows", seat + 1));
        }
        let (low, vector) = (replica.low(), replica.vector());
        let mut bytes = 0;
        let mut logged: BTreeMap<OriginId, Vec<Seq>> = BTreeMap::new();
        for (row, value) in disk.rows(Space::Log) {
            let number = |at: usize| u64::from_be_bytes(row[at..at + 8].try_into().expect("eight bytes"));
            bytes += (row.len() + value.len()) as u64;
            logged.entry(OriginId(number(2))).or_default().push(number(10));
        }
        for last in vector.iter() {
            let found = logged.remove(&last.origin).unwrap_or_default();
            let reach = found.into_iter().filter(|seq| *seq > low.at(last.origin));
            if !reach.eq(low.at(last.origin) + 1..=last.seq) {
                return Err(format!("n{}: the log of {:?} has a hole behind {low:?}", seat + 1, last.origin));
            }
        }
        match replica.log_bytes() {
            Some(counted) if counted != bytes => {
                Err(format!("n{}: its log has {bytes} bytes, and it counts {counted}", seat + 1))
            }
            _ => Ok(()),
        }
    }

    /// Each key that exists has a row for its head, by which a listing comes.
    fn check_listed(&self, seat: usize) -> Result<(), String> {
        let Seat { disk, model, .. } = &self.seats[seat];
        let rows = disk.rows(Space::Head);
        let listed =
            |key: &Key| rows.iter().any(|(row, _)| row.strip_prefix(b"\0\0b\0") == Some(key.as_bytes()));
        match self.keys.iter().find(|(key, _)| model.exists(key) && !listed(key)) {
            Some((key, _)) => Err(format!("n{}: {key:?} exists, and no listing would find it", seat + 1)),
            None => Ok(()),
        }
    }

    /// What a node's engine says it has applied.
    pub(super) fn vector(&self, seat: usize) -> Vector {
        let replica = self.seats[seat].node.replica(ShardId(0)).expect("the only shard");
        replica.vector().iter().map(|dot| (dot.origin, dot.seq)).collect()
    }

    /// The engine chooses the stamps of registers: the model learns each from its author's log, and every other replica
    /// must log the same.
    pub(super) fn learn_stamps(&mut self, turn: &Turn) -> Result<(), String> {
        let logged = turn.batch.iter().filter(|(space, ..)| *space == Space::Log);
        for value in logged.filter_map(|(_, _, value)| value) {
            let (body, _) = value.split_last_chunk::<4>().ok_or("a log row without a checksum")?;
            let delta =
                Delta::from_bytes(body).map_err(|error| format!("a log row is unreadable: {error}"))?;
            let effects = delta.changes.iter().flat_map(|change| &change.effects);
            let stamps = effects.filter_map(|(path, effect)| match effect {
                Effect::Head { put: Some(Head::Register(register)), .. } => Some((path, register.hlc)),
                _ => None,
            });
            for (path, stamp) in stamps {
                let event = self.events.get_mut(&delta.dot).ok_or("a delta was logged that nobody made")?;
                let act = event.acts.get_mut(path);
                let Some(Head::Register(register)) = act.and_then(|act| act.head_put.as_mut()) else {
                    return Err(format!("{:?} puts a register, and the model does not", delta.dot));
                };
                if register.hlc != Hlc(0) && register.hlc != stamp {
                    return Err(format!("{:?} has two stamps", delta.dot));
                }
                register.hlc = stamp;
            }
        }
        Ok(())
    }

    /// A put exceeds every stamp that its author saw in the same cell, whatever the clocks did.
    pub(super) fn check_stamp(&self, event: Option<Dot>, siblings: &[Dot]) -> Result<(), String> {
        let stamp = |dot: &Dot| match self.events.get(dot)?.acts.get(&ROOT)?.head_put.as_ref()? {
            Head::Register(register) => Some(register.hlc),
            _ => None,
        };
        let Some(put) = event.and_then(|dot| stamp(&dot)) else { return Ok(()) };
        match siblings.iter().filter_map(stamp).max() {
            Some(seen) if seen >= put => Err(format!("{event:?} at {put:?} does not beat {seen:?}")),
            _ => Ok(()),
        }
    }
}

/// Brings a model to the version vector that an engine has reached. The engine chooses what it applies, and when; the
/// way there must be without gaps, and no event may come before one that its author had applied.
fn catch_up(model: &mut Model, target: &Vector, events: &BTreeMap<Dot, Event>) -> Result<(), String> {
    if !model::includes(target, &model.vector) {
        return Err(format!("its version vector went back, from {:?} to {target:?}", model.vector));
    }
    loop {
        let before = model.vector.clone();
        for (origin, last) in target {
            while model::at(&model.vector, *origin) < *last {
                let next = Dot::new(*origin, model::at(&model.vector, *origin) + 1);
                let event =
                    events.get(&next).ok_or_else(|| format!("it counts {next:?}, which nobody made"))?;
                if !model::includes(&model.vector, &event.past) {
                    break;
                }
                model.apply(event);
            }
        }
        if model.vector == *target {
            return Ok(());
        }
        if model.vector == before {
            return Err(format!(
                "it applied something before what that depends on: {target:?}, not {before:?}"
            ));
        }
    }
}
