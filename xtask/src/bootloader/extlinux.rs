//! Installs EXTLINUX in a file system that is not mounted.
//!
//! `extlinux --install` writes ldlinux.sys, asks the kernel for its sectors, and writes their
//! numbers into the file and into the boot sector. Here the sectors are known as soon as the file
//! system is laid out, so everything is patched before a byte is written.
//!
//! Source of all offsets and rules here: syslinux 6.04, libinstaller/{syslinux.h, syslxint.h,
//! syslxmod.c, setadv.c} and extlinux/main.c. A test in tests/ compares the result byte for byte
//! with that of the real installer.

use crate::error::Report;
use object::{Object, ObjectSection};

/// Size of a sector in bytes.
const SECTOR: usize = 512;

/// Marks the patch area in ldlinux.sys and ends the boot sector (`LDLINUX_MAGIC`).
const MAGIC: u32 = 0x3eb2_02fe;

/// Offset of the patch area in ldlinux.sys, counted from the text `\r\nSYSLINUX `.
const MAGIC_AT: usize = 0x18;

/// Sectors of the auxiliary data vector after ldlinux.sys: two copies of one sector.
const ADV_SECTORS: usize = 2;

/// Plausible sizes of ldlinux.sys in bytes. It has 58,368 bytes in Debian 12 and 58,880 in Debian
/// 13.
const LDLINUX_SIZES: std::ops::RangeInclusive<usize> = (32 << 10)..=(96 << 10);

/// Geometry that the boot sector gives to old BIOSes: the one that `extlinux` itself uses if the
/// disk is too large for CHS.
const HEADS: u16 = 255;
const SECTORS_PER_TRACK: u16 = 63;

/// The parts of EXTLINUX that are embedded in its installer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The boot sector of the partition: 512 bytes.
    boot_sector: Vec<u8>,
    /// The loader's first stage, not yet patched.
    ldlinux_sys: Vec<u8>,
    /// Its core module; must come from the same build as `ldlinux_sys`.
    ldlinux_c32: Vec<u8>,
}

impl Parts {
    /// Extracts the parts from the program `extlinux` (an ELF file for any architecture): they are
    /// arrays in its `.data` section, and no package ships them as files.
    pub fn from_installer(elf: &[u8]) -> Result<Parts, Report> {
        let wrong = |what: &str| {
            Report::failure(format!("extracting EXTLINUX from its installer: {what}"))
                .hint("use the program `extlinux` of the syslinux 6.04 packages, or --bootloader-dir with that file in it")
        };
        let file =
            object::File::parse(elf).map_err(|e| wrong(&format!("it is not an ELF file ({e})")))?;
        let section = |name: &str| {
            file.section_by_name(name)
                .and_then(|s| s.data().ok())
                .ok_or_else(|| wrong(&format!("it has no section {name}")))
        };
        let (data, rodata) = (section(".data")?, section(".rodata")?);

        let boot = find(data, |w| {
            w.len() >= SECTOR
                && w[0] == 0xEB
                && &w[3..11] == b"SYSLINUX"
                && le32(w, 0x1F8) == Some(MAGIC)
                && w[510..512] == [0x55, 0xAA]
        })
        .ok_or_else(|| wrong("it contains no boot sector"))?;

        // The text appears twice: the loader's copyright line contains it too, but without the
        // magic.
        let sys = find(data, |w| {
            w.starts_with(b"\r\nSYSLINUX ") && le32(w, MAGIC_AT) == Some(MAGIC)
        })
        .ok_or_else(|| wrong("it contains no ldlinux.sys"))?;
        // Its length is in a separate variable; nothing else in .rodata looks like it.
        let mut lengths: Vec<usize> = rodata
            .chunks_exact(4)
            .filter_map(|c| le32(c, 0))
            .filter_map(|n| usize::try_from(n).ok())
            .filter(|n| n % SECTOR == 0 && LDLINUX_SIZES.contains(n))
            .collect();
        lengths.dedup();
        let [len] = lengths[..] else {
            return Err(wrong(&format!(
                "the length of ldlinux.sys is not clear: {lengths:?} could be it"
            )));
        };
        let ldlinux_sys = data
            .get(sys..sys + len)
            .ok_or_else(|| wrong("ldlinux.sys is cut off"))?;

        let c32 = find(data, |w| {
            // A 32-bit shared object for the i386: ELFCLASS32, ET_DYN, EM_386.
            w.starts_with(b"\x7fELF\x01\x01") && w.get(16..20) == Some(&[3, 0, 3, 0])
        })
        .ok_or_else(|| wrong("it contains no ldlinux.c32"))?;
        let ldlinux_c32 = elf32_len(&data[c32..])
            .and_then(|len| data.get(c32..c32 + len))
            .ok_or_else(|| wrong("ldlinux.c32 is cut off"))?;

        Ok(Parts {
            boot_sector: data[boot..boot + SECTOR].to_vec(),
            ldlinux_sys: ldlinux_sys.to_vec(),
            ldlinux_c32: ldlinux_c32.to_vec(),
        })
    }

