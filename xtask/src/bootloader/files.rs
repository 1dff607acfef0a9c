//! The files of the boot loaders. They are GPL or LGPL programs of other projects. None is part of
//! this project: each comes from a distribution's package when an image is made.

use super::extlinux;
use crate::error::Report;
use crate::model::{Arch, BootMode};
use crate::rootfs::{Kind, Rootfs};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use std::sync::Arc;

/// The boot loader files that an architecture and a boot mode need.
#[derive(Debug, Clone)]
pub struct Loaders {
    /// EXTLINUX and the boot code of the disk, for BIOS.
    pub bios: Option<Bios>,
    /// systemd-boot's EFI program, for UEFI.
    pub systemd_boot: Option<Arc<[u8]>>,
    /// systemd's stub of unified kernel images, for UEFI and if the stub was found: only
    /// `boot-entry: uki` needs it.
    pub stub: Option<Arc<[u8]>>,
}

/// The files for booting with BIOS.
#[derive(Debug, Clone)]
pub struct Bios {
    /// The parts of EXTLINUX.
    pub extlinux: extlinux::Parts,
    /// Boot code for an MBR: at most 440 bytes.
    pub mbr: Vec<u8>,
    /// Boot code for a GPT: at most 440 bytes.
    pub gptmbr: Vec<u8>,
}

/// File name of systemd-boot's EFI program.
pub fn systemd_boot_name(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "systemd-bootx64.efi",
        Arch::Arm64 => "systemd-bootaa64.efi",
    }
}

/// File name of systemd's stub of unified kernel images.
pub fn stub_name(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "linuxx64.efi.stub",
        Arch::Arm64 => "linuxaa64.efi.stub",
    }
}

/// Where the packages of Debian and Ubuntu, Fedora, Arch and Alpine install the files; `{}` is the
/// folder.
const HOST: [(&str, &[&str]); 5] = [
    ("extlinux", &["/usr/bin", "/usr/sbin", "/sbin"]),
    (
        "mbr.bin",
        &[
            "/usr/lib/EXTLINUX",
            "/usr/lib/syslinux/mbr",
            "/usr/share/syslinux",
            "/usr/lib/syslinux/bios",
        ],
    ),
    (
        "gptmbr.bin",
        &[
            "/usr/lib/EXTLINUX",
            "/usr/lib/syslinux/mbr",
            "/usr/share/syslinux",
            "/usr/lib/syslinux/bios",
        ],
    ),
    ("systemd-boot", &["/usr/lib/systemd/boot/efi"]),
    ("stub", &["/usr/lib/systemd/boot/efi"]),
];

/// Where the files come from.
#[derive(Debug, Clone)]
pub enum From<'a> {
    /// One folder that contains all of them.
    Dir(Utf8PathBuf),
    /// The packages of this host.
    Host,
    /// The folder [`IN_MACHINE`] of a machine.
    Machine(&'a Rootfs),
}

/// Where a machine brings the files along: with them, nothing else is needed for a disk.
pub const IN_MACHINE: &str = "/usr/lib/docker-to-linux/bootloader";

/// Largest plausible size of a file, in bytes.
pub(super) const LIMIT: u64 = 16 << 20;

impl From<'_> {
    /// Finds the file `name` of the list above.
    fn find(&self, name: &str, file: &str) -> Option<Utf8PathBuf> {
        let dirs: Vec<&Utf8Path> = match self {
            From::Machine(rootfs) => {
                let path = Utf8Path::new(IN_MACHINE).join(file);
                let id = rootfs.tree.resolve(path.as_str())?;
                let is_file = matches!(rootfs.tree.node(id).kind, Kind::File(_));
                return is_file.then_some(path);
            }
            From::Dir(dir) => vec![dir.as_path()],
            From::Host => HOST
                .iter()
                .filter(|(n, _)| *n == name)
                .flat_map(|(_, dirs)| dirs.iter().map(Utf8Path::new))
                .collect(),
        };
        dirs.into_iter().map(|d| d.join(file)).find(|f| f.is_file())
    }

    /// Names of the files that are missing for this mode and architecture.
    pub fn missing(&self, boot: BootMode, arch: Arch) -> Vec<String> {
        wanted(boot, arch)
            .into_iter()
            .filter(|(name, file)| self.find(name, file).is_none())
            .map(|(_, file)| file.to_owned())
            .collect()
    }

    /// The names and contents of all files that this mode and architecture can use.
    pub fn files(&self, boot: BootMode, arch: Arch) -> Result<Vec<(String, Vec<u8>)>, Report> {
        let mut all = wanted(boot, arch);
        if boot != BootMode::Bios && self.find("stub", stub_name(arch)).is_some() {
            all.push(("stub", stub_name(arch)));
        }
        let read = |(name, file): (&str, &str)| Ok((file.to_owned(), self.read(name, file)?));
        all.into_iter().map(read).collect()
    }

    /// Reads the file `name` of the list above.
    fn read(&self, name: &str, file: &str) -> Result<Vec<u8>, Report> {
        let path = self.find(name, file).ok_or_else(|| {
            let place = match self {
                From::Dir(dir) => format!("{dir} does not contain it"),
                From::Host => "no package of this host contains it".to_owned(),
                From::Machine(_) => "the machine does not contain it".to_owned(),
            };
            Report::failure(format!("reading the boot loader's file {file}: {place}"))
                .hint("install the packages extlinux, syslinux-common and systemd-boot-efi, or give a folder that contains it with --bootloader-dir")
        })?;
        let bytes = match self {
            From::Machine(rootfs) => rootfs
                .read(path.as_str(), LIMIT)
                .map(Option::unwrap_or_default),
            From::Dir(_) | From::Host => fs::read(&path),
        };
        bytes.map_err(|e| Report::failure("reading a boot loader's file").because(e))
    }

    /// Reads the files that this mode and architecture need.
    pub fn load(&self, boot: BootMode, arch: Arch) -> Result<Loaders, Report> {
        let code = |name: &str| -> Result<Vec<u8>, Report> {
            let bytes = self.read(name, name)?;
            if bytes.len() > crate::disk::mbr::BOOT_CODE {
                return Err(Report::failure(format!(
                    "the boot code {name} has {} bytes, but only 440 fit",
                    bytes.len()
                )));
            }
            Ok(bytes)
        };
        Ok(Loaders {
            bios: match boot {
                BootMode::Uefi => None,
                BootMode::Bios | BootMode::Hybrid => Some(Bios {
                    extlinux: extlinux::Parts::from_installer(&self.read("extlinux", "extlinux")?)?,
                    mbr: code("mbr.bin")?,
                    gptmbr: code("gptmbr.bin")?,
                }),
            },
            stub: match boot {
                BootMode::Uefi | BootMode::Hybrid
                    if self.find("stub", stub_name(arch)).is_some() =>
                {
                    Some(self.read("stub", stub_name(arch))?.into())
                }
                _ => None,
            },
            systemd_boot: match boot {
                BootMode::Bios => None,
                BootMode::Uefi | BootMode::Hybrid => {
                    Some(self.read("systemd-boot", systemd_boot_name(arch))?.into())
                }
            },
        })
    }
}

/// (name in [`HOST`], file name) of the files that are needed.
fn wanted(boot: BootMode, arch: Arch) -> Vec<(&'static str, &'static str)> {
    let mut all = Vec::new();
    if boot != BootMode::Uefi {
        all.extend(["extlinux", "mbr.bin", "gptmbr.bin"].map(|n| (n, n)));
    }
    if boot != BootMode::Bios {
        all.push(("systemd-boot", systemd_boot_name(arch)));
    }
    all
}
