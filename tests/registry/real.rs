//! Debian's registry, filled by skopeo.

use super::{INDEX, Layout, cached, document, image, made, make, names, one_image, refused};
use crate::common::{Place, checker, content, is_root, program, skipped};
use camino::Utf8PathBuf;
use docker_to_linux::tool::Tool;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A running registry; it ends when this is dropped.
pub struct Registry {
    child: Child,
    /// Its address and port.
    pub host: String,
}

impl Registry {
    /// Starts one over plain HTTP with these lines in its configuration. `None` (said aloud) where it is missing.
    pub fn start(place: &Place, more: &str) -> Option<Registry> {
        Registry::with(place, &format!("http: {{addr: 127.0.0.1:0}}\n{more}"))
    }

    fn with(place: &Place, more: &str) -> Option<Registry> {
        let mut command = checker(Tool::Registry)?;
        checker(Tool::Skopeo)?;
        let data = place.dir.join("registry");
        let config =
            format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {data}}}}}\n{more}");
        let config = place.write("registry.yml", config);
        let mut child = command
            .args(["serve", config.as_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let host = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, after) = line.split_once("listening on ")?;
            Some(after.split(['"', ',']).next().unwrap().to_owned())
        });
        // Its log must be read, or it stops when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Registry {
            child,
            host: host.expect("the registry says where it listens"),
        })
    }

    /// Copies what is in the layout to the repository `team/box`.
    pub fn fill(&self, layout: &Layout, name: &str, more: &[&str]) {
        let mut skopeo = checker(Tool::Skopeo).unwrap();
        content(
            skopeo
                .args([
                    "--insecure-policy",
                    "copy",
                    "-q",
                    "--preserve-digests",
                    "--dest-tls-verify=false",
                ])
                .args(more)
                .arg(format!("oci:{}:{name}", layout.0))
                .arg(format!("docker://{}/team/box:{name}", self.host)),
        );
    }

    fn pull(&self, place: &Place, name: &str) -> Command {
        let source = format!("docker://{}/team/box{name}", self.host);
        make(place, &source, &["--insecure-registry", &self.host])
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// skopeo's own copy of an image.
fn copy(from: &str, to: &str) {
    let mut skopeo = checker(Tool::Skopeo).unwrap();
    content(skopeo.args(["--insecure-policy", "copy", "-q", from, to]));
}

/// A place, a registry with one image whose tag is v1, the layout that it was filled from, and the
/// image's digest.
fn filled() -> Option<(Place, Registry, Layout, String)> {
    let place = Place::new()?;
    let registry = Registry::start(&place, "")?;
    let (layout, digest) = one_image(&place.dir.join("layout"));
    registry.fill(&layout, "v1", &[]);
    Some((place, registry, layout, digest))
}

#[test]
fn every_source_gives_the_same_bytes() {
    let Some((place, registry, layout, digest)) = filled() else {
        return;
    };
    let at = |name: &str| place.dir.join(name);
    let (archive, saved) = (at("archive.tar"), at("saved.tar"));
    copy(
        "oci:layout:v1"
            .replace("layout", layout.0.as_str())
            .as_str(),
        &format!("oci-archive:{archive}:v1"),
    );
    copy(
        &format!("oci:{}:v1", layout.0),
        &format!("docker-archive:{saved}:team/box:v1"),
    );
    let sum = made(&place, &mut make(&place, "oci:layout", &[]));
    for source in [
        "./layout",
        "oci:layout:v1",
        "archive.tar",
        "oci-archive:archive.tar",
        "oci-archive:archive.tar:v1",
        "saved.tar",
        "docker-archive:saved.tar",
        "docker-archive:saved.tar:team/box:v1",
    ] {
        assert_eq!(
            made(&place, &mut make(&place, source, &[])),
            sum,
            "{source}"
        );
    }
    for name in [":v1", &format!("@{digest}"), &format!(":gone@{digest}")] {
        fs_err::remove_dir_all(at("target")).unwrap_or_default();
        assert_eq!(
            made(&place, &mut registry.pull(&place, name)),
            sum,
            "{name}"
        );
        // Three layers, a manifest, a configuration.
        assert_eq!(cached(&place), 5);
    }
    // The cache is a folder of blobs as skopeo knows it.
    let index = fs_err::read(layout.0.join("index.json")).unwrap();
    place.write("bare/index.json", index);
    place.write("bare/oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#);
    let mut bare = make(&place, "oci:bare", &["--blob-dir", "target/registry"]);
    assert_eq!(made(&place, &mut bare), sum);
}

#[test]
fn an_ordinary_user_needs_nothing_else() {
    use std::os::unix::process::CommandExt;
    if !is_root() {
        return skipped("making the image as another user takes root").unwrap_or_default();
    }
    let Some((place, registry, _, _)) = filled() else {
        return;
    };
    let sum = made(&place, &mut registry.pull(&place, ":v1"));
    fs_err::remove_dir_all(place.dir.join("target")).unwrap();
    content(Command::new("chown").args(["-R", "65534:65534", place.dir.as_str()]));
    // The program may be in a folder that only root can enter.
    let program = place.dir.join("program");
    let mut pull = registry.pull(&place, ":v1");
    fs_err::copy(pull.get_program().to_str().unwrap(), &program).unwrap();
    let mut own = Command::new(&program);
    own.args(pull.get_args())
        .current_dir(&place.dir)
        .env_clear();
    own.envs(
        pull.env("TMPDIR", &place.tmp)
            .get_envs()
            .filter_map(|(n, v)| Some((n, v?))),
    );
    own.uid(65534).gid(65534);
    assert_eq!(made(&place, &mut own), sum);
}

#[test]
fn an_index_gives_the_machines_platform() {
    let Some(place) = Place::new() else { return };
    let Some(registry) = Registry::start(&place, "") else {
        return;
    };
    let layout = Layout::new(&place.dir.join("layout"));
    let both = [
        image(&layout, "amd64", "one"),
        image(&layout, "arm64", "two"),
    ];
    let mut index = document(
        &layout,
        INDEX,
        json!({"schemaVersion": 2, "manifests": both}),
    );
    index["annotations"] = json!({"org.opencontainers.image.ref.name": "both"});
    layout.index(&[index]);
    registry.fill(&layout, "both", &["--all"]);
    let (alone, _) = one_image(&place.dir.join("alone"));
    let sum = made(&place, &mut make(&place, &format!("oci:{}", alone.0), &[]));
    assert_eq!(made(&place, &mut registry.pull(&place, ":both")), sum);
    // The index, and of one image: the manifest, the configuration and three layers.
    assert_eq!(cached(&place), 6);
    let only = [image(&layout, "arm64", "two")];
    let mut index = document(
        &layout,
        INDEX,
        json!({"schemaVersion": 2, "manifests": only}),
    );
    index["annotations"] = json!({"org.opencontainers.image.ref.name": "arm"});
    layout.index(&[index]);
    registry.fill(&layout, "arm", &["--all"]);
    insta::assert_snapshot!(refused(&place, &registry.host, &mut registry.pull(&place, ":arm")), @"error: reading the container image docker://[HOST]/team/box:arm: it holds no image for linux/amd64, only for linux/arm64; hint: give the architecture with --arch and a newer variant of it with --variant, or fetch the image for this one (1)");
}

#[test]
fn what_a_registry_does_not_have_is_said() {
    let Some((place, registry, _, _)) = filled() else {
        return;
    };
    let none = format!("@sha256:{}", "0".repeat(64));
    insta::assert_snapshot!(refused(&place, &registry.host, &mut registry.pull(&place, ":v2")), @"error: pulling docker://[HOST]/team/box:v2: [HOST] has no image of that name (manifest unknown); hint: check the name and the tag; if the repository is private, log in first: `docker login [HOST]` or `podman login [HOST]` (2)");
    insta::assert_snapshot!(refused(&place, &registry.host, &mut registry.pull(&place, &none)), @"error: pulling docker://[HOST]/team/box@sha256:[SHA256]: [HOST] has no image of that name (manifest unknown); hint: check the name and the tag; if the repository is private, log in first: `docker login [HOST]` or `podman login [HOST]` (2)");
    insta::assert_snapshot!(refused(&place, &registry.host, &mut registry.pull(&place, "x:v1")), @"error: pulling docker://[HOST]/team/boxx:v1: [HOST] has no image of that name (manifest unknown); hint: check the name and the tag; if the repository is private, log in first: `docker login [HOST]` or `podman login [HOST]` (2)");
    // Plain HTTP is not used unless it is allowed, not even to this machine.
    let source = format!("docker://{}/team/box:v1", registry.host);
    insta::assert_snapshot!(refused(&place, &registry.host, &mut make(&place, &source, &[])), @"error: pulling docker://[HOST]/team/box:v1: [HOST] does not speak HTTPS: received corrupt message of type InvalidContentType; hint: if it only speaks plain HTTP and you trust the network, use --insecure-registry [HOST] (2)");
    let host = registry.host.clone();
    drop(registry);
    let mut pull = make(&place, &source, &["--insecure-registry", &host]);
    insta::assert_snapshot!(refused(&place, &host, &mut pull), @"error: pulling docker://[HOST]/team/box:v1: [HOST] cannot be reached: io: Connection refused (os error 111); hint: check the name of the registry and the network (and HTTPS_PROXY, if it is behind one) (1)");
    assert_eq!(cached(&place), 0);
}

/// `me:open sesame`, as htpasswd(1) writes it with bcrypt at its lowest cost.
const HTPASSWD: &str = "me:$2y$04$Tz9qUG0z7YTB9OlcxpkoReS9Dyl4HWVhusiOelNMDq.tonZaXIzWa\n";

#[test]
fn a_password_opens_the_registry() {
    let Some(place) = Place::new() else { return };
    let file = place.write("htpasswd", HTPASSWD);
    let auth = format!("auth: {{htpasswd: {{realm: test, path: {file}}}}}\n");
    let Some(registry) = Registry::start(&place, &auth) else {
        return;
    };
    let (layout, _) = one_image(&place.dir.join("layout"));
    registry.fill(&layout, "v1", &["--dest-creds", "me:open sesame"]);
    let logins = |user: &str| -> Utf8PathBuf {
        use base64::Engine as _;
        let auth = base64::engine::general_purpose::STANDARD.encode(user);
        let json = json!({"auths": {&registry.host: {"auth": auth}}});
        place.write("auth.json", json.to_string())
    };
    let pull = |user: &str| {
        let mut pull = registry.pull(&place, ":v1");
        pull.env("REGISTRY_AUTH_FILE", logins(user));
        pull
    };
    made(&place, &mut pull("me:open sesame"));
    assert_eq!(names(&place.dir.join("target/registry/sha256")).len(), 5);
    insta::assert_snapshot!(refused(&place, &registry.host, &mut pull("me:wrong")), @r#"error: pulling docker://[HOST]/team/box:v1: [HOST] refused the login of "me" from [DIR]/auth.json; hint: log in again with `docker login [HOST]` or `podman login [HOST]` (2)"#);
    let mut nobody = registry.pull(&place, ":v1");
    insta::assert_snapshot!(refused(&place, &registry.host, &mut nobody), @"error: pulling docker://[HOST]/team/box:v1: [HOST] wants a login, and there is none for it; hint: log in with `docker login [HOST]` or `podman login [HOST]` (2)");
}

#[test]
fn a_company_has_its_own_authority() {
    let Some(place) = Place::new() else { return };
    let Some(mut openssl) = program("openssl", "openssl") else {
        return;
    };
    let at = |name: &str| place.dir.join(name).into_string();
    let new = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
    ];
    let more = ["-nodes", "-days", "2", "-subj", "/CN=test"];
    let (ca, ca_key) = (at("authority/ca.crt"), at("ca.key"));
    place.write("authority/none", "");
    let authority = ["-keyout", &ca_key, "-out", &ca];
    content(openssl.args(new).args(more).args(authority));
    let (leaf, key) = (at("leaf.pem"), at("leaf.key"));
    let mut openssl = Command::new("openssl");
    let signed = [
        "-CA", &ca, "-CAkey", &ca_key, "-keyout", &key, "-out", &leaf,
    ];
    let names = [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=CA:FALSE",
    ];
    content(openssl.args(new).args(more).args(signed).args(names));
    let tls = format!("http: {{addr: 127.0.0.1:0, tls: {{certificate: {leaf}, key: {key}}}}}\n");
    let Some(registry) = Registry::with(&place, &tls) else {
        return;
    };
    let host = registry.host.as_str();
    let (layout, _) = one_image(&place.dir.join("layout"));
    let mut skopeo = checker(Tool::Skopeo).unwrap();
    content(
        skopeo
            .args([
                "--insecure-policy",
                "copy",
                "-q",
                "--dest-cert-dir",
                &at("authority"),
            ])
            .arg(format!("oci:{}:v1", layout.0))
            .arg(format!("docker://{host}/team/box:v1")),
    );
    let source = format!("docker://{host}/team/box:v1");
    let pull = || {
        let mut pull = make(&place, &source, &[]);
        pull.env_remove("SSL_CERT_FILE");
        pull
    };
    insta::assert_snapshot!(refused(&place, host, &mut pull()), @"error: pulling docker://[HOST]/team/box:v1: the certificate of [HOST] was refused: invalid peer certificate: UnknownIssuer; hint: if its authority is not a public one, put the certificate of the authority into ~/.config/containers/certs.d/[HOST]/ca.crt, or name a file with all authorities in SSL_CERT_FILE (1)");
    let sum = made(&place, pull().env("SSL_CERT_FILE", &ca));
    fs_err::remove_dir_all(place.dir.join("target")).unwrap();
    let certificate = fs_err::read(&ca).unwrap();
    place.write(
        &format!("home/.config/containers/certs.d/{host}/ca.crt"),
        certificate,
    );
    assert_eq!(made(&place, &mut pull()), sum);
    assert_eq!(sum, made(&place, &mut make(&place, "oci:layout", &[])));
}

#[test]
fn a_source_of_another_kind_is_said() {
    let Some(place) = Place::new() else { return };
    one_image(&place.dir.join("layout"));
    let line = |source: &str, more: &[&str]| refused(&place, "[]", &mut make(&place, source, more));
    let name = ["--image-name", "v1"];
    insta::assert_snapshot!(line("oci:good.tar", &[]), @"error: good.tar is a file, but oci: means a folder; hint: write oci-archive:good.tar for an OCI layout in a tar, docker-archive:good.tar for what `docker save` writes (2)");
    insta::assert_snapshot!(line("oci-archive:layout", &[]), @"error: layout is a folder, but oci-archive: means a file; hint: write oci:layout for the folder of an OCI layout (2)");
    insta::assert_snapshot!(line("docker-archive:good.tar", &[]), @"error: good.tar is a tar, but not one of a container image, which docker-archive: means; hint: if it is a tar of a root file system, write --from good.tar (2)");
    insta::assert_snapshot!(line("oci:none", &[]), @"error: opening the container image none: No such file or directory (os error 2); hint: check the path; the name of an image in it comes after a colon (2)");
    insta::assert_snapshot!(line("oci:layout:v2", &[]), @r#"error: reading the container image layout: none of its images is called "v2"; there are: v1; hint: pick one with --image-name NAME: its name, tag or digest (1)"#);
    insta::assert_snapshot!(line("oci:layout:v1", &name), @"error: --image-name does not fit --from oci:layout:v1: that already names the image; hint: give the name once (2)");
    insta::assert_snapshot!(line("docker://registry.example/web", &name), @"error: --image-name does not fit --from docker://registry.example/web:latest: that already names the image; hint: give the name once (2)");
    insta::assert_snapshot!(line("docker://registry.example/web", &["--blob-dir", "x"]), @"error: --blob-dir does not fit --from docker://registry.example/web:latest: that is a registry; hint: leave it out (2)");
    insta::assert_snapshot!(line("oci:layout", &["--insecure-registry", "x"]), @"error: --insecure-registry does not fit --from oci:layout: that is not a registry; hint: leave it out, or write docker://HOST/REPOSITORY:TAG (2)");
    insta::assert_snapshot!(line("docker://localhost/web", &["--insecure-registry", "http://x"]), @r#"error: --insecure-registry "http://x" is not a host name with an optional port; hint: write it as in the name of the image, e.g. localhost:5000 (2)"#);
    insta::assert_snapshot!(line("nginx:1.27", &[]), @"error: opening the root file system nginx:1.27: No such file or directory (os error 2); hint: for an image in a registry, write docker://nginx:1.27; to build on an image with an engine, use --container nginx:1.27 (2)");
    insta::assert_snapshot!(line("docker:nginx", &[]), @r#"error: --from "docker:nginx" lacks the slashes after `docker:`; hint: write docker://nginx, or ./docker:nginx for a file of that name (2)"#);
}
