//! Disks of the old machine.

use super::*;

fn fstab(lines: &str, files: &[(&str, &str)], systemd: bool) -> (String, Vec<String>) {
    let mut all = vec![("/etc/fstab", lines)];
    all.extend(files);
    let mut r = match systemd {
        true => rootfs(
            &[&all[..], &[("/usr/lib/systemd/systemd", "elf")]].concat(),
            &[("/sbin/init", "../usr/lib/systemd/systemd")],
        ),
        false => rootfs(
            &[
                &all[..],
                &[
                    ("/bin/busybox", "elf"),
                    ("/sbin/openrc", "elf"),
                    ("/etc/inittab", "::wait:openrc\n"),
                ],
            ]
            .concat(),
            &[("/sbin/init", "/bin/busybox")],
        ),
    };
    let notes = clean(&mut r).unwrap();
    (text(&r, "/etc/fstab"), notes)
}

#[test]
fn boot_files_and_swap_of_the_old_disk_go() {
    for gone in [
        "LABEL=BOOT /boot ext4 defaults 0 2",
        "LABEL=UEFI /boot/efi vfat umask=0077 0 1",
        "/dev/sda1 /boot/ ext2 rw 0 0",
        "PARTUUID=11-22 /boot/firmware vfat defaults 0 2",
        "UUID=1111-2222\t/efi\tvfat\tdefaults\t0 0\r",
        "/dev/disk/by-id/x /boot auto",
        "LABEL=BOOT /boot ext4 noauto,x-systemd.automount 0 2",
        "UUID=1111-2222 none swap sw 0 0",
        "/dev/mapper/vg-swap swap swap defaults 0 0",
        "/swap.img none swap sw 0 0",
        "/srv/nowhere /mnt none bind 0 0",
        "UUID=1111-2222 /usr ext4 ro 0 2",
        "/dev/vg/usr /usr/ ext4 defaults,nofail 0 2",
    ] {
        let (text, notes) = fstab(&format!("# old\n{gone}\n"), &[], true);
        assert_eq!(text, "# old\n", "{gone}");
        let what = gone.split_whitespace().next().unwrap();
        assert!(notes.len() == 1 && notes[0].contains(what), "{notes:?}");
    }
}

#[test]
fn other_disks_may_come_and_nobody_waits() {
    for (line, becomes) in [
        (
            "LABEL=DATA /data xfs noatime 0 2",
            "LABEL=DATA /data xfs noatime,nofail,x-systemd.device-timeout=30s 0 2",
        ),
        (
            "/dev/sdb1 /srv auto defaults,x-systemd.device-timeout=5",
            "/dev/sdb1 /srv auto defaults,x-systemd.device-timeout=5,nofail 0 0",
        ),
        (
            "/dev/mapper/vg-home /home ext4 defaults 0 2",
            "/dev/mapper/vg-home /home ext4 defaults,nofail,x-systemd.device-timeout=30s 0 2",
        ),
        (
            "share /mnt 9p trans=virtio 0 0",
            "share /mnt 9p trans=virtio,nofail,x-systemd.device-timeout=30s 0 0",
        ),
        (
            "pool/home /home zfs",
            "pool/home /home zfs defaults,nofail,x-systemd.device-timeout=30s 0 0",
        ),
    ] {
        let (text, notes) = fstab(line, &[], true);
        assert_eq!(text, format!("{becomes}\n"));
        assert_eq!(notes.len(), 1, "{notes:?}");
    }
    // OpenRC checks every line that has a pass before it mounts any.
    let (text, _) = fstab("LABEL=DATA /data xfs noatime 0 2\n", &[], false);
    assert_eq!(text, "LABEL=DATA /data xfs noatime,nofail 0 0\n");
    // What is on a disk that may come may come with it.
    let both = "LABEL=DATA /data xfs nofail 0 0\n/data/www /srv none bind 0 0\n";
    let (text, _) = fstab(both, &[], true);
    assert!(
        text.ends_with("/data/www /srv none bind,nofail,x-systemd.device-timeout=30s 0 0\n"),
        "{text}"
    );
}

