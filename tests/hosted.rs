//! Containers that are put into a machine as they are. Nothing is booted here: the machine is the
//! smallest that passes for one.

use crate::common::oci::{Layout, Squeeze, layout, tar_of};
use crate::common::{
    self, Entry, Kind, Mounted, Place, dir, entry, file, link, names, pattern, said, sums,
};
use crate::machine;
use crate::registry::{alone, one_image, real::Registry};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::machine::Store;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

/// The tree of a container with everything that a tar can hold, and nothing that a machine would
/// leave as it is.
fn tree() -> Vec<Entry> {
    let deep = ["d".repeat(200), "e".repeat(200), "f".repeat(200)];
    let mut all = vec![
        dir("").mode(0o700).owner(1000, 1000),
        dir("bin"),
        file("bin/app", pattern(9, 300_000))
            .mode(0o4755)
            .owner(7, 4_000_000_000)
            .xattr("security.capability", cap_net_raw())
            .time(1_600_000_000, 5),
        entry("bin/same", Kind::HardLink("bin/app".into())),
        dir("dev"),
        entry("dev/null", Kind::Char(1, 3)).mode(0o666),
        entry("dev/sda", Kind::Block(8, 0)).mode(0o660),
        dir("etc"),
        file(
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/x\n",
        )
        .mode(0o666),
        file("etc/shadow", "root::0:0:99999:7:::\n").mode(0o644),
        file("etc/fstab", "/dev/sdz1 / xfs defaults 0 0\n"),
        file("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        file("etc/hostname", ""),
        link("etc/mtab", "/proc/mounts"),
        dir("proc"),
        file("proc/left", "x"),
        dir("run").mode(0o700),
        file("run/left.pid", "1"),
        dir("tmp").mode(0o755),
        file("tmp/left", "x"),
        dir("var"),
        link("var/run", "/run"),
        file(".dockerenv", ""),
        entry("fifo", Kind::Fifo).mode(0o600),
        entry(
            "sparse",
            Kind::Sparse(1 << 20, vec![(65_536, vec![1; 4096])]),
        ),
        dir("data")
            .mode(0o2775)
            .owner(65_534, 65_534)
            .time(-86_400, 0),
    ];
    let mut path = "srv".to_owned();
    all.push(dir(&path));
    for part in deep {
        path = format!("{path}/{part}");
        all.push(dir(&path));
    }
    all.push(file(&format!("{path}/{}", "g".repeat(255)), "deep").xattr("user.x", "y"));
    all
}

/// A file capability (Linux include/uapi/linux/capability.h, `struct vfs_cap_data`, revision 2):
/// CAP_NET_RAW.
fn cap_net_raw() -> Vec<u8> {
    let mut bytes = vec![0; 20];
    bytes[..8].copy_from_slice(&[1, 0, 0, 2, 0, 0x20, 0, 0]);
    bytes
}

fn config() -> Value {
    json!({"Entrypoint": ["/bin/app"], "Cmd": ["x"], "User": "1000"})
}

/// A layout of these layers in `name`.
fn image(place: &Place, name: &str, layers: &[(Vec<u8>, Squeeze)]) -> Layout {
    let layout = Layout::new(&place.dir.join(name));
    let mut manifest = layout.image("amd64", layers, &config());
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    layout.index(&[manifest]);
    layout
}

/// A place with a machine `box` and the container in `app`, in two layers.
fn place() -> Option<Place> {
    let place = Place::bare();
    common::bootloader_dir(&place.dir)?;
    machine::add(&Store::at(&place.dir.join("target/machines")), "box", "x");
    image(&place, "app", &[(tar_of(&tree()), Squeeze::No)]);
    Some(place)
}

fn make(place: &Place, container: &str, output: &str, more: &[&str]) -> Command {
    let mut command = place.xtask(&[
        "image",
        "--force",
        "--container",
        container,
        "--output",
        output,
    ]);
    command.args(["--bootloader-dir", "bootloader"]).args(more);
    command
}

#[track_caller]
fn made(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", said(&out));
    said(&out)
}

/// The container's whole tree is in its folder, as GNU tar reads it from the layer.
#[test]
fn the_container_is_not_changed() {
    let Some(place) = place() else { return };
    let text = made(&mut make(&place, "oci:app:v1", "out", &["--format", "raw"]));
    for word in [
        "hosted, because",
        "machine box is used",
        "its machine is box",
    ] {
        assert!(text.contains(word), "{word:?}: {text}");
    }
    let image = place.out.join("app.img");
    let plan = made(&mut make(&place, "oci:app:v1", "out", &["--plan", "-q"]));
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["container"]["root"], "/var/lib/container/root");
    let arguments = plan["entries"][0]["arguments"].as_str().unwrap();
    assert!(arguments.contains(" quiet "), "{arguments}");
    let root = &plan["disk"]["partitions"][1];
    let (start, len) = (root["start"].as_u64(), root["len"].as_u64());
    let Some(mounted) = Mounted::new(
        image.as_std_path(),
        start.unwrap(),
        len.unwrap(),
        "ro,noload",
    ) else {
        return;
    };
    let inside = mounted.path().join("var/lib/container/root");
    let tar = place.tar("tree", &tree());
    let compared = common::content(
        Command::new("tar")
            .args(["--compare", "--xattrs", "--xattrs-include=*"])
            .args(["--numeric-owner", "-f", tar.as_str(), "-C"])
            .arg(&inside),
    );
    assert_eq!(compared, "");
    let count = |dir: &std::path::Path| {
        let found = common::content(Command::new("find").arg(dir));
        found.lines().count()
    };
    assert_eq!(count(&inside), tree().len());
    use std::os::unix::fs::MetadataExt;
    let app = fs_err::metadata(inside.join("bin/app")).unwrap();
    assert_eq!(app.nlink(), 2);
    assert_eq!(
        fs_err::metadata(inside.join("bin/same")).unwrap().ino(),
        app.ino()
    );
    // The manifest says what it was made of.
    let manifest = fs_err::read_to_string(place.out.join("app.manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["machine"]["name"], "box");
    assert_eq!(manifest["base"]["name"], "oci:app:v1");
    let index = fs_err::read_to_string(place.dir.join("app/index.json")).unwrap();
    let index: Value = serde_json::from_str(&index).unwrap();
    assert_eq!(manifest["base"]["digest"], index["manifests"][0]["digest"]);
    assert_eq!(manifest["recipe"], Value::Null);
}

/// The only image of a layout as `docker save` writes it: its layers are not compressed.
fn docker_archive(layout: &Layout, at: &Utf8Path) {
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        let name = digest.replace(':', "/");
        fs_err::read(layout.0.join("blobs").join(name)).unwrap()
    };
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let index = json(&fs_err::read(layout.0.join("index.json")).unwrap());
    let config = blob(&json(&blob(&index["manifests"][0]))["config"]);
    let name = common::oci::sha256(&config).replace("sha256:", "") + ".json";
    let saved = json!([{"Config": name, "RepoTags": ["app:1"], "Layers": ["1/layer.tar"]}]);
    let entries = [
        file("manifest.json", saved.to_string()),
        file(&name, config),
        file("1/layer.tar", tar_of(&tree())),
    ];
    fs_err::write(at, tar_of(&entries)).unwrap();
}

/// Wherever the image comes from and whoever makes the disk, in every form.
#[test]
fn the_same_digests_give_the_same_bytes() {
    let Some(place) = place() else { return };
    let layer = tar_of(&tree());
    let gzip = image(&place, "gzip", &[(layer.clone(), Squeeze::Gzip)]);
    gzip.tar();
    let zstd = image(&place, "zstd", &[(layer, Squeeze::Zstd)]);
    zstd.tar();
    let forms = ["--format", "raw,qcow2,vhdx", "--name", "same"];
    let disks = |container: &str, output: &str, more: &[&str]| {
        made(&mut make(
            &place,
            container,
            output,
            &[&forms, more].concat(),
        ));
        let mut all = sums(&place.dir.join(output));
        // They name the image that was given.
        all.retain(|name, _| !name.ends_with(".json") && name != "SHA256SUMS");
        assert_eq!(all.len(), 3);
        all
    };
    let first = disks("oci:app", "out", &[]);
    for (n, container) in [
        "oci:app:v1",
        "oci:gzip",
        "oci-archive:gzip.tar",
        "oci-archive:zstd.tar:v1",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            disks(container, &format!("again-{n}"), &[]),
            first,
            "{container}"
        );
    }
    docker_archive(&gzip, &place.dir.join("saved.tar"));
    assert_eq!(disks("docker-archive:saved.tar", "saved", &[]), first);
    // A machine that is somewhere else is the same machine.
    let machine = format!("oci:{}", place.dir.join("target/machines"));
    assert_eq!(disks("oci:app", "other", &["--machine", &machine]), first);
}

