//! Commands against a node that a test plays: what is sent, what is shown, and when the next node is asked.

use super::*;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
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

fn run_words(words: &[&OsStr], endpoints: &str, input: &[u8], is_terminal: bool) -> Ended {
    let matches = matches(words).expect("the words are well formed");
    let (name, matches) = matches.subcommand().unwrap();
    let mut output = Vec::new();
    let mut input = input;
    let around = Surroundings {
        endpoints: Some(endpoints.into()),
        input: &mut input,
        output: &mut output,
        is_terminal,
    };
    run(name, matches, around).map(|()| String::from_utf8(output).expect("what is shown is UTF-8"))
}

fn run_at(endpoints: &str, words: &[&str]) -> Ended {
    let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    run_words(&words, endpoints, b"from input", false)
}

fn run_at_terminal(answer: Vec<u8>, words: &[&str]) -> String {
    let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    run_words(&words, &Node::answers(answer).endpoint, b"", true).unwrap()
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

// -- what is sent and shown ------------------------------------------------------------------------------------------

#[test]
fn put_sends_the_value_as_it_is() {
    let (asked, ended) = exchange(done(), &["put", "users/42", "{\"name\":\"Ada\"}"]);
    assert_eq!(asked.line, "PUT /v1/kv/users/42 HTTP/1.1");
    assert_eq!(asked.body, "{\"name\":\"Ada\"}");
    assert_eq!(asked.header("content-type"), None, "the node tells text from bytes");
    assert_eq!(ended.unwrap(), "{\"key\":\"users/42\",\"ok\":true,\"context\":\"ctx\"}\n");
}

#[test]
fn put_says_what_it_was_told() {
    let words =
        ["put", "b/k", "1", "--content-type", "application/json", "--context", "tok_-", "--type", "a+b"];
    let (asked, _) = exchange(done(), &words);
    assert_eq!(asked.line, "PUT /v1/kv/b/k?type=a%2Bb HTTP/1.1");
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("meridian-context"), Some("tok_-"));
}

#[test]
fn a_value_may_come_from_standard_input_or_a_file() {
    assert_eq!(exchange(done(), &["put", "b/k", "-"]).0.body, "from input");
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("value");
    std::fs::write(&path, "from file").unwrap();
    assert_eq!(exchange(done(), &["put", "b/k", "--file", path.to_str().unwrap()]).0.body, "from file");
    assert_eq!(exchange(done(), &["put", "b/k", "-5"]).0.body, "-5");
    assert_eq!(exchange(done(), &["put", "b/k", ""]).0.header("content-length"), Some("0"));
    let missing = run_at(&nobody(), &["put", "b/k", "--file", "/no/such"]).unwrap_err();
    assert!(missing.to_string().starts_with("/no/such: ") && missing.exit_code() == 1, "{missing}");
}

#[test]
fn get_shows_the_value_and_what_is_known_of_it() {
    let (asked, ended) = exchange(read("{\"n\":1.00}", "application/json", "register"), &["get", "users/42"]);
    assert_eq!((asked.line.as_str(), asked.body.as_str()), ("GET /v1/kv/users/42 HTTP/1.1", ""));
    assert_eq!(
        ended.unwrap(),
        "{\"key\":\"users/42\",\"type\":\"register\",\"value\":{\"n\":1.00},\
         \"content_type\":\"application/json\",\"context\":\"ctx\"}\n"
    );
    let (_, ended) = exchange(read("1205", "application/json", "counter"), &["get", "b/k"]);
    assert!(ended.unwrap().contains("\"type\":\"counter\",\"value\":1205,"));
    let (_, ended) =
        exchange(read("[\"jazz\"]", "application/json", "set"), &["get", "b/k", "--type", "set"]);
    assert!(ended.unwrap().contains("\"type\":\"set\",\"value\":[\"jazz\"],"));
}

#[test]
fn get_raw_writes_the_bytes_alone() {
    for terminal in [true, false] {
        let node = Node::answers(read("no newline", "text/plain", "register"));
        let words = ["get", "b/k", "--raw"].map(OsStr::new);
        assert_eq!(run_words(&words, &node.endpoint, b"", terminal).unwrap(), "no newline");
    }
}

#[test]
fn a_terminal_shows_the_plain_value() {
    let plain = |body: &[u8]| run_at_terminal(read(body, "text/plain", "register"), &["get", "b/k"]);
    assert_eq!(plain(b"hello"), "hello\n");
    assert_eq!(plain(b"two\nlines\n"), "two\nlines\n");
    assert_eq!(plain(b"\x1b[31mred"), "\\u{1b}[31mred\n", "a stored value does not drive the terminal");
    assert_eq!(plain(b"\xff\x00"), "2 bytes that are not text: --raw writes them\n");
    assert_eq!(run_at_terminal(done(), &["put", "b/k", "v"]), "ok\n");
    assert_eq!(run_at_terminal(response("200 OK", &[], "1205"), &["inc", "b/k"]), "1205\n");
    let changed = response("200 OK", &[], "{\"added\":2,\"removed\":0}");
    assert_eq!(run_at_terminal(changed, &["add", "b/k", "m"]), "added 2, removed 0\n");
    assert_eq!(
        run_at_terminal(done(), &["del", "b/k", "--json"]),
        "{\"key\":\"b/k\",\"ok\":true,\"context\":\"ctx\"}\n"
    );
}

