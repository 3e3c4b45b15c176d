//! README's session works as printed: its curl lines are played against a node, and the answers are the printed ones.

use meridian_tests::process::{NodeProcess, Scratch};
use std::path::Path;

/// The words of a command line, as a shell splits them (quotes are single ones, without escapes).
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in line.split('\'').enumerate() {
        match place % 2 {
            0 => words.extend(part.split_whitespace().map(String::from)),
            _ => words.push(part.to_string()),
        }
    }
    words
}

/// What a curl line says, in the curl that README uses: `-X METHOD`, `--data BODY`, and the address.
fn play(node: &NodeProcess, line: &str) -> String {
    let (mut method, mut body, mut target) = ("GET".to_string(), String::new(), String::new());
    let mut words = words(line).into_iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-X" => method = words.next().expect("a method"),
            "--data" => body = words.next().expect("a body"),
            address => {
                target = address.strip_prefix("http://127.0.0.1:7480").expect("README's node").to_string();
            }
        }
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let headers = if body.is_empty() { &[][..] } else { &form[..] };
    node.request(&method, &target, headers, body.as_bytes()).expect("it answers").text()
}

#[test]
fn the_session_in_the_readme_works_as_printed() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).expect("README is there");
    let session = readme.split("```").find(|block| block.contains("$ curl")).expect("README has a session");
    let scratch = Scratch::new("readme");
    let node = NodeProcess::start(scratch.path(), &[]).expect("it starts");
    let mut played = 0;
    for step in session.split("$ ").skip(1) {
        let (line, printed) = step.split_once('\n').expect("a line");
        assert_eq!(play(&node, line), printed.trim_end_matches('\n'), "{line}");
        played += 1;
    }
    assert!(played > 5, "the session was understood: {played} lines");
}
