//! What the command of a hosted container finds, compared with what a container engine gives it.
//!
//! `container-run` and the scripts around it run on this host instead of in a machine, in folders
//! with the files of real images; the engine runs the same images. Both start the same program,
//! which prints all that a process can see. Needs root and Docker, so it runs on demand.

mod group;
mod place;

use crate::common;
use place::{Place, Ran};
use std::collections::BTreeSet;

/// Lines that differ for a reason.
fn is_expected(line: &str) -> bool {
    let begins = |all: &[&str]| all.iter().any(|begin| line.starts_with(begin));
    begins(&[
        // The engine here takes them from the service that it is itself. `limits` checks ours.
        "/proc/self/limits Max core",
        "/proc/self/limits Max open files",
        "/proc/self/limits Max processes",
        // Of the real user in the whole system.
        "/proc/self/status SigQ",
        // Where the image is, and the engine's older kind of control groups.
        "mount / ",
        "mount /sys/fs/cgroup",
        "mount /etc/",
        // A volume.
        "mount /data/",
        "/proc/self/cgroup",
        // Newer engines hide it, too.
        "mount /proc/interrupts",
        // The reaper is between them. `the_command_is_process_one_if_it_wants` checks it.
        "process ",
        // Pipes have numbers, and the engine's input is its own null device.
        "file /proc/self/fd/",
        "fd 0 ",
        // Refused by this program's filter before the kernel finds the arguments wrong, and by that
        // of newer engines.
        "may syslog",
        "may /sys/fs/cgroup/new",
        // Here it would be the machine's own console.
        "may /dev/console",
        // The network is the machine's. A file for sysctl(8) sets it there.
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
    ])
}

#[track_caller]
fn same(ran: &Ran) {
    same_lines(&ran.ours, &ran.engine, |line| !is_expected(line));
    assert_eq!(ran.our_status, ran.engine_status);
}

/// Compares the lines that `counts` accepts.
#[track_caller]
fn same_lines(ours: &str, theirs: &str, counts: impl Fn(&str) -> bool) {
    let lines = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| counts(line));
        lines.map(str::to_owned).collect()
    };
    let (ours, theirs) = (lines(ours), lines(theirs));
    assert!(theirs.len() > 60, "{theirs:?}");
    let only = |a: &BTreeSet<String>, b| a.difference(b).cloned().collect::<Vec<_>>().join("\n");
    let (more, less) = (only(&ours, &theirs), only(&theirs, &ours));
    assert!(
        more.is_empty() && less.is_empty(),
        "only here:\n{more}\nonly there:\n{less}"
    );
}

/// Users, folders, environments and forms of commands.
#[test]
#[ignore = "needs root and an engine"]
fn a_process_finds_the_same_as_under_an_engine() {
    let Some(place) = Place::new(
        module_path!(),
        "a_process_finds_the_same_as_under_an_engine",
    ) else {
        return;
    };
    let cases = [
        (
            "scratch",
            "ENTRYPOINT [\"/probe\"]\nCMD [\"a  b\", \"\", \"it's $HOME\\n\", \"Łódź\"]\n",
        ),
        (
            "scratch",
            "ENV A=\"it's \\$HOME\" node.name=x HOSTNAME=mine HOME=/elsewhere E=\nWORKDIR /new/dir\n\
             USER 1234\nCMD [\"/probe\"]\n",
        ),
        (
            "scratch",
            "USER 1234:5678\nENV PATH=/bin:/\nVOLUME /data/x\nCMD [\"probe\"]\n",
        ),
        (
            "debian:trixie-slim",
            "USER www-data\nWORKDIR /srv\nCMD /probe \"$HOME\"  'x'\n",
        ),
        (
            "debian:trixie-slim",
            "USER games:users\nWORKDIR /\nCMD [\"./probe\"]\n",
        ),
        (
            "debian:trixie-slim",
            "RUN useradd -u 1500 -m -G audio,video,users app && ln -s /probe /usr/bin/a=b && mkdir /run/x\n\
             USER app\nENTRYPOINT [\"a=b\"]\nCMD [\"first\"]\n",
        ),
        (
            "debian:trixie-slim",
            "RUN useradd -u 1501 -G audio app\nUSER 1501\nENTRYPOINT exec /probe tail\n",
        ),
        ("alpine:3.23", "ENTRYPOINT [\"/probe\"]\n"),
        (
            // Nothing that an engine mounts on is there; /etc and /dev are links.
            "alpine:3.23",
            "RUN mv /etc /settings && ln -s settings /etc && rm -f /etc/resolv.conf; \
             ln -sf /run/there/resolv.conf /etc/resolv.conf; true\nENTRYPOINT [\"/probe\"]\n",
        ),
    ];
    for (base, text) in cases {
        eprintln!("{base}: {text}");
        same(&place.both(base, text, &[]));
    }
}

/// How commands end, and the words about those that cannot start.
#[test]
#[ignore = "needs root and an engine"]
fn a_command_ends_as_under_an_engine() {
    let Some(place) = Place::new(module_path!(), "a_command_ends_as_under_an_engine") else {
        return;
    };
    for command in [
        r#"["/probe", "--exit", "7"]"#,
        r#"["/probe", "--kill", "9"]"#,
        r#"["/probe", "--kill", "15"]"#,
        r#"["sh", "-c", "kill -11 $$"]"#,
        // Where a volume could have brought the program, it is looked for at the start.
        r#"["/v/nowhere"]"#,
        r#"["nowhere"]"#,
        r#"["/v/file"]"#,
        r#"["/v"]"#,
        r#"["/v/script"]"#,
    ] {
        let text = format!(
            "RUN mkdir /v && touch /v/file && printf '#!/no/such/shell\\n' >/v/script && chmod 755 /v/script\n\
             VOLUME /v\nENV PATH=/usr/bin:/bin:/v\nUSER 1000\nCMD {command}\n"
        );
        let ran = place.both("alpine:3.23", &text, &[]);
        if command.contains("kill") {
            // As process 1 of the engine a program cannot end itself by a signal.
            assert!(ran.our_status > 128, "{command}: {}", ran.our_status);
            continue;
        }
        let wanted = match command.contains("script") {
            // Engines of several ages have several answers.
            true => 127,
            false => ran.engine_status,
        };
        assert_eq!(
            ran.our_status, wanted,
            "{command}\n{}\n{}",
            ran.ours, ran.engine
        );
    }
}

