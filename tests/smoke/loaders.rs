//! What fails before a kernel runs.

use super::*;

#[test]
fn a_zeroed_mbr() {
    let Some(disk) = Disk::without_kernel() else {
        return;
    };
    disk.file().write_all_at(&[0; 512], 0).unwrap();
    // The GPT still claims both; the test is about one.
    let said = disk.smoke(&["--firmware", "bios"]);
    let outcome = said.fails("firmware found no boot device");
    assert_eq!(outcome["stages"][0]["stage"], "firmware");
}

#[test]
fn a_removed_ldlinux_sys() {
    let Some(disk) = Disk::without_kernel() else {
        return;
    };
    disk.overwrite(b"\r\nSYSLINUX ", &[0; 512]);
    disk.smoke(&["--firmware", "bios"])
        .fails("boot loader failed");
}

#[test]
fn a_missing_kernel() {
    let Some(disk) = Disk::without_kernel() else {
        return;
    };
    disk.configure("LINUX /vmlinuz", "LINUX /nothing");
    let reports = ["--junit", "junit.xml", "--summary", "summary.md"];
    let said = disk.smoke(&[&["--firmware", "bios"], &reports[..]].concat());
    let outcome = said.fails("boot loader failed");
    assert!(
        outcome["detail"]
            .as_str()
            .unwrap()
            .contains("EXTLINUX could not load the kernel"),
        "{outcome}"
    );
    let read = |name: &str| fs_err::read_to_string(disk.place.dir.join(name)).unwrap();
    let junit = read("junit.xml");
    for part in [r#"failures="1""#, r#"type="boot loader failed""#] {
        assert!(junit.contains(part), "{junit}");
    }
    let summary = read("summary.md");
    for part in ["0 of 1 passed", "| ❌ |", "░ firmware"] {
        assert!(summary.contains(part), "{summary}");
    }
}

#[test]
fn a_kernel_that_is_none() {
    let Some(disk) = Disk::without_kernel() else {
        return;
    };
    disk.smoke(&["--firmware", "bios"])
        .fails("boot loader failed");
}
