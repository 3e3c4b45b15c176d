//! What was surely taken away, and where: the ground of several checkers.
//!
//! A write takes away what its node has, as far as its context covers it. What a node has is known if it has acknowledged or shown it,
//! in this life, before the write was asked. What such a write has taken away is gone for good: every replica that applies the write
//! takes it away too, and nothing can bring it back. Only what a single request may have written can be judged so: of two with the
//! same value one may be unseen.

use crate::history::case::in_order;
use crate::history::{Asked, Case, Entry, Life, Over, Seen};
use std::collections::{BTreeSet, HashMap, HashSet};

/// One thing that was taken away.
pub(super) struct Taken<'a> {
    /// The value, or the member.
    pub(super) what: &'a str,
    /// The request that took it away.
    pub(super) by: u64,
    /// Where, and from when on that node cannot show it any more.
    pub(super) life: Life,
    pub(super) at: u64,
}

/// The values, or members, that a request writes.
pub(super) fn written<'a>(entry: &Entry<'a>) -> BTreeSet<&'a str> {
    match entry.asked {
        Asked::Put(value) => BTreeSet::from([value.as_str()]),
        Asked::Add(members) => members.iter().map(String::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

/// The values, or members, that are seen.
pub(super) fn items(seen: &Seen) -> Option<&BTreeSet<String>> {
    match seen {
        Seen::Values(items) | Seen::Members(items) => Some(items),
        _ => None,
    }
}

/// What may have been written by a single request alone.
pub(super) fn unique<'a>(case: &Case<'a>) -> HashSet<&'a str> {
    let mut count: HashMap<&str, u32> = HashMap::new();
    for entry in case.entries.iter().filter(|entry| entry.may_be_applied()) {
        written(entry).into_iter().for_each(|item| *count.entry(item).or_default() += 1);
    }
    count.into_iter().filter(|(_, count)| *count == 1).map(|(item, _)| item).collect()
}

/// All that was surely taken away by requests for which it holds.
pub(super) fn taken<'a>(case: &Case<'a>, takes: impl Fn(&Entry<'a>) -> bool) -> Vec<Taken<'a>> {
    let unique = unique(case);
    let mut has: HashMap<Life, HashSet<&str>> = HashMap::new();
    let mut all = Vec::new();
    for (_, begins, at) in times(case) {
        let entry = &case.entries[at];
        if !begins {
            let seen = entry.seen().and_then(|(_, seen)| items(seen));
            let shown = seen.into_iter().flatten().map(String::as_str);
            let items = written(entry).into_iter().filter(|_| entry.was_applied()).chain(shown);
            has.entry(entry.life).or_default().extend(items.filter(|item| unique.contains(item)));
        } else if entry.must_stay() && takes(entry) {
            let has = has.entry(entry.life).or_default();
            let (life, at) = (entry.life, entry.until());
            for what in takes_of(entry, has) {
                has.remove(what);
                all.push(Taken { what, by: entry.op, life, at });
            }
        }
    }
    all
}

/// Of what a node has, what a request that was acknowledged has surely taken away.
fn takes_of<'a>(entry: &Entry<'a>, has: &HashSet<&'a str>) -> Vec<&'a str> {
    let own = written(entry);
    let takes = |what: &&&str| !own.contains(**what) && entry.over.surely_takes(what);
    match (entry.asked, &entry.over) {
        (Asked::Put(_) | Asked::TakeAll, Over::All) => has.iter().filter(takes).copied().collect(),
        (Asked::Put(_) | Asked::TakeAll, Over::Seen(covered)) => {
            covered.surely.iter().filter(takes).filter_map(|what| has.get(what)).copied().collect()
        }
        // A removal that has counted all its members has taken them away, known or not.
        (Asked::Remove(members), _) if entry.changed() == Some(members.len() as u64) => {
            members.iter().map(String::as_str).collect()
        }
        (Asked::Remove(members), Over::All) => {
            members.iter().filter_map(|member| has.get(member.as_str())).copied().collect()
        }
        _ => Vec::new(),
    }
}

/// When requests begin and end, in order, whether they begin, and their places.
pub(super) fn times(case: &Case<'_>) -> Vec<(u64, bool, usize)> {
    in_order(case.entries.iter().map(|entry| (entry.began, entry.ended.as_ref().map(|(ended, _)| *ended))))
}

/// The first of what was taken away that is read by whom it must not be: by nobody at the end, and not by the node that took it away,
/// later in the same life.
pub(super) fn read_again<'a>(case: &Case<'a>, all: &[Taken<'a>]) -> Option<(&'a str, u64, String)> {
    let unique = unique(case);
    let mut here: HashMap<(Life, &str), (u64, u64)> = HashMap::new();
    let mut anywhere: HashMap<&str, u64> = HashMap::new();
    for taken in all.iter().filter(|taken| unique.contains(taken.what)) {
        here.entry((taken.life, taken.what)).or_insert((taken.at, taken.by));
        anywhere.entry(taken.what).or_insert(taken.by);
    }
    for (node, seen) in &case.finals {
        for item in items(seen).into_iter().flatten() {
            if let Some((item, by)) = anywhere.get_key_value(item.as_str()) {
                return Some((item, *by, format!("n{node} reads it at the end")));
            }
        }
    }
    for entry in &case.entries {
        let Some((_, seen)) = entry.seen() else { continue };
        for item in items(seen).into_iter().flatten() {
            if let Some((at, by)) =
                here.get(&(entry.life, item.as_str())).filter(|(at, _)| *at <= entry.began)
            {
                let what = format!(
                    "n{} reads it in request {}, {} µs later",
                    entry.life.0,
                    entry.op,
                    entry.began - at
                );
                return Some((anywhere.get_key_value(item.as_str())?.0, *by, what));
            }
        }
    }
    None
}
