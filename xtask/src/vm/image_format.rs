//! How image files are described to QEMU.

use camino::Utf8Path;

/// Format of an image file, in QEMU's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageFormat {
    /// The disk byte for byte.
    Raw,
    /// QEMU's own format.
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
    /// The format for a file name's extension; raw for unknown ones.
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

    /// QEMU's name for the format.
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
