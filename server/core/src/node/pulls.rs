//! Pulls: what peers have that is lacking here, which of them is asked for it, and when.
//!
//! What a peer has it says itself: by a `Have`, and by a `Fresh`, whose last delta names all that its author had applied.
//! Rules:
//!
//! - What a peer has said last of a shard counts, and is remembered only while some of it is lacking here.
//! - A `Fresh` behind a gap is reason to pull at once. So is a peer's first `Have` of a shard since it came up: nothing
//!   that it holds is on its way, and replication is resumed. What a later `Have` shows to be lacking probably is on its
//!   way: it is pulled if it still lacks after `lacking_ms`.
//! - At most `pulls_open_max` pulls to one peer are unanswered, and one shard is asked of one peer at a time. What is
//!   beyond that waits, the longest due first, and goes when an answer makes room. But where a peer that is given more than
//!   `pull_retry_ms` has answered nothing for that long, another is asked for its shards too, when it has nothing else to give.
//! - Peers answer in order: an answer also ends the pulls that were sent before its own. When a peer has answered
//!   nothing for as long as it is given, all pulls to it end. So a lost answer holds no place for good.
//! - A peer is given `pull_retry_ms`. Each time that is too short it is given twice as long, and half the window, up to
//!   [`LATE_MAX`] times: on a slow link the answers are still on their way, and whatever is asked for besides queues up
//!   behind them. Each answer that comes in half the time, to a pull that has not ended, takes one of these steps back.
//! - A shard whose pull ended unanswered, or whose answer brought nothing, rests at this peer: another that has it too
//!   comes first. It rests for `pull_retry_ms`, or what the peer is given. A late answer that brings something ends that.

use super::{Node, Now, Output};
use crate::id::{NodeId, ShardId};
use crate::message::Message;
use crate::version_vector::VersionVector;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

/// How often a peer is given twice the time and half the window: at most 64 times the time. An answer may be one delta
/// with the largest value, which a link of 2 Mbit/s carries in 34 s.
const LATE_MAX: u32 = 6;

/// The peers that can be reached, and the pulls to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulls {
    peers: BTreeMap<NodeId, Peer>,
    /// The shards that a peer is asked for, and which one was asked last.
    asked: BTreeMap<ShardId, NodeId>,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    /// The shards of which it has said what it has since it came up.
    heard: BTreeSet<ShardId>,
    /// What it has, where some of it was lacking here.
    told: BTreeMap<ShardId, Told>,
    /// When to look at each of these again, but for those that it is asked for.
    due: BTreeSet<(u64, ShardId)>,
    /// The pulls that it has not answered, in the order in which they were sent.
    open: VecDeque<ShardId>,
    /// The shards whose pulls were the last to end unanswered: the next answer about one may be an old pull's.
    ended: BTreeSet<ShardId>,
    /// When it last answered, or was asked after it had answered all.
    silent_since_ms: u64,
    /// How many times over it is given twice the time, and half the window.
    late: u32,
}

#[derive(Clone, Debug)]
struct Told {
    vector: VersionVector,
    /// Whether its last answer left something out.
    more: bool,
    due_ms: u64,
    /// Whether it is not to be asked before then.
    rests: bool,
}

impl Pulls {
    /// A peer can be reached. What was known of it, and asked of it, is of another connection.
    pub(super) fn up(&mut self, peer: NodeId) {
        self.down(peer);
        self.peers.insert(peer, Peer::default());
    }

    /// A peer cannot be reached.
    pub(super) fn down(&mut self, peer: NodeId) {
        for shard in self.peers.remove(&peer).into_iter().flat_map(|peer| peer.open) {
            end(&mut self.asked, shard, peer);
        }
    }

    /// The peers that can be reached, ascending.
    pub(super) fn peers(&self) -> impl Iterator<Item = NodeId> {
        self.peers.keys().copied()
    }

    /// A peer says what it has of a shard. Whether that is the first time since it came up.
    fn hear(&mut self, peer: NodeId, shard: ShardId) -> bool {
        self.peers.get_mut(&peer).is_some_and(|peer| peer.heard.insert(shard))
    }

    /// Remembers what a peer has of a shard, to be pulled when it is due and still lacking; or forgets it, where nothing
    /// of it is lacking.
    fn tell(&mut self, peer: NodeId, shard: ShardId, vector: VersionVector, lacking: bool, due_ms: u64) {
        let Some(peer) = self.peers.get_mut(&peer) else { return };
        let old = peer.told.remove(&shard);
        let (due_ms, rests) = match &old {
            Some(old) if old.rests => (old.due_ms, true),
            Some(old) => (old.due_ms.min(due_ms), false),
            None => (due_ms, false),
        };
        if peer.open.contains(&shard) {
            peer.told.insert(shard, Told { vector, more: false, due_ms, rests });
            return;
        }
        if let Some(old) = old {
            peer.due.remove(&(old.due_ms, shard));
        }
        if lacking {
            peer.told.insert(shard, Told { vector, more: false, due_ms, rests });
            peer.due.insert((due_ms, shard));
        }
    }

