//! The command line: messages and leftover files after errors and signals.

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
        let mut command = self.xtask(&["image", "--no-metadata", "--output", self.out.as_str()]);
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
        // The log of a failed run stays.
        let mut target = names(&self.dir.join("target"));
        target.retain(|name| name != "logs");
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

/// Lines that docker prints. Empty if docker is not installed.
fn listed(arguments: &[&str]) -> Vec<String> {
    let Ok(out) = Command::new("docker").args(arguments).output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().map(str::to_owned).collect()
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

// What is wrong with a root file system.

#[test]
fn a_tar_that_is_none() {
    let Some(p) = Place::new() else { return };
    let wrong = |name: &str, code: i32, words: &[&str]| {
        p.fails(&["./box", "--from", name], code, &[&[name], words].concat());
    };
    wrong("nowhere.tar", 2, &["No such file", "docker export"]);
    wrong("box", 2, &["is a folder", "tar -C box"]);
    fs_err::write(p.dir.join("empty.tar"), "").unwrap();
    wrong("empty.tar", 2, &["empty"]);
    fs_err::write(p.dir.join("text.tar"), "no tar at all\n".repeat(1000)).unwrap();
    wrong("text.tar", 2, &["this is not a tar"]);
    fs_err::write(p.dir.join("short.tar"), "404\n").unwrap();
    wrong("short.tar", 2, &["this is not a tar"]);
    fs_err::write(p.dir.join("page.tar"), "<html><body>404\n").unwrap();
    wrong("page.tar", 2, &["page of the web", "docker export"]);
    fs_err::write(p.dir.join("zeros.tar"), vec![0; 10240]).unwrap();
    wrong("zeros.tar", 2, &["empty"]);

    let good = fs_err::read(p.dir.join("good.tar")).unwrap();
    for (n, len) in [300, 512, 700, 1_000_000, 1_900_000]
        .into_iter()
        .enumerate()
    {
        let name = format!("cut-{n}.tar");
        fs_err::write(p.dir.join(&name), &good[..len]).unwrap();
        // A whole header without anything after it is a whole tar of one folder.
        match len {
            512 => {
                p.fails(&["./box", "--from", &name], 2, &["no init"]);
            }
            _ => wrong(&name, 1, &["cut off", "make the tar again"]),
        }
    }
    // One byte of a header in the middle.
    let mut bad = good.clone();
    let place = position(&bad, b"./boot/initrd.img-6.1\0");
    bad[place + 150] ^= 0x10;
    fs_err::write(p.dir.join("bad.tar"), &bad).unwrap();
    let at = format!("byte {place}");
    wrong("bad.tar", 1, &["damaged", &at]);

    let gz = |bytes: &[u8]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    };
    let packed = gz(&good);
    fs_err::write(p.dir.join("cut.tar.gz"), &packed[..packed.len() / 2]).unwrap();
    wrong("cut.tar.gz", 1, &["make the tar again"]);
    let mut bad = packed.clone();
    bad[packed.len() / 2] ^= 0xFF;
    fs_err::write(p.dir.join("bad.tar.gz"), &bad).unwrap();
    wrong("bad.tar.gz", 1, &["make the tar again"]);
    let zst = zstd::encode_all(&*good, 1).unwrap();
    fs_err::write(p.dir.join("cut.tar.zst"), &zst[..zst.len() / 2]).unwrap();
    wrong("cut.tar.zst", 1, &["make the tar again"]);

    // The same through a pipe.
    for (input, code) in [(&b""[..], 2), (&good[..1_000_000], 1), (b"text", 2)] {
        let out = common::with_input(&mut p.image(["-q", "./box", "--from", "-"]), input);
        one_error(&String::from_utf8(out.stderr).unwrap(), &["stdin"]);
        assert_eq!(out.status.code(), Some(code));
        p.is_clean(0);
    }
}

fn position(bytes: &[u8], what: &[u8]) -> usize {
    let mut windows = bytes.windows(what.len());
    windows.position(|w| w == what).unwrap()
}

