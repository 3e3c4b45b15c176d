//! Tables for a person: columns side by side, with titles and colours, cut to the terminal's width.
//!
//! - Rows may come in portions: each portion has at least the widths of those before it, and the titles stand once.
//! - What a cell shows may come from anybody: it is kept on one line, and its control characters are escaped.
//! - A text that is wider than its column may be moves the rest of its own row, and is cut only where its column says so.

use super::terminal::{Terminal, harmless_bytes, harmless_line};
use clap::builder::styling::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What stands between columns.
const GAP: &str = "  ";
/// The narrowest that a column which is cut becomes, in characters: then the line is longer than the terminal is wide.
const CUT_WIDTH_MIN: usize = 16;
/// What stands for what is cut off.
const CUT_OFF: char = '…';

/// A table, portion by portion.
pub(super) struct Table {
    terminal: Terminal,
    columns: Vec<Column>,
    has_titles: bool,
}

/// A column.
pub(super) struct Column {
    title: &'static str,
    is_right: bool,
    is_cut: bool,
    width: usize,
}

/// A text in a column, and how it is painted.
pub(super) struct Cell {
    text: String,
    paint: Style,
}

impl Column {
    /// One of texts, which are aligned to the left.
    pub(super) fn left(title: &'static str) -> Column {
        Column { title, is_right: false, is_cut: false, width: title.width() }
    }

    /// One of numbers, which are aligned to the right.
    pub(super) fn right(title: &'static str) -> Column {
        Column { is_right: true, ..Column::left(title) }
    }

    /// The last one, whose texts are cut where the terminal ends.
    pub(super) fn cut(title: &'static str) -> Column {
        Column { is_cut: true, ..Column::left(title) }
    }
}

impl Cell {
    /// A text.
    pub(super) fn new(text: &str) -> Cell {
        Cell { text: harmless_line(text), paint: Style::new() }
    }

    /// Bytes that are mostly text.
    pub(super) fn of_bytes(bytes: &[u8]) -> Cell {
        Cell { text: harmless_bytes(bytes), paint: Style::new() }
    }

    /// The same in a colour.
    pub(super) fn painted(self, colour: AnsiColor) -> Cell {
        Cell { paint: colour.on_default(), ..self }
    }

    /// The same in bold letters.
    pub(super) fn bold(self) -> Cell {
        Cell { paint: self.paint.bold(), ..self }
    }
}

impl Table {
    /// A table without rows.
    pub(super) fn new(terminal: Terminal, columns: Vec<Column>) -> Table {
        Table { terminal, columns, has_titles: false }
    }

    /// The lines of some rows, the titles before the first.
    pub(super) fn lines(&mut self, rows: Vec<Vec<Cell>>) -> String {
        // A key of 4,096 bytes does not push everybody else's columns out of sight.
        let width_max = self.terminal.columns / 2;
        for row in &rows {
            for (column, cell) in self.columns.iter_mut().zip(row) {
                column.width = column.width.max(cell.text.width().min(width_max));
            }
        }
        let mut lines = String::new();
        if !std::mem::replace(&mut self.has_titles, true) {
            let titles = self.columns.iter().map(|column| Cell::new(column.title).bold());
            self.add(&titles.collect::<Vec<_>>(), &mut lines);
        }
        for row in &rows {
            self.add(row, &mut lines);
        }
        lines
    }

    fn add(&self, row: &[Cell], lines: &mut String) {
        let (mut line, mut used) = (String::new(), 0);
        for (column, cell) in self.columns.iter().zip(row) {
            let room = self.terminal.columns.saturating_sub(used).max(CUT_WIDTH_MIN);
            let text = if column.is_cut { cut(&cell.text, room) } else { cell.text.clone() };
            let spaces = " ".repeat(column.width.saturating_sub(text.width()));
            used += text.width() + spaces.len() + GAP.len();
            let text = self.painted(&text, cell.paint);
            line += &if column.is_right {
                format!("{spaces}{text}{GAP}")
            } else {
                format!("{text}{spaces}{GAP}")
            };
        }
        lines.push_str(line.trim_end_matches(' '));
        lines.push('\n');
    }

    fn painted(&self, text: &str, paint: Style) -> String {
        match self.terminal.has_colours && !text.is_empty() {
            true => format!("{paint}{text}{paint:#}"),
            false => text.into(),
        }
    }
}

/// As much of a text as has room, and a sign where something is cut off.
fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.into();
    }
    let (mut shown, mut used) = (String::new(), 1);
    for letter in text.chars() {
        used += letter.width().unwrap_or(0);
        if used > room {
            break;
        }
        shown.push(letter);
    }
    shown.push(CUT_OFF);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: usize, has_colours: bool) -> Table {
        let of = vec![Column::left("KEY"), Column::right("BYTES"), Column::cut("VALUE")];
        Table::new(Terminal { columns, has_colours }, of)
    }

    fn row(key: &str, bytes: &str, value: &str) -> Vec<Cell> {
        vec![Cell::new(key), Cell::new(bytes), Cell::new(value)]
    }

    #[test]
    fn columns_stand_side_by_side_and_titles_once() {
        let mut table = table(40, false);
        let first = table.lines(vec![row("a", "5", "x"), row("longer", "12", ""), row("日本", "1", "y")]);
        assert_eq!(first, "KEY     BYTES  VALUE\na           5  x\nlonger     12\n日本        1  y\n");
        assert_eq!(table.lines(vec![row("b", "7", "z")]), "b           7  z\n");
    }

    #[test]
    fn a_long_value_is_cut_where_the_terminal_ends_and_a_long_key_moves_its_own_row() {
        let mut table = table(60, false);
        let long = "k".repeat(40);
        let lines = table.lines(vec![row("a", "5", &"日".repeat(30)), row(&long, "5", &"v".repeat(30))]);
        let lines: Vec<&str> = lines.lines().skip(1).collect();
        assert!(lines[0].ends_with("日…") && (59..=60).contains(&lines[0].width()), "{lines:?}");
        assert_eq!(lines[1], format!("{long}      5  {}…", "v".repeat(15)), "a value keeps some room");
    }

    #[test]
    fn what_anybody_wrote_stays_in_its_cell() {
        let lines = table(40, false).lines(vec![row("a\nb", "\x1b[2J", "c\r")]);
        assert_eq!(lines.lines().nth(1), Some("a\\nb  \\u{1b}[2J  c\\r"));
    }

    #[test]
    fn colours_take_no_room_and_are_left_out_where_nobody_wants_them() {
        let cells = || vec![vec![Cell::new("a").painted(AnsiColor::Green), Cell::new("5"), Cell::new("")]];
        let painted = table(40, true).lines(cells());
        assert!(painted.ends_with("\x1b[32ma\x1b[0m        5\n"), "{painted:?}");
        assert!(!table(40, false).lines(cells()).contains('\x1b'));
    }
}
