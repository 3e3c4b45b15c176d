//! The hybrid logical clock: stamps that follow the wall clock and never contradict what was seen.
//!
//! After Kulkarni et al., *Logical Physical Clocks* (2014): 48 bits of milliseconds since 1970 and 16 bits of counter.
//!
//! Rules:
//! - A stamp is never taken from a client.
//! - A remote stamp raises this node's clock at most to its own wall time plus `skew_ms_max`.
//! - A put's stamp exceeds every stamp that its node has in the same cell, however far ahead that one is: a poisoned
//!   stamp stays in its key ([`Hlc::above`] does not raise the clock).

use core::fmt;

/// A hybrid logical timestamp. Compares by time first, then by counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The first stamp of a millisecond since 1970 (saturating: the year 10889 is the last).
    pub fn from_ms(ms: u64) -> Self {
        Hlc(ms.min(u64::MAX >> 16) << 16)
    }

    /// Milliseconds since 1970, as the stamp's author saw them.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next stamp; the last one is its own successor.
    fn next(self) -> Self {
        Hlc(self.0.saturating_add(1))
    }

    /// This stamp, or the first one above `floor` if that is later.
    pub fn above(self, floor: Hlc) -> Self {
        self.max(floor.next())
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.ms(), self.0 & 0xffff)
    }
}

/// One node's clock: the highest stamp it gave or accepted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    last: Hlc,
}

impl Clock {
    /// A stamp above all that this clock gave or accepted, and at least the wall time.
    pub fn stamp(&mut self, wall_ms: u64) -> Hlc {
        self.last = self.last.next().max(Hlc::from_ms(wall_ms));
        self.last
    }

    /// Takes note of a remote stamp, as far as `skew_ms_max` ahead of the own wall time allows.
    pub fn observe(&mut self, remote: Hlc, wall_ms: u64, skew_ms_max: u64) {
        let bound = Hlc::from_ms(wall_ms.saturating_add(skew_ms_max));
        self.last = self.last.max(remote.min(bound));
    }

    /// The highest stamp given or accepted.
    pub fn last(self) -> Hlc {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stamp_never_repeats_though_the_wall_clock_stands_or_jumps_back() {
        let mut clock = Clock::default();
        let stamps = [100, 100, 50, 101, 0].map(|wall| clock.stamp(wall));
        assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
    }

    #[test]
    fn poison_stays_in_its_key() {
        let mut clock = Clock::default();
        let poison = Hlc::from_ms(9_999_999);
        assert!(clock.stamp(1_000).above(poison) > poison);
        assert_eq!(clock.stamp(1_000).ms(), 1_000);
    }

    #[test]
    fn the_counter_runs_over_into_the_next_millisecond() {
        let mut clock = Clock::default();
        let first = clock.stamp(7);
        for _ in 0..=u16::MAX {
            clock.stamp(7);
        }
        assert_eq!(clock.last(), Hlc(first.0 + 65_536));
        assert_eq!(clock.last().ms(), 8);
    }

    proptest! {
        #[test]
        fn a_remote_stamp_raises_the_clock_at_most_by_the_skew(remote: u64, wall in 0..1u64 << 47, skew in 0..10_000u64) {
            let mut clock = Clock::default();
            clock.observe(Hlc(remote), wall, skew);
            prop_assert!(clock.last() <= Hlc::from_ms(wall + skew));
            prop_assert!(clock.last() >= Hlc(remote).min(Hlc::from_ms(wall + skew)));
        }

        #[test]
        fn no_input_overflows(last: u64, wall: u64, floor: u64) {
            let mut clock = Clock { last: Hlc(last) };
            prop_assert!(clock.stamp(wall).above(Hlc(floor)) >= Hlc(floor));
        }
    }
}
