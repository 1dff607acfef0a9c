//! `list`.

use super::print;
use crate::recipe;
use serde::Serialize;

/// Options of `list`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As JSON, for scripts and workflow matrices
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row<'a> {
    recipe: &'a str,
    name: &'a str,
    description: &'a str,
    base: Option<&'a str>,
    boot: recipe::BootMode,
    architectures: &'a [recipe::Arch],
    path: &'a str,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let found = recipe::all()?;
    let rows: Vec<Row<'_>> = found
        .iter()
        .map(|f| Row {
            recipe: f.dir.file_name().unwrap_or(&f.name),
            name: &f.name,
            description: f.recipe.description.as_deref().unwrap_or_default(),
            base: f.recipe.base.as_deref(),
            boot: f.recipe.boot,
            architectures: &f.recipe.architectures,
            path: f.dir.as_str(),
        })
        .collect();
    if args.json {
        return print(&serde_json::to_string_pretty(&rows)?);
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["RECIPE", "BASE", "DESCRIPTION"]);
    for r in &rows {
        table.add_row([r.recipe, r.base.unwrap_or("-"), r.description]);
    }
    print(&table.trim_fmt())
}
