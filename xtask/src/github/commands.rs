//! Workflow commands: lines that a step prints for the runner, and the files in which it returns
//! results (docs.github.com, "Workflow commands for GitHub Actions").

use crate::error::Place;
use crate::hex::hex;
use crate::printable;
use std::fmt::Write;
use std::io::Read;

/// Severity of an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The step failed.
    Error,
    /// Something that should be checked.
    Warning,
    /// Information.
    Notice,
}

/// A line that annotates the run, or a line of a file.
pub fn annotation(level: Level, title: &str, place: Option<&Place>, message: &str) -> String {
    let name = match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Notice => "notice",
    };
    let mut properties = Vec::new();
    if let Some(Place { file, line, column }) = place {
        properties.push(format!("file={}", property(file)));
        properties.push(format!("line={line}"));
        properties.push(format!("col={column}"));
    }
    if !title.is_empty() {
        properties.push(format!("title={}", property(title)));
    }
    let space = if properties.is_empty() { "" } else { " " };
    format!(
        "::{name}{space}{}::{}",
        properties.join(","),
        message_of(message)
    )
}

/// Starts a foldable part of the log.
pub fn group(title: &str) -> String {
    format!("::group::{}", message_of(title))
}

/// Ends the part that [`group`] started.
pub const END_GROUP: &str = "::endgroup::";

/// A pair of lines between which the runner ignores commands.
///
/// They enclose the output of builds and guests, which may contain lines that look like commands.
#[derive(Debug)]
pub struct Stopped {
    token: String,
}

impl Stopped {
    /// A pair of lines with a random token.
    pub fn new() -> std::io::Result<Stopped> {
        // This protects a log and does not affect images.
        let mut bytes = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let token = format!("others-{}", hex(&bytes));
        Ok(Stopped { token })
    }

    /// The line before other programs' output.
    pub fn stop(&self) -> String {
        format!("::stop-commands::{}", self.token)
    }

    /// The line after other programs' output.
    pub fn resume(&self) -> String {
        format!("::{}::", self.token)
    }
}

/// The lines that give an output (or a variable) a value, for the file at `GITHUB_OUTPUT`.
pub fn output(name: &str, value: &str) -> String {
    // The delimiter must not be a line of the value.
    let mut delimiter = "END".to_owned();
    while value.lines().any(|line| line.trim_end() == delimiter) {
        delimiter.push('_');
    }
    format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
}

/// Escapes the text after a command's last `::`.
fn message_of(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    printable::lines(&text)
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Escapes the value of a command's property.
fn property(text: &str) -> String {
    message_of(text).replace(':', "%3A").replace(',', "%2C")
}

/// Escapes text for a table in GitHub's Markdown.
pub fn markdown(text: &str) -> String {
    let mut out = String::new();
    for c in printable::lines(&text.replace('\r', "")).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\n' | '\t' => out.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '@' => {
                // Escaping as a number keeps `@name` from mentioning a user and `#1` from linking
                // to an issue.
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Text as a code block, whatever it contains.
pub fn code_block(text: &str) -> String {
    let text = printable::lines(text);
    let longest = text
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_message_cannot_end_its_line_or_start_another_command() {
        let place = Place {
            file: "recipes/a,b:c/recipe.yaml".into(),
            line: 3,
            column: 7,
        };
        let line = annotation(Level::Error, "", Some(&place), "100 %\r\n::error::x");
        assert_eq!(
            line,
            "::error file=recipes/a%2Cb%3Ac/recipe.yaml,line=3,col=7::100 %25%0A::error::x"
        );
        assert_eq!(annotation(Level::Notice, "", None, "x"), "::notice::x");
        assert_eq!(group("a\nb"), "::group::a%0Ab");
    }

    #[test]
    fn an_output_may_hold_anything() {
        assert_eq!(output("a", "b"), "a<<END\nb\nEND\n");
        let hostile = "x\nEND\nother<<END\ny\nEND_\nz";
        let text = output("a", hostile);
        assert_eq!(text, format!("a<<END__\n{hostile}\nEND__\n"));
        // A runner may treat a carriage return as part of the line's end.
        assert!(output("a", "x\nEND\r\ny").starts_with("a<<END_\n"));
    }

    #[test]
    fn nobody_guesses_the_end_of_what_others_say() {
        let (a, b) = (Stopped::new().unwrap(), Stopped::new().unwrap());
        assert_ne!(a.resume(), b.resume());
        assert!(a.stop().starts_with("::stop-commands::others-"));
        assert!(a.resume().len() > 32);
    }

    #[test]
    fn markdown_stays_text() {
        assert_eq!(markdown("a|b\n<c>"), "a&#124;b &lt;c&gt;");
        assert_eq!(code_block("a\n```\nb"), "````text\na\n```\nb\n````\n");
    }
}
