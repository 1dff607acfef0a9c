//! The inputs of the GitHub Action: they are read from the environment, checked, and turned into a
//! command line of `image`.
//!
//! `action.yml` passes each as a variable `INPUT_...`. They are checked only here: GitHub does not
//! enforce `required`, has no types, and only warns about an input that does not exist.

use crate::error::Report;
use crate::github::{Token, release};
use crate::recipe::closest;
use std::collections::BTreeMap;
use std::time::Duration;

/// Every input, in the order of `action.yml`; a test compares the two.
pub(super) const NAMES: [&str; 20] = [
    "recipe",
    "dockerfile",
    "context",
    "container",
    "as",
    "machine",
    "base",
    "boot",
    "target",
    "format",
    "size",
    "sector-size",
    "volumes",
    "compress",
    "smoke",
    "smoke-timeout",
    "output",
    "release-tag",
    "token",
    "args",
];

/// Used by a step of `action.yml`, not by this program, which only checks its value.
pub(super) const ATTESTATIONS: &str = "attestations";

/// Folder in the output folder for the logs and screenshots of boots.
pub(super) const SMOKE: &str = "smoke";

/// The longest boot timeout, in seconds: a job ends after six hours.
const LONGEST_BOOT: u64 = 6 * 3600;

/// What the user of the action asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inputs {
    /// Arguments for `image`.
    pub(super) image: Vec<String>,
    /// Arguments for a raw image to boot, if `image` writes no file that can be booted.
    pub(super) trial: Option<Vec<String>>,
    /// What is built, for titles: the recipe, the Dockerfile or the container.
    pub(super) subject: String,
    /// Whether to boot the image.
    pub(super) smoke: bool,
    /// Time within which the login prompt must appear.
    pub(super) smoke_timeout: Option<Duration>,
    /// Folder for images, logs and screenshots.
    pub(super) output: String,
    /// The release to publish to, if any.
    pub(super) release: Option<Publish>,
}

/// What publishing needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publish {
    pub(super) tag: String,
    pub(super) token: Token,
}

