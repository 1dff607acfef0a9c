//! `picture`: makes the README's picture of a run from a real run.

use anyhow::Context;
use docker_to_linux::cli::Console;
use docker_to_linux::error::Report;
use docker_to_linux::recipe;
use docker_to_linux::tool;
use fs_err as fs;
use std::fmt::Write;

/// Options of `picture`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Recipe to make an image of
    #[arg(default_value = "debian")]
    recipe: String,
}

/// Path of the picture, relative to the root of the project.
const FILE: &str = ".github/run.svg";

/// Width of the terminal, in columns.
const COLUMNS: usize = 108;

/// Height of a line, and of the area above the first line, in pixels.
const LINE: usize = 18;
const TOP: usize = 48;

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("looking for this program's own file")?;
    let own = own.to_str().context("this program's path is not UTF-8")?;
    let recipe = shlex::try_quote(&args.recipe)?;
    let command = format!(
        "stty cols {COLUMNS}; exec {} image --force {recipe}",
        shlex::try_quote(own)?
    );
    let out = tool::command("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env_remove("CI")
        .env_remove("NO_COLOR")
        .output()
        .context("starting script(1), which makes a terminal")?;
    let text = String::from_utf8_lossy(&out.stdout);
    if !out.status.success() {
        return Err(Report::failure(format!("the run failed: {text}")).into());
    }
    let mut lines = vec![("37", format!("$ cargo xtask image {}", args.recipe))];
    lines.extend(lasting(&text));
    let path = recipe::home().join(FILE);
    fs::write(&path, svg(&lines))?;
    console.stage(&format!("wrote {FILE}"));
    Ok(())
}

/// The lines that stay on the screen, i.e. those that end with a line feed, each with its colour.
fn lasting(text: &str) -> Vec<(&str, String)> {
    let mut lines = Vec::new();
    for line in text.split("\r\n") {
        match line.rsplit_once("\x1b[0m") {
            // One of our own lines: one colour for the whole line.
            Some((before, "")) => {
                let begun = before.rfind("\x1b[").map(|at| &before[at + 2..]);
                if let Some((colour, shown)) = begun.and_then(|b| b.split_once('m')) {
                    lines.push((colour, shown.to_owned()));
                }
            }
            // A result from stdout.
            None if !line.is_empty() && !line.contains('\x1b') => {
                lines.push(("37", line.to_owned()));
            }
            _ => {}
        }
    }
    lines
}

fn svg(lines: &[(&str, String)]) -> String {
    let height = TOP + LINE * lines.len() + 8;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"880\" height=\"{height}\" font-family=\"ui-monospace,Menlo,Consolas,monospace\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n"
    );
    for (x, colour) in [(20, "#ff5f56"), (40, "#ffbd2e"), (60, "#27c93f")] {
        let _ = writeln!(
            svg,
            "<circle cx=\"{x}\" cy=\"16\" r=\"6\" fill=\"{colour}\"/>"
        );
    }
    for (n, (colour, text)) in lines.iter().enumerate() {
        let colour = match *colour {
            "1;36" => "#56d4dd",
            "1;33" => "#e3b341",
            "2" => "#8b949e",
            _ => "#ffffff",
        };
        let text: String = text.chars().take(COLUMNS).collect();
        let text = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let y = TOP + LINE * n;
        let _ = writeln!(
            svg,
            "<text x=\"16\" y=\"{y}\" fill=\"{colour}\" xml:space=\"preserve\">{text}</text>"
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::lasting;

    #[test]
    fn what_is_written_over_does_not_stay() {
        let text = "- \x1b[36mbuilding\x1b[0m 0s\r\x1b[2K\x1b[1;36m==> building (2 s)\x1b[0m\r\nout/a.img\r\n";
        let lines = lasting(text);
        assert_eq!(
            lines,
            [
                ("1;36", "==> building (2 s)".to_owned()),
                ("37", "out/a.img".to_owned())
            ]
        );
    }
}
