//! Repairs of others, with this node as their source: snapshots, and what is read from them.
//!
//! - At most `repairs_open_max` snapshots are kept: who asks for one more is told to come again.
//! - A snapshot goes when its receiver says so, is gone, asks for another one, or has asked nothing for `repair_idle_ms`.

use super::{Node, Now, Output};
use crate::id::{NodeId, ShardId};
use crate::message::{Message, RepairTurn};
use crate::repair::{Answer, Ask, Portion, Source, Unwilling};
use crate::storage::{Disk, Overlay, Snapshot, StorageError};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The snapshots of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    outgoing: BTreeMap<(NodeId, ShardId), Outgoing>,
    /// Snapshots so far.
    taken: u64,
}

impl Sources {
    /// A peer cannot be reached, or not over the connection that was: it asks no more.
    pub(super) fn down(&mut self, peer: NodeId) {
        self.outgoing.retain(|(to, _), _| *to != peer);
    }

    /// A replica is out of service: it helps nobody.
    pub(super) fn forget(&mut self, shard: ShardId) {
        self.outgoing.retain(|(_, of), _| *of != shard);
    }

    /// Lets go what nobody asks for any more.
    pub(super) fn let_go(&mut self, now: Now, idle_ms: u64) {
        self.outgoing.retain(|_, outgoing| outgoing.asked_ms.saturating_add(idle_ms) > now.mono_ms);
    }

    /// Whether a portion of work waits.
    pub(super) fn has_work(&self) -> bool {
        self.outgoing.values().any(|outgoing| outgoing.source.is_reading())
    }
}

/// A replica of this node that helps another.
#[derive(Clone, Debug)]
struct Outgoing {
    turn: RepairTurn,
    source: Source,
    asked_ms: u64,
}

impl Node {
    /// A receiver asks.
    pub(super) fn repair_asked(
        &mut self,
        now: Now,
        disk: &dyn Disk,
        from: NodeId,
        shard: ShardId,
        turn: RepairTurn,
        ask: &Ask,
    ) {
        let key = (from, shard);
        let Some(outgoing) =
            self.sources.outgoing.get_mut(&key).filter(|open| open.turn.repair == turn.repair)
        else {
            match ask {
                Ask::Open { .. } => self.open_source(now, disk, from, shard, turn),
                Ask::Close => {}
                _ => self.answer_repair(from, shard, turn, Answer::Unwilling(Unwilling::Gone)),
            }
            return;
        };
        if turn.number < outgoing.turn.number {
            return;
        }
        match ask {
            Ask::Open { .. } => {
                let (turn, answer) = (outgoing.turn, outgoing.source.opened());
                self.answer_repair(from, shard, turn, answer);
            }
            _ if turn.snapshot != outgoing.turn.snapshot => {
                self.answer_repair(from, shard, turn, Answer::Unwilling(Unwilling::Gone));
            }
            Ask::Close => drop(self.sources.outgoing.remove(&key)),
            ask => {
                let repeats = turn.number == outgoing.turn.number;
                let is_read = repeats && outgoing.source.is_reading();
                (outgoing.turn, outgoing.asked_ms) = (turn, now.mono_ms);
                if let Some(answer) = (!is_read).then(|| outgoing.source.ask(ask, repeats)).flatten() {
                    self.answer_repair(from, shard, turn, answer);
                }
            }
        }
    }

    fn open_source(&mut self, now: Now, disk: &dyn Disk, from: NodeId, shard: ShardId, turn: RepairTurn) {
        let key = (from, shard);
        let replica = &self.shards[usize::from(shard.0)].replica;
        let is_busy = self.sources.outgoing.len() >= self.config.repairs_open_max
            && !self.sources.outgoing.contains_key(&key);
        let tree = replica.tree().filter(|_| !replica.is_out_of_service());
        let Some(tree) = tree.filter(|_| !is_busy) else {
            let why = if is_busy { Unwilling::Busy } else { Unwilling::NotReady };
            return self.answer_repair(from, shard, turn, Answer::Unwilling(why));
        };
        let rows = Snapshot::take(disk, &self.turn.batch);
        let source = Source::new(shard, rows, replica.vector().clone(), tree.clone());
        self.sources.taken += 1;
        let turn = RepairTurn { snapshot: self.origin.0.wrapping_add(self.sources.taken), ..turn };
        let opened = source.opened();
        self.sources.outgoing.insert(key, Outgoing { turn, source, asked_ms: now.mono_ms });
        self.answer_repair(from, shard, turn, opened);
    }

    fn answer_repair(&mut self, to: NodeId, shard: ShardId, turn: RepairTurn, answer: Answer) {
        self.turn.outputs.push(Output::Send { to, message: Message::Answer { shard, turn, answer } });
    }

    /// Reads a portion of the rows that receivers have asked for.
    pub(super) fn read_portions(&mut self, disk: &dyn Disk) -> Result<(), (ShardId, StorageError)> {
        let reading: Vec<(NodeId, ShardId)> = self
            .sources
            .outgoing
            .iter()
            .filter(|(_, outgoing)| outgoing.source.is_reading())
            .map(|(key, _)| *key)
            .collect();
        for (to, shard) in reading {
            let Node { sources, origins, config, turn, .. } = self;
            let Some(outgoing) = sources.outgoing.get_mut(&(to, shard)) else { continue };
            let live = Overlay { disk, batch: &turn.batch };
            let portion = Portion {
                seed: config.seed,
                planted: config.planted,
                rows_max: config.portion_rows,
                bytes_max: config.pull_bytes_max,
            };
            let read = outgoing.source.read_on(&live, origins, portion);
            let named = outgoing.turn;
            if let Some(answer) = read.map_err(|error| (shard, error))? {
                self.answer_repair(to, shard, named, answer);
            }
        }
        Ok(())
    }
}
