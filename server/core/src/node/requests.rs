//! What clients ask: find the replica, read or mint, apply, answer. The turn's end tells the peers.

use super::{Node, Now, Shard};
use crate::cell::Type;
use crate::context::{Context, Seen};
use crate::name::{Bucket, Key, ShardCount};
use crate::planted::Bug;
use crate::policy;
use crate::replica::read::{self, Found, ReadRequest};
use crate::replica::write::{self, Author, Minted, Write, WriteRequest, Written};
use crate::rows::{self, Origins, Place};
use crate::storage::{Overlay, Read, StorageError};
use crate::types::{Failure, Refusal, View};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A client's request for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// What is asked.
    pub operation: Operation,
}

/// What a client asks of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads it, or a part of it.
    Read(ReadRequest),
    /// Writes it.
    Write(WriteRequest),
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// What was read.
    Read(Found),
    /// What was written, durably when this reply leaves; the context covers it.
    Written {
        /// What changed.
        written: Written,
        /// What a client that gets this answer has seen of the key.
        context: Context,
    },
    /// Nothing was applied.
    Refused(Refusal),
}

impl Node {
    pub(super) fn request(
        &mut self,
        now: Now,
        disk: &dyn Read,
        request: &Request,
    ) -> Result<Reply, StorageError> {
        let Request { bucket, key, operation } = request;
        let shard = self.config.shards.shard_of(bucket, key);
        let place = Place::key(shard, bucket, key);
        if self.shard(shard).replica.is_out_of_service() {
            return Ok(Reply::Refused(Refusal::Quarantined));
        }
        let answer = match operation {
            Operation::Read(read) => {
                self.with_view(disk, place, |view| read::read(view, read)).map(Reply::Read)
            }
            Operation::Write(write) => self.write(now, disk, place, write),
        };
        match answer {
            Ok(reply) => Ok(reply),
            Err(Failure::Storage(_)) if self.answers_absence(operation) => {
                let seen = Seen::all_of(self.shard(shard).replica.vector());
                let context = Context { seen, slots: Vec::new() };
                let (value, next, hidden, shown) = (None, None, Vec::new(), Vec::new());
                Ok(Reply::Read(Found { value, next, hidden, shown, context }))
            }
            Err(Failure::Refused(refusal)) => Ok(Reply::Refused(refusal)),
            Err(Failure::Storage(error)) => {
                // A row of the bucket's policy lies in another shard.
                let damaged = rows::shard_of(&error).filter(|damaged| self.config.shards.contains(*damaged));
                let damaged = damaged.unwrap_or(shard);
                self.quarantine(damaged, error)?;
                let own = damaged == shard;
                Ok(Reply::Refused(if own { Refusal::Quarantined } else { Refusal::PolicyUnread }))
            }
        }
    }

    fn answers_absence(&self, operation: &Operation) -> bool {
        matches!(operation, Operation::Read(_)) && self.config.planted.has(Bug::AbsenceAnswered)
    }

    fn write(
        &mut self,
        now: Now,
        disk: &dyn Read,
        place: Place<'_>,
        request: &WriteRequest,
    ) -> Result<Reply, Failure> {
        let Minted { delta, written, slots } = {
            let replica = &self.shards[usize::from(place.shard.0)].replica;
            let rows = Overlay { disk, batch: &self.turn.batch };
            let masked = replica.masked(&rows, &self.origins);
            let seen: &dyn Read = if replica.masks().is_empty() { &rows } else { &masked };
            let view = View { disk: seen, origins: &self.origins, vector: replica.vector(), place };
            let author = Author {
                origin: replica.author(),
                clock: &mut self.clock,
                wall_ms: now.wall_ms,
                planted: self.config.planted,
            };
            let (shards, count) = (&self.shards[..], self.config.shards);
            let policies = Policies { rows: &rows, origins: &self.origins, shards, count };
            write::mint(replica, view, author, &|write| policies.default_of(place.bucket, write), request)?
        };
        let is_unmade = self.config.planted.has(Bug::WriteUnmade) && now.wall_ms.is_multiple_of(8);
        let delta = delta.filter(|_| !is_unmade);
        let before = delta.is_some().then(|| self.shard(place.shard).replica.vector().clone());
        let dot = delta.as_ref().map(|delta| delta.dot);
        if let Some(delta) = delta {
            self.apply(now, disk, &delta, place.shard)?;
            self.fresh.entry(place.shard).or_default().push(Arc::new(delta));
        }
        let vector = self.shard(place.shard).replica.vector();
        let whole = request.context.is_none() || self.config.planted.has(Bug::ContextOfAnswerWhole);
        let context = match &request.context {
            Some(context) if !whole && !written.shows_value() => {
                let seen = context.seen.within(before.as_ref().unwrap_or(vector));
                let seen = dot.map_or(seen.clone(), |dot| seen.and(dot));
                Context { seen, slots: context.slots.clone() }
            }
            _ => Context { seen: Seen::all_of(vector), slots },
        };
        Ok(Reply::Written { written, context })
    }
}

/// The policies of all buckets, as the turn has them.
struct Policies<'a> {
    rows: &'a dyn Read,
    origins: &'a Origins,
    shards: &'a [Shard],
    count: ShardCount,
}

impl Policies<'_> {
    /// The type that a bucket's policy gives to a key which a write creates; `None` where it does not say. A policy that cannot be
    /// read is not taken for one that says nothing.
    fn default_of(&self, bucket: &Bucket, write: &Write) -> Result<Option<Type>, Failure> {
        let policies = Bucket::policies();
        let Some(operation) = policy::choice(write).filter(|_| *bucket != policies) else { return Ok(None) };
        let key = policy::key_of(bucket);
        let shard = self.count.shard_of(&policies, &key);
        let replica = &self.shards[usize::from(shard.0)].replica;
        if replica.is_out_of_service() {
            return Err(Refusal::PolicyUnread.into());
        }
        let (disk, origins) = (&replica.masked(self.rows, self.origins), self.origins);
        let place = Place::key(shard, &policies, &key);
        let view = View { disk, origins, vector: replica.vector(), place };
        Ok(policy::default_of(view, operation)?)
    }
}
