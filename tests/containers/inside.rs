//! What root of the machine can do with a hosted container: look inside, see how its health changes,
//! give its volumes to a newer image, and start it again.

use super::table::{From, IMAGES, Image};
use super::{boot, build, disk, is, possible, service};
use crate::common;

/// A user, a volume with something in it, and a health check that others can make fail.
macro_rules! dockerfile {
    ($version:literal, $volume:literal) => {
        concat!(
            "FROM alpine:3.23\nCOPY --from=0 /serve /serve\n",
            "RUN adduser -D -u 4300 app && echo ",
            $version,
            " >/version && touch /tmp/well && chown app /tmp/well\n",
            "RUN mkdir /data && ",
            $volume,
            " && chown -R app /data && chmod 2750 /data\n",
            "ENV A=inside\nUSER app\nVOLUME /data\n",
            "HEALTHCHECK --interval=1s --timeout=20s --retries=2 CMD test -e /tmp/well\n",
            "CMD [\"/serve\"]\n"
        )
    };
}
const FIRST: &str = dockerfile!("first", "echo seeded >/data/file");
const SECOND: &str = dockerfile!("second", "echo newer | tee /data/file >/data/more");

const ENTER: &str = "/usr/lib/docker-to-linux/enter";

fn image(text: &'static str) -> Image {
    Image {
        name: "inside",
        from: From::Text(text),
        ..IMAGES[0]
    }
}

/// Health, `enter` and volumes, over a power cut and a newer image.
fn a_life(machine: &str) {
    if !possible(machine) {
        return;
    }
    let (_guard, dir) = common::temp();
    let tag = build(&image(FIRST), &dir);
    let first = disk("inside", &tag, machine, &dir, &[]);
    let mut running = boot(&first, 80, "serve: user=4300:4300");
    {
        let mut root = running.root();
        root.run(&is("healthy"));
        root.run(&format!(
            "{ENTER} sh -c 'echo \"$(id -u) $A $(pwd) $HOME $(cat /proc/1/comm)\"' \
             | grep -x '4300 inside / /home/app init'"
        ));
        root.run(&format!("{ENTER} -u 0:0 id -u | grep -x 0"));
        root.run(&format!(
            "echo 'echo in $((6 * 7))' | {ENTER} | grep -x 'in 42'"
        ));
        root.run(&format!("{ENTER} sh -c 'exit 7'; test $? = 7"));

        root.run(&format!("{ENTER} rm /tmp/well"));
        root.run(&is("unhealthy"));
        root.run(&format!("{ENTER} touch /tmp/well"));
        root.run(&is("healthy"));
        root.run(
            "if [ -d /run/systemd/system ]; then journalctl -q -t container; \
             else cat /var/log/messages; fi | grep 'the container is unhealthy'",
        );

        root.run("grep ' /var/lib/container/root/data ' /proc/mounts");
        root.run(&format!(
            "{ENTER} stat -c '%a %u' /data | grep -x '2750 4300'"
        ));
        root.run(&format!("{ENTER} cat /data/file | grep -x seeded"));
        root.run(&format!(
            "{ENTER} sh -c 'echo mine >/data/mine && rm /data/file && sync'"
        ));
    }
    // Its power is cut.
    drop(running);

    let tag = build(&image(SECOND), &dir);
    let next = dir.join("next");
    fs_err::create_dir(&next).unwrap();
    let keep = ["--keep-volumes", first.as_str(), "--output", next.as_str()];
    disk("inside", &tag, machine, &dir, &keep);
    let second = next.join(first.file_name().unwrap());
    let mut running = boot(&second, 80, "serve: user=4300:4300");
    {
        let mut root = running.root();
        root.run(&format!("{ENTER} cat /version | grep -x second"));
        root.run(&format!("{ENTER} cat /data/mine | grep -x mine"));
        root.run(&format!("! {ENTER} ls /data/file /data/more"));
        root.run(&is("healthy"));
    }
    running.off();
}

/// A systemd is started again and again: it hears its stop signal, and its control group goes with
/// all that it made in it.
fn systemd_as_the_command(machine: &str) {
    if !possible(machine) {
        return;
    }
    let (_guard, dir) = common::temp();
    let image = IMAGES.iter().find(|i| i.name == "systemd").unwrap();
    let tag = build(image, &dir);
    let disk = disk(image.name, &tag, machine, &dir, &[]);
    let mut running = boot(&disk, image.port, "");
    running.answers(image.ask);
    {
        let mut root = running.root();
        root.run(&format!("{ENTER} cat /proc/1/comm | grep -x systemd"));
        for _ in 0..3 {
            root.run("rm -f /var/lib/container/root/stopped");
            // What is started again is told to end, and does so before it would be killed.
            root.run(&service("restart"));
            root.run("test -e /var/lib/container/root/stopped");
            root.run(&format!(
                "for n in $(seq 120); do {ENTER} systemctl -q is-active serve && break; sleep 1; done; \
                 {ENTER} systemctl is-active serve"
            ));
        }
        // The kernel checks which device files it opens.
        root.run(&format!(
            "{ENTER} sh -c 'mknod /memory c 1 1 && ! head -c 1 /memory'"
        ));
    }
    running.answers(image.ask);
    running.off();
}

#[test]
#[ignore = "builds and boots machines: minutes"]
fn a_life_on_alpine() {
    a_life("alpine");
}

#[test]
#[ignore = "builds and boots machines: minutes"]
fn a_life_on_debian() {
    a_life("debian");
}

#[test]
#[ignore = "builds and boots machines: minutes"]
fn systemd_as_the_command_on_alpine() {
    systemd_as_the_command("alpine");
}

#[test]
#[ignore = "builds and boots machines: minutes"]
fn systemd_as_the_command_on_debian() {
    systemd_as_the_command("debian");
}
