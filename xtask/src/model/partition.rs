//! Constants of disks and partition tables, each defined once.

use uuid::Uuid;

/// Sector size in bytes of every format that counts in fixed sectors, and the default logical
/// sector size of a disk ([`super::SectorSize`]).
pub const SECTOR: u64 = 512;

/// Type GUID of an EFI system partition (UEFI Specification 2.10, 5.3.3, table 5.7).
pub const ESP: Uuid = Uuid::from_u128(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b);
/// Type byte of an EFI system partition in an MBR (the same specification, 5.2.2).
pub const ESP_MBR: u8 = 0xef;

/// Type GUID of a root partition for x86-64 (UAPI group, Discoverable Partitions Specification).
pub const ROOT_AMD64: Uuid = Uuid::from_u128(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709);
/// Type GUID of a root partition for 64-bit ARM (the same specification).
pub const ROOT_ARM64: Uuid = Uuid::from_u128(0xb921_b045_1df0_41c3_af44_4c6f_280d_3fae);
/// Type GUID of a Linux file system without a certain place (the same specification, "Generic Linux
/// Data Partition").
pub const LINUX: Uuid = Uuid::from_u128(0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4);
/// Type byte of a Linux file system's partition in an MBR.
pub const LINUX_MBR: u8 = 0x83;

/// Attribute bit 2 of a GPT partition, "Legacy BIOS Bootable" (UEFI Specification 2.10, table 5.8).
/// SYSLINUX's gptmbr.bin looks for it.
pub const LEGACY_BIOS_BOOTABLE: u64 = 1 << 2;
