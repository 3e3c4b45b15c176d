//! Listings: they are read beside a node, from its disk, as the server reads them from its last snapshot.

use super::clients::{Asks, Page};
use super::{Event, World};
use crate::history::Listed;
use crate::lab::bucket;
use meridian_core::id::{RequestId, ShardId};
use meridian_core::listing::{self, Entry, Position, Replicas};
use meridian_core::node::Input;
use meridian_core::replica::Replica;
use meridian_core::storage::StorageError;
use meridian_core::types::Failure;
use std::hash::Hash;
use std::ops::ControlFlow;

/// What was listed, and where that ended.
#[derive(Clone, Debug)]
pub(super) struct Paged {
    pub(super) entries: Vec<Listed>,
    pub(super) next: Option<Position>,
}

impl World {
    /// A node lists a page. It is answered when what it shows is durable.
    pub(super) fn list(&mut self, at: usize, run: u32, id: RequestId) -> Result<(), String> {
        let Some(pending) = self.requests.get(&id) else { return Ok(()) };
        let (seat, Asks::Beside(page)) = (&self.seats[at], &pending.question.asks) else { return Ok(()) };
        if seat.run != run {
            return Ok(());
        }
        if let Some(left_us) = seat.paused_until_us.checked_sub(self.now_us).filter(|us| *us > 0) {
            self.due_in(left_us, Event::List { seat: at, run, request: id });
            return Ok(());
        }
        let page = page.clone();
        let paged = self.page(at, &page)?;
        match self.seats[at].unsynced.len() {
            0 => self.answer_page(id, paged),
            turns => self.seats[at].listed.push_back((turns, id, paged)),
        }
        Ok(())
    }

    /// What a node lists now; `None` where a replica is out of service, or a row has rotted.
    pub(super) fn page(&mut self, at: usize, page: &Page) -> Result<Option<Paged>, String> {
        let seat = &self.seats[at];
        let replica = |shard| seat.node.replica(shard).expect("there is such a shard");
        let replicas: Vec<&Replica> = self.weather.config.shards.shards().map(replica).collect();
        if replicas.iter().any(|replica| replica.is_out_of_service()) {
            return Ok(None);
        }
        let vectors: Vec<_> = replicas.iter().map(|replica| replica.vector()).collect();
        let masks: Vec<_> = replicas.iter().map(|replica| replica.masks()).collect();
        let replicas =
            Replicas { disk: &seat.disk, origins: seat.node.origins(), vectors: &vectors, masks: &masks };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut entries = Vec::new();
        let listed = listing::page(replicas, &bucket(), &page.query, &mut |entry| {
            entries.push(match entry {
                Entry::Key(listed) => Listed::Key(text(listed.key.as_bytes())),
                Entry::Prefix(common) => Listed::Prefix(text(&common)),
            });
            ControlFlow::Continue(())
        });
        let shard_of = |row: &[u8]| Some(ShardId(u16::from_be_bytes(*row.first_chunk()?)));
        let rotten = seat.rotten();
        let is_rotten = |row: &[u8]| shard_of(row).is_some_and(|shard| rotten.contains(&shard));
        match listed {
            Ok(next) => {
                (self.now_us, at, format!("{entries:?} {next:?}")).hash(&mut self.hasher);
                Ok(Some(Paged { entries, next }))
            }
            Err(Failure::Storage(StorageError::Corrupt { key, .. })) if is_rotten(&key) => {
                self.give(at, Input::Check { shard: shard_of(&key).expect("a row has a shard") });
                Ok(None)
            }
            Err(error) => Err(format!("n{}: a page could not be listed: {error:?}", at + 1)),
        }
    }

    pub(super) fn answer_page(&mut self, id: RequestId, paged: Option<Paged>) {
        let Some(pending) = self.requests.remove(&id) else { return };
        let Asks::Beside(page) = &pending.question.asks else { return };
        let end = self.clients.hear_page(pending.client, page, paged);
        self.history.ops[pending.op].ended = Some((self.now_us, end));
        self.figures.pages += 1;
    }
}
