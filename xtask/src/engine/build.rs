//! `docker build`.

use super::held::{Held, Name};
use super::{Engine, Kind, guarded, last_line, send};
use crate::error::Report;
use crate::model::Arch;
use crate::printable;
use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::Signal;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader};

/// The inputs of a build.
#[derive(Debug, Clone)]
pub struct Build<'a> {
    /// The context: the recipe's folder.
    pub context: &'a Utf8Path,
    /// The Dockerfile. Default: the one in the context.
    pub dockerfile: Option<Utf8PathBuf>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Target architecture, if it differs from that of the base or the host.
    pub platform: Option<Arch>,
    /// Tag of the image.
    pub tag: String,
    /// Network of the build's containers. Default: the engine's.
    pub network: Option<&'a str>,
}

/// Longest line that is shown, in bytes. A program in a build may print an endless one.
const MAX_LINE: usize = 64 << 10;

/// Reads the next line into `line`, but only its first [`MAX_LINE`] bytes. Returns `false` at the
/// end.
fn next_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let buf = match from.fill_buf() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            buf => buf?,
        };
        if buf.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = buf.iter().position(|b| *b == b'\n');
        let len = end.map_or(buf.len(), |end| end + 1);
        let room = (MAX_LINE - line.len()).min(len);
        line.extend_from_slice(&buf[..room]);
        from.consume(len);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// How many lines of output an error repeats.
const TAIL: usize = 12;

/// Builds an image and returns the one from this build, even if another run uses the same tag at
/// the same time. Passes each line of the engine's output to `show` immediately.
///
/// Does not use `--iidfile`: some builders write another digest there than the image's ID in the
/// engine.
pub fn build(engine: &Engine, what: &Build<'_>, show: &dyn Fn(&str)) -> Result<Held, Report> {
    let doing = format!("building {}", what.context);
    let failed = |e: std::io::Error| Report::failure(doing.clone()).because(e);
    let dockerfile = what
        .dockerfile
        .clone()
        .unwrap_or_else(|| what.context.join("Dockerfile"));
    if !dockerfile.is_file() {
        return Err(
            Report::mistake(format!("{doing}: there is no {dockerfile}"))
                .hint("a recipe needs a Dockerfile that starts with ARG BASE and FROM ${BASE}"),
        );
    }
    let own = Name::new(engine).map_err(failed)?;
    let mut arguments: Vec<String> = [
        "build",
        "--force-rm",
        "--tag",
        &own.name,
        "--tag",
        &what.tag,
    ]
    .map(str::to_owned)
    .into();
    let here = if dockerfile.is_absolute() { "" } else { "./" };
    arguments.push(format!("--file={here}{dockerfile}"));
    if let Some(arch) = what.platform {
        arguments.push(format!("--platform=linux/{arch}"));
    }
    if let Some(network) = what.network {
        arguments.push(format!("--network={network}"));
    }
    for (name, value) in &what.args {
        arguments.push("--build-arg".into());
        arguments.push(format!("{name}={value}"));
    }
    arguments.extend(to_the_engine(engine));
    // The prefix keeps it from being read as an option, standard input or a URL.
    let context = what.context.as_str();
    let here = if context.starts_with('/') { "" } else { "./" };
    arguments.extend(["--".to_owned(), format!("{here}{context}")]);

    tracing::debug!("{} {}", engine.path, arguments.join(" "));
    let build = engine
        .command(arguments.iter().map(String::as_str))
        .stdin_null()
        .stderr_to_stdout()
        .unchecked();
    // If only we get a signal, the build must stop too. The engine's client is asked to end instead
    // of killed, so that it can tell its server and its helpers.
    let (output, _running) = guarded(
        || build.reader(),
        |running| {
            if matches!(running.try_wait(), Ok(None)) {
                running
                    .pids()
                    .into_iter()
                    .for_each(|pid| send(pid, Signal::TERM));
            }
        },
    )
    .map_err(failed)?;
    let mut tail: VecDeque<String> = VecDeque::new();
    let mut lines = BufReader::new(&*output);
    let mut line = Vec::new();
    while next_line(&mut lines, &mut line).map_err(failed)? {
        let text = printable::output(&line);
        if !text.is_empty() {
            show(&text);
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(text);
        }
    }
    let done = output.try_wait().map_err(failed)?;
    if !done.is_some_and(|o| o.status.success()) {
        let tail: Vec<String> = tail.into();
        let last = last_line(tail.join("\n").as_bytes());
        return Err(Report::failure(format!("{doing}: {last}")).hint(hint(&tail)));
    }
    own.held(engine).map_err(|_| {
        Report::failure(format!(
            "{doing}: the build succeeded, but the builder did not store the image in {}",
            engine.kind().tool().name()
        ))
        .hint("use the engine's built-in builder: run `docker buildx use default` and unset BUILDX_BUILDER")
    })
}

/// The options that make `docker build` store the image in the engine if it uses buildx. The
/// default builder may run in its own container (the driver docker-container), which keeps its
/// images to itself and does not see the engine's. The engine's built-in builder has the name of
/// the context (docker buildx, "Builders"). The old builder supports neither option.
fn to_the_engine(engine: &Engine) -> Vec<String> {
    let help = engine.run(["build", "--help"], "asking for the options of the builder");
    let help = help.unwrap_or_default();
    let knows = |option: &str| help.split_whitespace().any(|w| w == option);
    if engine.kind() != Kind::Docker || !knows("--load") {
        return Vec::new();
    }
    let mut options = vec!["--load".to_owned()];
    let context = engine.run(["context", "show"], "asking for the engine's context");
    if let Some(context) = context.ok().filter(|c| !c.is_empty() && knows("--builder")) {
        options.push(format!("--builder={context}"));
    }
    options
}

fn hint(tail: &[String]) -> &'static str {
    let said = |what: &str| tail.iter().any(|l| l.contains(what));
    if said("Temporary failure resolving") || said("Could not resolve") || said("bad address") {
        "the build has no network: try --network host, or check the engine's DNS settings"
    } else if said("no space left on device") {
        "free some space where the engine stores its images, e.g. with `docker system prune`"
    } else {
        "fix the Dockerfile and try again (the engine's own output is hidden by -q)"
    }
}

/// The architecture of this host.
pub fn host_arch() -> Arch {
    if cfg!(target_arch = "aarch64") {
        Arch::Arm64
    } else {
        Arch::Amd64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_without_an_end_takes_no_memory() {
        use std::io::Read;
        let endless = io::repeat(b'x').take(10 << 20);
        let mut all = BufReader::new(b"one\n\n".chain(endless).chain(&b"\ntwo"[..]));
        let mut line = Vec::new();
        let mut seen = Vec::new();
        while next_line(&mut all, &mut line).unwrap() {
            seen.push((line.len(), line.last().copied()));
        }
        let long = (MAX_LINE, Some(b'x'));
        let wanted = [(4, Some(b'\n')), (1, Some(b'\n')), long, (3, Some(b'o'))];
        assert_eq!(seen, wanted);
        assert!(line.capacity() <= 2 * MAX_LINE);
    }
}
