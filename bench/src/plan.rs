//! What is asked: from a workload's name to operations drawn from a seed, and their requests as bytes.
//!
//! - Each connection draws from a stream of its own of the same seed.
//! - Registers, counters and sets have keys of their own, for a key has one type.
//! - Workload d reads only what was inserted and answered, the newest mostly.

use crate::distribution::{Distribution, Shape, Zipfian};
use crate::options::RunOptions;
use meridian_api::header;
use meridian_api::kv;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Random text from which values are cut. A longer value takes so much more.
const POOL_BYTES: usize = 64 << 10;

/// What a run asks, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Workload {
    Get,
    Put,
    Increment,
    Add,
    A,
    B,
    C,
    D,
    F,
}

impl Workload {
    const ALL: [(&str, Workload); 9] = [
        ("get", Workload::Get),
        ("put", Workload::Put),
        ("increment", Workload::Increment),
        ("add", Workload::Add),
        ("a", Workload::A),
        ("b", Workload::B),
        ("c", Workload::C),
        ("d", Workload::D),
        ("f", Workload::F),
    ];

    /// The one of this name.
    pub(crate) fn parse(name: &str) -> Result<Workload, String> {
        if name == "e" {
            return Err("workload e scans ranges of keys, and Meridian has no listing yet".into());
        }
        let found = Workload::ALL.iter().find(|(known, _)| *known == name);
        let known = Workload::ALL.map(|(name, _)| name).join(", ");
        found.map(|(_, workload)| *workload).ok_or_else(|| format!("it must be one of {known}"))
    }

    /// Of a hundred operations, how many are which.
    fn mix(self) -> &'static [(Kind, u32)] {
        match self {
            Workload::Get | Workload::C => &[(Kind::Get, 100)],
            Workload::Put => &[(Kind::Put, 100)],
            Workload::Increment => &[(Kind::Increment, 100)],
            Workload::Add => &[(Kind::Add, 100)],
            Workload::A => &[(Kind::Get, 50), (Kind::Put, 50)],
            Workload::B => &[(Kind::Get, 95), (Kind::Put, 5)],
            Workload::D => &[(Kind::Get, 95), (Kind::Insert, 5)],
            Workload::F => &[(Kind::Get, 50), (Kind::ReadModifyWrite, 50)],
        }
    }

    /// The shape of its keys when nobody says another.
    fn shape(self) -> Shape {
        match self {
            Workload::A | Workload::B | Workload::C | Workload::F => Shape::Zipfian,
            _ => Shape::Uniform,
        }
    }
}

/// What is done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Put,
    Increment,
    Add,
    /// A put of a key that was not there.
    Insert,
    /// A get, and a put with the context that it gave: two requests, one operation.
    ReadModifyWrite,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Kind; 6] =
        [Kind::Get, Kind::Put, Kind::Increment, Kind::Add, Kind::Insert, Kind::ReadModifyWrite];

    /// Its name in tables.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Get => "get",
            Kind::Put => "put",
            Kind::Increment => "increment",
            Kind::Add => "add",
            Kind::Insert => "insert",
            Kind::ReadModifyWrite => "read_modify_write",
        }
    }
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) kind: Kind,
    pub(crate) key: u64,
}

/// How keys are chosen.
enum Choice {
    Any(Distribution),
    /// Of those that were inserted, by how many came after.
    Newest(Zipfian),
}

/// What all connections of a run ask.
pub(crate) struct Plan {
    workload: Workload,
    choice: Choice,
    inserted: Inserted,
    pool: Vec<u8>,
    bucket: String,
    value_bytes: usize,
    seed: u64,
}

