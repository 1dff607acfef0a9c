//! Container images as files: what `docker save` writes and OCI layouts give the same root file
//! system as the engine itself does, and what was made to do harm is refused.

use crate::common::oci::{Layout, Squeeze, layout, sha256, tar_of};
use crate::common::{self, content, dir, file, skipped, temp};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::guest;
use docker_to_linux::model::Arch;
use docker_to_linux::rootfs::oci::{self, Image, Input, Limits, OciError};
use docker_to_linux::rootfs::{Kind, Rootfs, tar};
use docker_to_linux::tool::Tool;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

fn image_in(tar: &Utf8Path) -> Image {
    let (_guard, spool) = temp();
    let rootfs = tar::from_file(std::fs::File::open(tar).unwrap(), &spool).unwrap();
    match oci::from_tar(rootfs, &Arch::Amd64.into(), Limits::default(), &spool).unwrap() {
        Input::Image(image) => *image,
        Input::Rootfs(_) => panic!("{tar} was taken for a root file system"),
    }
}

/// Everything in a root file system, by path. Names of one file share the first of them.
fn list(rootfs: &Rootfs) -> BTreeMap<String, String> {
    let mut first = BTreeMap::new();
    let mut out = BTreeMap::new();
    for (path, id) in rootfs.tree.walk() {
        let node = rootfs.tree.node(id);
        let name = first.entry(id).or_insert_with(|| path.clone()).clone();
        let what = match &node.kind {
            Kind::Dir(_) => "dir".to_owned(),
            Kind::File(content) => {
                let mut bytes = vec![0; usize::try_from(content.len()).unwrap()];
                rootfs.stores.read_at(content, 0, &mut bytes).unwrap();
                format!("file {} {}", bytes.len(), sha256(&bytes))
            }
            kind => format!("{kind:?}"),
        };
        let line = format!("{what} {:?} {:?} first {name}", node.meta, node.xattrs);
        out.insert(path.to_string(), line);
    }
    out
}

#[track_caller]
fn same(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) {
    let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let differ: Vec<String> = keys
        .into_iter()
        .filter(|k| a.get(*k) != b.get(*k))
        .map(|k| format!("{k}\n  {:?}\n  {:?}", a.get(k), b.get(k)))
        .collect();
    assert!(
        differ.is_empty(),
        "{} differ:\n{}",
        differ.len(),
        differ.join("\n")
    );
}

/// Layers with all that layers can do: whiteouts, an opaque directory, a directory that becomes
/// a file and back, hard links across layers, odd names, owners and modes.
const DOCKERFILE: &str = r#"FROM alpine:3.23
RUN mkdir -p /t/opaque/sub /t/gone /t/keep && echo a >/t/opaque/old && echo b >/t/opaque/sub/old \
 && echo c >/t/gone/x && echo d >/t/keep/f && ln /t/keep/f /t/keep/hard \
 && ln -s ../keep/f /t/keep/soft && mkfifo /t/fifo && chown 12:34 /t/keep/f \
 && chmod 4711 /t/keep/f && touch -d '2001-02-03 04:05:06' /t/keep/f
RUN rm -r /t/opaque && mkdir /t/opaque && echo new >/t/opaque/new
RUN rm -r /t/gone && echo file >/t/gone && rm /t/fifo
RUN ln /t/keep/f /t/hard2 && ln /bin/busybox /t/bb
RUN rm /t/keep/soft && mkdir /t/keep/soft && echo x >/t/keep/soft/x && rm /t/keep/hard
RUN mkdir "/t/ na me ü" && : >"/t/ na me ü/empty" && ln -s '/no where' "/t/ na me ü/dangling"
ENV A=b
CMD ["/t/bb", "true"]
"#;

