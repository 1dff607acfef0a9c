//! The ext4 writer, checked with e2fsprogs, the kernel, and the crate ext4-view.

mod declared;
mod e2fsprogs;
mod kernel;
mod machine;
mod matrix;
mod mke2fs;
mod model;
mod power;
mod random;
