#![allow(clippy::unwrap_used)]

/// The stored schema matches the types.
#[test]
fn the_schema_is_fresh() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../recipes/recipe.schema.json");
    let stored = std::fs::read_to_string(file).unwrap();
    assert!(
        stored.trim_end() == super::schema(),
        "recipes/recipe.schema.json is out of date: run `cargo xtask schema > recipes/recipe.schema.json`"
    );
}

/// All of the project's recipes can be loaded.
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

/// -1 in 32 and 16 bits: the kernel and old calls read it as "nobody" or "leave unchanged".
#[test]
fn numbers_that_nobody_can_have_are_refused() {
    for n in ["4294967295", "65535"] {
        let user = format!("users:\n  - name: anna\n    uid: {n}\n");
        let e = super::parse(&user, "r.yaml").unwrap_err();
        assert!(
            e.message.contains("users.uid") && e.message.contains(n),
            "{e}"
        );
        for owner in [n.to_owned(), format!("\"{n}:0\""), format!("\"0:{n}\"")] {
            let files = format!("files: {{etc/x: {{owner: {owner}}}}}\n");
            let e = super::parse(&files, "r.yaml").unwrap_err();
            assert!(e.message.contains(n), "{e}");
        }
    }
    for n in ["4294967294", "65534", "65536"] {
        super::parse(&format!("users: [{{name: anna, uid: {n}}}]"), "r.yaml").unwrap();
    }
}
