//! The kind of a container's command: an application, an init, or a program that only works as
//! process 1.

use super::program::{Finder, Program, base, commands};

/// How a command can run on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nature {
    /// As a normal service.
    Application,
    /// It is the init of a whole system, which the machine already has. Holds its path.
    Init(String),
    /// It only works as process 1, but is not the init of a whole system. Holds its path.
    ProcessOne(String),
}

/// Maximum number of programs that are followed from one to the next.
const MAX_DEPTH: u32 = 8;

/// Paths of inits of whole systems. A container's own `/init` is not one.
const INITS: [&str; 14] = [
    "/sbin/init",
    "/usr/sbin/init",
    "/bin/init",
    "/usr/bin/init",
    "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd",
    "/bin/systemd",
    "/usr/bin/systemd",
    "/sbin/openrc-init",
    "/usr/sbin/openrc-init",
    "/sbin/upstart",
    "/usr/sbin/upstart",
    "/linuxrc",
    "/sbin/linuxrc",
];

/// Programs that exit or do not work unless they are process 1, as file names. `init` is a common
/// name for them (s6-overlay's /init).
const PROCESS_ONE: [&str; 14] = [
    "init",
    "my_init",
    "runit",
    "runit-init",
    "dinit",
    "docker-init",
    "catatonit",
    "pid1",
    "sinit",
    "minit",
    "simpleinit",
    "s6-linux-init",
    "s6-overlay-suexec",
    "container-init",
];

/// A program that starts the command in its arguments.
struct Wrapper {
    name: &'static str,
    /// Its options that have a value in the next word.
    values: &'static [&'static str],
    /// Number of its own words before the command.
    words: usize,
    /// Whether the command replaces it and keeps its process ID.
    replaced: bool,
}

const fn wrapper(
    name: &'static str,
    values: &'static [&'static str],
    words: usize,
    replaced: bool,
) -> Wrapper {
    Wrapper {
        name,
        values,
        words,
        replaced,
    }
}

const WRAPPERS: &[Wrapper] = &[
    wrapper("exec", &["-a"], 0, true),
    wrapper("command", &[], 0, true),
    wrapper("env", &["-u", "--unset", "-C", "--chdir"], 0, true),
    wrapper("nice", &["-n", "--adjustment"], 0, true),
    wrapper("ionice", &["-c", "-n", "--class", "--classdata"], 0, true),
    wrapper("chrt", &[], 1, true),
    wrapper("nohup", &[], 0, true),
    wrapper("setsid", &[], 0, true),
    wrapper("stdbuf", &["-i", "-o", "-e"], 0, true),
    wrapper(
        "setpriv",
        &[
            "--reuid",
            "--regid",
            "--groups",
            "--bounding-set",
            "--inh-caps",
            "--ambient-caps",
            "--securebits",
            "--pdeathsig",
        ],
        0,
        true,
    ),
    wrapper("gosu", &[], 1, true),
    wrapper("su-exec", &[], 1, true),
    wrapper("setuidgid", &[], 1, true),
    wrapper("s6-setuidgid", &[], 1, true),
    wrapper(
        "chpst",
        &["-u", "-U", "-b", "-e", "-/", "-n", "-l", "-L", "-m"],
        0,
        true,
    ),
    wrapper("with-contenv", &[], 0, true),
    wrapper("envdir", &[], 1, true),
    wrapper("s6-envdir", &[], 1, true),
    wrapper("taskset", &[], 1, true),
    wrapper("setarch", &[], 1, true),
    wrapper(
        "sudo",
        &["-u", "-g", "-h", "-p", "-C", "-D", "-T"],
        0,
        false,
    ),
    wrapper("dbus-run-session", &["--config-file"], 0, false),
    wrapper("tini", &["-p", "-e"], 0, false),
    wrapper("tini-static", &["-p", "-e"], 0, false),
    wrapper("docker-init", &["-p", "-e"], 0, false),
    wrapper("dumb-init", &["-r", "--rewrite"], 0, false),
    wrapper("catatonit", &[], 0, false),
    wrapper(
        "timeout",
        &["-k", "-s", "--kill-after", "--signal"],
        1,
        false,
    ),
];

const SHELLS: [&str; 6] = ["sh", "bash", "ash", "dash", "ksh", "zsh"];

/// Programs whose arguments are files or text, not commands.
const HANDLES_FILES: [&str; 19] = [
    "echo", "printf", "test", "[", "ls", "cat", "cp", "mv", "ln", "rm", "stat", "readlink", "file",
    "which", "grep", "sed", "chmod", "chown", "touch",
];

