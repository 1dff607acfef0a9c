//! The recipe's `files` folder, which is added to the root file system.
//!
//! The paths in it are those in the machine. Files belong to root unless the recipe says otherwise.
//! Of the host's modes only "executable" counts, because git stores nothing else.

use super::accounts::Names;
use super::{Report, Rootfs, edit};
use crate::format::raw::next_data;
use crate::model::size::Size;
use crate::recipe::{FileMode, FileOptions, Owner, closest};
use crate::rootfs::tar::MAX_FILE;
use crate::rootfs::{Content, Kind, Meta, Node, NodeId, Segment, Store};
use camino::Utf8Path;
use fs_err as fs;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek};
use std::os::unix::fs::PermissionsExt;

/// Files to add to a root file system, with the recipe's options for them.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    entries: Vec<Entry>,
    /// The bytes of all files, one after the other.
    store: Option<Store>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// Its path in the machine, e.g. `/etc/app.conf`.
    path: String,
    kind: EntryKind,
    mode: Option<u16>,
    owner: Option<Owner>,
}

#[derive(Debug, Clone)]
enum EntryKind {
    Dir,
    File {
        /// Its offset in the store, in bytes.
        start: u64,
        /// Length in bytes, holes included.
        len: u64,
        /// The ranges that hold data, if the file has holes.
        runs: Option<Box<[Segment]>>,
        executable: bool,
    },
    Symlink(String),
}

impl Overlay {
    /// Reads the folder `dir`; a missing one gives an empty overlay. Links are kept as they are, so
    /// nothing outside of the folder is read; `dir` itself may be a link to another folder of the
    /// recipe. Fails if there is anything other than files, folders and links, or an option for a
    /// missing path.
    pub fn read(
        dir: &Utf8Path,
        options: &BTreeMap<String, FileOptions>,
    ) -> Result<Overlay, Report> {
        let mut overlay = Overlay::default();
        stays_inside(dir)?;
        let is_dir = fs::metadata(dir).is_ok_and(|m| m.is_dir());
        if is_dir {
            let spool = tempfile::tempfile().map_err(|e| {
                Report::failure(format!("making a temporary file for the contents of {dir}"))
                    .because(e)
                    .hint("set TMPDIR to a folder with enough space")
            })?;
            let mut reader = Reader {
                spool: spool.try_clone().map_err(|e| unreadable(dir, e))?,
                end: 0,
                holes: 0,
                entries: Vec::new(),
            };
            reader.folder(dir)?;
            overlay.entries = reader.entries;
            overlay.store = Some(Store::new(spool));
        } else if dir.exists() {
            return Err(Report::mistake(format!("{dir} is not a folder"))
                .hint("its content is added to the machine's root file system"));
        }
        overlay.set_options(dir, options)?;
        Ok(overlay)
    }

    fn set_options(
        &mut self,
        dir: &Utf8Path,
        options: &BTreeMap<String, FileOptions>,
    ) -> Result<(), Report> {
        for (name, options) in options {
            let parts: Vec<&str> = name.split('/').filter(|p| !p.is_empty()).collect();
            let path = format!("/{}", parts.join("/"));
            let Some(entry) = self.entries.iter_mut().find(|e| e.path == path) else {
                let known = self.entries.iter().map(|e| e.path.as_str());
                let report = Report::mistake(format!(
                    "the recipe's `files:` lists {name}, but {dir}{path} does not exist"
                ));
                return Err(match closest(&path, known) {
                    Some(known) => report.hint(format!("did you mean {}?", &known[1..])),
                    None => report.hint(format!("add the file to {dir}, or remove the entry")),
                });
            };
            if options.mode.is_some() && matches!(entry.kind, EntryKind::Symlink(_)) {
                return Err(Report::mistake(format!(
                    "the recipe's `files:` sets a mode for {name}, which is a symbolic link"
                ))
                .hint("links have no mode on Linux: set the mode of its target"));
            }
            entry.mode = options.mode.map(|FileMode(mode)| mode);
            entry.owner = options.owner.clone();
        }
        Ok(())
    }

    /// Whether it contains something at `path`.
    pub fn has(&self, path: &str) -> bool {
        self.entries.iter().any(|e| e.path == path)
    }

