//! A simulated machine: a node, its disk, its clocks, and the part of the server that stands between them.
//!
//! As in the server, a turn is written at once, a sync makes all durable that was written before it began, and only then leaves what those
//! turns said.

use super::full::Room;
use super::losses::{Held, Rot, gives_up};
use super::pages::Paged;
use meridian_core::id::{NodeId, OriginId, RequestId, ShardId};
use meridian_core::node::{Config, Input, Node, Now, OpenError, Output, Turn};
use meridian_core::storage::{MemStorage, Storage};
use std::collections::{BTreeSet, VecDeque};

/// Most inputs of a turn, as in the server.
const INPUTS_MAX: usize = 32;

pub(super) struct Seat {
    pub(super) node: Node,
    pub(super) disk: MemStorage,
    /// Counts starts: what is due for an earlier run is void.
    pub(super) run: u32,
    pub(super) is_up: bool,
    /// Until when it gets nothing.
    pub(super) paused_until_us: u64,
    /// What it will be given.
    pub(super) inbox: VecDeque<Input>,
    /// A turn is due.
    pub(super) is_woken: bool,
    /// Written turns, oldest first; each is a batch on the disk.
    pub(super) unsynced: VecDeque<Written>,
    /// What of each shard would be there if the power failed now.
    pub(super) durable: Vec<Held>,
    /// Pages that were listed, each with how many written turns must be synced before it leaves.
    pub(super) listed: VecDeque<(usize, RequestId, Option<Paged>)>,
    /// A sync is under way.
    pub(super) syncs: bool,
    /// How much longer than drawn a sync takes.
    pub(super) slowness: u64,
    /// An old image of the disk, and what is wrong with it.
    pub(super) image: Option<(MemStorage, Rot)>,
    /// What is wrong with the disk.
    pub(super) rot: Rot,
    /// What still fits, while the disk is full.
    pub(super) room: Option<Room>,
    /// What the node was told last of that: whether there is room for what peers send.
    has_room: bool,
    /// The next sync fails.
    pub(super) sync_fails: bool,
    /// The process ends while it has something under way.
    pub(super) dies_at_work: bool,
    pub(super) clock: SeatClock,
    /// The highest wall time that the node was told, in milliseconds.
    pub(super) wall_ms_highest: u64,
}

/// A turn that is written and not synced.
pub(super) struct Written {
    /// What it says.
    outputs: Vec<Output>,
    /// What will be durable with it.
    held: Vec<(ShardId, Held)>,
}

/// A machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SeatClock {
    /// How far the wall clock is ahead, in milliseconds.
    pub(super) ahead_ms: i64,
    /// How much too fast both run, in millionths.
    pub(super) drift_ppm: i64,
}

impl SeatClock {
    /// What a node that started with the simulation is told at a time.
    fn now(self, now_us: u64) -> Now {
        let drifted = now_us.saturating_add_signed(now_us as i64 * self.drift_ppm / 1_000_000);
        let mono_ms = drifted / 1_000;
        // Some day in 2025.
        Now { mono_ms, wall_ms: (1_750_000_000_000 + mono_ms).saturating_add_signed(self.ahead_ms) }
    }
}

impl Seat {
    /// A machine with an empty disk, not started yet.
    pub(super) fn new(config: &Config, origin: OriginId) -> Seat {
        let disk = MemStorage::default();
        let durable = vec![Held::default(); usize::from(config.shards.get())];
        Seat {
            durable,
            node: Node::open(config.clone(), &disk, origin).expect("an empty disk opens"),
            disk,
            run: 0,
            is_up: false,
            paused_until_us: 0,
            inbox: VecDeque::new(),
            is_woken: false,
            unsynced: VecDeque::new(),
            listed: VecDeque::new(),
            syncs: false,
            slowness: 1,
            image: None,
            rot: Rot::default(),
            room: None,
            has_room: true,
            sync_fails: false,
            dies_at_work: false,
            clock: SeatClock::default(),
            wall_ms_highest: 0,
        }
    }

    /// The inputs of the next turn.
    pub(super) fn next_inputs(&mut self) -> Vec<Input> {
        let count = self.inbox.len().min(INPUTS_MAX);
        let mut inputs: Vec<Input> = self.inbox.drain(..count).collect();
        if self.node.has_work() {
            inputs.push(Input::Work);
        }
        inputs
    }

    /// Lets the node decide about one input. Where it was told that there is no room, only clients and its own work bring anything.
    pub(super) fn step(&mut self, now_us: u64, input: Input) -> Result<(), String> {
        let now = self.clock.now(now_us);
        self.wall_ms_highest = self.wall_ms_highest.max(now.wall_ms);
        if let Input::Room(has_room) = input {
            self.has_room = has_room;
        }
        let brings = self.has_room || matches!(input, Input::Request { .. } | Input::Work);
        let before = (!brings).then(|| self.brought());
        let stepped = self.node.step(now, &self.disk, input);
        stepped.map_err(|error| format!("a healthy disk failed: {error}"))?;
        match before {
            Some((applied, parked)) if self.brought().0 != applied || self.brought().1 > parked => {
                Err("something of peers was applied or parked, and there is no room for it".into())
            }
            _ => Ok(()),
        }
    }

