//! One key as one replica has it, for whoever debugs a cluster: its cells with their dots, and what was applied.
//!
//! - It is pure, from any consistent view, as [`super::read`] is. A row that cannot be read is a finding, not an error: then
//!   nothing of the key is shown, for half of it would be taken for the whole.
//! - It travels to the node that was asked, so all of it is bounded: at most [`SHOWN_MAX`] of each kind of row, values
//!   and members up to so many bytes. What is left out is said to be.
//! - Two replicas' content is compared by digest, in canonical form and in full length, whatever is shown of it. Of a
//!   set, the first [`MEMBERS_READ_MAX`] members count, and of a map so many rows of its fields; of one that has more, nobody
//!   says more than that.

mod bytes;

use crate::cell::{Blob, Cell, Head, Register, Slot, SlotId};
use crate::codec::Encode;
use crate::id::Dot;
use crate::name::Member;
use crate::path::{Path, ROOT};
use crate::replica::read::MEMBERS_READ_MAX;
use crate::rows::{self, FieldRow};
use crate::storage::StorageError;
use crate::types::{View, map, register};
use crate::version_vector::VersionVector;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::ControlFlow;
use xxhash_rust::xxh3::Xxh3;

/// Most siblings, slots, members and pieces of fields that are shown, of each. Of further ones it is said that there are more.
pub const SHOWN_MAX: usize = 100;
/// Most bytes of one value that are shown. A longer one is cut off.
pub const VALUE_SHOWN_BYTES_MAX: usize = 64 << 10;
/// Most bytes that the values of all siblings take together, those of fields among them. Many siblings are shown less of each.
pub const VALUES_SHOWN_BYTES_MAX: usize = 256 << 10;
/// Most bytes that the members which are shown take together, with their dots. Of further ones it is said that there are more.
pub const MEMBERS_SHOWN_BYTES_MAX: usize = 256 << 10;
/// Most bytes that the pieces of fields which are shown take together, without their values. Of further ones it is said that
/// there are more.
pub const FIELDS_SHOWN_BYTES_MAX: usize = 256 << 10;
/// Most bytes that an inspection takes when it is written down.
pub const INSPECTION_BYTES_MAX: usize = 1 << 20;
/// Longest description of a damage, in bytes. The rest is left out.
const DAMAGE_BYTES_MAX: usize = 1 << 10;
/// Most bytes that a dot takes.
const DOT_BYTES_MAX: usize = 18;
/// About how many bytes a sibling takes without its value, and a slot.
const PIECE_BYTES_USUAL: usize = 64;

/// One key as one replica has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What the replica had applied, of its whole shard.
    pub vector: VersionVector,
    /// What it holds of the key.
    pub finding: Finding,
}

/// What a replica holds of a key, or why it does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is in service, and holds this.
    Content(Box<Content>),
    /// It was taken out of service, for a damaged row.
    Quarantined,
    /// A row of this key cannot be read; in words.
    Damaged(String),
    /// Much was removed here, and is in the way until it is swept away.
    Sweeping,
}

/// What a replica holds of a key. All lists ascend. Without such a key all are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The key's head.
    pub head: Vec<SiblingShown>,
    /// A counter's slots, spent ones too.
    pub slots: Vec<SlotShown>,
    /// The sum of all slots, whether they are shown or not.
    pub sum: i128,
    /// A set's members.
    pub members: Vec<MemberShown>,
    /// How many members there are; [`MEMBERS_READ_MAX`] where there are more.
    pub member_count: u64,
    /// A map's fields, in pieces.
    pub fields: Vec<FieldShown>,
    /// Whether a list goes on beyond what is shown.
    pub more: bool,
    /// Whether all members, and all rows of fields, were counted, and are in the digest.
    pub is_whole: bool,
    /// Of the content in canonical form: equal where the content is equal, spent slots among it.
    pub digest: u128,
}

/// One sibling of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiblingShown {
    /// The delta that put it.
    pub dot: Dot,
    /// The sibling. A value of bytes may be cut off.
    pub head: Head,
    /// How long a value of bytes really is; 0 for any other type.
    pub bytes: u64,
    /// Whether it is the write that a register reads as.
    pub wins: bool,
}

/// One slot of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotShown {
    /// Which.
    pub id: SlotId,
    /// What it holds.
    pub slot: Slot,
}

/// One member of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberShown {
    /// Which.
    pub member: Member,
    /// Its dots.
    pub cell: Cell<()>,
}

