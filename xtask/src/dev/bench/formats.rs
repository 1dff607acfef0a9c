//! Compares the formats with each other and with qemu-img.

use super::{DIR, Way};
use docker_to_linux::model::size::Size;
use docker_to_linux::shell::quote;
use docker_to_linux::tool::Tool;
use std::fmt::Write as _;

/// The format that the others are compared with.
const RAW: &str = "**raw** from a tar";

/// Pairs of ours and qemu-img's whose ratio is printed: ours first.
const RIVALS: [(&str, &str); 2] = [
    ("**qcow2, zstd** from raw", "`qemu-img convert -c`, zstd"),
    (
        "**vmdk-stream** from raw",
        "`qemu-img convert`, streamOptimized",
    ),
];

/// All formats. `make` returns the command that makes an image from the tar with the given options;
/// `own` is this program, quoted for the shell.
pub(super) fn ways(own: &str, make: impl Fn(&str) -> String) -> Vec<Way> {
    let raw = format!("{DIR}/raw.img");
    let convert = |options: &str| {
        format!(
            "{own} --quiet convert {raw} --no-metadata --output {DIR}/work {options} >/dev/null"
        )
    };
    let qemu = Tool::QemuImg.find();
    let skipped = qemu.is_none().then_some("no qemu-img");
    let qemu = quote(qemu.as_ref().map_or("qemu-img", |q| q.as_str()));
    let theirs = |name, options: &str| Way {
        skipped,
        ..Way::new(
            name,
            format!("{qemu} convert -f raw {options} {raw} {DIR}/work/file"),
        )
    };
    vec![
        Way {
            // The input of the conversions below.
            once: Some(format!("mv {DIR}/work/*.img {raw}")),
            ..Way::new(RAW, make("--format raw --no-metadata"))
        },
        Way::new("raw, with its metadata files", make("--format raw")),
        Way::new("**qcow2** from a tar", make("--format qcow2 --no-metadata")),
        Way::new("**vdi** from a tar", make("--format vdi --no-metadata")),
        Way::new("**vmdk** from a tar", make("--format vmdk --no-metadata")),
        Way::new("**vhd** from a tar", make("--format vhd --no-metadata")),
        Way::new("**vhdx** from a tar", make("--format vhdx --no-metadata")),
        Way::new(
            "all five and raw at once",
            make("--format raw,qcow2,vdi,vmdk,vhd,vhdx --no-metadata"),
        ),
        Way::new(RIVALS[0].0, convert("--format qcow2 --compression zstd")),
        theirs(RIVALS[0].1, "-O qcow2 -c -o compression_type=zstd"),
        Way::new(RIVALS[1].0, convert("--format vmdk-stream")),
        theirs(RIVALS[1].1, "-O vmdk -o subformat=streamOptimized"),
        Way::new(
            "raw, `--compress zstd`",
            make("--format raw --compress zstd --no-metadata"),
        ),
    ]
}

/// The result in Markdown.
pub(super) fn table(ways: &[Way]) -> String {
    let mut text =
        "\n| format | median | times raw | size | peak memory |\n|---|---|---|---|---|\n"
            .to_owned();
    let find = |name: &str| ways.iter().find(|w| w.name == name);
    let raw = find(RAW);
    for way in ways {
        // Writing to a `String` cannot fail.
        let _ = match (way.skipped, way.median()) {
            (Some(why), _) => writeln!(text, "| {} | skipped: {why} | | | |", way.name),
            (None, Some(median)) => writeln!(
                text,
                "| {} | {median:.2} s | {:.2} | {} | {} |",
                way.name,
                raw.and_then(|raw| way.ratio(raw)).unwrap_or(0.0),
                Size(way.size),
                Size(way.peak)
            ),
            (None, None) => Ok(()),
        };
    }
    text.push_str("\nRatios are the medians of the rounds' ratios; sizes are those on the disk.\n");
    for (ours, theirs) in RIVALS {
        if let (Some(a), Some(b)) = (find(ours), find(theirs))
            && let Some(ratio) = b.ratio(a)
            && b.size > 0
        {
            // File sizes are far below the limit of exact floats.
            #[allow(clippy::cast_precision_loss)]
            let size = a.size as f64 / b.size as f64;
            let _ = writeln!(
                text,
                "{theirs} takes {ratio:.1} times as long as {ours}; ours has {:.1} % of its size.",
                size * 100.0
            );
        }
    }
    text
}
