//! Scripts: cases of the protocol as transcripts that a stranger can read, and that are played on real nodes.
//!
//! A script is text. A line that begins at the margin is said to the nodes of a [`Lab`]; indented lines below it are what comes of it, and
//! must be exactly that. `#` begins a remark.
//!
//! ```text
//! # An add wins over a remove that has not seen it.
//! nodes 2
//! n1: add fruit apple
//!   added 1, removed 0
//! exchange
//! reads fruit
//!   n1 {apple}
//!   n2 {apple}
//! ```
//!
//! | said | what it does |
//! |---|---|
//! | `nodes 3 [log_bytes_max=0 …]` | so many nodes that have met |
//! | `n1: put KEY TEXT`, `increment KEY N`, `reset`, `add KEY MEMBER…`, `remove`, `clear`, `enable`, `disable`, `observe KEY N`, `delete KEY` | a client's write |
//! | `n1: field KEY PATH put TEXT` (or another operation; `delete` removes the subtree) | a write to a field of a map |
//! | … `seen=NAME`, `as=TYPE` at the end of a write | with the context that was kept under a name; of a type |
//! | `n1: keep NAME KEY` | keeps the context of a read under a name |
//! | `n1: read KEY [as=TYPE]`, `reads KEY` | what a node reads; what each reads |
//! | `carry n1 n2`, `lose n1 n2`, `double n1 n2` | what n1 has said to n2 arrives; is lost; will arrive twice |
//! | `next n1 n2` | the next thing that n1 has said to n2 arrives: what it is |
//! | `exchange`, `tick MS` | everything arrives until all is quiet; time passes and all nodes notice |
//! | `unsynced n1`, `crash n1 KEPT` | its disk syncs nothing any more; its power fails, and so many turns stay |
//! | `restart n1`, `wipe n1`, `clone n1 n2`, `reconnect n1 n2` | starts again; on an empty disk; n2 comes back with a copy of n1's disk |
//! | `full n1`, `room n1` | its disk has no room for what others send; has room again |
//! | `damage n1`, `refill n1` | a bit of its first member or slot flips; it is to fill a damaged replica again |
//! | `log n1` | how many deltas its log holds |
//! | `vectors` | how many deltas each has applied, and who has applied the same and holds the same |

use crate::lab::{Lab, SHARD, config, node_id};
use crate::writes::{add, clear, disable, enable, field, increment, observe, put, remove, reset};
use meridian_core::cell::Type;
use meridian_core::codec::Encode;
use meridian_core::context::Context;
use meridian_core::message::Message;
use meridian_core::node::{Config, Input, Operation, Reply};
use meridian_core::replica::write::{Write, WriteRequest};
use meridian_core::storage::Space;
use meridian_core::types::Written;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Plays a script: the same text, with what came of each line in the place of what was written below it.
///
/// # Errors
/// A line that is not understood, with its number.
pub fn play(script: &str) -> Result<String, String> {
    let (mut stage, mut transcript) = (Stage { lab: Lab::new(0), kept: BTreeMap::new() }, String::new());
    for (number, line) in script.lines().enumerate() {
        let is_answer = line.starts_with(' ') && !line.trim().is_empty();
        if is_answer {
            continue;
        }
        transcript += line;
        transcript.push('\n');
        let said = line.split('#').next().unwrap_or_default().trim();
        if !said.is_empty() {
            let answer = stage.hear(said).map_err(|why| format!("line {}: {said:?}: {why}", number + 1))?;
            answer.iter().for_each(|line| transcript.push_str(&format!("  {line}\n")));
        }
    }
    Ok(transcript)
}

/// The nodes, and the contexts that clients have kept.
struct Stage {
    lab: Lab,
    kept: BTreeMap<String, Context>,
}

/// What comes of a line.
type Answer = Result<Vec<String>, String>;

