//! A database loses nothing that it committed: on five images, one after the other, whose power is cut.

use super::{is_clean, login, up};
use crate::common::machine::{self, Guest, With};
use crate::common::{content, temp};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::rootfs::Rootfs;
use docker_to_linux::tool::Tool;
use docker_to_linux::vm::Session;
use std::fs::File;
use std::process::Command;

/// PostgreSQL as its official image has it: the entry point fills the data folder, which is a volume.
/// Without /etc/postgresql, Debian's own service starts no second one.
const DOCKERFILE: &str = r#"FROM docker-to-linux/debian:amd64
RUN apt-get update && apt-get install -y --no-install-recommends postgresql \
 && rm -rf /var/lib/apt/lists/* /var/lib/postgresql /etc/postgresql \
 && install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data
COPY entrypoint /entrypoint
"#;

const ENTRYPOINT: &str = r#"#!/bin/sh
set -e
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
data=/var/lib/postgresql/data
[ -s $data/PG_VERSION ] || initdb -D $data -A trust
exec postgres -D $data -c unix_socket_directories=/tmp
"#;

const CONFIG: &str = r#"{
    "Entrypoint": ["/entrypoint"],
    "User": "postgres",
    "StopSignal": "SIGINT",
    "Volumes": {"/var/lib/postgresql/data": {}}
}"#;

const TAG: &str = "docker-to-linux/test-postgresql:latest";

/// The engine and the container image with the database.
fn container(dir: &Utf8Path) -> Option<(docker_to_linux::engine::Engine, String)> {
    let (engine, _) = machine::container("debian")?;
    let docker = Tool::Docker.require().ok()?;
    let build = dir.join("build");
    fs_err::create_dir(&build).unwrap();
    fs_err::write(build.join("Dockerfile"), DOCKERFILE).unwrap();
    crate::common::script(
        &build.join("entrypoint"),
        ENTRYPOINT.trim_start_matches("#!/bin/sh\n"),
    );
    content(Command::new(docker).args(["build", "--force-rm", "-t", TAG, build.as_str()]));
    Some((engine, TAG.to_owned()))
}

/// The command that talks to the database.
const PSQL: &str = "psql -qAt -h /tmp -U postgres";

/// Writes one row after the other, each in its own transaction, and says so.
fn write(session: &mut Session, version: u32) {
    let line = format!(
        "seq 100000 | sed 's/.*/insert into t values ({version}, &);\\n\\\\echo committed & of {version}./' | {PSQL}"
    );
    session.send(&line).unwrap();
    machine::expect(session, &[&format!("committed 60 of {version}.")]);
}

/// The number of the last row that was reported before the power was cut.
fn committed(console: &str, version: u32) -> u32 {
    let end = format!(" of {version}.");
    let numbers = console.split("committed ").filter_map(|part| {
        let (number, rest) = part.split_once(' ')?;
        let whole = format!(" {rest}").starts_with(&end);
        number.parse().ok().filter(|_| whole)
    });
    numbers.max().unwrap()
}

/// All rows of the earlier images are there, without a gap.
fn has_all(guest: &mut Guest<'_>, rows: &[u32]) {
    for (version, last) in (1..).zip(rows) {
        let query = format!(
            "select count(*), count(*) filter (where n <= {last}), max(n) from t where image = {version}"
        );
        let found = guest.run(&format!("{PSQL} -c '{query}'"));
        let numbers: Vec<u32> = found
            .split('|')
            .map(|n| n.trim().parse().unwrap())
            .collect();
        assert_eq!(numbers[1], *last, "of image {version}: {found}");
        assert_eq!(numbers[0], numbers[2], "of image {version}: {found}");
    }
}

#[test]
#[ignore = "builds a container, and boots five machines with systemd, which takes ten minutes without KVM"]
fn a_database_loses_nothing_on_five_images() {
    let (_keep, dir) = temp();
    let Some(container) = container(&dir) else {
        return;
    };
    let mut rows = Vec::new();
    let mut old: Option<Utf8PathBuf> = None;
    for version in 1..=5_u32 {
        let here = dir.join(format!("{version}"));
        fs_err::create_dir(&here).unwrap();
        let with = With {
            config: Some(serde_json::from_str(CONFIG).unwrap()),
            volumes_of: old.clone(),
        };
        let change = |rootfs: &mut Rootfs| {
            let text = format!("{version}\n").into_bytes();
            rootfs.tree.write("/etc/version", text, 0o644, 5).unwrap();
        };
        let login_ = machine::root_by_password(&here);
        let recipe = machine::recipe("debian");
        let (disk, notes) =
            machine::make_with(&container, "pg", recipe, login_, &here, with, change);
        eprintln!("{notes:?}");
        if version == 2 {
            let file = File::options().write(true).open(&disk.image).unwrap();
            file.set_len(4 << 30).unwrap();
        }
        let mut session = up(&disk.image);
        {
            let mut guest = login(&mut session);
            assert_eq!(guest.run("cat /etc/version").trim(), version.to_string());
            guest.run("findmnt /var/lib/postgresql/data && systemctl is-active volumes");
            guest.run(&format!(
                "for n in $(seq 120); do {PSQL} -c 'select 1' && break; sleep 1; done"
            ));
            guest.run(&format!(
                "{PSQL} -c 'create table if not exists t (image int, n int, primary key (image, n))'"
            ));
            has_all(&mut guest, &rows);
            let mib = guest.run("df -Pm /var/lib/postgresql/data | awk 'NR == 2 { print $2 }'");
            let mib: u32 = mib.trim().parse().unwrap();
            assert_eq!(mib > 1000, version > 1, "{mib} MiB");
        }
        write(&mut session, version);
        let volumes = disk.volumes.clone().unwrap();
        rows.push(if version == 3 {
            // One is shut down.
            let console = session.transcript();
            machine::off(session);
            committed(&console, version)
        } else {
            let console = session.transcript();
            session.end();
            committed(&console, version)
        });
        eprintln!("image {version}: {} rows", rows.last().unwrap());
        is_clean(&disk.image, &volumes, true);
        if let Some(old) = old.replace(disk.image) {
            fs_err::remove_dir_all(old.parent().unwrap()).unwrap();
        }
    }
    assert_eq!(rows.len(), 5);
}
