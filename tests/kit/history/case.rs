//! A history, taken apart: for each key, and for each field of a map, what was done to it and what is read of it at the end.

use super::{Asked, End, History, Kind, Life, Lives, Op, Ret, Seen};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::rc::Rc;

/// A key, or a field of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject<'a> {
    /// The key.
    pub key: &'a str,
    /// The field within it, where it is a map.
    pub path: Option<&'a str>,
    /// Its type.
    pub kind: Kind,
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)?;
        self.path.iter().try_for_each(|path| write!(f, "/{path}"))
    }
}

/// What a write takes away.
#[derive(Clone, Debug)]
pub enum Over<'a> {
    /// All that the node has.
    All,
    /// What its context covers, of what the node has.
    Seen(Rc<Covered<'a>>),
}

/// Which values of a register, or of a multi-value register, a context covers.
#[derive(Debug, Default)]
pub struct Covered<'a> {
    /// These surely.
    pub surely: BTreeSet<&'a str>,
    /// At most these; `None` where that cannot be known.
    pub at_most: Option<BTreeSet<&'a str>>,
}

impl Over<'_> {
    /// Whether it may take away a value.
    pub fn may_take(&self, value: &str) -> bool {
        match self {
            Over::All => true,
            Over::Seen(covered) => covered.at_most.as_ref().is_none_or(|values| values.contains(value)),
        }
    }

    /// Whether it surely takes away a value that the node has.
    pub fn surely_takes(&self, value: &str) -> bool {
        match self {
            Over::All => true,
            Over::Seen(covered) => covered.surely.contains(value),
        }
    }
}

/// How a request ended, of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended<'a> {
    /// It was applied.
    Applied {
        /// How much it changed, where the answer says so.
        changed: Option<u64>,
        /// What is there now, where the answer says so.
        now: Option<&'a Seen>,
    },
    /// It was refused, and nothing was applied.
    Refused,
    /// It read this.
    Read(&'a Seen),
}

/// One request, of one subject.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its number.
    pub op: u64,
    /// What was asked.
    pub asked: &'a Asked,
    /// What a write takes away.
    pub over: Over<'a>,
    /// Which node was asked, in which of its lives.
    pub life: Life,
    /// When it was asked, in microseconds.
    pub began: u64,
    /// When it was answered and how; `None` where nobody knows what became of it.
    pub ended: Option<(u64, Ended<'a>)>,
    /// The only disk that had it was destroyed.
    pub excused: bool,
}

impl<'a> Entry<'a> {
    /// Whether it was acknowledged, and what it made is to be kept.
    pub fn must_stay(&self) -> bool {
        self.was_applied() && !self.excused
    }

    /// Whether it was acknowledged.
    pub fn was_applied(&self) -> bool {
        matches!(self.ended, Some((_, Ended::Applied { .. })))
    }

    /// Whether it may have been applied.
    pub fn may_be_applied(&self) -> bool {
        !matches!(self.ended, Some((_, Ended::Refused)))
    }

    /// The last time at which it may have been applied.
    pub fn until(&self) -> u64 {
        self.ended.as_ref().map_or(u64::MAX, |(at, _)| *at)
    }

    /// What it has seen of the subject, and when that was answered.
    pub fn seen(&self) -> Option<(u64, &'a Seen)> {
        match &self.ended {
            Some((at, Ended::Read(seen) | Ended::Applied { now: Some(seen), .. })) => Some((*at, seen)),
            _ => None,
        }
    }

    /// How many things it has changed, where its answer says so.
    pub fn changed(&self) -> Option<u64> {
        match &self.ended {
            Some((_, Ended::Applied { changed, .. })) => *changed,
            _ => None,
        }
    }
}

/// Requests that may take something away, by when they were asked.
#[derive(Clone, Debug, Default)]
pub struct Takers {
    /// When each was asked, and until when it or one before may have been applied.
    spans: Vec<(u64, u64)>,
}

impl Takers {
    /// Adds one; they come in the order in which they were asked.
    pub fn push(&mut self, entry: &Entry<'_>) {
        let latest = self.spans.last().map_or(0, |(_, until)| *until);
        self.spans.push((entry.began, latest.max(entry.until())));
    }

