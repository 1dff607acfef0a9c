//! Boots that fail through the emulator's fault are tried again.

use super::trouble::Failed;
use crate::error::Report;

/// How often a boot is tried, at most.
pub const ATTEMPTS: u32 = 3;

/// Boots until the emulator is not to blame for the result, at most [`ATTEMPTS`] times. Also tells
/// how often it was tried.
///
/// An emulator that gets too little of a busy host lets healthy kernels panic now and then.
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
        tracing::warn!("trying again: emulation on a busy host does that to healthy kernels");
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
