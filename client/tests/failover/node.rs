//! Nodes that do as they are told.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// What a node does with a request that it has read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Does {
    /// Answers with a status and a body.
    Answers(u16, &'static str),
    /// Answers after so many ms.
    AnswersAfter(u64, &'static str),
    /// Asks to be asked again after so many seconds.
    AsksToWait(u64),
    /// Answers, and ends the connection without saying so.
    AnswersAndEnds(u16, &'static str),
    /// Begins an answer and ends the connection.
    AnswersHalf,
    /// Ends the connection.
    Ends,
    /// Nothing.
    Hangs,
}

pub(crate) const NUMBER: Does = Does::Answers(200, "7");
pub(crate) const NOT_READY: Does = Does::Answers(503, NOT_READY_BODY);
const NOT_READY_BODY: &str =
    r#"{"code":"not_ready","detail":"it stops","outcome":"not_applied","retryable":true}"#;
pub(crate) const MISFIT: Does = Does::Answers(
    422,
    r#"{"code":"wrong_type","detail":"it is a set","outcome":"not_applied","retryable":false}"#,
);

/// A node that does as it is told: each thing in the list once, and then always the last one.
pub(crate) struct Node {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    does: VecDeque<Does>,
    asked: Vec<String>,
    connections: usize,
}

impl Node {
    pub(crate) async fn start(does: &[Does]) -> Node {
        Gone::new().comes_back(does)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests that came, but for looks whether it is back.
    pub(crate) fn asked(&self) -> Vec<String> {
        let told = self.told.lock().expect("nobody panics");
        told.asked.iter().filter(|asked| !asked.contains("/readyz")).cloned().collect()
    }

    /// How often somebody looked whether it is back.
    pub(crate) fn looks(&self) -> usize {
        let told = self.told.lock().expect("nobody panics");
        told.asked.iter().filter(|asked| asked.contains("/readyz")).count()
    }

    pub(crate) fn connections(&self) -> usize {
        self.told.lock().expect("nobody panics").connections
    }
}

async fn serve(mut stream: TcpStream, told: Arc<Mutex<Told>>) {
    let mut unread = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut unread).await {
        let does = {
            let mut told = told.lock().expect("nobody panics");
            told.asked.push(request);
            match told.does.len() {
                1 => told.does[0],
                _ => told.does.pop_front().expect("it was told what to do"),
            }
        };
        let with_header = |header: &str, status, body: &str| {
            let head = "meridian-context: c\r\nmeridian-type: counter\r\ncontent-type: application/json";
            format!("HTTP/1.1 {status} x\r\n{head}\r\n{header}content-length: {}\r\n\r\n{body}", body.len())
        };
        let answer = |status, body| with_header("", status, body);
        let (bytes, ends) = match does {
            Does::Answers(status, body) => (answer(status, body), false),
            Does::AnswersAfter(ms, body) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                (answer(200, body), false)
            }
            Does::AsksToWait(seconds) => {
                (with_header(&format!("retry-after: {seconds}\r\n"), 503, NOT_READY_BODY), false)
            }
            Does::AnswersAndEnds(status, body) => (answer(status, body), true),
            Does::AnswersHalf => (answer(200, "1234567").replace("4567", ""), true),
            Does::Ends => (String::new(), true),
            Does::Hangs => return std::future::pending().await,
        };
        if stream.write_all(bytes.as_bytes()).await.is_err() || ends {
            return;
        }
    }
}

/// The next request's first line; `None` when the connection has ended.
async fn read_request(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(unread).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let length: usize = length.unwrap_or(0);
            if body.len() >= length {
                unread.drain(..head.len() + 4 + length);
                return Some(head.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned());
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(bytes) => unread.extend_from_slice(&buffer[..bytes]),
        }
    }
}

/// A port that nobody listens on, and that nobody else gets.
pub(crate) struct Gone(TcpSocket);

impl Gone {
    pub(crate) fn new() -> Gone {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        Gone(socket)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.0.local_addr().expect("it is bound"))
    }

    /// A node begins to listen there.
    pub(crate) fn comes_back(self, does: &[Does]) -> Node {
        let address = self.0.local_addr().expect("it is bound");
        let listener: TcpListener = self.0.listen(1024).expect("it is bound");
        let told = Arc::new(Mutex::new(Told { does: does.iter().copied().collect(), ..Told::default() }));
        let node = Node { address, told: Arc::clone(&told) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                told.lock().expect("nobody panics").connections += 1;
                tokio::spawn(serve(stream, Arc::clone(&told)));
            }
        });
        node
    }
}
