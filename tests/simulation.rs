//! Whole clusters in simulated time: two cluster-hours and more, in which nothing may go wrong, and planted bugs, with which something must.

use meridian_core::planted::Bug;
use meridian_tests::checker;
use meridian_tests::faults::{FAULTS, Fault};
use meridian_tests::history::{Asked, End, Fact, History, Kind, Listed, Op, Ret, Seen};
use meridian_tests::seeds::cores;
use meridian_tests::sim::{self, Cause, Failure, Figures, Options};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Runs seeds on all cores until one goes wrong.
fn run_all(seeds: u64, options: &Options) -> (Figures, Vec<Failure>) {
    sim::run_many(0..seeds, cores(), options, |failure| match failure {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    })
}

#[test]
fn two_cluster_hours_go_by_without_a_violation() {
    let (figures, failures) = run_all(60, &Options::default());
    println!("{figures}");
    if let Some(failure) = failures.first() {
        panic!("{failure}");
    }
    assert!(figures.simulated_us >= 2 * 3_600_000_000, "{figures}");
    let happened = [
        figures.requests,
        figures.messages,
        figures.dropped,
        figures.blows,
        figures.repairs,
        figures.quarantines,
        figures.repeats,
        figures.pages,
        figures.full,
        figures.refused,
    ];
    assert!(happened.iter().all(|count| *count > 10), "too little happened: {figures}");
    // At most one request in so many may have been a write that is excused, for each cause.
    for ((cause, _), (lost, one_in)) in Cause::ALL.iter().zip(figures.excused.iter().zip(EXCUSED_ONE_IN)) {
        assert!(lost * one_in < figures.requests, "{cause:?} excuses too much to be judged: {figures}");
    }
}

/// Of each cause why an acknowledged write may be gone, in their order. Disks are replaced most where networks are worst: with one message in
/// four lost, replicas are seconds behind, and so much has only the disk that goes. Nothing else destroys whole disks before the end.
const EXCUSED_ONE_IN: [u64; Cause::ALL.len()] = [5, 100, 1_000];

/// What went wrong in twice 500 cluster-hours, each with what it was.
const WENT_WRONG: [(u64, &str); 8] = [
    (100_859, "the source of a repair forgot which rows it had found"),
    (101_921, "the same"),
    (103_650, "the same"),
    (105_185, "a repair waits for its source, which helps another"),
    (106_230, "what no disk had any more was still on its way when all agreed"),
    (109_283, "a shard rests as long as its peer was silent"),
    (109_497, "the source of a repair forgot which rows it had found"),
    (
        200_637,
        "copies of one damaged log were given up within one sync, and each excused nothing for the others' sake",
    ),
];

#[test]
fn what_went_wrong_in_a_long_run_does_not_any_more() {
    for (seed, what) in WENT_WRONG {
        if let Err(failure) = sim::run(seed, &Options::default()) {
            panic!("{what}, again? {failure}");
        }
    }
}

/// Within so many seeds each must be caught.
const SEEDS_TO_CATCH: u64 = 300;

#[test]
fn planted_bugs_are_caught() {
    for (name, bug) in FAULTS {
        let options = Options { hours: 0.01, bug: Some(bug), ..Options::default() };
        let (_, failures) = run_all(SEEDS_TO_CATCH, &options);
        let first = failures.iter().map(|failure| failure.seed).min();
        println!("{name:26} caught by seed {first:?}");
        let first = first.unwrap_or_else(|| panic!("{name} is caught by none of {SEEDS_TO_CATCH} seeds"));
        // It is the bug that is caught.
        if let Err(failure) = sim::run(first, &Options { bug: None, ..options }) {
            panic!("without {name} too: {failure}");
        }
    }
}

