//! What the two sides of a repair say to each other.

use crate::codec::{self, DecodeError, Encode, Reader};
use crate::merkle::{FANOUT, LEVELS, Place};
use crate::storage::Space;
use crate::version_vector::VersionVector;
use alloc::vec::Vec;
use core::mem::{size_of, size_of_val};

/// What a receiver asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// For a repair, given what it has applied.
    Open {
        /// What it has applied.
        have: VersionVector,
    },
    /// For the sums of these nodes' children.
    Walk {
        /// 1 below the root, 2 above the leaves.
        level: u8,
        /// Ascending.
        nodes: Vec<Place>,
    },
    /// For the rows of these leaves that it does not have like this.
    Rows(Leaves),
    /// For the rows that the last answer had no room for.
    More {
        /// Where to go on.
        from: Position,
    },
    /// For nothing more.
    Close,
}

/// Leaves of a tree, and what the receiver has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// All of them; the receiver has nothing.
    All,
    /// These, ascending; the short hashes of the receiver's rows in each.
    These(Vec<(Place, Vec<u64>)>),
}

/// A row of a replica.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// In which space.
    pub space: Space,
    /// Which row.
    pub row: Vec<u8>,
}

/// What a source answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A snapshot is taken.
    Opened {
        /// What the source had applied then.
        vector: VersionVector,
        /// The sums of the root's children.
        sums: [u64; FANOUT],
    },
    /// The sums of the children of the nodes that were asked for, in order.
    Sums(Vec<[u64; FANOUT]>),
    /// Rows of the source.
    Rows {
        /// Ascending by space and row.
        rows: Vec<RowSent>,
        /// Where to go on; `None` when these were the last.
        next: Option<Position>,
        /// With the last: which of the receiver's rows the source does not have like this, by their places in the request,
        /// ascending.
        differ: Vec<u32>,
    },
    /// No repair.
    Unwilling(Unwilling),
}

/// Why a source does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwilling {
    /// It helps as many others as it can: ask again later.
    Busy,
    /// Its own replica is out of service, or its rows are not counted yet.
    NotReady,
    /// It does not know of this repair any more: begin a new one.
    Gone,
}

/// A row as a source holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSent {
    /// Which.
    pub at: Position,
    /// What it holds, in canonical form.
    pub canonical: Vec<u8>,
}

impl Ask {
    /// About how many bytes of memory it points to.
    pub fn footprint(&self) -> usize {
        match self {
            Ask::Open { have } => have.len() * size_of::<(u64, u64)>(),
            Ask::Walk { nodes, .. } => size_of_val(nodes.as_slice()),
            Ask::Rows(Leaves::These(leaves)) => {
                let known = leaves.iter().map(|(_, known)| size_of_val(known.as_slice()));
                size_of_val(leaves.as_slice()) + known.sum::<usize>()
            }
            Ask::More { from } => from.row.len(),
            Ask::Rows(Leaves::All) | Ask::Close => 0,
        }
    }
}

impl Answer {
    /// About how many bytes of memory it points to.
    pub fn footprint(&self) -> usize {
        match self {
            Answer::Opened { vector, .. } => vector.len() * size_of::<(u64, u64)>(),
            Answer::Sums(sums) => size_of_val(sums.as_slice()),
            Answer::Rows { rows, differ, .. } => {
                let bytes = rows.iter().map(|row| row.at.row.len() + row.canonical.len());
                size_of_val(rows.as_slice()) + bytes.sum::<usize>() + size_of_val(differ.as_slice())
            }
            Answer::Unwilling(_) => 0,
        }
    }
}

/// Most hashes of own rows in one request. One with more is no request.
const KNOWN_LIMIT: usize = 256 << 10;

/// Fewest bytes of what lists have.
const LEAF_BYTES_MIN: usize = 3;
const ROW_BYTES_MIN: usize = 4;

impl Encode for Position {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.space as u8);
        codec::put_bytes(out, &self.row);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let space = match input.u8()? {
            1 => Space::Head,
            2 => Space::Cell,
            tag => return Err(DecodeError::Tag { what: "space of a row", tag }),
        };
        Ok(Position { space, row: input.bytes()?.to_vec() })
    }
}

impl Encode for RowSent {
    fn encode(&self, out: &mut Vec<u8>) {
        self.at.encode(out);
        codec::put_bytes(out, &self.canonical);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(RowSent { at: Position::decode(input)?, canonical: input.bytes()?.to_vec() })
    }
}

/// A level and places within it.
fn encode_nodes(level: u8, nodes: &[Place], out: &mut Vec<u8>) {
    out.push(level);
    codec::put_varint(out, nodes.len() as u64);
    for node in nodes {
        out.extend_from_slice(&node.to_be_bytes());
    }
}

fn place(input: &mut Reader<'_>, level: u8) -> Result<Place, DecodeError> {
    match Place::from_be_bytes(input.array()?) {
        place if usize::from(place) < FANOUT.pow(level.into()) => Ok(place),
        _ => Err(DecodeError::Invalid("tree: no such node")),
    }
}

