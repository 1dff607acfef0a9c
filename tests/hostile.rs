//! Malicious inputs: each ends with an error that says what is wrong, within 10 seconds of processor
//! time and 512 MiB of address space, and leaves no large file.

mod documents;

use crate::common::{self, Place, temp};
use camino::{Utf8Path, Utf8PathBuf};
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use tar::{Builder, EntryType, Header};

/// Address space in KiB and processor time in seconds, as `ulimit` takes them.
const BOUNDS: &str = "ulimit -v 524288 && ulimit -t 10 && exec \"$@\"";

/// One whose recipe says nothing.
fn place() -> Option<Place> {
    let place = Place::new()?;
    place.recipe("box", "");
    Some(place)
}

impl Place {
    /// What it said, and its exit code.
    fn plan_in_bounds(&self, from: &str, more: &[&str], stdin: Stdio) -> (String, Option<i32>) {
        let out = Command::new("sh")
            .args(["-c", BOUNDS, "sh", env!("CARGO_BIN_EXE_docker-to-linux")])
            .args(["-q", "plan", self.dir.join("box").as_str(), "--from", from])
            .args(["--bootloader-dir", self.dir.join("bootloader").as_str()])
            .args(["--output", self.dir.as_str()])
            .args(more)
            .stdin(stdin)
            .output()
            .unwrap();
        (common::said(&out), out.status.code())
    }

    /// The same for an input that must be refused for this reason.
    #[track_caller]
    fn refused(&self, from: &Utf8Path, more: &[&str], words: &[&str]) {
        let (said, code) = self.plan_in_bounds(from.as_str(), more, Stdio::null());
        check(&said, code, words);
        // The same through a pipe.
        if from.is_file() {
            let pipe = Stdio::from(File::open(from).unwrap());
            let (said, code) = self.plan_in_bounds("-", more, pipe);
            check(&said, code, words);
        }
    }

    /// A tar that is compressed while it is made.
    fn packed(&self, name: &str, fill: impl FnOnce(&mut Packed) -> io::Result<()>) -> Utf8PathBuf {
        let path = self.dir.join(name);
        let out = zstd::Encoder::new(File::create(&path).unwrap(), 1).unwrap();
        let mut tar = Builder::new(out);
        fill(&mut tar).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        let len = path.metadata().unwrap().len();
        assert!(len < 16 << 20, "{name} has {len} bytes");
        path
    }
}

type Packed = Builder<zstd::Encoder<'static, File>>;

#[track_caller]
fn check(said: &str, code: Option<i32>, words: &[&str]) {
    let end: String = said.chars().take(2000).collect();
    assert!(matches!(code, Some(1 | 2)), "{code:?}: {end}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {end}");
    }
    assert!(said.len() < 4000, "{} bytes: {end}", said.len());
}

fn put(tar: &mut Packed, kind: EntryType, path: &str, link: &str) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    let bytes = header.as_mut_bytes();
    bytes[..path.len()].copy_from_slice(path.as_bytes());
    bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    tar.append(&header, io::empty())
}

/// A PAX header: `x` for the next entry, `g` for all that follow.
fn pax(tar: &mut Packed, kind: u8, records: &[(String, Vec<u8>)]) -> io::Result<()> {
    let mut data = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while rest + len.to_string().len() != len {
            len = rest + len.to_string().len();
        }
        write!(data, "{len} {key}=")?;
        data.extend_from_slice(value);
        data.push(b'\n');
    }
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::new(kind));
    header.set_path("pax")?;
    header.set_size(data.len() as u64);
    header.set_cksum();
    tar.append(&header, data.as_slice())
}

fn record(key: &str, value: impl Into<Vec<u8>>) -> Vec<(String, Vec<u8>)> {
    vec![(key.to_owned(), value.into())]
}

