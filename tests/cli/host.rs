//! What is wrong with this host.

use super::*;

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
