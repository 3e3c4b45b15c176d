//! Repairs of this node's replicas: which need one, from whom, and how far those are that are under way.
//!
//! - A replica needs a repair when a peer's log no longer has what is lacking here, when it holds nothing and a peer has much,
//!   and when it is filled anew.
//! - At most `repairs_open_max` are under way.
//! - A repair that fails at any step leaves nothing behind but staged rows, which are removed in the background. Its shard
//!   rests at this peer for `pull_retry_ms`.
//! - What repairs fetch is bounded by `repair_bytes_per_s`.

use super::{Node, Now, Output};
use crate::id::{Dot, NodeId, ShardId};
use crate::message::{Message, RepairTurn};
use crate::planted::Bug;
use crate::repair::{Answer, Ask, Frozen, Receiver, Took, check_row};
use crate::replica::{Draft, Standing};
use crate::rows::{self, AtMost};
use crate::storage::{Disk, Overlay, Snapshot, StorageError};
use crate::version_vector::{ORIGINS_MAX, VersionVector};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// How often a request is sent before the repair is given up.
const TRIES_MAX: u32 = 4;
/// How long a shard is not repaired from a peer whose state cannot be counted here, in milliseconds.
const REFUSED_REST_MS: u64 = 60_000;
/// All that is staged.
const EVERYTHING: AtMost = AtMost { rows: usize::MAX, bytes: usize::MAX };
/// How much of a second's bytes may be fetched at once.
const BURST_MS: u64 = 250;

/// The repairs of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Repairs {
    /// From whom a shard can be repaired, and not before when.
    wanted: BTreeMap<ShardId, BTreeMap<NodeId, u64>>,
    incoming: BTreeMap<ShardId, Incoming>,
    /// Repairs so far.
    begun: u64,
    /// When as much may be fetched again as was fetched, in microseconds: many answers take less than a millisecond.
    paid_until_us: u64,
}

/// A replica of this node that is repaired.
#[derive(Clone, Debug)]
struct Incoming {
    from: NodeId,
    turn: RepairTurn,
    ask: Ask,
    /// When the request was sent, or is to be sent.
    asked_ms: u64,
    is_sent: bool,
    tries: u32,
    receiver: Receiver,
    figures: Figures,
}

/// What a source offers, by its version vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    /// Something that is lacking.
    Good,
    /// Nothing that is lacking: it came by itself meanwhile.
    Nothing,
    /// More origins than a version vector counts, or deltas of this very run.
    NotCountable,
}

/// What a repair came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests, the last one apart, which only ends it.
    pub requests: u64,
    /// Rows that were fetched.
    pub rows: u64,
    /// Bytes of these rows, keys and canonical contents.
    pub row_bytes: u64,
    /// Own rows that the source did not have.
    pub absent: u64,
    /// Deltas that the version vector covers through it.
    pub deltas: u64,
    /// How long it took.
    pub ms: u64,
}

impl Repairs {
    /// A peer cannot be reached, or not over the connection that was: it is no source any more. What it was the source of.
    fn down(&mut self, peer: NodeId) -> Vec<ShardId> {
        for sources in self.wanted.values_mut() {
            sources.remove(&peer);
        }
        self.wanted.retain(|_, sources| !sources.is_empty());
        let its = |incoming: &Incoming| incoming.from == peer;
        self.incoming.iter().filter(|(_, incoming)| its(incoming)).map(|(shard, _)| *shard).collect()
    }

    /// Whether a portion of work waits.
    pub(super) fn has_work(&self) -> bool {
        self.incoming.values().any(|incoming| incoming.receiver.is_listing())
    }

    /// The shards that are repaired now.
    pub(super) fn open(&self) -> impl Iterator<Item = ShardId> {
        self.incoming.keys().copied()
    }
}

impl Node {
    /// A shard can be repaired from a peer.
    pub(super) fn want_repair(&mut self, now: Now, shard: ShardId, from: NodeId) {
        self.repairs.wanted.entry(shard).or_default().entry(from).or_insert(now.mono_ms);
    }

    /// A peer is gone: what it was asked for is given up.
    pub(super) fn repairs_down(
        &mut self,
        now: Now,
        disk: &dyn Disk,
        peer: NodeId,
    ) -> Result<(), StorageError> {
        self.sources.down(peer);
        for shard in self.repairs.down(peer) {
            self.abort_repair(now, disk, shard)?;
        }
        Ok(())
    }

