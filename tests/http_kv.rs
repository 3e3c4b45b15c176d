//! `/v1/kv` over real sockets, as `docs/http-api.md` has it: what is read after what was written, and every refusal.

use meridian_tests::http::{Answer, Client};
use meridian_tests::process::{NodeProcess, Scratch};

/// A node with a connection to it.
struct Bench {
    client: Client,
    _node: NodeProcess,
    _scratch: Scratch,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let scratch = Scratch::new(name);
        let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
        let client = node.client().expect("it listens");
        Bench { client, _node: node, _scratch: scratch }
    }

    fn with(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let answer = self.client.request(method, target, headers, body.as_bytes());
        let answer = answer.unwrap_or_else(|error| panic!("{method} {target}: {error:#}"));
        if answer.status >= 400 && method != "HEAD" {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {target}");
            for field in ["type", "title", "status", "detail", "code", "outcome", "retryable"] {
                assert_ne!(answer.field(field), "", "{field} of {}", answer.text());
            }
            assert_eq!(answer.field("status"), answer.status.to_string());
        }
        if target.starts_with("/v1/kv/") {
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.header("content-security-policy"), Some("sandbox; default-src 'none'"));
            assert_eq!(answer.header("meridian-served-by"), Some("n1;local"));
        }
        answer
    }

    fn get(&mut self, target: &str) -> Answer {
        self.with("GET", target, &[], "")
    }

    fn put(&mut self, target: &str, body: &str) -> Answer {
        self.with("PUT", target, &[], body)
    }

    fn post(&mut self, target: &str, body: &str) -> Answer {
        self.with("POST", target, &[], body)
    }

    /// The code of the refusal that this must meet.
    fn refused(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let answer = self.with(method, target, headers, body);
        assert_eq!(answer.field("outcome"), "not_applied", "{}", answer.text());
        (answer.status, answer.field("code"))
    }

    fn reads(&mut self, target: &str, text: &str) {
        let answer = self.get(target);
        assert_eq!((answer.status, answer.text().as_str()), (200, text), "{target}");
    }
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_string())
}

fn context_of(answer: &Answer) -> String {
    answer.header("meridian-context").expect("it tells what was seen").to_string()
}