#[test]
fn more_entries_than_make_sense() {
    let Some(p) = place() else { return };
    let folders = |many: u32| {
        p.packed("folders", |tar| {
            (0..many).try_for_each(|n| put(tar, EntryType::Directory, &format!("d/{n}"), ""))
        })
    };
    // So many are read within the bounds; what is missing is a machine.
    p.refused(&folders(300_000), &[], &["has no init"]);
    let folders = folders(400_000);
    let words = ["more than 35", "directories", "--max-entries"];
    p.refused(&folders, &[], &words);
    p.refused(
        &folders,
        &["--max-entries", "1000"],
        &["more than 1000 entries", "--max-entries"],
    );
    let files = p.packed("files", |tar| {
        (0..1_200_000).try_for_each(|n| put(tar, EntryType::Regular, &format!("f{n}"), ""))
    });
    p.refused(&files, &[], &["entries", "--max-entries"]);
    let names = p.packed("names", |tar| {
        put(tar, EntryType::Regular, "f", "")?;
        let long = "x".repeat(90);
        (0..1_000_000).try_for_each(|n| put(tar, EntryType::Link, &format!("{n}{long}"), "f"))
    });
    p.refused(&names, &[], &["entries", "--max-entries"]);
}

#[test]
fn paths_and_links_without_end() {
    let Some(p) = place() else { return };
    let deep = p.packed("deep", |tar| {
        pax(tar, b'x', &record("path", "a/".repeat(1_000_000)))?;
        put(tar, EntryType::Directory, "x", "")
    });
    p.refused(&deep, &[], &["2000000 bytes", "4095"]);
    // Each link leads further down than the last one.
    let deeper = p.packed("deeper", |tar| {
        put(tar, EntryType::Symlink, "l0", ".")?;
        for n in 0..100 {
            let path = format!("l{n}{}", "/a".repeat(1000));
            pax(tar, b'x', &record("path", path.clone()))?;
            put(tar, EntryType::Directory, "x", "")?;
            pax(tar, b'x', &record("linkpath", path))?;
            put(tar, EntryType::Symlink, &format!("l{}", n + 1), "")?;
        }
        Ok(())
    });
    p.refused(&deeper, &[], &["bytes, more than the 4095"]);
    // Each link leads twice over the next one, and 40 of them over long ways.
    let steps = p.packed("steps", |tar| {
        put(tar, EntryType::Directory, "d", "")?;
        let around = "d/../".repeat(800);
        for n in 0..38 {
            let target = match n {
                0 => format!("{around}d"),
                n => format!("{around}l{}", n - 1),
            };
            pax(tar, b'x', &record("linkpath", target))?;
            put(tar, EntryType::Symlink, &format!("l{n}"), "")?;
        }
        // In two folders by turns: the last one is remembered.
        let path = |n| format!("l{}/{n}", 36 + n % 2);
        (0..300_000).try_for_each(|n| put(tar, EntryType::Regular, &path(n), ""))
    });
    p.refused(&steps, &[], &["symbolic links", "steps"]);
    let doubled = p.packed("doubled", |tar| {
        for n in 0..60 {
            put(
                tar,
                EntryType::Symlink,
                &format!("l{n}"),
                &format!("l{0}/l{0}", n + 1),
            )?;
        }
        put(tar, EntryType::Directory, "l60", "")?;
        put(tar, EntryType::Regular, "l0/x", "")
    });
    p.refused(&doubled, &[], &["leads nowhere"]);
    let target = p.packed("target", |tar| {
        pax(tar, b'x', &record("linkpath", "x".repeat(5000)))?;
        put(tar, EntryType::Symlink, "long", "")
    });
    p.refused(&target, &[], &["long", "5000 bytes"]);
}

#[test]
fn metadata_for_every_entry() {
    let Some(p) = place() else { return };
    let link = p.packed("link", |tar| {
        pax(tar, b'g', &record("linkpath", "x".repeat(1_000_000)))?;
        (0..3000).try_for_each(|n| put(tar, EntryType::Symlink, &format!("l{n}"), ""))
    });
    p.refused(&link, &[], &["global PAX headers"]);
    let attribute = p.packed("attribute", |tar| {
        pax(
            tar,
            b'g',
            &record("SCHILY.xattr.user.x", "x".repeat(60_000)),
        )?;
        (0..100_000).try_for_each(|n| put(tar, EntryType::Regular, &format!("f{n}"), ""))
    });
    p.refused(&attribute, &[], &[]);
    let keys = |count: usize| -> Vec<(String, Vec<u8>)> {
        (0..count)
            .map(|n| (format!("k{n:x}"), vec![b'x']))
            .collect()
    };
    let globals = p.packed("globals", |tar| {
        (0..200).try_for_each(|_| pax(tar, b'g', &keys(100_000)))?;
        put(tar, EntryType::Regular, "f", "")
    });
    p.refused(&globals, &[], &["PAX header"]);
    let locals = p.packed("locals", |tar| {
        pax(tar, b'x', &keys(1_000_000))?;
        put(tar, EntryType::Regular, "f", "")
    });
    p.refused(&locals, &[], &["PAX header", "records"]);
    let sparse = p.packed("sparse", |tar| {
        for n in 0..20 {
            let runs: String = (0..900_000_u64).map(|n| format!("{},0,", n % 7)).collect();
            let mut records = record("GNU.sparse.size", "1000000000000");
            records.extend(record("GNU.sparse.map", runs.trim_end_matches(',')));
            pax(tar, b'x', &records)?;
            put(tar, EntryType::Regular, &format!("f{n}"), "")?;
        }
        Ok(())
    });
    p.refused(&sparse, &[], &["sparse map"]);
}

