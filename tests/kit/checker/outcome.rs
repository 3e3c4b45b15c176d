//! Every request has an outcome, in time: it is answered with what was asked for, or refused with a code that it can have, or given up
//! by its client. When all is quiet it is answered.

use super::Violation;
use crate::history::{Asked, End, History, Op, Ret};

/// Its name.
pub const NAME: &str = "outcome";

/// How long a client waits at most, in microseconds, before it gives a request up. Whoever waits longer hangs.
pub const PATIENCE_US_MAX: u64 = 10_000_000;

/// How a request can be refused: codes of the API, and `unreachable` where nobody listened.
const REFUSALS: [&str; 8] = [
    "unreachable",
    "disk_full",
    "quarantined",
    "context_required",
    "context_too_old",
    "page_required",
    "overloaded",
    "origins_full",
];
/// Refusals while all is quiet. A row may have rotted on its disk, and large removals are swept.
const REFUSALS_WHEN_QUIET: [&str; 2] = ["quarantined", "overloaded"];
/// Why nobody knows.
const UNKNOWN: [&str; 3] = ["timeout", "reset", "crash"];

/// Checks it.
///
/// # Errors
/// A request without an outcome, or with one that it cannot have.
pub fn check(history: &History) -> Result<(), Violation> {
    let last =
        history.ops.iter().map(|op| op.ended.as_ref().map_or(op.began, |(at, _)| *at)).max().unwrap_or(0);
    let quiet_at = history.quiet_at();
    for op in &history.ops {
        let is_quiet = quiet_at.is_some_and(|at| op.began >= at);
        if let Err(what) = check_op(op, is_quiet, last) {
            let Op { op: number, key, node, .. } = op;
            return Err(Violation {
                checker: NAME,
                what: format!("request {number} of {key:?} at n{node}: {what}"),
            });
        }
    }
    Ok(())
}

fn check_op(op: &Op, is_quiet: bool, last: u64) -> Result<(), String> {
    let Some((at, end)) = &op.ended else {
        let waits = last.saturating_sub(op.began);
        return if is_quiet || waits > PATIENCE_US_MAX {
            Err(format!("it hangs for {waits} µs"))
        } else {
            Ok(())
        };
    };
    let took = at.checked_sub(op.began).ok_or("it was answered before it was asked")?;
    if took > PATIENCE_US_MAX {
        return Err(format!("it took {took} µs"));
    }
    let fits = match (end, &op.asked) {
        (End::Ok { ret: Ret::Page { .. }, .. }, asked) => matches!(asked, Asked::List(_)),
        (End::Ok { ret: Ret::Read(_), .. }, asked) => *asked == Asked::Read,
        (End::Ok { ret: Ret::Wrote { .. }, .. }, asked) => !matches!(asked, Asked::Read | Asked::List(_)),
        (End::Fail { code }, _) if is_quiet => REFUSALS_WHEN_QUIET.contains(&code.as_str()),
        (End::Fail { code }, _) => REFUSALS.contains(&code.as_str()),
        (End::Info { code }, _) => !is_quiet && UNKNOWN.contains(&code.as_str()),
    };
    if fits { Ok(()) } else { Err(format!("{:?} ends with {end:?}", op.asked)) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{add, asks, members, read, refused, story, wrote};
    use super::*;
    use crate::history::Kind;

    fn told(change: impl FnOnce(&mut History)) -> Result<(), Violation> {
        let mut history = story(
            vec![add("a"), add("b"), asks(Kind::Set, Asked::Read).ends(read(members(&[])))],
            members(&[]),
        );
        change(&mut history);
        check(&history)
    }

    #[test]
    fn a_request_without_an_outcome_is_noticed() {
        let good: [fn(&mut History); 6] = [
            |_| {},
            |history| history.ops[0].ended = None,
            |history| history.ops[0].ended = Some((12, refused())),
            |history| history.ops[0].ended = Some((12, End::Fail { code: "unreachable".into() })),
            |history| history.ops[0].ended = Some((12, End::Info { code: "timeout".into() })),
            |history| history.ops[3].ended = Some((45, refused())),
        ];
        for change in good {
            assert_eq!(told(change), Ok(()));
        }
        let late =
            |history: &mut History| history.ops[3].ended.as_mut().expect("it ends").0 = PATIENCE_US_MAX + 50;
        let bad: [fn(&mut History); 9] = [
            |history| history.ops[3].ended = None,
            |history| {
                history.facts.clear();
                let late = Op { op: 9, began: PATIENCE_US_MAX + 50, ended: None, ..history.ops[1].clone() };
                history.ops[0].ended = None;
                history.ops.push(late);
            },
            late,
            |history| history.ops[0].ended.as_mut().expect("it ends").0 = 9,
            |history| history.ops[0].ended = Some((12, read(members(&[])))),
            |history| history.ops[2].ended = Some((32, wrote())),
            |history| history.ops[0].ended = Some((12, End::Fail { code: "wrong_type".into() })),
            |history| history.ops[0].ended = Some((12, End::Info { code: "panic".into() })),
            |history| history.ops[3].ended = Some((45, End::Info { code: "timeout".into() })),
        ];
        for (number, change) in bad.into_iter().enumerate() {
            assert_eq!(told(change).map_err(|violation| violation.checker), Err(NAME), "{number}");
        }
    }
}
