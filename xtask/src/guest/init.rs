//! Whether the machine's init can be started: its path, its mode, and what it needs.
//!
//! Only what certainly fails is refused. The rules are Linux's: fs/exec.c, fs/binfmt_script.c and
//! fs/binfmt_elf.c.

use crate::error::Report;
use crate::rootfs::program::{ELF, Elf, Machine, is_text};
use crate::rootfs::{Content, Kind, Rootfs};

/// How much of a script Linux reads to find its interpreter, in bytes (`BINPRM_BUF_SIZE`).
const SCRIPT_HEAD: usize = 256;

/// How many nested interpreters Linux allows.
const DEPTH: u32 = 5;

/// The init paths that the kernel tries, after the one in its arguments; the last `init=` counts.
pub(super) fn path(kernel_arguments: &[String]) -> &str {
    let named = kernel_arguments.iter().rev();
    named
        .filter_map(|a| a.strip_prefix("init="))
        .next()
        .unwrap_or("/sbin/init")
}

/// The canonical path of the init. Fails if there is none, or it is not a file.
pub(super) fn real(rootfs: &Rootfs, kernel_arguments: &[String]) -> Result<String, Report> {
    let tree = &rootfs.tree;
    let path = path(kernel_arguments);
    let wrong = |what: String| {
        Err(Report::mistake(format!("the root file system has no init: {what}"))
            .hint("install one in the Dockerfile, e.g. `apt-get install systemd-sysv` or `apk add openrc`; the recipes debian and alpine show how"))
    };
    let (Some(real), Some(id)) = (tree.canonical(path), tree.resolve(path)) else {
        return match tree.lookup(path).map(|id| &tree.node(id).kind) {
            Some(Kind::Symlink(to)) => wrong(format!(
                "{path} is a symbolic link to {to}, which does not exist"
            )),
            _ => wrong(format!("there is no {path}")),
        };
    };
    match &tree.node(id).kind {
        Kind::File(_) => Ok(real),
        other => wrong(format!("{path} is a {}, not a program", other.name())),
    }
}

/// Fails if a kernel for `kernel` could not start the init, or if the system's programs are for
/// another processor. Returns a note if they need its 32-bit mode.
pub fn check(
    rootfs: &Rootfs,
    kernel_arguments: &[String],
    kernel: Machine,
) -> Result<Option<String>, Report> {
    let init = path(kernel_arguments);
    let real = real(rootfs, kernel_arguments)?;
    let shown = match init == real {
        true => init.to_owned(),
        false => format!("{init} ({real})"),
    };
    let machine = runs(rootfs, &format!("the init {shown}"), &real, kernel, DEPTH)?;
    if let Some(shell) = rootfs.tree.canonical("/bin/sh") {
        right_machine(rootfs, "the shell /bin/sh", &shell, kernel)?;
    }
    libraries(rootfs, kernel)?;
    Ok(machine.filter(|m| *m != kernel).map(|machine| {
        let with = match kernel {
            Machine::Arm64 => ", which not every such processor supports",
            _ => "",
        };
        format!("the init {shown} is for {machine}: the kernel, for {kernel}, runs it{with}")
    }))
}

/// Fails if the program at the canonical path `path` could not be started; errors call it `what`.
/// Returns the processor that it is for, if known.
fn runs(
    rootfs: &Rootfs,
    what: &str,
    path: &str,
    kernel: Machine,
    depth: u32,
) -> Result<Option<Machine>, Report> {
    let mistake = |why: String| Report::mistake(format!("{what} {why}"));
    let install = "reinstall its package in the Dockerfile";
    let Some(content) = executable(rootfs, path) else {
        return Err(mistake("is not executable".into()).hint(format!(
            "make it executable in the Dockerfile: `chmod 0755 {path}`"
        )));
    };
    let head = head(rootfs, path, &content, SCRIPT_HEAD)?;
    if head.is_empty() {
        return Err(mistake("is empty".into()).hint(install));
    }
    if head.iter().all(|b| *b == 0) {
        return Err(mistake("starts with only zero bytes".into()).hint(install));
    }
    if head.starts_with(ELF) {
        let elf = right_machine(rootfs, what, path, kernel)?;
        if elf.as_ref().is_some_and(|e| !e.loadable) {
            return Err(mistake("is an object file, not a program".into()).hint(install));
        }
        let machine = elf.as_ref().and_then(|e| e.machine);
        let Some(loader) = elf.and_then(|e| e.interpreter) else {
            return Ok(machine);
        };
        let Some(real) = rootfs.tree.canonical(&loader) else {
            return Err(
                mistake(format!("needs {loader}, which does not exist")).hint(format!(
                    "install the C library that contains {loader} in the Dockerfile, or an init that is linked with the installed one"
                )),
            );
        };
        if executable(rootfs, &real).is_none() {
            return Err(
                mistake(format!("needs {loader}, which is not an executable file"))
                    .hint("reinstall the C library in the Dockerfile"),
            );
        }
        right_machine(rootfs, &format!("the C library's {loader}"), &real, kernel)?;
        return Ok(machine);
    }
    let Some(line) = head.strip_prefix(b"#!") else {
        // A text without blanks or line feeds may be anything.
        return match is_text(&head) && head.iter().any(|b| b" \n".contains(b)) {
            true => Err(mistake("is a text file without `#!` at its start".into())
                .hint("add a first line with its shell, e.g. `#!/bin/sh`")),
            false => Ok(None),
        };
    };
    let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let line = line.trim_matches([' ', '\t']);
    let interpreter = line.split([' ', '\t']).next().unwrap_or_default();
    let Some(real) = rootfs
        .tree
        .canonical(interpreter)
        .filter(|_| !interpreter.is_empty())
    else {
        let cure = match interpreter.ends_with('\r') {
            true => {
                "it has Windows line endings: remove the carriage returns, e.g. with `sed -i 's/\\r$//'`"
            }
            false => "install that program in the Dockerfile, or fix the script's first line",
        };
        return Err(mistake(format!(
            "is a script for {interpreter:?}, which does not exist"
        ))
        .hint(cure));
    };
    match depth.checked_sub(1) {
        Some(depth) => runs(
            rootfs,
            &format!("{what} is a script, and its interpreter {interpreter}"),
            &real,
            kernel,
            depth,
        ),
        None => Err(mistake("has too many nested script interpreters".into())
            .hint("use a program in its first line")),
    }
}

