//! The machine's time zone and locale.

use super::{Init, Report, Rootfs, edit, read, rewrite};
use crate::rootfs::Kind;

/// Sets the time zone in all places where systems look for it: `/etc/localtime` (the C libraries,
/// systemd) and `/etc/timezone` (Debian's family, some programs).
pub(super) fn timezone(rootfs: &mut Rootfs, zone: &str) -> Result<(), Report> {
    let data = format!("/usr/share/zoneinfo/{zone}");
    let epoch = rootfs.epoch;
    let tree = &mut rootfs.tree;
    if tree.resolve(&data).is_some() {
        tree.symlink("/etc/localtime", &data, epoch).map_err(edit)?;
    } else if ["UTC", "Etc/UTC", "GMT"].contains(&zone) {
        // Every C library uses UTC without the file.
        tree.remove("/etc/localtime");
    } else {
        let report = Report::mistake(format!(
            "the root file system does not have the time zone {zone}: {data} does not exist"
        ));
        return Err(if tree.resolve("/usr/share/zoneinfo/Etc").is_some() {
            report.hint("use a name from the IANA database, e.g. Europe/Berlin")
        } else {
            report.hint("install tzdata in the Dockerfile")
        });
    }
    rewrite(rootfs, "/etc/timezone", format!("{zone}\n"))
}

/// Sets the locale for all sessions and, with systemd, all services.
pub(super) fn locale(rootfs: &mut Rootfs, init: Init, locale: &str) -> Result<(), Report> {
    if !knows(rootfs, locale)? {
        return Err(Report::mistake(format!(
            "the root file system does not have the locale {locale}"
        ))
        .hint(format!(
            "create it in the Dockerfile, on Debian with `apt-get install locales && localedef -i {} -f UTF-8 {locale}`, or use C.UTF-8",
            locale.split('.').next().unwrap_or_default()
        )));
    }
    let text = format!("LANG={locale}\n");
    // locale.conf(5). PAM in Debian's family reads the other file, which may be a link to this one.
    if init == Init::Systemd {
        rewrite(rootfs, "/etc/locale.conf", text.clone())?;
    }
    if rootfs.tree.exists("/etc/default/locale") || rootfs.tree.exists("/etc/pam.d/login") {
        rewrite(rootfs, "/etc/default/locale", text)?;
    }
    if init != Init::Systemd && rootfs.tree.exists("/etc/profile.d") {
        // This name sorts after the distribution's own file, so it wins.
        rewrite(
            rootfs,
            "/etc/profile.d/locale.sh",
            format!("# Written by docker-to-linux.\nexport LANG={locale}\n"),
        )?;
    }
    Ok(())
}

/// Whether the C library has the locale.
fn knows(rootfs: &Rootfs, locale: &str) -> Result<bool, Report> {
    let tree = &rootfs.tree;
    // musl accepts every name and always uses UTF-8.
    let musl = tree
        .entries("/lib")
        .any(|(name, _)| name.starts_with("ld-musl-"));
    if musl || ["C", "POSIX"].contains(&locale) {
        return Ok(true);
    }
    // glibc compares codesets without dashes and case (its _nl_normalize_codeset).
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
    // One file for many locales. It contains their names verbatim, each followed by a NUL.
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

/// Disables systemd's questions at the first boot, which would wait for an answer on the console.
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
    // systemd would ask for what is missing, and so would some programs.
    let has_locale = rootfs
        .tree
        .lookup("/etc/locale.conf")
        .is_some_and(|id| !matches!(rootfs.tree.node(id).kind, Kind::Dir(_)));
    if !has_locale && read(rootfs, "/etc/default/locale")?.is_empty() {
        rewrite(rootfs, "/etc/locale.conf", "LANG=C.UTF-8\n".into())?;
    }
    Ok(())
}
