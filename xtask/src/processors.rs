//! The processors of this host.

/// How many threads this process can run at the same time: at least 1, also where the system does
/// not tell.
pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
