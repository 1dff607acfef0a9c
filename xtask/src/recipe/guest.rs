//! What a recipe says of the machine's users and of the files that it brings along.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Somebody who may log in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct User {
    /// Login name. One that the root file system has already is adapted.
    pub name: String,
    /// User number; the first that is free from 1000 on if it is left out.
    pub uid: Option<u32>,
    /// Groups beside the user's own. They must exist in the root file system.
    pub groups: Vec<String>,
    /// Login shell; bash if it is there, else sh.
    pub shell: Option<String>,
    /// The password as shadow(5) has it, as `openssl passwd -6` prints it. Nobody can log in by
    /// a password without one.
    pub password_hash: Option<PasswordHash>,
    /// Public keys for ssh: each a line as in authorized_keys, or a file beside the recipe.
    pub ssh_keys: Vec<String>,
    /// Whether the user may become root by sudo or doas; without a password if there is none.
    pub sudo: bool,
}

/// A password as crypt(5) hides it. It is never printed.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct PasswordHash(String);

/// Why a text is no hash of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// It has the form of none.
    #[error("is no hash of a password: write what `openssl passwd -6` or `mkpasswd` prints")]
    Form,
    /// It is one that is broken in seconds today.
    #[error(
        "is a hash of a kind that is broken in no time: use SHA-512 (`openssl passwd -6`) or yescrypt (`mkpasswd`)"
    )]
    Weak,
}

impl PasswordHash {
    /// The text for shadow(5).
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether only libxcrypt knows this kind: musl's crypt() does not (crypt(5), and musl's
    /// src/crypt/crypt_r.c).
    pub fn takes_libxcrypt(&self) -> bool {
        self.0.starts_with("$y$") || self.0.starts_with("$gy$") || self.0.starts_with("$7$")
    }
}

impl FromStr for PasswordHash {
    type Err = HashError;

    /// Takes the strong kinds of crypt(5): yescrypt and gost-yescrypt, scrypt, bcrypt, SHA-512 and
    /// SHA-256.
    fn from_str(text: &str) -> Result<PasswordHash, HashError> {
        let mut fields = text.split('$');
        let (Some(""), Some(kind)) = (fields.next(), fields.next()) else {
            // The old kinds have no dollar: 13 letters, or 20 behind an underscore.
            let old = [13, 20].contains(&text.len()) && text.chars().all(is_digit);
            return Err(if old {
                HashError::Weak
            } else {
                HashError::Form
            });
        };
        let rest: Vec<&str> = fields.collect();
        let sum = rest.last().copied().unwrap_or_default();
        let is = |text: &str, len: usize| text.len() == len && text.chars().all(is_digit);
        let salted = rest.len() >= 2 && rest.iter().all(|f| !f.is_empty());
        // `rounds=` may stand before the salt, which has at most 16 letters.
        let sha = |len| {
            let salt = match rest.as_slice() {
                [salt, _] => salt,
                [rounds, salt, _] if is_rounds(rounds) => salt,
                _ => return false,
            };
            is(sum, len) && (1..=16).contains(&salt.len()) && salt.chars().all(is_digit)
        };
        let right = match kind {
            "6" => sha(86),
            "5" => sha(43),
            "2b" | "2y" | "2a" => {
                rest.len() == 2
                    && rest[0].len() == 2
                    && rest[0].chars().all(|c| c.is_ascii_digit())
                    && is(sum, 53)
            }
            "y" | "gy" => rest.len() == 3 && salted && is(sum, 43) && all_digits(&rest),
            "7" => rest.len() == 2 && salted && is(sum, 43) && all_digits(&rest),
            "1" | "md5" | "sha1" | "3" => return Err(HashError::Weak),
            _ => false,
        };
        if right {
            Ok(PasswordHash(text.to_owned()))
        } else {
            Err(HashError::Form)
        }
    }
}

/// A digit of crypt(5)'s own base 64.
fn is_digit(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '.' || c == '/'
}

fn all_digits(fields: &[&str]) -> bool {
    fields.iter().all(|f| f.chars().all(is_digit))
}

fn is_rounds(text: &str) -> bool {
    text.strip_prefix("rounds=")
        .and_then(|n| n.parse::<u32>().ok())
        .is_some_and(|n| (1000..=999_999_999).contains(&n))
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl Serialize for PasswordHash {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        // Whoever prints a recipe does not mean to print this.
        s.serialize_str("(hidden)")
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<PasswordHash, D::Error> {
        // Errors of the reader may quote a value; this one must not.
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = PasswordHash;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the hash of a password, in quotes")
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<PasswordHash, E> {
                s.parse().map_err(|e| E::custom(format!("this {e}")))
            }
        }
        d.deserialize_any(Visitor)
    }
}

/// Owner and mode of something in `files/`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FileOptions {
    /// `user:group` or `user`, by name or number; root's if it is left out.
    pub owner: Option<Owner>,
    /// Permissions in octal digits, in quotes, as "0640"; "0755" for what is executable in the
    /// recipe and for folders, else "0644".
    pub mode: Option<FileMode>,
}

/// Who a file belongs to.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Owner {
    /// The user.
    pub user: Id,
    /// The group; the user's own if it is left out.
    pub group: Option<Id>,
}

/// A user or group, by number or name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// By number.
    Number(u32),
    /// By the name that it has in the root file system.
    Name(String),
}