/// The environment variable that holds an input.
pub(super) fn variable(name: &str) -> String {
    format!("INPUT_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// Reads the inputs from variables. `given` is a JSON object of all inputs that the workflow gives,
/// if known: only this shows names that do not exist.
pub(super) fn read(
    variables: &BTreeMap<String, String>,
    given: Option<&str>,
) -> Result<Inputs, Vec<Report>> {
    let mut wrong = Vec::new();
    if let Some(given) = given.filter(|g| !g.is_empty()) {
        wrong.extend(unknown_names(given));
    }
    let raw = |name: &str| {
        let value = variables.get(&variable(name)).map(String::as_str);
        // The line feed at the end of a YAML block is not part of the value.
        value.unwrap_or_default().trim()
    };
    let text = |name: &str| Some(raw(name)).filter(|v| !v.is_empty());
    let mut check = |result: Result<(), Report>| wrong.extend(result.err());

    let source = source(text("recipe"), text("dockerfile"), text("container"));
    let subject = match &source {
        Ok(source) => (*source).to_owned(),
        Err(_) => String::new(),
    };
    check(source.map(|_| ()));
    if text("context").is_some() && text("dockerfile").is_none() {
        check(Err(Report::mistake(
            "the input `context` needs `dockerfile`, which is empty",
        )
        .hint("set `dockerfile` too, or remove `context`")));
    }
    let smoke = boolean("smoke", raw("smoke"), true);
    let attestations = boolean(ATTESTATIONS, raw(ATTESTATIONS), false);
    let timeout = match text("smoke-timeout").map(seconds).transpose() {
        Ok(timeout) => timeout,
        Err(e) => {
            check(Err(e));
            None
        }
    };
    let smoke = match smoke {
        Ok(smoke) => smoke,
        Err(e) => {
            check(Err(e));
            false
        }
    };
    check(attestations.map(|_| ()));
    let release = match text("release-tag") {
        None => None,
        Some(tag) => match publish(tag, raw("token")) {
            Ok(publish) => Some(publish),
            Err(e) => {
                check(Err(e));
                None
            }
        },
    };
    let words = match words(raw("args")) {
        Ok(words) => words,
        Err(e) => {
            check(Err(e));
            Vec::new()
        }
    };
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let output = text("output").unwrap_or("target/images").to_owned();
    let line = |output: &str, form: &[(&str, Option<&str>)]| {
        let mut line = vec![format!("--output={output}")];
        let same = [
            "base",
            "boot",
            "target",
            "size",
            "sector-size",
            "volumes",
            "container",
            "as",
            "machine",
            "dockerfile",
            "context",
        ];
        let same = same.map(|name| (name, text(name)));
        for (name, value) in same.iter().chain(form) {
            // `--name=value`: a value that begins with `-` stays a value.
            line.extend(value.map(|value| format!("--{name}={value}")));
        }
        line.extend(words.iter().cloned());
        if let Some(recipe) = text("recipe") {
            line.push("--".into());
            line.push(recipe.to_owned());
        }
        line
    };
    let form = [("format", text("format")), ("compress", text("compress"))];
    let image = line(&output, &form);
    let trial = text("compress").map(|_| {
        // Targets refuse formats that they do not import.
        let format = match text("target") {
            Some(_) => text("format"),
            None => Some("raw"),
        };
        let mut trial = line(&format!("{output}/{SMOKE}"), &[("format", format)]);
        trial.insert(0, "--no-metadata".into());
        trial
    });
    Ok(Inputs {
        image,
        trial,
        subject,
        smoke,
        smoke_timeout: timeout,
        output,
        release,
    })
}

/// An error for each name that is not an input, with the closest input as a hint.
fn unknown_names(given: &str) -> Vec<Report> {
    let object: serde_json::Map<String, serde_json::Value> = match serde_json::from_str(given) {
        Ok(object) => object,
        Err(e) => {
            return vec![
                Report::failure("reading the list of inputs")
                    .because(e)
                    .hint("the action sets INPUTS to `toJSON(inputs)`; do not set it yourself"),
            ];
        }
    };
    let known = || NAMES.into_iter().chain([ATTESTATIONS]);
    let is_known = |name: &str| known().any(|k| k.eq_ignore_ascii_case(name));
    object
        .keys()
        .filter(|name| !is_known(name))
        .map(|name| {
            let report = Report::mistake(format!("there is no input {name:?}"));
            match closest(&name.to_ascii_lowercase(), known()) {
                Some(meant) => report.hint(format!("did you mean `{meant}`?")),
                None => report.hint(format!(
                    "there are: {}",
                    known().collect::<Vec<_>>().join(", ")
                )),
            }
        })
        .collect()
}

/// What the image is made from. A recipe that is given together with a container or a Dockerfile is
/// the one that adds the kernel and init.
fn source<'a>(
    recipe: Option<&'a str>,
    dockerfile: Option<&'a str>,
    container: Option<&'a str>,
) -> Result<&'a str, Report> {
    match (container.or(dockerfile), recipe) {
        (Some(_), _) if container.is_some() && dockerfile.is_some() => Err(Report::mistake(
            "the inputs `dockerfile` and `container` are both given",
        )
        .hint("an image is made from one of them: remove the other")),
        (Some(one), _) | (None, Some(one)) => Ok(one),
        (None, None) => Err(Report::mistake(
            "one of the inputs `recipe`, `dockerfile` and `container` is required, and all are empty",
        )
        .hint("use `recipe: debian`, or the path of a folder with a Dockerfile and a recipe.yaml")),
    }
}

/// Parses `true` or `false` in the spellings of YAML 1.2's core schema.
fn boolean(name: &str, value: &str, default: bool) -> Result<bool, Report> {
    match value {
        "" => Ok(default),
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        other => {
            let meant = match other.to_ascii_lowercase().as_str() {
                "yes" | "on" | "1" | "y" => Some("true"),
                "no" | "off" | "0" | "n" => Some("false"),
                other => closest(other, ["true", "false"].into_iter()),
            };
            let report = Report::mistake(format!(
                "the input `{name}` is {other:?}, which is neither `true` nor `false`"
            ));
            Err(match meant {
                Some(meant) => report.hint(format!("did you mean `{meant}`?")),
                None => report.hint("write `true` or `false`"),
            })
        }
    }
}

