//! apk's database: paragraphs of `X:value` (apk-tools' `doc/apk-v2.5.scd`, "installed").

use super::Package;

/// The packages of `lib/apk/db/installed`.
pub(super) fn installed(text: &str) -> Vec<Package> {
    let mut all = Vec::new();
    for paragraph in text.split("\n\n") {
        let value = |field: &str| super::value(paragraph, field).map(str::to_owned);
        let (Some(name), Some(version)) = (value("P"), value("V")) else {
            continue;
        };
        all.push(Package {
            name,
            version,
            arch: value("A").unwrap_or_else(|| "noarch".into()),
            source: value("o").map(|origin| (origin, None)),
            maintainer: value("m"),
            homepage: value("U"),
            summary: value("T"),
            license: value("L"),
            kind: "apk",
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::installed;

    #[test]
    fn a_paragraph_is_a_package() {
        let all = installed(
            "C:Q1abc=\nP:musl-utils\nV:1.2.5-r21\nA:x86_64\nT:the musl c library\nU:https://musl.libc.org/\nL:MIT AND BSD-2-Clause\no:musl\nm:A B <a@example.org>\nF:sbin\nR:ldconfig\n\nP:\nV:1\n\nP:busybox\nV:1.37-r1\n",
        );
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].name, "musl-utils");
        assert_eq!(all[0].source, Some(("musl".to_owned(), None)));
        assert_eq!(all[0].license.as_deref(), Some("MIT AND BSD-2-Clause"));
        assert_eq!((&all[1].arch[..], &all[1].license), ("noarch", &None));
    }
}
