//! Whether the init can be started: its path, its mode, its processor, and what it needs.

use super::elf;
use super::entries::argument;
use super::files::{Files, Kind, Root};
use super::finding::{Code, Findings};
use crate::rootfs::program::{ELF, Machine};

/// What the kernel tries after the init that its arguments name (Linux, init/main.c). The last
/// one, a shell, is no init.
const TRIED: [&str; 3] = ["/sbin/init", "/etc/init", "/bin/init"];

/// How many nested interpreters of scripts Linux allows.
const DEPTH: u32 = 5;

const AGAIN: &str =
    "install the init's package again, e.g. systemd-sysv or openrc, or rebuild the image";

/// Finds the init and checks it. Returns its path without links.
pub(super) fn look(
    root: &Root,
    arguments: &str,
    kernel: Option<Machine>,
    found: &mut Findings,
) -> Option<String> {
    let named = argument(arguments, "init");
    let path = named.unwrap_or(TRIED[0]);
    let start = match root.stat(path) {
        Some(_) => path,
        None => {
            // An init that was named is not replaced by initrds of distributions.
            let others = TRIED.into_iter().filter(|_| named.is_none());
            let Some(other) = others.into_iter().find(|p| root.stat(p).is_some()) else {
                let what = match root.link(path) {
                    Some(to) => format!("{path} is a link to {to}, which does not exist"),
                    None => format!("there is no {path}"),
                };
                found.error(
                    Code::InitMissing,
                    format!("the root file system has no init: {what}"),
                    AGAIN,
                );
                return None;
            };
            other
        }
    };
    let real = root.canonical(start).unwrap_or_else(|| start.to_owned());
    let shown = match real == start {
        true => format!("the init {start}"),
        false => format!("the init {start} ({real})"),
    };
    program(root, &shown, &real, kernel, DEPTH, found);
    Some(real)
}

fn program(
    root: &Root,
    shown: &str,
    path: &str,
    kernel: Option<Machine>,
    depth: u32,
    found: &mut Findings,
) {
    let Some(stat) = root.stat(path) else { return };
    if stat.kind != Kind::File {
        let cause = format!("{shown} is no file");
        return found.error(Code::InitNotExecutable, cause, AGAIN);
    }
    if stat.mode & 0o111 == 0 {
        return found.error(
            Code::InitNotExecutable,
            format!("{shown} is not executable (mode {:04o})", stat.mode),
            format!("`chmod 0755 {path}`"),
        );
    }
    let head = match root.head(path, 256) {
        Ok(head) => head,
        Err(e) => {
            let cause = format!("{shown} cannot be read: {e}");
            return found.error(Code::InitNotExecutable, cause, AGAIN);
        }
    };
    if head.iter().all(|b| *b == 0) {
        let what = if head.is_empty() {
            "is empty"
        } else {
            "begins with only zero bytes"
        };
        return found.error(Code::InitNotExecutable, format!("{shown} {what}"), AGAIN);
    }
    if let Some(line) = head.strip_prefix(b"#!") {
        return script(root, shown, line, kernel, depth, found);
    }
    if !head.starts_with(ELF) {
        return;
    }
    let Some(elf) = elf::read(root, path) else {
        return found.warning(
            Code::InitNotExecutable,
            format!("the headers of {shown} cannot be read"),
            AGAIN,
        );
    };
    if !right(shown, elf.machine, kernel, found) {
        return;
    }
    // A static program needs nothing.
    let Some(loader) = elf.interpreter.clone() else {
        return;
    };
    let Some(stat) = root.stat(&loader) else {
        return found.error(
            Code::InitLoaderMissing,
            format!("{shown} is started by the dynamic loader {loader}, which does not exist"),
            "install the C library again, or rebuild the image",
        );
    };
    if stat.kind != Kind::File || stat.mode & 0o111 == 0 {
        return found.error(
            Code::InitLoaderMissing,
            format!("{shown} is started by the dynamic loader {loader}, which is not executable"),
            format!("`chmod 0755 {loader}`"),
        );
    }
    let real = root.canonical(&loader).unwrap_or_else(|| loader.clone());
    let machine = elf::read(root, &real).and_then(|l| l.machine);
    if !right(
        &format!("the dynamic loader {loader}"),
        machine,
        kernel,
        found,
    ) {
        return;
    }
    for (name, user) in elf::missing(root, path, elf) {
        let user = match user == path {
            true => shown.to_owned(),
            false => format!("{user}, which {shown} needs,"),
        };
        found.error(
            Code::LibraryMissing,
            format!("{user} needs the library {name}, which is nowhere"),
            format!("install the package with {name} again, or rebuild the image"),
        );
    }
}

fn script(
    root: &Root,
    shown: &str,
    line: &[u8],
    kernel: Option<Machine>,
    depth: u32,
    found: &mut Findings,
) {
    let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let name = line.split_whitespace().next().unwrap_or_default();
    if !name.starts_with('/') {
        return;
    }
    let Some(real) = root.canonical(name).filter(|r| root.stat(r).is_some()) else {
        return found.error(
            Code::InitLoaderMissing,
            format!("{shown} is a script for {name:?}, which does not exist"),
            "install that program, or correct the script's first line",
        );
    };
    if let Some(depth) = depth.checked_sub(1) {
        let shown = format!("the interpreter {name} of {shown}");
        program(root, &shown, &real, kernel, depth, found);
    }
}

/// Reports a program that the kernel cannot run. Returns whether it can.
fn right(
    shown: &str,
    machine: Option<Machine>,
    kernel: Option<Machine>,
    found: &mut Findings,
) -> bool {
    let (Some(machine), Some(kernel)) = (machine, kernel) else {
        return true;
    };
    if machine.runs_on(kernel) {
        return true;
    }
    found.error(
        Code::InitArch,
        format!("{shown} is for {machine}, but the kernel is for {kernel}"),
        "build the image from a container for the machine's architecture",
    );
    false
}
