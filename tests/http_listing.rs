//! `GET /v1/kv/{bucket}` over real sockets, as `docs/http-api.md` has it.

use meridian_tests::bench::{Bench, spoiled};
use meridian_tests::cluster::Cluster;
use meridian_tests::process::Scratch;
use serde_json::{Value, json};
use std::time::Duration;

fn list(bench: &Bench, target: &str) -> Value {
    let answer = bench.done("GET", target, "");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("meridian-consistency"), Some("local"));
    answer.json()
}

/// All pages, one after the other.
fn walk(bench: &Bench, target: &str) -> Vec<Value> {
    let mut pages = vec![list(bench, target)];
    while let Some(next) = pages.last().and_then(|page| page["next"].as_str()) {
        let joint = if target.contains('?') { '&' } else { '?' };
        let next = format!("{target}{joint}cursor={next}");
        pages.push(list(bench, &next));
        assert!(pages.len() < 1_000, "it goes in circles");
    }
    pages
}

/// The keys of all pages.
fn keys(bench: &Bench, target: &str) -> Vec<String> {
    walk(bench, target).iter().flat_map(keys_of).collect()
}

fn keys_of(page: &Value) -> Vec<String> {
    let entries = page["keys"].as_array().expect("a list");
    entries.iter().map(|entry| entry["key"].as_str().expect("a key").to_string()).collect()
}

