//! Registries that break, lie or are busy: the image is right, or there is one clear line and
//! nothing is left.

use super::fake::{Fake, Fault};
use super::{cached, image, made, make, names, one_image, refused};
use crate::common::oci::Layout;
use crate::common::{Place, said};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A place, a registry with one image, and the SHA-256 of the disk that is made of it.
fn start() -> Option<(Place, Fake, String)> {
    let place = Place::new()?;
    let (layout, digest) = one_image(&place.dir.join("layout"));
    let sum = made(&place, &mut make(&place, "oci:layout:v1", &[]));
    let fake = Fake::start(&layout, &digest);
    Some((place, fake, sum))
}

fn pull(place: &Place, fake: &Fake) -> std::process::Command {
    pull_to(place, fake, "out")
}

fn pull_to(place: &Place, fake: &Fake, out: &str) -> std::process::Command {
    make(
        place,
        &fake.image(),
        &["--insecure-registry", &fake.host, "--output", out],
    )
}

/// The largest layer's digest and length in bytes.
fn layer(place: &Place) -> (String, usize) {
    let blobs = place.dir.join("layout/blobs/sha256");
    let with_len = |name: String| (fs_err::metadata(blobs.join(&name)).unwrap().len(), name);
    let (len, name) = names(&blobs).into_iter().map(with_len).max().unwrap();
    (format!("sha256:{name}"), usize::try_from(len).unwrap())
}

#[test]
fn a_broken_connection_goes_on_where_it_stopped() {
    let Some((place, fake, sum)) = start() else {
        return;
    };
    let (digest, len) = layer(&place);
    fake.fault(&digest, Fault::CutAfter(1_000_000));
    // Less than is worth a new count of attempts, and nothing at all.
    fake.fault(&digest, Fault::CutAfter(500_000));
    fake.fault(&digest, Fault::CutAfter(0));
    assert_eq!(made(&place, &mut pull(&place, &fake)), sum);
    let ranges: Vec<String> = fake.asked(&digest);
    let ends: Vec<&str> = ranges
        .iter()
        .map(|l| l.rsplit(' ').next().unwrap())
        .collect();
    let last = len - 1;
    let from = |first: usize| format!("bytes={first}-{last}");
    assert_eq!(
        ends,
        ["-", &from(1_000_000), &from(1_500_000), &from(1_500_000)]
    );
}

#[test]
fn a_registry_without_ranges_starts_again() {
    let Some((place, fake, sum)) = start() else {
        return;
    };
    let (digest, _) = layer(&place);
    fake.state().no_ranges = true;
    fake.fault(&digest, Fault::CutAfter(1_000_000));
    assert_eq!(made(&place, &mut pull(&place, &fake)), sum);
    assert_eq!(fake.asked(&digest).len(), 2);
}

#[test]
fn a_document_that_breaks_is_read_again() {
    let Some((place, fake, sum)) = start() else {
        return;
    };
    fake.fault("manifests/v1", Fault::CutAfter(10));
    assert_eq!(made(&place, &mut pull(&place, &fake)), sum);
    assert_eq!(fake.asked("manifests/v1").len(), 2);
}

#[test]
fn a_registry_that_dies_leaves_one_line() {
    let Some((place, fake, _)) = start() else {
        return;
    };
    let (digest, _) = layer(&place);
    fake.fault(&digest, Fault::DieAfter(1_000_000));
    let line = refused(&place, &fake.host, &mut pull(&place, &fake));
    assert!(
        line.starts_with("error: pulling docker://[HOST]/team/box:v1: [HOST] cannot be reached: "),
        "{line}"
    );
    // The layers that were whole are in the cache, and the broken one is not.
    assert!(
        cached(&place) < 5,
        "{:?}",
        names(&place.dir.join("target/registry/sha256"))
    );
}

