//! Commands against a node that a test plays: what is sent, what is shown, and when the next node is asked.

mod errors;
mod fields;
mod keys;
mod list;
mod usage;

use super::*;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

/// A node that answers one request.
struct Node {
    endpoint: String,
    asked: JoinHandle<Asked>,
}

/// What a node was asked.
#[derive(Debug, Default)]
struct Asked {
    line: String,
    headers: Vec<String>,
    body: String,
}

impl Node {
    fn answers(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = url(&listener);
        let answer = answer.into();
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let asked = Asked::read(&stream);
            stream.write_all(&answer).unwrap();
            asked
        });
        Node { endpoint, asked }
    }

    fn was_asked(self) -> Asked {
        self.asked.join().unwrap()
    }
}

impl Asked {
    fn read(stream: &TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut lines = reader.by_ref().lines().map(Result::unwrap);
        let line = lines.next().unwrap();
        let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let mut asked = Asked { line, headers, body: String::new() };
        let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
        reader.take(length).read_to_string(&mut asked.body).unwrap();
        asked
    }

    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.headers.iter().filter_map(|line| line.split_once(": "));
        headers.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// How a command ended.
type Ended = Result<String, CliError>;

fn url(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

/// An endpoint where nobody listens.
fn nobody() -> String {
    url(&TcpListener::bind("127.0.0.1:0").unwrap())
}

fn response(status: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    // A 204 has no body and says no length.
    if !status.starts_with("204") {
        write!(head, "content-length: {}\r\n", body.len()).unwrap();
    }
    [format!("{head}\r\n").as_bytes(), body].concat()
}

fn matches(words: &[&OsStr]) -> Result<ArgMatches, clap::Error> {
    command().try_get_matches_from([OsStr::new("meridian")].iter().chain(words))
}

/// A person's terminal, without colours.
const PERSON: Option<Terminal> = Some(Terminal { columns: 60, has_colours: false });

fn run_words(words: &[&OsStr], endpoints: &str, input: &[u8], terminal: Option<Terminal>) -> Ended {
    let matches = matches(words).expect("the words are well formed");
    let (name, matches) = matches.subcommand().unwrap();
    let mut output = Vec::new();
    let mut input = input;
    let around =
        Surroundings { endpoints: Some(endpoints.into()), input: &mut input, output: &mut output, terminal };
    run(name, matches, around).map(|()| String::from_utf8(output).expect("what is shown is UTF-8"))
}

fn run_at(endpoints: &str, words: &[&str]) -> Ended {
    let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    run_words(&words, endpoints, b"from input", None)
}

fn run_at_terminal(answer: Vec<u8>, words: &[&str]) -> String {
    let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    run_words(&words, &Node::answers(answer).endpoint, b"", PERSON).unwrap()
}

/// Runs a command against a node with this answer: what was asked, and how it ended.
fn exchange(answer: Vec<u8>, words: &[&str]) -> (Asked, Ended) {
    let node = Node::answers(answer);
    let ended = run_at(&node.endpoint, words);
    (node.was_asked(), ended)
}

fn done() -> Vec<u8> {
    response("204 No Content", &[("meridian-context", "ctx")], "")
}

fn read(body: impl AsRef<[u8]>, content_type: &str, kind: &str) -> Vec<u8> {
    let headers = [("content-type", content_type), ("meridian-type", kind), ("meridian-context", "ctx")];
    response("200 OK", &headers, body)
}
