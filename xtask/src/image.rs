//! From a root file system to a disk: puts together what the plan says and hands it to a
//! sink. The order of the steps is decided here, nothing else.

use crate::bootloader::config::{extlinux_conf, extlinux_links};
use crate::bootloader::files::{self, Bios, Loaders};
use crate::bootloader::uki;
use crate::disk::{Image, Part, gpt, mbr};
use crate::error::Report;
use crate::format::{Checked, Sink};
use crate::fs::{Layout, ext4, fat};
use crate::guest;
use crate::model::{Arch, BootMode};
use crate::plan::{self, EXTLINUX_DIR, Esp, EspContent, Facts, Ids, Plan, Table, kernels};
use crate::recipe::Recipe;
use crate::rootfs::{Content, Kind, Meta, Node, Rootfs, Stores, Tree, TreeError};

/// What image is wanted.
#[derive(Debug, Clone)]
pub struct Request {
    /// Name of the image.
    pub name: String,
    /// Architecture of the machine.
    pub arch: Arch,
    /// The recipe, with what the command line changed of it.
    pub recipe: Recipe,
    /// What lies beside the recipe, and who may log in.
    pub given: guest::Given,
    /// What is known of its container.
    pub container: plan::ContainerFacts,
}

/// A disk that is planned and laid out, and only has to be written.
#[derive(Debug)]
pub struct Assembly {
    /// What it will be.
    pub plan: Plan,
    /// What people should know of it.
    pub notes: Vec<String>,
    /// Whether its root file system holds password hashes: then the image's files are for their
    /// owner alone.
    pub has_password_hashes: bool,
    stores: Stores,
    table: Vec<(u64, Vec<u8>)>,
    esp: Option<Layout>,
    root: Layout,
}

impl Assembly {
    /// Makes a machine of `rootfs`, plans its disk and lays it out.
    pub fn new(
        mut rootfs: Rootfs,
        request: &Request,
        loaders: &Loaders,
    ) -> Result<Assembly, Report> {
        let Request {
            name, arch, recipe, ..
        } = request;
        let arch = *arch;
        let boot = plan::boot_mode(arch, recipe)?;
        let mut notes = std::mem::take(&mut rootfs.notes);
        notes.extend(guest::clean(&mut rootfs)?);
        request.given.overlay.apply(&mut rootfs)?;
        let ids = Ids::new(name, arch, &rootfs.tree.digest());
        let (container, of_container) = plan::container(&request.container, recipe.service)?;
        notes.extend(of_container);
        let settings = settings(request, boot, &ids, container.as_ref());
        notes.extend(guest::prepare(&mut rootfs, &settings)?);
        let has_password_hashes =
            guest::hashes::found(|path| rootfs.read(path, guest::hashes::LARGEST));
        if has_password_hashes {
            notes.push(
                "the image holds password hashes, so only you may read its files on this host (mode 0600)"
                    .to_owned(),
            );
        }
        // Links that lead to other links are not followed for ever: then nothing is found.
        rootfs.tree.check_steps()?;
        let found = kernels::find(&rootfs, arch, boot)?;
        notes.extend(found.notes);
        let kernels = found.kernels;
        let machine = kernels.first().and_then(|k| k.machine);
        let machine = machine.unwrap_or(plan::machine(arch));
        notes.extend(guest::init::check(
            &rootfs,
            &recipe.kernel_arguments,
            machine,
        )?);
        let os = os_name(&rootfs, name)?;
        let entries = plan::boot_entries(recipe, name, &os, &ids, &kernels, arch);
        if boot != BootMode::Uefi {
            let bios = bios(loaders)?;
            let conf = extlinux_conf(&entries, extlinux_serial(recipe, arch));
            add_extlinux(&mut rootfs, bios, conf, &extlinux_links(&entries))?;
        }
        let need = ext4::Need::of(&rootfs.tree, &dense(&entries));
        let facts = Facts {
            epoch: rootfs.epoch,
            ids,
            entries,
            kernel_bytes: kernels.iter().map(|k| k.linux.len + k.initrd.len).collect(),
            systemd_boot_bytes: loaders.systemd_boot.as_ref().map_or(0, |b| b.len() as u64),
            stub_bytes: loaders.stub.as_ref().map_or(0, |b| b.len() as u64),
            os_release: OS_RELEASE.iter().find_map(|p| rootfs.tree.canonical(p)),
            need,
            container,
        };
        let plan = Plan::new(name, arch, recipe, facts)?;
        let esp = match &plan.esp {
            Some(esp) => Some(esp_files(esp, arch, &rootfs, loaders)?),
            None => None,
        };
        // From here on only the contents are needed.
        let Rootfs { tree, stores, .. } = rootfs;
        // Neither knows of the other: where there are two processors, UEFI takes no longer.
        let (esp, root) = std::thread::scope(|scope| {
            let esp = esp.map(|files| scope.spawn(|| lay_out_esp(files, &plan)));
            let root = lay_out_root(tree, need, &plan);
            let esp = esp.map(|thread| {
                let bug = |_| {
                    Err(Report::failure(
                        "laying out the EFI system partition: a bug",
                    ))
                };
                thread.join().unwrap_or_else(bug)
            });
            (esp, root)
        });
        let (esp, mut root) = (esp.transpose()?, root?);
        // Until now that was an estimate.
        let mut plan = plan;
        plan.root.free = ext4::free_bytes(&root);
        if plan.root.extlinux.is_some() {
            install_extlinux(&mut root, &plan, bios(loaders)?)?;
        }
        let table = table(&plan, loaders)?;
        Ok(Assembly {
            plan,
            notes,
            has_password_hashes,
            stores,
            table,
            esp,
            root,
        })
    }

