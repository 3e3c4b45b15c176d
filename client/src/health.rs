//! How each node has fared, and so which is asked first.
//!
//! - Nodes are preferred in the order in which they were named. One that failed is down: it is asked after all others.
//! - It is down for a pause that doubles with each failure. Then somebody must look whether it is back, and nobody's call
//!   waits for that: the look is a request of its own.
//! - It is pure: time is given to it.

use std::time::{Duration, Instant};

/// How long a node is left alone after its first failure.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest time that a node is left alone.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// How one node has fared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Health {
    /// Failures since it was last well.
    pub(crate) failures: u32,
    /// Until when it is left alone; `None` while it is well.
    down_until: Option<Instant>,
    /// Somebody looks whether it is back.
    is_looked_at: bool,
}

impl Health {
    /// Whether nothing is known against it.
    pub(crate) fn is_well(&self) -> bool {
        self.down_until.is_none()
    }
}

/// How all nodes have fared, by their places in the list.
#[derive(Debug)]
pub(crate) struct Table(Vec<Health>);

impl Table {
    /// Nothing is known of any of them.
    pub(crate) fn new(nodes: usize) -> Table {
        Table(vec![Health::default(); nodes])
    }

    /// Each node's, in order.
    pub(crate) fn all(&self) -> &[Health] {
        &self.0
    }

    /// In which order the nodes are asked: those that are well as they were named, then the others, soonest back first.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.sort_by_key(|node| self.0[*node].down_until);
        order
    }

    /// It answered.
    pub(crate) fn well(&mut self, node: usize) {
        self.0[node] = Health::default();
    }

    /// It could not be reached, did not answer, or said that it does not serve. `spread` in 0..1 keeps many clients from
    /// coming back at once.
    pub(crate) fn failed(&mut self, node: usize, now: Instant, spread: f64) {
        let health = &mut self.0[node];
        let pause = PAUSE_MIN.saturating_mul(1 << health.failures.min(10)).min(PAUSE_MAX);
        // Calls that were under way together fail together: that is one failure.
        if health.down_until.is_none_or(|until| until <= now) {
            health.failures = health.failures.saturating_add(1);
            health.down_until = Some(now + pause.mul_f64(1.0 - spread / 4.0));
        }
        health.is_looked_at = false;
    }

    /// A node that has been left alone for long enough. The caller looks whether it is back, and says how it fared.
    pub(crate) fn due(&mut self, now: Instant) -> Option<usize> {
        let is_due =
            |health: &Health| !health.is_looked_at && health.down_until.is_some_and(|until| until <= now);
        let node = self.0.iter().position(is_due)?;
        self.0[node].is_looked_at = true;
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nodes_are_asked_as_they_were_named_and_those_that_are_down_last() {
        let (mut table, now) = (Table::new(4), Instant::now());
        assert_eq!(table.order(), [0, 1, 2, 3]);
        table.failed(2, now, 0.0);
        table.failed(0, now + MS, 0.0);
        assert_eq!(table.order(), [1, 3, 2, 0]);
        table.well(0);
        assert_eq!(table.order(), [0, 1, 3, 2]);
    }

    #[test]
    fn a_node_is_left_alone_longer_with_each_failure_and_looked_at_once() {
        let (mut table, mut now) = (Table::new(2), Instant::now());
        for pause in [200, 400, 800, 1600, 3200, 6400, 12800, 20000, 20000] {
            table.failed(1, now, 0.0);
            // Others that fail at the same time say nothing new.
            table.failed(1, now, 0.0);
            assert_eq!(table.due(now + (pause - 1) * MS), None);
            now += pause * MS;
            assert_eq!((table.due(now), table.due(now)), (Some(1), None));
            assert_eq!(table.order(), [0, 1], "it is not back by waiting alone");
        }
        table.well(1);
        table.failed(1, now, 0.0);
        assert_eq!(table.due(now + 200 * MS), Some(1), "what was well begins anew");
    }

    #[test]
    fn pauses_are_spread() {
        let (mut table, now) = (Table::new(1), Instant::now());
        table.failed(0, now, 0.8);
        assert_eq!((table.due(now + 159 * MS), table.due(now + 161 * MS)), (None, Some(0)));
    }
}