/// Whether a program only starts others, like shells and wrappers: it is not the command's actual
/// program.
pub(super) fn starts_others(name: &str) -> bool {
    SHELLS.contains(&name)
        || PROCESS_ONE.contains(&name)
        || WRAPPERS.iter().any(|wrapper| wrapper.name == name)
}

/// Programs that are made to be process 1 of a container, take care of processes without a parent
/// and pass signals on, as file names.
const REAPERS: [&str; 9] = [
    "tini",
    "tini-static",
    "docker-init",
    "catatonit",
    "dumb-init",
    "s6-svscan",
    "runsvdir",
    "supervisord",
    "pause",
];

/// Whether `command` takes care of processes without a parent if it is process 1.
pub(super) fn reaps(finder: Finder<'_>, command: &[String]) -> bool {
    let Some(word) = command.first() else {
        return false;
    };
    let found = finder.find(word);
    let real = found.as_ref().map_or(word, |program| &program.real);
    [word, real]
        .iter()
        .any(|path| REAPERS.contains(&base(path)))
}

/// Whether the init at `path` is systemd.
pub(super) fn is_systemd(finder: Finder<'_>, path: &str) -> bool {
    let found = finder.find(path);
    found.is_some_and(|program| program.real.ends_with("/systemd"))
}

/// Determines the kind of `command`. `own` is the path of the machine's init.
pub(super) fn of(finder: Finder<'_>, command: &[String], own: &str) -> Nature {
    let own = finder.inside.canonical(own);
    Look { finder, own }.at(command, true, 0)
}

struct Look<'a> {
    finder: Finder<'a>,
    /// The real path of the machine's init.
    own: Option<String>,
}

impl Look<'_> {
    /// The kind of `words`. `first`: an engine would run them as process 1.
    fn at(&self, words: &[String], first: bool, depth: u32) -> Nature {
        let Some((word, rest)) = words.split_first() else {
            return Nature::Application;
        };
        if depth > MAX_DEPTH {
            return Nature::Application;
        }
        if self.is_init(word, rest) {
            return Nature::Init(word.clone());
        }
        // tini before an init has to be replaced with it.
        match self.below(word, rest, first, depth + 1) {
            Nature::Application if first && self.must_be_first(word) => {
                Nature::ProcessOne(word.clone())
            }
            nature => nature,
        }
    }

    /// The kind of the program `word` itself.
    fn below(&self, word: &str, rest: &[String], first: bool, depth: u32) -> Nature {
        let name = base(word);
        if name == "busybox" {
            return match rest.first().map(String::as_str) {
                Some("init" | "linuxrc") => Nature::Init(format!("{word} init")),
                _ => self.at(rest, first, depth),
            };
        }
        if let Some(wrapper) = WRAPPERS.iter().find(|w| w.name == name) {
            let inner = &rest[own_words(wrapper, rest)..];
            return self.at(inner, first && wrapper.replaced, depth);
        }
        let program = self.finder.find(word);
        if SHELLS.contains(&name) {
            return self.shell(rest, first, depth);
        }
        if let Some(text) = program.and_then(|p| self.finder.script(&p.real)) {
            let words = [&[word.to_owned()], rest].concat();
            return self.script(&text, &words, first, depth);
        }
        match HANDLES_FILES.contains(&name) {
            true => Nature::Application,
            false => self.arguments(rest, first),
        }
    }

    /// A shell: its `-c`, or its script.
    fn shell(&self, rest: &[String], first: bool, depth: u32) -> Nature {
        let options = rest
            .iter()
            .take_while(|w| w.starts_with(['-', '+']))
            .count();
        let (options, rest) = rest.split_at(options);
        let Some((text, arguments)) = rest.split_first() else {
            return Nature::Application;
        };
        if options
            .iter()
            .any(|o| !o.starts_with("--") && o.contains('c'))
        {
            let all = commands(text);
            let last = all.len().saturating_sub(1);
            let natures = all.iter().enumerate().map(|(n, words)| {
                let becomes = n == last || words[0] == "exec";
                let words = filled(words, arguments);
                self.at(&words, first && becomes, depth)
            });
            let mut natures = natures.filter(|n| *n != Nature::Application);
            return natures.next().unwrap_or(Nature::Application);
        }
        let script = self
            .finder
            .find(text)
            .and_then(|p| self.finder.script(&p.real));
        match script {
            Some(script) => self.script(&script, rest, first, depth),
            None => Nature::Application,
        }
    }

    /// A script with its `words`, the first of which is its own name. Entry points usually end by
    /// replacing themselves with another program, mostly the command in their arguments.
    fn script(&self, text: &str, words: &[String], first: bool, depth: u32) -> Nature {
        let all = commands(text);
        let redirects = |word: &String| {
            word.trim_start_matches(char::is_numeric)
                .starts_with(['<', '>'])
        };
        let is_exec = |c: &&Vec<String>| c[0] == "exec" && c.get(1).is_some_and(|w| !redirects(w));
        let ends: Vec<&Vec<String>> = match all.last().filter(is_exec) {
            Some(last) => vec![last],
            // It has several ends, which must agree.
            None => all.iter().filter(is_exec).collect(),
        };
        let mut natures = ends
            .into_iter()
            .map(|command| self.at(&filled(command, words), first, depth));
        if let Some(nature) = natures.next()
            && nature != Nature::Application
            && natures
                .all(|other| std::mem::discriminant(&other) == std::mem::discriminant(&nature))
        {
            return nature;
        }
        self.arguments(words.get(1..).unwrap_or_default(), first)
    }

    /// An unknown program: it may replace itself with the command in its arguments, like an entry
    /// point.
    fn arguments(&self, words: &[String], first: bool) -> Nature {
        for (n, word) in words.iter().enumerate() {
            let before = n.checked_sub(1).and_then(|n| words.get(n));
            let is_value = before.is_some_and(|w| w.starts_with('-') && w.contains("init"));
            if !word.starts_with('/') || is_value {
                continue;
            }
            if self.is_init(word, &words[n + 1..]) {
                return Nature::Init(word.clone());
            }
            if first && self.finder.find(word).is_some() && self.must_be_first(word) {
                return Nature::ProcessOne(word.clone());
            }
        }
        Nature::Application
    }

    fn is_init(&self, word: &str, rest: &[String]) -> bool {
        let found = self.finder.find(word);
        let is_path = |path: &str| INITS.contains(&path);
        if rest
            .iter()
            .any(|w| w == "--user" || w == "--version" || w == "--help")
        {
            return false;
        }
        match found {
            // With links, all applets of busybox are the same file.
            Some(Program { path, real }) => {
                is_path(&path)
                    || real.ends_with("/systemd/systemd")
                    || self.own.as_ref() == Some(&real) && base(&real) != "busybox"
            }
            None => is_path(word),
        }
    }

    fn must_be_first(&self, word: &str) -> bool {
        let found = self.finder.find(word);
        let path = found.as_ref().map_or(word, |p| p.path.as_str());
        let real = found.as_ref().map_or(word, |p| p.real.as_str());
        PROCESS_ONE.contains(&base(path))
            || PROCESS_ONE.contains(&base(real))
            || real.starts_with("/package/admin/s6-overlay")
            || self
                .finder
                .script(real)
                .is_some_and(|text| asks_for_its_number(&text))
    }
}

