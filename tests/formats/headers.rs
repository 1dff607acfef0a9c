//! Our headers and tables, compared byte for byte with those of qemu-img.

use super::disk::Disk;
use super::{MIB, checker, options, qemu_img, write};
use docker_to_linux::model::Format;
use std::fs;
use std::path::Path;

/// An image of 100 MiB and some that qemu-img makes, and ours of the same (empty) disk.
fn both_empty(
    checker: &Path,
    size: u64,
    format: Format,
    qemu: &str,
    more: &str,
) -> (Vec<u8>, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let ours = dir.path().join(format!("test.{}", format.extension()));
    write(
        &Disk {
            size,
            extents: Vec::new(),
        },
        format,
        &ours,
        &options(),
        None,
    );
    let ours = fs::read(&ours).unwrap();
    let theirs = dir.path().join(format!("test.{}", format.extension()));
    let text = size.to_string();
    let path = theirs.to_str().unwrap();
    let mut args = vec!["create", "-q", "-f", qemu, path, &text];
    if !more.is_empty() {
        args.splice(4..4, ["-o", more]);
    }
    qemu_img(checker, &args, "create");
    (ours, fs::read(&theirs).unwrap())
}

/// Fails unless two structures agree but for the fields named, as (first byte, length, why).
fn agree(what: &str, ours: &[u8], theirs: &[u8], differ: &[(usize, usize, &str)]) {
    for (at, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let excused = differ
            .iter()
            .any(|(from, len, _)| (*from..from + len).contains(&at));
        assert!(
            excused || a == b,
            "{what}: byte {at:#x} is {a:#04x}, in qemu-img's {b:#04x}"
        );
    }
}

/// Where a specification leaves no choice, our bytes are qemu-img's. Where it does, the
/// difference is listed here.
#[test]
fn headers_agree_with_those_of_qemu_img() {
    let Some(checker) = checker() else { return };
    let size = 100 * MIB + 512;

    let (ours, theirs) = both_empty(&checker, size, Format::Qcow2, "qcow2", "");
    let places = [(
        40,
        8,
        "place of the L1 table: before the data, not behind a refcount block",
    )];
    agree("qcow2", &ours[..0x400], &theirs[..0x400], &places);

    let (ours, theirs) = both_empty(&checker, size, Format::Vmdk, "vmdk", "");
    agree("vmdk", &ours[..512], &theirs[..512], &[]);
    agree("vmdk tables", &ours[21 * 512..], &theirs[21 * 512..], &[]);
    assert_eq!(ours.len(), theirs.len());
    let text = |file: &[u8]| {
        let text = String::from_utf8(file[512..21 * 512].to_vec()).unwrap();
        // QEMU's CID is random and has no leading zeros, so the padding differs.
        let lines = text.trim_end_matches('\0').lines();
        let lines = lines.filter(|l| !l.starts_with("CID="));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(text(&ours), text(&theirs));

    let (ours, theirs) = both_empty(&checker, size, Format::Vdi, "vdi", "");
    let choices = [
        (0, 0x40, "who wrote it"),
        (
            0x48,
            4,
            "length of the header: VirtualBox's has a geometry more",
        ),
        (0x158, 4, "place of the data: aligned to 1 MiB"),
        (0x188, 32, "UUIDs"),
        (0x1c8, 16, "that geometry"),
    ];
    agree("vdi", &ours[..512], &theirs[..512], &choices);
    let free = [(512, 101 * 4, "blocks that are zero, instead of undefined")];
    agree(
        "vdi map",
        &ours[..1024],
        &theirs[..1024],
        &[&choices[..], &free].concat(),
    );

    let (ours, theirs) = both_empty(&checker, size, Format::Vhd, "vpc", "force_size=on");
    let footer = [
        (24, 4, "time"),
        (56, 4, "geometry: as the specification computes it"),
        (64, 4, "sum"),
        (68, 16, "id"),
    ];
    agree(
        "vhd",
        &ours,
        &theirs,
        &[&footer[..], &[(2072, 4, ""), (2104, 28, "")]].concat(),
    );
    assert_eq!(ours.len(), theirs.len());
    // A disk that has an exact geometry: then qemu-img computes it too.
    let exact = 964 * 8 * 17 * 512;
    let (ours, theirs) = both_empty(&checker, exact, Format::Vhd, "vpc", "");
    let footer = [
        (24, 4, "time"),
        (28, 4, "creator: the size counts"),
        (64, 4, "sum"),
        (68, 16, "id"),
    ];
    agree("vhd geometry", &ours[..1536], &theirs[..1536], &footer);
    let whole = 100 * MIB;
    let (ours, theirs) = both_empty(
        &checker,
        whole,
        Format::VhdFixed,
        "vpc",
        "subformat=fixed,force_size=on",
    );
    assert_eq!(ours.len(), theirs.len());
    let at = ours.len() - 512;
    let footer = [
        (24, 4, "time"),
        (56, 4, "geometry"),
        (64, 4, "sum"),
        (68, 16, "id"),
    ];
    agree("fixed vhd", &ours[at..], &theirs[at..], &footer);

    let (ours, theirs) = both_empty(&checker, size, Format::Vhdx, "vhdx", "block_size=1M");
    let kib = 1 << 10;
    let mib = 1 << 20;
    let header = [(4, 12, "sum, sequence number"), (16, 32, "ids")];
    // 2.2.3.2 wants both regions marked as required, which QEMU does not do.
    let required = "required";
    let regions = [(4, 4, "sum"), (44, 4, required), (76, 4, required)];
    for (name, at, len, choices) in [
        ("vhdx signature", 0, 8, &[][..]),
        ("vhdx header 1", 64 * kib, 4 * kib, &header),
        ("vhdx header 2", 128 * kib, 4 * kib, &header),
        ("vhdx regions 1", 192 * kib, 64 * kib, &regions),
        ("vhdx regions 2", 256 * kib, 64 * kib, &regions),
        ("vhdx table", 2 * mib, mib, &[]),
        ("vhdx metadata", 3 * mib, 64 * kib, &[]),
        (
            "vhdx items",
            3 * mib + 64 * kib,
            kib,
            &[(16, 16, "id"), (36, 4, "physical sector")],
        ),
    ] {
        agree(name, &ours[at..at + len], &theirs[at..at + len], choices);
    }
}