/// One piece of a field, at any depth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldShown {
    /// The way to the field.
    pub path: Path,
    /// The piece.
    pub piece: Piece,
}

/// What a field is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A sibling of its head.
    Sibling(SiblingShown),
    /// A slot of it, spent or not.
    Slot(SlotShown),
    /// A member of it.
    Member(MemberShown),
}

/// Shows a key as its replica has it.
pub fn inspect(view: View<'_>, in_service: bool) -> Inspection {
    let finding = match in_service.then(|| content(view)) {
        None => Finding::Quarantined,
        Some(Ok(content)) => Finding::Content(Box::new(content)),
        Some(Err(StorageError::Unswept)) => Finding::Sweeping,
        Some(Err(error)) => Finding::Damaged(words(&error)),
    };
    Inspection { vector: view.vector.clone(), finding }
}

fn words(error: &StorageError) -> String {
    let mut words = error.to_string();
    words.truncate(words.floor_char_boundary(DAMAGE_BYTES_MAX));
    words
}

fn content(view: View<'_>) -> Result<Content, StorageError> {
    let (head, slots) = (view.head()?, rows::slots(view.disk, view.place)?);
    let mut digest = Digest::default();
    digest.add(&head.to_bytes());
    for (id, slot) in &slots {
        digest.add(&SlotShown { id: *id, slot: *slot }.to_bytes());
    }
    let mut values = VALUES_SHOWN_BYTES_MAX;
    let mut shown = Content {
        head: siblings(&head, &mut values),
        sum: slots.iter().fold(0, |sum, (_, slot)| sum.saturating_add(slot.value())),
        more: head.siblings().len() > SHOWN_MAX || slots.len() > SHOWN_MAX,
        slots: slots.into_iter().take(SHOWN_MAX).map(|(id, slot)| SlotShown { id, slot }).collect(),
        members: Vec::new(),
        member_count: 0,
        fields: Vec::new(),
        is_whole: true,
        digest: 0,
    };
    add_members(view, &mut shown, &mut digest)?;
    add_fields(view, &mut shown, &mut digest, values)?;
    shown.digest = digest.0.digest128();
    Ok(shown)
}

/// The siblings of a head. Their values take up the room that is left for values.
fn siblings(head: &Cell<Head>, room: &mut usize) -> Vec<SiblingShown> {
    let winner = register::winner(head).map(|(dot, _)| dot);
    let count = head.siblings().len().clamp(1, SHOWN_MAX);
    let bytes_max = VALUE_SHOWN_BYTES_MAX.min(*room / count);
    let shown = head.siblings().iter().take(SHOWN_MAX).map(|(dot, head)| {
        let mut shown = SiblingShown { dot: *dot, head: head.clone(), bytes: 0, wins: winner == Some(*dot) };
        if let Head::Register(Register { value, .. }) | Head::Multi(Blob { value, .. }) = &mut shown.head {
            shown.bytes = value.len() as u64;
            value.truncate(bytes_max);
            *room -= value.len();
        }
        shown
    });
    shown.collect()
}

fn add_members(view: View<'_>, shown: &mut Content, digest: &mut Digest) -> Result<(), StorageError> {
    let (mut room, mut full) = (MEMBERS_SHOWN_BYTES_MAX, false);
    rows::scan_members(view.disk, view.origins, view.place, &mut |member, cell| {
        shown.is_whole = shown.member_count < MEMBERS_READ_MAX as u64;
        if !shown.is_whole {
            return ControlFlow::Break(());
        }
        shown.member_count += 1;
        digest.add(member.as_str().as_bytes());
        digest.add(&cell.to_bytes());
        let bytes = member.as_str().len() + DOT_BYTES_MAX * cell.siblings().len();
        full |= shown.members.len() == SHOWN_MAX || bytes > room;
        if !full {
            room -= bytes;
            shown.members.push(MemberShown { member, cell });
        }
        ControlFlow::Continue(())
    })?;
    shown.more |= full;
    Ok(())
}

/// Bytes of values after which no further field is looked at: then it does not say whether replicas agree.
const FIELDS_LOOKED_AT_BYTES_MAX: usize = 64 << 20;

