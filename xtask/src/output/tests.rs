#![allow(clippy::unwrap_used)]

use super::{Access, Folder, Pending, Set, Swept, check_replaceable, write};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};

fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(temp.path()).unwrap().to_owned();
    (temp, dir)
}

fn pending(path: &Utf8Path, text: &str) -> Pending {
    let pending = Pending::create(path).unwrap();
    pending.file().unwrap().write_all(text.as_bytes()).unwrap();
    pending
}

fn names(dir: &Utf8Path) -> Vec<String> {
    let entries = dir.read_dir_utf8().unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_new_and_its_names_are_its_own() {
    let (_temp, dir) = temp();
    let path = dir.join("box.img");
    let (a, b) = (pending(&path, "a"), pending(&path, "b"));
    assert_ne!(a.partial(), b.partial());
    a.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"a");
    b.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"b");
    // A link is replaced, and its target stays.
    fs::write(dir.join("victim"), "mine").unwrap();
    fs::remove_file(&path).unwrap();
    symlink("victim", &path).unwrap();
    pending(&path, "c").commit().unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(fs::read(dir.join("victim")).unwrap(), b"mine");
    drop(pending(&path, "d"));
    assert_eq!(names(&dir), ["box.img", "victim"]);
}

#[test]
fn what_is_private_is_private_from_its_first_moment() {
    let (_temp, dir) = temp();
    let mode = |path: &Utf8Path| path.metadata().unwrap().mode() & 0o777;
    let secret = Pending::create_as(&dir.join("a"), Access::Private).unwrap();
    assert_eq!(mode(secret.partial()), 0o600);
    secret.commit().unwrap();
    assert_eq!(mode(&dir.join("a")), 0o600);
    let open = Pending::create(&dir.join("b")).unwrap();
    assert_ne!(mode(open.partial()) & 0o400, 0);
}

/// An error in the middle leaves everything as it was.
#[test]
fn a_commit_is_taken_back_at_an_error() {
    let (_temp, dir) = temp();
    for (name, text) in [("box.img", "old"), ("box.part", "old part")] {
        fs::write(dir.join(name), text).unwrap();
    }
    let first = pending(&dir.join("box.img"), "new");
    let second = pending(&dir.join("box.new"), "new as well");
    let third = pending(&dir.join("box.vdi"), "never");
    // The file disappears: its rename fails after two that succeeded.
    fs::remove_file(third.partial()).unwrap();
    let folder = Folder::lock(&dir).unwrap();
    let files = vec![first, second, third];
    let remove = ["box.part".to_owned(), "box.gone".to_owned()];
    let error = folder.commit("box", files, &remove).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(names(&dir), ["box.img", "box.part"]);
    assert_eq!(fs::read(dir.join("box.img")).unwrap(), b"old");
    assert_eq!(fs::read(dir.join("box.part")).unwrap(), b"old part");
    // Without the error everything is done.
    let first = pending(&dir.join("box.img"), "new");
    let second = pending(&dir.join("box.new"), "new as well");
    folder.commit("box", vec![first, second], &remove).unwrap();
    assert_eq!(names(&dir), ["box.img", "box.new"]);
    assert_eq!(fs::read(dir.join("box.img")).unwrap(), b"new");
}

/// A run that is killed after it renamed the first of its files: what is left on the disk.
fn killed_half_way(dir: &Utf8Path, more: &str) -> Vec<String> {
    fs::write(dir.join("box.img"), "old").unwrap();
    fs::write(dir.join("box.vdi"), "old").unwrap();
    fs::write(dir.join("box.img.part-000"), "old").unwrap();
    let random = "0123456789ab";
    let partial = |name: &str| format!(".{name}.docker-to-linux-{random}.partial");
    fs::write(dir.join("box.img"), "new").unwrap();
    fs::write(dir.join(partial("box.vdi")), "new").unwrap();
    fs::write(dir.join(partial("SHA256SUMS")), "new").unwrap();
    let journal = format!(
        r#"{{"version":1,"set":"box","shared":"SHA256SUMS","remove":["box.img.part-000"],
            "rename":[["{}","box.img"],["{}","box.vdi"],["{}","SHA256SUMS"]{more}]}}"#,
        partial("box.img"),
        partial("box.vdi"),
        partial("SHA256SUMS"),
    );
    fs::write(
        dir.join(format!(".box.docker-to-linux-{random}.journal")),
        journal,
    )
    .unwrap();
    names(dir)
}

#[test]
fn the_next_run_completes_what_one_was_killed_in() {
    let (_temp, dir) = temp();
    killed_half_way(&dir, "");
    assert!(super::half_named(&dir).unwrap().contains("killed"));
    let swept = Folder::lock(&dir).unwrap().sweep().unwrap();
    assert_eq!(swept.completed, 1);
    assert_eq!(names(&dir), ["SHA256SUMS", "box.img", "box.vdi"]);
    for name in ["SHA256SUMS", "box.img", "box.vdi"] {
        assert_eq!(fs::read(dir.join(name)).unwrap(), b"new", "{name}");
    }
    assert_eq!(super::half_named(&dir), None);
    assert_eq!(
        Folder::lock(&dir).unwrap().sweep().unwrap(),
        Swept::default()
    );
}

