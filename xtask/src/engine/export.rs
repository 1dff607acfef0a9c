//! `docker create` and `docker export`: an image as a stream of tar.

use super::owner::{self, remove_leftovers};
use super::{Engine, guarded, last_line, temporary_name};
use crate::cleanup::Guard;
use crate::error::Report;
use duct::Expression;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// The tar of a container's root file system. The container is removed when this is dropped.
#[derive(Debug)]
pub struct Exported {
    handle: Arc<duct::ReaderHandle>,
    image: String,
    // In this order: a container that is being read can not always be removed.
    _reading: Guard,
    _container: Guard,
}

/// How long a signal waits for a container that is just being made, or read.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container that is never started. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) name: String,
    guard: Guard,
}

/// Makes a container of an image, for the purpose that its name says.
pub(super) fn make(engine: &Engine, image: &str, purpose: &str) -> Result<Made, Report> {
    let doing = format!("making a container of {image}");
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
    // The command is never started; an image without one would be refused.
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
            // What is not there yet cannot be removed, and would be there a moment later.
            let begun = Instant::now();
            while matches!(created.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(10));
            }
            // Also after a failed `create`: the engine may have got further than its client.
            // And again: an engine that still reads the container says no for a moment.
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

/// Starts to export an image's root file system.
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

fn succeeds(command: &Expression) -> bool {
    command.run().is_ok_and(|o| o.status.success())
}

/// In a process group of its own: the terminal's Ctrl-C is for us, who then wait for it.
pub(super) fn apart(command: Expression) -> Expression {
    command.before_spawn(|command| {
        command.process_group(0);
        Ok(())
    })
}

impl Read for Exported {
    /// The end of the tar is only its end if the engine says that it went well.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = (&*self.handle).read(buf)?;
        if n == 0
            && !buf.is_empty()
            && let Some(output) = self.handle.try_wait()?
            && !output.status.success()
        {
            return Err(io::Error::other(format!(
                "the engine could not export {}: {}",
                self.image,
                last_line(&output.stderr)
            )));
        }
        Ok(n)
    }
}
