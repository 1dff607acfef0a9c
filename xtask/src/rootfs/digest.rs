//! A digest of a tree, from which ids are derived.

use super::{Content, Kind, NodeId, ROOT, Tree};
use sha2::{Digest, Sha256};

impl Tree {
    /// SHA-256 over all names, metadata and file sizes, but not over file contents: reading those
    /// twice would double the time that an image takes. It identifies a root file system (two
    /// builds of one recipe get different ids); it does not prove its integrity.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.add_node(&mut hash, b"/", ROOT);
        let mut walk = self.walk();
        while let Some((path, id)) = walk.step() {
            self.add_node(&mut hash, path, id);
        }
        hash.finalize().into()
    }

    fn add_node(&self, hash: &mut Sha256, path: &[u8], id: NodeId) {
        let node = self.node(id);
        let mut text = |bytes: &[u8]| {
            // The length before each text separates neighbours.
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        text(path);
        text(node.kind.name().as_bytes());
        match &node.kind {
            Kind::Symlink(target) => text(target),
            // Files that this program generates are short and in memory.
            Kind::File(Content::Bytes(bytes)) => text(bytes),
            Kind::File(content) => text(&content.len().to_le_bytes()),
            Kind::Char { major, minor } | Kind::Block { major, minor } => {
                text(&u64::from(*major).to_le_bytes());
                text(&u64::from(*minor).to_le_bytes());
            }
            Kind::Dir(_) | Kind::Fifo | Kind::Socket => {}
        }
        for (name, value) in node.xattrs.iter().flat_map(|x| x.iter()) {
            text(name.as_bytes());
            text(value);
        }
        let meta = &node.meta;
        hash.update(meta.mode.to_le_bytes());
        hash.update(meta.uid.to_le_bytes());
        hash.update(meta.gid.to_le_bytes());
        hash.update(meta.mtime.secs.to_le_bytes());
        hash.update(meta.mtime.nanos.to_le_bytes());
    }
}