    /// Time has passed: begins what is due, asks again what was not answered, lets go what nobody asks for any more.
    pub(super) fn repairs_due(&mut self, now: Now, disk: &dyn Disk) -> Result<(), StorageError> {
        self.sources.let_go(now, self.config.repair_idle_ms);
        let shards: Vec<ShardId> = self.repairs.open().collect();
        for shard in shards {
            self.ask_again(now, disk, shard)?;
        }
        let wanted: Vec<ShardId> = self.repairs.wanted.keys().copied().collect();
        for shard in wanted {
            if self.repairs.incoming.len() >= self.config.repairs_open_max {
                break;
            }
            self.begin_repair(now, shard);
        }
        Ok(())
    }

    /// Begins a repair, if there is a peer that it can come from, and the replica is ready for it.
    fn begin_repair(&mut self, now: Now, shard: ShardId) {
        let replica = &self.shards[usize::from(shard.0)].replica;
        let is_busy = replica.is_frozen() || self.repairs.incoming.contains_key(&shard);
        let refills = self.upkeep.refills(shard);
        let is_ready = match replica.standing() {
            Standing::InService => replica.tree().is_some(),
            Standing::Quarantined => refills,
            _ => false,
        };
        if !self.has_room || !is_ready || is_busy || self.upkeep.is_staged(shard) {
            return;
        }
        let sources = self.repairs.wanted.get(&shard).into_iter().flatten();
        let helps = |from: NodeId| !refills || self.helps(shard, from);
        let due = sources.filter(|(from, not_before_ms)| **not_before_ms <= now.mono_ms && helps(**from));
        let Some((_, from)) = due.map(|(from, at_ms)| (*at_ms, *from)).min() else { return };
        let known = self.upkeep.known(from, shard);
        if !refills && known.is_some_and(|vector| !replica.lacks(vector)) {
            // It came by itself meanwhile.
            self.forget_want(shard, from);
            return;
        }
        let receiver = Receiver::new(shard);
        let have = if refills { VersionVector::default() } else { replica.vector().clone() };
        let ask = Ask::Open { have };
        self.repairs.begun += 1;
        let repair = self.origin.0.wrapping_add(self.repairs.begun);
        let incoming = Incoming {
            from,
            turn: RepairTurn { repair, snapshot: 0, number: 0 },
            ask,
            asked_ms: now.mono_ms,
            is_sent: false,
            tries: 0,
            receiver,
            figures: Figures { ms: now.mono_ms, ..Figures::default() },
        };
        self.repairs.incoming.insert(shard, incoming);
        self.send_ask(now, shard);
    }

    /// A shard is not repaired from a peer before some time.
    fn rest_want(&mut self, shard: ShardId, from: NodeId, not_before_ms: u64) {
        if let Some(due_ms) = self.repairs.wanted.get_mut(&shard).and_then(|sources| sources.get_mut(&from)) {
            *due_ms = not_before_ms;
        }
    }

    pub(super) fn forget_want(&mut self, shard: ShardId, from: NodeId) {
        if let Some(sources) = self.repairs.wanted.get_mut(&shard) {
            sources.remove(&from);
            if sources.is_empty() {
                self.repairs.wanted.remove(&shard);
            }
        }
    }

    fn send_ask(&mut self, now: Now, shard: ShardId) {
        let Some(incoming) = self.repairs.incoming.get_mut(&shard) else { return };
        (incoming.asked_ms, incoming.is_sent) = (now.mono_ms, true);
        incoming.tries += 1;
        let message = Message::Ask { shard, turn: incoming.turn, ask: incoming.ask.clone() };
        self.turn.outputs.push(Output::Send { to: incoming.from, message });
    }

    /// Sends a request that had to wait, or one that got no answer, again.
    fn ask_again(&mut self, now: Now, disk: &dyn Disk, shard: ShardId) -> Result<(), StorageError> {
        let Some(incoming) = self.repairs.incoming.get(&shard) else { return Ok(()) };
        if incoming.receiver.is_listing() || incoming.receiver.is_complete() {
            return Ok(());
        }
        let given_ms = match incoming.is_sent {
            true => self.config.pull_retry_ms << incoming.tries.min(8),
            false => 0,
        };
        if incoming.asked_ms.saturating_add(given_ms) > now.mono_ms {
            return Ok(());
        }
        match incoming.is_sent && incoming.tries >= TRIES_MAX {
            true => self.abort_repair(now, disk, shard),
            false => {
                self.send_ask(now, shard);
                Ok(())
            }
        }
    }

