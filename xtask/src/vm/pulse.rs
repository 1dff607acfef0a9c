//! Signs of life of a machine: whether it still gets anywhere, and what its processors do if not.
//!
//! Nobody can tell in general whether a silent machine will speak again. So a machine counts as
//! alive while it shows anything *new* in any of these: a line on a console, a picture, an access to
//! its disk, code that it has not run before. What it repeats (a cursor that blinks, a loop) is not
//! new. The time without anything new only counts while the machine could have done something:
//! see [`Pulse::note`].

use super::accel::Accel;
use super::stage::Stage;
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// How often to look.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// How many looks a decision about new code is made from, and how many of these must have seen some.
/// A loop runs through a few places; its rare ones must not keep it alive.
const RECENT: usize = 8;
const NEW_IN_RECENT: usize = 3;
/// How many looks tell what the processors do.
const DOING: usize = 12;
/// Most things of one kind that are remembered. A machine that shows more is certainly alive.
const MOST: usize = 1 << 16;
/// Code that is this close together is one place, in bytes.
const PLACE: u64 = 64;

/// A processor at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cpu {
    /// Linear address of the instruction.
    pub(super) address: u64,
    /// Whether it waits for an interrupt.
    pub(super) halted: bool,
    /// Whether it would take one.
    pub(super) interrupts: bool,
    /// Whether it runs a program rather than firmware or a kernel.
    pub(super) user: bool,
}

/// Reads the answer of QEMU's `info registers -a` (`x86_cpu_dump_state` and `aarch64_cpu_dump_state`
/// of QEMU). A processor that cannot be read is left out.
pub(super) fn cpus(registers: &str) -> Vec<Cpu> {
    let mut all = Vec::new();
    let mut pointer = None;
    for line in registers.lines() {
        let hex = |name: &str| {
            let digits = line.split(name).nth(1)?;
            let end = digits.find(|c: char| !c.is_ascii_hexdigit());
            u64::from_str_radix(&digits[..end.unwrap_or(digits.len())], 16).ok()
        };
        if let Some(address) = hex("IP=") {
            let flags = hex("FL=").unwrap_or_default();
            pointer = Some(Cpu {
                address,
                halted: line.contains("HLT=1"),
                // Bit 9 of EFLAGS is IF.
                interrupts: flags & 0x200 != 0,
                user: line.contains("CPL=3"),
            });
        } else if line.starts_with("CS =") {
            // Selector, base, limit, flags.
            let base = line.split_whitespace().nth(2);
            let base = base.and_then(|b| u64::from_str_radix(b, 16).ok());
            if let (Some(cpu), Some(base)) = (pointer.take(), base) {
                all.push(Cpu {
                    address: cpu.address.wrapping_add(base),
                    ..cpu
                });
            }
        } else if let Some(address) = line.trim_start().starts_with("PC=").then(|| hex("PC=")) {
            // QEMU does not print whether an Arm processor waits.
            all.extend(address.map(|address| Cpu {
                address,
                halted: false,
                interrupts: true,
                user: address >> 48 == 0,
            }));
        }
    }
    all
}

/// What is seen of a machine at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    /// The processors. None if QEMU did not tell.
    pub(super) cpus: Vec<Cpu>,
    /// Lines that the consoles have shown since the last look.
    pub(super) lines: Vec<String>,
    /// A number that stands for the picture on the screen.
    pub(super) picture: Option<u64>,
    /// How often the disk was read or written so far.
    pub(super) disk: Option<u64>,
    /// Time since the last look.
    pub(super) passed: Duration,
    /// How much of that time the processors of the host worked for the machine, if known.
    pub(super) worked: Option<Duration>,
}

/// What the processors of a still machine do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// They wait for interrupts that they do not take: nothing will happen any more.
    Stopped {
        /// Where, as a linear address.
        at: u64,
    },
    /// They wait for something to happen.
    Idle {
        /// Where, as a linear address.
        at: u64,
    },
    /// One runs the same few instructions again and again.
    Spinning {
        /// Where, as a linear address.
        at: u64,
        /// Whether this is a program, not firmware or a kernel.
        user: bool,
    },
    /// They run code that they have run before.
    Busy {
        /// Whether this is mostly a program, not firmware or a kernel.
        user: bool,
    },
    /// QEMU did not tell.
    Unknown,
}

