//! A short run of one target: its seeds, what was found before, and so many mutations, the same ones each time.

use super::Target;
use super::mutation::mutate;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Most inputs that mutations begin with: accepted ones join the seeds.
const POOL_MAX: usize = 500;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Inputs that were read.
    pub executions: u64,
    /// Those that were accepted.
    pub accepted: u64,
}

/// Runs a target on its seeds, on inputs that were found before, and on mutations. `measure` runs what it is given and says how much
/// memory that held at its peak.
///
/// # Panics
/// Where a check does, a seed is refused or too much memory is held; with the input, in hexadecimal digits.
pub fn short_run(
    target: &Target,
    found: &[Vec<u8>],
    mutations: u64,
    measure: &dyn Fn(&mut dyn FnMut()) -> u64,
) -> Tally {
    let mut tally = Tally::default();
    let mut read = |bytes: &[u8]| {
        let mut accepted = false;
        let run = || measure(&mut || accepted = (target.check)(bytes));
        let memory = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| fail(target, bytes, "it panics"));
        if memory > target.memory_max(bytes.len()) {
            fail(target, bytes, &format!("it holds {memory} bytes of memory"));
        }
        tally.executions += 1;
        tally.accepted += u64::from(accepted);
        accepted
    };
    let mut pool = (target.seeds)();
    assert!(!pool.is_empty(), "{} has no seeds", target.name);
    for seed in &pool {
        // What is made once for all is made here, and not counted.
        (target.check)(seed);
        if !read(seed) {
            fail(target, seed, "a seed is refused");
        }
    }
    for bytes in found {
        read(bytes);
    }
    let mut random = ChaCha8Rng::seed_from_u64(0);
    for _ in 0..mutations {
        let mut bytes = pool[random.random_range(0..pool.len())].clone();
        mutate(&mut bytes, &pool, &mut random);
        if read(&bytes) && pool.len() < POOL_MAX {
            pool.push(bytes);
        }
    }
    tally
}

fn fail(target: &Target, bytes: &[u8], what: &str) -> ! {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    panic!("{}, given {} bytes: {what}\n{digits}", target.name, bytes.len());
}
