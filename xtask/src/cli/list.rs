//! `list`.

use super::{print, print_json, table};
use crate::model::{Arch, BootMode};
use crate::printable;
use crate::recipe::{self, Found};
use serde::Serialize;

/// Options of `list`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
    /// Print the matrix of a GitHub workflow: an entry for each recipe, architecture and boot mode
    #[arg(long, requires = "json")]
    matrix: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row<'a> {
    recipe: &'a str,
    name: &'a str,
    description: &'a str,
    base: Option<&'a str>,
    boot: BootMode,
    boot_modes: Vec<BootMode>,
    architectures: &'a [Arch],
    path: &'a str,
}

/// One job of a workflow.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Cell {
    /// Used in the names of the job and its artifacts, e.g. `debian-uefi-amd64`.
    id: String,
    recipe: String,
    boot: BootMode,
    arch: Arch,
    /// Label of the GitHub runner for the architecture.
    runner: &'static str,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let found = recipe::all()?;
    if args.matrix {
        // On one line, as a workflow's output requires.
        let matrix = serde_json::json!({ "include": matrix(&found) });
        return print(&printable::json(&matrix.to_string()));
    }
    let rows: Vec<Row<'_>> = found
        .iter()
        .map(|f| Row {
            recipe: f.dir.file_name().unwrap_or(&f.name),
            name: &f.name,
            description: f.recipe.description.as_deref().unwrap_or_default(),
            base: f.recipe.base.as_deref(),
            boot: f.recipe.boot,
            boot_modes: boot_modes(f.recipe.boot).to_vec(),
            architectures: &f.recipe.architectures,
            path: f.dir.as_str(),
        })
        .collect();
    if args.json {
        return print_json(&rows);
    }
    let mut table = table::new(["RECIPE", "BASE", "DESCRIPTION"]);
    for r in &rows {
        table.add_row([r.recipe, r.base.unwrap_or("-"), r.description].map(printable::line));
    }
    print(&table.trim_fmt())
}

/// The boot modes that a recipe can be built for. A hybrid recipe can also be built for each of the
/// two.
fn boot_modes(boot: BootMode) -> &'static [BootMode] {
    match boot {
        BootMode::Bios => &[BootMode::Bios],
        BootMode::Uefi => &[BootMode::Uefi],
        BootMode::Hybrid => &[BootMode::Bios, BootMode::Uefi, BootMode::Hybrid],
    }
}

/// All combinations of recipe, architecture and boot mode.
fn matrix(found: &[Found]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for f in found {
        let recipe = f.dir.file_name().unwrap_or(&f.name);
        for arch in &f.recipe.architectures {
            // ARM machines have no BIOS.
            let modes = match arch {
                Arch::Amd64 => boot_modes(f.recipe.boot),
                Arch::Arm64 => &[BootMode::Uefi],
            };
            for boot in modes {
                let mode = format!("{boot:?}").to_lowercase();
                cells.push(Cell {
                    id: format!("{recipe}-{mode}-{arch}"),
                    recipe: recipe.to_owned(),
                    boot: *boot,
                    arch: *arch,
                    runner: match arch {
                        Arch::Amd64 => "ubuntu-24.04",
                        Arch::Arm64 => "ubuntu-24.04-arm",
                    },
                });
            }
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn found(name: &str, yaml: &str) -> Found {
        Found {
            name: name.into(),
            dir: format!("recipes/{name}").into(),
            recipe: recipe::parse(yaml, "f").unwrap(),
        }
    }

    #[test]
    fn a_matrix_has_every_machine_once() {
        let cells = matrix(&[
            found("a", "architectures: [amd64, arm64]\n"),
            found("b", "boot: bios\n"),
        ]);
        let ids: Vec<&str> = cells.iter().map(|c| c.id.as_str()).collect();
        let expected = [
            "a-bios-amd64",
            "a-uefi-amd64",
            "a-hybrid-amd64",
            "a-uefi-arm64",
            "b-bios-amd64",
        ];
        assert_eq!(ids, expected);
        assert_eq!(cells[3].runner, "ubuntu-24.04-arm");
    }
}
