//! From a root file system to a disk: assembles what the plan says and writes it to a sink. Only
//! the order of the steps is decided here.

use super::kept::{self, Kept};
use super::{esp, extlinux, volumes};
use crate::bootloader::files::Loaders;
use crate::deliver::MetadataFile;
use crate::deliver::direct::Direct;
use crate::disk::{Part, WholeDisk, gpt, mbr};
use crate::error::Report;
use crate::format::{self, Checked, Sink};
use crate::fs::ext4::Wishes;
use crate::fs::{Layout, Source, ext4};
use crate::guest;
use crate::model::{Arch, BootMode, Compression, Format};
use crate::output::Access;
use crate::plan::{
    self, ContainerFacts, Facts, MachineFacts, Outline, Plan, Table, VolumesFacts, kernels,
};
use crate::recipe::Recipe;
use crate::rootfs::{Kind, Rootfs, Stores, Tree};
use crate::{os_release, processors};
use camino::Utf8Path;

/// The note about every image that contains password hashes.
pub const HAS_PASSWORDS: &str =
    "the image contains password hashes, so only you may read its files on this host (mode 0600)";

/// How to turn a root file system into a machine.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// Name of the image.
    pub name: String,
    /// Architecture of the machine.
    pub arch: Arch,
    /// The recipe, with the overrides applied.
    pub recipe: Recipe,
    /// Files next to the recipe, and who can log in.
    pub given: guest::Given,
    /// Settings of its container, if it has one.
    pub container: ContainerFacts,
    /// Volumes of an earlier image, which are kept.
    pub kept: Option<Kept>,
}

/// A disk that is planned and laid out and ready to be written.
#[derive(Debug)]
pub struct Assembly {
    /// The plan of the disk.
    pub plan: Plan,
    /// Notes for the user.
    pub notes: Vec<String>,
    /// Whether its root file system contains password hashes: then only the owner may read the
    /// image's files.
    pub has_password_hashes: bool,
    /// Who can log in and how, e.g. `root by password`.
    pub logins: Vec<String>,
    direct: Option<Direct>,
    stores: Stores,
    table: Vec<(u64, Vec<u8>)>,
    esp: Option<Layout>,
    root: Layout,
    volumes: Option<Layout>,
    kept: Option<Kept>,
}

/// What the first boot entry loads.
fn default_entry(plan: &Plan, rootfs: &Rootfs) -> Result<Direct, Report> {
    let content = |path: &str| {
        let id = rootfs.tree.lookup(path);
        match id.map(|id| &rootfs.tree.node(id).kind) {
            Some(Kind::File(content)) => Ok(content.clone()),
            _ => Err(Report::failure(format!(
                "copying the kernel and the initrd: the root file system has no file {path}"
            ))),
        }
    };
    let entry = plan.entries.first();
    let entry = entry.ok_or_else(|| Report::failure("the plan has no boot entry"))?;
    Ok(Direct {
        linux: content(&entry.linux.path)?,
        initrd: content(&entry.initrd.path)?,
    })
}

impl Assembly {
    /// Turns `rootfs` into a machine, plans its disk and lays it out.
    pub fn new(
        rootfs: Rootfs,
        machine: &MachineSpec,
        loaders: &Loaders,
    ) -> Result<Assembly, Report> {
        Assembly::joined(rootfs, None, machine, loaders)
    }

