//! Checks whether a kernel's modules are for its processor.

use super::MODULES;
use crate::error::Report;
use crate::rootfs::program::{Elf, Machine, compressor};
use crate::rootfs::{Content, Kind, Rootfs};
use std::io::Read;

/// How much of a compressed module is read, in bytes: zstd outputs nothing before the end of a
/// block, which can have 128 KiB.
const COMPRESSED_HEAD: usize = 256 << 10;

/// How much of an uncompressed module is read, in bytes: the start of an ELF header.
const HEAD: usize = 20;

/// Fails if the modules of this kernel version are for another processor than `kernel`. Checks one
/// module, because all modules of a package are for the same processor.
pub(super) fn check(rootfs: &Rootfs, version: &str, kernel: Machine) -> Result<(), Report> {
    for dir in MODULES {
        let Some((path, content)) = first(rootfs, format!("{dir}/{version}")) else {
            continue;
        };
        let reading = |e| Report::failure(format!("reading {path}")).because(e);
        let head = rootfs.head(&content, HEAD).map_err(reading)?;
        let head = match compressor(&head) {
            Some(with) => {
                let packed = rootfs.head(&content, COMPRESSED_HEAD).map_err(reading)?;
                unpacked(with, &packed)
            }
            None => head,
        };
        if let Some(machine) = Elf::machine_of(&head)
            && machine != kernel
        {
            return Err(Report::mistake(format!(
                "the kernel {version} is for {kernel}, but its modules are for {machine}: {path}"
            ))
            .hint("install the kernel and its modules from the same package"));
        }
    }
    Ok(())
}

/// The first module below a directory.
fn first(rootfs: &Rootfs, dir: String) -> Option<(String, Content)> {
    let tree = &rootfs.tree;
    let mut todo = vec![dir];
    while let Some(dir) = todo.pop() {
        let mut below = Vec::new();
        for (name, id) in tree.entries(&dir) {
            let path = format!("{dir}/{name}");
            match &tree.node(id).kind {
                // Links (`build`, `source`) lead outside the modules.
                Kind::Dir(_) => below.push(path),
                Kind::File(content) if name.contains(".ko") => {
                    return Some((path, content.clone()));
                }
                _ => {}
            }
        }
        todo.extend(below.into_iter().rev());
    }
    None
}

/// Decompresses the start of a file. Empty if it cannot be read.
fn unpacked(with: &str, packed: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    let limit = HEAD as u64;
    // Keep the output before an error: the end of `packed` is missing on purpose.
    let _ = match with {
        "gzip" => flate2::read::GzDecoder::new(packed)
            .take(limit)
            .read_to_end(&mut head),
        "xz" => liblzma::read::XzDecoder::new(packed)
            .take(limit)
            .read_to_end(&mut head),
        "zstd" => match zstd::Decoder::with_buffer(packed) {
            Ok(decoder) => decoder.take(limit).read_to_end(&mut head),
            Err(e) => Err(e),
        },
        _ => Ok(0),
    };
    head
}
