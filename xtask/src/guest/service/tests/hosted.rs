//! The command of a hosted container as a service.

use super::*;
use crate::rootfs::oci::Schedule;

const FOLDER: &str = "/var/lib/container/root";

/// A machine with the container's `files` in its folder.
fn machine(files: &[(&str, &str)]) -> Rootfs {
    let mut r = programs(&[("/usr/lib/docker-to-linux/container-run", "elf")]);
    for (path, text) in files {
        let path = format!("{FOLDER}{path}");
        r.tree.write(&path, text.as_bytes(), 0o755, 5).unwrap();
    }
    r
}

fn hosted(command: &[&str]) -> Container {
    Container {
        root: Some(FOLDER.into()),
        ..container(command, &[])
    }
}

fn host(rootfs: &mut Rootfs, init: Init, container: &Container) -> Result<Vec<String>, Report> {
    super::super::host(rootfs, init, container, FOLDER, OWN)
}

#[test]
fn the_container_has_its_own_users_and_programs() {
    let mut r = machine(&[
        ("/bin/app", "elf"),
        ("/etc/passwd", "app:x:5:6::/inner:/bin/sh\n"),
        ("/etc/group", "other:x:7:app\nmore:x:8:x,app\napp:x:6:app\n"),
    ]);
    let mut c = hosted(&["app", "it's"]);
    c.user = Some("app".into());
    c.volumes = vec!["/data".into()];
    c.healthcheck = Some(vec!["/check".into()]);
    c.health_schedule = Some(Schedule {
        interval: 30,
        timeout: 20,
        start_period: 10,
        start_interval: 5,
        retries: 3,
    });
    assert_eq!(host(&mut r, Init::Systemd, &c).unwrap(), [""; 0]);
    let launcher = text(&r, LAUNCHER);
    for part in [
        "container-run --root '/var/lib/container/root'",
        "--folder '/data'",
        "--user 5:6:6,7,8 --cwd '/'",
        "'HOME=/inner'",
        r"'it'\''s'",
    ] {
        assert!(launcher.contains(part), "{part}\n{launcher}");
    }
    assert!(!launcher.contains("--process-1") && !launcher.contains("--privileged"));
    let unit = text(&r, "/etc/systemd/system/container.service");
    assert!(unit.contains("\nEnvironment=CONSOLE_OWNER=5:6\nDelegate=yes\n"));
    assert!(!unit.contains("User="), "{unit}");
    let unit = text(&r, "/etc/systemd/system/container-health.service");
    assert!(unit.contains("/health 30 20 10 5 3\n"), "{unit}");
    // What it brings is read by root only, and nothing is added to its files.
    for script in [LAUNCHER, HEALTHCHECK, "/usr/lib/docker-to-linux/enter"] {
        let id = r.tree.resolve(script).unwrap();
        assert_eq!(r.tree.node(id).meta.mode & 0o777, 0o700, "{script}");
    }
    let names: Vec<&str> = r.tree.entries(FOLDER).map(|(name, _)| name).collect();
    assert_eq!(names, ["bin", "etc"]);

    let mut r = machine(&[("/bin/app", "elf")]);
    c.user = None;
    host(&mut r, Init::OpenRc, &c).unwrap();
    let script = text(&r, "/etc/init.d/container-health");
    assert!(script.contains("\"30 20 10 5 3\""), "{script}");
    for script in [
        "/etc/init.d/container-health",
        "/usr/lib/docker-to-linux/health",
        "/usr/lib/docker-to-linux/enter",
        HEALTHCHECK,
        LAUNCHER,
    ] {
        is_script(&r, script);
    }
}

#[test]
fn who_is_process_one() {
    let files = [
        ("/lib/systemd/systemd", "elf"),
        ("/init", "#!/bin/execlineb -S0\n"),
        ("/bin/execlineb", "elf"),
        ("/usr/bin/tini", "elf"),
        ("/bin/sh", "elf"),
        ("/bin/app", "elf"),
    ];
    for (command, wanted) in [
        (&["app"] as &[&str], ""),
        (&["sh", "-c", "app"], ""),
        (&["tini", "--", "app"], " --process-1"),
        (&["/init"], " --process-1"),
        (&["/lib/systemd/systemd"], " --process-1 --systemd"),
    ] {
        let mut r = machine(&files);
        host(&mut r, Init::Systemd, &hosted(command)).unwrap();
        let launcher = text(&r, LAUNCHER);
        let line = format!("--root '{FOLDER}'{wanted} \\\n");
        assert!(launcher.contains(&line), "{command:?}: {launcher}");
        let systemd = wanted.ends_with("systemd");
        assert_eq!(launcher.contains("'container=docker-to-linux'"), systemd);
    }
    // SIGTERM would start systemd again.
    let mut r = machine(&files);
    let mut c = hosted(&["/lib/systemd/systemd"]);
    c.stop_signal = Signal::TERM;
    host(&mut r, Init::OpenRc, &c).unwrap();
    assert!(text(&r, "/etc/init.d/container").contains("retry=\"-37/30/SIGKILL/5\""));
}

#[test]
fn what_cannot_start_is_a_mistake() {
    let mistake = |c: &Container| {
        let e = host(&mut machine(&[("/bin/app", "elf")]), Init::Systemd, c).unwrap_err();
        e.message
    };
    let absent = hosted(&["/data/app"]);
    assert!(mistake(&absent).contains("\"/data/app\", which is not an executable file"));
    // The machine's own program does not count.
    let outer = hosted(&["/entrypoint"]);
    assert!(mistake(&outer).contains("\"/entrypoint\""));
    let mut user = hosted(&["app"]);
    user.user = Some("www".into());
    assert!(mistake(&user).contains("\"www\", which is not in its /etc/passwd"));
    // A volume may bring it.
    let mut volume = absent.clone();
    volume.volumes = vec!["/data".into()];
    let notes = host(&mut machine(&[("/etc/x", "")]), Init::Systemd, &volume).unwrap();
    assert!(notes[0].ends_with("unless a volume brings it"), "{notes:?}");
    let mut without = programs(&[(&*format!("{FOLDER}/bin/app"), "elf")]);
    let e = host(&mut without, Init::Systemd, &hosted(&["app"])).unwrap_err();
    assert!(e.message.contains("container-run"), "{e}");
}
