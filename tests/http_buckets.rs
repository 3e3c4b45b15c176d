//! `/v1/buckets` over real sockets, as `docs/http-api.md` has it: one node, and three that are cut off from each other.

use meridian_tests::cluster::Cluster;
use meridian_tests::http::{Answer, Client};
use meridian_tests::process::{NodeProcess, Scratch};
use serde_json::{Value, json};
use std::time::Duration;

/// How long anything may take: nothing is claimed of it here.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node by itself with a connection to it.
struct Bench {
    client: Client,
    node: NodeProcess,
    _scratch: Scratch,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let scratch = Scratch::new(name);
        let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
        let client = node.client().expect("it listens");
        Bench { client, node, _scratch: scratch }
    }

    fn ask(&mut self, method: &str, target: &str, body: &str) -> Answer {
        let answer = self.client.request(method, target, &[], body.as_bytes());
        answer.unwrap_or_else(|error| panic!("{method} {target}: {error:#}"))
    }

    fn done(&mut self, method: &str, target: &str, body: &str) -> Answer {
        let answer = self.ask(method, target, body);
        assert!((200..300).contains(&answer.status), "{method} {target} {body}: {}", answer.text());
        answer
    }

    fn declare(&mut self, bucket: &str, policy: &str) {
        let answer = self.done("PUT", &format!("/v1/buckets/{bucket}"), policy);
        assert_eq!((answer.status, answer.header("meridian-consistency")), (204, Some("local")));
    }

    fn policy(&mut self, target: &str) -> Value {
        let answer = self.done("GET", &format!("/v1/buckets{target}"), "");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    fn type_of(&mut self, key: &str) -> Option<String> {
        self.done("GET", &format!("/v1/kv/{key}"), "").header("meridian-type").map(str::to_string)
    }
}