#[test]
fn a_root_file_system_that_is_no_machine() {
    let Some(p) = Place::new() else { return };
    let without = |gone: &[&str], more: &[Entry]| {
        let mut all = common::machine();
        all.retain(|e| !gone.contains(&e.path.as_str()));
        all.extend_from_slice(more);
        p.tar("some", &all);
        p.fails(&["./box", "--from", "some.tar"], 2, &[])
    };
    let (kernel, init) = (["boot/vmlinuz-6.1", "vmlinuz"], ["sbin/init"]);
    let errors = [
        without(&kernel, &[]),
        without(&["boot/initrd.img-6.1", "initrd.img"], &[]),
        // An empty file is not a kernel.
        without(&kernel, &[file("boot/vmlinuz-6.1", "")]),
        without(&init, &[]),
        without(&init, &[link("sbin/init", "/lib/nowhere")]),
        without(&[], &[dir("lost+found"), file("lost+found/x", "x")]),
    ];
    insta::assert_snapshot!(errors.concat(), @"
    error: the root file system has no kernel: looked for /boot/vmlinuz* and /usr/lib/modules/*/vmlinuz; hint: install one in the Dockerfile, e.g. `apt-get install linux-image-amd64` or `apk add linux-virt`; the recipes debian and alpine show how
    error: the kernel /boot/vmlinuz-6.1 has no initrd: looked for /boot/initrd.img-6.1, /boot/initramfs-6.1.img, /boot/initramfs-6.1, /boot/initrd-6.1, /usr/lib/modules/6.1/initramfs.img, /usr/lib/modules/6.1/initrd.img, /usr/lib/modules/6.1/initrd, /lib/modules/6.1/initramfs.img, /lib/modules/6.1/initrd.img, /lib/modules/6.1/initrd; it needs one to find its root file system; hint: create one in the Dockerfile with Debian's initramfs-tools, Alpine's mkinitfs or dracut
    error: the root file system has no kernel that the machine can start: /boot/vmlinuz-6.1 is empty; hint: reinstall its package: the file was not written or copied completely
    error: the root file system has no init: there is no /sbin/init; hint: install one in the Dockerfile, e.g. `apt-get install systemd-sysv` or `apk add openrc`; the recipes debian and alpine show how
    error: the root file system has no init: /sbin/init is a symbolic link to /lib/nowhere, which does not exist; hint: install one in the Dockerfile, e.g. `apt-get install systemd-sysv` or `apk add openrc`; the recipes debian and alpine show how
    error: the root file system's /lost+found is not empty (1 in it); a file system check of an earlier disk put that there, and the new file system makes this directory itself; hint: move what is needed out of it, and exclude the rest: `tar --exclude=./lost+found`, or `RUN rm -rf /lost+found` in the Dockerfile
    ");
}

/// What a tar must never do to a host or to an image.
#[test]
fn a_tar_that_means_harm() {
    let Some(p) = Place::new() else { return };
    let with = |more: Entry| {
        let mut all = common::machine();
        all.push(more);
        p.tar("some", &all);
        let error = p.fails(&["./box", "--from", "some.tar"], 1, &[]);
        assert!(!p.dir.join("escaped").exists());
        error
    };
    let hard = |path: &str, to: &str| common::entry(path, Kind::HardLink(to.into()));
    let errors = [
        with(file("../escaped", "x")),
        with(file("etc/../../escaped", "x")),
        with(hard("a", "nowhere")),
        with(hard("a", "etc")),
        with(file("sbin/init/below", "x")),
        with(file(&"x".repeat(256), "x")),
        with(file("a", "x").xattr("user.big", vec![1; 60_000])),
    ];
    insta::assert_snapshot!(errors.concat(), @r#"
    error: reading the root file system from some.tar: the path "./../escaped" has a '..' in it and could leave the root file system; hint: this tar looks malicious: do not trust it
    error: reading the root file system from some.tar: the path "./etc/../../escaped" has a '..' in it and could leave the root file system; hint: this tar looks malicious: do not trust it
    error: reading the root file system from some.tar: the hard link "./a" cannot be made: there is no "./nowhere"; hint: make the tar again with GNU tar or a container engine
    error: reading the root file system from some.tar: the hard link "./a" cannot be made: its target is a directory; hint: make the tar again with GNU tar or a container engine
    error: reading the root file system from some.tar: "./sbin/init/below" cannot be made: "sbin/init" is a file, not a directory; hint: make the tar again with GNU tar or a container engine
    error: reading the root file system from some.tar: the name that begins with "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" is longer than 255 bytes, the limit of Linux file systems; hint: make the tar again with GNU tar or a container engine
    error: laying out the root file system: the extended attributes of "/a" need 60008 bytes, but ext4 has only a block of 4096 bytes and the rest of the inode for them; hint: remove some of them in the Dockerfile with `setfattr -x`
    "#);
}

// What is wrong with this host.

#[test]
fn a_full_disk() {
    if common::passed_as_root(module_path!(), "a_full_disk") {
        return;
    }
    let Some(p) = Place::new() else { return };
    if !common::is_root() {
        return common::skipped("a small disk to fill takes root").unwrap_or(());
    }
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs", p.out.as_str()])
        .status();
    assert!(mount.unwrap().success());
    struct Unmount(Utf8PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(&self.0).status();
        }
    }
    let _unmount = Unmount(p.out.clone());
    let free = || rustix::fs::statvfs(p.out.as_std_path()).unwrap().f_bfree;
    let before = free();
    let words = ["No space left on device", "free some space"];
    let with = |more: &[&'static str]| [&["./box", "--from", "good.tar"], more].concat();
    for format in [
        "raw",
        "qcow2",
        "vdi",
        "vmdk",
        "vmdk-stream",
        "ova",
        "vhd",
        "vhd-fixed",
        "vhdx",
    ] {
        let words = [&words[..], &["are missing"]].concat();
        for more in [
            &[][..],
            &["--compress", "zstd"],
            &["--split", "1M"],
            &["--compression", "zstd"],
        ] {
            p.fails(&with(&[&["--format", format], more].concat()), 1, &words);
            assert_eq!(free(), before, "{format} {more:?}");
        }
    }
    // What it says is missing is enough.
    let said = p.fails(&with(&["--format", "raw,vdi"]), 1, &["are missing"]);
    let (said, _) = said.split_once(" are missing").unwrap();
    let mib: u64 = said
        .rsplit_once(" MiB")
        .and_then(|(n, _)| n.rsplit(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{said}"));
    let grow = |mib: u64| {
        let options = format!("remount,size={}m", 1 + mib);
        let mut mount = Command::new("mount");
        mount.args(["-o", &options, p.out.as_str()]);
        assert!(mount.status().unwrap().success());
    };
    // And not far more than that.
    grow(mib / 2);
    p.fails(&with(&["--format", "raw,vdi"]), 1, &["are missing"]);
    grow(mib);
    common::content(&mut p.image(with(&["-q", "--format", "raw,vdi"])));
    for name in names(&p.out) {
        fs_err::remove_file(p.out.join(name)).unwrap();
    }
    grow(0);
    // A pipe's contents wait there for the image.
    let tar = fs_err::read(p.dir.join("good.tar")).unwrap();
    let out = common::with_input(&mut p.image(["-q", "./box", "--from", "-"]), &tar);
    one_error(&String::from_utf8(out.stderr).unwrap(), &words);
    assert_eq!(out.status.code(), Some(1));
    p.is_clean(0);
    assert!(free() >= before);
}

#[test]
fn an_output_folder_that_cannot_be() {
    let Some(p) = Place::new() else { return };
    let good = p.dir.join("good.tar");
    for from in [good.as_str(), "/dev/null"] {
        let mut run = common::xtask();
        run.args([
            "image",
            "-q",
            "--from",
            from,
            "--output",
            "box/recipe.yaml/images",
        ])
        .args(["./box", "--bootloader-dir", "bootloader"])
        .current_dir(&p.dir);
        let out = run.output().unwrap();
        assert!(!out.status.success());
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("box/recipe.yaml/images"), "{said}");
    }
}

/// An old image stays as it was when a new one fails.
#[test]
fn what_was_there_stays() {
    let Some(p) = Place::new() else { return };
    let image = p.out.join("box.img");
    fs_err::write(&image, "an older image").unwrap();
    let mut run = p.image(["-q", "./box", "--from", "good.tar", "--size", "10M"]);
    assert_eq!(run.output().unwrap().status.code(), Some(2));
    assert_eq!(fs_err::read(&image).unwrap(), b"an older image");
    assert_eq!(names(&p.out), ["box.img"]);
    common::content(&mut p.image(["-q", "./box", "--from", "good.tar"]));
    assert!(fs_err::metadata(&image).unwrap().len() > 1 << 20);
    assert_eq!(names(&p.out), ["box.img"]);
}

// Signals.

/// A run that a signal is to end.
struct Running {
    child: std::process::Child,
    stderr: std::process::ChildStderr,
    said: String,
}

impl Running {
    fn new(mut command: Command) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        Running {
            child,
            stderr,
            said: String::new(),
        }
    }

    /// Waits until the run has said this.
    #[track_caller]
    fn until_said(&mut self, what: &str) {
        let mut byte = [0];
        while !self.said.contains(what) {
            let n = self.stderr.read(&mut byte).unwrap();
            assert!(n > 0, "it ended before {what:?}: {}", self.said);
            self.said.push(char::from(byte[0]));
        }
    }

    /// Sends the signal and waits for the end; returns all that was said, and checks that it
    /// is the right end within a few seconds.
    #[track_caller]
    fn ends_by(self, signal: Signal) -> String {
        let (status, said) = self.ends_by_or_well(signal);
        assert!(!status.success(), "{said}");
        said
    }

    /// As [`Running::ends_by`], but it may also have come to its own good end before.
    #[track_caller]
    fn ends_by_or_well(mut self, signal: Signal) -> (ExitStatus, String) {
        let sent = Instant::now();
        let pid = Pid::from_child(&self.child);
        send(pid, signal);
        let status = wait(&mut self.child, Duration::from_secs(15));
        let took = sent.elapsed();
        self.stderr.read_to_string(&mut self.said).unwrap();
        if status.success() {
            return (status, self.said);
        }
        assert_eq!(status.code(), Some(128 + signal.as_raw()), "{}", self.said);
        assert!(took < Duration::from_secs(10), "it took {took:?}");
        let errors: Vec<&str> = self
            .said
            .lines()
            .filter(|l| !["==> ", "    ", "  ! "].iter().any(|p| l.starts_with(p)))
            .collect();
        assert_eq!(errors.len(), 1, "{}", self.said);
        assert!(
            errors[0].starts_with("error: interrupted by SIG"),
            "{}",
            self.said
        );
        (status, self.said)
    }
}

/// As terminals do it (Ctrl-C, closed), to the children as well; SIGTERM as service managers
/// do it, to one process.
fn send(pid: Pid, signal: Signal) {
    let sent = match signal {
        Signal::TERM => kill_process(pid, signal),
        _ => kill_process_group(pid, signal),
    };
    // It may be gone already.
    let _ = sent;
}

#[track_caller]
fn wait(child: &mut std::process::Child, most: Duration) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > most {
            child.kill().unwrap();
            panic!("it did not end within {most:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

const SIGNALS: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

#[test]
fn a_signal_while_stdin_stalls() {
    let Some(p) = Place::new() else { return };
    let tar = fs_err::read(p.dir.join("good.tar")).unwrap();
    for signal in SIGNALS {
        let mut command = p.image(["./box", "--from", "-"]);
        command.stdin(Stdio::piped());
        let mut running = Running::new(command);
        let mut stdin = running.child.stdin.take().unwrap();
        running.until_said("from stdin\n");
        // More than a pipe holds: it is inside of a file's content when the signal comes.
        stdin.write_all(&tar[..1_000_000]).unwrap();
        let pid = running.child.id();
        running.ends_by(signal);
        p.is_clean(pid);
    }
}

#[test]
fn a_signal_while_an_image_is_written() {
    let Some(p) = Place::new() else { return };
    // A file of 8 GiB that costs no space as a tar; the image would take a while.
    let mut all = common::machine();
    let mut big = file("big", "");
    big.mode = 0o600;
    all.push(big);
    let tar = p.dir.join("big.tar");
    common::tar_file(&all, &tar);
    grow_last(&tar, 8 << 30);
    for signal in SIGNALS {
        let mut running = Running::new(p.image(["./box", "--from", "big.tar"]));
        running.until_said("a disk of ");
        let pid = running.child.id();
        let written = || {
            use std::os::unix::fs::MetadataExt;
            let files = names(&p.out).into_iter().map(|name| p.out.join(name));
            let mut large = files.filter_map(|file| std::fs::metadata(file).ok());
            large.any(|m| m.blocks() > 20_000)
        };
        let begun = Instant::now();
        while !written() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "nothing is written"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        running.ends_by(signal);
        p.is_clean(pid);
    }
}

/// Gives the last file of a tar, which is empty, `len` bytes: a hole.
fn grow_last(tar: &Utf8Path, len: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(tar);
    let file = file.unwrap();
    // Two blocks of zeros end a tar.
    let at = file.metadata().unwrap().len() - 1536;
    let mut block = [0; 512];
    file.read_exact_at(&mut block, at).unwrap();
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes().copy_from_slice(&block);
    header.set_size(len);
    header.set_cksum();
    file.write_all_at(header.as_bytes(), at).unwrap();
    file.set_len(at + 512 + len + 1024).unwrap();
}

/// Whenever a signal comes, there is a whole image or nothing.
#[test]
fn a_signal_at_any_time() {
    let Some(p) = Place::new() else { return };
    let mut command = p.image(["-q", "./box", "--from", "good.tar"]);
    let begun = Instant::now();
    common::content(&mut command);
    let whole = begun.elapsed();
    let image = p.out.join("box.img");
    let good = common::sha256(&image);
    fs_err::remove_file(&image).unwrap();
    let steps = 60;
    let mut seen = [0; 3];
    for n in 0..steps {
        let signal = SIGNALS[n as usize % SIGNALS.len()];
        let mut command = p.image(["-q", "./box", "--from", "good.tar"]);
        command.stderr(Stdio::null()).stdout(Stdio::null());
        let mut child = command.process_group(0).spawn();
        let child = child.as_mut().unwrap();
        std::thread::sleep(whole * n * 5 / (4 * steps));
        send(Pid::from_child(child), signal);
        let status = wait(child, Duration::from_secs(10));
        let made = names(&p.out);
        match (status.code(), status.signal()) {
            (Some(0), _) => {
                seen[0] += 1;
                assert_eq!(made, ["box.img"]);
            }
            (Some(code), _) => {
                seen[1] += 1;
                assert_eq!(code, 128 + signal.as_raw());
            }
            // Before the program could say what it does about signals.
            (None, by) => {
                seen[2] += 1;
                assert_eq!(by, Some(signal.as_raw()));
            }
        }
        if made == ["box.img"] {
            assert_eq!(common::sha256(&image), good);
            fs_err::remove_file(&image).unwrap();
        }
        p.is_clean(child.id());
    }
    assert!(seen[1] > 0, "no signal came in time: {seen:?}");
}

// The engine.

#[test]
fn no_engine() {
    let Some(p) = Place::new() else { return };
    let everywhere = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
    let found = |name: &str| {
        everywhere
            .iter()
            .any(|d| Utf8Path::new(d).join(name).exists())
    };
    if found("docker") || found("podman") {
        return common::skipped("an engine lies in a folder that is always searched").unwrap_or(());
    }
    let empty = p.dir.join("empty");
    fs_err::create_dir(&empty).unwrap();
    fs_err::write(p.dir.join("box/Dockerfile"), "FROM scratch\n").unwrap();
    let without = |more: &[&str]| {
        let mut command = p.image(["-q", "./box"].iter().chain(more).copied());
        command.env("PATH", &empty);
        command
    };
    let words = ["docker", "podman", "cargo xtask setup", "--from"];
    p.command_fails(without(&[]), 1, &words);
    p.command_fails(without(&["--engine", "docker"]), 1, &["docker is needed"]);
    p.command_fails(without(&["--engine", "podman"]), 1, &["podman is needed"]);
    // None is needed for a tar.
    common::content(&mut without(&["--from", "good.tar"]));
    assert_eq!(names(&p.out), ["box.img"]);
}

/// Whether there is a docker that answers; said aloud if not.
fn docker() -> Option<()> {
    let out = Command::new("docker").arg("info").output();
    match out.is_ok_and(|o| o.status.success()) {
        true => Some(()),
        false => common::skipped("docker is not installed, or does not answer"),
    }
}

#[test]
fn an_engine_that_does_not_run() {
    let Some(p) = Place::new() else { return };
    let Some(()) = docker() else { return };
    fs_err::write(p.dir.join("box/Dockerfile"), "FROM scratch\n").unwrap();
    let mut command = p.image(["-q", "./box", "--engine", "docker"]);
    command
        .env("DOCKER_HOST", "unix:///nonexistent.sock")
        .env_remove("DOCKER_CONTEXT");
    let words = ["docker is installed but does not answer", "start it"];
    p.command_fails(command, 1, &words);
}

/// A base image with a shell in it, made of this host's own programs; removed when dropped,
/// with the images that were built on it.
struct Base {
    name: String,
    label: String,
}

impl Base {
    fn new(test: &str) -> Option<Base> {
        docker()?;
        let mut all = common::machine();
        all.extend([dir("bin"), dir("tmp").mode(0o1777)]);
        for program in ["/bin/sh", "/bin/sleep"] {
            let Ok(out) = Command::new("ldd").arg(program).output() else {
                return common::skipped("ldd, which tells a program's libraries, is not installed");
            };
            let text = String::from_utf8(out.stdout).unwrap();
            let paths = text.split_whitespace().filter(|w| w.starts_with('/'));
            for path in paths.chain([program]) {
                if all.iter().any(|e| e.path == path[1..]) {
                    continue;
                }
                let bytes = fs_err::read(path).unwrap();
                all.push(file(&path[1..], bytes).mode(0o755));
            }
        }
        let mut tar = Vec::new();
        common::write_tar(&all, &mut tar);
        let name = format!("docker-to-linux-test-{test}:{}", std::process::id());
        let out = common::with_input(Command::new("docker").args(["import", "-", &name]), &tar);
        assert!(out.status.success(), "{}", common::said(&out));
        let label = format!("docker-to-linux-test={test}-{}", std::process::id());
        Some(Base { name, label })
    }

    /// Makes the recipe build on this base, with these instructions.
    fn recipe(&self, p: &Place, instructions: &str) {
        p.recipe(
            "box",
            &format!(
                "name: test-{}\nbase: {}\nroot: {{free: 16M}}\n",
                self.name.replace(':', "-"),
                self.name
            ),
        );
        let text = format!(
            "ARG BASE\nFROM ${{BASE}}\nLABEL {}\n{instructions}\n",
            self.label
        );
        fs_err::write(p.dir.join("box/Dockerfile"), text).unwrap();
    }

    /// Containers of builds on this base: the engine's own, with names that it made up.
    fn containers(&self) -> Vec<String> {
        let filter = format!("label={}", self.label);
        listed(&["ps", "-aq", "--filter", &filter])
    }

    /// The engine needs a moment to clear up behind a client that went away.
    #[track_caller]
    fn is_clean(&self) {
        let begun = Instant::now();
        while !self.containers().is_empty() {
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(20), "{:?}", self.containers());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        let mut doomed = vec![self.name.clone()];
        let filter = format!("label={}", self.label);
        for container in self.containers() {
            listed(&["rm", "--force", &container]);
        }
        doomed.extend(listed(&["images", "-aq", "--filter", &filter]));
        // Twice: the engine refuses an image that another is built on.
        for _ in 0..2 {
            for image in &doomed {
                listed(&["image", "rm", "--force", image]);
            }
        }
    }
}

#[test]
fn an_image_from_an_engine() {
    let Some(p) = Place::new() else { return };
    let Some(base) = Base::new("whole") else {
        return;
    };
    base.recipe(&p, "RUN echo made here >/etc/motd");
    let run = || {
        let child = p
            .image(["./box", "--engine", "docker"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", common::said(&out));
        let image = String::from_utf8(out.stdout).unwrap();
        let sum = common::sha256(Utf8Path::new(image.trim()));
        fs_err::remove_file(image.trim()).unwrap();
        p.is_clean(pid);
        (sum, String::from_utf8(out.stderr).unwrap())
    };
    let (first, said) = run();
    assert!(said.contains("==> "), "{said}");
    // The engine's own output.
    assert!(said.contains("    Step "), "{said}");
    let (second, _) = run();
    assert_eq!(first, second, "an image of the same container image");
    base.is_clean();
}

#[test]
fn a_build_that_fails() {
    let Some(p) = Place::new() else { return };
    let Some(base) = Base::new("fails") else {
        return;
    };
    base.recipe(&p, "RUN echo boom; exit 7");
    let said = p.fails(
        &["./box", "--engine", "docker"],
        1,
        &["building ./box", "Dockerfile"],
    );
    assert!(
        said.contains("code: 7") || said.contains("code 7"),
        "{said}"
    );
    base.is_clean();
    // Without -q, the engine's own lines come first.
    let out = p.image(["./box", "--engine", "docker"]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(
        said.lines()
            .any(|l| l.starts_with("    ") && l.ends_with("boom")),
        "{said}"
    );
    let errors = said.lines().filter(|l| l.starts_with("error: ")).count();
    assert_eq!(errors, 1, "{said}");

    base.recipe(&p, "NONSENSE");
    p.fails(&["./box", "--engine", "docker"], 1, &["NONSENSE"]);
    fs_err::remove_file(p.dir.join("box/Dockerfile")).unwrap();
    p.fails(
        &["./box", "--engine", "docker"],
        2,
        &["no ./box/Dockerfile", "FROM"],
    );
    // A complete build of something that is not a machine.
    base.recipe(
        &p,
        "RUN exec 3</sbin/init && >/sbin/init && >/boot/vmlinuz-6.1",
    );
    p.fails(&["./box", "--engine", "docker"], 2, &["no kernel"]);
}

#[test]
fn a_base_that_cannot_be_had() {
    let Some(p) = Place::new() else { return };
    let Some(()) = docker() else { return };
    let name = format!(
        "registry.invalid/docker-to-linux-test/{}",
        std::process::id()
    );
    p.recipe("box", &format!("base: {name}\n"));
    let dockerfile = "ARG BASE\nFROM ${BASE}\n";
    fs_err::write(p.dir.join("box/Dockerfile"), dockerfile).unwrap();
    let run = ["./box", "--engine", "docker"];
    p.fails(&run, 1, &[&name, "cannot be pulled", "bootstrap"]);
    let bootstrap = |text: &str| common::script(&p.dir.join("box/bootstrap"), text);
    bootstrap("echo 'bootstrap: nothing goes today' >&2\nexit 4\n");
    p.fails(&run, 1, &["bootstrap: nothing goes today", "-v"]);
    bootstrap("head -c 5000 /dev/zero | tr '\\0' x\n");
    p.fails(&run, 1, &[&name]);
    assert_eq!(listed(&["images", "-q", &name]), [""; 0]);

    // A signal while it runs ends it too.
    let pid_file = p.dir.join("pid");
    bootstrap(&format!("echo $$ >{pid_file}\nexec sleep 60\n"));
    for signal in [Signal::INT, Signal::TERM] {
        let running = Running::new(p.image(run));
        let begun = Instant::now();
        let bootstrap = loop {
            let text = std::fs::read_to_string(&pid_file).unwrap_or_default();
            if let Ok(pid) = text.trim().parse::<i32>() {
                break pid;
            }
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
        };
        fs_err::remove_file(&pid_file).unwrap();
        let pid = running.child.id();
        running.ends_by(signal);
        p.is_clean(pid);
        let begun = Instant::now();
        while std::fs::exists(format!("/proc/{bootstrap}/exe")).unwrap()
            && std::fs::read_link(format!("/proc/{bootstrap}/exe")).is_ok()
        {
            assert!(begun.elapsed() < Duration::from_secs(5), "it still runs");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(listed(&["images", "-q", &name]), [""; 0]);
    }
}

#[test]
fn a_signal_during_a_build() {
    let Some(p) = Place::new() else { return };
    let Some(base) = Base::new("signal") else {
        return;
    };
    base.recipe(&p, "RUN echo it sleeps now && exec sleep 60");
    for signal in [Signal::INT, Signal::TERM] {
        let mut running = Running::new(p.image(["./box", "--engine", "docker"]));
        // The output, not the instruction.
        running.until_said("it sleeps now\n");
        let pid = running.child.id();
        running.ends_by(signal);
        p.is_clean(pid);
        base.is_clean();
    }
}

/// While the engine makes a container and hands over its root file system: at any moment.
#[test]
fn a_signal_during_an_export() {
    let Some(p) = Place::new() else { return };
    let Some(base) = Base::new("export") else {
        return;
    };
    base.recipe(&p, "RUN :");
    let mut pids = Vec::new();
    let mut interrupted = 0;
    for n in 0..12 {
        let mut running = Running::new(p.image(["./box", "--engine", "docker"]));
        running.until_said("exporting\n");
        std::thread::sleep(Duration::from_millis(n * 15));
        pids.push(running.child.id());
        let (status, _) = running.ends_by_or_well(SIGNALS[n as usize % 3]);
        if status.success() {
            // It was faster than the signal.
            fs_err::remove_dir_all(&p.out).unwrap();
            fs_err::create_dir(&p.out).unwrap();
        } else {
            interrupted += 1;
            p.is_clean(pids[pids.len() - 1]);
        }
    }
    assert!(interrupted > 0, "no signal came before the end");
    // What the engine was asked for before the signal it may have done after it.
    std::thread::sleep(Duration::from_secs(1));
    pids.into_iter().for_each(containers_of);
    base.is_clean();
}

/// After SIGKILL, the next run or `clean` removes the leftovers.
#[test]
fn a_kill_during_an_export() {
    let Some(p) = Place::new() else { return };
    let Some(base) = Base::new("kill") else {
        return;
    };
    base.recipe(&p, "RUN :");
    let containers = |pid: u32| {
        let mut all = listed(&["ps", "-a", "--format", "{{.Names}}"]);
        all.retain(|name| {
            name.starts_with("docker-to-linux-") && name.contains(&format!("-{pid}-"))
        });
        all
    };
    // Kills a run while it has a container; returns its number.
    let killed = || {
        for _ in 0..20 {
            let mut run = p.image(["./box", "--engine", "docker"]);
            let mut child = run
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let pid = child.id();
            while containers(pid).is_empty() && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            std::thread::sleep(Duration::from_secs(1));
            if !containers(pid).is_empty() {
                return pid;
            }
        }
        panic!("no run was killed while it had a container");
    };
    let by_the_next_run = killed();
    let out = p
        .image(["-q", "./box", "--engine", "docker"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", common::said(&out));
    assert_eq!(containers(by_the_next_run), [""; 0]);
    let by_clean = killed();
    let mut clean = common::xtask();
    let out = clean.arg("clean").current_dir(&p.dir).output().unwrap();
    assert!(out.status.success(), "{}", common::said(&out));
    assert_eq!(containers(by_clean), [""; 0]);
}
