//! Ready machines: how they are stored, listed, replaced, and moved to other hosts.

use crate::common::{self, Entry, Place, file, machine, names, said, temp};
use camino::Utf8Path;
use docker_to_linux::machine::{Added, Choice, Facts, Store};
use docker_to_linux::model::Arch;
use docker_to_linux::recipe::Recipe;
use docker_to_linux::rootfs::{Rootfs, oci, tar};
use std::io::Cursor;

fn rootfs(entries: &[Entry]) -> Rootfs {
    let (_temp, dir) = temp();
    tar::from_stream(Cursor::new(common::oci::tar_of(entries)), &dir).unwrap()
}

fn facts(name: &str, arch: Arch) -> Facts {
    Facts {
        name: name.to_owned(),
        arch,
        system: "Test 1".to_owned(),
        kernels: vec!["6.1".to_owned()],
        recipe: Recipe {
            kernel_arguments: vec!["quiet".to_owned()],
            hostname: Some("not a setting of a machine".to_owned()),
            ..Recipe::default()
        },
    }
}

/// Stores the smallest machine, with `text` in a file, as `name`.
pub fn add(store: &Store, name: &str, text: &str) -> Added {
    add_for(store, name, text, Arch::Amd64)
}

fn add_for(store: &Store, name: &str, text: &str, arch: Arch) -> Added {
    let facts = facts(name, arch);
    let text = file("etc/text", text);
    store.add(&rootfs(&small(&[text])), facts).unwrap()
}

/// The same with more files.
pub fn add_with(store: &Store, name: &str, more: &[Entry]) -> Added {
    let facts = facts(name, Arch::Amd64);
    store.add(&rootfs(&small(more)), facts).unwrap()
}

/// The smallest machine with more files.
fn small(more: &[Entry]) -> Vec<Entry> {
    let mut entries = machine();
    entries.extend_from_slice(more);
    // It can start a container: an init, and the program that runs commands.
    for path in ["sbin/openrc", "usr/lib/docker-to-linux/container-run"] {
        entries.push(file(path, "elf").mode(0o755));
    }
    entries
}

/// The text in the machine that a choice leads to.
fn text_of(store: &Store, choice: &str) -> Option<String> {
    let choice: Choice = choice.parse().unwrap();
    let machine = store.find(&choice, Arch::Amd64).unwrap()?;
    let (_temp, spool) = temp();
    let image = oci::from_dir(
        &machine.dir,
        &machine.wanted(),
        oci::Limits::default(),
        &spool,
    );
    image.unwrap().rootfs.read_text("/etc/text", 100).unwrap()
}

#[test]
fn the_same_tree_has_the_same_digest() {
    let (_temp, dir) = temp();
    let (one, two) = (Store::at(&dir.join("1")), Store::at(&dir.join("2")));
    let first = add(&one, "box", "a");
    let again = add(&two, "box", "a");
    assert_eq!(first.machine.digest, again.machine.digest);
    assert!(!first.known && !again.known);
    assert!(add(&one, "box", "a").known);
    assert_eq!(
        common::sums(&one.dir().join("blobs/sha256")),
        common::sums(&two.dir().join("blobs/sha256"))
    );
    let other = add(&two, "box", "b").machine;
    assert_ne!(first.machine.digest, other.digest);
    // Another name is another machine, of the same layer.
    let renamed = add(&two, "crate", "b").machine;
    assert_ne!(renamed.digest, other.digest);
    assert_eq!(renamed.size, other.size);
    assert_eq!(renamed.recipe.kernel_arguments, ["quiet"]);
    assert_eq!(renamed.recipe.hostname, None);
}

#[test]
fn a_name_means_the_newest_and_a_digest_any() {
    let (_temp, dir) = temp();
    let store = Store::at(&dir);
    assert!(store.machines().unwrap().0.is_empty());
    let old = add(&store, "box", "old").machine;
    add(&store, "other", "other");
    add_for(&store, "box", "arm", Arch::Arm64);
    add(&store, "box", "new");
    let by_digest = format!("box@{}", old.digest);
    for (choice, text) in [
        ("box", Some("new")),
        (by_digest.as_str(), Some("old")),
        ("other", Some("other")),
        ("nothing", None),
    ] {
        assert_eq!(text_of(&store, choice).as_deref(), text, "{choice}");
    }
    let wrong_name = format!("other@{}", old.digest);
    assert_eq!(text_of(&store, &wrong_name), None);
    let (all, wrong) = store.machines().unwrap();
    let shown: Vec<(&str, bool)> = all.iter().map(|m| (m.name.as_str(), m.newest)).collect();
    assert_eq!(
        shown,
        [
            ("box", true),
            ("box", true),
            ("other", true),
            ("box", false)
        ]
    );
    assert_eq!(wrong, [""; 0]);
    let blobs = || names(&dir.join("blobs/sha256")).len();
    assert_eq!(blobs(), 12);
    assert_eq!(store.prune().unwrap(), 1);
    assert_eq!((text_of(&store, &by_digest), blobs()), (None, 9));
    assert_eq!(text_of(&store, "box").as_deref(), Some("new"));
    assert_eq!(store.prune().unwrap(), 0);
    // What it was before becomes the newest when it is stored again.
    add(&store, "box", "old");
    assert_eq!(text_of(&store, "box").as_deref(), Some("old"));
}

