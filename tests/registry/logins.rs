//! Logins: where they are looked for, and where they go.

use super::fake::{Door, Fake, Fault};
use super::{made, make, one_image, refused};
use crate::common::Place;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// User and password. No output may contain the password, as it is or in base64.
const USER: &str = "me:open sesame";

fn start(door: Door) -> Option<(Place, Fake)> {
    let place = Place::new()?;
    let (layout, digest) = one_image(&place.dir.join("layout"));
    let fake = Fake::start(&layout, &digest);
    let door = match door {
        Door::Bearer(_, token) => Door::Bearer(format!("http://{}/token", fake.host), token),
        door => door,
    };
    fake.state().door = door;
    Some((place, fake))
}

/// A file as `docker login` writes it.
fn login(place: &Place, file: &str, host: &str, user: &str) {
    let json = json!({"auths": {host: {"auth": STANDARD.encode(user)}}});
    place.write(file, json.to_string());
}

fn pull(place: &Place, fake: &Fake) -> Command {
    make(
        place,
        &fake.image(),
        &["--insecure-registry", &fake.host, "-v"],
    )
}

/// The error, in which there is no secret.
#[track_caller]
fn denied(place: &Place, fake: &Fake) -> String {
    let out = pull(place, fake).output().unwrap();
    let all = crate::common::said(&out);
    for secret in ["sesame", &STANDARD.encode(USER), "t0ken"] {
        assert!(!all.contains(secret), "{all}");
    }
    refused(place, &fake.host, &mut pull(place, fake))
}

