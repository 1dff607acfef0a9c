//! The program that mounts volumes, started in a mount namespace with its places in a test's folder.

use crate::common::{self, checker, said, temp};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::recipe;
use docker_to_linux::tool::Tool;
use std::process::Command;

/// A machine: `base` for the volumes, `store` for the file system that is mounted there, `srv` for
/// the places.
struct Start {
    _temp: tempfile::TempDir,
    dir: Utf8PathBuf,
}

impl Start {
    fn new(list: &[(&str, &str, &str)]) -> Start {
        let (temp, dir) = temp();
        let text = recipe::home().join("xtask/src/guest/files/volumes.sh");
        let text = fs_err::read_to_string(text).unwrap();
        let base = dir.join("base");
        let text = text
            .replace("/usr/lib/docker-to-linux", dir.as_str())
            .replace("/var/lib/container/volumes", base.as_str());
        fs_err::write(dir.join("volumes"), text).unwrap();
        for folder in ["base", "store", "srv", "tools"] {
            fs_err::create_dir(dir.join(folder)).unwrap();
        }
        let line = |(mode, name, at): &(&str, &str, &str)| format!("{mode}\t{name}\t{dir}/{at}\n");
        let list: String = list.iter().map(line).collect();
        fs_err::write(dir.join("volumes.list"), list).unwrap();
        Start { _temp: temp, dir }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.dir.join(path)).unwrap()
    }

    /// Starts the program after `before`, and runs `after`; what all of them said. Whatever is
    /// mounted is gone afterwards, as after a power cut.
    fn start(&self, before: &str, after: &str) -> String {
        let script = format!("{before}\nsh ./volumes\necho status=$?\n{after}");
        let path = format!("{}/tools:{}", self.dir, std::env::var("PATH").unwrap());
        let out = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", &script])
            .current_dir(&self.dir)
            .env("PATH", path)
            .output()
            .unwrap();
        let said = said(&out);
        eprintln!("{said}");
        said
    }
}

const MOUNT: &str = "mount -o bind store base";

/// Whether these tests cannot be here. Only root can mount.
fn passed(test: &str) -> bool {
    common::passed_as_root(module_path!(), test) || checker(Tool::E2fsck).is_none()
}

#[test]
fn a_start_that_is_cut_off_leaves_no_half_of_a_volume() {
    if passed("a_start_that_is_cut_off_leaves_no_half_of_a_volume") {
        return;
    }
    let machine = Start::new(&[("rw", "data", "srv/data")]);
    machine.write("srv/data/whole", "of the image");
    let cp = machine.dir.join("tools/cp");
    common::script(
        &cp,
        "mkdir \"$3\" && echo half >\"$3/half\"\nkill -9 $PPID\n",
    );
    let said = machine.start(MOUNT, "");
    assert!(said.contains("status=137"), "{said}");
    assert!(machine.dir.join("store/.new/half").exists());
    assert!(!machine.dir.join("store/data").exists());

    fs_err::remove_file(cp).unwrap();
    let said = machine.start(MOUNT, "cat srv/data/whole; echo mine >srv/data/mine");
    assert!(
        said.contains("data is new") && said.contains("status=0"),
        "{said}"
    );
    assert_eq!(machine.read("store/data/whole"), "of the image");
    assert!(!machine.dir.join("store/data/half").exists());
    assert!(!machine.dir.join("store/.new").exists());

    // A newer image changes nothing.
    machine.write("srv/data/whole", "of a newer image");
    machine.write("srv/data/more", "of a newer image");
    let said = machine.start(MOUNT, "cat srv/data/mine; ls srv/data");
    assert!(
        !said.contains("is new") && said.contains("status=0"),
        "{said}"
    );
    assert!(said.contains("mine\nmine\nwhole\n"), "{said}");
    assert_eq!(machine.read("store/data/whole"), "of the image");
}

#[test]
fn nothing_is_written_where_a_volume_is_missing() {
    if passed("nothing_is_written_where_a_volume_is_missing") {
        return;
    }
    let machine = Start::new(&[("rw", "data", "srv/data"), ("ro", "in", "srv/data/in")]);
    machine.write("srv/data/file", "x");
    let is_covered = "touch srv/data/x || echo refused; ls -A srv/data | wc -l";
    let said = machine.start("", is_covered);
    for word in ["is not mounted at", "status=1", "refused\n", "\n0\n"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    // No room for what it is filled with.
    machine.write("srv/data/file", &"x".repeat(1 << 20));
    let small = "mount -t tmpfs -o size=64k none base";
    let said = machine.start(small, &format!("{is_covered}; ls -A base"));
    for word in [
        "data cannot be filled",
        "status=1",
        "refused\n",
        "\n0\nin\n",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    // It can only be read.
    let said = machine.start("mount -t tmpfs -o ro none base", is_covered);
    for word in ["cannot be written to", "status=1", "refused\n", "\n0\n"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(machine.read("srv/data/file").len(), 1 << 20);
}

/// What runs in a container may replace the place of a volume with a link to a folder of the machine.
#[test]
fn a_link_in_a_container_leads_to_no_mount() {
    if passed("a_link_in_a_container_leads_to_no_mount") {
        return;
    }
    let machine = Start::new(&[("rw", "data", "srv/c/data"), ("rw", "in", "srv/c/data/in")]);
    machine.write("srv/c/data/file", "x");
    machine.write("etc/passwd", "of the machine");
    let said = machine.start(MOUNT, "");
    assert!(said.contains("status=0"), "{said}");
    let place = machine.dir.join("store/data/in");
    fs_err::remove_dir(&place).unwrap();
    fs_err::os::unix::fs::symlink("../../../etc", place).unwrap();
    let said = machine.start(MOUNT, "cat etc/passwd; cat srv/c/data/file");
    assert!(said.contains("a part of this path is a link"), "{said}");
    assert!(said.contains("status=1\nof the machinex"), "{said}");
    fs_err::remove_dir_all(machine.dir.join("srv/c")).unwrap();
    fs_err::os::unix::fs::symlink("../etc", machine.dir.join("srv/c")).unwrap();
    let said = machine.start(MOUNT, "find etc");
    assert!(said.contains("status=1\netc\netc/passwd\n"), "{said}");
}

/// The folder of a test is where it is, so that no link is in its path.
#[test]
fn the_folder_of_these_tests_has_no_link_in_its_path() {
    let (_keep, dir) = temp();
    assert_eq!(dir.canonicalize_utf8().unwrap(), Utf8Path::new(&dir));
}
