//! An inspection as text: a bar of the disk, and what is in it.

use super::{Inspection, Severity, Volume};
use crate::model::Size;
use std::fmt::Write;

/// Columns of a picture that is not on a terminal.
const USUAL: u16 = 80;
/// Most lines of a list of services.
const MOST_SERVICES: usize = 60;

/// The picture, for a terminal of `width` columns.
pub fn picture(seen: &Inspection, width: Option<u16>) -> String {
    let columns = usize::from(width.unwrap_or(USUAL).clamp(40, 160));
    let mut out = String::new();
    let format = seen.format.as_deref().unwrap_or("unreadable");
    line(
        &mut out,
        &format!("{}: {format}, a disk of {}", seen.image, Size(seen.size)),
    );
    if !seen.partitions.is_empty() {
        out.push('\n');
        out.push_str(&bar(seen, columns));
        out.push('\n');
    }
    let table = match (&seen.table, &seen.id) {
        (Some(kind), Some(id)) => format!("{} {id}", kind.to_uppercase()),
        _ => "none".into(),
    };
    pair(
        &mut out,
        "table",
        &format!("{table}, sectors of {} bytes", seen.sector_size),
    );
    for volume in &seen.partitions {
        pair(
            &mut out,
            &format!("  {}", volume.number),
            &of_volume(volume),
        );
    }
    let firmware: Vec<String> = seen.firmware.iter().map(ToString::to_string).collect();
    let firmware = match firmware.is_empty() {
        true => "none".into(),
        false => firmware.join(" and "),
    };
    let arch = seen.arch.map(|a| format!(", {a}")).unwrap_or_default();
    pair(&mut out, "firmware", &format!("{firmware}{arch}"));
    pair(&mut out, "boot code", &seen.boot_code);
    for loader in &seen.loaders {
        pair(
            &mut out,
            "loader",
            &format!(
                "{} ({}, partition {})",
                loader.name, loader.firmware, loader.partition
            ),
        );
        for entry in &loader.entries {
            let mark = if entry.default { " (default)" } else { "" };
            pair(&mut out, "  entry", &format!("{}{mark}", entry.id));
            if let Some(linux) = &entry.linux {
                pair(&mut out, "    linux", linux);
            }
            for initrd in &entry.initrd {
                pair(&mut out, "    initrd", initrd);
            }
            if !entry.arguments.is_empty() {
                pair(&mut out, "    options", &entry.arguments);
            }
        }
    }
    if let Some(guest) = &seen.guest {
        of_guest(&mut out, guest, columns);
    }
    out.push('\n');
    for finding in &seen.findings {
        let only = match &finding.firmware[..] {
            [one] => format!(" ({one} only)"),
            _ => String::new(),
        };
        line(
            &mut out,
            &format!(
                "{} {}{only}: {}",
                finding.severity,
                finding.code.name(),
                finding.cause
            ),
        );
        line(&mut out, &format!("    -> {}", finding.cure));
    }
    let errors = seen
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Error);
    let end = match (errors.count(), &seen.format) {
        (0, Some(_)) => "nothing was found that stops it from booting".to_owned(),
        (0, None) => "it was not looked into".to_owned(),
        (1, _) => "it cannot boot: 1 error".to_owned(),
        (n, _) => format!("it cannot boot: {n} errors"),
    };
    line(&mut out, &end);
    out
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}", crate::printable::line(text));
}

fn pair(out: &mut String, name: &str, text: &str) {
    line(out, &format!("{name:<11} {text}"));
}

fn of_volume(volume: &Volume) -> String {
    let mut text = format!("{} {}", Size(volume.size), volume.content);
    for part in [&volume.uuid, &volume.label].into_iter().flatten() {
        let _ = write!(text, " {part}");
    }
    if let Some(free) = volume.free {
        let _ = write!(text, ", {} free", Size(free));
    }
    for (is, what) in [
        (volume.esp, "ESP"),
        (volume.bios_bootable, "marked for BIOS"),
    ] {
        if is {
            let _ = write!(text, ", {what}");
        }
    }
    text
}

