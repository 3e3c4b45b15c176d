//! What the tests of repair share: nodes that are apart, messages one by one, and what must hold in the end.

use meridian_core::codec::Encode;
use meridian_core::id::{Dot, OriginId};
use meridian_core::message::Message;
use meridian_core::node::{Config, Figures, Input, Output};
use meridian_core::repair::Ask;
use meridian_core::replica::write::Write;
use meridian_core::storage::Space;
use meridian_tests::lab::{Lab, add, config, increment, node_id, put, remove, reset};
use std::collections::BTreeSet;

pub(crate) const N1: usize = 0;
pub(crate) const N2: usize = 1;
pub(crate) const N3: usize = 2;

/// Rows of a replica, in canonical form.
pub(crate) type Rows = Vec<(Space, Vec<u8>, Vec<u8>)>;
/// Messages on their way to one node: from whom, and the bytes.
pub(crate) type Letters = Vec<(usize, Vec<u8>)>;

// -- nodes that are apart ------------------------------------------------------------------------------------------------

/// Three nodes whose time stands still but at ticks. n2 was away while n1 overwrote, deleted, removed, reset; it has written
/// itself. n1's log is cut, or whole, and all else is the same. And what n3 has made and not told n2 yet: `ghost`, which n1
/// had and deleted, and `late`, which nobody else has.
pub(crate) fn apart(config: Config, is_cut: bool) -> (Lab, Letters) {
    let mut lab = Lab::with(3, Config { log_keep_bytes: 0, ..config });
    lab.step_ms = 0;
    let key = |n: usize| format!("r{n:02}");
    for n in 0..24 {
        lab.write(N1, &key(n), put("old"));
    }
    lab.write(N1, "tags", add(&["a", "b"]));
    lab.write(N1, "hits", increment(5));
    lab.exchange();
    lab.write(N3, "hits", increment(1));
    lab.exchange();
    lab.now_ms += 1_000;
    for n in (0..8).chain(24..28) {
        lab.write(N1, &key(n), put("new"));
    }
    for n in 8..12 {
        lab.write(N1, &key(n), Write::Delete);
    }
    lab.write(N1, "tags", remove(&["a"]));
    lab.write(N1, "tags", add(&["z"]));
    lab.write(N1, "hits", reset());
    lab.write(N1, "hits", increment(7));
    lose_all(&mut lab);
    lab.write(N3, "ghost", put("boo"));
    lab.carry(N3, N1);
    lab.write(N1, "ghost", Write::Delete);
    lab.write(N3, "late", put("late"));
    let mut late = lab.take_messages(N2);
    late.retain(|(from, _)| *from == N3);
    lab.write(N2, "r00", put("by n2"));
    lab.write(N2, "tags", add(&["c"]));
    lab.write(N2, "hits", increment(2));
    lab.write(N2, "mine", put("n2"));
    lose_all(&mut lab);
    match is_cut {
        true => cut_log(&mut lab, N1),
        false => pass(&mut lab, N1),
    }
    (lab, late)
}

/// What all hold when those that were [`apart`] have come together, by the log alone.
pub(crate) fn expected() -> Rows {
    let (mut lab, _) = apart(config(), false);
    settle(&mut lab);
    assert!(repaired(&lab, N2).is_empty(), "the log does it");
    lab.content(N1)
}

/// A node cuts all of its log, by being told that it is alone; and is then told who the others are.
pub(crate) fn cut_log(lab: &mut Lab, at: usize) {
    lab.step(at, Input::Members(BTreeSet::new()));
    pass(lab, at);
    assert!(lab.rows(at, Space::Log).is_empty(), "all of the log is cut");
    tell_members(lab, at);
}

/// A node is told who the other members are.
pub(crate) fn tell_members(lab: &mut Lab, at: usize) {
    let others = (0..lab.members.len()).filter(|other| *other != at);
    lab.step(at, Input::Members(others.map(node_id).collect()));
}

/// So much time passes at a node that it has announced everything; nobody hears it.
pub(crate) fn pass(lab: &mut Lab, at: usize) {
    for _ in 0..3 {
        lab.now_ms += 10_000;
        lab.step(at, Input::Tick);
    }
    lose_all(lab);
}

/// Everything that is on its way gets lost.
pub(crate) fn lose_all(lab: &mut Lab) {
    for at in 0..lab.members.len() {
        lab.take_messages(at);
    }
}

// -- messages one by one ---------------------------------------------------------------------------------------------------

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Letter {
    pub(crate) fn message(&self) -> Message {
        Message::from_bytes(&self.bytes).expect("what a node says can be read")
    }

    pub(crate) fn deliver(&self, lab: &mut Lab) {
        lab.deliver(self.to, vec![(self.from, self.bytes.clone())]);
    }
}

