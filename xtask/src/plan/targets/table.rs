//! The table of targets. A row has only the rules that the platform's own documents state, and names
//! the document; where it names none, there is no rule.

use super::{Names, Platform};
use crate::model::size::{GIB, MIB};
use crate::model::{Arch, BootMode, Format, Target};

const BOTH: &[Arch] = &[Arch::Amd64, Arch::Arm64];
const PC: &[Arch] = &[Arch::Amd64];

/// No limit of the platform's own: the file system's and the format's are lower.
const ANY: u64 = u64::MAX;

/// Largest disk of a VHD in bytes. Microsoft Learn, Windows Server, "Should I create a generation 1
/// or 2 virtual machine in Hyper-V?", "Larger boot volume": 2040 GB for a .vhd.
const VHD_MOST: u64 = 2040 * GIB;

/// Most bytes of a VHDX, from the same section: 64 TB.
const VHDX_MOST: u64 = 64 << 40;

/// Microsoft Learn, "Naming rules and restrictions for Azure resources", Microsoft.Compute, `disks`
/// and `images`: 1 to 80 characters; letters, digits, `_`, `.` and `-`; a letter or digit first, and
/// a letter, digit or `_` last. Names of images are such except for their length and end.
const AZURE_NAMES: Names = Names {
    rule: "have at most 80 characters and end with a letter, a digit or `_`",
    fits: |name| name.len() <= 80 && !name.ends_with(['.', '-']),
};

/// Microsoft Learn, "Prepare Linux for imaging in Azure" (create-upload-generic), "General Linux
/// system requirements", asks for `rootdelay=300 console=ttyS0 earlyprintk=ttyS0 net.ifnames=0`. Every
/// image has the console. `earlyprintk` only shows faults before the console works, and arm64 does
/// not know it; the names of network interfaces do not matter to the systems that use DHCP on all.
const AZURE_ARGUMENTS: &[&str] = &["rootdelay=300"];

/// Microsoft Learn, REST API of Azure Compute, Disks, `CreationData.uploadSizeBytes`: at least 20 MiB
/// and the 512 bytes of the footer.
const AZURE_LEAST: u64 = 20 * MIB;

