//! Finds the recipe that can turn a given container into a machine.

use super::{Found, all};
use crate::error::Report;
use crate::os_release;

/// The IDs of a system and of the systems it is like, the closest first: `ID` and `ID_LIKE` of
/// os-release(5).
pub fn ids(text: &str) -> Vec<String> {
    let all = ["ID", "ID_LIKE"].map(|key| os_release::value(text, key).unwrap_or_default());
    let all = all.iter().flat_map(|v| v.split_whitespace());
    all.map(str::to_ascii_lowercase).collect()
}

/// Returns the recipe that serves the first of these IDs that has one.
pub fn serving(ids: &[String]) -> Result<Found, Report> {
    let recipes = all()?;
    for id in ids {
        let mut serving = recipes.iter().filter(|f| f.recipe.serves.contains(id));
        match (serving.next(), serving.next()) {
            (Some(found), None) => return Ok(found.clone()),
            (Some(a), Some(b)) => {
                return Err(Report::mistake(format!(
                    "several recipes serve {id}: {} and {}",
                    a.name, b.name
                ))
                .hint("choose one: `cargo xtask image RECIPE --container IMAGE`"));
            }
            (None, _) => {}
        }
    }
    let known: Vec<&str> = recipes
        .iter()
        .flat_map(|f| f.recipe.serves.iter().map(String::as_str))
        .collect();
    Err(Report::mistake(format!(
        "no recipe serves {}; there are recipes for {}",
        ids.join(" or "),
        known.join(", ")
    ))
    .hint("write a recipe that has `serves:` in its recipe.yaml, or name one whose Dockerfile fits: `cargo xtask image RECIPE --container IMAGE`"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn closest_first() {
        let text = "NAME=x\nID=linuxmint\nID_LIKE=\"Ubuntu debian\"\nVERSION_ID=1\n";
        assert_eq!(ids(text), ["linuxmint", "ubuntu", "debian"]);
        assert_eq!(serving(&ids(text)).unwrap().name, "ubuntu");
        assert_eq!(serving(&ids("ID='alpine'\n")).unwrap().name, "alpine");
        assert_eq!(
            serving(&ids("ID=raspbian\nID_LIKE=debian\n")).unwrap().name,
            "debian"
        );
        assert!(ids("nothing").is_empty());
        let e = serving(&["plan9".into()]).unwrap_err();
        assert!(
            e.message.contains("plan9") && e.message.contains("debian"),
            "{e}"
        );
    }
}
