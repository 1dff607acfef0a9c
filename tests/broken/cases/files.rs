//! Image files: their formats, their names, their lengths.

use super::For::All;
use super::{Case, case};

pub const FILES: &[Case] = &[
    case(
        "a qcow2 of a version that does not exist",
        "format-damaged",
        "there is no version 9",
        All,
        |b| {
            b.convert("qcow2", &[], "NAME.qcow2");
            b.write(7, &[9]);
        },
    ),
    case(
        "a qcow2 whose tables are outside the file",
        "format-damaged",
        "outside the file",
        All,
        |b| {
            b.convert("qcow2", &[], "NAME.qcow2");
            b.write(40, &[0xff; 7]);
        },
    ),
    case(
        "a qcow2 that says it is corrupt",
        "format-damaged",
        "marked it as corrupt",
        All,
        |b| {
            b.convert("qcow2", &[], "NAME.qcow2");
            b.write(79, &[2]);
        },
    ),
    case(
        "a VHD without its end",
        "format-damaged",
        "truncated",
        All,
        |b| {
            b.convert("vhd", &[], "NAME.vhd");
            b.truncate(b.len() - 512);
        },
    ),
    case(
        "a VHD with a wrong header",
        "format-damaged",
        "second header",
        All,
        |b| {
            b.convert("vhd", &[], "NAME.vhd");
            b.flip(512 + 28);
        },
    ),
    case(
        "a VHDX without headers",
        "format-damaged",
        "both headers are damaged",
        All,
        |b| {
            b.convert("vhdx", &[], "NAME.vhdx");
            b.write(64 << 10, &[0; 4096]);
            b.write(128 << 10, &[0; 4096]);
        },
    ),
    case(
        "a VDI with blocks of no size",
        "format-damaged",
        "blocks of 0 bytes",
        All,
        |b| {
            b.convert("vdi", &[], "NAME.vdi");
            b.write(0x178, &[0; 4]);
        },
    ),
    case(
        "a VMDK for transport without its end",
        "format-damaged",
        "truncated",
        All,
        |b| {
            b.convert("vmdk-stream", &[], "NAME.stream.vmdk");
            b.truncate(b.len() / 2);
        },
    ),
    case(
        "a compressed image without its end",
        "format-damaged",
        "cannot be unpacked",
        All,
        |b| {
            b.convert("raw", &["--compress", "zstd"], "NAME.img.zst");
            b.truncate(b.len() / 2);
        },
    ),
    case(
        "a raw disk that is called a qcow2",
        "format-name",
        "its contents are raw",
        All,
        |b| b.rename("box.qcow2"),
    ),
    case(
        "half a disk",
        "disk-truncated",
        "it is truncated",
        All,
        |b| b.truncate(b.len() / 2),
    ),
];
