//! Connections at work: the keys that must be there before, and the run that is measured.
//!
//! Each thread has a runtime of its own and its share of the connections. The main thread waits and shows how far it is.

use crate::http::{Answer, Connection};
use crate::options::RunOptions;
use crate::pace::{Pace, Schedule, Times};
use crate::plan::{Asker, Kind, Operation, Plan};
use crate::record::Records;
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use meridian_api::header;
use serde::{Deserialize, Serialize};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How often the main thread looks.
const LOOK_TIME: Duration = Duration::from_millis(100);
/// How long a node may take for answers after the end, and for its keys to be everywhere after loading.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a connection that was refused waits before it tries again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// A node that is asked.
pub(crate) struct Node {
    /// Host and port, as the URL has them.
    pub(crate) authority: String,
    address: SocketAddr,
}

/// What it took to write the keys first.
#[derive(Serialize)]
pub(crate) struct Loaded {
    keys: u64,
    seconds: f64,
}

/// What was measured.
pub(crate) struct Measured {
    pub(crate) records: Records,
    /// From the end of the warm-up to the last answer, or to the planned end if that is later.
    pub(crate) seconds: f64,
    /// The open loop's rate, and how many of its requests were due and never sent.
    pub(crate) schedule: Option<(f64, u64)>,
}

/// Why an operation failed.
struct Failure {
    code: String,
    /// Nobody listens: trying again at once would be in vain.
    unreachable: bool,
}

/// The nodes at these URLs.
///
/// # Errors
/// A URL that is none, or a name that is not known.
pub(crate) fn resolve(urls: &[String]) -> anyhow::Result<Vec<Node>> {
    let node = |url: &String| {
        let authority = url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let Some(authority) = authority.filter(|rest| !rest.contains('/')) else {
            bail!("the endpoint {url} is not written like http://127.0.0.1:7480");
        };
        let mut addresses =
            authority.to_socket_addrs().with_context(|| format!("the endpoint {url} (http://HOST:PORT)"))?;
        let address = addresses.next().with_context(|| format!("{authority} has no address"))?;
        Ok(Node { authority: authority.into(), address })
    };
    urls.iter().map(node).collect()
}

/// The version that a node tells, if it does.
pub(crate) fn version(node: &Node) -> Option<String> {
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n", node.authority);
    let asked = async {
        let mut connection = Connection::new(node.address);
        let answer = connection.ask(request.as_bytes()).await.ok()?;
        version_in(str::from_utf8(answer.body).ok()?).map(String::from)
    };
    runtime().ok()?.block_on(async { timeout(Duration::from_secs(5), asked).await.ok()? })
}

fn version_in(metrics: &str) -> Option<&str> {
    let labels = metrics.lines().find_map(|line| line.strip_prefix("meridian_info{"))?;
    labels.split_once("version=\"")?.1.split('"').next()
}

/// Writes the keys that will be read, and with several nodes waits until each has them.
///
/// # Errors
/// When a key cannot be written, or does not come to a node in time.
pub(crate) fn keys(plan: &Arc<Plan>, options: &RunOptions, nodes: &[Node]) -> anyhow::Result<Loaded> {
    let began = Instant::now();
    let (keys, next) = (options.keys, Arc::new(AtomicU64::new(0)));
    let bar = bar(keys, "loading {wide_bar} {pos}/{len} keys, {eta} left");
    let write = |seat: Seat| {
        let next = next.clone();
        let mut worker = Worker::new(seat, plan);
        async move {
            loop {
                let key = next.fetch_add(1, Ordering::Relaxed);
                if key >= keys {
                    return Ok(());
                }
                worker.load(key).await.with_context(|| format!("key {key} was not written"))?;
            }
        }
    };
    on_threads(options, nodes, write, || bar.set_position(next.load(Ordering::Relaxed).min(keys)))?;
    if nodes.len() > 1 {
        let until = Instant::now() + ANSWER_TIME_MAX;
        let (each, connections) = (nodes.len(), options.connections);
        let read = |seat: Seat| {
            // Connection 0, n, 2n... lead to the first of n nodes, and read its keys in turns.
            let (first, step) = (seat.index / each, (connections - seat.index % each).div_ceil(each));
            let mut worker = Worker::new(seat, plan);
            async move {
                for key in (first as u64..keys).step_by(step) {
                    worker.wait_for(key, until).await?;
                }
                Ok(())
            }
        };
        bar.set_message("waiting until every node has them");
        on_threads(options, nodes, read, || bar.tick())?;
    }
    bar.finish_and_clear();
    Ok(Loaded { keys, seconds: began.elapsed().as_secs_f64() })
}