#[test]
fn what_works_or_waits_for_nobody_stays() {
    let lines = "# a comment LABEL=BOOT /boot ext4\n\
        tmpfs /scratch tmpfs defaults,size=1g 0 0\n\
        proc /proc proc defaults 0 0\n\
        overlay /o overlay lowerdir=/a,upperdir=/b,workdir=/c 0 0\n\
        10.0.0.1:/x /nfs nfs4 defaults 0 0\n\
        //nas/x /nas cifs guest 0 0\n\
        u@h:/x /ssh fuse.sshfs defaults 0 0\n\
        LABEL=ISCSI /iscsi ext4 _netdev 0 0\n\
        /dev/cdrom /media/cdrom udf,iso9660 user,noauto 0 0\n\
        LABEL=USB /usb vfat nofail 0 0\n\
        LABEL=BOOT2 /boot ext4 nofail 0 0\n\
        UUID=1-2 none swap nofail 0 0\n\
        LABEL=AUTO /auto ext4 x-systemd.automount 0 0\n\
        /srv/a /srv/b none bind 0 0\n\
        /images/a.img /img auto loop 0 0\n\
        /run/x /srv/x none bind 0 0\n\
        /dev/zram0 none swap defaults 0 0\n\
        /swapfile none swap sw 0 0\n\
        short\n";
    let files = [("/srv/a/x", ""), ("/images/a.img", "x"), ("/swapfile", "x")];
    let (text, notes) = fstab(lines, &files, true);
    assert_eq!(text, lines);
    assert_eq!(notes, [""; 0]);
    // The root's line gives way to ours, wherever it was.
    let (text, notes) = fstab("/dev/sda1 / ext3 ro 0 1\n", &[], true);
    assert_eq!(
        (text.as_str(), notes.len()),
        ("/dev/sda1 / ext3 ro 0 1\n", 0)
    );
}

#[test]
fn our_swap_file_is_named_once_and_our_places_as_well() {
    let mut r = rootfs(
        &[
            ("/usr/lib/systemd/systemd", "elf"),
            (
                "/etc/fstab",
                "/dev/sda1 // ext3 ro 0 1\n/swapfile swap swap sw 0 0\n",
            ),
            ("/swapfile", "old"),
        ],
        &[("/sbin/init", "../usr/lib/systemd/systemd")],
    );
    clean(&mut r).unwrap();
    let settings = Settings {
        swap: Some(Size(1 << 20)),
        ..settings()
    };
    prepare(&mut r, &settings).unwrap();
    let text = text(&r, "/etc/fstab");
    assert_eq!(text.matches("/swapfile").count(), 1, "{text}");
    assert!(!text.contains("/dev/sda1"), "{text}");
}

#[test]
fn encrypted_volumes_and_mount_units_keep_nobody_waiting() {
    const ETC: &str = "/etc/systemd/system";
    let unit = |what: &str| format!("[Mount]\nWhat={what}\nWhere=/x\n");
    let (disk, tmpfs) = (unit("/dev/disk/by-uuid/11"), unit("tmpfs") + "Type=tmpfs\n");
    let requires = format!("{ETC}/local-fs.target.requires");
    let mut r = rootfs(
        &[
            ("/usr/lib/systemd/systemd", "elf"),
            (
                "/etc/crypttab",
                "# c\nhome UUID=1-2 none luks\nswap /dev/sda3 /dev/urandom swap,nofail\nold /dev/sdb\nfile /srv/volume none\n",
            ),
            ("/srv/volume", "x"),
            (&format!("{ETC}/x.mount"), &disk),
            (&format!("{ETC}/mem.mount"), &tmpfs),
            (&format!("{ETC}/dev-sda3.swap"), "[Swap]\nWhat=/dev/sda3\n"),
            ("/etc/initramfs-tools/conf.d/resume", "RESUME=UUID=1-2\n"),
            ("/etc/initramfs-tools/initramfs.conf", "MODULES=most\n"),
        ],
        &[
            ("/sbin/init", "../usr/lib/systemd/systemd"),
            (&format!("{requires}/x.mount"), "../x.mount"),
            (&format!("{requires}/mem.mount"), "../mem.mount"),
            (
                &format!("{ETC}/swap.target.wants/dev-sda3.swap"),
                "../dev-sda3.swap",
            ),
        ],
    );
    let notes = clean(&mut r).unwrap();
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].contains("home, old"), "{notes:?}");
    assert_eq!(
        text(&r, "/etc/crypttab"),
        "# c\nhome UUID=1-2 none luks,nofail\nswap /dev/sda3 /dev/urandom swap,nofail\nold /dev/sdb none nofail\nfile /srv/volume none\n"
    );
    assert!(notes[1].contains("dev-sda3.swap, x.mount"), "{notes:?}");
    assert!(!r.tree.exists(format!("{requires}/x.mount")));
    assert!(r.tree.exists(format!("{requires}/mem.mount")));
    assert!(r.tree.exists(format!("{ETC}/x.mount")));
    assert_eq!(
        text(&r, "/etc/initramfs-tools/conf.d/resume"),
        "RESUME=none\n"
    );
    assert!(notes[2].contains("noresume"), "{notes:?}");
}
