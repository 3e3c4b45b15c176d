//! What is in an engine's replica, read back from its rows in the model's terms.
//!
//! Reads the documented layout of rows on its own (`server/core/src/rows`), so that a row in a wrong place is seen.

use crate::model::Model;
use anyhow::{Context as _, Result, bail, ensure};
use meridian_core::cell::{Cell, Head, Slot};
use meridian_core::codec::Encode;
use meridian_core::id::{Dot, OriginId, Seq, ShardId};
use meridian_core::name::{Key, Member};
use meridian_core::node::Node;
use meridian_core::path::{Field, Path};
use meridian_core::storage::{Read, Space, StorageError};
use std::collections::{BTreeMap, BTreeSet};

/// Everything visible in one replica, by key and path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The heads' siblings.
    pub heads: BTreeMap<(Key, Path), BTreeMap<Dot, Head>>,
    /// The members' dots.
    pub members: BTreeMap<(Key, Path, Member), BTreeSet<Dot>>,
    /// The counters' slots that are not spent, by origin and birth: last increment and value.
    pub slots: BTreeMap<(Key, Path, OriginId, Seq), (Seq, i128)>,
}

impl Content {
    /// What the model says is visible.
    pub fn of_model(model: &Model) -> Content {
        let mut content = Content::default();
        for (key, entry) in &model.keys {
            for (path, spot) in &entry.spots {
                if !spot.head.is_empty() {
                    content.heads.insert((key.clone(), path.clone()), spot.head.clone());
                }
                for (member, dots) in &spot.members {
                    content.members.insert((key.clone(), path.clone(), member.clone()), dots.clone());
                }
                for (origin, (birth, last)) in &spot.reach {
                    let alive = spot.increments.range(Dot::new(*origin, 0)..=Dot::new(*origin, Seq::MAX));
                    if spot.increments.contains_key(&Dot::new(*origin, *last)) {
                        let value = alive.map(|(_, amount)| amount).sum();
                        content.slots.insert((key.clone(), path.clone(), *origin, *birth), (*last, value));
                    }
                }
            }
        }
        content
    }

    /// What an engine's replica holds, and the canonical bytes of it.
    ///
    /// # Errors
    /// The disk's, and a row that is not where the layout says.
    pub fn of_node(node: &Node, disk: &dyn Read) -> Result<(Content, Vec<u8>), ContentError> {
        let replica = node.replica(ShardId(0)).expect("the only shard");
        let (mut rows, mut bytes) = (Vec::new(), Vec::new());
        let scanned = replica.scan_content(disk, node.origins(), &mut |space, row, content| {
            bytes.push(space as u8);
            bytes.extend_from_slice(row);
            bytes.extend_from_slice(&content);
            rows.push((space, row.to_vec(), content));
        });
        scanned.map_err(ContentError::Damaged)?;
        let mut content = Content::default();
        for (space, row, value) in rows {
            content.add(space, &row, &value).map_err(ContentError::Misplaced)?;
        }
        Ok((content, bytes))
    }

    fn add(&mut self, space: Space, row: &[u8], value: &[u8]) -> Result<()> {
        let rest = row.strip_prefix(&[0, 0]).context("the only shard")?;
        let rest = rest.strip_prefix(b"b\0").context("the only bucket")?;
        if space == Space::Head {
            let cell = Cell::<Head>::from_bytes(value)?;
            let siblings = cell.siblings().iter().cloned().collect();
            self.heads.insert((Key::new(rest)?, Path::default()), siblings);
            return Ok(());
        }
        let (key, rest) = unescape(rest)?;
        let key = Key::new(&key)?;
        let (kind, rest) = rest.split_first().context("a kind")?;
        let (path, rest) = if *kind > 2 { path(rest)? } else { (Path::default(), rest) };
        match kind {
            3 => {
                let cell = Cell::<Head>::from_bytes(value)?;
                self.heads.insert((key, path), cell.siblings().iter().cloned().collect());
                ensure!(rest.is_empty(), "nothing follows the path of a head");
            }
            1 | 4 => {
                let (origin, birth) = rest.split_first_chunk::<8>().context("an origin")?;
                let birth = Seq::from_be_bytes(birth.try_into()?);
                let slot = Slot::from_bytes(value)?;
                let id = (key, path, OriginId(u64::from_be_bytes(*origin)), birth);
                if !slot.is_spent() {
                    self.slots.insert(id, (slot.last.seq, slot.value()));
                }
            }
            2 | 5 => {
                let cell = Cell::<()>::from_bytes(value)?;
                let member = Member::new(std::str::from_utf8(rest)?)?;
                self.members.insert((key, path, member), cell.dots().collect());
            }
            kind => bail!("unknown kind of row {kind}"),
        }
        Ok(())
    }
}

/// Why a replica's content could not be read.
#[derive(Debug)]
pub enum ContentError {
    /// A row is damaged.
    Damaged(StorageError),
    /// A row does not follow the layout.
    Misplaced(anyhow::Error),
}

/// Takes a path off the front: escaped names, each with a `02` behind its end where another follows, and a `01` where none does.
fn path(mut row: &[u8]) -> Result<(Path, &[u8])> {
    let mut fields = Vec::new();
    loop {
        let (name, rest) = unescape(row)?;
        fields.push(Field::new(std::str::from_utf8(&name)?)?);
        let (mark, rest) = rest.split_first().context("a mark behind a field")?;
        match mark {
            1 => return Ok((Path::new(fields)?, rest)),
            2 => row = rest,
            mark => bail!("unknown mark behind a field {mark}"),
        }
    }
}

/// Takes an escaped name off the front: `00 FF` is a zero, `00` and anything else is its end.
fn unescape(mut row: &[u8]) -> Result<(Vec<u8>, &[u8])> {
    let mut name = Vec::new();
    loop {
        match row {
            [0, 0xff, rest @ ..] => {
                name.push(0);
                row = rest;
            }
            [0, rest @ ..] => return Ok((name, rest)),
            [byte, rest @ ..] => {
                name.push(*byte);
                row = rest;
            }
            [] => bail!("a name without an end"),
        }
    }
}
