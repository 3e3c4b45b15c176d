//! What peers say, as decoders that tests and fuzzers drive.

use super::frame::{self, FRAME_BYTES_MAX};
use super::hello::Greeter;
use super::members::{MEMBERS_MAX, Member, Members};
use super::{inspect, link};
use crate::decoders::Decoder;
use crate::identity::Cluster;
use crate::published::ReplicaStanding;
use meridian_core::id::{Dot, OriginId};
use meridian_core::masks::Masks;
use meridian_core::name::{Bucket, Key};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use uuid::Uuid;

/// Texts of JSON, each in a block of its own.
const JSON: u64 = 128;

pub(crate) const DECODERS: [Decoder; 5] = [
    // The body is read in pieces of a fixed length, and compared with another whole one.
    Decoder { name: "frame", check: frames, seeds: some_frames, memory_per_byte: 16 },
    Decoder { name: "hello", check: hello, seeds: some_hellos, memory_per_byte: JSON },
    Decoder { name: "members", check: members, seeds: some_members, memory_per_byte: JSON },
    Decoder { name: "inspect-request", check: inspect_request, seeds: inspect_requests, memory_per_byte: 64 },
    Decoder { name: "vectors", check: vectors, seeds: some_vectors, memory_per_byte: 64 },
];

fn cluster() -> Cluster {
    Cluster { id: Uuid::from_u128(5), secret: [1; 32] }
}

fn greeter() -> Greeter {
    Greeter { cluster: cluster(), shards: 256, run: OriginId(77) }
}

fn member(name: &str, version: u64) -> Member {
    let id = Uuid::from_u128(cluster().node_id(name).0);
    Member { name: name.into(), id, region: "eu".into(), address: "127.0.0.1:1".into(), version }
}

/// A stream of frames, up to one that is cut short or too long: those that were read are those that were written.
fn frames(mut bytes: &[u8]) -> bool {
    let (all, mut written, mut any) = (bytes, Vec::new(), false);
    while let Ok(body) = at_once(frame::read(&mut bytes, FRAME_BYTES_MAX)) {
        frame::put(&mut written, &body);
        any = true;
    }
    assert!(all.starts_with(&written), "{} of {} bytes", written.len(), all.len());
    let mut rest = &all[written.len()..];
    assert!(at_once(frame::read(&mut rest, FRAME_BYTES_MAX)).is_err(), "none is passed over");
    any
}

/// Bytes in memory are there at once.
fn at_once<T>(reading: impl Future<Output = T>) -> T {
    match pin!(reading).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read,
        Poll::Pending => panic!("it waits for bytes that are there"),
    }
}

fn some_frames() -> Vec<Vec<u8>> {
    let bodies: [&[u8]; 3] = [b"", b"a frame", &[7; 300]];
    let mut all = Vec::new();
    let mut seeds = Vec::new();
    for body in bodies {
        frame::put(&mut all, body);
        seeds.push(all.clone());
    }
    seeds
}

/// A greeting is taken from whom it is, and of the same cluster only.
fn hello(bytes: &[u8]) -> bool {
    let peer = member("n2", 1).node();
    let Ok((member, _run)) = greeter().check(peer, bytes) else { return false };
    assert!(member.node() == peer && member.name == "n2" && member.is_sound(&cluster()));
    true
}

fn some_hellos() -> Vec<Vec<u8>> {
    [1, u64::MAX].map(|version| greeter().hello(&member("n2", version))).into()
}

/// A member list is bounded, holds nobody who cannot be, and a node stays among its members wherever it is from then on.
fn members(bytes: &[u8]) -> bool {
    let Ok(told) = serde_json::from_slice::<Vec<Member>>(bytes) else { return false };
    let written = serde_json::to_vec(&told).expect("strings and numbers can be written");
    assert_eq!(serde_json::from_slice::<Vec<Member>>(&written).ok().as_ref(), Some(&told));
    let own = member("n1", 1);
    let mut members = Members::new(Vec::new(), own.clone());
    members.join(&told, &cluster());
    assert!(
        members.all().len() <= MEMBERS_MAX && members.all().iter().all(|member| member.is_sound(&cluster()))
    );
    assert_eq!((&members.own().address, &members.own().region), (&own.address, &own.region));
    let moved = Members::new(members.all().to_vec(), Member { address: "127.0.0.1:2".into(), ..own });
    assert_eq!(moved.own().address, "127.0.0.1:2");
    true
}

fn some_members() -> Vec<Vec<u8>> {
    let written =
        |members: &[Member]| serde_json::to_vec(members).expect("strings and numbers can be written");
    vec![written(&[]), written(&[member("n2", 3), member("n3", 1)]), written(&[member("n1", 9)])]
}

fn inspect_request(bytes: &[u8]) -> bool {
    let Ok((bucket, key)) = inspect::decode(bytes) else { return false };
    assert_eq!(inspect::encode(&bucket, &key), bytes);
    true
}

fn inspect_requests() -> Vec<Vec<u8>> {
    let bucket = Bucket::new("users").expect("a bucket");
    let keys = [&b"k"[..], &[0xff; 200]].map(|key| Key::new(key).expect("a key"));
    keys.map(|key| inspect::encode(&bucket, &key)).into()
}

fn vectors(bytes: &[u8]) -> bool {
    let Some(standings) = link::decode_vectors(bytes) else { return false };
    let mut written = Vec::new();
    standings.iter().for_each(|standing| link::encode_standing(standing, &mut written));
    assert_eq!(written, bytes);
    true
}

fn some_vectors() -> Vec<Vec<u8>> {
    let vector =
        |dots: &[(u64, u64)]| dots.iter().map(|(origin, seq)| Dot::new(OriginId(*origin), *seq)).collect();
    let mut all = Vec::new();
    let mut seeds = vec![Vec::new()];
    for (root, in_service) in [(Some(5), true), (None, false), (None, true), (Some(u128::MAX), false)] {
        let vector = vector(&[(7, 3), (9, 300)][..seeds.len() % 3]);
        link::encode_standing(
            &ReplicaStanding { vector, root, in_service, masks: Masks::default() },
            &mut all,
        );
        seeds.push(all.clone());
    }
    seeds
}
