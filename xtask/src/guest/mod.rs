//! Turns a container into a machine, as edits of its tree.
//!
//! Nothing here depends on the name of a distribution, only on facts: which init is installed,
//! which files exist.

mod accounts;
pub mod boot;
mod clean;
mod console;
mod deptree;
mod dhcp;
mod fstab;
mod grow;
pub mod hashes;
pub mod init;
mod locale;
mod login;
mod network;
mod old;
mod overlay;
pub mod service;
pub mod sshd;
mod swap;
#[cfg(test)]
mod tests;
mod units;
pub mod volumes;

use crate::error::Report;
use crate::model::Arch;
use crate::model::size::Size;
use crate::plan::{BootUpdate, Container, Mount, Volumes};
use crate::recipe::{Recipe, SerialConsole};
use crate::rootfs::{Kind, Meta, Node, Rootfs, TreeError};
use camino::Utf8Path;
pub use clean::clean;
pub use login::{Logins, RootLogin};
pub use overlay::Overlay;
use uuid::Uuid;

/// Largest configuration file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// The settings of the machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its host name.
    pub hostname: String,
    /// Its architecture.
    pub arch: Arch,
    /// Its serial console.
    pub serial: SerialConsole,
    /// The file systems that it mounts, the root first.
    pub mounts: Vec<Mount>,
    /// Kernel arguments of the recipe. With an `init=`, no other init is needed.
    pub kernel_arguments: Vec<String>,
    /// How its boot loaders follow kernel upgrades. `None` if they read the root file system
    /// themselves.
    pub boot_update: Option<BootUpdate>,
    /// Time zone, as a name from the IANA database.
    pub timezone: Option<String>,
    /// Locale, e.g. `C.UTF-8`.
    pub locale: Option<String>,
    /// Size of a swap file, if any.
    pub swap: Option<Size>,
    /// Whether the root file system grows to the size of the disk.
    pub grow: bool,
    /// The recipe's files, and the users who can log in.
    pub given: Given,
    /// ID of the image. Salts and other IDs are derived from it.
    pub image: Uuid,
    /// The settings that it keeps from its container.
    pub container: Option<Container>,
    /// Its volumes, if they have a file system of their own.
    pub volumes: Option<Volumes>,
}

impl Settings {
    /// A machine with only a name.
    pub fn new(hostname: &str, arch: Arch) -> Settings {
        Settings {
            hostname: hostname.to_owned(),
            arch,
            serial: SerialConsole::default(),
            mounts: Vec::new(),
            kernel_arguments: Vec::new(),
            boot_update: None,
            timezone: None,
            locale: None,
            swap: None,
            grow: false,
            given: Given::default(),
            image: Uuid::nil(),
            container: None,
            volumes: None,
        }
    }
}

/// User input besides the container. It is read before anything is built, so that mistakes show
/// early.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Files to add to the root file system.
    pub overlay: Overlay,
    /// The users who can log in.
    pub logins: Logins,
}

impl Given {
    /// Nothing but what was named on the command line.
    pub fn without_recipe(root: &RootLogin) -> Result<Given, Report> {
        Ok(Given {
            overlay: Overlay::default(),
            logins: Logins::read(&Recipe::default(), Utf8Path::new("."), root)?,
        })
    }

    /// Reads the files of the recipe in the folder `dir`, and those named on the command line.
    pub fn read(recipe: &Recipe, dir: &Utf8Path, root: &RootLogin) -> Result<Given, Report> {
        Ok(Given {
            overlay: Overlay::read(&dir.join("files"), &recipe.files)?,
            logins: Logins::read(recipe, dir, root)?,
        })
    }
}

/// The kind of init, i.e. process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// systemd.
    Systemd,
    /// OpenRC, started by an init that reads /etc/inittab.
    OpenRc,
    /// Another one.
    Other,
}

impl Init {
    /// Detects the init. Fails if there is none.
    pub fn of(rootfs: &Rootfs, kernel_arguments: &[String]) -> Result<Init, Report> {
        let tree = &rootfs.tree;
        let real = init::real(rootfs, kernel_arguments)?;
        Ok(if real.ends_with("/systemd") {
            Init::Systemd
        } else if tree.exists("/sbin/openrc") || tree.exists("/usr/sbin/openrc") {
            Init::OpenRc
        } else {
            Init::Other
        })
    }
}

