//! Schedules: who does what, in which order; and how a law is held against them.

use super::words::{KEYS, Outcome, member, path, put};
use meridian_core::replica::write::Write;
use meridian_core::types::counter::CounterOp;
use meridian_core::types::flag::FlagOp;
use meridian_core::types::map::FieldWrite;
use meridian_core::types::set::SetOp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

/// How many schedules each law is held against.
const SCHEDULES: u32 = 1_000;
/// How many are tried for one that shows a planted bug. The rarest bug shows in one of 500.
const SCHEDULES_WITH_BUG: u32 = 10_000;

/// Who does what, in which order.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) nodes: usize,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) deed: Deed,
    /// The wall clock of whoever acts: clocks differ and jump.
    pub(crate) wall_ms: u64,
    /// Whether the turn of whoever acts ends with it.
    pub(crate) ends_turn: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// A client writes; with a context that some client got for this key, where one is named.
    Write { node: u8, key: usize, write: Write, context: Option<u8> },
    /// The first message of a link arrives, and perhaps another time later.
    Deliver { link: u8, again: bool },
    /// Time has passed.
    Tick { node: u8 },
}

/// Which keys a schedule writes: two, where all keys are of one type.
pub(crate) const SINGLE_TYPE: std::ops::Range<usize> = 0..2;

/// Schedules without contexts.
pub(crate) fn schedules(
    keys: std::ops::Range<usize>,
    write: impl Strategy<Value = Write> + 'static,
) -> impl Strategy<Value = Schedule> {
    let writes = (any::<u8>(), keys, write).prop_map(|(node, key, write)| Deed::Write {
        node,
        key,
        write,
        context: None,
    });
    schedules_of(writes.boxed())
}

/// Schedules of all types, deletes and resets, with contexts and without.
pub(crate) fn mixed_schedules() -> impl Strategy<Value = Schedule> {
    let reset = Just(Write::Counter(vec![CounterOp::Reset]));
    let counter = prop_oneof![3 => counter_write(), 1 => reset, 1 => Just(Write::Delete)].boxed();
    let register = prop_oneof![4 => register_write(), 1 => Just(Write::Delete)].boxed();
    let set = set_write().boxed();
    let flag = flag_write().boxed();
    let extremum = prop_oneof![4 => extremum_write(), 1 => Just(Write::Delete)].boxed();
    let any_type = prop_oneof![register.clone(), counter.clone(), set.clone(), flag, extremum].boxed();
    let map = prop_oneof![8 => fields_of(any_type.clone()), 1 => Just(Write::Delete)].boxed();
    let anything = prop_oneof![2 => any_type.clone(), 1 => map.clone()].boxed();
    let of_key = [register, counter, set, any_type, map, anything];
    let write = (0..KEYS.len()).prop_flat_map(move |key| (Just(key), of_key[key].clone()));
    let writes = (any::<u8>(), write, proptest::option::of(any::<u8>()))
        .prop_map(|(node, (key, write), context)| Deed::Write { node, key, write, context });
    schedules_of(writes.boxed())
}

pub(crate) fn schedules_of(writes: BoxedStrategy<Deed>) -> impl Strategy<Value = Schedule> {
    let deliver =
        (any::<u8>(), proptest::bool::weighted(0.2)).prop_map(|(link, again)| Deed::Deliver { link, again });
    let tick = any::<u8>().prop_map(|node| Deed::Tick { node });
    let deed = prop_oneof![8 => writes, 12 => deliver, 1 => tick];
    let step = (deed, 0..4_000u64, proptest::bool::weighted(0.8))
        .prop_map(|(deed, wall_ms, ends_turn)| Step { deed, wall_ms, ends_turn });
    (2..=4usize, vec(step, 1..80)).prop_map(|(nodes, steps)| Schedule { nodes, steps })
}

