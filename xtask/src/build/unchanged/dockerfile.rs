//! The images that a Dockerfile is based on.

use parse_dockerfile::{Flag, Instruction, Source};
use std::collections::{BTreeMap, BTreeSet};

/// Why it cannot be told whether a Dockerfile would give the same image again.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unclear {
    #[error("it cannot be parsed ({0})")]
    Syntax(String),
    #[error("the argument {0} has no value here")]
    Argument(String),
    #[error("it fetches {0}, which may change at any time")]
    Fetches(String),
}

/// The names of all images that a Dockerfile reads, if it is built with these arguments.
pub(super) fn images(
    text: &str,
    arguments: &BTreeMap<String, String>,
) -> Result<BTreeSet<String>, Unclear> {
    let file = parse_dockerfile::parse(text).map_err(|e| Unclear::Syntax(e.to_string()))?;
    let mut values: BTreeMap<&str, String> = BTreeMap::new();
    for argument in file.global_args() {
        for word in shlex::split(&argument.arguments.value).unwrap_or_default() {
            let (name, default) = word
                .split_once('=')
                .map_or((&*word, None), |(n, d)| (n, Some(d)));
            let default = default.map(|text| expand(text, &values)).transpose()?;
            let value = arguments.get(name).cloned().or(default);
            if let Some((name, value)) = argument_name(&argument.arguments.value, name).zip(value) {
                values.insert(name, value);
            }
        }
    }
    let mut stages: BTreeSet<String> = BTreeSet::new();
    let mut images = BTreeSet::new();
    let mut count = 0_u32;
    let mut add = |name: &str, stages: &BTreeSet<String>, count: u32| {
        // Stages have numbers too.
        let number = name.parse().is_ok_and(|n: u32| n < count);
        if name != "scratch" && !number && !stages.contains(&name.to_lowercase()) {
            images.insert(name.to_owned());
        }
    };
    for instruction in &file.instructions {
        match instruction {
            Instruction::From(from) => {
                add(&expand(&from.image.value, &values)?, &stages, count);
                count += 1;
                if let Some((_, name)) = &from.as_ {
                    stages.insert(name.value.to_lowercase());
                }
            }
            Instruction::Copy(copy) => {
                if let Some(from) = option(&copy.options, "from") {
                    add(&expand(from, &values)?, &stages, count);
                }
            }
            Instruction::Run(run) => {
                let mounts = run.options.iter().filter(|o| o.name.value == "mount");
                let mounts = mounts.filter_map(|o| o.value.as_ref());
                for part in mounts.flat_map(|mount| mount.value.split(',')) {
                    if let Some(from) = part.strip_prefix("from=") {
                        add(&expand(from, &values)?, &stages, count);
                    }
                }
            }
            Instruction::Add(add) => {
                for source in &add.src {
                    // A URL, or a repository of git by ssh.
                    if let Source::Path(path) = source
                        && (path.value.contains("://") || path.value.starts_with("git@"))
                    {
                        return Err(Unclear::Fetches(path.value.to_string()));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(images)
}

/// `name` as a part of `text`, which lives longer.
fn argument_name<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = text.find(name)?;
    text.get(at..at + name.len())
}

/// The value of an option such as `--from=base`.
fn option<'a>(options: &'a [Flag<'_>], name: &str) -> Option<&'a str> {
    let found = options.iter().find(|option| option.name.value == name);
    found.and_then(|option| Some(&*option.value.as_ref()?.value))
}

/// Replaces `$name`, `${name}`, `${name:-default}` and `${name:+other}` (Dockerfile reference,
/// "Environment replacement").
fn expand(text: &str, values: &BTreeMap<&str, String>) -> Result<String, Unclear> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (expression, after) = match after.strip_prefix('{').and_then(|a| a.split_once('}')) {
            Some(parts) => parts,
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len()))
            }
        };
        let (name, other) = match expression.split_once(':') {
            Some((name, other)) => (name, other),
            None => (expression, ""),
        };
        let value = values.get(name).filter(|value| !value.is_empty());
        match (value, other.strip_prefix('-'), other.strip_prefix('+')) {
            (Some(_), _, Some(text)) => out.push_str(text),
            (None, _, Some(_)) => {}
            (Some(value), _, _) => out.push_str(value),
            (None, Some(default), _) => out.push_str(default),
            (None, None, None) => return Err(Unclear::Argument(expression.to_owned())),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn of(text: &str, arguments: &[(&str, &str)]) -> Result<Vec<String>, Unclear> {
        let arguments = arguments
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()));
        images(text, &arguments.collect()).map(|all| all.into_iter().collect())
    }

    #[test]
    fn every_image_is_found() {
        let text = "# syntax=docker/dockerfile:1\n\
                    ARG BASE=debian:trixie\nARG TAG\nARG BOTH=\"busybox:${TAG:-1}\" OTHER=x\n\
                    FROM golang:1.24 AS Build\n\
                    RUN --mount=type=bind,from=tools:2,target=/t --mount=type=cache,target=/c true\n\
                    from ${BOTH} as second\n\
                    FROM scratch\n\
                    COPY --from=build /a /a\nCOPY --from=1 /a /b\nCOPY --chown=1:1 --from=nginx /x /y\n\
                    FROM --platform=$BUILDPLATFORM \\\n  $BASE\n\
                    RUN <<EOT\nFROM nothing\nEOT\n";
        let found = of(text, &[("TAG", "9")]).unwrap();
        assert_eq!(
            found,
            [
                "busybox:9",
                "debian:trixie",
                "golang:1.24",
                "nginx",
                "tools:2"
            ]
        );
        let found = of(text, &[("BASE", "mine")]).unwrap();
        assert_eq!(
            found,
            ["busybox:1", "golang:1.24", "mine", "nginx", "tools:2"]
        );
    }

    #[test]
    fn what_is_not_known_is_said() {
        let missing = Unclear::Argument("X".into());
        assert_eq!(of("ARG X\nFROM $X", &[]), Err(missing));
        assert_eq!(of("ARG X\nFROM a:${X:+b}c", &[]), Ok(vec!["a:c".into()]));
        let url = "FROM a\nADD https://example.org/x /x";
        assert!(matches!(of(url, &[]), Err(Unclear::Fetches(_))));
        assert!(matches!(of("FROM", &[]), Err(Unclear::Syntax(_))));
    }
}