    /// The same with the whole tree of a container in a folder of the machine.
    pub fn joined(
        mut rootfs: Rootfs,
        hosted: Option<Rootfs>,
        machine: &MachineSpec,
        loaders: &Loaders,
    ) -> Result<Assembly, Report> {
        let MachineSpec {
            name, arch, recipe, ..
        } = machine;
        let arch = *arch;
        let mut notes = std::mem::take(&mut rootfs.notes);
        notes.extend(guest::clean(&mut rootfs)?);
        // Nothing of the container is cleaned.
        if let Some(container) = hosted {
            notes.extend(graft(&mut rootfs, container)?);
        }
        machine.given.overlay.apply(&mut rootfs)?;
        let mut outline = Outline::decide(&MachineFacts {
            name,
            arch,
            recipe,
            digest: rootfs.tree.digest(),
            container: &machine.container,
        })?;
        notes.extend(outline.notes.iter().cloned());
        if let Some(volumes) = &mut outline.volumes {
            guest::volumes::resolve(&rootfs, volumes)?;
        }
        if let Some(kept) = &machine.kept {
            if outline.volumes.is_none() {
                return Err(kept::none_to_keep());
            }
            notes.extend(kept.notes());
        }
        notes.extend(guest::prepare(&mut rootfs, &settings(machine, &outline))?);
        let passwords = guest::hashes::find(|path| rootfs.read(path, guest::hashes::LARGEST));
        if passwords.hashes {
            notes.push(HAS_PASSWORDS.to_owned());
        }
        let logins = logins(&rootfs, passwords.users, &machine.given.logins);
        // Chains of links are followed only up to a limit, after which nothing is found.
        rootfs.tree.check_steps()?;
        let found = kernels::find(&rootfs, arch, outline.boot)?;
        notes.extend(found.notes);
        let kernels = found.kernels;
        let processor = kernels.first().and_then(|k| k.machine);
        let processor = processor.unwrap_or(plan::machine(arch));
        notes.extend(guest::init::check(
            &rootfs,
            &recipe.kernel_arguments,
            processor,
        )?);
        let entries = outline.entries(&os_name(&rootfs, name)?, &kernels);
        if outline.boot != BootMode::Uefi {
            extlinux::add(&mut rootfs, loaders, &outline, &entries)?;
        }
        let wishes = Wishes {
            dense: &dense(&entries),
            order: &[],
            split_links: recipe.root.split_links,
        };
        let need = ext4::Need::of(&rootfs.tree, wishes);
        if wishes.split_links {
            notes.extend(ext4::split_links(&rootfs.tree));
        }
        let facts = Facts {
            epoch: rootfs.epoch,
            entries,
            kernel_bytes: kernels.iter().map(|k| k.linux.len + k.initrd.len).collect(),
            systemd_boot_bytes: loaders.systemd_boot.as_ref().map_or(0, |b| b.len() as u64),
            stub_bytes: loaders.stub.as_ref().map_or(0, |b| b.len() as u64),
            os_release: os_release::PATHS
                .iter()
                .find_map(|p| rootfs.tree.canonical(p)),
            need,
            volumes: outline.volumes.as_ref().map(|volumes| {
                let folders: Vec<&str> = volumes.list.iter().map(|v| v.at.as_str()).collect();
                let need = ext4::Need::of_copies(&rootfs.tree, &folders);
                let new = VolumesFacts { need, kept: None };
                machine.kept.as_ref().map_or(new, |kept| kept.facts(need))
            }),
        };
        let mut plan = Plan::decide(&outline, recipe, facts)?;
        plan.root.order = order(&rootfs.tree, &plan.root.order, &mut notes);
        rootfs.tree.check_steps()?;
        let esp = match &plan.esp {
            Some(esp) => Some(esp::files(esp, arch, &rootfs, loaders)?),
            None => None,
        };
        let direct = recipe.formats.contains(&Format::Rootfs);
        let direct = direct.then(|| default_entry(&plan, &rootfs)).transpose()?;
        // From here on only the contents are needed.
        let Rootfs {
            tree, mut stores, ..
        } = rootfs;
        // The two are independent and run in parallel, so UEFI takes no longer if there are two
        // processors.
        let (esp, root) = std::thread::scope(|scope| {
            let esp = esp.map(|files| scope.spawn(|| esp::lay_out(files, &plan)));
            let root = lay_out_root(tree, need, &plan);
            let esp = esp.map(|thread| {
                let bug = |_| {
                    Err(Report::failure(
                        "laying out the EFI system partition (this is a bug)",
                    ))
                };
                thread.join().unwrap_or_else(bug)
            });
            (esp, root)
        });
        let (esp, mut root) = (esp.transpose()?, root?);
        // So far it was an estimate.
        plan.root.free = ext4::free_bytes(&root);
        if plan.root.extlinux.is_some() {
            extlinux::install(&mut root, &plan, loaders)?;
        }
        let volumes = volumes::lay_out(&mut plan, machine.kept.as_ref(), &mut stores)?;
        let table = table(&plan, loaders)?;
        Ok(Assembly {
            plan,
            notes,
            has_password_hashes: passwords.hashes,
            logins,
            direct,
            stores,
            table,
            esp,
            root,
            volumes,
            kept: machine.kept.clone(),
        })
    }

