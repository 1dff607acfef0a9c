//! All external programs that may be run.
//!
//! Building an image needs only a container engine. The others boot images, build a base image
//! where no registry is available, or check the output in tests.

mod child;

pub use child::{PASS, cleared, command, environment, expression, hide_from_children};

use crate::error::Report;
use crate::os_release;
use camino::Utf8PathBuf;

/// An external program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tool {
    /// Docker's client.
    Docker,
    /// Podman.
    Podman,
    /// QEMU for PCs.
    QemuX86,
    /// QEMU for 64-bit ARM machines.
    QemuAarch64,
    /// Builds a Debian base without a registry.
    Mmdebstrap,
    /// Python's installer. Fetches the Alpine base where the official one is not available.
    Pip,
    /// Tests: runs checkers for workflows.
    Python,
    /// Tests: checks and repairs ext file systems.
    E2fsck,
    /// Tests: checks FAT file systems.
    FsckFat,
    /// Tests: reads and checks partition tables.
    Sfdisk,
    /// Tests: checks GPTs.
    Sgdisk,
    /// Reads image formats other than raw; tests compare formats with it.
    QemuImg,
    /// Tests: EXTLINUX's own installer.
    Extlinux,
    /// Tests: reads FAT file systems.
    Mtools,
    /// Tests: creates ext file systems for comparison.
    Mke2fs,
    /// Tests: writes images with their block maps.
    Bmaptool,
    /// Tests: copies container images between formats.
    Skopeo,
    /// Tests: serves container images.
    Registry,
    /// Tests: reads the sections of EFI programs.
    Objdump,
    /// Tests: compiles libFuzzer.
    Cxx,
    /// Tests: another shell for the guest's scripts, the one of Alpine.
    Busybox,
    /// Tests: checks the guest's scripts.
    Shellcheck,
}

/// A package manager, used to name the package that contains a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageManager {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora.
    Dnf,
    /// Alpine.
    Apk,
    /// Arch Linux.
    Pacman,
    /// macOS.
    Brew,
}

impl Tool {
    /// Every program, in the order in which `doctor` lists them.
    pub const ALL: [Tool; 22] = [
        Tool::Docker,
        Tool::Podman,
        Tool::QemuX86,
        Tool::QemuAarch64,
        Tool::Mmdebstrap,
        Tool::Pip,
        Tool::Python,
        Tool::E2fsck,
        Tool::FsckFat,
        Tool::Sfdisk,
        Tool::Sgdisk,
        Tool::QemuImg,
        Tool::Extlinux,
        Tool::Mtools,
        Tool::Mke2fs,
        Tool::Bmaptool,
        Tool::Skopeo,
        Tool::Registry,
        Tool::Objdump,
        Tool::Cxx,
        Tool::Busybox,
        Tool::Shellcheck,
    ];

