//! What firmware reads: partition tables, boot code, the ESP.

use super::For::{All, Bios, Uefi};
use super::{Case, case, lesser};

pub const TABLES: &[Case] = &[
    case(
        "no boot code",
        "boot-code-missing",
        "no boot code",
        Bios,
        |b| b.write(0, &[0; 440]),
    ),
    case("no signature", "boot-signature", "55 AA", Bios, |b| {
        b.write(510, &[0; 2])
    }),
    case(
        "both tables with a wrong checksum",
        "table-damaged",
        "both copies",
        All,
        |b| {
            for at in b.headers() {
                b.flip(at + 56);
            }
        },
    ),
    lesser(
        "the first table with a wrong checksum",
        "table-primary",
        "the checksum of its header",
        All,
        |b| b.flip(512 + 56),
    ),
    lesser(
        "the first table with a wrong entry",
        "table-primary",
        "the checksum of its entries",
        All,
        |b| b.flip(1024 + 56),
    ),
    case(
        "a kernel that does not take the backup",
        "table-primary",
        "lacks the kernel argument `gpt`",
        All,
        |b| {
            b.configure(" gpt ", " ");
            b.flip(512 + 56);
        },
    ),
    lesser(
        "the backup of the table",
        "table-backup",
        "there is no header",
        All,
        |b| {
            let at = b.headers()[1];
            b.write(at, &[0; 512]);
        },
    ),
    case(
        "no partition for BIOS",
        "boot-partition",
        "no partition is marked",
        Bios,
        |b| b.entry(2, |e| e[48] = 0),
    ),
    case(
        "two partitions for BIOS",
        "boot-partition",
        "several partitions",
        Bios,
        |b| b.entry(1, |e| e[48] = 4),
    ),
    case(
        "no boot sector",
        "boot-sector-missing",
        "partition 2",
        Bios,
        |b| b.write(b.root, &[0; 512]),
    ),
    case(
        "an MBR that does not protect",
        "table-mbr",
        "no partition of type EE",
        Uefi,
        |b| b.write(450, &[0x0c]),
    ),
    case(
        "partitions that overlap",
        "table-overlap",
        "partition 2 begins before partition 1 ends",
        Uefi,
        |b| {
            b.entry(1, |e| {
                let end = u64::from_le_bytes(e[40..48].try_into().unwrap()) + 8;
                e[40..48].copy_from_slice(&end.to_le_bytes());
            });
        },
    ),
    lesser(
        "an ESP of another type",
        "esp-type",
        "not that of an EFI system partition",
        All,
        |b| b.entry(1, |e| e[0] ^= 0xff),
    ),
    case(
        "nothing that could start it",
        "nothing-to-start",
        "neither boot code nor",
        All,
        |b| {
            b.write(0, &[0; 440]);
            b.entry(1, |e| e[0] ^= 0xff);
            b.entry(2, |e| e[48] = 0);
        },
    ),
    case(
        "an ESP with nothing in it",
        "esp-damaged",
        "is empty",
        Uefi,
        |b| b.write(b.esp, &vec![0; 1 << 20]),
    ),
    case(
        "an ESP without its boot sector",
        "esp-damaged",
        "no FAT",
        Uefi,
        |b| b.write(b.esp, &[0; 512]),
    ),
];
