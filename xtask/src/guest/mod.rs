//! What a container lacks to be a machine, as edits of its tree.
//!
//! Nothing here knows a distribution by name; it knows families of facts: which init there is,
//! which files exist.

mod accounts;
pub mod boot;
mod clean;
mod console;
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
mod sshd;
mod swap;
#[cfg(test)]
mod tests;
mod units;

use crate::error::Report;
use crate::model::Arch;
use crate::model::size::Size;
use crate::plan::{BootUpdate, Container, Mount};
use crate::recipe::{Recipe, SerialConsole};
use crate::rootfs::{Kind, Meta, Node, Rootfs, TreeError};
use camino::Utf8Path;
pub use clean::clean;
pub use login::{Logins, RootLogin};
pub use overlay::Overlay;
use uuid::Uuid;

/// Largest configuration file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// What the machine is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its host name.
    pub hostname: String,
    /// Its architecture.
    pub arch: Arch,
    /// Its serial console.
    pub serial: SerialConsole,
    /// What it mounts, the root first.
    pub mounts: Vec<Mount>,
    /// Kernel arguments of the recipe: an `init=` there makes every other init needless.
    pub kernel_arguments: Vec<String>,
    /// How its boot loaders follow upgrades of its kernel; nothing where they read the root
    /// file system themselves.
    pub boot_update: Option<BootUpdate>,
    /// Time zone, by its name.
    pub timezone: Option<String>,
    /// Language, by the name of its locale.
    pub locale: Option<String>,
    /// Size of a swap file.
    pub swap: Option<Size>,
    /// Whether the root file system grows to the size of the disk.
    pub grow: bool,
    /// What lies beside the recipe, and who may log in.
    pub given: Given,
    /// Identity of the image, from which salts and ids of what is made here come.
    pub image: Uuid,
    /// What it keeps of its container.
    pub container: Option<Container>,
}

impl Settings {
    /// A machine that has nothing but a name.
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
        }
    }
}

/// What people give besides a container: read before anything is built, so that a mistake costs
/// no time.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Files that are laid over the root file system.
    pub overlay: Overlay,
    /// Who may log in.
    pub logins: Logins,
}

impl Given {
    /// Reads what the recipe in the folder `dir` and the command line name.
    pub fn read(recipe: &Recipe, dir: &Utf8Path, root: &RootLogin) -> Result<Given, Report> {
        Ok(Given {
            overlay: Overlay::read(&dir.join("files"), &recipe.files)?,
            logins: Logins::read(recipe, dir, root)?,
        })
    }
}

/// What runs as process 1.
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
    /// Finds out. Fails if there is none.
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

/// Makes a machine of a container. Returns what people should know of it, a line each.
pub fn prepare(rootfs: &mut Rootfs, settings: &Settings) -> Result<Vec<String>, Report> {
    let mut notes = Vec::new();
    let init = Init::of(rootfs, &settings.kernel_arguments)?;
    if init == Init::Systemd {
        old::check_units(rootfs)?;
    }
    fstab::write(rootfs, init, &settings.mounts)?;
    notes.extend(network::write(rootfs, settings)?);
    let own_init = service::own_init(&settings.kernel_arguments);
    if let Some(container) = &settings.container {
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
        notes.extend(grow::add(rootfs, init)?);
    }
    notes.extend(console::add(rootfs, init, settings)?);
    if let Some(container) = &settings.container {
        notes.extend(service::add(rootfs, init, container, &own_init)?);
    }
    if let Some(update) = &settings.boot_update {
        notes.extend(boot::add(rootfs, init, update)?);
    }
    notes.extend(accounts::lock_empty_passwords(rootfs)?);
    settings.given.logins.apply(rootfs, settings.image)?;
    notes.extend(sshd::prepare(rootfs, init, settings)?);
    settings.given.overlay.give(rootfs)?;
    accounts::hide_passwords(rootfs)?;
    Ok(notes)
}

/// An empty machine-id: the first boot fills it, each machine with its own
/// (machine-id(5), "First Boot Semantics").
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
            // dbus-uuidgen makes a new one where the file is missing.
            tree.remove(DBUS);
        }
    }
    Ok(())
}

/// Replaces the text of a file and keeps its owner and mode; a new file is root's, 0644. A link to
/// a file is followed. What is no file, and a link that leads to none, is replaced: the mode of a
/// link or a device says nothing of a file's.
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
            "{path} of the root file system is a folder, where a file is needed"
        ))
        .hint("remove it in the Dockerfile"));
    }
    meta.mtime.secs = epoch;
    meta.mtime.nanos = 0;
    let node = Node::new(Kind::bytes(text.into_bytes()), meta);
    tree.insert(&real, node).map_err(edit)?;
    Ok(())
}

/// Reads a configuration file; an absent one is empty.
fn read(rootfs: &Rootfs, path: &str) -> Result<String, Report> {
    rootfs
        .read_text(path, LIMIT)
        .map(Option::unwrap_or_default)
        .map_err(|e| Report::failure(format!("reading {path} of the root file system")).because(e))
}

fn edit(error: TreeError) -> Report {
    Report::failure("making a machine of the container")
        .because(error)
        .hint("remove in the Dockerfile what is in the way there")
}