impl Plan {
    /// What these options ask. Takes time in proportion to the keys where few of them are popular.
    pub(crate) fn new(options: &RunOptions) -> Arc<Plan> {
        let (keys, workload) = (options.keys, options.workload);
        let choice = match workload {
            Workload::D => Choice::Newest(Zipfian::new(keys)),
            _ => Choice::Any(Distribution::new(shape(options), keys)),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let letters = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-abcdefghijklmnopqrstuvwxyz.";
        let pool = (0..POOL_BYTES + options.value_bytes).map(|_| letters[rng.random_range(0..letters.len())]);
        Arc::new(Plan {
            workload,
            choice,
            inserted: Inserted::new(keys),
            pool: pool.collect(),
            bucket: options.bucket.clone(),
            value_bytes: options.value_bytes,
            seed: options.seed,
        })
    }

    /// Whether keys must be there before.
    pub(crate) fn reads_registers(&self) -> bool {
        self.workload.mix().iter().any(|(kind, _)| matches!(kind, Kind::Get | Kind::ReadModifyWrite))
    }

    /// What the connection of this number asks of a node.
    pub(crate) fn asker(self: &Arc<Plan>, number: usize, authority: &str) -> Asker {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // The first stream is the pool's.
        rng.set_stream(number as u64 + 1);
        let end = format!(" HTTP/1.1\r\nhost: {authority}\r\n");
        Asker {
            plan: self.clone(),
            rng,
            path: format!("{}{}/", kv::ROOT, self.bucket),
            end,
            request: Vec::new(),
        }
    }
}

/// The shape of the keys that holds for these options.
pub(crate) fn shape(options: &RunOptions) -> Shape {
    options.distribution.unwrap_or(options.workload.shape())
}

/// What one connection asks.
pub(crate) struct Asker {
    plan: Arc<Plan>,
    rng: ChaCha8Rng,
    path: String,
    /// The end of a request's first line, and the lines that all have.
    end: String,
    request: Vec<u8>,
}

impl Asker {
    /// Draws what to do next.
    pub(crate) fn draw(&mut self) -> Operation {
        let mut left = self.rng.random_range(0..100_u32);
        let mix = self.plan.workload.mix().iter();
        let mut kinds = mix.skip_while(|(_, percent)| {
            let passes = left >= *percent;
            left -= if passes { *percent } else { 0 };
            passes
        });
        let kind = kinds.next().expect("a mix is a hundred percent").0;
        let key = match (&self.plan.choice, kind) {
            (_, Kind::Insert) => self.plan.inserted.begin(),
            (Choice::Any(distribution), _) => distribution.draw(&mut self.rng),
            (Choice::Newest(zipfian), _) => self.plan.inserted.answered() - 1 - zipfian.rank(&mut self.rng),
        };
        Operation { kind, key }
    }

    /// Notes that an operation is over. What was inserted may be read from now on.
    pub(crate) fn done(&self, operation: Operation) {
        if operation.kind == Kind::Insert {
            self.plan.inserted.end(operation.key);
        }
    }

    /// The request that an operation begins with.
    pub(crate) fn request(&mut self, operation: Operation) -> &[u8] {
        match operation.kind {
            Kind::Get | Kind::ReadModifyWrite => self.get(operation.key),
            Kind::Put | Kind::Insert => self.put(operation.key, None),
            Kind::Increment => self.increment(operation.key),
            Kind::Add => self.add(operation.key),
        }
    }

    /// Reads a register.
    pub(crate) fn get(&mut self, key: u64) -> &[u8] {
        self.begin("GET", 'r', key);
        self.body("", &[])
    }

    /// Writes a register, over what the context has seen or over all.
    pub(crate) fn put(&mut self, key: u64, context: Option<&[u8]>) -> &[u8] {
        self.begin("PUT", 'r', key);
        if let Some(context) = context {
            for part in [header::CONTEXT.as_bytes(), b": ", context, b"\r\n"] {
                self.request.extend_from_slice(part);
            }
        }
        let from = self.rng.random_range(0..POOL_BYTES);
        let plan = self.plan.clone();
        self.body("application/octet-stream", &[&plan.pool[from..from + plan.value_bytes]])
    }

