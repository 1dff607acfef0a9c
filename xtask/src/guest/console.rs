//! Login prompts on the screen and on the serial console.

use super::{Init, Report, Rootfs, Settings, edit, read, rewrite, units};
use crate::rootfs::Kind;

/// Adds the prompts. Returns notes: if there is no program for one, or if a console gives a shell
/// without a login.
pub(super) fn add(
    rootfs: &mut Rootfs,
    init: Init,
    settings: &Settings,
) -> Result<Vec<String>, Report> {
    let mut notes: Vec<String> = screen(rootfs, init)?.into_iter().collect();
    if settings.serial.enabled {
        notes.extend(serial(rootfs, init, settings)?);
    }
    // One cause, one note.
    notes.dedup();
    notes.extend(open_shell(rootfs)?);
    Ok(notes)
}

/// The first terminal of the screen, unless systemd or the distribution's /etc/inittab already
/// starts a prompt there.
fn screen(rootfs: &mut Rootfs, init: Init) -> Result<Option<String>, Report> {
    const UNIT: &str = "getty@tty1.service";
    if init == Init::Systemd {
        let unit = units::find(rootfs, init, "getty@.service");
        if let Some(unit) = unit.filter(|_| !units::is_enabled(rootfs, init, UNIT)) {
            let epoch = rootfs.epoch;
            let link = format!("/etc/systemd/system/getty.target.wants/{UNIT}");
            rootfs.tree.symlink(&link, &unit, epoch).map_err(edit)?;
        }
        return Ok(None);
    }
    let old = read(rootfs, "/etc/inittab")?;
    let is_there = old
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .any(|line| line.contains("getty") && line.contains("tty1"));
    if is_there {
        return Ok(None);
    }
    inittab(rootfs, "tty1", None)
}

/// Whether a console gives a shell without a login.
fn open_shell(rootfs: &Rootfs) -> Result<Option<String>, Report> {
    let busybox = rootfs
        .tree
        .canonical("/sbin/init")
        .is_some_and(|init| init.ends_with("/busybox"));
    let text = read(rootfs, "/etc/inittab")?;
    // id:levels:action:command; busybox asks for Enter before `askfirst`.
    let opens = |line: &str| {
        let mut fields = line.splitn(4, ':').skip(2);
        let action = fields.next().unwrap_or_default();
        let command = fields.next().unwrap_or_default().trim_start_matches('-');
        let program = command.split_whitespace().next().unwrap_or_default();
        let shell = ["sh", "ash", "bash"].contains(&program.rsplit('/').next().unwrap_or_default());
        !line.starts_with('#') && shell && ["respawn", "askfirst"].contains(&action)
    };
    // This is also busybox init's default without the file (busybox, init/init.c, parse_inittab).
    let open = (busybox && text.is_empty()) || text.lines().any(opens);
    Ok(open.then(|| {
        "anyone at the console of this machine is root without a password: its /etc/inittab starts a shell instead of a getty, or is missing".into()
    }))
}

fn serial(rootfs: &mut Rootfs, init: Init, settings: &Settings) -> Result<Option<String>, Report> {
    let port = settings.serial.port_for(settings.arch);
    let baud = settings.serial.baud;
    securetty(rootfs, port)?;
    match init {
        Init::Systemd => {
            // systemd-getty-generator does the same if this port is the kernel's last console. The
            // link also works after somebody changes the kernel arguments.
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
            Ok(None)
        }
        Init::OpenRc | Init::Other => inittab(rootfs, port, Some(baud)),
    }
}

/// The command that shows a login prompt, up to its options.
fn getty(rootfs: &Rootfs) -> Option<String> {
    const FOLDERS: [&str; 4] = ["/sbin", "/usr/sbin", "/bin", "/usr/bin"];
    let find = |program: &str| {
        let paths = FOLDERS.iter().map(|folder| format!("{folder}/{program}"));
        paths.into_iter().find(|path| {
            let node = rootfs.tree.resolve(path).map(|id| rootfs.tree.node(id));
            node.is_some_and(|node| matches!(node.kind, Kind::File(_)))
        })
    };
    let applet = || find("busybox").map(|busybox| format!("{busybox} getty"));
    find("agetty").or_else(|| find("getty")).or_else(applet)
}

/// Sets the line for a terminal in /etc/inittab (busybox init or sysvinit), replacing an existing
/// one. Serial ones have a speed. Without a program for it, the file stays as it is; the result is
/// a note then.
fn inittab(rootfs: &mut Rootfs, port: &str, baud: Option<u32>) -> Result<Option<String>, Report> {
    const FILE: &str = "/etc/inittab";
    let old = read(rootfs, FILE)?;
    if old.is_empty() {
        return Ok(None);
    }
    let Some(program) = getty(rootfs) else {
        return Ok(Some(
            "nothing in this root file system can show a login prompt: install agetty (util-linux) or busybox in the Dockerfile".into(),
        ));
    };
    let mut text: String = old
        .lines()
        .filter(|line| !line.starts_with(&format!("{port}::")))
        .flat_map(|line| [line, "\n"])
        .collect();
    let getty = match baud {
        Some(baud) => format!("{program} -L {baud} {port} vt100"),
        None => format!("{program} 38400 {port} linux"),
    };
    // busybox expects the port in the first field; sysvinit expects an ID of up to four letters and
    // run levels.
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
    // Ignore a commented line with the same text.
    if !text.lines().any(|l| l == line.trim_end()) {
        text.push_str(&line);
    }
    rewrite(rootfs, FILE, text)?;
    Ok(None)
}

/// Adds this terminal to the list of terminals where root may log in, if there is one.
fn securetty(rootfs: &mut Rootfs, port: &str) -> Result<(), Report> {
    const FILE: &str = "/etc/securetty";
    let old = read(rootfs, FILE)?;
    if old.is_empty() || old.lines().any(|l| l.trim() == port) {
        return Ok(());
    }
    rewrite(rootfs, FILE, format!("{}\n{port}\n", old.trim_end()))
}