    /// The next shard to ask a peer for, if there is one that is due, and room for a pull.
    fn next(
        &mut self,
        peer: NodeId,
        now_ms: u64,
        open_max: usize,
        retry_ms: u64,
        waits: impl Fn(ShardId) -> bool,
        lacks: impl Fn(ShardId, &VersionVector) -> bool,
    ) -> Option<ShardId> {
        loop {
            let (due_ms, shard) = self.first_due(peer, now_ms, open_max, retry_ms, &waits)?;
            let Pulls { peers, asked } = self;
            let (id, peer) = (peer, peers.get_mut(&peer)?);
            peer.due.remove(&(due_ms, shard));
            let told = peer.told.get(&shard).expect("what is due was told");
            if told.more || lacks(shard, &told.vector) {
                if peer.open.is_empty() {
                    peer.silent_since_ms = now_ms;
                }
                peer.open.push_back(shard);
                asked.insert(shard, id);
                return Some(shard);
            }
            peer.told.remove(&shard);
        }
    }

    /// What of that which is due at a peer comes first: what nobody is asked for, and then what another peer is slow to answer.
    fn first_due(
        &self,
        peer: NodeId,
        now_ms: u64,
        open_max: usize,
        retry_ms: u64,
        waits: impl Fn(ShardId) -> bool,
    ) -> Option<(u64, ShardId)> {
        let peer = self.peers.get(&peer)?;
        if peer.open.len() >= (open_max >> peer.late).max(1) {
            return None;
        }
        let is_slow = |of: &NodeId| self.peers.get(of).is_some_and(|peer| peer.is_silent(now_ms, retry_ms));
        let due = || peer.due.range(..=(now_ms, ShardId(u16::MAX))).filter(|(_, shard)| !waits(*shard));
        let unasked = due().find(|(_, shard)| !self.asked.contains_key(shard));
        unasked.or_else(|| due().find(|(_, shard)| self.asked.get(shard).is_some_and(is_slow))).copied()
    }

    /// A peer has answered a pull. `brought`: the answer brought something, and whether it left something out.
    fn answered(&mut self, peer: NodeId, shard: ShardId, brought: Option<bool>, now_ms: u64, retry_ms: u64) {
        let Pulls { peers, asked } = self;
        let (id, Some(peer)) = (peer, peers.get_mut(&peer)) else { return };
        let silent_ms = now_ms.saturating_sub(core::mem::replace(&mut peer.silent_since_ms, now_ms));
        let is_late = peer.ended.remove(&shard);
        let Some(place) = peer.open.iter().position(|open| *open == shard) else {
            if is_late && let Some(more) = brought {
                peer.wake(shard, more, now_ms);
            }
            return;
        };
        if !is_late && silent_ms <= peer.given_ms(retry_ms) / 2 {
            peer.late = peer.late.saturating_sub(1);
        }
        let rested_ms = now_ms.saturating_add(retry_ms);
        let first = if is_late { place } else { 0 };
        let ended: Vec<ShardId> = peer.open.drain(first..=place).collect();
        for ended in ended {
            end(asked, ended, id);
            match brought.filter(|_| ended == shard) {
                Some(more) => peer.put_back(ended, more, now_ms, false),
                None => peer.put_back(ended, false, rested_ms, true),
            }
        }
    }

    /// Forgets what a peer has of a shard, where nothing of it is lacking and its answer left nothing out: it came by
    /// itself, perhaps, and no rest is to be inherited.
    fn settle(&mut self, peer: NodeId, shard: ShardId, lacks: impl FnOnce(&VersionVector) -> bool) {
        let Some(peer) = self.peers.get_mut(&peer) else { return };
        let is_settled = |told: &Told| !told.more && !lacks(&told.vector);
        if !peer.open.contains(&shard) && peer.told.get(&shard).is_some_and(is_settled) {
            peer.forget(shard);
        }
    }

    /// Ends the pulls to peers that have answered nothing for too long.
    fn end_unanswered(&mut self, now_ms: u64, retry_ms: u64) {
        let Pulls { peers, asked } = self;
        let too_long = |peer: &Peer| peer.is_silent(now_ms, peer.given_ms(retry_ms));
        for (id, peer) in peers.iter_mut().filter(|(_, peer)| too_long(peer)) {
            let rested_ms = now_ms.saturating_add(peer.given_ms(retry_ms));
            peer.late = (peer.late + 1).min(LATE_MAX);
            peer.ended.clear();
            for shard in core::mem::take(&mut peer.open) {
                end(asked, shard, *id);
                peer.ended.insert(shard);
                peer.put_back(shard, false, rested_ms, true);
            }
        }
    }

    /// A replica is out of service: nothing is pulled for it.
    pub(super) fn forget(&mut self, shard: ShardId) {
        self.asked.remove(&shard);
        for peer in self.peers.values_mut() {
            peer.open.retain(|open| *open != shard);
            peer.ended.remove(&shard);
            peer.forget(shard);
        }
    }
}

