//! Writes everything between the metadata areas: directories, files, attributes.

use super::ROOT_INODE;
use super::bytes::index;
use super::dir::{Dir, Shape};
use super::emit::{Out, Part};
use super::node::{Node, Type};
use super::volume::{Item, Volume, logical_runs};

impl Volume {
    /// The directory, if the item is one, with the layout of its index, which is computed once for
    /// all of its blocks.
    pub(super) fn dir(&self, item: Item) -> Option<Dir<'_, impl Fn(u32) -> (u32, Type)>> {
        let Item::Node(number) = item else {
            return None;
        };
        let node = &self.nodes[number as usize];
        if node.kind != Type::Dir {
            return None;
        }
        // It was made before, when its blocks were counted.
        let shape = self.dir_names().shape(self.entries_of(node)).ok()?;
        Some(self.dir_of(node, self.inode_number(number), shape))
    }

    /// A directory with the number `inode`.
    pub(super) fn dir_of(
        &self,
        node: &Node,
        inode: u32,
        shape: Shape,
    ) -> Dir<'_, impl Fn(u32) -> (u32, Type)> {
        let parent = if inode == ROOT_INODE { 0 } else { node.runs };
        Dir {
            shape,
            names: self.dir_names(),
            entries: self.entries_of(node),
            inode,
            parent: self.inode_number(parent),
            seed: self.inode_seed(inode),
            target: |node: u32| (self.inode_number(node), self.nodes[node as usize].kind),
        }
    }

    /// Writes a part of an item.
    pub(super) fn part<O: Out, F: Fn(u32) -> (u32, Type)>(
        &self,
        item: Item,
        dir: Option<&Dir<'_, F>>,
        part: &Part,
        out: &mut O,
    ) -> Result<(), O::Error> {
        let block = self.geometry.block;
        let number = match item {
            Item::Node(number) => number,
            Item::Set(set) => {
                let mut bytes = vec![0; index(block)];
                let outside = |value: &[u8]| self.value_inode(value);
                self.sets[set as usize].to_block(&mut bytes, self.seed, &outside);
                return out.metadata(part.at * block, &bytes);
            }
            Item::Resize(_) => {
                let mut bytes = vec![0; index(block)];
                self.resize_block(&mut bytes);
                return out.metadata(part.at * block, &bytes);
            }
        };
        let node = &self.nodes[number as usize];
        let extra = u64::from(node.extra);
        if part.from < extra {
            let seed = self.inode_seed(self.inode_number(number));
            let extents = self.extents_of(node);
            self.tree(node).blocks(extents, seed, |n, bytes| {
                if (part.from..part.to).contains(&n) {
                    out.metadata((part.at + n - part.from) * block, bytes)
                } else {
                    Ok(())
                }
            })?;
        }
        if part.to <= extra {
            return Ok(());
        }
        let skip = extra.saturating_sub(part.from);
        let rest = Part {
            at: part.at + skip,
            from: part.from + skip - extra,
            to: part.to - extra,
        };
        match dir {
            Some(dir) => {
                let mut bytes = vec![0; index(block)];
                for n in rest.from..rest.to {
                    bytes.fill(0);
                    dir.block(n, &mut bytes);
                    out.metadata((rest.at + n - rest.from) * block, &bytes)?;
                }
                Ok(())
            }
            None => self.body(number, node, &rest, out),
        }
    }

    /// Writes a part of the contents of a node that is not a directory.
    fn body<O: Out>(
        &self,
        number: u32,
        node: &Node,
        part: &Part,
        out: &mut O,
    ) -> Result<(), O::Error> {
        let block = self.geometry.block;
        let at = part.at * block;
        match node.kind {
            Type::File => self.file(node, part, out),
            Type::Symlink => out.metadata(at, self.target(node)),
            Type::Small => {
                let bytes = self.target(node);
                let from = index(part.from * block).min(bytes.len());
                let to = index(part.to * block).min(bytes.len());
                out.metadata(at, &bytes[from..to])
            }
            Type::Journal if part.from == 0 => out.metadata(at, &self.journal_superblock()),
            Type::Orphans => {
                let seed = self.inode_seed(self.inode_number(number));
                for n in part.at..part.at + part.to - part.from {
                    out.metadata(n * block, &self.orphan_block(n, seed))?;
                }
                Ok(())
            }
            Type::Value => {
                let value = self.values.get(index(node.data)).map_or(&[][..], |v| v);
                let from = index(part.from * block).min(value.len());
                let to = index(part.to * block).min(value.len());
                out.metadata(at, &value[from..to])
            }
            _ => Ok(()),
        }
    }

    /// Writes a part of a file: its runs of data, which are contiguous on the disk.
    fn file<O: Out>(&self, node: &Node, part: &Part, out: &mut O) -> Result<(), O::Error> {
        let block = self.geometry.block;
        let mut passed = 0;
        let blocks = self.blocks_of(node);
        for (logical, len) in logical_runs(node, blocks, &self.runs, &self.run_ends) {
            let from = part.from.clamp(passed, passed + len);
            let to = part.to.clamp(passed, passed + len);
            if from < to {
                let start = (logical + from - passed) * block;
                // The last block continues after the end of the file.
                let bytes = ((to - from) * block).min(node.size.saturating_sub(start));
                let at = (part.at + from - part.from) * block;
                out.content(at, node.data, start, bytes)?;
            }
            passed += len;
            if passed >= part.to {
                break;
            }
        }
        Ok(())
    }
}
