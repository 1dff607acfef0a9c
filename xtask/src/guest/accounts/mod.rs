//! Accounts: passwd(5), shadow(5), group(5) and gshadow(5).

pub(super) mod hash;
pub(super) mod keys;
mod table;
mod user;

pub(super) use table::Names;
pub(super) use user::{add, authorize, let_be_root};

use super::{Report, Rootfs, read, rewrite};

/// Locks every account whose password is empty: on a container's console nobody comes by, on
/// a machine's anybody does. Returns a note that names them.
pub(super) fn lock_empty_passwords(rootfs: &mut Rootfs) -> Result<Option<String>, Report> {
    let mut locked = Vec::new();
    // /etc/passwd: an `x` there refers to shadow(5), an empty field lets everybody in.
    for file in ["/etc/shadow", "/etc/passwd"] {
        let old = read(rootfs, file)?;
        let mut found = false;
        let text: String = old
            .lines()
            .map(|line| {
                let mut fields: Vec<&str> = line.split(':').collect();
                if fields.len() > 1 && fields[1].is_empty() && !fields[0].is_empty() {
                    found = true;
                    if !locked.contains(&fields[0].to_owned()) {
                        locked.push(fields[0].to_owned());
                    }
                    fields[1] = "*";
                }
                fields.join(":") + "\n"
            })
            .collect();
        if found {
            rewrite(rootfs, file, text)?;
        }
    }
    Ok((!locked.is_empty()).then(|| {
        format!(
            "locked the password of {}: it was empty, so anybody could have logged in",
            locked.join(", ")
        )
    }))
}
