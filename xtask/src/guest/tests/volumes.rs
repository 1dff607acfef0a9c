//! Volumes: their places, their service, and what grows.

use super::*;
use crate::guest::volumes::resolve;
use crate::plan::Volume;

const SYSTEMD: [(&str, &str); 2] = [
    ("/usr/lib/systemd/systemd", "elf"),
    ("/usr/lib/systemd/system/NetworkManager.service", "unit"),
];
const OPENRC: [(&str, &str); 3] = [
    ("/bin/busybox", "elf"),
    ("/sbin/openrc", "elf"),
    ("/etc/init.d/dhcpcd", "script"),
];

fn volumes(root: &str, places: &[&str]) -> Volumes {
    let volume = |at: &&str| Volume {
        name: at.rsplit('/').next().unwrap().to_owned(),
        at: format!("{root}{at}"),
        read_only: at.ends_with("ro"),
    };
    Volumes {
        uuid: Uuid::from_u128(5),
        label: "volumes".into(),
        inodes: 0,
        free: 0,
        kept: false,
        root: root.to_owned(),
        list: places.iter().map(volume).collect(),
    }
}

/// A machine with these volumes, and the notes about it.
fn machine(files: &[(&str, &str)], init: &str, places: &[&str]) -> (Rootfs, Vec<String>) {
    let mut r = rootfs(files, &[("/sbin/init", init), ("/sbin/getty", init)]);
    let settings = Settings {
        volumes: Some(volumes("", places)),
        grow: true,
        ..settings()
    };
    let notes = prepare(&mut r, &settings).unwrap();
    (r, notes)
}

const GROWS: [(&str, &str); 2] = [("/sbin/sfdisk", "elf"), ("/sbin/resize2fs", "elf")];

#[test]
fn systemd_mounts_volumes_before_anything_uses_them() {
    let files = [&SYSTEMD[..], &GROWS].concat();
    let (r, notes) = machine(&files, "../usr/lib/systemd/systemd", &["/a", "/a/ro"]);
    assert!(notes.is_empty(), "{notes:?}");
    assert_eq!(
        text(&r, "/usr/lib/docker-to-linux/volumes.list"),
        "rw\ta\t/a\nro\tro\t/a/ro\n"
    );
    assert!(r.tree.resolve("/a/ro").is_some());
    let wants = "/etc/systemd/system/local-fs.target.wants/volumes.service";
    assert_eq!(target(&r, wants), "/etc/systemd/system/volumes.service");
    let needs = text(&r, "/etc/systemd/system/container.service.d/volumes.conf");
    assert!(needs.contains("\nRequires=volumes.service\nAfter=volumes.service\n"));
    // The root has no room to grow into.
    assert!(!r.tree.exists("/usr/lib/docker-to-linux/grow-root"));
    let unit = text(&r, "/etc/systemd/system/grow-volumes.service");
    assert!(
        unit.contains("\nAfter=volumes.service\nRequires=volumes.service\n")
            && unit.contains("ExecStart=/usr/lib/docker-to-linux/grow-volumes\n")
            && !unit.contains("root"),
        "{unit}"
    );
}

#[test]
fn openrc_mounts_volumes_before_anything_uses_them() {
    let gettys = ("/etc/inittab", "tty1::respawn:/sbin/getty 38400 tty1\n");
    let files = [&OPENRC[..], &GROWS, &[gettys]].concat();
    let (r, notes) = machine(&files, "/bin/busybox", &["/a"]);
    assert!(notes.is_empty(), "{notes:?}");
    assert_eq!(
        target(&r, "/etc/runlevels/boot/volumes"),
        "/etc/init.d/volumes"
    );
    assert!(text(&r, "/etc/conf.d/container").contains("rc_need=\"volumes\"\n"));
    let script = text(&r, "/etc/init.d/grow-volumes");
    assert!(
        script.contains("\n\tneed volumes\n\tkeyword") && !script.contains("root"),
        "{script}"
    );
}

