//! Who beats whom, what is refused, and with which words.

use super::sources::FILE_BYTES_MAX;
use super::*;
use std::fs;
use tempfile::TempDir;

const DATA: [&str; 2] = ["--data-dir", "/data"];

fn settings(args: &[&str], variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let args = ["start"].iter().chain(args);
    let matches = start_command().try_get_matches_from(args).expect("the command line is well formed");
    resolve(&matches, variables.iter().map(|(name, value)| (name.into(), value.into())))
}

fn config(args: &[&str], variables: &[(&str, &str)]) -> Config {
    let args: Vec<&str> = DATA.iter().chain(args).copied().collect();
    settings(&args, variables).and_then(Settings::config).unwrap()
}

fn refusal(args: &[&str], variables: &[(&str, &str)]) -> String {
    settings(args, variables).expect_err("it is refused").to_string()
}

/// A file in a directory that goes with it, and its path.
fn file(text: &str) -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("meridian.toml");
    fs::write(&path, text).unwrap();
    (dir, path.to_str().unwrap().into())
}

fn refusal_of_file(text: &str) -> String {
    let (_dir, path) = file(text);
    let refusal = refusal(&["--config", &path], &[]);
    assert!(refusal.contains(&path), "it names the file: {refusal}");
    refusal
}

#[test]
fn the_defaults_are_as_documented() {
    let config = config(&[], &[]);
    assert_eq!(config.data_dir, PathBuf::from("/data"));
    assert_eq!((config.name.as_str(), config.region.as_str(), config.zone), ("n1", "local", None));
    assert_eq!(config.http.to_string(), "127.0.0.1:7480");
    assert_eq!((config.allow_unauthenticated_http, config.http_cors_origins.len()), (false, 0));
    assert_eq!((config.http_connections_max, config.http_bytes_in_flight_max), (1024, 64 << 20));
    assert_eq!(config.http_header_timeout, Duration::from_secs(10));
    assert_eq!(config.http_body_timeout, Duration::from_secs(30));
    assert_eq!((config.value_bytes_max, config.disk_reserve_bytes), (1 << 20, 256 << 20));
    assert_eq!((config.log_keep_bytes, config.log_bytes_max), (32 << 20, 4 << 30));
    assert_eq!(
        (config.repair_bytes_per_second, config.deep_check),
        (32 << 20, Duration::from_secs(24 * 60 * 60))
    );
    assert_eq!(
        (config.cache_bytes, config.shards, config.log.as_str()),
        (64 << 20, ShardCount::DEFAULT, "info")
    );
}

#[test]
fn the_command_line_beats_a_variable_beats_the_file() {
    let text = "name = \"file\"\nregion = \"file\"\nzone = \"file\"\nhttp-connections-max = 7\n";
    let (_dir, path) = file(text);
    let variables = [("MERIDIAN_NAME", "variable"), ("MERIDIAN_REGION", "variable"), ("HOME", "/")];
    let config = config(&["--config", &path, "--name", "line"], &variables);
    assert_eq!((config.name.as_str(), config.region.as_str()), ("line", "variable"));
    assert_eq!((config.zone.as_deref(), config.http_connections_max), (Some("file"), 7));
    assert_eq!(config.log, "info");
}

#[test]
fn what_is_said_at_all_three_places_is_settled_for_every_option_alone() {
    let (_dir, path) = file("zone = \"z\"\nname = \"file\"\nregion = \"file\"\n");
    let variables = [("MERIDIAN_NAME", "variable"), ("MERIDIAN_REGION", "variable")];
    let config = config(&["--config", &path, "--region", "line", "--name", "line"], &variables);
    assert_eq!((config.name.as_str(), config.region.as_str()), ("line", "line"));
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let (_dir, path) = file("name = \"one\"\n");
    let (_other_dir, other) = file("name = \"two\"\n");
    assert_eq!(config(&[], &[("MERIDIAN_CONFIG", &path)]).name, "one");
    assert_eq!(config(&["--config", &other], &[("MERIDIAN_CONFIG", &path)]).name, "two");
}

