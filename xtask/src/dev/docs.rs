//! `docs`: writes the parts of the documentation that are generated from other files.

use camino::Utf8Path;
use docker_to_linux::cli::Console;
use docker_to_linux::error::Report;
use docker_to_linux::recipe;
use fs_err as fs;
use serde::Deserialize;
use std::fmt::Write;

/// Options of `docs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not write anything; fail if something would change
    #[arg(long)]
    check: bool,
}

/// The parts of action.yml that the tables need, in the same order.
#[derive(Debug, Deserialize)]
struct Action {
    inputs: serde_yaml::Mapping,
    outputs: serde_yaml::Mapping,
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let home = recipe::home();
    let page = home.join(PAGE);
    let old = fs::read_to_string(&page)?;
    let new = filled(&old, &tables(&home.join("action.yml"))?)?;
    if old == new {
        console.stage(&format!("{PAGE} is up to date"));
        return Ok(());
    }
    if args.check {
        return Err(Report::failure(format!("{PAGE} does not match action.yml"))
            .hint("run `cargo xtask docs`")
            .into());
    }
    fs::write(&page, new)?;
    console.stage(&format!("wrote {PAGE}"));
    Ok(())
}

/// The page with the tables, relative to the root of the project.
const PAGE: &str = ".github/docs/action.md";

const BEGIN: &str = "<!-- begin: action.yml, written by `cargo xtask docs` -->\n";
const END: &str = "<!-- end: action.yml -->";

/// Replaces the text between the marks of the page.
fn filled(page: &str, tables: &str) -> Result<String, Report> {
    let cut = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = cut.ok_or_else(|| {
        Report::failure(format!("{PAGE} has no marks for the tables of action.yml"))
            .hint(format!("restore the lines {} and {END}", BEGIN.trim()))
    })?;
    Ok(format!("{before}{BEGIN}{tables}{END}{after}"))
}

/// The tables of all inputs and outputs.
fn tables(action: &Utf8Path) -> Result<String, Report> {
    let broken = |e: serde_yaml::Error| Report::failure(format!("reading {action}")).because(e);
    let text =
        fs::read_to_string(action).map_err(|e| Report::failure("reading the action").because(e))?;
    let action: Action = serde_yaml::from_str(&text).map_err(broken)?;
    let cell = |value: &serde_yaml::Value| match value.as_str() {
        Some(text) => text.replace('|', "\\|").replace('\n', " "),
        None => String::new(),
    };
    let mut out = String::from("\n| input | what | default |\n|---|---|---|\n");
    for (name, about) in &action.inputs {
        let default = match cell(&about["default"]) {
            text if text.is_empty() => String::new(),
            text => format!("`{text}`"),
        };
        let (name, what) = (cell(name), cell(&about["description"]));
        let _ = writeln!(out, "| `{name}` | {what} | {default} |");
    }
    out.push_str("\n| output | what |\n|---|---|\n");
    for (name, about) in &action.outputs {
        let (name, what) = (cell(name), cell(&about["description"]));
        let _ = writeln!(out, "| `{name}` | {what} |");
    }
    out.push('\n');
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_page_matches_the_action() {
        let home = recipe::home();
        let page = fs::read_to_string(home.join(PAGE)).unwrap();
        let new = filled(&page, &tables(&home.join("action.yml")).unwrap()).unwrap();
        assert!(page == new, "{PAGE} is stale: run `cargo xtask docs`");
        assert!(filled("no marks", "").is_err());
    }
}