    /// The next request of a repair: sent at once, or when enough time has passed for what was fetched.
    fn ask_next(&mut self, now: Now, shard: ShardId, ask: Ask) {
        let Some(incoming) = self.repairs.incoming.get_mut(&shard) else { return };
        incoming.ask = ask;
        incoming.turn.number += 1;
        incoming.tries = 0;
        let waits_ms = (self.repairs.paid_until_us / 1_000).saturating_sub(now.mono_ms);
        match waits_ms > BURST_MS {
            false => self.send_ask(now, shard),
            true => (incoming.asked_ms, incoming.is_sent) = (now.mono_ms + waits_ms - BURST_MS, false),
        }
    }

    /// A source has answered.
    pub(super) fn repair_answered(
        &mut self,
        now: Now,
        disk: &dyn Disk,
        from: NodeId,
        shard: ShardId,
        turn: RepairTurn,
        answer: Answer,
    ) -> Result<(), StorageError> {
        let Some(incoming) = self.repairs.incoming.get_mut(&shard) else { return Ok(()) };
        let own = incoming.turn;
        let expected = incoming.is_sent && incoming.from == from && own.repair == turn.repair;
        if !expected || own.number != turn.number || (own.number > 0 && own.snapshot != turn.snapshot) {
            return Ok(());
        }
        if let Answer::Unwilling(_) = answer {
            return self.abort_repair(now, disk, shard);
        }
        let opens = matches!(answer, Answer::Opened { .. });
        if opens && incoming.receiver.is_opening() {
            let replica = &mut self.shards[usize::from(shard.0)].replica;
            if !replica.masks().is_empty() && !replica.is_out_of_service() {
                // A large removal was begun here meanwhile: it is swept first.
                return self.abort_repair(now, disk, shard);
            }
            // A damaged replica is repaired as if it held nothing.
            let tree = replica.tree().filter(|_| !replica.is_out_of_service()).cloned().unwrap_or_default();
            replica.freeze(true);
            let rows = Snapshot::take(disk, &self.turn.batch);
            incoming.receiver.freeze(Frozen { rows, tree });
        }
        let Some(took) = incoming.receiver.take(answer, self.config.planted.has(Bug::LeafSkipped)) else {
            return Ok(());
        };
        incoming.turn.snapshot = turn.snapshot;
        incoming.figures.requests += 1;
        let offer = if opens { self.look_at_offer(shard, from) } else { Offer::Good };
        if offer != Offer::Good {
            self.abort_repair(now, disk, shard)?;
            match offer {
                Offer::Nothing => self.forget_want(shard, from),
                _ => self.rest_want(shard, from, now.mono_ms.saturating_add(REFUSED_REST_MS)),
            }
            return Ok(());
        }
        if !self.stage(now, disk, shard, &took)? {
            return self.abort_repair(now, disk, shard);
        }
        match took.ask {
            Some(ask) => self.ask_next(now, shard, ask),
            None => self.complete_repair(now, disk, shard)?,
        }
        Ok(())
    }

    /// A source has said what it has: whether it is worth a repair, and can be counted.
    fn look_at_offer(&mut self, shard: ShardId, from: NodeId) -> Offer {
        let Some(incoming) = self.repairs.incoming.get(&shard) else { return Offer::Nothing };
        let theirs = incoming.receiver.theirs().clone();
        let replica = &self.shard(shard).replica;
        let author = replica.author();
        if theirs.at(author) > replica.vector().at(author) {
            let dot = Dot::new(author, theirs.at(author));
            self.turn.outputs.push(Output::OriginShared { shard, dot, from });
            return Offer::NotCountable;
        }
        let mut both = replica.vector().clone();
        both.join(&theirs);
        let with_author = both.len() + usize::from(both.at(author) == 0);
        let fits = with_author <= ORIGINS_MAX;
        // A damaged replica gives up what it holds for this: together with what its log holds it must be all that it had.
        let useful = match replica.is_out_of_service() {
            true if theirs.is_empty() => self.suffices_alone(shard),
            true => theirs.includes(replica.low()),
            false => replica.lacks(&theirs),
        };
        if self.config.planted.has(Bug::RepairJoinedEarly) && fits {
            self.shard_mut(shard).replica.join_early(&theirs);
        }
        match (useful, fits) {
            (false, _) => Offer::Nothing,
            (true, false) => Offer::NotCountable,
            (true, true) => Offer::Good,
        }
    }

