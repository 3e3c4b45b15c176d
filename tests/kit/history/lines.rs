//! A history as JSON lines.
//!
//! ```text
//! {"t":1200,"ev":"invoke","op":7,"proc":"c1","node":"n2","level":"local","type":"set","f":"add","arg":["m4"],"key":"set/0.0"}
//! {"t":1900,"ev":"ok","op":7,"proc":"c1",…,"ret":{"wrote":{"changed":1}},"context":"9c3f…"}
//! ```
//!
//! | field | |
//! |---|---|
//! | `t` | microseconds since the beginning |
//! | `ev` | `invoke`; `ok`; `fail`, surely not applied; `info`, nobody knows |
//! | `op` | the number of the request; its end has the same |
//! | `proc` | the client, `c1` and on; or `nemesis`, which states facts: `replaced`, `destroyed`, `quiet` |
//! | `session` | left out: there are none yet |
//! | `node`, `level` | who was asked, and for what consistency: `local` |
//! | `f`, `arg` | what was asked |
//! | `type`, `key`, `path` | of what; a path leads to a field of a map |
//! | `ret` | what was answered |
//! | `context` | what the request carried; with `ok`, what its answer gave |
//! | `code` | why it was not answered, or how it was refused |
//!
//! An end repeats what its beginning says, so that each line can be read by itself.

use super::{Asked, End, Fact, History, Kind, Level, Op, Ret};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{self, BufRead, Write};

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ev {
    /// It is asked.
    Invoke,
    /// It was answered.
    Ok,
    /// It was surely not applied.
    Fail,
    /// Nobody knows; or a fact.
    Info,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    t: u64,
    ev: Ev,
    op: u64,
    proc: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(flatten)]
    what: What,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ret: Option<Ret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

/// `f` and `arg`: a client's, or a fact's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum What {
    Fact(FactName),
    Asked(Asked),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "lowercase")]
enum FactName {
    Replaced,
    Destroyed,
    Quiet,
}

const NEMESIS: &str = "nemesis";

impl Event {
    fn begin(op: &Op) -> Event {
        Event {
            t: op.began,
            ev: Ev::Invoke,
            op: op.op,
            proc: format!("c{}", op.client),
            session: op.session.clone(),
            node: Some(format!("n{}", op.node)),
            level: Some(op.level),
            kind: op.kind,
            what: What::Asked(op.asked.clone()),
            key: op.key.clone(),
            path: op.path.clone(),
            ret: None,
            context: op.context.clone(),
            code: None,
        }
    }

    fn end(op: &Op) -> Option<Event> {
        let (at, end) = op.ended.as_ref()?;
        let begin = Event { t: *at, context: None, ..Event::begin(op) };
        Some(match end.clone() {
            End::Ok { ret, context } => Event { ev: Ev::Ok, ret: Some(ret), context, ..begin },
            End::Fail { code } => Event { ev: Ev::Fail, code: Some(code), ..begin },
            End::Info { code } => Event { ev: Ev::Info, code: Some(code), ..begin },
        })
    }

    fn fact(at: u64, fact: &Fact) -> Event {
        let (name, node, op) = match fact {
            Fact::Replaced { node } => (FactName::Replaced, Some(format!("n{node}")), 0),
            Fact::Destroyed { op } => (FactName::Destroyed, None, *op),
            Fact::Quiet => (FactName::Quiet, None, 0),
        };
        Event {
            t: at,
            ev: Ev::Info,
            op,
            proc: NEMESIS.into(),
            session: None,
            node,
            level: None,
            kind: None,
            what: What::Fact(name),
            key: String::new(),
            path: None,
            ret: None,
            context: None,
            code: None,
        }
    }

    /// The number in `n3`, or in `c3`.
    fn number(name: &str, letter: char) -> Result<u32, String> {
        let number = name.strip_prefix(letter).and_then(|number| number.parse().ok());
        number.ok_or_else(|| format!("{name:?} is no {letter}1, {letter}2, …"))
    }

    fn node(&self) -> Result<u32, String> {
        Event::number(self.node.as_deref().unwrap_or_default(), 'n')
    }

