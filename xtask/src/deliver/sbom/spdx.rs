//! The list of packages as SPDX 2.3 in JSON (ISO/IEC 5962 and its successor, "SPDX Specification
//! 2.3"), with package URLs as defined by "purl-spec".

use super::{Inventory, Package};
use crate::deliver::manifest::Manifest;
use crate::error::Report;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Name of the format in the manifest.
pub const FORMAT: &str = "SPDX-2.3";

/// SPDX's value for something that was not examined.
const UNKNOWN: &str = "NOASSERTION";

/// The SPDX document for an image.
pub fn spdx(inventory: &Inventory, manifest: &Manifest) -> Result<String, Report> {
    let failed = "writing the list of packages";
    let created = chrono::DateTime::from_timestamp(manifest.epoch, 0)
        .ok_or_else(|| Report::failure(failed))?
        .format("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let image = "SPDXRef-image";
    let mut packages = vec![json!({
        "SPDXID": image,
        "name": manifest.name,
        "versionInfo": manifest.id,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
    })];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", image)];
    let mut taken = BTreeMap::new();
    for package in &inventory.packages {
        let id = id(package, &mut taken);
        relations.push(relation(image, "CONTAINS", &id));
        packages.push(entry(package, &id, inventory));
    }
    let mut document = json!({
        "spdxVersion": FORMAT,
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": manifest.name,
        // It must be unique, but need not be a working URL.
        "documentNamespace": format!("https://spdx.org/spdxdocs/{}-{}", manifest.name, manifest.id),
        "creationInfo": {
            "created": created,
            "creators": [format!("Tool: {}-{}", manifest.tool.name, manifest.tool.version)],
        },
    });
    if !inventory.unread.is_empty() {
        document["comment"] = json!(format!(
            "Not complete: these package databases were not read: {}",
            inventory.unread.join(", ")
        ));
    }
    document["packages"] = Value::Array(packages);
    document["relationships"] = Value::Array(relations);
    serde_json::to_string_pretty(&document)
        .map(|text| text + "\n")
        .map_err(|e| Report::failure(failed).because(e))
}

fn relation(from: &str, what: &str, to: &str) -> Value {
    json!({
        "spdxElementId": from,
        "relationshipType": what,
        "relatedSpdxElement": to,
    })
}

fn entry(package: &Package, id: &str, inventory: &Inventory) -> Value {
    let mut entry = json!({
        "SPDXID": id,
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl(package, inventory),
        }],
    });
    // Fields that a package does not have are left out.
    if let Some(supplier) = package.maintainer.as_deref().and_then(supplier) {
        entry["supplier"] = json!(supplier);
    }
    if let Some(page) = package.homepage.as_deref().filter(|page| is_web(page)) {
        entry["homepage"] = json!(page);
    }
    if let Some(summary) = &package.summary {
        entry["summary"] = json!(summary);
    }
    if let Some(license) = &package.license {
        // Packages do not use SPDX expressions, so the text is only quoted.
        entry["licenseComments"] = json!(format!("The package says: {license}"));
    }
    if let Some((name, version)) = &package.source {
        let version = version.as_deref().unwrap_or(&package.version);
        entry["sourceInfo"] = json!(format!("built from the source package {name} {version}"));
    }
    entry
}

/// `Organization: name (address)` of `name <address>`. (Maintainers may be teams or people, and
/// there is no way to tell which.)
fn supplier(maintainer: &str) -> Option<String> {
    let (name, address) = match maintainer.split_once('<') {
        Some((name, rest)) => (name.trim(), rest.trim_end_matches('>').trim()),
        None => (maintainer.trim(), ""),
    };
    let name = name.trim_matches('"').replace(['(', ')'], "");
    let name = name.trim();
    if name.is_empty() {
        return None;
    }
    Some(if address.contains('@') && !address.contains(' ') {
        format!("Organization: {name} ({address})")
    } else {
        format!("Organization: {name}")
    })
}

/// SPDX allows only URLs with a scheme.
fn is_web(page: &str) -> bool {
    let rest = page
        .strip_prefix("https://")
        .or_else(|| page.strip_prefix("http://"));
    rest.is_some_and(|host| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic()))
}

/// The id of a package in the document. It may only have letters, digits, `.` and `-`, so two
/// packages may get the same one; then a number is added.
fn id(package: &Package, taken: &mut BTreeMap<String, u32>) -> String {
    let text = format!("{}-{}-{}", package.name, package.version, package.arch);
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let text: String = text
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let id = format!("SPDXRef-{}-{text}", package.kind);
    let uses = taken.entry(id.clone()).or_insert(0);
    *uses += 1;
    match *uses {
        1 => id,
        n => format!("{id}-again-{n}"),
    }
}

/// `pkg:deb/debian/bash@5.2?arch=amd64&distro=debian-13`.
fn purl(package: &Package, inventory: &Inventory) -> String {
    let mut url = format!("pkg:{}/", package.kind);
    let os = inventory.os.as_deref().unwrap_or(match package.kind {
        "apk" => "alpine",
        _ => "debian",
    });
    url.push_str(&format!(
        "{}/{}@{}?arch={}",
        percent(&os.to_lowercase()),
        percent(&package.name.to_lowercase()),
        percent(&package.version),
        percent(&package.arch)
    ));
    if let Some(version) = &inventory.os_version {
        url.push_str(&format!("&distro={}-{}", percent(os), percent(version)));
    }
    url
}

/// Characters that are not encoded in a part of a purl (purl-spec, "Character encoding").
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

fn percent(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{id, percent, purl, supplier};
    use crate::deliver::sbom::{Inventory, Package};

    #[test]
    fn names_become_what_the_specifications_allow() {
        let package = Package {
            name: "libstdc++6".into(),
            version: "1:14.2~rc1+b2".into(),
            arch: "amd64".into(),
            kind: "deb",
            ..Package::default()
        };
        let mut taken = std::collections::BTreeMap::new();
        let first = id(&package, &mut taken);
        assert_eq!(first, "SPDXRef-deb-libstdc--6-1-14.2-rc1-b2-amd64");
        assert_ne!(id(&package, &mut taken), first);
        let inventory = Inventory {
            os: Some("debian".into()),
            os_version: Some("13".into()),
            ..Inventory::default()
        };
        assert_eq!(
            purl(&package, &inventory),
            "pkg:deb/debian/libstdc%2B%2B6@1:14.2~rc1%2Bb2?arch=amd64&distro=debian-13"
        );
        assert_eq!(percent("ä/b"), "%C3%A4%2Fb");
        assert_eq!(
            supplier("A (of B) <a@example.org>").unwrap(),
            "Organization: A of B (a@example.org)"
        );
        assert_eq!(supplier("<a@example.org>"), None);
        assert_eq!(supplier("Nobody").unwrap(), "Organization: Nobody");
    }
}
