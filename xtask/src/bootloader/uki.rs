//! Unified kernel images (UKI): one EFI program that contains a kernel, its initrd, its arguments
//! and the system's name. UEFI firmware can start it without a boot loader, and systemd-boot lists
//! those in `EFI/Linux` automatically.
//!
//! It is systemd's stub with more sections after the stub's own. Rules: UAPI group, "Unified Kernel
//! Image"; Microsoft, "PE Format". Order, flags and addresses of the sections are those of
//! systemd's `ukify` 257; a test compares the results.

use crate::error::Report;
use crate::rootfs::Content;
use object::LittleEndian as LE;
use object::pe;
use object::read::pe::PeFile64;

/// Bytes at the start of a kernel that [`parts`] reads: they contain its headers.
pub const KERNEL_HEAD: usize = 4096;

/// Size of a section's header in bytes.
const SECTION_HEADER: usize = pe::IMAGE_SIZEOF_SECTION_HEADER;

/// Offset in bytes of the optional header after the signature `PE\0\0`, and offsets in it (PE32+).
const OPTIONAL: usize = 24;
const SIZE_OF_INITIALIZED_DATA: usize = OPTIONAL + 8;
const SIZE_OF_IMAGE: usize = OPTIONAL + 56;
const SIZE_OF_HEADERS: usize = OPTIONAL + 60;
const CHECK_SUM: usize = OPTIONAL + 64;
const DLL_CHARACTERISTICS: usize = OPTIONAL + 70;

/// "The image is compatible with data that cannot be executed."
const NX_COMPAT: u16 = 0x100;

/// Number of the data directory of signatures.
const SIGNATURES: usize = pe::IMAGE_DIRECTORY_ENTRY_SECURITY;

/// What is added to the stub.
#[derive(Debug, Clone)]
pub struct Sections {
    /// The system's os-release(5): `.osrel`.
    pub os_release: Content,
    /// Kernel arguments: `.cmdline`.
    pub arguments: String,
    /// Version of the kernel: `.uname`.
    pub version: String,
    /// The kernel: `.linux`.
    pub linux: Content,
    /// Its initrd: `.initrd`.
    pub initrd: Content,
}

/// The file of a UKI, as parts that follow each other. Kernel and initrd are not copied.
///
/// `kernel_head` is the start of the kernel, at most [`KERNEL_HEAD`] bytes. Fails if the stub is
/// not a systemd stub, or if the kernel is not an EFI program.
pub fn parts(stub: &[u8], kernel_head: &[u8], what: Sections) -> Result<Vec<Content>, Report> {
    let text = |s: &str| Content::Bytes(s.as_bytes().into());
    let mut file = File::open(stub)?;
    if !nx_compatible(kernel_head)? {
        // Firmware that enforces it would make such a kernel fail: the stub runs it in place.
        let old = file.u16(file.pe + DLL_CHARACTERISTICS);
        file.put16(file.pe + DLL_CHARACTERISTICS, old & !NX_COMPAT);
    }
    let data = pe::IMAGE_SCN_CNT_INITIALIZED_DATA.0 | pe::IMAGE_SCN_MEM_READ.0;
    let code = pe::IMAGE_SCN_CNT_CODE.0 | pe::IMAGE_SCN_MEM_READ.0;
    for (name, content, flags) in [
        (".osrel", what.os_release, data),
        (".cmdline", text(&what.arguments), data),
        (".uname", text(&what.version), data),
        (".linux", what.linux, code),
        (".initrd", what.initrd, data),
    ] {
        file.add(name, content, flags)?;
    }
    Ok(file.finish())
}

fn wrong_stub(what: &str) -> Report {
    Report::failure(format!(
        "making a unified kernel image: the stub of systemd-boot {what}"
    ))
    .hint("use linuxx64.efi.stub or linuxaa64.efi.stub of the package systemd-boot-efi")
}

/// Whether a kernel declares that it works where data cannot be executed.
fn nx_compatible(head: &[u8]) -> Result<bool, Report> {
    let at = head
        .get(60..64)
        .and_then(|b| Some(u32::from_le_bytes(b.try_into().ok()?) as usize))
        .filter(|at| head.starts_with(b"MZ") && head.get(*at..*at + 4) == Some(&b"PE\0\0"[..]));
    let flags = at.and_then(|at| head.get(at + DLL_CHARACTERISTICS..at + DLL_CHARACTERISTICS + 2));
    let Some(flags) = flags else {
        return Err(Report::mistake(
            "making a unified kernel image: the kernel is not an EFI program, so UEFI firmware cannot start it",
        )
        .hint("install a kernel that was built with CONFIG_EFI_STUB (distributions' kernels are), or use `boot: bios`"));
    };
    Ok(u16::from_le_bytes([flags[0], flags[1]]) & NX_COMPAT != 0)
}

/// A UKI that is being built: the stub with its headers, and what follows it.
struct File {
    /// The stub: headers and the data of its own sections.
    bytes: Vec<u8>,
    /// Offset of its signature `PE\0\0`.
    pe: usize,
    /// Offset of the next section's header.
    next_header: usize,
    /// Alignment of sections in the file and in memory, in bytes.
    file_alignment: u64,
    section_alignment: u64,
    /// Offset of the next section in the file and in memory.
    at: u64,
    address: u64,
    rest: Vec<Content>,
}

