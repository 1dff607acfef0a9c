//! OpenRC's tree of dependencies. tests/upgrade.rs compares a real one with OpenRC's own.

use super::*;
use crate::guest::deptree::{self, FACTS};
use crate::model::Digest;

const SCRIPT: &str = "#!/sbin/openrc-run\n";
const TREE: &str = "/var/cache/rc/deptree";

/// A root file system with these scripts, and what a Dockerfile found out about them.
fn with(scripts: &[(&str, &str)], depends: &str) -> Rootfs {
    let mut r = rootfs(
        &[
            (
                "/usr/libexec/rc/sh/init.sh",
                "cp -pr \"$RC_CACHEDIR\"/* \"$RC_SVCDIR\"",
            ),
            ("/etc/rc.conf", "#"),
        ],
        &[],
    );
    let mut sums = format!("{}  /etc/rc.conf\n", Digest::of(b"#").hex());
    for (name, text) in scripts {
        let path = format!("/etc/init.d/{name}");
        sums.push_str(&format!("{}  {path}\n", Digest::of(text.as_bytes()).hex()));
        r.tree.write(&path, text.as_bytes(), 0o755, 7).unwrap();
    }
    let facts = format!("{sums}\n{depends}");
    r.tree.write(FACTS, facts.as_bytes(), 0o644, 5).unwrap();
    r
}

/// Two services and all that comes after them.
fn three() -> Rootfs {
    let scripts = [("disk", "1"), ("local", "2"), ("net", "3")];
    let depends = "disk\nlocal\nlocal iafter disk local net\nnet\nnet ineed disk nothing\nnet iprovide web\nnet config /etc/fstab\n";
    with(&scripts, depends)
}

/// The tree that is shipped, if there is one.
fn tree(r: &mut Rootfs) -> Option<String> {
    deptree::add(r).unwrap();
    assert!(!r.tree.exists(FACTS), "it is of no use in the machine");
    r.read_text(TREE, 1 << 20).unwrap()
}

#[test]
fn services_of_the_image_are_added() {
    let mut r = three();
    let own = format!(
        "{SCRIPT}\ndepend() {{\n\tneed disk\n\tbefore net\n\tkeyword -containers -x\n}}\nstart() {{\n\techo $X\n}}\n"
    );
    r.tree
        .write("/etc/init.d/own", own.into_bytes(), 0o755, 2000)
        .unwrap();
    let expected = "\
depinfo_0_service='disk'
depinfo_0_ibefore_0='local'
depinfo_0_needsme_0='net'
depinfo_0_needsme_1='own'
depinfo_1_service='local'
depinfo_1_iafter_0='disk'
depinfo_1_iafter_1='net'
depinfo_1_iafter_2='own'
depinfo_2_service='net'
depinfo_2_ineed_0='disk'
depinfo_2_ineed_1='nothing'
depinfo_2_iprovide_0='web'
depinfo_2_ibefore_0='local'
depinfo_2_broken_0='nothing'
depinfo_2_iafter_0='own'
depinfo_3_service='own'
depinfo_3_ineed_0='disk'
depinfo_3_ibefore_0='net'
depinfo_3_ibefore_1='local'
depinfo_3_keyword_0='-docker'
";
    let found = tree(&mut r).unwrap();
    assert!(found.starts_with(expected), "{found}");
    assert!(
        found.ends_with("depinfo_4_service='web'\ndepinfo_4_providedby_0='net'\n"),
        "{found}"
    );
    let config = r.read_text("/var/cache/rc/depconfig", 100).unwrap();
    assert_eq!(config.as_deref(), Some("/etc/fstab\n"));
    // OpenRC makes another tree if a script is newer.
    let id = r.tree.lookup(TREE).unwrap();
    assert_eq!(r.tree.node(id).meta.mtime.secs, 2000);
}

#[test]
fn what_cannot_be_told_is_left_to_openrc() {
    type Edit = fn(&mut Rootfs);
    let write = |r: &mut Rootfs, path: &str, text: &str| {
        r.tree
            .write(path, text.as_bytes().to_vec(), 0o755, 9)
            .unwrap();
    };
    assert!(tree(&mut three()).is_some());
    assert!(tree(&mut rootfs(&[], &[])).is_none());
    let changes: [(&str, &str, &str); 8] = [
        ("a script changed", "/etc/init.d/net", "4"),
        ("a setting is new", "/etc/conf.d/net", ""),
        ("settings changed", "/etc/rc.conf", "rc_sys=lxc"),
        ("a script is not OpenRC's", "/etc/init.d/own", "#!/bin/sh\n"),
        (
            "it depends on what is known when it runs",
            "/etc/init.d/own",
            "#!/sbin/openrc-run\ndepend() {\n\tneed $x\n}\n",
        ),
        (
            "it has a condition",
            "/etc/init.d/own",
            "#!/sbin/openrc-run\ndepend() {\n\tif true; then\n\tneed x\n\tfi\n}\n",
        ),
        (
            "a file system of a network",
            "/etc/fstab",
            "host:/x /x nfs defaults 0 0\n",
        ),
        (
            "an older OpenRC",
            "/usr/libexec/rc/sh/init.sh",
            "cp -p \"$RC_LIBEXECDIR\"/cache/*",
        ),
    ];
    for (what, path, text) in changes {
        let mut r = three();
        write(&mut r, path, text);
        assert!(tree(&mut r).is_none(), "{what}");
    }
    let gone: [(&str, Edit); 2] = [
        ("a script is gone", |r| {
            r.tree.remove("/etc/init.d/net");
        }),
        ("other scripts", |r| {
            r.tree
                .write("/usr/local/etc/init.d/x", &b""[..], 0o755, 1)
                .unwrap();
        }),
    ];
    for (what, edit) in gone {
        let mut r = three();
        edit(&mut r);
        assert!(tree(&mut r).is_none(), "{what}");
    }
}
