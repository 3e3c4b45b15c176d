//! Listings, policies and the cluster: what is sent, and what is shown of the answer.

use super::*;

fn page(json: &str) -> Vec<u8> {
    response("200 OK", &[("content-type", "application/json")], json)
}

const PAGE: &str = r#"{"keys":[
    {"key":"a/1","type":"register","value":{"n":
 12345678901234567890123.0},"content_type":"application/json","bytes":27},
    {"key64":"_w","type":"set","page_required":true},
    {"key":"m\u001b","type":"conflict","types":["counter","set"]}],
    "prefixes":["b/"],"prefixes64":["_i8"]}"#;

#[test]
fn a_program_reads_a_line_for_each_entry_as_the_node_gave_it() {
    let (asked, ended) = exchange(page(PAGE), &["ls", "users"]);
    assert_eq!(asked.line, "GET /v1/kv/users?limit=1000 HTTP/1.1");
    let expected = [
        r#"{"key":"a/1","type":"register","value":{"n":  12345678901234567890123.0},"content_type":"application/json","bytes":27}"#,
        r#"{"prefix":"b/"}"#,
        r#"{"key":"m\u001b","type":"conflict","types":["counter","set"]}"#,
        r#"{"prefix64":"_i8"}"#,
        r#"{"key64":"_w","type":"set","page_required":true}"#,
    ];
    let ended = ended.unwrap();
    assert_eq!(ended.lines().collect::<Vec<_>>(), expected);
    let (_, reversed) = exchange(page(PAGE), &["ls", "users", "--reverse"]);
    assert_eq!(reversed.unwrap().lines().rev().collect::<Vec<_>>(), expected);
    let (_, limited) = exchange(page(PAGE), &["ls", "users", "--limit", "2"]);
    assert_eq!(limited.unwrap().lines().collect::<Vec<_>>(), expected[..2]);
}

#[test]
fn a_person_reads_a_table() {
    let shown = run_at_terminal(page(PAGE), &["ls", "users", "--values"]);
    let expected = [
        "KEY      TYPE                    BYTES  VALUE",
        "a/1      register                   27  {\"n\":  123456789012…",
        "b/",
        "m\\u{1b}  conflict: counter, set",
        "\\xfe/",
        "\\xff     set                            (too many members t…",
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected, "{shown}");
    let shown = run_at_terminal(page(PAGE), &["ls", "users"]);
    assert!(shown.starts_with("KEY ") && !shown.contains("VALUE"), "{shown}");
    assert_eq!(run_at_terminal(page(r#"{"keys":[]}"#), &["ls", "users"]), "no keys\n");
    let json = run_at_terminal(page(PAGE), &["ls", "users", "--json"]);
    assert_eq!(json.lines().count(), 5);
}

#[test]
fn a_listing_says_what_it_was_told() {
    let words = [
        "ls",
        "users",
        "--prefix",
        "42/",
        "--start",
        "-a",
        "--end",
        "b c",
        "--reverse",
        "--delimiter",
        "/",
        "--values",
        "--limit",
        "7",
    ];
    let (asked, ended) = exchange(page(r#"{"keys":[]}"#), &words);
    let query = "limit=7&prefix=42%2F&start=-a&end=b%20c&delimiter=%2F&reverse=true&values=true";
    assert_eq!(asked.line, format!("GET /v1/kv/users?{query} HTTP/1.1"));
    assert_eq!(ended.unwrap(), "", "a program is told of no keys by no lines");
}

#[test]
fn a_bucket_s_policy_is_shown_and_declared() {
    let (asked, ended) = exchange(done(), &["bucket", "declare", "users", "put=multi", "observe=min"]);
    assert_eq!(asked.line, "PUT /v1/buckets/users HTTP/1.1");
    assert_eq!(asked.body, r#"{"defaults":{"observe":"min","put":"multi"}}"#);
    assert_eq!(ended.unwrap(), "{\"bucket\":\"users\",\"ok\":true}\n");
    let policy = r#"{"bucket":"users","declared":true,"defaults":{"observe":"min","put":"multi"}}"#;
    let (asked, ended) = exchange(page(policy), &["bucket", "show", "users"]);
    assert_eq!(
        (asked.line.as_str(), ended.unwrap()),
        ("GET /v1/buckets/users HTTP/1.1", format!("{policy}\n"))
    );
    assert_eq!(run_at_terminal(page(policy), &["bucket", "show", "users"]), "observe=min\nput=multi\n");
    let nothing = r#"{"bucket":"users","declared":false,"defaults":{}}"#;
    assert_eq!(exchange(page(nothing), &["bucket", "show", "users"]).1.unwrap(), format!("{nothing}\n"));
    assert_eq!(run_at_terminal(page(nothing), &["bucket", "show", "users"]), "nothing is declared\n");
    let (asked, _) = exchange(done(), &["bucket", "forget", "users"]);
    assert_eq!(asked.line, "DELETE /v1/buckets/users HTTP/1.1");
}

#[test]
fn policies_are_listed() {
    let json = r#"{"buckets":[{"bucket":"a","defaults":{}},{"bucket":"users","defaults":{"observe":"min","put":"multi"}}]}"#;
    let (asked, ended) = exchange(page(json), &["bucket", "list"]);
    assert_eq!(asked.line, "GET /v1/buckets HTTP/1.1");
    let expected = [
        r#"{"bucket":"a","defaults":{}}"#,
        r#"{"bucket":"users","defaults":{"observe":"min","put":"multi"}}"#,
    ];
    assert_eq!(ended.unwrap().lines().collect::<Vec<_>>(), expected);
    let table = run_at_terminal(page(json), &["bucket", "list"]);
    assert_eq!(table, "BUCKET  DEFAULTS\na\nusers   observe=min put=multi\n");
    let none = run_at_terminal(page(r#"{"buckets":[]}"#), &["bucket", "list"]);
    assert_eq!(none, "no bucket has a policy\n");
}

#[test]
fn convergence_is_told_by_how_the_command_ends() {
    let json = |converged| format!(r#"{{"converged":{converged},"asked":3,"unreachable":[],"shards":[]}}"#);
    let (asked, ended) = exchange(page(&json(true)), &["cluster", "convergence"]);
    assert_eq!(asked.line, "GET /v1/cluster/convergence HTTP/1.1");
    assert_eq!(ended.unwrap(), json(true) + "\n");
    let error = exchange(page(&json(false)), &["cluster", "convergence"]).1.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.exit_code()), ("the replicas do not all agree", 1));
}