#[test]
fn a_failing_run_is_made_smaller_and_still_fails() {
    let options = Options { hours: 0.01, bug: Some(Fault::Engine(Bug::GapAccepted)), ..Options::default() };
    let mut steps = 0;
    let smallest = sim::shrink(0, &options, &mut |_| steps += 1).expect("it fails");
    assert!(steps > 0 && smallest.options.hours < options.hours, "{smallest}");
    assert!(!smallest.options.without.is_empty(), "{smallest}");
    sim::run(0, &smallest.options).expect_err("the smallest fails as well");
    let words = smallest.to_string();
    assert!(words.contains("replay --seed 0 --hours") && words.contains("--bug gap-accepted"), "{words}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let options = Options { hours: 0.01, ..Options::default() };
    for seed in 0..3 {
        let runs = [(); 2].map(|()| sim::run(seed, &options).map(|figures| figures.trace));
        match runs {
            [Ok(one), Ok(other)] => assert_eq!(one, other, "seed {seed}"),
            [Err(failure), _] | [_, Err(failure)] => panic!("{failure}"),
        }
    }
}

// -- histories -------------------------------------------------------------------------------------------------------

/// Bugs that are caught by what clients saw, each by a checker of its own.
const CAUGHT_BY_HISTORY: [(Fault, &str); 11] = [
    (Fault::Engine(Bug::AbsenceAnswered), "forgotten"),
    (Fault::Engine(Bug::WriteUnmade), "adds"),
    (Fault::Engine(Bug::DisableByReceiver), "forgotten"),
    (Fault::Engine(Bug::SubtreeNotDeep), "resurrected"),
    (Fault::Engine(Bug::RepairRowLost), "lost"),
    (Fault::Engine(Bug::RangeKillByReceiver), "adds"),
    (Fault::Engine(Bug::DeltaDropped), "counter"),
    (Fault::Engine(Bug::LeafSkipped), "register"),
    (Fault::Engine(Bug::ContextOfAnswerWhole), "siblings"),
    (Fault::Engine(Bug::SpentSlotPurged), "convergence"),
    (Fault::SyncSkipped, "listing"),
];
/// Within so many seeds: a leaf that a repair skips is one of all kinds, so a register is hit in one of a hundred.
const SEEDS_TO_CATCH_BY_HISTORY: u64 = SEEDS_TO_CATCH;

#[test]
fn checkers_of_histories_catch_bugs_by_themselves() {
    for (bug, by) in CAUGHT_BY_HISTORY {
        // Nothing is looked at inside of nodes, and nothing compared.
        let options = Options { hours: 0.01, bug: Some(bug), only_history: true, ..Options::default() };
        let is_caught = |seed: &u64| {
            let (_, saw) = sim::run_told(*seed, &options);
            checker::violations(&saw).iter().any(|violation| violation.checker == by)
        };
        let seed = (0..SEEDS_TO_CATCH_BY_HISTORY).find(is_caught);
        println!("{bug:26} caught by {by}, seed {seed:?}");
        let seed = seed.unwrap_or_else(|| panic!("{bug} is not caught by {by}"));
        // It is the bug that is caught.
        let (_, saw) = sim::run_told(seed, &Options { bug: None, ..options });
        assert_eq!(checker::violations(&saw), [], "without {bug} too");
    }
}

#[test]
fn a_history_that_was_written_is_judged_as_it_was_seen() {
    let (outcome, saw) = sim::run_told(3, &Options { hours: 0.01, ..Options::default() });
    outcome.expect("nothing is wrong");
    let mut lines = Vec::new();
    saw.write(&mut lines).expect("memory takes it");
    let history = History::read(lines.as_slice()).expect("it is read back");
    assert!(history.ops.len() > 300 && history == saw, "{} requests", history.ops.len());
    assert_eq!(checker::violations(&history), []);
}

#[test]
fn each_checker_notices_when_a_history_is_changed() {
    // Nothing is lost with its only disk, and so excused.
    let without = vec![sim::Kind::Wipe, sim::Kind::OldImage, sim::Kind::Clone, sim::Kind::Rot];
    let (_, saw) = sim::run_told(3, &Options { hours: 0.01, without, ..Options::default() });
    for (checker, change) in CHANGES {
        let mut history = saw.clone();
        change(&mut history).unwrap_or_else(|| panic!("{checker}: there is nothing to be changed so"));
        let complaints = checker::violations(&history);
        assert!(complaints.iter().any(|violation| violation.checker == checker), "{checker}: {complaints:?}");
    }
}

/// Changes a history; nothing where it has nothing to be changed so.
type Change = fn(&mut History) -> Option<()>;

/// One change for each checker, which it must notice.
const CHANGES: [(&str, Change); 11] = [
    ("outcome", |history| {
        history.ops.iter_mut().find(|op| op.asked == Asked::Read)?.ended = None;
        Some(())
    }),
    ("phantom", |history| {
        last_reads(history, Kind::Register)?.into_iter().for_each(|seen| *seen = values(["nobody's"]));
        Some(())
    }),
    ("forgotten", |history| {
        // What a node has just acknowledged, a read finds no more.
        let at = history.ops.iter().rposition(|op| {
            matches!(op.asked, Asked::Increment(_)) && op.key == "counter/0.0" && is_ok(op)
        })?;
        let began = history.quiet_at()? - 1;
        let ended = Some((began, read(Seen::Nothing)));
        let read = Op { op: u64::MAX, asked: Asked::Read, began, ended, ..history.ops[at].clone() };
        history.ops.push(read);
        history.ops.sort_by_key(|op| op.began);
        Some(())
    }),
    ("resurrected", |history| {
        let removed = history.ops.iter().filter_map(|op| match (&op.asked, &op.ended) {
            (Asked::Remove(members), Some((_, End::Ok { ret: Ret::Wrote { changed: Some(1), .. }, .. }))) => {
                (op.key == "set/0.0").then(|| members.clone())
            }
            _ => None,
        });
        let removed = Seen::Members(removed.flatten().collect());
        last_reads(history, Kind::Set)?.into_iter().for_each(|seen| *seen = removed.clone());
        Some(())
    }),
    ("lost", |history| {
        last_reads(history, Kind::Flag)?.into_iter().for_each(|seen| *seen = Seen::Nothing);
        Some(())
    }),
    ("adds", |history| {
        last_reads(history, Kind::Set)?.into_iter().for_each(|seen| *seen = Seen::Members(BTreeSet::new()));
        Some(())
    }),
    ("counter", |history| {
        for seen in last_reads(history, Kind::Counter)? {
            let Seen::Number(sum) = seen else { return None };
            *sum += 1_000_000;
        }
        Some(())
    }),
    ("register", |history| {
        // The last but one that a node has put, one after the other.
        let puts: Vec<(u32, String)> = history
            .ops
            .iter()
            .filter_map(|op| match &op.asked {
                Asked::Put(value) if op.key == "register/0.0" && is_ok(op) && op.context.is_none() => {
                    Some((op.node, value.clone()))
                }
                _ => None,
            })
            .collect();
        let (node, _) = puts.last()?;
        let before = puts.iter().rev().filter(|(other, _)| other == node).nth(1)?.1.clone();
        last_reads(history, Kind::Register)?.into_iter().for_each(|seen| *seen = values([before.as_str()]));
        Some(())
    }),
    ("siblings", |history| {
        last_reads(history, Kind::Multi)?.into_iter().for_each(|seen| *seen = values([]));
        Some(())
    }),
    ("listing", |history| {
        let pages = history.ops.iter_mut().rev().find_map(|op| match &mut op.ended {
            Some((_, End::Ok { ret: Ret::Page { entries, .. }, .. })) if entries.len() > 5 => Some(entries),
            _ => None,
        });
        let entries: &mut Vec<Listed> = pages?;
        entries.remove(2);
        Some(())
    }),
    ("convergence", |history| {
        *last_reads(history, Kind::Max)?.pop()? = Seen::Number(0);
        Some(())
    }),
];

fn is_ok(op: &Op) -> bool {
    matches!(op.ended, Some((_, End::Ok { .. })))
}

fn read(seen: Seen) -> End {
    End::Ok { ret: Ret::Read(seen), context: None }
}

fn values<const N: usize>(values: [&str; N]) -> Seen {
    Seen::Values(values.map(String::from).into())
}

/// What all nodes read at the end of the key of a type that nobody empties.
fn last_reads(history: &mut History, kind: Kind) -> Option<Vec<&mut Seen>> {
    let key = history
        .ops
        .iter()
        .find(|op| op.kind == Some(kind) && op.key.contains("/0.") && op.path.is_none())?
        .key
        .clone();
    Some(last_reads_of(history, &key))
}

fn last_reads_of<'a>(history: &'a mut History, key: &str) -> Vec<&'a mut Seen> {
    let quiet = history.facts.iter().find(|(_, fact)| *fact == Fact::Quiet).map_or(u64::MAX, |(at, _)| *at);
    let last = history.ops.iter_mut().filter(|op| op.began >= quiet && op.key == key);
    last.filter_map(|op| match &mut op.ended {
        Some((_, End::Ok { ret: Ret::Read(seen), .. })) => Some(seen),
        _ => None,
    })
    .collect()
}