impl Stage {
    fn hear(&mut self, said: &str) -> Answer {
        if let Some((node, told)) = said.split_once(": ") {
            let at = self.node(node)?;
            return self.tell(at, &told.split_whitespace().collect::<Vec<_>>());
        }
        let words: Vec<&str> = said.split_whitespace().collect();
        let nothing = Ok(Vec::new());
        match words[..] {
            ["nodes", count, ..] => {
                let config = settings(&words[2..])?;
                self.lab = Lab::with(number(count)? as usize, config);
                (0..self.lab.members.len()).for_each(|at| self.introduce(at));
                nothing
            }
            ["exchange"] => {
                self.lab.exchange();
                nothing
            }
            ["tick", ms] => {
                self.lab.tick_all(number(ms)? as u64);
                nothing
            }
            ["reads", key] => (0..self.lab.members.len())
                .map(|at| Ok(format!("n{} {}", at + 1, self.lab.read(at, key, None))))
                .collect(),
            ["vectors"] => Ok(self.vectors()),
            [what, one] => {
                let at = self.node(one)?;
                self.alone(what, at)
            }
            ["crash", one, kept] => {
                let at = self.node(one)?;
                self.lab.crash(at, number(kept)? as usize);
                self.introduce(at);
                nothing
            }
            [what, one, other] => {
                let (one, other) = (self.node(one)?, self.node(other)?);
                self.between(what, one, other)
            }
            _ => Err("it is not understood".into()),
        }
    }

    /// A node learns who the members are.
    fn introduce(&mut self, at: usize) {
        let others = (0..self.lab.members.len()).filter(|other| *other != at).map(node_id).collect();
        self.lab.step(at, Input::Members(others));
    }

    fn alone(&mut self, what: &str, at: usize) -> Answer {
        match what {
            "unsynced" => self.lab.unsynced = Some(at),
            "restart" => {
                let origin = self.lab.fresh_origin();
                self.lab.restart(at, origin).map_err(|error| error.to_string())?;
                self.introduce(at);
            }
            "wipe" => {
                self.lab.wipe(at);
                self.introduce(at);
            }
            "full" | "room" => drop(self.lab.step(at, Input::Room(what == "room"))),
            "damage" => self.lab.damage_cell(at),
            "refill" => {
                let origin = self.lab.fresh_origin();
                self.lab.step(at, Input::Refill { shard: SHARD, origin });
            }
            "log" => return Ok(vec![format!("{} deltas", self.lab.rows(at, Space::Log).len())]),
            _ => return Err("it is not understood".into()),
        }
        Ok(Vec::new())
    }

    fn between(&mut self, what: &str, one: usize, other: usize) -> Answer {
        let of_one = |lab: &mut Lab| {
            let (these, rest): (Vec<_>, Vec<_>) =
                lab.take_messages(other).into_iter().partition(|(from, _)| *from == one);
            lab.put_messages(other, rest);
            these
        };
        match what {
            "carry" => self.lab.carry(one, other),
            "lose" => drop(of_one(&mut self.lab)),
            "double" => {
                let these = of_one(&mut self.lab);
                self.lab.put_messages(other, [these.clone(), these].concat());
            }
            "next" => {
                let mut these = of_one(&mut self.lab);
                let first = if these.is_empty() {
                    return Err("nothing is on its way".into());
                } else {
                    these.remove(0)
                };
                self.lab.put_messages(other, these);
                let message = Message::from_bytes(&first.1).map_err(|error| error.to_string())?;
                self.lab.deliver(other, vec![first]);
                let name = format!("{message:?}");
                return Ok(name.split(' ').next().map(String::from).into_iter().collect());
            }
            "reconnect" => self.lab.reconnect(one, other),
            "clone" => {
                self.lab.members[other].disk = self.lab.members[one].disk.clone();
                return self.alone("restart", other);
            }
            _ => return Err("it is not understood".into()),
        }
        Ok(Vec::new())
    }

    /// What a client says to a node.
    fn tell(&mut self, at: usize, words: &[&str]) -> Answer {
        let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let named = option("as").map(type_of).transpose()?;
        let context = match option("seen") {
            Some(name) => Some(self.kept.get(name).cloned().ok_or("no such context was kept")?),
            None => None,
        };
        let words: Vec<&str> = words
            .iter()
            .copied()
            .filter(|word| !word.starts_with("seen=") && !word.starts_with("as="))
            .collect();
        match words[..] {
            ["read", key] => Ok(vec![self.lab.read(at, key, named)]),
            ["keep", name, key] => {
                let context = self.lab.context(at, key);
                self.kept.insert(name.into(), context);
                Ok(Vec::new())
            }
            ["field", key, path, ..] => {
                let write = field(path, write_of(&words[3..])?);
                self.write(at, key, WriteRequest { named, context, ..WriteRequest::of(write) })
            }
            [what, key, ..] => {
                let write = write_of(&[&[what], &words[2..]].concat())?;
                self.write(at, key, WriteRequest { named, context, ..WriteRequest::of(write) })
            }
            _ => Err("it is not understood".into()),
        }
    }

