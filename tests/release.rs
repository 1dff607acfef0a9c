//! Publishing and the nightly's issue, against a fake server with GitHub's REST API. The client is the
//! real one with another address.

mod faults;

use crate::common;
use crate::common::github::{Fault, GitHub, REPOSITORY, TOKEN};
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::error::{Class, Report};
use docker_to_linux::format::target::join_command;
use docker_to_linux::github::issue::{self, Done, NightlyOutcome};
use docker_to_linux::github::release::{self, Published, Wanted};
use docker_to_linux::github::{Client, Repository, Token};
use std::time::Duration;

fn client(github: &GitHub, token: &str) -> Client {
    Client::new(&github.url, Token::new(token).unwrap())
        .unwrap()
        .with_pause(Duration::from_millis(1))
}

fn repository() -> Repository {
    Repository::new(REPOSITORY).unwrap()
}

/// A folder with files of these contents.
fn files(dir: &Utf8Path, files: &[(&str, &[u8])]) -> Vec<Utf8PathBuf> {
    let write = |(name, content): &(&str, &[u8])| {
        let path = dir.join(name);
        fs_err::write(&path, content).unwrap();
        path
    };
    files.iter().map(write).collect()
}

fn publish_as(
    github: &GitHub,
    token: &str,
    files: &[Utf8PathBuf],
    largest: u64,
) -> Result<Published, Report> {
    let wanted = Wanted {
        tag: "v1",
        commit: Some("abc"),
        files,
        largest,
    };
    release::publish(&client(github, token), &repository(), &wanted, &|_| {})
}

fn publish(github: &GitHub, files: &[Utf8PathBuf]) -> Result<Published, Report> {
    publish_as(github, TOKEN, files, release::LARGEST)
}

#[test]
fn a_release_is_a_draft_until_everything_is_up() {
    let github = GitHub::start();
    let (_temp, dir) = common::temp();
    let image = common::pattern(1, 3_000_000);
    let files = files(&dir, &[("box.img", &image), ("box.manifest.json", b"{}")]);
    let published = publish(&github, &files).unwrap();
    assert!(!published.draft && published.url.ends_with("/page/1"));
    let state = github.state();
    let release = state.release();
    assert_eq!(release["tag_name"], "v1");
    assert_eq!(release["target_commitish"], "abc");
    assert_eq!(release["draft"], false);
    assert_eq!(release["body"], "", "the mark is gone");
    let assets = state.by_name();
    assert!(assets["box.img"] == image);
    let sums = String::from_utf8(assets["SHA256SUMS"].clone()).unwrap();
    let expected: String = ["box.img", "box.manifest.json"]
        .map(|n| format!("{}  {n}\n", common::sha256(&dir.join(n))))
        .concat();
    assert_eq!(sums, expected);
    // It was created as a draft, and published by the last request of all.
    assert!(
        state
            .log
            .last()
            .unwrap()
            .starts_with("PATCH /repos/owner/box/releases/1")
    );
}

#[test]
fn a_second_run_replaces_and_never_duplicates() {
    let github = GitHub::start();
    let (_temp, dir) = common::temp();
    let first = files(&dir, &[("box.img", b"one"), ("other.img", b"kept")]);
    publish(&github, &first).unwrap();
    let second = files(&dir, &[("box.img", b"two")]);
    publish(&github, &second).unwrap();
    let state = github.state();
    let assets = state.by_name();
    assert_eq!(assets["box.img"], b"two");
    assert_eq!(assets["other.img"], b"kept");
    let sums = String::from_utf8(assets["SHA256SUMS"].clone()).unwrap();
    assert_eq!(sums.lines().count(), 2, "{sums}");
    assert!(
        sums.contains(&common::sha256(&dir.join("box.img"))),
        "{sums}"
    );
    assert_eq!(state.release()["draft"], false);
}

#[test]
fn what_is_too_large_goes_up_in_parts_and_old_parts_go() {
    let github = GitHub::start();
    let (_temp, dir) = common::temp();
    let image = common::pattern(2, 2_500);
    let all = files(&dir, &[("box.img", &image)]);
    let published = publish_as(&github, TOKEN, &all, 1_000).unwrap();
    assert_eq!(
        published.assets,
        [
            "box.img.part-000",
            "box.img.part-001",
            "box.img.part-002",
            "SHA256SUMS"
        ]
    );
    assert_eq!(published.joins, [join_command("box.img")]);
    // Like a user who downloads it: join, then check everything.
    let down = dir.join("down");
    fs_err::create_dir(&down).unwrap();
    for (name, content) in github.state().by_name() {
        fs_err::write(down.join(name), content).unwrap();
    }
    let script = format!("{} && sha256sum -c SHA256SUMS", published.joins[0]);
    let mut check = std::process::Command::new("sh");
    common::content(check.args(["-c", &script]).current_dir(&down));
    assert!(fs_err::read(down.join("box.img")).unwrap() == image);
    // Smaller the next time: two parts, then one piece.
    let all = files(&dir, &[("box.img", &image[..1_500])]);
    publish_as(&github, TOKEN, &all, 1_000).unwrap();
    let names: Vec<String> = github.state().by_name().into_keys().collect();
    assert_eq!(
        names,
        ["SHA256SUMS", "box.img.part-000", "box.img.part-001"]
    );
    publish_as(&github, TOKEN, &all, 2_000).unwrap();
    let assets = github.state().by_name();
    let names: Vec<&str> = assets.keys().map(String::as_str).collect();
    assert_eq!(names, ["SHA256SUMS", "box.img"]);
    let sums = String::from_utf8(assets["SHA256SUMS"].clone()).unwrap();
    assert_eq!(sums.lines().count(), 1, "{sums}");
}

