//! When an image was made: the date in its configuration, if it is plausible.

use super::{Kind, Rootfs};

/// Earlier creation dates are made up by reproducible builds: the zeros of Go, Unix and FAT (0001,
/// 1970 and 1980) with some hours for time zones.
const MADE_UP: i64 = 315_532_800 + 2 * DAY;

/// Later dates are made up if no file is that new (2038-01-19, the last second of 32 bits).
const FAR: i64 = i32::MAX as i64;

/// A day in seconds.
const DAY: i64 = 86_400;

impl Rootfs {
    /// Whether an image with these files can have been made at `created` (seconds since 1970). If
    /// not, the date is ignored: setting file times back to it would destroy them.
    pub fn may_be_of(&self, created: i64) -> bool {
        is_believed(created, &self.times())
    }

    /// The newest time of a file in seconds since 1970, without the files that an engine writes
    /// anew into each container; at most the latest time that an ext4 superblock can store.
    pub fn newest_file(&self) -> Option<i64> {
        let newest = self.times().last().copied();
        newest.map(|secs| secs.clamp(0, i64::from(u32::MAX)))
    }

    /// The times of all files, in seconds, sorted.
    fn times(&self) -> Vec<i64> {
        let mut times = Vec::new();
        let mut walk = self.tree.walk();
        while let Some((path, id)) = walk.step() {
            let node = self.tree.node(id);
            if matches!(node.kind, Kind::File(_)) && !OF_THE_ENGINE.iter().any(|of| *path == **of) {
                times.push(node.meta.mtime.secs);
            }
        }
        times.sort_unstable();
        times
    }
}

/// Files that an engine writes into a container when it makes one.
const OF_THE_ENGINE: [&str; 6] = [
    "/.dockerenv",
    "/run/.containerenv",
    "/dev/console",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
];

/// Whether an image whose files have these times, sorted, can have been made then: most of them are
/// older.
fn is_believed(created: i64, files: &[i64]) -> bool {
    let newest = files.last().copied().unwrap_or(0);
    let middle = files.get(files.len() / 2).copied().unwrap_or(0);
    created > MADE_UP && (created <= FAR || created - DAY <= newest) && middle <= created + DAY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_cannot_be_say_nothing() {
        let files = [1_600_000_000, 1_700_000_000, 1_700_000_100];
        for (created, believed) in [
            (-62_135_596_800, false),
            (0, false),
            (1, false),
            (315_532_801, false),
            (946_684_800, false),
            (1_700_000_000, true),
            (1_710_000_000, true),
            (4_102_444_800, false),
            (253_402_300_799, false),
        ] {
            assert_eq!(is_believed(created, &files), believed, "{created}");
        }
        // A single file from the future does not count.
        assert!(is_believed(
            1_710_000_000,
            &[1_600_000_000, 1_600_000_001, 1 << 40]
        ));
        assert!(is_believed(1_710_000_000, &[]));
        // A machine whose clock is in the future.
        assert!(is_believed(FAR + 9, &[FAR]));
    }
}