fn decode_nodes(input: &mut Reader<'_>) -> Result<Ask, DecodeError> {
    let level = input.u8()?;
    if !(1..LEVELS).contains(&level) {
        return Err(DecodeError::Tag { what: "level of a tree", tag: level });
    }
    let mut nodes = Vec::new();
    for _ in 0..input.count(2)? {
        nodes.push(place(input, level)?);
    }
    codec::ascending(&nodes, |node| *node, "tree: nodes ascend")?;
    Ok(Ask::Walk { level, nodes })
}

fn encode_leaves(leaves: &[(Place, Vec<u64>)], out: &mut Vec<u8>) {
    codec::put_varint(out, leaves.len() as u64);
    for (leaf, known) in leaves {
        out.extend_from_slice(&leaf.to_be_bytes());
        codec::put_varint(out, known.len() as u64);
        for hash in known {
            out.extend_from_slice(&hash.to_be_bytes());
        }
    }
}

fn decode_leaves(input: &mut Reader<'_>) -> Result<Leaves, DecodeError> {
    let (mut leaves, mut named) = (Vec::new(), 0);
    for _ in 0..input.count(LEAF_BYTES_MIN)? {
        let leaf = place(input, LEVELS)?;
        let mut known = Vec::new();
        for _ in 0..input.count(8)? {
            known.push(input.u64()?);
        }
        named += known.len();
        if named > KNOWN_LIMIT {
            return Err(DecodeError::Invalid("repair: more rows than a request may name"));
        }
        leaves.push((leaf, known));
    }
    codec::ascending(&leaves, |(leaf, _)| *leaf, "tree: leaves ascend")?;
    Ok(Leaves::These(leaves))
}

fn encode_sums(sums: &[u64; FANOUT], out: &mut Vec<u8>) {
    for sum in sums {
        out.extend_from_slice(&sum.to_be_bytes());
    }
}

fn decode_sums(input: &mut Reader<'_>) -> Result<[u64; FANOUT], DecodeError> {
    let mut sums = [0; FANOUT];
    for sum in &mut sums {
        *sum = input.u64()?;
    }
    Ok(sums)
}

impl Encode for Ask {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Ask::Open { have } => {
                out.push(1);
                have.encode(out);
            }
            Ask::Walk { level, nodes } => {
                out.push(2);
                encode_nodes(*level, nodes, out);
            }
            Ask::Rows(Leaves::All) => out.push(3),
            Ask::Rows(Leaves::These(leaves)) => {
                out.push(4);
                encode_leaves(leaves, out);
            }
            Ask::More { from } => {
                out.push(5);
                from.encode(out);
            }
            Ask::Close => out.push(6),
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            1 => Ok(Ask::Open { have: VersionVector::decode(input)? }),
            2 => decode_nodes(input),
            3 => Ok(Ask::Rows(Leaves::All)),
            4 => Ok(Ask::Rows(decode_leaves(input)?)),
            5 => Ok(Ask::More { from: Position::decode(input)? }),
            6 => Ok(Ask::Close),
            tag => Err(DecodeError::Tag { what: "request of a repair", tag }),
        }
    }
}

impl Encode for Answer {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Answer::Opened { vector, sums } => {
                out.push(1);
                vector.encode(out);
                encode_sums(sums, out);
            }
            Answer::Sums(sums) => {
                out.push(2);
                codec::put_varint(out, sums.len() as u64);
                sums.iter().for_each(|sums| encode_sums(sums, out));
            }
            Answer::Rows { rows, next: Some(next), .. } => {
                out.push(3);
                codec::put_list(out, rows);
                next.encode(out);
            }
            Answer::Rows { rows, next: None, differ } => {
                out.push(4);
                codec::put_list(out, rows);
                codec::put_varint(out, differ.len() as u64);
                differ.iter().for_each(|place| codec::put_varint(out, u64::from(*place)));
            }
            Answer::Unwilling(Unwilling::Busy) => out.push(5),
            Answer::Unwilling(Unwilling::NotReady) => out.push(6),
            Answer::Unwilling(Unwilling::Gone) => out.push(7),
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match input.u8()? {
            1 => Answer::Opened { vector: VersionVector::decode(input)?, sums: decode_sums(input)? },
            2 => {
                let mut sums = Vec::new();
                for _ in 0..input.count(8 * FANOUT)? {
                    sums.push(decode_sums(input)?);
                }
                Answer::Sums(sums)
            }
            3 => {
                let (rows, next) = (input.list(ROW_BYTES_MIN)?, Position::decode(input)?);
                Answer::Rows { rows, next: Some(next), differ: Vec::new() }
            }
            4 => {
                let (rows, mut differ) = (input.list(ROW_BYTES_MIN)?, Vec::new());
                for _ in 0..input.count(1)? {
                    differ.push(u32::try_from(input.varint()?).map_err(|_| DecodeError::Number)?);
                }
                codec::ascending(&differ, |place| *place, "repair: places ascend")?;
                Answer::Rows { rows, next: None, differ }
            }
            5 => Answer::Unwilling(Unwilling::Busy),
            6 => Answer::Unwilling(Unwilling::NotReady),
            7 => Answer::Unwilling(Unwilling::Gone),
            tag => return Err(DecodeError::Tag { what: "answer of a repair", tag }),
        })
    }
}
