use super::*;
use crate::recipe::FileOptions;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};

/// The folder `files` of a recipe.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.0.path()).unwrap()
    }

    fn put(&self, path: &str, text: &str, mode: u32) {
        let file = self.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn read(&self, options: &str) -> Result<Overlay, Report> {
        let options: BTreeMap<String, FileOptions> = serde_yaml::from_str(options).unwrap();
        Overlay::read(self.path(), &options)
    }
}

fn meta(r: &Rootfs, path: &str) -> (u32, u32, u16) {
    let meta = &r.tree.node(r.tree.lookup(path).unwrap()).meta;
    (meta.uid, meta.gid, meta.mode)
}

#[test]
fn files_are_laid_over_with_owner_and_mode() {
    let files = Files::new();
    files.put("etc/app.conf", "new\n", 0o600);
    files.put("etc/app.d/one", "1", 0o664);
    files.put("usr/bin/tool", "#!/bin/sh\n", 0o744);
    files.put("lib/data", "lib", 0o644);
    files.put("var/lib/app/db", "db", 0o600);
    symlink("/nowhere/at/all", files.path().join("etc/link")).unwrap();
    symlink("../../../../etc/passwd", files.path().join("etc/app.d/up")).unwrap();
    let overlay = files
        .read("{etc/app.conf: {owner: 1000:5, mode: \"0640\"}, /var/lib/app/: {owner: app, mode: \"0750\"}, etc/link: {owner: app:www}}")
        .unwrap();
    let mut r = rootfs(
        &[
            ("/etc/app.conf", "old\n"),
            ("/etc/link/was/a/file", "x"),
            ("/etc/passwd", "app:x:77:78::/:/bin/sh\n"),
            ("/etc/group", "www:x:99:\n"),
            ("/usr/lib/other", "x"),
        ],
        &[("/lib", "usr/lib")],
    );
    r.tree.remove("/etc/link");
    overlay.apply(&mut r).unwrap();
    overlay.give(&mut r).unwrap();
    assert_eq!(text(&r, "/etc/app.conf"), "new\n");
    assert_eq!(meta(&r, "/etc/app.conf"), (1000, 5, 0o640));
    assert_eq!(meta(&r, "/etc/app.d"), (0, 0, 0o755));
    assert_eq!(meta(&r, "/etc/app.d/one"), (0, 0, 0o644));
    assert_eq!(meta(&r, "/usr/bin/tool"), (0, 0, 0o755));
    assert_eq!(meta(&r, "/var/lib/app"), (77, 78, 0o750));
    assert_eq!(meta(&r, "/etc/link"), (77, 99, 0o777));
    assert_eq!(target(&r, "/etc/link"), "/nowhere/at/all");
    // A link of the root file system that leads to a folder stays a link.
    assert_eq!(target(&r, "/lib"), "usr/lib");
    assert_eq!(text(&r, "/usr/lib/data"), "lib");
    assert_eq!(text(&r, "/usr/lib/other"), "x");
    // Kept as it is, and inside the root file system it stays inside.
    assert_eq!(target(&r, "/etc/app.d/up"), "../../../../etc/passwd");
    assert!(overlay.has("/etc/app.conf") && !overlay.has("/etc/passwd"));
    // The time is the root file system's: a checkout's is the clock.
    let id = r.tree.lookup("/etc/app.conf").unwrap();
    assert_eq!(r.tree.node(id).meta.mtime.secs, r.epoch);
}

#[test]
fn a_recipe_without_files_is_fine_and_options_need_a_file() {
    let files = Files::new();
    let none = Overlay::read(&files.path().join("files"), &BTreeMap::new()).unwrap();
    let mut r = rootfs(&[("/etc/x", "x")], &[]);
    none.apply(&mut r).unwrap();
    assert_eq!(text(&r, "/etc/x"), "x");

    files.put("etc/app.conf", "", 0o644);
    let e = files.read("{etc/app.cnf: {mode: \"0640\"}}").unwrap_err();
    assert!(e.message.contains("etc/app.cnf"), "{e}");
    assert_eq!(e.hint.unwrap(), "did you mean etc/app.conf?");
    symlink("x", files.path().join("link")).unwrap();
    let e = files.read("{link: {mode: \"0640\"}}").unwrap_err();
    assert!(e.message.contains("symbolic link"), "{e}");
}