    fn increment(&mut self, key: u64) -> &[u8] {
        self.begin("POST", 'c', key);
        self.body("application/json", &[br#"{"op":"increment","by":1}"#])
    }

    /// Adds a member that is new, but for rare chance.
    fn add(&mut self, key: u64) -> &[u8] {
        self.begin("POST", 's', key);
        let (number, from) = (self.rng.random::<u64>(), self.rng.random_range(0..POOL_BYTES));
        let number = format!("{number:016x}");
        let plan = self.plan.clone();
        let rest = &plan.pool[from..from + plan.value_bytes - number.len()];
        self.body("application/json", &[br#"{"op":"add","members":[""#, number.as_bytes(), rest, br#""]}"#])
    }

    fn begin(&mut self, verb: &str, letter: char, key: u64) {
        let Asker { path, end, request, .. } = self;
        request.clear();
        write!(request, "{verb} {path}{letter}{key:010}{end}").expect("memory takes what is written");
    }

    fn body(&mut self, content_type: &str, parts: &[&[u8]]) -> &[u8] {
        let request = &mut self.request;
        if !content_type.is_empty() {
            let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
            write!(request, "content-type: {content_type}\r\ncontent-length: {bytes}\r\n")
                .expect("memory takes what is written");
        }
        request.extend_from_slice(b"\r\n");
        parts.iter().for_each(|part| request.extend_from_slice(part));
        request
    }
}

/// Which keys are there: those below a number, which grows as inserts are answered.
struct Inserted {
    begun: AtomicU64,
    answered: AtomicU64,
    /// What was answered while an insert before it was not.
    early: Mutex<BTreeSet<u64>>,
}

impl Inserted {
    fn new(keys: u64) -> Self {
        Inserted { begun: keys.into(), answered: keys.into(), early: Mutex::default() }
    }

    fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::Relaxed)
    }

    fn end(&self, key: u64) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        early.insert(key);
        let mut answered = self.answered();
        while early.remove(&answered) {
            answered += 1;
        }
        self.answered.store(answered, Ordering::Release);
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Acquire)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::options::{Cli, Command};
    use clap::Parser;

    /// The options that these words give.
    pub(crate) fn options(words: &[&str]) -> RunOptions {
        let cli = Cli::try_parse_from(["meridian-bench", "run"].iter().chain(words)).unwrap();
        let Command::Run(options) = cli.command else { panic!("run is what was asked") };
        *options
    }

    fn asker(words: &[&str], number: usize) -> Asker {
        Plan::new(&options(words)).asker(number, "127.0.0.1:7480")
    }

    #[test]
    fn a_mix_is_a_hundred_percent_and_is_drawn_as_it_says() {
        for (name, workload) in Workload::ALL {
            let mix = workload.mix();
            assert_eq!(mix.iter().map(|(_, percent)| percent).sum::<u32>(), 100, "{name}");
            let mut asker = asker(&["--workload", name, "--keys", "1000"], 0);
            let mut counts = [0_u32; Kind::ALL.len()];
            (0..20_000).for_each(|_| counts[asker.draw().kind as usize] += 1);
            for kind in Kind::ALL {
                let due =
                    mix.iter().find(|(known, _)| *known == kind).map_or(0, |(_, percent)| percent * 200);
                let off = counts[kind as usize].abs_diff(due);
                assert!(off <= 300 && (due > 0 || off == 0), "{name}: {kind:?} {counts:?}");
            }
        }
    }

    #[test]
    fn kinds_stand_at_their_numbers() {
        assert!(Kind::ALL.iter().enumerate().all(|(place, kind)| *kind as usize == place));
    }

    #[test]
    fn a_seed_asks_the_same_again_and_each_connection_something_else() {
        let asked = |seed: &str, number: usize| -> Vec<Vec<u8>> {
            let mut asker = asker(&["--workload", "a", "--seed", seed], number);
            let draw = |_| {
                let operation = asker.draw();
                asker.request(operation).to_vec()
            };
            (0..50).map(draw).collect()
        };
        assert_eq!(asked("1", 0), asked("1", 0));
        assert_ne!(asked("1", 0), asked("2", 0));
        assert_ne!(asked("1", 0), asked("1", 1));
    }

    #[test]
    fn requests_are_what_the_api_asks_for() {
        let text = |asker: &mut Asker, kind| {
            String::from_utf8(asker.request(Operation { kind, key: 7 }).to_vec()).unwrap()
        };
        let mut asker = asker(&["--value-bytes", "20", "--bucket", "b"], 0);
        let get = "GET /v1/kv/b/r0000000007 HTTP/1.1\r\nhost: 127.0.0.1:7480\r\n\r\n";
        assert_eq!(text(&mut asker, Kind::Get), get);
        assert_eq!(text(&mut asker, Kind::ReadModifyWrite), get);
        let put = text(&mut asker, Kind::Put);
        assert!(put.starts_with("PUT /v1/kv/b/r0000000007 HTTP/1.1\r\n"), "{put}");
        assert!(
            put.contains("\r\ncontent-length: 20\r\n") && put.split("\r\n\r\n").nth(1).unwrap().len() == 20
        );
        assert_ne!(put, text(&mut asker, Kind::Put), "another value");
        let add = text(&mut asker, Kind::Add);
        let (head, body) = add.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("POST /v1/kv/b/s0000000007 ") && head.ends_with(&format!(": {}", body.len()))
        );
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((body["op"].as_str(), body["members"][0].as_str().unwrap().len()), (Some("add"), 20));
        let increment = text(&mut asker, Kind::Increment);
        assert!(increment.starts_with("POST /v1/kv/b/c0000000007 ") && increment.ends_with(r#""by":1}"#));
        let over = String::from_utf8(asker.put(7, Some(b"ctx")).to_vec()).unwrap();
        assert!(over.contains("\r\nmeridian-context: ctx\r\n"), "{over}");
    }

    #[test]
    fn what_was_inserted_is_read_when_it_and_all_before_it_is_answered() {
        let inserted = Inserted::new(10);
        assert_eq!([inserted.begin(), inserted.begin(), inserted.begin()], [10, 11, 12]);
        inserted.end(11);
        assert_eq!(inserted.answered(), 10);
        inserted.end(10);
        assert_eq!(inserted.answered(), 12);
        inserted.end(12);
        assert_eq!(inserted.answered(), 13);
    }

    #[test]
    fn workload_d_reads_the_newest_mostly_and_only_what_is_there() {
        let mut asker = asker(&["--workload", "d", "--keys", "1000"], 0);
        let (mut newest, mut reads) = (0, 0);
        for _ in 0..20_000 {
            let operation = asker.draw();
            if operation.kind == Kind::Get {
                let there = asker.plan.inserted.answered();
                assert!(operation.key < there, "{operation:?} of {there}");
                (newest, reads) = (newest + u32::from(operation.key + 10 >= there), reads + 1);
            }
            asker.done(operation);
        }
        assert!(asker.plan.inserted.answered() > 1500);
        assert!(newest * 4 > reads, "{newest} of {reads} are of the newest ten");
    }
}
