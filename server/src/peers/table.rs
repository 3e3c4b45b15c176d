//! Who is connected, and how: one entry for each peer. Whether a connection is taken, replaced or refused is decided
//! here.

use super::PEER_SILENCE_MAX;
use super::hello::Close;
use super::members::{Member, Members};
use meridian_core::id::{NodeId, OriginId};
use quinn::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A peer that was heard this recently runs: another process under its name is refused.
const ALIVE: Duration = Duration::from_secs(2);
/// How long a peer may refuse this node because of another process of its name before this one gives up.
const CONFLICT_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the node with the larger id waits to be dialled before it dials itself.
const LARGER_WAITS: Duration = Duration::from_secs(1);

/// A member, as a node sees it.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// What it says of itself.
    pub member: Member,
    /// How it stands.
    pub standing: Standing,
}

/// How a node stands with a member.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It is the node itself.
    Own,
    /// There is a connection.
    Connected {
        /// How long nothing was heard.
        silence: Duration,
        /// The round trip's time.
        round_trip: Duration,
        /// Bytes that wait to be sent.
        queued_bytes: usize,
    },
    /// There is none.
    Unreachable {
        /// Since when there has been none; `None` where there never was one in this run.
        since: Option<Duration>,
    },
}

pub(super) struct Link {
    pub(super) connection: Connection,
    run: OriginId,
    dialled_by: NodeId,
    heard: Instant,
    datagrams: u64,
}

impl Link {
    pub(super) fn new(connection: Connection, run: OriginId, dialled_by: NodeId) -> Self {
        Link { connection, run, dialled_by, heard: Instant::now(), datagrams: 0 }
    }

    fn look(&mut self) {
        let datagrams = self.connection.stats().udp_rx.datagrams;
        if datagrams != self.datagrams {
            (self.datagrams, self.heard) = (datagrams, Instant::now());
        }
    }
}

pub(super) struct Table {
    pub(super) members: Members,
    links: BTreeMap<NodeId, Link>,
    /// When a connection ended.
    lost: BTreeMap<NodeId, Instant>,
    /// Who was found at an address that was to be joined.
    pub(super) found: BTreeMap<String, NodeId>,
    /// How many attempts are under way to an address.
    pub(super) dialling: BTreeMap<String, usize>,
    /// With whom this node exchanges greetings that it began.
    pub(super) greeting: BTreeSet<NodeId>,
    /// Since when a peer has refused this node because another process has its name.
    refusing: BTreeMap<NodeId, Instant>,
    pub(super) conflict: Option<String>,
    started: Instant,
}

impl Table {
    pub(super) fn new(members: Members) -> Self {
        Table {
            members,
            links: BTreeMap::new(),
            lost: BTreeMap::new(),
            found: BTreeMap::new(),
            dialling: BTreeMap::new(),
            greeting: BTreeSet::new(),
            refusing: BTreeMap::new(),
            conflict: None,
            started: Instant::now(),
        }
    }

    pub(super) fn connection(&self, peer: NodeId) -> Option<Connection> {
        self.links.get(&peer).map(|link| link.connection.clone())
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = Connection> {
        self.links.values().map(|link| link.connection.clone())
    }

    pub(super) fn met(&self) -> impl Iterator<Item = NodeId> {
        self.found.values().copied()
    }

    /// Whether the node at an address that was to be joined is known: as a member it is dialled for that.
    pub(super) fn is_met(&self, address: &str, own: NodeId) -> bool {
        self.found.get(address).is_some_and(|peer| *peer == own || self.members.get(*peer).is_some())
    }

    /// Whether a connection to a peer may be used, beside the one that there may be.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn admits(&mut self, peer: NodeId, run: OriginId, dialled_by: NodeId) -> Result<(), Close> {
        let Some(link) = self.links.get_mut(&peer) else { return Ok(()) };
        link.look();
        let other = if dialled_by == peer { link.dialled_by } else { peer };
        let smaller_stays = link.dialled_by != dialled_by && other < dialled_by;
        match link.run == run {
            true if smaller_stays => Err(Close::Replaced),
            false if link.heard.elapsed() < ALIVE => Err(Close::NameInUse),
            _ => Ok(()),
        }
    }

    /// Uses a connection; the one that it replaces.
    pub(super) fn put(&mut self, peer: NodeId, link: Link) -> Option<Connection> {
        self.refusing.remove(&peer);
        self.links.insert(peer, link).map(|old| old.connection)
    }

    /// A connection has ended. Whether it was the one in use.
    pub(super) fn remove(&mut self, peer: NodeId, connection: &Connection) -> bool {
        let in_use =
            self.links.get(&peer).is_some_and(|link| link.connection.stable_id() == connection.stable_id());
        if in_use {
            self.links.remove(&peer);
            self.lost.insert(peer, Instant::now());
        }
        in_use
    }

    /// A peer has refused this node. Whether that is now to be taken seriously.
    pub(super) fn refused_name(&mut self, peer: NodeId) -> bool {
        let since = *self.refusing.entry(peer).or_insert_with(Instant::now);
        let serious = since.elapsed() >= CONFLICT_TIME_MAX;
        if serious && self.conflict.is_none() {
            let by = self.members.get(peer).map_or("a peer", |member| member.name.as_str());
            let own = &self.members.own().name;
            self.conflict = Some(format!(
                "{by} is connected to another process of the name {own:?}: one name is for one node. Stop the other \
                 one, or give this one a name and a data directory of its own"
            ));
        }
        serious
    }

    /// Closes connections on which nothing is heard.
    pub(super) fn close_silent(&mut self) {
        for link in self.links.values_mut() {
            link.look();
            if link.heard.elapsed() > PEER_SILENCE_MAX {
                link.connection.close(Close::Silent.code(), Close::Silent.words().as_bytes());
            }
        }
    }

    /// The members that this node is to dial now.
    pub(super) fn due(&self, own: NodeId) -> Vec<Member> {
        let is_due = |member: &&Member| {
            let peer = member.node();
            let alone = self.lost.get(&peer).unwrap_or(&self.started).elapsed();
            !self.links.contains_key(&peer) && (own < peer || alone >= LARGER_WAITS)
        };
        self.members.others().filter(is_due).cloned().collect()
    }

    pub(super) fn view(&mut self, own: NodeId, queued_bytes: impl Fn(NodeId) -> usize) -> Vec<PeerView> {
        let (links, lost) = (&mut self.links, &self.lost);
        let standing = |member: &Member| {
            let peer = member.node();
            match links.get_mut(&peer) {
                _ if peer == own => Standing::Own,
                Some(link) => {
                    link.look();
                    let (silence, round_trip) = (link.heard.elapsed(), link.connection.rtt());
                    Standing::Connected { silence, round_trip, queued_bytes: queued_bytes(peer) }
                }
                None => Standing::Unreachable { since: lost.get(&peer).map(Instant::elapsed) },
            }
        };
        let mut standing = standing;
        let view = |member: &Member| PeerView { member: member.clone(), standing: standing(member) };
        self.members.all().iter().map(view).collect()
    }
}
