//! Where the fuzzing begins: small inputs of every kind that people and attackers have sent.

use crate::parts::MARK;
use crate::{disk, machine, tars};
use docker_to_linux::build::Assembly;
use docker_to_linux::deliver::manifest::Manifest;
use docker_to_linux::format::Sink;
use std::io;
use std::path::Path;

/// Writes every seed into `dir`.
pub(crate) fn write(dir: &Path) {
    let _ = std::fs::create_dir_all(dir);
    for (name, bytes) in all() {
        if let Err(e) = std::fs::write(dir.join(&name), bytes) {
            panic!("writing the seed {name}: {e}");
        }
    }
}

/// An entry of a tar.
fn entry(kind: u8, name: &str, link: &str, mode: u32, body: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &[u8]| {
        let n = text.len().min(512 - at);
        header[at..at + n].copy_from_slice(&text[..n]);
    };
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{:011o}", body.len()).as_bytes());
    put(136, b"14543437000");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    tars::sum(&mut header);
    let mut out = header.to_vec();
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn file(name: &str, body: &[u8]) -> Vec<u8> {
    entry(b'0', name, "", 0o644, body)
}

fn folder(name: &str, mode: u32) -> Vec<u8> {
    entry(b'5', name, "", mode, b"")
}

fn link(name: &str, to: &str) -> Vec<u8> {
    entry(b'2', name, to, 0o777, b"")
}

/// A PAX header (`x` for the next entry, `g` for all) with these records.
fn pax(kind: u8, records: &[&str]) -> Vec<u8> {
    let body: Vec<u8> = records
        .iter()
        .flat_map(|r| tars::record(r.as_bytes()))
        .collect();
    entry(kind, "pax", "", 0o644, &body)
}

/// An EFI program or kernel: DOS and PE headers (PE format, "COFF File Header"), and what a
/// kernel for PCs has at the end of its first sector (Linux, Documentation/arch/x86/boot.rst).
pub(crate) fn pe(machine: u16) -> Vec<u8> {
    let mut out = vec![0; 4096];
    out[..2].copy_from_slice(b"MZ");
    out[0x3c] = 0x80;
    out[0x80..0x84].copy_from_slice(b"PE\0\0");
    out[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
    out[0x1fe..0x206].copy_from_slice(b"\x55\xaa\xeb\x66HdrS");
    out[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    out[0x236] = 1;
    out
}

/// The start of a program for 64-bit PCs (ELF-64 Object File Format, "ELF Header").
fn elf() -> Vec<u8> {
    let mut out = vec![0; 128];
    out[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
    (out[16], out[18], out[20]) = (2, 62, 1);
    out
}

/// The least that is a machine, as a tar.
pub(crate) fn machine() -> Vec<u8> {
    let mut out = Vec::new();
    for name in [
        "./",
        "boot",
        "dev",
        "etc",
        "etc/systemd",
        "etc/systemd/system",
        "lib",
        "lib/modules",
        "lib/modules/6.1",
        "proc",
        "root",
        "run",
        "sbin",
        "sys",
        "usr",
        "usr/lib",
        "usr/lib/systemd",
        "usr/lib/systemd/system",
        "usr/bin",
        "var",
    ] {
        out.extend(folder(name, 0o755));
    }
    out.extend(folder("tmp", 0o1777));
    out.extend(entry(b'0', "usr/lib/systemd/systemd", "", 0o755, &elf()));
    out.extend(entry(b'0', "usr/bin/sh", "", 0o755, &elf()));
    out.extend(link("sbin/init", "/usr/lib/systemd/systemd"));
    out.extend(link("bin", "usr/bin"));
    out.extend(file("boot/vmlinuz-6.1", &pe(0x8664)));
    out.extend(file("boot/initrd.img-6.1", b"\x1f\x8b initrd"));
    out.extend(file("etc/os-release", b"ID=mini\nPRETTY_NAME=\"Mini\"\n"));
    out.extend(file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"));
    out.extend(file("etc/group", b"root:x:0:\n"));
    out.extend(file("etc/shadow", b"root:*:19000:0:99999:7:::\n"));
    out
}

/// Parts of tars that went wrong once.
fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let mut blank = file("etc/blank", b"a=1\n");
    blank[100..124].fill(b' ');
    let mut base256 = file("big-uid", b"");
    base256[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    // GNU's old sparse header: offset and length at 386, the real size at 483.
    let mut sparse = entry(b'S', "sparse", "", 0o644, b"data");
    sparse[257..265].copy_from_slice(b"ustar  \0");
    sparse[386..397].copy_from_slice(b"00000001000");
    sparse[398..409].copy_from_slice(b"00000000004");
    sparse[483..494].copy_from_slice(b"00000020000");
    let map = "GNU.sparse.map=0,4,77777777777777,0";
    vec![
        ("modes", [folder("./", 0o700), folder("tmp", 0o755), folder("var/tmp", 0o755)].concat()),
        ("links", [link("tmp", "/data"), folder("data", 0o755), file("data/x", b"x"), entry(b'1', "hard", "data/x", 0o644, b""), link("loop", "loop/a")].concat()),
        ("fstab", file("etc/fstab", b"LABEL=r / ext4 defaults 0 1\nUUID=1 /boot/efi vfat umask=0077 0 1\nUUID=2 none swap sw 0 0\n/a\\040b /c bind bind\n")),
        ("hosts", [file("etc/hosts", b"# nothing\n"), link("etc/resolv.conf", "/run/x"), file("etc/inittab", b"ttyS0::respawn:/sbin/getty\n")].concat()),
        ("accounts", [file("etc/shadow", b"root:$6$a$b:1:0:::::\nx::\n::::\n"), file("etc/passwd", b"root:x:0:0::/:\nu:x:4294967295:1000:,,,:/home/u:/bin/sh\n+\n"), file("etc/gshadow", b"root:*::\n"), file("etc/subuid", b"u:100000:65536\n")].concat()),
        ("pax", [pax(b'x', &["path=a/b\x1b[2J", "uid=4294967295", "mtime=-1.5", "SCHILY.xattr.security.capability=\x01\0\0\x02", "SCHILY.acl.access=user::rwx,user:33:r-x,group::r-x,mask::r-x,other::---", "RHT.security.selinux=a:b:c:s0", "LIBARCHIVE.xattr.x=AQIA"]), file("y", b"y")].concat()),
        ("globals", [pax(b'g', &["linkpath=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "uname=x"]), file("a", b""), file("b", b""), link("c", "")].concat()),
        ("sparse-old", sparse),
        ("sparse-0.1", [pax(b'x', &["GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.size=17592186044416", map, "GNU.sparse.name=s"]), file("s", b"data")].concat()),
        ("sparse-1.0", [pax(b'x', &["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.realsize=9223372036854775807", "GNU.sparse.name=boot/initrd.img-6.1"]), file("s", b"2\n0\n4\n9223372036854775807\n0\n")].concat()),
        ("long", [entry(b'L', "././@LongLink", "", 0, &[b'a'; 300]), file("short", b""), entry(b'K', "././@LongLink", "", 0, &[b'b'; 300]), link("k", "s")].concat()),
        ("deep", [file(&"d/".repeat(45), b""), file("../up", b""), file("/abs", b""), file("a\u{9b}b", b"")].concat()),
        ("devices", [entry(b'3', "dev/null", "", 0o666, b""), entry(b'6', "fifo", "", 0o600, b""), entry(b'7', "contiguous", "", 0o644, b""), entry(b'M', "multi", "", 0, b"")].concat()),
        ("whiteouts", [file(".wh.etc", b""), file("usr/.wh..wh..opq", b""), file(".wh..", b"")].concat()),
        ("kernels", [file("boot/vmlinux-6.1", &elf()), file("boot/vmlinuz-6.2\x1b[2J x", &pe(0xaa64)), folder("lib/modules/6.2", 0o755)].concat()),
        ("units", [file("etc/systemd/system/a.service", b"[Service]\nExecStart=/bin/a\n[Install]\nWantedBy=multi-user.target\n"), link("etc/systemd/system/getty.target", "/dev/null"), file("usr/sbin/policy-rc.d", b"exit 101\n"), file(".dockerenv", b"")].concat()),
        ("packages", [file("var/lib/dpkg/status", b"Package: a\nStatus: install ok installed\nVersion: 1:2\n\n"), file("lib/apk/db/installed", b"P:a\nV:1\n\n")].concat()),
        ("lost", [folder("lost+found", 0o700), file("lost+found/#1", b"x")].concat()),
        ("blank", [blank, base256].concat()),
    ]
}

const RECIPE: &str = "name: box\ndescription: A box\nbase: debian:12\nbuild-args: {A: b}\narchitectures: [amd64]\nsize: 8G\nboot: hybrid\nformats: [raw, qcow2]\nhostname: box\ntimezone: Europe/Berlin\nlocale: C.UTF-8\nswap: 64M\nroot: {free: 16M, grow: true, mount-options: [noatime]}\nserial-console: {port: ttyS0, baud: 115200}\nusers:\n  - {name: u, uid: 4294967295, groups: [sudo]}\nsmoke: {run: [\"true\"], timeout: 60}\n";
const CONFIG: &str = r#"{"User":"33:33","Env":["A=b c","PATH=/usr/bin"],"Entrypoint":["/entry"],"Cmd":["/sbin/init","--x"],"StopSignal":"SIGRTMIN+3","WorkingDir":"/srv","ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}},"Healthcheck":{"Test":["CMD","true"]}}"#;

/// Every seed, with a name for its file.
fn all() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |reader: u8, switches: u8, name: &str, parts: &[&[u8]]| {
        let mut bytes = vec![reader, switches];
        bytes.extend(parts.join(MARK));
        seeds.push((format!("{reader}-{switches}-{name}"), bytes));
    };
    let base = machine();
    add(0, 0, "machine", &[&base]);
    add(1, 0, "machine", &[&base, &base]);
    for (name, case) in cases() {
        add(0, 0, name, &[&case]);
        add(0, 3, name, &[&case]);
        add(1, 0, name, &[&base, &case]);
        add(6, 0, name, &[b"root: {free: 1M}\n", b"", &case]);
    }
    add(
        6,
        0,
        "service",
        &[b"root: {free: 1M}\nservice: auto\n", CONFIG.as_bytes()],
    );
    add(6, 0, "recipe", &[RECIPE.as_bytes(), CONFIG.as_bytes()]);
    let config = r#"{"architecture":"amd64","os":"linux","created":"0001-01-01T00:00:00Z","config":{"Cmd":["x"],"Labels":{"io.docker-to-linux.machine.name":"box","io.docker-to-linux.machine.settings":"{}","io.docker-to-linux.size":"8G"}},"rootfs":{"type":"layers","diff_ids":["~0","~1"]}}"#;
    let manifest = r##"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"@2","size":"#2"},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"@0","size":"#0"},{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"@1","size":"#1"}]}"##;
    let index = r##"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"@3","size":"#3","platform":{"architecture":"amd64","os":"linux","variant":"v2"},"annotations":{"org.opencontainers.image.ref.name":"x"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/spdx+json","digest":"@2","size":"#2"}]}"##;
    for (name, case) in cases() {
        let texts = [config, manifest, index].map(str::as_bytes);
        for switches in [0, 4] {
            add(
                2,
                switches,
                name,
                &[&base, &case, texts[0], texts[1], texts[2]],
            );
        }
    }
    add(3, 0, "recipe", &[RECIPE.as_bytes()]);
    add(
        3,
        0,
        "aliases",
        &[b"a: &a [x, x]\nb: &b [*a, *a]\nformats: [*b]\n\"k\\e[2J\": 1\n"],
    );
    let mut parts = b"root: {free: 1M}\n".to_vec();
    parts.extend_from_slice(MARK);
    let Some(assembly) = machine::assembled(0, &parts) else {
        panic!("the seed of a machine is none");
    };
    let disk = runs(&assembly);
    let told = manifest_of(&assembly);
    add(
        4,
        0,
        "manifest",
        &[
            &told,
            b"0000000000000000000000000000000000000000000000000000000000000000  ../../etc/passwd\n",
            &disk,
        ],
    );
    add(5, 0, "disk", &[&disk]);
    seeds
}

/// A manifest, with the disk's digest and size to be filled in.
fn manifest_of(assembly: &Assembly) -> Vec<u8> {
    let mut json =
        serde_json::to_value(Manifest::new(&assembly.plan, None, None)).unwrap_or_default();
    json["disk"]["size"] = "#0".into();
    json["packages"] = serde_json::json!({"file": "../x", "format": "SPDX-2.3", "count": 1});
    let artifact = |file: &str, format: &str| {
        serde_json::json!({"file": file, "format": format, "compression": "none", "packing": null,
            "size": "#0", "sha256": "%0", "bmap": "box.bmap", "parts": []})
    };
    json["artifacts"] = vec![artifact("box.img", "raw"), artifact("box.img", "vdi")].into();
    serde_json::to_vec_pretty(&json).unwrap_or_default()
}

/// The runs of a disk that we make ourselves.
fn runs(assembly: &Assembly) -> Vec<u8> {
    struct Runs(Vec<u8>);
    impl Sink for Runs {
        fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            for (n, sector) in bytes.chunks(disk::SECTOR).enumerate() {
                let at = offset / disk::SECTOR as u64 + n as u64;
                // Enough for the tables and the start of each file system.
                if sector.iter().any(|b| *b != 0) && self.0.len() < 128 << 10 {
                    let mut whole = sector.to_vec();
                    whole.resize(disk::SECTOR, 0);
                    self.0
                        .extend(disk::run(u32::try_from(at).unwrap_or(0), &whole));
                }
            }
            Ok(())
        }
        fn zeros(&mut self, _: u64, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn finish(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut runs = Runs(Vec::new());
    let _ = assembly.write(&mut runs, &|_| ());
    assert!(!runs.0.is_empty(), "the seed of a disk is none");
    runs.0
}
