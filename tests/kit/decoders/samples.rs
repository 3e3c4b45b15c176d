//! Values of every kind, small and plain: what the seeds are encodings of.

use meridian_core::cell::{Blob, Cell, Head, Mark, Register, Slot, SlotId, SlotSeen};
use meridian_core::context::{Context, Seen};
use meridian_core::delta::{Change, Delta, Effect};
use meridian_core::delta_log::Rest;
use meridian_core::hlc::Hlc;
use meridian_core::id::{Dot, OriginId, ShardId};
use meridian_core::merkle::FANOUT;
use meridian_core::message::{Message, RepairTurn};
use meridian_core::name::{Bucket, ContentType, Key, Member};
use meridian_core::path::{Field, Path};
use meridian_core::repair::{Answer, Ask, Leaves, Position, RowSent, Unwilling};
use meridian_core::replica::inspect;
use meridian_core::storage::Space;
use meridian_core::version_vector::VersionVector;
use std::sync::Arc;

/// The origins that rows of samples have numbers for, in order.
pub const ORIGINS: [OriginId; 3] = [OriginId(0xa), OriginId(0xb), OriginId(u64::MAX)];

fn dot(origin: usize, seq: u64) -> Dot {
    Dot::new(ORIGINS[origin], seq)
}

fn bucket(name: &str) -> Bucket {
    Bucket::new(name).expect("a good name")
}

fn key(name: &[u8]) -> Key {
    Key::new(name).expect("a good key")
}

fn content_type(text: &str) -> ContentType {
    ContentType::new(text).expect("a good content type")
}

/// Content types with a number, and one without.
pub fn content_types() -> Vec<ContentType> {
    let texts = ["text/plain; charset=utf-8", "application/json", "application/octet-stream", "image/png"];
    texts.map(content_type).into()
}

/// Paths: of the key itself, of a field, and of one within it.
pub fn paths() -> Vec<Path> {
    let path = |names: &[&str]| {
        let fields = names.iter().map(|name| Field::new(name).expect("a good name")).collect();
        Path::new(fields).expect("a good path")
    };
    vec![Path::default(), path(&["a"]), path(&["a", "b\0"]), path(&["ü", "b", "c"]), path(&["f"; 32])]
}

/// Version vectors of no, one and several origins.
pub fn vectors() -> Vec<VersionVector> {
    let of = |dots: &[Dot]| dots.iter().copied().collect();
    vec![of(&[]), of(&[dot(1, 3)]), of(&[dot(0, 1), dot(1, 300), dot(2, u64::MAX)])]
}

/// What a client has seen: vectors, and single deltas beside them.
pub fn seen() -> Vec<Seen> {
    let mut all: Vec<Seen> = vectors().iter().map(Seen::all_of).collect();
    all.push(Seen::all_of(&vectors()[1]).and(dot(0, 2)).and(dot(1, 5)));
    all
}

/// Slots of counters: untouched, added to, reset, and with the widest totals.
pub fn slots() -> Vec<Slot> {
    let mark = |seq, total| Mark { seq, total };
    vec![
        Slot::default(),
        Slot { base: Mark::default(), last: mark(1, 5) },
        Slot { base: mark(3, -9), last: mark(300, 1 << 40) },
        Slot { base: mark(7, 1 << 120), last: mark(u64::MAX, -(1 << 120)) },
    ]
}

/// What was seen of slots.
pub fn slots_seen() -> Vec<SlotSeen> {
    let seen = |origin, birth, seq, total| SlotSeen {
        id: SlotId { origin: ORIGINS[origin], birth },
        last: Mark { seq, total },
    };
    vec![seen(0, 1, 1, -7), seen(1, 1, 3, 300)]
}

/// Contexts.
pub fn contexts() -> Vec<Context> {
    let with =
        |slots: Vec<SlotSeen>| seen().into_iter().map(move |seen| Context { seen, slots: slots.clone() });
    with(Vec::new()).chain(with(slots_seen())).collect()
}

/// A head of each type.
pub fn heads() -> Vec<Head> {
    let value = b"a value \0\xff".to_vec();
    let mut heads: Vec<Head> = content_types()
        .into_iter()
        .map(|content_type| {
            Head::Register(Register { hlc: Hlc(9 << 16), content_type, value: value.clone() })
        })
        .collect();
    let blob = Blob { content_type: content_type("text/html"), value };
    let numbers = [0, -1, i64::MAX, i64::MIN];
    heads.extend([
        Head::Counter,
        Head::Set,
        Head::Map,
        Head::Multi(blob),
        Head::Flag(false),
        Head::Flag(true),
    ]);
    heads.extend(numbers.into_iter().flat_map(|number| [Head::Max(number), Head::Min(number)]));
    heads
}

