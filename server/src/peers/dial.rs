//! From an address to a connection that both sides agree on.

use super::hello::{Close, HELLO_BYTES_MAX};
use super::table::Link;
use super::{Member, Shared, frame, link};
use meridian_core::id::{NodeId, OriginId};
use meridian_core::node::Input;
use quinn::{Connection, ConnectionError, Incoming};
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long it may take until both have greeted. Round trips between continents fit many times.
const MEETING_TIME_MAX: Duration = Duration::from_secs(5);
/// Most attempts to one address at a time: a new one is begun while older ones may still succeed.
const ATTEMPTS_MAX: usize = 8;

/// Whom to dial: a member, or whoever is at an address.
struct Target {
    node: Option<NodeId>,
    address: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum MeetError {
    #[error("the address is not found: {0}")]
    Address(std::io::Error),
    #[error("the address is not found")]
    NoAddress,
    #[error(transparent)]
    Dial(#[from] quinn::ConnectError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    #[error("its certificate names no node of this cluster")]
    Certificate,
    #[error("{}", .0.words())]
    Refused(Close),
    #[error("another connection is there, or on its way")]
    Superfluous,
}

impl Shared {
    /// Begins an attempt to each member that is not connected, and to each address that is to be joined.
    pub(super) fn dial_who_is_due(self: &Arc<Self>) {
        let mut table = self.table();
        table.close_silent();
        let members = table.due(self.own).into_iter();
        let mut targets: Vec<Target> =
            members.map(|member| Target { node: Some(member.node()), address: member.address }).collect();
        let unmet = self.join.iter().filter(|address| !table.is_met(address, self.own));
        targets.extend(unmet.map(|address| Target { node: None, address: address.clone() }));
        for target in targets {
            let attempts = table.dialling.entry(target.address.clone()).or_default();
            if *attempts < ATTEMPTS_MAX {
                *attempts += 1;
                tokio::spawn(self.clone().attempt(target));
            }
        }
    }

    async fn attempt(self: Arc<Self>, target: Target) {
        let outcome = timeout(MEETING_TIME_MAX, self.meet(&target)).await;
        let mut table = self.table();
        if let Some(attempts) = table.dialling.get_mut(&target.address) {
            *attempts -= 1;
            if *attempts == 0 {
                table.dialling.remove(&target.address);
            }
        }
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(address = target.address, "not connected: {error}"),
            Err(_) => tracing::debug!(address = target.address, "not connected: no answer"),
        }
    }

    async fn meet(self: &Arc<Self>, target: &Target) -> Result<(), MeetError> {
        let found = tokio::net::lookup_host(&target.address).await.map_err(MeetError::Address)?.next();
        let address = found.ok_or(MeetError::NoAddress)?;
        let cluster = &self.greeter.cluster;
        let name = target.node.map_or_else(|| cluster.shared_name(), |node| cluster.server_name(node));
        let dialling = self.wire.dialling.clone();
        let connection = self.wire.endpoint.connect_with(dialling, address, &name)?.await?;
        let peer = self.peer_of(&connection)?;
        {
            let mut table = self.table();
            if target.node.is_none() {
                table.found.insert(target.address.clone(), peer);
            }
            let superfluous = peer == self.own || table.connection(peer).is_some();
            if superfluous || !table.greeting.insert(peer) {
                return Err(MeetError::Superfluous);
            }
        }
        let _greeting = Greeting { shared: self, peer };
        let greeted = self.greet(&connection, peer).await;
        if let Some(close) = connection.close_reason().as_ref().and_then(refusal) {
            self.refused(peer, close);
            return Err(MeetError::Refused(close));
        }
        let (member, run) = greeted?;
        self.adopt(connection, member, run, self.own)
    }

    async fn greet(&self, connection: &Connection, peer: NodeId) -> Result<(Member, OriginId), MeetError> {
        let own = self.table().members.own().clone();
        let (mut send, mut receive) = connection.open_bi().await?;
        frame::write(&mut send, &self.greeter.hello(&own)).await?;
        let answer = frame::read(&mut receive, HELLO_BYTES_MAX).await?;
        self.greeter.check(peer, &answer).map_err(|close| refuse(connection, close))
    }

    /// A peer has dialled.
    pub(super) async fn answer(self: Arc<Self>, incoming: Incoming) {
        let from = incoming.remote_address();
        let outcome = match timeout(MEETING_TIME_MAX, self.be_met(incoming)).await {
            // It has thought better of it: it has met this node otherwise.
            Ok(Err(MeetError::Connection(ConnectionError::ApplicationClosed(_)))) => Ok(()),
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(_) => Err("it does not say who it is".into()),
        };
        if let Err(error) = outcome {
            self.metrics.peers_refused.increment(1);
            tracing::debug!(%from, "a connection for peers was not taken: {error}");
        }
    }

    async fn be_met(self: &Arc<Self>, incoming: Incoming) -> Result<(), MeetError> {
        let connection = incoming.accept()?.await?;
        let peer = self.peer_of(&connection)?;
        let (mut send, mut receive) = connection.accept_bi().await?;
        let hello = frame::read(&mut receive, HELLO_BYTES_MAX).await?;
        let (member, run) =
            self.greeter.check(peer, &hello).map_err(|close| self.turn_away(&connection, close))?;
        let admitted = match peer == self.own {
            true => Err(Close::NameInUse),
            false => self.table().admits(peer, run, peer),
        };
        admitted.map_err(|close| self.turn_away(&connection, close))?;
        let own = self.table().members.own().clone();
        frame::write(&mut send, &self.greeter.hello(&own)).await?;
        self.adopt(connection, member, run, peer)
    }

    /// Refuses a peer, and says so where somebody should look.
    fn turn_away(&self, connection: &Connection, close: Close) -> MeetError {
        if close != Close::Replaced {
            tracing::warn!(from = %connection.remote_address(), "a peer was refused: {}", close.words());
        }
        refuse(connection, close)
    }

    /// A peer has refused this node.
    fn refused(&self, peer: NodeId, close: Close) {
        match close {
            Close::NameInUse => {
                if self.table().refused_name(peer) {
                    (self.on_conflict)();
                }
            }
            Close::Replaced | Close::Stopping | Close::Silent => {}
            _ => tracing::warn!("a peer has refused this node: {}", close.words()),
        }
    }

    /// Uses a connection on which both have greeted.
    fn adopt(
        self: &Arc<Self>,
        connection: Connection,
        member: Member,
        run: OriginId,
        dialled_by: NodeId,
    ) -> Result<(), MeetError> {
        let (peer, name) = (member.node(), member.name.clone());
        let (tells, told) = oneshot::channel();
        let queue = {
            let mut table = self.table();
            table.admits(peer, run, dialled_by).map_err(|close| refuse(&connection, close))?;
            let link = Link::new(connection.clone(), run, dialled_by);
            if let Some(old) = table.put(peer, link) {
                old.close(Close::Replaced.code(), Close::Replaced.words().as_bytes());
            }
            let queue = self.outbox.open(peer);
            // The far end of the channel lives as long as this runtime.
            let _ending = self.events.send((Input::PeerUp(peer), Some(tells)));
            queue
        };
        tracing::info!(peer = name, at = %connection.remote_address(), "connected");
        self.hear_of(std::slice::from_ref(&member));
        let members = self.table().members.all().to_vec();
        tokio::spawn(link::tell_members(connection.clone(), members));
        tokio::spawn(link::serve(self.clone(), peer, name, connection, queue, told));
        Ok(())
    }

    /// Whom a connection's certificate belongs to.
    fn peer_of(&self, connection: &Connection) -> Result<NodeId, MeetError> {
        let identity = connection.peer_identity().ok_or(MeetError::Certificate)?;
        let chain =
            identity.downcast::<Vec<CertificateDer<'static>>>().map_err(|_| MeetError::Certificate)?;
        let node = chain.first().and_then(|certificate| self.greeter.cluster.node_of(certificate));
        node.ok_or(MeetError::Certificate)
    }
}

/// That a greeting is under way, until this is dropped.
struct Greeting<'a> {
    shared: &'a Shared,
    peer: NodeId,
}

impl Drop for Greeting<'_> {
    fn drop(&mut self) {
        self.shared.table().greeting.remove(&self.peer);
    }
}

fn refuse(connection: &Connection, close: Close) -> MeetError {
    connection.close(close.code(), close.words().as_bytes());
    MeetError::Refused(close)
}

/// Why the other side has ended a connection.
fn refusal(error: &ConnectionError) -> Option<Close> {
    let ConnectionError::ApplicationClosed(closed) = error else { return None };
    Close::ALL.into_iter().find(|close| close.code() == closed.error_code)
}