#[test]
fn a_list_replaces_a_list() {
    let (_dir, path) = file("http-cors-origins = [\"http://a:1\", \"http://b\"]\n");
    let origins = |args: &[&str], variables: &[(&str, &str)]| {
        let args: Vec<&str> = ["--config", &path].iter().chain(args).copied().collect();
        config(&args, variables).http_cors_origins
    };
    assert_eq!(origins(&[], &[]), ["http://a:1", "http://b"]);
    let variable = ("MERIDIAN_HTTP_CORS_ORIGINS", "http://c, https://d");
    assert_eq!(origins(&[], &[variable]), ["http://c", "https://d"]);
    assert_eq!(origins(&[], &[("MERIDIAN_HTTP_CORS_ORIGINS", "")]), [""; 0]);
    let line = ["--http-cors-origin", "http://e", "--http-cors-origin", "http://f"];
    assert_eq!(origins(&line, &[variable]), ["http://e", "http://f"]);
}

#[test]
fn an_unknown_field_is_refused_by_name() {
    let words = refusal_of_file("nmae = \"n1\"\n");
    assert!(words.contains("the field nmae is no option"), "{words}");
    let words = refusal_of_file("join-hosts = [\"a:1\"]\n");
    assert!(words.contains("the field join-hosts is no option"), "{words}");
    let words = refusal_of_file("[http]\naddr = 1\n");
    assert!(words.contains("--http is of TOML's type table"), "{words}");
}

#[test]
fn a_variable_that_is_no_option_is_warned_of_and_changes_nothing() {
    let warnings = |name| {
        let settings = settings(&DATA, &[(name, "x")]).expect("it is no reason to stop");
        settings.warnings().join("\n")
    };
    assert!(warnings("MERIDIAN_SERVICE_HOST").contains("MERIDIAN_SERVICE_HOST is no option of a node:"));
    assert!(warnings("MERIDIAN_HTTP_CORS_ORIGIN").contains("(MERIDIAN_HTTP_CORS_ORIGINS is)"));
    for fine in ["MERIDIAN_ENDPOINTS", "MERIDIAN_BIN", "MERIDIANX", "NAME", "MERIDIAN_NAME"] {
        assert_eq!(warnings(fine), "", "{fine}");
    }
}

#[test]
fn a_field_has_hyphens_or_underscores() {
    let (_dir, path) = file("data_dir = \"/d\"\nhttp_cors_origins = [\"http://a\"]\nvalue-bytes-max = 7\n");
    let config = settings(&["--config", &path], &[]).and_then(Settings::config).unwrap();
    assert_eq!((config.data_dir, config.value_bytes_max), (PathBuf::from("/d"), 7));
    assert_eq!(config.http_cors_origins, ["http://a"]);
    let twice = refusal_of_file("data-dir = \"a\"\ndata_dir = \"b\"\n");
    assert!(twice.contains("is given twice"), "{twice}");
}

#[test]
fn what_variables_give_can_stand_on_a_command_line() {
    let variables = [
        ("MERIDIAN_VALUE_BYTES_MAX", "12"),
        ("MERIDIAN_HTTP_CORS_ORIGINS", "http://a,http://b"),
        ("MERIDIAN_FAULTS", "true"),
        ("HOME", "/"),
    ];
    let given = of_environment(variables.map(|(name, value)| (name.into(), value.into()))).unwrap();
    let line: Vec<String> = given.iter().map(|(flag, text)| format!("--{flag}={text}")).collect();
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let config = config(&line, &[]);
    assert_eq!((config.value_bytes_max, config.faults), (12, true));
    assert_eq!(config.http_cors_origins, ["http://a", "http://b"]);
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    let words = refusal(&["--config", "/no/such.toml"], &[]);
    assert!(words.starts_with("/no/such.toml: "), "{words}");
    assert!(refusal_of_file("name = \n").contains("line 1"));
    assert!(refusal_of_file("name = \"a\"\nname = \"b\"\n").contains("duplicate key"));
    assert!(refusal_of_file(&"#".repeat((FILE_BYTES_MAX + 1) as usize)).contains("longer than"));
}