#[test]
#[ignore = "needs the image alpine:3.23, which `cargo xtask image alpine` makes; `cargo xtask ci` runs it"]
fn every_form_gives_what_the_engine_gives() {
    let docker = match Tool::Docker.require() {
        Ok(path) => path,
        Err(e) => return skipped(&e.to_string()).unwrap_or_default(),
    };
    let docker = |arguments: &[&str]| {
        let mut command = Command::new(&docker);
        command.args(arguments);
        command
    };
    let has = docker(&["image", "inspect", "alpine:3.23"]).output();
    if !has.is_ok_and(|o| o.status.success()) {
        return skipped("there is no image alpine:3.23: `cargo xtask image alpine` makes it")
            .unwrap_or_default();
    }
    let (_guard, at) = temp();
    const TAG: &str = "docker-to-linux/test-layers:latest";
    let context = at.join("context");
    fs_err::create_dir(&context).unwrap();
    fs_err::write(context.join("Dockerfile"), DOCKERFILE).unwrap();
    content(&mut docker(&[
        "build",
        "--force-rm",
        "-t",
        TAG,
        context.as_str(),
    ]));
    let saved = at.join("saved.tar");
    content(&mut docker(&["save", "-o", saved.as_str(), TAG]));
    let id = content(&mut docker(&["create", "--network", "none", TAG]));
    let exported = at.join("exported.tar");
    content(&mut docker(&["export", "-o", exported.as_str(), id.trim()]));
    content(&mut docker(&["rm", id.trim()]));

    let from_archive = image_in(&saved);
    let epoch = from_archive.rootfs.epoch;
    assert_eq!(from_archive.config.command(), ["/t/bb", "true"]);
    let mut by_engine = tar::from_file(std::fs::File::open(&exported).unwrap(), &at).unwrap();
    by_engine.set_epoch(epoch);
    let cleaned = |mut rootfs: Rootfs| {
        guest::clean(&mut rootfs).unwrap();
        let mut all = list(&rootfs);
        // What the engine writes into each new container.
        let mtab = all.remove("/etc/mtab").unwrap();
        assert!(mtab.contains("/proc/mounts"), "{mtab}");
        assert!(all.remove("/etc").unwrap().starts_with("dir"));
        all
    };
    let wanted = cleaned(by_engine);
    for path in [
        "/t/opaque/new",
        "/t/gone",
        "/t/hard2",
        "/t/bb",
        "/t/ na me ü/dangling",
    ] {
        assert!(wanted.contains_key(path), "{path}");
    }
    for path in [
        "/t/opaque/old",
        "/t/opaque/sub",
        "/t/gone/x",
        "/t/fifo",
        "/t/keep/hard",
    ] {
        assert!(!wanted.contains_key(path), "{path}");
    }
    same(&wanted, &cleaned(from_archive.rootfs));

    // The same layers as an OCI layout, each compressed in another way.
    let unpacked = at.join("unpacked");
    fs_err::create_dir(&unpacked).unwrap();
    content(Command::new("tar").args(["-C", unpacked.as_str(), "-xf", saved.as_str()]));
    let json = |path: &str| -> Value {
        serde_json::from_slice(&fs_err::read(unpacked.join(path)).unwrap()).unwrap()
    };
    let manifest = json("manifest.json");
    let config = json(manifest[0]["Config"].as_str().unwrap());
    let layers = manifest[0]["Layers"].as_array().unwrap().iter();
    let kinds = [Squeeze::Gzip, Squeeze::Zstd, Squeeze::No]
        .into_iter()
        .cycle();
    let layers: Vec<(Vec<u8>, Squeeze)> = layers
        .map(|path| fs_err::read(unpacked.join(path.as_str().unwrap())).unwrap())
        .zip(kinds)
        .collect();
    let oci = Layout::new(&at.join("oci"));
    let created = config["created"].as_str().unwrap();
    let image = oci.image_of("amd64", created, &layers, &config["config"]);
    oci.index(&[image]);
    let again = |image: Image| {
        assert_eq!(image.config.command(), ["/t/bb", "true"]);
        assert_eq!(image.rootfs.epoch, epoch);
        cleaned(image.rootfs)
    };
    same(&wanted, &again(oci.read().unwrap()));
    same(&wanted, &again(image_in(&oci.tar())));
    // And as a program of other people writes it, where it is.
    if let Some(mut skopeo) = common::checker(Tool::Skopeo) {
        let to = at.join("skopeo");
        content(
            skopeo
                .args(["--insecure-policy", "copy", "-q"])
                .arg(format!("docker-archive:{saved}"))
                .arg(format!("oci:{to}:latest")),
        );
        same(&wanted, &again(Layout(to).read().unwrap()));
    }
}

