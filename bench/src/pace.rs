//! When a request begins: at once, or in an open loop at the time that the rate gives it.
//!
//! The open loop has one schedule for all connections. A clock makes requests due; the next free connection takes the
//! oldest. Latency counts from when a request was due, so that a node that stalls is charged for all that would have
//! been asked meanwhile. What is due and never taken is counted as unsent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How often the clock looks at most. A request may begin so much late, which counts as its latency.
const LOOK_TIME: Duration = Duration::from_micros(100);
/// How long after the end what is due may still be taken.
const GRACE: Duration = Duration::from_secs(1);

/// The times of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) begin: Instant,
    /// When the warm-up ends.
    pub(crate) measured_from: Instant,
    pub(crate) end: Instant,
}

impl Times {
    /// A run that begins now.
    pub(crate) fn from_now(warmup: Duration, duration: Duration) -> Self {
        let begin = Instant::now();
        Times { begin, measured_from: begin + warmup, end: begin + warmup + duration }
    }
}

/// When requests begin.
pub(crate) enum Pace {
    /// Each when the connection has its answer, until the end.
    Closed(Instant),
    /// At a rate.
    Open(Schedule),
}

impl Pace {
    /// Waits for the next request's time. It is `None` after the end.
    pub(crate) async fn next(&self) -> Option<Instant> {
        match self {
            Pace::Closed(end) => Some(Instant::now()).filter(|now| now < end),
            Pace::Open(schedule) => schedule.next().await,
        }
    }
}

/// The schedule of an open loop.
pub(crate) struct Schedule {
    times: Times,
    /// Requests in a second.
    pub(crate) rate: f64,
    /// Holds a permit for each request that is due and not taken; closed when none is given any more.
    due: Semaphore,
    taken: AtomicU64,
    stopped: AtomicBool,
}

impl Schedule {
    /// So many requests in a second, from the begin to the end.
    pub(crate) fn new(rate: f64, times: Times) -> Self {
        Schedule { times, rate, due: Semaphore::new(0), taken: 0.into(), stopped: false.into() }
    }

    /// The clock: makes requests due until the end, on the thread that calls it.
    pub(crate) fn run(&self) {
        let total = self.before(self.times.end);
        let mut given = 0;
        while given < total && !self.stopped.load(Ordering::Relaxed) {
            let now = Instant::now();
            // One more than those before now: the one that is due now.
            let due = (self.before(now) + u64::from(now >= self.at(self.before(now)))).min(total);
            if due > given {
                self.due.add_permits((due - given) as usize);
                given = due;
            }
            let pause = self.at(given).saturating_duration_since(Instant::now());
            thread::park_timeout(pause.clamp(LOOK_TIME, GRACE));
        }
        let until = self.times.end + GRACE;
        while self.due.available_permits() > 0
            && Instant::now() < until
            && !self.stopped.load(Ordering::Relaxed)
        {
            thread::park_timeout(LOOK_TIME);
        }
        self.due.close();
    }

    /// Nobody takes requests any more.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// How many requests were due and never taken.
    pub(crate) fn unsent(&self) -> u64 {
        self.before(self.times.end) - self.taken.load(Ordering::Relaxed)
    }

    async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        Some(self.at(self.taken.fetch_add(1, Ordering::Relaxed)))
    }

    /// When the request of this number is due.
    fn at(&self, number: u64) -> Instant {
        self.times.begin + Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// How many requests are due before a time.
    fn before(&self, time: Instant) -> u64 {
        (time.saturating_duration_since(self.times.begin).as_secs_f64() * self.rate).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What was taken of a schedule by one who takes so many and no more.
    fn taken(schedule: &Schedule, most: usize) -> Vec<Instant> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| schedule.run());
            let mut taken = Vec::new();
            while taken.len() < most {
                let Some(at) = runtime.block_on(schedule.next()) else { break };
                assert!(Instant::now() >= at, "it is not taken before it is due");
                taken.push(at);
            }
            taken
        })
    }

    #[test]
    fn requests_are_due_at_the_rate_and_none_is_left_out() {
        let times = Times::from_now(20 * MS, 80 * MS);
        let schedule = Schedule::new(1000.0, times);
        let taken = taken(&schedule, usize::MAX);
        assert_eq!(taken.len(), 100);
        for (number, at) in taken.iter().enumerate() {
            let off = at.duration_since(times.begin).as_secs_f64() * 1000.0 - number as f64;
            assert!(off.abs() < 0.001, "number {number} is {off} ms off");
        }
        assert_eq!(schedule.unsent(), 0);
    }

    #[test]
    fn what_nobody_takes_is_counted() {
        let schedule = Schedule::new(1000.0, Times::from_now(20 * MS, 30 * MS));
        let clock = Instant::now();
        let some = taken(&schedule, 35);
        assert_eq!((some.len(), schedule.unsent()), (35, 15));
        assert!(clock.elapsed() >= GRACE, "it waited for them to be taken");
        let early = Schedule::new(1000.0, Times::from_now(20 * MS, 30 * MS));
        early.stop();
        assert_eq!((taken(&early, 5).len(), early.unsent()), (0, 50));
    }
}
