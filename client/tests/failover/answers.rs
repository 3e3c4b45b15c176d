//! Answers that are not what was asked for, and requests that are none.

use crate::node::{Does, NUMBER, Node};
use crate::{count, ends, hasty, increment, is_well, of};
use meridian_client::{Client, Error, Kind, Method, Outcome, Request};
use serde_json::json;

async fn node(bodies: &[&'static str]) -> (Node, Client) {
    let does: Vec<Does> = bodies.iter().map(|body| Does::Answers(200, body)).collect();
    let node = Node::start(&does).await;
    let client = of(hasty(), &[&node]);
    (node, client)
}

#[track_caller]
fn strange<T: std::fmt::Debug>(result: Result<T, Error>, outcome: Outcome) -> Error {
    let error = result.expect_err("it is not understood");
    assert!(matches!(error.kind(), Kind::Strange(_)) && error.outcome() == outcome, "{error}");
    error
}

#[tokio::test]
async fn an_answer_that_breaks_off_has_said_that_it_was_applied() {
    let (first, second) = (Node::start(&[Does::AnswersHalf]).await, Node::start(&[NUMBER]).await);
    let error = increment(&of(hasty(), &[&first, &second])).await.expect_err("the number is lost");
    ends(&error, Outcome::Applied, 1);
    let read = count(&of(hasty(), &[&first, &second])).await;
    assert_eq!(read.expect("a read is repeated"), Some(7));
    let error = strange(increment(&node(&["<html>"]).await.1).await, Outcome::Applied);
    assert!(error.to_string().contains("is this a Meridian node?"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_too_long_says_so_and_nothing_against_its_node() {
    let (first, second) = (Node::start(&[Does::Answers(200, "1234567")]).await, Node::start(&[NUMBER]).await);
    let client = of(hasty().answer_bytes_max(6), &[&first, &second]);
    let error = strange(count(&client).await, Outcome::NotApplied);
    assert!(
        error.to_string().contains("more than 6 bytes") && !error.to_string().contains("Meridian node"),
        "{error}"
    );
    strange(increment(&client).await, Outcome::Applied);
    assert!(is_well(&client, 0) && second.asked().is_empty());
    let client = of(hasty().answer_bytes_max(7), &[&first, &second]);
    assert_eq!(count(&client).await.expect("it fits"), Some(1_234_567));
}

#[tokio::test]
async fn what_does_not_fit_the_users_type_says_so() {
    let (_node, client) = node(&[r#"{"a":"b"}"#]).await;
    let bucket = client.bucket("b");
    let value = bucket.register("k").get().await.expect("a read").expect("it is there");
    for error in [
        bucket.register("k").get_json::<u8>().await.expect_err("no number"),
        bucket.map("k").get_as::<u8>().await.expect_err("no number"),
        bucket.map("k").get_field::<u8>("a").await.expect_err("no number"),
        value.parse::<u8>().expect_err("no number"),
    ] {
        assert!(matches!(error.kind(), Kind::Misfit(_)), "{error}");
        assert!(
            error.to_string().contains("does not fit") && !error.to_string().contains("Meridian node"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_a_write_changed_must_be_said() {
    let (_node, client) = node(&["{}", r#"{"removed":2,"more":true}"#]).await;
    let set = client.bucket("b").set("k");
    strange(set.clear().await, Outcome::Applied);
    let changed = set.clear().await.expect("it says so");
    assert_eq!((changed.added, changed.removed, changed.more), (0, 2, true));
}

#[tokio::test]
async fn what_a_newer_policy_says_is_kept() {
    let declared = r#"{"bucket":"docs","declared":true,"defaults":{"put":"multi"},"ttl":{"days":5}}"#;
    let listed = r#"{"buckets":[{"bucket":"docs","defaults":{"put":"multi"},"ttl":{"days":5}}]}"#;
    let (_node, client) = node(&[declared, listed]).await;
    let policy = client.bucket("docs").policy().await.expect("a read").expect("it is declared");
    assert_eq!(
        serde_json::to_value(&policy).ok(),
        Some(json!({"defaults": {"put": "multi"}, "ttl": {"days": 5}}))
    );
    let page = client.policies().next_page().await.expect("a read");
    assert_eq!(page, Some(vec![("docs".into(), policy)]));
}

#[tokio::test]
async fn a_page_that_is_not_understood_is_not_passed_over() {
    let (node, client) = node(&[
        r#"{"keys":[{"key64":"no base64url!","type":"set"}],"next":"c"}"#,
        r#"{"keys":[{"key":"a","type":"set"}]}"#,
    ])
    .await;
    let mut keys = client.bucket("b").keys();
    strange(keys.next().await, Outcome::NotApplied);
    assert_eq!(keys.next().await.expect("a read").expect("the same page").name(), "a");
    assert_eq!(node.asked(), ["GET /v1/kv/b", "GET /v1/kv/b"]);
}

#[tokio::test]
async fn a_listed_value_is_null_or_not_there_and_one_that_cannot_be_held_spoils_no_page() {
    let (_node, client) =
        node(&[r#"{"keys":[{"key":"a","type":"register","value":null},{"key":"b","type":"register"},
        {"key":"c","type":"register","value":1e999},{"key":"d","type":"register","value":1}]}"#])
        .await;
    let page = client.bucket("b").keys().with_values().next_page().await.expect("a read").expect("a page");
    let values: Vec<_> = page.keys.into_iter().map(|entry| entry.value).collect();
    assert_eq!(values, [Some(json!(null)), None, None, Some(json!(1))]);
}

#[tokio::test]
async fn a_page_that_was_begun_is_read_to_its_end() {
    let keys = r#"{"keys":[{"key":"a","type":"set"},{"key":"b","type":"set"}],"next":"c"}"#;
    let (_node, client) = node(&[keys, r#"{"keys":[]}"#, r#"{"members":["a","b"],"next":"c"}"#]).await;
    let mut keys = client.bucket("b").keys();
    assert_eq!(keys.next().await.expect("a read").expect("a key").name(), "a");
    assert!(matches!(keys.next_page_as_given().await.expect_err("it is begun").kind(), Kind::Invalid(_)));
    let page = keys.next_page().await.expect("a read").expect("the rest");
    assert_eq!(page.keys.iter().map(|entry| entry.name()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(keys.next_page().await.expect("a read").expect("the next").keys, []);
    let mut members = client.bucket("b").set("k").members("");
    assert_eq!(members.next().await.expect("a read").as_deref(), Some("a"));
    assert_eq!(members.next_page().await.expect("a read"), Some(vec!["b".into()]));
}

#[tokio::test]
async fn prefixes_come_in_order_and_what_is_said_again_holds() {
    // /// is 0xff 0xff 0xff, and AA is 0x00.
    let given = r#"{"keys":[],"prefixes":["a/","b/"],"prefixes64":["AA","____"]}"#;
    let (node, client) = node(&[given]).await;
    let mut expected = vec![b"\0".to_vec(), b"a/".to_vec(), b"b/".to_vec(), b"\xff\xff\xff".to_vec()];
    let keys = || client.bucket("b").keys().delimiter("-").delimiter("/");
    let mut forwards = keys().prefix("x").prefix(b"\xff").prefix("y").page_size(3).page_size(4);
    assert_eq!(forwards.next_page().await.expect("a read").expect("a page").prefixes, expected);
    expected.reverse();
    let mut backwards = keys().reverse().reverse().prefix("x").prefix(b"\xff");
    assert_eq!(backwards.next_page().await.expect("a read").expect("a page").prefixes, expected);
    assert_eq!(
        node.asked(),
        [
            "GET /v1/kv/b?delimiter=%2F&prefix=y&limit=4",
            "GET /v1/kv/b?delimiter=%2F&reverse=true&prefix64=_w"
        ]
    );
}

#[tokio::test]
async fn what_makes_no_request_is_not_sent() {
    let node = Node::start(&[NUMBER]).await;
    let client = of(hasty(), &[&node]);
    let type_of_two_lines = meridian_client::Value::new("text\nplain", "x");
    for error in [
        client.bucket("b").register("k").put(type_of_two_lines).await.expect_err("no header"),
        client.send(Request::new(Method::GET, "/a b")).await.expect_err("no address"),
        client
            .send(Request::new(Method::DELETE, "/v1/kv/b/a#b"))
            .await
            .expect_err("it would delete another key"),
    ] {
        assert!(matches!(error.kind(), Kind::Invalid(_)), "{error}");
        assert_eq!((error.outcome(), node.asked().len()), (Outcome::NotApplied, 0));
    }
    for endpoints in [vec![], vec!["localhost:7480"], vec!["http://a:1", "https://b:1"]] {
        assert!(matches!(Client::connect(endpoints).expect_err("no endpoints").kind(), Kind::Invalid(_)));
    }
}