impl Doing {
    /// Where the processor is, if it stays at one place.
    pub(super) fn place(self) -> Option<u64> {
        match self {
            Doing::Stopped { at } | Doing::Idle { at } | Doing::Spinning { at, .. } => Some(at),
            Doing::Busy { .. } | Doing::Unknown => None,
        }
    }
}

impl std::fmt::Display for Doing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Doing::Stopped { at } => write!(f, "halted for ever at {at:#x}"),
            Doing::Idle { at } => write!(f, "idle at {at:#x}"),
            Doing::Spinning { at, user: false } => write!(f, "in a loop at {at:#x}"),
            Doing::Spinning { at, user: true } => write!(f, "in a loop of a program at {at:#x}"),
            Doing::Busy { user: true } => f.write_str("busy with a program that shows nothing new"),
            Doing::Busy { user: false } => f.write_str("busy without anything new"),
            Doing::Unknown => f.write_str("in a state that QEMU does not tell"),
        }
    }
}

/// How long a machine may show nothing new.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience {
    /// Factor for all times.
    factor: f64,
}

impl Patience {
    /// How many times as long an emulated machine may show nothing new.
    const EMULATED: f64 = 3.0;

    /// The usual times.
    pub fn new(accel: Accel) -> Patience {
        Patience {
            factor: match accel {
                Accel::Kvm | Accel::Hvf => 1.0,
                Accel::Tcg => Patience::EMULATED,
            },
        }
    }

    /// How long a machine may show nothing new in this stage. With hardware acceleration a machine
    /// is through the stages before the init within 3 s, so the verdict is there within 20 s.
    pub(super) fn limit(&self, stage: Stage, doing: Doing) -> Duration {
        // No interrupt will wake it. A while remains for what QEMU itself may still do.
        if matches!(doing, Doing::Stopped { .. }) {
            return Duration::from_secs(3).mul_f64(self.factor.sqrt());
        }
        let seconds = match stage {
            Stage::Firmware | Stage::Loader => 8.0,
            Stage::Kernel => 10.0,
            Stage::Init | Stage::Login => 14.0,
        };
        // Who computes may be about to finish, e.g. a key for ssh.
        let computes = matches!(doing, Doing::Busy { .. }) && stage >= Stage::Kernel;
        Duration::from_secs_f64(seconds * self.factor * if computes { 2.0 } else { 1.0 })
    }
}

/// What was seen of a machine, to tell what is new.
#[derive(Debug)]
pub(super) struct Pulse {
    pub(super) patience: Patience,
    lines: HashSet<u64>,
    pictures: HashSet<u64>,
    pages: HashSet<u64>,
    disk: Option<u64>,
    /// Whether each of the last looks found code that is new.
    recent: VecDeque<bool>,
    /// The processors at the last looks.
    cpus: VecDeque<Vec<Cpu>>,
    /// How long nothing was new.
    still: Duration,
}

impl Pulse {
    pub(super) fn new(patience: Patience) -> Pulse {
        Pulse {
            patience,
            lines: HashSet::new(),
            pictures: HashSet::new(),
            pages: HashSet::new(),
            disk: None,
            recent: VecDeque::new(),
            cpus: VecDeque::new(),
            still: Duration::ZERO,
        }
    }

    /// How long nothing was new.
    pub(super) fn still(&self) -> Duration {
        self.still
    }

