//! `docker create` and `docker export`: an image as a tar stream.

use super::owner::{self, remove_leftovers};
use super::{Engine, guarded, last_line, temporary_name};
use crate::cleanup::Guard;
use crate::error::Report;
use duct::Expression;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// The tar of a container's root file system. Dropping it removes the container.
#[derive(Debug)]
pub struct Exported {
    handle: Arc<duct::ReaderHandle>,
    image: String,
    // Dropped in this order: engines may refuse to remove a container that is being read.
    _reading: Guard,
    _container: Guard,
}

/// How long a signal handler waits for a container that is being created or read.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container that is never started. Dropping it removes the container.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) name: String,
    guard: Guard,
}

/// Creates a container from an image. Its name states the purpose.
pub(super) fn make(engine: &Engine, image: &str, purpose: &str) -> Result<Made, Report> {
    let doing = format!("creating a container from {image}");
    let failed = |e: io::Error| Report::failure(doing.clone()).because(e);
    let name = temporary_name(purpose);
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        remove_leftovers(engine);
    });
    let quiet = |command: Expression| apart(command.stdin_null().unchecked());
    let label = owner::label();
    let mut arguments = vec!["create", "--name", &name, "--network", "none"];
    arguments.extend(label.as_deref());
    // The command is never started, but engines refuse an image without one.
    arguments.extend([image, "/bin/true"]);
    let create = quiet(engine.command(arguments).stdout_null().stderr_capture());
    let remove = quiet(
        engine
            .command(["rm", "--force", "--volumes", &name])
            .stdout_null()
            .stderr_null(),
    );
    let inspect = quiet(
        engine
            .command(["container", "inspect", &name])
            .stdout_null()
            .stderr_null(),
    );
    let (created, guard) = guarded(
        || create.start(),
        move |created| {
            // A container that is just being created cannot be removed yet.
            let begun = Instant::now();
            while matches!(created.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(10));
            }
            // Also after a failed `create`, because the engine may have got further than its
            // client. Retry, because an engine that still reads the container may refuse for a
            // moment.
            while !succeeds(&remove) && succeeds(&inspect) && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(100));
            }
        },
    )
    .map_err(failed)?;
    let output = created.wait().map_err(failed)?;
    if !output.status.success() {
        let said = last_line(&output.stderr);
        return Err(Report::failure(format!("{doing}: {said}")));
    }
    Ok(Made { name, guard })
}

/// Starts exporting an image's root file system.
pub fn export(engine: &Engine, image: &str) -> Result<Exported, Report> {
    let container = make(engine, image, "export")?;
    let export = engine
        .command(["export", &container.name])
        .stdin_null()
        .stderr_capture()
        .unchecked();
    let (handle, reading) = guarded(
        || export.reader(),
        |reading| {
            let _ = reading.kill();
        },
    )
    .map_err(|e| Report::failure(format!("exporting {image}")).because(e))?;
    Ok(Exported {
        handle,
        image: image.to_owned(),
        _reading: reading,
        _container: container.guard,
    })
}

/// The tar of an image with its layers and its configuration (`docker save`).
#[derive(Debug)]
pub struct Saved {
    handle: Arc<duct::ReaderHandle>,
    image: String,
    _reading: Guard,
}

/// Starts saving an image.
pub fn save(engine: &Engine, image: &str) -> Result<Saved, Report> {
    let save = engine
        .command(["save", image])
        .stdin_null()
        .stderr_capture()
        .unchecked();
    let (handle, reading) = guarded(
        || save.reader(),
        |reading| {
            let _ = reading.kill();
        },
    )
    .map_err(|e| Report::failure(format!("saving {image}")).because(e))?;
    Ok(Saved {
        handle,
        image: image.to_owned(),
        _reading: reading,
    })
}

fn succeeds(command: &Expression) -> bool {
    command.run().is_ok_and(|o| o.status.success())
}

/// In its own process group, so that Ctrl-C in the terminal reaches only us, and we wait for it.
pub(super) fn apart(command: Expression) -> Expression {
    command.before_spawn(|command| {
        command.process_group(0);
        Ok(())
    })
}

impl Read for Exported {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        read(&self.handle, buf, || format!("export {}", self.image))
    }
}

impl Read for Saved {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        read(&self.handle, buf, || format!("save {}", self.image))
    }
}

/// Reads what an engine writes. It is only complete if the engine reports success.
fn read(
    handle: &duct::ReaderHandle,
    buf: &mut [u8],
    doing: impl Fn() -> String,
) -> io::Result<usize> {
    let mut from = handle;
    let n = from.read(buf)?;
    if n == 0
        && !buf.is_empty()
        && let Some(output) = handle.try_wait()?
        && !output.status.success()
    {
        return Err(io::Error::other(format!(
            "the engine could not {}: {}",
            doing(),
            last_line(&output.stderr)
        )));
    }
    Ok(n)
}
