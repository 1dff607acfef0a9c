//! Where the program keeps what it makes and what it fetched.
//!
//! In a checkout of this project everything is in its `target` folder, beside what cargo keeps
//! there. Elsewhere, images are made in the current folder, and caches and logs are in the folders
//! of the XDG Base Directory Specification 0.8, or of Apple's "File System Programming Guide".

use camino::{Utf8Path, Utf8PathBuf};
use std::env::var;

/// Name of our folders among those of other programs.
const OURS: &str = "docker-to-linux";

/// Folder in the current one, where a user has no home.
const HOMELESS: &str = ".docker-to-linux";

/// Whether the program belongs to a checkout: cargo has started it, or the current folder is one.
pub fn in_checkout() -> bool {
    // cargo sets it for what it runs (The Cargo Book, "Environment Variables").
    let by_cargo = var("CARGO_MANIFEST_DIR").is_ok();
    by_cargo || Utf8Path::new("xtask/Cargo.toml").is_file()
}

/// The default folder for images.
pub fn images() -> Utf8PathBuf {
    match in_checkout() {
        true => "target/images".into(),
        false => ".".into(),
    }
}

/// The folder `name` for what can be fetched or made again.
pub fn cache(name: &str) -> Utf8PathBuf {
    folder(Kind::Cache, name)
}

/// The folder `name` for what a user may want to read later, e.g. logs.
pub fn state(name: &str) -> Utf8PathBuf {
    folder(Kind::State, name)
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Cache,
    State,
}

fn folder(kind: Kind, name: &str) -> Utf8PathBuf {
    match in_checkout() {
        true => Utf8Path::new("target").join(name),
        false => base(kind, |name| var(name).ok(), cfg!(target_os = "macos")).join(name),
    }
}

/// The folder for everything of one kind. `variable` reads an environment variable.
fn base(kind: Kind, variable: impl Fn(&str) -> Option<String>, apple: bool) -> Utf8PathBuf {
    // The specification tells to ignore what is not absolute.
    let path = |name: &str| {
        let path = Utf8PathBuf::from(variable(name)?);
        path.is_absolute().then_some(path)
    };
    let (xdg, usual) = match (kind, apple) {
        (Kind::Cache, false) => ("XDG_CACHE_HOME", ".cache"),
        (Kind::State, false) => ("XDG_STATE_HOME", ".local/state"),
        (Kind::Cache, true) => ("XDG_CACHE_HOME", "Library/Caches"),
        (Kind::State, true) => ("XDG_STATE_HOME", "Library/Logs"),
    };
    // System accounts such as `nobody` have a home that does not exist.
    let home = || path("HOME").filter(|home| home.is_dir());
    match path(xdg).or_else(|| Some(home()?.join(usual))) {
        Some(base) => base.join(OURS),
        None => HOMELESS.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_where_the_platform_has_them() {
        type Known = &'static [(&'static str, &'static str)];
        let given = |known: Known| {
            move |name: &str| {
                let found = known.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            }
        };
        let cases: [(Kind, Known, bool, &str); 7] = [
            (
                Kind::Cache,
                &[("HOME", "/")],
                false,
                "/.cache/docker-to-linux",
            ),
            (
                Kind::State,
                &[("HOME", "/")],
                false,
                "/.local/state/docker-to-linux",
            ),
            (
                Kind::Cache,
                &[("HOME", "/")],
                true,
                "/Library/Caches/docker-to-linux",
            ),
            (
                Kind::Cache,
                &[("HOME", "/"), ("XDG_CACHE_HOME", "/var/x")],
                false,
                "/var/x/docker-to-linux",
            ),
            (
                Kind::Cache,
                &[("HOME", "/"), ("XDG_CACHE_HOME", "x")],
                false,
                "/.cache/docker-to-linux",
            ),
            (Kind::Cache, &[("HOME", "/nonexistent")], false, HOMELESS),
            (Kind::State, &[], false, HOMELESS),
        ];
        for (kind, known, apple, expected) in cases {
            assert_eq!(
                base(kind, given(known), apple),
                expected,
                "{kind:?} {known:?}"
            );
        }
    }
}
