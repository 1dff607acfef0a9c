//! The same image again, by other ways and other users.

use super::*;
use std::process::Command;

/// What GNU tar makes of a mounted image gives the same image again: its own way to say all
/// those things is understood too.
#[test]
fn a_tar_by_gnu_tar() {
    if common::passed_as_root(module_path!(), "a_tar_by_gnu_tar") {
        return;
    }
    // It has no links to pipes: the second name becomes a second pipe.
    let mut wanted = odd();
    wanted.retain(|e| e.path != "srv/fifo-2");
    let ours = |tar: &Utf8Path| common::tar_file(&wanted, tar);
    let Some(first) = make(BootMode::Bios, None, &ours) else {
        return;
    };
    let root = first.plan.disk.root();
    let image = first.image.as_std_path();
    let Some(mounted) = Mounted::new(image, root.start, root.len, "ro,noload") else {
        return;
    };
    let theirs = |tar: &Utf8Path| {
        common::content(
            Command::new("tar")
                .args(["--create", "--format=posix", "--sparse", "--xattrs"])
                .args(["--xattrs-include=*", "--acls", "-f", tar.as_str()])
                .args(OURS.map(|path| format!("--exclude=./{path}")))
                .arg("-C")
                .arg(mounted.path())
                .arg("."),
        );
    };
    let again = make(BootMode::Bios, None, &theirs).unwrap();
    root_is_as_wanted(&again, &wanted);
}

/// One recipe and one tar give one image, independent of time, place and user.
#[test]
fn the_same_bytes_every_time() {
    let (_temp, dir) = common::temp();
    let Some(loaders) = common::bootloader_dir(&dir) else {
        return;
    };
    fs_err::create_dir(dir.join("test")).unwrap();
    fs_err::write(dir.join("test/recipe.yaml"), "root: {free: 16M}\n").unwrap();
    let tar = dir.join("rootfs.tar");
    common::tar_file(&odd(), &tar);
    let image = |number: u32, from: &str, change: &dyn Fn(&mut Command)| {
        let out = dir.join(format!("out-{number}"));
        let mut command = common::xtask();
        command
            .args(["image", "--force", "-q", "--from", from])
            .arg(dir.join("test"))
            .arg("--bootloader-dir")
            .arg(&loaders)
            .arg("--output")
            .arg(&out)
            .env_remove("SOURCE_DATE_EPOCH");
        change(&mut command);
        (command, out)
    };
    let run = |(mut command, out): (Command, Utf8PathBuf)| {
        common::content(&mut command);
        let image = out.join("test.img");
        let sum = common::sha256(&image);
        fs_err::remove_dir_all(out).unwrap();
        sum
    };
    let first = run(image(0, tar.as_str(), &|_| ()));
    let again = run(image(1, tar.as_str(), &|_| ()));
    assert_eq!(first, again);

    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400 * 400);
    for touched in [
        &tar,
        &dir.join("test/recipe.yaml"),
        &loaders.join("extlinux"),
    ] {
        let file = File::options().append(true).open(touched).unwrap();
        file.set_modified(later).unwrap();
    }
    let elsewhere = dir.join("elsewhere");
    fs_err::create_dir(&elsewhere).unwrap();
    let other = run(image(2, "../rootfs.tar", &|c| {
        c.current_dir(&elsewhere)
            .env("TZ", "Asia/Kathmandu")
            .env("LC_ALL", "tr_TR.UTF-8")
            .env("HOME", "/nonexistent");
    }));
    assert_eq!(first, other, "in another folder, time zone and language");

    // A shell, for umask is the process's own; who is not root must still be able to read the
    // image back.
    let (command, out) = image(3, tar.as_str(), &|_| ());
    let umask = if common::is_root() { "0777" } else { "0077" };
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("umask {umask} && exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args());
    fs_err::create_dir(&out).unwrap();
    assert_eq!(first, run((shell, out)), "with another umask");

    // Through a pipe: contents are spooled.
    let (mut command, out) = image(4, "-", &|_| ());
    let piped = common::with_input(&mut command, &fs_err::read(&tar).unwrap());
    assert!(piped.status.success(), "{}", common::said(&piped));
    assert_eq!(first, common::sha256(&out.join("test.img")), "from a pipe");

    // Compressed.
    let packed = dir.join("rootfs.tar.zst");
    let bytes = zstd::encode_all(File::open(&tar).unwrap(), 1).unwrap();
    fs_err::write(&packed, bytes).unwrap();
    assert_eq!(first, run(image(5, packed.as_str(), &|_| ())), "compressed");

    // As another user.
    if common::is_root() {
        nobody(&dir, image(6, tar.as_str(), &|_| ()), &first);
    } else {
        common::skipped::<()>("making the image as another user takes root");
    }
}

/// Builds the image as an unprivileged user.
fn nobody(dir: &Utf8Path, (command, out): (Command, Utf8PathBuf), first: &str) {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    // The build folder may be closed to others.
    let program = dir.join("xtask");
    fs_err::copy(command.get_program(), &program).unwrap();
    fs_err::create_dir(&out).unwrap();
    let open = |path: &Utf8Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        fs_err::set_permissions(path, mode).unwrap();
    };
    open(dir, 0o755);
    open(&out, 0o777);
    let mut command_as = Command::new(&program);
    command_as
        .args(command.get_args())
        .env_remove("SOURCE_DATE_EPOCH")
        .uid(65534)
        .gid(65534)
        .current_dir(dir);
    common::content(&mut command_as);
    let image = out.join("test.img");
    assert_eq!(fs_err::metadata(&image).unwrap().uid(), 65534);
    assert_eq!(first, common::sha256(&image), "as another user");
}
