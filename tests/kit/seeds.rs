//! Many seeds at once, on all cores: what the schedules and the simulator have in common.

use std::ops::{ControlFlow, Range};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Runs many seeds on `jobs` threads, and gives what came of each to `hear`, one at a time, until that breaks off. Which seed is heard
/// first depends on the threads; what comes of it does not.
pub fn run_all<T: Send>(
    seeds: Range<u64>,
    jobs: usize,
    run: impl Fn(u64) -> T + Sync,
    hear: impl FnMut(T) -> ControlFlow<()> + Send,
) {
    let (next, hear) = (AtomicU64::new(seeds.start), Mutex::new(hear));
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let result = run(seed);
                    if hear.lock().expect("no thread panics while it holds this")(result).is_break() {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

/// How many threads there are cores for.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Seeds as they are written on a command line: the first, and the one after the last.
///
/// # Errors
/// It is no such range; the error says what is.
pub fn parse(text: &str) -> Result<Range<u64>, String> {
    let parts = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parts
        .filter(|(a, b)| a < b)
        .map(|(a, b)| a..b)
        .ok_or_else(|| "two numbers as A..B, the second greater".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_seed_is_run_once_until_it_is_broken_off() {
        let mut heard = Vec::new();
        run_all(
            5..105,
            3,
            |seed| seed,
            |seed| {
                heard.push(seed);
                ControlFlow::Continue(())
            },
        );
        heard.sort_unstable();
        assert_eq!(heard, (5..105).collect::<Vec<u64>>());
        let mut count = 0;
        run_all(
            0..1_000_000_000,
            2,
            |seed| seed,
            |_| {
                count += 1;
                ControlFlow::Break(())
            },
        );
        assert!(count <= 3, "what was under way ends: {count}");
    }

    #[test]
    fn seeds_are_a_range() {
        assert_eq!(parse("3..5"), Ok(3..5));
        for text in ["", "3", "5..3", "3..3", "a..b", "3..=5"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