#[test]
fn inspect_shows_the_answer_and_lays_it_out_on_a_terminal() {
    let json = r#"{"agree":true,"replicas":[{"n":1.50}]}"#;
    let answer = response("200 OK", &[("content-type", "application/json")], json);
    let (asked, ended) = exchange(answer.clone(), &["inspect", "users/4 2"]);
    assert_eq!(asked.line, "GET /v1/inspect/users/4%202 HTTP/1.1");
    assert_eq!(ended.unwrap(), format!("{json}\n"));
    let shown = run_at_terminal(answer.clone(), &["inspect", "users/42"]);
    assert_eq!(shown.lines().nth(1), Some("  \"agree\": true,"), "{shown}");
    assert!(shown.contains("\"n\": 1.50\n"), "{shown}");
    assert_eq!(run_at_terminal(answer, &["inspect", "users/42", "--json"]), format!("{json}\n"));
}

#[test]
fn del_has_no_body() {
    let (asked, ended) = exchange(response("204 No Content", &[], ""), &["del", "b/k", "--context", "tok"]);
    assert_eq!(asked.line, "DELETE /v1/kv/b/k HTTP/1.1");
    assert_eq!((asked.header("meridian-context"), asked.header("content-length")), (Some("tok"), None));
    assert_eq!(ended.unwrap(), "{\"key\":\"b/k\",\"ok\":true}\n");
}

#[test]
fn inc_takes_one_or_what_is_said() {
    let counted = || response("200 OK", &[("content-type", "application/json")], "1205");
    for (words, by) in [(&["inc", "b/k"][..], 1), (&["inc", "b/k", "5"], 5), (&["inc", "b/k", "-5"], -5)] {
        let (asked, ended) = exchange(counted(), words);
        assert_eq!(asked.line, "POST /v1/kv/b/k HTTP/1.1");
        assert_eq!(asked.body, format!("{{\"by\":{by},\"op\":\"increment\"}}"));
        assert_eq!(asked.header("content-type"), Some("application/json"));
        assert_eq!(ended.unwrap(), "{\"key\":\"b/k\",\"value\":1205}\n");
    }
}

#[test]
fn add_and_rem_say_what_changed() {
    let changed = || response("200 OK", &[], "{\"added\":2,\"removed\":0}");
    let (asked, ended) = exchange(changed(), &["add", "b/k", "opera", "a \"b\""]);
    assert_eq!(asked.body, "{\"members\":[\"opera\",\"a \\\"b\\\"\"],\"op\":\"add\"}");
    assert_eq!(ended.unwrap(), "{\"key\":\"b/k\",\"added\":2,\"removed\":0}\n");
    let (asked, _) = exchange(changed(), &["rem", "b/k", "opera", "--context", "tok"]);
    assert_eq!(asked.body, "{\"members\":[\"opera\"],\"op\":\"remove\"}");
    assert_eq!(asked.header("meridian-context"), Some("tok"));
}

#[test]
fn any_key_arrives_as_it_was_written() {
    for (key, path) in [("b/a b/c?d%2e", "/v1/kv/b/a%20b/c%3Fd%252e"), ("b/../x", "/v1/kv/b?key64=Li4veA")] {
        let (asked, ended) = exchange(done(), &["del", key]);
        assert_eq!(asked.line, format!("DELETE {path} HTTP/1.1"));
        assert!(ended.unwrap().starts_with(&format!("{{\"key\":\"{key}\",")));
    }
    let node = Node::answers(done());
    let words = [OsStr::new("del"), OsStr::from_bytes(b"b/\xff"), OsStr::new("--type"), OsStr::new("set")];
    let ended = run_words(&words, &node.endpoint, b"", false).unwrap();
    assert_eq!(node.was_asked().line, "DELETE /v1/kv/b?key64=_w&type=set HTTP/1.1");
    assert_eq!(ended, "{\"bucket\":\"b\",\"key64\":\"_w\",\"ok\":true,\"context\":\"ctx\"}\n");
}

// -- errors ----------------------------------------------------------------------------------------------------------

#[test]
fn a_refusal_is_shown_with_code_and_detail() {
    let problem = |outcome: &str| {
        let body = format!(
            "{{\"type\":\"about:blank\",\"title\":\"T\",\"status\":422,\"detail\":\"do that\",\
             \"code\":\"wrong_type\",\"outcome\":\"{outcome}\",\"retryable\":false}}"
        );
        response("422 Unprocessable Content", &[("content-type", "application/problem+json")], body)
    };
    let words = |outcome: &str| {
        let error = exchange(problem(outcome), &["inc", "b/k"]).1.unwrap_err();
        assert_eq!(error.exit_code(), 1);
        error.to_string()
    };
    assert_eq!(words("not_applied"), "wrong_type: do that");
    assert_eq!(words("unknown"), "wrong_type: do that (outcome: unknown)");
}

