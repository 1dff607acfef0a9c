//! The names of a tree, one after another.

use super::{Kind, NodeId, ROOT, Tree};
use std::collections::btree_map;

/// Iterator of [`Tree::walk`]: `(path with a leading '/', node)`.
#[derive(Debug)]
pub struct Walk<'a> {
    tree: &'a Tree,
    stack: Vec<Level<'a>>,
    path: String,
}

#[derive(Debug)]
struct Level<'a> {
    entries: btree_map::Iter<'a, Box<str>, NodeId>,
    /// Length of the path of the directory that is being listed.
    len: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(tree: &'a Tree) -> Walk<'a> {
        let mut walk = Walk {
            tree,
            stack: Vec::new(),
            path: String::new(),
        };
        walk.enter(ROOT, 0);
        walk
    }

    fn enter(&mut self, dir: NodeId, len: usize) {
        if let Kind::Dir(children) = &self.tree.node(dir).kind {
            self.stack.push(Level {
                entries: children.iter(),
                len,
            });
        }
    }

    /// The next name, without a copy of its path.
    pub fn step(&mut self) -> Option<(&str, NodeId)> {
        loop {
            let level = self.stack.last_mut()?;
            let len = level.len;
            match level.entries.next() {
                None => {
                    self.stack.pop();
                }
                Some((name, id)) => {
                    self.path.truncate(len);
                    self.path.push('/');
                    self.path.push_str(name);
                    let id = *id;
                    self.enter(id, self.path.len());
                    return Some((&self.path, id));
                }
            }
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = (String, NodeId);

    fn next(&mut self) -> Option<Self::Item> {
        self.step().map(|(path, id)| (path.to_owned(), id))
    }
}