    /// Writes the kernel and the initrd as files of their own, if one of the formats needs them. They
    /// do not have their names yet.
    pub(super) fn direct(
        &self,
        dir: &Utf8Path,
        access: Access,
    ) -> Result<Vec<MetadataFile>, Report> {
        match &self.direct {
            Some(direct) => direct.write(&self.plan.name, dir, access, &self.stores),
            None => Ok(Vec::new()),
        }
    }

    /// Options for the image formats: no compression, all cores.
    pub fn options(&self) -> format::Options {
        let plan = &self.plan;
        let root = plan.disk.root();
        format::Options {
            id: plan.id,
            epoch: plan.epoch,
            name: plan.name.clone(),
            sector_size: plan.disk.sector_size,
            compression: Compression::None,
            threads: processors::count(),
            machine: format::ova::Machine {
                uefi: plan.boot == BootMode::Uefi,
                ..format::ova::Machine::default()
            },
            root: Some(root.start..root.start + root.len),
        }
    }

    /// The free ranges of its file systems, as byte offsets on the disk, ascending and disjoint.
    pub fn free(&self) -> std::io::Result<Vec<std::ops::Range<u64>>> {
        let mut all = Vec::new();
        for Part { start, layout } in self.parts() {
            let free = layout.free()?;
            all.extend(free.into_iter().map(|r| start + r.start..start + r.end));
        }
        Ok(all)
    }

    /// The file systems and where they start, in the order of the disk.
    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let disk = &self.plan.disk;
        let all = [
            (disk.esp(), self.esp.as_ref()),
            (Some(disk.root()), Some(&self.root)),
            (disk.volumes(), self.volumes.as_ref()),
        ];
        all.into_iter().filter_map(|(partition, layout)| {
            Some(Part {
                start: partition?.start,
                layout: layout?,
            })
        })
    }

    /// Whether the disk contains what only its owner may read.
    pub(super) fn is_private(&self) -> bool {
        self.has_password_hashes || self.kept.is_some()
    }

    /// Number of bytes of file contents that [`Assembly::write`] reads.
    pub(super) fn content(&self) -> u64 {
        let others = self.esp.iter().chain(&self.volumes);
        let from_files = others
            .flat_map(Layout::pieces)
            .filter(|p| matches!(p.source, Source::Content { .. }));
        self.plan.root.content + from_files.map(|p| p.len).sum::<u64>()
    }

    /// Writes the disk into `sink`, once, in ascending order. `progress` gets the number of bytes
    /// of file contents as they are read.
    pub fn write(&self, sink: &mut dyn Sink, progress: &dyn Fn(u64)) -> std::io::Result<()> {
        let whole = WholeDisk {
            size: self.plan.disk.size,
            table: self.table.clone(),
            parts: self.parts().collect(),
        };
        let mut checked = Checked::new(sink, self.plan.disk.size);
        whole.emit(&self.stores, &mut checked, progress)?;
        self.kept.as_ref().map_or(Ok(()), Kept::is_unchanged)
    }
}

/// Puts the tree of a hosted container into its folder of the machine. Returns its notes.
fn graft(machine: &mut Rootfs, mut container: Rootfs) -> Result<Vec<String>, Report> {
    let notes = std::mem::take(&mut container.notes);
    machine.graft(plan::HOSTED_ROOT, container).map_err(|e| {
        Report::failure("putting the container into the machine")
            .because(e)
            .hint("use another machine: `cargo xtask machine list` shows what there is")
    })?;
    Ok(notes)
}

