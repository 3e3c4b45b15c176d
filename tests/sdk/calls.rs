//! Every call does what it says.

use meridian_client::{
    Changed, Client, Code, Context, Error, Method, Outcome, Policy, Request, Sibling, Value,
};
use meridian_tests::process::{NodeProcess, Scratch};
use serde_json::json;
use std::collections::BTreeMap;

fn node(name: &str) -> (Scratch, NodeProcess, Client) {
    let scratch = Scratch::new(name);
    let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    let client = Client::connect([format!("http://{}", node.address())]).expect("an endpoint");
    (scratch, node, client)
}

fn text(value: Option<Value>) -> Option<String> {
    value.map(|value| value.text().expect("it is text").to_owned())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, code: Code) {
    let error = result.expect_err("it is refused");
    assert_eq!((error.code(), error.outcome()), (Some(code), Outcome::NotApplied), "{error}");
}

#[tokio::test]
async fn a_register_holds_what_was_put() {
    let (_scratch, _node, client) = node("sdk-register");
    let users = client.bucket("users");
    let name = users.register("42");
    assert_eq!(name.get().await.expect("a read"), None);
    name.put("Ada").await.expect("a put");
    let seen = name.read().await.expect("a read").expect("it is there");
    assert_eq!(seen.value, Value::new("text/plain; charset=utf-8", "Ada"));
    // What others put since stays.
    name.put("Ada Lovelace").await.expect("a put");
    name.delete().seen(&seen.context).await.expect("a delete");
    assert_eq!(text(name.get().await.expect("a read")), Some("Ada Lovelace".into()));
    name.delete().await.expect("a delete");
    assert_eq!(name.get().await.expect("a read"), None);

    name.put_json(&json!({"n": [1, 2]})).expect("JSON").await.expect("a put");
    let read: Option<BTreeMap<String, Vec<i8>>> = name.get_json().await.expect("a read");
    assert_eq!(read, Some(BTreeMap::from([("n".into(), vec![1, 2])])));
    let picture = Value::new("image/png", b"\xff\xfe".to_vec());
    name.put(picture.clone()).await.expect("a put");
    assert_eq!(name.get().await.expect("a read"), Some(picture));
    assert!(name.get_json::<u64>().await.expect_err("no JSON").to_string().contains("does not fit"));

    // Keys of any bytes, and names that a path would swallow.
    for key in [&b"../."[..], b"a b?c#d%2F", b"\xff", "ü/ä".as_bytes(), b"//"] {
        users.register(key).put(key).await.expect("a put");
        assert_eq!(users.register(key).get().await.expect("a read").expect("it is there").bytes, key);
    }
    refused(users.register("").put("x").await, Code::KeyEmpty);
    refused(client.bucket("_own").register("k").put("x").await, Code::BucketInvalid);
    refused(users.register(vec![b'k'; 5000]).get().await, Code::KeyTooLong);
}

#[tokio::test]
async fn counters_sets_flags_and_extremes_change_as_they_say() {
    let (_scratch, _node, client) = node("sdk-types");
    let bucket = client.bucket("b");
    let counter = bucket.counter("counter");
    assert_eq!((counter.get().await.expect("a read"), counter.reset().await.expect("a reset")), (None, 0));
    assert_eq!(counter.increment(5).await.expect("a write"), 5);
    assert_eq!(counter.increment(-7).await.expect("a write"), -2);
    let seen = counter.read().await.expect("a read").expect("it is there");
    counter.increment(10).await.expect("a write");
    assert_eq!(counter.reset().seen(&seen.context).await.expect("a reset"), 10);
    refused(counter.increment(i64::MAX).await, Code::NotAnInteger);

    let set = bucket.set("set");
    let changed = |changed: Changed| (changed.added, changed.removed);
    assert!(!set.contains("a").await.expect("a read"));
    assert_eq!(changed(set.add(["a", "b"]).await.expect("a write")), (2, 0));
    let seen = set.read().await.expect("a read").expect("it is there");
    assert!(seen.value.contains("a") && set.contains("b").await.expect("a read"));
    set.add(["c"]).await.expect("a write");
    assert_eq!(changed(set.remove(["a", "x"]).await.expect("a write")), (0, 1));
    assert_eq!(changed(set.clear().seen(&seen.context).await.expect("a write")), (0, 1));
    assert_eq!(set.get().await.expect("a read"), Some(["c".to_owned()].into()));
    refused(set.add((0..1001).map(|n| n.to_string())).await, Code::TooManyOperations);

    let flag = bucket.flag("flag");
    assert!(!flag.disable().await.expect("a write") && flag.get().await.expect("a read").is_none());
    assert!(flag.enable().await.expect("a write"));
    let seen = flag.read().await.expect("a read").expect("it is there");
    flag.enable().await.expect("a write");
    assert!(flag.disable().seen(&seen.context).await.expect("a write"), "the second enable was not seen");
    assert!(!flag.disable().await.expect("a write"));
    assert_eq!(flag.get().await.expect("a read"), Some(false));

    let (max, min) = (bucket.max("max"), bucket.min("min"));
    for value in [3, 9, -4] {
        max.observe(value).await.expect("a write");
        min.observe(value).await.expect("a write");
    }
    assert_eq!((max.observe(1).await.expect("a write"), min.observe(1).await.expect("a write")), (9, -4));
    assert_eq!((max.get().await.expect("a read"), min.get().await.expect("a read")), (Some(9), Some(-4)));

    // A handle speaks of its type alone.
    refused(bucket.counter("set").increment(1).await, Code::WrongType);
    refused(bucket.min("max").get().await, Code::WrongType);
    refused(bucket.counter("set").delete().await, Code::WrongType);
    let (kind, value) = bucket.key("max").read().await.expect("a read").expect("it is there").value;
    assert_eq!((kind.as_str(), &value.bytes[..]), ("max", &b"9"[..]));
    bucket.key("max").delete().await.expect("a delete");
    assert_eq!(max.get().await.expect("a read"), None);
}