/// Heads as cells: empty, of one sibling of each type, and of so many that their number does not fit the first byte of a row.
pub fn head_cells() -> Vec<Cell<Head>> {
    let one = |head| [(dot(0, 1), head)].into_iter().collect();
    let all = heads().into_iter().enumerate().map(|(place, head)| (dot(place % 3, place as u64 + 1), head));
    let mut cells: Vec<Cell<Head>> = vec![Cell::default(), all.clone().chain(all).collect()];
    cells.extend(heads().into_iter().map(one));
    cells
}

/// Members' cells.
pub fn member_cells() -> Vec<Cell<()>> {
    let of = |count: u64| (0..count).map(|place| (dot(place as usize % 3, place + 1), ())).collect();
    vec![of(0), of(1), of(3), of(20)]
}

/// Every effect, each where it could be the only one of a delta that is the sixth of its origin and knows three of another.
pub fn effects() -> Vec<Effect> {
    let known = Seen::all_of(&[dot(1, 2)].into_iter().collect());
    let singles = known.clone().and(dot(0, 4));
    let kills = vec![dot(0, 5), dot(1, 3)];
    let member =
        |put, kills| Effect::Member { member: Member::new("müller").expect("a member"), kills, put };
    let mut effects = vec![
        Effect::Remove { seen: None },
        Effect::Remove { seen: Some(known.clone()) },
        Effect::Remove { seen: Some(singles.clone()) },
        Effect::Head { kills: kills.clone(), put: None },
        Effect::Clear { seen: None },
        Effect::Clear { seen: Some(known) },
        Effect::Clear { seen: Some(singles) },
        member(true, Vec::new()),
        member(false, kills.clone()),
        Effect::Reset { seen: slots_seen() },
        Effect::Increment { birth: 6, previous: 0, total: -3, amount: -3 },
        Effect::Increment { birth: 2, previous: 5, total: 1 << 70, amount: 300 },
    ];
    effects.extend(heads().into_iter().map(|head| Effect::Head { kills: kills.clone(), put: Some(head) }));
    effects
}

/// Deltas of one origin: one for each effect, at the key and at a field; and one that does several things in several places.
pub fn deltas() -> Vec<Delta> {
    let delta = |changes| Delta {
        dot: dot(0, 6),
        generation: 0,
        deps: [dot(1, 3)].into_iter().collect(),
        hlc: Hlc(9 << 16),
        changes,
    };
    let change = |key_name: &[u8], effects| Change { bucket: bucket("b"), key: key(key_name), effects };
    let mut deltas = Vec::new();
    for path in &paths()[..3] {
        let alone =
            effects().into_iter().map(|effect| delta(vec![change(b"k", vec![(path.clone(), effect)])]));
        deltas.extend(alone);
    }
    let pick = |place: usize| effects().swap_remove(place);
    let there = |path: usize, place: usize| (paths().swap_remove(path), pick(place));
    let several =
        vec![there(0, 3), there(0, 4), there(0, 7), there(0, 9), there(0, 11), there(1, 0), there(2, 8)];
    deltas.push(delta(vec![change(b"k", several), change(b"l\0", vec![there(0, 7)])]));
    deltas
}

/// Deltas one after the other: of one origin with deps that grow, and one of another.
fn streams() -> Vec<Vec<Arc<Delta>>> {
    let alone = deltas().into_iter().map(|delta| vec![Arc::new(delta)]);
    let growing = |(place, mut delta): (usize, Delta)| {
        delta.dot = dot(0, 6 + place as u64);
        delta.hlc = Hlc(delta.hlc.0 + place as u64 * 70_000 % 3);
        delta.deps = [dot(1, 3 + place as u64 / 2)].into_iter().collect();
        if place > 1 {
            delta.deps = delta.deps.iter().chain([dot(2, place as u64)]).collect();
        }
        Arc::new(delta)
    };
    // Of the increments one only is sound at a later place.
    let sound = effects().iter().position(|effect| matches!(effect, Effect::Increment { previous: 0, .. }));
    let others = deltas().into_iter().enumerate().filter(|(place, _)| Some(*place) != sound);
    let mut together: Vec<_> = others.map(|(_, delta)| delta).take(12).enumerate().map(growing).collect();
    let mut other = deltas().swap_remove(0);
    (other.dot, other.deps) = (dot(1, 1), VersionVector::default());
    together.push(Arc::new(other));
    alone.chain([Vec::new(), together]).collect()
}

fn turn() -> RepairTurn {
    RepairTurn { repair: 7, snapshot: u64::MAX, number: 300 }
}

