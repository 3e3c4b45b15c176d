//! The member list: who belongs to the cluster and where each is reached. Peers tell each other what they know, and each
//! keeps it in its data directory.
//!
//! A member says itself where it is, under a number that only it raises; the higher number holds. So any two nodes that
//! have heard the same agree. A member never leaves the list: that needs a coordinator, which there is not yet.

use crate::identity::Cluster;
use meridian_core::id::NodeId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most members of a cluster. What a peer tells beyond them is refused.
pub(super) const MEMBERS_MAX: usize = 128;
/// Longest name, region or address, in bytes.
const TEXT_BYTES_MAX: usize = 255;

/// One member, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Member {
    /// What it is called.
    pub name: String,
    /// Its id: UUIDv5 of the cluster's id and its name.
    pub id: Uuid,
    /// The place that it is in.
    pub region: String,
    /// Where peers reach it: host and port.
    pub address: String,
    /// Which of two that tell of the same member holds: the higher.
    pub version: u64,
}

impl Member {
    /// Its id as core has it.
    pub fn node(&self) -> NodeId {
        NodeId(self.id.as_u128())
    }

    /// Whether a member of this cluster can look like this.
    pub(super) fn is_sound(&self, cluster: &Cluster) -> bool {
        let texts = [&self.name, &self.region, &self.address];
        texts.iter().all(|text| (1..=TEXT_BYTES_MAX).contains(&text.len()))
            && self.address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
            && cluster.node_id(&self.name) == self.node()
    }
}

/// All members that a node knows, itself among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Members {
    own: NodeId,
    /// Ascending by name.
    all: Vec<Member>,
}

impl Members {
    /// What was kept, with what the node now says of itself.
    pub(super) fn new(kept: Vec<Member>, own: Member) -> Members {
        let mut members = Members { own: own.node(), all: kept };
        match members.all.iter_mut().find(|member| member.id == own.id) {
            Some(found) if (&found.region, &found.address) == (&own.region, &own.address) => {}
            Some(found) => {
                *found = Member { version: own.version.max(found.version.saturating_add(1)), ..own }
            }
            None => members.all.push(own),
        }
        members.sort();
        members
    }

    /// Takes in what a peer knows. Whether anything is other than before.
    pub(super) fn join(&mut self, told: &[Member], cluster: &Cluster) -> bool {
        let before = self.all.clone();
        for member in told.iter().filter(|member| member.is_sound(cluster)) {
            let has_room = self.all.len() < MEMBERS_MAX;
            match self.all.iter_mut().find(|known| known.id == member.id) {
                Some(known) if known.version >= member.version => {}
                // An earlier life of this very node is remembered: what it says now holds.
                Some(known) if member.node() == self.own => known.version = member.version.saturating_add(1),
                Some(known) => *known = member.clone(),
                None if has_room => self.all.push(member.clone()),
                None => {}
            }
        }
        self.sort();
        self.all != before
    }

    fn sort(&mut self) {
        self.all.sort_by(|a, b| a.name.cmp(&b.name));
    }

    pub(super) fn all(&self) -> &[Member] {
        &self.all
    }

    pub(super) fn own(&self) -> &Member {
        self.get(self.own).expect("a node is among its members")
    }

    pub(super) fn get(&self, node: NodeId) -> Option<&Member> {
        self.all.iter().find(|member| member.node() == node)
    }

    pub(super) fn others(&self) -> impl Iterator<Item = &Member> {
        self.all.iter().filter(|member| member.node() != self.own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        Cluster { id: Uuid::from_u128(5), secret: [1; 32] }
    }

    fn member(name: &str, address: &str, version: u64) -> Member {
        let id = Uuid::from_u128(cluster().node_id(name).0);
        Member { name: name.into(), id, region: "eu".into(), address: address.into(), version }
    }

    #[test]
    fn the_higher_version_holds_in_whatever_order_it_is_heard() {
        let told = [member("n2", "a:1", 3), member("n2", "b:1", 4), member("n3", "c:1", 1)];
        let hear = |order: [usize; 3]| {
            let mut members = Members::new(Vec::new(), member("n1", "x:1", 1));
            for index in order {
                members.join(&told[index..=index], &cluster());
            }
            members
        };
        assert_eq!(hear([0, 1, 2]), hear([2, 1, 0]));
        assert_eq!(hear([1, 0, 2]).get(told[0].node()).unwrap().address, "b:1");
    }

    #[test]
    fn a_node_says_itself_where_it_is() {
        let mut wiped = Members::new(Vec::new(), member("n1", "new:1", 2));
        assert!(wiped.join(&[member("n1", "old:1", 9)], &cluster()));
        assert_eq!((wiped.own().address.as_str(), wiped.own().version), ("new:1", 10));
        let moved = Members::new(wiped.all().to_vec(), member("n1", "third:1", 3));
        assert_eq!((moved.own().address.as_str(), moved.own().version), ("third:1", 11));
        let stayed = Members::new(wiped.all().to_vec(), member("n1", "new:1", 99));
        assert_eq!(stayed.own().version, 10);
    }

    #[test]
    fn the_last_version_is_no_end_of_a_node() {
        let mut told = Members::new(Vec::new(), member("n1", "old:1", 1));
        told.join(&[member("n1", "old:1", u64::MAX)], &cluster());
        let moved = Members::new(told.all().to_vec(), member("n1", "new:1", 2));
        assert_eq!((moved.own().address.as_str(), moved.own().version), ("new:1", u64::MAX));
    }

    #[test]
    fn what_cannot_be_a_member_is_not_taken() {
        let mut members = Members::new(Vec::new(), member("n1", "x:1", 1));
        let mut forged = member("n2", "a:1", 1);
        forged.name = "n3".into();
        let no_port = member("n2", "a", 1);
        let long = member(&"n".repeat(TEXT_BYTES_MAX + 1), "a:1", 1);
        assert!(!members.join(&[forged, no_port, long], &cluster()));
        let many: Vec<Member> = (2..500).map(|n| member(&format!("n{n}"), "a:1", 1)).collect();
        assert!(members.join(&many, &cluster()));
        assert_eq!(members.all().len(), MEMBERS_MAX);
    }
}
