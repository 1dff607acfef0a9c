//! The `smoke:` key of a recipe: how an image is tested.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How `cargo xtask smoke` tests the image, and what counts as a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Smoke {
    /// Shell commands to run in the guest as root, or as the user of `--login`. Each must exit
    /// with code 0.
    pub run: Vec<String>,
    /// Memory of the machine in MiB, at least 64.
    pub memory: u32,
    /// Number of virtual CPUs, 1 to 255.
    pub cpus: u32,
    /// Seconds to wait for the login prompt with hardware acceleration. An emulated guest gets
    /// five times as long.
    pub timeout: u32,
    /// Whether the guest can reach the host's network. If not, it gets an address with DHCP on an
    /// isolated network.
    pub network: bool,
    /// What to do about services that failed to start.
    pub failed_units: Policy,
    /// What to do about a root file system that is still read-only after boot.
    pub read_only_root: Policy,
    /// What to do if neither the initrd nor init checked the root file system because fsck is
    /// missing.
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

/// How a problem counts in a boot test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The test fails.
    Fail,
    /// The test passes with a warning.
    Warn,
    /// The problem is ignored.
    Ignore,
}