#[test]
fn a_policy_is_read_as_it_was_declared_and_replaced_whole() {
    let mut bench = Bench::new("buckets-policy");
    let nothing = json!({"bucket": "b", "declared": false, "defaults": {}});
    assert_eq!(bench.policy("/b"), nothing);
    bench.declare("b", r#"{"defaults":{"put":"multi","observe":"min"}}"#);
    let text = bench.done("GET", "/v1/buckets/b", "").text();
    assert_eq!(text, r#"{"bucket":"b","declared":true,"defaults":{"observe":"min","put":"multi"}}"#);
    let head = bench.done("HEAD", "/v1/buckets/b", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(&text.len().to_string()[..]));
    bench.declare("b", r#"{"defaults":{"put":"register"}}"#);
    assert_eq!(bench.policy("/b"), json!({"bucket": "b", "declared": true, "defaults": {"put": "register"}}));
    for empty in ["{}", r#"{"defaults":{}}"#] {
        bench.declare("b", empty);
        assert_eq!(bench.policy("/b"), json!({"bucket": "b", "declared": true, "defaults": {}}));
    }
    for _ in 0..2 {
        assert_eq!(bench.done("DELETE", "/v1/buckets/b", "").status, 204);
        assert_eq!(bench.policy("/b"), nothing);
    }
    bench.declare("b", "{}");
    assert_eq!(bench.policy("/b")["declared"], true);
}

#[test]
fn a_policy_holds_for_keys_that_are_created_afterwards_and_takes_none_away() {
    let mut bench = Bench::new("buckets-defaults");
    bench.done("PUT", "/v1/kv/b/before", "a");
    bench.declare("b", r#"{"defaults":{"put":"multi","observe":"min","add":"set"}}"#);
    bench.done("PUT", "/v1/kv/b/before", "b");
    assert_eq!(bench.type_of("b/before").as_deref(), Some("register"));
    let put = bench.done("PUT", "/v1/kv/b/put", "a");
    assert_eq!(put.header("meridian-type"), Some("multi"));
    let unseen = bench.ask("PUT", "/v1/kv/b/put", "b");
    assert_eq!((unseen.status, unseen.field("code").as_str()), (428, "context_required"));
    bench.done("POST", "/v1/kv/b/set", r#"{"op":"set","value":1}"#);
    assert_eq!(bench.type_of("b/set").as_deref(), Some("multi"), "set is a PUT");
    for (value, lowest) in [(5, "5"), (7, "5"), (-1, "-1")] {
        let body = json!({"op": "observe", "value": value}).to_string();
        assert_eq!(bench.done("POST", "/v1/kv/b/seen", &body).text(), lowest);
    }
    bench.done("PUT", "/v1/kv/b/named?type=register", "a");
    assert_eq!(bench.type_of("b/named").as_deref(), Some("register"));
    bench.done("PUT", "/v1/kv/other/put", "a");
    assert_eq!(bench.type_of("other/put").as_deref(), Some("register"), "another bucket");
    bench.done("DELETE", "/v1/buckets/b", "");
    assert_eq!(bench.type_of("b/put").as_deref(), Some("multi"));
    bench.done("PUT", "/v1/kv/b/after", "a");
    assert_eq!(bench.type_of("b/after").as_deref(), Some("register"));
    // Where no key was ever written, and where all are gone, a policy is there all the same.
    bench.done("DELETE", "/v1/kv/b/put", "");
    assert_eq!(bench.policy("/b")["declared"], false);
}

#[test]
fn declared_buckets_are_listed_in_order_and_in_pages() {
    let mut bench = Bench::new("buckets-list");
    assert_eq!(bench.policy(""), json!({"buckets": []}));
    bench.done("PUT", "/v1/kv/undeclared/k", "a");
    for number in [3, 1, 4, 0, 2] {
        bench.declare(&format!("b{number}"), r#"{"defaults":{"put":"multi"}}"#);
    }
    bench.declare("b", "{}");
    bench.declare("gone", "{}");
    bench.done("DELETE", "/v1/buckets/gone", "");
    let mut all = vec![json!({"bucket": "b", "defaults": {}})];
    all.extend((0..5).map(|number| json!({"bucket": format!("b{number}"), "defaults": {"put": "multi"}})));
    assert_eq!(bench.policy(""), json!({"buckets": all}));
    let (mut found, mut target) = (Vec::new(), "?limit=4".to_string());
    for expected in [4, 2] {
        let page = bench.policy(&target);
        let buckets = page["buckets"].as_array().expect("a list");
        assert_eq!(buckets.len(), expected);
        found.extend(buckets.clone());
        match page["next"].as_str() {
            Some(next) => target = format!("?limit=4&cursor={next}"),
            None => target.clear(),
        }
    }
    assert_eq!((found, &target[..]), (all, ""));
    let head = bench.done("HEAD", "/v1/buckets", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn what_is_no_policy_no_bucket_or_no_method_is_refused_and_changes_nothing() {
    let mut bench = Bench::new("buckets-strict");
    bench.declare("b", r#"{"defaults":{"put":"multi"}}"#);
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
        let answer = bench.ask(method, target, body);
        let found = (answer.status, answer.field("code"));
        assert_eq!(found, (status, code.to_string()), "{method} {target:.60} {body}");
    }
    let large = format!("{{{}}}", " ".repeat(70_000));
    assert_eq!(bench.ask("PUT", "/v1/buckets/b", &large).field("code"), "request_too_large");
    // The connection was closed, for the rest of the body is not read.
    bench.client = bench.node.client().expect("it listens");
    for (method, target, allow) in [
        ("POST", "/v1/buckets/b", "GET, HEAD, PUT, DELETE"),
        ("PATCH", "/v1/buckets/b", "GET, HEAD, PUT, DELETE"),
        ("PUT", "/v1/buckets", "GET, HEAD"),
        ("DELETE", "/v1/buckets", "GET, HEAD"),
    ] {
        let answer = bench.ask(method, target, "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {target}");
    }
    let conditional = bench.client.request("PUT", "/v1/buckets/b", &[("if-match", "x")], b"{}");
    assert_eq!(conditional.expect("it answers").field("code"), "condition_needs_strong");
    let context = bench.client.request("GET", "/v1/buckets/b", &[("meridian-context", "x")], b"");
    assert_eq!(context.expect("it answers").field("code"), "unknown_parameter");
    assert_eq!(bench.policy("/b")["defaults"], json!({"put": "multi"}));
}

// -- three nodes --------------------------------------------------------------------------------------------------------

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

#[test]
fn a_policy_holds_on_every_node_and_concurrent_declarations_merge() {
    let scratch = Scratch::new("buckets-cluster");
    let cluster = Cluster::start(scratch.path(), 3).expect("it starts");
    let declare = |index, policy: &str| {
        cluster.request(index, "PUT", "/v1/buckets/b", policy).expect("it is declared");
    };
    let policy = |index: usize| json_of(&cluster.nodes[index].get("/v1/buckets/b").expect("it answers"));
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
        let listed = json_of(&cluster.nodes[index].get("/v1/buckets").expect("it answers"));
        assert_eq!(listed, json!({"buckets": [{"bucket": "b", "defaults": merged}]}));
    }
    cluster.request(2, "DELETE", "/v1/buckets/b", "").expect("it is deleted");
    cluster.wait_converged(PATIENCE).expect("they agree");
    assert_eq!(policy(0), json!({"bucket": "b", "declared": false, "defaults": {}}));
    assert_eq!(put(0, "after"), "register");
    let kept = cluster.nodes[1].get("/v1/kv/b/last0").expect("it answers");
    assert_eq!((kept.status, kept.header("meridian-type")), (200, Some("multi")), "no key is taken away");
}