/// A journal that came with other files moves only files of its own image.
#[test]
fn a_journal_is_not_believed() {
    let (temp, dir) = temp();
    let dir = dir.join("in");
    fs::create_dir(&dir).unwrap();
    let victim = Utf8Path::from_path(temp.path()).unwrap().join("victim");
    for name in [
        "../victim",
        "victim",
        ".bashrc",
        "boxer.img",
        "box",
        "",
        "/etc/x",
        "box./../../victim",
    ] {
        fs::write(&victim, "mine").unwrap();
        fs::write(dir.join("victim"), "mine").unwrap();
        let partial = ".x.docker-to-linux-0123456789ab.partial";
        killed_half_way(&dir, &format!(r#",["{partial}","{name}"]"#));
        let swept = Folder::lock(&dir).unwrap().sweep().unwrap();
        assert_eq!(swept.completed, 0, "{name}");
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
        assert_eq!(fs::read(dir.join("victim")).unwrap(), b"mine");
        assert_eq!(fs::read(dir.join("box.vdi")).unwrap(), b"old");
        fs::remove_file(dir.join("victim")).unwrap();
    }
    // A file that is not one of ours is not moved either.
    fs::write(dir.join("letter"), "mine").unwrap();
    killed_half_way(&dir, r#",["letter","box.qcow2"]"#);
    assert_eq!(Folder::lock(&dir).unwrap().sweep().unwrap().completed, 0);
    assert!(dir.join("letter").exists());
}

#[test]
fn only_what_nobody_writes_is_swept() {
    let (_temp, dir) = temp();
    let alive = pending(&dir.join("a"), "x");
    let dead = dir.join(".b.docker-to-linux-0123456789ab.partial");
    fs::write(&dead, "left").unwrap();
    let others = [".b.partial", ".c.docker-to-linux-0123.partial"];
    for name in others {
        fs::write(dir.join(name), "").unwrap();
    }
    let link = dir.join(".l.docker-to-linux-0123456789ab.partial");
    symlink("/etc/passwd", &link).unwrap();
    let folder = Folder::lock(&dir).unwrap();
    assert!(folder.is_in_use().unwrap());
    assert_eq!(folder.sweep().unwrap().files, 1);
    assert!(!dead.exists() && alive.partial().exists() && link.symlink_metadata().is_ok());
    assert!(others.iter().all(|name| dir.join(name).exists()));
    alive.commit().unwrap();
    assert!(!folder.is_in_use().unwrap());
}

#[test]
fn a_set_is_one_runs_at_a_time() {
    let (_temp, dir) = temp();
    let told = std::sync::Mutex::new(Vec::new());
    let set = Set::open(&dir, "box", &|_| ()).unwrap();
    // Another image can be written at the same time.
    drop(Set::open(&dir, "crate", &|_| ()).unwrap());
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            Set::open(&dir, "box", &|t| told.lock().unwrap().push(t.to_owned())).map(drop)
        });
        while told.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert!(!second.is_finished());
        drop(set);
        second.join().unwrap().unwrap();
    });
    assert!(told.lock().unwrap()[0].contains("waiting"));
    assert_eq!(names(&dir), [""; 0]);
    // A lock that a killed run left is not held, and a link in its place is not followed.
    let lock = dir.join(super::names::lock("box"));
    fs::write(&lock, "").unwrap();
    drop(Set::open(&dir, "box", &|_| ()).unwrap());
    assert_eq!(names(&dir), [""; 0]);
    symlink("elsewhere", &lock).unwrap();
    Set::open(&dir, "box", &|_| ()).unwrap_err();
    assert!(!dir.join("elsewhere").exists());
}

#[test]
fn what_is_no_file_is_not_replaced() {
    let (_temp, dir) = temp();
    fs::create_dir(dir.join("folder")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
    for (name, what) in [("folder", "a folder"), ("socket", "a socket")] {
        let error = check_replaceable(&dir.join(name)).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        pending(&dir.join(name), "x").commit().unwrap_err();
    }
    assert_eq!(names(&dir), ["folder", "socket"]);
    check_replaceable(&dir.join("nothing")).unwrap();
}

#[test]
fn a_file_that_the_user_named_is_written_where_it_is() {
    let (_temp, dir) = temp();
    fs::create_dir(dir.join("real")).unwrap();
    fs::write(dir.join("real/file"), "old").unwrap();
    symlink("real/file", dir.join("link")).unwrap();
    write(&dir.join("link"), b"new").unwrap();
    assert!(dir.join("link").is_symlink());
    assert_eq!(fs::read(dir.join("real/file")).unwrap(), b"new");
    write(Utf8Path::new("/dev/null"), b"x").unwrap();
    assert!(!Utf8Path::new("/dev/null").is_file());
    write(&dir.join("real"), b"x").unwrap_err();
}
