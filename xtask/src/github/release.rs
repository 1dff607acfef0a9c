//! Publishes files as assets of a release.
//!
//! A second run replaces what the first run left, even if that was interrupted. The release is a
//! draft until everything is uploaded, so that an incomplete release is never visible.

use super::client::{Client, Sent, Trouble};
use super::{Repository, encode};
use crate::error::Report;
use crate::format::target::{join_command, part_name};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use ureq::http::Method;

/// The largest asset that is uploaded in one piece, in bytes. GitHub requires less than 2 GiB
/// ("About releases", storage and bandwidth quotas).
pub const LARGEST: u64 = 1_900 << 20;

/// The asset with the checksums of all assets.
pub const SUMS: &str = "SHA256SUMS";

/// Marks a release, in its text, that this program created and has not completed yet.
const MARK: &str = "<!-- docker-to-linux: a draft until every file is here -->";

/// How often the checksums are rewritten because other jobs changed them in the meantime.
const MERGES: usize = 20;

/// What to publish.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Tag of the release; it is created at `commit` if it does not exist.
    pub tag: &'a str,
    /// Commit for a new tag; by default GitHub uses the default branch.
    pub commit: Option<&'a str>,
    /// The files. The assets have the same names.
    pub files: &'a [Utf8PathBuf],
    /// The largest asset in bytes; larger files are uploaded in parts.
    pub largest: u64,
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// URL of the release's page.
    pub url: String,
    /// Names of the assets, in the order of their upload.
    pub assets: Vec<String>,
    /// Whether it is still a draft, because this program did not create it.
    pub draft: bool,
    /// Commands that join the files that were uploaded in parts.
    pub joins: Vec<String>,
}

/// Checks the name of a tag against the rules that matter here (git-check-ref-format(1)).
pub fn check_tag(tag: &str) -> Result<(), Report> {
    let bad = tag.is_empty()
        || tag.len() > 200
        || tag.starts_with(['-', '/', '.'])
        || tag.ends_with(['/', '.'])
        || tag.ends_with(".lock")
        || tag.contains("..")
        || tag.contains("//")
        || tag.contains("@{")
        || tag
            .chars()
            .any(|c| c.is_control() || " ~^:?*[\\".contains(c));
    if bad {
        return Err(Report::mistake(format!("{tag:?} is not a valid tag name"))
            .hint("use letters, digits, `.`, `-` and `_`, e.g. v1.2.0"));
    }
    Ok(())
}

/// Publishes files. `say` gets progress messages.
pub fn publish(
    client: &Client,
    repository: &Repository,
    wanted: &Wanted<'_>,
    say: &dyn Fn(&str),
) -> Result<Published, Report> {
    check_tag(wanted.tag)?;
    // Find all mistakes before anything is uploaded.
    let pieces = pieces(wanted)?;
    let release = Release::open(client, repository, wanted, say)?;
    let stale = stale_parts(wanted, &pieces);
    let mut sums: BTreeMap<String, String> = BTreeMap::new();
    for piece in &pieces {
        say(&format!("uploading {} ({} bytes)", piece.name, piece.len));
        release.upload(&piece.name, piece.sent())?;
        sums.insert(piece.name.clone(), piece.sha256.clone());
    }
    for file in wanted.files {
        sums.insert(name_of(file)?.to_owned(), sha256(file)?);
    }
    release.remove_where(stale)?;
    release.complete_sums(&sums, say)?;
    let (url, draft) = release.complete()?;
    let mut assets: Vec<String> = pieces.iter().map(|p| p.name.clone()).collect();
    assets.push(SUMS.to_owned());
    let joins = wanted
        .files
        .iter()
        .filter_map(|f| f.file_name())
        .filter(|name| !assets.iter().any(|a| a == name))
        .map(join_command)
        .collect();
    Ok(Published {
        url,
        assets,
        draft,
        joins,
    })
}

/// A file, or a part of one, that becomes one asset.
#[derive(Debug)]
struct Piece {
    name: String,
    path: Utf8PathBuf,
    start: u64,
    len: u64,
    sha256: String,
}

impl Piece {
    fn sent(&self) -> Sent<'_> {
        Sent::File {
            path: &self.path,
            start: self.start,
            len: self.len,
        }
    }
}

