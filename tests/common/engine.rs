//! A container engine and images in it.

use super::{Place, dir, file, machine, said, skipped, with_input, write_tar};
use std::process::Command;
use std::time::{Duration, Instant};

/// Whether there is a docker that answers; said aloud if not.
pub fn docker() -> Option<()> {
    let out = Command::new("docker").arg("info").output();
    match out.is_ok_and(|o| o.status.success()) {
        true => Some(()),
        false => skipped("docker is not installed, or does not answer"),
    }
}

/// Lines that docker prints. Empty if docker is not installed.
pub fn listed(arguments: &[&str]) -> Vec<String> {
    let Ok(out) = Command::new("docker").args(arguments).output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().map(str::to_owned).collect()
}

/// A base image with a shell in it, made of this host's own programs; removed when dropped,
/// with the images that were built on it.
pub struct Base {
    name: String,
    label: String,
}

impl Base {
    pub fn new(test: &str) -> Option<Base> {
        docker()?;
        let mut all = machine();
        all.extend([dir("bin"), dir("tmp").mode(0o1777)]);
        for program in ["/bin/sh", "/bin/sleep"] {
            let Ok(out) = Command::new("ldd").arg(program).output() else {
                return skipped("ldd, which tells a program's libraries, is not installed");
            };
            let text = String::from_utf8(out.stdout).unwrap();
            let paths = text.split_whitespace().filter(|w| w.starts_with('/'));
            for path in paths.chain([program]) {
                if all.iter().any(|e| e.path == path[1..]) {
                    continue;
                }
                let bytes = fs_err::read(path).unwrap();
                all.push(file(&path[1..], bytes).mode(0o755));
            }
        }
        let mut tar = Vec::new();
        write_tar(&all, &mut tar);
        let name = format!("docker-to-linux-test-{test}:{}", std::process::id());
        let out = with_input(Command::new("docker").args(["import", "-", &name]), &tar);
        assert!(out.status.success(), "{}", said(&out));
        let label = format!("docker-to-linux-test={test}-{}", std::process::id());
        Some(Base { name, label })
    }

    /// Its name in the engine.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the recipe build on this base, with these instructions.
    pub fn recipe(&self, p: &Place, instructions: &str) {
        p.recipe(
            "box",
            &format!(
                "name: test-{}\nbase: {}\nroot: {{free: 16M}}\n",
                self.name.replace(':', "-"),
                self.name
            ),
        );
        let text = format!(
            "ARG BASE\nFROM ${{BASE}}\nLABEL {}\n{instructions}\n",
            self.label
        );
        fs_err::write(p.dir.join("box/Dockerfile"), text).unwrap();
    }

    /// Containers of builds on this base: the engine's own, with names that it made up.
    pub fn containers(&self) -> Vec<String> {
        let filter = format!("label={}", self.label);
        listed(&["ps", "-aq", "--filter", &filter])
    }

    /// The engine needs a moment to clear up behind a client that went away.
    #[track_caller]
    pub fn is_clean(&self) {
        let begun = Instant::now();
        while !self.containers().is_empty() {
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(20), "{:?}", self.containers());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        let mut doomed = vec![self.name.clone()];
        let filter = format!("label={}", self.label);
        for container in self.containers() {
            listed(&["rm", "--force", &container]);
        }
        doomed.extend(listed(&["images", "-aq", "--filter", &filter]));
        // Twice: the engine refuses an image that another is built on.
        for _ in 0..2 {
            for image in &doomed {
                listed(&["image", "rm", "--force", image]);
            }
        }
    }
}
