//! A history: all that clients asked and were answered, whoever ran the cluster that they asked.
//!
//! It is written as JSON lines, one event a line ([`lines`]), and is the only thing that the [checkers](crate::checker) see: they know
//! nothing of nodes' insides, so the same ones judge a simulated cluster and a real one. Rules:
//!
//! - What is asked has a number, and an end: `ok` with what was answered; `fail` only where it was surely not applied; `info` where
//!   nobody knows: then it may have been applied, at any later time. A request that is sent again is another one, with its own number.
//! - Every value that is put and every member that is added is unique, but for requests that are sent again, so what is read says who
//!   wrote it.
//! - A key is of one type for good, and its name of the fields that are written in it.
//! - What nobody can see from outside and the checkers must know stands in it as a [`Fact`].

pub mod case;
pub mod lines;

pub use case::{Case, Ended, Entry, Over, Subject, Takers};

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a key, or a field of one, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// A minimum.
    Min,
    /// A map.
    Map,
}

impl Kind {
    /// A number as a maximum has it: of a minimum the lowest is the highest.
    pub fn height(self, number: i128) -> i128 {
        if self == Kind::Min { -number } else { number }
    }
}

/// What a client asked: in a line, `f` and `arg`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", content = "arg", rename_all = "kebab-case")]
pub enum Asked {
    /// To put a value in place of what is there: of all that the node has, or with a context of what that has seen.
    Put(String),
    /// To add members to a set.
    Add(BTreeSet<String>),
    /// To remove members from a set.
    Remove(BTreeSet<String>),
    /// To remove all members; to disable a flag; to reset a counter; to delete, of a map with all that is below.
    TakeAll,
    /// To enable a flag.
    Enable,
    /// To add to a counter.
    Increment(i64),
    /// To show a number to a maximum or a minimum.
    Observe(i64),
    /// To read.
    Read,
    /// To list a page of keys.
    List(Listing),
}

/// Which page of which keys. A limit is a number of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listing {
    /// What keys begin with.
    pub prefix: String,
    /// The first key that may be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// The first key behind all that may be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Keys that are the same up to its first place behind the prefix are listed as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// From the last key to the first.
    pub reverse: bool,
    /// Most entries.
    pub limit: usize,
    /// Goes on where the page ended that gave this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What is read of a key, or of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// Nothing is there.
    Nothing,
    /// A register's value, or a multi-value register's values.
    Values(BTreeSet<String>),
    /// A set's members.
    Members(BTreeSet<String>),
    /// Whether a flag is enabled.
    Flag(bool),
    /// A counter's sum, a maximum or a minimum.
    Number(i128),
    /// A map's fields that are no maps, by their paths.
    Fields(BTreeMap<String, Seen>),
}

/// An entry of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listed {
    /// A key.
    Key(String),
    /// What several keys begin with, up to a delimiter and with it.
    Prefix(String),
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ret {
    /// A write was applied.
    Wrote {
        /// How much it changed, where the answer says so: members that came or went, operations in a map that changed something.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        changed: Option<u64>,
        /// What is there now, where the answer says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        now: Option<Seen>,
    },
    /// This was read.
    Read(Seen),
    /// This was listed.
    Page {
        /// In order.
        entries: Vec<Listed>,
        /// What the next page is asked with; nothing if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was answered.
    Ok {
        /// What.
        ret: Ret,
        /// What the client has seen of the key then: opaque, and equal only to itself.
        context: Option<String>,
    },
    /// It was surely not applied: the answer's code.
    Fail {
        /// Of the answer, or `unreachable` where nothing was sent.
        code: String,
    },
    /// Nobody knows whether it was, or will be, applied.
    Info {
        /// Why: `timeout`, `reset`, `crash`.
        code: String,
    },
}

/// The consistency that a request asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Of the node that is asked, and of its replica.
    #[default]
    Local,
}

/// One request and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its number.
    pub op: u64,
    /// The client's.
    pub client: u32,
    /// The session that it belongs to.
    pub session: Option<String>,
    /// The node that was asked, counted from 1.
    pub node: u32,
    /// What consistency was asked for.
    pub level: Level,
    /// The key; empty for a listing.
    pub key: String,
    /// The field of a map, with slashes between names.
    pub path: Option<String>,
    /// What the key or the field is; of a listing nothing.
    pub kind: Option<Kind>,
    /// What was asked.
    pub asked: Asked,
    /// The context that it carried.
    pub context: Option<String>,
    /// When it was asked, in microseconds.
    pub began: u64,
    /// When and how it ended.
    pub ended: Option<(u64, End)>,
}

/// What clients cannot see, and the judges must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A node's disk was replaced by an older one or by none, or lost a part for good: what it did before it need not know any more.
    Replaced {
        /// Which node.
        node: u32,
    },
    /// The only disk was destroyed that had what this request wrote; or, where it found nothing to change, what it found.
    Destroyed {
        /// Which request.
        op: u64,
    },
    /// Faults are over and writes too, and the nodes have had their time to agree: what is read from now on is the end.
    Quiet,
}

/// All that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The requests, by when they were asked.
    pub ops: Vec<Op>,
    /// Facts, by when they came true, in microseconds.
    pub facts: Vec<(u64, Fact)>,
}

impl History {
    /// When the end began.
    pub fn quiet_at(&self) -> Option<u64> {
        self.facts.iter().find(|(_, fact)| *fact == Fact::Quiet).map(|(at, _)| *at)
    }

    /// How often a node's disk was replaced until each of these times.
    pub fn lives(&self) -> Lives {
        let mut lives = Lives::default();
        for (at, fact) in &self.facts {
            if let Fact::Replaced { node } = fact {
                lives.of.entry(*node).or_default().push(*at);
            }
        }
        lives
    }

    /// The requests whose only disk was destroyed.
    pub fn destroyed(&self) -> BTreeSet<u64> {
        let destroyed = |(_, fact): &(u64, Fact)| match fact {
            Fact::Destroyed { op } => Some(*op),
            _ => None,
        };
        self.facts.iter().filter_map(destroyed).collect()
    }
}

/// When nodes' disks were replaced.
#[derive(Clone, Debug, Default)]
pub struct Lives {
    of: BTreeMap<u32, Vec<u64>>,
}

/// A node between two replacements of its disk: what it has said in one life it knows until the end of it.
pub type Life = (u32, usize);

impl Lives {
    /// The life that a node lives at a time.
    pub fn at(&self, node: u32, at: u64) -> Life {
        (node, self.of.get(&node).map_or(0, |times| times.partition_point(|time| *time <= at)))
    }
}
