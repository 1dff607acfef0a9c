//! OpenRC's tree of dependencies, which takes half of an emulated boot to make.
//!
//! OpenRC makes it at each start from all its scripts, by running a shell for every one of them,
//! unless the one of an earlier start is in its cache and newer than the scripts. So the first start
//! of every machine is slow. The first step, running the scripts, is done where the container is
//! built: a Dockerfile writes its result to [`FACTS`]. The other steps are done here, because the
//! image gets services that the container lacks.
//!
//! Only a tree that OpenRC would make itself is written. If a script changed since, or what it
//! depends on cannot be told without running it, there is none, and the start takes longer.

use super::{Report, Rootfs, edit};
use crate::model::Digest;
use crate::rootfs::{Kind, Meta, Node};
use std::collections::{BTreeMap, BTreeSet};

/// What a Dockerfile found out: the output of sha256sum for all scripts and settings, an empty
/// line, and the output of OpenRC's `gendepends.sh`.
pub(super) const FACTS: &str = "/usr/lib/docker-to-linux/openrc-depends";

/// Folders and a file with everything that the tree depends on.
const SOURCES: [&str; 4] = [
    "/etc/init.d",
    "/etc/conf.d",
    "/etc/rc.conf",
    "/etc/rc.conf.d",
];

/// Folders of further scripts, which are rarely there.
const OTHERS: [&str; 2] = ["/usr/local/etc/init.d", "/usr/etc/init.d"];

/// Where OpenRC's `init.sh` finds the tree of an earlier start.
const CACHE: &str = "/var/cache/rc";

/// The script that copies it from there. Older versions of OpenRC have another place.
const COPIES: &str = "/usr/libexec/rc/sh/init.sh";

/// Largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// What `keyword -containers` stands for (OpenRC, `rc-functions.sh`, `_get_containers`).
const CONTAINERS: &str = "-docker -podman -lxc -openvz -rkt -systemd-nspawn -uml -vserver -wsl";

/// Kinds of dependencies and their opposites (OpenRC, `librc-depend.c`, `deppairs`).
const PAIRS: [(&str, &str); 6] = [
    ("ineed", "needsme"),
    ("iuse", "usesme"),
    ("iwant", "wantsme"),
    ("iafter", "ibefore"),
    ("ibefore", "iafter"),
    ("iprovide", "providedby"),
];

/// Writes the tree into the cache, if it can be made, and removes [`FACTS`].
pub(super) fn add(rootfs: &mut Rootfs) -> Result<(), Report> {
    let facts = rootfs.read_text(FACTS, LARGEST).ok().flatten();
    rootfs.tree.remove(FACTS);
    let Some((tree, settings)) = facts.and_then(|facts| made(rootfs, &facts)) else {
        return Ok(());
    };
    let newest = newest(rootfs).max(rootfs.epoch);
    let files = [("deptree", tree.text()), ("depconfig", settings)];
    for (name, text) in files.into_iter().filter(|(_, text)| !text.is_empty()) {
        let mut meta = Meta::root(0o644, newest);
        meta.mtime.nanos = 0;
        let node = Node::new(Kind::bytes(text.into_bytes()), meta);
        let path = format!("{CACHE}/{name}");
        rootfs.tree.insert(&path, node).map_err(edit)?;
    }
    Ok(())
}

/// The tree, and the settings that it depends on, a path in each line.
fn made(rootfs: &Rootfs, facts: &str) -> Option<(Deptree, String)> {
    let copies = rootfs.read_text(COPIES, LARGEST).ok()??;
    if !copies.contains("\"$RC_CACHEDIR\"/*") || OTHERS.iter().any(|d| rootfs.tree.exists(d)) {
        return None;
    }
    let (sums, depends) = facts.split_once("\n\n")?;
    let mut known = BTreeMap::new();
    for line in sums.lines() {
        let (sum, path) = line.split_once("  ")?;
        known.insert(path, sum);
    }
    let scripts: Vec<&str> = known
        .keys()
        .filter_map(|p| p.strip_prefix("/etc/init.d/"))
        .collect();
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in depends.lines() {
        let service = line.split(' ').next()?;
        groups
            .entry(service.to_owned())
            .or_default()
            .push(line.to_owned());
    }
    let mut seen = BTreeSet::new();
    let mut added = Vec::new();
    for path in sources(rootfs) {
        let text = rootfs.read_text(&path, LARGEST).ok()??;
        match known.get(path.as_str()) {
            Some(sum) if *sum == Digest::of(text.as_bytes()).hex() => {}
            Some(_) => return None,
            None => {
                let name = path.strip_prefix("/etc/init.d/")?.to_owned();
                groups.insert(name.clone(), declared(&name, &text)?);
                added.push(name);
            }
        }
        seen.insert(path);
    }
    if known.keys().any(|path| !seen.contains(*path)) {
        return None;
    }
    let lines = groups.into_values().flatten();
    let lines: Vec<String> = lines.map(|line| with_all(line, &scripts, &added)).collect();
    let settings = settings(rootfs, &lines)?;
    Some((Deptree::of(&lines), settings))
}