    fn write(&mut self, at: usize, key: &str, request: WriteRequest) -> Answer {
        let is_silent = self.lab.unsynced == Some(at);
        if is_silent {
            let request = meridian_core::node::Request {
                bucket: crate::lab::bucket(),
                key: crate::lab::key(key),
                operation: Operation::Write(request),
            };
            self.lab.step(at, Input::Request { id: meridian_core::id::RequestId(1), request });
            return Ok(vec!["no answer".into()]);
        }
        Ok(match self.lab.ask(at, key, Operation::Write(request)) {
            Reply::Refused(refusal) => vec![format!("refused: {refusal}")],
            Reply::Written { written, .. } => said(written).into_iter().collect(),
            Reply::Read(_) => return Err("a write was answered like a read".into()),
        })
    }

    fn vectors(&self) -> Vec<String> {
        let nodes = 0..self.lab.members.len();
        let mut lines: Vec<String> = Vec::new();
        for at in nodes.clone() {
            let mut line =
                format!("n{} has applied {} deltas", at + 1, self.lab.replica(at).vector().deltas());
            let alike =
                nodes.clone().filter(|other| *other != at && self.lab.vector(*other) == self.lab.vector(at));
            for other in alike {
                let holds = if self.lab.content(other) == self.lab.content(at) {
                    "and holds"
                } else {
                    "but does not hold"
                };
                write!(line, ", as n{} {holds} the same", other + 1).expect("writing into a string");
            }
            lines.push(line);
        }
        lines
    }

    fn node(&self, name: &str) -> Result<usize, String> {
        let number: Option<usize> = name.strip_prefix('n').and_then(|number| number.parse().ok());
        number
            .filter(|number| (1..=self.lab.members.len()).contains(number))
            .map(|number| number - 1)
            .ok_or(format!("there is no node {name:?}"))
    }
}

fn write_of(words: &[&str]) -> Result<Write, String> {
    Ok(match words {
        ["put", text @ ..] => put(&text.join(" ")),
        ["increment", by] => increment(number(by)?),
        ["reset"] => reset(),
        ["add", members @ ..] => add(members),
        ["remove", members @ ..] => remove(members),
        ["clear"] => clear(),
        ["enable"] => enable(),
        ["disable"] => disable(),
        ["observe", value] => observe(number(value)?),
        ["delete"] => Write::Delete,
        _ => return Err("no such operation".into()),
    })
}

/// What an answer says beside that it was done.
fn said(written: Written) -> Option<String> {
    match written {
        Written::Done | Written::Put(_) => None,
        Written::Counter(sum) => Some(sum.to_string()),
        Written::Set(change) => Some(format!("added {}, removed {}", change.added, change.removed)),
        Written::Flag(enabled) => Some(if enabled { "on" } else { "off" }.into()),
        Written::Extremum(_, number) => Some(number.to_string()),
        Written::Map(fields) => Some(format!("changed {fields}")),
    }
}

fn settings(words: &[&str]) -> Result<Config, String> {
    let mut config = config();
    for word in words {
        let (name, value) = word.split_once('=').ok_or("a setting is NAME=NUMBER")?;
        let value = number(value)? as u64;
        match name {
            "log_bytes_max" => config.log_bytes_max = value,
            "log_keep_bytes" => config.log_keep_bytes = value,
            "repair_empty_min" => config.repair_empty_min = value,
            _ => return Err(format!("no such setting: {name}")),
        }
    }
    Ok(config)
}

fn type_of(name: &str) -> Result<Type, String> {
    Type::ALL.into_iter().find(|known| known.as_str() == name).ok_or(format!("no such type: {name}"))
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}
