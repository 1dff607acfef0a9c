//! A login prompt on the serial console.

use super::{Init, Report, Rootfs, Settings, edit, read, rewrite};

pub(super) fn add(rootfs: &mut Rootfs, init: Init, settings: &Settings) -> Result<(), Report> {
    if !settings.serial.enabled {
        return Ok(());
    }
    let port = settings.serial.port_for(settings.arch);
    let baud = settings.serial.baud;
    securetty(rootfs, port)?;
    match init {
        Init::Systemd => {
            // systemd-getty-generator does the same where the kernel's last console is this
            // port; the link also holds where somebody changes the kernel arguments.
            let epoch = rootfs.epoch;
            let link =
                format!("/etc/systemd/system/getty.target.wants/serial-getty@{port}.service");
            let unit = ["/usr/lib", "/lib"]
                .iter()
                .map(|lib| format!("{lib}/systemd/system/serial-getty@.service"))
                .find(|unit| rootfs.tree.resolve(unit).is_some());
            if let Some(unit) = unit {
                rootfs.tree.symlink(&link, &unit, epoch).map_err(edit)?;
            }
            Ok(())
        }
        Init::OpenRc | Init::Other => inittab(rootfs, port, baud),
    }
}

/// A line for the port in /etc/inittab (busybox init or sysvinit), in place of one that is
/// there.
fn inittab(rootfs: &mut Rootfs, port: &str, baud: u32) -> Result<(), Report> {
    const FILE: &str = "/etc/inittab";
    let old = read(rootfs, FILE)?;
    if old.is_empty() {
        return Ok(());
    }
    let mut text: String = old
        .lines()
        .filter(|line| !line.starts_with(&format!("{port}::")))
        .flat_map(|line| [line, "\n"])
        .collect();
    let agetty = rootfs.tree.resolve("/sbin/agetty").is_some();
    let getty = if agetty {
        format!("/sbin/agetty -L {baud} {port} vt100")
    } else {
        format!("/sbin/getty -L {baud} {port} vt100")
    };
    // busybox takes the port as the first field, sysvinit takes an id of four letters there
    // and wants run levels.
    let busybox = rootfs
        .tree
        .canonical("/sbin/init")
        .is_some_and(|init| init.ends_with("/busybox"));
    let line = if busybox {
        format!("{port}::respawn:{getty}\n")
    } else {
        let id: String = port.chars().skip(port.len().saturating_sub(2)).collect();
        format!("{id}:2345:respawn:{getty}\n")
    };
    // A commented line of the same words must not count.
    if !text.lines().any(|l| l == line.trim_end()) {
        text.push_str(&line);
    }
    rewrite(rootfs, FILE, text)
}

/// Where root's logins are limited to listed terminals, this one is listed.
fn securetty(rootfs: &mut Rootfs, port: &str) -> Result<(), Report> {
    const FILE: &str = "/etc/securetty";
    let old = read(rootfs, FILE)?;
    if old.is_empty() || old.lines().any(|l| l.trim() == port) {
        return Ok(());
    }
    rewrite(rootfs, FILE, format!("{}\n{port}\n", old.trim_end()))
}
