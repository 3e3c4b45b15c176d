//! What happens in a schedule: one random step at a time.

use super::{Disk, World};
use crate::model::{self, Model, Seen, Vector};
use meridian_core::codec::Encode;
use meridian_core::context::Context;
use meridian_core::id::{Dot, RequestId, ShardId};
use meridian_core::message::Message;
use meridian_core::name::Key;
use meridian_core::node::{Input, Operation, Reply, Request};
use meridian_core::replica::write::{Write, WriteRequest, Written};
use meridian_core::replica::{Replica, Standing};
use meridian_core::storage::Space;
use meridian_core::types::Refusal;
use rand::RngExt;
use rand::seq::IndexedRandom;

/// What the model says to a write.
struct Wanted {
    key: Key,
    reply: Result<Written, Refusal>,
    /// The event that the write makes.
    event: Option<Dot>,
    /// The head's siblings when it was made.
    siblings: Vec<Dot>,
    /// What the client has seen of the key with the answer.
    seen: (Seen, Vector),
}

/// A context names what was seen of the key, and nothing else.
fn check_context(context: &Context, expected: &(Seen, Vector)) -> Result<(), String> {
    let vector = context.seen.vector().iter().map(|dot| (dot.origin, dot.seq)).collect();
    let singles = context.seen.dots().iter().copied().collect();
    let slots = context.slots.iter().map(|slot| (slot.id.origin, slot.last.seq)).collect();
    match (Seen { vector, singles }, slots) == *expected {
        true => Ok(()),
        false => Err(format!("the context {context:?} is not {expected:?}")),
    }
}

