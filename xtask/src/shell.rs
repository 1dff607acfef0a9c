//! Quotes texts as words of a POSIX shell (POSIX.1-2017, Shell Command Language, 2.2.2).

/// Quotes a text as one word. In single quotes only the closing quote is special.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A command line to show to people, with quotes only where they are needed.
pub fn command_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,./:+@%".contains(c);
    let word = |word: &str| match word {
        w if !w.is_empty() && w.chars().all(plain) => w.to_owned(),
        w => quote(w),
    };
    words.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{command_line, quote};
    use std::process::Command;

    #[test]
    fn a_shell_reads_what_was_written() {
        let words = [
            "",
            "it's",
            "$(x) `y` \"z\" \\",
            "a\nb",
            "Łódź",
            "-n",
            "*",
            "a=b",
        ];
        let each = words.map(quote).join(" ");
        let shown = command_line(words);
        for line in [each, shown] {
            let out = Command::new("sh")
                .args(["-c", &format!("printf '%s\\0' {line}")])
                .output()
                .unwrap();
            let read = String::from_utf8(out.stdout).unwrap();
            let read: Vec<&str> = read.split_terminator('\0').collect();
            assert_eq!(read, words, "{line}");
        }
    }

    #[test]
    fn plain_words_stay_as_they_are() {
        assert_eq!(
            command_line(["qemu", "-m", "1024M", "a b"]),
            "qemu -m 1024M 'a b'"
        );
    }
}
