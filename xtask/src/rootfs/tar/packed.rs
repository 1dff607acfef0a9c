//! Compression of a tar: formats that are read, and formats that are only recognised.

use crate::model::size::Size;
use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

/// Number of bytes at the start of a file that identify its form: the header of a .lzma file.
pub(super) const HEAD: usize = 13;

/// Bytes per read.
const CHUNK: usize = 128 << 10;

/// Most memory that an .xz, .lzma or .lz file may need, in bytes: their formats allow dictionaries
/// of 4 GiB; `xz -9` uses 64 MiB.
const XZ_MEMORY: u64 = 512 << 20;

/// A compression that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Gzip,
    Bzip2,
    Xz,
    Lzma,
    Lzip,
    Zstd,
}

impl Form {
    /// The form of a file or a member that starts with `head`.
    ///
    /// Sources: RFC 1952, 2.3.1 (gzip); bzip2's decompress.c (`BZ_HDR_*`); the .xz file format,
    /// 2.1.1.1; the lzip manual, "File format"; RFC 8878, 3.1.1 and 3.1.2 (zstd).
    pub(super) fn of(head: &[u8]) -> Option<Form> {
        Some(match head {
            [0x1f, 0x8b, ..] => Form::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Form::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Form::Xz,
            [b'L', b'Z', b'I', b'P', 1, ..] => Form::Lzip,
            // The second is a frame that decoders skip: pzstd and others write one at the start.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Form::Zstd,
            _ if is_lzma(head) => Form::Lzma,
            _ => return None,
        })
    }

    fn member(self, source: Source) -> io::Result<Box<dyn Member>> {
        use liblzma::bufread::XzDecoder;
        use liblzma::stream::Stream;
        Ok(match self {
            Form::Gzip => Box::new(flate2::bufread::GzDecoder::new(source)),
            Form::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(source)),
            Form::Zstd => Box::new(zstd::Decoder::with_buffer(source)?.single_frame()),
            Form::Xz | Form::Lzma | Form::Lzip => {
                let decoder = match self {
                    Form::Lzma => Stream::new_lzma_decoder(XZ_MEMORY),
                    Form::Lzip => Stream::new_lzip_decoder(XZ_MEMORY, 0),
                    _ => Stream::new_stream_decoder(XZ_MEMORY, 0),
                };
                Box::new(XzDecoder::new_stream(source, decoder?))
            }
        })
    }
}

/// A .lzma file has no magic number. Its header consists of the properties, the size of the
/// dictionary, and the size of the content or -1 (LZMA specification, "LZMA file format").
fn is_lzma(head: &[u8]) -> bool {
    let Some(head) = head.first_chunk::<HEAD>() else {
        return false;
    };
    let size = &head[5..];
    let sane = size.iter().all(|b| *b == 0xff) || size[5..] == [0; 3];
    head.starts_with(&[0x5d, 0, 0]) && head[3..5] != [0; 2] && sane
}

/// Whether a file that starts with `head` is compressed in a form that can be read.
pub(in crate::rootfs) fn is_packed(head: &[u8]) -> bool {
    Form::of(&head[..head.len().min(HEAD)]).is_some()
}

/// A compression that needs more memory than is allowed.
#[derive(Debug, thiserror::Error)]
#[error("unpacking it needs more memory than {most}")]
pub(in crate::rootfs) struct TooMuchMemory {
    most: Size,
    form: Form,
}

impl TooMuchMemory {
    /// Finds it in the error of a stream.
    pub(in crate::rootfs) fn of(error: &io::Error) -> Option<&TooMuchMemory> {
        error.get_ref()?.downcast_ref()
    }

    /// What to do about it.
    pub(in crate::rootfs) fn hint(&self) -> &'static str {
        match self.form {
            Form::Zstd => {
                "unpack it on the way: `zstd -dc --long=31 FILE | cargo xtask image RECIPE --from -`, or compress it without --long and --ultra"
            }
            Form::Lzip => {
                "unpack it on the way: `lzip -dc FILE | cargo xtask image RECIPE --from -`"
            }
            _ => {
                "unpack it on the way: `xz -dc FILE | cargo xtask image RECIPE --from -`, or compress it with a smaller dictionary, e.g. `xz -9`"
            }
        }
    }
}

/// Replaces an error of a decoder by one that says what it means, if the decoder's own text does
/// not.
fn explained(form: Option<Form>, error: io::Error) -> io::Error {
    let most = match form {
        // The library's own limit: a window of 2^27 bytes (zstd.h, `ZSTD_WINDOWLOG_LIMIT_DEFAULT`).
        Some(Form::Zstd) if error.to_string().contains("too much memory") => 1 << 27,
        Some(Form::Xz | Form::Lzma | Form::Lzip) => {
            let inner = error.get_ref().and_then(|e| e.downcast_ref());
            match inner {
                Some(liblzma::stream::Error::MemLimit) => XZ_MEMORY,
                _ => return error,
            }
        }
        _ => return error,
    };
    match form {
        Some(form) => io::Error::other(TooMuchMemory {
            most: Size(most),
            form,
        }),
        None => error,
    }
}

