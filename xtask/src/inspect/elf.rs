//! What a program needs to be started: its processor, its dynamic loader and its libraries
//! (System V gABI; ld.so(8); musl, ldso/dynlink.c).

use super::files::{Files, Root};
use crate::rootfs::program::{ELF, Elf, Machine};
use object::Endianness;
use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use std::collections::{BTreeSet, VecDeque};

/// Largest program or library that is read, in bytes.
const MOST: u64 = 64 << 20;
/// Most libraries that are looked for.
const MOST_LIBRARIES: usize = 64;
/// Longest list of names in one file.
const MOST_NAMES: usize = 256;

/// The headers of a program or library.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) machine: Option<Machine>,
    /// The dynamic loader.
    pub(super) interpreter: Option<String>,
    /// Libraries that it needs, by name.
    needed: Vec<String>,
    /// Folders in which it looks for them first.
    paths: Vec<String>,
}

/// Reads the headers of a file; nothing if it is no ELF file, or a damaged one.
pub(super) fn read(root: &Root, path: &str) -> Option<Program> {
    let data = root.head(path, MOST).ok()?;
    if !data.starts_with(ELF) {
        return None;
    }
    match data.get(4) {
        Some(1) => of::<elf::FileHeader32<Endianness>>(&data),
        _ => of::<elf::FileHeader64<Endianness>>(&data),
    }
}

fn of<H: FileHeader<Endian = Endianness>>(data: &[u8]) -> Option<Program> {
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let mut program = Program {
        machine: Elf::machine_of(data),
        ..Program::default()
    };
    let headers = header.program_headers(endian, data).ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for segment in headers {
        if let Ok(Some(path)) = segment.interpreter(endian, data) {
            program.interpreter = Some(text(path));
        }
        let Ok(Some(dynamic)) = segment.dynamic(endian, data) else {
            continue;
        };
        // The names are in memory that a segment loads.
        let address = |tag: elf::DynamicTag| {
            let found = dynamic.iter().find(|d| d.d_tag(endian) == tag)?;
            Some(found.d_val(endian).into())
        };
        let (Some(start), Some(len)) = (address(elf::DT_STRTAB), address(elf::DT_STRSZ)) else {
            continue;
        };
        let mut tables = headers.iter();
        let strings = tables.find_map(|s| s.data_range(endian, data, start, len).ok().flatten());
        let Some(strings) = strings else { continue };
        let name = |offset: u64| {
            let rest = strings.get(usize::try_from(offset).ok()?..)?;
            Some(text(rest.split(|b| *b == 0).next()?))
        };
        for entry in dynamic {
            let value = || name(entry.d_val(endian).into());
            match entry.d_tag(endian) {
                elf::DT_NEEDED if program.needed.len() < MOST_NAMES => {
                    program.needed.extend(value());
                }
                elf::DT_RPATH | elf::DT_RUNPATH => {
                    let paths = value().unwrap_or_default();
                    program.paths.extend(paths.split(':').map(str::to_owned));
                }
                elf::DT_NULL => break,
                _ => {}
            }
        }
    }
    Some(program)
}

/// The libraries that a program needs, directly or not, and that are nowhere: the name, and who
/// needs it.
pub(super) fn missing(root: &Root, path: &str, program: Program) -> Vec<(String, String)> {
    let folders = folders(root);
    // A cache of the libraries' places: what it knows may be anywhere.
    let cache = root.head("/etc/ld.so.cache", 16 << 20).unwrap_or_default();
    let musl = program
        .interpreter
        .as_ref()
        .is_some_and(|i| i.contains("musl"));
    let mut missing = Vec::new();
    // What a program adds to them holds for its libraries, too.
    let mut own: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut todo = VecDeque::from([(path.to_owned(), program)]);
    while let Some((user, program)) = todo.pop_front() {
        let home = user.rsplit_once('/').map_or("", |(home, _)| home);
        let paths = program.paths.iter().take(MOST_NAMES).map(|p| {
            p.replace("${ORIGIN}", home)
                .replace("$ORIGIN", home)
                .replace("$LIB", "lib")
        });
        for path in paths.filter(|p| p.starts_with('/')) {
            if own.len() < MOST_NAMES && !own.contains(&path) {
                own.push(path);
            }
        }
        for name in program.needed {
            if seen.len() >= MOST_LIBRARIES || !seen.insert(name.clone()) {
                continue;
            }
            // musl's loader is its C library.
            if name.contains('/') || (musl && name.starts_with("libc.")) {
                continue;
            }
            let all = own.iter().chain(&folders);
            let mut places = all.map(|folder| format!("{folder}/{name}"));
            match places.find(|p| root.is_file(p)) {
                Some(place) => {
                    let place = root.canonical(&place).unwrap_or(place);
                    if let Some(library) = read(root, &place) {
                        todo.push_back((place, library));
                    }
                }
                None if in_cache(root, &cache, &name) => {}
                None => missing.push((name, user.clone())),
            }
        }
    }
    missing
}

/// Whether the cache of ld.so names a file of that name which exists.
fn in_cache(root: &Root, cache: &[u8], name: &str) -> bool {
    let end = [b"/", name.as_bytes(), b"\0"].concat();
    let mut places = cache.windows(end.len()).enumerate();
    places.any(|(at, window)| {
        if window != end {
            return false;
        }
        let start = cache[..at]
            .iter()
            .rposition(|b| *b == 0)
            .map_or(0, |n| n + 1);
        let path = String::from_utf8_lossy(&cache[start..at + end.len() - 1]);
        root.is_file(&path)
    })
}

/// The folders in which dynamic loaders look.
fn folders(root: &Root) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for dir in [
        "/lib",
        "/usr/lib",
        "/lib64",
        "/usr/lib64",
        "/usr/local/lib",
        "/lib32",
        "/usr/lib32",
        "/libx32",
    ] {
        all.push(dir.to_owned());
        // Debian's folders for each architecture.
        let below = root
            .names(dir)
            .into_iter()
            .filter(|n| n.contains("-linux-"));
        all.extend(below.map(|n| format!("{dir}/{n}")));
    }
    let mut files = vec!["/etc/ld.so.conf".to_owned()];
    let more = root.names("/etc/ld.so.conf.d").into_iter();
    files.extend(more.map(|n| format!("/etc/ld.so.conf.d/{n}")));
    let musl = root.names("/etc").into_iter();
    let musl = musl.filter(|n| n.starts_with("ld-musl-") && n.ends_with(".path"));
    files.extend(musl.map(|n| format!("/etc/{n}")));
    for file in files.into_iter().take(256) {
        let text = root.text(&file).unwrap_or_default();
        let lines = text.split(['\n', ':', ',', ' ', '\t']).map(str::trim);
        all.extend(
            lines
                .filter(|l| l.starts_with('/'))
                .take(256)
                .map(str::to_owned),
        );
    }
    all
}
