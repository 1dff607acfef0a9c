//! Which image is taken of a layout or an archive that has more in it than one, what it says of
//! its time, and where its blobs may lie.

use crate::common::oci::{Layout, Squeeze, layout, sha256, tar_of};
use crate::common::{Entry, content, file, temp};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::error::Report;
use docker_to_linux::model::Arch;
use docker_to_linux::rootfs::oci::{self, Image, Input, Limits, OciError, Wanted};
use docker_to_linux::rootfs::{Time, tar};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::process::Command;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// An image whose command is its name.
fn called(oci: &Layout, name: &str) -> Value {
    let layers = [(tar_of(&[file("name", name)]), Squeeze::Gzip)];
    oci.image("amd64", &layers, &json!({"Cmd": [name]}))
}

fn for_platform(oci: &Layout, arch: &str, variant: Option<&str>) -> Value {
    let name = format!("{arch}-{}", variant.unwrap_or("none"));
    let layers = [(tar_of(&[file("name", name.as_str())]), Squeeze::Zstd)];
    let mut image = oci.image(arch, &layers, &json!({"Cmd": [name]}));
    image["mediaType"] = json!(MANIFEST);
    image["platform"] = json!({"os": "linux", "architecture": arch, "variant": variant});
    image
}

fn with(mut descriptor: Value, key: &str, value: Value) -> Value {
    descriptor[key] = value;
    descriptor
}

fn wanted(name: Option<&str>, variant: Option<&str>) -> Wanted {
    Wanted {
        name: name.map(str::to_owned),
        variant: variant.map(str::to_owned),
        ..Arch::Amd64.into()
    }
}

