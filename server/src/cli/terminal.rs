//! Where a person reads: how wide it is, whether it shows colours, and what may be sent to it.

use std::env;
use std::io::{self, IsTerminal};

/// How wide a terminal is taken to be that does not say.
const COLUMNS_USUAL: u16 = 80;

/// A terminal that a person reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// How wide it is, in characters.
    pub columns: usize,
    /// Whether it shows colours, and its user wants them.
    pub has_colours: bool,
}

impl Terminal {
    /// The one that standard output goes to, if it does. Colours are left out where `NO_COLOR` is set (no-color.org).
    pub fn of_standard_output() -> Option<Terminal> {
        let output = io::stdout();
        if !output.is_terminal() {
            return None;
        }
        let columns = rustix::termios::tcgetwinsize(&output).map_or(0, |size| size.ws_col);
        let columns = if columns == 0 { COLUMNS_USUAL } else { columns };
        let is_dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        let is_unwanted = env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
        Some(Terminal { columns: columns.into(), has_colours: !is_dumb && !is_unwanted })
    }
}

/// For whom something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A program: JSON, a line for each thing.
    Json,
    /// A person.
    Plain(Terminal),
}

/// A text that may come from anybody, as a terminal may show it: control characters are escaped, but for line ends and tabs, and so is
/// what changes the direction of what follows.
pub(super) fn harmless(text: &str) -> String {
    escaped(text, |letter| drives(letter) && !matches!(letter, '\n' | '\t'))
}

/// The same on one line: all control characters are escaped.
pub(super) fn harmless_line(text: &str) -> String {
    escaped(text, drives)
}

/// Whether a letter does something to those around it.
fn drives(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Bytes that may come from anybody, on one line. What is not UTF-8 in them is shown as `\xff`.
pub(super) fn harmless_bytes(bytes: &[u8]) -> String {
    let shown = bytes.utf8_chunks().map(|chunk| {
        let invalid = chunk.invalid().escape_ascii();
        format!("{}{invalid}", harmless_line(chunk.valid()))
    });
    shown.collect()
}

fn escaped(text: &str, is_escaped: fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_escaped(letter) {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    shown
}

/// JSON on one line. A line end within JSON stands between its tokens, where a space means the same: within a string it is escaped.
pub(super) fn on_one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_wrote_does_not_drive_a_terminal() {
        assert_eq!(harmless("a\n\tb\x1b[2J\u{9b}\x07"), "a\n\tb\\u{1b}[2J\\u{9b}\\u{7}");
        assert_eq!(harmless_line("a\n\tb\r\x1b"), "a\\n\\tb\\r\\u{1b}");
        assert_eq!(harmless("gnp.\u{202e}exe\u{2066}"), "gnp.\\u{202e}exe\\u{2066}");
        assert_eq!(harmless_bytes(b"\xffkey\n\xc3\xbc\xc3"), "\\xffkey\\nü\\xc3");
    }

    #[test]
    fn json_stays_the_same_on_one_line() {
        assert_eq!(on_one_line("{\"a\":\r\n \"b\\n\"}"), "{\"a\":   \"b\\n\"}");
    }
}