/// Runs the workload.
///
/// # Errors
/// When a node cannot be connected to at the start. Later failures are counted.
pub(crate) fn measure(plan: &Arc<Plan>, options: &RunOptions, nodes: &[Node]) -> anyhow::Result<Measured> {
    for node in nodes {
        std::net::TcpStream::connect_timeout(&node.address, Duration::from_secs(5))
            .with_context(|| format!("no node answers at http://{}", node.authority))?;
    }
    let times = Times::from_now(options.warmup, options.duration);
    let pace = Arc::new(match options.rate {
        Some(rate) => Pace::Open(Schedule::new(rate, times)),
        None => Pace::Closed(times.end),
    });
    let answered = Arc::new(AtomicU64::new(0));
    let records: Vec<_> = (0..options.threads).map(|_| Arc::new(Mutex::new(Records::new()))).collect();
    let ask = |seat: Seat| {
        let records = records[seat.index % records.len()].clone();
        let (pace, answered) = (pace.clone(), answered.clone());
        let worker = Worker::new(seat, plan);
        async move {
            worker.run(&pace, times, &records, &answered).await;
            Ok(())
        }
    };
    let bar = bar((times.end - times.begin).as_millis() as u64, "{msg} {wide_bar} {eta} left");
    let show = || {
        bar.set_position(times.begin.elapsed().as_millis() as u64);
        let rate = answered.load(Ordering::Relaxed) as f64 / times.begin.elapsed().as_secs_f64();
        let phase = if Instant::now() < times.measured_from { "warming up" } else { "measuring" };
        bar.set_message(format!("{phase} {rate:.0}/s"));
    };
    let ended = thread::scope(|scope| {
        if let Pace::Open(schedule) = &*pace {
            scope.spawn(|| schedule.run());
        }
        let ended = on_threads(options, nodes, ask, show);
        if let Pace::Open(schedule) = &*pace {
            schedule.stop();
        }
        ended
    });
    bar.finish_and_clear();
    ended?;
    let mut all = Records::new();
    for records in records {
        let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
        all.merge(std::mem::replace(&mut records, Records::new()));
    }
    let schedule = match &*pace {
        Pace::Open(schedule) => Some((schedule.rate, schedule.unsent())),
        Pace::Closed(_) => None,
    };
    let ended = all.last.unwrap_or(times.end).max(times.end);
    Ok(Measured { records: all, seconds: (ended - times.measured_from).as_secs_f64(), schedule })
}

/// The place of a connection in a run.
struct Seat {
    index: usize,
    address: SocketAddr,
    authority: String,
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// A bar on standard error, where a person looks at it.
fn bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    ProgressBar::new(length).with_style(style)
}

/// Runs a task for each connection, spread over the threads, and shows how far it is meanwhile.
fn on_threads<F>(
    options: &RunOptions,
    nodes: &[Node],
    task: impl Fn(Seat) -> F + Sync,
    show: impl Fn(),
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let seats = |thread: usize| {
        (thread..options.connections).step_by(options.threads).map(|index| {
            let Node { authority, address } = &nodes[index % nodes.len()];
            Seat { index, address: *address, authority: authority.clone() }
        })
    };
    let run = |thread: usize| {
        runtime()?.block_on(async {
            let mut tasks = JoinSet::new();
            seats(thread).for_each(|seat| drop(tasks.spawn(task(seat))));
            while let Some(ended) = tasks.join_next().await {
                ended.context("a connection's task ended by a bug of ours")??;
            }
            Ok(())
        })
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads).map(|thread| scope.spawn(move || run(thread))).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            show();
            thread::park_timeout(LOOK_TIME);
        }
        let joined = threads.into_iter().map(|thread| thread.join().expect("no thread panics"));
        joined.collect::<anyhow::Result<()>>()
    })
}

/// A connection and what it asks.
struct Worker {
    connection: Connection,
    asker: Asker,
}

impl Worker {
    fn new(seat: Seat, plan: &Arc<Plan>) -> Self {
        Worker { connection: Connection::new(seat.address), asker: plan.asker(seat.index, &seat.authority) }
    }

    /// Asks until the end.
    async fn run(mut self, pace: &Pace, times: Times, records: &Mutex<Records>, answered: &AtomicU64) {
        let late = tokio::time::Instant::from_std(times.end + ANSWER_TIME_MAX);
        let mut asked = None;
        let all = async {
            while let Some(begin) = pace.next().await {
                let operation = self.asker.draw();
                asked = Some(operation.kind);
                let outcome = self.perform(operation).await;
                self.asker.done(operation);
                let unreachable = outcome.as_ref().is_err_and(|failure| failure.unreachable);
                let now = Instant::now();
                if now >= times.measured_from {
                    let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
                    records.last = Some(now);
                    match outcome {
                        Ok(()) => records.done(operation.kind, now - begin),
                        Err(failure) => records.failed(operation.kind, failure.code),
                    }
                }
                answered.fetch_add(1, Ordering::Relaxed);
                if unreachable {
                    sleep(RECONNECT_PAUSE).await;
                }
            }
        };
        if tokio::time::timeout_at(late, all).await.is_err()
            && let Some(kind) = asked
        {
            let why = format!("no answer {} s after the end", ANSWER_TIME_MAX.as_secs());
            records.lock().unwrap_or_else(PoisonError::into_inner).failed(kind, why);
        }
    }