    /// File name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Tool::Docker => "docker",
            Tool::Podman => "podman",
            Tool::QemuX86 => "qemu-system-x86_64",
            Tool::QemuAarch64 => "qemu-system-aarch64",
            Tool::Mmdebstrap => "mmdebstrap",
            Tool::Pip => "pip3",
            Tool::Python => "python3",
            Tool::E2fsck => "e2fsck",
            Tool::FsckFat => "fsck.fat",
            Tool::Sfdisk => "sfdisk",
            Tool::Sgdisk => "sgdisk",
            Tool::QemuImg => "qemu-img",
            Tool::Extlinux => "extlinux",
            Tool::Mtools => "mcopy",
            Tool::Mke2fs => "mke2fs",
            Tool::Bmaptool => "bmaptool",
            Tool::Skopeo => "skopeo",
            Tool::Registry => "docker-registry",
            Tool::Objdump => "objdump",
            Tool::Cxx => "c++",
            Tool::Busybox => "busybox",
            Tool::Shellcheck => "shellcheck",
        }
    }

    /// What it is needed for. Completes "is needed to".
    pub fn why(self) -> &'static str {
        match self {
            Tool::Docker | Tool::Podman => "build and export containers",
            Tool::QemuX86 => "boot images for PCs",
            Tool::QemuAarch64 => "boot images for 64-bit ARM machines",
            Tool::Mmdebstrap => "build a Debian base where no registry is available",
            Tool::Pip => "fetch an Alpine base where no registry is available",
            Tool::Python => "install checkers for workflows",
            Tool::E2fsck => "check root file systems in tests",
            Tool::FsckFat | Tool::Mtools => "check EFI system partitions in tests",
            Tool::Sfdisk | Tool::Sgdisk => "check partition tables in tests",
            Tool::QemuImg => "read images in formats other than raw",
            Tool::Bmaptool => "check block maps in tests",
            Tool::Objdump => "check unified kernel images in tests",
            Tool::Cxx => "build the fuzzer",
            Tool::Busybox => "run the guest's scripts in Alpine's shell in tests",
            Tool::Shellcheck => "check the guest's scripts in tests",
            Tool::Mke2fs => "compare file systems with its own in tests",
            Tool::Skopeo => "create container images in tests",
            Tool::Registry => "pull container images in tests",
            Tool::Extlinux => "compare our EXTLINUX with the original in tests",
        }
    }

    /// The package that contains it, or `None` if there is none.
    pub fn package(self, manager: PackageManager) -> Option<&'static str> {
        use PackageManager::{Apk, Apt, Brew, Dnf, Pacman};
        Some(match (self, manager) {
            (Tool::Docker, Apt) => "docker.io",
            (Tool::Docker, Dnf) => "moby-engine",
            (Tool::Docker, _) => "docker",
            (Tool::Podman, _) => "podman",
            (Tool::QemuX86, Apt) => "qemu-system-x86",
            (Tool::QemuX86, Dnf) => "qemu-system-x86-core",
            (Tool::QemuX86, Apk) => "qemu-system-x86_64",
            (Tool::QemuX86, Pacman) => "qemu-system-x86",
            (Tool::QemuAarch64, Apt) => "qemu-system-arm",
            (Tool::QemuAarch64, Dnf) => "qemu-system-aarch64-core",
            (Tool::QemuAarch64, Apk | Pacman) => "qemu-system-aarch64",
            (Tool::QemuX86 | Tool::QemuAarch64 | Tool::QemuImg, Brew) => "qemu",
            (Tool::Mmdebstrap, Apt | Dnf) => "mmdebstrap",
            (Tool::Mmdebstrap, _) => return None,
            (Tool::Pip, Apt | Dnf) => "python3-pip",
            (Tool::Pip, Apk) => "py3-pip",
            (Tool::Pip, Pacman) => "python-pip",
            (Tool::Pip, Brew) => "python",
            // Debian packages the module venv separately.
            (Tool::Python, Apt) => "python3-venv",
            (Tool::Python, Pacman | Brew) => "python",
            (Tool::Python, _) => "python3",
            (Tool::E2fsck | Tool::Mke2fs, _) => "e2fsprogs",
            (Tool::Objdump, _) => "binutils",
            (Tool::Cxx, Apt | Apk) => "g++",
            (Tool::Cxx, Dnf) => "gcc-c++",
            (Tool::Cxx, Pacman) => "gcc",
            // It comes with the compiler that Rust links with.
            (Tool::Cxx, Brew) => return None,
            // It runs on Linux only.
            (Tool::Busybox, Brew) => return None,
            (Tool::Busybox, _) => "busybox",
            (Tool::Shellcheck, Dnf) => "ShellCheck",
            (Tool::Shellcheck, _) => "shellcheck",
            (Tool::FsckFat, _) => "dosfstools",
            (Tool::Sfdisk, Apt) => "fdisk",
            (Tool::Sfdisk, Apk) => "sfdisk",
            (Tool::Sfdisk, Dnf) => "util-linux-core",
            (Tool::Sfdisk, _) => "util-linux",
            (Tool::Sgdisk, Apt | Dnf) => "gdisk",
            (Tool::Sgdisk, Apk) => "sgdisk",
            (Tool::Sgdisk, Pacman | Brew) => "gptfdisk",
            (Tool::Bmaptool, Apt | Dnf) => "bmap-tools",
            (Tool::Bmaptool, _) => return None,
            (Tool::QemuImg, Apt) => "qemu-utils",
            (Tool::QemuImg, _) => "qemu-img",
            (Tool::Mtools, _) => "mtools",
            (Tool::Skopeo, _) => "skopeo",
            (Tool::Registry, Apt) => "docker-registry",
            (Tool::Registry, _) => return None,
            (Tool::Extlinux, Apt) => "extlinux",
            (Tool::Extlinux, Dnf) => "syslinux-extlinux",
            (Tool::Extlinux, Apk | Pacman) => "syslinux",
            (Tool::Extlinux, Brew) => return None,
        })
    }

    /// The command of this project that installs it.
    fn setup(self) -> &'static str {
        match self {
            Tool::Docker
            | Tool::Podman
            | Tool::QemuX86
            | Tool::QemuImg
            | Tool::Mmdebstrap
            | Tool::Pip => "cargo xtask setup",
            Tool::QemuAarch64 => "cargo xtask setup --arm64",
            _ => "cargo xtask setup --dev",
        }
    }

    /// The path of the program: the first executable of its name in `PATH`, then in the `sbin`
    /// folders, which are not in the `PATH` of unprivileged users.
    pub fn find(self) -> Option<Utf8PathBuf> {
        on_path(self.name())
    }

    /// Like [`Tool::find`]. If the program is missing, the error says what it is needed for and
    /// which package to install.
    pub fn require(self) -> Result<Utf8PathBuf, Report> {
        self.find().ok_or_else(|| {
            let hint = match PackageManager::of_host().and_then(|m| Some((m, self.package(m)?))) {
                Some((m, package)) => format!("`{}`, or `{}`", m.install(package), self.setup()),
                None => "run `cargo xtask doctor` to see what is missing".to_owned(),
            };
            Report::failure(format!(
                "{} is needed to {}, but it is not installed",
                self.name(),
                self.why()
            ))
            .hint(hint)
        })
    }
}

