//! Type of a program in a root file system, from its first bytes: its architecture, and what is
//! needed to start it.
//!
//! Source of the numbers: System V gABI, "ELF Header" (`e_machine`), and Microsoft, "PE Format",
//! "Machine Types".

use super::{Content, Rootfs};
use std::fmt;
use std::io;

/// Processor type of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// 32-bit x86.
    X86,
    /// 64-bit x86.
    X86_64,
    /// 32-bit ARM.
    Arm,
    /// 64-bit ARM.
    Arm64,
    /// Another one, with its name.
    Other(&'static str),
}

impl Machine {
    /// The machine with that number in an ELF header; `None` for 0, "no machine".
    pub fn of_elf(number: u16) -> Option<Machine> {
        Some(match number {
            0 => return None,
            3 | 6 => Machine::X86,
            62 => Machine::X86_64,
            40 => Machine::Arm,
            183 => Machine::Arm64,
            8 | 10 => Machine::Other("MIPS"),
            20 | 21 => Machine::Other("PowerPC"),
            22 => Machine::Other("IBM Z (s390x)"),
            243 => Machine::Other("RISC-V"),
            258 => Machine::Other("LoongArch"),
            _ => Machine::Other("another kind of processor"),
        })
    }

    /// The machine with that number in a PE header; `None` for 0, "unknown".
    pub fn of_pe(number: u16) -> Option<Machine> {
        Some(match number {
            0 => return None,
            0x14c => Machine::X86,
            0x8664 => Machine::X86_64,
            0x1c0 | 0x1c2 | 0x1c4 => Machine::Arm,
            0xaa64 => Machine::Arm64,
            0x5032 | 0x5064 => Machine::Other("RISC-V"),
            0x6232 | 0x6264 => Machine::Other("LoongArch"),
            _ => Machine::Other("another kind of processor"),
        })
    }

    /// Whether a kernel for `kernel` runs programs for this machine. x86-64 kernels run programs
    /// for i386, and most 64-bit ARM processors run programs for 32-bit ARM.
    pub fn runs_on(self, kernel: Machine) -> bool {
        self == kernel
            || matches!(
                (self, kernel),
                (Machine::X86, Machine::X86_64) | (Machine::Arm, Machine::Arm64)
            )
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Machine::X86 => "32-bit x86 (i386)",
            Machine::X86_64 => "64-bit x86 (amd64)",
            Machine::Arm => "32-bit ARM (armhf)",
            Machine::Arm64 => "64-bit ARM (arm64)",
            Machine::Other(name) => name,
        })
    }
}

/// How an ELF file starts.
pub const ELF: &[u8] = b"\x7fELF";

/// An ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// The processor that it is for, if specified.
    pub machine: Option<Machine>,
    /// Whether it is marked as a program or a shared library, not as something else (an object
    /// file, a core dump).
    pub loadable: bool,
    /// The program that loads it (`PT_INTERP`): the C library's dynamic loader.
    pub interpreter: Option<String>,
}

/// Longest interpreter path that is read, in bytes: Linux accepts at most `PATH_MAX`.
const INTERPRETER: u64 = 4096;

/// Type of a program header that contains the interpreter.
const PT_INTERP: u32 = 3;

impl Elf {
    /// The machine of an ELF file that starts with these bytes, if it is one and specifies a
    /// machine.
    pub fn machine_of(head: &[u8]) -> Option<Machine> {
        let bytes = head.get(18..20).filter(|_| head.starts_with(ELF))?;
        Machine::of_elf(Order::of(head).u16(bytes))
    }

    /// Reads the headers of an ELF file; `None` if `content` is not one. Damaged headers are
    /// ignored.
    pub fn read(rootfs: &Rootfs, content: &Content) -> io::Result<Option<Elf>> {
        let head = rootfs.head(content, 64)?;
        if !head.starts_with(ELF) {
            return Ok(None);
        }
        let order = Order::of(&head);
        let number = |at: usize, len: usize| head.get(at..at + len).map_or(0, |b| order.number(b));
        let wide = head.get(4) == Some(&2);
        let (headers, size, count) = if wide {
            (number(32, 8), number(54, 2), number(56, 2))
        } else {
            (number(28, 4), number(42, 2), number(44, 2))
        };
        let mut elf = Elf {
            machine: Elf::machine_of(&head),
            // 2: a program; 3: a position-independent program or a library; 0: not specified.
            loadable: matches!(number(16, 2), 0 | 2 | 3),
            interpreter: None,
        };
        // Linux reads no more either (fs/binfmt_elf.c, `load_elf_phdrs`).
        let table = match size * count {
            len @ 0..=65_536 => part(rootfs, content, headers, len)?,
            _ => Vec::new(),
        };
        for header in table.chunks_exact(usize::try_from(size).unwrap_or(0).max(1)) {
            let field = |at: usize, len: usize| {
                let bytes = header.get(at..at + len);
                bytes.map_or(0, |b| order.number(b))
            };
            if field(0, 4) != u64::from(PT_INTERP) {
                continue;
            }
            let (at, len) = if wide {
                (field(8, 8), field(32, 8))
            } else {
                (field(4, 4), field(16, 4))
            };
            let name = part(rootfs, content, at, len.min(INTERPRETER))?;
            let name = name.split(|b| *b == 0).next().unwrap_or_default();
            elf.interpreter = Some(String::from_utf8_lossy(name).into_owned());
        }
        elf.interpreter = elf.interpreter.filter(|name| !name.is_empty());
        Ok(Some(elf))
    }
}