impl File {
    /// Reads a stub.
    fn open(stub: &[u8]) -> Result<File, Report> {
        let no_program = |e: object::Error| wrong_stub(&format!("is not an EFI program ({e})"));
        let parsed = PeFile64::parse(stub).map_err(no_program)?;
        let headers = parsed.nt_headers();
        let optional = &headers.optional_header;
        if parsed
            .data_directory(SIGNATURES)
            .is_some_and(|d| d.virtual_address.get(LE) != 0)
        {
            return Err(wrong_stub(
                "is signed, and the signature would become invalid",
            ));
        }
        let file_alignment = optional.file_alignment.get(LE);
        let section_alignment = optional.section_alignment.get(LE);
        if !file_alignment.is_power_of_two() || !section_alignment.is_power_of_two() {
            return Err(wrong_stub("has an alignment that is not a power of two"));
        }
        let pe = parsed.dos_header().nt_headers_offset() as usize;
        let table =
            pe + OPTIONAL + usize::from(headers.file_header.size_of_optional_header.get(LE));
        let align = |n: u32| n.next_multiple_of(file_alignment);
        let head = align(optional.size_of_headers.get(LE));
        let mut file = File {
            bytes: stub.to_vec(),
            pe,
            next_header: table,
            file_alignment: file_alignment.into(),
            section_alignment: section_alignment.into(),
            at: head.into(),
            address: 0,
            rest: Vec::new(),
        };
        file.bytes.resize(head as usize, 0);
        // Each section gets a new offset: in old stubs they are not aligned. What follows the last
        // one (symbols) is of no use to firmware.
        for section in parsed.section_table().iter() {
            let data = section
                .pe_data(stub)
                .map_err(|e| wrong_stub(&format!("is damaged ({e})")))?;
            let virtual_size = section.virtual_size.get(LE);
            let size = align(section.size_of_raw_data.get(LE));
            let at = file.bytes.len();
            if section.pointer_to_raw_data.get(LE) < head && size > 0 {
                return Err(wrong_stub("has a section inside its headers"));
            }
            // `pe_data` ends where the section ends in memory, which may be earlier than in the
            // file.
            file.bytes.extend_from_slice(data);
            file.bytes.resize(at + size as usize, 0);
            file.put32(file.next_header + 16, size);
            file.put32(file.next_header + 20, if size > 0 { at as u32 } else { 0 });
            file.next_header += SECTION_HEADER;
            let end = section.virtual_address.get(LE).saturating_add(virtual_size);
            file.address = file.address.max(u64::from(end));
        }
        file.at = file.bytes.len() as u64;
        // The symbols are dropped: PointerToSymbolTable, NumberOfSymbols.
        file.put32(pe + 12, 0);
        file.put32(pe + 16, 0);
        file.put32(pe + SIZE_OF_HEADERS, head);
        Ok(file)
    }

    /// Adds a section.
    fn add(&mut self, name: &str, content: Content, flags: u32) -> Result<(), Report> {
        let head = self.u32(self.pe + SIZE_OF_HEADERS) as usize;
        if self.next_header + SECTION_HEADER > head {
            return Err(wrong_stub(&format!("has no room for the section {name}")));
        }
        let len = content.len();
        let raw = len.next_multiple_of(self.file_alignment);
        let address = self.address.next_multiple_of(self.section_alignment);
        let too_large =
            |_| Report::failure("making a unified kernel image: it would be larger than 4 GiB");
        let number = |n: u64| u32::try_from(n).map_err(too_large);
        // Everything that follows fits if these do.
        number(self.at + raw)?;
        number((address + len).next_multiple_of(self.section_alignment))?;
        let header = self.next_header;
        self.bytes[header..header + name.len()].copy_from_slice(name.as_bytes());
        for (at, value) in [
            (8, number(len)?),
            (12, number(address)?),
            (16, number(raw)?),
            (20, number(self.at)?),
            (36, flags),
        ] {
            self.put32(header + at, value);
        }
        let sections = self.u16(self.pe + 6);
        self.put16(self.pe + 6, sections + 1);
        let data = self.u32(self.pe + SIZE_OF_INITIALIZED_DATA);
        self.put32(
            self.pe + SIZE_OF_INITIALIZED_DATA,
            data.saturating_add(number(len)?),
        );
        self.next_header += SECTION_HEADER;
        self.address = address + len;
        self.at += raw;
        self.rest.push(content);
        if let Ok(padding) = usize::try_from(raw - len)
            && padding > 0
        {
            self.rest.push(Content::Bytes(vec![0; padding].into()));
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<Content> {
        let image = self.address.next_multiple_of(self.section_alignment);
        // This was checked when the last section was added.
        self.put32(
            self.pe + SIZE_OF_IMAGE,
            u32::try_from(image).unwrap_or(u32::MAX),
        );
        self.put32(self.pe + CHECK_SUM, 0);
        let mut parts = vec![Content::Bytes(self.bytes.into())];
        parts.extend(self.rest);
        parts
    }

    // `PeFile64::parse` made sure that all headers are inside the stub.

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    fn put16(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn put32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}
