//! What a person sees on a terminal: stages with their time, a summary, and all of a build's output
//! only where it failed.

use crate::common::{self, Place, said};
use std::process::Output;

/// Runs `xtask` with `arguments` on its own terminal of 72 columns, with these variables.
fn on_a_terminal(place: &Place, arguments: &str, env: &[(&str, &str)]) -> Output {
    on_columns(72, place, arguments, env)
}

fn on_columns(columns: u16, place: &Place, arguments: &str, env: &[(&str, &str)]) -> Output {
    let program = common::xtask();
    let program = program.get_program().to_str().unwrap();
    let line = format!("stty cols {columns}; exec {program} {arguments}");
    // util-linux's script(1) makes the terminal.
    let mut script = std::process::Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .current_dir(&place.dir)
        .stdin(std::process::Stdio::null())
        .env_remove("CI")
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh");
    for (name, value) in env {
        script.env(name, value);
    }
    script.output().unwrap()
}

const IMAGE: &str = "image ./box --from good.tar --output out --bootloader-dir bootloader";

#[test]
fn a_summary_names_what_was_made_and_what_to_type_next() {
    let Some(place) = Place::new() else { return };
    let out = on_a_terminal(&place, IMAGE, &[]);
    let text = said(&out);
    assert!(out.status.success(), "{text}");
    for part in [
        "==> reading good.tar",
        "out/box.img: ",
        " nominal",
        "firmware BIOS and UEFI (amd64)",
        "login    nobody; use --ssh-key FILE",
        "next     cargo xtask boot out/box.img --root-login",
        "\x1b[1;36m",
    ] {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
    // The result is the last line, as for a script.
    assert_eq!(text.trim_end().lines().last(), Some("out/box.img"));
    // No other program has printed anything.
    assert!(!place.dir.join("target/logs").exists());
}

#[test]
fn colours_and_moving_lines_are_left_out_where_they_are_not_wanted() {
    let Some(place) = Place::new() else { return };
    let plain = on_a_terminal(&place, IMAGE, &[("NO_COLOR", "1"), ("TERM", "dumb")]);
    let text = said(&plain);
    assert!(plain.status.success(), "{text}");
    assert!(!text.contains('\x1b'), "{text:?}");
    assert!(text.contains("==> box: done in "), "{text}");
    let grey = said(&on_a_terminal(&place, IMAGE, &[("NO_COLOR", "1")]));
    assert!(
        !grey.contains("\x1b[1;36m") && !grey.contains("\x1b[36m"),
        "{grey:?}"
    );
}

/// A recipe that is built with an engine whose build runs `build` and fails. Returns the `PATH` with
/// that engine.
fn failing_build(place: &Place, build: &str) -> String {
    common::script(
        &place.dir.join("bin/docker"),
        &format!(
            "case $1 in\nversion) echo 28.0.0;;\nbuild) {build}; exit 3;;\nimage) [ \"$2\" = inspect ] && echo sha256:00;;\nesac\n"
        ),
    );
    place.write("box/Dockerfile", "FROM scratch\n");
    format!(
        "{}:{}",
        place.dir.join("bin"),
        std::env::var("PATH").unwrap()
    )
}

const BUILD: &str = "image ./box --output out --bootloader-dir bootloader --engine docker";
const LOG: &str = "target/logs/image-box.log";

#[test]
fn what_fails_shows_all_that_was_printed() {
    let Some(place) = Place::new() else { return };
    // More lines than are shown at once.
    let path = failing_build(&place, "seq -f 'step %.0f of a build' 40");
    let out = on_a_terminal(&place, BUILD, &[("PATH", &path)]);
    let text = said(&out);
    assert!(!out.status.success(), "{text}");
    let log = place.dir.join(LOG);
    let log = fs_err::read_to_string(log).unwrap();
    for step in 1..=40 {
        let line = format!("step {step} of a build");
        assert!(log.contains(&line), "the log lacks {line:?}: {log}");
        assert!(
            text.contains(&format!("{line}\x1b[0m")),
            "{line:?} is missing: {text}"
        );
    }
    assert!(
        text.contains("the full output is in target/logs/image-box.log"),
        "{text}"
    );
}

#[test]
fn a_pipe_gets_each_line_once_and_the_log_is_named() {
    let Some(place) = Place::new() else { return };
    let path = failing_build(&place, "seq -f 'step %.0f of a build' 40");
    let mut xtask = common::xtask();
    let words = BUILD.split(' ');
    let out = xtask
        .args(words)
        .current_dir(&place.dir)
        .env("PATH", path)
        .output()
        .unwrap();
    let text = said(&out);
    assert!(!out.status.success() && !text.contains('\x1b'), "{text}");
    let log = fs_err::read_to_string(place.dir.join(LOG)).unwrap();
    for step in 1..=40 {
        let line = format!("step {step} of a build\n");
        assert_eq!(text.matches(&line).count(), 1, "{line:?}: {text}");
        assert_eq!(log.matches(&line).count(), 1, "{line:?}: {log}");
    }
    let note = format!("  ! the full output is in {LOG}\n");
    assert_eq!(text.matches(&note).count(), 1, "{text}");
    // Without another program's output there is nothing to read in it.
    place.write("box/Dockerfile", "FROM scratch\n");
    failing_build(&place, ":");
    let out = common::xtask()
        .args(BUILD.split(' '))
        .current_dir(&place.dir)
        .env("PATH", format!("{}:/usr/bin:/bin", place.dir.join("bin")))
        .output()
        .unwrap();
    let text = said(&out);
    assert!(!out.status.success() && !text.contains(LOG), "{text}");
}

#[test]
fn no_frame_shows_a_line_twice() {
    let Some(place) = Place::new() else { return };
    // Slow enough that many frames are drawn.
    let build = "for i in $(seq 40); do echo \"step $i of a build\"; sleep 0.03; done";
    let path = failing_build(&place, build);
    let text = said(&on_a_terminal(&place, BUILD, &[("PATH", &path)]));
    // A frame is what is written after the lines of the one before were erased.
    let number = |line: &str| line.split(' ').next().unwrap().parse::<u32>().unwrap();
    let frames = text.split("\x1b[2K");
    let frames = frames.map(|frame| frame.split("\x1b[2mstep ").skip(1).map(number).collect());
    let frames: Vec<Vec<u32>> = frames
        .filter(|steps: &Vec<u32>| !steps.is_empty())
        .collect();
    let whole = frames.iter().filter(|steps| steps.len() == 5).count();
    assert!(whole > 5, "{frames:?}: {text:?}");
    for steps in &frames {
        let ascend = steps.windows(2).all(|pair| pair[1] == pair[0] + 1);
        assert!(ascend, "{steps:?}: {frames:?}");
    }
}

#[test]
fn tables_are_as_wide_as_the_terminal() {
    let Some(place) = Place::new() else { return };
    for columns in [40, 80] {
        for command in ["list", "doctor"] {
            let text = said(&on_columns(columns, &place, command, &[]));
            assert!(text.lines().count() > 3, "{text}");
            for line in text.lines() {
                assert!(
                    line.chars().count() <= usize::from(columns),
                    "{columns}: {line:?}: {text}"
                );
            }
        }
    }
    // In a pipe every row is one line.
    let mut list = common::xtask();
    let text = said(&list.arg("list").current_dir(&place.dir).output().unwrap());
    assert!(
        text.lines()
            .any(|l| l.contains("Debian 13 (also 12 and 11) with systemd and DHCP, nothing else")),
        "{text}"
    );
}