fn of_guest(out: &mut String, guest: &super::Guest, columns: usize) {
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".into());
    pair(out, "system", &or(&guest.os));
    let family = match guest.family {
        super::Family::Systemd => "systemd",
        super::Family::Openrc => "OpenRC",
        super::Family::Inittab => "inittab",
        super::Family::Unknown => "unknown",
    };
    pair(out, "init", &format!("{} ({family})", or(&guest.init)));
    if let Some(target) = &guest.target {
        pair(out, "target", target);
    }
    // As many as fit in each line.
    let mut row = String::new();
    let mut first = true;
    for (n, name) in guest.services.iter().enumerate() {
        if n == MOST_SERVICES {
            row.push_str(" ...");
            break;
        }
        if !row.is_empty() && row.len() + name.len() + 13 > columns {
            pair(out, if first { "services" } else { "" }, &row);
            (first, row) = (false, String::new());
        }
        if !row.is_empty() {
            row.push(' ');
        }
        row.push_str(name);
    }
    if !row.is_empty() {
        pair(out, if first { "services" } else { "" }, &row);
    }
    let console = match guest.serial_console {
        Some(true) => "login prompt on the serial port",
        Some(false) => "no login prompt on the serial port",
        None => "unknown",
    };
    pair(out, "console", console);
    let list = |names: &[String]| match names.is_empty() {
        true => "nobody".to_owned(),
        false => names.join(", "),
    };
    let logins = format!(
        "by password: {}; by key: {}",
        list(&guest.passwords),
        list(&guest.keys)
    );
    pair(out, "logins", &logins);
    if !guest.identities.is_empty() {
        pair(out, "identities", &guest.identities.join(", "));
    }
}

/// The disk as a bar: each partition as wide as its share, but wide enough to be seen.
fn bar(seen: &Inspection, columns: usize) -> String {
    let mut parts: Vec<(u64, String)> = Vec::new();
    let mut at = 0;
    for volume in &seen.partitions {
        // Less than a thousandth is no gap that anybody looks for.
        if volume.offset.saturating_sub(at) > seen.size / 1000 + (1 << 20) {
            parts.push((volume.offset - at, "free".into()));
        }
        let name = match volume.esp {
            true => format!("{} ESP", volume.number),
            false => format!("{} {}", volume.number, volume.content),
        };
        parts.push((volume.size, name));
        at = at.max(volume.offset.saturating_add(volume.size));
    }
    if seen.size.saturating_sub(at) > seen.size / 1000 + (1 << 20) {
        parts.push((seen.size - at, "free".into()));
    }
    // A table has up to 1024 partitions; a line has room for few.
    let most = (columns - 1) / 5;
    let left_out = parts.len().saturating_sub(most);
    parts.truncate(most);
    let total: u64 = parts
        .iter()
        .fold(0_u64, |sum, (len, _)| sum.saturating_add(*len))
        .max(1);
    let room = columns - 1 - parts.len() * 5;
    let mut rows = [
        String::from("+"),
        String::from("|"),
        String::from("|"),
        String::from("+"),
    ];
    for (len, name) in &parts {
        let share = u128::from(*len) * room as u128 / u128::from(total);
        let width = 4 + usize::try_from(share).unwrap_or(0);
        let cell = |text: &str| {
            let text: String = text.chars().take(width).collect();
            format!("{text:^width$}")
        };
        let line = "-".repeat(width);
        rows[0] += &format!("{line}+");
        rows[1] += &format!("{}|", cell(name));
        rows[2] += &format!("{}|", cell(&Size(*len).to_string()));
        rows[3] += &format!("{line}+");
    }
    let mut out = rows.join("\n");
    if left_out > 0 {
        let _ = write!(out, "\n({left_out} more)");
    }
    out.push('\n');
    out
}
