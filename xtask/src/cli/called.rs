//! How the program was called: `cargo xtask` in a checkout, or by the name of its file. Texts say
//! `cargo xtask`, and are adapted where they are printed.

use std::borrow::Cow;
use std::sync::OnceLock;

/// What texts say.
const WRITTEN: &str = "cargo xtask";

/// The name of the program where its own cannot be found out.
const USUAL: &str = "docker-to-linux";

/// What a user types to start the program.
pub(super) fn name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        if std::env::var_os("CARGO_MANIFEST_DIR").is_some() {
            return WRITTEN.to_owned();
        }
        let program = std::env::args_os().next();
        let file = program.as_deref().map(std::path::Path::new);
        let name = file.and_then(|path| path.file_name()?.to_str());
        name.filter(|name| !name.is_empty())
            .unwrap_or(USUAL)
            .to_owned()
    })
}

/// The name of the program's file, for what belongs to the file itself: completions and manuals.
pub(super) fn program() -> &'static str {
    match name() {
        WRITTEN => USUAL,
        name => name,
    }
}

/// The text, with the program called as the user called it.
pub(super) fn adapt(text: &str) -> Cow<'_, str> {
    adapt_to(text, name())
}

fn adapt_to<'t>(text: &'t str, name: &str) -> Cow<'t, str> {
    match name != WRITTEN && text.contains(WRITTEN) {
        true => text.replace(WRITTEN, name).into(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_copied() {
        let text = "run `cargo xtask setup`, then `cargo xtask image debian`";
        assert_eq!(adapt_to(text, WRITTEN), text);
        assert_eq!(
            adapt_to(text, "docker-to-linux"),
            "run `docker-to-linux setup`, then `docker-to-linux image debian`"
        );
    }
}
