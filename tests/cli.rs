//! The command line: messages and leftover files after errors and signals.

mod engine;
mod host;
mod rootfs;
mod running;
mod signals;

use running::*;

use crate::common::engine::listed;
use crate::common::{self, Entry, Kind, Place, dir, file, link, names};
use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

impl Place {
    /// `cargo xtask image` with these arguments, in this place.
    fn image<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        // tests/metadata.rs looks at the metadata files.
        let mut command = self.xtask(&[
            "image",
            "--force",
            "--no-metadata",
            "--output",
            self.out.as_str(),
        ]);
        command
            .args(["--bootloader-dir", self.dir.join("bootloader").as_str()])
            .args(arguments);
        command
    }

    /// Nothing of a run that failed is left, neither here nor in the engine.
    #[track_caller]
    fn is_clean(&self, pid: u32) {
        assert_eq!(names(&self.out), [""; 0], "left in the output folder");
        assert_eq!(names(&self.tmp), [""; 0], "left in TMPDIR");
        // The log of a failed run stays, and what later runs use.
        let mut target = names(&self.dir.join("target"));
        target.retain(|name| !["logs", "made", "exports"].contains(&name.as_str()));
        let exports = names(&self.dir.join("target/exports"));
        assert!(exports.iter().all(|n| n.ends_with(".tar")), "{exports:?}");
        assert_eq!(target, [""; 0], "left in target");
        containers_of(pid);
    }

    /// A run with these arguments fails as it should; returns its error.
    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32, words: &[&str]) -> String {
        self.command_fails(
            self.image(["-q"].iter().chain(arguments).copied()),
            code,
            words,
        )
    }

    /// What these runs say, all of which fail as they should, for a snapshot.
    #[track_caller]
    fn errors(&self, code: i32, runs: &[&[&str]]) -> String {
        let told = |run: &&[&str]| {
            let error = self.fails(run, code, &[]);
            format!("{}\n  {}", run.join(" "), self.redacted(&error))
        };
        runs.iter().map(told).collect()
    }

    #[track_caller]
    fn command_fails(&self, mut command: Command, code: i32, words: &[&str]) -> String {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        let out = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), "", "on stdout");
        let said = String::from_utf8(out.stderr).unwrap();
        one_error(&said, words);
        assert_eq!(out.status.code(), Some(code), "{said}");
        self.is_clean(pid);
        said
    }
}

/// One line, which starts with `error: `, has these words in it and ends with a hint.
#[track_caller]
fn one_error(said: &str, words: &[&str]) {
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.starts_with("error: ") && said.ends_with('\n'),
        "{said}"
    );
    assert!(said.contains("; hint: "), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
}

/// The run of that process left no container.
#[track_caller]
fn containers_of(pid: u32) {
    let left = listed(&["ps", "-a", "--format", "{{.Names}}"]);
    let ours =
        |name: &&String| name.starts_with("docker-to-linux-") && name.contains(&format!("-{pid}-"));
    assert_eq!(left.iter().find(ours), None, "left in the engine");
}

// What is wrong with what was asked for.

