//! Announcements: a node says what it has, so that nothing is missing unnoticed. A `Have` goes out
//!
//! - of every shard to a peer that comes up: it pulls what it lacks, and replication is resumed, whatever was lost;
//! - of a shard that has changed to every peer, `announce_ms` after the first change that was not announced: so the last
//!   delta before a silence is found to be missing, and one that only a third node has;
//! - of every shard to every peer once in `announce_all_ms`, a portion at a time: an announcement may be lost too.
//!
//! With what it has a node says the root of its tree: who has the same compares. Of a shard that is out of service it says that
//! it has nothing and knows no root, as soon as that is so: nobody may count on it. One of which nothing is held is not announced,
//! but to a peer that says so of its own: that one looks for a source, and learns that there is none better (`refill`).

use super::{Config, Node, Now, Output};
use crate::id::{NodeId, ShardId};
use crate::merkle;
use crate::message::Message;
use crate::planted::Bug;
use crate::version_vector::VersionVector;
use alloc::collections::{BTreeMap, BTreeSet};

/// In how many portions all shards are announced. Portions, not single shards, for few packets.
const PORTIONS: u64 = 16;

/// What is to be announced.
#[derive(Clone, Debug, Default)]
pub(super) struct Announcements {
    /// The shards that have changed since they were announced, and when they first did.
    changed: BTreeMap<ShardId, u64>,
    /// The portion whose turn it was last, counted from the clock's beginning.
    portion: Option<u64>,
}

impl Announcements {
    /// A replica has applied something.
    pub(super) fn changed(&mut self, shard: ShardId, now_ms: u64) {
        self.changed.entry(shard).or_insert(now_ms);
    }

    /// The shards whose turn it is.
    fn due(&mut self, now_ms: u64, config: &Config) -> BTreeSet<ShardId> {
        let is_due = |since: &u64| since.saturating_add(config.announce_ms) <= now_ms;
        let changed = self.changed.iter().filter(|(_, since)| is_due(since));
        let mut due: BTreeSet<ShardId> = changed.map(|(shard, _)| *shard).collect();
        let portion = now_ms.saturating_mul(PORTIONS) / config.announce_all_ms.max(1);
        let last = self.portion.replace(portion).unwrap_or(portion);
        for turn in last.max(portion.saturating_sub(PORTIONS))..portion {
            let of_turn = |shard: &ShardId| u64::from(shard.0) % PORTIONS == turn % PORTIONS;
            let skipped = config.planted.has(Bug::AnnouncementSkipped);
            due.extend(config.shards.shards().filter(of_turn).filter(|_| !skipped));
        }
        for shard in &due {
            self.changed.remove(shard);
        }
        due
    }
}

impl Node {
    /// A peer can be reached: it is told what there is here.
    pub(super) fn peer_up(&mut self, peer: NodeId) {
        self.pulls.up(peer);
        for shard in self.config.shards.shards() {
            self.announce(shard, peer);
        }
    }

    /// Time has passed: what is due is announced to all peers.
    pub(super) fn announce_due(&mut self, now: Now) {
        for shard in self.announcements.due(now.mono_ms, &self.config) {
            let peers: alloc::vec::Vec<NodeId> = self.pulls.peers().collect();
            for peer in peers {
                self.announce(shard, peer);
            }
            self.cut_if_long(shard);
        }
    }

    /// A replica has left service: what its node said of it does not hold any more.
    pub(super) fn retract(&mut self, shard: ShardId) {
        let peers: alloc::vec::Vec<NodeId> = self.pulls.peers().collect();
        for peer in peers {
            self.announce(shard, peer);
        }
    }

    /// A peer's replica is out of service: it is told so where nothing is held here, for this is announced to nobody else.
    pub(super) fn announce_nothing(&mut self, shard: ShardId, to: NodeId) {
        let replica = &self.shard(shard).replica;
        if !replica.is_out_of_service() && replica.vector().is_empty() {
            self.say(shard, to);
        }
    }

    fn announce(&mut self, shard: ShardId, to: NodeId) {
        let replica = &self.shard(shard).replica;
        if replica.is_out_of_service() || !replica.vector().is_empty() {
            self.say(shard, to);
        }
    }

    fn say(&mut self, shard: ShardId, to: NodeId) {
        let replica = &self.shard(shard).replica;
        let (vector, root) = match replica.is_out_of_service() {
            true => (VersionVector::default(), None),
            false => (replica.vector().clone(), replica.tree().map(|tree| merkle::short(tree.root()))),
        };
        self.turn.outputs.push(Output::Send { to, message: Message::Have { shard, vector, root } });
    }
}