/// Who can log in to a complete root file system: these users with their passwords, and others with
/// keys.
fn logins(rootfs: &Rootfs, by_password: Vec<String>, given: &guest::Logins) -> Vec<String> {
    let keys = match guest::sshd::is_there(rootfs) {
        true => given.with_keys(),
        // They have no effect yet, and a note says so.
        false => Vec::new(),
    };
    let by_key = keys.into_iter();
    by_password
        .into_iter()
        .map(|name| format!("{name} by password"))
        .chain(by_key.map(|name| format!("{name} by ssh key")))
        .collect()
}

/// The guest's part of the decisions.
fn settings(machine: &MachineSpec, outline: &Outline) -> guest::Settings {
    let recipe = &machine.recipe;
    guest::Settings {
        hostname: recipe
            .hostname
            .clone()
            .unwrap_or_else(|| machine.name.clone()),
        arch: machine.arch,
        serial: recipe.serial_console.clone(),
        mounts: outline.mounts.clone(),
        kernel_arguments: recipe.kernel_arguments.clone(),
        boot_update: outline.boot_update.clone(),
        timezone: recipe.timezone.clone(),
        locale: recipe.locale.clone(),
        swap: recipe.swap,
        grow: recipe.root.grow,
        given: machine.given.clone(),
        image: outline.ids.image,
        container: outline.container.clone(),
        volumes: outline.volumes.clone(),
    }
}

/// `PRETTY_NAME` of os-release(5), or the image's name.
pub(super) fn os_name(rootfs: &Rootfs, name: &str) -> Result<String, Report> {
    for path in os_release::PATHS {
        let text = rootfs
            .read_text(path, 1 << 20)
            .map_err(|e| Report::failure(format!("reading {path}")).because(e))?
            .unwrap_or_default();
        if let Some(os) = os_release::value(&text, "PRETTY_NAME") {
            return Ok(os);
        }
    }
    Ok(name.to_owned())
}

fn lay_out_root(tree: Tree, need: ext4::Need, plan: &Plan) -> Result<Layout, Report> {
    let spec = ext4::Spec {
        size: plan.disk.root().len,
        uuid: plan.root.uuid,
        label: plan.root.label.clone(),
        epoch: plan.epoch,
        inodes: plan.root.inodes,
        reserved_percent: plan.root.reserved_percent,
        need,
    };
    let wishes = Wishes {
        dense: &dense(&plan.entries),
        order: &plan.root.order,
        split_links: plan.root.split_links,
    };
    ext4::layout(tree, &spec, wishes)
}

/// The canonical paths of what should be stored first. A note names those that do not exist.
fn order(tree: &Tree, paths: &[String], notes: &mut Vec<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for path in paths {
        match tree.canonical(path) {
            Some(path) => found.push(path),
            None => missing.push(path.as_str()),
        }
    }
    match missing[..] {
        [] => {}
        [path] => notes.push(format!(
            "root.order: {path} does not exist in the root file system, so it has no effect"
        )),
        [path, ..] => notes.push(format!(
            "root.order: {} paths do not exist in the root file system and have no effect, e.g. {path}",
            missing.len()
        )),
    }
    found
}

/// Files that EXTLINUX reads must not have holes, which it does not support. Its own files have
/// none. Other files keep their holes: a small tar may contain files of 16 TiB.
fn dense(entries: &[plan::BootEntry]) -> Vec<&str> {
    let files = entries.iter().flat_map(|e| [&e.linux, &e.initrd]);
    files.map(|file| file.path.as_str()).collect()
}

/// What is outside the partitions.
fn table(plan: &Plan, loaders: &Loaders) -> Result<Vec<(u64, Vec<u8>)>, Report> {
    let bios = loaders.bios.as_ref();
    match plan.disk.table {
        Table::Mbr { .. } => {
            let code = bios.map_or(&[][..], |b| &b.mbr);
            Ok(vec![(0, mbr::sector(&plan.disk, code)?)])
        }
        Table::Gpt { .. } => gpt::tables(&plan.disk, bios.map_or(&[][..], |b| &b.gptmbr)),
    }
}
