//! The script that starts a command like a container engine.

use super::Account;
use crate::plan::Container;
use crate::shell::quote;

/// The default PATH of engines.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A script for any POSIX shell that starts `command` with the container's environment, in its
/// working directory, as the user that runs the script.
///
/// env(1) sets the environment instead of the shell, because names may be invalid for shell
/// variables, e.g. `node.name`.
pub(super) fn script(
    what: &str,
    container: &Container,
    command: &[String],
    account: &Account,
) -> String {
    let mut text = format!(
        "#!/bin/sh\n# Written by docker-to-linux. {what}\ncd {} || exit 1\n",
        quote(&container.working_dir)
    );
    text.push_str(&environment(container, account));
    // env(1) would read a program with a `=` in its name as another variable.
    if command.first().is_some_and(|program| program.contains('=')) {
        text.push_str(" \\\n    /bin/sh -c 'exec \"$0\" \"$@\"'");
    }
    text.push_str(&words(command));
    text.push('\n');
    text
}

/// The beginning of a command that runs another one with the container's environment only.
pub(super) fn environment(container: &Container, account: &Account) -> String {
    let mut text = "exec /usr/bin/env -i HOSTNAME=\"$(uname -n)\"".to_owned();
    // The variables that engines set unless the image does.
    let home = if account.home.is_empty() {
        "/"
    } else {
        &account.home
    };
    let given = [("PATH", PATH), ("HOME", home)];
    let own = container.env.iter();
    let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in given.into_iter().chain(own) {
        text.push_str(&words(&[format!("{name}={value}")]));
    }
    text
}

/// Further words of a command, each on its own line.
pub(super) fn words(all: &[String]) -> String {
    all.iter()
        .flat_map(|word| [" \\\n    ".to_owned(), quote(word)])
        .collect()
}