/// Source of compressed bytes: peeked bytes can be put back.
#[derive(Debug)]
struct Source {
    head: Vec<u8>,
    at: usize,
    inner: BufReader<Inner>,
}

struct Inner(Box<dyn Read>);

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a stream")
    }
}

impl Read for Inner {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Source {
    fn new(stream: Box<dyn Read>) -> Source {
        Source {
            head: Vec::new(),
            at: 0,
            inner: BufReader::with_capacity(CHUNK, Inner(stream)),
        }
    }

    /// The next bytes, up to [`HEAD`] of them, without consuming them.
    fn peek(&mut self) -> io::Result<&[u8]> {
        self.head.drain(..self.at);
        self.at = 0;
        let want = (HEAD - self.head.len().min(HEAD)) as u64;
        self.inner.by_ref().take(want).read_to_end(&mut self.head)?;
        Ok(&self.head)
    }

    /// Skips zeros: tapes and some programs pad their last block with them.
    fn skip_zeros(&mut self) -> io::Result<()> {
        loop {
            let buf = self.fill_buf()?;
            let zeros = buf.iter().take_while(|b| **b == 0).count();
            let all = zeros == buf.len();
            self.consume(zeros);
            if zeros == 0 || !all {
                return Ok(());
            }
        }
    }
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.head.len() {
            return self.inner.read(buf);
        }
        let n = (&self.head[self.at..]).read(buf)?;
        self.at += n;
        Ok(n)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at < self.head.len() {
            return Ok(&self.head[self.at..]);
        }
        loop {
            match self.inner.fill_buf() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
                Ok(_) => break,
            }
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        if self.at < self.head.len() {
            self.at += n;
        } else {
            self.inner.consume(n);
        }
    }
}

/// One compressed stream; several may follow each other.
trait Member: Read {
    /// What follows it.
    fn end(self: Box<Self>) -> Source;
}

impl Member for flate2::bufread::GzDecoder<Source> {
    fn end(self: Box<Self>) -> Source {
        self.into_inner()
    }
}

impl Member for bzip2::bufread::BzDecoder<Source> {
    fn end(self: Box<Self>) -> Source {
        self.into_inner()
    }
}

impl Member for liblzma::bufread::XzDecoder<Source> {
    fn end(self: Box<Self>) -> Source {
        self.into_inner()
    }
}

impl Member for zstd::Decoder<'static, Source> {
    fn end(self: Box<Self>) -> Source {
        self.finish()
    }
}

/// Decompresses a stream, if its compression is known. Several members in sequence count as one
/// stream, and zeros after them are ignored. Anything else after them is skipped, as by the
/// programs that unpack these formats.
pub(in crate::rootfs) struct Unpacked {
    form: Option<Form>,
    state: State,
    left_over: LeftOver,
}

enum State {
    Plain(Source),
    Member(Box<dyn Member>),
    /// After the last member.
    Behind(Source),
    Changing,
}

/// Says whether the last compressed stream was followed by something else; known after everything
/// was read.
#[derive(Debug, Clone, Default)]
pub(in crate::rootfs) struct LeftOver(Rc<Cell<bool>>);

impl LeftOver {
    /// Whether there was.
    pub(in crate::rootfs) fn any(&self) -> bool {
        self.0.get()
    }
}

impl Unpacked {
    /// Detects the compression from the start of `stream`.
    pub(in crate::rootfs) fn new(stream: impl Read + 'static) -> io::Result<Unpacked> {
        let mut source = Source::new(Box::new(stream));
        let form = Form::of(source.peek()?);
        Ok(Unpacked {
            form,
            state: match form {
                None => State::Plain(source),
                Some(form) => State::Member(form.member(source)?),
            },
            left_over: LeftOver::default(),
        })
    }

    /// Says later whether anything was skipped.
    pub(in crate::rootfs) fn left_over(&self) -> LeftOver {
        self.left_over.clone()
    }

    /// What follows a member.
    fn next(&mut self, mut source: Source) -> io::Result<State> {
        source.skip_zeros()?;
        let head = source.peek()?;
        if let Some(form) = Form::of(head).filter(|f| Some(*f) == self.form) {
            return Ok(State::Member(form.member(source)?));
        }
        if !head.is_empty() {
            self.left_over.0.set(true);
        }
        Ok(State::Behind(source))
    }
}

impl Read for Unpacked {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                State::Plain(source) => return source.read(buf),
                State::Member(member) => {
                    let n = member.read(buf).map_err(|e| explained(self.form, e))?;
                    if n > 0 || buf.is_empty() {
                        return Ok(n);
                    }
                }
                State::Behind(source) => {
                    // Reads to the end, so that the writer does not fail with a closed pipe.
                    return io::copy(source, &mut io::sink()).map(|_| 0);
                }
                State::Changing => return Err(io::Error::other("an earlier error")),
            }
            if let State::Member(member) = std::mem::replace(&mut self.state, State::Changing) {
                self.state = self.next(member.end())?;
            }
        }
    }
}
