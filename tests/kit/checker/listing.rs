//! Pages of a listing are in order, and list what is there and nothing else.
//!
//! - A page's entries ascend, or descend, within its prefix, its range and behind where the page before ended; none comes twice, and
//!   there are no more than were asked for. What is behind a delimiter is listed once for all that share it.
//! - Nothing is listed that nobody wrote.
//! - What a node has acknowledged or shown before it was asked for a page, and that nothing can have emptied, is on the page, if it lies
//!   between where the page begins and where it ends.
//! - At the end the pages of a whole listing have exactly the keys that reads find on the same node.

use super::Violation;
use crate::history::case::life;
use crate::history::{Asked, Case, End, History, Life, Listed, Listing, Op, Ret, Seen};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Its name.
pub const NAME: &str = "listing";

/// Checks it.
///
/// # Errors
/// A page that cannot be.
pub fn check(history: &History, cases: &[Case<'_>]) -> Result<(), Violation> {
    let keys = Keys::of(history, cases);
    let ends = ends(history, &keys);
    for page in history.ops.iter().filter_map(Page::of) {
        let before = match &page.asked.cursor {
            None => None,
            Some(cursor) => match ends.get(cursor.as_str()) {
                Some(before) => Some(before),
                None => return Err(page.wrong("it goes on where no page has ended")),
            },
        };
        page.check_order(before.and_then(|before| before.bound))?;
        page.check_entries(&keys)?;
        page.check_whole(&keys, before)?;
    }
    check_end(history, &keys)
}

/// Where a page ended. It may have gone on behind its last entry, over keys that were not there: not over what surely was.
#[derive(Clone, Copy)]
struct Ended<'a> {
    bound: Option<&'a Listed>,
    life: Life,
    began: u64,
    at: u64,
}

/// A page that was answered.
struct Page<'a> {
    op: &'a Op,
    asked: &'a Listing,
    entries: &'a [Listed],
    next: Option<&'a str>,
    at: u64,
}

fn text(entry: &Listed) -> &str {
    match entry {
        Listed::Key(text) | Listed::Prefix(text) => text,
    }
}

/// Whether a key is listed by an entry.
fn is_in(key: &str, entry: &Listed) -> bool {
    match entry {
        Listed::Key(listed) => key == listed,
        Listed::Prefix(common) => key.starts_with(common.as_str()),
    }
}

impl<'a> Page<'a> {
    fn of(op: &'a Op) -> Option<Page<'a>> {
        match (&op.asked, &op.ended) {
            (Asked::List(asked), Some((at, End::Ok { ret: Ret::Page { entries, next }, .. }))) => {
                Some(Page { op, asked, entries, next: next.as_deref(), at: *at })
            }
            _ => None,
        }
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Violation {
        let (number, node) = (self.op.op, self.op.node);
        Violation { checker: NAME, what: format!("request {number}, {:?} at n{node}: {what}", self.asked) }
    }

    /// Whether something lies behind something else, in the page's order.
    fn is_behind(&self, key: &str, entry: &Listed) -> bool {
        if is_in(key, entry) {
            return false;
        }
        if self.asked.reverse { key < text(entry) } else { key > text(entry) }
    }

    /// Whether a key may be listed, as far as the question goes.
    fn has(&self, key: &str) -> bool {
        key.starts_with(&self.asked.prefix)
            && self.asked.start.as_deref().is_none_or(|start| key >= start)
            && self.asked.end.as_deref().is_none_or(|end| key < end)
    }

    fn check_order(&self, bound: Option<&Listed>) -> Result<(), Violation> {
        if self.entries.len() > self.asked.limit {
            return Err(self.wrong(format!("it has {} entries", self.entries.len())));
        }
        let mut before = bound;
        for entry in self.entries {
            if before.is_some_and(|before| !self.is_behind(text(entry), before)) {
                return Err(self.wrong(format!("{entry:?} comes after {before:?}")));
            }
            before = Some(entry);
        }
        Ok(())
    }

    fn check_entries(&self, keys: &Keys<'_>) -> Result<(), Violation> {
        for entry in self.entries {
            let rest = text(entry).strip_prefix(self.asked.prefix.as_str());
            let rest = rest.ok_or_else(|| self.wrong(format!("{entry:?} does not begin so")))?;
            let place = self
                .asked
                .delimiter
                .as_deref()
                .and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
            let is_folded_well = match entry {
                Listed::Key(key) => place.is_none() && self.has(key),
                Listed::Prefix(_) => place == Some(rest.len()),
            };
            if !is_folded_well {
                return Err(self.wrong(format!("{entry:?} is none of them")));
            }
            if !keys.was_written(entry, self.at, |key| self.has(key)) {
                return Err(self.wrong(format!("{entry:?} is listed, and nobody wrote it")));
            }
        }
        Ok(())
    }

    /// What was there all the time is listed.
    fn check_whole(&self, keys: &Keys<'_>, before: Option<&Ended<'_>>) -> Result<(), Violation> {
        // A page that lists nothing and goes on says nothing, and nothing of where the next one begins.
        let last = self.entries.last();
        let follows_nothing = before.is_some_and(|before| before.bound.is_none());
        if follows_nothing || (last.is_none() && self.next.is_some()) {
            return Ok(());
        }
        let life = life(&keys.lives, self.op);
        let mut entries: Vec<&Listed> = self.entries.iter().collect();
        entries.sort_by_key(|entry| text(entry));
        for (key, story) in
            keys.from(&self.asked.prefix).take_while(|(key, _)| key.starts_with(&self.asked.prefix))
        {
            let ends_before = self.next.is_some() && last.is_some_and(|last| self.is_behind(key, last));
            let is_left = |before: &Ended<'_>| {
                let is_behind = before.bound.is_some_and(|bound| self.is_behind(key, bound));
                is_behind && story.is_surely_there(before.life, before.began, before.at)
            };
            let is_asked = self.has(key) && before.is_none_or(is_left) && !ends_before;
            if !is_asked || !story.is_surely_there(life, self.op.began, self.at) {
                continue;
            }
            let place = entries.partition_point(|entry| text(entry) <= *key);
            if !entries[..place].last().is_some_and(|entry| is_in(key, entry)) {
                return Err(self.wrong(format!("{key} is there, and is not listed")));
            }
        }
        Ok(())
    }
}

/// Where pages ended, by the cursors that they gave; several may have ended at the same place, and the first tells as much as another.
fn ends<'h>(history: &'h History, keys: &Keys<'_>) -> HashMap<&'h str, Ended<'h>> {
    let mut ends: HashMap<&str, Ended<'_>> = HashMap::new();
    let mut pages: Vec<Page<'_>> = history.ops.iter().filter_map(Page::of).collect();
    pages.sort_by_key(|page| page.at);
    for page in pages {
        let Some(next) = page.next else { continue };
        let ended = Ended {
            bound: page.entries.last(),
            life: life(&keys.lives, page.op),
            began: page.op.began,
            at: page.at,
        };
        ends.entry(next).or_insert(ended);
    }
    ends
}

