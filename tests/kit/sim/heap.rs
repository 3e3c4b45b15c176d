//! What is going to happen, in order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things that are due at a time. What is due at the same time comes in an order that the seed draws.
#[derive(Debug)]
pub(super) struct Heap<E> {
    due: BinaryHeap<Reverse<Due<E>>>,
    count: u64,
}

#[derive(Debug)]
struct Due<E> {
    at_us: u64,
    tie: u32,
    number: u64,
    what: E,
}

impl<E> Heap<E> {
    pub(super) fn new() -> Heap<E> {
        Heap { due: BinaryHeap::new(), count: 0 }
    }

    pub(super) fn push(&mut self, at_us: u64, tie: u32, what: E) {
        self.count += 1;
        self.due.push(Reverse(Due { at_us, tie, number: self.count, what }));
    }

    /// What comes next, and when.
    pub(super) fn pop(&mut self) -> Option<(u64, E)> {
        self.due.pop().map(|Reverse(due)| (due.at_us, due.what))
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }
}

impl<E> Due<E> {
    fn order(&self) -> (u64, u32, u64) {
        (self.at_us, self.tie, self.number)
    }
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl<E> Eq for Due<E> {}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_in_the_order_of_their_times_and_then_as_drawn() {
        let mut heap = Heap::new();
        for (at_us, tie, what) in [(5, 1, "c"), (5, 0, "b"), (1, 9, "a"), (5, 1, "d")] {
            heap.push(at_us, tie, what);
        }
        let popped: Vec<_> = std::iter::from_fn(|| heap.pop()).collect();
        assert_eq!(popped, [(1, "a"), (5, "b"), (5, "c"), (5, "d")]);
    }
}