#[track_caller]
fn refused(result: Result<Image, OciError>, words: &[&str]) {
    let error = result.unwrap_err();
    let mut text = error.to_string();
    text += &Report::from(error).hint.unwrap();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn what_lies_beside_an_image_is_passed_over() {
    let (_guard, at) = temp();
    let oci = Layout::new(&at);
    let image = with(called(&oci, "app"), "mediaType", json!(MANIFEST));
    let empty = with(
        oci.blob(b"{}"),
        "mediaType",
        json!("application/vnd.oci.empty.v1+json"),
    );
    let sbom = with(
        oci.blob(b"{\"spdxVersion\": 1}"),
        "mediaType",
        json!("application/spdx+json"),
    );
    let artifact = |more: Value| {
        let mut manifest = json!({"schemaVersion": 2, "config": empty, "layers": [sbom]});
        let more = more.as_object().unwrap().clone();
        manifest.as_object_mut().unwrap().extend(more);
        with(oci.document(&manifest), "mediaType", json!(MANIFEST))
    };
    // A signature as cosign's first form has it: it calls itself an image.
    let config = json!({"architecture": "", "os": "", "created": "0001-01-01T00:00:00Z",
        "config": {}, "rootfs": {"type": "layers", "diff_ids": [sha256(b"{}")]}});
    let config = with(oci.document(&config), "mediaType", json!(CONFIG));
    let payload = with(
        oci.blob(b"{}"),
        "mediaType",
        json!("application/vnd.dev.cosign.simplesigning.v1+json"),
    );
    let signature = oci.document(&json!({"config": config, "layers": [payload]}));
    // An image that belongs to another one.
    let other = called(&oci, "other");
    let path = other["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "blobs/sha256/");
    let mut manifest: Value =
        serde_json::from_slice(&fs_err::read(at.join(path)).unwrap()).unwrap();
    manifest["subject"] = image.clone();
    let helm = with(
        oci.blob(b"{}"),
        "mediaType",
        json!("application/vnd.cncf.helm.config.v1+json"),
    );
    let attestation = with(
        called(&oci, "attestation"),
        "annotations",
        json!({
        "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": "x"}),
    );
    let beside = [
        with(
            artifact(json!({"artifactType": "application/spdx+json", "subject": image})),
            "artifactType",
            json!("application/spdx+json"),
        ),
        artifact(json!({"artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json"})),
        artifact(json!({"subject": image})),
        artifact(json!({})),
        artifact(json!({"config": helm})),
        signature,
        oci.document(&manifest),
        with(
            attestation.clone(),
            "platform",
            json!({"os": "unknown", "architecture": "unknown"}),
        ),
        attestation,
        // What is no document at all, and what is not even stored.
        with(oci.blob(b"text"), "mediaType", json!("text/plain")),
        json!({"mediaType": "application/vnd.in-toto+json", "digest": sha256(b"nowhere"), "size": 7}),
    ];
    for (n, one) in beside.iter().enumerate() {
        for manifests in [[one, &image], [&image, one]] {
            oci.index(&manifests.map(Value::clone));
            let image = oci.read().unwrap_or_else(|e| panic!("{n}: {e}"));
            assert_eq!(image.config.command(), ["app"], "{n}");
        }
    }
    // The same within an index, as builders make it.
    let mut all = beside.to_vec();
    all.push(image);
    let inner = oci.document(&json!({"manifests": all}));
    oci.index(&[inner]);
    assert_eq!(oci.read().unwrap().config.command(), ["app"]);
    // Nothing but artifacts is no image.
    oci.index(&beside[..6]);
    refused(oci.read(), &["no image for linux/amd64"]);
}

#[test]
fn the_best_variant_that_the_machine_has_is_taken() {
    let (_guard, at) = temp();
    let oci = Layout::new(&at);
    let all: Vec<Value> = [
        ("amd64", Some("v3")),
        ("amd64", Some("v1")),
        ("amd64", Some("v2")),
        ("arm64", Some("v9")),
        ("arm64", Some("v8")),
        ("arm", Some("v7")),
        ("arm", Some("v6")),
        ("386", None),
    ]
    .map(|(arch, variant)| for_platform(&oci, arch, variant))
    .to_vec();
    let inner = oci.document(&json!({"manifests": all}));
    for index in [all.clone(), vec![inner]] {
        oci.index(&index);
        for (arch, variant, command) in [
            (Arch::Amd64, None, "amd64-v1"),
            (Arch::Amd64, Some("v2"), "amd64-v2"),
            (Arch::Amd64, Some("v4"), "amd64-v3"),
            (Arch::Arm64, None, "arm64-v8"),
            (Arch::Arm64, Some("v9.1"), "arm64-v9"),
        ] {
            let wanted = Wanted {
                variant: variant.map(str::to_owned),
                ..arch.into()
            };
            let image = oci.read_wanted(&wanted).unwrap();
            assert_eq!(image.config.command(), [command], "{variant:?}");
        }
    }
    oci.index(&all[..1]);
    refused(
        oci.read(),
        &[
            "no image for linux/amd64",
            "only for linux/amd64/v3",
            "--variant",
        ],
    );
    assert_eq!(
        oci.read_wanted(&wanted(None, Some("v3")))
            .unwrap()
            .config
            .command(),
        ["amd64-v3"]
    );
    refused(
        oci.read_wanted(&wanted(None, Some("new"))),
        &["\"new\"", "v2"],
    );
    // The variant may stand in the configuration only, and one platform may be all that is stored.
    let missing = json!({"digest": sha256(b"nowhere"), "size": 7});
    let inner = oci.document(&json!({"manifests": [missing, for_platform(&oci, "amd64", None)]}));
    oci.index(&[inner]);
    assert_eq!(oci.read().unwrap().config.command(), ["amd64-none"]);
    oci.index(&[missing]);
    refused(oci.read(), &["is missing"]);
}

fn named(descriptor: Value, name: &str) -> Value {
    with(
        descriptor,
        "annotations",
        json!({"org.opencontainers.image.ref.name": name}),
    )
}

#[test]
fn one_of_several_images_is_picked_by_its_name() {
    let (_guard, at) = temp();
    let oci = Layout::new(&at);
    let (a, b) = (called(&oci, "a"), called(&oci, "b"));
    let digest = b["digest"].as_str().unwrap().to_owned();
    // Two names of one image are one image.
    oci.index(&[named(a.clone(), "v1"), named(a.clone(), "latest")]);
    assert_eq!(oci.read().unwrap().config.command(), ["a"]);
    let docker = with(
        b.clone(),
        "annotations",
        json!({
        "io.containerd.image.name": "docker.io/library/app:v2", "org.opencontainers.image.ref.name": "v2"}),
    );
    oci.index(&[named(a.clone(), "v1"), docker, named(a, "latest")]);
    refused(
        oci.read(),
        &["several", "v1", "docker.io/library/app:v2", "--image-name"],
    );
    for (name, command) in [
        ("v1", "a"),
        ("latest", "a"),
        ("app:v2", "b"),
        ("v2", "b"),
        (&digest, "b"),
        (&digest[7..20], "b"),
    ] {
        let image = oci.read_wanted(&wanted(Some(name), None)).unwrap();
        assert_eq!(image.config.command(), [command], "{name}");
    }
    refused(
        oci.read_wanted(&wanted(Some("v3"), None)),
        &["\"v3\"", "v1", "app:v2"],
    );
    // Images without names are told apart by their digests.
    let c = called(&oci, "c");
    oci.index(&[b, c]);
    refused(oci.read(), &["several", &digest]);
    let image = oci.read_wanted(&wanted(Some(&digest), None)).unwrap();
    assert_eq!(image.config.command(), ["b"]);
}

#[test]
fn dates_that_cannot_be_leave_the_times_of_files_alone() {
    let (_guard, at) = temp();
    let files = [
        file("old", "x").time(1_600_000_000, 0),
        file("new", "x").time(1_700_000_000, 0),
    ];
    for (n, (created, epoch)) in [
        ("0001-01-01T00:00:00Z", 1_700_000_000),
        ("1970-01-01T00:00:00Z", 1_700_000_000),
        ("1970-01-01T00:00:01Z", 1_700_000_000),
        ("1980-01-01T00:00:01Z", 1_700_000_000),
        ("2000-01-01T00:00:00Z", 1_700_000_000),
        ("2262-04-11T23:47:16Z", 1_700_000_000),
        ("9999-12-31T23:59:59Z", 1_700_000_000),
        ("yesterday", 1_700_000_000),
        ("2024-05-01T10:00:00Z", 1_714_557_600),
    ]
    .into_iter()
    .enumerate()
    {
        let oci = Layout::new(&at.join(n.to_string()));
        let layers = [(tar_of(&files), Squeeze::No)];
        oci.index(&[oci.image_of("amd64", created, &layers, &json!({}))]);
        let rootfs = oci.read().unwrap().rootfs;
        assert_eq!(rootfs.epoch, epoch, "{created}");
        for (path, secs) in [("/old", 1_600_000_000), ("/new", 1_700_000_000)] {
            let id = rootfs.tree.lookup(path).unwrap();
            let time = Time { secs, nanos: 0 };
            assert_eq!(rootfs.tree.node(id).meta.mtime, time, "{created} {path}");
        }
    }
}

#[test]
fn blobs_may_lie_in_a_folder_that_is_named() {
    let (_guard, at) = temp();
    let cache = at.join("cache");
    fs_err::create_dir_all(cache.join("sha256")).unwrap();
    let oci = layout(&at.join("oci"), &[tar_of(&[file("a", "x")])]);
    let blobs = oci.0.join("blobs/sha256");
    let with_cache = Wanted {
        blob_dir: Some(cache.clone()),
        ..Arch::Amd64.into()
    };
    let names: Vec<Utf8PathBuf> = blobs
        .read_dir_utf8()
        .unwrap()
        .map(|e| e.unwrap().into_path())
        .collect();
    for blob in &names {
        let there = cache.join("sha256").join(blob.file_name().unwrap());
        fs_err::rename(blob, &there).unwrap();
        symlink(&there, blob).unwrap();
    }
    refused(oci.read(), &["symbolic link", "--blob-dir"]);
    assert!(
        oci.read_wanted(&with_cache)
            .unwrap()
            .rootfs
            .tree
            .exists("/a")
    );
    // Without any link: what skopeo calls a shared blob directory.
    for blob in &names {
        fs_err::remove_file(blob).unwrap();
    }
    refused(oci.read(), &["is missing"]);
    assert!(
        oci.read_wanted(&with_cache)
            .unwrap()
            .rootfs
            .tree
            .exists("/a")
    );
    // The folder of all blobs may be a link as well; one to elsewhere stays refused.
    fs_err::remove_dir(&blobs).unwrap();
    symlink(cache.join("sha256"), &blobs).unwrap();
    refused(oci.read(), &["symbolic link"]);
    assert!(
        oci.read_wanted(&with_cache)
            .unwrap()
            .rootfs
            .tree
            .exists("/a")
    );
    let elsewhere = Wanted {
        blob_dir: Some(at.join("oci")),
        ..Arch::Amd64.into()
    };
    refused(oci.read_wanted(&elsewhere), &["symbolic link"]);
}

/// An archive as `docker save` wrote it, in a folder.
fn saved(at: &Utf8Path, layers: &[Vec<u8>], links: &[(usize, &str)]) -> Utf8PathBuf {
    let ids: Vec<String> = layers.iter().map(|l| sha256(l)).collect();
    let paths: Vec<String> = (0..layers.len())
        .map(|n| format!("layer{n}/layer.tar"))
        .collect();
    for (path, layer) in paths.iter().zip(layers) {
        fs_err::create_dir_all(at.join(path).parent().unwrap()).unwrap();
        fs_err::write(at.join(path), layer).unwrap();
    }
    for (n, target) in links {
        fs_err::remove_file(at.join(&paths[*n])).unwrap();
        symlink(target, at.join(&paths[*n])).unwrap();
    }
    let config = json!({"architecture": "amd64", "os": "linux", "created": "2024-05-01T10:00:00Z",
        "config": {"Cmd": ["saved"]}, "rootfs": {"diff_ids": ids}})
    .to_string();
    let name = format!("{}.json", &sha256(config.as_bytes())[7..]);
    fs_err::write(at.join(&name), config).unwrap();
    let manifest = json!([{"Config": name, "RepoTags": ["app:v1"], "Layers": paths}]);
    fs_err::write(at.join("manifest.json"), manifest.to_string()).unwrap();
    at.to_owned()
}

/// The image in a folder and in a tar of it, which must be the same.
#[track_caller]
fn both(dir: &Utf8Path, wanted: &Wanted) -> Image {
    let (_guard, spool) = temp();
    let tar = Utf8PathBuf::from(format!("{dir}.tar"));
    content(Command::new("tar").args(["-C", dir.as_str(), "-cf", tar.as_str(), "."]));
    let rootfs = tar::from_file(std::fs::File::open(&tar).unwrap(), &spool).unwrap();
    let of_tar = oci::from_tar(rootfs, wanted, Limits::default(), &spool).unwrap();
    let Input::Image(of_tar) = of_tar else {
        panic!("{tar} was taken for a root file system");
    };
    let of_dir = oci::from_dir(dir, wanted, Limits::default(), &spool).unwrap();
    assert_eq!(of_dir.rootfs.tree.digest(), of_tar.rootfs.tree.digest());
    assert_eq!(of_dir.config, of_tar.config);
    assert!(oci::is_image_dir(dir));
    of_dir
}

#[test]
fn archives_of_every_docker_are_read() {
    let (_guard, at) = temp();
    let layers = [vec![file("a", "1")], vec![file("b", "2")]].map(|l: Vec<Entry>| tar_of(&l));
    // A layer that occurs twice was saved as a link.
    let twice = [layers[0].clone(), layers[1].clone(), layers[0].clone()];
    let dir = saved(&at.join("links"), &twice, &[(2, "../layer0/layer.tar")]);
    let image = both(&dir, &Arch::Amd64.into());
    assert_eq!(image.config.command(), ["saved"]);
    assert!(image.rootfs.tree.exists("/a") && image.rootfs.tree.exists("/b"));
    assert_eq!(
        both(&dir, &wanted(Some("app:v1"), None)).config.command(),
        ["saved"]
    );
    // A new Docker saves a layout as well, and that has all digests.
    let dir = saved(&at.join("both"), &layers, &[]);
    let oci = Layout::new(&dir);
    oci.index(&[called(&oci, "layout")]);
    assert_eq!(both(&dir, &Arch::Amd64.into()).config.command(), ["layout"]);
    // A layout without the file that says so.
    let oci = Layout::new(&at.join("bare"));
    oci.index(&[called(&oci, "bare")]);
    fs_err::remove_file(oci.0.join("oci-layout")).unwrap();
    assert_eq!(both(&oci.0, &Arch::Amd64.into()).config.command(), ["bare"]);
    // Docker before 1.10.
    let dir = at.join("old");
    for (id, parent, layer) in [
        ("base", Value::Null, &layers[0]),
        ("top", json!("base"), &layers[1]),
    ] {
        fs_err::create_dir_all(dir.join(id)).unwrap();
        fs_err::write(dir.join(id).join("VERSION"), "1.0").unwrap();
        fs_err::write(dir.join(id).join("layer.tar"), layer).unwrap();
        let json = json!({"id": id, "parent": parent, "created": "2015-05-01T10:00:00Z",
            "architecture": "amd64", "os": "linux", "config": {"Cmd": [id]}});
        fs_err::write(dir.join(id).join("json"), json.to_string()).unwrap();
    }
    let names = json!({"app": {"v1": "top", "latest": "top"}});
    fs_err::write(dir.join("repositories"), names.to_string()).unwrap();
    let image = both(&dir, &Arch::Amd64.into());
    assert_eq!(image.config.command(), ["top"]);
    assert!(image.rootfs.tree.exists("/a") && image.rootfs.tree.exists("/b"));
    let names = json!({"app": {"v1": "top", "v0": "base"}});
    fs_err::write(dir.join("repositories"), names.to_string()).unwrap();
    let (_spool_guard, spool) = temp();
    let read = |wanted: &Wanted| oci::from_dir(&dir, wanted, Limits::default(), &spool);
    refused(read(&Arch::Amd64.into()), &["several", "app:v0", "app:v1"]);
    assert_eq!(
        read(&wanted(Some("app:v0"), None))
            .unwrap()
            .config
            .command(),
        ["base"]
    );
    // One that is its own ancestor ends.
    let json = json!({"id": "base", "parent": "base"});
    fs_err::write(dir.join("base/json"), json.to_string()).unwrap();
    refused(read(&wanted(Some("app:v1"), None)), &["more than 500"]);
}

#[test]
fn what_is_no_layer_is_said() {
    let (_guard, at) = temp();
    let oci = Layout::new(&at);
    let tar = tar_of(&[file("a", "x")]);
    let config = oci.document(&json!({"rootfs": {"diff_ids": [sha256(&tar)]}}));
    let of_layer = |layer: Value| {
        oci.index(&[oci.document(&json!({"config": config, "layers": [layer]}))]);
        oci.read()
    };
    let stored = oci.blob(&tar);
    for kind in [
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.oci.image.layer.v1.tar",
        // One that is stored although it need not be.
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ] {
        let image = of_layer(with(stored.clone(), "mediaType", json!(kind))).unwrap();
        assert!(image.rootfs.tree.exists("/a"));
    }
    let foreign = json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": sha256(b"nowhere"), "size": 7, "urls": ["https://example.com/layer"]});
    refused(of_layer(foreign), &["foreign", "https://example.com/layer"]);
    for (kind, words) in [
        (
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            ["is encrypted", "decrypt"],
        ),
        (
            "application/vnd.oci.image.layer.squashfs",
            ["squashfs", "not a tar"],
        ),
    ] {
        refused(
            of_layer(with(stored.clone(), "mediaType", json!(kind))),
            &words,
        );
    }
    let old = json!({"schemaVersion": 1, "name": "app", "fsLayers": [], "history": []});
    oci.index(&[oci.document(&old)]);
    refused(oci.read(), &["schema 1"]);
    let kind = json!("application/vnd.docker.distribution.manifest.v1+prettyjws");
    oci.index(&[with(stored, "mediaType", kind)]);
    refused(oci.read(), &["schema 1"]);
    // Layers without anything in them: no byte, and only the end of a tar.
    let layers = [
        (Vec::new(), Squeeze::No),
        (vec![0; 1024], Squeeze::Gzip),
        (tar, Squeeze::Gzip),
    ];
    oci.index(&[oci.image("amd64", &layers, &json!({}))]);
    assert!(oci.read().unwrap().rootfs.tree.exists("/a"));
}
