//! Recipes, manifests, lists of checksums.

use crate::{checked, disk, oci, parts, scratch};
use docker_to_linux::model::Arch;
use docker_to_linux::recipe::{self};
use docker_to_linux::{deliver, plan};

/// A recipe.
pub(crate) fn recipe(_: u8, data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    let labels: Vec<(String, &str)> = lines
        .map(|(name, value)| (format!("io.docker-to-linux.{name}"), value))
        .collect();
    let labels = labels.iter().map(|(name, value)| (name.as_str(), *value));
    let _ = checked(recipe::Labels::read(labels, "image"));
    if let Some(recipe) = checked(recipe::parse(&text, "recipe.yaml")) {
        for arch in [Arch::Amd64, Arch::Arm64] {
            let _ = checked(plan::check(arch, &recipe));
        }
    }
}

/// A folder as `verify` takes it: a manifest, further lines of SHA256SUMS, a disk. The manifest
/// names the disk's digest and size as `%0` and `#0`.
pub(crate) fn manifest(_: u8, data: &[u8]) {
    let Ok(temp) = tempfile::tempdir_in(scratch()) else {
        return;
    };
    let Some(dir) = camino::Utf8Path::from_path(temp.path()) else {
        return;
    };
    let parts = parts::split(data);
    let part = |n: usize| parts.get(n).copied().unwrap_or_default();
    let image = disk::small(part(2));
    let known = [oci::Known::new(&image, &image)];
    let manifest = oci::filled(part(0), &known);
    let mut sums = String::new();
    for (name, bytes) in [("box.img", &image), ("box.manifest.json", &manifest)] {
        sums.push_str(&format!("{}  {name}\n", oci::digest(bytes)));
        if std::fs::write(dir.join(name), bytes).is_err() {
            return;
        }
    }
    sums.push_str(&String::from_utf8_lossy(part(1)));
    if std::fs::write(dir.join("SHA256SUMS"), sums).is_ok() {
        let _ = checked(deliver::verify::verify(dir, &|_| ()));
    }
}
