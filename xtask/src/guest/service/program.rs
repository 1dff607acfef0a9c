//! Programs of the root file system: their paths, and the commands in their scripts.

use super::super::Rootfs;
use super::launcher;
use crate::plan::Container;
use crate::rootfs::Inside;
use crate::rootfs::Kind;

/// Largest script that is read, in bytes.
const MAX_SCRIPT: u64 = 64 << 10;

/// Programs that behave differently depending on the name they are called with.
const MULTI_CALL: [&str; 4] = ["busybox", "toybox", "coreutils", "sbase-box"];

/// A program of the root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// The path where it was found, e.g. `/usr/sbin/nginx`.
    pub path: String,
    /// The path with all links resolved.
    pub real: String,
}

impl Program {
    /// Its file name.
    pub(super) fn name(&self) -> &str {
        base(&self.path)
    }

    /// Whether it is the same program as `other`, even under another name or path.
    pub(super) fn is(&self, other: &Program) -> bool {
        let many = MULTI_CALL.contains(&base(&self.real));
        self.real == other.real && (!many || self.name() == other.name())
    }
}

/// The last component of a path.
pub(super) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Finds programs like a process of the container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finder<'a> {
    /// The root file system of the machine.
    pub rootfs: &'a Rootfs,
    /// What the container sees of it.
    pub inside: Inside<'a>,
    path: &'a str,
    dir: &'a str,
}

impl<'a> Finder<'a> {
    /// With the container's PATH and working directory.
    pub(super) fn new(rootfs: &'a Rootfs, container: &'a Container) -> Finder<'a> {
        let path = container.env.iter().rev().find(|(name, _)| name == "PATH");
        let root = container.root.as_deref();
        Finder {
            rootfs,
            inside: root
                .and_then(|root| rootfs.inside(root))
                .unwrap_or(rootfs.whole()),
            path: path.map_or(launcher::PATH, |(_, path)| path.as_str()),
            dir: &container.working_dir,
        }
    }

    /// The executable file for a command's first word. `None` if there is none.
    pub(super) fn find(&self, word: &str) -> Option<Program> {
        match word {
            "" => None,
            _ if word.starts_with('/') => self.at(word.to_owned()),
            _ if word.contains('/') => self.at(format!("{}/{word}", self.dir)),
            _ => self
                .path
                .split(':')
                .filter(|d| !d.is_empty())
                .find_map(|dir| self.at(format!("{}/{word}", dir.trim_end_matches('/')))),
        }
    }

    /// The program in a script's first line, which is not searched for in PATH.
    pub(super) fn interpreter(&self, path: &str) -> Option<Program> {
        self.at(format!(
            "{}/{path}",
            if path.starts_with('/') { "" } else { self.dir }
        ))
    }

    fn at(&self, path: String) -> Option<Program> {
        let real = self.inside.canonical(&path)?;
        let node = self.inside.tree().node(self.inside.lookup(&real)?);
        let runs = matches!(node.kind, Kind::File(_)) && node.meta.mode & 0o111 != 0;
        runs.then_some(Program { path, real })
    }

    /// The text of a script. `None` for other programs and for large ones.
    pub(super) fn script(&self, path: &str) -> Option<String> {
        let text = self.inside.read_text(path, MAX_SCRIPT).ok()??;
        text.starts_with("#!").then_some(text)
    }
}

/// The simple commands of a shell script, each as a list of words: the text between line ends, `;`,
/// `&` and `|` that are not quoted. Comments, leading assignments (`A=b command`) and reserved
/// words are left out. Unsupported syntax (here-documents, functions) results in extra words.
pub(super) fn commands(text: &str) -> Vec<Vec<String>> {
    const RESERVED: [&str; 9] = [
        "if", "then", "else", "elif", "while", "until", "do", "{", "!",
    ];
    let mut all = Vec::new();
    for piece in pieces(text) {
        let Some(words) = shlex::split(&piece) else {
            continue;
        };
        let in_front = |word: &String| RESERVED.contains(&word.as_str()) || is_assignment(word);
        let words: Vec<String> = words.into_iter().skip_while(in_front).collect();
        if !words.is_empty() {
            all.push(words);
        }
    }
    all
}

/// Whether a word sets a variable.
pub(super) fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

fn pieces(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quote = None;
    let mut chars = text.chars().peekable();
    let mut last = '\n';
    while let Some(c) = chars.next() {
        let piece = all.len() - 1;
        match (quote, c) {
            (Some(q), _) if c == q => {
                quote = None;
                all[piece].push(c);
            }
            (None | Some('"'), '\\') => match chars.next() {
                // A line continuation.
                Some('\n') => all[piece].push(' '),
                next => {
                    all[piece].push(c);
                    all[piece].extend(next);
                }
            },
            (Some(_), _) => all[piece].push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                all[piece].push(c);
            }
            (None, '#') if last.is_whitespace() || last == ';' => {
                while chars.peek().is_some_and(|c| *c != '\n') {
                    chars.next();
                }
            }
            (None, '\n' | ';' | '&' | '|' | '(' | ')') => all.push(String::new()),
            (None, _) => all[piece].push(c),
        }
        last = c;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::commands;

    #[test]
    fn the_commands_of_a_script() {
        let text = "#!/bin/sh\nset -e # first\nA=1 B='x y' run --flag \"a; b\" &\nif test -e /x; then\n  exec go \\\n    on\nfi\ncmd1 && cmd2 || (cmd3 'it;s' | cmd4)\n";
        let found = commands(text);
        let found: Vec<Vec<&str>> = found
            .iter()
            .map(|c| c.iter().map(String::as_str).collect())
            .collect();
        let wanted: Vec<Vec<&str>> = vec![
            vec!["set", "-e"],
            vec!["run", "--flag", "a; b"],
            vec!["test", "-e", "/x"],
            vec!["exec", "go", "on"],
            vec!["fi"],
            vec!["cmd1"],
            vec!["cmd2"],
            vec!["cmd3", "it;s"],
            vec!["cmd4"],
        ];
        assert_eq!(found, wanted);
    }
}
