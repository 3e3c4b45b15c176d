//! The `crdts` crate as oracle: what our types read, its types read too.
//!
//! A schedule makes two to four nodes write, and delivers their messages late, repeatedly and in any order across links.
//! Beside each node stands a replica of the crate's type, which takes over a write exactly when the node's version
//! vector first covers its dot: causal delivery, which is all that the crate asks for. After every step:
//! - every key of the node reads like the oracle beside it, and a write answers what the oracle says has changed;
//! - nodes that ever had the same version vector had the same content, byte for byte.
//!
//! | ours | the crate's |
//! |---|---|
//! | set, without contexts | `Orswot` |
//! | counter, without resets | `PNCounter` |
//! | register: what is read, and the siblings in the head | `LWWReg`, and `MVReg` |
//! | multi-value register, where a PUT takes away all that its node has | `MVReg` |
//! | flag, without contexts | `Orswot` of one element |
//! | maximum and minimum, without DELETE | `GSet` of numbers |
//! | map of sets, without contexts | one `Orswot` for each path |
//!
//! Never `crdts::Map`: it diverges, and brings back what was removed.
//!
//! The last law has no counterpart in the crate: with all types, contexts, deletes and resets mixed, the same deltas
//! applied in any order give the same bytes.
//!
//! The schedules are the same in every run; `PROPTEST_RNG_SEED=7` in the environment gives others.
//!
//! Here are the laws. Below them, each on those before it: `words`, `oracle`, `heads`, `fields`, `schedules`, `world`.

mod fields;
mod heads;
mod oracle;
mod schedules;
mod words;
mod world;

use fields::MapOracle;
use heads::{ExtremumOracle, FlagOracle, MultiOracle};
use meridian_core::delta::Delta;
use meridian_core::id::OriginId;
use meridian_core::message::Message;
use meridian_core::planted::Bug;
use meridian_core::replica::write::Write;
use meridian_core::types::Value;
use meridian_core::types::counter::CounterOp;
use meridian_core::types::set::SetOp;
use meridian_core::version_vector::VersionVector;
use oracle::{Blind, CounterOracle, Oracle, RegisterOracle, SetOracle};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schedules::{
    SINGLE_TYPE, Schedule, breaks, counter_write, extremum_write, flag_write, hold, map_of_sets_write,
    mixed_schedules, orders, register_write, schedules, set_write,
};
use std::sync::Arc;
use words::{Outcome, ensure, member, put, text_plain};
use world::{Machine, SHARD, World};

#[test]
fn a_set_reads_like_an_orswot() {
    hold(schedules(SINGLE_TYPE, set_write()), |schedule| run::<SetOracle>(schedule, None));
}

#[test]
fn a_counter_reads_like_a_pn_counter() {
    hold(schedules(SINGLE_TYPE, counter_write()), |schedule| run::<CounterOracle>(schedule, None));
}

#[test]
fn a_register_reads_like_an_lww_register_and_its_siblings_like_a_multi_value_register() {
    hold(schedules(SINGLE_TYPE, register_write()), |schedule| run::<RegisterOracle>(schedule, None));
}

#[test]
fn a_multi_reads_like_a_multi_value_register() {
    hold(schedules(SINGLE_TYPE, register_write()), |schedule| run::<MultiOracle>(schedule, None));
}

#[test]
fn a_flag_reads_like_an_orswot_of_one_element() {
    hold(schedules(SINGLE_TYPE, flag_write()), |schedule| run::<FlagOracle>(schedule, None));
}

#[test]
fn a_maximum_and_a_minimum_read_like_the_ends_of_a_grow_only_set() {
    hold(schedules(SINGLE_TYPE, extremum_write()), |schedule| run::<ExtremumOracle<true>>(schedule, None));
    hold(schedules(SINGLE_TYPE, extremum_write()), |schedule| run::<ExtremumOracle<false>>(schedule, None));
}

#[test]
fn a_map_of_sets_reads_like_an_orswot_for_each_path() {
    hold(schedules(SINGLE_TYPE, map_of_sets_write()), |schedule| run::<MapOracle>(schedule, None));
}

#[test]
fn the_same_deltas_in_any_order_give_the_same_bytes() {
    hold((mixed_schedules(), orders()), |(schedule, orders)| any_order(schedule, orders, None));
}

#[test]
fn an_add_wins_over_a_concurrent_remove() -> Outcome {
    let mut world = World::<SetOracle>::new(2, None);
    let add = Write::Set(vec![SetOp::Add(vec![member("a")])]);
    let remove = Write::Set(vec![SetOp::Remove(vec![member("a")])]);
    world.write(0, 0, &add, None, 0)?;
    world.drain()?;
    world.write(0, 0, &remove, None, 0)?;
    world.write(1, 0, &add, None, 0)?;
    world.drain()?;
    assert_eq!(world.read_everywhere(0), vec![Some(Value::Set(vec![member("a")])); 2]);
    Ok(())
}

#[test]
fn concurrent_increments_may_take_a_counter_beyond_64_bits() -> Outcome {
    let mut world = World::<CounterOracle>::new(2, None);
    for node in 0..2 {
        world.write(node, 0, &Write::Counter(vec![CounterOp::Increment(i64::MAX)]), None, 0)?;
    }
    world.drain()?;
    let sum = i128::from(i64::MAX) * 2;
    assert_eq!(world.read_everywhere(0), vec![Some(Value::Counter(sum)); 2]);
    Ok(())
}

