//! Units and services of the root file system that conflict with the container's command.
//!
//! None of them ever ran in the container: a package, or a line of a Dockerfile, enabled them for a
//! machine. The machine needs most of them. Only a unit that would start the command's own program
//! a second time conflicts with it (the nginx of the package and the nginx of the command both need
//! the same port). Units that provide the machine's network, names, time or log stay, unless they
//! are the command's program itself.

use super::super::{Init, Report, Rootfs, edit, units};
use super::nature::starts_others;
use super::packages;
use super::program::{Finder, Program, base, commands};
use crate::plan::Container;
use crate::rootfs::Kind;

/// The programs that the command starts.
struct Started {
    /// All programs from wrappers and shells to the last one.
    own: Vec<Program>,
    /// The words of the scripts and supervisor files that it runs.
    words: Vec<String>,
}

/// Maximum number of scripts that are read.
const MAX_SCRIPTS: usize = 200;

/// The service folders of supervisors that are common in containers.
const SUPERVISED: [&str; 9] = [
    "/etc/supervisord.conf",
    "/etc/supervisor",
    "/etc/supervisor.d",
    "/etc/supervisord.d",
    "/etc/services.d",
    "/etc/s6-overlay/s6-rc.d",
    "/etc/cont-init.d",
    "/etc/service",
    "/etc/my_init.d",
];

/// Disables what conflicts with the container's command. Returns a note with the names.
pub(super) fn disable(
    rootfs: &mut Rootfs,
    init: Init,
    container: &Container,
) -> Result<Option<String>, Report> {
    let found = find(rootfs, init, container);
    let epoch = rootfs.epoch;
    for rival in &found {
        for link in &rival.links {
            rootfs.tree.remove(link);
        }
        if rival.mask {
            let mask = format!("/etc/systemd/system/{}", rival.name);
            rootfs
                .tree
                .symlink(&mask, "/dev/null", epoch)
                .map_err(edit)?;
        }
    }
    let names: Vec<&str> = found.iter().map(|r| r.name.as_str()).collect();
    let (all, verb) = match init {
        Init::Systemd => ("systemctl enable", "unmask"),
        _ => ("rc-update add", "add"),
    };
    let how = match found.iter().any(|r| r.mask) {
        true => format!("systemctl {verb}"),
        false => all.to_owned(),
    };
    Ok((!names.is_empty()).then(|| {
        format!(
            "disabled {}: it would start the same program as the container's command a second time (`{how}` in the machine enables it)",
            names.join(", ")
        )
    }))
}

/// An enabled unit or service.
struct Enabled {
    /// E.g. `nginx.service`, or `nginx` for OpenRC.
    name: String,
    /// The links that start it.
    links: Vec<String>,
    /// Whether it must be masked because no removable link starts it.
    mask: bool,
}

fn find(rootfs: &Rootfs, init: Init, container: &Container) -> Vec<Enabled> {
    let enabled = match init {
        Init::Systemd => {
            let mut all = enabled_units(rootfs);
            all.extend(old_scripts(rootfs));
            all
        }
        Init::OpenRc => enabled_services(rootfs),
        Init::Other => return Vec::new(),
    };
    if enabled.is_empty() {
        return Vec::new();
    }
    let finder = Finder::new(rootfs, container);
    let started = Started::of(finder, container);
    let mut found: Vec<Enabled> = Vec::new();
    let mut rest = Vec::new();
    for unit in enabled {
        match competes(finder, init, &unit, &started) {
            true => found.push(unit),
            false => rest.push(unit),
        }
    }
    // A unit's socket, timer or path unit would start it again.
    for unit in rest {
        let ends = [".socket", ".timer", ".path"];
        if ends.iter().any(|e| unit.name.ends_with(e))
            && found.iter().any(|f| stem(&f.name) == stem(&unit.name))
        {
            found.push(unit);
        }
    }
    found
}

/// The name of a unit without its type and instance.
fn stem(name: &str) -> &str {
    let name = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    name.split('@').next().unwrap_or(name)
}

fn competes(finder: Finder<'_>, init: Init, unit: &Enabled, started: &Started) -> bool {
    let rootfs = finder.rootfs;
    let template = unit
        .name
        .split_once('@')
        .map(|(stem, _)| format!("{stem}@.service"));
    let file = units::find(rootfs, init, &unit.name)
        .or_else(|| units::find(rootfs, init, template.as_deref()?))
        .or_else(|| Some(format!("/etc/init.d/{}", stem(&unit.name))));
    let text = file
        .as_deref()
        .and_then(|f| rootfs.read_text(f, super::super::LIMIT).ok().flatten());
    let text = text.unwrap_or_default();
    let is_unit = unit.name.contains('.') && !unit.mask;
    let programs = if is_unit {
        of_unit(finder, &text)
    } else {
        of_script(finder, &text)
    };
    let name = stem(&unit.name);
    let own = |p: &Program| {
        programs.iter().any(|q| q.is(p))
            || is_name_of(name, p.name())
            || is_name_of(name, base(&p.real))
    };
    if started.own.iter().any(own) {
        return true;
    }
    if is_facility(&text, is_unit) {
        return false;
    }
    started.words.iter().any(|word| {
        base(word) == name
            || finder
                .find(word)
                .is_some_and(|p| programs.iter().any(|q| q.is(&p)))
    }) || file.is_some_and(|file| {
        let own = started.own.iter().map(|p| p.real.as_str());
        packages::share_source(rootfs, own, &file)
    })
}

