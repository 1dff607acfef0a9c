//! The user that the command runs as.

use super::*;

#[test]
fn users_are_whom_an_engine_takes() {
    let r = rootfs(&[("/etc/passwd", PASSWD), ("/etc/group", GROUP)]);
    let of = |user: Option<&str>| {
        let a = account::of(r.whole(), user).unwrap();
        (a.uid, a.gid, a.home, a.known)
    };
    let known = (true, true);
    assert_eq!(of(None), (0, 0, "/root".into(), known));
    assert_eq!(of(Some("app")), (1000, 1001, "/srv".into(), known));
    assert_eq!(of(Some("1000")), (1000, 1001, "/srv".into(), known));
    assert_eq!(of(Some("app:www")), (1000, 33, "/srv".into(), known));
    assert_eq!(of(Some("app:33")), (1000, 33, "/srv".into(), known));
    assert_eq!(of(Some("77")), (77, 0, "/".into(), (false, true)));
    assert_eq!(of(Some("77:88")), (77, 88, "/".into(), (false, false)));
    assert_eq!(of(Some(":www")), (0, 33, "/root".into(), known));
    for unknown in ["nobody", "app:nobody", "-1", "99999999999"] {
        let e = account::of(r.whole(), Some(unknown)).unwrap_err();
        assert!(e.message.contains(unknown), "{e}");
    }
}
