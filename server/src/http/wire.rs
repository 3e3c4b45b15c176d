//! The wire under hyper. It turns hyper's own errors, which have no body, into problems; it closes a connection whose
//! client does not read; and it knows whether a request had begun when its time was over.
//!
//! How it tells hyper's own answers from ours: each of ours is announced with its body's length before hyper has it
//! ([`Exchange::answer`]). Bytes that begin a message without such an announcement are hyper's own.

use meridian_api::error::{Code, PROBLEM_TYPE, Problem};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What the service and the wire of one connection tell each other.
pub(super) struct Exchange(Mutex<Told>);

struct Told {
    /// Body lengths of answers that hyper has and the wire has not seen yet.
    answers: VecDeque<usize>,
    asked: Asked,
}

/// How far the next request is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// No byte of a first one has come, since the connection was made.
    Nothing(Instant),
    /// A part of its head has come, since then.
    Head(Instant),
    /// Its head is complete.
    Whole,
    /// The one before was answered, and no byte has come since.
    Idle,
}

impl Exchange {
    /// Nothing was said so far.
    pub(super) fn new() -> Self {
        Exchange(Mutex::new(Told { answers: VecDeque::new(), asked: Asked::Nothing(Instant::now()) }))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's head is complete.
    pub(super) fn request(&self) {
        self.told().asked = Asked::Whole;
    }

    /// An answer goes to hyper.
    pub(super) fn answer(&self, body_bytes: usize) {
        let mut told = self.told();
        told.asked = Asked::Idle;
        told.answers.push_back(body_bytes);
    }

    /// Whether the head of a request has been on its way for longer than it may.
    pub(super) fn is_late(&self, time_max: Duration) -> bool {
        match self.told().asked {
            Asked::Nothing(since) | Asked::Head(since) => since.elapsed() > time_max,
            Asked::Whole | Asked::Idle => false,
        }
    }

    /// Whether a part of a request's head has come, and not all of it.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.told().asked, Asked::Head(_))
    }

    fn read(&self) {
        let mut told = self.told();
        if matches!(told.asked, Asked::Nothing(_) | Asked::Idle) {
            told.asked = Asked::Head(Instant::now());
        }
    }

    fn next(&self) -> Option<usize> {
        self.told().answers.pop_front()
    }
}

/// Where in an answer the next byte stands.
enum At {
    /// Before an answer.
    Start,
    /// In its head, after so many bytes of the empty line that ends it; the body's length follows.
    Head(usize, usize),
    /// In its body, before so many bytes.
    Body(usize),
    /// Behind the last answer: hyper's own words were replaced by ours.
    Ended,
}

/// A connection's bytes.
pub(super) struct Wire<S> {
    stream: S,
    exchange: Arc<Exchange>,
    at: At,
    /// What is written in place of hyper's own words.
    own: VecDeque<u8>,
    /// A client that takes no byte for so long is given up.
    stalled_max: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Puts a wire under a connection.
    pub(super) fn new(stream: S, exchange: Arc<Exchange>, stalled_max: Duration) -> Self {
        Wire { stream, exchange, at: At::Start, own: VecDeque::new(), stalled_max, stalled: None }
    }

    /// Says a last word, if nothing is half said.
    pub(super) fn last_word(&mut self, code: Code, detail: &str) {
        if matches!(self.at, At::Start) {
            self.own = raw_problem(code, detail).into();
            self.at = At::Ended;
        }
    }

    fn classify(&mut self, first: &[u8]) {
        if first.starts_with(CONTINUE) {
            self.at = At::Head(0, 0);
        } else if let Some(body) = self.exchange.next() {
            self.at = At::Head(0, body);
        } else {
            self.own = hypers_own(first).into();
            self.at = At::Ended;
        }
    }

