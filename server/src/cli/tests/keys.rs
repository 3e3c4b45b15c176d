//! Commands on a key: what is sent, and what is shown of the answer.

use super::*;
use std::os::unix::ffi::OsStrExt;

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
    for terminal in [PERSON, None] {
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
    let ended = run_words(&words, &node.endpoint, b"", None).unwrap();
    assert_eq!(node.was_asked().line, "DELETE /v1/kv/b?key64=_w&type=set HTTP/1.1");
    assert_eq!(ended, "{\"bucket\":\"b\",\"key64\":\"_w\",\"ok\":true,\"context\":\"ctx\"}\n");
}