/// The program that lets the root grow, with other words: every one of them must be found in it.
#[test]
fn what_grows_is_mounted_at_the_place_of_the_volumes() {
    let files = [&SYSTEMD[..], &GROWS].concat();
    let (r, _) = machine(&files, "../usr/lib/systemd/systemd", &["/a"]);
    let script = text(&r, "/usr/lib/docker-to-linux/grow-volumes");
    let base = crate::plan::VOLUMES_DIR;
    for line in [
        format!(
            "number=$(awk '$5 == \"{base}\" {{ n = $3 }} END {{ print n }}' /proc/self/mountinfo)"
        ),
        format!("type=$(awk '$2 == \"{base}\" {{ t = $3 }} END {{ print t }}' /proc/self/mounts)"),
        format!("df -Pm {base} |"),
        "    rm -f /etc/systemd/system/grow-volumes.service /etc/init.d/grow-volumes".into(),
    ] {
        assert!(script.contains(&line), "{line}: {script}");
    }
    assert!(!script.contains("root"), "{script}");
    let mut sh = std::process::Command::new("sh");
    assert!(sh.args(["-n", "-c", &script]).status().unwrap().success());
}

#[test]
fn a_place_is_a_folder_after_all_links() {
    let at = |r: &Rootfs, root: &str, places: &[&str]| {
        let mut v = volumes(root, places);
        resolve(r, &mut v).map(|()| v.list.into_iter().map(|v| v.at).collect::<Vec<_>>())
    };
    let r = rootfs(
        &[
            ("/srv/x/file", ""),
            ("/c/data/file", ""),
            ("/c/etc/x", ""),
            ("/proc/x", ""),
        ],
        &[
            ("/link", "srv"),
            ("/away", "/nowhere"),
            ("/c/link", "/data"),
            ("/c/up", "../../etc"),
            ("/sys-link", "/proc"),
        ],
    );
    assert_eq!(
        at(&r, "", &["/link/new/er", "/data"]).unwrap(),
        ["/data", "/srv/new/er"]
    );
    // A link in the container's folder does not lead out of it.
    assert_eq!(
        at(&r, "/c", &["/link/new", "/up/app"]).unwrap(),
        ["/c/data/new", "/c/etc/app"]
    );
    for (root, places, word) in [
        ("", &["/srv/x/file"][..], "is a file"),
        ("", &["/srv/x/file/y"], "is a file"),
        ("", &["/away/x"], "leads to nothing"),
        ("", &["/sys-link/y"], "made by the kernel"),
        ("/c", &["/data/file"], "is a file"),
        ("", &["/link", "/srv"], "another volume"),
    ] {
        let e = at(&r, root, places).unwrap_err();
        assert!(
            e.message.contains(word) && e.hint.is_some(),
            "{places:?}: {e}"
        );
    }
}

#[test]
fn without_a_known_init_nothing_would_mount_them() {
    let mut r = rootfs(&[("/sbin/init", "elf")], &[]);
    let settings = Settings {
        volumes: Some(volumes("", &["/a"])),
        ..settings()
    };
    let e = prepare(&mut r, &settings).unwrap_err();
    assert!(e.message.contains("needs systemd or OpenRC"), "{e}");
}

#[test]
fn what_busybox_would_not_copy_is_said() {
    let said = |cp: &str| {
        let mut r = rootfs(&OPENRC, &[("/sbin/init", "/bin/busybox"), ("/bin/cp", cp)]);
        r.tree
            .write("/bin/coreutils", &b"elf"[..], 0o755, 5)
            .unwrap();
        let id = r.tree.write("/a/ping", &b"elf"[..], 0o755, 5).unwrap();
        let value = [("security.capability".into(), vec![1].into())];
        r.tree.node_mut(id).xattrs = Some(Box::new(value.into_iter().collect()));
        let settings = Settings {
            volumes: Some(volumes("", &["/a"])),
            ..settings()
        };
        prepare(&mut r, &settings).unwrap().join("\n")
    };
    let note = said("busybox");
    assert!(
        note.contains("extended attributes of \"/a/ping\""),
        "{note}"
    );
    assert!(!said("coreutils").contains("extended"));
}
