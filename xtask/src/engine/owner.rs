//! Whose a container or a name of an image is: so that those of a program that was killed are found
//! and removed.

use super::{Engine, own_images, remove_image};
use crate::hex::hex;
use sha2::{Digest, Sha256};

/// How the names begin that only one run knows, up to the tag.
pub(super) const OF_RUNS: &str = "docker-to-linux/run:";

/// The label of the containers that are made here. It says whose they are.
const LABEL: &str = "docker-to-linux.owner";

/// Whose a container is: a process of this host or of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    host: String,
    /// The start of the kernel (proc_sys_kernel(5), "random/boot_id").
    boot: String,
    /// The PID namespace that the number counts in.
    namespace: String,
    pid: u32,
    /// When the process started, in clock ticks since the kernel did (proc_pid_stat(5), field 22):
    /// numbers are used again.
    start: u64,
}

impl Owner {
    /// This process; nothing where /proc does not tell.
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

    /// The same as a tag can hold it: texts become digests of themselves.
    fn short(&self) -> Owner {
        let short = |text: &str| hex(&Sha256::digest(text)[..5]);
        Owner {
            host: short(&self.host),
            boot: short(&self.boot),
            namespace: short(&self.namespace),
            ..*self
        }
    }

    /// Whether it surely does not run any more, as `this` process sees it. Of another host, and
    /// of another container of this host, nobody can tell from here.
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

/// When a process started; nothing if there is none of that number.
fn started(pid: u32) -> Option<u64> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; after it comes field 3.
    let rest = stat.rsplit_once(") ")?.1;
    rest.split(' ').nth(19)?.parse().ok()
}

/// The label for a container that this process makes.
pub(super) fn label() -> Option<String> {
    Some(format!("--label={LABEL}={}", Owner::this()?))
}

/// The tag of an image that this process holds; `random` tells it from others.
pub(super) fn tag(random: &str) -> String {
    match Owner::this() {
        Some(this) => format!("{}.{random}", this.short().to_string().replace('/', ".")),
        None => random.to_owned(),
    }
}

/// Whether a name of an image is that of a run that surely ended, as `this` process sees it.
fn is_left_behind(image: &str, this: &Owner) -> bool {
    let tag = image.trim_start_matches("localhost/").strip_prefix(OF_RUNS);
    let owner = tag.and_then(|tag| tag.rsplit_once('.'));
    owner
        .and_then(|(owner, _)| Owner::parse(&owner.replace('.', "/")))
        .is_some_and(|owner| owner.is_gone(&this.short()))
}

/// Removes the containers of processes that were killed before they could do it, and the names that
/// they gave to images. Returns how many containers.
pub fn remove_leftovers(engine: &Engine) -> usize {
    let Some(this) = Owner::this() else {
        return 0;
    };
    let filter = format!("label={LABEL}");
    let format = format!("{{{{.ID}}}} {{{{.Label \"{LABEL}\"}}}}");
    let doing = "looking for containers that were left behind";
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
        // The number was used again; there is no such process; the host was started again.
        assert!(other(|o| o.start += 1));
        assert!(other(|o| o.pid = u32::MAX));
        assert!(other(|o| o.boot = "x".into()));
        // Nobody can tell.
        assert!(!other(|o| o.host = "x".into()));
        assert!(!other(|o| {
            o.pid = u32::MAX;
            o.namespace = "pid:[1]".into()
        }));
        // As a tag has it.
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
