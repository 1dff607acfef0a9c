//! `ci:` of a recipe: what `cargo xtask ci` does with it.

use crate::model::Arch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How `cargo xtask ci` builds and boots a recipe from this project's `recipes` folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Ci {
    /// Which runs build and boot the recipe.
    pub when: When,
    /// Extra build arguments per architecture, e.g. to install a smaller kernel.
    pub build_args: BTreeMap<Arch, BTreeMap<String, String>>,
}

/// Which runs of `cargo xtask ci` build and boot a recipe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Every run of `ci`, including nightly ones.
    #[default]
    Always,
    /// Nightly runs only, e.g. because the base image can only be pulled.
    Nightly,
}
