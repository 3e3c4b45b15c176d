//! Room on the disk, by hand: without it nothing of peers is applied or parked, and what waited is taken in when there is room again.
//! (`docs/decisions/0021`; what a client sees of it, `cluster.rs` shows.)

use meridian_core::codec::Encode;
use meridian_core::message::Message;
use meridian_core::node::Input;
use meridian_tests::lab::{Lab, SHARD, node_id, put};

const N1: usize = 0;
const N2: usize = 1;

#[test]
fn without_room_nothing_of_peers_is_applied_or_parked_and_what_an_older_database_had_is_taken_in() {
    let mut lab = Lab::new(2);
    lab.write(N1, "k", put("a"));
    lab.write(N1, "l", put("b"));
    let [first, second] = lab.take_messages(N2).try_into().expect("two deltas are on their way");
    let applied = |lab: &Lab| lab.replica(N2).vector().deltas();
    let parked = |lab: &Lab| lab.members[N2].node.parked_bytes(SHARD);
    lab.step(N2, Input::Room(false));
    lab.deliver(N2, vec![second.clone()]);
    assert_eq!((applied(&lab), parked(&lab)), (0, 0), "it is not parked");
    lab.step(N2, Input::Room(true));
    lab.deliver(N2, vec![second]);
    assert_eq!(applied(&lab), 0);
    assert!(parked(&lab) > 0, "it waits for the first");
    lab.step(N2, Input::Room(false));
    lab.deliver(N2, vec![first.clone()]);
    assert_eq!(applied(&lab), 0, "it is not applied");
    let Ok(Message::Fresh { shard, deltas, .. }) = Message::from_bytes(&first.1) else { panic!("{first:?}") };
    lab.step(N2, Input::HandOver { own: node_id(N2), shard, deltas });
    assert_eq!(applied(&lab), 1, "nobody gives it again");
    lab.step(N2, Input::Room(true));
    assert_eq!((applied(&lab), parked(&lab)), (2, 0), "what was parked has waited for room");
}