/// Whether a unit is named after a program: `ssh` after `sshd`, `postgresql` after `postgres`.
fn is_name_of(unit: &str, program: &str) -> bool {
    let (short, long) = match unit.len() < program.len() {
        true => (unit, program),
        false => (program, unit),
    };
    short.len() >= 3 && long.starts_with(short) && long.len() - short.len() <= 2
}

/// Whether a unit provides something that other units wait for: it orders itself before a target of
/// a facility (systemd.special(7), "Special Passive System Units") or before a part of the system's
/// start, or it runs too early for the usual dependencies. An OpenRC service declares it with
/// `provide`.
fn is_facility(text: &str, is_unit: bool) -> bool {
    const BEFORE: [&str; 14] = [
        "network-pre.target",
        "network.target",
        "network-online.target",
        "nss-lookup.target",
        "nss-user-lookup.target",
        "time-set.target",
        "time-sync.target",
        "remote-fs-pre.target",
        "rpcbind.target",
        "sysinit.target",
        "basic.target",
        "systemd-user-sessions.service",
        "display-manager.service",
        "getty.target",
    ];
    const PROVIDES: [&str; 6] = ["net", "dns", "logger", "clock", "dev", "firewall"];
    text.lines().any(|line| {
        let line = line.trim();
        if !is_unit {
            let mut words = line.split_whitespace();
            return words.next() == Some("provide") && words.any(|w| PROVIDES.contains(&w));
        }
        let Some((key, value)) = line.split_once('=') else {
            return false;
        };
        match key.trim() {
            "DefaultDependencies" => ["no", "false", "0", "off"].contains(&value.trim()),
            "Before" => value.split_whitespace().any(|t| BEFORE.contains(&t)),
            "Alias" => value.contains("dbus-org.freedesktop."),
            "BusName" => value.trim().starts_with("org.freedesktop."),
            _ => false,
        }
    })
}

/// The programs in a unit file (systemd.service(5), "COMMAND LINES").
fn of_unit(finder: Finder<'_>, text: &str) -> Vec<Program> {
    let starts = text
        .lines()
        .filter_map(|l| l.trim().strip_prefix("ExecStart="));
    let mut all = Vec::new();
    for command in starts {
        let words = command.trim_start_matches(['@', '-', ':', '+', '!', ' ', '|']);
        let mut words = words.split_whitespace();
        let first = words.next().and_then(|w| finder.find(w));
        let starter = first.as_ref().is_none_or(|p| starts_others(p.name()));
        all.extend(first);
        if starter {
            let word = |w: &str| w.trim_matches(['\'', '"', ';']).to_owned();
            all.extend(words.filter_map(|w| finder.find(&word(w))));
        }
    }
    all.retain(|p| !starts_others(p.name()));
    all
}

/// The programs in an OpenRC or System V script: `command=`, `DAEMON=`.
fn of_script(finder: Finder<'_>, text: &str) -> Vec<Program> {
    let value = |line: &str| {
        let (key, value) = line.trim().split_once('=')?;
        let keys = ["command", "DAEMON", "daemon", "exec", "EXEC", "BIN"];
        let value = value.split_whitespace().next()?.trim_matches(['"', '\'']);
        // `: ${command:=/usr/sbin/x}` is rare; then the service's name is used.
        keys.contains(&key).then(|| finder.find(value))?
    };
    text.lines().filter_map(value).collect()
}

/// Services that a link in /etc enables: only those can be disabled.
fn enabled_units(rootfs: &Rootfs) -> Vec<Enabled> {
    const DIR: &str = "/etc/systemd/system";
    let tree = &rootfs.tree;
    let mut all: Vec<Enabled> = Vec::new();
    let wants = tree.entries(DIR).map(|(name, _)| name);
    for dir in wants.filter(|d| d.ends_with(".wants") || d.ends_with(".requires")) {
        for (name, id) in tree.entries(&format!("{DIR}/{dir}")) {
            if matches!(tree.node(id).kind, Kind::Symlink(_)) {
                let link = format!("{DIR}/{dir}/{name}");
                push(&mut all, name, link, false);
            }
        }
    }
    all
}