    /// Stages what an answer brought; whether all of it is what a replica of this shard can hold.
    fn stage(
        &mut self,
        now: Now,
        disk: &dyn Disk,
        shard: ShardId,
        took: &Took,
    ) -> Result<bool, StorageError> {
        let Node { repairs, turn, config, .. } = self;
        let Some(incoming) = repairs.incoming.get_mut(&shard) else { return Ok(false) };
        let theirs = incoming.receiver.theirs();
        if !took.rows.iter().all(|row| check_row(config.shards, shard, row, theirs)) {
            return Ok(false);
        }
        let mut bytes = 0;
        for row in &took.rows {
            rows::put_staged(&mut turn.batch, shard, row.at.space, &row.at.row, Some(&row.canonical));
            bytes += (row.at.row.len() + row.canonical.len()) as u64;
        }
        for known in &took.differ {
            let above = Overlay { disk, batch: &turn.batch };
            if !rows::is_staged(&above, shard, known.at.space, &known.at.row)? {
                rows::put_staged(&mut turn.batch, shard, known.at.space, &known.at.row, None);
                incoming.figures.absent += 1;
            }
        }
        turn.batch.commit();
        incoming.figures.rows += took.rows.len() as u64;
        incoming.figures.row_bytes += bytes;
        let paid_us = bytes.saturating_mul(1_000_000) / config.repair_bytes_per_s.max(1);
        let now_us = now.mono_ms.saturating_mul(1_000);
        repairs.paid_until_us = repairs.paid_until_us.max(now_us).saturating_add(paid_us);
        if self.config.planted.has(Bug::RowMergedAlone) {
            self.merge_alone(disk, shard)?;
        }
        Ok(true)
    }

    /// Merges what has arrived so far, by itself: a deliberate bug.
    fn merge_alone(&mut self, disk: &dyn Disk, shard: ShardId) -> Result<(), StorageError> {
        let Some(incoming) = self.repairs.incoming.get(&shard) else { return Ok(()) };
        let theirs = incoming.receiver.theirs().clone();
        let mut draft = Draft { disk, batch: &mut self.turn.batch, origins: &mut self.origins };
        self.shards[usize::from(shard.0)].replica.install(&mut draft, &theirs, EVERYTHING).map(drop)
    }

    /// If all that differs is staged, it is installed: at once where it is little, else in portions.
    fn complete_repair(&mut self, now: Now, disk: &dyn Disk, shard: ShardId) -> Result<(), StorageError> {
        let Some(incoming) = self.repairs.incoming.get(&shard) else { return Ok(()) };
        if !incoming.receiver.is_complete() {
            return Ok(());
        }
        let theirs = self.repair_vector(shard);
        let Figures { rows, absent, row_bytes, .. } = incoming.figures;
        if self.shard(shard).replica.is_out_of_service() {
            self.begin_emptying(shard, theirs);
            return Ok(());
        }
        let at_once = rows + absent <= self.config.install_rows_max as u64
            && row_bytes <= self.config.install_bytes_max;
        if at_once {
            return self.install_portion(now, disk, shard, theirs, EVERYTHING);
        }
        let replica = &mut self.shards[usize::from(shard.0)].replica;
        replica.begin_installing(&mut self.turn.batch, theirs);
        self.turn.changed.insert(shard);
        self.upkeep.install(shard);
        Ok(())
    }

    /// What the version vector covers when a repair is installed.
    pub(super) fn repair_vector(&self, shard: ShardId) -> VersionVector {
        let Some(incoming) = self.repairs.incoming.get(&shard) else { return VersionVector::default() };
        let announced = self.upkeep.known(incoming.from, shard);
        match announced.filter(|_| self.config.planted.has(Bug::RepairVectorNewer)) {
            Some(newer) if newer.includes(incoming.receiver.theirs()) => newer.clone(),
            _ => incoming.receiver.theirs().clone(),
        }
    }