#[test]
fn a_machine_moves_as_it_is() {
    let (_temp, dir) = temp();
    let store = Store::at(&dir.join("store"));
    let machine = add(&store, "box", "a").machine;
    add(&store, "box", "newer");
    let file = dir.join("box.tar.zst");
    store.export(&machine, &file).unwrap();
    let first = common::sha256(&file);
    store.export(&machine, &file).unwrap();
    assert_eq!(common::sha256(&file), first);
    let other = Store::at(&dir.join("other"));
    let added = other.import(&file).unwrap();
    assert_eq!(added.len(), 1);
    assert_eq!(added[0].machine.digest, machine.digest);
    assert_eq!(text_of(&other, "box").as_deref(), Some("a"));
    assert!(other.import(&file).unwrap()[0].known);
    // A folder, which can also be used as it is.
    let third = Store::at(&dir.join("third"));
    third.import(other.dir()).unwrap();
    assert_eq!(text_of(&third, "box").as_deref(), Some("a"));
    let layout = format!("oci:{}", other.dir());
    assert_eq!(text_of(&third, &layout).as_deref(), Some("a"));
    let named = format!("{layout}:box");
    assert_eq!(text_of(&third, &named).as_deref(), Some("a"));
    // Skopeo finds nothing wrong.
    if let Some(mut skopeo) = common::program("skopeo", "skopeo") {
        let packed = dir.join("plain.tar");
        common::content(std::process::Command::new("zstd").args([
            "-qdo",
            packed.as_str(),
            file.as_str(),
        ]));
        let copy = format!("dir:{}", dir.join("copy"));
        common::content(skopeo.args(["copy", &format!("oci-archive:{packed}:box"), &copy]));
    }
}

/// The error that a command gives, which is one line.
#[track_caller]
fn refused(place: &Place, arguments: &[&str], words: &[&str]) {
    let out = place.xtask(arguments).output().unwrap();
    let text = said(&out);
    assert!(!out.status.success(), "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    let errors = text.lines().filter(|l| l.starts_with("error: "));
    assert_eq!(errors.count(), 1, "{text}");
}

#[test]
fn what_is_no_machine_is_refused() {
    let place = Place::bare();
    let store = Store::at(&place.dir.join("target/machines"));
    let import = |path: &Utf8Path, words: &[&str]| {
        refused(&place, &["machine", "import", path.as_str()], words);
        assert_eq!(
            names(&store.dir().join("blobs/sha256")),
            [""; 0],
            "something was left behind"
        );
    };
    import(&place.dir.join("none"), &["none", "No such file"]);
    let text = place.write("text", "hello");
    import(&text, &["text", "this is not a tar"]);
    let tar = place.tar("rootfs", &machine());
    import(&tar, &["is not an OCI layout", "machine export"]);
    import(&place.dir.join("out"), &["is not an OCI layout"]);
    // An image, but not a machine.
    let layout = common::oci::layout(&place.dir.join("image"), &[common::oci::tar_of(&machine())]);
    import(&layout.0, &["is an image, but not a machine", "hint"]);
    import(&layout.tar(), &["is an image, but not a machine"]);
    // One that was cut off, and ones of which a byte is another.
    let other = Store::at(&place.dir.join("other"));
    let good = add(&other, "box", "a").machine;
    let whole = place.dir.join("box.tar.zst");
    other.export(&good, &whole).unwrap();
    let bytes = fs_err::read(&whole).unwrap();
    let cut = place.write("cut", &bytes[..bytes.len() / 2]);
    import(&cut, &["importing a machine from"]);
    for blob in names(&other.dir().join("blobs/sha256")) {
        let path = other.dir().join("blobs/sha256").join(&blob);
        let before = fs_err::read(&path).unwrap();
        let mut bytes = before.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs_err::write(&path, &bytes).unwrap();
        import(other.dir(), &["has the digest sha256:"]);
        fs_err::write(&path, &bytes[1..]).unwrap();
        import(other.dir(), &["importing a machine", "sha256"]);
        fs_err::remove_file(&path).unwrap();
        import(other.dir(), &["is missing"]);
        fs_err::write(&path, before).unwrap();
    }
    refused(
        &place,
        &["machine", "export", "box"],
        &["there is no machine box", "machine list"],
    );
    refused(&place, &["machine", "build", "plan9"], &["no recipe"]);
}

#[test]
fn the_list_is_for_people_and_for_scripts() {
    let place = Place::bare();
    let run = |arguments: &[&str]| {
        let out = place.xtask(arguments).output().unwrap();
        assert!(out.status.success(), "{}", said(&out));
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(run(&["machine", "list"]), "");
    let store = Store::at(&place.dir.join("target/machines"));
    add(&store, "box", "old");
    let new = add(&store, "box", "new").machine;
    let list = run(&["machine", "list"]);
    let lines: Vec<&str> = list.lines().map(str::trim_start).collect();
    assert!(lines[0].starts_with("MACHINE"), "{list}");
    let digest = new.digest.to_string();
    assert!(lines[1].starts_with("box ") && lines[1].contains(&digest));
    assert!(lines[2].starts_with("(box) ") && lines.len() == 3, "{list}");
    let json: serde_json::Value =
        serde_json::from_str(&run(&["machine", "list", "--json"])).unwrap();
    assert_eq!(json[0]["digest"], digest);
    assert_eq!(
        (&json[1]["newest"], &json[0]["arch"]),
        (&false.into(), &"amd64".into())
    );
    let name = format!("box@{digest}");
    assert_eq!(
        run(&["machine", "export", &name, "x.tar.zst"]),
        "x.tar.zst\n"
    );
    run(&["clean"]);
    assert_eq!(run(&["machine", "list"]).lines().count(), 2);
    run(&["clean", "--machines"]);
    assert_eq!(run(&["machine", "list"]), "");
    assert_eq!(
        run(&["machine", "import", "x.tar.zst"]),
        format!("{name}\n")
    );
}