/// All files of [`SOURCES`].
fn sources(rootfs: &Rootfs) -> Vec<String> {
    let mut found = Vec::new();
    for source in SOURCES {
        let entries = rootfs.tree.entries(source);
        found.extend(entries.map(|(name, _)| format!("{source}/{name}")));
    }
    if rootfs.tree.exists("/etc/rc.conf") {
        found.push("/etc/rc.conf".into());
    }
    found
}

/// The newest time of [`SOURCES`] and of /etc/fstab, in seconds since 1970. OpenRC compares it with
/// that of the tree.
fn newest(rootfs: &Rootfs) -> i64 {
    let paths = sources(rootfs).into_iter();
    let paths = paths.chain(SOURCES.into_iter().chain(["/etc/fstab"]).map(str::to_owned));
    let times = paths.filter_map(|path| {
        let id = rootfs.tree.resolve(&path)?;
        Some(rootfs.tree.node(id).meta.mtime.secs)
    });
    times.max().unwrap_or(0)
}

/// `after *` names every file in the folder of scripts, because a shell expands it.
fn with_all(line: String, scripts: &[&str], added: &[String]) -> String {
    let words: BTreeSet<&str> = line.split(' ').skip(2).collect();
    match scripts.len() > 1 && scripts.iter().all(|script| words.contains(script)) {
        true => {
            let mut all: Vec<&str> = line.split(' ').skip(2).filter(|w| !w.is_empty()).collect();
            all.extend(added.iter().map(String::as_str));
            all.sort_unstable();
            let head: Vec<&str> = line.split(' ').take(2).collect();
            format!("{} {}", head.join(" "), all.join(" "))
        }
        false => line,
    }
}

/// The settings outside of [`SOURCES`] that scripts depend on. `None` if one may have changed what
/// they need: /etc/fstab is written for the image, and matters if it has file systems of a network.
fn settings(rootfs: &Rootfs, lines: &[String]) -> Option<String> {
    let mut all = BTreeSet::new();
    for line in lines {
        let mut words = line.split(' ').skip(1).filter(|word| !word.is_empty());
        if words.next() == Some("config") {
            all.extend(words.map(str::to_owned));
        }
    }
    let fstab = rootfs.read_text("/etc/fstab", LARGEST).ok()?;
    let network = fstab.is_some_and(|text| text.contains("nfs"));
    let only = all.iter().all(|path| path == "/etc/fstab");
    let text = all.iter().map(|path| format!("{path}\n")).collect();
    (only && !network).then_some(text)
}