#[test]
fn a_busy_registry_gets_time() {
    let Some((place, fake, sum)) = start() else {
        return;
    };
    let busy = |status, after: &str| {
        Fault::Status(
            status,
            vec![("retry-after", after.to_owned())],
            String::new(),
        )
    };
    let (digest, _) = layer(&place);
    fake.fault("manifests/v1", busy(429, "2"));
    fake.fault(&digest, Fault::Status(503, Vec::new(), "<html>".into()));
    let begun = Instant::now();
    assert_eq!(made(&place, &mut pull(&place, &fake)), sum);
    assert!(
        begun.elapsed() > Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    // An hour is too long.
    let begun = Instant::now();
    fake.fault("manifests/v1", busy(429, "3600"));
    insta::assert_snapshot!(refused(&place, &fake.host, &mut pull(&place, &fake)), @"error: pulling docker://[HOST]/team/box:v1: [HOST] limits the number of requests, and asks for a pause of 3600 s; hint: registries allow more requests to known users: `docker login [HOST]`, or run it again later (1)");
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
    for _ in 0..5 {
        fake.fault(
            "manifests/v1",
            Fault::Status(
                500,
                Vec::new(),
                r#"{"errors": [{"code": "UNKNOWN", "message": "the disk\u001b[2J is full"}]}"#
                    .into(),
            ),
        );
    }
    insta::assert_snapshot!(refused(&place, &fake.host, &mut pull(&place, &fake)), @r#"error: pulling docker://[HOST]/team/box:v1: [HOST] answered 500 (the disk\u{1b}[2J is full) (5 attempts); hint: run it again: blobs that are complete are kept in the cache (1)"#);
}

#[test]
fn what_is_not_what_it_should_be_is_refused() {
    let Some((place, fake, sum)) = start() else {
        return;
    };
    let (digest, len) = layer(&place);
    let line = |path: &str, fault: Fault| {
        fake.fault(path, fault);
        refused(&place, &fake.host, &mut pull(&place, &fake))
    };
    insta::assert_snapshot!(line(&digest, Fault::Changed), @"error: pulling docker://[HOST]/team/box:v1: the layer sha256:[SHA256] has the digest sha256:[SHA256], but sha256:[SHA256] was asked for; hint: the image in the registry is damaged, or something changes it on the way: push it again (1)");
    insta::assert_snapshot!(line(&digest, Fault::Bytes(vec![0; len + 1])), @"error: pulling docker://[HOST]/team/box:v1: the layer sha256:[SHA256] has 3146523 bytes, but should have 3146522; hint: the image in the registry is damaged, or something changes it on the way: push it again (1)");
    insta::assert_snapshot!(line(&digest, Fault::Unsized(vec![0; len + 1])), @"error: pulling docker://[HOST]/team/box:v1: the layer sha256:[SHA256] has 3146523 bytes, but should have 3146522; hint: the image in the registry is damaged, or something changes it on the way: push it again (1)");
    insta::assert_snapshot!(line(&digest, Fault::Status(404, Vec::new(), String::new())), @"error: pulling docker://[HOST]/team/box:v1: the registry lists the blob sha256:[SHA256], but does not have it; hint: the image in the registry is damaged, or something changes it on the way: push it again (1)");
    insta::assert_snapshot!(line("manifests/v1", Fault::Changed), @"error: pulling docker://[HOST]/team/box:v1: the manifest has the digest sha256:[SHA256], but sha256:[SHA256] was asked for; hint: the image in the registry is damaged, or something changes it on the way: push it again (1)");
    insta::assert_snapshot!(line("manifests/v1", Fault::Unsized(vec![b' '; (4 << 20) + 1])), @"error: pulling docker://[HOST]/team/box:v1: the manifest is larger than 4 MiB; hint: no image needs that: do not trust this one (1)");
    insta::assert_snapshot!(line("manifests/v1", Fault::Status(403, Vec::new(), String::new())), @"error: pulling docker://[HOST]/team/box:v1: [HOST] does not allow this user to pull it; hint: check the name of the repository, and log in as a user who may read it: `docker login [HOST]` or `podman login [HOST]` (2)");
    insta::assert_snapshot!(line("manifests/v1", Fault::Status(307, vec![("location", "ftp://registry.example/x".into())], String::new())), @"error: pulling docker://[HOST]/team/box:v1: registry.example answered something that is not part of the protocol of registries: an address that is not valid; hint: check that it is a registry, and not e.g. its web page (1)");
    insta::assert_snapshot!(line("manifests/v1", Fault::Status(307, vec![("location", "http://registry.example/x?secret".into())], String::new())), @"error: pulling docker://[HOST]/team/box:v1: the registry refers to registry.example over plain HTTP; hint: if you trust the network, allow it with --insecure-registry registry.example (1)");
    // And with nothing in its way it works, although the cache holds what was right before.
    assert_eq!(made(&place, &mut pull(&place, &fake)), sum);
}

#[test]
fn a_claimed_size_is_not_believed() {
    let Some(place) = Place::new() else { return };
    let layout = Layout::new(&place.dir.join("layout"));
    let good = image(&layout, "amd64", "one");
    let path = |digest: &Value| {
        let hex = digest.as_str().unwrap().replace("sha256:", "");
        layout.0.join("blobs/sha256").join(hex)
    };
    let mut manifest: Value =
        serde_json::from_slice(&fs_err::read(path(&good["digest"])).unwrap()).unwrap();
    let start = |manifest: &Value| {
        let changed = layout.document(manifest);
        Fake::start(&layout, changed["digest"].as_str().unwrap())
    };
    manifest["layers"][2]["size"] = json!(1_u64 << 60);
    let fake = start(&manifest);
    let line = refused(&place, &fake.host, &mut pull(&place, &fake));
    assert!(
        line.contains("its layers have 1048576.1 TiB") || line.contains("are free where"),
        "{line}"
    );
    let mut limited = pull(&place, &fake);
    limited.args(["--max-unpacked", "1G"]);
    let line = refused(&place, &fake.host, &mut limited);
    assert!(line.contains("--max-unpacked"), "{line}");
    // Nothing of it was fetched.
    assert_eq!(fake.asked("blobs/").len(), 1, "{:?}", fake.asked("blobs/"));
    manifest["config"]["size"] = json!(5 << 20);
    let fake = start(&manifest);
    let line = refused(&place, &fake.host, &mut pull(&place, &fake));
    assert!(
        line.contains("more than the 4194304 that make sense there"),
        "{line}"
    );
    assert_eq!(fake.asked("blobs/").len(), 0);
}

#[test]
fn what_is_in_the_cache_is_not_fetched_again() {
    let Some((place, fake, sum)) = start() else {
        return;
    };
    assert_eq!(made(&place, &mut pull(&place, &fake)), sum);
    assert_eq!(cached(&place), 5);
    fake.state().log.clear();
    assert_eq!(made(&place, &mut pull(&place, &fake)), sum);
    let log = fake.state().log.clone();
    assert_eq!(log, ["GET /v2/ - -", "GET /v2/team/box/manifests/v1 - -"]);
    // With a digest the registry is not needed at all.
    let (_, digest) = one_image(&place.dir.join("layout"));
    let by_digest = format!("{}@{digest}", fake.image());
    fake.state().log.clear();
    assert_eq!(made(&place, &mut make(&place, &by_digest, &[])), sum);
    assert_eq!(fake.state().log, [""; 0]);
    // A blob that was changed is fetched again.
    let (layer, _) = layer(&place);
    let blob = place.dir.join("target/registry/sha256").join(&layer[7..]);
    let mut bytes = fs_err::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs_err::write(&blob, &bytes).unwrap();
    assert_eq!(made(&place, &mut pull(&place, &fake)), sum);
    assert_eq!(fake.asked(&layer).len(), 1);
    // And `clean` empties it.
    let out = place.xtask(&["clean"]).env("PATH", "").output().unwrap();
    assert!(
        out.status.success() && said(&out).contains("removing target/registry"),
        "{}",
        said(&out)
    );
    assert!(!place.dir.join("target/registry").exists());
}

#[test]
fn where_no_cache_can_be_written_nothing_is_left() {
    let Some((place, fake, sum)) = start() else {
        return;
    };
    // A file is in its way.
    fs_err::create_dir_all(place.dir.join("target")).unwrap();
    fs_err::write(place.dir.join("target/registry"), "").unwrap();
    assert_eq!(made(&place, &mut pull(&place, &fake)), sum);
    assert!(place.dir.join("target/registry").is_file());
    let (digest, _) = layer(&place);
    fake.fault(&digest, Fault::Changed);
    refused(&place, &fake.host, &mut pull(&place, &fake));
}

#[test]
fn a_signal_leaves_nothing() {
    let Some((place, fake, _)) = start() else {
        return;
    };
    let (digest, _) = layer(&place);
    fake.fault(&digest, Fault::StallAfter(1_000_000));
    let mut child = pull(&place, &fake).stderr(Stdio::null()).spawn().unwrap();
    let partial = || {
        let cache = names(&place.dir.join("target/registry/sha256"));
        cache.iter().any(|name| name.ends_with(".partial"))
    };
    let begun = Instant::now();
    while fake.asked(&digest).is_empty() || !partial() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing arrives");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
    super::nothing_left(&place);
}

#[test]
fn two_runs_share_the_cache() {
    let Some((place, fake, sum)) = start() else {
        return;
    };
    let run = |out: &str| {
        let mut pull = pull_to(&place, &fake, out);
        pull.stdout(Stdio::null()).stderr(Stdio::null());
        pull.spawn().unwrap()
    };
    let both = ["one", "two"].map(|out| (out, run(out)));
    for (out, mut child) in both {
        assert!(child.wait().unwrap().success());
        let image = place.dir.join(out).join("box.img");
        assert_eq!(crate::common::sha256(&image), sum);
    }
    super::nothing_left(&place);
    assert_eq!(cached(&place), 5);
}
