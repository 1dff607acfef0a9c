//! A block map for bmaptool, which uses it to write only the blocks of a raw image that matter, and
//! to check them.
//!
//! The format is version 2.0, as written by bmaptool's `BmapCreate.py`.

use super::Sink;
use super::digest::sha256;
use super::zero::is_zero;
use crate::hex::hex;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::ops::Range;

/// Size of a block in bytes.
const BLOCK: u64 = 4096;

/// Placeholder for the file's own checksum while that is computed.
const NO_SUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Writes the block map of a disk.
///
/// bmaptool does not write blocks that are not in the map, and the device may contain *anything*
/// there. So zeros are left out only where they are free space, and never just because they are
/// zeros: a file system's table that is half empty must be written with its empty half.
#[derive(Debug)]
pub struct Bmap<W> {
    out: W,
    size: u64,
    /// Free space: ascending, disjoint. Ranges that were passed are dropped.
    free: std::iter::Peekable<std::vec::IntoIter<Range<u64>>>,
    /// The block that is being gathered: its number, its bytes so far, and whether one of them is
    /// not zero.
    block: u64,
    filled: u64,
    bytes: Vec<u8>,
    /// The current run of mapped blocks, starting at `first`, and the hash of their bytes.
    run: Option<(u64, Sha256)>,
    /// Mapped blocks as (first, last, hash).
    ranges: Vec<(u64, u64, String)>,
}

impl<W: Write + Send> Bmap<W> {
    /// Writes the map of a disk of `size` bytes to `out`. `free` are the ranges of the disk, in
    /// bytes, whose contents do not matter as long as they are zero: free space of file systems and
    /// gaps between partitions. They must be ascending and disjoint.
    pub fn new(out: W, size: u64, free: Vec<Range<u64>>) -> Bmap<W> {
        Bmap {
            out,
            size,
            free: free.into_iter().peekable(),
            block: 0,
            filled: 0,
            bytes: vec![0; BLOCK as usize],
            run: None,
            ranges: Vec::new(),
        }
    }

    /// Adds the gathered block to the map; the last one may be shorter.
    fn close(&mut self) {
        let start = self.block * BLOCK;
        let len = self.filled;
        let end = start + len;
        while self.free.next_if(|free| free.end <= start).is_some() {}
        let free = self.free.peek();
        let free = free.is_some_and(|free| free.start <= start && end <= free.end);
        let bytes = &self.bytes[..usize::try_from(len).unwrap_or(0)];
        if free && is_zero(bytes) {
            self.end_run();
        } else {
            let (_, hash) = self
                .run
                .get_or_insert_with(|| (start / BLOCK, Sha256::new()));
            hash.update(bytes);
        }
        self.block += 1;
        self.filled = 0;
    }

    fn end_run(&mut self) {
        if let Some((first, hash)) = self.run.take() {
            let sum = hex(&hash.finalize());
            self.ranges.push((first, self.block - 1, sum));
        }
    }

    /// Adds `len` bytes: `bytes`, or zeros.
    fn put(&mut self, len: u64, bytes: Option<&[u8]>) {
        let mut done = 0;
        while done < len {
            let n = (BLOCK - self.filled).min(len - done);
            let (at, count) = (self.filled as usize, n as usize);
            let place = &mut self.bytes[at..at + count];
            match bytes {
                Some(bytes) => place.copy_from_slice(&bytes[done as usize..][..count]),
                None => place.fill(0),
            }
            self.filled += n;
            done += n;
            if self.filled == BLOCK {
                self.close();
            }
        }
    }

    /// Skips whole blocks of zeros in free space without looking at each one.
    fn skip(&mut self, offset: u64, len: u64) -> u64 {
        if self.filled != 0 {
            return 0;
        }
        while self.free.next_if(|free| free.end <= offset).is_some() {}
        let Some(free) = self.free.peek().filter(|free| free.start <= offset) else {
            return 0;
        };
        let blocks = (free.end.min(offset + len) - offset) / BLOCK;
        if blocks > 0 {
            self.end_run();
            self.block += blocks;
        }
        blocks * BLOCK
    }