    /// Those among entries for which it holds.
    pub fn of<'e, 'a: 'e>(entries: &'e [Entry<'a>], takes: impl Fn(&Entry<'a>) -> bool) -> Takers {
        let mut takers = Takers::default();
        entries
            .iter()
            .filter(|entry| entry.may_be_applied() && takes(entry))
            .for_each(|entry| takers.push(entry));
        takers
    }

    /// Whether one that was asked at `before` at the latest may have been applied after something that was asked at `since`, and so
    /// have seen it.
    pub fn may_have_seen(&self, since: u64, before: u64) -> bool {
        let asked = self.spans.partition_point(|(began, _)| *began <= before);
        self.spans[..asked].last().is_some_and(|(_, until)| *until >= since)
    }
}

/// All of one subject.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// Which.
    pub subject: Subject<'a>,
    /// The requests, by when they were asked. Reads that were not answered are left out.
    pub entries: Vec<Entry<'a>>,
    /// What each node reads when all had time to agree.
    pub finals: Vec<(u32, &'a Seen)>,
}

impl<'a> Case<'a> {
    /// What is read at the end; `None` if nobody could read it, or there was no end.
    pub fn last(&self) -> Option<&'a Seen> {
        self.finals.first().map(|(_, seen)| *seen)
    }

    /// What may take away all.
    pub fn takes_all(&self) -> Takers {
        Takers::of(&self.entries, |entry| *entry.asked == Asked::TakeAll)
    }
}

impl History {
    /// The history of each subject.
    pub fn cases(&self) -> Vec<Case<'_>> {
        let overs = overs(&self.ops);
        let (lives, destroyed, quiet_at) = (self.lives(), self.destroyed(), self.quiet_at());
        let fields = fields(&self.ops);
        let mut cases: BTreeMap<Subject<'_>, Case<'_>> = BTreeMap::new();
        for (op, over) in self.ops.iter().zip(overs) {
            let is_final = quiet_at.is_some_and(|at| op.began >= at);
            for subject in subjects(op, &fields) {
                let ended = ended(op, &subject);
                let read = match &ended {
                    Some((_, Ended::Read(seen))) => Some(*seen),
                    _ => None,
                };
                if op.asked == Asked::Read && read.is_none() {
                    continue;
                }
                let new = || Case { subject: subject.clone(), entries: Vec::new(), finals: Vec::new() };
                let case = cases.entry(subject.clone()).or_insert_with(new);
                case.finals.extend(read.filter(|_| is_final).map(|seen| (op.node, seen)));
                case.entries.push(Entry {
                    op: op.op,
                    asked: &op.asked,
                    over: over.clone(),
                    life: life(&lives, op),
                    began: op.began,
                    ended,
                    excused: destroyed.contains(&op.op),
                });
            }
        }
        cases.into_values().collect()
    }
}

/// The life of the node that was asked. A request over whose course its disk was replaced says nothing of what it knows: that is a life
/// of its own.
pub fn life(lives: &Lives, op: &Op) -> Life {
    let begins = lives.at(op.node, op.began);
    let ends = op.ended.as_ref().map_or(begins, |(at, _)| lives.at(op.node, *at));
    if begins == ends { begins } else { (op.node, usize::MAX - op.op as usize) }
}

/// The fields of each map.
fn fields(ops: &[Op]) -> BTreeMap<&str, BTreeSet<(&str, Kind)>> {
    let mut fields: BTreeMap<&str, BTreeSet<(&str, Kind)>> = BTreeMap::new();
    for op in ops {
        if let (Some(path), Some(kind)) = (&op.path, op.kind.filter(|kind| *kind != Kind::Map)) {
            fields.entry(&op.key).or_default().insert((path, kind));
        }
    }
    fields
}

/// What a request is about: of a map all its fields, or all below a path.
fn subjects<'a>(op: &'a Op, fields: &BTreeMap<&'a str, BTreeSet<(&'a str, Kind)>>) -> Vec<Subject<'a>> {
    let key = op.key.as_str();
    match op.kind {
        None => Vec::new(),
        Some(Kind::Map) => {
            let is_below = |path: &str| match &op.path {
                Some(above) => path
                    .strip_prefix(above.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
                None => true,
            };
            let known = fields.get(key).into_iter().flatten().filter(|(path, _)| is_below(path));
            known.map(|(path, kind)| Subject { key, path: Some(path), kind: *kind }).collect()
        }
        Some(kind) => vec![Subject { key, path: op.path.as_deref(), kind }],
    }
}

