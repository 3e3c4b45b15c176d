//! The disk, as core sees it: sorted rows in four spaces, read in the middle of a decision, written in batches.
//!
//! A node reads through a shared reference, so it cannot write: that is the shell's, which holds the exclusive one.
//! What a turn has changed and not yet written is laid over the disk by [`Overlay`].
//!
//! [`MemStorage`] is the disk of tests and of the simulator. A batch is visible at once and durable after a sync; a
//! crash keeps any prefix of the batches that were not synced.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Bound, ControlFlow};

/// A family of rows. The numbers are the disk's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// One row for each key: its head. Kept apart so that listing keys never walks members.
    Head = 1,
    /// The parts of keys: set members and counter slots.
    Cell = 2,
    /// The delta log.
    Log = 3,
    /// Where logs end and begin, the numbers of origins, the format, what is kept of Merkle trees.
    Meta = 4,
    /// What a repair has fetched and not installed yet, and deltas that are to be handed over.
    Stage = 5,
}

impl Space {
    /// All spaces.
    pub const ALL: [Space; 5] = [Space::Head, Space::Cell, Space::Log, Space::Meta, Space::Stage];

    /// The space with this number.
    pub fn numbered(number: u8) -> Option<Space> {
        Space::ALL.into_iter().find(|space| *space as u8 == number)
    }
}

/// The disk failed. Goes straight up: a replica is quarantined or the process stops; never read as absence.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// A row is there and is not what was written.
    #[error("a row of {space:?} is damaged ({why}): {}", key.escape_ascii())]
    Corrupt {
        /// Where.
        space: Space,
        /// Which row.
        key: Vec<u8>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The disk could not be read or written.
    #[error("the disk failed: {0}")]
    Io(String),
    /// Too many rows lie in the way that a large removal has taken away and that are not swept yet. Nothing is wrong with them.
    #[error("many removed rows are not swept yet")]
    Unswept,
}

impl fmt::Debug for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Called by [`Read::scan`] and [`Read::scan_back`] with each row's key and value; breaks off the scan or lets it go on.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StorageError>;

/// A consistent view of the rows: the disk itself, a snapshot of it, or either under a turn's changes.
pub trait Read {
    /// One row's value, `None` if there is no such row.
    ///
    /// # Errors
    /// [`StorageError::Io`]. A row that cannot be read is never `None`.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Visits the rows whose keys begin with `prefix` and are not below `from`, ascending.
    ///
    /// # Errors
    /// [`StorageError::Io`], and what `visit` returns.
    fn scan(&self, space: Space, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), StorageError>;

    /// Visits the rows whose keys begin with `prefix` and are below `before` (without it, all of them), descending.
    ///
    /// # Errors
    /// [`StorageError::Io`], and what `visit` returns.
    fn scan_back(
        &self,
        space: Space,
        prefix: &[u8],
        before: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StorageError>;
}

/// The first key behind all that begin with a prefix, if there is one: none is behind `ff`.
pub fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let place = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=place].to_vec();
    end[place] += 1;
    Some(end)
}

/// Where a descending scan begins: the first key behind all that it may visit, if there is one.
pub fn scan_end(prefix: &[u8], before: Option<&[u8]>) -> Option<Vec<u8>> {
    match (behind(prefix), before) {
        (Some(end), Some(before)) => Some(end.min(before.to_vec())),
        (end, before) => end.or(before.map(<[u8]>::to_vec)),
    }
}

/// Rows that stand still, whatever is written later.
pub type Still = Arc<dyn Read + Send + Sync>;

/// A disk as it is lent to a node for one step.
pub trait Disk: Read {
    /// The rows as they are now.
    fn still(&self) -> Still;
}

/// A disk.
pub trait Storage: Read {
    /// Makes a batch visible, whole or not at all. It is durable after the next [`Storage::sync`].
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn write(&mut self, batch: &Batch) -> Result<(), StorageError>;

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// [`StorageError::Io`]; whether anything became durable is then unknown, and the process must stop.
    fn sync(&mut self) -> Result<(), StorageError>;
}

// -- batches -------------------------------------------------------------------------------------------------------

type Row = (Space, Vec<u8>);

/// Changes that are written together. The last change of a row is the one that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    rows: BTreeMap<Row, Option<Vec<u8>>>,
    /// What each change since the last [`Batch::commit`] replaced, so that half a step can be taken back.
    undo: Vec<(Row, Option<Option<Vec<u8>>>)>,
}

