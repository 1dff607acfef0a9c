//! streamOptimized ("Stream-Optimized Compressed"): written strictly front to back, each grain
//! deflated, each grain table after its grains, the directory and a footer at the end.

use super::super::squeeze::{Codec, Squeezed, Store};
use super::super::{DEFLATE_LEVEL, Options, Sink, deflate};
use super::{DESCRIPTOR, ENTRIES, GRAIN, Header, TABLE_SECTORS, checked, descriptor, sector};
use crate::format::blocks::{SECTOR, put};
use std::io::{self, Write};

/// Value in the header: the offset of the directory is in the footer.
const AT_END: u64 = u64::MAX;

/// Types of markers.
const END_OF_STREAM: u32 = 0;
const GRAIN_TABLE: u32 = 1;
const GRAIN_DIRECTORY: u32 = 2;
const FOOTER: u32 = 3;

/// Writes a streamOptimized VMDK, which is for transport: virtual machines do not write to it. It
/// is deflated on all cores.
#[derive(Debug)]
pub struct VmdkStream<W>(Squeezed<Stream<W>>);

impl<W: Write + Send> VmdkStream<W> {
    /// Writes a disk of `size` bytes to `out`, from the first byte of the file on. `out` gets
    /// pieces of a few KiB.
    pub fn new(out: W, size: u64, options: &Options) -> io::Result<VmdkStream<W>> {
        let size = checked(size)?;
        let usize_of = |n: u64| usize::try_from(n).map_err(io::Error::other);
        let tables = size.div_ceil(GRAIN).div_ceil(ENTRIES);
        let mut stream = Stream {
            out,
            at: 0,
            header: Header {
                version: 3,
                // Line ends can be checked, grains are compressed, there are markers.
                flags: 1 | 1 << 16 | 1 << 17,
                capacity: size / SECTOR,
                redundant: 0,
                primary: AT_END,
                overhead: GRAIN / SECTOR,
                compression: 1,
            },
            grains: 0,
            table: vec![0; usize_of(ENTRIES)?],
            number: None,
            directory: vec![0; usize_of(tables)?],
        };
        let name = format!("{}.vmdk", options.name);
        let mut start = vec![0; usize_of(GRAIN)?];
        put(&mut start, 0, &stream.header.bytes());
        let text = descriptor("streamOptimized", size, &name, options.id);
        debug_assert!(text.len() < DESCRIPTOR * 512);
        put(&mut start, 512, text.as_bytes());
        stream.write(&start)?;
        Squeezed::new(stream, GRAIN, options.threads, codec).map(VmdkStream)
    }

    /// The inner writer.
    pub(in super::super) fn out(&mut self) -> &mut W {
        &mut self.0.store().out
    }

    /// Size of the grains that were stored in bytes, before they were deflated.
    pub(in super::super) fn content(&mut self) -> u64 {
        self.0.store().grains * GRAIN
    }
}

impl<W: Write + Send> Sink for VmdkStream<W> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.data(offset, bytes)
    }
    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.0.zeros(offset, len)
    }
    fn finish(&mut self) -> io::Result<()> {
        self.0.finish()
    }
}

fn codec() -> io::Result<Codec> {
    // With zlib's header and sum (RFC 1950).
    let level = flate2::Compression::new(DEFLATE_LEVEL);
    let mut context = flate2::Compress::new(level, true);
    let mut buf = Vec::new();
    Ok(Box::new(move |plain, out| {
        deflate(&mut context, plain, &mut buf)?;
        out.extend_from_slice(&buf);
        Ok(())
    }))
}

#[derive(Debug)]
struct Stream<W> {
    out: W,
    /// Number of bytes written: a multiple of a sector.
    at: u64,
    header: Header,
    /// Number of grains that were stored.
    grains: u64,
    /// The grain table that is being filled, and its number.
    table: Vec<u32>,
    number: Option<u64>,
    /// The sector of each grain table; 0 if there is none.
    directory: Vec<u32>,
}

