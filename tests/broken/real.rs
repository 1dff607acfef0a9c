//! The same on whole machines: images of the project's recipes, whose kernel, initrd, init and C
//! library are those of a distribution.

use super::edit::Parts;
use super::judge::{Good, judge_all};
use super::{cases, errors, inspect};
use crate::common::{machine, program, said, temp};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::guest::RootLogin;

/// Makes the image of a recipe.
fn image(recipe: &str, dir: &Utf8Path) -> Option<Utf8PathBuf> {
    program("debugfs", "e2fsprogs")?;
    let container = machine::container(recipe)?;
    let found = machine::recipe(recipe);
    let disk = machine::make(&container, recipe, found, RootLogin::default(), dir, |_| ());
    let (json, code) = inspect(&disk.image);
    assert_eq!((errors(&json).len(), code), (0, 0), "{json:#}");
    Some(disk.image)
}

/// The only name in a folder of the root file system that begins so.
fn named(image: &Utf8Path, folder: &str, start: &str) -> String {
    let (json, _) = inspect(image);
    let root = json["partitions"][1]["offset"].as_u64().unwrap();
    let mut debugfs = program("debugfs", "e2fsprogs").unwrap();
    let out = debugfs
        .args([
            "-R",
            &format!("ls -p {folder}"),
            &format!("{image}?offset={root}"),
        ])
        .output()
        .unwrap();
    let said = said(&out);
    let names = said.lines().filter_map(|l| l.split('/').nth(5));
    let name = names
        .filter(|n| n.starts_with(start))
        .min_by_key(|n| n.len());
    format!(
        "{folder}/{}",
        name.unwrap_or_else(|| panic!("no {start} in {said}"))
    )
}

#[test]
#[ignore = "makes an image of a container image"]
fn debian() {
    let (_temp, dir) = temp();
    let Some(image) = image("debian", &dir) else {
        return;
    };
    let library = "/usr/lib/x86_64-linux-gnu";
    let good = Good {
        parts: Parts {
            kernel: named(&image, "/boot", "vmlinuz-"),
            initrd: named(&image, "/boot", "initrd.img-"),
            init: "/usr/lib/systemd/systemd".into(),
            start: "/usr/sbin/init".into(),
            loader: format!("{library}/ld-linux-x86-64.so.2"),
            libc: format!("{library}/libc.so.6"),
        },
        image: &image,
        dir: &dir,
    };
    let all = [cases::TABLES, cases::LOADERS, cases::ROOTS, cases::INITS];
    judge_all(&good, &all, true);
}