#[test]
fn a_register_is_what_was_put() {
    let mut bench = Bench::new("register");
    let key = "/v1/kv/users/42";
    assert_eq!(bench.refused("GET", key, &[], ""), code(404, "key_not_found"));
    assert_eq!(bench.with("PUT", key, &[("content-type", "application/json")], r#"{"a": 1.50}"#).status, 204);
    let answer = bench.get(key);
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"a": 1.50}"#));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("meridian-type"), Some("register"));
    assert_eq!(answer.header("meridian-consistency"), Some("local"));
    let head = bench.with("HEAD", key, &[], "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("11")));
    assert!(head.body.is_empty());
    assert_eq!(bench.with("DELETE", key, &[], "").status, 204);
    assert_eq!(bench.with("DELETE", key, &[], "").status, 204, "also where nothing is");
    assert_eq!(bench.get(key).status, 404);
    assert_eq!(bench.with("HEAD", key, &[], "").status, 404);
    assert_eq!(bench.put(key, "").status, 204);
    bench.reads(key, "");
}

#[test]
fn a_body_without_a_type_is_text_or_bytes() {
    let mut bench = Bench::new("types");
    let curls = [("content-type", "application/x-www-form-urlencoded")];
    bench.with("PUT", "/v1/kv/b/text", &curls, "grün");
    assert_eq!(bench.get("/v1/kv/b/text").header("content-type"), Some("text/plain; charset=utf-8"));
    bench.with("PUT", "/v1/kv/b/none", &[], "x");
    assert_eq!(bench.get("/v1/kv/b/none").header("content-type"), Some("text/plain; charset=utf-8"));
    let bytes = [0xff, 0, 0xfe];
    let put = bench.client.request("PUT", "/v1/kv/b/bytes", &[], &bytes).expect("it answers");
    assert_eq!(put.status, 204);
    let answer = bench.get("/v1/kv/b/bytes");
    assert_eq!(answer.body, bytes);
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    let gzip = bench.refused("PUT", "/v1/kv/b/z", &[("content-encoding", "gzip")], "x");
    assert_eq!(gzip, code(415, "encoding_unsupported"));
}

#[test]
fn a_counter_counts_exactly() {
    let mut bench = Bench::new("counter");
    let key = "/v1/kv/stats/home";
    assert_eq!(bench.post(key, r#"{"op":"reset"}"#).text(), "0", "it takes away nothing");
    assert_eq!(bench.get(key).status, 404, "and creates nothing");
    let answer = bench.post(key, r#"{"op":"increment","by":5}"#);
    assert_eq!((answer.status, answer.text().as_str()), (200, "5"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("meridian-type"), Some("counter"));
    assert_eq!(bench.post(key, r#"{"op":"increment"}"#).text(), "6");
    assert_eq!(bench.post(key, r#"{"op":"increment","by":-10}"#).text(), "-4");
    let both = r#"{"ops":[{"op":"reset"},{"op":"increment","by":3},{"op":"increment","by":4}]}"#;
    assert_eq!(bench.post(key, both).text(), "7");
    for prefers in ["return=minimal", r#"respond-async, return = "minimal""#] {
        assert_eq!(bench.with("POST", key, &[("prefer", prefers)], r#"{"op":"increment"}"#).status, 204);
    }
    for no_wish in [r#"return="minimal"#, r#"foo="x, return=minimal""#] {
        assert_eq!(
            bench.with("POST", key, &[("prefer", no_wish)], r#"{"op":"increment","by":0}"#).status,
            200
        );
    }
    bench.reads(key, "9");
    for by in ["1.5", "9223372036854775808", "9223372036854775807"] {
        let body = format!(r#"{{"op":"increment","by":{by}}}"#);
        assert_eq!(bench.refused("POST", key, &[], &body), code(422, "not_an_integer"), "{by}");
    }
    assert_eq!(bench.post(key, r#"{"op":"reset"}"#).text(), "0");
    bench.reads(key, "0");
}

#[test]
fn a_set_holds_what_was_added_and_not_removed() {
    let mut bench = Bench::new("set");
    let key = "/v1/kv/users/42/tags";
    for op in [r#"{"op":"remove","members":["x"]}"#, r#"{"op":"clear"}"#] {
        assert_eq!(bench.post(key, op).text(), r#"{"added":0,"removed":0}"#);
        assert_eq!(bench.get(key).status, 404, "what only takes away creates nothing");
    }
    let added = bench.post(key, r#"{"op":"add","members":["opera","jazz","opera"]}"#);
    assert_eq!(added.text(), r#"{"added":2,"removed":0}"#);
    assert_eq!(bench.post(key, r#"{"op":"add","members":["jazz"]}"#).text(), r#"{"added":0,"removed":0}"#);
    bench.reads(key, r#"["jazz","opera"]"#);
    let mixed = r#"{"ops":[{"op":"remove","members":["jazz"]},{"op":"add","members":["a\"b","ü"]}]}"#;
    let answer = bench.with("POST", key, &[("prefer", "return=representation")], mixed);
    assert_eq!(answer.text(), r#"["a\"b","opera","ü"]"#);
    assert_eq!(answer.header("preference-applied"), Some("return=representation"));
    assert_eq!(bench.post(key, r#"{"op":"clear"}"#).text(), r#"{"added":0,"removed":3}"#);
    bench.reads(key, "[]");
    assert_eq!(bench.with("DELETE", key, &[], "").status, 204);
    assert_eq!(bench.get(key).status, 404);
}

#[test]
fn an_operation_that_the_type_does_not_know_changes_nothing() {
    let mut bench = Bench::new("misfit");
    bench.put("/v1/kv/b/register", "v");
    bench.post("/v1/kv/b/counter", r#"{"op":"increment"}"#);
    bench.post("/v1/kv/b/set", r#"{"op":"add","members":["m"]}"#);
    let (increment, add) = (r#"{"op":"increment"}"#, r#"{"op":"add","members":["n"]}"#);
    for (method, target, body) in [
        ("PUT", "/v1/kv/b/counter", "v"),
        ("PUT", "/v1/kv/b/set", "v"),
        ("PUT", "/v1/kv/b/new?type=set", "v"),
        ("POST", "/v1/kv/b/register", increment),
        ("POST", "/v1/kv/b/register", add),
        ("POST", "/v1/kv/b/counter", add),
        ("POST", "/v1/kv/b/set", increment),
        ("POST", "/v1/kv/b/new?type=set", increment),
        ("POST", "/v1/kv/b/counter", r#"{"op":"set","value":1}"#),
    ] {
        assert_eq!(
            bench.refused(method, target, &[], body),
            code(422, "wrong_type"),
            "{method} {target} {body}"
        );
    }
    bench.reads("/v1/kv/b/register", "v");
    bench.reads("/v1/kv/b/counter", "1");
    bench.reads("/v1/kv/b/set?type=set", r#"["m"]"#);
    assert_eq!(bench.get("/v1/kv/b/new").status, 404);
    let answer = bench.post("/v1/kv/b/register", r#"{"op":"set","value":{"n": 1.0}}"#);
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"n": 1.0}"#));
    assert_eq!(bench.get("/v1/kv/b/register").header("content-type"), Some("application/json"));
}

#[test]
fn keys_are_the_rest_of_the_path_decoded_once() {
    let mut bench = Bench::new("keys");
    let longest = "k".repeat(4096);
    for (written, read) in [
        ("/v1/kv/b/a/b//c/", "/v1/kv/b/a%2Fb%2f%2Fc/"),
        ("/v1/kv/b/%2520", "/v1/kv/b?key64=JTIw"),
        ("/v1/kv/b/gr%C3%BCn", "/v1/kv/b?key64=Z3LDvG4"),
        ("/v1/kv/b?key64=_wA", "/v1/kv/b?key64=_wA="),
        ("/v1/kv/b/../x", "/v1/kv/b?key64=Li4veA"),
        (&format!("/v1/kv/b/{longest}"), &format!("/v1/kv/b/{longest}")),
    ] {
        assert_eq!(bench.put(written, written).status, 204, "{written}");
        bench.reads(read, written);
    }
    for (target, expected) in [
        ("/v1/kv/b/", code(400, "key_empty")),
        ("/v1/kv/b?key64=", code(400, "key_empty")),
        ("/v1/kv/b/%ff", code(400, "key_invalid")),
        ("/v1/kv/b/%g0", code(400, "key_invalid")),
        ("/v1/kv/b?key64=%21", code(400, "key_invalid")),
        ("/v1/kv/B/k", code(400, "bucket_invalid")),
        ("/v1/kv/.b/k", code(400, "bucket_invalid")),
        ("/v1/kv/_b/k", code(400, "bucket_invalid")),
        ("/v1/kv//k", code(400, "bucket_invalid")),
        (&format!("/v1/kv/{}/k", "b".repeat(129)), code(400, "bucket_invalid")),
        (&format!("/v1/kv/b/{}", "k".repeat(5000)), code(414, "key_too_long")),
        ("/v1/kv/b/k?key64=aw", code(400, "invalid_parameter")),
    ] {
        assert_eq!(bench.refused("PUT", target, &[], "v"), expected, "{target:.40}");
    }
    assert_eq!(bench.put(&format!("/v1/kv/{}/k", "b".repeat(128)), "v").status, 204);
}

#[test]
fn nothing_is_ignored_quietly() {
    let mut bench = Bench::new("unknown");
    let key = "/v1/kv/b/k";
    bench.put(key, "v");
    for (target, expected) in [
        ("/v1/kv/b/k?typ=set", code(400, "unknown_parameter")),
        ("/v1/kv/b/k?type=nothing", code(400, "invalid_parameter")),
        ("/v1/kv/b/k?type=set&type=set", code(400, "invalid_parameter")),
        ("/v1/kv/b/k?type=list", code(400, "not_available")),
        ("/v1/kv/b/k?consistency=quorum", code(400, "not_available")),
        ("/v1/kv/b/k?consistency=most", code(400, "invalid_parameter")),
        ("/v1/kv/b/k?timeout=1s", code(400, "not_available")),
        ("/v1/kv/b/k?max_staleness=1s", code(400, "not_available")),
        ("/v1/kv/b/k?prefix=a", code(400, "unknown_parameter")),
        ("/v1/kv/b?key64=aw&values=true", code(400, "unknown_parameter")),
        ("/v1/cluster/plan", code(400, "not_available")),
        ("/v1/watch/b", code(400, "not_available")),
        ("/v1/nothing", code(404, "path_not_found")),
        ("/healthz?x=1", code(400, "unknown_parameter")),
    ] {
        assert_eq!(bench.refused("GET", target, &[], ""), expected, "{target}");
    }
    for (header, value, expected) in [
        ("meridian-foo", "1", code(400, "unknown_parameter")),
        ("meridian-type", "set", code(400, "unknown_parameter")),
        ("meridian-session", "x", code(400, "not_available")),
        ("idempotency-key", "x", code(400, "not_available")),
        ("authorization", "Bearer x", code(400, "not_available")),
        ("if-match", "\"x\"", code(400, "condition_needs_strong")),
        ("if-none-match", "*", code(400, "condition_needs_strong")),
        ("meridian-context", "x", code(400, "bad_token")),
    ] {
        assert_eq!(bench.refused("PUT", key, &[(header, value)], "w"), expected, "{header}");
    }
    for (body, expected) in [
        (r#"{"op":"explode"}"#, code(400, "unknown_operation")),
        (r#"{"op":"transfer","to":"n2","amount":1}"#, code(400, "not_available")),
        (r#"{"op":"expire","ttl":"30m"}"#, code(400, "not_available")),
        (r#"{"op":"increment","path":["a"]}"#, code(422, "wrong_type")),
        (r#"{"op":"increment","by":1,"bye":2}"#, code(400, "body_invalid")),
        ("nonsense", code(400, "body_invalid")),
        ("", code(400, "body_invalid")),
    ] {
        assert_eq!(bench.refused("POST", key, &[], body), expected, "{body}");
    }
    assert_eq!(bench.get("/v1/kv/b/k?consistency=local").text(), "v", "nothing of this did anything");
    assert_eq!(bench.refused("PATCH", key, &[], "{}"), code(400, "not_available"));
    for target in ["/v1/cluster", "/v1/cluster/convergence", "/healthz", "/readyz", "/metrics"] {
        for (name, expected) in [
            ("meridian-nothing", "unknown_parameter"),
            ("meridian-context", "unknown_parameter"),
            ("meridian-session", "not_available"),
        ] {
            let refused = bench.refused("GET", target, &[(name, "x")], "");
            assert_eq!(refused, code(400, expected), "{target}, {name}");
        }
    }
    for (method, target, allow) in [
        ("OPTIONS", key, "GET, HEAD, PUT, POST, DELETE"),
        ("POST", "/metrics", "GET, HEAD"),
        ("PUT", "/healthz", "GET, HEAD"),
    ] {
        let answer = bench.with(method, target, &[], "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {target}");
    }
}

#[test]
fn a_context_limits_what_is_taken_away() {
    let mut bench = Bench::new("context");
    let key = "/v1/kv/b/set";
    bench.post(key, r#"{"op":"add","members":["seen"]}"#);
    let seen = context_of(&bench.get(key));
    bench.post(key, r#"{"op":"add","members":["later"]}"#);
    bench.with("POST", key, &[("meridian-context", &seen)], r#"{"op":"remove","members":["later"]}"#);
    bench.reads(key, r#"["later","seen"]"#);
    bench.with("POST", key, &[("meridian-context", &seen)], r#"{"op":"clear"}"#);
    bench.reads(key, r#"["later"]"#);
    bench.with("DELETE", key, &[("meridian-context", &seen)], "");
    bench.post(key, r#"{"op":"add","members":["seen"]}"#);
    bench.reads(key, r#"["later","seen"]"#);

    let counter = "/v1/kv/b/counter";
    let seen = context_of(&bench.post(counter, r#"{"op":"increment","by":5}"#));
    bench.post(counter, r#"{"op":"increment","by":2}"#);
    assert_eq!(bench.with("POST", counter, &[("meridian-context", &seen)], r#"{"op":"reset"}"#).text(), "2");

    let register = "/v1/kv/b/register";
    let nothing = context_of(&bench.get(register));
    bench.put(register, "unseen");
    bench.with("DELETE", register, &[("meridian-context", &nothing)], "");
    bench.reads(register, "unseen");
    let seen = context_of(&bench.get(register));
    bench.with("DELETE", register, &[("meridian-context", &seen)], "");
    assert_eq!(bench.get(register).status, 404);
}

#[test]
fn a_forged_context_does_nothing() {
    let mut bench = Bench::new("forged");
    bench.post("/v1/kv/b/a", r#"{"op":"add","members":["m"]}"#);
    bench.post("/v1/kv/b/other", r#"{"op":"add","members":["m"]}"#);
    let good = context_of(&bench.get("/v1/kv/b/a"));
    let of_another_key = context_of(&bench.get("/v1/kv/b/other"));
    let mut flipped = good.clone().into_bytes();
    flipped[5] = if flipped[5] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).expect("ASCII");
    for token in
        ["", "x", "AAAA", &good[1..], &good[..good.len() - 1], &flipped, &of_another_key, &"A".repeat(9000)]
    {
        for (method, body) in [("DELETE", ""), ("POST", r#"{"op":"clear"}"#)] {
            let refused = bench.refused(method, "/v1/kv/b/a", &[("meridian-context", token)], body);
            assert_eq!(refused, code(400, "bad_token"), "{token:.60}");
        }
    }
    bench.reads("/v1/kv/b/a", r#"["m"]"#);
}
