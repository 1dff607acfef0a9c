//! A run that a signal ends.

use super::*;

/// A run that a signal is to end.
pub(super) struct Running {
    pub(super) child: std::process::Child,
    pub(super) stderr: std::process::ChildStderr,
    pub(super) said: String,
}

impl Running {
    pub(super) fn new(mut command: Command) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        Running {
            child,
            stderr,
            said: String::new(),
        }
    }

    /// Waits until the run has said this.
    #[track_caller]
    pub(super) fn until_said(&mut self, what: &str) {
        let mut byte = [0];
        while !self.said.contains(what) {
            let n = self.stderr.read(&mut byte).unwrap();
            assert!(n > 0, "it ended before {what:?}: {}", self.said);
            self.said.push(char::from(byte[0]));
        }
    }

    /// Sends the signal and waits for the end; returns all that was said, and checks that it
    /// is the right end within a few seconds.
    #[track_caller]
    pub(super) fn ends_by(self, signal: Signal) -> String {
        let (status, said) = self.ends_by_or_well(signal);
        assert!(!status.success(), "{said}");
        said
    }

    /// As [`Running::ends_by`], but it may also have come to its own good end before.
    #[track_caller]
    pub(super) fn ends_by_or_well(mut self, signal: Signal) -> (ExitStatus, String) {
        let sent = Instant::now();
        let pid = Pid::from_child(&self.child);
        send(pid, signal);
        let status = wait(&mut self.child, Duration::from_secs(15));
        let took = sent.elapsed();
        self.stderr.read_to_string(&mut self.said).unwrap();
        if status.success() {
            return (status, self.said);
        }
        assert_eq!(status.code(), Some(128 + signal.as_raw()), "{}", self.said);
        assert!(took < Duration::from_secs(10), "it took {took:?}");
        let errors: Vec<&str> = self
            .said
            .lines()
            .filter(|l| !["==> ", "    ", "  ! "].iter().any(|p| l.starts_with(p)))
            .collect();
        assert_eq!(errors.len(), 1, "{}", self.said);
        assert!(
            errors[0].starts_with("error: interrupted by SIG"),
            "{}",
            self.said
        );
        (status, self.said)
    }
}

/// As terminals do it (Ctrl-C, closed), to the children as well; SIGTERM as service managers
/// do it, to one process.
pub(super) fn send(pid: Pid, signal: Signal) {
    let sent = match signal {
        Signal::TERM => kill_process(pid, signal),
        _ => kill_process_group(pid, signal),
    };
    // It may be gone already.
    let _ = sent;
}

#[track_caller]
pub(super) fn wait(child: &mut std::process::Child, most: Duration) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > most {
            child.kill().unwrap();
            panic!("it did not end within {most:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(super) const SIGNALS: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];
