//! What is refused, and what must not be changed.

use super::*;

#[track_caller]
fn refused(arguments: &[&str], words: &[&str]) {
    let (_guard, dir) = temp();
    let out = common::xtask()
        .args(["image", "-q", "--output", dir.as_str()])
        .args(arguments)
        .output()
        .unwrap();
    let said = common::said(&out);
    assert_eq!(out.status.code(), Some(2), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn containers_that_nothing_can_be_added_to_are_refused() {
    // Distroless images call themselves what they were made of.
    let release = file("etc/os-release", "NAME=Distroless\nID=debian\n");
    const BARE: &str = "docker-to-linux-test-bare:1";
    let Some(_bare) = Imported::new(BARE, &[release, file("app", "x").mode(0o755)]) else {
        return;
    };
    refused(
        &["--container", BARE, "--as", "native"],
        &["has no package manager", "--as hosted"],
    );
    const OTHER: &str = "docker-to-linux-test-other:1";
    let system = |release: &str| {
        [
            file("sbin/apk", "x"),
            file("bin/sh", "x"),
            file("usr/lib/os-release", release),
            common::link("etc/os-release", "../usr/lib/os-release"),
        ]
    };
    let plan9 = Imported::new(OTHER, &system("ID=plan9\nID_LIKE=\"unix v7\"\n")).unwrap();
    let native = ["--container", OTHER, "--as", "native"];
    refused(&native, &["plan9 or unix or v7", "serves:"]);
    drop(plan9);
    let _silent = Imported::new(OTHER, &system("NAME=x\n")).unwrap();
    refused(&native, &["is unknown: it has no /etc/os-release"]);
}

#[test]
fn what_is_asked_wrongly_is_told_at_once() {
    refused(
        &["--dockerfile", "nowhere/Dockerfile"],
        &["there is no Dockerfile nowhere"],
    );
    refused(
        &["--container", "x", "--from", "y.tar"],
        &["cannot be used with"],
    );
    refused(
        &["debian", "alpine", "--container", "x"],
        &["for one image"],
    );
    refused(
        &["debian", "--name", "a/b", "--from", "-"],
        &["is not a valid image name"],
    );
    refused(&[], &["<RECIPE>"]);
    refused(
        &["debian", "--as", "hosted"],
        &["--as is about a container", "--container"],
    );
    refused(
        &["--container", "x", "--as", "native", "--machine", "y"],
        &["--machine does not fit --as native"],
    );
    refused(
        &["--container", "x", "--machine", "y@1"],
        &["--machine \"y@1\" has no digest", "NAME@sha256:DIGEST"],
    );
    refused(
        &["--container", "oci:nowhere", "--as", "native"],
        &["--as native needs an image in a container engine"],
    );
    refused(
        &["--container", "oci:"],
        &["--container \"oci:\" has no path"],
    );
    refused(
        &["--container", "x", "--blob-dir", "y"],
        &["--blob-dir does not fit --container x"],
    );
    refused(
        &["--container", "docker-daemon:x:1"],
        &["give its name only: --container x:1"],
    );
    // Nothing reaches the engine as a separate option.
    for image in ["--help", "-v", "", "a b", "Nginx", "--privileged=true"] {
        let container = format!("--container={image}");
        refused(
            &[&container],
            &["--container", "is not a valid name for a container image"],
        );
        let base = format!("--base={image}");
        refused(
            &["debian", &base],
            &["--base", "is not a valid name for a container image"],
        );
    }
}

/// A second run whose image has the same name gives the tag to its own image as soon as this one's
/// is built: nothing of it may get into this one's machine.
#[test]
fn a_second_run_of_the_same_name_changes_nothing() {
    const BASE: &str = "docker-to-linux-test-first:1";
    const OTHER: &str = "docker-to-linux-test-second:1";
    let (_guard, dir) = temp();
    let system = |name: &str| {
        let mut all = common::machine();
        all.retain(|e| e.path != "etc/os-release");
        let release = format!("ID=own\nPRETTY_NAME=\"{name}\"\n");
        all.extend([
            file("etc/os-release", release),
            file("sbin/apk", "x"),
            file("bin/sh", "x"),
        ]);
        all
    };
    let Some(_base) = Imported::new(BASE, &system("First")) else {
        return;
    };
    let _other = Imported::new(OTHER, &system("Second")).unwrap();
    let Some(loaders) = common::bootloader_dir(&dir) else {
        return;
    };
    let write = |path: &str, text: &str| {
        let path = dir.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    };
    let name = format!("same-{}", std::process::id());
    let tags = [
        format!("docker-to-linux/{name}:amd64"),
        format!("docker-to-linux/container/{name}:amd64"),
    ];
    let recipe = format!("name: {name}\nboot: bios\nservice: auto\nbase: {BASE}\n");
    write("own/recipe.yaml", &recipe);
    write(
        "own/Dockerfile",
        "ARG BASE\nFROM ${BASE}\nCMD [\"/first\"]\n",
    );
    write("other/recipe.yaml", &recipe);
    write("other/Dockerfile", "ARG BASE\nFROM ${BASE}\n");
    write(
        "app/Dockerfile",
        &format!("FROM {BASE}\nCMD [\"/first\"]\n"),
    );
    let docker = Tool::Docker.require().unwrap();
    let stand_in = format!(
        "{docker} \"$@\" || exit\n[ \"$1\" != build ] || {{ {docker} tag {OTHER} {}; {docker} tag {OTHER} {}; }}\n",
        tags[0], tags[1]
    );
    common::script(&dir.join("bin/docker"), &stand_in);
    let path = format!("{}/bin:{}", dir, std::env::var("PATH").unwrap());
    let own: &[&str] = &["./own"];
    let built = &["./other", "--dockerfile", "app/Dockerfile", "--name", &name];
    let given = &["./other", "--container", BASE, "--name", &name];
    for (arguments, command) in [(own, "/first"), (built, "/first"), (given, "")] {
        let mut run = common::xtask();
        run.args([
            "image",
            "-q",
            "--plan",
            "--engine",
            "docker",
            "--network",
            "none",
        ])
        .args(["--bootloader-dir", loaders.as_str()])
        .args(["--output", dir.as_str()])
        .args(arguments)
        .env("PATH", &path)
        .current_dir(&dir);
        let child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.unwrap();
        let pid = child.id();
        let said = common::said(&child.wait_with_output().unwrap());
        assert!(said.contains("First"), "{arguments:?}: {said}");
        assert!(said.contains(command), "{arguments:?}: {said}");
        assert!(!said.contains("Second"), "{arguments:?}: {said}");
        // And no name stays that only the run knew.
        let names = content(Command::new(&docker).args(["images", "--format", "{{.Tag}}"]));
        assert!(!names.contains(&format!(".{pid}.")), "{names}");
    }
    for tag in tags {
        let _ = Command::new(&docker).args(["rmi", &tag]).output();
    }
}

/// `--base` names an image whose settings would end the build: they are left out, and the others
/// are not. A recipe's own base keeps all that its author may have meant.
#[test]
fn a_base_whose_settings_are_in_the_way() {
    const PLAIN: &str = "docker-to-linux-test-plain:1";
    const BASE: &str = "docker-to-linux-test-settings:1";
    let (_guard, dir) = temp();
    let Some(_plain) = Imported::new(PLAIN, &common::machine()) else {
        return;
    };
    let Some(loaders) = common::bootloader_dir(&dir) else {
        return;
    };
    let docker = Tool::Docker.require().unwrap();
    let dockerfile = format!(
        "FROM {PLAIN}\nENV LD_PRELOAD=/x.so KERNEL=5 KEPT=\"a \\\"b\\\" \\$c\"\n\
         VOLUME /etc\nCMD [\"/kept\", \"x y\"]\nONBUILD COPY nowhere /nowhere\n"
    );
    let mut build = Command::new(&docker);
    let out = common::with_input(
        build.args(["build", "-t", BASE, "-"]),
        dockerfile.as_bytes(),
    );
    assert!(out.status.success(), "{}", common::said(&out));
    let _base = Imported(BASE);
    let id = content(Command::new(&docker).args(["image", "inspect", "--format", "{{.Id}}", BASE]));
    let neutral = format!("docker-to-linux/neutral/{}*", &id["sha256:".len()..][..24]);
    let name = format!("settings-{}", std::process::id());
    fs_err::create_dir(dir.join("own")).unwrap();
    let dockerfile = "ARG BASE\nFROM ${BASE}\n";
    fs_err::write(dir.join("own/Dockerfile"), dockerfile).unwrap();
    let plan = |base: &str, more: &[&str]| {
        let recipe = format!("name: {name}\nboot: bios\nservice: auto\nbase: {base}\n");
        fs_err::write(dir.join("own/recipe.yaml"), recipe).unwrap();
        common::xtask()
            .args(["image", "--plan", "--engine", "docker", "./own"])
            .args(["--bootloader-dir", loaders.as_str()])
            .args(["--output", dir.as_str()])
            .args(more)
            .current_dir(&dir)
            .output()
            .unwrap()
    };
    let out = plan(PLAIN, &["--base", BASE]);
    let said = common::said(&out);
    assert!(out.status.success(), "{said}");
    let left_out = "without its ONBUILD, ENV LD_PRELOAD, ENV KERNEL, VOLUME /etc";
    assert!(said.contains(left_out), "{said}");
    assert!(said.contains("x y"), "{said}");
    let built = format!("docker-to-linux/{name}:amd64");
    let env = [
        "image",
        "inspect",
        "--format",
        "{{json .Config.Env}}",
        &built,
    ];
    let env = content(Command::new(&docker).args(env));
    assert!(env.contains(r#""KEPT=a \"b\" $c""#), "{env}");
    assert!(!env.contains("LD_PRELOAD"), "{env}");
    // The second time it is there.
    let said = common::said(&plan(PLAIN, &["--base", BASE]));
    assert!(
        said.contains("x y") && !said.contains("without its"),
        "{said}"
    );
    let out = plan(BASE, &[]);
    assert!(!out.status.success(), "{}", common::said(&out));
    let said = common::said(&plan(PLAIN, &[]));
    assert!(!said.contains("without its"), "{said}");
    let list = ["images", "-q", "--filter", &format!("reference={neutral}")];
    let mut doomed = content(Command::new(&docker).args(list));
    doomed.push_str(&built);
    let _ = Command::new(&docker)
        .args(["rmi", "-f"])
        .args(doomed.split_whitespace())
        .output();
}
