//! The EFI system partition's file system.

use crate::bootloader::files::{self, Loaders};
use crate::bootloader::uki;
use crate::error::Report;
use crate::fs::{Layout, fat};
use crate::model::Arch;
use crate::plan::{Esp, EspContent, Plan};
use crate::rootfs::{Content, Kind, Rootfs};

/// The files of the EFI system partition. Kernels and initrds are streamed from the root file
/// system's contents. They are on the disk twice, because systemd-boot reads FAT only.
pub(super) fn files<'a>(
    esp: &'a Esp,
    arch: Arch,
    rootfs: &Rootfs,
    loaders: &Loaders,
) -> Result<Vec<fat::File<'a>>, Report> {
    let missing = |what: &str| Report::failure(format!("filling the EFI system partition: {what}"));
    let content = |path: &str| match rootfs
        .tree
        .lookup(path)
        .map(|id| &rootfs.tree.node(id).kind)
    {
        Some(Kind::File(content)) => Ok(content.clone()),
        _ => Err(missing(&format!("the root file system has no file {path}"))),
    };
    let mut files = Vec::new();
    for file in &esp.files {
        let parts = match &file.content {
            EspContent::Rootfs(path) => vec![content(path)?],
            EspContent::SystemdBoot => loaders
                .systemd_boot
                .clone()
                .map(|bytes| vec![Content::Bytes(bytes)])
                .ok_or_else(|| missing("systemd-boot was not loaded"))?,
            EspContent::Text(text) => vec![Content::Bytes(text.as_bytes().into())],
            EspContent::Uki(what) => {
                let stub = loaders.stub.as_ref().ok_or_else(|| {
                    missing(&format!("there is no {}", files::stub_name(arch)))
                        .hint("install the package systemd-boot-efi, put the file next to systemd-boot's EFI program, or use `boot-entry: type1`")
                })?;
                let linux = content(&what.linux)?;
                let mut head = vec![0; uki::KERNEL_HEAD.min(linux.len() as usize)];
                rootfs
                    .stores
                    .read_at(&linux, 0, &mut head)
                    .map_err(|e| missing("reading the kernel").because(e))?;
                let sections = uki::Sections {
                    os_release: content(&what.os_release)?,
                    arguments: what.arguments.clone(),
                    version: what.version.clone(),
                    linux,
                    initrd: content(&what.initrd)?,
                };
                uki::parts(stub, &head, sections)?
            }
        };
        files.push(fat::File {
            path: &file.path,
            parts,
        });
    }
    Ok(files)
}

/// Lays out the EFI system partition of a plan that has one.
pub(super) fn lay_out(files: Vec<fat::File<'_>>, plan: &Plan) -> Result<Layout, Report> {
    let (Some(esp), Some(partition)) = (&plan.esp, plan.disk.esp()) else {
        return Err(Report::failure("the plan has no EFI system partition"));
    };
    let spec = fat::Spec {
        size: partition.len,
        sector: plan.disk.sector_size,
        volume_id: esp.volume_id,
        label: esp.label.clone(),
        epoch: plan.epoch,
    };
    fat::layout(&files, &spec)
}