/// Turns a container into a machine. Returns notes for the user.
pub fn prepare(rootfs: &mut Rootfs, settings: &Settings) -> Result<Vec<String>, Report> {
    let mut notes = Vec::new();
    let init = Init::of(rootfs, &settings.kernel_arguments)?;
    if init == Init::Systemd {
        old::check_units(rootfs)?;
    }
    fstab::write(rootfs, init, &settings.mounts)?;
    notes.extend(network::write(rootfs, settings)?);
    let own_init = service::own_init(&settings.kernel_arguments);
    let native = settings.container.as_ref().filter(|c| c.root.is_none());
    if let Some(container) = native {
        notes.extend(service::disable_rivals(rootfs, init, container, &own_init)?);
    }
    notes.extend(dhcp::configure(rootfs, init, settings)?);
    machine_id(rootfs, init, settings)?;
    locale::ask_nothing(rootfs, init)?;
    if let Some(zone) = &settings.timezone {
        locale::timezone(rootfs, zone)?;
    }
    if let Some(locale) = &settings.locale {
        locale::locale(rootfs, init, locale)?;
    }
    if let Some(size) = settings.swap {
        notes.extend(swap::add(rootfs, init, size, settings.image)?);
    }
    if settings.grow {
        let what = match settings.volumes {
            None => grow::What::Root,
            Some(_) => grow::What::Volumes,
        };
        notes.extend(grow::add(rootfs, init, what)?);
    }
    notes.extend(console::add(rootfs, init, settings)?);
    if let Some(container) = &settings.container {
        notes.extend(match &container.root {
            None => service::add(rootfs, init, container, &own_init)?,
            Some(root) => service::host(rootfs, init, container, root, &own_init)?,
        });
    }
    if let Some(volumes) = &settings.volumes {
        notes.extend(volumes::add(rootfs, init, volumes)?);
    }
    if let Some(update) = &settings.boot_update {
        notes.extend(boot::add(rootfs, init, update)?);
    }
    notes.extend(accounts::lock_empty_passwords(rootfs)?);
    settings.given.logins.apply(rootfs, settings.image)?;
    notes.extend(sshd::prepare(rootfs, init, settings)?);
    settings.given.overlay.give(rootfs)?;
    accounts::hide_passwords(rootfs)?;
    // Last, because all services must be known.
    if init == Init::OpenRc {
        deptree::add(rootfs)?;
    }
    Ok(notes)
}

/// Writes an empty machine-id: each machine fills it with its own at the first boot (machine-id(5),
/// "First Boot Semantics").
fn machine_id(rootfs: &mut Rootfs, init: Init, settings: &Settings) -> Result<(), Report> {
    const ID: &str = "/etc/machine-id";
    const DBUS: &str = "/var/lib/dbus/machine-id";
    let epoch = rootfs.epoch;
    let tree = &mut rootfs.tree;
    let given = settings.given.overlay.has(ID);
    if !given && (init == Init::Systemd || tree.exists(ID)) {
        tree.write(ID, &b""[..], 0o444, epoch).map_err(edit)?;
    }
    let dbus_has_its_own = tree
        .lookup(DBUS)
        .is_some_and(|id| matches!(tree.node(id).kind, Kind::File(_)));
    if dbus_has_its_own {
        if init == Init::Systemd {
            tree.symlink(DBUS, ID, epoch).map_err(edit)?;
        } else {
            // dbus-uuidgen creates a new one if the file is missing.
            tree.remove(DBUS);
        }
    }
    Ok(())
}

/// Replaces the text of a file and keeps its owner and mode; a new file belongs to root and has the
/// mode 0644. Follows a link to a file. Anything else, and a link that leads to no file, is
/// replaced with a new file.
fn rewrite(rootfs: &mut Rootfs, path: &str, text: String) -> Result<(), Report> {
    let epoch = rootfs.epoch;
    let tree = &mut rootfs.tree;
    let file = tree.resolve(path).map(|id| tree.node(id));
    let file = file.filter(|node| matches!(node.kind, Kind::File(_)));
    let real = file.and_then(|_| tree.canonical(path));
    let (real, mut meta) = match (real, file) {
        (Some(real), Some(node)) => (real, node.meta),
        _ => (path.to_owned(), Meta::root(0o644, epoch)),
    };
    if let Some(id) = tree.lookup(&real)
        && matches!(tree.node(id).kind, Kind::Dir(_))
    {
        return Err(Report::mistake(format!(
            "{path} of the root file system is a folder, but must be a file"
        ))
        .hint("remove it in the Dockerfile"));
    }
    meta.mtime.secs = epoch;
    meta.mtime.nanos = 0;
    let node = Node::new(Kind::bytes(text.into_bytes()), meta);
    tree.insert(&real, node).map_err(edit)?;
    Ok(())
}

/// Reads a configuration file. A missing one is empty.
fn read(rootfs: &Rootfs, path: &str) -> Result<String, Report> {
    rootfs
        .read_text(path, LIMIT)
        .map(Option::unwrap_or_default)
        .map_err(|e| Report::failure(format!("reading {path} of the root file system")).because(e))
}

fn edit(error: TreeError) -> Report {
    Report::failure("turning the container into a machine")
        .because(error)
        .hint("remove the conflicting file in the Dockerfile")
}