#[test]
fn a_password_is_found_where_docker_and_podman_keep_it() {
    let Some((place, fake)) = start(Door::Basic(USER)) else {
        return;
    };
    insta::assert_snapshot!(denied(&place, &fake), @"error: pulling docker://[HOST]/team/box:v1: [HOST] wants a login, and there is none for it; hint: log in with `docker login [HOST]` or `podman login [HOST]` (2)");
    login(&place, "home/.docker/config.json", "other.example", USER);
    insta::assert_snapshot!(denied(&place, &fake), @"error: pulling docker://[HOST]/team/box:v1: [HOST] wants a login, and there is none for it in [DIR]/home/.docker/config.json; hint: log in with `docker login [HOST]` or `podman login [HOST]` (2)");
    login(&place, "home/.docker/config.json", &fake.host, "me:wrong");
    insta::assert_snapshot!(denied(&place, &fake), @r#"error: pulling docker://[HOST]/team/box:v1: [HOST] refused the login of "me" from [DIR]/home/.docker/config.json; hint: log in again with `docker login [HOST]` or `podman login [HOST]` (2)"#);
    login(
        &place,
        "home/.config/containers/auth.json",
        &fake.host,
        USER,
    );
    made(&place, &mut pull(&place, &fake));
    // Podman's own variable is the only file then.
    let mut command = pull(&place, &fake);
    command.env("REGISTRY_AUTH_FILE", place.dir.join("none.json"));
    let line = refused(&place, &fake.host, &mut command);
    assert!(
        line.contains("wants a login, and there is none for it;"),
        "{line}"
    );
    place.write("home/.docker/config.json", r#"{"auths": {"x": "sesame"}}"#);
    fs_err::remove_file(place.dir.join("home/.config/containers/auth.json")).unwrap();
    insta::assert_snapshot!(denied(&place, &fake), @"error: pulling docker://[HOST]/team/box:v1: the logins in [DIR]/home/.docker/config.json cannot be read: it is not the JSON of a file of logins (line 1, column 24); hint: repair the file, or log in again with `docker login` or `podman login` (2)");
}

#[test]
fn a_helper_is_asked() {
    let Some((place, fake)) = start(Door::Basic(USER)) else {
        return;
    };
    let config = json!({"credHelpers": {&fake.host: "test"}});
    place.write("home/.docker/config.json", config.to_string());
    insta::assert_snapshot!(denied(&place, &fake), @"error: pulling docker://[HOST]/team/box:v1: docker-credential-test, which [DIR]/home/.docker/config.json names for the login, is not installed; hint: install it, or remove it from that file and log in again; variables that it needs must be named in DOCKER_TO_LINUX_PASS_ENV (2)");
    let helper = |script: &str| {
        let path = place.write(
            "bin/docker-credential-test",
            format!("#!/bin/sh\n{script}\n"),
        );
        fs_err::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = pull(&place, &fake);
        command.env("PATH", format!("{}:/usr/bin:/bin", place.dir.join("bin")));
        command.env("A_TOKEN", "t0ken");
        command
    };
    let log = place.dir.join("asked");
    let script = format!(
        r#"{{ echo "$@"; cat; echo; env; }} >{log}; echo '{{"ServerURL": "x", "Username": "me", "Secret": "open sesame"}}'"#
    );
    made(&place, &mut helper(&script));
    let asked = fs_err::read_to_string(&log).unwrap();
    assert!(
        asked.starts_with(&format!("get\n{}\n", fake.host)),
        "{asked}"
    );
    assert!(!asked.contains("A_TOKEN"), "{asked}");
    let none = "echo credentials not found in native keychain; exit 1";
    let line = refused(&place, &fake.host, &mut helper(none));
    assert!(
        line.contains("wants a login, and there is none for it in [DIR]/home"),
        "{line}"
    );
    insta::assert_snapshot!(refused(&place, &fake.host, &mut helper("echo sesame; exit 3")), @"error: pulling docker://[HOST]/team/box:v1: docker-credential-test, which [DIR]/home/.docker/config.json names for the login, failed (exit status: 3); hint: install it, or remove it from that file and log in again; variables that it needs must be named in DOCKER_TO_LINUX_PASS_ENV (2)");
    insta::assert_snapshot!(refused(&place, &fake.host, &mut helper("echo sesame")), @"error: pulling docker://[HOST]/team/box:v1: docker-credential-test, which [DIR]/home/.docker/config.json names for the login, gave no login in JSON; hint: install it, or remove it from that file and log in again; variables that it needs must be named in DOCKER_TO_LINUX_PASS_ENV (2)");
}

#[test]
fn a_token_is_fetched_and_renewed() {
    let Some((place, fake)) = start(Door::Bearer(String::new(), "t0ken")) else {
        return;
    };
    // Anybody gets one.
    made(&place, &mut pull(&place, &fake));
    let asked = fake.asked("/token");
    assert_eq!(
        asked,
        ["GET /token?scope=repository%3Ateam%2Fbox%3Apull&service=fake - -"]
    );
    // Only who has the password gets one, and the password goes to the token server only.
    fake.state().tokens_for = Some(USER);
    insta::assert_snapshot!(denied(&place, &fake), @"error: pulling docker://[HOST]/team/box:v1: [HOST] wants a login, and there is none for it; hint: log in with `docker login [HOST]` or `podman login [HOST]` (2)");
    login(&place, "home/.docker/config.json", &fake.host, USER);
    fake.state().log.clear();
    made(&place, &mut pull(&place, &fake));
    for line in fake.asked(&STANDARD.encode(USER)) {
        assert!(line.starts_with("GET /token"), "{line}");
    }
    // It expires in the middle.
    fs_err::remove_dir_all(place.dir.join("target/registry")).unwrap();
    fake.state().log.clear();
    let realm = format!(
        "Bearer realm=\"http://{}/token\",service=\"fake\"",
        fake.host
    );
    let expired = Fault::Status(401, vec![("www-authenticate", realm)], String::new());
    fake.fault("blobs/", expired);
    made(&place, &mut pull(&place, &fake));
    assert_eq!(fake.asked("/token").len(), 2);
    login(&place, "home/.docker/config.json", &fake.host, "me:wrong");
    insta::assert_snapshot!(denied(&place, &fake), @r#"error: pulling docker://[HOST]/team/box:v1: [HOST] refused the login of "me" from [DIR]/home/.docker/config.json; hint: log in again with `docker login [HOST]` or `podman login [HOST]` (2)"#);
    // A refresh token is sent as a form.
    fake.state().tokens_for = Some("r3fresh");
    let config = json!({"auths": {&fake.host: {"identitytoken": "r3fresh"}}});
    place.write("home/.docker/config.json", config.to_string());
    made(&place, &mut pull(&place, &fake));
    assert_eq!(fake.asked("POST /token").len(), 1);
}

#[test]
fn a_login_stays_with_the_registry() {
    let Some((place, fake)) = start(Door::Basic(USER)) else {
        return;
    };
    login(&place, "home/.docker/config.json", &fake.host, USER);
    let (layout, digest) = one_image(&place.dir.join("layout"));
    let other = Fake::start(&layout, &digest);
    fake.state().moved_to = Some(other.host.clone());
    // Plain HTTP is allowed for the registry, not for whoever it names.
    let line = refused(&place, &other.host, &mut pull(&place, &fake));
    assert!(
        line.contains("the registry refers to [HOST] over plain HTTP"),
        "{line}"
    );
    assert!(!line.contains("s3cret"), "{line}");
    made(
        &place,
        pull(&place, &fake).args(["--insecure-registry", &other.host]),
    );
    let moved = other.asked("GET /moved/");
    assert_eq!(moved.len(), 4);
    for line in moved {
        assert!(line.ends_with("?signature=s3cret - -"), "{line}");
    }
    // A token server with plain HTTP gets no password either.
    fake.state().moved_to = None;
    fake.state().door = Door::Bearer(format!("http://{}/token", other.host), "t0ken");
    let line = refused(&place, &other.host, &mut pull(&place, &fake));
    assert!(
        line.contains("the registry refers to [HOST] over plain HTTP"),
        "{line}"
    );
    assert_eq!(other.asked("/token"), [""; 0]);
}