#[test]
fn of_concurrent_puts_the_highest_stamp_is_read_on_every_node() -> Outcome {
    let mut world = World::<RegisterOracle>::new(3, None);
    for (node, wall_ms) in [(0, 5), (1, 9), (2, 7)] {
        world.write(node, 0, &put(vec![node as u8]), None, wall_ms)?;
    }
    world.drain()?;
    let winner = Value::Register { content_type: text_plain(), bytes: vec![1] };
    assert_eq!(world.read_everywhere(0), vec![Some(winner); 3]);
    Ok(())
}

/// A test that cannot fail proves nothing: each of these bugs must break the law beside it.
#[test]
fn the_laws_see_planted_bugs() {
    let sets = || schedules(SINGLE_TYPE, set_write());
    let counters = || schedules(SINGLE_TYPE, counter_write());
    let registers = || schedules(SINGLE_TYPE, register_write());
    let all = || (mixed_schedules(), orders());
    for bug in [Bug::DeltaDropped, Bug::RangeKillByReceiver, Bug::NoCausalGate] {
        assert!(breaks(sets(), |s| run::<SetOracle>(s, Some(bug))), "sets: {bug:?} was not noticed");
    }
    for bug in [Bug::DeltaDropped, Bug::DuplicateApplied] {
        assert!(breaks(counters(), |s| run::<CounterOracle>(s, Some(bug))), "counters: {bug:?}");
    }
    for bug in [Bug::DeltaDropped, Bug::LosingSiblingsDropped, Bug::NoCausalGate] {
        assert!(breaks(registers(), |s| run::<RegisterOracle>(s, Some(bug))), "registers: {bug:?}");
    }
    for bug in [Bug::GapAccepted, Bug::NoCausalGate, Bug::ResetByReceiver, Bug::RangeKillByReceiver] {
        assert!(breaks(all(), |(s, orders)| any_order(s, orders, Some(bug))), "any order: {bug:?}");
    }
}

/// As above, for the types that came later.
#[test]
fn the_laws_see_bugs_planted_in_later_types() {
    let multis = || schedules(SINGLE_TYPE, register_write());
    let flags = || schedules(SINGLE_TYPE, flag_write());
    let extrema = || schedules(SINGLE_TYPE, extremum_write());
    let maps = || schedules(SINGLE_TYPE, map_of_sets_write());
    let all = || (mixed_schedules(), orders());
    for bug in [Bug::DeltaDropped, Bug::NoCausalGate] {
        assert!(breaks(multis(), |s| run::<MultiOracle>(s, Some(bug))), "multis: {bug:?}");
    }
    for bug in [Bug::DeltaDropped, Bug::DisableByReceiver, Bug::NoCausalGate] {
        assert!(breaks(flags(), |s| run::<FlagOracle>(s, Some(bug))), "flags: {bug:?}");
    }
    let bug = Some(Bug::DeltaDropped);
    assert!(breaks(extrema(), |s| run::<ExtremumOracle<true>>(s, bug)), "maxima");
    assert!(breaks(extrema(), |s| run::<ExtremumOracle<false>>(s, bug)), "minima");
    for bug in [Bug::RangeKillByReceiver, Bug::SubtreeNotDeep, Bug::NoCausalGate] {
        assert!(breaks(maps(), |s| run::<MapOracle>(s, Some(bug))), "maps: {bug:?}");
    }
    let bug = Some(Bug::DisableByReceiver);
    assert!(breaks(all(), |(s, orders)| any_order(s, orders, bug)), "any order: {bug:?}");
}

/// Runs a schedule to its end, and then until nothing is under way.
fn run<O: Oracle>(schedule: &Schedule, bug: Option<Bug>) -> Outcome {
    let mut world = World::<O>::new(schedule.nodes, bug);
    schedule.steps.iter().try_for_each(|step| world.step(step))?;
    world.drain()
}

/// Runs a schedule, and gives its deltas to fresh nodes: in causal orders, in which each is applied as it comes, and in
/// orders that ignore causes, in which some must be parked.
fn any_order(schedule: &Schedule, orders: &[u64], bug: Option<Bug>) -> Outcome {
    let mut world = World::<Blind>::new(schedule.nodes, bug);
    schedule.steps.iter().try_for_each(|step| world.step(step))?;
    world.drain()?;
    let author = &mut world.stations[0].machine;
    let (expected, deltas) = (author.content()?, author.all_deltas()?);
    for order in orders {
        let mut shuffled = deltas.clone();
        shuffled.shuffle(&mut ChaCha8Rng::seed_from_u64(*order));
        for (deltas, parks) in [(causal(&shuffled), false), (shuffled, true)] {
            let mut fresh = Machine::open(OriginId(0xf0_0d), bug);
            for delta in deltas {
                let dot = delta.dot;
                fresh.take(&Message::Fresh { shard: SHARD, deltas: vec![delta] })?;
                ensure(parks || fresh.vector().covers(dot), || format!("{dot:?} was ready and waits"))?;
            }
            ensure(fresh.node.parked_bytes(SHARD) == 0, || "something waits for ever".into())?;
            let content = fresh.content()?;
            ensure(content == expected, || {
                format!("{content:?}\nis not what the author has:\n{expected:?}")
            })?;
        }
    }
    Ok(())
}

/// The same deltas, each after all that its author had seen, and else in the order in which they are given.
fn causal(deltas: &[Arc<Delta>]) -> Vec<Arc<Delta>> {
    let (mut waiting, mut ordered) = (deltas.to_vec(), Vec::new());
    let mut applied = VersionVector::default();
    let is_next = |applied: &VersionVector, delta: &Delta| {
        applied.at(delta.dot.origin) + 1 == delta.dot.seq && applied.includes(&delta.deps)
    };
    while let Some(place) = waiting.iter().position(|delta| is_next(&applied, delta)) {
        let delta = waiting.remove(place);
        applied.advance(delta.dot).expect("it is the next of its origin");
        ordered.push(delta);
    }
    ordered
}
