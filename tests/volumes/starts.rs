//! The first starts of a machine with volumes: they are filled, grow, survive a power cut, and are
//! covered where they are missing.

use super::{is_clean, login, up};
use crate::common::machine;
use crate::common::temp;
use docker_to_linux::rootfs::{Kind, Meta, Node, Rootfs};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What an image has in its volumes: an owner, a mode, a hard link, a link, a long name.
fn contents(rootfs: &mut Rootfs) {
    let tree = &mut rootfs.tree;
    let mut meta = Meta::root(0o2750, 1_000_000_000);
    (meta.uid, meta.gid) = (70, 71);
    tree.insert("/srv/data", Node::new(Kind::dir(), meta))
        .unwrap();
    let file = Node::new(Kind::bytes(&b"of the image\n"[..]), meta);
    let id = tree.insert("/srv/data/one", file).unwrap();
    tree.link("/srv/data/two", id).unwrap();
    tree.symlink("/srv/data/link", "one", 5).unwrap();
    tree.write("/srv/data/in it/a b", &b"x"[..], 0o600, 5)
        .unwrap();
    tree.write("/srv/only read/file", &b"x"[..], 0o644, 5)
        .unwrap();
}

/// All that is shown of the volume.
const LOOKS: &str = "stat -c '%a %u:%g %Y' /srv/data | grep -x '2750 70:71 1000000000' \
    && test /srv/data/one -ef /srv/data/two && test \"$(readlink /srv/data/link)\" = one \
    && test \"$(cat '/srv/data/in it/a b')\" = x \
    && stat -c '%a' '/srv/data/in it/a b' | grep -x 600";

#[test]
#[ignore = "boots a machine three times, which takes minutes without KVM"]
fn volumes_are_filled_once_and_grow_and_nothing_is_written_without_them() {
    let (_keep, dir) = temp();
    let Some(container) = machine::container("alpine") else {
        return;
    };
    let mut recipe = machine::recipe("alpine");
    recipe.named_volumes = [
        "data:/srv/data",
        "read:/srv/only read:ro",
        "in:/srv/data/in it",
    ]
    .map(|v| v.parse().unwrap())
    .into();
    let password = machine::root_by_password(&dir);
    let disk = machine::make(&container, "box", recipe, password, &dir, contents);
    let volumes = disk.volumes.as_ref().unwrap();
    let file = File::options().write(true).open(&disk.image).unwrap();
    file.set_len(3 << 30).unwrap();

    let mut session = up(&disk.image);
    {
        let mut guest = login(&mut session);
        guest.run(LOOKS);
        guest.run("! touch '/srv/only read/x' && test -s '/srv/only read/file'");
        guest.run("test $(df -Pm /srv/data | awk 'NR == 2 { print $2 }') -gt 2000");
        guest.run("test $(df -Pm / | awk 'NR == 2 { print $2 }') -lt 600");
        guest.run("! test -e /usr/lib/docker-to-linux/grow-volumes");
        guest.run(
            "rm /srv/data/two && echo mine >/srv/data/one && ls -A /var/lib/container/volumes",
        );
        guest.run("echo inner >'/srv/data/in it/new' && sync");
    }
    // Its power is cut.
    session.end();
    is_clean(&disk.image, volumes, true);

    let mut session = up(&disk.image);
    {
        let mut guest = login(&mut session);
        guest.run("test \"$(cat /srv/data/one)\" = mine && ! test -e /srv/data/two");
        guest.run("test \"$(cat '/var/lib/container/volumes/in/new')\" = inner");
        guest.run("test \"$(cat '/srv/data/in it/new')\" = inner");
        guest.run("rc-service volumes status");
    }
    machine::off(session);
    is_clean(&disk.image, volumes, false);

    // The file system is another one: its superblock is overwritten.
    file.write_all_at(&[0; 1024], volumes.start + 1024).unwrap();
    let mut session = up(&disk.image);
    let console = session.transcript();
    assert!(
        console.contains("is not mounted at /var/lib/container/volumes"),
        "{console}"
    );
    assert!(
        console.contains("the container is not started"),
        "{console}"
    );
    {
        let mut guest = login(&mut session);
        guest.run(
            "! touch /srv/data/x && ! ls -A /srv/data | grep . && ! rc-service volumes status",
        );
    }
    machine::off(session);
}