/// A tar that holds nothing but these zeros.
fn zeros(out: &mut impl Write, len: u64) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_path("zeros")?;
    header.set_size(len);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    out.write_all(header.as_bytes())?;
    io::copy(&mut io::repeat(0).take(len + 1024), out).map(drop)
}

#[test]
fn packing_around_packing() {
    let Some(p) = place() else { return };
    const SIZE: u64 = 3 << 30;
    let rootfs = p.dir.join("rootfs.tar.gz");
    let file = File::create(&rootfs).unwrap();
    let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    zeros(&mut gz, SIZE).unwrap();
    gz.finish().unwrap();
    let words = ["unpacks to more than", "--max-unpacked"];
    // Far more than the host's disk may have.
    p.refused(
        &rootfs,
        &["--max-unpacked", "100M"],
        &["more than 100 MiB", words[1]],
    );
    let small = p.dir.join("small.tar.zst");
    let mut zst = zstd::Encoder::new(File::create(&small).unwrap(), 1).unwrap();
    zeros(&mut zst, SIZE).unwrap();
    zst.finish().unwrap();
    p.refused(&small, &[], &words);
    // A layer in an archive that is compressed once more: the archive's own size is what counts.
    let mut layer = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zeros(&mut layer, SIZE).unwrap();
    let layer = layer.finish().unwrap();
    let mut archive = Builder::new(zstd::Encoder::new(Vec::new(), 3).unwrap());
    let id = common::oci::sha256(b"");
    for (name, bytes) in [
        (
            "config.json",
            format!("{{\"rootfs\": {{\"diff_ids\": [\"{id}\"]}}}}").into_bytes(),
        ),
        ("layer.tar", layer),
        (
            "manifest.json",
            br#"[{"Config": "config.json", "Layers": ["layer.tar"]}]"#.to_vec(),
        ),
    ] {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive
            .append_data(&mut header, name, bytes.as_slice())
            .unwrap();
    }
    let nested = p.dir.join("nested.tar.zst");
    fs_err::write(&nested, archive.into_inner().unwrap().finish().unwrap()).unwrap();
    p.refused(&nested, &[], &["unpack to more than 1", "--max-unpacked"]);
    // The size of a plain tar is not limited unless the user sets a limit.
    let plain = p.dir.join("plain.tar");
    zeros(&mut File::create(&plain).unwrap(), 2 << 20).unwrap();
    p.refused(
        &plain,
        &["--max-unpacked", "1M"],
        &["more than 1 MiB", "--max-unpacked"],
    );
}

#[test]
fn endless_files() {
    let Some(p) = place() else { return };
    let zero = || Stdio::from(File::open("/dev/zero").unwrap());
    let (said, code) = p.plan_in_bounds("/dev/zero", &[], Stdio::null());
    check(&said, code, &["is empty"]);
    let (said, code) = p.plan_in_bounds("-", &[], zero());
    check(&said, code, &["is empty"]);
    // Zeros without end behind a tar: its end is its end.
    let tar = p.dir.join("short.tar");
    common::write_tar(&[common::file("f", "x")], &mut File::create(&tar).unwrap());
    let mut cat = Command::new("cat")
        .args([tar.as_str(), "/dev/zero"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (said, code) = p.plan_in_bounds("-", &[], cat.stdout.take().unwrap().into());
    cat.wait().unwrap();
    check(&said, code, &[]);
}
