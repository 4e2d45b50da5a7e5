//! Text in aligned columns, for terminals and logs.

use std::fmt::Write;

/// Characters of one cell; longer text ends in `...`.
const CELL_CHARS_MAX: usize = 48;

/// On which side a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Lays rows out under their headings, each line indented by two spaces.
pub fn table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([columns[at].0.len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::from(" ");
        for ((cell, (_, align)), width) in cells.zip(columns).zip(&widths) {
            let _ = match align {
                Align::Left => write!(text, " {cell:<width$} "),
                Align::Right => write!(text, " {cell:>width$} "),
            };
        }
        text.trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut columns.iter().map(|(heading, _)| *heading));
    for row in &rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// Makes text of recordings safe for a terminal: no control characters, one line, bounded.
pub fn plain(text: &str) -> String {
    let safe: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if safe.chars().count() <= CELL_CHARS_MAX {
        return safe;
    }
    safe.chars().take(CELL_CHARS_MAX - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_safe() {
        let columns = [("NAME", Align::Left), ("MONEY", Align::Right)];
        let rows = [
            vec!["rides".to_owned(), "1.00".to_owned()],
            vec!["\u{1b}[31mx\n".to_owned(), "-100.00".to_owned()],
        ];
        assert_eq!(
            table(&columns, &rows),
            "  NAME       MONEY\n  rides       1.00\n   [31mx   -100.00\n"
        );
        assert_eq!(plain(&"x".repeat(100)).len(), CELL_CHARS_MAX);
    }
}
