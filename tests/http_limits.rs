//! What a node takes from outside, and what it answers to everything else. After each abuse it serves on.

use meridian_tests::http::Answer;
use meridian_tests::process::{NodeProcess, Scratch, wait_until};
use std::time::{Duration, Instant};

/// How long anything may take of which nothing is claimed.
const PATIENCE: Duration = Duration::from_secs(10);
const OK: (u16, &str) = (200, "ok\n");

/// A node, started with `options`, that is alive in the end.
fn with_node(name: &str, options: &[&str], test: impl FnOnce(&NodeProcess)) {
    let scratch = Scratch::new(name);
    let node = NodeProcess::start(scratch.path(), options).expect("it starts");
    test(&node);
    let alive = node.get("/healthz").expect("it serves on");
    assert_eq!((alive.status, alive.text().as_str()), OK);
    assert_eq!(node.request("PUT", "/v1/kv/b/after", &[], b"v").expect("it serves on").status, 204);
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

/// What a node says to raw bytes.
fn say(node: &NodeProcess, bytes: &[u8]) -> Answer {
    let mut client = node.client().expect("it listens");
    client.send(bytes).expect("it takes them");
    let answer = client.answer(false);
    let answer = answer.unwrap_or_else(|error| panic!("{:?}: {error:#}", String::from_utf8_lossy(bytes)));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    answer
}

#[test]
fn garbage_is_a_bad_request() {
    with_node("garbage", &[], |node| {
        for garbage in [
            &b"garbage\r\n\r\n"[..],
            b"GET / HTTP/9.9\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET /a b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nbad header\r\n\r\n",
            b"PUT /v1/kv/b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        ] {
            let answer = say(node, garbage);
            assert_eq!((answer.status, answer.field("code").as_str()), (400, "bad_request"), "{garbage:?}");
        }
        let chunks =
            b"PUT /v1/kv/b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n";
        assert_eq!(say(node, chunks).field("code"), "bad_request");
        assert_eq!(node.get("/v1/kv/b/k").expect("it answers").status, 404);
    });
}

#[test]
fn garbage_behind_a_request_does_not_spoil_its_answer() {
    with_node("pipeline", &[], |node| {
        let value = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(node.request("PUT", "/v1/kv/b/k", &[], value).expect("it answers").status, 204);
        let mut client = node.client().expect("it listens");
        let get = "GET /v1/kv/b/k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        client.send(format!("{get}{get}garbage\r\n\r\n").as_bytes()).expect("it takes them");
        for _ in 0..2 {
            assert_eq!(client.answer(false).expect("an answer").body, value);
        }
        let last = client.answer(false).expect("an answer");
        assert_eq!((last.status, last.field("code").as_str()), (400, "bad_request"));
        client.has_ended().expect("that was all");
    });
}

#[test]
fn who_may_ask() {
    with_node("guard", &["--http-cors-origin", "https://app.example"], |node| {
        for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:7480"] {
            let answer = node.request("GET", "/healthz", &[("host", host)], b"").expect("it answers");
            assert_eq!((answer.status, answer.field("code").as_str()), (421, "wrong_host"), "{host}");
        }
        for host in ["localhost", "127.0.0.1:1", "[::1]:7480"] {
            assert_eq!(
                node.request("GET", "/healthz", &[("host", host)], b"").expect("it answers").status,
                200
            );
        }
        for origin in ["https://evil.example", "null", "https://app.example.evil.example"] {
            let answer = node.request("PUT", "/v1/kv/b/k", &[("origin", origin)], b"v").expect("it answers");
            assert_eq!(
                (answer.status, answer.field("code").as_str()),
                (403, "origin_not_allowed"),
                "{origin}"
            );
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{origin}");
            assert!(answer.header("meridian-served-by").is_some(), "{origin}");
        }
        assert_eq!(node.get("/v1/kv/b/k").expect("it answers").status, 404);
        let listed = [("origin", "https://app.example"), ("access-control-request-method", "PUT")];
        let preflight = node.request("OPTIONS", "/v1/kv/b/k", &listed, b"").expect("it answers");
        assert_eq!(preflight.status, 204);
        let put = node.request("PUT", "/v1/kv/b/k", &listed[..1], b"v").expect("it answers");
        assert_eq!(put.header("access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(put.status, 204);
    });
}

#[test]
fn a_slow_request_is_given_up() {
    let options = [
        "--http-header-timeout-ms",
        "300",
        "--http-body-timeout-ms",
        "300",
        "--http-idle-timeout-ms",
        "1000",
    ];
    with_node("slow", &options, |node| {
        for half in [
            &b"GET /healthz HTTP/1.1\r\nHos"[..],
            b"PUT /v1/kv/b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nhalf",
        ] {
            let began = Instant::now();
            let answer = say(node, half);
            assert_eq!((answer.status, answer.field("code").as_str()), (408, "request_timeout"));
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        }
        let mut silent = node.client().expect("it listens");
        silent.has_ended().expect("a connection without a request ends without a word");
        let mut idle = node.client().expect("it listens");
        let began = Instant::now();
        assert_eq!(idle.request("GET", "/healthz", &[], b"").expect("it answers").status, 200);
        idle.has_ended().expect("an idle connection ends without a word");
        assert!(
            began.elapsed() > Duration::from_millis(900),
            "it may be idle for longer than a head may take"
        );
        let mut again = node.client().expect("it listens");
        assert_eq!(again.request("GET", "/healthz", &[], b"").expect("it answers").status, 200);
        again.send(b"GET /healthz HTTP/1.1\r\nHos").expect("it takes them");
        assert_eq!(again.answer(false).expect("an answer").status, 408, "a half head after a whole request");
        assert_eq!(node.get("/v1/kv/b/k").expect("it answers").status, 404);
    });
}

#[test]
fn what_is_too_large_is_refused() {
    with_node("large", &["--value-bytes-max", "1000"], |node| {
        let put = |bytes: usize| {
            let answer = node.request("PUT", "/v1/kv/b/k", &[], &vec![b'x'; bytes]).expect("it answers");
            (answer.status, answer.field("code"))
        };
        assert_eq!(put(1000).0, 204);
        assert_eq!(put(1001), (413, "value_too_large".into()));
        assert_eq!(
            put(100 << 20),
            (413, "value_too_large".into()),
            "it is told also to one who sends it all"
        );
        let post = |body: &str| {
            let answer = node.request("POST", "/v1/kv/b/s", &[], body.as_bytes()).expect("it answers");
            (answer.status, answer.field("code"))
        };
        let many = |count: usize| {
            let members: Vec<String> = (0..count).map(|n| format!("\"{n}\"")).collect();
            format!(r#"{{"op":"add","members":[{}]}}"#, members.join(","))
        };
        assert_eq!(post(&many(1000)).0, 200);
        assert_eq!(post(&many(1001)), (413, "too_many_operations".into()));
        assert_eq!(post(&" ".repeat((4 << 20) + 1)), (413, "request_too_large".into()));
        let long = |bytes: usize| format!(r#"{{"op":"add","members":["{}"]}}"#, "m".repeat(bytes));
        assert_eq!(post(&long(4096)).0, 200);
        assert_eq!(post(&long(4097)), (400, "body_invalid".into()));
        assert_eq!(post(&long(0)), (400, "body_invalid".into()));
        let deep =
            |depth: usize| format!(r#"{{"op":"set","value":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(post(&deep(10_000)), (400, "body_invalid".into()));
        assert_eq!(post(&"[".repeat(10_000)), (400, "body_invalid".into()));
        let header = "x".repeat(70_000);
        let answer = node.request("GET", "/healthz", &[("x-long", &header)], b"").expect("it answers");
        assert_eq!((answer.status, answer.field("code").as_str()), (431, "headers_too_large"));
        let many = vec![("x-many", "1"); 200];
        assert_eq!(node.request("GET", "/healthz", &many, b"").expect("it answers").status, 431);
    });
}

#[test]
fn a_body_is_asked_for_only_if_it_is_wanted() {
    with_node("expect", &["--value-bytes-max", "1000"], |node| {
        let head = |bytes: usize| {
            format!(
                "PUT /v1/kv/b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: {bytes}\r\n\r\n"
            )
        };
        let mut client = node.client().expect("it listens");
        client.send(head(2000).as_bytes()).expect("it takes them");
        assert_eq!(client.answer(false).expect("an answer").status, 413);
        let mut client = node.client().expect("it listens");
        client.send(head(5).as_bytes()).expect("it takes them");
        assert_eq!(client.answer(false).expect("an answer").status, 100);
        client.send(b"hello").expect("it takes them");
        assert_eq!(client.answer(false).expect("an answer").status, 204);
        assert_eq!(node.get("/v1/kv/b/k").expect("it answers").body, b"hello");
    });
}

#[test]
fn connections_and_bytes_have_an_end() {
    let options = [
        "--http-connections-max",
        "4",
        "--http-bytes-in-flight-max",
        "1000000",
        "--value-bytes-max",
        "900000",
        "--http-header-timeout-ms",
        "2000",
    ];
    with_node("crowd", &options, |node| {
        // Connections that asked whether the node is ready may still be ending.
        let (mut crowd, began) = (Vec::new(), Instant::now());
        while crowd.len() < 4 {
            let mut client = node.client().expect("it listens");
            if client.request("GET", "/healthz", &[], b"").is_ok_and(|answer| answer.status == 200) {
                crowd.push(client);
            }
            assert!(began.elapsed() < PATIENCE, "there is room for four");
        }
        let mut late = node.client().expect("it listens");
        let answer = late.answer(false).expect("an answer");
        assert_eq!((answer.status, answer.field("code").as_str()), (503, "overloaded"));
        assert!(answer.header("retry-after").is_some());
        let head = "PUT /v1/kv/b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900000\r\n\r\n";
        crowd[0].send(head.as_bytes()).expect("it takes them");
        crowd[0].send(&vec![b'x'; 800_000]).expect("it takes them");
        let held = "meridian_http_bytes_in_flight 800000";
        let mut metrics = || crowd[2].request("GET", "/metrics", &[], b"").expect("it answers").text();
        wait_until(PATIENCE, || metrics().contains(held), || "an unfinished body is not held".into());
        let answer = crowd[1].request("PUT", "/v1/kv/b/l", &[], &vec![b'y'; 600_000]).expect("it answers");
        assert_eq!(
            (answer.status, answer.field("code").as_str()),
            (503, "overloaded"),
            "more than may be held"
        );
        drop(crowd);
        let is_room = || node.get("/healthz").is_ok_and(|answer| answer.status == 200);
        wait_until(PATIENCE, is_room, || "those who have gone make no room".into());
    });
}

#[test]
fn a_disk_that_is_nearly_full_takes_no_writes() {
    let scratch = Scratch::new("full");
    let mut node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    assert_eq!(node.request("PUT", "/v1/kv/b/k", &[], b"v").expect("it answers").status, 204);
    node.kill().expect("it runs");
    let full = NodeProcess::start(scratch.path(), &["--disk-reserve-bytes", "9000000000000000000"])
        .expect("it starts");
    for (method, body) in [("PUT", &b"w"[..]), ("POST", br#"{"op":"increment"}"#), ("DELETE", b"")] {
        let answer = full.request(method, "/v1/kv/b/k", &[], body).expect("it answers");
        assert_eq!((answer.status, answer.field("code").as_str()), (507, "disk_full"), "{method}");
        assert_eq!(answer.field("outcome"), "not_applied");
    }
    assert_eq!(full.get("/v1/kv/b/k").expect("it answers").body, b"v", "reads go on");
}

#[test]
fn health_and_metrics() {
    with_node("metrics", &["--zone", "z1"], |node| {
        assert_eq!(node.get("/readyz").expect("it answers").text(), "ready\n");
        node.request("PUT", "/v1/kv/b/k", &[], b"v").expect("it answers");
        let metrics = node.get("/metrics").expect("it answers");
        assert!(metrics.header("content-type").is_some_and(|is| is.starts_with("text/plain; version=0.0.4")));
        let text = metrics.text();
        for line in
            ["meridian_divergence_total 0", r#"meridian_http_requests_total{method="PUT",status="2xx"} 1"#]
        {
            assert!(text.lines().any(|known| known == line), "{line} in {text}");
        }
    });
}
