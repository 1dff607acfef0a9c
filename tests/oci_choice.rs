//! Which image is chosen from a layout or an archive with several, its time, and where its blobs may
//! be stored.

use crate::common::oci::{Layout, Squeeze, layout, sha256, tar_of};
use crate::common::{self, Entry, content, file, temp};
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

fn typed(descriptor: Value, media_type: &str) -> Value {
    with(descriptor, "mediaType", json!(media_type))
}

fn wanted(name: Option<&str>, variant: Option<&str>) -> Wanted {
    Wanted {
        name: name.map(str::to_owned),
        variant: variant.map(str::to_owned),
        ..Arch::Amd64.into()
    }
}

/// The command of an image.
#[track_caller]
fn command(image: Result<Image, OciError>) -> Vec<String> {
    let image = image.unwrap_or_else(|e| panic!("{e}"));
    image.config.command()
}

/// The image can be read, and the file `a` is in it.
#[track_caller]
fn has_a(image: Result<Image, OciError>) {
    let image = image.unwrap_or_else(|e| panic!("{e}"));
    assert!(image.rootfs.tree.exists("/a"));
}

/// Why there is no image, and what to do, for a snapshot.
#[track_caller]
fn refusal(at: &Utf8Path, result: Result<Image, OciError>) -> String {
    let error = result.unwrap_err();
    let text = error.to_string();
    let hint = Report::from(error).hint.unwrap();
    common::redacted(at, &format!("{text}; hint: {hint}\n"))
}