#[test]
fn somebody_elses_draft_stays_a_draft() {
    let github = GitHub::start();
    let (_temp, dir) = common::temp();
    let all = files(&dir, &[("box.img", b"content")]);
    {
        let mut state = github.state();
        // Older releases fill the first pages of the list.
        for n in 0..5 {
            let id = state.id();
            let tag = if n == 0 {
                "v1".to_owned()
            } else {
                format!("v0.{n}")
            };
            let upload = format!(
                "{}/repos/owner/box/releases/{id}/assets{{?name}}",
                github.url
            );
            let release = serde_json::json!({
                "id": id, "tag_name": tag, "draft": n == 0, "body": "Notes",
                "upload_url": upload, "html_url": "page",
            });
            state.releases.insert(id, release);
        }
    }
    let published = publish(&github, &all).unwrap();
    assert!(published.draft);
    let state = github.state();
    assert_eq!(state.releases.len(), 5);
    assert_eq!(state.releases[&1]["draft"], true);
    assert_eq!(state.releases[&1]["body"], "Notes");
    assert_eq!(state.by_name().len(), 2);
}

#[test]
fn jobs_that_create_the_same_release_at_once_end_with_one() {
    let github = GitHub::start();
    let (_temp, dir) = common::temp();
    let all = files(&dir, &[("box.img", b"content")]);
    // The other job's draft is older, so it counts.
    github.meanwhile("POST", "/box/releases", |state| {
        let id = state.id();
        let upload = format!("{}/repos/owner/box/releases/{id}/assets", state.url);
        let release = serde_json::json!({
            "id": id, "tag_name": "v1", "draft": true, "body": "another job's",
            "upload_url": upload, "html_url": "page",
        });
        state.releases.insert(id, release);
    });
    let published = publish(&github, &all).unwrap();
    assert!(published.draft);
    assert_eq!(github.state().release()["id"], 1);
}

#[test]
fn checksums_of_jobs_that_run_at_the_same_time_are_all_there() {
    let github = GitHub::start();
    let (_temp, dir) = common::temp();
    publish(&github, &files(&dir, &[("first.img", b"0")])).unwrap();
    let names = ["a.img", "b.img", "c.img"];
    std::thread::scope(|s| {
        for name in names {
            let all = files(&dir, &[(name, name.as_bytes())]);
            let github = github.clone();
            s.spawn(move || publish(&github, &all).unwrap());
        }
    });
    let state = github.state();
    let assets = state.by_name();
    let sums = String::from_utf8(assets["SHA256SUMS"].clone()).unwrap();
    for name in names {
        let line = format!("{}  {name}\n", common::sha256(&dir.join(name)));
        assert!(sums.contains(&line), "{name} is missing:\n{sums}");
    }
}

fn outcome(id: &str, verdict: &str) -> NightlyOutcome {
    NightlyOutcome {
        id: id.into(),
        verdict: verdict.into(),
        error: "the kernel panicked".into(),
        log: "[ 1.0] Kernel panic - not syncing: VFS\n".into(),
        screenshot: true,
    }
}

#[test]
fn one_issue_tells_of_the_nights() {
    let github = GitHub::start();
    let report = |outcomes: &[NightlyOutcome]| {
        issue::report(
            &client(&github, TOKEN),
            &repository(),
            outcomes,
            "https://run/1",
        )
        .unwrap()
    };
    let good = outcome("debian-bios", "passed");
    assert_eq!(report(std::slice::from_ref(&good)), Done::Nothing);
    github.fault("POST", "/issues", Fault::LostAnswer);
    let bad = outcome("debian-uefi", "panic");
    assert_eq!(report(&[good.clone(), bad.clone()]), Done::Opened(1));
    {
        let state = github.state();
        let body = state.issues[&1]["body"].as_str().unwrap();
        assert!(body.contains("1 of 2 images"), "{body}");
        assert!(body.contains("Kernel panic - not syncing"), "{body}");
        assert!(body.contains("[artifact](https://run/1)"), "{body}");
        assert_eq!(state.issues[&1]["labels"][0], issue::LABEL);
    }
    // The same again: it is up to date, and there is no second notification.
    assert_eq!(report(&[good.clone(), bad.clone()]), Done::Updated(1));
    assert!(github.state().comments.is_empty());
    let worse = outcome("alpine-bios", "timeout");
    assert_eq!(report(&[worse, bad]), Done::Updated(1));
    assert_eq!(github.state().comments.len(), 1);
    assert!(
        github.state().issues[&1]["title"]
            .as_str()
            .unwrap()
            .contains("2 images")
    );
    assert_eq!(report(std::slice::from_ref(&good)), Done::Closed(1));
    assert_eq!(github.state().issues[&1]["state"], "closed");
    assert_eq!(github.state().issues.len(), 1);
    // It fails again: a new issue, because the old one is closed.
    assert_eq!(report(&[outcome("x", "panic")]), Done::Opened(2));
    let none = issue::report(&client(&github, TOKEN), &repository(), &[], "r");
    assert_eq!(none.unwrap_err().class, Class::Mistake);
}