#[test]
fn a_registry_gives_the_same_bytes_as_a_layout() {
    let Some(place) = place() else { return };
    let Some(registry) = Registry::start(&place, "") else {
        return;
    };
    let (layout, digest) = one_image(&place.dir.join("image"));
    registry.fill(&layout, "v1", &[]);
    // Its own command is not in it.
    let name = ["--name", "same", "--as", "hosted", "--cmd", "/sbin/init"];
    made(&mut make(&place, "oci:image", "layout", &name));
    let first = sums(&place.dir.join("layout"))["same.img"].clone();
    let insecure = ["--insecure-registry", &registry.host];
    // The second time it comes from the cache.
    for (tag, output) in [(":v1", "new"), (&format!("@{digest}"), "cached")] {
        let source = format!("docker://{}/team/box{tag}", registry.host);
        let more = [&name[..], &insecure].concat();
        let mut command = make(&place, &source, output, &more);
        alone(&place, &mut command);
        made(&mut command);
        assert_eq!(sums(&place.dir.join(output))["same.img"], first, "{tag}");
    }
    let gone = format!("docker://{}/team/box:v2", registry.host);
    let mut command = make(&place, &gone, "out", &insecure);
    alone(&place, &mut command);
    refused(&place, command, &["team/box:v2", "no image of that name"]);
}

