//! A node's turn, what becomes of what it says, and what must hold after each.

use super::draw::SECOND;
use super::ledger::Due;
use super::losses::gives_up;
use super::seat::{Seat, node_id, place_of};
use super::{Event, Pending, World};
use crate::faults::Fault;
use crate::history::Asked;
use crate::trace::hash_turn;
use meridian_core::codec::Encode;
use meridian_core::hlc::Hlc;
use meridian_core::id::{OriginId, RequestId, ShardId};
use meridian_core::message::Message;
use meridian_core::node::{Input, Output, Reply, Turn};
use meridian_core::storage::Space;
use rand::RngExt;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// How long a node thinks about a turn, at most.
const TURN_US: u64 = 300;
/// How long the next portion of work waits, as in the server.
pub(super) const PORTION_US: u64 = 2_000;
/// How long two nodes take to notice that they reach each other, and at most that they do not.
const NOTICE_US: u64 = 3 * SECOND;

impl World {
    /// A node gets something.
    pub(super) fn give(&mut self, at: usize, input: Input) {
        let seat = &mut self.seats[at];
        if seat.is_up {
            seat.inbox.push_back(input);
            self.wake(at, TURN_US);
        }
    }

    fn wake(&mut self, at: usize, within_us: u64) {
        let Seat { is_woken, run, paused_until_us, .. } = &mut self.seats[at];
        if *is_woken {
            return;
        }
        *is_woken = true;
        let (run, pause) = (*run, paused_until_us.saturating_sub(self.now_us));
        let us = pause + self.chance.rest.random_range(1..=within_us);
        self.due_in(us, Event::Turn { seat: at, run });
    }

    /// A node decides about what waits.
    pub(super) fn turn(&mut self, at: usize) -> Result<(), String> {
        self.seats[at].is_woken = false;
        if self.seats[at].paused_until_us > self.now_us {
            self.wake(at, 1);
            return Ok(());
        }
        let now_us = self.now_us;
        let rotten = self.seats[at].rotten();
        for input in self.seats[at].next_inputs() {
            match input {
                Input::Request { id, request } => {
                    let shard = self.weather.config.shards.shard_of(&request.bucket, &request.key);
                    let author = self.author(at, shard);
                    let before = self.made(at, shard, author);
                    self.seats[at].step(now_us, Input::Request { id, request })?;
                    self.note_dot(at, id, shard, author, before)?;
                }
                other => self.seats[at].step(now_us, other)?,
            }
        }
        let at_once = self.chance.rest.random();
        let Some(turn) = self.seats[at].end_turn(at_once) else { return self.disk_fails(at) };
        self.hash(at, &turn);
        self.news(at, &turn, &rotten)?;
        self.check(at, &turn)?;
        self.sync_if_idle(at);
        let seat = &self.seats[at];
        // Sweeping is short; counting, checking and repairing are not.
        let odds = if seat.is_sweeping() { 2 } else { 20 };
        if seat.dies_at_work && seat.node.has_work() && self.chance.rest.random_ratio(1, odds) {
            return self.crash(at);
        }
        if !seat.inbox.is_empty() {
            self.wake(at, TURN_US);
        } else if seat.node.has_work() {
            self.wake(at, PORTION_US);
        }
        Ok(())
    }

    fn author(&self, at: usize, shard: ShardId) -> OriginId {
        self.seats[at].node.replica(shard).expect("there is such a shard").author()
    }

    fn made(&self, at: usize, shard: ShardId, author: OriginId) -> u64 {
        self.seats[at].node.replica(shard).expect("there is such a shard").vector().at(author)
    }

    /// Which delta a request has made. None was ever made before.
    fn note_dot(
        &mut self,
        at: usize,
        id: RequestId,
        shard: ShardId,
        author: OriginId,
        before: u64,
    ) -> Result<(), String> {
        let made = self.made(at, shard, author);
        if made == before {
            let replica = self.seats[at].node.replica(shard).expect("there is such a shard");
            if let Some(pending) =
                self.requests.get_mut(&id).filter(|pending| pending.question.asked != Asked::Read)
            {
                pending.rests_on = (shard, replica.vector().iter().collect());
            }
            return Ok(());
        }
        if made != before + 1 {
            return Err(format!("n{} makes {} deltas of one request", at + 1, made - before));
        }
        let dot = meridian_core::id::Dot::new(author, made);
        if !self.dots.insert((shard, dot)) && !self.options.only_history {
            return Err(format!("n{} makes {dot:?} of {shard:?}, which was made before", at + 1));
        }
        if let Some(pending) = self.requests.get_mut(&id) {
            (pending.made, pending.rests_on) = (true, (shard, vec![dot]));
        }
        Ok(())
    }

