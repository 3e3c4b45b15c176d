//! Answers that are not what was asked for, and requests that are none.

use crate::node::{Does, NUMBER, Node};
use crate::{count, ends, hasty, increment, of};
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
async fn what_makes_no_request_is_not_sent() {
    let node = Node::start(&[NUMBER]).await;
    let client = of(hasty(), &[&node]);
    let type_of_two_lines = meridian_client::Value::new("text\nplain", "x");
    for error in [
        client.bucket("b").register("k").put(type_of_two_lines).await.expect_err("no header"),
        client.send(Request::new(Method::GET, "/a b")).await.expect_err("no address"),
    ] {
        assert!(matches!(error.kind(), Kind::Invalid(_)), "{error}");
        assert_eq!((error.outcome(), node.asked().len()), (Outcome::NotApplied, 0));
    }
    for endpoints in [vec![], vec!["localhost:7480"], vec!["http://a:1", "https://b:1"]] {
        assert!(matches!(Client::connect(endpoints).expect_err("no endpoints").kind(), Kind::Invalid(_)));
    }
}