#[test]
fn what_cannot_be_laid_over_is_refused() {
    let files = Files::new();
    files.put("etc", "a file\n", 0o644);
    let mut r = rootfs(&[("/etc/x", "x")], &[]);
    let e = files.read("{}").unwrap().apply(&mut r).unwrap_err();
    assert!(
        e.message.contains("files/etc") && e.message.contains("directory"),
        "{e}"
    );

    let files = Files::new();
    files.put("etc/x/y", "", 0o644);
    let e = files.read("{}").unwrap().apply(&mut r).unwrap_err();
    assert!(
        e.message.contains("files/etc/x of the recipe is a folder"),
        "{e}"
    );

    let files = Files::new();
    files.put("etc/y", "", 0o644);
    let overlay = files.read("{etc/y: {owner: nobody-here}}").unwrap();
    overlay.apply(&mut r).unwrap();
    let e = overlay.give(&mut r).unwrap_err();
    assert!(e.message.contains("nobody-here"), "{e}");

    let files = Files::new();
    let _socket = std::os::unix::net::UnixListener::bind(files.path().join("s")).unwrap();
    let e = files.read("{}").unwrap_err();
    assert!(
        e.message.contains("not a file, folder or symbolic link"),
        "{e}"
    );

    // A name that is not UTF-8 cannot be kept.
    use std::os::unix::ffi::OsStrExt;
    let files = Files::new();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    std::fs::write(files.0.path().join(name), "").unwrap();
    files.read("{}").unwrap_err();
}

#[test]
fn a_folder_outside_of_the_recipe_is_refused() {
    let recipe = Files::new();
    let outside = Files::new();
    outside.put("etc/secret", "secret", 0o644);
    recipe.put("shared/etc/app.conf", "x", 0o644);
    let dir = recipe.path().join("files");
    let read = || Overlay::read(&dir, &BTreeMap::new());
    for target in [outside.path(), Utf8Path::new("/etc"), Utf8Path::new("..")] {
        symlink(target, &dir).unwrap();
        let e = read().unwrap_err();
        assert!(e.message.contains("outside of the recipe"), "{e}");
        std::fs::remove_file(&dir).unwrap();
    }
    symlink("nowhere", &dir).unwrap();
    read().unwrap_err();
    std::fs::remove_file(&dir).unwrap();
    // A link that stays in the recipe.
    symlink("shared", &dir).unwrap();
    assert!(read().unwrap().has("/etc/app.conf"));
}

#[test]
fn holes_stay_holes() {
    use std::os::unix::fs::FileExt;
    const SIZE: u64 = 1 << 32;
    let files = Files::new();
    files.put("one", "1", 0o644);
    let sparse = std::fs::File::create(files.path().join("sparse")).unwrap();
    sparse.set_len(SIZE).unwrap();
    sparse.write_all_at(b"start", 0).unwrap();
    sparse.write_all_at(b"end", SIZE - 3).unwrap();
    let hole = std::fs::File::create(files.path().join("hole")).unwrap();
    hole.set_len(SIZE).unwrap();
    files.put("two", "22", 0o644);
    let mut r = rootfs(&[("/x", "x")], &[]);
    files.read("{}").unwrap().apply(&mut r).unwrap();
    assert_eq!(
        (text(&r, "/one"), text(&r, "/two")),
        ("1".into(), "22".into())
    );
    let content = |path: &str| {
        let id = r.tree.lookup(path).unwrap();
        match &r.tree.node(id).kind {
            Kind::File(content) => content.clone(),
            kind => unreachable!("{kind:?}"),
        }
    };
    for (path, at, wanted) in [
        ("/sparse", 0, *b"start"),
        ("/sparse", SIZE - 5, *b"\0\0end"),
        ("/sparse", SIZE / 2, [0; 5]),
        ("/hole", SIZE - 5, [0; 5]),
    ] {
        let content = content(path);
        assert_eq!(content.len(), SIZE);
        let mut bytes = [1; 5];
        r.stores.read_at(&content, at, &mut bytes).unwrap();
        assert_eq!(bytes, wanted, "{path} {at}");
    }
    // Each is hashed for the manifest, zeros included.
    hole.set_len(SIZE + 10_000).unwrap();
    let e = files.read("{}").unwrap_err();
    assert!(e.source.unwrap().to_string().contains("8 GiB"));
    // More than a file of an ext4 can have, where the file system of this host can.
    if hole.set_len(1 << 44).is_ok() {
        let e = files.read("{}").unwrap_err();
        assert!(e.source.unwrap().to_string().contains("ext4"));
    }
}
