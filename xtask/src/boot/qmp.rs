//! QEMU's control protocol, as far as we need it: one command and one event.
//! (docs/interop/qmp-spec.rst of QEMU: JSON objects, one a line.)

use super::child::Child;
use camino::Utf8Path;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

/// A connection to a running QEMU.
#[derive(Debug)]
pub(super) struct Qmp {
    stream: UnixStream,
}

/// The socket that QEMU will connect to. It must be there before QEMU starts.
pub(super) fn listen(path: &Utf8Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Qmp {
    /// Takes QEMU's connection, or `None` if QEMU ends without one.
    pub(super) fn accept(
        listener: &UnixListener,
        qemu: &mut Child,
        deadline: Instant,
    ) -> io::Result<Option<Qmp>> {
        // What QEMU's end of a connection did wrong. It is mostly on its way out then, for a
        // reason that it tells on its standard error: that is worth waiting for.
        let mut broken = None;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    let mut qmp = Qmp { stream };
                    // Without this QEMU takes no command and tells no event.
                    match qmp.execute("qmp_capabilities") {
                        Ok(()) => return Ok(Some(qmp)),
                        Err(e) => broken = Some(e),
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            if qemu.try_wait()?.is_some() {
                return Ok(None);
            }
            if Instant::now() >= deadline {
                return Err(broken.unwrap_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::TimedOut,
                        "QEMU does not open its control socket",
                    )
                }));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn execute(&mut self, command: &str) -> io::Result<()> {
        let line = serde_json::json!({ "execute": command });
        self.stream.write_all(format!("{line}\n").as_bytes())
    }

    /// Presses the power button. The guest may take its time, or not care.
    pub(super) fn power_button(&mut self) -> io::Result<()> {
        self.execute("system_powerdown")
    }

    /// Why the machine ended, by QEMU's word. To be asked when QEMU has ended: what it sent is
    /// still in the socket.
    pub(super) fn end_reason(&mut self) -> Option<String> {
        self.stream
            .set_read_timeout(Some(Duration::from_secs(2)))
            .ok()?;
        BufReader::new(&self.stream)
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| reason_in(&line))
            .last()
    }
}

/// The reason in an event `SHUTDOWN` (qapi/run-state.json, ShutdownCause).
pub(super) fn reason_in(line: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    if json["event"] != "SHUTDOWN" {
        return None;
    }
    json["data"]["reason"].as_str().map(str::to_owned)
}