#[test]
fn a_refusal_names_the_option_who_said_it_and_what_is_accepted() {
    let wanted = "it must be an IP address and a port, like 127.0.0.1:7480 or [::1]:7480";
    let line = refusal(&["--http", "localhost"], &[]);
    assert_eq!(line, format!("--http is \"localhost\" (command line): {wanted}"));
    let variable = refusal(&[], &[("MERIDIAN_HTTP", "localhost")]);
    assert_eq!(variable, format!("--http is \"localhost\" (MERIDIAN_HTTP): {wanted}"));
    let (_dir, path) = file("http = \"localhost\"\n");
    let in_file = refusal(&["--config", &path], &[]);
    assert_eq!(in_file, format!("--http is \"localhost\" ({path}): {wanted}"));
}

#[test]
fn a_field_has_its_options_type() {
    for bad in
        ["name = 1", "shards = \"256\"", "allow-unauthenticated-http = \"true\"", "http-cors-origins = [1]"]
    {
        assert!(refusal_of_file(bad).contains("of TOML's type"), "{bad}");
    }
    let (_dir, path) = file("allow-unauthenticated-http = true\nshards = 1_024\n");
    let config = config(&["--config", &path], &[]);
    assert_eq!((config.allow_unauthenticated_http, config.shards.get()), (true, 1024));
}

#[test]
fn each_option_takes_what_it_says_and_nothing_else() {
    let long = "x".repeat(64);
    let cases: [(&str, &[&str], &[&str]); 13] = [
        ("data-dir", &["x", "/a/b"], &[""]),
        ("name", &["a", "n-1", "0", &long[1..]], &["", "-a", "A", "a_b", "a.b", "ä", &long]),
        ("region", &["eu-west-1"], &["", "eu;west"]),
        ("zone", &["a"], &["", "A"]),
        (
            "http",
            &["127.0.0.1:0", "[::1]:7480", "127.9.9.9:1"],
            &["", "7480", "127.0.0.1", "127.0.0.1:65536"],
        ),
        ("http-connections-max", &["1", "1000000"], &["0", "-1", "1000001", "x", "1.5"]),
        ("http-bytes-in-flight-max", &["1"], &["0", "64MB"]),
        ("http-header-timeout-ms", &["1", "3600000"], &["0", "3600001", "10s"]),
        ("value-bytes-max", &["1", "8388608"], &["0", "8388609"]),
        ("disk-reserve-bytes", &["0"], &["-1", "x"]),
        ("cache-bytes", &["0"], &["-1", "x"]),
        ("shards", &["1", "32768"], &["0", "3", "65536", "x"]),
        ("log", &["off", "warn,meridian_server=debug"], &["", "a=b=c"]),
    ];
    for (option, good, bad) in cases {
        let said = |value: &str| settings(&[&format!("--{option}={value}")], &[]);
        for value in good {
            assert!(said(value).is_ok(), "{option} {value}: {:?}", said(value).err());
        }
        for value in bad {
            let words = said(value).expect_err(value).to_string();
            assert!(words.starts_with(&format!("--{option} is {value:?} (command line): ")), "{words}");
        }
    }
}

