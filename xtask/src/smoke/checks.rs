//! Checks in a running guest: shell commands, depending on its init.

use super::verdict::Findings;
use crate::error::Report;
use crate::recipe::{Policy, Smoke};
use crate::vm::{Login, Network};
use serde::Serialize;
use std::net::ToSocketAddrs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A command that ran in the guest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What it checks.
    pub name: String,
    /// The command.
    pub command: String,
    /// Its exit code.
    pub status: u8,
    /// Its standard output and standard error.
    pub output: String,
    /// Its duration.
    pub seconds: f64,
}

/// The results of the checks.
#[derive(Debug, Default)]
pub(super) struct Inside {
    /// Failures, warnings and skipped checks.
    pub(super) findings: Findings,
    /// The commands that ran.
    pub(super) checks: Vec<Check>,
    /// Whether a failure is the init's: a failed service, or a root file system left read-only.
    pub(super) init_failed: bool,
}

impl Inside {
    /// Records a problem of the init, which counts as `policy` says.
    fn init(&mut self, policy: Policy, text: impl Into<String>) {
        self.init_failed |= self.findings.note(policy, text);
    }
}

/// Prints the name of the init, as far as it is recognised.
const INIT: &str = "if [ -d /run/systemd/system ]; then echo systemd; elif [ -d /run/openrc ]; then echo openrc; else cat /proc/1/comm; fi";

/// Wait until systemd has finished booting, because the prompt may appear earlier. The second line
/// is only for readers.
const SYSTEMD: &str =
    "systemctl is-system-running --wait; s=$?; systemctl --failed --no-pager 2>&1; exit $s";
const SYSTEMD_FAILED: &str = "systemctl list-units --failed --plain --no-legend --no-pager";

const OPENRC: &str = "rc-status --all";
/// OpenRC keeps a link for each service that failed.
const OPENRC_FAILED: &str = "ls /run/openrc/failed 2>/dev/null; rc-status --crashed 2>/dev/null";

const ROOT: &str = "grep ' / ' /proc/mounts";

/// The address may arrive shortly after the prompt.
const ADDRESS: &str = "command -v ip >/dev/null || { echo 'there is no ip'; exit 0; }; n=0; until ip addr | grep -q 'scope global'; do n=$((n+1)); [ $n -lt 30 ] || break; sleep 1; done; ip addr; ip addr | grep -q 'scope global'";

/// A name reserved for examples (RFC 2606).
const NAME: &str = "example.com";
const NAMES: &str =
    "if command -v getent >/dev/null; then getent hosts example.com; else nslookup example.com; fi";

const DISK: &str = "df -P -k /";

/// The image's own health check (Dockerfile, `HEALTHCHECK`). A hosted container may need longer than a
/// minute: the machine knows whether it is still starting.
const HEALTH: &str = "f=/usr/lib/docker-to-linux/healthcheck; [ -x $f ] || exit 0; n=0; until $f; do n=$((n+1)); [ $n -lt 20 ] || grep -qs starting /run/container/health || exit 1; sleep 3; done";