    /// The free space of its file systems, in bytes of the disk: ascending and disjoint.
    pub fn free(&self) -> std::io::Result<Vec<std::ops::Range<u64>>> {
        let mut all = Vec::new();
        let disk = &self.plan.disk;
        for (partition, layout) in [
            (disk.esp(), self.esp.as_ref()),
            (Some(disk.root()), Some(&self.root)),
        ] {
            let (Some(partition), Some(layout)) = (partition, layout) else {
                continue;
            };
            let start = partition.start;
            let free = layout.free()?;
            all.extend(free.into_iter().map(|r| start + r.start..start + r.end));
        }
        Ok(all)
    }

    /// Writes the disk into `sink`, once, in ascending order. `progress` is told bytes of file
    /// contents as they are read.
    pub fn write(&self, sink: &mut dyn Sink, progress: &dyn Fn(u64)) -> std::io::Result<()> {
        let disk = &self.plan.disk;
        let mut parts = vec![Part {
            start: disk.root().start,
            layout: &self.root,
        }];
        if let (Some(partition), Some(layout)) = (disk.esp(), &self.esp) {
            parts.push(Part {
                start: partition.start,
                layout,
            });
        }
        let image = Image {
            size: disk.size,
            table: self.table.clone(),
            parts,
        };
        let mut checked = Checked::new(sink, self.plan.disk.size);
        image.emit(&self.stores, &mut checked, progress)
    }
}

fn bios(loaders: &Loaders) -> Result<&Bios, Report> {
    loaders
        .bios
        .as_ref()
        .ok_or_else(|| Report::failure("the files of EXTLINUX were not loaded"))
}

/// EXTLINUX's configuration file, in its directory.
const EXTLINUX_CONF: &str = "extlinux.conf";

/// Where the machine mounts its EFI system partition (UAPI group, Boot Loader Specification,
/// "The Partitions").
const ESP_MOUNT: &str = "/efi";

fn settings(
    request: &Request,
    boot: BootMode,
    ids: &Ids,
    container: Option<&plan::Container>,
) -> guest::Settings {
    let recipe = &request.recipe;
    let mut mounts = vec![guest::Mount {
        what: format!("UUID={}", ids.root),
        at: "/".into(),
        kind: "ext4".into(),
        options: recipe.root.mount_options.clone(),
        pass: 1,
    }];
    if boot != BootMode::Bios {
        mounts.push(guest::Mount {
            what: format!("UUID={}", ids.esp_uuid()),
            at: ESP_MOUNT.into(),
            kind: "vfat".into(),
            // Boot loaders are root's affair; a machine whose ESP is broken still boots.
            options: ["umask=0077", "nofail", "x-systemd.automount"]
                .map(str::to_owned)
                .into(),
            pass: 0,
        });
    }
    guest::Settings {
        hostname: recipe
            .hostname
            .clone()
            .unwrap_or_else(|| request.name.clone()),
        arch: request.arch,
        serial: recipe.serial_console.clone(),
        mounts,
        kernel_arguments: recipe.kernel_arguments.clone(),
        boot_update: (boot != BootMode::Bios).then(|| guest::BootUpdate {
            token: plan::entry_token(&request.name),
            arguments: plan::kernel_arguments(recipe, ids, request.arch),
            architecture: plan::efi_architecture(request.arch).to_owned(),
            esp: ESP_MOUNT.to_owned(),
            extlinux: (boot == BootMode::Hybrid).then(|| format!("{EXTLINUX_DIR}/{EXTLINUX_CONF}")),
        }),
        timezone: recipe.timezone.clone(),
        locale: recipe.locale.clone(),
        swap: recipe.swap,
        grow: recipe.root.grow,
        given: request.given.clone(),
        image: ids.image,
        container: container.cloned(),
    }
}