/// What is known of a key.
#[derive(Default)]
struct Story {
    /// When it was first written, if only perhaps.
    written_at: Option<u64>,
    /// When something was first asked that may empty it.
    emptied_at: Option<u64>,
    /// Since when each node has it.
    since: HashMap<Life, u64>,
}

impl Story {
    fn is_surely_there(&self, life: Life, from: u64, until: u64) -> bool {
        let is_known = self.since.get(&life).is_some_and(|since| *since <= from);
        is_known && self.emptied_at.is_none_or(|at| at > until)
    }
}

/// All keys.
struct Keys<'a> {
    of: BTreeMap<&'a str, Story>,
    lives: crate::history::Lives,
}

impl<'a> Keys<'a> {
    fn of(history: &'a History, cases: &[Case<'a>]) -> Keys<'a> {
        let mut keys = Keys { of: BTreeMap::new(), lives: history.lives() };
        for case in cases {
            let story = keys.of.entry(case.subject.key).or_default();
            for entry in case.entries.iter().filter(|entry| entry.may_be_applied()) {
                let began = entry.began;
                let earliest =
                    |known: &mut Option<u64>, at| *known = Some(known.map_or(at, |known| known.min(at)));
                match entry.asked {
                    Asked::Read => {}
                    Asked::TakeAll | Asked::Remove(_) => earliest(&mut story.emptied_at, began),
                    _ => earliest(&mut story.written_at, began),
                }
                let makes = !matches!(
                    entry.asked,
                    Asked::Read | Asked::TakeAll | Asked::Remove(_) | Asked::Observe(_)
                );
                let shows = entry.seen().is_some_and(|(_, seen)| *seen != Seen::Nothing);
                if (makes && entry.was_applied()) || shows {
                    let since = story.since.entry(entry.life).or_insert(u64::MAX);
                    *since = entry.until().min(*since);
                }
            }
        }
        keys
    }

    fn from(&self, first: &str) -> impl Iterator<Item = (&&'a str, &Story)> {
        self.of.range::<str, _>((std::ops::Bound::Included(first), std::ops::Bound::Unbounded))
    }

    /// Whether something that an entry lists may have been written until a time.
    fn was_written(&self, entry: &Listed, at: u64, is_asked: impl Fn(&str) -> bool) -> bool {
        let mut listed = self.from(text(entry)).take_while(|(key, _)| is_in(key, entry));
        listed.any(|(key, story)| is_asked(key) && story.written_at.is_some_and(|written| written <= at))
    }
}