    fn text(&self, sum: &str) -> String {
        let blocks = self.size.div_ceil(BLOCK);
        let mapped: u64 = self.ranges.iter().map(|(a, b, _)| b - a + 1).sum();
        let mut text = format!(
            "<?xml version=\"1.0\" ?>\n\
             <!-- Block map of a disk image, for bmaptool -->\n\
             <bmap version=\"2.0\">\n\
             \x20   <ImageSize> {} </ImageSize>\n\
             \x20   <BlockSize> {BLOCK} </BlockSize>\n\
             \x20   <BlocksCount> {blocks} </BlocksCount>\n\
             \x20   <MappedBlocksCount> {mapped} </MappedBlocksCount>\n\
             \x20   <ChecksumType> sha256 </ChecksumType>\n\
             \x20   <BmapFileChecksum> {sum} </BmapFileChecksum>\n\
             \x20   <BlockMap>\n",
            self.size
        );
        for (first, last, sum) in &self.ranges {
            let range = if first == last {
                format!("{first}")
            } else {
                format!("{first}-{last}")
            };
            let _ = writeln!(text, "        <Range chksum=\"{sum}\"> {range} </Range>");
        }
        text.push_str("    </BlockMap>\n</bmap>\n");
        text
    }
}

impl<W: Write + Send> Sink for Bmap<W> {
    fn data(&mut self, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes.len() as u64, Some(bytes));
        Ok(())
    }

    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let skipped = self.skip(offset + done, len - done);
            done += skipped;
            if skipped == 0 {
                let n = (BLOCK - self.filled).min(len - done);
                self.put(n, None);
                done += n;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.filled > 0 {
            self.close();
        }
        self.end_run();
        // The checksum is that of the file with zeros in the checksum's place.
        let sum = sha256(self.text(NO_SUM).as_bytes())?;
        let text = self.text(&sum);
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{BLOCK, Bmap, NO_SUM};
    use crate::format::digest::sha256;
    use crate::format::{Checked, Sink};
    use std::ops::Range;

    fn map(size: u64, free: &[Range<u64>], fill: impl FnOnce(&mut dyn Sink)) -> String {
        let mut out = Vec::new();
        let mut sink = Checked::new(Bmap::new(&mut out, size, free.to_vec()), size);
        fill(&mut sink);
        sink.finish().unwrap();
        drop(sink);
        String::from_utf8(out).unwrap()
    }

    fn ranges(map: &str) -> Vec<&str> {
        let lines = map.lines().filter(|l| l.contains("<Range"));
        lines
            .map(|l| l.split("> ").nth(1).unwrap().split(" <").next().unwrap())
            .collect()
    }

    #[test]
    fn zeros_are_left_out_only_in_free_space() {
        let size = 100 * BLOCK + 10;
        let free = [5 * BLOCK..20 * BLOCK, 50 * BLOCK + 1..size];
        let whole = map(size, &free, |sink| {
            sink.zeros(0, 10 * BLOCK).unwrap();
            sink.data(10 * BLOCK, &[1]).unwrap();
            sink.zeros(10 * BLOCK + 1, size - 10 * BLOCK - 1).unwrap();
        });
        assert_eq!(ranges(&whole), ["0-4", "10", "20-50"]);
        assert!(whole.contains("<MappedBlocksCount> 37 <"));
        assert!(whole.contains("<BlocksCount> 101 <"));
        let split = map(size, &free, |sink| {
            for at in 0..size {
                let byte = u8::from(at == 10 * BLOCK);
                if at % 3 == 0 || byte == 1 {
                    sink.data(at, &[byte]).unwrap();
                } else {
                    sink.zeros(at, 1).unwrap();
                }
            }
        });
        assert_eq!(split, whole);
        assert_eq!(
            ranges(&map(size, &[], |s| s.zeros(0, size).unwrap())),
            ["0-100"]
        );
    }

    #[test]
    fn sums_are_those_of_the_bytes_and_of_the_file_itself() {
        let size = 2 * BLOCK + 100;
        let bytes: Vec<u8> = (0..size).map(|i| (i % 255) as u8).collect();
        let map = map(size, &[], |sink| sink.data(0, &bytes).unwrap());
        let sum = sha256(&bytes[..]).unwrap();
        assert!(map.contains(&format!("<Range chksum=\"{sum}\"> 0-2 </Range>")));
        let own = map.split("<BmapFileChecksum> ").nth(1).unwrap()[..64].to_owned();
        let blank = map.replace(&own, NO_SUM);
        assert_eq!(sha256(blank.as_bytes()).unwrap(), own);
    }
}
