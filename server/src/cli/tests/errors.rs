//! When a command fails, and when the next node is asked.

use super::*;

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
    assert_eq!(words("not_applied"), "POST /v1/kv/b/k: wrong_type: do that");
    let unknown = words("unknown");
    assert!(unknown.contains("wrong_type: do that; it is not known whether it was applied"), "{unknown}");
}

#[test]
fn what_no_meridian_would_answer_is_an_error_too() {
    let failed = |answer: Vec<u8>, words: &[&str]| exchange(answer, words).1.unwrap_err().to_string();
    let gateway = failed(response("502 Bad Gateway", &[], "\x1boops\n"), &["get", "b/k"]);
    assert!(gateway.contains("HTTP 502: \\u{1b}oops") && !gateway.contains('\x1b'), "{gateway}");
    let moved = response("302 Found", &[("location", "http://127.0.0.1:1/")], "");
    assert_eq!(failed(moved, &["get", "b/k"]), "GET /v1/kv/b/k: HTTP 302: ");
    assert!(failed(response("200 OK", &[], "<html>"), &["inc", "b/k"]).contains("not a number"));
    assert!(failed(response("200 OK", &[], "{}"), &["add", "b/k", "m"]).contains("not what was added"));
    assert!(failed(response("200 OK", &[], "1"), &["enable", "b/k"]).contains("not true or false"));
    assert!(failed(response("200 OK", &[], "[]"), &["ls", "b"]).contains("is this a Meridian node?"));
    assert!(failed(response("200 OK", &[], "{\"keys\":[1]}"), &["ls", "b"]).contains("the right endpoint?"));
    for verb in ["status", "convergence"] {
        assert!(
            failed(response("200 OK", &[], "<html>"), &["cluster", verb]).contains("the right endpoint?")
        );
    }
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
fn a_write_that_may_have_been_applied_is_not_sent_again_where_that_would_count() {
    for words in [
        &["inc", "b/k"][..],
        &["inc", "b/k", "--path", "/n"],
        &["put", "b/k", "v", "--type", "multi"],
        &["put", "b/k", "v", "--type", "multi", "--overwrite"],
        &["put", "b/k", "v", "--overwrite"],
        &["put", "b/k", "v", "--context", "tok"],
        &["put", "b/k", "v", "--path", "/n", "--type", "multi"],
        &["put", "b/k", "v", "--path", "/n", "--context", "tok"],
    ] {
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
fn a_write_that_is_the_same_when_it_is_done_twice_is_sent_again() {
    let changed = || response("200 OK", &[], "{\"added\":0,\"removed\":1}");
    for (words, answer) in [
        (&["put", "b/k", "v"][..], done()),
        (&["put", "b/k", "v", "--path", "/n"], response("200 OK", &[], "{\"changed\":1}")),
        (&["del", "b/k"], done()),
        (&["add", "b/k", "m"], changed()),
        (&["rem", "b/k", "m", "--context", "tok"], changed()),
        (&["clear", "b/k"], changed()),
        (&["enable", "b/k"], response("200 OK", &[], "true")),
        (&["observe", "b/k", "5"], response("200 OK", &[], "5")),
        (&["reset", "b/k"], response("200 OK", &[], "0")),
    ] {
        let (dies, lives) = (Node::answers(""), Node::answers(answer));
        run_at(&format!("{},{}", dies.endpoint, lives.endpoint), words).expect("the second does it");
        assert_eq!(dies.was_asked().line, lives.was_asked().line, "{words:?}");
    }
}

#[test]
fn a_person_is_told_soon_that_nobody_listens() {
    let began = std::time::Instant::now();
    let error = run_at(&nobody(), &["get", "b/k"]).unwrap_err().to_string();
    assert!(began.elapsed().as_secs() < 5 && error.contains("no node could be reached"), "{error}");
    assert!(error.contains(", 3 times)"), "what happened again is told once: {error}");
}

#[test]
fn a_node_that_hangs_is_given_up_after_the_time_that_was_said() {
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let began = std::time::Instant::now();
    let error = run_at(&url(&hangs), &["get", "b/k", "--timeout", "0.3"]).unwrap_err();
    assert!((0.3..5.0).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
    assert!(error.to_string().contains("does not answer in time") && error.exit_code() == 1, "{error}");
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

/// An output that nobody reads any more, or that is full.
struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn that_nobody_reads_on_is_no_failure_and_that_nothing_can_be_written_is_one() {
    use io::ErrorKind::{BrokenPipe, StorageFull};
    for (broken, ends_well) in [(BrokenPipe, true), (StorageFull, false)] {
        let node = Node::answers(done());
        let matches = matches(&["put", "b/k", "v"].map(OsStr::new)).expect("the words are well formed");
        let (name, matches) = matches.subcommand().unwrap();
        let around = Surroundings {
            endpoints: Some(node.endpoint.clone().into()),
            input: &mut io::empty(),
            output: &mut Broken(broken),
            terminal: None,
        };
        let ended = run(name, matches, around);
        assert_eq!(ended.is_ok(), ends_well, "{ended:?}");
        node.was_asked();
    }
}
