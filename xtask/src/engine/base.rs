//! The base image: local, pulled, or built with the recipe's `bootstrap`.

use super::build::host_arch;
use super::names::check_image;
use super::{Engine, Kind, guarded, last_line, send};
use crate::error::Report;
use crate::model::Arch;
use crate::printable;
use crate::tool;
use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::Signal;
use std::io::{Read, Seek, SeekFrom};

/// How much of a bootstrap's messages is examined, in bytes.
const LOG: u64 = 1 << 20;

/// A base image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its name.
    pub name: String,
    /// The `--platform` option for a build from it, if it is for another architecture than the
    /// host's. Empty for an image that was imported here: the engine would look for it elsewhere.
    pub platform: Option<Arch>,
}

impl Base {
    fn plain(name: &str, arch: Arch) -> Base {
        Base {
            name: name.to_owned(),
            platform: (arch != host_arch()).then_some(arch),
        }
    }

    fn imported(name: String) -> Base {
        Base {
            name,
            platform: None,
        }
    }
}

/// Makes sure that the engine has the image `base` for `arch`, and returns its name there. Reports
/// progress to `say`.
///
/// The image is there, or is pulled, or `bootstrap` (an executable; arguments: image name and
/// architecture) writes a root file system as a tar to its standard output, which is imported under
/// that name. For another architecture than the host's it gets a name of our own, so that `base`
/// itself keeps its meaning for the host.
pub fn ensure_base(
    engine: &Engine,
    base: &str,
    arch: Arch,
    bootstrap: Option<&Utf8Path>,
    say: &dyn Fn(&str),
) -> Result<Base, Report> {
    check_image(base, "the base image")?;
    let own = own_name(base, arch);
    if has_arch(engine, base, arch) {
        return Ok(Base::plain(base, arch));
    }
    // The name shows its architecture; older engines record the host's for an import.
    if own != base && engine.has_image(&own) {
        return Ok(Base::imported(own));
    }
    say(&format!("pulling {base}"));
    let platform = format!("--platform=linux/{arch}");
    let mut pull = vec!["pull", "--quiet"];
    if arch != host_arch() {
        pull.push(&platform);
    }
    pull.push(base);
    let Err(pulling) = engine.run(pull, &format!("pulling {base}")) else {
        return Ok(Base::plain(base, arch));
    };
    let tried = format!(
        "the base image {base} is not available locally and cannot be pulled ({})",
        pulling.message
    );
    let Some(bootstrap) = bootstrap.filter(|b| b.is_file()) else {
        return Err(Report::failure(tried).hint(
            "check the name and the network; or `docker import` a root file system under that name; or add an executable `bootstrap` to the recipe, which writes a root file system as a tar",
        ));
    };
    say(&format!("{tried}; building it with {bootstrap}"));
    run_bootstrap(engine, base, &own, arch, bootstrap, say)?;
    Ok(Base::imported(own))
}

/// The name of a bootstrapped base image: `base` itself for the host's architecture.
pub fn own_name(base: &str, arch: Arch) -> String {
    if arch == host_arch() {
        return base.to_owned();
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    let tag: String = base
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    format!("docker-to-linux/base:{tag}-{arch}")
}

fn has_arch(engine: &Engine, base: &str, arch: Arch) -> bool {
    engine
        .run(
            ["image", "inspect", "--format", "{{.Architecture}}", base],
            "asking for an image's architecture",
        )
        .is_ok_and(|found| found == arch.to_string())
}

fn run_bootstrap(
    engine: &Engine,
    base: &str,
    imported: &str,
    arch: Arch,
    bootstrap: &Utf8Path,
    say: &dyn Fn(&str),
) -> Result<(), Report> {
    let doing = format!("building the base image {base} with {bootstrap}");
    let failed = |e: std::io::Error| Report::failure(doing.clone()).because(e);
    let program = bootstrap.canonicalize_utf8().map_err(failed)?;
    let own: Utf8PathBuf = std::env::current_exe()
        .map_err(failed)?
        .try_into()
        .map_err(|e: camino::FromPathBufError| Report::failure(doing.clone()).because(e))?;
    // Unnamed, so nothing remains of it even if a signal ends the program.
    let mut log = tempfile::tempfile().map_err(failed)?;
    let arch_name = arch.to_string();
    let platform = format!("linux/{arch}");
    // XTASK lets a bootstrap run this program, e.g. for file systems that it cannot mount.
    let own = [("XTASK", own.as_os_str())];
    let make = tool::expression(program.as_std_path(), [base, &arch_name], &own)
        .stdin_null()
        .stderr_file(log.try_clone().map_err(failed)?);
    let mut import = vec!["import"];
    if arch != host_arch() {
        import.extend(["--platform", &platform]);
    }
    // Imported without a name, so that an incomplete base never looks like a complete one.
    import.push("-");
    let import = engine.command(import).stdout_capture().stderr_capture();
    // Check the left side's status first: the import of an incomplete tar fails too, but is not the
    // cause.
    let both = make.pipe(import).unchecked();
    // The import would take the end of the bootstrap for the end of the tar, so kill it first and
    // at once. Its server then drops what it has. (Podman has no server.)
    let import_end = match engine.kind() {
        Kind::Docker => Signal::KILL,
        Kind::Podman => Signal::TERM,
    };
    let (running, _guard) = guarded(
        || both.start(),
        move |running| {
            if matches!(running.try_wait(), Ok(None)) {
                let pids = running.pids();
                pids.iter().skip(1).for_each(|pid| send(*pid, import_end));
                // Gives a bootstrap the chance to clean up.
                pids.iter().take(1).for_each(|pid| send(*pid, Signal::TERM));
            }
        },
    )
    .map_err(failed)?;
    let output = running.wait().map_err(failed)?;
    let mut said = Vec::new();
    // Only the end of its output: it explains a failure, and the whole may have any length.
    let len = log.seek(SeekFrom::End(0)).map_err(failed)?;
    log.seek(SeekFrom::Start(len.saturating_sub(LOG)))
        .map_err(failed)?;
    log.take(LOG).read_to_end(&mut said).map_err(failed)?;
    for line in said.split(|b| *b == b'\n') {
        tracing::debug!("bootstrap: {}", printable::output(line));
    }
    let id = last_line(&output.stdout);
    if output.status.success() {
        engine.run(
            ["tag", &id, imported],
            &format!("naming the base image {imported}"),
        )?;
        say(&format!("imported the base image {imported}"));
        return Ok(());
    }
    if !output.stdout.is_empty() {
        let _ = engine.run(["image", "rm", &id], "removing an incomplete base image");
    }
    let cause = if said.is_empty() {
        last_line(&output.stderr)
    } else {
        first_own_line(&said).unwrap_or_else(|| last_line(&said))
    };
    Err(Report::failure(format!("{doing}: {cause}"))
        .hint("`cargo xtask setup` installs what the project's own bootstraps need; use -v to see its whole output"))
}

/// Prefers a message of the bootstrap itself to the last line of a program that it ran.
fn first_own_line(said: &[u8]) -> Option<String> {
    said.rsplit(|b| *b == b'\n')
        .map(printable::output)
        .find_map(|l| l.strip_prefix("bootstrap: ").map(str::to_owned))
}