impl Batch {
    /// Writes a row.
    pub fn put(&mut self, space: Space, key: Vec<u8>, value: Vec<u8>) {
        self.change(space, key, Some(value));
    }

    /// Removes a row, whether it is there or not.
    pub fn delete(&mut self, space: Space, key: Vec<u8>) {
        self.change(space, key, None);
    }

    fn change(&mut self, space: Space, key: Vec<u8>, value: Option<Vec<u8>>) {
        let row = (space, key);
        let before = self.rows.insert(row.clone(), value);
        self.undo.push((row, before));
    }

    /// Keeps all changes so far: [`Batch::roll_back`] stops here.
    pub fn commit(&mut self) {
        self.undo.clear();
    }

    /// Takes back all changes since the last [`Batch::commit`].
    pub fn roll_back(&mut self) {
        for (row, before) in core::mem::take(&mut self.undo).into_iter().rev() {
            match before {
                Some(before) => self.rows.insert(row, before),
                None => self.rows.remove(&row),
            };
        }
    }

    /// The changes in order of space and key: a value, or `None` for a removal.
    pub fn iter(&self) -> impl Iterator<Item = (Space, &[u8], Option<&[u8]>)> {
        self.rows.iter().map(|((space, key), value)| (*space, key.as_slice(), value.as_deref()))
    }

    /// How many rows it changes.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A disk with a batch laid over it that is not written yet.
#[derive(Clone, Copy)]
pub struct Overlay<'a> {
    /// What is below.
    pub disk: &'a dyn Read,
    /// What is above.
    pub batch: &'a Batch,
}

impl Read for Overlay<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        if self.batch.is_empty() {
            return self.disk.get(space, key);
        }
        match self.batch.rows.get(&(space, key.to_vec())) {
            Some(changed) => Ok(changed.clone()),
            None => self.disk.get(space, key),
        }
    }

    fn scan(&self, space: Space, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        let first = (space, prefix.max(from).to_vec());
        let above = self.batch.rows.range(first..);
        let above = above.take_while(|((s, key), _)| *s == space && key.starts_with(prefix)).map(changed);
        lay_over(above, |a, b| a < b, |visit| self.disk.scan(space, prefix, from, visit), visit)
    }

    fn scan_back(
        &self,
        space: Space,
        prefix: &[u8],
        before: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        let above = self.batch.rows.range(rows_before(space, prefix, before)).rev();
        let above = above.take_while(|((s, key), _)| *s == space && key.starts_with(prefix)).map(changed);
        lay_over(above, |a, b| a > b, |visit| self.disk.scan_back(space, prefix, before, visit), visit)
    }
}

/// A row's key, and what a batch makes of the row.
type Changed<'a> = (&'a [u8], Option<&'a [u8]>);

fn changed<'a>(((_, key), value): (&'a Row, &'a Option<Vec<u8>>)) -> Changed<'a> {
    (key, value.as_deref())
}

/// Visits what a scan finds, with a batch's changes laid over it. Both come in the same order.
fn lay_over<'a>(
    above: impl Iterator<Item = Changed<'a>>,
    precedes: fn(&[u8], &[u8]) -> bool,
    scan_below: impl FnOnce(Visit<'_>) -> Result<(), StorageError>,
    visit: Visit<'_>,
) -> Result<(), StorageError> {
    let mut above = above.peekable();
    let mut broken = false;
    scan_below(&mut |key, value| {
        while let Some((changed, new)) = above.next_if(|(changed, _)| precedes(changed, key)) {
            if let Some(new) = new
                && visit(changed, new)?.is_break()
            {
                broken = true;
                return Ok(ControlFlow::Break(()));
            }
        }
        let row = match above.next_if(|(changed, _)| *changed == key) {
            Some((_, changed)) => changed,
            None => Some(value),
        };
        let flow = row.map_or(Ok(ControlFlow::Continue(())), |row| visit(key, row))?;
        broken = flow.is_break();
        Ok(flow)
    })?;
    for (key, value) in above {
        if !broken && let Some(value) = value {
            broken = visit(key, value)?.is_break();
        }
    }
    Ok(())
}