/// Neither the numbers of processes nor the limits are the engine's here.
#[test]
#[ignore = "needs root and an engine"]
fn limits_and_process_numbers_are_an_engines() {
    let Some(place) = Place::new(module_path!(), "limits_and_process_numbers_are_an_engines")
    else {
        return;
    };
    let ran = place.both("scratch", "USER 5\nENTRYPOINT [\"/probe\"]\n", &[]);
    let line = |begin: &str| {
        let line = ran.ours.lines().find(|l| l.starts_with(begin));
        line.unwrap_or_else(|| panic!("no {begin}: {}", ran.ours))
            .to_owned()
    };
    // Behind the reaper, which belongs to the same user.
    assert_eq!(line("process "), "process 2 parent 1 session 2 group 2");
    assert_eq!(line("may /proc/1/fd/1"), "may /proc/1/fd/1: yes");
    let words = line("/proc/self/limits Max open files");
    let files: Vec<&str> = words.split_whitespace().skip(4).take(2).collect();
    assert_eq!(files[0], files[1]);
    // As much as this host allows.
    assert!(files[0].parse::<u64>().unwrap() >= 20_000, "{words}");
    // Neither the machine's disk nor its memory or console.
    let root = place.both("scratch", "ENTRYPOINT [\"/probe\"]\n", &[]);
    for (device, opens) in [
        ("disk", "EPERM"),
        ("mem", "EPERM"),
        ("nil", "yes"),
        ("console", "EPERM"),
    ] {
        let both = format!("make /dev/{device}: yes\nmay /dev/{device}: {opens}\n");
        assert!(root.ours.contains(&both), "{both}\n{}", root.ours);
    }
}

/// The stop signal reaches the command through whatever is in front of it.
#[test]
#[ignore = "needs root and an engine"]
fn signals_reach_the_command() {
    let Some(place) = Place::new(module_path!(), "signals_reach_the_command") else {
        return;
    };
    for number in [1, 3, 10, 15, 28, 34, 37, 64] {
        let text = format!("USER 5\nENTRYPOINT [\"/probe\", \"--wait\", \"{number}\"]\n");
        let container = place.container("scratch", &text);
        let mut running = container.start();
        running.says("ready");
        running.signal(number);
        running.says(&format!("got {number}"));
        assert_eq!(running.ended(), 3);
    }
    // A program that handles none of them ends, which it would not as process 1.
    let container = place.container("alpine:3.23", "CMD [\"sleep\", \"1000\"]\n");
    let mut running = container.start();
    assert!(container.enter(&["true"]).status.success());
    running.signal(15);
    assert_eq!(running.ended(), 128 + 15);
    let gone = container.enter(&["true"]);
    assert!(
        common::said(&gone).contains("the container does not run"),
        "{gone:?}"
    );
    // And if somebody kills what is outside, nothing is left inside.
    let mut running = container.start();
    assert!(container.enter(&["true"]).status.success());
    running.signal(9);
    assert_eq!(running.ended(), 128 + 9);
    assert!(!container.enter(&["true"]).status.success());
}

/// What joins the container later sees the same, with the same rights.
#[test]
#[ignore = "needs root and an engine"]
fn a_second_command_is_in_the_same_container() {
    let Some(place) = Place::new(module_path!(), "a_second_command_is_in_the_same_container")
    else {
        return;
    };
    let text = "USER games\nENV A='it''s' X=y\nWORKDIR /srv\nHEALTHCHECK CMD test -e /dev/shm/well\n\
                CMD [\"sleep\", \"1000\"]\n";
    let container = place.container("debian:trixie-slim", text);
    let mut running = container.start();
    container.wait();
    let joined = container.enter(&["/probe"]);
    let alone = place.both(
        "debian:trixie-slim",
        &text.replace("\"sleep\", \"1000\"", "\"/probe\""),
        &[],
    );
    assert!(joined.status.success(), "{joined:?}");
    let joined = String::from_utf8_lossy(&joined.stdout).into_owned();
    // Its first process and the one that joins it, side by side.
    let begins = [
        "env ",
        "user ",
        "cwd ",
        "umask ",
        "/proc/self/status ",
        "mount ",
        "may ",
        "make ",
    ];
    same_lines(&joined, &alone.ours, |line| {
        begins.iter().any(|begin| line.starts_with(begin)) && !line.contains("SigQ")
    });
    // Another user, and the command's own processes.
    let root = container.enter(&[
        "-u",
        "0:0",
        "sh",
        "-c",
        "id -u; cat /proc/2/comm; cat /proc/1/comm",
    ]);
    assert_eq!(common::said(&root), "0\nsleep\ninit\n");
    assert_eq!(
        container.enter(&["sh", "-c", "exit 9"]).status.code(),
        Some(9)
    );
    // The health check is one of them.
    assert!(!container.healthcheck().status.success());
    assert!(
        container
            .enter(&["touch", "/dev/shm/well"])
            .status
            .success()
    );
    assert!(container.healthcheck().status.success());
    running.signal(15);
    assert_eq!(running.ended(), 128 + 15);
}