#[test]
fn an_index_gives_the_image_of_the_architecture() {
    let (_guard, at) = temp();
    let oci = Layout::new(&at);
    let of = |arch: &str| {
        let tar = tar_of(&[file("arch", arch)]);
        let config = json!({"Cmd": [arch], "Env": null});
        let mut image = oci.image(arch, &[(tar, Squeeze::Gzip)], &config);
        image["platform"] = json!({"os": "linux", "architecture": arch});
        image
    };
    let attestation = json!({"digest": "sha256:0", "size": 1, "platform": {"os": "unknown", "architecture": "unknown"}});
    let inner = oci.document(&json!({"manifests": [attestation, of("amd64"), of("arm64")]}));
    oci.index(&[inner.clone(), inner]);
    for (arch, name) in [(Arch::Amd64, "amd64"), (Arch::Arm64, "arm64")] {
        let image = oci.read_for(arch, Limits::default()).unwrap();
        assert_eq!(image.config.command(), [name]);
        assert_eq!(
            image.rootfs.read("/arch", 99).unwrap().unwrap(),
            name.as_bytes()
        );
        assert_eq!(image.rootfs.epoch, 1_714_557_600);
    }
    oci.index(&[of("arm64")]);
    let e = oci.read().unwrap_err().to_string();
    assert!(
        e.contains("linux/amd64") && e.contains("only for linux/arm64"),
        "{e}"
    );
    let mut other = oci.image("amd64", &[], &json!({}));
    other["annotations"] = json!({"org.opencontainers.image.ref.name": "v2"});
    oci.index(&[of("amd64"), other]);
    let e = oci.read().unwrap_err().to_string();
    assert!(e.contains("several") && e.contains("v2"), "{e}");
}

/// What must be refused, and the reason in the error. Each as a folder and as a tar.
#[track_caller]
fn refused(oci: &Layout, words: &[&str]) {
    let begun = Instant::now();
    let (_guard, spool) = temp();
    let tar = oci.tar();
    let of_tar = tar::from_file(std::fs::File::open(&tar).unwrap(), &spool)
        .map_err(OciError::from)
        .and_then(|r| oci::from_tar(r, &Arch::Amd64.into(), Limits::default(), &spool));
    for result in [oci.read().map(drop), of_tar.map(drop)] {
        let error = result.unwrap_err();
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
        assert!(docker_to_linux::error::Report::from(error).hint.is_some());
    }
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
}

fn blob_path(oci: &Layout, descriptor: &Value) -> Utf8PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    oci.0
        .join("blobs/sha256")
        .join(digest.strip_prefix("sha256:").unwrap())
}

#[test]
fn changed_blobs_are_refused() {
    let layers = [tar_of(&[file("a", vec![b'a'; 5000])])];
    let gz = Squeeze::Gzip.bytes(&layers[0]);
    let (_guard, at) = temp();
    let oci = layout(&at.join("a"), &layers);
    let path = blob_path(&oci, &json!({"digest": sha256(&gz)}));
    // The same length, another byte: the checksum of gzip must not be what is told.
    let mut other = gz.clone();
    *other.last_mut().unwrap() ^= 1;
    fs_err::write(&path, &other).unwrap();
    refused(&oci, &["has the digest", "but the image says"]);
    fs_err::write(&path, &gz[..gz.len() - 1]).unwrap();
    refused(&oci, &["bytes, but the image says"]);
    fs_err::write(&path, [&gz[..], b"more"].concat()).unwrap();
    refused(&oci, &["bytes, but the image says"]);
    fs_err::remove_file(&path).unwrap();
    refused(&oci, &["is missing"]);
    // A good blob that unpacks to something else than the configuration says.
    let oci = Layout::new(&at.join("b"));
    let config = oci.document(&json!({"rootfs": {"diff_ids": [sha256(b"other")]}}));
    let layer = oci.blob(&gz);
    let manifest = oci.document(&json!({"config": config, "layers": [layer]}));
    oci.index(&[manifest]);
    refused(&oci, &["has the digest", &sha256(b"other")]);
    // A manifest that is not the one that the index means.
    let oci = layout(&at.join("c"), &layers);
    let index: Value =
        serde_json::from_slice(&fs_err::read(oci.0.join("index.json")).unwrap()).unwrap();
    let path = blob_path(&oci, &index["manifests"][0]);
    let text = fs_err::read_to_string(&path)
        .unwrap()
        .replace("mediaType", "mediatype");
    fs_err::write(&path, text).unwrap();
    refused(&oci, &["has the digest"]);
}

