//! The begin of a schedule, and its end: faults off, all heals, and everybody must come to the same.

use super::{Disk, World};
use crate::model::spot::Spot;
use crate::model::{self, Model};
use meridian_core::node::Input;

/// Rounds of announcements before the faults end.
const SILENT_ROUNDS: usize = 2;
/// Rounds of meeting each other, or of all announcements, that suffice by far.
const ROUNDS_MAX: usize = 30;

impl<D: Disk> World<D> {
    /// All meet who do not meet at the end.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        (0..self.seats.len()).try_for_each(|seat| self.introduce(seat))?;
        match self.meets_at_end {
            true => Ok(()),
            false => (0..self.seats.len()).try_for_each(|seat| self.connect(seat)),
        }
    }

    pub(super) fn finish(&mut self) -> Result<(), String> {
        self.fall_silent()?;
        (self.mix.loss, self.mix.doubling) = (0, 0);
        for seat in 0..self.seats.len() {
            if self.seats[seat].beyond_repair {
                self.replace_disk(seat, D::empty())?;
            }
        }
        for (seat, other) in self.parted.clone() {
            self.meet(seat, other)?;
        }
        self.converge()?;
        let vector = self.vector(0);
        let missing =
            self.events.keys().find(|dot| !model::covers(&vector, **dot) && !self.lost.contains(*dot));
        if let Some(dot) = missing {
            return Err(format!("{dot:?} is lost, and no disk that held it was"));
        }
        let applied = self.events.values().filter(|event| model::covers(&vector, event.dot));
        let expected = Model::of(applied);
        let (expected, found) = (without_traces(&expected), without_traces(&self.seats[0].model));
        match found == expected {
            true => Ok(()),
            false => Err(format!("all agree on\n{found:#?}\nand the set of all events says\n{expected:#?}")),
        }
    }

    /// Nobody writes any more. What changed last is announced while a network that loses messages loses every other one.
    fn fall_silent(&mut self) -> Result<(), String> {
        self.mix.loss = self.mix.loss.min(2);
        for _ in 0..SILENT_ROUNDS {
            self.drain()?;
            self.now_ms += self.config.announce_ms;
            for seat in 0..self.seats.len() {
                self.turn(seat, vec![Input::Tick])?;
            }
        }
        self.drain()
    }

    fn converge(&mut self) -> Result<(), String> {
        for round in 0..ROUNDS_MAX {
            for seat in 0..self.seats.len() {
                self.now_ms += self.config.pull_retry_ms;
                if self.meets_at_end {
                    self.connect(seat)?;
                }
                if self.is_out_of_service(seat) {
                    self.refill(seat)?;
                }
                self.turn(seat, vec![Input::Tick])?;
                self.drain()?;
            }
            let first = self.vector(0);
            let settled = (1..self.seats.len()).all(|seat| self.vector(seat) == first);
            if settled && (0..self.seats.len()).all(|seat| !self.is_out_of_service(seat)) {
                return Ok(());
            }
            // Damaged replicas that nobody can help: somebody puts in other disks.
            let hopeless = |seat: &usize| self.is_out_of_service(*seat) && self.seats[*seat].rotten;
            if round >= ROUNDS_MAX / 2
                && let Some(seat) = (0..self.seats.len()).find(hopeless)
            {
                self.replace_disk(seat, D::empty())?;
            }
        }
        let vectors: Vec<_> = (0..self.seats.len()).map(|seat| self.vector(seat)).collect();
        Err(format!("stalled after {ROUNDS_MAX} rounds: {vectors:?}"))
    }

    fn drain(&mut self) -> Result<(), String> {
        for _ in 0..10_000 {
            for seat in 0..self.seats.len() {
                while self.seats[seat].node.has_work() {
                    self.turn(seat, vec![Input::Work])?;
                }
                self.sync(seat);
            }
            if self.flying.is_empty() {
                return Ok(());
            }
            self.deliver()?;
        }
        Err("the network does not fall silent".into())
    }
}

/// A model without its empty entries.
fn without_traces(model: &Model) -> Model {
    let mut model = model.clone();
    for entry in model.keys.values_mut() {
        entry.spots.retain(|_, spot| *spot != Spot::default());
    }
    model.keys.retain(|_, entry| *entry != model::Entry::default());
    model
}