/// Fails if an ELF file is for a processor that the kernel cannot run programs for. Accepts files
/// that are not ELF.
fn right_machine(
    rootfs: &Rootfs,
    what: &str,
    path: &str,
    kernel: Machine,
) -> Result<Option<Elf>, Report> {
    let Some(content) = file(rootfs, path) else {
        return Ok(None);
    };
    let elf = Elf::read(rootfs, &content)
        .map_err(|e| Report::failure(format!("reading {path}")).because(e))?;
    match elf.as_ref().and_then(|e| e.machine) {
        Some(machine) if !machine.runs_on(kernel) => Err(foreign(what, machine, kernel)),
        _ => Ok(elf),
    }
}

fn foreign(what: &str, machine: Machine, kernel: Machine) -> Report {
    Report::mistake(format!(
        "{what} is for {machine}, but the machine's kernel is for {kernel}"
    ))
    .hint("use a container for the machine's architecture (`docker build --platform`), or build the image for the container's with --arch")
}

/// Directories of libraries. Multi-architecture ones have one more level.
const LIBRARIES: [&str; 7] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/lib32",
    "/usr/lib32",
    "/usr/local/lib",
];

/// Fails if there are C libraries, but none that the kernel can run. Additional ones belong to
/// cross-compilers and emulators.
fn libraries(rootfs: &Rootfs, kernel: Machine) -> Result<(), Report> {
    let tree = &rootfs.tree;
    let is_libc = |name: &str| {
        name == "libc.so.6"
            || name.starts_with("libc.musl-")
            || ((name.starts_with("ld-") || name.starts_with("ld64.")) && name.contains(".so"))
    };
    let mut dirs: Vec<String> = Vec::new();
    for dir in LIBRARIES {
        dirs.push(dir.to_owned());
        let below = tree.entries(dir).filter(|(name, id)| {
            name.contains("-linux-") && matches!(tree.node(*id).kind, Kind::Dir(_))
        });
        dirs.extend(below.map(|(name, _)| format!("{dir}/{name}")));
    }
    let mut other = None;
    for dir in dirs {
        for (name, _) in tree.entries(&dir).filter(|(name, _)| is_libc(name)) {
            let path = format!("{dir}/{name}");
            let Some(content) = file(rootfs, &path) else {
                continue;
            };
            match Elf::machine_of(&head(rootfs, &path, &content, 64)?) {
                Some(machine) if machine.runs_on(kernel) => return Ok(()),
                Some(machine) => other = other.or(Some((path, machine))),
                None => {}
            }
        }
    }
    match other {
        Some((path, machine)) => Err(foreign(&format!("the C library {path}"), machine, kernel)),
        None => Ok(()),
    }
}

/// The content of the file at `path`, following links.
fn file(rootfs: &Rootfs, path: &str) -> Option<Content> {
    match &rootfs.tree.node(rootfs.tree.resolve(path)?).kind {
        Kind::File(content) => Some(content.clone()),
        _ => None,
    }
}

/// The content of the file at `path` if it is executable: otherwise not even root may start it.
fn executable(rootfs: &Rootfs, path: &str) -> Option<Content> {
    let id = rootfs.tree.resolve(path)?;
    file(rootfs, path).filter(|_| rootfs.tree.node(id).meta.mode & 0o111 != 0)
}

fn head(rootfs: &Rootfs, path: &str, content: &Content, most: usize) -> Result<Vec<u8>, Report> {
    rootfs
        .head(content, most)
        .map_err(|e| Report::failure(format!("reading {path}")).because(e))
}
