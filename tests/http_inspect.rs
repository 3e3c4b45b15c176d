//! `/v1/inspect` over real sockets, as `docs/http-api.md` has it: one node, and three that are cut off from each other.

use meridian_tests::bench::Bench;
use meridian_tests::cluster::Cluster;
use meridian_tests::http::Answer;
use meridian_tests::process::Scratch;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take: nothing is claimed of it here.
const PATIENCE: Duration = Duration::from_secs(20);

fn inspect(bench: &Bench, key: &str) -> Value {
    understood(&bench.get(&format!("/v1/inspect/{key}")))
}

/// What the only replica has.
fn only_replica(bench: &Bench, key: &str) -> Value {
    let seen = inspect(bench, key);
    assert_eq!((&seen["agree"], &seen["asked"], &seen["unreachable"]), (&json!(true), &json!(1), &json!([])));
    assert_eq!(seen["replicas"].as_array().map(Vec::len), Some(1), "{seen}");
    assert_eq!(seen["replicas"][0]["node"], "n1");
    seen["replicas"][0].clone()
}

fn understood(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "stored bytes stand within it");
    answer.json()
}

#[test]
fn a_register_is_shown_with_its_dot_and_stamp_as_what_it_is() {
    let bench = Bench::new("inspect-register");
    bench.put("/v1/kv/users/42", "application/json", br#"{"n": 1.50}"#);
    let seen = inspect(&bench, "users/42");
    assert_eq!((&seen["bucket"], &seen["key"], &seen["shard"]), (&json!("users"), &json!("42"), &json!(112)));
    let text = bench.get("/v1/inspect/users/42").text();
    assert!(
        text.contains(r#""bytes":11,"value":{"n": 1.50},"wins":true"#),
        "numbers keep their text: {text}"
    );
    let replica = only_replica(&bench, "users/42");
    let sibling = &replica["head"][0];
    assert_eq!(
        (&sibling["type"], &sibling["content_type"]),
        (&json!("register"), &json!("application/json"))
    );
    let stamp = sibling["hlc"].as_str().expect("a time");
    assert!(stamp.starts_with("20") && stamp.ends_with('Z') && stamp.len() == 24, "{stamp}");
    assert!(sibling["hlc_counter"].is_u64());
    // The dot is one that the version vector covers.
    let (origin, seq) = sibling["dot"].as_str().and_then(|dot| dot.split_once('.')).expect("a dot");
    assert_eq!(replica["vv"][origin], json!(seq.parse::<u64>().expect("a sequence")));
    for (content_type, body, value) in [
        ("text/plain", &b"gr\xc3\xbcn"[..], json!("grün")),
        ("application/json", b"{broken", json!("{broken")),
        ("application/octet-stream", b"\xff\x00", json!({"base64": "/wA="})),
    ] {
        bench.put("/v1/kv/users/42", content_type, body);
        let replica = only_replica(&bench, "users/42");
        assert_eq!(replica["head"].as_array().map(Vec::len), Some(1), "a write takes away what it saw");
        assert_eq!(
            (&replica["head"][0]["value"], &replica["head"][0]["bytes"]),
            (&value, &json!(body.len()))
        );
    }
    assert!(bench.done("HEAD", "/v1/inspect/users/42", "").body.is_empty());
}

#[test]
fn a_long_value_is_cut_off_and_said_to_be() {
    let bench = Bench::new("inspect-long");
    // A long number: its beginning would be another one.
    bench.put("/v1/kv/b/k", "application/json", [b'7'; 70_000]);
    let sibling = only_replica(&bench, "b/k")["head"][0].clone();
    assert_eq!((&sibling["bytes"], &sibling["truncated"]), (&json!(70_000), &json!(true)));
    assert_eq!(sibling["value"].as_str().map(str::len), Some(64 << 10));
    // Letters of three bytes, which 64 KiB do not hold whole.
    bench.put("/v1/kv/b/k", "text/plain", "€".repeat(30_000).as_bytes());
    let sibling = only_replica(&bench, "b/k")["head"][0].clone();
    assert_eq!(sibling["value"].as_str().map(|text| text.chars().count()), Some((64 << 10) / 3));
}

#[test]
fn a_counter_is_shown_with_its_slots_and_a_set_with_its_members() {
    let bench = Bench::new("inspect-parts");
    for by in [5, 7] {
        bench.done("POST", "/v1/kv/b/counter", &format!("{{\"op\":\"increment\",\"by\":{by}}}"));
    }
    let replica = only_replica(&bench, "b/counter");
    let slot = &replica["slots"][0];
    assert_eq!((&replica["head"][0]["type"], &replica["sum"]), (&json!("counter"), &json!(12)));
    assert_eq!(
        (&slot["last"]["total"], &slot["value"], &slot["spent"]),
        (&json!(12), &json!(12), &json!(false))
    );
    bench.done("POST", "/v1/kv/b/counter", r#"{"op":"reset"}"#);
    let replica = only_replica(&bench, "b/counter");
    let slot = &replica["slots"][0];
    assert_eq!(
        (&slot["base"]["total"], &slot["spent"], &replica["sum"]),
        (&json!(12), &json!(true), &json!(0))
    );

    bench.done("POST", "/v1/kv/b/set", r#"{"op":"add","members":["opera","jazz"]}"#);
    let replica = only_replica(&bench, "b/set");
    let members: Vec<&Value> = replica["members"].as_array().expect("a list").iter().collect();
    assert_eq!(members.iter().map(|one| &one["member"]).collect::<Vec<_>>(), ["jazz", "opera"]);
    assert_eq!(members[0]["dots"], members[1]["dots"], "one delta, one dot");
    assert_eq!((&replica["member_count"], replica.get("more")), (&json!(2), None));
    for from in 0..3 {
        let members: Vec<String> = (0..50).map(|place| format!("m{:03}", from * 50 + place)).collect();
        bench.done("POST", "/v1/kv/b/large", &json!({"op": "add", "members": members}).to_string());
    }
    let replica = only_replica(&bench, "b/large");
    assert_eq!(replica["members"].as_array().map(Vec::len), Some(100));
    assert_eq!((&replica["member_count"], &replica["more"]), (&json!(150), &json!(true)));
}

#[test]
fn a_flag_a_number_and_several_values_are_shown_as_what_was_put() {
    let bench = Bench::new("inspect-heads");
    bench.done("POST", "/v1/kv/b/flag", r#"{"op":"enable"}"#);
    bench.done("POST", "/v1/kv/b/max", r#"{"op":"observe","value":17}"#);
    bench.done("POST", "/v1/kv/b/min?type=min", r#"{"op":"observe","value":-3}"#);
    for (key, key_type, value) in
        [("flag", "flag", json!(true)), ("max", "max", json!(17)), ("min", "min", json!(-3))]
    {
        let replica = only_replica(&bench, &format!("b/{key}"));
        let sibling = replica["head"][0].clone();
        assert_eq!(sibling, json!({"dot": sibling["dot"], "type": key_type, "value": value}));
    }
    bench.put("/v1/kv/b/multi?type=multi", "application/json", b"{\"n\": 1.50}");
    let sibling = only_replica(&bench, "b/multi")["head"][0].clone();
    let expected = json!({"dot": sibling["dot"], "type": "multi", "content_type": "application/json", "bytes": 11,
        "value": {"n": 1.5}});
    assert_eq!(sibling, expected);
    bench.put("/v1/kv/b/long?type=multi", "text/plain", [b'x'; 70_000]);
    let sibling = only_replica(&bench, "b/long")["head"][0].clone();
    assert_eq!((&sibling["bytes"], &sibling["truncated"]), (&json!(70_000), &json!(true)));
}

#[test]
fn a_map_is_shown_with_its_fields() {
    let bench = Bench::new("inspect-map");
    for op in [
        json!({"path": ["address", "a/b"], "op": "set", "value": "London"}),
        json!({"path": ["tags"], "op": "add", "members": ["opera"]}),
        json!({"path": ["visits"], "op": "increment", "by": 5}),
    ] {
        bench.done("POST", "/v1/kv/b/map", &op.to_string());
    }
    let replica = only_replica(&bench, "b/map");
    assert_eq!(replica["head"][0]["type"], "map");
    let fields = replica["fields"].as_array().expect("a list");
    let told: Vec<_> = fields.iter().map(|field| [&field["path"], &field["type"]]).collect();
    assert_eq!(
        told,
        [
            ["/address", "map"],
            ["/address/a~1b", "register"],
            ["/tags", "set"],
            ["/tags", "set"],
            ["/visits", "counter"],
            ["/visits", "counter"]
        ]
    );
    assert_eq!((&fields[1]["value"], &fields[1]["wins"]), (&json!("London"), &json!(true)));
    assert_eq!(fields[1]["content_type"], "application/json");
    assert_eq!((&fields[3]["member"], &fields[3]["dots"]), (&json!("opera"), &json!([fields[2]["dot"]])));
    assert_eq!((&fields[5]["value"], &fields[5]["last"]["total"]), (&json!(5), &json!(5)));
    assert_eq!((&replica["slots"], &replica["members"]), (&json!([]), &json!([])));
    // A removed field leaves nothing that is shown, and another digest.
    bench.done("POST", "/v1/kv/b/map", r#"{"path":["address"],"op":"remove"}"#);
    let after = only_replica(&bench, "b/map");
    assert_eq!(after["fields"][0]["path"], "/tags");
    assert_ne!(after["digest"], replica["digest"]);
}

#[test]
fn where_there_is_no_key_the_vector_tells_whether_there_was_one() {
    let bench = Bench::new("inspect-nothing");
    let nothing = only_replica(&bench, "b/k");
    for list in ["head", "slots", "members", "fields"] {
        assert_eq!(nothing[list], json!([]), "{list}");
    }
    assert_eq!(nothing["vv"], json!({}));
    bench.put("/v1/kv/b/k", "text/plain", b"v");
    bench.done("DELETE", "/v1/kv/b/k", "");
    let deleted = only_replica(&bench, "b/k");
    assert_eq!((&deleted["head"], &deleted["digest"]), (&json!([]), &nothing["digest"]));
    assert_ne!(deleted["vv"], json!({}));
}

#[test]
fn names_parameters_and_methods_are_as_strict_as_those_of_a_key() {
    let bench = Bench::new("inspect-strict");
    bench.done("PUT", "/v1/kv/b?key64=_wA", "v");
    let seen = inspect(&bench, "b?key64=_wA");
    assert_eq!((&seen["key64"], seen.get("key")), (&json!("_wA"), None));
    assert_eq!(seen["replicas"][0]["head"][0]["value"], "v");
    let longest = format!("/v1/inspect/b/{}", "k".repeat(4097));
    for (target, status, code) in [
        ("/v1/inspect", 404, "path_not_found"),
        ("/v1/inspect/", 400, "bucket_invalid"),
        ("/v1/inspect/b", 400, "key_empty"),
        ("/v1/inspect/b/", 400, "key_empty"),
        ("/v1/inspect/B/k", 400, "bucket_invalid"),
        ("/v1/inspect/b/%ff", 400, "key_invalid"),
        ("/v1/inspect/b?key64=!", 400, "key_invalid"),
        ("/v1/inspect/b/k?key64=aw", 400, "invalid_parameter"),
        ("/v1/inspect/b?key64=aw&key64=aw", 400, "invalid_parameter"),
        ("/v1/inspect/b/k?type=set", 400, "unknown_parameter"),
        (&longest, 414, "key_too_long"),
    ] {
        bench.refused("GET", target, "", (status, code));
    }
    let context = [("meridian-context", "x")];
    bench.refused_with("GET", "/v1/inspect/b/k", &context, "", (400, "unknown_parameter"));
    for method in ["PUT", "POST", "DELETE", "OPTIONS"] {
        let answer = bench.with(method, "/v1/inspect/b/k", &[], "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

// -- three nodes --------------------------------------------------------------------------------------------------------

/// What a node says of a key, as soon as it is so.
fn eventually(cluster: &Cluster, index: usize, key: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let seen = understood(&cluster.nodes[index].get(&format!("/v1/inspect/{key}")).expect("it answers"));
        if is_so(&seen) {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "{seen:#}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

fn names(seen: &Value) -> Vec<&str> {
    let replicas = seen["replicas"].as_array().into_iter().flatten();
    replicas.filter_map(|replica| replica["node"].as_str()).collect()
}

fn values(seen: &Value) -> Vec<&Value> {
    let replicas = seen["replicas"].as_array().into_iter().flatten();
    replicas.map(|replica| &replica["head"][0]["value"]).collect()
}

#[test]
fn nodes_that_were_cut_off_show_who_has_what_and_agree_after_the_heal() {
    let scratch = Scratch::new("inspect-cluster");
    let cluster = Cluster::start(scratch.path(), 3).expect("it starts");
    let put = |index, value| cluster.request(index, "PUT", "/v1/kv/b/k", value).expect("it is written");
    let set = |index, op: &str, member: &str| {
        let body = json!({"op": op, "members": [member]}).to_string();
        cluster.request(index, "POST", "/v1/kv/b/set", &body).expect("it is written")
    };
    put(0, "before");
    set(0, "add", "jazz");
    cluster.wait_converged(PATIENCE).expect("they agree");
    for index in 0..3 {
        let seen = eventually(&cluster, index, "b/k", |seen| seen["agree"] == true);
        assert_eq!((&seen["asked"], &seen["unreachable"]), (&json!(3), &json!([])));
        assert_eq!(names(&seen), ["n1", "n2", "n3"]);
        assert_eq!(values(&seen), ["before"; 3]);
        assert!(seen["replicas"].as_array().expect("a list").iter().all(|replica| {
            replica["digest"] == seen["replicas"][0]["digest"] && replica["vv"] == seen["replicas"][0]["vv"]
        }));
    }

    cluster.cut_off(0).expect("it is cut off");
    cluster.wait_alone(0, PATIENCE).expect("it is alone");
    put(0, "alone");
    put(1, "together");
    let field = |index, path: &[&str], value: &str| {
        let body = json!({"path": path, "op": "set", "value": value}).to_string();
        cluster.request(index, "POST", "/v1/kv/b/map", &body).expect("it is written")
    };
    field(0, &["city"], "London");
    field(1, &["city"], "Paris");
    field(1, &["street", "name"], "Rue");
    set(1, "remove", "jazz");
    let alone = eventually(&cluster, 0, "b/k", |seen| values(seen) == ["alone"]);
    assert_eq!((&alone["agree"], &alone["asked"]), (&json!(false), &json!(3)));
    assert_eq!((&alone["unreachable"], names(&alone)), (&json!(["n2", "n3"]), vec!["n1"]));
    let together = eventually(&cluster, 2, "b/k", |seen| values(seen) == ["together"; 2]);
    assert_eq!((&together["agree"], &together["unreachable"]), (&json!(false), &json!(["n1"])));

    cluster.heal(0).expect("it is healed");
    cluster.wait_converged(PATIENCE).expect("they agree");
    let seen = eventually(&cluster, 1, "b/k", |seen| seen["agree"] == true);
    let siblings = seen["replicas"][0]["head"].as_array().expect("a list");
    assert_eq!(siblings.len(), 2, "both writes are kept, for neither had seen the other: {seen:#}");
    assert_eq!(siblings.iter().filter(|sibling| sibling["wins"] == true).count(), 1);
    let set = eventually(&cluster, 0, "b/set", |seen| seen["agree"] == true);
    assert_eq!(set["replicas"][0]["members"], json!([]));
    let map = eventually(&cluster, 2, "b/map", |seen| seen["agree"] == true);
    for replica in map["replicas"].as_array().expect("a list") {
        let fields = replica["fields"].as_array().expect("a list").iter();
        let paths: Vec<_> = fields.clone().filter_map(|field| field["path"].as_str()).collect();
        assert_eq!(paths, ["/city", "/city", "/street", "/street/name"], "both cities are kept: {map:#}");
        assert_eq!(fields.filter(|field| field["wins"] == true).count(), 2);
    }
}

#[test]
fn a_dot_that_was_not_applied_yet_is_told_from_one_that_was_taken_away() {
    let scratch = Scratch::new("inspect-lacking");
    let cluster = Cluster::start(scratch.path(), 3).expect("it starts");
    cluster.request(0, "PUT", "/v1/kv/b/k", "0").expect("it is written");
    cluster.wait_converged(PATIENCE).expect("they agree");
    // n1 and n2 do not hear each other. n3 hears both, and n2 has from it what n1 wrote, some time after n3 has it.
    let cut =
        cluster.nodes[0].request("PUT", "/v1/dev/links", &[], b"{\"cut\":[\"n2\"]}").expect("it answers");
    assert_eq!(cut.status, 204);
    for round in 1.. {
        assert!(round < 20, "n3 never saw n2 behind");
        let value = round.to_string();
        cluster.request(0, "PUT", "/v1/kv/b/k", &value).expect("it is written");
        let seen = eventually(&cluster, 2, "b/k", |seen| {
            let [first, _, third] = values(seen)[..] else { return false };
            *first == value && *third == value
        });
        let [first, second, third] = [0, 1, 2].map(|place| &seen["replicas"][place]);
        let dot = |replica: &Value| replica["head"][0]["dot"].clone();
        if seen["agree"] == true {
            // n2 was faster than the question.
            continue;
        }
        assert_eq!(second["lacking"], json!([dot(first)]), "{seen:#}");
        assert_eq!(second.get("killed"), None, "{seen:#}");
        for replica in [first, third] {
            assert_eq!(replica["killed"], json!([dot(second)]), "{seen:#}");
            assert_eq!(replica.get("lacking"), None, "{seen:#}");
        }
        let seen = eventually(&cluster, 2, "b/k", |seen| seen["agree"] == true);
        assert_eq!(values(&seen), [&value[..]; 3]);
        return;
    }
}
