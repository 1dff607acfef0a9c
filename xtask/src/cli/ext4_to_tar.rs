//! `ext4-to-tar`: writes the contents of an ext4 file system as a tar, without mounting it. It is
//! for bootstraps whose base comes as a disk image.

use crate::error::Report;
use camino::Utf8PathBuf;
use ext4_view::{Ext4, FileType, Metadata, Path, PathBuf};
use std::io::{BufWriter, Read, Write};
use tar::{Builder, EntryType, Header};

/// Options of `ext4-to-tar`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Raw image of one ext4 file system, without a partition table
    file: Utf8PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let failed = |e: &dyn std::error::Error| {
        Report::failure(format!(
            "reading the ext4 file system in {}: {e}",
            args.file
        ))
        .hint("use a raw image of one ext4 file system that was cleanly unmounted")
    };
    let fs = Ext4::load_from_path(args.file.as_std_path()).map_err(|e| failed(&e))?;
    let out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let mut tar = Builder::new(out);
    // A list instead of recursion: the depth of the input must not overflow the stack.
    let mut todo = vec![PathBuf::new("/")];
    while let Some(dir) = todo.pop() {
        let mut entries = Vec::new();
        for entry in fs.read_dir(&dir).map_err(|e| failed(&e))? {
            let path = entry.map_err(|e| failed(&e))?.path();
            let name: &[u8] = path.as_ref();
            if !name.ends_with(b"/.") && !name.ends_with(b"/..") {
                entries.push(path);
            }
        }
        // On disk the entries are in the order of a hash.
        entries.sort();
        for path in entries {
            if path.as_path() == Path::new("/lost+found") {
                continue;
            }
            let meta = fs.symlink_metadata(&path).map_err(|e| failed(&e))?;
            add(&mut tar, &fs, &path, &meta).map_err(|e| failed(&e))?;
            if meta.is_dir() {
                todo.push(path);
            }
        }
    }
    tar.into_inner()
        .and_then(|mut out| out.flush())
        .map_err(|e| failed(&e))?;
    Ok(())
}

fn add(
    tar: &mut Builder<impl Write>,
    fs: &Ext4,
    path: &PathBuf,
    meta: &Metadata,
) -> std::io::Result<()> {
    let other = |e: ext4_view::Ext4Error| std::io::Error::other(e);
    let mut header = Header::new_gnu();
    header.set_mode(u32::from(meta.mode() & 0o7777));
    header.set_uid(u64::from(meta.uid()));
    header.set_gid(u64::from(meta.gid()));
    let seconds = meta.modified().seconds();
    header.set_mtime(u64::try_from(seconds).unwrap_or(0));
    header.set_size(0);
    let text = path.display().to_string();
    let name = text.trim_start_matches('/');
    match meta.file_type() {
        FileType::Directory => {
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, format!("{name}/"), std::io::empty())
        }
        FileType::Symlink => {
            header.set_entry_type(EntryType::Symlink);
            let target = fs.read_link(path).map_err(other)?;
            tar.append_link(&mut header, name, target.display().to_string())
        }
        FileType::Regular => {
            header.set_size(meta.len());
            let file = fs.open(path).map_err(other)?;
            tar.append_data(&mut header, name, file.take(meta.len()))
        }
        // Devices, pipes and sockets are left out: a machine does not use the /dev of its base.
        _ => Ok(()),
    }
}
