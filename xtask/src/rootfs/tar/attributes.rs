//! Extended attributes, security labels and access control lists in PAX records.
//!
//! Writers: star, GNU tar, bsdtar, Go (`SCHILY.xattr.*`, raw); libarchive
//! (`LIBARCHIVE.xattr.*`, names in URL form and values in base64; archive_write_set_format_pax.c,
//! `archive_write_pax_header_xattr`); GNU tar (`RHT.security.selinux`, src/xheader.c); star, GNU
//! tar and bsdtar (`SCHILY.acl.access`, `SCHILY.acl.default`, `SCHILY.acl.ace`).

use super::acl::{self, ACCESS, DEFAULT};
use super::notes::{Left, Notes};
use super::pax::Pax;
use crate::rootfs::Xattrs;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Longest name of an extended attribute in bytes (`XATTR_NAME_MAX`, include/uapi/linux/limits.h).
const MAX_NAME: usize = 255;

/// The attribute that contains an SELinux label.
const SELINUX: &str = "security.selinux";

/// Reads the records of the entry at `path`. Access control lists as text are included under the
/// names of their records: [`acl::settle`] converts them to attributes.
pub(super) fn read(pax: &Pax<'_>, path: &[u8], is_dir: bool, notes: &mut Notes) -> Xattrs {
    let mut out = Xattrs::new();
    let mut other = Xattrs::new();
    for (key, value) in pax.all() {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            match known(name) {
                Some(name) => drop(out.insert(name.into(), value.into())),
                None => notes.add(Left::Attribute, path, name),
            }
        } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let name = url_decoded(name);
            match known(&name).zip(base64(value)) {
                Some((name, value)) => drop(other.insert(name.into(), value.into())),
                // The other form of the same attribute is nearly always there, too.
                None if pax.raw(&[b"SCHILY.xattr.", name.as_slice()].concat()) => {}
                None => notes.add(Left::Attribute, path, &name),
            }
        } else if value.is_empty() {
            // Removes an earlier record.
        } else if key == b"RHT.security.selinux" {
            let mut label = value.to_vec();
            // The kernel stores the NUL at its end (security/selinux/hooks.c).
            if label.last() != Some(&0) {
                label.push(0);
            }
            other.insert(SELINUX.into(), label.into());
        } else if key == acl::TEXT_ACCESS.as_bytes()
            || key == acl::TEXT_DEFAULT.as_bytes() && is_dir
        {
            if let Ok(key) = std::str::from_utf8(key) {
                other.insert(key.into(), value.into());
            }
        } else if key == acl::TEXT_DEFAULT.as_bytes() {
            notes.add(Left::Acl, path, b"a default for no directory");
        } else if key == b"SCHILY.acl.ace" {
            notes.add(Left::ForeignAcl, path, b"NFSv4");
        } else if key == b"SCHILY.fflags" {
            notes.add(Left::Flags, path, value);
        }
    }
    out.retain(|name, value| {
        let is_default = &**name == DEFAULT;
        if &**name != ACCESS && !is_default {
            return true;
        }
        if value.len() <= 4 {
            // A list without entries means that there is none.
            return false;
        }
        let good = acl::is_valid(value) && (is_dir || !is_default);
        if !good {
            notes.add(Left::Acl, path, name.as_bytes());
        }
        good
    });
    // Bytes are more exact than text.
    for (raw, text) in [(ACCESS, acl::TEXT_ACCESS), (DEFAULT, acl::TEXT_DEFAULT)] {
        if out.contains_key(raw) {
            other.remove(text);
        }
        notes.acls_wait |= other.contains_key(text);
    }
    for (name, value) in other {
        out.entry(name).or_insert(value);
    }
    out
}

/// The name of an attribute that ext4 under Linux can store (xattr(7), "Extended attribute
/// namespaces").
fn known(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    let open = ["user.", "trusted.", "security."].iter().any(|space| {
        let rest = name.strip_prefix(space);
        rest.is_some_and(|rest| !rest.is_empty())
    });
    let fits = name.len() <= MAX_NAME && !name.contains('\0');
    ((open || name == ACCESS || name == DEFAULT) && fits).then_some(name)
}

/// `%41` is `A` (libarchive's `url_encode`).
fn url_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let hex = (byte == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match hex {
            Some(decoded) => {
                out.push(decoded);
                rest = &after[2..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

/// Base64 as libarchive writes it: without `=` at the end, but other writers may add it.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let text: Vec<u8> = text
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    GeneralPurpose::new(&STANDARD, config).decode(text).ok()
}
