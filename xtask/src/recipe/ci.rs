//! `ci:` of a recipe: what `cargo xtask ci` does with it.

use crate::model::Arch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How `cargo xtask ci` builds and boots a recipe in this project's folder `recipes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Ci {
    /// In which runs it is built and booted.
    pub when: When,
    /// Further build arguments for an architecture, e.g. for a smaller kernel.
    pub build_args: BTreeMap<Arch, BTreeMap<String, String>>,
}

/// In which runs a recipe is built and booted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// In every run of `ci`, and at night.
    #[default]
    Always,
    /// At night only, e.g. because its base image can only be pulled.
    Nightly,
}