/// What `gendepends.sh` prints for a script whose function `depend` only has plain words.
fn declared(name: &str, script: &str) -> Option<Vec<String>> {
    if !script.starts_with("#!/sbin/openrc-run\n") {
        return None;
    }
    let mut lines = vec![name.to_owned()];
    let mut inside = false;
    for line in script.lines() {
        if line.starts_with("depend()") {
            inside = true;
            continue;
        }
        if inside && line.starts_with('}') {
            return Some(lines);
        }
        let line = line.trim();
        if !inside || line.is_empty() || line.starts_with('#') {
            continue;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || " -_.".contains(c);
        let (verb, words) = line.split_once(' ').filter(|_| line.chars().all(plain))?;
        let kind = match verb {
            "need" => "ineed",
            "use" => "iuse",
            "want" => "iwant",
            "after" => "iafter",
            "before" => "ibefore",
            "provide" => "iprovide",
            "keyword" => "keyword",
            _ => return None,
        };
        let words = match verb {
            "keyword" => words.replace("-containers", CONTAINERS),
            _ => words.to_owned(),
        };
        lines.push(format!("{name} {kind} {words}"));
    }
    // No such function, or none that ends.
    (!inside).then_some(lines)
}

/// A service, and what it depends on: kinds in the order in which they were first named.
#[derive(Debug, Default)]
struct Service {
    name: String,
    depends: Vec<(String, Vec<String>)>,
}

impl Service {
    fn get(&self, kind: &str) -> &[String] {
        let found = self.depends.iter().find(|(k, _)| k == kind);
        found.map_or(&[], |(_, services)| services)
    }

    fn has(&self, kind: &str) -> bool {
        self.depends.iter().any(|(k, _)| k == kind)
    }

    fn list(&mut self, kind: &str) -> &mut Vec<String> {
        let at = match self.depends.iter().position(|(k, _)| k == kind) {
            Some(at) => at,
            None => {
                self.depends.push((kind.to_owned(), Vec::new()));
                self.depends.len() - 1
            }
        };
        &mut self.depends[at].1
    }

    /// Removes the first occurrence of `service`.
    fn remove(&mut self, kind: &str, service: &str) {
        let found = self.depends.iter_mut().find(|(k, _)| k == kind);
        if let Some((_, list)) = found
            && let Some(at) = list.iter().position(|s| s == service)
        {
            list.remove(at);
        }
    }

    /// Adds `service` if it is not there.
    fn add_once(&mut self, kind: &str, service: &str) {
        let list = self.list(kind);
        if !list.iter().any(|s| s == service) {
            list.push(service.to_owned());
        }
    }
}

/// The tree (OpenRC, `librc-depend.c`, `rc_deptree_update`, without phase 2, which is about
/// containers and hypervisors).
#[derive(Debug, Default)]
struct Deptree(Vec<Service>);

impl Deptree {
    /// Makes it from the lines of `gendepends.sh`.
    fn of(lines: &[String]) -> Deptree {
        let mut tree = Deptree::default();
        lines.iter().for_each(|line| tree.read(line));
        tree.provide();
        tree.refer_back();
        tree.drop_broken();
        tree
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|service| service.name == name)
    }

    /// Phase 1.
    fn read(&mut self, line: &str) {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        if name.is_empty() {
            return;
        }
        let at = self.find(name).unwrap_or_else(|| {
            self.0.push(Service {
                name: name.to_owned(),
                depends: Vec::new(),
            });
            self.0.len() - 1
        });
        let Some(kind) = words.next().filter(|kind| *kind != "config") else {
            return;
        };
        let service = &mut self.0[at];
        service.list(kind);
        for word in words.filter(|word| !word.is_empty()) {
            if word == name || (word.len() > 2 && word.ends_with(".sh")) {
                continue;
            }
            if let Some(gone) = word.strip_prefix('!') {
                service.remove(kind, gone);
                continue;
            }
            service.list(kind).push(word.to_owned());
            match kind {
                "ibefore" => service.remove("iafter", word),
                "iafter" | "ineed" | "iwant" | "iuse" => service.remove("ibefore", word),
                _ => {}
            }
        }
    }

    /// Phase 3: what is provided by others is a service, too.
    fn provide(&mut self) {
        let mut provided: Vec<String> = Vec::new();
        for name in self.0.iter().flat_map(|service| service.get("iprovide")) {
            if !provided.contains(name) {
                provided.push(name.clone());
            }
        }
        self.0.extend(provided.into_iter().map(|name| Service {
            name,
            depends: Vec::new(),
        }));
    }

    /// Phase 4: each dependency is told to the other side.
    fn refer_back(&mut self) {
        for at in 0..self.0.len() {
            let name = self.0[at].name.clone();
            for (kind, opposite) in PAIRS {
                for other in self.0[at].get(kind).to_vec() {
                    match self.find(&other) {
                        Some(other) => self.0[other].add_once(opposite, &name),
                        None if kind == "ineed" => self.0[at].add_once("broken", &other),
                        None => {}
                    }
                }
            }
        }
    }

    /// Phase 5: what a service needs cannot come after it.
    fn drop_broken(&mut self) {
        for at in 0..self.0.len() {
            let service = &self.0[at];
            if !service.has("ibefore") {
                continue;
            }
            let name = service.name.clone();
            let kinds = ["ineed", "iwant", "iuse", "iafter"].into_iter();
            let mut first: Vec<String> = kinds.flat_map(|k| service.get(k).to_vec()).collect();
            if !service.has("providedby") {
                first.push(name.clone());
            }
            for later in service.get("ibefore").to_vec() {
                let found = first.iter().find_map(|other| {
                    let other = self.find(other)?;
                    let same = self.0[other].name == later;
                    let provides = self.0[other].get("iprovide").contains(&later);
                    (same || provides).then_some(())
                });
                if found.is_some() {
                    if let Some(other) = self.find(&later) {
                        self.0[other].remove("iafter", &name);
                    }
                    self.0[at].remove("ibefore", &later);
                }
            }
        }
    }

    /// The file `deptree`.
    fn text(&self) -> String {
        let mut text = String::new();
        for (i, service) in self.0.iter().enumerate() {
            text.push_str(&format!("depinfo_{i}_service='{}'\n", service.name));
            for (kind, services) in &service.depends {
                for (k, other) in services.iter().enumerate() {
                    text.push_str(&format!("depinfo_{i}_{kind}_{k}='{other}'\n"));
                }
            }
        }
        text
    }
}