/// Every target, in the order of [`Target::ALL`].
pub const ALL: &[Platform] = &[
    // VM Import/Export User Guide, "System requirements", "Image formats", and "Programmatic
    // modifications made to VMs", "Import VM without modifications": import a snapshot from a VHD, a
    // VMDK or a raw file, and register it. Amazon EC2 API Reference, RegisterImage: `Name` has 3 to 128
    // characters, `BootMode` uefi-preferred means that both work, and arm64 is an architecture.
    Platform {
        target: Target::Aws,
        title: "Amazon EC2",
        formats: &[
            Format::Raw,
            Format::VmdkStream,
            Format::VhdFixed,
            Format::Vhd,
        ],
        firmware: BootMode::Hybrid,
        archs: BOTH,
        kernel_arguments: &[],
        least: 0,
        most: ANY,
        names: Some(Names {
            rule: "have 3 to 128 characters",
            fits: |name| (3..=128).contains(&name.len()),
        }),
        import: include_str!("pages/aws.md"),
    },
    // Microsoft Learn, "Prepare Linux for imaging in Azure", "General Linux installation notes": only
    // fixed VHD, whole MiB (1 and 8), generation 2 boots with UEFI (2). "Support for generation 2 VMs
    // on Azure": no VHDX, no switch between generations. "Upload a VHD to Azure" has the commands.
    Platform {
        target: Target::Azure,
        title: "Microsoft Azure, generation 2",
        formats: &[Format::VhdFixed],
        firmware: BootMode::Uefi,
        archs: BOTH,
        kernel_arguments: AZURE_ARGUMENTS,
        least: AZURE_LEAST,
        most: VHD_MOST,
        names: Some(AZURE_NAMES),
        import: include_str!("pages/azure.md"),
    },
    // The same documents: generation 1 boots with BIOS, and has no OS disk of more than 2 TB.
    Platform {
        target: Target::AzureGen1,
        title: "Microsoft Azure, generation 1",
        formats: &[Format::VhdFixed],
        firmware: BootMode::Bios,
        archs: PC,
        kernel_arguments: AZURE_ARGUMENTS,
        least: AZURE_LEAST,
        most: VHD_MOST,
        names: Some(AZURE_NAMES),
        import: include_str!("pages/azure.md"),
    },
    // DigitalOcean documentation, "Custom Images", "Image requirements" and "Limits": raw with an MBR
    // or a GPT, qcow2, VHDX, VDI or VMDK; 100 GB or less uncompressed; ext3 or ext4; cloud-init and
    // sshd. Whether a GB is 10^9 bytes is not said, so the larger unit is allowed. Its API Reference,
    // "Create a Custom Image": gzip is accepted. Droplets are x86-64 machines.
    Platform {
        target: Target::Digitalocean,
        title: "DigitalOcean",
        formats: &[
            Format::Qcow2,
            Format::Raw,
            Format::Vdi,
            Format::Vhdx,
            Format::Vmdk,
        ],
        firmware: BootMode::Hybrid,
        archs: PC,
        kernel_arguments: &[],
        least: 0,
        most: 100 * GIB,
        names: None,
        import: include_str!("pages/digitalocean.md"),
    },
    // Google Cloud documentation, "Import boot disk images to Compute Engine manually": `disk.raw`,
    // whole GB, gzip, the old GNU format of tar; an MBR or a GPT. gcloud reference, "compute images
    // create": UEFI_COMPATIBLE and ARM64. Compute Engine API, `images.name`: 1 to 63 characters of
    // RFC 1035.
    Platform {
        target: Target::Gcp,
        title: "Google Cloud",
        formats: &[Format::Gcp],
        firmware: BootMode::Hybrid,
        archs: BOTH,
        kernel_arguments: &[],
        least: GIB,
        most: ANY,
        names: Some(Names {
            rule: "have at most 63 lower-case letters, digits and `-`, begin with a letter, and do not end with `-`",
            fits: |name| {
                let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                name.len() <= 63
                    && name.starts_with(|c: char| c.is_ascii_lowercase())
                    && !name.ends_with('-')
                    && name.chars().all(fits)
            },
        }),
        import: include_str!("pages/gcp.md"),
    },
    // Hetzner has no upload: "hcloud-upload-image upload", reference of the command line: a raw image
    // (or a qcow2 of at most 960 MB), for x86 or arm, is written to the disk of a server, which
    // becomes a snapshot.
    Platform {
        target: Target::Hetzner,
        title: "Hetzner Cloud",
        formats: &[Format::Raw, Format::Qcow2],
        firmware: BootMode::Hybrid,
        archs: BOTH,
        kernel_arguments: &[],
        least: 0,
        most: ANY,
        names: None,
        import: include_str!("pages/hetzner.md"),
    },
    // Microsoft Learn, "Should I create a generation 1 or 2 virtual machine in Hyper-V?", "Secure
    // Boot" (on by default) and "Larger boot volume"; "Generation 2 Virtual Machine Overview": UEFI,
    // and no disks in VHD format.
    Platform {
        target: Target::Hyperv,
        title: "Hyper-V, generation 2",
        formats: &[Format::Vhdx],
        firmware: BootMode::Uefi,
        archs: BOTH,
        kernel_arguments: &[],
        least: 0,
        most: VHDX_MOST,
        names: None,
        import: include_str!("pages/hyperv.md"),
    },
    // The same documents: generation 1 has a BIOS, and boots from at most 2040 GB in a VHD and 2 TB
    // in a VHDX.
    Platform {
        target: Target::HypervGen1,
        title: "Hyper-V, generation 1",
        formats: &[Format::Vhd, Format::VhdFixed, Format::Vhdx],
        firmware: BootMode::Bios,
        archs: PC,
        kernel_arguments: &[],
        least: 0,
        most: VHD_MOST,
        names: None,
        import: include_str!("pages/hyperv.md"),
    },
    // virt-install's --import, --disk and --boot uefi. No rule of libvirt's own is used: no document was
    // looked up.
    Platform {
        target: Target::Libvirt,
        title: "libvirt",
        formats: &[Format::Qcow2, Format::Raw],
        firmware: BootMode::Hybrid,
        archs: BOTH,
        kernel_arguments: &[],
        least: 0,
        most: ANY,
        names: None,
        import: include_str!("pages/libvirt.md"),
    },
    // python-openstackclient, "image create": the disk formats. Glance documentation, "Useful image
    // properties": `hw_firmware_type` and `architecture`.
    Platform {
        target: Target::Openstack,
        title: "OpenStack",
        formats: &[
            Format::Qcow2,
            Format::Raw,
            Format::Vdi,
            Format::Vmdk,
            Format::Vhd,
            Format::Vhdx,
        ],
        firmware: BootMode::Hybrid,
        archs: BOTH,
        kernel_arguments: &[],
        least: 0,
        most: ANY,
        names: None,
        import: include_str!("pages/openstack.md"),
    },
    // Proxmox VE Administration Guide, "QEMU/KVM Virtual Machines": machines are PC clones, with
    // SeaBIOS or OVMF; qm(1), `create`: `efidisk0`, `serial0`; the schema of its API gives `name`
    // the format dns-name.
    Platform {
        target: Target::Proxmox,
        title: "Proxmox VE",
        formats: &[Format::Qcow2, Format::Raw, Format::Vmdk],
        firmware: BootMode::Hybrid,
        archs: PC,
        kernel_arguments: &[],
        least: 0,
        most: ANY,
        names: Some(Names {
            rule: "are DNS names: letters, digits and `-`, with `.` between parts that begin and end with a letter or digit",
            fits: crate::recipe::is_hostname,
        }),
        import: include_str!("pages/proxmox.md"),
    },
    // The options are those that this program itself starts QEMU with (`vm::machine`), shortened.
    Platform {
        target: Target::Qemu,
        title: "QEMU",
        formats: &[Format::Qcow2, Format::Raw],
        firmware: BootMode::Hybrid,
        archs: BOTH,
        kernel_arguments: &[],
        least: 0,
        most: ANY,
        names: None,
        import: include_str!("pages/qemu.md"),
    },
    // QEMU's documentation, "'microvm' virtual platform": x86 only, Linux started with `-kernel`, and
    // `pcie=on` for devices on PCI, whose drivers every initrd for a virtual machine has.
    Platform {
        target: Target::QemuMicrovm,
        title: "QEMU's microvm",
        formats: &[Format::Rootfs],
        firmware: BootMode::Hybrid,
        archs: PC,
        kernel_arguments: &[],
        least: 0,
        most: ANY,
        names: None,
        import: include_str!("pages/qemu-microvm.md"),
    },
    // dd(1). What the machine's firmware is, its owner knows.
    Platform {
        target: Target::Usb,
        title: "a USB stick",
        formats: &[Format::Raw],
        firmware: BootMode::Hybrid,
        archs: BOTH,
        kernel_arguments: &[],
        least: 0,
        most: ANY,
        names: None,
        import: include_str!("pages/usb.md"),
    },
    // UTM runs QEMU, and its own drives are qcow2. No document of its own was looked up: no rule of UTM
    // is used, and the page only names its settings.
    Platform {
        target: Target::Utm,
        title: "UTM",
        formats: &[Format::Qcow2],
        firmware: BootMode::Hybrid,
        archs: BOTH,
        kernel_arguments: &[],
        least: 0,
        most: ANY,
        names: None,
        import: include_str!("pages/utm.md"),
    },
    // Oracle VirtualBox User Manual, "Importing an Appliance in OVF Format". No other rule of
    // VirtualBox is used. The OVA of this program describes a PC, and so do the
    // commands for a VDI.
    Platform {
        target: Target::Virtualbox,
        title: "VirtualBox",
        formats: &[Format::Ova, Format::Vdi],
        firmware: BootMode::Hybrid,
        archs: PC,
        kernel_arguments: &[],
        least: 0,
        most: ANY,
        names: None,
        import: include_str!("pages/virtualbox.md"),
    },
    // OVF Tool User's Guide, "Examples of OVF Tool Syntax": an OVA is deployed on ESXi or vCenter, or
    // becomes a VMX for Workstation and Fusion. The OVA of this program describes a PC, whose firmware
    // is EFI if the image does not boot with BIOS.
    Platform {
        target: Target::Vmware,
        title: "VMware",
        formats: &[Format::Ova],
        firmware: BootMode::Hybrid,
        archs: PC,
        kernel_arguments: &[],
        least: 0,
        most: ANY,
        names: None,
        import: include_str!("pages/vmware.md"),
    },
    // Vultr API v2, "Create Snapshot from URL": `url` of a raw disk, and `uefi`.
    Platform {
        target: Target::Vultr,
        title: "Vultr",
        formats: &[Format::Raw],
        firmware: BootMode::Hybrid,
        archs: BOTH,
        kernel_arguments: &[],
        least: 0,
        most: ANY,
        names: None,
        import: include_str!("pages/vultr.md"),
    },
];
