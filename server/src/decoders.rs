//! Every decoder of the server, with what must hold of it whatever bytes it is given: frames, greetings and requests of peers,
//! tokens, what HTTP clients send, side files. In builds for tests and fuzzers only; core's are in the tests' kit, in the same terms.

use crate::data_dir;
use crate::http;
use crate::peers;
use crate::token;

/// A decoder.
#[derive(Clone, Copy)]
pub struct Decoder {
    /// What it is called on a command line.
    pub name: &'static str,
    /// Reads bytes, and panics where something does not hold. Whether they were accepted.
    pub check: fn(&[u8]) -> bool,
    /// Encodings of every kind of value. All are accepted.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The most memory that a check takes for each byte, reading and writing again together.
    pub memory_per_byte: u64,
}

/// All decoders of the server.
pub fn all() -> Vec<Decoder> {
    [&peers::DECODERS[..], &token::DECODERS, &http::DECODERS, &data_dir::DECODERS].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_tests::decoders::{Target, short_run};

    /// Mutations of each decoder's seeds.
    const MUTATIONS: u64 = 50_000;

    #[test]
    fn no_bytes_break_a_decoder() {
        for Decoder { name, check, seeds, memory_per_byte } in all() {
            let target = Target { name, check, seeds, memory_per_byte };
            let found = meridian_tests::decoders::found(name);
            let tally =
                short_run(&target, &found, MUTATIONS, &|run| allocation_counter::measure(run).bytes_max);
            println!("{name:18} {tally:?}");
        }
    }
}
