//! Which of many keys is asked for: each alike, or few of them mostly.
//!
//! Zipfian as YCSB has it: Gray et al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994), with
//! the exponent 0.99, and the popular keys scattered over all.

use clap::ValueEnum;
use rand::{Rng, RngExt};
use serde::Serialize;

/// YCSB's exponent.
const THETA: f64 = 0.99;

/// How often keys are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    /// Each as often as any other.
    Uniform,
    /// Few of them mostly.
    Zipfian,
}

/// Draws numbers below a bound.
pub(crate) enum Distribution {
    /// Each as likely as any other.
    Uniform(u64),
    /// Few of them mostly.
    Zipfian(Zipfian),
}

impl Distribution {
    /// Numbers below `items`.
    pub(crate) fn new(shape: Shape, items: u64) -> Self {
        match shape {
            Shape::Uniform => Distribution::Uniform(items),
            Shape::Zipfian => Distribution::Zipfian(Zipfian::new(items)),
        }
    }

    /// One of them. What is popular lies anywhere.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> u64 {
        match self {
            Distribution::Uniform(items) => rng.random_range(0..*items),
            Distribution::Zipfian(zipfian) => mixed(zipfian.rank(rng)) % zipfian.items,
        }
    }
}

/// Ranks, of which 0 is the likeliest.
pub(crate) struct Zipfian {
    items: u64,
    zeta: f64,
    alpha: f64,
    eta: f64,
}

impl Zipfian {
    /// Ranks below `items`. Takes time in proportion to `items`.
    pub(crate) fn new(items: u64) -> Self {
        let zeta = |items: u64| (1..=items).map(|rank| (rank as f64).powf(-THETA)).sum::<f64>();
        let (zeta_2, zeta_items) = (zeta(2.min(items)), zeta(items));
        let eta = (1.0 - (2.0 / items as f64).powf(1.0 - THETA)) / (1.0 - zeta_2 / zeta_items);
        Zipfian { items, zeta: zeta_items, alpha: 1.0 / (1.0 - THETA), eta }
    }

    /// One of them.
    pub(crate) fn rank(&self, rng: &mut impl Rng) -> u64 {
        let uniform = rng.random::<f64>();
        let scaled = uniform * self.zeta;
        let rank = match scaled {
            ..1.0 => 0.0,
            _ if scaled < 1.0 + 0.5f64.powf(THETA) => 1.0,
            _ => self.items as f64 * (self.eta * uniform - self.eta + 1.0).powf(self.alpha),
        };
        (rank as u64).min(self.items - 1)
    }
}

/// The same number for the same number, without any order (splitmix64's last steps).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::collections::HashMap;

    const DRAWS: usize = 100_000;

    fn drawn(shape: Shape, items: u64, seed: u64) -> Vec<u64> {
        let distribution = Distribution::new(shape, items);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..DRAWS).map(|_| distribution.draw(&mut rng)).collect()
    }

    /// How many of the draws were the number that was drawn most.
    fn most(drawn: &[u64]) -> usize {
        let mut counts = HashMap::new();
        drawn.iter().for_each(|number| *counts.entry(number).or_insert(0) += 1);
        counts.into_values().max().unwrap()
    }

    #[test]
    fn what_is_drawn_is_below_the_bound() {
        for shape in [Shape::Uniform, Shape::Zipfian] {
            for items in [1, 2, 3, 1000] {
                let drawn = drawn(shape, items, 1);
                assert!(drawn.iter().all(|number| *number < items), "{shape:?} of {items}");
                let mut distinct = drawn;
                distinct.sort_unstable();
                distinct.dedup();
                let at_least = if items == 1000 { 500 } else { 1 };
                assert!(distinct.len() >= at_least, "{shape:?} of {items}: {} distinct", distinct.len());
            }
        }
    }

    #[test]
    fn ranks_are_as_frequent_as_zipf_says() {
        let zipfian = Zipfian::new(1000);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut counts = vec![0_usize; 1000];
        (0..DRAWS).for_each(|_| counts[zipfian.rank(&mut rng) as usize] += 1);
        // The harmonic number of 1000 with exponent 0.99 is 7.73.
        let share = |rank: usize| counts[rank] as f64 / DRAWS as f64;
        for (rank, expected) in [(0, 0.1294), (1, 0.0652), (9, 0.0133)] {
            let error = (share(rank) - expected).abs() / expected;
            assert!(error < 0.25, "rank {rank}: {} where {expected} is due", share(rank));
        }
        let (first, last) = counts.split_at(100);
        assert!(first.iter().sum::<usize>() > 2 * last.iter().sum::<usize>(), "a tenth has two thirds");
    }

    #[test]
    fn zipfian_is_skewed_and_uniform_is_not() {
        let (zipfian, uniform) = (drawn(Shape::Zipfian, 1000, 3), drawn(Shape::Uniform, 1000, 3));
        assert!(most(&zipfian) > DRAWS / 10, "{}", most(&zipfian));
        assert!(most(&uniform) < DRAWS / 500, "{}", most(&uniform));
    }

    #[test]
    fn a_seed_draws_the_same_again_and_another_seed_does_not() {
        for shape in [Shape::Uniform, Shape::Zipfian] {
            assert_eq!(drawn(shape, 1000, 5), drawn(shape, 1000, 5));
            assert_ne!(drawn(shape, 1000, 5), drawn(shape, 1000, 6));
        }
    }
}
