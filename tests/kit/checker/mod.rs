//! What clients saw, and what must hold of it whatever happened.
//!
//! A [`History`] is all that clients did and were answered. It knows nothing of nodes' insides, so the same checkers judge a simulated
//! cluster and a real one. Each checker is a file:
//!
//! - [`lost`]: what was acknowledged and not taken away is there at the end;
//! - [`phantom`]: nothing is read that nobody wrote;
//! - [`resurrected`]: what was taken away, and was seen to be, does not come back;
//! - [`counter`]: a counter is one of the sums that are possible;
//! - [`register`]: a put does not beat one that followed it on its node.
//!
//! Every value that is put and every member that is added is unique in its history, so what is read says who wrote it.

pub mod counter;
pub mod lost;
pub mod phantom;
pub mod register;
pub mod resurrected;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a key, or a field of one, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The last write wins.
    Register,
    /// All values of which none has seen another.
    Multi,
    /// A counter.
    Counter,
    /// A set.
    Set,
    /// A flag.
    Flag,
    /// A maximum.
    Max,
}

/// A key, or a field of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Its type.
    pub kind: Kind,
    /// The key.
    pub key: String,
    /// The field within it, where it is a map.
    pub field: Option<String>,
}

/// What a put takes the place of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// All that the node has.
    All,
    /// These values, which the client has seen, of those that are there.
    Seen(BTreeSet<String>),
    /// What the client has seen, and nobody knows what that was.
    Unknown,
}

/// What a client asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To put a value in place of what is there.
    Put {
        /// The value.
        value: String,
        /// Of what.
        over: Over,
    },
    /// To add members to a set.
    Add(BTreeSet<String>),
    /// To remove members from a set.
    Remove(BTreeSet<String>),
    /// To remove all members; to disable a flag; to reset a counter; to delete.
    TakeAll,
    /// To enable a flag.
    Enable,
    /// To add to a counter.
    Increment(i64),
    /// To show a number to a maximum.
    Observe(i64),
    /// To read.
    Read,
}

/// What is read of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing is there.
    Nothing,
    /// A register's value, or a multi-value register's values.
    Values(BTreeSet<String>),
    /// A set's members.
    Members(BTreeSet<String>),
    /// Whether a flag is enabled.
    Flag(bool),
    /// A counter's sum, or a maximum.
    Number(i128),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was applied. Of a removal from a set: how many members it took away.
    Applied {
        /// Members that went.
        removed: u64,
    },
    /// It was refused, and nothing was applied.
    Refused,
    /// It read this.
    Read(Seen),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Of what.
    pub subject: Subject,
    /// What was asked.
    pub asked: Asked,
    /// The node that was asked.
    pub node: usize,
    /// How often that node's disk had been replaced by an older one, or by none. What it did before, it need not know any more.
    pub life: u32,
    /// When it was asked, in microseconds.
    pub began: u64,
    /// When it was answered and how; `None` where nobody knows what became of it.
    pub ended: Option<(u64, Ended)>,
    /// It changed nothing: what it would have made was there.
    pub changed_nothing: bool,
    /// The only disk that had it was destroyed.
    pub excused: bool,
}

impl Entry {
    /// Whether it was acknowledged, and what it made is to be kept.
    pub fn must_stay(&self) -> bool {
        self.was_applied() && !self.excused && !self.changed_nothing
    }

    /// Whether it was acknowledged.
    pub fn was_applied(&self) -> bool {
        matches!(self.ended, Some((_, Ended::Applied { .. })))
    }

    /// Whether it may have been applied.
    pub fn may_be_applied(&self) -> bool {
        !matches!(self.ended, Some((_, Ended::Refused)))
    }

    /// Whether it may have been applied after `other` was asked, and so have seen it.
    pub fn may_have_seen(&self, other: &Entry) -> bool {
        self.may_be_applied() && self.ended.as_ref().is_none_or(|(at, _)| *at >= other.began)
    }
}

/// All that clients did, and what everybody reads at the end.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The requests, by when they were asked.
    pub entries: Vec<Entry>,
    /// What every node reads when all have agreed.
    pub last: BTreeMap<Subject, Seen>,
}

impl History {
    /// The requests of each subject, with what is read of it at the end.
    pub fn subjects(&self) -> impl Iterator<Item = (&Subject, Vec<&Entry>, &Seen)> {
        let mut of: BTreeMap<&Subject, Vec<&Entry>> = BTreeMap::new();
        for entry in &self.entries {
            of.entry(&entry.subject).or_default().push(entry);
        }
        of.into_iter()
            .map(|(subject, entries)| (subject, entries, self.last.get(subject).unwrap_or(&Seen::Nothing)))
    }
}

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which checker says so.
    pub checker: &'static str,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.checker, self.what)
    }
}

/// Asks all checkers.
///
/// # Errors
/// The first thing that must not be.
pub fn check(history: &History) -> Result<(), Violation> {
    lost::check(history)?;
    phantom::check(history)?;
    resurrected::check(history)?;
    counter::check(history)?;
    register::check(history)
}

fn wrong(checker: &'static str, subject: &Subject, what: impl fmt::Display) -> Violation {
    Violation { checker, what: format!("{subject}: {what}") }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        self.field.iter().try_for_each(|field| write!(f, "/{field}"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A subject's requests one after the other, each answered before the next is asked.
    pub(crate) fn story(kind: Kind, asked: Vec<(Asked, Ended)>, last: Seen) -> History {
        let subject = Subject { kind, key: "k".into(), field: None };
        let entry = |(at, (asked, ended)): (usize, (Asked, Ended))| Entry {
            subject: subject.clone(),
            asked,
            node: 0,
            life: 0,
            began: at as u64 * 10,
            ended: Some((at as u64 * 10 + 5, ended)),
            changed_nothing: false,
            excused: false,
        };
        let entries = asked.into_iter().enumerate().map(entry).collect();
        History { entries, last: BTreeMap::from([(subject, last)]) }
    }

    pub(crate) fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    pub(crate) const APPLIED: Ended = Ended::Applied { removed: 0 };

    pub(crate) fn put(value: &str) -> Asked {
        Asked::Put { value: value.into(), over: Over::All }
    }
}
