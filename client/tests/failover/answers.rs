//! Answers that are not what was asked for, and requests that are none.

use crate::node::{Does, NUMBER, Node};
use crate::{count, ends, hasty, increment, of};
use meridian_client::{Client, Kind, Method, Outcome, Request};
#[tokio::test]
async fn an_answer_that_breaks_off_has_said_that_it_was_applied() {
    let (first, second) = (Node::start(&[Does::AnswersHalf]).await, Node::start(&[NUMBER]).await);
    let error = increment(&of(hasty(), &[&first, &second])).await.expect_err("the number is lost");
    ends(&error, Outcome::Applied, 1);
    let read = count(&of(hasty(), &[&first, &second])).await;
    assert_eq!(read.expect("a read is repeated"), Some(7));
    let no_number = of(hasty(), &[&Node::start(&[Does::Answers(200, "<html>")]).await]);
    ends(&increment(&no_number).await.expect_err("no number"), Outcome::Applied, 0);
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