/// Places of rows, in both spaces that a repair knows.
pub fn positions() -> Vec<Position> {
    let at = |space, row: &[u8]| Position { space, row: row.to_vec() };
    vec![at(Space::Head, b"\0\x01b\0k"), at(Space::Cell, b"\0\x01b\0k\0\x02m"), at(Space::Cell, b"")]
}

/// Every request of a repair.
pub fn asks() -> Vec<Ask> {
    let mut asks: Vec<Ask> = vectors().into_iter().map(|have| Ask::Open { have }).collect();
    asks.extend([
        Ask::Walk { level: 1, nodes: vec![0, 3, 15] },
        Ask::Walk { level: 2, nodes: vec![255] },
        Ask::Rows(Leaves::All),
        Ask::Rows(Leaves::These(vec![(0, vec![1, u64::MAX]), (9, Vec::new()), (4095, vec![7])])),
        Ask::Close,
    ]);
    asks.extend(positions().into_iter().map(|from| Ask::More { from }));
    asks
}

/// Every answer of a repair.
pub fn answers() -> Vec<Answer> {
    let rows: Vec<RowSent> =
        positions().into_iter().map(|at| RowSent { at, canonical: b"\x01what it holds".to_vec() }).collect();
    let next = positions().pop();
    let mut answers: Vec<Answer> =
        vectors().into_iter().map(|vector| Answer::Opened { vector, sums: [7; FANOUT] }).collect();
    answers.extend([
        Answer::Sums(Vec::new()),
        Answer::Sums(vec![[u64::MAX; FANOUT], [0; FANOUT]]),
        Answer::Rows { rows: rows.clone(), next, differ: Vec::new() },
        Answer::Rows { rows, next: None, differ: vec![0, 300, u32::MAX] },
        Answer::Unwilling(Unwilling::Busy),
        Answer::Unwilling(Unwilling::NotReady),
        Answer::Unwilling(Unwilling::Gone),
    ]);
    answers
}

/// Every message.
pub fn messages() -> Vec<Message> {
    let shard = ShardId(300);
    let rests = [Rest::None, Rest::More, Rest::Truncated];
    let mut messages = Vec::new();
    for deltas in streams() {
        messages.push(Message::Fresh { shard, deltas: deltas.clone() });
        messages.extend(rests.map(|rest| Message::Missing { shard, deltas: deltas.clone(), rest }));
    }
    for vector in vectors() {
        messages.push(Message::Pull { shard, have: vector.clone() });
        let have = |root| Message::Have { shard, vector: vector.clone(), root };
        messages.extend([None, Some(u64::MAX)].map(have));
    }
    messages.extend(asks().into_iter().map(|ask| Message::Ask { shard, turn: turn(), ask }));
    messages.extend(answers().into_iter().map(|answer| Message::Answer { shard, turn: turn(), answer }));
    messages
}

/// Inspections: every finding, and contents with every piece.
pub fn inspections() -> Vec<inspect::Inspection> {
    use inspect::{Content, FieldShown, Finding, Inspection, MemberShown, Piece, SiblingShown, SlotShown};
    let sibling = |(place, head): (usize, Head)| {
        let is_register = matches!(head, Head::Register(_));
        let bytes = if is_register || matches!(head, Head::Multi(_)) { 300 } else { 0 };
        SiblingShown { dot: dot(0, place as u64 + 1), head, bytes, wins: is_register && place == 0 }
    };
    let head: Vec<_> = heads().into_iter().enumerate().map(sibling).collect();
    let slot = SlotShown { id: SlotId { origin: ORIGINS[1], birth: 3 }, slot: slots()[2] };
    let member = Member::new("m").expect("a member");
    let members = vec![MemberShown { member, cell: member_cells().swap_remove(2) }];
    let field = |path: usize, piece| FieldShown { path: paths().swap_remove(path), piece };
    let fields = vec![
        field(1, Piece::Sibling(head[0].clone())),
        field(1, Piece::Slot(slot)),
        field(1, Piece::Member(members[0].clone())),
        field(2, Piece::Sibling(head[4].clone())),
    ];
    let empty = Content {
        head: Vec::new(),
        slots: Vec::new(),
        sum: 0,
        members: Vec::new(),
        member_count: 0,
        fields: Vec::new(),
        more: false,
        is_whole: true,
        digest: 7,
    };
    let full = Content { head, slots: vec![slot], sum: -300, members, fields, more: true, ..empty.clone() };
    let findings = [
        Finding::Content(Box::new(empty)),
        Finding::Content(Box::new(full)),
        Finding::Quarantined,
        Finding::Damaged("a row is dämaged".into()),
        Finding::Sweeping,
    ];
    findings.map(|finding| Inspection { vector: vectors().swap_remove(1), finding }).into()
}