#[test]
fn what_no_meridian_would_answer_is_an_error_too() {
    let failed = |answer: Vec<u8>, words: &[&str]| exchange(answer, words).1.unwrap_err().to_string();
    assert_eq!(
        failed(response("502 Bad Gateway", &[], "\x1boops\n"), &["get", "b/k"]),
        "HTTP 502 Bad Gateway: \\u{1b}oops"
    );
    let moved = response("302 Found", &[("location", "http://127.0.0.1:1/")], "");
    assert_eq!(failed(moved, &["get", "b/k"]), "HTTP 302 Found: ");
    assert!(failed(response("200 OK", &[], "<html>"), &["inc", "b/k"]).contains("not a number"));
    assert!(failed(response("200 OK", &[], "{}"), &["add", "b/k", "m"]).contains("not what was added"));
}

#[test]
fn the_next_endpoint_is_asked_when_one_cannot_be_reached() {
    let node = Node::answers(done());
    let endpoints = format!("{}, {}/", nobody(), node.endpoint);
    assert!(run_at(&endpoints, &["put", "b/k", "v"]).is_ok());
    assert_eq!(node.was_asked().body, "v");
    let node = Node::answers(done());
    let words = ["put", "b/k", "v", "--endpoint", &nobody(), "--endpoint", &node.endpoint];
    assert!(run_at("http://beaten.invalid", &words).is_ok(), "the command line beats the variable");
    let (one, two) = (nobody(), nobody());
    let error = run_at(&format!("{one},{two}"), &["put", "b/k", "v"]).unwrap_err();
    assert!([&one, &two].iter().all(|endpoint| error.to_string().contains(*endpoint)), "{error}");
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn a_write_that_may_have_been_applied_is_not_sent_again() {
    for words in [&["put", "b/k", "v"][..], &["del", "b/k"], &["inc", "b/k"], &["rem", "b/k", "m"]] {
        let dies = Node::answers("");
        let second = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = run_at(&format!("{},{}", dies.endpoint, url(&second)), words).unwrap_err();
        assert!(error.to_string().contains("not known whether it was applied"), "{error}");
        second.set_nonblocking(true).unwrap();
        assert!(second.accept().is_err(), "nobody was asked after {words:?}");
        dies.was_asked();
    }
}

#[test]
fn a_read_may_be_sent_again() {
    let (dies, lives) = (Node::answers("HTTP/1.1 200"), Node::answers(read("v", "text/plain", "register")));
    let ended = run_at(&format!("{},{}", dies.endpoint, lives.endpoint), &["get", "b/k"]);
    assert!(ended.unwrap().contains("\"value\":\"v\""));
}

#[test]
fn an_answer_that_is_cut_off_is_no_answer() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n12";
    for words in [&["get", "b/k"][..], &["inc", "b/k"]] {
        assert!(exchange(cut.into(), words).1.is_err(), "{words:?}");
    }
}

// -- usage -----------------------------------------------------------------------------------------------------------

#[test]
fn words_that_make_no_request_are_bad_usage() {
    let long = format!("b/{}", "k".repeat(4097));
    let bad: [&[&str]; 19] = [
        &[],
        &["frob"],
        &["put", "b/k"],
        &["put", "b/k", "v", "--file", "f"],
        &["put", "b/k", "v", "--content-type", "a\nb"],
        &["put", "b/k", "v", "--context", "a b"],
        &["get"],
        &["get", "users"],
        &["get", "b/"],
        &["get", "B/k"],
        &["get", &long],
        &["get", "b/k", "--raw", "--json"],
        &["get", "b/k", "--context", "tok"],
        &["get", "b/k", "--endpoint", "https://a"],
        &["get", "b/k", "--endpoint", "http://a/v1"],
        &["inc", "b/k", "1.5"],
        &["inc", "b/k", "9223372036854775808"],
        &["add", "b/k"],
        &["add", "b/k", ""],
    ];
    for words in bad {
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        assert_eq!(matches(&words).map(|_| ()).expect_err(&format!("{words:?}")).exit_code(), 2, "{words:?}");
    }
    let error = run_at("a:1", &["get", "b/k"]).unwrap_err();
    assert!(error.to_string().starts_with("MERIDIAN_ENDPOINTS: ") && error.exit_code() == 2, "{error}");
}

#[test]
fn every_command_shows_examples() {
    command().debug_assert();
    let commands = command();
    let names: Vec<&str> = commands.get_subcommands().map(Command::get_name).collect();
    assert_eq!(
        names,
        [
            "start", "dev", "config", "put", "get", "del", "inc", "add", "rem", "inspect", "cluster", "tls",
            "ceiling"
        ]
    );
    for command in commands.get_subcommands() {
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains(&format!("Examples:\n  meridian {}", command.get_name())), "{help}");
    }
}

#[test]
fn the_version_says_what_was_built() {
    let version = command().render_version();
    assert!(version.starts_with(concat!("meridian ", env!("CARGO_PKG_VERSION"), "\n")), "{version}");
    assert_eq!(version.contains("planted bugs: yes (a test build)"), PLANTED_BUGS);
}