#[test]
fn an_unknown_recipe() {
    let Some(p) = Place::new() else { return };
    // The project's own recipes, whatever they are, are named.
    p.fails(&["zzz"], 2, &["\"zzz\"", "the recipes are: alpine, debian"]);
    let runs: [&[&str]; 4] = [
        &["debain", "--from", "good.tar"],
        &["./nowhere", "--from", "good.tar"],
        // A recipe that the second of two names wrong is found before the first is built.
        &["debian", "debain"],
        &["./box", "./box", "--from", "good.tar"],
    ];
    insta::assert_snapshot!(p.errors(2, &runs), @r#"
    debain --from good.tar
      error: there is no recipe "debain" in recipes or [PROJECT]/recipes; hint: did you mean "debian"?
    ./nowhere --from good.tar
      error: there is no recipe at ./nowhere: ./nowhere/recipe.yaml does not exist; hint: a recipe is a folder with a Dockerfile and a recipe.yaml (which may be empty)
    debian debain
      error: there is no recipe "debain" in recipes or [PROJECT]/recipes; hint: did you mean "debian"?
    ./box ./box --from good.tar
      error: --from gives one root file system, but there are several recipes; hint: run the command once for each recipe
    "#);
}

#[test]
fn a_broken_recipe() {
    let Some(p) = Place::new() else { return };
    let wrong = |yaml: &str| {
        p.recipe("box", yaml);
        let error = p.fails(&["./box", "--from", "good.tar"], 2, &[]);
        format!("{yaml:?}\n  {error}")
    };
    let recipes = [
        "name: [\n",
        "name: a\n  boot: bios\n",
        "\tname: a\n",
        "name: \"\u{1}\"\n",
        "root:\n  lable: x\n",
        "size: 4X\n",
        "boot: bois\n",
        "boot: uefi\ntable: mbr\n",
        "kernel-arguments: [root=/dev/sda1]\n",
    ];
    insta::assert_snapshot!(recipes.map(wrong).concat(), @r#"
    "name: [\n"
      error: ./box/recipe.yaml:1:7: name: invalid type: sequence, expected a string; hint: recipes/recipe.schema.json describes every key; `cargo xtask schema` prints it
    "name: a\n  boot: bios\n"
      error: ./box/recipe.yaml:2:7: mapping values are not allowed in this context; hint: recipes/recipe.schema.json describes every key; `cargo xtask schema` prints it
    "\tname: a\n"
      error: ./box/recipe.yaml:1:1: found character that cannot start any token, while scanning for the next token; hint: recipes/recipe.schema.json describes every key; `cargo xtask schema` prints it
    "name: \"\u{1}\"\n"
      error: ./box/recipe.yaml:1:1: control characters are not allowed at position 7; hint: recipes/recipe.schema.json describes every key; `cargo xtask schema` prints it
    "root:\n  lable: x\n"
      error: ./box/recipe.yaml:2:3: root: unknown field `lable`, expected one of `label`, `free`, `reserved-percent`, `mount-options`, `grow`, `order`, `split-links`; hint: did you mean `label`?
    "size: 4X\n"
      error: ./box/recipe.yaml:1:7: size: "4X" is not a size: write a whole number with a unit, e.g. 512M, 4G or 1T; hint: recipes/recipe.schema.json describes every key; `cargo xtask schema` prints it
    "boot: bois\n"
      error: ./box/recipe.yaml:1:7: boot: unknown variant `bois`, expected one of `bios`, `uefi`, `hybrid`; hint: did you mean `bios`?
    "boot: uefi\ntable: mbr\n"
      error: the boot mode uefi does not support an MBR: some firmware finds an EFI system partition only in a GPT; hint: use `table: gpt`, or `boot: hybrid` with `table: mbr`
    "kernel-arguments: [root=/dev/sda1]\n"
      error: ./box/recipe.yaml:1:1: `kernel-arguments` contains root=, which is set automatically to the root file system's UUID; hint: remove it
    "#);
    // Without the names of all fields there are.
    let error = wrong("name: box\nsiez: 4G\n");
    let (error, names) = error.split_once("expected one of").unwrap();
    assert!(names.ends_with("; hint: did you mean `size`?\n"), "{names}");
    insta::assert_snapshot!(error, @r#"
    "name: box\nsiez: 4G\n"
      error: ./box/recipe.yaml:2:1: unknown field `siez`,
    "#);
    p.recipe("box", "architectures: [arm64]\n");
    let runs: [&[&str]; 2] = [
        &["./box", "--from", "good.tar", "--boot", "bios"],
        &["./box", "--arch", "amd64"],
    ];
    insta::assert_snapshot!(p.errors(2, &runs), @"
    ./box --from good.tar --boot bios
      error: arm64 does not support the boot mode bios: 64-bit ARM machines have no BIOS; hint: use `boot: uefi`
    ./box --arch amd64
      error: the recipe box does not support amd64; hint: if its Dockerfile supports it, add it to `architectures:` in its recipe.yaml
    ");
    // Bytes that are no text.
    fs_err::write(p.dir.join("box/recipe.yaml"), [0xFF, 0xFE, 0x80]).unwrap();
    insta::assert_snapshot!(p.errors(2, &[&["./box"]]), @"
    ./box
      error: reading the recipe ./box/recipe.yaml: it is not UTF-8 text; hint: recipe.yaml must be a readable file with at most 1 MiB of UTF-8 text
    ");
}

#[test]
fn an_impossible_size() {
    let Some(p) = Place::new() else { return };
    let with = |size: &'static str, more: &[&'static str]| {
        [&["./box", "--from", "good.tar", "--size", size], more].concat()
    };
    let said = p.fails(&with("10M", &[]), 2, &["10 MiB", "--size"]);
    // Both sizes, and the second one is enough.
    let (_, needed) = said.split_once("at least ").unwrap();
    let (needed, _) = needed.split_once(" MiB").unwrap();
    let mut run = p.image(["-q", "./box", "--from", "good.tar"]);
    common::content(run.args(["--size", &format!("{needed}M")]));
    fs_err::remove_file(p.out.join("box.img")).unwrap();

    let runs = [
        with("0", &[]),
        with("4X", &[]),
        with("-1", &[]),
        with("17T", &[]),
        with("18446744073709551615", &[]),
        with("3T", &["--boot", "bios"]),
    ];
    insta::assert_snapshot!(p.errors(2, &runs.each_ref().map(|r| &r[..])), @r#"
    ./box --from good.tar --size 0
      error: a disk of 0 bytes is too small for the root file system: it needs at least 82 MiB (2.3 MiB of files, 40 inodes); hint: give a larger `size:` in recipe.yaml or --size, or leave it `auto`
    ./box --from good.tar --size 4X
      error: invalid value '4X' for '--size <SIZE>': "4X" is not a size: write a whole number with a unit, e.g. 512M, 4G or 1T; hint: --help lists the options, with examples
    ./box --from good.tar --size -1
      error: unexpected argument '-1' found; hint: --help lists the options, with examples
    ./box --from good.tar --size 17T
      error: a disk of 17 TiB is too large: its root file system, an ext4 without 64-bit block numbers, which EXTLINUX cannot read, can have at most 16 TiB; hint: use a smaller `size:` in recipe.yaml or --size, or use `boot: uefi`
    ./box --from good.tar --size 18446744073709551615
      error: a disk of 16777216.0 TiB is too large: its root file system, an ext4 without 64-bit block numbers, which EXTLINUX cannot read, can have at most 16 TiB; hint: use a smaller `size:` in recipe.yaml or --size, or use `boot: uefi`
    ./box --from good.tar --size 3T --boot bios
      error: a disk of 3 TiB is too large: an MBR can address at most 2 TiB; hint: use `table: gpt` (--table gpt), or a smaller size
    "#);
    p.recipe("box", "size: 12M\n");
    let said = p.fails(&["./box", "--from", "good.tar"], 2, &["12 MiB"]);
    assert!(said.contains("at least "), "{said}");
    p.recipe("box", "root: {free: 60T}\n");
    p.fails(&["./box", "--from", "good.tar"], 2, &["16 TiB"]);
}

#[test]
fn a_wrong_command_line() {
    let Some(p) = Place::new() else { return };
    let runs: [&[&str]; 7] = [
        &[],
        &["./box", "--siz", "4G"],
        &["./box", "--frobnicate"],
        &["./box", "--boot", "boos"],
        &["./box", "--hostname", "-a"],
        &["./box", "--hostname=-a", "--from", "good.tar"],
        &["./box", "--build-arg", "X"],
    ];
    insta::assert_snapshot!(p.errors(2, &runs), @r#"

      error: the following required arguments were not provided: <RECIPE>...; hint: --help lists the options, with examples
    ./box --siz 4G
      error: unexpected argument '--siz' found; hint: a similar argument exists: '--size'
    ./box --frobnicate
      error: unexpected argument '--frobnicate' found; hint: a similar argument exists: '--format'
    ./box --boot boos
      error: invalid value 'boos' for '--boot <BOOT>' [possible values: bios, uefi, hybrid]; hint: a similar value exists: 'bios'
    ./box --hostname -a
      error: unexpected argument '-a' found; hint: --help lists the options, with examples
    ./box --hostname=-a --from good.tar
      error: --hostname "-a" is not a valid host name; hint: use letters, digits and `-`
    ./box --build-arg X
      error: --build-arg "X" has no value; hint: write --build-arg NAME=VALUE
    "#);
    let mut command = common::xtask();
    command.arg("imaeg");
    p.command_fails(command, 2, &["'imaeg'", "'image'"]);
    // Not an error in one line, but help: nothing was asked for.
    let out = common::xtask().output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(common::said(&out).contains("Usage: "));
    let out = common::xtask().args(["image", "--help"]).output().unwrap();
    assert_eq!(out.status.code(), Some(0));
    assert!(common::said(&out).contains("Examples:"));
}

/// Times that a file may have and a file system as a whole may not.
#[test]
fn times_out_of_range() {
    let Some(p) = Place::new() else { return };
    let mut all = common::machine();
    for (n, secs) in [-9_999_999_999, 7_258_118_400, 253_402_300_799]
        .into_iter()
        .enumerate()
    {
        all.push(file(&format!("time-{n}"), "t").time(secs, 0));
    }
    common::tar_file(&all, &p.dir.join("times.tar"));
    common::content(&mut p.image(["-q", "./box", "--from", "times.tar"]));
    fs_err::remove_file(p.out.join("box.img")).unwrap();
    let with = |epoch| p.errors(2, &[&["./box", "--from", "times.tar", epoch]]);
    let epochs = ["--epoch=-1", "--epoch=4294967296", "--epoch=now"];
    insta::assert_snapshot!(epochs.map(with).concat(), @"
    ./box --from times.tar --epoch=-1
      error: invalid value '-1' for '--epoch <SECONDS>': -1 is not in 0..=4294967295; hint: --help lists the options, with examples
    ./box --from times.tar --epoch=4294967296
      error: invalid value '4294967296' for '--epoch <SECONDS>': 4294967296 is not in 0..=4294967295; hint: --help lists the options, with examples
    ./box --from times.tar --epoch=now
      error: invalid value 'now' for '--epoch <SECONDS>': invalid digit found in string; hint: --help lists the options, with examples
    ");
    let last = [
        "-q",
        "./box",
        "--from",
        "times.tar",
        "--epoch",
        "4294967295",
    ];
    common::content(&mut p.image(last));
}

#[test]
fn missing_boot_loaders() {
    let Some(p) = Place::new() else { return };
    for file in ["extlinux", "gptmbr.bin", "systemd-bootx64.efi"] {
        let path = p.dir.join("bootloader").join(file);
        let kept = p.dir.join("kept");
        fs_err::rename(&path, &kept).unwrap();
        p.fails(
            &["./box", "--from", "good.tar"],
            1,
            &[file, "--bootloader-dir"],
        );
        fs_err::write(&path, "not this").unwrap();
        if file == "extlinux" {
            p.fails(&["./box", "--from", "good.tar"], 1, &["not an ELF file"]);
        }
        fs_err::rename(&kept, &path).unwrap();
    }
}
