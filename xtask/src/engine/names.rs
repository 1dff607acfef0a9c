//! Names of images: which ones engines accept, and which must not reach them.

use crate::error::Report;
use crate::hex::hex;
use crate::model::Arch;
use sha2::{Digest, Sha256};

/// Prefix of the tags of images that are built from recipes.
pub(super) const TAGS: &str = "docker-to-linux/";

/// Longest name of a recipe in a tag, in characters; a whole name can have 255.
const MAX_NAME: usize = 100;

/// The tag of an image that is built from a recipe.
///
/// Engines accept lower-case letters and digits, and between them one `.`, one or two `_`, or any
/// number of `-` (distribution's reference grammar, "path-component"). Any other name is changed
/// and gets a digest of itself, so that two recipes never share a tag.
pub fn tag(name: &str, arch: Arch) -> String {
    let lower = name.to_ascii_lowercase();
    let last = lower.rsplit('/').next().unwrap_or_default();
    if lower.split('/').all(is_component) && last.len() <= MAX_NAME {
        return format!("{TAGS}{lower}:{arch}");
    }
    let parts: Vec<String> = lower.split('/').map(component).collect();
    let digest = hex(&Sha256::digest(name)[..4]);
    format!("{TAGS}{}-{digest}:{arch}", parts.join("/"))
}

/// Whether a text is a valid part of a name between slashes.
fn is_component(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let between = |s: &&str| !s.is_empty();
    text.starts_with(plain)
        && text.ends_with(plain)
        && text
            .split(plain)
            .filter(between)
            .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

/// The closest text that is a valid part.
fn component(text: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let words: Vec<&str> = text
        .split(|c| !plain(c))
        .filter(|w| !w.is_empty())
        .collect();
    let mut name = words.join("-");
    name.truncate(MAX_NAME);
    match name.trim_end_matches('-') {
        "" => "x".to_owned(),
        name => name.to_owned(),
    }
}

/// Refuses a text that is not a valid image name. The engine would read it as an option, or refuse
/// it with a message that does not say where it came from. `whose` names its origin, e.g.
/// `--container`.
pub fn check_image(text: &str, whose: &str) -> Result<(), Report> {
    let why = if text.is_empty() {
        "is empty"
    } else if text.starts_with('-') {
        "begins with `-`, like an option"
    } else if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "contains a space or a control character"
    } else if !text.is_ascii() {
        "contains characters other than ASCII"
    } else if text.contains("://") {
        "is a URL"
    } else if is_upper(text) {
        "contains upper-case letters"
    } else if text.len() > 512 {
        "is longer than 512 characters"
    } else {
        return Ok(());
    };
    Err(Report::mistake(format!(
        "{whose} {text:?} is not a valid name for a container image: it {why}"
    ))
    .hint("use NAME, NAME:TAG, HOST/NAME:TAG or NAME@sha256:DIGEST, e.g. debian:trixie-slim"))
}

/// Whether the part of a name that must be lower-case is not: everything except the host, tag and
/// digest.
fn is_upper(text: &str) -> bool {
    let name = text.split('@').next().unwrap_or_default();
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let name = match name[slash..].find(':') {
        Some(colon) => &name[..slash + colon],
        None => name,
    };
    let path = match name.split_once('/') {
        // A host has a dot, a port, or upper-case letters.
        Some((first, path)) if first.contains(['.', ':']) || first != first.to_lowercase() => path,
        _ => name,
    };
    path.chars().any(|c| c.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_what_engines_take() {
        assert_eq!(tag("debian", Arch::Amd64), "docker-to-linux/debian:amd64");
        let odd = [
            "Box",
            "a.b",
            "a_b",
            "a__b",
            "a--b",
            "container/web_app",
            "a.",
            "a-",
            "a_",
            "a..b",
            "a___b",
            "a._b",
            "_a",
            "-a",
            "Mein Projekt",
            "ż",
            "日本",
            "",
            "container/",
            "a.-b",
        ];
        let long = "x".repeat(300);
        for name in odd.into_iter().chain([long.as_str()]) {
            let tag = tag(name, Arch::Amd64);
            let path = tag.strip_suffix(":amd64").unwrap_or_default();
            assert!(path.len() < 128, "{tag}");
            assert!(path.split('/').all(is_component), "{name:?}: {tag}");
        }
        // Two names, two tags.
        assert_ne!(tag("a.", Arch::Amd64), tag("a-", Arch::Amd64));
        assert_eq!(tag("a_b", Arch::Amd64), "docker-to-linux/a_b:amd64");
    }

    #[test]
    fn what_cannot_name_an_image_is_refused() {
        for name in [
            "nginx",
            "nginx:1.27",
            "localhost/x",
            "registry.example:5000/team/web_app:V2",
            "Host/x:T",
            "web@sha256:0123",
            "sha256:0123456789abcdef",
            "0123456789ab",
        ] {
            assert!(check_image(name, "--container").is_ok(), "{name}");
        }
        for name in [
            "--help",
            "-",
            "-v",
            "",
            " x",
            "a b",
            "x\n",
            "żółw",
            "Nginx",
            "docker.io/Library/x",
            "https://example.org/x",
        ] {
            let e = check_image(name, "--container");
            let said = e.map_err(|e| (e.class, e.message.clone()));
            let Err((class, message)) = said else {
                unreachable!("{name}");
            };
            assert_eq!(class, crate::error::Class::Mistake);
            assert!(message.starts_with("--container "), "{message}");
        }
    }
}
