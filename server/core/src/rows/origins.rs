//! The numbers of origins: eight bytes of an origin are one or two in a row.

use super::keys::{self, origin_row};
use super::sealed::{corrupt, open_row, put_row};
use crate::codec::{self, DecodeError, Reader};
use crate::id::{Dot, OriginId};
use crate::storage::{Batch, Read, Space, StorageError};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// Node-local numbers for origins, in order of first sight. Only ever grows: 17 bytes of disk for each.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    by_number: Vec<OriginId>,
    numbers: BTreeMap<OriginId, u32>,
}

impl Origins {
    /// Reads the table.
    ///
    /// # Errors
    /// [`StorageError`] when a row is damaged or missing.
    pub fn load(disk: &dyn Read) -> Result<Origins, StorageError> {
        let mut origins = Origins::default();
        disk.scan(Space::Meta, &[keys::META_ORIGIN], &[], &mut |key, value| {
            let origin = OriginId(open_row(Space::Meta, key, value, |input| input.u64())?);
            if *key != origin_row(origins.by_number.len() as u32) {
                return Err(corrupt(Space::Meta, key, "the number of an origin is missing"));
            }
            origins.add(origin);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(origins)
    }

    /// The number of an origin; a new one's is written with the batch.
    pub(crate) fn number(&mut self, batch: &mut Batch, origin: OriginId) -> u32 {
        if let Some(number) = self.numbers.get(&origin) {
            return *number;
        }
        let number = self.add(origin);
        put_row(batch, Space::Meta, origin_row(number), origin.0.to_be_bytes().to_vec());
        number
    }

    /// Forgets the numbers from `len` on: the batch that would have written them was taken back.
    pub(crate) fn truncate(&mut self, len: usize) {
        for origin in self.by_number.drain(len..) {
            self.numbers.remove(&origin);
        }
    }

    /// Whether an origin has a number: a delta of it was applied here, in whatever shard.
    pub fn contains(&self, origin: OriginId) -> bool {
        self.numbers.contains_key(&origin)
    }

    /// How many origins have a number.
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    fn add(&mut self, origin: OriginId) -> u32 {
        let number = self.by_number.len() as u32;
        self.by_number.push(origin);
        self.numbers.insert(origin, number);
        number
    }

    pub(super) fn put_dot(&self, out: &mut Vec<u8>, dot: Dot) {
        let number =
            self.numbers.get(&dot.origin).expect("a dot is applied only after its origin has a number");
        codec::put_varint(out, u64::from(*number));
        codec::put_varint(out, dot.seq);
    }

    pub(super) fn dot(&self, input: &mut Reader<'_>) -> Result<Dot, DecodeError> {
        let number = usize::try_from(input.varint()?).map_err(|_| DecodeError::Number)?;
        let origin = self.by_number.get(number).ok_or(DecodeError::Invalid("number of an origin"))?;
        Ok(Dot::new(*origin, input.varint()?))
    }
}

/// Visits the origins that the table names, whatever else is wrong with it: its rows are not checked.
pub(crate) fn scan_origins_unchecked(
    disk: &dyn Read,
    visit: &mut dyn FnMut(OriginId),
) -> Result<(), StorageError> {
    disk.scan(Space::Meta, &[keys::META_ORIGIN], &[], &mut |_, value| {
        if let Ok(origin) = Reader::new(value).u64() {
            visit(OriginId(origin));
        }
        Ok(ControlFlow::Continue(()))
    })
}
