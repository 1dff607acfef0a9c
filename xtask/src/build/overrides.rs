//! Values that override a recipe's.

use crate::engine;
use crate::error::Report;
use crate::model::{
    Arch, BootEntryKind, BootMode, Compression, DiskSize, Format, NamedVolume, SectorSize, Service,
    TableKind, Target, VolumesOn,
};
use crate::plan::targets::{self, FormatsBy, Platform};
use crate::recipe::{self, Found, Recipe};
use crate::rootfs::oci::Config;
use std::collections::BTreeMap;

/// Values that replace a recipe's; those that are `None` or empty leave the recipe's unchanged.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Name of the image, without an extension.
    pub name: Option<String>,
    /// Container image that the Dockerfile is based on.
    pub base: Option<String>,
    /// Build arguments, added to the recipe's.
    pub build_args: BTreeMap<String, String>,
    /// Architecture of the machine; the recipe must support it.
    pub arch: Option<Arch>,
    /// Firmware to boot with.
    pub boot: Option<BootMode>,
    /// How the kernel is stored on the EFI system partition.
    pub boot_entry: Option<BootEntryKind>,
    /// Partition table.
    pub table: Option<TableKind>,
    /// Sector size of the disk in bytes: 512 or 4096.
    pub sector_size: Option<SectorSize>,
    /// Size of the disk in bytes, or automatic.
    pub size: Option<DiskSize>,
    /// Platforms that the image is made for; if empty, the recipe's.
    pub targets: Vec<Target>,
    /// Formats to write; if empty, those of the targets, or else the recipe's.
    pub formats: Vec<Format>,
    /// How to compress the clusters of a qcow2 image.
    pub compression: Option<Compression>,
    /// Host name of the machine.
    pub hostname: Option<String>,
    /// Whether the container's command becomes a service.
    pub service: Option<Service>,
    /// Where the volumes are stored.
    pub volumes: Option<VolumesOn>,
    /// Size of their partition in bytes, or automatic.
    pub volumes_size: Option<DiskSize>,
    /// Volumes with names. One at the path of one of the recipe's replaces it.
    pub named_volumes: Vec<NamedVolume>,
    /// Entry point instead of the container's.
    pub entrypoint: Option<Vec<String>>,
    /// Command instead of the container's.
    pub cmd: Option<Vec<String>>,
    /// Whether a hosted container's command may do everything that root may.
    pub privileged: bool,
}

impl Overrides {
    /// Fails if one of the values is invalid for every recipe.
    pub fn check(&self) -> Result<(), Report> {
        if let Some(base) = &self.base {
            engine::check_image(base, "--base")?;
        }
        if let Some(host) = self.hostname.as_deref().filter(|h| !recipe::is_hostname(h)) {
            return Err(
                Report::mistake(format!("--hostname {host:?} is not a valid host name"))
                    .hint("use letters, digits and `-`"),
            );
        }
        if let Some(name) = self.name.as_deref().filter(|n| !recipe::is_name(n)) {
            return Err(
                Report::mistake(format!("--name {name:?} is not a valid image name")).hint(
                    "use letters, digits, `.`, `-` and `_`, and begin with a letter or digit",
                ),
            );
        }
        Ok(())
    }

    /// The container's configuration with these values.
    pub(super) fn started_by(&self, config: Config) -> Config {
        config.started_by(self.entrypoint.as_deref(), self.cmd.as_deref())
    }

    /// The recipe with these values.
    pub(super) fn apply(&self, mut found: Found) -> Result<Found, Report> {
        self.check()?;
        let recipe = &mut found.recipe;
        if let Some(base) = &self.base {
            recipe.base = Some(base.clone());
        }
        if let Some(arch) = self.arch {
            if !recipe.architectures.contains(&arch) {
                return Err(Report::mistake(format!(
                    "the recipe {} does not support {arch}",
                    found.name
                ))
                .hint(
                    "if its Dockerfile supports it, add it to `architectures:` in its recipe.yaml",
                ));
            }
            recipe.architectures = vec![arch];
        }
        recipe.boot = self.boot.unwrap_or(recipe.boot);
        recipe.boot_entry = self.boot_entry.unwrap_or(recipe.boot_entry);
        recipe.table = self.table.or(recipe.table);
        recipe.sector_size = self.sector_size.unwrap_or(recipe.sector_size);
        recipe.size = self.size.unwrap_or(recipe.size);
        if !self.formats.is_empty() {
            recipe.formats.clone_from(&self.formats);
        }
        self.apply_targets(recipe);
        recipe.compression = self.compression.unwrap_or(recipe.compression);
        if let Some(host) = &self.hostname {
            recipe.hostname = Some(host.clone());
        }
        recipe.build_args.extend(self.build_args.clone());
        if let Some(name) = &self.name {
            found.name.clone_from(name);
        }
        recipe.service = self.service.or(recipe.service);
        recipe.volumes = self.volumes.unwrap_or(recipe.volumes);
        recipe.volumes_size = self.volumes_size.unwrap_or(recipe.volumes_size);
        let given = &self.named_volumes;
        let replaced = |old: &NamedVolume| given.iter().any(|new| new.path == old.path);
        recipe.named_volumes.retain(|old| !replaced(old));
        recipe.named_volumes.extend(given.iter().cloned());
        Ok(found)
    }

    /// What is given here wins: `targets` over the recipe's, and `formats` over the formats of the
    /// recipe's targets. Those that import none of these formats then only shape the machine, so that
    /// it is the same in every format.
    fn apply_targets(&self, recipe: &mut Recipe) {
        if !self.targets.is_empty() {
            recipe.targets.clone_from(&self.targets);
        }
        let by = match (self.targets.is_empty(), self.formats.is_empty()) {
            (_, false) => FormatsBy::Formats,
            (false, true) => FormatsBy::Targets,
            (true, true) => FormatsBy::Recipe,
        };
        targets::complete(recipe, by);
        if by == FormatsBy::Formats && self.targets.is_empty() {
            let formats = &recipe.formats;
            let row = |target: &Target| Platform::of(*target);
            recipe
                .targets
                .retain(|target| row(target).format_of(formats).is_some());
        }
    }
}