fn ended<'a>(op: &'a Op, subject: &Subject<'a>) -> Option<(u64, Ended<'a>)> {
    let (at, end) = op.ended.as_ref()?;
    let of_field = |seen: &'a Seen| match (seen, subject.path, op.kind) {
        (Seen::Fields(fields), Some(path), Some(Kind::Map)) => fields.get(path).unwrap_or(&Seen::Nothing),
        (seen, ..) => seen,
    };
    let ended = match end {
        End::Ok { ret: Ret::Wrote { changed, now }, .. } => {
            Ended::Applied { changed: *changed, now: now.as_ref() }
        }
        End::Ok { ret: Ret::Read(seen), .. } => Ended::Read(of_field(seen)),
        End::Fail { .. } => Ended::Refused,
        End::Ok { ret: Ret::Page { .. }, .. } | End::Info { .. } => return None,
    };
    Some((*at, ended))
}

/// When things begin and end, in order: the time, whether it is a beginning, and the place of the thing. What ends when another begins
/// comes first.
pub fn in_order(spans: impl Iterator<Item = (u64, Option<u64>)>) -> Vec<(u64, bool, usize)> {
    let mut times = Vec::new();
    for (place, (began, ended)) in spans.enumerate() {
        times.push((began, 1, place));
        times.extend(ended.map(|ended| (ended, if ended == began { 2 } else { 0 }, place)));
    }
    times.sort_unstable();
    times.into_iter().map(|(at, rank, place)| (at, rank == 1, place)).collect()
}

/// What each request takes away: all that its node has, or what the answer had seen whose context it carries.
fn overs(ops: &[Op]) -> Vec<Over<'_>> {
    let mut overs = vec![Over::All; ops.len()];
    let mut given: HashMap<(&str, &str), Rc<Covered<'_>>> = HashMap::new();
    let times = in_order(ops.iter().map(|op| (op.began, op.ended.as_ref().map(|(ended, _)| *ended))));
    for (_, begins, at) in times {
        let op = &ops[at];
        match (begins, &op.context, &op.ended) {
            (true, Some(context), _) => {
                let covered = given.get(&(op.key.as_str(), context.as_str()));
                overs[at] = Over::Seen(covered.cloned().unwrap_or_default());
            }
            (false, _, Some((_, End::Ok { ret, context: Some(context) }))) => {
                let covered = Rc::new(covered_after(op, ret, &overs[at]));
                let known = given.entry((&op.key, context)).or_insert_with(|| covered.clone());
                // Equal contexts cover the same: what is known of one is true of the other.
                if known.at_most.is_none() {
                    *known = covered;
                }
            }
            _ => {}
        }
    }
    overs
}

