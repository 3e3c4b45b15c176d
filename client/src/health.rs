//! How each node has fared, and so which is asked first.
//!
//! - Nodes are preferred in the order in which they were named. One that failed is down: it is asked after all others.
//! - It is down for a pause that doubles with each failure. Then somebody must look whether it is back, and nobody's call
//!   waits for that: the look is a request of its own.
//! - A caller whose own time was short says little about the node. Such times add up until the node answers, so that a node that hangs
//!   is left by short calls too.
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
    /// Until when somebody looks whether it is back. A look that is not over then is lost.
    looked_at_until: Option<Instant>,
    /// How long it has been waited for in vain since its last answer or failure, and when that was counted.
    waited: Duration,
    waited_until: Option<Instant>,
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
        (health.looked_at_until, health.waited, health.waited_until) = (None, Duration::ZERO, None);
    }

    /// An attempt that began then has been ended by its caller without an answer. That is a failure once the node has been waited for
    /// this long in all; what attempts wait at the same time counts once.
    pub(crate) fn in_vain(
        &mut self,
        node: usize,
        (began, now): (Instant, Instant),
        patience: Duration,
        spread: f64,
    ) {
        let health = &mut self.0[node];
        let since = health.waited_until.map_or(began, |until| until.max(began));
        health.waited += now.saturating_duration_since(since);
        health.waited_until = Some(now);
        if health.waited >= patience {
            self.failed(node, now, spread);
        }
    }

    /// A node that has been left alone for long enough. The caller looks for at most `time` whether it is back, and says how it
    /// fared.
    pub(crate) fn due(&mut self, now: Instant, time: Duration) -> Option<usize> {
        let is_due = |health: &Health| {
            health.down_until.is_some_and(|until| until <= now)
                && health.looked_at_until.is_none_or(|until| until <= now)
        };
        let node = self.0.iter().position(is_due)?;
        self.0[node].looked_at_until = Some(now + time);
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
            assert_eq!(table.due(now + (pause - 1) * MS, MS), None);
            now += pause * MS;
            assert_eq!((table.due(now, MS), table.due(now, MS)), (Some(1), None));
            assert_eq!(table.order(), [0, 1], "it is not back by waiting alone");
        }
        table.well(1);
        table.failed(1, now, 0.0);
        assert_eq!(table.due(now + 200 * MS, MS), Some(1), "what was well begins anew");
    }

    #[test]
    fn a_look_that_is_lost_is_made_again() {
        let (mut table, now) = (Table::new(1), Instant::now());
        table.failed(0, now, 0.0);
        let now = now + 200 * MS;
        assert_eq!((table.due(now, 50 * MS), table.due(now + 49 * MS, 50 * MS)), (Some(0), None));
        assert_eq!(table.due(now + 50 * MS, 50 * MS), Some(0));
    }

    #[test]
    fn short_waits_in_vain_add_up_until_there_is_an_answer() {
        let (mut table, begin) = (Table::new(1), Instant::now());
        let at = |ms: u32| begin + ms * MS;
        let wait = |table: &mut Table, from, to| table.in_vain(0, (at(from), at(to)), 100 * MS, 0.0);
        wait(&mut table, 0, 60);
        // Of what is waited at the same time only the rest is added, and no time between.
        wait(&mut table, 20, 80);
        wait(&mut table, 500, 510);
        assert!(table.all()[0].is_well());
        wait(&mut table, 600, 610);
        assert!(!table.all()[0].is_well());

        table.well(0);
        wait(&mut table, 700, 790);
        table.well(0);
        wait(&mut table, 800, 890);
        assert!(table.all()[0].is_well(), "it has answered in between");
        wait(&mut table, 900, 1000);
        assert_eq!(table.all()[0].failures, 1);
    }

    #[test]
    fn pauses_are_spread() {
        let (mut table, now) = (Table::new(1), Instant::now());
        table.failed(0, now, 0.8);
        assert_eq!((table.due(now + 159 * MS, MS), table.due(now + 161 * MS, MS)), (None, Some(0)));
    }
}