fn name_of(file: &Utf8Path) -> Result<&str, Report> {
    let name = file.file_name().unwrap_or_default();
    // GitHub changes other names, so the assets would not be found again.
    let fits = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && !name.ends_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c));
    if fits && name != SUMS {
        Ok(name)
    } else {
        Err(
            Report::mistake(format!("{file} is not a valid name for an asset"))
                .hint("use letters, digits, `.`, `-` and `_`"),
        )
    }
}

fn pieces(wanted: &Wanted<'_>) -> Result<Vec<Piece>, Report> {
    let mut pieces: Vec<Piece> = Vec::new();
    for file in wanted.files {
        let name = name_of(file)?;
        let size = fs::metadata(file)
            .map_err(|e| Report::failure("reading the files to publish").because(e))?
            .len();
        let parts = size.div_ceil(wanted.largest).max(1);
        for n in 0..parts {
            let start = n * wanted.largest;
            let len = wanted.largest.min(size - start);
            let part = match parts {
                1 => name.to_owned(),
                _ => part_name(name, usize::try_from(n).unwrap_or(usize::MAX)),
            };
            if pieces.iter().any(|p| p.name == part) {
                return Err(
                    Report::mistake(format!("two files would become the asset {part:?}"))
                        .hint("give the recipes different names"),
                );
            }
            pieces.push(Piece {
                name: part,
                path: file.clone(),
                start,
                len,
                sha256: digest(file, start, len)?,
            });
        }
    }
    Ok(pieces)
}

/// Finds the assets that an earlier upload of the same files left: their parts, or the whole files.
fn stale_parts<'a>(wanted: &Wanted<'a>, pieces: &[Piece]) -> impl Fn(&str) -> bool + use<'a> {
    let names: Vec<String> = wanted
        .files
        .iter()
        .filter_map(|f| f.file_name().map(str::to_owned))
        .collect();
    let now: Vec<String> = pieces.iter().map(|p| p.name.clone()).collect();
    move |asset| {
        let of_ours = names.iter().any(|name| {
            let rest = asset.strip_prefix(name.as_str());
            let number = rest.and_then(|r| r.strip_prefix(".part-"));
            rest == Some("")
                || number.is_some_and(|n| n.len() >= 3 && n.bytes().all(|b| b.is_ascii_digit()))
        });
        of_ours && !now.iter().any(|n| n == asset)
    }
}

/// SHA-256 of a file, in hexadecimal digits.
pub fn sha256(path: &Utf8Path) -> Result<String, Report> {
    digest(path, 0, u64::MAX)
}

/// SHA-256 of a part of a file, in hexadecimal digits.
fn digest(path: &Utf8Path, start: u64, len: u64) -> Result<String, Report> {
    let failed =
        |e: std::io::Error| Report::failure(format!("computing the checksum of {path}")).because(e);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    crate::format::digest::sha256(file.take(len)).map_err(failed)
}

/// A release to upload assets to.
struct Release<'a> {
    client: &'a Client,
    repository: &'a Repository,
    id: u64,
    upload_url: String,
    url: String,
    draft: bool,
    /// Whether this program created it and has to publish it.
    ours: bool,
    body: String,
}