/// At the end: each whole listing on a node, page by page, against what reads find there.
fn check_end(history: &History, keys: &Keys<'_>) -> Result<(), Violation> {
    let Some(quiet_at) = history.quiet_at() else { return Ok(()) };
    let ops = || history.ops.iter().filter(|op| op.began >= quiet_at);
    let mut found: BTreeMap<u32, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
    for op in ops().filter(|op| op.asked == Asked::Read) {
        let (there, read) = found.entry(op.node).or_default();
        if let Some((_, End::Ok { ret: Ret::Read(seen), .. })) = &op.ended {
            read.insert(&op.key);
            there.extend((*seen != Seen::Nothing).then_some(op.key.as_str()));
        }
    }
    for page in ops().filter_map(Page::of).filter(|page| page.asked.cursor.is_none()) {
        let Some((there, read)) = found.get(&page.op.node) else { continue };
        let Some(all) = whole_listing(history, quiet_at, &page) else { continue };
        let is_listed = |key: &str| all.iter().any(|entry| is_in(key, entry));
        let listed: BTreeSet<&str> = all.iter().map(|entry| text(entry)).collect();
        let lacks = there.iter().find(|key| page.has(key) && !listed.contains(**key) && !is_listed(key));
        if let Some(key) = lacks {
            return Err(page.wrong(format!("{key} can be read at the end, and is not listed")));
        }
        // A key that could not be read, for its row has rotted, may be listed or not.
        let is_there = |entry: &Listed| {
            let mut listed = keys.from(text(entry)).take_while(|(key, _)| is_in(key, entry));
            listed.any(|(key, _)| page.has(key) && (there.contains(key) || !read.contains(key)))
        };
        if let Some(entry) = all.iter().find(|entry| !is_there(entry)) {
            return Err(page.wrong(format!("{entry:?} is listed at the end, and reads as nothing")));
        }
    }
    Ok(())
}

