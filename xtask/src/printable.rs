//! Makes text safe to print: on a terminal, in a log, in a summary.
//!
//! Names, build output and guest output are not trusted. Some characters are commands for a
//! terminal, and others invisibly change what a reader sees. They are shown as escapes, e.g. U+001B
//! as `\u{1b}`. All text for stdout, stderr and for files that people read goes through this
//! module. There are two exceptions: the console of `boot`, which is the guest's own terminal, and
//! logs that are kept as evidence (`*.raw.log`).

mod strip;

pub use strip::{Stripper, plain};

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character must be escaped. This includes `\n` and `\t`.
///
/// Controls (General_Category Cc: C0, DEL, C1), line and paragraph separators, the marks and
/// embeddings of the Unicode Bidirectional Algorithm (UAX #9, table 4), and characters that are
/// invisible everywhere: two names must not look the same. Joiners are not escaped, because emoji
/// and scripts need them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn escaped(text: &str, keep: fn(char) -> bool, escape: fn(&mut String, char)) -> Cow<'_, str> {
    let bad = |c: char| is_hidden(c) && !keep(c);
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match bad(c) {
            true => escape(&mut out, c),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn as_rust(out: &mut String, c: char) {
    out.extend(c.escape_default());
}

/// Text for one line: line feeds are escaped too.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false, as_rust)
}

/// Text of several lines: `\n` and `\t` are kept.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'), as_rust)
}

/// Escapes workflow commands if running on a GitHub runner, which obeys `::` at the start of a
/// line, also after spaces, and the older `##[` anywhere (actions/runner, ActionCommand.cs). The
/// action itself also stops commands while it prints other programs' output.
pub fn without_commands(text: Cow<'_, str>) -> Cow<'_, str> {
    let on_github = std::env::var_os("GITHUB_ACTIONS").is_some();
    match on_github && (text.contains("::") || text.contains("##[")) {
        true => Cow::Owned(defused(&text)),
        false => text,
    }
}

fn defused(text: &str) -> String {
    let line = |line: &str| {
        let start = line.len() - line.trim_start().len();
        let line = match line[start..].starts_with("::") {
            true => format!("{}\\u{{3a}}{}", &line[..start], &line[start + 1..]),
            false => line.to_owned(),
        };
        line.replace("##[", "#\\u{23}[")
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// JSON text: like [`lines`], but with JSON's own escapes, so that its value stays the same. (RFC
/// 8259, section 7. serde_json escapes C0 only.)
pub fn json(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |c| c == '\n',
        |out, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

/// A line of another program's output, without its colours and other terminal commands. If a line
/// was redrawn (`\r`), only its last state is kept. The rest is escaped as in [`line`].
pub fn output(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let text = text.trim_end();
    let last = text.rsplit('\r').find(|state| !state.trim().is_empty());
    let plain = plain(last.unwrap_or_default());
    line(&plain.replace('\t', "    ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        for (text, shown) in [
            (
                "plain Łódź 東京 \u{1f469}\u{200d}\u{1f52c}",
                "plain Łódź 東京 \u{1f469}\u{200d}\u{1f52c}",
            ),
            ("6.1\x1b]0;title\x07", "6.1\\u{1b}]0;title\\u{7}"),
            ("\x1b[2J\u{9b}31m\u{7f}", "\\u{1b}[2J\\u{9b}31m\\u{7f}"),
            ("a\r\n\tb\0", "a\\r\\n\\tb\\u{0}"),
            (
                "\u{202e}gpj.\u{2066}x\u{2069}",
                "\\u{202e}gpj.\\u{2066}x\\u{2069}",
            ),
            (
                "a\u{2028}b\u{200b}\u{e0041}\u{feff}",
                "a\\u{2028}b\\u{200b}\\u{e0041}\\u{feff}",
            ),
        ] {
            assert_eq!(line(text), shown);
            // Once is enough.
            assert_eq!(line(&line(text)), shown);
        }
        assert_eq!(lines("a\n\tb\r\x1b"), "a\n\tb\\r\\u{1b}");
        assert!(
            (0..=0x10_ffff)
                .filter_map(char::from_u32)
                .filter(|c| c.is_control())
                .all(is_hidden)
        );
    }

    #[test]
    fn a_runner_finds_no_command() {
        assert_eq!(
            defused("  ::error::x\na ::b\n::c\n##[add-mask]d\n"),
            "  \\u{3a}:error::x\na ::b\n\\u{3a}:c\n#\\u{23}[add-mask]d\n"
        );
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "a\u{9b}": "\x1b\u{7f}\u{202e}\u{e0041}\n" });
        for text in [
            value.to_string(),
            serde_json::to_string_pretty(&value).unwrap_or_default(),
        ] {
            let safe = json(&text);
            assert_eq!(lines(&safe), safe);
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&safe).ok(),
                Some(value.clone())
            );
        }
    }

    #[test]
    fn output_of_builds_is_plain() {
        for (raw, shown) in [
            (
                &b"\x1b[1;31merror:\x1b[0m no\x1b]0;t\x07 way\r\n"[..],
                "error: no way",
            ),
            (b" 10 %\r 50 %\r100 % done\r\n", "100 % done"),
            (b"100 % done\r\r\n", "100 % done"),
            (b"a\tb\xff\xc2\x9b31m", "a    b\u{fffd}\\u{9b}31m"),
            (b"\x1b[K\r\n", ""),
            (b"", ""),
        ] {
            assert_eq!(output(raw), shown);
        }
    }
}