impl FromStr for Id {
    type Err = String;
    fn from_str(text: &str) -> Result<Id, String> {
        if let Ok(number) = text.parse() {
            if is_reserved_id(number) {
                return Err(format!(
                    "{number} is a number that no user or group can have"
                ));
            }
            return Ok(Id::Number(number));
        }
        if is_user_name(text) {
            return Ok(Id::Name(text.to_owned()));
        }
        Err(format!("{text:?} is neither a name nor a number"))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Number(n) => n.fmt(f),
            Id::Name(name) => f.write_str(name),
        }
    }
}

/// Whether no user or group can have that number: for the kernel, -1 in 32 bits means "nobody" and
/// "leave it as it is" (chown(2)), and so does -1 in 16 bits for older calls (systemd's
/// "Users, Groups, UIDs and GIDs on systemd Systems", "Special Linux UIDs").
pub fn is_reserved_id(number: u32) -> bool {
    number == u32::MAX || number == u32::from(u16::MAX)
}

/// Whether a text can be the name of a user or group (useradd(8): at most 32 letters).
pub fn is_user_name(text: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

impl FromStr for Owner {
    type Err = String;
    fn from_str(text: &str) -> Result<Owner, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group.parse()?)),
            None => (text, None),
        };
        let user = user.parse()?;
        Ok(Owner { user, group })
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match &self.group {
            Some(group) => s.collect_str(&format_args!("{}:{group}", self.user)),
            None => s.collect_str(&self.user),
        }
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Owner, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Owner;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an owner as 1000:1000, www-data or root:adm")
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Owner, E> {
                self.visit_str(&n.to_string())
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<Owner, E> {
                s.parse().map_err(E::custom)
            }
        }
        d.deserialize_any(Visitor)
    }
}

/// Permission bits with setuid, setgid and sticky: `0o7777` at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct FileMode(pub u16);

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{:04o}", self.0))
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<FileMode, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = FileMode;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // A bare 640 is a decimal number to YAML, and nobody means that.
                f.write_str("a mode of three or four octal digits in quotes, as \"0640\"")
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<FileMode, E> {
                let digits = (3..=4).contains(&s.len());
                match u16::from_str_radix(s, 8) {
                    Ok(mode) if digits => Ok(FileMode(mode)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(s), &self)),
                }
            }
        }
        d.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn hash(text: &str) -> Result<PasswordHash, HashError> {
        text.parse()
    }

    /// What the programs themselves print: openssl passwd -6, -5; mkpasswd -m yescrypt, -m
    /// scrypt; htpasswd -B.
    #[test]
    fn hashes_of_every_strong_kind_are_taken() {
        let sha512 = format!("$6$saltsalt${}", "a".repeat(86));
        for right in [
            sha512.as_str(),
            &format!("$6$rounds=100000$saltsalt${}", "a".repeat(86)),
            &format!("$5$x${}", "/".repeat(43)),
            &format!("$2b$12${}", "A".repeat(53)),
            &format!("$y$j9T$F5Jx5fExrKuPp53xLKQ..1${}", "b".repeat(43)),
            &format!("$7$CU..../....2Q9obwLhin8qvQl6sisAO/${}", "c".repeat(43)),
        ] {
            let h = hash(right).unwrap();
            assert_eq!(h.reveal(), right);
            assert!(!format!("{h:?}").contains("salt"));
        }
        assert!(!hash(&sha512).unwrap().takes_libxcrypt());
    }

    #[test]
    fn what_is_no_hash_or_a_weak_one_is_refused() {
        for (text, why) in [
            ("secret", HashError::Form),
            ("", HashError::Form),
            ("*", HashError::Form),
            ("$6$salt$short", HashError::Form),
            ("$6$sa:t$", HashError::Form),
            ("$1$salt$qJH7.N4xYta3aEG/dfqo/0", HashError::Weak),
            ("ab01FAX.bQRSU", HashError::Weak),
        ] {
            assert_eq!(hash(text), Err(why), "{text}");
        }
        // A second line would be a second account.
        let two = format!("$6$salt${}\nroot2::0:0", "a".repeat(86));
        assert_eq!(hash(&two), Err(HashError::Form));
    }

    #[test]
    fn owners_and_modes_are_read_as_people_write_them() {
        let read = |text: &str| serde_yaml::from_str::<FileOptions>(text);
        let all = read("{owner: 1000:1000, mode: \"0640\"}").unwrap();
        let (user, group) = (Id::Number(1000), Some(Id::Number(1000)));
        assert_eq!(all.owner, Some(Owner { user, group }));
        assert_eq!(all.mode, Some(FileMode(0o640)));
        let user = Id::Name("www-data".into());
        assert_eq!(
            read("owner: www-data").unwrap().owner,
            Some(Owner { user, group: None })
        );
        assert_eq!(
            read("owner: 33").unwrap().owner.unwrap().user,
            Id::Number(33)
        );
        for wrong in [
            "mode: 640",
            "mode: \"0888\"",
            "mode: \"17777\"",
            "owner: a b",
            "owner: \"a:\"",
        ] {
            read(wrong).unwrap_err();
        }
        assert!(
            read("mode: 640")
                .unwrap_err()
                .to_string()
                .contains("in quotes")
        );
    }
}