pub(crate) fn set_write() -> impl Strategy<Value = Write> + 'static {
    let members = || vec(proptest::sample::select(vec!["a", "b", "c", "d"]).prop_map(member), 1..3);
    let op = prop_oneof![
        5 => members().prop_map(SetOp::Add),
        3 => members().prop_map(SetOp::Remove),
        1 => Just(SetOp::Clear),
    ];
    prop_oneof![8 => vec(op, 1..4).prop_map(Write::Set), 1 => Just(Write::Delete)]
}

pub(crate) fn counter_write() -> impl Strategy<Value = Write> + 'static {
    let amount = prop_oneof![-9..9i64, -(1i64 << 40)..1 << 40];
    vec(amount.prop_map(CounterOp::Increment), 1..4).prop_map(Write::Counter)
}

pub(crate) fn register_write() -> impl Strategy<Value = Write> + 'static {
    vec(any::<u8>(), 1..3).prop_map(put)
}

pub(crate) fn flag_write() -> impl Strategy<Value = Write> + 'static {
    let op = proptest::sample::select(vec![FlagOp::Enable, FlagOp::Disable]);
    prop_oneof![8 => vec(op, 1..4).prop_map(Write::Flag), 1 => Just(Write::Delete)]
}

pub(crate) fn extremum_write() -> impl Strategy<Value = Write> + 'static {
    vec(prop_oneof![-9..9i64, any::<i64>()], 1..4).prop_map(Write::Observe)
}

/// Writes of sets in a map, removals of them and of what is above them.
pub(crate) fn map_of_sets_write() -> impl Strategy<Value = Write> + 'static {
    let sets = proptest::sample::select(vec!["a", "b/c", "b/d", "e/f/g", "e/f/h"]);
    let maps = proptest::sample::select(vec!["a", "b", "b/c", "e", "e/f", "e/f/g"]);
    let op = prop_oneof![
        4 => (sets, set_write()).prop_map(|(place, write)| field(place, write)),
        1 => maps.prop_map(|place| field(place, Write::Delete)),
    ];
    prop_oneof![12 => vec(op, 1..4).prop_map(Write::Map), 1 => Just(Write::Delete)]
}

/// Such writes in fields, some of which are on the way to others.
fn fields_of(writes: BoxedStrategy<Write>) -> impl Strategy<Value = Write> + 'static {
    let places = proptest::sample::select(vec!["a", "b", "b/c", "e/f", "e/f/g"]);
    let op = (places, writes).prop_map(|(place, write)| field(place, write));
    vec(op, 1..4).prop_map(Write::Map)
}

fn field(place: &str, write: Write) -> FieldWrite {
    FieldWrite { path: path(place), named: None, write }
}

/// Three orders, each by the seed that shuffles.
pub(crate) fn orders() -> impl Strategy<Value = Vec<u64>> {
    vec(any::<u64>(), 3)
}

/// Holds a law against schedules that are the same in every run.
pub(crate) fn hold<S: Strategy>(schedules: S, law: impl Fn(&S::Value) -> Outcome) {
    let config = ProptestConfig { cases: SCHEDULES, failure_persistence: None, ..Default::default() };
    if let Err(broken) = try_all(config, schedules, law) {
        panic!("{broken}");
    }
}

/// Whether some schedule breaks the law, or makes core panic.
pub(crate) fn breaks<S: Strategy>(schedules: S, law: impl Fn(&S::Value) -> Outcome) -> bool {
    let config = ProptestConfig {
        cases: SCHEDULES_WITH_BUG,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Default::default()
    };
    try_all(config, schedules, law).is_err()
}

pub(crate) fn try_all<S: Strategy>(
    mut config: ProptestConfig,
    schedules: S,
    law: impl Fn(&S::Value) -> Outcome,
) -> Result<(), String> {
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(42);
    }
    let mut runner = TestRunner::new(config);
    let tried = runner.run(&schedules, |schedule| law(&schedule).map_err(TestCaseError::fail));
    tried.map_err(|broken| broken.to_string())
}