    /// How many of these bytes belong to the answer that is being written.
    fn within(&self, bufs: &[IoSlice<'_>]) -> usize {
        let available = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        match self.at {
            At::Start | At::Ended => available,
            At::Body(left) => left.min(available),
            At::Head(matched, body) => {
                let (head, _) = scan(matched, bufs, available);
                head.map_or(available, |head| head.saturating_add(body).min(available))
            }
        }
    }

    fn advance(&mut self, bufs: &[IoSlice<'_>], written: usize) {
        self.at = match self.at {
            At::Head(matched, body) => match scan(matched, bufs, written) {
                (Some(head), _) => after(body - (written - head)),
                (None, matched) => At::Head(matched, body),
            },
            At::Body(left) => after(left - written),
            At::Start => At::Start,
            At::Ended => At::Ended,
        };
    }

    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.own.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, self.own.as_slices().0))?;
            self.own.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// Gives up a client that has taken nothing for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let until = Instant::now() + self.stalled_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

fn after(body: usize) -> At {
    match body {
        0 => At::Start,
        left => At::Body(left),
    }
}

/// Looks for the empty line that ends a head in the first `bytes_max` bytes: where the head ends, or how much of the
/// line came last.
fn scan(mut matched: usize, bufs: &[IoSlice<'_>], bytes_max: usize) -> (Option<usize>, usize) {
    // Nearly always a head is one piece.
    let first = bufs.first().map_or(&[][..], |first| &first[..first.len().min(bytes_max)]);
    if matched == 0
        && let Some(place) = memchr::memmem::find(first, b"\r\n\r\n")
    {
        return (Some(place + 4), 0);
    }
    for (place, byte) in bufs.iter().flat_map(|buf| buf.iter()).copied().take(bytes_max).enumerate() {
        matched = match byte {
            b'\r' if matched == 2 => 3,
            b'\r' => 1,
            b'\n' if matched == 1 => 2,
            b'\n' if matched == 3 => return (Some(place + 1), 0),
            _ => 0,
        };
    }
    (None, matched)
}

fn hypers_own(head: &[u8]) -> Vec<u8> {
    match head.get(9..12) {
        Some(b"414") => raw_problem(Code::UriTooLong, "send a shorter address"),
        Some(b"431") => raw_problem(
            Code::HeadersTooLarge,
            "send fewer or shorter headers: 100 headers and 64 KiB at most",
        ),
        _ => raw_problem(Code::BadRequest, "this is not an HTTP/1.1 request that can be read"),
    }
}

/// A whole answer as bytes, for where there is no hyper to write it.
pub(super) fn raw_problem(code: Code, detail: &str) -> Vec<u8> {
    let problem = Problem::new(code, detail);
    let body = serde_json::to_string(&problem).expect("a problem is plain data");
    let retry = if problem.status == 503 { "retry-after: 1\r\n" } else { "" };
    let (status, title, bytes) = (problem.status, &problem.title, body.len());
    // Whatever path it was: nothing of it runs as a page.
    let harmless =
        "x-content-type-options: nosniff\r\ncontent-security-policy: sandbox; default-src 'none'\r\n";
    let head = format!(
        "content-type: {PROBLEM_TYPE}\r\ncontent-length: {bytes}\r\n{harmless}{retry}connection: close\r\n"
    );
    format!("HTTP/1.1 {status} {title}\r\n{head}\r\n{body}").into_bytes()
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.exchange.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &buf[..]);
        if matches!(self.at, At::Start) && !first.is_empty() {
            self.classify(first);
        }
        let within = self.within(bufs);
        if matches!(self.at, At::Ended) {
            return Poll::Ready(Ok(within));
        }
        let wrote = match within == bufs.iter().map(|buf| buf.len()).sum::<usize>() {
            true => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
            false => Pin::new(&mut self.stream).poll_write(cx, &first[..first.len().min(within)]),
        };
        let written = ready!(self.watch(cx, wrote))?;
        self.advance(bufs, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let own = self.poll_own(cx);
        ready!(self.watch(cx, own))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let own = self.poll_own(cx);
        ready!(self.watch(cx, own))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(test)
    }

    /// What comes out when `pieces` are written, of which the announced answers have these body lengths.
    fn through(answers: &[usize], pieces: &[&str]) -> String {
        run(async {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            let exchange = Arc::new(Exchange::new());
            answers.iter().for_each(|bytes| exchange.answer(*bytes));
            let mut wire = Wire::new(near, exchange, Duration::from_secs(9));
            for piece in pieces {
                wire.write_all(piece.as_bytes()).await.expect("the far end takes it");
            }
            wire.shutdown().await.expect("the far end takes it");
            let mut seen = String::new();
            far.read_to_string(&mut seen).await.expect("text");
            seen
        })
    }

    const OWN: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn announced_answers_pass_as_they_are_though_they_look_like_hypers() {
        let answer = format!("HTTP/1.1 200 OK\r\n\r\n{OWN}");
        assert_eq!(through(&[OWN.len()], &[&answer]), answer);
        let halves = answer.split_at(20);
        assert_eq!(through(&[OWN.len()], &[halves.0, halves.1]), answer);
        let bytewise: Vec<&str> = answer.split("").collect();
        assert_eq!(through(&[OWN.len()], &bytewise), answer);
    }

    #[test]
    fn an_answer_that_was_not_announced_becomes_a_problem() {
        for (before, announced) in [("", &[][..]), ("HTTP/1.1 204 No Content\r\n\r\n", &[0])] {
            let seen = through(announced, &[&format!("{before}{OWN}")]);
            let own = seen.strip_prefix(before).expect("what was announced passes");
            assert!(own.starts_with("HTTP/1.1 400 ") && own.contains("application/problem+json"), "{own}");
            assert!(own.contains(r#""code":"bad_request""#), "{own}");
        }
    }

    #[test]
    fn going_on_is_no_answer() {
        let going_on = "HTTP/1.1 100 Continue\r\n\r\n";
        let answer = "HTTP/1.1 200 OK\r\n\r\nab";
        assert_eq!(through(&[2], &[&format!("{going_on}{answer}")]), format!("{going_on}{answer}"));
    }

    #[test]
    fn a_client_that_does_not_read_is_given_up() {
        let stalled = run(async {
            let (near, _far) = tokio::io::duplex(8);
            let exchange = Arc::new(Exchange::new());
            exchange.answer(1000);
            let mut wire = Wire::new(near, exchange, Duration::from_millis(10));
            wire.write_all(&[b'x'; 1000]).await
        });
        assert_eq!(stalled.expect_err("nobody reads").kind(), io::ErrorKind::TimedOut);
    }
}
