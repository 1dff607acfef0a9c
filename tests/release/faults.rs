//! Faults of the network and of the server.

use super::*;

#[test]
fn a_passing_fault_at_any_request_is_survived() {
    let requests = [
        ("GET", "/releases/tags/v1"),
        ("GET", "/releases?"),
        ("POST", "/box/releases"),
        ("POST", "assets?name=box.img"),
        ("GET", "/assets?per_page"),
        ("POST", "assets?name=SHA256SUMS"),
        ("PATCH", "/releases/"),
    ];
    let faults = [
        Fault::Status(502, vec![], "Bad Gateway"),
        Fault::Status(503, vec![], "try later"),
        Fault::Status(429, vec![("retry-after", "0".into())], "slow down"),
        Fault::Status(
            403,
            vec![("retry-after", "0".into())],
            "secondary rate limit",
        ),
        Fault::CutAfter(0),
        Fault::CutAfter(100_000),
        Fault::LostAnswer,
    ];
    let (_temp, dir) = common::temp();
    let image = common::pattern(3, 400_000);
    let all = files(&dir, &[("box.img", &image)]);
    for (method, path) in requests {
        for fault in &faults {
            let github = GitHub::start();
            // Twice in a row: once may be luck.
            github.fault(method, path, fault.clone());
            github.fault(method, path, fault.clone());
            let what = format!("{method} {path} {fault:?}");
            let published = publish(&github, &all).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(!published.draft, "{what}");
            let state = github.state();
            assert_eq!(state.release()["draft"], false, "{what}");
            let assets = state.by_name();
            assert_eq!(assets.len(), 2, "{what}: {:?}", assets.keys());
            assert!(assets["box.img"] == image, "{what}");
            assert!(state.count(method) >= 3, "{what}: the fault never came");
        }
    }
}

#[test]
fn an_upload_that_is_cut_off_half_way_is_replaced() {
    let github = GitHub::start();
    let (_temp, dir) = common::temp();
    let image = common::pattern(4, 3_000_000);
    let all = files(&dir, &[("box.img", &image)]);
    github.fault("POST", "name=box.img", Fault::CutAfter(1_500_000));
    publish(&github, &all).unwrap();
    let state = github.state();
    assert!(state.by_name()["box.img"] == image);
    // The half asset holds the name: it was refused, removed, and sent once more.
    assert_eq!(
        state.count("POST /repos/owner/box/releases/1/assets?name=box.img"),
        3
    );
    assert_eq!(state.count("DELETE"), 1);
}

#[test]
fn a_run_that_dies_is_completed_by_the_next() {
    let github = GitHub::start();
    let (_temp, dir) = common::temp();
    let all = files(&dir, &[("box.img", b"content")]);
    for _ in 0..6 {
        let down = Fault::Status(500, vec![], "down");
        github.fault("POST", "assets?name=box.img", down);
    }
    let e = publish(&github, &all).unwrap_err();
    assert_eq!(e.class, Class::Failure);
    let said = e.to_string();
    assert!(
        said.contains("uploading box.img") && said.contains("500 (down)"),
        "{said}"
    );
    assert!(said.contains("6 attempts"), "{said}");
    // An incomplete release is not visible.
    assert_eq!(github.state().release()["draft"], true);
    publish(&github, &all).unwrap();
    assert_eq!(github.state().release()["draft"], false);
}

#[test]
fn what_will_not_get_better_is_said_at_once() {
    let (_temp, dir) = common::temp();
    let all = files(&dir, &[("box.img", b"content")]);
    let github = GitHub::start();
    let e = publish_as(&github, "ghs_wrong", &all, 100).unwrap_err();
    assert_eq!(e.class, Class::Mistake);
    let said = format!("{e} {:?}", e.hint);
    assert!(said.contains("401") && said.contains("token"), "{said}");
    assert!(!said.contains("ghs_wrong"), "{said}");
    assert_eq!(github.state().log.len(), 1);

    let github = GitHub::start();
    let forbidden = Fault::Status(403, vec![], "Resource not accessible by integration");
    github.fault("POST", "/box/releases", forbidden);
    let e = publish(&github, &all).unwrap_err();
    assert_eq!(e.class, Class::Mistake);
    assert!(e.hint.clone().unwrap().contains("contents: write"), "{e:?}");
    assert_eq!(github.state().count("POST"), 1);

    // An hour is not waited for.
    let github = GitHub::start();
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let limited = vec![
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset", (now + 3_000).to_string()),
    ];
    github.fault(
        "GET",
        "/releases/tags",
        Fault::Status(403, limited, "API rate limit exceeded"),
    );
    let e = publish(&github, &all).unwrap_err();
    assert!(e.hint.clone().unwrap().contains("51 minutes"), "{e:?}");

    let github = GitHub::start();
    let refused = Fault::Status(422, vec![], "Cannot upload assets to an immutable release.");
    github.fault("POST", "name=box.img", refused);
    let e = publish(&github, &all).unwrap_err();
    assert!(e.to_string().contains("immutable"), "{e}");

    let github = GitHub::start();
    let wanted = Wanted {
        tag: "v1",
        commit: None,
        files: &all,
        largest: 100,
    };
    let nobody = Repository::new("owner/none").unwrap();
    let e = release::publish(&client(&github, TOKEN), &nobody, &wanted, &|_| {}).unwrap_err();
    assert!(e.to_string().contains("404"), "{e}");
}
