//! The names of Meridian's headers, in lower case, as HTTP libraries want them.

/// On an answer: what was seen of this key. On a PUT, a DELETE or an operation that takes away: what it is limited to.
pub const CONTEXT: &str = "meridian-context";
/// On an answer: the key's type, like `register`.
pub const TYPE: &str = "meridian-type";
/// On an answer: how many values a multi-value register has, where it has several.
pub const SIBLINGS: &str = "meridian-siblings";
/// On an answer: the types that a field of a map has beside the one that is shown.
pub const HIDDEN: &str = "meridian-hidden";
/// On an answer: who gave it, as `node;region`.
pub const SERVED_BY: &str = "meridian-served-by";
/// On an answer: the level of consistency that was reached.
pub const CONSISTENCY: &str = "meridian-consistency";
/// On both: what this client has seen anywhere.
pub const SESSION: &str = "meridian-session";
/// On a request: the same key has one effect, however often the request is sent.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_lower_case() {
        for name in [CONTEXT, TYPE, SIBLINGS, HIDDEN, SERVED_BY, CONSISTENCY, SESSION, IDEMPOTENCY_KEY] {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
        }
    }
}
