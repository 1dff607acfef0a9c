//! QEMU's control protocol, as far as we need it: three commands and one event.
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
    reader: BufReader<UnixStream>,
    /// What came of a line that is not complete.
    partial: Vec<u8>,
    /// How many commands were sent; each has its number as its id.
    sent: u64,
    /// Why the machine ended, if that was said.
    reason: Option<String>,
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
                    let mut qmp = Qmp {
                        reader: BufReader::new(stream.try_clone()?),
                        stream,
                        partial: Vec::new(),
                        sent: 0,
                        reason: None,
                    };
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
        self.send(command, serde_json::json!({}))
    }

    fn send(&mut self, command: &str, arguments: serde_json::Value) -> io::Result<()> {
        self.sent += 1;
        let line = serde_json::json!({
            "execute": command, "arguments": arguments, "id": self.sent,
        });
        self.stream.write_all(format!("{line}\n").as_bytes())
    }

    /// Presses the power button. The guest may take its time, or not care.
    pub(super) fn power_button(&mut self) -> io::Result<()> {
        self.execute("system_powerdown")
    }

    /// Lets QEMU write its screen into a file, as a PPM: the one format that every QEMU has.
    pub(super) fn screendump(&mut self, file: &Utf8Path, deadline: Instant) -> io::Result<()> {
        self.send("screendump", serde_json::json!({ "filename": file }))?;
        let id = self.sent;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(line) = self.line(left)? else {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "QEMU does not answer at its control socket",
                ));
            };
            if line["id"] != id {
                continue;
            }
            return match &line["error"]["desc"] {
                serde_json::Value::String(why) => Err(io::Error::other(why.clone())),
                _ => Ok(()),
            };
        }
    }

    /// The next thing that QEMU says; nothing, if it says nothing for so long.
    fn line(&mut self, patience: Duration) -> io::Result<Option<serde_json::Value>> {
        if patience.is_zero() {
            return Ok(None);
        }
        self.stream.set_read_timeout(Some(patience))?;
        match self.reader.read_until(b'\n', &mut self.partial) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                return Ok(None);
            }
            Err(e) => return Err(e),
        }
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned();
        self.reason = reason_in(&line).or(self.reason.take());
        Ok(Some(serde_json::from_str(&line).unwrap_or_default()))
    }

    /// Why the machine ended, by QEMU's word. To be asked when QEMU has ended: what it sent is
    /// still in the socket.
    pub(super) fn end_reason(&mut self) -> Option<String> {
        while let Ok(Some(_)) = self.line(Duration::from_secs(2)) {}
        self.reason.clone()
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
