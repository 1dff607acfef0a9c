//! The daily loop: an image that is made again after a change.

use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::cli::Console;
use docker_to_linux::engine::{self, Engine};
use docker_to_linux::recipe::Found;
use docker_to_linux::shell::quote;
use fs_err as fs;
use std::time::{Duration, Instant};

/// Name of the copied recipe, and so of its container image.
const NAME: &str = "bench-loop";

/// One kind of change.
struct Change {
    name: &'static str,
    /// Times with `--force` and without.
    times: [Vec<Duration>; 2],
}

/// A copy of a recipe, and where its images are written.
struct Copy {
    recipe: Utf8PathBuf,
    output: Utf8PathBuf,
    dockerfile: String,
}

impl Copy {
    fn of(found: &Found, dir: &Utf8Path) -> anyhow::Result<Copy> {
        let recipe = dir.join(NAME);
        let (from, to) = (quote(found.dir.as_str()), quote(recipe.as_str()));
        let status = super::shell(&format!("cp -a {from} {to}")).status()?;
        anyhow::ensure!(status.success(), "copying the recipe failed");
        let copy = Copy {
            dockerfile: fs::read_to_string(found.dir.join("Dockerfile"))?,
            output: dir.join("loop"),
            recipe,
        };
        let yaml = fs::read_to_string(found.dir.join("recipe.yaml"))?;
        let lines = yaml.lines().filter(|line| !line.starts_with("name:"));
        let lines: String = lines.map(|line| format!("{line}\n")).collect();
        fs::write(copy.recipe.join("recipe.yaml"), lines)?;
        Ok(copy)
    }

    /// Makes the image, and returns how long it took.
    fn make(&self, more: &str) -> anyhow::Result<Duration> {
        let own: Utf8PathBuf = std::env::current_exe()?.try_into()?;
        let (own, recipe) = (quote(own.as_str()), quote(self.recipe.as_str()));
        let output = quote(self.output.as_str());
        let command = format!("{own} --quiet image {recipe} --output {output} {more} >/dev/null");
        rustix::fs::sync();
        let begun = Instant::now();
        let status = super::shell(&command).status().context("starting sh")?;
        anyhow::ensure!(status.success(), "{command} failed");
        Ok(begun.elapsed())
    }

    /// Adds a file in the last layer.
    fn add_file(&self, content: &str) -> anyhow::Result<()> {
        fs::write(self.recipe.join("added"), content)?;
        let text = format!("{}\nCOPY added /added\n", self.dockerfile);
        Ok(fs::write(self.recipe.join("Dockerfile"), text)?)
    }

    /// Changes the first layer.
    fn change_all(&self, value: u32) -> anyhow::Result<()> {
        let mut text = String::new();
        for line in self.dockerfile.lines() {
            text.push_str(line);
            text.push('\n');
            if line.starts_with("FROM ") {
                text.push_str(&format!("RUN echo {value} >/dev/null\n"));
            }
        }
        Ok(fs::write(self.recipe.join("Dockerfile"), text)?)
    }
}

/// Measures each change `runs` times, and returns the table in Markdown.
pub(super) fn run(
    found: &Found,
    engine: &Engine,
    runs: usize,
    dir: &Utf8Path,
    console: Console,
) -> anyhow::Result<String> {
    let copy = Copy::of(found, dir)?;
    let tag = engine::tag(NAME, engine::host_arch());
    let names = [
        "nothing changed",
        "another host name",
        "a file was added in the last layer",
    ];
    let mut changes = names.map(|name| Change {
        name,
        times: [Vec::new(), Vec::new()],
    });
    console.stage("building the recipe once");
    copy.make("")?;
    let mut count = 0;
    for round in 0..runs {
        console.stage(&format!("round {} of {runs}", round + 1));
        for (change, time) in changes.iter_mut().enumerate() {
            for (times, force) in time.times.iter_mut().zip(["--force", ""]) {
                count += 1;
                let mut more = force.to_owned();
                match change {
                    0 => {}
                    1 => more.push_str(&format!(" --hostname bench{count}")),
                    _ => copy.add_file(&format!("{count}\n"))?,
                }
                times.push(copy.make(&more)?);
            }
            // The next change begins with the recipe as it is.
            fs::write(copy.recipe.join("Dockerfile"), &copy.dockerfile)?;
            let _ = fs::remove_file(copy.recipe.join("added"));
            copy.make("")?;
        }
    }
    console.stage("building every layer anew, once");
    copy.change_all(std::process::id())?;
    let anew = copy.make("")?;
    let removed = engine::remove_image(engine, &tag);
    if let Err(e) = removed {
        console.note(&format!("{tag} was not removed: {}", e.message));
    }
    let mut text = format!(
        "The recipe {}:\n\n| what changed | with `--force` | without |\n|---|---|---|\n",
        found.name
    );
    for change in &changes {
        let [force, plain] = &change.times;
        let row = format!(
            "| {} | {:.2} s | {:.2} s |\n",
            change.name,
            median(force),
            median(plain)
        );
        text.push_str(&row);
    }
    let anew = anew.as_secs_f64();
    text.push_str(&format!(
        "| the first layer, so everything | {anew:.0} s | {anew:.0} s |\n"
    ));
    Ok(text)
}

fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times
        .get(times.len() / 2)
        .map_or(0.0, Duration::as_secs_f64)
}
