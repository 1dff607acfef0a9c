//! Parses the text of a `recipe.yaml` into a [`Recipe`]. Does no I/O.

use super::{Recipe, is_reserved_id, is_user_name};
use crate::error::{Place, Report};
use crate::model::size::Size;

/// Parses and checks a recipe. Errors start with `file`, the line and the column.
pub fn parse(text: &str, file: &str) -> Result<Recipe, Report> {
    if let Some((line, column)) = too_deep(text) {
        let file = file.to_owned();
        return Err(
            Report::mistake(format!("more than {MAX_OPEN} brackets are open at once"))
                .at(Place { file, line, column })
                .hint("a recipe needs at most three"),
        );
    }
    // An empty file is a recipe with every default.
    let recipe: Option<Recipe> = serde_yaml::from_str(text).map_err(|e| syntax(&e, file))?;
    let recipe = recipe.unwrap_or_default();
    check(&recipe).map_err(|Wrong { key, why, cure }| {
        let (line, column) = locate(text, key);
        let file = file.to_owned();
        Report::mistake(format!("`{key}` {why}"))
            .at(Place { file, line, column })
            .hint(cure)
    })?;
    Ok(recipe)
}

/// Limit of brackets that are open at once. The YAML parser's run time grows with their square.
const MAX_OPEN: usize = 1000;

/// Returns the line and column of the first bracket over the limit. Brackets in strings count too:
/// no real recipe has that many.
fn too_deep(text: &str) -> Option<(usize, usize)> {
    let mut open = 0_usize;
    for (n, line) in text.lines().enumerate() {
        for (column, byte) in line.bytes().enumerate() {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > MAX_OPEN {
                return Some((n + 1, column + 1));
            }
        }
    }
    None
}

/// Formats an error of the YAML parser as `file:line:column: what`.
fn syntax(error: &serde_yaml::Error, file: &str) -> Report {
    let mut text = error.to_string();
    let report = match error.location() {
        Some(at) => {
            let (line, column) = (at.line(), at.column());
            text = text.replace(&format!(" at line {line} column {column}"), "");
            let file = file.to_owned();
            Report::mistake(&text).at(Place { file, line, column })
        }
        None => Report::mistake(format!("{file}: {text}")),
    };
    match suggestion(&text) {
        Some(known) => report.hint(format!("did you mean `{known}`?")),
        None => report
            .hint("recipes/recipe.schema.json describes every key; `cargo xtask schema` prints it"),
    }
}

/// For "unknown field `x`, expected one of `a`, `b`": returns the one that `x`
/// was likely meant to be.
fn suggestion(text: &str) -> Option<String> {
    let rest = text.split_once("unknown ")?.1;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    closest(wrong, quoted).map(str::to_owned)
}

/// Returns the known word that is closest to `wrong`, if any is similar enough.
pub fn closest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|k| (strsim::jaro_winkler(wrong, k), k))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

struct Wrong {
    /// The key, with dots between levels.
    key: &'static str,
    why: String,
    cure: &'static str,
}

fn wrong(key: &'static str, why: impl Into<String>, cure: &'static str) -> Result<(), Wrong> {
    let why = why.into();
    Err(Wrong { key, why, cure })
}

