//! `targets`.

use super::{print, print_json, table};
use crate::model::{Arch, BootMode, Format, Target};
use crate::plan::targets::{ALL, Platform, exact};
use serde::Serialize;

/// Options of `targets`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  cargo xtask image debian --target proxmox")]
pub(super) struct Args {
    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    target: Target,
    title: &'static str,
    /// The first is written by default.
    formats: &'static [Format],
    firmware: &'static [BootMode],
    architectures: &'static [Arch],
    kernel_arguments: &'static [&'static str],
    /// In bytes; left out where the platform has no such rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    smallest: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    largest: Option<u64>,
}

impl Row {
    fn of(row: &'static Platform) -> Row {
        Row {
            target: row.target,
            title: row.title,
            formats: row.formats,
            firmware: match row.firmware {
                BootMode::Bios => &[BootMode::Bios],
                BootMode::Uefi => &[BootMode::Uefi],
                BootMode::Hybrid => &[BootMode::Bios, BootMode::Uefi],
            },
            architectures: row.archs,
            kernel_arguments: row.kernel_arguments,
            smallest: (row.least > 0).then_some(row.least),
            largest: (row.most < u64::MAX).then_some(row.most),
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let rows: Vec<Row> = ALL.iter().map(Row::of).collect();
    if args.json {
        return print_json(&rows);
    }
    let mut table = table::new(["TARGET", "FORMATS", "FIRMWARE", "ARCH", "DISK"]);
    for (row, platform) in rows.iter().zip(ALL) {
        let formats: Vec<&str> = row.formats.iter().map(|f| f.name()).collect();
        let archs: Vec<String> = row.architectures.iter().map(Arch::to_string).collect();
        let disk = match (row.smallest, row.largest) {
            (None, None) => "-".to_owned(),
            (Some(least), None) => format!("from {}", exact(least)),
            (None, Some(most)) => format!("to {}", exact(most)),
            (Some(least), Some(most)) => format!("{} to {}", exact(least), exact(most)),
        };
        table.add_row([
            row.target.name(),
            &formats.join(", "),
            platform.firmware.firmware(),
            &archs.join(", "),
            &disk,
        ]);
    }
    print(&table.trim_fmt())
}
