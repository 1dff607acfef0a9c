//! The part of a recipe that describes the machine's users and the files to add.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A user who can log in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct User {
    /// Login name. A user that already exists in the root file system is changed to match.
    pub name: String,
    /// User ID, e.g. 1000. Default: the first free one from 1000 up.
    pub uid: Option<u32>,
    /// Groups to add the user to, e.g. `adm`. They must exist in the root file system.
    pub groups: Vec<String>,
    /// Login shell. Default: bash if it is installed, else sh.
    pub shell: Option<String>,
    /// Password hash in the form of shadow(5), e.g. the output of `openssl passwd -6`. Without one,
    /// the user cannot log in with a password.
    pub password_hash: Option<PasswordHash>,
    /// SSH public keys. Each entry is a line as in authorized_keys, or a file in the recipe's
    /// folder.
    pub ssh_keys: Vec<String>,
    /// Allows the user to become root with sudo or doas. Needs no password if the user has none.
    pub sudo: bool,
}

/// A hashed password in the form of crypt(5). It is never printed.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct PasswordHash(String);

/// Why a text is not accepted as a password hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The text does not have the form of any known kind of hash.
    #[error("is not a password hash: use the output of `openssl passwd -6` or `mkpasswd`")]
    Form,
    /// The hash is of a kind that can be broken in seconds.
    #[error(
        "is a password hash of a weak kind, which is broken in seconds: use SHA-512 (`openssl passwd -6`) or yescrypt (`mkpasswd`)"
    )]
    Weak,
}

impl PasswordHash {
    /// The hash as shadow(5) stores it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether only libxcrypt supports this kind of hash. musl's crypt() does not (crypt(5), and
    /// musl's src/crypt/crypt_r.c).
    pub fn takes_libxcrypt(&self) -> bool {
        self.0.starts_with("$y$") || self.0.starts_with("$gy$") || self.0.starts_with("$7$")
    }
}

impl FromStr for PasswordHash {
    type Err = HashError;

    /// Accepts the strong kinds of crypt(5): yescrypt and gost-yescrypt, scrypt, bcrypt, SHA-512
    /// and SHA-256.
    fn from_str(text: &str) -> Result<PasswordHash, HashError> {
        let mut fields = text.split('$');
        let (Some(""), Some(kind)) = (fields.next(), fields.next()) else {
            // The old kinds have no dollar sign: 13 characters, or 20 after an underscore.
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
        // An optional `rounds=` precedes the salt, which has at most 16 characters.
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

/// A digit of crypt(5)'s own base64 alphabet.
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
        // Printing a recipe for debugging must not print this.
        s.serialize_str("(hidden)")
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<PasswordHash, D::Error> {
        // The parser's errors may quote a value, but must not quote this one.
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = PasswordHash;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a password hash in quotes")
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<PasswordHash, E> {
                s.parse().map_err(|e| E::custom(format!("this {e}")))
            }
        }
        d.deserialize_any(Visitor)
    }
}

/// Owner and mode of a file or folder in `files/`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FileOptions {
    /// `user:group` or `user`, as names or numbers. Default: `root:root`.
    pub owner: Option<Owner>,
    /// Permissions as octal digits in quotes, e.g. "0640". Default: "0755" for folders and for
    /// files that are executable in the recipe, else "0644".
    pub mode: Option<FileMode>,
}

/// The owner of a file.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Owner {
    /// The user.
    pub user: Id,
    /// The group. Default: the user's primary group.
    pub group: Option<Id>,
}

/// A user or group, as a number or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// A user or group ID.
    Number(u32),
    /// A name that exists in the root file system.
    Name(String),
}

impl FromStr for Id {
    type Err = String;
    fn from_str(text: &str) -> Result<Id, String> {
        if let Ok(number) = text.parse() {
            if is_reserved_id(number) {
                return Err(format!("{number} cannot be the ID of a user or group"));
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

/// Whether no user or group can have this ID. For the kernel, -1 in 32 bits means "nobody" and
/// "leave unchanged" (chown(2)), and older calls use -1 in 16 bits the same way (systemd's "Users,
/// Groups, UIDs and GIDs on systemd Systems", "Special Linux UIDs").
pub fn is_reserved_id(number: u32) -> bool {
    number == u32::MAX || number == u32::from(u16::MAX)
}

/// Whether a text is a valid name for a user or group (useradd(8): at most 32 characters).
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
                f.write_str("an owner, e.g. 1000:1000, www-data or root:adm")
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

/// Permission bits including setuid, setgid and sticky, at most `0o7777`.
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
                // YAML reads a bare 640 as a decimal number, which is never what is meant.
                f.write_str("a mode of three or four octal digits in quotes, e.g. \"0640\"")
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

    /// The output of real programs: openssl passwd -6, -5; mkpasswd -m yescrypt, -m scrypt;
    /// htpasswd -B.
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
