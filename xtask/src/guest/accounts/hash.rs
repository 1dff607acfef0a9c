//! Passwords and their hashes.

use crate::error::Report;
use sha_crypt::{Algorithm, Params, PasswordHasher, ShaCrypt};
use sha2::{Digest, Sha256};
use std::fmt;
use uuid::Uuid;

/// A secret text, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub(crate) fn new(text: String) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Rounds of SHA-512: 0.1 seconds on a PC, and twenty times the default.
const ROUNDS: u32 = 100_000;

/// Hashes the password with SHA-512 as in crypt(5), which every C library and busybox support.
///
/// The salt comes from the image's ID, which identifies its content, and from the user's name: the
/// same root file system gives the same bytes, and another one, or another user, has another salt.
/// It must not come from the password, because a salt that is a fast digest of the password would
/// allow fast guesses. For a random salt, supply a hash instead of a password.
pub(crate) fn sha512(password: &Secret, image: Uuid, user: &str) -> Result<String, Report> {
    let mut digest = Sha256::new();
    digest.update(b"docker-to-linux: salt of a password\0");
    digest.update(image.as_bytes());
    digest.update(user.as_bytes());
    let failed = |e: String| Report::failure(format!("hashing the password of {user}: {e}"));
    let params = Params::new(ROUNDS).map_err(|e| failed(e.to_string()))?;
    ShaCrypt::new(Algorithm::Sha512Crypt, params)
        // 12 bytes give 16 characters, the maximum length of a salt.
        .hash_password_with_salt(password.0.as_bytes(), &digest.finalize()[..12])
        .map(|hash| hash.as_str().to_owned())
        .map_err(|e| failed(e.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::recipe::PasswordHash;
    use sha_crypt::PasswordVerifier;

    #[test]
    fn the_same_image_gives_the_same_hash_and_another_another() {
        let secret = Secret::new("correct horse".into());
        let hash = |image, user| sha512(&secret, Uuid::from_u128(image), user).unwrap();
        let one = hash(1, "root");
        assert_eq!(one, hash(1, "root"));
        assert!(one.starts_with("$6$rounds=100000$"), "{one}");
        let salt = |h: &str| h.split('$').nth(3).unwrap().to_owned();
        assert_eq!(salt(&one).len(), 16);
        for other in [hash(2, "root"), hash(1, "anna")] {
            assert_ne!(salt(&one), salt(&other));
        }
        // We accept our own hashes.
        one.parse::<PasswordHash>().unwrap();
        let check = |text: &str| ShaCrypt::SHA512.verify_password(text.as_bytes(), one.as_str());
        check("correct horse").unwrap();
        check("correct horsf").unwrap_err();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    /// Two passwords have the same salt, so it reveals nothing about them.
    #[test]
    fn the_salt_does_not_depend_on_the_password() {
        let hash = |text: &str| sha512(&Secret::new(text.into()), Uuid::nil(), "root").unwrap();
        let salt = |h: String| h.split('$').nth(3).unwrap().to_owned();
        assert_eq!(salt(hash("a")), salt(hash("b")));
    }
}
