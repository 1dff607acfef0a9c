//! What QEMU has to be told of an image file.

use camino::Utf8Path;

/// Format of an image file, by QEMU's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageFormat {
    /// Byte for byte the disk.
    Raw,
    /// QEMU's own.
    Qcow2,
    /// VirtualBox.
    Vdi,
    /// Virtual PC, Hyper-V, Azure: `.vhd`.
    Vpc,
    /// Hyper-V: `.vhdx`.
    Vhdx,
    /// VMware.
    Vmdk,
}

impl ImageFormat {
    /// The format that the ending of a file name stands for; raw where it stands for none.
    pub fn of(path: &Utf8Path) -> ImageFormat {
        match path.extension() {
            Some("qcow2") => ImageFormat::Qcow2,
            Some("vdi") => ImageFormat::Vdi,
            Some("vhd" | "vpc") => ImageFormat::Vpc,
            Some("vhdx") => ImageFormat::Vhdx,
            Some("vmdk") => ImageFormat::Vmdk,
            _ => ImageFormat::Raw,
        }
    }

    /// QEMU's name of it.
    pub fn name(self) -> &'static str {
        match self {
            ImageFormat::Raw => "raw",
            ImageFormat::Qcow2 => "qcow2",
            ImageFormat::Vdi => "vdi",
            ImageFormat::Vpc => "vpc",
            ImageFormat::Vhdx => "vhdx",
            ImageFormat::Vmdk => "vmdk",
        }
    }
}
