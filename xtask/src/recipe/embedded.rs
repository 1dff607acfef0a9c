//! The project's own recipes, which are inside the program: it works without a checkout.

use crate::hex::hex;
use crate::place;
use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};
use std::io;
use std::os::unix::fs::PermissionsExt;

/// A file of the folder `recipes`.
struct File {
    /// Its path in the folder.
    path: &'static str,
    bytes: &'static [u8],
    /// Whether it is a program.
    executable: bool,
}

macro_rules! file {
    ($path:literal) => {
        file!($path, false)
    };
    ($path:literal, $executable:literal) => {
        File {
            path: $path,
            bytes: include_bytes!(concat!("../../../recipes/", $path)),
            executable: $executable,
        }
    };
}

/// All files of the folder but its README.
const FILES: &[File] = &[
    file!("alpine/Dockerfile"),
    file!("alpine/bootstrap", true),
    file!("alpine/build/mdev.initd"),
    file!("alpine/recipe.yaml"),
    file!("bootloader/Dockerfile"),
    file!("debian/Dockerfile"),
    file!("debian/bootstrap", true),
    file!("debian/recipe.yaml"),
    file!("machine/Dockerfile"),
    file!("machine/container-run/command.c"),
    file!("machine/container-run/filter.c"),
    file!("machine/container-run/group.c"),
    file!("machine/container-run/main.c"),
    file!("machine/container-run/rights.c"),
    file!("machine/container-run/room.c"),
    file!("machine/container-run/run.h"),
    file!("recipe.schema.json"),
    file!("ubuntu/Dockerfile"),
    file!("ubuntu/recipe.yaml"),
];

/// The text of a file of the folder `recipes`.
pub fn text(path: &str) -> Option<&'static str> {
    let file = FILES.iter().find(|file| file.path == path)?;
    std::str::from_utf8(file.bytes).ok()
}

/// A folder with all of them, in the cache. It is made if it is missing. Engines need a folder to
/// build from, and so do `COPY` and a recipe's `files`.
pub(super) fn folder() -> io::Result<Utf8PathBuf> {
    let mut digest = Sha256::new();
    for file in FILES {
        digest.update((file.path.len() as u64).to_le_bytes());
        digest.update(file.path);
        digest.update([u8::from(file.executable)]);
        digest.update((file.bytes.len() as u64).to_le_bytes());
        digest.update(file.bytes);
    }
    let name = hex(&digest.finalize()[..8]);
    let dir = place::cache("recipes").join(name);
    if dir.is_dir() {
        return Ok(dir);
    }
    unpack(&dir)?;
    Ok(dir)
}

/// Writes all files to a folder that then gets the name `dir`, so that it is complete when it is
/// there.
fn unpack(dir: &Utf8Path) -> io::Result<()> {
    let parent = dir.parent().unwrap_or(Utf8Path::new("."));
    std::fs::create_dir_all(parent)?;
    let new = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(parent)?;
    for file in FILES {
        let path = new.path().join(file.path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, file.bytes)?;
        let mode = if file.executable { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
    }
    // The temporary folder is only for its owner, as the cache of one user is.
    match std::fs::rename(new.path(), dir) {
        // Another run was faster.
        Err(_) if dir.is_dir() => Ok(()),
        Err(e) => Err(e),
        Ok(()) => {
            let _ = new.keep();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn all_recipes_are_inside() {
        let dir = Utf8Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../recipes"));
        let mut left = vec![dir.to_owned()];
        let mut files = Vec::new();
        while let Some(folder) = left.pop() {
            for entry in folder.read_dir_utf8().unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    left.push(entry.into_path());
                } else {
                    let mode = entry.metadata().unwrap().permissions().mode();
                    let path = entry.path().strip_prefix(dir).unwrap().to_string();
                    files.push((path, mode & 0o100 != 0));
                }
            }
        }
        files.retain(|(path, _)| path != "README.md");
        files.sort();
        let inside = FILES.iter().map(|f| (f.path.to_owned(), f.executable));
        assert_eq!(inside.collect::<Vec<_>>(), files);
    }

    #[test]
    fn a_folder_appears_whole() {
        let dir = tempfile::tempdir().unwrap();
        let recipes = Utf8Path::from_path(dir.path()).unwrap().join("a/b");
        unpack(&recipes).unwrap();
        unpack(&recipes).unwrap();
        assert_eq!(
            recipes.parent().unwrap().read_dir_utf8().unwrap().count(),
            1
        );
        let program = recipes.join("alpine/bootstrap").metadata().unwrap();
        assert_eq!(program.permissions().mode() & 0o777, 0o755);
        let text = std::fs::read_to_string(recipes.join("debian/recipe.yaml")).unwrap();
        assert_eq!(Some(text.as_str()), super::text("debian/recipe.yaml"));
    }
}