/// Runs all checks, and adds their results to `inside`.
///
/// Fails (with [`crate::vm::trouble::Failed`] as the cause) if a command does not end within
/// `patience`, or the guest fails during it.
pub(super) fn run(
    login: &mut Login<'_>,
    smoke: &Smoke,
    network: &Network,
    patience: Duration,
    inside: &mut Inside,
) -> Result<(), Report> {
    let mut ask = |inside: &mut Inside, name: &str, command: &str| -> Result<Check, Report> {
        let begun = Instant::now();
        let output = login.run(command, begun + patience)?;
        let check = Check {
            name: name.to_owned(),
            command: command.to_owned(),
            status: output.status,
            output: output.text,
            seconds: begun.elapsed().as_secs_f64(),
        };
        inside.checks.push(check.clone());
        Ok(check)
    };
    let init = ask(inside, "init", INIT)?;
    match init.output.trim() {
        "systemd" => {
            let state = ask(inside, "state", SYSTEMD)?;
            let state = state.output.lines().next().unwrap_or_default().to_owned();
            if state != "running" {
                let failed = ask(inside, "failed units", SYSTEMD_FAILED)?;
                for unit in first_words(&failed.output) {
                    inside.init(smoke.failed_units, format!("the unit {unit} failed"));
                }
                if failed.output.trim().is_empty() {
                    inside.init(
                        smoke.failed_units,
                        format!("systemd reports the state {state:?}"),
                    );
                }
            }
        }
        "openrc" => {
            ask(inside, "state", OPENRC)?;
            let failed = ask(inside, "failed services", OPENRC_FAILED)?;
            for service in first_words(&failed.output) {
                inside.init(smoke.failed_units, format!("the service {service} failed"));
            }
        }
        other => inside.findings.notes.push(format!(
            "the init {other:?} does not report failed services"
        )),
    }
    if is_read_only(&ask(inside, "root file system", ROOT)?.output) {
        inside.init(smoke.read_only_root, READ_ONLY);
    }
    let disk = ask(inside, "disk", DISK)?;
    if let Some((size, free)) = sizes(&disk.output)
        && free < size / 100
    {
        inside.findings.warnings.push(format!(
            "the root file system is full: {free} KiB of {size} are free"
        ));
    }
    if *network != Network::None {
        if ask(inside, "addresses", ADDRESS)?.status != 0 {
            inside
                .findings
                .warnings
                .push("the guest has no network address".into());
        } else if !network.leads_out() {
            inside.findings.notes.push(
                "name resolution was not tested: the guest has no network access (enable it with `smoke: network: true` or --network)"
                    .into(),
            );
        } else if !host_resolves_names() {
            inside.findings.notes.push(
                "name resolution was not tested: this host cannot resolve names either".into(),
            );
        } else if ask(inside, "names", NAMES)?.status != 0 {
            inside
                .findings
                .warnings
                .push(format!("the guest cannot resolve {NAME}"));
        }
    }
    if ask(inside, "health", HEALTH)?.status != 0 {
        inside
            .findings
            .failures
            .push("the health check fails".into());
    }
    for command in &smoke.run {
        let check = ask(inside, "smoke.run", command)?;
        if check.status != 0 {
            inside.findings.failures.push(format!(
                "`{command}` failed with exit code {}",
                check.status
            ));
        }
    }
    Ok(())
}

/// The message about a root file system that is read-only.
pub(super) const READ_ONLY: &str = "the root file system is read-only";

/// The first word of each line, without leading symbols.
fn first_words(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        line.split_whitespace()
            .find(|w| w.starts_with(|c: char| c.is_ascii_alphanumeric()))
    })
}

/// Whether the last mount at `/` is read-only, according to the lines of /proc/mounts.
fn is_read_only(mounts: &str) -> bool {
    mounts
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields.get(1) == Some(&"/")).then(|| fields.get(3).copied())?
        })
        .next_back()
        .is_some_and(|options| options.split(',').any(|o| o == "ro"))
}

/// Size and free space in KiB, from the output of POSIX df(1).
fn sizes(df: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = df.lines().last()?.split_whitespace().collect();
    Some((fields.get(1)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

/// Whether this host can resolve a name within 3 seconds. Tested once per process.
fn host_resolves_names() -> bool {
    static KNOWN: Mutex<Option<bool>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    *known.get_or_insert_with(|| {
        let (tell, told) = std::sync::mpsc::channel();
        let asker = std::thread::Builder::new()
            .name("names".into())
            .spawn(move || tell.send((NAME, 80).to_socket_addrs().is_ok()));
        // A resolver without a network may need a minute. Its thread is not waited for.
        asker.is_ok() && told.recv_timeout(Duration::from_secs(3)).unwrap_or(false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        assert!(!is_read_only("/dev/vda2 / ext4 rw,relatime 0 0"));
        assert!(is_read_only(
            "/dev/vda2 / ext4 ro,relatime,errors=remount-ro 0 0"
        ));
        // The last mount counts.
        assert!(!is_read_only(
            "x / squashfs ro 0 0\noverlay / overlay rw 0 0"
        ));
        assert_eq!(
            sizes(
                "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda2 900 800 100 90% /"
            ),
            Some((900, 100))
        );
        assert_eq!(sizes(""), None);
        let words: Vec<&str> =
            first_words("● a.service loaded failed\nb.mount loaded\n\n").collect();
        assert_eq!(words, ["a.service", "b.mount"]);
    }
}
