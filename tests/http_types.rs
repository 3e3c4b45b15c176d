//! The types of `docs/http-api.md` over real sockets: `multi`, flag, maximum, minimum and map, parts of a key, entity tags; what
//! every answer says, and what is refused. (Register, counter and set by themselves: `http_kv`.)
//!
//! This is one file because it follows one page, and its tests share one bench.

use meridian_tests::bench::Bench;
use meridian_tests::cluster::Cluster;
use meridian_tests::http::Answer;
use meridian_tests::process::Scratch;
use serde_json::{Value, json};
use std::time::Duration;

/// How long anything may take: nothing is claimed of it here.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_flag_is_on_or_off() {
    let bench = Bench::new("flag");
    let key = "/v1/kv/b/flag";
    bench.post(key, r#"{"op":"disable"}"#, "false");
    assert_eq!(bench.get(key).status, 404, "what only takes away creates nothing");
    let answer = bench.post(key, r#"{"op":"enable"}"#, "true");
    assert_eq!(answer.header("meridian-type"), Some("flag"));
    bench.reads(key, "flag", "true");
    assert_eq!(bench.get(key).header("content-type"), Some("application/json"));
    bench.post(key, r#"{"op":"disable"}"#, "false");
    bench.reads(key, "flag", "false");
    bench.post(key, r#"{"ops":[{"op":"disable"},{"op":"enable"}]}"#, "true");
    let seen = bench.get(key).context();
    bench.post(key, r#"{"op":"enable"}"#, "true");
    let late = bench.with("POST", key, &[("meridian-context", &seen)], r#"{"op":"disable"}"#);
    assert_eq!(late.text(), "true", "a context limits what a disable takes away");
    let whole = bench.with("POST", key, &[("prefer", "return=representation")], r#"{"op":"disable"}"#);
    assert_eq!(
        (whole.text().as_str(), whole.header("preference-applied")),
        ("false", Some("return=representation"))
    );
    bench.refused("POST", key, r#"{"op":"increment"}"#, (422, "wrong_type"));
    bench.refused("PUT", key, "v", (422, "wrong_type"));
    bench.done("DELETE", key, "");
    assert_eq!(bench.get(key).status, 404);
}

#[test]
fn a_maximum_and_a_minimum_keep_the_most_extreme() {
    let bench = Bench::new("extremum");
    let (max, min) = ("/v1/kv/b/max", "/v1/kv/b/min");
    assert_eq!(bench.post(max, r#"{"op":"observe","value":17}"#, "17").header("meridian-type"), Some("max"));
    bench.post(max, r#"{"op":"observe","value":3}"#, "17");
    bench.post(max, r#"{"ops":[{"op":"observe","value":18},{"op":"observe","value":20}]}"#, "20");
    bench.reads(max, "max", "20");
    let as_min = bench.post(&format!("{min}?type=min"), r#"{"op":"observe","value":-4}"#, "-4");
    assert_eq!(as_min.header("meridian-type"), Some("min"));
    bench.post(min, r#"{"op":"observe","value":3}"#, "-4");
    bench.post(min, r#"{"op":"observe","value":-9223372036854775808}"#, "-9223372036854775808");
    bench.reads(min, "min", "-9223372036854775808");
    for value in ["1.5", "1e3", "9223372036854775808"] {
        let body = format!(r#"{{"op":"observe","value":{value}}}"#);
        bench.refused("POST", max, &body, (422, "not_an_integer"));
    }
    bench.refused("POST", max, r#"{"op":"observe","value":"5"}"#, (400, "body_invalid"));
    bench.refused("POST", max, r#"{"op":"observe"}"#, (400, "body_invalid"));
    bench.refused("POST", max, r#"{"op":"reset"}"#, (422, "wrong_type"));
    bench.refused("POST", &format!("{max}?type=min"), r#"{"op":"observe","value":1}"#, (422, "wrong_type"));
    bench.reads(max, "max", "20");
}

#[test]
fn a_multi_keeps_what_was_not_seen() {
    let bench = Bench::new("multi");
    let (key, typed) = ("/v1/kv/b/multi", "/v1/kv/b/multi?type=multi");
    let nothing = bench.get(key).context();
    let text = ("content-type", "text/plain");
    let put = bench.with("PUT", typed, &[text], "a");
    assert_eq!((put.status, put.header("meridian-type")), (204, Some("multi")));
    let one = bench.reads(key, "multi", "a");
    assert_eq!((one.header("content-type"), one.header("meridian-siblings")), (Some("text/plain"), None));

    bench.refused("PUT", key, "unseen", (428, "context_required"));
    bench.refused("PUT", &format!("{key}?overwrite=false"), "unseen", (428, "context_required"));
    bench.refused("POST", key, r#"{"op":"set","value":1}"#, (428, "context_required"));
    bench.reads(key, "multi", "a");

    let json = ("content-type", "application/json");
    assert_eq!(bench.with("PUT", key, &[json, ("meridian-context", &nothing)], r#"{"n": 1.0}"#).status, 204);
    let two = bench.reads(key, "multi", r#"["a",{"n": 1.0}]"#);
    let headers = (two.header("content-type"), two.header("meridian-siblings"));
    assert_eq!(headers, (Some("application/json"), Some("2")));

    let seen = one.context();
    assert_eq!(bench.with("PUT", key, &[text, ("meridian-context", &seen)], "b").status, 204);
    bench.reads(key, "multi", r#"[{"n": 1.0},"b"]"#);
    let seen = bench.get(key).context();
    let set = bench.with("POST", key, &[("meridian-context", &seen)], r#"{"op":"set","value":[1, 2]}"#);
    assert_eq!(
        (set.status, set.text().as_str(), set.header("meridian-type")),
        (200, "[1, 2]", Some("multi"))
    );
    assert_eq!(set.header("content-type"), Some("application/json"));

    bench.with("PUT", key, &[text, ("meridian-context", &nothing)], "c");
    assert_eq!(bench.get(key).header("meridian-siblings"), Some("2"));
    assert_eq!(bench.with("PUT", &format!("{key}?overwrite=true"), &[text], "d").status, 204);
    bench.reads(key, "multi", "d");
    bench.refused(
        "POST",
        &format!("{key}?overwrite=true"),
        r#"{"op":"set","value":1}"#,
        (400, "invalid_parameter"),
    );
    bench.refused("GET", &format!("{key}?overwrite=true"), "", (400, "invalid_parameter"));
    bench.refused("PUT", &format!("{key}?overwrite=maybe"), "v", (400, "invalid_parameter"));
    bench.refused("PUT", &format!("{key}?type=register"), "v", (422, "wrong_type"));
    bench.refused("PUT", "/v1/kv/b/new?type=flag", "v", (422, "wrong_type"));
    let register = bench.with("PUT", "/v1/kv/b/r?type=register&overwrite=true", &[], "v");
    assert_eq!((register.status, register.header("meridian-type")), (204, Some("register")));
}

#[test]
fn a_set_shows_the_context_of_the_value_that_it_answers() {
    let bench = Bench::new("answered");
    let key = "/v1/kv/b/multi";
    let nothing = bench.get(key).context();
    bench.with("PUT", &format!("{key}?type=multi"), &[], "unseen");
    let set = bench.with("POST", key, &[("meridian-context", &nothing)], r#"{"op":"set","value":1}"#);
    assert_eq!((set.text().as_str(), set.header("meridian-siblings")), (r#"["unseen",1]"#, Some("2")));
    // The answer showed both values, so its context covers both.
    bench.with("PUT", key, &[("meridian-context", &set.context())], "merged");
    bench.reads(key, "multi", "merged");
}

#[test]
fn a_map_has_fields_of_any_type() {
    let bench = Bench::new("map");
    let key = "/v1/kv/users/42";
    let several = r#"{"ops":[{"path":["address","city"],"op":"set","value":"London"},{"path":["visits"],"op":"increment","by":2},
        {"path":["tags"],"op":"add","members":["opera","jazz"]},{"path":["on"],"op":"enable"},
        {"path":["high"],"op":"observe","value":7},{"path":["low"],"op":"observe","value":-7,"type":"min"},
        {"path":["note"],"op":"set","value":{"n": 1.50},"type":"multi"}]}"#;
    assert_eq!(bench.post(key, several, r#"{"changed":7}"#).header("meridian-type"), Some("map"));
    let whole = r#"{"address":{"city":"London"},"high":7,"low":-7,"note":{"n": 1.50},"on":true,"tags":["jazz","opera"],"visits":2}"#;
    let answer = bench.reads(key, "map", whole);
    assert_eq!((answer.header("content-type"), answer.header("etag")), (Some("application/json"), None));
    for (path, key_type, value) in [
        ("", "map", whole),
        ("/address", "map", r#"{"city":"London"}"#),
        ("/address/city", "register", r#""London""#),
        ("/visits", "counter", "2"),
        ("/tags", "set", r#"["jazz","opera"]"#),
        ("/on", "flag", "true"),
        ("/high", "max", "7"),
        ("/low", "min", "-7"),
        ("/note", "multi", r#"{"n": 1.50}"#),
    ] {
        let answer = bench.reads(&format!("{key}?path={path}"), key_type, value);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        assert_eq!(bench.with("HEAD", &format!("{key}?path={path}"), &[], "").status, 200, "{path}");
        bench.reads(&format!("{key}?path={path}&type={key_type}"), key_type, value);
    }
    bench.reads(&format!("{key}?path=/tags&contains=opera"), "set", "true");
    bench.reads(&format!("{key}?path=/tags&contains=polka"), "set", "false");
    for nothing in ["/nothing", "/address/street", "/visits/deeper"] {
        bench.refused("GET", &format!("{key}?path={nothing}"), "", (404, "field_not_found"));
    }
    bench.refused("GET", "/v1/kv/users/none?path=/a", "", (404, "key_not_found"));
    bench.refused("GET", &format!("{key}?path=/visits&type=set"), "", (422, "wrong_type"));
    bench.refused("GET", &format!("{key}?path=address"), "", (400, "invalid_parameter"));
    bench.refused("GET", &format!("{key}?path=/a~2"), "", (400, "invalid_parameter"));
    bench.refused("DELETE", &format!("{key}?path=/visits"), "", (400, "invalid_parameter"));
    bench.post(key, r#"{"path":["a/b","c~d","e f"],"op":"increment"}"#, r#"{"changed":1}"#);
    bench.reads(&format!("{key}?path=/a~1b/c~0d/e%20f"), "counter", "1");
    bench.post(key, r#"{"path":["visits"],"op":"reset"}"#, r#"{"changed":1}"#);
    bench.post(key, r#"{"path":["visits"],"op":"reset"}"#, r#"{"changed":0}"#);
    bench.reads(&format!("{key}?path=/visits"), "counter", "0");
}

#[test]
fn fields_of_a_map_are_removed() {
    let bench = Bench::new("map-remove");
    let key = "/v1/kv/b/map";
    for takes_only in [
        r#"{"path":["old"],"op":"remove"}"#,
        r#"{"path":[],"op":"remove"}"#,
        r#"{"path":["tags"],"op":"remove","members":["x"]}"#,
        r#"{"path":["tags"],"op":"clear"}"#,
        r#"{"path":["n"],"op":"reset"}"#,
        r#"{"path":["on"],"op":"disable"}"#,
    ] {
        bench.post(key, takes_only, r#"{"changed":0}"#);
        assert_eq!(bench.get(key).status, 404, "{takes_only}");
    }
    let add = r#"{"path":["old","tags"],"op":"add","members":["x","y"]}"#;
    bench.post(key, add, r#"{"changed":1}"#);
    bench.post(
        key,
        r#"{"path":["old","tags"],"op":"remove","members":["x"],"type":"set"}"#,
        r#"{"changed":1}"#,
    );
    bench.reads(key, "map", r#"{"old":{"tags":["y"]}}"#);
    bench.post(key, r#"{"path":["old","tags"],"op":"remove","members":["y"]}"#, r#"{"changed":1}"#);
    bench.reads(key, "map", r#"{"old":{"tags":[]}}"#);
    bench.post(key, r#"{"path":["n"],"op":"increment"}"#, r#"{"changed":1}"#);
    bench.post(key, r#"{"path":["old"],"op":"remove"}"#, r#"{"changed":1}"#);
    bench.reads(key, "map", r#"{"n":1}"#);
    bench.post(key, r#"{"path":[],"op":"remove"}"#, r#"{"changed":1}"#);
    bench.reads(key, "map", "{}");
    let seen = bench.get(key).context();
    bench.post(key, r#"{"path":["later"],"op":"set","value":1}"#, r#"{"changed":1}"#);
    let late = bench.with("POST", key, &[("meridian-context", &seen)], r#"{"path":["later"],"op":"remove"}"#);
    assert_eq!(late.text(), r#"{"changed":0}"#, "a context limits what a remove takes away");
    let whole =
        bench.with("POST", key, &[("prefer", "return=representation")], r#"{"path":["n"],"op":"increment"}"#);
    assert_eq!(whole.text(), r#"{"later":1,"n":1}"#);
    let minimal =
        bench.with("POST", key, &[("prefer", "return=minimal")], r#"{"path":["n"],"op":"increment"}"#);
    assert_eq!(minimal.status, 204);
    bench.reads(key, "map", r#"{"later":1,"n":2}"#);
    bench.done("DELETE", key, "");
    assert_eq!(bench.get(key).status, 404);
}

#[test]
fn what_does_not_fit_a_map_is_refused_and_changes_nothing() {
    let bench = Bench::new("map-misfit");
    let key = "/v1/kv/b/map";
    bench.post(key, r#"{"path":["n"],"op":"increment"}"#, r#"{"changed":1}"#);
    bench.with("PUT", "/v1/kv/b/register", &[], "{\"a\":1}");
    let deep = format!("[{}]", vec!["\"f\""; 33].join(","));
    let long = "f".repeat(4097);
    for (body, status, code) in [
        (r#"{"path":["n"],"op":"enable"}"#, 422, "wrong_type"),
        (r#"{"path":["n"],"op":"increment","type":"set"}"#, 422, "wrong_type"),
        (r#"{"path":["m"],"op":"increment","type":"flag"}"#, 422, "wrong_type"),
        (r#"{"path":["n","below"],"op":"increment"}"#, 422, "wrong_type"),
        (r#"{"op":"increment"}"#, 422, "wrong_type"),
        (r#"{"ops":[{"path":["n"],"op":"increment"},{"op":"increment"}]}"#, 422, "wrong_type"),
        (r#"{"ops":[{"path":["m"],"op":"increment"},{"path":["m"],"op":"enable"}]}"#, 422, "wrong_type"),
        (r#"{"path":["n"],"op":"increment","by":1.5}"#, 422, "not_an_integer"),
        (r#"{"path":["n"],"op":"increment","type":"mop"}"#, 400, "invalid_parameter"),
        (r#"{"path":["n"],"op":"increment","type":"list"}"#, 400, "not_available"),
        (r#"{"path":["n"],"op":"expire","ttl":"1s"}"#, 400, "not_available"),
        (r#"{"path":[],"op":"increment"}"#, 400, "body_invalid"),
        (r#"{"path":"n","op":"increment"}"#, 400, "body_invalid"),
        (r#"{"path":[""],"op":"increment"}"#, 400, "body_invalid"),
        (r#"{"path":["n"],"op":"remove","type":"set"}"#, 400, "body_invalid"),
        (r#"{"op":"increment","type":"counter"}"#, 400, "body_invalid"),
        (&format!(r#"{{"path":{deep},"op":"increment"}}"#), 400, "body_invalid"),
        (&format!(r#"{{"path":["{long}"],"op":"increment"}}"#), 400, "body_invalid"),
    ] {
        bench.refused("POST", key, body, (status, code));
    }
    bench.reads(key, "map", r#"{"n":1}"#);
    bench.refused("PUT", key, "v", (422, "wrong_type"));
    bench.refused(
        "POST",
        "/v1/kv/b/new?type=counter",
        r#"{"path":["n"],"op":"increment"}"#,
        (422, "wrong_type"),
    );
    bench.refused("POST", "/v1/kv/b/register", r#"{"path":["a"],"op":"increment"}"#, (422, "wrong_type"));
    bench.refused("GET", "/v1/kv/b/register?path=/a", "", (422, "wrong_type"));
    bench.reads("/v1/kv/b/register?path=", "register", "{\"a\":1}");
    let large = format!(r#"{{"path":["v"],"op":"set","value":"{}"}}"#, "v".repeat(1 << 20));
    bench.refused("POST", key, &large, (413, "value_too_large"));
    let one = r#"{"path":["n"],"op":"increment"}"#;
    let many = |count: usize| format!(r#"{{"ops":[{}]}}"#, vec![one; count].join(","));
    bench.refused("POST", key, &many(1001), (413, "too_many_operations"));
    bench.post(key, &many(1000), r#"{"changed":1}"#);
    bench.reads(key, "map", r#"{"n":1001}"#);
}

#[test]
fn a_set_is_asked_about_one_member() {
    let bench = Bench::new("contains");
    let key = "/v1/kv/b/set";
    bench.refused("GET", &format!("{key}?contains=opera"), "", (404, "key_not_found"));
    bench.post(key, r#"{"op":"add","members":["opera","a b"]}"#, r#"{"added":2,"removed":0}"#);
    let answer = bench.reads(&format!("{key}?contains=opera"), "set", "true");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    bench.reads(&format!("{key}?contains=a%20b"), "set", "true");
    bench.reads(&format!("{key}?contains=oper"), "set", "false");
    bench.refused("GET", &format!("{key}?contains="), "", (400, "invalid_parameter"));
    bench.refused("GET", &format!("{key}?contains=a&limit=1"), "", (400, "invalid_parameter"));
    bench.refused("PUT", &format!("{key}?contains=a"), "v", (400, "invalid_parameter"));
    bench.post("/v1/kv/b/n", r#"{"op":"increment"}"#, "1");
    bench.refused("GET", "/v1/kv/b/n?contains=opera", "", (422, "wrong_type"));
    bench.refused("GET", "/v1/kv/b/n?limit=1", "", (422, "wrong_type"));
}

/// All members, or names of fields, of a collection in pages, and how many pages.
fn pages(bench: &Bench, target: &str, list: &str) -> (Vec<String>, usize) {
    let (mut all, mut count) = (Vec::new(), 0);
    let mut next = String::new();
    loop {
        let answer = bench.get(&format!("{target}{next}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json();
        match &page[list] {
            Value::Array(members) => all.extend(members.iter().filter_map(Value::as_str).map(String::from)),
            Value::Object(fields) => all.extend(fields.keys().cloned()),
            other => panic!("{other}"),
        }
        count += 1;
        match page.get("next").and_then(Value::as_str) {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => return (all, count),
        }
    }
}

#[test]
fn a_large_set_is_read_in_pages() {
    let bench = Bench::new("pages");
    let key = "/v1/kv/b/set";
    for thousand in 0..10 {
        let members: Vec<String> = (0..1000).map(|n| format!("m{:05}", thousand * 1000 + n)).collect();
        let body = json!({"op": "add", "members": members}).to_string();
        bench.post(key, &body, r#"{"added":1000,"removed":0}"#);
    }
    assert_eq!(bench.get(key).status, 200, "10,000 are read at once");
    bench.post(key, r#"{"op":"add","members":["o1","o2","o3"]}"#, r#"{"added":3,"removed":0}"#);
    bench.refused("GET", key, "", (400, "page_required"));
    assert_eq!(bench.with("HEAD", key, &[], "").status, 400);
    let change = r#"{"op":"add","members":["o1"]}"#;
    let whole = bench.with("POST", key, &[("prefer", "return=representation")], change);
    assert_eq!(whole.text(), r#"{"added":0,"removed":0}"#, "it cannot be shown whole");

    let first = bench.get(&format!("{key}?member_prefix=m")).json();
    assert_eq!(first["members"].as_array().map(Vec::len), Some(100), "the usual limit");
    let (all, count) = pages(&bench, &format!("{key}?limit=1000"), "members");
    assert!(all.len() == 10_003 && count == 11 && all.is_sorted());
    let (some, count) = pages(&bench, &format!("{key}?limit=2&member_prefix=o"), "members");
    assert_eq!((some, count), (vec!["o1".to_string(), "o2".into(), "o3".into()], 2));
    bench.reads(&format!("{key}?limit=3&member_prefix=o"), "set", r#"{"members":["o1","o2","o3"]}"#);
    bench.reads(&format!("{key}?member_prefix=nothing"), "set", r#"{"members":[]}"#);

    let page = bench.get(&format!("{key}?limit=2&member_prefix=o")).json();
    let cursor = page["next"].as_str().expect("there is more").to_string();
    let context = bench.get(&format!("{key}?limit=1")).context();
    bench.post("/v1/kv/b/other", r#"{"op":"add","members":["o1"]}"#, r#"{"added":1,"removed":0}"#);
    for target in [
        format!("/v1/kv/b/other?member_prefix=o&cursor={cursor}"),
        format!("{key}?member_prefix=m&cursor={cursor}"),
        format!("{key}?cursor={cursor}"),
        format!("{key}?member_prefix=o&cursor={}", &cursor[1..]),
        format!("{key}?member_prefix=o&cursor={context}"),
        format!("{key}?member_prefix=o&cursor="),
    ] {
        bench.refused("GET", &target, "", (400, "bad_token"));
    }
    let as_context = bench.with("GET", key, &[("meridian-context", &cursor)], "");
    assert_eq!(as_context.field("code"), "bad_token");
    for limit in ["0", "1001", "x", "-1"] {
        bench.refused("GET", &format!("{key}?limit={limit}"), "", (400, "invalid_parameter"));
    }
    bench.refused("GET", "/v1/kv/b/none?limit=5", "", (404, "key_not_found"));
    let cleared = r#"{"added":0,"removed":10000,"more":true}"#;
    bench.post(key, r#"{"op":"clear"}"#, cleared);
    // It is swept away in portions, and reads are right meanwhile.
    bench.reads(key, "set", "[]");
    bench.post(key, r#"{"op":"add","members":["new"]}"#, r#"{"added":1,"removed":0}"#);
    bench.reads(key, "set", r#"["new"]"#);
}

#[test]
fn a_map_is_read_in_pages() {
    let bench = Bench::new("map-pages");
    let key = "/v1/kv/b/map";
    let ops: Vec<Value> =
        (0..25).map(|n| json!({"path": ["all", format!("f{n:02}")], "op": "increment"})).collect();
    bench.post(key, &json!({"ops": ops}).to_string(), r#"{"changed":25}"#);
    bench.post(key, r#"{"path":["all","tags"],"op":"add","members":["a","b","c"]}"#, r#"{"changed":1}"#);
    let (names, count) = pages(&bench, &format!("{key}?path=/all&limit=10"), "fields");
    assert_eq!((names.len(), count), (26, 3));
    let first = bench.reads(
        &format!("{key}?path=/all&limit=1&member_prefix=t"),
        "map",
        r#"{"fields":{"tags":["a","b","c"]}}"#,
    );
    assert_eq!(first.header("content-type"), Some("application/json"));
    bench.refused("GET", &format!("{key}?limit=1&path=/all/f03"), "", (422, "wrong_type"));
    bench.refused("GET", &format!("{key}?limit=1&path=/none"), "", (404, "field_not_found"));
    let page = bench.get(&format!("{key}?path=/all&limit=10")).json();
    let cursor = page["next"].as_str().expect("there is more");
    bench.refused("GET", &format!("{key}?cursor={cursor}"), "", (400, "bad_token"));
    let (names, count) = pages(&bench, &format!("{key}?limit=1"), "fields");
    assert_eq!((names, count), (vec!["all".to_string()], 1));
}

#[test]
fn a_page_of_large_fields_ends_early() {
    let bench = Bench::new("map-bytes");
    let key = "/v1/kv/b/map";
    let large = "v".repeat(700 << 10);
    for n in 0..5 {
        let body = json!({"path": [format!("f{n}")], "op": "set", "value": large}).to_string();
        bench.post(key, &body, r#"{"changed":1}"#);
    }
    let (names, count) = pages(&bench, &format!("{key}?limit=1000"), "fields");
    assert_eq!((names.len(), count), (5, 3), "a page ends behind 1 MiB");
    assert_eq!(bench.get(key).status, 200);
    for n in 5..95 {
        let body = json!({"path": [format!("f{n}")], "op": "set", "value": large}).to_string();
        bench.post(key, &body, r#"{"changed":1}"#);
    }
    bench.refused("GET", key, "", (400, "page_required"));
    assert_eq!(
        bench.get(&format!("{key}?limit=1000")).json()["fields"].as_object().map(|page| page.len()),
        Some(2)
    );
}

#[test]
fn a_tag_says_what_is_shown() {
    let bench = Bench::new("etag");
    let tag_of = |answer: &Answer| answer.header("etag").expect("it has a tag").to_string();
    for (key, typed) in [("/v1/kv/b/register", ""), ("/v1/kv/b/multi", "?type=multi")] {
        bench.with("PUT", &format!("{key}{typed}"), &[], "v");
        let first = bench.get(key);
        let tag = tag_of(&first);
        assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "a strong tag: {tag}");
        assert_eq!(tag_of(&bench.get(key)), tag);
        assert_eq!(tag_of(&bench.with("HEAD", key, &[], "")), tag);
        for given in [&tag, &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
            for method in ["GET", "HEAD"] {
                let answer = bench.with(method, key, &[("if-none-match", given)], "");
                assert_eq!((answer.status, answer.body.len()), (304, 0), "{method} {given}");
                assert_eq!(tag_of(&answer), tag);
                assert_eq!(answer.header("meridian-type"), first.header("meridian-type"));
                assert_eq!(answer.header("meridian-served-by"), Some("n1;local"));
                assert_eq!(answer.header("meridian-consistency"), Some("local"));
            }
        }
        let known = bench.with("GET", key, &[("if-none-match", &tag)], "");
        let again = bench.with("PUT", key, &[("meridian-context", &known.context())], "v");
        assert_eq!(again.status, 204, "its context is as good as that of a 200");
        assert_ne!(tag_of(&bench.get(key)), tag, "the same value of another write");
        let other = bench.with("GET", key, &[("if-none-match", &tag)], "");
        assert_eq!((other.status, other.text().as_str()), (200, "v"));
        for header in ["if-match", "if-none-match"] {
            for method in ["PUT", "POST", "DELETE"] {
                let refused = bench.with(method, key, &[(header, &tag)], "v");
                assert_eq!(refused.field("code"), "condition_needs_strong", "{method} {header}");
            }
        }
        let refused = bench.with("GET", key, &[("if-match", &tag)], "");
        assert_eq!(refused.field("code"), "not_available");
        bench.done("DELETE", key, "");
        assert_eq!(bench.with("GET", key, &[("if-none-match", "*")], "").status, 404);
    }
    bench.post("/v1/kv/b/n", r#"{"op":"increment"}"#, "1");
    let untagged = bench.with("GET", "/v1/kv/b/n", &[("if-none-match", "\"x\"")], "");
    assert_eq!((untagged.status, untagged.header("etag")), (200, None));
}

#[test]
fn what_nodes_write_apart_is_kept_and_named() {
    let scratch = Scratch::new("types-cluster");
    let cluster = Cluster::start(scratch.path(), 3).expect("it starts");
    let (map, multi, key) = ("/v1/kv/b/map", "/v1/kv/b/multi", "/v1/kv/b/key");
    let ask = |index: usize, method: &str, target: &str, body: &str| {
        cluster.nodes[index].request(method, target, &[], body.as_bytes()).expect("it answers")
    };
    let write = |index, method: &str, target: &str, body: &str| {
        cluster.request(index, method, target, body).expect("it is written");
    };
    write(0, "POST", map, r#"{"path":["before"],"op":"enable"}"#);
    cluster.wait_converged(PATIENCE).expect("they agree");
    cluster.cut_off(0).expect("it is cut off");
    cluster.wait_alone(0, PATIENCE).expect("it is alone");
    for (index, op, city) in
        [(0, r#"{"path":["v"],"op":"increment"}"#, "a"), (1, r#"{"path":["v"],"op":"enable"}"#, "b")]
    {
        write(index, "POST", map, op);
        write(index, "PUT", &format!("{multi}?type=multi"), city);
    }
    write(0, "POST", map, r#"{"path":["v"],"op":"reset"}"#);
    write(0, "PUT", key, "v");
    write(1, "POST", key, r#"{"op":"add","members":["m"]}"#);
    cluster.heal(0).expect("it is healed");
    cluster.wait_converged(PATIENCE).expect("they agree");

    let mut tags = Vec::new();
    for index in 0..3 {
        let field = ask(index, "GET", &format!("{map}?path=/v"), "");
        assert_eq!((field.text().as_str(), field.header("meridian-type")), ("0", Some("counter")));
        assert_eq!(field.header("meridian-hidden"), Some("flag"));
        let hidden = ask(index, "GET", &format!("{map}?path=/v&type=flag"), "");
        assert_eq!((hidden.text().as_str(), hidden.header("meridian-hidden")), ("true", Some("counter")));
        assert_eq!(ask(index, "GET", map, "").text(), r#"{"before":true,"v":0}"#);
        assert_eq!(ask(index, "GET", &format!("{map}?path=/before"), "").header("meridian-hidden"), None);

        let siblings = ask(index, "GET", multi, "");
        assert_eq!(siblings.header("meridian-siblings"), Some("2"));
        assert_eq!(siblings.json().as_array().map(Vec::len), Some(2));
        tags.push((siblings.header("etag").map(String::from), siblings.text()));

        for method in ["GET", "PUT"] {
            let conflict = ask(index, method, key, "w");
            assert_eq!((conflict.status, conflict.field("code")), (409, "type_conflict".into()));
            assert_eq!(conflict.json()["types"], json!(["register", "set"]));
        }
        assert_eq!(ask(index, "GET", &format!("{key}?type=register"), "").text(), "v");
        assert_eq!(ask(index, "GET", &format!("{key}?type=set"), "").text(), r#"["m"]"#);
    }
    assert!(tags[0].0.is_some() && tags.iter().all(|tag| *tag == tags[0]), "{tags:?}");
    write(0, "DELETE", key, "");
    assert_eq!(ask(0, "GET", key, "").status, 404);
}

#[test]
fn the_examples_of_the_page_are_true() {
    let bench = Bench::new("examples");
    bench.post("/v1/kv/users/42/on", r#"{"op":"enable"}"#, "true");
    bench.post("/v1/kv/stats/high", r#"{"op":"observe","value":17}"#, "17");
    bench.post("/v1/kv/users/43", r#"{"path":["visits"],"op":"increment"}"#, r#"{"changed":1}"#);
    let key = "/v1/kv/users/44";
    let several = r#"{"ops":[{"path":["address","city"],"op":"set","value":"London"},
        {"path":["visits"],"op":"increment"}, {"path":["tags"],"op":"add","members":["opera"]},
        {"path":["low"],"op":"observe","value":3,"type":"min"}]}"#;
    bench.post(key, several, r#"{"changed":4}"#);
    bench.reads(key, "map", r#"{"address":{"city":"London"},"low":3,"tags":["opera"],"visits":1}"#);
    bench.reads(&format!("{key}?path=/address/city"), "register", r#""London""#);
    bench.post(key, r#"{"path":["tags"],"op":"remove","members":["opera"]}"#, r#"{"changed":1}"#);
    bench.post(key, r#"{"path":["address"],"op":"remove"}"#, r#"{"changed":1}"#);
    bench.reads(key, "map", r#"{"low":3,"tags":[],"visits":1}"#);

    let doc = "/v1/kv/docs/1";
    bench.done("PUT", &format!("{doc}?type=multi"), "draft");
    let seen = bench.reads(doc, "multi", "draft").context();
    bench.refused("PUT", doc, "final", (428, "context_required"));
    for value in ["final", "other"] {
        assert_eq!(bench.with("PUT", doc, &[("meridian-context", &seen)], value).status, 204);
    }
    let both = bench.reads(doc, "multi", r#"["final","other"]"#);
    assert_eq!(both.header("meridian-siblings"), Some("2"));
    bench.done("PUT", &format!("{doc}?overwrite=true"), "merged");

    let tags = "/v1/kv/users/42/tags";
    bench.post(tags, r#"{"op":"add","members":["opera","jazz"]}"#, r#"{"added":2,"removed":0}"#);
    bench.reads(&format!("{tags}?contains=opera"), "set", "true");
    bench.reads(&format!("{tags}?member_prefix=o&limit=100"), "set", r#"{"members":["opera"]}"#);
    let first = bench.get(&format!("{key}?limit=1")).json();
    assert_eq!(first["fields"], json!({"low": 3}));
    let cursor = first["next"].as_str().expect("there is more");
    let second = bench.get(&format!("{key}?limit=1&cursor={cursor}")).json();
    assert_eq!((&second["fields"], second["next"].is_string()), (&json!({"tags": []}), true));
}
