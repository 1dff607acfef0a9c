//! Finds recipes on disk.

use super::{Recipe, closest, embedded, parse};
use crate::error::Report;
use crate::small;
use camino::{Utf8Path, Utf8PathBuf};

/// File name of a recipe inside its folder.
const FILE: &str = "recipe.yaml";

/// File name of the program that builds a recipe's base image where it cannot be pulled.
pub const BOOTSTRAP: &str = "bootstrap";

/// Size limit of a recipe, in bytes.
const LARGEST: u64 = 1 << 20;

/// A recipe and its folder.
#[derive(Debug, Clone)]
pub struct Found {
    /// Name of the image: the recipe's `name`, or else the name of its folder.
    pub name: String,
    /// The recipe's folder, which is the context of the docker build.
    pub dir: Utf8PathBuf,
    /// The parsed `recipe.yaml`.
    pub recipe: Recipe,
}

/// The folders that hold recipes: `recipes` in the current directory, then the project's own.
fn roots() -> Result<Vec<Utf8PathBuf>, Report> {
    let mut roots = vec![Utf8PathBuf::from("recipes")];
    let own = own()?;
    let same = |a: &Utf8Path, b: &Utf8Path| matches!((a.canonicalize_utf8(), b.canonicalize_utf8()), (Ok(a), Ok(b)) if a == b);
    if !same(&roots[0], &own) {
        roots.push(own);
    }
    Ok(roots)
}

/// The folder of the project's own recipes: that of a checkout, or else one with the recipes that
/// are inside the program.
pub fn own() -> Result<Utf8PathBuf, Report> {
    let checkout = home().join("recipes");
    if checkout.is_dir() {
        return Ok(checkout);
    }
    embedded::folder().map_err(|e| {
        Report::failure("writing the recipes that are inside this program to its cache")
            .hint("set XDG_CACHE_HOME to a folder that you can write to")
            .because(e)
    })
}

/// Where a checkout of this project is: `DOCKER_TO_LINUX_HOME`, or else where the program was
/// compiled. A program that was downloaded has none.
pub fn home() -> Utf8PathBuf {
    match std::env::var("DOCKER_TO_LINUX_HOME") {
        Ok(dir) if !dir.is_empty() => dir.into(),
        _ => {
            let package = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
            package.parent().unwrap_or(package).to_owned()
        }
    }
}

/// Finds a recipe by the name of its folder, or by a path to its folder or file.
pub fn find(wanted: &str) -> Result<Found, Report> {
    let path = Utf8Path::new(wanted);
    let is_path = wanted.contains('/') || path.join(FILE).exists() || path.is_file();
    if is_path {
        // A pipe or a device is told what it is when it is opened.
        let file = if path.exists() && !path.is_dir() {
            path.to_owned()
        } else {
            path.join(FILE)
        };
        return if file.exists() {
            load(&file)
        } else {
            Err(Report::mistake(format!(
                "there is no recipe at {wanted}: {file} does not exist"
            ))
            .hint("a recipe is a folder with a Dockerfile and a recipe.yaml (which may be empty)"))
        };
    }
    let roots = roots()?;
    for root in &roots {
        let file = root.join(wanted).join(FILE);
        if file.exists() {
            return load(&file);
        }
    }
    let names = names(&roots);
    let places: Vec<&str> = roots.iter().map(|r| r.as_str()).collect();
    let error = Report::mistake(format!(
        "there is no recipe {wanted:?} in {}",
        places.join(" or ")
    ));
    Err(match closest(wanted, names.iter().map(String::as_str)) {
        Some(known) => error.hint(format!("did you mean {known:?}?")),
        None => error.hint(format!("the recipes are: {}", names.join(", "))),
    })
}

/// Returns all recipes, sorted by name. Fails if one cannot be read, because leaving it out of a
/// list would hide it.
pub fn all() -> Result<Vec<Found>, Report> {
    let roots = roots()?;
    names(&roots).iter().map(|name| find(name)).collect()
}

/// Names of all recipe folders, sorted, without duplicates.
fn names(roots: &[Utf8PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = roots
        .iter()
        .filter_map(|root| root.read_dir_utf8().ok())
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join(FILE).is_file())
        .map(|entry| entry.file_name().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn load(file: &Utf8Path) -> Result<Found, Report> {
    let text = small::regular(file, LARGEST).map_err(|e| {
        Report::mistake(format!("reading the recipe {file}"))
            .because(e)
            .hint("recipe.yaml must be a readable file with at most 1 MiB of UTF-8 text")
    })?;
    let recipe = parse(&text, file.as_str())?;
    let dir = file.parent().filter(|d| !d.as_str().is_empty());
    let dir = dir.unwrap_or(Utf8Path::new(".")).to_owned();
    let folder = dir
        .canonicalize_utf8()
        .ok()
        .and_then(|d| d.file_name().map(str::to_owned));
    let name = recipe.name.clone().or(folder).unwrap_or_default();
    if !super::is_name(&name) {
        return Err(Report::mistake(format!(
            "the recipe's folder name {name:?} cannot be the name of an image"
        ))
        .hint(format!("set `name:` in {file}")));
    }
    Ok(Found { name, dir, recipe })
}
