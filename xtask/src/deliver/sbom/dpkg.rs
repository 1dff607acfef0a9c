//! dpkg's database: paragraphs of `Field: value` (deb822(5), dpkg's `doc/triggers` aside).

use super::Package;

/// The installed packages of `/var/lib/dpkg/status`.
pub(super) fn status(text: &str) -> Vec<Package> {
    // The status is "want flag state". Packages that were removed but not purged are still listed.
    packages(text, |status| {
        status.is_some_and(|s| s.ends_with(" installed"))
    })
}

/// The packages of a file in `/var/lib/dpkg/status.d`, where every listed package is installed.
pub(super) fn status_d(text: &str) -> Vec<Package> {
    packages(text, |_| true)
}

fn packages(text: &str, is_installed: impl Fn(Option<&str>) -> bool) -> Vec<Package> {
    let mut all = Vec::new();
    for paragraph in text.split("\n\n") {
        let value = |field: &str| super::value(paragraph, field);
        let (Some(name), Some(version)) = (value("Package"), value("Version")) else {
            continue;
        };
        if !is_installed(value("Status")) {
            continue;
        }
        // `Source: name` or `Source: name (version)`.
        let source = value("Source").map(|source| match source.split_once(" (") {
            Some((name, version)) => (
                name.to_owned(),
                Some(version.trim_end_matches(')').to_owned()),
            ),
            None => (source.to_owned(), None),
        });
        let owned = |field| value(field).map(str::to_owned);
        all.push(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            arch: value("Architecture").unwrap_or("all").to_owned(),
            source,
            maintainer: owned("Maintainer"),
            homepage: owned("Homepage"),
            summary: owned("Description"),
            license: None,
            kind: "deb",
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{status, status_d};

    const TEXT: &str = "Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.37-2+b5
Source: bash (5.2.37-2)
Maintainer: A B <a@example.org>
Description: GNU Bourne Again SHell
 Package: not this one
 .
 more
Homepage: http://tiswww.case.edu/php/chet/bash/bashtop.html

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: tzdata
Status: hold ok installed
Architecture: all
Version: 2025b-4
";

    #[test]
    fn only_what_is_installed_counts() {
        let all = status(TEXT);
        let names: Vec<&str> = all.iter().map(|p| &p.name[..]).collect();
        assert_eq!(names, ["bash", "tzdata"]);
        let bash = &all[0];
        let source = Some(("bash".to_owned(), Some("5.2.37-2".to_owned())));
        assert_eq!(bash.source, source);
        assert_eq!(bash.summary.as_deref(), Some("GNU Bourne Again SHell"));
        assert_eq!(bash.arch, "amd64");
        assert_eq!(status_d(TEXT).len(), 3);
        assert_eq!(status("").len() + status("\n\n\n").len(), 0);
    }
}
