//! What goes wrong with a call: what happened, whether it was applied, and what to do.

use crate::endpoint::Endpoint;
use meridian_api::error::{Code, Outcome};
use std::fmt;

/// Why a call gave nothing. As text it says what happened, whether it was applied, and what to do.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    /// What was to be done: `PUT /v1/kv/users/42`.
    request: String,
    kind: Kind,
    outcome: Outcome,
    attempts: Vec<Attempt>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The call makes no request. Nothing was sent.
    Invalid(String),
    /// This client has too many calls under way, and time ran out before it was this one's turn. Nothing was sent.
    Busy,
    /// No node could be reached. Nothing was sent.
    Unreachable,
    /// It was sent, and no answer came, or not all of it.
    Unanswered,
    /// A node refused it.
    Refused {
        /// The code, if this version knows it.
        code: Option<Code>,
        /// The code's word, like `wrong_type`; of an answer that is not a node's, the HTTP status.
        word: String,
        /// What happened there, and what to do next.
        detail: String,
        /// The types of the key, with [`Code::TypeConflict`].
        types: Vec<String>,
    },
    /// It succeeded, and the answer is not what a node of this version gives, or longer than [this client
    /// reads](crate::Builder::answer_bytes_max).
    Strange(String),
    /// It succeeded, and what was read does not fit into the type that it was to be read into.
    Misfit(String),
}

/// One time that a call was sent, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The node.
    pub endpoint: Endpoint,
    /// What became of it.
    pub what: String,
}

impl Error {
    pub(crate) fn new(request: String, kind: Kind, outcome: Outcome, attempts: Vec<Attempt>) -> Error {
        Error(Box::new(Inner { request, kind, outcome, attempts }))
    }

    /// What makes no request.
    pub(crate) fn invalid(request: impl Into<String>, why: impl fmt::Display) -> Error {
        Error::new(request.into(), Kind::Invalid(why.to_string()), Outcome::NotApplied, Vec::new())
    }

    /// What was read and does not fit.
    pub(crate) fn misfit(what: impl Into<String>, why: impl fmt::Display) -> Error {
        Error::new(what.into(), Kind::Misfit(why.to_string()), Outcome::NotApplied, Vec::new())
    }

    /// What happened.
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// Whether it was applied, all attempts taken together.
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// The code that a node refused it with, if it did and this version knows it.
    pub fn code(&self) -> Option<Code> {
        match &self.0.kind {
            Kind::Refused { code, .. } => *code,
            _ => None,
        }
    }

    /// What became of each attempt, the first one first.
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.attempts
    }

    /// Whether a node refused it because nothing is there.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self.code(), Some(Code::KeyNotFound | Code::FieldNotFound))
    }

    fn advice(&self) -> &'static str {
        let Inner { kind, outcome, .. } = &*self.0;
        match (kind, outcome) {
            (Kind::Refused { .. } | Kind::Invalid(_), Outcome::NotApplied) => "",
            (Kind::Strange(_) | Kind::Misfit(_), Outcome::NotApplied) => "",
            (Kind::Busy, _) => "; nothing was sent: allow more calls at a time, or make fewer",
            (Kind::Unreachable, Outcome::NotApplied) => {
                "; nothing was sent: see that a node listens there, or name more endpoints"
            }
            (_, Outcome::NotApplied) => "; nothing was changed: try again",
            (_, Outcome::Applied) => "; it was applied, and what it answered is lost",
            (_, Outcome::Unknown) => {
                "; it is not known whether it was applied: read before you send it again"
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { request, kind, attempts, .. } = &*self.0;
        write!(f, "{request}: ")?;
        match kind {
            Kind::Invalid(why) => write!(f, "it cannot be sent: {why}")?,
            Kind::Busy => write!(f, "too many calls are under way in this client")?,
            Kind::Unreachable => write!(f, "no node could be reached")?,
            Kind::Unanswered => write!(f, "no answer")?,
            Kind::Refused { word, detail, .. } => write!(f, "{word}: {detail}")?,
            Kind::Strange(why) => write!(f, "the answer was not understood: {why}")?,
            Kind::Misfit(why) => write!(f, "it does not fit into the type that was asked for: {why}")?,
        }
        // A refusal at the first node has said it all.
        let said_all = matches!(kind, Kind::Refused { .. }) && attempts.len() <= 1;
        for (place, (attempt, times)) in counted(attempts).iter().filter(|_| !said_all).enumerate() {
            let joint = if place == 0 { " (" } else { "; " };
            write!(f, "{joint}{}: {}", attempt.endpoint, attempt.what)?;
            if *times > 1 {
                write!(f, ", {times} times")?;
            }
        }
        if !said_all && !attempts.is_empty() {
            f.write_str(")")?;
        }
        f.write_str(self.advice())
    }
}

