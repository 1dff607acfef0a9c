//! Tables for people. On a terminal they are as wide as it is: longer texts are wrapped in their
//! columns. In a pipe every row is one line.

use comfy_table::{ContentArrangement, Table, presets};
use std::io::IsTerminal;

/// Width of the terminal on stdout in columns, if stdout is one.
pub(super) fn width() -> Option<u16> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&out).ok()?;
    // 0: the terminal does not know.
    Some(size.ws_col).filter(|columns| *columns > 0)
}

/// A table with these titles.
pub(super) fn new<const N: usize>(titles: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(width) = width() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width);
    }
    table.set_header(titles);
    table
}
