//! How image files are described to QEMU.

use crate::model::Format;
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
    /// How QEMU opens a file that was written in `format`, or `None` if it cannot.
    pub fn written(format: Format) -> Option<ImageFormat> {
        Some(match format {
            Format::Raw => ImageFormat::Raw,
            Format::Qcow2 => ImageFormat::Qcow2,
            Format::Vdi => ImageFormat::Vdi,
            Format::Vmdk | Format::VmdkStream => ImageFormat::Vmdk,
            // Tars, and a file system that no firmware boots from.
            Format::Ova | Format::Gcp | Format::Rootfs => return None,
            Format::Vhd | Format::VhdFixed => ImageFormat::Vpc,
            Format::Vhdx => ImageFormat::Vhdx,
        })
    }

    /// The format of a file with this name, if its extension is that of an image that QEMU opens.
    pub fn known(path: &Utf8Path) -> Option<ImageFormat> {
        let extension = path.extension()?;
        let ends = |format: &&Format| format.extension() == extension;
        match Format::ALL.iter().find(ends) {
            Some(format) => ImageFormat::written(*format),
            None => (extension == "vpc").then_some(ImageFormat::Vpc),
        }
    }

    /// The format for a file name's extension; raw for unknown ones.
    pub fn of(path: &Utf8Path) -> ImageFormat {
        ImageFormat::known(path).unwrap_or(ImageFormat::Raw)
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
