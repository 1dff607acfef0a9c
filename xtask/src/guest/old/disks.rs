//! Disks of an earlier machine: entries that delay every start, or end it in emergency mode.

use super::super::{Init, Report, Rootfs, rewrite, units};
use super::glance;
use super::mounts::{Fate, Wanted};

/// How long systemd waits in the background for an optional disk, instead of 90 s.
const PATIENCE: &str = "x-systemd.device-timeout=30s";

pub(super) fn clean(rootfs: &mut Rootfs, init: Init) -> Result<Vec<String>, Report> {
    let mut notes = fstab(rootfs, init)?;
    notes.extend(crypttab(rootfs)?);
    if init == Init::Systemd {
        notes.extend(mount_units(rootfs)?);
    }
    notes.extend(resume(rootfs)?);
    Ok(notes)
}

/// The fields of a line of fstab(5), the first four completed with defaults. `None` for a comment
/// or an invalid line.
fn fields(line: &str) -> Option<Vec<&str>> {
    let line = line.trim();
    let fields: Vec<&str> = line.split_whitespace().collect();
    (!line.starts_with('#') && fields.len() >= 2).then_some(fields)
}

fn wanted<'a>(fields: &[&'a str]) -> Wanted<'a> {
    let at = fields[1];
    Wanted {
        what: fields[0],
        at: if at.len() > 1 {
            at.trim_end_matches('/')
        } else {
            at
        },
        kind: fields.get(2).copied().unwrap_or("auto"),
        options: fields.get(3).copied().unwrap_or("defaults"),
    }
}

/// Handles lines for devices that the new disk does not have: removes the old disk's boot files and
/// swap, and makes others optional.
fn fstab(rootfs: &mut Rootfs, init: Init) -> Result<Vec<String>, Report> {
    const FSTAB: &str = "/etc/fstab";
    let old = glance(rootfs, FSTAB)?;
    let systemd = init == Init::Systemd;
    let places: Vec<&str> = old.lines().filter_map(|l| Some(fields(l)?[1])).collect();
    let (mut gone, mut optional) = (Vec::new(), Vec::new());
    let mut text = String::new();
    for line in old.lines() {
        let Some(fields) = fields(line) else {
            text.push_str(&format!("{line}\n"));
            continue;
        };
        let wanted = wanted(&fields);
        match wanted.fate(&rootfs.tree, systemd, &places) {
            Fate::Keep => text.push_str(&format!("{line}\n")),
            Fate::Gone => gone.push(format!("{} at {}", wanted.what, wanted.at)),
            Fate::Optional => {
                let mut options = format!("{},nofail", wanted.options);
                if systemd && !options.contains("x-systemd.device-timeout") {
                    options = format!("{options},{PATIENCE}");
                }
                // OpenRC checks all of these before it mounts any, and fails if one is missing.
                let pass = match fields.get(5) {
                    Some(pass) if systemd => pass,
                    _ => "0",
                };
                let dump = fields.get(4).unwrap_or(&"0");
                text.push_str(&format!(
                    "{} {} {} {options} {dump} {pass}\n",
                    wanted.what, fields[1], wanted.kind
                ));
                optional.push(format!("{} at {}", wanted.what, wanted.at));
            }
        }
    }
    let mut notes = Vec::new();
    if !gone.is_empty() {
        notes.push(format!(
            "removed what was on another disk from {FSTAB}: {}; the machine would have waited for it and failed to start",
            gone.join(", ")
        ));
    }
    if !optional.is_empty() {
        notes.push(format!(
            "the machine starts without {}, which this disk does not have (nofail in {FSTAB}); they are mounted when they exist",
            optional.join(", ")
        ));
    }
    if !notes.is_empty() {
        rewrite(rootfs, FSTAB, text)?;
    }
    Ok(notes)
}

