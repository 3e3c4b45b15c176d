//! The pulls of one shard: which peers were asked for what is missing here, and have not answered.
//!
//! A peer that comes up is asked, and asked again until it answers: it may have what nobody else has. When an answer
//! brings nothing further though something is missing, the peer rests, and at a tick others are asked too.

use crate::id::NodeId;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The pulls of one shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulls {
    open: BTreeMap<NodeId, Pull>,
    /// Whether something is known to be missing: a delta waits, or was turned away.
    pub(super) waiting: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pull {
    /// When to ask this peer again, on the monotonic clock.
    again_at_ms: u64,
    /// Whether something became missing after it was asked, so that the answer may not have it.
    renew: bool,
}

impl Pulls {
    /// A peer has been asked. It is asked again at `again_at_ms` if it has not answered.
    pub(super) fn asked(&mut self, peer: NodeId, again_at_ms: u64) {
        self.open.insert(peer, Pull { again_at_ms, renew: false });
    }

    /// Something is missing that this peer has: whether it is to be asked now. If it was asked already, it is asked
    /// once more after its answer.
    pub(super) fn needs(&mut self, peer: NodeId) -> bool {
        match self.open.get_mut(&peer) {
            Some(pull) => {
                pull.renew = true;
                false
            }
            None => true,
        }
    }

    /// A peer has answered. Whether something became missing since it was asked.
    pub(super) fn answered(&mut self, peer: NodeId) -> bool {
        self.open.remove(&peer).is_some_and(|pull| pull.renew)
    }

    /// A peer cannot be reached.
    pub(super) fn forget(&mut self, peer: NodeId) {
        self.open.remove(&peer);
    }

    /// Whom to ask at a tick, of the peers that can be reached: those who have not answered in time; and where
    /// something is missing and they do not bring it, one more.
    pub(super) fn due<'a>(&self, now_ms: u64, mut peers: impl Iterator<Item = &'a NodeId>) -> Vec<NodeId> {
        let late = self.open.iter().filter(|(_, pull)| pull.again_at_ms <= now_ms);
        let mut due: Vec<NodeId> = late.map(|(peer, _)| *peer).collect();
        let others_fail = self.open.is_empty() || !due.is_empty();
        if self.waiting && others_fail {
            due.extend(peers.find(|peer| !self.open.contains_key(peer)));
        }
        due
    }
}