    /// How many deltas were applied, and how many bytes of them are parked.
    fn brought(&self) -> (u64, usize) {
        let shards = (0..self.durable.len()).map(|shard| ShardId(shard as u16));
        let of = |shard| {
            let applied = self.node.replica(shard).map_or(0, |replica| replica.vector().deltas());
            (applied, self.node.parked_bytes(shard))
        };
        shards.map(of).fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1))
    }

    /// Writes what the node has decided. What it says waits for a sync; what it says is shown here. `None`: the disk is full, which a write
    /// notices `at_once`, or else the sync.
    pub(super) fn end_turn(&mut self, at_once: bool) -> Option<Turn> {
        let turn = self.node.end_turn();
        if !self.takes(&turn.batch) {
            if at_once {
                return None;
            }
            self.sync_fails = true;
        }
        self.disk.write(&turn.batch).expect("memory takes it");
        let of =
            |shard: &ShardId| (*shard, Held::by(self.node.replica(*shard).expect("there is such a shard")));
        let held = turn.changed.iter().map(of).collect();
        self.unsynced.push_back(Written { outputs: turn.outputs.clone(), held });
        Some(turn)
    }

    /// A sync that began when so many turns waited has ended: what they say.
    pub(super) fn synced(&mut self, turns: usize) -> Vec<Output> {
        self.disk.sync_first(turns);
        for (shard, held) in self.unsynced.iter().take(turns).flat_map(|written| &written.held) {
            self.durable[usize::from(shard.0)] = held.clone();
        }
        self.said(turns)
    }

    /// What so many turns say, synced or not.
    pub(super) fn said(&mut self, turns: usize) -> Vec<Output> {
        self.syncs = false;
        let written = self.unsynced.drain(..turns.min(self.unsynced.len()));
        written.flat_map(|written| written.outputs).collect()
    }

    /// Whether a turn that is not synced has given up something that a damaged log had lost.
    pub(super) fn is_giving_up(&self) -> bool {
        self.unsynced.iter().flat_map(|written| &written.outputs).any(gives_up)
    }

    /// The pages that wait for none but the first so many turns.
    pub(super) fn durable_pages(&mut self, turns: usize) -> Vec<(RequestId, Option<Paged>)> {
        for (wait, ..) in &mut self.listed {
            *wait = wait.saturating_sub(turns);
        }
        let durable = self.listed.partition_point(|(wait, ..)| *wait == 0);
        self.listed.drain(..durable).map(|(_, id, paged)| (id, paged)).collect()
    }

    /// A copy of the disk, and what is wrong with it.
    pub(super) fn copy(&self) -> (MemStorage, Rot) {
        (self.disk.clone(), self.rot.clone())
    }

    /// The shards in which a row is damaged now.
    pub(super) fn rotten(&self) -> BTreeSet<ShardId> {
        self.rot.shards(&self.disk)
    }

    /// The process ends: of what was not synced a part stays. The disk is opened at once, by a run that has not started.
    ///
    /// # Errors
    /// As [`Node::open`].
    pub(super) fn end(&mut self, config: &Config, kept: usize, origin: OriginId) -> Result<(), OpenError> {
        self.disk.crash(kept);
        self.is_up = false;
        self.run += 1;
        (self.is_woken, self.syncs, self.sync_fails, self.dies_at_work) = (false, false, false, false);
        self.inbox.clear();
        self.unsynced.clear();
        self.listed.clear();
        self.node = Node::open(config.clone(), &self.disk, origin)?;
        self.has_room = true;
        let durable =
            config.shards.shards().map(|shard| Held::by(self.node.replica(shard).expect("there is")));
        self.durable = durable.collect();
        Ok(())
    }

    /// Whether a large removal is being swept.
    pub(super) fn is_sweeping(&self) -> bool {
        let shards = self.durable.len() as u16;
        let replicas = (0..shards).filter_map(|shard| self.node.replica(ShardId(shard)));
        replicas.into_iter().any(|replica| !replica.masks().is_empty())
    }

    pub(super) fn is_out_of_service(&self, shard: ShardId) -> bool {
        self.node.replica(shard).is_some_and(|replica| replica.is_out_of_service())
    }
}

/// The id of the node at a place.
pub(super) fn node_id(at: usize) -> NodeId {
    NodeId(at as u128 + 1)
}

/// The place of a node.
pub(super) fn place_of(node: NodeId) -> usize {
    node.0 as usize - 1
}