fn push(all: &mut Vec<Enabled>, name: &str, link: String, mask: bool) {
    match all.iter_mut().find(|e| e.name == name) {
        Some(known) => known.links.push(link),
        None => all.push(Enabled {
            name: name.to_owned(),
            links: vec![link],
            mask,
        }),
    }
}

/// System V scripts without a unit: systemd generates units for those that a runlevel starts
/// (systemd-sysv-generator(8)).
fn old_scripts(rootfs: &Rootfs) -> Vec<Enabled> {
    let tree = &rootfs.tree;
    let mut all: Vec<Enabled> = Vec::new();
    for level in 2..=5 {
        for (name, _) in tree.entries(&format!("/etc/rc{level}.d")) {
            let started = name
                .strip_prefix('S')
                .filter(|n| n.len() > 2 && n.is_char_boundary(2));
            let Some(name) = started.map(|n| &n[2..]) else {
                continue;
            };
            let unit = format!("{name}.service");
            let known = all.iter().any(|e| e.name == unit);
            let has_unit = units::find(rootfs, Init::Systemd, &unit).is_some();
            if !known && !has_unit && tree.resolve(format!("/etc/init.d/{name}")).is_some() {
                all.push(Enabled {
                    name: unit,
                    links: Vec::new(),
                    mask: true,
                });
            }
        }
    }
    all
}

/// What OpenRC starts after the system's own runlevels.
fn enabled_services(rootfs: &Rootfs) -> Vec<Enabled> {
    let mut all = Vec::new();
    for level in ["default", "nonetwork"] {
        let dir = format!("/etc/runlevels/{level}");
        for (name, _) in rootfs.tree.entries(&dir) {
            push(&mut all, name, format!("{dir}/{name}"), false);
        }
    }
    all
}

impl Started {
    fn of(finder: Finder<'_>, container: &Container) -> Started {
        let mut started = Started {
            own: Vec::new(),
            words: Vec::new(),
        };
        let mut todo = vec![container.command.clone()];
        let mut read: Vec<String> = Vec::new();
        // The command itself, and what its scripts finally start.
        while let Some(words) = todo.pop() {
            // Arguments count as programs if the program before them starts programs.
            let mut starts = false;
            for (n, word) in words.iter().filter(|w| !w.starts_with('-')).enumerate() {
                if word.contains(char::is_whitespace) && todo.len() < MAX_SCRIPTS {
                    todo.extend(commands(word));
                    continue;
                }
                let is_one = n == 0 || starts || word.starts_with('/');
                let Some(program) = finder.find(word).filter(|_| is_one) else {
                    // A shell keyword (`exec`), or a user name after gosu.
                    starts |= n == 0;
                    continue;
                };
                let text = finder.script(&program.real);
                starts |= text.is_some();
                let is_new = !read.contains(&program.real) && read.len() < MAX_SCRIPTS;
                if let Some(text) = text.filter(|_| is_new) {
                    read.push(program.real.clone());
                    let all = commands(&text);
                    todo.extend(all.iter().filter(|c| c[0] == "exec").cloned());
                    started.words.extend(all.into_iter().flatten());
                }
                match starts_others(program.name()) {
                    true => starts = true,
                    false => started.own.push(program),
                }
            }
        }
        for place in SUPERVISED {
            let below = below(finder.rootfs, place);
            for file in below.into_iter().take(MAX_SCRIPTS) {
                let text = finder.rootfs.read_text(&file, super::super::LIMIT);
                let text = text.ok().flatten().unwrap_or_default();
                let line = |l: &str| l.trim_start().trim_start_matches("command=").to_owned();
                let lines: Vec<String> = text
                    .lines()
                    .filter(|l| !l.trim_start().starts_with(['#', ';']))
                    .map(line)
                    .collect();
                let words = lines.iter().flat_map(|l| l.split_whitespace());
                let word = |w: &str| w.trim_matches(['"', '\'', ';', ',']).to_owned();
                started.words.extend(words.map(word));
            }
        }
        started
            .words
            .retain(|w| !w.is_empty() && !starts_others(base(w)));
        started.words.sort();
        started.words.dedup();
        started
    }
}

/// The files at and below a path, up to a few levels.
fn below(rootfs: &Rootfs, path: &str) -> Vec<String> {
    let tree = &rootfs.tree;
    let mut files = Vec::new();
    let mut todo = vec![(path.to_owned(), 0)];
    while let Some((path, depth)) = todo.pop() {
        let Some(id) = tree.resolve(&path) else {
            continue;
        };
        match &tree.node(id).kind {
            Kind::File(_) => files.push(path),
            Kind::Dir(names) if depth < 3 && files.len() < MAX_SCRIPTS => {
                todo.extend(names.keys().map(|n| (format!("{path}/{n}"), depth + 1)));
            }
            _ => {}
        }
    }
    files
}