/// Takes the next message that is on its way: the oldest to the first node that gets any.
pub(crate) fn next_letter(lab: &mut Lab) -> Option<Letter> {
    (0..lab.members.len()).find_map(|to| next_letter_to(lab, to))
}

/// Takes the oldest message that is on its way to a node.
pub(crate) fn next_letter_to(lab: &mut Lab, to: usize) -> Option<Letter> {
    let mut letters = lab.take_messages(to).into_iter();
    let first = letters.next();
    lab.put_messages(to, letters.collect());
    first.map(|(from, bytes)| Letter { from, to, bytes })
}

/// What happens next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Work(usize),
    Letter(Letter),
}

/// What happens next: work that waits, or else the oldest message.
pub(crate) fn next_step(lab: &mut Lab) -> Option<Step> {
    let busy = (0..lab.members.len()).find(|at| lab.members[*at].node.has_work());
    busy.map(Step::Work).or_else(|| next_letter(lab).map(Step::Letter))
}

/// Lets it happen.
pub(crate) fn take(lab: &mut Lab, step: &Step) {
    match step {
        Step::Work(at) => drop(lab.one_turn(*at, Input::Work)),
        Step::Letter(letter) => letter.deliver(lab),
    }
}

/// What a receiver asks, among messages.
pub(crate) fn asks(said: &[Message]) -> Vec<Ask> {
    let ask = |message: &Message| match message {
        Message::Ask { ask, .. } => Some(ask.clone()),
        _ => None,
    };
    said.iter().filter_map(ask).collect()
}

/// The repairs of a node that were completed.
pub(crate) fn repaired(lab: &Lab, at: usize) -> Vec<Figures> {
    let figures = |news: &(usize, Output)| match news {
        (of, Output::Repaired { figures, .. }) if *of == at => Some(*figures),
        _ => None,
    };
    lab.news.iter().filter_map(figures).collect()
}

/// Whether a node has said something like this, besides replies and messages.
pub(crate) fn has_said(lab: &Lab, at: usize, like: impl Fn(&Output) -> bool) -> bool {
    lab.news.iter().any(|(of, news)| *of == at && like(news))
}

/// The delta that a row of the log holds.
pub(crate) fn log_dot(row: &[u8]) -> Dot {
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    Dot::new(OriginId(number(&row[2..10])), number(&row[10..18]))
}

// -- what must hold in the end ---------------------------------------------------------------------------------------------

/// The nodes meet anew, and time passes until all replicas have applied the same; then all must hold the same, and nothing
/// be left to do.
pub(crate) fn settle(lab: &mut Lab) {
    lab.works = true;
    lab.unsynced = None;
    for at in 0..lab.members.len() {
        lab.work(at);
        lab.meet(at);
    }
    for _ in 0..600 {
        lab.tick_all(100);
        lab.exchange_all();
        if is_settled(lab) {
            break;
        }
    }
    for _ in 0..10 {
        lab.tick_all(1_000);
        lab.exchange_all();
    }
    equal(lab);
}

fn is_settled(lab: &Lab) -> bool {
    (0..lab.members.len()).all(|at| {
        let replica = lab.replica(at);
        lab.vector(at) == lab.vector(0) && !replica.is_out_of_service() && !replica.is_frozen()
    })
}

/// All replicas answer, have applied the same and hold the same, with equal roots; nothing is staged or left to do.
pub(crate) fn equal(lab: &Lab) {
    for at in 0..lab.members.len() {
        let name = format!("n{}", at + 1);
        assert!(
            !lab.replica(at).is_out_of_service(),
            "{name} is {:?}: {:?}",
            lab.replica(at).standing(),
            lab.news
        );
        assert_eq!(lab.replica(at).vector(), lab.replica(0).vector(), "{name}");
        assert_eq!(lab.content(at), lab.content(0), "{name}");
        assert!(lab.root(at).is_some(), "the rows of {name} are counted");
        assert_eq!(lab.root(at), lab.root(0), "{name}");
        nothing_left(lab, at);
    }
}

/// Nothing is staged at a node, and it has nothing to do.
pub(crate) fn nothing_left(lab: &Lab, at: usize) {
    assert_eq!(lab.rows(at, Space::Stage), [], "staged at n{}", at + 1);
    assert!(!lab.members[at].node.has_work(), "n{} has something to do", at + 1);
    assert!(!lab.replica(at).is_frozen(), "n{} lets nothing in", at + 1);
}
