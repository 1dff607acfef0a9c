//! Formats that are written strictly front to back go directly through a packer or into parts; the
//! uncompressed image is never stored.

use super::rootfs::{self, Rootfs};
use super::target::{Target, Whole};
use super::vmdk::VmdkStream;
use super::{Options, Sink, vhd};
use crate::model::Format;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Whether a format's writer never seeks back.
pub fn ascends(format: Format) -> bool {
    matches!(
        format,
        Format::Raw | Format::VhdFixed | Format::VmdkStream | Format::Rootfs
    )
}

/// A sink that writes a disk of `size` bytes in `format`, one for which [`ascends`] holds, into
/// `target`. The receiver gets the result after [`Sink::finish`].
pub fn open(
    format: Format,
    target: Target,
    size: u64,
    options: &Options,
) -> io::Result<(Box<dyn Sink>, Receiver<Whole>)> {
    let (result, whole) = channel();
    let plain = |target, end, tail: &[u8]| Plain {
        out: target,
        at: 0,
        end,
        tail: tail.to_vec(),
        result: result.clone(),
    };
    let sink: Box<dyn Sink> = match format {
        Format::Raw => Box::new(plain(target, size, &[])),
        Format::Rootfs => {
            let range = rootfs::range(size, options)?;
            let inner = plain(target, range.end - range.start, &[]);
            Box::new(Rootfs::new(inner, range))
        }
        Format::VhdFixed => {
            let (end, footer) = vhd::fixed(size, options)?;
            Box::new(plain(target, end, &footer))
        }
        Format::VmdkStream => {
            let out = BufWriter::with_capacity(1 << 20, target);
            let inner = VmdkStream::new(out, size, options)?;
            Box::new(Stream { inner, result })
        }
        Format::Qcow2
        | Format::Vdi
        | Format::Vmdk
        | Format::Ova
        | Format::Vhd
        | Format::Vhdx
        | Format::Gcp => {
            return Err(io::Error::other(format!(
                "{format:?} cannot be written front to back"
            )));
        }
    };
    Ok((sink, whole))
}

/// The disk as it is, followed by what the format appends.
struct Plain {
    out: Target,
    at: u64,
    /// End of the disk in the file, in bytes.
    end: u64,
    tail: Vec<u8>,
    result: Sender<Whole>,
}

impl Sink for Plain {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.at = offset + bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.at = offset + len;
        self.out.zeros(len)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.zeros(self.end.saturating_sub(self.at))?;
        self.out.write_all(&self.tail)?;
        // The receiver may be gone: then the result is not needed.
        let _ = self.result.send(self.out.finish()?);
        Ok(())
    }
}

struct Stream {
    inner: VmdkStream<BufWriter<Target>>,
    result: Sender<Whole>,
}

impl Sink for Stream {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.data(offset, bytes)
    }

    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.zeros(offset, len)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.inner.finish()?;
        let out = self.inner.out();
        out.flush()?;
        let _ = self.result.send(out.get_mut().finish()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::model::{Format, Packing};

    use super::{ascends, open};
    use crate::format::pack::pack;
    use crate::format::target::Target;
    use crate::format::tests::options;
    use crate::format::{self, Checked, Sink};
    use crate::output::Access;
    use camino::Utf8Path;
    use std::fs::File;

    fn fill(sink: &mut dyn Sink, size: u64) {
        sink.zeros(0, 70_000).unwrap();
        sink.data(70_000, &[7; 100_000]).unwrap();
        sink.zeros(170_000, size - 170_003).unwrap();
        sink.data(size - 3, b"end").unwrap();
        sink.finish().unwrap();
    }

    /// Streamed or packed, the bytes are the same as those of the format's own writer.
    #[test]
    fn streams_are_the_files_that_the_formats_write() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let size = (20 << 20) + 512;
        let all = Format::ALL.iter().copied();
        for format in all.filter(|f| ascends(*f)) {
            let path = dir.join("plain");
            let file = File::create_new(&path).unwrap();
            let sink = format::open(format, file, size, &options()).unwrap();
            fill(&mut Checked::new(sink, size), size);
            let plain = fs_err::read(&path).unwrap();
            fs_err::remove_file(&path).unwrap();
            for packing in [
                None,
                Some(Packing::Zstd),
                Some(Packing::Xz),
                Some(Packing::Gzip),
            ] {
                let mut wanted = plain.clone();
                if let Some(how) = packing {
                    wanted.clear();
                    pack(&plain[..], &mut wanted, how, 1).unwrap();
                }
                let target =
                    Target::create(&dir.join("streamed"), Access::Shared, packing, None, 2)
                        .unwrap();
                let (sink, whole) = open(format, target, size, &options()).unwrap();
                fill(&mut Checked::new(sink, size), size);
                let file = whole.recv().unwrap().files.remove(0);
                let path = file.pending.path().to_owned();
                file.pending.commit().unwrap();
                assert!(
                    fs_err::read(path).unwrap() == wanted,
                    "{format:?} {packing:?}"
                );
            }
        }
    }
}
