//! `recipe`.

use super::console::Console;
use crate::error::Report;
use crate::place;
use crate::recipe::{self, Recipe, embedded};
use crate::shell;
use camino::{Utf8Path, Utf8PathBuf};
use std::io;

/// Options of `recipe`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write a recipe of your own to start from
    New(New),
}

/// Options of `recipe new`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask recipe new web
  cargo xtask recipe new web --like alpine --in ./recipes")]
struct New {
    /// Name of the recipe, of its folder and of its image
    name: String,
    /// Recipe whose Dockerfile it starts with
    #[arg(long, value_name = "RECIPE", default_value = "debian")]
    like: String,
    /// Folder in which the recipe's folder is made [default: recipes, if it is there, or else the
    /// current folder]
    #[arg(long = "in", value_name = "DIR")]
    within: Option<Utf8PathBuf>,
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    match &args.verb {
        Verb::New(new) => Ok(make(new, console)?),
    }
}

/// The schema of recipe.yaml, as editors find it.
const SCHEMA: &str = "recipe.schema.json";

/// What is added to the Dockerfile.
const SOFTWARE: &str = "
# Your software. Packages are installed as above; files are copied with COPY, or put as they are
# into the folder `files` beside this Dockerfile, from which they get into the machine.
";

fn make(new: &New, console: Console) -> Result<(), Report> {
    let name = &new.name;
    if !recipe::is_name(name) {
        return Err(
            Report::mistake(format!("{name:?} cannot be the name of a recipe")).hint(
                "use letters, digits, `.`, `-` and `_`, with a letter or a digit at the start",
            ),
        );
    }
    let model = recipe::find(&new.like)?;
    let parent = new.within.clone().unwrap_or_else(|| {
        let recipes = Utf8PathBuf::from("recipes");
        match recipes.is_dir() || place::in_checkout() {
            true => recipes,
            false => Utf8PathBuf::new(),
        }
    });
    let dir = parent.join(name);
    let failed = |e: io::Error| {
        let report = Report::failure(format!("making the recipe {dir}"));
        match e.kind() {
            io::ErrorKind::AlreadyExists => report.hint("choose another name, or remove it first"),
            _ => report.hint("choose a folder that you can write to with --in DIR"),
        }
        .because(e)
    };
    if dir.exists() {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    // It appears whole: an error leaves nothing.
    let above = dir.parent().filter(|d| !d.as_str().is_empty());
    let above = above.unwrap_or(Utf8Path::new("."));
    std::fs::create_dir_all(above).map_err(failed)?;
    let temp = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(above)
        .map_err(failed)?;
    let path = Utf8Path::from_path(temp.path());
    let path = path.ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
    copy(&model.dir, path).map_err(failed)?;
    let dockerfile = path.join("Dockerfile");
    let mut text = std::fs::read_to_string(&dockerfile).map_err(failed)?;
    text.push_str(SOFTWARE);
    std::fs::write(&dockerfile, text).map_err(failed)?;
    let beside = above.join(SCHEMA).is_file();
    if !beside && let Some(schema) = embedded::text(SCHEMA) {
        std::fs::write(path.join(SCHEMA), schema).map_err(failed)?;
    }
    let schema = if beside {
        format!("../{SCHEMA}")
    } else {
        format!("./{SCHEMA}")
    };
    let text = yaml(name, &model.name, &model.recipe, &schema);
    std::fs::write(path.join("recipe.yaml"), text).map_err(failed)?;
    std::fs::rename(path, &dir).map_err(failed)?;
    let _ = temp.keep();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&dir, mode).map_err(failed)?;
    console.stage(&format!(
        "made {dir}: edit its Dockerfile and its recipe.yaml"
    ));
    let word = match parent == "recipes" {
        true => name.clone(),
        false => format!("./{dir}"),
    };
    let word = if dir.is_absolute() {
        dir.to_string()
    } else {
        word
    };
    let next = shell::command_line(["image", &word]);
    console.detail(&format!("next: cargo xtask {next}"));
    Ok(())
}

/// Copies files and folders, with their modes.
fn copy(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    for entry in from.read_dir_utf8()? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy(entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// The text of the new recipe.yaml: what the Dockerfile needs, and what people change first.
fn yaml(name: &str, model: &str, recipe: &Recipe, schema: &str) -> String {
    let mut text = format!(
        "# yaml-language-server: $schema={schema}\n\
         # An editor that knows this line completes and explains all keys.\n\
         description: {}\n",
        quoted(&format!("{name}, made from the recipe {model}"))
    );
    if let Some(base) = &recipe.base {
        text.push_str(&format!("base: {}\n", quoted(base)));
    }
    let architectures: Vec<String> = recipe
        .architectures
        .iter()
        .map(ToString::to_string)
        .collect();
    text.push_str(&format!("architectures: [{}]\n", architectures.join(", ")));
    if !recipe.kernel_arguments.is_empty() {
        let words: Vec<String> = recipe.kernel_arguments.iter().map(|a| quoted(a)).collect();
        text.push_str(&format!("kernel-arguments: [{}]\n", words.join(", ")));
    }
    text.push_str(
        "\n# Examples:\n\
         #size: 8G                 # by default the content plus some free space\n\
         #boot: hybrid             # bios, uefi or hybrid\n\
         #formats: [raw, qcow2]\n\
         #users:\n\
         #  - name: admin\n\
         #    ssh-keys: [\"ssh-ed25519 AAAA... me@laptop\"]\n",
    );
    text
}

/// The text as a quoted scalar of YAML, of which JSON is a subset.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
