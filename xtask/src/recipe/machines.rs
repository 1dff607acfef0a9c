//! `machines:` of a recipe: the ready machines that can be built from it.

use super::{Found, all, find, is_name};
use crate::error::Report;
use crate::model::Arch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A machine that containers can be put into.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct MachineOptions {
    /// Whether a container is put into this machine if no other one is chosen.
    pub default: bool,
    /// Extra build arguments per architecture, e.g. to install a smaller kernel.
    pub build_args: BTreeMap<Arch, BTreeMap<String, String>>,
}

/// A recipe from which a machine is built.
#[derive(Debug, Clone)]
pub struct Buildable {
    /// The name of the machine.
    pub name: String,
    /// The recipe.
    pub found: Found,
    /// Its options for this machine.
    pub options: MachineOptions,
}

/// The recipe that has a machine of this name; else the recipe of this name or path, whose machine
/// has its name.
pub fn machine(wanted: &str) -> Result<Buildable, Report> {
    if is_name(wanted) {
        for found in all()? {
            if let Some(options) = found.recipe.machines.get(wanted).cloned() {
                let name = wanted.to_owned();
                return Ok(Buildable {
                    name,
                    found,
                    options,
                });
            }
        }
    }
    let found = find(wanted)?;
    Ok(Buildable {
        name: found.name.clone(),
        found,
        options: MachineOptions::default(),
    })
}

/// The name of the machine that is used if no other one is chosen; `None` if no recipe has one.
pub fn default_machine() -> Result<Option<String>, Report> {
    let recipes = all()?;
    let machines = recipes.iter().flat_map(|f| &f.recipe.machines);
    let mut default = machines.filter(|(_, options)| options.default);
    Ok(default.next().map(|(name, _)| name.clone()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn machines_are_found_by_their_own_names() {
        let cloud = machine("debian").unwrap();
        let kernel = &cloud.options.build_args[&Arch::Amd64]["KERNEL"];
        assert_eq!(kernel, "linux-image-cloud-amd64");
        let generic = machine("debian-generic").unwrap();
        assert_eq!(generic.found.dir, cloud.found.dir);
        assert!(generic.options.build_args.is_empty());
        assert_eq!(machine("alpine").unwrap().name, "alpine");
        assert_eq!(machine("ubuntu").unwrap().name, "ubuntu");
        assert!(machine("plan9").is_err());
        assert_eq!(default_machine().unwrap().as_deref(), Some("debian"));
    }
}
