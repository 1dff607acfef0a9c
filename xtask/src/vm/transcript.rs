//! What a serial console said: everything as it came, and the same as plain text to search.

use crate::printable::Stripper;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How much is kept of either: the last 4 MiB.
const KEEP: usize = 4 << 20;
/// How exactly it is known when something was said.
const GRAIN: Duration = Duration::from_millis(20);

/// A transcript.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    raw: Vec<u8>,
    plain: Vec<u8>,
    /// How many bytes of the plain text were dropped from its start.
    dropped: u64,
    stripper: Stripper,
    /// When the plain text before a place was complete; in ascending order.
    times: Vec<(u64, Instant)>,
}

impl Transcript {
    /// Adds what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        for &b in bytes {
            self.stripper.push(b, &mut self.plain);
        }
        let (end, now) = (self.end(), Instant::now());
        match self.times.last_mut() {
            Some((place, time)) if now.duration_since(*time) < GRAIN => *place = end,
            _ => self.times.push((end, now)),
        }
        // Cut only when twice the size is there, so that a byte is moved once at most.
        if self.raw.len() > 2 * KEEP {
            self.raw.drain(..self.raw.len() - KEEP);
        }
        if self.plain.len() > 2 * KEEP {
            let cut = self.plain.len() - KEEP;
            self.plain.drain(..cut);
            self.dropped += cut as u64;
        }
    }

    /// Everything, as it came; at most the last 4 MiB.
    pub(super) fn raw(&self) -> String {
        let start = self.raw.len().saturating_sub(KEEP);
        String::from_utf8_lossy(&self.raw[start..]).into_owned()
    }

    /// When the byte at this place was said.
    pub(super) fn time_of(&self, place: u64) -> Option<Instant> {
        let next = self.times.partition_point(|(end, _)| *end <= place);
        self.times.get(next).map(|(_, time)| *time)
    }

    /// The place behind the last byte of the plain text.
    pub(super) fn end(&self) -> u64 {
        self.dropped + self.plain.len() as u64
    }

    /// The plain text between two places; what is not kept any more is left out.
    pub(super) fn between(&self, from: u64, to: u64) -> &[u8] {
        let at = |place: u64| {
            usize::try_from(place.saturating_sub(self.dropped))
                .unwrap_or(usize::MAX)
                .min(self.plain.len())
        };
        let (from, to) = (at(from), at(to));
        &self.plain[from..to.max(from)]
    }

    /// The first place from `from` on where one of the patterns stands: which one, where it
    /// starts and where it ends. Of two that start at one place the first in the list.
    pub(super) fn find<'a>(
        &self,
        from: u64,
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Option<(usize, u64, u64)> {
        let start = from.max(self.dropped);
        let text = self.between(start, self.end());
        let mut best: Option<(usize, usize, usize)> = None;
        for (i, pattern) in patterns.into_iter().enumerate() {
            // Only what could be earlier than the best so far.
            let end = best.map_or(text.len(), |(_, at, _)| {
                (at + pattern.len()).saturating_sub(1).min(text.len())
            });
            if let Some(at) = position(&text[..end], pattern.as_bytes()) {
                best = Some((i, at, at + pattern.len()));
            }
        }
        best.map(|(i, at, end)| (i, start + at as u64, start + end as u64))
    }

    /// The line around a place, without blanks at its ends.
    pub(super) fn line_at(&self, place: u64) -> String {
        let before = self.between(self.dropped, place);
        let after = self.between(place, self.end());
        let start = before
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |p| p + 1);
        let end = after
            .iter()
            .position(|&b| b == b'\n')
            .unwrap_or(after.len());
        let mut line = before[start..].to_vec();
        line.extend_from_slice(&after[..end]);
        String::from_utf8_lossy(&line).trim().to_owned()
    }

    /// The last `n` lines that are neither empty nor a firmware's attempt at drawing.
    pub(super) fn tail(&self, n: usize) -> Vec<String> {
        let mut lines = VecDeque::new();
        for line in self.plain.rsplit(|&b| b == b'\n') {
            let line = String::from_utf8_lossy(line);
            let line = line.trim_end();
            if !line.chars().all(|c| c.is_whitespace() || c == '\u{fffd}') {
                lines.push_front(line.to_owned());
                if lines.len() == n {
                    break;
                }
            }
        }
        lines.into()
    }
}

fn position(text: &[u8], pattern: &[u8]) -> Option<usize> {
    let (&first, rest) = pattern.split_first()?;
    let mut at = 0;
    while let Some(step) = text[at..].iter().position(|&b| b == first) {
        at += step + 1;
        if text[at..].starts_with(rest) {
            return Some(at - 1);
        }
    }
    None
}
