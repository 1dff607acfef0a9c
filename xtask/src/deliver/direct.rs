//! The kernel and the initrd as files next to the root file system alone: for machines that are
//! started with them directly, without firmware and boot loader.

use super::MetadataFile;
use crate::error::Report;
use crate::format::digest;
use crate::output::{self, Access, Pending};
use crate::rootfs::{Content, Stores};
use camino::Utf8Path;
use std::io::{self, Write};

/// What the default boot entry of a machine loads.
#[derive(Debug)]
pub struct Direct {
    /// The kernel.
    pub linux: Content,
    /// The initrd.
    pub initrd: Content,
}

/// Name of the kernel's file for an image.
pub fn kernel_name(image: &str) -> String {
    format!("{image}.vmlinuz")
}

/// Name of the initrd's file for an image.
pub fn initrd_name(image: &str) -> String {
    format!("{image}.initrd")
}

/// The names of all files that this module writes for an image.
pub fn names(image: &str) -> [String; 2] {
    [kernel_name(image), initrd_name(image)]
}

impl Direct {
    /// Writes both files into `dir`; they do not have their names yet. An initrd contains what is
    /// in the root file system, so `access` is that of the image.
    pub fn write(
        &self,
        image: &str,
        dir: &Utf8Path,
        access: Access,
        stores: &Stores,
    ) -> Result<Vec<MetadataFile>, Report> {
        let files = [
            (kernel_name(image), &self.linux),
            (initrd_name(image), &self.initrd),
        ];
        let mut written = Vec::new();
        for (name, content) in files {
            let path = dir.join(name);
            let file = copy(&path, access, content, stores);
            written.push(file.map_err(|e| output::write_error(&path, e))?);
        }
        Ok(written)
    }
}

/// How many bytes are copied at once.
const PIECE: usize = 1 << 20;

fn copy(
    path: &Utf8Path,
    access: Access,
    content: &Content,
    stores: &Stores,
) -> io::Result<MetadataFile> {
    let pending = Pending::create_as(path, access)?;
    let mut file = pending.file()?;
    let mut buf = vec![0; PIECE];
    let mut at = 0;
    while at < content.len() {
        let left = content.len() - at;
        let n = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        stores.read_at(content, at, &mut buf[..n])?;
        file.write_all(&buf[..n])?;
        at += n as u64;
    }
    let sha256 = digest::sha256_file(&file)?;
    Ok(MetadataFile { pending, sha256 })
}
