//! The script that starts the command.

use super::*;

/// Any text that a process can be given.
fn words() -> impl Strategy<Value = Vec<String>> {
    let special = prop::sample::select(vec![
        "",
        " ",
        "'",
        "\"",
        "$HOME",
        "$(id)",
        "`id`",
        "%n",
        "%%",
        "\\",
        "\\n",
        "\n",
        "\r\n",
        "\t",
        "*",
        "~",
        "-n",
        "--",
        "#",
        "!",
        "&;|<>()",
        "a=b",
        "Łódź",
        "日本",
        "\u{1}\u{7f}\u{81}\u{88}",
    ]);
    let char = any::<char>().prop_filter("no NUL", |c| *c != '\0');
    let any = prop::collection::vec(char, 0..12).prop_map(String::from_iter);
    prop::collection::vec(prop_oneof![special.prop_map(str::to_owned), any], 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn arguments_arrive_byte_for_byte(words in words()) {
        // printf(1) of the host: it writes its arguments as they are, a NUL behind each.
        let mut command = vec!["/usr/bin/printf".to_owned(), "%s\\0".to_owned(), "first".to_owned()];
        command.extend(words.iter().cloned());
        let wanted: Vec<u8> = command[2..].iter().flat_map(|w| [w.as_bytes(), b"\0"].concat()).collect();
        for shell in shells() {
            let is = run(&shell, &container(&[], &[]), &command);
            prop_assert_eq!(&is, &wanted, "{:?}", shell);
        }
    }

    #[test]
    fn environment_arrives_byte_for_byte(words in words()) {
        let named: Vec<(String, &str)> = words.iter().enumerate().map(|(n, w)| (format!("v.{n}-x"), w.as_str())).collect();
        let env: Vec<(&str, &str)> = named.iter().map(|(n, w)| (n.as_str(), *w)).collect();
        let command = ["/usr/bin/env", "-0"].map(str::to_owned);
        for shell in shells() {
            let is = run(&shell, &container(&[], &env), &command);
            let mut is: Vec<&[u8]> = is.split(|b| *b == 0).filter(|e| !e.is_empty() && !e.starts_with(b"HOSTNAME=")).collect();
            let mut wanted: Vec<Vec<u8>> = env.iter().map(|(n, w)| format!("{n}={w}").into_bytes()).collect();
            wanted.push(b"HOME=/root".to_vec());
            wanted.push(b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_vec());
            is.sort_unstable();
            wanted.sort_unstable();
            prop_assert_eq!(is, wanted, "{:?}", shell);
        }
    }
}

#[test]
fn the_image_has_the_last_word_and_the_folder_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("it's a dir=x");
    std::fs::create_dir(&odd).unwrap();
    let program = odd.join("p=q");
    std::fs::write(&program, "#!/bin/sh\npwd; echo \"$HOME $PATH $1\"\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut c = container(
        &[],
        &[("HOME", "/h"), ("PATH", "/usr/bin:/bin"), ("HOME", "/h2")],
    );
    c.working_dir = odd.to_str().unwrap().into();
    // By a relative path, and with a `=` that env(1) must not see.
    let command = ["./p=q", "one"].map(str::to_owned);
    for shell in shells() {
        let is = String::from_utf8(run(&shell, &c, &command)).unwrap();
        let wanted = format!("{}\n/h2 /usr/bin:/bin one\n", odd.to_str().unwrap());
        assert_eq!(is, wanted, "{shell:?}");
    }
}

/// The journal's end of an output is a socket, which cannot be opened by name.
#[test]
fn a_command_may_open_its_output_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("console");
    std::fs::write(&script, include_str!("../../files/console-systemd.sh")).unwrap();
    let (mut journal, end) = std::os::unix::net::UnixStream::pair().unwrap();
    let command = "echo one >/dev/stdout; echo two >/dev/stderr; echo three";
    let console = |arguments: &[&str], out: Stdio| {
        let mut console = Command::new("/bin/sh");
        console
            .arg(&script)
            .args(arguments)
            .env("RUNTIME_DIRECTORY", dir.path());
        console.stdin(Stdio::null()).stdout(out).status().unwrap()
    };
    let out = Stdio::from(std::os::fd::OwnedFd::from(end));
    assert!(console(&["/bin/sh", "-c", command], out).success());
    assert!(console(&["--drain"], Stdio::null()).success());
    let mut said = String::new();
    journal.read_to_string(&mut said).unwrap();
    assert_eq!(said, "one\ntwo\nthree\n");
}
