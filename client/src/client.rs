//! The client: which node is asked, and what happens when it does not answer.

use crate::bucket::Bucket;
use crate::call::Call;
use crate::endpoint::Endpoint;
use crate::error::{Attempt, Error, Kind, total};
use crate::health::Table;
use crate::list::Policies;
use crate::request::{Answer, Method, Request};
use crate::retry::{is_safe_again, pause};
use crate::transport::{Failure, Transport, after};
use futures_util::{StreamExt, stream};
use meridian_api::cluster::{Cluster, Convergence};
use std::future::IntoFuture;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// The longest time that a look whether a node is back takes.
const LOOK_TIME_MAX: Duration = Duration::from_secs(20);

/// A client of a cluster. It is cheap to clone, and all clones share connections and what is known of the nodes.
///
/// **Which node is asked.** The first of the endpoints that is well; so name the nearest first. One that cannot be reached, does not
/// answer in time, or says that it does not serve is left alone for a pause that doubles from 0.2 s to 20 s. Then the client looks
/// at it with a request of its own, `GET /readyz`, and returns to it once it serves: no call of yours pays for looking. Calls with a
/// shorter time than [an attempt has](Builder::attempt_timeout), and those that you drop, count against a node that does not answer once
/// their times add up.
///
/// **What is sent again**, to the next node, until the time of the call is up, or [its rounds](Builder::rounds_max):
/// - what a node has not applied and another may: no connection, or a refusal for now (503, 507), whatever the call is;
/// - when it is not known whether it was applied (the connection broke, or no answer came), only a call that leaves the same when it
///   is done twice: reads, and all writes but increments and what puts into a [`Multi`](crate::Multi). Such a write happens
///   once or more between its begin and its end: if somebody else writes the key in between, the second time is the later of
///   the two writes. [`Builder::repeat_writes`] turns that off.
///
/// Each call ends within its [time](Builder::timeout), with an answer or an [`Error`].
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoints: Vec<Endpoint>,
    health: Mutex<Table>,
    transport: Transport,
    /// How many more calls may be under way.
    free: Semaphore,
    settings: Builder,
}

/// Settings of a [`Client`], with what holds unless they are set.
#[derive(Clone, Debug)]
pub struct Builder {
    timeout: Duration,
    attempt_timeout: Duration,
    connect_timeout: Duration,
    rounds_max: u32,
    calls_max: usize,
    answer_bytes_max: usize,
    repeats_writes: bool,
    user_agent: String,
}

/// How a node has fared, as this client knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// The node.
    pub endpoint: Endpoint,
    /// Nothing is known against it.
    pub is_well: bool,
    /// How often in a row it failed.
    pub failures: u32,
}

impl Builder {
    /// How long a call may take in all, with everything that is sent again. 10 s unless set; each call may
    /// [say its own](Call::timeout).
    pub fn timeout(self, timeout: Duration) -> Builder {
        Builder { timeout, ..self }
    }

    /// How long one node may take before the next one is asked, where a call is safe to be sent again and more than one node is named.
    /// 3 s unless set. Each time that all nodes have been asked it is twice as long, for an answer that takes longer everywhere.
    pub fn attempt_timeout(self, attempt_timeout: Duration) -> Builder {
        Builder { attempt_timeout, ..self }
    }

    /// How long a connection may take to be made, with the finding of the node's address. 1 s unless set.
    pub fn connect_timeout(self, connect_timeout: Duration) -> Builder {
        Builder { connect_timeout, ..self }
    }

    /// How often all nodes are asked, one after the other, before a call is given up though there is time left. As often as there is
    /// time unless set, at least once. A person who waits for an answer wants few.
    pub fn rounds_max(self, rounds_max: u32) -> Builder {
        Builder { rounds_max: rounds_max.max(1), ..self }
    }

    /// How many calls may be under way at a time, each on a connection of its own; further ones wait. 64 unless set, at least 1.
    pub fn calls_max(self, calls_max: usize) -> Builder {
        Builder { calls_max: calls_max.clamp(1, Semaphore::MAX_PERMITS), ..self }
    }

    /// The longest answer that is read, in bytes; a longer one is [`Kind::Strange`]. 64 MiB unless set: as many members as are read at
    /// once, with room. Answers take at most this for [each call](Builder::calls_max) under way, and twice that while their pieces are
    /// put together.
    pub fn answer_bytes_max(self, answer_bytes_max: usize) -> Builder {
        Builder { answer_bytes_max, ..self }
    }

    /// Whether a write is sent again of which it is not known whether it was applied, where doing it twice leaves the same. It is,
    /// unless set.
    pub fn repeat_writes(self, repeats_writes: bool) -> Builder {
        Builder { repeats_writes, ..self }
    }

