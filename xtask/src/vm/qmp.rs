//! The part of QEMU's control protocol that is needed: a few commands and one event
//! (docs/interop/qmp-spec.rst of QEMU: one JSON object per line).

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
    /// The received part of an incomplete line.
    partial: Vec<u8>,
    /// The number of commands sent so far, used as their IDs.
    sent: u64,
    /// Why the machine ended, if QEMU has said so.
    reason: Option<String>,
}

/// The socket that QEMU connects to. It must exist before QEMU starts.
pub(super) fn listen(path: &Utf8Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Qmp {
    /// Accepts QEMU's connection. `None` if QEMU ends without one.
    pub(super) fn accept(
        listener: &UnixListener,
        qemu: &mut Child,
        deadline: Instant,
    ) -> io::Result<Option<Qmp>> {
        // QEMU broke the connection. It is mostly about to exit then, for a reason that it prints
        // on standard error, so wait for that.
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
                    // QEMU accepts commands and sends events only after this.
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

    /// Presses the power button. The guest may react late or not at all.
    pub(super) fn power_button(&mut self) -> io::Result<()> {
        self.execute("system_powerdown")
    }

    /// Writes a screenshot to a file, as a PPM: the only format that every QEMU supports.
    pub(super) fn screendump(&mut self, file: &Utf8Path, deadline: Instant) -> io::Result<()> {
        self.ask(
            "screendump",
            serde_json::json!({ "filename": file }),
            deadline,
        )
        .map(drop)
    }

    /// Sends a command and waits for its answer.
    pub(super) fn ask(
        &mut self,
        command: &str,
        arguments: serde_json::Value,
        deadline: Instant,
    ) -> io::Result<serde_json::Value> {
        self.send(command, arguments)?;
        let id = self.sent;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "QEMU does not answer on its control socket",
                ));
            }
            let Some(mut line) = self.line(left)? else {
                continue;
            };
            if line["id"] != id {
                continue;
            }
            return match &line["error"]["desc"] {
                serde_json::Value::String(why) => Err(io::Error::other(why.clone())),
                _ => Ok(line["return"].take()),
            };
        }
    }

    /// The next message of QEMU. `None` if there is none in this time.
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

    /// Why the machine ended, according to QEMU. Call this once QEMU has ended: its messages are
    /// still in the socket.
    pub(super) fn end_reason(&mut self) -> Option<String> {
        while let Ok(Some(_)) = self.line(Duration::from_secs(2)) {}
        self.reason.clone()
    }
}

/// The reason in a `SHUTDOWN` event (qapi/run-state.json, ShutdownCause).
pub(super) fn reason_in(line: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    if json["event"] != "SHUTDOWN" {
        return None;
    }
    json["data"]["reason"].as_str().map(str::to_owned)
}