impl<'a> Release<'a> {
    /// The release with the tag; created as a draft if there is none.
    fn open(
        client: &'a Client,
        repository: &'a Repository,
        wanted: &Wanted<'_>,
        say: &dyn Fn(&str),
    ) -> Result<Release<'a>, Report> {
        let what = format!("opening the release {} of {repository}", wanted.tag);
        let json = client.patiently(&what, |_| {
            // Look for it before each attempt: an earlier one may have created it without getting
            // the response.
            if let Some(release) = find(client, repository, wanted.tag)? {
                return Ok(release);
            }
            let mut ask = json!({
                "tag_name": wanted.tag,
                "name": wanted.tag,
                "draft": true,
                "body": MARK,
            });
            if let Some(commit) = wanted.commit {
                ask["target_commitish"] = commit.into();
            }
            let url = client.url(&format!("/repos/{repository}/releases"));
            say(&format!("creating the release {}", wanted.tag));
            let made = client.call(Method::POST, &url, Sent::Json(&ask))?.json()?;
            // Jobs that run at the same time may all have created one: the oldest draft is used.
            match find(client, repository, wanted.tag)? {
                Some(oldest) if oldest["id"] != made["id"] => {
                    let id = &made["id"];
                    let url = client.url(&format!("/repos/{repository}/releases/{id}"));
                    client.call_for(Method::DELETE, &url, Sent::Nothing, JSON, &[404])?;
                    Ok(oldest)
                }
                _ => Ok(made),
            }
        })?;
        Release::from(client, repository, &json)
            .ok_or_else(|| Report::failure(format!("{what}: GitHub's response has no id or URL")))
    }

    fn from(client: &'a Client, repository: &'a Repository, json: &Value) -> Option<Release<'a>> {
        let draft = json["draft"].as_bool().unwrap_or(false);
        let body = json["body"].as_str().unwrap_or_default().to_owned();
        let upload = json["upload_url"].as_str()?;
        Some(Release {
            client,
            repository,
            id: json["id"].as_u64()?,
            // A URI template: `...{?name,label}`.
            upload_url: upload.split('{').next()?.to_owned(),
            url: json["html_url"].as_str().unwrap_or_default().to_owned(),
            draft,
            ours: draft && body.contains(MARK),
            body,
        })
    }

    fn assets(&self) -> Result<Vec<Value>, Trouble> {
        let path = format!(
            "/repos/{}/releases/{}/assets?per_page=100",
            self.repository, self.id
        );
        self.client.list(&self.client.url(&path))
    }

    fn remove(&self, asset: &Value) -> Result<(), Trouble> {
        let id = &asset["id"];
        let path = format!("/repos/{}/releases/assets/{id}", self.repository);
        let url = self.client.url(&path);
        // Another job may have removed it already.
        let gone = [404];
        self.client
            .call_for(Method::DELETE, &url, Sent::Nothing, JSON, &gone)?;
        Ok(())
    }

    /// Removes the assets for whose names `doomed` returns true.
    fn remove_where(&self, doomed: impl Fn(&str) -> bool) -> Result<(), Report> {
        self.client.patiently("removing older assets", |_| {
            for asset in self.assets()? {
                if doomed(asset["name"].as_str().unwrap_or_default()) {
                    self.remove(&asset)?;
                }
            }
            Ok(())
        })
    }

    /// Uploads an asset, replacing a complete or incomplete one with the same name.
    fn upload(&self, name: &str, sent: Sent<'_>) -> Result<(), Report> {
        let url = format!("{}?name={}", self.upload_url, encode(name));
        self.client
            .patiently(&format!("uploading {name}"), |_| {
                for _ in 0..3 {
                    let answer =
                        self.client
                            .call_for(Method::POST, &url, sent, JSON, &[422])?;
                    if answer.status != 422 {
                        return Ok(());
                    }
                    if !answer.already_exists() {
                        let said = String::from_utf8_lossy(&answer.body).into_owned();
                        return Err(Trouble::Final(
                            Report::failure(format!("GitHub refused it (422): {said}")).hint(
                                "an immutable release accepts no more assets: create it as a draft, and publish it last",
                            ),
                        ));
                    }
                    // It is from an earlier run, or from an interrupted attempt.
                    for asset in self.assets()? {
                        if asset["name"] == name {
                            self.remove(&asset)?;
                        }
                    }
                }
                Err(Trouble::Again("it keeps reappearing".into(), None))
            })
    }

    /// Updates the list of checksums: ours, those that GitHub computed for assets that other jobs
    /// uploaded, and existing lines for assets that still exist.
    ///
    /// Jobs that do this at the same time overwrite each other's list. Each job checks the list and
    /// the assets again after writing, so the last one to write leaves no file out.
    fn complete_sums(
        &self,
        ours: &BTreeMap<String, String>,
        say: &dyn Fn(&str),
    ) -> Result<(), Report> {
        for _ in 0..MERGES {
            let (wanted, there) = self.client.patiently(&format!("reading {SUMS}"), |_| {
                let assets = self.assets()?;
                let there = self.sums(&assets)?;
                Ok((sums_of(&assets, &there, ours), there))
            })?;
            if wanted == there {
                return Ok(());
            }
            let text: String = wanted.iter().map(|(n, s)| format!("{s}  {n}\n")).collect();
            say(&format!("uploading {SUMS}"));
            self.upload(SUMS, Sent::Text(&text))?;
        }
        Err(
            Report::failure(format!("other jobs keep overwriting {SUMS} of the release")).hint(
                "run the jobs that publish to the same release one after another (`concurrency:`)",
            ),
        )
    }

    /// The release's current list of checksums, by name.
    fn sums(&self, assets: &[Value]) -> Result<BTreeMap<String, String>, Trouble> {
        let is_list = |a: &&Value| a["name"] == SUMS && a["state"] != "starter";
        let Some(list) = assets.iter().find(is_list) else {
            return Ok(BTreeMap::new());
        };
        let id = &list["id"];
        let path = format!("/repos/{}/releases/assets/{id}", self.repository);
        let url = self.client.url(&path);
        let accept = "application/octet-stream";
        let answer = self
            .client
            .call_for(Method::GET, &url, Sent::Nothing, accept, &[404])?;
        if answer.status == 404 {
            // Another job has just removed it to write a new list.
            return Err(Trouble::Again(format!("{SUMS} was just removed"), None));
        }
        Ok(String::from_utf8_lossy(&answer.body)
            .lines()
            .filter_map(|line| line.split_once("  "))
            .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
            .collect())
    }

    /// Publishes the release if this program created it. Returns the URL of its page, and whether
    /// it is still a draft.
    fn complete(&self) -> Result<(String, bool), Report> {
        if !self.ours {
            return Ok((self.url.clone(), self.draft));
        }
        let path = format!("/repos/{}/releases/{}", self.repository, self.id);
        let url = self.client.url(&path);
        let ask = json!({ "draft": false, "body": self.body.replace(MARK, "") });
        let done = self.client.patiently("publishing the release", |_| {
            self.client
                .call(Method::PATCH, &url, Sent::Json(&ask))?
                .json()
        })?;
        let url = done["html_url"].as_str().unwrap_or(&self.url).to_owned();
        Ok((url, false))
    }
}