/// Where os-release(5) may lie, the first one first.
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// `PRETTY_NAME` of os-release(5), or the image's name.
fn os_name(rootfs: &Rootfs, name: &str) -> Result<String, Report> {
    for path in OS_RELEASE {
        let text = rootfs
            .read_text(path, 1 << 20)
            .map_err(|e| Report::failure(format!("reading {path}")).because(e))?
            .unwrap_or_default();
        let found = text
            .lines()
            .find_map(|l| l.strip_prefix("PRETTY_NAME="))
            .map(|v| v.trim().trim_matches(['"', '\'']).to_owned());
        if let Some(os) = found.filter(|os| !os.is_empty()) {
            return Ok(os);
        }
    }
    Ok(name.to_owned())
}

/// The number of the PC's serial port for EXTLINUX, if it can drive the console's.
fn extlinux_serial(recipe: &Recipe, arch: Arch) -> Option<(u8, u32)> {
    let serial = &recipe.serial_console;
    let number = serial.port_for(arch).strip_prefix("ttyS")?.parse().ok()?;
    serial.enabled.then_some((number, serial.baud))
}

/// Puts EXTLINUX's files into the tree; ldlinux.sys gets its bytes when its place is known.
fn add_extlinux(
    rootfs: &mut Rootfs,
    bios: &Bios,
    conf: String,
    links: &[(String, String)],
) -> Result<(), Report> {
    let epoch = rootfs.epoch;
    let edit = |e: TreeError| Report::failure("adding EXTLINUX").because(e);
    let tree = &mut rootfs.tree;
    tree.mkdir(EXTLINUX_DIR, 0o755, epoch).map_err(edit)?;
    let path = |name: &str| format!("{EXTLINUX_DIR}/{name}");
    let late = Content::Late {
        len: bios.extlinux.ldlinux_sys_len(),
    };
    let sys = Node::new(Kind::File(late), Meta::root(0o444, epoch));
    tree.insert(path("ldlinux.sys"), sys).map_err(edit)?;
    let c32 = bios.extlinux.ldlinux_c32();
    tree.write(&path("ldlinux.c32"), c32, 0o444, epoch)
        .map_err(edit)?;
    tree.write(&path(EXTLINUX_CONF), conf.into_bytes(), 0o644, epoch)
        .map_err(edit)?;
    for (name, target) in links {
        tree.symlink(&path(name), target, epoch).map_err(edit)?;
    }
    Ok(())
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
    ext4::layout(tree, &spec, &dense(&plan.entries))
}

/// What EXTLINUX reads and may have holes, which it cannot read. Its own files have none. Nothing
/// else is dense: a small tar may hold files of 16 TiB.
fn dense(entries: &[plan::BootEntry]) -> Vec<&str> {
    let files = entries.iter().flat_map(|e| [&e.linux, &e.initrd]);
    files.map(|file| file.path.as_str()).collect()
}

/// Patches EXTLINUX for the place that ldlinux.sys got.
fn install_extlinux(root: &mut Layout, plan: &Plan, bios: &Bios) -> Result<(), Report> {
    let failed = |e: std::io::Error| Report::failure("installing EXTLINUX").because(e);
    let partition = plan.disk.root();
    let installed =
        bios.extlinux
            .install(&root.late(), EXTLINUX_DIR, partition.start, partition.len)?;
    root.supply(&installed.ldlinux_sys).map_err(failed)?;
    root.overwrite_start(&installed.boot_sector).map_err(failed)
}

/// The files of the EFI system partition. Kernels and initrds are streamed from where the root
/// file system has them; they lie on the disk twice, for systemd-boot reads FAT only.
fn esp_files<'a>(
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
                        .hint("it is in the package systemd-boot-efi; put it beside systemd-boot's EFI program, or use `boot-entry: type1`")
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
fn lay_out_esp(files: Vec<fat::File<'_>>, plan: &Plan) -> Result<Layout, Report> {
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

/// What lies outside of the partitions.
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
