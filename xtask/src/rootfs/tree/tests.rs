//! The directory that is remembered must never be another one than a look-up finds.

#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

/// An edit of a tree.
#[derive(Debug, Clone)]
enum Edit {
    File(String),
    Dir(String),
    Symlink(String, String),
    Remove(String),
    Link(String, String),
    /// A link leads elsewhere, without another entry in its directory.
    Turn(String, String),
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => prop_oneof![Just("a"), Just("b"), Just("c")],
        1 => prop_oneof![Just("."), Just(".."), Just(""), Just("b\0")],
    ];
    prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"))
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => path().prop_map(Edit::File),
        3 => path().prop_map(Edit::Dir),
        2 => (path(), path()).prop_map(|(a, b)| Edit::Symlink(a, b)),
        2 => path().prop_map(Edit::Remove),
        1 => (path(), path()).prop_map(|(a, b)| Edit::Link(a, b)),
        1 => (path(), path()).prop_map(|(a, b)| Edit::Turn(a, b)),
    ]
}

fn apply(tree: &mut Tree, edit: &Edit, number: u8) -> Result<bool, TreeError> {
    let node = |kind| Node::new(kind, Meta::root(0o755, 0));
    match edit {
        Edit::File(path) => tree.insert(path, node(Kind::bytes(vec![number])))?,
        Edit::Dir(path) => tree.insert(path, node(Kind::dir()))?,
        Edit::Symlink(path, to) => tree.insert(path, node(Kind::symlink(to)))?,
        Edit::Remove(path) => return Ok(tree.remove(path)),
        Edit::Link(path, to) => match tree.lookup(to) {
            Some(target) => return tree.link(path, target).map(|()| true),
            None => return Ok(false),
        },
        Edit::Turn(path, to) => match tree.lookup(path) {
            Some(id) if matches!(tree.node(id).kind, Kind::Symlink(_)) => {
                tree.node_mut(id).kind = Kind::symlink(to);
                id
            }
            _ => return Ok(false),
        },
    };
    Ok(true)
}

fn listing(tree: &Tree) -> Vec<String> {
    let walk = tree.walk();
    walk.map(|entry| format!("{entry:?}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_remembered_directory_is_the_one_that_is_found(edits in prop::collection::vec(edit(), 1..40)) {
        let mut remembers = Tree::new(Meta::root(0o755, 0));
        let mut forgets = remembers.clone();
        for (edit, number) in edits.iter().zip(0..) {
            forgets.last.forget();
            let (one, other) = (apply(&mut remembers, edit, number), apply(&mut forgets, edit, number));
            prop_assert_eq!(one, other, "{:?}", edit);
        }
        prop_assert_eq!(listing(&remembers), listing(&forgets));
        prop_assert_eq!(remembers.digest(), forgets.digest());
    }
}

#[test]
fn a_removed_directory_is_forgotten() {
    let mut tree = Tree::new(Meta::root(0o755, 0));
    for edit in [
        Edit::File("a/b".into()),
        Edit::Remove("a".into()),
        Edit::File("a/c".into()),
    ] {
        apply(&mut tree, &edit, 0).unwrap();
    }
    assert!(tree.exists("a/c"));
}
