//! How long to wait before a request is sent again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Number of attempts in total.
pub(super) const ATTEMPTS: u32 = 5;

/// Pause after the first failed attempt; it doubles after each further one.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest pause. If a registry asks for a longer one, this is an error.
pub(super) const LONGEST: Duration = Duration::from_secs(120);

/// The pause after the failed attempt of this number, which counts from 1.
pub(super) fn pause(attempt: u32) -> Duration {
    let doubled = PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    doubled.min(LONGEST)
}

/// Sleeps, but not longer than until `stop` is set.
pub(super) fn sleep(pause: Duration, stop: &AtomicBool) {
    const STEP: Duration = Duration::from_millis(100);
    let mut left = pause;
    while !left.is_zero() && !stop.load(Ordering::Relaxed) {
        let step = left.min(STEP);
        std::thread::sleep(step);
        left -= step;
    }
}

/// The pause in a header `Retry-After` (RFC 9110, 10.2.3): seconds, or a time.
pub(super) fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    let then = u64::try_from(then.timestamp()).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(Duration::from_secs(then.saturating_sub(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        assert_eq!(pause(1), PAUSE);
        assert_eq!(pause(3), PAUSE * 4);
        assert_eq!(pause(u32::MAX), LONGEST);
    }

    #[test]
    fn both_forms_of_retry_after_are_read() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(
            retry_after("Wed, 21 Oct 2015 07:28:00 GMT"),
            Some(Duration::ZERO)
        );
        let later = retry_after("Wed, 21 Oct 2099 07:28:00 GMT");
        assert!(later.is_some_and(|later| later > LONGEST));
        assert_eq!(retry_after("soon"), None);
    }
}