    async fn perform(&mut self, operation: Operation) -> Result<(), Failure> {
        let Worker { connection, asker } = self;
        if let Err(error) = connection.open().await {
            return Err(Failure { code: format!("connect: {}", error.kind()), unreachable: true });
        }
        let answer = checked(connection.ask(asker.request(operation)).await)?;
        if operation.kind == Kind::ReadModifyWrite {
            let context = answer.header(header::CONTEXT).map(<[u8]>::to_vec);
            checked(connection.ask(asker.put(operation.key, context.as_deref())).await)?;
        }
        Ok(())
    }

    /// Writes a key before the run.
    async fn load(&mut self, key: u64) -> anyhow::Result<()> {
        let written = self.perform(Operation { kind: Kind::Put, key }).await;
        written.map_err(|failure| anyhow::anyhow!(failure.code))
    }

    /// Reads a key until it is there.
    async fn wait_for(&mut self, key: u64, until: Instant) -> anyhow::Result<()> {
        loop {
            match self.perform(Operation { kind: Kind::Get, key }).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.code.starts_with("404") && Instant::now() < until => {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(failure) => bail!("key {key} did not come to a node: {}", failure.code),
            }
        }
    }
}

/// What stands in a problem that counts.
#[derive(Deserialize)]
struct Problem {
    code: String,
}

/// An answer that is none, or that says no, as a failure.
fn checked(answer: std::io::Result<Answer<'_>>) -> Result<Answer<'_>, Failure> {
    match answer {
        Ok(answer) if answer.is_well() => Ok(answer),
        Ok(Answer { status, body, .. }) => {
            let code = match serde_json::from_slice::<Problem>(body) {
                Ok(problem) => format!("{status} {}", problem.code),
                Err(_) => status.to_string(),
            };
            Err(Failure { code, unreachable: false })
        }
        Err(error) => Err(Failure { code: format!("connection: {error}"), unreachable: false }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::options;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// A node that answers each request on each of its connections alike, for as long as the test runs.
    fn node(answer: &'static str) -> Vec<Node> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    while stream.read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0) {
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        resolve(&[url]).unwrap()
    }

    fn measured(answer: &'static str, words: &[&str]) -> Measured {
        let short = ["--connections", "2", "--warmup", "50ms", "--duration", "200ms", "--keys", "10"];
        let options = options(&[&short, words].concat());
        measure(&Plan::new(&options), &options, &node(answer)).unwrap()
    }

    const WELL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const ABSENT: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 24\r\n\r\n{\"code\":\"key_not_found\"}";

    #[test]
    fn a_closed_loop_counts_what_was_answered() {
        let measured = measured(WELL, &["--workload", "f", "--threads", "2"]);
        let kinds: Vec<Kind> = measured.records.kinds().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Kind::Get, Kind::ReadModifyWrite]);
        assert!(measured.records.count() > 10 && measured.records.errors() == 0);
        assert!(measured.schedule.is_none());
    }

    #[test]
    fn what_is_refused_counts_as_an_error_by_its_code() {
        let measured = measured(ABSENT, &["--workload", "get"]);
        let (count, errors) = (measured.records.count(), measured.records.errors());
        assert!(count == 0 && errors > 10, "{count} {errors}");
        assert_eq!(measured.records.errors_by_code()["404 key_not_found"], errors);
    }

    #[test]
    fn an_open_loop_asks_as_often_as_it_was_told() {
        let measured = measured(WELL, &["--workload", "put", "--rate", "500/s"]);
        assert_eq!(measured.schedule, Some((500.0, 0)));
        // 25 are due in the warm-up. Those of them that are answered late count too.
        let count = measured.records.count();
        assert!((100..=125).contains(&count) && measured.seconds >= 0.2, "{count}");
    }

    #[test]
    fn an_endpoint_is_a_url_without_a_path() {
        let urls = |url: &str| resolve(&[url.into()]).map(|nodes| nodes[0].authority.clone());
        assert_eq!(urls("http://127.0.0.1:7480").unwrap(), "127.0.0.1:7480");
        assert_eq!(urls("http://[::1]:7480/").unwrap(), "[::1]:7480");
        for bad in
            ["127.0.0.1:7480", "https://127.0.0.1:7480", "http://127.0.0.1:7480/v1", "http://127.0.0.1"]
        {
            assert!(urls(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_version_is_read_where_it_is_told() {
        let metrics = "# TYPE meridian_info gauge\nmeridian_info{version=\"0.1.0\",node=\"n1\"} 1\n";
        assert_eq!(version_in(metrics), Some("0.1.0"));
        assert_eq!(version_in("x"), None);
    }

    #[test]
    fn loading_stops_at_the_first_refusal_and_says_which() {
        let options = options(&["--keys", "10", "--connections", "2"]);
        let plan = Plan::new(&options);
        assert_eq!(keys(&plan, &options, &node(WELL)).unwrap().keys, 10);
        let error = keys(&plan, &options, &node(ABSENT)).err().unwrap();
        assert!(format!("{error:#}").contains("404 key_not_found"), "{error:#}");
    }
}