    /// Adds it to the root file system: a file or link replaces what was there, and a folder is
    /// merged with an existing one. Everything belongs to root until [`Overlay::give`].
    pub fn apply(&self, rootfs: &mut Rootfs) -> Result<(), Report> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let store = rootfs.stores.add(store.clone());
        for entry in &self.entries {
            self.put(rootfs, store, entry)?;
        }
        Ok(())
    }

    fn put(&self, rootfs: &mut Rootfs, store: u32, entry: &Entry) -> Result<(), Report> {
        let epoch = rootfs.epoch;
        let tree = &mut rootfs.tree;
        let path = &entry.path;
        let old = tree.lookup(path).map(|id| &tree.node(id).kind);
        let refuse = |what: &str, old: &str| {
            Err(Report::mistake(format!(
                "files{path} of the recipe is a {what}, but the root file system has a {old} there"
            ))
            .hint("remove one of them, in the Dockerfile or from files/"))
        };
        let (kind, mode) = match &entry.kind {
            EntryKind::Dir => {
                let there = tree.resolve(path).map(|id| (id, &tree.node(id).kind));
                return match (there, old) {
                    (Some((id, Kind::Dir(_))), _) => {
                        if let Some(mode) = entry.mode {
                            tree.node_mut(id).meta.mode = mode;
                        }
                        Ok(())
                    }
                    (_, Some(old)) => refuse("folder", old.name()),
                    (_, None) => {
                        let meta = Meta::root(entry.mode.unwrap_or(0o755), epoch);
                        let node = Node::new(Kind::dir(), meta);
                        tree.insert(path, node).map(drop).map_err(edit)
                    }
                };
            }
            EntryKind::File {
                start,
                len,
                runs,
                executable,
            } => (
                Kind::File(match runs {
                    Some(runs) => Content::Sparse {
                        store,
                        size: *len,
                        segments: runs.clone(),
                    },
                    None => Content::Stored {
                        store,
                        start: *start,
                        len: *len,
                    },
                }),
                if *executable { 0o755 } else { 0o644 },
            ),
            EntryKind::Symlink(target) => (Kind::symlink(target), 0o777),
        };
        if let Some(Kind::Dir(_)) = old {
            return refuse(kind.name(), "directory");
        }
        let meta = Meta::root(entry.mode.unwrap_or(mode), epoch);
        tree.insert(path, Node::new(kind, meta))
            .map(drop)
            .map_err(edit)
    }

    /// Sets the owners from the recipe. Users and groups must exist by now.
    pub(super) fn give(&self, rootfs: &mut Rootfs) -> Result<(), Report> {
        let mut names = None;
        for entry in &self.entries {
            let Some(owner) = &entry.owner else { continue };
            let names = match &mut names {
                Some(names) => names,
                none => none.insert(Names::read(rootfs)?),
            };
            let (uid, gid) = names.owner(owner).ok_or_else(|| {
                Report::mistake(format!(
                    "the recipe's `files:` sets the owner of {} to {}, which the root file system does not have",
                    &entry.path[1..],
                    text(owner)
                ))
                .hint("create the user or group in the Dockerfile or with `users:`, or use numeric IDs")
            })?;
            let id: Option<NodeId> = match entry.kind {
                EntryKind::Dir => rootfs.tree.resolve(&entry.path),
                _ => rootfs.tree.lookup(&entry.path),
            };
            if let Some(id) = id {
                let meta = &mut rootfs.tree.node_mut(id).meta;
                (meta.uid, meta.gid) = (uid, gid);
            }
        }
        Ok(())
    }
}

fn text(owner: &Owner) -> String {
    match &owner.group {
        Some(group) => format!("{}:{group}", owner.user),
        None => owner.user.to_string(),
    }
}

fn unreadable(path: &Utf8Path, error: io::Error) -> Report {
    Report::mistake(format!("reading {path} of the recipe"))
        .because(error)
        .hint("files/ must contain only readable files with names in UTF-8")
}

struct Reader {
    spool: std::fs::File,
    end: u64,
    /// Total size of holes so far, in bytes.
    holes: u64,
    entries: Vec<Entry>,
}