/// The entries of all pages that follow a first one on the same node; `None` if they were not all asked for.
fn whole_listing<'a>(history: &'a History, quiet_at: u64, first: &Page<'a>) -> Option<Vec<&'a Listed>> {
    let mut all: Vec<&Listed> = first.entries.iter().collect();
    let mut next = first.next;
    let mut pages =
        history.ops.iter().filter(|op| op.began >= quiet_at && op.node == first.op.node).filter_map(Page::of);
    while let Some(cursor) = next {
        let asked = Listing { cursor: Some(cursor.into()), ..first.asked.clone() };
        let page = pages.find(|page| *page.asked == asked)?;
        all.extend(page.entries);
        next = page.next;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asks, history, read, wrote};
    use super::*;
    use crate::history::{Fact, Kind};

    /// Keys are put on the first node, one listing is asked, and at the end each key is read, and listed in pages of two.
    fn story(keys: &[&str], asked: Listing, entries: &[&str], next: Option<&str>) -> History {
        let mut ops: Vec<Op> = keys.iter().map(|key| put(key)).collect();
        ops.push(list(asked, entries, next));
        history(ops)
    }

    fn put(key: &str) -> Op {
        Op { key: key.into(), ..asks(Kind::Register, Asked::Put(format!("v of {key}"))).ends(wrote()) }
    }

    fn list(asked: Listing, entries: &[&str], next: Option<&str>) -> Op {
        let asked = Listing { limit: 3, ..asked };
        let entry = |text: &&str| match text.ends_with('/') {
            true => Listed::Prefix((*text).into()),
            false => Listed::Key((*text).into()),
        };
        let page = Ret::Page { entries: entries.iter().map(entry).collect(), next: next.map(String::from) };
        let end = End::Ok { ret: page, context: None };
        Op { key: String::new(), kind: None, ..asks(Kind::Set, Asked::List(asked)).ends(end) }
    }

    fn told(history: &History) -> Result<(), Violation> {
        check(history, &history.cases())
    }

    fn is_bad(history: &History, why: &str) {
        let violation = told(history).expect_err("it cannot be");
        assert!(violation.checker == NAME && violation.what.contains(why), "{violation}");
    }

    const KEYS: [&str; 4] = ["a", "b/1", "b/2", "c"];

    #[test]
    fn a_page_has_what_is_there_in_order() {
        let plain = Listing::default;
        let reverse = || Listing { reverse: true, ..plain() };
        let folded = || Listing { delimiter: Some("/".into()), ..plain() };
        let range = || Listing { start: Some("b".into()), end: Some("c".into()), ..plain() };
        let below = || Listing { prefix: "b/".into(), ..plain() };
        let page = |asked, entries: &[&str], next| story(&KEYS, asked, entries, next);
        assert_eq!(told(&page(plain(), &["a", "b/1", "b/2"], Some("x"))), Ok(()));
        assert_eq!(told(&page(plain(), &["a", "b/1"], Some("x"))), Ok(()), "it may end early");
        assert_eq!(told(&page(reverse(), &["c", "b/2"], Some("x"))), Ok(()));
        assert_eq!(told(&page(folded(), &["a", "b/", "c"], None)), Ok(()));
        assert_eq!(told(&page(range(), &["b/1", "b/2"], None)), Ok(()));
        assert_eq!(told(&page(below(), &["b/1", "b/2"], None)), Ok(()));
        is_bad(&page(plain(), &["a", "b/2"], Some("x")), "b/1 is there, and is not listed");
        is_bad(&page(plain(), &["a", "b/1", "b/2"], None), "c is there");
        is_bad(&page(plain(), &[], None), "a is there");
        is_bad(&page(plain(), &["b/1", "a"], Some("x")), "comes after");
        is_bad(&page(plain(), &["a", "a"], Some("x")), "comes after");
        is_bad(&page(reverse(), &["b/2", "c"], Some("x")), "comes after");
        is_bad(&page(reverse(), &["c", "b/1"], Some("x")), "b/2 is there");
        is_bad(&page(plain(), &["a", "b/1", "b/2", "c"], None), "4 entries");
        is_bad(&page(folded(), &["a", "b/1"], Some("x")), "none of them");
        is_bad(&page(folded(), &["a", "c"], None), "is there, and is not listed");
        is_bad(&page(range(), &["a", "b/1", "b/2"], None), "none of them");
        is_bad(&page(below(), &["a"], Some("x")), "does not begin so");
        is_bad(&page(plain(), &["a", "aa"], Some("x")), "nobody wrote it");
        let folded_early = story(&["a"], folded(), &["a", "b/"], None);
        is_bad(&folded_early, "nobody wrote it");
    }

    #[test]
    fn only_what_was_surely_there_must_be_listed() {
        let lacks = |change: fn(&mut History)| {
            let mut history = story(&KEYS, Listing::default(), &["a", "b/2"], Some("x"));
            change(&mut history);
            told(&history)
        };
        assert!(lacks(|_| {}).is_err());
        assert_eq!(lacks(|history| history.ops[1].node = 2), Ok(()));
        assert_eq!(lacks(|history| history.ops[1].ended = None), Ok(()));
        assert_eq!(lacks(|history| history.facts = vec![(45, Fact::Replaced { node: 1 })]), Ok(()));
        let deleted = |history: &mut History| {
            let delete = asks(Kind::Register, Asked::TakeAll).on(2).ends(wrote());
            history.ops.push(Op { key: "b/1".into(), began: 50, ..delete });
        };
        assert_eq!(lacks(deleted), Ok(()));
    }

    #[test]
    fn a_page_goes_on_where_another_ended() {
        let pages = |second: &[&str]| {
            let first = list(Listing::default(), &["a", "b/1"], Some("x"));
            let second = list(Listing { cursor: Some("x".into()), ..Listing::default() }, second, None);
            let mut ops: Vec<Op> = KEYS.iter().map(|key| put(key)).collect();
            ops.extend([first, second]);
            history(ops)
        };
        assert_eq!(told(&pages(&["b/2", "c"])), Ok(()));
        is_bad(&pages(&["b/1", "b/2", "c"]), "comes after");
        is_bad(&pages(&["c"]), "b/2 is there");
        let mut nowhere = pages(&["b/2", "c"]);
        nowhere.ops.remove(4);
        is_bad(&nowhere, "where no page has ended");
    }

    #[test]
    fn at_the_end_pages_have_what_reads_find() {
        let end = |second: &[&str], found: &[&str]| {
            let mut ops: Vec<Op> = KEYS.iter().map(|key| put(key).on(2)).collect();
            for key in KEYS {
                let seen = match found.contains(&key) {
                    true => Seen::Values([format!("v of {key}")].into()),
                    false => Seen::Nothing,
                };
                ops.push(Op { key: key.into(), ..asks(Kind::Register, Asked::Read).ends(read(seen)) });
            }
            ops.insert(4, list(Listing::default(), &["a", "b/1"], Some("x")));
            ops.insert(5, list(Listing { cursor: Some("x".into()), ..Listing::default() }, second, None));
            let mut history = history(ops);
            history.facts = vec![(45, Fact::Quiet)];
            history
        };
        assert_eq!(told(&end(&["b/2", "c"], &KEYS)), Ok(()));
        is_bad(&end(&["c"], &KEYS), "b/2 can be read at the end");
        is_bad(&end(&["b/2", "c"], &["a", "b/1", "b/2"]), "reads as nothing");
    }
}
