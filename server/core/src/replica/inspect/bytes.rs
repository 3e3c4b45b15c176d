//! An inspection as bytes: how it travels to the node that was asked. What is read is no larger than any is.

use super::{
    Content, DAMAGE_BYTES_MAX, FieldShown, Finding, Inspection, MemberShown, Piece, SHOWN_MAX, SiblingShown,
    SlotShown,
};
use crate::cell::{Cell, Head, Slot, SlotId};
use crate::codec::{self, DOT_BYTES_MIN, DecodeError, Encode, Reader};
use crate::id::{Dot, OriginId};
use crate::name::Member;
use crate::path::Path;
use crate::version_vector::VersionVector;
use alloc::boxed::Box;
use alloc::vec::Vec;

const IN_SERVICE: u8 = 0;
const QUARANTINED: u8 = 1;
const DAMAGED: u8 = 2;
const SWEEPING: u8 = 3;
const MORE: u8 = 1;
const WHOLE: u8 = 2;
/// Fewest bytes that a slot, a member, and a piece of a field takes.
const SLOT_BYTES_MIN: usize = 13;
const MEMBER_BYTES_MIN: usize = 3;
const FIELD_BYTES_MIN: usize = 7;
/// What a piece of a field is.
const SIBLING: u8 = 0;
const SLOT: u8 = 1;
const MEMBER: u8 = 2;

impl Encode for Inspection {
    fn encode(&self, out: &mut Vec<u8>) {
        self.vector.encode(out);
        match &self.finding {
            Finding::Content(content) => {
                out.push(IN_SERVICE);
                content.encode(out);
            }
            Finding::Quarantined => out.push(QUARANTINED),
            Finding::Damaged(why) => {
                out.push(DAMAGED);
                codec::put_bytes(out, why.as_bytes());
            }
            Finding::Sweeping => out.push(SWEEPING),
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let vector = VersionVector::decode(input)?;
        let finding = match input.u8()? {
            IN_SERVICE => Finding::Content(Box::new(Content::decode(input)?)),
            QUARANTINED => Finding::Quarantined,
            DAMAGED => match input.text()? {
                why if why.len() <= DAMAGE_BYTES_MAX => Finding::Damaged(why.into()),
                _ => return Err(DecodeError::Invalid("inspection: too many words")),
            },
            SWEEPING => Finding::Sweeping,
            tag => return Err(DecodeError::Tag { what: "finding", tag }),
        };
        Ok(Inspection { vector, finding })
    }
}

impl Encode for Content {
    fn encode(&self, out: &mut Vec<u8>) {
        codec::put_list(out, &self.head);
        codec::put_list(out, &self.slots);
        codec::put_signed(out, self.sum);
        codec::put_list(out, &self.members);
        codec::put_varint(out, self.member_count);
        codec::put_list(out, &self.fields);
        out.push(MORE * u8::from(self.more) + WHOLE * u8::from(self.is_whole));
        out.extend_from_slice(&self.digest.to_be_bytes());
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let head = shown(input, DOT_BYTES_MIN, |sibling: &SiblingShown| sibling.dot)?;
        let slots = shown(input, SLOT_BYTES_MIN, |slot: &SlotShown| slot.id)?;
        let sum = input.signed()?;
        let members = shown(input, MEMBER_BYTES_MIN, |member: &MemberShown| member.member.clone())?;
        let member_count = input.varint()?;
        let fields: Vec<FieldShown> = list(input, FIELD_BYTES_MIN)?;
        if !fields.is_sorted_by(|a, b| a.name() < b.name()) {
            return Err(DecodeError::Invalid("inspection: lists ascend"));
        }
        let flags = input.u8()?;
        if flags > MORE + WHOLE {
            return Err(DecodeError::Tag { what: "flags of a content", tag: flags });
        }
        let digest = u128::from_be_bytes(input.array()?);
        let (more, is_whole) = (flags & MORE != 0, flags & WHOLE != 0);
        Ok(Content { head, slots, sum, members, member_count, fields, more, is_whole, digest })
    }
}

/// Reads a list of what is shown, in its order, and no longer than any is.
fn shown<T: Encode, K: Ord>(
    input: &mut Reader<'_>,
    item_bytes_min: usize,
    key: impl Fn(&T) -> K,
) -> Result<Vec<T>, DecodeError> {
    let items = list(input, item_bytes_min)?;
    codec::ascending(&items, key, "inspection: lists ascend")?;
    Ok(items)
}

fn list<T: Encode>(input: &mut Reader<'_>, item_bytes_min: usize) -> Result<Vec<T>, DecodeError> {
    let count = input.count(item_bytes_min)?;
    if count > SHOWN_MAX {
        return Err(DecodeError::Invalid("inspection: more than is shown"));
    }
    let mut items = codec::list_for(count);
    for _ in 0..count {
        items.push(T::decode(input)?);
    }
    Ok(items)
}

impl Encode for SiblingShown {
    fn encode(&self, out: &mut Vec<u8>) {
        self.dot.encode(out);
        self.head.encode(out);
        if self.head.bytes().is_some() {
            codec::put_varint(out, self.bytes);
        }
        if let Head::Register(_) = self.head {
            out.push(u8::from(self.wins));
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (dot, head) = (Dot::decode(input)?, Head::decode(input)?);
        let bytes = match head.bytes() {
            None => 0,
            Some((_, value)) => match input.varint()? {
                bytes if bytes >= value.len() as u64 => bytes,
                _ => return Err(DecodeError::Invalid("inspection: a sibling")),
            },
        };
        let wins = match &head {
            Head::Register(_) => match input.u8()? {
                flag @ 0..=1 => flag == 1,
                _ => return Err(DecodeError::Invalid("inspection: a sibling")),
            },
            _ => false,
        };
        Ok(SiblingShown { dot, head, bytes, wins })
    }
}

impl Encode for SlotShown {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.origin.0.to_be_bytes());
        codec::put_varint(out, self.id.birth);
        self.slot.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = SlotId { origin: OriginId(input.u64()?), birth: input.varint()? };
        Ok(SlotShown { id, slot: Slot::decode(input)? })
    }
}

