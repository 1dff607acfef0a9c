//! What a person sees on a terminal: stages with their time, a summary, and all of a build's output
//! only where it failed.

use crate::common::{self, Place, said};
use std::process::Output;

/// Runs `xtask` with `arguments` on its own terminal, with these variables.
fn on_a_terminal(place: &Place, arguments: &str, env: &[(&str, &str)]) -> Output {
    let program = common::xtask();
    let program = program.get_program().to_str().unwrap();
    let line = format!("stty cols 72; exec {program} {arguments}");
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
    assert!(place.dir.join("target/logs/image-box.log").is_file());
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

#[test]
fn what_fails_shows_all_that_was_printed() {
    let Some(place) = Place::new() else { return };
    // An engine whose build prints more lines than are shown at once, and fails.
    common::script(
        &place.dir.join("bin/docker"),
        "case $1 in\nversion) echo 28.0.0;;\nbuild) seq -f 'step %.0f of a build' 40; exit 3;;\nimage) [ \"$2\" = inspect ] && echo sha256:00;;\nesac\n",
    );
    place.write("box/Dockerfile", "FROM scratch\n");
    let path = format!(
        "{}:{}",
        place.dir.join("bin"),
        std::env::var("PATH").unwrap()
    );
    let arguments = "image ./box --output out --bootloader-dir bootloader --engine docker";
    let out = on_a_terminal(&place, arguments, &[("PATH", &path)]);
    let text = said(&out);
    assert!(!out.status.success(), "{text}");
    let log = place.dir.join("target/logs/image-box.log");
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
