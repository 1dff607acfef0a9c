//! The error type of this program: apart from its text it says whose fault the error is and what to
//! do about it.

use crate::printable;
use std::fmt;

/// Whose fault an error is. This decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The user's: a wrong name, a broken recipe, an impossible size. Exit code 2.
    Mistake,
    /// Everything else: a failed build, a full disk. Exit code 1.
    Failure,
}

impl Class {
    /// The exit code for an error of this class.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Mistake => 2,
            Class::Failure => 1,
        }
    }
}

/// An error for people: what was being done to what and what went wrong, whose fault it is,
/// and what to do.
///
/// Modules whose errors are matched by callers have their own `thiserror` enum and convert it into
/// this type (`impl From<TheirError> for Report`).
#[derive(Debug)]
pub struct Report {
    /// Whose fault it is.
    pub class: Class,
    /// What was being done, to what, and what went wrong; without a full stop at the end.
    pub message: String,
    /// What to do about it; without a full stop at the end.
    pub hint: Option<String>,
    /// Where in a file the mistake is; this is also in the message.
    pub place: Option<Place>,
    /// What caused it.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A place in a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Path of the file, as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Report {
    /// The user's mistake (exit code 2).
    pub fn mistake(message: impl Into<String>) -> Report {
        Report {
            class: Class::Mistake,
            message: message.into(),
            hint: None,
            place: None,
            source: None,
        }
    }

    /// A failure (exit code 1).
    pub fn failure(message: impl Into<String>) -> Report {
        Report {
            class: Class::Failure,
            ..Report::mistake(message)
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Report {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the place in a file, and puts it at the start of the message.
    #[must_use]
    pub fn at(mut self, place: Place) -> Report {
        self.message = format!("{place}: {}", self.message);
        self.place = Some(place);
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Report {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_ref()
            .map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}

/// The line for stderr and the class of an error with all its causes. The line contains no terminal
/// control sequences.
///
/// The text is the chain of causes joined with `: `, followed by the first hint in the chain. A
/// chain without a [`Report`] counts as a failure.
pub fn describe(error: &anyhow::Error) -> (String, Class) {
    let reports: Vec<&Report> = error
        .chain()
        .filter_map(|e| e.downcast_ref::<Report>())
        .collect();
    let class = reports.first().map_or(Class::Failure, |r| r.class);
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Many errors already print their cause: do not repeat it.
        if line.ends_with(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    if let Some(hint) = reports.iter().find_map(|r| r.hint.as_deref()) {
        line.push_str("; hint: ");
        line.push_str(hint);
    }
    // Some libraries and engines print several lines.
    let line: Vec<&str> = line.lines().map(str::trim).collect();
    (printable::line(&line.join(" ")).into_owned(), class)
}
