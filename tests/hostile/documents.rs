//! Recipes and the documents of container images.

use super::*;

#[test]
fn recipes_that_do_not_end() {
    let Some(p) = place() else { return };
    let (_guard, at) = temp();
    let tar = at.join("rootfs.tar");
    common::write_tar(&common::machine(), &mut File::create(&tar).unwrap());
    let recipe = p.dir.join("box").join("recipe.yaml");
    let large = File::create(&recipe).unwrap();
    large.set_len(4 << 30).unwrap();
    p.refused(&tar, &[], &["recipe.yaml", "larger than 1 MiB"]);
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (last, name) in ('a'..='y').zip('b'..='z') {
        bomb += &format!(
            "{name}: &{name} [{}]\n",
            vec![format!("*{last}"); 9].join(", ")
        );
    }
    let nested = format!("size: {}", "[".repeat(500_000));
    let maps = format!("size: {}", "{a: ".repeat(200_000));
    let indented: String = (0..1400)
        .map(|n| format!("{}a:\n", " ".repeat(n)))
        .collect();
    let keys = format!("build-args:\n{}", "  a: b\n".repeat(100_000));
    let anchors: String = (0..60_000).map(|n| format!("a{n}: &a{n} 1\n")).collect();
    let many: String = (0..70_000).map(|n| format!("\n  k{n}: v")).collect();
    let question = "? ".repeat(400_000);
    let dashes = format!("size: \n  {}x", "- ".repeat(400_000));
    for text in [
        bomb,
        nested,
        maps,
        indented,
        anchors,
        question,
        dashes,
        format!("users: {many}"),
    ] {
        fs_err::write(&recipe, &text).unwrap();
        let begin: String = text.chars().take(60).collect();
        eprintln!("{begin:?}");
        p.refused(&tar, &[], &["recipe.yaml"]);
    }
    // What only says the same a hundred thousand times is read.
    fs_err::write(&recipe, keys).unwrap();
    let (said, code) = p.plan_in_bounds(tar.as_str(), &[], Stdio::null());
    assert_eq!(code, Some(0), "{said}");
    // Devices and pipes are not read.
    fs_err::remove_file(&recipe).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &recipe).unwrap();
    p.refused(&tar, &[], &["it is a device"]);
    fs_err::remove_file(&recipe).unwrap();
    common::content(Command::new("mkfifo").arg(&recipe));
    p.refused(&tar, &[], &["it is a pipe"]);
    fs_err::remove_file(&recipe).unwrap();
    // A key in an untrusted recipe that is a pipe without a writer.
    common::content(Command::new("mkfifo").arg(p.dir.join("box").join("key.pub")));
    fs_err::write(&recipe, "users: [{name: anna, ssh-keys: [key.pub]}]\n").unwrap();
    p.refused(&tar, &[], &["key.pub", "not a regular file"]);
    let endless = ["--root-password-file", "/dev/zero"];
    fs_err::write(&recipe, "").unwrap();
    p.refused(&tar, &endless, &["larger than 1 MiB"]);
}

#[test]
fn documents_that_do_not_end() {
    let Some(p) = place() else { return };
    let oci = common::oci::Layout::new(&p.dir.join("oci"));
    let index = oci.0.join("index.json");
    // As many platforms as fit, each another one.
    let entry = |n: u64| {
        format!(r#"{{"digest":"","size":0,"platform":{{"os":"o{n}","architecture":"a"}}}}"#)
    };
    let all: Vec<String> = (0..60_000).map(entry).collect();
    fs_err::write(&index, format!(r#"{{"manifests": [{}]}}"#, all.join(","))).unwrap();
    p.refused(&oci.0, &[], &["no image for linux/"]);
    fs_err::write(
        &index,
        format!("{{\"manifests\": {}", "[".repeat(1_000_000)),
    )
    .unwrap();
    p.refused(&oci.0, &[], &["index.json"]);
    fs_err::remove_file(&index).unwrap();
    File::create(&index).unwrap().set_len(1 << 40).unwrap();
    p.refused(&oci.0, &[], &["index.json", "more than the 4194304"]);
}