#[tokio::test]
async fn several_values_stand_side_by_side_until_they_are_merged() {
    let (_scratch, _node, client) = node("sdk-multi");
    let draft = client.bucket("docs").multi("1");
    draft.put("a").await.expect("the first");
    refused(draft.put("b").await, Code::ContextRequired);
    let seen = draft.read().await.expect("a read").expect("it is there");
    draft.put("b").seen(&seen.context).await.expect("a put");
    draft.put(Value::json(&[1]).expect("JSON")).seen(&seen.context).await.expect("a put");
    let siblings = draft.get().await.expect("a read").expect("it is there");
    assert_eq!(siblings, [Sibling::Text("b".into()), Sibling::Json(json!([1]))]);
    // A context may be kept as a text.
    let kept = Context::from(seen.context.as_str().to_owned());
    draft.put("c").seen(&kept).await.expect("a put");
    let mut merged = 0;
    draft
        .update(|siblings| {
            merged = siblings.len();
            "merged"
        })
        .await
        .expect("an update");
    assert_eq!((merged, draft.get().await.expect("a read")), (3, Some(vec![Sibling::Text("merged".into())])));
    draft.overwrite("over").await.expect("a put");
    draft.delete().await.expect("a delete");
    draft.update(|siblings| format!("new after {}", siblings.len())).await.expect("an update");
    assert_eq!(draft.get().await.expect("a read"), Some(vec![Sibling::Text("new after 0".into())]));
    // What no serde_json::Value holds is shown all the same, and what is shown can be put again.
    let odd = client.bucket("docs").multi("2");
    odd.put(Value::new("application/json", "1e999")).await.expect("a put");
    let seen = odd.read().await.expect("a read").expect("it is there");
    assert_eq!(seen.value, [Sibling::Text("1e999".into())]);
    odd.put(Value::from(json!({"base64": "/w=="}))).seen(&seen.context).await.expect("a put");
    assert_eq!(odd.get().await.expect("a read"), Some(vec![Sibling::Json(json!({"base64": "/w=="}))]));
    odd.put(Value::new("application/json", "1e999")).seen(&seen.context).await.expect("a put");
    let both = [Sibling::Bytes(b"\xff"[..].into()), Sibling::Text("1e999".into())];
    assert_eq!(odd.get().await.expect("a read"), Some(both.to_vec()));
    odd.update(|siblings| siblings[0].clone()).await.expect("an update");
    assert_eq!(odd.get().await.expect("a read"), Some(vec![Sibling::Bytes(b"\xff"[..].into())]));
    let forged = Context::from("bm9uZQ".to_owned());
    refused(draft.put("x").seen(&forged).await, Code::BadToken);
}

