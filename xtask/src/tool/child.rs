//! Child processes: how programs are started, and which environment variables they get.
//!
//! A recipe's `bootstrap` is third-party code, a container engine runs third-party builds, and a
//! workflow's environment holds tokens that can write to a repository. So a child gets a list of
//! variables that programs need to work, and nothing else: the name of a variable does not show
//! whether it is secret. clippy.toml forbids every other way to start a program.

use duct::Expression;
use std::ffi::{OsStr, OsString};
use std::process::Command;

/// Names of further variables for children, separated by commas or blanks.
pub const PASS: &str = "DOCKER_TO_LINUX_PASS_ENV";

/// The variables that children get.
const NAMES: [&str; 68] = [
    // User, paths and locale.
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "PWD",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "CI",
    "TZ",
    "LANG",
    "LANGUAGE",
    "TMPDIR",
    "TMP",
    "TEMP",
    "SOURCE_DATE_EPOCH",
    "DEBIAN_FRONTEND",
    "APT_CONFIG",
    // Libraries and certificates in other places, e.g. those of Nix or of a company's network.
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "NIX_LD",
    "NIX_LD_LIBRARY_PATH",
    "NIX_SSL_CERT_FILE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    // Proxies. Programs disagree about upper and lower case.
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    // How an engine's client finds its server and its files. No prefixes here, because
    // DOCKER_PASSWORD is a common name for a secret.
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "DOCKER_API_VERSION",
    "DOCKER_BUILDKIT",
    "DOCKER_DEFAULT_PLATFORM",
    "DOCKER_CONTENT_TRUST",
    "DOCKER_CLI_HINTS",
    "BUILDKIT_PROGRESS",
    "BUILDKIT_HOST",
    "BUILDX_BUILDER",
    "BUILDX_CONFIG",
    "CONTAINER_HOST",
    "CONTAINER_CONNECTION",
    "CONTAINER_SSHKEY",
    "CONTAINERS_CONF",
    "CONTAINERS_REGISTRIES_CONF",
    "CONTAINERS_STORAGE_CONF",
    "STORAGE_DRIVER",
    "REGISTRY_AUTH_FILE",
    "BUILDAH_ISOLATION",
    // Podman's session, QEMU's window.
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "TERMINFO",
];

/// Prefixes of variable names, for families without secrets.
const PREFIXES: [&str; 3] = ["LC_", "XDG_", "PIP_"];
/// Suffixes of variable names: download locations of a `bootstrap`, e.g. ALPINE_MIRROR.
const ENDINGS: [&str; 1] = ["_MIRROR"];
/// Words that a name matched by a prefix or a suffix must not contain.
const SECRETS: [&str; 5] = ["TOKEN", "SECRET", "PASSW", "CREDENTIAL", "KEY"];

/// Whether a child gets this variable. `asked` are the names in [`PASS`].
fn passes(name: &str, asked: &[String]) -> bool {
    let family =
        PREFIXES.iter().any(|p| name.starts_with(p)) || ENDINGS.iter().any(|e| name.ends_with(e));
    let secret = SECRETS.iter().any(|s| name.contains(s));
    NAMES.contains(&name) || asked.iter().any(|a| a == name) || family && !secret
}

/// The variables that every child gets: those of this module's list that are set, and those named
/// in [`PASS`].
pub fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    let asked: Vec<String> = std::env::var(PASS)
        .unwrap_or_default()
        .split([',', ' '])
        .map(str::to_owned)
        .collect();
    std::env::vars_os().filter(move |(name, _)| name.to_str().is_some_and(|n| passes(n, &asked)))
}

/// Starts a program as a child process.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(environment());
    command
}

/// The same for pipes and long-running children. `more` are additional variables for this child.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn expression<'a>(
    program: &std::path::Path,
    arguments: impl IntoIterator<Item = &'a str>,
    more: &[(&str, &OsStr)],
) -> Expression {
    let more = more
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    // Set last: settings made on an expression later do not apply to what is inside this.
    duct::cmd(program, arguments).full_env(environment().chain(more))
}

/// The same for commands of `xshell`.
pub fn cleared(command: xshell::Cmd<'_>) -> xshell::Cmd<'_> {
    command.env_clear().envs(environment())
}

/// Prevents other programs of the same user from reading our environment and memory in /proc. A
/// child could otherwise read there what it is not given. (proc(5): the files of a process that is
/// not dumpable belong to root.) Linux only; root can still read them.
pub fn hide_from_children() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(e) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::debug!("our environment remains readable for this user's programs: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::passes;

    #[test]
    fn what_programs_need_passes_and_nothing_else() {
        for name in [
            "PATH",
            "HOME",
            "TMPDIR",
            "LC_ALL",
            "LANG",
            "https_proxy",
            "NO_PROXY",
            "DOCKER_HOST",
            "DOCKER_CONFIG",
            "XDG_RUNTIME_DIR",
            "SOURCE_DATE_EPOCH",
            "PIP_INDEX_URL",
            "ALPINE_MIRROR",
            "SSL_CERT_FILE",
        ] {
            assert!(passes(name, &[]), "{name}");
        }
        for name in [
            "INPUT_TOKEN",
            "INPUTS",
            "INPUT_ARGS",
            "GITHUB_TOKEN",
            "GH_TOKEN",
            "GITHUB_ENV",
            "GITHUB_OUTPUT",
            "GITHUB_PATH",
            "ACTIONS_RUNTIME_TOKEN",
            "ACTIONS_RUNTIME_URL",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            "ACTIONS_CACHE_URL",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "NPM_TOKEN",
            "CARGO_REGISTRY_TOKEN",
            "DOCKER_PASSWORD",
            "DOCKER_AUTH_CONFIG",
            "PIP_PASSWORD",
            "XDG_SECRET",
            "MY_VARIABLE",
            "path",
            "",
        ] {
            assert!(!passes(name, &[]), "{name}");
        }
        assert!(passes("MY_VARIABLE", &["MY_VARIABLE".into()]));
    }
}