    /// How the client calls itself to the nodes.
    pub fn user_agent(self, user_agent: impl Into<String>) -> Builder {
        Builder { user_agent: user_agent.into(), ..self }
    }

    /// A client of these nodes, the preferred one first. Nothing is sent yet.
    ///
    /// # Errors
    /// There is no endpoint, or one is not like `http://host:port`: [`Kind::Invalid`].
    pub fn connect<E: AsRef<str>>(self, endpoints: impl IntoIterator<Item = E>) -> Result<Client, Error> {
        let parsed = endpoints.into_iter().map(|endpoint| endpoint.as_ref().parse());
        let endpoints = parsed
            .collect::<Result<Vec<Endpoint>, String>>()
            .map_err(|why| Error::invalid("connect", why))?;
        if endpoints.is_empty() {
            return Err(Error::invalid("connect", "name at least one endpoint, like http://127.0.0.1:7480"));
        }
        Ok(Client(Arc::new(Inner {
            health: Mutex::new(Table::new(endpoints.len())),
            transport: Transport::new(
                self.connect_timeout,
                self.calls_max,
                self.answer_bytes_max,
                self.user_agent.clone(),
            ),
            free: Semaphore::new(self.calls_max),
            endpoints,
            settings: self,
        })))
    }
}

impl Client {
    /// A client of these nodes, the preferred one first. Nothing is sent yet.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub fn connect<E: AsRef<str>>(endpoints: impl IntoIterator<Item = E>) -> Result<Client, Error> {
        Client::builder().connect(endpoints)
    }

    /// Settings for a client.
    pub fn builder() -> Builder {
        Builder {
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(1),
            rounds_max: u32::MAX,
            calls_max: 64,
            answer_bytes_max: 64 << 20,
            repeats_writes: true,
            user_agent: concat!("meridian-client/", env!("CARGO_PKG_VERSION")).into(),
        }
    }

    /// A bucket. It need not exist: the first write makes it.
    pub fn bucket(&self, name: impl Into<String>) -> Bucket {
        Bucket::new(self.clone(), name.into())
    }

    /// The policies that were declared, by their buckets.
    pub fn policies(&self) -> Policies {
        Policies::new(self.clone())
    }

    /// The cluster, as the node that answers sees it.
    pub fn cluster(&self) -> Call<Cluster> {
        Call::json(self, Request::new(Method::GET, "/v1/cluster"))
    }

    /// Whether all replicas agree, and the shards that differ. The node that answers asks all members, for a second at most.
    pub fn convergence(&self) -> Call<Convergence> {
        Call::json(self, Request::new(Method::GET, "/v1/cluster/convergence"))
    }

    /// Makes many calls, as many at a time as [the client may](Builder::calls_max), and gives what came of each, in their order. The
    /// time of each begins at its turn.
    ///
    /// ```no_run
    /// # async fn example(client: meridian_client::Client) -> Result<(), meridian_client::Error> {
    /// let users = client.bucket("users");
    /// let puts = (0..100).map(|n| users.register(format!("{n}")).put("new"));
    /// for put in client.all(puts).await {
    ///     put?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn all<C, T>(&self, calls: impl IntoIterator<Item = C>) -> Vec<Result<T, Error>>
    where
        C: IntoFuture<Output = Result<T, Error>>,
    {
        let calls: Vec<_> = calls.into_iter().map(IntoFuture::into_future).collect();
        stream::iter(calls).buffered(self.0.settings.calls_max).collect().await
    }

    /// How each node has fared, in the order in which they were named.
    pub fn standings(&self) -> Vec<Standing> {
        let health = self.health();
        let standings = self.0.endpoints.iter().zip(health.all());
        let standings = standings.map(|(endpoint, health)| Standing {
            endpoint: endpoint.clone(),
            is_well: health.is_well(),
            failures: health.failures,
        });
        standings.collect()
    }

    /// Sends a request as it stands, with the client's time: for what has no call of its own.
    ///
    /// # Errors
    /// As of every call; a refusal too, also that nothing is there.
    pub async fn send(&self, request: Request) -> Result<Answer, Error> {
        self.send_within(&request, self.0.settings.timeout).await
    }

    /// Sends a request to one node after the other until one answers, within a time.
    pub(crate) async fn send_within(&self, request: &Request, time_max: Duration) -> Result<Answer, Error> {
        let deadline = after(Instant::now(), time_max);
        let mut rounds_max = self.0.settings.rounds_max;
        let mut failures = Vec::new();
        for round in 1_u32.. {
            let before = failures.len();
            match self.ask_each(request, deadline, round, &mut failures).await {
                ControlFlow::Break(Some(answer)) => return Ok(answer),
                ControlFlow::Break(None) => break,
                ControlFlow::Continue(()) if round >= rounds_max => break,
                ControlFlow::Continue(()) => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let asked_for = failures[before..].iter().map(|(_, failure)| failure.retry_after).min();
            let pause = pause(round, fastrand::f64());
            let longer = pause.max(asked_for.flatten().unwrap_or_default());
            let pause = if longer < left {
                longer
            } else if pause < left && self.0.endpoints.len() > 1 {
                // All want to be asked when time is up. One may be back before.
                rounds_max = round + 1;
                pause
            } else {
                break;
            };
            tokio::time::sleep(pause).await;
        }
        Err(self.given_up(request, failures))
    }

    /// Asks one node after the other, when it is this call's turn, for the first time in round 1. Gives an answer, or nothing where none is to be had.
    async fn ask_each(
        &self,
        request: &Request,
        deadline: Instant,
        round: u32,
        failures: &mut Vec<(usize, Failure)>,
    ) -> ControlFlow<Option<Answer>> {
        self.look_at_those_that_were_down();
        let Ok(Ok(_turn)) = timeout_at(deadline, self.0.free.acquire()).await else {
            return ControlFlow::Break(None);
        };
        let is_repeatable = request.is_repeatable && (request.is_read() || self.0.settings.repeats_writes);
        let patience = self.0.settings.attempt_timeout.saturating_mul(2_u32.saturating_pow(round - 1));
        let order = self.health().order();
        for node in &order {
            let until = match is_repeatable && order.len() > 1 {
                true => deadline.min(after(Instant::now(), patience)),
                // Nobody is left to be asked instead.
                false => deadline,
            };
            let failure = match self.attempt(*node, request, until).await {
                Ok(answer) => return ControlFlow::Break(Some(answer)),
                Err(failure) => failure,
            };
            let ends = !is_safe_again(is_repeatable, &failure);
            failures.push((*node, failure));
            if ends || Instant::now() >= deadline {
                return ControlFlow::Break(None);
            }
        }
        ControlFlow::Continue(())
    }

    async fn attempt(&self, node: usize, request: &Request, until: Instant) -> Result<Answer, Failure> {
        let under_way = UnderWay { client: self, node, began: Instant::now(), has_ended: false };
        let sent = self.0.transport.send(&self.0.endpoints[node], request, until).await;
        under_way.end(&sent);
        sent
    }

    /// Looks whether nodes that have been left alone for long enough serve again; no call waits for it.
    fn look_at_those_that_were_down(&self) {
        let time = self.0.settings.attempt_timeout.min(LOOK_TIME_MAX);
        while let Some(node) = self.health().due(Instant::now().into(), time) {
            let client = self.clone();
            tokio::spawn(async move {
                let ready = Request::new(Method::GET, "/readyz");
                // How it fared is kept; nobody waits for the answer.
                drop(client.attempt(node, &ready, after(Instant::now(), time)).await);
            });
        }
    }

    fn given_up(&self, request: &Request, failures: Vec<(usize, Failure)>) -> Error {
        let outcome = total(failures.iter().map(|(_, failure)| failure.outcome));
        // What a node said, or that there was one, says more than that another could not be reached.
        let telling =
            failures.iter().rfind(|(_, failure)| failure.kind != Kind::Unreachable).or(failures.last());
        // Without an attempt it was never this call's turn.
        let kind = telling.map_or(Kind::Busy, |(_, failure)| failure.kind.clone());
        let attempt = |(node, failure): (usize, Failure)| Attempt {
            endpoint: self.0.endpoints[node].clone(),
            what: failure.what,
        };
        Error::new(request.name(), kind, outcome, failures.into_iter().map(attempt).collect())
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.0.settings.timeout
    }

    fn health(&self) -> MutexGuard<'_, Table> {
        self.0.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt under way. What becomes of it is kept, also where its caller drops it.
struct UnderWay<'a> {
    client: &'a Client,
    node: usize,
    began: Instant,
    has_ended: bool,
}

impl UnderWay<'_> {
    fn end(mut self, sent: &Result<Answer, Failure>) {
        self.has_ended = true;
        let Builder { attempt_timeout, connect_timeout, .. } = self.client.0.settings;
        match sent {
            Err(failure) if failure.is_down => {
                self.client.health().failed(self.node, Instant::now().into(), fastrand::f64());
            }
            Err(failure) if failure.is_late => match failure.kind {
                Kind::Unreachable => self.in_vain(connect_timeout),
                _ => self.in_vain(attempt_timeout),
            },
            // Nothing was sent, so nothing was learnt.
            Err(failure) if matches!(failure.kind, Kind::Invalid(_)) => {}
            _ => self.client.health().well(self.node),
        }
    }

    fn in_vain(&self, patience: Duration) {
        let time = (self.began.into(), Instant::now().into());
        self.client.health().in_vain(self.node, time, patience, fastrand::f64());
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.in_vain(self.client.0.settings.connect_timeout);
        }
    }
}