    /// Contents of the file ldlinux.c32.
    pub fn ldlinux_c32(&self) -> &[u8] {
        &self.ldlinux_c32
    }

    /// Length of the file ldlinux.sys in bytes: the loader in whole sectors, and the auxiliary data
    /// vector.
    pub fn ldlinux_sys_len(&self) -> u64 {
        (self.ldlinux_sys.len().next_multiple_of(SECTOR) + ADV_SECTORS * SECTOR) as u64
    }

    /// Patches both stages for a partition.
    ///
    /// `runs` are the extents of the file ldlinux.sys, as (offset, length) in bytes from the start
    /// of the partition, in the order of the file; each one starts at a sector. `dir` is the
    /// directory of ldlinux.sys in its file system (`/boot/extlinux`). `start` and `len` are the
    /// offset and the length of the partition in bytes.
    pub fn install(
        &self,
        runs: &[(u64, u64)],
        dir: &str,
        start: u64,
        len: u64,
    ) -> Result<Installed, Report> {
        let wrong = |what: &str| Report::failure(format!("installing EXTLINUX: {what}"));
        let mut sys = self.ldlinux_sys.clone();
        sys.resize(sys.len().next_multiple_of(SECTOR), 0);
        let data_sectors = sys.len() / SECTOR;
        let lbas = sectors(runs);
        if lbas.len() < data_sectors + ADV_SECTORS {
            return Err(wrong("ldlinux.sys was laid out too short"));
        }

        // The extended patch area is ten u16; some of them are needed (struct ext_patch_area).
        let area = usize::from(le16(&sys, MAGIC_AT + 22).ok_or_else(|| wrong("no patch area"))?);
        let field = |n: usize| {
            le16(&self.ldlinux_sys, area + 2 * n)
                .map(usize::from)
                .ok_or_else(|| wrong("the extended patch area is cut off"))
        };
        let (adv_at, dir_at, dir_len) = (field(0)?, field(1)?, field(2)?);
        let (extents_at, extents_count) = (field(5)?, field(6)?);
        let (sector1_low, sector1_high) = (field(7)?, field(8)?);

        let mut boot = self.boot_sector.clone();
        put(&mut boot, sector1_low, &low(lbas[0]))?;
        put(&mut boot, sector1_high, &high(lbas[0]))?;
        bpb(&mut boot, start, len)?;

        let sectors16 =
            u16::try_from(data_sectors).map_err(|_| wrong("ldlinux.sys is too long"))?;
        let dwords = self.ldlinux_sys.len() / 4;
        put(&mut sys, MAGIC_AT + 8, &sectors16.to_le_bytes())?;
        put(&mut sys, MAGIC_AT + 10, &[ADV_SECTORS as u8, 0])?;
        put(&mut sys, MAGIC_AT + 12, &(dwords as u32).to_le_bytes())?;

        let extents = extents(&lbas[1..data_sectors]);
        if extents.len() > extents_count {
            return Err(wrong("ldlinux.sys is too fragmented"));
        }
        let table = sys
            .get_mut(extents_at..extents_at + extents_count * 10)
            .ok_or_else(|| wrong("the table of extents is cut off"))?;
        table.fill(0);
        for (entry, (lba, count)) in table.chunks_exact_mut(10).zip(extents) {
            entry[..8].copy_from_slice(&lba.to_le_bytes());
            entry[8..].copy_from_slice(&count.to_le_bytes());
        }
        for (i, lba) in lbas[data_sectors..data_sectors + ADV_SECTORS]
            .iter()
            .enumerate()
        {
            put(&mut sys, adv_at + 8 * i, &lba.to_le_bytes())?;
        }
        if dir.len() >= dir_len {
            return Err(wrong(&format!(
                "the path {dir:?} is longer than its {dir_len} bytes"
            )));
        }
        put(&mut sys, dir_at, dir.as_bytes())?;
        put(&mut sys, dir_at + dir.len(), &[0])?;

        put(&mut sys, MAGIC_AT + 16, &[0; 4])?;
        let sum = sys[..dwords * 4]
            .chunks_exact(4)
            .filter_map(|c| le32(c, 0))
            .fold(MAGIC, u32::wrapping_sub);
        put(&mut sys, MAGIC_AT + 16, &sum.to_le_bytes())?;

        for _ in 0..ADV_SECTORS {
            sys.extend_from_slice(&adv());
        }
        Ok(Installed {
            boot_sector: boot,
            ldlinux_sys: sys,
        })
    }
}

