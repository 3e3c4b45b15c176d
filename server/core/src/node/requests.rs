//! What clients ask: find the replica, read or mint, apply, answer. The turn's end tells the peers.

use super::{Node, Now};
use crate::cell::Type;
use crate::context::Context;
use crate::name::{Bucket, Key};
use crate::replica::read::{self, Found};
use crate::replica::write::{self, Author, Minted, WriteRequest, Written};
use crate::rows::Place;
use crate::storage::{Overlay, Read, StorageError};
use crate::types::{Failure, Refusal, View};
use alloc::sync::Arc;

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
    /// Reads it, as the type that is named or the only one it has.
    Read {
        /// The type that the client names.
        named: Option<Type>,
    },
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
        let place = Place { shard, bucket, key };
        if self.shard(shard).replica.is_out_of_service() {
            return Ok(Reply::Refused(Refusal::Quarantined));
        }
        let answer = match operation {
            Operation::Read { named } => {
                self.with_view(disk, place, |view| read::read(view, *named)).map(Reply::Read)
            }
            Operation::Write(write) => self.write(now, disk, place, write),
        };
        match answer {
            Ok(reply) => Ok(reply),
            Err(Failure::Refused(refusal)) => Ok(Reply::Refused(refusal)),
            Err(Failure::Storage(error)) => {
                self.quarantine(shard, error)?;
                Ok(Reply::Refused(Refusal::Quarantined))
            }
        }
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
            let view = View { disk: &rows, origins: &self.origins, vector: replica.vector(), place };
            let author = Author {
                origin: replica.author(),
                clock: &mut self.clock,
                wall_ms: now.wall_ms,
                planted: self.config.planted,
            };
            write::mint(replica, view, author, request)?
        };
        if let Some(delta) = delta {
            self.apply(now, disk, &delta, place.shard)?;
            self.fresh.entry(place.shard).or_default().push(Arc::new(delta));
        }
        let context = Context { vector: self.shard(place.shard).replica.vector().clone(), slots };
        Ok(Reply::Written { written, context })
    }
}
