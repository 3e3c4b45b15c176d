//! Makes a run that goes wrong smaller, as long as it still goes wrong.

use super::{Failure, Kind, Options, run};

/// The smallest part of an hour that a run is cut to: a second.
const HOURS_MIN: f64 = 1.0 / 3600.0;

/// Leaves out kinds of faults, nodes and time for as long as the seed still fails, in whatever way. `tell` hears of each step that
/// succeeds. `None` if the seed does not fail at all.
pub fn shrink(seed: u64, options: &Options, tell: &mut dyn FnMut(&Failure)) -> Option<Box<Failure>> {
    let mut smallest = run(seed, options).err()?;
    loop {
        let smaller = smaller(&smallest).into_iter().find_map(|options| run(seed, &options).err());
        match smaller {
            Some(failure) => smallest = failure,
            None => return Some(smallest),
        }
        tell(&smallest);
    }
}

/// What could be left out next.
fn smaller(failure: &Failure) -> Vec<Options> {
    let options = &failure.options;
    let without =
        |kind: Kind| Options { without: [&options.without[..], &[kind]].concat(), ..options.clone() };
    let kinds = Kind::ALL.iter().map(|(_, kind)| *kind).filter(|kind| !options.without.contains(kind));
    let mut smaller: Vec<Options> = kinds.map(without).collect();
    if options.nodes_max > 1 {
        smaller.push(Options { nodes_max: options.nodes_max - 1, ..options.clone() });
    }
    let needed = failure.at_us as f64 / 3.6e9;
    for hours in [options.hours / 2.0, options.hours * 0.9, needed] {
        if (HOURS_MIN..options.hours * 0.99).contains(&hours) {
            smaller.push(Options { hours, ..options.clone() });
        }
    }
    smaller
}
