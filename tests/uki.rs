//! Unified kernel images, checked with objdump.

use crate::common::{checker, content, efi_program, pattern, skipped, temp};
use docker_to_linux::bootloader::uki::{self, Sections};
use docker_to_linux::rootfs::{Content, Store, Stores};
use docker_to_linux::tool::Tool;

/// A section as objdump prints it: name, length, address, place in the file, flags.
#[derive(Debug, PartialEq, Eq)]
struct Section {
    name: String,
    len: usize,
    address: u64,
    at: usize,
    flags: String,
}

/// Every section of an EFI program.
fn sections(program: &[u8]) -> Option<Vec<Section>> {
    let (_keep, dir) = temp();
    let path = dir.join("program.efi");
    fs_err::write(&path, program).unwrap();
    let text = content(checker(Tool::Objdump)?.arg("-h").arg(&path));
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let all = lines.windows(2).filter_map(|l| match &l[0][..] {
        [number, name, len, address, _, at, _] if number.parse::<u8>().is_ok() => Some(Section {
            name: (*name).into(),
            len: hex(len) as usize,
            address: hex(address),
            at: hex(at) as usize,
            flags: l[1].join(" "),
        }),
        _ => None,
    });
    Some(all.collect())
}

/// A UKI of that stub; its kernel and initrd come from a store.
fn made(stub: &[u8], kernel: &[u8], initrd: &[u8]) -> Vec<u8> {
    let mut stores = Stores::default();
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &[kernel, initrd].concat()).unwrap();
    let store = stores.add(Store::new(file));
    let stored = |start: usize, len: usize| Content::Stored {
        store,
        start: start as u64,
        len: len as u64,
    };
    let what = Sections {
        os_release: Content::Bytes(b"ID=box\n"[..].into()),
        arguments: "root=UUID=1 quiet".into(),
        version: "6.12.1".into(),
        linux: stored(0, kernel.len()),
        initrd: stored(kernel.len(), initrd.len()),
    };
    let head = &kernel[..kernel.len().min(uki::KERNEL_HEAD)];
    let parts = uki::parts(stub, head, what).unwrap();
    let mut bytes = Vec::new();
    for part in &parts {
        let start = bytes.len();
        bytes.resize(start + part.len() as usize, 0);
        stores.read_at(part, 0, &mut bytes[start..]).unwrap();
    }
    bytes
}

/// The stub's sections are as they were, and ours follow.
fn sound(stub: &[u8]) {
    let kernel = efi_program(&pattern(1, 100_001));
    let initrd = pattern(2, 300_007);
    let made = made(stub, &kernel, &initrd);
    let (Some(before), Some(after)) = (sections(stub), sections(&made)) else {
        return;
    };
    let (own, new) = after.split_at(before.len());
    for (a, b) in before.iter().zip(own) {
        assert_eq!((&a.name, a.len, a.address), (&b.name, b.len, b.address));
        assert!(
            stub[a.at..a.at + a.len] == made[b.at..b.at + b.len],
            "{}",
            a.name
        );
    }
    let wanted: [(&str, &[u8]); 5] = [
        (".osrel", b"ID=box\n"),
        (".cmdline", b"root=UUID=1 quiet"),
        (".uname", b"6.12.1"),
        (".linux", &kernel),
        (".initrd", &initrd),
    ];
    assert_eq!(new.len(), wanted.len());
    // SectionAlignment and FileAlignment of the optional header; the former is 512 in Debian 12's
    // stub, 4096 in Debian 13's.
    let number = |at: usize| u32::from_le_bytes(stub[at..at + 4].try_into().unwrap());
    let optional = number(60) as usize + 24;
    let in_memory = u64::from(number(optional + 32));
    let in_file = number(optional + 36) as usize;
    let mut free = own.iter().map(|s| s.address + s.len as u64).max().unwrap();
    for (section, (name, bytes)) in new.iter().zip(wanted) {
        assert_eq!(section.name, name);
        assert!(
            made[section.at..section.at + section.len] == *bytes,
            "{name}"
        );
        assert_eq!(section.at % in_file, 0, "{name}");
        assert_eq!(section.address % in_memory, 0, "{name}");
        assert!(section.address >= free, "{name} overlaps another");
        free = section.address + section.len as u64;
        let kind = if name == ".linux" { "CODE" } else { "DATA" };
        assert!(section.flags.contains(kind), "{section:?}");
    }
    assert_eq!(made.len() % in_file, 0);
}

#[test]
fn sections_follow_those_of_the_stub() {
    sound(&efi_program(&pattern(9, 5000)));
}

#[test]
fn sections_follow_those_of_systemds_stub() {
    let path = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
    match fs_err::read(path) {
        Ok(stub) => sound(&stub),
        Err(_) => skipped(&format!("there is no {path}: install systemd-boot-efi")).unwrap_or(()),
    }
}

#[test]
fn what_cannot_be_one_is_refused() {
    let stub = efi_program(b"stub");
    let kernel = efi_program(b"kernel");
    let what = || Sections {
        os_release: Content::Bytes(b""[..].into()),
        arguments: String::new(),
        version: String::new(),
        linux: Content::Bytes(kernel.as_slice().into()),
        initrd: Content::Late { len: 5 << 30 },
    };
    let refused = |stub: &[u8], kernel: &[u8]| uki::parts(stub, kernel, what()).unwrap_err();
    let e = refused(&stub, b"\x7fELF");
    assert!(e.message.contains("not an EFI program"), "{e}");
    let e = refused(&pattern(1, 4096), &kernel);
    assert!(
        e.message
            .contains("the stub of systemd-boot is not an EFI program"),
        "{e}"
    );
    let e = refused(&stub, &kernel);
    assert!(e.message.contains("larger than 4 GiB"), "{e}");
    let mut full = stub.clone();
    // The headers end where the table of sections does.
    full[88 + 60..88 + 64].copy_from_slice(&512_u32.to_le_bytes());
    full[328 + 20..328 + 24].copy_from_slice(&512_u32.to_le_bytes());
    let e = refused(&full, &kernel);
    assert!(e.message.contains("no room for the section .linux"), "{e}");
}
