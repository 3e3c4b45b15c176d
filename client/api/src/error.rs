//! Errors as clients get them: a closed list of codes, and the problem (RFC 9457) that carries one.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The media type of every error's body.
pub const PROBLEM_TYPE: &str = "application/problem+json";

/// Whether the request that failed changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing was changed, and nothing will be.
    NotApplied,
    /// It was done, and then something went wrong.
    Applied,
    /// It may have been done, or may be later.
    Unknown,
}

/// Makes the enum, its names and its table from one list.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:literal, $title:literal;)+) => {
        /// What went wrong, as a word that programs can rely on. The list is closed, until a version adds to it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl Code {
            /// All codes, in order of their statuses.
            pub const ALL: &[Code] = &[$(Code::$variant,)+];

            /// The word in the body.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $name,)+ }
            }

            /// The HTTP status that it comes with.
            pub fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)+ }
            }

            /// A short sentence, the same for each occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)+ }
            }
        }
    };
}

codes! {
    /// The request is not HTTP as this server understands it.
    BadRequest = "bad_request", 400, "The request is malformed";
    /// The bucket's name is not one.
    BucketInvalid = "bucket_invalid", 400, "The bucket's name is not allowed";
    /// The path ends before the key.
    KeyEmpty = "key_empty", 400, "The key has no bytes";
    /// The key is not UTF-8, or its encoding is broken.
    KeyInvalid = "key_invalid", 400, "The key cannot be decoded";
    /// A query parameter or `Meridian-*` header that no version knows.
    UnknownParameter = "unknown_parameter", 400, "A parameter is unknown";
    /// A parameter or header has a value that it cannot have.
    InvalidParameter = "invalid_parameter", 400, "A parameter's value is not allowed";
    /// Part of the contract, and not in this version.
    NotAvailable = "not_available", 400, "This version does not have it yet";
    /// The body is not what the operation takes.
    BodyInvalid = "body_invalid", 400, "The body is not a valid operation";
    /// No version knows this operation.
    UnknownOperation = "unknown_operation", 400, "The operation is unknown";
    /// A token that is damaged, forged, or of another cluster, key or kind.
    BadToken = "bad_token", 400, "The token is not valid here";
    /// More members than one answer may have.
    PageRequired = "page_required", 400, "The collection is too large for one answer";
    /// A condition where none can be kept.
    ConditionNeedsStrong = "condition_needs_strong", 400, "Conditions need a bucket with strong consistency";
    /// A web page of another origin asks.
    OriginNotAllowed = "origin_not_allowed", 403, "The web origin is not allowed";
    /// There is no such key.
    KeyNotFound = "key_not_found", 404, "There is no such key";
    /// There is no such field in the map.
    FieldNotFound = "field_not_found", 404, "There is no such field";
    /// There is nothing at this path.
    PathNotFound = "path_not_found", 404, "There is no such path";
    /// The path does not know the method.
    MethodNotAllowed = "method_not_allowed", 405, "The method is not allowed here";
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", 408, "The request did not arrive in time";
    /// The key was created under several types at once.
    TypeConflict = "type_conflict", 409, "The key has several types";
    /// The value is longer than the setting allows.
    ValueTooLarge = "value_too_large", 413, "The value is too large";
    /// The request's body is longer than any may be.
    RequestTooLarge = "request_too_large", 413, "The request is too large";
    /// More operations or members than one request may have.
    TooManyOperations = "too_many_operations", 413, "The request has too many operations";
    /// The key is longer than a key may be.
    KeyTooLong = "key_too_long", 414, "The key is too long";
    /// The request's target is longer than the server reads.
    UriTooLong = "uri_too_long", 414, "The address is too long";
    /// The body is compressed, and only plain bytes are taken.
    EncodingUnsupported = "encoding_unsupported", 415, "The body's encoding is not supported";
    /// The request is for another host.
    WrongHost = "wrong_host", 421, "The request is for another host";
    /// The operation does not fit the key's type.
    WrongType = "wrong_type", 422, "The operation does not fit the type";
    /// A number that is not a 64-bit integer, or a sum that would not be one.
    NotAnInteger = "not_an_integer", 422, "The number is not a 64-bit integer";
    /// The context is too old for what it is used for.
    ContextTooOld = "context_too_old", 422, "The context is too old";
    /// A put that would overwrite values unseen.
    ContextRequired = "context_required", 428, "The put does not say what it has seen";
    /// The request's headers are longer than the server reads.
    HeadersTooLarge = "headers_too_large", 431, "The headers are too large";
    /// The server failed; its log says why.
    Internal = "internal", 500, "The server failed";
    /// Too much is under way.
    Overloaded = "overloaded", 503, "The node has too much to do";
    /// The node does not serve yet, or is stopping.
    NotReady = "not_ready", 503, "The node does not serve now";
    /// The replica has a damaged row.
    Quarantined = "quarantined", 503, "The replica is out of service";
    /// The shard cannot count one more run of a node.
    OriginsFull = "origins_full", 503, "The shard has seen too many restarts";
    /// It is not known whether it was done.
    OutcomeUnknown = "outcome_unknown", 504, "The outcome is unknown";
    /// The disk is nearly full.
    DiskFull = "disk_full", 507, "The disk is nearly full";
}

impl Code {
    /// The code of a word; `None` where this version knows none.
    pub fn of(word: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str() == word)
    }

    /// What became of the request, unless the problem says otherwise.
    pub fn outcome(self) -> Outcome {
        match self {
            Code::Internal | Code::OutcomeUnknown => Outcome::Unknown,
            _ => Outcome::NotApplied,
        }
    }

    /// Whether the same request may succeed later, here or at another node.
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Code::RequestTimeout | Code::Overloaded | Code::NotReady | Code::Quarantined | Code::DiskFull
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of every error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Names the code as a URI.
    #[serde(rename = "type")]
    pub uri: String,
    /// A short sentence, the same for each occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here, and what to do next.
    pub detail: String,
    /// What went wrong.
    pub code: Code,
    /// Whether anything was changed.
    pub outcome: Outcome,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// The types that a key has, where it has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
}

impl Problem {
    /// A problem with what usually holds for its code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem {
            uri: format!("urn:meridian:error:{code}"),
            title: code.title().to_string(),
            status: code.status(),
            detail: detail.into(),
            code,
            outcome: code.outcome(),
            retryable: code.retryable(),
            types: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_written_and_read_back() {
        let problem = Problem::new(Code::KeyEmpty, "name a key");
        let text = serde_json::to_string(&problem).expect("plain data");
        assert!(
            text.contains(r#""code":"key_empty""#) && text.contains(r#""outcome":"not_applied""#),
            "{text}"
        );
        assert!(
            text.contains(r#""type":"urn:meridian:error:key_empty""#) && !text.contains("types"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Problem>(&text).expect("what was written"), problem);
    }

    #[test]
    fn codes_stand_in_order_of_their_statuses_and_once() {
        assert_eq!(Code::of("of_a_later_version"), None);
        assert!(Code::ALL.is_sorted_by(|a, b| a.status() <= b.status()));
        for code in Code::ALL {
            assert_eq!(Code::ALL.iter().filter(|other| other.as_str() == code.as_str()).count(), 1, "{code}");
            assert_eq!(Code::of(code.as_str()), Some(*code));
        }
    }
}