    fn sync_if_idle(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        if seat.syncs || seat.unsynced.is_empty() {
            return;
        }
        seat.syncs = true;
        let (run, turns, slowness) = (seat.run, seat.unsynced.len(), seat.slowness);
        let skips = self.options.bug == Some(Fault::SyncSkipped);
        let us = self.weather.sync_us * slowness;
        let us = if skips { 0 } else { self.chance.rest.random_range(us / 2..=us * 2) };
        self.due_in(us, Event::Synced { seat: at, run, turns });
    }

    /// A sync has ended: what it has made durable may be said.
    pub(super) fn synced(&mut self, at: usize, turns: usize) -> Result<(), String> {
        if let Some(left_us) = self.seats[at].paused_until_us.checked_sub(self.now_us).filter(|us| *us > 0) {
            let run = self.seats[at].run;
            self.due_in(left_us, Event::Synced { seat: at, run, turns });
            return Ok(());
        }
        let fails = self.seats[at].sync_fails;
        let outputs = match (fails, self.options.bug) {
            (true, Some(Fault::SyncErrorIgnored)) | (false, Some(Fault::SyncSkipped)) => {
                self.seats[at].said(turns)
            }
            (true, _) => return self.disk_fails(at),
            (false, _) => self.seats[at].synced(turns),
        };
        if outputs.iter().any(gives_up) {
            self.given_up(at);
        }
        for output in outputs {
            match output {
                Output::Reply { id, reply } => self.answer(at, id, &reply)?,
                Output::Send { to, message } => self.send(at, place_of(to), &message),
                _ => {}
            }
        }
        if fails {
            return self.disk_fails(at);
        }
        for (id, paged) in self.seats[at].durable_pages(turns) {
            self.answer_page(id, paged);
        }
        self.sync_if_idle(at);
        Ok(())
    }

    fn answer(&mut self, at: usize, id: RequestId, reply: &Reply) -> Result<(), String> {
        let Some(pending) = self.requests.remove(&id) else { return Ok(()) };
        let Pending { client, op, question, made, rests_on: (shard, dots) } = pending;
        let end = self.clients.hear(client, &question, reply);
        self.history.ops[op].ended = Some((self.now_us, end));
        if !matches!(reply, Reply::Written { .. }) {
            return Ok(());
        }
        let durable = &self.seats[at].durable[usize::from(shard.0)];
        let early = dots.iter().find(|dot| dot.seq > durable.at(dot.origin));
        if let Some(early) = early.filter(|_| !self.options.only_history) {
            return Err(format!("n{} answers with {early:?} of {shard:?}, which is not durable", at + 1));
        }
        for dot in dots {
            let resting = self.resting.entry((shard, dot.origin)).or_default();
            resting.entry(dot.seq).or_default().push(self.history.ops[op].op);
        }
        match question.always_makes() && !made && !self.options.only_history {
            true => {
                Err(format!("{:?} of {} was acknowledged, and made no delta", question.asked, question.key))
            }
            false => Ok(()),
        }
    }

    fn send(&mut self, from: usize, to: usize, message: &Message) {
        let bytes = message.to_bytes();
        let World { network, weather, chance, now_us, .. } = self;
        let arrivals = network.send(weather, &mut chance.network, *now_us, (from, to), bytes.len());
        for at_us in arrivals {
            self.due_in(at_us - self.now_us, Event::Arrives { from, to, bytes: bytes.clone() });
        }
    }

    pub(super) fn arrives(&mut self, from: usize, to: usize, bytes: &[u8]) -> Result<(), String> {
        if !self.seats[to].is_up {
            return Ok(());
        }
        let message = Message::from_bytes(bytes)
            .map_err(|error| format!("n{} says what cannot be read: {error}", from + 1))?;
        self.give(to, Input::Message { from: node_id(from), message });
        Ok(())
    }

    /// Two nodes will look whether they reach each other.
    pub(super) fn look_soon(&mut self, one: usize, other: usize) {
        let us = self.chance.blows.random_range(1..NOTICE_US);
        let (one, other) = (one.min(other), one.max(other));
        // One that is due already comes in time.
        if !self.ledger.has(Due::Look { one, other }) {
            self.due_in(us, Event::Look { one, other });
        }
    }