/// Adds the rows of all fields. They come by kind: heads, slots, members. What is shown of them is sorted by path.
fn add_fields(
    view: View<'_>,
    shown: &mut Content,
    digest: &mut Digest,
    mut values: usize,
) -> Result<(), StorageError> {
    let (mut count, mut looked, mut room, mut full) = (0, 0, FIELDS_SHOWN_BYTES_MAX, false);
    rows::scan_fields(view.disk, view.origins, view.place, &mut |path, row| {
        if count == MEMBERS_READ_MAX || looked > FIELDS_LOOKED_AT_BYTES_MAX {
            shown.is_whole = false;
            return Ok(ControlFlow::Break(()));
        }
        count += 1;
        if let FieldRow::Head(cell) = &row {
            looked += map::head_bytes(cell);
        }
        digest.add(&path.to_bytes());
        digest.add_row(&row);
        let pieces = if full { Vec::new() } else { pieces(row, &mut values) };
        for piece in pieces {
            let bytes = path.footprint() + piece.bytes();
            full |= shown.fields.len() == SHOWN_MAX || bytes > room;
            if !full {
                room -= bytes;
                shown.fields.push(FieldShown { path: path.clone(), piece });
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    shown.more |= full;
    shown.fields.sort_by(|a, b| a.name().cmp(&b.name()));
    Ok(())
}

fn pieces(row: FieldRow, values: &mut usize) -> Vec<Piece> {
    match row {
        FieldRow::Head(cell) => siblings(&cell, values).into_iter().map(Piece::Sibling).collect(),
        FieldRow::Slot(id, slot) => alloc::vec![Piece::Slot(SlotShown { id, slot })],
        FieldRow::Member(member, cell) => alloc::vec![Piece::Member(MemberShown { member, cell })],
    }
}

impl FieldShown {
    /// The field, and which piece of it: what a list of them ascends by.
    fn name(&self) -> (&Path, Name<'_>) {
        let name = match &self.piece {
            Piece::Sibling(sibling) => Name::Sibling(sibling.dot),
            Piece::Slot(slot) => Name::Slot(slot.id),
            Piece::Member(member) => Name::Member(&member.member),
        };
        (&self.path, name)
    }
}

/// Names a piece within its field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name<'a> {
    Sibling(Dot),
    Slot(SlotId),
    Member(&'a Member),
}

impl Piece {
    /// About how many bytes it takes without a value.
    fn bytes(&self) -> usize {
        match self {
            Piece::Sibling(sibling) => {
                let content_type =
                    sibling.head.bytes().map_or(0, |(content_type, _)| content_type.as_str().len());
                PIECE_BYTES_USUAL + content_type
            }
            Piece::Slot(_) => PIECE_BYTES_USUAL,
            Piece::Member(MemberShown { member, cell }) => {
                member.as_str().len() + DOT_BYTES_MAX * cell.siblings().len()
            }
        }
    }
}

/// Of pieces in an order, told apart by their lengths.
#[derive(Default)]
struct Digest(Xxh3);

impl Digest {
    fn add(&mut self, piece: &[u8]) {
        self.0.update(&(piece.len() as u64).to_be_bytes());
        self.0.update(piece);
    }

    /// A row of a field, told apart from those of another kind.
    fn add_row(&mut self, row: &FieldRow) {
        match row {
            FieldRow::Head(cell) => {
                self.add(b"head");
                self.add(&cell.to_bytes());
            }
            FieldRow::Slot(id, slot) => {
                self.add(b"slot");
                self.add(&SlotShown { id: *id, slot: *slot }.to_bytes());
            }
            FieldRow::Member(member, cell) => {
                self.add(b"member");
                self.add(member.as_str().as_bytes());
                self.add(&cell.to_bytes());
            }
        }
    }
}

// -- several replicas ---------------------------------------------------------------------------------------------------

/// Whether replicas hold the same of a key, as far as it was compared. `None` where that cannot be said: all that was
/// compared is equal, and there is more.
pub fn agree(inspections: &[&Inspection]) -> Option<bool> {
    let mut contents = Vec::new();
    for inspection in inspections {
        match &inspection.finding {
            Finding::Content(content) => contents.push(content),
            Finding::Sweeping => {}
            Finding::Quarantined | Finding::Damaged(_) => return Some(false),
        }
    }
    let compared = |content: &Content| (content.digest, content.is_whole);
    if !contents.windows(2).all(|two| compared(two[0]) == compared(two[1])) {
        return Some(false);
    }
    // Replicas that have applied the same deltas hold the same.
    let same = inspections.windows(2).all(|two| two[0].vector == two[1].vector);
    let all = contents.len() == inspections.len() && contents.iter().all(|content| content.is_whole);
    (same || all).then_some(true)
}

impl Inspection {
    /// Of the dots that are shown of other replicas, those that this one has not applied.
    pub fn lacking(&self, others: &[&Inspection]) -> BTreeSet<Dot> {
        let contents = others.iter().filter_map(|other| other.content());
        let dots =
            contents.flat_map(|content| content.dots().map(|(.., dot)| dot).chain(content.increments()));
        dots.filter(|dot| !self.vector.covers(*dot)).collect()
    }

    /// Of the dots that are shown of other replicas, those that this one has applied and has taken away since, from one
    /// cell at least: a delta's dot may be in several. None where not all that it holds is shown.
    pub fn killed(&self, others: &[&Inspection]) -> BTreeSet<Dot> {
        let Some(own) = self.content().filter(|own| !own.more) else { return BTreeSet::new() };
        let alive: BTreeSet<_> = own.dots().collect();
        let dots = others.iter().filter_map(|other| other.content()).flat_map(Content::dots);
        let gone = dots.filter(|place| self.vector.covers(place.2) && !alive.contains(place));
        gone.map(|(.., dot)| dot).collect()
    }

    fn content(&self) -> Option<&Content> {
        match &self.finding {
            Finding::Content(content) => Some(content),
            _ => None,
        }
    }
}

impl Content {
    /// The dots in the cells that are shown: of the key or a field, in a member's or in the head.
    fn dots(&self) -> impl Iterator<Item = (&Path, Option<&Member>, Dot)> + '_ {
        let head = self.head.iter().map(|shown| (&ROOT, None, shown.dot));
        let fields = self.fields.iter().flat_map(|FieldShown { path, piece }| {
            let (sibling, member) = match piece {
                Piece::Sibling(sibling) => (Some((path, None, sibling.dot)), None),
                Piece::Slot(_) => (None, None),
                Piece::Member(member) => (None, Some(member_dots(path, member))),
            };
            sibling.into_iter().chain(member.into_iter().flatten())
        });
        head.chain(self.members.iter().flat_map(|shown| member_dots(&ROOT, shown))).chain(fields)
    }

    /// The last increment of each slot that is shown.
    fn increments(&self) -> impl Iterator<Item = Dot> + '_ {
        let fields = self.fields.iter().filter_map(|shown| match &shown.piece {
            Piece::Slot(slot) => Some(slot),
            _ => None,
        });
        let incremented = self.slots.iter().chain(fields).filter(|shown| shown.slot.last.seq > 0);
        incremented.map(|shown| Dot::new(shown.id.origin, shown.slot.last.seq))
    }
}

fn member_dots<'a>(
    path: &'a Path,
    shown: &'a MemberShown,
) -> impl Iterator<Item = (&'a Path, Option<&'a Member>, Dot)> + 'a {
    shown.cell.dots().map(move |dot| (path, Some(&shown.member), dot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Mark, Register};
    use crate::hlc::Hlc;
    use crate::id::{OriginId, ShardId};
    use crate::merkle::{Changes, Counted, Seed};
    use crate::name::{Bucket, ContentType, Key};
    use crate::path::Field;
    use crate::rows::{Origins, Pen, Place};
    use crate::storage::{Batch, MemStorage, Read, Space, Storage, Visit};
    use alloc::format;

    pub(super) const A: OriginId = OriginId(0xa);
    const B: OriginId = OriginId(0xb);

    /// One key's rows on a disk, and what was applied.
    #[derive(Default)]
    struct Disk {
        rows: MemStorage,
        origins: Origins,
        vector: VersionVector,
    }

    impl Disk {
        fn with(head: Cell<Head>, slots: &[(SlotId, Slot)], members: &[(Member, Cell<()>)]) -> Disk {
            let mut disk = Disk::default();
            let mut batch = Batch::default();
            for origin in [A, B] {
                disk.origins.number(&mut batch, origin);
            }
            let (bucket, key) = (Bucket::new("b").unwrap(), Key::new(b"k").unwrap());
            let place = Place::key(ShardId(0), &bucket, &key);
            let mut changes = Changes::new(Seed(0), Counted::All, None);
            let mut pen = Pen { batch: &mut batch, origins: &disk.origins, changes: &mut changes };
            pen.head(place, None, &head);
            for (id, slot) in slots {
                pen.slot(place, *id, None, *slot);
            }
            for (member, cell) in members {
                pen.member(place, member, None, cell);
            }
            disk.rows.write(&batch).unwrap();
            disk
        }

        /// What is there, and rows of fields.
        fn and_fields(mut self, fields: &[(Path, FieldRow)]) -> Disk {
            let (bucket, key) = (Bucket::new("b").unwrap(), Key::new(b"k").unwrap());
            let (mut batch, mut changes) = (Batch::default(), Changes::new(Seed(0), Counted::All, None));
            let mut pen = Pen { batch: &mut batch, origins: &self.origins, changes: &mut changes };
            for (path, row) in fields {
                let place = Place::key(ShardId(0), &bucket, &key).at(path);
                match row {
                    FieldRow::Head(cell) => pen.head(place, None, cell),
                    FieldRow::Slot(id, slot) => pen.slot(place, *id, None, *slot),
                    FieldRow::Member(member, cell) => pen.member(place, member, None, cell),
                }
            }
            self.rows.write(&batch).unwrap();
            self
        }

        fn applied(mut self, dots: &[Dot]) -> Disk {
            self.vector = dots.iter().copied().collect();
            self
        }

        fn inspect(&self) -> Inspection {
            let (bucket, key) = (Bucket::new("b").unwrap(), Key::new(b"k").unwrap());
            let place = Place::key(ShardId(0), &bucket, &key);
            let view = View { disk: &self.rows, origins: &self.origins, vector: &self.vector, place };
            inspect(view, true)
        }
    }

    pub(super) fn dot(origin: OriginId, seq: u64) -> Dot {
        Dot::new(origin, seq)
    }

    pub(super) fn register(ms: u64, value: &[u8]) -> Head {
        let content_type = ContentType::new("text/plain").unwrap();
        Head::Register(Register { hlc: Hlc::from_ms(ms), content_type, value: value.to_vec() })
    }

    pub(super) fn member(text: &str, dots: &[Dot]) -> (Member, Cell<()>) {
        (Member::new(text).unwrap(), dots.iter().map(|dot| (*dot, ())).collect())
    }

    fn set(members: &[(Member, Cell<()>)]) -> Disk {
        Disk::with([(dot(A, 1), Head::Set)].into_iter().collect(), &[], members)
    }

    pub(super) fn path(names: &[&str]) -> Path {
        Path::new(names.iter().map(|name| Field::new(name).unwrap()).collect()).unwrap()
    }

    type Fields = [(Path, FieldRow); 5];

    fn head_row(dot: Dot, head: Head) -> FieldRow {
        FieldRow::Head([(dot, head)].into_iter().collect())
    }

    fn map(fields: &[(Path, FieldRow)]) -> Disk {
        Disk::with([(dot(A, 1), Head::Map)].into_iter().collect(), &[], &[]).and_fields(fields)
    }

    fn content(inspection: &Inspection) -> &Content {
        inspection.content().unwrap_or_else(|| panic!("{inspection:?}"))
    }

    #[test]
    fn a_key_is_shown_with_its_dots_and_the_write_that_is_read() {
        let head = [(dot(A, 1), register(5, b"first")), (dot(B, 1), register(4, b"second"))];
        let shown = Disk::with(head.into_iter().collect(), &[], &[]).inspect();
        let shown = content(&shown);
        assert_eq!(
            shown.head.iter().map(|one| (one.dot, one.wins, one.bytes)).collect::<Vec<_>>(),
            [(dot(A, 1), true, 5), (dot(B, 1), false, 6)]
        );
        assert!(shown.is_whole && !shown.more && shown.member_count == 0);
        let slot = Slot { base: Mark { seq: 2, total: 3 }, last: Mark { seq: 9, total: 10 } };
        let spent = Slot { base: slot.last, last: slot.last };
        let slots = [(SlotId { origin: A, birth: 1 }, slot), (SlotId { origin: B, birth: 1 }, spent)];
        let counted = Disk::with([(dot(A, 1), Head::Counter)].into_iter().collect(), &slots, &[]).inspect();
        assert_eq!((content(&counted).sum, content(&counted).slots.len()), (7, 2), "spent slots are shown");
        let set = set(&[member("jazz", &[dot(A, 1)]), member("opera", &[dot(A, 2), dot(B, 1)])]).inspect();
        let members = &content(&set).members;
        assert_eq!(members[1].cell.dots().collect::<Vec<_>>(), [dot(A, 2), dot(B, 1)]);
        let nothing = content(&Disk::default().inspect()).clone();
        assert!(nothing.head.is_empty() && nothing.slots.is_empty() && nothing.members.is_empty());
    }

    #[test]
    fn a_map_is_shown_with_all_its_fields_in_the_order_of_their_paths() {
        let slot = Slot { base: Mark::default(), last: Mark { seq: 9, total: 10 } };
        let id = SlotId { origin: B, birth: 9 };
        let jazz = member("jazz", &[dot(A, 3)]);
        let (city, tags) = (path(&["address", "city"]), path(&["tags"]));
        let head = [(dot(A, 2), register(5, b"London")), (dot(B, 2), register(6, b"Paris"))];
        let fields = || {
            [
                (path(&["address"]), head_row(dot(A, 2), Head::Map)),
                (city.clone(), FieldRow::Head(head.clone().into_iter().collect())),
                (tags.clone(), head_row(dot(A, 3), Head::Set)),
                (tags.clone(), FieldRow::Member(jazz.0.clone(), jazz.1.clone())),
                (path(&["visits"]), FieldRow::Slot(id, slot)),
            ]
        };
        let shown = map(&fields()).inspect();
        assert_eq!(Inspection::from_bytes(&shown.to_bytes()).as_ref(), Ok(&shown));
        let pieces: Vec<(&Path, String)> = content(&shown)
            .fields
            .iter()
            .map(|shown| match &shown.piece {
                Piece::Sibling(one) => (&shown.path, format!("{:?} {} {}", one.dot, one.bytes, one.wins)),
                Piece::Slot(slot) => (&shown.path, format!("{:?}", slot.slot.value())),
                Piece::Member(member) => (&shown.path, format!("{:?}", member.member)),
            })
            .collect();
        let sibling = |dot: Dot, bytes: u64, wins: bool| format!("{dot:?} {bytes} {wins}");
        assert_eq!(
            pieces,
            [
                (&path(&["address"]), sibling(dot(A, 2), 0, false)),
                (&city, sibling(dot(A, 2), 6, false)),
                (&city, sibling(dot(B, 2), 5, true)),
                (&tags, sibling(dot(A, 3), 0, false)),
                (&tags, "\"jazz\"".into()),
                (&path(&["visits"]), "10".into()),
            ]
        );
        assert!(!content(&shown).more && content(&shown).is_whole && content(&shown).sum == 0);
        // Whatever differs, the digests do.
        let other = |change: &dyn Fn(&mut Fields)| {
            let mut fields = fields();
            change(&mut fields);
            map(&fields).inspect()
        };
        assert_eq!(agree(&[&shown, &other(&|_| {})]), Some(true));
        for different in [
            other(&|fields| fields[4].0 = path(&["views"])),
            other(&|fields| fields[1].1 = head_row(dot(A, 2), register(5, b"London"))),
            other(&|fields| fields[3].1 = FieldRow::Member(Member::new("rock").unwrap(), jazz.1.clone())),
            other(&|fields| fields[4].1 = FieldRow::Slot(id, Slot { base: slot.last, ..slot })),
        ] {
            assert_eq!(agree(&[&shown, &different]), Some(false), "{different:?}");
        }
    }

    #[test]
    fn values_of_fields_share_the_room_of_all_values() {
        let field = |number: u64| {
            let content_type = ContentType::new("text/plain").unwrap();
            let blob = Blob { content_type, value: alloc::vec![7; 70_000] };
            (path(&[&format!("{number:04000}")]), head_row(dot(A, number), Head::Multi(blob)))
        };
        let fields: Vec<_> = (1..=120).map(field).collect();
        let shown = map(&fields).inspect();
        assert!(shown.to_bytes().len() <= INSPECTION_BYTES_MAX, "{}", shown.to_bytes().len());
        assert_eq!(Inspection::from_bytes(&shown.to_bytes()).as_ref(), Ok(&shown));
        let bytes = |shown: &FieldShown| match &shown.piece {
            Piece::Sibling(SiblingShown { head, bytes, .. }) => {
                (head.bytes().map(|(_, value)| value.len()), *bytes)
            }
            other => panic!("{other:?}"),
        };
        let fields = &content(&shown).fields;
        assert_eq!(bytes(&fields[0]), (Some(VALUE_SHOWN_BYTES_MAX), 70_000));
        assert_eq!(bytes(&fields[9]), (Some(0), 70_000));
        assert!(content(&shown).more && content(&shown).is_whole && fields.len() < SHOWN_MAX);
    }

    #[test]
    fn of_a_map_that_is_too_large_nobody_says_that_it_agrees_unless_the_vectors_do() {
        let field = |n: u64| (path(&[&format!("{n:06}")]), head_row(dot(A, n + 1), Head::Flag(true)));
        let fields: Vec<_> = (0..=MEMBERS_READ_MAX as u64).map(field).collect();
        let all = map(&fields).applied(&[dot(A, 20_000)]).inspect();
        assert_eq!((content(&all).is_whole, content(&all).more), (false, true));
        assert_eq!(agree(&[&all, &all]), Some(true), "they have applied the same");
        let later = map(&fields).applied(&[dot(A, 20_001)]).inspect();
        assert_eq!(agree(&[&all, &later]), None);
        let short = map(&fields[..MEMBERS_READ_MAX]).applied(&[dot(A, 20_001)]).inspect();
        assert_eq!(agree(&[&all, &short]), Some(false));
    }

    #[test]
    fn what_is_shown_is_bounded_and_what_is_compared_is_not() {
        let many: Vec<(Member, Cell<()>)> =
            (0..200).map(|n| member(&format!("{n:04096}"), &[dot(A, n + 1)])).collect();
        let heads = |last: u8| {
            let values =
                (1..=120).map(|seq| (dot(A, seq), register(seq, &[&[7; 70_000][..], &[last]].concat())));
            Disk::with(values.collect(), &[], &many).inspect()
        };
        let shown = heads(0);
        assert!(shown.to_bytes().len() <= INSPECTION_BYTES_MAX, "{}", shown.to_bytes().len());
        let one = content(&shown);
        assert_eq!((one.head.len(), one.head[0].bytes, one.member_count), (SHOWN_MAX, 70_001, 200));
        assert!(one.more && one.is_whole && one.members.len() < SHOWN_MAX);
        assert_eq!(Inspection::from_bytes(&shown.to_bytes()).as_ref(), Ok(&shown));
        let other = heads(1);
        assert_eq!(content(&other).head, one.head, "they differ beyond what is shown");
        assert_eq!(agree(&[&shown, &other]), Some(false));
        let few = content(&set(&many[..60]).inspect()).clone();
        assert_eq!((few.members.len(), few.more), (60, false));
    }

    #[test]
    fn of_a_set_that_is_too_large_nobody_says_that_it_agrees_unless_the_vectors_do() {
        let members: Vec<_> =
            (0..=MEMBERS_READ_MAX as u64).map(|n| member(&format!("{n:06}"), &[dot(A, n + 1)])).collect();
        let all = set(&members).applied(&[dot(A, 20_000)]).inspect();
        let seen = content(&all);
        assert_eq!((seen.member_count, seen.is_whole, seen.more), (MEMBERS_READ_MAX as u64, false, true));
        assert_eq!(agree(&[&all, &all]), Some(true), "they have applied the same");
        let later = set(&members).applied(&[dot(A, 20_001)]).inspect();
        assert_eq!(agree(&[&all, &later]), None);
        let short = set(&members[..MEMBERS_READ_MAX]).applied(&[dot(A, 20_001)]).inspect();
        assert_eq!(agree(&[&all, &short]), Some(false));
    }

    #[test]
    fn replicas_agree_by_content_and_not_by_what_they_applied_beside_it() {
        let spent = Slot { base: Mark { seq: 1, total: 5 }, last: Mark { seq: 1, total: 5 } };
        let counter = |slots: &[(SlotId, Slot)]| {
            Disk::with([(dot(A, 1), Head::Counter)].into_iter().collect(), slots, &[])
        };
        let plain = counter(&[]).applied(&[dot(A, 1)]).inspect();
        let with_spent = counter(&[(SlotId { origin: B, birth: 1 }, spent)]).applied(&[dot(B, 3)]).inspect();
        assert_eq!(agree(&[&plain, &with_spent]), Some(false), "a spent slot is content, too");
        let quarantined = Inspection { finding: Finding::Quarantined, ..plain.clone() };
        assert_eq!(agree(&[&plain, &quarantined]), Some(false));
        let sweeping = Inspection { finding: Finding::Sweeping, ..plain.clone() };
        assert_eq!(agree(&[&plain, &sweeping]), Some(true), "they have applied the same");
        let later = Inspection { vector: [dot(A, 2)].into_iter().collect(), ..sweeping };
        assert_eq!(agree(&[&plain, &later]), None);
        assert_eq!(agree(&[]), Some(true));
    }

    #[test]
    fn a_dot_that_is_only_elsewhere_was_not_applied_or_was_taken_away() {
        let jazz = member("jazz", &[dot(A, 1)]);
        let at_one =
            set(&[jazz.clone(), member("opera", &[dot(B, 4)])]).applied(&[dot(A, 1), dot(B, 4)]).inspect();
        let at_two = set(&[]).applied(&[dot(A, 2), dot(B, 3)]).inspect();
        let dots = |dots: BTreeSet<Dot>| dots.into_iter().collect::<Vec<_>>();
        assert_eq!(dots(at_two.lacking(&[&at_one])), [dot(B, 4)]);
        assert_eq!(dots(at_two.killed(&[&at_one])), [dot(A, 1)], "gone from the set, and alive in the head");
        assert_eq!(dots(at_one.killed(&[&at_two])), []);
        assert_eq!(dots(at_one.lacking(&[&at_two])), []);
        let slot = Slot { base: Mark::default(), last: Mark { seq: 7, total: 1 } };
        let counted =
            Disk::with(Cell::default(), &[(SlotId { origin: B, birth: 1 }, slot)], &[]).applied(&[dot(B, 7)]);
        assert_eq!(dots(at_two.lacking(&[&counted.inspect()])), [dot(B, 7)], "an increment");
        // The same dots in fields.
        let tags = |member: &(Member, Cell<()>)| {
            (path(&["tags"]), FieldRow::Member(member.0.clone(), member.1.clone()))
        };
        let head = (path(&["tags"]), head_row(dot(A, 1), Head::Set));
        let visits = (path(&["visits"]), FieldRow::Slot(SlotId { origin: B, birth: 4 }, slot));
        let whole = map(&[head, tags(&jazz), tags(&member("opera", &[dot(B, 4)])), visits]);
        let whole = whole.applied(&[dot(A, 1), dot(B, 7)]).inspect();
        let emptied = map(&[(path(&["tags"]), head_row(dot(A, 1), Head::Set))]);
        let emptied = emptied.applied(&[dot(A, 2), dot(B, 3)]).inspect();
        assert_eq!(dots(emptied.lacking(&[&whole])), [dot(B, 4), dot(B, 7)]);
        assert_eq!(dots(emptied.killed(&[&whole])), [dot(A, 1)], "gone from the set in the field");
        assert_eq!(dots(whole.killed(&[&emptied])), []);
    }

    /// Rows behind a large removal that is not swept yet.
    struct Unswept<'a>(&'a MemStorage);

    impl Read for Unswept<'_> {
        fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
            self.0.get(space, key)
        }

        fn scan(&self, _: Space, _: &[u8], _: &[u8], _: Visit<'_>) -> Result<(), StorageError> {
            Err(StorageError::Unswept)
        }

        fn scan_back(&self, _: Space, _: &[u8], _: Option<&[u8]>, _: Visit<'_>) -> Result<(), StorageError> {
            Err(StorageError::Unswept)
        }
    }

    #[test]
    fn rows_that_are_to_be_swept_are_no_damage() {
        let disk = set(&[member("jazz", &[dot(A, 1)])]).applied(&[dot(A, 1)]);
        let (bucket, key) = (Bucket::new("b").unwrap(), Key::new(b"k").unwrap());
        let place = Place::key(ShardId(0), &bucket, &key);
        let rows = Unswept(&disk.rows);
        let found = inspect(View { disk: &rows, origins: &disk.origins, vector: &disk.vector, place }, true);
        assert_eq!(found, Inspection { vector: disk.vector.clone(), finding: Finding::Sweeping });
    }

    #[test]
    fn a_damaged_row_is_said_to_be_and_nothing_beside_it_is_shown() {
        for space in [Space::Head, Space::Cell] {
            let mut disk = set(&[member("jazz", &[dot(A, 1)])]).applied(&[dot(A, 1)]);
            let row = disk.rows.rows(space).next().expect("there is one").0.to_vec();
            disk.rows.damage(space, &row, |value| value[0] ^= 1);
            let found = disk.inspect();
            let Finding::Damaged(why) = &found.finding else { panic!("{found:?}") };
            assert!(why.contains("damaged"), "{why}");
            assert_eq!(found.vector, disk.vector);
            assert_eq!(Inspection::from_bytes(&found.to_bytes()).as_ref(), Ok(&found));
        }
    }
}
