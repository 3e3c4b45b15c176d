//! The first frame of each side of a connection: who speaks, of which cluster, and which versions of the protocol it
//! knows. Whoever dialled speaks first. Nothing else is said before both have been found in order.

use super::members::Member;
use crate::identity::Cluster;
use meridian_core::id::{NodeId, OriginId};
use quinn::VarInt;
use ring::hmac;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// The versions of the protocol that this build speaks.
const VERSIONS: RangeInclusive<u16> = 2..=2;
/// Longest greeting, in bytes.
pub(super) const HELLO_BYTES_MAX: usize = 16 << 10;

/// A greeting. JSON, so that a later version may say more and an earlier one still reads it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Hello {
    /// First and last version of the protocol that the sender speaks.
    versions: (u16, u16),
    /// Proves that the sender knows the cluster's secret, in hexadecimal digits.
    proof: String,
    /// How many shards its data has.
    shards: u16,
    /// This run's origin, in hexadecimal digits.
    run: String,
    /// The sender.
    pub(super) member: Member,
}

/// Why a connection is ended, as the other side is told. The numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// The node stops.
    Stopping = 1,
    /// Another connection between the two is used.
    Replaced = 2,
    /// Another process of this name is connected.
    NameInUse = 3,
    /// The secrets differ.
    OtherSecret = 4,
    /// There is no version of the protocol that both speak.
    NoCommonVersion = 5,
    /// The certificate is another node's.
    OtherIdentity = 6,
    /// The numbers of shards differ.
    OtherShards = 7,
    /// What was said cannot be understood.
    NotUnderstood = 8,
    /// Nothing was heard for too long.
    Silent = 9,
}

impl Close {
    pub(super) const ALL: [Close; 9] = [
        Close::Stopping,
        Close::Replaced,
        Close::NameInUse,
        Close::OtherSecret,
        Close::NoCommonVersion,
        Close::OtherIdentity,
        Close::OtherShards,
        Close::NotUnderstood,
        Close::Silent,
    ];

    pub(super) fn code(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }

    /// What it means, for the other side's log.
    pub(super) fn words(self) -> &'static str {
        match self {
            Close::Stopping => "the node stops",
            Close::Replaced => "another connection is used",
            Close::NameInUse => "another process of this name is connected",
            Close::OtherSecret => "the clusters' secrets differ",
            Close::NoCommonVersion => "there is no version of the protocol that both speak",
            Close::OtherIdentity => "the certificate is another node's",
            Close::OtherShards => "the numbers of shards differ",
            Close::NotUnderstood => "what was said cannot be understood",
            Close::Silent => "nothing was heard for too long",
        }
    }
}

/// What the greetings are made of and compared with.
pub(super) struct Greeter {
    pub(super) cluster: Cluster,
    pub(super) shards: u16,
    pub(super) run: OriginId,
}

impl Greeter {
    /// What this node says.
    pub(super) fn hello(&self, own: &Member) -> Vec<u8> {
        let hello = Hello {
            versions: (*VERSIONS.start(), *VERSIONS.end()),
            proof: self.proof(own.node()).iter().map(|byte| format!("{byte:02x}")).collect(),
            shards: self.shards,
            run: format!("{:x}", self.run.0),
            member: own.clone(),
        };
        serde_json::to_vec(&hello).expect("strings and numbers can be written")
    }

    /// Reads and checks what a peer says whose certificate is that of `peer`: its own member entry, and its run.
    ///
    /// # Errors
    /// Why the connection is to be ended.
    pub(super) fn check(&self, peer: NodeId, bytes: &[u8]) -> Result<(Member, OriginId), Close> {
        let hello: Hello = serde_json::from_slice(bytes).map_err(|_| Close::NotUnderstood)?;
        if hello.versions.0 > *VERSIONS.end() || hello.versions.1 < *VERSIONS.start() {
            return Err(Close::NoCommonVersion);
        }
        if hello.member.node() != peer || !hello.member.is_sound(&self.cluster) {
            return Err(Close::OtherIdentity);
        }
        let proof: String = self.proof(peer).iter().map(|byte| format!("{byte:02x}")).collect();
        if proof != hello.proof {
            return Err(Close::OtherSecret);
        }
        if hello.shards != self.shards {
            return Err(Close::OtherShards);
        }
        let run = u64::from_str_radix(&hello.run, 16).map_err(|_| Close::NotUnderstood)?;
        Ok((hello.member, OriginId(run)))
    }

    fn proof(&self, of: NodeId) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.cluster.secret);
        let mut said = b"meridian hello".to_vec();
        said.extend_from_slice(&of.0.to_be_bytes());
        hmac::sign(&key, &said).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn greeter(secret: u8) -> Greeter {
        let cluster = Cluster { id: Uuid::from_u128(5), secret: [secret; 32] };
        Greeter { cluster, shards: 256, run: OriginId(77) }
    }

    fn member(greeter: &Greeter, name: &str) -> Member {
        let id = Uuid::from_u128(greeter.cluster.node_id(name).0);
        Member { name: name.into(), id, region: "eu".into(), address: "127.0.0.1:1".into(), version: 1 }
    }

    #[test]
    fn a_greeting_is_taken_from_whom_it_is_and_of_the_same_cluster_only() {
        let ours = greeter(1);
        let n1 = member(&ours, "n1");
        let hello = ours.hello(&n1);
        assert_eq!(ours.check(n1.node(), &hello), Ok((n1.clone(), OriginId(77))));
        assert_eq!(ours.check(NodeId(1), &hello), Err(Close::OtherIdentity));
        assert_eq!(greeter(2).check(n1.node(), &hello), Err(Close::OtherSecret));
        let other_shards = Greeter { shards: 16, ..greeter(1) };
        assert_eq!(other_shards.check(n1.node(), &hello), Err(Close::OtherShards));
        assert_eq!(ours.check(n1.node(), b"{}"), Err(Close::NotUnderstood));
        let later = String::from_utf8(hello).unwrap().replace("[2,2]", "[3,4]");
        assert_eq!(ours.check(n1.node(), later.as_bytes()), Err(Close::NoCommonVersion));
        let earlier = later.replace("[3,4]", "[1,1]");
        assert_eq!(ours.check(n1.node(), earlier.as_bytes()), Err(Close::NoCommonVersion));
        let both = later.replace("[3,4]", "[2,4]").replacen('{', "{\"more\":1,", 1);
        assert!(ours.check(n1.node(), both.as_bytes()).is_ok(), "what a later version adds is skipped");
    }
}
