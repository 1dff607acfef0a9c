//! Signals, with all names and numbers that container engines accept.

use serde::{Serialize, Serializer};
use std::fmt;

/// The number of a Linux signal, 1 to 64 (signal(7); the numbers of x86 and ARM).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(u8);

/// Number of the last signal.
const LAST: u8 = 64;

/// `SIGRTMIN`, the first real-time signal, in the numbering of glibc, Docker and podman. musl's is
/// one higher, so only numbers mean the same everywhere.
const RTMIN: u8 = 34;

/// The names of the signals, starting at 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Second names of signals.
const ALIASES: [(&str, u8); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

impl Signal {
    /// SIGTERM, the default of engines if an image names no signal.
    pub const TERM: Signal = Signal(15);

    /// Parses a `STOPSIGNAL` value: a number, or a name with or without `SIG`, in any case.
    /// Real-time signals are written like `RTMIN+3` or `RTMAX-2`.
    pub fn parse(text: &str) -> Option<Signal> {
        let text = text.trim();
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let number = text.parse().ok()?;
            return (1..=LAST).contains(&number).then_some(Signal(number));
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(at) = NAMES.iter().position(|n| *n == name) {
            return u8::try_from(at + 1).ok().map(Signal);
        }
        if let Some((_, number)) = ALIASES.iter().find(|(n, _)| *n == name) {
            return Some(Signal(*number));
        }
        // The offset from the start or end of the range.
        let distance = |rest: &str| match rest.as_bytes() {
            [] => Some(0),
            [b'+' | b'-', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
                rest[1..].parse().ok().filter(|n| *n <= LAST - RTMIN)
            }
            _ => None,
        };
        if let Some(rest) = name.strip_prefix("RTMIN") {
            return distance(rest)
                .filter(|_| !rest.starts_with('-'))
                .map(|n| Signal(RTMIN + n));
        }
        let rest = name.strip_prefix("RTMAX")?;
        distance(rest)
            .filter(|_| !rest.starts_with('+'))
            .map(|n| Signal(LAST - n))
    }

    /// Its number, 1 to 64.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The name without `SIG`. `None` for signals that have only numbers.
    pub fn name(self) -> Option<&'static str> {
        NAMES.get(usize::from(self.0).checked_sub(1)?).copied()
    }
}

/// The form that systemd reads (systemd.kill(5)): `SIGTERM`, `SIGRTMIN+3`, or a number.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.0.checked_sub(RTMIN)) {
            (Some(name), _) => write!(f, "SIG{name}"),
            (None, Some(0)) => f.write_str("SIGRTMIN"),
            (None, Some(n)) => write!(f, "SIGRTMIN+{n}"),
            // Reserved by the C library.
            (None, None) => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn by_every_name() {
        for (text, number, name) in [
            ("TERM", 15, "SIGTERM"),
            ("SIGTERM", 15, "SIGTERM"),
            ("sigterm", 15, "SIGTERM"),
            (" Term ", 15, "SIGTERM"),
            ("15", 15, "SIGTERM"),
            ("2", 2, "SIGINT"),
            ("quit", 3, "SIGQUIT"),
            ("IOT", 6, "SIGABRT"),
            ("SIGCLD", 17, "SIGCHLD"),
            ("poll", 29, "SIGIO"),
            ("STKFLT", 16, "SIGSTKFLT"),
            ("32", 32, "32"),
            ("34", 34, "SIGRTMIN"),
            ("RTMIN", 34, "SIGRTMIN"),
            ("RTMIN+0", 34, "SIGRTMIN"),
            ("RTMIN+3", 37, "SIGRTMIN+3"),
            ("SIGRTMIN+3", 37, "SIGRTMIN+3"),
            ("sigrtmin+3", 37, "SIGRTMIN+3"),
            ("37", 37, "SIGRTMIN+3"),
            ("SIGRTMAX-2", 62, "SIGRTMIN+28"),
            ("rtmax", 64, "SIGRTMIN+30"),
            ("64", 64, "SIGRTMIN+30"),
        ] {
            let signal = Signal::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((signal.number(), &*signal.to_string()), (number, name));
            assert_eq!(Signal::parse(&signal.to_string()), Some(signal));
        }
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "",
            "0",
            "65",
            "256",
            "-9",
            "+9",
            "SIG",
            "SIG15",
            "TERM;",
            "RTMIN-1",
            "RTMAX+1",
            "RTMIN+31",
            "RTMIN+",
            "RTMIN++3",
            "RTMIN+99",
            "SIGSIGTERM",
            "15 TERM",
            "1.5",
            "FOO",
        ] {
            assert_eq!(Signal::parse(text), None, "{text}");
        }
    }
}