impl Encode for MemberShown {
    fn encode(&self, out: &mut Vec<u8>) {
        codec::put_bytes(out, self.member.as_str().as_bytes());
        self.cell.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let member = Member::new(input.text()?).map_err(|_| DecodeError::Invalid("member"))?;
        Ok(MemberShown { member, cell: Cell::decode(input)? })
    }
}

impl Encode for FieldShown {
    fn encode(&self, out: &mut Vec<u8>) {
        self.path.encode(out);
        match &self.piece {
            Piece::Sibling(sibling) => {
                out.push(SIBLING);
                sibling.encode(out);
            }
            Piece::Slot(slot) => {
                out.push(SLOT);
                slot.encode(out);
            }
            Piece::Member(member) => {
                out.push(MEMBER);
                member.encode(out);
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let path = Path::decode(input)?;
        let piece = match input.u8()? {
            SIBLING => Piece::Sibling(SiblingShown::decode(input)?),
            SLOT => Piece::Slot(SlotShown::decode(input)?),
            MEMBER => Piece::Member(MemberShown::decode(input)?),
            tag => return Err(DecodeError::Tag { what: "piece of a field", tag }),
        };
        match path.is_root() {
            true => Err(DecodeError::Invalid("inspection: a field has a path")),
            false => Ok(FieldShown { path, piece }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{A, dot, member, path, register};
    use super::super::{VALUES_SHOWN_BYTES_MAX, siblings};
    use super::*;
    use crate::cell::{Blob, Mark, Type};
    use crate::name::ContentType;
    use alloc::vec;
    use proptest::prelude::*;

    fn dots() -> impl Strategy<Value = Vec<Dot>> {
        proptest::collection::vec((0..4u64, 1..9u64), 0..4)
            .prop_map(|dots| dots.into_iter().map(|(origin, seq)| dot(OriginId(origin), seq)).collect())
    }

    fn sibling() -> impl Strategy<Value = (Dot, Head)> {
        let value = proptest::collection::vec(any::<u8>(), 0..20);
        (0..4u64, 1..9u64, 0..9u64, value, 1..=8u8).prop_map(|(origin, seq, ms, value, kind)| {
            let head = match Type::from_bytes(&[kind]).unwrap() {
                Type::Register => register(ms, &value),
                Type::Counter => Head::Counter,
                Type::Set => Head::Set,
                Type::Multi => {
                    Head::Multi(Blob { content_type: ContentType::new("text/html").unwrap(), value })
                }
                Type::Flag => Head::Flag(seq > 4),
                Type::Max => Head::Max(ms as i64),
                Type::Min => Head::Min(-(ms as i64)),
                Type::Map => Head::Map,
            };
            (dot(OriginId(origin), seq), head)
        })
    }

    fn inspections() -> impl Strategy<Value = Inspection> {
        let siblings = proptest::collection::vec(sibling(), 0..4);
        let slots = proptest::collection::btree_map((0..3u64, 1..5u64), (0..9u64, any::<i64>()), 0..3);
        let members = proptest::collection::btree_map("[a-z]{1,3}", dots(), 0..4);
        let fields = proptest::collection::btree_map("[a-z/]{1,3}", sibling(), 0..4);
        let content = (siblings, slots, members, fields, any::<bool>(), any::<u128>()).prop_map(
            |(head, slots, members, fields, flag, digest)| {
                let slot = |((origin, birth), (seq, total)): ((u64, u64), (u64, i64))| SlotShown {
                    id: SlotId { origin: OriginId(origin), birth },
                    slot: Slot { base: Mark::default(), last: Mark { seq, total: total.into() } },
                };
                let slots: Vec<SlotShown> = slots.into_iter().map(slot).collect();
                let members = members.into_iter().map(|(text, dots)| member(&text, &dots));
                let members: Vec<_> = members.map(|(member, cell)| MemberShown { member, cell }).collect();
                let mut pieces = Vec::new();
                for (name, sibling) in fields {
                    pieces.push((path(&[&name]), Piece::Sibling(siblings_of(vec![sibling]).remove(0))));
                }
                let deep = path(&["\u{10ffff}", "b"]);
                pieces.extend(slots.iter().map(|slot| (deep.clone(), Piece::Slot(*slot))));
                pieces.extend(members.iter().map(|member| (deep.clone(), Piece::Member(member.clone()))));
                Content {
                    head: siblings_of(head),
                    slots,
                    sum: digest as i128,
                    members,
                    member_count: digest as u64,
                    fields: pieces.into_iter().map(|(path, piece)| FieldShown { path, piece }).collect(),
                    more: flag,
                    is_whole: !flag,
                    digest,
                }
            },
        );
        let finding = prop_oneof![
            8 => content.prop_map(|content| Finding::Content(Box::new(content))),
            1 => Just(Finding::Quarantined),
            1 => Just(Finding::Sweeping),
            1 => "[a-zü ]{0,20}".prop_map(Finding::Damaged),
        ];
        (dots(), finding)
            .prop_map(|(dots, finding)| Inspection { vector: dots.into_iter().collect(), finding })
    }

    fn siblings_of(head: Vec<(Dot, Head)>) -> Vec<SiblingShown> {
        siblings(&head.into_iter().collect(), &mut { VALUES_SHOWN_BYTES_MAX })
    }

    /// What is read is written the same way, so it is no larger than its bytes say, whatever they are.
    fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
        if let Ok(inspection) = Inspection::from_bytes(bytes) {
            prop_assert_eq!(inspection.to_bytes(), bytes);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn inspections_come_back(inspection in inspections()) {
            prop_assert_eq!(Inspection::from_bytes(&inspection.to_bytes()), Ok(inspection));
        }

        #[test]
        fn damaged_inspections_never_panic(
            inspection in inspections(),
            damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..3),
            cut: usize,
        ) {
            let mut bytes = inspection.to_bytes();
            for (place, with) in damage {
                let place = place % bytes.len();
                bytes[place] = with;
            }
            bytes.truncate(cut % (bytes.len() * 4));
            check(&bytes)?;
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            check(&bytes)?;
            // In service, with an empty vector.
            check(&[&[0, 0, IN_SERVICE][..], &bytes].concat())?;
        }
    }

    #[test]
    fn a_list_that_is_longer_than_any_is_refused_before_it_is_read() {
        let slot = SlotShown { id: SlotId { origin: A, birth: 1 }, slot: Slot::default() };
        let mut bytes = vec![0, 0, IN_SERVICE, 0];
        codec::put_list(&mut bytes, &vec![slot; SHOWN_MAX + 1]);
        let refused = DecodeError::Invalid("inspection: more than is shown");
        assert_eq!(Inspection::from_bytes(&bytes), Err(refused));
    }
}
