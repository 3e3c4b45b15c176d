//! House rules that a machine can check, so that no reviewer has to. Each rule is a function from a text to complaints,
//! held against the repository by one test and against a bad sample by another.
//!
//! This is one file because a rule is a dozen lines and all share the same walk.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, up to its tests, that need not explain itself.
const LINES_MAX: usize = 500;
/// What the head of a longer file says, followed by why.
const WHY_LONG: &str = "one file";
/// What may stand at the top of the repository, beside dotfiles and what the build makes.
const TOP_LEVEL: [&str; 11] = [
    "Cargo.toml",
    "Cargo.lock",
    "server",
    "client",
    "docs",
    "tests",
    "bench",
    "README.md",
    "Makefile",
    "LICENSE",
    "target",
];
/// What core cannot have, for a seed to replay it: clocks, threads, chance (the hashing of std's maps is seeded), files.
const NOT_IN_CORE: [&str; 8] =
    ["std::", "HashMap", "HashSet", "Instant", "SystemTime", "thread", "async", "await"];
/// What is not finished, not run or not meant to stay. (In two parts each, for this file obeys too.)
const NOWHERE: [&str; 7] = [
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("#[ig", "nore"),
    concat!("thread::", "sleep"),
    concat!("db", "g!"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
];

// -- the rules, held against the repository --------------------------------------------------------------------------

#[test]
fn a_module_of_core_names_only_those_above_it() {
    let order = modules_in_order(&read("server/core/src/lib.rs"));
    assert!(order.len() > 10, "lib.rs was understood: {order:?}");
    check(&rust_files("server/core/src"), |path, text| {
        let module = path.strip_prefix("server/core/src").ok().and_then(|path| path.iter().next());
        let module = module.and_then(|name| name.to_str()).unwrap_or_default().trim_end_matches(".rs");
        names_upward(&order, module, text)
    });
}

#[test]
fn core_has_no_clock_thread_chance_or_file() {
    check(&rust_files("server/core/src"), |_, text| words_in_code(&NOT_IN_CORE, text));
}

#[test]
fn nothing_is_left_unfinished_ignored_or_asleep() {
    check(&rust_files(""), |_, text| anywhere(&NOWHERE, text));
}

#[test]
fn a_long_file_says_why_it_is_one() {
    check(&rust_files(""), |_, text| too_long(text));
}

#[test]
fn every_rust_file_says_first_what_it_is_for() {
    check(&rust_files(""), |_, text| without_head(text));
}

#[test]
fn relative_links_in_the_docs_resolve() {
    let mut pages = files("docs", "md");
    pages.extend(files("", "md").into_iter().filter(|page| page.as_os_str() == "README.md"));
    check(&pages, |path, text| {
        let here = root().join(path.parent().unwrap_or(Path::new("")));
        dead_links(text, |file, place| {
            let page = match file.is_empty() {
                true => Some(text.to_owned()),
                false if here.join(file).is_dir() => None,
                false => Some(fs::read_to_string(here.join(file)).unwrap_or_default()),
            };
            let exists = file.is_empty() || here.join(file).exists();
            exists && place.is_none_or(|place| page.is_some_and(|page| places(&page).contains(place)))
        })
    });
}

#[test]
fn the_table_of_messages_is_complete() {
    let code = "server/core/src/message.rs";
    check(&[PathBuf::from(code)], |_, text| table_differs(text));
    check(&[PathBuf::from("docs/protocol.md")], |_, text| page_differs(text, &read(code)));
}

#[test]
fn the_list_of_errors_is_that_of_the_code() {
    check(&[PathBuf::from("docs/http-api.md")], |_, text| {
        errors_differ(text, &read("client/api/src/error.rs"))
    });
}

#[test]
fn the_top_level_holds_nothing_unexpected() {
    let entries = fs::read_dir(root()).expect("the repository can be read");
    let names = entries.map(|entry| entry.expect("the repository can be read").file_name());
    let unexpected: Vec<String> = unexpected_at_top(names.map(|name| name.to_string_lossy().into_owned()));
    assert!(unexpected.is_empty(), "at the top of the repository: {unexpected:?}");
}

// -- the rules, held against bad samples -----------------------------------------------------------------------------

#[test]
fn naming_a_module_below_is_noticed() {
    let order = modules_in_order("//! pub mod no;\npub mod id;\nmod cell;\n// pub mod no;\npub mod node;\n");
    assert_eq!(order, ["id", "cell", "node"]);
    let lines = |text: &str| lines_of(&names_upward(&order, "cell", text));
    assert_eq!(lines("//! x\nuse crate::id::Dot;\nuse crate::cell::Cell;\n"), []);
    assert_eq!(lines("use crate::id::Dot;\nuse crate::node::Node;\n"), [2]);
    assert_eq!(lines("use crate::{\n    id::Dot,\n    node::{Node, Now},\n};\nfn f() {}\n"), [1]);
    assert_eq!(lines("#[cfg(test)]\nmod tests {\n    use crate::node;\n}\n"), [3]);
    assert_eq!(lines("fn f() { super::node::f() }\n"), [1]);
    assert_eq!(lines("//! [`crate::node`]\n/// crate::node\nfn f() {} // crate::node\n"), []);
    assert_eq!(lines("let text = \"// \"; crate::node::f();\n"), [1]);
    assert_eq!(lines("use crate::node_id;\n"), [1], "a module that lib.rs does not name");
    assert_eq!(lines_of(&names_upward(&order, "lib", "pub use crate::node;\n")), []);
}

#[test]
fn what_core_cannot_have_is_noticed() {
    let lines = |text: &str| lines_of(&words_in_code(&NOT_IN_CORE, text));
    assert_eq!(lines("#![no_std]\n/// A thread, std::io and HashMap.\nfn spread() -> u8 { 0 }\n"), []);
    assert_eq!(lines("use std::fmt;\nuse alloc::vec;\nasync fn f() {}\n"), [1, 3]);
    assert_eq!(lines("type M = hashbrown::HashMap<u8, u8>;\nlet at = Instant::now();\n"), [1, 2]);
}

#[test]
fn unfinished_work_is_noticed() {
    for needle in NOWHERE {
        assert_eq!(lines_of(&anywhere(&NOWHERE, &format!("fn f() {{\n    {needle} }}\n"))), [2], "{needle}");
    }
}

#[test]
fn a_long_file_without_a_reason_is_noticed() {
    let long = "fn f() {}\n".repeat(LINES_MAX);
    assert_eq!(lines_of(&too_long(&format!("//! What it is for.\n{long}"))), [LINES_MAX + 1]);
    assert_eq!(lines_of(&too_long(&format!("//! This is one file because it is.\n{long}"))), []);
    let tests = format!("//! What it is for.\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert_eq!(lines_of(&too_long(&tests)), [], "tests do not count");
}

#[test]
fn a_file_without_a_head_is_noticed() {
    assert_eq!(lines_of(&without_head("//! What it is for.\nfn f() {}\n")), []);
    for bad in ["use std::fmt;\n//! Late.\n", "//!\nfn f() {}\n", "/// Not it.\nfn f() {}\n", ""] {
        assert_eq!(lines_of(&without_head(bad)), [1], "{bad:?}");
    }
}

#[test]
fn a_dead_link_is_noticed() {
    let exists = |file: &str, place: Option<&str>| {
        let there = ["style.md", "../README.md", ""].contains(&file);
        there && place.is_none_or(|place| places("# Names\n## Here, `and` there\n").contains(place))
    };
    let good =
        "[a](style.md) [b](style.md#names) [c](../README.md) [d](https://x.y/z) [e](#here-and-there)\n";
    assert_eq!(lines_of(&dead_links(good, exists)), []);
    assert_eq!(lines_of(&dead_links("[a](style.md#gone)\n[b](#gone)\n", exists)), [1, 2]);
    assert_eq!(lines_of(&dead_links("x\n![a](gone.png) and [b](style.md)\n", exists)), [2]);
    assert_eq!(lines_of(&dead_links("[a](gone.md \"title\")\n[b]: gone.md\n", exists)), [1, 2]);
    assert_eq!(lines_of(&dead_links("```\n[a](gone.md)\n```\n`[a](gone.md)`\n[a](gone.md)\n", exists)), [5]);
}

#[test]
fn a_message_that_the_table_lacks_is_noticed() {
    let page = |rows: &str| {
        format!("{rows}\npub enum Message {{\n    /// One.\n    Pull {{ have: u8 }},\n    Fresh,\n}}\n")
    };
    let [pull, fresh, ping] = ["Pull", "Fresh", "Ping"].map(|name| format!("//! | 1 | `{name}` | x | y |\n"));
    assert_eq!(lines_of(&table_differs(&page(&format!("{pull}{fresh}")))), []);
    assert_eq!(lines_of(&table_differs(&page(&pull))), [6], "the table lacks Fresh");
    assert_eq!(lines_of(&table_differs(&page(&format!("{pull}{fresh}{ping}")))), [3], "there is no Ping");
    assert_eq!(lines_of(&table_differs(&page(&format!("{pull}{fresh}{pull}")))), [3], "twice");
    assert_eq!(lines_of(&table_differs("//! | 1 | `Pull` | x | y |\n")), [1], "no enum at all");
}

#[test]
fn a_page_that_tells_other_messages_than_the_code_is_noticed() {
    let code = "pub enum Message {\n    Fresh,\n    Pull {\n        have: u8,\n    },\n}\n";
    let page = |rows: &[&str]| {
        let rows: String = rows.iter().map(|name| format!("| `{name}` | what it says |\n")).collect();
        format!(
            "## Messages\n\n| message | meaning |\n|---|---|\n{rows}\nMore.\n| `Other` | of another table |\n"
        )
    };
    assert_eq!(lines_of(&page_differs(&page(&["Fresh", "Pull"]), code)), []);
    for bad in [&["Fresh"][..], &["Pull", "Fresh"], &["Fresh", "Pull", "Ping"], &[]] {
        assert_eq!(lines_of(&page_differs(&page(bad), code)), [3], "{bad:?}");
    }
    assert_eq!(lines_of(&page_differs("No table.\n", code)), [1]);
}

#[test]
fn an_error_that_the_page_tells_otherwise_is_noticed() {
    let code =
        "    /// x\n    A = \"key_empty\", 400, \"No bytes\";\n    B = \"internal\", 500, \"It failed\";\n";
    let page = |row: &str| {
        format!("| code | status | title |\n|---|---|---|\n| `key_empty` | 400 | No bytes |\n{row}")
    };
    assert_eq!(lines_of(&errors_differ(&page("| `internal` | 500 | It failed |\n"), code)), []);
    for bad in [
        "",
        "| `internal` | 501 | It failed |\n",
        "| `internal` | 500 | It fell |\n",
        "| `internal` | 500 | It failed |\n| `gone` | 410 | Gone |\n",
    ] {
        assert_eq!(lines_of(&errors_differ(&page(bad), code)), [1], "{bad:?}");
    }
    assert_eq!(lines_of(&errors_differ("No table.\n", code)), [1]);
}

#[test]
fn clutter_at_the_top_is_noticed() {
    let names = [".github", "server", "notes.txt", "LICENSE"].map(String::from);
    assert_eq!(unexpected_at_top(names.into_iter()), ["notes.txt"]);
}

// -- the rules -------------------------------------------------------------------------------------------------------

/// What is wrong, and in which line.
struct Complaint {
    line: usize,
    what: String,
}

impl Complaint {
    /// `place` counts from 0, `line` from 1.
    fn new(place: usize, what: impl fmt::Display) -> Self {
        Complaint { line: place + 1, what: what.to_string() }
    }
}

/// The modules that a `lib.rs` names, from the ground up.
fn modules_in_order(lib: &str) -> Vec<String> {
    let declared = lib.lines().filter_map(|line| {
        let line = code(line).trim();
        line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';')
    });
    declared.map(String::from).collect()
}

/// A module may name itself and those above it. (`lib.rs` and the tests of a module are no exception: they are held to
/// what stands above the file they are in, and above `lib.rs` stands everything.)
fn names_upward(order: &[String], module: &str, text: &str) -> Vec<Complaint> {
    let own = order.iter().position(|name| name == module).unwrap_or(order.len());
    let allowed = |name: &str| order.iter().position(|known| known == name).is_some_and(|place| place <= own);
    let code: String = text.lines().map(|line| code(line).to_owned() + "\n").collect();
    let mut complaints = Vec::new();
    for (start, path) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let standing_alone =
            !code[..start].ends_with(|before: char| before.is_alphanumeric() || before == '_');
        let names = first_names(&code[start + path.len()..]);
        let is_bad = |name: &&str| match path {
            "crate::" => !allowed(name),
            _ => order.iter().any(|known| known == name) && !allowed(name),
        };
        let place = code[..start].matches('\n').count();
        let bad = names.into_iter().filter(is_bad).filter(|_| standing_alone);
        complaints.extend(bad.map(|name| {
            Complaint::new(
                place,
                format_args!("`{module}` names `{path}{name}`, which does not stand above it in lib.rs"),
            )
        }));
    }
    complaints.sort_by_key(|complaint| complaint.line);
    complaints
}