/// The rows of a space that a descending scan may visit; those that do not begin with the prefix lie before.
fn rows_before(space: Space, prefix: &[u8], before: Option<&[u8]>) -> (Bound<Row>, Bound<Row>) {
    let end = match (scan_end(prefix, before), Space::numbered(space as u8 + 1)) {
        // The bounds of a range stand in order.
        (Some(end), _) => Bound::Excluded((space, end.max(prefix.to_vec()))),
        (None, Some(next)) => Bound::Excluded((next, Vec::new())),
        (None, None) => Bound::Unbounded,
    };
    (Bound::Included((space, prefix.to_vec())), end)
}

/// All rows of a replica at one instant: the disk before a turn, and what the turn had changed by then.
#[derive(Clone)]
pub struct Snapshot {
    disk: Still,
    batch: Arc<Batch>,
}

impl Snapshot {
    /// The rows as a turn has them now.
    pub fn take(disk: &dyn Disk, batch: &Batch) -> Snapshot {
        let rows = Batch { rows: batch.rows.clone(), undo: Vec::new() };
        Snapshot { disk: disk.still(), batch: Arc::new(rows) }
    }

    fn overlay(&self) -> Overlay<'_> {
        Overlay { disk: &*self.disk, batch: &self.batch }
    }
}

impl Read for Snapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.overlay().get(space, key)
    }

    fn scan(&self, space: Space, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        self.overlay().scan(space, prefix, from, visit)
    }

    fn scan_back(
        &self,
        space: Space,
        prefix: &[u8],
        before: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        self.overlay().scan_back(space, prefix, before, visit)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rows of one instant, {} of them in a batch", self.batch.len())
    }
}

// -- the disk of tests and of the simulator ---------------------------------------------------------------------------

/// Sorted rows in memory, with crash semantics.
#[derive(Clone, Debug, Default)]
pub struct MemStorage {
    rows: BTreeMap<Row, Vec<u8>>,
    /// For each batch since the last sync, what it replaced.
    unsynced: Vec<Vec<(Row, Option<Vec<u8>>)>>,
}

impl MemStorage {
    /// How many batches a crash may lose.
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// A sync ends that began when there were so many batches: the first `batches` are durable, later ones are not.
    pub fn sync_first(&mut self, batches: usize) {
        self.unsynced.drain(..batches.min(self.unsynced.len()));
    }

    /// The power fails: of the batches that were not synced only the first `kept` stay.
    pub fn crash(&mut self, kept: usize) {
        while self.unsynced.len() > kept {
            let Some(batch) = self.unsynced.pop() else { break };
            for (row, before) in batch.into_iter().rev() {
                self.restore(row, before);
            }
        }
        self.unsynced.clear();
    }

    /// Replaces a row's value with what `damage` makes of it: bit rot. Without such a row nothing happens.
    pub fn damage(&mut self, space: Space, key: &[u8], damage: impl FnOnce(&mut Vec<u8>)) {
        if let Some(value) = self.rows.get_mut(&(space, key.to_vec())) {
            damage(value);
        }
    }

    /// All rows of a space, ascending.
    pub fn rows(&self, space: Space) -> impl Iterator<Item = (&[u8], &[u8])> {
        let first = (space, Vec::new());
        let of_space = self.rows.range(first..).take_while(move |((s, _), _)| *s == space);
        of_space.map(|((_, key), value)| (key.as_slice(), value.as_slice()))
    }

    fn restore(&mut self, row: Row, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match value {
            Some(value) => self.rows.insert(row, value),
            None => self.rows.remove(&row),
        }
    }
}

impl Read for MemStorage {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.rows.get(&(space, key.to_vec())).cloned())
    }

    fn scan(&self, space: Space, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        let first = Bound::Included((space, prefix.max(from).to_vec()));
        for ((s, key), value) in self.rows.range((first, Bound::Unbounded)) {
            if *s != space || !key.starts_with(prefix) || visit(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn scan_back(
        &self,
        space: Space,
        prefix: &[u8],
        before: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<(), StorageError> {
        for ((_, key), value) in self.rows.range(rows_before(space, prefix, before)).rev() {
            if !key.starts_with(prefix) || visit(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Disk for MemStorage {
    fn still(&self) -> Still {
        Arc::new(MemStorage { rows: self.rows.clone(), unsynced: Vec::new() })
    }
}

impl Storage for MemStorage {
    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        let mut replaced = Vec::with_capacity(batch.len());
        for (space, key, value) in batch.iter() {
            let row = (space, key.to_vec());
            let before = self.restore(row.clone(), value.map(<[u8]>::to_vec));
            replaced.push((row, before));
        }
        self.unsynced.push(replaced);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.unsynced.clear();
        Ok(())
    }
}
