//! Whether a call that failed at one node is sent again, and how long to wait before all nodes are asked once more.
//!
//! - What was not applied, and may be by another node or later, is sent again.
//! - What may have been applied is sent again only if doing it twice leaves what doing it once leaves.

use crate::transport::Failure;
use meridian_api::error::Outcome;
use std::time::Duration;

/// The pause after all nodes have been asked once.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Whether a request is sent again after this.
pub(crate) fn is_safe_again(is_repeatable: bool, failure: &Failure) -> bool {
    failure.is_passing && (failure.outcome == Outcome::NotApplied || is_repeatable)
}

/// How long to wait before round `round` (the first repetition is 1), `spread` in 0..1.
pub(crate) fn pause(round: u32, spread: f64) -> Duration {
    let longest = PAUSE_MIN.saturating_mul(1 << round.saturating_sub(1).min(10)).min(PAUSE_MAX);
    longest.mul_f64(1.0 - spread / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn only_what_is_safe_is_sent_again() {
        let failure = |is_passing, outcome| Failure {
            kind: Kind::Unanswered,
            what: String::new(),
            outcome,
            is_passing,
            is_down: true,
            is_late: false,
            retry_after: None,
        };
        use Outcome::{Applied, NotApplied, Unknown};
        for (is_repeatable, is_passing, outcome, expected) in [
            (false, true, NotApplied, true),
            (true, true, NotApplied, true),
            (false, true, Unknown, false),
            (false, true, Applied, false),
            (true, true, Unknown, true),
            (true, true, Applied, true),
            (true, false, NotApplied, false),
            (true, false, Unknown, false),
        ] {
            let is = is_safe_again(is_repeatable, &failure(is_passing, outcome));
            assert_eq!(is, expected, "{is_repeatable} {is_passing} {outcome:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_second_and_are_spread() {
        let ms: Vec<u128> = (1..8).map(|round| pause(round, 0.0).as_millis()).collect();
        assert_eq!(ms, [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(pause(1, 1.0).as_millis(), 25);
    }
}
