//! What is wrong with a root file system.

use super::*;

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
