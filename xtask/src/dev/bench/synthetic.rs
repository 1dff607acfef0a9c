//! A root file system of many small files, to measure what each of them costs.

use anyhow::Context;
use camino::Utf8Path;
use fs_err as fs;
use std::io::{self, Read, Seek, SeekFrom};

/// Files in one folder.
const IN_A_FOLDER: u64 = 100;

/// Folders in one folder.
const FOLDERS: u64 = 100;

/// Adds `files` files of 0 to 2,047 bytes to the tar at `path`, in folders of a hundred.
pub(super) fn add(path: &Utf8Path, files: u64) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path)?;
    let end = end_of_entries(&mut file)?;
    file.seek(SeekFrom::Start(end))?;
    let mut tar = tar::Builder::new(io::BufWriter::with_capacity(1 << 20, file));
    // Contents that do not repeat within a block: xorshift (Marsaglia, "Xorshift RNGs", 2003).
    let mut state = 88_172_645_463_325_252_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(1 << 17)
    .flatten()
    .collect();
    for n in 0..files {
        let (folder, name) = (n / IN_A_FOLDER, n % IN_A_FOLDER);
        let above = format!("srv/many/{}", folder / FOLDERS);
        if name == 0 && folder % FOLDERS == 0 {
            add_folder(&mut tar, &above)?;
        }
        let above = format!("{above}/{folder}");
        if name == 0 {
            add_folder(&mut tar, &above)?;
        }
        let len = usize::try_from(n * 7919 % 2048)?;
        let from = usize::try_from(n * 4099 % (1 << 19))?;
        let mut header = header(tar::EntryType::Regular, 0o644);
        header.set_size(len as u64);
        let content = &noise[from..from + len];
        tar.append_data(&mut header, format!("{above}/file-{name}"), content)
            .context("adding files to the tar")?;
    }
    tar.into_inner()
        .context("ending the tar")?
        .into_inner()
        .context("ending the tar")?;
    Ok(())
}

fn add_folder(tar: &mut tar::Builder<impl io::Write>, path: &str) -> anyhow::Result<()> {
    let mut header = header(tar::EntryType::Directory, 0o755);
    Ok(tar.append_data(&mut header, path, io::empty())?)
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(mode);
    // mkfs.erofs refuses empty fields.
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header
}

/// Where the entries of a tar end: the offset of its end mark in bytes.
fn end_of_entries(file: &mut fs::File) -> anyhow::Result<u64> {
    let len = file.metadata()?.len();
    let mut end = 0;
    let mut archive = tar::Archive::new(file.try_clone()?);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        end = entry.raw_file_position() + entry.size().next_multiple_of(512);
    }
    let mut mark = [0; 512];
    file.seek(SeekFrom::Start(end))?;
    file.read_exact(&mut mark)?;
    anyhow::ensure!(
        mark == [0; 512] && end < len,
        "the tar of {len} bytes has no end mark at byte {end}"
    );
    Ok(end)
}
