//! SSH public keys, as described in sshd(8), "AUTHORIZED_KEYS FILE FORMAT".

use crate::error::Report;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Kinds of keys that current versions of sshd accept.
const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// One line of authorized_keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey(String);

impl PublicKey {
    /// The line, without its line feed.
    pub(crate) fn line(&self) -> &str {
        &self.0
    }
}

/// Whether a text is a key rather than the name of a file with keys.
pub(crate) fn is_meant_as_key(text: &str) -> bool {
    is_private(text) || text.split_whitespace().any(|word| KINDS.contains(&word))
}

fn is_private(text: &str) -> bool {
    // PEM and OpenSSH's own format, and PuTTY's.
    (text.contains("-----BEGIN") && text.contains("PRIVATE KEY"))
        || text.contains("PuTTY-User-Key-File")
}

/// Parses the keys of a text: one per line, except empty lines and comments. `from` names the text
/// in errors, which never quote it because it might be a private key.
pub(crate) fn parse(text: &str, from: &str) -> Result<Vec<PublicKey>, Report> {
    if is_private(text) {
        return Err(
            Report::mistake(format!("{from} is a private key, which must stay secret"))
                .hint("use the public key, the file next to it that ends with .pub"),
        );
    }
    let mut keys = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        check(line).map_err(|why| {
            Report::mistake(format!("{from}, line {}: {why}", n + 1)).hint(
                "a public key is a line like `ssh-ed25519 AAAAC3… name`, e.g. from `ssh-keygen -t ed25519`",
            )
        })?;
        keys.push(PublicKey(line.to_owned()));
    }
    if keys.is_empty() {
        return Err(Report::mistake(format!("{from} contains no ssh key"))
            .hint("use a public key, e.g. ~/.ssh/id_ed25519.pub"));
    }
    Ok(keys)
}

fn check(line: &str) -> Result<(), &'static str> {
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Err("it contains a control character");
    }
    let words = words(line).ok_or("it has unclosed quotes")?;
    // Options may precede the key.
    let at = words
        .iter()
        .take(2)
        .position(|word| KINDS.contains(word))
        .ok_or("it is not a public key of a kind that current sshd accepts")?;
    let data = words.get(at + 1).ok_or("the key itself is missing")?;
    let bytes = STANDARD
        .decode(data)
        .map_err(|_| "the key is damaged: it is not base64")?;
    let fields = fields(&bytes).ok_or("the key is damaged or truncated")?;
    if fields.first() != Some(&words[at].as_bytes()) {
        return Err("the key is of a different kind than the line says");
    }
    let lengths: Vec<usize> = fields.iter().map(|f| f.len()).collect();
    let right = match words[at] {
        "ssh-ed25519" => lengths.len() == 2 && lengths[1] == 32,
        // Exponent and modulus: current sshd needs at least 1024 bits (RequiredRSASize).
        "ssh-rsa" => lengths.len() == 3 && lengths[2] >= 128,
        _ => lengths.len() >= 3,
    };
    if right {
        Ok(())
    } else {
        Err("the key is damaged or too short")
    }
}

/// The words of a line. Blanks in double quotes do not separate words. `None` if a quote is not
/// closed.
fn words(line: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let mut quoted = false;
    let mut escaped = false;
    let mut start = None;
    for (n, c) in line.char_indices() {
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = c == '\\' && quoted && !escaped;
        if c.is_whitespace() && !quoted {
            if let Some(from) = start.take() {
                words.push(&line[from..n]);
            }
        } else {
            start.get_or_insert(n);
        }
    }
    words.extend(start.map(|from| &line[from..]));
    (!quoted).then_some(words)
}

/// The fields of a key. Each has a 4-byte big-endian length before it (RFC 4253, 6.6).
fn fields(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        if len > rest.len() {
            return None;
        }
        let (field, rest) = rest.split_at(len);
        fields.push(field);
        bytes = rest;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Created with `ssh-keygen -t ed25519` for this test.
    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMYHRKkc2uJG0Et/N/LGI0/I8mbBbM3Rs8pgfuFFfVPk test";

    fn refusal(text: &str) -> String {
        let e = parse(text, "k.pub").unwrap_err();
        assert_eq!(e.class, crate::error::Class::Mistake);
        assert!(e.hint.is_some());
        e.message
    }

    #[test]
    fn public_keys_are_taken_with_options_and_comments() {
        let text = format!(
            "# mine\n\n{KEY}\nfrom=\"10.0.0.1, 10.0.0.2\",command=\"echo \\\"a b\\\"\" {KEY}\n"
        );
        let keys = parse(&text, "k.pub").unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0].line(), KEY);
        assert!(is_meant_as_key(KEY) && !is_meant_as_key("keys/anna.pub"));
    }

    #[test]
    fn what_is_no_public_key_is_refused_and_never_quoted() {
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n";
        let e = refusal(private);
        assert!(e.contains("private") && !e.contains("b3Blbn"), "{e}");
        assert!(refusal("PuTTY-User-Key-File-3: ssh-ed25519\n").contains("private"));
        assert!(refusal("# none\n").contains("no ssh key"));
        assert!(refusal("hello\n").contains("line 1"));
        assert!(refusal("ssh-dss AAAAB3NzaC1kc3MAAACB x\n").contains("current sshd"));
        assert!(refusal(&KEY.replace("ssh-ed25519 ", "ssh-rsa ")).contains("a different kind"));
        assert!(refusal(&KEY[..60]).contains("damaged"));
        assert!(refusal("ssh-ed25519").contains("missing"));
        assert!(refusal(&format!("from=\"x {KEY}")).contains("quotes"));
    }
}
