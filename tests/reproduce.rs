//! The same root file system gives the same bytes: in every format and compression, whenever,
//! wherever and with however many cores it is built.

use crate::common;
use camino::Utf8Path;
use docker_to_linux::model::Format;
use fs_err as fs;
use std::collections::BTreeMap;
use std::process::Command;

/// One way to live.
struct World {
    /// The working directory, below the test's.
    dir: &'static str,
    umask: &'static str,
    /// Put before the program.
    wrapper: &'static [&'static str],
    env: [(&'static str, &'static str); 3],
}

const WORLDS: [World; 2] = [
    World {
        dir: "one",
        umask: "022",
        wrapper: &[],
        env: [("TZ", "UTC"), ("LC_ALL", "C"), ("USER", "a")],
    },
    World {
        dir: "another/and deeper",
        umask: "077",
        // One core, set with `taskset`.
        wrapper: &["taskset", "-c", "0"],
        env: [
            ("TZ", "Asia/Kathmandu"),
            ("LC_ALL", "tr_TR.UTF-8"),
            ("USER", "b"),
        ],
    },
];

impl World {
    /// Makes the image `box` with these options; returns the checksums of all its files.
    fn make(&self, at: &Utf8Path, more: &[&str]) -> BTreeMap<String, String> {
        let dir = at.join(self.dir);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("box")).unwrap();
        fs::write(dir.join("box/recipe.yaml"), "root: {free: 16M}\n").unwrap();
        let xtask = common::xtask();
        let script = format!("umask {}; exec \"$@\"", self.umask);
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, "sh"])
            .args(self.wrapper)
            .arg(xtask.get_program())
            .args([
                "-q", "image", "--force", "./box", "--output", "out", "--from",
            ])
            .arg(at.join("rootfs.tar"))
            .arg("--bootloader-dir")
            .arg(at.join("bootloader"))
            .args(more)
            .current_dir(&dir)
            .env_remove("SOURCE_DATE_EPOCH");
        for (name, value) in self.env {
            command.env(name, value);
        }
        // `content` would set a locale of its own.
        let out = command.output().unwrap();
        assert!(out.status.success(), "{}", common::said(&out));
        common::sums(&dir.join("out"))
    }
}

#[test]
fn the_same_root_file_system_gives_the_same_bytes() {
    if common::program("taskset", "util-linux").is_none() {
        return;
    }
    let (_temp, at) = common::temp();
    if common::bootloader_dir(&at).is_none() {
        return;
    }
    common::tar_file(&common::machine(), &at.join("rootfs.tar"));
    let names = Format::ALL.iter().map(|f| {
        let name = serde_json::to_value(f).unwrap();
        name.as_str().unwrap().to_owned()
    });
    let all: Vec<String> = names.collect();
    let all = all.join(",");
    let all = ["--format", &all];
    let mut seen = 0;
    for more in [
        &[][..],
        &["--compression", "zstd"],
        &["--compression", "zlib"],
        &["--compress", "zstd"],
        &["--compress", "xz"],
        &["--compress", "gzip", "--split", "1M"],
    ] {
        // Only qcow2 knows `--compression`.
        let options = match more {
            ["--compression", ..] => [&["--format", "qcow2"], more].concat(),
            _ => [&all[..], more].concat(),
        };
        let [one, another] = WORLDS.map(|world| world.make(&at, &options));
        assert_eq!(one, another, "{options:?}");
        seen += one.len();
    }
    // Nine formats and their metadata files, and so on.
    assert!(seen > 50, "{seen}");
}
