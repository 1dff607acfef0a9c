//! Images in registries: pulled from Debian's registry, filled by skopeo, and from a small one of
//! our own that does on purpose what goes wrong.

mod fake;
mod faults;
mod logins;
pub mod real;

use crate::common::oci::{Layout, Squeeze, sha256, tar_of};
use crate::common::{Place, dir, file, machine, names, said};
use camino::Utf8Path;
use serde_json::{Value, json};
use std::process::{Command, Output};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A document of this media type; returns its descriptor.
fn document(layout: &Layout, kind: &str, mut value: Value) -> Value {
    if kind != CONFIG {
        value["mediaType"] = json!(kind);
    }
    let mut descriptor = layout.document(&value);
    descriptor["mediaType"] = json!(kind);
    descriptor
}

/// A machine as an image of three layers, each compressed in another way; returns its manifest's
/// descriptor. `text` is in a file, so another text is another image.
fn image(layout: &Layout, arch: &str, text: &str) -> Value {
    let mut rest = machine();
    let first = rest.split_off(rest.len() / 2);
    // What does not compress, so that a connection can break in the middle of it.
    let mut seed = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    })
    .take(3 << 20)
    .collect();
    let layers = [
        (tar_of(&rest), Squeeze::Gzip),
        (tar_of(&first), Squeeze::No),
        (
            tar_of(&[dir("srv"), file("srv/noise", noise), file("srv/text", text)]),
            Squeeze::Gzip,
        ),
    ];
    let ids: Vec<String> = layers.iter().map(|(tar, _)| sha256(tar)).collect();
    let blobs = layers.iter().map(|(tar, squeeze)| {
        let mut blob = layout.blob(&squeeze.bytes(tar));
        let ending = match squeeze {
            Squeeze::No => "",
            Squeeze::Gzip => "+gzip",
            Squeeze::Zstd => "+zstd",
        };
        blob["mediaType"] = json!(format!("{LAYER}{ending}"));
        blob
    });
    let blobs: Vec<Value> = blobs.collect();
    let config = document(
        layout,
        CONFIG,
        json!({
            "architecture": arch, "os": "linux", "created": "2024-05-01T10:00:00Z",
            "config": {"Cmd": ["/bin/true"]}, "rootfs": {"type": "layers", "diff_ids": ids},
        }),
    );
    let mut manifest = document(
        layout,
        MANIFEST,
        json!({"schemaVersion": 2, "config": config, "layers": blobs}),
    );
    manifest["platform"] = json!({"os": "linux", "architecture": arch});
    manifest
}

/// A layout with one image called `v1`; returns its manifest's digest, too.
pub fn one_image(at: &Utf8Path) -> (Layout, String) {
    let layout = Layout::new(at);
    let mut manifest = image(&layout, "amd64", "one");
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    layout.index(&[manifest.clone()]);
    let digest = manifest["digest"].as_str().unwrap().to_owned();
    (layout, digest)
}

/// The program that makes the image `box` from `source`. It finds no engine, no login of whoever
/// runs the tests, and no other program.
fn make(place: &Place, source: &str, more: &[&str]) -> Command {
    let mut command = place.xtask(&["image", "--force", "./box", "--from", source]);
    if !more.contains(&"--output") {
        command.args(["--output", "out"]);
    }
    command
        .args(["--bootloader-dir", "bootloader", "--no-metadata"])
        .args(more);
    alone(place, &mut command);
    command
}

/// Lets a command find no engine, no login of whoever runs the tests, and no other program.
pub fn alone(place: &Place, command: &mut Command) {
    command.env("PATH", "").env("HOME", place.dir.join("home"));
    for name in [
        "DOCKER_CONFIG",
        "REGISTRY_AUTH_FILE",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
    ] {
        command.env_remove(name);
    }
    // A proxy that does not exist: it is not asked for what is on this machine.
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:9");
        command.env_remove(name.to_lowercase());
    }
}

/// Runs a command that must succeed; returns the SHA-256 of the image.
#[track_caller]
fn made(place: &Place, command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(names(&place.out), ["box.img"], "{}", said(&out));
    let sum = crate::common::sha256(&place.out.join("box.img"));
    fs_err::remove_file(place.out.join("box.img")).unwrap();
    nothing_left(place);
    sum
}

/// Runs a command that must fail; returns its only line of error, without what differs from run to
/// run: the address of the registry, and digests.
#[track_caller]
fn refused(place: &Place, host: &str, command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(!out.status.success(), "{}", said(&out));
    nothing_left(place);
    let line = error_of(&out);
    let line = place.redacted(&line.replace(host, "[HOST]"));
    format!("{} ({})", line, out.status.code().unwrap())
}

#[track_caller]
fn error_of(out: &Output) -> String {
    let text = String::from_utf8_lossy(&out.stderr);
    let errors: Vec<&str> = text.lines().filter(|l| l.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert!(text.trim_end().ends_with(errors[0]), "{text}");
    errors[0].to_owned()
}

/// No image, no temporary file, and in the cache only whole blobs.
#[track_caller]
fn nothing_left(place: &Place) {
    assert_eq!(names(&place.out), [""; 0]);
    assert_eq!(names(&place.tmp), [""; 0]);
    let cache = place.dir.join("target/registry/sha256");
    for name in names(&cache) {
        let bytes = fs_err::read(cache.join(&name)).unwrap();
        assert_eq!(sha256(&bytes), format!("sha256:{name}"));
    }
}

/// Number of blobs in the cache.
fn cached(place: &Place) -> usize {
    names(&place.dir.join("target/registry/sha256")).len()
}
