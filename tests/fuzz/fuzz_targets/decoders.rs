//! The decoders under libFuzzer, all in one binary: `FUZZ_TARGET` names the one. Without it, it runs all of them, as processes of
//! itself (`drive.rs`).
#![no_main]

mod drive;

use libfuzzer_sys::fuzz_target;
use meridian_tests::decoders::Target;
use std::sync::OnceLock;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(init: begin(), |bytes: &[u8]| {
    let target = TARGET.get().expect("it was named");
    let measured = allocation_counter::measure(|| {
        (target.check)(bytes);
    });
    let memory = measured.bytes_max;
    assert!(memory <= target.memory_max(bytes.len()), "{memory} bytes of memory for {} bytes", bytes.len());
});

/// Before anything is fuzzed: which target, or all.
fn begin() {
    let Ok(name) = std::env::var(drive::NAME) else { drive::main() };
    let Some(target) = drive::targets().into_iter().find(|target| target.name == name) else {
        eprintln!("There is no target {name}: `make fuzz` runs them all, and says what they are called.");
        std::process::exit(2);
    };
    // What is made once for all is made here, and not measured.
    for seed in (target.seeds)() {
        (target.check)(&seed);
    }
    TARGET.get_or_init(|| target);
}