#[tokio::test]
async fn fields_of_a_map_change_together() {
    let (_scratch, _node, client) = node("sdk-map");
    let ada = client.bucket("users").map("43");
    let change = ada
        .change()
        .set(["address", "city"], &"London")
        .set("born", &1815)
        .increment("visits", 2)
        .add("tags", ["opera", "jazz"])
        .enable("on")
        .observe_max("high", 7)
        .observe_min("low", 7)
        .set_multi("draft", &"a/b~c")
        .set("a/b~c", &true);
    assert_eq!(change.await.expect("a write").changed, 9);
    let expected = json!({"a/b~c": true, "address": {"city": "London"}, "born": 1815, "draft": "a/b~c", "high": 7, "low": 7,
                          "on": true, "tags": ["jazz", "opera"], "visits": 2});
    let seen = ada.read().await.expect("a read").expect("it is there");
    assert_eq!(seen.value, expected);
    assert_eq!(ada.get_field::<bool>("a/b~c").await.expect("a read"), Some(true));
    assert_eq!(ada.get_field(["address", "city"]).await.expect("a read"), Some("London".to_owned()));
    assert_eq!(ada.get_field::<u8>("nowhere").await.expect("a read"), None);
    ada.change().increment("visits", 1).await.expect("a write");
    let change = ada.change().reset("visits").disable("on").remove("address").clear("tags").remove("draft");
    change.seen(&seen.context).await.expect("a write");
    ada.change().add("tags", ["new", "old"]).remove_members("tags", ["old"]).await.expect("a write");
    #[derive(serde::Deserialize, PartialEq, Debug)]
    struct User {
        visits: i128,
        on: bool,
        tags: Vec<String>,
    }
    let user: Option<User> = ada.get_as().await.expect("a read");
    // A field's counter to which its node has added since is left whole: docs/consistency.md.
    assert_eq!(user, Some(User { visits: 3, on: false, tags: vec!["new".into()] }));
    ada.change().reset("visits").await.expect("a write");
    assert_eq!(ada.get_field("visits").await.expect("a read"), Some(0));
    refused(ada.change().increment("tags", 1).await, Code::WrongType);
    refused(ada.change().set(Vec::new(), &1).await, Code::BodyInvalid);
    // A register is set, and never a multi, which a second time would give a sibling.
    ada.change().set_multi("draft", &1).await.expect("a write");
    refused(ada.change().set("draft", &2).await, Code::WrongType);
    ada.delete().await.expect("a delete");
    assert_eq!(ada.get().await.expect("a read"), None);
}

#[tokio::test]
async fn keys_and_members_are_listed_in_order_in_pages() {
    let (_scratch, _node, client) = node("sdk-list");
    let bucket = client.bucket("b");
    assert!(bucket.keys().next().await.expect("a read").is_none());
    let puts = (0..250).map(|n| bucket.register(format!("k/{n:03}")).put("v"));
    for put in client.all(puts).await {
        put.expect("a put");
    }
    bucket.counter(&b"\xff"[..]).increment(3).await.expect("a write");
    let mut keys = bucket.keys().prefix("k/").start("k/010").end("k/240").reverse().page_size(7);
    for n in (10..240).rev() {
        assert_eq!(keys.next().await.expect("a read").expect("more").name(), format!("k/{n:03}"));
    }
    assert!(keys.next().await.expect("a read").is_none() && keys.next().await.expect("a read").is_none());
    let page = bucket.keys().delimiter("/").with_values().next_page().await.expect("a read").expect("a page");
    assert_eq!((page.prefixes, page.keys.len()), (vec![b"k/".to_vec()], 1));
    let entry = &page.keys[0];
    assert_eq!((&entry.key[..], &entry.kind[..], &entry.value), (&b"\xff"[..], "counter", &Some(json!(3))));
    let mut odd = bucket.keys().prefix(b"\xff");
    assert_eq!(odd.next().await.expect("a read").expect("it is there").key, b"\xff");
    refused(bucket.keys().page_size(0).next().await, Code::InvalidParameter);

    let set = bucket.set("set");
    refused(set.members("").next().await, Code::KeyNotFound);
    for thousand in 0..3 {
        set.add((0..1000).map(|n| format!("{thousand}{n:03}"))).await.expect("a write");
    }
    let (mut members, mut count) = (set.members("1"), 0);
    while let Some(member) = members.next().await.expect("a read") {
        assert_eq!(member, format!("1{count:03}"));
        count += 1;
    }
    assert_eq!(count, 1000);
}

#[tokio::test]
async fn a_bucket_has_a_policy_and_a_node_speaks_of_its_cluster() {
    let (_scratch, node, client) = node("sdk-cluster");
    let docs = client.bucket("docs");
    assert_eq!(docs.policy().await.expect("a read"), None);
    let policy = Policy { defaults: BTreeMap::from([("put".into(), "multi".into())]), ..Policy::default() };
    docs.declare(&policy).await.expect("a write");
    assert_eq!(docs.policy().await.expect("a read"), Some(policy));
    docs.forget_policy().await.expect("a write");
    assert_eq!(docs.policy().await.expect("a read"), None);

    let cluster = client.cluster().await.expect("a read");
    assert_eq!((cluster.members.len(), cluster.members[0].state.as_str()), (1, "self"));
    assert!(client.convergence().await.expect("a read").converged);
    docs.register("1").put("x").await.expect("a put");
    let inspected = docs.key("1").inspect().await.expect("a read");
    assert_eq!(inspected["replicas"][0]["head"][0]["value"], "x");
    let metrics = client.send(Request::new(Method::GET, "/metrics")).await.expect("a read");
    assert!(metrics.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    assert_eq!(metrics.endpoint.to_string(), format!("http://{}", node.address()));
}
