//! Sparse members: GNU's old form and its three PAX forms (GNU tar manual, "Storing Sparse
//! Files").

use crate::rootfs::Segment;

/// Most runs of one member: a file with more is hardly sparse, and each run needs memory.
pub(super) const MAX_RUNS: usize = 1 << 20;

/// The map of a sparse member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Map {
    /// Length of the file in bytes, including holes.
    pub size: u64,
    /// The data as (offset in the file, length), in the order of the file.
    pub runs: Vec<(u64, u64)>,
    /// Bytes of the stored content before the first run: the map in form 1.0.
    pub skip: u64,
}

impl Map {
    /// The runs with their location, if they are stored from byte `start` of the store on. `None`
    /// if the map is not valid: runs overlap, are out of order or exceed the file, or their total
    /// is not the `len` bytes that are stored.
    pub(super) fn segments(&self, start: u64, len: u64) -> Option<Box<[Segment]>> {
        let mut stored = 0_u64;
        let mut end = 0_u64;
        let mut out = Vec::with_capacity(self.runs.len());
        for &(offset, run) in &self.runs {
            if offset < end || run > self.size.checked_sub(offset)? {
                return None;
            }
            end = offset.checked_add(run)?;
            if run > 0 {
                out.push(Segment {
                    offset,
                    len: run,
                    start: start.checked_add(stored)?,
                });
            }
            stored = stored.checked_add(run).filter(|stored| *stored <= len)?;
        }
        (stored == len).then(|| out.into())
    }

    /// The map before the content (form 1.0): decimal numbers, each followed by a line feed; the
    /// first one is the number of runs. `more` returns the next block of 512 bytes.
    pub(super) fn from_content<E>(
        size: u64,
        mut more: impl FnMut() -> Result<[u8; 512], E>,
    ) -> Result<Option<Map>, E> {
        let mut blocks = 0;
        let mut block: &[u8] = &[];
        let mut current;
        let mut numbers = Vec::new();
        let mut wanted = 1;
        let mut number: Option<u64> = None;
        while numbers.len() < wanted {
            let Some((&byte, rest)) = block.split_first() else {
                current = more()?;
                block = &current;
                blocks += 1;
                continue;
            };
            block = rest;
            match (byte, number) {
                (b'0'..=b'9', so_far) => {
                    let digit = u64::from(byte - b'0');
                    number = so_far
                        .unwrap_or(0)
                        .checked_mul(10)
                        .and_then(|n| n.checked_add(digit));
                    if number.is_none() {
                        return Ok(None);
                    }
                }
                (b'\n', Some(n)) => {
                    if numbers.is_empty() {
                        let Some(count) = usize::try_from(n).ok().filter(|c| *c <= MAX_RUNS) else {
                            return Ok(None);
                        };
                        wanted = 1 + 2 * count;
                    }
                    numbers.push(n);
                    number = None;
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(Map {
            size,
            runs: pairs(&numbers[1..]),
            skip: blocks * 512,
        }))
    }

    /// The map of a `GNU.sparse.map` record (form 0.1): numbers separated by commas.
    pub(super) fn from_record(size: u64, text: &str) -> Option<Map> {
        let numbers: Vec<u64> = match text {
            "" => Vec::new(),
            _ => text
                .split(',')
                .map(|n| n.trim().parse().ok())
                .collect::<Option<_>>()?,
        };
        let whole = numbers.len().is_multiple_of(2) && numbers.len() <= 2 * MAX_RUNS;
        whole.then(|| Map {
            size,
            runs: pairs(&numbers),
            skip: 0,
        })
    }
}

fn pairs(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.chunks_exact(2).map(|p| (p[0], p[1])).collect()
}
