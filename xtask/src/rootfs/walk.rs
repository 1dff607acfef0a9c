//! Iterates over the names of a tree.

use super::{Kind, NodeId, ROOT, Tree};
use bstr::{BStr, BString};
use std::collections::btree_map;

/// Iterator of [`Tree::walk`]: `(path with a leading '/', node)`.
#[derive(Debug)]
pub struct Walk<'a> {
    tree: &'a Tree,
    stack: Vec<Level<'a>>,
    path: BString,
}

#[derive(Debug)]
struct Level<'a> {
    entries: btree_map::Iter<'a, Box<BStr>, NodeId>,
    /// Path length of the directory that is being listed.
    len: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(tree: &'a Tree) -> Walk<'a> {
        let mut walk = Walk {
            tree,
            stack: Vec::new(),
            path: BString::default(),
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

    /// The next name, without copying its path.
    pub fn step(&mut self) -> Option<(&BStr, NodeId)> {
        loop {
            let level = self.stack.last_mut()?;
            let len = level.len;
            match level.entries.next() {
                None => {
                    self.stack.pop();
                }
                Some((name, id)) => {
                    self.path.truncate(len);
                    self.path.push(b'/');
                    self.path.extend_from_slice(name);
                    let id = *id;
                    self.enter(id, self.path.len());
                    return Some((self.path.as_ref(), id));
                }
            }
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = (BString, NodeId);

    fn next(&mut self) -> Option<Self::Item> {
        self.step().map(|(path, id)| (path.to_owned(), id))
    }
}
