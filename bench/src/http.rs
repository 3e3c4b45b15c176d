//! The least of HTTP/1.1 that asks a node: one request in flight on a connection that is kept.
//!
//! An answer has a status, a length and a body. What needs more (a body in chunks, an interim answer) is refused: a
//! node sends neither.

use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is read at first; a longer answer gets more.
const BUFFER_BYTES: usize = 16 << 10;
/// Longest head that is taken.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Longest answer that is taken.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Bytes up to the body.
    pub(crate) bytes: usize,
    pub(crate) body_bytes: usize,
    /// Whether nothing more comes after this answer.
    pub(crate) closes: bool,
}

/// Reads a head; `None` while it is not complete.
///
/// # Errors
/// In words, when this is not an answer as a node gives.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Head>, &'static str> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > HEAD_BYTES_MAX { Err("the answer's head does not end") } else { Ok(None) };
    };
    let status = bytes.strip_prefix(b"HTTP/1.1 ").and_then(|rest| number(rest.get(..3)?));
    let Some(status @ 200..600) = status else { return Err("this is not an HTTP/1.1 answer") };
    let mut head = Head { status: status as u16, bytes: end + 4, body_bytes: 0, closes: false };
    for (name, value) in fields(&bytes[..end]) {
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = number(value).filter(|bytes| *bytes <= BODY_BYTES_MAX);
            head.body_bytes = length.ok_or("the answer's length is no number, or too large")?;
        } else if name.eq_ignore_ascii_case(b"connection") {
            head.closes = value.eq_ignore_ascii_case(b"close");
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err("the answer comes in chunks, which are not read here");
        }
    }
    if matches!(head.status, 204 | 304) {
        head.body_bytes = 0;
    }
    Ok(Some(head))
}

/// Names and values of a head's lines, the first apart.
fn fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let first = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
    let mut rest = &head[first..];
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

fn number(digits: &[u8]) -> Option<usize> {
    str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// Whether what was asked was done.
    pub(crate) fn is_well(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        let mut fields = fields(self.head);
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}

/// What was received of an answer so far.
struct Received {
    buffer: Vec<u8>,
    filled: usize,
    head: Option<Head>,
}

impl Received {
    fn new() -> Self {
        Received { buffer: vec![0; BUFFER_BYTES], filled: 0, head: None }
    }

    fn clear(&mut self) {
        (self.filled, self.head) = (0, None);
    }

    /// Where the next bytes go: never nothing.
    fn room(&mut self) -> &mut [u8] {
        let needed = self.head.map_or(self.filled + 1, |head| head.bytes + head.body_bytes);
        if needed.max(self.filled + 1) > self.buffer.len() {
            self.buffer.resize(needed.max(self.buffer.len() * 2), 0);
        }
        &mut self.buffer[self.filled..]
    }

    /// Takes bytes that were put into the room; whether the answer is whole.
    fn take(&mut self, bytes: usize) -> Result<bool, &'static str> {
        self.filled += bytes;
        if self.head.is_none() {
            self.head = parse(&self.buffer[..self.filled])?;
        }
        let Some(head) = self.head else { return Ok(false) };
        match self.filled.cmp(&(head.bytes + head.body_bytes)) {
            std::cmp::Ordering::Less => Ok(false),
            std::cmp::Ordering::Equal => Ok(true),
            std::cmp::Ordering::Greater => Err("more came than the answer's length says"),
        }
    }

    fn answer(&self) -> Answer<'_> {
        let head = self.head.expect("the answer is whole");
        let (start, body) = self.buffer[..self.filled].split_at(head.bytes);
        Answer { status: head.status, head: start, body }
    }
}

/// A connection to a node. It is made again when it is needed and was lost.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    received: Received,
}

