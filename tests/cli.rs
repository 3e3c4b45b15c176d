//! The command line against a node: what it prints, and how it ends.

use meridian_tests::http::Client;
use meridian_tests::process::{NodeProcess, Scratch, binary};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

/// Runs a command; standard output is no terminal here.
fn meridian(node: Option<&NodeProcess>, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).env_remove("MERIDIAN_ENDPOINTS");
    if let Some(node) = node {
        command.env("MERIDIAN_ENDPOINTS", format!("http://{}", node.address()));
    }
    command.output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_string()
}

/// What a command prints that must succeed.
fn prints(node: &NodeProcess, args: &[&str]) -> String {
    let output = meridian(Some(node), args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn values_are_written_and_read() {
    let scratch = Scratch::new("cli");
    let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    let put = prints(&node, &["put", "users/42", r#"{"name":"Ada"}"#, "--content-type", "application/json"]);
    assert!(put.starts_with(r#"{"key":"users/42","ok":true,"context":""#), "{put}");
    let got = prints(&node, &["get", "users/42", "--json"]);
    let expected =
        r#"{"key":"users/42","type":"register","value":{"name":"Ada"},"content_type":"application/json","#;
    assert!(got.starts_with(expected), "{got}");
    assert_eq!(prints(&node, &["get", "users/42", "--raw"]), r#"{"name":"Ada"}"#);
    assert_eq!(prints(&node, &["inc", "stats/home", "5"]), r#"{"key":"stats/home","value":5}"#);
    assert_eq!(prints(&node, &["inc", "stats/home", "-7"]), r#"{"key":"stats/home","value":-2}"#);
    assert_eq!(prints(&node, &["add", "t/a", "x", "y"]), r#"{"key":"t/a","added":2,"removed":0}"#);
    assert_eq!(prints(&node, &["rem", "t/a", "x"]), r#"{"key":"t/a","added":0,"removed":1}"#);
    assert!(prints(&node, &["get", "t/a"]).contains(r#""type":"set","value":["y"]"#));
    assert!(prints(&node, &["put", "b/../.", "dots"]).contains(r#""key":"b/../.""#));
    assert_eq!(prints(&node, &["get", "b/../.", "--raw"]), "dots");
    prints(&node, &["del", "users/42"]);
    assert_eq!(meridian(Some(&node), &["get", "users/42"]).status.code(), Some(1));
}

#[test]
fn a_failure_ends_with_one_and_bad_usage_with_two() {
    let scratch = Scratch::new("cli-fails");
    let mut node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    prints(&node, &["inc", "b/counter"]);
    let misfit = meridian(Some(&node), &["add", "b/counter", "m"]);
    assert_eq!(misfit.status.code(), Some(1));
    assert!(misfit.stdout.is_empty());
    assert!(text(&misfit.stderr).contains("wrong_type"), "{}", text(&misfit.stderr));
    for bad in
        [&["put", "nobucket", "v"][..], &["inc", "b/k", "x"], &["explode"], &["get"], &["start", "--nothing"]]
    {
        assert_eq!(meridian(Some(&node), bad).status.code(), Some(2), "{bad:?}");
    }
    node.kill().expect("it runs");
    let gone = meridian(Some(&node), &["get", "b/k"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(!text(&gone.stderr).is_empty());
}

#[test]
fn another_endpoint_is_asked_where_one_does_not_listen() {
    let scratch = Scratch::new("cli-endpoints");
    let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    let there = format!("http://{}", node.address());
    let output =
        meridian(None, &["inc", "b/k", "3", "--endpoint", "http://127.0.0.1:9", "--endpoint", &there]);
    assert_eq!(text(&output.stdout), r#"{"key":"b/k","value":3}"#, "{}", text(&output.stderr));
}

// -- fields, flags, numbers ------------------------------------------------------------------------------------------

#[test]
fn fields_of_a_map_are_written_and_read() {
    let scratch = Scratch::new("cli-fields");
    let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    let changed = r#"{"key":"users/43","changed":1}"#;
    let json = ["--content-type", "application/json"];
    for words in [
        &["put", "users/43", "London", "--path", "/address/city"][..],
        &["put", "users/43", "1.50", "--path", "/height", json[0], json[1]],
        &["inc", "users/43", "2", "--path", "/visits"],
        &["add", "users/43", "opera", "jazz", "--path", "/tags"],
        &["rem", "users/43", "jazz", "--path", "/tags"],
        &["enable", "users/43", "--path", "/news"],
        &["observe", "users/43", "7", "--path", "/best"],
        &["observe", "users/43", "-7", "--path", "/worst", "--type", "min"],
        &["put", "users/43", "slash", "--path", "/a~1b"],
    ] {
        assert_eq!(prints(&node, words), changed, "{words:?}");
    }
    let got = |words: &[&str]| prints(&node, &[&["get", "users/43", "--raw"], words].concat());
    let whole = r#"{"a/b":"slash","address":{"city":"London"},"best":7,"height":1.50,"news":true,"tags":["opera"],"visits":2,"worst":-7}"#;
    assert_eq!(got(&[]), whole);
    assert_eq!(got(&["--path", "/address"]), r#"{"city":"London"}"#);
    assert_eq!(got(&["--path", "/tags", "--contains", "opera"]), "true");
    let city = prints(&node, &["get", "users/43", "--path", "/address/city"]);
    assert!(city.starts_with(r#"{"key":"users/43","type":"register","value":"London","#), "{city}");
    for words in [
        &["reset", "users/43", "--path", "/visits"][..],
        &["clear", "users/43", "--path", "/tags"],
        &["disable", "users/43", "--path", "/news"],
        &["del", "users/43", "--path", "/address"],
        &["del", "users/43", "--path", "/a~1b"],
    ] {
        assert_eq!(prints(&node, words), changed, "{words:?}");
    }
    assert_eq!(got(&[]), r#"{"best":7,"height":1.50,"news":false,"tags":[],"visits":0,"worst":-7}"#);
    let nowhere = meridian(Some(&node), &["get", "users/43", "--path", "/address"]);
    assert!(text(&nowhere.stderr).contains("field_not_found") && nowhere.status.code() == Some(1));
}

#[test]
fn flags_numbers_and_several_values_are_written_and_read() {
    let scratch = Scratch::new("cli-types");
    let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    for (words, expected) in [
        (&["enable", "f/on"][..], r#"{"key":"f/on","value":true}"#),
        (&["disable", "f/on"], r#"{"key":"f/on","value":false}"#),
        (&["disable", "f/none"], r#"{"key":"f/none","value":false}"#),
        (&["observe", "n/high", "17"], r#"{"key":"n/high","value":17}"#),
        (&["observe", "n/high", "-3"], r#"{"key":"n/high","value":17}"#),
        (&["observe", "n/low", "-3", "--type", "min"], r#"{"key":"n/low","value":-3}"#),
        (&["observe", "n/low", "17"], r#"{"key":"n/low","value":-3}"#),
        (&["inc", "n/count", "5"], r#"{"key":"n/count","value":5}"#),
        (&["reset", "n/count"], r#"{"key":"n/count","value":0}"#),
        (&["reset", "n/none"], r#"{"key":"n/none","value":0}"#),
        (&["add", "s/tags", "a", "b"], r#"{"key":"s/tags","added":2,"removed":0}"#),
        (&["clear", "s/tags"], r#"{"key":"s/tags","added":0,"removed":2}"#),
    ] {
        assert_eq!(prints(&node, words), expected, "{words:?}");
    }
    assert!(prints(&node, &["get", "s/tags", "--contains", "a"]).contains(r#""value":false"#));
    prints(&node, &["put", "m/k", "draft", "--type", "multi"]);
    let unseen = meridian(Some(&node), &["put", "m/k", "final"]);
    assert!(text(&unseen.stderr).contains("context_required") && unseen.status.code() == Some(1));
    prints(&node, &["put", "m/k", "final", "--overwrite"]);
    assert_eq!(prints(&node, &["get", "m/k", "--raw"]), "final");
}

// -- lists -----------------------------------------------------------------------------------------------------------

/// A node with 2,500 keys `key-0000` to `key-2499` in bucket `many`, and one that is not UTF-8.
fn node_with_many_keys(scratch: &Scratch) -> NodeProcess {
    let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    let mut client = node.client().expect("it listens");
    let mut put = |target: &str, body: &[u8]| {
        let answer = client.request("PUT", target, &[], body).expect("it answers");
        assert_eq!(answer.status, 204, "{}", answer.text());
    };
    for number in 0..2_500 {
        put(&format!("/v1/kv/many/key-{number:04}"), number.to_string().as_bytes());
    }
    // The byte 0xff.
    put("/v1/kv/many?key64=_w", b"odd");
    node
}

#[test]
fn all_keys_are_listed_one_a_line_however_many_pages_there_are() {
    let scratch = Scratch::new("cli-ls");
    let node = node_with_many_keys(&scratch);
    let line = |number: u32| {
        let bytes = number.to_string().len();
        let kind = r#""type":"register","content_type":"text/plain; charset=utf-8""#;
        format!(r#"{{"key":"key-{number:04}",{kind},"bytes":{bytes}}}"#)
    };
    let listed = prints(&node, &["ls", "many"]);
    let mut expected: Vec<String> = (0..2_500).map(line).collect();
    expected.push(
        r#"{"key64":"_w","type":"register","content_type":"text/plain; charset=utf-8","bytes":3}"#.into(),
    );
    assert!(listed.lines().eq(&expected), "{:.500}", listed);
    let reversed = prints(&node, &["ls", "many", "--reverse", "--limit", "1001"]);
    assert!(reversed.lines().eq(expected.iter().rev().take(1_001)), "{reversed:.500}");
    let some = prints(&node, &["ls", "many", "--start", "key-0100", "--end", "key-0200", "--limit", "7"]);
    assert!(some.lines().eq(&expected[100..107]), "{some}");
    assert_eq!(prints(&node, &["ls", "many", "--prefix", "key-24", "--limit", "5000"]).lines().count(), 100);
    assert_eq!(prints(&node, &["ls", "nothing"]), "");
    assert!(!listed.contains('\u{1b}'), "no colours where no person reads");
}

#[test]
fn a_listing_tells_prefixes_and_values() {
    let scratch = Scratch::new("cli-ls-values");
    let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    let long = "12345678901234567890123.0";
    prints(&node, &["put", "b/a", &format!("{{\n \"n\": {long}\n}}"), "--content-type", "application/json"]);
    prints(&node, &["add", "b/m/tags", "x"]);
    prints(&node, &["inc", "b/m/n"]);
    prints(&node, &["put", "b/z", "text"]);
    let listed = prints(&node, &["ls", "b", "--delimiter", "/", "--values"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 3, "a value with lines is one of them: {listed}");
    assert!(lines[0].contains(&format!(r#""n": {long}"#)), "numbers keep their text: {listed}");
    assert_eq!(lines[1], r#"{"prefix":"m/"}"#);
    assert!(lines[2].contains(r#""value":"text""#), "{listed}");
    let below = prints(&node, &["ls", "b", "--prefix", "m/", "--values"]);
    assert_eq!(
        below.lines().collect::<Vec<_>>(),
        [r#"{"key":"m/n","type":"counter","value":1}"#, r#"{"key":"m/tags","type":"set","value":["x"]}"#]
    );
}

#[test]
fn a_listing_of_which_only_the_beginning_is_read_ends_quietly() {
    let scratch = Scratch::new("cli-pipe");
    let node = node_with_many_keys(&scratch);
    let mut listing = Command::new(binary())
        .args(["ls", "many", "--endpoint", &format!("http://{}", node.address())])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut first = String::new();
    let mut output = BufReader::new(listing.stdout.take().expect("it is piped"));
    output.read_line(&mut first).expect("it is listed");
    drop(output);
    let ended = listing.wait_with_output().expect("it ends");
    assert!(first.contains("key-0000"), "{first}");
    assert_eq!((ended.status.code(), text(&ended.stderr).as_str()), (Some(0), ""));
}

#[test]
fn ls_without_a_bucket_says_what_to_do() {
    let output = meridian(None, &["ls"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("`meridian ls users`"), "{}", text(&output.stderr));
}

// -- buckets, completions, time --------------------------------------------------------------------------------------

#[test]
fn a_bucket_s_policy_is_declared_shown_and_forgotten() {
    let scratch = Scratch::new("cli-bucket");
    let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    let declared = r#"{"bucket":"users","declared":true,"defaults":{"observe":"min","put":"multi"}}"#;
    let nothing = r#"{"bucket":"users","declared":false,"defaults":{}}"#;
    let done = r#"{"bucket":"users","ok":true}"#;
    assert_eq!(prints(&node, &["bucket", "show", "users"]), nothing);
    assert_eq!(prints(&node, &["bucket", "declare", "users", "put=multi", "observe=min"]), done);
    assert_eq!(prints(&node, &["bucket", "show", "users"]), declared);
    prints(&node, &["observe", "users/low", "4"]);
    assert_eq!(prints(&node, &["observe", "users/low", "9"]), r#"{"key":"users/low","value":4}"#);
    for number in 0..101 {
        prints(&node, &["bucket", "declare", &format!("b{number:03}"), "put=register"]);
    }
    let listed = prints(&node, &["bucket", "list"]);
    assert_eq!(listed.lines().count(), 102, "beyond a page: {listed}");
    assert_eq!(listed.lines().next(), Some(r#"{"bucket":"b000","defaults":{"put":"register"}}"#));
    assert_eq!(prints(&node, &["bucket", "forget", "users"]), done);
    assert_eq!(prints(&node, &["bucket", "show", "users"]), nothing);
    let misfit = meridian(Some(&node), &["bucket", "declare", "users", "put=set"]);
    assert!(text(&misfit.stderr).contains("body_invalid") && misfit.status.code() == Some(1));
}

#[test]
fn the_cluster_is_shown_without_colours_where_no_person_reads() {
    let scratch = Scratch::new("cli-cluster");
    let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    let status: serde_json::Value =
        serde_json::from_str(&prints(&node, &["cluster", "status"])).expect("it prints JSON");
    assert_eq!((&status["node"], &status["members"][0]["state"]), (&"n1".into(), &"self".into()));
    let agree = prints(&node, &["cluster", "convergence"]);
    assert!(agree.starts_with(r#"{"converged":true,"#), "{agree}");
}

#[test]
fn a_shell_takes_the_completions() {
    let script = text(&meridian(None, &["completions", "bash"]).stdout);
    let checked = Command::new("bash").args(["-n", "-c", &script]).status().expect("there is a bash");
    assert!(checked.success() && script.contains("observe"), "bash reads it");
    assert_eq!(meridian(None, &["completions", "cmd"]).status.code(), Some(2));
}

#[test]
fn a_node_that_does_not_answer_is_given_up_after_the_time_that_was_said() {
    let hangs = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", hangs.local_addr().expect("it is bound"));
    // It may have to be built first.
    binary();
    let began = Instant::now();
    let output = meridian(None, &["get", "b/k", "--endpoint", &endpoint, "--timeout", "0.5"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("does not answer in time"), "{}", text(&output.stderr));
    assert!((0.5..5.0).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
}

// -- without a node --------------------------------------------------------------------------------------------------

#[test]
fn what_ships_has_no_planted_bugs() {
    let version = text(&meridian(None, &["--version"]).stdout);
    assert_eq!(version, format!("meridian {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_options_say_what_holds_and_why() {
    let output = meridian(None, &["config", "--name", "n7"]);
    let table = text(&output.stdout);
    let row = |name: &str| table.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or("");
    assert!(row("name").contains("n7") && row("name").contains("command line"), "{table}");
    assert!(row("http ").contains("127.0.0.1:7480") && row("http ").contains("default"), "{table}");
}

#[test]
fn the_ceilings_of_the_machine_are_measured_without_a_node() {
    let scratch = Scratch::new("cli-ceiling");
    let directory = scratch.path().join("disk").display().to_string();
    let disk = ["ceiling", "disk", "--seconds", "1", "--keys", "1000", "--data-dir", &directory];
    let output = meridian(None, &[&disk[..], &["--json"]].concat());
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let figure = |name: &str| figures[name].as_f64().unwrap_or_else(|| panic!("{name} is in {figures}"));
    let batches = figure("writes_per_second") / figure("batches_per_second");
    assert!((batches - 64.0).abs() < 1e-6 && figure("writes_in_a_batch") == 64.0, "{figures}");
    assert!(
        0.0 < figure("fdatasync_ms") && figure("fdatasync_ms") <= figure("fdatasync_p99_ms"),
        "{figures}"
    );
    let again = meridian(None, &disk);
    assert_eq!(again.status.code(), Some(1), "what is there is not overwritten");
    assert!(text(&again.stderr).contains("name a new directory"), "{}", text(&again.stderr));

    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let mut echo = Command::new(binary())
        .args(["ceiling", "http", "--value-bytes", "7", "--http", &address.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut said = String::new();
    BufReader::new(echo.stdout.take().expect("it is piped")).read_line(&mut said).expect("it says where");
    assert_eq!(said.trim_end(), format!("http://{address}"));
    let mut client = Client::connect(address).expect("it listens");
    let mut ask = |verb, body: &[u8]| client.request(verb, "/v1/kv/b/k", &[], body).expect("it answers");
    let (got, put) = (ask("GET", b""), ask("PUT", b"some bytes"));
    echo.kill().and_then(|()| echo.wait()).expect("it can be ended");
    assert_eq!((got.status, got.text().as_str(), put.status), (200, "vvvvvvv", 204));
}