/// The bytes of a file at `at`; `None` if it ends earlier.
fn part(rootfs: &Rootfs, content: &Content, at: u64, len: u64) -> io::Result<Vec<u8>> {
    if at.checked_add(len).is_none_or(|end| end > content.len()) {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    rootfs.stores.read_at(content, at, &mut bytes)?;
    Ok(bytes)
}

/// Byte order of numbers.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    /// The byte order of an ELF file (`EI_DATA`).
    fn of(head: &[u8]) -> Order {
        match head.get(5) {
            Some(2) => Order::Big,
            _ => Order::Little,
        }
    }

    /// A number of at most eight bytes.
    fn number(self, bytes: &[u8]) -> u64 {
        let add = |n: u64, b: &u8| n << 8 | u64::from(*b);
        match self {
            Order::Little => bytes.iter().rev().fold(0, add),
            Order::Big => bytes.iter().fold(0, add),
        }
    }

    fn u16(self, bytes: &[u8]) -> u16 {
        self.number(bytes) as u16
    }
}

/// Magic numbers of compressed files, and the program that made them.
const COMPRESSED: [(&[u8], &str); 8] = [
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\x5d\0\0", "lzma"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x89LZO\0\r\n", "lzop"),
];

/// The program that compressed a file that starts with these bytes.
pub fn compressor(head: &[u8]) -> Option<&'static str> {
    let found = COMPRESSED.iter().find(|(magic, _)| head.starts_with(magic));
    found.map(|(_, name)| *name)
}

/// Whether there is only printable ASCII, as in a script, or in an error page that was downloaded
/// instead of a file.
pub fn is_text(head: &[u8]) -> bool {
    let printable = |b: &u8| b.is_ascii_graphic() || b" \t\r\n".contains(b);
    !head.is_empty() && head.iter().all(printable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::rootfs::{Meta, Stores, Tree};

    /// The smallest ELF program that has an interpreter, for 32 or 64 bits.
    fn elf(wide: bool, big: bool, machine: u16, interpreter: &str) -> Vec<u8> {
        let (header, entry) = if wide { (64, 56) } else { (52, 32) };
        let mut bytes = vec![0; header + entry];
        let mut put = |at: usize, len: usize, n: u64| {
            let mut number = n.to_le_bytes()[..len].to_vec();
            if big {
                number.reverse();
            }
            bytes[at..at + len].copy_from_slice(&number);
        };
        put(16, 2, 2);
        put(18, 2, machine.into());
        let name = (header + entry) as u64;
        let len = interpreter.len() as u64 + 1;
        if wide {
            put(32, 8, header as u64);
            put(54, 2, entry as u64);
            put(56, 2, 1);
            put(header + 8, 8, name);
            put(header + 32, 8, len);
        } else {
            put(28, 4, header as u64);
            put(42, 2, entry as u64);
            put(44, 2, 1);
            put(header + 4, 4, name);
            put(header + 16, 4, len);
        }
        put(header, 4, 3);
        bytes[..4].copy_from_slice(ELF);
        bytes[4] = if wide { 2 } else { 1 };
        bytes[5] = if big { 2 } else { 1 };
        bytes.extend_from_slice(interpreter.as_bytes());
        bytes.push(0);
        bytes
    }

    fn read(bytes: Vec<u8>) -> Option<Elf> {
        let rootfs = Rootfs {
            tree: Tree::new(Meta::root(0o755, 0)),
            stores: Stores::default(),
            epoch: 0,
            notes: Vec::new(),
        };
        Elf::read(&rootfs, &Content::Bytes(bytes.into())).unwrap()
    }

    #[test]
    fn machines_and_interpreters() {
        for (bytes, machine) in [
            (elf(true, false, 62, "/lib/ld"), Machine::X86_64),
            (elf(false, false, 3, "/lib/ld"), Machine::X86),
            (elf(true, false, 183, "/lib/ld"), Machine::Arm64),
            (
                elf(true, true, 22, "/lib/ld"),
                Machine::Other("IBM Z (s390x)"),
            ),
        ] {
            let elf = read(bytes).unwrap();
            assert_eq!(elf.machine, Some(machine));
            assert_eq!(elf.interpreter.as_deref(), Some("/lib/ld"));
            assert!(elf.loadable);
        }
        assert_eq!(read(b"#!/bin/sh\n".to_vec()), None);
    }

    #[test]
    fn damaged_headers_are_no_headers() {
        let whole = elf(true, false, 62, "/lib/ld");
        for len in 0..whole.len() {
            read(whole[..len].to_vec());
        }
        let mut far = whole.clone();
        far[32..40].fill(0xff);
        assert_eq!(read(far).unwrap().interpreter, None);
        let mut empty = whole;
        empty[54..56].fill(0);
        assert_eq!(read(empty).unwrap().interpreter, None);
        let mut nothing = ELF.to_vec();
        nothing.resize(64, 0);
        let nothing = read(nothing).unwrap();
        assert_eq!((nothing.machine, nothing.loadable), (None, true));
    }

    #[test]
    fn which_kernel_runs_what() {
        assert!(Machine::X86.runs_on(Machine::X86_64));
        assert!(!Machine::X86_64.runs_on(Machine::X86));
        assert!(!Machine::Arm64.runs_on(Machine::X86_64));
    }
}