/// A command in a shell's text with the shell's arguments inserted: `words` are `$0`, `$1`, ...
fn filled(command: &[String], words: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for word in command {
        let number = word.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
        match (word.as_str(), number) {
            ("$@" | "${@}" | "$*", _) => all.extend_from_slice(words.get(1..).unwrap_or_default()),
            (_, Some(n)) => all.extend(words.get(n).cloned()),
            _ => all.push(word.clone()),
        }
    }
    all
}

/// The number of a wrapper's own words before its command.
fn own_words(wrapper: &Wrapper, words: &[String]) -> usize {
    let mut at = 0;
    let mut own = wrapper.words;
    while let Some(word) = words.get(at) {
        if word == "--" {
            at += 1 + own;
            break;
        }
        if word.len() > 1 && word.starts_with('-') {
            at += 1 + usize::from(wrapper.values.contains(&word.as_str()));
        } else if wrapper.name == "env" && super::program::is_assignment(word) {
            at += 1;
        } else if own > 0 {
            own -= 1;
            at += 1;
        } else {
            break;
        }
    }
    at.min(words.len())
}

/// Whether a script checks that its process ID is 1.
fn asks_for_its_number(text: &str) -> bool {
    let line_asks = |line: &str| {
        let line = line.trim_start();
        let number = ["$$", "${$}", "getpid()", "BASHPID"];
        let compares = ["==", "!=", "-eq", "-ne", " = ", "-gt"];
        let is_one = |word: &str| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()) == "1";
        !line.starts_with('#')
            && number.iter().any(|n| line.contains(n))
            && compares.iter().any(|c| line.contains(c))
            && line.split_whitespace().any(is_one)
    };
    text.lines().any(line_asks)
}
