//! The shell that a schedule plays: it lends the disk, writes and syncs turns, delivers outputs, crashes and restarts.

use super::{Disk, Flight, Seat, World};
use crate::faults::Fault;
use crate::model::{self, Model};
use meridian_core::codec::Encode;
use meridian_core::hlc::Hlc;
use meridian_core::id::{Dot, NodeId, ShardId};
use meridian_core::message::Message;
use meridian_core::node::{Input, Node, Now, Output, Reply, Turn};
use meridian_core::planted::Bug;
use rand::RngExt;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

impl<D: Disk> World<D> {
    pub(super) fn now(&mut self, seat: usize) -> Now {
        let seat = &mut self.seats[seat];
        let wall_ms = self.now_ms.saturating_add_signed(seat.offset_ms);
        seat.wall_ms_highest = seat.wall_ms_highest.max(wall_ms);
        Now { mono_ms: self.now_ms, wall_ms }
    }

    /// One turn: decide about each input, write. What it says waits for a sync. The replies, in order.
    pub(super) fn turn(&mut self, seat: usize, inputs: Vec<Input>) -> Result<Vec<Reply>, String> {
        let now = self.now(seat);
        let Seat { node, disk, rotten, .. } = &mut self.seats[seat];
        let asked = inputs.iter().filter(|input| matches!(input, Input::Request { .. })).count();
        for input in inputs {
            node.step(now, &*disk, input).map_err(|error| format!("a healthy disk failed: {error}"))?;
        }
        let turn = node.end_turn();
        disk.write(&turn.batch).expect("a healthy disk");
        let replies = turn.outputs.iter().filter_map(|output| match output {
            Output::Reply { reply, .. } => Some(reply.clone()),
            _ => None,
        });
        let replies: Vec<Reply> = replies.collect();
        if replies.len() != asked {
            return Err(format!("{asked} requests and {} replies", replies.len()));
        }
        let quarantined = turn.outputs.iter().any(|output| matches!(output, Output::Quarantined { .. }));
        self.tally.quarantines += u64::from(quarantined);
        if turn
            .outputs
            .iter()
            .any(|output| matches!(output, Output::OriginShared { .. } | Output::Misplaced { .. }))
        {
            return Err(format!("n{}: a complaint: {:?}", seat + 1, turn.outputs));
        }
        if quarantined && !*rotten {
            return Err(format!("a healthy replica was quarantined: {:?}", turn.outputs));
        }
        self.hash(seat, &turn);
        self.learn_stamps(&turn)?;
        match self.fault {
            Some(Fault::SyncSkipped) => self.deliver_outputs(seat, turn.outputs),
            _ => self.seats[seat].unsynced.push_back(turn.outputs),
        }
        self.check(seat)?;
        Ok(replies)
    }

    fn hash(&mut self, seat: usize, turn: &Turn) {
        self.hasher.write_usize(seat);
        for (space, key, value) in turn.batch.iter() {
            (space as u8, key, value).hash(&mut self.hasher);
        }
        for output in &turn.outputs {
            match output {
                Output::Send { to, message } => (to, message.to_bytes()).hash(&mut self.hasher),
                other => format!("{other:?}").hash(&mut self.hasher),
            }
        }
    }

    /// Makes all turns of a node durable, and lets their outputs go.
    pub(super) fn sync(&mut self, seat: usize) {
        let Seat { disk, unsynced, .. } = &mut self.seats[seat];
        if self.fault != Some(Fault::SyncSkipped) {
            disk.sync().expect("a healthy disk");
        }
        for outputs in std::mem::take(unsynced) {
            self.deliver_outputs(seat, outputs);
        }
    }

