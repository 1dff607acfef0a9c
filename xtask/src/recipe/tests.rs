#![allow(clippy::unwrap_used)]

/// The schema in the repository is the one that the types give.
#[test]
fn the_schema_is_fresh() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../recipes/recipe.schema.json");
    let stored = std::fs::read_to_string(file).unwrap();
    assert!(
        stored.trim_end() == super::schema(),
        "recipes/recipe.schema.json is stale: `cargo xtask schema > recipes/recipe.schema.json`"
    );
}

/// Every recipe of the project can be read.
#[test]
fn the_projects_own_recipes_are_right() {
    let dir = super::home().join("recipes");
    let mut seen = 0;
    for entry in dir.read_dir_utf8().unwrap() {
        let file = entry.unwrap().path().join("recipe.yaml");
        if file.is_file() {
            super::find(file.as_str()).unwrap();
            seen += 1;
        }
    }
    assert!(seen >= 3, "only {seen} recipes in {dir}");
}