#[test]
fn paths_that_lead_outside_are_refused() {
    let (_guard, at) = temp();
    let secret = at.join("secret");
    fs_err::write(&secret, "secret").unwrap();
    for (n, digest) in [
        "sha256:../../../secret",
        "../../secret",
        "sha256:AA",
        "md5:00",
    ]
    .into_iter()
    .enumerate()
    {
        let oci = Layout::new(&at.join(format!("{n}")));
        oci.index(&[json!({"digest": digest, "size": 6})]);
        refused(&oci, &["is not a digest", digest]);
    }
    // docker save's manifest lists files by path.
    for (n, path) in ["../secret", "/etc/passwd", "a/../../secret", ""]
        .into_iter()
        .enumerate()
    {
        let dir = at.join(format!("saved{n}"));
        fs_err::create_dir(&dir).unwrap();
        let manifest = json!([{"Config": path, "Layers": []}]);
        fs_err::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
        refused(&Layout(dir), &["outside it"]);
    }
    let layer = tar_of(&[dir("d"), file("d/../../../etc/passwd", "x")]);
    refused(&layout(&at.join("layer"), &[layer]), &[".."]);
}

#[test]
fn links_out_of_the_image_and_in_circles_are_refused() {
    use std::os::unix::fs::symlink;
    let (_guard, at) = temp();
    fs_err::write(at.join("outside"), tar_of(&[file("a", "")])).unwrap();
    for (n, target) in ["../outside", "/etc/passwd", "circle", "nothing"]
        .into_iter()
        .enumerate()
    {
        let dir = at.join(format!("{n}"));
        fs_err::create_dir(&dir).unwrap();
        let config = json!({"rootfs": {"diff_ids": [sha256(b"")]}}).to_string();
        fs_err::write(dir.join("config.json"), config).unwrap();
        let manifest = json!([{"Config": "config.json", "Layers": ["circle"]}]);
        fs_err::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
        symlink(target, dir.join("circle")).unwrap();
        refused(&Layout(dir), &["circle is a symbolic link"]);
    }
    // In a layer, a link leads where it would lead in the machine, never out of it.
    let layer = tar_of(&[common::link("up", "../../../.."), file("up/found", "x")]);
    let image = layout(&at.join("inside"), &[layer]).read().unwrap();
    assert_eq!(image.rootfs.read("/found", 9).unwrap().unwrap(), b"x");
    let layer = tar_of(&[
        common::link("a", "b"),
        common::link("b", "a"),
        file("a/x", "x"),
    ]);
    refused(&layout(&at.join("cyclic"), &[layer]), &["the layer"]);
    // Folders and pipes where files should be.
    let oci = Layout::new(&at.join("pipe"));
    content(Command::new("mkfifo").arg(oci.0.join("index.json")));
    refused(&oci, &["index.json is not a file"]);
}

#[test]
fn bombs_end_before_they_hurt() {
    let (_guard, at) = temp();
    // 3 GiB of zeros in a few KiB: more than a layer of that size may become.
    struct Zeros(u64);
    impl std::io::Read for Zeros {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let n = usize::try_from(self.0).unwrap().min(buf.len());
            buf[..n].fill(0);
            self.0 -= n as u64;
            Ok(n)
        }
    }
    const SIZE: u64 = 3 << 30;
    let mut header = ::tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(SIZE);
    header.set_mode(0o644);
    header.set_cksum();
    let tar = std::io::Read::chain(&header.as_bytes()[..], Zeros(SIZE));
    let bomb = zstd::encode_all(tar, 1).unwrap();
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let oci = Layout::new(&at.join("bomb"));
    let config = oci.document(&json!({"rootfs": {"diff_ids": [sha256(b"")]}}));
    let layer = oci.blob(&bomb);
    oci.index(&[oci.document(&json!({"config": config, "layers": [layer]}))]);
    let limits = Limits {
        unpacked: Some(64 << 20),
        ..Limits::default()
    };
    let begun = Instant::now();
    let e = oci.read_for(Arch::Amd64, limits).unwrap_err();
    assert!(e.to_string().contains("unpack to more than 64 MiB"), "{e}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    let e = oci.read().unwrap_err();
    assert!(e.to_string().contains("unpack to more than 1"), "{e}");
    // Compression in compression does not get around it.
    let oci = Layout::new(&at.join("nested"));
    let layer = oci.blob(&Squeeze::Gzip.bytes(&bomb));
    let config = oci.document(&json!({"rootfs": {"diff_ids": [sha256(&bomb)]}}));
    oci.index(&[oci.document(&json!({"config": config, "layers": [layer]}))]);
    refused(&oci, &["the layer", "compressed twice"]);
}

