//! What is sent again, and to whom.

use crate::node::{Does, MISFIT, NOT_READY, NUMBER, Node};
use crate::{count, ends, hasty, increment, of, put, short};
use meridian_client::{Code, Context, Kind, Outcome};
use std::time::{Duration, Instant};

#[tokio::test]
async fn what_may_have_been_applied_is_sent_again_only_if_it_may_be() {
    let (first, second) = (Node::start(&[Does::Ends]).await, Node::start(&[NUMBER]).await);
    let error = increment(&of(hasty(), &[&first, &second])).await.expect_err("nobody knows");
    ends(&error, Outcome::Unknown, 1);
    assert_eq!((error.kind(), second.asked().len()), (&Kind::Unanswered, 0));
    assert!(error.to_string().contains("read before you send it again"), "{error}");

    put(&of(hasty(), &[&first, &second])).await.expect("the second does it");
    assert_eq!(second.asked(), ["PUT /v1/kv/users/42?type=register"]);

    let careful = of(hasty().repeat_writes(false), &[&first, &second]);
    ends(&put(&careful).await.expect_err("nobody knows"), Outcome::Unknown, 1);
    let careful = of(hasty().repeat_writes(false), &[&first, &second]);
    assert_eq!(count(&careful).await.expect("a read is repeated"), Some(7));
}

#[tokio::test]
async fn what_puts_into_a_multi_is_not_sent_again_and_a_register_is_also_with_a_context() {
    let (first, second) = (Node::start(&[Does::Ends]).await, Node::start(&[NUMBER]).await);
    let client = || of(hasty(), &[&first, &second]);
    // Each with a client of its own, which does not know yet that the first node fails.
    let (multi, seen) = (|| client().bucket("docs").multi("1"), Context::from("c".to_owned()));
    for change in [multi().put("v"), multi().put("v").seen(&seen), multi().overwrite("v")] {
        let name = format!("{change:?}");
        let error = change.await.expect_err("nobody knows");
        assert_eq!((error.outcome(), second.asked().len()), (Outcome::Unknown, 0), "{name}: {error}");
    }
    let changes = client().bucket("users").map("43").change().set_multi("draft", &1);
    ends(&changes.await.expect_err("nobody knows"), Outcome::Unknown, 1);
    client().bucket("users").register("42").put("Ada").seen(&seen).await.expect("the second does it");
    assert_eq!(second.asked(), ["PUT /v1/kv/users/42?type=register"]);
}

#[tokio::test]
async fn what_was_not_applied_is_sent_again_whatever_it_is() {
    let (first, second) = (Node::start(&[NOT_READY]).await, Node::start(&[NUMBER]).await);
    let client = of(hasty(), &[&first, &second]);
    for _ in 0..5 {
        assert_eq!(increment(&client).await.expect("the second answers"), 7);
    }
    assert_eq!(
        (first.asked().len(), second.asked().len()),
        (1, 5),
        "who does not serve is not asked each time"
    );
    let error = of(hasty(), &[&Node::start(&[MISFIT]).await, &second]);
    let error = increment(&error).await.expect_err("it does not fit");
    ends(&error, Outcome::NotApplied, 1);
    assert_eq!(error.code(), Some(Code::WrongType));
    assert_eq!(error.to_string(), "POST /v1/kv/stats/home?type=counter: wrong_type: it is a set");
}

#[tokio::test]
async fn a_node_that_hangs_is_left_for_another_where_that_is_safe() {
    let (first, second) = (Node::start(&[Does::Hangs]).await, Node::start(&[NUMBER]).await);
    let began = Instant::now();
    put(&of(hasty(), &[&first, &second])).await.expect("the second answers");
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    let client = of(short(), &[&first, &second]);
    ends(&increment(&client).await.expect_err("nobody knows"), Outcome::Unknown, 1);
    assert_eq!(increment(&client).await.expect("the next goes elsewhere"), 7);
    // The only one has all the time there is.
    let began = Instant::now();
    let error = count(&of(short(), &[&first])).await.expect_err("it hangs");
    ends(&error, Outcome::NotApplied, 1);
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_last_node_is_left_as_well_for_another_that_may_be_back() {
    let (first, last) = (Node::start(&[NOT_READY, NUMBER]).await, Node::start(&[Does::Hangs]).await);
    assert_eq!(count(&of(hasty(), &[&first, &last])).await.expect("the first is back"), Some(7));
    assert_eq!((first.asked().len(), last.asked().len()), (2, 1));
}

#[tokio::test]
async fn what_one_attempt_left_open_stays_open() {
    let (first, second) = (Node::start(&[Does::Ends]).await, Node::start(&[MISFIT]).await);
    let error = put(&of(hasty(), &[&first, &second])).await.expect_err("it does not fit");
    ends(&error, Outcome::Unknown, 2);
    assert_eq!(error.code(), Some(Code::WrongType));
    assert!(error.to_string().contains("it is not known whether it was applied"), "{error}");
}

#[tokio::test]
async fn a_proxy_that_got_no_answer_leaves_it_open() {
    let (first, second) =
        (Node::start(&[Does::Answers(502, "<h1>Bad Gateway</h1>")]).await, Node::start(&[NUMBER]).await);
    let error = increment(&of(hasty(), &[&first, &second])).await.expect_err("nobody knows");
    ends(&error, Outcome::Unknown, 1);
    assert!(error.to_string().contains("HTTP 502: <h1>Bad Gateway</h1>"), "{error}");
    put(&of(hasty(), &[&first, &second])).await.expect("the second does it");
}
