//! Reads os-release(5), which says what a system is.

/// Where the file can be, in order of preference.
pub(crate) const PATHS: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// The value of a key in the text of the file. `None` if it is missing or empty.
///
/// The file is a list of shell assignments, so if a key is repeated the last one counts, and values
/// are quoted as in a shell. A value with invalid quotes keeps its text.
pub(crate) fn value(text: &str, key: &str) -> Option<String> {
    let lines = text.lines();
    let mut values = lines.filter_map(|l| l.strip_prefix(key)?.strip_prefix('='));
    let raw = values.next_back()?.trim();
    let value = match shlex::split(raw).as_deref() {
        Some([word]) => word.clone(),
        _ => raw.trim_matches(['"', '\'']).to_owned(),
    };
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn values_are_words_of_a_shell() {
        let text = "NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID='13'\nVARIANT=\nID=other\n\
                    A=\"say \\\"hi\\\" for \\$5\"\nB=two words\nC=\"open\n";
        let found = |key| value(text, key);
        assert_eq!(found("NAME").as_deref(), Some("Debian GNU/Linux"));
        assert_eq!(found("ID").as_deref(), Some("other"));
        assert_eq!(found("VERSION_ID").as_deref(), Some("13"));
        assert_eq!(found("A").as_deref(), Some("say \"hi\" for $5"));
        assert_eq!(found("B").as_deref(), Some("two words"));
        assert_eq!(found("C").as_deref(), Some("open"));
        assert_eq!(found("VARIANT"), None);
        assert_eq!(found("VERSION"), None);
    }
}