/// The path of a program in `PATH` or in the `sbin` folders.
pub fn on_path(name: &str) -> Option<Utf8PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .filter(|d| !d.is_empty())
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"])
        .map(|dir| Utf8PathBuf::from(dir).join(name))
        .find(|file| {
            rustix::fs::access(file.as_std_path(), rustix::fs::Access::EXEC_OK).is_ok()
                && file.is_file()
        })
}

impl PackageManager {
    /// The package manager of this host.
    pub fn of_host() -> Option<PackageManager> {
        let has = |name: &str| {
            [
                "/usr/bin",
                "/bin",
                "/sbin",
                "/usr/sbin",
                "/opt/homebrew/bin",
                "/usr/local/bin",
            ]
            .iter()
            .any(|d| std::path::Path::new(d).join(name).exists())
        };
        [
            ("apt-get", PackageManager::Apt),
            ("dnf", PackageManager::Dnf),
            ("apk", PackageManager::Apk),
            ("pacman", PackageManager::Pacman),
            ("brew", PackageManager::Brew),
        ]
        .into_iter()
        .find_map(|(name, m)| has(name).then_some(m))
    }

    /// The command that installs these packages (separated by spaces).
    pub fn install(self, packages: &str) -> String {
        match self {
            PackageManager::Apt => format!("sudo apt-get install {packages}"),
            PackageManager::Dnf => format!("sudo dnf install {packages}"),
            PackageManager::Apk => format!("doas apk add {packages}"),
            PackageManager::Pacman => format!("sudo pacman -S {packages}"),
            PackageManager::Brew => format!("brew install {packages}"),
        }
    }
}

/// A value from this host's os-release(5).
pub fn os_release(key: &str) -> Option<String> {
    let mut texts = os_release::PATHS.iter().map(std::fs::read_to_string);
    os_release::value(&texts.find_map(Result::ok)?, key)
}