/// A pull to a peer has ended.
fn end(asked: &mut BTreeMap<ShardId, NodeId>, shard: ShardId, peer: NodeId) {
    if asked.get(&shard) == Some(&peer) {
        asked.remove(&shard);
    }
}

impl Peer {
    /// Whether it has been asked, and has answered nothing for so long.
    fn is_silent(&self, now_ms: u64, for_ms: u64) -> bool {
        !self.open.is_empty() && self.silent_since_ms.saturating_add(for_ms) <= now_ms
    }

    /// How long it may answer nothing.
    fn given_ms(&self, retry_ms: u64) -> u64 {
        retry_ms.saturating_mul(1 << self.late)
    }

    /// What it has of a shard is of no interest any more. The shard is not being asked for.
    fn forget(&mut self, shard: ShardId) {
        if let Some(told) = self.told.remove(&shard) {
            self.due.remove(&(told.due_ms, shard));
        }
    }

    /// A shard that rests has been answered after all: it is looked at now.
    fn wake(&mut self, shard: ShardId, more: bool, now_ms: u64) {
        if let Some(told) = self.told.get(&shard) {
            self.due.remove(&(told.due_ms, shard));
            self.put_back(shard, more, now_ms, false);
        }
    }

    /// A pull has ended: the shard is looked at again.
    fn put_back(&mut self, shard: ShardId, more: bool, due_ms: u64, rests: bool) {
        let told = self.told.get_mut(&shard).expect("what was asked for was told");
        (told.more, told.due_ms, told.rests) = (more, due_ms, rests);
        self.due.insert((due_ms, shard));
    }
}

impl Node {
    /// A peer announces what it has.
    pub(super) fn have(&mut self, now: Now, from: NodeId, shard: ShardId, vector: VersionVector) {
        if vector.is_empty() {
            self.forget_want(shard, from);
        }
        if self.is_to_be_repaired(shard, &vector) {
            self.pulls.tell(from, shard, vector, false, now.mono_ms);
            return self.want_repair(now, shard, from);
        }
        let wait_ms = match self.pulls.hear(from, shard) {
            true => 0,
            false => self.config.lacking_ms,
        };
        let lacking = self.shard(shard).replica.lacks(&vector);
        self.pulls.tell(from, shard, vector, lacking, now.mono_ms.saturating_add(wait_ms));
        self.pull_from(now, from);
    }

    /// A peer has sent what it made, and had `vector` then: what is lacking of that lies before it, or was turned away.
    pub(super) fn pull_gap(&mut self, now: Now, from: NodeId, shard: ShardId, vector: VersionVector) {
        if self.is_to_be_repaired(shard, &vector) {
            self.want_repair(now, shard, from);
        } else if self.shard(shard).replica.lacks(&vector) {
            self.pulls.tell(from, shard, vector, true, now.mono_ms);
            self.pull_from(now, from);
        }
    }

    /// Whether a replica should rather be repaired from a peer that has this than be sent the peer's log: it holds nothing and
    /// the peer has applied much.
    fn is_to_be_repaired(&self, shard: ShardId, vector: &VersionVector) -> bool {
        self.shard(shard).replica.vector().is_empty() && vector.deltas() >= self.config.repair_empty_min
    }

    /// A peer's answer was taken in. `brought`: something of it was applied, and whether there is more.
    pub(super) fn answered(&mut self, now: Now, from: NodeId, shard: ShardId, brought: Option<bool>) {
        self.pulls.answered(from, shard, brought, now.mono_ms, self.config.pull_retry_ms);
        let Node { pulls, shards, .. } = self;
        pulls.settle(from, shard, |vector| shards[usize::from(shard.0)].replica.lacks(vector));
        self.pull_from_all(now);
    }

    /// Time has passed: what waited long enough is pulled.
    pub(super) fn pull_due(&mut self, now: Now) {
        self.pulls.end_unanswered(now.mono_ms, self.config.pull_retry_ms);
        self.pull_from_all(now);
    }

    fn pull_from_all(&mut self, now: Now) {
        let peers: Vec<NodeId> = self.pulls.peers().collect();
        for peer in peers {
            self.pull_from(now, peer);
        }
    }

    /// Asks a peer for what is due, as far as there is room: among the open pulls, and on the disk.
    fn pull_from(&mut self, now: Now, peer: NodeId) {
        if !self.has_room {
            return;
        }
        let Node { pulls, shards, config, turn, .. } = self;
        let replica = |shard: ShardId| &shards[usize::from(shard.0)].replica;
        // While a replica is repaired, what is pulled would only wait.
        let waits = |shard: ShardId| replica(shard).is_frozen();
        let lacks = |shard: ShardId, vector: &VersionVector| replica(shard).lacks(vector);
        let (open_max, retry_ms) = (config.pulls_open_max, config.pull_retry_ms);
        while let Some(shard) = pulls.next(peer, now.mono_ms, open_max, retry_ms, waits, lacks) {
            let message = Message::Pull { shard, have: replica(shard).vector().clone() };
            turn.outputs.push(Output::Send { to: peer, message });
        }
    }
}
