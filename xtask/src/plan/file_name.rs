//! File names made from other texts.

/// Turns a text into a file name that every file system and boot loader accepts: each unsupported
/// byte becomes a `-`, as in the guest's update-boot.
pub(super) fn file_name(text: &str) -> String {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".-_+".contains(&b);
    text.bytes()
        .map(|b| if fits(b) { b.into() } else { '-' })
        .collect()
}
