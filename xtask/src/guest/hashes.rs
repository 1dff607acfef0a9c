//! Whether a root file system contains password hashes, so that its image must be kept private.

use std::io;

/// The file that login programs read (shadow(5)).
const SHADOW: &str = "/etc/shadow";

/// Other files with passwords in the second field of their lines: passwd(5), shadow(5) and gshadow(5),
/// the backups of shadow-utils, and Debian's daily ones.
const FILES: [&str; 8] = [
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/passwd",
    "/etc/passwd-",
    "/var/backups/shadow.bak",
    "/var/backups/gshadow.bak",
    "/var/backups/passwd.bak",
];

/// The largest of these files that is read, in bytes.
pub const LARGEST: u64 = 16 << 20;

/// What a root file system says about passwords.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passwords {
    /// Whether one of its files contains a hash.
    pub hashes: bool,
    /// The users who can log in with a password.
    pub users: Vec<String>,
}

/// Reads the files that can contain passwords. `read` returns the content of a file, or `None` if
/// it does not exist. A file that cannot be read counts as one with a hash.
pub fn find(mut read: impl FnMut(&str) -> io::Result<Option<Vec<u8>>>) -> Passwords {
    let shadow = read(SHADOW);
    let users = match &shadow {
        Ok(Some(text)) => let_in(text),
        _ => Vec::new(),
    };
    let hashes = has_hashes(shadow) || FILES.iter().any(|path| has_hashes(read(path)));
    Passwords { hashes, users }
}

fn has_hashes(file: io::Result<Option<Vec<u8>>>) -> bool {
    match file {
        Ok(Some(text)) => text.split(|b| *b == b'\n').any(has_hash),
        Ok(None) => false,
        Err(_) => true,
    }
}

/// The users in an /etc/shadow who can log in with a password: those with an unlocked hash or an
/// empty field, which allows login without a password (shadow(5)).
fn let_in(shadow: &[u8]) -> Vec<String> {
    let lines = shadow.split(|b| *b == b'\n');
    let open = lines.filter(|line| {
        password(line).is_some_and(|f| f.is_empty() || (!b"!*".contains(&f[0]) && has_hash(line)))
    });
    let name = |line: &[u8]| line.split(|b| *b == b':').next().map(<[u8]>::to_vec);
    open.filter_map(name)
        .map(|name| String::from_utf8_lossy(&name).into_owned())
        .collect()
}

/// The password field of a line of passwd(5) or shadow(5).
fn password(line: &[u8]) -> Option<&[u8]> {
    line.split(|b| *b == b':').nth(1)
}

fn has_hash(line: &[u8]) -> bool {
    let field = password(line).unwrap_or_default();
    // passwd(1) and usermod(8) lock an account with a mark before its hash.
    let marks = field.iter().take_while(|b| b"!*".contains(b)).count();
    let field = &field[marks..];
    let by_des = |len| {
        let letter = |b: &u8| b.is_ascii_alphanumeric() || b"./".contains(b);
        field.len() == len && field.iter().all(letter)
    };
    // What systemd writes for an account that was not set up (PASSWORD_UNPROVISIONED in its
    // user-util.h).
    if field == b"unprovisioned" {
        return false;
    }
    // crypt(5): current kinds begin with `$`, BSDi's has `_` and 19 characters, DES has 13.
    field.starts_with(b"$") || (field.starts_with(b"_") && field.len() == 20) || by_des(13)
}

#[cfg(test)]
mod tests {
    use super::{find, let_in};

    #[test]
    fn locks_keep_people_out() {
        let shadow = b"root:*:1::::::\nann:$6$salt$hash:1::::::\nbob:!$6$salt$hash:1::::::\nguest::1::::::\nx\n";
        assert_eq!(let_in(shadow), ["ann", "guest"]);
        let found = find(|path| Ok((path == "/etc/shadow").then(|| shadow.to_vec())));
        assert_eq!(found.users, ["ann", "guest"]);
        // The backups let nobody in.
        let found = find(|path| Ok((path == "/etc/shadow-").then(|| shadow.to_vec())));
        assert!(found.hashes && found.users.is_empty());
    }

    fn with(path: &str, text: &str) -> bool {
        find(|asked| Ok((asked == path).then(|| text.as_bytes().to_vec()))).hashes
    }

    #[test]
    fn hashes_are_told_from_locks() {
        for line in [
            "root:$6$salt$hash:1:0:99999:7:::",
            "root:$y$j9T$x$y:1::::::",
            "root:!$6$salt$hash:1::::::",
            "root:!!$1$a$b:1::::::",
            "old:rl0uE0pIIfXMg:1::::::",
            "bsd:_J9..rasmBYk8r9AiWNc:1::::::",
            "b:*:1\na:$2b$05$x:1",
        ] {
            for path in [
                "/etc/shadow",
                "/etc/shadow-",
                "/etc/passwd",
                "/etc/gshadow",
                "/var/backups/shadow.bak",
            ] {
                assert!(with(path, line), "{line}");
            }
            assert!(!with("/etc/motd", line), "{line}");
        }
        for line in [
            "",
            "root",
            "root:*:19000:0:99999:7:::",
            "root:!:1",
            "root:!*:1",
            "root::1",
            "root:x:0:0:root:/root:/bin/sh",
            "core:!unprovisioned:1",
            "app:!locked:1",
        ] {
            assert!(!with("/etc/shadow", line), "{line}");
        }
        assert!(find(|_| Err(std::io::Error::other("damaged"))).hashes);
    }
}