/// Parses a number of seconds from 1 to [`LONGEST_BOOT`].
fn seconds(value: &str) -> Result<Duration, Report> {
    match value.parse() {
        Ok(n) if (1..=LONGEST_BOOT).contains(&n) => Ok(Duration::from_secs(n)),
        _ => Err(Report::mistake(format!(
            "the input `smoke-timeout` is {value:?}, which is not a number of seconds from 1 to {LONGEST_BOOT}"
        ))
        .hint("write only a number, e.g. 300")),
    }
}

fn publish(tag: &str, token: &str) -> Result<Publish, Report> {
    release::check_tag(tag).map_err(|mut e| {
        e.message = format!("the input `release-tag`: {}", e.message);
        e
    })?;
    if token.is_empty() {
        return Err(
            Report::mistake("the input `token` is empty, but `release-tag` is given").hint(
                "remove `token` to publish with the workflow's own token, or use a secret that exists",
            ),
        );
    }
    Ok(Publish {
        tag: tag.to_owned(),
        token: Token::new(token)?,
    })
}

/// Splits the input `args` into words with the quoting rules of a shell; nothing is expanded.
fn words(text: &str) -> Result<Vec<String>, Report> {
    let words = shlex::split(text).ok_or_else(|| {
        Report::mistake("the input `args` has an unclosed quote, or ends with a backslash")
            .hint("quote as in a shell, e.g. --build-arg 'NAME=two words'")
    })?;
    if words.iter().any(|w| w == "--") {
        return Err(Report::mistake("the input `args` contains `--`")
            .hint("use the input `recipe` to name the recipe"));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_action_has_these_inputs_and_passes_each() {
        let file = crate::recipe::home().join("action.yml");
        let text = fs_err::read_to_string(file).unwrap();
        let action: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        let names: Vec<&str> = action["inputs"]
            .as_mapping()
            .unwrap()
            .keys()
            .map(|k| k.as_str().unwrap())
            .collect();
        let mut known: Vec<&str> = NAMES.into_iter().chain([ATTESTATIONS]).collect();
        known.sort_unstable();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, known);
        let steps = action["runs"]["steps"].as_sequence().unwrap();
        let run = steps.iter().find(|s| s["id"] == "run").unwrap();
        for name in names {
            let passed = format!("${{{{ inputs.{name} }}}}");
            assert_eq!(run["env"][variable(name)], *passed, "{name}");
        }
        // Nothing may be interpolated into a script.
        for step in steps {
            let script = step["run"].as_str().unwrap_or_default();
            assert!(!script.contains("${{"), "{script}");
        }
    }

    fn read_pairs(pairs: &[(&str, &str)]) -> Result<Inputs, String> {
        let variables = pairs
            .iter()
            .map(|(k, v)| (variable(k), (*v).to_owned()))
            .collect();
        read(&variables, None).map_err(|all| {
            let say = |r: &Report| format!("{r}; {}", r.hint.clone().unwrap_or_default());
            all.iter().map(say).collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn inputs_become_a_command_line_literally() {
        let hostile = "it's \"a\" $(touch pwned); x\n--persist `y`";
        let inputs = read_pairs(&[
            ("recipe", "./my recipe"),
            ("base", hostile),
            ("boot", "-x"),
            ("smoke", "false"),
            (
                "args",
                "--build-arg 'A=two  words' --engine docker\n--arch amd64",
            ),
        ])
        .unwrap();
        assert_eq!(
            inputs.image,
            [
                "--output=target/images",
                &format!("--base={hostile}"),
                "--boot=-x",
                "--build-arg",
                "A=two  words",
                "--engine",
                "docker",
                "--arch",
                "amd64",
                "--",
                "./my recipe",
            ]
        );
        assert!(!inputs.smoke && inputs.release.is_none() && inputs.trial.is_none());
    }

    #[test]
    fn a_compressed_image_is_booted_before_it_is_compressed() {
        let inputs = read_pairs(&[
            ("recipe", "r"),
            ("format", "qcow2"),
            ("compress", "zstd"),
            ("sector-size", "4096"),
            ("output", "out"),
        ])
        .unwrap();
        assert_eq!(
            inputs.image,
            [
                "--output=out",
                "--sector-size=4096",
                "--format=qcow2",
                "--compress=zstd",
                "--",
                "r"
            ]
        );
        assert_eq!(
            inputs.trial.unwrap(),
            [
                "--no-metadata",
                "--output=out/smoke",
                "--sector-size=4096",
                "--format=raw",
                "--",
                "r"
            ]
        );
    }

    #[test]
    fn a_trial_is_for_the_same_targets() {
        let inputs = read_pairs(&[("recipe", "r"), ("target", "azure"), ("compress", "xz")]);
        let inputs = inputs.unwrap();
        let image = ["--output=target/images", "--target=azure", "--compress=xz"];
        assert_eq!(inputs.image[..3], image);
        let trial = inputs.trial.unwrap();
        assert!(trial.contains(&"--target=azure".to_owned()), "{trial:?}");
        // Azure would refuse raw.
        assert!(
            !trial.iter().any(|a| a.starts_with("--format")),
            "{trial:?}"
        );
    }

    #[test]
    fn a_source_is_required() {
        assert!(read_pairs(&[]).unwrap_err().contains("is required"));
        assert!(read_pairs(&[("recipe", " \n")]).is_err());
        let both = read_pairs(&[("dockerfile", "a"), ("container", "b")]);
        assert!(both.unwrap_err().contains("both"));
        assert!(read_pairs(&[("recipe", "a"), ("container", "b")]).is_ok());
        assert!(read_pairs(&[("container", "nginx")]).is_ok());
        assert!(read_pairs(&[("recipe", "a"), ("context", ".")]).is_err());
    }

    #[test]
    fn booleans_and_numbers_are_strict() {
        let with = |k, v| read_pairs(&[("recipe", "r"), (k, v)]);
        assert!(with("smoke", "true").unwrap().smoke);
        assert!(with("smoke", "").unwrap().smoke);
        assert!(!with("smoke", "FALSE").unwrap().smoke);
        let said = with("smoke", "yes").unwrap_err();
        assert!(said.contains("did you mean `true`?"), "{said}");
        let said = with("smoke", "flase").unwrap_err();
        assert!(said.contains("did you mean `false`?"), "{said}");
        assert!(with("attestations", "maybe").is_err());
        for bad in ["0", "-1", "5m", "1.5", "99999999"] {
            assert!(with("smoke-timeout", bad).is_err(), "{bad}");
        }
        let timeout = with("smoke-timeout", "300").unwrap().smoke_timeout;
        assert_eq!(timeout, Some(Duration::from_secs(300)));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let said = read_pairs(&[
            ("smoke", "si"),
            ("smoke-timeout", "x"),
            ("release-tag", "a b"),
            ("args", "'"),
        ])
        .unwrap_err();
        assert_eq!(said.lines().count(), 5, "{said}");
    }

    #[test]
    fn a_name_that_does_not_exist_is_an_error() {
        let variables = BTreeMap::from([(variable("recipe"), "r".to_owned())]);
        let given = r#"{"Recipe": "r", "smoke": "", "comprss": "x", "zzz": "y"}"#;
        let wrong = read(&variables, Some(given)).unwrap_err();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        let hints: String = wrong.iter().filter_map(|r| r.hint.clone()).collect();
        assert!(hints.contains("did you mean `compress`?"), "{hints}");
        assert!(read(&variables, Some("no JSON")).is_err());
    }

    #[test]
    fn publishing_needs_a_token_and_never_shows_it() {
        let with = |token| read_pairs(&[("recipe", "r"), ("release-tag", "v1"), ("token", token)]);
        assert!(with("").unwrap_err().contains("`token` is empty"));
        let inputs = with("ghs_secret").unwrap();
        assert_eq!(inputs.release.clone().unwrap().tag, "v1");
        assert!(!format!("{inputs:?}").contains("secret"));
    }
}
