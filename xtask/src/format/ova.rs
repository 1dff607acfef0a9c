//! OVA: one file that VirtualBox, VMware and others import as a whole virtual machine.
//!
//! Source: DMTF's DSP0243, "Open Virtualization Format Specification" 1.1. An OVA is a tar archive
//! of an OVF descriptor, which must come first, the disk (a streamOptimized VMDK) and a manifest of
//! SHA-256 sums, which may come last.

use super::digest::{Hashed, sha256};
use super::vmdk::VmdkStream;
use super::{Options, Sink};
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

/// Block size of a tar archive in bytes.
const BLOCK: u64 = 512;

/// The virtual machine that an OVA describes. It can be changed during or after the import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Number of processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Whether it boots with UEFI; otherwise it boots with BIOS.
    pub uefi: bool,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine {
            cpus: 1,
            memory_mib: 1024,
            uefi: false,
        }
    }
}

/// Writes an OVA.
#[derive(Debug)]
pub struct Ova {
    disk: VmdkStream<Hashed<BufWriter<File>>>,
    /// A second handle, for what is written at the front at the end.
    file: File,
    size: u64,
    options: Options,
    /// Length of the descriptor in bytes: it does not depend on the disk's contents.
    descriptor_len: u64,
}

impl Ova {
    /// Starts on an empty file, for a machine with a disk of `size` bytes.
    pub fn new(file: File, size: u64, options: &Options) -> io::Result<Ova> {
        let longest = descriptor(size, u64::MAX, u64::MAX, options);
        let descriptor_len = longest.len() as u64;
        let mut out = file.try_clone()?;
        out.seek(SeekFrom::Start(disk_at(descriptor_len)))?;
        let out = Hashed::new(BufWriter::with_capacity(1 << 20, out));
        let inner = Options {
            name: disk_name(options),
            ..options.clone()
        };
        Ok(Ova {
            disk: VmdkStream::new(out, size, &inner)?,
            file,
            size,
            options: options.clone(),
            descriptor_len,
        })
    }
}

impl Sink for Ova {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.data(offset, bytes)
    }

    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.disk.zeros(offset, len)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.disk.finish()?;
        let content = self.disk.content();
        let disk = self.disk.out();
        let (len, disk_sum) = (disk.len(), disk.hex());
        disk.get_mut().flush()?;

        let mut descriptor = descriptor(self.size, len, content, &self.options);
        // White space may follow the last element.
        while (descriptor.len() as u64) < self.descriptor_len {
            descriptor.push('\n');
        }
        let name = &self.options.name;
        let ovf = format!("{name}.ovf");
        let vmdk = format!("{}.vmdk", disk_name(&self.options));
        self.file
            .write_all_at(&self.entry(&ovf, self.descriptor_len)?, 0)?;
        self.file.write_all_at(descriptor.as_bytes(), BLOCK)?;
        let at = disk_at(self.descriptor_len);
        self.file
            .write_all_at(&self.entry(&vmdk, len)?, at - BLOCK)?;

        let manifest = format!(
            "SHA256({ovf})= {}\nSHA256({vmdk})= {disk_sum}\n",
            sha256(descriptor.as_bytes())?
        );
        let at = (at + len).next_multiple_of(BLOCK);
        let header = self.entry(&format!("{name}.mf"), manifest.len() as u64)?;
        self.file.write_all_at(&header, at)?;
        self.file.write_all_at(manifest.as_bytes(), at + BLOCK)?;
        // Two empty blocks end the archive.
        let end = (at + BLOCK + manifest.len() as u64).next_multiple_of(BLOCK);
        self.file.set_len(end + 2 * BLOCK)
    }
}

impl Ova {
    /// The tar header of a file.
    fn entry(&self, name: &str, len: u64) -> io::Result<[u8; 512]> {
        // DSP0243 asks for "ustar". Sizes of 8 GiB and more are stored as in GNU tar; all programs
        // that read OVA understand that.
        let mut header = tar::Header::new_ustar();
        header.set_path(name)?;
        header.set_size(len);
        header.set_mode(0o644);
        header.set_mtime(u64::try_from(self.options.epoch).unwrap_or(0));
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        Ok(*header.as_bytes())
    }
}

/// Offset of the disk in the archive, in bytes.
fn disk_at(descriptor_len: u64) -> u64 {
    (BLOCK + descriptor_len).next_multiple_of(BLOCK) + BLOCK
}

/// Name of the disk, without an extension.
fn disk_name(options: &Options) -> String {
    format!("{}-disk1", options.name)
}