    /// Two nodes notice whether they reach each other, if that is another than before.
    pub(super) fn look(&mut self, one: usize, other: usize) {
        let reach = self.network.is_open(one, other) && self.seats[one].is_up && self.seats[other].is_up;
        let did = self.connected.contains(&(one, other));
        if reach == did {
            return;
        }
        if reach {
            self.connected.insert((one, other));
        } else {
            self.connected.remove(&(one, other));
        }
        self.trace(|_| format!("n{} and n{} reach each other: {reach}", one + 1, other + 1));
        for (at, peer) in [(one, other), (other, one)] {
            let peer = node_id(peer);
            self.give(at, if reach { Input::PeerUp(peer) } else { Input::PeerDown(peer) });
        }
    }

    /// Replicas that are out of service are filled again, as the server asks for it now and then.
    pub(super) fn refill(&mut self, at: usize) {
        if !self.seats[at].is_up || !self.chance.rest.random_ratio(1, 20) {
            return;
        }
        for shard in self.weather.config.shards.shards() {
            if self.seats[at].is_out_of_service(shard) {
                let origin = OriginId(self.chance.rest.random());
                self.give(at, Input::Refill { shard, origin });
            }
        }
    }

    // -- what must hold --------------------------------------------------------------------------------------------------

    /// What a node says besides replies and messages.
    fn news(&mut self, at: usize, turn: &Turn, rotten: &BTreeSet<ShardId>) -> Result<(), String> {
        let is_cut =
            |(space, _, value): &(Space, &[u8], Option<&[u8]>)| *space == Space::Log && value.is_none();
        self.figures.cut += turn.batch.iter().filter(is_cut).count() as u64;
        for output in &turn.outputs {
            self.trace(|_| format!("n{}: {output:.300?}", at + 1));
            match output {
                Output::Reply { .. } | Output::Send { .. } | Output::RepairAborted { .. } => {}
                Output::Quarantined { shard, .. } if rotten.contains(shard) => self.figures.quarantines += 1,
                Output::Unread { shard, .. } if rotten.contains(shard) => {
                    self.seats[at].rot.unread.insert(*shard);
                }
                Output::Repaired { .. } => self.figures.repairs += 1,
                Output::Refilled { lost: 0, .. } => {}
                Output::Refilled { shard, .. } if self.seats[at].rot.unread.contains(shard) => {}
                _ if self.options.only_history => {}
                complaint => return Err(format!("n{}: a complaint: {complaint:?}", at + 1)),
            }
        }
        Ok(())
    }

    /// After a turn: replicas of equal version vectors hold the same, and limits are kept.
    fn check(&mut self, at: usize, turn: &Turn) -> Result<(), String> {
        if self.options.only_history {
            return Ok(());
        }
        let Seat { node, wall_ms_highest, .. } = &self.seats[at];
        // One more millisecond: the counter of a stamp may run over.
        let bound = Hlc::from_ms(wall_ms_highest + self.weather.config.clock_skew_ms_max + 1);
        if node.clock().last() > bound {
            return Err(format!("n{}: its clock is at {:?}, beyond {bound:?}", at + 1, node.clock().last()));
        }
        for shard in self.weather.config.shards.shards() {
            let parked = node.parked_bytes(shard);
            if parked > self.weather.config.parked_bytes_max {
                return Err(format!("n{} has parked {parked} bytes of {shard:?}", at + 1));
            }
        }
        // A root is not that of the rows while a large removal is swept.
        for shard in &turn.changed {
            let replica = node.replica(*shard).expect("there is such a shard");
            if let Some(tree) =
                replica.tree().filter(|_| !replica.is_out_of_service() && replica.masks().is_empty())
            {
                let root =
                    *self.roots.entry((*shard, hash_of(&replica.vector().to_bytes()))).or_insert(tree.root());
                if root != tree.root() {
                    let vector = replica.vector();
                    return Err(format!(
                        "n{}: {shard:?} at {vector:?} holds what another does not hold at the same",
                        at + 1
                    ));
                }
            }
        }
        Ok(())
    }

    fn hash(&mut self, at: usize, turn: &Turn) {
        self.hasher.write_u64(self.now_us);
        self.hasher.write_usize(at);
        hash_turn(turn, &mut self.hasher);
    }
}

fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