#[test]
fn an_origin_is_what_a_browser_sends() {
    let said = |value: &str| settings(&["--http-cors-origin", value], &[]);
    for good in ["http://localhost:3000", "https://a.example", "http://[::1]:8080", "app://x"] {
        assert!(said(good).is_ok(), "{good}");
    }
    let bad = ["*", "null", "", "a.example", "http://", "http://a/", "http://a/b", "http://A", "HTTP://a"];
    let odd = [
        "http://u@a",
        "http://a?b",
        "http://a#b",
        "http://a b",
        "http://a:",
        "http://a:x",
        "://a",
        "http://*.a",
    ];
    for bad in bad.iter().chain(&odd) {
        assert!(said(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_address_beyond_this_machine_needs_a_word() {
    for open in ["0.0.0.0:7480", "[::]:7480", "10.0.0.1:7480"] {
        let words = refusal(&["--http", open], &[]);
        assert!(words.contains(open) && words.contains("--allow-unauthenticated-http"), "{words}");
        assert!(config(&["--http", open, "--allow-unauthenticated-http"], &[]).allow_unauthenticated_http);
    }
    let allowed = [("MERIDIAN_ALLOW_UNAUTHENTICATED_HTTP", "true")];
    assert!(config(&["--http", "0.0.0.0:1"], &allowed).allow_unauthenticated_http);
    let denied = refusal(&["--http", "0.0.0.0:1", "--allow-unauthenticated-http=false"], &allowed);
    assert!(denied.contains("loopback"), "{denied}");
    assert!(refusal(&[], &[("MERIDIAN_ALLOW_UNAUTHENTICATED_HTTP", "1")]).contains("true or false"));
}

#[test]
fn a_node_needs_a_data_directory_but_the_table_does_not() {
    let nowhere = settings(&[], &[]).unwrap();
    assert!(nowhere.to_string().starts_with("data-dir "), "{nowhere}");
    assert!(nowhere.to_string().contains("not set"), "{nowhere}");
    assert!(matches!(nowhere.config(), Err(ConfigError::NoDataDir)));
}

#[test]
fn the_table_says_what_holds_and_why() {
    let (_dir, path) = file("zone = \"a\"\n");
    let table = settings(
        &["--config", &path, "--name", "n2"],
        &[("MERIDIAN_HTTP", "127.0.0.1:9000"), ("MERIDIAN_LOG", "warn")],
    );
    let table = table.unwrap().to_string();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), OPTIONS.len());
    for row in [
        vec!["name", "n2", "command", "line"],
        vec!["region", "local", "default"],
        vec!["zone", "a", &path],
        vec!["http", "127.0.0.1:9000", "MERIDIAN_HTTP"],
        vec!["http-cors-origins", "not", "set", "default"],
        vec!["log", "warn", "MERIDIAN_LOG"],
    ] {
        assert!(rows.contains(&row), "{row:?} in\n{table}");
    }
}

#[test]
fn the_help_names_every_option_its_variable_and_its_default() {
    let help = start_command().render_long_help().to_string();
    for row in &OPTIONS {
        assert!(help.contains(&format!("--{}", row.flag)), "{}", row.name);
        assert!(help.contains(&format!("[{}]", row.variable())), "{}", row.name);
        let default = row.default;
        assert!(
            default.is_none_or(|default| help.contains(&format!("[default: {default}]"))),
            "{}",
            row.name
        );
    }
    start_command().debug_assert();
    config_command().debug_assert();
}

#[test]
fn what_is_reached_from_elsewhere_needs_an_identity_of_its_own() {
    let beyond = refusal(&["--peer", "10.0.0.1:7481"], &[]);
    assert!(beyond.contains("unless --tls-dir is given"), "{beyond}");
    assert!(settings(&["--peer", "10.0.0.1:7481", "--tls-dir", "tls"], &[]).is_ok());
    let everywhere = refusal(&["--peer", "0.0.0.0:7481", "--tls-dir", "tls"], &[]);
    assert!(everywhere.contains("--advertise"), "{everywhere}");
    let advertised = ["--peer", "0.0.0.0:7481", "--tls-dir", "tls", "--advertise", "db1.example.org:7481"];
    assert_eq!(config(&advertised, &[]).advertise.as_deref(), Some("db1.example.org:7481"));
    let faults = refusal(&["--peer", "10.0.0.1:7481", "--tls-dir", "tls", "--faults"], &[]);
    assert!(faults.contains("--faults"), "{faults}");
    assert!(config(&["--faults"], &[]).faults);
}

#[test]
fn nodes_to_join_are_hosts_with_ports() {
    let joined = config(&["--join", "127.0.0.1:1", "--join", "[::1]:2", "--join", "db1.example.org:3"], &[]);
    assert_eq!(joined.join, ["127.0.0.1:1", "[::1]:2", "db1.example.org:3"]);
    assert_eq!(config(&[], &[("MERIDIAN_JOIN", "a:1,b:2")]).join, ["a:1", "b:2"]);
    for wrong in ["db1", ":1", "a:0", "a:65536", "http://a:1", "a:1/x", ""] {
        assert!(refusal(&["--join", wrong], &[]).contains("a host and a port"), "{wrong}");
    }
}
