//! The end: faults are off, all must agree within a stated time, and then the history is judged.

use super::World;
use super::clients::{Asks, Page, Question, code, request, seen};
use super::draw::{Lag, SECOND};
use super::losses::Cause;
use super::pages::Paged;
use crate::checker;
use crate::history::{Asked, End, Fact, Kind, Listing, Ret};
use meridian_core::codec::Encode;
use meridian_core::id::{OriginId, RequestId, ShardId};
use meridian_core::node::{Config, Input, Operation, Output, Reply};
use meridian_core::replica::read::ReadRequest;
use meridian_core::replica::{Replica, Standing};
use meridian_core::storage::Space;
use meridian_core::types::Refusal;
use std::collections::BTreeSet;

/// How long nobody writes before faults end: what is known to be lacking is pulled then, and what only a lost message told is not known.
const SILENCE_US: u64 = 8 * SECOND;
/// How often it is looked whether all agree.
const LOOK_US: u64 = SECOND / 10;
/// How long a check of all rows may keep a node busy.
const CHECK_US: u64 = 5 * SECOND;

impl World {
    /// Faults end, all machines run, clients are silent. All must agree in time, and nothing be wrong with what they say.
    pub(super) fn come_to_an_end(&mut self) -> Result<(), String> {
        self.figures.simulated_us = self.now_us;
        self.is_ending = true;
        // Nobody writes any more. What changed last is said, pulled and announced while a network that loses messages loses every other one.
        self.weather.loss = self.weather.loss.min(2);
        self.go_on_until(self.now_us + SILENCE_US)?;
        self.network.calm();
        self.empty_disks()?;
        for at in 0..self.seats.len() {
            (self.seats[at].slowness, self.seats[at].dies_at_work) = (1, false);
            self.start(at);
            (0..at).for_each(|other| self.look_soon(other, at));
        }
        // A pause has an end of its own.
        let paused_until_us = self.seats.iter().map(|seat| seat.paused_until_us).max().unwrap_or(0);
        self.go_on_until(paused_until_us)?;
        let lag = self.lag();
        let (mut began_us, mut patience_us) = (self.now_us, self.weather.patience_us(lag));
        // What is on its way from before may be all that is left of a disk that was replaced: until then nothing is the end.
        let carried_us = self.now_us + lag.backlog_us + self.weather.delay_us + self.weather.jitter_us;
        let mut is_checked = false;
        loop {
            let waited_us = self.now_us - began_us;
            if self.all_agree() && self.requests.is_empty() && self.now_us >= carried_us {
                if is_checked || self.options.only_history || !self.check_damaged() {
                    break;
                }
                // A bit was flipped that nobody has met: that is a fault which comes now.
                (is_checked, began_us) = (true, self.now_us);
            }
            if waited_us > patience_us {
                if self.options.only_history {
                    break;
                }
                return Err(format!(
                    "all faults are off for {} s, and nodes do not agree: {}",
                    waited_us / SECOND,
                    self.standing()
                ));
            }
            // An empty disk is a fault like others: the time begins anew.
            if waited_us > patience_us / 2 && self.replace_hopeless_disks()? {
                (began_us, patience_us) = (self.now_us, self.weather.patience_us(self.lag()));
            }
            self.go_on_until(self.now_us + LOOK_US)?;
        }
        let agreed_us = self.now_us - began_us;
        if is_checked && self.seats.iter().any(|seat| seat.rot.is_in_cells(&seat.disk)) {
            return Err("a damaged row was to be found, and is still there".into());
        }
        self.figures.patience_percent_max = agreed_us * 100 / patience_us;
        match self.weather.is_tiny {
            true => self.figures.agreed_tiny_us_max = agreed_us,
            false => self.figures.agreed_us_max = agreed_us,
        }
        self.trace(|_| format!("all agree after {} s", agreed_us as f64 / SECOND as f64));
        // What is still on its way, and what is announced once more, changes nothing.
        let (before, end_us) =
            (self.roots_now(), self.now_us + 2 * self.weather.config.announce_all_ms * 1_000);
        self.go_on_until(end_us)?;
        // Rows may just be checked.
        while !self.all_agree() && self.now_us < end_us + CHECK_US {
            self.go_on_until(self.now_us + LOOK_US)?;
        }
        let is_settled = self.all_agree() && self.roots_now() == before;
        if !is_settled && !self.options.only_history {
            return Err(format!("all had agreed, and then did not: {}", self.standing()));
        }
        if !self.options.only_history {
            self.compare_contents()?;
        }
        self.read_all()?;
        checker::check(&self.history).map_err(|violation| violation.to_string())
    }

    fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        self.weather.config.shards.shards()
    }

    /// All replicas are in service and have applied and hold the same, and nobody has anything left to do.
    fn all_agree(&self) -> bool {
        let state = |at: usize, shard: ShardId| {
            let replica =
                self.seats[at].node.replica(shard).filter(|replica| !replica.is_out_of_service())?;
            let root = if self.options.only_history { 0 } else { replica.tree()?.root() };
            Some((replica.vector(), root))
        };
        // A client that waits no longer may have asked a node that was paused.
        let is_asked =
            |seat: &super::Seat| seat.inbox.iter().any(|input| matches!(input, Input::Request { .. }));
        let is_done = |seat: &super::Seat| seat.is_up && !seat.node.has_work() && !is_asked(seat);
        let equal = |shard: ShardId| {
            let first = state(0, shard);
            first.is_some() && (1..self.seats.len()).all(|at| state(at, shard) == first)
        };
        self.shards().all(equal) && self.seats.iter().all(is_done)
    }

    /// The roots of the first node's replicas.
    fn roots_now(&self) -> Vec<Option<u128>> {
        let replica = |shard| {
            self.seats[0].node.replica(shard).and_then(|replica| replica.tree().map(|tree| tree.root()))
        };
        self.shards().map(replica).collect()
    }

    /// Who stands where, of the shards that are not settled.
    fn standing(&self) -> String {
        let mut lines = vec![format!("{:?}", self.weather)];
        for (at, seat) in self.seats.iter().enumerate() {
            for shard in self.shards() {
                let replica = seat.node.replica(shard).expect("there is such a shard");
                let behind = self.lacks(at, shard);
                let (standing, root) = (replica.standing(), replica.tree().map(|tree| tree.root() as u16));
                if behind > 0 || replica.is_out_of_service() || root.is_none() || seat.node.has_work() {
                    let works = seat.node.has_work();
                    lines.push(format!(
                        "n{} {shard:?}: lacks {behind}, {standing:?}, root {root:?}, works {works}",
                        at + 1
                    ));
                }
            }
        }
        lines.join("\n")
    }

    /// How many deltas of a shard a node lacks, of all that any node has applied.
    fn lacks(&self, at: usize, shard: ShardId) -> u64 {
        let vectors = || self.seats.iter().filter_map(|seat| seat.node.replica(shard)).map(Replica::vector);
        let own = self.seats[at].node.replica(shard).expect("there is such a shard").vector();
        let origins: BTreeSet<OriginId> =
            vectors().flat_map(|vector| vector.iter().map(|dot| dot.origin)).collect();
        let most = |origin| vectors().map(|vector| vector.at(origin)).max().unwrap_or(0);
        origins.into_iter().map(|origin| most(origin).saturating_sub(own.at(origin))).sum()
    }

    /// How far nodes are apart.
    fn lag(&self) -> Lag {
        let lacked = |at| self.shards().map(|shard| self.lacks(at, shard)).sum();
        let rows = |at: usize| {
            let disk = &self.seats[at].disk;
            (disk.rows(Space::Head).count() + disk.rows(Space::Cell).count()) as u64
        };
        let seats = || 0..self.seats.len();
        let config = &self.weather.config;
        let deltas = seats().map(lacked).max().unwrap_or(0);
        let longest = |at: usize| self.seats[at].disk.rows(Space::Log).map(|(_, delta)| delta.len()).max();
        let delta_bytes = seats().filter_map(longest).max().unwrap_or(0) as u64;
        Lag {
            deltas,
            bytes: deltas * delta_bytes,
            backlog_us: self.network.backlog_us(self.now_us),
            rows: seats().map(rows).max().unwrap_or(0),
            is_cut: self.figures.cut > 0 || config.repair_empty_min < Config::default().repair_empty_min,
        }
    }

    /// Nodes with a damaged row that nobody has read are to read all. Whether there are any.
    fn check_damaged(&mut self) -> bool {
        let is_damaged = |at: &usize| self.seats[*at].rot.is_in_cells(&self.seats[*at].disk);
        let damaged: Vec<usize> = (0..self.seats.len()).filter(is_damaged).collect();
        for at in &damaged {
            for shard in self.shards() {
                self.give(*at, Input::Check { shard });
            }
        }
        !damaged.is_empty()
    }

    /// Damaged replicas that nobody can help: somebody puts in other disks. Whether there were any.
    fn replace_hopeless_disks(&mut self) -> Result<bool, String> {
        let before = self.figures.hopeless;
        for at in 0..self.seats.len() {
            if self.shards().any(|shard| self.is_hopeless(at, shard)) {
                self.figures.hopeless += 1;
                self.replace_disk(at, Default::default(), Cause::Hopeless)?;
                self.start(at);
            }
        }
        Ok(self.figures.hopeless > before)
    }

    /// A damaged replica that only another disk helps: no other one that serves has all that its own log has lost; or what was to take the
    /// place of its rows is damaged as well.
    fn is_hopeless(&self, at: usize, shard: ShardId) -> bool {
        let replica = |at: usize| self.seats[at].node.replica(shard).expect("there is such a shard");
        let helps = |other: usize| {
            let serves = other != at && !replica(other).is_out_of_service();
            serves && replica(other).vector().includes(replica(at).low())
        };
        match replica(at).standing() {
            Standing::Ruined => true,
            Standing::Quarantined => !(0..self.seats.len()).any(helps),
            _ => false,
        }
    }

    /// All rows of all replicas are the same, byte for byte in canonical form, and their trees say so.
    fn compare_contents(&mut self) -> Result<(), String> {
        for shard in self.shards() {
            let mut first = None;
            for (at, seat) in self.seats.iter().enumerate() {
                let (mut rows, mut tree) = (Vec::new(), meridian_core::merkle::Tree::default());
                let seed = self.weather.config.seed;
                let replica = seat.node.replica(shard).expect("there is such a shard");
                let scanned = replica.scan_content(
                    &seat.disk,
                    seat.node.origins(),
                    &mut |space, row: &[u8], content| {
                        rows.push((space, row.to_vec(), content.clone()));
                        tree.add(seed.leaf(space, row), seed.row(space, row, content));
                    },
                );
                scanned.map_err(|error| format!("n{}: {error}", at + 1))?;
                if replica.tree() != Some(&tree) {
                    return Err(format!("n{}: the tree of {shard:?} is not that of its rows", at + 1));
                }
                if *first.get_or_insert_with(|| rows.clone()) != rows {
                    return Err(format!(
                        "n{}: {shard:?} at {:?} differs",
                        at + 1,
                        replica.vector().to_bytes()
                    ));
                }
            }
        }
        Ok(())
    }

    /// What every node reads of every key at the end, and lists of all.
    fn read_all(&mut self) -> Result<(), String> {
        self.history.facts.push((self.now_us, Fact::Quiet));
        let keys: Vec<(String, Kind)> = self.clients.keys().map(|(key, kind)| (key.into(), kind)).collect();
        for at in 0..self.seats.len() {
            for (key, kind) in &keys {
                self.read(at, key, *kind)?;
            }
        }
        let plain = |reverse, limit, delimiter: Option<&str>| {
            let delimiter = delimiter.map(String::from);
            Page::first(Listing { reverse, limit, delimiter, ..Listing::default() }, false)
        };
        for at in 0..self.seats.len() {
            for first in [plain(false, 7, None), plain(true, 100, None), plain(false, 3, Some("/"))] {
                let mut next = Some(first);
                while let Some(page) = next {
                    next = self.list_at_the_end(at, page)?;
                }
            }
        }
        Ok(())
    }

    /// The client that reads at the end.
    fn last_client(&self) -> usize {
        self.weather.clients
    }

    /// What a node reads.
    fn read(&mut self, at: usize, key: &str, kind: Kind) -> Result<(), String> {
        let operation = Operation::Read(ReadRequest::whole(None));
        let request = request(key, operation.clone());
        let asks = Asks::Node(operation);
        let question = Question { key: key.into(), path: None, kind: Some(kind), asked: Asked::Read, asks };
        let op = self.note(self.last_client(), at, &question);
        self.seats[at].step(self.now_us, Input::Request { id: RequestId(0), request })?;
        let turn = self.seats[at].end_turn(true).expect("there is room");
        let reply = turn.outputs.into_iter().find_map(|output| match output {
            Output::Reply { reply, .. } => Some(reply),
            _ => None,
        });
        let end = match reply {
            Some(Reply::Read(found)) => End::Ok { ret: Ret::Read(seen(found.value.as_ref())), context: None },
            // Nobody has looked whether a row is damaged.
            Some(Reply::Refused(refusal @ Refusal::Quarantined)) if self.options.only_history => {
                End::Fail { code: code(&refusal).into() }
            }
            other => return Err(format!("n{}: {key} was to be read: {other:?}", at + 1)),
        };
        self.history.ops[op].ended = Some((self.now_us, end));
        Ok(())
    }

    /// What a node lists, and which page comes next.
    fn list_at_the_end(&mut self, at: usize, page: Page) -> Result<Option<Page>, String> {
        let (asked, asks) = (Asked::List(page.listing.clone()), Asks::Beside(page.clone()));
        let question = Question { key: String::new(), path: None, kind: None, asked, asks };
        let op = self.note(self.last_client(), at, &question);
        let (end, next) = match self.page(at, &page)? {
            Some(Paged { entries, next }) => page.ended(entries, next),
            None if self.options.only_history => (End::Fail { code: "quarantined".into() }, None),
            None => return Err(format!("n{}: a page was to be listed: {:?}", at + 1, page.listing)),
        };
        self.history.ops[op].ended = Some((self.now_us, end));
        Ok(next)
    }
}
