use super::*;
use crate::guest::init::check;
use crate::rootfs::program::Machine;

/// The smallest ELF program for that machine that names this interpreter.
fn elf(machine: u8, interpreter: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 56];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    (bytes[16], bytes[18]) = (2, machine);
    (bytes[32], bytes[54]) = (64, 56);
    if !interpreter.is_empty() {
        bytes[56] = 1;
        (bytes[64], bytes[72], bytes[96]) = (3, 120, interpreter.len() as u8);
        bytes.extend_from_slice(interpreter.as_bytes());
    }
    bytes
}

const AMD64: u8 = 62;
const ARM64: u8 = 183;
const I386: u8 = 3;
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// A root file system of these programs, which all are executable.
fn programs(files: &[(&str, Vec<u8>)]) -> Rootfs {
    let mut r = rootfs(&[], &[]);
    for (path, bytes) in files {
        r.tree.write(path, bytes.clone(), 0o755, 0).unwrap();
    }
    r
}

fn refused(rootfs: &Rootfs, why: &str) {
    let e = check(rootfs, &[], Machine::X86_64).unwrap_err();
    assert!(e.message.contains(why), "{e}: {why}");
    assert!(e.hint.is_some(), "{e}");
}

#[test]
fn inits_that_start() {
    let none = String::new();
    for (files, note) in [
        (vec![("/sbin/init", elf(AMD64, ""))], &none),
        // Nothing is known of it.
        (vec![("/sbin/init", vec![0x80; 100])], &none),
        (vec![("/sbin/init", elf(0, ""))], &none),
        (
            vec![("/sbin/init", elf(AMD64, LOADER)), (LOADER, elf(AMD64, ""))],
            &none,
        ),
        (
            vec![
                ("/sbin/init", b"#! /bin/sh -e\nexec x\n".to_vec()),
                ("/bin/sh", elf(AMD64, "")),
            ],
            &none,
        ),
        // A C library for another processor beside the right one.
        (
            vec![
                ("/sbin/init", elf(AMD64, LOADER)),
                (LOADER, elf(AMD64, "")),
                ("/lib/ld-linux-aarch64.so.1", elf(ARM64, "")),
            ],
            &none,
        ),
        (
            vec![("/sbin/init", elf(I386, ""))],
            &"32-bit x86".to_owned(),
        ),
    ] {
        let got = check(&programs(&files), &[], Machine::X86_64).unwrap();
        assert_eq!(got.is_some(), !note.is_empty());
        assert!(got.unwrap_or_default().contains(note));
    }
}

#[test]
fn inits_that_do_not_start() {
    for (init, why) in [
        (b"".to_vec(), "is empty"),
        (vec![0; 4000], "zero bytes"),
        (b"exec /bin/app\n".to_vec(), "without `#!`"),
        (
            b"#!/bin/bash\n".to_vec(),
            "script for \"/bin/bash\", which does not exist",
        ),
        (b"#!/bin/sh\r\n".to_vec(), "script for \"/bin/sh\\r\""),
        (elf(ARM64, ""), "is for 64-bit ARM (arm64)"),
        (
            elf(AMD64, LOADER),
            "needs /lib64/ld-linux-x86-64.so.2, which does not exist",
        ),
        (
            b"#!/usr/bin/arm\n".to_vec(),
            "interpreter /usr/bin/arm is for 64-bit ARM",
        ),
    ] {
        let r = programs(&[
            ("/sbin/init", init),
            ("/bin/sh", elf(AMD64, "")),
            ("/usr/bin/arm", elf(ARM64, "")),
        ]);
        refused(&r, why);
    }
    let mut object = elf(AMD64, "");
    object[16] = 1;
    refused(&programs(&[("/sbin/init", object)]), "object file");
}

#[test]
fn what_init_needs() {
    let init = || ("/sbin/init", elf(AMD64, LOADER));
    let foreign = programs(&[init(), (LOADER, elf(ARM64, ""))]);
    refused(
        &foreign,
        "the C library's /lib64/ld-linux-x86-64.so.2 is for 64-bit ARM",
    );
    let mut plain = programs(&[init(), (LOADER, elf(AMD64, ""))]);
    let id = plain.tree.resolve(LOADER).unwrap();
    plain.tree.node_mut(id).meta.mode = 0o644;
    refused(&plain, "not an executable file");
    let shell = programs(&[("/sbin/init", elf(AMD64, "")), ("/bin/sh", elf(ARM64, ""))]);
    refused(&shell, "the shell /bin/sh is for 64-bit ARM");
    for libc in [
        "/lib/ld-musl-aarch64.so.1",
        "/usr/lib/aarch64-linux-gnu/libc.so.6",
    ] {
        let r = programs(&[("/sbin/init", elf(AMD64, "")), (libc, elf(ARM64, ""))]);
        refused(&r, libc);
    }
    // A 32-bit kernel runs no 64-bit program.
    let r = programs(&[("/sbin/init", elf(AMD64, ""))]);
    let e = check(&r, &[], Machine::X86).unwrap_err();
    assert!(e.message.contains("32-bit x86"), "{e}");
}

#[test]
fn inits_that_are_no_programs() {
    refused(
        &rootfs(&[], &[("/sbin/init", "/home/me/root/init")]),
        "/home/me/root/init",
    );
    refused(&rootfs(&[], &[]), "there is no /sbin/init");
    let mut r = rootfs(&[], &[]);
    r.tree.mkdir("/sbin/init", 0o755, 0).unwrap();
    refused(&r, "is a directory");
    let mut r = programs(&[("/sbin/init", elf(AMD64, ""))]);
    let id = r.tree.resolve("/sbin/init").unwrap();
    r.tree.node_mut(id).meta.mode = 0o644;
    refused(&r, "is not executable");
    // The last `init=` counts.
    let arguments = ["init=/sbin/init", "quiet", "init=/opt/init"].map(str::to_owned);
    let e = check(&r, &arguments, Machine::X86_64).unwrap_err();
    assert!(e.message.contains("/opt/init"), "{e}");
}
