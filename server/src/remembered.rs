//! A disk that remembers what was read from it during a turn.
//!
//! A write reads a row to decide and again to apply, and requests of one turn often meet in one row. While a turn is
//! decided nothing is written below it (its changes are in its batch, which lies above), so what was read once stays so.

use crate::rocks::Rocks;
use meridian_core::storage::{Disk, Read, Space, Still, StorageError, Visit};
use std::cell::RefCell;
use std::collections::HashMap;

/// Most rows that are remembered. Further ones are read again.
const ROWS_MAX: usize = 4096;
/// Longest value that is remembered. A longer one is read again.
const VALUE_BYTES_MAX: usize = 4096;

type Row = (Space, Vec<u8>);

/// A database for one turn.
pub struct Remembered<'a> {
    disk: &'a Rocks,
    rows: RefCell<HashMap<Row, Option<Vec<u8>>>>,
}

impl<'a> Remembered<'a> {
    /// Remembers nothing so far.
    pub fn new(disk: &'a Rocks) -> Self {
        Remembered { disk, rows: RefCell::default() }
    }
}

impl Disk for Remembered<'_> {
    fn still(&self) -> Still {
        self.disk.still()
    }
}

impl Read for Remembered<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let row = (space, key.to_vec());
        if let Some(known) = self.rows.borrow().get(&row) {
            return Ok(known.clone());
        }
        let value = self.disk.get(space, key)?;
        let mut rows = self.rows.borrow_mut();
        if rows.len() < ROWS_MAX && value.as_ref().is_none_or(|value| value.len() <= VALUE_BYTES_MAX) {
            rows.insert(row, value.clone());
        }
        Ok(value)
    }

    fn scan(&self, space: Space, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        self.disk.scan(space, prefix, from, visit)
    }

    fn scan_back(
        &self,
        space: Space,
        prefix: &[u8],
        before: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        self.disk.scan_back(space, prefix, before, visit)
    }
}
