//! Fields of maps, flags, numbers: what is sent, and what is shown of the answer.

use super::*;

#[test]
fn an_operation_on_a_field_has_its_path_and_its_type() {
    for (words, body) in [
        (
            &["put", "b/k", "Lon\"don", "--path", "/address/city"][..],
            r#"{"op":"set","path":["address","city"],"value":"Lon\"don"}"#,
        ),
        (
            &["put", "b/k", "1.50", "--path", "/n", "--content-type", "application/json", "--type", "multi"],
            r#"{"op":"set","path":["n"],"type":"multi","value":1.50}"#,
        ),
        (&["put", "b/k", "-", "--path", "/n"], r#"{"op":"set","path":["n"],"value":"from input"}"#),
        (&["del", "b/k", "--path", "/a~1b/c~0d"], r#"{"op":"remove","path":["a/b","c~d"]}"#),
        (&["del", "b/k", "--path", ""], r#"{"op":"remove","path":[]}"#),
        (&["inc", "b/k", "-5", "--path", "/n"], r#"{"by":-5,"op":"increment","path":["n"]}"#),
        (&["add", "b/k", "m", "--path", "/n"], r#"{"members":["m"],"op":"add","path":["n"]}"#),
        (
            &["rem", "b/k", "m", "--path", "/n", "--type", "set"],
            r#"{"members":["m"],"op":"remove","path":["n"],"type":"set"}"#,
        ),
        (&["enable", "b/k", "--path", "/n"], r#"{"op":"enable","path":["n"]}"#),
        (&["disable", "b/k", "--path", "/n"], r#"{"op":"disable","path":["n"]}"#),
        (
            &["observe", "b/k", "-3", "--path", "/n", "--type", "min"],
            r#"{"op":"observe","path":["n"],"type":"min","value":-3}"#,
        ),
        (&["reset", "b/k", "--path", "/n"], r#"{"op":"reset","path":["n"]}"#),
        (&["clear", "b/k", "--path", "/n"], r#"{"op":"clear","path":["n"]}"#),
    ] {
        let (asked, ended) = exchange(response("200 OK", &[], "{\"changed\":1}"), words);
        assert_eq!(
            (asked.line.as_str(), asked.body.as_str()),
            ("POST /v1/kv/b/k HTTP/1.1", body),
            "{words:?}"
        );
        assert_eq!(ended.unwrap(), "{\"key\":\"b/k\",\"changed\":1}\n");
    }
    let changed = response("200 OK", &[], "{\"changed\":1}");
    assert_eq!(run_at_terminal(changed, &["inc", "b/k", "--path", "/n"]), "changed 1\n");
}

#[test]
fn a_field_is_read_by_its_pointer() {
    let words = ["get", "b/k", "--path", "/a~1b/c d", "--type", "set", "--contains", "o&m"];
    let (asked, ended) = exchange(read("true", "application/json", "set"), &words);
    assert_eq!(asked.line, "GET /v1/kv/b/k?type=set&path=%2Fa~1b%2Fc%20d&contains=o%26m HTTP/1.1");
    assert!(ended.unwrap().contains("\"type\":\"set\",\"value\":true,"));
}

#[test]
fn a_value_that_has_lines_is_shown_on_one() {
    let (_, ended) = exchange(read("{\n  \"n\": 1.00\n}", "application/json", "register"), &["get", "b/k"]);
    assert!(ended.unwrap().contains("\"value\":{   \"n\": 1.00 },"));
}

#[test]
fn flags_and_numbers_say_what_they_are_now() {
    for (words, body, answer) in [
        (&["enable", "b/k"][..], r#"{"op":"enable"}"#, "true"),
        (&["disable", "b/k", "--context", "tok"], r#"{"op":"disable"}"#, "false"),
        (&["observe", "b/k", "-17"], r#"{"op":"observe","value":-17}"#, "4"),
        (&["reset", "b/k", "--context", "tok"], r#"{"op":"reset"}"#, "0"),
    ] {
        let answer = response("200 OK", &[("content-type", "application/json")], answer);
        let (asked, ended) = exchange(answer.clone(), words);
        assert_eq!((asked.line.as_str(), asked.body.as_str()), ("POST /v1/kv/b/k HTTP/1.1", body));
        assert_eq!(asked.header("meridian-context").is_some(), words.contains(&"--context"));
        let value = String::from_utf8(answer).unwrap().lines().last().unwrap().to_owned();
        assert_eq!(ended.unwrap(), format!("{{\"key\":\"b/k\",\"value\":{value}}}\n"));
    }
    assert_eq!(run_at_terminal(response("200 OK", &[], "true"), &["enable", "b/k"]), "true\n");
    let (asked, _) = exchange(response("200 OK", &[], "3"), &["observe", "b/k", "3", "--type", "min"]);
    assert_eq!(asked.line, "POST /v1/kv/b/k?type=min HTTP/1.1");
}

#[test]
fn a_clear_says_how_much_went_and_that_there_was_more() {
    let cleared = || response("200 OK", &[], "{\"added\":0,\"removed\":10000,\"more\":true}");
    let (asked, ended) = exchange(cleared(), &["clear", "b/k"]);
    assert_eq!(asked.body, "{\"op\":\"clear\"}");
    assert_eq!(ended.unwrap(), "{\"key\":\"b/k\",\"added\":0,\"removed\":10000,\"more\":true}\n");
    assert_eq!(run_at_terminal(cleared(), &["clear", "b/k"]), "added 0, removed 10000 and more\n");
}

#[test]
fn an_overwriting_put_says_so() {
    let (asked, _) = exchange(done(), &["put", "b/k", "v", "--type", "multi", "--overwrite"]);
    assert_eq!(asked.line, "PUT /v1/kv/b/k?type=multi&overwrite=true HTTP/1.1");
}