impl<D: Disk> World<D> {
    pub(super) fn random_step(&mut self) -> Result<(), String> {
        let seat = self.rng.random_range(0..self.seats.len());
        if self.is_between(seat) && self.one_in(6) {
            return match self.one_in(2) && self.mix.crash > 0 {
                true => self.crash(seat),
                false => self.connect(seat),
            };
        }
        let mix = &self.mix;
        let weights = [
            mix.write,
            mix.deliver,
            mix.reconnect,
            mix.part,
            mix.tick,
            mix.work,
            mix.stop,
            mix.sync,
            mix.crash,
            mix.rollback,
            mix.rot,
            4,
            2,
            1,
        ];
        let mut left = self.rng.random_range(0..weights.iter().sum());
        let chosen = weights.iter().position(|weight| match left.checked_sub(*weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        self.now_ms += self.rng.random_range(0..100);
        match chosen.expect("less than the sum") {
            0 => self.write(seat),
            1 => self.deliver(),
            2 => self.connect(seat),
            3 => {
                let other = (seat + self.rng.random_range(1..self.seats.len())) % self.seats.len();
                self.part(seat, other)
            }
            4 => self.turn(seat, vec![Input::Tick]).map(drop),
            5 => match self.is_out_of_service(seat) && self.one_in(4) {
                true => self.refill(seat),
                false => self.turn(seat, vec![Input::Work]).map(drop),
            },
            6 => self.stop(seat),
            7 => {
                self.sync(seat);
                Ok(())
            }
            8 => self.crash(seat),
            9 => self.roll_back(seat),
            10 => {
                self.rot(seat);
                Ok(())
            }
            11 => self.read(seat),
            12 => {
                self.take_image(seat);
                Ok(())
            }
            _ => {
                self.seats[seat].offset_ms =
                    *[-3_600_000, -2_500, 0, 1_500, 3_600_000].choose(&mut self.rng).expect("some");
                Ok(())
            }
        }
    }

    // -- clients ---------------------------------------------------------------------------------------------------

    /// Clients write to a node, mostly one in a turn; the model says what must come of it.
    fn write(&mut self, seat: usize) -> Result<(), String> {
        let count = if self.one_in(4) { self.rng.random_range(2..=4) } else { 1 };
        let quarantined = self.is_out_of_service(seat);
        let mut scratch = self.seats[seat].model.clone();
        let (inputs, wanted): (Vec<_>, Vec<_>) =
            (0..count).map(|_| self.prepare(seat, &mut scratch, quarantined)).unzip();
        let replies = self.turn(seat, inputs)?;
        let vector = self.vector(seat);
        for (reply, wanted) in replies.into_iter().zip(wanted) {
            let minted = wanted.event.as_ref().is_none_or(|dot| model::covers(&vector, *dot));
            if !minted {
                self.events.remove(&wanted.event.expect("what is not there was named"));
            }
            let applied = wanted.event.is_some() && minted;
            match (reply, wanted.reply) {
                (Reply::Refused(Refusal::Quarantined), _)
                    if (quarantined || self.seats[seat].rotten) && !applied => {}
                (Reply::Refused(refusal), Err(expected)) if refusal == expected => {}
                (Reply::Written { written, context }, Ok(expected)) if written == expected && minted => {
                    self.check_stamp(wanted.event, &wanted.siblings)?;
                    if !self.is_out_of_service(seat) {
                        check_context(&context, &wanted.seen)?;
                    }
                    self.contexts.push((wanted.key, context));
                }
                (reply, expected) => {
                    return Err(format!("n{} answered {reply:?}, and the model {expected:?}", seat + 1));
                }
            }
        }
        Ok(())
    }

    /// A random write as an input, and what the model says to it. The scratch model goes on as if it were done.
    fn prepare(&mut self, seat: usize, scratch: &mut Model, quarantined: bool) -> (Input, Wanted) {
        let (key, home) = self.keys.choose(&mut self.rng).expect("some").clone();
        let request = WriteRequest {
            write: self.random_write(home),
            named: self.random_type(),
            context: self.random_context(&key),
            overwrites: self.one_in(6),
        };
        let origin = self.seats[seat].node.replica(ShardId(0)).expect("the only shard").author();
        let counts = scratch.counts(&key) || matches!(request.write, Write::Counter(_));
        let siblings = scratch.entry(&key).own().head.into_keys().collect();
        let expected = match quarantined {
            true => Err(Refusal::Quarantined),
            false => scratch.mint(origin, &key, &request),
        };
        let past = scratch.vector.clone();
        let event = expected.as_ref().ok().and_then(|(event, _)| event.clone());
        self.trace(|| format!("n{}: {key:?} {request:?} -> {event:?}", seat + 1));
        self.values += 1;
        let id = RequestId(self.values);
        if let Some(event) = &event {
            scratch.apply(event);
            self.requests.insert(id, event.dot);
            self.events.insert(event.dot, event.clone());
            self.tally.events += 1;
        }
        self.tally.contexts += u64::from(request.context.is_some());
        self.tally.refusals += u64::from(expected.is_err());
        let shown =
            matches!(expected, Ok((_, Written::Counter(_) | Written::Flag(_) | Written::Extremum(..))));
        let seen = match &request.context {
            // The answer shows nothing of the key: what was seen before, and the write itself.
            Some(context) if !shown => {
                let seen = Seen::of(context, &past);
                let seen = event.iter().fold(seen, |seen, event| seen.and(event.dot));
                let slots = context.slots.iter().map(|slot| (slot.id.origin, slot.last.seq)).collect();
                (seen, slots)
            }
            _ => scratch.seen(&key, counts),
        };
        let wanted = Wanted {
            seen,
            event: event.map(|event| event.dot),
            siblings,
            reply: expected.map(|(_, written)| written),
            key: key.clone(),
        };
        let request = Request { bucket: self.bucket.clone(), key, operation: Operation::Write(request) };
        (Input::Request { id, request }, wanted)
    }

    /// A client reads from a node, as the model does.
    fn read(&mut self, seat: usize) -> Result<(), String> {
        let (key, _) = self.keys.choose(&mut self.rng).expect("some").clone();
        let asked = self.random_read();
        let model = &self.seats[seat].model;
        let (expected, seen) = (model.read(&key, &asked), model.seen(&key, model.counts(&key)));
        let quarantined = self.is_out_of_service(seat);
        let operation = Operation::Read(asked.clone());
        let request = Request { bucket: self.bucket.clone(), key: key.clone(), operation };
        let id = RequestId(u64::MAX);
        let reply = self.turn(seat, vec![Input::Request { id, request }])?.pop().ok_or("no answer")?;
        match (reply, expected) {
            (Reply::Refused(Refusal::Quarantined), _) if quarantined || self.seats[seat].rotten => Ok(()),
            (Reply::Read(found), Ok(expected))
                if (&found.value, &found.hidden) == (&expected.0, &expected.1) && !quarantined =>
            {
                check_context(&found.context, &seen)?;
                self.contexts.push((key, found.context));
                Ok(())
            }
            (Reply::Refused(refusal), Err(expected)) if refusal == expected => Ok(()),
            (reply, expected) => {
                Err(format!("n{} reads {reply:?} for {asked:?}, and the model {expected:?}", seat + 1))
            }
        }
    }

    /// Whether a replica is between two states, which is soon over: the time for something to happen.
    fn is_between(&self, seat: usize) -> bool {
        let standing = self.seats[seat].node.replica(ShardId(0)).map(Replica::standing);
        standing.is_some_and(|standing| !matches!(standing, Standing::InService | Standing::Quarantined))
    }

    pub(super) fn is_out_of_service(&self, seat: usize) -> bool {
        self.seats[seat].node.replica(ShardId(0)).is_some_and(|replica| replica.is_out_of_service())
    }

    /// A context that some client got for this key, on whatever node and however long ago.
    fn random_context(&mut self, key: &Key) -> Option<Context> {
        if !self.one_in(self.mix.context) {
            return None;
        }
        let of_key: Vec<&Context> = self.contexts.iter().filter(|(k, _)| k == key).map(|(_, c)| c).collect();
        let context = *of_key.choose(&mut self.rng)?;
        Some(Context::from_bytes(&context.to_bytes()).expect("a context comes back"))
    }

    // -- network and disks ---------------------------------------------------------------------------------------------

    /// Some message arrives: any of those on their way, perhaps not for the last time.
    pub(super) fn deliver(&mut self) -> Result<(), String> {
        if self.flying.is_empty() {
            return Ok(());
        }
        let chosen = self.rng.random_range(0..self.flying.len());
        let twice = self.one_in(self.mix.doubling);
        let flight = self.flying.swap_remove(chosen);
        let message = Message::from_bytes(&flight.bytes)
            .map_err(|error| format!("a message is unreadable: {error}"))?;
        self.read_damaged(&flight.bytes);
        let (from, to) = (flight.from, flight.to);
        if twice {
            self.flying.push(flight);
        }
        self.trace(|| format!("n{}: from {from:?} {message:?}", to + 1));
        self.tally.messages += 1;
        self.turn(to, vec![Input::Message { from, message }]).map(drop)
    }

    /// Bytes that nobody sent are refused, or read as some message; they never panic. (They are not delivered: what
    /// reaches a node came from a member, unharmed.)
    fn read_damaged(&mut self, bytes: &[u8]) {
        let mut damaged = bytes.to_vec();
        let bit = self.rng.random_range(0..damaged.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        damaged.truncate(self.rng.random_range(0..=bytes.len()).max(bit / 8));
        if let Ok(message) = Message::from_bytes(&damaged) {
            assert_eq!(
                Message::from_bytes(&message.to_bytes()),
                Ok(message),
                "what is accepted can be passed on"
            );
        }
    }

    /// A disk is wiped, or an old image of it is put back.
    fn roll_back(&mut self, seat: usize) -> Result<(), String> {
        let wipe = self.one_in(2);
        self.trace(|| format!("n{}: its disk is {}", seat + 1, if wipe { "wiped" } else { "put back" }));
        let image = self.seats[seat].image.as_ref().filter(|_| !wipe);
        let disk = image.map_or_else(D::empty, D::from_image);
        self.replace_disk(seat, disk)
    }

    /// Somebody keeps a copy of a healthy disk.
    fn take_image(&mut self, seat: usize) {
        let seat = &mut self.seats[seat];
        if !seat.rotten {
            seat.image = Some(seat.disk.image());
        }
    }

    /// A bit flips in some row of a disk.
    fn rot(&mut self, seat: usize) {
        let space = *Space::ALL.choose(&mut self.rng).expect("some");
        let disk = &mut self.seats[seat].disk;
        let rows = disk.rows(space);
        if let Some((key, value)) = rows.choose(&mut self.rng) {
            let bit = self.rng.random_range(0..value.len() * 8);
            disk.damage(space, key, |value| value[bit / 8] ^= 1 << (bit % 8));
            self.seats[seat].rotten = true;
            self.seats[seat].beyond_repair |= space == Space::Meta;
            self.trace(|| format!("n{}: bit {bit} of {space:?} {} flips", seat + 1, key.escape_ascii()));
        }
    }
}