#[test]
fn ten_thousand_layers_and_endless_indexes_are_refused() {
    let (_guard, at) = temp();
    let empty = tar_of(&[]);
    let oci = Layout::new(&at.join("layers"));
    let layer = oci.blob(&empty);
    let ids = vec![sha256(&empty); 10_000];
    let config = oci.document(&json!({"rootfs": {"diff_ids": ids}}));
    let manifest = json!({"config": config, "layers": vec![layer; 10_000]});
    oci.index(&[oci.document(&manifest)]);
    refused(&oci, &["10000 layers"]);
    let many = json!({"manifests": (0..300).map(|n| oci.document(&json!({"manifests": [], "n": n}))).collect::<Vec<_>>()});
    oci.index(&[oci.document(&many)]);
    refused(&oci, &["more indexes and manifests"]);
    let mut deep = oci.document(&json!({"manifests": []}));
    for _ in 0..10 {
        deep = oci.document(&json!({"manifests": [deep]}));
    }
    oci.index(&[deep]);
    refused(&oci, &["more indexes and manifests"]);
    let long = format!("{{\"x\": \"{}\"}}", "x".repeat(5 << 20));
    fs_err::write(oci.0.join("index.json"), long).unwrap();
    refused(&oci, &["more than the 4194304"]);
    fs_err::write(oci.0.join("index.json"), "[".repeat(100_000)).unwrap();
    refused(&oci, &["index.json is not what it should be"]);
}

/// The program itself: `--from` accepts every form, and reports errors in one line.
#[test]
fn the_program_takes_every_form() {
    let (_guard, at) = temp();
    let Some(loaders) = common::bootloader_dir(&at) else {
        return;
    };
    let oci = Layout::new(&at.join("oci"));
    let mut files = common::machine();
    files.push(file("usr/lib/systemd/systemd", "elf").mode(0o755));
    files.retain(|e| e.path != "sbin/init");
    files.push(common::link("sbin/init", "/usr/lib/systemd/systemd"));
    let config = json!({"Entrypoint": ["/app"], "Cmd": ["a b"], "ExposedPorts": {"80/tcp": {}}, "Env": ["TOKEN=hidden"]});
    let image = oci.image("amd64", &[(tar_of(&files), Squeeze::Zstd)], &config);
    oci.index(&[image]);
    let recipe = at.join("box");
    fs_err::create_dir(&recipe).unwrap();
    fs_err::write(recipe.join("recipe.yaml"), "root: {free: 16M}\n").unwrap();
    let plan = |from: &str, more: &[&str]| {
        let mut command = common::xtask();
        command
            .args(["-q", "plan", recipe.as_str(), "--from", from])
            .args([
                "--bootloader-dir",
                loaders.as_str(),
                "--output",
                at.as_str(),
            ])
            .args(more);
        command
    };
    let tar = oci.tar();
    let zst = at.join("oci.tar.zst");
    fs_err::write(
        &zst,
        zstd::encode_all(&*fs_err::read(&tar).unwrap(), 1).unwrap(),
    )
    .unwrap();
    let mut all = Vec::new();
    for from in [oci.0.as_str(), tar.as_str(), zst.as_str()] {
        all.push(content(&mut plan(from, &[])));
    }
    let stdin = common::with_input(&mut plan("-", &[]), &fs_err::read(&tar).unwrap());
    all.push(String::from_utf8(stdin.stdout).unwrap());
    for plan in &all {
        assert_eq!(*plan, all[0]);
    }
    let json: Value = serde_json::from_str(&all[0]).unwrap();
    assert_eq!(json["container"]["command"], json!(["/app", "a b"]));
    assert_eq!(json["container"]["exposed-ports"], json!(["80/tcp"]));
    assert_eq!(json["container"]["restart"], "on-failure");
    assert!(!all[0].contains("hidden"));
    let off = content(&mut plan(tar.as_str(), &["--service", "off"]));
    let json: Value = serde_json::from_str(&off).unwrap();
    assert_eq!(json["container"]["restart"], Value::Null);
    let out = plan(tar.as_str(), &["--max-unpacked", "1M"])
        .output()
        .unwrap();
    let said = common::said(&out);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(
        said.contains("reading the container image") && said.contains("--max-unpacked"),
        "{said}"
    );
    let out = plan(recipe.as_str(), &[]).output().unwrap();
    let said = common::said(&out);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(
        said.contains("does not contain a container image"),
        "{said}"
    );
}