#[test]
fn the_example_of_the_contract() {
    let bench = Bench::new("listing-example");
    bench.put("/v1/kv/users/42/email", "text/plain", b"ada@example.org");
    bench.put("/v1/kv/users/42/name", "application/json", b"{\"first\": \"Ada\", \"n\": 1.00}");
    bench.done("POST", "/v1/kv/users/42/tags", r#"{"op":"add","members":["opera","jazz"]}"#);
    bench.put("/v1/kv/users/43", "text/plain", b"other");
    let text = bench.get("/v1/kv/users?prefix=42/&limit=2&values=true").text();
    let (entries, next) = text.split_once(r#"],"next":""#).expect("there is more");
    let first = r#"{"key":"42/email","type":"register","value":"ada@example.org","content_type":"text/plain","bytes":15}"#;
    let second = r#"{"key":"42/name","type":"register","value":{"first": "Ada", "n": 1.00},"content_type":"application/json","bytes":27}"#;
    assert_eq!(entries, format!(r#"{{"keys":[{first},{second}"#));
    let cursor = next.strip_suffix("\"}").expect("nothing follows");
    let target = format!("/v1/kv/users?prefix=42/&limit=2&values=true&cursor={cursor}");
    let rest = bench.get(&target).text();
    assert_eq!(rest, r#"{"keys":[{"key":"42/tags","type":"set","value":["jazz","opera"]}]}"#);
    assert_eq!(bench.get("/v1/kv/nobody").text(), r#"{"keys":[]}"#);
    let head = bench.with("HEAD", "/v1/kv/users", &[], b"");
    assert!(head.status == 200 && head.body.is_empty() && head.header("content-length").is_some());
}

#[test]
fn pages_together_have_each_key_once_in_order() {
    let bench = Bench::new("listing-pages");
    let names: Vec<String> = (0..250).map(|number| format!("{:03}", number * 3)).collect();
    for name in &names {
        bench.put(&format!("/v1/kv/b/{name}"), "text/plain", b"v");
    }
    assert_eq!(keys_of(&list(&bench, "/v1/kv/b")), names[..100], "100, if nothing is said");
    assert_eq!(keys(&bench, "/v1/kv/b"), names);
    assert!(list(&bench, "/v1/kv/b?limit=250").get("next").is_none(), "what is full and ends has no next");
    assert_eq!(walk(&bench, "/v1/kv/b?limit=83").len(), 4);
    let mut backwards = keys(&bench, "/v1/kv/b?limit=7&reverse=true");
    backwards.reverse();
    assert_eq!(backwards, names);
    let within = |from: &str, upto: &str| -> Vec<String> {
        names.iter().filter(|name| name.as_str() >= from && name.as_str() < upto).cloned().collect()
    };
    assert_eq!(keys(&bench, "/v1/kv/b?start=030&end=060&limit=3"), within("030", "060"));
    assert_eq!(keys(&bench, "/v1/kv/b?start=031&end=061&limit=3"), within("031", "061"));
    assert_eq!(keys(&bench, "/v1/kv/b?prefix=12&limit=2"), within("12", "13"));
    assert_eq!(keys(&bench, "/v1/kv/b?prefix64=MTI&start64=MTIx"), within("121", "13"));
    assert!(keys(&bench, "/v1/kv/b?start=5&end=4").is_empty());
    let page = list(&bench, "/v1/kv/b?limit=2");
    let next = page["next"].as_str().expect("there is more").to_string();
    bench.done("DELETE", "/v1/kv/b/006", "");
    bench.put("/v1/kv/b/0061", "text/plain", b"new");
    let changed = list(&bench, &format!("/v1/kv/b?limit=2&values=true&cursor={next}"));
    assert_eq!(keys_of(&changed), ["0061", "009"], "a later page has what is there by then");
}

#[test]
fn a_delimiter_folds_what_lies_behind_it() {
    let bench = Bench::new("listing-delimiter");
    for key in ["a/1", "a/2", "a/b/1", "a/b/2", "b", "c/1", "c0", "%EF%BF%BD/x", "x/"] {
        bench.put(&format!("/v1/kv/b/{key}"), "text/plain", b"v");
    }
    bench.put("/v1/kv/b?key64=_y9h", "text/plain", b"behind a prefix that is not UTF-8");
    let page = list(&bench, "/v1/kv/b?delimiter=/");
    assert_eq!(keys_of(&page), ["b", "c0"]);
    assert_eq!(page["prefixes"], json!(["a/", "c/", "x/", "\u{fffd}/"]));
    assert_eq!(page["prefixes64"], json!(["_y8"]));
    let page = list(&bench, "/v1/kv/b?delimiter=/&prefix=a/");
    assert_eq!((keys_of(&page), &page["prefixes"]), (vec!["a/1".into(), "a/2".into()], &json!(["a/b/"])));
    assert_eq!(list(&bench, "/v1/kv/b?delimiter=%2F&prefix=b")["prefixes"], json!([]), "there, and empty");
    assert!(list(&bench, "/v1/kv/b?prefix=b").get("prefixes").is_none());
    for reverse in ["false", "true"] {
        let pages = walk(&bench, &format!("/v1/kv/b?delimiter=/&limit=1&reverse={reverse}"));
        assert_eq!(pages.len(), 7, "one entry each");
        let mut prefixes: Vec<&str> = pages.iter().filter_map(|page| page["prefixes"][0].as_str()).collect();
        prefixes.sort_unstable();
        assert_eq!(prefixes, ["a/", "c/", "x/", "\u{fffd}/"]);
    }
    assert_eq!(list(&bench, "/v1/kv/b?delimiter=b/")["prefixes"], json!(["a/b/"]), "of several letters");
}

#[test]
fn values_are_embedded_as_what_they_are() {
    let bench = Bench::new("listing-values");
    bench.put("/v1/kv/b/broken", "application/json", b"{");
    bench.put("/v1/kv/b/bytes", "application/octet-stream", b"\xff\0");
    bench.done("POST", "/v1/kv/b/counter", r#"{"op":"increment","by":-5}"#);
    bench.put("/v1/kv/b/json", "application/json", b"12345678901234567890");
    bench.put("/v1/kv/b?key64=_w", "text/plain", b"grr");
    bench.done("DELETE", "/v1/kv/b/nothing", "");
    let page = list(&bench, "/v1/kv/b?values=true");
    let register = |value: Value, content_type: &str, bytes: u64| json!({"type": "register", "value": value, "content_type": content_type, "bytes": bytes});
    let named = |name: &str, value: &str, mut entry: Value| {
        entry[name] = value.into();
        entry
    };
    let expected = [
        named("key", "broken", register("{".into(), "application/json", 1)),
        named("key", "bytes", register(json!({"base64": "/wA="}), "application/octet-stream", 2)),
        json!({"key": "counter", "type": "counter", "value": -5}),
        named("key", "json", register(12_345_678_901_234_567_890_u64.into(), "application/json", 20)),
        named("key64", "_w", register("grr".into(), "text/plain", 3)),
    ];
    assert_eq!(page["keys"], json!(expected));
    let page = list(&bench, "/v1/kv/b?values=false");
    assert_eq!(
        page["keys"][0],
        json!({"key": "broken", "type": "register", "content_type": "application/json", "bytes": 1})
    );
    assert_eq!(page["keys"][2], json!({"key": "counter", "type": "counter"}));
}

#[test]
fn a_page_is_at_most_a_mebibyte_but_for_one_larger_value() {
    let bench = Bench::new("listing-large");
    let large = vec![b'v'; 400 << 10];
    for key in 0..5 {
        bench.put(&format!("/v1/kv/b/{key}"), "text/plain", &large);
    }
    bench.put("/v1/kv/b/9", "application/octet-stream", vec![0xff; 1 << 20]);
    let pages = walk(&bench, "/v1/kv/b?values=true");
    let keys: Vec<Vec<String>> = pages.iter().map(keys_of).collect();
    assert_eq!(keys, [&["0", "1"][..], &["2", "3"], &["4"], &["9"]]);
    assert!(pages.iter().take(3).all(|page| page.to_string().len() <= 1 << 20));
    assert_eq!(
        list(&bench, "/v1/kv/b")["keys"].as_array().map(Vec::len),
        Some(6),
        "without values it is short"
    );
    for part in 0..11 {
        let members: Vec<String> =
            (0..1_000).map(|number| format!("\"{}\"", part * 1_000 + number)).collect();
        bench.done(
            "POST",
            "/v1/kv/sets/s",
            &format!("{{\"op\":\"add\",\"members\":[{}]}}", members.join(",")),
        );
    }
    let entry = json!({"key": "s", "type": "set", "page_required": true});
    assert_eq!(list(&bench, "/v1/kv/sets?values=true")["keys"], json!([entry]));
    assert_eq!(list(&bench, "/v1/kv/sets")["keys"], json!([{"key": "s", "type": "set"}]));
}

#[test]
fn nothing_is_ignored_quietly() {
    let bench = Bench::new("listing-refusals");
    bench.put("/v1/kv/b/a", "text/plain", b"v");
    for (target, expected) in [
        ("/v1/kv/b?limit=0", "invalid_parameter"),
        ("/v1/kv/b?limit=1001", "invalid_parameter"),
        ("/v1/kv/b?limit=ten", "invalid_parameter"),
        ("/v1/kv/b?reverse=1", "invalid_parameter"),
        ("/v1/kv/b?values=", "invalid_parameter"),
        ("/v1/kv/b?delimiter=", "invalid_parameter"),
        ("/v1/kv/b?prefix=a&prefix64=YQ", "invalid_parameter"),
        ("/v1/kv/b?start=a&start=b", "invalid_parameter"),
        ("/v1/kv/b?end64=%21", "invalid_parameter"),
        ("/v1/kv/b?prefix=%ff", "invalid_parameter"),
        ("/v1/kv/b?consistency=most", "invalid_parameter"),
        ("/v1/kv/b?consistency=quorum", "not_available"),
        ("/v1/kv/b?type=set", "unknown_parameter"),
        ("/v1/kv/b?prefxi=a", "unknown_parameter"),
        ("/v1/kv/B", "bucket_invalid"),
        ("/v1/kv/_b", "bucket_invalid"),
        ("/v1/kv/b/", "key_empty"),
    ] {
        bench.refused("GET", target, "", (400, expected));
    }
    let context = bench.get("/v1/kv/b/a").context();
    let headers = [("meridian-context", &context[..])];
    bench.refused_with("GET", "/v1/kv/b", &headers, "", (400, "unknown_parameter"));
    for method in ["PUT", "POST", "DELETE"] {
        bench.refused(method, "/v1/kv/b", "", (400, "key_empty"));
        bench.refused(method, "/v1/kv/b?prefix=a", "", (400, "unknown_parameter"));
    }
    assert_eq!(keys_of(&list(&bench, "/v1/kv/b?consistency=local")), ["a"], "nothing of this did anything");
}

#[test]
fn a_cursor_is_for_its_listing_alone() {
    let bench = Bench::new("listing-cursors");
    for key in ["a1", "a2", "a3"] {
        bench.put(&format!("/v1/kv/b/{key}"), "text/plain", b"v");
    }
    let page = list(&bench, "/v1/kv/b?prefix=a&limit=1");
    let good = page["next"].as_str().expect("there is more").to_string();
    let other_page = list(&bench, &format!("/v1/kv/b?prefix64=YQ&limit=5&values=true&cursor={good}"));
    assert_eq!(keys_of(&other_page), ["a2", "a3"], "pages may be of other lengths, and have values");
    for listing in [
        "c?prefix=a",
        "b?prefix=",
        "b?prefix=a1",
        "b?prefix=a&start=a",
        "b?prefix=a&end=b",
        "b?prefix=a&reverse=true",
        "b?prefix=a&delimiter=/",
    ] {
        let target = format!("/v1/kv/{listing}&cursor={good}");
        bench.refused("GET", &target, "", (400, "bad_token"));
    }
    let context = bench.get("/v1/kv/b/a1").context();
    for bad in spoiled(&good).iter().chain([&context]) {
        bench.refused("GET", &format!("/v1/kv/b?prefix=a&cursor={bad}"), "", (400, "bad_token"));
    }
    bench.refused_with("GET", "/v1/kv/b/a1", &[("meridian-context", &good)], "", (400, "bad_token"));
}

#[test]
fn a_cursor_is_good_at_every_node_and_a_key_of_two_types_is_listed_once() {
    let scratch = Scratch::new("listing-cluster");
    let cluster = Cluster::start(scratch.path(), 2).expect("they start");
    let patience = Duration::from_secs(10);
    cluster.cut_off(0).expect("links are cut");
    for node in [0, 1] {
        cluster.wait_alone(node, patience).expect("they part");
    }
    cluster.request(0, "PUT", "/v1/kv/b/both", "v").expect("it is written");
    cluster.request(1, "POST", "/v1/kv/b/both", r#"{"op":"add","members":["m"]}"#).expect("it is written");
    cluster.request(1, "PUT", "/v1/kv/b/more", "v").expect("it is written");
    cluster.heal(0).expect("links are healed");
    cluster.wait_converged(patience).expect("they agree");
    let page = |node: usize, target: &str| -> Value {
        cluster.request(node, "GET", target, "").expect("it is listed").json()
    };
    let first = page(0, "/v1/kv/b?limit=1&values=true");
    assert_eq!(first["keys"], json!([{"key": "both", "type": "conflict", "types": ["register", "set"]}]));
    let next = first["next"].as_str().expect("there is more");
    assert_eq!(keys_of(&page(1, &format!("/v1/kv/b?limit=1&cursor={next}"))), ["more"]);
}