impl<W: Write> Stream<W> {
    /// Writes `bytes`, and zeros up to the end of the sector.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        let len = bytes.len() as u64;
        let padding = len.next_multiple_of(SECTOR) - len;
        let padding = usize::try_from(padding).map_err(io::Error::other)?;
        self.out.write_all(&[0; SECTOR as usize][..padding])?;
        self.at += len.next_multiple_of(SECTOR);
        Ok(())
    }

    /// The marker of the `sectors` sectors that follow it.
    fn marker(&mut self, sectors: u64, kind: u32) -> io::Result<()> {
        let mut marker = [0; SECTOR as usize];
        put(&mut marker, 0, &sectors.to_le_bytes());
        put(&mut marker, 12, &kind.to_le_bytes());
        self.write(&marker)
    }

    /// Writes a table with its marker; returns the table's sector.
    fn write_table(&mut self, entries: &[u32], kind: u32) -> io::Result<u32> {
        let bytes: Vec<u8> = entries.iter().flat_map(|e| e.to_le_bytes()).collect();
        self.marker((bytes.len() as u64).div_ceil(SECTOR), kind)?;
        let at = sector(self.at)?;
        self.write(&bytes)?;
        Ok(at)
    }

    fn write_grain_table(&mut self) -> io::Result<()> {
        let Some(number) = self.number.take() else {
            return Ok(());
        };
        let mut table = std::mem::take(&mut self.table);
        debug_assert_eq!(table.len() as u64 * 4, TABLE_SECTORS * SECTOR);
        let at = self.write_table(&table, GRAIN_TABLE)?;
        self.directory[usize::try_from(number).map_err(io::Error::other)?] = at;
        table.fill(0);
        self.table = table;
        Ok(())
    }
}

impl<W: Write + Send> Store for Stream<W> {
    fn store(&mut self, index: u64, _plain: &[u8], compressed: &[u8]) -> io::Result<()> {
        let number = index / ENTRIES;
        if self.number != Some(number) {
            self.write_grain_table()?;
            self.number = Some(number);
        }
        let within = usize::try_from(index % ENTRIES).map_err(io::Error::other)?;
        self.table[within] = sector(self.at)?;
        self.grains += 1;
        // The marker of the grain: its first sector on the disk, and the number of bytes that
        // follow.
        let size = u32::try_from(compressed.len()).map_err(io::Error::other)?;
        let mut grain = Vec::with_capacity(12 + compressed.len());
        grain.extend((index * (GRAIN / SECTOR)).to_le_bytes());
        grain.extend(size.to_le_bytes());
        grain.extend(compressed);
        self.write(&grain)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write_grain_table()?;
        let directory = std::mem::take(&mut self.directory);
        let at = self.write_table(&directory, GRAIN_DIRECTORY)?;
        self.header.primary = u64::from(at);
        self.marker(1, FOOTER)?;
        self.write(&self.header.bytes())?;
        self.marker(0, END_OF_STREAM)?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{AT_END, GRAIN, VmdkStream};
    use crate::format::{Checked, Sink, tests::options};
    use std::io::Read;

    const S: usize = 512;

    fn u64_at(file: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
    }

    fn u32_at(file: &[u8], at: usize) -> usize {
        u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize
    }

    #[test]
    fn the_stream_can_be_read_from_its_end() {
        // Grain 1, and the first one of the third grain table.
        let far = 2 * 512 * GRAIN;
        let size = far + GRAIN;
        let mut file = Vec::new();
        let sink = VmdkStream::new(&mut file, size, &options()).unwrap();
        let mut sink = Checked::new(sink, size);
        sink.zeros(0, GRAIN + 5).unwrap();
        sink.data(GRAIN + 5, &[7; 100]).unwrap();
        sink.zeros(GRAIN + 105, far - GRAIN - 105).unwrap();
        sink.data(far, &[8]).unwrap();
        sink.zeros(far + 1, GRAIN - 1).unwrap();
        sink.finish().unwrap();
        drop(sink);

        assert_eq!(u64_at(&file, 56), AT_END);
        // Footer's marker, footer, end of stream.
        let footer = file.len() - 2 * S;
        assert_eq!(file[..56], file[footer..footer + 56]);
        assert_eq!(u32_at(&file, footer - S + 12), 3);
        assert_eq!(file[footer + S..], [0; S]);
        let directory = u64_at(&file, footer + 56) as usize * S;
        assert_eq!(u32_at(&file, directory - S + 12), 2);
        assert_eq!(u32_at(&file, directory + 4), 0, "a table without a grain");
        for (grain, start, byte) in [(1, 5, 7), (1024, 0, 8)] {
            let table = u32_at(&file, directory + grain / 512 * 4) * S;
            assert_eq!(u32_at(&file, table - S + 12), 1);
            let at = u32_at(&file, table + grain % 512 * 4) * S;
            assert_eq!(u64_at(&file, at), grain as u64 * GRAIN / 512);
            let packed = &file[at + 12..at + 12 + u32_at(&file, at + 8)];
            let mut out = Vec::new();
            let mut decoder = flate2::read::ZlibDecoder::new(packed);
            decoder.read_to_end(&mut out).unwrap();
            assert_eq!(out.len() as u64, GRAIN);
            assert_eq!(out.iter().position(|b| *b != 0), Some(start));
            assert_eq!(out[start], byte);
        }
    }
}
