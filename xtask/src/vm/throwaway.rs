//! A login that exists in a private copy of an image only, made by overwriting what
//! `/etc/shadow` has there.
//!
//! The file keeps its length and its place, so no metadata changes; the data blocks of ext4
//! have no checksums.

use crate::error::Report;
use camino::Utf8Path;
use ext4_view::{Ext4, Ext4Read};
use fs_err as fs;
use sha_crypt::{PasswordHasher, ShaCrypt};
use std::cell::RefCell;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

/// The accounts' passwords.
const SHADOW: &str = "/etc/shadow";

/// Smallest block of an ext4 file system, in bytes: a file begins at a multiple of it.
const BLOCK: usize = 1024;

/// Lets root in by a password that nobody has ever seen, and returns it; or why that cannot be.
///
/// `start` is the place of the root file system in the copy, in bytes.
pub(crate) fn add(copy: &Utf8Path, start: u64) -> Result<Result<String, String>, Report> {
    let failed = |e: std::io::Error| {
        Report::failure(format!("making a throwaway login in {copy}")).because(e)
    };
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(copy)
        .map_err(failed)?
        .into_parts()
        .0;
    let found = match find(&file, start) {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let password = random().map_err(failed)?;
    let salt = random().map_err(failed)?;
    let Some(new) = hash(&password, &salt).and_then(|hash| with_root(&found.text, &hash)) else {
        return Ok(Err(format!("{SHADOW} has no room for a password")));
    };
    for place in found.places {
        file.write_all_at(new.as_bytes(), place).map_err(failed)?;
    }
    Ok(Ok(password))
}

/// Text of `/etc/shadow` and where it lies on the disk.
struct Found {
    text: String,
    /// In bytes. More than one where another file begins with the very same text, as the
    /// backup `/etc/shadow-` may.
    places: Vec<u64>,
}

/// What was read of the disk: place and bytes.
type Pieces = Rc<RefCell<Vec<(u64, Vec<u8>)>>>;

/// The file system, and a note of all that was read of it: the reader does not tell where a
/// file lies.
struct Noted {
    file: std::fs::File,
    start: u64,
    pieces: Pieces,
}

impl Ext4Read for Noted {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        let place = self.start + start_byte;
        self.file.read_exact_at(dst, place)?;
        self.pieces.borrow_mut().push((place, dst.to_vec()));
        Ok(())
    }
}

fn find(file: &std::fs::File, start: u64) -> Result<Found, String> {
    let pieces = Pieces::default();
    let noted = Noted {
        file: file.try_clone().map_err(|e| e.to_string())?,
        start,
        pieces: Rc::clone(&pieces),
    };
    let wrong = |e: ext4_view::Ext4Error| format!("{SHADOW} cannot be read: {e}");
    let fs = Ext4::load(Box::new(noted)).map_err(wrong)?;
    let text = fs.read_to_string(SHADOW).map_err(wrong)?;
    let head = &text.as_bytes()[..text.len().min(BLOCK)];
    let mut places = Vec::new();
    for (place, bytes) in pieces.borrow().iter() {
        for at in (0..bytes.len()).step_by(BLOCK) {
            let candidate = place + at as u64;
            if bytes[at..].starts_with(head) && !places.contains(&candidate) {
                let mut whole = vec![0; text.len()];
                let same = file.read_exact_at(&mut whole, candidate).is_ok();
                if same && whole == text.as_bytes() {
                    places.push(candidate);
                }
            }
        }
    }
    if head.is_empty() || places.is_empty() {
        return Err(format!("{SHADOW} lies on the disk in no simple way"));
    }
    Ok(Found { text, places })
}

/// `shadow` with this hash for root, in the same number of bytes; nothing if root has no line
/// or there is no room.
///
/// Room is made of what nobody misses for the life of this copy: first of the dates of
/// accounts that are locked anyway, then of these accounts themselves, the last one first.
fn with_root(shadow: &str, hash: &str) -> Option<String> {
    let mut lines: Vec<String> = shadow.lines().map(str::to_owned).collect();
    let root = lines.iter().position(|l| l.starts_with("root:"))?;
    lines[root] = format!("root:{hash}:::::::");
    let len = |lines: &[String]| lines.iter().map(|l| l.len() + 1).sum::<usize>();
    let locked = |line: &str| {
        line.split(':')
            .nth(1)
            .is_some_and(|p| p.starts_with(['*', '!']))
    };
    for i in (0..lines.len()).rev() {
        if len(&lines) <= shadow.len() {
            break;
        }
        if locked(&lines[i]) {
            let name = lines[i].split(':').next().unwrap_or_default();
            lines[i] = format!("{name}:*:::::::");
        }
    }
    for i in (0..lines.len()).rev() {
        if len(&lines) <= shadow.len() {
            break;
        }
        if locked(&lines[i]) {
            lines.remove(i);
        }
    }
    let mut text: String = lines.iter().flat_map(|l| [l.as_str(), "\n"]).collect();
    let room = shadow.len().checked_sub(text.len())?;
    // Readers of the file pass over empty lines.
    text.push_str(&"\n".repeat(room));
    Some(text)
}

/// A hash as crypt(5) has it, of SHA-256 with the usual number of rounds.
fn hash(password: &str, salt: &str) -> Option<String> {
    let hash = ShaCrypt::SHA256
        .hash_password_with_salt(password.as_bytes(), salt.get(..6)?.as_bytes())
        .ok()?;
    // The usual number need not be told.
    Some(hash.to_string().replace("$rounds=5000$", "$"))
}

/// 20 random letters.
fn random() -> std::io::Result<String> {
    let mut bytes = [0; 20];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|b| char::from(b'a' + b % 26)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use sha_crypt::PasswordVerifier;

    #[test]
    fn root_gets_a_password_and_the_file_its_length() {
        let debian = "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nbin:*:19000:0:99999:7:::\nme:$y$x:19000:0:99999:7:::\nsys:*:19000:0:99999:7:::\nsync:*:19000:0:99999:7:::\ngames:!*:19000::::::\n";
        let alpine = "root:!::0:::::\nbin:!::0:::::\ndaemon:!::0:::::\nlp:!::0:::::\nsync:!::0:::::\nnobody:!::0:::::\n";
        let hash = hash("secret", "abcdefgh").unwrap();
        assert!(hash.starts_with("$5$") && hash.len() < 60, "{hash}");
        for old in [debian, alpine] {
            let new = with_root(old, &hash).unwrap();
            assert_eq!(new.len(), old.len());
            assert!(new.starts_with(&format!("root:{hash}:")), "{new}");
            assert_eq!(new.contains("me:$y$x:19000"), old.contains("me:"), "{new}");
        }
        // Debian's others are still there, without their dates.
        assert!(with_root(debian, &hash).unwrap().contains("\nsys:*:"));
        assert_eq!(with_root("root:*::::::\n", &hash), None);
        assert_eq!(with_root(&"other:*::::::\n".repeat(20), &hash), None);
    }

    #[test]
    fn the_hash_is_the_passwords() {
        let text = hash("secret", "abcdefgh").unwrap();
        let hash = sha_crypt::PasswordHash::new(text).unwrap();
        ShaCrypt::default()
            .verify_password(b"secret", &hash)
            .unwrap();
        ShaCrypt::default()
            .verify_password(b"other", &hash)
            .unwrap_err();
    }
}
