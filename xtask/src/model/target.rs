//! Platforms that an image can be made for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A platform that runs images. `cargo xtask targets` lists what each accepts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Amazon EC2.
    Aws,
    /// Microsoft Azure, generation 2 (UEFI).
    Azure,
    /// Microsoft Azure, generation 1 (BIOS).
    AzureGen1,
    /// DigitalOcean.
    Digitalocean,
    /// Google Cloud (Compute Engine).
    Gcp,
    /// Hetzner Cloud.
    Hetzner,
    /// Hyper-V, generation 2 (UEFI).
    Hyperv,
    /// Hyper-V, generation 1 (BIOS).
    HypervGen1,
    /// libvirt with QEMU, e.g. for virt-manager.
    Libvirt,
    /// OpenStack.
    Openstack,
    /// Proxmox VE.
    Proxmox,
    /// QEMU, started by its own command.
    Qemu,
    /// QEMU's microvm, which loads the kernel itself.
    QemuMicrovm,
    /// A USB stick or another disk that a machine starts from.
    Usb,
    /// UTM, for macOS and iOS.
    Utm,
    /// Oracle VirtualBox.
    Virtualbox,
    /// VMware ESXi, vCenter, Workstation and Fusion.
    Vmware,
    /// Vultr.
    Vultr,
}

impl Target {
    /// All targets, in the order in which they are listed.
    pub const ALL: [Target; 18] = [
        Target::Aws,
        Target::Azure,
        Target::AzureGen1,
        Target::Digitalocean,
        Target::Gcp,
        Target::Hetzner,
        Target::Hyperv,
        Target::HypervGen1,
        Target::Libvirt,
        Target::Openstack,
        Target::Proxmox,
        Target::Qemu,
        Target::QemuMicrovm,
        Target::Usb,
        Target::Utm,
        Target::Virtualbox,
        Target::Vmware,
        Target::Vultr,
    ];

    /// Its name, as recipes and `--target` write it.
    pub fn name(self) -> &'static str {
        match self {
            Target::Aws => "aws",
            Target::Azure => "azure",
            Target::AzureGen1 => "azure-gen1",
            Target::Digitalocean => "digitalocean",
            Target::Gcp => "gcp",
            Target::Hetzner => "hetzner",
            Target::Hyperv => "hyperv",
            Target::HypervGen1 => "hyperv-gen1",
            Target::Libvirt => "libvirt",
            Target::Openstack => "openstack",
            Target::Proxmox => "proxmox",
            Target::Qemu => "qemu",
            Target::QemuMicrovm => "qemu-microvm",
            Target::Usb => "usb",
            Target::Utm => "utm",
            Target::Virtualbox => "virtualbox",
            Target::Vmware => "vmware",
            Target::Vultr => "vultr",
        }
    }

    /// File name of the page that says how to import the image `image`.
    pub fn page_name(self, image: &str) -> String {
        format!("{image}.{}.md", self.name())
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Target;

    #[test]
    fn names_are_those_of_recipes() {
        for target in Target::ALL {
            let written = serde_json::to_value(target).unwrap();
            assert_eq!(written, target.name());
        }
        let schema = schemars::schema_for!(Target);
        let known = schema.get("oneOf").unwrap().as_array().unwrap().len();
        assert_eq!(known, Target::ALL.len());
    }
}
