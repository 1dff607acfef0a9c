//! What is wrong with an image, why, and what to do about it.

use crate::vm::Firmware;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The image cannot boot.
    Error,
    /// It may boot, but something is not as it should be.
    Warning,
    /// Worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// The part of the start that a finding belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The image file itself.
    File,
    /// What the firmware reads: partition table, boot code, the loader's file.
    Firmware,
    /// What the boot loader reads: its configuration, kernel and initrd.
    Loader,
    /// What the kernel and the initrd look for: the root file system.
    Kernel,
    /// The root file system's own structure.
    Root,
    /// What the init needs.
    Init,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident $part:ident,)+) => {
        /// Names of findings. They never change their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Code] = &[$(Code::$name,)+];

            /// The part of the start that findings with this code belong to.
            pub fn part(self) -> Part {
                match self {
                    $(Code::$name => Part::$part,)+
                }
            }
        }
    };
}

codes! {
    /// The header of the image's format is damaged, or the file is truncated.
    FormatDamaged File,
    /// This program does not read this kind of image.
    FormatUnread File,
    /// The file's name says another format than its contents.
    FormatName File,
    /// A part of the disk that the partition table names is outside the disk.
    DiskTruncated File,
    /// Nothing on the disk can be started by BIOS or UEFI.
    NothingToStart Firmware,
    /// The first sector lacks its signature.
    BootSignature Firmware,
    /// The first sector has no boot code, although a partition is marked for BIOS.
    BootCodeMissing Firmware,
    /// The boot code is of a kind that is not known here.
    BootCodeUnknown Firmware,
    /// No partition, or more than one, is marked for the boot code.
    BootPartition Firmware,
    /// The partition that the boot code starts has no boot sector.
    BootSectorMissing Firmware,
    /// The partition table cannot be read.
    TableDamaged Firmware,
    /// The table at the start of the disk is damaged, its backup is not.
    TablePrimary Firmware,
    /// The backup table at the end of the disk is damaged or missing.
    TableBackup Firmware,
    /// Partitions overlap each other or the table.
    TableOverlap Firmware,
    /// The MBR before a GPT does not protect it.
    TableMbr Firmware,
    /// An EFI system partition has another type.
    EspType Firmware,
    /// The EFI system partition contains no FAT file system that can be read.
    EspDamaged Firmware,
    /// The EFI system partition has no boot loader at the place where firmware looks.
    UefiLoaderMissing Firmware,
    /// The UEFI boot loader is damaged or is for another processor.
    UefiLoaderDamaged Firmware,
    /// The boot loader is of a kind whose configuration is not read here.
    LoaderUnknown Loader,
    /// EXTLINUX lacks ldlinux.sys or ldlinux.c32, or they are damaged.
    ExtlinuxFiles Loader,
    /// The boot loader has no configuration or no entry.
    EntriesMissing Loader,
    /// The kernel of an entry does not exist.
    KernelMissing Loader,
    /// The kernel of an entry is truncated, is no kernel or is for another processor.
    KernelDamaged Loader,
    /// An initrd of an entry does not exist.
    InitrdMissing Loader,
    /// An initrd of an entry is truncated or damaged.
    InitrdDamaged Kernel,
    /// The kernel has no modules in the root file system.
    ModulesMissing Kernel,
    /// The kernel's arguments name a root file system that is not on the disk.
    RootMissing Kernel,
    /// It is not known here where the root file system is.
    RootUnknown Kernel,
    /// The superblock of a file system is damaged.
    SuperblockDamaged Root,
    /// The journal of the root file system is damaged.
    JournalDamaged Root,
    /// The root file system is larger than its partition.
    RootTooLarge Root,
    /// The root file system was not unmounted, or the kernel found errors in it.
    RootUnclean Root,
    /// The root file system is of a kind that is not read here.
    RootUnread Root,
    /// The root file system is full.
    DiskFull Root,
    /// The init does not exist.
    InitMissing Init,
    /// The init cannot be executed.
    InitNotExecutable Init,
    /// The init, or its dynamic loader, is for another processor.
    InitArch Init,
    /// The init's interpreter or dynamic loader is missing.
    InitLoaderMissing Init,
    /// A library that the init needs is missing.
    LibraryMissing Init,
    /// No login prompt appears on the serial console.
    ConsoleMissing Init,
    /// /etc/fstab names a file system that is not on the disk.
    FstabMissing Init,
    /// Nobody can log in, or anybody can.
    Login Init,
    /// All machines of the image will share something that should be unique.
    Identity Init,
}

impl Code {
    /// Its name.
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).unwrap_or_default();
        name.as_str().unwrap_or_default().to_owned()
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of finding it is.
    pub code: Code,
    /// The firmware that it concerns: `bios`, `uefi` or both. Empty if it concerns every start.
    pub firmware: Vec<Firmware>,
    /// What is wrong, and why that matters.
    pub cause: String,
    /// What to do about it.
    pub cure: String,
}

impl Finding {
    /// Whether a machine with this firmware cannot boot because of it.
    pub fn stops(&self, firmware: Firmware) -> bool {
        self.severity == Severity::Error
            && (self.firmware.is_empty() || self.firmware.contains(&firmware))
    }
}

/// Collects findings.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) all: Vec<Finding>,
    /// What the next ones concern.
    pub(super) firmware: Vec<Firmware>,
}

impl Findings {
    /// Adds one. The same cause for another firmware is the same finding.
    pub(super) fn add(
        &mut self,
        severity: Severity,
        code: Code,
        cause: impl Into<String>,
        cure: impl Into<String>,
    ) {
        let (cause, cure) = (cause.into(), cure.into());
        let firmware = self.firmware.clone();
        let same = |f: &&mut Finding| f.code == code && f.severity == severity && f.cause == cause;
        if let Some(old) = self.all.iter_mut().find(same) {
            if old.firmware.is_empty() || firmware.is_empty() {
                old.firmware.clear();
            } else {
                old.firmware.extend(firmware);
                old.firmware.sort_by_key(|f| *f == Firmware::Uefi);
                old.firmware.dedup();
            }
            return;
        }
        self.all.push(Finding {
            severity,
            code,
            firmware,
            cause,
            cure,
        });
    }

    pub(super) fn error(&mut self, code: Code, cause: impl Into<String>, cure: impl Into<String>) {
        self.add(Severity::Error, code, cause, cure);
    }

    pub(super) fn warning(
        &mut self,
        code: Code,
        cause: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.add(Severity::Warning, code, cause, cure);
    }

    pub(super) fn note(&mut self, code: Code, cause: impl Into<String>, cure: impl Into<String>) {
        self.add(Severity::Note, code, cause, cure);
    }
}