    fn deliver_outputs(&mut self, seat: usize, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Reply { id, reply } => {
                    if let (Some(dot), Reply::Written { .. }) = (self.requests.remove(&id), &reply) {
                        self.seats[seat].answered.insert(dot);
                    }
                }
                Output::Send { to, message } => self.send(seat, to, &message),
                Output::Quarantined { .. } | Output::OriginShared { .. } | Output::Misplaced { .. } => {}
            }
        }
    }

    fn send(&mut self, seat: usize, to: NodeId, message: &Message) {
        let from = self.seats[seat].id;
        let Some(to) = self.seats.iter().position(|seat| seat.id == to) else { return };
        if !self.one_in(self.mix.loss) {
            self.flying.push(Flight { from, to, bytes: message.to_bytes() });
        }
    }

    /// The power fails: a prefix of what was not synced stays, and the node starts again as a run of its own.
    pub(super) fn crash(&mut self, seat: usize) -> Result<(), String> {
        let unsynced = self.seats[seat].disk.unsynced();
        let kept = self.rng.random_range(0..=unsynced);
        self.trace(|| format!("n{} crashes, {kept} of {unsynced} unsynced turns stay", seat + 1));
        self.seats[seat].disk.crash(kept);
        self.tally.crashes += 1;
        self.restart(seat)?;
        let Seat { node, answered, .. } = &self.seats[seat];
        let vector = node.replica(ShardId(0)).expect("the only shard").vector();
        match answered.iter().find(|dot| !vector.covers(**dot)) {
            Some(dot) => Err(format!("n{}: {dot:?} was answered and a crash lost it", seat + 1)),
            None => Ok(()),
        }
    }

    /// Another disk takes the place of a node's: an empty one, or an old image of its own.
    pub(super) fn replace_disk(&mut self, seat: usize, disk: D) -> Result<(), String> {
        let Seat { disk: old, rotten, answered, .. } = &mut self.seats[seat];
        *old = disk;
        *rotten = false;
        answered.clear();
        self.tally.rollbacks += 1;
        self.restart(seat)
    }

    /// Starts a node on what its disk holds. What only the lost part of its disk held is gone with it.
    fn restart(&mut self, seat: usize) -> Result<(), String> {
        let fresh = self.draw_origin();
        let Seat { node, disk, unsynced, .. } = &mut self.seats[seat];
        let before = node.origin();
        let origin = match self.fault {
            Some(Fault::Engine(Bug::OriginReused)) => before,
            _ => fresh,
        };
        unsynced.clear();
        match Node::open(self.config.clone(), &*disk, origin) {
            Ok(opened) => *node = opened,
            Err(_) if self.seats[seat].rotten => return self.replace_disk(seat, D::empty()),
            Err(error) => return Err(format!("a healthy disk does not open: {error}")),
        }
        self.forget_what_only(seat, before);
        self.seats[seat].model = Model::default();
        self.check(seat)?;
        self.connect(seat)
    }

    /// Events that nobody has any more: not made at all if they never left, else allowed to be lost.
    fn forget_what_only(&mut self, seat: usize, origin: meridian_core::id::OriginId) {
        let has =
            |seat: &Seat<D>, dot: Dot| seat.node.replica(ShardId(0)).is_some_and(|r| r.vector().covers(dot));
        let gone: BTreeSet<Dot> = self
            .events
            .keys()
            .copied()
            .filter(|dot| model::covers(&self.seats[seat].model.vector, *dot))
            .filter(|dot| !self.seats.iter().any(|seat| has(seat, *dot)))
            .collect();
        if self.fault == Some(Fault::Engine(Bug::OriginReused)) {
            // The dot will be made again, as another event.
            self.events.retain(|dot, _| dot.origin != origin || !gone.contains(dot));
        }
        self.lost.extend(gone);
    }

    /// The node meets all others: each tells the other what it has. An old connection may have ended unnoticed.
    pub(super) fn connect(&mut self, seat: usize) -> Result<(), String> {
        for other in 0..self.seats.len() {
            if other != seat {
                self.meet(seat, other)?;
            }
        }
        Ok(())
    }

    pub(super) fn meet(&mut self, seat: usize, other: usize) -> Result<(), String> {
        self.parted.remove(&(seat.min(other), seat.max(other)));
        let (this, that) = (self.seats[seat].id, self.seats[other].id);
        self.turn(seat, vec![Input::PeerUp(that)])?;
        self.turn(other, vec![Input::PeerUp(this)]).map(drop)
    }

    /// A connection ends. What is on its way may arrive all the same.
    pub(super) fn part(&mut self, seat: usize, other: usize) -> Result<(), String> {
        self.parted.insert((seat.min(other), seat.max(other)));
        let (this, that) = (self.seats[seat].id, self.seats[other].id);
        self.turn(seat, vec![Input::PeerDown(that)])?;
        self.turn(other, vec![Input::PeerDown(this)]).map(drop)
    }

    /// The clock of a node is never ahead of its wall time by more than the bound.
    pub(super) fn check_clock(&self, seat: usize) -> Result<(), String> {
        let Seat { node, wall_ms_highest, .. } = &self.seats[seat];
        // One more millisecond: the counter of a stamp may run over.
        let bound = Hlc::from_ms(wall_ms_highest + self.config.clock_skew_ms_max + 1);
        match node.clock().last() <= bound {
            true => Ok(()),
            false => {
                Err(format!("n{}: its clock is at {:?}, beyond {bound:?}", seat + 1, node.clock().last()))
            }
        }
    }
}
