//! `smoke:` of a recipe: how an image proves that it works.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How `cargo xtask smoke` tests the image, and what counts as a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Smoke {
    /// Commands for the guest's shell, each as root (or who `--login` names). Each must end with
    /// exit code 0.
    pub run: Vec<String>,
    /// Memory of the machine in MiB.
    pub memory: u32,
    /// Processors of the machine.
    pub cpus: u32,
    /// Seconds until the login prompt must be there, on real hardware; where the guest is
    /// emulated, five times as many.
    pub timeout: u32,
    /// Whether the guest reaches the network of the host that tests it. Without it there is a
    /// network that gives addresses (DHCP) and leads nowhere.
    pub network: bool,
    /// Services that failed to start.
    pub failed_units: Policy,
    /// A root file system that is read-only when the machine is up.
    pub read_only_root: Policy,
    /// An initrd or init that did not check the root file system, for want of fsck.
    pub missing_fsck: Policy,
}

impl Default for Smoke {
    fn default() -> Smoke {
        Smoke {
            run: Vec::new(),
            memory: 1024,
            cpus: 2,
            timeout: 120,
            network: false,
            failed_units: Policy::Fail,
            read_only_root: Policy::Fail,
            missing_fsck: Policy::Warn,
        }
    }
}

/// What something doubtful counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// A failure.
    Fail,
    /// A warning.
    Warn,
    /// Nothing.
    Ignore,
}
