//! What the listener and its connections share: the limits, and how the node stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What is refused beyond.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most open connections; one more is answered 503 and closed.
    pub connections_max: usize,
    /// Most bytes of bodies that are held at once; a request beyond is answered 503.
    pub bytes_in_flight_max: usize,
    /// How long a request's head may take; then 408.
    pub header_time_max: Duration,
    /// How long a connection may be idle between requests; then it is closed without a word.
    pub idle_time_max: Duration,
    /// How long a request's body may take, and how long a client may not read its answer; then 408, or the end.
    pub body_time_max: Duration,
    /// Most bytes of a value; a longer one is answered 413.
    pub value_bytes_max: usize,
    /// Whether the listener is reached from this machine only: then a request for another host is refused.
    pub loopback: bool,
    /// Web origins whose pages may use this node.
    pub cors_origins: Vec<String>,
}

/// How the node stands, for those who answer.
#[derive(Debug, Default)]
pub struct State {
    filling: AtomicBool,
    stopping: AtomicBool,
    connections: AtomicUsize,
}

impl State {
    /// Whether requests are taken.
    pub fn is_serving(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed)
    }

    /// Whether the node lacks what it is to hold: it came empty, and joins others.
    pub fn is_filling(&self) -> bool {
        self.filling.load(Ordering::Relaxed)
    }

    /// Notes whether the node lacks what it is to hold.
    pub fn set_filling(&self, filling: bool) {
        self.filling.store(filling, Ordering::Relaxed);
    }

    /// No more requests are taken.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Counts a connection while it is open.
pub(super) struct Open(Arc<State>);

impl Open {
    pub(super) fn count(state: &Arc<State>) -> Self {
        state.connections.fetch_add(1, Ordering::Relaxed);
        Open(state.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
