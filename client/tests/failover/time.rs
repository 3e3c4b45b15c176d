//! How long a call takes: its time, its turn, and how often all nodes are asked.

use crate::node::{Does, NOT_READY, NUMBER, Node};
use crate::{TIME_MAX, count, ends, hasty, increment, of, put, short, wait};
use meridian_client::{Client, Code, Kind, Outcome};
use std::time::{Duration, Instant};

#[tokio::test]
async fn all_nodes_are_asked_again_until_time_is_up() {
    let (first, second) = (Node::start(&[NOT_READY]).await, Node::start(&[NOT_READY]).await);
    let began = Instant::now();
    let error = increment(&of(short(), &[&first, &second])).await.expect_err("nobody serves");
    assert!(began.elapsed() < TIME_MAX, "{:?}", began.elapsed());
    assert_eq!((error.outcome(), error.code()), (Outcome::NotApplied, Some(Code::NotReady)));
    assert!(error.attempts().len() >= 4, "{error}");

    let third = Node::start(&[NOT_READY, NOT_READY, NUMBER]).await;
    assert_eq!(increment(&of(hasty(), &[&third])).await.expect("it serves in the end"), 7);
    assert_eq!(third.asked().len(), 3);
}

#[tokio::test]
async fn an_answer_that_takes_long_everywhere_comes() {
    // Longer than an attempt has at first, 0.2 s.
    let slow = [Does::AnswersAfter(500, "7")];
    let (first, second) = (Node::start(&slow).await, Node::start(&slow).await);
    assert_eq!(count(&of(hasty(), &[&first, &second])).await.expect("it is waited for"), Some(7));
    assert!(first.asked().len() + second.asked().len() > 2, "at first it is asked for in vain");
}

#[tokio::test]
async fn nodes_are_asked_no_more_often_than_was_said() {
    let (first, second) = (Node::start(&[NOT_READY]).await, Node::start(&[NOT_READY]).await);
    for (rounds, attempts) in [(0, 2), (1, 2), (2, 4)] {
        let patient = Client::builder().rounds_max(rounds);
        let error = increment(&of(patient, &[&first, &second])).await.expect_err("nobody serves");
        ends(&error, Outcome::NotApplied, attempts);
    }
}

#[tokio::test]
async fn a_node_that_asks_for_time_is_given_it() {
    let node = Node::start(&[Does::AsksToWait(1), NUMBER]).await;
    let began = Instant::now();
    assert_eq!(increment(&of(hasty(), &[&node])).await.expect("it serves in the end"), 7);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(node.asked().len(), 2);

    // More than there is ends the call.
    let node = Node::start(&[Does::AsksToWait(u64::MAX)]).await;
    ends(&increment(&of(hasty(), &[&node])).await.expect_err("too long"), Outcome::NotApplied, 1);
}

#[tokio::test]
async fn a_node_that_asks_for_time_does_not_keep_a_call_from_the_others() {
    let waits = Does::AsksToWait(600);
    let (first, second) = (Node::start(&[waits]).await, Node::start(&[NOT_READY, NUMBER]).await);
    assert_eq!(increment(&of(hasty(), &[&first, &second])).await.expect("the second is back"), 7);

    let (first, second) = (Node::start(&[waits]).await, Node::start(&[waits, NUMBER]).await);
    assert_eq!(increment(&of(hasty(), &[&first, &second])).await.expect("the second is back"), 7);

    let (first, second) = (Node::start(&[waits]).await, Node::start(&[waits]).await);
    let error = increment(&of(hasty(), &[&first, &second])).await.expect_err("nobody serves");
    ends(&error, Outcome::NotApplied, 4);
}

#[tokio::test]
async fn calls_wait_for_their_turn_and_not_forever() {
    let node = Node::start(&[Does::Hangs]).await;
    let client = of(short().calls_max(1), &[&node]);
    let slow = tokio::spawn({
        let client = client.clone();
        async move { client.bucket("stats").counter("home").increment(1).timeout(TIME_MAX).await }
    });
    wait("it was sent", async || !node.asked().is_empty()).await;
    let error = increment(&client).await.expect_err("it is not its turn");
    ends(&error, Outcome::NotApplied, 0);
    assert_eq!((error.kind(), node.asked().len()), (&Kind::Busy, 1));
    slow.abort();
}

#[tokio::test]
async fn a_call_that_pauses_gives_its_turn_to_others() {
    let node = Node::start(&[Does::AsksToWait(20), NUMBER]).await;
    let client = of(hasty().calls_max(1), &[&node]);
    let pausing = tokio::spawn({
        let client = client.clone();
        async move { increment(&client).await }
    });
    wait("it was sent", async || !node.asked().is_empty()).await;
    let other = client.bucket("b").counter("k").get().timeout(Duration::from_secs(10)).await;
    assert_eq!(other.expect("it is its turn"), Some(7));
    assert!(!pausing.is_finished());
    pausing.abort();
}

#[tokio::test]
async fn the_time_of_each_of_many_calls_begins_at_its_turn() {
    let node = Node::start(&[Does::AnswersAfter(100, "7")]).await;
    let client = of(hasty().calls_max(2), &[&node]);
    let calls = (0..40).map(|_| client.bucket("b").counter("k").increment(1).timeout(Duration::from_secs(1)));
    let began = Instant::now();
    for call in client.all(calls).await {
        assert_eq!(call.expect("it is its turn"), 7);
    }
    assert!(began.elapsed() >= Duration::from_secs(2), "two at a time");
}

#[tokio::test]
async fn no_time_is_too_long() {
    let (first, second) = (Node::start(&[Does::Ends, NUMBER]).await, Node::start(&[NUMBER]).await);
    let ever = Duration::MAX;
    let client =
        of(Client::builder().timeout(ever).attempt_timeout(ever).connect_timeout(ever), &[&first, &second]);
    put(&client).await.expect("the second does it");
    assert_eq!(client.bucket("b").counter("k").get().timeout(ever).await.expect("an answer"), Some(7));
    wait("the first is looked at and back", async || {
        count(&client).await.expect("an answer");
        first.looks() == 1 && first.asked().len() > 1
    })
    .await;
}
