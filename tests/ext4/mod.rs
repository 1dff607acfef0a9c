//! The ext4 writer, judged by others: e2fsprogs, the kernel, and the crate ext4-view.

mod judges;
mod kernel;
mod mke2fs;
mod model;
mod random;