/// EXTLINUX after patching, for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The first 512 bytes of the partition.
    pub boot_sector: Vec<u8>,
    /// Contents of the file ldlinux.sys.
    pub ldlinux_sys: Vec<u8>,
}

/// An empty auxiliary data vector (setadv.c, `cleanup_adv`): head, no data, tail.
fn adv() -> [u8; SECTOR] {
    const HEAD: u32 = 0x5a2d_2fa5;
    /// Value of the checksum over everything between head and tail.
    const SUM: u32 = 0xa304_1767;
    const TAIL: u32 = 0xdd28_bf64;
    let mut sector = [0; SECTOR];
    sector[0..4].copy_from_slice(&HEAD.to_le_bytes());
    sector[4..8].copy_from_slice(&SUM.to_le_bytes());
    sector[508..].copy_from_slice(&TAIL.to_le_bytes());
    sector
}

/// Fills the fields that describe the location of the partition and the disk's addressing (struct
/// fat_boot_sector): bytes per sector, sectors, geometry, hidden sectors, total sectors.
fn bpb(boot: &mut [u8], start: u64, len: u64) -> Result<(), Report> {
    let total = len / SECTOR as u64;
    let hidden = u32::try_from(start / SECTOR as u64).unwrap_or(0);
    // The installer also fills the large field where the small one would be enough.
    let small = u16::try_from(total).unwrap_or(0);
    let large = u32::try_from(total).unwrap_or(u32::MAX);
    put(boot, 0x0B, &(SECTOR as u16).to_le_bytes())?;
    put(boot, 0x13, &small.to_le_bytes())?;
    put(boot, 0x18, &SECTORS_PER_TRACK.to_le_bytes())?;
    put(boot, 0x1A, &HEADS.to_le_bytes())?;
    put(boot, 0x1C, &hidden.to_le_bytes())?;
    put(boot, 0x20, &large.to_le_bytes())
}

/// The sectors of these runs, in order, relative to the partition.
fn sectors(runs: &[(u64, u64)]) -> Vec<u64> {
    runs.iter()
        .flat_map(|(offset, len)| {
            let first = offset / SECTOR as u64;
            first..first + len.div_ceil(SECTOR as u64)
        })
        .collect()
}

/// Joins sectors into (first sector, count). One read of the loader must be shorter than 64 KiB and
/// must not cross a 64 KiB boundary in memory, where the loader puts them from 0x8000 on
/// (syslxmod.c, `generate_extents`).
fn extents(lbas: &[u64]) -> Vec<(u64, u16)> {
    const LOAD: u64 = 0x8000;
    let mut out: Vec<(u64, u16)> = Vec::new();
    let mut base = LOAD;
    for (address, &lba) in (LOAD..).step_by(SECTOR).zip(lbas) {
        if let Some((first, count)) = out.last_mut() {
            let bytes = (u64::from(*count) + 1) * SECTOR as u64;
            let follows = lba == *first + u64::from(*count);
            let same_64k = (address ^ (base + bytes - 1)) >> 16 == 0;
            if follows && bytes < 65536 && same_64k {
                *count += 1;
                continue;
            }
        }
        base = address;
        out.push((lba, 1));
    }
    out
}

/// Length of an ELF32 file according to its headers: the end of its last section or table.
fn elf32_len(elf: &[u8]) -> Option<usize> {
    let sections = usize::try_from(le32(elf, 0x20)?).ok()?;
    let size = usize::from(le16(elf, 0x2E)?);
    let count = usize::from(le16(elf, 0x30)?);
    Some(sections + size * count)
}

/// First offset in `data`, with any alignment, whose rest satisfies `is_it`.
fn find(data: &[u8], is_it: impl Fn(&[u8]) -> bool) -> Option<usize> {
    (0..data.len()).find(|&i| is_it(&data[i..]))
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn low(lba: u64) -> [u8; 4] {
    (lba as u32).to_le_bytes()
}

fn high(lba: u64) -> [u8; 4] {
    ((lba >> 32) as u32).to_le_bytes()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Result<(), Report> {
    bytes
        .get_mut(at..at + value.len())
        .map(|place| place.copy_from_slice(value))
        .ok_or_else(|| {
            Report::failure("installing EXTLINUX: a field is outside the loader")
                .hint("the `extlinux` program has an unknown version; use the one of syslinux 6.04")
        })
}
