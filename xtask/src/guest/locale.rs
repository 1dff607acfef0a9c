//! Where in the world the machine stands: its time zone and its language.

use super::{Init, Report, Rootfs, edit, read, rewrite};
use crate::rootfs::Kind;

/// The time zone by its name, in the places where systems look for it: `/etc/localtime` (the C
/// libraries, systemd) and `/etc/timezone` (Debian's family, some programs).
pub(super) fn timezone(rootfs: &mut Rootfs, zone: &str) -> Result<(), Report> {
    let data = format!("/usr/share/zoneinfo/{zone}");
    let epoch = rootfs.epoch;
    let tree = &mut rootfs.tree;
    if tree.resolve(&data).is_some() {
        tree.symlink("/etc/localtime", &data, epoch).map_err(edit)?;
    } else if ["UTC", "Etc/UTC", "GMT"].contains(&zone) {
        // What every C library does without the file.
        tree.remove("/etc/localtime");
    } else {
        let report = Report::mistake(format!(
            "the root file system does not know the time zone {zone}: it has no {data}"
        ));
        return Err(if tree.resolve("/usr/share/zoneinfo/Etc").is_some() {
            report.hint("names are those of the IANA database, as Europe/Berlin")
        } else {
            report.hint("install tzdata in the Dockerfile")
        });
    }
    rewrite(rootfs, "/etc/timezone", format!("{zone}\n"))
}

/// The language for all sessions and, where systemd is, all services.
pub(super) fn locale(rootfs: &mut Rootfs, init: Init, locale: &str) -> Result<(), Report> {
    if !knows(rootfs, locale)? {
        return Err(Report::mistake(format!(
            "the root file system does not know the locale {locale}"
        ))
        .hint(format!(
            "make it in the Dockerfile, on Debian by `apt-get install locales && localedef -i {} -f UTF-8 {locale}`, or use C.UTF-8",
            locale.split('.').next().unwrap_or_default()
        )));
    }
    let text = format!("LANG={locale}\n");
    // locale.conf(5); PAM of Debian's family reads the other one, which may be a link to it.
    if init == Init::Systemd {
        rewrite(rootfs, "/etc/locale.conf", text.clone())?;
    }
    if rootfs.tree.exists("/etc/default/locale") || rootfs.tree.exists("/etc/pam.d/login") {
        rewrite(rootfs, "/etc/default/locale", text)?;
    }
    if init != Init::Systemd && rootfs.tree.exists("/etc/profile.d") {
        // `locale` sorts behind the distribution's own file, so it has the last word.
        rewrite(
            rootfs,
            "/etc/profile.d/locale.sh",
            format!("# Written by docker-to-linux.\nexport LANG={locale}\n"),
        )?;
    }
    Ok(())
}

/// Whether the C library can find the locale.
fn knows(rootfs: &Rootfs, locale: &str) -> Result<bool, Report> {
    let tree = &rootfs.tree;
    // musl takes every name and speaks UTF-8 always.
    let musl = tree
        .entries("/lib")
        .any(|(name, _)| name.starts_with("ld-musl-"));
    if musl || ["C", "POSIX"].contains(&locale) {
        return Ok(true);
    }
    // glibc compares codesets without their dashes and capitals (its _nl_normalize_codeset).
    let normal = match locale.split_once('.') {
        Some((language, codeset)) => {
            let letters = codeset.chars().filter(char::is_ascii_alphanumeric);
            format!("{language}.{}", letters.collect::<String>().to_lowercase())
        }
        None => locale.to_owned(),
    };
    // Built into glibc since 2.35; before that Debian's package has it as a folder.
    if normal == "C.utf8" {
        return Ok(true);
    }
    let has_folder = tree
        .entries("/usr/lib/locale")
        .any(|(name, _)| name == locale || name == normal);
    if has_folder {
        return Ok(true);
    }
    // One file for many locales; the names stand in it as they are, each with a NUL behind it.
    const ARCHIVE: &str = "/usr/lib/locale/locale-archive";
    const MOST: u64 = 512 << 20;
    let archive = rootfs
        .read(ARCHIVE, MOST)
        .map_err(|e| Report::failure(format!("reading {ARCHIVE}")).because(e))?
        .unwrap_or_default();
    let name = format!("{normal}\0");
    let mut windows = archive.windows(name.len());
    Ok(windows.any(|w| w == name.as_bytes()))
}

/// systemd asks nobody at the first boot: without a terminal's owner it would wait there.
pub(super) fn ask_nothing(rootfs: &mut Rootfs, init: Init) -> Result<(), Report> {
    const UNIT: &str = "systemd-firstboot.service";
    let has = |lib: &str| rootfs.tree.exists(format!("{lib}/systemd/system/{UNIT}"));
    if init != Init::Systemd || !(has("/usr/lib") || has("/lib")) {
        return Ok(());
    }
    let mask = format!("/etc/systemd/system/{UNIT}");
    let epoch = rootfs.epoch;
    rootfs
        .tree
        .symlink(&mask, "/dev/null", epoch)
        .map_err(edit)?;
    // It would ask for what is missing; so would some programs.
    let has_locale = rootfs
        .tree
        .lookup("/etc/locale.conf")
        .is_some_and(|id| !matches!(rootfs.tree.node(id).kind, Kind::Dir(_)));
    if !has_locale && read(rootfs, "/etc/default/locale")?.is_empty() {
        rewrite(rootfs, "/etc/locale.conf", "LANG=C.UTF-8\n".into())?;
    }
    Ok(())
}
