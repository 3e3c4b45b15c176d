//! `/v1/buckets` over real sockets, as `docs/http-api.md` has it: one node, and three that are cut off from each other.

use meridian_tests::bench::Bench;
use meridian_tests::cluster::Cluster;
use meridian_tests::process::Scratch;
use serde_json::{Value, json};
use std::time::Duration;

/// How long anything may take: nothing is claimed of it here.
const PATIENCE: Duration = Duration::from_secs(20);

fn declare(bench: &Bench, bucket: &str, policy: &str) {
    let answer = bench.done("PUT", &format!("/v1/buckets/{bucket}"), policy);
    assert_eq!(answer.header("meridian-consistency"), Some("local"));
}

fn policy(bench: &Bench, target: &str) -> Value {
    let answer = bench.done("GET", &format!("/v1/buckets{target}"), "");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

fn type_of(bench: &Bench, key: &str) -> Option<String> {
    bench.done("GET", &format!("/v1/kv/{key}"), "").header("meridian-type").map(str::to_string)
}

#[test]
fn a_policy_is_read_as_it_was_declared_and_replaced_whole() {
    let bench = Bench::new("buckets-policy");
    let nothing = json!({"bucket": "b", "declared": false, "defaults": {}});
    assert_eq!(policy(&bench, "/b"), nothing);
    declare(&bench, "b", r#"{"defaults":{"put":"multi","observe":"min"}}"#);
    let text = bench.done("GET", "/v1/buckets/b", "").text();
    assert_eq!(text, r#"{"bucket":"b","declared":true,"defaults":{"observe":"min","put":"multi"}}"#);
    let head = bench.done("HEAD", "/v1/buckets/b", "");
    assert!(head.body.is_empty());
    assert_eq!(head.header("content-length"), Some(&text.len().to_string()[..]));
    declare(&bench, "b", r#"{"defaults":{"put":"register"}}"#);
    assert_eq!(
        policy(&bench, "/b"),
        json!({"bucket": "b", "declared": true, "defaults": {"put": "register"}})
    );
    for empty in ["{}", r#"{"defaults":{}}"#] {
        declare(&bench, "b", empty);
        assert_eq!(policy(&bench, "/b"), json!({"bucket": "b", "declared": true, "defaults": {}}));
    }
    for _ in 0..2 {
        bench.done("DELETE", "/v1/buckets/b", "");
        assert_eq!(policy(&bench, "/b"), nothing);
    }
    declare(&bench, "b", "{}");
    assert_eq!(policy(&bench, "/b")["declared"], true);
}

#[test]
fn a_policy_holds_for_keys_that_are_created_afterwards_and_takes_none_away() {
    let bench = Bench::new("buckets-defaults");
    bench.done("PUT", "/v1/kv/b/before", "a");
    declare(&bench, "b", r#"{"defaults":{"put":"multi","observe":"min","add":"set"}}"#);
    bench.done("PUT", "/v1/kv/b/before", "b");
    assert_eq!(type_of(&bench, "b/before").as_deref(), Some("register"));
    let put = bench.done("PUT", "/v1/kv/b/put", "a");
    assert_eq!(put.header("meridian-type"), Some("multi"));
    bench.refused("PUT", "/v1/kv/b/put", "b", (428, "context_required"));
    bench.done("POST", "/v1/kv/b/set", r#"{"op":"set","value":1}"#);
    assert_eq!(type_of(&bench, "b/set").as_deref(), Some("multi"), "set is a PUT");
    for (value, lowest) in [(5, "5"), (7, "5"), (-1, "-1")] {
        let body = json!({"op": "observe", "value": value}).to_string();
        bench.post("/v1/kv/b/seen", &body, lowest);
    }
    bench.done("PUT", "/v1/kv/b/named?type=register", "a");
    assert_eq!(type_of(&bench, "b/named").as_deref(), Some("register"));
    bench.done("PUT", "/v1/kv/other/put", "a");
    assert_eq!(type_of(&bench, "other/put").as_deref(), Some("register"), "another bucket");
    bench.done("DELETE", "/v1/buckets/b", "");
    assert_eq!(type_of(&bench, "b/put").as_deref(), Some("multi"));
    bench.done("PUT", "/v1/kv/b/after", "a");
    assert_eq!(type_of(&bench, "b/after").as_deref(), Some("register"));
    // Where no key was ever written, and where all are gone, a policy is there all the same.
    bench.done("DELETE", "/v1/kv/b/put", "");
    assert_eq!(policy(&bench, "/b")["declared"], false);
}

#[test]
fn declared_buckets_are_listed_in_order_and_in_pages() {
    let bench = Bench::new("buckets-list");
    assert_eq!(policy(&bench, ""), json!({"buckets": []}));
    bench.done("PUT", "/v1/kv/undeclared/k", "a");
    for number in [3, 1, 4, 0, 2] {
        declare(&bench, &format!("b{number}"), r#"{"defaults":{"put":"multi"}}"#);
    }
    declare(&bench, "b", "{}");
    declare(&bench, "gone", "{}");
    bench.done("DELETE", "/v1/buckets/gone", "");
    let mut all = vec![json!({"bucket": "b", "defaults": {}})];
    all.extend((0..5).map(|number| json!({"bucket": format!("b{number}"), "defaults": {"put": "multi"}})));
    assert_eq!(policy(&bench, ""), json!({"buckets": all}));
    let (mut found, mut target) = (Vec::new(), "?limit=4".to_string());
    for expected in [4, 2] {
        let page = policy(&bench, &target);
        let buckets = page["buckets"].as_array().expect("a list");
        assert_eq!(buckets.len(), expected);
        found.extend(buckets.clone());
        match page["next"].as_str() {
            Some(next) => target = format!("?limit=4&cursor={next}"),
            None => target.clear(),
        }
    }
    assert_eq!((found, &target[..]), (all, ""));
    assert!(bench.done("HEAD", "/v1/buckets", "").body.is_empty());
}

#[test]
fn what_is_no_policy_no_bucket_or_no_method_is_refused_and_changes_nothing() {
    let bench = Bench::new("buckets-strict");
    declare(&bench, "b", r#"{"defaults":{"put":"multi"}}"#);
    let long = format!("/v1/buckets/{}", "b".repeat(129));
    for (method, target, body, status, code) in [
        ("PUT", "/v1/buckets/b", "", 400, "body_invalid"),
        ("PUT", "/v1/buckets/b", "[]", 400, "body_invalid"),
        ("PUT", "/v1/buckets/b", r#"{"default":{}}"#, 400, "body_invalid"),
        ("PUT", "/v1/buckets/b", r#"{"defaults":{"explode":"set"}}"#, 400, "body_invalid"),
        ("PUT", "/v1/buckets/b", r#"{"defaults":{"put":"set"}}"#, 400, "body_invalid"),
        ("PUT", "/v1/buckets/b", r#"{"defaults":{"put":"mop"}}"#, 400, "body_invalid"),
        ("PUT", "/v1/buckets/b", r#"{"defaults":{"add":"set-rw"}}"#, 400, "not_available"),
        ("PUT", "/v1/buckets/b", r#"{"consistency":"strong"}"#, 400, "not_available"),
        ("PUT", "/v1/buckets/b?type=set", "{}", 400, "unknown_parameter"),
        ("GET", "/v1/buckets/b?limit=1", "", 400, "unknown_parameter"),
        ("GET", "/v1/buckets?prefix=b", "", 400, "unknown_parameter"),
        ("GET", "/v1/buckets?limit=0", "", 400, "invalid_parameter"),
        ("GET", "/v1/buckets?cursor=x", "", 400, "bad_token"),
        ("GET", "/v1/buckets/", "", 400, "bucket_invalid"),
        ("GET", "/v1/buckets/B", "", 400, "bucket_invalid"),
        ("PUT", "/v1/buckets/.b", "{}", 400, "bucket_invalid"),
        ("PUT", "/v1/buckets/_buckets", "{}", 400, "bucket_invalid"),
        ("DELETE", "/v1/buckets/_b", "", 400, "bucket_invalid"),
        ("GET", "/v1/buckets/b/k", "", 400, "bucket_invalid"),
        ("GET", &long, "", 400, "bucket_invalid"),
        ("GET", "/v1/kv/_buckets", "", 400, "bucket_invalid"),
        ("PUT", "/v1/kv/_buckets/b", "{}", 400, "bucket_invalid"),
        ("GET", "/v1/inspect/_buckets/b", "", 400, "bucket_invalid"),
    ] {
        bench.refused(method, target, body, (status, code));
    }
    let large = format!("{{{}}}", " ".repeat(70_000));
    bench.refused("PUT", "/v1/buckets/b", &large, (413, "request_too_large"));
    for (method, target, allow) in [
        ("POST", "/v1/buckets/b", "GET, HEAD, PUT, DELETE"),
        ("PATCH", "/v1/buckets/b", "GET, HEAD, PUT, DELETE"),
        ("PUT", "/v1/buckets", "GET, HEAD"),
        ("DELETE", "/v1/buckets", "GET, HEAD"),
    ] {
        let answer = bench.with(method, target, &[], "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {target}");
    }
    for (method, header, code) in
        [("PUT", "if-match", "condition_needs_strong"), ("GET", "meridian-context", "unknown_parameter")]
    {
        bench.refused_with(method, "/v1/buckets/b", &[(header, "x")], "{}", (400, code));
    }
    assert_eq!(policy(&bench, "/b")["defaults"], json!({"put": "multi"}));
}

// -- three nodes --------------------------------------------------------------------------------------------------------

#[test]
fn a_policy_holds_on_every_node_and_concurrent_declarations_merge() {
    let scratch = Scratch::new("buckets-cluster");
    let cluster = Cluster::start(scratch.path(), 3).expect("it starts");
    let declare = |index, policy: &str| {
        cluster.request(index, "PUT", "/v1/buckets/b", policy).expect("it is declared");
    };
    let policy = |index: usize| cluster.nodes[index].get("/v1/buckets/b").expect("it answers").json();
    let put = |index, key: &str| {
        let answer = cluster.request(index, "PUT", &format!("/v1/kv/b/{key}"), "v").expect("it is written");
        answer.header("meridian-type").expect("it has a type").to_string()
    };
    declare(0, r#"{"defaults":{"put":"multi"}}"#);
    cluster.wait_converged(PATIENCE).expect("they agree");
    for index in 0..3 {
        assert_eq!(policy(index)["defaults"], json!({"put": "multi"}));
        assert_eq!(put(index, &format!("first{index}")), "multi");
    }

    cluster.cut_off(0).expect("it is cut off");
    cluster.wait_alone(0, PATIENCE).expect("it is alone");
    declare(0, r#"{"defaults":{"observe":"min"}}"#);
    declare(1, r#"{"defaults":{"put":"multi","enable":"flag"}}"#);
    assert_eq!(put(0, "alone"), "register", "what it declared says nothing of put");
    assert_eq!(put(1, "together"), "multi");

    cluster.heal(0).expect("it is healed");
    cluster.wait_converged(PATIENCE).expect("they agree");
    for index in 0..3 {
        let merged = json!({"enable": "flag", "observe": "min", "put": "multi"});
        assert_eq!(policy(index)["defaults"], merged, "each has replaced what it had seen, and nothing else");
        assert_eq!(put(index, &format!("last{index}")), "multi");
        let listed = cluster.nodes[index].get("/v1/buckets").expect("it answers").json();
        assert_eq!(listed, json!({"buckets": [{"bucket": "b", "defaults": merged}]}));
    }
    cluster.request(2, "DELETE", "/v1/buckets/b", "").expect("it is deleted");
    cluster.wait_converged(PATIENCE).expect("they agree");
    assert_eq!(policy(0), json!({"bucket": "b", "declared": false, "defaults": {}}));
    assert_eq!(put(0, "after"), "register");
    let kept = cluster.nodes[1].get("/v1/kv/b/last0").expect("it answers");
    assert_eq!((kept.status, kept.header("meridian-type")), (200, Some("multi")), "no key is taken away");
}