    fn to_op(&self, asked: Asked) -> Result<Op, String> {
        Ok(Op {
            op: self.op,
            client: Event::number(&self.proc, 'c')?,
            session: self.session.clone(),
            node: self.node()?,
            level: self.level.ok_or("a request without a level")?,
            key: self.key.clone(),
            path: self.path.clone(),
            kind: self.kind,
            asked,
            context: self.context.clone(),
            began: self.t,
            ended: None,
        })
    }
}

impl History {
    /// Writes it, in the order of time.
    ///
    /// # Errors
    /// Those of what it is written to.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let begins = self.ops.iter().map(|op| (op.began, 1, Event::begin as fn(&Op) -> Event, op));
        let ends = self.ops.iter().filter_map(|op| {
            let end = |op: &Op| Event::end(op).expect("it has ended");
            op.ended.as_ref().map(|(at, _)| (*at, 2, end as fn(&Op) -> Event, op))
        });
        let mut all: Vec<_> = begins.chain(ends).collect();
        all.sort_by_key(|(at, rank, _, op)| (*at, *rank, op.op));
        let mut facts = self.facts.iter().peekable();
        let mut put = |event: &Event| -> io::Result<()> {
            serde_json::to_writer(&mut *out, event)?;
            out.write_all(b"\n")
        };
        for (at, _, event, op) in all {
            while let Some((fact_at, fact)) = facts.next_if(|(fact_at, _)| *fact_at <= at) {
                put(&Event::fact(*fact_at, fact))?;
            }
            put(&event(op))?;
        }
        facts.try_for_each(|(at, fact)| put(&Event::fact(*at, fact)))
    }

    /// Reads one back.
    ///
    /// # Errors
    /// What is wrong in which line: it is none of this format, or ends what did not begin, or ends it once more.
    pub fn read(lines: impl BufRead) -> Result<History, String> {
        let (mut history, mut open) = (History::default(), HashMap::new());
        for (number, line) in lines.lines().enumerate() {
            let line = line.map_err(|error| error.to_string())?;
            history.take(&line, &mut open).map_err(|what| format!("line {}: {what}", number + 1))?;
        }
        Ok(history)
    }

    fn take(&mut self, line: &str, open: &mut HashMap<u64, usize>) -> Result<(), String> {
        let event: Event = serde_json::from_str(line).map_err(|error| error.to_string())?;
        match (&event.what, event.ev) {
            (What::Fact(name), Ev::Info) if event.proc == NEMESIS => {
                let fact = match name {
                    FactName::Replaced => Fact::Replaced { node: event.node()? },
                    FactName::Destroyed => Fact::Destroyed { op: event.op },
                    FactName::Quiet => Fact::Quiet,
                };
                self.facts.push((event.t, fact));
            }
            (What::Fact(_), _) => return Err("a fact is stated by nemesis, as info".into()),
            (What::Asked(asked), Ev::Invoke) => {
                if open.insert(event.op, self.ops.len()).is_some() {
                    return Err(format!("request {} begins twice", event.op));
                }
                self.ops.push(event.to_op(asked.clone())?);
            }
            (What::Asked(_), ev) => {
                let op = open.get(&event.op).map(|at| &mut self.ops[*at]);
                let op = op.ok_or_else(|| format!("request {} ends, and did not begin", event.op))?;
                if op.ended.is_some() {
                    return Err(format!("request {} ends twice", event.op));
                }
                let code = event.code.clone().unwrap_or_default();
                let end = match ev {
                    Ev::Ok => {
                        End::Ok { ret: event.ret.ok_or("an answer without ret")?, context: event.context }
                    }
                    Ev::Fail => End::Fail { code },
                    _ => End::Info { code },
                };
                op.ended = Some((event.t, end));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Listed, Listing, Seen};
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn op(number: u64, kind: Option<Kind>, asked: Asked, end: End) -> Op {
        Op {
            op: number,
            client: 2,
            session: None,
            node: 3,
            level: Level::Local,
            key: if kind.is_some() { "a key".into() } else { String::new() },
            path: (kind == Some(Kind::Set)).then(|| "n/s".into()),
            kind,
            asked,
            context: number.is_multiple_of(2).then(|| "token".into()),
            began: number * 10,
            ended: Some((number * 10 + 15, end)),
        }
    }

    fn ok(ret: Ret) -> End {
        End::Ok { ret, context: Some("given".into()) }
    }

    fn example() -> History {
        let names: BTreeSet<String> = ["m1", "m2"].map(String::from).into();
        let wrote = |changed, now| ok(Ret::Wrote { changed, now });
        let fields =
            BTreeMap::from([("n/s".into(), Seen::Members(names.clone())), ("f".into(), Seen::Flag(true))]);
        let page = Ret::Page {
            entries: vec![Listed::Key("a".into()), Listed::Prefix("b/".into())],
            next: Some("b0\u{0}".into()),
        };
        let list =
            Listing { prefix: "a".into(), delimiter: Some("/".into()), limit: 3, ..Listing::default() };
        let number = Seen::Number(i128::from(i64::MAX) * 2);
        let ops = vec![
            op(1, Some(Kind::Register), Asked::Put("v1".into()), wrote(None, None)),
            op(2, Some(Kind::Set), Asked::Add(names.clone()), wrote(Some(2), None)),
            op(3, Some(Kind::Set), Asked::Remove(names.clone()), End::Info { code: "timeout".into() }),
            op(4, Some(Kind::Counter), Asked::Increment(-5), wrote(None, Some(number))),
            op(5, Some(Kind::Map), Asked::Read, ok(Ret::Read(Seen::Fields(fields)))),
            op(6, Some(Kind::Flag), Asked::Enable, End::Fail { code: "quarantined".into() }),
            op(7, Some(Kind::Max), Asked::Observe(3), wrote(None, Some(Seen::Number(4)))),
            op(8, Some(Kind::Multi), Asked::Read, ok(Ret::Read(Seen::Values(names)))),
            op(9, Some(Kind::Flag), Asked::TakeAll, wrote(None, None)),
            op(10, None, Asked::List(list), ok(page)),
        ];
        let facts =
            vec![(5, Fact::Replaced { node: 1 }), (60, Fact::Destroyed { op: 2 }), (500, Fact::Quiet)];
        History { ops, facts }
    }

    fn written(history: &History) -> String {
        let mut bytes = Vec::new();
        history.write(&mut bytes).expect("memory takes it");
        String::from_utf8(bytes).expect("JSON is UTF-8")
    }

    #[test]
    fn a_history_is_read_back_as_it_was_written() {
        let history = example();
        let text = written(&history);
        assert_eq!(History::read(text.as_bytes()), Ok(history), "{text}");
        let times: Vec<u64> =
            text.lines().map(|line| serde_json::from_str::<Event>(line).expect("a line").t).collect();
        assert!(times.is_sorted() && times.len() == 23, "{times:?}");
        let second = text.lines().nth(1).expect("a beginning");
        let expected = r#"{"t":10,"ev":"invoke","op":1,"proc":"c2","node":"n3","level":"local","type":"register","f":"put","arg":"v1","key":"a key"}"#;
        assert_eq!(second, expected);
    }

    #[test]
    fn a_line_that_makes_no_sense_is_noticed() {
        let text = written(&example());
        let lines: Vec<&str> = text.lines().collect();
        let place = |event: &str| lines.iter().position(|line| line.contains(event)).expect("there is one");
        let (begin, end) = (place(r#""ev":"invoke","op":1,"#), place(r#""ev":"ok","op":1,"#));
        let told = |change: &dyn Fn(&mut Vec<&str>)| {
            let mut lines = lines.clone();
            change(&mut lines);
            History::read(lines.join("\n").as_bytes()).expect_err("it makes no sense")
        };
        let says = |change: &dyn Fn(&mut Vec<&str>), expected: &str| {
            let what = told(change);
            assert!(what.contains(expected), "{what}");
        };
        says(&|lines| _ = lines.remove(begin), "request 1 ends, and did not begin");
        says(&|lines| lines.push(lines[end]), "request 1 ends twice");
        says(&|lines| lines.push(lines[begin]), "request 1 begins twice");
        says(&|lines| lines.push("{\"t\":1}"), "line 24: ");
        let fact = r#"{"t":5,"ev":"ok","op":0,"proc":"nemesis","f":"quiet"}"#;
        says(&|lines| lines[0] = fact, "line 1: a fact");
    }
}