impl Connection {
    /// To this address, not connected yet.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Connection { address, stream: None, received: Received::new() }
    }

    /// Connects, unless it is connected.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn open(&mut self) -> io::Result<()> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Sends a request and waits for its answer. After an error the connection is lost.
    ///
    /// # Errors
    /// The system's, and an answer that is none.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.open().await?;
        // It comes back when the answer is whole: whatever ends this before has lost the connection.
        let mut stream = self.stream.take().expect("it is open");
        let received = &mut self.received;
        received.clear();
        stream.write_all(request).await?;
        loop {
            let bytes = stream.read(received.room()).await?;
            if bytes == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the node closed the connection"));
            }
            if received.take(bytes).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))? {
                break;
            }
        }
        self.stream = received.head.is_some_and(|head| !head.closes).then_some(stream);
        Ok(self.received.answer())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nMeridian-Context:  ctx \r\nCONTENT-LENGTH: 5\r\n\r\nhello";

    /// What is understood when the bytes come in pieces of this size.
    fn in_pieces(bytes: &[u8], size: usize) -> Result<Received, &'static str> {
        let mut received = Received::new();
        let mut whole = false;
        for piece in bytes.chunks(size) {
            assert!(!whole, "it is whole before the end");
            received.room()[..piece.len()].copy_from_slice(piece);
            whole = received.take(piece.len())?;
        }
        assert!(whole, "it is not whole at the end");
        Ok(received)
    }

    #[test]
    fn an_answer_is_the_same_however_it_is_cut() {
        for size in 1..=ANSWER.len() {
            let received = in_pieces(ANSWER.as_bytes(), size).unwrap();
            let answer = received.answer();
            assert_eq!((answer.status, answer.body), (200, &b"hello"[..]), "in pieces of {size}");
            assert_eq!(answer.header("meridian-context"), Some(&b"ctx"[..]));
            assert_eq!(answer.header("content-type"), Some(&b"text/plain"[..]));
            assert_eq!(answer.header("hello"), None);
        }
    }

    #[test]
    fn an_answer_longer_than_the_buffer_is_taken() {
        let body = "x".repeat(3 * BUFFER_BYTES);
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        for size in [1000, BUFFER_BYTES] {
            assert_eq!(in_pieces(text.as_bytes(), size).unwrap().answer().body, body.as_bytes());
        }
    }

    #[test]
    fn a_204_has_no_body_and_a_close_is_noticed() {
        let head = parse(b"HTTP/1.1 204 No Content\r\ndate: now\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.status, head.bytes, head.body_bytes, head.closes), (204, 38, 0, false));
        let head =
            parse(b"HTTP/1.1 503 X\r\ncontent-length: 2\r\nConnection: Close\r\n\r\n{}").unwrap().unwrap();
        assert_eq!((head.status, head.body_bytes, head.closes), (503, 2, true));
        let header_in_a_body = b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\nconnection: close";
        assert!(!parse(header_in_a_body).unwrap().unwrap().closes);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let bad: [&[u8]; 7] = [
            b"HTTP/1.0 200 OK\r\n\r\n",
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            &[b'x'; HEAD_BYTES_MAX + 1],
        ];
        for bytes in bad {
            assert!(parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
        }
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"), Ok(None));
        assert!(in_pieces(format!("{ANSWER}!").as_bytes(), ANSWER.len() + 1).is_err(), "one byte too many");
    }

    #[test]
    fn a_connection_is_kept_until_the_node_closes_it_and_then_made_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let node = thread::spawn(move || {
            let mut connections = 0;
            for answers in
                [vec![ANSWER, "HTTP/1.1 204 No\r\nconnection: close\r\n\r\n"], vec![ANSWER], vec![""]]
            {
                let (mut stream, _) = listener.accept().unwrap();
                connections += 1;
                for answer in answers {
                    let asked = stream.read(&mut [0; 100]).unwrap();
                    assert_eq!(asked, 3, "one request at a time");
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
            connections
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = Connection::new(address);
            assert_eq!(connection.ask(b"one").await.unwrap().body, b"hello");
            assert_eq!(connection.ask(b"two").await.unwrap().status, 204);
            assert_eq!(connection.ask(b"and").await.unwrap().status, 200);
            connection.ask(b"end").await.expect_err("the node hung up");
            connection.ask(b"end").await.expect_err("the node hung up again");
        });
        assert_eq!(node.join().unwrap(), 3);
    }
}
