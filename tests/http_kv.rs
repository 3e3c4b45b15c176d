//! `/v1/kv` over real sockets, as `docs/http-api.md` has it: what is read after what was written, and every refusal.

use meridian_tests::bench::{Bench, spoiled};

#[test]
fn a_register_is_what_was_put() {
    let bench = Bench::new("register");
    let key = "/v1/kv/users/42";
    bench.refused("GET", key, "", (404, "key_not_found"));
    bench.put(key, "application/json", r#"{"a": 1.50}"#);
    let answer = bench.reads(key, "register", r#"{"a": 1.50}"#);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let head = bench.with("HEAD", key, &[], "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("11")));
    assert!(head.body.is_empty());
    bench.done("DELETE", key, "");
    assert_eq!(bench.with("DELETE", key, &[], "").status, 204, "also where nothing is");
    assert_eq!(bench.get(key).status, 404);
    assert_eq!(bench.with("HEAD", key, &[], "").status, 404);
    bench.done("PUT", key, "");
    bench.reads(key, "register", "");
}

#[test]
fn a_body_without_a_type_is_text_or_bytes() {
    let bench = Bench::new("types");
    let curls = [("content-type", "application/x-www-form-urlencoded")];
    bench.with("PUT", "/v1/kv/b/text", &curls, "grün");
    assert_eq!(bench.get("/v1/kv/b/text").header("content-type"), Some("text/plain; charset=utf-8"));
    bench.with("PUT", "/v1/kv/b/none", &[], "x");
    assert_eq!(bench.get("/v1/kv/b/none").header("content-type"), Some("text/plain; charset=utf-8"));
    let bytes = [0xff, 0, 0xfe];
    assert_eq!(bench.with("PUT", "/v1/kv/b/bytes", &[], bytes).status, 204);
    let answer = bench.get("/v1/kv/b/bytes");
    assert_eq!(answer.body, bytes);
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    let gzip = [("content-encoding", "gzip")];
    bench.refused_with("PUT", "/v1/kv/b/z", &gzip, "x", (415, "encoding_unsupported"));
}

#[test]
fn a_counter_counts_exactly() {
    let bench = Bench::new("counter");
    let key = "/v1/kv/stats/home";
    bench.post(key, r#"{"op":"reset"}"#, "0");
    assert_eq!(bench.get(key).status, 404, "what only takes away creates nothing");
    let answer = bench.post(key, r#"{"op":"increment","by":5}"#, "5");
    assert_eq!(answer.header("meridian-type"), Some("counter"));
    bench.post(key, r#"{"op":"increment"}"#, "6");
    bench.post(key, r#"{"op":"increment","by":-10}"#, "-4");
    let both = r#"{"ops":[{"op":"reset"},{"op":"increment","by":3},{"op":"increment","by":4}]}"#;
    bench.post(key, both, "7");
    for prefers in ["return=minimal", r#"respond-async, return = "minimal""#] {
        assert_eq!(bench.with("POST", key, &[("prefer", prefers)], r#"{"op":"increment"}"#).status, 204);
    }
    for no_wish in [r#"return="minimal"#, r#"foo="x, return=minimal""#] {
        assert_eq!(
            bench.with("POST", key, &[("prefer", no_wish)], r#"{"op":"increment","by":0}"#).status,
            200
        );
    }
    bench.reads(key, "counter", "9");
    for by in ["1.5", "9223372036854775808", "9223372036854775807"] {
        let body = format!(r#"{{"op":"increment","by":{by}}}"#);
        bench.refused("POST", key, &body, (422, "not_an_integer"));
    }
    bench.post(key, r#"{"op":"reset"}"#, "0");
    bench.reads(key, "counter", "0");
}

#[test]
fn a_set_holds_what_was_added_and_not_removed() {
    let bench = Bench::new("set");
    let key = "/v1/kv/users/42/tags";
    for op in [r#"{"op":"remove","members":["x"]}"#, r#"{"op":"clear"}"#] {
        bench.post(key, op, r#"{"added":0,"removed":0}"#);
        assert_eq!(bench.get(key).status, 404, "what only takes away creates nothing");
    }
    bench.post(key, r#"{"op":"add","members":["opera","jazz","opera"]}"#, r#"{"added":2,"removed":0}"#);
    bench.post(key, r#"{"op":"add","members":["jazz"]}"#, r#"{"added":0,"removed":0}"#);
    bench.reads(key, "set", r#"["jazz","opera"]"#);
    let mixed = r#"{"ops":[{"op":"remove","members":["jazz"]},{"op":"add","members":["a\"b","ü"]}]}"#;
    let answer = bench.with("POST", key, &[("prefer", "return=representation")], mixed);
    assert_eq!(answer.text(), r#"["a\"b","opera","ü"]"#);
    assert_eq!(answer.header("preference-applied"), Some("return=representation"));
    bench.post(key, r#"{"op":"clear"}"#, r#"{"added":0,"removed":3}"#);
    bench.reads(key, "set", "[]");
    bench.done("DELETE", key, "");
    assert_eq!(bench.get(key).status, 404);
}

#[test]
fn an_operation_that_the_type_does_not_know_changes_nothing() {
    let bench = Bench::new("misfit");
    bench.done("PUT", "/v1/kv/b/register", "v");
    bench.done("POST", "/v1/kv/b/counter", r#"{"op":"increment"}"#);
    bench.done("POST", "/v1/kv/b/set", r#"{"op":"add","members":["m"]}"#);
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
        bench.refused(method, target, body, (422, "wrong_type"));
    }
    bench.reads("/v1/kv/b/register", "register", "v");
    bench.reads("/v1/kv/b/counter", "counter", "1");
    bench.reads("/v1/kv/b/set?type=set", "set", r#"["m"]"#);
    assert_eq!(bench.get("/v1/kv/b/new").status, 404);
    bench.post("/v1/kv/b/register", r#"{"op":"set","value":{"n": 1.0}}"#, r#"{"n": 1.0}"#);
    assert_eq!(bench.get("/v1/kv/b/register").header("content-type"), Some("application/json"));
}

#[test]
fn keys_are_the_rest_of_the_path_decoded_once() {
    let bench = Bench::new("keys");
    let longest = "k".repeat(4096);
    for (written, read) in [
        ("/v1/kv/b/a/b//c/", "/v1/kv/b/a%2Fb%2f%2Fc/"),
        ("/v1/kv/b/%2520", "/v1/kv/b?key64=JTIw"),
        ("/v1/kv/b/gr%C3%BCn", "/v1/kv/b?key64=Z3LDvG4"),
        ("/v1/kv/b?key64=_wA", "/v1/kv/b?key64=_wA="),
        ("/v1/kv/b/../x", "/v1/kv/b?key64=Li4veA"),
        (&format!("/v1/kv/b/{longest}"), &format!("/v1/kv/b/{longest}")),
    ] {
        bench.done("PUT", written, written);
        bench.reads(read, "register", written);
    }
    for (target, expected) in [
        ("/v1/kv/b/", (400, "key_empty")),
        ("/v1/kv/b?key64=", (400, "key_empty")),
        ("/v1/kv/b/%ff", (400, "key_invalid")),
        ("/v1/kv/b/%g0", (400, "key_invalid")),
        ("/v1/kv/b?key64=%21", (400, "key_invalid")),
        ("/v1/kv/B/k", (400, "bucket_invalid")),
        ("/v1/kv/.b/k", (400, "bucket_invalid")),
        ("/v1/kv/_b/k", (400, "bucket_invalid")),
        ("/v1/kv//k", (400, "bucket_invalid")),
        (&format!("/v1/kv/{}/k", "b".repeat(129)), (400, "bucket_invalid")),
        (&format!("/v1/kv/b/{}", "k".repeat(5000)), (414, "key_too_long")),
        ("/v1/kv/b/k?key64=aw", (400, "invalid_parameter")),
    ] {
        bench.refused("PUT", target, "v", expected);
    }
    bench.done("PUT", &format!("/v1/kv/{}/k", "b".repeat(128)), "v");
}

#[test]
fn nothing_is_ignored_quietly() {
    let bench = Bench::new("unknown");
    let key = "/v1/kv/b/k";
    bench.done("PUT", key, "v");
    for (target, expected) in [
        ("/v1/kv/b/k?typ=set", (400, "unknown_parameter")),
        ("/v1/kv/b/k?type=nothing", (400, "invalid_parameter")),
        ("/v1/kv/b/k?type=set&type=set", (400, "invalid_parameter")),
        ("/v1/kv/b/k?type=list", (400, "not_available")),
        ("/v1/kv/b/k?consistency=quorum", (400, "not_available")),
        ("/v1/kv/b/k?consistency=most", (400, "invalid_parameter")),
        ("/v1/kv/b/k?timeout=1s", (400, "not_available")),
        ("/v1/kv/b/k?max_staleness=1s", (400, "not_available")),
        ("/v1/kv/b/k?prefix=a", (400, "unknown_parameter")),
        ("/v1/kv/b?key64=aw&values=true", (400, "unknown_parameter")),
        ("/v1/cluster/plan", (400, "not_available")),
        ("/v1/watch/b", (400, "not_available")),
        ("/v1/nothing", (404, "path_not_found")),
        ("/healthz?x=1", (400, "unknown_parameter")),
    ] {
        bench.refused("GET", target, "", expected);
    }
    for (header, value, expected) in [
        ("meridian-foo", "1", (400, "unknown_parameter")),
        ("meridian-type", "set", (400, "unknown_parameter")),
        ("meridian-session", "x", (400, "not_available")),
        ("idempotency-key", "x", (400, "not_available")),
        ("authorization", "Bearer x", (400, "not_available")),
        ("if-match", "\"x\"", (400, "condition_needs_strong")),
        ("if-none-match", "*", (400, "condition_needs_strong")),
        ("meridian-context", "x", (400, "bad_token")),
    ] {
        bench.refused_with("PUT", key, &[(header, value)], "w", expected);
    }
    for (body, expected) in [
        (r#"{"op":"explode"}"#, (400, "unknown_operation")),
        (r#"{"op":"transfer","to":"n2","amount":1}"#, (400, "not_available")),
        (r#"{"op":"expire","ttl":"30m"}"#, (400, "not_available")),
        (r#"{"op":"increment","path":["a"]}"#, (422, "wrong_type")),
        (r#"{"op":"increment","by":1,"bye":2}"#, (400, "body_invalid")),
        ("nonsense", (400, "body_invalid")),
        ("", (400, "body_invalid")),
    ] {
        bench.refused("POST", key, body, expected);
    }
    assert_eq!(bench.get("/v1/kv/b/k?consistency=local").text(), "v", "nothing of this did anything");
    bench.refused("PATCH", key, "{}", (400, "not_available"));
    for target in ["/v1/cluster", "/v1/cluster/convergence", "/healthz", "/readyz", "/metrics"] {
        for (name, expected) in [
            ("meridian-nothing", "unknown_parameter"),
            ("meridian-context", "unknown_parameter"),
            ("meridian-session", "not_available"),
        ] {
            bench.refused_with("GET", target, &[(name, "x")], "", (400, expected));
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
    let bench = Bench::new("context");
    let key = "/v1/kv/b/set";
    bench.done("POST", key, r#"{"op":"add","members":["seen"]}"#);
    let seen = bench.get(key).context();
    bench.done("POST", key, r#"{"op":"add","members":["later"]}"#);
    bench.with("POST", key, &[("meridian-context", &seen)], r#"{"op":"remove","members":["later"]}"#);
    bench.reads(key, "set", r#"["later","seen"]"#);
    bench.with("POST", key, &[("meridian-context", &seen)], r#"{"op":"clear"}"#);
    bench.reads(key, "set", r#"["later"]"#);
    bench.with("DELETE", key, &[("meridian-context", &seen)], "");
    bench.done("POST", key, r#"{"op":"add","members":["seen"]}"#);
    bench.reads(key, "set", r#"["later","seen"]"#);

    let counter = "/v1/kv/b/counter";
    let seen = bench.done("POST", counter, r#"{"op":"increment","by":5}"#).context();
    bench.done("POST", counter, r#"{"op":"increment","by":2}"#);
    assert_eq!(bench.with("POST", counter, &[("meridian-context", &seen)], r#"{"op":"reset"}"#).text(), "2");

    let register = "/v1/kv/b/register";
    let nothing = bench.get(register).context();
    bench.done("PUT", register, "unseen");
    bench.with("DELETE", register, &[("meridian-context", &nothing)], "");
    bench.reads(register, "register", "unseen");
    let seen = bench.get(register).context();
    bench.with("DELETE", register, &[("meridian-context", &seen)], "");
    assert_eq!(bench.get(register).status, 404);
}

#[test]
fn a_forged_context_does_nothing() {
    let bench = Bench::new("forged");
    bench.done("POST", "/v1/kv/b/a", r#"{"op":"add","members":["m"]}"#);
    bench.done("POST", "/v1/kv/b/other", r#"{"op":"add","members":["m"]}"#);
    let good = bench.get("/v1/kv/b/a").context();
    let of_another_key = bench.get("/v1/kv/b/other").context();
    let tokens = spoiled(&good).into_iter().chain([of_another_key, "A".repeat(9000)]);
    for token in tokens {
        let headers = [("meridian-context", &token[..])];
        for (method, body) in [("DELETE", ""), ("POST", r#"{"op":"clear"}"#)] {
            bench.refused_with(method, "/v1/kv/b/a", &headers, body, (400, "bad_token"));
        }
    }
    bench.reads("/v1/kv/b/a", "set", r#"["m"]"#);
}