impl Reader {
    /// Reads the whole folder in the order of names, folders before their content.
    fn folder(&mut self, root: &Utf8Path) -> Result<(), Report> {
        let mut todo = vec![(root.to_owned(), String::new())];
        while let Some((host, path)) = todo.pop() {
            let failed = |e| unreadable(&host, e);
            let mut found = host
                .read_dir_utf8()
                .and_then(Iterator::collect::<io::Result<Vec<_>>>)
                .map_err(failed)?;
            found.sort_by(|a, b| a.file_name().cmp(b.file_name()));
            for item in found {
                let below = format!("{path}/{}", item.file_name());
                let host = item.path();
                let failed = |e| unreadable(host, e);
                let kind = item.file_type().map_err(failed)?;
                let kind = if kind.is_dir() {
                    todo.push((host.to_owned(), below.clone()));
                    EntryKind::Dir
                } else if kind.is_symlink() {
                    let target = host.read_link_utf8().map_err(failed)?;
                    EntryKind::Symlink(target.into_string())
                } else if kind.is_file() {
                    self.file(host).map_err(failed)?
                } else {
                    return Err(Report::mistake(format!(
                        "{host} of the recipe is not a file, folder or symbolic link"
                    ))
                    .hint("remove it: the machine creates devices, pipes and sockets itself"));
                };
                self.entries.push(Entry {
                    path: below,
                    kind,
                    mode: None,
                    owner: None,
                });
            }
        }
        Ok(())
    }

    fn file(&mut self, host: &Utf8Path) -> io::Result<EntryKind> {
        let file = std::fs::File::open(host)?;
        let meta = file.metadata()?;
        let executable = meta.permissions().mode() & 0o111 != 0;
        let (start, len) = (self.end, meta.len());
        if len > MAX_FILE {
            return Err(io::Error::other(format!(
                "it has {len} bytes, more than ext4's limit of {MAX_FILE}"
            )));
        }
        let mut runs = Vec::new();
        let mut at = 0;
        while at < len {
            // Keep holes: a file may be far larger than any disk.
            let (from, to) = next_data(&file, at, len)?;
            at = to;
            if from == to {
                continue;
            }
            if runs.len() == MAX_RUNS {
                return Err(io::Error::other(format!(
                    "it has more than {MAX_RUNS} holes"
                )));
            }
            runs.push(Segment {
                offset: from,
                len: to - from,
                start: self.end,
            });
            (&file).seek(io::SeekFrom::Start(from))?;
            let copied = io::copy(&mut (&file).take(to - from), &mut self.spool)?;
            if copied < to - from {
                return Err(io::Error::other("it was truncated while it was read"));
            }
            self.end += copied;
        }
        let data: u64 = runs.iter().map(|run| run.len).sum();
        self.holes += len.saturating_sub(data);
        if self.holes > MAX_HOLES {
            return Err(io::Error::other(format!(
                "the files in files/ have holes of more than {}; create a large sparse file in the machine instead, e.g. with truncate(1)",
                Size(MAX_HOLES)
            )));
        }
        let whole = matches!(runs.as_slice(), [run] if run.len == len) || len == 0;
        Ok(EntryKind::File {
            start,
            len,
            runs: (!whole).then(|| runs.into()),
            executable,
        })
    }
}

/// Limit for the holes of all files, in bytes. They need no space, but the manifest has a hash of
/// every file, which covers its zeros.
const MAX_HOLES: u64 = 8 << 30;

/// Maximum number of holes in a file, because each needs memory.
const MAX_RUNS: usize = 1 << 20;

/// Fails if the folder is a link that leads out of the recipe: its target would end up in the image
/// of anyone who builds an untrusted recipe.
fn stays_inside(dir: &Utf8Path) -> Result<(), Report> {
    if !dir.is_symlink() {
        return Ok(());
    }
    let failed = |e| unreadable(dir, e);
    let recipe = dir.parent().filter(|p| !p.as_str().is_empty());
    let recipe = recipe.unwrap_or(Utf8Path::new("."));
    let real = dir.canonicalize().map_err(failed)?;
    if real.starts_with(recipe.canonicalize().map_err(failed)?) {
        return Ok(());
    }
    Err(Report::mistake(format!(
        "{dir} is a symbolic link to {}, outside of the recipe",
        real.display()
    ))
    .hint("copy the folder into the recipe"))
}