/// Makes encrypted volumes on the old disk's devices optional: crypttab(5).
fn crypttab(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    const CRYPTTAB: &str = "/etc/crypttab";
    let old = glance(rootfs, CRYPTTAB)?;
    let mut names = Vec::new();
    let mut text = String::new();
    for line in old.lines() {
        let fields = fields(line).unwrap_or_default();
        let options = fields.get(3).copied().unwrap_or_default();
        let waits = !options.split(',').any(|o| o == "nofail" || o == "noauto");
        match fields[..] {
            [name, device, ..] if waits && rootfs.tree.resolve(device).is_none() => {
                let key = fields.get(2).unwrap_or(&"none");
                let comma = if options.is_empty() { "" } else { "," };
                text.push_str(&format!("{name} {device} {key} {options}{comma}nofail\n"));
                names.push(name.to_owned());
            }
            _ => text.push_str(&format!("{line}\n")),
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    let note = format!(
        "the machine starts without the encrypted volumes {}, which this disk does not have (nofail in {CRYPTTAB})",
        names.join(", ")
    );
    rewrite(rootfs, CRYPTTAB, text)?;
    Ok(Some(note))
}

/// Disables systemd units that mount devices of the old disk.
fn mount_units(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    const DIR: &str = "/etc/systemd/system";
    let tree = &rootfs.tree;
    let mut links = Vec::new();
    for (dir, _) in tree.entries(DIR) {
        if !dir.ends_with(".wants") && !dir.ends_with(".requires") {
            continue;
        }
        for (name, _) in tree.entries(format!("{DIR}/{dir}")) {
            if name.ends_with(".mount") || name.ends_with(".swap") || name.ends_with(".automount") {
                links.push((format!("{DIR}/{dir}/{name}"), name.to_owned()));
            }
        }
    }
    let mut off = Vec::new();
    for (link, name) in links {
        // The mount unit of the same name says what an automount unit mounts.
        let mount = match name.strip_suffix(".automount") {
            Some(stem) => format!("{stem}.mount"),
            None => name.clone(),
        };
        let Some(file) = units::find(rootfs, Init::Systemd, &mount) else {
            continue;
        };
        let text = glance(rootfs, &file)?;
        let value = |key: &str| {
            let of_key = |line: &str| {
                let (k, v) = line.split_once('=')?;
                (k.trim() == key).then(|| v.trim().to_owned())
            };
            text.lines().filter_map(of_key).next_back()
        };
        let what = value("What").unwrap_or_default();
        let at = value("Where").unwrap_or_else(|| "none".into());
        let kind = match name.ends_with(".swap") {
            true => "swap".into(),
            false => value("Type").unwrap_or_else(|| "auto".into()),
        };
        let mut options = value("Options").unwrap_or_default();
        if name.ends_with(".automount") {
            options.push_str(",x-systemd.automount");
        }
        let wanted = Wanted {
            what: &what,
            at: &at,
            kind: &kind,
            options: &options,
        };
        if wanted.fate(&rootfs.tree, true, &[]) != Fate::Keep {
            rootfs.tree.remove(&link);
            off.push(name);
        }
    }
    off.sort();
    off.dedup();
    Ok((!off.is_empty()).then(|| {
        format!(
            "disabled {}: this disk does not have what they mount, and the machine would have waited for it; `systemctl enable` enables them",
            off.join(", ")
        )
    }))
}

/// The disk that the old machine hibernated to: initramfs.conf(5), `RESUME`.
fn resume(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    const DIR: &str = "/etc/initramfs-tools/conf.d";
    let names = rootfs.tree.entries(DIR);
    let mut files: Vec<String> = names.map(|(name, _)| format!("{DIR}/{name}")).collect();
    files.push("/etc/initramfs-tools/initramfs.conf".into());
    let mut found = None;
    for file in files {
        let old = glance(rootfs, &file)?;
        let waits = |line: &str| {
            let value = line.trim().strip_prefix("RESUME=");
            let value = value.map(|v| v.trim_matches(['"', '\'']));
            value.is_some_and(|v| !["", "none", "auto"].contains(&v))
        };
        if !old.lines().any(waits) {
            continue;
        }
        let new = |line| if waits(line) { "RESUME=none" } else { line };
        let text: String = old.lines().flat_map(|line| [new(line), "\n"]).collect();
        rewrite(rootfs, &file, text)?;
        found = Some(file);
    }
    Ok(found.map(|file| {
        format!(
            "{file} named the swap of another disk; it now says RESUME=none, but an existing initrd waits for that disk: rebuild it with `update-initramfs -u` in the Dockerfile, or add noresume to `kernel-arguments:`"
        )
    }))
}