/// What the context of an answer covers. Of a read, what was read, and what that had taken the place of; of a write without a context,
/// all that the node had; of one with a context, that and the write.
fn covered_after<'a>(op: &'a Op, ret: &'a Ret, over: &Over<'a>) -> Covered<'a> {
    match (&op.asked, ret) {
        (_, Ret::Read(Seen::Values(values))) => {
            let values: BTreeSet<&str> = values.iter().map(String::as_str).collect();
            // A register has siblings that it does not show.
            let at_most = (op.kind == Some(Kind::Multi)).then(|| values.clone());
            Covered { surely: values, at_most }
        }
        (_, Ret::Read(Seen::Nothing)) if op.kind == Some(Kind::Multi) => {
            Covered { surely: BTreeSet::new(), at_most: Some(BTreeSet::new()) }
        }
        (Asked::Put(value), _) => {
            let own = BTreeSet::from([value.as_str()]);
            let before = match over {
                Over::Seen(covered) => covered.at_most.clone(),
                Over::All => None,
            };
            Covered { surely: own.clone(), at_most: before.map(|before| &before | &own) }
        }
        _ => Covered::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tests::{asks, history, names, read, wrote};

    #[test]
    fn a_context_covers_what_its_answer_had_seen() {
        let put = |value: &str| asks(Kind::Multi, Asked::Put(value.into())).ends(wrote());
        let values = |values: &[&str]| read(Seen::Values(names(values)));
        let ops = vec![
            put("v1").gives("a"),
            asks(Kind::Multi, Asked::Read).ends(values(&["v1"])).gives("b"),
            put("v2").carries("b").gives("c"),
            put("v3").carries("c"),
            put("v4").carries("a"),
            put("v5").carries("nobody's"),
        ];
        let history = history(ops);
        let cases = history.cases();
        let covers = |place: usize, value: &str| {
            let over = &cases[0].entries[place].over;
            (over.surely_takes(value), over.may_take(value))
        };
        assert_eq!(covers(0, "v9"), (true, true), "without a context it takes all");
        assert_eq!((covers(2, "v1"), covers(2, "v2")), ((true, true), (false, false)));
        assert_eq!(
            (covers(3, "v1"), covers(3, "v2")),
            ((false, true), (true, true)),
            "an answer's node may not have had v1"
        );
        assert_eq!((covers(4, "v1"), covers(4, "v0")), ((true, true), (false, true)), "all that a node had");
        assert_eq!(covers(5, "v1"), (false, true));
    }

    #[test]
    fn what_ends_when_another_begins_comes_first() {
        let times = in_order([(5, Some(7)), (7, Some(7)), (7, None), (1, Some(5))].into_iter());
        let order: Vec<(bool, usize)> = times.into_iter().map(|(_, begins, place)| (begins, place)).collect();
        assert_eq!(order, [(true, 3), (false, 3), (true, 0), (false, 0), (true, 1), (true, 2), (false, 1)]);
    }

    #[test]
    fn a_map_is_its_fields() {
        let mut ops = vec![
            asks(Kind::Set, Asked::Add(names(&["m1"]))).at_path("n/s").ends(wrote()),
            asks(Kind::Flag, Asked::Enable).at_path("f").ends(wrote()),
            asks(Kind::Map, Asked::TakeAll).at_path("n").ends(wrote()),
            asks(Kind::Map, Asked::TakeAll).ends(wrote()),
        ];
        let fields = BTreeMap::from([("f".to_string(), Seen::Flag(true))]);
        ops.push(asks(Kind::Map, Asked::Read).ends(read(Seen::Fields(fields))));
        let history = history(ops);
        let cases = history.cases();
        let told: Vec<(String, Vec<u64>, Vec<&Seen>)> = cases
            .iter()
            .map(|case| {
                let ops = case.entries.iter().map(|entry| entry.op).collect();
                let seen =
                    case.entries.iter().filter_map(|entry| entry.seen().map(|(_, seen)| seen)).collect();
                (case.subject.to_string(), ops, seen)
            })
            .collect();
        assert_eq!(
            told,
            [
                ("k/f".to_string(), vec![2, 4, 5], vec![&Seen::Flag(true)]),
                ("k/n/s".to_string(), vec![1, 3, 4, 5], vec![&Seen::Nothing])
            ]
        );
    }

    #[test]
    fn a_disk_that_is_replaced_begins_another_life() {
        let ops = [(); 3].map(|()| asks(Kind::Flag, Asked::Enable).ends(wrote()));
        let mut history = history(ops.into());
        history.facts = vec![(22, crate::history::Fact::Replaced { node: 1 })];
        let cases = history.cases();
        let lives: Vec<Life> = cases[0].entries.iter().map(|entry| entry.life).collect();
        assert_eq!((lives[0], lives[2]), ((1, 0), (1, 1)));
        assert!(lives[1] != lives[0] && lives[1] != lives[2], "it was replaced while that was asked");
    }

    #[test]
    fn who_may_have_seen_what() {
        let take = || asks(Kind::Flag, Asked::TakeAll);
        let mut history = history(vec![take().ends(wrote()), take().ends(wrote()), take()]);
        history.ops[2].began = 100;
        let takers = history.cases()[0].takes_all();
        // They were asked at 10, 20 and 100, and answered at 15, 25 and never.
        for (since, before, expected) in [
            (15, 10, true),
            (16, 10, false),
            (16, 20, true),
            (26, 99, false),
            (26, 100, true),
            (500, 100, true),
            (0, 9, false),
        ] {
            assert_eq!(takers.may_have_seen(since, before), expected, "{since} {before}");
        }
    }
}
