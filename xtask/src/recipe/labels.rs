//! Labels of a container image that say what a recipe would: the settings of its machine travel
//! with the image.

use super::{Recipe, parse};
use crate::error::Report;
use crate::model::Join;
use serde_json::{Map, Value};

/// What all of them begin with.
const PREFIX: &str = "io.docker-to-linux.";

/// Those that are keys of recipe.yaml as well.
const KEYS: [&str; 4] = ["size", "boot", "kernel-arguments", "service"];

/// The settings in the labels of an image.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// How the container becomes part of a machine.
    pub join: Option<Join>,
    /// The machine that it is put into, as `--machine` names it.
    pub machine: Option<String>,
    /// Notes about labels that have no effect.
    pub notes: Vec<String>,
    keys: Map<String, Value>,
    recipe: Recipe,
}

impl Labels {
    /// Reads names and values of labels. `image` is for errors.
    pub fn read<'a>(
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        image: &str,
    ) -> Result<Labels, Report> {
        let mut all = Labels::default();
        let wrong = |key: &str, value: &str| {
            Report::mistake(format!("the label {PREFIX}{key} of {image} is {value:?}"))
        };
        for (name, value) in labels {
            let Some(key) = name.strip_prefix(PREFIX) else {
                continue;
            };
            match key {
                "as" => {
                    let join = serde_json::from_value(value.into());
                    all.join = Some(join.map_err(|_| {
                        wrong(key, value).hint("it can be `native` or `hosted`; --as overrides it")
                    })?);
                }
                "machine" => all.machine = Some(value.to_owned()),
                "kernel-arguments" => {
                    let words = shlex::split(value).ok_or_else(|| {
                        wrong(key, value).hint("write words as in a shell, with closed quotes")
                    })?;
                    all.keys.insert(key.to_owned(), words.into());
                }
                _ if KEYS.contains(&key) => {
                    all.keys.insert(key.to_owned(), value.into());
                }
                // A machine describes itself with them.
                _ if key.starts_with("machine.") => {}
                _ => all.notes.push(format!(
                    "the label {name} of {image} is not known, so it has no effect"
                )),
            }
        }
        let text = Value::from(all.keys.clone()).to_string();
        all.recipe = parse(&text, "labels").map_err(|mut report| {
            report.place = None;
            report.message = format!("the labels of {image} ({PREFIX}…): {}", report.message);
            report
        })?;
        Ok(all)
    }

    /// Puts them over the values of a recipe that nobody chose.
    pub fn apply(&self, recipe: &mut Recipe) {
        let has = |key: &str| self.keys.contains_key(key);
        let own = &self.recipe;
        if has("size") {
            recipe.size = own.size;
        }
        if has("boot") {
            recipe.boot = own.boot;
        }
        if has("service") {
            recipe.service = own.service;
        }
        let more = own.kernel_arguments.iter();
        let more: Vec<String> = more
            .filter(|a| !recipe.kernel_arguments.contains(a))
            .cloned()
            .collect();
        recipe.kernel_arguments.extend(more);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::describe;
    use crate::model::{BootMode, DiskSize, GIB, Service, Size};

    fn read(labels: &[(&str, &str)]) -> Result<Labels, Report> {
        let named: Vec<(String, &str)> = labels
            .iter()
            .map(|(key, value)| (format!("{PREFIX}{key}"), *value))
            .collect();
        let other = [("maintainer", "x")].into_iter();
        Labels::read(
            named.iter().map(|(k, v)| (k.as_str(), *v)).chain(other),
            "web:1",
        )
    }

    #[test]
    fn labels_say_what_a_recipe_would() {
        let labels = read(&[
            ("size", "8G"),
            ("boot", "uefi"),
            ("kernel-arguments", "quiet 'a=b c'"),
            ("service", "always"),
            ("as", "hosted"),
            ("machine", "alpine"),
            ("machine.name", "x"),
            ("colour", "red"),
        ])
        .unwrap();
        let mut recipe = Recipe {
            kernel_arguments: vec!["first".into(), "quiet".into()],
            ..Recipe::default()
        };
        labels.apply(&mut recipe);
        assert_eq!(recipe.size, DiskSize::Fixed(Size(8 * GIB)));
        assert_eq!(
            (recipe.boot, recipe.service),
            (BootMode::Uefi, Some(Service::Always))
        );
        assert_eq!(recipe.kernel_arguments, ["first", "quiet", "a=b c"]);
        assert_eq!(labels.join, Some(Join::Hosted));
        assert_eq!(labels.machine.as_deref(), Some("alpine"));
        assert_eq!(labels.notes.len(), 1);
        assert!(labels.notes[0].contains("io.docker-to-linux.colour of web:1"));
        let before = Recipe {
            boot: BootMode::Bios,
            ..Recipe::default()
        };
        let mut after = before.clone();
        read(&[]).unwrap().apply(&mut after);
        assert_eq!(after, before);
    }

    #[test]
    fn what_is_wrong_says_whose_label_it_is() {
        for (key, value) in [
            ("size", "large"),
            ("boot", "floppy"),
            ("as", "x"),
            ("kernel-arguments", "'"),
            ("kernel-arguments", "root=/dev/sda"),
            ("service", "yes"),
        ] {
            let report = read(&[(key, value)]).unwrap_err();
            let (said, class) = describe(&report.into());
            assert!(said.contains("web:1") && said.contains(PREFIX), "{said}");
            assert_eq!(class, crate::error::Class::Mistake);
        }
    }
}
