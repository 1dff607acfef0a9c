//! Names that come from files.

use super::*;

#[test]
fn a_manifest_names_nothing_outside_its_folder() {
    let Some(p) = place() else { return };
    content(&mut p.make("box", "a", &[]));
    let path = p.out.join("box.manifest.json");
    let good = fs::read_to_string(&path).unwrap();
    let victim = p.dir.join("victim");
    let absolute = p.dir.join("victim").into_string();
    let change = |pointer: &str, value: serde_json::Value| {
        let mut json: serde_json::Value = serde_json::from_str(&good).unwrap();
        *json.pointer_mut(pointer).unwrap() = value;
        fs::write(&path, json.to_string()).unwrap();
    };
    let names = [
        "../victim",
        &absolute,
        "../out/../victim",
        "..",
        ".",
        "",
        ".profile",
        "a\nb",
        "-x",
        "box.img/../../victim",
    ];
    for name in names {
        for pointer in ["/packages/file", "/name", "/artifacts/0/file"] {
            // Whoever wants to know what is taken: a plain name of another file of the image's
            // is no harm.
            if (pointer, name) == ("/artifacts/0/file", ".profile") {
                continue;
            }
            fs::write(&victim, "mine").unwrap();
            change(pointer, name.into());
            let mut convert = p.xtask(&["convert", "out/box.img", "--format", "vdi"]);
            fails(
                convert.args(["--output", "new/other"]),
                1,
                &["box.manifest.json"],
            );
            assert_eq!(fs::read(&victim).unwrap(), b"mine");
            assert!(!p.dir.join("new/.profile").exists());
            let left = p.dir.join("new/other");
            assert!(
                !left.exists() || common::names(&left).is_empty(),
                "{name:?}"
            );
        }
    }
    // A command for the user to run is not kept either.
    let mut json: serde_json::Value = serde_json::from_str(&good).unwrap();
    json["artifacts"][0]["join"] = "rm -rf ~".into();
    fs::write(&path, json.to_string()).unwrap();
    let mut convert = p.xtask(&["convert", "out/box.img", "--format", "vdi"]);
    fails(
        convert.args(["--output", "new"]),
        1,
        &["box.img", "join command"],
    );
    // A manifest that is not a file, or is endless.
    let convert = || {
        let mut convert = p.xtask(&["convert", "out/box.img", "--format", "vdi"]);
        convert.args(["--output", "new"]);
        convert
    };
    fs::remove_file(&path).unwrap();
    content(Command::new("mkfifo").arg(&path));
    fails(&mut convert(), 1, &["box.manifest.json", "a pipe"]);
    fs::remove_file(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    fails(&mut convert(), 1, &["box.manifest.json", "a symbolic link"]);
    fs::remove_file(&path).unwrap();
    let endless = fs::File::create(&path).unwrap();
    endless.set_len(1 << 40).unwrap();
    fails(&mut convert(), 1, &["box.manifest.json", "larger than"]);
    // The list of packages that the manifest rightly names.
    fs::write(&path, &good).unwrap();
    let list = p.out.join("box.spdx.json");
    fs::remove_file(&list).unwrap();
    symlink("/etc/passwd", &list).unwrap();
    fails(&mut convert(), 1, &["box.spdx.json", "a symbolic link"]);
    fs::remove_file(&list).unwrap();
    content(Command::new("mkfifo").arg(&list));
    fails(&mut convert(), 1, &["box.spdx.json", "a pipe"]);
}

#[test]
fn verify_opens_plain_files_only() {
    let Some(p) = place() else { return };
    content(&mut p.make("box", "a", &["--format", "raw"]));
    let sums = p.out.join("SHA256SUMS");
    let good = fs::read_to_string(&sums).unwrap();
    let zeros = "0".repeat(64);
    fs::write(p.dir.join("secret"), "x").unwrap();
    content(Command::new("mkfifo").arg(p.out.join("pipe")));
    for (link, target) in [
        ("zero", "/dev/zero"),
        ("nowhere", "x"),
        ("away", "../secret"),
    ] {
        symlink(target, p.out.join(link)).unwrap();
    }
    for (name, why) in [
        ("pipe", "a pipe"),
        ("zero", "a symbolic link"),
        ("nowhere", "a symbolic link"),
        ("away", "a symbolic link"),
        ("/dev/zero", "not a plain file name"),
        ("../secret", "not a plain file name"),
        ("./box.img", "not a plain file name"),
        ("..", "not a plain file name"),
        ("--help", "not a plain file name"),
        ("a\u{1b}[2Jb", "not a plain file name"),
    ] {
        fs::write(&sums, format!("{good}{zeros}  {name}\n")).unwrap();
        let text = fails(&mut p.xtask(&["-q", "verify", "out"]), 1, &[why]);
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    // What a manifest names, in a list that does not know better.
    let manifest = p.out.join("box.manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    for name in ["../secret", "/dev/zero", "pipe", "zero"] {
        fs::write(&manifest, text.replace("box.spdx.json", name)).unwrap();
        let mut lines: String = good
            .lines()
            .filter(|l| !l.ends_with("manifest.json") && !l.ends_with("spdx.json"))
            .map(|l| format!("{l}\n"))
            .collect();
        lines += &format!("{}  box.manifest.json\n", common::sha256(&manifest));
        fs::write(&sums, lines).unwrap();
        fails(&mut p.xtask(&["verify", "out"]), 1, &[name]);
    }
    fs::write(&manifest, text).unwrap();
    // The list itself.
    for make in [
        "mkfifo SHA256SUMS",
        "ln -s /dev/zero SHA256SUMS",
        "truncate -s 1T SHA256SUMS",
        "mkdir SHA256SUMS",
    ] {
        fs::remove_file(&sums).unwrap();
        let mut sh = Command::new("sh");
        content(sh.args(["-c", make]).current_dir(&p.out));
        fails(&mut p.xtask(&["-q", "verify", "out"]), 2, &["SHA256SUMS"]);
        if sums.is_dir() {
            fs::remove_dir(&sums).unwrap();
            fs::write(&sums, "").unwrap();
        }
    }
}

/// What is added to a list keeps the list's other lines, and takes none over that lead away.
#[test]
fn a_list_that_leads_away_is_not_added_to() {
    let Some(p) = place() else { return };
    let before = p.made_of("a");
    let sums = p.out.join("SHA256SUMS");
    let good = fs::read_to_string(&sums).unwrap();
    let bad = format!("{good}{}  ../x\n", "0".repeat(64));
    fs::write(&sums, &bad).unwrap();
    fails(
        &mut p.make("box", "b", &["--format", FORMATS]),
        1,
        &["SHA256SUMS", "../x"],
    );
    assert_eq!(fs::read_to_string(&sums).unwrap(), bad);
    fs::write(&sums, good).unwrap();
    assert_eq!(common::sums(&p.out), before);
}