    /// Takes a look into account. Time in which a processor of the guest was not halted counts only
    /// as far as the host worked for it: on a busy host an emulated machine stands still without
    /// any fault of its own.
    pub(super) fn note(&mut self, look: Look) {
        let mut news = false;
        for line in &look.lines {
            news |= new(&mut self.lines, hash(line.as_bytes()));
        }
        if let Some(picture) = look.picture {
            news |= new(&mut self.pictures, picture);
        }
        if look.disk.is_some() {
            news |= self.disk != look.disk;
            self.disk = look.disk;
        }
        let running = || look.cpus.iter().filter(|cpu| !cpu.halted);
        let mut fresh = false;
        for cpu in running() {
            fresh |= new(&mut self.pages, cpu.address >> 12);
        }
        keep(&mut self.recent, fresh, RECENT);
        news |= self.recent.iter().filter(|fresh| **fresh).count() >= NEW_IN_RECENT;
        let passed = match look.worked {
            Some(worked) if running().next().is_some() => worked.min(look.passed),
            _ => look.passed,
        };
        if news {
            self.still = Duration::ZERO;
            self.cpus.clear();
        } else {
            self.still += passed;
        }
        keep(&mut self.cpus, look.cpus, DOING);
    }

    /// What the processors do.
    pub(super) fn doing(&self) -> Doing {
        let looks = || self.cpus.iter().filter(|cpus| !cpus.is_empty());
        let seen = looks().count();
        let Some(at) = looks().next_back().and_then(|cpus| cpus.first()) else {
            return Doing::Unknown;
        };
        let at = at.address;
        let asleep = |cpus: &&Vec<Cpu>| cpus.iter().all(|cpu| cpu.halted);
        let for_ever = |cpus: &&Vec<Cpu>| asleep(cpus) && cpus.iter().all(|cpu| !cpu.interrupts);
        if looks().filter(for_ever).count() == seen {
            return Doing::Stopped { at };
        }
        let mut sleeping = looks().filter(asleep);
        if sleeping.clone().count() * 2 >= seen {
            let at = sleeping
                .next_back()
                .and_then(|cpus| cpus.first())
                .map_or(at, |c| c.address);
            return Doing::Idle { at };
        }
        let running: Vec<Cpu> = looks().flatten().filter(|c| !c.halted).copied().collect();
        let user = running.iter().filter(|cpu| cpu.user).count() * 2 > running.len();
        let lowest = running.iter().map(|cpu| cpu.address).min().unwrap_or(at);
        let highest = running.iter().map(|cpu| cpu.address).max().unwrap_or(at);
        if highest - lowest < PLACE {
            return Doing::Spinning { at: lowest, user };
        }
        Doing::Busy { user }
    }

    /// Whether the machine has shown nothing new for longer than it may in this stage.
    pub(super) fn is_over(&self, stage: Stage) -> bool {
        // One look is not enough to know what the processors do.
        self.cpus.len() >= 3 && self.still >= self.patience.limit(stage, self.doing())
    }
}

/// Remembers something, and whether it is new.
fn new(seen: &mut HashSet<u64>, what: u64) -> bool {
    if seen.len() >= MOST {
        return !seen.contains(&what);
    }
    seen.insert(what)
}

fn keep<T>(last: &mut VecDeque<T>, next: T, most: usize) {
    if last.len() == most {
        last.pop_front();
    }
    last.push_back(next);
}

