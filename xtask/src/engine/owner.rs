//! Who owns a container or a name of an image, so that those of a killed program can be found and
//! removed.

use super::{Engine, own_images, remove_image};
use crate::hex::hex;
use sha2::{Digest, Sha256};

/// The prefix of names that are private to one run, up to the tag.
pub(super) const OF_RUNS: &str = "docker-to-linux/run:";

/// The label of containers that are created here. It contains their owner.
const LABEL: &str = "docker-to-linux.owner";

/// The owner of a container: a process of this host or of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    host: String,
    /// The boot ID of the kernel (proc_sys_kernel(5), "random/boot_id").
    boot: String,
    /// The PID namespace of the process ID.
    namespace: String,
    pid: u32,
    /// When the process started, in clock ticks since boot (proc_pid_stat(5), field 22), because
    /// process IDs are reused.
    start: u64,
}

impl Owner {
    /// This process. `None` if /proc is not available.
    fn this() -> Option<Owner> {
        let pid = std::process::id();
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        Some(Owner {
            host: read("/proc/sys/kernel/hostname")?,
            boot: read("/proc/sys/kernel/random/boot_id")?,
            namespace: namespace.to_str()?.to_owned(),
            pid,
            start: started(pid)?,
        })
    }

    fn parse(text: &str) -> Option<Owner> {
        let mut parts = text.split('/');
        let owner = Owner {
            host: parts.next()?.to_owned(),
            boot: parts.next()?.to_owned(),
            namespace: parts.next()?.to_owned(),
            pid: parts.next()?.parse().ok()?,
            start: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(owner)
    }

    /// The same in a form that a tag can hold: texts become digests.
    fn short(&self) -> Owner {
        let short = |text: &str| hex(&Sha256::digest(text)[..5]);
        Owner {
            host: short(&self.host),
            boot: short(&self.boot),
            namespace: short(&self.namespace),
            ..*self
        }
    }

    /// Whether it has certainly ended, as far as `this` process can see. That is unknown for
    /// another host, and for another container on this host.
    fn is_gone(&self, this: &Owner) -> bool {
        if self.host != this.host {
            return false;
        }
        if self.boot != this.boot {
            return true;
        }
        self.namespace == this.namespace && started(self.pid) != Some(self.start)
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Owner {
            host,
            boot,
            namespace,
            pid,
            start,
        } = self;
        write!(f, "{host}/{boot}/{namespace}/{pid}/{start}")
    }
}

fn read(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// When a process started. `None` if there is no process with that ID.
fn started(pid: u32) -> Option<u64> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // The name in parentheses may contain anything; field 3 follows it.
    let rest = stat.rsplit_once(") ")?.1;
    rest.split(' ').nth(19)?.parse().ok()
}

/// The label for a container that this process creates.
pub(super) fn label() -> Option<String> {
    Some(format!("--label={LABEL}={}", Owner::this()?))
}

/// The tag of an image that this process holds. `random` makes it unique.
pub(super) fn tag(random: &str) -> String {
    match Owner::this() {
        Some(this) => format!("{}.{random}", this.short().to_string().replace('/', ".")),
        None => random.to_owned(),
    }
}

/// Whether a name of an image belongs to a run that has certainly ended, as far as `this` process
/// can see.
fn is_left_behind(image: &str, this: &Owner) -> bool {
    let tag = image.trim_start_matches("localhost/").strip_prefix(OF_RUNS);
    let owner = tag.and_then(|tag| tag.rsplit_once('.'));
    owner
        .and_then(|(owner, _)| Owner::parse(&owner.replace('.', "/")))
        .is_some_and(|owner| owner.is_gone(&this.short()))
}

/// Removes the containers of processes that were killed before they could clean up, and the names
/// that they gave to images. Returns the number of removed containers.
pub fn remove_leftovers(engine: &Engine) -> usize {
    let Some(this) = Owner::this() else {
        return 0;
    };
    let filter = format!("label={LABEL}");
    let format = format!("{{{{.ID}}}} {{{{.Label \"{LABEL}\"}}}}");
    let doing = "looking for leftover containers";
    let list = [
        "ps",
        "--all",
        "--no-trunc",
        "--filter",
        &filter,
        "--format",
        &format,
    ];
    // What cannot be listed or removed now may be next time.
    for image in own_images(engine).unwrap_or_default() {
        if is_left_behind(&image, &this) {
            let _ = remove_image(engine, &image);
        }
    }
    let list = engine.run(list, doing).unwrap_or_default();
    let gone = |line: &&str| {
        let owner = line
            .split_once(' ')
            .and_then(|(_, owner)| Owner::parse(owner));
        owner.is_some_and(|owner| owner.is_gone(&this))
    };
    let ids = list
        .lines()
        .filter(gone)
        .filter_map(|l| l.split(' ').next());
    ids.filter(|id| {
        tracing::debug!("removing the container {id}, whose program was killed");
        engine
            .run(["rm", "--force", "--volumes", id], doing)
            .is_ok()
    })
    .count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_surely_ended_is_gone() {
        let this = Owner::this().unwrap();
        assert_eq!(Owner::parse(&this.to_string()), Some(this.clone()));
        assert!(!this.is_gone(&this));
        let other = |change: fn(&mut Owner)| {
            let mut owner = this.clone();
            change(&mut owner);
            owner.is_gone(&this)
        };
        // The ID was reused; there is no such process; the host was rebooted.
        assert!(other(|o| o.start += 1));
        assert!(other(|o| o.pid = u32::MAX));
        assert!(other(|o| o.boot = "x".into()));
        // Unknown.
        assert!(!other(|o| o.host = "x".into()));
        assert!(!other(|o| {
            o.pid = u32::MAX;
            o.namespace = "pid:[1]".into()
        }));
        // The form for a tag.
        let name = |owner: &Owner| {
            let tag = owner.short().to_string().replace('/', ".");
            format!("localhost/{OF_RUNS}{tag}.x1")
        };
        assert!(!is_left_behind(&name(&this), &this));
        let mut gone = this.clone();
        gone.start += 1;
        assert!(is_left_behind(&name(&gone), &this));
        gone.host = "x".into();
        assert!(!is_left_behind(&name(&gone), &this));
        assert!(!is_left_behind("docker-to-linux/run:amd64", &this));
        for text in ["", "a/b/c/d/e", "a/b/c/1", "a/b/c/1/2/3"] {
            assert_eq!(Owner::parse(text), None, "{text}");
        }
    }
}
