//! What the init needs, and what a machine should not share.

use super::For::All;
use super::{Case, case, lesser};

pub const INITS: &[Case] = &[
    case(
        "no init",
        "init-missing",
        "there is no /sbin/init",
        All,
        |b| b.debugfs(&[&format!("rm {}", b.parts.start)]),
    ),
    case(
        "an init that leads nowhere",
        "init-missing",
        "is a link to",
        All,
        |b| {
            let init = b.parts.init.clone();
            b.debugfs(&[&format!("rm {init}")]);
        },
    ),
    case(
        "an init that is not executable",
        "init-not-executable",
        "mode 0644",
        All,
        |b| {
            let init = b.parts.init.clone();
            b.debugfs(&[&format!("sif {init} mode 0100644")]);
        },
    ),
    case(
        "an empty init",
        "init-not-executable",
        "is empty",
        All,
        |b| {
            let init = b.parts.init.clone();
            b.put(&init, b"", "755");
        },
    ),
    case(
        "an init for another processor",
        "init-arch",
        "64-bit ARM",
        All,
        |b| {
            let init = b.parts.init.clone();
            let mut bytes = b.cat(&init);
            bytes[18..20].copy_from_slice(&183_u16.to_le_bytes());
            b.put(&init, &bytes, "755");
        },
    ),
    case(
        "an init that is a script for nothing",
        "init-loader-missing",
        "/bin/nothing",
        All,
        |b| {
            let init = b.parts.init.clone();
            b.put(&init, b"#!/bin/nothing\n", "755");
        },
    ),
    case(
        "no dynamic loader",
        "init-loader-missing",
        "dynamic loader",
        All,
        |b| {
            let loader = b.parts.loader.clone();
            b.debugfs(&[&format!("rm {loader}")]);
        },
    ),
    case(
        "no C library",
        "library-missing",
        "needs the library libc",
        All,
        |b| {
            let libc = b.parts.libc.clone();
            b.debugfs(&[&format!("rm {libc}")]);
        },
    ),
    case(
        "an fstab with a disk that is not there",
        "fstab-missing",
        "/srv",
        All,
        |b| {
            let mut text = b.cat("/etc/fstab");
            text.extend(b"UUID=11111111-2222-3333-4444-555555555555 /srv ext4 defaults 0 2\n");
            b.put("/etc/fstab", &text, "644");
        },
    ),
    lesser(
        "no program for consoles",
        "console-missing",
        "agetty",
        All,
        |b| {
            for path in ["/usr/sbin/agetty", "/sbin/agetty"] {
                if b.has(path) {
                    b.debugfs(&[&format!("rm {path}")]);
                    return;
                }
            }
        },
    ),
    lesser("a machine id", "identity", "/etc/machine-id", All, |b| {
        b.put(
            "/etc/machine-id",
            b"0123456789abcdef0123456789abcdef\n",
            "444",
        );
    }),
    lesser("root without a password", "login", "as root", All, |b| {
        let text = String::from_utf8(b.cat("/etc/shadow")).unwrap();
        let line = text.lines().find(|l| l.starts_with("root:")).unwrap();
        let locked = line.split(':').nth(1).unwrap();
        let open = line.replacen(&format!("root:{locked}:"), "root::", 1);
        b.put("/etc/shadow", text.replace(line, &open).as_bytes(), "640");
    }),
];