/// Checks what the types cannot express.
fn check(r: &Recipe) -> Result<(), Wrong> {
    if let Some(name) = &r.name
        && !is_name(name)
    {
        return wrong(
            "name",
            format!("is {name:?}, which is not a valid file name on every system"),
            "use letters, digits, `.`, `-` and `_`, and start with a letter or digit",
        );
    }
    if let Some(name) = r.machines.keys().find(|name| !is_name(name)) {
        return wrong(
            "machines",
            format!("has {name:?}, which is not a valid name"),
            "use letters, digits, `.`, `-` and `_`, and start with a letter or digit",
        );
    }
    if let Some(host) = &r.hostname
        && !is_hostname(host)
    {
        return wrong(
            "hostname",
            format!("is {host:?}, which is not a valid host name"),
            "use letters, digits and `-`, with at most 63 characters between dots (RFC 1123, 2.1)",
        );
    }
    if r.architectures.is_empty() {
        return wrong("architectures", "is empty", "list amd64, arm64 or both");
    }
    let is_id = |id: &String| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        !id.is_empty() && id.chars().all(fits)
    };
    if !r.serves.iter().all(is_id) {
        return wrong(
            "serves",
            "has an entry that cannot be an ID in os-release",
            "write a list of IDs from os-release, e.g. [debian]",
        );
    }
    if r.formats.is_empty() {
        return wrong(
            "formats",
            "is empty",
            "list at least one format, e.g. [raw]",
        );
    }
    if r.kernel_arguments
        .iter()
        .any(|a| a.is_empty() || a.contains(|c: char| c.is_control()))
    {
        return wrong(
            "kernel-arguments",
            "has an empty argument or one with control characters",
            "write a list with one argument per entry, e.g. [quiet, net.ifnames=0]",
        );
    }
    if r.kernel_arguments.iter().any(|a| a.starts_with("root=")) {
        return wrong(
            "kernel-arguments",
            "contains root=, which is set automatically to the root file system's UUID",
            "remove it",
        );
    }
    if let Some(port) = &r.serial_console.port {
        let is_port = port.starts_with("tty")
            && port.len() > 3
            && port.chars().all(|c| c.is_ascii_alphanumeric());
        if !is_port {
            return wrong(
                "serial-console.port",
                format!("is {port:?}, which is not a serial port"),
                "use Linux's name without /dev/, e.g. ttyS0 or ttyAMA0",
            );
        }
    }
    const BAUDS: [u32; 8] = [
        9600, 19200, 38400, 57600, 115_200, 230_400, 460_800, 921_600,
    ];
    if !BAUDS.contains(&r.serial_console.baud) {
        return wrong(
            "serial-console.baud",
            format!(
                "is {}, which is not a speed of a serial port",
                r.serial_console.baud
            ),
            "use 115200, 9600, 19200, 38400, 57600, 230400, 460800 or 921600",
        );
    }
    if r.root.label.len() > 16 || r.root.label.contains(|c: char| c.is_control()) {
        return wrong(
            "root.label",
            "is longer than 16 bytes, the limit of ext4, or has control characters",
            "use at most 16 bytes of printable text",
        );
    }
    if r.root.reserved_percent > 50 {
        return wrong(
            "root.reserved-percent",
            format!("is {}, more than half", r.root.reserved_percent),
            "use 0 to 50",
        );
    }
    if r.root.free > Size(64 << 40) {
        return wrong(
            "root.free",
            format!("is {}, more than any disk", r.root.free),
            "use the space that the machine needs, e.g. 256M or 4G",
        );
    }
    const MOST_PATHS: usize = 10_000;
    if r.root.order.len() > MOST_PATHS {
        return wrong(
            "root.order",
            format!("has {} paths, more than {MOST_PATHS}", r.root.order.len()),
            "name directories instead of all files in them",
        );
    }
    let bad_path = |p: &&String| !p.starts_with('/') || p.len() > 4095 || p.contains('\0');
    if let Some(path) = r.root.order.iter().find(bad_path) {
        return wrong(
            "root.order",
            format!("has {path:?}, which is not an absolute path"),
            "write a list of paths in the root file system, e.g. [/usr/lib/systemd, /etc]",
        );
    }
    if r.smoke.memory < 64 {
        return wrong(
            "smoke.memory",
            format!(
                "is {} MiB, which is too little to boot Linux",
                r.smoke.memory
            ),
            "use 64 or more; 512 is enough for most machines",
        );
    }
    if !(1..=255).contains(&r.smoke.cpus) {
        return wrong(
            "smoke.cpus",
            format!("is {}, which is out of range", r.smoke.cpus),
            "use 1 to 255",
        );
    }
    if r.smoke.timeout == 0 {
        return wrong(
            "smoke.timeout",
            "must be at least 1 second",
            "use the time that real hardware needs, e.g. 120",
        );
    }
    if r.smoke.run.iter().any(|c| c.trim().is_empty()) {
        return wrong(
            "smoke.run",
            "has an empty command",
            "write a list of commands, e.g. [\"systemctl is-active nginx\"]",
        );
    }
    guest(r)?;
    let bad_option = |o: &String| o.is_empty() || o.contains(|c: char| c.is_whitespace());
    if r.root.mount_options.iter().any(bad_option) {
        return wrong(
            "root.mount-options",
            "has an option that is empty or contains a space",
            "write a list, e.g. [noatime, errors=remount-ro]",
        );
    }
    Ok(())
}