#[test]
fn what_lies_beside_an_image_is_passed_over() {
    let (_guard, at) = temp();
    let oci = Layout::new(&at);
    let image = typed(called(&oci, "app"), MANIFEST);
    let empty = typed(oci.blob(b"{}"), "application/vnd.oci.empty.v1+json");
    let sbom = typed(oci.blob(b"{\"spdxVersion\": 1}"), "application/spdx+json");
    let artifact = |more: Value| {
        let mut manifest = json!({"schemaVersion": 2, "config": empty, "layers": [sbom]});
        let more = more.as_object().unwrap().clone();
        manifest.as_object_mut().unwrap().extend(more);
        typed(oci.document(&manifest), MANIFEST)
    };
    // A signature as cosign's first form has it: it calls itself an image.
    let config = json!({"architecture": "", "os": "", "created": "0001-01-01T00:00:00Z",
        "config": {}, "rootfs": {"type": "layers", "diff_ids": [sha256(b"{}")]}});
    let config = typed(oci.document(&config), CONFIG);
    let payload = typed(
        oci.blob(b"{}"),
        "application/vnd.dev.cosign.simplesigning.v1+json",
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
    let helm = typed(oci.blob(b"{}"), "application/vnd.cncf.helm.config.v1+json");
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
        // Invalid documents, and missing ones.
        typed(oci.blob(b"text"), "text/plain"),
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
    assert_eq!(command(oci.read()), ["app"]);
    // Artifacts alone are not an image.
    oci.index(&beside[..6]);
    insta::assert_snapshot!(refusal(&at, oci.read()), @"it holds no image for linux/amd64; hint: give the architecture with --arch and a newer variant of it with --variant, or fetch the image for this one");
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
        for (arch, variant, wants) in [
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
            let image = oci.read_wanted(&wanted);
            assert_eq!(command(image), [wants], "{variant:?}");
        }
    }
    oci.index(&all[..1]);
    insta::assert_snapshot!(refusal(&at, oci.read()), @"it holds no image for linux/amd64, only for linux/amd64/v3; hint: give the architecture with --arch and a newer variant of it with --variant, or fetch the image for this one");
    assert_eq!(
        oci.read_wanted(&wanted(None, Some("v3")))
            .unwrap()
            .config
            .command(),
        ["amd64-v3"]
    );
    insta::assert_snapshot!(refusal(&at, oci.read_wanted(&wanted(None, Some("new")))), @r#""new" is not a variant of an architecture; hint: use e.g. v2 or v8.1"#);
    // The variant may be in the configuration only, and one platform may be all that is stored.
    let missing = json!({"digest": sha256(b"nowhere"), "size": 7});
    let inner = oci.document(&json!({"manifests": [missing, for_platform(&oci, "amd64", None)]}));
    oci.index(&[inner]);
    assert_eq!(command(oci.read()), ["amd64-none"]);
    oci.index(&[missing]);
    insta::assert_snapshot!(refusal(&at, oci.read()), @"blobs/sha256/[SHA256] is missing; hint: the image is damaged, incomplete, or was changed: fetch it again");
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
    assert_eq!(command(oci.read()), ["a"]);
    let docker = with(
        b.clone(),
        "annotations",
        json!({
        "io.containerd.image.name": "docker.io/library/app:v2", "org.opencontainers.image.ref.name": "v2"}),
    );
    oci.index(&[named(a.clone(), "v1"), docker, named(a, "latest")]);
    insta::assert_snapshot!(refusal(&at, oci.read()), @"it holds several images: v1, docker.io/library/app:v2; hint: pick one with --image-name NAME: its name, tag or digest");
    for (name, wants) in [
        ("v1", "a"),
        ("latest", "a"),
        ("app:v2", "b"),
        ("v2", "b"),
        (&digest, "b"),
        (&digest[7..20], "b"),
    ] {
        let image = oci.read_wanted(&wanted(Some(name), None));
        assert_eq!(command(image), [wants], "{name}");
    }
    insta::assert_snapshot!(refusal(&at, oci.read_wanted(&wanted(Some("v3"), None))), @r#"none of its images is called "v3"; there are: v1, docker.io/library/app:v2, latest; hint: pick one with --image-name NAME: its name, tag or digest"#);
    // Images without names are told apart by their digests.
    let c = called(&oci, "c");
    oci.index(&[b, c]);
    insta::assert_snapshot!(refusal(&at, oci.read()), @"it holds several images: sha256:[SHA256], sha256:[SHA256]; hint: pick one with --image-name NAME: its name, tag or digest");
    let image = oci.read_wanted(&wanted(Some(&digest), None));
    assert_eq!(command(image), ["b"]);
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
    insta::assert_snapshot!(refusal(&at, oci.read()), @"blobs/sha256/[SHA256] is a symbolic link that leads out of it, to nothing, or in a circle; hint: if the blobs are in a folder that you trust, give it with --blob-dir DIR");
    has_a(oci.read_wanted(&with_cache));
    // Without any link: what skopeo calls a shared blob directory.
    for blob in &names {
        fs_err::remove_file(blob).unwrap();
    }
    insta::assert_snapshot!(refusal(&at, oci.read()), @"blobs/sha256/[SHA256] is missing; hint: the image is damaged, incomplete, or was changed: fetch it again");
    has_a(oci.read_wanted(&with_cache));
    // The folder of all blobs may be a link as well; one to elsewhere stays refused.
    fs_err::remove_dir(&blobs).unwrap();
    symlink(cache.join("sha256"), &blobs).unwrap();
    insta::assert_snapshot!(refusal(&at, oci.read()), @"blobs/sha256/[SHA256] is a symbolic link that leads out of it, to nothing, or in a circle; hint: if the blobs are in a folder that you trust, give it with --blob-dir DIR");
    has_a(oci.read_wanted(&with_cache));
    let elsewhere = Wanted {
        blob_dir: Some(at.join("oci")),
        ..Arch::Amd64.into()
    };
    insta::assert_snapshot!(refusal(&at, oci.read_wanted(&elsewhere)), @"blobs/sha256/[SHA256] is a symbolic link that leads out of it, to nothing, or in a circle; hint: if the blobs are in a folder that you trust, give it with --blob-dir DIR");
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
    insta::assert_snapshot!(refusal(&at, read(&Arch::Amd64.into())), @"it holds several images: app:v0, app:v1; hint: pick one with --image-name NAME: its name, tag or digest");
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
    insta::assert_snapshot!(refusal(&at, read(&wanted(Some("app:v1"), None))), @"it has 501 layers, but at most 500 are supported; hint: make it again with `docker save`, `podman save`, `skopeo copy` or `buildah push`");
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
        has_a(of_layer(typed(stored.clone(), kind)));
    }
    let foreign = json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": sha256(b"nowhere"), "size": 7, "urls": ["https://example.com/layer"]});
    insta::assert_snapshot!(refusal(&at, of_layer(foreign)), @r#"the content of the foreign layer sha256:[SHA256] is not in the image; it is at "https://example.com/layer"; hint: pull the image with an engine that fetches foreign layers, and `docker save` it"#);
    let kinds = ["v1.tar+gzip+encrypted", "squashfs"].map(|kind| {
        let kind = format!("application/vnd.oci.image.layer.{kind}");
        refusal(&at, of_layer(typed(stored.clone(), &kind)))
    });
    insta::assert_snapshot!(kinds.concat(), @r#"
    the layer sha256:[SHA256] is encrypted; hint: decrypt it first, e.g. with `skopeo copy --decryption-key`
    the layer sha256:[SHA256] is of the type "application/vnd.oci.image.layer.squashfs", which is not a tar; hint: make it again with `docker save`, `podman save`, `skopeo copy` or `buildah push`
    "#);
    let old = json!({"schemaVersion": 1, "name": "app", "fsLayers": [], "history": []});
    oci.index(&[oci.document(&old)]);
    insta::assert_snapshot!(refusal(&at, oci.read()), @"the manifest sha256:[SHA256] is of Docker's schema 1, which has no configuration of its image; hint: convert it: pull it with a container engine and `docker save` it, or `skopeo copy --format oci`");
    let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    oci.index(&[typed(stored, kind)]);
    insta::assert_snapshot!(refusal(&at, oci.read()), @"the manifest sha256:[SHA256] is of Docker's schema 1, which has no configuration of its image; hint: convert it: pull it with a container engine and `docker save` it, or `skopeo copy --format oci`");
    // Layers without anything in them: no byte, and only the end of a tar.
    let layers = [
        (Vec::new(), Squeeze::No),
        (vec![0; 1024], Squeeze::Gzip),
        (tar, Squeeze::Gzip),
    ];
    oci.index(&[oci.image("amd64", &layers, &json!({}))]);
    has_a(oci.read());
}