/// A number for some bytes: FNV-1a (RFC 9923), which is enough to tell pictures apart.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn cpu(address: u64, halted: bool) -> Cpu {
        Cpu {
            address,
            halted,
            interrupts: true,
            user: false,
        }
    }

    fn look(cpus: &[Cpu]) -> Look {
        Look {
            cpus: cpus.to_vec(),
            passed: SECOND,
            ..Look::default()
        }
    }

    /// How many looks it takes until the machine counts as dead; at most 1000.
    fn looks(stage: Stage, accel: Accel, at: impl Fn(u64) -> Look) -> (u64, Doing) {
        let mut pulse = Pulse::new(Patience::new(accel));
        for n in 0..1000 {
            pulse.note(at(n));
            if pulse.is_over(stage) {
                return (n, pulse.doing());
            }
        }
        (1000, pulse.doing())
    }

    #[test]
    fn registers_are_read() {
        let text = "CPU#0\nEIP=0000fff0 EFL=00000202 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\nES =0000 00000000 0000ffff 00009300\nCS =f000 000f0000 0000ffff 00009b00\n\nCPU#1\nRIP=00007fef22423e0e RFL=00000016 [----AP-] CPL=3 II=0 A20=1 SMM=0 HLT=1\nCS =0033 0000000000000000 ffffffff 00affb00 DPL=3 CS64 [-RA]\n";
        assert_eq!(
            cpus(text),
            [
                cpu(0xf_fff0, false),
                Cpu {
                    address: 0x7fef_2242_3e0e,
                    halted: true,
                    interrupts: false,
                    user: true
                }
            ]
        );
        let arm = " PC=ffff800010a2b3c4 X00=0000000000000000 X01=0000000000000001\n";
        assert_eq!(cpus(arm), [cpu(0xffff_8000_10a2_b3c4, false)]);
        assert_eq!(cpus("what?\nCS =\nIP=\n"), []);
    }

    #[test]
    fn the_dead_are_told_within_the_bounds_and_what_they_do() {
        let halted = Cpu {
            interrupts: false,
            ..cpu(0x7c00, true)
        };
        for (accel, longest) in [(Accel::Kvm, 17), (Accel::Tcg, 51)] {
            for stage in Stage::ALL {
                let (n, doing) = looks(stage, accel, |_| look(&[halted, halted]));
                assert!(n <= 6, "{n}");
                assert_eq!(doing, Doing::Stopped { at: 0x7c00 });
                let (n, doing) = looks(stage, accel, |_| look(&[cpu(0x7c03, false), halted]));
                assert!((6..longest).contains(&n), "{n}");
                let user = false;
                assert_eq!(doing, Doing::Spinning { at: 0x7c03, user });
                // An idle kernel that is mostly seen asleep.
                let idle = |n: u64| match n % 3 {
                    0 => look(&[cpu(0xffff_8000, false)]),
                    _ => look(&[cpu(0xffff_9000, true)]),
                };
                let (n, doing) = looks(stage, accel, idle);
                assert!((6..longest).contains(&n), "{n}");
                assert_eq!(doing, Doing::Idle { at: 0xffff_9000 });
                // A loop through twenty places.
                let busy = |n: u64| look(&[cpu((n * 7 % 20) << 12, false)]);
                let (n, doing) = looks(stage, accel, busy);
                assert!(n < 2 * longest + 25, "{n}");
                assert_eq!(doing, Doing::Busy { user: false });
            }
        }
    }

    #[test]
    fn who_shows_anything_new_lives() {
        let idle = || look(&[cpu(0x1000, true)]);
        let ways: [&dyn Fn(u64) -> Look; 4] = [
            &|n| Look {
                lines: vec![format!("A start job is running ({n}s / 90s)")],
                ..idle()
            },
            &|n| Look {
                picture: Some(n),
                ..idle()
            },
            &|n| Look {
                disk: Some(n),
                ..idle()
            },
            &|n| look(&[cpu(n << 20, false)]),
        ];
        for way in ways {
            for accel in [Accel::Kvm, Accel::Tcg] {
                assert_eq!(looks(Stage::Init, accel, way).0, 1000);
                // Once in five seconds is enough.
                let rarely = |n: u64| if n.is_multiple_of(5) { way(n) } else { idle() };
                let rare_code = way(0).cpus.iter().any(|cpu| !cpu.halted);
                assert!(rare_code || looks(Stage::Init, accel, rarely).0 == 1000);
            }
        }
        // What repeats is not new: a cursor that blinks, a line again and again.
        let again = |n: u64| Look {
            lines: vec!["waiting for a disk".into()],
            picture: Some(n % 2),
            ..idle()
        };
        assert!(looks(Stage::Init, Accel::Kvm, again).0 < 20);
    }

    /// On a busy host the guest got nothing to work with.
    #[test]
    fn time_that_the_host_took_does_not_count() {
        let starved = |_| Look {
            worked: Some(SECOND / 10),
            ..look(&[cpu(0x1000, false)])
        };
        let (n, _) = looks(Stage::Loader, Accel::Kvm, starved);
        assert!((75..100).contains(&n), "{n}");
    }
}