impl std::error::Error for Error {}

/// The attempts, each with how often it was made: what happened again at the same node is told once.
fn counted(attempts: &[Attempt]) -> Vec<(&Attempt, usize)> {
    let mut counted: Vec<(&Attempt, usize)> = Vec::new();
    for attempt in attempts {
        match counted.iter_mut().find(|(known, _)| *known == attempt) {
            Some((_, times)) => *times += 1,
            None => counted.push((attempt, 1)),
        }
    }
    counted
}

/// What became of a call by all its attempts: one that was applied settles it, and one of which nothing is known leaves it open.
pub(crate) fn total(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    outcomes.fold(Outcome::NotApplied, |total, outcome| match (total, outcome) {
        (Outcome::Applied, _) | (_, Outcome::Applied) => Outcome::Applied,
        (Outcome::Unknown, _) | (_, Outcome::Unknown) => Outcome::Unknown,
        _ => Outcome::NotApplied,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(whats: &[&str]) -> Vec<Attempt> {
        let endpoint = |place| format!("http://n{place}:7480").parse().unwrap();
        whats
            .iter()
            .enumerate()
            .map(|(place, what)| Attempt { endpoint: endpoint(place), what: (*what).into() })
            .collect()
    }

    #[test]
    fn an_error_says_what_happened_whether_it_was_applied_and_what_to_do() {
        let says = |kind, outcome, whats: &[&str]| {
            Error::new("PUT /k".into(), kind, outcome, attempts(whats)).to_string()
        };
        assert_eq!(
            says(Kind::Unreachable, Outcome::NotApplied, &["refused", "no route"]),
            "PUT /k: no node could be reached (http://n0:7480: refused; http://n1:7480: no route); nothing was sent: \
             see that a node listens there, or name more endpoints"
        );
        assert_eq!(
            says(Kind::Unanswered, Outcome::Unknown, &["the connection ended"]),
            "PUT /k: no answer (http://n0:7480: the connection ended); it is not known whether it was applied: read before you \
             send it again"
        );
        let kind = Kind::Refused {
            code: Some(Code::WrongType),
            word: "wrong_type".into(),
            detail: "it is a set".into(),
            types: Vec::new(),
        };
        assert_eq!(
            says(kind.clone(), Outcome::NotApplied, &["wrong_type"]),
            "PUT /k: wrong_type: it is a set"
        );
        assert_eq!(
            says(kind, Outcome::Unknown, &["the connection ended", "wrong_type"]),
            "PUT /k: wrong_type: it is a set (http://n0:7480: the connection ended; http://n1:7480: wrong_type); it is not known \
             whether it was applied: read before you send it again"
        );
    }

    #[test]
    fn what_happened_again_at_the_same_node_is_told_once() {
        let [first, second] = &attempts(&["refused", "no route"])[..] else { unreachable!("two attempts") };
        let again = [first, second, first, second, first].map(Clone::clone).to_vec();
        let error = Error::new("GET /k".into(), Kind::Unreachable, Outcome::NotApplied, again).to_string();
        let expected =
            "(http://n0:7480: refused, 3 times; http://n1:7480: no route, 2 times); nothing was sent";
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn attempts_add_up_to_what_is_known() {
        use Outcome::{Applied, NotApplied, Unknown};
        for (attempts, expected) in [
            (&[][..], NotApplied),
            (&[NotApplied, NotApplied], NotApplied),
            (&[Unknown, NotApplied], Unknown),
            (&[NotApplied, Unknown], Unknown),
            (&[Unknown, Applied, NotApplied], Applied),
        ] {
            assert_eq!(total(attempts.iter().copied()), expected, "{attempts:?}");
        }
    }
}
