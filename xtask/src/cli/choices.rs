//! Options that accept one word from a list.
//!
//! The words and their help come from the type's JSON Schema, which is generated from its variants
//! and their doc comments. So recipe.yaml, `--help` and the schema always agree.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, IntoDeserializer};

/// Parses an option of the type `T`, an enum without fields.
pub(super) fn of<T>() -> impl TypedValueParser<Value = T>
where
    T: JsonSchema + DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words::<T>()).try_map(|word| parse::<T>(&word))
}

fn parse<T: DeserializeOwned>(word: &str) -> Result<T, serde::de::value::Error> {
    T::deserialize(word.into_deserializer())
}

/// The words of `T`, each with the text of its doc comment.
fn words<T: JsonSchema>() -> Vec<PossibleValue> {
    let schema = schemars::schema_for!(T);
    let variants = schema.get("oneOf").and_then(|list| list.as_array());
    let variant = |of: &serde_json::Value| {
        let word = of.get("const")?.as_str()?.to_owned();
        let about = of.get("description").and_then(|d| d.as_str());
        let about = about.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        let about = about.map(|text| text.trim_end_matches('.').to_owned());
        Some(PossibleValue::new(word).help(about.unwrap_or_default()))
    };
    variants.into_iter().flatten().filter_map(variant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine;
    use crate::model::{
        Arch, BootEntryKind, BootMode, Compression, Format, Join, Packing, Service, TableKind,
        Target, VolumesOn,
    };
    use crate::vm::{DiskBus, Firmware};

    /// Checks that every word has a help text and can be parsed.
    fn check<T: JsonSchema + DeserializeOwned>(count: usize) {
        let words = words::<T>();
        assert_eq!(words.len(), count, "{}", T::schema_name());
        for word in words {
            assert!(word.get_help().is_some_and(|h| !h.to_string().is_empty()));
            assert!(parse::<T>(word.get_name()).is_ok(), "{}", word.get_name());
        }
    }

    #[test]
    fn every_type_of_an_option_has_words() {
        check::<Arch>(2);
        check::<BootEntryKind>(2);
        check::<BootMode>(3);
        check::<Compression>(3);
        check::<Format>(Format::ALL.len());
        check::<Packing>(3);
        check::<Join>(2);
        check::<Service>(3);
        check::<TableKind>(2);
        check::<Target>(Target::ALL.len());
        check::<VolumesOn>(2);
        check::<DiskBus>(5);
        check::<Firmware>(2);
        check::<engine::Kind>(2);
    }
}
