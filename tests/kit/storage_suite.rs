//! What every storage must do, whatever it is made of: the same suite judges the one in memory and those to come.

use anyhow::{Result, ensure};
use meridian_core::storage::{Batch, Read, Space, Storage};
use std::ops::ControlFlow;

/// A row as it is read back.
pub type Row = (Vec<u8>, Vec<u8>);

/// The rows of a space from `from` on that begin with `prefix`, at most `limit`.
///
/// # Errors
/// The storage's.
pub fn scan(disk: &dyn Read, space: Space, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if limit == 0 {
        return Ok(rows);
    }
    disk.scan(space, prefix, from, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(if rows.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(rows)
}

/// The rows of a space below `before` that begin with `prefix`, from the last on, at most `limit`.
///
/// # Errors
/// The storage's.
pub fn scan_back(
    disk: &dyn Read,
    space: Space,
    prefix: &[u8],
    before: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if limit == 0 {
        return Ok(rows);
    }
    disk.scan_back(space, prefix, before, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(if rows.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(rows)
}

/// Checks an empty storage against all of it.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn conforms(disk: &mut dyn Storage) -> Result<()> {
    reads_what_was_written(disk)?;
    keeps_spaces_apart(disk)?;
    scans_in_order(disk)?;
    scans_back_in_order(disk)?;
    holds_awkward_rows(disk)
}

fn reads_what_was_written(disk: &mut dyn Storage) -> Result<()> {
    ensure!(disk.get(Space::Head, b"a")?.is_none(), "nothing is there before anything was written");
    write(disk, &[(Space::Head, b"a", Some(b"1")), (Space::Head, b"b", Some(b"2"))])?;
    ensure!(disk.get(Space::Head, b"a")?.as_deref() == Some(b"1"), "a write is visible at once");
    write(disk, &[(Space::Head, b"a", Some(b"3")), (Space::Head, b"b", None), (Space::Head, b"c", None)])?;
    ensure!(disk.get(Space::Head, b"a")?.as_deref() == Some(b"3"), "the last write counts");
    ensure!(disk.get(Space::Head, b"b")?.is_none(), "what was removed is gone");
    ensure!(disk.get(Space::Head, b"c")?.is_none(), "what was never there can be removed");
    disk.sync()?;
    ensure!(disk.get(Space::Head, b"a")?.as_deref() == Some(b"3"), "a sync changes nothing that is read");
    let mut twice = Batch::default();
    twice.put(Space::Head, b"d".to_vec(), b"1".to_vec());
    twice.delete(Space::Head, b"d".to_vec());
    disk.write(&twice)?;
    ensure!(disk.get(Space::Head, b"d")?.is_none(), "within a batch the last change counts");
    Ok(())
}

fn keeps_spaces_apart(disk: &mut dyn Storage) -> Result<()> {
    let rows: Vec<Change<'_>> =
        Space::ALL.into_iter().map(|space| (space, &b"same"[..], Some(&b"x"[..]))).collect();
    write(disk, &rows)?;
    write(disk, &[(Space::Cell, b"same", None)])?;
    for space in Space::ALL {
        let there = disk.get(space, b"same")?.is_some();
        ensure!(there == (space != Space::Cell), "{space:?} is a space of its own");
    }
    Ok(())
}

fn scans_in_order(disk: &mut dyn Storage) -> Result<()> {
    let keys: [&[u8]; 6] = [b"p\xff", b"p", b"pa", b"o\xff", b"q", b"p\0"];
    let rows: Vec<Change<'_>> = keys.iter().map(|key| (Space::Log, *key, Some(*key))).collect();
    write(disk, &rows)?;
    let found = |prefix: &[u8], from: &[u8], limit| -> Result<Vec<Vec<u8>>> {
        Ok(scan(disk, Space::Log, prefix, from, limit)?.into_iter().map(|(key, _)| key).collect())
    };
    let all = [&b"p"[..], b"p\0", b"pa", b"p\xff"];
    ensure!(found(b"p", b"", 99)? == all, "a prefix, in byte order, and nothing beside it");
    ensure!(found(b"p", b"p\0", 99)? == all[1..], "from a row on");
    ensure!(found(b"p", b"p\x01", 99)? == all[2..], "from between two rows on");
    ensure!(found(b"p", b"", 2)? == all[..2], "broken off");
    ensure!(found(b"x", b"", 99)?.is_empty(), "a prefix that no row has");
    ensure!(found(b"p", b"q", 99)?.is_empty(), "from behind the prefix");
    ensure!(found(b"", b"p\xff", 2)? == [&b"p\xff"[..], b"q"], "no prefix");
    Ok(())
}

fn scans_back_in_order(disk: &mut dyn Storage) -> Result<()> {
    let keys: [&[u8]; 8] = [b"p\xff", b"p", b"pa", b"o\xff", b"q", b"p\0", b"\xff", b"\xff\xff"];
    let rows: Vec<Change<'_>> = keys.iter().map(|key| (Space::Meta, *key, Some(*key))).collect();
    write(disk, &rows)?;
    write(disk, &[(Space::Stage, b"a", Some(b"")), (Space::Log, b"z", Some(b""))])?;
    let found = |prefix: &[u8], before: Option<&[u8]>, limit| -> Result<Vec<Vec<u8>>> {
        Ok(scan_back(disk, Space::Meta, prefix, before, limit)?.into_iter().map(|(key, _)| key).collect())
    };
    let all = [&b"p\xff"[..], b"pa", b"p\0", b"p"];
    ensure!(found(b"p", None, 99)? == all, "a prefix, from its last row on, and nothing beside it");
    ensure!(found(b"p", Some(b"z"), 99)? == all, "from behind the prefix");
    ensure!(found(b"p", Some(b"p\xff"), 99)? == all[1..], "below a row");
    ensure!(found(b"p", Some(b"pb"), 99)? == all[1..], "from between two rows on");
    ensure!(found(b"p", None, 2)? == all[..2], "broken off");
    ensure!(found(b"p", Some(b"p"), 99)?.is_empty(), "below the first row of the prefix");
    ensure!(found(b"p", Some(b"a"), 99)?.is_empty(), "from before the prefix");
    ensure!(found(b"x", None, 99)?.is_empty(), "a prefix that no row has");
    ensure!(found(b"\xff", None, 99)? == [&b"\xff\xff"[..], b"\xff"], "a prefix that has no end");
    ensure!(found(b"", None, 3)? == [&b"\xff\xff"[..], b"\xff", b"same"], "no prefix");
    ensure!(found(b"", Some(b"p"), 1)? == [b"o\xff"], "no prefix, below a row");
    Ok(())
}

fn holds_awkward_rows(disk: &mut dyn Storage) -> Result<()> {
    let long_key = vec![0xffu8; 5_000];
    let long_value = vec![7u8; 1 << 20];
    write(disk, &[(Space::Cell, b"", Some(b"")), (Space::Cell, &long_key, Some(&long_value))])?;
    ensure!(
        disk.get(Space::Cell, b"")?.as_deref() == Some(&[][..]),
        "an empty key with an empty value is a row"
    );
    ensure!(disk.get(Space::Cell, &long_key)? == Some(long_value), "a long key with a long value is a row");
    Ok(())
}

type Change<'a> = (Space, &'a [u8], Option<&'a [u8]>);

fn write(disk: &mut dyn Storage, changes: &[Change<'_>]) -> Result<()> {
    let mut batch = Batch::default();
    for (space, key, value) in changes {
        match value {
            Some(value) => batch.put(*space, key.to_vec(), value.to_vec()),
            None => batch.delete(*space, key.to_vec()),
        }
    }
    Ok(disk.write(&batch)?)
}