    /// Installs a portion of what is staged; after the last one the replica has what the source had.
    pub(super) fn install_portion(
        &mut self,
        now: Now,
        disk: &dyn Disk,
        shard: ShardId,
        theirs: VersionVector,
        at_most: AtMost,
    ) -> Result<(), StorageError> {
        let Node { shards, turn, origins, clock, config, applied, .. } = self;
        let replica = &mut shards[usize::from(shard.0)].replica;
        let mut draft = Draft { disk, batch: &mut turn.batch, origins };
        let installed = replica.install(&mut draft, &theirs, at_most)?;
        clock.observe(installed.hlc, now.wall_ms, config.clock_skew_ms_max);
        if !installed.all {
            return Ok(());
        }
        let deltas = replica.take_over(&mut draft, &theirs);
        *applied = applied.wrapping_add(deltas);
        turn.changed.insert(shard);
        let masked = !replica.masks().is_empty() && !replica.is_out_of_service();
        self.upkeep.installed(shard);
        self.upkeep.masked(shard, masked);
        self.announcements.changed(shard, now.mono_ms);
        if let Some(incoming) = self.repairs.incoming.remove(&shard) {
            let ms = now.mono_ms.saturating_sub(incoming.figures.ms);
            let figures = Figures { deltas, ms, ..incoming.figures };
            self.turn.outputs.push(Output::Repaired { shard, from: incoming.from, figures });
            self.close_repair(&incoming, shard);
            self.forget_want(shard, incoming.from);
        }
        self.apply_parked(now, disk, shard)
    }

    fn close_repair(&mut self, incoming: &Incoming, shard: ShardId) {
        let turn = RepairTurn { number: incoming.turn.number + 1, ..incoming.turn };
        let message = Message::Ask { shard, turn, ask: Ask::Close };
        self.turn.outputs.push(Output::Send { to: incoming.from, message });
    }

    /// Gives a repair up. Nothing has changed but what is staged. (One that is being installed needs its source no more, and
    /// goes on.)
    fn abort_repair(&mut self, now: Now, disk: &dyn Disk, shard: ShardId) -> Result<(), StorageError> {
        if self.upkeep.is_installing(shard) {
            return Ok(());
        }
        let Some(incoming) = self.repairs.incoming.remove(&shard) else { return Ok(()) };
        self.upkeep.drop_staged(shard);
        self.close_repair(&incoming, shard);
        self.rest_want(shard, incoming.from, now.mono_ms.saturating_add(self.config.pull_retry_ms));
        self.turn.outputs.push(Output::RepairAborted { shard, from: incoming.from });
        self.shard_mut(shard).replica.freeze(false);
        self.apply_parked(now, disk, shard).or_else(|error| self.quarantine(shard, error))
    }

    /// There is no room: repairs that are still fetching are given up.
    pub(super) fn abort_repairs(&mut self, now: Now, disk: &dyn Disk) -> Result<(), StorageError> {
        let shards: Vec<ShardId> = self.repairs.open().collect();
        shards.into_iter().try_for_each(|shard| self.abort_repair(now, disk, shard))
    }

    /// A replica is out of service: it is not repaired as it was, and helps nobody.
    pub(super) fn forget_repairs(&mut self, shard: ShardId, keeps_staged: bool) {
        self.sources.forget(shard);
        if let Some(incoming) = self.repairs.incoming.remove(&shard) {
            self.close_repair(&incoming, shard);
        }
        if !keeps_staged {
            self.upkeep.drop_staged(shard);
        }
    }

    /// Reads a portion of own rows that are to be named to a source.
    pub(super) fn list_portions(&mut self, now: Now) -> Result<(), (ShardId, StorageError)> {
        let shards: Vec<ShardId> = self.repairs.open().collect();
        for shard in shards {
            let Node { repairs, origins, config, .. } = self;
            let Some(incoming) = repairs.incoming.get_mut(&shard) else { continue };
            let listed =
                incoming.receiver.list_on(origins, config.seed, config.repair_known_max, config.portion_rows);
            if let Some(ask) = listed.map_err(|error| (shard, error))? {
                self.ask_next(now, shard, ask);
            }
        }
        Ok(())
    }
}
