//! File systems of trees, written to files.

use camino::Utf8Path;
use docker_to_linux::error::Report;
use docker_to_linux::format::{Sink, raw::Raw};
use docker_to_linux::fs::ext4::{self, Need, Spec, Wishes};
use docker_to_linux::rootfs::{Stores, Tree};
use std::fs::File;

/// Writes the file system of a tree to a file. It is as small as the tree's need says; its size in
/// bytes is returned.
pub fn smallest<'a>(
    tree: Tree,
    stores: &Stores,
    wishes: impl Into<Wishes<'a>>,
    image: &Utf8Path,
) -> Result<u64, Report> {
    let wishes = wishes.into();
    let need = Need::of(&tree, wishes);
    let size = need.smallest();
    let spec = Spec {
        size,
        uuid: uuid::Uuid::from_u128(7),
        label: "root".into(),
        epoch: 1_700_000_000,
        inodes: need.inodes_for(size),
        reserved_percent: 0,
        need,
    };
    let layout = ext4::layout(tree, &spec, wishes)?;
    let mut sink = Raw::new(File::create(image).unwrap(), size).unwrap();
    layout.emit(stores, 0, &mut sink, &|_| ()).unwrap();
    sink.finish().unwrap();
    Ok(size)
}
