//! The shell that a schedule plays: it lends the disk, writes and syncs turns, delivers outputs, crashes and restarts.

use super::{Disk, Flight, Seat, World};
use crate::faults::Fault;
use crate::model::Model;
use crate::trace::hash_turn;
use meridian_core::codec::Encode;
use meridian_core::hlc::Hlc;
use meridian_core::id::{Dot, NodeId, OriginId, ShardId};
use meridian_core::message::Message;
use meridian_core::node::{Input, Node, Now, Output, Reply, Turn};
use meridian_core::planted::Bug;
use meridian_core::storage::{MemStorage, Space};
use rand::RngExt;
use std::collections::BTreeSet;
use std::hash::Hasher;

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
        let rotten = *rotten;
        self.news(seat, rotten, &turn)?;
        self.hash(seat, &turn);
        self.learn_stamps(&turn)?;
        let unchanged = turn.batch.is_empty();
        match self.fault {
            Some(Fault::SyncSkipped) => self.deliver_outputs(seat, turn.outputs),
            _ => self.seats[seat].unsynced.push_back(turn.outputs),
        }
        // A turn that changes no row, nor the version vector, leaves what was compared before.
        if !unchanged || self.is_out_of_service(seat) || self.vector(seat) != self.seats[seat].model.vector {
            self.check(seat)?;
        }
        self.check_clock(seat)?;
        Ok(replies)
    }

    /// What a node says besides replies and messages.
    fn news(&mut self, seat: usize, rotten: bool, turn: &Turn) -> Result<(), String> {
        self.tally.cut +=
            turn.batch.iter().filter(|(space, _, value)| *space == Space::Log && value.is_none()).count()
                as u64;
        for output in &turn.outputs {
            self.trace(|| format!("n{}: {output:?}", seat + 1));
            match output {
                Output::Reply { .. } | Output::Send { .. } => {}
                Output::Quarantined { .. } if rotten => self.tally.quarantines += 1,
                Output::Unread { .. } if rotten => {}
                Output::Repaired { .. } => self.tally.repairs += 1,
                Output::RepairAborted { .. } => self.tally.aborts += 1,
                Output::Refilled { .. } => {
                    self.tally.refills += 1;
                    let Seat { node, answered, beyond_repair, rotten, .. } = &mut self.seats[seat];
                    let vector = node.replica(ShardId(0)).expect("the only shard").vector().clone();
                    answered.retain(|dot| vector.covers(*dot));
                    *rotten = *beyond_repair;
                    self.forget_what_nobody_has();
                }
                complaint => return Err(format!("n{}: a complaint: {complaint:?}", seat + 1)),
            }
        }
        Ok(())
    }

    /// Events that only a damaged log had are lost.
    fn forget_what_nobody_has(&mut self) {
        let has =
            |seat: &Seat<D>, dot: Dot| seat.node.replica(ShardId(0)).is_some_and(|r| r.vector().covers(dot));
        let gone = self.events.keys().filter(|dot| !self.seats.iter().any(|seat| has(seat, **dot)));
        let gone: Vec<Dot> = gone.copied().collect();
        self.lost.extend(gone);
    }

    fn hash(&mut self, seat: usize, turn: &Turn) {
        self.hasher.write_usize(seat);
        hash_turn(turn, &mut self.hasher);
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
                _ => {}
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
        let run = self.unplug(seat);
        self.seats[seat].disk.crash(kept);
        self.tally.crashes += 1;
        self.restart(seat, run)?;
        let Seat { node, answered, .. } = &self.seats[seat];
        let replica = node.replica(ShardId(0)).expect("the only shard");
        if replica.is_out_of_service() {
            return Ok(());
        }
        let vector = replica.vector();
        match answered.iter().find(|dot| !vector.covers(**dot)) {
            Some(dot) => Err(format!("n{}: {dot:?} was answered and a crash lost it", seat + 1)),
            None => Ok(()),
        }
    }

    /// Another disk takes the place of a node's: an empty one, or an old image of its own.
    pub(super) fn replace_disk(&mut self, seat: usize, disk: D) -> Result<(), String> {
        let run = self.unplug(seat);
        let Seat { disk: old, rotten, beyond_repair, answered, .. } = &mut self.seats[seat];
        *old = disk;
        (*rotten, *beyond_repair) = (false, false);
        answered.clear();
        self.tally.rollbacks += 1;
        self.restart(seat, run)
    }

    /// A node ends, and lets go of its disk. Which run it was.
    fn unplug(&mut self, seat: usize) -> OriginId {
        let nothing = MemStorage::default();
        let ended = Node::open(self.config.clone(), &nothing, OriginId(0)).expect("an empty disk opens");
        std::mem::replace(&mut self.seats[seat].node, ended).origin()
    }

    /// Starts a node on what its disk holds. What only the lost part of its disk held is gone with it.
    fn restart(&mut self, seat: usize, before: OriginId) -> Result<(), String> {
        let fresh = self.draw_origin();
        let Seat { node, disk, unsynced, .. } = &mut self.seats[seat];
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
        self.forget_what_only(before);
        self.seats[seat].model = Model::default();
        self.check(seat)?;
        self.introduce(seat)?;
        self.connect(seat)
    }

    /// A node is stopped in good order, and starts again.
    pub(super) fn stop(&mut self, seat: usize) -> Result<(), String> {
        self.trace(|| format!("n{} stops and starts", seat + 1));
        let Seat { node, disk, .. } = &mut self.seats[seat];
        node.keep_trees();
        disk.write(&node.end_turn().batch).expect("a healthy disk");
        self.sync(seat);
        let run = self.unplug(seat);
        self.restart(seat, run)
    }

    /// A node is told who the members are.
    pub(super) fn introduce(&mut self, seat: usize) -> Result<(), String> {
        let own = self.seats[seat].id;
        let others = self.seats.iter().map(|seat| seat.id).filter(|id| *id != own).collect();
        self.turn(seat, vec![Input::Members(others)]).map(drop)
    }

    /// A replica with a damaged row may be filled again.
    pub(super) fn refill(&mut self, seat: usize) -> Result<(), String> {
        let origin = self.draw_origin();
        self.turn(seat, vec![Input::Refill { shard: ShardId(0), origin }]).map(drop)
    }

    /// Events that nobody has any more: not made at all if they never left, else allowed to be lost.
    fn forget_what_only(&mut self, origin: OriginId) {
        let has =
            |seat: &Seat<D>, dot: Dot| seat.node.replica(ShardId(0)).is_some_and(|r| r.vector().covers(dot));
        let gone: BTreeSet<Dot> = self
            .events
            .keys()
            .copied()
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
