//! Words that make no request, and what the help shows.

use super::*;

#[test]
fn words_that_make_no_request_are_bad_usage() {
    let long = format!("b/{}", "k".repeat(4097));
    let bad: &[&[&str]] = &[
        &[],
        &["frob"],
        &["put", "b/k"],
        &["put", "b/k", "v", "--file", "f"],
        &["put", "b/k", "v", "--content-type", "a\nb"],
        &["put", "b/k", "v", "--context", "a b"],
        &["get"],
        &["get", "users"],
        &["get", "b/"],
        &["get", "B/k"],
        &["get", &long],
        &["get", "b/k", "--raw", "--json"],
        &["get", "b/k", "--context", "tok"],
        &["get", "b/k", "--endpoint", "https://a"],
        &["get", "b/k", "--endpoint", "http://a/v1"],
        &["inc", "b/k", "1.5"],
        &["inc", "b/k", "9223372036854775808"],
        &["add", "b/k"],
        &["add", "b/k", ""],
        &["put", "b/k", "v", "--path", "/a", "--overwrite"],
        &["get", "b/k", "--path", "a"],
        &["get", "b/k", "--path", "/a~2"],
        &["inc", "b/k", "--path", "/a//b"],
        &["get", "b/k", "--timeout", "0"],
        &["get", "b/k", "--timeout", "-1"],
        &["get", "b/k", "--timeout", "soon"],
        &["get", "b/k", "--timeout", "inf"],
        &["get", "b/k", "--overwrite"],
        &["enable", "b/k", "--context", "tok"],
        &["observe", "b/k"],
        &["observe", "b/k", "1e3"],
        &["ls", "users/42"],
        &["ls", "users", "--limit", "0"],
        &["ls", "users", "--delimiter", ""],
        &["bucket"],
        &["bucket", "show"],
        &["bucket", "declare", "users"],
        &["bucket", "declare", "users", "put"],
        &["bucket", "declare", "users", "put="],
        &["completions"],
        &["completions", "cmd"],
    ];
    for words in bad {
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        assert_eq!(matches(&words).map(|_| ()).expect_err(&format!("{words:?}")).exit_code(), 2, "{words:?}");
    }
    for (endpoints, words, expected) in [
        ("a:1", &["get", "b/k"][..], "MERIDIAN_ENDPOINTS: "),
        ("", &["ls"], "ls lists the keys of a bucket: say which, like `meridian ls users`"),
        ("", &["bucket", "declare", "b", "put=multi", "put=register"], "put is given twice"),
        (
            "",
            &["put", "b/k", "{", "--path", "/a", "--content-type", "application/json"],
            "with --path the value is JSON: ",
        ),
        (
            "",
            &["put", "b/k", "v", "--path", "/a", "--content-type", "text/plain"],
            "with --path the content type is ",
        ),
    ] {
        let error = run_at(endpoints, words).unwrap_err();
        assert!(error.to_string().starts_with(expected) && error.exit_code() == 2, "{words:?}: {error}");
    }
}

#[test]
fn every_command_shows_examples() {
    command().debug_assert();
    let commands = command();
    let names: Vec<&str> = commands.get_subcommands().map(Command::get_name).collect();
    assert_eq!(
        names,
        [
            "start",
            "dev",
            "config",
            "put",
            "get",
            "del",
            "inc",
            "add",
            "rem",
            "enable",
            "disable",
            "observe",
            "reset",
            "clear",
            "inspect",
            "ls",
            "bucket",
            "cluster",
            "tls",
            "completions",
            "ceiling"
        ]
    );
    for command in commands.get_subcommands() {
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains(&format!("Examples:\n  meridian {}", command.get_name())), "{help}");
    }
}

#[test]
fn the_version_says_what_was_built() {
    let version = command().render_version();
    assert!(version.starts_with(concat!("meridian ", env!("CARGO_PKG_VERSION"), "\n")), "{version}");
    assert_eq!(version.contains("planted bugs: yes (a test build)"), PLANTED_BUGS);
}

#[test]
fn each_shell_can_complete_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run_at("", &["completions", shell]).expect("it asks no node");
        for word in ["observe", "bucket", "delimiter", "endpoint"] {
            assert!(script.contains(word), "{shell} completes {word}");
        }
    }
}
