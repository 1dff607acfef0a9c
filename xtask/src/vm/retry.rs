//! Retries boots that failed because of the emulator.

use super::trouble::Failed;
use crate::error::Report;

/// Maximum number of attempts for a boot.
pub const ATTEMPTS: u32 = 3;

/// Repeats a boot while its failure is the emulator's fault, at most [`ATTEMPTS`] times. Also
/// returns the number of attempts.
///
/// Healthy kernels now and then panic in an emulator that gets too little time on a busy host.
pub fn retried<T>(
    mut attempt: impl FnMut() -> Result<T, Report>,
    to_blame: impl Fn(&Result<T, Report>) -> bool,
) -> Result<(T, u32), Report> {
    let mut attempts = 1;
    loop {
        let done = attempt();
        if attempts == ATTEMPTS || !to_blame(&done) {
            return done.map(|value| (value, attempts));
        }
        tracing::warn!(
            "trying again: emulation on a busy host can cause this with a healthy kernel"
        );
        attempts += 1;
    }
}

/// Whether an error is the emulator's fault ([`Failed::by_emulator`]).
pub fn is_emulators_fault(report: &Report) -> bool {
    Failed::of(report).is_some_and(Failed::by_emulator)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{ATTEMPTS, retried};

    #[test]
    fn it_ends_with_the_first_result_that_counts_or_the_last() {
        let mut results = [1, 1, 7].into_iter();
        let done = retried(
            || Ok(results.next().unwrap()),
            |r| *r.as_ref().unwrap() == 1,
        );
        assert_eq!(done.unwrap(), (7, 3));
        let mut count = 0;
        let done = retried(
            || {
                count += 1;
                Ok(count)
            },
            |_| true,
        );
        assert_eq!(done.unwrap(), (ATTEMPTS, ATTEMPTS));
    }
}
