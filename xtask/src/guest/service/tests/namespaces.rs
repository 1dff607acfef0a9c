//! Commands that must be process 1.

use super::*;

#[test]
fn process_one_gets_a_namespace() {
    let tools = [("/init", "#!/x\n"), ("/bin/busybox", "elf")];
    let mut c = container(&["/init"], &[]);
    c.stop_signal = Signal::parse("SIGRTMIN+3").unwrap();
    let mut r = programs(&[&MACHINE[..], &tools].concat());
    let notes = add(&mut r, Init::Systemd, &c, OWN).unwrap();
    assert!(notes[0].contains("/init of the container's command must be process 1"));
    let unit = text(&r, "/etc/systemd/system/container.service");
    for line in [
        "ExecStart=/usr/lib/docker-to-linux/console /usr/bin/unshare --mount-proc --mount --pid -f /usr/lib/docker-to-linux/service",
        "ExecStop=-/usr/lib/docker-to-linux/process-1 ${MAINPID} 37 30",
        "KillSignal=SIGKILL",
    ] {
        assert!(unit.lines().any(|l| l == line), "{line}\n{unit}");
    }
    assert!(r.tree.exists(PROCESS_ONE));

    // As a user who is not root; OpenRC.
    c.user = Some("app".into());
    let mut r = programs(&[&MACHINE[..], &tools].concat());
    add(&mut r, Init::OpenRc, &c, OWN).unwrap();
    let script = text(&r, "/etc/init.d/container");
    for line in [
        "command=/usr/lib/docker-to-linux/process-1",
        "    rm -f /run/container/stopping",
        "    touch /run/container/stopping",
        "command_args=\"run /usr/bin/unshare --mount-proc --mount --pid -f /usr/bin/setpriv --reuid=1000 --regid=1001 --init-groups /usr/lib/docker-to-linux/service\"",
        "    /usr/lib/docker-to-linux/process-1 \"$(cat /run/container.pid 2>/dev/null)\" 37 30",
    ] {
        assert!(script.lines().any(|l| l == line), "{line}\n{script}");
    }
    assert!(!script.contains("command_user"), "{script}");

    // busybox's unshare will do, its setpriv will not.
    let mut r = programs(&tools);
    for name in ["/usr/bin/unshare", "/bin/setpriv"] {
        r.tree.symlink(name, "/bin/busybox", 5).unwrap();
    }
    let e = add(&mut r, Init::OpenRc, &c, OWN).unwrap_err();
    assert!(e.message.contains("no suitable setpriv") && e.hint.unwrap().contains("util-linux"));
    c.user = None;
    add(&mut r, Init::OpenRc, &c, OWN).unwrap();
    let mut r = programs(&tools);
    let e = add(&mut r, Init::OpenRc, &c, OWN).unwrap_err();
    assert!(e.message.contains("no suitable unshare"), "{e}");
}
