//! Which node is asked, and what counts against one.

use crate::node::{Does, Gone, NOT_READY, NUMBER, Node};
use crate::{count, hasty, increment, is_well, of, put, wait};
use meridian_client::{Client, Kind};
use std::time::Duration;

#[tokio::test]
async fn the_first_node_is_asked_as_long_as_it_is_well_and_connections_are_kept() {
    let (first, second) = (Node::start(&[NUMBER]).await, Node::start(&[NUMBER]).await);
    let client = of(hasty(), &[&first, &second]);
    for _ in 0..50 {
        assert_eq!(increment(&client).await.expect("it answers"), 7);
    }
    assert_eq!((first.asked().len(), first.connections(), second.asked().len()), (50, 1, 0));
    assert_eq!(first.asked()[0], "POST /v1/kv/stats/home?type=counter");
}

#[tokio::test]
async fn a_node_that_is_gone_is_passed_over_by_any_call_and_asked_again_when_it_is_back() {
    let (gone, second) = (Gone::new(), Node::start(&[NUMBER]).await);
    let client = hasty().connect([gone.endpoint(), second.endpoint()]).expect("endpoints");
    assert_eq!(increment(&client).await.expect("the second answers"), 7);
    assert!(!is_well(&client, 0) && is_well(&client, 1));
    let first = gone.comes_back(&[NUMBER]);
    wait("it is asked again", async || {
        assert_eq!(increment(&client).await.expect("somebody answers"), 7);
        !first.asked().is_empty()
    })
    .await;
    assert!(first.looks() > 0, "a call would have paid for it");
    assert!(is_well(&client, 0));
}

#[tokio::test]
async fn a_node_that_is_looked_at_in_vain_is_left_alone_for_longer() {
    let (first, second) = (Node::start(&[NOT_READY]).await, Node::start(&[NUMBER]).await);
    let client = of(hasty(), &[&first, &second]);
    wait("it is looked at twice", async || {
        assert_eq!(increment(&client).await.expect("the second answers"), 7);
        first.looks() >= 2 && client.standings()[0].failures >= 3
    })
    .await;
    assert!(!is_well(&client, 0));
    assert_eq!(first.asked().len(), 1, "no call pays for it");
}

#[tokio::test]
async fn a_connection_that_ended_while_nobody_used_it_fails_no_call() {
    let node = Node::start(&[Does::AnswersAndEnds(200, "7")]).await;
    let client = of(hasty(), &[&node]);
    for asked in 1..=10 {
        assert_eq!(increment(&client).await.expect("it answers"), 7);
        assert_eq!((node.asked().len(), node.connections()), (asked, asked));
        // The end of the connection arrives.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_short_time_says_nothing_against_a_node_until_such_times_add_up() {
    let (first, second) = (Node::start(&[Does::Hangs]).await, Node::start(&[NUMBER]).await);
    let read = |client: &Client| client.bucket("b").counter("k").get().timeout(Duration::from_millis(50));
    let client = of(Client::builder().attempt_timeout(Duration::from_secs(30)), &[&first, &second]);
    assert_eq!(read(&client).await.expect_err("it hangs").kind(), &Kind::Unanswered);
    assert!(is_well(&client, 0));

    let client = of(Client::builder().attempt_timeout(Duration::from_millis(400)), &[&first, &second]);
    let asked = first.asked().len();
    wait("the next node is asked", async || read(&client).await.is_ok()).await;
    assert!(!is_well(&client, 0) && first.asked().len() > asked + 1);
}

#[tokio::test]
async fn a_call_that_is_dropped_counts_against_a_node_that_did_not_answer() {
    let (first, second) = (Node::start(&[Does::Hangs]).await, Node::start(&[NUMBER]).await);
    let patient = hasty().attempt_timeout(Duration::from_secs(60));
    for (connect_timeout, is_well_then) in
        [(Duration::from_secs(60), true), (Duration::from_millis(300), false)]
    {
        let client = of(patient.clone().connect_timeout(connect_timeout), &[&first, &second]);
        let dropped = tokio::time::timeout(Duration::from_millis(400), put(&client)).await;
        assert!(dropped.is_err(), "it hangs");
        assert_eq!(is_well(&client, 0), is_well_then, "{connect_timeout:?}");
        if !is_well_then {
            assert_eq!(count(&client).await.expect("the next goes elsewhere"), Some(7));
        }
    }
}