/// With nothing in PATH, no engine can be looked for; and as a user who owns nothing.
#[test]
fn neither_an_engine_nor_root_is_needed() {
    let Some(place) = place() else { return };
    made(&mut make(&place, "oci:app", "out", &["-q"]));
    let first = sums(&place.out);
    let mut bare = make(&place, "oci:app", "bare", &["-q"]);
    bare.args(["--machine", "oci:target/machines"]);
    bare.env_clear().env("PATH", "");
    assert_eq!(made(&mut bare), "bare/app.img\n");
    assert_eq!(sums(&place.dir.join("bare")), first);
    if !common::is_root() {
        return;
    }
    let theirs = place.dir.join("theirs");
    fs_err::create_dir(&theirs).unwrap();
    for dir in [&place.dir, &theirs] {
        let mode = if dir == &theirs { 0o777 } else { 0o755 };
        fs_err::set_permissions(dir, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    // The program may be where others cannot go.
    let program = place.dir.join("xtask");
    fs_err::copy(common::xtask().get_program(), &program).unwrap();
    let mut nobody = Command::new("setpriv");
    nobody
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args([
            "image",
            "-q",
            "--container",
            "oci:app",
            "--output",
            "theirs",
        ])
        .args(["--bootloader-dir", "bootloader"])
        .current_dir(&place.dir)
        .env("TMPDIR", &theirs);
    made(&mut nobody);
    assert_eq!(sums(&theirs), first);
}

/// The error is one line, and nothing is left.
#[track_caller]
fn refused(place: &Place, mut command: Command, words: &[&str]) -> Output {
    let out = command.output().unwrap();
    let text = said(&out);
    assert!(!out.status.success(), "{command:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    let errors = text.lines().filter(|l| l.starts_with("error: "));
    assert_eq!(errors.count(), 1, "{text}");
    assert_eq!(names(&place.out), [""; 0], "{text}");
    assert_eq!(names(&place.tmp), [""; 0], "{text}");
    out
}

#[test]
fn what_cannot_be_joined_is_refused() {
    let Some(place) = place() else { return };
    let refuse = |container: &str, more: &[&str], words: &[&str]| {
        refused(&place, make(&place, container, "out", more), words);
    };
    refuse("oci:none", &[], &["none", "No such file"]);
    refuse(
        "oci:app:v2",
        &[],
        &["none of its images is called \"v2\"", "v1"],
    );
    refuse("oci-archive:app", &[], &["app is a folder", "oci:app"]);
    let tar = place.tar("rootfs", &tree());
    refuse(
        &format!("oci-archive:{tar}"),
        &[],
        &["not one of a container image"],
    );
    // For another architecture than the machine.
    let arm = Layout::new(&place.dir.join("arm"));
    let manifest = arm.image("arm64", &[(tar_of(&tree()), Squeeze::No)], &config());
    arm.index(&[manifest]);
    refuse(
        "oci:arm",
        &[],
        &["no image for linux/amd64, only for linux/arm64", "--arch"],
    );
    refuse("oci:app", &["--machine", "plan9"], &["plan9"]);
    refuse(
        "oci:app",
        &["--machine", "oci:app"],
        &["is an image, but not a machine"],
    );
    let digest = format!("box@sha256:{}", "0".repeat(64));
    refuse(
        "oci:app",
        &["--machine", &digest],
        &["there is no machine box@sha256:0000", "machine list"],
    );
}

/// Changes the largest blob of a layout: its layer.
fn change(layout: &Utf8Path, at: u64) -> (Utf8PathBuf, Vec<u8>) {
    let blobs = layout.join("blobs/sha256");
    let size = |name: &String| fs_err::metadata(blobs.join(name)).unwrap().len();
    let layer = blobs.join(names(&blobs).into_iter().max_by_key(size).unwrap());
    let before = fs_err::read(&layer).unwrap();
    let mut bytes = before.clone();
    bytes[usize::try_from(at).unwrap()] ^= 1;
    let changed = layer.metadata().unwrap().modified().unwrap();
    fs_err::write(&layer, bytes).unwrap();
    // Length and time of change are those of before, as a careless tool may leave them.
    let file = fs_err::OpenOptions::new().write(true).open(&layer).unwrap();
    file.file().set_modified(changed).unwrap();
    (layer, before)
}

/// A digest is only known when the disk is nearly complete. Even so nothing of it appears.
#[test]
fn what_was_changed_is_refused() {
    let Some(place) = place() else { return };
    // What was right before is remembered once it is two seconds old, and is not hashed again.
    std::thread::sleep(std::time::Duration::from_secs(3));
    made(&mut make(&place, "oci:app", "before", &[]));
    let known = fs_err::read_to_string(place.dir.join("target/checked/layers.json")).unwrap();
    assert_eq!(known.matches("sha256").count(), 2, "{known}");
    // In a header, and in a content, which nothing but the digest can tell.
    for at in [5, 100_000] {
        let (layer, before) = change(&place.dir.join("app"), at);
        for more in [&[][..], &["--plan"]] {
            refused(
                &place,
                make(&place, "oci:app", "out", more),
                &["reading the container image app", "has the digest sha256:"],
            );
        }
        fs_err::write(layer, before).unwrap();
    }
    let (layer, before) = change(&place.dir.join("target/machines"), 100_000);
    refused(
        &place,
        make(&place, "oci:app", "out", &[]),
        &[
            "reading the machine box in target/machines",
            "has the digest sha256:",
            "machine build box",
        ],
    );
    fs_err::remove_file(&layer).unwrap();
    refused(
        &place,
        make(&place, "oci:app", "out", &[]),
        &["reading the machine box", "is missing", "machine build box"],
    );
    fs_err::write(layer, before).unwrap();
    made(&mut make(&place, "oci:app", "out", &[]));
}

#[test]
fn without_a_machine_the_error_says_how_to_get_one() {
    let place = Place::bare();
    if common::bootloader_dir(&place.dir).is_none() {
        return;
    }
    layout(&place.dir.join("app"), &[tar_of(&tree())]);
    let mut command = make(&place, "oci:app", "out", &[]);
    command.env("PATH", "");
    refused(
        &place,
        command,
        &["there is no machine for amd64", "machine import FILE"],
    );
    // Several, and none that is the usual one.
    let store = Store::at(&place.dir.join("target/machines"));
    machine::add(&store, "one", "1");
    machine::add(&store, "two", "2");
    let mut command = make(&place, "oci:app", "out", &[]);
    command.env("PATH", "");
    refused(
        &place,
        command,
        &["several machines", "--machine: two, one"],
    );
    made(&mut make(&place, "oci:app", "out", &["--machine", "one"]));
    // The usual one needs no choice.
    machine::add(&store, "debian", "3");
    let text = made(&mut make(&place, "oci:app", "out", &[]));
    assert!(text.contains("its machine is debian"), "{text}");
}

/// A recipe that is given decides everything but what is in the tree.
#[test]
fn a_recipe_adds_its_settings_and_files() {
    let Some(place) = place() else { return };
    let recipe = place.recipe(
        "web",
        "size: 200M\nkernel-arguments: [panic=5]\nusers: [{name: ada}]\n",
    );
    fs_err::create_dir_all(recipe.join("files/etc")).unwrap();
    fs_err::write(recipe.join("files/etc/own"), "x").unwrap();
    let out = made(&mut make(
        &place,
        "oci:app",
        "out",
        &["./web", "--plan", "-q", "--name", "shop"],
    ));
    let plan: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(plan["name"], "shop");
    assert_eq!(plan["disk"]["size"], 200 << 20);
    let arguments = plan["entries"][0]["arguments"].as_str().unwrap();
    assert!(arguments.contains(" quiet panic=5 "), "{arguments}");
}

/// Labels say what a recipe would; options win over them, and a recipe that is named does.
#[test]
fn labels_of_the_image_are_settings() {
    let Some(place) = place() else { return };
    machine::add(&Store::at(&place.dir.join("target/machines")), "other", "y");
    let labelled = |labels: Value| {
        let layout = Layout::new(&place.dir.join("app"));
        let mut config = config();
        config["Labels"] = labels;
        let manifest = layout.image("amd64", &[(tar_of(&tree()), Squeeze::No)], &config);
        layout.index(&[manifest]);
    };
    let label = |key: &str| format!("io.docker-to-linux.{key}");
    labelled(json!({
        label("size"): "300M", label("boot"): "uefi", label("service"): "off",
        label("kernel-arguments"): "panic=5", label("machine"): "other",
    }));
    let plan = |more: &[&str]| -> Value {
        let more = [&["--plan", "-q"], more].concat();
        serde_json::from_str(&made(&mut make(&place, "oci:app", "out", &more))).unwrap()
    };
    let by_labels = plan(&[]);
    assert_eq!(by_labels["disk"]["size"], 300 << 20);
    assert_eq!(by_labels["boot"], "uefi");
    assert_eq!(by_labels["container"]["restart"], Value::Null);
    let arguments = by_labels["entries"][0]["arguments"].as_str().unwrap();
    assert!(arguments.contains(" quiet panic=5 "), "{arguments}");
    let by_options = plan(&["--size", "400M", "--boot", "hybrid", "--service", "always"]);
    assert_eq!(by_options["disk"]["size"], 400 << 20);
    assert_eq!(by_options["boot"], "hybrid");
    assert_eq!(by_options["container"]["restart"], "always");
    place.recipe("web", "size: 500M\n");
    let by_recipe = plan(&["./web", "--machine", "box"]);
    assert_eq!(by_recipe["disk"]["size"], 500 << 20);
    assert_eq!(by_recipe["boot"], "hybrid");
    let text = made(&mut make(&place, "oci:app", "out", &[]));
    assert!(text.contains("its machine is other"), "{text}");
    fs_err::remove_dir_all(&place.out).unwrap();
    fs_err::create_dir(&place.out).unwrap();
    labelled(json!({label("size"): "much"}));
    let command = make(&place, "oci:app", "out", &[]);
    refused(&place, command, &["the labels of oci:app", "size", "much"]);
}

/// The list of packages is that of the whole disk.
#[test]
fn packages_of_the_machine_and_of_the_container_are_listed() {
    let Some(place) = place() else { return };
    let package = |name: &str| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n"
        )
    };
    machine::add_with(
        &Store::at(&place.dir.join("target/machines")),
        "listed",
        &[file("var/lib/dpkg/status", package("of-the-machine"))],
    );
    let mut tree = tree();
    // As distroless images have it.
    tree.push(file(
        "var/lib/dpkg/status.d/app",
        package("of-the-container"),
    ));
    image(&place, "app", &[(tar_of(&tree), Squeeze::No)]);
    made(&mut make(
        &place,
        "oci:app",
        "out",
        &["--machine", "listed"],
    ));
    let list = fs_err::read_to_string(place.out.join("app.spdx.json")).unwrap();
    for name in ["of-the-machine", "of-the-container"] {
        assert!(list.contains(name), "{name}: {list}");
    }
}
