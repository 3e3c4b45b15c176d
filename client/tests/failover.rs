//! What the client does when nodes fail, against nodes that do as they are told.

use meridian_client::{Builder, Client, Code, Error, Kind, Outcome, Request};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long a condition is waited for.
const TIME_MAX: Duration = Duration::from_secs(10);

/// What a node does with a request that it has read.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Answers with a status and a body.
    Answers(u16, &'static str),
    /// Answers, and ends the connection without saying so.
    AnswersAndEnds(u16, &'static str),
    /// Begins an answer and ends the connection.
    AnswersHalf,
    /// Ends the connection.
    Ends,
    /// Nothing.
    Hangs,
}

const NUMBER: Does = Does::Answers(200, "7");
const NOT_READY: Does = Does::Answers(
    503,
    r#"{"code":"not_ready","detail":"it stops","outcome":"not_applied","retryable":true}"#,
);
const MISFIT: Does = Does::Answers(
    422,
    r#"{"code":"wrong_type","detail":"it is a set","outcome":"not_applied","retryable":false}"#,
);

/// A node that does as it is told: each thing in the list once, and then always the last one.
struct Node {
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
    async fn start(does: &[Does]) -> Node {
        Node::start_at((Ipv4Addr::LOCALHOST, 0).into(), does).await
    }

    async fn start_at(address: SocketAddr, does: &[Does]) -> Node {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
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

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests that came, but for looks whether it is back.
    fn asked(&self) -> Vec<String> {
        let told = self.told.lock().expect("nobody panics");
        told.asked.iter().filter(|asked| !asked.contains("/readyz")).cloned().collect()
    }

    fn was_looked_at(&self) -> bool {
        self.told.lock().expect("nobody panics").asked.iter().any(|asked| asked.contains("/readyz"))
    }

    fn connections(&self) -> usize {
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
        let answer = |status, body: &str| {
            let head = "meridian-context: c\r\nmeridian-type: counter\r\ncontent-type: application/json";
            format!("HTTP/1.1 {status} x\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        let (bytes, ends) = match does {
            Does::Answers(status, body) => (answer(status, body), false),
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

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.and_then(|free| free.local_addr()).expect("a free port")
}

/// A client with little patience.
fn hasty() -> Builder {
    Client::builder().timeout(Duration::from_millis(700)).attempt_timeout(Duration::from_millis(100))
}

fn of(builder: Builder, nodes: &[&Node]) -> Client {
    builder.connect(nodes.iter().map(|node| node.endpoint())).expect("endpoints")
}

async fn increment(client: &Client) -> Result<i128, Error> {
    client.bucket("stats").counter("home").increment(5).await
}

async fn put(client: &Client) -> Result<(), Error> {
    client.bucket("users").register("42").put("Ada").await
}

#[track_caller]
fn ends(error: &Error, outcome: Outcome, attempts: usize) {
    assert_eq!((error.outcome(), error.attempts().len()), (outcome, attempts), "{error}");
}

#[tokio::test]
async fn the_first_node_is_asked_as_long_as_it_is_well_and_connections_are_kept() {
    let (first, second) = (Node::start(&[NUMBER]).await, Node::start(&[NUMBER]).await);
    let client = of(hasty(), &[&first, &second]);
    for _ in 0..50 {
        assert_eq!(increment(&client).await.expect("it answers"), 7);
    }
    assert_eq!((first.asked().len(), first.connections(), second.asked().len()), (50, 1, 0));
    assert_eq!(first.asked()[0], "POST /v1/kv/stats/home?type=counter");
}

#[tokio::test]
async fn a_node_that_is_gone_is_passed_over_by_any_call_and_asked_again_when_it_is_back() {
    let (gone, second) = (nobody().await, Node::start(&[NUMBER]).await);
    let client = hasty().connect([format!("http://{gone}"), second.endpoint()]).expect("endpoints");
    assert_eq!(increment(&client).await.expect("the second answers"), 7);
    let well: Vec<bool> = client.standings().iter().map(|standing| standing.is_well).collect();
    assert_eq!(well, [false, true]);
    let first = Node::start_at(gone, &[NUMBER]).await;
    let began = Instant::now();
    while first.asked().is_empty() {
        assert_eq!(increment(&client).await.expect("somebody answers"), 7);
        assert!(began.elapsed() < TIME_MAX, "it is not asked again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(first.was_looked_at(), "a call would have paid for it");
    assert!(client.standings()[0].is_well);
}

#[tokio::test]
async fn what_may_have_been_applied_is_sent_again_only_if_it_may_be() {
    let (first, second) = (Node::start(&[Does::Ends]).await, Node::start(&[NUMBER]).await);
    let error = increment(&of(hasty(), &[&first, &second])).await.expect_err("nobody knows");
    ends(&error, Outcome::Unknown, 1);
    assert_eq!((error.kind(), second.asked().len()), (&Kind::Unanswered, 0));
    assert!(error.to_string().contains("read before you send it again"), "{error}");

    put(&of(hasty(), &[&first, &second])).await.expect("the second does it");
    assert_eq!(second.asked(), ["PUT /v1/kv/users/42?type=register"]);

    let careful = of(hasty().repeat_writes(false), &[&first, &second]);
    ends(&put(&careful).await.expect_err("nobody knows"), Outcome::Unknown, 1);
    let careful = of(hasty().repeat_writes(false), &[&first, &second]);
    assert_eq!(careful.bucket("stats").counter("home").get().await.expect("a read is repeated"), Some(7));
}

#[tokio::test]
async fn what_was_not_applied_is_sent_again_whatever_it_is() {
    let (first, second) = (Node::start(&[NOT_READY]).await, Node::start(&[NUMBER]).await);
    let client = of(hasty(), &[&first, &second]);
    for _ in 0..5 {
        assert_eq!(increment(&client).await.expect("the second answers"), 7);
    }
    assert_eq!(
        (first.asked().len(), second.asked().len()),
        (1, 5),
        "who does not serve is not asked each time"
    );
    let error = of(hasty(), &[&Node::start(&[MISFIT]).await, &second]);
    let error = increment(&error).await.expect_err("it does not fit");
    ends(&error, Outcome::NotApplied, 1);
    assert_eq!(error.code(), Some(Code::WrongType));
    assert_eq!(error.to_string(), "POST /v1/kv/stats/home?type=counter: wrong_type: it is a set");
}

#[tokio::test]
async fn all_nodes_are_asked_again_until_time_is_up() {
    let (first, second) = (Node::start(&[NOT_READY]).await, Node::start(&[NOT_READY]).await);
    let began = Instant::now();
    let error = increment(&of(hasty(), &[&first, &second])).await.expect_err("nobody serves");
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!((error.outcome(), error.code()), (Outcome::NotApplied, Some(Code::NotReady)));
    assert!(error.attempts().len() >= 4, "{error}");

    let third = Node::start(&[NOT_READY, NOT_READY, NUMBER]).await;
    assert_eq!(increment(&of(hasty(), &[&third])).await.expect("it serves in the end"), 7);
    assert_eq!(third.asked().len(), 3);
}

#[tokio::test]
async fn nodes_are_asked_no_more_often_than_was_said() {
    let (first, second) = (Node::start(&[NOT_READY]).await, Node::start(&[NOT_READY]).await);
    for (rounds, attempts) in [(0, 2), (1, 2), (2, 4)] {
        let patient = Client::builder().rounds_max(rounds);
        let error = increment(&of(patient, &[&first, &second])).await.expect_err("nobody serves");
        ends(&error, Outcome::NotApplied, attempts);
    }
}

#[tokio::test]
async fn a_node_that_hangs_is_left_for_another_where_that_is_safe() {
    let (first, second) = (Node::start(&[Does::Hangs]).await, Node::start(&[NUMBER]).await);
    let began = Instant::now();
    put(&of(hasty(), &[&first, &second])).await.expect("the second answers");
    assert!((100..600).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let client = of(hasty(), &[&first, &second]);
    ends(&increment(&client).await.expect_err("nobody knows"), Outcome::Unknown, 1);
    assert_eq!(increment(&client).await.expect("the next goes elsewhere"), 7);
    // The last one has all the time there is.
    let client = of(hasty(), &[&first]);
    let began = Instant::now();
    let error = client.bucket("stats").counter("home").get().await.expect_err("it hangs");
    ends(&error, Outcome::NotApplied, 1);
    assert!(began.elapsed() > Duration::from_millis(650), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_one_attempt_left_open_stays_open() {
    let (first, second) = (Node::start(&[Does::Ends]).await, Node::start(&[MISFIT]).await);
    let error = put(&of(hasty(), &[&first, &second])).await.expect_err("it does not fit");
    ends(&error, Outcome::Unknown, 2);
    assert_eq!(error.code(), Some(Code::WrongType));
    assert!(error.to_string().contains("it is not known whether it was applied"), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_has_said_that_it_was_applied() {
    let (first, second) = (Node::start(&[Does::AnswersHalf]).await, Node::start(&[NUMBER]).await);
    let error = increment(&of(hasty(), &[&first, &second])).await.expect_err("the number is lost");
    ends(&error, Outcome::Applied, 1);
    let read = of(hasty(), &[&first, &second]).bucket("stats").counter("home").get().await;
    assert_eq!(read.expect("a read is repeated"), Some(7));
    let strange = of(hasty(), &[&Node::start(&[Does::Answers(200, "<html>")]).await]);
    ends(&increment(&strange).await.expect_err("no number"), Outcome::Applied, 0);
}

#[tokio::test]
async fn a_connection_that_ended_while_nobody_used_it_fails_no_call() {
    let node = Node::start(&[Does::AnswersAndEnds(200, "7")]).await;
    let client = of(hasty(), &[&node]);
    for asked in 1..=20 {
        assert_eq!(increment(&client).await.expect("it answers"), 7);
        assert_eq!((node.asked().len(), node.connections()), (asked, asked));
        // The end of the connection arrives.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn calls_wait_for_their_turn_and_not_forever() {
    let node = Node::start(&[Does::Hangs]).await;
    let client = of(hasty().calls_max(1), &[&node]);
    let slow = tokio::spawn({
        let client = client.clone();
        async move { client.bucket("stats").counter("home").increment(1).timeout(TIME_MAX).await }
    });
    let began = Instant::now();
    while node.asked().is_empty() {
        assert!(began.elapsed() < TIME_MAX, "it was not sent");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let error = increment(&client).await.expect_err("it is not its turn");
    ends(&error, Outcome::NotApplied, 0);
    assert_eq!((error.kind(), node.asked().len()), (&Kind::Busy, 1));
    slow.abort();
}

#[tokio::test]
async fn a_proxy_that_got_no_answer_leaves_it_open() {
    let (first, second) =
        (Node::start(&[Does::Answers(502, "<h1>Bad Gateway</h1>")]).await, Node::start(&[NUMBER]).await);
    let error = increment(&of(hasty(), &[&first, &second])).await.expect_err("nobody knows");
    ends(&error, Outcome::Unknown, 1);
    assert!(error.to_string().contains("HTTP 502: <h1>Bad Gateway</h1>"), "{error}");
    put(&of(hasty(), &[&first, &second])).await.expect("the second does it");
}

#[tokio::test]
async fn what_makes_no_request_is_not_sent() {
    let node = Node::start(&[NUMBER]).await;
    let client = of(hasty(), &[&node]);
    let type_of_two_lines = meridian_client::Value::new("text\nplain", "x");
    for error in [
        client.bucket("b").register("k").put(type_of_two_lines).await.expect_err("no header"),
        client.send(Request::new(meridian_client::Method::GET, "/a b")).await.expect_err("no address"),
    ] {
        assert!(matches!(error.kind(), Kind::Invalid(_)), "{error}");
        assert_eq!((error.outcome(), node.asked().len()), (Outcome::NotApplied, 0));
    }
    for endpoints in [vec![], vec!["localhost:7480"], vec!["http://a:1", "https://b:1"]] {
        assert!(matches!(Client::connect(endpoints).expect_err("no endpoints").kind(), Kind::Invalid(_)));
    }
}
