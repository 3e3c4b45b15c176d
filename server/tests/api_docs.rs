//! The list of error codes in the docs is the list in the code.

use meridian_api::error::Code;
use std::path::Path;

#[test]
fn the_docs_list_every_code_with_its_status_and_title() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http-api.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let errors = page.split("## Errors").nth(1).expect("the section is there");
    let rows: Vec<&str> = errors.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> =
        Code::ALL.iter().map(|code| format!("| `{code}` | {} | {} |", code.status(), code.title())).collect();
    assert_eq!(rows, expected);
}
