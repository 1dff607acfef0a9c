//! The control group of a container, at its starts and after its end.

use super::place::Place;
use crate::common;
use std::process::Command;
use std::time::{Duration, Instant};

/// What a systemd in a container leaves in its control group.
const LEFT: [&str; 3] = [
    "init.scope",
    "system.slice/a.service",
    "user.slice/user-0.slice/x",
];

/// More starts than the kernel takes programs for one group (BPF_CGROUP_MAX_PROGS is 64).
const STARTS: u32 = 70;

#[test]
#[ignore = "needs root and an engine"]
fn a_control_group_goes_with_all_that_is_in_it() {
    let Some(place) = Place::new(
        module_path!(),
        "a_control_group_goes_with_all_that_is_in_it",
    ) else {
        return;
    };
    let text = "CMD echo ready; exec sleep 1000\n";
    let container = place.container("alpine:3.23", text);
    let group = container.group();
    for number in 1..=STARTS {
        let mut running = container.start();
        running.says("ready");
        assert!(!group.join(LEFT[0]).exists(), "at start {number}");
        for name in LEFT {
            fs_err::create_dir_all(group.join(name)).unwrap();
        }
        // Now and then nobody is left to clean up.
        let killed = number % 8 == 0 || number == STARTS;
        running.signal(if killed { 9 } else { 15 });
        running.ended();
        assert_eq!(group.exists(), killed, "after start {number}");
    }

    // Neither does a process stop it that somebody moved into the group.
    let mut process = Command::new("sleep").arg("1000").spawn().unwrap();
    let file = group.join(LEFT[1]).join("cgroup.procs");
    fs_err::write(file, process.id().to_string()).unwrap();
    let mut running = container.start();
    running.says("ready");
    let begun = Instant::now();
    while process.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!group.join("system.slice").exists());

    // The kernel checks device files, so the container may make them.
    let made = container.enter(&[
        "sh",
        "-c",
        "mknod /x c 1 3 && : </x && mknod /y c 1 1 && : </y",
    ]);
    let said = common::said(&made);
    assert!(
        said.contains("can't open /y: Operation not permitted"),
        "{said}"
    );

    // A second start leaves the first alone.
    let second = container.run();
    assert_eq!(second.status.code(), Some(125), "{second:?}");
    let said = common::said(&second);
    assert!(said.contains("the container runs already"), "{said}");
    assert!(container.enter(&["true"]).status.success());
    running.signal(15);
    assert_eq!(running.ended(), 128 + 15);
    assert!(!group.exists());
}