/// The first names of what follows `crate::`: one, or those in the braces.
fn first_names(path: &str) -> Vec<&str> {
    let word =
        |text: &'_ str| text.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(text.len());
    let Some(group) = path.strip_prefix('{') else { return vec![&path[..word(path)]] };
    let (mut names, mut depth, mut begins) = (Vec::new(), 0, 0);
    for (place, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                let name = group[begins..place].trim();
                names.extend((!name.is_empty()).then(|| &name[..word(name)]));
                begins = place + 1;
                if letter == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

/// Words that stand in the code, comments apart.
fn words_in_code(words: &[&str], text: &str) -> Vec<Complaint> {
    let is_word = |code: &str, start: usize, word: &str| {
        let joins = |letter: char| letter.is_alphanumeric() || letter == '_';
        let ends = !word.ends_with(joins) || !code[start + word.len()..].starts_with(joins);
        ends && !code[..start].ends_with(joins)
    };
    let lines = text.lines().map(code).enumerate();
    let found = lines.flat_map(|(place, code)| {
        let words = words
            .iter()
            .filter(move |word| code.match_indices(**word).any(|(start, word)| is_word(code, start, word)));
        words.map(move |word| Complaint::new(place, format_args!("`{word}`")))
    });
    found.collect()
}

/// Strings that stand anywhere, comments included.
fn anywhere(needles: &[&str], text: &str) -> Vec<Complaint> {
    let lines = text.lines().enumerate();
    let found = lines.flat_map(|(place, line)| {
        let needles = needles.iter().filter(move |needle| line.contains(**needle));
        needles.map(move |needle| Complaint::new(place, format_args!("`{needle}`")))
    });
    found.collect()
}

fn too_long(text: &str) -> Vec<Complaint> {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
    let mut head = text.lines().take_while(|line| line.starts_with("//!"));
    match lines > LINES_MAX && !head.any(|line| line.contains(WHY_LONG)) {
        true => vec![Complaint::new(
            lines - 1,
            format_args!("{lines} lines, and its head does not say why it is `{WHY_LONG}`"),
        )],
        false => Vec::new(),
    }
}

fn without_head(text: &str) -> Vec<Complaint> {
    let first = text.lines().next().unwrap_or_default();
    match first.strip_prefix("//! ").is_some_and(|sentence| !sentence.trim().is_empty()) {
        true => Vec::new(),
        false => vec![Complaint::new(0, "the file does not begin with `//!` and what it is for")],
    }
}

/// Links that lead nowhere, given which files exist and which places in them; links to other hosts are taken on trust.
fn dead_links(page: &str, exists: impl Fn(&str, Option<&str>) -> bool) -> Vec<Complaint> {
    let mut fenced = false;
    let mut complaints = Vec::new();
    for (place, line) in page.lines().enumerate() {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        if fenced || is_fence {
            continue;
        }
        let dead = targets(line).into_iter().filter(|target| {
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            let (file, place) = target.split_once('#').map_or((target.as_str(), None), |(f, p)| (f, Some(p)));
            !elsewhere && !exists(file, place)
        });
        complaints
            .extend(dead.map(|target| Complaint::new(place, format_args!("the link to {target} is dead"))));
    }
    complaints
}

/// What a line links to: `[text](target)` and `[text]: target`, but not within backticks.
fn targets(line: &str) -> Vec<String> {
    let prose: String = line.split('`').step_by(2).collect();
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let definition =
        prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
    inline.chain(definition).map(|target| target.trim().to_owned()).collect()
}

/// The places in a page that a link may name: its headings in small letters, without marks, and with `-` for spaces.
fn places(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let place = |line: &str| {
        let kept = |letter: &char| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter);
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        heading.chars().filter(kept).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(place).collect()
}

/// The rows of the table with this head, cells trimmed; `None` if there is no such table.
fn table(page: &str, head: &str) -> Option<(usize, Vec<Vec<String>>)> {
    let begin = page.lines().position(|line| line == head)?;
    let rows = page.lines().skip(begin + 2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    Some((begin, rows.map(cells).collect()))
}

/// A page's table of messages against the `enum Message`: the same names in the same order.
fn page_differs(page: &str, code: &str) -> Vec<Complaint> {
    let Some((begin, rows)) = table(page, "| message | meaning |") else {
        return vec![Complaint::new(0, "there is no table of messages")];
    };
    let told: Vec<&str> = rows.iter().filter_map(|row| row.first()).map(String::as_str).collect();
    let lines = code.lines().enumerate();
    let body = lines.skip_while(|(_, line)| *line != "pub enum Message {").skip(1);
    let named: Vec<&str> =
        body.take_while(|(_, line)| *line != "}").filter_map(variant).map(|(_, name)| name).collect();
    match told == named {
        true => Vec::new(),
        false => vec![Complaint::new(begin, format_args!("the page tells {told:?}, the code {named:?}"))],
    }
}

/// A page's table of errors against the lines `Name = "code", status, "title";`.
fn errors_differ(page: &str, code: &str) -> Vec<Complaint> {
    let Some((begin, told)) = table(page, "| code | status | title |") else {
        return vec![Complaint::new(0, "there is no table of errors")];
    };
    let error = |line: &str| {
        let (_, rest) = line.strip_prefix("    ")?.strip_suffix("\";")?.split_once(" = \"")?;
        let (word, rest) = rest.split_once("\", ")?;
        let (status, title) = rest.split_once(", \"")?;
        Some([word, status, title].map(str::to_owned).to_vec())
    };
    let known: Vec<Vec<String>> = code.lines().filter_map(error).collect();
    let lacks = known.iter().find(|error| !told.contains(error));
    let odd = told.iter().find(|error| !known.contains(error));
    match (told.len() == known.len() && !known.is_empty(), lacks, odd) {
        (true, None, None) => Vec::new(),
        _ => vec![Complaint::new(begin, format_args!("the page lacks {lacks:?}, the code {odd:?}"))],
    }
}

/// The table in the head of `message.rs` against its `enum Message`.
fn table_differs(text: &str) -> Vec<Complaint> {
    let rows: Vec<(usize, &str)> = text.lines().enumerate().filter_map(table_row).collect();
    let Some(begin) = text.lines().position(|line| line == "pub enum Message {") else {
        return vec![Complaint::new(0, "there is no `pub enum Message`")];
    };
    let body = text.lines().enumerate().skip(begin + 1).take_while(|(_, line)| *line != "}");
    let variants: Vec<(usize, &str)> = body.filter_map(variant).collect();
    let mut seen = BTreeSet::new();
    let wrong_rows = rows
        .iter()
        .filter(|(_, name)| !seen.insert(*name) || !variants.iter().any(|(_, variant)| variant == name));
    let wrong_rows: Vec<Complaint> = wrong_rows
        .map(|(place, name)| Complaint::new(*place, format_args!("no such message, or twice: {name}")))
        .collect();
    let unlisted = variants.iter().filter(|(_, variant)| !rows.iter().any(|(_, name)| name == variant));
    let unlisted =
        unlisted.map(|(place, name)| Complaint::new(*place, format_args!("the table lacks {name}")));
    wrong_rows.into_iter().chain(unlisted).collect()
}

/// The name in a row like ``//! | 1 | `Fresh` | …``.
fn table_row((place, line): (usize, &str)) -> Option<(usize, &str)> {
    let mut columns = line.strip_prefix("//! |")?.split('|').map(str::trim);
    columns.next()?.parse::<u8>().ok()?;
    Some((place, columns.next()?.trim_matches('`')))
}

/// The name of a variant: what stands at the first level of indentation and is no comment or attribute.
fn variant((place, line): (usize, &str)) -> Option<(usize, &str)> {
    let name = line
        .strip_prefix("    ")
        .filter(|name| name.starts_with(|first: char| first.is_ascii_uppercase()))?;
    Some((place, name.split([' ', ',', '(', '{']).next()?))
}

fn unexpected_at_top(names: impl Iterator<Item = String>) -> Vec<String> {
    names.filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str())).collect()
}

/// A line without its comment.
fn code(line: &str) -> &str {
    let (mut quoted, mut escaped, mut slash) = (false, false, false);
    for (place, letter) in line.char_indices() {
        if letter == '/' && slash && !quoted {
            return &line[..place - 1];
        }
        slash = letter == '/';
        quoted ^= letter == '"' && !escaped && !line[..place].ends_with('\'');
        escaped = letter == '\\' && !escaped;
    }
    line
}

// -- the walk --------------------------------------------------------------------------------------------------------

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rust_files(under: &str) -> Vec<PathBuf> {
    let files = files(under, "rs");
    assert!(!files.is_empty(), "there are Rust files under {under:?}");
    files
}

/// The files with this extension, by their paths from the top; hidden ones and what the build makes apart.
fn files(under: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(root().join(under)) else { return found };
    for entry in entries {
        let entry = entry.expect("the repository can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = Path::new(under).join(&name);
        if name.starts_with('.') || path.as_os_str() == "target" {
            continue;
        }
        match entry.file_type().expect("the repository can be read").is_dir() {
            true => found.extend(files(&path.to_string_lossy(), extension)),
            false => found.extend((path.extension().is_some_and(|e| e == extension)).then_some(path)),
        }
    }
    found.sort();
    found
}

/// Holds a rule against files, and shows all complaints at once.
fn check(paths: &[PathBuf], rule: impl Fn(&Path, &str) -> Vec<Complaint>) {
    let mut complaints = Vec::new();
    for path in paths {
        for Complaint { line, what } in rule(path, &read(path)) {
            complaints.push(format!("{}:{line}: {what}", path.display()));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn lines_of(complaints: &[Complaint]) -> Vec<usize> {
    complaints.iter().map(|complaint| complaint.line).collect()
}