/// Checks the machine's users, files, time zone and locale.
fn guest(r: &Recipe) -> Result<(), Wrong> {
    if let Some(zone) = &r.timezone
        && !is_zone(zone)
    {
        return wrong(
            "timezone",
            format!("is {zone:?}, which is not a time zone"),
            "use a name from the IANA database, e.g. Europe/Berlin or UTC",
        );
    }
    if let Some(locale) = &r.locale
        && !is_locale(locale)
    {
        return wrong(
            "locale",
            format!("is {locale:?}, which is not a locale"),
            "use a name such as C.UTF-8 or de_DE.UTF-8",
        );
    }
    if let Some(swap) = r.swap
        && !(Size(1 << 20)..=Size(64 << 30)).contains(&swap)
    {
        return wrong(
            "swap",
            format!("is {swap}, which is out of range for a swap file"),
            "use 1M to 64G, or leave it out",
        );
    }
    for (n, user) in r.users.iter().enumerate() {
        if !is_user_name(&user.name) {
            return wrong(
                "users",
                format!("has a user named {:?}", user.name),
                "use at most 32 letters, digits, `-`, `_` and `.`, and start with a letter",
            );
        }
        if r.users[..n].iter().any(|u| u.name == user.name) {
            return wrong(
                "users",
                format!("names {} twice", user.name),
                "remove one of them",
            );
        }
        if let Some(uid) = user.uid.filter(|uid| is_reserved_id(*uid)) {
            return wrong(
                "users.uid",
                format!("is {uid}, which is reserved: it means -1"),
                "use 1000 to 60000, or leave it out",
            );
        }
        let shell = user.shell.as_deref().unwrap_or("/bin/sh");
        if !shell.starts_with('/') || shell.contains(|c: char| c == ':' || c.is_control()) {
            return wrong(
                "users.shell",
                format!("is {shell:?}, which is not an absolute path"),
                "use an absolute path, e.g. /bin/bash",
            );
        }
        if let Some(group) = user.groups.iter().find(|g| !is_user_name(g)) {
            return wrong(
                "users.groups",
                format!("has {group:?}, which is not a valid group name"),
                "list groups of the root file system, e.g. [adm, video]",
            );
        }
    }
    for path in r.files.keys() {
        let parts = path.split('/').filter(|p| !p.is_empty());
        if parts.clone().count() == 0 || parts.clone().any(|p| p == "." || p == "..") {
            return wrong(
                "files",
                format!("has {path:?}, which is not a path inside files/"),
                "write the path relative to files/, e.g. etc/app.conf",
            );
        }
    }
    Ok(())
}

/// Whether a text is a valid name in the IANA time zone database (its file `theory.html`, "Timezone
/// identifiers").
fn is_zone(name: &str) -> bool {
    name.len() <= 64
        && name.split('/').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-+_".contains(c))
        })
}

/// Whether a text is a valid locale name (`language_TERRITORY.codeset@modifier`).
fn is_locale(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c))
}

/// Whether a text is a valid name for an image.
pub fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
}

/// Whether a text is a valid host name (RFC 1123, 2.1).
pub fn is_hostname(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        })
}

/// Finds the line and column of a key, counted from 1. For a recipe in flow style this is line 1.
fn locate(text: &str, key: &str) -> (usize, usize) {
    let mut lines = text.lines().enumerate();
    let mut at = (1, 1);
    for part in key.split('.') {
        let found = lines.by_ref().find_map(|(n, line)| {
            let trimmed = line.trim_start();
            let rest = trimmed.strip_prefix(part)?;
            rest.trim_start()
                .starts_with(':')
                .then_some((n + 1, line.len() - trimmed.len() + 1))
        });
        match found {
            Some(place) => at = place,
            None => break,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn error(text: &str) -> String {
        let e = parse(text, "x/recipe.yaml").unwrap_err();
        assert_eq!(e.class, crate::error::Class::Mistake);
        format!("{e}; {}", e.hint.clone().unwrap_or_default())
    }

    #[test]
    fn an_empty_recipe_has_every_default() {
        assert_eq!(parse("", "f").unwrap(), Recipe::default());
        assert_eq!(parse("# nothing\n", "f").unwrap(), Recipe::default());
    }

    #[test]
    fn everything_can_be_said() {
        let r = parse(
            "name: box\nbase: debian:13\nsize: 4G\nboot: bios\ntable: mbr\nkernel-arguments: [quiet]\nhostname: a.b\nserial-console: {enabled: true, port: ttyS1, baud: 9600}\nroot: {label: r, free: 1G, reserved-percent: 0, mount-options: [noatime]}\nformats: [raw]\nbuild-args: {KERNEL: x}\narchitectures: [amd64, arm64]\ndescription: d\nsmoke: {run: [true], memory: 512, cpus: 1, timeout: 60, failed-units: warn, read-only-root: ignore, missing-fsck: fail}\n",
            "f",
        )
        .unwrap();
        assert_eq!(r.root.free, Size(1 << 30));
        assert_eq!(r.size, crate::model::DiskSize::Fixed(Size(4 << 30)));
    }

    #[test]
    fn errors_say_where_and_what_would_be_right() {
        let e = error("name: box\nsiez: 4G\n");
        assert!(
            e.starts_with("x/recipe.yaml:2:1: unknown field `siez`"),
            "{e}"
        );
        assert!(e.contains("did you mean `size`?"), "{e}");
        let e = error("name: box\nsize: 4X\n");
        assert!(e.contains("x/recipe.yaml:2:7"), "{e}");
        assert!(e.contains("512M"), "{e}");
        let e = error("boot: bois\n");
        assert!(e.contains("did you mean `bios`?"), "{e}");
        let e = error("root:\n  label: much-too-long-a-label\n");
        assert!(e.starts_with("x/recipe.yaml:2:3: `root.label`"), "{e}");
        let e = error("name: [\n");
        assert!(e.starts_with("x/recipe.yaml:"), "{e}");
        let e = error("hostname: -a\n");
        assert!(e.contains("RFC 1123"), "{e}");
        let e = error("name: a\nname: b\n");
        assert!(e.contains("duplicate"), "{e}");
    }
}