const JSON: &str = "application/vnd.github+json";

/// The release with a tag, published or a draft. If there are several drafts, the oldest.
fn find(client: &Client, repository: &Repository, tag: &str) -> Result<Option<Value>, Trouble> {
    let path = format!("/repos/{repository}/releases/tags/{}", encode(tag));
    let answer = client.call_for(Method::GET, &client.url(&path), Sent::Nothing, JSON, &[404])?;
    if answer.status != 404 {
        return answer.json().map(Some);
    }
    // Drafts have no tag yet, so they are only in the list.
    let path = format!("/repos/{repository}/releases?per_page=100");
    let drafts = client.list(&client.url(&path))?;
    Ok(drafts
        .into_iter()
        .filter(|r| r["tag_name"] == tag)
        .min_by_key(|r| r["id"].as_u64()))
}

/// The checksums that a release with these assets should list, by name.
fn sums_of(
    assets: &[Value],
    there: &BTreeMap<String, String>,
    ours: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let has = |name: &str| assets.iter().any(|a| a["name"] == name);
    let mut all = there.clone();
    // A file that was uploaded in parts is not an asset itself.
    all.retain(|name, _| has(name) || has(&part_name(name, 0)));
    for asset in assets {
        let digest = asset["digest"].as_str();
        let sum = digest.and_then(|d| d.strip_prefix("sha256:"));
        if let (Some(name), Some(sum)) = (asset["name"].as_str(), sum)
            && name != SUMS
        {
            all.insert(name.to_owned(), sum.to_owned());
        }
    }
    all.extend(ours.clone());
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn tags_are_checked_before_anything_is_sent() {
        for good in ["v1.2.3", "nightly", "release/2026-01", "a_b"] {
            check_tag(good).unwrap();
        }
        for bad in [
            "", "-x", "a b", "a..b", "a:b", "x/", "a\nb", "x.lock", "$(x)~",
        ] {
            assert!(check_tag(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_an_earlier_form_left_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let file = Utf8PathBuf::from_path_buf(dir.path().join("box.img")).unwrap();
        std::fs::write(&file, [7; 25]).unwrap();
        let files = [file];
        let wanted = Wanted {
            tag: "v1",
            commit: None,
            files: &files,
            largest: 10,
        };
        let now = pieces(&wanted).unwrap();
        let names: Vec<&str> = now.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(
            names,
            ["box.img.part-000", "box.img.part-001", "box.img.part-002"]
        );
        assert_eq!(now[2].len, 5);
        let stale = stale_parts(&wanted, &now);
        assert!(stale("box.img") && stale("box.img.part-003"));
        assert!(!stale("box.img.part-002") && !stale("box.img.zst") && !stale("other.img"));
        assert!(!stale("box.img.part-abc"));
    }

    #[test]
    fn names_that_github_would_change_are_refused() {
        for bad in ["a b.img", ".x", "x.", "ü.img", SUMS] {
            assert!(name_of(Utf8Path::new(bad)).is_err(), "{bad}");
        }
        assert_eq!(
            name_of(Utf8Path::new("d/box-1_2.img")).unwrap(),
            "box-1_2.img"
        );
    }
}