/// The OVF descriptor: `size` is the size of the disk, `len` that of its file, `content` the amount
/// of nonzero data on the disk; all in bytes.
fn descriptor(size: u64, len: u64, content: u64, options: &Options) -> String {
    let Machine {
        cpus,
        memory_mib,
        uefi,
    } = options.machine;
    let name = escaped(&options.name);
    let firmware = if uefi {
        "\n      <vmw:Config ovf:required=\"false\" vmw:key=\"firmware\" vmw:value=\"efi\"/>"
    } else {
        ""
    };
    let size = size.next_multiple_of(512);
    // Operating system 101 is "Linux 64-Bit" in the CIM list. Resource types, also from CIM: 3
    // processor, 4 memory, 5 IDE controller, 10 Ethernet adapter, 17 disk.
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:href="{name}-disk1.vmdk" ovf:id="file1" ovf:size="{len}"/>
  </References>
  <DiskSection>
    <Info>Virtual disks</Info>
    <Disk ovf:capacity="{size}" ovf:capacityAllocationUnits="byte" ovf:diskId="disk1" ovf:fileRef="file1" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized" ovf:populatedSize="{content}"/>
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="NAT">
      <Description>NAT</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{name}">
    <Info>A virtual machine</Info>
    <Name>{name}</Name>
    <OperatingSystemSection ovf:id="101" vmw:osType="otherLinux64Guest">
      <Info>The guest operating system</Info>
      <Description>Linux, 64-bit</Description>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Virtual hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType>
      </System>
      <Item>
        <rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits>
        <rasd:Description>Number of virtual CPUs</rasd:Description>
        <rasd:ElementName>{cpus} virtual CPU(s)</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>{cpus}</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
        <rasd:Description>Memory</rasd:Description>
        <rasd:ElementName>{memory_mib} MB of memory</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>{memory_mib}</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:Address>0</rasd:Address>
        <rasd:Description>IDE controller</rasd:Description>
        <rasd:ElementName>ideController0</rasd:ElementName>
        <rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>PIIX4</rasd:ResourceSubType>
        <rasd:ResourceType>5</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>0</rasd:AddressOnParent>
        <rasd:ElementName>disk1</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/disk1</rasd:HostResource>
        <rasd:InstanceID>4</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
        <rasd:Connection>NAT</rasd:Connection>
        <rasd:ElementName>ethernet0</rasd:ElementName>
        <rasd:InstanceID>5</rasd:InstanceID>
        <rasd:ResourceSubType>E1000</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType>
      </Item>{firmware}
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"#
    )
}

/// Escapes text for an XML attribute or element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Ova;
    use crate::format::Sink;
    use crate::format::digest::sha256;
    use crate::format::tests::{options, written};
    use std::io::Read;

    fn files(ova: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut archive = tar::Archive::new(ova);
        let entries = archive.entries().unwrap();
        let read = entries.map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (name, bytes)
        });
        read.collect()
    }

    fn fill(sink: &mut dyn Sink) {
        sink.zeros(0, 70_000).unwrap();
        sink.data(70_000, &[7; 100_000]).unwrap();
        sink.zeros(170_000, (1 << 20) - 170_000).unwrap();
    }

    #[test]
    fn the_descriptor_comes_first_and_the_sums_are_right() {
        let new = |file, size| Ova::new(file, size, &options()).unwrap();
        let ova = written(1 << 20, new, fill);
        let files = files(&ova);
        let names: Vec<&str> = files.iter().map(|(name, _)| &name[..]).collect();
        assert_eq!(names, ["test.ovf", "test-disk1.vmdk", "test.mf"]);
        let manifest = String::from_utf8(files[2].1.clone()).unwrap();
        let wanted: String = files[..2]
            .iter()
            .map(|(name, bytes)| format!("SHA256({name})= {}\n", sha256(&bytes[..]).unwrap()))
            .collect();
        assert_eq!(manifest, wanted);
        let ovf = String::from_utf8(files[0].1.clone()).unwrap();
        assert!(ovf.contains("ovf:capacity=\"1048576\""));
        assert!(ovf.contains(&format!("ovf:size=\"{}\"", files[1].1.len())));
        // Grains 1 and 2 are not zero.
        assert!(ovf.contains("ovf:populatedSize=\"131072\""), "{ovf}");
        assert!(!ovf.contains("firmware"));
        assert_eq!(files[1].1[..4], *b"KDMV");
    }

    #[test]
    fn a_machine_for_uefi_says_so() {
        let mut some = options();
        some.machine.uefi = true;
        let ova = written(1 << 20, |f, size| Ova::new(f, size, &some).unwrap(), fill);
        let ovf = String::from_utf8(files(&ova)[0].1.clone()).unwrap();
        assert!(ovf.contains("vmw:key=\"firmware\" vmw:value=\"efi\""));
    }
}
