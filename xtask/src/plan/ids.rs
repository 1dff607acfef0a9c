//! IDs: reproducible, and different for different root file systems.

use super::Arch;
use uuid::Uuid;

/// Namespace of every ID made here. A UUID v5 of the project's name in the DNS namespace would
/// claim a domain, so this one was generated once and never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d1c_8a52_9f0e_5b7b_a3a4_0d7f_5e21_c9b6);

/// All IDs of an image. Each, except for those of the volumes, is a UUID v5 (RFC 9562, 5.5) of the
/// image's name, its architecture and the digest of its root file system: the same rootfs gives the
/// same IDs, and disks of machines from different builds can be attached to the same host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// ID of the image, for formats that have one.
    pub image: Uuid,
    /// UUID of the root file system.
    pub root: Uuid,
    /// GUID of the disk.
    pub disk: Uuid,
    /// GUID of the root partition.
    pub root_partition: Uuid,
    /// UUID of the file system with the volumes. It depends only on the image's name and its
    /// architecture, so that a new system finds the volumes of the one that it replaces.
    pub volumes: Uuid,
    /// GUID of its partition. It depends on the same.
    pub volumes_partition: Uuid,
    /// GUID of the EFI system partition.
    pub esp_partition: Uuid,
    /// FAT volume id of the EFI system partition.
    pub esp_volume: u32,
    /// Disk signature of an MBR; never 0, which means "none".
    pub signature: u32,
}

impl Ids {
    /// The IDs of the image `name` for `arch` with a root file system that has this digest.
    pub fn new(name: &str, arch: Arch, digest: &[u8; 32]) -> Ids {
        let of = |what: &str, digest: &[u8]| {
            let mut text = format!("{what}\0{name}\0{arch}\0").into_bytes();
            text.extend_from_slice(digest);
            Uuid::new_v5(&NAMESPACE, &text)
        };
        let make = |what: &str| of(what, digest);
        let short = |what: &str| {
            let (high, ..) = make(what).as_fields();
            high.max(1)
        };
        Ids {
            image: make("image"),
            root: make("root file system"),
            disk: make("disk"),
            root_partition: make("root partition"),
            volumes: of("volumes", &[]),
            volumes_partition: of("volumes partition", &[]),
            esp_partition: make("EFI system partition"),
            esp_volume: short("EFI system volume"),
            signature: short("disk signature"),
        }
    }

    /// The volume ID of the ESP as Linux shows it (`UUID=ABCD-1234`).
    pub fn esp_uuid(&self) -> String {
        format!(
            "{:04X}-{:04X}",
            self.esp_volume >> 16,
            self.esp_volume & 0xFFFF
        )
    }
}
