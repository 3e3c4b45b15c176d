//! Answers: what every response is made of, and how a refusal becomes a problem (RFC 9457).

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use meridian_api::error::{Code, Outcome, PROBLEM_TYPE, Problem};
use meridian_core::name::NameError;
use meridian_core::types::Refusal;

/// How many headers the answer about a key has.
const HEADERS_USUAL: usize = 9;

/// A response with its body at hand.
pub(super) type Answer = Response<Full<Bytes>>;

/// Why a request is not done.
#[derive(Debug)]
pub(super) struct Refused {
    /// What is told.
    pub(super) problem: Box<Problem>,
    /// The methods that the path knows, where the one that was used is none of them.
    pub(super) allow: Option<&'static str>,
}

impl Refused {
    /// A refusal with what usually holds for its code.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Refused { problem: Box::new(Problem::new(code, detail)), allow: None }
    }

    /// The path does not know the method.
    pub(super) fn method(allow: &'static str) -> Self {
        let detail = format!("this path knows {allow}");
        Refused { allow: Some(allow), ..Refused::new(Code::MethodNotAllowed, detail) }
    }

    /// It was done all the same.
    pub(super) fn applied(mut self) -> Self {
        self.problem.outcome = Outcome::Applied;
        self.problem.retryable = false;
        self
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::TypeConflict { .. } => Code::TypeConflict,
            Refusal::WrongType { .. } | Refusal::TypeMisfit { .. } => Code::WrongType,
            Refusal::ValueTooLarge => Code::ValueTooLarge,
            Refusal::TooManyOperations | Refusal::TooManyCounters => Code::TooManyOperations,
            Refusal::TooManySiblings => Code::ContextTooOld,
            Refusal::CounterOverflow => Code::NotAnInteger,
            Refusal::PageRequired { .. } => Code::PageRequired,
            Refusal::ContextRequired => Code::ContextRequired,
            Refusal::Sweeping => Code::Overloaded,
            Refusal::Quarantined | Refusal::PolicyUnread => Code::Quarantined,
            Refusal::OriginsFull => Code::OriginsFull,
        };
        let mut refused = Refused::new(code, refusal.to_string());
        if let Refusal::TypeConflict { types } = refusal {
            refused.problem.types = types.into_iter().map(|is| is.as_str().to_string()).collect();
        }
        refused
    }
}

impl From<NameError> for Refused {
    fn from(error: NameError) -> Self {
        let code = match error {
            NameError::Bucket => Code::BucketInvalid,
            NameError::KeyEmpty => Code::KeyEmpty,
            NameError::KeyTooLong => Code::KeyTooLong,
            NameError::Member | NameError::Field | NameError::Path => Code::BodyInvalid,
            NameError::ContentType => Code::InvalidParameter,
        };
        Refused::new(code, error.to_string())
    }
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        let Refused { problem, allow } = refused;
        let body = serde_json::to_vec(&problem).expect("a problem is plain data");
        let status = StatusCode::from_u16(problem.status).expect("the statuses of codes are statuses");
        let mut answer = with_body(status, PROBLEM_TYPE, body);
        let headers = answer.headers_mut();
        if let Some(allow) = allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            // The rest of the request is not waited for.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// An answer with a body.
pub(super) fn with_body(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Answer {
    let mut answer = empty(status);
    *answer.body_mut() = Full::new(body.into());
    let content_type = HeaderValue::from_str(content_type).expect("content types are printable ASCII");
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// 204.
pub(super) fn no_content() -> Answer {
    empty(StatusCode::NO_CONTENT)
}

/// 304.
pub(super) fn not_modified() -> Answer {
    empty(StatusCode::NOT_MODIFIED)
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    // Room for all that an answer has, at once.
    answer.headers_mut().reserve(HEADERS_USUAL);
    answer
}

/// Stored bytes never run as a page: what a browser is told of everything under `/v1/kv` and `/v1/inspect`.
pub(super) fn harmless(answer: &mut Answer) {
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
}
